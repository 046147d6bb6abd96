//! When to try again, and at which broker.

use std::time::Duration;

use crate::settings::BackoffSettings;

/// Chooses the broker and the pause before each attempt.
///
/// Every attempt begins with the first broker and takes the others in order without a pause; a pause comes when all
/// have failed. Pauses have full jitter, so that a fleet whose broker comes back does not arrive at once
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Debug)]
pub struct Backoff {
    settings: BackoffSettings,
    brokers: usize,
    broker: usize,
    rounds: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// A back-off over `brokers` brokers; `seed` must differ from box to box.
    pub fn new(settings: BackoffSettings, brokers: usize, seed: u64) -> Self {
        Backoff { settings, brokers, broker: 0, rounds: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// Takes other settings and begins with the first broker.
    pub fn handle_settings(&mut self, settings: BackoffSettings, brokers: usize) {
        (self.settings, self.brokers, self.broker, self.rounds) = (settings, brokers, 0, 0);
    }

    /// The broker to try.
    pub fn broker(&self) -> usize {
        self.broker
    }

    /// The connection proved useful: the next failure begins from the start.
    pub fn handle_success(&mut self) {
        self.rounds = 0;
    }

    /// An attempt failed or a connection ended. Gives the pause before the next attempt.
    pub fn handle_failure(&mut self, was_connected: bool) -> Duration {
        self.broker = if was_connected { 0 } else { (self.broker + 1) % self.brokers.max(1) };
        if self.broker != 0 {
            return Duration::ZERO;
        }
        let ceiling = self.settings.first.saturating_mul(1 << self.rounds.min(16)).min(self.settings.last);
        self.rounds += 1;
        ceiling.mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_pause_after_repeated_failures_is_twenty_seconds() {
        let mut total = Duration::ZERO;
        for seed in 0..400 {
            let mut backoff = Backoff::new(BackoffSettings::default(), 1, seed);
            for _ in 0..10 {
                backoff.handle_failure(false);
            }
            let pause = backoff.handle_failure(false);
            assert!(pause <= Duration::from_secs(40));
            total += pause;
        }
        let mean = total / 400;
        assert!((18..=22).contains(&mean.as_secs()), "{mean:?}");
    }

    #[test]
    fn the_first_pause_is_short() {
        let mut backoff = Backoff::new(BackoffSettings::default(), 1, 7);
        assert!(backoff.handle_failure(true) <= Duration::from_secs(1));
        for _ in 0..9 {
            backoff.handle_failure(false);
        }
        backoff.handle_success();
        assert!(backoff.handle_failure(true) <= Duration::from_secs(1));
    }

    #[test]
    fn brokers_are_tried_in_order_and_the_first_comes_first_again() {
        let mut backoff = Backoff::new(BackoffSettings::default(), 3, 7);
        assert_eq!(backoff.broker(), 0);
        assert_eq!((backoff.handle_failure(false), backoff.broker()), (Duration::ZERO, 1));
        assert_eq!((backoff.handle_failure(false), backoff.broker()), (Duration::ZERO, 2));
        backoff.handle_failure(false);
        assert_eq!(backoff.broker(), 0);
        backoff.handle_failure(false);
        backoff.handle_failure(true);
        assert_eq!(backoff.broker(), 0);
    }
}
