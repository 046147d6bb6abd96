//! PDUs to bytes and back.

use super::function::{
    ENCAPSULATED, EXCEPTION, MASK_WRITE, READ_COILS, READ_DISCRETE, READ_INPUT, READ_WRITE, WRITE_COIL, WRITE_COILS,
    WRITE_REGISTER, WRITE_REGISTERS,
};
use super::length::{Length, exactly, identification_objects, matches_request, reply_length, request_length};
use super::{
    Identification, MAX_READ_BITS, MAX_READ_REGISTERS, MAX_READ_WRITE_REGISTERS, MAX_REPLY_BYTES, MAX_WRITE_BITS,
    MAX_WRITE_REGISTERS, MEI_IDENTIFICATION, Reply, Request,
};
use crate::modbus::error::WireError;
use crate::modbus::frame::MAX_PDU;
use crate::modbus::point::Table;

impl Request {
    /// The function code.
    pub fn function(&self) -> u8 {
        match self {
            Request::Read { table, .. } => table.read_function(),
            Request::WriteCoil { .. } => WRITE_COIL,
            Request::WriteRegister { .. } => WRITE_REGISTER,
            Request::WriteCoils { .. } => WRITE_COILS,
            Request::WriteRegisters { .. } => WRITE_REGISTERS,
            Request::MaskWrite { .. } => MASK_WRITE,
            Request::ReadWrite { .. } => READ_WRITE,
            Request::Identify { .. } => ENCAPSULATED,
        }
    }

    /// Appends the PDU.
    pub fn encode(&self, pdu: &mut Vec<u8>) {
        pdu.push(self.function());
        match self {
            Request::Read { address, quantity, .. } => words(&[*address, *quantity], pdu),
            Request::WriteCoil { address, value } | Request::WriteRegister { address, value } => {
                words(&[*address, *value], pdu);
            }
            Request::WriteCoils { address, coils } => {
                words(&[*address, count(coils)], pdu);
                counted(pdu, |pdu| pack(coils, pdu));
            }
            Request::WriteRegisters { address, registers } => {
                words(&[*address, count(registers)], pdu);
                counted(pdu, |pdu| words(registers, pdu));
            }
            Request::MaskWrite { address, and_mask, or_mask } => words(&[*address, *and_mask, *or_mask], pdu),
            Request::ReadWrite { read_address, read_quantity, write_address, registers } => {
                words(&[*read_address, *read_quantity, *write_address, count(registers)], pdu);
                counted(pdu, |pdu| words(registers, pdu));
            }
            Request::Identify { read_code, object } => {
                pdu.extend_from_slice(&[MEI_IDENTIFICATION, *read_code, *object]);
            }
        }
    }

    /// Reads a PDU.
    ///
    /// # Errors
    /// [`WireError::UnexpectedFunction`] for a function that this codec does not have, [`WireError::BadLength`] for
    /// lengths, byte counts and quantities that the protocol does not allow.
    pub fn parse(pdu: &[u8]) -> Result<Request, WireError> {
        let len = match request_length(pdu) {
            Length::Known(len) => len,
            Length::AtLeast(len) => return Err(WireError::Truncated { missing: len - pdu.len() }),
            Length::Unknown => return Err(WireError::UnexpectedFunction { got: pdu[0] }),
        };
        exactly(pdu.len(), len)?;
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        Ok(match pdu[0] {
            WRITE_COIL => Request::WriteCoil { address: word(1), value: word(3) },
            WRITE_REGISTER => Request::WriteRegister { address: word(1), value: word(3) },
            WRITE_COILS => {
                let quantity = within(word(3), MAX_WRITE_BITS)?;
                exactly(usize::from(pdu[5]), usize::from(quantity).div_ceil(8))?;
                Request::WriteCoils { address: word(1), coils: unpack(&pdu[6..], Some(quantity)) }
            }
            WRITE_REGISTERS => {
                let quantity = within(word(3), MAX_WRITE_REGISTERS)?;
                exactly(usize::from(pdu[5]), 2 * usize::from(quantity))?;
                Request::WriteRegisters { address: word(1), registers: to_words(&pdu[6..]) }
            }
            MASK_WRITE => Request::MaskWrite { address: word(1), and_mask: word(3), or_mask: word(5) },
            READ_WRITE => {
                let read_quantity = within(word(3), MAX_READ_REGISTERS)?;
                let quantity = within(word(7), MAX_READ_WRITE_REGISTERS)?;
                exactly(usize::from(pdu[9]), 2 * usize::from(quantity))?;
                let registers = to_words(&pdu[10..]);
                Request::ReadWrite { read_address: word(1), read_quantity, write_address: word(5), registers }
            }
            ENCAPSULATED if pdu[1] != MEI_IDENTIFICATION => return Err(WireError::UnexpectedFunction { got: pdu[0] }),
            ENCAPSULATED => Request::Identify { read_code: pdu[2], object: pdu[3] },
            function => {
                let table =
                    Table::from_read_function(function).ok_or(WireError::UnexpectedFunction { got: function })?;
                let limit = if table.is_bits() { MAX_READ_BITS } else { MAX_READ_REGISTERS };
                Request::Read { table, address: word(1), quantity: within(word(3), limit)? }
            }
        })
    }
}

impl Reply {
    /// The function code, without the exception bit.
    pub fn function(&self) -> u8 {
        match self {
            Reply::Bits { function, .. }
            | Reply::Registers { function, .. }
            | Reply::WriteMultiple { function, .. }
            | Reply::Exception { function, .. } => *function,
            Reply::WriteCoil { .. } => WRITE_COIL,
            Reply::WriteRegister { .. } => WRITE_REGISTER,
            Reply::MaskWrite { .. } => MASK_WRITE,
            Reply::Identification(_) => ENCAPSULATED,
        }
    }

