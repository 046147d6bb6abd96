//! What a reading takes on disk, with the store alone and its time simulated.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gatehouse_core::{
    BootId, Kind, Lane, Mono, Name, PointIx, PointReading, Schema, SchemaPoint, Stamp, Trust, Value, Wall,
};
use gatehouse_drivers::profile::Library;
use gatehouse_store::{Settings, Store};

use super::stage::Folders;
use super::{Bench, Row};
use crate::slave::model::Model;

/// Between two polls of a device.
const MINUTE: Duration = Duration::from_secs(60);
/// Wall time at which simulations begin: 2026-01-01T00:00:00Z.
const EPOCH_US: i64 = 1_767_225_600_000_000;
/// Mono time at which simulations begin: some hours after boot.
const BOOT_NS: u64 = 10_000_000_000_000;
/// How long the store's own thread may take for one block.
const BLOCK: Duration = Duration::from_millis(500);

/// One simulated device of a store run.
pub(super) struct Meter {
    schema: Arc<Schema>,
    value: Box<dyn Fn(usize, u64) -> Value>,
}

impl Meter {
    /// A meter of a profile, its values at the resolution that they are shown with.
    pub(super) fn of_profile(profile: &str, number: u64) -> anyhow::Result<Self> {
        let points = Library::new().find(profile).map(|profile| profile.points.clone()).unwrap_or_default();
        let model = Model::new(number, 60_000_000, EPOCH_US, points);
        let schema = schema(number, model.points().iter().map(|point| (point.name.clone(), point.kind())))?;
        let first = model.generation(EPOCH_US);
        let value = move |point: usize, minute: u64| {
            let name = &model.points()[point].name;
            let generation = first + i64::try_from(minute).unwrap_or(i64::MAX);
            model.value(name, generation).unwrap_or(Value::Bool(false))
        };
        Ok(Meter { schema, value: Box::new(value) })
    }

    /// A meter whose floats carry the full noise of their converter: half a percent around their mean, all 24 bits, and
    /// every fifth a counter.
    pub(super) fn of_noisy_floats(points: u16, number: u64) -> anyhow::Result<Self> {
        let names = (0..points).map(|point| Name::new(&format!("p{point:02}")));
        let names: Vec<Name> = names.collect::<Result<_, _>>()?;
        let schema = schema(number, names.into_iter().map(|name| (name, Kind::F32)))?;
        let value = move |point: usize, minute: u64| {
            let mut random = fastrand::Rng::with_seed(number << 40 ^ (point as u64) << 32 ^ minute);
            #[expect(clippy::cast_precision_loss, reason = "plausible numbers")]
            let (own, passed) = ((number * 31 + point as u64 * 7) as f32, minute as f32);
            Value::F32(if point % 5 == 4 {
                1000.0 + own + passed * 0.037
            } else {
                (230.0 + own) * (1.0 + (random.f32() - 0.5) * 0.01)
            })
        };
        Ok(Meter { schema, value: Box::new(value) })
    }
}

fn schema(number: u64, points: impl Iterator<Item = (Name, Kind)>) -> anyhow::Result<Arc<Schema>> {
    let points = points.map(|(name, kind)| SchemaPoint { name, kind }).collect();
    Ok(Arc::new(Schema { device: Name::new(&format!("meter-{number:03}"))?, points }))
}

/// What a run of the store came to.
pub(super) struct Run {
    /// Readings appended.
    pub(super) readings: u64,
    /// Readings that were sealed to disk.
    pub(super) sealed: u64,
    /// Bytes of their blocks.
    pub(super) block_bytes: u64,
}

/// Polls each meter once a minute, phases spread, for `minutes` of simulated time; with the link up each sample is
/// acknowledged before the next one.
pub(super) fn run(dir: &Path, tail: &Path, meters: &[Meter], minutes: u64, link_up: bool) -> anyhow::Result<Run> {
    let wakes = Arc::<AtomicU64>::default();
    let wake = wakes.clone();
    let stamp = |ns: u64| Stamp {
        boot: BootId(1),
        mono: Mono(BOOT_NS + ns),
        wall: Wall(EPOCH_US + i64::try_from(ns / 1000).unwrap_or(0)),
        trust: Trust::Synchronised,
    };
    let wake = Arc::new(move || {
        wake.fetch_add(1, Relaxed);
    });
    let (mut store, _) = Store::open(Settings::new(dir, tail), stamp(0), wake)?;
    store.handle_link(stamp(0).mono, link_up);
    let step = u64::try_from(MINUTE.as_nanos())? / meters.len() as u64;
    let (mut readings, mut sample) = (0, Vec::new());
    for minute in 0..minutes {
        for (meter, at) in meters.iter().zip(0u64..) {
            let now = stamp((minute * meters.len() as u64 + at) * step);
            advance(&mut store, now.mono, &wakes, link_up);
            sample.clear();
            for (point, ix) in (0..meter.schema.points.len()).zip(0u16..) {
                sample.push(PointReading::new(PointIx(ix), Ok((meter.value)(point, minute))));
            }
            readings += sample.len() as u64;
            let seq = store.append_sample(Lane::Telemetry, now, &meter.schema, &sample)?;
            if link_up {
                store.ack(Lane::Telemetry, seq, seq);
            }
        }
    }
    advance(&mut store, stamp(minutes * u64::try_from(MINUTE.as_nanos())? + 3_600_000_000_000).mono, &wakes, link_up);
    let written = store.status().written;
    Ok(Run { readings, sealed: written.readings, block_bytes: written.block_bytes })
}

/// Lets simulated time pass, waiting for the store's own thread after each thing that came due.
fn advance(store: &mut Store, now: Mono, wakes: &AtomicU64, link_up: bool) {
    while let Some(at) = store.poll_timeout().filter(|&at| at <= now) {
        let before = wakes.load(Relaxed);
        store.handle_timeout(at);
        let deadline = Instant::now() + BLOCK;
        while !link_up && wakes.load(Relaxed) == before && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(100));
        }
        while store.poll_event().is_some() {}
    }
    store.handle_timeout(now);
    while store.poll_event().is_some() {}
}

/// Bytes of a reading on disk with the link down, meters polled each minute and sealed in the windows of an outage.
pub(super) fn bytes_per_reading(_: &Bench) -> anyhow::Result<Vec<Row>> {
    let typical = |number| match number % 3 {
        0 => Meter::of_profile("eastron-sdm630", number),
        1 => Meter::of_profile("schneider-iem3000", number),
        _ => Meter::of_profile("chint-dtsu666", number),
    };
    let mut rows = Vec::new();
    for (name, meter) in [
        ("spool: bytes a reading, 48 typical meters", &typical as &dyn Fn(u64) -> anyhow::Result<Meter>),
        ("spool: bytes a reading, 48 meters of full-noise floats", &|number| Meter::of_noisy_floats(20, number)),
    ] {
        let folders = Folders::new()?;
        let meters = (0..48).map(meter).collect::<anyhow::Result<Vec<Meter>>>()?;
        let run = run(folders.disk.path(), folders.memory.path(), &meters, 60, false)?;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let each = run.block_bytes as f64 / run.sealed.max(1) as f64;
        let figure = format!("{each:.2} ({} readings sealed of {})", run.sealed, run.readings);
        rows.push(Row::new(name, figure, "≤ 6", "", each <= 6.0 && run.sealed > 0));
    }
    Ok(rows)
}
