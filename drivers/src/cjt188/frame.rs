//! Frames: start, meter type, address, control byte, length, data, checksum, end. There is no second start byte and
//! nothing is added to the data, which tells them from DL/T 645.

use std::fmt;

use super::settings::MeterType;
use crate::meter_frame::{EXCEPTION, FROM_METER, MeterFrame, WireError, close, enclose, first_sent};
pub use crate::meter_frame::{PREAMBLE, START};
use crate::plate::{InvalidPlate, Plate};

/// Most bytes of data in a frame; unverified, as the limit of 32H for writes is.
pub const MAX_DATA: u8 = 0x64;
/// Bytes around the data.
pub const AROUND: usize = 13;
/// Bytes before the data.
pub(super) const HEAD: usize = 11;

pub(super) const FUNCTION: u8 = 0x3F;

/// Functions that are used here.
pub mod function {
    /// Read data.
    pub const READ: u8 = 0x01;
    /// Read the address.
    pub const READ_ADDRESS: u8 = 0x03;
    /// Write data: clock, valve.
    pub const WRITE: u8 = 0x04;
    /// Write the address.
    pub const WRITE_ADDRESS: u8 = 0x15;
}

/// Data identifiers that are used here.
pub mod di {
    /// What the meter counts now.
    pub const METERING: u16 = 0x901F;
    /// The settlement of last month; the eleven after it are those before.
    pub const SETTLEMENT_1: u16 = 0xD120;
    /// The settlement of twelve months ago.
    pub const SETTLEMENT_12: u16 = 0xD12B;
    /// The address.
    pub const ADDRESS: u16 = 0x810A;
    /// The clock.
    pub const TIME: u16 = 0xA015;
    /// The valve.
    pub const VALVE: u16 = 0xA017;
    /// A new address.
    pub const NEW_ADDRESS: u16 = 0xA018;
}

/// An address, least significant byte first, as on the wire: five bytes of number, two of the maker's code. Bytes AA
/// stand for any.
pub type Address = Plate<7>;

impl fmt::Display for InvalidPlate<7> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address is 14 digits: the maker's four, then the ten of the meter; leading pairs AA stand for any",
        )
    }
}

impl std::error::Error for InvalidPlate<7> {}

/// A sound frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What kind of meter it is of.
    pub meter_type: MeterType,
    /// Whose it is.
    pub address: Address,
    /// Direction, refusal and function.
    pub control: u8,
    data: [u8; MAX_DATA as usize],
    len: usize,
}

impl Frame {
    /// The data.
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

    /// The function.
    pub fn function(&self) -> u8 {
        self.control & FUNCTION
    }

    /// Reads the frame that begins at the first byte, which is a start byte; also its length on the wire.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong with it, or how much is missing.
    pub fn read(bytes: &[u8]) -> Result<(Frame, usize), WireError> {
        let Some(&[_, kind, a0, a1, a2, a3, a4, a5, a6, control, length]) = bytes.first_chunk::<HEAD>() else {
            return Err(WireError::Truncated { missing: AROUND.saturating_sub(bytes.len()) });
        };
        let (whole, data) = close(bytes, AROUND, (length, MAX_DATA))?;
        let mut frame = Frame {
            meter_type: MeterType(kind),
            address: Address::from_wire([a0, a1, a2, a3, a4, a5, a6]),
            control,
            data: [0; MAX_DATA as usize],
            len: data.len(),
        };
        for (place, &byte) in frame.data.iter_mut().zip(data) {
            *place = byte;
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

/// Appends a frame with `preamble` bytes FE before it; of the data at most 100 bytes.
pub fn encode(
    preamble: u8,
    (meter_type, address): (MeterType, Address),
    control: u8,
    data: &[&[u8]],
    bytes: &mut Vec<u8>,
) {
    let length = data.iter().map(|part| part.len()).sum::<usize>().min(usize::from(MAX_DATA));
    enclose(preamble, bytes, |bytes| {
        bytes.push(meter_type.0);
        bytes.extend_from_slice(&address.wire());
        bytes.extend_from_slice(&[control, u8::try_from(length).unwrap_or(MAX_DATA)]);
        bytes.extend(data.iter().copied().flatten().take(length));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_as_on_the_plate_and_sent_backwards() {
        let address = Address::parse("33780011223344").unwrap();
        assert_eq!(address.wire(), [0x44, 0x33, 0x22, 0x11, 0x00, 0x78, 0x33]);
        assert_eq!(address.to_string(), "33780011223344");
        assert!(Address::parse("AAAA0011223344").unwrap().covers(address));
        for wrong in ["1234", "3378001122334A", "99999999999999", "3378AA11223344", "337800112233445"] {
            assert_eq!(Address::parse(wrong), Err(InvalidPlate), "{wrong}");
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
            if let Some(byte) = bytes.get_mut(0) {
                *byte = START;
            }
            if let (Some(byte), true) = (bytes.get_mut(10), rng.bool()) {
                *byte %= 30;
            }
            let _ = (Frame::find(&bytes, true), Frame::find(&bytes, false));
        }
    }
}
