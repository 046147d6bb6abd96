//! Stories of load records that are fetched after a silence.

use gatehouse_core::LocalTime;
use gatehouse_core::driver::LOAD_TIME;

use super::*;

const QUARTER: i64 = 900_000_000;

fn recording(device: u32) -> MeterSpec {
    let points = vec![(ENERGY, name("energy")), (PointIx(3), name("voltage_a"))];
    let load = Some(LoadSpec { every: Duration::from_secs(900), points });
    MeterSpec { load, serial_point: None, ..meter(device) }
}

/// The readings of records from a time on: energy, and a voltage that is not recorded.
pub(super) fn answer(kept: &[(DateTime, Decimal)], from: LocalTime, count: u8) -> Vec<PointReading> {
    let kept = kept.iter().map(|(at, energy)| (at.strftime("%Y-%m-%dT%H:%M").to_string(), *energy));
    let later = kept.filter(|(at, _)| *at >= from.to_string()).take(usize::from(count));
    let reading = |(at, energy): (String, Decimal)| {
        [
            PointReading::new(ENERGY, Ok(Value::Decimal(energy))).of(&[0x34, 0x12]),
            PointReading::new(PointIx(3), Err(NoData::NotAvailable)),
            PointReading::new(LOAD_TIME, Ok(Value::Text(at.as_str().into()))),
        ]
    };
    later.flat_map(reading).collect()
}

/// What a meter answers with its own faults.
pub(super) fn answer_of(real: &Real, kept: &[(DateTime, Decimal)], from: LocalTime, count: u8) -> Vec<PointReading> {
    let exact = |(at, _): &(DateTime, Decimal)| at.strftime("%Y-%m-%dT%H:%M").to_string() == from.to_string();
    if real.is_exact && !kept.iter().any(exact) {
        return Vec::new();
    }
    let mut readings = answer(kept, from, count);
    let times = readings.iter_mut().filter(|reading| real.is_undated && reading.point == LOAD_TIME);
    times.for_each(|time| time.value = Err(NoData::OutOfRange));
    readings
}

/// A meter that records its energy each quarter of an hour: 1 kWh in each, from 100.00 at noon of the 20th on.
fn record(rig: &mut Rig, device: u32, from: &str, to: &str) {
    let start = at("2026-11-20T12:00:00").0;
    let quarters = (0..).map(|step| Wall(start + step * QUARTER)).take_while(|wall| *wall <= at(to));
    let kept = (100i128..).zip(quarters).filter(|(_, wall)| *wall >= at(from));
    let kept = kept.map(|(kwh, wall)| (zone::local(wall, &shanghai()), Decimal { mantissa: kwh * 100, exponent: -2 }));
    rig.real.get_mut(&DeviceIx(device)).unwrap().load.as_mut().unwrap().extend(kept);
}

/// Moment, value and flags of each record that was told of a meter.
fn told(rig: &Rig, device: u32) -> Vec<(String, String)> {
    let of = |json: &&Json| json["device"] == format!("meter-{device}");
    let loads = rig.events.iter().filter(|(kind, _)| *kind == "meter_load").map(|(_, json)| json).filter(of);
    loads.map(|json| (text(&json["at"]), text(&json["values"]["energy"]["value"]))).collect()
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

fn gaps(rig: &Rig) -> Vec<(String, String, String)> {
    let missing = rig.events.iter().filter(|(kind, _)| *kind == "meter_load_missing").map(|(_, json)| json);
    let clock = |us: &Json| zone::local(Wall(us.as_i64().unwrap()), &shanghai()).strftime("%d %H:%M").to_string();
    missing.map(|json| (clock(&json["from_us"]), clock(&json["to_us"]), text(&json["why"]))).collect()
}

fn gap(from: &str, to: &str, why: &str) -> (String, String, String) {
    (from.to_owned(), to.to_owned(), why.to_owned())
}

/// Polls each minute until then.
fn polled(rig: &mut Rig, device: u32, to: &str) {
    while rig.now.wall < at(to) {
        let kwh = (rig.now.wall.0 - at("2026-11-20T12:00:00").0) / QUARTER;
        rig.poll(device, &format!("{}.00", 100 + kwh));
        rig.minutes(1);
    }
}

#[test]
fn what_a_meter_recorded_while_its_line_was_dead_is_told_once_with_its_own_time() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:20:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(70);
    record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T14:00:00");
    polled(&mut rig, 0, "2026-11-20T14:20:00");
    let wanted =
        [("12:30", "102.00"), ("12:45", "103.00"), ("13:00", "104.00"), ("13:15", "105.00"), ("13:30", "106.00")];
    let wanted = wanted.map(|(at, value)| (format!("2026-11-20T{at}"), value.to_owned()));
    assert_eq!(told(&rig, 0), wanted);
    assert!(gaps(&rig).is_empty() && rig.billing.load_owed() == 0);
    let first = &rig.events.iter().find(|(kind, _)| *kind == "meter_load").unwrap().1;
    assert_eq!((&first["source"], &first["values"]["energy"]["raw"]), (&Json::from("recalled"), &Json::from("3412")));
    assert_eq!(
        (&first["missing"]["voltage_a"], &first["installation"]),
        (&Json::from("not_available"), &Json::from(1))
    );
    assert_eq!(first["at_us"], Json::from(at("2026-11-20T12:30:00").0));
    assert_eq!(rig.asked.len(), 2, "four records at a time");
}

