//! How a gate moves: what is wished, the pauses between motions, and the pulse.

use std::time::Duration;

use gatehouse_core::{Mono, Stamp};

use super::command::Step;
use super::input::Role;
use super::interlock::{Decision, Judgement, Motion};
use super::kept::Mark;
use super::line::Lead;
use super::machine::Gate;
use super::order::{Cause, Going, Order, Pending, Window};
use super::out::Out;
use super::state::{Position, State};

/// A CLOSE that could not be sent by then is not sent at all: somebody may have driven under the boom meanwhile.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

impl Gate {
    /// Decides a motion, records that, and begins it.
    pub(super) fn ask(&mut self, now: &Stamp, order: Order, out: &mut Out) -> Judgement {
        let mut judgement = self.judge(order.motion, order.by_override);
        if judgement.decision == Decision::Accept {
            judgement = self.stricter(&order).unwrap_or(judgement);
        }
        self.audit_decision(now, &order, judgement, out);
        let other = self.pending.as_ref().is_some_and(|pending| pending.order.motion != order.motion);
        if other && judgement.decision != Decision::Refuse {
            self.drop_pending("superseded", out);
        }
        if judgement.decision == Decision::Accept {
            self.begin(now, order, out);
        }
        judgement
    }

    /// What the table of interlocks does not ask: whether there is an output, and whether that is under way already.
    fn stricter(&self, order: &Order) -> Option<Judgement> {
        let waits = |motion| self.pending.as_ref().is_some_and(|pending| pending.order.motion == motion);
        let goes = |motion| self.going.as_ref().is_some_and(|going| going.own && going.motion == motion);
        match order.motion {
            Motion::Open if self.barrier() && (goes(Motion::Open) || waits(Motion::Open)) => {
                Some(Judgement::noop("already_opening"))
            }
            Motion::Open if waits(Motion::Open) => Some(Judgement::noop("already_opening")),
            Motion::Open => None,
            Motion::Close if self.kept.hold.is_some() => Some(Judgement::refuse("held_open")),
            Motion::Close if waits(Motion::Open) => Some(Judgement::refuse("busy")),
            Motion::Close if goes(Motion::Close) || waits(Motion::Close) => Some(Judgement::noop("already_closing")),
            Motion::Close if self.barrier() && self.output(Lead::Close).is_none() => {
                Some(Judgement::refuse("no_output"))
            }
            Motion::Close if !self.barrier() && self.door_lead().is_none() => Some(Judgement::refuse("no_output")),
            Motion::Stop if self.output(Lead::Stop).is_none() => Some(Judgement::refuse("no_output")),
            Motion::Close | Motion::Stop => None,
        }
    }

    /// Sends a motion that was accepted, or lets it wait for its pause.
    fn begin(&mut self, now: &Stamp, order: Order, out: &mut Out) {
        if order.cause == Cause::Person {
            self.kept.marks.remove(&Mark::NotConfirmed);
        }
        let due = self.pulse_due(order.motion);
        let pulse = self.barrier() || order.motion == Motion::Open && self.pulsed();
        if pulse && order.motion != Motion::Stop && (now.mono < due || self.contact_on(order.motion)) {
            let expires = self.begun_by(now.mono, &order);
            self.pending = Some(Pending { order, due, expires });
        } else {
            self.send(now, order, out);
        }
    }

    /// When an act that is sent now for an order is of no use any more.
    fn begun_by(&self, now: Mono, order: &Order) -> Mono {
        let within = self.spec.timing.act_within;
        let by = now + if order.motion == Motion::Close { within.min(CLOSE_WITHIN) } else { within };
        order.expires.map_or(by, |expires| expires.min(by))
    }

    /// The earliest time of a pulse.
    fn pulse_due(&self, motion: Motion) -> Mono {
        let timing = &self.spec.timing;
        match self.last_pulse {
            None => Mono(0),
            Some((last, end)) if last == motion || timing.reverses_itself => end + timing.pause,
            Some((_, end)) => end + timing.reverse_pause,
        }
    }

    /// What waits makes room for a newer wish.
    pub(super) fn drop_pending(&mut self, why: &'static str, out: &mut Out) {
        if let Some(pending) = self.pending.take() {
            out.last_step(pending.order.command.as_deref(), Step::NotConfirmed(why));
        }
    }

    /// The motion under way is over, and that is its command's last step.
    pub(super) fn end_going(&mut self, step: Step, out: &mut Out) {
        let Some(going) = self.going.take() else { return };
        let Some(command) = going.order.and_then(|order| order.command) else { return };
        out.last_step(Some(&command), step);
        // Its act may still be under way, and has nothing more to tell.
        if let Some(order) = going.act.and_then(|act| self.acts.get_mut(&act)?.order.as_mut()) {
            order.command = None;
        }
    }

    pub(super) fn send(&mut self, now: &Stamp, order: Order, out: &mut Out) {
        if self.barrier() {
            self.send_barrier(now, order, out);
        } else {
            self.send_door(now, order, out);
        }
    }

