//! What people do: a meter is swapped or gets another ratio, a reading is entered by hand.

use std::collections::BTreeMap;

use gatehouse_core::{Decimal, Raw, Stamp, Trust};
use serde::{Deserialize, Serialize};

use super::lack::Lack;
use super::meter::{MOST_INSTALLATIONS, Register};
use super::record::{FixedReading, Installation, Source, Taken, believed, decimal_text, zero};
use super::{Billing, METER_RECORD, Meter, calendar};
use crate::schedule::zone;

/// Most characters of what people say.
const MOST_TEXT: usize = 200;

/// A value that somebody gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The register's own digits.
    #[serde(with = "decimal_text")]
    pub value: Decimal,
    /// True when it was read from the meter just then, false when somebody typed it.
    #[serde(default)]
    pub live: bool,
}

/// A meter is replaced, or the same one gets another ratio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// Who did it.
    pub who: String,
    /// Why.
    pub reason: String,
    /// The serial number of the meter that is there from now on.
    pub serial: String,
    /// Its ratio; `None`: the one before, or 1.
    #[serde(default)]
    pub multiplier: Option<String>,
    /// The last readings of the old meter, by point. Registers that are not named close with what was read of them last.
    #[serde(default)]
    pub closing: BTreeMap<String, Given>,
    /// The first readings of the new meter, by point. Registers that are not named open with what is read of them first;
    /// of a meter that stays, with what they close with.
    #[serde(default)]
    pub opening: BTreeMap<String, Given>,
}

/// A reading that somebody took from the display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The point.
    pub point: String,
    /// The register's digits.
    pub value: String,
    /// Who read it.
    pub who: String,
    /// Why it is entered.
    pub reason: String,
    /// The day that it is for, `2026-11-26`; `None`: today.
    #[serde(default)]
    pub day: Option<String>,
    /// The reading that it is for; `None`: `manual`.
    #[serde(default)]
    pub reading: Option<String>,
}

/// Why something about a meter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// The device has no billing points.
    #[error("{0} has no billing points: it is no meter that bills are made of")]
    NoMeter(String),
    /// The device has no such billing point.
    #[error("{device} has no billing point {point:?}; it has {known}")]
    NoPoint {
        /// The device.
        device: String,
        /// What was named.
        point: String,
        /// What there is.
        known: String,
    },
    /// A text is empty or too long.
    #[error("{0} is missing, or has more than 200 characters")]
    BadText(&'static str),
    /// A number is none.
    #[error("{0:?} is no number: write the digits of the display, for example 12345.67")]
    BadNumber(String),
    /// A ratio is not positive.
    #[error("the multiplier {0} is not above zero")]
    BadRatio(Decimal),
    /// The ratio would count twice.
    #[error(
        "{0} has a billing point whose `scale` is no power of ten: a ratio that is in there must not be multiplied again"
    )]
    StackedRatio(String),
    /// Nothing changes.
    #[error("serial number {0} with this multiplier is what is installed already, and no opening reading is given")]
    Unchanged(String),
    /// There is no room.
    #[error("{0} installations are kept of this device already")]
    TooMany(usize),
    /// A day is none, or is to come.
    #[error("{0:?} is no day up to today: write it as 2026-11-26")]
    BadDay(String),
    /// The time is not known.
    #[error("the box does not know the time: nobody could say from when on it counts")]
    NoClock,
}

impl MeterError {
    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            MeterError::NoMeter(_) => "no_meter",
            MeterError::NoPoint { .. } => "unknown_point",
            MeterError::BadText(_) => "bad_text",
            MeterError::BadNumber(_) => "bad_value",
            MeterError::BadRatio(_) => "bad_multiplier",
            MeterError::StackedRatio(_) => "stacked_ratio",
            MeterError::Unchanged(_) => "unchanged",
            MeterError::TooMany(_) => "too_many",
            MeterError::BadDay(_) => "bad_day",
            MeterError::NoClock => "time_unknown",
        }
    }
}

