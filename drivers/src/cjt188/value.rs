//! Bytes of a reply to a value.

use std::fmt::Write as _;

use gatehouse_core::{Decimal, LocalTime, NoData, PointIx, PointReading, Value};

use super::layout::{HEAT_2018_BYTES, Shape, Slice, items, slice};
use super::point::{Cjt188Point, Digits};
use super::settings::{ClockOrder, Edition, Traits};
use super::unit::Unit;

/// What the bits of the status word say; the first byte of status is the word's low one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusBits {
    /// The bits of the valve; all clear: it is open, all set: it is abnormal.
    pub valve_mask: u16,
    /// What they are when it is closed.
    pub valve_closed: u16,
    /// The bit of a low battery.
    pub battery_mask: u16,
}

/// What a valve does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Valve {
    /// It lets through.
    Open,
    /// It is shut.
    Closed,
    /// It could not be moved.
    Abnormal,
    /// A state that the standard leaves open; on the way, of one maker.
    Undefined,
}

impl Valve {
    /// The name in values.
    pub fn as_str(self) -> &'static str {
        match self {
            Valve::Open => "open",
            Valve::Closed => "closed",
            Valve::Abnormal => "abnormal",
            Valve::Undefined => "undefined",
        }
    }
}

impl StatusBits {
    /// D0 is the lowest bit: the valve in bits 0 and 1, closed is 01, the battery in bit 2.
    pub const LOW_END: StatusBits = StatusBits { valve_mask: 0x03, valve_closed: 0x01, battery_mask: 0x04 };
    /// D0 is the highest bit: the valve in bits 7 and 6, closed is 40H, the battery in bit 5.
    pub const HIGH_END: StatusBits = StatusBits { valve_mask: 0xC0, valve_closed: 0x40, battery_mask: 0x20 };

    /// What the valve does by a status word.
    pub fn valve(&self, status: u16) -> Valve {
        match status & self.valve_mask {
            0 => Valve::Open,
            bits if bits == self.valve_closed => Valve::Closed,
            bits if bits == self.valve_mask => Valve::Abnormal,
            _ => Valve::Undefined,
        }
    }

    /// Whether the battery is low by a status word.
    pub fn is_battery_low(&self, status: u16) -> bool {
        status & self.battery_mask != 0
    }
}

impl Cjt188Point {
    /// The value in the data of a reply, behind identifier and serial number.
    ///
    /// # Errors
    /// [`NoData`]: data of a length that no layout has are a `BadReply`; a field that the layout does not have, bytes FF
    /// and a clock that was never set are `NotAvailable`; a unit that is not the point's is an `UnexpectedUnit`.
    pub fn decode(&self, traits: &Traits, data: &[u8]) -> Result<Value, NoData> {
        let found = self.found(traits, data)?;
        match self.field.shape() {
            Shape::Clock => time_text(clock(found.value, traits.clock_order)?),
            Shape::Status => Ok(Value::Decimal(Decimal::whole(status(found.value)?.into()))),
            Shape::Valve => Ok(Value::Text(traits.status.valve(status(found.value)?).as_str().into())),
            Shape::BatteryLow => Ok(Value::Bool(traits.status.is_battery_low(status(found.value)?))),
            Shape::Number => {
                let value = number(found.value, self.digits)?;
                check_unit(self.unit, found.unit)?;
                Ok(value)
            }
        }
    }

    /// The same as a reading of the point, with the bytes that it was made of, the unit's left out.
    pub(super) fn read(&self, point: PointIx, traits: &Traits, data: &[u8]) -> PointReading {
        let bytes = self.found(traits, data).map(|found| found.value).unwrap_or_default();
        PointReading::new(point, self.decode(traits, data)).of(bytes)
    }

    fn found<'d>(&self, traits: &Traits, data: &'d [u8]) -> Result<Slice<'d>, NoData> {
        let items = items(self.edition, data.len()).ok_or(NoData::BadReply)?;
        slice(items, traits.unit_place, self.field, data).ok_or(NoData::NotAvailable)
    }
}

