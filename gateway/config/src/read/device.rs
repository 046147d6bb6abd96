//! `[[device]]`: one addressable thing on a bus.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{Name, PointIx};
use gatehouse_drivers::modbus::point::Table;
use gatehouse_drivers::point::{PROTOCOLS, PointSpec, Protocol};
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_drivers::profile::{Limits, Profile, Rule, parse_limits};
use gatehouse_rules::report::Policy;
use toml::de::DeTable;

use super::bus::{self, BusEntry, Kind};
use super::osdp;
use super::point::{self, INTERVALS, PointEntry};
use super::report::{self, ReportDefaults, Wish};
use super::{Context, controller, labels, meter, required_name};

use crate::code;
use crate::site::{Bus, Device, Group, ModbusStation, PointConfig, Station};
use crate::units::duration;

const INTERVAL: Duration = Duration::from_secs(60);
/// Unit addresses above this are reserved on a serial line (Modbus over serial line V1.02, 2.2).
const LAST_UNIT: i64 = 247;

/// A `[[device]]`, as far as it could be read.
#[derive(Debug)]
pub(super) struct DeviceEntry {
    pub(super) id: Option<Found<Name>>,
    pub(super) bus: Option<usize>,
    /// The unit or the address, as the file says it.
    address: Option<Found<String>>,
    /// It stands for whatever meter is on the line.
    is_pattern: bool,
    /// The device, if nothing is wrong with it.
    pub(super) device: Option<Device>,
}

impl DeviceEntry {
    /// The device that the box's own contacts are.
    pub(super) fn own(id: Found<Name>, device: Option<Device>) -> Self {
        DeviceEntry { id: Some(id), bus: None, address: None, is_pattern: false, device }
    }

    /// True for a device that is certainly on another bus than this.
    fn is_elsewhere(&self, bus: usize) -> bool {
        let own = self.device.as_ref().is_some_and(|device| device.bus.is_none());
        self.bus.map_or(own, |on| on != bus)
    }
}

pub(super) fn read(
    context: &mut Context<'_>,
    table: &DeTable<'_>,
    span: Range<usize>,
    buses: &[BusEntry],
    defaults: &ReportDefaults,
) -> DeviceEntry {
    let mut keys = Keys::new(table, span.clone());
    let id = required_name(&mut keys, "id", "the device's permanent identity, for example id = \"meter-101\"");
    let title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    let labels = labels(&mut keys);
    let bus = bus(context, &mut keys, buses);
    let kind = bus.and_then(|bus| buses.get(bus)).and_then(|entry| entry.kind);
    let profile = profile(context, &mut keys);
    let known = profile.as_ref().ok().cloned().flatten();
    let protocol = protocol(&mut keys, known.as_deref());
    let entry = bus.and_then(|bus| buses.get(bus));
    let characters = bus::device_characters(context, &mut keys, entry, known.as_deref());
    let station = match protocol {
        Protocol::Modbus => modbus(context, &mut keys, kind, known.as_deref()),
        Protocol::Dlt645(edition) => {
            meter::read(context, &mut keys, (kind, entry.and_then(|entry| entry.framing)), edition)
        }
        Protocol::Cjt188(edition) => {
            let on = (kind, entry.and_then(|entry| entry.framing));
            meter::read_pipe(&mut keys, on, edition, known.as_deref())
        }
        Protocol::Osdp => osdp::read(context, &mut keys, kind),
        Protocol::Uhppote => {
            let port = bus.and_then(|bus| Some(&buses.get(bus)?.bus.as_ref()?.port));
            controller::read(&mut keys, kind, port)
        }
    };
    let pauses_with = meter::pauses_with(&mut keys, protocol);
    let usual = if protocol == Protocol::Osdp { osdp::INTERVAL } else { INTERVAL };
    let interval = duration(&mut keys, "interval", INTERVALS).map_or(usual, |found| found.value);
    let degraded = duration(&mut keys, "interval_degraded", INTERVALS).map(|found| found.value);
    let timeout = duration(&mut keys, "timeout", Duration::from_millis(5)..=Duration::from_secs(60));
    let timeout = timeout.map(|found| found.value).or((protocol == Protocol::Osdp).then_some(osdp::TIMEOUT));
    let limits = match &station {
        Some(Found { value: Station::Modbus(modbus), .. }) => modbus.limits.clone(),
        Some(Found {
            value: Station::Dlt645(_) | Station::Cjt188(_) | Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_),
            ..
        })
        | None => Limits::default(),
    };
    let wish = report::wish(context, &mut keys);
    let entries = points(context, &mut keys, &profile, protocol);
    let billing = billing(context, &mut keys, &entries);
    let meter_table = keys.table("meter");
    context.end(keys);
    let points = entries.into_iter().flatten();
    let usual = Usual { interval, degraded, wish, billing: &billing, defaults };
    let points: Vec<PointConfig> = points.filter_map(|entry| usual.finish(context, entry, &limits)).collect();
    let groups = groups(&points);
    let meter = meter_table.and_then(|at| super::billing::meter(context, at, &points));
    super::billing::check_points(context, &points, &span);
    let device = id.as_ref().zip(bus).zip(station.as_ref()).map(|((id, bus), station)| Device {
        id: id.value.clone(),
        title,
        bus: Some(bus),
        station: station.value.clone(),
        profile: known.as_ref().map(|profile| profile.name.clone()),
        category: known.as_ref().map(|profile| profile.category.clone()).unwrap_or_default(),
        labels,
        points,
        groups,
        timeout,
        characters,
        pauses_with,
        meter: meter.map(Box::new),
    });
    if let Some(device) = &device {
        osdp::check_intervals(context, device, &span);
    }
    if let Some((device, bus)) = device.as_ref().zip(bus.and_then(|bus| buses.get(bus)?.bus.as_ref())) {
        check_plan(context, (bus, device), &limits, &span);
    }
    let is_pattern = station.as_ref().is_some_and(|station| meter::is_pattern(&station.value));
    // Numbers of readers and units are told apart by their protocols.
    let number = |station: &Station| match station {
        Station::Osdp(reader) => format!("{} of a reader", reader.settings.address),
        Station::Modbus(_) | Station::Dlt645(_) | Station::Cjt188(_) | Station::Uhppote(_) | Station::Own(_) => {
            station.to_string()
        }
    };
    let address = station.map(|station| Found { value: number(&station.value), span: station.span });
    DeviceEntry { id, bus, address, is_pattern, device }
}

