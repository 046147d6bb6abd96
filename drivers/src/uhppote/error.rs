//! What can be wrong with a received datagram.

use gatehouse_core::Reject;

/// Why a datagram is not the one that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// It has another length.
    #[error("{got} bytes where 64 are right")]
    BadLength {
        /// Its length.
        got: usize,
    },
    /// It begins with another byte.
    #[error("it begins with {got:02X} where 17 is right")]
    BadStart {
        /// The byte.
        got: u8,
    },
    /// It is of another function, or of one that is not known.
    #[error("the function is {got:02X}, which was not asked for")]
    UnexpectedFunction {
        /// The function.
        got: u8,
    },
    /// It is another controller's.
    #[error("controller {got} answered where {asked} was asked")]
    AddressMismatch {
        /// Whose it is.
        got: u32,
        /// Who was asked.
        asked: u32,
    },
    /// It is about another event or door than was asked for.
    #[error("it is about {got} where {asked} was asked for")]
    EchoMismatch {
        /// What it is about.
        got: u32,
        /// What was asked for.
        asked: u32,
    },
    /// It is about another card than was asked for; neither number is told.
    #[error("it is about another card than was asked for")]
    OtherCard,
    /// A digit of a date or time is above nine.
    #[error("a digit of {got:02X} is above nine")]
    NotBcd {
        /// The byte.
        got: u8,
    },
    /// A date or time that the calendar does not have.
    #[error("there is no such date or time")]
    InvalidDate,
}

impl WireError {
    /// The error class of the vector files.
    pub fn class(self) -> &'static str {
        match self {
            WireError::BadLength { .. } => "bad_length",
            WireError::BadStart { .. } => "bad_start",
            WireError::UnexpectedFunction { .. } => "unexpected_function",
            WireError::AddressMismatch { .. } => "address_mismatch",
            WireError::EchoMismatch { .. } | WireError::OtherCard => "echo_mismatch",
            WireError::NotBcd { .. } => "non_bcd",
            WireError::InvalidDate => "invalid_datetime",
        }
    }

    /// The reason that the line counts.
    pub(super) fn reject(self) -> Reject {
        match self {
            WireError::BadLength { .. } => Reject::BadLength,
            WireError::BadStart { .. } => Reject::Noise,
            WireError::UnexpectedFunction { .. } => Reject::UnexpectedFunction,
            WireError::AddressMismatch { .. } => Reject::AddressMismatch,
            WireError::EchoMismatch { .. } | WireError::OtherCard => Reject::EchoMismatch,
            WireError::NotBcd { .. } | WireError::InvalidDate => Reject::BadCharacter,
        }
    }
}
