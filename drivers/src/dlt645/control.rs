//! Requests that change something in a meter, byte by byte: control, freeze, time.

use std::fmt;

use gatehouse_core::LocalTime;

use super::value::{bcd, to_bcd};

/// What a control command (1C) does (DL/T 645-2007 with the later additions of grid companies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Control {
    /// Cuts supply.
    Trip,
    /// Lets the resident close by hand.
    PermitClose,
    /// Closes at once.
    Close,
}

impl Control {
    /// The command with this code (N1).
    pub fn of_code(code: u8) -> Option<Control> {
        match code {
            0x1A => Some(Control::Trip),
            0x1B => Some(Control::PermitClose),
            0x1C => Some(Control::Close),
            _ => None,
        }
    }

    /// N1 on the wire.
    pub fn code(self) -> u8 {
        match self {
            Control::Trip => 0x1A,
            Control::PermitClose => 0x1B,
            Control::Close => 0x1C,
        }
    }

    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Control::Trip => "trip",
            Control::PermitClose => "permit_close",
            Control::Close => "close",
        }
    }
}

/// The name of a control command's code (N1), those included that are never sent.
pub fn command_name(code: u8) -> Option<&'static str> {
    Control::of_code(code).map(Control::as_str).or(match code {
        0x1D => Some("pretrip_close"),
        0x1E => Some("pretrip_permit_close"),
        0x2A => Some("alarm"),
        0x2B => Some("alarm_off"),
        0x3A => Some("guarantee_supply"),
        0x3B => Some("guarantee_off"),
        _ => None,
    })
}

/// What a meter wants to be told before it obeys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// PA: the level of the password, 02 or 04 in the field.
    pub level: u8,
    /// Six digits.
    pub password: u32,
    /// Eight digits: who did it, as the meter records it.
    pub operator: u32,
}

impl fmt::Debug for Access {
    /// Leaves the password out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("level", &self.level).field("operator", &self.operator).finish_non_exhaustive()
    }
}

/// The digits of a number, two to a byte, the least significant first.
fn digits<const N: usize>(number: u32) -> [u8; N] {
    let mut rest = number;
    [(); N].map(|()| {
        let pair = u8::try_from(rest % 100).unwrap_or(0);
        rest /= 100;
        to_bcd(pair)
    })
}

impl Access {
    /// PA, P0 to P2, C0 to C3.
    fn wire(self) -> [u8; 8] {
        let ([p0, p1, p2], [c0, c1, c2, c3]) = (digits(self.password), digits(self.operator));
        [self.level, p0, p1, p2, c0, c1, c2, c3]
    }

    /// Reads PA, P0 to P2, C0 to C3.
    pub fn from_wire(bytes: [u8; 8]) -> Option<Access> {
        let [level, password @ ..] = bytes;
        let number = |bytes: &[u8]| {
            bytes.iter().rev().try_fold(0u32, |number, &byte| Some(number * 100 + u32::from(bcd(byte).ok()?)))
        };
        Some(Access { level, password: number(&password[..3])?, operator: number(&password[3..])? })
    }
}

/// ss mm hh DD MM YY.
fn time_bytes(at: LocalTime) -> [u8; 6] {
    let year = u8::try_from(at.year % 100).unwrap_or(0);
    [at.second, at.minute, at.hour, at.day, at.month, year].map(to_bcd)
}

/// Reads ss mm hh DD MM YY.
pub fn read_time(bytes: [u8; 6]) -> Option<LocalTime> {
    let mut parts = [0; 6];
    for (part, byte) in parts.iter_mut().zip(bytes) {
        *part = bcd(byte).ok()?;
    }
    let [second, minute, hour, day, month, year] = parts;
    LocalTime::new(2000 + u16::from(year), month, day, hour, minute, second)
}

/// mm hh DD MM YY.
pub(super) fn minute_bytes(at: LocalTime) -> [u8; 5] {
    let [_, minute, hour, day, month, year] = time_bytes(at);
    [minute, hour, day, month, year]
}

/// The data of a control command that the meter obeys until `until` of its own clock.
pub fn control_data(control: Control, access: Access, until: LocalTime) -> [u8; 16] {
    let mut data = [0; 16];
    data[..8].copy_from_slice(&access.wire());
    data[8] = control.code();
    data[10..].copy_from_slice(&time_bytes(until));
    data
}

/// The data of a broadcast of the time.
pub fn set_time_data(now: LocalTime) -> [u8; 6] {
    time_bytes(now)
}

