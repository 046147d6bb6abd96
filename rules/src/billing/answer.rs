//! What a meter answers: registers as they stand, and as it froze them.

use std::collections::BTreeMap;

use gatehouse_core::driver::{FREEZE_TIME, METER_CLOCK};
use gatehouse_core::{Mono, NoData, PointIx, PointReading, Stamp, Value, Wall};
use jiff::civil::{Date, DateTime};

use super::fetch::Fetch;
use super::owed::Live;
use super::record::{Source, Taken, believed, zero};
use super::tell::blank;
use super::{Billing, calendar};
use crate::effect::ActId;
use crate::schedule::zone;

/// Why there is no value that the meter has not frozen.
const NOT_AVAILABLE: &str = "freeze_not_available";

impl Billing {
    /// What an act read. To be told before the act's result.
    pub fn handle_act_readings(&mut self, now: Stamp, id: ActId, at: Mono, readings: &[PointReading]) {
        if self.handle_load_readings(now, id, readings) {
            return;
        }
        let Some(fetch) = self.fetches.remove(&id) else { return };
        self.free(id);
        let taken_at = Stamp { mono: at, wall: back(now, at), ..now };
        self.note_clock(&fetch, taken_at, readings);
        let values: Vec<PointReading> = readings.iter().filter(|r| fetch.points.contains(&r.point)).cloned().collect();
        if fetch.back > 0 {
            self.take_freeze(now, &fetch, readings, &values);
        } else {
            self.take_live(taken_at, &fetch, &values);
        }
        self.keep_later(now, fetch.meter);
        self.look(now);
    }

    fn note_clock(&mut self, fetch: &Fetch, at: Stamp, readings: &[PointReading]) {
        let Ok(clock) = moment(readings, METER_CLOCK) else { return };
        let own = zone::local(at.wall, &self.zone);
        let ahead = clock.duration_since(own).as_secs();
        if let Some(meter) = self.meters.get_mut(fetch.meter) {
            meter.clock_offset_s = Some(ahead);
        }
    }

    fn take_live(&mut self, at: Stamp, fetch: &Fetch, values: &[PointReading]) {
        let all = fetch.points.iter().all(|point| values.iter().any(|r| r.point == *point && r.value.is_ok()));
        let flagged = self.take(at, fetch.meter, values);
        let Some(meter) = self.meters.get(fetch.meter) else { return };
        let mut live = Live { at, values: BTreeMap::new(), missing: BTreeMap::new() };
        for reading in values {
            let Some((ix, spec)) = meter.spec.register(reading.point) else { continue };
            let value = match &reading.value {
                Ok(value) => value.to_decimal(),
                Err(why) => {
                    live.missing.insert(spec.name.to_string(), why.to_string());
                    continue;
                }
            };
            let Some(value) = value else { continue };
            let flags = flagged.iter().find(|(point, _)| *point == reading.point).map(|(_, flags)| flags.clone());
            let carried = meter.registers.get(ix).and_then(|register| register.last).map(|last| last.carried);
            let taken = Taken {
                value,
                carried: carried.unwrap_or(zero()),
                at_us: believed(&at),
                source: Source::Live,
                flags: flags.unwrap_or_default(),
                raw: reading.raw,
            };
            live.values.insert(spec.name.to_string(), taken);
        }
        let why = live.missing.values().next().cloned().unwrap_or_default();
        let Some(due) = self.due_mut(fetch) else { return };
        // Parts that do not come are tried again, and then left out with their reason.
        if all || due.tried.0 >= 2 && !live.values.is_empty() {
            due.live = Some(live);
            due.not_before = at.mono;
        } else {
            self.note_failure(at, fetch, &why);
        }
    }

    /// The meter does not have the freeze that it was asked for.
    fn note_absence(&mut self, now: Stamp, fetch: &Fetch) {
        self.note_failure(now, fetch, NOT_AVAILABLE);
        if let Some(due) = self.due_mut(fetch) {
            due.absent += 1;
        }
    }

