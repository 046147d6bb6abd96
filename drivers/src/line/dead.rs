//! Lost devices: when to probe them, and how much of the line's time that may take from the others.

use std::time::Duration;

use fastrand::Rng;
use gatehouse_core::Mono;

/// A device that is lost again this soon after it came back goes on with its longer pauses.
const STEADY: Duration = Duration::from_secs(60);

/// The pauses between the probes of one device.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    level: u32,
    probes: u32,
    back_since: Option<Mono>,
    /// When the next probe is due.
    pub(super) probe_at: Mono,
}

impl Backoff {
    /// The device was lost.
    pub(super) fn lost(&mut self, now: Mono, limits: (Duration, Duration), rng: &mut Rng) {
        if self.back_since.is_none_or(|since| now.since(since) >= STEADY) {
            self.level = 0;
        }
        self.probe_at = now + self.pause(limits, rng);
    }

    /// A probe got no answer.
    pub(super) fn failed(&mut self, now: Mono, limits: (Duration, Duration), rng: &mut Rng) {
        self.probes = self.probes.wrapping_add(1);
        self.probe_at = now + self.pause(limits, rng);
    }

    /// It answers again.
    pub(super) fn back(&mut self, now: Mono) {
        self.back_since = Some(now);
    }

    /// Probes without an answer so far; successive probes try different steps and, now and then, more patience.
    pub(super) fn probes(&self) -> u32 {
        self.probes
    }

    /// `min`, doubled with each call up to `max`, and between 75 % and 125 % of that.
    fn pause(&mut self, (min, max): (Duration, Duration), rng: &mut Rng) -> Duration {
        let pause = min.saturating_mul(1 << self.level.min(20)).min(max);
        self.level = (self.level + 1).min(20);
        pause.mul_f64(0.75 + 0.5 * rng.f64())
    }
}

/// What lost devices may take from the others: a share of the time, paid for only when a probe kept a due poll waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    since: Mono,
    owed: Duration,
}

impl Budget {
    /// One fiftieth: 2 % of the line.
    const SHARE: u32 = 50;

    pub(super) fn new(now: Mono) -> Self {
        Budget { since: now, owed: Duration::ZERO }
    }

    /// When probes are affordable again.
    pub(super) fn free_at(&self) -> Mono {
        self.since + self.owed * Self::SHARE
    }

    /// A probe kept due polls waiting for this long.
    pub(super) fn charge(&mut self, now: Mono, cost: Duration) {
        let paid = now.since(self.since) / Self::SHARE;
        self.owed = self.owed.saturating_sub(paid) + cost;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

    #[test]
    fn pauses_double_up_to_the_limit_and_start_again_after_a_steady_time() {
        let (mut backoff, mut rng) = (Backoff::default(), Rng::with_seed(1));
        let mut now = Mono::from_millis(0);
        backoff.lost(now, LIMITS, &mut rng);
        for expected in [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0] {
            let pause = now.until(backoff.probe_at).as_secs_f64();
            assert!((0.75 * expected..=1.25 * expected).contains(&pause), "{pause} is not about {expected}");
            now = backoff.probe_at;
            backoff.failed(now, LIMITS, &mut rng);
        }
        backoff.back(now);
        backoff.lost(now + Duration::from_secs(10), LIMITS, &mut rng);
        assert!((now + Duration::from_secs(10)).until(backoff.probe_at).as_secs() > 200, "it was back only briefly");
        backoff.back(now);
        backoff.lost(now + Duration::from_secs(61), LIMITS, &mut rng);
        assert!((now + Duration::from_secs(61)).until(backoff.probe_at).as_secs() < 7);
    }

    #[test]
    fn probes_take_at_most_a_fiftieth_of_the_time_from_others() {
        let mut budget = Budget::new(Mono(0));
        assert_eq!(budget.free_at(), Mono(0));
        budget.charge(Mono::from_millis(100), Duration::from_millis(100));
        assert_eq!(budget.free_at(), Mono::from_millis(100 + 50 * 100));
        budget.charge(Mono::from_millis(5100), Duration::from_millis(10));
        assert_eq!(budget.free_at(), Mono::from_millis(5100 + 500));
    }
}
