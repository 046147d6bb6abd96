//! Wishes for motions, and what they are while they are carried out.

use gatehouse_core::Mono;

use super::interlock::Motion;
use super::line::Lead;
use crate::effect::ActId;
use crate::words::RequestId;

/// Why a motion is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A request was granted.
    Grant,
    /// A person asks.
    Person,
    /// Somebody passed, and the box closes.
    AutoClose,
    /// Something came under the closing boom.
    Blocked,
    /// The fire release.
    Fire,
}

/// One wish for one motion.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) motion: Motion,
    pub(super) cause: Cause,
    pub(super) command: Option<Box<str>>,
    pub(super) request: Option<RequestId>,
    pub(super) who: String,
    pub(super) by_override: bool,
    /// Not begun by then, it is not done.
    pub(super) expires: Option<Mono>,
}

impl Order {
    /// A wish of the gate itself.
    pub(super) fn own(motion: Motion, cause: Cause) -> Self {
        let who = match cause {
            Cause::Fire => "fire",
            Cause::Grant | Cause::Person | Cause::AutoClose | Cause::Blocked => "box",
        };
        Order { motion, cause, command: None, request: None, who: who.to_owned(), by_override: false, expires: None }
    }
}

/// A boom on its way.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) motion: Motion,
    /// True when the box sent it.
    pub(super) own: bool,
    pub(super) order: Option<Order>,
    pub(super) act: Option<ActId>,
    /// Not seen at its end by then, it is not confirmed.
    pub(super) deadline: Mono,
}

/// A pulse that waits for the pause before it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) order: Order,
    pub(super) due: Mono,
    pub(super) expires: Mono,
}

/// A door that is unlocked for somebody.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) until: Mono,
    pub(super) order: Order,
    /// The act that unlocks it, once it was sent.
    pub(super) act: Option<ActId>,
    /// True while no act was needed or sent for it yet.
    pub(super) unsent: bool,
}

/// An act under way.
#[derive(Debug)]
pub(super) struct Doing {
    pub(super) lead: Lead,
    /// What is written; `None`: a pulse.
    pub(super) set: Option<bool>,
    pub(super) order: Option<Order>,
}
