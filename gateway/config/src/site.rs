//! The site as plain, checked data, in the order of the site file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{Decimal, DeviceIx, Name, PointIx, Schema, SchemaPoint};
use gatehouse_drivers::cjt188;
use gatehouse_drivers::dlt645::{Edition, MeterSettings};
use gatehouse_drivers::line::settings::{Characters, DeviceSettings, LineSettings, Parity, Wire};
use gatehouse_drivers::modbus::Framing;
use gatehouse_drivers::osdp::ReaderSettings;
use gatehouse_drivers::point::PointSpec;
use gatehouse_drivers::profile::{Command, Limits};
use gatehouse_drivers::uhppote::UhppoteSettings;
use gatehouse_rules::report::Policy;
use gatehouse_rules::supply::SupplySpec;

use crate::box_io::BoxIoSettings;

/// Names and values that people and the core attach to a site or a device; they may change without changing what it is.
pub type Labels = BTreeMap<String, String>;

/// Everything that the site file says. Building one needs no further checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The box's name towards the core.
    pub id: Name,
    /// For people; `""` for none.
    pub title: String,
    /// The site's zone, an IANA name known to this machine.
    pub timezone: String,
    /// Labels of the whole site.
    pub labels: Labels,
    /// Where `/metrics` and `/health` are served; `None`: not at all.
    pub http: Option<SocketAddr>,
    /// The unix socket of the API.
    pub api: ApiSettings,
    /// How far clocks are believed.
    pub clock: ClockSettings,
    /// What is kept on the box, and where.
    pub store: gatehouse_store::Settings,
    /// The way to the core; `None`: readings are kept and delivered to nobody.
    pub uplink: Option<gatehouse_uplink::Settings>,
    /// Buses, in the order of the file.
    pub buses: Vec<Bus>,
    /// Devices, in the order of the file; [`DeviceIx`] counts here.
    pub devices: Vec<Arc<Device>>,
    /// How the box's own contacts are wired, which are the device that is on no bus.
    pub box_io: Option<BoxIoSettings>,
    /// What is decided on the box, and how.
    pub rules: Arc<gatehouse_rules::engine::Setup>,
    /// Where the secrets of credentials are; `None`: the site has no credentials.
    pub access: Option<AccessSecrets>,
}

/// Files with the secrets of credentials: 32 bytes each, as they are or in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSecrets {
    /// The key that credentials are hashed under; the core shares it.
    pub lookup: PathBuf,
    /// The box's own key for what lies on its disk.
    pub seal: PathBuf,
    /// The key for what lies on its disk that it had before.
    pub seal_before: Option<PathBuf>,
    /// The seed of the ed25519 key by which the box signs visitor codes; `None`: it makes none.
    pub code_key: Option<PathBuf>,
    /// The secret of visitors' PINs, which the core shares; `None`: there are none.
    pub pin_secret: Option<PathBuf>,
}

/// The unix socket of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where the socket is made.
    pub socket: PathBuf,
    /// User ids that may write and reload, beside root and the daemon's own user; everybody else may read.
    pub operators: Vec<u32>,
}

/// How far clocks are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClockSettings {
    /// When a time that the core offers is taken.
    pub core_time: CoreTime,
    /// The I2C bus of a DS3231 clock chip, asked once at start when the box does not know the time.
    pub rtc: Option<PathBuf>,
}

/// When a time that the core offers over its session is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoreTime {
    /// Never.
    Never,
    /// While the box's own clock is unset or free-running.
    #[default]
    WhenUnsynchronised,
}

/// One physical channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Bus {
    /// Unique among the buses.
    pub id: Name,
    /// For people; `""` for none.
    pub title: String,
    /// What is opened.
    pub port: PortKind,
    /// How requests are framed.
    pub framing: Framing,
    /// How the line treats its devices; its medium fits `port`.
    pub line: LineSettings,
    /// The wire that the frames travel on: the port's, or the one behind a serial server; `None` for Modbus TCP and
    /// for datagrams.
    pub wire: Option<Wire>,
    /// How long a person may wait at an OSDP reader of this bus because of its other devices; `None`: there are none.
    pub reader_latency: Option<Duration>,
    /// Expected time from a request's end to its reply's start: for plans and predictions only.
    pub turnaround: Duration,
}

