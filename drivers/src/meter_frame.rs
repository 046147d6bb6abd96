//! What the frames of DL/T 645 and CJ/T 188 have in common: the bytes around them, how they are looked for in what was
//! received, and what can be wrong with them.
//!
//! Both begin with 68, have an address, a control byte and a length before their data, and end with the sum of all bytes
//! and 16. Where the parts lie, and what the data are, is each protocol's own: see `frame` of either.

use gatehouse_core::Reject;

use crate::dissect::{Field, hex};

/// Byte that begins a frame.
pub const START: u8 = 0x68;
/// Byte that ends a frame.
pub const END: u8 = 0x16;
/// Byte before a frame that wakes the receiver; any number of them may be there.
pub const PREAMBLE: u8 = 0xFE;
/// Most preamble bytes that are kept before a frame; DL/T 645 asks for at most 4.
const MAX_PREAMBLE: usize = 32;

/// Bit of the control byte: the frame comes from the meter.
pub(crate) const FROM_METER: u8 = 0x80;
/// Bit of the control byte: the meter refuses.
pub(crate) const EXCEPTION: u8 = 0x40;

/// Why bytes are not the frame that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// Nothing begins a frame.
    #[error("no frame begins in the bytes")]
    NoFrame,
    /// The second start byte is not where it must be; DL/T 645 only.
    #[error("byte 7 of the frame is {got:02X} where 68 is right")]
    BadStart {
        /// The byte.
        got: u8,
    },
    /// The length is above what the standard allows.
    #[error("{got} bytes of data, at most {most} are allowed")]
    BadLength {
        /// As the frame says.
        got: u8,
        /// The most.
        most: u8,
    },
    /// The checksum differs.
    #[error("the checksum is {got:02X} where {expected:02X} is right")]
    BadChecksum {
        /// As sent.
        got: u8,
        /// As computed.
        expected: u8,
    },
    /// The last byte is not 16.
    #[error("the frame ends with {got:02X} where 16 is right")]
    BadEnd {
        /// The byte.
        got: u8,
    },
    /// The frame is not complete.
    #[error("{missing} bytes or more are missing")]
    Truncated {
        /// Lower bound of missing bytes.
        missing: usize,
    },
    /// The frame is another meter's, by its address or its type.
    #[error("another meter answered")]
    AddressMismatch,
    /// A request where a reply was looked for, or the other way round.
    #[error("the frame goes the other way")]
    WrongDirection,
    /// A reply to another function.
    #[error("the control byte is {got:02X}, which does not answer {asked:02X}")]
    UnexpectedFunction {
        /// The control byte.
        got: u8,
        /// The function that was asked for.
        asked: u8,
    },
    /// A reply with another data identifier, or with its bytes in the other order.
    #[error("the reply carries another data identifier than was asked for")]
    IdentifierMismatch,
    /// A reply to another request, or another of its follow-up frames: its serial number differs.
    #[error("the reply has the number {got} where {expected} is right")]
    SequenceMismatch {
        /// As the frame says.
        got: u8,
        /// As asked.
        expected: u8,
    },
    /// The data have another length than the function or the identifier asks for.
    #[error("the data are {got} bytes long, which is not right here")]
    BadPayload {
        /// Bytes of data.
        got: usize,
    },
}

