//! How a meter is addressed, and in what it differs from others of its protocol.

use std::fmt;
use std::time::Duration;

use super::frame::Address;
use super::value::StatusBits;

/// The edition of the standard that a meter follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edition {
    /// CJ/T 188-2004.
    V2004,
    /// CJ/T 188-2018: a second layout of heat meters, type 22, freezes. Its meters still answer as those of 2004.
    V2018,
}

/// What kind of meter a frame is of: the byte T.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterType(pub u8);

impl MeterType {
    /// Whatever meter there is.
    pub const ANY: MeterType = MeterType(0xAA);
    /// Cold water.
    pub const COLD_WATER: MeterType = MeterType(0x10);

    /// Reads two hexadecimal digits: 10 to 13 water, 20 to 22 heat and cooling (22 since 2018), 30 gas, 40 to 49
    /// others, AA whatever there is.
    pub fn parse(text: &str) -> Option<MeterType> {
        let code = u8::from_str_radix(text, 16).ok().filter(|_| text.len() == 2)?;
        matches!(code, 0x10..=0x13 | 0x20..=0x22 | 0x30 | 0x40..=0x49 | 0xAA).then_some(MeterType(code))
    }

    /// True if a meter of type `other` is meant.
    pub fn covers(self, other: MeterType) -> bool {
        self == MeterType::ANY || self == other
    }

    /// True for meters of heat and cooling.
    pub fn is_heat(self) -> bool {
        matches!(self.0, 0x20..=0x2F)
    }
}

impl fmt::Display for MeterType {
    /// Writes the two hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}", self.0)
    }
}

impl fmt::Debug for MeterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// In which order the bytes of a data identifier travel. Makers differ; a meter answers in the order that it was asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DiOrder {
    /// 901F goes out as 1F 90, as on most meters.
    #[default]
    LowFirst,
    /// 901F goes out as 90 1F.
    HighFirst,
}

impl DiOrder {
    /// The bytes of an identifier on the wire.
    pub fn wire(self, di: u16) -> [u8; 2] {
        match self {
            DiOrder::LowFirst => di.to_le_bytes(),
            DiOrder::HighFirst => di.to_be_bytes(),
        }
    }

    /// The identifier of two bytes of the wire.
    pub fn read(self, bytes: [u8; 2]) -> u16 {
        match self {
            DiOrder::LowFirst => u16::from_le_bytes(bytes),
            DiOrder::HighFirst => u16::from_be_bytes(bytes),
        }
    }
}

/// Where the byte of a value's unit lies. Both ends of a value can look like a unit, so that no frame tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnitPlace {
    /// Behind the value, as the standard says.
    #[default]
    After,
    /// Before the value.
    Before,
}

/// In which order the bytes of the clock travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClockOrder {
    /// ss mm hh DD MM, then the year, its low byte first.
    #[default]
    SecondFirst,
    /// The other way round, as one driver says of 2018; unverified.
    YearFirst,
}

/// In what makers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// What kind of meter it is.
    pub meter_type: MeterType,
    /// The order of the bytes of identifiers.
    pub di_order: DiOrder,
    /// Where units lie.
    pub unit_place: UnitPlace,
    /// The order of the clock.
    pub clock_order: ClockOrder,
    /// What the bits of the status word say.
    pub status: StatusBits,
    /// How long a valve may travel before it counts as not confirmed.
    pub valve_travel: Duration,
}

impl Default for Traits {
    fn default() -> Self {
        Traits {
            meter_type: MeterType::COLD_WATER,
            di_order: DiOrder::default(),
            unit_place: UnitPlace::default(),
            clock_order: ClockOrder::default(),
            status: StatusBits::LOW_END,
            valve_travel: Duration::from_secs(60),
        }
    }
}

/// How a meter is addressed, and what it wants.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterSettings {
    /// The edition that it follows.
    pub edition: Edition,
    /// Its address, or a pattern where it is alone on its line.
    pub address: Address,
    /// Bytes FE before each request: they wake the meter.
    pub preamble: u8,
    /// Silence that it needs between requests.
    pub pause: Duration,
    /// In what it differs from others.
    pub traits: Traits,
}
