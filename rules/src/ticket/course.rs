//! What happens to a ticket as time passes: targets, settling, escalation, and counts that are told.

use std::time::Duration;

use gatehouse_core::{Lane, Mono, Stamp};
use serde::Serialize;

use super::clock::RunClock;
use super::escalation::{Escalation, EscalationEnd, StepState};
use super::machine::Tickets;
use super::order::{Ticket, TicketState};
use super::outputs::Outcome;
use super::quiet::Quiet;
use super::spec::{Drive, EscalationStep, OutputRef, STEPS_MAX};
use super::view::TicketChange;
use crate::ActResult;
use crate::words::{AlarmId, Priority};

/// Counts are told this long after they changed,
const TELL_AFTER: Duration = Duration::from_secs(2);
/// and at most this often.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Where quiet hours hold, a ticket is looked at this often: the wall clock may have been set.
const RECHECK: Duration = Duration::from_secs(600);
/// Shortest time to the next look.
const SOONEST: Duration = Duration::from_millis(1);

/// An event of kind `ticket_sla`.
#[derive(Serialize)]
struct SlaEvent {
    ticket: u64,
    box_rev: u64,
    event: &'static str,
    which: &'static str,
    target_min: u32,
    ran_s: u64,
    /// There is more that could not be counted.
    uncounted: bool,
    alarm: AlarmId,
    priority: Priority,
}

/// An event of kind `ticket_escalation`. `step` counts from 1.
#[derive(Serialize)]
struct EscalationEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    box_rev: Option<u64>,
    /// `step`, `delivered`, `not_delivered`, `ended`, `output_failed`, `output_works`, `output_gone`.
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    guard_message: bool,
    /// How the output answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<EscalationEnd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    drill: bool,
}

impl<'a> EscalationEvent<'a> {
    fn new(event: &'static str) -> Self {
        EscalationEvent {
            ticket: None,
            box_rev: None,
            event,
            step: None,
            outputs: Vec::new(),
            guard_message: false,
            result: None,
            why: None,
            priority: None,
            drill: false,
        }
    }

    fn of(event: &'static str, ticket: &Ticket) -> Self {
        EscalationEvent {
            ticket: Some(ticket.number),
            box_rev: Some(ticket.box_rev),
            priority: Some(ticket.priority),
            drill: ticket.drill,
            ..EscalationEvent::new(event)
        }
    }
}

fn step_event<'a>(event: &'static str, ticket: &Ticket, ix: usize, step: &'a EscalationStep) -> EscalationEvent<'a> {
    EscalationEvent {
        step: Some(ix + 1),
        outputs: step.outputs.iter().map(|output| output.name.as_str()).collect(),
        guard_message: step.guard_message,
        ..EscalationEvent::of(event, ticket)
    }
}

/// How an act ended, as events say it.
fn result_text(result: &ActResult) -> String {
    match result {
        ActResult::Verified => "verified".to_owned(),
        ActResult::Acknowledged => "acknowledged".to_owned(),
        ActResult::Failed(why) => format!("failed: {why}"),
        ActResult::Refused(why) => format!("refused: {}", super::text::bounded(&why.reason, 200)),
        ActResult::Expired => "expired".to_owned(),
        ActResult::Unknown(why) => format!("unknown: {why}"),
    }
}

impl Tickets {
    /// Lets a ticket take its course up to now.
    pub(super) fn advance(&mut self, now: &Stamp, number: u64) {
        self.settle(now, number);
        self.check_targets(now, number);
        self.escalate(now, number);
        self.tell_counts(now, number);
    }

    /// When a ticket has to be looked at again.
    pub(super) fn next_time(&self, now: &Stamp, number: u64) -> Option<Mono> {
        let ticket = self.book.get(&number)?;
        let (kind, quiet) = (self.kind(&ticket.kind), self.quiet_of(ticket));
        let minutes = |min: u32| Duration::from_secs(u64::from(min) * 60);
        let left = |clock: &RunClock, target: Option<u32>| {
            target.filter(|_| !clock.breached).and_then(|min| clock.until(minutes(min), now, quiet))
        };
        let step = ticket.escalation.next(kind, ticket.priority, self.mode);
        let clocks = [
            left(&ticket.response, ticket.targets.response_min),
            left(&ticket.resolve, ticket.targets.resolve_min),
            step.and_then(|(_, due)| ticket.escalation.clock.until(due, now, quiet)),
        ];
        let clocks = clocks.into_iter().flatten().map(|left| if quiet.is_none() { left } else { left.min(RECHECK) });
        let settle = ticket.cleared.as_ref().filter(|_| !ticket.settled);
        let settle = settle.and_then(|away| away.until(kind.settle, now, Quiet::NONE));
        let next = clocks.chain(settle).min().map(|left| now.mono + left.max(SOONEST));
        next.into_iter().chain(self.tell_at.get(&number).copied()).min()
    }

