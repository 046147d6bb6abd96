//! The block: a run of consecutive numbers of one lane, compressed, checksummed and readable by itself.
//!
//! Format v1, frozen. All integers little-endian; `varint` is LEB128, `signed` zigzag of it.
//!
//! ```text
//! header, 64 bytes
//!   0 magic "GHB1"      4 body length u32     8 raw length u32    12 records u32
//!  16 first number u64 24 last number u64    32 covers-from u64   40 wall of the first record, µs i64
//!  48 its trust u8     49 zero [3]           52 body crc32 u32    56 readings u32   60 crc32 of bytes 0..60
//! body: one zstd frame of ten streams, each length varint, then all streams' bytes in the same order
//!   0 dictionary: shapes (count, each a list of points), devices (count, each name and shape number)
//!   1 records: device number + 1 | flags | stamp differences, or 0 | span, lost, reason, stamp: a gap
//!   2 point lists that differ from the device's last   3 tags of values that are not what the dictionary says
//!   4 decimals: signed difference to the point's last  5..8 planes of floats, XOR with the point's last
//!   9 flags, text, reasons and exponents that are not in the dictionary
//! ```
//!
//! Numbers from covers-from up to the first were acknowledged before the block was written: the block accounts for them.

use std::sync::Arc;

use gatehouse_core::{
    Body, BootId, Decimal, Kind, Lane, Mono, NoData, PointIx, PointReading, Record, Schema, SchemaPoint, Stamp, Value,
    Wall,
};

use crate::gap::Reason;
use crate::wire::{Take, put_points, put_signed, put_stamp, put_text, put_u64, trust_code, trust_from};

pub(crate) const MAGIC: [u8; 4] = *b"GHB1";
pub(crate) const HEAD: usize = 64;
/// Raw bytes at which a block is closed: large enough to compress well, small enough to read one record from.
const RAW_TARGET: usize = 96 << 10;
/// Raw bytes that no block exceeds: a sample has at most 65,536 points.
const RAW_MAX: usize = 32 << 20;
const BODY_MAX: usize = RAW_MAX;
/// zstd's own default; higher levels gain under 3 % on meter data and cost twice the time.
const LEVEL: i32 = 3;

const DICT: usize = 0;
const META: usize = 1;
const POINTS: usize = 2;
const TAGS: usize = 3;
const INTS: usize = 4;
const PLANES: usize = 5;
const OTHER: usize = 9;
const STREAMS: usize = 10;

const BOOT_SAME: u8 = 1 << 2;
const POINTS_SAME: u8 = 1 << 3;
const AS_DECLARED: u8 = 1 << 4;

/// The header: all that must be known to skip or place a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) body: usize,
    pub(crate) raw: usize,
    pub(crate) records: u32,
    pub(crate) readings: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) covers_from: u64,
    pub(crate) wall: Wall,
    pub(crate) trust: gatehouse_core::Trust,
    pub(crate) crc: u32,
}

impl Head {
    /// Reads a header; `None` unless it is whole and sound.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Head> {
        let bytes: &[u8; HEAD] = bytes.first_chunk()?;
        let mut take = Take(bytes);
        let magic: [u8; 4] = take.array()?;
        let (body, raw) = (take.le_u32()?, take.le_u32()?);
        let records = take.le_u32()?;
        let (first, last, covers_from) = (take.le_u64()?, take.le_u64()?, take.le_u64()?);
        let wall = Wall(take.le_i64()?);
        let trust = trust_from(take.byte()?)?;
        take.bytes(3)?;
        let (crc, readings) = (take.le_u32()?, take.le_u32()?);
        let sound = magic == MAGIC && take.le_u32()? == crc32fast::hash(&bytes[..HEAD - 4]);
        let (body, raw) = (usize::try_from(body).ok()?, usize::try_from(raw).ok()?);
        let sane = 0 < covers_from && covers_from <= first && first <= last && body <= BODY_MAX && raw <= RAW_MAX;
        (sound && sane).then_some(Head { body, raw, records, readings, first, last, covers_from, wall, trust, crc })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let u32 = |n: usize| u32::try_from(n).expect("bounded by RAW_MAX").to_le_bytes();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&u32(self.body));
        out.extend_from_slice(&u32(self.raw));
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&self.covers_from.to_le_bytes());
        out.extend_from_slice(&self.wall.0.to_le_bytes());
        out.extend_from_slice(&[trust_code(self.trust), 0, 0, 0]);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.readings.to_le_bytes());
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// The last value of a point, in the two forms that differences are taken in.
#[derive(Debug, Clone, Copy, Default)]
struct Prev {
    mantissa: i128,
    bits: u64,
}

