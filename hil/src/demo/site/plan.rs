//! What there is at the simulated site: its devices, gates and rules, as they are written down.

/// What a device is to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo) enum Role {
    /// It measures.
    Meter,
    /// A relay board that moves a barrier.
    Barrier,
    /// A relay board that holds a door.
    Door,
    /// A card reader.
    Reader,
}

/// Where a device hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    LineA,
    LineB,
    /// The pair on which three protocols and two line settings meet.
    LineC,
    /// The pair of the card reader.
    Readers,
    Tcp,
}

use Place::{LineA, LineB, LineC, Readers, Tcp};
use Role::{Barrier, Door, Meter as M, Reader};

/// Id, title, role, place, unit or the number of its address, profile, interval.
pub(super) type Plan = (&'static str, &'static str, Role, Place, u8, &'static str, &'static str);

pub(super) const PLAN: [Plan; 23] = [
    ("meter-main", "Main intake", M, LineA, 1, "eastron-sdm630", "5s"),
    ("meter-lift", "Lifts", M, LineA, 2, "chint-dtsu666", "5s"),
    ("meter-pump", "Water pumps", M, LineA, 4, "peacefair-pzem016", "1s"),
    ("climate-switchroom", "Switch room", M, LineA, 5, "xy-md02", "2s"),
    ("barrier-entry", "Garage entry", Barrier, LineA, 7, "juying-dam0808", "250ms"),
    ("meter-101", "Flat 101", M, LineB, 1, "eastron-sdm120", "2s"),
    ("meter-102", "Flat 102", M, LineB, 2, "eastron-sdm120", "2s"),
    ("meter-shop-1", "Bakery", M, LineB, 4, "schneider-iem3000", "2s"),
    ("meter-shop-2", "Pharmacy", M, LineB, 5, "schneider-iem3000", "2s"),
    ("barrier-exit", "Garage exit", Barrier, LineB, 7, "juying-dam0808", "250ms"),
    ("door-lobby", "Lobby door", Door, LineB, 8, "waveshare-modbus-rtu-relay-8", "1s"),
    ("meter-garage", "Garage lighting", M, LineC, 3, "acrel-adl400", "5s"),
    ("meter-103", "Flat 103", M, LineC, 4, "eastron-sdm230", "5s"),
    ("meter-201", "Flat 201", M, LineC, 201, "dlt645-2007-1p", "5s"),
    ("meter-202", "Flat 202", M, LineC, 202, "dlt645-2007-1p", "5s"),
    ("water-201", "Water, flat 201", M, LineC, 211, "cjt188-cold-water", "5s"),
    ("heat-201", "Heat, flat 201", M, LineC, 212, "cjt188-heat-2004", "5s"),
    ("reader-garage", "Garage reader", Reader, Readers, 1, "osdp-reader", "100ms"),
    ("meter-hvac", "Ventilation", M, Tcp, 1, "schneider-pm5000", "1s"),
    ("meter-chiller", "Chiller", M, Tcp, 1, "schneider-pm5000", "1s"),
    ("meter-solar", "Roof plant", M, Tcp, 1, "janitza-umg96rm", "1s"),
    ("meter-charging", "Car charging", M, Tcp, 1, "carlogavazzi-em340", "1s"),
    ("door-garage", "Garage door", Door, Tcp, 1, "advantech-adam6060", "250ms"),
];

/// The gates, as the site file and the traffic call them: ids, titles and boards.
pub(in crate::demo) const GATES: [(&str, &str, &str); 3] = [
    ("garage-entry", "Garage entry", "barrier-entry"),
    ("garage-exit", "Garage exit", "barrier-exit"),
    ("garage-door", "Garage door", "door-garage"),
];
/// The lane that the script watches.
pub(in crate::demo) const ENTRY: &str = GATES[0].0;
/// The other lane.
pub(in crate::demo) const EXIT: &str = GATES[1].0;
/// The door.
pub(in crate::demo) const DOOR: &str = GATES[2].0;
/// The magnet's coil, and the inputs of leaf and button, of the door's board.
pub(super) const DOOR_LOCK: u16 = 16;
pub(super) const DOOR_CONTACT: u16 = 0;
pub(super) const DOOR_BUTTON: u16 = 1;

/// What the site file says of who may pass; `{...}` are filled in.
pub(super) const GATE_TABLES: &str = r#"
[access]
core_keys = ["{core_key}"]
lookup_key = { file = "{lookup_key}" }
seal_key = { file = "{seal_key}" }

