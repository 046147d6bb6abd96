//! What the machines of this crate say to each other. The engine carries it from one to the next.

use std::collections::BTreeMap;

use gatehouse_core::{DeviceIx, Name, Stamp};
use serde::{Deserialize, Serialize};

/// Names one alarm: a rule (or a built-in class) and the thing that it watches. Written `class/source`, for example
/// `overvoltage/meter-101` or `device_offline/meter-101`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AlarmId {
    /// The rule's id, or the built-in class.
    pub class: String,
    /// The device, bus, gate or part of the box that it watches.
    pub source: String,
}

impl std::fmt::Display for AlarmId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.class, self.source)
    }
}

impl From<AlarmId> for String {
    fn from(id: AlarmId) -> String {
        id.to_string()
    }
}

/// A text that names no alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an alarm is named CLASS/SOURCE, for example device_offline/meter-101")]
pub struct InvalidAlarmId;

impl TryFrom<String> for AlarmId {
    type Error = InvalidAlarmId;

    fn try_from(text: String) -> Result<Self, InvalidAlarmId> {
        let (class, source) = text.split_once('/').ok_or(InvalidAlarmId)?;
        if class.is_empty() || source.is_empty() {
            return Err(InvalidAlarmId);
        }
        Ok(AlarmId { class: class.to_owned(), source: source.to_owned() })
    }
}

/// The states of ANSI/ISA-18.2-2016, by the letters of its diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// A: no condition, nothing to acknowledge.
    Normal,
    /// B: the condition holds and nobody has acknowledged it.
    Unacknowledged,
    /// C: the condition holds and is acknowledged.
    Acknowledged,
    /// D: the condition is gone, unacknowledged.
    ReturnedUnacknowledged,
    /// E: latched: the condition is gone, unacknowledged, to be reset.
    LatchedUnacknowledged,
    /// F: latched: the condition is gone, acknowledged, to be reset.
    LatchedAcknowledged,
    /// G: shelved by an operator until a known end.
    Shelved,
    /// H: suppressed by design, because a parent's alarm explains it.
    Suppressed,
    /// I: out of service.
    OutOfService,
}

/// How soon somebody has to respond: the consequence and the time that is left, not the sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Life safety: fire, trapped persons, gas.
    P0,
    /// High: flood, pump failure, a stuck gate.
    P1,
    /// Medium.
    P2,
    /// Low.
    P3,
}

impl Priority {
    /// The name in rules, events and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::P0 => "p0",
            Priority::P1 => "p1",
            Priority::P2 => "p2",
            Priority::P3 => "p3",
        }
    }
}

/// One occurrence of an alarm: each entry to [`AlarmState::Unacknowledged`] is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Occurrence(pub u64);

/// An alarm went from one state to another.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmChange {
    /// The alarm.
    pub id: AlarmId,
    /// Its occurrence after the change.
    pub occurrence: Occurrence,
    /// The state before.
    pub from: AlarmState,
    /// The state now.
    pub to: AlarmState,
    /// Whether the condition holds, whatever the state.
    pub active: bool,
    /// When.
    pub at: Stamp,
    /// How urgent it is.
    pub priority: Priority,
    /// What happened, for people, with its values.
    pub message: String,
    /// What to do, for people; `""` for none.
    pub instruction: String,
    /// The device that it is about.
    pub device: Option<DeviceIx>,
    /// The alarm that explains this one, if one does.
    pub cause: Option<AlarmId>,
    /// The kind of ticket that it opens; `None`: none.
    pub ticket: Option<Name>,
    /// True while a drill is on.
    pub drill: bool,
}

/// A condition that another part of the box has found: the alarms give it its life.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The alarm that it belongs to; its class is a built-in one.
    pub id: AlarmId,
    /// Whether it holds; `None`: it cannot be told now, which changes nothing.
    pub active: Option<bool>,
    /// The device that it is about.
    pub device: Option<DeviceIx>,
    /// What happened, for people.
    pub message: String,
}

/// Which way something goes through a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the site.
    In,
    /// Out of the site.
    Out,
}

impl Direction {
    /// The name in records and questions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// Names one request to pass a gate, for ever: the box's own counter, kept in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// Who decided a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// The box, by its own credentials and rules.
    Box,
    /// The core, in time.
    Core,
    /// The box by the gate's offline policy, because the core could not be asked or did not answer in time.
    OfflinePolicy,
    /// A guard.
    Guard,
    /// A controller or camera at the gate that keeps its own list.
    Controller,
    /// An exit button.
    ExitButton,
    /// A command of the core.
    Command,
    /// A fire release.
    Fire,
}

/// The class of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HolderClass {
    /// Lives here.
    Resident,
    /// Works here.
    Staff,
    /// Is expected.
    Visitor,
    /// Fire brigade, ambulance, police.
    Emergency,
}

/// A request to pass a gate, decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The request.
    pub request: RequestId,
    /// The gate, by its id.
    pub gate: String,
    /// The reader, camera or person that it came by.
    pub via: String,
    /// Which way.
    pub direction: Direction,
    /// Whether it may pass.
    pub allowed: bool,
    /// Why: `granted`, or a stable reason such as `unknown_credential`, `out_of_schedule`, `anti_passback`.
    pub reason: String,
    /// Who decided.
    pub decided_by: DecidedBy,
    /// The holder's pseudonym; `None` where nobody is known.
    pub who: Option<String>,
    /// The holder's class, where one is known.
    pub class: Option<HolderClass>,
    /// Further facts for the passage record, for example `unpaid` or the plate's confidence.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

/// What came of a request that was granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    /// The verdict.
    pub verdict: Verdict,
    /// True when a sensor saw somebody go through; false when nobody did; `None` when no sensor can tell.
    pub verified: Option<bool>,
    /// When.
    pub at: Stamp,
}

/// Whether the core can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The core can be reached, and has what it is owed.
    Online,
    /// The core cannot be reached.
    Degraded,
    /// The core can be reached again and is being given what it missed.
    Recovering,
}

impl Mode {
    /// The name in rules, events and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Online => "online",
            Mode::Degraded => "degraded",
            Mode::Recovering => "recovering",
        }
    }
}
