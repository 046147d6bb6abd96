//! Readings that can be billed: `[device.meter]`, `[[reading]]`, `[[balance]]`, and how a register counts.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::{Decimal, DeviceIx, Name, PointIx};
use gatehouse_drivers::dlt645::Format;
use gatehouse_drivers::dlt645::load::item_of;
use gatehouse_drivers::point::{Place, PointSpec};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Keys, did_you_mean};
use gatehouse_rules::Catalog;
use gatehouse_rules::billing::{
    BalanceSpec, BillingSetup, Every, LoadSpec, MOST_READINGS, MOST_REGISTERS, MeterSpec, REMARKS, ReadingSpec,
    RegisterSpec,
};
use toml::de::DeTable;

use super::reference::Devices;
use super::{Context, required_name, select};
use crate::code;
use crate::site::{Device, MeterConfig, PointConfig, RegisterConfig, Station};
use crate::units::{duration, duration_text};

/// How long after its time a meter may still be read live.
const WAITS: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(6 * 3600);
const WAIT: Duration = Duration::from_secs(3600);
/// Most characters of a billing point's name: what stands beside it in the same record has six more.
const MOST_CHARACTERS: usize = 58;

type At<'t, 'i> = (&'t DeTable<'i>, Range<usize>);

/// Reads how the register of a point counts; `None` where nothing is said.
pub(super) fn register(keys: &mut Keys<'_, '_>) -> Option<(RegisterConfig, Range<usize>)> {
    let counter = keys.flag("counter");
    let mut positive = |key: &'static str| {
        let found = keys.decimal(key)?;
        if found.value.mantissa > 0 {
            return Some(found);
        }
        keys.error(Rule::BadValue, found.span, format!("`{key}` must be above 0"), "");
        None
    };
    let (rollover, most) = (positive("rollover"), positive("max_per_hour"));
    let spans = [counter.as_ref().map(|f| &f.span), rollover.as_ref().map(|f| &f.span), most.as_ref().map(|f| &f.span)];
    let span = spans.into_iter().flatten().next()?.clone();
    let register = RegisterConfig {
        counter: counter.map(|found| found.value),
        rollover: rollover.map(|found| found.value),
        max_per_hour: most.map(|found| found.value),
    };
    Some((register, span))
}

/// Reads `[device.meter]`.
pub(super) fn meter(
    context: &mut Context<'_>,
    (table, span): At<'_, '_>,
    points: &[PointConfig],
) -> Option<MeterConfig> {
    let mut keys = Keys::new(table, span.clone());
    let serial = keys.text("serial").map(|found| found.value.trim().to_owned()).filter(|text| !text.is_empty());
    let multiplier = keys.decimal("multiplier").and_then(|found| {
        if found.value.mantissa > 0 {
            return Some(found);
        }
        let help = "the ratio of the current transformers times that of the voltage transformers: 150/5 A is 30";
        keys.error(Rule::BadValue, found.span, "`multiplier` must be above 0", help);
        None
    });
    let serial_point = keys.text("serial_point").and_then(|found| {
        let at = points.iter().position(|point| point.spec.name == *found.value);
        if at.is_none() {
            let known: Vec<&str> = points.iter().map(|point| point.spec.name.as_str()).collect();
            let message = format!("the device reads no point `{}`", found.value);
            context.sink.error(code::UNKNOWN_POINT, found.span, message, did_you_mean(found.value, &known));
        }
        u16::try_from(at?).ok().map(PointIx)
    });
    let freezes = keys.choice("daily_freeze", &[("auto", true), ("never", false)]);
    let load_every = load_records(context, &mut keys, points);
    let stacked = points.iter().find(|point| point.billing && !is_plain_scale(&point.spec));
    if let (Some(point), Some(found)) = (stacked, &multiplier) {
        let message =
            format!("`{}` has a `scale` that is no power of ten: the ratio may be in it already", point.spec.name);
        let help = "a ratio is multiplied once: give the point the scale of its register (\"0.01\"), or leave `multiplier` out";
        context.sink.error(code::CONFLICT, found.span.clone(), message, help);
    }
    if !points.is_empty() && !points.iter().any(|point| point.billing) {
        let help = "name what bills are made of: billing = [\"import_energy\"]";
        context.sink.error(
            code::CONFLICT,
            span,
            "the device has no billing point, and so needs no [device.meter]",
            help,
        );
    }
    context.end(keys);
    Some(MeterConfig {
        serial,
        multiplier: multiplier.map(|found| found.value),
        serial_point,
        no_freezes: freezes.is_some_and(|found| !found.value),
        load_every,
    })
}

