//! Due times on a fixed cadence: multiples of the interval from an origin, without drift.

use std::time::Duration;

use gatehouse_core::Mono;

/// The due times of one poll group.
///
/// A late poll does not move the next one; slots that pass while the line is busy are skipped and counted. A poll
/// that is late already when it becomes due again queues behind those that wait, so that overload slows all alike.
#[derive(Debug, Clone)]
pub(super) struct Cadence {
    origin: Mono,
    interval: Duration,
    slot: u64,
    turn: Mono,
    extra: bool,
}

impl Cadence {
    /// Slots at `origin`, `origin + interval`, ... An interval below 1 ms is taken as 1 ms.
    pub(super) fn new(origin: Mono, interval: Duration) -> Self {
        Cadence { origin, interval: interval.max(Duration::from_millis(1)), slot: 0, turn: origin, extra: false }
    }

    /// Time from one slot to the next.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// When its next poll may begin; among several the earliest goes first.
    pub(super) fn turn(&self) -> Mono {
        self.turn
    }

    /// Begins the poll of the latest slot that has come; returns how many slots were skipped.
    pub(super) fn begin(&mut self, now: Mono) -> u64 {
        let latest = now.since(self.origin).as_nanos() / self.interval.as_nanos();
        let latest = u64::try_from(latest).unwrap_or(u64::MAX);
        if latest > self.slot {
            let skipped = latest - self.slot;
            self.slot = latest;
            return skipped;
        }
        self.extra = now < self.slot_at(self.slot);
        0
    }

    /// The poll of this slot came to its end.
    pub(super) fn finish(&mut self, now: Mono) {
        if !std::mem::take(&mut self.extra) {
            self.slot += 1;
        }
        self.turn = self.slot_at(self.slot).max(now);
    }

    /// Goes on with another interval from the same origin. A poll that is due or under way keeps its turn; the next one
    /// is at the first slot of the new interval that has not come.
    pub(super) fn retime(&mut self, now: Mono, interval: Duration, active: bool) {
        let interval = interval.max(Duration::from_millis(1));
        if interval == self.interval {
            return;
        }
        self.interval = interval;
        let passed = u64::try_from(now.since(self.origin).as_nanos() / interval.as_nanos()).unwrap_or(u64::MAX);
        let begun = now >= self.origin;
        let waits = active || self.turn <= now;
        // The end of a poll moves on by one slot, unless it was beside the slots.
        self.slot = if begun && (!waits || self.extra) { passed.saturating_add(1) } else { passed };
        if !waits {
            self.turn = self.slot_at(self.slot);
        }
    }

    /// Makes a poll due now, beside the slots.
    pub(super) fn hurry(&mut self, now: Mono) {
        self.turn = self.turn.min(now);
    }

    fn slot_at(&self, slot: u64) -> Mono {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        Mono(self.origin.0.saturating_add(interval.saturating_mul(slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Mono = Mono::from_millis;

    #[test]
    fn a_late_poll_does_not_move_the_next() {
        let mut cadence = Cadence::new(MS(100), Duration::from_millis(1000));
        for slot in 0..1000 {
            let due = MS(100 + 1000 * slot);
            assert_eq!(cadence.turn(), due);
            assert_eq!(cadence.begin(due + Duration::from_millis(slot % 400)), 0);
            cadence.finish(due + Duration::from_millis(slot % 400 + 500));
        }
    }

    #[test]
    fn missed_slots_are_skipped_and_counted_and_the_latest_is_served_at_once() {
        let mut cadence = Cadence::new(MS(0), Duration::from_millis(100));
        assert_eq!(cadence.begin(MS(0)), 0);
        cadence.finish(MS(350));
        assert_eq!(cadence.turn(), MS(350), "the slots at 100, 200 and 300 have passed");
        assert_eq!(cadence.begin(MS(360)), 2);
        cadence.finish(MS(370));
        assert_eq!(cadence.turn(), MS(400));
    }

    #[test]
    fn another_interval_counts_from_the_same_origin_and_takes_no_turn_away() {
        let (fast, slow) = (Duration::from_millis(1000), Duration::from_millis(5000));
        let mut cadence = Cadence::new(MS(100), fast);
        for slot in 0..3 {
            assert_eq!(cadence.begin(MS(100 + 1000 * slot)), 0);
            cadence.finish(MS(100 + 1000 * slot + 50));
        }
        cadence.retime(MS(2500), slow, false);
        assert_eq!(cadence.turn(), MS(5100));
        assert_eq!(cadence.begin(MS(5100)), 0);
        cadence.retime(MS(5120), fast, true);
        cadence.finish(MS(5150));
        assert_eq!(cadence.turn(), MS(6100), "the poll under way takes the slot that has come");
        cadence.retime(MS(6200), slow, false);
        assert_eq!(cadence.turn(), MS(6100), "what is due stays due");
        assert_eq!(cadence.begin(MS(6200)), 0, "no slot of the new interval was missed");
        cadence.finish(MS(6250));
        assert_eq!(cadence.turn(), MS(10_100));
    }

    #[test]
    fn an_interval_that_changes_before_the_first_slot_moves_no_slot() {
        let mut cadence = Cadence::new(MS(500), Duration::from_millis(1000));
        cadence.retime(MS(10), Duration::from_millis(3000), false);
        assert_eq!(cadence.turn(), MS(500));
        cadence.begin(MS(500));
        cadence.finish(MS(510));
        assert_eq!(cadence.turn(), MS(3500));
    }

    #[test]
    fn a_poll_out_of_turn_takes_no_slot() {
        let mut cadence = Cadence::new(MS(500), Duration::from_millis(1000));
        cadence.hurry(MS(10));
        assert_eq!(cadence.turn(), MS(10));
        assert_eq!(cadence.begin(MS(10)), 0);
        cadence.finish(MS(20));
        assert_eq!(cadence.turn(), MS(500));
    }
}
