//! The keys of a point of a meter, and of what makers differ in, as profiles and site files write them.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeTable;

use super::frame::di;
use super::layout::{FIELDS, Field};
use super::point::{Cjt188Point, Digits};
use super::settings::{ClockOrder, DiOrder, Edition, MeterType, Traits, UnitPlace};
use super::unit::Unit;
use super::value::StatusBits;
use crate::point::{Place, PointSpec};
use crate::profile::keys::{KeyError, Keys, Rule};
use crate::profile::{in_order, read_name};

/// Longest time that a valve may travel.
const MAX_TRAVEL_MS: u32 = 300_000;

/// Reads in what a meter differs from others; keys that are not there stay as in `base`.
pub fn read_traits(keys: &mut Keys<'_, '_>, edition: Edition, base: &Traits) -> Traits {
    let orders = [("low-first", DiOrder::LowFirst), ("high-first", DiOrder::HighFirst)];
    let places = [("after", UnitPlace::After), ("before", UnitPlace::Before)];
    let clocks = [("second-first", ClockOrder::SecondFirst), ("year-first", ClockOrder::YearFirst)];
    Traits {
        meter_type: read_type(keys, edition).unwrap_or(base.meter_type),
        di_order: keys.choice("di_order", &orders).map_or(base.di_order, |found| found.value),
        unit_place: keys.choice("unit_place", &places).map_or(base.unit_place, |found| found.value),
        clock_order: keys.choice("clock_order", &clocks).map_or(base.clock_order, |found| found.value),
        status: read_status(keys, base.status),
        valve_travel: keys
            .millis("valve_travel", MAX_TRAVEL_MS)
            .map_or(base.valve_travel, |found| Duration::from_millis(found.value.into())),
    }
}

fn read_type(keys: &mut Keys<'_, '_>, edition: Edition) -> Option<MeterType> {
    let found = keys.text("meter_type")?;
    let known = MeterType::parse(found.value);
    if known == Some(MeterType(0x22)) && edition == Edition::V2004 {
        let help = "take protocol = \"cjt188-2018\", or 20 for heat and 21 for cooling";
        keys.error(Rule::Conflict, found.span, "the type 22 came with the edition of 2018", help);
    } else if known.is_none() {
        let message = format!("`meter_type` = {:?} is no type of a meter", found.value);
        let help = "10 cold water, 11 hot water, 12 drinking, 13 reclaimed; 20 heat, 21 cooling, 22 both; 30 gas; 40 to \
                    49 others; AA for whatever there is";
        keys.error(Rule::BadValue, found.span, message, help);
    }
    known
}

fn read_status(keys: &mut Keys<'_, '_>, base: StatusBits) -> StatusBits {
    let ends = [("low-end", StatusBits::LOW_END), ("high-end", StatusBits::HIGH_END)];
    let base = keys.choice("status_order", &ends).map_or(base, |found| found.value);
    let bits = StatusBits {
        valve_mask: keys.word("valve_mask", 1..=u16::MAX).map_or(base.valve_mask, |found| found.value),
        valve_closed: keys.word("valve_closed", 1..=u16::MAX).map_or(base.valve_closed, |found| found.value),
        battery_mask: keys.word("battery_mask", 1..=u16::MAX).map_or(base.battery_mask, |found| found.value),
    };
    if bits.valve_closed & !bits.valve_mask != 0 {
        let key = if keys.has("valve_closed") { "valve_closed" } else { "valve_mask" };
        let message =
            format!("a closed valve shows {:#04x}, which is not within {:#04x}", bits.valve_closed, bits.valve_mask);
        let help = "`valve_mask` are the bits of the valve, `valve_closed` what they are when it is closed";
        keys.error(Rule::Conflict, keys.span_of(key), message, help);
    }
    if bits.battery_mask & bits.valve_mask != 0 {
        let key = if keys.has("battery_mask") { "battery_mask" } else { "valve_mask" };
        let message =
            format!("the battery's bit {:#04x} is one of the valve's {:#04x}", bits.battery_mask, bits.valve_mask);
        keys.error(
            Rule::Conflict,
            keys.span_of(key),
            message,
            "prove the bits on site: move one valve and look at `status`",
        );
    }
    bits
}

