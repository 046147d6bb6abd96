//! What a meter kept itself: load records and daily freezes.

use super::*;
use crate::dlt645::load;

#[test]
fn a_load_record_comes_in_several_frames_and_gives_its_items() {
    let item = |item| {
        let (_, _, format) = load::item(item).unwrap();
        let (di, item_bytes) = (load::LATEST, format.bytes());
        Dlt645Point { edition: Edition::V2007, di, item, item_bytes, offset: 0, format, bit: None }
    };
    let mut meter = meter(vec![item(load::TIME_ITEM), item(0), item(19), item(28)]);
    let step = steps(&meter)[0];
    assert_eq!(sent(&meter, step)[12..19], [0x11, 5, 0x35, 0x33, 0x33, 0x39, 0x34], "one record is asked for");
    let volts = hex("012302230323");
    let record = [
        &hex("A0A05F0915140326")[..],
        &volts,
        &[0; 9],
        &[0x98, 0x49, 0xAA],
        &[0xAA; 2],
        &hex("34120000"),
        &[0; 12],
        &[0xAA; 3],
        &[0, 0xE5],
    ];
    let record = record.concat();
    let (head, tail) = record.split_at(20);
    read(&meter, step, &frame(0xB1, &[&[2, 0, 0, 6][..], head].concat()));
    let mut more = Vec::new();
    meter.follow_up(step, &mut more);
    let (_, values) = read(&meter, more[0], &frame(0x92, &[&[2, 0, 0, 6][..], tail, &[1]].concat()));
    assert_eq!(values, ["2026-03-14T15:09", "230.1", "12.34", "not_available"]);
}

/// A load record of voltages and energies.
fn load_record(minute: &str, energy: &str) -> Vec<u8> {
    let volts = hex("012302230323");
    let currents = [0; 9];
    let [head, minute, day] = ["A0A0", minute, "00261126"].map(hex);
    let energies = [hex(energy), vec![0; 8], hex("78563492")].concat();
    [&head[..], &[0x30], &minute, &day, &volts, &currents, &[0x98, 0x49, 0xAA, 0xAA, 0xAA], &energies, &[0xAA; 3]]
        .concat()
        .into_iter()
        .chain([0, 0xE5])
        .collect()
}

fn recorded(readings: &[PointReading]) -> Vec<(String, Vec<(u16, String)>)> {
    let told = |reading: &PointReading| {
        let value = reading.value.as_ref().map_or_else(|why| why.to_string(), |value| value.to_string());
        (reading.point.0, value)
    };
    let records = gatehouse_core::LoadRecord::from_readings(readings).unwrap();
    let clock = |at: LocalTime| format!("{}-{} {:02}:{:02}", at.month, at.day, at.hour, at.minute);
    records.iter().map(|record| (clock(record.at), record.readings.iter().map(told).collect())).collect()
}

#[test]
fn load_records_from_a_time_on_come_in_several_frames_and_each_has_its_own_time() {
    let mut meter =
        meter(vec![point(0x0201_0100, 0), point(0x0001_0000, 0), point(0x0203_0000, 0), point(0x0004_0000, 0)]);
    let from = LocalTime::new(2026, 11, 26, 0, 15, 0).unwrap();
    let points = (0..4).map(PointIx).collect();
    let mut begun = Vec::new();
    meter.begin(&Action::LoadRecords { points, from, count: 12 }, &mut begun).unwrap();
    let [step] = begun[..] else { panic!("{begun:?}") };
    let asked: Vec<u8> = sent(&meter, step)[12..].iter().map(|byte| byte.wrapping_sub(0x33)).collect();
    assert_eq!(asked[2..12], [1, 0, 0, 6, 0x12, 0x15, 0x00, 0x26, 0x11, 0x26], "the count, mm hh DD MM YY");
    let data = [load_record("15", "34120000"), load_record("30", "FFFFFFFF")].concat();
    let (head, tail) = data.split_at(70);
    let (verdict, values) = read(&meter, step, &frame(0xB1, &[&[1, 0, 0, 6][..], head].concat()));
    assert!(matches!(verdict, Decoded::Reply { .. }) && values.is_empty());
    let mut more = Vec::new();
    meter.follow_up(step, &mut more);
    let asked: Vec<u8> = sent(&meter, more[0])[12..].iter().map(|byte| byte.wrapping_sub(0x33)).collect();
    assert_eq!(asked[..7], [0xDF, 0xD2, 1, 0, 0, 6, 1], "what follows is asked for with its number alone");
    let mut readings = Vec::new();
    meter.decode(more[0], 0, &frame(0x92, &[&[1, 0, 0, 6][..], tail, &[1]].concat()), &mut readings);
    readings.sort_by_key(|reading| reading.point);
    let record = |energy: &str| {
        let values = ["230.1", energy, "not_available", "-123456.78"];
        (0..).zip(values).map(|(point, value)| (point, value.to_owned())).collect()
    };
    let told = [("11-26 00:15", record("12.34")), ("11-26 00:30", record("not_available"))];
    assert_eq!(recorded(&readings), told.map(|(at, values)| (at.to_owned(), values)));
}

