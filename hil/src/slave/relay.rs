//! Relay boards: coils that are written, pulses that the board ends by itself, and inputs that follow a model or a world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gatehouse_drivers::modbus::point::Table;
use gatehouse_drivers::point::PointSpec;

use super::answer::{Bits, Exception, ILLEGAL_ADDRESS, ILLEGAL_VALUE, Memory, Words};
use super::boom::Boom;
use super::model::Model;
use crate::sim_clock::wall_us;

/// Changes that are kept of one switch; the oldest go first.
const KEPT_CHANGES: usize = 256;

/// The coils or the inputs of a board and when they changed, shared with who checks what was delivered.
#[derive(Debug, Clone, Default)]
pub struct Switches(Arc<Mutex<Changes>>);

/// By address: when it changed, and to what.
type Changes = BTreeMap<u16, Vec<(i64, bool)>>;

impl Switches {
    fn with<T>(&self, f: impl FnOnce(&mut Changes) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets a switch at `now_us` of wall time, for good or until `until_us`; what was planned for later is forgotten.
    pub fn set(&self, address: u16, on: bool, now_us: i64, until_us: Option<i64>) {
        self.with(|switches| {
            let changes = switches.entry(address).or_default();
            changes.retain(|&(at, _)| at <= now_us);
            changes.push((now_us, on));
            changes.extend(until_us.map(|until| (until, !on)));
            let surplus = changes.len().saturating_sub(KEPT_CHANGES);
            changes.drain(..surplus);
        });
    }

    /// The state at a wall time; off before its first change.
    pub fn state(&self, address: u16, at_us: i64) -> bool {
        self.with(|switches| {
            let changes = switches.get(&address).map_or(&[][..], Vec::as_slice);
            changes.iter().take_while(|(at, _)| *at <= at_us).last().is_some_and(|&(_, on)| on)
        })
    }

    /// Whether it was in this state at some time from `from_us` to `to_us`.
    pub fn was(&self, address: u16, on: bool, from_us: i64, to_us: i64) -> bool {
        self.state(address, from_us) == on
            || self.with(|switches| {
                let changes = switches.get(&address);
                changes.is_some_and(|c| c.iter().any(|&(at, s)| s == on && (from_us..=to_us).contains(&at)))
            })
    }

    /// When it was switched on, not before `from_us` and before `until_us`.
    pub fn switched_on(&self, address: u16, from_us: i64, until_us: i64) -> Vec<i64> {
        self.with(|switches| {
            let changes = switches.get(&address).map_or(&[][..], Vec::as_slice);
            let wanted = |(at, on): &&(i64, bool)| *on && *at >= from_us && *at < until_us;
            changes.iter().filter(wanted).map(|(at, _)| *at).collect()
        })
    }
}

/// How a board is told to pulse a relay and let it go by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulses {
    /// It cannot.
    None,
    /// Waveshare Modbus RTU Relay: function 5 at 0200 (on) or 0400 (off) plus channel, value in 100 ms.
    FlashCoil,
    /// Juying DAM0808: function 16 at 3 + 5 × channel, mode 4 (on) or 2 (off) and 100 ms units.
    FlashRegisters,
}

/// A relay board.
pub struct RelayBoard {
    model: Arc<Model>,
    coils: Switches,
    pulses: Pulses,
    inputs: Option<Switches>,
    boom: Option<Boom>,
}

/// What one unit of a pulse takes, in microseconds.
const PULSE_UNIT_US: i64 = 100_000;

impl RelayBoard {
    /// A board whose writable coils are `coils`; everything else follows the model.
    pub fn new(model: Arc<Model>, coils: Switches, pulses: Pulses) -> Self {
        RelayBoard { model, coils, pulses, inputs: None, boom: None }
    }

    /// Wires its inputs: all that cannot be written shows these switches, by address.
    pub fn with_inputs(mut self, inputs: Switches) -> Self {
        self.inputs = Some(inputs);
        self
    }

    /// Has it work a boom, which is looked after at each request.
    pub fn with_boom(mut self, boom: Boom) -> Self {
        self.boom = Some(boom);
        self
    }

    fn has_coil(&self, address: u16) -> bool {
        self.model
            .points()
            .iter()
            .filter_map(PointSpec::modbus)
            .any(|p| p.table == Table::Coil && p.write.is_some() && p.address == address)
    }

    fn pulse(&self, coil: u16, on: bool, units: u16) -> Result<(), Exception> {
        if !self.has_coil(coil) {
            return Err(ILLEGAL_ADDRESS);
        }
        let now = wall_us();
        self.coils.set(coil, on, now, Some(now + i64::from(units) * PULSE_UNIT_US));
        Ok(())
    }
}

