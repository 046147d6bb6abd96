//! What people at the site do to tickets.

use gatehouse_core::Stamp;

use super::Engine;
use super::ask_alarm::{Asked, action, done, missing, unknown};
use super::routing::{arg, refused};
use crate::command::{Dispatch, Source};
use crate::ticket::AcceptResult;

impl Engine {
    /// The core has its own way to change a ticket; here somebody at the site takes one on while the core cannot know.
    pub(super) fn ask_ticket(&mut self, now: Stamp, number: u64, dispatch: &Dispatch) -> Asked {
        let (action, args) = action(dispatch)?;
        if dispatch.source == Source::Core {
            return Err(refused("not_here", "the core changes a ticket by ticket updates"));
        }
        match action {
            "accept" => {
                let who = arg(args, "by").ok_or_else(|| missing("by", "the name of who takes it on"))?;
                match self.tickets.handle_accept(now, number, who) {
                    AcceptResult::Done | AcceptResult::AlreadyDone => done(),
                    AcceptResult::NotOpen(state) => {
                        Err(refused("not_open", format!("the ticket is {} already", state.as_str())))
                    }
                    AcceptResult::NoSuchTicket => Err(refused("unknown_ticket", "the box has no such ticket")),
                }
            }
            other => Err(unknown(other, "accept")),
        }
    }
}
