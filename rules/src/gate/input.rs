//! One sensor: what it says, filtered, and whether that may still be believed.

use std::time::Duration;

use gatehouse_core::{Mono, NoData, Value};
use serde::{Deserialize, Serialize};

use crate::catalog::PointRef;

/// What a sensor tells about its gate. A gate has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The boom is at its open end.
    OpenLimit,
    /// The boom is at its closed end.
    CloseLimit,
    /// A vehicle asks (loop A).
    LoopApproach,
    /// A vehicle is under the boom (loop B).
    LoopUnderBoom,
    /// The beam is broken.
    Photocell,
    /// The door is open.
    DoorContact,
    /// Somebody presses the exit button.
    ExitButton,
    /// The fire alarm is on. The same point may serve many gates.
    Fire,
    /// The supervision of the fire line says that it is broken.
    FireLine,
    /// The emergency stop is pressed.
    EmergencyStop,
    /// The drive reports a fault or an obstacle.
    MotorFault,
    /// The drive is worked by hand.
    ManualMode,
    /// The receiver of the barrier's own remote control.
    RemoteControl,
    /// The cabinet is open.
    Tamper,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 14] = [
        Role::OpenLimit,
        Role::CloseLimit,
        Role::LoopApproach,
        Role::LoopUnderBoom,
        Role::Photocell,
        Role::DoorContact,
        Role::ExitButton,
        Role::Fire,
        Role::FireLine,
        Role::EmergencyStop,
        Role::MotorFault,
        Role::ManualMode,
        Role::RemoteControl,
        Role::Tamper,
    ];

    /// True for what must be read lately before a boom is lowered, whatever the site file requires.
    pub(super) fn guards_closing(self) -> bool {
        use Role::{CloseLimit, EmergencyStop, LoopUnderBoom, MotorFault, OpenLimit, Photocell};
        matches!(self, OpenLimit | CloseLimit | LoopUnderBoom | Photocell | EmergencyStop | MotorFault)
    }

    /// Filters in milliseconds until it counts as active and as inactive again (table of inputs of the convention).
    fn filters(self) -> (u64, u64) {
        match self {
            Role::LoopUnderBoom => (0, 500),
            Role::LoopApproach => (200, 200),
            Role::Photocell => (20, 50),
            Role::ExitButton => (50, 50),
            Role::EmergencyStop => (0, 100),
            Role::OpenLimit
            | Role::CloseLimit
            | Role::DoorContact
            | Role::Fire
            | Role::FireLine
            | Role::MotorFault
            | Role::ManualMode
            | Role::RemoteControl
            | Role::Tamper => (100, 100),
        }
    }
}

/// A sensor of a gate, as the site file ties it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sensor {
    /// Its point: a flag, or a number that is not 0 when it is on.
    pub at: PointRef,
    /// The value that means active: `false` for a contact that opens, or a photo-cell that is wired fail-safe.
    pub active_when: bool,
    /// True when the gate's state is unknown without it.
    pub required: bool,
    /// How long it must be active to count; zero: at once.
    pub filter_on: Duration,
    /// How long it must be inactive to count.
    pub filter_off: Duration,
    /// How old its last value may become.
    pub max_age: Duration,
}

impl Sensor {
    /// A sensor with the filters of the convention, polled once each `interval`: believed for three polls, at least
    /// 2 s. Ends, loop B, photo-cell, door contact, emergency stop and motor fault are required; for a lost fire
    /// input neither releases nor stops a gate.
    pub fn new(role: Role, at: PointRef, interval: Duration) -> Self {
        let (on, off) = role.filters();
        Sensor {
            at,
            active_when: true,
            required: role.guards_closing() || role == Role::DoorContact,
            filter_on: Duration::from_millis(on),
            filter_off: Duration::from_millis(off),
            max_age: interval.saturating_mul(3).max(Duration::from_secs(2)),
        }
    }
}

/// The last that a sensor said.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) sensor: Sensor,
    raw: Option<bool>,
    active: Option<bool>,
    turns_at: Option<Mono>,
    seen: Option<Mono>,
    lost: Option<NoData>,
}

impl Input {
    pub(super) fn new(sensor: Sensor) -> Self {
        Input { sensor, raw: None, active: None, turns_at: None, seen: None, lost: None }
    }

