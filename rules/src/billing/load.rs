//! What a meter recorded while nobody read it: its load records, fetched after an outage of the box or of the meter's line.
//!
//! A silence begins with the last values that came, and ends with the next. If the meter recorded anything between, the
//! records are owed, from the first such moment to the last, and fetched from the oldest on at the pace of freezes. A
//! record counts by the meter's own time alone: what lies outside of what is owed, or in the time of another meter at the
//! place, is never told. What was told and what is owed still is kept together, so that each record is told once.

use std::collections::BTreeMap;

use gatehouse_core::driver::Action;
use gatehouse_core::{Decimal, Lane, LoadRecord, Mono, PointIx, PointReading, Stamp, Trust, Value};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::fetch::{EXPIRES, PACE, pause};
use super::judge::Flag;
use super::meter::Meter;
use super::moments::{MINUTE_US, local, micros, moment, moment_from, wall};
use super::record::{LoadGap, LoadReading, Source, Taken, zero};
use super::{Billing, until};
use crate::effect::{Act, ActId, ActResult, Effect};

/// Records of one request: an answer of some three seconds at 2400 baud.
const AT_ONCE: u8 = 4;
/// Meters whose clock is a little behind have recorded by then.
const AFTER_US: i64 = 120_000_000;
/// What is further back is not asked for: meters keep some 40 to 60 days.
const FURTHEST_US: i64 = 62 * 86_400 * 1_000_000;
/// Most silences of one meter whose records are owed; the oldest is then given up.
const MOST_SPANS: usize = 32;
/// Attempts that may fail one after the other.
const TRIES: u32 = 24;

/// What is owed of one meter's load records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadOwed {
    /// When values came last, in microseconds since 1970; `None`: never.
    pub(super) seen_us: Option<i64>,
    /// In the order of time.
    pub(super) spans: Vec<Span>,
    /// Nobody read the meter since `seen_us`.
    #[serde(skip)]
    pub(super) silent: bool,
    /// Attempts that failed one after the other.
    #[serde(skip)]
    pub(super) tried: u32,
    /// Answers without a record one after the other.
    #[serde(skip)]
    pub(super) empty: u32,
    /// Not to be asked again before.
    #[serde(skip)]
    pub(super) not_before: Mono,
}

/// A silence whose records are owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    /// The moment of the first record that is owed, in microseconds since 1970.
    pub(super) from_us: i64,
    /// That of the last one.
    pub(super) to_us: i64,
}

impl Billing {
    /// How many load records all meters owe.
    pub fn load_owed(&self) -> u64 {
        let owed = |meter: &Meter| {
            let step = meter.spec.load.as_ref().map_or(i64::MAX, |load| micros(load.every)).max(1);
            meter
                .load
                .spans
                .iter()
                .map(move |span| ((span.to_us - span.from_us) / step + 1).max(0).cast_unsigned())
                .sum::<u64>()
        };
        self.meters.iter().map(owed).sum()
    }

    /// Values came of a meter: a silence is over.
    pub(super) fn note_seen(&mut self, now: Stamp, ix: usize, readings: &[PointReading]) {
        let Some(meter) = self.meters.get_mut(ix) else { return };
        let Some(load) = &meter.spec.load else { return };
        // While the box does not know the time, it does not know what it missed either: the silence goes on.
        if now.trust == Trust::Unset || readings.iter().all(|reading| reading.value.is_err()) {
            return;
        }
        let every = micros(load.every);
        let was_silent = std::mem::take(&mut meter.load.silent);
        let before = meter.load.seen_us.replace(now.wall.0);
        let Some(before) = before.filter(|before| was_silent && *before < now.wall.0) else {
            // Kept once for each moment of a record, so that a start owes none that was read.
            if before.is_none_or(|before| moment(before, every, &self.zone) != moment(now.wall.0, every, &self.zone)) {
                self.keep_load(ix);
            }
            return;
        };
        let furthest = before.max(now.wall.0.saturating_sub(FURTHEST_US));
        let owed = |at: i64| moment(at, every, &self.zone);
        let (from_us, to_us) = (owed(furthest).saturating_add(every), owed(now.wall.0));
        if from_us <= to_us {
            meter.load.spans.push(Span { from_us, to_us });
            (meter.load.tried, meter.load.not_before) = (0, now.mono);
        }
        let lost = owed(before).saturating_add(every);
        if lost < from_us {
            self.tell_load_gap(now, ix, Span { from_us: lost, to_us: from_us - every }, "too_long_ago");
        }
        if self.meters.get(ix).is_some_and(|meter| meter.load.spans.len() > MOST_SPANS) {
            self.give_up(now, ix, "too_many_missed");
        }
        self.keep_load(ix);
        self.look(now);
    }

