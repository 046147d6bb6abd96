//! Rules: conditions over points, evaluated when something that they depend on has changed, and not otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_core::{DeviceIx, Mono, PointIx, Reading, Stamp};

use super::latest::Latest;
use crate::alarm::{AlarmIx, AlarmSpec, Alarms, Truth};
use crate::catalog::{Catalog, PointRef};
use crate::expr::{Expr, Facts, Outcome, Template};
use crate::words::{AlarmId, Mode};

/// One alarm rule of the site.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    /// The class of its alarms.
    pub alarm: AlarmSpec,
    /// One for each device that it selects, or one for the site.
    pub instances: Vec<Arc<RuleInstance>>,
}

/// A rule over one device, or over the site.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleInstance {
    /// The device's id, or `site`.
    pub source: String,
    /// The device.
    pub device: Option<DeviceIx>,
    /// What raises it.
    pub when: Expr,
    /// What ends it, once it was raised; `None`: that `when` does not hold.
    pub clear_when: Option<Expr>,
    /// What is told, with values in it.
    pub message: Template,
}

/// What expressions may ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) latest: &'a Latest,
    pub(super) mode: Mode,
    pub(super) now: Mono,
    pub(super) since: Mono,
}

impl Facts for View<'_> {
    fn reading(&self, at: PointRef) -> Option<&Reading> {
        self.latest.reading(at)
    }

    fn last_value_at(&self, at: PointRef) -> Option<Mono> {
        self.latest.value_at(at)
    }

    fn is_online(&self, device: DeviceIx) -> Option<bool> {
        self.latest.is_online(device)
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn now(&self) -> Mono {
        self.now
    }

    fn watched_since(&self) -> Mono {
        self.since
    }
}

/// The rules of the site, by what they depend on.
#[derive(Debug, Default)]
pub(super) struct Rules {
    entries: Vec<Entry>,
    /// Entries by device and point.
    by_point: Vec<Vec<Vec<u32>>>,
    by_online: BTreeMap<DeviceIx, Vec<u32>>,
    by_mode: Vec<u32>,
    timers: BTreeSet<(Mono, u32)>,
    dirty: Vec<u32>,
    evaluations: u64,
}

#[derive(Debug)]
struct Entry {
    rule: Arc<RuleInstance>,
    id: AlarmId,
    alarm: AlarmIx,
    /// Its condition held when it could last be told.
    raised: bool,
    /// It waits to be evaluated.
    waits: bool,
    due: Option<Mono>,
    /// The last evaluation had no result, which no data explains.
    failed: bool,
}

impl Rules {
    /// The rules of these specs whose alarms are known.
    pub(super) fn new(specs: &[RuleSpec], catalog: &Catalog, alarms: &Alarms) -> Self {
        let mut rules = Rules {
            by_point: catalog.devices.iter().map(|device| vec![Vec::new(); device.points.len()]).collect(),
            ..Rules::default()
        };
        for spec in specs {
            for rule in &spec.instances {
                let id = AlarmId { class: spec.alarm.class.clone(), source: rule.source.clone() };
                if let Some(alarm) = alarms.index_of(&id) {
                    rules.add(rule.clone(), id, alarm);
                }
            }
        }
        rules
    }

    fn add(&mut self, rule: Arc<RuleInstance>, id: AlarmId, alarm: AlarmIx) {
        let Ok(at) = u32::try_from(self.entries.len()) else { return };
        for inputs in [Some(&rule.when), rule.clear_when.as_ref()].into_iter().flatten().map(Expr::inputs) {
            for point in &inputs.points {
                let device = usize::try_from(point.device.0).ok().and_then(|ix| self.by_point.get_mut(ix));
                if let Some(list) = device.and_then(|points| points.get_mut(usize::from(point.point.0))) {
                    push_once(list, at);
                }
            }
            for device in &inputs.online {
                push_once(self.by_online.entry(*device).or_default(), at);
            }
            if inputs.mode {
                push_once(&mut self.by_mode, at);
            }
        }
        self.dirty.push(at);
        self.entries.push(Entry { rule, id, alarm, raised: false, waits: true, due: None, failed: false });
    }

