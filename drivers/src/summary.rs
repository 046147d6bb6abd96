//! Planned requests, for people: what a request asks for, whatever its protocol.

use std::fmt;

use gatehouse_core::PointIx;

use crate::dlt645::Edition;
use crate::modbus::point::Table;

/// One request of a device's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSummary {
    /// What is read.
    pub asked: Asked,
    /// The points that come with it, ascending.
    pub points: Vec<PointIx>,
    /// Bytes of the request, framing included.
    pub request_bytes: usize,
    /// Bytes of the normal reply, framing included.
    pub reply_bytes: usize,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Registers or bits of a Modbus device.
    Modbus {
        /// Their table.
        table: Table,
        /// First wire address.
        address: u16,
        /// Registers or bits, 1 or more.
        count: u16,
    },
    /// A data identifier of a DL/T 645 meter.
    Dlt645 {
        /// Its edition, which says how many bytes the identifier has.
        edition: Edition,
        /// The identifier.
        di: u32,
    },
    /// A data identifier of a CJ/T 188 meter.
    Cjt188 {
        /// The identifier, whatever the order of its bytes on the wire.
        di: u16,
    },
    /// What is new at an OSDP reader.
    Osdp {
        /// Its address.
        address: u8,
    },
    /// Something of a UHPPOTE controller.
    Uhppote {
        /// The function of the protocol.
        function: u8,
    },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Modbus { table, address, count } => {
                let last = u32::from(*address) + u32::from(*count) - 1;
                write!(f, "{} {address} to {last}", table.as_str())
            }
            Asked::Dlt645 { edition: Edition::V2007, di } => write!(f, "{di:08X}"),
            Asked::Dlt645 { edition: Edition::V1997, di } => write!(f, "{di:04X}"),
            Asked::Osdp { address } => write!(f, "poll of reader {address}"),
            Asked::Uhppote { function } => write!(f, "function {function:02X}"),
            Asked::Cjt188 { di } => write!(f, "{di:04X}"),
        }
    }
}
