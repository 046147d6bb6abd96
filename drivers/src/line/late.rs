//! Requests that were given up and whose replies may still come.
//!
//! A reply on a serial line carries no transaction. Until a given-up request's reply has come, or can come no more,
//! nothing is sent to that unit whose reply it could be taken for: only the same request again (if repeating it does
//! no harm), or a request whose reply has another length.

use gatehouse_core::{Mono, StepId, StepShape};

/// What makes two requests the same, and whose replies could be taken for each other: those of one station, or as its
/// driver knows better (`Driver::reply_class`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    station: u64,
    hash: u64,
}

impl Fingerprint {
    /// Of a request's bytes to a station.
    pub(super) fn of(station: u64, request: &[u8]) -> Self {
        // FNV-1a, 64 bit.
        let hash = request.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Fingerprint { station, hash }
    }
}

/// One request that was given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenUp {
    /// Place of the device in the line.
    pub(super) device: usize,
    /// The step, while its driver still knows it.
    pub(super) step: Option<StepId>,
    /// Its transaction.
    pub(super) tag: u16,
    /// The request.
    pub(super) request: Fingerprint,
    /// Bytes of the reply that may come.
    pub(super) reply_bytes: usize,
    /// When the request's last byte had left; `None`: it was sent more than once, and the reply may be to either.
    pub(super) end: Option<Mono>,
    /// Until when the reply may come.
    pub(super) until: Mono,
    /// How many replies to it may still come.
    replies: u8,
    /// A different request waits for it: the same request is not sent again either.
    draining: bool,
}

/// The given-up requests of a line, at most [`Outstanding::MAX`].
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    list: Vec<GivenUp>,
}

impl Outstanding {
    const MAX: usize = 64;

    /// True if no late reply is to be expected.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of requests whose replies may still come.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// When the last of them can come no more.
    pub(super) fn latest(&self) -> Option<Mono> {
        self.list.iter().map(|entry| entry.until).max()
    }

    /// The entry at `at`.
    pub(super) fn at(&self, at: usize) -> &GivenUp {
        &self.list[at]
    }

    /// A reply to entry `at` has come; true if none is left to come.
    pub(super) fn arrived(&mut self, at: usize) -> bool {
        self.list[at].replies -= 1;
        let done = self.list[at].replies == 0;
        if done {
            self.list.remove(at);
        }
        done
    }

    /// Forgets what can come no more.
    pub(super) fn expire(&mut self, now: Mono) {
        self.list.retain(|entry| entry.until > now);
    }

    /// A request was given up: its reply may still come until `entry.until`. If it was `answered` while an earlier one
    /// like it was not, that was the reply to either, and the other's may come.
    pub(super) fn expect(&mut self, entry: GivenUp, answered: bool) {
        if let Some(known) = self.list.iter_mut().find(|known| known.request == entry.request) {
            let replies = known.replies.saturating_add(u8::from(!answered));
            let (draining, until) = (known.draining, known.until.max(entry.until));
            *known = GivenUp { draining, replies, until, end: None, ..entry };
            return;
        }
        if self.list.len() == Self::MAX
            && let Some(first) = (0..self.list.len()).min_by_key(|&at| self.list[at].until)
        {
            self.list.swap_remove(first);
        }
        self.list.push(entry);
    }

    /// True if this request was given up and its reply has not come.
    pub(super) fn expects(&self, request: Fingerprint) -> bool {
        self.list.iter().any(|entry| entry.request == request)
    }

    /// True if a reply to another request of the same unit may still come.
    pub(super) fn expects_another(&self, request: Fingerprint) -> bool {
        self.list.iter().any(|entry| entry.request.station == request.station && entry.request != request)
    }

    /// The driver may no longer know the steps of this device.
    pub(super) fn forget_steps(&mut self, device: usize) {
        for entry in self.list.iter_mut().filter(|entry| entry.device == device) {
            entry.step = None;
        }
    }

    /// Until when the request must wait, if a late reply could be taken for its own.
    pub(super) fn holds(&mut self, request: Fingerprint, shape: StepShape, now: Mono) -> Option<Mono> {
        let mut held = None;
        for entry in &mut self.list {
            let same = entry.request == request && shape.repeatable && !entry.draining;
            let confusable = entry.request.station == request.station && entry.reply_bytes == shape.reply_bytes;
            if entry.until > now && confusable && !same {
                entry.draining = true;
                held = held.max(Some(entry.until));
            }
        }
        held
    }
}

/// An entry for a request of `shape`; its reply may come until `until`.
pub(super) fn given_up(
    device: usize,
    (step, tag): (StepId, u16),
    request: Fingerprint,
    reply_bytes: usize,
    (end, until): (Mono, Mono),
) -> GivenUp {
    GivenUp { device, step: Some(step), tag, request, reply_bytes, end: Some(end), until, replies: 1, draining: false }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shape(reply_bytes: usize, repeatable: bool) -> StepShape {
        StepShape { request_bytes: 8, reply_bytes, repeatable, pause_after: Duration::ZERO }
    }

    fn outstanding(station: u64, request: &[u8]) -> Outstanding {
        let mut list = Outstanding::default();
        let times = (Mono(0), Mono(100));
        list.expect(given_up(0, (StepId(1), 0), Fingerprint::of(station, request), 25, times), false);
        list
    }

    #[test]
    fn as_many_replies_are_expected_as_requests_were_given_up() {
        let mut list = outstanding(1, b"A");
        let again = given_up(0, (StepId(1), 0), Fingerprint::of(1, b"A"), 25, (Mono(20), Mono(120)));
        list.expect(again, false);
        list.expect(again, true);
        assert!(!list.arrived(0), "two were given up, the third was answered");
        assert!(list.holds(Fingerprint::of(1, b"B"), shape(25, true), Mono(110)).is_some());
        assert!(list.arrived(0));
    }

    #[test]
    fn after_a_timeout_only_what_cannot_be_confused_goes_to_the_unit() {
        let mut list = outstanding(1, b"A");
        assert_eq!(list.holds(Fingerprint::of(1, b"A"), shape(25, true), Mono(1)), None, "the same again");
        assert_eq!(list.holds(Fingerprint::of(2, b"B"), shape(25, true), Mono(1)), None, "another unit");
        assert_eq!(list.holds(Fingerprint::of(1, b"B"), shape(27, true), Mono(1)), None, "another length");
        assert_eq!(list.holds(Fingerprint::of(1, b"B"), shape(25, true), Mono(1)), Some(Mono(100)));
        assert_eq!(list.holds(Fingerprint::of(1, b"B"), shape(25, true), Mono(100)), None, "its time is over");
    }

    #[test]
    fn a_request_that_must_not_be_repeated_waits_for_its_own_late_reply_too() {
        let mut list = outstanding(1, b"A");
        assert_eq!(list.holds(Fingerprint::of(1, b"A"), shape(25, false), Mono(1)), Some(Mono(100)));
    }

    #[test]
    fn repeating_a_request_cannot_keep_others_waiting_for_ever() {
        let mut list = outstanding(1, b"A");
        assert!(list.holds(Fingerprint::of(1, b"B"), shape(25, true), Mono(1)).is_some());
        assert!(list.holds(Fingerprint::of(1, b"A"), shape(25, true), Mono(1)).is_some(), "now it drains");
    }
}
