//! A ring of the last frames, for the person with the laptop.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use gatehouse_core::{DeviceIx, Mono, Reject};

use super::device::Device;

/// How many frames the ring holds.
pub const FRAMES: usize = 64;

/// How many bytes of a frame are kept: every frame of a meter is shorter.
pub const FRAME_BYTES: usize = 300;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFrame {
    /// Its number on this line, from 1; one that is not there any more has left the ring.
    pub seq: u64,
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
    /// Which of its bytes are blotted out: they tell of a key, of a card or of what was typed.
    pub concealed: Option<Range<usize>>,
    head: Vec<u8>,
}

impl TraceFrame {
    /// The bytes of the frame, at most the first [`FRAME_BYTES`].
    pub fn bytes(&self) -> &[u8] {
        &self.head
    }
}

impl fmt::Display for Verdict {
    /// Writes it for people: `reply`, `exception 2`, `rejected BadChecksum`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Request => f.write_str("request"),
            Verdict::Reply => f.write_str("reply"),
            Verdict::Exception(code) => write!(f, "exception {code}"),
            Verdict::Rejected(why) => write!(f, "rejected {why:?}"),
            Verdict::Late => f.write_str("late"),
            Verdict::Early => f.write_str("early"),
            Verdict::Stray => f.write_str("stray"),
            Verdict::TimedOut => f.write_str("timed out"),
        }
    }
}

/// So many bytes of a frame are written for people.
const SHOWN: usize = 32;

impl fmt::Display for TraceFrame {
    /// Writes the way, the verdict and the first bytes: `sent request 01 03 00 00 00 02 c4 0b`, those that are concealed as
    /// `--`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        write!(f, "{way} {}", self.verdict)?;
        for (at, byte) in self.head.iter().enumerate().take(SHOWN) {
            match &self.concealed {
                Some(concealed) if concealed.contains(&at) => f.write_str(" --")?,
                Some(_) | None => write!(f, " {byte:02x}")?,
            }
        }
        if self.length > SHOWN { write!(f, " … {} bytes", self.length) } else { Ok(()) }
    }
}

/// The ring. A frame takes over the memory of the one that it displaces, so that noting one allocates nothing for long.
#[derive(Debug, Default)]
pub(super) struct Trace {
    frames: VecDeque<TraceFrame>,
    noted: u64,
}

impl Trace {
    pub(super) fn note(
        &mut self,
        at: Mono,
        direction: Direction,
        device: Option<DeviceIx>,
        verdict: Verdict,
        (bytes, devices): (&[u8], &[Device]),
    ) {
        let mut head = match self.frames.len() {
            FRAMES => self.frames.pop_front().map(|frame| frame.head).unwrap_or_default(),
            _ => Vec::new(),
        };
        head.clear();
        head.extend_from_slice(&bytes[..bytes.len().min(FRAME_BYTES)]);
        // Of a stray frame nobody knows whose it is.
        let is_sent = direction == Direction::Sent;
        let concealed = devices.iter().filter_map(|device| device.driver.conceal(is_sent, &mut head)).reduce(span);
        self.noted += 1;
        self.frames.push_back(TraceFrame {
            seq: self.noted,
            at,
            direction,
            device,
            verdict,
            length: bytes.len(),
            concealed,
            head,
        });
    }

    /// Blots out of what is there already what nobody is to see any more of a device.
    pub(super) fn conceal(&mut self, device: &Device) {
        let hides = device.driver.tells_secrets();
        for frame in &mut self.frames {
            // What was received as no answer may hold a part of one.
            let is_answer = match frame.verdict {
                Verdict::Request | Verdict::Reply | Verdict::Exception(_) | Verdict::Late | Verdict::Early => true,
                Verdict::Rejected(_) | Verdict::Stray | Verdict::TimedOut => false,
            };
            if hides && !is_answer {
                frame.head.clear();
            }
            let more = device.driver.conceal(frame.direction == Direction::Sent, &mut frame.head);
            frame.concealed = frame.concealed.take().into_iter().chain(more).reduce(span);
        }
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &TraceFrame> {
        self.frames.iter()
    }
}

/// From the first byte of either to the last.
fn span(one: Range<usize>, other: Range<usize>) -> Range<usize> {
    one.start.min(other.start)..one.end.max(other.end)
}
