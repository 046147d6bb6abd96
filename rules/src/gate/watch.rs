//! What the sensors mean: who passed, who forced, what came under the boom, and that it burns.

use gatehouse_core::{Mono, Stamp};

use super::command::Step;
use super::input::{Input, Role};
use super::interlock::{Decision, Judgement, Motion};
use super::kept::Mark;
use super::line::Lead;
use super::machine::Gate;
use super::order::{Cause, Going, Order};
use super::out::Out;
use super::passage::{Decided, Grant, Record};
use super::spec::{Outcome, WhenBlocked};
use super::state::{Position, State};
use crate::words::{DecidedBy, Direction, RequestId, Verdict};

/// Passages that wait for their sensor, for one gate; the oldest is given up for one more.
const GRANTS_MAX: usize = 8;
/// A boom that leaves its place this soon after a vehicle was under it was driven out of it.
const HIT_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);
/// A passage is given up after so many times the policy's limit, though the gate is still open for it.
const AT_LAST: u32 = 10;

impl Gate {
    /// Grants a request, as far as the interlocks let it. A refusal of theirs is the caller's to record.
    pub(super) fn grant(&mut self, now: &Stamp, verdict: &Verdict, order: Order, out: &mut Out) -> Judgement {
        let judgement = self.ask(now, order, out);
        if judgement.decision != Decision::Refuse {
            self.expect(now, Record::of(now, verdict, Decided::Granted, &verdict.reason), out);
        }
        judgement
    }

    /// Waits for somebody to pass.
    fn expect(&mut self, now: &Stamp, mut record: Record, out: &mut Out) {
        if self.barrier() && self.position == Position::Open {
            record.opened_at = Some((*now).into());
        }
        record.keep(out);
        if self.grants.len() >= GRANTS_MAX
            && let Some(oldest) = self.grants.pop_front()
        {
            oldest.record.finish(now, None, out);
        }
        let (timing, policy) = (&self.spec.timing, &self.spec.policy);
        let within =
            if self.barrier() { policy.pass_within } else { timing.act_within + policy.grant + policy.grant_slack };
        // A door that is open already does not show who goes through.
        let unsure = !self.barrier() && self.position != Position::Closed;
        self.last_passage = Some(record.request);
        self.grants.push_back(Grant {
            record,
            until: now.mono + within,
            at_last: now.mono + within.saturating_mul(AT_LAST),
            unsure,
        });
    }

    /// The act for a request was not done: nobody was let in.
    pub(super) fn fail_request(&mut self, now: &Stamp, request: RequestId, why: &str, out: &mut Out) {
        let Some(at) = self.grants.iter().position(|grant| grant.record.request == request) else { return };
        let Some(mut grant) = self.grants.remove(at) else { return };
        grant.record.facts.insert("act".to_owned(), why.to_owned());
        let verified = self.unseen(&grant);
        grant.record.finish(now, verified, out);
    }

    /// Whether a passage that no sensor saw did not happen.
    fn unseen(&self, grant: &Grant) -> Option<bool> {
        (self.passage_sensor().is_some() && !grant.unsure).then_some(false)
    }

    /// An exit button was pressed.
    pub(super) fn pressed(&mut self, now: &Stamp, role: Role, out: &mut Out) {
        if role != Role::ExitButton {
            return;
        }
        let verdict = self.unasked(Direction::Out, "exit_button", DecidedBy::ExitButton, out);
        let order = Order {
            motion: Motion::Open,
            cause: Cause::Grant,
            command: None,
            request: Some(verdict.request),
            who: "exit_button".to_owned(),
            // Whoever stands at a door's button wants out, and is there.
            by_override: !self.barrier(),
            expires: None,
        };
        let judgement = self.grant(now, &verdict, order, out);
        if judgement.decision == Decision::Refuse {
            Record::of(now, &verdict, Decided::Refused, judgement.reason).refuse(now, out);
        }
    }

