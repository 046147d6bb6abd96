//! Prints what the uplink costs: CPU per sample of 50 values, flat out and at a steady 50 samples a second, against
//! Debian's mosquitto, and what a batch weighs on the wire.
//!
//! `cargo run --release -p gatehouse-uplink --example uplink-figures`

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::broker::{Box1, Core, Mosquitto, until, without_mosquitto};
use common::{name, sample_of, stamp};
use gatehouse_core::{Body, Kind, Lane, PointIx, PointReading, Record, Schema, SchemaPoint, Value};
use gatehouse_uplink::payload::PayloadWriter;
use gatehouse_uplink::{Broker, Inventory, Settings};
use tokio::task::LocalSet;

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn rss_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim().to_owned();
    format!("VmRSS {}, RssAnon {}", field("VmRSS:"), field("RssAnon:"))
}

fn meter(points: u16, kind: Kind) -> Arc<Schema> {
    let point = |n| SchemaPoint { name: name(&format!("value_{n:02}")), kind };
    Arc::new(Schema { device: name("meter-101"), points: (0..points).map(point).collect() })
}

fn floats(schema: &Arc<Schema>, base: f32) -> Body {
    let reading = |n: u16| PointReading::new(PointIx(n), Ok(Value::F32(base + f32::from(n) * 0.37)));
    Body::Sample { schema: schema.clone(), readings: (0..50).map(reading).collect() }
}

fn writing() {
    let schema = meter(50, Kind::F32);
    let record = Record { lane: Lane::Telemetry, seq: 1, stamp: stamp(0), body: floats(&schema, 230.13) };
    let (mut writer, mut out) = (PayloadWriter::new("box-1", false), Vec::new());
    let began = cpu();
    for _ in 0..100_000 {
        out.clear();
        writer.record(&mut out, &record, (record.stamp.wall, record.stamp.trust));
    }
    let each = (cpu() - began) / 100_000;
    println!("writing a sample of 50 float32: {each:?}, {} bytes", out.len());
    let (mut out, mut spare) = (Vec::new(), Vec::new());
    for (points, of) in [(3u16, 100u32), (12, 100), (12, 1)] {
        let (mut writer, schema) = (PayloadWriter::new("box-1", true), meter(points, Kind::Decimal { exponent: -2 }));
        out.clear();
        writer.begin(&mut out, 3, Lane::Telemetry, 1);
        for n in 0..of {
            let jitter = fastrand::i128(0..5000);
            let body = sample_of(&schema, 23_000 + jitter);
            let record = Record { lane: Lane::Telemetry, seq: n.into(), stamp: stamp(u64::from(n) * 613), body };
            writer.record(&mut out, &record, (record.stamp.wall, record.stamp.trust));
            if n + 1 < of {
                writer.next(&mut out);
            }
        }
        let plain = out.len();
        writer.end(&mut out, &mut spare);
        println!("{of} samples of {points} decimals: {plain} bytes, with zstd {}", out.len());
    }
}

async fn link(broker: &Mosquitto, steady: bool) {
    let address = Broker::parse(&format!("mqtt://127.0.0.1:{}", broker.port)).expect("a broker");
    let settings = Settings { hold_unsubscribed: false, ..Settings::new(name("box-1"), vec![address]) };
    let mut site = Box1::start(settings, Inventory::default());
    site.up().await;
    let schema = meter(50, Kind::F32);
    let (began, at) = (cpu(), Instant::now());
    let count = if steady { 1000 } else { 200_000 };
    for n in 0..count {
        site.store(Lane::Telemetry, floats(&schema, 230.13));
        if steady {
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else if n % 8 == 7 {
            tokio::task::yield_now().await;
        }
        while site.outbox.borrow().unacked() > 5000 {
            tokio::task::yield_now().await;
        }
    }
    until("all acknowledged", || site.outbox.borrow().unacked() == 0).await;
    let (spent, took) = (cpu() - began, at.elapsed());
    let share = spent.as_secs_f64() / took.as_secs_f64() * 100.0;
    let status = site.uplink.status();
    println!(
        "{count} samples in {took:.1?}: {:.1?} CPU each ({share:.2} % of a core), {} messages; {}",
        spent / count,
        status.counters.messages,
        rss_kb()
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    writing();
    if without_mosquitto() {
        return;
    }
    let broker = Mosquitto::start("");
    for steady in [true, false] {
        LocalSet::new().run_until(link(&broker, steady)).await;
    }
    // Kept in use: the same module serves the tests.
    let _ = Core::start;
}
