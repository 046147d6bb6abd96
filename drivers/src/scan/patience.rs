//! How long an answer is waited for, which is learned from answers that came too late.

use std::time::Duration;

use super::plan::Channel;
use super::question::Question;
use super::usual::BEHIND_SERVER;
use crate::line::settings::{Characters, Echo, Wire};

/// How long one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// As long as most devices take.
    Fast,
    /// As long as nearly all take.
    Slow,
    /// As long as a site file can make a driver wait with good sense.
    Patient,
}

/// Time from the end of a request to the first byte of its answer, by the kind of device; beyond the wire time. On top
/// of what devices take there is what adapters hold bytes back, 16 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// What the line behind a serial server is taken to be, of which it tells nothing.
    presumed: Option<Characters>,
    modbus: Duration,
    socket: Duration,
    meters: Duration,
    pipes: Duration,
    readers: Duration,
}

/// How long a kind of device is given by who is in no hurry.
struct Limits {
    slow: Duration,
    patient: Duration,
}

/// Silence that says that an answer is over, or that no second one comes.
const QUIET: Duration = Duration::from_millis(40);
/// The same of meters, which take longer to begin.
const QUIET_METERS: Duration = Duration::from_millis(250);
/// The same behind a serial server, which may hand an answer on in pieces: as many characters as such have buffers, 16, at 1200
/// bits per second.
const QUIET_SERVER: Duration = Duration::from_millis(150);
/// Characters of an answer that a serial server holds back until the line rests: those of the longest, a meter's.
const HELD: usize = 24;
/// An answer that came so late is waited for with this much to spare from then on.
const SPARE: Duration = Duration::from_millis(30);

const MODBUS: Limits = Limits { slow: Duration::from_millis(350), patient: Duration::from_millis(1500) };
/// A gateway waits for a device behind it by itself, a second and more, and may ask it again.
const SOCKET: Limits = Limits { slow: Duration::from_secs(3), patient: Duration::from_secs(3) };
/// DL/T 645-2007, 5.1: an answer begins within 500 ms.
const METERS: Limits = Limits { slow: Duration::from_millis(600), patient: Duration::from_millis(1500) };
/// Converters to M-Bus take up to two seconds.
const PIPES: Limits = Limits { slow: Duration::from_millis(1200), patient: Duration::from_secs(2) };
/// OSDP 2.2, 5.7: an answer begins within 200 ms; a panel that waits longer takes the reader for lost.
const READERS: Limits = Limits { slow: Duration::from_millis(220), patient: Duration::from_millis(220) };

impl Default for Patience {
    fn default() -> Self {
        Patience {
            presumed: None,
            modbus: Duration::from_millis(60),
            socket: Duration::from_millis(500),
            meters: Duration::from_millis(220),
            pipes: Duration::from_millis(300),
            readers: Duration::from_millis(45),
        }
    }
}

impl Patience {
    /// How long one waits on such a channel before anything was learned.
    pub(super) fn on(channel: Channel) -> Patience {
        let presumed = match channel {
            Channel::Serial | Channel::Tcp => None,
            Channel::Raw => Some(BEHIND_SERVER),
        };
        Patience { presumed, ..Patience::default() }
    }

    /// The line that a question with these settings goes over; `None`: bytes take no time there.
    pub(super) fn line(&self, characters: Option<Characters>) -> Option<Characters> {
        characters.or(self.presumed)
    }

    /// How much later the first byte of an answer comes because a server hands on nothing until the line rests.
    fn held(&self, pace: Pace) -> Duration {
        let whole = self.presumed.map_or(Duration::ZERO, |line| wire(line).chars(HELD));
        match pace {
            Pace::Fast => whole,
            // At half the presumed speed the request takes as long once more, and the answer twice as long.
            Pace::Slow | Pace::Patient => whole * 3,
        }
    }

    fn of(&mut self, question: &Question) -> (&mut Duration, Limits) {
        match question {
            Question::Modbus { .. } if question.is_on_socket() => (&mut self.socket, SOCKET),
            Question::Modbus { .. } => (&mut self.modbus, MODBUS),
            Question::Dlt645 { .. } => (&mut self.meters, METERS),
            Question::Cjt188 { .. } => (&mut self.pipes, PIPES),
            Question::Osdp { .. } => (&mut self.readers, READERS),
        }
    }

    /// How long the first byte of an answer is waited for.
    pub(super) fn first_byte(mut self, question: &Question, pace: Pace) -> Duration {
        let (fast, limits) = self.of(question);
        let answers = match pace {
            Pace::Fast => *fast,
            Pace::Slow => limits.slow.max(*fast),
            Pace::Patient => limits.patient.max(*fast),
        };
        answers + self.held(pace)
    }

    /// The pace at which one is asked that answered so long after a question.
    pub(super) fn pace(mut self, question: &Question, turnaround: Duration) -> Pace {
        let turnaround = turnaround.saturating_sub(self.held(Pace::Slow));
        let (_, limits) = self.of(question);
        if turnaround + SPARE <= limits.slow { Pace::Slow } else { Pace::Patient }
    }

    /// The silence that ends an answer.
    pub(super) fn quiet(&self, question: &Question, characters: Option<Characters>) -> Duration {
        let least = match question {
            Question::Modbus { .. } | Question::Osdp { .. } if self.presumed.is_some() => QUIET_SERVER,
            Question::Modbus { .. } | Question::Osdp { .. } => QUIET,
            Question::Dlt645 { .. } | Question::Cjt188 { .. } => QUIET_METERS,
        };
        self.line(characters).map_or(least, |line| least.max(wire(line).silence() * 2))
    }

    /// Learns that an answer began so long after its question. What is slower than nearly all teaches nothing: that all get
    /// more time for it would cost hours.
    pub(super) fn learn(&mut self, question: &Question, turnaround: Duration) {
        let wanted = turnaround.saturating_sub(self.held(Pace::Fast)) + SPARE;
        let (fast, limits) = self.of(question);
        if wanted <= limits.slow {
            *fast = (*fast).max(wanted);
        }
    }

    /// What a question takes to which nobody answers.
    pub(super) fn cost(&self, question: &Question, characters: Option<Characters>, pace: Pace) -> Duration {
        let mut bytes = Vec::new();
        question.encode(0, &mut bytes);
        let on_wire = self.line(characters).map_or(Duration::ZERO, |line| wire(line).chars(bytes.len()) + rest(line));
        on_wire + self.first_byte(question, pace)
    }
}

/// The wire with these characters.
pub(super) fn wire(line: Characters) -> Wire {
    Wire { baud: line.baud, char_bits: line.bits(), echo: Echo::Detect, silence: None }
}

/// Silence before a request.
pub(super) fn rest(line: Characters) -> Duration {
    wire(line).silence()
}
