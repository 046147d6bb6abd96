//! Small integers and texts as bytes, and back without ever panicking.

use gatehouse_core::{BootId, Kind, Mono, Name, Schema, SchemaPoint, Stamp, Trust, Wall};

/// Appends 7 bits a byte, lowest first (LEB128).
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value.into()) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value.into()));
}

/// Appends a signed number, small magnitudes short (zigzag).
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i128) {
    put_varint(out, zigzag(value));
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a stamp in full: boot, monotonic and wall time, trust.
pub(crate) fn put_stamp(out: &mut Vec<u8>, stamp: &Stamp) {
    out.extend_from_slice(&stamp.boot.0.to_le_bytes());
    out.extend_from_slice(&stamp.mono.0.to_le_bytes());
    out.extend_from_slice(&stamp.wall.0.to_le_bytes());
    out.push(trust_code(stamp.trust));
}

pub(crate) fn put_points(out: &mut Vec<u8>, points: &[SchemaPoint]) {
    put_u64(out, points.len() as u64);
    for point in points {
        put_text(out, &point.name);
        let (code, exponent) = match point.kind {
            Kind::Bool => (0, None),
            Kind::Decimal { exponent } => (1, Some(exponent)),
            Kind::FreeDecimal => (2, None),
            Kind::F32 => (3, None),
            Kind::F64 => (4, None),
            Kind::Text => (5, None),
        };
        out.push(code);
        out.extend(exponent.map(i8::cast_unsigned));
    }
}

pub(crate) fn put_schema(out: &mut Vec<u8>, schema: &Schema) {
    put_text(out, &schema.device);
    put_points(out, &schema.points);
}

pub(crate) fn zigzag(value: i128) -> u128 {
    (value.cast_unsigned() << 1) ^ (value >> 127).cast_unsigned()
}

pub(crate) fn unzigzag(value: u128) -> i128 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

pub(crate) fn trust_code(trust: Trust) -> u8 {
    match trust {
        Trust::Unset => 0,
        Trust::FreeRunning => 1,
        Trust::Synchronised => 2,
    }
}

pub(crate) fn trust_from(code: u8) -> Option<Trust> {
    [Trust::Unset, Trust::FreeRunning, Trust::Synchronised].get(usize::from(code)).copied()
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
fn low_byte(value: u128) -> u8 {
    value as u8
}

/// Takes values off the front of bytes; `None` when they do not hold what is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn le_u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn le_u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn le_i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u128> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn len(&mut self) -> Option<usize> {
        usize::try_from(self.u64()?).ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i128> {
        self.varint().map(unzigzag)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let len = self.len()?;
        std::str::from_utf8(self.bytes(len)?).ok()
    }

    pub(crate) fn name(&mut self) -> Option<Name> {
        Name::new(self.text()?).ok()
    }

    pub(crate) fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp {
            boot: BootId(u128::from_le_bytes(self.array()?)),
            mono: Mono(self.le_u64()?),
            wall: Wall(self.le_i64()?),
            trust: trust_from(self.byte()?)?,
        })
    }

    pub(crate) fn points(&mut self) -> Option<Vec<SchemaPoint>> {
        let count = self.len()?;
        // A point takes three bytes at least: a count beyond that is a lie, and must not reserve memory.
        let mut points = Vec::with_capacity(count.min(self.0.len() / 3));
        for _ in 0..count {
            let name = self.name()?;
            let kind = match self.byte()? {
                0 => Kind::Bool,
                1 => Kind::Decimal { exponent: self.byte()?.cast_signed() },
                2 => Kind::FreeDecimal,
                3 => Kind::F32,
                4 => Kind::F64,
                5 => Kind::Text,
                _ => return None,
            };
            points.push(SchemaPoint { name, kind });
        }
        Some(points)
    }

    pub(crate) fn schema(&mut self) -> Option<Schema> {
        Some(Schema { device: self.name()?, points: self.points()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_at_every_edge() {
        for value in [0, 1, 127, 128, u128::from(u64::MAX), u128::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut take = Take(&out);
            assert_eq!((take.varint(), take.0.len()), (Some(value), 0));
        }
        for value in [0, -1, 1, i128::MIN, i128::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        let mut out = Vec::new();
        put_u64(&mut out, u64::MAX);
        assert_eq!(Take(&out).u64(), Some(u64::MAX));
        assert_eq!(Take(&out[..9]).u64(), None);
    }
}
