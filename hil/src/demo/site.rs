//! The simulated site of the demo: meters on two RS-485 lines and on Modbus TCP, two barriers, two door controllers,
//! and the gates and rules that its site file makes of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use gatehouse_core::{Kind, Value};
use gatehouse_drivers::modbus::point::Table;
use gatehouse_drivers::profile::{Library, Profile};

use super::books::Books;
use super::core::Secrets;
use super::traffic::{Doorway, Lane};
use crate::line::{SerialLine, Speed};
use crate::receive::{Context, Delivered, Judge, Record, Verdict};
use crate::rig::SiteFile;
use crate::sim_clock::wall_us;
use crate::slave::answer::Memory;
use crate::slave::boom::{Boom, input};
use crate::slave::meter::Meter;
use crate::slave::model::Model;
use crate::slave::relay::{Pulses, RelayBoard, Switches};
use crate::slave::tcp::{TcpSlave, TcpSlaves};

/// What a device is to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It measures.
    Meter,
    /// A relay board that moves a barrier.
    Barrier,
    /// A relay board that holds a door.
    Door,
}

/// Where a device hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineA,
    LineB,
    Tcp,
}

use Place::{LineA, LineB, Tcp};
use Role::{Barrier, Door, Meter as M};

/// Id, title, role, place, unit, profile, interval.
type Plan = (&'static str, &'static str, Role, Place, u8, &'static str, &'static str);

const PLAN: [Plan; 18] = [
    ("meter-main", "Main intake", M, LineA, 1, "eastron-sdm630", "5s"),
    ("meter-lift", "Lifts", M, LineA, 2, "chint-dtsu666", "5s"),
    ("meter-garage", "Garage lighting", M, LineA, 3, "acrel-adl400", "5s"),
    ("meter-pump", "Water pumps", M, LineA, 4, "peacefair-pzem016", "1s"),
    ("climate-switchroom", "Switch room", M, LineA, 5, "xy-md02", "2s"),
    ("barrier-entry", "Garage entry", Barrier, LineA, 7, "juying-dam0808", "250ms"),
    ("meter-101", "Flat 101", M, LineB, 1, "eastron-sdm120", "2s"),
    ("meter-102", "Flat 102", M, LineB, 2, "eastron-sdm120", "2s"),
    ("meter-103", "Flat 103", M, LineB, 3, "eastron-sdm230", "2s"),
    ("meter-shop-1", "Bakery", M, LineB, 4, "schneider-iem3000", "2s"),
    ("meter-shop-2", "Pharmacy", M, LineB, 5, "schneider-iem3000", "2s"),
    ("barrier-exit", "Garage exit", Barrier, LineB, 7, "juying-dam0808", "250ms"),
    ("door-lobby", "Lobby door", Door, LineB, 8, "waveshare-modbus-rtu-relay-8", "1s"),
    ("meter-hvac", "Ventilation", M, Tcp, 1, "schneider-pm5000", "1s"),
    ("meter-chiller", "Chiller", M, Tcp, 1, "schneider-pm5000", "1s"),
    ("meter-solar", "Roof plant", M, Tcp, 1, "janitza-umg96rm", "1s"),
    ("meter-charging", "Car charging", M, Tcp, 1, "carlogavazzi-em340", "1s"),
    ("door-garage", "Garage door", Door, Tcp, 1, "advantech-adam6060", "250ms"),
];

/// The gates, as the site file and the traffic call them: ids, titles and boards.
pub(super) const GATES: [(&str, &str, &str); 3] = [
    ("garage-entry", "Garage entry", "barrier-entry"),
    ("garage-exit", "Garage exit", "barrier-exit"),
    ("garage-door", "Garage door", "door-garage"),
];
/// The lane that the script watches.
pub(super) const ENTRY: &str = GATES[0].0;
/// The other lane.
pub(super) const EXIT: &str = GATES[1].0;
/// The door.
pub(super) const DOOR: &str = GATES[2].0;
/// The magnet's coil, and the inputs of leaf and button, of the door's board.
const DOOR_LOCK: u16 = 16;
const DOOR_CONTACT: u16 = 0;
const DOOR_BUTTON: u16 = 1;

