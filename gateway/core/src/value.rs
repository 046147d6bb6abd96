//! Values as meters give them: exact decimals, floats with their own digits, flags and text.

use std::cmp::Ordering;
use std::fmt;

/// An exact decimal number: `mantissa × 10^exponent`.
///
/// The exponent comes from the point's scale, so the printed digits are those that the meter resolves:
/// 1600 with exponent −2 prints as `16.00`. Equality is of both fields, not of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits, signed.
    pub mantissa: i128,
    /// Power of ten, −30 to 30.
    pub exponent: i8,
}

/// Why a text is not a [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number: write it like 12.5, -0.001 or 1e3, with at most 30 digits")]
pub struct InvalidDecimal;

impl Decimal {
    /// A whole number.
    pub const fn whole(mantissa: i128) -> Self {
        Decimal { mantissa, exponent: 0 }
    }

    /// Reads `12.50`, `-3`, `1e-3`; the digits after the point are kept as they are.
    ///
    /// # Errors
    /// [`InvalidDecimal`] for anything else, and beyond 30 digits or an exponent of ±30.
    pub fn parse(text: &str) -> Result<Self, InvalidDecimal> {
        let (number, power) = match text.split_once(['e', 'E']) {
            Some((number, power)) => (number, power.parse::<i8>().map_err(|_| InvalidDecimal)?),
            None => (text, 0),
        };
        let (sign, digits) = match number.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let all = || whole.bytes().chain(part.bytes());
        if all().next().is_none() || !all().all(|b| b.is_ascii_digit()) || whole.len() + part.len() > 30 {
            return Err(InvalidDecimal);
        }
        let mantissa = all().fold(0i128, |sum, b| sum * 10 + i128::from(b - b'0')) * sign;
        let places = i8::try_from(part.len()).map_err(|_| InvalidDecimal)?;
        let exponent = power.checked_sub(places).filter(|e| (-30..=30).contains(e)).ok_or(InvalidDecimal)?;
        Ok(Decimal { mantissa, exponent })
    }

    /// The exact product; `None` where it does not fit.
    pub fn checked_mul(self, other: Decimal) -> Option<Decimal> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        let exponent = self.exponent.checked_add(other.exponent).filter(|e| (-30..=30).contains(e))?;
        Some(Decimal { mantissa, exponent })
    }

    /// The exact sum, with the finer of the two exponents; `None` where it does not fit.
    pub fn checked_add(self, other: Decimal) -> Option<Decimal> {
        let exponent = self.exponent.min(other.exponent);
        let mantissa = self.at_exponent(exponent)?.checked_add(other.at_exponent(exponent)?)?;
        Some(Decimal { mantissa, exponent })
    }

    /// The exact difference, with the finer of the two exponents; `None` where it does not fit.
    pub fn checked_sub(self, other: Decimal) -> Option<Decimal> {
        self.checked_add(Decimal { mantissa: other.mantissa.checked_neg()?, ..other })
    }

    /// Which of two numbers is the greater, whatever their exponents; `None` where that cannot be reckoned exactly.
    pub fn compare(self, other: Decimal) -> Option<Ordering> {
        let exponent = self.exponent.min(other.exponent);
        Some(self.at_exponent(exponent)?.cmp(&other.at_exponent(exponent)?))
    }

    /// The mantissa that this number has at a finer exponent; `None` where it does not fit or would round.
    pub fn at_exponent(self, exponent: i8) -> Option<i128> {
        let places = u32::try_from(i16::from(self.exponent) - i16::from(exponent)).ok()?;
        self.mantissa.checked_mul(10i128.checked_pow(places)?)
    }

    /// Without trailing zeros after the point: `16.00` becomes `16`. Whole numbers keep their zeros.
    pub fn trimmed(mut self) -> Decimal {
        while self.exponent < 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.exponent += 1;
        }
        self
    }

    /// Compares the numbers, whatever their exponents.
    pub fn same_number(self, other: Decimal) -> bool {
        let exponent = self.exponent.min(other.exponent);
        match (self.at_exponent(exponent), other.at_exponent(exponent)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }

    /// The nearest `f64`, for comparisons and charts, never for bills.
    pub fn to_f64(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "said in the doc")]
        let mantissa = self.mantissa as f64;
        let power = 10f64.powi(i32::from(self.exponent.unsigned_abs()));
        if self.exponent < 0 { mantissa / power } else { mantissa * power }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let places = usize::from(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            let zeros = if self.mantissa == 0 { 0 } else { places };
            return write!(f, "{sign}{digits}{:0<zeros$}", "");
        }
        if digits.len() > places {
            let (whole, part) = digits.split_at(digits.len() - places);
            write!(f, "{sign}{whole}.{part}")
        } else {
            write!(f, "{sign}0.{digits:0>places$}")
        }
    }
}

