//! Controllers that decide at a door by a list of their own: what the box asks of them beside its polls, and what they
//! answer.
//!
//! All of it may be asked twice without harm: a card that is listed already is listed as before, a card that is gone
//! stays gone. Answers travel as readings, their fields numbered in place of points.

use std::fmt;
use std::num::NonZeroU32;

use zeroize::Zeroize;

use crate::ids::PointIx;
use crate::reading::PointReading;
use crate::time::LocalTime;
use crate::value::{Decimal, Value};

/// Doors of one controller.
pub const DOORS: usize = 4;

/// The number of a card as a controller reads it, 1 to 4294967294. Whoever knows it can make such a card, and so it does
/// not print.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardNumber(NonZeroU32);

impl CardNumber {
    /// A number; `None` for 0 and 4294967295, by which controllers say that there is no card.
    pub const fn new(number: u32) -> Option<CardNumber> {
        match NonZeroU32::new(number) {
            None | Some(NonZeroU32::MAX) => None,
            Some(number) => Some(CardNumber(number)),
        }
    }

    /// The number itself, for the wire and the hash alone.
    pub const fn reveal(self) -> u32 {
        self.0.get()
    }
}

impl Zeroize for CardNumber {
    /// Makes it the number 1.
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for CardNumber {
    /// Writes that there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardNumber(_)")
    }
}

/// What a controller is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControllerAsk {
    /// The recorded event of this index.
    Event(u32),
    /// How many cards it lists.
    CardCount,
    /// The card at this place of its list, counted from 1.
    CardAt(u32),
    /// The entry of this card.
    Card(CardNumber),
    /// Lists a card, or changes its entry.
    PutCard(ListedCard),
    /// Takes a card off the list.
    DropCard(CardNumber),
    /// Sends its events to where the box listens for them.
    Listen,
}

/// A card on a controller's list. Neither its number nor its PIN prints.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedCard {
    /// Its number.
    pub number: CardNumber,
    /// The first day on which it opens, at midnight; `None`: the controller holds no date that the calendar has.
    pub from: Option<LocalTime>,
    /// The last day on which it opens, at midnight.
    pub until: Option<LocalTime>,
    /// For each door 0 (closed to it), 1 (open to it) or the number of a time profile, 2 to 254.
    pub doors: [u8; DOORS],
    /// The PIN that goes with it, 0 for none.
    pub pin: u32,
    /// Doors that it unlocks for the day as its first card, door 1 in the lowest bit.
    pub first_card: u8,
}

impl fmt::Debug for ListedCard {
    /// Writes its rights, and whether it has a PIN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedCard { number, from, until, doors, pin, first_card } = self;
        let mut card = f.debug_struct("ListedCard");
        card.field("number", number).field("from", from).field("until", until).field("doors", doors);
        card.field("has_pin", &(*pin > 0)).field("first_card", first_card).finish()
    }
}

/// What a recorded event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Somebody presented a card.
    Card,
    /// Somebody pressed the button that lets out.
    Button,
    /// Somebody opened over the network.
    Remote,
    /// The door itself: opened, closed.
    Door,
    /// Something that worries the controller.
    Alarm,
    /// Anything else.
    Other,
}

impl EventKind {
    const ALL: [EventKind; 6] =
        [EventKind::Card, EventKind::Button, EventKind::Remote, EventKind::Door, EventKind::Alarm, EventKind::Other];

    /// The name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Card => "card",
            EventKind::Button => "button",
            EventKind::Remote => "remote",
            EventKind::Door => "door",
            EventKind::Alarm => "alarm",
            EventKind::Other => "other",
        }
    }
}

/// An event that a controller has recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerEvent {
    /// Its number, from 1 on in the order of recording.
    pub index: u32,
    /// What it is about.
    pub kind: EventKind,
    /// Whether the controller opened.
    pub granted: bool,
    /// The door, 1 to 4; others as the controller says.
    pub door: u8,
    /// Whether it was on the way out; `None` where the controller does not say.
    pub out: Option<bool>,
    /// The card, where there was one.
    pub card: Option<CardNumber>,
    /// When, by the controller's own clock; `None` where that is no time that the calendar has.
    pub at: Option<LocalTime>,
    /// Why: a stable name.
    pub reason: Box<str>,
}

/// What a controller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControllerAnswer {
    /// The event that was asked for.
    Event(ControllerEvent),
    /// It has recorded no event of that index.
    NoEvent,
    /// It had one, and has put newer ones in its place.
    Overwritten,
    /// So many cards are on its list.
    Count(u32),
    /// The card that was asked for.
    Card(ListedCard),
    /// No card is there.
    NoCard,
    /// A card was there, and was taken off.
    Deleted,
    /// It has done it.
    Done,
}

/// Writes fields one after the other.
struct Fields<'a>(&'a mut Vec<PointReading>);

impl Fields<'_> {
    fn put(&mut self, value: Value) {
        let point = PointIx(u16::try_from(self.0.len()).unwrap_or(u16::MAX));
        self.0.push(PointReading::new(point, Ok(value)));
    }

    fn word(&mut self, word: &str) {
        self.put(Value::Text(word.into()));
    }

    fn number(&mut self, number: u32) {
        self.put(Value::Decimal(Decimal::whole(number.into())));
    }

    fn time(&mut self, time: Option<LocalTime>) {
        let parts = time.map_or([0; 6], |t| {
            [t.year.into(), t.month.into(), t.day.into(), t.hour.into(), t.minute.into(), t.second.into()]
        });
        for part in parts {
            self.number(part);
        }
    }
}

/// Reads fields one after the other.
struct Rest<'a>(std::slice::Iter<'a, PointReading>);

