use gatehouse_core::{Decoded, Driver, Mono, PointIx, StepId, Value};
use gatehouse_drivers::osdp::{Key, Keys, OsdpPoint, OsdpReader, ReaderSettings, Secrets};

use super::*;

const KEY: [u8; 16] = [7; 16];
/// 26 bits of facility 12, number 3456.
const CARD: [u8; 4] = [0x06, 0x06, 0xC0, 0x00];
const POINTS: [OsdpPoint; 4] = [OsdpPoint::Card, OsdpPoint::Cards, OsdpPoint::Secure, OsdpPoint::Tamper];

fn driver(key: [u8; 16]) -> OsdpReader {
    let settings = ReaderSettings { address: 5, crc: true, mark: true, keyed: true };
    let keys = Keys { own: Some(Key::new(key)), ..Keys::default() };
    let groups = [(0..4).map(PointIx).collect()];
    OsdpReader::with_secrets(settings, POINTS.to_vec(), &groups, Secrets { keys, seed: [3; 16] })
}

/// Polls so often; the values of the last answer.
fn poll(driver: &mut OsdpReader, reader: &mut Reader, times: u32) -> Vec<Option<Value>> {
    let mut values = Vec::new();
    for turn in 0..times {
        let now = Mono::from_millis(u64::from(turn) * 100);
        let (mut request, mut readings) = (Vec::new(), Vec::new());
        driver.prepare(StepId(0), now);
        driver.encode(StepId(0), 0, &mut request);
        let Heard::Reply(reply) = reader.hear(&request) else { panic!("no answer to {request:02X?}") };
        assert_eq!(reader.hear(&request), Heard::Reply(reply.clone()), "asked again, it says the same");
        assert_eq!(driver.decode(StepId(0), 0, &reply, &mut readings), Decoded::Reply { bytes: reply.len() });
        driver.settled(StepId(0), now, true);
        values = readings.into_iter().map(|reading| reading.value.ok()).collect();
    }
    values
}

fn text(text: &str) -> Option<Value> {
    Some(Value::Text(text.into()))
}

#[test]
fn a_card_is_told_once_within_the_secure_channel() {
    let hand = Hand::default();
    let (mut driver, mut reader) = (driver(KEY), Reader::new(5, KEY, hand.clone()));
    let before = poll(&mut driver, &mut reader, 8);
    assert!(hand.was_secured() && before[2] == Some(Value::Bool(true)) && before[3] == Some(Value::Bool(false)));
    assert_eq!(before[0], text(""));
    hand.show(26, &CARD, 1_000);
    let after = poll(&mut driver, &mut reader, 1);
    assert_eq!((after[0].clone(), after[1].as_ref().map(Value::to_string)), (text("26:0181B00"), Some("1".to_owned())));
    let later = poll(&mut driver, &mut reader, 5);
    assert_eq!(later[1].as_ref().map(Value::to_string), Some("1".to_owned()));
    assert_eq!((hand.shown_by(999), hand.shown_by(1_000)), (0, 1));
}

#[test]
fn a_panel_with_another_key_gets_no_card() {
    let hand = Hand::default();
    let (mut driver, mut reader) = (driver([8; 16]), Reader::new(5, KEY, hand.clone()));
    hand.show(26, &CARD, 0);
    let values = poll(&mut driver, &mut reader, 12);
    assert_eq!((values[1].clone(), values[2].clone(), hand.was_secured()), (None, Some(Value::Bool(false)), false));
}

#[test]
fn what_is_another_reader_s_is_not_answered() {
    let (mut driver, mut reader) = (driver(KEY), Reader::new(6, KEY, Hand::default()));
    let mut request = Vec::new();
    driver.prepare(StepId(0), Mono(0));
    driver.encode(StepId(0), 0, &mut request);
    assert_eq!(reader.hear(&request), Heard::Anothers);
    assert_eq!(reader.hear(&request[..6]), Heard::Noise);
}
