//! One ticket as it is kept: what it is about, where it stands, and what has run on its clocks.

use gatehouse_core::Stamp;
use serde::{Deserialize, Serialize};

use super::accept::Accepted;
use super::clock::RunClock;
use super::escalation::Escalation;
use super::evidence::{Place, TicketDevice};
use super::quiet::Quiet;
use super::spec::{Targets, TicketKind};
use super::text::bounded;
use super::update::CoreSide;
use crate::Instant;
use crate::words::{AlarmChange, AlarmId, AlarmState, Occurrence, Priority};

/// Most bytes of a title, a category or a suggestion.
pub(super) const LINE_BYTES: usize = 240;
/// Most bytes of a message or an instruction.
pub(super) const TEXT_BYTES: usize = 700;

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    /// Nobody has accepted it.
    Open,
    /// Somebody has.
    Accepted,
    /// Somebody is there.
    OnSite,
    /// The work waits for parts; its clock stands.
    WaitingParts,
    /// The work waits for somebody to let them in; its clock stands.
    WaitingAccess,
    /// The work is done.
    Done,
    /// There is no work to be done.
    Rejected,
    /// It is part of the ticket of its cause.
    Merged,
}

impl TicketState {
    /// The name in events, updates and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            TicketState::Open => "open",
            TicketState::Accepted => "accepted",
            TicketState::OnSite => "on_site",
            TicketState::WaitingParts => "waiting_parts",
            TicketState::WaitingAccess => "waiting_access",
            TicketState::Done => "done",
            TicketState::Rejected => "rejected",
            TicketState::Merged => "merged",
        }
    }

    /// True when no more work is expected.
    pub fn is_finished(self) -> bool {
        match self {
            TicketState::Done | TicketState::Rejected | TicketState::Merged => true,
            TicketState::Open
            | TicketState::Accepted
            | TicketState::OnSite
            | TicketState::WaitingParts
            | TicketState::WaitingAccess => false,
        }
    }

    /// True when the clock to the end of the work runs.
    pub fn is_worked_on(self) -> bool {
        match self {
            TicketState::Open | TicketState::Accepted | TicketState::OnSite => true,
            TicketState::WaitingParts
            | TicketState::WaitingAccess
            | TicketState::Done
            | TicketState::Rejected
            | TicketState::Merged => false,
        }
    }
}

/// The alarms that a ticket's cause explains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketChildren {
    /// How many.
    pub count: usize,
    /// The first of them in the order of their names: at most 64, and fewer where the names are long.
    pub alarms: Vec<AlarmId>,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// Counts what the core is told of this ticket.
    pub(super) box_rev: u64,
    pub(super) kind: String,
    /// What one ticket is for.
    pub(super) cause: AlarmId,
    /// The alarm that its texts are from: the cause's own, or a child's while the cause has not alarmed by itself.
    pub(super) alarm: AlarmId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<TicketDevice>,
    #[serde(default)]
    pub(super) place: Place,
    pub(super) title: String,
    pub(super) category: String,
    pub(super) message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) instruction: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) suggestion: String,
    pub(super) priority: Priority,
    pub(super) targets: Targets,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) drill: bool,
    pub(super) state: TicketState,
    /// The ticket that it was merged into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) into: Option<u64>,
    /// What explains its alarm, while that has no ticket to fold into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) explained_by: Option<AlarmId>,
    pub(super) reopened: u32,
    /// The `box_rev` of the last time that it was opened.
    pub(super) open_rev: u64,
    pub(super) opened: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished: Option<Instant>,
    pub(super) occurrence: Occurrence,
    pub(super) occurrences: u64,
    /// The occurrences and children that the core was told.
    pub(super) told: (u64, usize),
    /// The condition of its cause holds.
    pub(super) active: bool,
    pub(super) acknowledged: bool,
    /// Who took it on at the site; `None` while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) accepted: Option<Accepted>,
    /// How long it has been away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cleared: Option<RunClock>,
    /// The condition has stayed away for the settle time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) settled: bool,
    #[serde(default)]
    pub(super) children: TicketChildren,
    pub(super) response: RunClock,
    pub(super) resolve: RunClock,
    pub(super) escalation: Escalation,
    #[serde(default)]
    pub(super) core: CoreSide,
}

/// What a ticket is opened with, beside its alarm.
pub(super) struct Opening<'a> {
    pub(super) number: u64,
    pub(super) kind_name: &'a str,
    pub(super) kind: &'a TicketKind,
    pub(super) cause: AlarmId,
    pub(super) device: Option<TicketDevice>,
    pub(super) place: Place,
}

