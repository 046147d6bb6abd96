//! What the box finds by itself, without a rule: silent devices and buses, and trouble of its own.

use std::collections::BTreeSet;

use gatehouse_core::{DeviceIx, Stamp, Trust};

use super::latest::Latest;
use crate::alarm::{AlarmSource, Alarms};
use crate::catalog::{Catalog, PointRef};
use crate::words::{AlarmId, Condition};

/// The name of the box among alarm sources.
pub const BOX: &str = "box";
/// The name of the supply among alarm sources.
pub const MAINS: &str = "mains";

/// How the box is; `None` where it cannot be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BoxHealth {
    /// Free share of the data folder's file system, 0 to 1.
    pub disk_free: Option<f64>,
    /// Available share of memory, 0 to 1.
    pub memory_free: Option<f64>,
    /// The hottest sensor, °C.
    pub temperature_c: Option<f64>,
    /// Used share of the room for readings, 0 to 1.
    pub spool_used: Option<f64>,
    /// Days until the first certificate of the link ends.
    pub certificate_days: Option<i64>,
    /// Days until the calendar of holidays ends.
    pub calendar_days: Option<i32>,
    /// What is wrong with the store; `""` for nothing.
    pub store_trouble: String,
    /// Why nobody can be let in by a credential; `""` for nothing.
    pub credentials_trouble: String,
    /// Which contacts and relays of the box cannot be used, and why; `""` for none.
    pub contact_trouble: String,
}

/// When the box's state is worth an alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxLimits {
    /// Least free share of the disk.
    pub disk_free: f64,
    /// Least available share of memory.
    pub memory_free: f64,
    /// Highest temperature, °C.
    pub temperature_c: f64,
    /// Highest used share of the room for readings.
    pub spool_used: f64,
    /// Fewest days that a certificate has left.
    pub certificate_days: i64,
    /// Fewest days that the calendar has left.
    pub calendar_days: i32,
}

impl Default for BoxLimits {
    fn default() -> Self {
        BoxLimits {
            disk_free: 0.05,
            memory_free: 0.08,
            temperature_c: 80.0,
            spool_used: 0.8,
            certificate_days: 30,
            calendar_days: 60,
        }
    }
}

/// The input that tells that the supply is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Mains {
    /// A flag, or a number that is not 0 when it is on.
    pub at: PointRef,
    /// The value that means that the supply is gone.
    pub lost_when: bool,
    /// The devices that fall silent with it; `None`: all.
    pub silences: Option<BTreeSet<DeviceIx>>,
}

impl Mains {
    fn silences(&self, device: DeviceIx) -> bool {
        self.silences.as_ref().is_none_or(|devices| devices.contains(&device))
    }
}

pub(super) fn id(class: &str, source: &str) -> AlarmId {
    AlarmId { class: class.to_owned(), source: source.to_owned() }
}

/// What explains that a device is silent: its bus, and the supply.
pub(super) fn explains(catalog: &Catalog, mains: Option<&Mains>, device: DeviceIx) -> Vec<AlarmId> {
    let bus = catalog.device(device).and_then(|config| catalog.buses.get(config.bus?));
    let bus = bus.map(|bus| id("bus_offline", bus));
    let mains = mains.filter(|mains| mains.silences(device)).map(|_| id("mains_lost", MAINS));
    bus.into_iter().chain(mains).collect()
}

/// The alarms that need no rule.
pub(super) fn sources(catalog: &Catalog, mains: Option<&Mains>) -> Vec<AlarmSource> {
    let source = |id, device, parents| AlarmSource { id, device, parents, data_parents: Vec::new() };
    let mut sources = Vec::new();
    for (ix, device) in catalog.devices_with_ix() {
        sources.push(source(id("device_offline", &device.id), Some(ix), explains(catalog, mains, ix)));
    }
    for (at, bus) in catalog.buses.iter().enumerate() {
        let mut here = catalog.devices_with_ix().filter(|(_, device)| device.bus == Some(at)).peekable();
        let all = here.peek().is_some() && here.all(|(ix, _)| mains.is_some_and(|mains| mains.silences(ix)));
        let parents = if all { vec![id("mains_lost", MAINS)] } else { Vec::new() };
        sources.push(source(id("bus_offline", bus), None, parents));
        sources.push(source(id("foreign_master", bus), None, Vec::new()));
    }
    if mains.is_some() {
        sources.push(source(id("mains_lost", MAINS), mains.map(|mains| mains.at.device), Vec::new()));
    }
    let own = [
        "disk_full",
        "memory_low",
        "too_hot",
        "spool_filling",
        "certificate_ending",
        "calendar_ending",
        "store_trouble",
        "credentials_unusable",
        "contact_lost",
        "clock_unset",
        "link_down",
    ];
    sources.extend(own.map(|class| source(id(class, BOX), None, Vec::new())));
    sources
}

