use std::time::Duration;

use gatehouse_drivers::cjt188;
use gatehouse_drivers::dlt645::{self, Edition};
use gatehouse_drivers::scan::{Clash, ClashSign};
use proptest::prelude::*;

use super::*;

const fn line(baud: u32, parity: Parity) -> Option<Characters> {
    Some(Characters { baud, data_bits: 8, parity, stop_bits: 1 })
}

fn found(station: Station, characters: Option<Characters>, model: Model) -> Finding {
    let identity = vec![("vendor".to_owned(), "A \"quoted\"\nmaker".to_owned())];
    Finding::Found(Found { station, characters, identity, model, has_register: matches!(station, Station::Modbus(10)) })
}

fn outcome(findings: Vec<Finding>) -> Outcome {
    Outcome {
        channel: None,
        findings,
        ending: Ending::Finished,
        elapsed: Duration::ZERO,
        remaining: Duration::ZERO,
        unasked: Vec::new(),
    }
}

fn everything() -> Vec<Finding> {
    let (usual, slow) = (line(9600, Parity::None), line(2400, Parity::Even));
    let meter = dlt645::Address::from_wire([0x34, 0x12, 0, 0, 0, 0]);
    let pipe = cjt188::Address::from_wire([0x34, 0x12, 0, 0, 0, 0x78, 0x33]);
    let water = Station::Cjt188 { meter_type: MeterType(0x12), address: pipe, order: DiOrder::HighFirst };
    vec![
        found(Station::Modbus(5), usual, Model::Known("eastron-sdm630")),
        found(Station::Modbus(6), usual, Model::Known("schneider-iem3000")),
        found(Station::Modbus(5), line(19200, Parity::Even), Model::Known("eastron-sdm630")),
        found(Station::Modbus(7), usual, Model::OneOf(vec!["eastron-sdm120", "eastron-sdm230"])),
        found(Station::Modbus(8), usual, Model::Unknown),
        found(Station::Modbus(10), usual, Model::Unknown),
        found(Station::Dlt645(Edition::V2007, meter), slow, Model::Known("dlt645-2007-1p")),
        found(water, slow, Model::Known("cjt188-cold-water")),
        found(Station::Osdp { address: 3, crc: false }, usual, Model::Known("osdp-reader")),
        Finding::Clash(Clash { station: Station::Modbus(9), characters: usual, sign: ClashSign::Garbled }),
    ]
}

fn checked(target: &Target, findings: Vec<Finding>) -> (String, gatehouse_config::Site) {
    let file = make(target, &outcome(findings), Path::new("site-scan.toml"));
    let site = gatehouse_config::check("site-scan.toml", &file.text, Path::new(""), &Library::new());
    match site {
        Ok(loaded) => {
            assert_eq!(loaded.site.devices.len(), file.devices);
            (file.text, loaded.site)
        }
        Err(problems) => panic!("{problems}\n{}", file.text),
    }
}

#[test]
fn the_file_of_a_mixed_pair_passes_the_check_and_holds_whom_one_can_poll() {
    let (text, site) = checked(&Target::Serial("/dev/ttyUSB0".into()), everything());
    let ids: Vec<&str> = site.devices.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["modbus-5", "modbus-6", "modbus-10", "meter-000000001234", "meter-33780000001234"]);
    assert_eq!(site.devices[3].characters, line(2400, Parity::Even));
    assert_eq!(site.devices[0].characters, None, "the bus has what most of them have");
    for told in [
        "# unit = 7",
        "eastron-sdm120 and eastron-sdm230",
        "# unit = 8",
        "reader_latency",
        "# id = \"modbus-5-2\"",
        "modbus address 9",
    ] {
        assert!(text.contains(told), "{told}:\n{text}");
    }
}

#[test]
fn the_file_of_a_serial_server_passes_the_check_without_line_settings() {
    let target = Target::Tcp { host: "10.0.0.6".to_owned(), port: 4001 };
    let meter = dlt645::Address::from_wire([0x34, 0x12, 0, 0, 0, 0]);
    let pipe = cjt188::Address::from_wire([0x34, 0x12, 0, 0, 0, 0x78, 0x33]);
    let water = Station::Cjt188 { meter_type: MeterType(0x10), address: pipe, order: DiOrder::LowFirst };
    let findings = vec![
        found(Station::Modbus(5), None, Model::Known("eastron-sdm630")),
        found(Station::Dlt645(Edition::V2007, meter), None, Model::Known("dlt645-2007-1p")),
        found(water, None, Model::Known("cjt188-cold-water")),
        found(Station::Osdp { address: 3, crc: true }, None, Model::Known("osdp-reader")),
    ];
    let outcome = Outcome { channel: Some(Channel::Raw), ..outcome(findings) };
    let file = make(&target, &outcome, Path::new("site-scan.toml"));
    assert!(file.text.contains("\nrtu_over_tcp = \"10.0.0.6:4001\"\n"), "{}", file.text);
    assert!(!file.text.contains("\nbaud") && !file.text.contains("\nparity"), "{}", file.text);
    let site = gatehouse_config::check("site-scan.toml", &file.text, Path::new(""), &Library::new());
    let site = site.unwrap_or_else(|problems| panic!("{problems}\n{}", file.text)).site;
    assert_eq!((site.devices.len(), file.devices), (3, 3), "the reader waits for its `reader_latency`: {}", file.text);
}

