//! The site that the tests of expressions speak of.

mod mistakes;
mod oracle;
mod pairs;
mod templates;
mod time;
mod truth;

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{Decimal, DeviceIx, Kind, Mono, Name, NoData, PointIx, Reading, Value};

use super::{Expr, Facts, Outcome};
use crate::words::Mode;
use crate::{Catalog, CatalogDevice, CatalogPoint, PointRef};

/// The device that the rules under test belong to.
pub(super) const OWN: DeviceIx = DeviceIx(0);

/// A meter with points of every kind, and a door.
pub(super) fn catalog() -> Catalog {
    let name = |text: &str| Name::new(text).unwrap();
    let point = |text: &str, kind, seconds| CatalogPoint {
        name: name(text),
        unit: String::new(),
        kind,
        interval: Duration::from_secs(seconds),
        writable: false,
        personal: false,
    };
    let device = |id: &str, title: &str, labels: &[(&str, &str)], points| CatalogDevice {
        id: name(id),
        title: title.to_owned(),
        bus: Some(0),
        profile: None,
        category: String::new(),
        labels: labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
        points,
    };
    let meter = vec![
        point("voltage_l1", Kind::Decimal { exponent: -1 }, 1),
        point("current_l1", Kind::F32, 60),
        point("frequency", Kind::F64, 1),
        point("relay", Kind::Bool, 1),
        point("alarmed", Kind::Bool, 1),
        point("state", Kind::Text, 1),
        point("energy-import", Kind::FreeDecimal, 1),
        point("phase.a", Kind::F64, 1),
        point("in", Kind::F64, 1),
        point("line-a", Kind::F64, 1),
    ];
    let door =
        vec![point("open", Kind::Bool, 1), point("openings", Kind::FreeDecimal, 1), point("badge", Kind::Text, 1)];
    Catalog {
        devices: vec![
            device("meter-101", "Flat 101", &[("floor", "3")], meter),
            device("door-1", "", &[("building", "A")], door),
        ],
        buses: vec![name("bus")],
    }
}

/// A place in the catalogue, by names.
pub(super) fn at(device: &str, point: &str) -> PointRef {
    let catalog = catalog();
    let (ix, device) = catalog.device_by_id(device).unwrap();
    PointRef { device: ix, point: device.point_by_name(point).unwrap().0 }
}

pub(super) fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::parse(text).unwrap())
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// What is known of the site.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) readings: BTreeMap<PointRef, Reading>,
    pub(super) valued: BTreeMap<PointRef, Mono>,
    pub(super) online: BTreeMap<DeviceIx, bool>,
    pub(super) mode: Mode,
    pub(super) now: Mono,
    pub(super) since: Mono,
}

impl Site {
    /// A site that was started a minute ago; nothing was read yet.
    pub(super) fn new() -> Self {
        Site {
            readings: BTreeMap::new(),
            valued: BTreeMap::new(),
            online: BTreeMap::new(),
            mode: Mode::Online,
            now: Mono::from_millis(1_000_000),
            since: Mono::from_millis(940_000),
        }
    }

    /// The same after a reading of the own device, now.
    pub(super) fn with(self, point: &str, value: Value) -> Self {
        self.read(at("meter-101", point), Ok(value))
    }

    pub(super) fn without(self, point: &str, why: NoData) -> Self {
        self.read(at("meter-101", point), Err(why))
    }

    pub(super) fn read(mut self, at: PointRef, value: Result<Value, NoData>) -> Self {
        if value.is_ok() {
            self.valued.insert(at, self.now);
        }
        self.readings.insert(at, Reading { at: self.now, value });
        self
    }

    /// The same a while later.
    pub(super) fn after(mut self, ms: u64) -> Self {
        self.now = self.now + Duration::from_millis(ms);
        self
    }

    pub(super) fn says(&self, source: &str) -> Outcome {
        compiled(source).evaluate(self)
    }
}

impl Facts for Site {
    fn reading(&self, at: PointRef) -> Option<&Reading> {
        self.readings.get(&at)
    }

    fn last_value_at(&self, at: PointRef) -> Option<Mono> {
        self.valued.get(&at).copied()
    }

    fn is_online(&self, device: DeviceIx) -> Option<bool> {
        self.online.get(&device).copied()
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn now(&self) -> Mono {
        self.now
    }

    fn watched_since(&self) -> Mono {
        self.since
    }
}

/// A condition of a rule on the meter.
pub(super) fn compiled(source: &str) -> Expr {
    match Expr::compile(source, &catalog(), Some(OWN)) {
        Ok(expr) => expr,
        Err(errors) => panic!("{source}: {errors:?}"),
    }
}

#[test]
fn the_catalogue_of_the_tests_is_what_they_think_it_is() {
    assert_eq!(at("door-1", "open"), PointRef { device: DeviceIx(1), point: PointIx(0) });
}