/// What both sides remember of a device within a block.
#[derive(Debug, Clone, Default)]
struct Device {
    shape: usize,
    points: Vec<u16>,
    prev: Vec<Prev>,
}

/// What both sides remember of the last record.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    boot: BootId,
    mono: u64,
    lead: i64,
}

/// Wall time less monotonic time, µs: nearly constant while the clock is not set.
fn lead(stamp: &Stamp) -> i64 {
    stamp.wall.0.wrapping_sub((stamp.mono.0 / 1000).cast_signed())
}

/// Gathers consecutive records into one block.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    streams: [Vec<u8>; STREAMS],
    shapes: Vec<(Arc<Schema>, Option<Vec<Prev>>)>,
    schemas: Vec<Arc<Schema>>,
    devices: Vec<Device>,
    clock: Clock,
    first: Option<(u64, Stamp)>,
    next: u64,
    records: u32,
    readings: u32,
}

impl BlockWriter {
    /// True when nothing was pushed since the last `finish`.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The number that the next record must have, unless the block is empty.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// True when the block should be finished.
    pub(crate) fn is_full(&self) -> bool {
        self.streams.iter().map(Vec::len).sum::<usize>() >= RAW_TARGET
    }

    pub(crate) fn push_gap(&mut self, first: u64, last: u64, lost: u64, reason: Reason, stamp: &Stamp) {
        self.begin(first, stamp);
        let meta = &mut self.streams[META];
        meta.push(0);
        put_u64(meta, last - first);
        put_u64(meta, lost);
        meta.push(reason.code());
        put_stamp(meta, stamp);
        self.next = last + 1;
    }

    pub(crate) fn push_sample(&mut self, seq: u64, stamp: &Stamp, schema: &Arc<Schema>, readings: &[PointReading]) {
        self.begin(seq, stamp);
        self.next = seq + 1;
        self.records += 1;
        self.readings = self.readings.saturating_add(u32::try_from(readings.len()).unwrap_or(u32::MAX));
        let number = self.device(schema);
        let device = &mut self.devices[number];
        let same = device.points.len() == readings.len()
            && device.points.iter().zip(readings).all(|(point, reading)| *point == reading.point.0);
        if !same {
            let list = &mut self.streams[POINTS];
            put_u64(list, readings.len() as u64);
            device.points.clear();
            for reading in readings {
                list.extend_from_slice(&reading.point.0.to_le_bytes());
                device.points.push(reading.point.0);
            }
        }
        let declared = readings.iter().all(|reading| as_declared(schema, reading));
        let boot_same = stamp.boot == self.clock.boot;
        let flags = trust_code(stamp.trust)
            | if boot_same { BOOT_SAME } else { 0 }
            | if same { POINTS_SAME } else { 0 }
            | if declared { AS_DECLARED } else { 0 };
        let meta = &mut self.streams[META];
        put_u64(meta, number as u64 + 1);
        meta.push(flags);
        if !boot_same {
            meta.extend_from_slice(&stamp.boot.0.to_le_bytes());
        }
        put_signed(meta, i128::from(stamp.mono.0) - i128::from(self.clock.mono));
        put_signed(meta, i128::from(lead(stamp)) - i128::from(self.clock.lead));
        self.clock = Clock { boot: stamp.boot, mono: stamp.mono.0, lead: lead(stamp) };
        for reading in readings {
            let kind = if declared { schema.point(reading.point).map(|point| point.kind) } else { None };
            let mut nowhere = Prev::default();
            let prev = device.prev.get_mut(usize::from(reading.point.0)).unwrap_or(&mut nowhere);
            put_value(&mut self.streams, kind, prev, &reading.value);
        }
        // A device that has no value in this block yet is told by the last one of its shape.
        let shape = &mut self.shapes[device.shape].1;
        match shape {
            Some(prev) => prev.clone_from(&device.prev),
            None => *shape = Some(device.prev.clone()),
        }
    }

    fn begin(&mut self, seq: u64, stamp: &Stamp) {
        if self.first.is_none() {
            self.first = Some((seq, *stamp));
        }
    }

