//! The simulated site of the demo: meters on two RS-485 lines and on Modbus TCP, two barriers, two door controllers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use gatehouse_core::{Kind, Value};
use gatehouse_drivers::modbus::point::Table;
use gatehouse_drivers::profile::{Library, Profile};

use crate::line::{SerialLine, Speed};
use crate::receive::{Context, Delivered, Judge, Record, Verdict};
use crate::rig::SiteFile;
use crate::sim_clock::wall_us;
use crate::slave::answer::Memory;
use crate::slave::meter::Meter;
use crate::slave::model::Model;
use crate::slave::relay::{Coils, Pulses, RelayBoard};
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
    ("meter-pump", "Water pumps", M, LineA, 4, "peacefair-pzem016", "2s"),
    ("climate-switchroom", "Switch room", M, LineA, 5, "xy-md02", "2s"),
    ("barrier-entry", "Garage entry", Barrier, LineA, 7, "juying-dam0808", "1s"),
    ("meter-101", "Flat 101", M, LineB, 1, "eastron-sdm120", "2s"),
    ("meter-102", "Flat 102", M, LineB, 2, "eastron-sdm120", "2s"),
    ("meter-103", "Flat 103", M, LineB, 3, "eastron-sdm230", "2s"),
    ("meter-shop-1", "Bakery", M, LineB, 4, "schneider-iem3000", "2s"),
    ("meter-shop-2", "Pharmacy", M, LineB, 5, "schneider-iem3000", "2s"),
    ("barrier-exit", "Garage exit", Barrier, LineB, 7, "juying-dam0808", "1s"),
    ("door-lobby", "Lobby door", Door, LineB, 8, "waveshare-modbus-rtu-relay-8", "1s"),
    ("meter-hvac", "Ventilation", M, Tcp, 1, "schneider-pm5000", "1s"),
    ("meter-chiller", "Chiller", M, Tcp, 1, "schneider-pm5000", "1s"),
    ("meter-solar", "Roof plant", M, Tcp, 1, "janitza-umg96rm", "1s"),
    ("meter-charging", "Car charging", M, Tcp, 1, "carlogavazzi-em340", "1s"),
    ("door-garage", "Garage door", Door, Tcp, 1, "advantech-adam6060", "1s"),
];

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
    coils: Coils,
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

    /// Adds the buses and devices to a site file.
    pub(super) fn describe(&self, file: &mut SiteFile) {
        for ((id, line), (_, _, baud)) in self.lines.iter().zip(LINES) {
            file.serial_bus(id, line.path(), baud, "timeout = \"400ms\"\necho = \"off\"");
        }
        for (id, server) in &self.tcp {
            file.tcp_bus(id, server.addresses[0], "timeout = \"400ms\"");
        }
        for device in &self.devices {
            let billing = device.billing.as_ref().map(|point| format!("\nbilling = [{point:?}]")).unwrap_or_default();
            let more = format!("title = {:?}\nprofile = {:?}{billing}", device.title, device.profile);
            file.device(device.id, &device.bus, device.unit, device.interval, &more);
        }
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
    pub(super) fn judge(&self, latest: Latest) -> SiteJudge {
        let devices = self.devices.iter().map(|d| (d.id.to_owned(), (d.model.clone(), d.coils.clone())));
        SiteJudge { devices: devices.collect(), latest }
    }
}

fn device(seed: u64, plan: Plan, profile: &Profile) -> (Device, Box<dyn Memory>) {
    let (id, title, role, place, unit, profile_name, interval) = plan;
    let model = Arc::new(Model::new(seed, PERIOD_US, wall_us(), profile.points.clone()));
    let coils = Coils::default();
    let pulses = match profile_name {
        "juying-dam0808" => Pulses::FlashRegisters,
        "waveshare-modbus-rtu-relay-8" => Pulses::FlashCoil,
        _ => Pulses::None,
    };
    let memory: Box<dyn Memory> = match role {
        M => Box::new(Meter::new(model.clone(), profile.limits.clone())),
        Barrier | Door => Box::new(RelayBoard::new(model.clone(), coils.clone(), pulses)),
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
    (Device { id, title, role, bus, unit, profile: profile_name, interval, model, coils, billing }, memory)
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
    devices: BTreeMap<String, (Arc<Model>, Coils)>,
    latest: Latest,
}

impl Judge for SiteJudge {
    fn value(&mut self, context: Context<'_>, point: &str, value: &Delivered<'_>) -> Verdict {
        let Some((model, coils)) = self.devices.get(context.device) else { return Verdict::Unknown };
        let Some(spec) = model.points().iter().find(|spec| spec.name == *point) else { return Verdict::Unknown };
        let spec = &spec.place;
        let from_us = context.at_us - POLL_SPAN_US;
        let right = if spec.table == Table::Coil && spec.write.is_some() {
            matches!(value, Delivered::Flag(on) if coils.was(spec.address, *on, from_us, context.at_us))
        } else {
            let mut generations = model.generation(from_us)..=model.generation(context.at_us);
            generations.any(|generation| model.value(point, generation).is_some_and(|held| same(&held, value)))
        };
        if right { Verdict::Right } else { Verdict::Wrong }
    }

    fn held(&self, context: Context<'_>, point: &str) -> String {
        let Some((model, _)) = self.devices.get(context.device) else { return "nothing: it is unknown".to_owned() };
        let generations = model.generation(context.at_us - POLL_SPAN_US)..=model.generation(context.at_us);
        let held = generations.filter_map(|generation| model.value(point, generation)).map(|value| value.to_string());
        held.collect::<Vec<String>>().join(", ")
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
        let devices = BTreeMap::from([("m".to_owned(), (device.model.clone(), Coils::default()))]);
        let mut judge = SiteJudge { devices, latest: Latest::default() };
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
