//! One simulated device of the site: what it is, and what stands behind it.

use std::sync::Arc;

use anyhow::bail;
use gatehouse_core::Kind;
use gatehouse_drivers::point::{PointSpec, Protocol};
use gatehouse_drivers::profile::Profile;

use super::plan::{DOOR_LOCK, GATES, LINES, Place, Plan, Role, points};
use crate::line::Speed;
use crate::sim_clock::wall_us;
use crate::slave::answer::Memory;
use crate::slave::boom::Boom;
use crate::slave::cjt188::Cjt188Slave;
use crate::slave::dlt645::Dlt645Slave;
use crate::slave::meter::Meter;
use crate::slave::model::Model;
use crate::slave::osdp::{Hand, Reader};
use crate::slave::relay::{Pulses, RelayBoard, Switches};
use crate::slave::station::{Seat, Station};

/// Time from one set of values to the next.
const PERIOD_US: i64 = 1_000_000;
/// How long the devices of a line take to answer; meters of DL/T 645 and CJ/T 188 are slow.
const TURNAROUND_US: u32 = 8_000;
const METER_TURNAROUND_US: u32 = 30_000;
/// The settings that such meters ship with, 2400 8E1, and their keys in the site file.
const SLOW: Speed = Speed { baud: 2400, char_bits: 11, turnaround_us: METER_TURNAROUND_US };
const SLOW_KEYS: &str = "baud = 2400\nparity = \"even\"";

/// One simulated device.
pub(in crate::demo) struct Device {
    /// Its id in the site file.
    pub(in crate::demo) id: &'static str,
    /// What it is, for people.
    pub(in crate::demo) title: &'static str,
    /// What it is to the site.
    pub(in crate::demo) role: Role,
    /// Its bus in the site file.
    pub(in crate::demo) bus: String,
    /// Its unit there, or the number of its address.
    pub(in crate::demo) unit: u8,
    /// Its profile.
    pub(in crate::demo) profile: &'static str,
    pub(in crate::demo) protocol: Protocol,
    pub(super) interval: &'static str,
    pub(super) model: Arc<Model>,
    pub(super) coils: Switches,
    pub(super) inputs: Option<Switches>,
    pub(super) boom: Option<Boom>,
    /// Who shows cards to it.
    pub(in crate::demo) hand: Hand,
    billing: Option<String>,
}

/// What stands behind a device.
pub(super) enum Body {
    /// A Modbus slave, on a line or a network.
    Slave(Box<dyn Memory>),
    /// A meter of packed decimals, on a line.
    Meter(Box<dyn Station>),
    /// A card reader, on a line.
    Reader(Box<dyn Station>),
}

impl Body {
    /// Its place on a line of this speed.
    pub(super) fn seat(self, unit: u8, baud: u32) -> Seat {
        let usual = Speed { turnaround_us: TURNAROUND_US, ..Speed::new(baud) };
        match self {
            Body::Slave(memory) => Seat::modbus(unit, usual, memory),
            Body::Meter(station) => Seat { number: unit, speed: SLOW, station },
            Body::Reader(station) => Seat { number: unit, speed: usual, station },
        }
    }
}

impl Device {
    /// A device and what stands behind it. `reader_key` is the key of the site's card reader.
    ///
    /// # Errors
    /// When no device of the profile's protocol is simulated.
    pub(super) fn new(seed: u64, plan: Plan, profile: &Profile, reader_key: [u8; 16]) -> anyhow::Result<(Self, Body)> {
        let (id, title, role, place, unit, profile_name, interval) = plan;
        let coils = Switches::default();
        let inputs = GATES.iter().any(|(.., board)| *board == id).then(Switches::default);
        if id == GATES[2].2 {
            // As its installer left it.
            coils.set(DOOR_LOCK, true, wall_us(), None);
        }
        let moves = inputs.as_ref().filter(|_| role == Role::Barrier);
        let device = Device {
            id,
            title,
            role,
            bus: bus(id, place),
            unit,
            profile: profile_name,
            protocol: profile.protocol,
            interval,
            model: Arc::new(Model::new(seed, PERIOD_US, wall_us(), profile.points.clone())),
            boom: moves.map(|inputs| Boom::new(coils.clone(), inputs.clone(), wall_us())),
            coils,
            inputs,
            hand: Hand::default(),
            billing: profile.points.iter().find(|point| is_billed(point)).map(|point| point.name.to_string()),
        };
        let body = device.body(profile, reader_key)?;
        Ok((device, body))
    }

