//! The keypad of a reader, key by key.

use gatehouse_core::{Decimal, DeviceIx, NoData, PointIx};

use super::*;

const KEYS: PointRef = PointRef { device: DeviceIx(4), point: PointIx(3) };
const COUNT: PointRef = PointRef { device: DeviceIx(4), point: PointIx(4) };

fn pad(length: Option<u8>) -> Keypad {
    let source = KeySource::Points { keys: KEYS, count: COUNT };
    Keypad::new(KeypadSpec { source, length, pause: Duration::from_secs(5) })
}

fn told(proof: Proof) -> String {
    match proof {
        Proof::Code(code) => code,
        Proof::CardAndPin { bits, pin, .. } => format!("{}+{pin}", bits.value()),
        Proof::Card { .. } | Proof::Plate { .. } => panic!("nobody types that"),
    }
}

/// Presses keys one second apart, a `.` being a second without one.
fn typed(pad: &mut Keypad, begin_s: u64, keys: &str) -> Vec<String> {
    let seconds = (begin_s..).map(|second| Mono::from_millis(second * 1000));
    let pressed = seconds.zip(keys.chars()).filter(|(_, key)| *key != '.');
    pressed.filter_map(|(at, key)| pad.press(at, key)).map(told).collect()
}

const ASKED: RequestId = RequestId(7);

/// The card at hand is refused for want of its PIN.
fn want(pad: &mut Keypad) {
    pad.handle_asked(Pin::Wanted);
}

fn card() -> Proof {
    Proof::Card { bits: Bits::of_number(77, 26).unwrap(), format: None }
}

#[test]
fn digits_are_entered_by_the_hash_cleared_by_the_star_and_by_a_pause() {
    let mut pad = pad(None);
    assert_eq!(typed(&mut pad, 100, "4711#"), ["4711"]);
    assert_eq!(typed(&mut pad, 200, "99*4711##"), ["4711"]);
    assert_eq!(typed(&mut pad, 300, "99.....4711#"), ["4711"], "six seconds are a pause of more than five");
    assert_eq!(typed(&mut pad, 400, "99....11#"), ["9911"]);
    assert_eq!(typed(&mut pad, 500, "4711......#"), [""; 0], "nobody finishes what another began");
    assert_eq!(typed(&mut pad, 600, &format!("{}#12#", "1".repeat(17))), ["12"], "too long to be a code");
    assert_eq!(typed(&mut pad, 700, "12A34#56#"), ["56"], "a key that is no digit makes it void");
}

#[test]
fn a_known_length_ends_an_entry_by_itself_and_the_hash_after_it_does_nothing() {
    let mut pad = pad(Some(4));
    assert_eq!(typed(&mut pad, 100, "47114711#"), ["4711", "4711"]);
    assert_eq!(typed(&mut pad, 200, "123#"), ["123"], "the hash ends it as well");
}

#[test]
fn a_card_that_wants_its_pin_gets_the_next_entry_and_no_other_card_does() {
    let mut pad = pad(None);
    let show = |pad: &mut Keypad, second: u64| pad.handle_card(Mono::from_millis(second * 1000), &card());
    show(&mut pad, 100);
    want(&mut pad);
    assert_eq!(typed(&mut pad, 103, "4711#0815#"), ["77+4711", "0815"]);
    show(&mut pad, 200);
    assert_eq!(typed(&mut pad, 201, "4711#"), ["4711"], "it opened without");
    show(&mut pad, 300);
    want(&mut pad);
    assert_eq!(typed(&mut pad, 306, "4711#"), ["4711"], "its holder has gone");
    typed(&mut pad, 400, "47");
    show(&mut pad, 402);
    want(&mut pad);
    assert_eq!(typed(&mut pad, 403, "11#"), ["77+11"], "what stood there before the card is not its PIN");
    show(&mut pad, 500);
    want(&mut pad);
    assert_eq!(typed(&mut pad, 504, "4..7..1..1#"), ["77+4711"], "a slow hand keeps its card");
    pad.handle_lost(Mono::from_millis(515_000));
    want(&mut pad);
    assert_eq!(typed(&mut pad, 516, "4711#"), ["4711"]);
}

