//! Somebody at the site takes a ticket on, with or without the core.
//!
//! The state of a ticket is the core's. What is done here is a proposal that stands until the core says otherwise: the
//! box tells it under its next `box_rev`, and an update that the core had sent before it saw that does not open the
//! ticket again.

use gatehouse_core::Stamp;
use serde::{Deserialize, Serialize};

use super::machine::Tickets;
use super::order::TicketState;
use super::text::bounded;
use super::view::TicketChange;
use crate::Instant;

/// Most bytes of a name.
const NAME_BYTES: usize = 96;

/// Who took a ticket on at the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Their name, in their own words: at most 96 bytes.
    pub by: String,
    /// When.
    pub at: Instant,
    /// The `box_rev` that told of it.
    pub box_rev: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptResult {
    /// It is accepted now.
    Done,
    /// The same person had accepted it before.
    AlreadyDone,
    /// It is beyond being accepted.
    NotOpen(
        /// Where it stands.
        TicketState,
    ),
    /// The box has no such ticket, or no longer.
    NoSuchTicket,
}

impl Tickets {
    /// Somebody at the site takes a ticket on.
    pub fn handle_accept(&mut self, now: Stamp, number: u64, who: &str) -> AcceptResult {
        self.begin(&now);
        let result = self.accept(&now, number, bounded(who, NAME_BYTES));
        self.finish(&now);
        result
    }

    fn accept(&mut self, now: &Stamp, number: u64, by: String) -> AcceptResult {
        let Some(ticket) = self.book.get(&number) else { return AcceptResult::NoSuchTicket };
        if ticket.state != TicketState::Open {
            let same = ticket.accepted.as_ref().is_some_and(|accepted| accepted.by == by);
            let stands = ticket.state == TicketState::Accepted;
            return if same && stands { AcceptResult::AlreadyDone } else { AcceptResult::NotOpen(ticket.state) };
        }
        self.set_state(now, number, TicketState::Accepted);
        if let Some(ticket) = self.book.get_mut(&number) {
            ticket.accepted = Some(Accepted { by, at: (*now).into(), box_rev: ticket.box_rev + 1 });
        }
        self.tell(now, number, TicketChange::Accepted, None, false);
        AcceptResult::Done
    }
}