#[test]
fn load_records_that_came_over_a_line_are_still_told_apart() {
    let from = LocalTime::new(2026, 11, 26, 0, 15, 0).unwrap();
    let points = vec![PointIx(1), PointIx(0)];
    let mut bench =
        Bench::with(vec![point(0x0001_0000, 0), point(0x0201_0100, 0)], Action::LoadRecords { points, from, count: 4 });
    assert_eq!(bench.sends().unwrap()[12..19], [0x11, 10, 0x34, 0x33, 0x33, 0x39, 0x37]);
    let data: Vec<u8> =
        [("15", "01000000"), ("30", "02000000"), ("45", "03000000")].map(|(at, kwh)| load_record(at, kwh)).concat();
    let (head, tail) = data.split_at(120);
    bench.hears(&frame(0xB1, &[&[1, 0, 0, 6][..], head].concat()));
    assert_eq!(bench.sends().unwrap()[12..19], [0x12, 5, 0x34, 0x33, 0x33, 0x39, 0x34]);
    bench.hears(&frame(0x92, &[&[1, 0, 0, 6][..], tail, &[1]].concat()));
    let CommandResult::Read(readings) = bench.result() else { panic!("it is a read") };
    let told = recorded(&readings);
    let energies: Vec<_> = told.iter().map(|(at, values)| (at.as_str(), values[0].1.as_str())).collect();
    assert_eq!(energies, [("11-26 00:15", "0.01"), ("11-26 00:30", "0.02"), ("11-26 00:45", "0.03")]);
    assert!(told.iter().all(|(_, values)| values[1] == (1, "230.1".to_owned())), "{told:?}");
}

#[test]
fn a_meter_without_load_records_says_so_and_one_that_is_cut_off_gives_none() {
    let mut meter = meter(vec![point(0x0001_0000, 0)]);
    let from = LocalTime::new(2026, 11, 26, 0, 15, 0).unwrap();
    let mut begun = Vec::new();
    meter.begin(&Action::LoadRecords { points: vec![PointIx(0)], from, count: 1 }, &mut begun).unwrap();
    let gives = |data: &[u8]| {
        let mut readings = Vec::new();
        let verdict = meter.decode(begun[0], 0, &frame(0x91, &[&[1, 0, 0, 6][..], data].concat()), &mut readings);
        assert!(matches!(verdict, Decoded::Reply { .. }));
        gatehouse_core::LoadRecord::from_readings(&readings)
    };
    assert_eq!(gives(&[]), Some(Vec::new()));
    let record = load_record("15", "34120000");
    assert_eq!(gives(&record).unwrap().len(), 1);
    assert_eq!(gives(&record[..record.len() - 1]), None);
    assert_eq!(gives(&[&record[..], &record[..9]].concat()), None, "half a record behind a whole one");
}

