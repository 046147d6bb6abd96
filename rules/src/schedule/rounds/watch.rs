//! How far the wall clock has been followed: what it ran through, and what it jumped over.

use std::time::Duration;

use gatehouse_core::{Mono, Stamp, Wall};

use super::record::Reason;

/// A correction of the clock by up to so much is taken as time that went by.
pub(super) const STEP_US: i64 = 60_000_000;

/// Follows the wall clock from look to look. All stamps are of one run of the daemon, with a clock to be believed.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Option<Stamp>,
    /// Since when the clock has been followed without a break.
    since: Mono,
}

/// What lies between two looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Now.
    pub(super) now: Stamp,
    /// Up to here the clock ran while the box was watching; from here to now it did not.
    pub(super) watched_to: Wall,
    /// Why it did not.
    pub(super) blind: Reason,
    /// Since when the box has been watching, by the clock of now.
    pub(super) since: Wall,
}

impl Watch {
    /// True if the clock has only run since the last look.
    pub(super) fn is_steady(&self, now: &Stamp) -> bool {
        self.step(now).is_some_and(|step| step.abs() <= STEP_US)
    }

    /// Goes on to now; `blind`: why the box did not watch before its first look.
    pub(super) fn look(&mut self, now: Stamp, blind: Reason) -> Look {
        let (watched_to, blind) = match self.step(&now) {
            None => (Wall(i64::MIN), blind),
            Some(step) if step > STEP_US => (Wall(now.wall.0.saturating_sub(step)), Reason::Clock),
            Some(_) => (now.wall, Reason::Clock),
        };
        if watched_to < now.wall {
            self.since = now.mono;
        }
        self.last = Some(now);
        let since = Wall(now.wall.0.saturating_sub(micros(now.mono.since(self.since))));
        Look { now, watched_to, blind, since }
    }

    /// The clock is no longer to be believed: the next look is a first one.
    pub(super) fn lose(&mut self) {
        self.last = None;
    }

    /// By how many microseconds the clock has been put forward since the last look.
    fn step(&self, now: &Stamp) -> Option<i64> {
        let last = self.last.filter(|last| last.boot == now.boot)?;
        let ran = last.wall.0.saturating_add(micros(now.mono.since(last.mono)));
        Some(now.wall.0.saturating_sub(ran))
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