/// Tells the alarms how the box is.
pub(super) fn tell_box(alarms: &mut Alarms, now: Stamp, health: &BoxHealth, limits: &BoxLimits) {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut tell = |class: &str, active: Option<bool>, message: String| {
        alarms.handle_condition(now, &Condition { id: id(class, BOX), active, device: None, message });
    };
    let (disk, memory) = (health.disk_free, health.memory_free);
    let text = |of: Option<f64>, what: &str| of.map_or_else(String::new, |share| format!("{what}: {}", percent(share)));
    tell("disk_full", disk.map(|free| free < limits.disk_free), text(disk, "free on the disk of the data folder"));
    tell("memory_low", memory.map(|free| free < limits.memory_free), text(memory, "memory available"));
    let hot = health.temperature_c;
    let told = hot.map_or_else(String::new, |celsius| format!("the box has {celsius:.0} °C"));
    tell("too_hot", hot.map(|celsius| celsius > limits.temperature_c), told);
    let spool = health.spool_used;
    tell("spool_filling", spool.map(|used| used > limits.spool_used), text(spool, "room for readings used"));
    let days = health.certificate_days;
    let told = days.map_or_else(String::new, |days| format!("a certificate of the link ends in {days} days"));
    tell("certificate_ending", days.map(|days| days < limits.certificate_days), told);
    let days = health.calendar_days;
    let told = days.map_or_else(String::new, |days| format!("the calendar of holidays ends in {days} days"));
    tell("calendar_ending", Some(days.is_some_and(|days| days < limits.calendar_days)), told);
    tell("store_trouble", Some(!health.store_trouble.is_empty()), health.store_trouble.clone());
    let credentials = &health.credentials_trouble;
    tell("credentials_unusable", Some(!credentials.is_empty()), credentials.clone());
    tell("contact_lost", Some(!health.contact_trouble.is_empty()), health.contact_trouble.clone());
    tell("clock_unset", Some(now.trust == Trust::Unset), "the box does not know the time".to_owned());
}

/// Tells the alarms whether a device answers.
pub(super) fn tell_device(
    alarms: &mut Alarms,
    now: Stamp,
    catalog: &Catalog,
    device: DeviceIx,
    online: bool,
    why: &str,
) {
    let Some(config) = catalog.device(device) else { return };
    let name = if config.title.is_empty() { config.id.as_str() } else { &config.title };
    let message = format!("{name} does not answer ({why})");
    let id = id("device_offline", &config.id);
    alarms.handle_condition(now, &Condition { id, active: Some(!online), device: Some(device), message });
}

/// Tells the alarms whether another master asks on a bus.
pub(super) fn tell_foreign(alarms: &mut Alarms, now: Stamp, catalog: &Catalog, bus: usize, there: bool) {
    let Some(name) = catalog.buses.get(bus) else { return };
    let message = format!("on the bus {name} are requests that this box did not send");
    let id = id("foreign_master", name);
    alarms.handle_condition(now, &Condition { id, active: Some(there), device: None, message });
}

/// Tells the alarms whether a bus is alive: its port is there, and not all of its devices are silent.
pub(super) fn tell_bus(
    alarms: &mut Alarms,
    now: Stamp,
    (catalog, latest): (&Catalog, &Latest),
    bus: usize,
    port: Option<bool>,
) {
    let Some(name) = catalog.buses.get(bus) else { return };
    let here = catalog.devices_with_ix().filter(|(_, device)| device.bus == Some(bus));
    let states: Vec<Option<bool>> = here.map(|(ix, _)| latest.is_online(ix)).collect();
    let silent = states.len() > 1 && states.iter().all(|state| *state == Some(false));
    let (active, message) = match port {
        Some(false) => (true, format!("the port of the bus {name} is not there")),
        _ => (silent, format!("none of the {} devices on the bus {name} answers", states.len())),
    };
    alarms
        .handle_condition(now, &Condition { id: id("bus_offline", name), active: Some(active), device: None, message });
}
