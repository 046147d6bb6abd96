//! What is typed at the keypad of a gate's reader.

use std::time::Duration;

use gatehouse_core::{Decimal, PointIx, PointReading, Value};
use serde_json::Value as Json;

use super::entrance::{Box, PAD, card};
use crate::access::{Ask, Decide, GatePolicy, Proof};
use crate::engine::Output;

impl Box {
    /// A poll of the reader with the keypad: its card, how many it has read, its keys and how often they came.
    fn poll_pad(&mut self, card: &str, cards: i128, keys: &str, times: i128) {
        self.now.mono = self.now.mono + Duration::from_millis(200);
        self.now.wall.0 += 200_000;
        let text = |text: &str| Ok(Value::Text(text.into()));
        let count = |count: i128| Ok(Value::Decimal(Decimal::whole(count)));
        let values = [text(card), count(cards), text(keys), count(times)];
        let readings: Vec<_> =
            (0..).map(PointIx).zip(values).map(|(point, value)| PointReading::new(point, value)).collect();
        self.tell(|engine, now| engine.handle_sample(now, PAD, now.mono, &readings));
    }

    /// What was decided at the reader with the keypad.
    fn at_pad(&self) -> Vec<(String, String)> {
        let text = |json: &Json| json.as_str().unwrap_or("-").to_owned();
        self.passages().into_iter().map(|passage| (text(&passage["reason"]), text(&passage["facts"]["kind"]))).collect()
    }

    /// What the core is asked, in the order of time.
    fn asked(&self) -> Vec<&Ask> {
        self.outputs.iter().filter_map(|output| if let Output::Ask(ask) = output { Some(ask) } else { None }).collect()
    }
}

/// What the reader shows of a card.
fn shown(number: u64) -> String {
    match card(number) {
        Proof::Card { bits, .. } => format!("26:{:X}", bits.value()),
        other => panic!("{other:?}"),
    }
}

/// A box whose core decides within 10 s, with nobody at the reader.
fn asking() -> Box {
    let policy = GatePolicy { decide: Decide::Core { deadline_ms: 10_000 }, ..GatePolicy::default() };
    let mut site = Box::new(Some(policy));
    site.poll_pad("", 0, "", 0);
    site.acts.clear();
    site
}

#[test]
fn what_is_typed_at_a_reader_is_a_code_and_after_a_card_that_wants_it_its_pin() {
    let mut site = Box::new(Some(GatePolicy::default()));
    let guarded = shown(3);
    site.poll_pad("", 0, "", 0);
    site.acts.clear();
    site.poll_pad(&guarded, 1, "", 0);
    assert!(site.acts.is_empty());
    assert_eq!(site.at_pad(), [("pin_needed".to_owned(), "card".to_owned())]);
    site.poll_pad(&guarded, 1, "4712#", 1);
    assert_eq!(site.at_pad()[1], ("bad_code".to_owned(), "card_pin".to_owned()));
    site.poll_pad(&guarded, 2, "4712#", 1);
    for (times, key) in (2..).zip(["4", "7", "1", "1"]) {
        site.poll_pad(&guarded, 2, key, times);
    }
    assert!(site.acts.is_empty());
    site.poll_pad(&guarded, 2, "#", 6);
    assert_eq!(site.acts.len(), 1, "the card with its PIN opens: {:?}", site.acts);

    let mut site = Box::new(Some(GatePolicy::default()));
    site.poll_pad("", 0, "", 0);
    site.acts.clear();
    site.poll_pad("", 0, "8015#", 1);
    assert_eq!(site.at_pad()[0].0, "bad_code");
    site.poll_pad("", 0, "8015", 2);
    site.poll_pad("", 0, "8015#", 3);
    assert_eq!(site.acts.len(), 1, "a PIN opens by itself");
    let kept: Vec<u8> = site.kept.values().flatten().copied().collect();
    let events = format!("{:?}{:?}{}", site.events, site.outputs, String::from_utf8_lossy(&kept));
    assert!(!events.contains("8015"), "digits are in no record");
}

#[test]
fn who_guesses_at_a_keypad_finds_it_closed_also_for_a_good_pin() {
    let mut site = Box::new(Some(GatePolicy::default()));
    site.poll_pad("", 0, "", 0);
    site.acts.clear();
    for times in 1..=20 {
        site.poll_pad("", 0, &format!("{}#", 1000 + times), times);
    }
    site.poll_pad("", 0, "80158015#", 21);
    let reasons: Vec<String> = site.at_pad().into_iter().map(|(reason, _)| reason).collect();
    assert_eq!((reasons[0].as_str(), reasons[20].as_str()), ("bad_code", "locked_out"), "{reasons:?}");
    assert!(site.acts.is_empty());
}

