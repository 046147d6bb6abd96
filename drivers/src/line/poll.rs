//! One poll group of one device, and how far its current poll has come.

use gatehouse_core::{Mono, NoData, PointReading, StepId};

use super::cadence::Cadence;

/// A poll group. A poll is begun, its steps are sent one after the other, and it ends in one sample.
#[derive(Debug)]
pub(super) struct Poll {
    /// Place of the device in the line.
    pub(super) device: usize,
    /// The group, in the driver's order.
    pub(super) group: usize,
    /// Its due times.
    pub(super) cadence: Cadence,
    /// The poll under way.
    pub(super) active: bool,
    /// Since when it waits for its turn, if it is active.
    pub(super) turn: Mono,
    /// Not before then: the device said "busy".
    pub(super) not_before: Mono,
    /// Not before then: a late reply could be taken for the next step's.
    pub(super) held_until: Mono,
    /// What was read so far.
    pub(super) readings: Vec<PointReading>,
    /// True once the device answered anything in this poll.
    pub(super) answered: bool,
    /// The last failure of this poll.
    pub(super) failure: Option<NoData>,
    /// The steps and where it stands.
    pub(super) steps: Steps,
}

/// Steps to send, and how often the current one was tried.
#[derive(Debug, Default)]
pub(super) struct Steps {
    list: Vec<StepId>,
    next: usize,
    /// Repeats of the current step.
    pub(super) repeats: u8,
    /// Times that the device said "busy" to the current step.
    pub(super) busy: u8,
    splits: u16,
}

impl Steps {
    /// Most replacements of refused steps in one poll: beyond any plan of 125 registers, below an endless loop.
    const SPLITS_MAX: u16 = 512;

    /// Empties the list for a new run; fill it through the reference.
    pub(super) fn restart(&mut self) -> &mut Vec<StepId> {
        self.list.clear();
        (self.next, self.repeats, self.busy, self.splits) = (0, 0, 0, 0);
        &mut self.list
    }

    /// The step to send.
    pub(super) fn current(&self) -> Option<StepId> {
        self.list.get(self.next).copied()
    }

    /// The current step is done.
    pub(super) fn advance(&mut self) {
        self.next += 1;
        (self.repeats, self.busy) = (0, 0);
    }

    /// Puts steps right behind the current one.
    pub(super) fn follow(&mut self, more: &[StepId]) {
        let after = (self.next + 1).min(self.list.len());
        self.list.splice(after..after, more.iter().copied());
    }

    /// Puts `instead` in the place of the current step; false if this went on for too long.
    pub(super) fn replace(&mut self, instead: &[StepId]) -> bool {
        if self.splits == Self::SPLITS_MAX {
            return false;
        }
        self.splits += 1;
        self.list.splice(self.next..=self.next, instead.iter().copied());
        (self.repeats, self.busy) = (0, 0);
        true
    }
}

impl Poll {
    pub(super) fn new(device: usize, group: usize, cadence: Cadence) -> Self {
        Poll {
            device,
            group,
            turn: cadence.turn(),
            cadence,
            active: false,
            not_before: Mono(0),
            held_until: Mono(0),
            readings: Vec::new(),
            answered: false,
            failure: None,
            steps: Steps::default(),
        }
    }

    /// Since when it waits; among several the earliest goes first.
    pub(super) fn waits_since(&self) -> Mono {
        if self.active { self.turn } else { self.cadence.turn() }
    }

    /// When it may be sent, silences and the device's pause aside.
    pub(super) fn ready_at(&self) -> Mono {
        self.waits_since().max(self.not_before).max(self.held_until)
    }
}
