//! What is decided on the box: from the site's tables to the engine's setup.

use std::sync::Arc;

use gatehouse_rules::engine::Setup;
use gatehouse_rules::mode::ModeSettings;
use gatehouse_rules::{Catalog, CatalogDevice, CatalogPoint};

use crate::site::{Bus, Device};

pub(super) fn read(devices: &[Arc<Device>], buses: &[Bus], uplink: bool) -> Setup {
    Setup { catalog: catalog(devices, buses), mode: ModeSettings { uplink, ..ModeSettings::default() } }
}

/// The site as rules see it.
pub(super) fn catalog(devices: &[Arc<Device>], buses: &[Bus]) -> Catalog {
    let device = |device: &Arc<Device>| CatalogDevice {
        id: device.id.clone(),
        title: device.title.clone(),
        bus: device.bus,
        profile: device.profile.clone(),
        category: device.category.clone(),
        labels: device.labels.clone(),
        points: device.points.iter().map(point).collect(),
    };
    Catalog { devices: devices.iter().map(device).collect(), buses: buses.iter().map(|bus| bus.id.clone()).collect() }
}

fn point(point: &crate::site::PointConfig) -> CatalogPoint {
    CatalogPoint {
        name: point.spec.name.clone(),
        unit: point.spec.unit.clone(),
        kind: point.spec.kind(),
        interval: point.interval,
        writable: point.spec.write.is_some(),
    }
}
