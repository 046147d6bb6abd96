//! Readers: from what a device shows of a card to somebody who presents it.
//!
//! A device shows its last card and, mostly, how many it has read. What it shows first, after a start of the box or a
//! gap in its readings, is a card that was presented before, at a time that nobody knows: it opens nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono, Name, PointReading, Value};

use super::keypad::{KeySource, Keypad, KeypadSpec, Pin};
use crate::access::Proof;
use crate::access::wiegand::{Bits, Card, Format};
use crate::catalog::PointRef;
use crate::words::{Direction, RequestId};

/// Longer without a look at a reader is a gap: whoever presented something in it has gone.
pub const READER_GAP: Duration = Duration::from_secs(10);

/// A reader or a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderSpec {
    /// Its permanent name.
    pub name: Name,
    /// The gate that it is for; `None`: a point of a patrol, which opens nothing.
    pub gate: Option<Name>,
    /// Which way one goes who presents something here.
    pub direction: Direction,
    /// Where its cards are read; `None`: what it reads comes through the API.
    pub card: Option<CardSource>,
    /// Its keypad, whose digits are codes and PINs; `None`: it has none, or its keys open nothing.
    pub keypad: Option<KeypadSpec>,
}

/// The points of one device that show cards. They are read together.
#[derive(Debug, Clone, PartialEq)]
pub struct CardSource {
    /// The card.
    pub card: CardPoint,
    /// How many cards were read; it changes with each. `None`: the card's point goes back to 0 between two cards.
    pub count: Option<PointRef>,
}

impl CardSource {
    /// The points that show who is at the reader, or which key was pressed.
    pub fn personal(&self) -> impl Iterator<Item = PointRef> {
        std::iter::once(self.card.at()).chain(self.card.facility())
    }
}

/// What the card's point holds.
#[derive(Debug, Clone, PartialEq)]
pub enum CardPoint {
    /// The bits as the reader sent them, the last one lowest, with their parities.
    Frame {
        /// The point.
        at: PointRef,
        /// How many bits.
        bits: u8,
        /// The format by name; `None`: whichever formats have that many bits.
        format: Option<String>,
    },
    /// The bits as text, their number first: `26:2F764DD`. Any number of bits may come.
    Text {
        /// The point.
        at: PointRef,
        /// The format by name; `None`: whichever formats have that many bits.
        format: Option<String>,
    },
    /// The card's number, and its facility code in a point of its own.
    Number {
        /// The point of the number.
        at: PointRef,
        /// The point of the facility code, where there is one.
        facility: Option<PointRef>,
        /// The format that makes bits of them.
        format: Format,
    },
}

impl CardPoint {
    fn at(&self) -> PointRef {
        match self {
            CardPoint::Frame { at, .. } | CardPoint::Text { at, .. } | CardPoint::Number { at, .. } => *at,
        }
    }

    fn facility(&self) -> Option<PointRef> {
        match self {
            CardPoint::Frame { .. } | CardPoint::Text { .. } => None,
            CardPoint::Number { facility, .. } => *facility,
        }
    }

    /// What was presented. Numbers that do not fit their format stay what they are: the access machine refuses them.
    fn proof(&self, shown: &Shown) -> Option<Proof> {
        match self {
            CardPoint::Frame { bits, format, .. } => {
                let bits = Bits::of_number(shown.card, (*bits).max(significant(shown.card))).ok()?;
                Some(Proof::Card { bits, format: format.clone() })
            }
            CardPoint::Text { format, .. } => {
                let bits = Bits::of_number(shown.card, shown.bits?).ok()?;
                Some(Proof::Card { bits, format: format.clone() })
            }
            CardPoint::Number { format, .. } => {
                let card = u64::try_from(shown.card).ok().zip(u32::try_from(shown.facility.unwrap_or(0)).ok());
                let card = card.map(|(number, facility)| Card { facility: shown.facility.and(Some(facility)), number });
                let bits = card.and_then(|card| format.encode(card).ok());
                let bits = bits.or_else(|| Bits::of_number(shown.card, significant(shown.card)).ok())?;
                Some(Proof::Card { bits, format: Some(format.name().to_owned()) })
            }
        }
    }
}

