//! `[[gate]]`: an actuator, its sensors and a policy.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use gatehouse_core::driver::Argument;
use gatehouse_core::{Kind, Name, PointIx};
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_drivers::profile::{Command, Payload, Rule};
use gatehouse_rules::PointRef;
use gatehouse_rules::gate::{
    GateKind, GateSpec, How, Outcome, Output, Outputs, Policy, Role, Sensor, Timing, WhenBlocked,
};
use gatehouse_rules::words::Direction;
use toml::de::{DeTable, DeValue};

use super::access::{self, GateZone};
use super::reference::Devices;
use super::{Context, name, required_name};
use crate::code;
use crate::site::Device;
use crate::units::{duration, duration_text};

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);

/// A gate that was read, and where its id stands.
#[derive(Debug)]
pub(super) struct GateEntry {
    pub(super) id: Found<Name>,
    pub(super) spec: GateSpec,
    pub(super) access: GateZone,
}

/// Reads one gate.
pub(super) fn read(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    devices: Devices<'_>,
) -> Option<GateEntry> {
    let mut keys = Keys::new(table, span.clone());
    let id = required_name(&mut keys, "id", "the gate's permanent identity, for example id = \"garage-entry\"");
    let kinds = [("barrier", GateKind::Barrier), ("door", GateKind::Door)];
    if !keys.has("kind") {
        keys.missing("kind", "\"barrier\" or \"door\"");
    }
    let kind = keys.choice("kind", &kinds);
    let direction = direction(&mut keys).unwrap_or(Direction::In);
    let outputs = Outputs {
        open: output(context, &mut keys, "open", devices),
        close: output(context, &mut keys, "close", devices),
        stop: output(context, &mut keys, "stop", devices),
        hold_open: output(context, &mut keys, "hold_open", devices),
        lock: output(context, &mut keys, "lock", devices),
    };
    let timing = keys.table("timing").map(|(table, span)| timing(context, table, span)).unwrap_or_default();
    let policy = keys.table("policy").map(|(table, span)| policy(context, table, span)).unwrap_or_default();
    let sensors =
        keys.table("sensors").map(|(table, span)| sensors(context, (table, span), devices)).unwrap_or_default();
    let fire_source = name(&mut keys, "fire_source").map(|found| found.value);
    let access = keys.table("access").map(|at| access::gate(context, at)).unwrap_or_default();
    let sound = keys.errors.is_empty();
    context.end(keys);
    let (id, kind) = (id?, kind?);
    let spec =
        GateSpec { id: id.value.clone(), kind: kind.value, direction, outputs, timing, sensors, fire_source, policy };
    if let (true, Err(why)) = (sound && !context.sink.has_errors(), spec.check()) {
        let message = format!("the gate `{}` cannot work: {why}", spec.id);
        context.sink.error(code::BAD_GATE, span.clone(), message, "docs/site-file.md explains what a gate needs");
    }
    Some(GateEntry { id, spec, access })
}

/// Notes gates that have one name, and contacts that somebody else could work.
pub(super) fn check_together(context: &mut Context<'_>, gates: &[GateEntry], devices: Devices<'_>) {
    let mut worked = Vec::new();
    for gate in gates {
        for at in gate.spec.outputs.points() {
            check_contact(context, gate, at, devices, &worked);
            worked.push((at, &gate.spec.id));
        }
    }
    for (at, gate) in gates.iter().enumerate() {
        if gates.iter().take(at).any(|other| other.spec.id == gate.spec.id) {
            let message = format!("there is another gate `{}` above", gate.spec.id);
            context.sink.error(code::DUPLICATE, gate.id.span.clone(), message, "give this one another id");
        }
    }
}

