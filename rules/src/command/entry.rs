//! One command that the box knows of, and the commands of one target.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse_core::{Mono, Stamp, Trust, Wall};

use super::outcome::Outcome;
use super::record::{Kept, KeptPhase, Source};
use super::request::{CommandId, Request};
use crate::instant::Instant;

/// A command that the box knows of: it is at work, or only its id is taken.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) source: Source,
    /// Empty where what was kept is damaged: it then agrees with every command.
    pub(super) fingerprint: String,
    /// `None` where what was kept is damaged.
    pub(super) received: Option<Instant>,
    /// How long after `received` the id is kept.
    pub(super) hold: Duration,
    /// See [`Kept::horizon`].
    pub(super) horizon: Option<Wall>,
    pub(super) phase: Phase,
    /// When something is to be done about it.
    pub(super) timer: Option<Mono>,
}

/// Whether it is over.
#[derive(Debug)]
pub(super) enum Phase {
    Open(Box<Job>),
    Ended(Outcome),
}

/// A command at work.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Request,
    /// When it expires.
    pub(super) deadline: Mono,
    /// True when the wall clock could be believed as it came, so that it may judge it again later.
    pub(super) by_wall: bool,
    /// How far it has come.
    pub(super) reached: Reached,
}

/// The steps between the door and the end, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reached {
    Waiting,
    Begun,
    Sent,
    Acknowledged,
}

impl Job {
    /// True once it was given out: it may have been done.
    pub(super) fn is_begun(&self) -> bool {
        self.reached > Reached::Waiting
    }

    /// True when it may not begin any more, by either clock: the one that never steps, and the one that may have been
    /// mended since it came.
    pub(super) fn is_late(&self, now: &Stamp) -> bool {
        let by_wall = self.by_wall && now.trust != Trust::Unset && now.wall >= self.request.expires_at;
        by_wall || now.mono >= self.deadline
    }
}

impl Entry {
    /// The job, unless it is over.
    pub(super) fn job(&self) -> Option<&Job> {
        match &self.phase {
            Phase::Open(job) => Some(job),
            Phase::Ended(_) => None,
        }
    }

    /// The same, to be worked on.
    pub(super) fn job_mut(&mut self) -> Option<&mut Job> {
        match &mut self.phase {
            Phase::Open(job) => Some(job),
            Phase::Ended(_) => None,
        }
    }

    /// When its id may be forgotten.
    pub(super) fn forget_at(&self, now: &Stamp) -> Mono {
        let held = self.received.and_then(|received| received.elapsed(now)).unwrap_or_default();
        now.mono + self.hold.saturating_sub(held)
    }

    pub(super) fn kept(&self, now: &Stamp) -> Kept {
        Kept {
            source: self.source,
            fingerprint: self.fingerprint.clone(),
            received: self.received.unwrap_or_else(|| (*now).into()),
            hold_ms: u64::try_from(self.hold.as_millis()).unwrap_or(u64::MAX),
            horizon: self.horizon.map(|wall| wall.0),
            phase: match &self.phase {
                Phase::Open(job) if job.reached == Reached::Waiting => KeptPhase::Waiting(job.request.to_wire()),
                Phase::Open(job) => KeptPhase::Begun(job.request.to_wire()),
                Phase::Ended(outcome) => KeptPhase::Ended(outcome.clone()),
            },
        }
    }
}

/// The commands of one target: those that are at work, and those that wait for them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// At most one, and any number of STOPs.
    pub(super) active: BTreeSet<CommandId>,
    pub(super) waiting: VecDeque<CommandId>,
}
