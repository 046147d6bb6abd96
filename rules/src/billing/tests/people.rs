//! Stories of swaps and of readings that people enter.

use super::*;

fn swap(serial: &str) -> Swap {
    Swap {
        who: "Wang".to_owned(),
        reason: "broken display".to_owned(),
        serial: serial.to_owned(),
        multiplier: None,
        closing: BTreeMap::new(),
        opening: BTreeMap::new(),
    }
}

fn given(value: &str) -> BTreeMap<String, Given> {
    BTreeMap::from([("energy".to_owned(), Given { value: dec(value), live: true })])
}

#[test]
fn the_site_file_begins_the_history_once_and_the_first_reading_opens_it() {
    let mut rig = Rig::new(vec![meter(0)], Vec::new());
    rig.poll(0, "100.00");
    let one = rig.billing.installations(DeviceIx(0)).unwrap()[0].clone();
    assert_eq!((one.version, &*one.serial, one.multiplier, &*one.by), (1, "1001", dec("30"), "site_file"));
    assert_eq!(one.opening["energy"].value, dec("100.00"));
    let told: Vec<_> = rig.events.iter().map(|(kind, json)| (*kind, json["revision"].as_u64().unwrap())).collect();
    assert_eq!(told, [("meter_installation", 1), ("meter_installation", 2)]);

    // The file is changed afterwards: the record stays, and the difference is told.
    rig.setup.meters[0].multiplier = Some(dec("40"));
    rig.restart(rig.now.wall, Trust::Synchronised);
    assert_eq!(rig.billing.installations(DeviceIx(0)).unwrap().len(), 1);
    assert!(rig.raised("meter_record/meter-0"));
}

#[test]
fn a_swap_closes_one_segment_and_opens_the_next() {
    let mut rig = Rig::new(vec![meter(0)], Vec::new());
    rig.poll(0, "100.00");
    rig.minutes(60);
    let swap =
        Swap { closing: given("130.00"), opening: given("7.00"), multiplier: Some("40".to_owned()), ..swap("2002") };
    let new = rig.billing.swap(rig.now, "meter-0", &swap, "uid:0").unwrap().clone();
    rig.follow();
    assert_eq!((new.version, new.multiplier, &*new.by), (2, dec("40"), "Wang (uid:0)"));
    let history = rig.billing.installations(DeviceIx(0)).unwrap();
    assert_eq!(history[0].closing["energy"].value, dec("130.00"));
    assert_eq!(history[0].to, Some(history[1].from));
    assert_eq!(rig.poll(0, "7.10"), [], "the new meter goes on from its opening");
    assert_eq!(rig.poll(0, "6.90"), [Flag::Regression]);
    rig.restart(rig.now.wall, Trust::Synchronised);
    assert_eq!(rig.billing.installations(DeviceIx(0)).unwrap().len(), 2, "both are kept");
}

#[test]
fn what_nobody_read_closes_with_what_was_read_last_and_opens_with_what_is_read_first() {
    let mut rig = Rig::new(vec![meter(0)], Vec::new());
    rig.poll(0, "100.00");
    let before = rig.now.wall;
    rig.minutes(30);
    rig.billing.swap(rig.now, "meter-0", &swap("2002"), "uid:0").unwrap();
    rig.follow();
    let old = rig.billing.installations(DeviceIx(0)).unwrap()[0].closing["energy"].clone();
    assert_eq!((old.value, old.source, old.at_us), (dec("100.00"), Source::Last, Some(before.0)));
    assert_eq!(rig.poll(0, "3.00"), []);
    let new = &rig.billing.installations(DeviceIx(0)).unwrap()[1];
    assert_eq!((new.opening["energy"].value, new.opening["energy"].source), (dec("3.00"), Source::Live));
}

#[test]
fn another_ratio_of_the_same_meter_goes_on_where_it_stands() {
    let mut rig = Rig::new(vec![meter(0)], Vec::new());
    rig.poll(0, "100.00");
    let change = Swap { multiplier: Some("40".to_owned()), closing: given("101.00"), ..swap("1001") };
    rig.billing.swap(rig.now, "meter-0", &change, "uid:0").unwrap();
    rig.follow();
    let history = rig.billing.installations(DeviceIx(0)).unwrap();
    assert_eq!(history[1].opening["energy"].value, dec("101.00"));
    assert_eq!(rig.poll(0, "100.50"), [Flag::Regression]);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut rig = Rig::new(vec![meter(0)], Vec::new());
    rig.poll(0, "100.00");
    let mut stacked = meter(0);
    (stacked.ratio_in_scale, stacked.multiplier) = (true, None);
    let before = rig.journal.clone();
    let why = |rig: &mut Rig, swap: &Swap| rig.billing.swap(rig.now, "meter-0", swap, "x").unwrap_err().code();
    assert_eq!(why(&mut rig, &swap("1001")), "unchanged");
    assert_eq!(why(&mut rig, &Swap { who: " ".to_owned(), ..swap("2") }), "bad_text");
    assert_eq!(why(&mut rig, &Swap { multiplier: Some("0".to_owned()), ..swap("2") }), "bad_multiplier");
    assert_eq!(why(&mut rig, &Swap { multiplier: Some("3x".to_owned()), ..swap("2") }), "bad_value");
    let other = BTreeMap::from([("voltage".to_owned(), Given { value: dec("1"), live: false })]);
    assert_eq!(why(&mut rig, &Swap { opening: other, ..swap("2") }), "unknown_point");
    rig.now.trust = Trust::Unset;
    assert_eq!(why(&mut rig, &swap("2")), "time_unknown");
    rig.follow();
    assert_eq!(rig.journal, before);
    let mut rig = Rig::new(vec![stacked], Vec::new());
    assert_eq!(why(&mut rig, &Swap { multiplier: Some("30".to_owned()), ..swap("2") }), "stacked_ratio");
}

#[test]
fn a_reading_by_hand_is_kept_beside_what_the_box_has() {
    let mut rig = Rig::new(vec![meter(0)], vec![daily(1)]);
    rig.poll(0, "100.00");
    let entry = |point: &str, day: &str| Entry {
        point: point.to_owned(),
        value: "99.50".to_owned(),
        who: "Li".to_owned(),
        reason: "line was cut".to_owned(),
        day: Some(day.to_owned()),
        reading: Some("daily".to_owned()),
    };
    let entered = rig.billing.enter(rig.now, "meter-0", &entry("energy", "2026-11-20"), "uid:0").unwrap();
    rig.follow();
    assert_eq!(entered.values["energy"].source, Source::Manual);
    assert_eq!((entered.by.as_deref(), entered.due_us), (Some("Li (uid:0)"), at("2026-11-20T00:00:00").0));
    assert!(rig.journal.contains_key(&entered.key()));
    assert!(entered.key().starts_with("reading/2026-11-20/daily/meter-0/manual-"));
    let why = |rig: &mut Rig, entry: &Entry| rig.billing.enter(rig.now, "meter-0", entry, "x").unwrap_err().code();
    assert_eq!(why(&mut rig, &entry("energy", "2026-11-21")), "bad_day", "it is to come");
    assert_eq!(why(&mut rig, &entry("energy_t9", "2026-11-20")), "unknown_point");
}
