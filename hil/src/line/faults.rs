//! The faults of a simulated line, adjustable while it runs, and what was counted on it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// What goes wrong on a line. "Every N" counts replies of the line; 0 is never.
#[derive(Debug, Default)]
pub struct Faults {
    /// Every so many replies, one comes `late_ms` later than it should.
    pub late_every: AtomicU32,
    /// See `late_every`.
    pub late_ms: AtomicU32,
    /// Every so many replies, one is cut short.
    pub short_every: AtomicU32,
    /// Every so many replies, one comes twice.
    pub doubled_every: AtomicU32,
    /// Every so many replies, one carries another unit's address, with a sound checksum.
    pub foreign_every: AtomicU32,
    /// Every so many replies, one has a flipped bit or stray bytes before it.
    pub noise_every: AtomicU32,
    /// The adapter hands back what it is given to send.
    pub echo: AtomicBool,
    silent: [AtomicU64; 4],
}

impl Faults {
    /// Makes a unit silent, or lets it answer again.
    pub fn set_silent(&self, unit: u8, silent: bool) {
        let (word, bit) = (&self.silent[usize::from(unit / 64)], 1u64 << (unit % 64));
        if silent {
            word.fetch_or(bit, Relaxed)
        } else {
            word.fetch_and(!bit, Relaxed)
        };
    }

    /// Whether a unit is made silent.
    pub fn is_silent(&self, unit: u8) -> bool {
        self.silent[usize::from(unit / 64)].load(Relaxed) >> (unit % 64) & 1 == 1
    }
}

/// What happened on a simulated line since it began.
#[derive(Debug, Default)]
pub struct Counts {
    /// Sound requests.
    pub requests: AtomicU64,
    /// Frames from the master that are no sound request.
    pub bad_requests: AtomicU64,
    /// Replies that left, late and broken ones included.
    pub replies: AtomicU64,
    /// Requests that began less than 3.5 characters after the last character on the line.
    pub silence_violations: AtomicU64,
    /// Requests that began while a slave was sending and the master could have heard it.
    pub collisions: AtomicU64,
    /// Requests that began in the moment in which a late reply began.
    pub crossings: AtomicU64,
    /// Replies that were made late.
    pub late: AtomicU64,
    /// Replies that were broken, cut, doubled, foreign or noisy.
    pub spoiled: AtomicU64,
    /// Requests to units that are silent or absent.
    pub unanswered: AtomicU64,
    /// Nanoseconds that characters took on the line.
    pub busy_ns: AtomicU64,
    /// Shortest silence before a request, in nanoseconds; `u64::MAX` before the second request.
    pub shortest_silence_ns: AtomicU64,
}

impl Counts {
    /// Counters at zero.
    pub fn new() -> Self {
        let counts = Counts::default();
        counts.shortest_silence_ns.store(u64::MAX, Relaxed);
        counts
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
