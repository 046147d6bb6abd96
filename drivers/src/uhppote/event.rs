//! Recorded events, and what their numbers mean.

use gatehouse_core::{CardNumber, ControllerEvent, EventKind, LocalTime};

use super::datagram::Datagram;
use super::date::read_time;
use super::error::WireError;
use super::untold::Untold;

/// Types of events.
pub mod kind {
    /// There is no such event.
    pub const NONE: u8 = 0;
    /// A card was presented.
    pub const CARD: u8 = 1;
    /// Something happened to a door.
    pub const DOOR: u8 = 2;
    /// Something that worries the controller.
    pub const ALARM: u8 = 3;
    /// There was an event, and a newer one has its place.
    pub const OVERWRITTEN: u8 = 0xFF;
}

/// An event as a controller tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEvent {
    /// Its number, from 1 on.
    pub index: u32,
    /// One of [`kind`].
    pub kind: u8,
    /// Whether the controller opened.
    pub granted: bool,
    /// The door, 1 to 4.
    pub door: u8,
    /// 1 in, 2 out.
    pub direction: u8,
    /// The card, 0 for none.
    pub card: Untold,
    /// When, by the controller's clock.
    pub at: Result<LocalTime, WireError>,
    /// Why; see [`reason_name`].
    pub reason: u8,
}

impl RawEvent {
    /// Reads the fields, which lie alike in events and in the status.
    pub(super) fn read(datagram: &Datagram) -> RawEvent {
        RawEvent {
            index: datagram.long(8),
            kind: datagram.byte(12),
            granted: datagram.flag(13),
            door: datagram.byte(14),
            direction: datagram.byte(15),
            card: Untold::new(datagram.long(16)),
            at: read_time(datagram.part(20)),
            reason: datagram.byte(27),
        }
    }

    /// The event in the words of the house. A time that the calendar does not have is left out, never guessed.
    pub fn told(&self) -> ControllerEvent {
        let kind = match (self.kind, self.reason) {
            (_, 20 | 31..=33) => EventKind::Button,
            (_, 44 | 45) => EventKind::Remote,
            (kind::CARD, _) => EventKind::Card,
            (kind::DOOR, _) => EventKind::Door,
            (kind::ALARM, _) => EventKind::Alarm,
            _ => EventKind::Other,
        };
        ControllerEvent {
            index: self.index,
            kind,
            granted: self.granted,
            door: self.door,
            out: match self.direction {
                1 => Some(false),
                2 => Some(true),
                _ => None,
            },
            card: CardNumber::new(self.card.reveal()),
            at: self.at.ok(),
            reason: reason_name(self.reason),
        }
    }
}

const REASONS: [(u8, &str); 31] = [
    (1, "swipe"),
    (5, "pc_control"),
    (6, "no_privilege"),
    (7, "wrong_password"),
    (8, "anti_passback"),
    (9, "more_cards_needed"),
    (10, "first_card_needed"),
    (11, "door_normally_closed"),
    (12, "interlock"),
    (13, "times_used_up"),
    (15, "out_of_schedule"),
    (18, "no_access"),
    (20, "push_button"),
    (23, "door_opened"),
    (24, "door_closed"),
    (25, "password_open"),
    (28, "power_on"),
    (29, "reset"),
    (31, "button_locked"),
    (32, "button_offline"),
    (33, "button_interlock"),
    (34, "threat"),
    (37, "held_open"),
    (38, "forced_open"),
    (39, "fire"),
    (40, "forced_close"),
    (41, "theft_prevention"),
    (42, "zone_24h"),
    (43, "emergency"),
    (44, "remote_open"),
    (45, "remote_open_by_reader"),
];

/// The name of a reason: `swipe`, `no_privilege`, ...; `reason_N` for one that is not known.
pub fn reason_name(code: u8) -> Box<str> {
    let known = REASONS.iter().find(|(number, _)| *number == code);
    known.map_or_else(|| format!("reason_{code}").into(), |(_, name)| (*name).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_order_and_unknown_ones_keep_their_number() {
        assert!(REASONS.is_sorted_by_key(|(code, _)| *code));
        assert_eq!(&*reason_name(6), "no_privilege");
        assert_eq!(&*reason_name(200), "reason_200");
    }

    #[test]
    fn a_button_is_no_card_whatever_the_type_says() {
        let event = RawEvent {
            index: 1,
            kind: kind::DOOR,
            granted: true,
            door: 2,
            direction: 1,
            card: Untold::default(),
            at: Err(WireError::InvalidDate),
            reason: 20,
        };
        let told = event.told();
        assert_eq!((told.kind, told.out, told.at), (EventKind::Button, Some(false), None));
        assert_eq!(RawEvent { reason: 44, ..event }.told().kind, EventKind::Remote);
        assert_eq!(RawEvent { kind: kind::CARD, reason: 1, direction: 7, ..event }.told().out, None);
    }
}