/// How many bits a number needs.
fn significant(number: u128) -> u8 {
    u8::try_from(128 - number.leading_zeros()).unwrap_or(128).max(1)
}

/// What a device showed at a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    card: u128,
    /// How many bits the card has, where its point tells it.
    bits: Option<u8>,
    facility: Option<u128>,
    count: Option<u128>,
}

/// What came at a reader.
enum Showing {
    Card(Proof),
    /// A key that came as a card of a few bits.
    Key(char),
}

impl Showing {
    fn card(self) -> Option<Proof> {
        match self {
            Showing::Card(card) => Some(card),
            Showing::Key(_) => None,
        }
    }
}

#[derive(Debug)]
struct Reader {
    spec: ReaderSpec,
    /// What its device showed last, and when; `None` after a start and after a gap.
    shown: Option<(Mono, Shown)>,
    keypad: Option<Keypad>,
}

/// Somebody presents something at a reader.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Presentation {
    pub(super) reader: Name,
    pub(super) gate: Option<Name>,
    pub(super) direction: Direction,
    pub(super) proof: Proof,
}

/// All readers of a site.
#[derive(Debug, Default)]
pub(super) struct Readers {
    readers: Vec<Reader>,
    by_device: BTreeMap<DeviceIx, Vec<usize>>,
    /// Cards that came and went between two polls: nobody knows whose they were.
    missed: u64,
    /// Requests whose verdicts are to come.
    open: BTreeSet<RequestId>,
    /// What was typed while a verdict was to come.
    released: VecDeque<Presentation>,
}

impl Readers {
    pub(super) fn new(specs: &[ReaderSpec]) -> Self {
        let mut by_device = BTreeMap::<DeviceIx, Vec<usize>>::new();
        for (ix, spec) in specs.iter().enumerate() {
            if let Some(source) = &spec.card {
                by_device.entry(source.card.at().device).or_default().push(ix);
            }
        }
        let readers = specs
            .iter()
            .map(|spec| Reader { spec: spec.clone(), shown: None, keypad: spec.keypad.clone().map(Keypad::new) })
            .collect();
        Readers { readers, by_device, missed: 0, open: BTreeSet::new(), released: VecDeque::new() }
    }

    /// Something that was read elsewhere, at a reader of that name; `None` when there is no such reader.
    pub(super) fn present(&self, reader: &str, proof: Proof) -> Option<Presentation> {
        let reader = self.readers.iter().find(|own| own.spec.name == *reader)?;
        Some(reader.presentation(proof))
    }

    /// A device was read: who presents something now.
    pub(super) fn handle_readings(
        &mut self,
        device: DeviceIx,
        at: Mono,
        readings: &[PointReading],
    ) -> Vec<Presentation> {
        let Some(own) = self.by_device.get(&device) else { return Vec::new() };
        let mut presented = Vec::new();
        for ix in own {
            let Some(reader) = self.readers.get_mut(*ix) else { continue };
            let (proofs, missed) = reader.handle_readings(at, readings);
            self.missed = self.missed.saturating_add(missed);
            presented.extend(proofs.into_iter().map(|proof| reader.presentation(proof)));
        }
        presented
    }

    /// A device is lost: what it shows when it comes back was presented before.
    pub(super) fn handle_lost(&mut self, device: DeviceIx) {
        for ix in self.by_device.get(&device).into_iter().flatten() {
            if let Some(reader) = self.readers.get_mut(*ix) {
                reader.shown = None;
                reader.keypad.iter_mut().for_each(Keypad::handle_lost);
            }
        }
    }

    /// A card that was shown at a reader is asked about: its verdict comes.
    pub(super) fn handle_asked(&mut self, reader: &str, request: RequestId) {
        self.open.insert(request);
        self.tell_pin(reader, Pin::Asked(request));
    }

