//! The box's memory: the spool of readings and the journal of state and events.

mod api;
mod error;
mod settings;
mod store;

pub use api::{
    Batch, ClockOffset, CommitTicket, LaneStatus, LastStop, OpenReport, StoreEvent, StoreStatus, Trouble, TroubleKind,
    Written,
};
pub use error::StoreError;
pub use settings::Settings;
pub use store::{Store, Wake};
