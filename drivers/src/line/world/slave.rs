//! Simulated meters with their own codec. Each register pair says whose it is, where it lies and when it was read:
//! unit (8 bit), address / 2 (8 bit), generation (16 bit).

use std::time::Duration;

/// One simulated meter.
#[derive(Debug, Clone)]
pub(super) struct Slave {
    pub(super) unit: u8,
    /// Time between the silence after a request and the reply.
    pub(super) turnaround: Duration,
    /// It hears nothing.
    pub(super) dead: bool,
    /// What was written to it, by address.
    pub(super) written: Vec<(u16, u16)>,
}

impl Slave {
    pub(super) fn new(unit: u8, turnaround: Duration) -> Self {
        Slave { unit, turnaround, dead: false, written: Vec::new() }
    }

    /// The reply to a request frame; `None` if it is for another or broken.
    pub(super) fn answer(&mut self, frame: &[u8], generation: u16) -> Option<Vec<u8>> {
        let [unit, function, a1, a0, v1, v0, _, _] = *frame else { return None };
        if unit != self.unit || crc(&frame[..6]) != frame[6..] {
            return None;
        }
        let (address, value) = (u16::from_be_bytes([a1, a0]), u16::from_be_bytes([v1, v0]));
        let mut reply = vec![unit, function];
        match function {
            3 | 4 => {
                reply.push(u8::try_from(2 * value).ok()?);
                for register in address..address + value {
                    let high = (u16::from(unit) << 8) | ((register / 2) & 0xFF);
                    let word = if register % 2 == 0 { high } else { generation };
                    let word = self.written.iter().rev().find(|w| w.0 == register).map_or(word, |w| w.1);
                    reply.extend(word.to_be_bytes());
                }
            }
            6 => {
                self.written.push((address, value));
                reply.extend_from_slice(&frame[2..6]);
            }
            _ => {
                reply[1] |= 0x80;
                reply.push(1);
            }
        }
        let sum = crc(&reply);
        reply.extend(sum);
        Some(reply)
    }
}

/// CRC-16/MODBUS bit by bit, low byte first.
pub(super) fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xFFFFu16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
        }
    }
    crc.to_le_bytes()
}
