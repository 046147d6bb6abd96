//! The keys of a point of a meter, as profiles and site files write them.

use std::ops::Range;

use toml::de::DeTable;

use super::catalog::{self, Axis, Layout};
use super::load;
use super::point::{Dlt645Point, Edition, Format};
use crate::point::{Place, PointSpec};
use crate::profile::keys::{KeyError, Keys, Rule};
use crate::profile::{in_order, read_bits, read_name};

/// What of an item is the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Value,
    Time,
}

impl Format {
    /// Reads `XXXXXX.XX`, and `-XX.XXXX` where the highest bit is a sign.
    pub fn parse_number(text: &str) -> Option<Format> {
        let (signed, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let sound = !whole.is_empty() && whole.bytes().chain(part.bytes()).all(|byte| byte == b'X');
        let count = whole.len() + part.len();
        if !sound || count % 2 == 1 || count > 16 || digits.ends_with('.') {
            return None;
        }
        Some(Format::Number { bytes: u8::try_from(count / 2).ok()?, places: u8::try_from(part.len()).ok()?, signed })
    }
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
    let old = base.and_then(PointSpec::dlt645);
    let di = read_di(&mut keys, edition).or(old.map(|point| point.di));
    if di.is_none() && !keys.has("di") {
        keys.missing("di", "the data identifier, for example di = \"00010000\"");
    }
    let item = keys.integer("item", 0..=63).and_then(|found| u8::try_from(found.value).ok());
    let part = keys.choice("part", &[("value", Part::Value), ("time", Part::Time)]).map(|found| found.value);
    let format = read_format(&mut keys);
    let bit = keys.integer("bit", 0..=31).and_then(|found| u8::try_from(found.value).ok());
    let unit = keys.text("unit").map(|found| found.value.to_owned());
    let note = keys.text("note").map(|found| found.value.to_owned());
    let bits = read_bits(&mut keys);
    keys.deny_others(extra);
    let place = di.and_then(|di| match old.filter(|_| !["di", "item", "part"].iter().any(|key| keys.has(key))) {
        Some(old) => Some(changed(old, format)),
        None => place(&mut keys, edition, (di, item.unwrap_or(0)), part.unwrap_or(Part::Value), format),
    });
    let place = place.map(|place| Dlt645Point { bit: bit.or(place.bit), ..place });
    if let Some(place) = &place {
        check_bit(&mut keys, place);
    }
    let (Some(name), Some(place), true) = (name, place, keys.errors.is_empty()) else {
        return Err(in_order(keys.errors));
    };
    let usual_unit = || match place.format {
        Format::Number { .. } => {
            catalog::layout(edition, place.di).map_or("", |layout| layout.unit_of(place.item)).to_owned()
        }
        _ => String::new(),
    };
    let usual_bits = || match place.bit {
        None => {
            catalog::bits(edition, place.di, place.item).iter().map(|(name, bit)| ((*name).to_owned(), *bit)).collect()
        }
        Some(_) => Vec::new(),
    };
    Ok(PointSpec {
        name,
        unit: unit.or_else(|| base.map(|base| base.unit.clone())).unwrap_or_else(usual_unit),
        bits: bits.or_else(|| base.map(|base| base.bits.clone())).unwrap_or_else(usual_bits),
        note: note.or_else(|| base.map(|base| base.note.clone())).unwrap_or_default(),
        place: Place::Dlt645(place),
    })
}

fn read_di(keys: &mut Keys<'_, '_>, edition: Edition) -> Option<u32> {
    let found = keys.text("di")?;
    let digits = 2 * edition.di_bytes();
    let di = u32::from_str_radix(found.value, 16).ok().filter(|_| found.value.len() == digits);
    if di.is_none() {
        let message = format!("`di` = {:?} is no data identifier", found.value);
        let help = match edition {
            Edition::V1997 => "write DI1 DI0 as four hexadecimal digits, for example \"9010\"",
            Edition::V2007 => "write DI3 to DI0 as eight hexadecimal digits, for example \"00010000\"",
        };
        keys.error(Rule::BadValue, found.span, message, help);
    }
    di
}

fn read_format(keys: &mut Keys<'_, '_>) -> Option<Format> {
    let found = keys.text("format")?;
    let format = Format::parse_number(found.value);
    if format.is_none() {
        let message = format!("`format` = {:?} is no format of a number", found.value);
        let help = "write it as the standard does, two digits to a byte: \"XXX.XXX\", with a sign \"-XXX.XXX\"";
        keys.error(Rule::BadValue, found.span, message, help);
    }
    format
}

/// The same place with another format of the number.
fn changed(old: &Dlt645Point, format: Option<Format>) -> Dlt645Point {
    let Some(format) = format else { return *old };
    let around = old.item_bytes.saturating_sub(old.format.bytes());
    Dlt645Point { format, item_bytes: around.saturating_add(format.bytes()), ..*old }
}

fn place(
    keys: &mut Keys<'_, '_>,
    edition: Edition,
    (di, item): (u32, u8),
    part: Part,
    format: Option<Format>,
) -> Option<Dlt645Point> {
    let known = catalog::layout(edition, di);
    if known.is_none() && format.is_none() {
        let help = "say how its number is written, for example format = \"XXXXXX.XX\"";
        let span = keys.span_of("di");
        keys.error(Rule::Conflict, span, "this data identifier is not known", help);
        return None;
    }
    if let Some(Layout { axis: Axis::LoadRecord, .. }) = known {
        let item = if part == Part::Time { load::TIME_ITEM } else { item };
        let Some((_, _, usual)) = load::item(item) else {
            let span = keys.span_of("item");
            keys.error(Rule::BadValue, span, "a load record has the items 0 to 28", "its time is part = \"time\"");
            return None;
        };
        let item_bytes = usual.bytes();
        return Some(Dlt645Point { edition, di, item, item_bytes, offset: 0, format: usual, bit: None });
    }
    let with_time = known.as_ref().is_some_and(|layout| layout.with_time);
    if part == Part::Time && !with_time {
        let span = keys.span_of("part");
        keys.error(Rule::Conflict, span, "only a maximum demand has a time", "leave `part` out");
    }
    if item > 0 && known.as_ref().is_none_or(|layout| !layout.is_block) {
        let help = "the block's identifier has FF in it (1997: ends with F)";
        let span = keys.span_of("item");
        keys.error(Rule::Conflict, span, "`item` counts within a block, and this identifier is one item", help);
    }
    let value = format.or(known.as_ref().map(|layout: &Layout| layout.format))?;
    let time = Format::Minute.bytes();
    let item_bytes = value.bytes() + if with_time { time } else { 0 };
    let (offset, format) = if part == Part::Time { (value.bytes(), Format::Minute) } else { (0, value) };
    Some(Dlt645Point { edition, di, item, item_bytes, offset, format, bit: None })
}

fn check_bit(keys: &mut Keys<'_, '_>, place: &Dlt645Point) {
    let Some(bit) = place.bit else { return };
    let width = match place.format {
        Format::Word { bytes } => 8 * bytes,
        _ => 0,
    };
    if bit >= width {
        let span = keys.span_of("bit");
        let message = if width == 0 {
            "`bit` picks one flag of a status word, and this is none".to_owned()
        } else {
            format!("the word has bits 0 to {}", width - 1)
        };
        keys.error(Rule::Conflict, span, message, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_written_as_in_the_standard() {
        for text in ["XXXXXX.XX", "-XX.XXXX", "XXXX"] {
            assert_eq!(Format::parse_number(text).unwrap().to_string(), text);
        }
        for text in ["", "X", "XXX", "XX.", ".XX", "XX.YY", "--XX", "XXXXXXXXXXXXXXXXXX"] {
            assert_eq!(Format::parse_number(text), None, "{text}");
        }
    }
}