impl WireError {
    /// The error class of the vector files.
    pub fn class(self) -> &'static str {
        match self {
            WireError::NoFrame => "no_frame",
            WireError::BadStart { .. } => "bad_start",
            WireError::BadLength { .. } => "bad_length",
            WireError::BadChecksum { .. } => "bad_checksum",
            WireError::BadEnd { .. } => "bad_end",
            WireError::Truncated { .. } => "truncated",
            WireError::AddressMismatch => "address_mismatch",
            WireError::WrongDirection => "wrong_direction",
            WireError::UnexpectedFunction { .. } => "unexpected_function",
            WireError::IdentifierMismatch => "di_mismatch",
            WireError::SequenceMismatch { .. } => "sequence_mismatch",
            WireError::BadPayload { .. } => "bad_payload_length",
        }
    }

    /// The reason that the line counts.
    pub(crate) fn reject(self) -> Reject {
        match self {
            WireError::NoFrame | WireError::BadStart { .. } | WireError::Truncated { .. } => Reject::Noise,
            WireError::BadLength { .. } | WireError::BadPayload { .. } => Reject::BadLength,
            WireError::BadChecksum { .. } | WireError::BadEnd { .. } => Reject::BadChecksum,
            WireError::AddressMismatch => Reject::AddressMismatch,
            WireError::WrongDirection | WireError::UnexpectedFunction { .. } => Reject::UnexpectedFunction,
            WireError::IdentifierMismatch | WireError::SequenceMismatch { .. } => Reject::EchoMismatch,
        }
    }

    /// True where hardly anything of a frame was there.
    fn is_vague(self) -> bool {
        matches!(self, WireError::NoFrame | WireError::BadStart { .. })
    }
}

/// A frame of either protocol.
pub(crate) trait MeterFrame: Sized {
    /// Bytes around the data.
    const AROUND: usize;

    /// Reads the frame that begins at the first byte, which is a start byte; also its length on the wire.
    fn read(bytes: &[u8]) -> Result<(Self, usize), WireError>;

    /// Direction, refusal and function.
    fn control(&self) -> u8;
}

/// The sum of bytes that closes a frame.
pub(crate) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

/// The frame whose head says that it has `length` bytes of data, and these data: `around` bytes are around them, two of
/// these behind.
pub(crate) fn close(bytes: &[u8], around: usize, (length, most): (u8, u8)) -> Result<(&[u8], &[u8]), WireError> {
    if length > most {
        return Err(WireError::BadLength { got: length, most });
    }
    let size = around + usize::from(length);
    let whole = bytes.get(..size).ok_or(WireError::Truncated { missing: size.saturating_sub(bytes.len()) })?;
    let (body, tail) = whole.split_at(size - 2);
    let expected = checksum(body);
    match *tail {
        [got, _] if got != expected => Err(WireError::BadChecksum { got, expected }),
        [_, got] if got != END => Err(WireError::BadEnd { got }),
        _ => Ok((whole, &body[around - 2..])),
    }
}

/// Appends a frame: `preamble` bytes FE, the head that `write` appends, and the end.
pub(crate) fn enclose(preamble: u8, bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    bytes.extend(std::iter::repeat_n(PREAMBLE, usize::from(preamble)));
    let start = bytes.len();
    bytes.push(START);
    write(bytes);
    let sum = checksum(&bytes[start..]);
    bytes.extend_from_slice(&[sum, END]);
}

/// Finds the first sound frame of a direction, and where it ends. Noise and frames of the other direction (the own echo)
/// are passed over.
///
/// # Errors
/// What is wrong with the first thing that looks like a frame; what has a start byte only counts where there is no other.
pub(crate) fn first_sent<F: MeterFrame>(bytes: &[u8], from_meter: bool) -> Result<(F, usize), WireError> {
    let mut trouble = WireError::NoFrame;
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == START)) {
        at += next;
        match F::read(&bytes[at..]) {
            Ok((frame, len)) if (frame.control() & FROM_METER != 0) == from_meter => return Ok((frame, at + len)),
            Ok((_, len)) => {
                trouble = WireError::WrongDirection;
                at += len;
            }
            Err(why) => {
                if trouble == WireError::NoFrame || (trouble.is_vague() && !why.is_vague()) {
                    trouble = why;
                }
                at += 1;
            }
        }
    }
    Err(trouble)
}

/// What is at the beginning of the bytes.
#[derive(Debug)]
pub(crate) enum Found<F> {
    /// No verdict before this many more bytes.
    Incomplete {
        /// At least one.
        missing: usize,
    },
    /// So many bytes are not the reply.
    Skip {
        /// At least one.
        bytes: usize,
        /// What is wrong with them.
        why: WireError,
    },
    /// A sound frame.
    Frame {
        /// Its bytes, with the preamble.
        bytes: usize,
        /// What it is.
        frame: F,
    },
}

