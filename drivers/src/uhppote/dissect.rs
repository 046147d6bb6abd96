//! Datagrams taken apart for people.

use super::datagram::{Datagram, LENGTH, START_OF_OLD_EVENTS, function};
use super::date::{Date, time_text};
use super::event::{RawEvent, reason_name};
use super::reply::{Reply, Status};
use super::request::{Card, Request};
use super::untold::Untold;
use crate::dissect::{Field, hex};

/// The fields of a datagram. Where it is none, the last one says so. No PIN is told.
pub(crate) fn fields(is_request: bool, bytes: &[u8]) -> Vec<Field> {
    let datagram = match Datagram::read_event(bytes) {
        Ok(datagram) => datagram,
        Err(why) => return vec![Field::new(0..bytes.len(), "no datagram", why.to_string())],
    };
    let mut fields = Vec::new();
    if bytes.first() == Some(&START_OF_OLD_EVENTS) {
        fields.push(Field::new(0..1, "start", "19, an event of old firmware"));
    }
    let number = datagram.function();
    fields.push(Field::new(1..2, "function", format!("{number:02X} {}", name(number))));
    fields.push(Field::new(
        4..8,
        "controller",
        match datagram.serial() {
            0 => "all of them".to_owned(),
            serial => serial.to_string(),
        },
    ));
    let told = if is_request { of_request(&datagram) } else { of_reply(&datagram) };
    match told {
        Ok(told) => fields.extend(told),
        Err(why) => {
            fields.push(Field::new(8..LENGTH, "body", format!("{why}: {}", hex(bytes.get(8..).unwrap_or_default()))));
        }
    }
    fields
}

fn name(number: u8) -> &'static str {
    match number {
        function::STATUS => "status",
        function::SET_TIME => "set the clock",
        function::TIME => "read the clock",
        function::OPEN_DOOR => "open a door",
        function::PUT_CARD => "list a card",
        function::DELETE_CARD => "take a card off the list",
        function::DELETE_CARDS => "take all cards off the list",
        function::CARD_COUNT => "count the cards",
        function::CARD => "look for a card",
        function::CARD_AT => "read a place of the list",
        function::SET_DOOR => "set a door",
        function::DOOR => "read a door",
        function::SET_LISTENER => "set the listener",
        function::LISTENER => "read the listener",
        function::DISCOVER => "who is there",
        function::EVENT => "read an event",
        function::SET_EVENT_INDEX => "set the last event that was fetched",
        function::EVENT_INDEX => "read the last event that was fetched",
        _ => "not known here",
    }
}

fn of_request(datagram: &Datagram) -> Result<Vec<Field>, super::WireError> {
    Ok(match Request::read(datagram)? {
        Request::Discover
        | Request::Status
        | Request::CardCount
        | Request::DeleteCards
        | Request::Time
        | Request::EventIndex
        | Request::Listener => Vec::new(),
        Request::OpenDoor { door } | Request::Door { door } => vec![Field::new(8..9, "door", door.to_string())],
        Request::SetDoor { door, mode, delay_s } => of_door(door, mode, delay_s),
        Request::CardAt(place) => vec![Field::new(8..12, "place", place.to_string())],
        Request::Card(card) | Request::DeleteCard(card) => vec![Field::new(8..12, "card", number(card))],
        Request::PutCard(card) => of_card(&card),
        Request::SetTime(at) => vec![Field::new(8..15, "time", time_text(at))],
        Request::Event(index) | Request::SetEventIndex(index) => {
            vec![Field::new(8..12, "event", index.to_string())]
        }
        Request::SetListener { address, port, interval_s } => of_listener(address, port, interval_s),
    })
}

