//! `[box]`: contacts, relays and a climate sensor that are wired to the box itself.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{Kind, Name};
use gatehouse_drivers::point::{Place, PointSpec};
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_drivers::profile::{Channels, Command, Payload, Rule};
use gatehouse_firmware_bridge::contact::Filter;
use gatehouse_firmware_bridge::device::MAX_LINES;
use gatehouse_firmware_bridge::relay::{AtRestart, MAX_PULSE};
use gatehouse_rules::gate::{How, Output};
use toml::de::{DeTable, DeValue};

use super::device::{DeviceEntry, groups};
use super::gate::{GateEntry, argument};
use super::reference::Devices;
use super::report::{self, ReportDefaults, Wish};
use super::{Context, labels, name, required_name};
use crate::box_io::{Bias, BoxIoSettings, ClimateSettings, ContactSettings, GpioLine, RelayOutput, RelaySettings};
use crate::code;
use crate::site::{Device, PointConfig, Station};
use crate::units::duration;

/// What the device is called where the site file does not say it, and its category.
const BOX: &str = "box";
/// The command that pulses a relay.
const PULSE: &str = "pulse";
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const DEBOUNCE: Duration = Duration::from_millis(50);
const DEBOUNCES: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);
/// Milliseconds of one unit of a pulse.
const UNIT_MS: u32 = 100;

/// What holds for lines that say nothing themselves.
struct Usual<'a> {
    /// The chip of all lines, and whether the file names one, be it a wrong one.
    chip: (Option<PathBuf>, bool),
    interval: Duration,
    wish: Option<Wish>,
    defaults: &'a ReportDefaults,
}

/// A line, as a point and as it is wired.
struct Wired<T> {
    name: Found<Name>,
    point: PointConfig,
    /// Where it is wired, for people: no two are the same.
    place: Found<String>,
    settings: T,
}

/// Reads the box's table: the device, and how it is wired.
pub(super) fn read(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    defaults: &ReportDefaults,
) -> (DeviceEntry, BoxIoSettings) {
    let mut keys = Keys::new(table, span.clone());
    let plain = || Found { value: Name::new(BOX).expect("a constant name"), span: span.clone() };
    let given = keys.has("id");
    let id = name(&mut keys, "id");
    let title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    let labels = labels(&mut keys);
    let chip = node(&mut keys, "chip", "/dev");
    let interval = duration(&mut keys, "interval", SECOND..=SECOND * 3600).map_or(SECOND, |found| found.value);
    let wish = report::wish(context, &mut keys);
    let usual = Usual { chip: (chip.map(|found| found.value), keys.has("chip")), interval, wish, defaults };
    let tables = keys.tables("contact");
    let contacts: Vec<_> = tables.into_iter().map(|at| contact(context, at, &usual)).collect();
    let tables = keys.tables("relay");
    let relays: Vec<_> = tables.into_iter().map(|at| relay(context, at, &usual)).collect();
    let climate = keys.table("climate").map(|at| climate(context, at, &usual));
    for (key, lines) in [("contact", contacts.len()), ("relay", relays.len())] {
        if lines > MAX_LINES {
            let span = keys.span_of(key);
            keys.error(
                Rule::BadValue,
                span,
                format!("a box has at most {MAX_LINES} of `{key}`, these are {lines}"),
                "",
            );
        }
    }
    if contacts.is_empty() && relays.is_empty() && climate.is_none() && keys.errors.is_empty() {
        let help = "add [[box.contact]], [[box.relay]] or [box.climate], or take [box] out";
        keys.error(Rule::MissingKey, span.clone(), "nothing is wired to the box", help);
    }
    let sound = keys.errors.is_empty() && (!given || id.is_some());
    context.end(keys);
    let lines = contacts.iter().flatten().map(|wired| (&wired.name, &wired.place));
    let lines = lines.chain(relays.iter().flatten().map(|wired| (&wired.name, &wired.place)));
    check_together(context, &lines.collect::<Vec<_>>(), climate.is_some());
    let whole = contacts.iter().all(Option::is_some) && relays.iter().all(Option::is_some);
    let contacts: Vec<_> = contacts.into_iter().flatten().collect();
    let relays: Vec<_> = relays.into_iter().flatten().collect();
    let settings = BoxIoSettings {
        contacts: contacts.iter().map(|wired| wired.settings.clone()).collect(),
        relays: relays.iter().map(|wired| wired.settings.clone()).collect(),
        climate: climate.as_ref().map(|(settings, _)| settings.clone()),
        interval,
    };
    let points = contacts.into_iter().map(|wired| wired.point).chain(relays.into_iter().map(|wired| wired.point));
    let points = points.chain(climate.into_iter().flat_map(|(_, points)| points)).collect();
    let id = id.unwrap_or_else(plain);
    let device = (sound && whole).then(|| device((&id.value, title, labels), points, settings.relays.len()));
    (DeviceEntry::own(id, device), settings)
}

