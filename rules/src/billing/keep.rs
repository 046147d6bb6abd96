//! What is kept of it, and how it is taken back at a start.

use std::collections::BTreeMap;

use gatehouse_core::{Lane, Stamp};

use super::load::LoadOwed;
use super::meter::Accepted;
use super::owed::Owed;
use super::record::{FixedReading, Installation};
use super::{Billing, DAYS, KEEP, PREFIX};

impl Billing {
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

    /// Has what a meter's registers stand at kept before long.
    pub(super) fn keep_later(&mut self, now: Stamp, ix: usize) {
        if self.meters.get(ix).is_some_and(|meter| meter.is_dirty) {
            self.keep_at.get_or_insert(now.mono + KEEP);
        }
    }

    /// Keeps what a meter's registers stand at.
    pub(super) fn keep_state(&mut self, ix: usize) {
        let Some(meter) = self.meters.get_mut(ix).filter(|meter| meter.is_dirty) else { return };
        meter.is_dirty = false;
        let named = meter.spec.registers.iter().zip(&meter.registers);
        let kept: BTreeMap<&str, Accepted> =
            named.filter_map(|(spec, register)| Some((spec.name.as_str(), register.last?))).collect();
        self.effects.keep(format!("billing/state/{}", meter.id), &kept);
    }

    /// Keeps what a meter owes.
    pub(super) fn keep_owed(&mut self, ix: usize) {
        let Some(meter) = self.meters.get(ix) else { return };
        let key = format!("billing/owed/{}", meter.id);
        if meter.owed == Owed::default() { self.effects.forget(key) } else { self.effects.keep(key, &meter.owed) }
    }

    /// Keeps a reading and tells the core of it.
    pub(super) fn keep_reading(&mut self, now: Stamp, reading: &FixedReading) {
        self.effects.keep(reading.key(), reading);
        self.effects.event(Lane::Audit, now, "meter_reading", reading);
        if self.days.insert(reading.day.clone()) {
            self.effects.keep(DAYS, &self.days);
        }
    }

    /// Keeps the latest installation and tells the core of it.
    pub(super) fn tell_installation(&mut self, now: Stamp, ix: usize) {
        let Some(one) = self.meters.get_mut(ix).and_then(|meter| meter.history.last_mut()) else { return };
        one.revision += 1;
        self.effects.keep(format!("billing/meter/{}/{:06}", one.device, one.version), one);
        self.effects.event(Lane::Audit, now, "meter_installation", one);
    }
}
