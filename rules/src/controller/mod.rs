//! Controllers that decide at their doors themselves: what they recorded is taken in afterwards, each event once.
//!
//! Start with [`Controllers`], the machine. It asks for events by their numbers, one after the other, and keeps how far it
//! is in the batch of what an event becomes; so neither a lost datagram, nor an outage of the box, nor a kill loses or
//! doubles one. `intake` is how it goes on for one controller.
//!
//! Kept: `controller/<device>` (the number of the last event taken in, and what it looked like).
//!
//! | event | lane | fields |
//! |---|---|---|
//! | `controller_met` | audit | `controller`, `index`: seen for the first time; what it recorded up to there stays with it |
//! | `controller_gap` | audit | `controller`, `from`, `to`, `why` (`overwritten`, `missing`): events that nobody will see |
//! | `controller_reset` | audit | `controller`, `taken`: its events begin anew; all that it has is taken in |
//! | `controller_event` | audit | `controller`, `index`, `kind`, `door`, `gate`, `granted`, `reason`, `credential`, `recorded`: what is no passage of a gate |
//!
//! Passages are records of their gates in the lane of passages, with the facts `controller`, `event` and `credential`, and
//! with `recorded`, the controller's own time.

mod intake;
mod machine;
mod recorded;
#[cfg(test)]
mod tests;

pub use machine::{ControllerSpec, ControllerView, Controllers, DoorSpec, Enquiry, EnquiryId, TakenEvent};
pub use recorded::{ClockTrust, Recorded};