fn sample(pad: &mut Keypad, at_ms: u64, keys: Result<&str, NoData>, count: i128) -> (Vec<String>, u64) {
    let readings = [
        PointReading::new(KEYS.point, keys.map(|keys| Value::Text(keys.into()))),
        PointReading::new(COUNT.point, Ok(Value::Decimal(Decimal::whole(count)))),
    ];
    let (entered, missed) = pad.handle_readings(Mono::from_millis(at_ms), &readings);
    (entered.into_iter().map(told).collect(), missed)
}

#[test]
fn keys_count_once_and_an_entry_of_which_some_were_lost_is_none() {
    let mut pad = pad(None);
    assert_eq!(sample(&mut pad, 1_000, Ok("4711#"), 9).0, [""; 0], "typed before the box looked");
    assert_eq!(sample(&mut pad, 1_100, Ok("4711#"), 9).0, [""; 0]);
    assert_eq!(sample(&mut pad, 1_200, Ok("47"), 10).0, [""; 0]);
    assert_eq!(sample(&mut pad, 1_300, Ok("11#"), 11).0, ["4711"]);
    assert_eq!(sample(&mut pad, 1_400, Ok("1"), 12).0, [""; 0]);
    assert_eq!(sample(&mut pad, 1_500, Ok("11"), 14), (Vec::new(), 1), "what was between, nobody knows");
    assert_eq!(sample(&mut pad, 1_600, Ok("#"), 15).0, [""; 0]);
    assert_eq!(sample(&mut pad, 1_700, Ok("4711#"), 16).0, ["4711"]);
    assert_eq!(sample(&mut pad, 12_000, Ok("4711#"), 17).0, [""; 0], "nobody looked for long");
}

#[test]
fn an_entry_of_which_keys_may_be_lost_is_none() {
    let counted = |gap: &[(u64, Option<&str>, Option<i128>)]| {
        let mut pad = Keypad::new(KeypadSpec { pause: Duration::from_secs(30), ..pad(None).spec });
        sample(&mut pad, 1_000, Ok(""), 1);
        sample(&mut pad, 1_200, Ok("47"), 2);
        let mut entered = Vec::new();
        for (at_ms, keys, count) in gap {
            let keys = keys.map(|keys| Value::Text(keys.into())).ok_or(NoData::Timeout);
            let count = count.map(|count| Value::Decimal(Decimal::whole(count))).ok_or(NoData::Timeout);
            let readings = [PointReading::new(KEYS.point, keys), PointReading::new(COUNT.point, count)];
            entered.extend(pad.handle_readings(Mono::from_millis(*at_ms), &readings).0.into_iter().map(told));
        }
        entered
    };
    let next = |at_ms, count| (at_ms, Some("11#"), Some(count));
    assert_eq!(counted(&[(1_400, Some("47"), Some(2)), next(1_600, 3)]), ["4711"], "none is lost");
    assert_eq!(counted(&[(12_000, Some("99"), Some(3)), next(12_200, 4)]), [""; 0], "99 was typed in a gap");
    assert_eq!(counted(&[(12_000, Some("47"), Some(2)), next(12_200, 3)]), [""; 0], "nobody looked for long");
    assert_eq!(counted(&[(1_400, Some("99"), None), (1_600, Some("99"), Some(3)), next(1_800, 4)]), [""; 0]);
    assert_eq!(counted(&[(1_400, None, Some(3)), next(1_600, 4)]), [""; 0], "99 came, and was not read");
    assert_eq!(counted(&[(1_400, Some(""), Some(0)), next(1_600, 1)]), [""; 0], "the reader was restarted");
    assert_eq!(counted(&[(1_400, None, Some(3)), next(1_600, 4), (1_800, Some("56#"), Some(5))]), ["56"]);
}

#[test]
fn keys_of_which_some_came_in_a_gap_are_no_entry_though_none_was_seen_before_it() {
    let mut pad = pad(None);
    sample(&mut pad, 1_000, Ok(""), 1);
    assert_eq!(sample(&mut pad, 12_000, Ok("47"), 2).0, [""; 0]);
    assert_eq!(sample(&mut pad, 12_200, Ok("11#"), 3).0, [""; 0], "11 is what nobody typed");
}