    fn settle(&mut self, now: &Stamp, number: u64) {
        let Some(ticket) = self.book.get(&number) else { return };
        let kind = self.kind(&ticket.kind);
        let (settle, ends) = (kind.settle, kind.ends_on.cleared);
        let gone = ticket.cleared.as_ref().is_some_and(|away| away.ran(now, Quiet::NONE) >= settle);
        let (live, settles) = (ticket.is_live(), !ticket.active && !ticket.settled && gone);
        if settles {
            if let Some(ticket) = self.book.get_mut(&number) {
                ticket.settled = true;
            }
            self.touch(number);
            if live {
                self.tell(now, number, TicketChange::CloseProposed, None, false);
            }
            if live && ends {
                self.end_escalation(now, number, EscalationEnd::Cleared);
            }
        }
        let Some(ticket) = self.book.get_mut(&number) else { return };
        if !ticket.still_takes() && self.children.count(number) > 0 {
            ticket.children = self.children.listed(number);
            ticket.told.1 = ticket.children.count;
            self.children.release_all(number, &mut self.effects);
            self.touch(number);
        }
    }

    fn check_targets(&mut self, now: &Stamp, number: u64) {
        let Some(ticket) = self.book.get_mut(&number) else { return };
        if ticket.drill {
            return;
        }
        let quiet = self.rules.quiet_for(&ticket.category, ticket.priority);
        let targets = [
            ("response", ticket.targets.response_min, &mut ticket.response),
            ("resolve", ticket.targets.resolve_min, &mut ticket.resolve),
        ];
        let mut breaches = Vec::new();
        for (which, target, clock) in targets {
            let Some(target_min) = target.filter(|_| !clock.breached) else { continue };
            let ran_s = clock.ran(now, quiet).as_secs();
            if ran_s >= u64::from(target_min) * 60 {
                clock.breached = true;
                breaches.push((which, target_min, ran_s, clock.uncounted));
            }
        }
        for (which, target_min, ran_s, uncounted) in breaches {
            self.counts.breaches += 1;
            self.tell_of(now, number, "ticket_sla", |ticket| SlaEvent {
                ticket: number,
                box_rev: ticket.box_rev,
                event: "sla_breached",
                which,
                target_min,
                ran_s,
                uncounted,
                alarm: ticket.alarm.clone(),
                priority: ticket.priority,
            });
        }
    }

    fn escalate(&mut self, now: &Stamp, number: u64) {
        let Some(ticket) = self.book.get(&number) else { return };
        match ticket.state {
            TicketState::Open => self.restart_escalation(now, number),
            TicketState::Accepted | TicketState::OnSite | TicketState::WaitingParts | TicketState::WaitingAccess => {
                self.end_escalation(now, number, EscalationEnd::Accepted);
            }
            TicketState::Done | TicketState::Rejected | TicketState::Merged => {
                self.end_escalation(now, number, EscalationEnd::Finished);
            }
        }
        for _ in 0..STEPS_MAX {
            let Some(ticket) = self.book.get(&number) else { return };
            let next = ticket.escalation.next(self.kind(&ticket.kind), ticket.priority, self.mode);
            let ran = ticket.escalation.clock.ran(now, self.quiet_of(ticket));
            match next {
                Some((ix, due)) if ran >= due => self.take_step(now, number, ix),
                Some(_) | None => break,
            }
        }
        let Some(ticket) = self.book.get(&number) else { return };
        let kind = self.rules.kinds.get(ticket.kind.as_str()).unwrap_or(&self.plain);
        let mut wanted = Vec::new();
        if ticket.escalation.ended.is_none() {
            for (ix, step) in ticket.escalation.taken(kind).filter(|(_, step)| step.when.stays(self.mode)) {
                let levels = step.outputs.iter().filter(|output| matches!(output.drive, Drive::Level { .. }));
                wanted.extend(levels.map(|output| (ix, output)));
            }
        }
        self.outputs.want(number, ticket.priority == Priority::P0, &wanted);
    }

    /// An open ticket waits for somebody again: after a new occurrence of what was acknowledged or gone, or because
    /// nobody has it any more.
    fn restart_escalation(&mut self, now: &Stamp, number: u64) {
        let Some(ticket) = self.book.get_mut(&number) else { return };
        let again = match ticket.escalation.ended {
            None | Some(EscalationEnd::DrillOver) => false,
            Some(EscalationEnd::Accepted | EscalationEnd::Finished) => true,
            Some(EscalationEnd::Acknowledged) => !ticket.acknowledged,
            Some(EscalationEnd::Cleared) => ticket.active,
        };
        if again {
            ticket.escalation = Escalation::begin(now);
            self.touch(number);
        }
        let Some(ticket) = self.book.get(&number) else { return };
        let ends_on = self.kind(&ticket.kind).ends_on;
        if ends_on.acknowledged && ticket.acknowledged {
            self.end_escalation(now, number, EscalationEnd::Acknowledged);
        } else if ends_on.cleared && ticket.settled {
            self.end_escalation(now, number, EscalationEnd::Cleared);
        }
    }

