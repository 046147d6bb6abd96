//! `[[device.point]]`: a point of its own, or single facts of a profile's point.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::{Kind, Name};
use gatehouse_drivers::modbus::point::DataType;
use gatehouse_drivers::point::{PointSpec, Protocol};
use gatehouse_drivers::profile::keys::{Keys, did_you_mean};
use gatehouse_drivers::profile::{POINT_KEYS, Profile, override_point, parse_point};
use toml::de::DeTable;

use super::report::{self, Wish};
use super::{Context, billing};
use crate::code;
use crate::site::RegisterConfig;
use crate::units::duration;

/// Keys of a point that only the site file has.
const SITE_KEYS: [&str; 8] =
    ["title", "interval", "interval_degraded", "billing", "report", "counter", "rollover", "max_per_hour"];
/// Polls can be this far apart.
pub(super) const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(7 * 86_400);

/// A point as far as it could be read.
#[derive(Debug)]
pub(super) struct PointEntry {
    /// What it reads.
    pub(super) spec: PointSpec,
    pub(super) span: Range<usize>,
    pub(super) title: String,
    pub(super) interval: Option<Duration>,
    pub(super) interval_degraded: Option<Duration>,
    pub(super) billing: Option<(bool, Range<usize>)>,
    pub(super) report: Option<(Option<Wish>, Range<usize>)>,
    pub(super) register: Option<(RegisterConfig, Range<usize>)>,
}

impl PointEntry {
    /// A point as its profile says.
    pub(super) fn of_profile(spec: &PointSpec, span: Range<usize>) -> Self {
        let (title, interval, interval_degraded) = (String::new(), None, None);
        let (billing, report, register) = (None, None, None);
        PointEntry { spec: spec.clone(), span, title, interval, interval_degraded, billing, report, register }
    }
}

/// Reads a point's table. The name is given back also when the rest is wrong.
pub(super) fn read(
    context: &mut Context<'_>,
    table: &DeTable<'_>,
    span: Range<usize>,
    profile: Option<&Profile>,
    protocol: Protocol,
) -> (Option<Name>, Option<PointEntry>) {
    let mut keys = Keys::new(table, span.clone());
    let title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    let interval = duration(&mut keys, "interval", INTERVALS).map(|found| found.value);
    let interval_degraded = duration(&mut keys, "interval_degraded", INTERVALS).map(|found| found.value);
    let billing = keys.flag("billing").map(|found| (found.value, found.span));
    let wish = report::wish(context, &mut keys);
    let report = keys.has("report").then(|| (wish, keys.span_of("report")));
    let register = billing::register(&mut keys);
    let name = table.get("name").and_then(|value| value.get_ref().as_str());
    let base = profile.zip(name).and_then(|(profile, name)| profile.points.iter().find(|point| point.name == *name));
    context.sink.take(std::mem::take(&mut keys.errors));
    let spec = match base {
        Some(base) => override_point(base, table, span.clone(), &SITE_KEYS),
        None if is_misspelt(table) && profile.is_some() => {
            unknown(context, profile, name.unwrap_or_default(), keys.span_of("name"));
            return (None, None);
        }
        None => parse_point(protocol, table, span.clone(), &SITE_KEYS),
    };
    let name = name.and_then(|name| Name::new(name).ok());
    match spec {
        Ok(spec) => {
            let span = keys.span_of("name");
            (name, Some(PointEntry { spec, span, title, interval, interval_degraded, billing, report, register }))
        }
        Err(errors) => {
            context.sink.take(errors);
            (name, None)
        }
    }
}

/// True for a table that names a point but does not say where it is read: meant for a profile's point.
fn is_misspelt(table: &DeTable<'_>) -> bool {
    let known = |key: &str| POINT_KEYS.contains(&key) || SITE_KEYS.contains(&key);
    let place = ["table", "address", "type", "di", "shows", "field"].iter().any(|key| table.contains_key(*key));
    table.contains_key("name") && !place && table.iter().all(|(key, _)| known(key.get_ref().as_ref()))
}

/// Notes a point that the profile does not have.
fn unknown(context: &mut Context<'_>, profile: Option<&Profile>, name: &str, span: Range<usize>) {
    let Some(profile) = profile else { return };
    let names: Vec<&str> = profile.points.iter().map(|point| point.name.as_str()).collect();
    let message = format!("the profile {} has no point `{name}`", profile.name);
    let help = did_you_mean(name, &names);
    let needs = match profile.protocol {
        Protocol::Modbus => "table, address and type",
        Protocol::Dlt645(_) => "di",
        Protocol::Osdp => "shows",
        Protocol::Uhppote => "field",
        Protocol::Cjt188(_) => "field or di",
    };
    let help = format!("{help}{}a point of its own needs {needs}", if help.ends_with('?') { " " } else { "; " });
    context.sink.error(code::UNKNOWN_POINT, span, message, help);
}

/// Whether bills can be made of a point.
pub(super) fn check_billing(context: &mut Context<'_>, spec: &PointSpec, span: Range<usize>) {
    let name = &spec.name;
    match spec.kind() {
        Kind::Bool | Kind::Text => {
            let message = format!("`{name}` is no number: bills cannot be made of it");
            context.sink.error(code::BILLING, span, message, "name a point that counts, for example import_energy");
        }
        Kind::F32 | Kind::FreeDecimal if spec.modbus().is_some_and(|point| point.data_type == DataType::F32) => {
            let message = format!("`{name}` is a 32-bit float: the meter itself rounds it to about 7 digits");
            let help = "100000.01 kWh reads as 100000.01, 1000000.01 kWh as 1000000; bill from an integer register if \
                        the meter has one";
            context.sink.warn(code::BILLING, span, message, help);
        }
        Kind::F32 | Kind::F64 | Kind::FreeDecimal | Kind::Decimal { .. } => {}
    }
}
