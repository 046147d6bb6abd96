//! How far a ticket's escalation has come, and which step is next.

use std::time::Duration;

use gatehouse_core::Stamp;
use serde::{Deserialize, Serialize};

use super::clock::RunClock;
use super::spec::{EscalationStep, STEPS_MAX, TicketKind};
use crate::words::{Mode, Priority};

/// How far one step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not taken.
    Waiting,
    /// Taken; what it switched has not answered.
    Sent,
    /// It has reached somebody: an output confirmed, or its message stands on the guard's status.
    Delivered,
    /// None of its outputs confirmed.
    Failed,
}

/// Why an escalation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationEnd {
    /// Somebody accepted the ticket.
    Accepted,
    /// Somebody acknowledged, shelved or removed the alarm.
    Acknowledged,
    /// The condition has stayed away for the settle time.
    Cleared,
    /// The ticket is finished.
    Finished,
    /// The drill is over, or a real alarm came.
    DrillOver,
}

/// The escalation of one ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Escalation {
    pub(super) clock: RunClock,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<EscalationEnd>,
}

impl Escalation {
    /// One that begins now.
    pub(super) fn begin(now: &Stamp) -> Self {
        Escalation { clock: RunClock::running(now), steps: Vec::new(), ended: None }
    }

    pub(super) fn steps(&self) -> &[StepState] {
        &self.steps
    }

    pub(super) fn step(&self, ix: usize) -> StepState {
        self.steps.get(ix).copied().unwrap_or(StepState::Waiting)
    }

    /// Notes how far a step is; steps beyond the bound are not noted.
    pub(super) fn note(&mut self, ix: usize, state: StepState) {
        if ix >= STEPS_MAX {
            return;
        }
        if self.steps.len() <= ix {
            self.steps.resize(ix + 1, StepState::Waiting);
        }
        if let Some(step) = self.steps.get_mut(ix) {
            *step = state;
        }
    }

    /// True once any step was taken.
    pub(super) fn has_begun(&self) -> bool {
        self.steps.iter().any(|step| *step != StepState::Waiting)
    }

    /// The steps that were taken, with their positions.
    pub(super) fn taken<'a>(&self, kind: &'a TicketKind) -> impl Iterator<Item = (usize, &'a EscalationStep)> {
        let configured = kind.escalation.iter().take(STEPS_MAX).enumerate();
        configured.filter(|(ix, _)| self.step(*ix) != StepState::Waiting)
    }

    /// The next step, and what must have run on the clock for it. A step that follows a failed one is due at once, and
    /// so is the first one of P0.
    pub(super) fn next(&self, kind: &TicketKind, priority: Priority, mode: Option<Mode>) -> Option<(usize, Duration)> {
        if self.ended.is_some() {
            return None;
        }
        let mut hurry = priority == Priority::P0;
        let mut next: Option<(usize, Duration)> = None;
        for (ix, step) in kind.escalation.iter().take(STEPS_MAX).enumerate() {
            match self.step(ix) {
                StepState::Failed => hurry = true,
                StepState::Sent | StepState::Delivered => hurry = false,
                StepState::Waiting if step.when.begins(mode) => {
                    let due = if hurry { Duration::ZERO } else { step.after };
                    if next.is_none_or(|(_, earliest)| due < earliest) {
                        next = Some((ix, due));
                    }
                    hurry = false;
                }
                StepState::Waiting => {}
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::When;
    use super::*;

    fn kind(steps: &[(u64, When)]) -> TicketKind {
        let step = |&(after, when): &(u64, When)| EscalationStep {
            after: Duration::from_secs(after),
            outputs: Vec::new(),
            guard_message: true,
            when,
        };
        TicketKind { escalation: steps.iter().map(step).collect(), ..TicketKind::default() }
    }

    fn secs(next: Option<(usize, Duration)>) -> Option<(usize, u64)> {
        next.map(|(ix, due)| (ix, due.as_secs()))
    }

    #[test]
    fn a_failed_step_makes_the_next_one_due_at_once() {
        let kind = kind(&[(60, When::Always), (300, When::Always), (900, When::Always)]);
        let mut escalation = Escalation::begin(&Stamp::default());
        assert_eq!(secs(escalation.next(&kind, Priority::P2, None)), Some((0, 60)));
        escalation.note(0, StepState::Failed);
        assert_eq!(secs(escalation.next(&kind, Priority::P2, None)), Some((1, 0)));
        escalation.note(1, StepState::Delivered);
        assert_eq!(secs(escalation.next(&kind, Priority::P2, None)), Some((2, 900)));
    }

    #[test]
    fn life_safety_does_not_wait_for_its_first_step() {
        let kind = kind(&[(60, When::Always), (300, When::Always)]);
        let mut escalation = Escalation::begin(&Stamp::default());
        assert_eq!(secs(escalation.next(&kind, Priority::P0, None)), Some((0, 0)));
        escalation.note(0, StepState::Sent);
        assert_eq!(secs(escalation.next(&kind, Priority::P0, None)), Some((1, 300)));
    }

    #[test]
    fn a_step_for_outages_is_passed_over_while_the_core_can_be_reached() {
        let kind = kind(&[(60, When::Offline), (300, When::Always)]);
        let escalation = Escalation::begin(&Stamp::default());
        assert_eq!(secs(escalation.next(&kind, Priority::P0, Some(Mode::Online))), Some((1, 0)));
        assert_eq!(secs(escalation.next(&kind, Priority::P2, Some(Mode::Degraded))), Some((0, 60)));
    }
}
