//! What the core, the API and the guard see of tickets.

use std::time::Duration;

use gatehouse_core::Stamp;
use serde::Serialize;

use super::accept::Accepted;
use super::clock::RunClock;
use super::escalation::{EscalationEnd, StepState};
use super::evidence::{Place, TicketDevice, TicketEvidence};
use super::order::{Ticket, TicketChildren, TicketState};
use super::quiet::Quiet;
use super::spec::Targets;
use crate::Instant;
use crate::words::{AlarmId, Occurrence, Priority};

/// What an event of kind `ticket` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketChange {
    /// It was opened.
    Opened,
    /// It has more occurrences or other children; told at most once a minute.
    Counted,
    /// Its cause has alarmed itself: the texts are now the cause's.
    CauseKnown,
    /// Its priority rose.
    Raised,
    /// The condition is gone and has stayed away: the work may be done.
    CloseProposed,
    /// The condition came back after that.
    Returned,
    /// The fault came back after the ticket was finished.
    Reopened,
    /// The core's update was applied.
    Updated,
    /// Somebody at the site took it on.
    Accepted,
    /// It became part of the ticket of its cause.
    Merged,
    /// The drill is over, or a real alarm came.
    DrillOver,
}

/// Names an update of the core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpdateMark {
    /// Its id.
    pub id: String,
    /// Its revision.
    pub rev: u64,
}

/// A ticket as the API shows it, and as events of kind `ticket` carry it. Empty fields are left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TicketView {
    /// The box's number, never used twice.
    pub ticket: u64,
    /// Counts what the core was told of this ticket: of two events the higher one is the newer.
    pub box_rev: u64,
    /// What happened; only in events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<TicketChange>,
    /// Where it stands.
    pub state: TicketState,
    /// The ticket that it was merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub into: Option<u64>,
    /// Its kind in the configuration.
    pub kind: String,
    /// The alarm that the texts are from.
    pub alarm: AlarmId,
    /// The alarm that the ticket is for; differs from `alarm` while that has not alarmed itself.
    pub cause: AlarmId,
    /// The title.
    pub title: String,
    /// What happened, in the words of the last occurrence.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instruction: String,
    /// A suggested cause.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub suggestion: String,
    /// The trade.
    pub category: String,
    /// The priority.
    pub priority: Priority,
    /// The targets, in minutes.
    pub targets: Targets,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<TicketDevice>,
    /// Where that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// When it was opened.
    pub opened: Instant,
    /// When it was finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Instant>,
    /// The last occurrence of the alarm.
    pub occurrence: Occurrence,
    /// How many occurrences it has had.
    pub occurrences: u64,
    /// How often it was opened again.
    pub reopened: u32,
    /// The condition holds.
    pub active: bool,
    /// Somebody has taken note of the last occurrence.
    pub acknowledged: bool,
    /// The condition is gone for the settle time: the work may be done.
    pub close_proposed: bool,
    /// The alarms that its cause explains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<TicketChildren>,
    /// The core's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_number: Option<String>,
    /// Who is to do the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Who took it on at the site, since it was last open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// The highest revision of the core that was applied; 0: none.
    pub core_rev: u64,
    /// Revisions of the core that were jumped over, of the last 16.
    pub missing_updates: usize,
    /// The update that was applied; only in events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateMark>,
    /// The clocks; never of a drill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla: Option<SlaView>,
    /// The steps of its escalation that were looked at, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<StepState>,
    /// What ended the escalation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalation_ended: Option<EscalationEnd>,
    /// What was known when it was opened; only in the first event and in the view of one ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<TicketEvidence>,
    /// It is for a drill: not to be worked on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
}

/// The clocks of a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlaView {
    /// Until somebody accepts.
    pub response: ClockView,
    /// Until the work is done.
    pub resolve: ClockView,
}

/// One clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockView {
    /// Seconds that have run, quiet hours and waiting left out.
    pub ran_s: u64,
    /// It runs.
    pub running: bool,
    /// Its target was passed.
    pub breached: bool,
    /// The box was down for a time that nobody knows, and that is not in `ran_s`.
    pub uncounted: bool,
}

/// One line of the guard's status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardMessage {
    /// The ticket.
    pub ticket: u64,
    /// Its priority.
    pub priority: Priority,
    /// Its title.
    pub title: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub instruction: String,
    /// Where.
    pub place: Place,
    /// Since when.
    pub since: Instant,
    /// It is a drill.
    pub drill: bool,
}

fn clock(clock: &RunClock, now: &Stamp, quiet: Quiet<'_>) -> ClockView {
    let ran: Duration = clock.ran(now, quiet);
    ClockView {
        ran_s: ran.as_secs(),
        running: clock.is_running(),
        breached: clock.breached,
        uncounted: clock.uncounted,
    }
}

impl GuardMessage {
    pub(super) fn of(ticket: &Ticket) -> Self {
        GuardMessage {
            ticket: ticket.number,
            priority: ticket.priority,
            title: ticket.title.clone(),
            message: ticket.message.clone(),
            instruction: ticket.instruction.clone(),
            place: ticket.place.clone(),
            since: ticket.opened,
            drill: ticket.drill,
        }
    }
}

impl TicketView {
    /// A ticket as it is now.
    pub(super) fn of(ticket: &Ticket, now: &Stamp, quiet: Quiet<'_>) -> Self {
        let sla =
            || SlaView { response: clock(&ticket.response, now, quiet), resolve: clock(&ticket.resolve, now, quiet) };
        TicketView {
            ticket: ticket.number,
            box_rev: ticket.box_rev,
            change: None,
            state: ticket.state,
            into: ticket.into,
            kind: ticket.kind.clone(),
            alarm: ticket.alarm.clone(),
            cause: ticket.cause.clone(),
            title: ticket.title.clone(),
            message: ticket.message.clone(),
            instruction: ticket.instruction.clone(),
            suggestion: ticket.suggestion.clone(),
            category: ticket.category.clone(),
            priority: ticket.priority,
            targets: ticket.targets,
            device: ticket.device.clone(),
            place: Some(ticket.place.clone()).filter(|place| *place != Place::default()),
            opened: ticket.opened,
            finished: ticket.finished,
            occurrence: ticket.occurrence,
            occurrences: ticket.occurrences,
            reopened: ticket.reopened,
            active: ticket.active,
            acknowledged: ticket.acknowledged,
            close_proposed: ticket.settled && ticket.is_live(),
            children: Some(ticket.children.clone()).filter(|children| children.count > 0),
            core_number: ticket.core.number().map(str::to_owned),
            assignee: ticket.core.assignee().map(str::to_owned),
            accepted: ticket.accepted.clone(),
            core_rev: ticket.core.rev,
            missing_updates: ticket.core.missing(),
            update: None,
            sla: (!ticket.drill).then(sla),
            escalation: ticket.escalation.steps().to_vec(),
            escalation_ended: ticket.escalation.ended,
            evidence: None,
            drill: ticket.drill,
        }
    }
}