/// When a meter freezes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freeze {
    /// At once.
    Instant,
    /// Each hour at this minute.
    Hourly {
        /// 0 to 59.
        minute: u8,
    },
    /// Each day at this time.
    Daily {
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// Each month on this day.
    Monthly {
        /// 1 to 28.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
}

impl Freeze {
    /// mm hh DD MM, with 99 for any.
    pub fn data(self) -> [u8; 4] {
        const ANY: u8 = 0x99;
        match self {
            Freeze::Instant => [ANY; 4],
            Freeze::Hourly { minute } => [to_bcd(minute), ANY, ANY, ANY],
            Freeze::Daily { hour, minute } => [to_bcd(minute), to_bcd(hour), ANY, ANY],
            Freeze::Monthly { day, hour, minute } => [to_bcd(minute), to_bcd(hour), to_bcd(day), ANY],
        }
    }

    /// Reads mm hh DD MM.
    pub fn read(data: [u8; 4]) -> Option<Freeze> {
        let [minute, hour, day, month] = data.map(|byte| bcd(byte).ok());
        match (month?, day?, hour?, minute?) {
            (99, 99, 99, 99) => Some(Freeze::Instant),
            (99, 99, 99, minute @ 0..=59) => Some(Freeze::Hourly { minute }),
            (99, 99, hour @ 0..=23, minute @ 0..=59) => Some(Freeze::Daily { hour, minute }),
            (99, day @ 1..=31, hour @ 0..=23, minute @ 0..=59) => Some(Freeze::Monthly { day, hour, minute }),
            _ => None,
        }
    }
}

/// Why the time is not broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncRefusal {
    /// The meter is too far off: it takes no broadcast beyond five minutes.
    #[error("the meter's clock is off by more than five minutes: it must be set on the meter")]
    TooFar,
    /// It was done today.
    #[error("the time was broadcast today already, and meters take it once a day")]
    Today,
    /// The settlement of midnight is near.
    #[error("meters settle at midnight: not within five minutes of it")]
    Midnight,
}

/// Farthest that a meter's clock may be off, and closest to midnight (DL/T 645-2007, 7.3).
const WINDOW_S: i64 = 300;

/// Whether the time may be broadcast at `now` to a meter whose clock says `meter`; `last` is when it last was.
///
/// # Errors
/// [`SyncRefusal`] says which rule of the standard forbids it.
pub fn may_set_time(meter: LocalTime, now: LocalTime, last: Option<LocalTime>) -> Result<(), SyncRefusal> {
    let midnight = now.second_of_day().min(86_400 - now.second_of_day());
    if last.is_some_and(|last| last.day_number() == now.day_number()) {
        Err(SyncRefusal::Today)
    } else if midnight < WINDOW_S {
        Err(SyncRefusal::Midnight)
    } else if meter.seconds_since(now).abs() > WINDOW_S {
        Err(SyncRefusal::TooFar)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u8, hour: u8, minute: u8) -> LocalTime {
        LocalTime::new(2026, 11, day, hour, minute, 0).unwrap()
    }

    #[test]
    fn the_time_is_broadcast_within_five_minutes_once_a_day_and_not_at_midnight() {
        assert_eq!(may_set_time(at(23, 10, 5), at(23, 10, 0), None), Ok(()));
        assert_eq!(may_set_time(at(23, 10, 6), at(23, 10, 0), None), Err(SyncRefusal::TooFar));
        assert_eq!(may_set_time(at(23, 10, 0), at(23, 10, 0), Some(at(23, 1, 0))), Err(SyncRefusal::Today));
        assert_eq!(may_set_time(at(23, 10, 0), at(23, 10, 0), Some(at(22, 23, 0))), Ok(()));
        assert_eq!(may_set_time(at(23, 0, 1), at(23, 0, 1), None), Err(SyncRefusal::Midnight));
        assert_eq!(may_set_time(at(22, 23, 57), at(22, 23, 57), None), Err(SyncRefusal::Midnight));
    }

    #[test]
    fn a_password_is_not_printed() {
        let access = Access { level: 2, password: 123_456, operator: 1 };
        assert_eq!(format!("{access:?}"), "Access { level: 2, operator: 1, .. }");
        assert_eq!(Access::from_wire(access.wire()), Some(access));
    }

    #[test]
    fn freezes_read_back_as_themselves() {
        for freeze in [
            Freeze::Instant,
            Freeze::Hourly { minute: 30 },
            Freeze::Daily { hour: 0, minute: 0 },
            Freeze::Monthly { day: 1, hour: 0, minute: 0 },
        ] {
            assert_eq!(Freeze::read(freeze.data()), Some(freeze));
        }
    }
}
