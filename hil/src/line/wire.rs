//! A half-duplex RS-485 pair with its slaves, as a machine that reads no clock.
//!
//! After each [`Wire::handle_bytes`] and whenever [`Wire::poll_timeout`] is due, call [`Wire::poll_transmit`]. Times are
//! nanoseconds of any one clock. Characters take their time: a reply's bytes come when their last bit would have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::faults::{Counts, Faults, count};
use crate::slave::answer::{Memory, answer};
use crate::slave::frame::{open_rtu, seal_rtu};

/// Speed and manners of a simulated line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Bits per second.
    pub baud: u32,
    /// Bits of one character: 10 at 8N1, 11 at 8E1.
    pub char_bits: u8,
    /// Time that a slave takes from the end of a request's silence to the beginning of its reply, in microseconds.
    pub turnaround_us: u32,
}

impl Speed {
    /// 8N1 at this speed, and slaves that answer after 1 ms.
    pub fn new(baud: u32) -> Self {
        Speed { baud, char_bits: 10, turnaround_us: 1000 }
    }

    /// Nanoseconds of so many characters.
    pub fn chars_ns(&self, chars: usize) -> u64 {
        chars as u64 * u64::from(self.char_bits) * 1_000_000_000 / u64::from(self.baud.max(1))
    }

    /// Nanoseconds of 3.5 characters, the silence that separates frames (Modbus over serial line, 2.5.1.1).
    pub fn silence_ns(&self) -> u64 {
        self.chars_ns(7) / 2
    }

    /// Nanoseconds from the begin of one request to the earliest begin of the next:
    /// request, silence, turnaround, reply, silence.
    pub fn transaction_ns(&self, request: usize, reply: usize) -> u64 {
        self.chars_ns(request + reply) + 2 * self.silence_ns() + u64::from(self.turnaround_us) * 1000
    }

    /// Characters that come together: one up to 19200, then eight as from a 16550's receive buffer.
    fn chunk(&self) -> usize {
        if self.baud <= 19_200 { 1 } else { 8 }
    }
}

struct Chunk {
    at: u64,
    bytes: Vec<u8>,
    echo: bool,
}

struct Transmission {
    start: u64,
    frame: Vec<u8>,
}

/// Replies that may wait for a free line; one that comes when these are full is dropped.
const MAX_PENDING: usize = 16;
/// Bytes of a request that are kept: more than any frame has, so that a longer one is no sound request.
const MAX_REQUEST: usize = 512;

/// The pair and what hangs on it.
pub struct Wire {
    speed: Speed,
    units: Vec<(u8, Box<dyn Memory>)>,
    faults: Arc<Faults>,
    counts: Arc<Counts>,
    random: fastrand::Rng,
    replies: u32,
    request: Vec<u8>,
    request_end: u64,
    garbled: bool,
    last_end: Option<u64>,
    // When the master got the first byte of the reply under way.
    heard: Option<u64>,
    sending: VecDeque<Chunk>,
    pending: Vec<Transmission>,
}

impl Wire {
    /// A quiet line with these slaves, by unit.
    pub fn new(speed: Speed, units: Vec<(u8, Box<dyn Memory>)>, faults: Arc<Faults>, counts: Arc<Counts>) -> Self {
        Wire {
            speed,
            units,
            faults,
            counts,
            random: fastrand::Rng::with_seed(u64::from(speed.baud)),
            replies: 0,
            request: Vec::new(),
            request_end: 0,
            garbled: false,
            last_end: None,
            heard: None,
            sending: VecDeque::new(),
            pending: Vec::new(),
        }
    }