/// Reads how often the meter records its load.
fn load_records(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, points: &[PointConfig]) -> Option<Duration> {
    const EACH: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(3600);
    let found = duration(keys, "load_records", EACH)?;
    let every = found.value;
    if every.subsec_nanos() != 0 || every.as_secs() % 60 != 0 || 3600 % every.as_secs() != 0 {
        let message = format!("an hour does not divide into {}", duration_text(every));
        let help = "write how often the meter is set to record, for example load_records = \"15m\"";
        keys.error(Rule::BadValue, found.span, message, help);
        return None;
    }
    if !points.is_empty() && !points.iter().any(|point| is_recorded(&point.spec)) {
        let help = "load records are of meters of DL/T 645-2007, and have totals of energy, voltages, currents, powers, \
                    power factors, frequency and demands";
        context.sink.error(code::CONFLICT, found.span, "no point of the device is in a load record", help);
        return None;
    }
    Some(every)
}

fn is_recorded(spec: &PointSpec) -> bool {
    spec.dlt645().is_some_and(|place| item_of(place).is_some())
}

/// Notes billing points that cannot be kept track of.
pub(super) fn check_points(context: &mut Context<'_>, points: &[PointConfig], span: &Range<usize>) {
    let billing = || points.iter().filter(|point| point.billing);
    if billing().count() > MOST_REGISTERS {
        let message =
            format!("a device has at most {MOST_REGISTERS} billing points, this one has {}", billing().count());
        context.sink.error(code::BILLING, span.clone(), message, "leave out what no bill is made of");
    }
    for point in billing() {
        let taken = |remark: &&str| {
            let name = format!("{}.{remark}", point.spec.name);
            points.iter().any(|other| *other.spec.name == *name)
        };
        if point.spec.name.len() > MOST_CHARACTERS {
            let message = format!("the name of the billing point `{}` is too long", point.spec.name);
            context.sink.error(code::BILLING, span.clone(), message, "58 characters are left beside `.flags`");
        } else if let Some(remark) = REMARKS.into_iter().find(taken) {
            let name = &point.spec.name;
            let message = format!("`{name}.{remark}` is where the {remark} of `{name}` go");
            context.sink.error(code::DUPLICATE, span.clone(), message, "give the point another name");
        }
    }
}

/// Reads `[[reading]]` and `[[balance]]`, and gathers what is said of meters.
pub(super) fn read(
    context: &mut Context<'_>,
    (readings, balances): (Vec<At<'_, '_>>, Vec<At<'_, '_>>),
    catalog: &Catalog,
    devices: Devices<'_>,
) -> BillingSetup {
    let meters = (0u32..).map(DeviceIx).zip(devices.0).filter_map(|(ix, device)| meter_spec(ix, device)).collect();
    let mut setup = BillingSetup { meters, ..BillingSetup::default() };
    for (table, span) in readings {
        if setup.readings.len() == MOST_READINGS {
            let message = format!("a site has at most {MOST_READINGS} fixed-clock readings");
            context.sink.error(code::BAD_VALUE, span, message, "put devices of one time into one [[reading]]");
            break;
        }
        if let Some(reading) = reading(context, (table, span), catalog, &setup) {
            setup.readings.push(reading);
        }
    }
    for at in balances {
        if let Some(balance) = balance(context, at, devices, &setup) {
            setup.balances.push(balance);
        }
    }
    setup
}

fn meter_spec(device: DeviceIx, config: &Device) -> Option<MeterSpec> {
    let points = (0u16..).map(PointIx).zip(&config.points).filter(|(_, point)| point.billing);
    let registers: Vec<RegisterSpec> = points.map(|(ix, point)| register_spec(ix, point)).collect();
    if registers.is_empty() {
        return None;
    }
    let meter = config.meter.as_deref().cloned().unwrap_or_default();
    let is_dlt645 = matches!(config.station, Station::Dlt645(_));
    Some(MeterSpec {
        device,
        registers,
        serial: meter.serial,
        multiplier: meter.multiplier,
        serial_point: meter.serial_point,
        freezes: is_dlt645 && !meter.no_freezes,
        load: meter.load_every.map(|every| LoadSpec { every, points: recorded(config) }),
        ratio_in_scale: config.points.iter().any(|point| point.billing && !is_plain_scale(&point.spec)),
    })
}