impl Billing {
    /// A meter was replaced, or has another ratio from now on: the installation ends and the next begins.
    ///
    /// # Errors
    /// [`MeterError`]; nothing has changed then.
    pub fn swap(&mut self, now: Stamp, device: &str, swap: &Swap, by: &str) -> Result<&Installation, MeterError> {
        let (ix, meter) = self.find(device)?;
        let next = check(now, meter, swap)?;
        let same = meter.current().is_some_and(|current| current.serial == swap.serial);
        let closing: BTreeMap<String, Taken> = closing(now, meter, swap);
        let goes_on = same && swap.opening.is_empty();
        let mut opening: BTreeMap<String, Taken> =
            swap.opening.iter().map(|(name, given)| (name.clone(), taken(now, given))).collect();
        if goes_on {
            opening.clone_from(&closing);
            opening.values_mut().for_each(|one| one.carried = zero());
        }
        let version = meter.history.last().map_or(1, |one| one.version + 1);
        let Some(meter) = self.meters.get_mut(ix) else { return Err(MeterError::NoMeter(device.to_owned())) };
        let had = meter.current().is_some();
        if let Some(old) = meter.history.last_mut().filter(|_| had) {
            old.to = Some(now.into());
            old.closing = closing;
        }
        for (spec, register) in meter.spec.registers.iter().zip(&mut meter.registers) {
            match opening.get(&*spec.name) {
                Some(first) => {
                    let accepted =
                        super::Accepted { value: first.value, carried: zero(), at: now.into(), raw: first.raw };
                    *register = Register { last: Some(accepted), flags: register.flags.take(), silent: false };
                }
                None => *register = Register { last: None, flags: register.flags.take(), silent: false },
            }
        }
        meter.serial_seen = None;
        meter.is_dirty = true;
        if had {
            self.tell_installation(now, ix);
        }
        let by = format!("{} ({by})", swap.who.trim());
        let installation = Installation {
            device: device.to_owned(),
            version,
            revision: 0,
            serial: swap.serial.trim().to_owned(),
            multiplier: next,
            from: now.into(),
            to: None,
            opening,
            closing: BTreeMap::new(),
            by,
            reason: swap.reason.trim().to_owned(),
        };
        if let Some(meter) = self.meters.get_mut(ix) {
            meter.history.push(installation);
            if !same {
                // What was learned of the freezes was of the meter that is gone.
                (meter.owed.lack, meter.owed.shift) = (Lack::default(), 0);
            }
        }
        self.tell_installation(now, ix);
        self.keep_state(ix);
        self.keep_owed(ix);
        self.tell(ix, METER_RECORD, false, format!("{device}: a swap is recorded"));
        self.meters.get(ix).and_then(Meter::current).ok_or_else(|| MeterError::NoMeter(device.to_owned()))
    }

    /// A person read a meter. The reading is kept beside what the box read, and changes nothing else.
    ///
    /// # Errors
    /// [`MeterError`]; nothing is kept then.
    pub fn enter(&mut self, now: Stamp, device: &str, entry: &Entry, by: &str) -> Result<FixedReading, MeterError> {
        let (ix, meter) = self.find(device)?;
        known(meter, &entry.point)?;
        let who = said(&entry.who, "who")?;
        let why = said(&entry.reason, "reason")?;
        let value = Decimal::parse(entry.value.trim()).map_err(|_| MeterError::BadNumber(entry.value.clone()))?;
        if now.trust == Trust::Unset {
            return Err(MeterError::NoClock);
        }
        let today = zone::local(now.wall, &self.zone).date();
        let bad_day = |day: &str| MeterError::BadDay(day.to_owned());
        let day = match &entry.day {
            None => today,
            Some(day) => day.parse().map_err(|_| bad_day(day))?,
        };
        if day > today {
            return Err(bad_day(&day.to_string()));
        }
        let spec = entry.reading.as_deref().and_then(|name| self.readings.iter().find(|spec| spec.name == *name));
        let due = spec.and_then(|spec| calendar::due_at(spec, day, &self.zone)).map_or(now.wall.0, |due| due.0);
        let Some(meter) = self.meters.get(ix) else { return Err(MeterError::NoMeter(device.to_owned())) };
        let by_hand = taken(now, &Given { value, live: false });
        let carried = meter.spec.register_by_name(&entry.point).map(|(ix, _)| meter.judge_past(None, ix, value));
        let (carried, flags) = carried.unwrap_or((zero(), Vec::new()));
        let reading = FixedReading {
            reading: spec.map_or("manual", |spec| spec.name.as_str()).to_owned(),
            device: device.to_owned(),
            day: day.to_string(),
            due_us: due,
            at: Some(now.into()),
            skew_s: None,
            clock_offset_s: None,
            installation: meter.installed_at(due).ok().flatten(),
            values: BTreeMap::from([(entry.point.clone(), Taken { carried, flags, ..by_hand })]),
            missing: BTreeMap::new(),
            by: Some(format!("{who} ({by})")),
            why: Some(why),
        };
        self.keep_reading(now, &reading);
        Ok(reading)
    }

    /// The meter that the site file says was there first begins the history.
    pub(super) fn begin_from_site_file(&mut self, now: Stamp, ix: usize) {
        let Some(meter) = self.meters.get_mut(ix) else { return };
        let (serial, multiplier) = (meter.spec.serial.clone(), meter.spec.multiplier);
        if serial.is_none() && multiplier.is_none() {
            return;
        }
        let serial = serial.unwrap_or_default();
        let Some(first) = meter.history.first() else {
            meter.history.push(Installation {
                device: meter.id.clone(),
                version: 1,
                revision: 0,
                serial,
                multiplier: multiplier.unwrap_or(Decimal::whole(1)),
                from: now.into(),
                to: None,
                opening: BTreeMap::new(),
                closing: BTreeMap::new(),
                by: "site_file".to_owned(),
                reason: String::new(),
            });
            return self.tell_installation(now, ix);
        };
        // What the file says of the first meter never changes a record; that it says something else is worth a word.
        let differs = first.by == "site_file"
            && (first.serial != serial || multiplier.is_some_and(|ratio| !ratio.same_number(first.multiplier)));
        let message = format!(
            "{}: the site file says serial {serial:?} and multiplier {}, the record says {:?} and {}",
            meter.id,
            multiplier.unwrap_or(Decimal::whole(1)),
            first.serial,
            first.multiplier
        );
        self.tell(ix, METER_RECORD, differs, message);
    }