/// What the site file says of who may pass; `{...}` are filled in.
const GATE_TABLES: &str = r#"
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
"#;

/// The rules of the demo.
const RULES: &str = r#"# Rules of the simulated site.
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

/// Time from one set of values to the next.
const PERIOD_US: i64 = 1_000_000;
/// A record's values may be this much older than its time: a poll of several requests, repeated after a timeout.
const POLL_SPAN_US: i64 = 5_000_000;

/// One simulated device.
pub(super) struct Device {
    /// Its id in the site file.
    pub(super) id: &'static str,
    /// What it is, for people.
    pub(super) title: &'static str,
    /// What it is to the site.
    pub(super) role: Role,
    /// Its bus in the site file.
    pub(super) bus: String,
    /// Its address there.
    pub(super) unit: u8,
    /// Its profile.
    pub(super) profile: &'static str,
    interval: &'static str,
    model: Arc<Model>,
    coils: Switches,
    inputs: Option<Switches>,
    boom: Option<Boom>,
    billing: Option<String>,
}

/// The running site.
pub(super) struct Site {
    /// Every device, in the order of the site file.
    pub(super) devices: Vec<Device>,
    /// The RS-485 lines, with the ids of their buses.
    pub(super) lines: [(&'static str, SerialLine); 2],
    /// The Modbus TCP devices, one server each.
    pub(super) tcp: Vec<(String, TcpSlaves)>,
}

impl Device {
    /// Further keys of a board that works a gate: which points are read, and when they are worth a record.
    fn watched(&self) -> &'static str {
        match (&self.boom, &self.inputs) {
            // The relays that move the boom are left out: as no point of the site, nobody can write them past the gate.
            (Some(_), _) => {
                "\npoints = [\"input1\", \"input2\", \"input3\", \"input5\", \"input8\"]\nreport = \"on-change\""
            }
            (None, Some(_)) => "\npoints = [\"di1\", \"di2\", \"do1\"]\nreport = \"on-change\"",
            (None, None) => "",
        }
    }
}

/// What holds for every bus: a dead device is found again soon.
const BUS: &str = "timeout = \"400ms\"\nbackoff_min = \"1s\"\nbackoff_max = \"4s\"";

/// The RS-485 lines and their speeds.
const LINES: [(&str, Place, u32); 2] = [("line-a", LineA, 9600), ("line-b", LineB, 19_200)];

impl Site {
    /// Starts every device.
    ///
    /// # Errors
    /// When the system gives no pseudo-terminals or ports.
    pub(super) fn start() -> anyhow::Result<Self> {
        let library = Library::new();
        let mut devices = Vec::with_capacity(PLAN.len());
        let (mut units, mut tcp) = ([Vec::new(), Vec::new()], Vec::new());
        for (seed, plan) in (1u64..).zip(PLAN) {
            let profile = library.find(plan.5).with_context(|| format!("no profile {}", plan.5))?;
            let (device, memory) = device(seed, plan, profile);
            match plan.3 {
                LineA => units[0].push((plan.4, memory)),
                LineB => units[1].push((plan.4, memory)),
                Tcp => {
                    let delay = Duration::from_millis(5);
                    let server = TcpSlaves::start(vec![TcpSlave { units: vec![(plan.4, memory)], delay }])?;
                    tcp.push((device.bus.clone(), server));
                }
            }
            devices.push(device);
        }
        let [a, b] = units;
        let speed = |line: usize| Speed { turnaround_us: 8_000, ..Speed::new(LINES[line].2) };
        let lines = [(LINES[0].0, SerialLine::start(speed(0), a)?), (LINES[1].0, SerialLine::start(speed(1), b)?)];
        Ok(Site { devices, lines, tcp })
    }

