//! Whether a meter keeps daily freezes at all, which its own answers tell and nothing else.
//!
//! A meter that says that its latest freeze is not there has none, for now: it may be new, or its memory may have been
//! cleared. One that says so on three days, and gives no freeze meanwhile, is believed to keep none. Even then it is asked
//! once a day, so that the belief ends with the first freeze that it gives. A meter that is busy, or refuses for any other
//! reason, says nothing of its freezes.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// The number of the latest freeze.
const LATEST: u8 = 1;
/// Days on which the meter has no freeze before it is believed to keep none.
const DAYS_TO_BELIEVE: u8 = 3;

/// What speaks for it that a meter keeps no daily freezes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lack {
    /// Days on which the meter said that it has none, and gave none since; it is not counted further than is believed.
    days: u8,
    /// The last of them, `2026-11-26`.
    last: String,
}

impl Lack {
    /// True where nothing speaks for it.
    pub(super) fn is_none(&self) -> bool {
        self.days == 0
    }

    /// True where the meter is believed to keep no freezes.
    pub(super) fn is_believed(&self) -> bool {
        self.days >= DAYS_TO_BELIEVE
    }

    /// True where the meter was asked that day, and had none.
    pub(super) fn is_of(&self, day: Date) -> bool {
        self.last == day.to_string()
    }

    /// The meter said on a day that it does not have its so-manieth latest freeze. What is not there of an older day says
    /// nothing of the later ones, except of a meter that is believed to have none. False when that is nothing new.
    pub(super) fn note(&mut self, day: Date, number: u8) -> bool {
        let tells = number == LATEST || self.is_believed();
        if !tells || self.is_of(day) {
            return false;
        }
        self.days = (self.days + 1).min(DAYS_TO_BELIEVE);
        self.last = day.to_string();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_freeze_tells_that_there_is_none_and_each_day_counts_once() {
        let day = |day| Date::constant(2026, 11, day);
        let mut lack = Lack::default();
        assert!((21..=25).all(|at| !lack.note(day(at), 5)) && lack.is_none(), "the memory may be younger than that");
        assert!(lack.note(day(26), 1) && !lack.note(day(26), 1) && lack.note(day(27), 1));
        assert!(!lack.is_believed());
        assert!(lack.note(day(28), 1) && lack.is_believed() && lack.is_of(day(28)) && !lack.is_of(day(27)));
        assert!(lack.note(day(29), 5), "the one question of that day");
    }
}