    /// Takes what the master began to send at `now`.
    pub fn handle_bytes(&mut self, now: u64, bytes: &[u8]) {
        let busy = self.sending.iter().any(|c| !c.echo);
        if busy || self.last_end == Some(now) {
            self.note_crossing(now);
        } else if self.request.is_empty() {
            self.check_silence(now);
        }
        if busy {
            self.garbled = true;
            self.sending.iter_mut().for_each(|c| c.bytes.iter_mut().for_each(|b| *b ^= 0x55));
        }
        let time = self.speed.chars_ns(bytes.len());
        self.counts.busy_ns.fetch_add(time, Relaxed);
        self.request_end = if self.request.is_empty() { now } else { self.request_end.max(now) } + time;
        if self.request.len() < MAX_REQUEST {
            self.request.extend_from_slice(bytes);
        }
        if self.faults.echo.load(Relaxed) {
            self.sending.push_back(Chunk { at: self.request_end, bytes: bytes.to_vec(), echo: true });
        }
    }

    /// The master sends into a reply. Where it could have heard the reply begin, that is its fault; where a late reply
    /// begins in the same moment, it is nobody's.
    fn note_crossing(&mut self, now: u64) {
        let heard = self.heard.is_some_and(|since| now.saturating_sub(since) >= self.speed.silence_ns());
        count(if heard { &self.counts.collisions } else { &self.counts.crossings });
    }

    fn check_silence(&mut self, now: u64) {
        let Some(end) = self.last_end else { return };
        let silence = now.saturating_sub(end);
        self.counts.shortest_silence_ns.fetch_min(silence, Relaxed);
        if silence < self.speed.silence_ns() {
            count(&self.counts.silence_violations);
        }
    }

    /// Appends the bytes that have come out of the line by `now`.
    pub fn poll_transmit(&mut self, now: u64, out: &mut Vec<u8>) {
        loop {
            if self.sending.front().is_some_and(|chunk| chunk.at <= now)
                && let Some(chunk) = self.sending.pop_front()
            {
                out.extend_from_slice(&chunk.bytes);
                if !chunk.echo {
                    self.last_end = Some(now);
                    self.heard.get_or_insert(now);
                }
                continue;
            }
            if !self.sending.is_empty() || self.poll_timeout().is_none_or(|at| at > now) {
                return;
            }
            if self.request.is_empty() { self.begin_reply() } else { self.end_request() }
        }
    }

    /// When [`Wire::poll_transmit`] has something to do next.
    pub fn poll_timeout(&self) -> Option<u64> {
        if let Some(chunk) = self.sending.front() {
            return Some(chunk.at);
        }
        if !self.request.is_empty() {
            return Some(self.request_end + self.speed.silence_ns());
        }
        let start = self.pending.iter().map(|t| t.start).min()?;
        Some(start.max(self.last_end.map_or(0, |end| end + self.speed.silence_ns())))
    }

    /// The silence after a request has passed: the slaves take it.
    fn end_request(&mut self) {
        let frame = std::mem::take(&mut self.request);
        let garbled = std::mem::take(&mut self.garbled);
        self.last_end = Some(self.request_end);
        let Some((unit, pdu)) = open_rtu(&frame).filter(|_| !garbled) else {
            return count(&self.counts.bad_requests);
        };
        count(&self.counts.requests);
        let silent = self.faults.is_silent(unit);
        let Some((_, memory)) = self.units.iter_mut().find(|(u, _)| *u == unit).filter(|_| !silent) else {
            return count(&self.counts.unanswered);
        };
        let mut reply = Vec::with_capacity(256);
        answer(memory.as_mut(), pdu, &mut reply);
        let start = self.request_end + self.speed.silence_ns() + u64::from(self.speed.turnaround_us) * 1000;
        self.plan_reply(start, unit, &reply);
    }

    /// Puts a reply on the list of what is to be sent, with the faults that are its turn.
    fn plan_reply(&mut self, mut start: u64, unit: u8, pdu: &[u8]) {
        self.replies = self.replies.wrapping_add(1);
        let mut frame = seal_rtu(unit, pdu);
        let mut twice = false;
        if self.turn(&self.faults.late_every) {
            count(&self.counts.late);
            start += u64::from(self.faults.late_ms.load(Relaxed)) * 1_000_000;
        }
        if self.turn(&self.faults.short_every) {
            frame.truncate(frame.len() - 1 - self.random.usize(..frame.len() / 2));
        } else if self.turn(&self.faults.foreign_every) {
            frame = seal_rtu(unit % 247 + 1, pdu);
        } else if self.turn(&self.faults.noise_every) {
            self.spoil(&mut frame);
        } else if self.turn(&self.faults.doubled_every) {
            twice = true;
        } else {
            return self.queue(start, frame);
        }
        count(&self.counts.spoiled);
        if twice {
            self.queue(start, frame.clone());
        }
        self.queue(start, frame);
    }

