//! Device profiles: what is known of a device model, as data.

mod command_keys;
mod commands;
pub mod keys;
mod library;
mod parse;
mod point_rules;
mod points;

use gatehouse_core::Name;

pub use commands::{Argument, Call, CallError};
pub use keys::{KeyError, Rule, line_and_column, nearest};
pub use library::{Added, Embedded, Library};
pub use parse::{ProfileError, parse_limits};
pub use points::{POINT_KEYS, override_point, parse_point};
pub(crate) use points::{in_order, read_bits, read_name};

use crate::modbus::point::Table;
use crate::point::{PointSpec, Protocol};

/// A device model.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name that site files use, for example `eastron-sdm630`.
    pub name: Name,
    /// Maker.
    pub vendor: String,
    /// Model as printed on the device.
    pub model: String,
    /// What it is: `electricity_meter_3p`, `relay_board`, ...
    pub category: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Factory settings.
    pub defaults: Defaults,
    /// What a Modbus device can bear.
    pub limits: Limits,
    /// In what a CJ/T 188 meter differs from others.
    pub meter: crate::cjt188::Traits,
    /// Points, in the order of the file.
    pub points: Vec<PointSpec>,
    /// Requests of a Modbus device that are more than a point.
    pub commands: Vec<Command>,
    /// Traps and hints, for people.
    pub notes: Vec<String>,
    /// Where the facts come from.
    pub sources: Vec<String>,
    /// How sure they are.
    pub status: String,
}

/// Factory settings of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defaults {
    /// Unit address.
    pub unit: Option<u8>,
    /// Line speed.
    pub baud: Option<u32>,
    /// 7 or 8.
    pub data_bits: Option<u8>,
    /// `N`, `E` or `O`.
    pub parity: Option<char>,
    /// 1 or 2.
    pub stop_bits: Option<u8>,
    /// Port for Modbus TCP.
    pub tcp_port: Option<u16>,
    /// True when the settings were confirmed by a source.
    pub verified: bool,
}

/// What a device can bear in one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Most registers in one read, 1 to 125.
    pub max_registers: u16,
    /// Most coils or inputs in one read, 1 to 2000.
    pub max_bits: u16,
    /// Unused addresses between two points that a merged read may cross.
    pub max_gap: u16,
    /// Addresses that must not be read: table, first, last.
    pub holes: Vec<(Table, u16, u16)>,
    /// Reads must begin at even addresses and have even counts.
    pub even: bool,
    /// Silence that the device needs between requests, in milliseconds.
    pub pause_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_registers: 125, max_bits: 2000, max_gap: 16, holes: Vec::new(), even: false, pause_ms: 0 }
    }
}

/// A request that is more than writing a point: a timed pulse, a toggle, all relays at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The name, unique in its profile.
    pub name: Name,
    /// Modbus function: 1 to 6, 15 or 16.
    pub function: u8,
    /// Wire address of the first channel, or of the only one.
    pub address: u16,
    /// The channels; `None`: the command has none.
    pub channels: Option<Channels>,
    /// What is sent.
    pub payload: Payload,
    /// True when it is sent to unit 0, so that every device on the line obeys.
    pub broadcast: bool,
    /// What to read right after it, before any other request to the device.
    pub then: Option<Follow>,
    /// A note for people.
    pub note: String,
}

/// The channels of a [`Command`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// The first channel's number, as the device counts.
    pub first: u16,
    /// How many, 1 or more.
    pub count: u16,
    /// Addresses from one channel to the next.
    pub step: u16,
}

/// A read that belongs to a [`Command`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    /// Where to read.
    pub table: Table,
    /// Wire address.
    pub address: u16,
    /// Registers or bits.
    pub count: u16,
}

/// What a [`Command`] sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A read of 1 to `most` registers, coils or inputs.
    Read {
        /// Most of them.
        most: u16,
    },
    /// These words, as they are.
    Fixed(Vec<u16>),
    /// These words, with a time added to the last one.
    Timed {
        /// The words.
        words: Vec<u16>,
        /// Milliseconds of one unit.
        unit_ms: u32,
        /// Least number of units.
        least: u16,
        /// Greatest number of units.
        most: u16,
    },
    /// These words, with a caller's number added to the last one.
    Value {
        /// The words.
        words: Vec<u16>,
        /// Least number.
        least: u16,
        /// Greatest number.
        most: u16,
    },
    /// One word for on, another for off.
    Switch {
        /// The word for on.
        on: u16,
        /// The word for off.
        off: u16,
    },
    /// A row of coils, the first in the lowest bit.
    Coils {
        /// How many coils, 1 to 64.
        count: u16,
        /// The row; `None`: the caller's.
        row: Option<u64>,
    },
}

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        [$(Embedded::new($name, include_str!(concat!("../profiles/", $name, ".toml")))),*]
    };
}

static EMBEDDED: [Embedded; 32] = embed![
    "acrel-adl400",
    "acrel-adw300",
    "advantech-adam6060",
    "apc-nmc2",
    "bolid-s2000pp",
    "carlogavazzi-em340",
    "chint-dtsu666",
    "cjt188-cold-water",
    "cjt188-gas",
    "cjt188-heat-2004",
    "cjt188-heat-2018",
    "cjt188-hot-water",
    "dlt645-1997-1p",
    "dlt645-1997-3p",
    "dlt645-2007-1p",
    "dlt645-2007-3p",
    "eastron-sdm120",
    "eastron-sdm230",
    "eastron-sdm630",
    "eletechsup-r4d8",
    "janitza-umg96rm",
    "juying-dam0808",
    "lot-turnstile",
    "osdp-reader",
    "peacefair-pzem016",
    "schneider-iem3000",
    "schneider-pm5000",
    "uhppote-4door",
    "vacon-10",
    "waveshare-modbus-rtu-relay-8",
    "wb-mwac-v2",
    "xy-md02",
];

/// The profiles in the binary, in alphabetical order.
pub fn embedded() -> &'static [Embedded] {
    &EMBEDDED
}
