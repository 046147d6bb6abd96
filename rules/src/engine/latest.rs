//! The last that is known of every point and device of the site.

use gatehouse_core::{DeviceIx, Mono, PointReading, Reading};

use crate::catalog::{Catalog, PointRef};

/// The last readings, and who answers.
#[derive(Debug, Default)]
pub struct Latest {
    devices: Vec<Device>,
}

#[derive(Debug, Default)]
struct Device {
    online: Option<bool>,
    points: Vec<Point>,
}

#[derive(Debug, Default, Clone)]
struct Point {
    reading: Option<Reading>,
    /// When there was a value last.
    value_at: Option<Mono>,
}

impl Latest {
    /// Nothing is known yet.
    pub fn new(catalog: &Catalog) -> Self {
        let device = |points: usize| Device { online: None, points: (0..points).map(|_| Point::default()).collect() };
        Latest { devices: catalog.devices.iter().map(|d| device(d.points.len())).collect() }
    }

    /// Takes one reading. Points that the site does not have are left out.
    pub fn take(&mut self, device: DeviceIx, at: Mono, reading: &PointReading) {
        let Some(slot) = self.device_mut(device).and_then(|d| d.points.get_mut(usize::from(reading.point.0))) else {
            return;
        };
        if reading.value.is_ok() {
            slot.value_at = Some(at);
        }
        match &mut slot.reading {
            // In place: a text keeps its memory, and nothing else has any.
            Some(old) => {
                old.at = at;
                old.value.clone_from(&reading.value);
            }
            None => slot.reading = Some(Reading { at, value: reading.value.clone() }),
        }
    }

    /// Notes whether a device answers. True when that is news.
    pub fn set_online(&mut self, device: DeviceIx, online: bool) -> bool {
        let Some(slot) = self.device_mut(device) else { return false };
        slot.online.replace(online) != Some(online)
    }

    /// The last reading of a point, a missing value included.
    pub fn reading(&self, at: PointRef) -> Option<&Reading> {
        self.point(at)?.reading.as_ref()
    }

    /// When a point had a value last.
    pub fn value_at(&self, at: PointRef) -> Option<Mono> {
        self.point(at)?.value_at
    }

    /// Whether a device answers; `None` before it is known.
    pub fn is_online(&self, device: DeviceIx) -> Option<bool> {
        self.devices.get(usize::try_from(device.0).ok()?)?.online
    }

    fn point(&self, at: PointRef) -> Option<&Point> {
        self.devices.get(usize::try_from(at.device.0).ok()?)?.points.get(usize::from(at.point.0))
    }

    fn device_mut(&mut self, device: DeviceIx) -> Option<&mut Device> {
        self.devices.get_mut(usize::try_from(device.0).ok()?)
    }
}
