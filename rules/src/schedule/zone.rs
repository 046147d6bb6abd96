//! From the wall clock to the site's civil time and back.
//!
//! Where clocks are put forward, a civil time may not exist: it is taken that much later (02:30 becomes 03:30). Where
//! they are put back, a civil time exists twice: it is the first of the two. Both are what RFC 5545 asks for.

use gatehouse_core::Wall;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What a clock on the wall of the site shows at `at`. Times beyond the years -9999 to 9999 are taken as their ends.
pub fn local(at: Wall, zone: &TimeZone) -> DateTime {
    zone.to_datetime(timestamp(at))
}

/// When a clock on the wall of the site shows `civil`; `None` at the far ends of the calendar, which no clock shows.
pub fn wall(civil: DateTime, zone: &TimeZone) -> Option<Wall> {
    zone.to_timestamp(civil).ok().map(|at| Wall(at.as_microsecond()))
}

/// The next time after `after` at which a clock on the wall of the site shows `civil`: of a time that comes twice the
/// second, where the first has passed.
pub fn next_showing(civil: DateTime, after: Wall, zone: &TimeZone) -> Option<Wall> {
    let shown = zone.to_ambiguous_timestamp(civil);
    let both = [shown.compatible(), shown.later()];
    both.into_iter().flatten().map(|at| Wall(at.as_microsecond())).filter(|at| *at > after).min()
}

/// When the site's clocks are next put forward or back after `at`.
pub fn next_shift(at: Wall, zone: &TimeZone) -> Option<Wall> {
    zone.following(timestamp(at)).next().map(|shift| Wall(shift.timestamp().as_microsecond()))
}

fn timestamp(at: Wall) -> Timestamp {
    let end = if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(at.0).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn a_time_that_does_not_exist_is_later_and_one_that_exists_twice_is_the_first() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let back = |civil: DateTime| local(wall(civil, &berlin).unwrap(), &berlin);
        assert_eq!(back(date(2027, 3, 28).at(2, 30, 0, 0)), date(2027, 3, 28).at(3, 30, 0, 0));
        let first = wall(date(2027, 10, 31).at(2, 30, 0, 0), &berlin).unwrap();
        let hour_us = 3_600_000_000;
        assert_eq!(local(Wall(first.0 + hour_us), &berlin), date(2027, 10, 31).at(2, 30, 0, 0));
        assert_eq!(next_shift(first, &berlin), Some(Wall(first.0 + hour_us / 2)));
    }

    #[test]
    fn times_beyond_the_calendar_are_its_ends() {
        assert_eq!(local(Wall(i64::MAX), &TimeZone::UTC).year(), 9999);
        assert_eq!(local(Wall(i64::MIN), &TimeZone::UTC).year(), -9999);
        assert_eq!(next_shift(Wall(i64::MAX), &TimeZone::UTC), None);
    }
}
