//! Sound replies of a meter that nobody asked: of the same protocol, to the same question, under another address.

use super::super::slave::crc;
use super::{Far, bcd};

/// The number of the meter that nobody asked; no device of the pair has it.
const STRANGER: u8 = 77;
/// Bytes before a frame of DL/T 645.
const WAKE: usize = 4;

/// What the stranger would say in place of this reply: its values say that they are its own.
pub(super) fn instead(far: &Far, reply: &[u8]) -> Vec<u8> {
    let mut bytes = reply.to_vec();
    let own: &[usize] = match far {
        Far::Modbus(_) => {
            let end = bytes.len() - 2;
            bytes[0] = STRANGER;
            bytes[3..end].chunks_mut(4).for_each(|value| value[0] = STRANGER);
            let sum = crc(&bytes[..end]);
            bytes[end..].copy_from_slice(&sum);
            return bytes;
        }
        // The highest digits of the value, which travel with 33H added.
        Far::Dlt645(_) => {
            bytes[WAKE + 17] = bcd(STRANGER).wrapping_add(0x33);
            &[WAKE + 1]
        }
        // The number, and the highest digits of both volumes.
        Far::Cjt188(_) => &[2, 17, 22],
    };
    own.iter().for_each(|at| bytes[*at] = bcd(STRANGER));
    let (start, end) = (if let Far::Dlt645(_) = far { WAKE } else { 0 }, bytes.len() - 2);
    bytes[end] = bytes[start..end].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    bytes
}
