//! Where the values of a reply lie. The layout is chosen by the length of the data: no two have the same.

use super::settings::{Edition, UnitPlace};

/// What a point of a meter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The one value of a reply that has one: a settlement of an earlier month, a freeze.
    Value,
    /// Volume now.
    CurrentVolume,
    /// Volume at the settlement day.
    SettlementVolume,
    /// Heat or cooling now.
    CurrentHeat,
    /// Heat or cooling at the settlement day.
    SettlementHeat,
    /// Power of the heat.
    HeatPower,
    /// Flow.
    FlowRate,
    /// Volume of the water that carried the heat.
    CumulativeVolume,
    /// Temperature of the supply.
    SupplyTemperature,
    /// Temperature of the return.
    ReturnTemperature,
    /// Hours that it works.
    WorkingHours,
    /// The meter's clock, as text.
    Clock,
    /// Both bytes of status, the first one in the low byte.
    Status,
    /// What the valve does, as text: `open`, `closed`, `abnormal`, `undefined`.
    Valve,
    /// The battery is low.
    BatteryLow,
}

/// The names of the fields in profiles and site files.
pub const FIELDS: [(&str, Field); 15] = [
    ("value", Field::Value),
    ("current_volume", Field::CurrentVolume),
    ("settlement_volume", Field::SettlementVolume),
    ("current_heat", Field::CurrentHeat),
    ("settlement_heat", Field::SettlementHeat),
    ("heat_power", Field::HeatPower),
    ("flow_rate", Field::FlowRate),
    ("cumulative_volume", Field::CumulativeVolume),
    ("supply_temperature", Field::SupplyTemperature),
    ("return_temperature", Field::ReturnTemperature),
    ("working_hours", Field::WorkingHours),
    ("clock", Field::Clock),
    ("status", Field::Status),
    ("valve", Field::Valve),
    ("battery_low", Field::BatteryLow),
];

impl Field {
    /// How its bytes are read.
    pub fn shape(self) -> Shape {
        match self {
            Field::Clock => Shape::Clock,
            Field::Status => Shape::Status,
            Field::Valve => Shape::Valve,
            Field::BatteryLow => Shape::BatteryLow,
            Field::Value
            | Field::CurrentVolume
            | Field::SettlementVolume
            | Field::CurrentHeat
            | Field::SettlementHeat
            | Field::HeatPower
            | Field::FlowRate
            | Field::CumulativeVolume
            | Field::SupplyTemperature
            | Field::ReturnTemperature
            | Field::WorkingHours => Shape::Number,
        }
    }

    /// The name in profiles and site files.
    pub fn as_str(self) -> &'static str {
        FIELDS.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }
}

/// How the bytes of a field are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Packed decimals, with a unit where the layout has one.
    Number,
    /// Date and time.
    Clock,
    /// All status bits.
    Status,
    /// The bits that tell where the valve is.
    Valve,
    /// The bit that tells of a low battery.
    BatteryLow,
}

/// One item of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub field: Field,
    /// Bytes of its value, without the unit.
    pub bytes: u8,
    /// A byte of unit belongs to it.
    pub with_unit: bool,
}

const fn with_unit(field: Field, bytes: u8) -> Item {
    Item { field, bytes, with_unit: true }
}

const fn plain(field: Field, bytes: u8) -> Item {
    Item { field, bytes, with_unit: false }
}

const SHORT: [Item; 1] = [with_unit(Field::Value, 4)];

const VOLUME: [Item; 4] = [
    with_unit(Field::CurrentVolume, 4),
    with_unit(Field::SettlementVolume, 4),
    plain(Field::Clock, 7),
    plain(Field::Status, 2),
];

const HEAT_2004: [Item; 10] = [
    with_unit(Field::SettlementHeat, 4),
    with_unit(Field::CurrentHeat, 4),
    with_unit(Field::HeatPower, 4),
    with_unit(Field::FlowRate, 4),
    with_unit(Field::CumulativeVolume, 4),
    plain(Field::SupplyTemperature, 3),
    plain(Field::ReturnTemperature, 3),
    plain(Field::WorkingHours, 3),
    plain(Field::Clock, 7),
    plain(Field::Status, 2),
];

