//! What people ask of a gate, and how that goes.

use gatehouse_core::Mono;
use serde::{Deserialize, Serialize};

use crate::words::DecidedBy;

/// What can be asked of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateAction {
    /// Open once.
    Open,
    /// Lower the boom; lock the door now.
    Close,
    /// Stop the motor.
    Stop,
    /// Stay open until [`GateAction::ReleaseHold`], at most for the policy's time.
    HoldOpen,
    /// End that.
    ReleaseHold,
    /// Let nobody in.
    LockLane,
    /// End that.
    UnlockLane,
    /// End a fire release: only by a person on the spot, and only once the fire input is clear.
    ResetFire,
}

impl GateAction {
    /// Every action.
    pub const ALL: [GateAction; 8] = [
        GateAction::Open,
        GateAction::Close,
        GateAction::Stop,
        GateAction::HoldOpen,
        GateAction::ReleaseHold,
        GateAction::LockLane,
        GateAction::UnlockLane,
        GateAction::ResetFire,
    ];

    /// The name in commands and events.
    pub fn as_str(self) -> &'static str {
        match self {
            GateAction::Open => "open",
            GateAction::Close => "close",
            GateAction::Stop => "stop",
            GateAction::HoldOpen => "hold_open",
            GateAction::ReleaseHold => "release_hold",
            GateAction::LockLane => "lock_lane",
            GateAction::UnlockLane => "unlock_lane",
            GateAction::ResetFire => "reset_fire",
        }
    }

    /// The action of that name.
    pub fn from_name(name: &str) -> Option<GateAction> {
        GateAction::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// One requested action.
#[derive(Debug, Clone, PartialEq)]
pub struct GateCommand {
    /// Its identity: an id that comes again is ignored.
    pub id: Box<str>,
    /// The gate.
    pub gate: String,
    /// What is asked.
    pub action: GateAction,
    /// Who asks.
    pub who: String,
    /// In which quality: [`DecidedBy::Guard`] is a person on the spot.
    pub by: DecidedBy,
    /// True when the person takes it on himself to open what is unknown or locked.
    pub by_override: bool,
    /// Not begun by then, it is refused.
    pub expires: Mono,
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The interlocks let it pass.
    Accepted,
    /// They did not, or it came too late; nothing was sent.
    Refused(&'static str),
    /// The request to the device is on its way.
    Sent,
    /// The device confirmed it.
    Acknowledged,
    /// A sensor shows that it is done, or there was nothing to do.
    Confirmed,
    /// It was sent, and the sensors did not show it: `movement_timeout`, `superseded`, `stopped`, `blocked`, ...
    NotConfirmed(&'static str),
    /// It was not done, and why.
    Failed(String),
    /// It may or may not have been done, and no sensor tells.
    Unknown,
}

/// One step of one command. Each command ends with exactly one last step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandStep {
    /// The command's id.
    pub command: Box<str>,
    /// The step.
    pub step: Step,
    /// True when none follows.
    pub last: bool,
}
