//! Modbus TCP: CPU, memory, latency and cadence of a steady site, and how much goes through flat out.

use std::sync::Arc;
use std::time::Duration;

use super::identity::{Arrival, quantile};
use super::process::cpu_ns;
use super::stage::{Setting, Stage, describe_device};
use super::{Bench, Row};
use crate::sim_clock::now_ns;
use crate::slave::answer::Memory;
use crate::slave::identity::{AnswerTimes, Identity};
use crate::slave::tcp::{TcpSlave, TcpSlaves};

const SLAVES: u32 = 50;
const POINTS: u16 = 50;
/// After this, connections are made and phases spread.
const WARM_UP: Duration = Duration::from_secs(4);

struct Site {
    stage: Stage,
    // The slaves end after the gateway.
    _slaves: TcpSlaves,
}

fn start(bench: &Bench, interval: &str, delay: Duration) -> anyhow::Result<Site> {
    let times: Vec<Arc<AnswerTimes>> = (0..SLAVES).map(|_| Arc::default()).collect();
    let slaves = (0..SLAVES).zip(&times).map(|(number, times)| {
        let memory: Box<dyn Memory> = Box::new(Identity::new(number, 1, POINTS, times.clone()));
        TcpSlave { units: vec![(1, memory)], delay }
    });
    let slaves = TcpSlaves::start(slaves.collect())?;
    let addresses = slaves.addresses.clone();
    let describe = |file: &mut crate::rig::SiteFile| {
        for (number, address) in (0u32..).zip(&addresses) {
            let bus = format!("b{number:02}");
            file.tcp_bus(&bus, *address, "");
            describe_device(file, number, &bus, 1, interval, (1, POINTS));
        }
    };
    let mut stage = Stage::start(bench, Setting { times, with_link: false, uplink: "", describe: &describe })?;
    stage.wait_for_values(u64::from(SLAVES) * u64::from(POINTS))?;
    std::thread::sleep(WARM_UP);
    Ok(Site { stage, _slaves: slaves })
}

/// Slaves that answer at once.
pub(super) fn prompt_slaves(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    steady(bench, Duration::ZERO, "TCP 50 × 50 float32 at 1 s, QoS 1")
}

/// Slaves that take 50 ms.
pub(super) fn slow_slaves(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    steady(bench, Duration::from_millis(50), "the same, slaves take 50 ms")
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn steady(bench: &Bench, delay: Duration, name: &str) -> anyhow::Result<Vec<Row>> {
    let site = start(bench, "1s", delay)?;
    let pid = site.stage.gateway.id();
    site.stage.arrivals.take();
    let (cpu, begin) = (cpu_ns(pid)?, now_ns());
    std::thread::sleep(bench.steady);
    let share = (cpu_ns(pid)? - cpu) as f64 / (now_ns() - begin) as f64 * 100.0;
    let memory = site.stage.memory()?;
    let arrivals = site.stage.arrivals.take();
    let tally = site.stage.tally();
    let mut latencies: Vec<u64> = arrivals.iter().filter_map(|arrival| arrival.latency_ns).collect();
    latencies.sort_unstable();
    let ms = |share: f64| quantile(&latencies, share).map_or(f64::NAN, |ns| ns as f64 / 1e6);
    let (mean_off, worst) = cadence(&arrivals);
    let sound = tally.wrong + tally.unknown + tally.out_of_order + tally.malformed == 0;
    Ok(vec![
        Row::new(
            format!("{name}: CPU ({})", site.stage.broker_name()),
            format!("{share:.2} % of a core"),
            "≤ 0.5 %",
            "0.8 %",
            share <= 0.5,
        ),
        Row::new("  memory", memory.to_string(), "RSS ≤ 12 MiB", "11 MiB", memory.within(12, None)),
        Row::new(
            "  poll to subscriber",
            format!("p50 {:.2} ms, p99 {:.2} ms of {} samples", ms(0.5), ms(0.99), latencies.len()),
            "p99 ≤ 3 ms",
            "2 ms",
            ms(0.99) <= 3.0,
        ),
        Row::new(
            "  cadence",
            format!("mean off by {mean_off:.3} %, 99 % of intervals within {worst:.1} ms"),
            "within 1 %",
            "",
            mean_off <= 1.0,
        ),
        Row::new(
            "  values under a wrong point or out of order",
            format!("{} of {}", tally.wrong, tally.values),
            "0",
            "",
            sound,
        ),
    ])
}

/// How far the mean interval of the worst device is from one second, in percent, and how far 99 % of all intervals are,
/// in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn cadence(arrivals: &[Arrival]) -> (f64, f64) {
    let (mut worst, mut offs) = (0.0f64, Vec::new());
    for device in 0..SLAVES {
        let mut times: Vec<i64> = arrivals.iter().filter(|a| a.device == device).map(|a| a.at_us).collect();
        times.sort_unstable();
        offs.extend(times.windows(2).map(|pair| (pair[1] - pair[0] - 1_000_000).unsigned_abs()));
        match (times.first(), times.last()) {
            (Some(first), Some(last)) if times.len() > 2 => {
                let mean = (last - first) as f64 / (times.len() - 1) as f64;
                worst = worst.max((mean / 1e6 - 1.0).abs() * 100.0);
            }
            _ => worst = 100.0,
        }
    }
    offs.sort_unstable();
    (worst, quantile(&offs, 0.99).map_or(f64::NAN, |us| us as f64 / 1000.0))
}

/// The same site, polled as fast as it goes.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn flat_out(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let site = start(bench, "1ms", Duration::ZERO)?;
    let pid = site.stage.gateway.id();
    let values = || site.stage.subscriber.tally.with(|tally| tally.values);
    let (cpu, before, begin) = (cpu_ns(pid)?, values(), now_ns());
    std::thread::sleep(bench.steady.min(Duration::from_secs(15)));
    let (cpu, delivered, window) = (cpu_ns(pid)? - cpu, values() - before, now_ns() - begin);
    let per_cpu = delivered as f64 / (cpu as f64 / 1e9);
    let (tally, memory) = (site.stage.tally(), site.stage.memory()?);
    let lost = tally.ledger.lost();
    let wrong = tally.wrong + tally.unknown + tally.out_of_order + tally.malformed + lost;
    Ok(vec![
        Row::new(
            "flat out: values delivered per CPU second",
            format!(
                "{per_cpu:.0} ({:.0}/s on {:.0} % of a core)",
                delivered as f64 / (window as f64 / 1e9),
                cpu as f64 / window as f64 * 100.0
            ),
            "≥ 700,000",
            "340,000",
            per_cpu >= 700_000.0,
        ),
        Row::new("  lost, out of order or wrong; memory", format!("{wrong}; {memory}"), "0", "", wrong == 0),
    ])
}