/// Looks for a frame at the beginning of `bytes`. Those that begin none are to be skipped up to the next that may.
pub(crate) fn find<F: MeterFrame>(bytes: &[u8]) -> Found<F> {
    let preamble = bytes.iter().take_while(|&&byte| byte == PREAMBLE).count();
    if preamble > MAX_PREAMBLE {
        return Found::Skip { bytes: preamble - MAX_PREAMBLE, why: WireError::NoFrame };
    }
    let Some(&first) = bytes.get(preamble) else { return Found::Incomplete { missing: F::AROUND } };
    let trouble = if first == START {
        match F::read(&bytes[preamble..]) {
            Ok((frame, len)) => return Found::Frame { bytes: preamble + len, frame },
            Err(why) => why,
        }
    } else {
        WireError::NoFrame
    };
    let rest = || (preamble + 1..bytes.len()).filter(|&at| bytes[at] == START);
    let begins = |at: usize| at - bytes[..at].iter().rev().take_while(|&&byte| byte == PREAMBLE).count();
    // A start byte in noise may claim a length beyond the true frame: what is sound goes before what may become so.
    if let Some(at) = rest().find(|&at| F::read(&bytes[at..]).is_ok()) {
        return Found::Skip { bytes: begins(at).max(1), why: trouble };
    }
    if let WireError::Truncated { missing } = trouble {
        return Found::Incomplete { missing: missing.max(1) };
    }
    let begun = rest().find(|&at| matches!(F::read(&bytes[at..]), Err(WireError::Truncated { .. })));
    let kept = begun.map_or_else(|| begins(bytes.len()), begins);
    Found::Skip { bytes: kept.max(preamble + 1), why: trouble }
}

/// What the head of a frame says to those who take it apart.
pub(crate) struct Head {
    /// Bytes before the data.
    pub from: usize,
    /// The control byte.
    pub control: u8,
    /// Bytes of data.
    pub length: u8,
}

/// Takes a frame apart for people. `head` appends the fields before the data, given the frame and where it begins, or
/// says that it is none; `data` those of the data, given the control byte, where they begin, and themselves. Where it is
/// no sound frame, the last field says so.
pub(crate) fn fields(
    bytes: &[u8],
    head: impl FnOnce(&[u8], usize, &mut Vec<Field>) -> Option<Head>,
    data: impl FnOnce(u8, usize, &[u8], &mut Vec<Field>),
) -> Vec<Field> {
    let mut fields = Vec::new();
    let preamble = bytes.iter().take_while(|byte| **byte == PREAMBLE).count();
    if preamble > 0 {
        fields.push(Field::new(0..preamble, "preamble", format!("{preamble} × FE")));
    }
    let frame = &bytes[preamble..];
    let at = |from: usize, to: usize| preamble + from..preamble + to;
    let Some(Head { from, control, length }) = head(frame, preamble, &mut fields) else {
        fields.push(Field::new(at(0, frame.len()), "no frame", hex(frame)));
        return fields;
    };
    let end = from + usize::from(length);
    let Some(whole) = frame.get(..end + 2) else {
        fields.push(Field::new(at(from, frame.len()), "cut off", hex(&frame[from..])));
        return fields;
    };
    if length > 0 {
        data(control, preamble + from, &whole[from..end], &mut fields);
    }
    fields.push(Field::check(at(end, end + 1), whole[end], checksum(&whole[..end])));
    if whole[end + 1] != END {
        fields.push(Field::new(at(end + 1, end + 2), "end", "is not 16"));
    }
    if frame.len() > end + 2 {
        fields.push(Field::new(at(end + 2, frame.len()), "left over", hex(&frame[end + 2..])));
    }
    fields
}

#[cfg(test)]
mod tests;
