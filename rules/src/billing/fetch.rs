//! Who is asked for a fixed-clock reading, and when.
//!
//! At the fixed time each meter is read live, one after the other on each bus. Where the meter may keep daily freezes, the
//! freeze of that day is asked for a little later and goes first; it counts only if it says itself that it is of that
//! midnight. What was missed is fetched from the freezes one by one, with room between for the polls.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::driver::{Action, FREEZE_TIME, METER_CLOCK};
use gatehouse_core::{Mono, NoData, PointIx, PointReading, Stamp, Value};
use jiff::civil::{Date, DateTime};

use super::meter::Meter;
use super::owed::{Due, Live, MOST_FREEZES};
use super::record::{FixedReading, Source, Taken, believed};
use super::spec::ReadingSpec;
use super::{Billing, READING_MISSED, calendar, until};
use crate::effect::{Act, ActId, ActResult, Effect};
use crate::schedule::zone;

/// An act that has not begun by then is given up.
pub(super) const EXPIRES: Duration = Duration::from_secs(30);
/// Meters whose clock is a little behind have frozen by then.
const FREEZE_AFTER_US: i64 = 120_000_000;
/// From one freeze that is fetched to the next on a bus: 32 meters and a week take 30 minutes, of which a line of 2400 baud
/// is busy for less than a fifth.
pub(super) const PACE: Duration = Duration::from_secs(8);
/// Attempts to read live.
const LIVE_TRIES: u32 = 12;
/// Attempts at a freeze while a live reading stands by, and for one that was missed.
const FREEZE_TRIES: (u32, u32) = (3, 24);

/// Whose turn it is on one bus.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The meters on it.
    pub(super) meters: Vec<usize>,
    busy: Option<ActId>,
    /// No freeze and no load record is fetched before.
    pub(super) pace: Mono,
}

impl Turn {
    /// Is taken by an act; nothing is fetched before `pace`.
    pub(super) fn take(&mut self, id: ActId, pace: Mono) {
        (self.busy, self.pace) = (Some(id), pace);
    }
}

/// An act under way.
#[derive(Debug)]
pub(super) struct Fetch {
    meter: usize,
    reading: String,
    day: String,
    points: Vec<PointIx>,
    freeze: bool,
}

