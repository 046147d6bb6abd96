//! The outputs of a gate: pulses, and contacts and signals that stay set.

use gatehouse_core::driver::Action;
use gatehouse_core::{Mono, Stamp, Value};

use super::command::Step;
use super::input::Role;
use super::interlock::Motion;
use super::line::Lead;
use super::machine::Gate;
use super::order::{Doing, Order};
use super::out::Out;
use super::spec::How;
use crate::effect::ActId;

/// Acts under way; each ends with one result, so that more are a fault of the caller: the oldest is forgotten.
const ACTS_MAX: usize = 64;

impl Gate {
    /// Hands one act to the shell: a pulse, or the write of a line.
    pub(super) fn emit(
        &mut self,
        lead: Lead,
        set: bool,
        expires: Mono,
        urgent: bool,
        order: Option<Order>,
        out: &mut Out,
    ) -> Option<ActId> {
        let output = self.output(lead)?;
        let device = output.device;
        let (action, written) = match &output.how {
            How::Pulse { command, channel, argument } => {
                (Action::Call { command: command.clone(), channel: *channel, argument: *argument }, None)
            }
            How::Switch { point, .. } => (Action::Write(*point, Value::Bool(set)), Some(set)),
            // A lock's own value locks; to set it is to unlock.
            How::Level { point, on } => {
                (Action::Write(*point, Value::Bool((set == *on) != (lead == Lead::Lock))), Some(set))
            }
        };
        let act = out.act(&self.spec.id, device, action, expires, urgent);
        if let Some(line) = written.and_then(|_| self.lines.get_mut(&lead)) {
            line.sent(act, set);
            if line.momentary && set {
                // Until the device answers; then its time begins.
                line.off_at = Some(expires + self.spec.timing.act_within);
            }
        }
        if self.acts.len() >= ACTS_MAX {
            self.acts.pop_first();
        }
        self.acts.insert(act, Doing { lead, set: written, order });
        Some(act)
    }

    /// Writes what differs from what it is to be.
    pub(super) fn drive_lines(&mut self, now: &Stamp, out: &mut Out) {
        let hurry = std::mem::take(&mut self.fire_began);
        let leads: Vec<Lead> = self.lines.keys().copied().collect();
        for lead in leads {
            let wanted = self.wanted(lead, now.mono);
            // A lock waits until it is known whether that was a fire.
            if !wanted && !self.barrier() && self.hints(Role::Fire) {
                continue;
            }
            let released = wanted && (self.fire() || self.window.is_some());
            let awake = self.awake || released;
            let Some(line) = self.lines.get_mut(&lead) else { continue };
            // After a start, nothing that was set before is touched until something was seen.
            if !awake && !line.worked() {
                continue;
            }
            // What is under way may wait for the journal; a release does not.
            let again = hurry && wanted && !line.momentary && !line.is(true);
            let Some(set) = line.due(now.mono, wanted).or(again.then_some(true)) else { continue };
            let order = (self.door_lead() == Some(lead)).then(|| self.line_order(set)).flatten();
            if let Some(order) = &order {
                out.step(order.command.as_deref(), Step::Sent);
            }
            let expires = now.mono + self.spec.timing.act_within;
            let ours = order.is_some();
            let act = self.emit(lead, set, expires, set && self.fire(), order, out);
            if let Some(window) = self.window.as_mut().filter(|_| ours && set) {
                window.act = act;
                window.unsent = false;
            }
        }
        self.acknowledge_settled(now.mono, out);
    }

    /// The wish that a write of the door's line fulfils, if nobody has been told of it yet.
    fn line_order(&mut self, set: bool) -> Option<Order> {
        if !set {
            return self.locking.take();
        }
        self.window.as_ref().filter(|window| window.unsent).map(|window| window.order.clone())
    }

    /// A door that is unlocked (or locked) already needs no act for one more wish.
    fn acknowledge_settled(&mut self, now: Mono, out: &mut Out) {
        let grant = self.spec.policy.grant;
        let Some(line) = self.door_lead().and_then(|lead| self.lines.get(&lead)) else { return };
        if line.is(false)
            && let Some(order) = self.locking.take()
        {
            out.last_step(order.command.as_deref(), Step::Acknowledged);
        }
        let Some(window) = self.window.as_mut().filter(|window| window.unsent && line.is(true)) else { return };
        window.unsent = false;
        window.until = now + grant;
        let command = window.order.command.take();
        out.last_step(command.as_deref(), Step::Acknowledged);
    }

    /// Whether an output is to be set.
    fn wanted(&self, lead: Lead, now: Mono) -> bool {
        let held = self.fire() || self.kept.hold.is_some();
        match self.lines.get(&lead) {
            Some(line) if line.momentary => line.off_at.is_some_and(|at| now < at),
            Some(_) if lead == Lead::HoldOpen => held,
            Some(_) => held || self.window.as_ref().is_some_and(|window| now < window.until),
            None => false,
        }
    }

    /// Lets go of the contacts of other motions first: no two of them are on together.
    pub(super) fn let_go(&mut self, now: Mono, lead: Lead, out: &mut Out) {
        let expires = now + self.spec.timing.act_within;
        for other in [Lead::Open, Lead::Close, Lead::Stop] {
            let Some(line) = self.lines.get_mut(&other).filter(|line| line.momentary && other != lead) else {
                continue;
            };
            line.off_at = None;
            if line.due(now, false).is_some() {
                self.emit(other, false, expires, true, None, out);
            }
        }
    }

    /// True while the contact of another motion may be on.
    pub(super) fn contact_on(&self, motion: Motion) -> bool {
        self.lines.iter().any(|(lead, line)| line.momentary && *lead != Lead::of(motion) && line.engaged())
    }

    /// The line that unlocks and locks a door; `None` where only a pulse does.
    pub(super) fn door_lead(&self) -> Option<Lead> {
        let lead = [Lead::Open, Lead::Lock].into_iter().find(|lead| self.lines.contains_key(lead));
        lead.filter(|_| !self.barrier())
    }

    /// True where OPEN is a pulse that the device times.
    pub(super) fn pulsed(&self) -> bool {
        matches!(self.output(Lead::Open).map(|output| &output.how), Some(How::Pulse { .. }))
    }
}
