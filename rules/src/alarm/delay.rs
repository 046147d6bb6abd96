//! From the truth of a condition to the condition of an alarm: the on-delay, the off-delay, and missing data.

use std::time::Duration;

use gatehouse_core::Mono;

/// What is known of a condition at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// An input that decides it is missing. This freezes everything: no delay goes on, nothing is raised or cleared.
    Missing,
}

/// How much of a delay is over. It goes on only while the truth that it waits for is known to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    ran: Duration,
    since: Option<Mono>,
    kept: Duration,
}

/// The condition of one alarm and the delay that runs towards its change.
///
/// This is the life of a Prometheus alert (rules/alerting.go): a condition that holds for the on-delay without a
/// break becomes the alarm's condition; a break while pending starts the delay anew; the alarm's condition goes once
/// the condition has not held for the whole off-delay. Missing data alone differs: there it counts as false, here it
/// stops the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delay {
    Off,
    /// Pending: holds, and not yet for long enough.
    Rising(Progress),
    On,
    /// Holds no more, and not yet for long enough.
    Falling(Progress),
}

/// Shortest time between two writes of a delay's progress to the journal, so that a condition that hovers about its
/// limit costs no flash.
const CHECKPOINT_MIN: Duration = Duration::from_secs(15);

impl Progress {
    pub(super) fn frozen(ran: Duration) -> Self {
        Progress { ran, since: None, kept: ran }
    }

    fn running(now: Mono) -> Self {
        Progress { ran: Duration::ZERO, since: Some(now), kept: Duration::ZERO }
    }

    fn ran(&self, now: Mono) -> Duration {
        self.ran + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    fn run(&mut self, now: Mono) {
        self.since = self.since.or(Some(now));
    }

    fn freeze(&mut self, now: Mono) {
        self.ran = self.ran(now);
        self.since = None;
    }

    /// When `target` will have run.
    fn reaches(&self, target: Duration) -> Option<Mono> {
        self.since.map(|since| since + target.saturating_sub(self.ran))
    }

    /// The progress that is to be kept next; at least `target` when none is any more.
    fn checkpoint(&self, target: Duration) -> Duration {
        self.kept + (target / 4).max(CHECKPOINT_MIN)
    }
}

impl Delay {
    /// Whether the alarm's condition holds.
    pub(super) fn holds(&self) -> bool {
        matches!(self, Delay::On | Delay::Falling(_))
    }

    /// Takes a change of truth; returns the alarm's condition when that changed with it.
    pub(super) fn turn(&mut self, now: Mono, truth: Truth, (on, off): (Duration, Duration)) -> Option<bool> {
        match (truth, &mut *self) {
            (Truth::True, Delay::Off) if on.is_zero() => {
                *self = Delay::On;
                return Some(true);
            }
            (Truth::True, Delay::Off) => *self = Delay::Rising(Progress::running(now)),
            (Truth::True, Delay::Falling(_)) => *self = Delay::On,
            (Truth::False, Delay::On) if off.is_zero() => {
                *self = Delay::Off;
                return Some(false);
            }
            (Truth::False, Delay::On) => *self = Delay::Falling(Progress::running(now)),
            (Truth::False, Delay::Rising(_)) => *self = Delay::Off,
            (Truth::True, Delay::Rising(progress)) | (Truth::False, Delay::Falling(progress)) => progress.run(now),
            (Truth::Missing, Delay::Rising(progress) | Delay::Falling(progress)) => progress.freeze(now),
            (Truth::True | Truth::Missing, Delay::On) | (Truth::False | Truth::Missing, Delay::Off) => {}
        }
        None
    }

    /// Lets a delay that is over have its effect; returns the alarm's condition when that changed.
    pub(super) fn tick(&mut self, now: Mono, (on, off): (Duration, Duration)) -> Option<bool> {
        let (progress, target, then) = match self {
            Delay::Off | Delay::On => return None,
            Delay::Rising(progress) => (progress, on, Delay::On),
            Delay::Falling(progress) => (progress, off, Delay::Off),
        };
        if progress.reaches(target).is_none_or(|at| at > now) {
            return None;
        }
        *self = then;
        Some(self.holds())
    }