    /// Takes a reading. The first value counts at once, later ones when their filter has passed.
    pub(super) fn handle(&mut self, now: Mono, value: &Result<Value, NoData>) {
        let on = match value {
            Ok(value) => switched(value),
            Err(why) => {
                self.lost = Some(*why);
                return;
            }
        };
        let Some(on) = on else {
            self.lost = Some(NoData::BadText);
            return;
        };
        let raw = on == self.sensor.active_when;
        self.lost = None;
        self.seen = Some(now);
        if self.active.is_none() {
            self.active = Some(raw);
        }
        if self.raw != Some(raw) {
            let filter = if raw { self.sensor.filter_on } else { self.sensor.filter_off };
            self.turns_at = (self.active != Some(raw)).then(|| now + filter);
        }
        self.raw = Some(raw);
    }

    /// Lets filters pass and values grow old. Returns what it turned to, when it turned just now.
    pub(super) fn turn(&mut self, now: Mono) -> Option<bool> {
        let mut turned = None;
        if self.turns_at.is_some_and(|at| at <= now) {
            self.turns_at = None;
            if self.active != self.raw {
                self.active = self.raw;
                turned = self.raw;
            }
        }
        if self.seen.is_some_and(|seen| now >= seen + self.sensor.max_age) {
            (self.raw, self.active, self.seen, self.turns_at) = (None, None, None, None);
        }
        turned
    }

    /// When [`Input::turn`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.turns_at.into_iter().chain(self.seen.map(|seen| seen + self.sensor.max_age)).min()
    }

    /// What it says, filtered; `None` when that is too old.
    pub(super) fn active(&self) -> Option<bool> {
        self.active
    }

    /// True when it says so, or has just begun to: for what must not wait for a filter.
    pub(super) fn hints(&self) -> bool {
        self.active == Some(true) || self.raw == Some(true)
    }

    /// The last value's time; `None` when that is too old.
    pub(super) fn seen(&self) -> Option<Mono> {
        self.seen
    }

    /// Why the last reading had no value.
    pub(super) fn lost(&self) -> Option<NoData> {
        self.lost
    }
}

/// A flag, or a number that is not 0. Text is neither.
fn switched(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Decimal(number) => Some(number.mantissa != 0),
        Value::F32(number) => Some(*number != 0.0),
        Value::F64(number) => Some(*number != 0.0),
        Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_core::{Decimal, DeviceIx, PointIx};

    const MS: fn(u64) -> Mono = Mono::from_millis;

    fn input(role: Role) -> Input {
        let at = PointRef { device: DeviceIx(0), point: PointIx(0) };
        Input::new(Sensor::new(role, at, Duration::from_millis(500)))
    }

    fn say(input: &mut Input, at: u64, on: bool) -> Option<bool> {
        input.handle(MS(at), &Ok(Value::Bool(on)));
        input.turn(MS(at))
    }

    #[test]
    fn a_loop_counts_at_once_and_is_free_only_after_its_filter() {
        let mut input = input(Role::LoopUnderBoom);
        assert_eq!(say(&mut input, 0, false), None, "the first value is no edge");
        assert_eq!(say(&mut input, 100, true), Some(true));
        assert_eq!(say(&mut input, 200, false), None);
        assert!(input.hints());
        assert_eq!(say(&mut input, 300, true), None, "a gap shorter than the filter is none");
        assert_eq!(say(&mut input, 400, false), None);
        assert_eq!(input.poll_timeout(), Some(MS(900)));
        assert_eq!(input.turn(MS(899)), None);
        assert_eq!(input.turn(MS(900)), Some(false));
    }

    #[test]
    fn what_has_just_begun_is_a_hint_before_it_counts() {
        let mut input = input(Role::Photocell);
        say(&mut input, 0, false);
        assert_eq!(say(&mut input, 10, true), None);
        assert!(input.hints());
        assert_eq!(input.active(), Some(false));
    }

    #[test]
    fn an_old_value_is_none_and_the_first_after_it_is_no_edge() {
        let mut input = input(Role::DoorContact);
        say(&mut input, 0, false);
        input.handle(MS(1000), &Err(NoData::Timeout));
        assert_eq!(input.turn(MS(1999)), None);
        assert_eq!(input.active(), Some(false), "one lost poll is nothing yet");
        input.turn(MS(2000));
        assert_eq!((input.active(), input.lost()), (None, Some(NoData::Timeout)));
        assert_eq!(input.poll_timeout(), None);
        assert_eq!(say(&mut input, 3000, true), None);
        assert_eq!(input.active(), Some(true));
    }

    #[test]
    fn numbers_count_and_texts_do_not() {
        let mut input = input(Role::Tamper);
        input.handle(MS(0), &Ok(Value::Decimal(Decimal::whole(2))));
        assert_eq!(input.active(), Some(true));
        input.handle(MS(1), &Ok(Value::Text("off".into())));
        assert_eq!((input.active(), input.lost()), (Some(true), Some(NoData::BadText)));
    }
}
