//! Reading the tables of a site file, each by its own module; every mistake is noted, none stops the reading.

mod access;
mod alarm;
mod billing;
mod box_io;
mod bus;
mod commands;
mod controller;
mod decider;
mod device;
mod gate;
mod general;
mod keypad;
mod limit;
mod mains;
mod meter;
mod osdp;
mod point;
mod reader;
mod reference;
mod report;
mod round;
mod rules;
mod secret;
mod select;
mod supply;
mod ticket;
mod uplink;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatehouse_core::Name;
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_drivers::profile::{Library, Rule};
use gatehouse_rules::PointRef;
use gatehouse_rules::engine::AccessSetup;
use toml::de::DeTable;

use crate::box_io::RelaySettings;
use crate::code;
use crate::problem::{Problem, Severity};
use crate::sink::Sink;
use crate::site::{AccessSecrets, Bus, Device, Site};

/// The tables that a site file may have.
const TABLES: [&str; 19] = [
    "site", "data", "http", "api", "clock", "report", "uplink", "mode", "commands", "mains", "bus", "device", "gate",
    "reader", "access", "supply", "box", "reading", "balance",
];

/// What every reader needs.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The folder of the site file, which relative paths begin from.
    pub(crate) base: &'a Path,
    /// The profiles that devices may name.
    pub(crate) library: &'a Library,
    /// Where problems go.
    pub(crate) sink: &'a mut Sink,
}

impl Context<'_> {
    /// Ends the reading of a table: notes the keys that nobody asked for, and everything that was found.
    fn end(&mut self, mut keys: Keys<'_, '_>) {
        keys.deny_others(&[]);
        self.sink.take(keys.errors);
    }

    /// A path; relative ones begin from the site file's folder.
    fn path(&self, keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Found<PathBuf>> {
        let found = keys.text(key)?;
        if found.value.trim().is_empty() {
            keys.error(Rule::BadValue, found.span, format!("`{key}` is an empty path"), "");
            return None;
        }
        Some(Found { value: self.base.join(found.value), span: found.span })
    }

    /// A path of a file that should be there now; a warning if it cannot be read.
    fn file(&mut self, keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Found<PathBuf>> {
        let found = self.path(keys, key)?;
        if let Err(why) = std::fs::File::open(&found.value) {
            let message = format!("`{key}`: {} cannot be read: {}", found.value.display(), reason(&why));
            self.sink.warn(code::FILE_ABSENT, found.span.clone(), message, READ_HELP);
        }
        Some(found)
    }
}

const READ_HELP: &str = "it must be there and readable for the user `gatehouse` when the daemon starts";

/// An input or output error without its number.
pub(crate) fn reason(why: &std::io::Error) -> String {
    match why.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        kind => kind.to_string(),
    }
}

