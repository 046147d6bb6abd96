//! How far a command has come, and how it ended.

use serde::{Deserialize, Serialize};

use crate::effect::ActResult;

/// The longest reason, detail or value read back, in bytes; longer ones are cut.
const LONGEST: usize = 256;

/// The end of a command: exactly one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, and seen to be done.
    Verified {
        /// What was read back.
        read_back: Option<Box<str>>,
    },
    /// Confirmed by what had to do it; nothing could be read back.
    Acknowledged,
    /// It was not done.
    Failed {
        /// A stable name.
        reason: Box<str>,
        /// For people.
        detail: Option<Box<str>>,
    },
    /// It was not to be done.
    Refused {
        /// A stable name.
        reason: Box<str>,
        /// For people.
        detail: Option<Box<str>>,
    },
    /// It was accepted, and its time was over before it could begin.
    Expired,
    /// It may or may not have been done.
    Unknown {
        /// A stable name.
        reason: Box<str>,
        /// For people.
        detail: Option<Box<str>>,
    },
}

impl Outcome {
    /// The name in events and in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Verified { .. } => "verified",
            Outcome::Acknowledged => "acknowledged",
            Outcome::Failed { .. } => "failed",
            Outcome::Refused { .. } => "refused",
            Outcome::Expired => "expired",
            Outcome::Unknown { .. } => "unknown",
        }
    }

    /// Why, as a stable name, where there is something to explain.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Failed { reason, .. } | Outcome::Refused { reason, .. } | Outcome::Unknown { reason, .. } => {
                Some(reason)
            }
            Outcome::Verified { .. } | Outcome::Acknowledged | Outcome::Expired => None,
        }
    }

    /// Why, for people.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Outcome::Failed { detail, .. } | Outcome::Refused { detail, .. } | Outcome::Unknown { detail, .. } => {
                detail.as_deref()
            }
            Outcome::Verified { .. } | Outcome::Acknowledged | Outcome::Expired => None,
        }
    }

    /// What was read back.
    pub fn read_back(&self) -> Option<&str> {
        match self {
            Outcome::Verified { read_back } => read_back.as_deref(),
            Outcome::Acknowledged
            | Outcome::Failed { .. }
            | Outcome::Refused { .. }
            | Outcome::Expired
            | Outcome::Unknown { .. } => None,
        }
    }

    /// The same with texts of at most 256 bytes.
    pub(super) fn clipped(self) -> Outcome {
        match self {
            Outcome::Verified { read_back } => Outcome::Verified { read_back: read_back.map(clip) },
            Outcome::Failed { reason, detail } => Outcome::Failed { reason: clip(reason), detail: detail.map(clip) },
            Outcome::Refused { reason, detail } => Outcome::Refused { reason: clip(reason), detail: detail.map(clip) },
            Outcome::Unknown { reason, detail } => Outcome::Unknown { reason: clip(reason), detail: detail.map(clip) },
            Outcome::Acknowledged | Outcome::Expired => self,
        }
    }
}

impl From<ActResult> for Outcome {
    fn from(result: ActResult) -> Self {
        match result {
            ActResult::Verified => Outcome::Verified { read_back: None },
            ActResult::Acknowledged => Outcome::Acknowledged,
            ActResult::Failed(why) => Outcome::Failed { reason: why.to_string().into(), detail: None },
            ActResult::Refused(why) => Outcome::Refused { reason: why.reason, detail: why.detail },
            ActResult::Expired => Outcome::Expired,
            ActResult::Unknown(why) => Outcome::Unknown { reason: why.to_string().into(), detail: None },
        }
    }
}

/// At most 256 bytes of a text.
pub(super) fn clip(text: Box<str>) -> Box<str> {
    if text.len() <= LONGEST { text } else { text[..text.floor_char_boundary(LONGEST)].into() }
}