    fn device(&mut self, schema: &Arc<Schema>) -> usize {
        let known = |other: &Arc<Schema>| Arc::ptr_eq(other, schema) || other == schema;
        if let Some(number) = self.schemas.iter().position(known) {
            return number;
        }
        let shape = self.shapes.iter().position(|(other, _)| other.points == schema.points).unwrap_or_else(|| {
            self.shapes.push((Arc::clone(schema), None));
            self.shapes.len() - 1
        });
        self.schemas.push(Arc::clone(schema));
        self.devices.push(fresh_device(shape, schema.points.len(), self.shapes[shape].1.as_ref()));
        self.devices.len() - 1
    }

    /// Appends the block to `out` and begins anew. `covers_from`: see the module.
    ///
    /// # Errors
    /// What zstd says; it has no cause but memory.
    pub(crate) fn finish(&mut self, covers_from: u64, out: &mut Vec<u8>) -> std::io::Result<Head> {
        let mut done = std::mem::take(self);
        let (first, stamp) = done.first.expect("finish is called on a block with records");
        let dict = &mut done.streams[DICT];
        put_u64(dict, done.shapes.len() as u64);
        for (shape, _) in &done.shapes {
            put_points(dict, &shape.points);
        }
        put_u64(dict, done.schemas.len() as u64);
        for (schema, device) in done.schemas.iter().zip(&done.devices) {
            put_text(dict, &schema.device);
            put_u64(dict, device.shape as u64);
        }
        let mut raw = Vec::new();
        for stream in &done.streams {
            put_u64(&mut raw, stream.len() as u64);
        }
        for stream in &mut done.streams {
            raw.append(stream);
        }
        let body = zstd::bulk::compress(&raw, LEVEL)?;
        let head = Head {
            body: body.len(),
            raw: raw.len(),
            records: done.records,
            readings: done.readings,
            first,
            last: done.next - 1,
            covers_from: covers_from.clamp(1, first),
            wall: stamp.wall,
            trust: stamp.trust,
            crc: crc32fast::hash(&body),
        };
        head.encode(out);
        out.extend_from_slice(&body);
        Ok(head)
    }
}

fn fresh_device(shape: usize, points: usize, prev: Option<&Vec<Prev>>) -> Device {
    let all = u16::try_from(points).unwrap_or(u16::MAX);
    Device { shape, points: (0..all).collect(), prev: prev.cloned().unwrap_or_else(|| vec![Prev::default(); points]) }
}

fn as_declared(schema: &Schema, reading: &PointReading) -> bool {
    let kind = schema.point(reading.point).map(|point| point.kind);
    match (&reading.value, kind) {
        (Ok(Value::Decimal(d)), Some(Kind::Decimal { exponent })) => d.exponent == exponent,
        (Ok(Value::Bool(_)), Some(Kind::Bool))
        | (Ok(Value::Decimal(_)), Some(Kind::FreeDecimal))
        | (Ok(Value::F32(_)), Some(Kind::F32))
        | (Ok(Value::F64(_)), Some(Kind::F64))
        | (Ok(Value::Text(_)), Some(Kind::Text)) => true,
        _ => false,
    }
}

const TAG_F32: u8 = 0;
const TAG_F64: u8 = 1;
const TAG_BOOL: u8 = 2;
const TAG_DECIMAL: u8 = 3;
const TAG_TEXT: u8 = 4;
const TAG_NONE: u8 = 5;

/// Writes a value; `kind` is what the dictionary says of it, if that holds.
fn put_value(streams: &mut [Vec<u8>; STREAMS], kind: Option<Kind>, prev: &mut Prev, value: &Result<Value, NoData>) {
    let tag = match value {
        Ok(Value::F32(x)) => {
            let bits = x.to_bits();
            put_planes(streams, &(bits ^ low_half(prev.bits)).to_le_bytes());
            prev.bits = bits.into();
            TAG_F32
        }
        Ok(Value::F64(x)) => {
            put_planes(streams, &(x.to_bits() ^ prev.bits).to_le_bytes());
            prev.bits = x.to_bits();
            TAG_F64
        }
        Ok(Value::Bool(on)) => {
            streams[OTHER].push((*on).into());
            TAG_BOOL
        }
        Ok(Value::Decimal(d)) => {
            put_signed(&mut streams[INTS], d.mantissa.wrapping_sub(prev.mantissa));
            if !matches!(kind, Some(Kind::Decimal { .. })) {
                streams[OTHER].push(d.exponent.cast_unsigned());
            }
            prev.mantissa = d.mantissa;
            TAG_DECIMAL
        }
        Ok(Value::Text(text)) => {
            put_text(&mut streams[OTHER], text);
            TAG_TEXT
        }
        Err(reason) => {
            let (code, detail) = reason.code();
            streams[OTHER].extend_from_slice(&[code, detail]);
            TAG_NONE
        }
    };
    if kind.is_none() {
        streams[TAGS].push(tag);
    }
}

