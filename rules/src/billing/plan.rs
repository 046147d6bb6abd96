//! Which readings have become due.

use gatehouse_core::{DeviceIx, Stamp};

use super::owed::{Due, MOST_OWED};
use super::{Billing, calendar, until};

impl Billing {
    /// Notes what has become due of one reading.
    pub(super) fn plan(&mut self, now: Stamp, at: usize) {
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