impl Memory for RelayBoard {
    fn begin(&mut self) {
        if let Some(boom) = &self.boom {
            boom.ask(wall_us());
        }
    }

    fn bit(&mut self, table: Bits, address: u16) -> Result<bool, Exception> {
        let now = wall_us();
        if table == Bits::Coils && self.has_coil(address) {
            return Ok(self.coils.state(address, now));
        }
        let table = if table == Bits::Coils { Table::Coil } else { Table::Discrete };
        let extent = self.model.extent(table).filter(|(first, last)| (*first..=*last).contains(&address));
        extent.ok_or(ILLEGAL_ADDRESS)?;
        if let Some(inputs) = &self.inputs {
            return Ok(inputs.state(address, now));
        }
        Ok(self.model.bit(table, address, self.model.generation(now)).unwrap_or(false))
    }

    fn word(&mut self, table: Words, address: u16) -> Result<u16, Exception> {
        let table = if table == Words::Holding { Table::Holding } else { Table::Input };
        self.model.word(table, address, self.model.generation(wall_us())).ok_or(ILLEGAL_ADDRESS)
    }

    fn set_coil(&mut self, address: u16, value: u16) -> Result<(), Exception> {
        if self.pulses == Pulses::FlashCoil && (0x0200..0x0600).contains(&address) {
            return self.pulse(address & 0xFF, address < 0x0400, value);
        }
        if !self.has_coil(address) {
            return Err(ILLEGAL_ADDRESS);
        }
        let now = wall_us();
        let on = match value {
            0xFF00 => true,
            0x0000 => false,
            0x5500 if self.pulses == Pulses::FlashCoil => !self.coils.state(address, now),
            _ => return Err(ILLEGAL_VALUE),
        };
        self.coils.set(address, on, now, None);
        Ok(())
    }

    fn set_words(&mut self, address: u16, values: &[u16]) -> Result<(), Exception> {
        match (self.pulses, values) {
            (Pulses::FlashRegisters, &[mode @ (2 | 4), units]) if address % 5 == 3 => {
                self.pulse(address / 5, mode == 4, units)
            }
            _ => Err(ILLEGAL_ADDRESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::answer;
    use super::*;
    use gatehouse_drivers::profile::Library;

    fn board(profile: &str, pulses: Pulses) -> (RelayBoard, Switches) {
        let points = Library::new().find(profile).unwrap().points.clone();
        let coils = Switches::default();
        (RelayBoard::new(Arc::new(Model::new(1, 1_000_000, 0, points)), coils.clone(), pulses), coils)
    }

    fn ask(board: &mut RelayBoard, pdu: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        answer(board, pdu, &mut reply);
        reply
    }

    #[test]
    fn a_pulse_ends_by_itself() {
        let coils = Switches::default();
        coils.set(3, true, 1_000, Some(5_000));
        assert!(!coils.state(3, 999) && coils.state(3, 1_000) && coils.state(3, 4_999) && !coils.state(3, 5_000));
        assert!(coils.was(3, true, 0, 1_000) && !coils.was(3, true, 5_000, 9_000));
    }

    #[test]
    fn boards_take_the_pulses_of_their_makers() {
        let (mut waveshare, coils) = board("waveshare-modbus-rtu-relay-8", Pulses::FlashCoil);
        assert_eq!(ask(&mut waveshare, &[5, 0x02, 0x03, 0, 7]), [5, 0x02, 0x03, 0, 7]);
        assert!(coils.state(3, wall_us()) && !coils.state(3, wall_us() + 800_000));
        let (mut juying, coils) = board("juying-dam0808", Pulses::FlashRegisters);
        assert_eq!(ask(&mut juying, &[16, 0, 8, 0, 2, 4, 0, 4, 0, 10])[0], 16);
        assert!(coils.state(1, wall_us()) && !coils.state(1, wall_us() + 1_100_000));
        assert_eq!(ask(&mut juying, &[5, 0, 0x40, 0xFF, 0]), [0x85, 2]);
    }

    #[test]
    fn a_coil_that_is_written_reads_back() {
        let (mut board, _) = board("advantech-adam6060", Pulses::None);
        assert_eq!(ask(&mut board, &[5, 0, 16, 0xFF, 0]), [5, 0, 16, 0xFF, 0]);
        assert_eq!(ask(&mut board, &[1, 0, 16, 0, 6]), [1, 1, 1]);
        assert_eq!(ask(&mut board, &[5, 0, 0, 0xFF, 0]), [0x85, 2], "an input cannot be written");
    }
}