impl Rest<'_> {
    fn value(&mut self) -> Option<&Value> {
        self.0.next()?.value.as_ref().ok()
    }

    fn word(&mut self) -> Option<&str> {
        match self.value()? {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_) => None,
        }
    }

    fn number(&mut self) -> Option<u32> {
        match self.value()? {
            Value::Decimal(number) => u32::try_from(number.mantissa).ok(),
            Value::Bool(_) | Value::F32(_) | Value::F64(_) | Value::Text(_) => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        u8::try_from(self.number()?).ok()
    }

    fn time(&mut self) -> Option<Option<LocalTime>> {
        let year = u16::try_from(self.number()?).ok()?;
        let [month, day, hour, minute, second] = [self.byte()?, self.byte()?, self.byte()?, self.byte()?, self.byte()?];
        Some(LocalTime::new(year, month, day, hour, minute, second))
    }
}

impl ControllerAnswer {
    /// Appends the answer as readings to an empty list.
    pub fn to_readings(&self, readings: &mut Vec<PointReading>) {
        let mut fields = Fields(readings);
        match self {
            ControllerAnswer::Event(event) => {
                fields.word("event");
                fields.number(event.index);
                fields.word(event.kind.as_str());
                fields.number(event.granted.into());
                fields.number(event.door.into());
                fields.number(event.out.map_or(0, |out| 1 + u32::from(out)));
                fields.number(event.card.map_or(0, CardNumber::reveal));
                fields.time(event.at);
                fields.word(&event.reason);
            }
            ControllerAnswer::NoEvent => fields.word("no_event"),
            ControllerAnswer::Overwritten => fields.word("overwritten"),
            ControllerAnswer::Count(count) => {
                fields.word("count");
                fields.number(*count);
            }
            ControllerAnswer::Card(card) => {
                fields.word("card");
                fields.number(card.number.reveal());
                fields.time(card.from);
                fields.time(card.until);
                for door in card.doors {
                    fields.number(door.into());
                }
                fields.number(card.pin);
                fields.number(card.first_card.into());
            }
            ControllerAnswer::NoCard => fields.word("no_card"),
            ControllerAnswer::Deleted => fields.word("deleted"),
            ControllerAnswer::Done => fields.word("done"),
        }
    }

    /// The answer in readings; `None` where there is none.
    pub fn from_readings(readings: &[PointReading]) -> Option<ControllerAnswer> {
        let mut rest = Rest(readings.iter());
        let answer = match rest.word()? {
            "event" => ControllerAnswer::Event(ControllerEvent {
                index: rest.number()?,
                kind: {
                    let kind = rest.word()?;
                    EventKind::ALL.into_iter().find(|known| known.as_str() == kind)?
                },
                granted: rest.number()? != 0,
                door: rest.byte()?,
                out: match rest.number()? {
                    1 => Some(false),
                    2 => Some(true),
                    _ => None,
                },
                card: CardNumber::new(rest.number()?),
                at: rest.time()?,
                reason: rest.word()?.into(),
            }),
            "no_event" => ControllerAnswer::NoEvent,
            "overwritten" => ControllerAnswer::Overwritten,
            "count" => ControllerAnswer::Count(rest.number()?),
            "card" => ControllerAnswer::Card(ListedCard {
                number: CardNumber::new(rest.number()?)?,
                from: rest.time()?,
                until: rest.time()?,
                doors: [rest.byte()?, rest.byte()?, rest.byte()?, rest.byte()?],
                pin: rest.number()?,
                first_card: rest.byte()?,
            }),
            "no_card" => ControllerAnswer::NoCard,
            "deleted" => ControllerAnswer::Deleted,
            "done" => ControllerAnswer::Done,
            _ => return None,
        };
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_out_of_readings_as_they_went_in() {
        let day = LocalTime::new(2026, 11, 26, 0, 0, 0);
        let event = ControllerEvent {
            index: u32::MAX,
            kind: EventKind::Card,
            granted: true,
            door: 3,
            out: Some(true),
            card: CardNumber::new(6_154_413),
            at: LocalTime::new(2019, 2, 10, 7, 12, 1),
            reason: "swipe".into(),
        };
        let number = CardNumber::new(6_154_412).unwrap();
        let card = ListedCard { number, from: day, until: None, doors: [1, 0, 29, 1], pin: 7531, first_card: 5 };
        let all = [
            ControllerAnswer::Event(event.clone()),
            ControllerAnswer::Event(ControllerEvent { at: None, out: None, kind: EventKind::Other, ..event }),
            ControllerAnswer::NoEvent,
            ControllerAnswer::Overwritten,
            ControllerAnswer::Count(7),
            ControllerAnswer::Card(card),
            ControllerAnswer::NoCard,
            ControllerAnswer::Deleted,
            ControllerAnswer::Done,
        ];
        for answer in all {
            let mut readings = Vec::new();
            answer.to_readings(&mut readings);
            assert!(readings.is_sorted_by_key(|reading| reading.point));
            assert_eq!(ControllerAnswer::from_readings(&readings), Some(answer));
        }
        assert_eq!(ControllerAnswer::from_readings(&[]), None);
    }

    #[test]
    fn neither_the_number_of_a_card_nor_its_pin_prints_and_a_number_says_never_that_there_is_none() {
        let number = CardNumber::new(6_154_412).unwrap();
        let card = ListedCard { number, from: None, until: None, doors: [1; 4], pin: 7531, first_card: 0 };
        let printed = format!("{:?} {:?}", ControllerAsk::PutCard(card), ControllerAsk::DropCard(number));
        assert!(!printed.contains("6154412") && !printed.contains("7531"), "{printed}");
        assert_eq!((CardNumber::new(0), CardNumber::new(u32::MAX)), (None, None));
    }
}
