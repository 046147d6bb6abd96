//! The life of one alarm: the state diagram of ANSI/ISA-18.2-2016 as one total function.

use serde::{Deserialize, Serialize};

use crate::words::AlarmState;

/// The states in which an alarm is shown as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// A: no condition, nothing to acknowledge.
    Normal,
    /// B: the condition holds, unacknowledged.
    Unacknowledged,
    /// C: the condition holds, acknowledged.
    Acknowledged,
    /// D: the condition is gone, unacknowledged.
    ReturnedUnacknowledged,
    /// E: latched, unacknowledged.
    LatchedUnacknowledged,
    /// F: latched, acknowledged.
    LatchedAcknowledged,
}

/// What keeps an alarm from being shown. At least one is set wherever a [`Standing`] carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mask {
    /// G: by an operator, until a known end.
    pub shelved: bool,
    /// H: by design.
    pub suppressed: bool,
    /// I: by maintenance.
    pub out_of_service: bool,
}

/// Where one alarm stands.
///
/// While it is masked only the condition is followed: what a person had or had not acknowledged before is over, and
/// the end of the last mask shows the condition as it is then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Shown.
    Shown(Life),
    /// Not shown.
    Masked {
        /// Why not.
        mask: Mask,
        /// Whether the condition holds.
        active: bool,
    },
}

/// What can happen to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmEvent {
    /// The condition came, its delay over.
    ConditionOn,
    /// The condition went, its delay over.
    ConditionOff,
    /// Somebody has seen it.
    Acknowledge,
    /// Somebody released the latch.
    Reset,
    /// It has stood acknowledged for too long, or what was a drill is real: somebody has to look again.
    ReAlarm,
    /// An operator hides it until a known end.
    Shelve,
    /// The end of shelving, by time or by a person.
    Unshelve,
    /// A parent's alarm explains it.
    Suppress,
    /// No parent's alarm explains it any more.
    Unsuppress,
    /// Maintenance takes it out of service.
    RemoveFromService,
    /// Maintenance gives it back.
    ReturnToService,
}

/// What the class of an alarm says of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// A condition that is gone waits for a reset. Goes before `auto_acknowledge`.
    pub latch: bool,
    /// A condition that is gone needs nobody's acknowledgement.
    pub auto_acknowledge: bool,
}

impl Standing {
    /// Nothing holds, nothing is owed.
    pub const NORMAL: Standing = Standing::Shown(Life::Normal);

    /// The state by the letters of the diagram. Of several masks out of service is shown before suppressed, and that
    /// before shelved.
    pub fn state(self) -> AlarmState {
        match self {
            Standing::Shown(Life::Normal) => AlarmState::Normal,
            Standing::Shown(Life::Unacknowledged) => AlarmState::Unacknowledged,
            Standing::Shown(Life::Acknowledged) => AlarmState::Acknowledged,
            Standing::Shown(Life::ReturnedUnacknowledged) => AlarmState::ReturnedUnacknowledged,
            Standing::Shown(Life::LatchedUnacknowledged) => AlarmState::LatchedUnacknowledged,
            Standing::Shown(Life::LatchedAcknowledged) => AlarmState::LatchedAcknowledged,
            Standing::Masked { mask, .. } if mask.out_of_service => AlarmState::OutOfService,
            Standing::Masked { mask, .. } if mask.suppressed => AlarmState::Suppressed,
            Standing::Masked { .. } => AlarmState::Shelved,
        }
    }

    /// Whether the condition holds.
    pub fn active(self) -> bool {
        match self {
            Standing::Shown(life) => matches!(life, Life::Unacknowledged | Life::Acknowledged),
            Standing::Masked { active, .. } => active,
        }
    }

    /// What keeps it from being shown; nothing, when it is.
    pub fn mask(self) -> Mask {
        match self {
            Standing::Shown(_) => Mask::default(),
            Standing::Masked { mask, .. } => mask,
        }
    }

    /// True when it is shown and waits for an acknowledgement.
    pub fn unacknowledged(self) -> bool {
        match self {
            Standing::Shown(life) => {
                matches!(life, Life::Unacknowledged | Life::ReturnedUnacknowledged | Life::LatchedUnacknowledged)
            }
            Standing::Masked { .. } => false,
        }
    }
}