fn device(
    (id, title, labels): (&Name, String, crate::site::Labels),
    points: Vec<PointConfig>,
    relays: usize,
) -> Device {
    Device {
        id: id.clone(),
        title,
        bus: None,
        station: Station::Own(pulses(relays).into_iter().collect()),
        profile: None,
        category: BOX.to_owned(),
        labels,
        groups: groups(&points),
        points,
        timeout: None,
        characters: None,
        pauses_with: None,
        meter: None,
    }
}

/// The command that pulses one of so many relays, as a board of relays would have it.
fn pulses(relays: usize) -> Option<Command> {
    let count = u16::try_from(relays).ok().filter(|count| *count > 0)?;
    let most = MAX_PULSE.as_millis() / u128::from(UNIT_MS);
    Some(Command {
        name: Name::new(PULSE).ok()?,
        function: 5,
        address: 0,
        channels: Some(Channels { first: 1, count, step: 1 }),
        payload: Payload::Timed { words: Vec::new(), unit_ms: UNIT_MS, least: 1, most: u16::try_from(most).ok()? },
        broadcast: false,
        then: None,
        note: String::new(),
    })
}

fn contact(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    usual: &Usual<'_>,
) -> Option<Wired<ContactSettings>> {
    let mut keys = Keys::new(table, span);
    let name = required_name(&mut keys, "name", "the point's name, for example name = \"fire\"");
    let title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    let line = gpio(&mut keys, usual);
    let biases = [("pull-up", Bias::PullUp), ("pull-down", Bias::PullDown), ("none", Bias::Disabled)];
    let bias = keys.choice("bias", &biases).map(|found| found.value).unwrap_or_default();
    let filter = filter(context, &mut keys);
    let wish = report::wish(context, &mut keys);
    let sound = keys.errors.is_empty();
    context.end(keys);
    let (name, (line, place), filter) = (name?, line?, filter?);
    let point = usual.flag(&name.value, title, wish, false);
    let settings = ContactSettings { name: name.value.clone(), line, bias, filter };
    sound.then_some(Wired { name, point, place, settings })
}

fn relay(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    usual: &Usual<'_>,
) -> Option<Wired<RelaySettings>> {
    let mut keys = Keys::new(table, span);
    let name = required_name(&mut keys, "name", "the point's name, for example name = \"buzzer\"");
    let title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    let led = node(&mut keys, "led", "/sys/class/leds");
    let output = if let Some(led) = led {
        for key in ["line", "chip", "active_low"] {
            if keys.raw(key).is_some() {
                let message = format!("`led` and `{key}` do not go together: the kernel knows how the output is wired");
                keys.error(Rule::Conflict, keys.span_of(key), message, "take one of them out");
            }
        }
        let place = Found { value: led.value.display().to_string(), span: led.span };
        Some((RelayOutput::Led(led.value), place))
    } else {
        gpio(&mut keys, usual).map(|(line, place)| (RelayOutput::Gpio(line), place))
    };
    let choices = [("off", AtRestart::Off), ("keep", AtRestart::Keep)];
    let at_restart = keys.choice("at_restart", &choices).map(|found| found.value).unwrap_or_default();
    let wish = report::wish(context, &mut keys);
    let sound = keys.errors.is_empty();
    context.end(keys);
    let (name, (output, place)) = (name?, output?);
    let point = usual.flag(&name.value, title, wish, true);
    let settings = RelaySettings { name: name.value.clone(), output, at_restart };
    sound.then_some(Wired { name, point, place, settings })
}

