//! Time as an argument: monotonic instants, wall-clock times and how far these may be believed.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since the box booted, time asleep included (`CLOCK_BOOTTIME`). Never steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The instant this many milliseconds after boot.
    pub const fn from_millis(ms: u64) -> Self {
        Mono(ms * 1_000_000)
    }

    /// Time passed since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time left until `later`; zero if that has passed.
    pub fn until(self, later: Mono) -> Duration {
        later.since(self)
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Microseconds since 1970-01-01T00:00:00Z, as the box's clock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(pub i64);

/// How far a wall-clock time may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Trust {
    /// The clock was never set: the time is meaningless until an offset for its boot is known.
    #[default]
    Unset,
    /// The clock was set once and runs by itself, for example from a battery-backed clock.
    FreeRunning,
    /// The clock follows a time source.
    Synchronised,
}

impl Trust {
    /// The name in payloads and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Trust::Unset => "unset",
            Trust::FreeRunning => "free-running",
            Trust::Synchronised => "synchronised",
        }
    }
}

/// One run of the box's kernel, from `/proc/sys/kernel/random/boot_id`. Monotonic times compare only within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootId(pub u128);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When something happened: what the clock said, whether to believe it, and enough to mend it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp {
    /// The kernel run in which `mono` counts.
    pub boot: BootId,
    /// Monotonic time within that run.
    pub mono: Mono,
    /// What the wall clock said.
    pub wall: Wall,
    /// How far `wall` may be believed.
    pub trust: Trust,
}

/// A date and time of the site's zone, as a clock on a wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime {
    /// 2000 to 2099.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl LocalTime {
    /// The time with these parts; `None` where the calendar has none.
    pub fn new(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<LocalTime> {
        let days = match month {
            2 if year.is_multiple_of(4) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        let sound =
            (2000..2100).contains(&year) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
        sound.then_some(LocalTime { year, month, day, hour, minute, second })
    }

    /// Reads a time in whole minutes: `2026-11-26T00:15`. `None` where it is none of the calendar.
    pub fn parse_minute(text: &str) -> Option<LocalTime> {
        let (date, clock) = text.split_once('T')?;
        let [year, month, day] = parts(date, '-')?;
        let [hour, minute] = parts(clock, ':')?;
        let small = |part: u16| u8::try_from(part).ok();
        LocalTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, 0)
    }

    /// Days since 2000-01-01.
    pub fn day_number(self) -> i64 {
        const BEFORE: [i64; 13] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let year = i64::from(self.year.saturating_sub(2000));
        let leap = i64::from(self.month > 2 && self.year.is_multiple_of(4));
        let months = BEFORE.get(usize::from(self.month)).copied().unwrap_or(0);
        365 * year + (year + 3) / 4 + months + leap + i64::from(self.day) - 1
    }

    /// Seconds since midnight.
    pub fn second_of_day(self) -> i64 {
        3600 * i64::from(self.hour) + 60 * i64::from(self.minute) + i64::from(self.second)
    }

    /// The time that a clock shows `later`, in whole seconds; `None` beyond 2099.
    pub fn after(self, later: Duration) -> Option<LocalTime> {
        let seconds = i64::try_from(later.as_secs()).ok()?.checked_add(self.second_of_day())?;
        let part = |seconds: i64| u8::try_from(seconds).ok();
        let (hour, minute) = (part(seconds % 86_400 / 3600)?, part(seconds % 3600 / 60)?);
        let mut at = LocalTime { hour, minute, second: part(seconds % 60)?, ..self };
        for _ in 0..seconds / 86_400 {
            let LocalTime { year, month, day, hour, minute, second } = at;
            let on = |year, month, day| LocalTime::new(year, month, day, hour, minute, second);
            at = on(year, month, day + 1).or_else(|| on(year, month + 1, 1)).or_else(|| on(year + 1, 1, 1))?;
        }
        Some(at)
    }

    /// Seconds from `earlier` to this time, as both clocks show it; negative if that lies ahead.
    pub fn seconds_since(self, earlier: LocalTime) -> i64 {
        86_400 * (self.day_number() - earlier.day_number()) + self.second_of_day() - earlier.second_of_day()
    }
}

impl fmt::Display for LocalTime {
    /// Writes `2026-11-26T00:15`, and seconds where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LocalTime { year, month, day, hour, minute, second } = self;
        write!(f, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}")?;
        if *second > 0 { write!(f, ":{second:02}") } else { Ok(()) }
    }
}

/// The numbers between separators, as many as are wanted and of digits alone.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[u16; N]> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
    text.split(separator).map(number).collect::<Option<Vec<u16>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_count_days_across_months_and_leap_years() {
        let at = |year, month, day| LocalTime::new(year, month, day, 0, 0, 0);
        assert_eq!(at(2023, 2, 29), None);
        assert_eq!(at(2100, 1, 1), None);
        let days =
            |to: Option<LocalTime>, from: Option<LocalTime>| to.unwrap().day_number() - from.unwrap().day_number();
        assert_eq!(days(at(2024, 3, 1), at(2024, 2, 28)), 2);
        assert_eq!(days(at(2025, 1, 1), at(2024, 1, 1)), 366);
        assert_eq!(days(at(2027, 1, 1), at(2026, 1, 1)), 365);
        let before = LocalTime::new(2026, 12, 31, 23, 59, 59).unwrap();
        assert_eq!(before.after(Duration::from_millis(2900)), LocalTime::new(2027, 1, 1, 0, 0, 1));
        assert_eq!(before.after(Duration::from_secs(60 * 86_400)), LocalTime::new(2027, 3, 1, 23, 59, 59));
        assert_eq!(before.after(Duration::from_secs(u64::MAX)), None);
        assert_eq!(LocalTime::new(2027, 1, 1, 0, 0, 1).unwrap().seconds_since(before), 2);
    }

    #[test]
    fn a_local_time_reads_as_it_is_written() {
        let at = LocalTime::new(2026, 11, 6, 0, 5, 0).unwrap();
        assert_eq!(
            (at.to_string().as_str(), LocalTime::parse_minute("2026-11-06T00:05")),
            ("2026-11-06T00:05", Some(at))
        );
        assert_eq!(LocalTime { second: 7, ..at }.to_string(), "2026-11-06T00:05:07");
        for wrong in ["2026-11-06", "2026-11-31T00:05", "2026-11-06T24:00", "2026-11-06T00:05:07", "+2026-11-06T00:05"]
        {
            assert_eq!(LocalTime::parse_minute(wrong), None, "{wrong}");
        }
    }
}