/// What a gate works is worked by nobody else, whatever it is called: no other point of its device is the same contact.
fn check_contact(
    context: &mut Context<'_>,
    gate: &GateEntry,
    at: PointRef,
    devices: Devices<'_>,
    worked: &[(PointRef, &Name)],
) {
    let device = usize::try_from(at.device.0).ok().and_then(|ix| devices.0.get(ix));
    let Some((device, own)) = device.and_then(|device| Some((device, device.points.get(usize::from(at.point.0))?)))
    else {
        return;
    };
    let own_place = own.spec.modbus();
    let (name, id) = (&own.spec.name, &gate.spec.id);
    for (ix, other) in (0..).map(PointIx).zip(&device.points).filter(|(ix, _)| *ix != at.point) {
        let same = own_place.zip(other.spec.modbus()).is_some_and(|(own, other)| own.touches(other));
        if same && other.spec.is_writable() {
            let message = format!(
                "the gate `{id}` works `{}/{name}`, and `{}` is the same contact: whoever writes that moves the gate",
                device.id, other.spec.name
            );
            let help = format!("take `{}` out, or make it read-only", other.spec.name);
            context.sink.error(code::BAD_GATE, gate.id.span.clone(), message, &help);
        }
        let twice = worked.iter().find(|(worked, _)| same && *worked == PointRef { device: at.device, point: ix });
        tell_twice(context, gate, twice.map(|(_, other)| *other));
    }
    tell_twice(context, gate, worked.iter().find(|(worked, _)| *worked == at).map(|(_, other)| *other));
}

fn tell_twice(context: &mut Context<'_>, gate: &GateEntry, other: Option<&Name>) {
    if let Some(other) = other.filter(|other| **other != gate.spec.id) {
        let message =
            format!("the gates `{}` and `{other}` work one contact: neither knows what the other does", gate.spec.id);
        let help = "one boom or door is one gate; readers on both sides name it, each with its `direction`";
        context.sink.error(code::BAD_GATE, gate.id.span.clone(), message, help);
    }
}

pub(super) fn direction(keys: &mut Keys<'_, '_>) -> Option<Direction> {
    keys.choice("direction", &[("in", Direction::In), ("out", Direction::Out)]).map(|found| found.value)
}

/// One output: a command of the profile, a switch with a pulse, or a maintained signal.
pub(super) fn output(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    key: &'static str,
    devices: Devices<'_>,
) -> Option<Output> {
    let (table, span) = keys.table(key)?;
    let mut keys = Keys::new(table, span.clone());
    let output = if keys.has("command") && keys.has("point") {
        super::box_io::pulse(context, &mut keys, devices)
    } else if keys.has("command") {
        let _ = keys.raw("point");
        let found = keys.text("device");
        if found.is_none() && !keys.has("device") {
            keys.missing("device", "the device whose profile has the command");
        }
        let device = found.and_then(|found| devices.device(context, found.value, &found.span));
        device.and_then(|(ix, device)| Some(Output { device: ix, how: pulse(&mut keys, device)? }))
    } else {
        contact(context, &mut keys, devices, span)
    };
    context.end(keys);
    output
}

fn contact(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    devices: Devices<'_>,
    span: Range<usize>,
) -> Option<Output> {
    if !keys.has("point") {
        let help = "write { device = \"...\", command = \"...\", channel = 0, time = \"500ms\" } for a pulse that the \
                    board times, { point = \"DEVICE/POINT\", pulse = \"500ms\" }, or { point = \"DEVICE/POINT\", level = true }";
        keys.error(Rule::MissingKey, span, "the output names neither a command nor a point", help);
    }
    let at = devices.switch_at(context, keys, "point");
    let pulse = duration(keys, "pulse", MS * 100..=Duration::from_secs(120));
    let level = keys.flag("level");
    let how = match (at.as_ref(), pulse, level) {
        (_, Some(pulse), Some(_)) => {
            keys.error(Rule::Conflict, pulse.span, "an output is a pulse or a level, not both", "take one of them out");
            return None;
        }
        (at, Some(pulse), None) => How::Switch { point: at?.value.point, on_for: pulse.value },
        (at, None, Some(level)) => How::Level { point: at?.value.point, on: level.value },
        (at, None, None) => How::Switch { point: at?.value.point, on_for: Duration::from_millis(500) },
    };
    Some(Output { device: at?.value.device, how })
}

/// A command of the device's profile, with its channel and time.
fn pulse(keys: &mut Keys<'_, '_>, device: &Device) -> Option<How> {
    let name = keys.text("command")?;
    let command = device.commands().iter().find(|command| command.name == *name.value);
    let Some(command) = command else {
        let known: Vec<&str> = device.commands().iter().map(|command| command.name.as_str()).collect();
        let message = format!("the device `{}` has no command `{}`", device.id, name.value);
        keys.error(Rule::BadValue, name.span, message, did_you_mean(name.value, &known));
        return None;
    };
    let channel = keys.word("channel", 0..=u16::MAX);
    let argument = argument(keys, command)?;
    let channel = match (command.channels, channel) {
        (Some(all), None) => {
            let message = format!("which channel? `{}` has {} to {}", command.name, all.first, all.last());
            keys.error(Rule::MissingKey, keys.span(), message, "");
            return None;
        }
        (Some(all), Some(found)) if !(all.first..=all.last()).contains(&found.value) => {
            let message =
                format!("there is no channel {}: `{}` has {} to {}", found.value, command.name, all.first, all.last());
            keys.error(Rule::BadValue, found.span, message, "");
            return None;
        }
        (None, Some(found)) => {
            keys.error(Rule::Conflict, found.span, format!("`{}` has no channels", command.name), "take it out");
            return None;
        }
        (_, channel) => channel.map(|found| found.value),
    };
    Some(How::Pulse { command: command.name.clone(), channel, argument })
}