/// Where an alarm stands after `event`. What the diagram does not name changes nothing.
pub fn step(standing: Standing, event: AlarmEvent, flags: Flags) -> Standing {
    let mut mask = standing.mask();
    match event {
        AlarmEvent::Shelve => mask.shelved = true,
        AlarmEvent::Suppress => mask.suppressed = true,
        AlarmEvent::RemoveFromService => mask.out_of_service = true,
        AlarmEvent::Unshelve => mask.shelved = false,
        AlarmEvent::Unsuppress => mask.suppressed = false,
        AlarmEvent::ReturnToService => mask.out_of_service = false,
        AlarmEvent::ConditionOn
        | AlarmEvent::ConditionOff
        | AlarmEvent::Acknowledge
        | AlarmEvent::Reset
        | AlarmEvent::ReAlarm => {}
    }
    match standing {
        Standing::Shown(life) if mask == Mask::default() => Standing::Shown(step_shown(life, event, flags)),
        Standing::Shown(_) => Standing::Masked { mask, active: standing.active() },
        Standing::Masked { active, .. } if mask == Mask::default() => {
            Standing::Shown(if active { Life::Unacknowledged } else { Life::Normal })
        }
        Standing::Masked { active, .. } => {
            let active = match event {
                AlarmEvent::ConditionOn => true,
                AlarmEvent::ConditionOff => false,
                AlarmEvent::Acknowledge
                | AlarmEvent::Reset
                | AlarmEvent::ReAlarm
                | AlarmEvent::Shelve
                | AlarmEvent::Unshelve
                | AlarmEvent::Suppress
                | AlarmEvent::Unsuppress
                | AlarmEvent::RemoveFromService
                | AlarmEvent::ReturnToService => active,
            };
            Standing::Masked { mask, active }
        }
    }
}

