//! Quiet hours: how much of a time is quiet, and how long it takes until enough time has run beside them.

use std::time::Duration;

use gatehouse_core::Wall;

use super::spec::TicketRules;
use crate::schedule::{self, Weekly};
use crate::words::Priority;

/// Changes between quiet and not that are followed: five years of nightly quiet. What lies beyond is not quiet.
const CHANGES_MAX: usize = 4_096;

/// The quiet hours that hold for a ticket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet<'a>(Option<(&'a Weekly, &'a TicketRules)>);

impl TicketRules {
    /// The quiet hours of a category. P0 and P1 have none.
    pub(super) fn quiet_for(&self, category: &str, priority: Priority) -> Quiet<'_> {
        match priority {
            Priority::P0 | Priority::P1 => Quiet::NONE,
            Priority::P2 | Priority::P3 => Quiet(self.quiet.get(category).map(|weekly| (weekly, self))),
        }
    }
}

impl Quiet<'_> {
    /// No hour is quiet.
    pub(super) const NONE: Quiet<'static> = Quiet(None);

    pub(super) fn is_none(self) -> bool {
        self.0.is_none()
    }

    /// How much of the time between two instants is quiet.
    pub(super) fn within(self, from: Wall, to: Wall) -> Duration {
        let mut quiet = Duration::ZERO;
        self.walk(from, |begin, end, is_quiet| {
            if begin >= to {
                return false;
            }
            if is_quiet {
                quiet += between(begin, end.min(to));
            }
            end < to
        });
        quiet
    }

    /// How long it takes from an instant on until `run` has passed beside the quiet hours.
    pub(super) fn time_to_run(self, from: Wall, run: Duration) -> Duration {
        let (mut left, mut taken) = (run, Duration::ZERO);
        self.walk(from, |begin, end, is_quiet| {
            let length = between(begin, end);
            if is_quiet {
                taken += length;
                return true;
            }
            if length >= left {
                return false;
            }
            left -= length;
            taken += length;
            true
        });
        taken.saturating_add(left)
    }

    /// Visits the stretches of time from `from` on that are quiet as a whole or not at all, until told to stop.
    fn walk(self, from: Wall, mut visit: impl FnMut(Wall, Wall, bool) -> bool) {
        let Some((weekly, rules)) = self.0 else { return };
        let mut at = from;
        for _ in 0..CHANGES_MAX {
            let until = weekly.steady_until(at, &rules.zone, &rules.calendar).filter(|until| *until > at);
            let until = until.unwrap_or(Wall(i64::MAX));
            let is_quiet = weekly.contains(schedule::local(at, &rules.zone), &rules.calendar);
            if !visit(at, until, is_quiet) || until == Wall(i64::MAX) {
                return;
            }
            at = until;
        }
    }
}

fn between(from: Wall, to: Wall) -> Duration {
    Duration::from_micros(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Calendar;
    use jiff::tz::{TimeZone, offset};

    fn rules(text: &str) -> TicketRules {
        let mut rules = TicketRules::new(Calendar::weekdays_only(), TimeZone::fixed(offset(8)));
        rules.quiet.insert("electrical".to_owned(), text.parse().unwrap());
        rules
    }

    /// A time on Monday, 7 June 2027, in the site's zone.
    fn monday(hour: i64) -> Wall {
        Wall((1_812_297_600 + hour * 3600) * 1_000_000)
    }

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3600)
    }

    #[test]
    fn nights_do_not_count() {
        let rules = rules("daily 22:00-06:00");
        let quiet = rules.quiet_for("electrical", Priority::P3);
        assert_eq!(quiet.within(monday(20), monday(32)), hours(8));
        assert_eq!(quiet.within(monday(23), monday(24)), hours(1));
        assert_eq!(quiet.within(monday(8), monday(20)), hours(0));
        assert_eq!(quiet.time_to_run(monday(20), hours(4)), hours(12));
        assert_eq!(quiet.time_to_run(monday(20), hours(2)), hours(2));
        assert_eq!(quiet.time_to_run(monday(23), hours(1)), hours(8));
    }

    #[test]
    fn urgent_priorities_and_other_categories_have_no_quiet_hours() {
        let rules = rules("daily 22:00-06:00");
        assert!(rules.quiet_for("electrical", Priority::P1).is_none());
        assert!(rules.quiet_for("water", Priority::P3).is_none());
        assert_eq!(Quiet::NONE.time_to_run(monday(23), hours(5)), hours(5));
    }

    #[test]
    fn hours_that_are_always_quiet_never_come_to_an_end() {
        let rules = rules("daily 00:00-24:00");
        let quiet = rules.quiet_for("electrical", Priority::P2);
        assert_eq!(quiet.within(monday(0), monday(48)), hours(48));
    }
}