#[test]
fn a_box_that_was_off_fetches_what_it_missed_and_another_start_does_not_repeat_it() {
    let mut rig = Rig::new((0..3).map(recording).collect(), Vec::new());
    rig.poll_all();
    (0..3).for_each(|device| record(&mut rig, device, "2026-11-20T12:00:00", "2026-11-21T12:00:00"));
    rig.minutes(6);
    rig.restart(at("2026-11-21T12:05:00"), Trust::Synchronised);
    rig.poll_all();
    assert_eq!(rig.billing.load_owed(), 3 * 96 - 4, "one was asked at once");
    rig.minutes(2);
    let before = told(&rig, 0).len() + told(&rig, 1).len() + told(&rig, 2).len();
    assert!(before > 0 && before < 3 * 96, "it was killed amid the work: {before}");
    rig.restart(at("2026-11-21T12:08:00"), Trust::Synchronised);
    rig.poll_all();
    rig.minutes(30);
    for device in 0..3 {
        let mut times: Vec<String> = told(&rig, device).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times.len(), 96);
        times.dedup();
        assert_eq!((times.len(), times[0].as_str(), times[95].as_str()), (96, "2026-11-20T12:15", "2026-11-21T12:00"));
    }
    let paced = rig.asked.windows(2).filter(|pair| pair[1].0 > pair[0].0).map(|pair| pair[1].0.since(pair[0].0));
    assert!(paced.min().unwrap() >= super::super::fetch::PACE, "there is room for the polls between");
}

#[test]
fn a_short_silence_in_which_nothing_was_recorded_asks_for_nothing() {
    let mut rig = Rig::new(vec![recording(0), MeterSpec { load: None, ..recording(1) }], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(10);
    polled(&mut rig, 0, "2026-11-20T12:40:00");
    polled(&mut rig, 1, "2026-11-20T12:41:00");
    rig.billing.handle_device_state(DeviceIx(1), false);
    rig.minutes(60);
    rig.poll(1, "104.00");
    rig.minutes(60);
    assert!(rig.asked.is_empty(), "the first missed nothing, and of the second nothing is wanted");
}

#[test]
fn a_start_owes_no_record_of_a_moment_at_which_the_meter_was_read() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T14:00:00");
    polled(&mut rig, 0, "2026-11-20T12:31:00");
    rig.restart(at("2026-11-20T12:44:30"), Trust::Synchronised);
    polled(&mut rig, 0, "2026-11-20T12:50:00");
    assert!(rig.asked.is_empty(), "{:?}", rig.asked);
    rig.restart(at("2026-11-20T13:00:10"), Trust::Synchronised);
    polled(&mut rig, 0, "2026-11-20T13:10:00");
    assert_eq!(told(&rig, 0), [("2026-11-20T13:00".to_owned(), "104.00".to_owned())]);
}

#[test]
fn moments_that_the_meter_did_not_record_are_told_as_missing() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(120);
    record(&mut rig, 0, "2026-11-20T12:30:00", "2026-11-20T12:45:00");
    record(&mut rig, 0, "2026-11-20T13:30:00", "2026-11-20T13:30:00");
    polled(&mut rig, 0, "2026-11-20T14:10:00");
    let times: Vec<String> = told(&rig, 0).into_iter().map(|(at, _)| at[11..].to_owned()).collect();
    assert_eq!(times, ["12:30", "12:45", "13:30"]);
    let not = "not_recorded";
    assert_eq!(
        gaps(&rig),
        [gap("20 12:15", "20 12:15", not), gap("20 13:00", "20 13:15", not), gap("20 13:45", "20 14:00", not)]
    );
    assert_eq!(rig.billing.load_owed(), 0);
}

#[test]
fn a_meter_that_keeps_no_load_records_is_asked_from_a_few_moments_on_for_each_silence() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(60);
    polled(&mut rig, 0, "2026-11-20T16:00:00");
    assert_eq!(asked_from(&rig), ["12:15", "12:30", "12:45"], "and 13:15 is not owed");
    assert_eq!(gaps(&rig), [gap("20 12:15", "20 13:00", "not_recorded")]);
}

