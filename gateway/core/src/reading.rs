//! A reading is a value or a reason, and always when.

use std::fmt;

use crate::ids::{DeviceIx, PointIx};
use crate::time::{Mono, Stamp};
use crate::value::Value;

/// Why there is no value. Good, stale and bad are computed from a reading and now; they are never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoData {
    /// No answer within the time allowed.
    Timeout,
    /// Bytes came, but no sound reply to the request: checksum, length, address, function or echo differed.
    BadReply,
    /// The device answered with an exception of its protocol, by code.
    Exception(u8),
    /// The float is not a number.
    NotANumber,
    /// The float is infinite.
    Infinite,
    /// The device sent the mark that its profile lists as "not available".
    NotAvailable,
    /// A digit of a BCD value is above nine.
    NotBcd,
    /// The text is not in its encoding.
    BadText,
    /// The scaled value does not fit.
    OutOfRange,
    /// The meter names another unit than its point, or one that is not known; the code as sent.
    UnexpectedUnit(u8),
    /// The device is known to be silent and was not asked this time.
    DeviceOffline,
    /// The port or connection of the bus is gone.
    BusDown,
}

impl NoData {
    /// The code of each kind in files, in the order of the enum; [`NoData::Exception`] adds its own byte.
    pub fn code(self) -> (u8, u8) {
        match self {
            NoData::Timeout => (1, 0),
            NoData::BadReply => (2, 0),
            NoData::Exception(code) => (3, code),
            NoData::NotANumber => (4, 0),
            NoData::Infinite => (5, 0),
            NoData::NotAvailable => (6, 0),
            NoData::NotBcd => (7, 0),
            NoData::BadText => (8, 0),
            NoData::OutOfRange => (9, 0),
            NoData::DeviceOffline => (10, 0),
            NoData::BusDown => (11, 0),
            NoData::UnexpectedUnit(code) => (12, code),
        }
    }

    /// The reason with this code, if there is one.
    pub fn from_code(code: u8, detail: u8) -> Option<NoData> {
        Some(match code {
            1 => NoData::Timeout,
            2 => NoData::BadReply,
            3 => NoData::Exception(detail),
            4 => NoData::NotANumber,
            5 => NoData::Infinite,
            6 => NoData::NotAvailable,
            7 => NoData::NotBcd,
            8 => NoData::BadText,
            9 => NoData::OutOfRange,
            10 => NoData::DeviceOffline,
            11 => NoData::BusDown,
            12 => NoData::UnexpectedUnit(detail),
            _ => return None,
        })
    }
}

impl fmt::Display for NoData {
    /// Writes the stable name that payloads and the API carry: `timeout`, `exception_2`, ...
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            NoData::Timeout => "timeout",
            NoData::BadReply => "bad_reply",
            NoData::Exception(code) => return write!(f, "exception_{code}"),
            NoData::UnexpectedUnit(code) => return write!(f, "unexpected_unit_{code:02x}"),
            NoData::NotANumber => "not_a_number",
            NoData::Infinite => "infinite",
            NoData::NotAvailable => "not_available",
            NoData::NotBcd => "not_bcd",
            NoData::BadText => "bad_text",
            NoData::OutOfRange => "out_of_range",
            NoData::DeviceOffline => "device_offline",
            NoData::BusDown => "bus_down",
        };
        f.write_str(name)
    }
}

/// The bytes of a reply that became one number, in the order of the wire; nothing of texts and of what no wire carried.
///
/// Of DL/T 645 without the 33H that the wire adds to each byte (DL/T 645-2007, 5.2.7).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw {
    bytes: [u8; Raw::MAX],
    len: u8,
}

impl Raw {
    /// The most bytes of one number.
    pub const MAX: usize = 8;

    /// Keeps these bytes; nothing where they are more than [`Raw::MAX`].
    pub fn new(bytes: &[u8]) -> Raw {
        let mut raw = Raw::default();
        if let (Some(room), Ok(len)) = (raw.bytes.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            room.copy_from_slice(bytes);
            raw.len = len;
        }
        raw
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Display for Raw {
    /// Writes two hexadecimal digits for each byte: `0012D687`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({self})")
    }
}

/// A value or a reason, of one point of the device at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct PointReading {
    /// Which point of the device.
    pub point: PointIx,
    /// The value, or why there is none.
    pub value: Result<Value, NoData>,
    /// What it was made of.
    pub raw: Raw,
}

impl PointReading {
    /// A reading that no bytes are kept of.
    pub fn new(point: PointIx, value: Result<Value, NoData>) -> Self {
        PointReading { point, value, raw: Raw::default() }
    }

    /// The same, made of these bytes of a reply.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Self {
        PointReading { raw: Raw::new(bytes), ..self }
    }
}

/// The last that is known of a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When the reply that carried it was complete.
    pub at: Mono,
    /// The value, or why there is none.
    pub value: Result<Value, NoData>,
}

/// Readings of one device that were taken together: one poll, which may be several requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The device.
    pub device: DeviceIx,
    /// When the last reply of the poll was complete, or when it was given up.
    pub stamp: Stamp,
    /// Each point that the poll was to read, once, in ascending order.
    pub readings: Vec<PointReading>,
}
