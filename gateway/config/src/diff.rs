//! What a changed site file changes, so that a reload leaves the rest alone.

use crate::site::{Bus, Device, Site};

/// The difference between the running site and a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteDiff {
    /// Buses that go on as they are: positions in the old and the new site. Their ports, line settings and polls are the
    /// same, device by device in the same order, so that their lines need not stop; labels, reports and billing may differ.
    pub unchanged: Vec<(usize, usize)>,
    /// Buses with the same id that begin anew: positions in the old and the new site.
    pub changed: Vec<(usize, usize)>,
    /// Positions of new buses in the new site.
    pub added: Vec<usize>,
    /// Positions of buses that are gone in the old site.
    pub removed: Vec<usize>,
    /// The box's own contacts begin anew: their wiring, names or filters differ.
    pub box_io: bool,
    /// The uplink's settings differ.
    pub uplink: bool,
    /// What the core is told of the site differs: titles, labels, devices, points.
    pub inventory: bool,
    /// Some point is recorded or billed otherwise, or the devices are others.
    pub reports: bool,
    /// Settings that only a restart changes and that differ, as their tables are called: `data`, `http`, `api`,
    /// `site.id`.
    pub restart: Vec<&'static str>,
    /// The clock's settings differ.
    pub clock: bool,
}

impl SiteDiff {
    /// True when both sites are the same.
    pub fn is_empty(&self) -> bool {
        let same = SiteDiff { unchanged: self.unchanged.clone(), ..SiteDiff::default() };
        *self == same
    }
}

impl Site {
    /// What `new` changes.
    pub fn diff(&self, new: &Site) -> SiteDiff {
        let mut diff = SiteDiff::default();
        for (at, bus) in new.buses.iter().enumerate() {
            match self.buses.iter().position(|old| old.id == bus.id) {
                Some(old) if self.polls_as(old, new, at) => diff.unchanged.push((old, at)),
                Some(old) => diff.changed.push((old, at)),
                None => diff.added.push(at),
            }
        }
        let gone = |bus: &Bus| new.buses.iter().all(|other| other.id != bus.id);
        diff.removed = self.buses.iter().enumerate().filter(|(_, bus)| gone(bus)).map(|(at, _)| at).collect();
        let own = |site: &Site| site.own_device().map(|(_, device)| device.clone());
        let same = match (own(self), own(new)) {
            (Some(one), Some(two)) => polled(&one) == polled(&two),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        diff.box_io = !same || self.box_io != new.box_io;
        diff.uplink = self.uplink != new.uplink;
        diff.clock = self.clock != new.clock;
        let told = (&self.title, &self.timezone, &self.labels) == (&new.title, &new.timezone, &new.labels);
        diff.inventory = !told || self.devices.len() != new.devices.len() || !same_devices(self, new, told_alike);
        diff.reports = self.devices.len() != new.devices.len() || !same_devices(self, new, recorded_alike);
        let restart = [
            ("site.id", self.id != new.id),
            ("data", self.store != new.store),
            ("http", self.http != new.http),
            ("api", self.api != new.api),
            ("access", self.access != new.access),
        ];
        diff.restart = restart.into_iter().filter(|(_, differs)| *differs).map(|(table, _)| table).collect();
        diff
    }

    /// True when the bus `at` and the bus `other` of `new` are polled alike.
    fn polls_as(&self, at: usize, new: &Site, other: usize) -> bool {
        let (Some(one), Some(two)) = (self.buses.get(at), new.buses.get(other)) else { return false };
        let alike = (&one.port, one.framing, &one.line, one.wire, one.turnaround)
            == (&two.port, two.framing, &two.line, two.wire, two.turnaround);
        let devices = self.devices_on(at).map(|(_, device)| device);
        alike && devices.map(|device| polled(device)).eq(new.devices_on(other).map(|(_, device)| polled(device)))
    }
}

/// What the line and the driver of a device are made of.
fn polled(device: &Device) -> impl PartialEq + '_ {
    let specs: Vec<_> = device.points.iter().map(|point| &point.spec).collect();
    (&device.id, &device.station, specs, &device.groups, device.timeout)
}

fn same_devices(one: &Site, two: &Site, alike: fn(&Device, &Device) -> bool) -> bool {
    one.devices.iter().zip(&two.devices).all(|(a, b)| alike(a, b))
}

fn told_alike(a: &Device, b: &Device) -> bool {
    let point = |device: &Device| -> Vec<_> {
        device.points.iter().map(|p| (p.spec.clone(), p.title.clone(), p.billing, p.interval)).collect()
    };
    (&a.id, &a.title, &a.labels, &a.profile, a.bus) == (&b.id, &b.title, &b.labels, &b.profile, b.bus)
        && point(a) == point(b)
}

fn recorded_alike(a: &Device, b: &Device) -> bool {
    let rule = |device: &Device| -> Vec<_> {
        device.points.iter().map(|p| (p.spec.name.clone(), p.billing, p.personal, p.report)).collect()
    };
    a.id == b.id && rule(a) == rule(b)
}
