//! How long an answer is waited for, which is learned from answers that came too late.

use std::time::Duration;

use super::question::Question;
use crate::line::settings::{Characters, Echo, Wire};

/// How long one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As long as most devices take.
    Fast,
    /// As long as any device takes.
    Slow,
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

/// Silence that says that an answer is over, or that no second one comes.
const QUIET: Duration = Duration::from_millis(40);
/// The same of meters, which take longer to begin.
const QUIET_METERS: Duration = Duration::from_millis(250);
/// An answer that came so late is waited for with this much to spare from then on.
const SPARE: Duration = Duration::from_millis(30);

const MODBUS_SLOW: Duration = Duration::from_millis(350);
const SOCKET_SLOW: Duration = Duration::from_millis(1500);
/// DL/T 645-2007, 5.1: an answer begins within 500 ms.
const METERS_SLOW: Duration = Duration::from_millis(600);
const PIPES_SLOW: Duration = Duration::from_millis(1200);
/// OSDP 2.2, 5.7: an answer begins within 200 ms.
const READERS_SLOW: Duration = Duration::from_millis(220);

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
    fn of(&mut self, question: &Question) -> (&mut Duration, Duration) {
        match question {
            Question::Modbus { .. } if question.is_on_socket() => (&mut self.socket, SOCKET_SLOW),
            Question::Modbus { .. } => (&mut self.modbus, MODBUS_SLOW),
            Question::Dlt645 { .. } => (&mut self.meters, METERS_SLOW),
            Question::Cjt188 { .. } => (&mut self.pipes, PIPES_SLOW),
            Question::Osdp { .. } => (&mut self.readers, READERS_SLOW),
        }
    }

    /// How long the first byte of an answer is waited for.
    pub(super) fn first_byte(mut self, question: &Question, pace: Pace) -> Duration {
        let (fast, slow) = self.of(question);
        match pace {
            Pace::Fast => *fast,
            Pace::Slow => slow.max(*fast),
        }
    }

    /// The silence that ends an answer.
    pub(super) fn quiet(question: &Question, line: Option<Characters>) -> Duration {
        let least = match question {
            Question::Modbus { .. } | Question::Osdp { .. } => QUIET,
            Question::Dlt645 { .. } | Question::Cjt188 { .. } => QUIET_METERS,
        };
        line.map_or(least, |line| least.max(wire(line).silence() * 2))
    }

    /// Learns that an answer began so long after its question.
    pub(super) fn learn(&mut self, question: &Question, turnaround: Duration) {
        let (fast, slow) = self.of(question);
        *fast = (*fast).max((turnaround + SPARE).min(slow));
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
