//! A pair of wires behind a serial server, which has its own line settings and tells nothing of them.

use std::time::Duration;

use gatehouse_core::Mono;

use super::device::{Device, card_reader, electricity, line, modbus, water};
use super::world::World;
use crate::dlt645::Edition;
use crate::line::settings::{Characters, Parity};
use crate::modbus::frame::Framing;
use crate::point::Protocol;
use crate::scan::{Channel, End, Finding, Options, Plan, Scan, Station, Want};

const LISTEN: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);

/// The devices with the settings of the server.
fn at(characters: Characters, devices: Vec<Device>) -> Vec<Device> {
    devices.into_iter().map(|device| Device { characters, ..device }).collect()
}

fn meters(count: u8) -> Vec<Device> {
    (0..count).map(|number| electricity([number + 1, number, 7], 1, 2400, 60)).collect()
}

#[test]
fn what_is_behind_a_server_is_found_without_its_settings_and_as_fast_as_its_line_allows() {
    for (characters, most) in
        [(line(1200, Parity::Even), 150), (line(2400, Parity::Even), 100), (line(9600, Parity::None), 90)]
    {
        let mixed = [vec![modbus(5, characters, 30), modbus(9, characters, 30), water(4, 90)], meters(3)].concat();
        let mut world =
            World::behind_server(at(characters, mixed), Plan::of_socket(&Options::default()), characters, LISTEN);
        assert_eq!(world.run(20 * MINUTE, 6), None, "{characters}");
        println!("{characters}: {:?}", world.found_at);
        assert!(world.found_at.iter().all(|at| at.as_secs() < most), "{characters}: {:?}", world.found_at);
        assert_eq!((world.scan.channel(), world.reopened), (Channel::Raw, 1), "{characters}");
        assert_eq!(world.greetings, 11, "{characters}: ten units, and the first once more");
        let lines = world.scan.findings().iter().map(|finding| match finding {
            Finding::Found(found) => found.characters,
            Finding::Clash(clash) => panic!("{clash}"),
        });
        assert!(lines.into_iter().all(|line| line.is_none()), "the settings are the server's");
        let count = |kind: fn(&Station) -> bool| world.stations().iter().filter(|station| kind(station)).count();
        let kinds = [
            count(|station| matches!(station, Station::Modbus(5 | 9))),
            count(|station| matches!(station, Station::Cjt188 { .. })),
            count(|station| matches!(station, Station::Dlt645(Edition::V2007, _))),
        ];
        assert_eq!(kinds, [2, 1, 3], "{characters}");
    }
}

#[test]
fn a_whole_scan_behind_a_server_ends_once_each_was_asked_and_does_not_go_back_to_modbus_tcp() {
    let characters = line(9600, Parity::None);
    let devices = vec![card_reader(3, 9600), modbus(40, characters, 900)];
    let mut world = World::behind_server(devices, Plan::of_socket(&Options::default()), characters, Duration::ZERO);
    let remaining = world.scan.progress().remaining;
    assert_eq!(world.run(60 * MINUTE, usize::MAX), Some(End::Finished));
    println!("{} s, of {remaining:?}", world.now / 1_000_000_000);
    let mut found = world.stations();
    found.sort_by_key(|station| station.protocol().as_str());
    assert_eq!(found, [Station::Modbus(40), Station::Osdp { address: 3, crc: true }]);
    assert_eq!((world.reopened, world.greetings), (1, 11));
    assert!(world.now < 12 * 60 * 1_000_000_000, "{} s", world.now / 1_000_000_000);
    assert_eq!(world.scan.unasked(), []);
}

#[test]
fn a_protocol_that_goes_over_no_modbus_tcp_is_asked_at_once() {
    let characters = line(2400, Parity::Even);
    let options = Options { protocols: vec![Protocol::Dlt645(Edition::V2007)], ..Options::default() };
    let mut world = World::behind_server(meters(2), Plan::of_socket(&options), characters, Duration::ZERO);
    assert_eq!(world.run(10 * MINUTE, usize::MAX), Some(End::Finished));
    assert_eq!((world.stations().len(), world.greetings, world.reopened), (2, 0, 0));
}