    fn send_barrier(&mut self, now: &Stamp, order: Order, out: &mut Out) {
        let timing = self.spec.timing;
        let motion = order.motion;
        let lead = Lead::of(motion);
        self.end_going(Step::NotConfirmed(if motion == Motion::Stop { "stopped" } else { "superseded" }), out);
        self.let_go(now.mono, lead, out);
        let expires = self.begun_by(now.mono, &order);
        let urgent = motion == Motion::Stop || order.cause == Cause::Fire;
        out.step(order.command.as_deref(), Step::Sent);
        let act = self.emit(lead, true, expires, urgent, Some(order.clone()), out);
        self.last_pulse = Some((motion, now.mono + timing.pulse));
        self.stopped = motion == Motion::Stop && self.locate() == Position::Between;
        self.close_sent = motion == Motion::Close || motion == Motion::Stop && self.close_sent;
        if motion != Motion::Stop {
            let deadline = expires + self.allowance(motion);
            self.going = Some(Going { motion, own: true, order: Some(order), act, deadline });
        }
    }

    fn send_door(&mut self, now: &Stamp, order: Order, out: &mut Out) {
        let timing = self.spec.timing;
        self.end_window("superseded", out);
        if let Some(order) = self.locking.take() {
            out.last_step(order.command.as_deref(), Step::NotConfirmed("superseded"));
        }
        if order.motion != Motion::Open {
            self.locking = Some(order);
            return;
        }
        let expires = self.begun_by(now.mono, &order);
        let fire = order.cause == Cause::Fire;
        let act = if self.pulsed() {
            out.step(order.command.as_deref(), Step::Sent);
            self.last_pulse = Some((order.motion, now.mono + timing.pulse));
            self.emit(Lead::Open, true, expires, fire, Some(order.clone()), out)
        } else {
            None
        };
        if !fire {
            let unsent = act.is_none();
            self.window = Some(Window { until: expires + self.spec.policy.grant, order, act, unsent });
        }
    }

    /// The door is no longer unlocked for anybody.
    pub(super) fn end_window(&mut self, why: &'static str, out: &mut Out) {
        let Some(window) = self.window.take() else { return };
        let Some(command) = window.order.command else { return };
        out.last_step(Some(&command), Step::NotConfirmed(why));
        if let Some(order) = window.act.and_then(|act| self.acts.get_mut(&act)?.order.as_mut()) {
            order.command = None;
        }
    }

    /// Sends what waited for its pause, asserts a fire release, and closes where that is the box's to do.
    pub(super) fn work(&mut self, now: &Stamp, out: &mut Out) {
        if let Some(pending) = self.pending.take_if(|pending| pending.due <= now.mono) {
            self.send_pending(now, pending, out);
        }
        self.release_on_fire(now, out);
        if self.close_due().is_some_and(|due| due <= now.mono) {
            self.ask(now, Order::own(Motion::Close, Cause::AutoClose), out);
        }
    }

    fn send_pending(&mut self, now: &Stamp, pending: Pending, out: &mut Out) {
        let Pending { order, expires, .. } = pending;
        let mut judgement = self.judge(order.motion, order.by_override);
        if judgement.decision == Decision::Accept && now.mono >= expires {
            judgement = Judgement::refuse(if self.contact_on(order.motion) { "busy" } else { "expired" });
        } else if judgement.decision == Decision::Accept && self.contact_on(order.motion) {
            let due = now.mono + self.spec.timing.pause.max(self.spec.timing.pulse);
            self.pending = Some(Pending { order, due, expires });
            return;
        }
        if judgement.decision == Decision::Accept {
            self.send(now, order, out);
        } else {
            self.audit_decision(now, &order, judgement, out);
            self.overtaken(now, &order, judgement, out);
        }
    }

    /// A motion that was accepted and may not be sent any more.
    fn overtaken(&mut self, now: &Stamp, order: &Order, judgement: Judgement, out: &mut Out) {
        let command = order.command.as_deref();
        match judgement.decision {
            Decision::Noop | Decision::Accept => out.last_step(command, Step::Confirmed),
            Decision::Refuse => {
                out.last_step(command, Step::Refused(judgement.reason));
                if let Some(request) = order.request {
                    self.fail_request(now, request, judgement.reason, out);
                }
            }
        }
    }

    /// When the box closes by itself; `None` while it must not.
    pub(super) fn close_due(&self) -> Option<Mono> {
        let policy = &self.spec.policy;
        let may = policy.close_by_box
            && self.passed
            && self.grants.is_empty()
            && self.kept.hold.is_none()
            && !self.fire()
            && !self.is(Role::ManualMode)
            && self.blocked_tries <= policy.blocked_retries
            && self.pending.is_none()
            && self.going.is_none()
            && matches!(self.state_now(), State::Open | State::HeldOpen)
            && self.judge(Motion::Close, false).decision == Decision::Accept;
        let free = self.free_since.filter(|_| may)?;
        Some(free.max(self.open_since?).max(self.close_not_before) + policy.close_after)
    }
}