/// Of one driver only; unverified.
const HEAT_2018: [Item; 10] = [
    with_unit(Field::SettlementHeat, 4),
    with_unit(Field::CurrentHeat, 4),
    with_unit(Field::HeatPower, 3),
    with_unit(Field::FlowRate, 3),
    with_unit(Field::CumulativeVolume, 4),
    plain(Field::SupplyTemperature, 2),
    plain(Field::ReturnTemperature, 2),
    plain(Field::WorkingHours, 4),
    plain(Field::Clock, 7),
    plain(Field::Status, 2),
];

/// Bytes of data of water and gas meters, behind identifier and serial number.
pub const VOLUME_BYTES: usize = 19;
/// The same of heat meters, edition of 2004.
pub const HEAT_2004_BYTES: usize = 43;
/// The same of heat meters, edition of 2018.
pub const HEAT_2018_BYTES: usize = 40;
/// The same of one value with its unit.
pub const SHORT_BYTES: usize = 5;

/// The items of data of this length, in their order; `None` for a length that is not known.
pub fn items(edition: Edition, bytes: usize) -> Option<&'static [Item]> {
    match (bytes, edition) {
        (SHORT_BYTES, _) => Some(&SHORT),
        (VOLUME_BYTES, _) => Some(&VOLUME),
        (HEAT_2004_BYTES, _) => Some(&HEAT_2004),
        (HEAT_2018_BYTES, Edition::V2018) => Some(&HEAT_2018),
        _ => None,
    }
}

/// The bytes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice<'d> {
    /// Its value, least significant byte first.
    pub value: &'d [u8],
    /// The code of its unit, where it has one.
    pub unit: Option<u8>,
}

/// The bytes of a field in data that `items` describe; `None` where they do not have it.
pub fn slice<'d>(items: &[Item], place: UnitPlace, field: Field, data: &'d [u8]) -> Option<Slice<'d>> {
    let wanted = match field {
        Field::Valve | Field::BatteryLow => Field::Status,
        // The short reply to a read of what the meter counts now has this one value.
        Field::CurrentVolume if matches!(items, [Item { field: Field::Value, .. }]) => Field::Value,
        other => other,
    };
    let mut rest = data;
    for item in items {
        let (bytes, more) = rest.split_at_checked(usize::from(item.bytes) + usize::from(item.with_unit))?;
        rest = more;
        if item.field != wanted {
            continue;
        }
        return match (item.with_unit, place) {
            (false, _) => Some(Slice { value: bytes, unit: None }),
            (true, UnitPlace::After) => bytes.split_last().map(|(unit, value)| Slice { value, unit: Some(*unit) }),
            (true, UnitPlace::Before) => bytes.split_first().map(|(unit, value)| Slice { value, unit: Some(*unit) }),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_each_layout_fill_its_length() {
        for edition in [Edition::V2004, Edition::V2018] {
            for bytes in 0..100 {
                let Some(items) = items(edition, bytes) else { continue };
                let sum: usize = items.iter().map(|item| usize::from(item.bytes) + usize::from(item.with_unit)).sum();
                assert_eq!(sum, bytes);
            }
        }
        assert!(items(Edition::V2004, HEAT_2018_BYTES).is_none(), "a layout that 2004 does not have");
    }

    #[test]
    fn the_unit_is_taken_from_the_side_that_is_told() {
        let data = [0x08, 0x02, 0x00, 0x00, 0x05];
        let at = |place| slice(&SHORT, place, Field::Value, &data).unwrap();
        assert_eq!(at(UnitPlace::Before), Slice { value: &[2, 0, 0, 5], unit: Some(8) });
        assert_eq!(at(UnitPlace::After), Slice { value: &[8, 2, 0, 0], unit: Some(5) });
        assert_eq!(slice(&SHORT, UnitPlace::After, Field::Clock, &data), None);
    }
}