#[test]
fn what_is_entered_while_a_card_is_asked_about_waits_for_its_verdict() {
    let decided = |keys: &str, request: RequestId, wants_pin: bool, at_s: u64| {
        let mut pad = pad(None);
        pad.handle_card(Mono::from_millis(100_000), &card());
        pad.handle_asked(Pin::Asked(ASKED));
        assert_eq!(typed(&mut pad, 101, keys), [""; 0], "{keys}");
        pad.handle_verdict(Mono::from_millis(at_s * 1000), request, wants_pin).map(told)
    };
    assert_eq!(decided("4711#", ASKED, true, 106).as_deref(), Some("77+4711"));
    assert_eq!(decided("4711#", ASKED, false, 106).as_deref(), Some("4711"), "the card needs none");
    assert_eq!(decided("4712#4711#", ASKED, true, 111).as_deref(), Some("77+4711"), "it was corrected");
    assert_eq!(decided("4711#*", ASKED, true, 107), None, "it was cleared");
    assert_eq!(decided("4711#", ASKED, true, 130).as_deref(), Some("77+4711"), "the core took longer than the pause");
    assert_eq!(decided("4711#", ASKED, false, 111), None, "the card needs none, and whoever typed it has gone");
    assert_eq!(decided("4711#", ASKED, true, 131), None, "no core takes that long");
    assert_eq!(decided("4711#", RequestId(8), true, 106), None, "that is another card's");
    assert_eq!(decided("47", ASKED, true, 103), None, "it is not entered yet");
}

#[test]
fn the_pause_before_and_within_a_pin_runs_from_the_verdict_that_asks_for_it() {
    let entered = |before: &str, decided_s: u64, after_s: u64, after: &str| {
        let mut pad = pad(None);
        pad.handle_card(Mono::from_millis(100_000), &card());
        pad.handle_asked(Pin::Asked(ASKED));
        typed(&mut pad, 101, before);
        assert_eq!(pad.handle_verdict(Mono::from_millis(decided_s * 1000), ASKED, true), None);
        typed(&mut pad, after_s, after)
    };
    assert_eq!(entered("", 120, 125, "4711#"), ["77+4711"], "nothing was typed before");
    assert_eq!(entered("47", 120, 125, "11#"), ["77+4711"], "a part was typed before");
    assert_eq!(entered("", 120, 126, "4711#"), ["4711"], "its holder has gone");
    assert_eq!(entered("47", 120, 126, "11#"), ["11"], "another goes on with what is not his");
}

/// Why entries were thrown away, and whether behind a card.
fn thrown(pad: &mut Keypad) -> Vec<(&'static str, bool)> {
    pad.take_thrown().into_iter().map(|thrown| (thrown.reason, thrown.behind_card)).collect()
}

#[test]
fn whatever_is_thrown_away_is_told_once_with_its_reason() {
    let mut pad = pad(None);
    typed(&mut pad, 100, "47......");
    pad.handle_readings(Mono::from_millis(108_000), &[]);
    pad.handle_readings(Mono::from_millis(109_000), &[]);
    assert_eq!(thrown(&mut pad), [("entry_expired", false)], "nobody ended it");
    typed(&mut pad, 200, "4711#99*12#");
    assert_eq!(thrown(&mut pad), [], "what was entered is looked at, and * is a wish");
    typed(&mut pad, 300, &format!("{}#", "1".repeat(20)));
    typed(&mut pad, 400, "1AA2#");
    assert_eq!(thrown(&mut pad), [("no_code", false), ("no_code", false)]);
    typed(&mut pad, 500, "47");
    pad.handle_card(Mono::from_millis(502_000), &card());
    assert_eq!(thrown(&mut pad), [("entry_replaced", false)], "what stood there before the card");
    pad.handle_asked(Pin::Asked(ASKED));
    typed(&mut pad, 503, "4712#4711#");
    assert_eq!(thrown(&mut pad), [("entry_replaced", true)], "it was corrected");
    pad.handle_card(Mono::from_millis(514_000), &card());
    assert_eq!(thrown(&mut pad), [("entry_replaced", true)], "another came");
    typed(&mut pad, 600, "47");
    pad.handle_lost(Mono::from_millis(602_000));
    pad.handle_lost(Mono::from_millis(603_000));
    assert_eq!(thrown(&mut pad), [("keys_lost", false)]);
    typed(&mut pad, 700, "47");
    pad.handle_lost(Mono::from_millis(720_000));
    assert_eq!(thrown(&mut pad), [("entry_expired", false)], "whoever typed had gone before the reader had");
}

