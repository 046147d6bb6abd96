//! Where one point of a Modbus device lies, and how.

use gatehouse_core::{Decimal, Kind, RegisterTable};

/// The table that a point is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Function 01, written with 05 or 15.
    Coil,
    /// Function 02, read-only.
    Discrete,
    /// Function 03, written with 06, 16 or 22.
    Holding,
    /// Function 04, read-only.
    Input,
}

impl From<RegisterTable> for Table {
    fn from(table: RegisterTable) -> Table {
        match table {
            RegisterTable::Holding => Table::Holding,
            RegisterTable::Input => Table::Input,
        }
    }
}

impl Table {
    /// The table's name in profiles and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        }
    }
}

/// How a value lies in its registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// A coil or discrete input, or one bit of a register (see [`ModbusPoint::bit`]).
    Bool,
    /// Unsigned 16 bit.
    U16,
    /// Signed 16 bit.
    I16,
    /// Unsigned 32 bit.
    U32,
    /// Signed 32 bit.
    I32,
    /// Unsigned 64 bit.
    U64,
    /// Signed 64 bit.
    I64,
    /// IEEE 754 single.
    F32,
    /// IEEE 754 double.
    F64,
    /// Four decimal digits.
    Bcd16,
    /// Eight decimal digits.
    Bcd32,
    /// Sixteen flags; the value is the whole word, the names are for people.
    Bits16,
    /// Text of so many registers, two characters each.
    Text {
        /// Registers, 1 to 125.
        registers: u16,
    },
}

impl DataType {
    /// The type's name in profiles and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            DataType::Bool => "bool",
            DataType::U16 => "u16",
            DataType::I16 => "i16",
            DataType::U32 => "u32",
            DataType::I32 => "i32",
            DataType::U64 => "u64",
            DataType::I64 => "i64",
            DataType::F32 => "f32",
            DataType::F64 => "f64",
            DataType::Bcd16 => "bcd16",
            DataType::Bcd32 => "bcd32",
            DataType::Bits16 => "bits16",
            DataType::Text { .. } => "text",
        }
    }
}

/// Where byte A, the most significant, lands. For 64 bit the same four patterns over eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// ABCD: high word first, the standard.
    #[default]
    Abcd,
    /// CDAB: low word first.
    Cdab,
    /// BADC: bytes swapped within each word.
    Badc,
    /// DCBA: fully reversed.
    Dcba,
}

/// One point of a Modbus device: where it lies, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusPoint {
    /// Where it is read from.
    pub table: Table,
    /// Wire address, counted from 0.
    pub address: u16,
    /// How it lies there.
    pub data_type: DataType,
    /// Word and byte order.
    pub order: Order,
    /// Lowest bit and width of a field within an integer type; `None` for the whole value.
    pub bit: Option<(u8, u8)>,
    /// value = raw × scale + offset. `1` for none.
    pub scale: Decimal,
    /// See `scale`. `0` for none.
    pub offset: Decimal,
    /// Raw bit patterns (of the type's width) that mean "no value".
    pub not_available: Vec<u64>,
    /// How it may be written; `None`: read-only.
    pub write: Option<WriteWith>,
}

/// The function that writes a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteWith {
    /// Function 05.
    SingleCoil,
    /// Function 15.
    Coils,
    /// Function 06.
    SingleRegister,
    /// Function 16.
    Registers,
    /// Function 22, for bit fields: other bits stay.
    Mask,
}

impl ModbusPoint {
    /// True when a write of one would reach what the other holds: they share a coil, or bits of a register.
    pub fn touches(&self, other: &ModbusPoint) -> bool {
        let end = |point: &ModbusPoint| u32::from(point.address) + u32::from(point.width());
        let apart = end(self) <= u32::from(other.address) || end(other) <= u32::from(self.address);
        let bits = |(low, width): (u8, u8)| u32::from(low)..u32::from(low) + u32::from(width);
        let split = match (self.bit, other.bit) {
            (Some(own), Some(others)) => {
                let (own, others) = (bits(own), bits(others));
                own.end <= others.start || others.end <= own.start
            }
            (Some(_), None) | (None, Some(_)) | (None, None) => false,
        };
        self.table == other.table && !apart && !split
    }

    /// What the point's values are made of, which follows from type, scale and offset.
    pub fn kind(&self) -> Kind {
        match self.data_type {
            DataType::Bool => Kind::Bool,
            DataType::Text { .. } => Kind::Text,
            DataType::F32 | DataType::F64 if self.is_scaled() => Kind::FreeDecimal,
            DataType::F32 => Kind::F32,
            DataType::F64 => Kind::F64,
            _ if self.bit.is_some_and(|(_, width)| width == 1) => Kind::Bool,
            _ => Kind::Decimal { exponent: self.scale.exponent.min(self.offset.exponent) },
        }
    }

    /// True when scale or offset change the raw value.
    pub fn is_scaled(&self) -> bool {
        !self.scale.same_number(Decimal::whole(1)) || self.offset.mantissa != 0
    }

    /// Registers (or coils) that the point takes.
    pub fn width(&self) -> u16 {
        match self.data_type {
            DataType::Bool | DataType::U16 | DataType::I16 | DataType::Bcd16 | DataType::Bits16 => 1,
            DataType::U32 | DataType::I32 | DataType::F32 | DataType::Bcd32 => 2,
            DataType::U64 | DataType::I64 | DataType::F64 => 4,
            DataType::Text { registers } => registers,
        }
    }
}
