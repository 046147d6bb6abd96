//! Stories of a month's account.

use super::*;

fn month(rig: &Rig) -> super::super::statement::Statement {
    statement(&rig.books(), &shanghai(), "2026-12", None).unwrap()
}

/// A box that read its meters through December; each used 10.00 a day.
fn december(meters: Vec<MeterSpec>) -> Rig {
    let count = u32::try_from(meters.len()).unwrap();
    let mut rig = Rig::new(meters, vec![daily(count)]);
    for day in 1..=32u32 {
        let (year, month, of) = if day == 32 { (2027, 1, 1) } else { (2026, 12, day) };
        (0..count).for_each(|meter| rig.show(meter, &format!("{}.00", 1000 * (meter + 1) + 10 * day)));
        rig.run_until(at(&format!("{year}-{month:02}-{of:02}T00:05:00")));
    }
    rig
}

#[test]
fn a_whole_month_is_one_segment_times_its_ratio() {
    let rig = december(vec![meter(0)]);
    let account = month(&rig);
    let line = &account.lines[0];
    assert_eq!(line.segments.len(), 1);
    assert_eq!((line.segments[0].counted, line.consumption), (Some(dec("310.00")), Some(dec("9300.00"))));
    assert_eq!((line.segments[0].opening.source(), line.skew_s), (Some(Source::Live), Some(0)));
    assert_eq!((account.complete, account.gaps), ((31, 31), vec![]));
}

#[test]
fn a_missing_settlement_gives_no_consumption_but_its_reason_and_a_person_can_give_it() {
    let mut rig = Rig::new(vec![meter(0)], vec![daily(1)]);
    rig.real.get_mut(&DeviceIx(0)).unwrap().energy = Err(NoData::Timeout);
    rig.run_until(at("2026-12-01T03:00:00"));
    rig.show(0, "150.00");
    rig.run_until(at("2027-01-01T03:00:00"));
    let account = month(&rig);
    assert_eq!((account.lines[0].consumption, account.complete), (None, (31, 30)));
    assert_eq!(account.lines[0].segments[0].why, "opening: timeout");
    assert_eq!((&*account.gaps[0].day, &*account.gaps[0].why), ("2026-12-01", "timeout"));
    let entry = Entry {
        point: "energy".to_owned(),
        value: "100.00".to_owned(),
        who: "Li".to_owned(),
        reason: "read from the display".to_owned(),
        day: Some("2026-12-01".to_owned()),
        reading: Some("daily".to_owned()),
    };
    rig.billing.enter(rig.now, "meter-0", &entry, "uid:0").unwrap();
    rig.follow();
    let account = month(&rig);
    assert_eq!((account.lines[0].consumption, account.complete), (Some(dec("1500.00")), (31, 31)));
    assert_eq!(account.lines[0].segments[0].opening.source(), Some(Source::Manual));
}

#[test]
fn nothing_is_reckoned_across_what_is_flagged() {
    let mut rig = Rig::new(vec![meter(0)], vec![daily(1)]);
    rig.show(0, "500.00");
    rig.run_until(at("2026-12-15T00:05:00"));
    rig.show(0, "2.00");
    rig.run_until(at("2027-01-01T03:00:00"));
    let account = month(&rig);
    assert_eq!((account.lines[0].consumption, &*account.lines[0].segments[0].why), (None, "flagged: reset"));
    assert_eq!(account.lines[0].segments[0].flags(), [Flag::Reset, Flag::Swapped][..1]);
}

#[test]
fn what_was_before_the_first_record_of_a_meter_has_no_ratio_and_is_said_to_have_none() {
    let plain = MeterSpec { serial: None, multiplier: None, ..meter(0) };
    let mut rig = Rig::new(vec![plain], vec![daily(1)]);
    rig.run_until(at("2026-12-10T09:00:00"));
    rig.setup.meters[0].multiplier = Some(dec("30"));
    rig.restart(rig.now.wall, Trust::Synchronised);
    rig.poll(0, "100.00");
    rig.show(0, "110.00");
    rig.run_until(at("2027-01-01T03:00:00"));
    let line = &month(&rig).lines[0];
    let why: Vec<&str> = line.segments.iter().map(|segment| segment.why.as_str()).collect();
    assert_eq!((why, line.consumption), (vec!["closing: no_installation", ""], None));
    assert_eq!(line.segments[1].consumption, Some(dec("300.00")));
}

#[test]
fn a_master_less_its_submeters_is_told_with_the_skew_and_not_at_all_where_one_is_missing() {
    let rig = december(vec![MeterSpec { multiplier: Some(dec("100")), ..meter(0) }, meter(1), meter(2)]);
    let mut books = rig.books();
    let of = |meter: u32| (format!("meter-{meter}"), "energy".to_owned());
    books.balances = vec![
        BalanceBook { id: "house".to_owned(), master: of(0), submeters: vec![of(1), of(2)] },
        BalanceBook { id: "lift".to_owned(), master: of(0), submeters: vec![of(1), of(7)] },
    ];
    let account = statement(&books, &shanghai(), "2026-12", None).unwrap();
    let [house, lift] = &account.balances[..] else { panic!("two") };
    assert_eq!(
        (house.master, house.submeters, house.shared),
        (Some(dec("31000.00")), Some(dec("18600.00")), Some(dec("12400.00")))
    );
    assert_eq!((house.skew_s, house.missing.len()), (Some(2), 0), "one after the other");
    assert_eq!((lift.shared, lift.missing.as_slice()), (None, &["meter-7/energy".to_owned()][..]));
}

#[test]
fn a_month_that_is_not_over_has_no_closing_and_counts_only_what_was_due() {
    let mut rig = Rig::new(vec![meter(0)], vec![daily(1)]);
    rig.run_until(at("2026-12-10T09:00:00"));
    let account = month(&rig);
    assert_eq!((account.complete, &*account.lines[0].segments[0].why), ((10, 10), "closing: not_due_yet"));
    assert!(statement(&rig.books(), &shanghai(), "2026-13", None).is_err());
    assert!(statement(&rig.books(), &shanghai(), "2026-1", None).is_err());
}
