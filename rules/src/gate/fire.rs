//! The fire release: asserted at once, maintained, and ended by a person on the spot.

use std::time::Duration;

use gatehouse_core::Stamp;

use super::command::Step;
use super::input::Role;
use super::interlock::{Decision, Motion};
use super::machine::Gate;
use super::order::{Cause, Order};
use super::out::Out;

/// Shortest and longest time between two assertions.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

impl Gate {
    /// Latches a fire: from now on it is a person's to end it.
    pub(super) fn latch_fire(&mut self, now: &Stamp, out: &mut Out) {
        if self.fire() || !self.is(Role::Fire) {
            return;
        }
        self.kept.fire = Some((*now).into());
        (self.fire_due, self.fire_began) = (true, true);
        (self.fire_next, self.fire_failures, self.fire_told) = (now.mono, 0, None);
        self.audit_note(now, "fire", "fire", (Decision::Accept, "fire_alarm_active"), out);
        if let Some(order) = self.locking.take() {
            out.last_step(order.command.as_deref(), Step::NotConfirmed("fire_alarm_active"));
        }
    }

    /// Raises the boom, or pulses a door that nothing else unlocks, whenever that is needed: the one pulse that is given
    /// again. What stays set is driven as any other output.
    pub(super) fn release_on_fire(&mut self, now: &Stamp, out: &mut Out) {
        if !self.fire() || !self.fire_due && now.mono < self.fire_next {
            return;
        }
        let urgent = std::mem::take(&mut self.fire_due);
        let opening = self.going.as_ref().is_some_and(|going| going.own && going.motion == Motion::Open);
        let needed = if self.barrier() { urgent || !opening } else { self.lines.is_empty() };
        let judgement = self.judge(Motion::Open, false);
        if !needed || judgement.decision != Decision::Accept {
            self.fire_due = urgent && judgement.decision == Decision::Refuse;
            return;
        }
        let order = Order::own(Motion::Open, Cause::Fire);
        if self.fire_told.is_none() {
            self.audit_decision(now, &order, judgement, out);
        }
        self.drop_pending("fire_alarm_active", out);
        self.send(now, order, out);
        let (first, last) = AGAIN;
        let pause = first.saturating_mul(1 << self.fire_failures.min(5)).min(last);
        let again = if self.barrier() { pause } else { pause.max(self.spec.policy.grant) };
        self.fire_next = now.mono + again;
    }
}
