//! Alarms: conditions with the life of ANSI/ISA-18.2.
//!
//! Start with [`Alarms`], the machine; [`state`] is the diagram itself, `delay` says when a condition becomes an
//! alarm's, [`builtin`] lists what needs no rule.
//!
//! # What hides an alarm
//!
//! An alarm whose parent's condition holds is suppressed while its own condition holds too: the parent explains it,
//! also when the parent came later (it is then taken back out of what a person sees) and until the parent's
//! [`AlarmSpec::linger`] is over. What is left of an earlier condition (returned unacknowledged, latched) is owed to a
//! person and stays shown. A parent explains its children whatever its own state: shelved, suppressed or out of
//! service, its condition holds. Life safety is never explained away.
//!
//! # What is told
//!
//! Every change is an event `alarm` in [`Lane::Alarms`](gatehouse_core::Lane) and an [`AlarmChange`]; repeats of what
//! a person did are events that change nothing. While an alarm chatters, what its condition does is told once a minute
//! with a count; the changes themselves are all handed on.

pub mod builtin;
mod chatter;
mod counts;
mod delay;
mod event;
mod flood;
mod instance;
mod kept;
mod life;
mod people;
mod sources;
mod spec;
pub mod state;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gatehouse_core::{Mono, Name, Stamp, Trust};

pub use counts::{Counts, PriorityCounts};
pub use delay::Truth;
pub use flood::{Flood, Groups};
pub use kept::{Drill, Note, RestoreError};
pub use people::{AckResult, By, RequestResult, ResetResult, ShelveResult};
pub use spec::{AlarmSource, AlarmSpec, MAX_ALARMS, MAX_ID_BYTES, SpecError};
pub use view::AlarmView;

use crate::catalog::Catalog;
use crate::effect::{Effect, Effects};
use crate::words::{AlarmChange, AlarmId, Condition};
use counts::Windows;
use flood::FloodWatch;
use instance::Instance;
use kept::{Ceiling, KeptAlarm};
use spec::Layout;

/// Position of an alarm that has a source, for the hot path. It holds until the next [`Alarms::reload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmIx(u32);

/// All alarms of the box.
///
/// [`Alarms::restore`] takes back what was kept, before anything else. Then call [`Alarms::handle_truth_ix`] with
/// what rules say, [`Alarms::handle_condition`] with what other parts find, and the other `handle_*` with what people
/// do; after each drain [`Alarms::poll_effect`] and [`Alarms::poll_change`], and call [`Alarms::handle_timeout`] at
/// [`Alarms::poll_timeout`]. At the first call after the start, what was restored takes its place: data of every
/// condition counts as missing until it is told.
///
/// Kept are `alarm/CLASS/SOURCE` for each alarm that is not at rest, `alarm-occurrence` (the ceiling of numbers given),
/// `alarm-flood` and `alarm-drill`.
#[derive(Debug)]
pub struct Alarms {
    specs: Vec<AlarmSpec>,
    instances: Vec<Instance>,
    index: BTreeMap<Arc<AlarmId>, usize>,
    devices: Vec<Name>,
    /// What was restored and has not taken its place yet.
    restored: Vec<(AlarmId, KeptAlarm)>,
    awake: bool,
    trust: Trust,
    next_occurrence: u64,
    ceiling: u64,
    timers: BTreeSet<(Mono, usize)>,
    drill: Drill,
    flood: FloodWatch,
    windows: Windows,
    fleeting: u64,
    refused: u64,
    effects: Effects,
    changes: VecDeque<AlarmChange>,
}

impl Alarms {
    /// Alarms of these classes and sources; devices are named by `catalog`.
    ///
    /// # Errors
    /// Everything that does not fit together.
    pub fn new(specs: Vec<AlarmSpec>, sources: &[AlarmSource], catalog: &Catalog) -> Result<Self, Vec<SpecError>> {
        let layout = Layout::new(specs, sources)?;
        let mut alarms = Alarms {
            specs: Vec::new(),
            instances: Vec::new(),
            index: BTreeMap::new(),
            devices: Vec::new(),
            restored: Vec::new(),
            awake: false,
            trust: Trust::Unset,
            next_occurrence: 1,
            ceiling: 1,
            timers: BTreeSet::new(),
            drill: Drill::Off,
            flood: FloodWatch::default(),
            windows: Windows::default(),
            fleeting: 0,
            refused: 0,
            effects: Effects::default(),
            changes: VecDeque::new(),
        };
        alarms.lay_out(layout, catalog);
        Ok(alarms)
    }

