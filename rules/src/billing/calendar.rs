//! When fixed-clock readings are due, in the site's zone.

use gatehouse_core::Wall;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::spec::{Every, ReadingSpec};
use crate::schedule::zone;

/// The instant at which a reading is due on a day; `None` at the ends of the calendar. Where clocks are put forward over
/// it, it is that much later; where they are put back over it, it is the first of the two.
pub(super) fn due_at(spec: &ReadingSpec, day: Date, zone: &TimeZone) -> Option<Wall> {
    let (hour, minute) = spec.at;
    let time = day.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
    zone::wall(time, zone)
}

/// The first day after `after` on which a reading is due.
pub(super) fn next_day(spec: &ReadingSpec, after: Date) -> Option<Date> {
    match spec.every {
        Every::Day => after.tomorrow().ok(),
        Every::Month(day) => {
            let mut next = after.tomorrow().ok()?;
            while next.day().unsigned_abs() != day {
                next = next.tomorrow().ok()?;
            }
            Some(next)
        }
    }
}

/// The last day on which a reading has been due by `now`.
pub(super) fn last_day(spec: &ReadingSpec, now: Wall, zone: &TimeZone) -> Option<Date> {
    let mut day = zone::local(now, zone).date();
    let on = |day: Date| match spec.every {
        Every::Day => true,
        Every::Month(of) => day.day().unsigned_abs() == of,
    };
    while !(on(day) && due_at(spec, day, zone)? <= now) {
        day = day.yesterday().ok()?;
    }
    Some(day)
}

/// Whole days from `from` to `to`.
pub(super) fn days_between(from: Date, to: Date) -> i64 {
    from.until(to).map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatehouse_core::Name;
    use jiff::civil::date;

    use super::*;

    fn spec(every: Every, at: (u8, u8)) -> ReadingSpec {
        ReadingSpec { name: Name::new("r").unwrap(), every, at, wait: Duration::from_secs(3600), of: Vec::new() }
    }

    #[test]
    fn every_day_has_one_reading_also_where_clocks_are_put_forward_and_back() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let spec = spec(Every::Day, (2, 30));
        for (from, days) in [(date(2027, 3, 26), 5), (date(2027, 10, 29), 5)] {
            let (mut day, mut before) = (from, Wall(i64::MIN));
            for _ in 0..days {
                let due = due_at(&spec, day, &berlin).unwrap();
                assert!(due > before);
                assert_eq!(last_day(&spec, due, &berlin), Some(day));
                assert_ne!(last_day(&spec, Wall(due.0 - 1), &berlin), Some(day));
                (day, before) = (next_day(&spec, day).unwrap(), due);
            }
        }
    }

    #[test]
    fn settlements_are_on_their_day_of_each_month() {
        let spec = spec(Every::Month(1), (0, 0));
        assert_eq!(next_day(&spec, date(2026, 11, 1)), Some(date(2026, 12, 1)));
        assert_eq!(next_day(&spec, date(2027, 1, 31)), Some(date(2027, 2, 1)));
        let shanghai = TimeZone::fixed(jiff::tz::offset(8));
        let now = zone::wall(date(2026, 11, 26).at(12, 0, 0, 0), &shanghai).unwrap();
        assert_eq!(last_day(&spec, now, &shanghai), Some(date(2026, 11, 1)));
        assert_eq!(days_between(date(2026, 2, 27), date(2026, 3, 2)), 3);
    }
}