#[test]
fn a_pin_that_is_typed_before_the_core_has_answered_is_the_cards_and_no_wrong_guess() {
    let mut site = asking();
    site.poll_pad(&shown(3), 1, "", 0);
    let request = site.asked()[0].request;
    site.poll_pad(&shown(3), 1, "4711#", 1);
    assert_eq!((site.asked().len(), site.at_pad().len()), (1, 0), "it waits for the verdict");
    site.hear(request, "pin_needed");
    assert_eq!(site.at_pad(), [("pin_needed".to_owned(), "card".to_owned())]);
    let [_, with_pin] = site.asked()[..] else { panic!("{:?}", site.asked()) };
    let request = with_pin.request;
    site.hear(request, "granted");
    assert_eq!(site.acts.len(), 1, "{:?}", site.acts);
    assert_eq!(site.at_pad().len(), 1, "the other passage is under way");
}

#[test]
fn the_pin_of_one_card_is_not_joined_with_the_card_of_another() {
    let mut site = asking();
    site.poll_pad(&shown(3), 1, "", 0);
    site.poll_pad(&shown(1), 2, "", 0);
    let [first, second] = site.asked()[..] else { panic!("{:?}", site.asked()) };
    let (first, second) = (first.request, second.request);
    site.hear(first, "pin_needed");
    site.poll_pad(&shown(1), 2, "4711#", 1);
    site.hear(second, "core_refused");
    let kinds: Vec<&str> = site.asked().into_iter().map(|ask| ask.kind).collect();
    assert_eq!(kinds, ["card", "card", "code"], "the second is refused, and 4711 is no PIN of it");
}

#[test]
fn a_card_that_is_shown_again_before_the_core_has_answered_still_gets_its_pin() {
    let mut site = asking();
    site.poll_pad(&shown(3), 1, "", 0);
    let request = site.asked()[0].request;
    site.poll_pad(&shown(3), 2, "", 0);
    site.poll_pad(&shown(3), 2, "4711#", 1);
    site.hear(request, "pin_needed");
    assert_eq!(site.asked().len(), 2, "the card with its PIN");
}

#[test]
fn a_pin_reaches_a_core_that_takes_longer_than_the_pause_however_much_of_it_was_typed_before_the_verdict() {
    for (before, after) in [("4711#", ""), ("47", "11#"), ("", "4711#")] {
        let mut site = asking();
        site.poll_pad(&shown(3), 1, "", 0);
        let request = site.asked()[0].request;
        site.poll_pad(&shown(3), 1, before, 1);
        for _ in 0..45 {
            site.poll_pad(&shown(3), 1, before, 1);
        }
        site.hear(request, "pin_needed");
        site.poll_pad(&shown(3), 1, after, 2);
        let kinds: Vec<&str> = site.asked().into_iter().map(|ask| ask.kind).collect();
        assert_eq!(kinds.len(), 2, "{before}, {after}: {kinds:?}");
        let request = site.asked()[1].request;
        site.hear(request, "granted");
        assert_eq!(site.acts.len(), 1, "{before}, {after}: the card with its PIN opens");
    }
}

#[test]
fn an_entry_that_nobody_ends_is_a_passage_refused_with_its_reason_and_without_its_digits() {
    let mut site = Box::new(Some(GatePolicy::default()));
    let guarded = shown(3);
    site.poll_pad("", 0, "", 0);
    site.acts.clear();
    site.poll_pad(&guarded, 1, "", 0);
    site.poll_pad(&guarded, 1, "80158", 1);
    for _ in 0..30 {
        site.poll_pad(&guarded, 1, "80158", 1);
    }
    let told = [("pin_needed", "card"), ("entry_expired", "card_pin")];
    assert_eq!(site.at_pad(), told.map(|(reason, kind)| (reason.to_owned(), kind.to_owned())));
    let passages = site.passages();
    let record = &passages[1];
    assert_eq!(
        (&record["via"], &record["decision"], &record["decided_by"]),
        (&"pad".into(), &"refused".into(), &"box".into())
    );
    let lost = site.now;
    site.poll_pad(&guarded, 1, "80158", 2);
    site.tell(|engine, _| engine.handle_device_state(lost, PAD, false, "timeout"));
    assert_eq!(site.at_pad()[2], ("keys_lost".to_owned(), "code".to_owned()));
    let kept: Vec<u8> = site.kept.values().flatten().copied().collect();
    let all = format!("{:?}{:?}{}", site.events, site.outputs, String::from_utf8_lossy(&kept));
    assert!(!all.contains("80158") && site.acts.is_empty(), "{all}");
}
