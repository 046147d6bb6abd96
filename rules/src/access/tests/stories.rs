//! One story for each reason and each policy.

use super::*;
use Direction::{In, Out};

fn only(change: fn(&mut Credential)) -> Bench {
    let mut credential = credential(card_id(1), CredentialKind::Card, "p-1");
    change(&mut credential);
    Bench::with(GatePolicy::default(), vec![credential])
}

#[test]
fn a_known_card_opens_its_gates_and_no_other() {
    let mut bench = only(|_| {});
    let verdict = bench.decide("entry", In, card(1));
    assert!(verdict.allowed);
    assert_eq!((verdict.reason.as_str(), verdict.decided_by), ("granted", DecidedBy::Box));
    assert_eq!((verdict.who.as_deref(), verdict.class), (Some("p-1"), Some(HolderClass::Resident)));
    assert_eq!(bench.reason("lobby", In, card(1)), "wrong_gate");
    assert_eq!(bench.reason("cellar", In, card(1)), "unknown_gate");
}

#[test]
fn who_is_not_known_is_recorded_by_the_beginning_of_a_hash() {
    let mut bench = only(|_| {});
    let verdict = bench.decide("entry", In, plate("京A12345"));
    assert_eq!((verdict.reason.as_str(), verdict.who, verdict.class), ("unknown_credential", None, None));
    assert_eq!(verdict.facts["credential"], plate_id("京A12345").prefix());
    assert!(verdict.facts.values().all(|fact| !fact.contains("12345")), "{:?}", verdict.facts);
    assert!(bench.kept.values().all(|value| !String::from_utf8_lossy(value).contains("12345")));
}

#[test]
fn a_card_is_listed_by_its_format_or_by_its_raw_bits() {
    let odd = Bits::parse("1010101010101010101010101010101").unwrap();
    let spoiled = Bits::parse("10111001110110010011011101").unwrap();
    let raw = |bits| credential(lookup().raw_card(bits), CredentialKind::Card, "p-2");
    let mut bench = Bench::with(GatePolicy::default(), vec![raw(odd)]);
    let proof = |bits, format: Option<&str>| Proof::Card { bits, format: format.map(str::to_owned) };
    assert_eq!(bench.reason("entry", In, proof(odd, None)), "granted");
    assert_eq!(bench.reason("entry", In, proof(odd, Some("H10301-26"))), "granted", "listed as it is");
    assert_eq!(bench.reason("entry", In, proof(spoiled, None)), "bad_parity");
    let short = Bits::parse("101").unwrap();
    assert_eq!(bench.reason("entry", In, proof(short, Some("H10301-26"))), "bad_length");
    assert_eq!(bench.reason("entry", In, proof(short, None)), "unknown_credential");
}

#[test]
fn thirty_seven_bits_need_the_readers_format() {
    let [.., h10304] = Format::built_in();
    let card = Card { facility: Some(4242), number: 424_242 };
    let bits = h10304.encode(card).unwrap();
    let id = lookup().card("H10304-37", card);
    let mut bench = Bench::with(GatePolicy::default(), vec![credential(id, CredentialKind::Card, "p-3")]);
    let proof = |format: Option<&str>| Proof::Card { bits, format: format.map(str::to_owned) };
    assert_eq!(bench.reason("entry", In, proof(Some("H10304-37"))), "granted");
    assert_eq!(bench.reason("entry", In, proof(None)), "unknown_credential");
    assert_eq!(bench.reason("entry", In, proof(Some("H10302-37"))), "unknown_credential");
}

#[test]
fn dates_and_schedules_hold_in_the_sites_time() {
    assert_eq!(only(|c| c.from = Some(seconds(NOON + 60))).reason("entry", In, card(1)), "not_yet_valid");
    assert_eq!(only(|c| c.until = Some(seconds(NOON))).reason("entry", In, card(1)), "expired");
    assert_eq!(only(|c| c.schedule = "work".to_owned()).reason("entry", In, card(1)), "granted");
    assert_eq!(only(|c| c.schedule = "night".to_owned()).reason("entry", In, card(1)), "out_of_schedule");
    assert_eq!(only(|c| c.schedule = "gone".to_owned()).reason("entry", In, card(1)), "out_of_schedule");
    let emergency = |c: &mut Credential| {
        c.schedule = "night".to_owned();
        c.flags = vec![Flag::Emergency];
    };
    assert_eq!(only(emergency).reason("entry", In, card(1)), "granted");
}

