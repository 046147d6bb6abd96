//! Whole frames, decoded without a device: for conformance tests, traces and tools.

use super::error::WireError;
use super::frame::{Framing, MAX_PDU, MBAP};
use super::pdu::{Length, Reply, Request, reply_length, request_length};
use super::scan::{self, Expect, Found};

/// A request and what is around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFrame {
    /// TCP alone.
    pub transaction: Option<u16>,
    /// The unit asked; 0 is a broadcast.
    pub unit: u8,
    /// What is asked.
    pub request: Request,
}

/// A reply and what is around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyFrame {
    /// TCP alone.
    pub transaction: Option<u16>,
    /// The unit that answers.
    pub unit: u8,
    /// The answer.
    pub reply: Reply,
}

impl RequestFrame {
    /// Appends the frame's bytes.
    pub fn encode(&self, framing: Framing, bytes: &mut Vec<u8>) {
        let mut pdu = Vec::with_capacity(MAX_PDU);
        self.request.encode(&mut pdu);
        framing.encode(self.transaction.unwrap_or(0), self.unit, &pdu, bytes);
    }
}

impl ReplyFrame {
    /// Appends the frame's bytes.
    pub fn encode(&self, framing: Framing, bytes: &mut Vec<u8>) {
        let mut pdu = Vec::with_capacity(MAX_PDU);
        self.reply.encode(&mut pdu);
        framing.encode(self.transaction.unwrap_or(0), self.unit, &pdu, bytes);
    }
}

/// Reads `bytes` as one whole request, the way a device would.
///
/// # Errors
/// [`WireError`] says what is wrong with them.
pub fn decode_request(framing: Framing, bytes: &[u8]) -> Result<RequestFrame, WireError> {
    let (transaction, unit, pdu) = whole(framing, bytes, request_length)?;
    Ok(RequestFrame { transaction, unit, request: Request::parse(&pdu)? })
}

/// Looks in `bytes`, all that was received until the deadline, for the reply to `request`; without a request they
/// must be one whole reply.
///
/// # Errors
/// [`WireError`]: the first reason why bytes were not taken as the reply.
pub fn decode_reply(framing: Framing, bytes: &[u8], request: Option<&RequestFrame>) -> Result<ReplyFrame, WireError> {
    let Some(asked) = request else {
        let (transaction, unit, pdu) = whole(framing, bytes, reply_length)?;
        return Ok(ReplyFrame { transaction, unit, reply: Reply::parse(&pdu, None)? });
    };
    let mut request = Vec::with_capacity(MAX_PDU);
    asked.request.encode(&mut request);
    let expect = Expect { transaction: asked.transaction.unwrap_or(0), unit: asked.unit, request: &request };
    let mut first = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        match scan::find(framing, &expect, rest, |pdu| Reply::parse(pdu, Some(&asked.request))) {
            Found::Reply { seen, .. } => {
                return Ok(ReplyFrame { transaction: asked.transaction, unit: asked.unit, reply: seen? });
            }
            Found::Skip { bytes, why } => {
                if !matches!(why, WireError::LocalEcho) {
                    first.get_or_insert(why);
                }
                rest = &rest[bytes..];
            }
            Found::Incomplete { missing } => {
                first.get_or_insert(WireError::Truncated { missing });
                break;
            }
        }
    }
    let why = first.unwrap_or(WireError::Timeout);
    Err(match framing {
        Framing::Rtu => rtu_verdict(why, bytes, &expect),
        Framing::Ascii => ascii_verdict(why, bytes),
        Framing::Tcp => why,
    })
}

/// The sound RTU reply that `bytes` begin with, and its length: for who listens without having asked. Functions 05, 06, 15,
/// 16 and 22 are answered by what looks like their request.
pub fn rtu_reply_at(bytes: &[u8]) -> Option<(ReplyFrame, usize)> {
    let len = scan::rtu_sound(bytes, reply_length(bytes.get(1..)?))?;
    Some((decode_reply(Framing::Rtu, &bytes[..len], None).ok()?, len))
}

