//! What a scan finds, and what it leaves alone.

use std::time::Duration;

use super::device::{Device, Kind, card_reader, electricity, line, modbus, water};
use super::world::World;
use crate::dlt645::{Address, Edition};
use crate::line::settings::Parity;
use crate::modbus::frame::Framing;
use crate::point::Protocol;
use crate::scan::{ClashSign, End, Finding, Model, Options, Station};

const LISTEN: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
const FOREVER: Duration = Duration::from_secs(12 * 3600);

fn only(protocol: Protocol, baud: u32) -> Options {
    Options { protocols: vec![protocol], bauds: vec![baud], addresses: None }
}

/// 32 devices as they hang on one pair: two speeds of Modbus, electricity and water meters, card readers.
fn mixed() -> Vec<Device> {
    let mut devices = Vec::new();
    let (usual, fast) = (line(9600, Parity::None), line(19200, Parity::Even));
    devices.extend([1, 2, 3, 4, 5, 6, 11, 12, 40, 101].map(|unit| modbus(unit, usual, 10 + u64::from(unit) / 4)));
    devices.extend([1, 21, 22, 23, 34, 35].map(|unit| modbus(unit, fast, 25)));
    let meters = [[1, 0, 7], [2, 0, 7], [3, 0, 7], [17, 0, 7], [17, 1, 7], [58, 2, 7], [59, 2, 7], [99, 2, 7]];
    devices
        .extend(meters.iter().zip([30, 60, 45, 90, 120, 75, 50, 35]).map(|(last, ms)| electricity(*last, 3, 2400, ms)));
    devices.extend([5, 6, 7, 41].iter().zip([80, 140, 60, 110]).map(|(last, ms)| water(*last, ms)));
    devices.extend([0, 1, 2, 3].map(|address| card_reader(address, 9600)));
    devices
}

#[test]
fn thirty_two_mixed_meters_are_found_within_five_minutes_of_line_time() {
    let mut world = World::new(mixed(), &Options::default(), LISTEN);
    assert_eq!(world.run(5 * MINUTE, 32), None);
    let found = world.stations();
    println!("{} of 32 found after {:?}, {} requests", found.len(), world.found_at.last(), world.sent);
    for (at, station) in world.found_at.iter().zip(&found) {
        println!("{:>7.1} s  {} {station}", at.as_secs_f64(), station.protocol().as_str());
    }
    let clashes: Vec<&Finding> = world.scan.findings().iter().filter(|one| matches!(one, Finding::Clash(_))).collect();
    assert!(clashes.is_empty(), "{clashes:?}");
    assert_eq!(found.len(), 32);
    assert!(world.found_at.last().is_some_and(|last| *last < 5 * MINUTE));
}

#[test]
fn a_whole_scan_finds_each_once_names_the_models_and_ends() {
    let mut world = World::new(mixed(), &Options::default(), LISTEN);
    let estimate = world.scan.progress().remaining;
    assert_eq!(world.run(FOREVER, usize::MAX), Some(End::Finished));
    println!("the whole scan took {:?} of line time, {estimate:?} were estimated", Duration::from_nanos(world.now));
    assert_eq!(world.scan.findings().len(), 32, "{:#?}", world.scan.findings());
    for finding in world.scan.findings() {
        let Finding::Found(found) = finding else { panic!("{finding:?}") };
        let model = match found.station {
            Station::Modbus(_) => "eastron-sdm630",
            Station::Dlt645(..) => "dlt645-2007-3p",
            Station::Cjt188 { .. } => "cjt188-cold-water",
            Station::Osdp { .. } => "osdp-reader",
            Station::Uhppote(_) => panic!("none is on a serial line"),
        };
        assert_eq!(found.model, Model::Known(model), "{found:?}");
    }
    assert_eq!(world.scan.progress().remaining, Duration::ZERO);
}

#[test]
fn an_adapter_that_echoes_changes_nothing() {
    let devices = vec![modbus(3, line(9600, Parity::None), 20), modbus(9, line(9600, Parity::None), 20)];
    let mut world = World::new(devices, &only(Protocol::Modbus, 9600), LISTEN).with_echo();
    assert_eq!(world.run(10 * MINUTE, 2), None);
    assert_eq!(world.stations(), [Station::Modbus(3), Station::Modbus(9)]);
}

