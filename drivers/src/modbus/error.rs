//! Why bytes are not a sound Modbus frame, or not the reply to the request.

use gatehouse_core::Reject;

/// Why bytes are not a sound frame, or not the reply that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Nothing was received.
    #[error("nothing was received")]
    Timeout,
    /// The frame ends too early.
    #[error("the frame is cut off: at least {missing} more bytes are needed")]
    Truncated {
        /// Lower bound of missing bytes (characters in ASCII framing).
        missing: usize,
    },
    /// The checksum of an RTU frame differs.
    #[error("CRC {got:04X} where {expected:04X} is right")]
    BadCrc {
        /// As received.
        got: u16,
        /// As computed over the received bytes.
        expected: u16,
    },
    /// The checksum of an ASCII frame differs.
    #[error("LRC {got:02X} where {expected:02X} is right")]
    BadLrc {
        /// As received.
        got: u8,
        /// As computed over the received bytes.
        expected: u8,
    },
    /// A length, byte count or quantity that the request, the function or the framing does not allow.
    #[error("length {got} where {expected} is right")]
    BadLength {
        /// As received.
        got: usize,
        /// The only right one, or the nearest limit.
        expected: usize,
    },
    /// The frame is another unit's.
    #[error("unit {got} answered where unit {expected} was asked")]
    AddressMismatch {
        /// As received.
        got: u8,
        /// As asked.
        expected: u8,
    },
    /// The frame is of another function than the request, or of one that this codec does not have.
    #[error("function {got:#04x} does not fit")]
    UnexpectedFunction {
        /// As received, the exception bit included.
        got: u8,
    },
    /// A write's echo, or an identification's read code, differs from the request.
    #[error("the reply repeats another address or value than the request had")]
    EchoMismatch,
    /// A TCP reply to another transaction.
    #[error("transaction {got} answered where {expected} was asked")]
    TransactionMismatch {
        /// As received.
        got: u16,
        /// As asked.
        expected: u16,
    },
    /// A TCP header whose protocol identifier is not 0.
    #[error("protocol identifier {got} where Modbus has 0")]
    BadProtocol {
        /// As received.
        got: u16,
    },
    /// A character other than 0-9 and A-F inside an ASCII frame.
    #[error("byte {got:#04x} where ASCII framing has 0-9 or A-F")]
    BadChar {
        /// As received.
        got: u8,
    },
    /// An ASCII frame that does not begin with a colon.
    #[error("byte {got:#04x} where an ASCII frame begins with ':'")]
    BadStart {
        /// As received.
        got: u8,
    },
    /// An ASCII frame that does not end with CR LF.
    #[error("the ASCII frame does not end with CR LF")]
    BadEnd,
    /// Nothing in the bytes begins a frame.
    #[error("nothing in the bytes begins a frame")]
    Noise,
    /// The request's own bytes, handed back by a half-duplex adapter.
    #[error("the adapter handed back the request")]
    LocalEcho,
}

impl WireError {
    /// The error's class in vector files.
    pub fn class(self) -> &'static str {
        match self {
            WireError::Timeout | WireError::LocalEcho => "timeout",
            WireError::Truncated { .. } => "truncated",
            WireError::BadCrc { .. } => "bad_crc",
            WireError::BadLrc { .. } => "bad_lrc",
            WireError::BadLength { .. } => "bad_length",
            WireError::AddressMismatch { .. } => "address_mismatch",
            WireError::UnexpectedFunction { .. } => "unexpected_function",
            WireError::EchoMismatch => "echo_mismatch",
            WireError::TransactionMismatch { .. } => "tid_mismatch",
            WireError::BadProtocol { .. } => "bad_protocol_id",
            WireError::BadChar { .. } => "bad_char",
            WireError::BadStart { .. } => "bad_start",
            WireError::BadEnd => "bad_end",
            WireError::Noise => "no_frame",
        }
    }

    /// What the line is told of skipped bytes.
    pub fn reject(self) -> Reject {
        match self {
            WireError::Timeout
            | WireError::Truncated { .. }
            | WireError::BadStart { .. }
            | WireError::Noise
            | WireError::LocalEcho => Reject::Noise,
            WireError::BadCrc { .. } | WireError::BadLrc { .. } => Reject::BadChecksum,
            WireError::BadLength { .. } => Reject::BadLength,
            WireError::AddressMismatch { .. } => Reject::AddressMismatch,
            WireError::UnexpectedFunction { .. } => Reject::UnexpectedFunction,
            WireError::EchoMismatch => Reject::EchoMismatch,
            WireError::TransactionMismatch { .. } => Reject::TransactionMismatch,
            WireError::BadProtocol { .. } => Reject::BadProtocol,
            WireError::BadChar { .. } | WireError::BadEnd => Reject::BadCharacter,
        }
    }
}
