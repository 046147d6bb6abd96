//! Dates and times in packed decimals, the most significant first. One that the calendar does not have is an error.

use std::fmt;

use gatehouse_core::LocalTime;

use super::error::WireError;

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(LocalTime);

impl Date {
    /// The day of a time.
    pub fn of(time: LocalTime) -> Date {
        Date(LocalTime { hour: 0, minute: 0, second: 0, ..time })
    }

    /// The day's first instant.
    pub fn midnight(self) -> LocalTime {
        self.0
    }

    /// Reads YYYYMMDD.
    ///
    /// # Errors
    /// [`WireError::NotBcd`] and [`WireError::InvalidDate`].
    pub fn read(bytes: [u8; 4]) -> Result<Date, WireError> {
        let [century, year, month, day] = bytes;
        read_time([century, year, month, day, 0, 0, 0]).map(Date)
    }

    /// YYYYMMDD.
    pub fn wire(self) -> [u8; 4] {
        let [century, year, month, day, ..] = write_time(self.0);
        [century, year, month, day]
    }
}

impl fmt::Display for Date {
    /// Writes `2026-11-26`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year, self.0.month, self.0.day)
    }
}

fn bcd(byte: u8) -> Result<u8, WireError> {
    let (high, low) = (byte >> 4, byte & 0x0F);
    if high > 9 || low > 9 { Err(WireError::NotBcd { got: byte }) } else { Ok(10 * high + low) }
}

fn to_bcd(number: u8) -> u8 {
    (number / 10 % 10) << 4 | (number % 10)
}

/// Reads YYYYMMDDhhmmss.
///
/// # Errors
/// [`WireError::NotBcd`] and [`WireError::InvalidDate`].
pub fn read_time(bytes: [u8; 7]) -> Result<LocalTime, WireError> {
    let mut parts = [0; 7];
    for (part, byte) in parts.iter_mut().zip(bytes) {
        *part = bcd(byte)?;
    }
    let [century, year, month, day, hour, minute, second] = parts;
    let year = 100 * u16::from(century) + u16::from(year);
    LocalTime::new(year, month, day, hour, minute, second).ok_or(WireError::InvalidDate)
}

/// YYYYMMDDhhmmss.
pub fn write_time(time: LocalTime) -> [u8; 7] {
    let LocalTime { year, month, day, hour, minute, second } = time;
    let pair = |number: u16| u8::try_from(number % 100).unwrap_or(0);
    [pair(year / 100), pair(year), month, day, hour, minute, second].map(to_bcd)
}

/// A time as text: `2019-04-20T14:37:02`.
pub fn time_text(time: LocalTime) -> String {
    format!("{}T{:02}:{:02}:{:02}", Date::of(time), time.hour, time.minute, time.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_calendar_does_not_have_is_an_error() {
        let at = read_time([0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59]).unwrap();
        assert_eq!(time_text(at), "2024-02-29T23:59:59");
        assert_eq!(write_time(at), [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59]);
        assert_eq!(read_time([0x20, 0x23, 0x02, 0x29, 0, 0, 0]), Err(WireError::InvalidDate));
        assert_eq!(read_time([0; 7]), Err(WireError::InvalidDate));
        assert_eq!(read_time([0x20, 0x23, 0x1A, 0x01, 0, 0, 0]), Err(WireError::NotBcd { got: 0x1A }));
        assert_eq!(read_time([0x20, 0x23, 0x01, 0x01, 0x24, 0, 0]), Err(WireError::InvalidDate));
        assert_eq!(Date::read([0x20, 0x19, 0x12, 0x31]).unwrap().to_string(), "2019-12-31");
    }
}
