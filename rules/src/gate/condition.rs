//! The conditions that a gate finds, for the alarms to give them their life.

use super::input::Role;
use super::kept::Mark;
use super::machine::Gate;
use super::state::Position;

/// The built-in classes of gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Forced,
    HeldOpen,
    Fault,
    Blocked,
    Hit,
    RemoteOpened,
    Tailgating,
    Fire,
    FireLine,
    Tamper,
}

impl Class {
    pub(super) const ALL: [Class; 10] = [
        Class::Forced,
        Class::HeldOpen,
        Class::Fault,
        Class::Blocked,
        Class::Hit,
        Class::RemoteOpened,
        Class::Tailgating,
        Class::Fire,
        Class::FireLine,
        Class::Tamper,
    ];

    /// The name of the alarm's class.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Class::Forced => "gate_forced",
            Class::HeldOpen => "gate_held_open",
            Class::Fault => "gate_fault",
            Class::Blocked => "gate_blocked",
            Class::Hit => "gate_hit",
            Class::RemoteOpened => "gate_remote_opened",
            Class::Tailgating => "tailgating",
            Class::Fire => "fire",
            Class::FireLine => "fire_line",
            Class::Tamper => "tamper",
        }
    }

    /// True where the alarm is about the fire input, which many gates may share.
    pub(super) fn of_fire_input(self) -> bool {
        matches!(self, Class::Fire | Class::FireLine)
    }
}

impl Gate {
    /// What an alarm of this class is about: the gate, or its fire input.
    pub(super) fn source(&self, class: Class) -> &str {
        match &self.spec.fire_source {
            Some(source) if class.of_fire_input() => source,
            Some(_) | None => &self.spec.id,
        }
    }

    /// Whether a condition holds; `None`: it cannot be told now, or this gate has none such.
    pub(super) fn holds(&self, class: Class) -> Option<bool> {
        let mark = |mark| self.marked(&[mark]);
        match class {
            Class::Forced => mark(Mark::Forced),
            Class::HeldOpen => mark(Mark::HeldOpen),
            Class::Blocked => mark(Mark::Blocked),
            Class::Hit => mark(Mark::Hit),
            Class::RemoteOpened => mark(Mark::RemoteOpened),
            Class::Tailgating => mark(Mark::Tailgating),
            Class::Fault => {
                let seen = self.is(Role::MotorFault) || self.position == Position::Contradiction;
                if seen { Some(true) } else { self.marked(&[Mark::NotConfirmed, Mark::OutputFailed]) }
            }
            Class::Fire => {
                if self.fire() {
                    Some(true)
                } else {
                    self.active(Role::Fire)
                }
            }
            Class::FireLine => self.fire_line_broken(),
            Class::Tamper => self.active(Role::Tamper),
        }
    }

    fn marked(&self, marks: &[Mark]) -> Option<bool> {
        if marks.iter().any(|mark| self.kept.marks.contains(mark)) {
            return Some(true);
        }
        (self.awake && self.comms_ok()).then_some(false)
    }

    /// The supervision says so, or the fire input was not read for longer than it may be.
    fn fire_line_broken(&self) -> Option<bool> {
        if self.is(Role::FireLine) {
            return Some(true);
        }
        let line = self.inputs.contains_key(&Role::FireLine);
        match self.inputs.get(&Role::Fire) {
            Some(fire) if fire.active().is_none() => self.fire_overdue.then_some(true),
            Some(_) => (!line || self.active(Role::FireLine).is_some()).then_some(false),
            None => self.active(Role::FireLine),
        }
    }

    /// What to tell people.
    pub(super) fn message(&self, class: Class) -> String {
        let id = &self.spec.id;
        let lost = self.inputs.get(&Role::Fire).and_then(super::input::Input::lost);
        match class {
            Class::Forced => format!("{id} was opened without a grant"),
            Class::HeldOpen => format!("{id} stays open"),
            Class::Fault if self.is(Role::MotorFault) => format!("the drive of {id} reports a fault"),
            Class::Fault if self.position == Position::Contradiction => format!("both limits of {id} are active"),
            Class::Fault if self.kept.marks.contains(&Mark::NotConfirmed) => {
                format!("{id} was not seen to reach its end in time")
            }
            Class::Fault => format!("an output of {id} does not do what it is told"),
            Class::Blocked => format!("something came under the closing {id}"),
            Class::Hit => format!("a vehicle hit the boom of {id}"),
            Class::RemoteOpened => format!("{id} was opened by its own remote control or by hand"),
            Class::Tailgating => format!("a vehicle followed another through {id}"),
            Class::Fire => format!("fire alarm: {} is released until it is reset on the spot", self.spec.id),
            Class::FireLine => match lost {
                Some(why) if !self.is(Role::FireLine) => format!("the fire input of {id} gives no value: {why}"),
                Some(_) | None => format!("the fire line of {id} is broken"),
            },
            Class::Tamper => format!("the cabinet of {id} is open"),
        }
    }
}
