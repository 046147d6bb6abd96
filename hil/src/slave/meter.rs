//! A meter: a register image made from a profile's points, with the limits that the profile knows of.

use std::sync::Arc;

use gatehouse_drivers::modbus::point::Table;
use gatehouse_drivers::profile::Limits;

use super::answer::{Bits, Exception, ILLEGAL_ADDRESS, ILLEGAL_VALUE, Memory, Words};
use super::model::Model;
use crate::sim_clock::wall_us;

/// A read-only device whose registers follow its [`Model`].
pub struct Meter {
    model: Arc<Model>,
    limits: Limits,
    generation: i64,
}

impl Meter {
    /// A meter that shows its model's values and refuses what its limits forbid.
    pub fn new(model: Arc<Model>, limits: Limits) -> Self {
        Meter { model, limits, generation: 0 }
    }
}

/// The table that a read function asks.
fn table_of(function: u8) -> Table {
    match function {
        1 => Table::Coil,
        2 => Table::Discrete,
        4 => Table::Input,
        _ => Table::Holding,
    }
}

impl Memory for Meter {
    fn begin(&mut self) {
        self.generation = self.model.generation(wall_us());
    }

    fn allows(&self, function: u8, address: u16, count: u16) -> Result<(), Exception> {
        let table = table_of(function);
        let last = address.checked_add(count - 1).ok_or(ILLEGAL_ADDRESS)?;
        let most = if function <= 2 { self.limits.max_bits } else { self.limits.max_registers };
        let odd = self.limits.even && function > 2 && (address % 2 == 1 || count % 2 == 1);
        if count > most || odd {
            return Err(ILLEGAL_VALUE);
        }
        let in_hole = self.limits.holes.iter().any(|&(t, from, to)| t == table && address <= to && last >= from);
        let inside = self.model.extent(table).is_some_and(|(first, end)| address >= first && last <= end);
        if in_hole || !inside { Err(ILLEGAL_ADDRESS) } else { Ok(()) }
    }

    fn bit(&mut self, table: Bits, address: u16) -> Result<bool, Exception> {
        let table = if table == Bits::Coils { Table::Coil } else { Table::Discrete };
        Ok(self.model.bit(table, address, self.generation).unwrap_or(false))
    }

    fn word(&mut self, table: Words, address: u16) -> Result<u16, Exception> {
        let table = if table == Words::Holding { Table::Holding } else { Table::Input };
        Ok(self.model.word(table, address, self.generation).unwrap_or(0))
    }
}
