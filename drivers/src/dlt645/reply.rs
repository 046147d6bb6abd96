//! Finds the reply to a request in what was received.
//!
//! A reply counts only if it is sound as a whole, comes from a meter whose address the request covers, answers its
//! function and names its identifier (and, for a follow-up, its number). Frames of others are skipped whole; bytes that
//! begin no frame are skipped up to the next that may.

use super::frame::{Address, Frame, MORE, function};
use super::point::Edition;
use super::words::refusal_code;
use crate::meter_frame::{EXCEPTION, FROM_METER, WireError};

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
