//! Frames: start, address, control byte, length, data, checksum, end (DL/T 645-2007, 5.2).

use std::fmt;

use crate::meter_frame::{EXCEPTION, FROM_METER, MeterFrame, WireError, close, enclose, first_sent};
pub use crate::meter_frame::{PREAMBLE, START};
use crate::plate::{InvalidPlate, Plate};

/// Added to each byte of data on the wire.
pub(super) const MASK: u8 = 0x33;
/// Most bytes of data in a reply (5.2.5).
pub const MAX_DATA: u8 = 200;
/// Bytes around the data.
pub const AROUND: usize = 12;
/// Bytes before the data.
pub(super) const HEAD: usize = 10;

/// Bit of the control byte: the data did not fit, more can be asked for.
pub(super) const MORE: u8 = 0x20;
pub(super) const FUNCTION: u8 = 0x1F;

/// Functions of the edition of 2007 (chapter 7).
pub mod function {
    /// Broadcast time; never answered. The same in both editions.
    pub const SET_TIME: u8 = 0x08;
    /// Read.
    pub const READ: u8 = 0x11;
    /// Read what did not fit.
    pub const READ_MORE: u8 = 0x12;
    /// Read the address.
    pub const READ_ADDRESS: u8 = 0x13;
    /// Write.
    pub const WRITE: u8 = 0x14;
    /// Write the address.
    pub const WRITE_ADDRESS: u8 = 0x15;
    /// Freeze.
    pub const FREEZE: u8 = 0x16;
    /// Change the line speed.
    pub const SET_SPEED: u8 = 0x17;
    /// Clear the maximum demand.
    pub const CLEAR_DEMAND: u8 = 0x19;
    /// Clear the meter.
    pub const CLEAR_METER: u8 = 0x1A;
    /// Clear events.
    pub const CLEAR_EVENTS: u8 = 0x1B;
    /// Trip, permit closing, close.
    pub const CONTROL: u8 = 0x1C;
    /// Read, edition of 1997.
    pub const READ_1997: u8 = 0x01;
    /// Read what did not fit, edition of 1997.
    pub const READ_MORE_1997: u8 = 0x02;
}

/// An address, least significant byte first, as on the wire. Bytes AA stand for any.
pub type Address = Plate<6>;

impl fmt::Display for InvalidPlate<6> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address is the 12 digits on the meter's plate; leading pairs AA stand for any")
    }
}

impl std::error::Error for InvalidPlate<6> {}

/// A sound frame, its data without the mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whose it is.
    pub address: Address,
    /// Direction, refusal, more to come, and function.
    pub control: u8,
    data: [u8; MAX_DATA as usize],
    len: usize,
}

impl Frame {
    /// The data, as they were before 33H was added.
    pub fn data(&self) -> &[u8] {
        &self.data[..self.len]
    }

    /// True if it comes from a meter.
    pub fn is_from_meter(&self) -> bool {
        self.control & FROM_METER != 0
    }

    /// True if the meter refuses.
    pub fn is_exception(&self) -> bool {
        self.control & EXCEPTION != 0
    }

    /// True if more can be asked for.
    pub fn has_more(&self) -> bool {
        self.control & MORE != 0
    }

    /// The function.
    pub fn function(&self) -> u8 {
        self.control & FUNCTION
    }

    /// Reads the frame that begins at the first byte, which is a start byte; also its length on the wire.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong with it, or how much is missing.
    pub fn read(bytes: &[u8]) -> Result<(Frame, usize), WireError> {
        if let Some(&got) = bytes.get(7)
            && got != START
        {
            return Err(WireError::BadStart { got });
        }
        let Some(&[_, a0, a1, a2, a3, a4, a5, _, control, length]) = bytes.first_chunk::<HEAD>() else {
            return Err(WireError::Truncated { missing: AROUND.saturating_sub(bytes.len()) });
        };
        let (whole, data) = close(bytes, AROUND, (length, MAX_DATA))?;
        let mut frame = Frame {
            address: Address::from_wire([a0, a1, a2, a3, a4, a5]),
            control,
            data: [0; MAX_DATA as usize],
            len: data.len(),
        };
        for (place, &masked) in frame.data.iter_mut().zip(data) {
            *place = masked.wrapping_sub(MASK);
        }
        Ok((frame, whole.len()))
    }

    /// Finds the first sound frame of a direction, and where it ends. Noise and frames of the other direction (the own
    /// echo) are passed over.
    ///
    /// # Errors
    /// What is wrong with the first thing that looks like a frame.
    pub fn find(bytes: &[u8], from_meter: bool) -> Result<(Frame, usize), WireError> {
        first_sent(bytes, from_meter)
    }
}

impl MeterFrame for Frame {
    const AROUND: usize = AROUND;

    fn read(bytes: &[u8]) -> Result<(Self, usize), WireError> {
        Frame::read(bytes)
    }

    fn control(&self) -> u8 {
        self.control
    }
}

/// Appends a frame with `preamble` bytes FE before it; `data` as they are before 33H is added, at most 200 bytes.
pub fn encode(preamble: u8, address: Address, control: u8, data: &[&[u8]], bytes: &mut Vec<u8>) {
    let length = data.iter().map(|part| part.len()).sum::<usize>().min(usize::from(MAX_DATA));
    enclose(preamble, bytes, |bytes| {
        bytes.extend_from_slice(&address.wire());
        bytes.extend_from_slice(&[START, control, u8::try_from(length).unwrap_or(MAX_DATA)]);
        bytes.extend(data.iter().copied().flatten().take(length).map(|byte| byte.wrapping_add(MASK)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_as_on_the_plate_and_sent_backwards() {
        let address = Address::parse("000000001234").unwrap();
        assert_eq!(address.wire(), [0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(address.to_string(), "000000001234");
    }

    #[test]
    fn leading_pairs_of_an_address_may_stand_for_any() {
        let short = Address::parse("AAAAAAAA1234").unwrap();
        assert!(short.is_wildcard() && short.covers(Address::parse("000000001234").unwrap()));
        assert!(!short.covers(Address::parse("000000001235").unwrap()));
        for wrong in ["1234", "1234AAAAAAAA", "00000000123G", "999999999999", "0000000012345", "０００"] {
            assert_eq!(Address::parse(wrong), Err(InvalidPlate), "{wrong}");
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
            for at in [0, 7] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = START;
                }
            }
            let _ = (Frame::find(&bytes, true), Frame::find(&bytes, false));
        }
    }
}
