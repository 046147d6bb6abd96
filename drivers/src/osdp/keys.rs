//! The keys of a point of a reader, as profiles and site files write them.

use std::fmt;
use std::ops::Range;

use toml::de::DeTable;

use super::point::OsdpPoint;
use crate::point::{Place, PointSpec};
use crate::profile::keys::{KeyError, Keys};
use crate::profile::{in_order, read_bits, read_name};

/// What `shows` can be; numbered ones have their number in `number`.
const SHOWS: [(&str, OsdpPoint); 13] = [
    ("card", OsdpPoint::Card),
    ("cards", OsdpPoint::Cards),
    ("dropped", OsdpPoint::Dropped),
    ("keys", OsdpPoint::Keys),
    ("key_count", OsdpPoint::KeyCount),
    ("tamper", OsdpPoint::Tamper),
    ("power_failed", OsdpPoint::PowerFailed),
    ("input", OsdpPoint::Input(0)),
    ("output", OsdpPoint::Output(0)),
    ("connected", OsdpPoint::Connected),
    ("secure", OsdpPoint::Secure),
    ("display", OsdpPoint::Display),
    ("light", OsdpPoint::Light(0)),
];

impl fmt::Display for OsdpPoint {
    /// Writes what it shows, as a profile says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, number) = match *self {
            OsdpPoint::Input(number) => (OsdpPoint::Input(0), Some(number)),
            OsdpPoint::Output(number) => (OsdpPoint::Output(0), Some(number)),
            OsdpPoint::Light(number) => (OsdpPoint::Light(0), Some(number)),
            plain => (plain, None),
        };
        f.write_str(SHOWS.iter().find(|(_, shows)| *shows == plain).map_or("", |(name, _)| name))?;
        number.map_or(Ok(()), |number| write!(f, " {number}"))
    }
}

/// Reads a point; with `base`, one that changes single facts of it.
pub(crate) fn read_point(
    base: Option<&PointSpec>,
    table: &DeTable<'_>,
    span: Range<usize>,
    extra: &[&str],
) -> Result<PointSpec, Vec<KeyError>> {
    let mut keys = Keys::new(table, span);
    let name = read_name(&mut keys, base);
    let old = base.and_then(PointSpec::osdp);
    let shows = keys.choice("shows", &SHOWS).map(|found| found.value).or(old);
    if shows.is_none() && !keys.has("shows") {
        keys.missing("shows", "what of the reader it is, for example shows = \"card\"");
    }
    let number = keys.word("number", 0..=31).and_then(|found| u8::try_from(found.value).ok());
    let note = keys.text("note").map(|found| found.value.to_owned());
    let bits = read_bits(&mut keys);
    keys.deny_others(extra);
    let (Some(name), Some(shows), true) = (name, shows, keys.errors.is_empty()) else {
        return Err(in_order(keys.errors));
    };
    let shows = match (shows, number) {
        (OsdpPoint::Input(_), Some(number)) => OsdpPoint::Input(number),
        (OsdpPoint::Output(_), Some(number)) => OsdpPoint::Output(number),
        (OsdpPoint::Light(_), Some(number)) => OsdpPoint::Light(number),
        (shows, _) => shows,
    };
    Ok(PointSpec {
        name,
        unit: String::new(),
        bits: bits.or_else(|| base.map(|base| base.bits.clone())).unwrap_or_default(),
        note: note.or_else(|| base.map(|base| base.note.clone())).unwrap_or_default(),
        place: Place::Osdp(shows),
    })
}
