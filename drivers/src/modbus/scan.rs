//! Finds the reply to a request in what was received.
//!
//! The rules, the same for each framing: the reply is recognised at the first byte by unit, function and length (on
//! TCP by transaction) before its checksum is looked at; a sound frame of another is skipped whole, with the
//! difference as the reason; bytes that begin no frame are skipped up to the next place that can begin the reply.

use super::checksum::{crc16, lrc};
use super::error::WireError;
use super::frame::{Framing, MAX_PDU, MBAP, hex_value};
use super::pdu::{self, Length, function};

/// The request whose reply is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expect<'a> {
    pub(super) transaction: u16,
    pub(super) unit: u8,
    /// The request's PDU.
    pub(super) request: &'a [u8],
}

/// What is at the beginning of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// No verdict before this many more bytes.
    Incomplete { missing: usize },
    /// So many bytes are not the reply.
    Skip { bytes: usize, why: WireError },
    /// So many bytes are the reply; its PDU was handed to the caller.
    Reply { bytes: usize, exception: Option<u8>, seen: T },
}

/// Looks for the reply at the beginning of `bytes`, and hands its PDU to `see`.
pub(super) fn find<T>(framing: Framing, expect: &Expect, bytes: &[u8], see: impl FnOnce(&[u8]) -> T) -> Found<T> {
    match framing {
        Framing::Rtu => rtu(expect, bytes, see),
        Framing::Ascii => ascii(expect, bytes, see),
        Framing::Tcp => tcp(expect, bytes, see),
    }
}

/// Checks unit and PDU of a sound frame of `bytes` bytes against the request.
fn judge<T>(expect: &Expect, unit: u8, pdu: &[u8], bytes: usize, see: impl FnOnce(&[u8]) -> T) -> Found<T> {
    if unit != expect.unit {
        return Found::Skip { bytes, why: WireError::AddressMismatch { got: unit, expected: expect.unit } };
    }
    match pdu::matches_request(expect.request, pdu) {
        Ok(exception) => Found::Reply { bytes, exception, seen: see(pdu) },
        Err(why) => Found::Skip { bytes, why },
    }
}

// RTU

/// Bytes of an RTU frame beside its PDU.
const RTU_AROUND: usize = 3;

/// What the bytes are when an RTU frame is thought to begin at the first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// A frame with the right checksum.
    Sound(usize),
    /// A frame with a wrong one.
    Bad { got: u16, expected: u16 },
    /// The beginning of a frame.
    Partial { missing: usize },
    /// No frame begins here.
    Nothing,
}

fn rtu_at(bytes: &[u8], length: Length) -> At {
    let len = match length {
        Length::Known(pdu) if pdu <= MAX_PDU => pdu + RTU_AROUND,
        Length::AtLeast(pdu) if pdu <= MAX_PDU => {
            return At::Partial { missing: (pdu + RTU_AROUND).saturating_sub(bytes.len()).max(1) };
        }
        _ => return At::Nothing,
    };
    match bytes.get(..len) {
        None => At::Partial { missing: len - bytes.len() },
        Some(frame) => match rtu_checksums(frame) {
            (got, expected) if got == expected => At::Sound(len),
            (got, expected) => At::Bad { got, expected },
        },
    }
}

/// Length of the sound frame at the beginning of the bytes, if one is there.
pub(super) fn rtu_sound(bytes: &[u8], length: Length) -> Option<usize> {
    match rtu_at(bytes, length) {
        At::Sound(len) => Some(len),
        At::Bad { .. } | At::Partial { .. } | At::Nothing => None,
    }
}

/// The CRC at the end of a frame, and the one that is right.
pub(super) fn rtu_checksums(frame: &[u8]) -> (u16, u16) {
    let (body, crc) = frame.split_at(frame.len() - 2);
    (u16::from_le_bytes([crc[0], crc[1]]), crc16(body))
}

/// A reply of the asked unit, function and length: normal or exception.
fn rtu_ours(expect: &Expect, bytes: &[u8]) -> At {
    if bytes.first().is_none_or(|&unit| unit != expect.unit) {
        return At::Nothing;
    }
    let Some(&code) = bytes.get(1) else { return At::Partial { missing: 1 + RTU_AROUND } };
    if code == expect.request[0] | function::EXCEPTION {
        return rtu_at(bytes, Length::Known(2));
    }
    if code != expect.request[0] {
        return At::Nothing;
    }
    if code == function::ENCAPSULATED {
        return rtu_at(bytes, pdu::reply_length(&bytes[1..]));
    }
    let expected = pdu::expected_reply_bytes(expect.request);
    let counted = matches!(code, 1..=4 | function::READ_WRITE);
    if counted && bytes.get(2).is_some_and(|&n| usize::from(n) != expected - 2) {
        return At::Nothing;
    }
    rtu_at(bytes, Length::Known(expected))
}

