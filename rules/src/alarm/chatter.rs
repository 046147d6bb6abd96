//! Chattering: an alarm that comes at least three times within a minute.

use std::time::Duration;

use gatehouse_core::Mono;

/// The span in which on-transitions are counted, the calm that ends chattering, and the time between two reports
/// (spec of the hand-over, section 3).
const MINUTE: Duration = Duration::from_secs(60);
/// So many on-transitions within the span are chattering.
const TRANSITIONS: usize = 3;

/// Whether one alarm chatters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chatter {
    /// The last on-transitions, the oldest first.
    recent: [Option<Mono>; TRANSITIONS],
    /// Since it chatters: when the next report is due.
    report_at: Option<Mono>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChatterDue {
    /// A minute has passed: what happened in it is to be told.
    Report,
    /// A minute without an on-transition: it is over.
    Over,
}

impl Chatter {
    /// One that chattered when the box stopped, and is given a minute to show that it is over.
    pub(super) fn restored(now: Mono) -> Self {
        Chatter { recent: [None, None, Some(now)], report_at: Some(now + MINUTE) }
    }

    /// The alarm's condition came. True when chattering begins with it.
    pub(super) fn on(&mut self, now: Mono) -> bool {
        self.recent.rotate_left(1);
        self.recent[TRANSITIONS - 1] = Some(now);
        let dense = self.recent[0].is_some_and(|first| now.since(first) < MINUTE);
        let begins = dense && self.report_at.is_none();
        if begins {
            self.report_at = Some(now + MINUTE);
        }
        begins
    }

    /// True while it chatters.
    pub(super) fn is_on(&self) -> bool {
        self.report_at.is_some()
    }

    /// When [`Chatter::tick`] has something to say.
    pub(super) fn due(&self) -> Option<Mono> {
        self.report_at.map(|report| report.min(self.calm_at()))
    }

    /// What is due at `now`.
    pub(super) fn tick(&mut self, now: Mono) -> Option<ChatterDue> {
        let report = self.report_at?;
        if now >= self.calm_at() {
            self.report_at = None;
            return Some(ChatterDue::Over);
        }
        if now < report {
            return None;
        }
        self.report_at = Some(now + MINUTE);
        Some(ChatterDue::Report)
    }

    fn calm_at(&self) -> Mono {
        self.recent[TRANSITIONS - 1].unwrap_or_default() + MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Mono {
        Mono::from_millis(second * 1000)
    }

    #[test]
    fn three_times_within_a_minute_is_chattering_until_a_minute_is_calm() {
        let mut chatter = Chatter::default();
        assert!(!chatter.on(at(0)));
        assert!(!chatter.on(at(30)));
        assert!(!chatter.on(at(60)), "the first is a minute ago");
        assert!(chatter.on(at(61)));
        assert!(!chatter.on(at(62)), "it does so already");
        assert_eq!(chatter.due(), Some(at(121)));
        assert_eq!(chatter.tick(at(120)), None);
        assert_eq!(chatter.tick(at(121)), Some(ChatterDue::Report));
        assert_eq!(chatter.tick(at(122)), Some(ChatterDue::Over));
        assert_eq!(chatter.due(), None);
        assert!(!chatter.is_on());
    }
}
