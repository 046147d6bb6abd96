//! Moments of load records: whole intervals of the civil day, and the meter's clock, which is set to the site's zone.

use std::time::Duration;

use gatehouse_core::{LocalTime, Wall};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::schedule::zone;

/// The shortest time between two records: they have whole minutes.
pub(super) const MINUTE_US: i64 = 60_000_000;

/// The last moment of a record at `at_us` or before. Records are made at whole intervals of the civil day.
pub(super) fn moment(at_us: i64, every: i64, zone: &TimeZone) -> i64 {
    let shown = zone::local(Wall(at_us), zone);
    let into_hour = i64::from(shown.minute()) * MINUTE_US + i64::from(shown.second()) * 1_000_000;
    let into_hour = into_hour + i64::from(shown.subsec_nanosecond()) / 1_000;
    at_us.saturating_sub(into_hour % every.max(1))
}

/// The first moment of a record at `at_us` or after.
pub(super) fn moment_from(at_us: i64, every: i64, zone: &TimeZone) -> i64 {
    moment(at_us.saturating_sub(1), every, zone).saturating_add(every)
}

/// Microseconds of a span of time.
pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// The time that the meter's clock shows, which is set to the site's zone.
pub(super) fn local(at_us: i64, zone: &TimeZone) -> Option<LocalTime> {
    let at = zone::local(Wall(at_us), zone);
    let part = |part: i8| u8::try_from(part).ok();
    let year = u16::try_from(at.year()).ok()?;
    LocalTime::new(year, part(at.month())?, part(at.day())?, part(at.hour())?, part(at.minute())?, 0)
}

/// When the meter's clock shows that time, in microseconds since 1970; `None` for a time that the calendar does not have.
pub(super) fn wall(at: LocalTime, zone: &TimeZone) -> Option<i64> {
    let part = |part: u8| i8::try_from(part).ok();
    let (year, month, day) = (i16::try_from(at.year).ok()?, part(at.month)?, part(at.day)?);
    let civil = DateTime::new(year, month, day, part(at.hour)?, part(at.minute)?, 0, 0).ok()?;
    zone::wall(civil, zone).map(|at| at.0)
}
