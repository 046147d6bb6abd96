//! The site of the tests: three meters on a bus, a board that works a barrier and a door, and the box's own contacts.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::driver::Argument;
use gatehouse_core::{DeviceIx, Kind, Name, PointIx};
use jiff::tz::TimeZone;

use crate::alarm::{AlarmSpec, builtin};
use crate::catalog::{Catalog, CatalogDevice, CatalogPoint, PointRef};
use crate::command;
use crate::engine::{BoxLimits, Mains, RuleInstance, RuleSpec, Setup};
use crate::expr::{Expr, Template};
use crate::gate::{GateKind, GateSpec, How, Output, Outputs, Policy, Role, Sensor, Timing};
use crate::mode::ModeSettings;
use crate::schedule::Calendar;
use crate::supply::SupplySetup;
use crate::ticket::{EscalationStep, OutputRef, TicketKind, TicketRules, When};
use crate::words::{Direction, Priority};

pub(super) const METERS: [DeviceIx; 3] = [DeviceIx(0), DeviceIx(1), DeviceIx(2)];
pub(super) const BOARD: DeviceIx = DeviceIx(3);
/// The box's own contacts.
pub(super) const IO: DeviceIx = DeviceIx(4);
/// The bus of the meters.
pub(super) const METER_BUS: usize = 0;

pub(super) const VOLTAGE: PointIx = PointIx(0);
pub(super) const LIMIT: PointIx = PointIx(1);
pub(super) const OPEN_LIMIT: PointIx = PointIx(0);
pub(super) const CLOSE_LIMIT: PointIx = PointIx(1);
pub(super) const LOOP: PointIx = PointIx(2);
pub(super) const DOOR: PointIx = PointIx(3);
pub(super) const LOCK: PointIx = PointIx(4);
pub(super) const LAMP: PointIx = PointIx(5);
pub(super) const FIRE: PointIx = PointIx(0);
pub(super) const MAINS: PointIx = PointIx(1);

/// A meter above this raises the alarm, and one below the second ends it.
pub(super) const RAISES: i128 = 253;
pub(super) const CLEARS: i128 = 250;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn setup() -> Setup {
    let catalog = catalog();
    let (calendar, zone) = (Calendar::weekdays_only(), TimeZone::UTC);
    Setup {
        mode: ModeSettings::default(),
        commands: command::Settings::new(name("box-1")),
        rules: vec![overvoltage(&catalog), offline_notice(&catalog)],
        builtin: builtin::specs(),
        limits: BoxLimits::default(),
        mains: Some(Mains {
            at: PointRef { device: IO, point: MAINS },
            lost_when: false,
            silences: Some(METERS.into()),
        }),
        gates: vec![barrier(), door()],
        readers: Vec::new(),
        controllers: Vec::new(),
        access: None,
        tickets: tickets(&calendar, &zone),
        supply: SupplySetup::default(),
        rounds: Vec::new(),
        billing: Default::default(),
        calendar,
        zone,
        version: "v1".to_owned(),
        catalog,
    }
}

fn catalog() -> Catalog {
    let number = Kind::Decimal { exponent: 0 };
    let mut devices: Vec<_> = ["meter-1", "meter-2", "meter-3"]
        .map(|id| device(id, METER_BUS, &[("voltage", number, false), ("limit", number, true)]))
        .into();
    let flags = ["open_limit", "close_limit", "loop", "door", "lock", "lamp", "relay"];
    devices.push(device("board", 1, &flags.map(|id| (id, Kind::Bool, matches!(id, "lock" | "lamp" | "relay")))));
    devices.push(device("io", 2, &["fire", "mains"].map(|id| (id, Kind::Bool, false))));
    Catalog { devices, buses: ["meters", "gates", "box"].map(name).into() }
}

fn device(id: &str, bus: usize, points: &[(&str, Kind, bool)]) -> CatalogDevice {
    let point = |(id, kind, writable): &(&str, Kind, bool)| CatalogPoint {
        name: name(id),
        unit: String::new(),
        kind: *kind,
        interval: Duration::from_secs(5),
        writable: *writable,
        personal: false,
    };
    CatalogDevice {
        id: name(id),
        title: String::new(),
        bus: Some(bus),
        profile: None,
        category: String::new(),
        labels: [("building".to_owned(), "3".to_owned())].into(),
        points: points.iter().map(point).collect(),
    }
}

