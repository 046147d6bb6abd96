//! What outlives a restart, as it stands in the journal.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::state::Standing;
use crate::instant::Instant;
use crate::words::{AlarmState, Occurrence, Priority};

/// Key prefix of the alarms; `class/source` follows.
pub(super) const ALARM: &str = "alarm/";
/// Key of the ceiling of occurrence numbers.
pub(super) const OCCURRENCES: &str = "alarm-occurrence";
/// Key of the flood that is on.
pub(super) const FLOOD: &str = "alarm-flood";
/// Key of the drill that is on.
pub(super) const DRILL: &str = "alarm-drill";

/// Why a kept document was not taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The key is none of the alarms'.
    #[error("{0}: not kept by the alarms")]
    Foreign(String),
    /// The document cannot be read; the alarm begins anew.
    #[error("{key}: cannot be read ({why}); this alarm begins anew")]
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A note that a person left with an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who.
    pub who: String,
    /// Why, or what they saw; `""` for nothing.
    pub comment: String,
    /// When.
    pub at: Instant,
}

/// A shelving, with its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shelf {
    pub(super) note: Note,
    pub(super) for_ms: u64,
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptAlarm {
    pub(super) standing: Standing,
    pub(super) occurrence: Option<Occurrence>,
    pub(super) since: Instant,
    pub(super) raised: Option<Instant>,
    pub(super) message: String,
    pub(super) priority: Priority,
    /// Progress of the delay towards the other condition; 0: none that counts.
    pub(super) delay_ms: u64,
    pub(super) acknowledged: Option<Note>,
    pub(super) shelf: Option<Shelf>,
    pub(super) service: Option<Note>,
    /// When its condition went, while it still explains its children.
    pub(super) lingers: Option<Instant>,
    pub(super) told: AlarmState,
    pub(super) collapsed: u32,
    pub(super) chattering: bool,
    pub(super) drill: bool,
    /// True when no source of the configuration stands for it.
    pub(super) found: bool,
}

/// The ceiling of occurrence numbers: those below it may have been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ceiling {
    pub(super) ceiling: u64,
}

/// Which alarms are a drill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drill {
    /// None.
    #[default]
    Off,
    /// All that are raised while it is on.
    All,
    /// Those of these classes.
    Classes(BTreeSet<String>),
}

impl Drill {
    pub(super) fn covers(&self, class: &str) -> bool {
        match self {
            Drill::Off => false,
            Drill::All => true,
            Drill::Classes(classes) => classes.contains(class),
        }
    }
}
