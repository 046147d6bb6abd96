//! What a scan hears before it sends, and that it then sends nothing.

use std::time::Duration;

use super::device::{line, modbus};
use super::world::World;
use crate::line::settings::{Characters, Parity};
use crate::modbus::frame::Framing;
use crate::point::Protocol;
use crate::scan::{End, Options};

const LISTEN: Duration = Duration::from_secs(2);
const MINUTES: Duration = Duration::from_secs(300);

/// A line with one device, and a master that reads something every so often.
fn overheard(characters: Characters, (first_ms, every_ms): (u64, u64)) -> World {
    let mut world = World::new(vec![modbus(1, line(9600, Parity::None), 20)], &Options::default(), LISTEN);
    let mut request = Vec::new();
    Framing::Rtu.encode(0, 9, &[4, 0, 0, 0, 10], &mut request);
    world.other_master(characters, &request, (first_ms, every_ms));
    world
}

#[test]
fn a_master_of_another_parity_than_is_usual_at_its_speed_is_named() {
    for parity in [Parity::Even, Parity::Odd] {
        let characters = line(9600, parity);
        let mut world = overheard(characters, (300, 900));
        let expected = End::ForeignMaster { protocol: Protocol::Modbus, characters: Some(characters) };
        assert_eq!(world.run(MINUTES, usize::MAX), Some(expected));
        assert_eq!(world.sent, 0);
    }
}

#[test]
fn a_master_that_asks_seldom_at_a_speed_that_nobody_tries_is_heard_in_all_the_time_of_listening() {
    let mut world = overheard(line(14_400, Parity::None), (1000, 3500));
    let end = world.run(MINUTES, usize::MAX);
    assert!(matches!(end, Some(End::Unquiet { bytes: 16.. })), "{end:?}");
    assert_eq!(world.sent, 0);
}

#[test]
fn a_glitch_as_adapters_make_keeps_no_scan_from_asking() {
    let mut world = World::new(vec![modbus(1, line(9600, Parity::None), 20)], &Options::default(), LISTEN);
    world.other_master(line(9600, Parity::None), &[0], (500, 60_000));
    assert_eq!(world.run(MINUTES, 1), None);
    assert_eq!(world.stations().len(), 1);
}
