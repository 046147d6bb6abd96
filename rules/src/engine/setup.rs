//! What the site file says of everything that the engine decides, and why it cannot work.

use jiff::tz::TimeZone;

use super::{BoxLimits, Mains, ReaderSpec, RuleSpec};
use crate::access::{self, GateAccess, GuessLimits, PublicKey, ZoneSpec};
use crate::alarm::{AlarmSpec, SpecError};
use crate::billing::BillingSetup;
use crate::catalog::Catalog;
use crate::command;
use crate::controller::ControllerSpec;
use crate::gate::{GateSpec, SiteError};
use crate::mode::ModeSettings;
use crate::schedule::{Calendar, RoundSpec};
use crate::supply::SupplySetup;
use crate::ticket::TicketRules;

/// What the site file says of everything that the engine decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The site's devices.
    pub catalog: Catalog,
    /// When the box counts as cut off.
    pub mode: ModeSettings,
    /// Commands: whose signature counts, how long they may live.
    pub commands: command::Settings,
    /// Rules over points.
    pub rules: Vec<RuleSpec>,
    /// The classes of alarms that need no rule, as the site wants them.
    pub builtin: Vec<AlarmSpec>,
    /// When the box's own state is worth an alarm.
    pub limits: BoxLimits,
    /// The input that tells that the supply is gone.
    pub mains: Option<Mains>,
    /// Barriers and doors.
    pub gates: Vec<GateSpec>,
    /// Readers and cameras.
    pub readers: Vec<ReaderSpec>,
    /// Controllers that decide at their doors themselves.
    pub controllers: Vec<ControllerSpec>,
    /// Who may pass; `None`: nobody by a credential.
    pub access: Option<AccessSetup>,
    /// What becomes of faults.
    pub tickets: TicketRules,
    /// Supplies that can be cut and given back.
    pub supply: SupplySetup,
    /// Inspection rounds.
    pub rounds: Vec<RoundSpec>,
    /// What bills are made of.
    pub billing: BillingSetup,
    /// The site's work days and holidays.
    pub calendar: Calendar,
    /// The site's zone.
    pub zone: TimeZone,
    /// Names this state of the rule files in the audit trail.
    pub version: String,
}

/// What the site file says of credentials, but for its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessSetup {
    /// The core's public keys.
    pub core_keys: Vec<PublicKey>,
    /// How each gate decides.
    pub gates: Vec<GateAccess>,
    /// Areas in which people or cars are counted.
    pub zones: Vec<ZoneSpec>,
    /// Formats of cards, beside those that are built in.
    pub formats: Vec<access::wiegand::Format>,
    /// How guessing is held up.
    pub guesses: GuessLimits,
}

/// Why a setup cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Alarms do not fit together.
    #[error(transparent)]
    Alarm(#[from] SpecError),
    /// Gates do not fit together.
    #[error(transparent)]
    Gate(#[from] SiteError),
    /// Rounds do not fit together.
    #[error("{0}")]
    Round(String),
}
