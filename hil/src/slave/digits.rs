//! Packed decimals, two digits to a byte, the least significant byte first: the numbers of DL/T 645 and CJ/T 188.
//!
//! Written apart from `gatehouse-drivers` on purpose, as the framing is.

use gatehouse_core::Decimal;
use gatehouse_drivers::cjt188::Field;
use gatehouse_drivers::dlt645::point::Format;
use gatehouse_drivers::point::Place;

/// How a point's number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    /// Bytes that it takes.
    pub bytes: u8,
    /// Digits after the point.
    pub places: u8,
    /// Whether the highest bit is a sign.
    signed: bool,
}

impl Digits {
    /// How the number at a place is written; `None` for what is no plain number of a meter.
    pub fn of(place: &Place) -> Option<Self> {
        match place {
            Place::Dlt645(point) => {
                let Format::Number { bytes, places, signed } = point.format else { return None };
                (point.item_bytes == bytes && point.offset == 0).then_some(Digits { bytes, places, signed })
            }
            Place::Cjt188(point) => {
                let bytes = width(point.field)?;
                Some(Digits { bytes, places: point.digits.places, signed: false })
            }
            Place::Modbus(_) | Place::Osdp(_) | Place::Uhppote(_) | Place::Own { .. } => None,
        }
    }

    /// The number of steps of a value, within what the digits hold.
    pub fn steps(self, value: f64) -> u64 {
        let digits = 2 * u32::from(self.bytes);
        let most = 10u64.saturating_pow(digits.min(18)) / if self.signed { 2 } else { 1 } - 1;
        let steps = (value * 10f64.powi(i32::from(self.places))).round().max(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0, and capped")]
        let steps = steps as u64;
        steps.min(most)
    }

    /// The value of so many steps.
    pub fn value(self, steps: u64) -> Decimal {
        let exponent = -i8::try_from(self.places).unwrap_or(i8::MAX);
        Decimal { mantissa: i128::from(steps), exponent }
    }

    /// Appends so many steps as they travel.
    pub fn write(self, steps: u64, out: &mut Vec<u8>) {
        let mut rest = steps;
        for _ in 0..self.bytes {
            out.push(packed(rest % 100));
            rest /= 100;
        }
    }
}

/// The byte of two digits.
fn packed(number: u64) -> u8 {
    u8::try_from(number / 10 % 10 * 16 + number % 10).unwrap_or(0)
}

/// Bytes of a field of CJ/T 188-2004, without its unit.
fn width(field: Field) -> Option<u8> {
    match field {
        Field::Value
        | Field::CurrentVolume
        | Field::SettlementVolume
        | Field::CurrentHeat
        | Field::SettlementHeat
        | Field::HeatPower
        | Field::FlowRate
        | Field::CumulativeVolume => Some(4),
        Field::SupplyTemperature | Field::ReturnTemperature | Field::WorkingHours => Some(3),
        Field::Clock | Field::Status | Field::Valve | Field::BatteryLow => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_travel_in_pairs_the_last_ones_first() {
        let digits = Digits { bytes: 4, places: 2, signed: false };
        let mut bytes = Vec::new();
        digits.write(digits.steps(123_456.78), &mut bytes);
        assert_eq!(bytes, [0x78, 0x56, 0x34, 0x12]);
        assert_eq!(digits.value(12_345_678).to_string(), "123456.78");
    }

    #[test]
    fn a_number_that_is_too_large_shows_as_many_nines_as_there_are_places() {
        let plain = Digits { bytes: 2, places: 1, signed: false };
        assert_eq!((plain.steps(5_000.0), plain.steps(-1.0)), (9_999, 0));
        assert_eq!(Digits { signed: true, ..plain }.steps(5_000.0), 4_999, "the highest bit is a sign");
    }
}