/// What the device speaks: as its profile says, or as the device says itself.
fn protocol(keys: &mut Keys<'_, '_>, profile: Option<&Profile>) -> Protocol {
    let own = keys.choice("protocol", &PROTOCOLS);
    if let (Some(own), Some(profile)) = (&own, profile)
        && own.value != profile.protocol
    {
        let message = format!("the profile {} is of {}", profile.name, profile.protocol.as_str());
        keys.error(Rule::Conflict, own.span.clone(), message, "leave `protocol` out, or take another profile");
    }
    profile.map(|profile| profile.protocol).or(own.map(|own| own.value)).unwrap_or_default()
}

/// The unit, limits and commands of a Modbus device.
fn modbus(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    kind: Option<Kind>,
    profile: Option<&Profile>,
) -> Option<Found<Station>> {
    controller::check_bus(keys, kind);
    let unit = unit(context, keys, kind, profile);
    let limits = limits(keys, profile);
    let commands = profile.map(|profile| profile.commands.clone().into()).unwrap_or_default();
    let Found { value: unit, span } = unit?;
    Some(Found { value: Station::Modbus(ModbusStation { unit, limits, commands }), span })
}

/// Notes what keeps the requests from being planned, where nothing else was wrong with the points.
fn check_plan(context: &mut Context<'_>, (bus, device): (&Bus, &Device), limits: &Limits, span: &Range<usize>) {
    let sound = device.points.iter().all(|point| limit_trouble(&point.spec, limits).is_none());
    if let (true, Some(why)) = (sound, crate::driver::plan_trouble(bus, device)) {
        let message = format!("the device `{}` cannot be read: {why}", device.id);
        context.sink.error(
            code::FORBIDDEN_ADDRESS,
            span.clone(),
            message,
            "points are counted from 0; look at `limits`",
        );
    }
}

fn bus(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, buses: &[BusEntry]) -> Option<usize> {
    let names = || buses.iter().map(|entry| entry.id.as_ref().map(|id| id.value.as_str()));
    if !keys.has("bus") {
        if buses.len() == 1 {
            let _ = keys.raw("bus");
            return Some(0);
        }
        let known: Vec<&str> = names().flatten().collect();
        keys.missing("bus", format!("the site has the buses {}", known.join(", ")));
    }
    let found = keys.text("bus")?;
    let at = names().position(|name| name == Some(found.value));
    if at.is_none() {
        let known: Vec<&str> = names().flatten().collect();
        let help =
            if known.is_empty() { "add a [[bus]] with this id".to_owned() } else { did_you_mean(found.value, &known) };
        context.sink.error(code::UNKNOWN_BUS, found.span, format!("there is no bus `{}`", found.value), help);
    }
    at
}