fn of_reply(datagram: &Datagram) -> Result<Vec<Field>, super::WireError> {
    Ok(match Reply::read(datagram)? {
        Reply::Device(device) => vec![
            Field::new(8..12, "address", device.address.map(|part| part.to_string()).join(".")),
            Field::new(12..16, "mask", device.mask.map(|part| part.to_string()).join(".")),
            Field::new(16..20, "router", device.gateway.map(|part| part.to_string()).join(".")),
            Field::new(20..26, "MAC", device.mac.map(|part| format!("{part:02x}")).join(":")),
            Field::new(26..28, "firmware", device.version.map(|part| format!("{part:02x}")).join(".")),
            Field::new(28..32, "date", device.date.to_string()),
        ],
        Reply::Status(status) => of_status(&status),
        Reply::Done(done) => vec![Field::new(8..9, "done", if done { "yes" } else { "no" })],
        Reply::Door { door, mode, delay_s } => of_door(door, mode, delay_s),
        Reply::CardCount(count) => vec![Field::new(8..12, "cards", count.to_string())],
        Reply::Card(card) => of_card(&card),
        // An entry whose number was blotted out has its days and doors all the same.
        Reply::NoCard if datagram.part::<{ LENGTH - 12 }>(12).iter().any(|byte| *byte != 0) => {
            of_card(&Card::read(datagram))
        }
        Reply::NoCard => vec![Field::new(8..12, "card", "none")],
        Reply::DeletedCard => vec![Field::new(8..12, "card", "taken off the list")],
        Reply::Time(at) => vec![Field::new(8..15, "time", time_text(at))],
        Reply::Event(event) => of_event(&event),
        Reply::NoEvent { index } => vec![Field::new(8..12, "event", format!("{index}, which is not there"))],
        Reply::Overwritten { index } => {
            vec![Field::new(8..12, "event", format!("{index}, which a newer one replaced"))]
        }
        Reply::EventIndex(index) => vec![Field::new(8..12, "event", index.to_string())],
        Reply::Listener { address, port, interval_s } => of_listener(address, port, interval_s),
    })
}

fn of_door(door: u8, mode: u8, delay_s: u8) -> Vec<Field> {
    let mode = match mode {
        1 => "always open",
        2 => "always closed",
        3 => "controlled",
        _ => "not known here",
    };
    vec![
        Field::new(8..9, "door", door.to_string()),
        Field::new(9..10, "mode", mode),
        Field::new(10..11, "delay", format!("{delay_s} s")),
    ]
}

/// A card's number. The line blots those out of its trace.
fn number(card: Untold) -> String {
    if card.is_none() { "none, or not told".to_owned() } else { card.reveal().to_string() }
}

fn of_card(card: &Card) -> Vec<Field> {
    let day = |day: Option<Date>| day.map_or_else(|| "none".to_owned(), |day| day.to_string());
    vec![
        Field::new(8..12, "card", number(card.number)),
        Field::new(12..16, "from", day(card.from)),
        Field::new(16..20, "until", day(card.until)),
        Field::new(20..24, "doors", hex(&card.doors)),
        Field::new(24..27, "PIN", if card.pin.is_none() { "none" } else { "one, which is not told" }),
    ]
}

fn of_listener(address: [u8; 4], port: u16, interval_s: u8) -> Vec<Field> {
    let address = address.map(|part| part.to_string()).join(".");
    vec![
        Field::new(8..14, "listener", format!("{address}:{port}")),
        Field::new(14..15, "interval", format!("{interval_s} s")),
    ]
}

fn of_event(event: &RawEvent) -> Vec<Field> {
    let way = match event.direction {
        1 => ", in",
        2 => ", out",
        _ => "",
    };
    let granted = if event.granted { "granted" } else { "refused" };
    vec![
        Field::new(8..12, "event", event.index.to_string()),
        Field::new(12..13, "kind", event.kind.to_string()),
        Field::new(13..16, "door", format!("{}{way}, {granted}", event.door)),
        Field::new(16..20, "card", number(event.card)),
        Field::new(20..27, "time", event.at.map_or_else(|why| why.to_string(), time_text)),
        Field::new(27..28, "reason", &*reason_name(event.reason)),
    ]
}

