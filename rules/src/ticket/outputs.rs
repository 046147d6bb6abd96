//! The outputs that escalations switch: held on while a ticket wants them, off again for certain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{Mono, Name};

use super::spec::{Drive, OutputRef};
use crate::{Act, ActId, ActResult, Effect, Effects};

/// The key of the names of outputs that may be on.
pub(super) const OUTPUTS_KEY: &str = "ticket-outputs";
/// An act that has not begun by then is not done: the next step is taken instead.
const ACT_WAIT: Duration = Duration::from_secs(10);
/// An output that did not confirm is switched again after this.
const RETRY: Duration = Duration::from_secs(60);

/// A step of a ticket's escalation.
pub(super) type StepOf = (u64, usize);

/// An output that is held on or off.
#[derive(Debug)]
struct Level {
    output: OutputRef,
    /// The steps that want it on.
    by: BTreeSet<StepOf>,
    /// What it last confirmed.
    shown: Option<bool>,
    pending: Option<ActId>,
    retry_at: Option<Mono>,
    urgent: bool,
    /// Its last act failed, and that was told.
    failing: bool,
}

#[derive(Debug)]
enum ActFor {
    Level { name: Name, on: bool },
    Pulse { name: Name, step: StepOf },
}

/// What an act's end means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) output: Name,
    /// It was to switch on (or to pulse).
    pub(super) on: bool,
    /// The output confirmed.
    pub(super) confirmed: bool,
    /// The steps that it was for.
    pub(super) steps: Vec<StepOf>,
    /// It was not told before that the output fails (or, confirmed, that it works again).
    pub(super) news: bool,
}

/// All outputs of all escalations.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    next_act: u64,
    levels: BTreeMap<Name, Level>,
    acts: BTreeMap<ActId, ActFor>,
    /// Names that the journal has as possibly on.
    kept: BTreeSet<String>,
}

impl Outputs {
    pub(super) fn new(first_act: ActId) -> Self {
        Outputs { next_act: first_act.0, ..Outputs::default() }
    }

    /// Takes back what was kept.
    pub(super) fn restore(&mut self, names: BTreeSet<String>) {
        self.kept = names;
    }

    /// True when the journal has outputs as possibly on.
    pub(super) fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// After a restart: what may be on is put right. Gives the names that the configuration no longer has.
    pub(super) fn resume(&mut self, known: &BTreeMap<Name, OutputRef>) -> Vec<String> {
        let mut gone = Vec::new();
        for text in std::mem::take(&mut self.kept) {
            match known.get(text.as_str()) {
                Some(output) => {
                    self.level(output);
                    self.kept.insert(text);
                }
                None => gone.push(text),
            }
        }
        gone
    }

    fn level(&mut self, output: &OutputRef) -> &mut Level {
        self.levels.entry(output.name.clone()).or_insert_with(|| Level {
            output: output.clone(),
            by: BTreeSet::new(),
            shown: None,
            pending: None,
            retry_at: None,
            urgent: false,
            failing: false,
        })
    }

    /// Replaces what a ticket wants on.
    pub(super) fn want(&mut self, ticket: u64, urgent: bool, wanted: &[(usize, &OutputRef)]) {
        for level in self.levels.values_mut() {
            level.by.retain(|(by, step)| {
                *by != ticket || wanted.iter().any(|(ix, output)| ix == step && output.name == level.output.name)
            });
        }
        for (ix, output) in wanted {
            let level = self.level(output);
            if level.by.insert((ticket, *ix)) {
                level.urgent |= urgent;
                level.retry_at = None;
            }
        }
    }

    /// Sends a pulse for a step.
    pub(super) fn pulse(
        &mut self,
        now: Mono,
        output: &OutputRef,
        action: &Action,
        step: StepOf,
        effects: &mut Effects,
    ) {
        let purpose = ActFor::Pulse { name: output.name.clone(), step };
        self.act(now, output, action.clone(), false, purpose, effects);
    }