#[test]
fn a_master_behind_a_server_is_heard_before_anything_is_sent() {
    let characters = line(9600, Parity::None);
    let mut request = Vec::new();
    Framing::Rtu.encode(0, 9, &[4, 0, 0, 0, 10], &mut request);
    let mut world =
        World::behind_server(vec![modbus(1, characters, 20)], Plan::of_socket(&Options::default()), characters, LISTEN);
    world.other_master(characters, &request, (300, 900));
    let expected = End::ForeignMaster { protocol: Protocol::Modbus, characters: None };
    assert_eq!(world.run(MINUTE, usize::MAX), Some(expected));
    assert_eq!(world.sent, 0);
}

#[test]
fn a_master_that_asks_seldom_ends_the_scan_also_while_nobody_knows_what_the_host_is() {
    let characters = line(9600, Parity::None);
    let mut request = Vec::new();
    Framing::Rtu.encode(0, 9, &[4, 0, 0, 0, 10], &mut request);
    let plan = Plan::of_socket(&Options::default());
    let mut world = World::behind_server(vec![modbus(9, characters, 20)], plan, characters, LISTEN);
    world.other_master(characters, &request, (2_630, 4_000));
    let expected = End::ForeignMaster { protocol: Protocol::Modbus, characters: None };
    assert_eq!(world.run(MINUTE, usize::MAX), Some(expected));
    assert_eq!((world.scan.channel(), world.stations()), (Channel::Tcp, Vec::new()), "before the pair was asked");
}

#[test]
fn two_meters_with_one_unit_behind_a_server_are_told_and_garble_elsewhere_is_not() {
    let characters = line(9600, Parity::None);
    let devices = vec![modbus(5, characters, 30), modbus(5, characters, 31), modbus(6, characters, 30)];
    let options = Options { protocols: vec![Protocol::Modbus], addresses: Some((1, 20)), ..Options::default() };
    let mut world = World::behind_server(devices, Plan::new(Channel::Raw, &options), characters, Duration::ZERO);
    assert_eq!(world.run(20 * MINUTE, usize::MAX), Some(End::Finished));
    let clash = |finding: &Finding| matches!(finding, Finding::Clash(clash) if clash.station == Station::Modbus(5));
    assert_eq!(world.scan.findings().iter().filter(|finding| clash(finding)).count(), 1);
    assert_eq!(world.stations(), [Station::Modbus(6)]);
}

/// The next question of a scan to which nobody answers; when it is sent.
fn next_question(scan: &mut Scan, from: Mono) -> Mono {
    let mut now = from;
    loop {
        match scan.poll_want(now) {
            Want::Wait(until) => now = until,
            Want::Send(_) => {
                scan.handle_sent(now);
                return now;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_closes_each_connection_is_asked_in_what_is_left() {
    let mut scan = Scan::new(Plan::of_socket(&Options::default()), Duration::ZERO);
    let mut ways = vec![scan.channel()];
    let mut now = next_question(&mut scan, Mono(0));
    while scan.handle_unwanted() {
        assert_eq!(scan.poll_want(now), Want::Reopen);
        scan.handle_reopened(now);
        now = next_question(&mut scan, now);
        ways.push(scan.channel());
    }
    assert_eq!(ways, [Channel::Tcp, Channel::Raw, Channel::Tcp]);
}

#[test]
fn what_was_not_asked_is_known_when_a_scan_is_cut_short() {
    let told = |scan: &Scan| scan.unasked().iter().map(ToString::to_string).collect::<Vec<_>>();
    let options = Options { addresses: Some((1, 40)), ..Options::default() };
    let mut scan = Scan::new(Plan::new(Channel::Tcp, &options), Duration::ZERO);
    assert_eq!(told(&scan), ["modbus 1..40"]);
    let now = next_question(&mut scan, Mono(0));
    assert_eq!(told(&scan), ["modbus 1..40"], "nobody has answered yet");
    scan.handle_bytes(now, &[0, 1, 0, 0, 0, 3, 1, 0x83, 0x0B]);
    let raw = Scan::new(Plan::new(Channel::Raw, &options), Duration::ZERO);
    assert_eq!(told(&scan), ["modbus 2..40"]);
    assert_eq!(told(&raw), ["modbus 1..40", "dlt645-2007", "dlt645-1997", "cjt188-2004", "osdp 1..40"]);
}