/// How far a command has come since it was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It left for the device.
    Sent,
    /// The device confirmed it; whether it is done is still to be seen.
    Acknowledged,
    /// It is over.
    Ended(Outcome),
}

/// Why a command is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another command had the same id.
    #[error("this id belongs to another command: give each command an id of its own")]
    IdReused,
    /// It has to be signed, and is not.
    #[error("this command has to be signed by the core")]
    SignatureRequired,
    /// It has to be signed, and the box knows no key.
    #[error("this command has to be signed, and the site file names no key of the core")]
    NoKey,
    /// None of the keys has signed it.
    #[error("the signature is by none of the core's keys, or not of this text")]
    BadSignature,
    /// It was retained by the broker: nobody knows since when.
    #[error("commands must not be retained by the broker")]
    Retained,
    /// It is for people at the site only.
    #[error("this action is for people at the site only")]
    LocalOnly,
    /// It lives longer than commands may.
    #[error("the time between issued_at and expires_at is longer than commands may live here")]
    TooLong,
    /// The box does not know what time it is, so it cannot tell whether the command comes late.
    #[error("the clock of the box is not set, so that nobody can tell whether the command comes late")]
    ClockUnset,
    /// It was issued in the box's future: one of the two clocks is wrong.
    #[error("the command is from the future: the clock of the box or of the issuer is wrong")]
    Early,
    /// It comes late.
    #[error("the command comes after its expires_at")]
    Expired,
    /// The clock went back, and the box no longer knows which commands it has had from that time.
    #[error("the clock went back, and commands of that time are forgotten: it may have been done already")]
    Forgotten,
    /// Too many commands wait for its target.
    #[error("too many commands wait for this target already")]
    QueueFull,
    /// The box holds as many commands as it can. Alone among the refusals it may be followed by an acceptance, when
    /// the same command is sent again.
    #[error("too many commands are held already: try again in a few minutes")]
    Busy,
}

impl Refusal {
    /// The stable name in events and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::IdReused => "id_reused",
            Refusal::SignatureRequired => "signature_required",
            Refusal::NoKey => "no_key",
            Refusal::BadSignature => "bad_signature",
            Refusal::Retained => "retained",
            Refusal::LocalOnly => "local_only",
            Refusal::TooLong => "too_long",
            Refusal::ClockUnset => "clock_unset",
            Refusal::Early => "early",
            Refusal::Expired => "expired",
            Refusal::Forgotten => "forgotten",
            Refusal::QueueFull => "queue_full",
            Refusal::Busy => "busy",
        }
    }

    /// True when the same command could be found acceptable later on: its id is then kept, so that it never is.
    /// False for what is refused however often it comes, and for what may not block the id of an honest command.
    pub(super) fn is_remembered(self) -> bool {
        match self {
            Refusal::Retained
            | Refusal::ClockUnset
            | Refusal::Early
            | Refusal::Expired
            | Refusal::Forgotten
            | Refusal::QueueFull => true,
            Refusal::IdReused
            | Refusal::SignatureRequired
            | Refusal::NoKey
            | Refusal::BadSignature
            | Refusal::LocalOnly
            | Refusal::TooLong
            | Refusal::Busy => false,
        }
    }

    /// True when `expires_at` lies no further ahead than the longest life, by the box's clock: a wild one must not shut
    /// out the commands that expire before it.
    pub(super) fn is_timed(self) -> bool {
        matches!(self, Refusal::Expired | Refusal::Forgotten | Refusal::QueueFull)
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Outcome::Refused { reason: refusal.as_str().into(), detail: Some(refusal.to_string().into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let outcome = Outcome::Failed { reason: "x".into(), detail: Some("é".repeat(200).into()) }.clipped();
        assert_eq!(outcome.detail(), Some("é".repeat(128).as_str()));
        assert_eq!(&*clip(format!("x{}", "é".repeat(128)).into()), format!("x{}", "é".repeat(127)));
    }
}