    /// A card that was shown at a reader is that of an earlier request, which may be decided already: whether it was
    /// refused because it opens with its PIN only.
    pub(super) fn handle_repeated(&mut self, reader: &str, earlier: RequestId, wants_pin: bool) {
        let pin = match (self.open.contains(&earlier), wants_pin) {
            (true, _) => Pin::Asked(earlier),
            (false, true) => Pin::Wanted,
            (false, false) => Pin::Unwanted,
        };
        self.tell_pin(reader, pin);
    }

    fn tell_pin(&mut self, reader: &str, pin: Pin) {
        let own = self.readers.iter_mut().find(|own| own.spec.name == *reader);
        own.and_then(|own| own.keypad.as_mut()).into_iter().for_each(|keypad| keypad.handle_asked(pin));
    }

    /// A request is decided: whether its card opens with its PIN only.
    pub(super) fn handle_verdict(&mut self, at: Mono, request: RequestId, wants_pin: bool) {
        self.open.remove(&request);
        for own in &mut self.readers {
            let typed = own.keypad.as_mut().and_then(|keypad| keypad.handle_verdict(at, request, wants_pin));
            self.released.extend(typed.map(|proof| own.presentation(proof)));
        }
    }

    /// Takes the next that was typed while a verdict was to come.
    pub(super) fn poll_released(&mut self) -> Option<Presentation> {
        self.released.pop_front()
    }

    /// Cards that came and went between two polls.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }
}

impl Reader {
    fn presentation(&self, proof: Proof) -> Presentation {
        let ReaderSpec { name, gate, direction, .. } = &self.spec;
        Presentation { reader: name.clone(), gate: gate.clone(), direction: *direction, proof }
    }

    /// What is presented now: a card, or what was typed. And how many cards and keys came that nobody has read.
    fn handle_readings(&mut self, at: Mono, readings: &[PointReading]) -> (Vec<Proof>, u64) {
        let (shown, missed) = self.look(at, readings);
        let Some(keypad) = &mut self.keypad else {
            return (shown.and_then(Showing::card).into_iter().collect(), missed);
        };
        let (mut proofs, lost) = keypad.handle_readings(at, readings);
        match shown {
            Some(Showing::Card(card)) => {
                keypad.handle_card(at, &card);
                proofs.insert(0, card);
            }
            Some(Showing::Key(key)) => {
                if missed > 0 {
                    keypad.lose(at);
                }
                proofs.extend(keypad.press(at, key));
            }
            None if missed > 0 => keypad.lose(at),
            None => {}
        }
        (proofs, missed.saturating_add(lost))
    }

