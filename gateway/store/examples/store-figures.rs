//! Prints what the store costs: bytes a reading, time of an append, opening, memory, bytes written to the device.
//!
//! `cargo run -p gatehouse-store --release --example store-figures [FOLDER]`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_core::{
    BootId, Decimal, Kind, Lane, Mono, Name, PointIx, PointReading, Schema, SchemaPoint, Stamp, Trust, Value, Wall,
};
use gatehouse_store::{Settings, Store, StoreError};

/// Points of a three-phase meter, as many profiles name them.
const FLOATS: [&str; 16] = [
    "voltage_l1",
    "voltage_l2",
    "voltage_l3",
    "current_l1",
    "current_l2",
    "current_l3",
    "power_l1",
    "power_l2",
    "power_l3",
    "power_total",
    "reactive_power_total",
    "power_factor",
    "frequency",
    "thd_u",
    "thd_i",
    "demand",
];
const COUNTERS: [&str; 4] = ["import_energy", "export_energy", "import_reactive_energy", "export_reactive_energy"];

fn schema(meter: u32) -> Arc<Schema> {
    let name = |text: &str| Name::new(text).expect("a plain name");
    let float = FLOATS.map(|point| SchemaPoint { name: name(point), kind: Kind::F32 });
    let counter = COUNTERS.map(|point| SchemaPoint { name: name(point), kind: Kind::Decimal { exponent: -2 } });
    Arc::new(Schema { device: name(&format!("meter-{meter}")), points: float.into_iter().chain(counter).collect() })
}

/// A site's meters: floats with full-mantissa jitter of half a percent, counters that count.
struct Meters {
    schemas: Vec<Arc<Schema>>,
    counters: Vec<[i128; 4]>,
    readings: Vec<PointReading>,
    random: fastrand::Rng,
}

impl Meters {
    fn new(count: u32) -> Self {
        Meters {
            schemas: (0..count).map(schema).collect(),
            counters: (0..count).map(|meter| [i128::from(meter) * 123_456 + 7_000_000; 4]).collect(),
            readings: Vec::new(),
            random: fastrand::Rng::with_seed(7),
        }
    }

    fn sample(&mut self, meter: usize) -> (&Arc<Schema>, &[PointReading]) {
        self.readings.clear();
        for point in 0..20u16 {
            let value = if let Some(counter) = usize::from(point).checked_sub(16) {
                self.counters[meter][counter] += i128::from(self.random.u8(0..90));
                Value::Decimal(Decimal { mantissa: self.counters[meter][counter], exponent: -2 })
            } else {
                let base = [230.0, 230.0, 230.0, 12.0, 11.0, 13.0, 2700.0, 2600.0][usize::from(point) % 8];
                Value::F32(base * (1.0 + 0.005 * (self.random.f32() - 0.5)))
            };
            self.readings.push(PointReading::new(PointIx(point), Ok(value)));
        }
        (&self.schemas[meter], &self.readings)
    }
}

fn stamp(now: Mono) -> Stamp {
    let wall = Wall(1_790_000_000_000_000 + i64::try_from(now.0 / 1000).unwrap_or(0));
    Stamp { boot: BootId(1), mono: now, wall, trust: Trust::Synchronised }
}

fn anon_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Bytes that this process sent towards the device, from the kernel.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

fn settle(store: &mut Store) {
    while store.poll_event().is_some() {}
}

/// One simulated span: `meters` of 20 points each minute, spread over it; gives readings stored.
fn span(store: &mut Store, meters: &mut Meters, now: &mut Mono, minutes: u64, acked: bool) -> Result<u64, StoreError> {
    let count = meters.schemas.len();
    let step = Duration::from_secs(60) / u32::try_from(count).unwrap_or(1);
    let mut readings = 0;
    for _ in 0..minutes {
        for meter in 0..count {
            *now = *now + step;
            let (schema, values) = meters.sample(meter);
            let seq = store.append_sample(Lane::Telemetry, stamp(*now), schema, values)?;
            readings += values.len() as u64;
            if acked {
                store.ack(Lane::Telemetry, seq, seq);
            }
            if store.poll_timeout().is_some_and(|due| due <= *now) {
                store.handle_timeout(*now);
                // The simulated minute is faster than the disk: let it finish what it was given.
                let began = Instant::now();
                while !acked && store.status().tail_bytes > 0 && began.elapsed() < Duration::from_millis(100) {
                    settle(store);
                    std::thread::yield_now();
                }
            }
            settle(store);
        }
    }
    Ok(readings)
}

