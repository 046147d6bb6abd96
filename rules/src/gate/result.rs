//! What the devices answered, and what that means.

use std::time::Duration;

use gatehouse_core::Stamp;

use super::audit::Audit;
use super::command::Step;
use super::interlock::Motion;
use super::kept::Mark;
use super::line::Went;
use super::machine::Gate;
use super::order::{Cause, Doing, Order};
use super::out::Out;
use super::spec::How;
use crate::effect::{ActId, ActResult};

/// An output whose writes fail so often in a row is a fault of the gate.
const WRITES_MAX: u32 = 3;
/// After a motion that a device did not do, the box waits so long before it closes on its own.
const CLOSE_AGAIN: Duration = Duration::from_secs(30);

impl Gate {
    /// An act came to its end. False when it is none of this gate's.
    pub(super) fn acted(&mut self, now: &Stamp, act: ActId, result: &ActResult, out: &mut Out) -> bool {
        let Some(doing) = self.acts.remove(&act) else { return false };
        let (went, name, why) = told(result);
        let mut first = true;
        if doing.set.is_some() {
            let hold = match self.output(doing.lead).map(|output| &output.how) {
                Some(How::Switch { on_for, .. }) => *on_for,
                Some(How::Pulse { .. } | How::Level { .. }) | None => self.spec.timing.pulse,
            };
            if let Some(line) = self.lines.get_mut(&doing.lead) {
                line.ended(now.mono, act, went, hold);
                first = line.failures() <= 1;
                if line.failures() >= WRITES_MAX {
                    self.kept.marks.insert(Mark::OutputFailed);
                }
            }
        }
        if went == Went::Done && self.lines.values().all(|line| line.failures() < WRITES_MAX) {
            self.kept.marks.remove(&Mark::OutputFailed);
        }
        if self.news(&doing, name, first) {
            let audit = Audit {
                command: doing.lead.act(doing.set.unwrap_or(true)),
                who: doing.order.as_ref().map_or("box", |order| &order.who),
                id: doing.order.as_ref().and_then(|order| order.command.as_deref()),
                request: doing.order.as_ref().and_then(|order| order.request),
                act: Some(act.0),
                result: Some(name),
                reason: (!why.is_empty()).then_some(why.as_str()),
                ..Audit::default()
            };
            self.audit(now, audit, out);
        }
        if let Some(order) = doing.order {
            self.ordered(now, act, &order, went, &why, out);
        }
        true
    }

    /// Whether a result is worth a record: repeated failures of what is repeated are not.
    fn news(&mut self, doing: &Doing, name: &str, first: bool) -> bool {
        if doing.order.as_ref().is_none_or(|order| order.cause != Cause::Fire) {
            return first;
        }
        let news = self.fire_told.as_deref() != Some(name);
        self.fire_told = Some(name.to_owned());
        news
    }

    /// What the result of its act means to a motion.
    fn ordered(&mut self, now: &Stamp, act: ActId, order: &Order, went: Went, why: &str, out: &mut Out) {
        let command = order.command.as_deref();
        let confirmable = self.barrier() && order.motion != Motion::Stop && self.locatable();
        match went {
            Went::Done if confirmable => out.step(command, Step::Acknowledged),
            Went::Done => out.last_step(command, Step::Acknowledged),
            Went::Undone => out.last_step(command, Step::Failed(why.to_owned())),
            Went::Doubt if confirmable => {}
            Went::Doubt => out.last_step(command, Step::Unknown),
        }
        if order.cause == Cause::Fire {
            self.fire_failures = if went == Went::Done { 0 } else { self.fire_failures.saturating_add(1) };
        }
        let mine = |at: Option<ActId>| at == Some(act);
        if went == Went::Undone {
            self.kept.marks.insert(Mark::OutputFailed);
            if self.going.take_if(|going| mine(going.act)).is_some() {
                self.close_sent = false;
                self.close_not_before = now.mono + CLOSE_AGAIN;
            }
            self.window.take_if(|window| mine(window.act));
            if let Some(request) = order.request {
                self.fail_request(now, request, why, out);
            }
            return;
        }
        let until = now.mono + self.allowance(order.motion);
        if let Some(going) = self.going.as_mut().filter(|going| mine(going.act)) {
            going.deadline = until;
            if !confirmable && let Some(order) = &mut going.order {
                order.command = None;
            }
        }
        let grant = self.spec.policy.grant;
        if let Some(window) = self.window.as_mut().filter(|window| mine(window.act)) {
            window.until = now.mono + grant;
            window.order.command = None;
        }
    }
}

fn told(result: &ActResult) -> (Went, &'static str, String) {
    match result {
        ActResult::Verified => (Went::Done, "verified", String::new()),
        ActResult::Acknowledged => (Went::Done, "acknowledged", String::new()),
        ActResult::Failed(why) => (Went::Undone, "failed", why.to_string()),
        ActResult::Refused(why) => (Went::Undone, "refused", why.to_string()),
        ActResult::Expired => (Went::Undone, "expired", "expired".to_owned()),
        ActResult::Unknown(why) => (Went::Doubt, "unknown", why.to_string()),
    }
}