pub(super) fn argument(keys: &mut Keys<'_, '_>, command: &Command) -> Option<Argument> {
    let time = duration(keys, "time", MS..=DAY);
    match command.payload {
        Payload::Fixed(_) => Some(Argument::None),
        Payload::Timed { unit_ms, least, most, .. } => {
            let Some(time) = time else {
                if !keys.has("time") {
                    keys.missing("time", "how long the pulse is, for example time = \"500ms\"");
                }
                return None;
            };
            let unit = MS * unit_ms;
            let units = time.value.as_nanos().checked_div(unit.as_nanos()).unwrap_or(0);
            let units = u16::try_from(units).ok().filter(|units| unit * u32::from(*units) == time.value);
            let units = units.filter(|units| (least..=most).contains(units));
            if units.is_none() {
                let (least, most) = (unit * u32::from(least), unit * u32::from(most));
                let message = format!(
                    "`{}` takes {} to {} in steps of {}",
                    command.name,
                    duration_text(least),
                    duration_text(most),
                    duration_text(unit)
                );
                keys.error(Rule::BadValue, time.span, message, "");
            }
            units.map(Argument::Units)
        }
        Payload::Switch { .. } => {
            let on = keys.flag("on").is_none_or(|found| found.value);
            Some(Argument::On(on))
        }
        Payload::Read { .. } | Payload::Value { .. } | Payload::Coils { .. } => {
            let message = format!("`{}` is no command that works one output", command.name);
            keys.error(Rule::BadValue, keys.span_of("command"), message, "choose one that switches or pulses a relay");
            None
        }
    }
}

const ROLES: [(&str, Role); 14] = [
    ("open_limit", Role::OpenLimit),
    ("close_limit", Role::CloseLimit),
    ("loop_approach", Role::LoopApproach),
    ("loop_under_boom", Role::LoopUnderBoom),
    ("photocell", Role::Photocell),
    ("door_contact", Role::DoorContact),
    ("exit_button", Role::ExitButton),
    ("fire", Role::Fire),
    ("fire_line", Role::FireLine),
    ("emergency_stop", Role::EmergencyStop),
    ("motor_fault", Role::MotorFault),
    ("manual_mode", Role::ManualMode),
    ("remote_control", Role::RemoteControl),
    ("tamper", Role::Tamper),
];

fn sensors(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    devices: Devices<'_>,
) -> BTreeMap<Role, Sensor> {
    let mut keys = Keys::new(table, span);
    let mut sensors = BTreeMap::new();
    for (key, role) in ROLES {
        let Some(value) = keys.raw(key) else { continue };
        let sensor = match value.get_ref() {
            DeValue::String(text) => sensor_at(context, text, &value.span(), role, devices),
            DeValue::Table(table) => sensor(context, (table, value.span()), role, devices),
            _ => {
                let message = format!("`{key}` names a point");
                let help = "write \"DEVICE/POINT\", or { point = \"DEVICE/POINT\", active = \"off\" }";
                keys.error(Rule::WrongType, value.span(), message, help);
                None
            }
        };
        sensors.extend(sensor.map(|sensor| (role, sensor)));
    }
    context.end(keys);
    sensors
}

fn sensor_at(
    context: &mut Context<'_>,
    text: &str,
    span: &Range<usize>,
    role: Role,
    devices: Devices<'_>,
) -> Option<Sensor> {
    let (at, config) = devices.point(context, text, span)?;
    if config.spec.kind() == Kind::Text {
        let message = format!("{text} is a text: a sensor is a switch, or a number that is not 0 when it is on");
        context.sink.error(code::BAD_VALUE, span.clone(), message, "");
        return None;
    }
    let interval = config.slowest();
    if interval > Duration::from_secs(5) {
        let message = format!("{text} is read every {}: a gate that sees so rarely is slow", duration_text(interval));
        context.sink.warn(code::SLOW_SENSOR, span.clone(), message, "give the point an interval of \"500ms\" or less");
    }
    let mut sensor = Sensor::new(role, at, interval);
    if devices.is_own(at.device) {
        // What bounces is filtered already, by the kernel's own times: a fire waits for nothing more.
        sensor.filter_on = Duration::ZERO;
    }
    Some(sensor)
}