/// The device's profile; `Err` when it names one that is not known.
fn profile(context: &mut Context<'_>, keys: &mut Keys<'_, '_>) -> Result<Option<Arc<Profile>>, ()> {
    let Some(found) = keys.text("profile") else { return if keys.has("profile") { Err(()) } else { Ok(None) } };
    if let Some(profile) = context.library.find(found.value) {
        return Ok(Some(profile.clone()));
    }
    let help = match context.library.nearest(found.value) {
        Some(name) => format!("did you mean `{name}`? `gatehouse profiles` lists all"),
        None => "`gatehouse profiles` lists all; without a profile spell the points out as [[device.point]]".to_owned(),
    };
    context.sink.error(code::UNKNOWN_PROFILE, found.span, format!("there is no profile `{}`", found.value), help);
    Err(())
}

/// True where units have the whole range, and one is usual.
fn is_net(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Tcp | Kind::Udp))
}

fn unit(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    kind: Option<Kind>,
    profile: Option<&Profile>,
) -> Option<Found<u8>> {
    if !keys.has("unit") {
        if is_net(kind) {
            let _ = keys.raw("unit");
            return Some(Found {
                value: profile.and_then(|profile| profile.defaults.unit).unwrap_or(1),
                span: keys.span(),
            });
        }
        let usual = profile.and_then(|profile| profile.defaults.unit);
        let usual = usual.map(|unit| format!("; devices of this profile leave the factory with unit = {unit}"));
        keys.missing("unit", format!("the address that was set on the device, 1 to 247{}", usual.unwrap_or_default()));
    }
    let found = keys.integer("unit", 0..=255)?;
    let value = u8::try_from(found.value).ok()?;
    if !is_net(kind) && value == 0 {
        let help = "units are 1 to 247: the number that was set on the device";
        keys.error(Rule::BadValue, found.span, "unit 0 speaks to every device at once and none of them answers", help);
        return None;
    }
    if !is_net(kind) && found.value > LAST_UNIT {
        let message = format!("unit {value} is reserved by the standard");
        let help = "some boards answer to it whatever their own address is: only alone on a bus";
        context.sink.warn(code::RESERVED_UNIT, found.span.clone(), message, help);
    }
    Some(Found { value, span: found.span })
}

fn limits(keys: &mut Keys<'_, '_>, profile: Option<&Profile>) -> Limits {
    let base = profile.map(|profile| profile.limits.clone()).unwrap_or_default();
    let Some((table, span)) = keys.table("limits") else { return base };
    match parse_limits(table, span, &base) {
        Ok(limits) => limits,
        Err(errors) => {
            keys.errors.extend(errors);
            base
        }
    }
}

/// The device's points: those of its profile (or the chosen ones), changed and added to by `[[device.point]]`.
///
/// `None` when some point is wrong, so that what is missing is not complained about twice.
fn points(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    profile: &Result<Option<Arc<Profile>>, ()>,
    protocol: Protocol,
) -> Option<Vec<PointEntry>> {
    let known = profile.as_ref().ok().and_then(|profile| profile.as_deref());
    let mut sound = profile.is_ok();
    let chosen = chosen(context, keys, known, &mut sound);
    let mut entries: Vec<PointEntry> = Vec::new();
    let span = keys.span();
    if let Some(profile) = known {
        let wanted = |point: &Name| chosen.as_ref().is_none_or(|names| names.iter().any(|name| *point == *name.value));
        let wanted = profile.points.iter().filter(|point| wanted(&point.name));
        entries.extend(wanted.map(|point| PointEntry::of_profile(point, span.clone())));
    }
    let mut own: Vec<Name> = Vec::new();
    for (table, span) in keys.tables("point") {
        let name_span = table.get("name").map_or(span.clone(), |name| name.span());
        let (name, entry) =
            if profile.is_ok() { point::read(context, table, span, known, protocol) } else { (None, None) };
        sound &= entry.is_some();
        if let Some(name) = name {
            if own.contains(&name) {
                let message = format!("the point `{name}` is there twice");
                context.sink.error(code::DUPLICATE, name_span, message, "put both into one [[device.point]]");
                continue;
            }
            own.push(name);
        }
        let Some(entry) = entry else { continue };
        match entries.iter_mut().find(|known| known.spec.name == entry.spec.name) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }
    if entries.is_empty() && sound {
        let needs = match protocol {
            Protocol::Modbus => "name, table, address and type",
            Protocol::Dlt645(_) => "name and di",
            Protocol::Osdp => "name and shows",
            Protocol::Uhppote => "name and field",
            Protocol::Cjt188(_) => "name and field",
        };
        let help = format!("name a profile (`gatehouse profiles` lists them) or add [[device.point]] with {needs}");
        keys.error(Rule::MissingKey, span, "the device has no point", help);
    }
    if entries.len() > usize::from(u16::MAX) {
        keys.error(Rule::BadValue, keys.span(), "a device has at most 65535 points", "");
        return None;
    }
    sound.then_some(entries)
}