#[test]
fn a_plate_that_was_not_read_surely_opens_nothing_and_a_better_picture_does() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    let seen = |confidence| Proof::Plate { text: "京A·12345".to_owned(), confidence, colour: None };
    assert_eq!(bench.reason("entry", In, seen(79)), "low_confidence");
    let (_, taken) = bench.present("entry", In, seen(80));
    assert_eq!(taken, Taken::Decided);
    assert!(bench.verdicts.last().unwrap().allowed);
    assert_eq!(bench.reason("entry", In, plate("UNKNOWN")), "low_confidence");
}

#[test]
fn a_camera_that_repeats_itself_asks_once() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    let (first, _) = bench.present("entry", In, plate("京A12345"));
    bench.wait(Duration::from_millis(9_999));
    assert_eq!(bench.present("entry", In, plate("京A-12345")).1, Taken::Duplicate(first));
    assert_eq!(bench.present("exit", Out, plate("京A12345")).1, Taken::Decided, "another lane");
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.present("entry", In, plate("京A12345")).1, Taken::Decided);
    assert_eq!((bench.verdicts.len(), bench.access.view().stats.duplicates), (3, 1));
}

#[test]
fn soft_anti_passback_opens_and_says_so_and_a_guard_clears_it() {
    let mut bench = only(|_| {});
    assert!(bench.enter(card(1)).facts.get("anti_passback").is_none());
    let again = bench.decide("entry", In, card(1));
    assert!(again.allowed);
    assert_eq!(again.facts["anti_passback"], "already_in");
    let cleared = bench.access.handle_clear_anti_passback(bench.now, Whom::Holder("p-1"), "guard.li");
    assert_eq!((cleared, bench.inside()), (1, 0));
    assert!(bench.decide("entry", In, card(1)).facts.get("anti_passback").is_none());
    assert_eq!(bench.events.last().unwrap().0, "anti_passback_cleared");
    assert_eq!(bench.events.last().unwrap().1["by"], "guard.li");
}

#[test]
fn hard_anti_passback_keeps_the_gate_closed_across_a_restart() {
    let policy = GatePolicy { anti_passback: AntiPassback::Hard, ..GatePolicy::default() };
    let exempt =
        Credential { flags: vec![Flag::AntiPassbackExempt], ..credential(card_id(2), CredentialKind::Card, "p-2") };
    let mut bench = Bench::with(policy, vec![credential(card_id(1), CredentialKind::Card, "p-1"), exempt]);
    let first = bench.decide("entry", In, card(1));
    bench.pass(&first, Some(false));
    assert_eq!(bench.reason("entry", In, card(1)), "granted", "nobody went through");
    bench.enter(card(1));
    bench.enter(card(2));
    bench.reboot();
    assert_eq!(bench.reason("entry", In, card(1)), "anti_passback");
    assert_eq!(bench.reason("entry", In, card(2)), "granted");
    let out = bench.decide("exit", Out, card(1));
    bench.pass(&out, None);
    assert_eq!(bench.reason("exit", Out, card(1)), "anti_passback");
    assert_eq!(bench.reason("entry", In, card(1)), "granted");
}

#[test]
fn a_holders_two_cars_are_two() {
    let policy = GatePolicy { anti_passback: AntiPassback::Hard, ..GatePolicy::default() };
    let cars = vec![plate_credential("京A11111", "p-1"), plate_credential("京A22222", "p-1")];
    let mut bench = Bench::with(policy, cars);
    assert!(bench.enter(plate("京A11111")).allowed);
    assert!(bench.enter(plate("京A22222")).allowed);
    assert_eq!(bench.inside(), 2);
    assert_eq!(bench.reason("entry", In, plate("京A11111")), "anti_passback");
}

