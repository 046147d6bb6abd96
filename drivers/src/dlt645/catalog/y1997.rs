//! Identifiers of the edition of 1997: DI1 DI0.

use super::{Axis, Layout};
use crate::dlt645::point::Format;

const fn number(bytes: u8, places: u8) -> Format {
    Format::Number { bytes, places, signed: false }
}

pub(super) fn layout(di: u16) -> Option<Layout> {
    let [high, low] = di.to_be_bytes();
    let (row, column) = (low >> 4, low & 15);
    let at = (column != 0xF).then_some(column);
    let energy = |base: &str, unit, settlement| {
        let one = Layout::one(base, unit, number(4, 2)).along(Axis::Tariffs, at);
        Some(Layout { settlement, ..one })
    };
    match (high, row) {
        (0x90 | 0x94 | 0x98, 1) => energy("forward_active_energy", "kWh", (high - 0x90) / 4),
        (0x90 | 0x94 | 0x98, 2) => energy("reverse_active_energy", "kWh", (high - 0x90) / 4),
        (0x91 | 0x95 | 0x99, 1) => energy("forward_reactive_energy", "kvarh", (high - 0x91) / 4),
        (0x91 | 0x95 | 0x99, 2) => energy("reverse_reactive_energy", "kvarh", (high - 0x91) / 4),
        (0xA0, 1) => Some(Layout::one("forward_active_max_demand", "kW", number(3, 4)).along(Axis::Tariffs, at)),
        (0xA0, 2) => Some(Layout::one("reverse_active_max_demand", "kW", number(3, 4)).along(Axis::Tariffs, at)),
        (0xB6, _) => instantaneous(row, column),
        _ => match di {
            0xC010 => Some(Layout::one("date", "", Format::Date)),
            0xC011 => Some(Layout::one("time", "", Format::Time)),
            0xC020 => Some(Layout::one("status_word", "", Format::Word { bytes: 1 })),
            0xC032 => Some(Layout::one("meter_number", "", Format::Digits { bytes: 6 })),
            _ => None,
        },
    }
}

fn instantaneous(row: u8, column: u8) -> Option<Layout> {
    let phases = |base: &str, unit, format| {
        let at = match column {
            1..=3 => Some(column - 1),
            0xF => None,
            _ => return None,
        };
        Some(Layout::one(base, unit, format).along(Axis::Phases, at))
    };
    let with_total = |base: &str, unit, format| {
        let at = match column {
            0..=3 => Some(column),
            0xF => None,
            _ => return None,
        };
        Some(Layout::one(base, unit, format).along(Axis::TotalAndPhases, at))
    };
    match row {
        1 => phases("voltage", "V", number(2, 0)),
        2 => phases("current", "A", number(2, 2)),
        3 => with_total("active_power", "kW", number(3, 4)),
        4 => with_total("reactive_power", "kvar", number(2, 2)),
        5 => with_total("power_factor", "", number(2, 3)),
        _ => None,
    }
}
