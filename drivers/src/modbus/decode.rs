//! Registers and coils to values.

use gatehouse_core::{Decimal, NoData, Value};

use super::point::{DataType, ModbusPoint, Order};

/// How one point's bytes become its value; made once, used at each poll.
#[derive(Debug, Clone)]
pub struct PointCodec {
    data_type: DataType,
    order: Order,
    /// Lowest bit and width of a field.
    field: Option<(u8, u8)>,
    is_flag: bool,
    scaling: Scaling,
    not_available: Box<[u64]>,
}

/// `value = raw × scale + offset`, prepared.
#[derive(Debug, Clone)]
pub(super) enum Scaling {
    /// The value is the raw number.
    Plain,
    /// A whole number at the exponent that each value of the point has.
    Whole(Box<Whole>),
    /// A float, by its shortest digits.
    Float(Box<(Decimal, Decimal)>),
    /// A scale and an offset so far apart that no number holds both.
    Never,
}

/// Scale and offset as mantissas at one exponent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    scale: i128,
    offset: i128,
    exponent: i8,
}

impl Scaling {
    pub(super) fn new(spec: &ModbusPoint) -> Self {
        if matches!(spec.data_type, DataType::F32 | DataType::F64) {
            let factors = || Scaling::Float(Box::new((spec.scale, spec.offset)));
            return if spec.is_scaled() { factors() } else { Scaling::Plain };
        }
        let exponent = spec.scale.exponent.min(spec.offset.exponent);
        match spec.scale.at_exponent(exponent).zip(spec.offset.at_exponent(exponent)) {
            Some((1, 0)) if exponent == 0 => Scaling::Plain,
            Some((scale, offset)) => Scaling::Whole(Box::new(Whole { scale, offset, exponent })),
            None => Scaling::Never,
        }
    }

    fn whole(&self, raw: i128) -> Result<Value, NoData> {
        let decimal = match self {
            Scaling::Plain => Some(Decimal::whole(raw)),
            Scaling::Whole(by) => {
                let mantissa = raw.checked_mul(by.scale).and_then(|m| m.checked_add(by.offset));
                mantissa.map(|mantissa| Decimal { mantissa, exponent: by.exponent })
            }
            Scaling::Float(_) | Scaling::Never => None,
        };
        decimal.map(Value::Decimal).ok_or(NoData::OutOfRange)
    }

    /// Scales a float by its shortest decimal digits.
    pub(super) fn float(&self, raw: Value) -> Result<Value, NoData> {
        let Scaling::Float(by) = self else { return Ok(raw) };
        let scaled = raw.to_decimal().and_then(|raw| raw.checked_mul(by.0)?.checked_add(by.1));
        scaled.map(Value::Decimal).ok_or(NoData::OutOfRange)
    }
}

impl PointCodec {
    /// Prepares the decoding of a point.
    pub fn new(spec: &ModbusPoint) -> Self {
        PointCodec {
            data_type: spec.data_type,
            order: spec.order,
            field: spec.bit,
            is_flag: matches!(spec.kind(), gatehouse_core::Kind::Bool),
            scaling: Scaling::new(spec),
            not_available: spec.not_available.as_slice().into(),
        }
    }

    /// The value of a coil or discrete input.
    pub fn coil(&self, on: bool) -> Result<Value, NoData> {
        Ok(Value::Bool(on))
    }

    /// The value in a point's registers, as the bytes of the wire: two for each register, high byte first.
    ///
    /// # Errors
    /// [`NoData`] says why they hold no value. Bytes of another number than the point's width are a `BadReply`.
    pub fn registers(&self, bytes: &[u8]) -> Result<Value, NoData> {
        if let DataType::Text { registers } = self.data_type {
            return if bytes.len() == 2 * usize::from(registers) {
                text(bytes, self.order)
            } else {
                Err(NoData::BadReply)
            };
        }
        let raw = match bytes.len() {
            2 => assemble::<2>(bytes, self.order),
            4 => assemble::<4>(bytes, self.order),
            8 => assemble::<8>(bytes, self.order),
            _ => None,
        };
        let raw = raw.filter(|_| bytes.len() == self.bytes()).ok_or(NoData::BadReply)?;
        if self.not_available.contains(&raw) {
            return Err(NoData::NotAvailable);
        }
        if let Some((low, width)) = self.field {
            let field = raw.checked_shr(u32::from(low)).unwrap_or(0) & low_bits(width);
            return if self.is_flag { Ok(Value::Bool(field != 0)) } else { self.scaling.whole(i128::from(field)) };
        }
        self.whole_point(raw)
    }