#[test]
fn two_devices_at_one_address_are_told_and_never_taken_for_one() {
    let usual = line(9600, Parity::None);
    // They begin in step, one a little after the other, or far apart.
    for (one, other) in [(20, 20), (20, 23), (20, 60)] {
        let mut second = modbus(5, usual, other);
        if let Kind::Modbus { registers, .. } = &mut second.kind {
            registers[0].1 = vec![0x4366, 0x0000];
            registers[3].1 = vec![0x4247, 0xF5C3];
        }
        let devices = vec![modbus(4, usual, 20), modbus(5, usual, one), second];
        let mut world = World::new(devices, &only(Protocol::Modbus, 9600), LISTEN);
        world.run(20 * MINUTE, usize::MAX);
        assert_eq!(world.stations(), [Station::Modbus(4)], "{one} and {other} ms");
        let clash = world.scan.findings().iter().find_map(|finding| match finding {
            Finding::Clash(clash) => Some(clash.clone()),
            Finding::Found(_) => None,
        });
        let clash = clash.expect("the clash is told");
        assert_eq!(clash.station, Station::Modbus(5));
        assert!(clash.to_string().starts_with("two devices answer at modbus address 5: "), "{clash}");
    }
}

#[test]
fn two_electricity_meters_with_one_number_are_told() {
    let devices = vec![
        electricity([8, 0, 7], 1, 2400, 40),
        electricity([9, 0, 7], 1, 2400, 40),
        electricity([9, 0, 7], 1, 2400, 70),
    ];
    let mut world = World::new(devices, &only(Protocol::Dlt645(Edition::V2007), 2400), LISTEN);
    assert_eq!(world.run(60 * MINUTE, usize::MAX), Some(End::Finished));
    let twin = Address::from_wire([0x09, 0x00, 0x07, 0x45, 0x12, 0x00]);
    let single = Address::from_wire([0x08, 0x00, 0x07, 0x45, 0x12, 0x00]);
    assert_eq!(world.stations(), [Station::Dlt645(Edition::V2007, single)]);
    let clash = world.scan.findings().iter().any(|finding| {
        matches!(finding, Finding::Clash(clash) if clash.station == Station::Dlt645(Edition::V2007, twin)
            && clash.sign == ClashSign::Garbled)
    });
    assert!(clash, "{:?}", world.scan.findings());
}

#[test]
fn a_line_on_which_a_master_asks_is_left_alone_whatever_its_protocol_and_settings() {
    let mut reads = Vec::new();
    Framing::Rtu.encode(0, 9, &[4, 0, 0, 0, 10], &mut reads);
    let mut meters = Vec::new();
    let di: &[u8] = &[0, 0, 1, 0];
    crate::dlt645::encode(4, Address::from_wire([1, 0, 0, 0, 0, 0]), 0x11, &[di], &mut meters);
    let masters = [
        (line(9600, Parity::None), reads.clone(), Protocol::Modbus),
        (line(19200, Parity::Even), reads, Protocol::Modbus),
        (line(2400, Parity::Even), meters, Protocol::Dlt645(Edition::V2007)),
    ];
    for (characters, request, protocol) in masters {
        let mut world = World::new(mixed(), &Options::default(), LISTEN);
        world.other_master(characters, &request, (300, 700));
        let end = world.run(5 * MINUTE, usize::MAX);
        match end {
            Some(End::ForeignMaster { protocol: heard, characters: at }) => {
                assert_eq!((heard, at), (protocol, Some(characters)));
            }
            // Settings at which nobody listens: that somebody talks is enough.
            Some(End::Unquiet { .. }) => assert_eq!(characters.parity, Parity::Even, "{characters}"),
            Some(End::Finished) | None => panic!("{end:?}"),
        }
        assert_eq!(world.sent, 0, "not one byte was sent");
    }
}

#[test]
fn a_master_that_begins_later_ends_the_scan_and_what_was_found_stays() {
    let usual = line(9600, Parity::None);
    let mut world = World::new(vec![modbus(1, usual, 20)], &only(Protocol::Modbus, 9600), LISTEN);
    let mut request = Vec::new();
    Framing::Rtu.encode(0, 9, &[4, 0, 0, 0, 10], &mut request);
    world.other_master(usual, &request, (3000, 450));
    let end = world.run(20 * MINUTE, usize::MAX);
    assert!(matches!(end, Some(End::ForeignMaster { protocol: Protocol::Modbus, .. })), "{end:?}");
    assert_eq!(world.stations(), [Station::Modbus(1)]);
    assert!(world.now < 30_000_000_000, "it took {} ms to notice", world.now / 1_000_000);
}

#[test]
fn a_scan_that_is_broken_off_keeps_what_it_found_and_says_what_is_left() {
    let mut world = World::new(mixed(), &Options::default(), LISTEN);
    world.run(MINUTE, usize::MAX);
    let (found, progress) = (world.stations(), world.scan.progress());
    assert!((1..32).contains(&found.len()), "{}", found.len());
    assert!(progress.remaining > MINUTE && progress.elapsed > MINUTE / 2, "{progress:?}");
}

