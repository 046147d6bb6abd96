//! Scans of lines on which somebody else makes bytes: nobody is found who is not there.

use std::time::Duration;

use gatehouse_core::Mono;

use super::device::{Device, Kind, electricity, line, modbus};
use super::world::World;
use crate::dlt645::Edition;
use crate::line::settings::{Characters, Parity};
use crate::modbus::frame::Framing;
use crate::point::Protocol;
use crate::scan::{Channel, End, Finding, Options, Plan, Scan, Station, Want};

const LISTEN: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);

fn modbus_at(baud: u32) -> Options {
    Options { protocols: vec![Protocol::Modbus], bauds: vec![baud], addresses: None }
}

fn clashes(world: &World) -> Vec<String> {
    let of = |finding: &Finding| match finding {
        Finding::Found(_) => None,
        Finding::Clash(clash) => Some(clash.to_string()),
    };
    world.scan.findings().iter().filter_map(of).collect()
}

/// What a master asks and what it is answered, one after the other.
fn exchange() -> Vec<u8> {
    let mut bytes = Vec::new();
    Framing::Rtu.encode(0, 9, &[4, 0, 0, 0, 10], &mut bytes);
    Framing::Rtu.encode(0, 9, &[&[4, 20][..], &[7; 20]].concat(), &mut bytes);
    bytes
}

fn meets(characters: Characters, every_ms: u64, devices: Vec<Device>, options: &Options) -> World {
    let mut world = World::new(devices, options, LISTEN);
    world.other_master(characters, &exchange(), (6000, every_ms));
    let end = world.run(20 * MINUTE, usize::MAX);
    let told = matches!(end, Some(End::Unquiet { .. } | End::ForeignMaster { .. }));
    assert!(told, "{characters}, every {every_ms} ms: {end:?} after {} ms", world.now / 1_000_000);
    assert_eq!(clashes(&world), Vec::<String>::new(), "{characters}, every {every_ms} ms");
    world
}

#[test]
fn a_master_at_other_settings_ends_the_scan_and_makes_no_clash() {
    for (characters, every_ms, most_s) in [
        (line(19200, Parity::Even), 300, 12),
        (line(9600, Parity::Even), 450, 12),
        (line(9600, Parity::None), 450, 12),
        (line(4800, Parity::None), 1000, 20),
        (line(19200, Parity::None), 5000, 60),
    ] {
        let world = meets(characters, every_ms, vec![modbus(1, line(9600, Parity::None), 20)], &modbus_at(9600));
        println!("{characters}, every {every_ms} ms: noticed after {} ms", world.now / 1_000_000 - 6000);
        assert_eq!(world.stations(), [Station::Modbus(1)], "what was found stays");
        assert!(world.now < most_s * 1_000_000_000, "{characters}: it took {} ms", world.now / 1_000_000);
    }
}

#[test]
fn answers_of_who_was_never_asked_are_of_another_master() {
    // Its requests are not heard, as behind a repeater.
    let usual = line(9600, Parity::None);
    let mut answer = Vec::new();
    Framing::Rtu.encode(0, 9, &[&[4, 20][..], &[7; 20]].concat(), &mut answer);
    let options = Options { addresses: Some((1, 5)), ..modbus_at(9600) };
    let mut world = World::new(vec![modbus(1, usual, 20)], &options, LISTEN);
    world.other_master(usual, &answer, (2700, 450));
    let end = world.run(20 * MINUTE, usize::MAX);
    assert!(matches!(end, Some(End::ForeignMaster { protocol: Protocol::Modbus, .. })), "{end:?}");
    assert_eq!((world.stations(), clashes(&world).len()), (vec![Station::Modbus(1)], 0));
}

#[test]
fn a_master_is_no_crowd_of_meters_and_no_reader() {
    for protocol in [Protocol::Dlt645(Edition::V2007), Protocol::Cjt188(crate::cjt188::Edition::V2004)] {
        let options = Options { protocols: vec![protocol], bauds: vec![2400], addresses: None };
        let meters = vec![electricity([1, 0, 7], 1, 2400, 40), electricity([2, 0, 7], 1, 2400, 40)];
        let mut world = World::new(meters, &options, LISTEN);
        world.other_master(line(4800, Parity::None), &exchange(), (2100, 600));
        let end = world.run(20 * MINUTE, usize::MAX);
        assert!(matches!(end, Some(End::Unquiet { .. } | End::ForeignMaster { .. })), "{end:?}");
        assert_eq!(clashes(&world), Vec::<String>::new());
        assert!(world.now < 30_000_000_000, "it took {} ms", world.now / 1_000_000);
    }
    let options = Options { protocols: vec![Protocol::Osdp], bauds: vec![9600], addresses: None };
    meets(line(19200, Parity::None), 400, Vec::new(), &options);
}

