//! The bytes of the link: real payloads of typical values, packets, TLS and TCP around them.

use std::time::Duration;

use gatehouse_core::{Body, Decimal, Kind, Lane, PointIx, PointReading, Record, Stamp, Trust, Value, Wall};
use gatehouse_rules::report::Policy;
use gatehouse_uplink::payload::PayloadWriter;
use gatehouse_uplink::{Settings, Version};

use crate::site::{Device, Group, Site};

/// Days of the month that is predicted.
const DAYS: f64 = 30.0;
/// IPv4 and TCP headers of a segment, with the timestamps that Linux sends (RFC 791, RFC 9293, RFC 7323).
const SEGMENT: f64 = 20.0 + 20.0 + 12.0;
/// Payload of a full segment on an Ethernet or mobile link: 1500 less the headers.
const SEGMENT_PAYLOAD: f64 = 1448.0;
/// A TLS 1.3 record around its content: header 5, content type 1, tag 16 (RFC 8446, 5.2).
const TLS_RECORD: f64 = 22.0;
/// A PUBACK without properties, and a ping with its answer (MQTT 5, 3.4 and 3.12).
const PUBACK: f64 = 4.0;
const PING: f64 = 2.0;
/// A message of records is closed at this size, and at this many records.
const MESSAGE_BYTES: f64 = 32_768.0;
const MESSAGE_RECORDS: f64 = 256.0;
/// A sequence number and an epoch of a box that has run for some months.
const SEQ: u64 = 12_345_678;
const EPOCH: u64 = 1_760_000_000;
/// 2026-03-14T09:26:53.589Z.
const WALL: Wall = Wall(1_773_480_413_589_000);

/// What cannot be known beforehand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumptions {
    /// Share of polls in which a point with a deadband, or one reported on change, moves: 0.0 to 1.0.
    pub moves: f64,
}

impl Default for Assumptions {
    /// One poll in ten.
    fn default() -> Self {
        Assumptions { moves: 0.1 }
    }
}

/// What is to be expected of the link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkForecast {
    /// Records a month, telemetry and billing.
    pub records: f64,
    /// Messages a month.
    pub messages: f64,
    /// Bytes of payload a month.
    pub payload_bytes: f64,
    /// Bytes a month on the link, both directions, headers included.
    pub bytes: f64,
    /// The part of `bytes` that is telemetry.
    pub telemetry_bytes: f64,
}

/// Predicts the link of a site in one month of 30 days without outages. `None` without an uplink.
pub fn link(site: &Site, assumptions: Assumptions) -> Option<LinkForecast> {
    let settings = site.uplink.as_ref()?;
    let lanes = [Lane::Billing, Lane::Telemetry].map(|lane| lane_traffic(site, settings, lane, assumptions));
    let second = DAYS * 86_400.0;
    let messages: f64 = lanes.iter().map(|lane| lane.messages).sum();
    let payload: f64 = lanes.iter().map(|lane| lane.payload).sum();
    let idle = if messages > 0.0 { 1.0 / messages } else { f64::INFINITY };
    let quiet = settings.keep_alive.as_secs_f64();
    // A link that is busier than its keep-alive needs no pings.
    let pings = if idle > quiet { 1.0 / quiet - messages.min(1.0 / quiet) } else { 0.0 };
    let ping = 2.0 * (PING + tls(settings) + SEGMENT) + SEGMENT;
    let records: f64 = lanes.iter().map(|lane| lane.records).sum();
    let telemetry = lanes.last().map_or(0.0, |lane| lane.bytes);
    let bytes = lanes.iter().map(|lane| lane.bytes).sum::<f64>() + pings * ping;
    Some(LinkForecast {
        records: records * second,
        messages: messages * second,
        payload_bytes: payload * second,
        bytes: bytes * second,
        telemetry_bytes: telemetry * second,
    })
}

/// What one lane sends, per second.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    records: f64,
    messages: f64,
    payload: f64,
    bytes: f64,
}

/// Records that a poll group makes in one lane.
struct Source {
    record: Record,
    per_second: f64,
}