/// The line of a GPIO chip, and how people would say it.
fn gpio(keys: &mut Keys<'_, '_>, usual: &Usual<'_>) -> Option<(GpioLine, Found<String>)> {
    let own = keys.has("chip");
    let chip = node(keys, "chip", "/dev").map(|found| found.value);
    let chip = chip.or_else(|| usual.chip.0.clone().filter(|_| !own));
    let active_low = keys.flag("active_low").is_some_and(|found| found.value);
    if !keys.has("line") {
        keys.missing("line", "the line's number on its chip, counted from 0: `gpioinfo` shows them");
    }
    let line = keys.integer("line", 0..=65_535);
    if !own && !usual.chip.1 {
        let help = "for example chip = \"/dev/gpiochip0\", here or in [box] for all: `gpiodetect` shows them";
        keys.missing("chip", help);
    }
    let (chip, line) = (chip?, line?);
    let place = format!("line {} of {}", line.value, chip.display());
    let offset = u32::try_from(line.value).ok()?;
    Some((GpioLine { chip, offset, active_low }, Found { value: place, span: line.span }))
}

/// Something of the kernel: a name in `folder`, or a whole path.
fn node(keys: &mut Keys<'_, '_>, key: &'static str, folder: &str) -> Option<Found<PathBuf>> {
    let Found { value, span } = keys.text(key)?;
    let whole = value.starts_with('/');
    if value.is_empty() || !whole && value.contains('/') || value == ".." {
        let help = format!("write a name in {folder}, or a path from the root on");
        keys.error(Rule::BadValue, span, format!("`{key}` = {value:?} names nothing of the kernel"), help);
        return None;
    }
    Some(Found { value: PathBuf::from(folder).join(value), span })
}

/// How long a level must last: for both directions, or each by itself.
fn filter(context: &mut Context<'_>, keys: &mut Keys<'_, '_>) -> Option<Filter> {
    let split = matches!(keys.raw("debounce").map(|value| value.get_ref()), Some(DeValue::Table(_)));
    if !split {
        let both = duration(keys, "debounce", DEBOUNCES);
        let both = if keys.has("debounce") { both?.value } else { DEBOUNCE };
        return Some(Filter { on: both, off: both });
    }
    let (table, span) = keys.table("debounce")?;
    let mut inner = Keys::new(table, span);
    let [on, off] = ["on", "off"].map(|key| duration(&mut inner, key, DEBOUNCES).map_or(DEBOUNCE, |found| found.value));
    let sound = inner.errors.is_empty();
    context.end(inner);
    sound.then_some(Filter { on, off })
}

fn climate(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    usual: &Usual<'_>,
) -> (ClimateSettings, Vec<PointConfig>) {
    let mut keys = Keys::new(table, span);
    let bus = node(&mut keys, "bus", "/dev");
    if !keys.has("bus") {
        keys.missing("bus", "the sensor's I2C bus, for example bus = \"/dev/i2c-1\"");
    }
    // An SHT3x has two addresses (data sheet SHT3x-DIS, table 8).
    let address = super::byte(&mut keys, "address", 0..=0x7F);
    if let Some(wrong) = address.as_ref().filter(|found| !(0x44..=0x45).contains(&found.value)) {
        let message = format!("an SHT3x has the address 0x44 or 0x45, this is 0x{:02x}", wrong.value);
        keys.error(Rule::BadValue, wrong.span.clone(), message, "0x45 where its pin ADDR is wired to the supply");
    }
    let address = address.map_or(0x44, |found| found.value);
    let interval = duration(&mut keys, "interval", SECOND..=DAY).map_or(SECOND * 60, |found| found.value);
    let wish = report::wish(context, &mut keys).or(usual.wish);
    context.end(keys);
    let bus = bus.map(|found| found.value).unwrap_or_default();
    let points = [("temperature", "°C"), ("humidity", "%RH")].into_iter().filter_map(|(name, unit)| {
        let spec = spec(&Name::new(name).ok()?, unit, Kind::Decimal { exponent: -2 }, false);
        let report = usual.defaults.policy(wish, unit, spec.kind());
        Some(PointConfig {
            spec,
            title: String::new(),
            interval,
            interval_degraded: None,
            billing: false,
            report,
            personal: false,
            register: None,
        })
    });
    (ClimateSettings { bus, address, interval }, points.collect())
}

impl Usual<'_> {
    /// A contact or a relay as a point. Those are recorded when they move, unless the file says otherwise: they are
    /// looked at all the time.
    fn flag(&self, name: &Name, title: String, wish: Option<Wish>, writable: bool) -> PointConfig {
        let spec = spec(name, "", Kind::Bool, writable);
        let wish = wish.or(self.wish).unwrap_or(Wish::OnChange { heartbeat: None });
        let report = self.defaults.policy(Some(wish), "", spec.kind());
        PointConfig {
            spec,
            title,
            interval: self.interval,
            interval_degraded: None,
            billing: false,
            report,
            personal: false,
            register: None,
        }
    }
}