fn settings(root: &Path, name: &str) -> Settings {
    let shm = Path::new("/dev/shm");
    let tail =
        if shm.is_dir() { shm.join(format!("gatehouse-figures-{}", std::process::id())) } else { root.join("tail") };
    Settings::new(root.join(name), tail.join(name))
}

fn main() -> Result<(), StoreError> {
    let root = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("gatehouse-figures"), PathBuf::from);
    let _ = std::fs::remove_dir_all(&root);
    let open = |name: &str, now| Store::open(settings(&root, name), stamp(now), Arc::new(|| {}));
    let mut now = Mono::from_millis(1000);
    println!("RssAnon before opening: {} KiB", anon_kib());
    let (mut store, _) = open("idle", now)?;
    println!("RssAnon with an open, idle store: {} KiB", anon_kib());

    let mut meters = Meters::new(50);
    let (rounds, began) = (4000u32, Instant::now());
    let mut spent = Duration::ZERO;
    for round in 0..rounds {
        now = now + Duration::from_millis(20);
        let meter = usize::try_from(round % 50).unwrap_or(0);
        let (schema, values) = meters.sample(meter);
        let start = Instant::now();
        let seq = store.append_sample(Lane::Telemetry, stamp(now), schema, values)?;
        store.read(Lane::Telemetry, seq, &mut |_| ControlFlow::Break(()))?;
        store.ack(Lane::Telemetry, seq, seq);
        let _ = store.poll_timeout();
        spent += start.elapsed();
    }
    settle(&mut store);
    println!(
        "append + read + acknowledge of 20 readings: {} ns (of {:?})",
        spent.as_nanos() / u128::from(rounds),
        began.elapsed()
    );
    println!("RssAnon after {rounds} samples with a healthy link: {} KiB", anon_kib());
    store.shutdown(now)?;

    for (points, count) in [(100, 5), (1000, 50), (5000, 250)] {
        for (link, acked) in [("up", true), ("down", false)] {
            let name = format!("{points}-{link}");
            let (mut store, _) = open(&name, now)?;
            store.handle_link(now, acked);
            let mut meters = Meters::new(count);
            let before = written_bytes();
            let minutes = 360;
            now = now + Duration::from_secs(120);
            let readings = span(&mut store, &mut meters, &mut now, minutes, acked)?;
            let status = store.status();
            let per_day = (written_bytes() - before) * 1440 / minutes;
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let each = status.written.block_bytes as f64 / status.written.readings.max(1) as f64;
            println!(
                "{points} points at 1 min, link {link}: {:.2} MB a day by the process's counter, {} syncs, {readings} readings, \
                 {each:.2} bytes a reading sealed, RssAnon {} KiB",
                per_day as f64 / 1e6,
                status.written.syncs * 1440 / minutes,
                anon_kib(),
            );
            store.shutdown(now)?;
        }
    }

    let (mut store, _) = open("million", now)?;
    store.handle_link(now, false);
    let mut meters = Meters::new(50);
    now = now + Duration::from_secs(120);
    let readings = span(&mut store, &mut meters, &mut now, 1000, false)?;
    println!("RssAnon after sealing them: {} KiB", anon_kib());
    store.shutdown(now)?;
    drop(store);
    let start = Instant::now();
    let (mut store, report) = open("million", now)?;
    println!("opening with {readings} readings held: {:?} ({:?})", start.elapsed(), report.last_stop);
    println!("RssAnon then: {} KiB", anon_kib());
    let (start, mut records) = (Instant::now(), 0u64);
    store.read(Lane::Telemetry, 1, &mut |_| {
        records += 1;
        ControlFlow::Continue(())
    })?;
    println!("reading all {records} records back: {:?}", start.elapsed());
    println!("RssAnon after that: {} KiB; status: {:?}", anon_kib(), store.status().lanes[5]);
    store.shutdown(now)
}
