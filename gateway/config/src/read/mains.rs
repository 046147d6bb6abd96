//! `[mode]` and `[mains]`: when the box counts as cut off, and what tells that the supply is gone.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::Kind;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::Keys;
use gatehouse_rules::Catalog;
use gatehouse_rules::engine::Mains;
use gatehouse_rules::mode::ModeSettings;
use toml::de::DeTable;

use super::reference::Devices;
use super::{Context, select};
use crate::code;
use crate::units::{duration, duration_text};

/// How long the link has to be down or up.
const PATIENCE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// A supply that is looked at less often is known to be gone after its devices are.
const OFTEN: Duration = Duration::from_secs(5);

/// Reads `[mode]`. `uplink`: the site has one.
pub(super) fn mode(
    context: &mut Context<'_>,
    table: Option<(&DeTable<'_>, Range<usize>)>,
    uplink: bool,
) -> ModeSettings {
    let mut settings = ModeSettings { uplink, ..ModeSettings::default() };
    let Some((table, span)) = table else { return settings };
    let mut keys = Keys::new(table, span);
    if let Some(found) = duration(&mut keys, "down", PATIENCE) {
        settings.down = found.value;
    }
    if let Some(found) = duration(&mut keys, "up", PATIENCE) {
        settings.up = found.value;
    }
    context.end(keys);
    settings
}

/// Reads `[mains]`.
pub(super) fn read(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    catalog: &Catalog,
    devices: Devices<'_>,
) -> Option<Mains> {
    let mut keys = Keys::new(table, span);
    if !keys.has("point") {
        keys.missing("point", "what tells that the supply is gone, for example point = \"ups/on_battery\"");
    }
    let point = devices.point_at(context, &mut keys, "point");
    if let Some((_, config)) = point.as_ref().map(|found| found.value) {
        let span = keys.span_of("point");
        if config.spec.kind() == Kind::Text {
            let help = "name a contact, or a number that is 0 or not";
            keys.error(Rule::BadValue, span, "`point` is a text, which is neither on nor off", help);
        } else if config.slowest() > OFTEN {
            let message = format!(
                "the supply is looked at every {}: its devices fall silent before anybody knows why",
                duration_text(config.slowest())
            );
            context.sink.warn(code::SLOW_SENSOR, span, message, "give the point interval = \"1s\"");
        }
    }
    let lost_when = keys.choice("lost", &[("on", true), ("off", false)]).is_none_or(|found| found.value);
    let silences = keys.table("silences").map(|at| {
        let help = "a device is selected when everything in `silences` holds of it; without the key it is all of them";
        select::devices(context, at, catalog, ("`silences` selects no device", help)).into_iter().collect()
    });
    context.end(keys);
    let (at, _) = point?.value;
    Some(Mains { at, lost_when, silences })
}
