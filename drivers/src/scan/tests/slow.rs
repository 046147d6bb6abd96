//! Devices that take their time.

use std::time::Duration;

use super::device::{electricity, line, modbus};
use super::world::World;
use crate::dlt645::Edition;
use crate::line::settings::Parity;
use crate::point::Protocol;
use crate::scan::{End, Finding, Model, Options, Station};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_device_that_takes_a_second_is_found_by_its_late_answer_and_slows_nobody_else() {
    let usual = line(9600, Parity::None);
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![9600], addresses: None };
    for turnaround_ms in [500, 800, 1300] {
        let devices = vec![modbus(4, usual, turnaround_ms), modbus(60, usual, 20)];
        let mut world = World::new(devices, &options, Duration::ZERO);
        assert_eq!(world.run(3 * MINUTE, 2), None);
        println!("{turnaround_ms} ms: found after {:?}", world.found_at);
        let mut found = world.stations();
        found.sort_by_key(|station| station.to_string());
        assert_eq!(found, [Station::Modbus(4), Station::Modbus(60)], "{turnaround_ms} ms");
        // At the pace of the slow one the 56 units between them would take a minute.
        assert!(world.found_at[1] < Duration::from_secs(60), "{:?}", world.found_at);
    }
}

#[test]
fn a_slow_device_alone_is_found_by_the_patient_pass() {
    // Its late answer always comes while the next is asked.
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![9600], addresses: Some((9, 9)) };
    let world = || World::new(vec![modbus(9, line(9600, Parity::None), 1200)], &options, Duration::ZERO);
    for (mut world, adapter) in [(world(), "plain"), (world().with_echo(), "echoes")] {
        assert_eq!(world.run(20 * MINUTE, usize::MAX), Some(End::Finished), "{adapter}");
        let [Finding::Found(found)] = world.scan.findings() else { panic!("{adapter}: {:?}", world.scan.findings()) };
        assert_eq!(found.model, Model::Known("eastron-sdm630"), "its study is as patient");
        let told = found.identity.iter().find(|(name, _)| name == "answers").map(|(_, text)| text.as_str());
        assert!(
            told.is_some_and(|text| text.starts_with("12") && text.ends_with("give it a longer `timeout`")),
            "{adapter}: {told:?}"
        );
    }
}

#[test]
fn patience_is_learned_behind_an_adapter_that_echoes_as_behind_another() {
    // The first is found by its late answer; from then on all are given the time that it took.
    let usual = line(9600, Parity::None);
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![9600], addresses: Some((1, 60)) };
    let world = || {
        let devices = vec![modbus(2, usual, 100), modbus(8, usual, 130), modbus(60, usual, 150)];
        World::new(devices, &options, Duration::ZERO)
    };
    let found_at = |mut world: World| {
        assert_eq!(world.run(3 * MINUTE, 3), None);
        world.found_at
    };
    let (plain, echoes) = (found_at(world()), found_at(world().with_echo()));
    for (one, other) in plain.iter().zip(&echoes) {
        assert!(one.abs_diff(*other) < Duration::from_millis(100), "{plain:?} and {echoes:?}");
    }
}

#[test]
fn a_device_slower_than_any_driver_waits_does_not_hold_the_scan() {
    let usual = line(9600, Parity::None);
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![9600], addresses: Some((1, 40)) };
    let mut world = World::new(vec![modbus(4, usual, 2500), modbus(30, usual, 20)], &options, Duration::ZERO);
    assert_eq!(world.run(30 * MINUTE, usize::MAX), Some(End::Finished));
    assert_eq!(world.stations(), [Station::Modbus(30)]);
    assert!(world.now < 170_000_000_000, "it took {} s", world.now / 1_000_000_000);
}

#[test]
fn a_device_whose_answers_come_when_nobody_waits_any_more_is_no_other_master() {
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![9600], addresses: Some((1, 100)) };
    for turnaround_ms in [4200, 4500, 5000] {
        let devices = vec![modbus(4, line(9600, Parity::None), turnaround_ms)];
        let mut world = World::new(devices, &options, Duration::ZERO);
        assert_eq!(world.run(30 * MINUTE, usize::MAX), Some(End::Finished), "{turnaround_ms} ms");
        assert!(world.scan.findings().is_empty(), "{:?}", world.scan.findings());
    }
}

#[test]
fn late_answers_are_nobody_elses_however_late_they_are() {
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![9600], addresses: Some((9, 10)) };
    for turnaround_ms in (150..1450).step_by(50) {
        let devices = vec![modbus(9, line(9600, Parity::None), turnaround_ms)];
        let mut world = World::new(devices, &options, Duration::ZERO);
        assert_eq!(world.run(20 * MINUTE, usize::MAX), Some(End::Finished), "{turnaround_ms} ms");
        assert_eq!(world.scan.findings().len(), 1, "{turnaround_ms} ms");
        assert_eq!(world.stations(), [Station::Modbus(9)], "{turnaround_ms} ms");
    }
}

#[test]
fn slow_meters_behind_a_wildcard_are_found() {
    let protocol = Protocol::Dlt645(Edition::V2007);
    let options = Options { protocols: vec![protocol], bauds: vec![2400], addresses: None };
    let meters = vec![electricity([1, 0, 7], 1, 2400, 1000), electricity([2, 0, 7], 3, 2400, 40)];
    let mut world = World::new(meters, &options, Duration::ZERO);
    assert_eq!(world.run(20 * MINUTE, usize::MAX), Some(End::Finished));
    assert_eq!(world.stations().len(), 2, "{:?}", world.scan.findings());
}