#[test]
fn a_meter_that_refuses_for_want_of_load_records_answers_without_any_and_a_busy_one_fails() {
    let from = LocalTime::new(2026, 11, 26, 0, 15, 0).unwrap();
    let heard = |refusal: &[u8]| {
        let asked = Action::LoadRecords { points: vec![PointIx(0)], from, count: 1 };
        let mut bench = Bench::with(vec![point(0x0001_0000, 0)], asked);
        bench.sends().unwrap();
        bench.hears(&frame(0xD1, refusal));
        bench.result()
    };
    assert_eq!(heard(&[2]), CommandResult::Read(Vec::new()), "no such data");
    for busy in [1, 4] {
        assert_eq!(heard(&[busy]), CommandResult::Failed(NoData::Exception(busy)), "other, or the password");
    }
    let mut meter = meter(vec![point(0x0001_0000, 0)]);
    let mut begun = Vec::new();
    meter.begin(&Action::LoadRecords { points: vec![PointIx(0)], from, count: 2 }, &mut begun).unwrap();
    read(&meter, begun[0], &frame(0xB1, &[&[1, 0, 0, 6][..], &load_record("15", "34120000")].concat()));
    let mut more = Vec::new();
    meter.follow_up(begun[0], &mut more);
    let cut = read(&meter, more[0], &frame(0xD2, &[2])).0;
    assert!(matches!(cut, Decoded::Exception { code: 2, .. }), "what it has begun to give, it has: {cut:?}");
}

#[test]
fn what_a_meter_does_not_record_is_refused() {
    let from = LocalTime::new(2026, 11, 26, 0, 15, 0).unwrap();
    let mut meter = meter(vec![point(0x0001_0100, 0), point(0x0001_0000, 0)]);
    for (points, count) in [(vec![PointIx(0)], 1), (vec![PointIx(1)], 0), (vec![PointIx(1)], 100), (vec![], 1)] {
        let asked = meter.begin(&Action::LoadRecords { points, from, count }, &mut Vec::new());
        assert_eq!(asked, Err(ActionError::Unsupported), "tariffs are not recorded, and a count has two digits");
    }
}

fn begun(meter: &mut Dlt645Meter, points: &[u16], back: u8) -> Vec<StepId> {
    let points = points.iter().copied().map(PointIx).collect();
    let mut steps = Vec::new();
    meter.begin(&Action::Recall { points, back }, &mut steps).unwrap();
    steps
}

#[test]
fn a_daily_freeze_gives_registers_by_their_tariff_and_its_own_time() {
    let mut meter = meter(vec![point(0x0001_0000, 0), point(ENERGY, 2), point(0x0001_0100, 0), point(0x0201_0100, 0)]);
    let steps = begun(&mut meter, &[0, 1, 2, 3], 5);
    let [time, energy] = steps[..] else { panic!("{steps:?}") };
    let asked =
        |meter: &Dlt645Meter, step| sent(meter, step)[14..18].iter().map(|b| b.wrapping_sub(0x33)).collect::<Vec<_>>();
    assert_eq!(asked(&meter, time), [0x05, 0x00, 0x06, 0x05]);
    assert_eq!(asked(&meter, energy), [0x05, 0x01, 0x06, 0x05]);
    let (_, said) = read(&meter, time, &frame(0x91, &[5, 0, 6, 5, 0, 0, 0x21, 0x11, 0x26]));
    assert_eq!(said, ["2026-11-21T00:00"]);
    let record = [&[5, 1, 6, 5][..], &[0x10, 0, 0, 0], &[0x01, 0, 0, 0], &[0x02, 0, 0, 0]].concat();
    let mut readings = Vec::new();
    meter.decode(energy, 0, &frame(0x91, &record), &mut readings);
    let values: Vec<_> = readings.into_iter().map(|r| (r.point.0, r.value.unwrap().to_string())).collect();
    assert_eq!(
        values,
        [(0, "0.10".to_owned()), (1, "0.02".to_owned()), (2, "0.01".to_owned())],
        "no voltage is frozen"
    );
}

/// What the points read as when a meter answers for its freeze of five days ago in this way: first for its time, then for
/// the energy.
fn freeze_heard(time: &[u8], energy: &[u8]) -> CommandResult {
    let asked = Action::Recall { points: vec![PointIx(0)], back: 5 };
    let mut bench = Bench::with(vec![point(0x0001_0000, 0)], asked);
    for answer in [time, energy] {
        bench.sends().unwrap();
        bench.hears(answer);
    }
    bench.result()
}

