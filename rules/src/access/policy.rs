//! What the site file says about access: who decides at a gate, and what holds when the core cannot.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::HolderClass;

/// Who decides at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decide {
    /// The box, by the credentials that it has.
    Local,
    /// A controller at the gate, by a list of its own; the box takes in afterwards what it decided.
    Controller,
    /// The core, while it can be reached.
    Core {
        /// How long the box waits for the answer, in milliseconds; customary are 800.
        deadline_ms: u32,
    },
}

/// What holds at a gate when the one who should decide cannot: the core does not answer or cannot be reached, the
/// credentials are missing or too old, the clock is unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offline {
    /// Who is on the roll passes as far as it can be judged. While the clock is unset that is without dates and hours,
    /// and only for residents, staff and emergency: visitors and what opens once are refused.
    AllowKnown,
    /// Everybody may come in, except by a revoked credential or a wrong code; going out is as with `AllowKnown`.
    AllowAllIn,
    /// A guard opens. Visitor codes that prove themselves still count.
    GuardOnly,
    /// Nobody passes.
    Deny,
}

impl Offline {
    /// The name in the site file.
    pub fn as_str(self) -> &'static str {
        match self {
            Offline::AllowKnown => "allow_known",
            Offline::AllowAllIn => "allow_all_in",
            Offline::GuardOnly => "guard_only",
            Offline::Deny => "deny",
        }
    }
}

/// Whether somebody who is already in may come in again with the same card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AntiPassback {
    /// It is not looked at.
    Off,
    /// The gate opens, and the record says so.
    Soft,
    /// The gate stays closed.
    Hard,
}

/// What becomes of a car at an exit where it should have paid, while nobody can say whether it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnpaidExit {
    /// It goes free.
    Open,
    /// It waits for the guard.
    Refuse,
    /// It goes, and the record has the fact `unpaid` for the core to claim.
    OpenAndRecord,
}

/// How one gate decides.
#[derive(Debug, Clone, PartialEq)]
pub struct GatePolicy {
    /// Who decides.
    pub decide: Decide,
    /// What holds when that one cannot.
    pub offline: Offline,
    /// The least confidence, 0 to 100, with which a plate counts as read.
    pub plate_confidence_min: u8,
    /// Anti-passback for the gate's zone.
    pub anti_passback: AntiPassback,
    /// For exits where visitors pay; `None`: nobody pays here. It concerns plates of visitors and unknown ones during
    /// an outage, and goes before every other reason: a car that is in must be able to leave.
    pub unpaid_exit: Option<UnpaidExit>,
    /// From this age on credentials count as too old, even if they do not say so themselves.
    pub max_snapshot_age: Duration,
    /// For how long the same plate in the same lane is the same passage; 5 to 30 s.
    pub repeat_window: Duration,
    /// Whether visitors' PINs open it.
    pub visitor_pins: bool,
}

impl Default for GatePolicy {
    fn default() -> Self {
        GatePolicy {
            decide: Decide::Local,
            offline: Offline::AllowKnown,
            plate_confidence_min: 80,
            anti_passback: AntiPassback::Soft,
            unpaid_exit: None,
            max_snapshot_age: Duration::from_secs(7 * 24 * 3600),
            repeat_window: Duration::from_secs(10),
            visitor_pins: false,
        }
    }
}

/// One gate, as access sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct GateAccess {
    /// The gate's id.
    pub gate: String,
    /// The zone that one enters by coming in here and leaves by going out; `None`: no count is kept.
    pub zone: Option<String>,
    /// How it decides.
    pub policy: GatePolicy,
}

/// An area in which people or cars are counted.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneSpec {
    /// Its name.
    pub name: String,
    /// How many have room; `None`: it is never full.
    pub capacity: Option<u32>,
    /// Whom a full zone refuses; emergency credentials never.
    pub full_refuses: BTreeSet<HolderClass>,
    /// True when a full zone refuses those of whom nothing is known.
    pub full_refuses_unknown: bool,
}

/// How guessing is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuessLimits {
    /// So many wrong codes at one reader within `within` close it for codes.
    pub per_reader: u32,
    /// So many at all readers together close all of them.
    pub per_site: u32,
    /// The time in which wrong codes are counted.
    pub within: Duration,
    /// The first closure; each further one is twice as long.
    pub first: Duration,
    /// The longest closure; after twice as long without a wrong code the next closure is a first one again.
    pub longest: Duration,
}

impl Default for GuessLimits {
    fn default() -> Self {
        GuessLimits {
            per_reader: 5,
            per_site: 20,
            within: Duration::from_secs(600),
            first: Duration::from_secs(60),
            longest: Duration::from_secs(3600),
        }
    }
}
