//! Stories of freezes that are refused: by a meter that is busy, that does not have this one, or that keeps none.

use super::*;

const ANOTHER_ERROR: ActResult = ActResult::Failed(NoData::Exception(1));

/// A box with one meter that may keep freezes, from the noon of the 20th on.
fn one() -> Rig {
    Rig::new(vec![freezing(0)], vec![daily(1)])
}

fn refuse(rig: &mut Rig, refusal: Option<ActResult>) {
    rig.real.get_mut(&DeviceIx(0)).unwrap().refusal = refusal;
}

fn freeze_days(rig: &mut Rig, month: &str, days: std::ops::RangeInclusive<u32>) {
    days.for_each(|day| rig.freeze(0, &format!("{month}-{day:02}"), &format!("{}.00", 100 + day)));
}

/// Runs to the noon of a day in November, and tells how many freezes were asked for.
fn noon_of(rig: &mut Rig, day: u32) -> usize {
    rig.run_until(at(&format!("2026-11-{day}T12:00:00")));
    rig.freezes_asked()
}

#[test]
fn a_meter_that_is_busy_at_first_gives_each_freeze_of_the_week_later() {
    for refusal in [ANOTHER_ERROR, ActResult::Refused("bus_busy".into()), ActResult::Expired] {
        let mut rig = one();
        rig.run_until(at("2026-11-20T13:00:00"));
        freeze_days(&mut rig, "2026-11", 21..=27);
        refuse(&mut rig, Some(refusal));
        rig.restart(at("2026-11-27T09:30:00"), Trust::Synchronised);
        rig.run_until(at("2026-11-27T09:35:00"));
        assert_eq!((rig.billing.owed(), rig.freezes_asked()), (7, 7), "none is given up");
        refuse(&mut rig, None);
        rig.run_until(at("2026-11-27T09:50:00"));
        for day in 21..=27 {
            let value = rig.value(&format!("2026-11-{day}"), 0);
            assert_eq!(value, Some((format!("{}.00", 100 + day), Source::Recalled)));
        }
    }
}

#[test]
fn a_meter_that_refuses_for_days_for_another_reason_is_still_asked_for_each_midnight() {
    let mut rig = one();
    refuse(&mut rig, Some(ANOTHER_ERROR));
    let asked: Vec<usize> = (21..=25).map(|day| noon_of(&mut rig, day)).collect();
    assert_eq!(asked, [3; 5]);
    assert!((21..=25).all(|day| rig.value(&format!("2026-11-{day}"), 0).is_some()), "the live one stands in");
    refuse(&mut rig, None);
    freeze_days(&mut rig, "2026-11", 26..=26);
    noon_of(&mut rig, 26);
    assert_eq!(rig.value("2026-11-26", 0), Some(("126.00".to_owned(), Source::Freeze)));
}

#[test]
fn a_new_meter_has_no_freeze_of_older_days_and_gives_the_one_that_it_has() {
    let mut rig = one();
    rig.run_until(at("2026-11-20T13:00:00"));
    freeze_days(&mut rig, "2026-11", 27..=27);
    rig.show(0, "130.00");
    rig.asked.clear();
    rig.restart(at("2026-11-27T00:00:20"), Trust::Synchronised);
    assert_eq!(noon_of(&mut rig, 27), 6 * 2 + 1, "what is not there is asked for once more");
    assert_eq!(rig.value("2026-11-27", 0), Some(("127.00".to_owned(), Source::Freeze)));
    for day in 21..=26 {
        assert_eq!(rig.why(&format!("2026-11-{day}"), 0), Some("freeze_not_available".to_owned()));
    }
    assert_eq!(rig.billing.owed(), 0);
}

#[test]
fn a_meter_that_has_no_freeze_on_three_days_is_asked_once_a_day_from_then_on() {
    let mut rig = one();
    let asked: Vec<usize> = (21..=26).map(|day| noon_of(&mut rig, day)).collect();
    assert_eq!(asked, [2, 2, 1, 1, 1, 1]);
    assert!((21..=26).all(|day| rig.value(&format!("2026-11-{day}"), 0).is_some()), "each is read live");
}

#[test]
fn what_a_meter_without_freezes_missed_is_told_after_one_question() {
    let mut rig = one();
    noon_of(&mut rig, 24);
    rig.restart(at("2026-11-29T09:30:00"), Trust::Synchronised);
    assert_eq!(noon_of(&mut rig, 29), 1, "what was learned outlives the start");
    assert_eq!(rig.billing.owed(), 0);
    assert_eq!(rig.why("2026-11-25", 0), Some("box_off".to_owned()));
    assert_eq!(rig.why("2026-11-29", 0), Some("freeze_not_available".to_owned()));
}