/// The first moment of each request.
fn asked_from(rig: &Rig) -> Vec<String> {
    let from = |(_, act): &(Mono, Act)| match act.action {
        Action::LoadRecords { from, .. } => from.to_string()[11..].to_owned(),
        _ => panic!("{act:?}"),
    };
    rig.asked.iter().map(from).collect()
}

#[test]
fn a_meter_that_has_no_record_of_exactly_the_first_moment_still_gives_later_ones() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    rig.real.get_mut(&DeviceIx(0)).unwrap().is_exact = true;
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(120);
    record(&mut rig, 0, "2026-11-20T12:45:00", "2026-11-20T14:00:00");
    polled(&mut rig, 0, "2026-11-20T14:20:00");
    let times: Vec<String> = told(&rig, 0).into_iter().map(|(at, _)| at[11..].to_owned()).collect();
    assert_eq!(times, ["12:45", "13:00", "13:15", "13:30", "13:45", "14:00"]);
    assert_eq!(asked_from(&rig), ["12:15", "12:30", "12:45", "13:31", "13:45"]);
    assert_eq!(gaps(&rig), [gap("20 12:15", "20 12:30", "not_recorded")]);
}

#[test]
fn a_busy_meter_that_refuses_is_asked_again_and_loses_nothing() {
    for busy in [1, 4] {
        let mut rig = Rig::new(vec![recording(0)], Vec::new());
        rig.real.get_mut(&DeviceIx(0)).unwrap().load = Err(NoData::Exception(busy));
        polled(&mut rig, 0, "2026-11-20T12:02:00");
        rig.billing.handle_device_state(DeviceIx(0), false);
        rig.minutes(60);
        polled(&mut rig, 0, "2026-11-20T13:08:00");
        assert_eq!((rig.asked.len(), gaps(&rig).len(), rig.billing.load_owed()), (1, 0, 4));
        rig.real.get_mut(&DeviceIx(0)).unwrap().load = Ok(Vec::new());
        record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T13:30:00");
        polled(&mut rig, 0, "2026-11-20T13:30:00");
        assert_eq!((told(&rig, 0).len(), gaps(&rig).len()), (4, 0));
    }
}

#[test]
fn an_answer_with_records_of_no_time_is_not_taken_for_the_end_of_what_the_meter_has() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.real.get_mut(&DeviceIx(0)).unwrap().is_undated = true;
    record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T13:30:00");
    rig.minutes(60);
    polled(&mut rig, 0, "2026-11-20T13:08:00");
    assert_eq!((rig.asked.len(), gaps(&rig).len(), rig.billing.load_owed()), (1, 0, 4));
    rig.real.get_mut(&DeviceIx(0)).unwrap().is_undated = false;
    polled(&mut rig, 0, "2026-11-20T13:30:00");
    assert_eq!((told(&rig, 0).len(), gaps(&rig).len()), (4, 0));
}

#[test]
fn a_new_ratio_of_the_same_meter_loses_none_of_its_records() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T16:00:00");
    rig.minutes(80);
    for ratio in ["40", "60"] {
        let swap = Swap {
            who: "Li".to_owned(),
            reason: "other transformers".to_owned(),
            serial: "1001".to_owned(),
            multiplier: Some(ratio.to_owned()),
            closing: BTreeMap::new(),
            opening: BTreeMap::new(),
        };
        rig.billing.swap(rig.now, "meter-0", &swap, "1000").unwrap();
        rig.follow();
        rig.minutes(10);
    }
    polled(&mut rig, 0, "2026-11-20T14:00:00");
    let loads = rig.events.iter().filter(|(kind, _)| *kind == "meter_load").map(|(_, json)| json);
    let of: Vec<(String, i64)> =
        loads.map(|json| (text(&json["at"])[11..].to_owned(), json["installation"].as_i64().unwrap())).collect();
    let wanted = [("12:15", 1), ("12:30", 1), ("12:45", 1), ("13:00", 1), ("13:15", 1), ("13:30", 2)];
    assert_eq!(of, wanted.map(|(at, version)| (at.to_owned(), version)));
    assert!(gaps(&rig).is_empty(), "{:?}", gaps(&rig));
}

