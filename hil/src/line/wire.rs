//! A half-duplex RS-485 pair with its slaves, as a machine that reads no clock.
//!
//! After each [`Wire::handle_bytes`] and whenever [`Wire::poll_timeout`] is due, call [`Wire::poll_transmit`]. Times are
//! nanoseconds of any one clock. Characters take their time: a reply's bytes come when their last bit would have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::faults::{Counts, Faults, count};
use super::speed::Speed;
use crate::slave::station::{Heard, Seat};

struct Chunk {
    at: u64,
    bytes: Vec<u8>,
    /// The speed that it travels at.
    baud: u32,
    echo: bool,
}

struct Transmission {
    start: u64,
    frame: Vec<u8>,
    /// How its talker talks.
    speed: Speed,
}

/// Replies that may wait for a free line; one that comes when these are full is dropped.
const MAX_PENDING: usize = 16;
/// Bytes of a request that are kept: more than any frame has, so that a longer one is no sound request.
const MAX_REQUEST: usize = 512;

/// The pair and what hangs on it.
pub struct Wire {
    /// How slaves talk that have no settings of their own.
    usual: Speed,
    /// How the master's port is set now.
    speed: Speed,
    seats: Vec<Seat>,
    faults: Arc<Faults>,
    counts: Arc<Counts>,
    random: fastrand::Rng,
    replies: u32,
    request: Vec<u8>,
    /// How the port was set when the request began.
    spoken: Speed,
    request_end: u64,
    garbled: bool,
    last_end: Option<u64>,
    // When the master got the first byte of the reply under way.
    heard: Option<u64>,
    sending: VecDeque<Chunk>,
    pending: Vec<Transmission>,
}

impl Wire {
    /// A quiet line with these devices, and a port that is set to `speed`.
    pub fn new(speed: Speed, seats: Vec<Seat>, faults: Arc<Faults>, counts: Arc<Counts>) -> Self {
        Wire {
            usual: speed,
            speed,
            seats,
            faults,
            counts,
            random: fastrand::Rng::with_seed(u64::from(speed.baud)),
            replies: 0,
            request: Vec::new(),
            spoken: speed,
            request_end: 0,
            garbled: false,
            last_end: None,
            heard: None,
            sending: VecDeque::new(),
            pending: Vec::new(),
        }
    }

    /// The master's port is set to so many bits per second. Parity does not show on a pseudo-terminal: it is that of the
    /// devices of this speed.
    pub fn set_port(&mut self, baud: u32) {
        if baud == self.speed.baud {
            return;
        }
        let seat = self.seats.iter().find(|seat| seat.speed.baud == baud);
        self.speed = seat.map_or(Speed { baud, ..self.usual }, |seat| seat.speed);
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
        if self.request.is_empty() {
            (self.spoken, self.request_end) = (self.speed, now);
        }
        self.request_end = self.request_end.max(now) + time;
        if self.request.len() < MAX_REQUEST {
            self.request.extend_from_slice(bytes);
        }
        if self.faults.echo.load(Relaxed) {
            let baud = self.speed.baud;
            self.sending.push_back(Chunk { at: self.request_end, bytes: bytes.to_vec(), baud, echo: true });
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
                if chunk.baud == self.speed.baud {
                    out.extend_from_slice(&chunk.bytes);
                } else {
                    // Who listens with other settings than the talker hears noise.
                    out.extend(chunk.bytes.iter().map(|_| self.random.u8(..)));
                }
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
            return Some(self.request_end + self.spoken.silence_ns());
        }
        let start = self.pending.iter().map(|t| t.start).min()?;
        Some(start.max(self.last_end.map_or(0, |end| end + self.speed.silence_ns())))
    }

    /// The silence after a request has passed: the slaves take it.
    fn end_request(&mut self) {
        let frame = std::mem::take(&mut self.request);
        let garbled = std::mem::take(&mut self.garbled);
        self.last_end = Some(self.request_end);
        let (mut sound, mut reply) = (false, None);
        let listening = self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.speed.baud == self.spoken.baud);
        for (at, seat) in listening.take_while(|_| !garbled) {
            match seat.station.hear(&frame) {
                Heard::Noise => {}
                Heard::Anothers => sound = true,
                Heard::Reply(frame) => (sound, reply) = (true, Some((at, frame))),
            }
        }
        if !sound {
            return count(&self.counts.bad_requests);
        }
        count(&self.counts.requests);
        match reply.filter(|(at, _)| !self.faults.is_silent(self.seats[*at].number)) {
            Some((at, reply)) => self.plan_reply(at, reply),
            None => count(&self.counts.unanswered),
        }
    }

    /// Puts the reply of the device at seat `at` on the list of what is to be sent, with the faults that are its turn.
    fn plan_reply(&mut self, at: usize, mut frame: Vec<u8>) {
        let speed = self.seats[at].speed;
        let mut start = self.request_end + speed.silence_ns() + u64::from(speed.turnaround_us) * 1000;
        self.replies = self.replies.wrapping_add(1);
        let mut twice = false;
        if self.turn(&self.faults.late_every) {
            count(&self.counts.late);
            start += u64::from(self.faults.late_ms.load(Relaxed)) * 1_000_000;
        }
        if self.turn(&self.faults.short_every) {
            frame.truncate(frame.len() - 1 - self.random.usize(..frame.len() / 2));
        } else if self.turn(&self.faults.foreign_every) {
            frame = self.seats[at].station.anothers(&frame);
        } else if self.turn(&self.faults.noise_every) {
            self.spoil(&mut frame);
        } else if self.turn(&self.faults.doubled_every) {
            twice = true;
        } else {
            return self.queue(Transmission { start, frame, speed });
        }
        count(&self.counts.spoiled);
        if twice {
            self.queue(Transmission { start, frame: frame.clone(), speed });
        }
        self.queue(Transmission { start, frame, speed });
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

    fn queue(&mut self, transmission: Transmission) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push(transmission);
        }
    }

    /// The line is quiet and a slave's time has come: its characters follow each other.
    fn begin_reply(&mut self) {
        let Some(at) = self.poll_timeout() else { return };
        let Some(first) = (0..self.pending.len()).min_by_key(|&i| self.pending[i].start) else { return };
        let Transmission { frame, speed, .. } = self.pending.remove(first);
        count(&self.counts.replies);
        self.counts.busy_ns.fetch_add(speed.chars_ns(frame.len()), Relaxed);
        self.heard = None;
        let mut sent = 0;
        for bytes in frame.chunks(speed.chunk()) {
            sent += bytes.len();
            let at = at + speed.chars_ns(sent);
            self.sending.push_back(Chunk { at, bytes: bytes.to_vec(), baud: speed.baud, echo: false });
        }
    }
}

#[cfg(test)]
mod tests;