    /// A card or a key that was not there before, and how many were there in between.
    fn look(&mut self, at: Mono, readings: &[PointReading]) -> (Option<Showing>, u64) {
        let Some(source) = &self.spec.card else { return (None, 0) };
        let find = |at: PointRef| readings.iter().find(|reading| reading.point == at.point);
        // A sample of the device's other points says nothing of cards.
        if find(source.card.at()).is_none() {
            return (None, 0);
        }
        let number = |at: PointRef| find(at).and_then(|reading| whole(reading.value.as_ref().ok()?));
        let all = |at: Option<PointRef>| at.map_or(Some(None), |at| number(at).map(Some));
        let card = find(source.card.at()).and_then(|reading| match (&source.card, reading.value.as_ref().ok()?) {
            (CardPoint::Text { .. }, Value::Text(text)) => Some(counted_bits(text)),
            (CardPoint::Frame { .. } | CardPoint::Number { .. }, value) => whole(value).map(|card| (card, None)),
            (CardPoint::Text { .. }, _) => None,
        });
        let shown = card
            .zip(all(source.card.facility()))
            .zip(all(source.count))
            .map(|(((card, bits), facility), count)| Shown { card, bits, facility, count });
        let before = std::mem::replace(&mut self.shown, shown.map(|shown| (at, shown)));
        let recent = before.filter(|(seen, _)| at.since(*seen) <= READER_GAP);
        let is_behind = |(_, last): (Mono, Shown)| shown.is_some_and(|now| now.count < last.count);
        // Keys that come as cards may be lost where nobody looked, and where a device counts from the beginning again.
        if recent.is_none_or(is_behind) || shown.is_none() {
            let of_cards = self.keypad.as_mut().filter(|keypad| match keypad.source() {
                KeySource::FourBits | KeySource::EightBits => true,
                KeySource::Points { .. } => false,
            });
            of_cards.into_iter().for_each(|keypad| keypad.handle_gap(at));
        }
        let (Some((_, before)), Some(shown)) = (recent, shown) else { return (None, 0) };
        let more = match (before.count, shown.count) {
            // A device that counts from the beginning again was restarted.
            (Some(before), Some(now)) => now.saturating_sub(before),
            (None, None) => u128::from(shown.card != 0 && before != shown),
            (Some(_), None) | (None, Some(_)) => 0,
        };
        // A point of bits without their number has keys only where each is counted.
        let tells_keys =
            shown.bits.is_some() || matches!(source.card, CardPoint::Frame { .. }) && shown.count.is_some();
        let key = self.keypad.as_ref().filter(|_| more > 0 && tells_keys);
        if let Some(key) = key.and_then(|keypad| keypad.source().key(shown.card, shown.bits)) {
            return (Some(Showing::Key(key)), u64::try_from(more - 1).unwrap_or(u64::MAX));
        }
        if more == 0 || (shown.card == 0 && shown.bits.is_none()) {
            // What is no card of bits was there all the same, where it was counted.
            let unread = if before.count.is_some() && shown.card == 0 { more } else { 0 };
            return (None, u64::try_from(unread).unwrap_or(u64::MAX));
        }
        (source.card.proof(&shown).map(Showing::Card), u64::try_from(more - 1).unwrap_or(u64::MAX))
    }
}

/// The bits of `26:2F764DD` and how many they are; no bits where it is anything else, or has more than 128.
fn counted_bits(text: &str) -> (u128, Option<u8>) {
    let parts = text.split_once(':').and_then(|(count, digits)| {
        let count = count.parse::<u8>().ok().filter(|count| (1..=128).contains(count))?;
        let card = u128::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        Some((card, count))
    });
    parts.filter(|(card, count)| significant(*card) <= *count).map_or((0, None), |(card, count)| (card, Some(count)))
}

