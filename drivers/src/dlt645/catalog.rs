//! What data identifiers mean: names, units and formats (DL/T 645-2007 annex A; of the edition of 1997 the common ones).

mod y1997;
mod y2007;

use super::load;
use super::point::{Edition, Format};
use super::value;

/// What an identifier gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What is measured, without phase or tariff: `forward_active_energy`.
    pub base: String,
    /// What the items of a block differ in, and how they are named.
    pub axis: Axis,
    /// The first item: 0, or the one that a single identifier asks for.
    pub first: u8,
    /// True when the identifier asks for all items of the axis.
    pub is_block: bool,
    /// Unit of the value, `""` for none.
    pub unit: &'static str,
    /// How the value lies.
    pub format: Format,
    /// A time (mm hh DD MM YY) follows the value: demands.
    pub with_time: bool,
    /// How many settlements ago, 0 for now.
    pub settlement: u8,
}

/// What the items of a block differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Axis {
    /// There is one item.
    One,
    /// Phases A, B, C.
    Phases,
    /// Total, then phases A, B, C.
    TotalAndPhases,
    /// Active power in total and by phase, then reactive power so.
    Powers,
    /// Total, then tariffs from 1 on.
    Tariffs,
    /// Now, then previous settlements from 1 on.
    Settlements,
    /// The fields of a load record.
    LoadRecord,
    /// Words, or other things that are only counted, from 1 on.
    Counted,
}

impl Axis {
    /// True when a block may have so many items: phases are one or three, with the total one more. Frozen powers have all
    /// eight, or it could not be told which they are.
    pub fn takes(self, items: usize) -> bool {
        match self {
            Axis::Phases => matches!(items, 1 | 3),
            Axis::TotalAndPhases => matches!(items, 1 | 2 | 4),
            Axis::Powers => items == 8,
            Axis::One | Axis::LoadRecord | Axis::Tariffs | Axis::Settlements | Axis::Counted => true,
        }
    }
}

impl Layout {
    /// A single value.
    fn one(base: &str, unit: &'static str, format: Format) -> Layout {
        Layout {
            base: base.to_owned(),
            axis: Axis::One,
            first: 0,
            is_block: false,
            unit,
            format,
            with_time: false,
            settlement: 0,
        }
    }

    /// One item or the block of an axis: `at` is its number on the axis, `None` for the block.
    fn along(self, axis: Axis, at: Option<u8>) -> Layout {
        Layout { axis, first: at.unwrap_or(0), is_block: at.is_none(), ..self }
    }

    /// The same for data of so many bytes: see [`old_current`].
    pub fn of_length(self, edition: Edition, di: u32, bytes: usize) -> Layout {
        match old_current(edition, di, bytes) {
            Some(format) => Layout { format, ..self },
            None => self,
        }
    }

    /// How many items the data of a block hold.
    pub fn items_in(&self, edition: Edition, data: &[u8]) -> usize {
        value::items(edition, data, self.item_bytes(), matches!(self.format, Format::Word { .. }))
    }

    /// Bytes of one item.
    pub fn item_bytes(&self) -> u8 {
        self.format.bytes() + if self.with_time { Format::Minute.bytes() } else { 0 }
    }

    /// The unit of an item.
    pub fn unit_of(&self, item: u8) -> &'static str {
        match self.axis {
            Axis::Powers if item >= 4 => "kvar",
            Axis::LoadRecord => load::item(item).map_or("", |(_, unit, _)| unit),
            Axis::One
            | Axis::Phases
            | Axis::TotalAndPhases
            | Axis::Powers
            | Axis::Tariffs
            | Axis::Settlements
            | Axis::Counted => self.unit,
        }
    }

    /// How an item lies; `None` for one that there is not.
    pub fn format_of(&self, item: u8) -> Option<Format> {
        match self.axis {
            Axis::LoadRecord => load::item(item).map(|(.., format)| format),
            Axis::One
            | Axis::Phases
            | Axis::TotalAndPhases
            | Axis::Powers
            | Axis::Tariffs
            | Axis::Settlements
            | Axis::Counted => Some(self.format),
        }
    }

    /// The name of an item, counted from the first of the axis.
    pub fn name(&self, item: u8) -> String {
        let base = &self.base;
        let phase = |at: u8| ["a", "b", "c"].get(usize::from(at)).copied();
        match (self.axis, item) {
            (Axis::LoadRecord, item) => {
                load::item(item).map_or_else(|| format!("{base}_{item}"), |(name, ..)| name.to_owned())
            }
            (Axis::One | Axis::Settlements, _) => base.clone(),
            (Axis::TotalAndPhases | Axis::Tariffs, 0) => format!("{base}_total"),
            (Axis::Tariffs, tariff) => format!("{base}_t{tariff}"),
            (Axis::Phases, at) => phase(at).map_or_else(|| format!("{base}_{at}"), |phase| format!("{base}_{phase}")),
            (Axis::TotalAndPhases, at) => {
                phase(at - 1).map_or_else(|| format!("{base}_{at}"), |phase| format!("{base}_{phase}"))
            }
            (Axis::Powers, at) => {
                let of = if at < 4 { "active" } else { "reactive" };
                let part = ["total", "a", "b", "c"].get(usize::from(at % 4)).copied().unwrap_or_default();
                format!("{base}_{of}_power_{part}")
            }
            (Axis::Counted, at) => format!("{base}_{}", u16::from(at) + 1),
        }
    }
}

