//! Readings that can be billed: registers that only go forward, meters with a history, readings at fixed times.
//!
//! A value is kept and sent as the meter gave it. What is conspicuous about it is a [`Flag`] beside it and an alarm;
//! nothing is corrected, invented or interpolated. A value that does not go on from the one before is not accepted as
//! the next one to compare with, so that it stays conspicuous until somebody says what happened ([`Billing::swap`]).
//!
//! | kept under | what |
//! |---|---|
//! | `billing/state/DEVICE` | where its registers stand; at most five minutes old, at once when a flag comes |
//! | `billing/meter/DEVICE/VERSION` | one [`Installation`] |
//! | `billing/owed/DEVICE` | which fixed-clock readings it owes |
//! | `billing/load/DEVICE` | when it was read last, and which load records it owes |
//! | `billing/due/READING` | the last day on which a reading was due |
//! | `billing/days` | the days that readings are kept of, at most [`MOST_DAYS`] |
//! | `reading/DAY/READING/DEVICE` | one [`FixedReading`]; not taken back at a start |
//!
//! The files: `spec` what the site file says, `judge` one value after another, `meter` one device, `calendar` when
//! readings are due, `fetch` who is asked when, `load` what was recorded while nobody read, `moments` when meters record,
//! `people` swaps and readings by hand, `statement` a month's account.

mod calendar;
mod fetch;
mod judge;
mod load;
mod meter;
mod moments;
mod owed;
mod people;
mod record;
mod spec;
pub mod statement;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse_core::{DeviceIx, Lane, Mono, PointIx, PointReading, Stamp, Trust};
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub use judge::{Flag, flags_text};
pub use meter::MOST_INSTALLATIONS;
pub use people::{Entry, Given, MeterError, Swap};
pub use record::{FixedReading, Installation, READINGS, REMARKS, Source, Taken};
pub use spec::{
    BalanceSpec, BillingSetup, Every, LoadSpec, MOST_READINGS, MOST_REGISTERS, MeterSpec, ReadingSpec, RegisterSpec,
};

use crate::catalog::Catalog;
use crate::effect::{ActId, Effect, Effects};
use crate::words::{AlarmId, Condition};
use fetch::{Fetch, Turn};
use load::{LoadOwed, Span};
use meter::{Accepted, Meter};
use owed::{Due, MOST_OWED, Owed};

/// Begins the keys of all that the machine takes back at a start.
const PREFIX: &str = "billing/";
const DAYS: &str = "billing/days";
/// Days of which fixed-clock readings are kept on the box: 13 months.
pub const MOST_DAYS: usize = 400;
/// What registers stand at is kept this often.
const KEEP: Duration = Duration::from_secs(300);
/// The longest time without a look at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// A reading is missing.
const READING_MISSED: &str = "reading_missed";
/// The site file and the record of an installation differ.
const METER_RECORD: &str = "meter_record";

/// The classes of alarms that each device with billing points has.
pub const CLASSES: [&str; 7] =
    ["meter_rollover", "meter_reset", "meter_regression", "meter_jump", "meter_swapped", READING_MISSED, METER_RECORD];

/// Everything that bills are made of.
///
/// Call `restore` with what was kept, then [`Billing::handle_start`], then `handle_*` with what happens, in the order of
/// time. After each, drain [`Billing::poll_effect`] and [`Billing::poll_condition`], and come back at
/// [`Billing::poll_timeout`].
#[derive(Debug)]
pub struct Billing {
    readings: Vec<ReadingSpec>,
    zone: TimeZone,
    meters: Vec<Meter>,
    by_device: BTreeMap<DeviceIx, usize>,
    /// The last day of each reading that was due.
    due: Vec<Option<Date>>,
    days: BTreeSet<String>,
    turns: BTreeMap<Option<usize>, Turn>,
    fetches: BTreeMap<ActId, Fetch>,
    /// Acts that fetch load records, each with its meter and what it was asked for.
    loads: BTreeMap<ActId, (usize, Span)>,
    next_act: ActId,
    keep_at: Option<Mono>,
    wake: Option<Mono>,
    effects: Effects,
    conditions: VecDeque<Condition>,
}

