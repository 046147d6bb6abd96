//! Stories of readings at fixed times: live, frozen, recalled, missed, and with a clock that nobody believes.

use super::*;

#[test]
fn a_meter_without_freezes_is_read_live_with_the_skew_told() {
    let mut rig = Rig::new(vec![meter(0), meter(1)], vec![daily(2)]);
    rig.show(0, "111.00");
    rig.show(1, "222.00");
    rig.run_until(at("2026-11-21T00:00:30"));
    assert_eq!(rig.value("2026-11-21", 0), Some(("111.00".to_owned(), Source::Live)));
    let second = rig.kept("2026-11-21", 1).unwrap();
    assert_eq!((second.values["energy"].value, second.skew_s), (dec("222.00"), Some(1)), "one after the other");
    assert_eq!(second.installation, Some(1));
    assert_eq!(rig.billing.owed(), 0);
    rig.run_until(at("2026-11-22T00:01:00"));
    assert!(rig.value("2026-11-22", 0).is_some() && rig.asked.len() == 4, "once a day");
}

#[test]
fn the_freeze_of_that_midnight_goes_first_and_tells_the_clock_s_offset() {
    let mut rig = Rig::new(vec![freezing(0)], vec![daily(1)]);
    rig.freeze(0, "2026-11-21", "110.00");
    rig.show(0, "110.02");
    rig.real.get_mut(&DeviceIx(0)).unwrap().clock = Some("2026-11-21T00:00:41".to_owned());
    rig.run_until(at("2026-11-21T00:05:00"));
    let reading = rig.kept("2026-11-21", 0).unwrap();
    assert_eq!((reading.values["energy"].value, reading.values["energy"].source), (dec("110.00"), Source::Freeze));
    assert_eq!((reading.skew_s, reading.clock_offset_s), (Some(0), Some(40)));
}

#[test]
fn a_freeze_of_another_day_is_never_taken_for_this_one() {
    let mut rig = Rig::new(vec![freezing(0)], vec![daily(1)]);
    rig.freeze(0, "2026-11-19", "90.00");
    rig.show(0, "110.02");
    rig.run_until(at("2026-11-21T12:00:00"));
    assert_eq!(rig.value("2026-11-21", 0), Some(("110.02".to_owned(), Source::Live)), "the live one stands in");
}

#[test]
fn a_week_without_the_box_is_fetched_from_the_meters_within_the_hour_at_a_pace() {
    let mut rig = Rig::new((0..32).map(freezing).collect(), vec![daily(32)]);
    rig.run_until(at("2026-11-20T13:00:00"));
    for day in 21..=27 {
        (0..32).for_each(|meter| rig.freeze(meter, &format!("2026-11-{day}"), &format!("{}.00", 100 + day)));
    }
    (0..32).for_each(|meter| rig.show(meter, "130.00"));
    rig.asked.clear();
    rig.restart(at("2026-11-27T09:30:00"), Trust::Synchronised);
    rig.run_until(at("2026-11-27T10:30:00"));
    for meter in 0..32 {
        for day in 21..=27 {
            let value = rig.value(&format!("2026-11-{day}"), meter);
            assert_eq!(value, Some((format!("{}.00", 100 + day), Source::Recalled)));
        }
    }
    assert_eq!((rig.billing.owed(), rig.asked.len()), (0, 224));
    let gaps = rig.asked.windows(2).map(|pair| pair[1].0.since(pair[0].0));
    assert!(gaps.min().unwrap() >= super::super::fetch::PACE, "there is room for the polls between");
    assert!(!rig.raised("reading_missed/meter-0"));
}

