//! What hangs on a simulated pair: devices that pick their own requests out of all that is said there.

use super::answer::{Memory, answer};
use super::frame::{open_rtu, seal_rtu};
use crate::line::Speed;

/// What a device makes of what was said between two silences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// To it, noise.
    Noise,
    /// A sound request for another device of its protocol, or for all of them.
    Anothers,
    /// A request that it answers, with the reply as it travels.
    Reply(Vec<u8>),
}

/// A device on a pair.
pub trait Station: Send {
    /// Hears what was said between two silences, preambles and noise included.
    fn hear(&mut self, heard: &[u8]) -> Heard;

    /// The same reply as another device of its protocol would send it, soundly.
    fn anothers(&self, reply: &[u8]) -> Vec<u8>;
}

/// A place on the pair: a device, how it listens and talks, and the number by which faults know it.
pub struct Seat {
    /// For [`Faults::set_silent`](crate::line::Faults::set_silent); of a Modbus slave its unit.
    pub number: u8,
    /// How it listens and talks. With other settings it hears noise, and is heard as noise.
    pub speed: Speed,
    /// What sits there.
    pub station: Box<dyn Station>,
}

impl Seat {
    /// A Modbus slave at a unit.
    pub fn modbus(unit: u8, speed: Speed, memory: Box<dyn Memory>) -> Self {
        Seat { number: unit, speed, station: Box::new(Slave { unit, memory }) }
    }
}

/// A Modbus slave.
struct Slave {
    unit: u8,
    memory: Box<dyn Memory>,
}

impl Station for Slave {
    fn hear(&mut self, heard: &[u8]) -> Heard {
        let Some((unit, pdu)) = open_rtu(heard) else { return Heard::Noise };
        if unit != self.unit {
            return Heard::Anothers;
        }
        let mut reply = Vec::with_capacity(256);
        answer(self.memory.as_mut(), pdu, &mut reply);
        Heard::Reply(seal_rtu(unit, &reply))
    }

    fn anothers(&self, reply: &[u8]) -> Vec<u8> {
        open_rtu(reply).map_or_else(|| reply.to_vec(), |(unit, pdu)| seal_rtu(unit % 247 + 1, pdu))
    }
}