    /// When [`Delay::tick`] or [`Delay::take_checkpoint`] has something to do.
    pub(super) fn due(&self, (on, off): (Duration, Duration)) -> Option<Mono> {
        let (progress, target) = match self {
            Delay::Off | Delay::On => return None,
            Delay::Rising(progress) => (progress, on),
            Delay::Falling(progress) => (progress, off),
        };
        progress.reaches(target.min(progress.checkpoint(target)))
    }

    /// True when progress has been made that is worth keeping: from the first quarter of the delay on, and at least
    /// 15 s.
    pub(super) fn take_checkpoint(&mut self, now: Mono, (on, off): (Duration, Duration)) -> bool {
        let (progress, target) = match self {
            Delay::Off | Delay::On => return false,
            Delay::Rising(progress) => (progress, on),
            Delay::Falling(progress) => (progress, off),
        };
        let ran = progress.ran(now);
        let worth = ran >= progress.checkpoint(target);
        if worth {
            progress.kept = ran;
        }
        worth
    }

    /// What a restart would find of a running delay.
    pub(super) fn kept_progress(&self) -> Duration {
        match self {
            Delay::Off | Delay::On => Duration::ZERO,
            Delay::Rising(progress) | Delay::Falling(progress) => progress.kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Source: reference machine of the protocol hand-over.
    const SCENARIOS: &str = include_str!("../../vectors/alarm-scenarios.json");

    fn at(second: u64) -> Mono {
        Mono::from_millis(second * 1000)
    }

    #[test]
    fn the_prometheus_timelines_hold_at_their_instants() {
        let file: Value = serde_json::from_str(SCENARIOS).unwrap();
        for case in file["prometheus"].as_array().unwrap() {
            let seconds = |key: &str| Duration::from_secs(case[key].as_u64().unwrap());
            let delays = (seconds("for_s"), seconds("keep_firing_for_s"));
            let mut delay = Delay::Off;
            let mut now = at(0);
            let conditions = case["condition"].as_array().unwrap();
            for (condition, expected) in conditions.iter().zip(case["state_after_eval"].as_array().unwrap()) {
                let truth = if condition == 1 { Truth::True } else { Truth::False };
                delay.turn(now, truth, delays);
                delay.tick(now, delays);
                let state = match delay {
                    Delay::Off => "inactive",
                    Delay::Rising(_) => "pending",
                    Delay::On | Delay::Falling(_) => "firing",
                };
                assert_eq!(state, expected, "{} at {now:?}", case["id"]);
                now = now + seconds("step_s");
            }
        }
    }

    #[test]
    fn missing_data_stops_the_clock_and_it_goes_on_where_it_stood() {
        let delays = (Duration::from_secs(30), Duration::from_secs(20));
        let mut delay = Delay::Off;
        delay.turn(at(0), Truth::True, delays);
        delay.turn(at(20), Truth::Missing, delays);
        assert_eq!(delay.due(delays), None);
        assert_eq!(delay.tick(at(1000), delays), None);
        delay.turn(at(1000), Truth::True, delays);
        assert_eq!(delay.tick(at(1009), delays), None);
        assert_eq!(delay.tick(at(1010), delays), Some(true));
        delay.turn(at(1020), Truth::False, delays);
        delay.turn(at(1030), Truth::Missing, delays);
        assert_eq!(delay.tick(at(5000), delays), None, "missing data never clears");
        delay.turn(at(5000), Truth::False, delays);
        assert_eq!(delay.tick(at(5010), delays), Some(false));
    }

    #[test]
    fn progress_is_kept_by_quarters_and_a_short_delay_not_at_all() {
        let long = (Duration::from_secs(600), Duration::ZERO);
        let mut delay = Delay::Off;
        delay.turn(at(0), Truth::True, long);
        assert_eq!(delay.due(long), Some(at(150)));
        assert!(!delay.take_checkpoint(at(149), long));
        assert!(delay.take_checkpoint(at(150), long));
        assert_eq!(delay.kept_progress(), Duration::from_secs(150));
        assert_eq!(delay.due(long), Some(at(300)));
        let short = (Duration::from_secs(10), Duration::ZERO);
        let mut delay = Delay::Off;
        delay.turn(at(0), Truth::True, short);
        assert_eq!(delay.due(short), Some(at(10)));
    }
}