    /// Bytes of the point's registers on the wire.
    pub(super) fn bytes(&self) -> usize {
        match self.data_type {
            DataType::Bool | DataType::U16 | DataType::I16 | DataType::Bcd16 | DataType::Bits16 => 2,
            DataType::U32 | DataType::I32 | DataType::F32 | DataType::Bcd32 => 4,
            DataType::U64 | DataType::I64 | DataType::F64 => 8,
            DataType::Text { registers } => 2 * usize::from(registers),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "raw has the type's own bits")]
    fn whole_point(&self, raw: u64) -> Result<Value, NoData> {
        match self.data_type {
            DataType::Bool => Ok(Value::Bool(raw != 0)),
            DataType::U16 | DataType::U32 | DataType::U64 | DataType::Bits16 => self.scaling.whole(i128::from(raw)),
            DataType::I16 => self.scaling.whole(i128::from(raw as u16 as i16)),
            DataType::I32 => self.scaling.whole(i128::from(raw as u32 as i32)),
            DataType::I64 => self.scaling.whole(i128::from(raw as i64)),
            DataType::F32 => match f32::from_bits(raw as u32) {
                x if x.is_nan() => Err(NoData::NotANumber),
                x if x.is_infinite() => Err(NoData::Infinite),
                x => self.scaling.float(Value::F32(x)),
            },
            DataType::F64 => match f64::from_bits(raw) {
                x if x.is_nan() => Err(NoData::NotANumber),
                x if x.is_infinite() => Err(NoData::Infinite),
                x => self.scaling.float(Value::F64(x)),
            },
            DataType::Bcd16 => self.scaling.whole(bcd(raw, 4)?),
            DataType::Bcd32 => self.scaling.whole(bcd(raw, 8)?),
            DataType::Text { .. } => Err(NoData::BadText),
        }
    }
}

/// The value in registers, once: see [`PointCodec::registers`].
///
/// # Errors
/// [`NoData`] says why they hold no value.
pub fn decode_registers(spec: &ModbusPoint, registers: &[u16]) -> Result<Value, NoData> {
    let bytes: Vec<u8> = registers.iter().flat_map(|register| register.to_be_bytes()).collect();
    PointCodec::new(spec).registers(&bytes)
}

/// A mask of the lowest `width` bits, 1 to 64.
pub(super) fn low_bits(width: u8) -> u64 {
    u64::MAX >> (64 - u32::from(width.clamp(1, 64)))
}

/// Puts the bytes of `N / 2` registers in the order of significance.
pub(super) fn reorder<const N: usize>(mut bytes: [u8; N], order: Order) -> [u8; N] {
    match order {
        Order::Abcd => {}
        Order::Dcba => bytes.reverse(),
        Order::Badc => bytes.chunks_exact_mut(2).for_each(<[u8]>::reverse),
        Order::Cdab => {
            bytes.reverse();
            bytes.chunks_exact_mut(2).for_each(<[u8]>::reverse);
        }
    }
    bytes
}

fn assemble<const N: usize>(bytes: &[u8], order: Order) -> Option<u64> {
    let bytes = reorder(*bytes.first_chunk::<N>()?, order);
    Some(bytes.iter().fold(0, |raw, &byte| raw << 8 | u64::from(byte)))
}

fn bcd(raw: u64, digits: u32) -> Result<i128, NoData> {
    (0..digits).rev().try_fold(0, |number, place| match raw >> (4 * place) & 15 {
        digit @ 0..=9 => Ok(number * 10 + i128::from(digit)),
        _ => Err(NoData::NotBcd),
    })
}

/// Text up to its first NUL, without blanks around it.
fn text(bytes: &[u8], order: Order) -> Result<Value, NoData> {
    let mut bytes = bytes.to_vec();
    if matches!(order, Order::Cdab | Order::Dcba) {
        bytes.reverse();
    }
    if matches!(order, Order::Cdab | Order::Badc) {
        bytes.chunks_exact_mut(2).for_each(<[u8]>::reverse);
    }
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| NoData::BadText)?.trim_matches(' ');
    if text.chars().any(char::is_control) { Err(NoData::BadText) } else { Ok(Value::Text(text.into())) }
}

#[cfg(test)]
mod tests;