    /// Appends the PDU.
    pub fn encode(&self, pdu: &mut Vec<u8>) {
        match self {
            Reply::Exception { function, code } => return pdu.extend_from_slice(&[function | EXCEPTION, *code]),
            _ => pdu.push(self.function()),
        }
        match self {
            Reply::Bits { bits, .. } => counted(pdu, |pdu| pack(bits, pdu)),
            Reply::Registers { registers, .. } => counted(pdu, |pdu| words(registers, pdu)),
            Reply::WriteCoil { address, value } | Reply::WriteRegister { address, value } => {
                words(&[*address, *value], pdu);
            }
            Reply::WriteMultiple { address, quantity, .. } => words(&[*address, *quantity], pdu),
            Reply::MaskWrite { address, and_mask, or_mask } => words(&[*address, *and_mask, *or_mask], pdu),
            Reply::Identification(id) => id.encode(pdu),
            Reply::Exception { .. } => {}
        }
    }

    /// Reads a PDU; with the request, only what answers it.
    ///
    /// # Errors
    /// [`WireError`] says how it is malformed, or how it differs from what the request asks for.
    pub fn parse(pdu: &[u8], request: Option<&Request>) -> Result<Reply, WireError> {
        if let Some(request) = request {
            let mut asked = Vec::with_capacity(MAX_PDU);
            request.encode(&mut asked);
            matches_request(&asked, pdu)?;
        }
        match reply_length(pdu) {
            Length::Known(len) => exactly(pdu.len(), len)?,
            Length::AtLeast(len) => return Err(WireError::Truncated { missing: len - pdu.len() }),
            Length::Unknown => return Err(WireError::UnexpectedFunction { got: pdu[0] }),
        }
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let function = pdu[0];
        if matches!(function, READ_COILS..=READ_INPUT | READ_WRITE) {
            within(u16::from(pdu[1]), MAX_REPLY_BYTES)?;
        }
        Ok(match function {
            code if code & EXCEPTION != 0 => Reply::Exception { function: code & !EXCEPTION, code: pdu[1] },
            READ_COILS | READ_DISCRETE => {
                let quantity = match request {
                    Some(Request::Read { quantity, .. }) => Some(*quantity),
                    _ => None,
                };
                Reply::Bits { function, bits: unpack(&pdu[2..], quantity) }
            }
            WRITE_COIL => Reply::WriteCoil { address: word(1), value: word(3) },
            WRITE_REGISTER => Reply::WriteRegister { address: word(1), value: word(3) },
            WRITE_COILS | WRITE_REGISTERS => Reply::WriteMultiple { function, address: word(1), quantity: word(3) },
            MASK_WRITE => Reply::MaskWrite { address: word(1), and_mask: word(3), or_mask: word(5) },
            ENCAPSULATED => Reply::Identification(Identification::parse(pdu)?),
            _ if pdu[1] % 2 == 1 => {
                return Err(WireError::BadLength { got: usize::from(pdu[1]), expected: usize::from(pdu[1]) + 1 });
            }
            _ => Reply::Registers { function, registers: to_words(&pdu[2..]) },
        })
    }
}

impl Identification {
    fn encode(&self, pdu: &mut Vec<u8>) {
        let more = if self.more { 0xFF } else { 0 };
        let objects = u8::try_from(self.objects.len()).unwrap_or(u8::MAX);
        pdu.extend_from_slice(&[MEI_IDENTIFICATION, self.read_code, self.conformity, more, self.next, objects]);
        for (number, text) in &self.objects {
            pdu.push(*number);
            counted(pdu, |pdu| pdu.extend_from_slice(text));
        }
    }

    /// Reads the PDU of a reply whose length [`reply_length`] has found right.
    fn parse(pdu: &[u8]) -> Result<Self, WireError> {
        if pdu[1] != MEI_IDENTIFICATION {
            return Err(WireError::UnexpectedFunction { got: pdu[0] });
        }
        let objects = identification_objects(pdu).map(|(number, text)| (number, text.to_vec())).collect();
        Ok(Identification { read_code: pdu[2], conformity: pdu[3], more: pdu[4] == 0xFF, next: pdu[5], objects })
    }
}

fn within(quantity: u16, most: u16) -> Result<u16, WireError> {
    if (1..=most).contains(&quantity) {
        Ok(quantity)
    } else {
        Err(WireError::BadLength { got: usize::from(quantity), expected: usize::from(quantity.clamp(1, most)) })
    }
}

fn count<T>(items: &[T]) -> u16 {
    u16::try_from(items.len()).unwrap_or(u16::MAX)
}

fn words(words: &[u16], pdu: &mut Vec<u8>) {
    for word in words {
        pdu.extend_from_slice(&word.to_be_bytes());
    }
}

fn to_words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// Writes what `body` appends behind its byte count.
fn counted(pdu: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = pdu.len();
    pdu.push(0);
    body(pdu);
    pdu[at] = u8::try_from(pdu.len() - at - 1).unwrap_or(u8::MAX);
}

fn pack(bits: &[bool], pdu: &mut Vec<u8>) {
    for chunk in bits.chunks(8) {
        pdu.push(chunk.iter().enumerate().fold(0, |byte, (at, &on)| byte | u8::from(on) << at));
    }
}

fn unpack(bytes: &[u8], quantity: Option<u16>) -> Vec<bool> {
    let bits = quantity.map_or(bytes.len() * 8, usize::from).min(bytes.len() * 8);
    (0..bits).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1).collect()
}