/// Reads a point; `base` is the one whose single facts it changes.
///
/// # Errors
/// Every mistake of the table, in the order of its keys.
pub(crate) fn read_point(
    edition: Edition,
    base: Option<&PointSpec>,
    table: &DeTable<'_>,
    span: Range<usize>,
    extra: &[&str],
) -> Result<PointSpec, Vec<KeyError>> {
    let mut keys = Keys::new(table, span);
    let name = read_name(&mut keys, base);
    let old = base.and_then(PointSpec::cjt188);
    let di = read_di(&mut keys, edition);
    let field = keys.choice("field", &FIELDS).map(|found| found.value);
    let usual_field = || match (old, di) {
        (Some(old), _) => Some(old.field),
        (None, Some(di)) if di != di::METERING => Some(Field::Value),
        (None, _) => None,
    };
    let field = field.or_else(usual_field);
    if field.is_none() && !keys.has("field") && !keys.has("di") {
        keys.missing("field", "what of the reply it is, for example field = \"current_volume\"");
    }
    let digits = read_format(&mut keys);
    let unit = keys.text("unit");
    let note = keys.text("note").map(|found| found.value.to_owned());
    keys.deny_others(extra);
    let Some(field) = field else { return Err(in_order(keys.errors)) };
    let same = old.filter(|old| old.field == field);
    let unit = match unit {
        Some(found) => read_unit(&mut keys, field, found.value),
        None => same.map_or(field.usual_unit(), |old| old.unit),
    };
    if digits.is_some() && !field.is_number() {
        let span = keys.span_of("format");
        keys.error(
            Rule::Conflict,
            span,
            format!("`format` is of numbers, and {} is none", field.as_str()),
            "leave it out",
        );
    }
    let (Some(name), true) = (name, keys.errors.is_empty()) else { return Err(in_order(keys.errors)) };
    let place = Cjt188Point {
        edition,
        di: di.or(old.map(|old| old.di)).unwrap_or(di::METERING),
        field,
        digits: digits.or(same.map(|old| old.digits)).unwrap_or(field.usual_digits()),
        unit,
    };
    Ok(PointSpec {
        name,
        unit: place.unit.map_or(field.fixed_unit(), Unit::as_str).to_owned(),
        bits: Vec::new(),
        note: note.or_else(|| base.map(|base| base.note.clone())).unwrap_or_default(),
        place: Place::Cjt188(place),
    })
}

/// Identifiers whose replies hold values; the others are of tariffs, keys and days.
fn is_read(edition: Edition, di: u16) -> bool {
    match di {
        di::METERING | di::SETTLEMENT_1..=di::SETTLEMENT_12 => true,
        0x911F | 0xD200..=0xD4FF => edition == Edition::V2018,
        _ => false,
    }
}

fn read_di(keys: &mut Keys<'_, '_>, edition: Edition) -> Option<u16> {
    let found = keys.text("di")?;
    let di = u16::from_str_radix(found.value, 16).ok().filter(|_| found.value.len() == 4);
    match di {
        None => {
            let message = format!("`di` = {:?} is no data identifier", found.value);
            let help =
                "write DI1 DI0 as four hexadecimal digits, for example \"901F\", whatever their order on the wire";
            keys.error(Rule::BadValue, found.span, message, help);
            None
        }
        Some(di) if !is_read(edition, di) => {
            let later = is_read(Edition::V2018, di);
            let message = format!("no values are read from the identifier {di:04X}");
            let help = if later {
                "it came with the edition of 2018: take protocol = \"cjt188-2018\""
            } else {
                "901F is what the meter counts now, D120 to D12B are the settlements of the last twelve months"
            };
            keys.error(Rule::BadValue, found.span, message, help);
            None
        }
        known => known,
    }
}

/// `format = "XXXXX.XXX"`.
fn read_format(keys: &mut Keys<'_, '_>) -> Option<Digits> {
    let found = keys.text("format")?;
    match crate::dlt645::Format::parse_number(found.value) {
        Some(crate::dlt645::Format::Number { bytes, places, signed }) => {
            Some(Digits { bytes: Some(bytes), places, signed: Some(signed) })
        }
        _ => {
            let message = format!("`format` = {:?} is no format of a number", found.value);
            let help = "two digits to a byte, as the meter's manual has it: \"XXXXX.XXX\", with a sign \"-XXXX.XX\"";
            keys.error(Rule::BadValue, found.span, message, help);
            None
        }
    }
}

/// The unit that the meter must name with each value.
fn read_unit(keys: &mut Keys<'_, '_>, field: Field, text: &str) -> Option<Unit> {
    let span = keys.span_of("unit");
    if field.usual_unit().is_none() {
        if text != field.fixed_unit() {
            let message = format!("{} has no unit that could differ", field.as_str());
            keys.error(Rule::Conflict, span, message, "leave `unit` out");
        }
        return None;
    }
    let unit = Unit::parse(text);
    if unit.is_none() {
        let message = format!("`unit` = {text:?} is no unit of such a meter");
        let names = Unit::names().collect::<Vec<_>>().join(", ");
        keys.error(Rule::BadValue, span, message, format!("write the one that the meter names: {names}"));
    }
    unit
}