/// The reader's half of [`put_value`].
fn value(streams: &mut [Take<'_>; STREAMS], kind: Option<Kind>, prev: &mut Prev) -> Option<Result<Value, NoData>> {
    let tag = match kind {
        None => streams[TAGS].byte()?,
        Some(Kind::Bool) => TAG_BOOL,
        Some(Kind::Decimal { .. } | Kind::FreeDecimal) => TAG_DECIMAL,
        Some(Kind::F32) => TAG_F32,
        Some(Kind::F64) => TAG_F64,
        Some(Kind::Text) => TAG_TEXT,
    };
    Some(Ok(match tag {
        TAG_F32 => {
            let bits = u32::from_le_bytes(planes(streams)?) ^ low_half(prev.bits);
            prev.bits = bits.into();
            Value::F32(f32::from_bits(bits))
        }
        TAG_F64 => {
            prev.bits ^= u64::from_le_bytes(planes(streams)?);
            Value::F64(f64::from_bits(prev.bits))
        }
        TAG_BOOL => Value::Bool(streams[OTHER].byte()? != 0),
        TAG_DECIMAL => {
            prev.mantissa = prev.mantissa.wrapping_add(streams[INTS].signed()?);
            let exponent = match kind {
                Some(Kind::Decimal { exponent }) => exponent,
                _ => streams[OTHER].byte()?.cast_signed(),
            };
            Value::Decimal(Decimal { mantissa: prev.mantissa, exponent })
        }
        TAG_TEXT => Value::Text(streams[OTHER].text()?.into()),
        TAG_NONE => return NoData::from_code(streams[OTHER].byte()?, streams[OTHER].byte()?).map(Err),
        _ => return None,
    }))
}

fn planes<const N: usize>(streams: &mut [Take<'_>; STREAMS]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = streams[PLANES + at % 4].byte()?;
    }
    Some(bytes)
}

/// Floats go byte by byte into four planes, so that the quiet high bytes stand together.
fn put_planes(streams: &mut [Vec<u8>; STREAMS], bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        streams[PLANES + at % 4].push(*byte);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low_half(bits: u64) -> u32 {
    bits as u32
}

/// Reads a block's records one after the other.
#[derive(Debug)]
pub(crate) struct BlockReader {
    raw: Vec<u8>,
    streams: [(usize, usize); STREAMS],
    shapes: Vec<(Vec<SchemaPoint>, Option<Vec<Prev>>)>,
    schemas: Vec<Arc<Schema>>,
    devices: Vec<Option<Device>>,
    shape_of: Vec<usize>,
    clock: Clock,
    next: u64,
    last: u64,
}

impl BlockReader {
    /// Checks and unpacks the body of a block; `None` when it is damaged.
    pub(crate) fn open(head: &Head, body: &[u8]) -> Option<BlockReader> {
        if crc32fast::hash(body) != head.crc {
            return None;
        }
        let raw = zstd::bulk::decompress(body, head.raw).ok().filter(|raw| raw.len() == head.raw)?;
        let mut take = Take(&raw);
        let mut lens = [0; STREAMS];
        for len in &mut lens {
            *len = take.len()?;
        }
        let mut at = raw.len() - take.0.len();
        let mut streams = [(0, 0); STREAMS];
        for (stream, len) in streams.iter_mut().zip(lens) {
            let end = at.checked_add(len).filter(|end| *end <= raw.len())?;
            *stream = (at, end);
            at = end;
        }
        let mut dict = Take(&raw[streams[DICT].0..streams[DICT].1]);
        let mut shapes = Vec::new();
        for _ in 0..dict.len()? {
            shapes.push((dict.points()?, None));
        }
        let (mut schemas, mut shape_of) = (Vec::new(), Vec::new());
        for _ in 0..dict.len()? {
            let (device, shape) = (dict.name()?, dict.len()?);
            schemas.push(Arc::new(Schema { device, points: shapes.get(shape)?.0.clone() }));
            shape_of.push(shape);
        }
        let devices = vec![None; schemas.len()];
        let clock = Clock::default();
        Some(BlockReader { raw, streams, shapes, schemas, devices, shape_of, clock, next: head.first, last: head.last })
    }

    /// Reads the next record into `record`, whose memory is used again; false at the end, `None` when it is damaged.
    pub(crate) fn next(&mut self, lane: Lane, record: &mut Record) -> Option<bool> {
        if self.next > self.last {
            return Some(false);
        }
        record.lane = lane;
        record.seq = self.next;
        let mut meta = self.take(META);
        let number = meta.len()?;
        if number == 0 {
            let span = meta.u64()?;
            let (lost, reason) = (meta.u64()?, Reason::from_code(meta.byte()?)?);
            record.stamp = meta.stamp()?;
            let left = meta.0.len();
            self.advance(META, left);
            let last = self.next.checked_add(span).filter(|last| *last <= self.last)?;
            record.body = Body::Gap { last, lost, reason: reason.as_str().into() };
            self.next = last + 1;
            return Some(true);
        }
        let flags = meta.byte()?;
        let mut clock = self.clock;
        record.stamp = stamp(&mut clock, &mut meta, flags)?;
        let left = meta.0.len();
        self.advance(META, left);
        self.clock = clock;
        self.sample(number - 1, flags, record)?;
        self.next += 1;
        Some(true)
    }

    fn sample(&mut self, number: usize, flags: u8, record: &mut Record) -> Option<()> {
        let schema = Arc::clone(self.schemas.get(number)?);
        let shape = self.shape_of[number];
        let mut device = match self.devices[number].take() {
            Some(device) => device,
            None => fresh_device(shape, schema.points.len(), self.shapes[shape].1.as_ref()),
        };
        if flags & POINTS_SAME == 0 {
            let mut list = self.take(POINTS);
            let count = list.len()?;
            device.points.clear();
            for _ in 0..count {
                device.points.push(u16::from_le_bytes(list.array()?));
            }
            let left = list.0.len();
            self.advance(POINTS, left);
        }
        let mut readings = match &mut record.body {
            Body::Sample { readings, .. } => std::mem::take(readings),
            Body::Event { .. } | Body::Gap { .. } => Vec::new(),
        };
        readings.clear();
        let mut streams: [Take<'_>; STREAMS] = std::array::from_fn(|stream| self.take(stream));
        for point in &device.points {
            let mut nowhere = Prev::default();
            let prev = device.prev.get_mut(usize::from(*point)).unwrap_or(&mut nowhere);
            let declared = if flags & AS_DECLARED == 0 { None } else { Some(schema.point(PointIx(*point))?.kind) };
            readings.push(PointReading::new(PointIx(*point), value(&mut streams, declared, prev)?));
        }
        let ends = streams.map(|take| take.0.len());
        for (stream, left) in self.streams.iter_mut().zip(ends) {
            stream.0 = stream.1 - left;
        }
        match &mut self.shapes[shape].1 {
            Some(prev) => prev.clone_from(&device.prev),
            none => *none = Some(device.prev.clone()),
        }
        self.devices[number] = Some(device);
        record.body = Body::Sample { schema, readings };
        Some(())
    }

    fn take(&self, stream: usize) -> Take<'_> {
        let (at, end) = self.streams[stream];
        Take(&self.raw[at..end])
    }

    /// Notes how much of a stream is left.
    fn advance(&mut self, stream: usize, left: usize) {
        self.streams[stream].0 = self.streams[stream].1 - left;
    }
}

fn stamp(clock: &mut Clock, meta: &mut Take<'_>, flags: u8) -> Option<Stamp> {
    if flags & BOOT_SAME == 0 {
        clock.boot = BootId(u128::from_le_bytes(meta.array()?));
    }
    let mono = i128::from(clock.mono).checked_add(meta.signed()?)?;
    let lead = i128::from(clock.lead).checked_add(meta.signed()?)?;
    clock.mono = u64::try_from(mono).ok()?;
    clock.lead = i64::try_from(lead).ok()?;
    let wall = Wall(clock.lead.wrapping_add((clock.mono / 1000).cast_signed()));
    Some(Stamp { boot: clock.boot, mono: Mono(clock.mono), wall, trust: trust_from(flags & 3)? })
}
