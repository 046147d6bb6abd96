//! What a meter owes: fixed-clock readings that were due and are not there yet.

use std::collections::BTreeMap;

use gatehouse_core::{Mono, Stamp};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::lack::Lack;
use super::record::{Taken, believed};

/// Most readings that one meter owes; the oldest then stays a gap.
pub(super) const MOST_OWED: usize = 100;
/// How many daily freezes a meter keeps (DL/T 645-2007, table A.5: DI0 of a freeze record counts to 3EH).
pub(super) const MOST_FREEZES: i64 = 62;

/// All that a meter owes, and what is known of its freezes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owed {
    /// In the order of their times.
    pub(super) dues: Vec<Due>,
    /// What earlier versions believed of its freezes for good, which counts no more.
    #[serde(default, skip_serializing)]
    keeps_freezes: IgnoredAny,
    /// What speaks for it that the meter keeps no daily freezes.
    #[serde(default, skip_serializing_if = "Lack::is_none")]
    pub(super) lack: Lack,
    /// Days by which its newest freeze is another one than the calendar says.
    pub(super) shift: i64,
}

/// One reading that is owed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Due {
    /// The name of the reading.
    pub(super) reading: String,
    /// The day, `2026-11-26`.
    pub(super) day: String,
    /// The fixed time, in microseconds since 1970.
    pub(super) due_us: i64,
    /// True when the time had been missed before anybody asked.
    pub(super) late: bool,
    /// True once it is told as a gap, which only the meter's own freeze can still fill.
    #[serde(default)]
    pub(super) is_gap: bool,
    /// The live reading that stands in where there is no freeze.
    #[serde(skip)]
    pub(super) live: Option<Live>,
    /// Attempts that gave nothing, since the start: live, and of the freeze.
    #[serde(skip)]
    pub(super) tried: (u32, u32),
    /// Attempts, since the start, at which the meter said that it does not have the freeze.
    #[serde(skip)]
    pub(super) absent: u32,
    /// Not to be tried again before.
    #[serde(skip)]
    pub(super) not_before: Mono,
    /// Why the last attempt gave nothing.
    #[serde(skip)]
    pub(super) why: String,
}

/// What a meter gave for a fixed time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Live {
    pub(super) at: Stamp,
    pub(super) values: BTreeMap<String, Taken>,
    pub(super) missing: BTreeMap<String, String>,
}

impl Due {
    /// A reading that is due now.
    pub(super) fn new(reading: &str, day: String, due_us: i64, late: bool) -> Self {
        Due {
            reading: reading.to_owned(),
            day,
            due_us,
            late,
            is_gap: false,
            live: None,
            tried: (0, 0),
            absent: 0,
            not_before: Mono(0),
            why: String::new(),
        }
    }

    /// Seconds from the fixed time to `at`, where that clock may be believed.
    pub(super) fn skew_s(&self, at: &Stamp) -> Option<i64> {
        believed(at).map(|wall| (wall - self.due_us).div_euclid(1_000_000))
    }
}
