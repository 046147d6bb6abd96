//! What a gate must remember over a restart.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::line::Lead;
use crate::instant::Instant;

/// Where it is kept: this, and the gate's id.
pub(super) const PREFIX: &str = "gate/";

/// Something that stays true of a gate until it is seen to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    Forced,
    HeldOpen,
    RemoteOpened,
    Tailgating,
    Hit,
    Blocked,
    /// A motion was not confirmed in time.
    NotConfirmed,
    /// A device did not do what it was told.
    OutputFailed,
}

/// Somebody holds the gate open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    pub(super) since: Instant,
    pub(super) who: String,
}

/// The state that is kept: nothing at all while the gate is at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// Since when a fire release stands.
    pub(super) fire: Option<Instant>,
    /// Who locked the lane.
    pub(super) locked: Option<String>,
    pub(super) hold: Option<Hold>,
    pub(super) marks: BTreeSet<Mark>,
    /// Outputs that may be set.
    pub(super) engaged: BTreeSet<Lead>,
}
