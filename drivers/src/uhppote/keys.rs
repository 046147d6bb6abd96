//! The keys of a point of a controller, as profiles and site files write them.

use std::ops::Range;

use toml::de::DeTable;

use super::point::Field;
use crate::point::{Place, PointSpec};
use crate::profile::keys::{KeyError, Keys, Rule, did_you_mean};
use crate::profile::{in_order, read_name};

/// Reads a point; `base` is the one whose single facts it changes.
///
/// # Errors
/// Every mistake of the table, in the order of its keys.
pub(crate) fn read_point(
    base: Option<&PointSpec>,
    table: &DeTable<'_>,
    span: Range<usize>,
    extra: &[&str],
) -> Result<PointSpec, Vec<KeyError>> {
    let mut keys = Keys::new(table, span);
    let name = read_name(&mut keys, base);
    let old = base.and_then(PointSpec::uhppote);
    let field = read_field(&mut keys).or(old);
    if field.is_none() && !keys.has("field") {
        keys.missing("field", "what of the controller's state it is, for example field = \"door_1_open\"");
    }
    let unit = keys.text("unit").map(|found| found.value.to_owned());
    let note = keys.text("note").map(|found| found.value.to_owned());
    keys.deny_others(extra);
    let (Some(name), Some(field), true) = (name, field, keys.errors.is_empty()) else {
        return Err(in_order(keys.errors));
    };
    let usual_unit = || if matches!(field, Field::DoorDelay(_)) { "s" } else { "" }.to_owned();
    Ok(PointSpec {
        name,
        unit: unit.or_else(|| base.map(|base| base.unit.clone())).unwrap_or_else(usual_unit),
        bits: Vec::new(),
        note: note.or_else(|| base.map(|base| base.note.clone())).unwrap_or_default(),
        place: Place::Uhppote(field),
    })
}

fn read_field(keys: &mut Keys<'_, '_>) -> Option<Field> {
    let found = keys.text("field")?;
    let field = Field::parse(found.value);
    if field.is_none() {
        let names: Vec<String> = Field::all().map(|field| field.to_string()).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let message = format!("a controller has no field {:?}", found.value);
        keys.error(Rule::BadValue, found.span, message, did_you_mean(found.value, &known));
    }
    field
}