fn overvoltage(catalog: &Catalog) -> RuleSpec {
    let mut alarm = AlarmSpec::new("overvoltage", Priority::P2);
    alarm.on_delay = Duration::from_secs(5);
    alarm.ticket = Some(name("power"));
    let instance = |device: DeviceIx| {
        Arc::new(RuleInstance {
            source: catalog.device(device).unwrap().id.to_string(),
            device: Some(device),
            when: Expr::compile(&format!("voltage > {RAISES}"), catalog, Some(device)).unwrap(),
            clear_when: Some(Expr::compile(&format!("voltage < {CLEARS}"), catalog, Some(device)).unwrap()),
            message: Template::compile("{voltage} V at {device.id}", catalog, Some(device)).unwrap(),
        })
    };
    RuleSpec { alarm, instances: METERS.map(instance).into() }
}

fn offline_notice(catalog: &Catalog) -> RuleSpec {
    let mut alarm = AlarmSpec::new("on_its_own", Priority::P3);
    alarm.auto_acknowledge = true;
    let instance = RuleInstance {
        source: "site".to_owned(),
        device: None,
        when: Expr::compile("mode == \"degraded\"", catalog, None).unwrap(),
        clear_when: None,
        message: Template::compile("the site is on its own", catalog, None).unwrap(),
    };
    RuleSpec { alarm, instances: vec![Arc::new(instance)] }
}

fn tickets(calendar: &Calendar, zone: &TimeZone) -> TicketRules {
    let mut rules = TicketRules::new(calendar.clone(), zone.clone());
    let lamp = OutputRef::point(name("lamp"), PointRef { device: BOARD, point: LAMP });
    let step = EscalationStep {
        after: Duration::from_secs(60),
        outputs: vec![lamp],
        guard_message: true,
        when: When::Offline,
    };
    for kind in ["power", "bus", "device", "gate", "fire", "security", "link", "box", "fire_system", "round"] {
        let settle = Duration::from_secs(120);
        rules.kinds.insert(name(kind), TicketKind { settle, escalation: vec![step.clone()], ..TicketKind::default() });
    }
    rules
}

fn sensor(role: Role, device: DeviceIx, point: PointIx) -> (Role, Sensor) {
    let plain = Sensor::new(role, PointRef { device, point }, Duration::from_secs(5));
    (role, Sensor { filter_on: Duration::ZERO, filter_off: Duration::ZERO, ..plain })
}

fn pulse(command: &str) -> Option<Output> {
    let how = How::Pulse { command: name(command), channel: Some(1), argument: Argument::Units(5) };
    Some(Output { device: BOARD, how })
}

fn barrier() -> GateSpec {
    let sensors = [
        sensor(Role::OpenLimit, BOARD, OPEN_LIMIT),
        sensor(Role::CloseLimit, BOARD, CLOSE_LIMIT),
        sensor(Role::LoopUnderBoom, BOARD, LOOP),
        sensor(Role::Fire, IO, FIRE),
    ];
    GateSpec {
        id: name("entry"),
        kind: GateKind::Barrier,
        direction: Direction::In,
        outputs: Outputs { open: pulse("open"), close: pulse("close"), stop: pulse("stop"), ..Outputs::default() },
        timing: Timing::default(),
        sensors: sensors.into(),
        fire_source: Some(name("panel")),
        policy: Policy { close_by_box: true, ..Policy::default() },
    }
}

fn door() -> GateSpec {
    let sensors = [sensor(Role::DoorContact, BOARD, DOOR), sensor(Role::Fire, IO, FIRE)];
    let lock = Some(Output { device: BOARD, how: How::Level { point: LOCK, on: true } });
    GateSpec {
        id: name("lobby"),
        kind: GateKind::Door,
        outputs: Outputs { lock, ..Outputs::default() },
        sensors: sensors.into(),
        policy: Policy::default(),
        ..barrier()
    }
}