#[test]
fn a_meter_that_refuses_for_want_of_a_freeze_answers_that_it_is_not_there_and_a_busy_one_fails() {
    let refusal = |error: u8| frame(0xD1, &[error]);
    let energy = frame(0x91, &[5, 1, 6, 5, 0x10, 0, 0, 0]);
    let not_there = |point| PointReading::new(point, Err(NoData::NotAvailable));
    let none = CommandResult::Read(vec![not_there(PointIx(0)), not_there(FREEZE_TIME)]);
    assert_eq!(freeze_heard(&refusal(2), &refusal(2)), none, "no such data");
    let CommandResult::Read(old) = freeze_heard(&refusal(2), &energy) else { panic!("it is a read") };
    assert!(old[0].value.is_ok() && old[1] == not_there(FREEZE_TIME), "registers without their time: {old:?}");
    for busy in [0, 1, 4] {
        let failed = CommandResult::Failed(NoData::Exception(busy));
        assert_eq!(freeze_heard(&refusal(busy), &refusal(busy)), failed, "no reason, another, or the password");
        let CommandResult::Read(read) = freeze_heard(&refusal(busy), &energy) else { panic!("it is a read") };
        assert_eq!(read[1].value, Err(NoData::Exception(busy)), "nobody knows whether it is there");
    }
}

#[test]
fn a_freeze_whose_time_is_blank_or_all_zeros_is_not_there() {
    let meter = &mut meter(vec![point(0x0001_0000, 0)]);
    let time = begun(meter, &[0], 5)[0];
    for blank in [0, 0xFF] {
        let (_, said) = read(meter, time, &frame(0x91, &[&[5, 0, 6, 5][..], &[blank; 5]].concat()));
        assert_eq!(said, ["not_available"]);
    }
    assert_eq!(read(meter, time, &frame(0x91, &[5, 0, 6, 5, 0, 0, 0, 0x11, 0x26])).1, ["out_of_range"]);
}

#[test]
fn what_is_read_now_comes_with_the_meter_s_clock() {
    let mut meter = meter(vec![point(ENERGY, 0)]);
    let steps = begun(&mut meter, &[0], 0);
    let [energy, date, time] = steps[..] else { panic!("{steps:?}") };
    assert_eq!(read(&meter, energy, &frame(0x91, &[0, 0xFF, 1, 0, 0x34, 0x12, 0, 0])).1, ["12.34"]);
    assert!(read(&meter, date, &frame(0x91, &[1, 1, 0, 4, 4, 0x26, 0x11, 0x26])).1.is_empty());
    let said = read(&meter, time, &frame(0x91, &[2, 1, 0, 4, 0x07, 0, 0])).1;
    assert_eq!(said, ["2026-11-26T00:00:07"]);
}

#[test]
fn what_a_meter_does_not_freeze_is_refused() {
    let mut meter = meter(vec![point(0x0201_0100, 0), point(0x0000_0000, 0)]);
    let mut steps = Vec::new();
    for (points, back) in [(vec![PointIx(0)], 1), (vec![PointIx(1)], 1), (vec![PointIx(1)], 63)] {
        let asked = meter.begin(&Action::Recall { points, back }, &mut steps);
        assert_eq!(asked, Err(ActionError::Unsupported), "combined energies and voltages are not frozen");
    }
}

#[test]
fn a_meter_of_1997_is_never_asked_for_a_freeze() {
    let energy = Dlt645Point { edition: Edition::V1997, di: 0x9010, ..point(0x0001_0000, 0) };
    let settings = MeterSettings { edition: Edition::V1997, ..settings() };
    let mut meter = Dlt645Meter::new(settings, vec![energy], &[vec![PointIx(0)]]);
    let mut steps = Vec::new();
    let asked = meter.begin(&Action::Recall { points: vec![PointIx(0)], back: 1 }, &mut steps);
    assert_eq!((asked, steps.len()), (Err(ActionError::Unsupported), 0));
    meter.begin(&Action::Recall { points: vec![PointIx(0)], back: 0 }, &mut steps).unwrap();
    assert_eq!(steps.len(), 3, "the energy, the date and the time of now");
}