/// Length of the request's own bytes at the beginning; how many are missing while they may still become that.
fn rtu_echo(expect: &Expect, bytes: &[u8]) -> At {
    let is_reply_too =
        matches!(expect.request[0], function::WRITE_COIL | function::WRITE_REGISTER | function::MASK_WRITE);
    let len = expect.request.len() + RTU_AROUND;
    let seen = &bytes[1..bytes.len().min(len - 2)];
    if is_reply_too || bytes[0] != expect.unit || seen != &expect.request[..seen.len()] {
        return At::Nothing;
    }
    rtu_at(bytes, Length::Known(expect.request.len()))
}

fn rtu<T>(expect: &Expect, bytes: &[u8], see: impl FnOnce(&[u8]) -> T) -> Found<T> {
    if bytes.is_empty() {
        return Found::Incomplete { missing: 5 };
    }
    let ours = rtu_ours(expect, bytes);
    match ours {
        At::Sound(len) => return judge(expect, bytes[0], &bytes[1..len - 2], len, see),
        At::Partial { missing } => return Found::Incomplete { missing },
        At::Bad { .. } | At::Nothing => {}
    }
    let echo = rtu_echo(expect, bytes);
    if let At::Sound(bytes) = echo {
        return Found::Skip { bytes, why: WireError::LocalEcho };
    }
    let other = rtu_at(bytes, pdu::reply_length(&bytes[1..]));
    if let At::Sound(len) = other {
        return judge(expect, bytes[0], &bytes[1..len - 2], len, see);
    }
    let why = match (ours, other) {
        (At::Bad { got, expected }, _) | (_, At::Bad { got, expected }) => WireError::BadCrc { got, expected },
        _ => WireError::Noise,
    };
    let later = |wanted: fn(At) -> bool| (1..bytes.len()).find(|&at| wanted(rtu_ours(expect, &bytes[at..])));
    if let Some(bytes) = later(|at| matches!(at, At::Sound(_))) {
        return Found::Skip { bytes, why };
    }
    let begun = later(|at| matches!(at, At::Partial { .. }));
    let missing_at = |at: usize| match rtu_ours(expect, &bytes[at..]) {
        At::Partial { missing } => Some(missing),
        _ => None,
    };
    let waiting = [echo, other].into_iter().filter_map(|at| match at {
        At::Partial { missing } => Some(missing),
        _ => None,
    });
    match (waiting.min(), begun) {
        (Some(missing), begun) => {
            Found::Incomplete { missing: begun.and_then(missing_at).map_or(missing, |more| more.min(missing)) }
        }
        (None, Some(bytes)) => Found::Skip { bytes, why },
        (None, None) => Found::Skip { bytes: bytes.len(), why },
    }
}

// TCP

/// Least and most of the MBAP length field: the unit, and a PDU of 1 to 253 bytes.
const MBAP_LENGTH: std::ops::RangeInclusive<usize> = 2..=1 + MAX_PDU;

fn tcp<T>(expect: &Expect, bytes: &[u8], see: impl FnOnce(&[u8]) -> T) -> Found<T> {
    let Some(header) = bytes.first_chunk() else {
        return Found::Incomplete { missing: MBAP + 2 - bytes.len() };
    };
    let (transaction, len) = match tcp_header(header) {
        Ok(header) => header,
        // The stream has lost its frames; only a new connection mends it, and nothing in these bytes can be believed.
        Err(why) => return Found::Skip { bytes: bytes.len(), why },
    };
    let Some(frame) = bytes.get(..len) else { return Found::Incomplete { missing: len - bytes.len() } };
    if transaction != expect.transaction {
        let why = WireError::TransactionMismatch { got: transaction, expected: expect.transaction };
        return Found::Skip { bytes: len, why };
    }
    judge(expect, frame[6], &frame[MBAP..], len, see)
}

