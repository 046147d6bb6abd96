//! Readings that can be billed: what the shell tells of them and asks for.

use gatehouse_core::{DeviceIx, Mono, Name, PointIx, PointReading, Stamp};

use super::{Engine, Setup, health};
use crate::alarm::AlarmSource;
use crate::billing::{Billing, CLASSES, Entry, FixedReading, Flag, Installation, MeterError, Swap};
use crate::effect::ActId;

impl Engine {
    /// Judges readings of a device with billing points before they are stored, and gives the flags to store with them.
    /// [`Engine::handle_sample`] is to follow.
    pub fn judge(
        &mut self,
        now: Stamp,
        device: DeviceIx,
        at: Mono,
        readings: &[PointReading],
    ) -> Vec<(PointIx, Vec<Flag>)> {
        let ago = i64::try_from(now.mono.since(at).as_micros()).unwrap_or(0);
        let at = Stamp { mono: at, wall: gatehouse_core::Wall(now.wall.0 - ago), ..now };
        self.billing.handle_readings(at, device, readings)
    }

    /// What an act read; its result is to follow.
    pub fn handle_act_readings(&mut self, now: Stamp, id: ActId, at: Mono, readings: &[PointReading]) {
        self.billing.handle_act_readings(now, id, at, readings);
        self.settle(now);
    }

    /// A meter was replaced, or has another ratio.
    ///
    /// # Errors
    /// [`MeterError`]; nothing has changed then.
    pub fn swap_meter(&mut self, now: Stamp, device: &str, swap: &Swap, by: &str) -> Result<Installation, MeterError> {
        let swapped = self.billing.swap(now, device, swap, by).cloned();
        self.settle(now);
        swapped
    }

    /// A person read a meter.
    ///
    /// # Errors
    /// [`MeterError`]; nothing is kept then.
    pub fn enter_reading(
        &mut self,
        now: Stamp,
        device: &str,
        entry: &Entry,
        by: &str,
    ) -> Result<FixedReading, MeterError> {
        let entered = self.billing.enter(now, device, entry, by);
        self.settle(now);
        entered
    }

    /// The fixed-clock readings of a day are deleted.
    pub fn handle_dropped_day(&mut self, now: Stamp, day: &str) {
        self.billing.handle_dropped(day);
        self.settle(now);
    }

    /// Meters that bills are made of.
    pub fn billing(&self) -> &Billing {
        &self.billing
    }
}

/// The alarms of devices with billing points.
pub(super) fn sources(setup: &Setup) -> Vec<AlarmSource> {
    let meters = setup.billing.meters.iter();
    let known = meters.filter_map(|meter| Some((meter.device, &setup.catalog.device(meter.device)?.id)));
    let source = |(device, id): (DeviceIx, &Name)| {
        CLASSES.map(|class| AlarmSource {
            id: health::id(class, id),
            device: Some(device),
            parents: Vec::new(),
            data_parents: Vec::new(),
        })
    };
    known.flat_map(source).collect()
}
