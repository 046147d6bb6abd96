//! One meter: where its registers stand, which meter it is, and what it still owes.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::{Decimal, PointIx, PointReading, Raw, Stamp, Value};
use serde::{Deserialize, Serialize};

use super::judge::{self, Course, Flag};
use super::load::LoadOwed;
use super::owed::Owed;
use super::record::{Installation, Source, Taken, believed, decimal_text, raw_text, zero};
use super::spec::MeterSpec;
use crate::instant::Instant;

/// Installations of one device that are kept; one more is refused.
pub const MOST_INSTALLATIONS: usize = 64;

/// A register as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    /// The last value that went on from the one before.
    #[serde(with = "decimal_text")]
    pub(super) value: Decimal,
    /// What was counted in whole rollovers since the installation.
    #[serde(with = "decimal_text")]
    pub(super) carried: Decimal,
    /// When it was read.
    pub(super) at: Instant,
    /// What it was made of.
    #[serde(with = "raw_text", default, skip_serializing_if = "Raw::is_empty")]
    pub(super) raw: Raw,
}

/// One billing point at run time.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) last: Option<Accepted>,
    /// Flags of the last reading; `None`: not read since the start.
    pub(super) flags: Option<Vec<Flag>>,
    /// True while nothing was read since the last accepted value.
    pub(super) silent: bool,
}

/// One device with billing points.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) spec: MeterSpec,
    /// The device's id.
    pub(super) id: String,
    pub(super) registers: Vec<Register>,
    /// Ascending by version.
    pub(super) history: Vec<Installation>,
    /// What its serial point read last, since the installation began.
    pub(super) serial_seen: Option<String>,
    pub(super) owed: Owed,
    /// Readings that no freeze of the meter can have, as its driver says: bounded by the readings of the site file.
    pub(super) unfrozen: BTreeSet<String>,
    pub(super) load: LoadOwed,
    pub(super) clock_offset_s: Option<i64>,
    /// Registers changed since they were kept.
    pub(super) is_dirty: bool,
    /// The current installation has changed since it was kept.
    pub(super) has_news: bool,
    /// The alarms as they were told last.
    pub(super) told: BTreeMap<&'static str, bool>,
}

impl Meter {
    pub(super) fn new(spec: MeterSpec, id: String) -> Self {
        Meter {
            registers: spec.registers.iter().map(|_| Register::default()).collect(),
            spec,
            id,
            history: Vec::new(),
            serial_seen: None,
            owed: Owed::default(),
            unfrozen: BTreeSet::new(),
            load: LoadOwed::default(),
            clock_offset_s: None,
            is_dirty: false,
            has_news: false,
            told: BTreeMap::new(),
        }
    }

    /// The installation that is there now.
    pub(super) fn current(&self) -> Option<&Installation> {
        self.history.last().filter(|installation| installation.to.is_none())
    }

    /// Since when the meter is there: over all installations that it went on from, as it does with another ratio.
    pub(super) fn there_since(&self) -> Option<Instant> {
        let mut first = self.current()?;
        for before in self.history.iter().rev().skip(1) {
            let is_same = |(name, last): (&String, &Taken)| {
                first.opening.get(name).is_some_and(|opening| opening.value.same_number(last.value))
            };
            let goes_on = before.serial == first.serial && before.to == Some(first.from);
            if !goes_on || !before.closing.iter().all(is_same) {
                break;
            }
            first = before;
        }
        Some(first.from)
    }

    /// The version of the installation that was there at `wall_us`; `Err` where that is not known or was none.
    pub(super) fn installed_at(&self, wall_us: i64) -> Result<Option<u32>, ()> {
        if self.history.is_empty() {
            return Ok(None);
        }
        let wall = |instant: Instant| Stamp::from(instant).wall.0;
        let there = |one: &&Installation| wall(one.from) <= wall_us && one.to.is_none_or(|to| wall_us < wall(to));
        self.history.iter().find(there).map(|one| Some(one.version)).ok_or(())
    }

    /// True when the meter that answers is not the one that was installed.
    pub(super) fn is_stranger(&self) -> bool {
        let installed = self.current().map(|one| one.serial.as_str()).filter(|serial| !serial.is_empty());
        matches!((installed, &self.serial_seen), (Some(installed), Some(seen)) if !same_serial(installed, seen))
    }

    /// The device does not answer.
    pub(super) fn silence(&mut self) {
        self.registers.iter_mut().for_each(|register| register.silent = true);
    }