/// The sound RTU request that `bytes` begin with, and its length.
pub fn rtu_request_at(bytes: &[u8]) -> Option<(RequestFrame, usize)> {
    let len = scan::rtu_sound(bytes, request_length(bytes.get(1..)?))?;
    Some((decode_request(Framing::Rtu, &bytes[..len]).ok()?, len))
}

/// Transaction, unit and PDU of bytes that must be one whole frame.
fn whole(framing: Framing, bytes: &[u8], length: fn(&[u8]) -> Length) -> Result<(Option<u16>, u8, Vec<u8>), WireError> {
    if bytes.is_empty() {
        return Err(WireError::Timeout);
    }
    match framing {
        Framing::Rtu => whole_rtu(bytes, length).map(|(unit, pdu)| (None, unit, pdu)),
        Framing::Ascii => match scan::ascii_frame(bytes) {
            Ok(Some(frame)) if frame.characters == bytes.len() => Ok((None, frame.unit(), frame.pdu().to_vec())),
            Ok(Some(frame)) => Err(WireError::BadLength { got: bytes.len(), expected: frame.characters }),
            Ok(None) => Err(ascii_verdict(WireError::Truncated { missing: 1 }, bytes)),
            Err(no) => Err(no.why),
        },
        Framing::Tcp => {
            let Some(header) = bytes.first_chunk() else {
                return Err(WireError::Truncated { missing: MBAP - bytes.len() });
            };
            let (transaction, len) = scan::tcp_header(header)?;
            match bytes.get(..len) {
                None => Err(WireError::Truncated { missing: len - bytes.len() }),
                Some(_) if bytes.len() > len => Err(WireError::BadLength { got: bytes.len(), expected: len }),
                Some(frame) => Ok((Some(transaction), frame[6], frame[MBAP..].to_vec())),
            }
        }
    }
}

fn whole_rtu(bytes: &[u8], length: fn(&[u8]) -> Length) -> Result<(u8, Vec<u8>), WireError> {
    if bytes.len() < 4 {
        return Err(WireError::Truncated { missing: 4 - bytes.len() });
    }
    let pdu = &bytes[1..bytes.len() - 2];
    let (got, expected) = scan::rtu_checksums(bytes);
    let needed = match length(&bytes[1..]) {
        Length::Known(len) | Length::AtLeast(len) => Some(len),
        Length::Unknown => None,
    };
    match needed {
        _ if got == expected => match needed {
            Some(len) if len != pdu.len() => Err(WireError::BadLength { got: pdu.len(), expected: len }),
            _ => Ok((bytes[0], pdu.to_vec())),
        },
        Some(len) if len > pdu.len() => Err(WireError::Truncated { missing: len - pdu.len() }),
        _ => Err(WireError::BadCrc { got, expected }),
    }
}

/// Looks at all of the bytes as one frame, when no reply was found by the lengths that they should have.
fn rtu_verdict(why: WireError, bytes: &[u8], expect: &Expect) -> WireError {
    let unclear = matches!(why, WireError::Noise | WireError::BadCrc { .. } | WireError::Truncated { .. });
    if !unclear {
        return why;
    }
    if bytes.len() < 4 {
        return WireError::Truncated { missing: 4 - bytes.len() };
    }
    let (got, expected) = scan::rtu_checksums(bytes);
    if got != expected {
        return if why == WireError::Noise { WireError::BadCrc { got, expected } } else { why };
    }
    if bytes[0] != expect.unit {
        return WireError::AddressMismatch { got: bytes[0], expected: expect.unit };
    }
    match super::pdu::matches_request(expect.request, &bytes[1..bytes.len() - 2]) {
        Err(why) => why,
        Ok(_) => why,
    }
}

/// Tells a frame without its end from one that was cut off.
fn ascii_verdict(why: WireError, bytes: &[u8]) -> WireError {
    if !matches!(why, WireError::Truncated { .. }) {
        return why;
    }
    let mut ended = bytes.strip_suffix(b"\r").unwrap_or(bytes).to_vec();
    ended.extend_from_slice(b"\r\n");
    match scan::ascii_frame(&ended) {
        Ok(Some(frame)) if frame.characters == ended.len() => WireError::BadEnd,
        _ => why,
    }
}

#[cfg(test)]
mod tests;
