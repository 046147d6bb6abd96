//! Controllers that decide at their doors themselves: what they recorded is taken in afterwards, each event once.
//!
//! Where the site file says that the box keeps a controller's list of cards, it is made to be what the credentials say.
//!
//! Start with [`Controllers`], the machine. It asks for events by their numbers, one after the other, and keeps how far it
//! is in the batch of what an event becomes; so neither a lost datagram, nor an outage of the box, nor a kill loses or
//! doubles one. `intake` is how it goes on for one controller, `list` how its list is put right.
//!
//! Kept: `controller/<device>` (the number of the last event taken in, and what it looked like).
//!
//! | event | lane | fields |
//! |---|---|---|
//! | `controller_met` | audit | `controller`, `index`: seen for the first time; what it recorded up to there stays with it |
//! | `controller_gap` | audit | `controller`, `from`, `to`, `why` (`overwritten`, `missing`): events that nobody will see |
//! | `controller_reset` | audit | `controller`, `taken`: its events begin anew; all that it has is taken in |
//! | `controller_event` | audit | `controller`, `index`, `kind`, `door`, `gate`, `granted`, `reason`, `credential`, `recorded`: what is no passage of a gate |
//! | `controller_cards` | audit | `controller`, `version`, `listed`, `changed`, `dropped`: cards by `credential` and `who`, up to 32 together |
//! | `controller_list` | audit | `controller`, `state` (`equal`, `unequal`), `version`, `cards`, `refused`, `stay`: how putting it right ended |
//!
//! Of a list nothing is kept: after each start it is looked at. A kill loses the record of up to 32 cards, never what was
//! done with them.
//!
//! Passages are records of their gates in the lane of passages, with the facts `controller`, `event` and `credential`, and
//! with `recorded`, the controller's own time.

mod intake;
mod list;
#[cfg(test)]
mod list_tests;
mod lists;
mod machine;
mod recorded;
mod roster;
#[cfg(test)]
mod tests;
mod told;

pub use lists::{LIST_ALARM, ListedCards};
pub use machine::{ControllerSpec, ControllerView, Controllers, DoorSpec, Enquiry, EnquiryId, ListOwner, TakenEvent};
pub use recorded::{ClockTrust, Recorded};
pub use told::{Change, ListState, ListView};
