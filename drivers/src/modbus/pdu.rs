//! Requests and replies without their framing, in both directions.

mod coding;
mod length;

use std::fmt;

use super::point::Table;
pub(super) use length::{
    Length, expected_reply_bytes, identification_objects, matches_request, reply_length, request_length,
};

/// Function codes (Modbus Application Protocol 1.1b3, 6).
pub mod function {
    #![allow(missing_docs, reason = "the names say it")]
    pub const READ_COILS: u8 = 1;
    pub const READ_DISCRETE: u8 = 2;
    pub const READ_HOLDING: u8 = 3;
    pub const READ_INPUT: u8 = 4;
    pub const WRITE_COIL: u8 = 5;
    pub const WRITE_REGISTER: u8 = 6;
    pub const WRITE_COILS: u8 = 15;
    pub const WRITE_REGISTERS: u8 = 16;
    pub const MASK_WRITE: u8 = 22;
    pub const READ_WRITE: u8 = 23;
    pub const ENCAPSULATED: u8 = 43;
    /// Set in the function of an exception.
    pub const EXCEPTION: u8 = 0x80;
}
use function::{READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT};

/// The encapsulated interface that reads device identification.
pub const MEI_IDENTIFICATION: u8 = 14;
/// Most coils or inputs in one read.
pub const MAX_READ_BITS: u16 = 2000;
/// Most registers in one read.
pub const MAX_READ_REGISTERS: u16 = 125;
/// Most coils in one write.
pub const MAX_WRITE_BITS: u16 = 1968;
/// Most registers in one write.
pub const MAX_WRITE_REGISTERS: u16 = 123;
/// Most registers in the write half of function 23.
pub const MAX_READ_WRITE_REGISTERS: u16 = 121;
/// Most data bytes of a read's reply: 125 registers or 2000 bits.
const MAX_REPLY_BYTES: u16 = 250;
/// What function 05 sends for "on".
pub const COIL_ON: u16 = 0xFF00;
/// What function 05 sends for "off".
pub const COIL_OFF: u16 = 0x0000;

impl Table {
    /// The function that reads the table.
    pub fn read_function(self) -> u8 {
        match self {
            Table::Coil => READ_COILS,
            Table::Discrete => READ_DISCRETE,
            Table::Holding => READ_HOLDING,
            Table::Input => READ_INPUT,
        }
    }

    /// The table that a function reads.
    pub fn from_read_function(function: u8) -> Option<Table> {
        Some(match function {
            READ_COILS => Table::Coil,
            READ_DISCRETE => Table::Discrete,
            READ_HOLDING => Table::Holding,
            READ_INPUT => Table::Input,
            _ => return None,
        })
    }

    /// True for coils and discrete inputs.
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Functions 01 to 04.
    Read {
        /// What is read.
        table: Table,
        /// First wire address.
        address: u16,
        /// Bits (1 to 2000) or registers (1 to 125).
        quantity: u16,
    },
    /// Function 05.
    WriteCoil {
        /// Wire address.
        address: u16,
        /// FF00h and 0000h by the book ([`coil_state`]); relay boards give others a meaning of their own.
        value: u16,
    },
    /// Function 06.
    WriteRegister {
        /// Wire address.
        address: u16,
        /// The register.
        value: u16,
    },
    /// Function 15.
    WriteCoils {
        /// First wire address.
        address: u16,
        /// 1 to 1968 coils.
        coils: Vec<bool>,
    },
    /// Function 16.
    WriteRegisters {
        /// First wire address.
        address: u16,
        /// 1 to 123 registers.
        registers: Vec<u16>,
    },
    /// Function 22: the register becomes `(old & and_mask) | (or_mask & !and_mask)`.
    MaskWrite {
        /// Wire address.
        address: u16,
        /// Bits that stay.
        and_mask: u16,
        /// What the others become.
        or_mask: u16,
    },
    /// Function 23: the write happens first.
    ReadWrite {
        /// First wire address to read.
        read_address: u16,
        /// 1 to 125 registers.
        read_quantity: u16,
        /// First wire address to write.
        write_address: u16,
        /// 1 to 121 registers.
        registers: Vec<u16>,
    },
    /// Function 43/14.
    Identify {
        /// 1 basic, 2 regular, 3 extended, 4 one object.
        read_code: u8,
        /// The object to begin with.
        object: u8,
    },
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Functions 01 and 02. As many bits as were asked for; without the request, all bits of the bytes.
    Bits {
        /// The function.
        function: u8,
        /// Lowest address first.
        bits: Vec<bool>,
    },
    /// Functions 03, 04 and 23.
    Registers {
        /// The function.
        function: u8,
        /// Lowest address first.
        registers: Vec<u16>,
    },
    /// Function 05.
    WriteCoil {
        /// Wire address.
        address: u16,
        /// See [`Request::WriteCoil`].
        value: u16,
    },
    /// Function 06.
    WriteRegister {
        /// Wire address.
        address: u16,
        /// The register.
        value: u16,
    },
    /// Functions 15 and 16.
    WriteMultiple {
        /// The function.
        function: u8,
        /// First wire address.
        address: u16,
        /// How many were written.
        quantity: u16,
    },
    /// Function 22.
    MaskWrite {
        /// Wire address.
        address: u16,
        /// Bits that stayed.
        and_mask: u16,
        /// What the others became.
        or_mask: u16,
    },
    /// Function 43/14.
    Identification(Identification),
    /// An exception.
    Exception {
        /// The function, without the exception bit.
        function: u8,
        /// The code.
        code: u8,
    },
}

/// What a device says of itself, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// The read code of the request.
    pub read_code: u8,
    /// Which read codes the device knows.
    pub conformity: u8,
    /// More objects follow in another reply.
    pub more: bool,
    /// The object to continue with.
    pub next: u8,
    /// Number and bytes of each object.
    pub objects: Vec<(u8, Vec<u8>)>,
}

/// What the value of function 05 says by the book: FF00h on, 0000h off.
pub fn coil_state(value: u16) -> Option<bool> {
    match value {
        COIL_ON => Some(true),
        COIL_OFF => Some(false),
        _ => None,
    }
}

impl fmt::Display for Request {
    /// Writes the request in words, as traces and logs have it: `read holding 0 to 13`, `write coil 172 = ff00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |first: u16, count: usize| usize::from(first) + count.saturating_sub(1);
        match self {
            Request::Read { table, address, quantity } => {
                write!(f, "read {} {address} to {}", table.as_str(), last(*address, usize::from(*quantity)))
            }
            Request::WriteCoil { address, value } => write!(f, "write coil {address} = {value:04x}"),
            Request::WriteRegister { address, value } => write!(f, "write holding {address} = {value:04x}"),
            Request::WriteCoils { address, coils } => {
                write!(f, "write coil {address} to {}", last(*address, coils.len()))
            }
            Request::WriteRegisters { address, registers } => {
                write!(f, "write holding {address} to {} = {registers:04x?}", last(*address, registers.len()))
            }
            Request::MaskWrite { address, and_mask, or_mask } => {
                write!(f, "write holding {address} and {and_mask:04x} or {or_mask:04x}")
            }
            Request::ReadWrite { read_address, read_quantity, write_address, registers } => {
                let end = last(*write_address, registers.len());
                write!(f, "write holding {write_address} to {end} = {registers:04x?}, then ")?;
                let end = last(*read_address, usize::from(*read_quantity));
                write!(f, "read holding {read_address} to {end}")
            }
            Request::Identify { read_code, object } => write!(f, "identify {read_code} from object {object}"),
        }
    }
}