#[test]
fn what_is_a_comment_passes_the_check_once_somebody_decided() {
    let (text, _) = checked(&Target::Serial("/dev/ttyUSB0".into()), everything());
    let decided = text
        .replace("# profile = \"eastron-sdm230\"\n", "")
        .replace("# [[device]]\n# id = \"modbus-7\"\n# bus", "[[device]]\nid = \"modbus-7\"\nbus");
    let decided = decided.replace("# unit = 7\n# profile", "unit = 7\nprofile");
    let site = gatehouse_config::check("site-scan.toml", &decided, Path::new(""), &Library::new());
    assert!(site.is_ok_and(|loaded| loaded.site.device_by_id("modbus-7").is_some()), "{decided}");
}

#[test]
fn readers_alone_sockets_and_controllers_pass_the_check() {
    let usual = line(9600, Parity::None);
    let readers = vec![found(Station::Osdp { address: 3, crc: true }, usual, Model::Known("osdp-reader"))];
    assert_eq!(checked(&Target::Serial("/dev/ttyUSB0".into()), readers).1.devices.len(), 1);
    let tcp = Target::Tcp { host: "fd00::5".to_owned(), port: 1502 };
    let units = vec![found(Station::Modbus(0), None, Model::Known("eastron-sdm630"))];
    assert_eq!(checked(&tcp, units).1.devices.len(), 1);
    let udp = Target::Udp { host: "255.255.255.255".to_owned(), port: 60_000 };
    let doors = vec![found(Station::Uhppote(423_187_757), None, Model::Known("uhppote-4door"))];
    assert_eq!(checked(&udp, doors).1.devices.len(), 1);
}

#[test]
fn a_meter_whose_number_cannot_be_named_is_a_comment_that_says_why() {
    let slow = line(2400, Parity::Even);
    let known = Model::Known("dlt645-2007-1p");
    let meter =
        |bytes: [u8; 6]| found(Station::Dlt645(Edition::V2007, dlt645::Address::from_wire(bytes)), slow, known.clone());
    let findings =
        vec![meter([0xAA; 6]), meter([0x1B, 0x12, 0, 0, 0, 0]), meter([0x34, 0x12, 0, 0, 0, 0]), meter([0x99; 6])];
    let (text, site) = checked(&Target::Serial("/dev/ttyUSB0".into()), findings);
    assert_eq!(site.devices.len(), 1, "{text}");
    for told in [
        "# It gives AA for its number or its kind",
        "# Its number has digits A to F",
        "# id = \"meter-00000000121b\"",
        "# `gatehouse check` refuses it: `address` = \"999999999999\" is no address of a meter.",
    ] {
        assert!(text.contains(told), "{told}:\n{text}");
    }
}

#[test]
fn of_two_with_one_address_the_second_is_a_comment_that_names_the_first() {
    let usual = line(9600, Parity::None);
    let model = Model::Known("eastron-sdm630");
    let findings = vec![
        found(Station::Modbus(5), usual, model.clone()),
        found(Station::Modbus(5), line(9600, Parity::Even), model),
    ];
    let (text, site) = checked(&Target::Serial("/dev/ttyUSB0".into()), findings);
    assert_eq!(site.devices.len(), 1);
    assert!(
        text.contains("# It has the address of modbus-5 above, and answers otherwise: at another speed or parity"),
        "{text}"
    );
}

#[test]
fn what_is_to_be_done_for_many_is_said_once() {
    let unknown = |unit| found(Station::Modbus(unit), line(9600, Parity::None), Model::Unknown);
    let findings = vec![unknown(10), unknown(11), unknown(12), unknown(13)];
    let (text, _) = checked(&Target::Serial("/dev/ttyUSB0".into()), findings);
    assert_eq!(text.matches("No profile is known to suit").count(), 2, "with register 0 and without: {text}");
    assert_eq!(text.matches("# What is said of modbus-11 above holds for it too.\n").count(), 2, "{text}");
}