/// The points that load records of a meter have.
fn recorded(config: &Device) -> Vec<(PointIx, Name)> {
    let points = (0u16..).map(PointIx).zip(&config.points).filter(|(_, point)| is_recorded(&point.spec));
    points.map(|(ix, point)| (ix, point.spec.name.clone())).collect()
}

fn register_spec(ix: PointIx, point: &PointConfig) -> RegisterSpec {
    let said = point.register.as_deref().copied().unwrap_or_default();
    let (counter, rollover) = match &point.spec.place {
        Place::Dlt645(place) => match place.format {
            // Signed energies count both ways, and a value with a time is a demand.
            Format::Number { bytes, places, signed } => {
                let counter = !signed && place.item_bytes == place.format.bytes();
                let digits = 10i128.checked_pow(2 * u32::from(bytes));
                let exponent = i8::try_from(places).ok().map(|places| -places);
                let end = digits.zip(exponent).map(|(mantissa, exponent)| Decimal { mantissa, exponent });
                (counter, end.filter(|_| counter))
            }
            Format::Word { .. }
            | Format::Minute
            | Format::Date
            | Format::Time
            | Format::Digits { .. }
            | Format::Text { .. } => (false, None),
        },
        Place::Modbus(_) | Place::Own { .. } => (true, None),
        Place::Osdp(_) | Place::Uhppote(_) => (false, None),
        Place::Cjt188(place) => (place.field.is_number(), None),
    };
    RegisterSpec {
        point: ix,
        name: point.spec.name.clone(),
        counter: said.counter.unwrap_or(counter),
        rollover: said.rollover.or(rollover),
        max_per_hour: said.max_per_hour,
    }
}

/// True where the scale of a point only places the decimal point.
fn is_plain_scale(spec: &PointSpec) -> bool {
    let Some(point) = spec.modbus() else { return true };
    let mut mantissa = point.scale.mantissa;
    while mantissa != 0 && mantissa % 10 == 0 {
        mantissa /= 10;
    }
    mantissa == 1
}

fn reading(
    context: &mut Context<'_>,
    (table, span): At<'_, '_>,
    catalog: &Catalog,
    setup: &BillingSetup,
) -> Option<ReadingSpec> {
    let mut keys = Keys::new(table, span.clone());
    let name = required_name(&mut keys, "name", "what it is called in records, for example name = \"daily\"");
    if let Some(name) = name.as_ref().filter(|name| setup.readings.iter().any(|one| one.name == name.value)) {
        let message = format!("there is another reading `{}` above", name.value);
        context.sink.error(code::DUPLICATE, name.span.clone(), message, "give it a name of its own");
    }
    let at = at_key(&mut keys);
    let monthly = keys.choice("every", &[("day", false), ("month", true)]).is_some_and(|found| found.value);
    let day = keys.integer("day", 1..=28);
    if let (Some(day), false) = (&day, monthly) {
        keys.error(Rule::Conflict, day.span.clone(), "`day` is for every = \"month\"", "leave it out");
    }
    let day = day.and_then(|found| u8::try_from(found.value).ok()).unwrap_or(1);
    let wait = duration(&mut keys, "wait", WAITS).map_or(WAIT, |found| found.value);
    let on = keys.table("on").map(|at| {
        let help =
            "a device is selected when everything in `on` holds of it; without the key it is all with billing points";
        select::devices(context, at, catalog, ("`on` selects no device", help))
    });
    let mut points = Vec::new();
    for value in keys.list("points") {
        match value.get_ref().as_str() {
            Some(text) => points.push((text, value.span())),
            None => keys.error(Rule::WrongType, value.span(), "`points` is a list of names in quotes", ""),
        }
    }
    let of: Vec<(DeviceIx, Vec<PointIx>)> = setup
        .meters
        .iter()
        .filter(|meter| on.as_ref().is_none_or(|devices| devices.contains(&meter.device)))
        .map(|meter| {
            let wanted =
                meter.registers.iter().filter(|r| points.is_empty() || points.iter().any(|(name, _)| r.name == **name));
            (meter.device, wanted.map(|register| register.point).collect::<Vec<_>>())
        })
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let known: Vec<&str> = setup.meters.iter().flat_map(|meter| &meter.registers).map(|r| r.name.as_str()).collect();
    for (point, span) in &points {
        if !known.contains(point) {
            let message = format!("no device has a billing point `{point}`");
            context.sink.error(code::UNKNOWN_POINT, span.clone(), message, did_you_mean(point, &known));
        }
    }
    if of.is_empty() && points.iter().all(|(point, _)| known.contains(point)) {
        let help = "list what bills are made of at the devices: billing = [\"import_energy\"]";
        context.sink.error(code::UNREACHABLE, span, "the reading reads no billing point", help);
    }
    context.end(keys);
    let every = if monthly { Every::Month(day) } else { Every::Day };
    Some(ReadingSpec { name: name?.value, every, at: at?, wait, of })
}