/// What an identifier gives; `None` for one that is not known.
pub fn layout(edition: Edition, di: u32) -> Option<Layout> {
    match edition {
        Edition::V1997 => y1997::layout(u16::try_from(di).ok()?),
        Edition::V2007 => y2007::layout(di),
    }
}

/// How the current of one phase lies in data of two bytes: some vendors keep XX.XX, without a sign, as it was in the
/// edition of 1997. `None` for other identifiers and lengths. Of a block the length does not tell it.
pub fn old_current(edition: Edition, di: u32, bytes: usize) -> Option<Format> {
    let is_current = edition == Edition::V2007 && matches!(di, 0x0202_0100 | 0x0202_0200 | 0x0202_0300);
    (is_current && bytes == 2).then_some(Format::Number { bytes: 2, places: 2, signed: false })
}

/// The identifier of one item of a block; `None` where the identifier is no block.
pub fn single(edition: Edition, di: u32, item: u8) -> Option<u32> {
    let found = layout(edition, di)?;
    if !found.is_block {
        return None;
    }
    let number = match found.axis {
        Axis::One | Axis::Powers | Axis::LoadRecord => return None,
        Axis::Phases | Axis::Counted => item.checked_add(1)?,
        Axis::TotalAndPhases | Axis::Tariffs | Axis::Settlements => item,
    };
    match edition {
        Edition::V1997 => (number < 0xF).then(|| di & !0xF | u32::from(number)),
        Edition::V2007 => {
            if di >> 24 == 0x05 {
                return None; // The total and its tariffs are frozen under one identifier.
            }
            let mut bytes = di.to_be_bytes();
            *bytes.iter_mut().skip(1).find(|byte| **byte == 0xFF)? = number;
            (number < 0xFF).then(|| u32::from_be_bytes(bytes))
        }
    }
}

/// Names of the bits of a word that an identifier gives.
pub fn bits(edition: Edition, di: u32, item: u8) -> &'static [(&'static str, u8)] {
    match (edition, di) {
        (Edition::V2007, 0x0400_05FF) => super::words::status_bits(item.saturating_add(1)),
        (Edition::V2007, 0x0400_0501..=0x0400_0507) => super::words::status_bits(di.to_be_bytes()[3]),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(edition: Edition, di: u32, items: u8) -> Vec<String> {
        let found = layout(edition, di).unwrap();
        (found.first..found.first + items).map(|item| found.name(item)).collect()
    }

    #[test]
    fn identifiers_and_blocks_have_the_names_and_units_of_the_standard() {
        use Edition::{V1997, V2007};
        assert_eq!(names(V2007, 0x0001_FF00, 2), ["forward_active_energy_total", "forward_active_energy_t1"]);
        assert_eq!(names(V2007, 0x0001_0400, 1), ["forward_active_energy_t4"]);
        assert_eq!(names(V2007, 0x0201_FF00, 3), ["voltage_a", "voltage_b", "voltage_c"]);
        assert_eq!(names(V2007, 0x0203_0200, 1), ["active_power_b"]);
        assert_eq!(names(V2007, 0x0015_0000, 1), ["forward_active_energy_a_total"]);
        assert_eq!(names(V1997, 0x901F, 2), ["forward_active_energy_total", "forward_active_energy_t1"]);
        assert_eq!(names(V1997, 0xB613, 1), ["voltage_c"]);
        assert_eq!(layout(V2007, 0x0001_0003).unwrap().settlement, 3);
        assert_eq!(layout(V2007, 0x0103_0000).unwrap().unit, "kvar");
        assert_eq!(names(V2007, 0x0500_1001, 5)[3..], ["frozen_active_power_c", "frozen_reactive_power_total"]);
        let frozen = layout(V2007, 0x0500_1001).unwrap();
        assert_eq!([0, 3, 4, 7].map(|item| frozen.unit_of(item)), ["kW", "kW", "kvar", "kvar"]);
        assert!(frozen.axis.takes(8) && !frozen.axis.takes(4), "which four would they be");
        assert_eq!(layout(V2007, 0x0001_FFFF), None, "one axis at a time");
        assert_eq!(layout(V2007, 0x0700_0000), None);
    }

    #[test]
    fn each_item_of_a_block_has_an_identifier_of_its_own_that_says_the_same() {
        for (edition, di) in [
            (Edition::V2007, 0x0001_FF00),
            (Edition::V2007, 0x0001_00FF),
            (Edition::V2007, 0x0101_FF00),
            (Edition::V2007, 0x0202_FF00),
            (Edition::V2007, 0x0203_FF00),
            (Edition::V2007, 0x0400_05FF),
            (Edition::V1997, 0x901F),
            (Edition::V1997, 0xB61F),
        ] {
            let block = layout(edition, di).unwrap();
            for item in 0..3 {
                let one = layout(edition, single(edition, di, item).unwrap()).unwrap();
                assert!(!one.is_block);
                assert_eq!((one.format, one.unit), (block.format, block.unit), "{di:X}");
                if block.axis != Axis::Settlements {
                    assert_eq!(one.name(one.first), block.name(item), "{di:X}");
                }
            }
        }
        assert_eq!(single(Edition::V2007, 0x0001_0000, 1), None);
    }
}
