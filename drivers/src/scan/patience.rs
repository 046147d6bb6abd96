//! How long an answer is waited for, which is learned from answers that came too late.

use std::time::Duration;

use super::question::Question;
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
            modbus: Duration::from_millis(60),
            socket: Duration::from_millis(500),
            meters: Duration::from_millis(220),
            pipes: Duration::from_millis(300),
            readers: Duration::from_millis(45),
        }
    }
}

impl Patience {
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
        match pace {
            Pace::Fast => *fast,
            Pace::Slow => limits.slow.max(*fast),
            Pace::Patient => limits.patient.max(*fast),
        }
    }

    /// The pace at which one is asked that answered so long after a question.
    pub(super) fn pace(mut self, question: &Question, turnaround: Duration) -> Pace {
        let (_, limits) = self.of(question);
        if turnaround + SPARE <= limits.slow { Pace::Slow } else { Pace::Patient }
    }

    /// The silence that ends an answer.
    pub(super) fn quiet(question: &Question, line: Option<Characters>) -> Duration {
        let least = match question {
            Question::Modbus { .. } | Question::Osdp { .. } => QUIET,
            Question::Dlt645 { .. } | Question::Cjt188 { .. } => QUIET_METERS,
        };
        line.map_or(least, |line| least.max(wire(line).silence() * 2))
    }

    /// Learns that an answer began so long after its question. What is slower than nearly all teaches nothing: that all get
    /// more time for it would cost hours.
    pub(super) fn learn(&mut self, question: &Question, turnaround: Duration) {
        let (fast, limits) = self.of(question);
        let wanted = turnaround + SPARE;
        if wanted <= limits.slow {
            *fast = (*fast).max(wanted);
        }
    }

    /// What a question takes to which nobody answers.
    pub(super) fn cost(&self, question: &Question, line: Option<Characters>, pace: Pace) -> Duration {
        let mut bytes = Vec::new();
        question.encode(0, &mut bytes);
        let on_wire = line.map_or(Duration::ZERO, |line| wire(line).chars(bytes.len()) + rest(line));
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
