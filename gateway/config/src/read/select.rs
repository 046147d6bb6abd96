//! Which devices a table selects: by id, profile, category, bus and labels.

use std::collections::BTreeSet;
use std::ops::Range;

use gatehouse_core::{DeviceIx, Name};
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_rules::{Catalog, CatalogDevice};
use toml::de::DeTable;

use super::{Context, labels};
use crate::code;
use crate::site::Labels;

/// The devices that `on` of a rule selects; `None`: the rule is about the site.
pub(super) fn on(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, catalog: &Catalog) -> Option<Vec<DeviceIx>> {
    let at = keys.table("on")?;
    let none = "`on` selects no device: the rule would never be looked at";
    let help = "a device is selected when everything in `on` holds of it: take one condition out and look again";
    Some(devices(context, at, catalog, (none, help)))
}

/// The devices of which every key of the table holds. Where there is none and nothing else is wrong, it is noted with
/// these words: what is wrong, and what to do.
pub(super) fn devices(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    catalog: &Catalog,
    (none, help): (&str, &str),
) -> Vec<DeviceIx> {
    let mut on = Keys::new(table, span.clone());
    let before = context.sink.errors();
    let profiles = catalog.devices.iter().filter_map(|device| device.profile.as_ref().map(Name::as_str)).collect();
    let profile = one(&mut on, "profile").map(|found| known(context, found, "profile", profiles));
    let categories = catalog.devices.iter().map(|device| device.category.as_str()).filter(|c| !c.is_empty()).collect();
    let category = one(&mut on, "category").map(|found| known(context, found, "category", categories));
    let buses: BTreeSet<&str> = catalog.buses.iter().map(Name::as_str).collect();
    let bus = one(&mut on, "bus").map(|found| {
        if !buses.contains(&*found.value) {
            let message = format!("the site has no bus `{}`", found.value);
            context.sink.error(code::UNKNOWN_BUS, found.span, message, nearest_of(&found.value, &buses));
        }
        found.value
    });
    let devices = device_list(context, &mut on, catalog);
    let labels = wanted_labels(context, &mut on, catalog);
    context.end(on);
    let matches = |device: &CatalogDevice| {
        profile.as_ref().is_none_or(|name| device.profile.as_ref().is_some_and(|of| *of == **name))
            && category.as_ref().is_none_or(|name| device.category == **name)
            && bus
                .as_ref()
                .is_none_or(|name| device.bus.and_then(|bus| catalog.buses.get(bus)).is_some_and(|of| *of == **name))
            && devices.as_ref().is_none_or(|ids| ids.iter().any(|id| device.id == **id))
            && labels.iter().all(|(key, value)| device.labels.get(key) == Some(value))
    };
    let selected: Vec<_> = catalog.devices_with_ix().filter(|(_, device)| matches(device)).map(|(ix, _)| ix).collect();
    if selected.is_empty() && context.sink.errors() == before {
        context.sink.error(code::UNREACHABLE, span, none, help);
    }
    selected
}

fn one(on: &mut Keys<'_, '_>, key: &'static str) -> Option<Found<String>> {
    on.text(key).map(|found| Found { value: found.value.to_owned(), span: found.span })
}

fn nearest_of(given: &str, all: &BTreeSet<&str>) -> String {
    did_you_mean(given, &all.iter().copied().collect::<Vec<_>>())
}

/// A word by which devices are selected; noted when no device of the site has it.
fn known(context: &mut Context<'_>, found: Found<String>, what: &str, all: BTreeSet<&str>) -> String {
    if !all.contains(&*found.value) {
        let message = format!("no device of the site has the {what} `{}`", found.value);
        let help = if all.is_empty() { String::new() } else { nearest_of(&found.value, &all) };
        context.sink.error(code::UNREACHABLE, found.span, message, help);
    }
    found.value
}

/// The ids of `device`, one or a list.
fn device_list(context: &mut Context<'_>, on: &mut Keys<'_, '_>, catalog: &Catalog) -> Option<Vec<String>> {
    let ids: BTreeSet<&str> = catalog.devices.iter().map(|device| device.id.as_str()).collect();
    let mut devices = Vec::new();
    for value in on.list("device") {
        match value.get_ref().as_str() {
            Some(id) => {
                if !ids.contains(id) {
                    let message = format!("the site has no device `{id}`");
                    context.sink.error(code::UNKNOWN_DEVICE, value.span(), message, nearest_of(id, &ids));
                }
                devices.push(id.to_owned());
            }
            None => {
                let help = "write device = \"meter-101\", or a list of ids";
                context.sink.error(code::WRONG_TYPE, value.span(), "`device` names devices by their ids", help);
            }
        }
    }
    on.has("device").then_some(devices)
}

/// The labels that a device has to have; noted when no device has one.
fn wanted_labels(context: &mut Context<'_>, on: &mut Keys<'_, '_>, catalog: &Catalog) -> Labels {
    let wanted = labels(on);
    let Some((table, _)) = on.table("labels") else { return wanted };
    for (key, value) in table {
        let Some((name, text)) = wanted.get_key_value(key.get_ref().as_ref()) else { continue };
        let of = |device: &'_ CatalogDevice| device.labels.get(name).cloned();
        let values: BTreeSet<String> = catalog.devices.iter().filter_map(of).collect();
        if values.is_empty() {
            let names: BTreeSet<&str> =
                catalog.devices.iter().flat_map(|device| device.labels.keys().map(String::as_str)).collect();
            let message = format!("no device of the site has a label `{name}`");
            let help = if names.is_empty() { String::new() } else { nearest_of(name, &names) };
            context.sink.error(code::UNREACHABLE, key.span(), message, help);
        } else if !values.contains(text) {
            let message = format!("no device of the site has the label {name} = \"{text}\"");
            let help = nearest_of(text, &values.iter().map(String::as_str).collect());
            context.sink.error(code::UNREACHABLE, value.span(), message, help);
        }
    }
    wanted
}
