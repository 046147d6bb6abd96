//! What the machines of this crate want done. The shell does it, in the order of [`Effect`]s.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Event, Lane, Mono, Name, NoData, Stamp};
use serde::Serialize;

/// Something that the shell is to do.
///
/// All `Keep`s and `Event`s that one `handle_*` call caused go into one atomic batch of the journal. Acts that are not
/// [`Act::urgent`] are sent once that batch is durable; urgent ones (fire release, STOP) at once, before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Sets or deletes a piece of durable state.
    Keep {
        /// At most 256 bytes: a kind, a slash and an identity, for example `alarm/device_offline/meter-101`.
        key: Box<str>,
        /// At most 12 KB; `None` deletes.
        value: Option<Box<[u8]>>,
    },
    /// Records an event in one of the event lanes.
    Event {
        /// The lane.
        lane: Lane,
        /// When it happened.
        at: Stamp,
        /// What happened.
        event: Event,
    },
    /// Has a device act.
    Act(Act),
}

/// The number of one act, unique within one run of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActId(pub u64);

/// One request to one device. It is sent at most once, and ends with exactly one [`ActResult`].
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// Its number.
    pub id: ActId,
    /// The device.
    pub device: DeviceIx,
    /// What the device is to do.
    pub action: Action,
    /// Not begun by then, it is not done at all.
    pub expires: Mono,
    /// True when it does not wait for the journal.
    pub urgent: bool,
    /// The gate that it works; `None` for everything else.
    pub gate: Option<Name>,
}

impl Act {
    /// True when an urgent act that was decided later makes this one wrong: both work one gate, or both write one point.
    pub fn gives_way_to(&self, urgent: &Act) -> bool {
        let point = |act: &Act| match act.action {
            Action::Write(point, _) => Some(point),
            Action::Read(_)
            | Action::Recall { .. }
            | Action::LoadRecords { .. }
            | Action::Call { .. }
            | Action::Identify
            | Action::Registers(_)
            | Action::Controller(_) => None,
        };
        match (&self.gate, &urgent.gate) {
            (Some(gate), Some(other)) => gate == other,
            (Some(_), None) | (None, Some(_)) => false,
            (None, None) => self.device == urgent.device && point(self).is_some() && point(self) == point(urgent),
        }
    }
}

/// How an act ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActResult {
    /// Done, and read back.
    Verified,
    /// The device confirmed it; nothing could be read back.
    Acknowledged,
    /// It was not done: the device refused it, or nothing was sent.
    Failed(NoData),
    /// It was not accepted; nothing was sent.
    Refused(ActRefusal),
    /// Its time was over before it could be sent.
    Expired,
    /// It was sent and not confirmed: it may or may not have been done.
    Unknown(NoData),
}

/// Why an act was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRefusal {
    /// A stable name, for example `no_bus`.
    pub reason: Box<str>,
    /// More, for people.
    pub detail: Option<Box<str>>,
}

impl From<&str> for ActRefusal {
    fn from(reason: &str) -> Self {
        ActRefusal { reason: reason.into(), detail: None }
    }
}

impl fmt::Display for ActRefusal {
    /// Writes the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The effects of one machine that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Effects {
    queue: VecDeque<Effect>,
}

impl Effects {
    /// Takes the next one.
    pub fn poll(&mut self) -> Option<Effect> {
        self.queue.pop_front()
    }

    /// Puts one at the end.
    pub fn push(&mut self, effect: Effect) {
        self.queue.push_back(effect);
    }

    /// Keeps a document under a key.
    ///
    /// # Panics
    /// When the document cannot be JSON, which is a mistake in its type.
    pub fn keep<T: Serialize>(&mut self, key: impl Into<Box<str>>, document: &T) {
        let value = serde_json::to_vec(document).expect("state has text keys only");
        self.push(Effect::Keep { key: key.into(), value: Some(value.into()) });
    }

    /// Deletes what is kept under a key.
    pub fn forget(&mut self, key: impl Into<Box<str>>) {
        self.push(Effect::Keep { key: key.into(), value: None });
    }

    /// Records an event.
    ///
    /// # Panics
    /// When the document cannot be JSON, which is a mistake in its type.
    pub fn event<T: Serialize>(&mut self, lane: Lane, at: Stamp, kind: &'static str, document: &T) {
        let json: Arc<str> = serde_json::to_string(document).expect("events have text keys only").into();
        self.push(Effect::Event { lane, at, event: Event { kind, json } });
    }
}