impl Billing {
    /// The meters of a site; its acts are numbered from `first` on.
    pub fn new(setup: &BillingSetup, catalog: &Catalog, zone: TimeZone, first: ActId) -> Self {
        let known = setup.meters.iter().filter_map(|spec| Some((spec, catalog.device(spec.device)?)));
        let meters: Vec<Meter> = known.map(|(spec, device)| Meter::new(spec.clone(), device.id.to_string())).collect();
        let mut turns: BTreeMap<Option<usize>, Turn> = BTreeMap::new();
        for (ix, meter) in meters.iter().enumerate() {
            let bus = catalog.device(meter.spec.device).and_then(|device| device.bus);
            turns.entry(bus).or_default().meters.push(ix);
        }
        Billing {
            readings: setup.readings.clone(),
            zone,
            by_device: meters.iter().enumerate().map(|(ix, meter)| (meter.spec.device, ix)).collect(),
            meters,
            due: vec![None; setup.readings.len()],
            days: BTreeSet::new(),
            turns,
            fetches: BTreeMap::new(),
            loads: BTreeMap::new(),
            next_act: first,
            keep_at: None,
            wake: None,
            effects: Effects::default(),
            conditions: VecDeque::new(),
        }
    }

    /// Takes back what was kept under a key. False when it cannot be understood. What devices and readings that are no
    /// longer configured have kept stays where it is; load records that are no longer wanted of a meter are forgotten.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(PREFIX) else { return false };
        if key == DAYS {
            return serde_json::from_slice(value).map(|days| self.days = days).is_ok();
        }
        let Some((kind, name)) = rest.split_once('/') else { return false };
        let id = name.split_once('/').map_or(name, |(id, _)| id);
        let meter = self.meters.iter_mut().find(|meter| meter.id == id);
        match (kind, meter) {
            ("state", Some(meter)) => {
                let Ok(kept) = serde_json::from_slice::<BTreeMap<String, Accepted>>(value) else { return false };
                for (spec, register) in meter.spec.registers.iter().zip(&mut meter.registers) {
                    register.last = kept.get(&*spec.name).copied();
                    // Nobody knows what answered while nothing was read.
                    register.silent = register.last.is_some();
                }
                true
            }
            ("meter", Some(meter)) => serde_json::from_slice(value)
                .map(|installation: Installation| {
                    meter.history.push(installation);
                    meter.history.sort_by_key(|one| one.version);
                })
                .is_ok(),
            ("owed", Some(meter)) => serde_json::from_slice(value).map(|owed| meter.owed = owed).is_ok(),
            // What nobody wants any more would be asked for by a later site file, of a time long past.
            ("load", Some(meter)) if meter.spec.load.is_none() => {
                self.effects.forget(key.to_owned());
                true
            }
            ("load", Some(meter)) => serde_json::from_slice(value)
                // Nobody read it while the box was off.
                .map(|owed| meter.load = LoadOwed { silent: true, ..owed })
                .is_ok(),
            ("due", _) => match std::str::from_utf8(value).ok().and_then(|day| day.trim_matches('"').parse().ok()) {
                Some(day) => {
                    let at = self.readings.iter().position(|reading| reading.name == *name);
                    if let Some(slot) = at.and_then(|at| self.due.get_mut(at)) {
                        *slot = Some(day);
                    }
                    true
                }
                None => false,
            },
            ("state" | "meter" | "owed" | "load", None) => true,
            _ => false,
        }
    }

    /// Begins: to be called once, after what was kept was taken back.
    pub fn handle_start(&mut self, now: Stamp) {
        for ix in 0..self.meters.len() {
            self.begin_from_site_file(now, ix);
        }
        self.look(now);
    }

    /// Readings of a device, of one moment. Gives the flags of its billing points that have any.
    pub fn handle_readings(
        &mut self,
        now: Stamp,
        device: DeviceIx,
        readings: &[PointReading],
    ) -> Vec<(PointIx, Vec<Flag>)> {
        let Some(&ix) = self.by_device.get(&device) else { return Vec::new() };
        let flagged = self.take(now, ix, readings);
        self.keep_later(now, ix);
        self.note_seen(now, ix, readings);
        flagged
    }

    /// A device answers, or no longer.
    pub fn handle_device_state(&mut self, device: DeviceIx, online: bool) {
        let Some(&ix) = self.by_device.get(&device).filter(|_| !online) else { return };
        if let Some(meter) = self.meters.get_mut(ix) {
            meter.silence();
        }
        self.note_silence(ix);
    }

    /// Time went on, or the clock was set.
    pub fn handle_timeout(&mut self, now: Stamp) {
        if self.keep_at.is_some_and(|at| at <= now.mono) {
            self.keep_at = None;
            for ix in 0..self.meters.len() {
                self.keep_state(ix);
            }
        }
        self.look(now);
    }

    /// When to call [`Billing::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.wake.into_iter().chain(self.keep_at).min()
    }

    /// Takes the next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// Takes the next condition, of one of [`CLASSES`].
    pub fn poll_condition(&mut self) -> Option<Condition> {
        self.conditions.pop_front()
    }

    /// Days of which more is kept than there is room for, the oldest first.
    pub fn days_to_drop(&self) -> Vec<String> {
        self.days.iter().take(self.days.len().saturating_sub(MOST_DAYS)).cloned().collect()
    }

    /// The readings of a day are deleted.
    pub fn handle_dropped(&mut self, day: &str) {
        if self.days.remove(day) {
            self.effects.keep(DAYS, &self.days);
        }
    }

    /// The installations of a device, ascending; `None` for one without billing points.
    pub fn installations(&self, device: DeviceIx) -> Option<&[Installation]> {
        self.by_device.get(&device).and_then(|ix| self.meters.get(*ix)).map(|meter| meter.history.as_slice())
    }

    /// All devices with billing points.
    pub fn meters(&self) -> impl Iterator<Item = (&MeterSpec, &[Installation])> {
        self.meters.iter().map(|meter| (&meter.spec, meter.history.as_slice()))
    }

    /// The last accepted value of each register of a device, with what is conspicuous about its last reading.
    pub fn standing(&self, device: DeviceIx) -> Vec<(&RegisterSpec, Option<Taken>)> {
        let Some(meter) = self.by_device.get(&device).and_then(|ix| self.meters.get(*ix)) else { return Vec::new() };
        let taken = |register: &meter::Register| {
            let last = register.last?;
            let flags = register.flags.clone().unwrap_or_default();
            let at_us = record::believed(&last.at.into());
            Some(Taken { value: last.value, carried: last.carried, at_us, source: Source::Last, flags, raw: last.raw })
        };
        meter.spec.registers.iter().zip(meter.registers.iter().map(taken)).collect()
    }

    /// How many readings all meters owe.
    pub fn owed(&self) -> usize {
        self.meters.iter().map(|meter| meter.owed.dues.len()).sum()
    }

    fn take(&mut self, at: Stamp, ix: usize, readings: &[PointReading]) -> Vec<(PointIx, Vec<Flag>)> {
        let Some(meter) = self.meters.get_mut(ix) else { return Vec::new() };
        let flagged = meter.take(at, readings);
        let opened = std::mem::take(&mut meter.has_news);
        if opened {
            self.tell_installation(at, ix);
        }
        self.tell_flags(ix);
        // An opening is kept with where its register stands, and a rollover as soon as it is counted.
        if opened || flagged.iter().any(|(_, flags)| flags.contains(&Flag::Rollover)) {
            self.keep_state(ix);
        }
        flagged
    }

    fn tell_flags(&mut self, ix: usize) {
        let Some(meter) = self.meters.get_mut(ix) else { return };
        let mut changed = false;
        for (flag, holds) in meter.conditions().collect::<Vec<_>>() {
            let Some(holds) = holds else { continue };
            if meter.told.insert(flag.class(), holds) == Some(holds) {
                continue;
            }
            changed |= holds;
            let which = meter.spec.registers.iter().zip(&meter.registers);
            let which = which.filter(|(_, register)| register.flags.as_ref().is_some_and(|all| all.contains(&flag)));
            let which: Vec<&str> = which.map(|(spec, _)| spec.name.as_str()).take(4).collect();
            let message = format!("{}: {} of {}", meter.id, said(flag), which.join(", "));
            let message = if holds { message } else { format!("{}: no {} any more", meter.id, flag.as_str()) };
            self.conditions.push_back(condition(flag.class(), meter, holds, message));
        }
        if changed {
            self.keep_state(ix);
        }
    }

    fn tell(&mut self, ix: usize, class: &'static str, holds: bool, message: String) {
        let Some(meter) = self.meters.get_mut(ix) else { return };
        if meter.told.insert(class, holds) != Some(holds) {
            self.conditions.push_back(condition(class, meter, holds, message));
        }
    }

    fn keep_later(&mut self, now: Stamp, ix: usize) {
        if self.meters.get(ix).is_some_and(|meter| meter.is_dirty) {
            self.keep_at.get_or_insert(now.mono + KEEP);
        }
    }

    fn keep_state(&mut self, ix: usize) {
        let Some(meter) = self.meters.get_mut(ix).filter(|meter| meter.is_dirty) else { return };
        meter.is_dirty = false;
        let named = meter.spec.registers.iter().zip(&meter.registers);
        let kept: BTreeMap<&str, Accepted> =
            named.filter_map(|(spec, register)| Some((spec.name.as_str(), register.last?))).collect();
        self.effects.keep(format!("billing/state/{}", meter.id), &kept);
    }

    fn keep_owed(&mut self, ix: usize) {
        let Some(meter) = self.meters.get(ix) else { return };
        let key = format!("billing/owed/{}", meter.id);
        if meter.owed == Owed::default() { self.effects.forget(key) } else { self.effects.keep(key, &meter.owed) }
    }

    /// Keeps a reading and tells the core of it.
    fn keep_reading(&mut self, now: Stamp, reading: &FixedReading) {
        self.effects.keep(reading.key(), reading);
        self.effects.event(Lane::Audit, now, "meter_reading", reading);
        if self.days.insert(reading.day.clone()) {
            self.effects.keep(DAYS, &self.days);
        }
    }

    /// Keeps the latest installation and tells the core of it.
    fn tell_installation(&mut self, now: Stamp, ix: usize) {
        let Some(one) = self.meters.get_mut(ix).and_then(|meter| meter.history.last_mut()) else { return };
        one.revision += 1;
        self.effects.keep(format!("billing/meter/{}/{:06}", one.device, one.version), one);
        self.effects.event(Lane::Audit, now, "meter_installation", one);
    }

    /// Looks which readings are due, asks for what is owed, and says when to look again.
    fn look(&mut self, now: Stamp) {
        self.wake = None;
        if self.readings.is_empty() && self.meters.iter().all(|meter| meter.load.spans.is_empty()) {
            return;
        }
        self.wake_at(now, now.mono + LONGEST_SLEEP);
        if now.trust == Trust::Unset {
            return;
        }
        for at in 0..self.readings.len() {
            self.plan(now, at);
        }
        self.fetch(now);
    }

    fn wake_at(&mut self, now: Stamp, at: Mono) {
        let at = at.max(now.mono + Duration::from_millis(1));
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Notes what has become due of one reading.
    fn plan(&mut self, now: Stamp, at: usize) {
        let Some(spec) = self.readings.get(at) else { return };
        let Some(newest) = calendar::last_day(spec, now.wall, &self.zone) else { return };
        let before = self.due.get(at).copied().flatten();
        // A new reading begins with its next due, and after a clock that was years ahead as well.
        let mut day = before.filter(|day| *day <= newest).unwrap_or(newest);
        let most = i64::try_from(MOST_OWED).unwrap_or(0);
        let mut missed = Vec::new();
        while day < newest {
            let Some(next) = calendar::next_day(spec, day) else { break };
            if calendar::days_between(next, newest) < most {
                missed.push(next);
            }
            day = next;
        }
        let wait = i64::try_from(spec.wait.as_micros()).unwrap_or(i64::MAX);
        let name = spec.name.to_string();
        let devices: Vec<DeviceIx> = spec.of.iter().map(|(device, _)| *device).collect();
        let dues: Vec<Due> = missed
            .iter()
            .filter_map(|day| {
                let due = calendar::due_at(spec, *day, &self.zone)?;
                Some(Due::new(&name, day.to_string(), due.0, now.wall.0 - due.0 > wait))
            })
            .collect();
        let next = calendar::next_day(spec, newest).and_then(|day| calendar::due_at(spec, day, &self.zone));
        if let Some(next) = next {
            self.wake_at(now, until(now, next.0));
        }
        if before != Some(day) {
            if let Some(slot) = self.due.get_mut(at) {
                *slot = Some(day);
            }
            self.effects.keep(format!("billing/due/{name}"), &day.to_string());
        }
        if dues.is_empty() {
            return;
        }
        for ix in devices.iter().filter_map(|device| self.by_device.get(device).copied()).collect::<Vec<_>>() {
            let Some(meter) = self.meters.get_mut(ix) else { continue };
            meter.owed.dues.extend(dues.iter().cloned());
            meter.owed.dues.sort_by_key(|due| due.due_us);
            let over = meter.owed.dues.len().saturating_sub(MOST_OWED);
            let dropped: Vec<Due> = meter.owed.dues.drain(..over).collect();
            for due in dropped.into_iter().filter(|due| !due.is_gap) {
                self.tell_gap(now, ix, &due, "too_many_missed");
            }
            self.keep_owed(ix);
        }
    }
}

fn condition(class: &'static str, meter: &Meter, holds: bool, message: String) -> Condition {
    let id = AlarmId { class: class.to_owned(), source: meter.id.clone() };
    Condition { id, active: Some(holds), device: Some(meter.spec.device), message }
}

fn said(flag: Flag) -> &'static str {
    match flag {
        Flag::Rollover => "a rollover",
        Flag::Reset => "a reset",
        Flag::Regression => "a step back",
        Flag::Jump => "an impossible jump",
        Flag::Swapped => "the readings of another meter, in place",
    }
}

/// The monotonic instant of a wall-clock time.
fn until(now: Stamp, wall_us: i64) -> Mono {
    now.mono + Duration::from_micros(u64::try_from(wall_us - now.wall.0).unwrap_or(0))
}
