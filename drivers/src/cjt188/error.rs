//! What can be wrong with received bytes.

use gatehouse_core::Reject;

/// Why bytes are not the frame that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// Nothing begins a frame.
    #[error("no frame begins in the bytes")]
    NoFrame,
    /// The length is above what is allowed.
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
    /// The frame is another meter's, by its type or its address.
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
    /// A reply to another request: its serial number differs.
    #[error("the reply has the serial number {got} where {expected} was sent")]
    SequenceMismatch {
        /// As the frame says.
        got: u8,
        /// As sent.
        expected: u8,
    },
    /// The data have another length than the function asks for.
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
    pub(super) fn reject(self) -> Reject {
        match self {
            WireError::NoFrame | WireError::Truncated { .. } => Reject::Noise,
            WireError::BadLength { .. } | WireError::BadPayload { .. } => Reject::BadLength,
            WireError::BadChecksum { .. } | WireError::BadEnd { .. } => Reject::BadChecksum,
            WireError::AddressMismatch => Reject::AddressMismatch,
            WireError::WrongDirection | WireError::UnexpectedFunction { .. } => Reject::UnexpectedFunction,
            WireError::IdentifierMismatch | WireError::SequenceMismatch { .. } => Reject::EchoMismatch,
        }
    }
}