#[test]
fn who_was_found_before_a_scan_is_broken_off_has_a_model_too() {
    let mut world = World::new(mixed(), &Options::default(), LISTEN);
    world.run(5 * MINUTE, 8);
    let (last, before) = world.scan.findings().split_last().unwrap();
    for finding in before {
        let Finding::Found(found) = finding else { panic!("{finding:?}") };
        assert!(matches!(found.model, Model::Known(_)), "{found:?}");
    }
    // Of whom nothing was asked yet nothing is told.
    let Finding::Found(found) = last else { panic!("{last:?}") };
    assert!(matches!(found.model, Model::NotAsked | Model::Known("osdp-reader")), "{found:?}");
    let mut world = World::new(mixed(), &only(Protocol::Modbus, 9600), LISTEN);
    world.run(5 * MINUTE, 1);
    let [Finding::Found(found)] = world.scan.findings() else { panic!("{:?}", world.scan.findings()) };
    assert_eq!(found.model, Model::NotAsked);
}

#[test]
fn damaged_answers_to_different_questions_make_no_clash() {
    // The first three make it believed; of the many of its study each third comes damaged.
    let device = modbus(3, line(9600, Parity::None), 20);
    let damaged: Vec<u64> = (3..60).step_by(3).collect();
    let mut world = World::new(vec![device], &only(Protocol::Modbus, 9600), LISTEN).with_damage(&damaged);
    world.run(2 * MINUTE, usize::MAX);
    let [Finding::Found(found)] = world.scan.findings() else { panic!("{:?}", world.scan.findings()) };
    assert_eq!(found.model, Model::Known("eastron-sdm630"));
}

#[test]
fn a_device_that_looks_at_no_parity_is_found_at_its_own_and_is_no_clash_before() {
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![19200], addresses: None };
    let mut device = modbus(3, line(19200, Parity::None), 20);
    device.is_lax = true;
    let mut world = World::new(vec![device], &options, LISTEN);
    world.run(2 * MINUTE, 1);
    let [Finding::Found(found)] = world.scan.findings() else { panic!("{:?}", world.scan.findings()) };
    assert_eq!((found.station, found.characters), (Station::Modbus(3), Some(line(19200, Parity::None))));
}

#[test]
fn a_slow_device_is_found_by_its_late_answer_and_all_get_more_time_then() {
    let usual = line(9600, Parity::None);
    let devices = vec![modbus(2, usual, 100), modbus(8, usual, 100), modbus(60, usual, 100)];
    let mut world = World::new(devices, &only(Protocol::Modbus, 9600), LISTEN);
    assert_eq!(world.run(3 * MINUTE, 3), None);
    println!("slow devices were found after {:?}", world.found_at);
    assert!(world.found_at[0] < Duration::from_secs(8), "the patient pass alone comes later: {:?}", world.found_at);
    let mut found = world.stations();
    found.sort_by_key(|station| station.to_string());
    assert_eq!(found, [Station::Modbus(2), Station::Modbus(60), Station::Modbus(8)]);
}

#[test]
fn a_device_is_named_by_what_it_says_of_itself() {
    let mut device = modbus(7, line(9600, Parity::None), 20);
    device.kind =
        Kind::Modbus { unit: 7, registers: Vec::new(), identity: Some(["Schneider Electric", "iEM3155", "1.4"]) };
    let mut world = World::new(vec![device], &only(Protocol::Modbus, 9600), LISTEN);
    world.run(2 * MINUTE, usize::MAX);
    let findings = world.scan.findings();
    let [Finding::Found(found)] = findings else { panic!("{findings:?}") };
    assert_eq!(found.model, Model::Known("schneider-iem3000"));
    assert!(found.identity.contains(&("product_code".to_owned(), "iEM3155".to_owned())), "{:?}", found.identity);
}

#[test]
fn a_device_on_a_line_that_answers_whatever_unit_is_asked_is_one_device() {
    let (usual, even) = (line(9600, Parity::None), line(9600, Parity::Even));
    for (characters, is_lax, turnaround_ms) in
        [(usual, false, 20), (even, false, 20), (usual, true, 20), (usual, false, 300)]
    {
        let kind = Kind::AnyUnit { registers: vec![(0, vec![0x4366, 0x8000])] };
        let device = Device { kind, characters, turnaround_ms, is_lax };
        let mut world = World::new(vec![device], &only(Protocol::Modbus, 9600), LISTEN);
        assert_eq!(world.run(FOREVER, usize::MAX), Some(End::Finished), "{characters}, {turnaround_ms} ms");
        println!("{characters}, {turnaround_ms} ms: {} requests in {} s", world.sent, world.now / 1_000_000_000);
        let findings = world.scan.findings();
        let [Finding::Found(found)] = findings else { panic!("{characters}: {} findings", findings.len()) };
        assert_eq!(found.characters, Some(characters));
        let told = found.identity.iter().find(|(name, _)| name == "unit").map(|(_, text)| text.as_str());
        assert_eq!(told, Some("any: it answers whatever unit is asked"));
    }
}
