//! Finds the reply to a request in what was received.
//!
//! A reply counts only if it is sound as a whole, comes from a meter whose address the request covers, answers its
//! function and names its identifier (and, for a follow-up, its number). Frames of others are skipped whole; bytes that
//! begin no frame are skipped up to the next that may.

use super::error::WireError;
use super::frame::{Address, EXCEPTION, FROM_METER, Frame, MORE, PREAMBLE, START, function};
use super::point::Edition;
use super::words::refusal_code;

/// Most preamble bytes that are kept before a frame; the standard has at most 4.
const MAX_PREAMBLE: usize = 16;

/// The request whose reply is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Whom it asks.
    pub address: Address,
    /// The edition, which says how long an identifier is.
    pub edition: Edition,
    /// The function.
    pub function: u8,
    /// The identifier that the reply must name.
    pub di: Option<u32>,
    /// The number that a follow-up frame must have.
    pub sequence: Option<u8>,
}

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'f> {
    /// The data, without identifier and number.
    Data {
        /// The bytes.
        payload: &'f [u8],
        /// More can be asked for.
        more: bool,
    },
    /// The meter refuses; see [`refusal_code`].
    Refused(u8),
}

impl Edition {
    /// Bytes of an identifier.
    pub const fn di_bytes(self) -> usize {
        match self {
            Edition::V1997 => 2,
            Edition::V2007 => 4,
        }
    }

    /// The bytes of an identifier on the wire, of which the first [`Edition::di_bytes`] count.
    pub(super) const fn di_wire(self, di: u32) -> [u8; 4] {
        di.to_le_bytes()
    }

    /// The identifier that data begin with, and the rest.
    pub fn split_di(self, data: &[u8]) -> Option<(u32, &[u8])> {
        let (di, rest) = data.split_at_checked(self.di_bytes())?;
        Some((di.iter().rev().fold(0, |di, &byte| di << 8 | u32::from(byte)), rest))
    }
}

impl Expect {
    /// What the request in a frame is answered by; `None` for a frame that is no request or has too few data.
    pub fn of_request(frame: &Frame, edition: Edition) -> Option<Expect> {
        let function = frame.function();
        let reads = is_read(function) || is_more(function);
        let (di, rest) =
            if reads { edition.split_di(frame.data()).map(|(di, rest)| (Some(di), rest))? } else { (None, &[][..]) };
        let sequence = if function == function::READ_MORE { Some(*rest.first()?) } else { None };
        (!frame.is_from_meter()).then_some(Expect { address: frame.address, edition, function, di, sequence })
    }

    /// Judges a sound frame.
    ///
    /// # Errors
    /// [`WireError`] says in what it differs from the reply.
    pub fn judge<'f>(&self, frame: &'f Frame) -> Result<Answer<'f>, WireError> {
        if !frame.is_from_meter() {
            return Err(WireError::WrongDirection);
        }
        if !self.address.covers(frame.address) {
            return Err(WireError::AddressMismatch);
        }
        let unexpected = WireError::UnexpectedFunction { got: frame.control, asked: self.function };
        if frame.control & !(EXCEPTION | MORE) != self.function | FROM_METER {
            return Err(unexpected);
        }
        let data = frame.data();
        let wrong = WireError::BadPayload { got: data.len() };
        if frame.is_exception() {
            return refusal_code(data).map(Answer::Refused).ok_or(wrong);
        }
        let mut payload = data;
        if let Some(di) = self.di {
            let (got, rest) = self.edition.split_di(data).ok_or(wrong)?;
            if got != di {
                return Err(WireError::IdentifierMismatch);
            }
            payload = rest;
        }
        if let Some(expected) = self.sequence {
            let (&got, rest) = payload.split_last().ok_or(wrong)?;
            if got != expected {
                return Err(WireError::SequenceMismatch { got, expected });
            }
            payload = rest;
        }
        Ok(Answer::Data { payload, more: frame.has_more() })
    }
}

/// True for the functions that read an identifier.
pub fn is_read(function: u8) -> bool {
    matches!(function, function::READ | function::READ_1997)
}

/// True for the functions that read what did not fit.
pub fn is_more(function: u8) -> bool {
    matches!(function, function::READ_MORE | function::READ_MORE_1997)
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
    let Some(&first) = bytes.get(preamble) else {
        return Found::Incomplete { missing: super::frame::AROUND };
    };
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
    use crate::dlt645::frame::encode;

    fn reply() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(4, Address::from_wire([0x34, 0x12, 0, 0, 0, 0]), 0x91, &[&[0, 1, 1, 2], &[0x01, 0x23]], &mut bytes);
        bytes
    }

    #[test]
    fn a_frame_is_found_whole_with_its_preamble_and_byte_by_byte() {
        let bytes = reply();
        for end in 0..bytes.len() {
            match find(&bytes[..end]) {
                Found::Incomplete { missing } => assert!(end + missing <= bytes.len().max(end + 12), "{end}"),
                other => panic!("{end}: {other:?}"),
            }
        }
        assert!(matches!(find(&bytes), Found::Frame { bytes: 22, .. }));
    }

    #[test]
    fn noise_and_stray_start_bytes_before_a_frame_are_skipped_and_the_frame_is_kept() {
        for noise in [&[0x00, 0x68, 0x55][..], &[0x68; 9], &[0x68, 1, 2, 3, 4, 5, 6, 0x68, 0x91, 0x30], &[0x16]] {
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
            assert_eq!(frame.data(), [0, 1, 1, 2, 0x01, 0x23]);
        }
    }

    #[test]
    fn each_verdict_makes_progress_whatever_comes() {
        let mut rng = fastrand::Rng::with_seed(3);
        let alphabet = [PREAMBLE, START, 0x16, 0x91, 0x00, 0x33];
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.usize(..60)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
            match find(&bytes) {
                Found::Incomplete { missing } => assert!(missing > 0),
                Found::Skip { bytes: skipped, .. } => assert!((1..=bytes.len()).contains(&skipped)),
                Found::Frame { bytes: taken, .. } => assert!((1..=bytes.len()).contains(&taken)),
            }
        }
    }
}