    /// A vehicle drove onto the loop under the boom.
    pub(super) fn crossed(&mut self, now: &Stamp, role: Role, out: &mut Out) {
        if role != Role::LoopUnderBoom || !self.barrier() || self.position == Position::Closed {
            return;
        }
        self.passed = true;
        if let Some(grant) = self.grants.pop_front() {
            grant.record.finish(now, Some(true), out);
            return;
        }
        let free = self.fire() || self.kept.hold.is_some();
        let opened = matches!(self.state_now(), State::Open | State::Opening | State::Closing | State::HeldOpen);
        if opened && !free {
            let outcome = self.spec.policy.tailgate;
            self.record_unasked(now, "tailgate", (outcome, Mark::Tailgating), true, out);
        }
    }

    /// A request that no reader made.
    fn unasked(&self, direction: Direction, reason: &str, by: DecidedBy, out: &mut Out) -> Verdict {
        Verdict {
            request: out.mint.mint(&mut out.effects),
            gate: self.spec.id.to_string(),
            via: if by == DecidedBy::ExitButton { "exit_button" } else { "sensor" }.to_owned(),
            direction,
            allowed: true,
            reason: reason.to_owned(),
            decided_by: by,
            who: None,
            class: None,
            facts: std::collections::BTreeMap::new(),
        }
    }

    /// Something happened that nobody asked for: a record, and what the policy says.
    fn record_unasked(&mut self, now: &Stamp, reason: &str, told: (Outcome, Mark), passed: bool, out: &mut Out) {
        let verdict = self.unasked(self.spec.direction, reason, DecidedBy::Box, out);
        let mut record = Record::of(now, &verdict, Decided::Unasked, reason);
        for (role, fact) in [(Role::ManualMode, "manual_mode"), (Role::RemoteControl, "remote_control")] {
            if self.hints(role) {
                record.facts.insert(fact.to_owned(), "true".to_owned());
            }
        }
        let (outcome, mark) = told;
        match outcome {
            Outcome::Record => {}
            Outcome::Alarm => {
                self.kept.marks.insert(mark);
            }
            Outcome::Lock => {
                self.kept.marks.insert(mark);
                self.kept.locked.get_or_insert_with(|| reason.to_owned());
            }
        }
        if passed {
            self.last_passage = Some(record.request);
            record.finish(now, Some(true), out);
        } else {
            self.expect(now, record, out);
        }
    }

    /// Follows the boom or the leaf from one place to the next.
    pub(super) fn follow_position(&mut self, now: &Stamp, out: &mut Out) {
        let (from, mut to) = (self.position, self.locate());
        if from == to {
            return;
        }
        if let Some(motion) = self.sets_out(from, to) {
            self.moves_by_itself(now, motion);
            to = Position::Between;
        }
        self.position = to;
        match to {
            Position::Closed => self.came_to_rest(now, from, out),
            Position::Open => {
                self.leaves(now, from, out);
                self.arrives(Motion::Open, from, out);
                self.open_since.get_or_insert(now.mono);
                if self.blocked_tries <= self.spec.policy.blocked_retries {
                    self.kept.marks.remove(&Mark::Blocked);
                }
            }
            Position::Between => self.leaves(now, from, out),
            Position::Contradiction | Position::Untold => {}
        }
    }

    /// The motion that leads to an end without a sensor: it has only begun.
    fn sets_out(&self, from: Position, to: Position) -> Option<Motion> {
        let sees = |role| !self.barrier() || self.inputs.contains_key(&role);
        match (from, to) {
            (Position::Closed, Position::Open) if !sees(Role::OpenLimit) => Some(Motion::Open),
            (Position::Open, Position::Closed) if !sees(Role::CloseLimit) => Some(Motion::Close),
            _ => None,
        }
    }

    /// It is seen at an end.
    fn arrives(&mut self, at: Motion, from: Position, out: &mut Out) {
        self.stopped = false;
        self.close_sent = false;
        if from != Position::Untold {
            self.kept.marks.remove(&Mark::NotConfirmed);
        }
        match &self.going {
            Some(going) if going.motion == at => self.end_going(Step::Confirmed, out),
            // It was told to turn, and has not yet.
            Some(going) if going.own => {}
            Some(_) | None => self.end_going(Step::Unknown, out),
        }
    }