/// A meter that names another unit than its point, or one that no source knows, has no value: a wrong unit is a wrong bill.
fn check_unit(expected: Option<Unit>, got: Option<u8>) -> Result<(), NoData> {
    match (expected, got) {
        (None, None) => Ok(()),
        (Some(unit), Some(code)) if unit.code() == code => Ok(()),
        (_, Some(code)) => Err(NoData::UnexpectedUnit(code)),
        (Some(_), None) => Err(NoData::BadReply),
    }
}

/// The decimal number in a byte.
pub(super) fn bcd(byte: u8) -> Result<u8, NoData> {
    let (high, low) = (byte >> 4, byte & 15);
    if high > 9 || low > 9 { Err(NoData::NotBcd) } else { Ok(high * 10 + low) }
}

/// The packed decimal of a number below 100.
fn to_bcd(number: u8) -> u8 {
    ((number / 10 % 10) << 4) | (number % 10)
}

/// Bytes from which on the highest bit of a temperature can be a sign: 8000 °C is none, 80 °C is one.
const SIGNED_FROM: usize = 3;

fn number(bytes: &[u8], digits: Digits) -> Result<Value, NoData> {
    if digits.bytes.is_some_and(|own| usize::from(own) != bytes.len()) {
        return Err(NoData::BadReply);
    }
    if bytes.iter().all(|&byte| byte == 0xFF) {
        return Err(NoData::NotAvailable);
    }
    let Some((&last, rest)) = bytes.split_last() else { return Err(NoData::BadReply) };
    let signed = digits.signed.unwrap_or(bytes.len() >= SIGNED_FROM);
    let negative = signed && last & 0x80 != 0;
    let mut mantissa = i128::from(bcd(if signed { last & 0x7F } else { last })?);
    for &byte in rest.iter().rev() {
        mantissa = mantissa * 100 + i128::from(bcd(byte)?);
    }
    let exponent = -i8::try_from(digits.places).unwrap_or(i8::MAX);
    Ok(Value::Decimal(Decimal { mantissa: if negative { -mantissa } else { mantissa }, exponent }))
}

/// The status word.
///
/// # Errors
/// `NotAvailable` for bytes FF.
pub fn status(bytes: &[u8]) -> Result<u16, NoData> {
    match *bytes {
        [0xFF, 0xFF] => Err(NoData::NotAvailable),
        [low, high] => Ok(u16::from_le_bytes([low, high])),
        _ => Err(NoData::BadReply),
    }
}

/// The time of seven bytes.
///
/// # Errors
/// `NotAvailable` for bytes 00 (there is no clock) or FF, `NotBcd`, and `OutOfRange` for a time that the calendar does not
/// have or of another century than this.
pub fn clock(bytes: &[u8], order: ClockOrder) -> Result<LocalTime, NoData> {
    let &[b0, b1, b2, b3, b4, b5, b6] = bytes else { return Err(NoData::BadReply) };
    let wire = match order {
        ClockOrder::SecondFirst => [b0, b1, b2, b3, b4, b5, b6],
        ClockOrder::YearFirst => [b6, b5, b4, b3, b2, b1, b0],
    };
    if wire == [0; 7] || wire == [0xFF; 7] {
        return Err(NoData::NotAvailable);
    }
    let mut parts = [0; 7];
    for (part, byte) in parts.iter_mut().zip(wire) {
        *part = bcd(byte)?;
    }
    let [second, minute, hour, day, month, year, century] = parts;
    let year = 100 * u16::from(century) + u16::from(year);
    LocalTime::new(year, month, day, hour, minute, second).ok_or(NoData::OutOfRange)
}

/// The seven bytes of a time.
pub fn clock_bytes(at: LocalTime, order: ClockOrder) -> [u8; 7] {
    let low = u8::try_from(at.year % 100).unwrap_or(0);
    let high = u8::try_from(at.year / 100).unwrap_or(20);
    let mut bytes = [at.second, at.minute, at.hour, at.day, at.month, low, high].map(to_bcd);
    if order == ClockOrder::YearFirst {
        bytes.reverse();
    }
    bytes
}

/// A time as text: `2026-03-14T15:09:26`.
pub(super) fn time_text(at: LocalTime) -> Result<Value, NoData> {
    let mut out = String::with_capacity(19);
    let LocalTime { year, month, day, hour, minute, second } = at;
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").map_err(|_| NoData::BadText)?;
    Ok(Value::Text(out.into()))
}

