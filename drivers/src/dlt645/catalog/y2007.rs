//! Identifiers of the edition of 2007: DI3 DI2 DI1 DI0.

use super::{Axis, Layout};
use crate::dlt645::load;
use crate::dlt645::point::Format;

/// FF in an identifier asks for a block.
const BLOCK: u8 = 0xFF;
const COUNT: Format = number(3, 0);

const fn number(bytes: u8, places: u8) -> Format {
    Format::Number { bytes, places, signed: false }
}

const fn signed(bytes: u8, places: u8) -> Format {
    Format::Number { bytes, places, signed: true }
}

pub(super) fn layout(di: u32) -> Option<Layout> {
    let [class, two, one, zero] = di.to_be_bytes();
    if [two, one, zero].iter().filter(|&&byte| byte == BLOCK).count() > 1 {
        return None;
    }
    match class {
        0x00 => {
            let (quantity, has_sign) = quantity(two)?;
            let format = Format::Number { bytes: 4, places: 2, signed: has_sign };
            let layout =
                Layout::one(&format!("{}energy{}", quantity.name, quantity.phase), quantity.energy_unit, format);
            register(layout, one, zero)
        }
        0x01 => {
            let (quantity, _) = quantity(two)?;
            let base = format!("{}max_demand{}", quantity.name, quantity.phase);
            register(Layout { with_time: true, ..Layout::one(&base, quantity.power_unit, signed(3, 4)) }, one, zero)
        }
        0x02 => instantaneous(two, one, zero),
        0x03 => event(two, one, zero),
        0x04 => parameter(di),
        0x05 => freeze(two, one, zero),
        0x06 => (di == load::LATEST).then(|| Layout::one("load", "", number(2, 1)).along(Axis::LoadRecord, None)),
        _ => None,
    }
}

/// What an energy or demand is of.
struct Quantity {
    /// `forward_active_`.
    name: &'static str,
    /// `_a`, or empty for all phases.
    phase: &'static str,
    energy_unit: &'static str,
    power_unit: &'static str,
}

const QUANTITIES: [(&str, &str, &str); 11] = [
    ("combined_active_", "kWh", "kW"),
    ("forward_active_", "kWh", "kW"),
    ("reverse_active_", "kWh", "kW"),
    ("combined_reactive1_", "kvarh", "kvar"),
    ("combined_reactive2_", "kvarh", "kvar"),
    ("quadrant1_reactive_", "kvarh", "kvar"),
    ("quadrant2_reactive_", "kvarh", "kvar"),
    ("quadrant3_reactive_", "kvarh", "kvar"),
    ("quadrant4_reactive_", "kvarh", "kvar"),
    ("forward_apparent_", "kVAh", "kVA"),
    ("reverse_apparent_", "kVAh", "kVA"),
];

/// The quantity of DI2, and whether its energy has a sign.
fn quantity(two: u8) -> Option<(Quantity, bool)> {
    let (at, phase) = match two {
        0x00..=0x0A => (two, ""),
        0x15..=0x1E => (two - 0x14, "_a"),
        0x29..=0x32 => (two - 0x28, "_b"),
        0x3D..=0x46 => (two - 0x3C, "_c"),
        _ => return None,
    };
    let &(name, energy_unit, power_unit) = QUANTITIES.get(usize::from(at))?;
    Some((Quantity { name, phase, energy_unit, power_unit }, matches!(at, 0 | 3 | 4)))
}

/// Energies and demands: DI1 is the tariff, DI0 the settlement.
fn register(layout: Layout, one: u8, zero: u8) -> Option<Layout> {
    let settlement = if zero == BLOCK { 0 } else { zero };
    let layout = Layout { settlement, ..layout };
    match (one, zero) {
        (BLOCK, 0x00..=0x0C) => Some(layout.along(Axis::Tariffs, None)),
        (0x00..=0x3F, 0x00..=0x0C) => Some(layout.along(Axis::Tariffs, Some(one))),
        (0x00..=0x3F, BLOCK) => {
            let layout = layout.along(Axis::Tariffs, Some(one));
            Some(Layout { base: layout.name(one), ..layout }.along(Axis::Settlements, None))
        }
        _ => None,
    }
}

