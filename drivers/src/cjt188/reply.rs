//! Finds the reply to a request in what was received.
//!
//! A reply counts only if it is sound as a whole, comes from a meter whose type and address the request covers, answers
//! its function, names its identifier in the same order of bytes and has its serial number.

use super::frame::{Address, Frame};
use super::settings::{DiOrder, MeterType};
use crate::meter_frame::{EXCEPTION, FROM_METER, WireError};

/// The request whose reply is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// What kind of meter it asks.
    pub meter_type: MeterType,
    /// Whom it asks.
    pub address: Address,
    /// The function.
    pub function: u8,
    /// The bytes of the identifier as they were sent.
    pub di: [u8; 2],
    /// The serial number that was sent.
    pub ser: u8,
}

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'f> {
    /// The data, without identifier and serial number.
    Data(&'f [u8]),
    /// The meter refuses, with this code.
    Refused(u8),
}

/// The data of a request or a sound reply: identifier as sent, serial number, payload; `None` for fewer than three bytes.
pub fn split(data: &[u8]) -> Option<([u8; 2], u8, &[u8])> {
    let (&[d0, d1, ser], payload) = data.split_first_chunk::<3>()?;
    Some(([d0, d1], ser, payload))
}

/// The serial number (where there is one) and the status of a refusal: SER and two bytes, or one byte of status.
pub fn refusal(data: &[u8]) -> Option<(Option<u8>, u16)> {
    match *data {
        [status] => Some((None, status.into())),
        [ser, low, high] => Some((Some(ser), u16::from_le_bytes([low, high]))),
        _ => None,
    }
}

impl Expect {
    /// What the request in a frame is answered by; `None` for a frame that is no request or has too few data.
    pub fn of_request(frame: &Frame) -> Option<Expect> {
        let (di, ser, _) = split(frame.data())?;
        let Frame { meter_type, address, .. } = *frame;
        let expect = Expect { meter_type, address, function: frame.function(), di, ser };
        (!frame.is_from_meter()).then_some(expect)
    }

    /// Judges a sound frame.
    ///
    /// # Errors
    /// [`WireError`] says in what it differs from the reply.
    pub fn judge<'f>(&self, frame: &'f Frame) -> Result<Answer<'f>, WireError> {
        if !frame.is_from_meter() {
            return Err(WireError::WrongDirection);
        }
        if !self.meter_type.covers(frame.meter_type) || !self.address.covers(frame.address) {
            return Err(WireError::AddressMismatch);
        }
        if frame.control & !EXCEPTION != self.function | FROM_METER {
            return Err(WireError::UnexpectedFunction { got: frame.control, asked: self.function });
        }
        let wrong = WireError::BadPayload { got: frame.data().len() };
        let same_ser = |got: u8| {
            if got == self.ser { Ok(()) } else { Err(WireError::SequenceMismatch { got, expected: self.ser }) }
        };
        if frame.is_exception() {
            let (ser, status) = refusal(frame.data()).ok_or(wrong)?;
            ser.map_or(Ok(()), same_ser)?;
            return Ok(Answer::Refused(code(status)));
        }
        let (di, ser, payload) = split(frame.data()).ok_or(wrong)?;
        if di != self.di {
            return Err(WireError::IdentifierMismatch);
        }
        same_ser(ser)?;
        Ok(Answer::Data(payload))
    }
}

/// The one byte of a refusal that is told on: the low one, or the high one where the low is 0.
fn code(status: u16) -> u8 {
    match status.to_le_bytes() {
        [0, high] => high,
        [low, _] => low,
    }
}

impl DiOrder {
    /// The order in which an identifier was sent: those that are used begin with 81, 90, 91, A0 or D0 to D4; `None` where
    /// neither or both ends do.
    pub fn of_wire(bytes: [u8; 2]) -> Option<DiOrder> {
        let is_class = |byte: u8| matches!(byte, 0x81 | 0x90 | 0x91 | 0xA0 | 0xA1 | 0xD0..=0xD4);
        match bytes.map(is_class) {
            [true, false] => Some(DiOrder::HighFirst),
            [false, true] => Some(DiOrder::LowFirst),
            [true, true] | [false, false] => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cjt188::frame::encode;

    const METER: (MeterType, Address) = (MeterType::COLD_WATER, Address::from_wire([1, 0, 0, 0, 0, 0, 0]));

    #[test]
    fn a_refusal_has_one_byte_of_status_or_a_serial_number_and_two() {
        let expect = Expect { meter_type: METER.0, address: METER.1, function: 1, di: [0x1F, 0x90], ser: 7 };
        let judge = |data: &[u8]| {
            let mut bytes = Vec::new();
            encode(0, METER, 0xC1, &[data], &mut bytes);
            let (frame, _) = Frame::read(&bytes).unwrap();
            match expect.judge(&frame) {
                Ok(Answer::Refused(code)) => Ok(code),
                Ok(Answer::Data(_)) => panic!("a refusal has no data"),
                Err(why) => Err(why.class()),
            }
        };
        assert_eq!(judge(&[2]), Ok(2));
        assert_eq!(judge(&[7, 2, 0]), Ok(2));
        assert_eq!(judge(&[7, 0, 4]), Ok(4));
        assert_eq!(judge(&[8, 2, 0]), Err("sequence_mismatch"));
        assert_eq!(judge(&[7, 2]), Err("bad_payload_length"));
    }
}