#[test]
fn a_full_car_park_refuses_and_a_guard_may_correct_its_count() {
    let staff = Credential { class: HolderClass::Staff, ..plate_credential("京A33333", "p-3") };
    let cars = vec![plate_credential("京A11111", "p-1"), plate_credential("京A22222", "p-2"), staff];
    let mut bench = Bench::with(GatePolicy::default(), cars).with_capacity(1);
    bench.enter(plate("京A11111"));
    assert_eq!(bench.reason("entry", In, plate("京A22222")), "car_park_full");
    assert_eq!(bench.reason("entry", In, plate("京A33333")), "granted", "staff is not refused here");
    assert_eq!(bench.reason("exit", Out, plate("京A22222")), "granted");
    bench.reboot();
    assert_eq!(bench.reason("entry", In, plate("京A22222")), "car_park_full");
    assert!(bench.access.handle_count(bench.now, "cars", 0, "guard.li"));
    bench.drain();
    bench.reboot();
    assert_eq!(bench.reason("entry", In, plate("京A22222")), "granted");
}

#[test]
fn a_household_has_its_quota() {
    let of = |household: &str, text, who| Credential { household: household.to_owned(), ..plate_credential(text, who) };
    let cars = vec![
        of("h-one", "京A11111", "p-1"),
        of("h-one", "京A22222", "p-2"),
        of("h-two", "京B11111", "p-3"),
        of("h-two", "京B22222", "p-4"),
        of("h-two", "京B33333", "p-5"),
    ];
    let mut bench = Bench::with(GatePolicy::default(), cars);
    bench.enter(plate("京A11111"));
    assert_eq!(bench.reason("entry", In, plate("京A22222")), "quota_exceeded");
    bench.enter(plate("京B11111"));
    bench.enter(plate("京B22222"));
    bench.reboot();
    assert_eq!(bench.reason("entry", In, plate("京B33333")), "quota_exceeded");
    let out = bench.decide("exit", Out, plate("京B11111"));
    bench.pass(&out, Some(true));
    assert_eq!(bench.reason("entry", In, plate("京B33333")), "granted");
}

#[test]
fn the_core_decides_in_time_and_only_once() {
    let mut bench = Bench::with(core_policy(), vec![plate_credential("京A12345", "p-1")]);
    let (request, taken) = bench.present("entry", In, plate("京A12345"));
    assert_eq!(taken, Taken::Asked);
    let ask = bench.asks.pop().unwrap();
    assert_eq!((ask.request, ask.credential.as_str(), ask.kind, ask.deadline_ms), (request, "p-1", "plate", 800));
    let forged = Answer { allowed: true, reason: String::new(), who: None, class: None, facts: BTreeMap::new() };
    assert_eq!(bench.access.handle_answer(bench.now, request, &forged, false), Heard::NotAuthentic);
    bench.wait(Duration::from_millis(799));
    assert_eq!(bench.answer(request, false, "unpaid_fees"), Heard::Taken);
    let verdict = bench.verdicts.last().unwrap();
    assert_eq!((verdict.allowed, verdict.reason.as_str(), verdict.decided_by), (false, "unpaid_fees", DecidedBy::Core));
    assert_eq!(bench.answer(request, true, "granted"), Heard::Late);
    assert_eq!(bench.verdicts.len(), 1);
    assert!(bench.kept.keys().all(|key| !key.starts_with("access/ask/")));
}