    fn find(&self, device: &str) -> Result<(usize, &Meter), MeterError> {
        let found = self.meters.iter().enumerate().find(|(_, meter)| meter.id == device);
        found.ok_or_else(|| MeterError::NoMeter(device.to_owned()))
    }
}

/// Checks a swap; gives the ratio that holds from then on.
fn check(now: Stamp, meter: &Meter, swap: &Swap) -> Result<Decimal, MeterError> {
    said(&swap.who, "who")?;
    said(&swap.reason, "reason")?;
    said(&swap.serial, "serial")?;
    if now.trust == Trust::Unset {
        return Err(MeterError::NoClock);
    }
    let before = meter.current().map_or(Decimal::whole(1), |one| one.multiplier);
    let next = match &swap.multiplier {
        None => before,
        Some(text) => Decimal::parse(text.trim()).map_err(|_| MeterError::BadNumber(text.clone()))?,
    };
    if next.mantissa <= 0 {
        return Err(MeterError::BadRatio(next));
    }
    if meter.spec.ratio_in_scale && !next.same_number(Decimal::whole(1)) {
        return Err(MeterError::StackedRatio(meter.id.clone()));
    }
    for name in swap.closing.keys().chain(swap.opening.keys()) {
        known(meter, name)?;
    }
    let same = meter.current().is_some_and(|one| one.serial == swap.serial.trim() && one.multiplier.same_number(next));
    if same && swap.opening.is_empty() {
        return Err(MeterError::Unchanged(swap.serial.clone()));
    }
    if meter.history.len() >= MOST_INSTALLATIONS {
        return Err(MeterError::TooMany(meter.history.len()));
    }
    Ok(next)
}

/// What the old meter's registers close with: what was given, else what was accepted of them last.
fn closing(now: Stamp, meter: &Meter, swap: &Swap) -> BTreeMap<String, Taken> {
    let mut closing = BTreeMap::new();
    for (ix, (spec, register)) in meter.spec.registers.iter().zip(&meter.registers).enumerate() {
        let one = match (swap.closing.get(&*spec.name), register.last) {
            (Some(given), _) => {
                let (carried, flags) = close(meter, ix, given.value);
                Taken { carried, flags, ..taken(now, given) }
            }
            (None, Some(last)) => Taken {
                value: last.value,
                carried: last.carried,
                at_us: believed(&last.at.into()),
                source: Source::Last,
                flags: Vec::new(),
                raw: last.raw,
            },
            (None, None) => continue,
        };
        closing.insert(spec.name.to_string(), one);
    }
    closing
}

/// What a given closing value had carried, and whether it goes on from the last accepted one.
fn close(meter: &Meter, ix: usize, value: Decimal) -> (Decimal, Vec<super::Flag>) {
    use super::judge::{Course, course};
    let (Some(spec), Some(register)) = (meter.spec.registers.get(ix), meter.registers.get(ix)) else {
        return (zero(), Vec::new());
    };
    let Some(last) = register.last else { return (zero(), Vec::new()) };
    match course(spec, last.value, value, None) {
        Course::On => (last.carried, Vec::new()),
        Course::Over => {
            let over = spec.rollover.unwrap_or(zero());
            (last.carried.checked_add(over).unwrap_or(last.carried), vec![super::Flag::Rollover])
        }
        Course::Broken(flag) => (last.carried, vec![flag]),
    }
}

fn taken(now: Stamp, given: &Given) -> Taken {
    let source = if given.live { Source::Live } else { Source::Manual };
    Taken { value: given.value, carried: zero(), at_us: believed(&now), source, flags: Vec::new(), raw: Raw::default() }
}

fn known(meter: &Meter, point: &str) -> Result<(), MeterError> {
    if meter.spec.register_by_name(point).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = meter.spec.registers.iter().map(|register| register.name.as_str()).collect();
    Err(MeterError::NoPoint { device: meter.id.clone(), point: point.to_owned(), known: known.join(", ") })
}

fn said(text: &str, what: &'static str) -> Result<String, MeterError> {
    let text = text.trim();
    let sound = !text.is_empty() && text.chars().count() <= MOST_TEXT && !text.chars().any(char::is_control);
    if sound { Ok(text.to_owned()) } else { Err(MeterError::BadText(what)) }
}
