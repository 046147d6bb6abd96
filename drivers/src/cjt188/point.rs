//! One point of a meter: an identifier, a field of its reply, and how the field is read.

use std::fmt;

use gatehouse_core::Kind;

use super::frame::di;
use super::layout::{Field, Shape};
use super::settings::Edition;
use super::unit::Unit;

/// How the digits of a number lie: packed decimals, least significant byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digits {
    /// Bytes, two digits each; `None`: as many as the layout has.
    pub bytes: Option<u8>,
    /// Digits after the point.
    pub places: u8,
    /// True when the highest bit is a minus sign; `None`: where it cannot be a digit.
    pub signed: Option<bool>,
}

/// One point of a CJ/T 188 meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cjt188Point {
    /// The edition, which says what layouts there are.
    pub edition: Edition,
    /// The data identifier that is asked for.
    pub di: u16,
    /// What of its reply.
    pub field: Field,
    /// How its digits lie; of no meaning for fields that are no numbers.
    pub digits: Digits,
    /// The unit that the meter must name; `None` for fields that have none.
    pub unit: Option<Unit>,
}

impl Field {
    /// How the field's digits lie where nothing else is said: as in both editions.
    pub fn usual_digits(self) -> Digits {
        let places = match self {
            Field::Value
            | Field::CurrentVolume
            | Field::SettlementVolume
            | Field::CurrentHeat
            | Field::SettlementHeat
            | Field::HeatPower
            | Field::CumulativeVolume
            | Field::SupplyTemperature
            | Field::ReturnTemperature => 2,
            Field::FlowRate => 4,
            Field::WorkingHours | Field::Clock | Field::Status | Field::Valve | Field::BatteryLow => 0,
        };
        Digits { bytes: None, places, signed: if self.is_temperature() { None } else { Some(false) } }
    }

    /// The unit that most meters name for the field; `None` where no byte of unit belongs to it.
    pub fn usual_unit(self) -> Option<Unit> {
        match self {
            Field::Value | Field::CurrentVolume | Field::SettlementVolume | Field::CumulativeVolume => {
                Some(Unit::CUBIC_METRE)
            }
            Field::CurrentHeat | Field::SettlementHeat => Some(Unit::KILOWATT_HOUR),
            Field::HeatPower => Some(Unit::KILOWATT),
            Field::FlowRate => Some(Unit::CUBIC_METRE_PER_HOUR),
            Field::SupplyTemperature
            | Field::ReturnTemperature
            | Field::WorkingHours
            | Field::Clock
            | Field::Status
            | Field::Valve
            | Field::BatteryLow => None,
        }
    }

    /// The unit that the field always has, where no byte of unit belongs to it.
    pub fn fixed_unit(self) -> &'static str {
        match self {
            Field::SupplyTemperature | Field::ReturnTemperature => "°C",
            Field::WorkingHours => "h",
            Field::Value
            | Field::CurrentVolume
            | Field::SettlementVolume
            | Field::CurrentHeat
            | Field::SettlementHeat
            | Field::HeatPower
            | Field::FlowRate
            | Field::CumulativeVolume
            | Field::Clock
            | Field::Status
            | Field::Valve
            | Field::BatteryLow => "",
        }
    }

    /// True for temperatures, which may be below zero.
    pub fn is_temperature(self) -> bool {
        matches!(self, Field::SupplyTemperature | Field::ReturnTemperature)
    }

    /// True for fields whose value is a number with digits of its own.
    pub fn is_number(self) -> bool {
        !matches!(self, Field::Clock | Field::Status | Field::Valve | Field::BatteryLow)
    }
}

impl Cjt188Point {
    /// The field of the reply to a read of what the meter counts now, as most meters have it.
    pub fn usual(edition: Edition, field: Field) -> Self {
        Cjt188Point { edition, di: di::METERING, field, digits: field.usual_digits(), unit: field.usual_unit() }
    }

    /// What the point's values are made of.
    pub fn kind(&self) -> Kind {
        match self.field.shape() {
            Shape::Clock | Shape::Valve => Kind::Text,
            Shape::BatteryLow => Kind::Bool,
            Shape::Status => Kind::Decimal { exponent: 0 },
            Shape::Number => Kind::Decimal { exponent: -i8::try_from(self.digits.places).unwrap_or(i8::MAX) },
        }
    }
}

impl fmt::Display for Cjt188Point {
    /// Writes the identifier and the field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X} {}", self.di, self.field.as_str())
    }
}

impl fmt::Display for Digits {
    /// Writes the digits as the standard does, `XXXXXX.XX`; of a number whose width the layout has, only `.XX`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.places);
        let whole = self.bytes.map_or(0, |bytes| (2 * usize::from(bytes)).saturating_sub(places));
        let sign = if self.signed == Some(true) { "-" } else { "" };
        let point = if places > 0 { "." } else { "" };
        write!(f, "{sign}{:X<whole$}{point}{:X<places$}", "", "")
    }
}
