//! The points that a controller has, by name.

use std::fmt;

use gatehouse_core::{Kind, NoData, Value};

use super::date::time_text;
use super::reply::{Reply, Status};

/// One field of a controller's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The contact of a door: true for open.
    DoorOpen(u8),
    /// The button that lets out at a door: true for pressed.
    Button(u8),
    /// The relay of a door: true for unlocked.
    Relay(u8),
    /// The input that locks all doors.
    ForceLock,
    /// The fire input.
    Fire,
    /// The number of the last recorded event.
    EventIndex,
    /// What troubles the controller, 0 for nothing.
    SystemError,
    /// Its clock, as text.
    Clock,
    /// How a door is controlled: 1 always open, 2 always closed, 3 controlled.
    DoorMode(u8),
    /// Seconds for which a door is unlocked.
    DoorDelay(u8),
}

impl Field {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Field> {
        const DOORS: std::ops::RangeInclusive<u8> = 1..=4;
        let single = [Field::ForceLock, Field::Fire, Field::EventIndex, Field::SystemError, Field::Clock];
        let doors = [Field::DoorOpen, Field::Button, Field::Relay, Field::DoorMode, Field::DoorDelay];
        doors.into_iter().flat_map(|field| DOORS.map(field)).chain(single)
    }

    /// The field of this name: `door_1_open`, `button_4`, `fire`, ...
    pub fn parse(text: &str) -> Option<Field> {
        Field::all().find(|field| field.to_string() == text)
    }

    /// What its values are made of.
    pub fn kind(self) -> Kind {
        match self {
            Field::DoorOpen(_) | Field::Button(_) | Field::Relay(_) | Field::ForceLock | Field::Fire => Kind::Bool,
            Field::EventIndex | Field::SystemError | Field::DoorMode(_) | Field::DoorDelay(_) => {
                Kind::Decimal { exponent: 0 }
            }
            Field::Clock => Kind::Text,
        }
    }

    /// The door whose own request gives it; `None`: it comes with the status.
    pub(super) fn of_door(self) -> Option<u8> {
        match self {
            Field::DoorMode(door) | Field::DoorDelay(door) => Some(door),
            Field::DoorOpen(_)
            | Field::Button(_)
            | Field::Relay(_)
            | Field::ForceLock
            | Field::Fire
            | Field::EventIndex
            | Field::SystemError
            | Field::Clock => None,
        }
    }

    /// Its value in a reply.
    pub(super) fn value(self, reply: &Reply) -> Result<Value, NoData> {
        match reply {
            Reply::Status(status) => self.of_status(status),
            Reply::Door { mode, delay_s, .. } => match self {
                Field::DoorMode(_) => Ok(number((*mode).into())),
                Field::DoorDelay(_) => Ok(number((*delay_s).into())),
                _ => Err(NoData::BadReply),
            },
            _ => Err(NoData::BadReply),
        }
    }

    fn of_status(self, status: &Status) -> Result<Value, NoData> {
        let of = |row: &[bool; 4], door: u8| {
            let flag = usize::from(door).checked_sub(1).and_then(|at| row.get(at));
            flag.map(|flag| Value::Bool(*flag)).ok_or(NoData::BadReply)
        };
        match self {
            Field::DoorOpen(door) => of(&status.doors, door),
            Field::Button(door) => of(&status.buttons, door),
            Field::Relay(door) => Ok(Value::Bool(status.relays >> door.saturating_sub(1).min(7) & 1 == 1)),
            Field::ForceLock => Ok(Value::Bool(status.inputs & 1 != 0)),
            Field::Fire => Ok(Value::Bool(status.inputs & 2 != 0)),
            Field::EventIndex => Ok(number(status.event_index)),
            Field::SystemError => Ok(number(status.system_error.into())),
            Field::Clock => status.clock.map(|time| Value::Text(time_text(time).into())).map_err(|_| NoData::BadReply),
            Field::DoorMode(_) | Field::DoorDelay(_) => Err(NoData::BadReply),
        }
    }
}

fn number(number: u32) -> Value {
    Value::Decimal(gatehouse_core::Decimal::whole(number.into()))
}

impl fmt::Display for Field {
    /// Writes the name in profiles and site files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::DoorOpen(door) => write!(f, "door_{door}_open"),
            Field::Button(door) => write!(f, "button_{door}"),
            Field::Relay(door) => write!(f, "relay_{door}"),
            Field::ForceLock => f.write_str("force_lock"),
            Field::Fire => f.write_str("fire"),
            Field::EventIndex => f.write_str("event_index"),
            Field::SystemError => f.write_str("system_error"),
            Field::Clock => f.write_str("clock"),
            Field::DoorMode(door) => write!(f, "door_{door}_mode"),
            Field::DoorDelay(door) => write!(f, "door_{door}_delay"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_their_fields() {
        assert_eq!(Field::all().count(), 25);
        for field in Field::all() {
            assert_eq!(Field::parse(&field.to_string()), Some(field));
        }
        assert_eq!(Field::parse("door_5_open"), None);
    }
}
