//! One device of each protocol, as the line has it, and the simulated device that answers it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gatehouse_core::{Decimal, DeviceIx, Driver, PointIx};
use gatehouse_drivers::cjt188::{self, Cjt188Meter};
use gatehouse_drivers::dlt645::{self, Dlt645Meter};
use gatehouse_drivers::line::{Characters, DeviceSettings, Echo, LineDevice, LineSettings, Medium, Parity, Wire};
use gatehouse_drivers::modbus::point::{DataType, ModbusPoint, Order, Table};
use gatehouse_drivers::modbus::{Cost, Framing, ModbusDevice};
use gatehouse_drivers::osdp::{Key, Keys, OsdpReader, ReaderSettings, Secrets};
use gatehouse_drivers::point::PointSpec;
use gatehouse_drivers::profile::{Library, Limits, Profile};
use gatehouse_drivers::uhppote::{UhppoteController, UhppoteSettings};

use crate::door::Board;
use crate::line::Speed;
use crate::sim_clock::wall_us;
use crate::slave::answer::answer;
use crate::slave::cjt188::Cjt188Slave;
use crate::slave::dlt645::Dlt645Slave;
use crate::slave::frame::{open_tcp, seal_tcp};
use crate::slave::identity::Identity;
use crate::slave::model::Model;
use crate::slave::osdp::{Hand, Reader};
use crate::slave::station::{Heard, Seat, Station};

/// Floats of the Modbus devices: one request.
const FLOATS: u16 = 10;
/// The number of every device, where its protocol has one.
const NUMBER: u8 = 5;
const KEY: [u8; 16] = [7; 16];
const SERIAL: u32 = 423_187_757;

/// The far end: a reply to each request, or none.
pub(super) type Far = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>>>;

/// One device and what answers it.
pub struct Case {
    /// The protocol and what a frame holds.
    pub name: &'static str,
    /// Whether its frames are to be decoded without the heap.
    pub without_heap: bool,
    pub(super) settings: LineSettings,
    pub(super) device: LineDevice,
    pub(super) far: Far,
}

/// One case of each protocol.
///
/// # Errors
/// When a profile of the library is not there.
pub fn cases() -> anyhow::Result<Vec<Case>> {
    Ok(vec![modbus_rtu()?, modbus_tcp()?, dlt645()?, cjt188()?, osdp()?, uhppote()?])
}

fn wire(baud: u32, parity: Parity) -> Wire {
    let characters = Characters { baud, data_bits: 8, parity, stop_bits: 1 };
    Wire { baud, char_bits: characters.bits(), echo: Echo::Off, silence: None }
}

fn case(name: &'static str, medium: Medium, driver: Box<dyn Driver>, far: Far) -> Case {
    let intervals = vec![Duration::from_millis(100)];
    let settings = DeviceSettings { intervals, timeout_ceiling: None, characters: None, pauses_with: None };
    let device = LineDevice { ix: DeviceIx(0), settings, driver };
    Case { name, without_heap: true, settings: LineSettings::new(medium), device, far }
}

fn hears(mut station: Box<dyn Station>) -> Far {
    Box::new(move |request| match station.hear(request) {
        Heard::Reply(reply) => Some(reply),
        Heard::Anothers | Heard::Noise => None,
    })
}

fn identity() -> Identity {
    Identity::new(1, 1, FLOATS, Arc::default())
}

fn modbus(framing: Framing, cost: Cost) -> anyhow::Result<Box<dyn Driver>> {
    let point = |at: u16| ModbusPoint {
        table: Table::Holding,
        address: 2 * at,
        data_type: DataType::F32,
        order: Order::Abcd,
        bit: None,
        scale: Decimal::whole(1),
        offset: Decimal::whole(0),
        not_available: Vec::new(),
        write: None,
    };
    let points: Vec<ModbusPoint> = (0..FLOATS).map(point).collect();
    let device = ModbusDevice::new(framing, NUMBER, points, vec![all(FLOATS.into())], Limits::default(), cost);
    Ok(Box::new(device.context("the plan of the Modbus device")?))
}

fn all(points: usize) -> Vec<PointIx> {
    (0..points).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect()
}

fn modbus_rtu() -> anyhow::Result<Case> {
    let wire = wire(9600, Parity::None);
    let driver = modbus(Framing::Rtu, Cost::serial(&wire, Duration::from_millis(5), Duration::ZERO))?;
    let far = hears(Seat::modbus(NUMBER, Speed::new(9600), Box::new(identity())).station);
    Ok(case("Modbus RTU, 10 float32", Medium::Serial(wire), driver, far))
}

