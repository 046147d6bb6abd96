//! Meters behind wildcards that cannot be told apart.

use std::time::Duration;

use super::device::{Device, Kind, electricity, line};
use super::world::World;
use crate::cjt188::{self, MeterType};
use crate::dlt645::{Address, Edition};
use crate::line::settings::{Characters, Parity};
use crate::point::Protocol;
use crate::scan::usual::{CJT188, DLT645};
use crate::scan::{ClashSign, End, Finding, Options, Station};

const HOUR: Duration = Duration::from_secs(3600);

fn scan(devices: Vec<Device>) -> World {
    scan_of(Protocol::Dlt645(Edition::V2007), 2400, devices)
}

fn scan_of(protocol: Protocol, baud: u32, devices: Vec<Device>) -> World {
    let options = Options { protocols: vec![protocol], bauds: vec![baud], addresses: None };
    let mut world = World::new(devices, &options, Duration::ZERO);
    assert_eq!(world.run(3 * HOUR, usize::MAX), Some(End::Finished), "it has no end");
    world
}

fn crowds(world: &World) -> Vec<Station> {
    let of = |finding: &Finding| match finding {
        Finding::Clash(clash) if clash.sign == ClashSign::Crowd => Some(clash.station),
        Finding::Clash(_) | Finding::Found(_) => None,
    };
    world.scan.findings().iter().filter_map(of).collect()
}

fn device(kind: Kind, turnaround_ms: u64) -> Device {
    Device { kind, characters: line(2400, Parity::Even), turnaround_ms, is_lax: false }
}

#[test]
fn what_garbles_whatever_is_asked_is_told_and_not_narrowed_without_end() {
    let world = scan(vec![device(Kind::Babbler { bytes: 20 }, 60)]);
    println!("it took {} s and {} requests", world.now / 1_000_000_000, world.sent);
    assert_eq!(crowds(&world), [Station::Dlt645(Edition::V2007, Address::ANY)]);
    assert!(world.now < 300_000_000_000, "it took {} s", world.now / 1_000_000_000);
    let [Finding::Clash(clash)] = world.scan.findings() else { panic!("{:?}", world.scan.findings()) };
    assert_eq!(
        clash.to_string(),
        "several meters answer at dlt645-2007 address AAAAAAAAAAAA at once, and no narrower question tells them apart. \
         Connect them one by one, and scan each"
    );
}

/// Two meters of a kind that know no wildcard but the widest are told, and one alone is found.
fn are_told(protocol: Protocol, characters: Characters, crowd: Station, meter: impl Fn(u8) -> Kind) {
    let device = |last: u8| Device {
        kind: Kind::WideOnly(Box::new(meter(last))),
        characters,
        turnaround_ms: 60 + u64::from(last) * 20,
        is_lax: false,
    };
    let world = scan_of(protocol, characters.baud, vec![device(1), device(2)]);
    println!("{crowd:?} at {characters} took {} s and {} requests", world.now / 1_000_000_000, world.sent);
    assert_eq!(crowds(&world), [crowd], "{characters}");
    let world = scan_of(protocol, characters.baud, vec![device(1)]);
    assert_eq!((world.stations().len(), crowds(&world).len()), (1, 0), "{characters}: {:?}", world.scan.findings());
}

#[test]
fn meters_that_know_the_widest_wildcard_alone_are_told() {
    for (edition, baud, _) in DLT645 {
        let crowd = Station::Dlt645(edition, Address::ANY);
        let meter = |last| Kind::Dlt645 { edition, address: [last, 0, 7, 0x45, 0x12, 0], phases: 1 };
        are_told(Protocol::Dlt645(edition), line(baud, Parity::Even), crowd, meter);
    }
    for (order, baud, parity, _) in CJT188 {
        let crowd = Station::Cjt188 { meter_type: MeterType::ANY, address: cjt188::Address::ANY, order };
        let meter = |last| {
            let address = [last, 0x33, 0x22, 0x11, 0x00, 0x78, 0x33];
            Kind::Cjt188 { order, meter_type: 0x10, address, payload: 19 }
        };
        are_told(Protocol::Cjt188(cjt188::Edition::V2004), line(baud, parity), crowd, meter);
    }
}

#[test]
fn a_pair_that_is_full_of_meters_is_no_crowd() {
    let meters = (0..40u32).map(|at| {
        let number = at * 7919 % 1_000_000;
        let digits = |part: u32| u8::try_from(number / part % 100).unwrap();
        electricity([digits(1), digits(100), digits(10_000)], 1, 2400, 30 + u64::from(at % 7) * 10)
    });
    let world = scan(meters.collect());
    println!("40 meters took {} s and {} requests", world.now / 1_000_000_000, world.sent);
    assert_eq!((world.stations().len(), crowds(&world).len()), (40, 0));
}