    /// The device does not answer.
    pub(super) fn note_silence(&mut self, ix: usize) {
        let Some(meter) = self.meters.get_mut(ix).filter(|meter| meter.spec.load.is_some()) else { return };
        if !std::mem::replace(&mut meter.load.silent, true) {
            self.keep_load(ix);
        }
    }

    pub(super) fn keep_load(&mut self, ix: usize) {
        let Some(meter) = self.meters.get(ix).filter(|meter| meter.spec.load.is_some()) else { return };
        if meter.load.seen_us.is_some() {
            self.effects.keep(format!("billing/load/{}", meter.id), &meter.load);
        }
    }

    /// Asks the meters of an idle bus for a few records, the meter whose silence ended first before others.
    pub(super) fn fetch_load(&mut self, now: Stamp, bus: Option<usize>) {
        let Some(turn) = self.turns.get(&bus) else { return };
        let (pace, meters) = (turn.pace, turn.meters.clone());
        meters.iter().for_each(|ix| self.drop_foreign(now, *ix));
        let mut next: Option<(Span, usize)> = None;
        for ix in meters {
            let Some((span, ready)) = self.meters.get(ix).and_then(|meter| ready(now, meter)) else { continue };
            let ready = ready.max(pace);
            if ready > now.mono {
                self.wake_at(now, ready);
            } else if next.is_none_or(|(other, _)| span.to_us < other.to_us) {
                next = Some((span, ix));
            }
        }
        if let Some((span, ix)) = next {
            self.ask_load(now, bus, ix, span);
        }
    }

    fn ask_load(&mut self, now: Stamp, bus: Option<usize>, ix: usize, span: Span) {
        let Some(meter) = self.meters.get(ix) else { return };
        let Some(load) = meter.spec.load.as_ref() else { return };
        let asked_us = asked_from(span, meter.load.empty, micros(load.every), &self.zone);
        let Some(from) = local(asked_us, &self.zone) else { return };
        let points = load.points.iter().map(|(point, _)| *point).collect();
        let action = Action::LoadRecords { points, from, count: AT_ONCE };
        let id = self.next_act;
        self.next_act = ActId(id.0 + 1);
        let act = Act { id, device: meter.spec.device, action, expires: now.mono + EXPIRES, urgent: false, gate: None };
        self.loads.insert(id, (ix, span));
        if let Some(turn) = self.turns.get_mut(&bus) {
            turn.take(id, now.mono + PACE);
        }
        self.effects.push(Effect::Act(act));
    }

    /// What an act read, if it was for load records; else false.
    pub(super) fn handle_load_readings(&mut self, now: Stamp, id: ActId, readings: &[PointReading]) -> bool {
        let Some((ix, span)) = self.loads.remove(&id) else { return false };
        self.free(id);
        match LoadRecord::from_readings(readings) {
            _ if !self.is_owed(ix, span) => {}
            Some(records) => self.take_load(now, ix, records),
            None => self.load_failed(now, ix, "bad_reply"),
        }
        self.look(now);
        true
    }

    /// An act came to its end, if it was for load records; else false.
    pub(super) fn handle_load_result(&mut self, now: Stamp, id: ActId, result: &ActResult) -> bool {
        let Some((ix, span)) = self.loads.remove(&id) else { return false };
        self.free(id);
        match result {
            _ if !self.is_owed(ix, span) => {}
            // Whatever the device refuses with, a busy one may give its records later: that it has none is an answer.
            ActResult::Refused(why) if &*why.reason == "unsupported" => self.give_up(now, ix, "not_recorded"),
            ActResult::Failed(why) | ActResult::Unknown(why) => self.load_failed(now, ix, &why.to_string()),
            ActResult::Refused(why) => self.load_failed(now, ix, &why.to_string()),
            ActResult::Expired => self.load_failed(now, ix, "expired"),
            ActResult::Verified | ActResult::Acknowledged => self.load_failed(now, ix, "no_values"),
        }
        self.look(now);
        true
    }