fn step_shown(life: Life, event: AlarmEvent, flags: Flags) -> Life {
    use Life::{
        Acknowledged, LatchedAcknowledged, LatchedUnacknowledged, Normal, ReturnedUnacknowledged, Unacknowledged,
    };
    match (event, life) {
        (AlarmEvent::ConditionOn, Acknowledged) => Acknowledged,
        (
            AlarmEvent::ConditionOn,
            Normal | Unacknowledged | ReturnedUnacknowledged | LatchedUnacknowledged | LatchedAcknowledged,
        ) => Unacknowledged,
        (AlarmEvent::ConditionOff, Unacknowledged) if flags.latch => LatchedUnacknowledged,
        (AlarmEvent::ConditionOff, Unacknowledged) if flags.auto_acknowledge => Normal,
        (AlarmEvent::ConditionOff, Unacknowledged) => ReturnedUnacknowledged,
        (AlarmEvent::ConditionOff, Acknowledged) if flags.latch => LatchedAcknowledged,
        (AlarmEvent::ConditionOff, Acknowledged) => Normal,
        (AlarmEvent::Acknowledge, Unacknowledged) => Acknowledged,
        (AlarmEvent::Acknowledge, ReturnedUnacknowledged) => Normal,
        (AlarmEvent::Acknowledge, LatchedUnacknowledged) => LatchedAcknowledged,
        (AlarmEvent::Reset, LatchedAcknowledged) => Normal,
        (AlarmEvent::ReAlarm, Acknowledged) => Unacknowledged,
        (
            AlarmEvent::ConditionOff
            | AlarmEvent::Acknowledge
            | AlarmEvent::Reset
            | AlarmEvent::ReAlarm
            | AlarmEvent::Shelve
            | AlarmEvent::Unshelve
            | AlarmEvent::Suppress
            | AlarmEvent::Unsuppress
            | AlarmEvent::RemoveFromService
            | AlarmEvent::ReturnToService,
            same,
        ) => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Source: reference machine of the protocol hand-over.
    const TRANSITIONS: &str = include_str!("../../vectors/alarm-transitions.json");
    const SCENARIOS: &str = include_str!("../../vectors/alarm-scenarios.json");

    fn state(name: &str) -> AlarmState {
        match name {
            "NORM" => AlarmState::Normal,
            "UNACK" => AlarmState::Unacknowledged,
            "ACKED" => AlarmState::Acknowledged,
            "RTNUN" => AlarmState::ReturnedUnacknowledged,
            "LATUN" => AlarmState::LatchedUnacknowledged,
            "LATAK" => AlarmState::LatchedAcknowledged,
            "SHLVD" => AlarmState::Shelved,
            "DSUPR" => AlarmState::Suppressed,
            "OOSRV" => AlarmState::OutOfService,
            other => panic!("{other}"),
        }
    }

    fn standing(name: &str, active: bool) -> Standing {
        let mask = Mask::default();
        match name {
            "NORM" => Standing::Shown(Life::Normal),
            "UNACK" => Standing::Shown(Life::Unacknowledged),
            "ACKED" => Standing::Shown(Life::Acknowledged),
            "RTNUN" => Standing::Shown(Life::ReturnedUnacknowledged),
            "LATUN" => Standing::Shown(Life::LatchedUnacknowledged),
            "LATAK" => Standing::Shown(Life::LatchedAcknowledged),
            "SHLVD" => Standing::Masked { mask: Mask { shelved: true, ..mask }, active },
            "DSUPR" => Standing::Masked { mask: Mask { suppressed: true, ..mask }, active },
            "OOSRV" => Standing::Masked { mask: Mask { out_of_service: true, ..mask }, active },
            other => panic!("{other}"),
        }
    }

    fn event(name: &str) -> AlarmEvent {
        match name {
            "condition_on" | "on" => AlarmEvent::ConditionOn,
            "condition_off" | "off" => AlarmEvent::ConditionOff,
            "ack" => AlarmEvent::Acknowledge,
            "reset" => AlarmEvent::Reset,
            "re_alarm" => AlarmEvent::ReAlarm,
            "shelve" => AlarmEvent::Shelve,
            "unshelve_or_expire" | "expire" => AlarmEvent::Unshelve,
            "suppress" => AlarmEvent::Suppress,
            "unsuppress" => AlarmEvent::Unsuppress,
            "remove_from_service" | "oos" => AlarmEvent::RemoveFromService,
            "return_to_service" | "return" => AlarmEvent::ReturnToService,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_row_of_the_reference_table_holds() {
        let table: Value = serde_json::from_str(TRANSITIONS).unwrap();
        let rows = table["transitions"].as_array().unwrap();
        assert_eq!(rows.len(), 38);
        for row in rows {
            let guard = row["guard"].as_str().unwrap();
            let flags = Flags { latch: guard == "latching", auto_acknowledge: guard == "auto-acknowledge configured" };
            let from = standing(row["from"].as_str().unwrap(), guard != "condition not active");
            let to = step(from, event(row["event"].as_str().unwrap()), flags);
            assert_eq!(to.state(), state(row["to"].as_str().unwrap()), "{row}");
        }
    }

    #[test]
    fn every_reference_scenario_holds() {
        let file: Value = serde_json::from_str(SCENARIOS).unwrap();
        for case in file["alarm"].as_array().unwrap() {
            let flags = Flags {
                latch: case["latching"].as_bool().unwrap_or(false),
                auto_acknowledge: case["auto"].as_bool().unwrap_or(false),
            };
            let mut at = Standing::NORMAL;
            let events = case["events"].as_array().unwrap();
            for (name, expected) in events.iter().zip(case["states"].as_array().unwrap()) {
                at = step(at, event(name.as_str().unwrap()), flags);
                assert_eq!(at.state(), state(expected.as_str().unwrap()), "{} after {name}", case["id"]);
            }
        }
    }

    #[test]
    fn of_several_masks_the_strongest_is_shown_and_only_the_last_shows_the_condition() {
        let flags = Flags::default();
        let mut at = Standing::NORMAL;
        for (name, expected) in [
            ("on", "UNACK"),
            ("shelve", "SHLVD"),
            ("oos", "OOSRV"),
            ("suppress", "OOSRV"),
            ("return", "DSUPR"),
            ("ack", "DSUPR"),
            ("unsuppress", "SHLVD"),
            ("unsuppress", "SHLVD"),
            ("expire", "UNACK"),
        ] {
            at = step(at, event(name), flags);
            assert_eq!(at.state(), state(expected), "after {name}");
        }
    }
}