fn lane_traffic(site: &Site, settings: &Settings, lane: Lane, assumptions: Assumptions) -> Traffic {
    let mut sources = Vec::new();
    for device in &site.devices {
        for group in &device.groups {
            sources.extend(source(device, group, lane, assumptions));
        }
    }
    let rate: f64 = sources.iter().map(|source| source.per_second).sum();
    if rate <= 0.0 {
        return Traffic::default();
    }
    let single: f64 = sources.iter().map(|s| s.per_second * message_bytes(settings, lane, &[&s.record])).sum();
    let single = single / rate;
    // The window opens with a record; those that come before it closes travel along.
    let wanted = (1.0 + rate * settings.batch_window.as_secs_f64()).min(MESSAGE_RECORDS);
    let (per_message, payload) = batch(settings, lane, &sources, wanted, single);
    let topic = format!("{}/v1/{}/{lane}/live", settings.prefix, settings.box_id).len();
    let messages = rate / per_message;
    let bytes = messages * on_the_link(settings, topic, payload);
    Traffic { records: rate, messages, payload: messages * payload, bytes }
}

/// How many records a message really takes, and its payload.
fn batch(settings: &Settings, lane: Lane, sources: &[Source], wanted: f64, single: f64) -> (f64, f64) {
    if wanted < 2.0 {
        // Between one and two records a message: in proportion.
        let pair = payload_of(settings, lane, sources, 2);
        return (wanted, single + (wanted - 1.0) * (pair - single));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 2 and 256")]
    let mut count = wanted.round() as usize;
    let plain = Settings { compress: false, ..settings.clone() };
    while count > 2 && payload_of(&plain, lane, sources, count) > MESSAGE_BYTES {
        count -= count.div_ceil(8);
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 256")]
    let records = count as f64;
    (records, payload_of(settings, lane, sources, count))
}

/// The payload of `count` records, taken from the sources as often as they speak.
fn payload_of(settings: &Settings, lane: Lane, sources: &[Source], count: usize) -> f64 {
    let total: f64 = sources.iter().map(|source| source.per_second).sum();
    let mut due: Vec<f64> = sources.iter().map(|_| 0.0).collect();
    let mut records = Vec::with_capacity(count);
    while records.len() < count {
        for (source, due) in sources.iter().zip(&mut due) {
            *due += source.per_second / total;
        }
        let Some(most) = (0..due.len()).max_by(|a, b| due[*a].total_cmp(&due[*b])) else { break };
        due[most] -= 1.0;
        records.push(&sources[most].record);
    }
    message_bytes(settings, lane, &records)
}

/// The payload of a message with these records, by the real encoder.
fn message_bytes(settings: &Settings, lane: Lane, records: &[&Record]) -> f64 {
    let mut writer = PayloadWriter::new(&settings.box_id, settings.compress);
    let (mut out, mut spare) = (Vec::new(), Vec::new());
    writer.begin(&mut out, EPOCH, lane, SEQ);
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            writer.next(&mut out);
        }
        let offset = u64::try_from(at).unwrap_or_default();
        let record = Record { seq: SEQ + offset, ..(*record).clone() };
        let step = i64::try_from(at).unwrap_or_default() * 317_000;
        writer.record(&mut out, &record, (Wall(WALL.0 + step), Trust::Synchronised));
    }
    writer.end(&mut out, &mut spare);
    length(out.len())
}

#[expect(clippy::cast_precision_loss, reason = "lengths of messages")]
fn length(bytes: usize) -> f64 {
    bytes as f64
}

fn tls(settings: &Settings) -> f64 {
    if settings.brokers.first().is_some_and(|broker| broker.tls) { TLS_RECORD } else { 0.0 }
}

/// A message with its packet, records and segments, its PUBACK and the acknowledgements of TCP.
fn on_the_link(settings: &Settings, topic: usize, payload: f64) -> f64 {
    let properties = if settings.version == Version::V5 { 1.0 } else { 0.0 };
    let body = 2.0 + length(topic) + 2.0 + properties + payload;
    let remaining = if body < 128.0 {
        1.0
    } else if body < 16_384.0 {
        2.0
    } else {
        3.0
    };
    let packet = 1.0 + remaining + body;
    let content = packet + tls(settings) * (packet / 16_384.0).ceil();
    let segments = (content / SEGMENT_PAYLOAD).ceil();
    // The PUBACK carries the acknowledgement of the message; of many segments every second is acknowledged before.
    let early = ((segments - 1.0) / 2.0).floor();
    let up = content + segments * SEGMENT;
    let down = PUBACK + tls(settings) + SEGMENT + early * SEGMENT;
    up + down + SEGMENT
}

