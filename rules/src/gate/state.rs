//! The states of a gate, and the one step between them.

use serde::{Deserialize, Serialize};

use super::interlock::Motion;

/// What a gate is doing, as far as its sensors tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The boom is down; the door is shut.
    Closed,
    /// The boom rises; the door is unlocked and still shut.
    Opening,
    /// The boom is up; the door is open.
    Open,
    /// It is open because somebody holds it so, or for longer than it may be.
    HeldOpen,
    /// The boom is coming down.
    Closing,
    /// Something came under the boom, and it stands.
    Blocked,
    /// A door was opened without a grant; a boom was driven out of its place.
    Forced,
    /// The drive or its limits say so, or a motion was not confirmed.
    Faulted,
    /// It was not seen: after a start, with inputs lost, or stopped halfway.
    Unknown,
}

/// Where the boom or the leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Open,
    Closed,
    /// At neither end.
    Between,
    /// At both ends at once.
    Contradiction,
    /// No sensor tells.
    Untold,
}

/// All that a step depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Everything that must be read was read lately.
    pub(super) comms_ok: bool,
    pub(super) position: Position,
    /// The drive's own fault, or a motion that was not confirmed.
    pub(super) fault: bool,
    /// Something came under the closing boom since it was last at an end.
    pub(super) blocked: bool,
    /// It was opened by force and not seen closed since.
    pub(super) forced: bool,
    /// Somebody holds it open, or it is open for too long.
    pub(super) held: bool,
    /// Where it goes, by command or by itself.
    pub(super) going: Option<Motion>,
}

impl State {
    /// The one step: what was seen decides, whatever the state was before.
    pub(super) fn step(seen: &Seen) -> State {
        if !seen.comms_ok {
            return State::Unknown;
        }
        match seen.position {
            Position::Contradiction => State::Faulted,
            Position::Between if seen.blocked && seen.going.is_none() => State::Blocked,
            _ if seen.fault => State::Faulted,
            Position::Open | Position::Between | Position::Untold if seen.forced => State::Forced,
            Position::Open => match seen.going {
                Some(Motion::Close) => State::Closing,
                Some(Motion::Open | Motion::Stop) | None if seen.held => State::HeldOpen,
                Some(Motion::Open | Motion::Stop) | None => State::Open,
            },
            Position::Closed => match seen.going {
                Some(Motion::Open) => State::Opening,
                Some(Motion::Close | Motion::Stop) | None => State::Closed,
            },
            Position::Between | Position::Untold => match seen.going {
                Some(Motion::Open) => State::Opening,
                Some(Motion::Close) => State::Closing,
                Some(Motion::Stop) | None => State::Unknown,
            },
        }
    }

    /// The name in events and views.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Opening => "opening",
            State::Open => "open",
            State::HeldOpen => "held_open",
            State::Closing => "closing",
            State::Blocked => "blocked",
            State::Forced => "forced",
            State::Faulted => "faulted",
            State::Unknown => "unknown",
        }
    }
}