    fn act(
        &mut self,
        now: Mono,
        output: &OutputRef,
        action: Action,
        urgent: bool,
        purpose: ActFor,
        effects: &mut Effects,
    ) -> ActId {
        let id = ActId(self.next_act);
        self.next_act += 1;
        self.acts.insert(id, purpose);
        effects.push(Effect::Act(Act {
            id,
            device: output.device,
            action,
            expires: now + ACT_WAIT,
            urgent,
            gate: None,
        }));
        id
    }

    /// Switches what is not as it is wanted, and keeps the names of what may be on.
    pub(super) fn apply(&mut self, now: Mono, effects: &mut Effects) {
        self.levels.retain(|_, level| !(level.by.is_empty() && level.shown == Some(false) && level.pending.is_none()));
        let may_be_on: BTreeSet<String> = self.levels.keys().map(|name| name.as_str().to_owned()).collect();
        if may_be_on != self.kept {
            effects.keep(OUTPUTS_KEY, &may_be_on);
            self.kept = may_be_on;
        }
        let due: Vec<Name> =
            self.levels.iter().filter(|(_, level)| level.is_due(now)).map(|(n, _)| n.clone()).collect();
        for name in due {
            let Some(level) = self.levels.get_mut(&name) else { continue };
            let Drive::Level { on, off } = &level.output.drive else { continue };
            let want = !level.by.is_empty();
            let action = if want { on.clone() } else { off.clone() };
            let (output, urgent) = (level.output.clone(), want && level.urgent);
            let id = self.act(now, &output, action, urgent, ActFor::Level { name: name.clone(), on: want }, effects);
            if let Some(level) = self.levels.get_mut(&name) {
                level.pending = Some(id);
                level.urgent &= want;
            }
        }
    }

    /// Takes note of how an act ended; `None` when it is not one of these.
    pub(super) fn handle_result(&mut self, now: Mono, id: ActId, result: &ActResult) -> Option<Outcome> {
        let confirmed = match result {
            ActResult::Verified | ActResult::Acknowledged => true,
            ActResult::Failed(_) | ActResult::Refused(_) | ActResult::Expired | ActResult::Unknown(_) => false,
        };
        match self.acts.remove(&id)? {
            ActFor::Pulse { name, step } => {
                Some(Outcome { output: name, on: true, confirmed, steps: vec![step], news: !confirmed })
            }
            ActFor::Level { name, on } => {
                let level = self.levels.get_mut(&name)?;
                level.pending = None;
                level.shown = confirmed.then_some(on);
                level.retry_at = (!confirmed).then(|| now + RETRY);
                let news = level.failing == confirmed;
                level.failing = !confirmed;
                Some(Outcome { output: name, on, confirmed, steps: level.by.iter().copied().collect(), news })
            }
        }
    }

    /// True while an output of a step has not answered.
    pub(super) fn awaits(&self, step: StepOf, outputs: &[OutputRef]) -> bool {
        let pulse = |purpose: &ActFor| matches!(purpose, ActFor::Pulse { step: of, .. } if *of == step);
        let level = |output: &OutputRef| {
            self.levels.get(&output.name).is_some_and(|level| level.by.contains(&step) && level.pending.is_some())
        };
        self.acts.values().any(pulse) || outputs.iter().any(level)
    }

    /// True when an output is known to be on.
    pub(super) fn is_on(&self, name: &Name) -> bool {
        self.levels.get(name).is_some_and(|level| level.shown == Some(true))
    }

    /// When an output is to be switched again.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.levels.values().filter(|level| level.differs()).filter_map(|level| level.retry_at).min()
    }
}

impl Level {
    fn differs(&self) -> bool {
        self.pending.is_none() && self.shown != Some(!self.by.is_empty())
    }

    fn is_due(&self, now: Mono) -> bool {
        self.differs() && self.retry_at.is_none_or(|at| now >= at)
    }
}