    /// The unit of a device's point, `""` for none.
    pub(super) fn unit_of<'a>(device: &'a Device, point: &str) -> &'a str {
        device.model.points().iter().find(|spec| spec.name == *point).map_or("", |spec| &spec.unit)
    }

    /// Adds the buses, the devices, the gates and the rules to a site file.
    pub(super) fn describe(&self, file: &mut SiteFile, secrets: &Secrets) {
        for ((id, line), (_, _, baud)) in self.lines.iter().zip(LINES) {
            file.serial_bus(id, line.path(), baud, &format!("{BUS}\necho = \"off\""));
        }
        for (id, server) in &self.tcp {
            file.tcp_bus(id, server.addresses[0], BUS);
        }
        for device in &self.devices {
            let billing = device.billing.as_ref().map(|point| format!("\nbilling = [{point:?}]")).unwrap_or_default();
            let more =
                format!("title = {:?}\nprofile = {:?}{billing}{}", device.title, device.profile, device.watched());
            file.device(device.id, &device.bus, device.unit, device.interval, &more);
        }
        let gates = GATE_TABLES.replace("{core_key}", &secrets.public);
        let gates = gates.replace("{lookup_key}", &secrets.lookup.to_string_lossy());
        file.tables(&gates.replace("{seal_key}", &secrets.seal.to_string_lossy()));
        file.rules(RULES);
    }

    /// The barriers, for the traffic.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        let lane = |(gate, reader, board): (&'static str, &'static str, &str)| {
            let device = self.devices.iter().find(|device| device.id == board)?;
            Some(Lane { gate, reader, boom: device.boom.clone()?, inputs: device.inputs.clone()? })
        };
        [(ENTRY, "camera-entry", GATES[0].2), (EXIT, "camera-exit", GATES[1].2)].into_iter().filter_map(lane).collect()
    }

    /// The door, for the traffic.
    pub(super) fn doorway(&self) -> Option<Doorway> {
        let device = self.devices.iter().find(|device| device.id == GATES[2].2)?;
        let (inputs, coils) = (device.inputs.clone()?, device.coils.clone());
        Some(Doorway { gate: DOOR, inputs, coils, lock: DOOR_LOCK, contact: DOOR_CONTACT, button: DOOR_BUTTON })
    }

    /// Closes the fire panel's contact, which is wired to the entry's board, or opens it.
    pub(super) fn set_fire(&self, burns: bool) {
        let board = self.devices.iter().find(|device| device.id == GATES[0].2);
        if let Some(inputs) = board.and_then(|device| device.inputs.as_ref()) {
            inputs.set(input::FIRE, burns, wall_us(), None);
        }
    }

    /// Has the supply of a meter rise by 12 %, or fall to where it was.
    pub(super) fn set_surge(&self, device: &Device, surging: bool) {
        device.model.set_surge(surging, wall_us());
    }

    /// Makes a device silent, or lets it answer again.
    pub(super) fn set_silent(&self, device: &Device, silent: bool) {
        let line = self.lines.iter().find(|(id, _)| *id == device.bus).map(|(_, line)| &line.faults);
        let server = || self.tcp.iter().find(|(id, _)| *id == device.bus).map(|(_, server)| &server.faults);
        if let Some(faults) = line.or_else(server) {
            faults.set_silent(device.unit, silent);
        }
    }

    /// A judge of what is delivered, which also keeps the latest record of each device in `latest`.
    /// What is told of passages, alarms and tickets goes into `books`.
    pub(super) fn judge(&self, latest: Latest, books: Books) -> SiteJudge {
        let held = |d: &Device| Held { model: d.model.clone(), coils: d.coils.clone(), inputs: d.inputs.clone() };
        SiteJudge { devices: self.devices.iter().map(|d| (d.id.to_owned(), held(d))).collect(), latest, books }
    }
}