impl Ticket {
    /// A new ticket.
    pub(super) fn open(now: &Stamp, change: &AlarmChange, opening: Opening<'_>) -> Self {
        let Opening { number, kind_name, kind, cause, device, place } = opening;
        let priority = effective(kind, change.priority);
        let clock = if change.drill { RunClock::default() } else { RunClock::running(now) };
        let mut ticket = Ticket {
            number,
            box_rev: 0,
            kind: kind_name.to_owned(),
            cause,
            alarm: change.id.clone(),
            device,
            place,
            title: String::new(),
            category: String::new(),
            message: String::new(),
            instruction: String::new(),
            suggestion: String::new(),
            priority,
            targets: Targets::default(),
            drill: change.drill,
            state: TicketState::Open,
            into: None,
            explained_by: None,
            reopened: 0,
            open_rev: 1,
            opened: (*now).into(),
            finished: None,
            occurrence: change.occurrence,
            occurrences: 1,
            told: (1, 0),
            active: change.active,
            acknowledged: false,
            accepted: None,
            cleared: (!change.active).then(|| RunClock::running(now)),
            settled: false,
            children: TicketChildren::default(),
            response: clock.clone(),
            resolve: clock,
            escalation: Escalation::begin(now),
            core: CoreSide::default(),
        };
        ticket.describe(kind, change);
        ticket
    }

    /// Takes texts and targets from the alarm and its kind.
    pub(super) fn describe(&mut self, kind: &TicketKind, change: &AlarmChange) {
        let title = if kind.title.is_empty() { &change.message } else { &kind.title };
        self.title = bounded(title, LINE_BYTES);
        self.category = bounded(&kind.category, LINE_BYTES);
        self.suggestion = bounded(&kind.suggestion, LINE_BYTES);
        self.instruction = bounded(&change.instruction, TEXT_BYTES);
        self.message = bounded(&change.message, TEXT_BYTES);
        self.targets = kind.targets.get(&self.priority).copied().unwrap_or_default();
    }

    /// True while the texts are a child's.
    pub(super) fn is_by_child(&self) -> bool {
        self.alarm != self.cause
    }

    pub(super) fn is_live(&self) -> bool {
        !self.state.is_finished()
    }

    /// True while what comes from the same cause belongs to this ticket.
    pub(super) fn still_takes(&self) -> bool {
        self.is_live() || !self.settled
    }

    /// Follows the condition. True when that changed something.
    pub(super) fn follow(&mut self, active: bool, now: &Stamp) -> bool {
        if self.active == active {
            return false;
        }
        self.active = active;
        self.settled = false;
        self.cleared = (!active).then(|| RunClock::running(now));
        true
    }

    /// All its clocks, each with the quiet hours that it leaves out; `quiet` are the ticket's.
    pub(super) fn clocks<'q>(&mut self, quiet: Quiet<'q>) -> impl Iterator<Item = (&mut RunClock, Quiet<'q>)> {
        let clocks = [&mut self.response, &mut self.resolve, &mut self.escalation.clock];
        let clocks = clocks.into_iter().map(move |clock| (clock, quiet));
        clocks.chain(self.cleared.as_mut().map(|clock| (clock, Quiet::NONE)))
    }

    /// Lets its clocks run as its state says, counting what had run until now; `finished` follows too.
    pub(super) fn enter(&mut self, state: TicketState, now: &Stamp, quiet: Quiet<'_>) {
        self.state = state;
        if state == TicketState::Open {
            self.accepted = None;
        }
        if !self.drill {
            self.response.run(state == TicketState::Open, now, quiet);
            self.resolve.run(state.is_worked_on(), now, quiet);
        }
        self.finished = state.is_finished().then(|| self.finished.unwrap_or_else(|| (*now).into()));
    }
}

/// The priority of a ticket of this kind for an alarm. P0 stays P0.
pub(super) fn effective(kind: &TicketKind, alarm: Priority) -> Priority {
    match (kind.priority, alarm) {
        (_, Priority::P0) | (None, _) => alarm,
        (Some(priority), Priority::P1 | Priority::P2 | Priority::P3) => priority,
    }
}

/// Whether somebody has taken note of the alarm, where this change tells.
pub(super) fn acknowledges(change: &AlarmChange) -> bool {
    match change.to {
        AlarmState::Acknowledged | AlarmState::LatchedAcknowledged | AlarmState::Shelved | AlarmState::OutOfService => {
            true
        }
        AlarmState::Normal => {
            matches!(change.from, AlarmState::ReturnedUnacknowledged | AlarmState::LatchedUnacknowledged)
        }
        AlarmState::Unacknowledged
        | AlarmState::ReturnedUnacknowledged
        | AlarmState::LatchedUnacknowledged
        | AlarmState::Suppressed => false,
    }
}