#[test]
fn two_controllers_with_one_serial_number_are_told_as_such() {
    let clash = Clash { station: Station::Uhppote(7), characters: None, sign: ClashSign::Differ };
    let udp = Target::Udp { host: "192.168.7.255".to_owned(), port: 60_000 };
    let file = make(&udp, &outcome(vec![Finding::Clash(clash)]), Path::new("site-scan.toml"));
    assert_eq!(file.devices, 0);
    assert!(file.text.contains("# two controllers answer with the serial number 7, which"), "{}", file.text);
    assert!(!file.text.contains("off the line"), "{}", file.text);
}

fn a_number<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    // Decimal digits, so that many are sound and some alike; others, and AA, now and then.
    let byte = prop_oneof![8 => 0u8..3, 2 => any::<u8>(), 1 => Just(0xAA), 1 => Just(0x99)];
    proptest::collection::vec(byte, N).prop_map(|bytes| bytes.try_into().unwrap_or([0; N]))
}

fn a_model(names: &'static [&'static str]) -> impl Strategy<Value = Model> {
    prop_oneof![
        3 => proptest::sample::select(names).prop_map(Model::Known),
        1 => Just(Model::OneOf(names.to_vec())),
        1 => Just(Model::Unknown),
        1 => Just(Model::NotAsked),
    ]
}

fn a_station() -> impl Strategy<Value = (Station, Model)> {
    let edition = prop_oneof![Just(Edition::V2007), Just(Edition::V1997)];
    let order = prop_oneof![Just(DiOrder::LowFirst), Just(DiOrder::HighFirst)];
    let kind = prop_oneof![Just(0x10u8), Just(0x20), Just(0x22), Just(0xAA), any::<u8>()];
    let pipe = (kind, a_number::<7>(), order).prop_map(|(kind, bytes, order)| Station::Cjt188 {
        meter_type: MeterType(kind),
        address: cjt188::Address::from_wire(bytes),
        order,
    });
    let power = (edition, a_number::<6>())
        .prop_map(|(edition, bytes)| Station::Dlt645(edition, dlt645::Address::from_wire(bytes)));
    let reader = (0u8..=126, any::<bool>()).prop_map(|(address, crc)| Station::Osdp { address, crc });
    prop_oneof![
        (any::<u8>().prop_map(Station::Modbus), a_model(&["eastron-sdm120", "eastron-sdm630", "acrel-adl400"])),
        (power, a_model(&["dlt645-2007-1p", "dlt645-2007-3p", "dlt645-1997-3p"])),
        (pipe, a_model(&["cjt188-cold-water", "cjt188-heat"])),
        (reader, a_model(&["osdp-reader"])),
        (any::<u32>().prop_map(Station::Uhppote), a_model(&["uhppote-4door"])),
    ]
}

prop_compose! {
    fn a_finding()(
        (station, model) in a_station(),
        baud in proptest::sample::select(&[1200u32, 2400, 9600, 115_200][..]),
        parity in prop_oneof![Just(Parity::None), Just(Parity::Even), Just(Parity::Odd)],
        identity in proptest::collection::vec(("[a-z]{1,9}", any::<String>()), 0..3),
        has_register in any::<bool>(),
        is_clash in proptest::bool::weighted(0.1),
        on_socket in any::<bool>(),
    ) -> Finding {
        let characters = if on_socket { None } else { line(baud, parity) };
        if is_clash {
            return Finding::Clash(Clash { station, characters, sign: ClashSign::Twice });
        }
        Finding::Found(Found { station, characters, identity, model, has_register })
    }
}

fn a_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        3 => Just("/dev/ttyUSB0".to_owned()),
        1 => "[a-z0-9.-]{1,20}(:[1-9][0-9]{0,3})?",
        1 => Just("[fd00::5]:1502".to_owned()),
        1 => Just("udp:10.0.0.255".to_owned()),
        1 => "[^\0]{0,12}/[^\0]{0,12}",
    ]
    .prop_filter_map("it is no target", |text| Target::parse(&text).ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_found_the_file_passes_the_check_or_has_a_reason_for_each_device(
        target in a_target(),
        findings in proptest::collection::vec(a_finding(), 1..6),
        name in "\\PC{1,12}\n?",
    ) {
        let file = make(&target, &outcome(findings.clone()), Path::new(&name));
        let checked = gatehouse_config::check("site.toml", &file.text, Path::new(""), &Library::new());
        match checked {
            Ok(loaded) => prop_assert_eq!(loaded.site.devices.len(), file.devices),
            Err(problems) => prop_assert_eq!(file.devices, 0, "{}\n{}", problems, file.text),
        }
        let told = file.text.matches("id = \"").count() - 2;
        let devices = findings.iter().filter(|finding| matches!(finding, Finding::Found(_))).count();
        prop_assert!(told >= devices, "each device is in the file:\n{}", file.text);
        prop_assert!(toml::from_str::<toml::Table>(&file.text).is_ok(), "{}", file.text);
    }
}
