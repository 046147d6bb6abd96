//! `[report]` and the key `report`: which readings become records.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::{Decimal, Kind};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Keys, did_you_mean};
use gatehouse_rules::report::Policy;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Context;
use super::device::DeviceEntry;
use crate::code;
use crate::units::duration;

const HEARTBEAT: Duration = Duration::from_secs(15 * 60);
const HEARTBEATS: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 86_400);

/// What a site or a device asks for, before it is known of which kind the point is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wish {
    Always,
    OnChange { heartbeat: Option<Duration> },
    DeadBand { band: f64, heartbeat: Option<Duration> },
}

/// What holds for points that say nothing themselves.
#[derive(Debug, Clone)]
pub(super) struct ReportDefaults {
    default: Wish,
    heartbeat: Duration,
    bands: Vec<(String, f64, Range<usize>)>,
}

impl Default for ReportDefaults {
    fn default() -> Self {
        ReportDefaults { default: Wish::Always, heartbeat: HEARTBEAT, bands: Vec::new() }
    }
}

impl ReportDefaults {
    /// What holds for a point: its own wish, the band of its unit, or the site's default.
    pub(super) fn policy(&self, wish: Option<Wish>, unit: &str, kind: Kind) -> Policy {
        let band = self.bands.iter().find(|(name, ..)| name == unit && !unit.is_empty());
        let band = band.map(|(_, band, _)| Wish::DeadBand { band: *band, heartbeat: None });
        let numeric = !matches!(kind, Kind::Bool | Kind::Text);
        let (band, heartbeat) = match wish.or(band).unwrap_or(self.default) {
            Wish::Always => return Policy::Always,
            Wish::OnChange { heartbeat } => (None, heartbeat),
            Wish::DeadBand { band, heartbeat } => (Some(band).filter(|_| numeric), heartbeat),
        };
        let heartbeat = heartbeat.unwrap_or(self.heartbeat);
        match band {
            Some(band) => Policy::DeadBand { band, heartbeat },
            None => Policy::OnChange { heartbeat },
        }
    }
}

pub(super) fn read(context: &mut Context<'_>, table: &DeTable<'_>, span: Range<usize>) -> ReportDefaults {
    let mut keys = Keys::new(table, span);
    let mut defaults = ReportDefaults::default();
    if let Some(heartbeat) = duration(&mut keys, "heartbeat", HEARTBEATS) {
        defaults.heartbeat = heartbeat.value;
    }
    let words = [("always", Wish::Always), ("on-change", Wish::OnChange { heartbeat: None })];
    if let Some(default) = keys.choice("default", &words) {
        defaults.default = default.value;
    }
    if let Some((table, _)) = keys.table("deadband") {
        for (unit, value) in table {
            let unit = unit.get_ref().as_ref();
            if let Some(band) = band(&mut keys, unit, value) {
                defaults.bands.push((unit.to_owned(), band, value.span()));
            }
        }
    }
    context.end(keys);
    defaults
}

/// The key `report` of a device or a point.
pub(super) fn wish(context: &mut Context<'_>, keys: &mut Keys<'_, '_>) -> Option<Wish> {
    let value = keys.raw("report")?;
    if value.get_ref().as_str().is_some() {
        let words = [("always", Wish::Always), ("on-change", Wish::OnChange { heartbeat: None })];
        return keys.choice("report", &words).map(|found| found.value);
    }
    let Some(table) = value.get_ref().as_table() else {
        let help = "\"always\", \"on-change\", or { deadband = \"0.5\", heartbeat = \"15m\" }";
        keys.error(Rule::WrongType, value.span(), "`report` is a word or a table", help);
        return None;
    };
    let mut inner = Keys::new(table, value.span());
    let heartbeat = duration(&mut inner, "heartbeat", HEARTBEATS).map(|found| found.value);
    let band = inner.raw("deadband").map(|value| band(&mut inner, "deadband", value));
    context.end(inner);
    match band {
        Some(Some(band)) => Some(Wish::DeadBand { band, heartbeat }),
        Some(None) => None,
        None => Some(Wish::OnChange { heartbeat }),
    }
}

/// A deadband: an exact decimal, zero or more, kept as a float because it only decides whether to record.
fn band(keys: &mut Keys<'_, '_>, key: &str, value: &Spanned<DeValue<'_>>) -> Option<f64> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => "",
    };
    match Decimal::parse(text) {
        Ok(band) if band.mantissa >= 0 => Some(band.to_f64()),
        _ => {
            let message = format!("the deadband `{key}` must be a decimal number of 0 or more");
            keys.error(Rule::BadValue, value.span(), message, "in the point's unit, for example \"0.5\"");
            None
        }
    }
}

/// Notes deadbands for units that no point has.
pub(super) fn check_used(context: &mut Context<'_>, defaults: &ReportDefaults, devices: &[DeviceEntry]) {
    if devices.iter().any(|entry| entry.device.is_none()) {
        return;
    }
    let points = || devices.iter().filter_map(|entry| entry.device.as_ref()).flat_map(|device| &device.points);
    let mut units: Vec<&str> = points().map(|point| point.spec.unit.as_str()).filter(|unit| !unit.is_empty()).collect();
    units.sort_unstable();
    units.dedup();
    for (unit, _, span) in &defaults.bands {
        if !units.contains(&unit.as_str()) {
            let message = format!("no point of the site has the unit {unit:?}");
            context.sink.warn(code::UNUSED, span.clone(), message, did_you_mean(unit, &units));
        }
    }
}
