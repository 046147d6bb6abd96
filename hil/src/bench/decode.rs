//! What one reply costs from its bytes to its readings, and how often the heap is asked on the way.
//!
//! Replies go the way that they go in the daemon: the line takes the bytes, asks the driver, notes the frame in its trace,
//! learns the turnaround, and hands the sample out, which is given back. Time is counted by the clock around exactly that;
//! the simulated device's own work is outside.

mod cases;

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use gatehouse_core::Mono;
use gatehouse_drivers::line::{Line, LineSettings, Medium, Output};

use super::{Bench, Row};
use crate::counting::taken;
pub use cases::{Case, cases};

/// Replies before the measure: the line knows its device then, and buffers have their sizes.
const WARM_UP: u32 = 500;
/// Replies of one measure.
const FRAMES: u32 = 20_000;
/// What a device takes to answer.
const TURNAROUND: Duration = Duration::from_millis(5);
/// Looks at the line's timer until it asks: polls, silences, and what follows a reply.
const LOOKS: u32 = 1_000;
/// The bar.
const BAR: Duration = Duration::from_micros(2);

/// What came of many replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// The middle one of the times of a reply.
    pub middle: Duration,
    /// The time below which 99 of 100 are.
    pub p99: Duration,
    /// Times that the heap was asked, all told.
    pub taken: u64,
    /// Replies.
    pub frames: u32,
    /// Readings with a value that came of them.
    pub values: u64,
    /// Bytes of the last reply.
    pub bytes: usize,
}

/// A row of each protocol.
pub(super) fn all(_: &Bench) -> anyhow::Result<Vec<Row>> {
    cases()?.into_iter().map(row).collect()
}

fn row(case: Case) -> anyhow::Result<Row> {
    let (name, without_heap) = (case.name, case.without_heap);
    let figure = measure(case, FRAMES)?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let each = figure.taken as f64 / f64::from(figure.frames);
    let ns = |time: Duration| time.as_nanos();
    let text = format!(
        "{} ns (p99 {} ns), {each:.2} allocations; {} bytes, {} values",
        ns(figure.middle),
        ns(figure.p99),
        figure.bytes,
        figure.values / u64::from(figure.frames)
    );
    let bar = if without_heap { "< 2 µs, 0 allocations" } else { "< 2 µs" };
    let ok = figure.middle < BAR && (figure.taken == 0 || !without_heap);
    Ok(Row::new(format!("a reply through the line: {name}"), text, bar, "", ok))
}

/// Has the line poll a device so often, and measures the way of each reply.
///
/// # Errors
/// When a reply does not come, or is not taken.
pub fn measure(case: Case, frames: u32) -> anyhow::Result<Figure> {
    let Case { name, settings, device, mut far, .. } = case;
    let mut now = Mono::from_millis(1);
    let mut line = Line::new(settings.clone(), vec![device], 1, now);
    line.handle_opened(now);
    let (mut request, mut spans) = (Vec::with_capacity(256), Vec::with_capacity(frames as usize));
    let (mut heap, mut values, mut bytes) = (0, 0, 0);
    for turn in 0..WARM_UP + frames {
        now = ask(&mut line, now, &mut request)?;
        now = now + time_of(&settings, request.len());
        line.handle_sent(now);
        let Some(reply) = far(&request) else { bail!("{name}: the device does not answer {request:02X?}") };
        now = now + TURNAROUND + time_of(&settings, reply.len());
        let (before, begin) = (taken(), Instant::now());
        line.handle_bytes(now, &reply);
        let read = take(&mut line);
        let (span, asked) = (begin.elapsed(), taken() - before);
        if turn >= WARM_UP {
            (heap, values, bytes) = (heap + asked, values + read, reply.len());
            spans.push(span);
        }
    }
    let stats = line.stats();
    ensure!(stats.replies == u64::from(WARM_UP + frames), "{name}: {} replies were taken", stats.replies);
    ensure!(values > 0, "{name}: no value came of {frames} replies");
    spans.sort_unstable();
    let at = |percent: usize| spans[(spans.len() - 1) * percent / 100];
    Ok(Figure { middle: at(50), p99: at(99), taken: heap, frames, values, bytes })
}

/// Goes on until the line has a request to send.
fn ask(line: &mut Line, mut now: Mono, request: &mut Vec<u8>) -> anyhow::Result<Mono> {
    request.clear();
    for _ in 0..LOOKS {
        if line.poll_transmit(now, request) {
            return Ok(now);
        }
        let Some((at, _)) = line.poll_timeout() else { bail!("the line waits for nothing") };
        now = now.max(at);
        line.handle_timeout(now);
        take(line);
    }
    bail!("the line asks nothing");
}

/// Takes what the line has to tell, and gives samples back; how many values there were.
fn take(line: &mut Line) -> u64 {
    let mut values = 0;
    while let Some(output) = line.poll_output() {
        match output {
            Output::Sample { readings, .. } => {
                values += readings.iter().map(|reading| u64::from(reading.value.is_ok())).sum::<u64>();
                line.recycle(readings);
            }
            Output::DeviceState { .. }
            | Output::CommandDone { .. }
            | Output::ClosePort { .. }
            | Output::Characters { .. } => {}
        }
    }
    values
}

/// What so many characters take on the medium.
fn time_of(settings: &LineSettings, bytes: usize) -> Duration {
    match settings.medium {
        Medium::Serial(wire) => wire.chars(bytes),
        Medium::Tcp | Medium::RtuOverTcp | Medium::Datagram => Duration::from_micros(100),
    }
}
