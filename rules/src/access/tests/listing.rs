//! What a controller is to have on its list, and that the numbers for it are seen nowhere else.

use gatehouse_core::{CardNumber, ListedCard, LocalTime};

use super::*;

/// Facility 7 and this number, as controllers write it.
fn number(card: u64) -> CardNumber {
    CardNumber::new(u32::try_from(700_000 + card).unwrap()).unwrap()
}

/// A resident's card with its number.
fn listed(card: u64) -> Credential {
    Credential { number: Some(number(card)), ..credential(card_id(card), CredentialKind::Card, &format!("p-{card}")) }
}

const LOBBY: Doors<'_> = [Some("lobby"), None, None, None];
const GARAGE: Doors<'_> = [Some("entry"), None, Some("exit"), None];

fn day(year: u16, month: u8, day: u8) -> LocalTime {
    LocalTime::new(year, month, day, 0, 0, 0).unwrap()
}

/// Anti-passback off and no quotas: a list can say it all.
fn plain(credentials: Vec<Credential>) -> Bench {
    let mut bench = Bench::new(GatePolicy { anti_passback: AntiPassback::Soft, ..GatePolicy::default() });
    let header = Header { quotas: Some(BTreeMap::new()), ..header(1, None) };
    bench.snapshot(&header, credentials.into_iter().map(Change::Put).collect()).unwrap();
    bench.write_image();
    bench
}

fn cards(bench: &Bench, doors: &Doors<'_>) -> Vec<ListedCard> {
    bench.access.listing(&bench.now, doors).unwrap().cards.clone()
}

fn missing(bench: &Bench, doors: &Doors<'_>) -> Vec<(Inexpressible, u32)> {
    bench.access.listing(&bench.now, doors).unwrap().not_expressible.clone().into_iter().collect()
}

#[test]
fn a_list_has_the_cards_that_open_its_gates_with_their_doors() {
    let lobby = Credential { gates: vec!["lobby".to_owned()], groups: Vec::new(), ..listed(2) };
    let mut bench = plain(vec![listed(1), lobby, plate_credential("京A12345", "p-3")]);
    let always = |card, doors| ListedCard {
        number: number(card),
        from: Some(day(2000, 1, 1)),
        until: Some(day(2099, 12, 31)),
        doors,
        pin: 0,
        first_card: 0,
    };
    assert_eq!(cards(&bench, &GARAGE), [always(1, [1, 0, 1, 0])]);
    assert_eq!(cards(&bench, &LOBBY), [always(2, [1, 0, 0, 0])]);
    assert_eq!(missing(&bench, &GARAGE), []);
    bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(card_id(1)), Change::Remove(card_id(2))]).unwrap();
    assert_eq!((cards(&bench, &GARAGE), cards(&bench, &LOBBY)), (vec![], vec![]));
}

#[test]
fn a_number_outlives_restarts_under_seal_and_is_seen_nowhere() {
    let mut bench = plain(vec![listed(54_412)]);
    bench.snapshot(&header(2, Some(1)), vec![Change::Put(listed(54_413))]).unwrap();
    let image = bench.access.image().unwrap();
    let verified = Snapshot::verify(
        &Snapshot::sign(&header(3, Some(2)), [Change::Put(listed(54_412))], &core_key()),
        &bench.access.expected(),
    );
    let listing = bench.access.listing(&bench.now, &GARAGE).unwrap();
    let printed = format!("{:?} {image:?} {verified:?} {listing:?} {:?}", bench.access, bench.access.view());
    let file = bench.file.clone().unwrap();
    for card in [54_412, 54_413] {
        let digits = number(card).reveal().to_string();
        assert!(!printed.contains(&digits), "{digits} is printed");
        let on_disk = bench.kept.values().chain([&file]);
        for bytes in on_disk {
            let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!has(digits.as_bytes()) && !has(&number(card).reveal().to_le_bytes()), "{digits} lies open");
        }
        let told = format!("{:?}", bench.events);
        assert!(!told.contains(&digits), "{told}");
    }
    bench.reboot();
    let numbers: Vec<CardNumber> = cards(&bench, &GARAGE).iter().map(|card| card.number).collect();
    assert_eq!(numbers, [number(54_412), number(54_413)], "one from the image, one from the journal");
    bench.write_image();
    bench.reboot();
    assert_eq!(cards(&bench, &GARAGE).len(), 2, "both from the image");
}