#[test]
fn a_meter_that_was_believed_to_keep_no_freezes_gives_those_of_the_week_once_it_has_them() {
    let mut rig = one();
    noon_of(&mut rig, 24);
    freeze_days(&mut rig, "2026-11", 25..=29);
    rig.restart(at("2026-11-29T09:30:00"), Trust::Synchronised);
    assert_eq!(noon_of(&mut rig, 29), 5, "the newest, and then the others");
    for day in 25..=29 {
        let value = rig.value(&format!("2026-11-{day}"), 0);
        assert_eq!(value, Some((format!("{}.00", 100 + day), Source::Recalled)));
    }
    // It takes three days again to believe that they are gone.
    rig.real.get_mut(&DeviceIx(0)).unwrap().frozen.clear();
    rig.run_until(at("2026-12-01T12:00:00"));
    assert_eq!(rig.freezes_asked(), 4);
}

#[test]
fn a_meter_that_is_silent_keeps_what_it_owes_while_it_is_believed_to_have_no_freezes() {
    let mut rig = one();
    noon_of(&mut rig, 24);
    refuse(&mut rig, Some(ActResult::Failed(NoData::Timeout)));
    rig.restart(at("2026-11-27T09:30:00"), Trust::Synchronised);
    rig.run_until(at("2026-11-27T10:30:00"));
    assert_eq!((rig.billing.owed(), rig.why("2026-11-26", 0)), (3, Some("box_off".to_owned())), "told, and still owed");
    refuse(&mut rig, None);
    freeze_days(&mut rig, "2026-11", 25..=27);
    rig.run_until(at("2026-11-27T14:00:00"));
    assert_eq!(rig.value("2026-11-26", 0), Some(("126.00".to_owned(), Source::Recalled)));
    assert_eq!(rig.billing.owed(), 0);
}

#[test]
fn a_swap_ends_what_was_believed_of_the_meter_before_and_another_ratio_does_not() {
    for (serial, asked) in [("2002", 2), ("1001", 1)] {
        let mut rig = one();
        rig.poll(0, "100.00");
        noon_of(&mut rig, 24);
        let swap = Swap {
            who: "Wang".to_owned(),
            reason: "burnt".to_owned(),
            serial: serial.to_owned(),
            multiplier: Some("40".to_owned()),
            closing: BTreeMap::new(),
            opening: BTreeMap::new(),
        };
        rig.billing.swap(rig.now, "meter-0", &swap, "uid:0").unwrap();
        rig.follow();
        rig.restart(at("2026-11-24T18:00:00"), Trust::Synchronised);
        assert_eq!(noon_of(&mut rig, 25), asked, "{serial}");
    }
}

#[test]
fn a_meter_that_an_earlier_version_took_for_one_without_freezes_is_asked_again() {
    let mut rig = one();
    let kept = br#"{"dues":[],"keeps_freezes":false,"shift":0}"#;
    rig.journal.insert("billing/owed/meter-0".to_owned(), kept.to_vec());
    rig.restart(at("2026-11-20T18:00:00"), Trust::Synchronised);
    freeze_days(&mut rig, "2026-11", 21..=21);
    noon_of(&mut rig, 21);
    assert_eq!(rig.value("2026-11-21", 0), Some(("121.00".to_owned(), Source::Freeze)));
}

#[test]
fn a_protocol_without_freezes_is_asked_once_after_each_start() {
    let mut rig = one();
    refuse(&mut rig, Some(ActResult::Refused("unsupported".into())));
    let asked: Vec<usize> = (21..=23).map(|day| noon_of(&mut rig, day)).collect();
    assert_eq!(asked, [1, 0, 0]);
    rig.restart(at("2026-11-25T09:30:00"), Trust::Synchronised);
    assert_eq!(noon_of(&mut rig, 25), 1);
    assert_eq!(rig.why("2026-11-25", 0), Some("box_off".to_owned()), "the meter was not asked");
    assert_eq!(rig.billing.owed(), 0);
}

#[test]
fn a_register_that_the_meter_does_not_freeze_stands_beside_the_others_as_it_was_read_or_is_missing() {
    let both = ReadingSpec { of: vec![(DeviceIx(0), vec![ENERGY, PointIx(1)])], ..daily(1) };
    let mut rig = Rig::new(vec![freezing(0)], vec![both]);
    freeze_days(&mut rig, "2026-11", 21..=21);
    rig.run_until(at("2026-11-21T12:00:00"));
    let reading = rig.kept("2026-11-21", 0).unwrap();
    let told = |name: &str| reading.values.get(name).map(|taken| (taken.value.to_string(), taken.source));
    assert_eq!(told("energy"), Some(("121.00".to_owned(), Source::Freeze)));
    assert_eq!(told("energy_t1"), Some(("7.50".to_owned(), Source::Live)));
    assert!(reading.missing.is_empty(), "{:?}", reading.missing);

    // Nobody read it live: it has no value, and says why.
    freeze_days(&mut rig, "2026-11", 22..=22);
    rig.restart(at("2026-11-22T12:00:00"), Trust::Synchronised);
    rig.run_until(at("2026-11-22T13:00:00"));
    let reading = rig.kept("2026-11-22", 0).unwrap();
    assert_eq!(reading.values.keys().collect::<Vec<_>>(), ["energy"]);
    assert_eq!(reading.missing.get("energy_t1").map(String::as_str), Some("freeze_not_available"));
}