/// A whole number of 0 or more.
pub(super) fn whole(value: &Value) -> Option<u128> {
    match value {
        Value::Decimal(number) if number.exponent == 0 => u128::try_from(number.mantissa).ok(),
        Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_) | Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_core::{Decimal, NoData, PointIx};

    use super::*;

    const DEVICE: DeviceIx = DeviceIx(4);
    const CARD: PointRef = PointRef { device: DEVICE, point: PointIx(0) };
    const COUNT: PointRef = PointRef { device: DEVICE, point: PointIx(1) };
    const FACILITY: PointRef = PointRef { device: DEVICE, point: PointIx(2) };

    fn readers(card: CardPoint, count: Option<PointRef>) -> Readers {
        Readers::new(&[ReaderSpec {
            name: Name::new("entry").unwrap(),
            gate: Some(Name::new("garage").unwrap()),
            direction: Direction::In,
            card: Some(CardSource { card, count }),
            keypad: None,
        }])
    }

    fn frame(count: Option<PointRef>) -> Readers {
        readers(CardPoint::Frame { at: CARD, bits: 26, format: None }, count)
    }

    fn sample(readers: &mut Readers, values: &[Option<i128>]) -> Vec<String> {
        sample_at(readers, 5_000, values)
    }

    fn sample_at(readers: &mut Readers, at_ms: u64, values: &[Option<i128>]) -> Vec<String> {
        let reading = |(point, value): (u16, &Option<i128>)| {
            PointReading::new(
                PointIx(point),
                value.map(|number| Value::Decimal(Decimal::whole(number))).ok_or(NoData::Timeout),
            )
        };
        let readings: Vec<_> = (0..).zip(values).map(reading).collect();
        readers
            .handle_readings(DEVICE, Mono::from_millis(at_ms), &readings)
            .into_iter()
            .map(|presented| match presented.proof {
                Proof::Card { bits, .. } => format!("{}:{}", bits.count(), bits.value()),
                other => panic!("not a card: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_card_counts_when_the_counter_moves_and_also_when_it_is_the_same_card() {
        let mut readers = frame(Some(COUNT));
        assert_eq!(sample(&mut readers, &[Some(77), Some(9)]), [""; 0], "read before the box looked");
        assert_eq!(sample(&mut readers, &[Some(77), Some(9)]), [""; 0]);
        assert_eq!(sample(&mut readers, &[Some(77), Some(10)]), ["26:77"]);
        assert_eq!(sample(&mut readers, &[Some(78), Some(12)]), ["26:78"]);
        assert_eq!(readers.missed(), 1, "the one between was gone before it was read");
    }

    #[test]
    fn what_a_device_shows_after_a_gap_was_presented_before_it() {
        let mut readers = frame(Some(COUNT));
        sample(&mut readers, &[Some(1), Some(1)]);
        assert_eq!(sample(&mut readers, &[None, None]), [""; 0]);
        assert_eq!(sample(&mut readers, &[Some(2), Some(2)]), [""; 0]);
        assert_eq!(sample(&mut readers, &[Some(3), Some(3)]), ["26:3"]);
        readers.handle_lost(DEVICE);
        assert_eq!(sample(&mut readers, &[Some(4), Some(4)]), [""; 0]);
        assert_eq!(sample(&mut readers, &[Some(5), Some(0)]), [""; 0], "the device was restarted");
        assert_eq!(sample(&mut readers, &[Some(5), None]), [""; 0], "half a sample is none");
        assert_eq!(sample(&mut readers, &[Some(6), Some(2)]), [""; 0]);
    }

    #[test]
    fn a_card_that_was_shown_while_nobody_looked_for_long_opens_nothing() {
        let mut readers = frame(Some(COUNT));
        sample_at(&mut readers, 1_000, &[Some(1), Some(1)]);
        assert_eq!(sample_at(&mut readers, 11_000, &[Some(2), Some(2)]), ["26:2"]);
        assert_eq!(sample_at(&mut readers, 21_001, &[Some(3), Some(3)]), [""; 0]);
        assert_eq!(sample_at(&mut readers, 22_000, &[Some(4), Some(4)]), ["26:4"]);
    }

    #[test]
    fn without_a_counter_a_card_counts_when_it_appears() {
        let mut readers = frame(None);
        assert_eq!(sample(&mut readers, &[Some(5)]), [""; 0]);
        assert_eq!(sample(&mut readers, &[Some(0)]), [""; 0]);
        assert_eq!(sample(&mut readers, &[Some(5)]), ["26:5"]);
        assert_eq!(sample(&mut readers, &[Some(5)]), [""; 0]);
        assert_eq!(sample(&mut readers, &[Some(6)]), ["26:6"]);
    }

    #[test]
    fn a_card_as_text_has_the_bits_that_it_says() {
        let mut readers = readers(CardPoint::Text { at: CARD, format: None }, Some(COUNT));
        let mut show = |text: &str, count: i128| {
            let readings = [
                PointReading::new(PointIx(0), Ok(Value::Text(text.into()))),
                PointReading::new(PointIx(1), Ok(Value::Decimal(Decimal::whole(count)))),
            ];
            let presented = readers.handle_readings(DEVICE, Mono::from_millis(5_000), &readings);
            presented
                .into_iter()
                .map(|presented| match presented.proof {
                    Proof::Card { bits, .. } => format!("{}:{:X}", bits.count(), bits.value()),
                    other => panic!("not a card: {other:?}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(show("", 0), [""; 0]);
        assert_eq!(show("26:2F764DD", 1), ["26:2F764DD"]);
        assert_eq!(show("26:2F764DD", 1), [""; 0]);
        assert_eq!(show("34:0", 2), ["34:0"]);
        assert_eq!(show("200:FF", 3), [""; 0], "more bits than any format has");
        assert_eq!(show("4:FF", 4), [""; 0], "more bits than it says");
        assert_eq!(show("26:1", 5), ["26:1"]);
    }

    #[test]
    fn keys_that_come_as_frames_of_a_few_bits_are_typed_and_do_not_count_as_cards() {
        let mut readers = frame(Some(COUNT));
        readers.readers[0].keypad = Some(Keypad::new(KeypadSpec {
            source: super::super::keypad::KeySource::FourBits,
            length: None,
            pause: Duration::from_secs(5),
        }));
        let mut count = 0;
        let mut frames = |frames: &[i128]| {
            let presented = frames.iter().flat_map(|value| {
                count += 1;
                let readings = [(0, *value), (1, count)]
                    .map(|(point, value)| PointReading::new(PointIx(point), Ok(Value::Decimal(Decimal::whole(value)))));
                readers.handle_readings(DEVICE, Mono::from_millis(5_000), &readings)
            });
            let told = presented.map(|presented| match presented.proof {
                Proof::Card { bits, .. } => format!("card {}", bits.value()),
                Proof::Code(code) => code,
                other => panic!("{other:?}"),
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(frames(&[1, 4, 0, 0, 7, 11]), ["4007"], "the first was there before the box looked");
        assert_eq!(frames(&[4, 10, 9, 12_345_678, 8, 11]), ["card 12345678", "8"]);
        assert_eq!(readers.missed(), 0);
    }

    #[test]
    fn keys_that_come_as_frames_are_no_entry_where_some_came_while_nobody_looked() {
        let entered = |gap_at_ms: u64, count: i128| {
            let mut readers = frame(Some(COUNT));
            readers.readers[0].keypad = Some(Keypad::new(KeypadSpec {
                source: KeySource::FourBits,
                length: None,
                pause: Duration::from_secs(30),
            }));
            let frames = [(1_000, 0, 0), (1_200, 4, 1), (gap_at_ms, 7, count), (gap_at_ms + 200, 11, count + 1)];
            let shown = frames.map(|(at_ms, key, count)| {
                let readings = [(0, key), (1, count)]
                    .map(|(point, value)| PointReading::new(PointIx(point), Ok(Value::Decimal(Decimal::whole(value)))));
                readers.handle_readings(DEVICE, Mono::from_millis(at_ms), &readings).len()
            });
            shown.iter().sum::<usize>()
        };
        assert_eq!(entered(1_400, 2), 1, "47");
        assert_eq!(entered(12_000, 2), 0, "7 was pressed in a gap");
        assert_eq!(entered(1_400, 0), 0, "the reader was restarted");
    }

    #[test]
    fn numbers_become_the_bits_of_their_format_or_bits_that_no_format_has() {
        let format = Format::built_in().into_iter().find(|format| format.name() == "H10301-26").unwrap();
        let mut readers =
            readers(CardPoint::Number { at: CARD, facility: Some(FACILITY), format: format.clone() }, Some(COUNT));
        sample(&mut readers, &[Some(0), Some(0), Some(0)]);
        let bits = format.encode(Card { facility: Some(12), number: 3456 }).unwrap();
        assert_eq!(sample(&mut readers, &[Some(3456), Some(1), Some(12)]), [format!("26:{}", bits.value())]);
        assert_eq!(sample(&mut readers, &[Some(70_000), Some(2), Some(12)]), ["17:70000"], "too large for 16 bits");
        assert_eq!(sample(&mut readers, &[Some(1), Some(3), Some(300)]), ["1:1"], "no facility code of 8 bits");
    }
}