#[test]
fn what_devices_garble_themselves_is_no_other_master() {
    // A dozen that look at no parity, and are asked at the wrong one first.
    let own = line(19200, Parity::None);
    let lax = |unit| Device { is_lax: true, ..modbus(unit, own, 20 + u64::from(unit)) };
    let mut world = World::new((1..=12).map(lax).collect(), &modbus_at(19200), LISTEN);
    assert_eq!(world.run(60 * MINUTE, usize::MAX), Some(End::Finished));
    assert_eq!((world.stations().len(), clashes(&world).len()), (12, 0), "{:?}", clashes(&world));
    // Pairs with one address each, be they quick or slow.
    let mut devices = Vec::new();
    for (unit, turnaround_ms) in [(1, 20), (2, 45), (3, 90), (5, 200), (6, 300), (7, 700)] {
        let usual = line(9600, Parity::None);
        let mut other = modbus(unit, usual, turnaround_ms + 2);
        if let Kind::Modbus { registers, .. } = &mut other.kind {
            registers.iter_mut().for_each(|(_, words)| words[0] ^= 3);
        }
        devices.extend([modbus(unit, usual, turnaround_ms), other]);
    }
    let mut world = World::new(devices, &modbus_at(9600), LISTEN);
    assert_eq!(world.run(60 * MINUTE, usize::MAX), Some(End::Finished));
    assert_eq!((world.stations().len(), clashes(&world).len()), (0, 6), "{:?}", world.scan.findings());
}

#[test]
fn noise_now_and_then_hides_nobody_and_makes_nobody() {
    let usual = line(9600, Parity::None);
    let devices: Vec<Device> = [1, 2, 3, 30, 31, 120].map(|unit| modbus(unit, usual, 30)).into();
    let mut world = World::new(devices, &modbus_at(9600), LISTEN);
    world.noise(2500, 20_000);
    assert_eq!(world.run(60 * MINUTE, usize::MAX), Some(End::Finished));
    assert_eq!(clashes(&world), Vec::<String>::new());
    assert_eq!(world.stations().len(), 6, "{:?}", world.stations());
}

#[test]
fn a_line_that_makes_noise_all_the_time_is_told_to_be_unquiet() {
    let usual = line(9600, Parity::None);
    for every_ms in [40, 200, 1000, 4000] {
        let mut world = World::new(vec![modbus(1, usual, 30)], &modbus_at(9600), LISTEN);
        world.noise(2500, every_ms);
        let end = world.run(10 * MINUTE, usize::MAX);
        println!("noise every {every_ms} ms: {end:?} after {} ms", world.now / 1_000_000);
        assert!(matches!(end, Some(End::Unquiet { .. })), "every {every_ms} ms: {end:?}");
        assert_eq!(clashes(&world), Vec::<String>::new());
    }
}

#[test]
fn a_line_that_never_comes_to_rest_is_not_waited_for_without_end() {
    let options = modbus_at(9600);
    let mut scan = Scan::new(Plan::new(Channel::Serial, &options), Duration::ZERO);
    let mut now = 0u64;
    while now < 30_000_000_000 {
        match scan.poll_want(Mono(now)) {
            Want::End(end) => {
                assert!(matches!(end, End::Unquiet { bytes } if bytes > 100), "{end:?}");
                assert!(now < 10_000_000_000, "it took {} ms", now / 1_000_000);
                return;
            }
            Want::Reopen => panic!("a serial port is no connection"),
            Want::Switch(_) => scan.handle_switched(Mono(now)),
            Want::Send(_) => panic!("nothing is sent while somebody talks"),
            Want::Wait(_) => {}
        }
        now += 1_000_000;
        scan.handle_bytes(Mono(now), &[0x5A]);
    }
    panic!("it waits without end");
}