fn modbus_tcp() -> anyhow::Result<Case> {
    let driver = modbus(Framing::Tcp, Cost::tcp(Duration::from_millis(5)))?;
    let mut slave = identity();
    let far = move |request: &[u8]| {
        let asked = open_tcp(request).ok()??;
        let (mut pdu, mut reply) = (Vec::new(), Vec::new());
        answer(&mut slave, asked.pdu, &mut pdu);
        seal_tcp(asked.transaction, asked.unit, &pdu, &mut reply);
        Some(reply)
    };
    Ok(case("Modbus TCP, 10 float32", Medium::Tcp, driver, Box::new(far)))
}

/// A profile, those of its points that are named, and a model of it.
fn meter(name: &str, wanted: &[&str]) -> anyhow::Result<(Arc<Profile>, Vec<PointSpec>, Arc<Model>)> {
    let profile = Library::new().find(name).with_context(|| format!("no profile {name}"))?.clone();
    let named = |name: &&str| profile.points.iter().find(|point| point.name == **name).cloned();
    let points = wanted.iter().filter_map(named).collect();
    let model = Arc::new(Model::new(1, 1_000_000, wall_us(), profile.points.clone()));
    Ok((profile, points, model))
}

fn dlt645() -> anyhow::Result<Case> {
    let tariffs = ["import_energy", "import_energy_t1", "import_energy_t2", "import_energy_t3", "import_energy_t4"];
    let (_, points, model) = meter("dlt645-2007-1p", &tariffs)?;
    let edition = dlt645::Edition::V2007;
    let address = dlt645::Address::parse(&Dlt645Slave::address(NUMBER)).context("the address of the meter")?;
    let settings = dlt645::MeterSettings { edition, address, preamble: 4, pause: Duration::ZERO, access: None };
    let places: Vec<_> = points.iter().filter_map(|point| point.dlt645().copied()).collect();
    let driver = Dlt645Meter::new(settings, places, &[all(points.len())]);
    let far = hears(Box::new(Dlt645Slave::new(NUMBER, edition, model)));
    Ok(case("DL/T 645, a block of 5 energies", Medium::Serial(wire(2400, Parity::Even)), Box::new(driver), far))
}

fn cjt188() -> anyhow::Result<Case> {
    let wanted = ["heat", "heat_power", "flow", "volume", "supply_temperature", "return_temperature", "working_hours"];
    let (profile, points, model) = meter("cjt188-heat-2004", &wanted)?;
    let (edition, traits) = (cjt188::Edition::V2004, profile.meter);
    let address = cjt188::Address::parse(&Cjt188Slave::address(NUMBER)).context("the address of the meter")?;
    let settings = cjt188::MeterSettings { edition, address, preamble: 2, pause: Duration::ZERO, traits };
    let places: Vec<_> = points.iter().filter_map(|point| point.cjt188().copied()).collect();
    let driver = Cjt188Meter::new(settings, places, &[all(points.len())]);
    let far = hears(Box::new(Cjt188Slave::new(NUMBER, traits.meter_type.0, model)));
    Ok(case("CJ/T 188, 7 values of a heat meter", Medium::Serial(wire(2400, Parity::Even)), Box::new(driver), far))
}

fn osdp() -> anyhow::Result<Case> {
    let (_, points, _) = meter("osdp-reader", &["cards", "dropped", "tamper", "connected", "secure"])?;
    let settings = ReaderSettings { address: NUMBER, crc: true, mark: true, keyed: true };
    let keys = Keys { own: Some(Key::new(KEY)), ..Keys::default() };
    let places: Vec<_> = points.iter().filter_map(|point| point.osdp()).collect();
    let groups = [all(points.len())];
    let driver = OsdpReader::with_secrets(settings, places, &groups, Secrets { keys, seed: KEY });
    let far = hears(Box::new(Reader::new(NUMBER, KEY, Hand::default())));
    let name = "OSDP, a poll within a Secure Channel";
    Ok(Case { without_heap: false, ..case(name, Medium::Serial(wire(9600, Parity::None)), Box::new(driver), far) })
}

fn uhppote() -> anyhow::Result<Case> {
    let wanted = ["door_1_open", "door_2_open", "relay_1", "fire", "event_index"];
    let (_, points, _) = meter("uhppote-4door", &wanted)?;
    let places: Vec<_> = points.iter().filter_map(|point| point.uhppote()).collect();
    let groups = [all(points.len())];
    let driver = UhppoteController::new(UhppoteSettings { serial: SERIAL, listener: None }, places, &groups);
    let mut board = Board::new(SERIAL);
    let far = move |request: &[u8]| board.answer(request).map(|reply| reply.to_vec());
    let case = case("UHPPOTE, a status", Medium::Datagram, Box::new(driver), Box::new(far));
    Ok(Case { without_heap: false, ..case })
}
