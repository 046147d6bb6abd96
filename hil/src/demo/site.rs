//! The simulated site of the demo: meters of three protocols on RS-485 lines and on Modbus TCP, two barriers, two door
//! controllers, a card reader, and the gates and rules that its site file makes of them.

mod device;
mod judge;
mod plan;

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use gatehouse_drivers::profile::Library;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::books::Books;
use super::core::Secrets;
use super::traffic::{Doorway, Lane};
use crate::line::{SerialLine, Speed};
use crate::rig::SiteFile;
use crate::sim_clock::wall_us;
use crate::slave::boom::input;
use crate::slave::tcp::{TcpSlave, TcpSlaves};
use device::Body;
use judge::Held;
use plan::{BUS, DOOR_BUTTON, DOOR_CONTACT, DOOR_LOCK, GATE_TABLES, LINES, PLAN, RULES};

pub(super) use device::Device;
pub(super) use judge::{Latest, LatestRecord, SiteJudge};
pub(super) use plan::{DOOR, ENTRY, EXIT, GATES, Role};

/// The running site.
pub(super) struct Site {
    /// Every device, in the order of the site file.
    pub(super) devices: Vec<Device>,
    /// The RS-485 lines, with the ids of their buses.
    pub(super) lines: Vec<(&'static str, SerialLine)>,
    /// The Modbus TCP devices, one server each.
    pub(super) tcp: Vec<(String, TcpSlaves)>,
    /// The key of the card reader.
    pub(super) reader_key: [u8; 16],
}

impl Site {
    /// Starts every device.
    ///
    /// # Errors
    /// When the system gives no pseudo-terminals or ports.
    pub(super) fn start() -> anyhow::Result<Self> {
        let library = Library::new();
        let mut reader_key = [0; 16];
        SystemRandom::new().fill(&mut reader_key).map_err(|_| anyhow!("the system gives no random bytes"))?;
        let (mut devices, mut tcp) = (Vec::with_capacity(PLAN.len()), Vec::new());
        let mut seats = LINES.map(|_| Vec::new());
        for (seed, plan) in (1u64..).zip(PLAN) {
            let profile = library.find(plan.5).with_context(|| format!("no profile {}", plan.5))?;
            let (device, body) = Device::new(seed, plan, profile, reader_key)?;
            match (LINES.iter().position(|(_, place, _)| *place == plan.3), body) {
                (Some(line), body) => seats[line].push(body.seat(plan.4, LINES[line].2)),
                (None, Body::Slave(memory)) => {
                    let delay = Duration::from_millis(5);
                    let server = TcpSlaves::start(vec![TcpSlave { units: vec![(plan.4, memory)], delay }])?;
                    tcp.push((device.bus.clone(), server));
                }
                (None, Body::Meter(_) | Body::Reader(_)) => bail!("{}: this needs a line", plan.0),
            }
            devices.push(device);
        }
        let line = |((id, _, baud), seats)| Ok((id, SerialLine::with_seats(Speed::new(baud), seats)?));
        let lines: anyhow::Result<Vec<(&'static str, SerialLine)>> = LINES.into_iter().zip(seats).map(line).collect();
        Ok(Site { devices, lines: lines?, tcp, reader_key })
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
            let more = device.keys(&secrets.reader.to_string_lossy());
            file.device_at(device.id, &device.bus, &device.address(), device.interval, &more);
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
        let hand = self.devices.iter().find(|device| device.role == Role::Reader)?.hand.clone();
        let (inputs, coils) = (device.inputs.clone()?, device.coils.clone());
        let (lock, contact, button) = (DOOR_LOCK, DOOR_CONTACT, DOOR_BUTTON);
        Some(Doorway { gate: DOOR, inputs, coils, lock, contact, button, hand })
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
        SiteJudge::new(
            self.devices.iter().map(|device| (device.id.to_owned(), Held::of(device))).collect(),
            latest,
            books,
        )
    }
}
