//! The bytes of the link: real payloads of typical values, packets, TLS and TCP around them.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use gatehouse_core::{Body, Decimal, Kind, Lane, PointIx, PointReading, Record, Schema, Stamp, Trust, Value, Wall};
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
const MESSAGE_BYTES: usize = 32_768;
const MESSAGE_RECORDS: f64 = 256.0;
/// Records that are written to learn the mean message.
const SAMPLED_RECORDS: usize = 1_000;
/// A sequence number and an epoch of a box that has run for some months.
const SEQ: u64 = 12_345_678;
const EPOCH: u64 = 1_760_000_000_000_000;
/// 2026-03-14T09:26:53.589Z.
const WALL: Wall = Wall(1_773_480_413_589_000);

/// Contacts of the box are looked at all the time and move like something that is polled so often.
const CONTACTS: Duration = Duration::from_secs(60);

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

/// A poll group and what it records in one lane.
struct Source<'a> {
    device: &'a Device,
    schema: Arc<Schema>,
    /// Its points in the lane, each with the share of its readings that is recorded.
    points: Vec<(PointIx, f64)>,
    /// Records a second.
    per_second: f64,
}

fn lane_traffic(site: &Site, settings: &Settings, lane: Lane, assumptions: Assumptions) -> Traffic {
    let groups = site.devices.iter().flat_map(|device| device.groups.iter().map(move |group| (device, group)));
    let sources: Vec<Source<'_>> =
        groups.filter_map(|(device, group)| source(device, group, lane, assumptions)).collect();
    let rate: f64 = sources.iter().map(|source| source.per_second).sum();
    if rate <= 0.0 {
        return Traffic::default();
    }
    // The window opens with a record; those that come before it closes travel along.
    let wanted = (1.0 + rate * settings.batch_window.as_secs_f64()).min(MESSAGE_RECORDS);
    let sampled = Sampler { settings, lane, sources: &sources, rate, rng: Rng::with_seed(1) }.run(wanted);
    let topic = format!("{}/v1/{}/{lane}/live", settings.prefix, settings.box_id).len();
    let messages = rate / sampled.records;
    // An acknowledgement waits up to 200 ms for a message to travel with (TCP_DELACK_MAX of Linux).
    let alone = (1.0 - messages * 0.2).max(0.0);
    let bytes = messages * (on_the_link(settings, topic, sampled.payload) + alone * SEGMENT);
    Traffic { records: rate, messages, payload: messages * sampled.payload, bytes }
}

/// Writes messages as the uplink would, with values that differ as those of meters do.
struct Sampler<'a> {
    settings: &'a Settings,
    lane: Lane,
    sources: &'a [Source<'a>],
    rate: f64,
    rng: Rng,
}

/// The mean message.
struct Mean {
    records: f64,
    payload: f64,
}

impl Sampler<'_> {
    fn run(mut self, wanted: f64) -> Mean {
        let (mut due, mut records, mut payload, mut messages) = (0.0, 0usize, 0usize, 0usize);
        let mut owed: Vec<f64> =
            self.sources.iter().map(|source| source.per_second / self.rate * self.rng.f64()).collect();
        while records < SAMPLED_RECORDS {
            due += wanted;
            let mut message = Message::begin(self.settings, self.lane);
            while due >= 1.0 && message.out.len() < MESSAGE_BYTES {
                due -= 1.0;
                let record = self.record(&mut owed);
                message.add(&record);
            }
            records += message.records;
            payload += message.end();
            messages += 1;
        }
        let messages = length(messages);
        Mean { records: length(records) / messages, payload: length(payload) / messages }
    }

    /// The next record, of the source that is most overdue.
    fn record(&mut self, owed: &mut [f64]) -> Record {
        let mut most = 0;
        for (at, source) in self.sources.iter().enumerate() {
            owed[at] += source.per_second / self.rate;
            if owed[at] > owed[most] {
                most = at;
            }
        }
        owed[most] -= 1.0;
        let source = &self.sources[most];
        let mut readings = Vec::new();
        for _ in 0..1000 {
            let chosen = source.points.iter().filter(|(_, share)| self.rng.f64() < *share);
            let chosen: Vec<PointIx> = chosen.map(|(ix, _)| *ix).collect();
            if chosen.is_empty() {
                continue;
            }
            for ix in chosen {
                let point = source.device.points.get(usize::from(ix.0));
                let value = point.map(|point| typical(point.spec.kind(), &point.spec.unit, &mut self.rng));
                readings.extend(value.map(|value| PointReading::new(ix, Ok(value))));
            }
            break;
        }
        let body = Body::Sample { schema: source.schema.clone(), readings };
        Record { lane: self.lane, seq: SEQ, stamp: Stamp { wall: WALL, ..Stamp::default() }, body }
    }
}