    fn take_freeze(&mut self, now: Stamp, fetch: &Fetch, readings: &[PointReading], values: &[PointReading]) {
        let Ok(wanted) = fetch.day.parse::<Date>() else { return };
        let frozen = match moment(readings, FREEZE_TIME) {
            Ok(frozen) => frozen,
            Err(NoData::NotAvailable) => {
                let today = zone::local(now.wall, &self.zone).date();
                let is_news =
                    self.meters.get_mut(fetch.meter).is_some_and(|meter| meter.owed.lack.note(today, fetch.back));
                if is_news {
                    self.keep_owed(fetch.meter);
                }
                return self.note_absence(now, fetch);
            }
            Err(why) => return self.note_failure(now, fetch, &why.to_string()),
        };
        let lack = self.meters.get_mut(fetch.meter).map(|meter| std::mem::take(&mut meter.owed.lack));
        if lack.is_some_and(|lack| !lack.is_none()) {
            self.keep_owed(fetch.meter);
        }
        if frozen != wanted.at(0, 0, 0, 0) {
            let off = calendar::days_between(wanted, frozen.date());
            if let Some(meter) = self.meters.get_mut(fetch.meter)
                && off != 0
            {
                meter.owed.shift = (meter.owed.shift + off).clamp(-2, 2);
            }
            return self.note_failure(now, fetch, "freeze_of_another_time");
        }
        if !values.iter().any(|reading| reading.value.is_ok()) {
            let mut reasons = values.iter().filter_map(|reading| reading.value.as_ref().err());
            return match reasons.find(|why| **why != NoData::NotAvailable) {
                Some(why) => self.note_failure(now, fetch, &why.to_string()),
                None => self.note_absence(now, fetch),
            };
        }
        let Some(due) = self.due_mut(fetch).cloned() else { return };
        let Some(meter) = self.meters.get_mut(fetch.meter) else { return };
        meter.owed.dues.retain(|other| other.reading != due.reading || other.day != due.day);
        let source = if due.late || due.is_gap { Source::Recalled } else { Source::Freeze };
        let mut reading = blank(meter, &due, Some(now));
        reading.skew_s = Some(0);
        for value in values {
            let Some((ix, spec)) = meter.spec.register(value.point) else { continue };
            match value.value.as_ref().map(Value::to_decimal) {
                Ok(Some(number)) => {
                    let (carried, flags) = meter.judge_past(None, ix, number);
                    let taken =
                        Taken { value: number, carried, at_us: Some(due.due_us), source, flags, raw: value.raw };
                    reading.values.insert(spec.name.to_string(), taken);
                }
                Ok(None) => {}
                Err(why) => drop(reading.missing.insert(spec.name.to_string(), why.to_string())),
            }
        }
        // What the meter does not freeze, or did not give of its freeze, was read live where it answered in time.
        for (_, spec) in fetch.points.iter().filter_map(|point| meter.spec.register(*point)) {
            let name = spec.name.to_string();
            if reading.values.contains_key(&name) {
                continue;
            }
            if let Some(taken) = due.live.as_ref().and_then(|live| live.values.get(&name)) {
                reading.missing.remove(&name);
                reading.values.insert(name, taken.clone());
            } else {
                reading.missing.entry(name).or_insert_with(|| NOT_AVAILABLE.to_owned());
            }
        }
        self.keep_reading(now, &reading);
        self.keep_owed(fetch.meter);
        self.missed(fetch.meter, false, &reading);
    }
}

/// The civil time that stands in place of a point.
fn moment(readings: &[PointReading], point: PointIx) -> Result<DateTime, NoData> {
    let found = readings.iter().find(|reading| reading.point == point).ok_or(NoData::BadReply)?;
    match &found.value {
        Ok(Value::Text(text)) => text.parse().map_err(|_| NoData::BadReply),
        Ok(Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_)) => Err(NoData::BadReply),
        Err(why) => Err(*why),
    }
}

/// The wall clock at an earlier instant of this boot.
fn back(now: Stamp, at: Mono) -> Wall {
    let ago = i64::try_from(now.mono.since(at).as_micros()).unwrap_or(0);
    Wall(now.wall.0 - ago)
}
