//! The rules: their share of a core, one reading to its effects, and a day replayed twice.
//!
//! The engine runs alone, against a clock that is simulated, and waits for nothing: the CPU time of its thread is the time
//! that it needs, whoever else is busy on the machine. That is what the bars are held to; wall time is told beside it.

mod meters;
mod run;

use std::time::{Duration, Instant};

use anyhow::ensure;
use gatehouse_core::{DeviceIx, PointIx, PointReading, Value};
use rustix::time::{ClockId, clock_gettime};

use super::{Bench, Row};
use meters::{DEVICES, POINTS, POWER};
use run::Run;

/// Readings a second that the first bar is set at: each point once.
const RATE: u32 = DEVICES * 10;
/// Simulated seconds of the steady measure.
const STEADY: u32 = 120;
/// Readings of the measure of one reading.
const SINGLE: u32 = 20_000;
/// Simulated time between two of them, so that no alarm comes three times a minute and is told in sums.
const APART: Duration = Duration::from_millis(100);
/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// 1,000 rules over 5,000 points.
pub(super) fn all(_: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![cpu_share()?, one_reading()?];
    rows.extend(day_twice()?);
    Ok(rows)
}

/// The share of a core at [`RATE`], fed as polls of ten points and as single readings; the dearer one counts.
fn cpu_share() -> anyhow::Result<Row> {
    let mut shares = Vec::new();
    for each in [POINTS.len(), 1] {
        let mut run = Run::start()?;
        let mut cpu = Duration::ZERO;
        for second in 0..STEADY {
            let polls: Vec<_> = (0..DEVICES).map(|device| meters::poll(device, second, 30)).collect();
            let begin = thread_cpu();
            for (device, poll) in (0..DEVICES).zip(&polls) {
                let at = Duration::from_secs(second.into()) + Duration::from_millis(2) * device;
                for readings in poll.chunks(each) {
                    run.handle_sample(at, DeviceIx(device), readings)?;
                }
            }
            cpu += thread_cpu().saturating_sub(begin);
        }
        shares.push(cpu.as_secs_f64() / f64::from(STEADY) * 100.0);
    }
    let (polls, singles) = (shares[0], shares[1]);
    let figure = format!("{polls:.2} % in polls of ten points, {singles:.2} % one by one");
    let measure = format!("rules: 1,000 over 5,000 points at {RATE} readings/s");
    Ok(Row::new(measure, figure, "< 5 % of a core", "", polls.max(singles) < 5.0))
}

/// From a reading that raises or clears an alarm to its last effect, with whatever else is due.
fn one_reading() -> anyhow::Result<Row> {
    let mut run = Run::start()?;
    for device in 0..DEVICES {
        run.handle_sample(Duration::ZERO, DeviceIx(device), &meters::quiet())?;
    }
    let (mut spans, mut waited) = (Vec::new(), Vec::new());
    for number in 1..=SINGLE {
        let power = if (number / DEVICES).is_multiple_of(2) { 25.0 } else { 5.0 };
        let reading = [PointReading::new(PointIx(POWER), Ok(Value::F32(power)))];
        run.advance(APART * number)?;
        let before = run.effects();
        let (begin, cpu) = (Instant::now(), thread_cpu());
        run.handle_sample(APART * number, DeviceIx(number % DEVICES), &reading)?;
        let (cpu, wall) = (thread_cpu().saturating_sub(cpu), begin.elapsed());
        if run.effects() > before {
            spans.push(cpu);
            waited.push(wall);
        }
    }
    ensure!(spans.len() > SINGLE as usize / 2, "only {} of {SINGLE} readings had effects", spans.len());
    spans.sort_unstable();
    waited.sort_unstable();
    let share = |spans: &[Duration], thousandths: usize| spans[(spans.len() - 1) * thousandths / 1000];
    let of = |thousandths| share(&spans, thousandths);
    let us = |span: Duration| format!("{:.1} µs", span.as_secs_f64() * 1e6);
    let (middle, high, worst) = (us(of(500)), us(of(990)), us(of(1000)));
    let wall = us(share(&waited, 990));
    let figure = format!("p50 {middle}, p99 {high}, worst {worst} of {}; wall p99 {wall}", spans.len());
    let ok = of(990) < Duration::from_millis(1);
    Ok(Row::new("rules: one reading to its effects", figure, "p99 < 1 ms", "", ok))
}

/// A day of readings once a minute, as fast as it goes, and again.
fn day_twice() -> anyhow::Result<[Row; 2]> {
    let begin = Instant::now();
    let day = || -> anyhow::Result<(Duration, Run)> {
        let cpu = thread_cpu();
        let mut run = Run::start()?;
        for minute in 0..DAY {
            for device in 0..DEVICES {
                let at = Duration::from_secs(60) * minute + Duration::from_millis(120) * device;
                run.handle_sample(at, DeviceIx(device), &meters::poll(device, minute, 3))?;
            }
        }
        run.advance(Duration::from_secs(60) * DAY)?;
        Ok((thread_cpu().saturating_sub(cpu), run))
    };
    let ((first, one), (second, two)) = (day()?, day()?);
    let readings = u64::from(DAY) * u64::from(DEVICES) * POINTS.len() as u64;
    let (seconds, again) = (first.as_secs_f64(), second.as_secs_f64());
    let wall = begin.elapsed().as_secs_f64();
    let figure = format!("{seconds:.1} s, again {again:.1} s ({readings} readings); wall {wall:.1} s for both");
    let in_time = first.max(second) < Duration::from_secs(20);
    let identical = one.digest() == two.digest() && one.effects() == two.effects() && one.effects() > 0;
    let said = if identical { "byte-identical" } else { "they differ" };
    let effects = format!("{said}: {} effects, {:016x}, {:016x}", one.effects(), one.digest(), two.digest());
    Ok([
        Row::new("rules: 24 h of 5,000 points at 1 min replayed", figure, "< 20 s", "", in_time),
        Row::new("rules: the effects of both replays", effects, "identical", "", identical),
    ])
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, ns) = (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    Duration::new(seconds, ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_readings_have_the_same_effects() {
        let minutes = || {
            let mut run = Run::start().unwrap();
            for minute in 0..6 {
                for device in 0..DEVICES {
                    let at = Duration::from_secs(60) * minute + Duration::from_millis(120) * device;
                    run.handle_sample(at, DeviceIx(device), &meters::poll(device, minute, 3)).unwrap();
                }
            }
            (run.effects(), run.digest())
        };
        let (effects, digest) = minutes();
        assert!(effects > 10, "{effects}");
        assert_eq!(minutes(), (effects, digest));
    }
}
