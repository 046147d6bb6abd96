//! One output that has a value of its own: what it is to be, what it is known to be, and what is under way.

use std::time::Duration;

use gatehouse_core::Mono;
use serde::{Deserialize, Serialize};

use super::interlock::Motion;
use crate::effect::ActId;

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// Names an output of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lead {
    Open,
    Close,
    Stop,
    HoldOpen,
    Lock,
}

impl Lead {
    /// The output that gives a motion.
    pub(super) fn of(motion: Motion) -> Lead {
        match motion {
            Motion::Open => Lead::Open,
            Motion::Close => Lead::Close,
            Motion::Stop => Lead::Stop,
        }
    }

    /// The name in events, for the output set to what it is for (`true`) or back.
    pub(super) fn act(self, set: bool) -> &'static str {
        match (self, set) {
            (Lead::Open, true) => "open",
            (Lead::Open, false) => "open_off",
            (Lead::Close, true) => "close",
            (Lead::Close, false) => "close_off",
            (Lead::Stop, true) => "stop",
            (Lead::Stop, false) => "stop_off",
            (Lead::HoldOpen, true) => "hold_open",
            (Lead::HoldOpen, false) => "hold_open_off",
            (Lead::Lock, true) => "unlock",
            (Lead::Lock, false) => "lock",
        }
    }
}

/// How an act went, as far as an output is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    /// It was done.
    Done,
    /// It was not.
    Undone,
    /// Nobody knows.
    Doubt,
}

/// A write that is under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    act: ActId,
    set: bool,
    /// What was known before.
    before: Option<bool>,
}

/// An output that is written, not pulsed. It rests (`false`: contact off, door locked) unless it is set.
///
/// Writing the same value again does no harm, so that writes are repeated until the device confirms them; only the
/// "on" of a momentary contact is not, for that would be a second pulse.
#[derive(Debug)]
pub(super) struct Line {
    /// True for a contact that is on for a moment only.
    pub(super) momentary: bool,
    /// A momentary contact: when it goes off again.
    pub(super) off_at: Option<Mono>,
    settled: Option<bool>,
    flight: Option<Flight>,
    wanted: bool,
    retry_at: Option<Mono>,
    failures: u32,
    worked: bool,
}

impl Line {
    /// `rests` is false after a restart for an output that may have been left set.
    pub(super) fn new(momentary: bool, rests: bool) -> Self {
        Line {
            momentary,
            off_at: None,
            settled: rests.then_some(false),
            flight: None,
            wanted: false,
            retry_at: None,
            failures: 0,
            worked: false,
        }
    }

    /// What is to be written now, if anything. Remembers what is wanted.
    pub(super) fn due(&mut self, now: Mono, wanted: bool) -> Option<bool> {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.retry_at = None;
            self.failures = 0;
        }
        let heading = self.flight.map_or(self.settled, |flight| Some(flight.set));
        let waits = self.flight.is_none() && self.retry_at.is_some_and(|at| now < at);
        (heading != Some(wanted) && !waits && !(self.momentary && wanted)).then_some(wanted)
    }

    /// The output may have changed by itself.
    pub(super) fn doubt(&mut self) {
        match &mut self.flight {
            Some(flight) => flight.before = None,
            None => self.settled = None,
        }
    }

    /// A write was sent. An older one that is still under way counts no more.
    pub(super) fn sent(&mut self, act: ActId, set: bool) {
        let before = self.flight.map_or(self.settled, |_| None);
        self.wanted = set;
        self.worked = true;
        self.flight = Some(Flight { act, set, before });
    }

    /// A write came to its end; `hold` is how long a momentary contact stays on.
    pub(super) fn ended(&mut self, now: Mono, act: ActId, went: Went, hold: Duration) {
        let Some(flight) = self.flight.filter(|flight| flight.act == act) else {
            // Nobody knows which of the two writes came last.
            return self.doubt();
        };
        self.flight = None;
        self.settled = match went {
            Went::Done => Some(flight.set),
            Went::Undone => flight.before,
            Went::Doubt => None,
        };
        if self.momentary && flight.set {
            self.off_at = self.off_at.and((went != Went::Undone).then(|| now + hold));
            return;
        }
        if went == Went::Done {
            self.failures = 0;
            self.retry_at = None;
        } else {
            let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(8)).min(RETRY_LAST);
            self.failures = self.failures.saturating_add(1);
            self.retry_at = Some(now + pause);
        }
    }

    /// When it has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.retry_at.into_iter().chain(self.off_at).min()
    }

    /// True while it may be set.
    pub(super) fn engaged(&self) -> bool {
        self.wanted || self.flight.is_some() || self.settled != Some(false)
    }

    /// True when it was written since the start.
    pub(super) fn worked(&self) -> bool {
        self.worked
    }

    /// True when it is known to be so.
    pub(super) fn is(&self, set: bool) -> bool {
        self.flight.is_none() && self.settled == Some(set)
    }

    /// Writes of the same value that failed one after the other.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Mono = |s| Mono::from_millis(s * 1000);
    const HOLD: Duration = Duration::from_millis(500);

    #[test]
    fn a_write_is_repeated_ever_more_rarely_until_it_is_confirmed() {
        let mut line = Line::new(false, true);
        let (mut at, mut pauses) = (S(0), Vec::new());
        for n in 0..6 {
            assert_eq!(line.due(at, true), Some(true));
            line.sent(ActId(n), true);
            assert_eq!(line.due(at, true), None, "one at a time");
            line.ended(at, ActId(n), Went::Doubt, HOLD);
            let next = line.poll_timeout().unwrap();
            pauses.push(next.since(at).as_secs());
            at = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        line.sent(ActId(9), true);
        line.ended(at, ActId(9), Went::Done, HOLD);
        assert!(line.is(true) && line.engaged());
        assert_eq!(line.due(at, false), Some(false));
    }

    #[test]
    fn the_on_of_a_momentary_contact_is_never_repeated_and_its_off_always_follows_a_doubt() {
        let mut line = Line::new(true, true);
        line.off_at = Some(S(10));
        line.sent(ActId(1), true);
        line.ended(S(1), ActId(1), Went::Doubt, HOLD);
        assert_eq!(line.due(S(1), true), None);
        assert_eq!(line.poll_timeout(), Some(S(1) + HOLD));
        assert_eq!(line.due(S(2), false), Some(false));
    }

    #[test]
    fn an_on_that_was_not_done_needs_no_off() {
        let mut line = Line::new(true, true);
        line.off_at = Some(S(10));
        line.sent(ActId(1), true);
        line.ended(S(1), ActId(1), Went::Undone, HOLD);
        assert_eq!(line.off_at, None);
        assert_eq!(line.due(S(2), false), None);
        assert!(!line.engaged());
    }

    #[test]
    fn an_older_write_that_ends_later_leaves_the_output_unknown() {
        let mut line = Line::new(false, true);
        line.sent(ActId(1), true);
        line.sent(ActId(2), false);
        line.ended(S(1), ActId(2), Went::Done, HOLD);
        line.ended(S(2), ActId(1), Went::Done, HOLD);
        assert_eq!(line.due(S(2), false), Some(false), "the door may be unlocked: lock it again");
    }
}
