//! What people ask of one gate.

use gatehouse_core::Stamp;

use super::command::{GateAction, GateCommand, Step};
use super::input::Role;
use super::interlock::{Decision, Judgement, Motion};
use super::kept::Hold;
use super::line::Lead;
use super::machine::Gate;
use super::order::{Cause, Order};
use super::out::Out;
use super::passage::clip;
use crate::words::{DecidedBy, Verdict};

impl Gate {
    /// Does what a person asks, or says why not.
    pub(super) fn command(&mut self, now: &Stamp, command: &GateCommand, out: &mut Out) {
        if command.expires <= now.mono {
            self.answer(now, command, Judgement::refuse("expired"), out);
            return;
        }
        match command.action {
            GateAction::Open => self.open_for(now, command, out),
            GateAction::Close => self.move_for(now, command, Motion::Close, out),
            GateAction::Stop => self.move_for(now, command, Motion::Stop, out),
            GateAction::HoldOpen => self.hold_for(now, command, out),
            GateAction::ReleaseHold | GateAction::LockLane | GateAction::UnlockLane | GateAction::ResetFire => {
                let judgement = self.may(command);
                self.answer(now, command, judgement, out);
                if judgement.decision == Decision::Accept {
                    self.set(now, command);
                }
            }
        }
    }

    /// Opens for a person, who is then expected to pass: the record of that has a request of its own.
    fn open_for(&mut self, now: &Stamp, command: &GateCommand, out: &mut Out) {
        if self.judge(Motion::Open, command.by_override).decision == Decision::Refuse {
            self.move_for(now, command, Motion::Open, out);
            return;
        }
        let reason = if command.by == DecidedBy::Guard { "guard_open" } else { "command_open" };
        let verdict = Verdict {
            request: out.mint.mint(&mut out.effects),
            gate: self.spec.id.to_string(),
            via: "command".to_owned(),
            direction: self.spec.direction,
            allowed: true,
            reason: reason.to_owned(),
            decided_by: command.by,
            who: Some(command.who.clone()),
            class: None,
            facts: [("command".to_owned(), command.id.to_string())].into(),
        };
        let order = Order { request: Some(verdict.request), ..order(command, Motion::Open) };
        out.step(Some(&command.id), Step::Accepted);
        let judgement = self.grant(now, &verdict, order, out);
        self.answer_noop(command, judgement, out);
    }

    fn move_for(&mut self, now: &Stamp, command: &GateCommand, motion: Motion, out: &mut Out) {
        // The steps come in their order: accepted before sent.
        let before = out.steps.len();
        let judgement = self.ask(now, order(command, motion), out);
        let after = out.steps.split_off(before);
        match judgement.decision {
            Decision::Accept | Decision::Noop => out.step(Some(&command.id), Step::Accepted),
            Decision::Refuse => out.last_step(Some(&command.id), Step::Refused(judgement.reason)),
        }
        out.steps.extend(after);
        self.answer_noop(command, judgement, out);
    }

    fn answer_noop(&self, command: &GateCommand, judgement: Judgement, out: &mut Out) {
        if judgement.decision == Decision::Noop {
            out.last_step(Some(&command.id), Step::Confirmed);
        }
    }

    fn hold_for(&mut self, now: &Stamp, command: &GateCommand, out: &mut Out) {
        let lasts = self.lines.contains_key(&Lead::HoldOpen)
            || (if self.barrier() { self.spec.policy.close_by_box } else { !self.lines.is_empty() });
        if !lasts {
            self.answer(now, command, Judgement::refuse("no_output"), out);
            return;
        }
        if self.judge(Motion::Open, command.by_override).decision != Decision::Refuse {
            self.kept.hold = Some(Hold { since: (*now).into(), who: clip(&command.who) });
            self.hold_until = None;
            self.audit_note(now, GateAction::HoldOpen.as_str(), &command.who, (Decision::Accept, ""), out);
        }
        self.move_for(now, command, Motion::Open, out);
    }

    /// Whether something may be set that moves nothing by itself.
    fn may(&self, command: &GateCommand) -> Judgement {
        let noop = |done: bool, reason| done.then(|| Judgement::noop(reason));
        let fire = || self.fire().then(|| Judgement::refuse("fire_alarm_active"));
        let refusal = match command.action {
            GateAction::ReleaseHold => fire().or_else(|| noop(self.kept.hold.is_none(), "not_held")),
            GateAction::LockLane => fire().or_else(|| noop(self.kept.locked.is_some(), "already_locked")),
            GateAction::UnlockLane => noop(self.kept.locked.is_none(), "not_locked"),
            GateAction::ResetFire => self.may_reset(command),
            GateAction::Open | GateAction::Close | GateAction::Stop | GateAction::HoldOpen => None,
        };
        refusal.unwrap_or(Judgement { decision: Decision::Accept, reason: "", pulse: None })
    }

    /// A release ends by a person on the spot, and only once it is seen that it does not burn any more.
    fn may_reset(&self, command: &GateCommand) -> Option<Judgement> {
        let wired = |role| self.inputs.contains_key(&role);
        let refusals = [
            (command.by != DecidedBy::Guard, "not_on_the_spot"),
            (self.hints(Role::Fire), "fire_alarm_active"),
            (wired(Role::Fire) && self.active(Role::Fire).is_none(), "fire_input_lost"),
            (self.hints(Role::FireLine), "fire_line_broken"),
        ];
        if !self.fire() {
            return Some(Judgement::noop("no_fire"));
        }
        refusals.into_iter().find(|(hinders, _)| *hinders).map(|(_, reason)| Judgement::refuse(reason))
    }

    fn set(&mut self, now: &Stamp, command: &GateCommand) {
        match command.action {
            GateAction::ReleaseHold => self.end_hold(now.mono),
            GateAction::LockLane => self.kept.locked = Some(clip(&command.who)),
            GateAction::UnlockLane => self.kept.locked = None,
            GateAction::ResetFire => {
                self.kept.fire = None;
                (self.fire_due, self.fire_began) = (false, false);
                self.passed = true;
                self.open_since = self.open_since.map(|_| now.mono);
            }
            GateAction::Open | GateAction::Close | GateAction::Stop | GateAction::HoldOpen => {}
        }
    }

    /// Answers a command that sends nothing.
    fn answer(&self, now: &Stamp, command: &GateCommand, judgement: Judgement, out: &mut Out) {
        let id = Some(&*command.id);
        match judgement.decision {
            Decision::Accept | Decision::Noop => {
                out.step(id, Step::Accepted);
                out.last_step(id, Step::Confirmed);
            }
            Decision::Refuse => out.last_step(id, Step::Refused(judgement.reason)),
        }
        let told = (judgement.decision, judgement.reason);
        self.audit_note(now, command.action.as_str(), &command.who, told, out);
    }
}

fn order(command: &GateCommand, motion: Motion) -> Order {
    Order {
        motion,
        cause: Cause::Person,
        command: Some(command.id.clone()),
        request: None,
        who: command.who.clone(),
        by_override: command.by_override && motion == Motion::Open,
        expires: Some(command.expires),
    }
}
