//! PINs, one-time codes, visitors' codes, and those who guess.

use super::*;
use Direction::In;

fn once(text: &str) -> Credential {
    let id = lookup().code(text);
    Credential { until: Some(seconds(NOON + 7200)), ..credential(id, CredentialKind::Code, "p-9") }
}

fn signed(gates: &[&str]) -> CodeOrder {
    CodeOrder::Signed {
        class: HolderClass::Visitor,
        gates: gates.iter().map(|gate| (*gate).to_owned()).collect(),
        groups: Vec::new(),
        from: seconds(NOON),
        until: seconds(NOON + 7200),
    }
}

#[test]
fn a_pin_opens_by_itself_and_a_card_with_its_pin() {
    let guarded = Credential { flags: vec![Flag::NeedsPin], ..credential(card_id(1), CredentialKind::Card, "p-1") };
    let pin = credential(lookup().card_pin(card_id(1), "4711"), CredentialKind::CardPin, "p-1");
    let alone = credential(lookup().pin("8015"), CredentialKind::Pin, "p-2");
    let mut bench = Bench::with(GatePolicy::default(), vec![guarded, pin, alone]);
    let both = |pin: &str| Proof::CardAndPin { bits: card_bits(1), format: None, pin: pin.to_owned() };
    assert_eq!(bench.reason("entry", In, card(1)), "pin_needed");
    assert_eq!(bench.reason("entry", In, both("4712")), "bad_code");
    assert_eq!(bench.reason("entry", In, both("4711")), "granted");
    assert_eq!(bench.reason("entry", In, code("4711")), "bad_code");
    assert_eq!(bench.decide("entry", In, code(" 8015 ")).who.as_deref(), Some("p-2"));
}

#[test]
fn a_one_time_code_opens_once_also_across_restarts() {
    let mut bench = Bench::with(GatePolicy::default(), vec![once("K7Q2")]);
    assert_eq!(bench.reason("entry", In, code("K7Q2")), "granted");
    assert_eq!(bench.reason("entry", In, code("K7Q2")), "code_used");
    bench.reboot();
    assert_eq!(bench.reason("entry", In, code("K7Q2")), "code_used");
}

#[test]
fn a_code_by_which_nobody_went_through_is_good_again() {
    let mut bench = Bench::with(GatePolicy::default(), vec![once("K7Q2")]);
    let verdict = bench.decide("entry", In, code("K7Q2"));
    bench.pass(&verdict, Some(false));
    bench.reboot();
    let verdict = bench.decide("entry", In, code("K7Q2"));
    assert!(verdict.allowed);
    bench.pass(&verdict, None);
    assert_eq!(bench.reason("entry", In, code("K7Q2")), "code_used");
}

#[test]
fn the_core_is_not_asked_about_a_code_that_is_used_up() {
    let mut bench = Bench::with(core_policy(), vec![once("K7Q2")]);
    let (request, _) = bench.present("entry", In, code("K7Q2"));
    assert_eq!(bench.asks[0].kind, "code");
    bench.answer(request, true, "granted");
    assert_eq!(bench.reason("entry", In, code("K7Q2")), "code_used");
}

#[test]
fn a_signed_code_of_the_box_opens_its_gate_once_without_any_credentials() {
    let mut bench = Bench::new(GatePolicy { offline: Offline::GuardOnly, ..core_policy() });
    bench.mode = Mode::Degraded;
    let issued = bench.access.handle_issue(bench.now, &signed(&["lobby"]), 77, "guard.li").unwrap();
    bench.drain();
    let (kind, event) = bench.events.last().unwrap();
    assert_eq!(
        (*kind, event["by"].as_str(), event["who"].as_str()),
        ("code_issued", Some("guard.li"), Some(&*issued.who))
    );
    assert!(!event.to_string().contains(&issued.text));
    assert_eq!(bench.reason("entry", In, code(&issued.text)), "wrong_gate");
    let verdict = bench.decide("lobby", In, code(&issued.text));
    assert_eq!((verdict.reason.as_str(), verdict.who.as_deref()), ("granted", Some("visitor-000000000000004d")));
    bench.reboot();
    assert_eq!(bench.reason("lobby", In, code(&issued.text)), "code_used");
}

#[test]
fn a_signed_code_of_the_core_opens_through_a_group_until_it_ends_or_is_revoked() {
    let token = |serial| Token {
        site: "riverside".to_owned(),
        class: HolderClass::Visitor,
        from: seconds(NOON),
        until: seconds(NOON + 7200),
        serial,
        gates: Vec::new(),
        groups: vec!["garage".to_owned()],
    };
    let mut bench = Bench::with(GatePolicy::default(), vec![]);
    assert_eq!(bench.reason("entry", In, code(&token(1).sign(&core_key()))), "granted");
    let elsewhere = Token { site: "hillside".to_owned(), ..token(2) };
    assert_eq!(bench.reason("entry", In, code(&elsewhere.sign(&core_key()))), "wrong_gate");
    let endless = Token { until: u32::MAX, ..token(2) };
    assert_eq!(bench.reason("entry", In, code(&endless.sign(&core_key()))), "bad_code");
    let forged = Ed25519KeyPair::from_seed_unchecked(&[66; 32]).unwrap();
    assert_eq!(bench.reason("entry", In, code(&token(2).sign(&forged))), "bad_code");
    bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(lookup().token(3))]).unwrap();
    assert_eq!(bench.reason("entry", In, code(&token(3).sign(&core_key()))), "revoked");
    bench.wait(Duration::from_secs(7200));
    assert_eq!(bench.reason("entry", In, code(&token(4).sign(&core_key()))), "expired");
    bench.now.trust = Trust::Unset;
    assert_eq!(bench.reason("entry", In, code(&token(5).sign(&core_key()))), "time_unknown");
}

