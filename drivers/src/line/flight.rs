//! The transaction in flight.

use std::time::Duration;

use gatehouse_core::{Mono, Reject, StepId, StepShape};

use super::late::Fingerprint;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// A step of the poll at this place.
    Poll(usize),
    /// A probe of the lost device at this place.
    Probe(usize),
    /// A step of the command with this id.
    Command(u64),
}

/// One request that was handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) task: Task,
    /// Place of the device in the line.
    pub(super) device: usize,
    pub(super) step: StepId,
    pub(super) tag: u16,
    pub(super) shape: StepShape,
    pub(super) request: Fingerprint,
    /// When it was handed out.
    pub(super) start: Mono,
    /// When its last byte leaves the wire: at least `start` and its characters, later if the kernel took longer.
    pub(super) end: Mono,
    pub(super) sent: bool,
    /// Time allowed for the reply to begin.
    pub(super) timeout: Duration,
    pub(super) deadline: Mono,
    /// A local echo may still come.
    pub(super) echo_awaited: bool,
    /// Bytes received since, without the echo.
    pub(super) received: usize,
    /// Of these, bytes that were noise or failed their checksum.
    pub(super) garbled: usize,
    /// The last rejection.
    pub(super) reject: Option<Reject>,
    /// A reply that ended too soon was dropped.
    pub(super) early: bool,
    /// Bytes needed before the driver can say more.
    pub(super) need: usize,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The reply came.
    Reply,
    /// Bytes came that are either the reply or the local echo of the request.
    Unproven,
    /// The device answered with an exception.
    Exception(u8),
    /// Nothing came that would do.
    Silence,
    /// It goes out once more, at no one's cost: the first answer on this port came sooner than a wire can carry it.
    Again,
    /// The port went away.
    PortLost,
    /// A request that is never answered went out and its pause is over.
    Sent,
}

/// Whether the port behaves like a wire of its speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pace {
    /// Not known yet.
    #[default]
    Unknown,
    /// One reply came too soon for a wire; the request goes out again to see whether that is this port's way.
    Asked,
    /// Replies take their time: one that ends too soon is left over from before.
    Wire,
    /// Replies come faster than the wire could: a simulated or virtual port.
    Instant,
}