fn instantaneous(two: u8, one: u8, zero: u8) -> Option<Layout> {
    if two == 0x80 {
        return if one == 0 { single(zero) } else { None };
    }
    let phases = |base: &str, unit, format| {
        let at = match one {
            1..=3 => Some(one - 1),
            BLOCK => None,
            _ => return None,
        };
        Some(Layout::one(base, unit, format).along(Axis::Phases, at))
    };
    let with_total = |base: &str, unit, format| {
        let at = match one {
            0..=3 => Some(one),
            BLOCK => None,
            _ => return None,
        };
        Some(Layout::one(base, unit, format).along(Axis::TotalAndPhases, at))
    };
    match (two, zero) {
        (0x01, 0) => phases("voltage", "V", number(2, 1)),
        (0x02, 0) => phases("current", "A", signed(3, 3)),
        (0x03, 0) => with_total("active_power", "kW", signed(3, 4)),
        (0x04, 0) => with_total("reactive_power", "kvar", signed(3, 4)),
        (0x05, 0) => with_total("apparent_power", "kVA", signed(3, 4)),
        (0x06, 0) => with_total("power_factor", "", signed(2, 3)),
        (0x07, 0) => phases("phase_angle", "°", number(2, 1)),
        (0x08, 0) => phases("voltage_thd", "%", number(2, 2)),
        (0x09, 0) => phases("current_thd", "%", number(2, 2)),
        _ => None,
    }
}

/// 02 80 00 xx: values that have no phase.
fn single(zero: u8) -> Option<Layout> {
    let (base, unit, format) = match zero {
        0x01 => ("current_neutral", "A", signed(3, 3)),
        0x02 => ("frequency", "Hz", number(2, 2)),
        0x03 => ("active_power_mean", "kW", signed(3, 4)),
        0x04 => ("active_demand", "kW", signed(3, 4)),
        0x05 => ("reactive_demand", "kvar", signed(3, 4)),
        0x06 => ("apparent_demand", "kVA", signed(3, 4)),
        0x07 => ("temperature_internal", "°C", signed(2, 1)),
        0x08 => ("clock_battery_voltage", "V", number(2, 2)),
        0x09 => ("reading_battery_voltage", "V", number(2, 2)),
        0x0A => ("battery_run_time", "min", number(4, 0)),
        _ => return None,
    };
    Some(Layout::one(base, unit, format))
}

/// Totals of events; their records have layouts of many fields each and are not read.
fn event(two: u8, one: u8, zero: u8) -> Option<Layout> {
    let base = match (two, one, zero) {
        (0x11, 0, 0) => "power_down_count",
        (0x30, 0x00, 0) => "programming_count",
        (0x30, 0x01, 0) => "meter_clear_count",
        (0x30, 0x02, 0) => "demand_clear_count",
        (0x30, 0x03, 0) => "event_clear_count",
        (0x30, 0x04, 0) => "clock_set_count",
        (0x30, 0x0D, 0) => "cover_open_count",
        (0x30, 0x0E, 0) => "terminal_cover_open_count",
        _ => return None,
    };
    Some(Layout::one(base, "", COUNT))
}

fn parameter(di: u32) -> Option<Layout> {
    let word = Format::Word { bytes: 2 };
    let [.., last] = di.to_be_bytes();
    Some(match di {
        0x0400_0101 => Layout::one("date", "", Format::Date),
        0x0400_0102 => Layout::one("time", "", Format::Time),
        0x0400_0401 => Layout::one("address", "", Format::Digits { bytes: 6 }),
        0x0400_0402 => Layout::one("meter_number", "", Format::Digits { bytes: 6 }),
        0x0400_0403 => Layout::one("asset_code", "", Format::Text { bytes: 32 }),
        0x0400_0409 => Layout::one("active_constant", "imp/kWh", number(3, 0)),
        0x0400_0501..=0x0400_0507 => Layout::one("status_word", "", word).along(Axis::Counted, Some(last - 1)),
        0x0400_05FF => Layout::one("status_word", "", word).along(Axis::Counted, None),
        0x0400_0B01..=0x0400_0B03 => {
            Layout::one("settlement_day", "", Format::Digits { bytes: 2 }).along(Axis::Counted, Some(last - 1))
        }
        _ => return None,
    })
}

/// Freeze records: DI2 the kind of freeze, DI1 what was frozen, DI0 how many freezes ago.
fn freeze(two: u8, one: u8, zero: u8) -> Option<Layout> {
    if !matches!(two, 0x00..=0x04 | 0x06) || !(1..BLOCK).contains(&zero) {
        return None;
    }
    let energy = |of: u8| {
        let (quantity, has_sign) = quantity(of)?;
        let format = Format::Number { bytes: 4, places: 2, signed: has_sign };
        let base = format!("frozen_{}energy", quantity.name);
        Some(Layout::one(&base, quantity.energy_unit, format).along(Axis::Tariffs, None))
    };
    let demand = |of: u8| {
        let (quantity, _) = quantity(of)?;
        let layout = Layout::one(&format!("frozen_{}max_demand", quantity.name), quantity.power_unit, signed(3, 4));
        Some(Layout { with_time: true, ..layout }.along(Axis::Tariffs, None))
    };
    match one {
        0x00 => Some(Layout::one("freeze_time", "", Format::Minute)),
        0x01..=0x08 => energy(one),
        0x09 => demand(1),
        0x0A => demand(2),
        0x10 => Some(Layout::one("frozen", "kW", signed(3, 4)).along(Axis::Powers, None)),
        _ => None,
    }
}