/// A checked name; `None` when it is missing or wrong.
fn name(keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Found<Name>> {
    let found = keys.text(key)?;
    match Name::new(found.value) {
        Ok(value) => Some(Found { value, span: found.span }),
        Err(why) => {
            let message = format!("`{key}` = {:?} is not a name: {why}", found.value);
            keys.error(Rule::BadValue, found.span, message, suggestion(found.value));
            None
        }
    }
}

/// A name that must be there.
fn required_name(keys: &mut Keys<'_, '_>, key: &'static str, help: &str) -> Option<Found<Name>> {
    if !keys.has(key) {
        keys.missing(key, help);
    }
    name(keys, key)
}

/// What a text would be as a name, as a proposal.
fn suggestion(text: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.trim().chars().take(64).map(plain).collect();
    let text = text.trim_matches(['-', '.', '_']);
    if Name::new(text).is_ok() { format!("write it as \"{text}\"") } else { String::new() }
}

/// A whole number that fits a byte.
fn byte(keys: &mut Keys<'_, '_>, key: &'static str, range: std::ops::RangeInclusive<u8>) -> Option<Found<u8>> {
    let found = keys.integer(key, i64::from(*range.start())..=i64::from(*range.end()))?;
    Some(Found { value: u8::try_from(found.value).ok()?, span: found.span })
}

/// The labels of a table: texts by name.
fn labels(keys: &mut Keys<'_, '_>) -> crate::site::Labels {
    let mut labels = crate::site::Labels::new();
    let Some((table, _)) = keys.table("labels") else { return labels };
    for (label, value) in table {
        let label = label.get_ref().as_ref();
        let text = value.get_ref().as_str();
        match text.filter(|text| text.chars().count() <= 256) {
            Some(text) => {
                labels.insert(label.to_owned(), text.to_owned());
            }
            None if text.is_some() => {
                keys.error(Rule::BadValue, value.span(), format!("`labels.{label}` has more than 256 characters"), "");
            }
            None => {
                let help = "write numbers in quotes too: floor = \"3\"";
                keys.error(Rule::WrongType, value.span(), format!("`labels.{label}` must be a text in quotes"), help);
            }
        }
    }
    labels
}

/// Reads a whole site file. `None` only with an error in the sink.
///
/// Problems of files that it names are put into `others`.
pub(crate) fn site(context: &mut Context<'_>, root: &DeTable<'_>, others: &mut Vec<Problem>) -> Option<Site> {
    let mut keys = Keys::new(root, 0..0);
    let general = general::read(context, &mut keys);
    let id = general.id.as_ref();
    let (data, uplink) = (section(&mut keys, "data"), section(&mut keys, "uplink"));
    let store = general::data(context, data);
    let uplink = uplink.and_then(|(table, span)| uplink::read(context, table, span, id));
    if !keys.has("uplink") {
        let message = "there is no [uplink]: readings are kept on the box and delivered to nobody";
        context.sink.warn(code::UNUSED, 0..0, message, "add [uplink] with brokers = [\"mqtts://...\"]");
    }
    let defaults = section(&mut keys, "report").map(|(table, span)| report::read(context, table, span));
    let buses: Vec<_> = keys.tables("bus").into_iter().map(|(table, span)| bus::read(context, table, span)).collect();
    bus::check_together(context, &buses);
    let tables = keys.tables("device");
    let gate_tables = keys.tables("gate");
    let reader_tables = keys.tables("reader");
    let (reading_tables, balance_tables) = (keys.tables("reading"), keys.tables("balance"));
    let access = section(&mut keys, "access").map(|at| access::read(context, at));
    let mode = section(&mut keys, "mode");
    let mode = mains::mode(context, mode, uplink.is_some());
    let commands = section(&mut keys, "commands");
    let commands = commands::read(context, commands, id);
    let mains = section(&mut keys, "mains");
    let supply = section(&mut keys, "supply");
    let own = section(&mut keys, "box");
    if keys.has("box") {
        // A site may be no more than the box and what is wired to it.
    } else if buses.is_empty() && !keys.has("bus") {
        let help = "add a [[bus]] with serial = \"/dev/...\" or tcp = \"host:502\", and a [[device]] on it";
        context.sink.error(code::EMPTY_SITE, 0..0, "the site has no bus", help);
    } else if tables.is_empty() && !keys.has("device") {
        let help = "add a [[device]] with id, bus, unit and profile";
        context.sink.error(code::EMPTY_SITE, 0..0, "the site has no device", help);
    }
    let defaults = defaults.unwrap_or_default();
    let mut devices: Vec<_> =
        tables.into_iter().map(|(table, span)| device::read(context, table, span, &buses, &defaults)).collect();
    let own = own.map(|at| box_io::read(context, at, &defaults));
    let box_io = own.map(|(entry, settings)| {
        devices.push(entry);
        settings
    });
    device::check_together(context, &devices, &buses);
    osdp::check_latency(context, &devices, &buses);
    report::check_used(context, &defaults, &devices);
    unknown_tables(context, keys, root);
    let devices: Option<Vec<Arc<Device>>> = devices.into_iter().map(|entry| entry.device.map(Arc::new)).collect();
    let buses: Option<Vec<Bus>> = buses.into_iter().map(|entry| entry.bus).collect();
    // Rules are about devices: while these are wrong, so would be everything that is said of rules.
    let (mut devices, buses) = (devices?, buses?);
    let catalog = rules::catalog(&devices, &buses);
    let (files, mut wrong) = rules::RuleFiles::read(context, &general.rules, (&catalog, &devices));
    let gates: Vec<_> =
        gate_tables.into_iter().filter_map(|at| gate::read(context, at, reference::Devices(&devices))).collect();
    gate::check_together(context, &gates, reference::Devices(&devices));
    box_io::check_pulses(context, &gates, (&devices, box_io.as_ref()));
    let of = (reference::Devices(&devices), buses.as_slice());
    let entrance = entrance(context, (gates, access, reader_tables), of, uplink.as_ref());
    let personal: Vec<PointRef> = entrance.parts.personal().collect();
    let mains = mains.and_then(|at| mains::read(context, at, &catalog, reference::Devices(&devices)));
    let supply = supply::read(context, supply, &catalog, reference::Devices(&devices));
    let billing = billing::read(context, (reading_tables, balance_tables), &catalog, reference::Devices(&devices));
    let sound = !context.sink.has_errors() && !wrong.iter().any(|problem| problem.severity == Severity::Error);
    let of = (catalog, general.timezone.as_str());
    let mut rules =
        rules::setup(context, of, (mode, commands?, mains, supply), (entrance.parts, billing), (files, sound));
    others.append(&mut wrong);
    if context.sink.has_errors() {
        return None;
    }
    for at in personal {
        let (Ok(device), point) = (usize::try_from(at.device.0), usize::from(at.point.0)) else { continue };
        let shown = devices.get_mut(device).map(Arc::make_mut).and_then(|device| device.points.get_mut(point));
        shown.into_iter().for_each(|point| point.personal = true);
        let known = rules.catalog.devices.get_mut(device).and_then(|device| device.points.get_mut(point));
        known.into_iter().for_each(|point| point.personal = true);
    }
    Some(Site {
        id: general.id?,
        title: general.title,
        timezone: general.timezone,
        labels: general.labels,
        http: general.http,
        api: general.api,
        clock: general.clock,
        store: store?,
        uplink,
        buses,
        devices,
        box_io,
        rules: Arc::new(rules),
        access: entrance.secrets,
    })
}

/// Gates, readers and credentials, which name each other.
struct Entrance {
    parts: rules::EntranceParts,
    secrets: Option<AccessSecrets>,
}

/// Gates, `[access]` where there is one, and readers, as far as they are read.
type EntranceTables<'t, 'i> =
    (Vec<gate::GateEntry>, Option<Option<access::AccessEntry>>, Vec<(&'t DeTable<'i>, Range<usize>)>);

fn entrance(
    context: &mut Context<'_>,
    (entries, access, readers): EntranceTables<'_, '_>,
    devices: (reference::Devices<'_>, &[Bus]),
    uplink: Option<&gatehouse_uplink::Settings>,
) -> Entrance {
    let absent = access.is_none();
    let access = access.flatten();
    let (zones, formats) = match &access {
        Some(access) => (access.zones.as_slice(), access.formats.as_slice()),
        None => (&[][..], &[][..]),
    };
    let mut gates = Vec::new();
    let mut policies = Vec::new();
    let controllers = decider::controllers(context, &entries, devices.0, absent);
    for mut entry in entries {
        entry.spec.policy.decided_elsewhere = entry.access.controller.is_some();
        entry.access.check(context, &entry.spec.id, (absent, uplink));
        // Where [access] is wrong, its zones are not known.
        if access.is_some() {
            policies.push(entry.access.of(context, &entry.spec.id, zones));
        }
        gates.push(entry.spec);
    }
    let readers: Vec<_> =
        readers.into_iter().filter_map(|at| reader::read(context, at, devices, (&gates, formats))).collect();
    reader::check_together(context, &readers);
    decider::check_readers(context, &readers, &controllers);
    if let (true, Some(first)) = (absent, readers.first()) {
        let help = "add [access] with core_keys, lookup_key and seal_key; docs/site-file.md tells what they are";
        let message = "the site has readers and no [access]: they refuse everybody";
        context.sink.warn(code::UNUSED, first.name.span.clone(), message, help);
    }
    let readers = readers.into_iter().map(|reader| reader.spec).collect();
    let (setup, secrets) = access
        .map(|access| {
            let setup = AccessSetup {
                core_keys: access.core_keys,
                gates: policies,
                zones: access.zones,
                formats: access.formats,
                guesses: access.guesses,
            };
            (setup, access.secrets)
        })
        .unzip();
    Entrance { parts: rules::EntranceParts { gates, readers, controllers, access: setup }, secrets }
}

/// Reads `[box]` alone, for its relays.
pub(crate) fn relays(context: &mut Context<'_>, root: &DeTable<'_>) -> Vec<RelaySettings> {
    let mut keys = Keys::new(root, 0..0);
    let found = keys.table("box");
    context.sink.take(keys.errors);
    let settings = found.map(|at| box_io::read(context, at, &report::ReportDefaults::default()).1);
    settings.map(|settings| settings.relays).unwrap_or_default()
}

fn section<'t, 'i>(keys: &mut Keys<'t, 'i>, key: &'static str) -> Option<(&'t DeTable<'i>, Range<usize>)> {
    keys.table(key)
}

/// Notes tables that a site file does not have; a list written with single brackets is explained.
fn unknown_tables(context: &mut Context<'_>, mut keys: Keys<'_, '_>, root: &DeTable<'_>) {
    for list in ["bus", "device", "gate", "reader", "reading", "balance"] {
        let Some(value) = root.get(list) else { continue };
        if value.get_ref().as_table().is_some() {
            let message = format!("[{list}] stands for one of several: it takes double brackets");
            context.sink.error(code::WRONG_TYPE, value.span(), message, format!("write [[{list}]]"));
        }
    }
    for table in [
        "site", "data", "http", "api", "clock", "report", "uplink", "mode", "commands", "mains", "access", "supply",
        "box",
    ] {
        let Some(value) = root.get(table) else { continue };
        if value.get_ref().as_array().is_some() {
            keys.errors.retain(|error| error.span != value.span());
            let message = format!("a site has one [{table}], not a list of them");
            context.sink.error(code::WRONG_TYPE, value.span(), message, format!("write [{table}], once"));
        }
    }
    for (key, _) in root {
        let name = key.get_ref().as_ref();
        if !TABLES.contains(&name) {
            let message = format!("a site file has no table `{name}`");
            context.sink.error(code::UNKNOWN_KEY, key.span(), message, did_you_mean(name, &TABLES));
        }
    }
    context.sink.take(keys.errors);
}