#[test]
fn a_midnight_that_is_missed_is_a_gap_with_its_reason_until_a_freeze_fills_it() {
    let mut rig = Rig::new(vec![freezing(0), meter(1)], vec![daily(2)]);
    for meter in [0, 1] {
        rig.real.get_mut(&DeviceIx(meter)).unwrap().energy = Err(NoData::Timeout);
    }
    rig.run_until(at("2026-11-21T02:00:00"));
    assert_eq!(rig.why("2026-11-21", 0), Some("timeout".to_owned()));
    assert_eq!(rig.why("2026-11-21", 1), Some("timeout".to_owned()));
    assert!(rig.raised("reading_missed/meter-0") && rig.raised("reading_missed/meter-1"));
    rig.freeze(0, "2026-11-21", "105.00");
    rig.show(0, "106.00");
    rig.show(1, "206.00");
    rig.run_until(at("2026-11-21T12:00:00"));
    assert_eq!(rig.value("2026-11-21", 0), Some(("105.00".to_owned(), Source::Recalled)));
    assert_eq!(rig.value("2026-11-21", 1), None, "a value of noon is none of midnight");
    assert!(!rig.raised("reading_missed/meter-0"));
}

#[test]
fn without_a_clock_nothing_is_read_for_a_day_and_what_was_due_is_told_once_the_time_is_known() {
    let mut rig = Rig::new(vec![meter(0), freezing(1)], vec![daily(2)]);
    rig.run_until(at("2026-11-20T13:00:00"));
    rig.restart(at("1970-01-05T00:00:00"), Trust::Unset);
    rig.asked.clear();
    rig.run_until(at("1970-01-08T12:00:00"));
    assert!(rig.asked.is_empty() && rig.journal.keys().all(|key| !key.starts_with("reading/")));
    // The clock comes to be known: it is the 23rd, and the freezes are there.
    for day in 21..=23 {
        rig.freeze(1, &format!("2026-11-{day}"), &format!("{day}.00"));
    }
    (rig.now.wall, rig.now.trust) = (at("2026-11-23T12:00:00"), Trust::Synchronised);
    rig.billing.handle_timeout(rig.now);
    rig.follow();
    rig.run_until(at("2026-11-23T12:10:00"));
    assert_eq!(rig.why("2026-11-22", 0), Some("box_off".to_owned()));
    assert_eq!(rig.value("2026-11-22", 1), Some(("22.00".to_owned(), Source::Recalled)));
    assert_eq!(rig.kept("1970-01-06", 0), None);
}

#[test]
fn a_meter_that_was_swapped_meanwhile_gives_no_freezes_of_the_one_before() {
    let mut rig = Rig::new(vec![freezing(0)], vec![daily(1)]);
    rig.poll(0, "100.00");
    rig.real.get_mut(&DeviceIx(0)).unwrap().energy = Err(NoData::Timeout);
    rig.run_until(at("2026-11-22T09:00:00"));
    let swap = Swap {
        who: "Wang".to_owned(),
        reason: "burnt".to_owned(),
        serial: "2002".to_owned(),
        multiplier: None,
        closing: BTreeMap::new(),
        opening: BTreeMap::new(),
    };
    rig.billing.swap(rig.now, "meter-0", &swap, "uid:0").unwrap();
    for day in [21, 22] {
        rig.freeze(0, &format!("2026-11-{day}"), "7777.00");
    }
    rig.show(0, "7778.00");
    rig.run_until(at("2026-11-23T12:00:00"));
    assert_eq!(rig.value("2026-11-21", 0), None);
    assert_eq!(rig.value("2026-11-22", 0), None);
    assert!(rig.value("2026-11-23", 0).is_some());
}

#[test]
fn days_beyond_thirteen_months_are_dropped_the_oldest_first() {
    let mut rig = Rig::new(vec![meter(0)], vec![daily(1)]);
    rig.run_until(Wall(rig.now.wall.0 + 405 * 86_400_000_000));
    let drop = rig.billing.days_to_drop();
    assert_eq!((drop.len(), drop[0].as_str()), (5, "2026-11-21"));
    drop.iter().for_each(|day| rig.billing.handle_dropped(day));
    rig.follow();
    assert_eq!(rig.billing.days_to_drop(), Vec::<String>::new());
    assert!(rig.journal[DAYS].len() < 12 << 10);
}
