//! The forecast of the link against a day of a simulated site: other code decides what is recorded and when it leaves,
//! the uplink's own encoder writes it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use gatehouse_config::forecast::{self, Assumptions};
use gatehouse_config::{Site, check};
use gatehouse_core::{Body, Decimal, Lane, Mono, PointIx, PointReading, Record, Schema, Stamp, Trust, Value, Wall};
use gatehouse_drivers::profile::Library;
use gatehouse_rules::report::Reporter;
use gatehouse_uplink::payload::PayloadWriter;

const DAY_S: u64 = 86_400;

fn site(devices: u32, uplink: &str, report: &str) -> Site {
    let mut text = format!(
        "[site]\nid = \"block\"\n{report}\n[uplink]\nbrokers = [\"mqtts://core.example\"]\n{uplink}\n\
         [[bus]]\nid = \"a\"\ntcp = \"127.0.0.1\"\n"
    );
    for unit in 1..=devices {
        text.push_str(&format!(
            "[[device]]\nid = \"meter-{unit}\"\nbus = \"a\"\nunit = {unit}\nprofile = \"acrel-adl400\"\ninterval = \"1m\"\n\
             points = [\"import_energy\", \"voltage_l1\", \"voltage_l2\", \"current_l1\", \"power\", \"frequency\"]\n\
             billing = [\"import_energy\"]\n"
        ));
    }
    let loaded = check("site.toml", &text, Path::new(""), &Library::new()).map_err(|problems| problems.to_string());
    loaded.expect("the site file is sound").site
}

/// A meter: most polls repeat the last values, a tenth of them moves a point far.
struct Meter {
    schema: Arc<Schema>,
    mantissas: Vec<i128>,
    reporter: Reporter,
}

#[derive(Default)]
struct Sent {
    messages: u64,
    records: u64,
    payload: u64,
}

fn flush(site: &Site, lane: Lane, waiting: &mut Vec<Record>, sent: &mut Sent) {
    let settings = site.uplink.as_ref().expect("the site has an uplink");
    let mut writer = PayloadWriter::new(&site.id, settings.compress);
    let mut out = Vec::new();
    writer.begin(&mut out, 1_760_000_000_000_000, lane, waiting[0].seq);
    for (at, record) in waiting.iter().enumerate() {
        if at > 0 {
            writer.next(&mut out);
        }
        writer.record(&mut out, record, (record.stamp.wall, Trust::Synchronised));
    }
    writer.end(&mut out, &mut Vec::new());
    sent.messages += 1;
    sent.records += waiting.len() as u64;
    sent.payload += out.len() as u64;
    waiting.clear();
}

/// A day of the site: what one lane sends.
fn day(site: &Site, lane: Lane, moves: f64) -> Sent {
    let mut rng = fastrand::Rng::with_seed(11);
    let window = site.uplink.as_ref().expect("the site has an uplink").batch_window.as_secs();
    let mut meters: VecDeque<Meter> = VecDeque::new();
    for device in &site.devices {
        let mut near = |middle: i128, span: u32| middle + i128::from(rng.u32(..span));
        let mantissas =
            vec![near(800_000, 8_000_000), near(2250, 100), near(2250, 100), near(50, 2000), near(50, 3000), 5001];
        let reporter = Reporter::new(device.points.iter().map(|point| point.report).collect());
        meters.push_back(Meter { schema: device.schema(), mantissas, reporter });
    }
    let (mut sent, mut waiting, mut opened) = (Sent::default(), Vec::new(), 0);
    let count = site.devices.len() as u64;
    for second in 0..DAY_S {
        if !waiting.is_empty() && second - opened >= window {
            flush(site, lane, &mut waiting, &mut sent);
        }
        for (at, meter) in meters.iter_mut().enumerate() {
            if second % 60 != at as u64 * 60 / count {
                continue;
            }
            let mut readings = Vec::new();
            for (ix, mantissa) in meter.mantissas.iter_mut().enumerate() {
                let device = &site.devices[at];
                let point = &device.points[ix];
                if rng.f64() < moves {
                    // Farther than any dead-band of the site, either way.
                    *mantissa += if rng.bool() { 300 + i128::from(rng.u8(..)) } else { -300 - i128::from(rng.u8(..)) };
                }
                let exponent = point.spec.modbus().expect("a Modbus meter").scale.exponent;
                let value = Ok(Value::Decimal(Decimal { mantissa: mantissa.abs() + 1000, exponent }));
                let reading = PointReading::new(PointIx(u16::try_from(ix).expect("six points")), value);
                if point.billing == (lane == Lane::Billing)
                    && meter.reporter.admit(Mono::from_millis(second * 1000), &reading)
                {
                    readings.push(reading);
                }
            }
            if readings.is_empty() {
                continue;
            }
            if waiting.is_empty() {
                opened = second;
            }
            let wall = Wall(1_773_480_413_589_000 + i64::try_from(second).expect("a day") * 1_000_417);
            let stamp = Stamp { wall, ..Stamp::default() };
            let seq = 12_345_678 + sent.records + waiting.len() as u64;
            let body = Body::Sample { schema: meter.schema.clone(), readings };
            waiting.push(Record { lane, seq, stamp, body });
            if window == 0 || waiting.len() >= 256 {
                flush(site, lane, &mut waiting, &mut sent);
            }
        }
    }
    sent
}

#[expect(clippy::cast_precision_loss, reason = "counts of a day")]
fn off(predicted: f64, counted: u64) -> f64 {
    (predicted / 30.0 - counted as f64) / counted as f64 * 100.0
}

fn compare(devices: u32, uplink: &str, report: &str, moves: f64) {
    let site = site(devices, uplink, report);
    let (billing, telemetry) = (day(&site, Lane::Billing, moves), day(&site, Lane::Telemetry, moves));
    let predicted = forecast::link(&site, Assumptions { moves }).expect("the site has an uplink");
    let records = off(predicted.records, billing.records + telemetry.records);
    let messages = off(predicted.messages, billing.messages + telemetry.messages);
    let payload = off(predicted.payload_bytes, billing.payload + telemetry.payload);
    println!("{devices} meters, {uplink}: records {records:+.1} %, messages {messages:+.1} %, payload {payload:+.1} %");
    for (what, percent) in [("records", records), ("messages", messages), ("payload", payload)] {
        assert!(percent.abs() < 10.0, "{what} are off by {percent:.1} %");
    }
}

const BANDS: &str =
    "[report]\ndefault = \"on-change\"\nheartbeat = \"1h\"\ndeadband = { V = \"2\", A = \"0.5\", W = \"100\" }";

#[test]
fn the_forecast_of_every_reading_at_once_is_within_ten_percent() {
    compare(10, "", "", 1.0);
}

#[test]
fn the_forecast_with_batches_is_within_ten_percent() {
    compare(30, "batch_window = \"30s\"", "", 1.0);
    compare(100, "batch_window = \"30s\"\ncompress = true", "", 1.0);
}

#[test]
fn the_forecast_with_deadbands_is_within_ten_percent() {
    compare(30, "batch_window = \"1m\"", BANDS, 0.1);
    compare(100, "batch_window = \"1m\"\ncompress = true", BANDS, 0.1);
    compare(5, "", BANDS, 0.02);
}