    /// Takes over which alarms' conditions held before the start.
    pub(super) fn resume(&mut self, alarms: &Alarms) {
        for entry in &mut self.entries {
            entry.raised = alarms.view(&entry.id).is_some_and(|view| view.active);
        }
    }

    /// A point was read.
    pub(super) fn handle_reading(&mut self, device: DeviceIx, point: PointIx) {
        let points = usize::try_from(device.0).ok().and_then(|ix| self.by_point.get(ix));
        let Some(list) = points.and_then(|points| points.get(usize::from(point.0))) else { return };
        mark(&mut self.entries, &mut self.dirty, list);
    }

    /// A device answers, or no longer.
    pub(super) fn handle_online(&mut self, device: DeviceIx) {
        if let Some(list) = self.by_online.get(&device) {
            mark(&mut self.entries, &mut self.dirty, list);
        }
    }

    /// The mode has changed.
    pub(super) fn handle_mode(&mut self) {
        mark(&mut self.entries, &mut self.dirty, &self.by_mode);
    }

    /// Some time has passed.
    pub(super) fn handle_timeout(&mut self, now: Mono) {
        while let Some((at, ix)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, ix));
            mark(&mut self.entries, &mut self.dirty, &[ix]);
        }
    }

    /// When an outcome may change though nothing is read.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many conditions were evaluated since the start.
    pub(super) fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// Evaluates what has to be, and tells the alarms. `failed` is told of rules that have no result any more, and of
    /// those that have one again.
    pub(super) fn evaluate(
        &mut self,
        now: Stamp,
        view: &View<'_>,
        alarms: &mut Alarms,
        mut failed: impl FnMut(&AlarmId, Option<String>),
    ) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for ix in dirty.drain(..) {
            let Some(entry) = usize::try_from(ix).ok().and_then(|at| self.entries.get_mut(at)) else { continue };
            entry.waits = false;
            self.evaluations += 1;
            let outcome = entry.outcome(view);
            let why = if let Outcome::Failed(why) = &outcome { Some(why.clone()) } else { None };
            if why.is_some() != entry.failed {
                entry.failed = why.is_some();
                failed(&entry.id, why);
            }
            let truth = match outcome {
                Outcome::True => Truth::True,
                Outcome::False => Truth::False,
                Outcome::Missing(_) | Outcome::Failed(_) => Truth::Missing,
            };
            match truth {
                Truth::True => entry.raised = true,
                Truth::False => entry.raised = false,
                Truth::Missing => {}
            }
            let message = &entry.rule.message;
            alarms.handle_truth_ix(now, entry.alarm, truth, || message.render(view));
            let due = entry.changes_at(view);
            if due != entry.due {
                if let Some(at) = entry.due {
                    self.timers.remove(&(at, ix));
                }
                entry.due = due;
                self.timers.extend(due.map(|at| (at, ix)));
            }
        }
        self.dirty = dirty;
    }
}

impl Entry {
    /// Whether its condition holds. Once raised, only what clears it counts.
    fn outcome(&self, view: &View<'_>) -> Outcome {
        match self.rule.clear_when.as_ref().filter(|_| self.raised) {
            None => self.rule.when.evaluate(view),
            Some(clear) => match clear.evaluate(view) {
                Outcome::True => Outcome::False,
                Outcome::False => Outcome::True,
                other @ (Outcome::Missing(_) | Outcome::Failed(_)) => other,
            },
        }
    }

    fn changes_at(&self, view: &View<'_>) -> Option<Mono> {
        match self.rule.clear_when.as_ref().filter(|_| self.raised) {
            None => self.rule.when.changes_at(view),
            Some(clear) => clear.changes_at(view),
        }
    }
}

fn push_once(list: &mut Vec<u32>, at: u32) {
    if list.last() != Some(&at) {
        list.push(at);
    }
}

fn mark(entries: &mut [Entry], dirty: &mut Vec<u32>, list: &[u32]) {
    for ix in list {
        let entry = usize::try_from(*ix).ok().and_then(|at| entries.get_mut(at));
        if let Some(entry) = entry.filter(|entry| !entry.waits) {
            entry.waits = true;
            dirty.push(*ix);
        }
    }
}
