//! What is learned of a device's speed, and the time it is allowed for that.

use std::time::Duration;

/// Time between the end of a request and the beginning of its reply: smoothed, its spread, and a slowly forgotten peak.
///
/// Mean and spread as TCP estimates its retransmission time (RFC 6298, section 2); the peak keeps devices that are slow
/// now and then from being given up each time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turnaround {
    known: bool,
    mean: u64,
    spread: u64,
    peak: u64,
}

/// Slack for schedulers and adapters: USB adapters hand bytes over every 16 ms unless told otherwise.
const SLACK: Duration = Duration::from_millis(20);

impl Turnaround {
    /// Learns from a reply in time.
    pub(super) fn learn(&mut self, took: Duration) {
        let took = nanos(took);
        if self.known {
            self.spread = (3 * self.spread + self.mean.abs_diff(took)) / 4;
            self.mean = (7 * self.mean + took) / 8;
        } else {
            (self.known, self.mean, self.spread) = (true, took, took / 2);
        }
        self.peak = took.max(self.peak - self.peak / 512);
    }

    /// Learns from a reply that came too late.
    pub(super) fn learn_late(&mut self, took: Duration) {
        self.peak = self.peak.max(nanos(took));
    }

    /// The smoothed time; `None` before the first reply.
    pub(super) fn mean(&self) -> Option<Duration> {
        self.known.then(|| Duration::from_nanos(self.mean))
    }

    /// Time to allow for a reply to begin, doubled for each of the last `silent` requests that got no answer.
    pub(super) fn timeout(&self, silent: u32, floor: Duration, ceiling: Duration) -> Duration {
        if !self.known {
            return ceiling;
        }
        let learned = (self.mean + 4 * self.spread).max(self.peak + self.peak / 4);
        let learned = (Duration::from_nanos(learned) + SLACK).max(floor);
        learned.saturating_mul(1 << silent.min(8)).min(ceiling)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 16).min(u64::MAX / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_millis(50);
    const CEILING: Duration = Duration::from_secs(1);

    #[test]
    fn an_unknown_device_gets_the_ceiling_and_a_fast_one_the_floor() {
        let mut seen = Turnaround::default();
        assert_eq!(seen.timeout(0, FLOOR, CEILING), CEILING);
        for _ in 0..20 {
            seen.learn(Duration::from_millis(5));
        }
        assert_eq!(seen.timeout(0, FLOOR, CEILING), FLOOR);
        assert_eq!(seen.timeout(2, FLOOR, CEILING), 4 * FLOOR, "silence doubles it");
        assert_eq!(seen.timeout(99, FLOOR, CEILING), CEILING);
    }

    #[test]
    fn a_late_reply_raises_the_timeout_above_itself() {
        let mut seen = Turnaround::default();
        for _ in 0..100 {
            seen.learn(Duration::from_millis(5));
        }
        seen.learn_late(Duration::from_millis(300));
        assert!(seen.timeout(0, FLOOR, CEILING) > Duration::from_millis(300));
        for _ in 0..47 {
            seen.learn(Duration::from_millis(5));
        }
        assert!(seen.timeout(0, FLOOR, CEILING) > Duration::from_millis(300), "it is remembered over 47 replies");
    }
}