    fn came_to_rest(&mut self, now: &Stamp, from: Position, out: &mut Out) {
        self.arrives(Motion::Close, from, out);
        self.kept.marks.retain(|mark| matches!(mark, Mark::OutputFailed | Mark::NotConfirmed));
        self.open_since = None;
        self.passed = false;
        self.blocked_tries = 0;
        if !self.barrier() {
            if from == Position::Open {
                // It locks again as soon as it is shut.
                self.end_window("closed", out);
            }
            return;
        }
        let reopens = self.going.is_some() || self.pending.is_some();
        let over = |grant: &Grant| grant.record.opened_at.is_some() && !reopens;
        self.finish_unseen(now, over, out);
    }

    /// It leaves an end. From the closed one that is a passage's beginning, or nobody's.
    fn leaves(&mut self, now: &Stamp, from: Position, out: &mut Out) {
        match from {
            Position::Closed => {
                self.open_since = Some(now.mono);
                if self.barrier() { self.boom_rises(now, out) } else { self.door_opens(now, out) }
            }
            Position::Open if self.barrier() && self.position == Position::Between => {
                self.moves_by_itself(now, Motion::Close);
            }
            Position::Open | Position::Between | Position::Contradiction | Position::Untold => {}
        }
    }

    fn boom_rises(&mut self, now: &Stamp, out: &mut Out) {
        let ours = self.going.as_ref().is_some_and(|going| going.own && going.motion == Motion::Open)
            || self.fire()
            || self.kept.hold.is_some()
            || self.kept.marks.contains(&Mark::NotConfirmed);
        let by_hand = self.hints(Role::ManualMode) || self.hints(Role::RemoteControl);
        let under = self.under_at.is_some_and(|at| now.mono.since(at) <= HIT_WITHIN);
        if !ours && under && !by_hand && self.inputs.contains_key(&Role::LoopUnderBoom) {
            self.kept.marks.insert(Mark::Hit);
            self.audit_note(now, "hit", "sensor", (Decision::Refuse, "vehicle_under_boom"), out);
            return;
        }
        if self.position == Position::Between {
            self.moves_by_itself(now, Motion::Open);
        }
        if !ours {
            let outcome = self.spec.policy.remote_opened;
            self.record_unasked(now, "remote_opened", (outcome, Mark::RemoteOpened), false, out);
        }
        for grant in &mut self.grants {
            grant.record.opened_at.get_or_insert((*now).into());
        }
    }

    /// The boom moves without having been told; its way has an end all the same.
    fn moves_by_itself(&mut self, now: &Stamp, motion: Motion) {
        // A reopening that waits for its pause has seen to it already.
        let reopens = self.pending.as_ref().is_some_and(|pending| pending.order.motion == Motion::Open);
        if reopens || self.going.as_ref().is_some_and(|going| going.own) {
            return;
        }
        let deadline = now.mono + self.allowance(motion);
        self.going = Some(Going { motion, own: false, order: None, act: None, deadline });
    }

    fn door_opens(&mut self, now: &Stamp, out: &mut Out) {
        let slack = self.spec.policy.grant_slack;
        let granted = self.window.as_ref().is_some_and(|window| now.mono < window.until + slack);
        let free = self.fire() || self.kept.hold.is_some() || self.hints(Role::ExitButton);
        if let Some(grant) = self.grants.pop_front_if(|_| granted) {
            grant.record.finish(now, Some(true), out);
        } else if !granted && !free && !self.spec.policy.decided_elsewhere {
            let outcome = self.spec.policy.forced;
            self.record_unasked(now, "forced", (outcome, Mark::Forced), true, out);
        }
    }

    /// Whatever had its time, and did not happen in it.
    pub(super) fn expire(&mut self, now: &Stamp, out: &mut Out) {
        if self.going.as_ref().is_some_and(|going| going.deadline <= now.mono) {
            self.not_arrived(now, out);
        }
        let slack = self.spec.policy.grant_slack;
        if self.window.as_ref().is_some_and(|window| window.until + slack <= now.mono) {
            self.end_window("expired", out);
        }
        self.expire_grants(now, out);
        self.expire_hold(now, out);
        if self.fire() || self.kept.hold.is_some() {
            self.kept.marks.remove(&Mark::HeldOpen);
        } else if self.open_since.is_some_and(|since| since + self.spec.policy.open_limit <= now.mono)
            && self.position != Position::Untold
        {
            self.kept.marks.insert(Mark::HeldOpen);
        }
    }

