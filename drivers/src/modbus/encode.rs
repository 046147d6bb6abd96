//! Values to registers, for writes: exactly, or not at all.

use gatehouse_core::driver::ActionError;
use gatehouse_core::{Decimal, Value};

use super::decode::{PointCodec, Scaling, low_bits, reorder};
use super::pdu::{COIL_OFF, COIL_ON, Request};
use super::point::{DataType, ModbusPoint, Table, WriteWith};

/// The request that writes `value` to a point.
///
/// # Errors
/// [`ActionError`] when the point is read-only, or cannot hold exactly this value.
pub fn write_request(spec: &ModbusPoint, value: &Value) -> Result<Request, ActionError> {
    let with = spec.write.ok_or(ActionError::ReadOnly)?;
    let address = spec.address;
    match (spec.table, with) {
        (Table::Discrete | Table::Input, _) => Err(ActionError::ReadOnly),
        (Table::Coil, WriteWith::SingleCoil) => {
            let value = if flag(spec, value)? { COIL_ON } else { COIL_OFF };
            Ok(Request::WriteCoil { address, value })
        }
        (Table::Coil, WriteWith::Coils) => Ok(Request::WriteCoils { address, coils: vec![flag(spec, value)?] }),
        (Table::Holding, WriteWith::Mask) => mask(spec, value),
        (Table::Holding, WriteWith::SingleRegister | WriteWith::Registers) => {
            if spec.bit.is_some() {
                let hint = "the other bits of its register would be lost; let its profile write it with function 22";
                return Err(unrepresentable(spec, value, hint));
            }
            let registers = encode_registers(spec, value)?;
            match (with, registers.as_slice()) {
                (WriteWith::SingleRegister, &[value]) => Ok(Request::WriteRegister { address, value }),
                (WriteWith::SingleRegister, _) => {
                    let hint = "it takes several registers, which function 06 cannot write; use function 16";
                    Err(unrepresentable(spec, value, hint))
                }
                _ => Ok(Request::WriteRegisters { address, registers }),
            }
        }
        (Table::Coil | Table::Holding, _) => Err(ActionError::Unsupported),
    }
}