/// Transaction and length of the whole frame, from the header without the unit: a wrong length may be all that comes.
pub(super) fn tcp_header(header: &[u8; MBAP - 1]) -> Result<(u16, usize), WireError> {
    let [t1, t0, p1, p0, l1, l0] = *header;
    let protocol = u16::from_be_bytes([p1, p0]);
    if protocol != 0 {
        return Err(WireError::BadProtocol { got: protocol });
    }
    let length = usize::from(u16::from_be_bytes([l1, l0]));
    if !MBAP_LENGTH.contains(&length) {
        let expected = length.clamp(*MBAP_LENGTH.start(), *MBAP_LENGTH.end());
        return Err(WireError::BadLength { got: length, expected });
    }
    Ok((u16::from_be_bytes([t1, t0]), MBAP - 1 + length))
}

// ASCII

/// Unit, PDU and LRC: the most bytes that an ASCII frame holds.
const ASCII_BYTES: usize = 1 + MAX_PDU + 1;

/// An ASCII frame's bytes without their framing.
pub(super) struct AsciiFrame {
    bytes: [u8; ASCII_BYTES],
    len: usize,
    /// Characters on the wire, from the colon to the line feed.
    pub(super) characters: usize,
}

impl AsciiFrame {
    pub(super) fn unit(&self) -> u8 {
        self.bytes[0]
    }

    pub(super) fn pdu(&self) -> &[u8] {
        &self.bytes[1..self.len - 1]
    }
}

/// Why there is no ASCII frame, and how many characters that condemns.
pub(super) struct NoAscii {
    pub(super) characters: usize,
    pub(super) why: WireError,
}

/// Reads the frame that begins at the first character; `Ok(None)` while it may still become one.
pub(super) fn ascii_frame(text: &[u8]) -> Result<Option<AsciiFrame>, NoAscii> {
    let Some(&start) = text.first() else { return Ok(None) };
    if start != b':' {
        let characters = text.iter().position(|&c| c == b':').unwrap_or(text.len());
        return Err(NoAscii { characters, why: WireError::BadStart { got: start } });
    }
    let no = |characters, why| Err(NoAscii { characters, why });
    let mut frame = AsciiFrame { bytes: [0; ASCII_BYTES], len: 0, characters: 0 };
    let mut rest = &text[1..];
    loop {
        let at = text.len() - rest.len();
        match rest {
            [] => return Ok(None),
            [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => {
                frame.characters = at + 2;
                break;
            }
            [b'\r', ..] | [b'\n', ..] => return no(at + 1, WireError::BadEnd),
            // A colon begins a frame anew.
            [b':', ..] => return no(at, WireError::Truncated { missing: 1 }),
            [high, rest_of @ ..] => {
                let Some(high) = hex_value(*high) else { return no(at + 1, WireError::BadChar { got: *high }) };
                let low = match rest_of {
                    [] => return Ok(None),
                    [b'\r', ..] => return no(at + 1, WireError::BadLength { got: at, expected: at + 1 }),
                    [low, ..] => *low,
                };
                let Some(low) = hex_value(low) else { return no(at + 1, WireError::BadChar { got: low }) };
                let Some(place) = frame.bytes.get_mut(frame.len) else {
                    return no(at, WireError::BadLength { got: frame.len + 1, expected: ASCII_BYTES });
                };
                *place = high << 4 | low;
                frame.len += 1;
                rest = &rest_of[1..];
            }
        }
    }
    if frame.len < 3 {
        return no(frame.characters, WireError::BadLength { got: frame.len, expected: 3 });
    }
    let (got, expected) = (frame.bytes[frame.len - 1], lrc(&frame.bytes[..frame.len - 1]));
    if got == expected { Ok(Some(frame)) } else { no(frame.characters, WireError::BadLrc { got, expected }) }
}

fn ascii<T>(expect: &Expect, text: &[u8], see: impl FnOnce(&[u8]) -> T) -> Found<T> {
    match ascii_frame(text) {
        Ok(None) => Found::Incomplete { missing: 1 },
        Err(NoAscii { characters, why }) => Found::Skip { bytes: characters, why },
        Ok(Some(frame)) => {
            let is_echo = frame.unit() == expect.unit && frame.pdu() == expect.request;
            let found = judge(expect, frame.unit(), frame.pdu(), frame.characters, see);
            match found {
                Found::Skip { bytes, .. } if is_echo => Found::Skip { bytes, why: WireError::LocalEcho },
                found => found,
            }
        }
    }
}
