//! Device profiles: what is known of a device model, as data.

use gatehouse_core::Name;

use crate::modbus::point::{PointSpec, Table};

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
    /// Factory settings.
    pub defaults: Defaults,
    /// What the device can bear.
    pub limits: Limits,
    /// Points, in the order of the file.
    pub points: Vec<PointSpec>,
    /// Requests that are more than a point.
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
    /// Modbus function.
    pub function: u8,
    /// Wire address of channel 0 (or of the only one).
    pub address: u16,
    /// Addresses from one channel to the next; 0: the command has no channel.
    pub address_step: u16,
    /// The first channel's number (0 or 1).
    pub first_channel: u16,
    /// How many channels; 0: the command has no channel.
    pub channels: u16,
    /// What is sent.
    pub payload: Payload,
    /// A note for people.
    pub note: String,
}

/// What a [`Command`] sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// A read of so many registers, coils or inputs.
    Read(u16),
    /// These words (or one packed byte row for coils), as they are.
    Fixed(Vec<u16>),
    /// These words, with a time in place of the last or in its low byte.
    Timed {
        /// The words; the time is added to the last one.
        words: Vec<u16>,
        /// Milliseconds of one unit.
        unit_ms: u32,
        /// Greatest number of units.
        max_units: u16,
    },
    /// These words, with a caller's number added to the last one.
    Value(Vec<u16>),
}