#[test]
fn an_entry_behind_a_card_that_the_core_decides_too_late_is_told_as_thrown_away() {
    let mut pad = pad(None);
    pad.handle_card(Mono::from_millis(100_000), &card());
    pad.handle_asked(Pin::Asked(ASKED));
    typed(&mut pad, 101, "4711#");
    pad.handle_readings(Mono::from_millis(130_000), &[]);
    assert_eq!(thrown(&mut pad), []);
    pad.handle_readings(Mono::from_millis(130_001), &[]);
    assert_eq!(thrown(&mut pad), [("entry_expired", true)]);
}

#[test]
fn lost_keys_are_told_once_for_each_entry_and_cards_that_nobody_read_are_none() {
    let mut pad = pad(None);
    sample(&mut pad, 1_000, Ok(""), 1);
    sample(&mut pad, 1_200, Ok("47"), 2);
    sample(&mut pad, 1_400, Ok("1"), 4);
    sample(&mut pad, 1_600, Ok("1"), 6);
    assert_eq!(thrown(&mut pad), [("keys_lost", false)]);
    sample(&mut pad, 1_800, Ok("#12#1"), 7);
    pad.handle_missed(Mono::from_millis(1_900));
    assert_eq!(thrown(&mut pad), [("keys_lost", false)], "1 was begun");
    sample(&mut pad, 2_000, Ok("#"), 8);
    pad.handle_missed(Mono::from_millis(2_100));
    assert_eq!(thrown(&mut pad), [], "nobody had typed");
}

#[test]
fn bursts_of_four_and_eight_bits_are_keys_and_cards_are_none() {
    let keys = |source: KeySource, bursts: &[(u128, Option<u8>)]| -> Vec<Option<char>> {
        bursts.iter().map(|(value, bits)| source.key(*value, *bits)).collect()
    };
    let four = keys(KeySource::FourBits, &[(0, Some(4)), (9, Some(4)), (10, None), (11, Some(4)), (13, Some(4))]);
    assert_eq!(four, [Some('0'), Some('9'), Some('*'), Some('#'), Some('?')]);
    let eight = keys(KeySource::EightBits, &[(0xF0, Some(8)), (0x69, Some(8)), (0x5A, None), (0x4B, Some(8))]);
    assert_eq!(eight, [Some('0'), Some('9'), Some('*'), Some('#')]);
    let none = [(0x05, Some(8)), (0x2F7, None), (0xE1, Some(26)), (0xE0, None)];
    assert_eq!(keys(KeySource::EightBits, &none), [None; 4]);
    assert_eq!(keys(KeySource::FourBits, &[(5, Some(26)), (16, None)]), [None; 2]);
}

#[test]
fn what_is_typed_is_in_no_debug_text() {
    let mut pad = pad(None);
    typed(&mut pad, 100, "4711");
    assert!(!format!("{pad:?}").contains("4711"));
    for proof in [Proof::Code("4711".to_owned()), card()] {
        let text = format!("{proof:?}");
        assert!(!text.contains("4711") && !text.contains("77"), "{text}");
    }
}

#[test]
fn an_entry_that_is_void_is_told_once_however_it_goes_on_and_ends() {
    let at = |second: u64| Mono::from_millis(second * 1000);
    let reasons = |pad: &mut Keypad| pad.take_thrown().iter().map(|thrown| thrown.reason).collect::<Vec<_>>();
    // Cards that nobody has read may have been keys: whoever types on is told, whoever does not is not.
    let mut of_four = pad(Some(4));
    of_four.handle_missed(at(100));
    assert_eq!(reasons(&mut of_four), [""; 0]);
    assert_eq!(typed(&mut of_four, 101, "1234"), [""; 0]);
    assert_eq!(typed(&mut of_four, 120, "4711"), ["4711"], "after a pause");
    assert_eq!(reasons(&mut of_four), [reason::KEYS_LOST]);
    // Digits behind a lost key begin nothing that could be thrown away again: by a pause, a card, or the reader's loss.
    let ends: [fn(&mut Keypad, Mono); 3] = [
        |pad, at| drop(pad.press(at + Duration::from_secs(9), '1')),
        |pad, at| pad.handle_card(at, &card()),
        Keypad::handle_lost,
    ];
    for end in ends {
        let mut pad = pad(Some(4));
        typed(&mut pad, 100, "12");
        pad.lose(at(102));
        assert_eq!(typed(&mut pad, 103, "34"), [""; 0]);
        end(&mut pad, at(106));
        assert_eq!(reasons(&mut pad), [reason::KEYS_LOST]);
    }
}
