//! A site file of what was found: whom one can poll as it stands, and as comments whom one cannot yet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use gatehouse_config::Parity;
use gatehouse_drivers::cjt188::DiOrder;
use gatehouse_drivers::line::Characters;
use gatehouse_drivers::profile::Library;
use gatehouse_drivers::scan::{Finding, Found, Model, Station};

use super::drive::{Ending, Outcome};
use super::target::Target;
use super::{report, shown};

/// The id of the bus.
const BUS: &str = "bus-1";

/// The point that a device of an unknown model was found by.
const REGISTER: &str = "[[device.point]]\nname = \"holding_0\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n";

/// The whole file.
pub(super) fn text(target: &Target, outcome: &Outcome, path: &Path) -> String {
    let usual = usual(&outcome.findings);
    let mut text = format!(
        "# Found by `gatehouse scan {target}`{}.\n\
         # Compare one value of each device with its display before anything is billed, give the devices the ids and titles\n\
         # of the site, add [uplink], and run `gatehouse check --config {}`.\n\n\
         [site]\nid = \"site-1\" # the box's permanent name towards the core: choose it now\n\n",
        if outcome.ending == Ending::Finished { "" } else { ", which did not try everything" },
        shown(path),
    );
    text += &bus(target, usual);
    let mixed = has_readers_beside_others(&outcome.findings);
    let mut ids = BTreeMap::new();
    for finding in &outcome.findings {
        match finding {
            Finding::Found(found) => text += &device(found, usual, mixed, &mut ids),
            Finding::Clash(clash) => {
                let _ = write!(text, "\n# {clash}.\n");
            }
        }
    }
    text
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn bus(target: &Target, usual: Option<Characters>) -> String {
    let port = match target {
        Target::Serial(path) => format!("serial = {}\n", quoted(&path.to_string_lossy())),
        Target::Tcp { .. } => format!("tcp = {}\n", quoted(&target.kind().to_string())),
        Target::Udp { .. } => format!("udp = {}\n", quoted(&target.kind().to_string())),
    };
    let line = usual.map(settings).unwrap_or_default();
    format!("[[bus]]\nid = \"{BUS}\"\n{port}{line}")
}

fn settings(line: Characters) -> String {
    let parity = match line.parity {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    };
    format!("baud = {}\nparity = \"{parity}\"\n", line.baud)
}

/// The line settings that most of the devices have.
fn usual(findings: &[Finding]) -> Option<Characters> {
    let mut counts: BTreeMap<Characters, usize> = BTreeMap::new();
    for finding in findings {
        if let Finding::Found(Found { characters: Some(line), .. }) = finding {
            *counts.entry(*line).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(line, _)| line)
}

/// Readers want an answer soon, which other protocols on the pair delay: somebody has to accept that first.
fn has_readers_beside_others(findings: &[Finding]) -> bool {
    let reader = |finding: &&Finding| matches!(finding, Finding::Found(Found { station: Station::Osdp { .. }, .. }));
    let readers = findings.iter().filter(reader).count();
    let found = findings.iter().filter(|finding| matches!(finding, Finding::Found(_))).count();
    readers > 0 && readers < found
}

/// A device; as comments where something has to be decided or found out before it can be polled.
fn device(found: &Found, usual: Option<Characters>, mixed: bool, ids: &mut BTreeMap<String, u32>) -> String {
    let mut note = String::new();
    let says = report::identity(found);
    if !says.is_empty() {
        note += &format!("# It says of itself: {says}.\n");
    }
    let (id, again) = id(found, ids);
    let mut lines = format!("[[device]]\nid = \"{id}\"\nbus = \"{BUS}\"\n{}", address(&found.station));
    if let Some(line) = found.characters.filter(|line| Some(*line) != usual) {
        lines += &settings(line);
    }
    let known = match &found.model {
        Model::Known(name) => {
            lines += &format!("profile = \"{name}\"\n");
            lines += &meter_type(&found.station, name);
            true
        }
        Model::OneOf(names) => {
            note += &format!(
                "# Its registers suit {}: read its plate, keep that one and take the # away.\n",
                names.join(" and ")
            );
            for name in names {
                lines += &format!("profile = \"{name}\"\n");
            }
            false
        }
        Model::NotAsked if found.has_register => {
            note += "# The scan ended before it asked for the model. All that is known of its registers is the one that it answered\n\
                     # by: scan again for its unit alone (`--address`), name a profile instead, or add points from its manual.\n";
            lines += REGISTER;
            true
        }
        Model::NotAsked => {
            note += "# The scan ended before it asked for the model: scan again, or name a profile (`gatehouse profiles`) and take\n\
                     # the # away.\n";
            false
        }
        Model::Unknown if found.has_register => {
            note += "# No profile is known to suit. All that is known of its registers is the one that it answered by: name a\n\
                     # profile instead (`gatehouse profiles`), or add points from its manual; `gatehouse guess` finds type, order\n\
                     # and scale of a register by the display.\n";
            lines += REGISTER;
            true
        }
        Model::Unknown => {
            note += "# No profile is known to suit, and it refuses holding register 0: name a profile (`gatehouse profiles`), or\n\
                     # add points from its manual, and take the # away. `gatehouse guess` finds type, order and scale of a\n\
                     # register by the display.\n";
            false
        }
    };
    let waits = mixed && matches!(found.station, Station::Osdp { .. });
    if again {
        note +=
            "# It has the address of a device above, at another speed: give it an address of its own, scan again.\n";
    }
    if waits {
        note += "# A reader beside slower devices: a card may wait for them. Give the bus `reader_latency` (`gatehouse check`\n\
                 # tells how long it is), or better a pair of its own, and take the # away.\n";
    }
    if !known || waits || again {
        lines = lines.lines().map(|line| format!("# {line}\n")).collect();
    }
    format!("\n{note}{lines}")
}

/// An id that no other device of the file has, and whether another has its address.
fn id(found: &Found, ids: &mut BTreeMap<String, u32>) -> (String, bool) {
    let kind = match found.station {
        Station::Modbus(_) => "modbus",
        Station::Dlt645(..) | Station::Cjt188 { .. } => "meter",
        Station::Osdp { .. } => "reader",
        Station::Uhppote(_) => "controller",
    };
    let id = format!("{kind}-{}", found.station);
    let count = ids.entry(id.clone()).or_default();
    *count += 1;
    if *count == 1 { (id, false) } else { (format!("{id}-{count}"), true) }
}

fn address(station: &Station) -> String {
    match station {
        Station::Modbus(unit) => format!("unit = {unit}\n"),
        Station::Dlt645(_, address) => format!("address = \"{address}\"\n"),
        Station::Cjt188 { address, order, .. } => {
            let order = match order {
                DiOrder::LowFirst => "",
                DiOrder::HighFirst => "di_order = \"high-first\"\n",
            };
            format!("address = \"{address}\"\n{order}")
        }
        Station::Osdp { address, crc } => {
            format!("address = {address}\n{}", if *crc { "" } else { "check = \"checksum\"\n" })
        }
        Station::Uhppote(serial) => format!("serial = {serial}\n"),
    }
}

/// The type of a meter, where its profile is of another.
fn meter_type(station: &Station, profile: &str) -> String {
    let Station::Cjt188 { meter_type, .. } = station else { return String::new() };
    let same = Library::new().find(profile).is_some_and(|profile| profile.meter.meter_type == *meter_type);
    if same { String::new() } else { format!("meter_type = \"{meter_type}\"\n") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatehouse_drivers::cjt188::{self, MeterType};
    use gatehouse_drivers::dlt645::{self, Edition};
    use gatehouse_drivers::scan::{Clash, ClashSign};

    use super::*;

    const fn line(baud: u32, parity: Parity) -> Option<Characters> {
        Some(Characters { baud, data_bits: 8, parity, stop_bits: 1 })
    }

    fn found(station: Station, characters: Option<Characters>, model: Model) -> Finding {
        let identity = vec![("vendor".to_owned(), "A \"quoted\"\nmaker".to_owned())];
        Finding::Found(Found {
            station,
            characters,
            identity,
            model,
            has_register: matches!(station, Station::Modbus(10)),
        })
    }

    fn outcome(findings: Vec<Finding>) -> Outcome {
        Outcome { findings, ending: Ending::Finished, elapsed: Duration::ZERO, remaining: Duration::ZERO }
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
        let text = text(target, &outcome(findings), Path::new("site-scan.toml"));
        let site = gatehouse_config::check("site-scan.toml", &text, Path::new(""), &Library::new());
        match site {
            Ok(loaded) => (text, loaded.site),
            Err(problems) => panic!("{problems}\n{text}"),
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
}