fn of_status(status: &Status) -> Vec<Field> {
    let row = |flags: &[bool; 4]| {
        let set: Vec<String> =
            (1..).zip(flags).filter(|(_, flag)| **flag).map(|(door, _): (u8, _)| door.to_string()).collect();
        if set.is_empty() { "none".to_owned() } else { set.join(", ") }
    };
    let relays = [0, 1, 2, 3].map(|door| status.relays >> door & 1 == 1);
    let mut fields = match &status.event {
        Some(event) => of_event(event),
        None => vec![Field::new(8..12, "event", "none")],
    };
    fields.extend([
        Field::new(28..32, "doors open", row(&status.doors)),
        Field::new(32..36, "buttons pressed", row(&status.buttons)),
        Field::new(36..37, "error", status.system_error.to_string()),
        Field::new(37..40, "clock", status.clock.map_or_else(|why| why.to_string(), time_text)),
        Field::new(40..44, "sequence", status.sequence.to_string()),
        Field::new(49..50, "relays", row(&relays)),
        Field::new(
            50..51,
            "inputs",
            match status.inputs & 3 {
                0 => "none",
                1 => "forced lock",
                2 => "fire",
                _ => "forced lock, fire",
            },
        ),
    ]);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::told_in_order;
    use crate::uhppote::Date;

    const SERIAL: u32 = 423_187_757;

    fn told(is_request: bool, bytes: &[u8]) -> String {
        told_in_order(&fields(is_request, bytes), bytes)
    }

    #[test]
    fn a_door_is_opened_and_the_answer_is_told() {
        let request = Request::OpenDoor { door: 3 }.encode(SERIAL);
        assert_eq!(told(true, request.bytes()), "function 40 open a door; controller 423187757; door 3");
        let done = Datagram::new(function::OPEN_DOOR, SERIAL).put(8, &[1]);
        assert_eq!(told(false, done.bytes()), "function 40 open a door; controller 423187757; done yes");
        assert_eq!(told(false, &[0x17; 9]), "no datagram 9 bytes where 64 are right");
    }

    // The status of uhppoted/uhppote-core's own test.
    #[test]
    fn a_status_is_told_with_its_last_event() {
        let whole = "172000002D5539193900000001000301AAE85D00201904191700090601000101000001010914370211000000210000002B040119042000009326048808920000";
        let bytes: Vec<u8> = (0..64).map(|at| u8::from_str_radix(&whole[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert_eq!(
            told(false, &bytes),
            "function 20 status; controller 423187757; event 57; kind 1; door 3, in, refused; card 6154410; \
             time 2019-04-19T17:00:09; reason no_privilege; doors open 1, 3, 4; buttons pressed 3, 4; error 9; \
             clock 2019-04-20T14:37:02; sequence 17; relays 3; inputs forced lock"
        );
    }

    #[test]
    fn a_pin_is_not_told() {
        let day = Date::read([0x20, 0x26, 0x11, 0x26]).unwrap();
        let card = Card {
            number: Untold::new(6_154_412),
            from: Some(day),
            until: Some(day),
            doors: [1, 0, 0, 1],
            pin: Untold::new(123_456),
            first_card: 0,
        };
        let text = told(true, Request::PutCard(card).encode(SERIAL).bytes());
        assert!(text.ends_with(
            "card 6154412; from 2026-11-26; until 2026-11-26; doors 01 00 00 01; PIN one, which is not told"
        ));
    }

    #[test]
    fn a_trace_without_numbers_tells_all_the_rest() {
        let seen = |is_request: bool, datagram: Datagram| {
            let mut bytes = *datagram.bytes();
            super::super::datagram::conceal(is_request, &mut bytes);
            let text = told(is_request, &bytes);
            text.split_once("423187757; ").unwrap().1.to_owned()
        };
        let number = 6_154_412_u32.to_le_bytes();
        let answer = |function, body: &[u8]| seen(false, Datagram::new(function, SERIAL).put(8, body));
        for function in [function::PUT_CARD, function::DELETE_CARD] {
            assert_eq!(answer(function, &[1]), "done yes");
            assert_eq!(answer(function, &[0]), "done no");
            assert_eq!(answer(function, &number), "done no", "an echo of the request");
        }
        for function in [function::CARD, function::CARD_AT] {
            assert_eq!(answer(function, &[0; 4]), "card none");
            assert_eq!(answer(function, &[0xFF; 4]), "card taken off the list");
            let mut card = [0; 20];
            card[..4].copy_from_slice(&number);
            card[4..16].copy_from_slice(&[0x20, 0x26, 0x11, 0x26, 0x20, 0x27, 0x11, 0x26, 1, 0, 0, 1]);
            let rights = "card none, or not told; from 2026-11-26; until 2027-11-26; doors 01 00 00 01; PIN ";
            assert_eq!(answer(function, &card), format!("{rights}none"));
            card[16..19].copy_from_slice(&[0x40, 0xE2, 0x01]);
            assert_eq!(answer(function, &card), format!("{rights}one, which is not told"));
        }
        assert_eq!(seen(true, Request::CardAt(7).encode(SERIAL)), "place 7");
        let card = Request::DeleteCard(Untold::new(6_154_412)).encode(SERIAL);
        assert_eq!(seen(true, card), "card none, or not told");
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics_and_fields_are_in_order() {
        let mut rng = fastrand::Rng::with_seed(8);
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = (0..LENGTH).map(|_| rng.u8(..)).collect();
            bytes[0] = 0x17;
            bytes[1] = *rng.choice(&[0x20, 0x40, 0x50, 0x5A, 0x80, 0x90, 0x94, 0xB0, 0x30]).unwrap();
            told(round % 2 == 0, &bytes);
        }
    }
}
