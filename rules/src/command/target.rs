//! What a command is aimed at.

use std::fmt;

use gatehouse_core::Name;
use serde::{Deserialize, Serialize};

use crate::words::AlarmId;

/// The longest target, in bytes.
const LONGEST: usize = 200;

/// What a command is aimed at. Commands of one target are done one after another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Target {
    /// `gate:garage-entry`: a barrier or a door.
    Gate(Name),
    /// `device:meter-101`: a device itself.
    Device(Name),
    /// `alarm:device_offline/meter-101`: an alarm.
    Alarm(AlarmId),
    /// `ticket:17`: a ticket, by the box's number.
    Ticket(u64),
    /// `access`: credentials, codes, occupancy.
    Access,
    /// `site`: the site as a whole.
    Site,
}

/// The kinds of [`Target`], for rules about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetClass {
    /// Barriers and doors.
    Gate,
    /// Devices.
    Device,
    /// Alarms.
    Alarm,
    /// Tickets.
    Ticket,
    /// Credentials, codes, occupancy.
    Access,
    /// The site as a whole.
    Site,
}

/// A text that names no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a target is gate:ID, device:ID, alarm:CLASS/SOURCE, ticket:NUMBER, access or site")]
pub struct InvalidTarget;

impl Target {
    /// Its kind.
    pub fn class(&self) -> TargetClass {
        match self {
            Target::Gate(_) => TargetClass::Gate,
            Target::Device(_) => TargetClass::Device,
            Target::Alarm(_) => TargetClass::Alarm,
            Target::Ticket(_) => TargetClass::Ticket,
            Target::Access => TargetClass::Access,
            Target::Site => TargetClass::Site,
        }
    }

    fn read(text: &str) -> Option<Target> {
        let Some((class, name)) = text.split_once(':') else {
            return match text {
                "access" => Some(Target::Access),
                "site" => Some(Target::Site),
                _ => None,
            };
        };
        match class {
            "gate" => Name::new(name).ok().map(Target::Gate),
            "device" => Name::new(name).ok().map(Target::Device),
            "alarm" => AlarmId::try_from(name.to_owned()).ok().map(Target::Alarm),
            "ticket" => name.parse().ok().map(Target::Ticket),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Gate(id) => write!(f, "gate:{id}"),
            Target::Device(id) => write!(f, "device:{id}"),
            Target::Alarm(id) => write!(f, "alarm:{id}"),
            Target::Ticket(number) => write!(f, "ticket:{number}"),
            Target::Access => f.write_str("access"),
            Target::Site => f.write_str("site"),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;

    /// Reads a target as it is printed, and in no other spelling: a signature covers its text.
    fn try_from(text: String) -> Result<Self, InvalidTarget> {
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(InvalidTarget);
        }
        Target::read(&text).filter(|target| target.to_string() == text).ok_or(InvalidTarget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_printed_and_in_no_other_spelling() {
        let all =
            ["gate:garage-entry", "device:meter-101", "alarm:device_offline/meter-101", "ticket:17", "access", "site"];
        for text in all {
            assert_eq!(Target::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        let long = format!("alarm:a/{}", "x".repeat(200));
        let bad = ["", "gate", "gate:", "gate:A", "ticket:+17", "ticket:017", "ticket:x", "alarm:x", "site:1", "a:b"];
        for text in bad.into_iter().chain([long.as_str(), "alarm:a/b\nc", "access "]) {
            assert_eq!(Target::try_from(text.to_owned()), Err(InvalidTarget), "{text:?}");
        }
    }
}