    /// Takes back one kept document. To be called for each before anything else.
    ///
    /// # Errors
    /// When the key is not one of the alarms', or its document cannot be read.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> Result<(), RestoreError> {
        let unreadable = |why: String| RestoreError::Unreadable { key: key.to_owned(), why };
        match key {
            kept::OCCURRENCES => {
                let Ceiling { ceiling } = serde_json::from_slice(value).map_err(|e| unreadable(e.to_string()))?;
                self.ceiling = self.ceiling.max(ceiling);
                self.next_occurrence = self.ceiling;
            }
            kept::FLOOD => self.flood.restore(serde_json::from_slice(value).map_err(|e| unreadable(e.to_string()))?),
            kept::DRILL => self.drill = serde_json::from_slice(value).map_err(|e| unreadable(e.to_string()))?,
            _ => {
                let id = key.strip_prefix(kept::ALARM).ok_or_else(|| RestoreError::Foreign(key.to_owned()))?;
                let id = AlarmId::try_from(id.to_owned()).map_err(|e| unreadable(e.to_string()))?;
                let kept = serde_json::from_slice(value).map_err(|e| unreadable(e.to_string()))?;
                self.restored.push((id, kept));
            }
        }
        Ok(())
    }

    /// The position of an alarm that has a source.
    pub fn index_of(&self, id: &AlarmId) -> Option<AlarmIx> {
        let ix = *self.index.get(id)?;
        let configured = self.instances.get(ix).is_some_and(|instance| !instance.found);
        configured.then(|| u32::try_from(ix).ok().map(AlarmIx)).flatten()
    }

    /// Takes what is known of a rule's condition. `message` is asked for only when the condition comes.
    pub fn handle_truth(&mut self, now: Stamp, id: &AlarmId, truth: Truth, message: impl FnOnce() -> String) {
        match self.index_of(id) {
            Some(ix) => self.handle_truth_ix(now, ix, truth, message),
            None => self.refused += 1,
        }
    }

    /// [`Alarms::handle_truth`] by position; an unchanged truth costs one comparison.
    pub fn handle_truth_ix(&mut self, now: Stamp, ix: AlarmIx, truth: Truth, message: impl FnOnce() -> String) {
        self.wake(&now);
        let ix = ix.0 as usize;
        match self.instances.get(ix).map(|instance| instance.run.truth) {
            Some(known) if known == truth => {}
            Some(_) => self.turn(&now, ix, truth, message),
            None => self.refused += 1,
        }
    }

    /// Takes a condition that another part of the box has found. One without a source gets an alarm of its own once it
    /// holds, if its class is known.
    pub fn handle_condition(&mut self, now: Stamp, condition: &Condition) {
        self.wake(&now);
        let truth = match condition.active {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Missing,
        };
        let known = self.index.get(&condition.id).copied();
        let seat = known.or_else(|| if truth == Truth::True { self.seat_found(&condition.id) } else { None });
        let Some(ix) = seat else {
            self.refused += u64::from(truth == Truth::True);
            return;
        };
        let instance = &mut self.instances[ix];
        instance.device = condition.device.or(instance.device);
        if instance.run.truth != truth {
            self.turn(&now, ix, truth, || condition.message.clone());
        }
    }

    /// Begins, changes or ends a drill. What is raised while it covers its class is marked as drill until it is over;
    /// what still holds when the drill ends is raised again, for real.
    pub fn handle_drill(&mut self, now: Stamp, drill: Drill) {
        self.wake(&now);
        if self.drill == drill {
            return;
        }
        self.drill = drill;
        match self.drill {
            Drill::Off => self.effects.forget(kept::DRILL),
            Drill::All | Drill::Classes(_) => self.effects.keep(kept::DRILL, &self.drill),
        }
        for ix in 0..self.instances.len() {
            self.end_drill(&now, ix);
        }
    }

    /// Takes changed classes and sources. Alarms that stay keep their state; those that go end with an event.
    ///
    /// # Errors
    /// Everything that does not fit together; nothing was changed then.
    pub fn reload(
        &mut self,
        now: Stamp,
        specs: Vec<AlarmSpec>,
        sources: &[AlarmSource],
        catalog: &Catalog,
    ) -> Result<(), Vec<SpecError>> {
        let layout = Layout::new(specs, sources)?;
        self.wake(&now);
        self.relay(&now, layout, catalog);
        Ok(())
    }

    /// The next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// The next change of an alarm's state or condition.
    pub fn poll_change(&mut self) -> Option<AlarmChange> {
        self.changes.pop_front()
    }

    /// When [`Alarms::handle_timeout`] is to be called; at once after the start.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if !self.awake {
            return Some(Mono(0));
        }
        self.timers.first().map(|(at, _)| *at).into_iter().chain(self.flood.due()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.wake(&now);
        let mut due = Vec::new();
        while let Some((_, ix)) = self.timers.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.timers.pop_first();
            self.instances[ix].run.due = None;
            due.push(ix);
        }
        for ix in due {
            self.tick(&now, ix);
        }
        self.tick_flood(now);
    }
}
