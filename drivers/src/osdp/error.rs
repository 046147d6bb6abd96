//! What can be wrong with received bytes.

use gatehouse_core::Reject;

/// Why bytes are not the reply that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// Nothing begins a frame.
    #[error("no frame begins in the bytes")]
    NoFrame,
    /// The length is below or above what a frame can have.
    #[error("{got} bytes are no length of a frame")]
    BadLength {
        /// As the frame says.
        got: u16,
    },
    /// The CRC differs.
    #[error("the CRC is {got:04X} where {expected:04X} is right")]
    BadCrc {
        /// As sent.
        got: u16,
        /// As computed.
        expected: u16,
    },
    /// The checksum differs.
    #[error("the checksum is {got:02X} where {expected:02X} is right")]
    BadChecksum {
        /// As sent.
        got: u8,
        /// As computed.
        expected: u8,
    },
    /// The frame is not complete.
    #[error("{missing} bytes or more are missing")]
    Truncated {
        /// Lower bound of missing bytes.
        missing: usize,
    },
    /// The security block does not fit into its frame.
    #[error("the security block does not fit into the frame")]
    BadBlock,
    /// The frame goes from a control panel to a reader.
    #[error("the frame goes the other way")]
    WrongDirection,
    /// The frame is another reader's.
    #[error("reader {got} answered where {expected} was asked")]
    AddressMismatch {
        /// As the frame says.
        got: u8,
        /// As asked.
        expected: u8,
    },
    /// The reply is to another command.
    #[error("the reply has number {got} where {expected} is right")]
    SequenceMismatch {
        /// As the frame says.
        got: u8,
        /// As asked.
        expected: u8,
    },
    /// A reply without security where there is a Secure Channel.
    #[error("the reply is in the clear, and there is a Secure Channel")]
    Unsecured,
    /// A reply whose code stands for another, signed by nobody who has the key.
    #[error("the reply's MAC is wrong")]
    BadMac,
    /// The sealed data do not end as they must.
    #[error("the sealed data do not end as they must")]
    BadPadding,
    /// The data do not suit the code.
    #[error("the data of code {code:02X} are {got} bytes long, which is not right")]
    BadPayload {
        /// The code of the command or reply.
        code: u8,
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
            WireError::BadCrc { .. } => "bad_crc",
            WireError::BadChecksum { .. } => "bad_checksum",
            WireError::Truncated { .. } => "truncated",
            WireError::BadBlock => "bad_security_block",
            WireError::WrongDirection => "wrong_direction",
            WireError::AddressMismatch { .. } => "address_mismatch",
            WireError::SequenceMismatch { .. } => "sequence_mismatch",
            WireError::Unsecured => "unsecured",
            WireError::BadMac => "bad_mac",
            WireError::BadPadding => "bad_padding",
            WireError::BadPayload { .. } => "bad_payload_length",
        }
    }

    /// The reason that the line counts.
    pub(super) fn reject(self) -> Reject {
        match self {
            WireError::NoFrame | WireError::Truncated { .. } => Reject::Noise,
            WireError::BadLength { .. } | WireError::BadBlock | WireError::BadPayload { .. } => Reject::BadLength,
            WireError::BadCrc { .. } | WireError::BadChecksum { .. } => Reject::BadChecksum,
            WireError::AddressMismatch { .. } => Reject::AddressMismatch,
            WireError::WrongDirection | WireError::Unsecured | WireError::BadMac | WireError::BadPadding => {
                Reject::UnexpectedFunction
            }
            WireError::SequenceMismatch { .. } => Reject::EchoMismatch,
        }
    }
}
