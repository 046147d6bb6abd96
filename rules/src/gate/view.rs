//! What the API shows of a gate.

use gatehouse_core::Mono;
use serde::Serialize;

use super::condition::Class;
use super::input::Role;
use super::machine::Gate;
use super::spec::GateKind;
use super::state::State;
use crate::instant::Instant;
use crate::words::RequestId;

/// One gate, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateView {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: GateKind,
    /// What it does.
    pub state: State,
    /// Since when; `None` before anything happened.
    pub since: Option<Instant>,
    /// Its sensors.
    pub sensors: Vec<SensorView>,
    /// Since when a fire release stands.
    pub fire: Option<Instant>,
    /// Who locked the lane.
    pub locked_by: Option<String>,
    /// Who holds it open.
    pub held_by: Option<String>,
    /// Requests that were granted and wait for somebody to pass.
    pub waiting: Vec<RequestId>,
    /// The last request that was granted, or passage that was seen.
    pub last_passage: Option<RequestId>,
    /// The conditions that hold, by the class of their alarm.
    pub conditions: Vec<&'static str>,
}

/// One sensor, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SensorView {
    /// What it tells.
    pub role: Role,
    /// Whether it is active; `None` when its last value is too old.
    pub active: Option<bool>,
    /// The age of its last value in milliseconds.
    pub age_ms: Option<u64>,
    /// Why the last reading had no value.
    pub lost: Option<String>,
}

impl Gate {
    pub(super) fn view(&self, now: Mono) -> GateView {
        let sensors = self.inputs.iter().map(|(role, input)| SensorView {
            role: *role,
            active: input.active(),
            age_ms: input.seen().map(|seen| u64::try_from(now.since(seen).as_millis()).unwrap_or(u64::MAX)),
            lost: input.lost().map(|why| why.to_string()),
        });
        let holds = |class: &Class| self.holds(*class) == Some(true);
        GateView {
            id: self.spec.id.to_string(),
            kind: self.spec.kind,
            state: self.state,
            since: self.since,
            sensors: sensors.collect(),
            fire: self.kept.fire,
            locked_by: self.kept.locked.clone(),
            held_by: self.kept.hold.as_ref().map(|hold| hold.who.clone()),
            waiting: self.grants.iter().map(|grant| grant.record.request).collect(),
            last_passage: self.last_passage,
            conditions: Class::ALL.into_iter().filter(holds).map(Class::as_str).collect(),
        }
    }
}