/// The points that `points = [...]` chooses; `None` for all.
fn chosen<'t>(
    context: &mut Context<'_>,
    keys: &mut Keys<'t, '_>,
    profile: Option<&Profile>,
    sound: &mut bool,
) -> Option<Vec<Found<&'t str>>> {
    if !keys.has("points") {
        let _ = keys.raw("points");
        return None;
    }
    let names = texts(keys, "points");
    let Some(profile) = profile else {
        if *sound {
            let help = "leave it out: each [[device.point]] is read";
            let span = keys.span_of("points");
            keys.error(Rule::Conflict, span, "`points` chooses from a profile, and the device names none", help);
        }
        return None;
    };
    for name in &names {
        if !profile.points.iter().any(|point| point.name == *name.value) {
            let known: Vec<&str> = profile.points.iter().map(|point| point.name.as_str()).collect();
            let message = format!("the profile {} has no point `{}`", profile.name, name.value);
            context.sink.error(code::UNKNOWN_POINT, name.span.clone(), message, did_you_mean(name.value, &known));
            *sound = false;
        }
    }
    Some(names)
}

fn texts<'t>(keys: &mut Keys<'t, '_>, key: &'static str) -> Vec<Found<&'t str>> {
    let mut texts = Vec::new();
    for value in keys.list(key) {
        match value.get_ref().as_str() {
            Some(text) => texts.push(Found { value: text, span: value.span() }),
            None => keys.error(Rule::WrongType, value.span(), format!("`{key}` is a list of names in quotes"), ""),
        }
    }
    texts
}

/// The points that `billing = [...]` names.
fn billing<'t>(
    context: &mut Context<'_>,
    keys: &mut Keys<'t, '_>,
    entries: &Option<Vec<PointEntry>>,
) -> Vec<Found<&'t str>> {
    let names = texts(keys, "billing");
    let Some(entries) = entries else { return names };
    for name in &names {
        if !entries.iter().any(|entry| entry.spec.name == *name.value) {
            let known: Vec<&str> = entries.iter().map(|entry| entry.spec.name.as_str()).collect();
            let message = format!("the device reads no point `{}`", name.value);
            context.sink.error(code::UNKNOWN_POINT, name.span.clone(), message, did_you_mean(name.value, &known));
        }
    }
    names
}

/// What holds for points of a device that say nothing themselves.
struct Usual<'a> {
    interval: Duration,
    degraded: Option<Duration>,
    wish: Option<Wish>,
    billing: &'a [Found<&'a str>],
    defaults: &'a ReportDefaults,
}

impl Usual<'_> {
    fn finish(&self, context: &mut Context<'_>, entry: PointEntry, limits: &Limits) -> Option<PointConfig> {
        let PointEntry { spec, span, title, interval, interval_degraded, billing, report, register } = entry;
        let listed = self.billing.iter().find(|name| spec.name == *name.value).map(|name| name.span.clone());
        if let (Some(listed), Some((false, _))) = (&listed, &billing) {
            let message = format!("`{}` is in the list `billing`, and its own `billing` is false", spec.name);
            context.sink.error(code::CONFLICT, listed.clone(), message, "take one of them out");
        }
        let billing = listed.or_else(|| billing.filter(|(billing, _)| *billing).map(|(_, span)| span));
        if let Some(span) = &billing {
            point::check_billing(context, &spec, span.clone());
            if let Some((Some(Wish::OnChange { .. } | Wish::DeadBand { .. }), report)) = &report {
                let message = format!("`{}` is a billing point: each of its readings is recorded", spec.name);
                context.sink.error(code::CONFLICT, report.clone(), message, "leave `report` out");
            }
        }
        if let (None, Some((_, at))) = (&billing, &register) {
            let message = format!("`{}` is no billing point: nobody looks how it counts", spec.name);
            context.sink.error(code::CONFLICT, at.clone(), message, "add billing = true");
        }
        if let Some(message) = limit_trouble(&spec, limits) {
            let help = "leave it out of `points`, or correct `limits`";
            context.sink.error(code::FORBIDDEN_ADDRESS, span, message, help);
        }
        let wish = report.map_or(self.wish, |(wish, _)| wish);
        let report =
            if billing.is_some() { Policy::Always } else { self.defaults.policy(wish, &spec.unit, spec.kind()) };
        // A point with an interval of its own keeps it, unless it says otherwise itself.
        let usual = self.degraded.filter(|_| interval.is_none());
        let interval = interval.unwrap_or(self.interval);
        let interval_degraded = interval_degraded.or(usual).filter(|degraded| *degraded != interval);
        let register = register.map(|(register, _)| Box::new(register));
        let billing = billing.is_some();
        let personal = spec.is_personal();
        Some(PointConfig { spec, title, interval, interval_degraded, billing, report, personal, register })
    }
}

