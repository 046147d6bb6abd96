//! The life of an accepted command: its turn, its end, and the time when its id is forgotten.

use gatehouse_core::{Lane, Mono, Stamp};

use super::entry::{Entry, Phase, Reached};
use super::outcome::Outcome;
use super::record::{PREFIX, StepEvent};
use super::request::CommandId;
use super::target::Target;
use super::{Answer, Commands, Dispatch, version};

impl Commands {
    /// Gives out a command that waits.
    pub(super) fn begin(&mut self, now: Stamp, id: &CommandId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let source = entry.source;
        let Some(job) = entry.job_mut() else { return };
        job.reached = Reached::Begun;
        let (request, expires, urgent) = (job.request.clone(), job.deadline, job.request.is_urgent());
        self.queues.entry(request.target.clone()).or_default().active.insert(id.clone());
        self.arm(id, expires + self.settings.patience);
        self.keep(now, id);
        self.dispatches.push_back(Dispatch { request, source, expires, urgent });
    }

    /// Begins what waits for a target, if nothing is at work there.
    pub(super) fn advance(&mut self, now: Stamp, target: &Target) {
        while let Some(queue) = self.queues.get_mut(target) {
            if !queue.active.is_empty() {
                return;
            }
            let Some(id) = queue.waiting.pop_front() else {
                self.queues.remove(target);
                return;
            };
            if self.entries.get(&id).and_then(Entry::job).is_some_and(|job| job.is_late(&now)) {
                self.finish(now, &id, Outcome::Expired);
            } else {
                self.begin(now, &id);
            }
        }
    }

    /// A STOP has come: what waits for the gate was asked for before it.
    pub(super) fn supersede(&mut self, now: Stamp, target: &Target) {
        let waiting = self.queues.get_mut(target).map(|queue| std::mem::take(&mut queue.waiting)).unwrap_or_default();
        for id in waiting {
            self.finish(now, &id, Outcome::Refused { reason: "superseded".into(), detail: None });
        }
    }

    /// Ends a command, and begins the next of its target.
    pub(super) fn end(&mut self, now: Stamp, id: &CommandId, outcome: Outcome) {
        if let Some(target) = self.finish(now, id, outcome) {
            self.advance(now, &target);
        }
    }

    /// Ends a command that is not over; its target.
    pub(super) fn finish(&mut self, now: Stamp, id: &CommandId, outcome: Outcome) -> Option<Target> {
        let outcome = outcome.clipped();
        let entry = self.entries.get_mut(id)?;
        let source = entry.source;
        let request = match std::mem::replace(&mut entry.phase, Phase::Ended(outcome.clone())) {
            Phase::Open(job) => job.request,
            Phase::Ended(before) => {
                entry.phase = Phase::Ended(before);
                return None;
            }
        };
        let forget_at = entry.forget_at(&now);
        if let Some(queue) = self.queues.get_mut(&request.target) {
            queue.active.remove(id);
            queue.waiting.retain(|waiting| waiting != id);
        }
        self.record(now, StepEvent::of(&request, source, "").ended(&outcome));
        self.arm(id, forget_at);
        self.keep(now, id);
        self.answers.push_back(Answer { id: id.clone(), source, outcome });
        Some(request.target)
    }

    pub(super) fn forget(&mut self, id: &CommandId) {
        if let Some(entry) = self.entries.remove(id) {
            self.horizon = entry.horizon.map_or(self.horizon, |wall| wall.max(self.horizon));
            self.effects.forget(format!("{PREFIX}{id}"));
        }
    }

    /// Sets the one timer of a command.
    pub(super) fn arm(&mut self, id: &CommandId, due: Mono) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(before) = entry.timer.replace(due) {
            self.timers.remove(&(before, id.clone()));
        }
        self.timers.insert((due, id.clone()));
    }

    pub(super) fn keep(&mut self, now: Stamp, id: &CommandId) {
        if let Some(entry) = self.entries.get(id) {
            self.effects.keep(format!("{PREFIX}{id}"), &entry.kept(&now));
        }
    }

    pub(super) fn record(&mut self, now: Stamp, event: StepEvent<'_>) {
        let event = StepEvent { rule_version: version(&self.rule_version), ..event };
        self.effects.event(Lane::Audit, now, "command", &event);
    }
}