#[test]
fn what_is_owed_of_load_records_is_forgotten_once_they_are_no_longer_wanted() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.real.get_mut(&DeviceIx(0)).unwrap().load = Err(NoData::Timeout);
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(60);
    polled(&mut rig, 0, "2026-11-20T13:08:00");
    assert_eq!((rig.billing.load_owed(), rig.journal.contains_key("billing/load/meter-0")), (4, true));
    let wanted = rig.setup.meters[0].load.take();
    rig.restart(at("2026-11-20T13:10:00"), Trust::Synchronised);
    rig.minutes(60);
    assert_eq!((rig.billing.load_owed(), rig.journal.contains_key("billing/load/meter-0")), (0, false));
    rig.setup.meters[0].load = wanted;
    rig.restart(at("2026-12-20T13:10:00"), Trust::Synchronised);
    rig.poll(0, "200.00");
    assert_eq!(rig.billing.load_owed(), 0, "wanted anew, it begins anew");
}

#[test]
fn a_line_that_fails_is_tried_again_until_it_is_given_up() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    rig.real.get_mut(&DeviceIx(0)).unwrap().load = Err(NoData::Timeout);
    polled(&mut rig, 0, "2026-11-20T12:02:00");
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(20);
    polled(&mut rig, 0, "2026-11-20T14:00:00");
    assert!((2..6).contains(&rig.asked.len()) && gaps(&rig).is_empty(), "{}", rig.asked.len());
    rig.real.get_mut(&DeviceIx(0)).unwrap().load = Ok(Vec::new());
    record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T14:00:00");
    polled(&mut rig, 0, "2026-11-20T16:00:00");
    assert_eq!(told(&rig, 0).len(), 1);
    rig.real.get_mut(&DeviceIx(0)).unwrap().load = Err(NoData::Timeout);
    rig.billing.handle_device_state(DeviceIx(0), false);
    rig.minutes(20);
    rig.poll(0, "120.00");
    rig.minutes(3 * 24 * 60);
    assert_eq!(gaps(&rig), [gap("20 16:00", "20 16:15", "timeout")]);
}

#[test]
fn nothing_is_asked_while_another_meter_answers_and_its_records_are_never_those_of_the_first() {
    let mut rig = Rig::new(vec![MeterSpec { serial_point: Some(SERIAL), ..recording(0) }], Vec::new());
    let shows = |serial: &str, value: &str| {
        vec![
            PointReading::new(ENERGY, Ok(Value::Decimal(dec(value)))),
            PointReading::new(SERIAL, Ok(Value::Text(serial.into()))),
        ]
    };
    rig.poll_with(0, shows("1001", "100.00"));
    rig.billing.handle_device_state(DeviceIx(0), false);
    record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T16:00:00");
    rig.minutes(80);
    rig.poll_with(0, shows("2002", "3.00"));
    rig.minutes(20);
    assert!(rig.asked.is_empty(), "whose records would they be");
    let swap = Swap {
        who: "Li".to_owned(),
        reason: "broken".to_owned(),
        serial: "2002".to_owned(),
        multiplier: None,
        closing: BTreeMap::new(),
        opening: BTreeMap::new(),
    };
    rig.billing.swap(rig.now, "meter-0", &swap, "1000").unwrap();
    rig.follow();
    rig.minutes(20);
    assert!(rig.asked.is_empty() && told(&rig, 0).is_empty());
    assert_eq!(gaps(&rig), [gap("20 12:15", "20 13:15", "other_meter_installed")]);
}

#[test]
fn a_box_that_does_not_know_the_time_waits_until_it_does() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:06:00");
    record(&mut rig, 0, "2026-11-20T12:00:00", "2026-11-20T16:00:00");
    rig.restart(at("1970-01-01T08:00:00"), Trust::Unset);
    rig.poll(0, "101.00");
    rig.minutes(5);
    assert!(rig.asked.is_empty());
    (rig.now.wall, rig.now.trust) = (at("2026-11-20T13:05:00"), Trust::Synchronised);
    rig.poll(0, "104.00");
    rig.minutes(5);
    let times: Vec<String> = told(&rig, 0).into_iter().map(|(at, _)| at[11..].to_owned()).collect();
    assert_eq!(times, ["12:15", "12:30", "12:45", "13:00"]);
}

#[test]
fn what_is_too_long_ago_is_not_asked_for_and_told_as_missing() {
    let mut rig = Rig::new(vec![recording(0)], Vec::new());
    polled(&mut rig, 0, "2026-11-20T12:01:00");
    rig.minutes(6);
    rig.real.get_mut(&DeviceIx(0)).unwrap().load = Err(NoData::Timeout);
    rig.restart(at("2027-01-31T12:05:00"), Trust::Synchronised);
    rig.poll(0, "7000.00");
    assert_eq!(rig.billing.load_owed(), 62 * 96);
    assert_eq!(gaps(&rig), [gap("20 12:15", "30 12:00", "too_long_ago")]);
}
