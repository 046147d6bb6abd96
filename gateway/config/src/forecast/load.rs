//! The load of a bus: wire time, silences and turnaround of every planned request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatehouse_drivers::line::settings::{Characters, Medium};
use gatehouse_drivers::summary::StepSummary;

use crate::driver::{cost, plan_summary};
use crate::site::{Bus, Device, Site};

/// What is to be expected of a bus.
#[derive(Debug, Clone, PartialEq)]
pub struct BusForecast {
    /// Its devices, in the order of the site.
    pub devices: Vec<DeviceForecast>,
    /// Time to ask everything once.
    pub round: Duration,
    /// What devices whose characters differ cost the bus; `None` where all are alike.
    pub changes: Option<Changes>,
    /// Share of the time that the bus is busy, 1.0 for all of it; more cannot be done, and polls are then skipped.
    pub load: f64,
    /// How many devices are taken as dead in the next two figures: those whose loss costs most.
    pub dead: usize,
    /// The load with these devices dead, once they are known to be.
    pub load_with_dead: f64,
    /// How long the bus is held up, in all, until they are known to be dead.
    pub hold_up: Duration,
}

/// The cost of changing a port's characters between devices that differ in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Changes {
    /// How many different settings the devices have, and with it the changes in one round.
    pub settings: usize,
    /// What one change takes.
    pub guard: Duration,
    /// Changes a second, at most: devices of like settings are asked one after the other.
    pub per_second: f64,
    /// Share of the bus's time.
    pub load: f64,
}

/// What is to be expected of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceForecast {
    /// Position in the site's list of devices.
    pub device: usize,
    /// The requests of all its groups.
    pub requests: Vec<RequestForecast>,
    /// Share of its bus's time.
    pub load: f64,
}

/// One planned request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestForecast {
    /// What is read, with which points.
    pub step: StepSummary,
    /// How often.
    pub interval: Duration,
    /// From its beginning to the next request's earliest beginning.
    pub time: Duration,
}

const SECOND: Duration = Duration::from_secs(1);

/// Share of a bus's time that probes of dead devices may take from the others (the line's own bound).
const PROBE_SHARE: f64 = 0.02;

/// Predicts the bus at this position with `dead` dead devices. `None` when the site has no such bus.
pub fn bus(site: &Site, position: usize, dead: usize) -> Option<BusForecast> {
    let bus = site.buses.get(position)?;
    let here = site.devices.iter().enumerate().filter(|(_, device)| device.bus == Some(position));
    let devices: Vec<DeviceForecast> = here.map(|(at, found)| device(bus, found, at)).collect();
    let requests = || devices.iter().flat_map(|device| &device.requests);
    let changes = changes(site, bus, &devices);
    let guards = changes.map_or(Duration::ZERO, |changes| {
        changes.guard.saturating_mul(u32::try_from(changes.settings).unwrap_or(u32::MAX))
    });
    let round = requests().map(|request| request.time).sum::<Duration>() + guards;
    let load = devices.iter().map(|device| device.load).sum::<f64>() + changes.map_or(0.0, |changes| changes.load);
    let mut costs: Vec<(f64, Duration)> = devices.iter().map(|forecast| dead_cost(site, bus, forecast)).collect();
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    costs.truncate(dead);
    let change: f64 = costs.iter().map(|(change, _)| change).sum();
    let hold_up = costs.iter().map(|(_, hold_up)| *hold_up).sum();
    let dead = costs.len();
    Some(BusForecast { devices, round, changes, load, dead, load_with_dead: load + change, hold_up })
}

/// Bounds how often the port changes: once for each settings and interval where all devices have one interval, since they
/// are asked in that order; otherwise to and fro for each poll that is not of the settings that are polled most.
fn changes(site: &Site, bus: &Bus, devices: &[DeviceForecast]) -> Option<Changes> {
    let mut rates: BTreeMap<Option<Characters>, f64> = BTreeMap::new();
    let mut intervals = BTreeSet::new();
    let mut guard = bus.line.guard;
    for device in devices.iter().filter_map(|forecast| site.devices.get(forecast.device)) {
        guard = guard.max(bus.wire_of(device)?.silence());
        let rate = rates.entry(device.characters).or_default();
        for group in &device.groups {
            let interval = group.interval.min(group.interval_when(true));
            intervals.insert(interval);
            *rate += share(SECOND, interval);
        }
    }
    let settings = rates.len();
    if settings < 2 {
        return None;
    }
    let per_second = match intervals.first() {
        Some(interval) if intervals.len() == 1 => {
            share(SECOND * u32::try_from(settings).unwrap_or(u32::MAX), *interval)
        }
        _ => {
            let all: f64 = rates.values().sum();
            let most = rates.values().copied().fold(0.0, f64::max);
            all.min(2.0 * (all - most))
        }
    };
    Some(Changes { settings, guard, per_second, load: per_second * guard.as_secs_f64() })
}

fn device(bus: &Bus, device: &Device, at: usize) -> DeviceForecast {
    let cost = cost(bus, device);
    let steps = plan_summary(bus, device);
    let mut requests = Vec::new();
    for (group, steps) in device.groups.iter().zip(steps) {
        for step in steps {
            let bytes = u64::try_from(step.request_bytes + step.reply_bytes).unwrap_or(u64::MAX);
            let time = Duration::from_nanos(cost.per_request_ns + cost.per_byte_ns.saturating_mul(bytes));
            // The busier of both modes: the bus has to bear it.
            let interval = group.interval.min(group.interval_when(true));
            requests.push(RequestForecast { step, interval, time });
        }
    }
    let load = requests.iter().map(|request| share(request.time, request.interval)).sum();
    DeviceForecast { device: at, requests, load }
}

fn share(time: Duration, interval: Duration) -> f64 {
    if interval.is_zero() { 0.0 } else { time.as_secs_f64() / interval.as_secs_f64() }
}

/// How a device's death changes the load, and what it takes until the line knows of it.
fn dead_cost(site: &Site, bus: &Bus, forecast: &DeviceForecast) -> (f64, Duration) {
    let device = site.devices.get(forecast.device);
    let wait = device.and_then(|device| device.timeout).unwrap_or(bus.line.timeout_ceiling);
    let longest = forecast.requests.iter().map(|request| request.time).max().unwrap_or_default();
    let probe = wait + longest.saturating_sub(bus.turnaround);
    // Without a transaction number a late reply must be waited out, on a serial line for as long again at most.
    let attempts = 1 + u32::from(bus.line.retries);
    let polls = u32::from(bus.line.lost_after_polls);
    let settle = if bus.line.medium == Medium::Tcp { Duration::ZERO } else { bus.turnaround };
    let probes = share(probe, bus.line.backoff_max).min(PROBE_SHARE);
    (probes - forecast.load, (probe + settle) * attempts * polls)
}