/// The records that one poll group makes in a lane; `None` when it makes none there.
fn source(device: &Device, group: &Group, lane: Lane, assumptions: Assumptions) -> Option<Source> {
    let interval = group.interval.as_secs_f64();
    let mut silent = 1.0;
    let mut readings: Vec<(f64, PointReading)> = Vec::new();
    for ix in &group.points {
        let point = device.points.get(usize::from(ix.0))?;
        if point.billing != (lane == Lane::Billing) {
            continue;
        }
        let share = recorded(&point.report, group.interval, assumptions);
        silent *= 1.0 - share;
        readings
            .push((share, PointReading { point: *ix, value: Ok(typical(point.spec.kind(), &point.spec.unit, *ix)) }));
    }
    let speaks = 1.0 - silent;
    if readings.is_empty() || speaks <= 0.0 || interval <= 0.0 {
        return None;
    }
    let expected: f64 = readings.iter().map(|(share, _)| share).sum::<f64>() / speaks;
    let readings = choose(readings, expected);
    let body = Body::Sample { schema: device.schema(), readings };
    let record = Record { lane, seq: SEQ, stamp: Stamp { wall: WALL, ..Stamp::default() }, body };
    Some(Source { record, per_second: speaks / interval })
}

/// Those readings that make up the expected number, spread over the points by their shares.
fn choose(readings: Vec<(f64, PointReading)>, expected: f64) -> Vec<PointReading> {
    let total: f64 = readings.iter().map(|(share, _)| share).sum();
    let mut chosen = Vec::new();
    let mut due = 0.5;
    for (share, reading) in readings {
        due += expected * share / total;
        if due >= 1.0 {
            due -= 1.0;
            chosen.push(reading);
        }
    }
    chosen
}

/// The share of a point's readings that becomes records: those that moved, and the heartbeats of those that did not.
fn recorded(policy: &Policy, interval: Duration, assumptions: Assumptions) -> f64 {
    let (moves, heartbeat) = match policy {
        Policy::Always => return 1.0,
        Policy::OnChange { heartbeat } | Policy::DeadBand { heartbeat, .. } => (assumptions.moves, *heartbeat),
    };
    let moves = moves.clamp(0.0, 1.0);
    if heartbeat.is_zero() {
        return moves;
    }
    // A record comes after a move, or after `polls` polls without one: the mean distance of a truncated geometric.
    let polls = (heartbeat.as_secs_f64() / interval.as_secs_f64().max(1e-9)).ceil().max(1.0);
    if moves <= 0.0 {
        return 1.0 / polls;
    }
    moves / (1.0 - (1.0 - moves).powf(polls))
}

/// A value as such points usually have it.
fn typical(kind: Kind, unit: &str, ix: PointIx) -> Value {
    // Digits that differ from point to point, so that compression is not flattered.
    let noise = (u32::from(ix.0) * 7919 + 1237) % 1000;
    let whole: u32 = match unit {
        "V" => 231,
        "A" => 12,
        "W" | "VA" | "var" => 2345,
        "Hz" => 50,
        "kWh" | "kvarh" | "Wh" | "m3" => 48_123,
        "" => 0,
        _ => 23,
    };
    let milli = i128::from(whole) * 1000 + i128::from(noise);
    let real = f64::from(whole) + f64::from(noise) / 1000.0;
    match kind {
        Kind::Bool => Value::Bool(noise % 2 == 0),
        Kind::Text => Value::Text("A1B2C3D4".into()),
        #[expect(clippy::cast_possible_truncation, reason = "a float32 is what the point has")]
        Kind::F32 => Value::F32(real as f32),
        Kind::F64 => Value::F64(real),
        Kind::FreeDecimal => Value::Decimal(Decimal { mantissa: milli, exponent: -3 }),
        Kind::Decimal { exponent } => Value::Decimal(Decimal { mantissa: digits(milli, exponent), exponent }),
    }
}

/// The mantissa that `milli` thousandths have at an exponent.
fn digits(milli: i128, exponent: i8) -> i128 {
    let shift = i32::from(exponent) + 3;
    let factor = 10i128.pow(shift.unsigned_abs().min(30));
    if shift >= 0 { milli / factor } else { milli.saturating_mul(factor) }
}