fn device(seed: u64, plan: Plan, profile: &Profile) -> (Device, Box<dyn Memory>) {
    let (id, title, role, place, unit, profile_name, interval) = plan;
    let model = Arc::new(Model::new(seed, PERIOD_US, wall_us(), profile.points.clone()));
    let coils = Switches::default();
    let inputs = GATES.iter().any(|(.., board)| *board == id).then(Switches::default);
    if id == GATES[2].2 {
        // As its installer left it.
        coils.set(DOOR_LOCK, true, wall_us(), None);
    }
    let boom =
        inputs.as_ref().filter(|_| role == Barrier).map(|inputs| Boom::new(coils.clone(), inputs.clone(), wall_us()));
    let pulses = match profile_name {
        "juying-dam0808" => Pulses::FlashRegisters,
        "waveshare-modbus-rtu-relay-8" => Pulses::FlashCoil,
        _ => Pulses::None,
    };
    let memory: Box<dyn Memory> = match role {
        M => Box::new(Meter::new(model.clone(), profile.limits.clone())),
        Barrier | Door => {
            let mut board = RelayBoard::new(model.clone(), coils.clone(), pulses);
            if let Some(inputs) = &inputs {
                board = board.with_inputs(inputs.clone());
            }
            if let Some(boom) = &boom {
                board = board.with_boom(boom.clone());
            }
            Box::new(board)
        }
    };
    let bus = match place {
        LineA => LINES[0].0.to_owned(),
        LineB => LINES[1].0.to_owned(),
        Tcp => format!("tcp-{}", id.split_once('-').map_or(id, |(_, place)| place)),
    };
    let exact = |p: &&gatehouse_drivers::point::PointSpec| {
        p.unit.ends_with("Wh") && p.name.contains("import") && matches!(p.kind(), Kind::Decimal { .. })
    };
    let billing = profile.points.iter().find(exact).map(|p| p.name.to_string());
    (
        Device { id, title, role, bus, unit, profile: profile_name, interval, model, coils, inputs, boom, billing },
        memory,
    )
}

/// The latest values of each device, by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Latest(Arc<Mutex<BTreeMap<String, LatestRecord>>>);

/// What a device delivered last.
#[derive(Debug, Clone, Default)]
pub(super) struct LatestRecord {
    /// Wall time of the record, microseconds.
    pub(super) at_us: i64,
    /// Values as text, by point.
    pub(super) values: BTreeMap<String, String>,
    /// The reason of the first missing point.
    pub(super) missing: Option<String>,
}

impl Latest {
    /// Looks at the latest records.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, LatestRecord>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Compares delivered values with what the simulated devices held at that time.
pub(super) struct SiteJudge {
    devices: BTreeMap<String, Held>,
    latest: Latest,
    books: Books,
}

/// Where the values of a device come from.
struct Held {
    model: Arc<Model>,
    coils: Switches,
    /// The inputs of a board that stands in the world; those of the others follow the model.
    inputs: Option<Switches>,
}

impl Judge for SiteJudge {
    fn value(&mut self, context: Context<'_>, point: &str, value: &Delivered<'_>) -> Verdict {
        let Some(Held { model, coils, inputs }) = self.devices.get(context.device) else { return Verdict::Unknown };
        let Some(spec) = model.points().iter().find(|spec| spec.name == *point) else { return Verdict::Unknown };
        let spec = &spec.place;
        let from_us = context.at_us - POLL_SPAN_US;
        let switches = if spec.table == Table::Coil && spec.write.is_some() { Some(coils) } else { inputs.as_ref() };
        let right = if let Some(switches) = switches {
            matches!(value, Delivered::Flag(on) if switches.was(spec.address, *on, from_us, context.at_us))
        } else {
            let mut generations = model.generation(from_us)..=model.generation(context.at_us);
            generations.any(|generation| model.value(point, generation).is_some_and(|held| same(&held, value)))
        };
        if right { Verdict::Right } else { Verdict::Wrong }
    }

    fn held(&self, context: Context<'_>, point: &str) -> String {
        let Some(Held { model, .. }) = self.devices.get(context.device) else {
            return "nothing: it is unknown".to_owned();
        };
        let generations = model.generation(context.at_us - POLL_SPAN_US)..=model.generation(context.at_us);
        let held = generations.filter_map(|generation| model.value(point, generation)).map(|value| value.to_string());
        held.collect::<Vec<String>>().join(", ")
    }

    fn event(&mut self, lane: &str, event: &str, record: &Record<'_>) {
        self.books.with(|pages| pages.enter(lane, event, record));
    }