/// What is opened for a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortKind {
    /// A serial port and its settings.
    Serial {
        /// Which port.
        source: SerialSource,
        /// Bits per second.
        baud: u32,
        /// 7 or 8.
        data_bits: u8,
        /// Parity bit.
        parity: Parity,
        /// 1 or 2.
        stop_bits: u8,
    },
    /// A TCP connection; [`LineSettings::medium`] says whether it carries Modbus TCP or RTU frames.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// Datagrams to and from controllers for doors.
    Udp {
        /// A name or an address; that of a network reaches all controllers on it, each by its serial number.
        host: String,
        /// The port.
        port: u16,
        /// The address of the box to send from and to have events sent to; `None`: any, and no events are sent.
        listen: Option<SocketAddrV4>,
    },
}

/// How a serial port is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SerialSource {
    /// By path; links such as `/dev/serial/by-id/...` are followed at each opening.
    Path(PathBuf),
    /// A USB adapter, whatever name the kernel gives it.
    Usb {
        /// Vendor id.
        vendor: u16,
        /// Product id.
        product: u16,
        /// Serial number; `None`: the only adapter with these ids.
        serial: Option<String>,
    },
}

impl fmt::Display for PortKind {
    /// Writes where the port is, as a site file says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortKind::Serial { source, .. } => source.fmt(f),
            PortKind::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            PortKind::Tcp { host, port } | PortKind::Udp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for SerialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SerialSource::Path(path) => path.display().fmt(f),
            SerialSource::Usb { vendor, product, serial: None } => write!(f, "{vendor:04x}:{product:04x}"),
            SerialSource::Usb { vendor, product, serial: Some(serial) } => {
                write!(f, "{vendor:04x}:{product:04x}:{serial}")
            }
        }
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The permanent identity, unique in the site.
    pub id: Name,
    /// For people; `""` for none.
    pub title: String,
    /// Position of its bus in [`Site::buses`]; `None`: the box itself, which is on none.
    pub bus: Option<usize>,
    /// How it is addressed, and what its protocol must know of it.
    pub station: Station,
    /// The profile that its points come from; `None`: all are spelled out.
    pub profile: Option<Name>,
    /// The profile's category: `electricity_meter_3p`, `relay_board`, ...; `""` without a profile.
    pub category: String,
    /// Labels; building, floor, room and the core's own ids are among them.
    pub labels: Labels,
    /// Points; [`PointIx`] counts here.
    pub points: Vec<PointConfig>,
    /// Points by interval; each point is in exactly one group.
    pub groups: Vec<Group>,
    /// Most time allowed for a reply to begin, where it differs from the bus.
    pub timeout: Option<Duration>,
    /// Speed and shape of its characters, where they differ from the bus.
    pub characters: Option<Characters>,
    /// Devices of one bus with the same number keep each other's pauses; `None`: only its own.
    pub pauses_with: Option<u8>,
    /// What is said of the meter that it is.
    pub meter: Option<Box<MeterConfig>>,
}

/// How a device is addressed, and what its protocol must know of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Station {
    /// A unit of a Modbus bus.
    Modbus(ModbusStation),
    /// A DL/T 645 meter.
    Dlt645(MeterSettings),
    /// A CJ/T 188 meter.
    Cjt188(cjt188::MeterSettings),
    /// An OSDP reader.
    Osdp(OsdpStation),
    /// A UHPPOTE controller for doors.
    Uhppote(ControllerStation),
    /// The box itself, which is on no bus, with what its relays can do beyond points.
    Own(Arc<[Command]>),
}

/// A Modbus device.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusStation {
    /// Unit address: 1 to 247 on a serial line, 0 to 255 on TCP.
    pub unit: u8,
    /// What the device can bear in one request.
    pub limits: Limits,
    /// What the profile can do beyond points.
    pub commands: Arc<[Command]>,
}