/// The registers that hold `value`, in address order. A bit field's other bits are 0.
///
/// # Errors
/// [`ActionError::Unrepresentable`] when the point cannot hold exactly this value.
pub fn encode_registers(spec: &ModbusPoint, value: &Value) -> Result<Vec<u16>, ActionError> {
    if let DataType::Text { registers } = spec.data_type {
        return text(spec, value, registers);
    }
    let raw = raw(spec, value)?;
    let [b7, b6, b5, b4, b3, b2, b1, b0] = raw.to_be_bytes();
    let bytes = match spec.width() {
        1 => reorder([b1, b0], spec.order).to_vec(),
        2 => reorder([b3, b2, b1, b0], spec.order).to_vec(),
        _ => reorder([b7, b6, b5, b4, b3, b2, b1, b0], spec.order).to_vec(),
    };
    Ok(words(&bytes))
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

fn unrepresentable(spec: &ModbusPoint, value: &Value, hint: impl Into<String>) -> ActionError {
    ActionError::Unrepresentable { value: value.to_string(), kind: spec.data_type.as_str(), hint: hint.into() }
}

fn flag(spec: &ModbusPoint, value: &Value) -> Result<bool, ActionError> {
    match value {
        Value::Bool(on) => Ok(*on),
        Value::Decimal(d) if d.same_number(Decimal::whole(0)) => Ok(false),
        Value::Decimal(d) if d.same_number(Decimal::whole(1)) => Ok(true),
        _ => Err(unrepresentable(spec, value, "write true or false")),
    }
}

fn mask(spec: &ModbusPoint, value: &Value) -> Result<Request, ActionError> {
    if spec.width() != 1 {
        return Err(unrepresentable(spec, value, "function 22 writes one register; use function 16"));
    }
    let or_mask = encode_registers(spec, value)?[0];
    let field = spec.bit.map_or(u64::MAX, |(low, width)| low_bits(width).checked_shl(u32::from(low)).unwrap_or(0));
    let [.., high, low] = field.to_be_bytes();
    let field = u16::from_be_bytes(reorder([high, low], spec.order));
    Ok(Request::MaskWrite { address: spec.address, and_mask: !field, or_mask })
}

/// The bits of the point's own type, right-aligned.
fn raw(spec: &ModbusPoint, value: &Value) -> Result<u64, ActionError> {
    if let Some((low, width)) = spec.bit {
        let most = low_bits(width);
        let field = if matches!(spec.kind(), gatehouse_core::Kind::Bool) {
            u64::from(flag(spec, value)?)
        } else {
            u64::try_from(whole(spec, value, 0, i128::from(most))?).unwrap_or(0)
        };
        return Ok(field.checked_shl(u32::from(low)).unwrap_or(0));
    }
    let number = match spec.data_type {
        DataType::Bool => return flag(spec, value).map(u64::from),
        DataType::F32 | DataType::F64 => return float(spec, value),
        DataType::U16 | DataType::Bits16 => whole(spec, value, 0, i128::from(u16::MAX))?,
        DataType::U32 => whole(spec, value, 0, i128::from(u32::MAX))?,
        DataType::U64 => whole(spec, value, 0, i128::from(u64::MAX))?,
        DataType::I16 => whole(spec, value, i128::from(i16::MIN), i128::from(i16::MAX))?,
        DataType::I32 => whole(spec, value, i128::from(i32::MIN), i128::from(i32::MAX))?,
        DataType::I64 => whole(spec, value, i128::from(i64::MIN), i128::from(i64::MAX))?,
        DataType::Bcd16 => return Ok(bcd(whole(spec, value, 0, 9_999)?)),
        DataType::Bcd32 => return Ok(bcd(whole(spec, value, 0, 99_999_999)?)),
        DataType::Text { .. } => return Err(ActionError::Unsupported),
    };
    let width = 16 * u32::from(spec.width());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two's complement of the type's width")]
    let bits = number as u64;
    Ok(bits & u64::MAX >> (64 - width))
}

fn bcd(number: i128) -> u64 {
    let digits = std::iter::successors(u64::try_from(number).ok(), |n| (*n >= 10).then_some(n / 10));
    digits.enumerate().fold(0, |raw, (place, rest)| raw | (rest % 10) << (4 * place))
}

/// The whole number `(value - offset) / scale`, where that is exact and within the type's range.
fn whole(spec: &ModbusPoint, value: &Value, least: i128, most: i128) -> Result<i128, ActionError> {
    let Some(number) = number(value) else { return Err(unrepresentable(spec, value, "write a number")) };
    let Some((above, scale)) = quotient(spec, number) else {
        return Err(unrepresentable(spec, value, "the number has too many digits"));
    };
    let raw = above.div_euclid(scale);
    let range = || {
        let (a, b) = (scaled(spec, least), scaled(spec, most));
        format!("it holds {} to {}", a.min_by(b), a.max_by(b))
    };
    if raw < least || raw > most || raw == most && above.rem_euclid(scale) != 0 {
        return Err(unrepresentable(spec, value, range()));
    }
    if above.rem_euclid(scale) != 0 {
        let hint = format!("the nearest that it holds are {} and {}", scaled(spec, raw), scaled(spec, raw + 1));
        return Err(unrepresentable(spec, value, hint));
    }
    Ok(raw)
}

fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Bool(on) => Some(Decimal::whole(i128::from(*on))),
        value => value.to_decimal(),
    }
}

/// `value - offset` and the scale, both whole at one exponent, the scale positive.
fn quotient(spec: &ModbusPoint, number: Decimal) -> Option<(i128, i128)> {
    let offset = Decimal { mantissa: spec.offset.mantissa.checked_neg()?, ..spec.offset };
    let above = number.checked_add(offset)?;
    let exponent = above.exponent.min(spec.scale.exponent);
    let (above, scale) = (above.at_exponent(exponent)?, spec.scale.at_exponent(exponent)?);
    match scale {
        0 => None,
        scale if scale < 0 => Some((above.checked_neg()?, scale.checked_neg()?)),
        scale => Some((above, scale)),
    }
}

/// A raw number as the value that it stands for, for messages.
#[derive(Clone, Copy)]
struct Scaled(Option<Decimal>);

fn scaled(spec: &ModbusPoint, raw: i128) -> Scaled {
    Scaled(Decimal::whole(raw).checked_mul(spec.scale).and_then(|d| d.checked_add(spec.offset)))
}