/// What is to be done for a reading that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Read the meter now.
    Live,
    /// Ask for its so-manieth latest freeze.
    Freeze(u8),
    /// Look again then.
    Wait(Mono),
    /// The live reading is as good as it gets.
    Settle,
    /// Nothing came in time; where a freeze may still be had, it is tried further.
    Gap,
    /// It will never come.
    Drop,
}

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
        if fetch.freeze {
            self.take_freeze(now, &fetch, readings, &values);
        } else {
            self.take_live(taken_at, &fetch, &values);
        }
        self.keep_later(now, fetch.meter);
        self.look(now);
    }

    /// An act came to its end. False when it was none of the machine's.
    pub fn handle_act_result(&mut self, now: Stamp, id: ActId, result: &ActResult) -> bool {
        if self.handle_load_result(now, id, result) {
            return true;
        }
        let Some(fetch) = self.fetches.remove(&id) else { return false };
        self.free(id);
        let (why, none) = match result {
            ActResult::Failed(why @ NoData::Exception(_)) => (why.to_string(), fetch.freeze),
            ActResult::Failed(why) | ActResult::Unknown(why) => (why.to_string(), false),
            ActResult::Refused(why) => (why.to_string(), fetch.freeze && &*why.reason == "unsupported"),
            ActResult::Expired => ("expired".to_owned(), false),
            ActResult::Verified | ActResult::Acknowledged => ("no_values".to_owned(), false),
        };
        self.note_failure(now, &fetch, &why, none);
        self.look(now);
        true
    }

    pub(super) fn free(&mut self, id: ActId) {
        if let Some(turn) = self.turns.values_mut().find(|turn| turn.busy == Some(id)) {
            turn.busy = None;
        }
    }

    /// Asks for what is owed, on each bus one thing at a time.
    pub(super) fn fetch(&mut self, now: Stamp) {
        let buses: Vec<Option<usize>> = self.turns.keys().copied().collect();
        for bus in buses {
            self.settle(now, bus);
            if self.turns.get(&bus).is_none_or(|turn| turn.busy.is_some()) {
                continue;
            }
            match self.next(now, bus) {
                Some((ix, at, step)) => self.ask(now, bus, (ix, at), step),
                None => self.fetch_load(now, bus),
            }
        }
    }

    /// Records what is decided already, and notes when to look again.
    fn settle(&mut self, now: Stamp, bus: Option<usize>) {
        let meters = self.turns.get(&bus).map(|turn| turn.meters.clone()).unwrap_or_default();
        for ix in meters {
            let mut at = 0;
            let mut changed = false;
            while let Some(due) = self.meters.get(ix).and_then(|meter| meter.owed.dues.get(at)) {
                let under_way =
                    self.fetches.values().any(|f| f.meter == ix && f.reading == due.reading && f.day == due.day);
                match self.step(now, ix, due) {
                    _ if under_way => at += 1,
                    Step::Settle => {
                        let due = self.take_due(ix, at);
                        due.into_iter().for_each(|due| self.tell_live(now, ix, &due));
                        changed = true;
                    }
                    Step::Gap => {
                        let due = due.clone();
                        self.tell_gap(now, ix, &due, "");
                        if let Some(due) = self.meters.get_mut(ix).and_then(|meter| meter.owed.dues.get_mut(at)) {
                            due.is_gap = true;
                        }
                        changed = true;
                    }
                    Step::Drop => {
                        self.take_due(ix, at);
                        changed = true;
                    }
                    Step::Wait(until) => {
                        self.wake_at(now, until);
                        at += 1;
                    }
                    Step::Live | Step::Freeze(_) => at += 1,
                }
            }
            if changed {
                self.keep_owed(ix);
            }
        }
    }

    fn take_due(&mut self, ix: usize, at: usize) -> Option<Due> {
        let dues = &mut self.meters.get_mut(ix)?.owed.dues;
        (at < dues.len()).then(|| dues.remove(at))
    }

    /// The next thing to ask on a bus: live readings first, then freezes, the newest first.
    fn next(&mut self, now: Stamp, bus: Option<usize>) -> Option<(usize, usize, Step)> {
        let turn = self.turns.get(&bus)?;
        let steps = turn.meters.iter().flat_map(|ix| {
            let dues = self.meters.get(*ix).map(|meter| meter.owed.dues.as_slice()).unwrap_or_default();
            dues.iter().enumerate().map(move |(at, due)| (*ix, at, due))
        });
        let steps = steps.map(|(ix, at, due)| (ix, at, due.due_us, self.step(now, ix, due)));
        let live = steps.clone().find(|(.., step)| *step == Step::Live);
        if let Some((ix, at, _, step)) = live {
            return Some((ix, at, step));
        }
        let pace = turn.pace;
        let freeze = steps
            .filter(|(.., step)| matches!(step, Step::Freeze(_)))
            .max_by_key(|(ix, _, due, _)| (*due, usize::MAX - ix));
        let (ix, at, _, step) = freeze?;
        if now.mono < pace {
            self.wake_at(now, pace);
            return None;
        }
        Some((ix, at, step))
    }

    fn step(&self, now: Stamp, ix: usize, due: &Due) -> Step {
        let (Some(meter), Some(spec)) = (self.meters.get(ix), self.reading(&due.reading)) else { return Step::Drop };
        let wait = i64::try_from(spec.wait.as_micros()).unwrap_or(i64::MAX);
        let (opens, ends) = (due.due_us, due.due_us.saturating_add(wait));
        if now.wall.0 < opens - 60_000_000 {
            // The clock went back behind it.
            return Step::Wait(until(now, opens));
        }
        let waits = now.mono < due.not_before;
        let in_time = !due.late && now.wall.0 <= ends;
        if in_time && due.live.is_none() && due.tried.0 < LIVE_TRIES {
            return if waits { Step::Wait(due.not_before) } else { Step::Live };
        }
        let tries = if due.live.is_some() { FREEZE_TRIES.0 } else { FREEZE_TRIES.1 };
        let freeze = self.freeze_number(now, meter, spec, due).filter(|_| due.tried.1 < tries);
        match (freeze, &due.live) {
            (None, Some(_)) => Step::Settle,
            (None, None) if due.is_gap => Step::Drop,
            (None, None) => Step::Gap,
            (Some(_), None) if !in_time && !due.is_gap && !due.late => Step::Gap,
            (Some(_), _) if now.wall.0 < opens.saturating_add(FREEZE_AFTER_US) => {
                Step::Wait(until(now, opens.saturating_add(FREEZE_AFTER_US)))
            }
            (Some(_), _) if waits => Step::Wait(due.not_before),
            (Some(number), _) => Step::Freeze(number),
        }
    }

    /// How many freezes ago the day was; `None` where the meter has no freeze of it, or not the right one.
    fn freeze_number(&self, now: Stamp, meter: &Meter, spec: &ReadingSpec, due: &Due) -> Option<u8> {
        let keeps = meter.spec.freezes && meter.owed.keeps_freezes != Some(false);
        if !keeps || spec.at != (0, 0) || meter.installed_at(due.due_us) != Ok(meter.current().map(|one| one.version)) {
            return None;
        }
        let today = zone::local(now.wall, &self.zone).date();
        let back = calendar::days_between(due.day.parse().ok()?, today) + 1 + meter.owed.shift;
        (1..=MOST_FREEZES).contains(&back).then(|| u8::try_from(back).ok()).flatten()
    }

    fn reading(&self, name: &str) -> Option<&ReadingSpec> {
        self.readings.iter().find(|reading| reading.name == *name)
    }

    fn ask(&mut self, now: Stamp, bus: Option<usize>, (ix, at): (usize, usize), step: Step) {
        let back = match step {
            Step::Live => 0,
            Step::Freeze(number) => number,
            Step::Wait(_) | Step::Settle | Step::Gap | Step::Drop => return,
        };
        let Some(meter) = self.meters.get(ix) else { return };
        let Some(due) = meter.owed.dues.get(at) else { return };
        let of = self.reading(&due.reading).map(|spec| spec.of.as_slice()).unwrap_or_default();
        let points = of.iter().find(|(device, _)| *device == meter.spec.device).map(|(_, points)| points.clone());
        let points = points.unwrap_or_default();
        let id = self.next_act;
        self.next_act = ActId(id.0 + 1);
        let action = Action::Recall { points: points.clone(), back };
        let act = Act { id, device: meter.spec.device, action, expires: now.mono + EXPIRES, urgent: false, gate: None };
        let (reading, day) = (due.reading.clone(), due.day.clone());
        self.fetches.insert(id, Fetch { meter: ix, reading, day, points, freeze: back > 0 });
        if let Some(turn) = self.turns.get_mut(&bus) {
            turn.busy = Some(id);
            if back > 0 {
                turn.pace = now.mono + PACE;
            }
        }
        self.effects.push(Effect::Act(act));
    }

    fn due_mut(&mut self, fetch: &Fetch) -> Option<&mut Due> {
        let dues = &mut self.meters.get_mut(fetch.meter)?.owed.dues;
        dues.iter_mut().find(|due| due.reading == fetch.reading && due.day == fetch.day)
    }

    fn note_failure(&mut self, now: Stamp, fetch: &Fetch, why: &str, none: bool) {
        if let Some(due) = self.due_mut(fetch) {
            let tried = if fetch.freeze { &mut due.tried.1 } else { &mut due.tried.0 };
            *tried += 1;
            // A meter whose clock is behind freezes later.
            let pause = if fetch.freeze { pause(*tried) } else { Duration::from_secs(5) * *tried };
            due.not_before = now.mono + pause;
            due.why = why.to_owned();
        }
        let Some(meter) = self.meters.get_mut(fetch.meter) else { return };
        if none && meter.owed.keeps_freezes.is_none() {
            meter.owed.keeps_freezes = Some(false);
            self.keep_owed(fetch.meter);
        }
    }

    fn note_clock(&mut self, fetch: &Fetch, at: Stamp, readings: &[PointReading]) {
        let Some(clock) = text(readings, METER_CLOCK).and_then(|text| text.parse::<DateTime>().ok()) else { return };
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
                carried: carried.unwrap_or(super::record::zero()),
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
            self.note_failure(at, fetch, &why, false);
        }
    }

    fn take_freeze(&mut self, now: Stamp, fetch: &Fetch, readings: &[PointReading], values: &[PointReading]) {
        let frozen = text(readings, FREEZE_TIME).and_then(|text| text.parse::<DateTime>().ok());
        let Ok(wanted) = fetch.day.parse::<Date>() else { return };
        let Some(frozen) = frozen else { return self.note_failure(now, fetch, "freeze_not_available", false) };
        if frozen != wanted.at(0, 0, 0, 0) {
            let off = calendar::days_between(wanted, frozen.date());
            if let Some(meter) = self.meters.get_mut(fetch.meter)
                && off != 0
            {
                meter.owed.shift = (meter.owed.shift + off).clamp(-2, 2);
            }
            return self.note_failure(now, fetch, "freeze_of_another_time", false);
        }
        if !values.iter().any(|reading| reading.value.is_ok()) {
            return self.note_failure(now, fetch, "freeze_not_available", false);
        }
        let Some(due) = self.due_mut(fetch).cloned() else { return };
        let Some(meter) = self.meters.get_mut(fetch.meter) else { return };
        meter.owed.keeps_freezes = Some(true);
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
        self.keep_reading(now, &reading);
        self.keep_owed(fetch.meter);
        self.missed(fetch.meter, false, &reading);
    }

    fn tell_live(&mut self, now: Stamp, ix: usize, due: &Due) {
        let (Some(meter), Some(live)) = (self.meters.get(ix), &due.live) else { return };
        let mut reading = blank(meter, due, Some(live.at));
        reading.skew_s = due.skew_s(&live.at);
        reading.values = live.values.clone();
        reading.missing = live.missing.clone();
        self.keep_reading(now, &reading);
        self.missed(ix, false, &reading);
    }

    /// Records that there is no reading, and why.
    pub(super) fn tell_gap(&mut self, now: Stamp, ix: usize, due: &Due, why: &str) {
        let Some(meter) = self.meters.get(ix) else { return };
        let changed = meter.installed_at(due.due_us) != Ok(meter.current().map(|one| one.version));
        let why = match (why, due.why.as_str()) {
            ("", _) if changed => "other_meter_installed",
            ("", "") if due.late => "box_off",
            ("", "") => "not_read",
            ("", tried) => tried,
            (given, _) => given,
        };
        let mut reading = blank(meter, due, None);
        let of = self.reading(&due.reading).map(|spec| spec.of.as_slice()).unwrap_or_default();
        let points = of.iter().find(|(device, _)| *device == meter.spec.device).map(|(_, points)| points.as_slice());
        let names = points.unwrap_or_default().iter().filter_map(|point| meter.spec.register(*point));
        reading.missing = names.map(|(_, spec)| (spec.name.to_string(), why.to_owned())).collect();
        self.keep_reading(now, &reading);
        self.missed(ix, true, &reading);
    }

    fn missed(&mut self, ix: usize, holds: bool, reading: &FixedReading) {
        let FixedReading { device, day, reading: name, missing, .. } = reading;
        let why = missing.values().next().map_or("", String::as_str);
        let message = if holds {
            format!("{device}: no reading {name} of {day} ({why})")
        } else {
            format!("{device}: the reading {name} of {day} is there")
        };
        self.tell(ix, READING_MISSED, holds, message);
    }
}

