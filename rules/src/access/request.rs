//! What comes to the access machine, and what it asks of the core.

use std::collections::BTreeMap;
use std::fmt;

use gatehouse_core::Mono;
use serde::{Deserialize, Serialize};

use super::plate::PlateColour;
use super::wiegand::Bits;
use crate::words::{Direction, HolderClass, RequestId};

/// Somebody wants to pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Presented {
    /// The gate, by its id.
    pub gate: String,
    /// The reader or camera.
    pub via: String,
    /// Which way.
    pub direction: Direction,
    /// By what.
    pub proof: Proof,
}

/// By what somebody wants to pass. It holds numbers in clear, and so it prints none of them.
#[derive(Clone, PartialEq)]
pub enum Proof {
    /// A card.
    Card {
        /// Its bits.
        bits: Bits,
        /// The reader's format, by name; `None`: whichever formats have that many bits.
        format: Option<String>,
    },
    /// A card, then a PIN.
    CardAndPin {
        /// The card's bits.
        bits: Bits,
        /// The reader's format, as with a card alone.
        format: Option<String>,
        /// The PIN.
        pin: String,
    },
    /// A plate, as the camera wrote it.
    Plate {
        /// The text; `UNKNOWN` when it could not be read.
        text: String,
        /// How sure the camera is, 0 to 100.
        confidence: u8,
        /// The plate's colour, where the camera tells.
        colour: Option<PlateColour>,
    },
    /// Digits of a keypad, or the text of a QR picture.
    Code(String),
}

impl fmt::Debug for Proof {
    /// Writes what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::Card { .. } => "Card(_)",
            Proof::CardAndPin { .. } => "CardAndPin(_)",
            Proof::Plate { .. } => "Plate(_)",
            Proof::Code(_) => "Code(_)",
        })
    }
}

/// What became of a presentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is decided: the verdict is there.
    Decided,
    /// The core is asked: the verdict comes with its answer, or at the deadline.
    Asked,
    /// It is the same passage as an earlier request; there is no verdict of its own.
    Duplicate(RequestId),
}

/// A question to the core. It is not stored: late it is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The request; the answer names it.
    pub request: RequestId,
    /// The gate.
    pub gate: String,
    /// Which way.
    pub direction: Direction,
    /// The holder's pseudonym where the box knows it, else the keyed hash of what was presented.
    pub credential: String,
    /// `card`, `plate` or `code`.
    pub kind: &'static str,
    /// How long the box waits.
    pub deadline_ms: u32,
    /// Until when.
    pub deadline: Mono,
}

/// The core's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it may pass.
    pub allowed: bool,
    /// Why; a stable reason in snake case, else `core_refused` stands in its place.
    pub reason: String,
    /// The holder's pseudonym, where the core knows one that the box does not.
    #[serde(default)]
    pub who: Option<String>,
    /// The holder's class, likewise.
    #[serde(default)]
    pub class: Option<HolderClass>,
    /// Facts for the passage record; at most eight are taken, of 64 bytes each.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It decided its request.
    Taken,
    /// Its request was decided before, or never asked.
    Late,
    /// Nobody vouches for where it came from: it changes nothing.
    NotAuthentic,
}

/// The reasons of verdicts. They are stable: records, reports and the core tell them apart by these words.
pub mod reason {
    /// It may pass.
    pub const GRANTED: &str = "granted";
    /// Nothing is known of it.
    pub const UNKNOWN_CREDENTIAL: &str = "unknown_credential";
    /// It is valid no longer.
    pub const EXPIRED: &str = "expired";
    /// It is not valid yet.
    pub const NOT_YET_VALID: &str = "not_yet_valid";
    /// Its schedule does not hold now.
    pub const OUT_OF_SCHEDULE: &str = "out_of_schedule";
    /// It does not open this gate.
    pub const WRONG_GATE: &str = "wrong_gate";
    /// The core has withdrawn it.
    pub const REVOKED: &str = "revoked";
    /// Its holder is in already, or out already.
    pub const ANTI_PASSBACK: &str = "anti_passback";
    /// The zone has no room.
    pub const CAR_PARK_FULL: &str = "car_park_full";
    /// Its household has as many in the zone as it may.
    pub const QUOTA_EXCEEDED: &str = "quota_exceeded";
    /// The plate was not read surely enough, or not at all.
    pub const LOW_CONFIDENCE: &str = "low_confidence";
    /// Too many wrong codes came: none is looked at for a while.
    pub const LOCKED_OUT: &str = "locked_out";
    /// It opens once, and has.
    pub const CODE_USED: &str = "code_used";
    /// The code is wrong.
    pub const BAD_CODE: &str = "bad_code";
    /// The card opens with its PIN only.
    pub const PIN_NEEDED: &str = "pin_needed";
    /// The card's parity is wrong.
    pub const BAD_PARITY: &str = "bad_parity";
    /// The card has another number of bits than its reader's format.
    pub const BAD_LENGTH: &str = "bad_length";
    /// The core refused, without a reason of its own.
    pub const CORE_REFUSED: &str = "core_refused";
    /// Nobody passes by the gate's offline policy.
    pub const OFFLINE_DENY: &str = "offline_deny";
    /// A guard opens by the gate's offline policy.
    pub const GUARD_ONLY: &str = "guard_only";
    /// The clock is unset, so that nobody can tell whether it is valid.
    pub const TIME_UNKNOWN: &str = "time_unknown";
    /// It has not paid, as far as anybody can tell.
    pub const UNPAID: &str = "unpaid";
    /// So many codes were used that no further one can be remembered.
    pub const CODES_FULL: &str = "codes_full";
    /// The box was restarted while it waited for the core.
    pub const INTERRUPTED: &str = "interrupted";
    /// The box has no keys for credentials, so that it knows none.
    pub const NO_CREDENTIALS: &str = "no_credentials";
    /// What was begun at a keypad was not ended before the longest pause: it was thrown away.
    pub const ENTRY_EXPIRED: &str = "entry_expired";
    /// What was typed at a keypad was thrown away for a card that was shown, or for what was typed after it.
    pub const ENTRY_REPLACED: &str = "entry_replaced";
    /// Keys of an entry at a keypad are lost, so that it was thrown away.
    pub const KEYS_LOST: &str = "keys_lost";
    /// More was typed than any code has, or a key that is no digit: it was thrown away.
    pub const NO_CODE: &str = "no_code";
    /// The gate has no access policy.
    pub const UNKNOWN_GATE: &str = "unknown_gate";
}