    fn turn(&self, every: &AtomicU32) -> bool {
        let every = every.load(Relaxed);
        every != 0 && self.replies.is_multiple_of(every)
    }

    fn spoil(&mut self, frame: &mut Vec<u8>) {
        if self.random.bool() {
            let at = self.random.usize(..frame.len());
            frame[at] ^= 1 << self.random.u8(..8);
        } else {
            let stray: Vec<u8> = (0..self.random.usize(1..8)).map(|_| self.random.u8(..)).collect();
            frame.splice(0..0, stray);
        }
    }

    fn queue(&mut self, start: u64, frame: Vec<u8>) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push(Transmission { start, frame });
        }
    }

    /// The line is quiet and a slave's time has come: its characters follow each other.
    fn begin_reply(&mut self) {
        let Some(at) = self.poll_timeout() else { return };
        let Some(first) = (0..self.pending.len()).min_by_key(|&i| self.pending[i].start) else { return };
        let frame = self.pending.remove(first).frame;
        count(&self.counts.replies);
        self.counts.busy_ns.fetch_add(self.speed.chars_ns(frame.len()), Relaxed);
        self.heard = None;
        let mut sent = 0;
        for bytes in frame.chunks(self.speed.chunk()) {
            sent += bytes.len();
            self.sending.push_back(Chunk { at: at + self.speed.chars_ns(sent), bytes: bytes.to_vec(), echo: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slave::answer::{Exception, Words};

    struct Echo(u16);
    impl Memory for Echo {
        fn word(&mut self, _: Words, address: u16) -> Result<u16, Exception> {
            Ok(self.0 + address)
        }
    }

    fn wire(baud: u32) -> Wire {
        let units: Vec<(u8, Box<dyn Memory>)> = vec![(1, Box::new(Echo(100))), (2, Box::new(Echo(200)))];
        Wire::new(Speed::new(baud), units, Arc::default(), Arc::new(Counts::new()))
    }

    /// Steps the wire to `until`; what came out, with times.
    fn run(wire: &mut Wire, until: u64) -> Vec<(u64, u8)> {
        let mut out = Vec::new();
        while let Some(at) = wire.poll_timeout().filter(|&at| at <= until) {
            let mut bytes = Vec::new();
            wire.poll_transmit(at, &mut bytes);
            out.extend(bytes.into_iter().map(|b| (at, b)));
        }
        out
    }

    fn request(unit: u8) -> Vec<u8> {
        seal_rtu(unit, &[3, 0, 5, 0, 1])
    }

    #[test]
    fn a_reply_takes_the_time_of_its_characters() {
        let mut wire = wire(9600);
        wire.handle_bytes(0, &request(1));
        let out = run(&mut wire, u64::MAX);
        let frame: Vec<u8> = out.iter().map(|&(_, b)| b).collect();
        assert_eq!(frame, seal_rtu(1, &[3, 2, 0, 105]));
        let speed = wire.speed;
        let end = speed.transaction_ns(8, 7) - speed.silence_ns();
        assert!(out.last().unwrap().0.abs_diff(end) <= 2, "rounding of nanoseconds");
        assert_eq!(out[1].0 - out[0].0, speed.chars_ns(2) - speed.chars_ns(1));
    }

    #[test]
    fn a_request_before_the_silence_has_passed_is_counted() {
        let mut wire = wire(9600);
        wire.handle_bytes(0, &request(1));
        let end = run(&mut wire, u64::MAX).last().unwrap().0;
        wire.handle_bytes(end + wire.speed.silence_ns(), &request(2));
        assert_eq!(wire.counts.silence_violations.load(Relaxed), 0);
        let end = run(&mut wire, u64::MAX).last().unwrap().0;
        wire.handle_bytes(end + wire.speed.silence_ns() - 1, &request(2));
        assert_eq!(wire.counts.silence_violations.load(Relaxed), 1);
    }

    #[test]
    fn a_request_into_a_reply_spoils_both() {
        let mut wire = wire(9600);
        wire.handle_bytes(0, &request(1));
        let middle = wire.speed.transaction_ns(8, 6) - wire.speed.silence_ns();
        run(&mut wire, middle);
        wire.handle_bytes(middle, &request(2));
        let out: Vec<u8> = run(&mut wire, u64::MAX).into_iter().map(|(_, b)| b).collect();
        assert_ne!(out, seal_rtu(1, &[3, 2, 0, 105]));
        assert_eq!(wire.counts.collisions.load(Relaxed), 1);
        assert_eq!(wire.counts.bad_requests.load(Relaxed), 1);
    }

    #[test]
    fn a_request_that_crosses_the_beginning_of_a_late_reply_is_nobodys_fault() {
        let mut wire = wire(9600);
        wire.faults.late_every.store(1, Relaxed);
        wire.faults.late_ms.store(200, Relaxed);
        wire.handle_bytes(0, &request(1));
        let begun = wire.speed.transaction_ns(8, 1) - wire.speed.silence_ns() + 200_000_000;
        run(&mut wire, begun);
        wire.handle_bytes(begun + 1, &request(2));
        assert_eq!((wire.counts.collisions.load(Relaxed), wire.counts.crossings.load(Relaxed)), (0, 1));
    }

    #[test]
    fn a_late_reply_comes_whole_before_the_answer_to_the_next_request() {
        let mut wire = wire(9600);
        wire.faults.late_every.store(1, Relaxed);
        wire.faults.late_ms.store(200, Relaxed);
        wire.handle_bytes(0, &request(1));
        assert!(run(&mut wire, 150_000_000).is_empty());
        wire.faults.late_every.store(0, Relaxed);
        wire.handle_bytes(205_000_000, &request(2));
        let out: Vec<u8> = run(&mut wire, u64::MAX).into_iter().map(|(_, b)| b).collect();
        assert_eq!(out, [seal_rtu(1, &[3, 2, 0, 105]), seal_rtu(2, &[3, 2, 0, 205])].concat());
        assert_eq!(wire.counts.late.load(Relaxed), 1);
    }

    #[test]
    fn a_silent_unit_says_nothing_and_an_echo_says_what_was_sent() {
        let mut wire = wire(9600);
        wire.faults.set_silent(1, true);
        wire.faults.echo.store(true, Relaxed);
        wire.handle_bytes(0, &request(1));
        let out: Vec<u8> = run(&mut wire, u64::MAX).into_iter().map(|(_, b)| b).collect();
        assert_eq!(out, request(1));
        assert_eq!(wire.counts.unanswered.load(Relaxed), 1);
    }

    #[test]
    fn every_fault_spoils_the_replies_that_are_its_turn() {
        for (set, whole) in [
            (&(|f: &Faults| f.short_every.store(2, Relaxed)) as &dyn Fn(&Faults), 2),
            (&|f: &Faults| f.foreign_every.store(2, Relaxed), 2),
            (&|f: &Faults| f.noise_every.store(2, Relaxed), 2),
            (&|f: &Faults| f.doubled_every.store(2, Relaxed), 2),
        ] {
            let mut wire = wire(9600);
            set(&wire.faults);
            let mut sound = 0;
            for i in 0..4u64 {
                wire.handle_bytes(i * 1_000_000_000, &request(1));
                let out: Vec<u8> =
                    run(&mut wire, i * 1_000_000_000 + 900_000_000).into_iter().map(|(_, b)| b).collect();
                sound += usize::from(out == seal_rtu(1, &[3, 2, 0, 105]));
            }
            assert_eq!((sound, wire.counts.spoiled.load(Relaxed)), (whole, 2));
        }
    }
}