/// How long what a meter kept is not asked for again after so many failures: 10 minutes, then twice as long each time, up
/// to 80.
pub(super) fn pause(tried: u32) -> Duration {
    Duration::from_secs(300) * (1 << tried.min(4))
}

/// A reading without values yet.
fn blank(meter: &Meter, due: &Due, at: Option<Stamp>) -> FixedReading {
    FixedReading {
        reading: due.reading.clone(),
        device: meter.id.clone(),
        day: due.day.clone(),
        due_us: due.due_us,
        at: at.map(Into::into),
        skew_s: None,
        clock_offset_s: meter.clock_offset_s,
        installation: meter.installed_at(due.due_us).ok().flatten(),
        values: BTreeMap::new(),
        missing: BTreeMap::new(),
        by: None,
        why: None,
    }
}

fn text(readings: &[PointReading], point: PointIx) -> Option<&str> {
    let found = readings.iter().find(|reading| reading.point == point)?;
    match found.value.as_ref().ok()? {
        Value::Text(text) => Some(text),
        Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_) => None,
    }
}

/// The wall clock at an earlier instant of this boot.
fn back(now: Stamp, at: Mono) -> gatehouse_core::Wall {
    let ago = i64::try_from(now.mono.since(at).as_micros()).unwrap_or(0);
    gatehouse_core::Wall(now.wall.0 - ago)
}
