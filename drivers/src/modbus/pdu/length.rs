//! How long PDUs must be, and which reply answers which request.

use super::function::{
    ENCAPSULATED, EXCEPTION, MASK_WRITE, READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT, READ_WRITE, WRITE_COIL,
    WRITE_COILS, WRITE_REGISTER, WRITE_REGISTERS,
};
use crate::modbus::error::WireError;

/// How long a PDU must be, as far as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::modbus) enum Length {
    /// Exactly so many bytes.
    Known(usize),
    /// More bytes, up to so many in all, must be seen to know.
    AtLeast(usize),
    /// The function is not one of this codec.
    Unknown,
}

/// How long the request that begins with `pdu` must be.
pub(in crate::modbus) fn request_length(pdu: &[u8]) -> Length {
    let counted = |at: usize| pdu.get(at).map_or(Length::AtLeast(at + 1), |n| Length::Known(at + 1 + usize::from(*n)));
    match pdu.first() {
        None => Length::AtLeast(1),
        Some(&(READ_COILS..=WRITE_REGISTER)) => Length::Known(5),
        Some(&(WRITE_COILS | WRITE_REGISTERS)) => counted(5),
        Some(&MASK_WRITE) => Length::Known(7),
        Some(&READ_WRITE) => counted(9),
        Some(&ENCAPSULATED) => Length::Known(4),
        Some(_) => Length::Unknown,
    }
}

/// How long the reply that begins with `pdu` must be.
pub(in crate::modbus) fn reply_length(pdu: &[u8]) -> Length {
    match pdu.first() {
        None => Length::AtLeast(1),
        Some(&(READ_COILS..=READ_INPUT | READ_WRITE)) => {
            pdu.get(1).map_or(Length::AtLeast(2), |n| Length::Known(2 + usize::from(*n)))
        }
        Some(&(WRITE_COIL | WRITE_REGISTER | WRITE_COILS | WRITE_REGISTERS)) => Length::Known(5),
        Some(&MASK_WRITE) => Length::Known(7),
        Some(&ENCAPSULATED) => identification_length(pdu),
        Some(function) if function & EXCEPTION != 0 => Length::Known(2),
        Some(_) => Length::Unknown,
    }
}

fn identification_length(pdu: &[u8]) -> Length {
    let Some(&objects) = pdu.get(6) else { return Length::AtLeast(7) };
    let mut len = 7;
    for _ in 0..objects {
        match pdu.get(len + 1) {
            Some(&text) => len += 2 + usize::from(text),
            None => return Length::AtLeast(len + 2),
        }
    }
    Length::Known(len)
}

/// The bytes of the normal reply to a request's PDU; of an identification, the least that there can be.
pub(in crate::modbus) fn expected_reply_bytes(request: &[u8]) -> usize {
    let quantity = |at: usize| usize::from(u16::from_be_bytes([request[at], request[at + 1]]));
    match request[0] {
        READ_COILS | READ_DISCRETE => 2 + quantity(3).div_ceil(8),
        READ_HOLDING | READ_INPUT | READ_WRITE => 2 + 2 * quantity(3),
        ENCAPSULATED => 7,
        WRITE_COILS | WRITE_REGISTERS => 5,
        _ => request.len(),
    }
}

/// Whether a whole PDU answers a request's PDU; the code, if it does so with an exception.
///
/// # Errors
/// The first difference: function, length, then echo.
pub(in crate::modbus) fn matches_request(request: &[u8], reply: &[u8]) -> Result<Option<u8>, WireError> {
    let Some(&function) = reply.first() else { return Err(WireError::BadLength { got: 0, expected: 2 }) };
    if function == request[0] | EXCEPTION {
        exactly(reply.len(), 2)?;
        return Ok(Some(reply[1]));
    }
    if function != request[0] {
        return Err(WireError::UnexpectedFunction { got: function });
    }
    if function == ENCAPSULATED {
        match reply_length(reply) {
            Length::Known(len) => exactly(reply.len(), len)?,
            Length::AtLeast(len) => return Err(WireError::BadLength { got: reply.len(), expected: len }),
            Length::Unknown => return Err(WireError::UnexpectedFunction { got: function }),
        }
        return match (reply[1] == request[1], reply[2] == request[2]) {
            (true, true) => Ok(None),
            (true, false) => Err(WireError::EchoMismatch),
            (false, _) => Err(WireError::UnexpectedFunction { got: function }),
        };
    }
    let expected = expected_reply_bytes(request);
    exactly(reply.len(), expected)?;
    let same = match function {
        READ_COILS..=READ_INPUT | READ_WRITE => {
            exactly(usize::from(reply[1]), expected - 2)?;
            true
        }
        WRITE_COILS | WRITE_REGISTERS => reply[1..5] == request[1..5],
        _ => reply == request,
    };
    if same { Ok(None) } else { Err(WireError::EchoMismatch) }
}

/// The objects of an identification's PDU of the right length.
pub(in crate::modbus) fn identification_objects(pdu: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = pdu.get(7..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&number, tail) = rest.split_first()?;
        let (&len, tail) = tail.split_first()?;
        let (text, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some((number, text))
    })
}

pub(in crate::modbus) fn exactly(got: usize, expected: usize) -> Result<(), WireError> {
    if got == expected { Ok(()) } else { Err(WireError::BadLength { got, expected }) }
}
