//! A ring of the last frames, for the person with the laptop.

use std::collections::VecDeque;
use std::fmt;

use gatehouse_core::{DeviceIx, Mono, Reject};

/// How many frames the ring holds.
pub const FRAMES: usize = 64;

/// How many bytes of a frame are kept.
pub const FRAME_BYTES: usize = 32;

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the gateway.
    Sent,
    /// To the gateway.
    Received,
}

/// What the line made of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A request of ours.
    Request,
    /// The reply.
    Reply,
    /// An exception, by code.
    Exception(u8),
    /// The driver rejected it.
    Rejected(Reject),
    /// The reply to a request that had been given up.
    Late,
    /// A reply that ended sooner than the wire can carry it.
    Early,
    /// Bytes that nobody waited for.
    Stray,
    /// Given up without a sound reply; the bytes are what had come.
    TimedOut,
}

/// One frame, or what stood in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceFrame {
    /// When it was handed out or judged.
    pub at: Mono,
    /// Which way.
    pub direction: Direction,
    /// The device that was asked; `None` for stray bytes.
    pub device: Option<DeviceIx>,
    /// What the line made of it.
    pub verdict: Verdict,
    /// Its length in bytes.
    pub length: usize,
    head: [u8; FRAME_BYTES],
}

impl TraceFrame {
    /// The first bytes of the frame, at most [`FRAME_BYTES`].
    pub fn bytes(&self) -> &[u8] {
        &self.head[..self.length.min(FRAME_BYTES)]
    }
}

impl fmt::Display for TraceFrame {
    /// Writes the way, the verdict and the bytes: `sent request 01 03 00 00 00 02 c4 0b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        write!(f, "{way} ")?;
        match self.verdict {
            Verdict::Request => f.write_str("request")?,
            Verdict::Reply => f.write_str("reply")?,
            Verdict::Exception(code) => write!(f, "exception {code}")?,
            Verdict::Rejected(why) => write!(f, "rejected {why:?}")?,
            Verdict::Late => f.write_str("late")?,
            Verdict::Early => f.write_str("early")?,
            Verdict::Stray => f.write_str("stray")?,
            Verdict::TimedOut => f.write_str("timed out")?,
        }
        for byte in self.bytes() {
            write!(f, " {byte:02x}")?;
        }
        if self.length > self.bytes().len() { write!(f, " … {} bytes", self.length) } else { Ok(()) }
    }
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Trace {
    frames: VecDeque<TraceFrame>,
}

impl Trace {
    pub(super) fn note(
        &mut self,
        at: Mono,
        direction: Direction,
        device: Option<DeviceIx>,
        verdict: Verdict,
        bytes: &[u8],
    ) {
        if self.frames.len() == FRAMES {
            self.frames.pop_front();
        }
        let mut head = [0; FRAME_BYTES];
        let kept = bytes.len().min(FRAME_BYTES);
        head[..kept].copy_from_slice(&bytes[..kept]);
        self.frames.push_back(TraceFrame { at, direction, device, verdict, length: bytes.len(), head });
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &TraceFrame> {
        self.frames.iter()
    }
}