/// Bytes of data that a read is reckoned with.
pub(super) fn expected_bytes(is_heat: bool, is_metering: bool, edition: Edition) -> usize {
    use super::layout::{HEAT_2004_BYTES, SHORT_BYTES, VOLUME_BYTES};
    match (is_metering, is_heat, edition) {
        (false, ..) => SHORT_BYTES,
        (true, false, _) => VOLUME_BYTES,
        (true, true, Edition::V2004) => HEAT_2004_BYTES,
        (true, true, Edition::V2018) => HEAT_2018_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cjt188::layout::Field;

    fn read(point: Cjt188Point, data: &[u8]) -> String {
        let value = point.decode(&Traits::default(), data);
        value.map_or_else(|why| why.to_string(), |value| value.to_string())
    }

    fn short(value: [u8; 4], unit: u8) -> String {
        let [a, b, c, d] = value;
        read(Cjt188Point::usual(Edition::V2018, Field::CurrentVolume), &[a, b, c, d, unit])
    }

    #[test]
    fn a_value_is_exact_and_has_the_points_unit_or_its_reason() {
        assert_eq!(short([0x34, 0x12, 0, 0], 0x2C), "12.34");
        assert_eq!(short([0x34, 0x12, 0, 0], 0x29), "unexpected_unit_29", "litres are not cubic metres");
        assert_eq!(short([0x34, 0x12, 0, 0], 0x7F), "unexpected_unit_7f");
        assert_eq!(short([0xFF; 4], 0xFF), "not_available");
        assert_eq!(short([0x3A, 0x12, 0, 0], 0x2C), "not_bcd");
        assert_eq!(
            read(Cjt188Point::usual(Edition::V2018, Field::CurrentVolume), &[0; 6]),
            "bad_reply",
            "a length of no layout"
        );
        assert_eq!(
            read(Cjt188Point::usual(Edition::V2018, Field::CurrentHeat), &[0; 19]),
            "not_available",
            "water has no heat"
        );
    }

    #[test]
    fn a_temperature_is_below_zero_where_its_highest_bit_cannot_be_a_digit() {
        let at = |bytes: &[u8]| number(bytes, Field::SupplyTemperature.usual_digits()).unwrap().to_string();
        assert_eq!(at(&[0x35, 0x25, 0x00]), "25.35");
        assert_eq!(at(&[0x35, 0x05, 0x80]), "-5.35");
        assert_eq!(at(&[0x00, 0x85]), "85.00", "hot water in the two bytes of 2018");
    }

    #[test]
    fn a_clock_of_zeros_is_none_and_one_the_wrong_way_round_is_out_of_range() {
        let bytes = [0x53, 0x00, 0x12, 0x10, 0x07, 0x15, 0x20];
        let at = clock(&bytes, ClockOrder::SecondFirst).unwrap();
        assert_eq!(time_text(at).unwrap().to_string(), "2015-07-10T12:00:53");
        assert_eq!(clock(&bytes, ClockOrder::YearFirst), Err(NoData::OutOfRange));
        assert_eq!(clock(&[0; 7], ClockOrder::SecondFirst), Err(NoData::NotAvailable));
        for order in [ClockOrder::SecondFirst, ClockOrder::YearFirst] {
            assert_eq!(clock(&clock_bytes(at, order), order), Ok(at));
        }
    }

    #[test]
    fn the_bits_of_a_valve_are_read_from_the_end_that_is_told() {
        for (bits, states) in [
            (StatusBits::LOW_END, [(0x00, Valve::Open), (0x01, Valve::Closed), (0x03, Valve::Abnormal)]),
            (StatusBits::HIGH_END, [(0x00, Valve::Open), (0x40, Valve::Closed), (0xC0, Valve::Abnormal)]),
        ] {
            for (status, valve) in states {
                assert_eq!(bits.valve(status), valve);
            }
        }
        assert_eq!(StatusBits::LOW_END.valve(0x02), Valve::Undefined);
        assert!(StatusBits::LOW_END.is_battery_low(0x07) && !StatusBits::HIGH_END.is_battery_low(0x07));
    }
}