    /// Takes readings of one moment, and gives the flags of billing points that have any. The serial number goes first,
    /// wherever it stands among the readings.
    pub(super) fn take(&mut self, at: Stamp, readings: &[PointReading]) -> Vec<(PointIx, Vec<Flag>)> {
        let serial = readings.iter().find(|reading| Some(reading.point) == self.spec.serial_point);
        if let Some(Ok(seen)) = serial.map(|reading| &reading.value) {
            self.serial_seen = Some(seen.to_string());
        }
        let mut flagged = Vec::new();
        for reading in readings {
            let Some((ix, _)) = self.spec.register(reading.point) else { continue };
            match reading.value.as_ref().ok().and_then(Value::to_decimal) {
                Some(value) => {
                    let flags = self.judge(ix, at, value, reading.raw);
                    if !flags.is_empty() {
                        flagged.push((reading.point, flags));
                    }
                }
                None => {
                    if let Some(register) = self.registers.get_mut(ix) {
                        register.silent = true;
                    }
                }
            }
        }
        flagged
    }

    fn judge(&mut self, ix: usize, at: Stamp, value: Decimal, raw: Raw) -> Vec<Flag> {
        let stranger = self.is_stranger();
        let (Some(spec), Some(register)) = (self.spec.registers.get(ix), self.registers.get_mut(ix)) else {
            return Vec::new();
        };
        let course = match &register.last {
            Some(last) => judge::course(spec, last.value, value, last.at.elapsed(&at)),
            None => Course::On,
        };
        let mut flags = Vec::new();
        match course {
            Course::On => {}
            Course::Over => flags.push(Flag::Rollover),
            Course::Broken(flag) => flags.push(flag),
        }
        if stranger || register.silent && matches!(course, Course::Broken(_)) {
            flags.push(Flag::Swapped);
        }
        let accepted = !flags.iter().any(|flag| flag.breaks());
        if accepted {
            let before = register.last.map_or(zero(), |last| last.carried);
            let over = spec.rollover.filter(|_| course == Course::Over).unwrap_or(zero());
            let carried = before.checked_add(over).unwrap_or(before);
            register.last = Some(Accepted { value, carried, at: at.into(), raw });
            register.silent = false;
            self.is_dirty = true;
        }
        register.flags = Some(flags.clone());
        if accepted {
            self.open(ix, at, value, raw);
        }
        flags
    }

    /// The first value after an installation is its opening reading, where nobody gave one.
    fn open(&mut self, ix: usize, at: Stamp, value: Decimal, raw: Raw) {
        let Some(spec) = self.spec.registers.get(ix) else { return };
        let Some(current) = self.history.last_mut().filter(|one| one.to.is_none()) else { return };
        if current.opening.contains_key(&*spec.name) {
            return;
        }
        let (at_us, source, flags) = (believed(&at), Source::Live, Vec::new());
        let taken = Taken { value, carried: zero(), at_us, source, flags, raw };
        current.opening.insert(spec.name.to_string(), taken);
        // What it counted before belongs to nobody.
        if let Some(last) = self.registers.get_mut(ix).and_then(|register| register.last.as_mut()) {
            last.carried = zero();
        }
        self.has_news = true;
    }

    /// What is conspicuous now: each flag with whether it holds, where that can be told.
    pub(super) fn conditions(&self) -> impl Iterator<Item = (Flag, Option<bool>)> {
        Flag::ALL.into_iter().map(|flag| {
            let mut known =
                self.registers.iter().map(|register| register.flags.as_ref().map(|all| all.contains(&flag)));
            let holds = known.clone().any(|holds| holds == Some(true));
            let told = holds.then_some(true).or_else(|| known.all(|holds| holds.is_some()).then_some(false));
            (flag, told)
        })
    }

    /// Judges a value that is from an earlier moment than the last reading: it cannot be more than what was read since,
    /// nor than what an installation of that version ended with.
    pub(super) fn judge_past(&self, version: Option<u32>, ix: usize, value: Decimal) -> (Decimal, Vec<Flag>) {
        let (Some(spec), Some(register)) = (self.spec.registers.get(ix), self.registers.get(ix)) else {
            return (zero(), Vec::new());
        };
        let mut flags = if self.is_stranger() { vec![Flag::Swapped] } else { Vec::new() };
        let ended = self.history.iter().find(|one| Some(one.version) == version && one.to.is_some());
        let ended = ended.and_then(|one| one.closing.get(&*spec.name)).map(|last| (last.value, last.carried));
        let last = ended.or_else(|| register.last.map(|last| (last.value, last.carried)));
        let Some((last, counted)) = last.filter(|_| spec.counter) else { return (zero(), flags) };
        let is_more = value.compare(last) == Some(std::cmp::Ordering::Greater);
        let before = spec.rollover.and_then(|end| counted.checked_sub(end)).filter(|carried| carried.mantissa >= 0);
        match before {
            Some(carried) if is_more && counted.mantissa > 0 => (carried, flags),
            _ if is_more => {
                flags.insert(0, Flag::Regression);
                (counted, flags)
            }
            _ => (counted, flags),
        }
    }
}

/// Serial numbers are the same whatever zeros stand before them.
fn same_serial(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.trim().trim_start_matches('0').to_ascii_uppercase();
    plain(one) == plain(other)
}
