//! `limit` of `[builtin.CLASS]`: from when on the box's own state is an alarm.

use std::ops::RangeInclusive;
use std::time::Duration;

use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::Keys;
use gatehouse_rules::engine::BoxLimits;

use crate::units::{celsius, duration, percent};

const DAY: Duration = Duration::from_secs(86_400);

/// Reads the `limit` of a class that has one.
pub(super) fn read(keys: &mut Keys<'_, '_>, class: &str, limits: &mut BoxLimits) {
    match class {
        "disk_full" => set(percent(keys, "limit", 1..=90), &mut limits.disk_free),
        "memory_low" => set(percent(keys, "limit", 1..=90), &mut limits.memory_free),
        "spool_filling" => set(percent(keys, "limit", 10..=99), &mut limits.spool_used),
        "too_hot" => set(celsius(keys, "limit", 20..=125), &mut limits.temperature_c),
        "certificate_ending" => set(days(keys, 1..=366), &mut limits.certificate_days),
        "calendar_ending" => set(days(keys, 1..=366).map(i32::from), &mut limits.calendar_days),
        _ => {}
    }
}

fn set<T>(found: Option<impl Into<T>>, slot: &mut T) {
    if let Some(found) = found {
        *slot = found.into();
    }
}

/// Whole days, written as a duration.
fn days(keys: &mut Keys<'_, '_>, range: RangeInclusive<u16>) -> Option<u16> {
    let span = DAY * u32::from(*range.start())..=DAY * u32::from(*range.end());
    let found = duration(keys, "limit", span)?;
    if !found.value.as_secs().is_multiple_of(DAY.as_secs()) || found.value.subsec_nanos() != 0 {
        let help = "for example limit = \"30d\"";
        keys.error(Rule::BadValue, found.span, "`limit` of this class is counted in whole days", help);
        return None;
    }
    u16::try_from(found.value.as_secs() / DAY.as_secs()).ok()
}
