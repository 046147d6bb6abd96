//! Sizes and the start: the binary, the first delivered reading, and memory when little happens.

use std::sync::Arc;
use std::time::Duration;

use super::stage::{Setting, Stage, describe_device};
use super::{Bench, Row};
use crate::slave::answer::Memory;
use crate::slave::identity::{AnswerTimes, Identity};
use crate::slave::tcp::{TcpSlave, TcpSlaves};

/// Starts that are measured; the middle one counts.
const STARTS: usize = 5;
/// After this, an idle gateway has done what it does at the start.
const IDLE: Duration = Duration::from_secs(10);

/// Binary size, start, and idle memory.
pub(super) fn all(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let bytes = std::fs::metadata(bench.gateway()?)?.len();
    let mut starts: Vec<Duration> = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let (stage, _slaves) = start(bench, "1s")?;
        starts.push(stage.first_reading);
    }
    starts.sort_unstable();
    let (middle, worst) = (starts[STARTS / 2], starts[STARTS - 1]);
    let (stage, _slaves) = start(bench, "60s")?;
    std::thread::sleep(IDLE);
    let memory = stage.memory()?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let megabytes = bytes as f64 / 1e6;
    Ok(vec![
        Row::new("binary", format!("{megabytes:.1} MB"), "≤ 10 MB", "", bytes <= 10_000_000),
        Row::new(
            "start to first delivered reading",
            format!("{} ms (worst of {STARTS}: {} ms)", middle.as_millis(), worst.as_millis()),
            "< 100 ms",
            "40–90 ms",
            middle < Duration::from_millis(100),
        ),
        Row::new("idle memory", memory.to_string(), "RSS ≤ 8 MiB, RssAnon ≤ 5", "RssAnon 4", memory.within(8, Some(5))),
    ])
}

/// A site of one device.
fn start(bench: &Bench, interval: &str) -> anyhow::Result<(Stage, TcpSlaves)> {
    let times = Arc::<AnswerTimes>::default();
    let memory: Box<dyn Memory> = Box::new(Identity::new(0, 1, 10, times.clone()));
    let slaves = TcpSlaves::start(vec![TcpSlave { units: vec![(1, memory)], delay: Duration::ZERO }])?;
    let describe = |file: &mut crate::rig::SiteFile| {
        file.tcp_bus("b00", slaves.addresses[0], "");
        describe_device(file, 0, "b00", 1, interval, (1, 10));
    };
    let stage = Stage::start(bench, Setting { times: vec![times], with_link: false, uplink: "", describe: &describe })?;
    Ok((stage, slaves))
}
