//! The keys of one point: the same in a profile and in the site file.

use std::ops::Range;

use gatehouse_core::{Decimal, Name};
use toml::de::{DeTable, DeValue};

use super::keys::{Found, KeyError, Keys, Rule, integer};
use super::point_rules::check;
use crate::modbus::point::{DataType, ModbusPoint, Order, Table, WriteWith};
use crate::osdp;
use crate::point::{Place, PointSpec, Protocol};
use crate::{cjt188, dlt645, uhppote};

/// The keys of a point, as profiles and site files write them.
pub const POINT_KEYS: [&str; 21] = [
    "name",
    "table",
    "address",
    "type",
    "registers",
    "order",
    "bit",
    "scale",
    "offset",
    "unit",
    "not_available",
    "bits",
    "write",
    "note",
    "shows",
    "number",
    "di",
    "item",
    "part",
    "format",
    "field",
];

pub(super) const TABLES: [(&str, Table); 4] =
    [("holding", Table::Holding), ("input", Table::Input), ("coil", Table::Coil), ("discrete", Table::Discrete)];

const TYPES: [(&str, DataType); 13] = [
    ("bool", DataType::Bool),
    ("u16", DataType::U16),
    ("i16", DataType::I16),
    ("u32", DataType::U32),
    ("i32", DataType::I32),
    ("u64", DataType::U64),
    ("i64", DataType::I64),
    ("f32", DataType::F32),
    ("f64", DataType::F64),
    ("bcd16", DataType::Bcd16),
    ("bcd32", DataType::Bcd32),
    ("bits16", DataType::Bits16),
    ("text", DataType::Text { registers: 1 }),
];

const ORDERS: [(&str, Order); 4] =
    [("ABCD", Order::Abcd), ("CDAB", Order::Cdab), ("BADC", Order::Badc), ("DCBA", Order::Dcba)];

const WRITES: [(&str, WriteWith); 5] = [
    ("single-coil", WriteWith::SingleCoil),
    ("coils", WriteWith::Coils),
    ("single-register", WriteWith::SingleRegister),
    ("registers", WriteWith::Registers),
    ("mask", WriteWith::Mask),
];

impl Order {
    /// The name in profiles and site files.
    pub fn as_str(self) -> &'static str {
        name_in(&ORDERS, |order| *order == self)
    }
}

impl WriteWith {
    /// The name in profiles and site files.
    pub fn as_str(self) -> &'static str {
        name_in(&WRITES, |write| *write == self)
    }
}

