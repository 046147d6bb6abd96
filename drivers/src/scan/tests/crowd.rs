//! Meters behind wildcards that cannot be told apart.

use std::time::Duration;

use super::device::{Device, Kind, electricity, line};
use super::world::World;
use crate::dlt645::{Address, Edition};
use crate::line::settings::Parity;
use crate::point::Protocol;
use crate::scan::{ClashSign, End, Finding, Options, Station};

const HOUR: Duration = Duration::from_secs(3600);

fn scan(devices: Vec<Device>) -> World {
    let options = Options { protocols: vec![Protocol::Dlt645(Edition::V2007)], bauds: vec![2400], addresses: None };
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

#[test]
fn meters_that_know_the_widest_wildcard_alone_are_told() {
    let meter = |last| device(Kind::WideOnly { address: [last, 0, 7, 0x45, 0x12, 0] }, 60 + u64::from(last) * 20);
    let world = scan(vec![meter(1), meter(2)]);
    println!("it took {} s and {} requests", world.now / 1_000_000_000, world.sent);
    assert_eq!(crowds(&world), [Station::Dlt645(Edition::V2007, Address::ANY)]);
    // One alone is found.
    let world = scan(vec![meter(1)]);
    assert_eq!((world.stations().len(), crowds(&world).len()), (1, 0), "{:?}", world.scan.findings());
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