fn sensor(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    role: Role,
    devices: Devices<'_>,
) -> Option<Sensor> {
    let mut keys = Keys::new(table, span);
    let found = keys.text("point");
    if found.is_none() && !keys.has("point") {
        keys.missing("point", "\"DEVICE/POINT\"");
    }
    let mut sensor = found.and_then(|found| sensor_at(context, found.value, &found.span, role, devices));
    let active = keys.choice("active", &[("on", true), ("off", false)]);
    let required = keys.flag("required");
    let filter_on = duration(&mut keys, "filter_on", Duration::ZERO..=Duration::from_secs(10));
    let filter_off = duration(&mut keys, "filter_off", Duration::ZERO..=Duration::from_secs(60));
    let max_age = duration(&mut keys, "max_age", MS * 100..=Duration::from_secs(3600));
    if let Some(sensor) = &mut sensor {
        set(&mut sensor.active_when, active);
        set(&mut sensor.required, required);
        set(&mut sensor.filter_on, filter_on);
        set(&mut sensor.filter_off, filter_off);
        set(&mut sensor.max_age, max_age);
    }
    context.end(keys);
    sensor
}

fn set<T>(slot: &mut T, found: Option<Found<T>>) {
    if let Some(found) = found {
        *slot = found.value;
    }
}

fn timing(context: &mut Context<'_>, table: &DeTable<'_>, span: Range<usize>) -> Timing {
    let mut keys = Keys::new(table, span);
    let mut timing = Timing::default();
    set(&mut timing.travel, duration(&mut keys, "travel", MS * 200..=Duration::from_secs(120)));
    set(&mut timing.pulse, duration(&mut keys, "pulse", MS * 200..=Duration::from_secs(2)));
    set(&mut timing.pause, duration(&mut keys, "pause", MS * 200..=Duration::from_secs(10)));
    set(&mut timing.reverse_pause, duration(&mut keys, "reverse_pause", MS * 200..=Duration::from_secs(10)));
    set(&mut timing.reverses_itself, keys.flag("reverses_itself"));
    set(&mut timing.act_within, duration(&mut keys, "act_within", MS * 200..=Duration::from_secs(10)));
    context.end(keys);
    timing
}

fn policy(context: &mut Context<'_>, table: &DeTable<'_>, span: Range<usize>) -> Policy {
    let mut keys = Keys::new(table, span);
    let mut policy = Policy::default();
    let seconds = |most: u64| Duration::from_secs(1)..=Duration::from_secs(most);
    let outcomes = [("record", Outcome::Record), ("alarm", Outcome::Alarm), ("lock", Outcome::Lock)];
    set(&mut policy.grant, duration(&mut keys, "grant", seconds(120)));
    set(&mut policy.grant_slack, duration(&mut keys, "grant_slack", Duration::ZERO..=Duration::from_secs(60)));
    set(&mut policy.open_limit, duration(&mut keys, "open_limit", seconds(86_400)));
    set(&mut policy.hold_max, duration(&mut keys, "hold_max", seconds(7 * 86_400)));
    set(&mut policy.pass_within, duration(&mut keys, "pass_within", seconds(600)));
    set(&mut policy.close_by_box, keys.flag("close_by_box"));
    set(&mut policy.close_after, duration(&mut keys, "close_after", seconds(600)));
    set(&mut policy.blocked, keys.choice("blocked", &[("stop", WhenBlocked::Stop), ("reopen", WhenBlocked::Reopen)]));
    if let Some(found) = keys.integer("blocked_retries", 0..=10) {
        policy.blocked_retries = u32::try_from(found.value).unwrap_or_default();
    }
    set(&mut policy.tailgate, keys.choice("tailgate", &outcomes));
    set(&mut policy.forced, keys.choice("forced", &outcomes));
    set(&mut policy.remote_opened, keys.choice("remote_opened", &outcomes));
    context.end(keys);
    policy
}