#[test]
fn an_answers_words_and_facts_are_held_within_bounds() {
    let mut bench = Bench::with(core_policy(), vec![]);
    let (request, _) = bench.present("entry", In, plate("京A12345"));
    assert_eq!(bench.asks[0].credential, plate_id("京A12345").to_string());
    let facts = (0..20).map(|n| (format!("a{n:02}"), "京".repeat(100))).chain([("a".to_owned(), "x".to_owned())]);
    let forged = [("once", "00"), ("kind", "card"), ("credential", "00")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut answer =
        Answer { allowed: true, reason: "Not a word!".to_owned(), who: None, class: None, facts: facts.collect() };
    bench.access.handle_answer(bench.now, request, &answer, true);
    bench.drain();
    let verdict = bench.verdicts.pop().unwrap();
    assert_eq!((verdict.allowed, verdict.reason.as_str()), (true, "granted"));
    assert!(verdict.facts.len() <= 12 && verdict.facts.values().all(|fact| fact.len() <= 64));
    bench.wait(Duration::from_secs(11));
    let (request, _) = bench.present("entry", In, plate("京A12345"));
    answer.facts = forged.into();
    answer.reason = "refused".to_owned();
    bench.access.handle_answer(bench.now, request, &answer, true);
    bench.drain();
    let verdict = bench.verdicts.pop().unwrap();
    assert_eq!(verdict.facts.get("once"), None);
    assert_eq!((verdict.facts["kind"].as_str(), verdict.facts["credential"].len()), ("plate", 16));
}

#[test]
fn without_an_answer_in_time_the_offline_policy_decides() {
    let mut bench = Bench::with(core_policy(), vec![plate_credential("京A12345", "p-1")]);
    let (request, _) = bench.present("entry", In, plate("京A12345"));
    bench.wait(Duration::from_millis(800));
    let verdict = bench.verdicts.last().unwrap();
    assert_eq!((verdict.allowed, verdict.decided_by), (true, DecidedBy::OfflinePolicy));
    assert_eq!(bench.answer(request, false, "no"), Heard::Late);
    let stats = bench.access.view().stats;
    assert_eq!((stats.unanswered, stats.late_answers), (1, 1));
}

#[test]
fn an_answer_at_the_deadline_is_late_even_before_the_timer() {
    let mut bench = Bench::with(core_policy(), vec![]);
    let (request, _) = bench.present("entry", In, plate("京A12345"));
    bench.step_to(bench.now.mono + Duration::from_millis(800));
    assert_eq!(bench.answer(request, true, "granted"), Heard::Late);
    assert_eq!(bench.verdicts.last().unwrap().reason, "unknown_credential");
}

#[test]
fn a_revocation_counts_for_a_question_that_is_under_way() {
    let mut bench = Bench::with(core_policy(), vec![plate_credential("京A12345", "p-1")]);
    bench.present("entry", In, plate("京A12345"));
    bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(plate_id("京A12345"))]).unwrap();
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.verdicts.last().unwrap().reason, "revoked");
}

#[test]
fn a_request_that_waited_when_the_box_went_down_is_refused_once() {
    let mut bench = Bench::with(core_policy(), vec![plate_credential("京A12345", "p-1")]);
    let (request, _) = bench.present("entry", In, plate("京A12345"));
    bench.reboot();
    assert_eq!(bench.access.poll_timeout(), Some(Mono(0)), "it is due at once");
    bench.access.handle_timeout(bench.now);
    bench.drain();
    let verdict = bench.verdicts.last().unwrap();
    assert_eq!((verdict.request, verdict.reason.as_str(), verdict.allowed), (request, "interrupted", false));
    assert_eq!(bench.answer(request, true, "granted"), Heard::Late);
    bench.reboot();
    bench.access.handle_timeout(bench.now);
    bench.drain();
    assert_eq!(bench.verdicts.len(), 1);
}

#[test]
fn offline_each_policy_does_what_it_says() {
    let cases = [
        (Offline::AllowKnown, ["granted", "unknown_credential", "granted"]),
        (Offline::AllowAllIn, ["granted", "granted", "granted"]),
        (Offline::GuardOnly, ["guard_only", "guard_only", "granted"]),
        (Offline::Deny, ["offline_deny", "offline_deny", "granted"]),
    ];
    for mode in [Mode::Degraded, Mode::Recovering] {
        for (offline, expected) in cases {
            let brigade = Credential { class: HolderClass::Emergency, ..plate_credential("京X00119", "p-119") };
            let credentials = vec![plate_credential("京A12345", "p-1"), brigade];
            let mut bench = Bench::with(GatePolicy { offline, ..core_policy() }, credentials);
            bench.mode = mode;
            let reasons = ["京A12345", "京B99999", "京X00119"].map(|text| bench.reason("entry", In, plate(text)));
            assert_eq!(reasons, expected, "{offline:?}");
            let decided = bench.verdicts.iter().map(|verdict| verdict.decided_by).collect::<Vec<_>>();
            assert_eq!(decided, [DecidedBy::OfflinePolicy, DecidedBy::OfflinePolicy, DecidedBy::Box], "{offline:?}");
        }
    }
}