    /// Whether what was asked for is still what is owed first: a meter may have been swapped meanwhile.
    fn is_owed(&self, ix: usize, span: Span) -> bool {
        self.meters.get(ix).is_some_and(|meter| meter.load.spans.first() == Some(&span))
    }

    /// Takes records: tells those that are owed, and what is not there between them.
    fn take_load(&mut self, now: Stamp, ix: usize, records: Vec<LoadRecord>) {
        let Some(meter) = self.meters.get(ix) else { return };
        let Some((mut span, every)) =
            meter.load.spans.first().copied().zip(meter.spec.load.as_ref().map(|load| micros(load.every)))
        else {
            return;
        };
        if records.is_empty() {
            return self.take_none(now, ix, span, every);
        }
        let mut timed: Vec<(i64, LoadRecord)> =
            records.into_iter().filter_map(|record| Some((wall(record.at, &self.zone)?, record))).collect();
        if timed.is_empty() {
            return self.load_failed(now, ix, "bad_reply");
        }
        timed.sort_by_key(|(at_us, _)| *at_us);
        let mut is_over = timed.last().is_none_or(|(at_us, _)| *at_us < span.from_us);
        let mut gaps = Vec::new();
        for (at_us, record) in timed {
            if at_us < span.from_us {
                continue;
            }
            let before = moment(at_us - MINUTE_US, every, &self.zone).min(span.to_us);
            let first = moment_from(span.from_us, every, &self.zone);
            if first <= before {
                gaps.push(Span { from_us: first, to_us: before });
            }
            if at_us > span.to_us {
                is_over = true;
                span.from_us = at_us;
                break;
            }
            self.tell_load(now, ix, at_us, &record);
            span.from_us = at_us + MINUTE_US;
        }
        gaps.into_iter().for_each(|gap| self.tell_load_gap(now, ix, gap, "not_recorded"));
        let Some(meter) = self.meters.get_mut(ix) else { return };
        (meter.load.tried, meter.load.empty, meter.load.not_before) = (0, 0, now.mono);
        if let Some(first) = meter.load.spans.first_mut() {
            *first = span;
        }
        if is_over || span.from_us > span.to_us {
            self.give_up(now, ix, "not_recorded");
        }
        self.keep_load(ix);
    }

    /// The meter has no record of the time that was asked for, and perhaps none that is later. Some refuse only because
    /// they have none of exactly that time: it is asked from later moments on, each time twice as far, before it is
    /// believed to have none at all.
    fn take_none(&mut self, now: Stamp, ix: usize, span: Span, every: i64) {
        let Some(meter) = self.meters.get_mut(ix) else { return };
        (meter.load.tried, meter.load.empty, meter.load.not_before) = (0, meter.load.empty + 1, now.mono);
        if asked_from(span, meter.load.empty, every, &self.zone) > span.to_us {
            self.give_up(now, ix, "not_recorded");
        }
    }

    fn load_failed(&mut self, now: Stamp, ix: usize, why: &str) {
        let Some(meter) = self.meters.get_mut(ix) else { return };
        meter.load.tried += 1;
        meter.load.not_before = now.mono + pause(meter.load.tried);
        if meter.load.tried >= TRIES {
            self.give_up(now, ix, why);
        }
    }

    /// Ends the first span. What is owed of it still is told as missing.
    fn give_up(&mut self, now: Stamp, ix: usize, why: &str) {
        let Some(meter) = self.meters.get_mut(ix).filter(|meter| !meter.load.spans.is_empty()) else { return };
        let span = meter.load.spans.remove(0);
        (meter.load.tried, meter.load.empty) = (0, 0);
        let every = meter.spec.load.as_ref().map_or(MINUTE_US, |load| micros(load.every));
        let first = moment_from(span.from_us, every, &self.zone);
        if first <= span.to_us {
            self.tell_load_gap(now, ix, Span { from_us: first, ..span }, why);
        }
        self.keep_load(ix);
    }