# The boards time the pulses themselves: nothing stays on when the box or the line dies. Gates decide by the credentials
# that they hold; the core's answers count over TLS only, which this broker does not speak.
[[gate]]
id = "garage-entry"
kind = "barrier"
open = { device = "barrier-entry", command = "flash_on", channel = 0, time = "500ms" }
close = { device = "barrier-entry", command = "flash_on", channel = 1, time = "500ms" }
stop = { device = "barrier-entry", command = "flash_on", channel = 2, time = "500ms" }
fire_source = "fire-panel"
timing = { travel = "3s" }
policy = { close_by_box = true, close_after = "1s", pass_within = "30s", tailgate = "record" }
access = { decide = "local", offline = "allow_known" }

[gate.sensors]
open_limit = "barrier-entry/input1"
close_limit = "barrier-entry/input2"
loop_under_boom = "barrier-entry/input3"
loop_approach = "barrier-entry/input5"
fire = "barrier-entry/input8"

[[gate]]
id = "garage-exit"
kind = "barrier"
direction = "out"
open = { device = "barrier-exit", command = "flash_on", channel = 0, time = "500ms" }
close = { device = "barrier-exit", command = "flash_on", channel = 1, time = "500ms" }
stop = { device = "barrier-exit", command = "flash_on", channel = 2, time = "500ms" }
fire_source = "fire-panel"
timing = { travel = "3s" }
policy = { close_by_box = true, close_after = "1s", pass_within = "30s", tailgate = "record" }
access = { decide = "local", offline = "allow_known" }

[gate.sensors]
open_limit = "barrier-exit/input1"
close_limit = "barrier-exit/input2"
loop_under_boom = "barrier-exit/input3"
loop_approach = "barrier-exit/input5"
fire = "barrier-entry/input8"

[[gate]]
id = "garage-door"
kind = "door"
lock = { point = "door-garage/do1", level = true }
fire_source = "fire-panel"
access = { decide = "local", offline = "allow_known" }

[gate.sensors]
door_contact = "door-garage/di1"
exit_button = "door-garage/di2"
fire = "barrier-entry/input8"

[[reader]]
name = "camera-entry"
gate = "garage-entry"

[[reader]]
name = "camera-exit"
gate = "garage-exit"

[[reader]]
name = "cards-garage"
gate = "garage-door"
device = "reader-garage"
"#;

/// The rules of the demo.
pub(super) const RULES: &str = r#"# Rules of the simulated site.
[[alarm]]
id = "overvoltage"
title = "Voltage too high"
priority = "p2"
auto_acknowledge = true
on = { profile = "eastron-sdm120" }
when = "voltage > 253"
deadband = "3"
for = "1s"
message = "{voltage} V at {device.title}"
instruction = "Measure at the riser's main switch; above 253 V on all phases, call the supplier."

[[alarm]]
id = "car-waits"
title = "A car waits at the entry"
priority = "p3"
auto_acknowledge = true
on = { device = "barrier-entry" }
when = "input5"
for = "15s"
message = "a car stands at the entry and does not get in"

# A dead device is a work order at once, and proposed for closing as soon as the device has answered for two seconds.
[[ticket]]
id = "device"
targets = { p2 = { response = 1, resolve = 5 } }
settle = "2s"
"#;

/// What holds for every bus: a dead device is found again soon.
pub(super) const BUS: &str = "timeout = \"400ms\"\nbackoff_min = \"1s\"\nbackoff_max = \"4s\"";

/// The RS-485 lines and the speeds that their ports are opened with.
pub(super) const LINES: [(&str, Place, u32); 4] =
    [("line-a", LineA, 9600), ("line-b", LineB, 19_200), ("line-c", LineC, 9600), ("readers", Readers, 9600)];

/// Points that are read of a device that shows more than the site needs; `None`: all of them.
pub(super) fn points(profile: &str) -> Option<&'static [&'static str]> {
    match profile {
        "dlt645-2007-1p" => {
            Some(&["import_energy", "import_energy_t1", "import_energy_t2", "voltage", "current", "power"])
        }
        "cjt188-cold-water" => Some(&["volume", "settlement_volume"]),
        "cjt188-heat-2004" => {
            Some(&["heat", "heat_power", "flow", "volume", "supply_temperature", "return_temperature"])
        }
        "osdp-reader" => Some(&["card", "cards", "dropped", "tamper", "connected", "secure"]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_has_what_the_readme_promises() {
        let count = |role, place: Option<Place>| {
            PLAN.iter().filter(|plan| plan.2 == role && place.is_none_or(|place| plan.3 == place)).count()
        };
        assert!(count(M, None) >= 12);
        assert!([LineA, LineB, LineC, Tcp].into_iter().all(|place| count(M, Some(place)) >= 3));
        assert_eq!((count(Barrier, None), count(Door, None), count(Reader, None)), (2, 2, 1));
        let of = |profile: &str| PLAN.iter().filter(|plan| plan.3 == LineC && plan.5.starts_with(profile)).count();
        assert_eq!((of("dlt645"), of("cjt188")), (2, 2), "beside the Modbus meters of this pair");
    }
}
