//! What the site's configuration says of tickets: their kinds, targets, quiet hours and escalation.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Name, Value};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::PointRef;
use crate::schedule::{Calendar, Weekly};
use crate::words::{Mode, Priority};

/// Steps of an escalation that are looked at; further ones are never reached.
pub(super) const STEPS_MAX: usize = 16;

/// Everything that the configuration says of tickets.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketRules {
    /// Kinds of ticket, as alarm rules name them.
    pub kinds: BTreeMap<Name, TicketKind>,
    /// Quiet hours by category, in the site's zone: clocks and escalation of P2 and P3 pause in them.
    pub quiet: BTreeMap<String, Weekly>,
    /// The site's work days and holidays.
    pub calendar: Calendar,
    /// The site's time zone.
    pub zone: TimeZone,
    /// A ticket that is younger than this and that nobody has accepted folds into the ticket of its cause.
    pub fold: Duration,
    /// How long a finished ticket is kept, within [`super::FINISHED_MAX`].
    pub keep_finished: Duration,
}

impl TicketRules {
    /// Rules without kinds and quiet hours: tickets fold within 2 minutes and are kept for 30 days.
    pub fn new(calendar: Calendar, zone: TimeZone) -> Self {
        TicketRules {
            kinds: BTreeMap::new(),
            quiet: BTreeMap::new(),
            calendar,
            zone,
            fold: Duration::from_secs(120),
            keep_finished: Duration::from_secs(30 * 86_400),
        }
    }
}

/// One kind of ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketKind {
    /// The title; `""`: the alarm's message.
    pub title: String,
    /// The trade that it is for: `electrical`, `access`, ...; quiet hours go by it.
    pub category: String,
    /// The priority, in place of the alarm's. It never lowers P0.
    pub priority: Option<Priority>,
    /// Targets by priority; a priority without an entry has none.
    pub targets: BTreeMap<Priority, Targets>,
    /// How long the condition has to be gone before it counts as over.
    pub settle: Duration,
    /// A suggested cause, for people; `""` for none.
    pub suggestion: String,
    /// Whom it reaches on the site, and when. Of P0, the first step is taken at once, whatever its `after`.
    pub escalation: Vec<EscalationStep>,
    /// What ends the escalation, beside acceptance.
    pub ends_on: EndsOn,
}

impl Default for TicketKind {
    fn default() -> Self {
        TicketKind {
            title: String::new(),
            category: "general".to_owned(),
            priority: None,
            targets: BTreeMap::new(),
            settle: Duration::from_secs(600),
            suggestion: String::new(),
            escalation: Vec::new(),
            ends_on: EndsOn { acknowledged: true, cleared: true },
        }
    }
}

/// Targets of one priority. `None`: no target, and no breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Targets {
    /// Minutes until somebody accepts.
    pub response_min: Option<u32>,
    /// Minutes until the work is done.
    pub resolve_min: Option<u32>,
}

/// What ends an escalation. Acceptance and every end of the ticket always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndsOn {
    /// The alarm was acknowledged, shelved or taken out of service.
    pub acknowledged: bool,
    /// The condition is gone and has stayed away for the settle time, so that a flapping fault cannot hide.
    pub cleared: bool,
}

/// One step of an escalation.
#[derive(Debug, Clone, PartialEq)]
pub struct EscalationStep {
    /// Time since the ticket waits for somebody, without its quiet hours.
    pub after: Duration,
    /// What is switched.
    pub outputs: Vec<OutputRef>,
    /// Whether the ticket stands on the guard's status from then on.
    pub guard_message: bool,
    /// Whether the step is taken always, or only while the core cannot be reached.
    pub when: When,
}

/// When a step applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Only while the core is not known to be reachable; its outputs go off once it is.
    Offline,
}

impl When {
    /// Whether a new step is taken in this mode. `None`: the mode is not known yet.
    pub(super) fn begins(self, mode: Option<Mode>) -> bool {
        match (self, mode) {
            (When::Always, _) | (When::Offline, Some(Mode::Degraded)) => true,
            (When::Offline, Some(Mode::Online | Mode::Recovering) | None) => false,
        }
    }

    /// Whether what a step switched on stays on in this mode.
    pub(super) fn stays(self, mode: Option<Mode>) -> bool {
        match (self, mode) {
            (When::Always, _) | (When::Offline, None | Some(Mode::Degraded | Mode::Recovering)) => true,
            (When::Offline, Some(Mode::Online)) => false,
        }
    }
}

/// One output of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputRef {
    /// Its name in the configuration; one name always stands for the same output.
    pub name: Name,
    /// Its device.
    pub device: DeviceIx,
    /// How it is driven.
    pub drive: Drive,
}

/// How an output is driven.
#[derive(Debug, Clone, PartialEq)]
pub enum Drive {
    /// It is held on for as long as a ticket wants it. Both actions may be repeated: never a toggle or a pulse.
    Level {
        /// Switches it on.
        on: Action,
        /// Switches it off.
        off: Action,
    },
    /// It ends by itself. It is sent once, and never again on doubt.
    Pulse(Action),
}

impl OutputRef {
    /// A flag point that is held on.
    pub fn point(name: Name, at: PointRef) -> Self {
        let write = |on| Action::Write(at.point, Value::Bool(on));
        OutputRef { name, device: at.device, drive: Drive::Level { on: write(true), off: write(false) } }
    }
}
