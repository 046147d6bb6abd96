//! Serial lines: how many of the polls that the wire allows are made, and what a dead or a late slave costs the others.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::stage::{Setting, Stage, describe_device, unit};
use super::{Bench, Row};
use crate::line::{SerialLine, Speed};
use crate::sim_clock::now_ns;
use crate::slave::answer::Memory;
use crate::slave::identity::Identity;

/// Three clusters of ten floats: three requests of 8 bytes, each with a reply of 45.
const SHAPE: (u16, u16) = (3, 10);
const REQUEST: usize = 8;
const REPLY: usize = 45;
/// After this, a line that was taken up has settled.
const SETTLE: Duration = Duration::from_secs(60);
/// Least length of the measure then: the probes of a dead device are that far apart.
const WINDOW: Duration = Duration::from_secs(60);
/// The longest time that the gateway allows for a reply in the measure of late ones.
const TIMEOUT_MS: u32 = 250;
/// How much later than it should a late reply comes: beyond that timeout.
const LATE_MS: u32 = 400;
/// One reply in so many is late.
const LATE_EVERY: u32 = 47;

struct Line {
    id: &'static str,
    line: SerialLine,
    speed: Speed,
    first: u32,
    devices: u32,
    more: String,
    interval: &'static str,
}

impl Line {
    fn start(
        id: &'static str,
        speed: Speed,
        first: u32,
        devices: u32,
        more: &str,
        interval: &'static str,
    ) -> anyhow::Result<Self> {
        let mut units: Vec<(u8, Box<dyn Memory>)> = Vec::new();
        for number in 0..devices {
            units.push((unit(number)?, Box::new(Identity::new(first + number, SHAPE.0, SHAPE.1, Arc::default()))));
        }
        let more = format!("echo = \"off\"\n{more}");
        Ok(Line { id, line: SerialLine::start(speed, units)?, speed, first, devices, more, interval })
    }

    /// Replies that came in time since the line began.
    fn polls(&self) -> u64 {
        let counts = &self.line.counts;
        counts.replies.load(Relaxed).saturating_sub(counts.late.load(Relaxed))
    }

    fn violations(&self) -> u64 {
        let counts = &self.line.counts;
        counts.silence_violations.load(Relaxed) + counts.collisions.load(Relaxed)
    }

    /// Nanoseconds of one poll at the wire's limit.
    fn limit_ns(&self) -> u64 {
        self.speed.transaction_ns(REQUEST, REPLY)
    }
}

fn stage(bench: &Bench, lines: &[Line]) -> anyhow::Result<Stage> {
    let describe = |file: &mut crate::rig::SiteFile| {
        for line in lines {
            file.serial_bus(line.id, line.line.path(), line.speed.baud, &line.more);
            for (number, unit) in (0..line.devices).zip(1u8..) {
                describe_device(file, line.first + number, line.id, unit, line.interval, SHAPE);
            }
        }
    };
    Stage::start(bench, Setting { times: Vec::new(), with_link: false, uplink: "", describe: &describe })
}

/// Polls of each line during a time, and the time in nanoseconds.
fn count(lines: &[Line], time: Duration) -> (Vec<u64>, u64) {
    let (start, before) = (now_ns(), lines.iter().map(Line::polls).collect::<Vec<u64>>());
    std::thread::sleep(time);
    let polls = lines.iter().zip(before).map(|(line, before)| line.polls() - before).collect();
    (polls, now_ns() - start)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn share(polls: u64, limit_ns: u64, window_ns: u64) -> f64 {
    polls as f64 * limit_ns as f64 / window_ns as f64
}

/// Four lines at 9600 baud in one gateway: all well; three alone; the same three with a dead fourth; replies that come late.
pub(super) fn slow_lines(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let speed = Speed::new(9600);
    let late = format!("timeout = \"{TIMEOUT_MS}ms\"");
    let lines = [
        Line::start("clean", speed, 0, 4, "", "100ms")?,
        Line::start("alone", speed, 4, 3, "", "100ms")?,
        Line::start("dead", speed, 7, 4, "", "100ms")?,
        Line::start("late", speed, 11, 4, &late, "100ms")?,
    ];
    lines[2].line.faults.set_silent(4, true);
    lines[3].line.faults.late_ms.store(LATE_MS, Relaxed);
    lines[3].line.faults.late_every.store(LATE_EVERY, Relaxed);
    let stage = stage(bench, &lines)?;
    std::thread::sleep(SETTLE);
    let (polls, window) = count(&lines, bench.steady.max(WINDOW));
    let tally = stage.tally();
    let limit = lines[0].limit_ns();
    let late_limit = limit + u64::from(TIMEOUT_MS) * 1_000_000 / u64::from(LATE_EVERY);
    let clean = share(polls[0], limit, window);
    let dead = share(polls[1], 1, window) / share(polls[2], 1, window) - 1.0;
    let late = 1.0 / share(polls[3], late_limit, window) - 1.0;
    let late_seen = lines[3].line.counts.late.load(Relaxed);
    let by_line: Vec<String> = lines.iter().map(|line| format!("{} {}", line.id, line.violations())).collect();
    let violations: u64 = lines.iter().map(Line::violations).sum();
    Ok(vec![
        Row::new(
            format!("9600 baud, 4 slaves: share of the wire's limit ({:.1} polls/s)", 1e9 / share(1, limit, 1)),
            format!("{clean:.3}; silence broken: {}", by_line.join(", ")),
            "≥ 0.98, 0 violations",
            "0.94",
            clean >= 0.98 && violations == 0,
        ),
        Row::new(
            "1 of 4 slaves dead: the other three, against alone, after 60 s",
            format!("{:+.1} % time per poll", dead * 100.0),
            "≤ +5 %",
            "+240 to +1300 %",
            dead <= 0.05,
        ),
        Row::new(
            format!("1 reply in {LATE_EVERY} late: values under a wrong point"),
            format!("{} of {} ({late_seen} late replies)", tally.wrong + tally.unknown, tally.values),
            "0",
            "wrong ones in 4 of 6",
            tally.wrong + tally.unknown == 0 && late_seen > 0,
        ),
        Row::new(
            format!("  mean refresh above what timeouts of {TIMEOUT_MS} ms cost by themselves"),
            format!("{:+.1} %", late * 100.0),
            "≤ +15 %",
            "",
            late <= 0.15,
        ),
    ])
}

/// One line at 115200 baud.
pub(super) fn fast_line(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let speed = Speed::new(115_200);
    let silence = format!("silence = \"{}us\"", speed.silence_ns().div_ceil(1000));
    let lines = [Line::start("fast", speed, 0, 4, &silence, "10ms")?];
    let stage = stage(bench, &lines)?;
    std::thread::sleep(Duration::from_secs(3));
    let (polls, window) = count(&lines, bench.steady);
    let share_of_limit = share(polls[0], lines[0].limit_ns(), window);
    let (violations, tally) = (lines[0].violations(), stage.tally());
    let limit = 1e9 / share(1, lines[0].limit_ns(), 1);
    Ok(vec![Row::new(
        format!("115200 baud, 4 slaves: share of the wire's limit ({limit:.0} polls/s)"),
        format!("{share_of_limit:.3}, {violations} silence violations, {} wrong values", tally.wrong),
        "≥ 0.95",
        "0.77",
        share_of_limit >= 0.95 && violations == 0 && tally.wrong == 0,
    )])
}
