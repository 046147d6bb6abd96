//! Readers, poll by poll.

use gatehouse_core::{Decimal, NoData, PointIx, Value};

use super::*;
use crate::access::wiegand::{Card, Format};
use crate::catalog::PointRef;
use crate::engine::keypad::{KeySource, Keypad};

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
    readers.handle_lost(Mono::from_millis(5_000), DEVICE);
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
    readers.readers[0].keypad =
        Some(Keypad::new(KeypadSpec { source: KeySource::FourBits, length: None, pause: Duration::from_secs(5) }));
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
        readers.readers[0].keypad =
            Some(Keypad::new(KeypadSpec { source: KeySource::FourBits, length: None, pause: Duration::from_secs(30) }));
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
