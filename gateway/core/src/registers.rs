//! Registers of a device that need not be its points: read as they stand, for whoever looks for what they mean.

use std::fmt;

/// Most registers of one row: enough for the widest value and its neighbours.
pub const REGISTERS_MOST: u16 = 16;

/// Where registers are. Both are read without any effect on the device (Modbus Application Protocol 1.1b3, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterTable {
    /// Holding registers, function 03.
    Holding,
    /// Input registers, function 04.
    Input,
}

impl RegisterTable {
    /// The name in site files and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            RegisterTable::Holding => "holding",
            RegisterTable::Input => "input",
        }
    }

    /// The table of this name.
    pub fn parse(text: &str) -> Option<RegisterTable> {
        [RegisterTable::Holding, RegisterTable::Input].into_iter().find(|table| table.as_str() == text)
    }
}

/// 1 to 16 registers that follow each other, and do not reach beyond address 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterRow {
    table: RegisterTable,
    first: u16,
    count: u16,
}

impl RegisterRow {
    /// `count` registers from the wire address `first` on; `None` for a row that cannot be.
    pub const fn new(table: RegisterTable, first: u16, count: u16) -> Option<RegisterRow> {
        let fits = count >= 1 && count <= REGISTERS_MOST && first.checked_add(count - 1).is_some();
        if fits { Some(RegisterRow { table, first, count }) } else { None }
    }

    /// Where they are.
    pub const fn table(self) -> RegisterTable {
        self.table
    }

    /// The address of the first, as sent on the wire.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// How many.
    pub const fn count(self) -> u16 {
        self.count
    }
}

impl fmt::Display for RegisterRow {
    /// Writes `holding 20 to 24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table.as_str(), self.first)?;
        if self.count > 1 { write!(f, " to {}", self.first + (self.count - 1)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_one_register_at_least_and_ends_at_the_last_address() {
        let row = |first, count| RegisterRow::new(RegisterTable::Input, first, count);
        assert_eq!(row(65_535, 1).unwrap().to_string(), "input 65535");
        assert_eq!(row(65_520, 16).unwrap().to_string(), "input 65520 to 65535");
        for (first, count) in [(0, 0), (0, 17), (65_535, 2), (65_521, 16)] {
            assert_eq!(row(first, count), None, "{first} {count}");
        }
    }
}