#[test]
fn all_may_come_in_but_not_by_a_revoked_card_or_a_wrong_code() {
    let policy = GatePolicy { offline: Offline::AllowAllIn, ..core_policy() };
    let mut bench = Bench::with(policy, vec![plate_credential("京A12345", "p-1")]);
    bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(plate_id("京A12345"))]).unwrap();
    bench.mode = Mode::Degraded;
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "revoked");
    assert_eq!(bench.reason("entry", In, code("123456")), "bad_code");
    assert_eq!(bench.reason("exit", Out, plate("京B99999")), "unknown_credential");
}

#[test]
fn a_local_gate_falls_back_when_credentials_are_old_or_missing_or_the_clock_is_unset() {
    let policy = GatePolicy { offline: Offline::GuardOnly, ..GatePolicy::default() };
    let credentials = vec![plate_credential("京A12345", "p-1")];
    let mut bench = Bench::with(policy.clone(), credentials.clone());
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "granted");
    bench.wait(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "guard_only", "too old by the gate's measure");
    let mut bench = Bench::with(policy.clone(), credentials);
    bench.now.trust = Trust::Unset;
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "guard_only");
    assert_eq!(Bench::new(policy).reason("entry", In, plate("京A12345")), "guard_only");
}

#[test]
fn with_an_unset_clock_the_known_pass_without_dates_and_visitors_do_not() {
    let later = Credential { from: Some(u32::MAX - 1), ..plate_credential("京A11111", "p-1") };
    let visitor = Credential { class: HolderClass::Visitor, ..plate_credential("京A22222", "p-2") };
    let once = Credential { flags: vec![Flag::Once], ..plate_credential("京A33333", "p-3") };
    let mut bench = Bench::with(GatePolicy::default(), vec![later, visitor, once]);
    bench.now.trust = Trust::Unset;
    let reasons = ["京A11111", "京A22222", "京A33333"].map(|text| bench.reason("entry", In, plate(text)));
    assert_eq!(reasons, ["granted", "time_unknown", "time_unknown"]);
}

#[test]
fn an_unpaid_car_at_the_exit_during_an_outage_goes_as_the_policy_says() {
    for (unpaid_exit, reason, unpaid) in [
        (None, "unknown_credential", false),
        (Some(UnpaidExit::Open), "granted", false),
        (Some(UnpaidExit::Refuse), "unpaid", false),
        (Some(UnpaidExit::OpenAndRecord), "granted", true),
    ] {
        let mut bench =
            Bench::with(GatePolicy { unpaid_exit, ..core_policy() }, vec![plate_credential("京A12345", "p-1")]);
        bench.mode = Mode::Degraded;
        let verdict = bench.decide("exit", Out, plate("京B99999"));
        assert_eq!((verdict.reason.as_str(), verdict.facts.contains_key("unpaid")), (reason, unpaid));
        bench.pass(&verdict, Some(true));
        let told: Vec<_> = bench.conditions.iter().map(|c| (c.id.to_string(), c.active)).collect();
        let expected = [("unpaid_exit/exit".to_owned(), Some(true)), ("unpaid_exit/exit".to_owned(), Some(false))];
        assert_eq!(told, if unpaid { expected.to_vec() } else { Vec::new() });
        assert!(
            !bench.decide("exit", Out, plate("京A12345")).facts.contains_key("unpaid"),
            "a resident pays otherwise"
        );
        assert_eq!(bench.reason("entry", In, plate("京B99999")), "unknown_credential", "it is about leaving only");
    }
}

#[test]
fn a_flood_of_questions_is_decided_on_the_box() {
    let mut bench = Bench::with(core_policy(), vec![]);
    for n in 0..70 {
        bench.present("entry", In, plate(&format!("京A{n:05}")));
    }
    assert_eq!((bench.asks.len(), bench.verdicts.len(), bench.access.view().stats.unasked), (64, 6, 6));
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.verdicts.len(), 70);
}
