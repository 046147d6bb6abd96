//! One lane's cursors: what is still to go on its live topic and on its backfill topic, and what holds it up.

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::Mono;

use crate::ledger::Stream;

/// The first pause of a held stream; it doubles with each refused probe.
const HOLD_FIRST: Duration = Duration::from_secs(1);
/// The same where only a subscriber lacks: after a restart of the broker the core is back in no time.
const HOLD_FIRST_UNHEARD: Duration = Duration::from_millis(100);
/// The longest pause of a held stream: at one record a probe, some 2 MB a day.
const HOLD_LAST: Duration = Duration::from_secs(60);

/// Why a stream is held up, and when it is probed next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    /// The PUBACK reason; 0 when the store could not be read.
    pub(crate) reason: u8,
    pub(crate) until: Mono,
    tries: u32,
    probing: bool,
}

/// The state of one topic of a lane.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamState {
    pub(crate) in_flight: usize,
    pub(crate) hold: Option<Hold>,
}

impl StreamState {
    /// True when a message may leave now: a held stream sends one probe at a time.
    pub(crate) fn may_send(&self, now: Mono) -> bool {
        self.hold.is_none_or(|hold| now >= hold.until && !hold.probing && self.in_flight == 0)
    }

    pub(crate) fn sent(&mut self) {
        self.in_flight += 1;
        if let Some(hold) = &mut self.hold {
            hold.probing = true;
        }
    }

    /// Holds the stream up, longer with each refused probe. True when it was free before.
    pub(crate) fn hold(&mut self, now: Mono, reason: u8) -> bool {
        let tries = match self.hold {
            Some(hold) if hold.probing => hold.tries + 1,
            Some(_) => return false,
            None => 0,
        };
        let first = if reason == 0x10 { HOLD_FIRST_UNHEARD } else { HOLD_FIRST };
        let pause = first.saturating_mul(1 << tries.min(10)).min(HOLD_LAST);
        let was_free = self.hold.is_none();
        self.hold = Some(Hold { reason, until: now + pause, tries, probing: false });
        was_free
    }

    /// Takes note of a success. True when it frees the stream.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.hold.take_if(|hold| hold.probing).is_some()
    }

    /// The probe was answered, but with nothing that tells whether the stream is free.
    pub(crate) fn inconclusive(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.probing = false;
        }
    }

    fn reset(&mut self) {
        self.in_flight = 0;
        self.inconclusive();
    }
}

/// The cursors of one lane.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    /// The highest number that may be sent.
    pub(crate) newest: u64,
    /// The next number for the live topic.
    pub(crate) live_next: u64,
    /// Since when a live record waits.
    pub(crate) waiting_since: Option<Mono>,
    /// What is to go on the backfill topic: disjoint intervals, ascending. At most one more than the window.
    todo: VecDeque<(u64, u64)>,
    /// Records up to here travel alone, so that a refusal hits one record only.
    pub(crate) singly_until: u64,
    /// In watermark mode: since when the core has said nothing new of what was delivered.
    pub(crate) unconfirmed_since: Option<Mono>,
    /// When the lane was last searched for forgotten records.
    pub(crate) swept: Option<Mono>,
    pub(crate) live: StreamState,
    pub(crate) backfill: StreamState,
}

impl LaneState {
    /// A fresh link: everything stored and unacknowledged is backfill, what comes from now on is live.
    pub(crate) fn connected(&mut self, newest: u64, first_unacked: Option<u64>) {
        self.newest = newest;
        self.live_next = newest + 1;
        self.waiting_since = None;
        self.unconfirmed_since = None;
        self.swept = None;
        self.todo.clear();
        self.todo.extend(first_unacked.filter(|&first| first <= newest).map(|first| (first, newest)));
        self.live.reset();
        self.backfill.reset();
        // What was refused as live is backfill now, and no more welcome for that: mosquitto 2.0.11 drops the whole
        // link after each refusal, so that a hasty probe would cost the other lanes theirs.
        self.backfill.hold = self.backfill.hold.or(self.live.hold);
    }

    pub(crate) fn stream(&mut self, stream: Stream) -> &mut StreamState {
        match stream {
            Stream::Live => &mut self.live,
            Stream::Backfill => &mut self.backfill,
        }
    }

    /// Takes note of a success on one topic; a refusal that concerned the whole lane is over for both. True when that
    /// frees the lane.
    pub(crate) fn succeeded(&mut self, stream: Stream) -> bool {
        if !self.stream(stream).succeeded() {
            return false;
        }
        for stream in [&mut self.live, &mut self.backfill] {
            stream.hold.take_if(|hold| hold.reason >= 0x80);
        }
        self.held().is_none()
    }

    pub(crate) fn idle(&self) -> bool {
        self.live.in_flight == 0 && self.backfill.in_flight == 0
    }

    pub(crate) fn held(&self) -> Option<u8> {
        self.live.hold.or(self.backfill.hold).map(|hold| hold.reason)
    }

    /// How many numbers wait for the live topic.
    pub(crate) fn live_waiting(&self) -> u64 {
        (self.newest + 1).saturating_sub(self.live_next)
    }

    /// The first interval for the backfill topic.
    pub(crate) fn next_todo(&self) -> Option<(u64, u64)> {
        self.todo.front().copied()
    }

    /// Takes numbers up to `last` from the intervals.
    pub(crate) fn done(&mut self, last: u64) {
        while let Some(front) = self.todo.front_mut() {
            if front.1 <= last {
                self.todo.pop_front();
            } else {
                front.0 = front.0.max(last + 1);
                return;
            }
        }
    }

    /// Puts numbers back for the backfill topic, in their place.
    pub(crate) fn put_back(&mut self, mut first: u64, mut last: u64) {
        let mut at = self.todo.partition_point(|&(_, end)| end + 1 < first);
        while let Some(&(a, b)) = self.todo.get(at).filter(|&&(a, _)| a <= last.saturating_add(1)) {
            (first, last) = (first.min(a), last.max(b));
            self.todo.remove(at);
        }
        at = at.min(self.todo.len());
        self.todo.insert(at, (first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_goes_to_its_place() {
        let mut lane = LaneState::default();
        lane.connected(100, Some(50));
        lane.done(79);
        lane.put_back(105, 107);
        lane.put_back(60, 61);
        lane.put_back(55, 57);
        assert_eq!(lane.todo, [(55, 57), (60, 61), (80, 100), (105, 107)]);
        lane.put_back(58, 59);
        lane.put_back(101, 104);
        assert_eq!(lane.todo, [(55, 61), (80, 107)]);
        lane.done(80);
        assert_eq!(lane.next_todo(), Some((81, 107)));
        lane.done(200);
        assert_eq!(lane.next_todo(), None);
    }

    #[test]
    fn a_held_stream_probes_with_one_message_at_a_time_and_ever_more_rarely() {
        let mut stream = StreamState::default();
        stream.sent();
        stream.sent();
        let now = Mono::from_millis(0);
        assert!(stream.hold(now, 0x87));
        stream.in_flight = 0;
        assert!(!stream.hold(now, 0x87), "the second refusal of the same window changes nothing");
        assert!(!stream.may_send(now + Duration::from_millis(999)));
        let mut at = now + HOLD_FIRST;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(stream.may_send(at));
            stream.sent();
            assert!(!stream.may_send(at), "one probe at a time");
            stream.in_flight -= 1;
            assert!(!stream.hold(at, 0x87));
            let until = stream.hold.unwrap().until;
            pauses.push(until.since(at).as_secs());
            at = until;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        stream.sent();
        assert!(stream.succeeded());
        assert!(stream.hold.is_none());
    }
}
