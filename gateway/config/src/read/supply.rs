//! `[supply]`: whose supply is never cut, and how many are cut in how long a time.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::DeviceIx;
use gatehouse_drivers::profile::keys::Keys;
use gatehouse_rules::Catalog;
use gatehouse_rules::supply::SupplySetup;
use toml::de::DeTable;

use super::reference::Devices;
use super::{Context, select};
use crate::code;
use crate::units::duration;

const PER: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(31 * 86_400);

/// Reads `[supply]` where there is one. Which devices can cut a supply follows from what they are.
pub(super) fn read(
    context: &mut Context<'_>,
    table: Option<(&DeTable<'_>, Range<usize>)>,
    catalog: &Catalog,
    devices: Devices<'_>,
) -> SupplySetup {
    let able = (0u32..).map(DeviceIx).zip(devices.0).filter_map(|(ix, device)| Some((ix, device.station.supply()?)));
    let mut setup = SupplySetup { devices: able.collect(), ..SupplySetup::default() };
    let Some((table, span)) = table else { return setup };
    let mut keys = Keys::new(table, span.clone());
    if let Some(at) = keys.table("protected") {
        let help = "a device is selected when everything in `protected` holds of it: take one condition out";
        let selected = select::devices(context, at, catalog, ("`protected` selects no device", help));
        setup.protected = selected.into_iter().collect();
    }
    if let Some(found) = keys.integer("most_cuts", 0..=1000) {
        setup.most_cuts = u16::try_from(found.value).unwrap_or_default();
    }
    if let Some(found) = duration(&mut keys, "per", PER) {
        setup.per = found.value;
    }
    context.end(keys);
    if setup.devices.is_empty() {
        let message = "[supply] is about meters that can cut a supply, and the site has none";
        context.sink.warn(code::UNUSED, span, message, "take it out, or add such a meter");
    }
    setup
}
