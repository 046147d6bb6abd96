//! Somebody else who asks on the same wires: sound requests that nobody here sent.

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::Mono;

use super::machine::Line;

/// So many requests
const REQUESTS: usize = 3;

/// within this time are a master; fewer are an accident.
const WITHIN: Duration = Duration::from_secs(60);

/// Bytes that follow each other after a longer pause do not belong together.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest request of any protocol, with what may precede it.
const REQUEST_MAX: usize = 280;

/// What was overheard of others.
#[derive(Debug, Default)]
pub(super) struct Overheard {
    /// Stray bytes since the last pause.
    bytes: Vec<u8>,
    last: Mono,
    /// The last requests of others.
    seen: VecDeque<Mono>,
}

impl Line {
    /// Whether another master asks on this line: several sound requests in the last minute that nobody here sent, on
    /// a serial line. Those of other line settings than the port has at the time are not recognised.
    pub fn has_foreign_master(&self, now: Mono) -> bool {
        self.overheard.seen.iter().filter(|at| now.since(**at) <= WITHIN).count() >= REQUESTS
    }

    /// Listens to bytes that nobody waits for.
    pub(super) fn overhear(&mut self, now: Mono, bytes: &[u8]) {
        let Some(wire) = self.wire() else { return };
        let pause = PAUSE.max(wire.chars(bytes.len()) + wire.silence());
        if now.since(self.overheard.last) > pause || self.overheard.bytes.len() + bytes.len() > REQUEST_MAX {
            self.overheard.bytes.clear();
        }
        self.overheard.last = now;
        self.overheard.bytes.extend_from_slice(bytes);
        let heard = &self.overheard.bytes;
        // The own request may come back late from an adapter that echoes, and without its first bytes.
        if !self.request.is_empty() && (heard.ends_with(&self.request) || self.request.ends_with(heard)) {
            // What follows it is its reply, and no request.
            return self.overheard.bytes.clear();
        }
        if self.devices.iter().any(|device| device.driver.is_request(heard)) {
            self.note_foreign(now);
        }
    }

    /// Notes a request that came while an answer was waited for.
    pub(super) fn overhear_frame(&mut self, now: Mono, device: usize, bytes: usize) {
        let frame = &self.rx[..bytes];
        if self.wire().is_some() && !self.request.ends_with(frame) && self.devices[device].driver.is_request(frame) {
            self.note_foreign(now);
        }
    }

    fn note_foreign(&mut self, now: Mono) {
        self.stats.foreign_requests += 1;
        self.overheard.bytes.clear();
        if self.overheard.seen.len() == REQUESTS {
            self.overheard.seen.pop_front();
        }
        self.overheard.seen.push_back(now);
    }
}