/// A point of the box itself.
fn spec(name: &Name, unit: &str, kind: Kind, writable: bool) -> PointSpec {
    let place = Place::Own { kind, writable };
    PointSpec { name: name.clone(), unit: unit.to_owned(), bits: Vec::new(), note: String::new(), place }
}

/// Notes names and lines that are there twice.
fn check_together(context: &mut Context<'_>, all: &[(&Found<Name>, &Found<String>)], climate: bool) {
    for (at, (name, place)) in all.iter().enumerate() {
        let before = || all.iter().take(at);
        if before().any(|(other, _)| other.value == name.value) {
            let message = format!("the point `{}` is there twice", name.value);
            context.sink.error(code::DUPLICATE, name.span.clone(), message, "give this one another name");
        } else if climate && ["temperature", "humidity"].contains(&name.value.as_str()) {
            let message = format!("`{}` is what the sensor of [box.climate] measures", name.value);
            context.sink.error(code::DUPLICATE, name.span.clone(), message, "give this line another name");
        }
        if let Some((other, _)) = before().find(|(_, other)| other.value == place.value) {
            let message = format!("{} is `{}` already", place.value, other.value);
            context.sink.error(code::DUPLICATE, place.span.clone(), message, "one line is one contact or one relay");
        }
    }
}

/// An output `{ point = "box/raise", command = "pulse", time = "500ms" }`: a relay of the box, whose pulse it times.
pub(super) fn pulse(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, devices: Devices<'_>) -> Option<Output> {
    let at = devices.switch_at(context, keys, "point");
    let name = keys.text("command");
    // Keys that are right in such an output are not complained of beside what is wrong.
    let _ = keys.raw("time");
    let (at, name) = (at?, name?);
    let device = usize::try_from(at.value.device.0).ok().and_then(|ix| devices.0.get(ix))?;
    if device.bus.is_some() {
        let message = "a command of a board goes with `device` and `channel`, not with a point";
        let help = format!("write {{ device = \"{}\", command = \"{}\", channel = ... }}", device.id, name.value);
        let _ = (keys.raw("channel"), keys.raw("on"), keys.raw("device"));
        keys.error(Rule::Conflict, at.span, message, help);
        return None;
    }
    let Some(command) = device.commands().iter().find(|command| command.name == *name.value) else {
        let message = format!("the box has no command `{}`", name.value);
        keys.error(Rule::BadValue, name.span, message, did_you_mean(name.value, &[PULSE]));
        return None;
    };
    let argument = argument(keys, command)?;
    let first = device.points.iter().position(|point| point.spec.is_writable())?;
    let channel = usize::from(at.value.point.0).checked_sub(first).and_then(|at| u16::try_from(at + 1).ok())?;
    let how = How::Pulse { command: command.name.clone(), channel: Some(channel), argument };
    Some(Output { device: at.value.device, how })
}

/// Notes gates that pulse a relay which takes no pulses.
pub(super) fn check_pulses(
    context: &mut Context<'_>,
    gates: &[GateEntry],
    (devices, settings): (&[Arc<Device>], Option<&BoxIoSettings>),
) {
    let Some(settings) = settings else { return };
    for gate in gates {
        let outputs = &gate.spec.outputs;
        let outputs = [("open", &outputs.open), ("close", &outputs.close), ("stop", &outputs.stop)];
        for (key, output) in outputs.into_iter().filter_map(|(key, output)| Some((key, output.as_ref()?))) {
            let How::Pulse { channel: Some(channel), .. } = &output.how else { continue };
            let relay = settings.relays.get(usize::from(channel.saturating_sub(1)));
            let relay = relay.filter(|relay| Devices(devices).is_own(output.device) && relay.refuses_pulses());
            if let Some(relay) = relay {
                let message = format!(
                    "`{key}` of the gate `{}` pulses the relay `{}`, which keeps its state over a restart: a pulse that a \
                     crash cuts short would last for ever",
                    gate.spec.id, relay.name
                );
                let help = "leave `at_restart` out, or use an output that the kernel times: led = \"...\"";
                context.sink.error(code::BAD_GATE, gate.id.span.clone(), message, help);
            }
        }
    }
}