    /// What another meter recorded, which stood at the place before, is nobody's any more.
    fn drop_foreign(&mut self, now: Stamp, ix: usize) {
        while let Some((meter, span)) = self.meters.get(ix).and_then(|m| Some((m, *m.load.spans.first()?))) {
            let since = meter.there_since().map_or(i64::MIN, |since| Stamp::from(since).wall.0);
            let every = meter.spec.load.as_ref().map_or(MINUTE_US, |load| micros(load.every));
            if since <= span.from_us {
                return;
            }
            let first = moment_from(since, every, &self.zone);
            if first > span.to_us {
                self.give_up(now, ix, "other_meter_installed");
                continue;
            }
            self.tell_load_gap(now, ix, Span { to_us: first - every, ..span }, "other_meter_installed");
            if let Some(span) = self.meters.get_mut(ix).and_then(|meter| meter.load.spans.first_mut()) {
                span.from_us = first;
            }
            self.keep_load(ix);
        }
    }

    fn tell_load(&mut self, now: Stamp, ix: usize, at_us: i64, record: &LoadRecord) {
        let Some(meter) = self.meters.get(ix) else { return };
        let installation = meter.installed_at(at_us).ok().flatten();
        let mut reading = LoadReading {
            device: meter.id.clone(),
            at: record.at.to_string(),
            at_us,
            source: Source::Recalled,
            clock_offset_s: meter.clock_offset_s,
            installation,
            values: BTreeMap::new(),
            missing: BTreeMap::new(),
        };
        let names = meter.spec.load.iter().flat_map(|load| &load.points);
        for (point, name) in names {
            let Some(found) = record.readings.iter().find(|reading| reading.point == *point) else { continue };
            match found.value.as_ref().map(Value::to_decimal) {
                Ok(Some(value)) => {
                    let (carried, flags) = judged(meter, installation, *point, value);
                    let source = Source::Recalled;
                    let taken = Taken { value, carried, at_us: Some(at_us), source, flags, raw: found.raw };
                    reading.values.insert(name.to_string(), taken);
                }
                Ok(None) => {}
                Err(why) => drop(reading.missing.insert(name.to_string(), why.to_string())),
            }
        }
        self.effects.event(Lane::Audit, now, "meter_load", &reading);
    }

    fn tell_load_gap(&mut self, now: Stamp, ix: usize, span: Span, why: &str) {
        let Some(meter) = self.meters.get(ix) else { return };
        let Span { from_us, to_us } = span;
        let gap = LoadGap { device: meter.id.clone(), from_us, to_us, why: why.to_owned() };
        self.effects.event(Lane::Audit, now, "meter_load_missing", &gap);
    }
}

/// The first span that may be asked for, and from when on. While another meter answers than was installed, nothing is:
/// its records would be taken for those of the meter that was there.
fn ready(now: Stamp, meter: &Meter) -> Option<(Span, Mono)> {
    let span = *meter.load.spans.first()?;
    let swapped = |flags: &Option<Vec<Flag>>| flags.as_ref().is_some_and(|flags| flags.contains(&Flag::Swapped));
    let is_other = meter.is_stranger() || meter.registers.iter().any(|register| swapped(&register.flags));
    let ready = meter.load.not_before.max(until(now, span.to_us.saturating_add(AFTER_US)));
    (!is_other && !meter.load.silent).then_some((span, ready))
}

/// The moment from which on records are asked for, after so many answers without one.
fn asked_from(span: Span, empty: u32, every: i64, zone: &TimeZone) -> i64 {
    match empty.checked_sub(1) {
        None => span.from_us,
        // The first record that is owed may be of any minute, while meters record at whole intervals.
        Some(more) => {
            let skipped = every.saturating_mul((1i64 << more.min(32)) - 1);
            moment_from(span.from_us.saturating_add(MINUTE_US), every, zone).saturating_add(skipped)
        }
    }
}

/// What rollovers had counted by then, and what is conspicuous, of a billing point; nothing of others.
fn judged(meter: &Meter, installation: Option<u32>, point: PointIx, value: Decimal) -> (Decimal, Vec<Flag>) {
    match meter.spec.register(point) {
        Some((ix, _)) => meter.judge_past(installation, ix, value),
        None => (zero(), Vec::new()),
    }
}
