//! The broker away: killed, frozen, and killed with a kill -9 of the gateway half-way.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::identity::{Arrival, wall_at};
use super::stage::{Setting, Stage, describe_device, wait_for};
use super::{Bench, Row};
use crate::receive::Tally;
use crate::rig::{BrokerKind, Link, Status};
use crate::slave::answer::Memory;
use crate::slave::identity::{AnswerTimes, Identity};
use crate::slave::tcp::{TcpSlave, TcpSlaves};

/// 25 devices of ten values each second are 250 values/s in small records.
const DEVICES: u32 = 25;
const POINTS: u16 = 10;
/// Traffic before the outage.
const BEFORE: Duration = Duration::from_secs(3);
/// How long the backlog may take before the measure gives up.
const DRAIN: Duration = Duration::from_secs(60);
/// What the broker has of the traffic before it is killed reaches the receiver meanwhile: mosquitto keeps nothing on
/// disk here, and what it acknowledged and then loses is not the gateway's loss.
const HAND_OVER: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Kill,
    Freeze,
    KillBoth,
}

struct Result {
    lost: u64,
    out_of_order: u64,
    wrong: u64,
    duplicates: u64,
    backlog: usize,
    drained_s: f64,
    fresh_s: f64,
}

/// The three cases, side by side.
pub(super) fn all(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let cases = [
        (Case::Kill, "broker killed"),
        (Case::Freeze, "broker frozen"),
        (Case::KillBoth, "broker killed, gateway kill -9 half-way"),
    ];
    let seconds = bench.outage.as_secs();
    let results = std::thread::scope(|scope| {
        // Each a few seconds after the one before, so that their recoveries do not share the machine's cores.
        let running = cases.map(|(case, _)| {
            let running = scope.spawn(move || measure(bench, case));
            std::thread::sleep(Duration::from_secs(4));
            running
        });
        running.map(|running| running.join().unwrap_or_else(|_| bail!("the measure panicked")))
    });
    let mut rows = Vec::new();
    for ((_, name), result) in cases.into_iter().zip(results) {
        let result = result.with_context(|| name.to_owned())?;
        let sound = result.lost + result.out_of_order + result.wrong == 0;
        rows.push(Row::new(
            format!("{name}, {seconds} s at 250 values/s: lost, out of order, wrong"),
            format!("{}, {}, {} ({} records again)", result.lost, result.out_of_order, result.wrong, result.duplicates),
            "0, 0, 0",
            "",
            sound,
        ));
        rows.push(Row::new(
            "  from CONNACK: backlog drained, first fresh value",
            format!("{:.2} s ({} records), {:.2} s", result.drained_s, result.backlog, result.fresh_s),
            "≤ 1.5 s, ≤ 1 s",
            "",
            result.drained_s <= 1.5 && result.fresh_s <= 1.0,
        ));
    }
    Ok(rows)
}

fn measure(bench: &Bench, case: Case) -> anyhow::Result<Result> {
    let times: Vec<Arc<AnswerTimes>> = (0..DEVICES).map(|_| Arc::default()).collect();
    let slaves = (0..DEVICES).zip(&times).map(|(number, times)| {
        let memory: Box<dyn Memory> = Box::new(Identity::new(number, 1, POINTS, times.clone()));
        TcpSlave { units: vec![(1, memory)], delay: Duration::ZERO }
    });
    let slaves = TcpSlaves::start(slaves.collect())?;
    let describe = |file: &mut crate::rig::SiteFile| {
        for (number, address) in (0u32..).zip(&slaves.addresses) {
            let bus = format!("b{number:02}");
            file.tcp_bus(&bus, *address, "");
            describe_device(file, number, &bus, 1, "1s", (1, POINTS));
        }
    };
    let uplink = "response_timeout = \"2s\"\nconnect_timeout = \"2s\"";
    let mut stage = Stage::start(bench, Setting { times, with_link: true, uplink, describe: &describe })?;
    stage.wait_for_values(u64::from(DEVICES) * u64::from(POINTS))?;
    std::thread::sleep(BEFORE);
    stage.arrivals.take();
    let back = outage(bench, &mut stage, case)?;
    let connack = wait_for_connack(&stage, back)?;
    let last = stage.gateway.api.status()?;
    wait_for_all(&stage, &last)?;
    let tally = stage.tally();
    let arrivals = stage.arrivals.take();
    Ok(account(&tally, &last, &arrivals, connack))
}