    fn record(&mut self, context: Context<'_>, record: &Record<'_>) {
        self.latest.with(|latest| {
            let entry = latest.entry(context.device.to_owned()).or_default();
            if context.at_us < entry.at_us {
                return;
            }
            entry.at_us = context.at_us;
            entry.missing = record.missing.0.first().map(|(_, reason)| reason.to_string());
            for (point, value) in &record.values.0 {
                let text = match value {
                    Delivered::Flag(on) => if *on { "on" } else { "off" }.to_owned(),
                    Delivered::Number(number) => number.to_string(),
                    Delivered::Text(text) => text.to_string(),
                };
                entry.values.insert(point.to_string(), text);
            }
        });
    }
}

/// Whether a delivered value is the one that was held, by the rules of `docs/uplink.md`: billing keeps the digits,
/// telemetry the number, a float its shortest text.
fn same(held: &Value, delivered: &Delivered<'_>) -> bool {
    match (held, delivered) {
        (Value::Bool(held), Delivered::Flag(on)) => held == on,
        // Two shortest texts can be the same float (26168.812 and 26168.813), so that the digits must be few, and right.
        (Value::F32(held), Delivered::Number(number)) => {
            number.to_string().parse() == Ok(*held) && number.to_string().len() <= held.to_string().len()
        }
        (Value::F64(held), Delivered::Number(number)) => held == number,
        (Value::Decimal(held), Delivered::Number(number)) => held.to_string().parse() == Ok(*number),
        (Value::Text(held), Delivered::Text(text)) => **held == **text,
        (held, Delivered::Text(text)) => held.to_string() == **text,
        _ => false,
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
        assert!([LineA, LineB, Tcp].into_iter().all(|place| count(M, Some(place)) >= 3));
        assert_eq!((count(Barrier, None), count(Door, None)), (2, 2));
    }

    #[test]
    fn a_value_is_judged_by_device_point_and_time() {
        let library = Library::new();
        let (device, _) = device(1, PLAN[0], library.find("eastron-sdm630").unwrap());
        let held = Held { model: device.model.clone(), coils: Switches::default(), inputs: None };
        let devices = BTreeMap::from([("m".to_owned(), held)]);
        let mut judge = SiteJudge { devices, latest: Latest::default(), books: Books::default() };
        let at_us = wall_us();
        let held = device.model.value("voltage_l1", device.model.generation(at_us)).unwrap();
        let number = Delivered::Number(held.to_string().parse().unwrap());
        let context = |device, at_us| Context { device, at_us, now_ns: 0, backfill: false };
        assert_eq!(judge.value(context("m", at_us), "voltage_l1", &number), Verdict::Right);
        assert_eq!(judge.value(context("m", at_us), "voltage_l2", &number), Verdict::Wrong);
        let energy = device.model.value("import_energy", device.model.generation(at_us)).unwrap();
        let energy = Delivered::Number(energy.to_string().parse().unwrap());
        assert_eq!(judge.value(context("m", at_us), "import_energy", &energy), Verdict::Right);
        let earlier = context("m", at_us - 2 * POLL_SPAN_US);
        assert_eq!(judge.value(earlier, "import_energy", &energy), Verdict::Wrong, "a counter's later state");
        assert_eq!(judge.value(context("other", at_us), "voltage_l1", &number), Verdict::Unknown);
    }

    #[test]
    fn telemetry_is_compared_as_numbers_and_billing_by_its_digits() {
        let held = Value::Decimal(gatehouse_core::Decimal { mantissa: 1600, exponent: -2 });
        assert!(same(&held, &Delivered::Number(16.0)));
        assert!(same(&held, &Delivered::Text("16.00".into())) && !same(&held, &Delivered::Text("16".into())));
        assert!(same(&Value::F32(230.1), &Delivered::Number(230.1)));
        assert!(!same(&Value::F32(230.1), &Delivered::Number(f64::from(230.1f32))), "more digits than the meter has");
        assert!(same(&Value::F32(26_168.813), &Delivered::Number(26_168.812)));
        assert!(same(&Value::F32(26_168.813), &Delivered::Number(26_168.813)));
    }
}