/// What a point's value is made of. Fixed by the profile; a stored record keeps it beside its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// On or off.
    Bool,
    /// An exact decimal with this exponent.
    Decimal {
        /// Power of ten that every value of the point has.
        exponent: i8,
    },
    /// A decimal whose exponent differs from value to value (a scaled float).
    FreeDecimal,
    /// A single-precision float as the device sent it.
    F32,
    /// A double-precision float as the device sent it.
    F64,
    /// Text.
    Text,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// An exact decimal number, counters and bit fields included.
    Decimal(Decimal),
    /// A float; prints as the shortest decimal that is that float. Always finite.
    F32(f32),
    /// A double; prints as the shortest decimal that is that double. Always finite.
    F64(f64),
    /// Text.
    Text(Box<str>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(on) => write!(f, "{on}"),
            Value::Decimal(d) => write!(f, "{d}"),
            Value::F32(x) => write!(f, "{x}"),
            Value::F64(x) => write!(f, "{x}"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// Why a text is no value of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// The point is a switch.
    #[error("not a switch position: use on or off")]
    Switch,
    /// The point is a number.
    #[error(transparent)]
    Number(#[from] InvalidDecimal),
}

impl Value {
    /// Reads what a person typed for a point of this kind: `on`, `12.5`, ...
    ///
    /// # Errors
    /// [`InvalidValue`] says what would do.
    pub fn parse(kind: Kind, text: &str) -> Result<Value, InvalidValue> {
        let text = text.trim();
        match kind {
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "1" | "on" | "true" => Ok(Value::Bool(true)),
                "0" | "off" | "false" => Ok(Value::Bool(false)),
                _ => Err(InvalidValue::Switch),
            },
            Kind::Text => Ok(Value::Text(text.into())),
            Kind::Decimal { .. } | Kind::FreeDecimal | Kind::F32 | Kind::F64 => {
                Ok(Value::Decimal(Decimal::parse(text)?))
            }
        }
    }

    /// The value as an exact decimal: floats by their shortest round-trip digits. `None` for flags and text, and for
    /// floats beyond the range of [`Decimal`].
    pub fn to_decimal(&self) -> Option<Decimal> {
        match self {
            Value::Decimal(d) => Some(*d),
            Value::F32(x) if *x == 0.0 => Some(Decimal::whole(0)),
            Value::F64(x) if *x == 0.0 => Some(Decimal::whole(0)),
            Value::F32(x) => Decimal::parse(ryu::Buffer::new().format_finite(*x)).ok().map(Decimal::trimmed),
            Value::F64(x) => Decimal::parse(ryu::Buffer::new().format_finite(*x)).ok().map(Decimal::trimmed),
            Value::Bool(_) | Value::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn a_scaled_reading_is_exact() {
        assert_eq!(Decimal::whole(1_234_567).checked_mul(dec("0.01")).unwrap().to_string(), "12345.67");
        assert_eq!(Decimal::whole(5).checked_mul(dec("0.001")).unwrap().to_string(), "0.005");
        assert_eq!(Decimal::whole(-67).checked_mul(dec("0.001")).unwrap().to_string(), "-0.067");
        assert_eq!(Decimal::whole(1600).checked_mul(dec("0.01")).unwrap().to_string(), "16.00");
        assert_eq!(Decimal::whole(12).checked_mul(dec("1e3")).unwrap().to_string(), "12000");
        assert_eq!(Decimal { mantissa: 0, exponent: 3 }.to_string(), "0");
    }

    #[test]
    fn parse_refuses_what_is_not_a_plain_decimal() {
        for text in ["", ".", "-", "1.2.3", "0x10", "NaN", "1e", "1e99", " 1", "1_000", "٣"] {
            assert_eq!(Decimal::parse(text), Err(InvalidDecimal), "{text:?}");
        }
    }

    #[test]
    fn a_float_prints_as_the_shortest_decimal_that_is_that_float() {
        assert_eq!(Value::F32(230.1).to_string(), "230.1");
        assert_eq!(Value::F32(2304.0).to_decimal().unwrap().checked_mul(dec("0.1")).unwrap().to_string(), "230.4");
        assert_eq!(Value::F32(-0.0).to_decimal(), Some(Decimal::whole(0)));
    }

    #[test]
    fn numbers_compare_across_exponents() {
        assert!(dec("16.00").same_number(dec("16")));
        assert!(!dec("16.01").same_number(dec("16")));
        assert_eq!(dec("1.5").checked_add(dec("0.25")).unwrap().to_string(), "1.75");
        assert_eq!(dec("16.00").trimmed().to_string(), "16");
        assert_eq!(dec("1.5").checked_sub(dec("0.25")).unwrap().to_string(), "1.25");
        assert_eq!(dec("-0.1").compare(dec("-0.10")), Some(Ordering::Equal));
        assert_eq!(dec("2").compare(dec("1.99")), Some(Ordering::Greater));
    }
}
