//! What a ticket is told of a device.

use std::rc::Rc;

use gatehouse_core::{DeviceIx, Mono, PointIx};

use super::latest::Latest;
use crate::catalog::{Catalog, PointRef};
use crate::ticket::{Evidence, EvidenceReading, Place, TicketDevice};

/// Gives the last frames on the line of a device, the newest first, each as text.
#[derive(Clone)]
pub struct FrameSource(pub Rc<dyn Fn(DeviceIx) -> Vec<String>>);

impl std::fmt::Debug for FrameSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameSource")
    }
}

/// What the engine knows of devices.
pub(super) struct Known<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) latest: &'a Latest,
    pub(super) now: Mono,
    pub(super) frames: Option<&'a FrameSource>,
}

impl Evidence for Known<'_> {
    fn place(&self, device: DeviceIx) -> Place {
        let label = |name: &str| {
            let device = self.catalog.device(device);
            device.and_then(|device| device.labels.get(name)).cloned().unwrap_or_default()
        };
        Place { building: label("building"), floor: label("floor"), room: label("room") }
    }

    fn device(&self, device: DeviceIx) -> Option<TicketDevice> {
        let device = self.catalog.device(device)?;
        Some(TicketDevice { id: device.id.to_string(), title: device.title.clone() })
    }

    fn readings(&self, device: DeviceIx) -> Vec<EvidenceReading> {
        let Some(config) = self.catalog.device(device) else { return Vec::new() };
        let points = (0u16..).map(PointIx).zip(&config.points);
        let told = points.filter_map(|(point, config)| {
            let reading = self.latest.reading(PointRef { device, point })?;
            let value = match &reading.value {
                Ok(_) if config.personal => "personal".to_owned(),
                Ok(value) if config.unit.is_empty() => value.to_string(),
                Ok(value) => format!("{value} {}", config.unit),
                Err(why) => why.to_string(),
            };
            let age_s = self.now.since(reading.at).as_secs();
            Some(EvidenceReading { point: config.name.to_string(), value, age_s })
        });
        told.collect()
    }

    fn frames(&self, device: DeviceIx) -> Vec<String> {
        self.frames.map(|source| (source.0)(device)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use gatehouse_core::{Decimal, Kind, Name, PointReading, Value};

    use super::*;
    use crate::catalog::{CatalogDevice, CatalogPoint};

    #[test]
    fn a_ticket_is_not_told_who_was_at_a_reader() {
        let name = |text: &str| Name::new(text).unwrap();
        let point = |text: &str, personal| CatalogPoint {
            name: name(text),
            unit: String::new(),
            kind: Kind::FreeDecimal,
            interval: Duration::from_secs(1),
            writable: false,
            personal,
        };
        let reader = CatalogDevice {
            id: name("reader"),
            title: String::new(),
            bus: None,
            profile: None,
            category: String::new(),
            labels: BTreeMap::new(),
            points: vec![point("card", true), point("count", false)],
        };
        let catalog = Catalog { devices: vec![reader], buses: Vec::new() };
        let mut latest = Latest::new(&catalog);
        let now = Mono::from_millis(5_000);
        for point in [0, 1] {
            let value = Ok(Value::Decimal(Decimal::whole(3456)));
            latest.take(DeviceIx(0), now, &PointReading::new(PointIx(point), value));
        }
        let known = Known { catalog: &catalog, latest: &latest, now, frames: None };
        let told: Vec<String> = known.readings(DeviceIx(0)).into_iter().map(|reading| reading.value).collect();
        assert_eq!(told, ["personal", "3456"]);
    }
}
