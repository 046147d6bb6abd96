//! The counts of ISA-18.2 and EEMUA 191: how many alarms a person has to bear.

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::Mono;

/// An alarm that has stood for longer than this is stale.
pub(super) const STALE: Duration = Duration::from_secs(24 * 3600);
/// An alarm that is over within this is fleeting: nobody could have acted.
pub(super) const FLEETING: Duration = Duration::from_secs(10);
/// Length of a window, in seconds.
const WINDOW_S: u64 = 600;
/// Windows that are remembered: 30 days.
const WINDOWS: usize = 30 * 144;
/// More annunciations than this make a window a bad one.
const BAD_WINDOW: u16 = 10;

/// How many alarms of one priority stand how. Masked alarms are those with a condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PriorityCounts {
    /// The condition holds and the alarm is shown.
    pub active: u32,
    /// Shown, and nobody has acknowledged it.
    pub unacknowledged: u32,
    /// Shelved, whether or not the condition holds.
    pub shelved: u32,
    /// The condition holds, and another alarm explains it.
    pub suppressed: u32,
    /// Out of service, whether or not the condition holds.
    pub out_of_service: u32,
}

/// The figures of section 3 of the hand-over's alarm document. Rates are since the start of the daemon, at most 30 days.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// By priority, P0 first.
    pub by_priority: [PriorityCounts; 4],
    /// Entries to unacknowledged since the start.
    pub occurrences: u64,
    /// Entries to unacknowledged in the hour before, to the window of ten minutes.
    pub last_hour: u32,
    /// Annunciations in the last ten minutes.
    pub last_ten_minutes: u32,
    /// Share of ten-minute windows with more than ten entries, 0 to 1.
    pub bad_windows: f64,
    /// Share of the ten most frequent alarms among all entries, 0 to 1.
    pub top_ten: f64,
    /// Shown with their condition for more than 24 h.
    pub stale: u32,
    /// Chattering now.
    pub chattering: u32,
    /// Over within ten seconds and before anybody acknowledged, since the start.
    pub fleeting: u64,
    /// True while a flood is on.
    pub flood: bool,
    /// Conditions and truths for alarms that do not exist and cannot be made, since the start.
    pub refused: u64,
}

/// Entries to unacknowledged in windows of ten minutes.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Complete windows, the newest last.
    complete: VecDeque<u16>,
    /// Number of the current window since boot, and its entries.
    current: Option<(u64, u16)>,
    pub(super) total: u64,
}

impl Windows {
    /// Begins to count.
    pub(super) fn begin(&mut self, now: Mono) {
        self.roll(now);
    }

    pub(super) fn note(&mut self, now: Mono) {
        self.roll(now);
        self.total += 1;
        if let Some((_, count)) = &mut self.current {
            *count = count.saturating_add(1);
        }
    }

    /// Entries in the current window and the five before it.
    pub(super) fn last_hour(&self, now: Mono) -> u32 {
        let Some((window, count)) = self.current else { return 0 };
        let gone = usize::try_from(number(now).saturating_sub(window)).unwrap_or(usize::MAX);
        if gone > 5 {
            return 0;
        }
        let before = self.complete.iter().rev().take(5 - gone).map(|count| u32::from(*count)).sum::<u32>();
        before + u32::from(count)
    }

    /// Share of bad windows among the complete ones.
    pub(super) fn bad(&self, now: Mono) -> f64 {
        let gone = self.current.map_or(0, |(window, _)| number(now).saturating_sub(window));
        let quiet = gone.saturating_sub(1).min(WINDOWS as u64);
        let last = self.current.filter(|_| gone > 0).map(|(_, count)| count);
        let bad = self.complete.iter().chain(&last).filter(|count| **count > BAD_WINDOW).count();
        share(bad as u64, (self.complete.len() + usize::from(last.is_some())) as u64 + quiet)
    }

    fn roll(&mut self, now: Mono) {
        let at = number(now);
        let Some((window, count)) = self.current.filter(|(window, _)| *window <= at) else {
            self.current = Some((at, 0));
            return;
        };
        if window == at {
            return;
        }
        self.complete.push_back(count);
        for _ in 0..(at - window - 1).min(WINDOWS as u64) {
            self.complete.push_back(0);
        }
        let excess = self.complete.len().saturating_sub(WINDOWS);
        self.complete.drain(..excess);
        self.current = Some((at, 0));
    }
}

/// `part` of `whole`; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn number(at: Mono) -> u64 {
    at.0 / 1_000_000_000 / WINDOW_S
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Mono {
        Mono::from_millis(minute * 60_000)
    }

    #[test]
    fn windows_count_what_came_and_quiet_ones_too() {
        let mut windows = Windows::default();
        windows.begin(at(0));
        for _ in 0..11 {
            windows.note(at(5));
        }
        windows.note(at(25));
        assert_eq!(windows.last_hour(at(29)), 12);
        assert!((windows.bad(at(29)) - 0.5).abs() < 1e-9, "one of two complete windows");
        assert_eq!(windows.last_hour(at(65)), 1);
        assert!((windows.bad(at(95)) - 1.0 / 9.0).abs() < 1e-9);
        assert_eq!(windows.last_hour(at(200)), 0);
        windows.note(at(60 * 24 * 365));
        assert_eq!(windows.complete.len(), WINDOWS);
        assert_eq!(windows.total, 13);
    }
}
