//! Values that carry their unit: durations, sizes in bytes, deadbands.

use std::ops::RangeInclusive;
use std::time::Duration;

use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};

/// Units of durations, in nanoseconds, the longest first.
const DURATIONS: [(&str, u64); 6] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Units of sizes, in bytes, the greatest first.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// The whole number of smallest units that a text such as `1.5s` says; `None` when it is not one or does not fit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || part.is_empty() || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(*factor)?;
    let places = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(*factor);
    if !part.is_multiple_of(u128::from(places)) {
        return None;
    }
    whole.checked_add(u64::try_from(part / u128::from(places)).ok()?)
}

/// Writes a duration as site files do: `90s`, `1h`, `1750us`.
pub fn duration_text(duration: Duration) -> String {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let unit = DURATIONS.iter().find(|(_, factor)| ns >= *factor && ns.is_multiple_of(*factor));
    unit.map_or_else(
        || if ns == 0 { "0s".into() } else { format!("{ns}ns") },
        |(name, factor)| format!("{}{name}", ns / factor),
    )
}

/// Writes a size as site files do: `512MB`.
pub fn size_text(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)).unwrap_or(&("B", 1));
    format!("{}{}", bytes / unit.1, unit.0)
}

/// A duration within `range`.
pub(crate) fn duration(
    keys: &mut Keys<'_, '_>,
    key: &'static str,
    range: RangeInclusive<Duration>,
) -> Option<Found<Duration>> {
    const HELP: &str = "write a number with its unit, for example \"500ms\", \"10s\", \"15m\", \"1h\" or \"1d\"";
    let found = measured(keys, key, "a duration", &DURATIONS, HELP)?;
    let value = Duration::from_nanos(found.value);
    if !range.contains(&value) {
        let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
        let message = format!("`{key}` must be {least} to {most}, this is {}", duration_text(value));
        keys.error(Rule::BadValue, found.span, message, "");
        return None;
    }
    Some(Found { value, span: found.span })
}

/// A size in bytes within `range`.
pub(crate) fn size(keys: &mut Keys<'_, '_>, key: &'static str, range: RangeInclusive<u64>) -> Option<Found<u64>> {
    const HELP: &str = "write a number with its unit, for example \"512MB\", \"100kB\" or \"2GB\"";
    let found = measured(keys, key, "a size", &SIZES, HELP)?;
    if !range.contains(&found.value) {
        let (least, most) = (size_text(*range.start()), size_text(*range.end()));
        let message = format!("`{key}` must be {least} to {most}, this is {}", size_text(found.value));
        keys.error(Rule::BadValue, found.span, message, "");
        return None;
    }
    Some(found)
}

/// A share, written as `"5%"`, within `range` in percent; 0 to 1.
pub(crate) fn percent(keys: &mut Keys<'_, '_>, key: &'static str, range: RangeInclusive<u32>) -> Option<f64> {
    const HELP: &str = "write a number with its sign, for example \"5%\"";
    let found = measured(keys, key, "a share", &[("%", 1000)], HELP)?;
    Some(f64::from(within(keys, key, &found, &range, "%")?) / 100_000.0)
}

/// A temperature, written as `"80°C"`, within `range` in whole degrees; °C.
pub(crate) fn celsius(keys: &mut Keys<'_, '_>, key: &'static str, range: RangeInclusive<u32>) -> Option<f64> {
    const HELP: &str = "write a number with its unit, for example \"80°C\"";
    let found = measured(keys, key, "a temperature", &[("°C", 1000)], HELP)?;
    Some(f64::from(within(keys, key, &found, &range, "°C")?) / 1000.0)
}

/// Thousandths of a unit, where they lie within `range` of whole ones.
fn within(
    keys: &mut Keys<'_, '_>,
    key: &str,
    found: &Found<u64>,
    range: &RangeInclusive<u32>,
    unit: &str,
) -> Option<u32> {
    let (least, most) = (*range.start(), *range.end());
    let inside = (u64::from(least) * 1000..=u64::from(most) * 1000).contains(&found.value);
    if !inside {
        let message = format!("`{key}` must be {least}{unit} to {most}{unit}");
        keys.error(Rule::BadValue, found.span.clone(), message, "");
    }
    u32::try_from(found.value).ok().filter(|_| inside)
}

fn measured(
    keys: &mut Keys<'_, '_>,
    key: &'static str,
    kind: &str,
    units: &[(&str, u64)],
    help: &str,
) -> Option<Found<u64>> {
    let value = keys.raw(key)?;
    let Some(text) = value.get_ref().as_str() else {
        keys.error(Rule::WrongType, value.span(), format!("`{key}` must be {kind} with its unit, in quotes"), help);
        return None;
    };
    let quantity = quantity(text, units);
    if quantity.is_none() {
        keys.error(Rule::BadValue, value.span(), format!("`{key}` = {text:?} is not {kind}"), help);
    }
    Some(Found { value: quantity?, span: value.span() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_exact() {
        let ns = |text| quantity(text, &DURATIONS);
        assert_eq!(ns("1.75ms"), Some(1_750_000));
        assert_eq!(ns("15m"), Some(900_000_000_000));
        assert_eq!(ns("1d"), Some(86_400_000_000_000));
        assert_eq!(ns("10 s"), Some(10_000_000_000));
        assert_eq!(quantity("512MB", &SIZES), Some(512_000_000));
        assert_eq!(quantity("1.5KiB", &SIZES), Some(1536));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "10", "s", ".5s", "5.s", "-1s", "1e3s", "10 sec", "1m30s", "99999999999999d", "0.0001us", "٣s"]
        {
            assert_eq!(quantity(text, &DURATIONS), None, "{text:?}");
        }
    }

    #[test]
    fn a_written_duration_reads_back_as_itself() {
        for ns in [1_000, 1_750_000, 50_000_000, 90_000_000_000, 3_600_000_000_000] {
            assert_eq!(quantity(&duration_text(Duration::from_nanos(ns)), &DURATIONS), Some(ns));
        }
        assert_eq!(duration_text(Duration::from_secs(90)), "90s");
        assert_eq!(size_text(512_000_000), "512MB");
    }
}