/// An OSDP reader, and where its keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsdpStation {
    /// How it is addressed.
    pub settings: ReaderSettings,
    /// The file with its key: 16 bytes, or 32 hexadecimal digits. `None`: it is spoken to in the clear.
    pub key: Option<PathBuf>,
    /// The file with the key that it had before.
    pub key_before: Option<PathBuf>,
    /// True while a reader that has only the key that everybody knows may be given its own.
    pub commissioning: bool,
}

impl Station {
    /// How the supply behind the device is cut and given back; `None`: it cuts none.
    pub fn supply(&self) -> Option<SupplySpec> {
        let name = |text| Name::new(text).ok();
        match self {
            Station::Dlt645(meter) if meter.edition == Edition::V2007 => Some(SupplySpec {
                cut: name("trip")?,
                permit: name("permit_close"),
                connect: name("close")?,
                deadline: true,
            }),
            Station::Cjt188(_) => Some(SupplySpec {
                cut: name("valve_close")?,
                permit: None,
                connect: name("valve_open")?,
                deadline: false,
            }),
            Station::Modbus(_) | Station::Dlt645(_) | Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_) => None,
        }
    }
}

/// A UHPPOTE controller.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerStation {
    /// Its serial number, and where it sends its events.
    pub settings: UhppoteSettings,
    /// What it can do beyond points.
    pub commands: Arc<[Command]>,
}

impl fmt::Display for Station {
    /// Writes the address as the site file says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Station::Modbus(modbus) => modbus.unit.fmt(f),
            Station::Dlt645(meter) => meter.address.fmt(f),
            Station::Cjt188(meter) => meter.address.fmt(f),
            Station::Osdp(reader) => reader.settings.address.fmt(f),
            Station::Uhppote(controller) => controller.settings.serial.fmt(f),
            Station::Own(_) => Ok(()),
        }
    }
}

/// Points of a device that are polled together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Time from one poll to the next.
    pub interval: Duration,
    /// The same from the time on that the site counts as cut off, until it is online again; `None`: as ever.
    pub interval_degraded: Option<Duration>,
    /// The points, ascending.
    pub points: Vec<PointIx>,
}

/// One point of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct PointConfig {
    /// Where and how it is read.
    pub spec: PointSpec,
    /// For people; `""` for none.
    pub title: String,
    /// Time from one poll to the next.
    pub interval: Duration,
    /// The same while the site is cut off; see [`Group::interval_degraded`].
    pub interval_degraded: Option<Duration>,
    /// True when bills are made of it: it travels in the billing lane, exactly, and always.
    pub billing: bool,
    /// Which of its readings become records.
    pub report: Policy,
    /// True where it shows who was at a reader, or what was typed there: it becomes no record and is shown to nobody.
    pub personal: bool,
    /// Of a billing point: how its register counts; `None`: as its protocol says.
    pub register: Option<Box<RegisterConfig>>,
}

/// How a register of a billing point counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegisterConfig {
    /// True for what only counts up; `None`: as the protocol says.
    pub counter: Option<bool>,
    /// Where it begins anew at zero; `None`: as the protocol says.
    pub rollover: Option<Decimal>,
    /// The most that can be counted within an hour.
    pub max_per_hour: Option<Decimal>,
}

/// What is said of the meter that a device is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeterConfig {
    /// The serial number of the meter that was there first.
    pub serial: Option<String>,
    /// The ratio of its current and voltage transformers.
    pub multiplier: Option<Decimal>,
    /// The point that reads its serial number or address.
    pub serial_point: Option<PointIx>,
    /// False where it is never asked for its daily freezes.
    pub no_freezes: bool,
    /// How often it records its load by itself; `None`: nothing is asked for.
    pub load_every: Option<Duration>,
}

impl PointConfig {
    /// The longest time from one poll to the next, whatever the mode.
    pub fn slowest(&self) -> Duration {
        self.interval.max(self.interval_degraded.unwrap_or_default())
    }
}

