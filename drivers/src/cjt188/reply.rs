//! Finds the reply to a request in what was received.
//!
//! A reply counts only if it is sound as a whole, comes from a meter whose type and address the request covers, answers
//! its function, names its identifier in the same order of bytes and has its serial number.

use super::error::WireError;
use super::frame::{AROUND, Address, EXCEPTION, FROM_METER, Frame, PREAMBLE, START};
use super::settings::{DiOrder, MeterType};

/// Most preamble bytes that are kept before a frame.
const MAX_PREAMBLE: usize = 32;

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

/// What is at the beginning of the bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// No verdict before this many more bytes.
    Incomplete { missing: usize },
    /// So many bytes are not the reply.
    Skip { bytes: usize, why: WireError },
    /// So many bytes are a sound frame, its preamble included.
    Frame { bytes: usize, frame: Frame },
}

/// Looks for a frame at the beginning of `bytes`.
pub(super) fn find(bytes: &[u8]) -> Found {
    let preamble = bytes.iter().take_while(|&&byte| byte == PREAMBLE).count();
    if preamble > MAX_PREAMBLE {
        return Found::Skip { bytes: preamble - MAX_PREAMBLE, why: WireError::NoFrame };
    }
    let Some(&first) = bytes.get(preamble) else { return Found::Incomplete { missing: AROUND } };
    let trouble = if first == START {
        match Frame::read(&bytes[preamble..]) {
            Ok((frame, len)) => return Found::Frame { bytes: preamble + len, frame },
            Err(why) => why,
        }
    } else {
        WireError::NoFrame
    };
    let rest = || (preamble + 1..bytes.len()).filter(|&at| bytes[at] == START);
    let begins = |at: usize| at - bytes[..at].iter().rev().take_while(|&&byte| byte == PREAMBLE).count();
    // A start byte in noise may claim a length beyond the true frame: what is sound goes before what may become so.
    if let Some(at) = rest().find(|&at| Frame::read(&bytes[at..]).is_ok()) {
        return Found::Skip { bytes: begins(at).max(1), why: trouble };
    }
    if let WireError::Truncated { missing } = trouble {
        return Found::Incomplete { missing: missing.max(1) };
    }
    let begun = rest().find(|&at| matches!(Frame::read(&bytes[at..]), Err(WireError::Truncated { .. })));
    let kept = begun.map_or_else(|| begins(bytes.len()), begins);
    Found::Skip { bytes: kept.max(preamble + 1), why: trouble }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cjt188::frame::encode;

    const METER: (MeterType, Address) = (MeterType::COLD_WATER, Address::from_wire([1, 0, 0, 0, 0, 0, 0]));

    fn reply() -> Vec<u8> {
        let mut bytes = Vec::new();
        // A start byte and an end byte inside the data.
        encode(3, METER, 0x81, &[&[0x1F, 0x90, 0], &[0x68, 0x16, 0, 0, 0x2C]], &mut bytes);
        bytes
    }

    #[test]
    fn a_frame_is_found_whole_with_its_preamble_and_byte_by_byte() {
        let bytes = reply();
        for end in 0..bytes.len() {
            match find(&bytes[..end]) {
                Found::Incomplete { missing } => assert!(missing > 0, "{end}"),
                other => panic!("{end}: {other:?}"),
            }
        }
        assert!(matches!(find(&bytes), Found::Frame { bytes: 24, .. }));
    }

    #[test]
    fn noise_and_stray_start_bytes_before_a_frame_are_skipped_and_the_frame_is_kept() {
        for noise in [&[0x00, 0x68, 0x55][..], &[0x68; 12], &[0x11, 0x68, 0x22], &[0x16]] {
            let mut bytes = [noise, &reply()].concat();
            let mut turns = 0;
            let frame = loop {
                turns += 1;
                assert!(turns < 30, "it ends: {noise:?}");
                match find(&bytes) {
                    Found::Skip { bytes: skipped, .. } => drop(bytes.drain(..skipped)),
                    Found::Frame { frame, .. } => break frame,
                    Found::Incomplete { .. } => panic!("{noise:?}"),
                }
            };
            assert_eq!(frame.data(), [0x1F, 0x90, 0, 0x68, 0x16, 0, 0, 0x2C]);
        }
    }

    #[test]
    fn each_verdict_makes_progress_whatever_comes() {
        let mut rng = fastrand::Rng::with_seed(3);
        let alphabet = [PREAMBLE, START, 0x16, 0x81, 0x00, 0x05];
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.usize(..60)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
            match find(&bytes) {
                Found::Incomplete { missing } => assert!(missing > 0),
                Found::Skip { bytes: skipped, .. } => assert!((1..=bytes.len()).contains(&skipped)),
                Found::Frame { bytes: taken, .. } => assert!((1..=bytes.len()).contains(&taken)),
            }
        }
    }

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