/// Why the device's limits do not let a point be read at all.
fn limit_trouble(spec: &PointSpec, limits: &Limits) -> Option<String> {
    let (name, point) = (&spec.name, spec.modbus()?);
    let last = point.address.saturating_add(point.width() - 1);
    let hole =
        limits.holes.iter().find(|(table, from, to)| *table == point.table && point.address <= *to && last >= *from);
    if let Some((_, from, to)) = hole {
        return Some(format!("`{name}` lies in {from:#06X} to {to:#06X}, which must not be read on this device"));
    }
    let registers = matches!(point.table, Table::Holding | Table::Input);
    let most = limits.max_registers;
    let wide = registers && point.width() > most;
    wide.then(|| format!("`{name}` takes {} registers, the device gives at most {most} at once", point.width()))
}

/// Points by interval, the group of the first point first.
pub(super) fn groups(points: &[PointConfig]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (ix, point) in (0u16..).map(PointIx).zip(points) {
        let (interval, interval_degraded) = (point.interval, point.interval_degraded);
        let same = |group: &&mut Group| (group.interval, group.interval_degraded) == (interval, interval_degraded);
        match groups.iter_mut().find(same) {
            Some(group) => group.points.push(ix),
            None => groups.push(Group { interval, interval_degraded, points: vec![ix] }),
        }
    }
    groups
}

/// What two devices must not have in common: names, and units on one bus. Also buses that no device is on.
pub(super) fn check_together(context: &mut Context<'_>, devices: &[DeviceEntry], buses: &[BusEntry]) {
    for (at, entry) in devices.iter().enumerate() {
        let before = devices.get(..at).unwrap_or_default();
        let taken =
            |id: &Found<Name>| before.iter().any(|other| other.id.as_ref().is_some_and(|o| o.value == id.value));
        if let Some(id) = entry.id.as_ref().filter(|id| taken(id)) {
            let message = format!("there is another device `{}` above", id.value);
            let help = "an id is a device's identity for ever: give this one another";
            context.sink.error(code::DUPLICATE, id.span.clone(), message, help);
        }
        let (Some(bus), Some(address)) = (entry.bus, &entry.address) else { continue };
        let same = |other: &&DeviceEntry| {
            other.bus == Some(bus) && other.address.as_ref().is_some_and(|other| other.value == address.value)
        };
        if entry.is_pattern || before.iter().any(|other| other.bus == Some(bus) && other.is_pattern) {
            meter::check_alone(context, before.iter().any(|other| other.bus == Some(bus)), address.span.clone());
        }
        let Some(other) = before.iter().find(same) else { continue };
        let other = other.id.as_ref().map_or("another device", |id| id.value.as_str());
        let what = if address.value.len() > 3 { "address" } else { "unit" };
        let message = format!("{what} {} on this bus is `{other}` already", address.value);
        let help = "two devices with one address answer at once and garble each other: set another on one of them";
        context.sink.error(code::DUPLICATE_UNIT, address.span.clone(), message, help);
    }
    for (at, entry) in buses.iter().enumerate() {
        let Some(id) = &entry.id else { continue };
        let first = buses.iter().position(|other| other.id.as_ref().is_some_and(|other| other.value == id.value));
        if first == Some(at) && !devices.is_empty() && devices.iter().all(|device| device.is_elsewhere(at)) {
            let message = format!("no device is on the bus `{}`", id.value);
            context.sink.warn(code::UNUSED, id.span.clone(), message, "its port will not be opened");
        }
    }
}