impl Scaled {
    fn is_below(self, other: Scaled) -> bool {
        self.0.zip(other.0).is_some_and(|(a, b)| a.to_f64() < b.to_f64())
    }

    fn min_by(self, other: Scaled) -> Scaled {
        if other.is_below(self) { other } else { self }
    }

    fn max_by(self, other: Scaled) -> Scaled {
        if other.is_below(self) { self } else { other }
    }
}

impl std::fmt::Display for Scaled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("a number beyond 38 digits"),
        }
    }
}

/// Most digits that are tried behind those of the value when a float's scale is divided out.
const QUOTIENT_DIGITS: i8 = 18;

/// The bits of the float that reads back as exactly `value`: shortest digits, scaled.
fn float(spec: &ModbusPoint, value: &Value) -> Result<u64, ActionError> {
    // A float of the point's own type keeps its bits, the sign of zero and what no decimal holds included.
    match (spec.data_type, value) {
        (DataType::F32, Value::F32(x)) if !spec.is_scaled() && x.is_finite() => return Ok(u64::from(x.to_bits())),
        (DataType::F64, Value::F64(x)) if !spec.is_scaled() && x.is_finite() => return Ok(x.to_bits()),
        _ => {}
    }
    let Some(wanted) = number(value) else { return Err(unrepresentable(spec, value, "write a number")) };
    let digits = if spec.is_scaled() { divided(spec, wanted) } else { Some(wanted) };
    let Some(digits) = digits else {
        return Err(unrepresentable(spec, value, "its scale does not divide it exactly"));
    };
    let text = format!("{}e{}", digits.mantissa, digits.exponent);
    let (bits, back) = if spec.data_type == DataType::F32 {
        let x: f32 = text.parse().unwrap_or(f32::INFINITY);
        (u64::from(x.to_bits()), Value::F32(x))
    } else {
        let x: f64 = text.parse().unwrap_or(f64::INFINITY);
        (x.to_bits(), Value::F64(x))
    };
    let infinite = matches!(back, Value::F32(x) if !x.is_finite()) || matches!(back, Value::F64(x) if !x.is_finite());
    if infinite {
        return Err(unrepresentable(spec, value, "it is beyond the range of the float"));
    }
    let back = Scaling::new(spec).float(back).ok();
    match back.as_ref().and_then(Value::to_decimal) {
        Some(number) if number.same_number(wanted) => Ok(bits),
        Some(number) => Err(unrepresentable(spec, value, format!("the nearest float reads {}", number.trimmed()))),
        None => Err(unrepresentable(spec, value, "the number has too many digits")),
    }
}

fn divided(spec: &ModbusPoint, wanted: Decimal) -> Option<Decimal> {
    let (above, scale) = quotient(spec, wanted)?;
    (0..=QUOTIENT_DIGITS).find_map(|places| {
        let above = above.checked_mul(10i128.checked_pow(u32::from(places.unsigned_abs()))?)?;
        (above % scale == 0).then_some(Decimal { mantissa: above / scale, exponent: -places })
    })
}

fn text(spec: &ModbusPoint, value: &Value, registers: u16) -> Result<Vec<u16>, ActionError> {
    let Value::Text(text) = value else { return Err(unrepresentable(spec, value, "write a text")) };
    let mut bytes = text.as_bytes().to_vec();
    let room = 2 * usize::from(registers);
    if bytes.len() > room {
        return Err(unrepresentable(spec, value, format!("it holds {room} bytes, this text has {}", bytes.len())));
    }
    bytes.resize(room, 0);
    let mut registers = words(&bytes);
    if matches!(spec.order, super::point::Order::Badc | super::point::Order::Dcba) {
        registers.iter_mut().for_each(|word| *word = word.swap_bytes());
    }
    if matches!(spec.order, super::point::Order::Cdab | super::point::Order::Dcba) {
        registers.reverse();
    }
    let wire: Vec<u8> = registers.iter().flat_map(|word| word.to_be_bytes()).collect();
    match PointCodec::new(spec).registers(&wire) {
        Ok(back) if back == *value => Ok(registers),
        _ => Err(unrepresentable(spec, value, "use text without control characters or blanks around it")),
    }
}

#[cfg(test)]
mod tests;
