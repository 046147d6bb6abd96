//! What the uplink asks of the store: unacknowledged records, in order, and a place to put acknowledgements.

use std::ops::ControlFlow;

use gatehouse_core::{Lane, Record, Trust, Wall};

/// The store could not give records; they are not lost, only not to be had now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store gives no records of lane {lane}: {why}")]
pub struct OutboxError {
    /// The lane.
    pub lane: Lane,
    /// What the store said.
    pub why: String,
}

/// Looks at one record and its mended time (the stamp's own where no better is known), and says whether to go on.
pub type Visit<'a> = dyn FnMut(&Record, (Wall, Trust)) -> ControlFlow<()> + 'a;

/// The store, as the uplink sees it. No method waits for a disk.
pub trait Outbox {
    /// Changes only when sequences could not be carried on: with it, `(epoch, lane, seq)` is unique for ever.
    fn epoch(&self) -> u64;

    /// The highest number of the lane that may be sent; 0 when there is none.
    fn newest(&self, lane: Lane) -> u64;

    /// The first number at or after `from` that is stored and not acknowledged.
    fn next_unacked(&self, lane: Lane, from: u64) -> Option<u64>;

    /// Visits the unacknowledged records at or after `from`, up to [`Outbox::newest`], ascending and without leaving
    /// one out, gap records included, until the visitor breaks off.
    ///
    /// # Errors
    /// [`OutboxError`] when the records cannot be read now.
    fn read(&mut self, lane: Lane, from: u64, visit: &mut Visit<'_>) -> Result<(), OutboxError>;

    /// Marks `first..=last` as delivered. Called for each PUBACK: cheap.
    fn ack(&mut self, lane: Lane, first: u64, last: u64);

    /// Puts a record that no broker will ever take into quarantine, with an unacknowledged gap record in its place.
    fn refuse(&mut self, lane: Lane, seq: u64);
}
