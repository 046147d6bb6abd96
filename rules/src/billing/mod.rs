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
//! The files: `spec` what the site file says, `judge` one value after another, `meter` one device, `keep` what outlives a
//! start, `calendar` when readings are due, `plan` which have become so, `step` what is to be done for one, `fetch` who is
//! asked when, `answer` what comes of it, `lack` whether a meter keeps freezes, `tell` how a reading ends, `load` what was
//! recorded while nobody read, `moments` when meters record, `people` swaps and readings by hand, `statement` a month's
//! account.

mod answer;
mod calendar;
mod fetch;
mod judge;
mod keep;
mod lack;
mod load;
mod meter;
mod moments;
mod owed;
mod people;
mod plan;
mod record;
mod spec;
pub mod statement;
mod step;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono, PointIx, PointReading, Stamp, Trust};
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
use load::Span;
use meter::{Accepted, Meter};

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