    fn not_arrived(&mut self, now: &Stamp, out: &mut Out) {
        let Some(motion) = self.going.as_ref().map(|going| going.motion) else { return };
        let (end, other) = match motion {
            Motion::Open => (Role::OpenLimit, Role::CloseLimit),
            Motion::Close | Motion::Stop => (Role::CloseLimit, Role::OpenLimit),
        };
        let sees = |role| self.inputs.get(&role).map(Input::active);
        match (sees(end), sees(other)) {
            // It was there already when it was told.
            (Some(Some(true)), _) => self.end_going(Step::Confirmed, out),
            // No sensor was there to see it, or none was read.
            (None, None) | (Some(None), _) | (_, Some(None)) => self.end_going(Step::Unknown, out),
            // Only the other end has a sensor, and it is free: by now it must have arrived.
            (None, Some(Some(false))) => {
                self.end_going(Step::Confirmed, out);
                self.follow_position(now, out);
            }
            (None | Some(Some(_)), _) => {
                self.kept.marks.insert(Mark::NotConfirmed);
                self.end_going(Step::NotConfirmed("movement_timeout"), out);
            }
        }
    }

    fn expire_grants(&mut self, now: &Stamp, out: &mut Out) {
        let open = self.barrier() && matches!(self.position, Position::Open | Position::Between);
        let over = |grant: &Grant| now.mono >= grant.at_last || now.mono >= grant.until && !open;
        self.finish_unseen(now, over, out);
    }

    /// Finishes passages that no sensor saw.
    fn finish_unseen(&mut self, now: &Stamp, over: impl Fn(&Grant) -> bool, out: &mut Out) {
        let (over, left): (Vec<Grant>, Vec<Grant>) = std::mem::take(&mut self.grants).into_iter().partition(over);
        self.grants = left.into();
        for grant in over {
            let verified = self.unseen(&grant);
            grant.record.finish(now, verified, out);
        }
    }

    fn expire_hold(&mut self, now: &Stamp, out: &mut Out) {
        let Some(hold) = &self.kept.hold else {
            self.hold_until = None;
            return;
        };
        let left = self.spec.policy.hold_max.saturating_sub(hold.since.elapsed(now).unwrap_or_default());
        let until = *self.hold_until.get_or_insert(now.mono + left);
        if until <= now.mono && !self.fire() {
            self.audit_note(now, "release_hold", "box", (Decision::Accept, "hold_ended"), out);
            self.end_hold(now.mono);
        }
    }

    /// Nobody holds it open any more; a barrier that the box closes may be closed.
    pub(super) fn end_hold(&mut self, now: Mono) {
        self.kept.hold = None;
        self.hold_until = None;
        self.passed = true;
        self.open_since = self.open_since.map(|_| now);
    }

    /// Stops a boom that comes down on something, and raises it again where the policy says so.
    pub(super) fn watch_closing(&mut self, now: &Stamp, out: &mut Out) {
        let closing = self.going.as_ref().is_some_and(|going| going.motion == Motion::Close);
        let fault = self.hints(Role::MotorFault);
        let under = self.hints(Role::LoopUnderBoom) || self.hints(Role::Photocell);
        if !self.barrier() || !closing || self.position == Position::Closed || !(fault || under) {
            return;
        }
        self.end_going(Step::NotConfirmed("blocked"), out);
        self.drop_pending("blocked", out);
        self.stopped = self.locate() == Position::Between;
        self.blocked_tries = self.blocked_tries.saturating_add(1);
        self.kept.marks.insert(Mark::Blocked);
        if fault && under {
            self.kept.marks.insert(Mark::Hit);
        }
        let reopen = self.spec.policy.blocked == WhenBlocked::Reopen && !fault;
        let stops = self.output(Lead::Stop).is_some() && !(reopen && self.spec.timing.reverses_itself);
        if stops {
            self.ask(now, Order::own(Motion::Stop, Cause::Blocked), out);
        }
        if reopen {
            self.ask(now, Order::own(Motion::Open, Cause::Blocked), out);
        }
    }
}