/// Takes the broker away and brings it back; when that was, in nanoseconds of the simulation's clock.
fn outage(bench: &Bench, stage: &mut Stage, case: Case) -> anyhow::Result<u64> {
    let embedded = stage.broker.kind() == BrokerKind::Rumqttd;
    let link = |stage: &Stage, link: Link| {
        if let Some(proxy) = &stage.proxy {
            proxy.set(link);
        }
    };
    match case {
        Case::Freeze if embedded => link(stage, Link::Frozen),
        Case::Freeze => stage.broker.freeze(true),
        Case::Kill | Case::KillBoth => {
            link(stage, Link::Cut);
            std::thread::sleep(HAND_OVER);
            stage.broker.kill();
        }
    }
    std::thread::sleep(bench.outage / 2);
    if case == Case::KillBoth {
        stage.restart_gateway()?;
    }
    std::thread::sleep(bench.outage / 2);
    let subscribed = stage.subscriber.subscribed();
    if case != Case::Freeze && !embedded {
        stage.broker.restart()?;
        wait_for("the receiver's subscription", || stage.subscriber.subscribed() > subscribed)?;
    }
    let back = crate::sim_clock::now_ns();
    link(stage, Link::Up);
    if case == Case::Freeze && !embedded {
        stage.broker.freeze(false);
    }
    Ok(back)
}

/// When the broker answered the connection that carries records again.
fn wait_for_connack(stage: &Stage, back: u64) -> anyhow::Result<u64> {
    let connack = || stage.proxy.as_ref().map_or(0, |proxy| proxy.traffic.connack_ns.load(Relaxed));
    let fresh = || stage.subscriber.tally.with(|tally| tally.last_ns) > back.max(connack());
    let deadline = Instant::now() + DRAIN;
    while connack() < back || !fresh() {
        if Instant::now() > deadline {
            bail!("the gateway did not come back to the broker at {}", stage.broker_address());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(connack())
}

fn missing(tally: &Tally, last: &Status) -> u64 {
    let lanes = last.spool.lanes.iter();
    lanes.map(|lane| tally.ledger.missing(last.spool.epoch, &lane.lane, lane.newest)).sum()
}

fn wait_for_all(stage: &Stage, last: &Status) -> anyhow::Result<()> {
    let deadline = Instant::now() + DRAIN;
    while missing(&stage.tally(), last) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Some fresh records after the backlog, for the first fresh value.
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn account(tally: &Tally, last: &Status, arrivals: &[Arrival], connack: u64) -> Result {
    let connack_wall = wall_at(connack);
    let since = |ns: u64| ns.saturating_sub(connack) as f64 / 1e9;
    let after = || arrivals.iter().filter(|arrival| arrival.now_ns >= connack);
    let backlog = || after().filter(|arrival| arrival.at_us < connack_wall);
    let fresh = after().filter(|arrival| arrival.at_us >= connack_wall).map(|arrival| since(arrival.now_ns));
    Result {
        lost: missing(tally, last) + tally.ledger.lost(),
        out_of_order: tally.out_of_order,
        wrong: tally.wrong + tally.unknown + tally.malformed,
        duplicates: tally.duplicates,
        backlog: backlog().count(),
        drained_s: backlog().map(|arrival| since(arrival.now_ns)).fold(0.0, f64::max),
        fresh_s: fresh.fold(f64::INFINITY, f64::min),
    }
}
