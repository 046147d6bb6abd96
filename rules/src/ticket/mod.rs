//! Tickets: a fault becomes one work order.
//!
//! [`Tickets`] is told of alarms and of what the core says, and keeps one ticket per cause. [`TicketRules`] is what the
//! configuration says, [`TicketView`] what the core and people see. `intake` decides which ticket an alarm belongs to,
//! `course` runs clocks and escalations, `update` takes what the core says, `journal` keeps what has to outlive the daemon.
//!
//! One cause has one ticket. The cause is the alarm that explains another, or the alarm itself; alarms of P0 are always
//! their own cause, so that no fire is a line in the ticket of a power cut. Finishing a ticket does not clear its alarm;
//! an alarm that is gone for the settle time proposes to finish the ticket, and only the core does.

mod accept;
mod children;
mod clock;
mod course;
mod escalation;
mod evidence;
mod intake;
mod journal;
mod machine;
mod order;
mod outputs;
mod quiet;
mod spec;
mod text;
mod update;
mod view;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use accept::{AcceptResult, Accepted};
pub use escalation::{EscalationEnd, StepState};
pub use evidence::{Evidence, EvidenceReading, Place, TicketDevice, TicketEvidence};
pub use machine::{FINISHED_MAX, OPEN_MAX, TicketCounts, Tickets};
pub use order::{TicketChildren, TicketState};
pub use spec::{Drive, EndsOn, EscalationStep, OutputRef, Targets, TicketKind, TicketRules, When};
pub use update::{Update, UpdateError, UpdateResult};
pub use view::{ClockView, GuardMessage, SlaView, TicketChange, TicketView, UpdateMark};
