//! The payload of records: one JSON object per message, written without serde on the way of every reading.
//!
//! [`crate::schema`] has the same shapes as serde structs; tests read back there what is written here.

use gatehouse_core::{Body, Lane, PointReading, Record, Schema, Trust, Wall};

use crate::json::{self, Times};

/// The level of zstd: 3 is its default, and higher ones gain under 5 % on these payloads for twice the time.
const ZSTD_LEVEL: i32 = 3;

/// Writes messages of records for one box.
pub struct PayloadWriter {
    head: Vec<u8>,
    times: Times,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl PayloadWriter {
    /// A writer for `box_id`, whose messages are compressed when `compress`.
    pub fn new(box_id: &str, compress: bool) -> Self {
        let mut head = b"{\"v\":1,\"box\":".to_vec();
        json::string(&mut head, box_id);
        let zstd = compress.then(|| zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()).flatten();
        PayloadWriter { head, times: Times::default(), zstd }
    }

    /// Begins a message in the empty `out`.
    pub fn begin(&self, out: &mut Vec<u8>, epoch: u64, lane: Lane, first: u64) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b",\"epoch\":");
        json::whole(out, epoch.into());
        out.extend_from_slice(b",\"lane\":\"");
        out.extend_from_slice(lane.as_str().as_bytes());
        out.extend_from_slice(b"\",\"seq\":");
        json::whole(out, first.into());
        out.extend_from_slice(b",\"records\":[");
    }

    /// Appends a record, with its mended time. The comma before it is the caller's ([`PayloadWriter::next`]).
    pub fn record(&mut self, out: &mut Vec<u8>, record: &Record, (wall, trust): (Wall, Trust)) {
        out.extend_from_slice(b"{\"seq\":");
        json::whole(out, record.seq.into());
        out.extend_from_slice(b",\"time\":");
        self.times.write(out, wall);
        if trust != Trust::Synchronised {
            out.extend_from_slice(b",\"trust\":\"");
            out.extend_from_slice(trust.as_str().as_bytes());
            out.extend_from_slice(format!("\",\"boot\":\"{}\",\"mono\":", record.stamp.boot).as_bytes());
            json::whole(out, record.stamp.mono.0.into());
        }
        match &record.body {
            Body::Sample { schema, readings } => sample(out, schema, readings, record.lane == Lane::Billing),
            Body::Event { kind, json: fields } => {
                out.extend_from_slice(b",\"event\":");
                json::string(out, kind);
                out.extend_from_slice(b",\"data\":");
                out.extend_from_slice(if fields.is_empty() { b"{}" } else { fields.as_bytes() });
            }
            Body::Gap { last, lost, reason } => {
                out.extend_from_slice(b",\"gap\":{\"last\":");
                json::whole(out, (*last).into());
                out.extend_from_slice(b",\"lost\":");
                json::whole(out, (*lost).into());
                out.extend_from_slice(b",\"reason\":");
                json::string(out, reason);
                out.push(b'}');
            }
        }
        out.push(b'}');
    }

    /// Separates two records.
    pub fn next(&self, out: &mut Vec<u8>) {
        out.push(b',');
    }

    /// Ends the message, and compresses it where that is wanted and makes it smaller. `spare` is working room.
    pub fn end(&mut self, out: &mut Vec<u8>, spare: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
        let Some(zstd) = &mut self.zstd else { return };
        spare.clear();
        spare.reserve(zstd::zstd_safe::compress_bound(out.len()));
        if zstd.compress_to_buffer(out.as_slice(), spare).is_ok() && spare.len() < out.len() {
            std::mem::swap(out, spare);
        }
    }
}

fn sample(out: &mut Vec<u8>, schema: &Schema, readings: &[PointReading], billing: bool) {
    out.extend_from_slice(b",\"device\":\"");
    out.extend_from_slice(schema.device.as_bytes());
    out.extend_from_slice(b"\",\"values\":{");
    let mut missing = 0usize;
    let mut first = true;
    for reading in readings {
        match (&reading.value, schema.point(reading.point)) {
            (Ok(value), Some(point)) => {
                key(out, &mut first, &point.name);
                json::value(out, value, billing);
            }
            (Err(_), Some(_)) => missing += 1,
            (_, None) => {}
        }
    }
    out.push(b'}');
    if missing == 0 {
        return;
    }
    out.extend_from_slice(b",\"missing\":{");
    first = true;
    for reading in readings {
        if let (Err(reason), Some(point)) = (&reading.value, schema.point(reading.point)) {
            key(out, &mut first, &point.name);
            out.extend_from_slice(format!("\"{reason}\"").as_bytes());
        }
    }
    out.push(b'}');
}

/// Appends `"name":`, with a comma before all but the first. Names need no escapes.
fn key(out: &mut Vec<u8>, first: &mut bool, name: &str) {
    out.extend_from_slice(if std::mem::take(first) { b"\"" } else { b",\"" });
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Opens a payload that may be compressed: zstd frames begin with 0xFD2FB528 (RFC 8878, 3.1.1), JSON with `{`.
///
/// # Errors
/// When the bytes are no zstd frame of at most `limit` bytes.
pub fn open(payload: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    if payload.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        return zstd::bulk::decompress(payload, limit);
    }
    Ok(payload.to_vec())
}