    fn body(&self, profile: &Profile, reader_key: [u8; 16]) -> anyhow::Result<Body> {
        let model = self.model.clone();
        Ok(match profile.protocol {
            Protocol::Modbus => Body::Slave(self.memory(profile)),
            Protocol::Dlt645(edition) => Body::Meter(Box::new(Dlt645Slave::new(self.unit, edition, model))),
            Protocol::Cjt188(_) => {
                Body::Meter(Box::new(Cjt188Slave::new(self.unit, profile.meter.meter_type.0, model)))
            }
            Protocol::Osdp => Body::Reader(Box::new(Reader::new(self.unit, reader_key, self.hand.clone()))),
            Protocol::Uhppote => bail!("{}: no device of {} is simulated on a line", self.id, self.profile),
        })
    }

    fn memory(&self, profile: &Profile) -> Box<dyn Memory> {
        let pulses = match self.profile {
            "juying-dam0808" => Pulses::FlashRegisters,
            "waveshare-modbus-rtu-relay-8" => Pulses::FlashCoil,
            _ => Pulses::None,
        };
        match self.role {
            Role::Meter | Role::Reader => Box::new(Meter::new(self.model.clone(), profile.limits.clone())),
            Role::Barrier | Role::Door => {
                let mut board = RelayBoard::new(self.model.clone(), self.coils.clone(), pulses);
                if let Some(inputs) = &self.inputs {
                    board = board.with_inputs(inputs.clone());
                }
                if let Some(boom) = &self.boom {
                    board = board.with_boom(boom.clone());
                }
                Box::new(board)
            }
        }
    }

    /// The key by which the site file addresses it.
    pub(super) fn address(&self) -> String {
        match self.protocol {
            Protocol::Modbus => format!("unit = {}", self.unit),
            Protocol::Dlt645(_) => format!("address = {:?}", Dlt645Slave::address(self.unit)),
            Protocol::Cjt188(_) => format!("address = {:?}", Cjt188Slave::address(self.unit)),
            Protocol::Osdp | Protocol::Uhppote => format!("address = {}", self.unit),
        }
    }

    /// Its further keys in the site file. `reader_key` is the file with the key of the card reader.
    pub(super) fn keys(&self, reader_key: &str) -> String {
        let mut keys = vec![format!("title = {:?}", self.title), format!("profile = {:?}", self.profile)];
        keys.extend(self.billing.as_ref().map(|point| format!("billing = [{point:?}]")));
        match self.protocol {
            Protocol::Dlt645(_) | Protocol::Cjt188(_) => keys.push(SLOW_KEYS.to_owned()),
            Protocol::Osdp => keys.push(format!("key = {{ file = {reader_key:?} }}")),
            Protocol::Modbus | Protocol::Uhppote => {}
        }
        let watched: Option<&[&str]> = match (&self.boom, &self.inputs) {
            // The relays that move the boom are left out: as no point of the site, nobody can write them past the gate.
            (Some(_), _) => Some(&["input1", "input2", "input3", "input5", "input8"]),
            (None, Some(_)) => Some(&["di1", "di2", "do1"]),
            (None, None) => None,
        };
        keys.extend(watched.or(points(self.profile)).map(|points| format!("points = {points:?}")));
        if watched.is_some() || self.role == Role::Reader {
            keys.push("report = \"on-change\"".to_owned());
        }
        keys.join("\n")
    }
}

fn bus(id: &str, place: Place) -> String {
    match LINES.iter().find(|(_, known, _)| *known == place) {
        Some((line, ..)) => (*line).to_owned(),
        None => format!("tcp-{}", id.split_once('-').map_or(id, |(_, place)| place)),
    }
}

/// The point that a meter is billed by, where it shows digits: imported energy, heat, volume.
fn is_billed(point: &PointSpec) -> bool {
    let imported = point.unit.ends_with("Wh") && point.name.contains("import");
    (imported || point.name == *"heat" || point.name == *"volume") && matches!(point.kind(), Kind::Decimal { .. })
}