#[test]
fn what_a_list_cannot_say_is_left_out_and_counted() {
    let with = |change: fn(&mut Credential)| {
        let mut credential = listed(1);
        change(&mut credential);
        let bench = plain(vec![credential]);
        (cards(&bench, &GARAGE).len(), missing(&bench, &GARAGE))
    };
    let out = |why| (0, vec![(why, 1)]);
    assert_eq!(with(|c| c.flags = vec![Flag::NeedsPin]), out(Inexpressible::NeedsPin));
    assert_eq!(with(|c| c.flags = vec![Flag::Once]), out(Inexpressible::Once));
    assert_eq!(with(|c| c.schedule = "work".to_owned()), out(Inexpressible::Schedule));
    assert_eq!(with(|c| c.until = Some(seconds(NOON + 3600))), out(Inexpressible::PartOfADay));
    assert_eq!(with(|c| c.until = Some(seconds(NOON))), (0, vec![]), "it is over");
    let brigade = |c: &mut Credential| {
        c.flags = vec![Flag::Emergency];
        c.schedule = "work".to_owned();
    };
    assert_eq!(with(brigade), (1, vec![]), "no hours hold for it");
    let bench = plain(vec![listed(1), Credential { number: None, ..listed(2) }]);
    assert_eq!((cards(&bench, &GARAGE).len(), missing(&bench, &GARAGE)), (1, vec![(Inexpressible::NoNumber, 1)]));
}

#[test]
fn a_gate_that_asks_for_more_than_a_valid_card_is_left_out_of_its_doors() {
    let hard = GatePolicy { anti_passback: AntiPassback::Hard, ..GatePolicy::default() };
    let both = Credential { gates: vec!["lobby".to_owned()], ..listed(1) };
    let exempt = Credential { flags: vec![Flag::AntiPassbackExempt], ..listed(2) };
    let all = [Some("lobby"), Some("entry"), None, None];
    let doors = |bench: &Bench| cards(bench, &all).iter().map(|card| card.doors).collect::<Vec<_>>();
    let bench = Bench::with(hard, vec![both.clone(), exempt]);
    assert_eq!(doors(&bench), [[1, 0, 0, 0], [0, 1, 0, 0]], "the lobby leads into no zone");
    assert_eq!(missing(&bench, &all), [(Inexpressible::AntiPassback, 1)]);

    let household = Credential { household: "h-1".to_owned(), ..both.clone() };
    let bench = Bench::with(GatePolicy::default(), vec![household]);
    assert_eq!((doors(&bench), missing(&bench, &all)), (vec![[1, 0, 0, 0]], vec![(Inexpressible::Quota, 1)]));

    let bench = plain(vec![both]).with_capacity(100);
    assert_eq!((doors(&bench), missing(&bench, &all)), (vec![[1, 0, 0, 0]], vec![(Inexpressible::Capacity, 1)]));
}

