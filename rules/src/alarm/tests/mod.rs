//! The machine as a whole: stories, and a model beside it.

mod model;
mod stories;

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{BootId, Lane, Mono, Stamp, Trust, Wall};
use serde_json::Value;

use super::*;
use crate::words::{AlarmState, Occurrence, Priority};

/// A box with alarms, its journal and its clock.
pub(super) struct World {
    pub(super) specs: Vec<AlarmSpec>,
    pub(super) sources: Vec<AlarmSource>,
    pub(super) alarms: Alarms,
    pub(super) journal: BTreeMap<String, Vec<u8>>,
    /// Kind and fields of all events.
    pub(super) events: Vec<(&'static str, Value)>,
    pub(super) changes: Vec<AlarmChange>,
    pub(super) now: Stamp,
}

pub(super) fn id(text: &str) -> AlarmId {
    AlarmId::try_from(text.to_owned()).unwrap()
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn by(who: &str) -> By<'_> {
    By { who, comment: "seen" }
}

pub(super) fn source(name: &str, parents: &[&str]) -> AlarmSource {
    AlarmSource {
        id: id(name),
        device: None,
        parents: parents.iter().map(|parent| id(parent)).collect(),
        data_parents: Vec::new(),
    }
}

impl World {
    pub(super) fn new(specs: Vec<AlarmSpec>, sources: Vec<AlarmSource>) -> Self {
        let alarms = Alarms::new(specs.clone(), &sources, &Catalog::default()).unwrap();
        let now = Stamp {
            boot: BootId(1),
            mono: Mono::from_millis(1_000_000),
            wall: Wall(1_700_000_000_000_000),
            trust: Trust::Synchronised,
        };
        let (journal, events, changes) = (BTreeMap::new(), Vec::new(), Vec::new());
        World { specs, sources, alarms, journal, events, changes, now }
    }

    /// Writes what the machine wants into the journal, as one batch.
    pub(super) fn drain(&mut self) {
        while let Some(effect) = self.alarms.poll_effect() {
            match effect {
                Effect::Keep { key, value } => {
                    assert!(key.len() <= 256 && value.as_ref().is_none_or(|value| value.len() <= 12 * 1024));
                    match value {
                        Some(value) => self.journal.insert(key.into(), value.into()),
                        None => self.journal.remove(&*key),
                    };
                }
                Effect::Event { lane, event, .. } => {
                    assert_eq!(lane, Lane::Alarms);
                    self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                }
                Effect::Act(act) => panic!("alarms do not act: {act:?}"),
            }
        }
        self.changes.extend(std::iter::from_fn(|| self.alarms.poll_change()));
    }

    /// Lets time pass, with every timer at its instant.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        for _ in 0..100_000 {
            let Some(due) = self.alarms.poll_timeout().filter(|due| *due <= end) else { break };
            self.advance(due.max(self.now.mono));
            self.alarms.handle_timeout(self.now);
            self.drain();
        }
        assert!(self.alarms.poll_timeout().is_none_or(|due| due > end), "it does not come to rest");
        self.advance(end);
    }

    fn advance(&mut self, to: Mono) {
        let span = to.since(self.now.mono);
        self.now.mono = to;
        self.now.wall = Wall(self.now.wall.0 + i64::try_from(span.as_micros()).unwrap());
    }

    /// Kills the daemon and starts it again from the journal; with a new boot, after `down`.
    pub(super) fn restart(&mut self, reboot: Option<Duration>) {
        if let Some(down) = reboot {
            self.now.boot = BootId(self.now.boot.0 + 1);
            self.now.mono = Mono::from_millis(20_000);
            self.now.wall = Wall(self.now.wall.0 + i64::try_from(down.as_micros()).unwrap());
        }
        self.alarms = Alarms::new(self.specs.clone(), &self.sources, &Catalog::default()).unwrap();
        for (key, value) in &self.journal {
            self.alarms.restore(key, value).unwrap();
        }
        self.pass(Duration::ZERO);
    }

    pub(super) fn truth(&mut self, name: &str, truth: Truth) {
        self.alarms.handle_truth(self.now, &id(name), truth, || format!("{name} is up"));
        self.drain();
    }

    pub(super) fn found(&mut self, name: &str, active: bool) {
        let message = format!("{name} is up");
        let condition = Condition { id: id(name), active: Some(active), device: None, message };
        self.alarms.handle_condition(self.now, &condition);
        self.drain();
    }

    pub(super) fn view(&self, name: &str) -> AlarmView {
        self.alarms.view(&id(name)).unwrap()
    }

    pub(super) fn state(&self, name: &str) -> AlarmState {
        self.view(name).state
    }

    pub(super) fn acknowledge(&mut self, name: &str) -> AckResult {
        let occurrence = self.view(name).occurrence.unwrap_or(Occurrence(0));
        let result = self.alarms.handle_acknowledge(self.now, &id(name), occurrence, by("li"));
        self.drain();
        result
    }

    /// The events of a kind since the last call.
    pub(super) fn told(&mut self, kind: &str) -> Vec<Value> {
        let events = std::mem::take(&mut self.events);
        events.into_iter().filter(|(of, _)| *of == kind).map(|(_, json)| json).collect()
    }

    /// Entries to unacknowledged that were handed on since the last call.
    pub(super) fn raised(&mut self) -> Vec<AlarmChange> {
        let changes = std::mem::take(&mut self.changes);
        changes.into_iter().filter(|change| change.to == AlarmState::Unacknowledged).collect()
    }
}
