//! How many refusals are recorded one by one: a flood of them must not fill the audit trail.

use std::time::Duration;

use gatehouse_core::Mono;

/// So many in one window are recorded one by one; the others are counted.
const TOLD: u32 = 60;
/// How long a window lasts.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The refusals of one source.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    window: Option<Mono>,
    told: u32,
    untold: u64,
}

impl Refusals {
    /// True when this one is to be recorded; otherwise it is counted. Any window that is over has to be closed before.
    pub(super) fn admit(&mut self, now: Mono) -> bool {
        self.window.get_or_insert(now);
        if self.told < TOLD {
            self.told += 1;
            return true;
        }
        self.untold += 1;
        false
    }

    /// When the window is over.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.window.map(|since| since + WINDOW)
    }

    /// Closes a window that is over; returns how many were counted only, if any were.
    pub(super) fn close(&mut self, now: Mono) -> Option<u64> {
        self.poll_timeout().filter(|&end| now >= end)?;
        let untold = std::mem::take(self).untold;
        (untold > 0).then_some(untold)
    }
}