fn name_in<T>(names: &[(&'static str, T)], same: impl Fn(&T) -> bool) -> &'static str {
    names.iter().find(|(_, value)| same(value)).map_or("", |(name, _)| name)
}

/// Reads a point that is spelled out in full.
///
/// `span` is where the table stands; `extra` are keys that the caller reads itself.
///
/// # Errors
/// Every mistake of the table, in the order of its keys.
pub fn parse_point(
    protocol: Protocol,
    table: &DeTable<'_>,
    span: Range<usize>,
    extra: &[&str],
) -> Result<PointSpec, Vec<KeyError>> {
    match protocol {
        Protocol::Modbus => read_point(None, table, span, extra),
        Protocol::Dlt645(edition) => dlt645::keys::read_point(edition, None, table, span, extra),
        Protocol::Osdp => osdp::keys::read_point(None, table, span, extra),
        Protocol::Uhppote => uhppote::keys::read_point(None, table, span, extra),
        Protocol::Cjt188(edition) => cjt188::keys::read_point(edition, None, table, span, extra),
    }
}

/// Reads a point that changes single facts of `base`; keys that are not there stay as they are. `name` may be given.
///
/// # Errors
/// Every mistake of the table, also where a new fact does not go with an old one.
pub fn override_point(
    base: &PointSpec,
    table: &DeTable<'_>,
    span: Range<usize>,
    extra: &[&str],
) -> Result<PointSpec, Vec<KeyError>> {
    match &base.place {
        // What is wired to the box itself comes from no profile, so that nothing of it can be changed.
        Place::Modbus(_) | Place::Own { .. } => read_point(Some(base), table, span, extra),
        Place::Dlt645(place) => dlt645::keys::read_point(place.edition, Some(base), table, span, extra),
        Place::Osdp(_) => osdp::keys::read_point(Some(base), table, span, extra),
        Place::Uhppote(_) => uhppote::keys::read_point(Some(base), table, span, extra),
        Place::Cjt188(place) => cjt188::keys::read_point(place.edition, Some(base), table, span, extra),
    }
}

fn read_point(
    spec: Option<&PointSpec>,
    table: &DeTable<'_>,
    span: Range<usize>,
    extra: &[&str],
) -> Result<PointSpec, Vec<KeyError>> {
    let base = spec.and_then(PointSpec::modbus);
    let mut keys = Keys::new(table, span);
    let name = read_name(&mut keys, spec);
    let place = keys.choice("table", &TABLES).map(|found| found.value);
    if place.is_none() && base.is_none() && !keys.has("table") {
        keys.missing("table", "one of holding, input, coil, discrete");
    }
    let place = place.or(base.map(|point| point.table));
    let address = keys.word("address", 0..=u16::MAX).map(|found| found.value).or(base.map(|point| point.address));
    if address.is_none() && !keys.has("address") {
        keys.missing("address", "the address as sent on the wire, counted from 0");
    }
    let data_type = read_type(&mut keys, base, place);
    let order = keys.choice("order", &ORDERS).map(|found| found.value);
    let scale = keys.decimal("scale").map(|found| found.value);
    let offset = keys.decimal("offset").map(|found| found.value);
    let unit = keys.text("unit").map(|found| found.value.to_owned());
    let note = keys.text("note").map(|found| found.value.to_owned());
    let bit = read_bit(&mut keys);
    let bits = read_bits(&mut keys);
    let marks = read_marks(&mut keys);
    let write = read_write(&mut keys);
    keys.deny_others(extra);
    let (Some(name), Some(table), Some(address), Some(data_type)) = (name, place, address, data_type) else {
        return Err(in_order(keys.errors));
    };
    let kept = |fresh: bool| base.filter(|_| !fresh);
    let mut point = ModbusPoint {
        table,
        address,
        data_type,
        order: order.or(base.map(|point| point.order)).unwrap_or_default(),
        bit: bit.or(kept(keys.has("type")).and_then(|point| point.bit)),
        scale: scale.or(base.map(|point| point.scale)).unwrap_or(Decimal::whole(1)),
        offset: offset.or(base.map(|point| point.offset)).unwrap_or(Decimal::whole(0)),
        not_available: Vec::new(),
        write: None,
    };
    point.not_available = match marks {
        Some(marks) => patterns(&mut keys, &point, &marks),
        None => kept(keys.has("type")).map(|point| point.not_available.clone()).unwrap_or_default(),
    };
    point.write = match write {
        Some(Write::Usual) => usual_write(&point),
        Some(Write::With(with)) => Some(with),
        Some(Write::Never) => None,
        None => kept(keys.has("table") || keys.has("type")).and_then(|point| point.write),
    };
    let bits = bits.or_else(|| spec.map(|spec| spec.bits.clone())).unwrap_or_default();
    check(&mut keys, (&name, &point, &bits), matches!(write, Some(Write::Usual)));
    if !keys.errors.is_empty() {
        return Err(in_order(keys.errors));
    }
    let unit = unit.or_else(|| spec.map(|spec| spec.unit.clone())).unwrap_or_default();
    let note = note.or_else(|| spec.map(|spec| spec.note.clone())).unwrap_or_default();
    Ok(PointSpec { name, unit, bits, note, place: Place::Modbus(point) })
}

pub(crate) fn in_order(mut errors: Vec<KeyError>) -> Vec<KeyError> {
    errors.sort_by_key(|error| error.span.start);
    errors
}

pub(crate) fn read_name(keys: &mut Keys<'_, '_>, base: Option<&PointSpec>) -> Option<Name> {
    let Some(found) = keys.text("name") else {
        if base.is_none() && !keys.has("name") {
            keys.missing("name", "for example name = \"voltage_l1\"");
        }
        return base.map(|point| point.name.clone());
    };
    Name::new(found.value)
        .map_err(|why| keys.error(Rule::BadValue, found.span, format!("`name` = {:?}: {why}", found.value), ""))
        .ok()
}

fn read_type(keys: &mut Keys<'_, '_>, base: Option<&ModbusPoint>, table: Option<Table>) -> Option<DataType> {
    let registers = keys.word("registers", 1..=125);
    let given = keys.choice("type", &TYPES).map(|found| found.value);
    let known = match (given, base) {
        (Some(given), _) => given,
        (None, Some(base)) => base.data_type,
        (None, None) if keys.has("type") => return None,
        (None, None) if matches!(table, Some(Table::Coil | Table::Discrete)) => DataType::Bool,
        (None, None) => {
            if table.is_some() {
                keys.missing("type", "for example type = \"u16\"; also f32, i32, bool, text, ...");
            }
            return None;
        }
    };
    match (known, registers) {
        (DataType::Text { .. }, Some(found)) => return Some(DataType::Text { registers: found.value }),
        (DataType::Text { .. }, None) if given.is_some() && !keys.has("registers") => {
            keys.missing("registers", "how many registers the text takes, two characters each");
        }
        (DataType::Text { .. }, None) => {}
        (_, Some(found)) => {
            let message = format!("`registers` goes with type = \"text\", this point is {}", known.as_str());
            keys.error(Rule::Conflict, found.span, message, "the other types know how many registers they take");
        }
        (_, None) => {}
    }
    Some(known)
}

/// `bit = 3` or `bit = "4-7"`.
fn read_bit(keys: &mut Keys<'_, '_>) -> Option<(u8, u8)> {
    let value = keys.raw("bit")?;
    let field = match value.get_ref() {
        DeValue::Integer(number) => integer(number).and_then(|n| u8::try_from(n).ok()).map(|bit| (bit, 1)),
        DeValue::String(text) => text.split_once('-').and_then(|(low, high)| {
            let (low, high): (u8, u8) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
            (low <= high && high < 64).then(|| (low, high - low + 1))
        }),
        _ => None,
    };
    if field.is_none() {
        let help = "bit = 3 for one bit, bit = \"4-7\" for a field; bit 0 is the lowest";
        keys.error(Rule::BadValue, value.span(), "`bit` is neither a bit's number nor a range of bits", help);
    }
    field
}

/// `bits = { mains = 3, on_battery = 4 }`.
pub(crate) fn read_bits(keys: &mut Keys<'_, '_>) -> Option<Vec<(String, u8)>> {
    let (table, _) = keys.table("bits")?;
    let mut bits: Vec<(String, u8)> = Vec::new();
    for (name, value) in table {
        let text = name.get_ref().as_ref();
        let bit = value.get_ref().as_integer().and_then(integer).and_then(|n| u8::try_from(n).ok());
        match bit.filter(|bit| *bit < 64) {
            None => {
                let message = format!("`bits.{text}` must be the number of a bit, counted from 0");
                keys.error(Rule::BadValue, value.span(), message, "");
            }
            Some(bit) => match bits.iter().find(|(_, other)| *other == bit) {
                Some((other, _)) => {
                    let message = format!("bit {bit} is named twice: `{other}` and `{text}`");
                    keys.error(Rule::Duplicate, value.span(), message, "");
                }
                None => bits.push((text.to_owned(), bit)),
            },
        }
    }
    bits.sort_by_key(|(_, bit)| *bit);
    Some(bits)
}

fn read_marks(keys: &mut Keys<'_, '_>) -> Option<Vec<Found<i128>>> {
    if !keys.has("not_available") {
        return keys.raw("not_available").map(|_| Vec::new());
    }
    let mut marks = Vec::new();
    for value in keys.list("not_available") {
        match value.get_ref().as_integer().and_then(integer) {
            Some(mark) => marks.push(Found { value: mark, span: value.span() }),
            None => {
                let help = "write the raw value as the registers hold it, for example 0x7FFFFFFF or [0x8000, 0xFFFF]";
                keys.error(Rule::WrongType, value.span(), "`not_available` takes whole numbers", help);
            }
        }
    }
    Some(marks)
}

/// Marks as raw bit patterns of the point's width; negative ones are two's complement.
fn patterns(keys: &mut Keys<'_, '_>, point: &ModbusPoint, marks: &[Found<i128>]) -> Vec<u64> {
    let bits = u32::from(point.width().min(4)) * 16;
    let range = -(1i128 << (bits - 1))..1i128 << bits;
    let mut found = Vec::new();
    for mark in marks {
        if !range.contains(&mark.value) {
            let message = format!("the mark {} has more bits than {}", mark.value, point.data_type.as_str());
            keys.error(Rule::BadValue, mark.span.clone(), message, format!("a {bits}-bit pattern is wanted"));
        } else if let Ok(pattern) = u64::try_from(mark.value.rem_euclid(1i128 << bits)) {
            found.push(pattern);
        }
    }
    found
}

/// What the key `write` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    /// `write = true`: with the function that suits the point.
    Usual,
    /// `write = "registers"`.
    With(WriteWith),
    /// `write = false`.
    Never,
}

fn read_write(keys: &mut Keys<'_, '_>) -> Option<Write> {
    let value = keys.raw("write")?;
    match value.get_ref() {
        DeValue::Boolean(true) => Some(Write::Usual),
        DeValue::Boolean(false) => Some(Write::Never),
        DeValue::String(_) => keys.choice("write", &WRITES).map(|found| Write::With(found.value)),
        _ => {
            let help = "true picks the function that suits the point; \"mask\", \"registers\", ... name one";
            keys.error(Rule::WrongType, value.span(), "`write` is neither true, false nor a text", help);
            None
        }
    }
}

/// The function that suits a point: 05 for a coil, 22 for a field, 06 for one register, 16 for more.
fn usual_write(point: &ModbusPoint) -> Option<WriteWith> {
    match point.table {
        Table::Coil => Some(WriteWith::SingleCoil),
        Table::Holding if point.bit.is_some() => Some(WriteWith::Mask),
        Table::Holding if point.width() == 1 => Some(WriteWith::SingleRegister),
        Table::Holding => Some(WriteWith::Registers),
        Table::Discrete | Table::Input => None,
    }
}