#[test]
fn a_visitors_pin_opens_once_at_gates_that_take_it() {
    let mut bench = Bench::with(GatePolicy::default(), vec![]);
    let first = bench.access.handle_issue(bench.now, &CodeOrder::Pin, 0, "guard.li").unwrap();
    bench.drain();
    bench.restart();
    let second = bench.access.handle_issue(bench.now, &CodeOrder::Pin, 0, "guard.li").unwrap();
    bench.drain();
    assert_ne!(first.who, second.who, "a place is given once");
    assert_eq!(bench.reason("entry", In, code(&first.text)), "bad_code");
    let verdict = bench.decide("lobby", In, code(&first.text));
    assert_eq!((verdict.reason.as_str(), verdict.who), ("granted", Some(first.who)));
    bench.reboot();
    assert_eq!(bench.reason("lobby", In, code(&first.text)), "code_used");
    let core = PinSecret::new(&[4; 32]).digits(12, NOON);
    assert_eq!(bench.reason("lobby", In, code(&core)), "granted", "the core makes them from the same secret");
    bench.now.trust = Trust::Unset;
    assert_eq!(bench.reason("lobby", In, code(&second.text)), "time_unknown");
    bench.now.trust = Trust::Synchronised;
    bench.wait(Duration::from_secs(4 * 3600));
    assert_eq!(bench.reason("lobby", In, code(&second.text)), "bad_code", "its hours are over");
}

#[test]
fn a_code_that_would_open_nothing_or_for_ever_is_not_made() {
    let mut bench = Bench::new(GatePolicy::default());
    let mut issue = |order: &CodeOrder| bench.access.handle_issue(bench.now, order, 1, "guard.li").unwrap_err();
    assert_eq!(issue(&signed(&[])), IssueError::Targets(0));
    assert_eq!(issue(&signed(&["cellar"])), IssueError::Unknown("cellar".to_owned()));
    let CodeOrder::Signed { class, gates, groups, from, .. } = signed(&["lobby"]) else { panic!() };
    for until in [from, from + 32 * 24 * 3600] {
        let order = CodeOrder::Signed { class, gates: gates.clone(), groups: groups.clone(), from, until };
        assert_eq!(issue(&order), IssueError::Time { from, until });
    }
    bench.now.trust = Trust::Unset;
    assert_eq!(bench.access.handle_issue(bench.now, &CodeOrder::Pin, 1, "guard.li"), Err(IssueError::NoClock));
}

#[test]
fn who_guesses_is_held_up_and_the_right_code_waits_too() {
    let mut bench = Bench::with(GatePolicy::default(), vec![once("K7Q2")]);
    let guess = |bench: &mut Bench, n: u32| {
        bench.wait(Duration::from_secs(1));
        bench.present("entry", In, code(&format!("{n:06}")));
        bench.verdicts.last().unwrap().reason.clone()
    };
    for n in 0..5 {
        assert_eq!(guess(&mut bench, n), "bad_code");
    }
    assert_eq!(guess(&mut bench, 5), "locked_out");
    let condition = bench.conditions.last().unwrap().clone();
    assert_eq!((condition.id.to_string().as_str(), condition.active), ("guard_guessing/entry-reader", Some(true)));
    assert_eq!(bench.access.view().closed_readers.len(), 1);
    bench.restart();
    bench.wait(Duration::from_secs(5));
    bench.present("entry", In, code("K7Q2"));
    assert_eq!(bench.verdicts.last().unwrap().reason, "locked_out", "a restart opens nothing");
    assert_eq!(bench.reason("lobby", In, code("000777")), "bad_code", "other readers go on");
    bench.wait(Duration::from_secs(60));
    let condition = bench.conditions.last().unwrap();
    assert_eq!((condition.id.to_string().as_str(), condition.active), ("guard_guessing/entry-reader", Some(false)));
    assert_eq!(bench.reason("entry", In, code("K7Q2")), "granted");
}

#[test]
fn cards_and_plates_are_not_held_up_by_guessed_codes() {
    let mut bench = Bench::with(GatePolicy::default(), vec![credential(card_id(1), CredentialKind::Card, "p-1")]);
    for n in 0..6 {
        bench.present("entry", In, code(&format!("{n:06}")));
    }
    assert_eq!(bench.verdicts.last().unwrap().reason, "locked_out");
    assert_eq!(bench.present("entry", In, card(1)).1, Taken::Decided);
    assert_eq!(bench.verdicts.last().unwrap().reason, "granted");
}

#[test]
fn the_same_wrong_code_held_before_the_reader_counts_once() {
    let mut bench = Bench::with(GatePolicy::default(), vec![]);
    for _ in 0..20 {
        bench.present("entry", In, code("000000"));
    }
    assert_eq!((bench.verdicts.len(), bench.access.view().closed_readers.len()), (1, 0));
}
