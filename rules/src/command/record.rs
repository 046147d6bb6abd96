//! What commands leave behind: the documents that are kept, and the events of the audit trail.

use std::collections::BTreeMap;

use gatehouse_core::Wall;
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::request::{Request, What, Wire};
use crate::instant::Instant;

/// Before the id in the key of each command.
pub(super) const PREFIX: &str = "command/";
/// The key of the [`Horizon`].
pub(super) const HORIZON: &str = "command-horizon";

/// Where a command came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The core, over MQTT.
    Core,
    /// A user of the box, over its socket.
    Socket {
        /// The user, as the kernel says.
        uid: u32,
    },
}

impl std::fmt::Display for Source {
    /// Writes `core` or `socket:1000`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Core => f.write_str("core"),
            Source::Socket { uid } => write!(f, "socket:{uid}"),
        }
    }
}

/// One command as it is kept under `command/<id>`, at most some 9 KB.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) source: Source,
    pub(super) fingerprint: String,
    pub(super) received: Instant,
    /// How long after `received` the id is kept.
    pub(super) hold_ms: u64,
    /// Once the id is forgotten, no command of the core that expires by then is taken: microseconds since 1970.
    pub(super) horizon: Option<i64>,
    pub(super) phase: KeptPhase,
}

/// How far it has come.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeptPhase {
    /// Accepted; nothing was done for it.
    Waiting(Wire),
    /// Given out: it may have been done.
    Begun(Wire),
    /// Over.
    Ended(Outcome),
}

/// Commands of the core that expire by then are taken no more: their ids are forgotten.
#[derive(Serialize, Deserialize)]
pub(super) struct Horizon {
    /// Microseconds since 1970.
    pub(super) expires_at: i64,
}

impl Horizon {
    pub(super) fn wall(&self) -> Wall {
        Wall(self.expires_at)
    }
}

/// The `command` event: one for each step.
#[derive(Serialize, Default)]
pub(super) struct StepEvent<'a> {
    /// Absent where a message gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) step: &'a str,
    /// True for the last step of a command.
    pub(super) last: bool,
    /// True when this tells again what was told before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) repeat: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) point: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<&'a str>,
    /// With the first step only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<&'a str>,
    pub(super) source: String,
    /// With the first step of an accepted command: true when a key of the core has signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) read_back: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule_version: Option<&'a str>,
}

impl<'a> StepEvent<'a> {
    /// A step of a command: who, what and why.
    pub(super) fn of(request: &'a Request, source: Source, step: &'a str) -> Self {
        let (point, value) = match &request.what {
            What::Act { .. } => (None, None),
            What::Write { point, value } => (Some(point.as_str()), Some(&**value)),
        };
        StepEvent {
            id: Some(request.id.as_str()),
            step,
            target: Some(request.target.to_string()),
            action: Some(request.what.action()),
            point,
            value,
            issuer: Some(&request.issuer),
            source: source.to_string(),
            reason_code: request.reason_code.as_deref(),
            ..StepEvent::default()
        }
    }

    /// The same with the args of the command.
    pub(super) fn with_args(mut self, request: &'a Request) -> Self {
        self.args = match &request.what {
            What::Act { args, .. } if !args.is_empty() => {
                Some(args.iter().map(|(key, text)| (key.as_str(), &**text)).collect())
            }
            What::Act { .. } | What::Write { .. } => None,
        };
        self
    }

    /// The same as the last step, with how it ended.
    pub(super) fn ended(mut self, outcome: &'a Outcome) -> Self {
        self.last = true;
        self.step = outcome.as_str();
        self.reason = outcome.reason();
        self.detail = outcome.detail();
        self.read_back = outcome.read_back();
        self
    }
}

/// The `command_refusals` event: refusals and repetitions that were counted instead of recorded.
#[derive(Serialize)]
pub(super) struct Untold {
    pub(super) source: &'static str,
    pub(super) count: u64,
}

/// The `command_horizon` event: somebody at the site has vouched for the clock.
#[derive(Serialize)]
pub(super) struct HorizonEvent<'a> {
    pub(super) issuer: &'a str,
    pub(super) source: String,
}
