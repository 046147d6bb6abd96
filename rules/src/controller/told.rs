//! What is told of the list of a controller.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::access::Inexpressible;

/// What became of a card on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was put on.
    Listed,
    /// It has other rights.
    Changed,
    /// It was taken off.
    Dropped,
}

/// How far a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListState {
    /// Nothing can be said of it: it stays as it is.
    Unsaid,
    /// The controller does not answer.
    Away,
    /// It is looked at.
    Walking,
    /// It is put right.
    PuttingRight,
    /// It is as it is to be.
    Equal,
    /// It cannot be made so.
    Unequal,
}

impl ListState {
    /// The name in records and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            ListState::Unsaid => "unsaid",
            ListState::Away => "away",
            ListState::Walking => "walking",
            ListState::PuttingRight => "putting_right",
            ListState::Equal => "equal",
            ListState::Unequal => "unequal",
        }
    }
}

/// How a course ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The list is as it is to be.
    pub(super) equal: bool,
    /// The version that it was made of.
    pub(super) version: u64,
    /// Cards that the controller does not take.
    pub(super) refused: usize,
    /// Cards that it does not let go.
    pub(super) stay: usize,
}

/// The state of one list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListView {
    /// How far it is.
    pub state: ListState,
    /// Why nothing can be said of it; `None`: it can.
    pub why: Option<&'static str>,
    /// The version of the credentials that it is made of.
    pub version: Option<u64>,
    /// How many cards it is to have.
    pub cards: usize,
    /// How many of them are known to be there.
    pub listed: usize,
    /// How many the controller does not take.
    pub refused: usize,
    /// How many that are to leave it does not let go.
    pub stay: usize,
    /// How many it said that there are.
    pub counted: Option<u32>,
    /// The place that is looked at.
    pub place: Option<u32>,
    /// Cards put on or changed since the box began.
    pub put: u64,
    /// Cards taken off since the box began.
    pub dropped: u64,
    /// Cards that the list cannot have, or not with all their doors, by the reason.
    pub not_expressible: BTreeMap<Inexpressible, u32>,
}