/// Hour and minute of the key `at`; midnight where it is missing.
fn at_key(keys: &mut Keys<'_, '_>) -> Option<(u8, u8)> {
    let Some(found) = keys.text("at") else { return (!keys.has("at")).then_some((0, 0)) };
    let parsed = found.value.split_once(':').and_then(|(hour, minute)| {
        let two = |text: &str| if text.len() == 2 { text.parse::<u8>().ok() } else { None };
        Some((two(hour)?, two(minute)?)).filter(|(hour, minute)| *hour < 24 && *minute < 60)
    });
    if parsed.is_none() {
        let message = format!("`at` = {:?} is no time of the day", found.value);
        keys.error(Rule::BadValue, found.span, message, "write hours and minutes of the site's zone: at = \"00:00\"");
    }
    parsed
}

fn balance(
    context: &mut Context<'_>,
    (table, span): At<'_, '_>,
    devices: Devices<'_>,
    setup: &BillingSetup,
) -> Option<BalanceSpec> {
    let mut keys = Keys::new(table, span.clone());
    let id = required_name(&mut keys, "id", "what it is called in the account, for example id = \"building-3\"");
    if let Some(id) = id.as_ref().filter(|id| setup.balances.iter().any(|one| one.id == id.value)) {
        let message = format!("there is another balance `{}` above", id.value);
        context.sink.error(code::DUPLICATE, id.span.clone(), message, "give it a name of its own");
    }
    for key in ["master", "submeters"] {
        if !keys.has(key) {
            keys.missing(key, "billing points, for example master = \"meter-main/import_energy\"");
        }
    }
    let billed = |context: &mut Context<'_>, text: &str, span: &Range<usize>| {
        let (at, config) = devices.point(context, text, span)?;
        if !config.billing {
            let message = format!("`{text}` is no billing point");
            context.sink.error(code::CONFLICT, span.clone(), message, "add it to the device's list `billing`");
            return None;
        }
        Some((at, config.spec.unit.clone()))
    };
    let master = keys.text("master").and_then(|found| billed(context, found.value, &found.span));
    let mut submeters = Vec::new();
    let mut sound = true;
    for value in keys.list("submeters") {
        let Some(text) = value.get_ref().as_str() else {
            keys.error(Rule::WrongType, value.span(), "`submeters` is a list of \"DEVICE/POINT\"", "");
            continue;
        };
        let Some((at, unit)) = billed(context, text, &value.span()) else {
            sound = false;
            continue;
        };
        if let Some((master, of)) = &master {
            if unit != *of {
                let message = format!("`{text}` counts {unit:?} and the master {of:?}: they cannot be subtracted");
                context.sink.error(
                    code::CONFLICT,
                    value.span(),
                    message,
                    "units are never converted on billing points",
                );
            }
            if at == *master || submeters.contains(&at) {
                let message = format!("`{text}` is there twice");
                context.sink.error(code::DUPLICATE, value.span(), message, "each register counts once");
            }
        }
        submeters.push(at);
    }
    if submeters.is_empty() && keys.has("submeters") && sound {
        keys.error(Rule::BadValue, span, "the balance has no submeter", "name at least one");
    }
    context.end(keys);
    Some(BalanceSpec { id: id?.value, master: master?.0, submeters })
}