#[test]
fn days_are_whole_and_the_day_of_the_beginning_counts_once_it_has_begun() {
    let days = |from: i64, until: i64, now: i64| {
        let credential = Credential { from: Some(seconds(from)), until: Some(seconds(until)), ..listed(1) };
        let mut bench = plain(vec![credential]);
        bench.now.wall = Wall(now * 1_000_000);
        cards(&bench, &GARAGE).first().map(|card| (card.from.unwrap().day, card.until.unwrap().day))
    };
    let midnight = NOON - 12 * 3600;
    let on = |day: i64, hour: i64| midnight + (day - 4) * 86_400 + hour * 3600;
    // Monday is 4 January 2027.
    assert_eq!(days(on(6, 0), on(9, 0), NOON), Some((6, 8)), "from midnight to midnight");
    assert_eq!(days(on(6, 10), on(9, 18), NOON), Some((7, 8)), "only whole days while it has not begun");
    assert_eq!(days(on(6, 10), on(9, 18), on(6, 10)), Some((6, 8)), "it has begun");
    assert_eq!(days(on(6, 10), on(9, 18), on(9, 1)), None, "its last day is no whole one");
    assert_eq!(days(on(6, 10), on(6, 18), on(6, 11)), None);
}

#[test]
fn a_list_is_made_anew_when_a_card_begins_or_ends_or_the_credentials_are_too_old() {
    let later = Credential { from: Some(seconds(NOON + 7200)), until: Some(seconds(NOON + 200_000)), ..listed(1) };
    let mut bench = plain(vec![later]);
    let turn = |bench: &Bench| bench.access.listing(&bench.now, &GARAGE).unwrap().until.0 / 1_000_000 - NOON;
    assert_eq!(turn(&bench), 7200);
    bench.now.wall.0 += 7200 * 1_000_000;
    assert_eq!(turn(&bench), 200_000);
    bench.now.wall.0 += 200_000 * 1_000_000;
    assert_eq!(turn(&bench), 7 * 86_400 - 3600, "the gates' own limit is nearer than the snapshot's");
}

#[test]
fn nothing_is_said_of_a_list_without_credentials_that_hold() {
    let mut bench = plain(vec![listed(1)]);
    let unsaid = |bench: &Bench| bench.access.listing(&bench.now, &GARAGE).err();
    assert_eq!(unsaid(&Bench::new(GatePolicy::default())), Some(Unsaid::NoCredentials));
    bench.now.trust = Trust::Unset;
    assert_eq!(unsaid(&bench), Some(Unsaid::ClockUnset));
    bench.now.trust = Trust::FreeRunning;
    assert_eq!(unsaid(&bench), None);
    bench.now.wall.0 += 7 * 86_400 * 1_000_000;
    assert_eq!(unsaid(&bench), Some(Unsaid::TooOld));
    bench.file = None;
    bench.restart();
    assert_eq!(unsaid(&bench), Some(Unsaid::NoCredentials), "an image that is lost empties no list");
    let without = Credential { number: None, ..listed(1) };
    assert_eq!(unsaid(&plain(vec![without])), Some(Unsaid::NoNumbers), "nor does a core that sends no numbers");
    assert_eq!(unsaid(&plain(vec![])), None, "that nobody may pass is a word");
}

#[test]
fn of_two_credentials_with_one_number_the_one_that_records_name_counts() {
    let of_hash = |id: CredentialId| Credential { id, ..listed(1) };
    let ids: Vec<CredentialId> = lookup().cards_of_controller(number(1)).collect();
    assert_eq!(ids[0], card_id(1));
    let mut bench = plain(vec![of_hash(ids[0]), of_hash(ids[1])]);
    assert_eq!((cards(&bench, &GARAGE).len(), missing(&bench, &GARAGE)), (1, vec![(Inexpressible::NumberTwice, 1)]));
    assert_eq!(bench.access.card_of_controller(number(1)).0, Some(ids[0]));
    // The first is revoked: the second does not open in its place.
    bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(ids[0])]).unwrap();
    assert_eq!((cards(&bench, &GARAGE).len(), missing(&bench, &GARAGE)), (0, vec![(Inexpressible::NumberTwice, 1)]));
}