    pub(super) fn end_escalation(&mut self, now: &Stamp, number: u64, why: EscalationEnd) {
        let Some(ticket) = self.book.get_mut(&number) else { return };
        if ticket.escalation.ended.is_some() {
            return;
        }
        let quiet = self.rules.quiet_for(&ticket.category, ticket.priority);
        ticket.escalation.ended = Some(why);
        ticket.escalation.clock.run(false, now, quiet);
        let has_begun = ticket.escalation.has_begun();
        self.touch(number);
        if has_begun {
            self.tell_of(now, number, "ticket_escalation", |ticket| EscalationEvent {
                why: Some(why),
                ..EscalationEvent::of("ended", ticket)
            });
        }
    }

    fn take_step(&mut self, now: &Stamp, number: u64, ix: usize) {
        let Some(ticket) = self.book.get(&number) else { return };
        let Some(step) = self.kind(&ticket.kind).escalation.get(ix).cloned() else { return };
        let mut reached = step.outputs.is_empty();
        for output in &step.outputs {
            match &output.drive {
                Drive::Pulse(action) => {
                    self.outputs.pulse(now.mono, output, action, (number, ix), &mut self.effects);
                }
                Drive::Level { .. } => reached |= self.outputs.is_on(&output.name),
            }
        }
        let state = if reached { StepState::Delivered } else { StepState::Sent };
        self.note_step(number, ix, state);
        self.tell_of(now, number, "ticket_escalation", |ticket| step_event("step", ticket, ix, &step));
    }

    fn note_step(&mut self, number: u64, ix: usize, state: StepState) {
        if let Some(ticket) = self.book.get_mut(&number) {
            ticket.escalation.note(ix, state);
            self.touch(number);
        }
    }

    /// An output has answered, or has not.
    pub(super) fn note_outcome(&mut self, now: &Stamp, outcome: &Outcome, result: &ActResult) {
        if outcome.news {
            let event = if outcome.confirmed { "output_works" } else { "output_failed" };
            let first = outcome.steps.first();
            let event = EscalationEvent {
                outputs: vec![outcome.output.as_str()],
                result: Some(result_text(result)),
                ticket: first.map(|(ticket, _)| *ticket),
                step: first.map(|(_, ix)| ix + 1),
                ..EscalationEvent::new(event)
            };
            self.effects.event(Lane::Tickets, *now, "ticket_escalation", &event);
        }
        for (number, ix) in outcome.steps.iter().copied().filter(|_| outcome.on) {
            let Some(ticket) = self.book.get(&number) else { continue };
            let Some(step) = self.kind(&ticket.kind).escalation.get(ix).cloned() else { continue };
            let (state, event) = match (ticket.escalation.step(ix), outcome.confirmed) {
                (StepState::Sent | StepState::Failed, true) => (StepState::Delivered, "delivered"),
                (StepState::Sent, false) if !self.outputs.awaits((number, ix), &step.outputs) => {
                    (StepState::Failed, "not_delivered")
                }
                (StepState::Waiting | StepState::Sent | StepState::Delivered | StepState::Failed, _) => continue,
            };
            self.note_step(number, ix, state);
            self.tell_of(now, number, "ticket_escalation", |ticket| step_event(event, ticket, ix, &step));
        }
    }

    pub(super) fn note_output_gone(&mut self, now: &Stamp, name: &str) {
        let event = EscalationEvent { outputs: vec![name], ..EscalationEvent::new("output_gone") };
        self.effects.event(Lane::Tickets, *now, "ticket_escalation", &event);
    }

    /// After a restart: nobody knows what became of a pulse, so that its step has not reached anybody.
    pub(super) fn resume_escalation(&mut self, now: &Stamp, number: u64) {
        let Some(ticket) = self.book.get(&number) else { return };
        let is_level = |output: &OutputRef| matches!(output.drive, Drive::Level { .. });
        let kind = self.rules.kinds.get(ticket.kind.as_str()).unwrap_or(&self.plain);
        let unknown = ticket
            .escalation
            .taken(kind)
            .filter(|(ix, step)| ticket.escalation.step(*ix) == StepState::Sent && !step.outputs.iter().any(is_level));
        let unknown: Vec<_> = unknown.map(|(ix, step)| (ix, step.clone())).collect();
        for (ix, step) in unknown {
            self.note_step(number, ix, StepState::Failed);
            self.tell_of(now, number, "ticket_escalation", |ticket| EscalationEvent {
                result: Some("unknown: restarted".to_owned()),
                ..step_event("not_delivered", ticket, ix, &step)
            });
        }
    }

    /// Tells the core of occurrences and children that it was not told of: soon, and not too often.
    fn tell_counts(&mut self, now: &Stamp, number: u64) {
        let Some(ticket) = self.book.get(&number) else { return };
        let children = if ticket.still_takes() { self.children.count(number) } else { ticket.children.count };
        if ticket.told == (ticket.occurrences, children) {
            self.tell_at.remove(&number);
            return;
        }
        let soon = now.mono + TELL_AFTER;
        let allowed = self.told_at.get(&number).map_or(soon, |told| *told + TELL_EVERY);
        let opened_just_now = ticket.box_rev <= ticket.open_rev;
        let at = *self.tell_at.entry(number).or_insert(if opened_just_now { soon } else { soon.max(allowed) });
        if now.mono >= at {
            self.tell(now, number, TicketChange::Counted, None, false);
        }
    }
}
