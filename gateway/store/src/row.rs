//! One sample as it stands in the hot tail: plain, self-checked frames, read back after a kill.
//!
//! A frame is `length u32 | crc32 u32 | payload`, little-endian. A payload begins with its kind: a schema (number within
//! the file, then the schema) or a sample (number in the lane, schema, stamp, points, values). This format lives on
//! tmpfs and may change with any release.

use gatehouse_core::{BootId, Decimal, Mono, NoData, PointIx, PointReading, Schema, Stamp, Value, Wall};

use crate::wire::{Take, put_schema, put_signed, put_u64, trust_code, trust_from};

const SCHEMA: u8 = 1;
const SAMPLE: u8 = 2;
const OTHER_BOOT: u8 = 1 << 2;
const LISTED: u8 = 1 << 3;
/// Length and checksum.
pub(crate) const FRAME_HEAD: usize = 8;

/// Runs `write` and frames what it appended.
fn frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD]);
    write(out);
    let payload = &out[start + FRAME_HEAD..];
    let len = u32::try_from(payload.len()).expect("a sample is far below 4 GiB");
    let crc = crc32fast::hash(payload);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + FRAME_HEAD].copy_from_slice(&crc.to_le_bytes());
}

pub(crate) fn put_schema_frame(out: &mut Vec<u8>, number: u32, schema: &Schema) {
    frame(out, |out| {
        out.push(SCHEMA);
        put_u64(out, number.into());
        put_schema(out, schema);
    });
}

pub(crate) fn put_sample_frame(
    out: &mut Vec<u8>,
    boot: BootId,
    seq: u64,
    schema: u32,
    stamp: &Stamp,
    readings: &[PointReading],
) {
    frame(out, |out| {
        out.push(SAMPLE);
        put_u64(out, seq);
        put_u64(out, schema.into());
        let dense = readings.iter().enumerate().all(|(at, reading)| usize::from(reading.point.0) == at);
        let other = stamp.boot != boot;
        let listed = if dense { 0 } else { LISTED };
        out.push(trust_code(stamp.trust) | if other { OTHER_BOOT } else { 0 } | listed);
        if other {
            out.extend_from_slice(&stamp.boot.0.to_le_bytes());
        }
        out.extend_from_slice(&stamp.mono.0.to_le_bytes());
        out.extend_from_slice(&stamp.wall.0.to_le_bytes());
        put_u64(out, readings.len() as u64);
        for reading in readings {
            if !dense {
                out.extend_from_slice(&reading.point.0.to_le_bytes());
            }
            put_value(out, &reading.value);
        }
    });
}

fn put_value(out: &mut Vec<u8>, value: &Result<Value, NoData>) {
    match value {
        Ok(Value::F32(x)) => {
            let [a, b, c, d] = x.to_le_bytes();
            out.extend_from_slice(&[0, a, b, c, d]);
        }
        Ok(Value::F64(x)) => {
            out.push(1);
            out.extend_from_slice(&x.to_le_bytes());
        }
        Ok(Value::Bool(on)) => out.push(2 + u8::from(*on)),
        Ok(Value::Decimal(d)) => {
            out.extend_from_slice(&[4, d.exponent.cast_unsigned()]);
            put_signed(out, d.mantissa);
        }
        Ok(Value::Text(text)) => {
            out.push(5);
            crate::wire::put_text(out, text);
        }
        Err(reason) => {
            let (code, detail) = reason.code();
            out.extend_from_slice(&[6, code, detail]);
        }
    }
}

fn value(take: &mut Take<'_>) -> Option<Result<Value, NoData>> {
    Some(Ok(match take.byte()? {
        0 => Value::F32(f32::from_le_bytes(take.array()?)),
        1 => Value::F64(f64::from_le_bytes(take.array()?)),
        2 => Value::Bool(false),
        3 => Value::Bool(true),
        4 => {
            let exponent = take.byte()?.cast_signed();
            Value::Decimal(Decimal { mantissa: take.signed()?, exponent })
        }
        5 => Value::Text(take.text()?.into()),
        6 => return NoData::from_code(take.byte()?, take.byte()?).map(Err),
        _ => return None,
    }))
}

/// What a frame holds; the readings of a sample go into the caller's vector.
#[derive(Debug, PartialEq)]
pub(crate) enum Row {
    Schema(u64, Schema),
    Sample { seq: u64, schema: usize, stamp: Stamp },
}

/// The payload of the frame at the start of `bytes`, checked.
pub(crate) fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let mut take = Take(bytes);
    let (len, crc) = (take.le_u32()?, take.le_u32()?);
    let payload = take.bytes(usize::try_from(len).ok()?)?;
    (crc32fast::hash(payload) == crc).then_some(payload)
}

/// The payload of a frame that this process wrote itself.
pub(crate) fn own_payload(bytes: &[u8]) -> Option<&[u8]> {
    let mut take = Take(bytes);
    let len = take.le_u32()?;
    take.le_u32()?;
    take.bytes(usize::try_from(len).ok()?)
}

pub(crate) fn decode(payload: &[u8], boot: BootId, readings: &mut Vec<PointReading>) -> Option<Row> {
    let mut take = Take(payload);
    match take.byte()? {
        SCHEMA => Some(Row::Schema(take.u64()?, take.schema()?)),
        SAMPLE => {
            let seq = take.u64()?;
            let schema = take.len()?;
            let flags = take.byte()?;
            let boot = if flags & OTHER_BOOT == 0 { boot } else { BootId(u128::from_le_bytes(take.array()?)) };
            let stamp =
                Stamp { boot, mono: Mono(take.le_u64()?), wall: Wall(take.le_i64()?), trust: trust_from(flags & 3)? };
            readings.clear();
            for at in 0..take.u64()? {
                let point =
                    if flags & LISTED == 0 { u16::try_from(at).ok()? } else { u16::from_le_bytes(take.array()?) };
                readings.push(PointReading::new(PointIx(point), value(&mut take)?));
            }
            Some(Row::Sample { seq, schema, stamp })
        }
        _ => None,
    }
}
