//! What the rules may know of the site: its devices and points by name, without how they are reached.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{DeviceIx, Kind, Name, PointIx};

/// The devices of the site. [`DeviceIx`] counts in [`Catalog::devices`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// Devices, in the order of the site file.
    pub devices: Vec<CatalogDevice>,
    /// Buses, in the order of the site file.
    pub buses: Vec<Name>,
}

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogDevice {
    /// Its permanent identity.
    pub id: Name,
    /// For people; `""` for none.
    pub title: String,
    /// Position of its bus in [`Catalog::buses`]; `None`: the box itself, which is on none.
    pub bus: Option<usize>,
    /// Its profile.
    pub profile: Option<Name>,
    /// The profile's category: `electricity_meter_3p`, `relay_board`, ...; `""` for none.
    pub category: String,
    /// Labels; `building`, `floor` and `room` say where it is.
    pub labels: BTreeMap<String, String>,
    /// Its points. [`PointIx`] counts here.
    pub points: Vec<CatalogPoint>,
}

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogPoint {
    /// Its name.
    pub name: Name,
    /// Its unit, as written on the device; `""` for none.
    pub unit: String,
    /// What its values are made of.
    pub kind: Kind,
    /// Time from one poll to the next.
    pub interval: Duration,
    /// True when it can be written.
    pub writable: bool,
    /// True when it shows who was at a reader, or what was typed there: no ticket tells it.
    pub personal: bool,
}

/// A point of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointRef {
    /// The device.
    pub device: DeviceIx,
    /// The point.
    pub point: PointIx,
}

impl Catalog {
    /// The device at `ix`.
    pub fn device(&self, ix: DeviceIx) -> Option<&CatalogDevice> {
        self.devices.get(usize::try_from(ix.0).ok()?)
    }

    /// The point that `at` names.
    pub fn point(&self, at: PointRef) -> Option<&CatalogPoint> {
        self.device(at.device)?.points.get(usize::from(at.point.0))
    }

    /// The device with this id.
    pub fn device_by_id(&self, id: &str) -> Option<(DeviceIx, &CatalogDevice)> {
        (0u32..).map(DeviceIx).zip(&self.devices).find(|(_, device)| device.id == *id)
    }

    /// All devices with their indexes.
    pub fn devices_with_ix(&self) -> impl Iterator<Item = (DeviceIx, &CatalogDevice)> {
        (0u32..).map(DeviceIx).zip(&self.devices)
    }
}

impl CatalogDevice {
    /// The point with this name.
    pub fn point_by_name(&self, name: &str) -> Option<(PointIx, &CatalogPoint)> {
        (0u16..).map(PointIx).zip(&self.points).find(|(_, point)| point.name == *name)
    }
}
