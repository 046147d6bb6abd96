//! Whether a register's value goes on from the one before it. It is never changed for that, only flagged.

use std::cmp::Ordering;
use std::time::Duration;

use gatehouse_core::Decimal;
use serde::{Deserialize, Serialize};

use super::spec::RegisterSpec;

/// What is conspicuous about a reading of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The register reached its end and began anew at zero, as it should.
    Rollover,
    /// The register began anew before its end.
    Reset,
    /// The register went back.
    Regression,
    /// The register counted more than can be.
    Jump,
    /// Another meter answers: its serial number is another one, or the value broke while nothing was read.
    Swapped,
}

impl Flag {
    /// All of them.
    pub const ALL: [Flag; 5] = [Flag::Rollover, Flag::Reset, Flag::Regression, Flag::Jump, Flag::Swapped];

    /// The name in records and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Flag::Rollover => "rollover",
            Flag::Reset => "reset",
            Flag::Regression => "regression",
            Flag::Jump => "jump",
            Flag::Swapped => "swapped",
        }
    }

    /// The built-in class of alarms that it raises.
    pub const fn class(self) -> &'static str {
        match self {
            Flag::Rollover => "meter_rollover",
            Flag::Reset => "meter_reset",
            Flag::Regression => "meter_regression",
            Flag::Jump => "meter_jump",
            Flag::Swapped => "meter_swapped",
        }
    }

    /// True where the value does not go on from the one before, so that nothing may be reckoned across it.
    pub const fn breaks(self) -> bool {
        match self {
            Flag::Rollover => false,
            Flag::Reset | Flag::Regression | Flag::Jump | Flag::Swapped => true,
        }
    }
}

/// Flags in one text, as records carry them: `reset,swapped`.
pub fn flags_text(flags: &[Flag]) -> String {
    flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(",")
}

/// What a value is to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// It goes on.
    On,
    /// It goes on past the register's end.
    Over,
    /// It does not go on.
    Broken(Flag),
}

/// Judges `value` after `last`, which was read `elapsed` before; `None`: nobody can tell how long before.
pub(super) fn course(spec: &RegisterSpec, last: Decimal, value: Decimal, elapsed: Option<Duration>) -> Course {
    if !spec.counter {
        return Course::On;
    }
    let within = |counted: Option<Decimal>| possible(spec, counted?, elapsed);
    match value.compare(last) {
        None => Course::Broken(Flag::Jump),
        Some(Ordering::Equal | Ordering::Greater) => match within(value.checked_sub(last)) {
            Some(false) => Course::Broken(Flag::Jump),
            Some(true) | None => Course::On,
        },
        Some(Ordering::Less) => {
            let over = spec.rollover.filter(|end| is_less(value, *end) && !is_less(*end, last));
            let counted = over.and_then(|end| end.checked_sub(last)?.checked_add(value));
            let near_ends =
                || over.is_some_and(|end| is_less(times(end, 9), times(last, 10)) && !is_less(end, times(value, 10)));
            if over.is_some() && within(counted).unwrap_or_else(near_ends) {
                return Course::Over;
            }
            let small = || !is_less(last, times(value, 100));
            let reset = value.mantissa >= 0 && within(Some(value)).unwrap_or_else(small);
            Course::Broken(if reset { Flag::Reset } else { Flag::Regression })
        }
    }
}

/// Whether so much can have been counted: at most the stated maximum for each hour, and for one hour at least, since
/// meters tell what they count in steps. `None` where no maximum is stated or the time is not known.
fn possible(spec: &RegisterSpec, counted: Decimal, elapsed: Option<Duration>) -> Option<bool> {
    const HOUR: Duration = Duration::from_secs(3600);
    let (most, elapsed) = spec.max_per_hour.zip(elapsed)?;
    let seconds = i128::from(elapsed.max(HOUR).as_secs());
    let most = most.checked_mul(Decimal::whole(seconds))?;
    let counted = counted.checked_mul(Decimal::whole(3600))?;
    Some(counted.compare(most)? != Ordering::Greater)
}

fn is_less(one: Decimal, other: Decimal) -> bool {
    one.compare(other) == Some(Ordering::Less)
}

fn times(number: Decimal, by: i128) -> Decimal {
    number.checked_mul(Decimal::whole(by)).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use gatehouse_core::{Name, PointIx};

    use super::*;

    fn dec(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn spec(rollover: Option<&str>, most: Option<&str>) -> RegisterSpec {
        RegisterSpec {
            point: PointIx(0),
            name: Name::new("energy").unwrap(),
            counter: true,
            rollover: rollover.map(dec),
            max_per_hour: most.map(dec),
        }
    }

    fn judged(spec: &RegisterSpec, last: &str, value: &str, minutes: Option<u64>) -> Course {
        course(spec, dec(last), dec(value), minutes.map(|minutes| Duration::from_secs(60 * minutes)))
    }

    #[test]
    fn a_register_that_passes_its_end_rolls_over_and_one_that_falls_elsewhere_does_not() {
        let plain = spec(Some("1000000"), None);
        assert_eq!(judged(&plain, "999999.98", "0.05", Some(1)), Course::Over);
        assert_eq!(judged(&plain, "500000.00", "0.05", Some(1)), Course::Broken(Flag::Reset));
        assert_eq!(judged(&plain, "999999.98", "900000.00", Some(1)), Course::Broken(Flag::Regression));
        assert_eq!(judged(&spec(None, None), "999999.98", "0.05", Some(1)), Course::Broken(Flag::Reset));
        let stated = spec(Some("1000000"), Some("100"));
        assert_eq!(judged(&stated, "999999.98", "0.05", Some(1)), Course::Over);
        assert_eq!(judged(&stated, "999000.00", "50.00", Some(1)), Course::Broken(Flag::Reset), "over 100 in an hour");
        assert_eq!(judged(&stated, "999000.00", "50.00", Some(11 * 60)), Course::Over);
        assert_eq!(judged(&plain, "1000000.50", "0.05", Some(1)), Course::Broken(Flag::Reset), "beyond its end");
    }

    #[test]
    fn more_than_can_be_is_a_jump_only_where_a_maximum_is_stated_and_the_time_is_known() {
        let stated = spec(None, Some("12.5"));
        assert_eq!(judged(&stated, "100.00", "112.50", Some(1)), Course::On, "within the first hour's worth");
        assert_eq!(judged(&stated, "100.00", "112.51", Some(1)), Course::Broken(Flag::Jump));
        assert_eq!(judged(&stated, "100.00", "112.51", Some(61)), Course::On);
        assert_eq!(judged(&stated, "100.00", "9000.00", None), Course::On);
        assert_eq!(judged(&spec(None, None), "100.00", "9000.00", Some(1)), Course::On);
    }

    #[test]
    fn a_small_step_back_is_a_regression_and_what_counts_both_ways_is_never_judged() {
        assert_eq!(judged(&spec(None, None), "100.00", "99.99", Some(1)), Course::Broken(Flag::Regression));
        assert_eq!(judged(&spec(None, None), "100.00", "-3.00", Some(1)), Course::Broken(Flag::Regression));
        let both = RegisterSpec { counter: false, ..spec(None, Some("1")) };
        assert_eq!(judged(&both, "100.00", "-3.00", Some(1)), Course::On);
    }
}
