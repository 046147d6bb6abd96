//! Every embedded profile reads, and says what the device's sources say.

use std::collections::BTreeSet;

use gatehouse_drivers::modbus::point::{DataType, Order, Table, WriteWith};
use gatehouse_drivers::point::Protocol;
use gatehouse_drivers::profile::{Added, Argument, Call, Library, Profile, embedded};

#[test]
fn every_embedded_profile_reads_without_a_mistake() {
    for file in embedded() {
        if let Err(errors) = Profile::parse(&format!("{}.toml", file.name), file.text) {
            let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"));
        }
        assert_eq!(file.profile().name, *file.name);
    }
}

#[test]
fn every_profile_is_in_the_list_of_devices() {
    let listed = include_str!("../../docs/devices.md");
    for file in embedded() {
        let points = file.profile().points.len();
        let row = listed.lines().find(|line| line.starts_with(&format!("| `{}` |", file.name)));
        assert!(row.is_some_and(|row| row.contains(&format!("| {points} |"))), "{}: {points} points", file.name);
    }
}

#[test]
fn all_32_device_models_are_there_in_alphabetical_order() {
    let names: Vec<_> = embedded().iter().map(|file| file.name).collect();
    assert_eq!(names.len(), 32);
    assert!(names.is_sorted());
    let points: usize = embedded().iter().map(|file| file.profile().points.len()).sum();
    assert_eq!(points, 520);
}

#[test]
fn each_profile_says_where_its_facts_come_from_and_how_sure_they_are() {
    for file in embedded() {
        let profile = file.profile();
        assert!(!profile.sources.is_empty(), "{}", profile.name);
        assert!(!profile.status.is_empty(), "{}", profile.name);
        assert!(profile.defaults.unit.is_some() == (profile.protocol == Protocol::Modbus), "{}", profile.name);
        let (wired, net) = (profile.defaults.baud.is_some(), profile.defaults.tcp_port.is_some());
        assert!(wired != net || profile.protocol == Protocol::Uhppote, "{}", profile.name);
    }
}

#[test]
fn no_two_points_of_a_profile_read_the_same_thing() {
    for file in embedded() {
        let mut seen = BTreeSet::new();
        for point in &file.profile().points {
            let (name, Some(point)) = (&point.name, point.modbus()) else { continue };
            for address in point.address..point.address + point.width() {
                assert!(seen.insert((point.table, address)), "{} {name} {address}", file.name);
            }
        }
    }
}

#[test]
fn commands_survive_encoding_and_are_recognised_as_themselves() {
    for file in embedded() {
        let profile = file.profile();
        for command in &profile.commands {
            let channel = command.channels.map(|all| all.last());
            let arguments =
                [Argument::None, Argument::Units(7), Argument::Value(5), Argument::On(true), Argument::Count(3)];
            let mut pdu = Vec::new();
            let call = arguments
                .into_iter()
                .map(|argument| Call { channel, argument })
                .find(|call| command.encode(*call, &mut pdu).is_ok())
                .unwrap_or_else(|| panic!("{} {} takes no argument at all", file.name, command.name));
            assert_eq!(command.call_of(&pdu), Some(call), "{} {}", file.name, command.name);
            assert_eq!(profile.call_of(&pdu).unwrap().0.name, command.name, "{} {:02X?}", file.name, pdu);
        }
    }
}

#[test]
fn a_pulse_longer_than_the_board_can_time_is_refused() {
    let library = Library::new();
    let board = library.find("waveshare-modbus-rtu-relay-8").unwrap();
    let flash = board.command("flash_on").unwrap();
    let mut pdu = Vec::new();
    let refuse =
        |argument, channel, pdu: &mut Vec<u8>| flash.encode(Call { channel, argument }, pdu).unwrap_err().to_string();
    assert_eq!(refuse(Argument::Units(0x8000), Some(0), &mut pdu), "32768 is outside 1 to 32767");
    assert_eq!(refuse(Argument::Units(7), Some(8), &mut pdu), "there is no channel 8, the device has 0 to 7");
    assert_eq!(refuse(Argument::Units(7), None, &mut pdu), "which channel? it has 0 to 7");
    assert_eq!(refuse(Argument::None, Some(1), &mut pdu), "the command takes a time");
    assert!(pdu.is_empty());
    flash.encode(Call { channel: Some(1), argument: Argument::Units(8) }, &mut pdu).unwrap();
    assert_eq!(pdu, [0x05, 0x02, 0x01, 0x00, 0x08]);
}

#[test]
fn the_traps_of_the_models_are_in_their_profiles() {
    let library = Library::new();
    let spec = |profile: &str, point: &str| {
        library.find(profile).unwrap().points.iter().find(|known| known.name == *point).unwrap().clone()
    };
    let find = |profile: &str, point: &str| spec(profile, point).modbus().unwrap().clone();
    assert!(library.find("eastron-sdm630").unwrap().limits.even);
    assert_eq!(library.find("eastron-sdm630").unwrap().limits.max_registers, 80);
    assert_eq!(library.find("xy-md02").unwrap().limits.pause_ms, 300);
    assert_eq!(library.find("wb-mwac-v2").unwrap().defaults.stop_bits, Some(2));
    assert_eq!(find("carlogavazzi-em340", "power").order, Order::Cdab);
    assert_eq!(find("carlogavazzi-em340", "power").not_available, [0x7FFF_FFFF]);
    assert_eq!(find("schneider-iem3000", "import_energy").not_available, [0x8000_0000_0000_0000]);
    assert_eq!(find("schneider-iem3000", "import_energy").data_type, DataType::I64);
    assert_eq!(find("schneider-iem3000", "voltage_l1").address, 3027);
    assert_eq!(find("chint-dtsu666", "current_l1").scale.to_string(), "0.001");
    assert_eq!(find("advantech-adam6060", "di1").table, Table::Coil);
    assert_eq!(find("advantech-adam6060", "di1").write, None);
    assert_eq!(find("lot-turnstile", "enter_mode").write, Some(WriteWith::Registers));
    assert_eq!(find("xy-md02", "temperature").address, 1);
    assert_eq!(spec("apc-nmc2", "status3").bits[1], ("on_battery".to_owned(), 4));
}

#[test]
fn an_added_profile_goes_before_the_embedded_one_of_its_name() {
    let mut library = Library::new();
    let text =
        "vendor = \"A\"\nmodel = \"B\"\ncategory = \"c\"\npoint = [{ name = \"x\", table = \"coil\", address = 0 }]\n";
    assert_eq!(library.add_text("/etc/gatehouse/profiles/own-meter.toml", text), Ok(Added::New));
    assert_eq!(library.add_text("xy-md02.toml", text), Ok(Added::Replaced));
    assert_eq!(library.find("xy-md02").unwrap().vendor, "A");
    assert_eq!(library.names().len(), 33);
    assert!(library.is_added("own-meter") && !library.is_added("vacon-10"));
    assert_eq!(library.nearest("eastron-sdm360"), Some("eastron-sdm630"));
    assert_eq!(library.nearest("something else entirely"), None);
}
