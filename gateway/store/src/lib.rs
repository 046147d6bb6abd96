//! The box's memory: the spool of readings and the journal of state and events.
//!
//! Not a database: it keeps numbered records until they are acknowledged, and small state that must change together
//! with events. It formats nothing for the wire and knows no topics.
//!
//! In the data folder: `spool/*.seg` (readings in sealed blocks), `journal/` (sled: state, events, clock offsets),
//! `floors` (reserved numbers, what is delivered, what is gone), `ballast`, `lock`, `quarantine/` (damaged bytes, refused records). On
//! tmpfs: `*.tail` (what is appended and not yet sealed) and `acks`.
//!
//! Start reading at [`Store`]; then `block` (the format on disk), `book` (a lane's numbers), `open` (recovery).

mod acks;
mod api;
mod block;
mod book;
mod disk;
mod error;
mod floors;
mod gap;
mod intervals;
mod io;
mod journal;
mod open;
mod quarantine;
mod read;
mod row;
mod run;
mod segment;
mod settings;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod wire;

pub use api::{
    Batch, ClockOffset, CommitTicket, LaneStatus, LastStop, OpenReport, StateChange, StoreEvent, StoreStatus, Trouble,
    TroubleKind, Written,
};
pub use error::StoreError;
pub use settings::Settings;
pub use store::{Store, Wake, resolve};

/// A folder in the data folder that the store leaves to others.
pub const GUEST_FOLDER: &str = "access";
