//! How a fixed-clock reading ends: told with what came, or as a gap with its reason.

use std::collections::BTreeMap;

use gatehouse_core::Stamp;

use super::meter::Meter;
use super::owed::Due;
use super::record::FixedReading;
use super::{Billing, READING_MISSED};

impl Billing {
    /// Records what was read live.
    pub(super) fn tell_live(&mut self, now: Stamp, ix: usize, due: &Due) {
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

    /// Raises the alarm for a reading that is missing, or clears it.
    pub(super) fn missed(&mut self, ix: usize, holds: bool, reading: &FixedReading) {
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

/// A reading without values yet.
pub(super) fn blank(meter: &Meter, due: &Due, at: Option<Stamp>) -> FixedReading {
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