impl Group {
    /// Time from one poll to the next, while the site is cut off or while it is not.
    pub fn interval_when(&self, cut_off: bool) -> Duration {
        self.interval_degraded.filter(|_| cut_off).unwrap_or(self.interval)
    }
}

impl Bus {
    /// The wire as a device sees it, its own characters taken into account.
    pub fn wire_of(&self, device: &Device) -> Option<Wire> {
        self.wire.map(|wire| device.characters.map_or(wire, |characters| wire.with(characters)))
    }
}

impl Site {
    /// The device with this id.
    pub fn device_by_id(&self, id: &str) -> Option<(DeviceIx, &Device)> {
        self.devices_with_ix().map(|(ix, device)| (ix, &**device)).find(|(_, device)| device.id == *id)
    }

    /// The device at `ix`.
    pub fn device(&self, ix: DeviceIx) -> Option<&Device> {
        self.devices.get(usize::try_from(ix.0).ok()?).map(|device| &**device)
    }

    /// The devices of the bus at this position, in the order of the file.
    pub fn devices_on(&self, bus: usize) -> impl Iterator<Item = (DeviceIx, &Arc<Device>)> + Clone {
        self.devices_with_ix().filter(move |(_, device)| device.bus == Some(bus))
    }

    /// The device that the box's own contacts are.
    pub fn own_device(&self) -> Option<(DeviceIx, &Arc<Device>)> {
        self.devices_with_ix().find(|(_, device)| device.bus.is_none())
    }

    fn devices_with_ix(&self) -> impl Iterator<Item = (DeviceIx, &Arc<Device>)> + Clone {
        (0u32..).map(DeviceIx).zip(self.devices.iter())
    }
}

impl Site {
    /// A copy that shares no memory with this one: what reading the file left between the parts can then be given back.
    pub fn detached(&self) -> Site {
        let mut site = self.clone();
        site.id = site.id.detached();
        if let Some(uplink) = &mut site.uplink {
            uplink.box_id = uplink.box_id.detached();
        }
        for bus in &mut site.buses {
            bus.id = bus.id.detached();
        }
        site.box_io = site.box_io.map(BoxIoSettings::detached);
        site.devices = self.devices.iter().map(|device| Arc::new(device.detached())).collect();
        site
    }
}

impl Device {
    /// True where one of its points shows who was at a reader, or what was typed there.
    pub fn is_personal(&self) -> bool {
        self.points.iter().any(|point| point.personal)
    }

    fn detached(&self) -> Device {
        let mut device = self.clone();
        device.id = device.id.detached();
        device.profile = device.profile.map(|profile| profile.detached());
        for point in &mut device.points {
            point.spec.name = point.spec.name.detached();
        }
        device
    }

    /// What the device's stored values mean.
    pub fn schema(&self) -> Arc<Schema> {
        let points = self.points.iter();
        let points = points.map(|p| SchemaPoint { name: p.spec.name.clone(), kind: p.spec.kind() }).collect();
        Arc::new(Schema { device: self.id.clone(), points })
    }

    /// What the device can do beyond points.
    pub fn commands(&self) -> &[Command] {
        match &self.station {
            Station::Modbus(modbus) => &modbus.commands,
            Station::Dlt645(_) | Station::Cjt188(_) | Station::Osdp(_) => &[],
            Station::Uhppote(controller) => &controller.commands,
            Station::Own(commands) => commands,
        }
    }

    /// The point with this name.
    pub fn point_by_name(&self, name: &str) -> Option<(PointIx, &PointConfig)> {
        (0u16..).map(PointIx).zip(&self.points).find(|(_, point)| point.spec.name == *name)
    }

    /// Time from one poll to the next of each group, while the site is cut off or while it is not.
    pub fn intervals(&self, cut_off: bool) -> Vec<Duration> {
        self.groups.iter().map(|group| group.interval_when(cut_off)).collect()
    }

    /// The device as the line sees it.
    pub fn line_settings(&self) -> DeviceSettings {
        let Device { timeout, characters, pauses_with, .. } = *self;
        DeviceSettings { intervals: self.intervals(false), timeout_ceiling: timeout, characters, pauses_with }
    }
}