/// A message under the real encoder.
struct Message {
    writer: PayloadWriter,
    out: Vec<u8>,
    records: usize,
}

impl Message {
    fn begin(settings: &Settings, lane: Lane) -> Self {
        let writer = PayloadWriter::new(&settings.box_id, settings.compress);
        let mut out = Vec::new();
        writer.begin(&mut out, EPOCH, lane, SEQ);
        Message { writer, out, records: 0 }
    }

    fn add(&mut self, record: &Record) {
        if self.records > 0 {
            self.writer.next(&mut self.out);
        }
        let later = u64::try_from(self.records).unwrap_or_default();
        let at = Wall(WALL.0 + i64::try_from(later).unwrap_or_default() * 317_000);
        self.writer.record(&mut self.out, &Record { seq: SEQ + later, ..record.clone() }, (at, Trust::Synchronised));
        self.records += 1;
    }

    /// Its bytes.
    fn end(mut self) -> usize {
        self.writer.end(&mut self.out, &mut Vec::new());
        self.out.len()
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths of messages")]
fn length(bytes: usize) -> f64 {
    bytes as f64
}

fn tls(settings: &Settings) -> f64 {
    if settings.brokers.first().is_some_and(|broker| broker.tls) { TLS_RECORD } else { 0.0 }
}

/// A message with its packet, records and segments, and its PUBACK; not yet what acknowledges the PUBACK.
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
    up + down
}

/// What one poll group records in a lane; `None` when it records nothing there.
fn source<'a>(device: &'a Device, group: &Group, lane: Lane, assumptions: Assumptions) -> Option<Source<'a>> {
    let points = group.points.iter().filter_map(|ix| Some((*ix, device.points.get(usize::from(ix.0))?)));
    let points = points.filter(|(_, point)| point.billing == (lane == Lane::Billing));
    let always = points.clone().any(|(_, point)| point.report == Policy::Always);
    let interval = if device.bus.is_none() && !always { group.interval.max(CONTACTS) } else { group.interval };
    let points: Vec<_> = points.map(|(ix, point)| (ix, recorded(&point.report, interval, assumptions))).collect();
    let speaks = 1.0 - points.iter().map(|(_, share)| 1.0 - share).product::<f64>();
    let per_second = speaks / interval.as_secs_f64().max(1e-3);
    let silent = points.is_empty() || speaks <= 0.0;
    (!silent).then(|| Source { device, schema: device.schema(), points, per_second })
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
fn typical(kind: Kind, unit: &str, rng: &mut Rng) -> Value {
    let (least, span) = match unit {
        "V" => (226.0, 10.0),
        "A" => (0.2, 30.0),
        "W" | "VA" | "var" => (20.0, 4000.0),
        "kW" | "kVA" | "kvar" => (0.02, 4.0),
        "Hz" => (49.9, 0.2),
        "kWh" | "kvarh" | "m3" | "m³" => (1_000.0, 90_000.0),
        "Wh" => (1_000_000.0, 90_000_000.0),
        "" => (0.0, 1.0),
        _ => (15.0, 20.0),
    };
    let real: f64 = least + span * rng.f64();
    match kind {
        Kind::Bool => Value::Bool(rng.bool()),
        Kind::Text => Value::Text("A1B2C3D4".into()),
        #[expect(clippy::cast_possible_truncation, reason = "a float32 is what the point has")]
        Kind::F32 => Value::F32(real as f32),
        Kind::F64 => Value::F64(real),
        Kind::FreeDecimal => Value::Decimal(Decimal { mantissa: thousandths(real), exponent: -3 }),
        Kind::Decimal { exponent } => {
            Value::Decimal(Decimal { mantissa: digits(thousandths(real), exponent), exponent })
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a number below 10^11")]
fn thousandths(real: f64) -> i128 {
    (real * 1000.0) as i128
}

/// The mantissa that `milli` thousandths have at an exponent.
fn digits(milli: i128, exponent: i8) -> i128 {
    let shift = i32::from(exponent) + 3;
    let factor = 10i128.pow(shift.unsigned_abs().min(30));
    if shift >= 0 { milli / factor } else { milli.saturating_mul(factor) }
}