#[test]
fn a_card_that_is_listed_by_one_of_two_credentials_only_is_seen_as_one_card_all_the_same() {
    let ids: Vec<CredentialId> = lookup().cards_of_controller(number(1)).collect();
    let with_number = Credential { id: ids[1], ..listed(1) };
    let without = Credential { id: ids[0], number: None, ..listed(1) };
    let mut bench = plain(vec![without, with_number.clone(), listed(2)]);
    let numbers = |bench: &Bench| cards(bench, &GARAGE).iter().map(|card| card.number).collect::<Vec<_>>();
    assert_eq!(numbers(&bench), [number(2)], "records would name the one of which the core sent no number");
    let twice = [(Inexpressible::NoNumber, 1), (Inexpressible::NumberTwice, 1)];
    assert_eq!(missing(&bench, &GARAGE), twice);
    bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(ids[0])]).unwrap();
    assert_eq!(numbers(&bench), [number(2)], "the card was revoked under its other hash");
    bench.snapshot(&header(3, Some(2)), vec![Change::Remove(ids[0])]).unwrap();
    assert_eq!(numbers(&bench), [number(1), number(2)]);
    // A revocation of what the box never had.
    bench.snapshot(&header(4, Some(3)), vec![Change::Revoke(ids[0])]).unwrap();
    assert_eq!(numbers(&bench), [number(2)]);
}

#[test]
fn a_listing_tells_the_numbers_of_cards_that_ended_and_are_not_listed_under_another_credential() {
    let ids: Vec<CredentialId> = lookup().cards_of_controller(number(1)).collect();
    let over = Credential { until: Some(seconds(NOON)), ..listed(3) };
    let second = Credential { id: ids[1], ..listed(1) };
    let mut bench = plain(vec![listed(1), second, over, listed(4), listed(5), listed(6)]);
    let ended = |bench: &Bench| bench.access.listing(&bench.now, &GARAGE).unwrap().ended.clone();
    assert_eq!(ended(&bench), [number(3)]);
    let revoked = [ids[1], card_id(4), card_id(5)].map(Change::Revoke).to_vec();
    bench.snapshot(&header(2, Some(1)), revoked).unwrap();
    bench.snapshot(&header(3, Some(2)), vec![Change::Remove(card_id(6))]).unwrap();
    bench.reboot();
    assert_eq!(
        ended(&bench),
        [number(4), number(5), number(3)],
        "the second hash of card 1 does not take the first away"
    );
    let many = (10..1100).map(|card| Credential { until: Some(seconds(NOON)), ..listed(card) });
    let bench = plain(many.chain([listed(1)]).collect());
    assert_eq!(ended(&bench).len(), 1000);
}

#[test]
fn a_snapshot_with_the_number_of_another_card_or_of_none_is_refused() {
    let bench = Bench::new(GatePolicy::default());
    let refused = |base: Option<u64>, change: Change| {
        let text = Snapshot::sign(&header(2, base), [change], &core_key());
        Snapshot::verify(&text, &bench.access.expected()).unwrap_err()
    };
    let other = || Change::Put(Credential { number: Some(number(2)), ..listed(1) });
    for base in [None, Some(1)] {
        assert_eq!(refused(base, other()), SnapshotError::OtherNumber(card_id(1)));
    }
    let plate = Credential { number: Some(number(1)), ..plate_credential("京A12345", "p-1") };
    let why = refused(None, Change::Put(plate)).to_string();
    assert_eq!(why, "line 2: `number` is the number of a card, and this is of the kind plate");
    for number in ["0", "4294967295", "70054412000", "\"700001\""] {
        let text = String::from_utf8(Snapshot::sign(&header(2, None), [Change::Put(listed(1))], &core_key())).unwrap();
        let body = text.replace("\"number\":700001", &format!("\"number\":{number}"));
        let signed = body.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
        let signature: String =
            core_key().sign(signed.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let text = format!("{signed}{{\"signature\":\"{signature}\"}}\n");
        let why = Snapshot::verify(text.as_bytes(), &bench.access.expected()).unwrap_err().to_string();
        assert!(why.starts_with("line 2: `number` is a whole number of 1 to 4294967294"), "{why}");
        assert!(!why.contains("54412"), "{why}");
    }
}
