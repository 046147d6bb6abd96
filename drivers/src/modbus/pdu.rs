//! Requests and replies without their framing, in both directions.

use super::error::WireError;
use super::frame::MAX_PDU;
use super::point::Table;

/// Function codes (Modbus Application Protocol 1.1b3, 6).
pub mod function {
    #![allow(missing_docs)]
    pub const READ_COILS: u8 = 1;
    pub const READ_DISCRETE: u8 = 2;
    pub const READ_HOLDING: u8 = 3;
    pub const READ_INPUT: u8 = 4;
    pub const WRITE_COIL: u8 = 5;
    pub const WRITE_REGISTER: u8 = 6;
    pub const WRITE_COILS: u8 = 15;
    pub const WRITE_REGISTERS: u8 = 16;
    pub const MASK_WRITE: u8 = 22;
    pub const READ_WRITE: u8 = 23;
    pub const ENCAPSULATED: u8 = 43;
    /// Set in the function of an exception.
    pub const EXCEPTION: u8 = 0x80;
}
use function::{
    ENCAPSULATED, EXCEPTION, MASK_WRITE, READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT, READ_WRITE, WRITE_COIL,
    WRITE_COILS, WRITE_REGISTER, WRITE_REGISTERS,
};

/// The encapsulated interface that reads device identification.
pub const MEI_IDENTIFICATION: u8 = 14;
/// Most coils or inputs in one read.
pub const MAX_READ_BITS: u16 = 2000;
/// Most registers in one read.
pub const MAX_READ_REGISTERS: u16 = 125;
/// Most coils in one write.
pub const MAX_WRITE_BITS: u16 = 1968;
/// Most registers in one write.
pub const MAX_WRITE_REGISTERS: u16 = 123;
/// Most registers in the write half of function 23.
pub const MAX_READ_WRITE_REGISTERS: u16 = 121;
/// Most data bytes of a read's reply: 125 registers or 2000 bits.
const MAX_REPLY_BYTES: u16 = 250;
/// What function 05 sends for "on".
pub const COIL_ON: u16 = 0xFF00;
/// What function 05 sends for "off".
pub const COIL_OFF: u16 = 0x0000;

impl Table {
    /// The function that reads the table.
    pub fn read_function(self) -> u8 {
        match self {
            Table::Coil => READ_COILS,
            Table::Discrete => READ_DISCRETE,
            Table::Holding => READ_HOLDING,
            Table::Input => READ_INPUT,
        }
    }

    /// The table that a function reads.
    pub fn from_read_function(function: u8) -> Option<Table> {
        Some(match function {
            READ_COILS => Table::Coil,
            READ_DISCRETE => Table::Discrete,
            READ_HOLDING => Table::Holding,
            READ_INPUT => Table::Input,
            _ => return None,
        })
    }

    /// True for coils and discrete inputs.
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Functions 01 to 04.
    Read {
        /// What is read.
        table: Table,
        /// First wire address.
        address: u16,
        /// Bits (1 to 2000) or registers (1 to 125).
        quantity: u16,
    },
    /// Function 05.
    WriteCoil {
        /// Wire address.
        address: u16,
        /// FF00h and 0000h by the book ([`coil_state`]); relay boards give others a meaning of their own.
        value: u16,
    },
    /// Function 06.
    WriteRegister {
        /// Wire address.
        address: u16,
        /// The register.
        value: u16,
    },
    /// Function 15.
    WriteCoils {
        /// First wire address.
        address: u16,
        /// 1 to 1968 coils.
        coils: Vec<bool>,
    },
    /// Function 16.
    WriteRegisters {
        /// First wire address.
        address: u16,
        /// 1 to 123 registers.
        registers: Vec<u16>,
    },
    /// Function 22: the register becomes `(old & and_mask) | (or_mask & !and_mask)`.
    MaskWrite {
        /// Wire address.
        address: u16,
        /// Bits that stay.
        and_mask: u16,
        /// What the others become.
        or_mask: u16,
    },
    /// Function 23: the write happens first.
    ReadWrite {
        /// First wire address to read.
        read_address: u16,
        /// 1 to 125 registers.
        read_quantity: u16,
        /// First wire address to write.
        write_address: u16,
        /// 1 to 121 registers.
        registers: Vec<u16>,
    },
    /// Function 43/14.
    Identify {
        /// 1 basic, 2 regular, 3 extended, 4 one object.
        read_code: u8,
        /// The object to begin with.
        object: u8,
    },
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Functions 01 and 02. As many bits as were asked for; without the request, all bits of the bytes.
    Bits {
        /// The function.
        function: u8,
        /// Lowest address first.
        bits: Vec<bool>,
    },
    /// Functions 03, 04 and 23.
    Registers {
        /// The function.
        function: u8,
        /// Lowest address first.
        registers: Vec<u16>,
    },
    /// Function 05.
    WriteCoil {
        /// Wire address.
        address: u16,
        /// See [`Request::WriteCoil`].
        value: u16,
    },
    /// Function 06.
    WriteRegister {
        /// Wire address.
        address: u16,
        /// The register.
        value: u16,
    },
    /// Functions 15 and 16.
    WriteMultiple {
        /// The function.
        function: u8,
        /// First wire address.
        address: u16,
        /// How many were written.
        quantity: u16,
    },
    /// Function 22.
    MaskWrite {
        /// Wire address.
        address: u16,
        /// Bits that stayed.
        and_mask: u16,
        /// What the others became.
        or_mask: u16,
    },
    /// Function 43/14.
    Identification(Identification),
    /// An exception.
    Exception {
        /// The function, without the exception bit.
        function: u8,
        /// The code.
        code: u8,
    },
}

/// What a device says of itself, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// The read code of the request.
    pub read_code: u8,
    /// Which read codes the device knows.
    pub conformity: u8,
    /// More objects follow in another reply.
    pub more: bool,
    /// The object to continue with.
    pub next: u8,
    /// Number and bytes of each object.
    pub objects: Vec<(u8, Vec<u8>)>,
}

/// What the value of function 05 says by the book: FF00h on, 0000h off.
pub fn coil_state(value: u16) -> Option<bool> {
    match value {
        COIL_ON => Some(true),
        COIL_OFF => Some(false),
        _ => None,
    }
}

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
                pdu.extend_from_slice(&[MEI_IDENTIFICATION, *read_code, *object])
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

/// The objects of an identification's PDU of the right length.
pub(super) fn identification_objects(pdu: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = pdu.get(7..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&number, tail) = rest.split_first()?;
        let (&len, tail) = tail.split_first()?;
        let (text, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some((number, text))
    })
}

/// How long a PDU must be, as far as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Exactly so many bytes.
    Known(usize),
    /// More bytes, up to so many in all, must be seen to know.
    AtLeast(usize),
    /// The function is not one of this codec.
    Unknown,
}

/// How long the request that begins with `pdu` must be.
pub(super) fn request_length(pdu: &[u8]) -> Length {
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
pub(super) fn reply_length(pdu: &[u8]) -> Length {
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
pub(super) fn expected_reply_bytes(request: &[u8]) -> usize {
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
pub(super) fn matches_request(request: &[u8], reply: &[u8]) -> Result<Option<u8>, WireError> {
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

fn exactly(got: usize, expected: usize) -> Result<(), WireError> {
    if got == expected { Ok(()) } else { Err(WireError::BadLength { got, expected }) }
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
