//! One engine with 1,000 rules, its simulated clock, and a digest of all that came out of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use gatehouse_core::{BootId, DeviceIx, Mono, Name, PointReading, Stamp, Trust, Wall};
use gatehouse_rules::alarm::{AlarmSpec, builtin};
use gatehouse_rules::command;
use gatehouse_rules::engine::{BoxLimits, RuleInstance, RuleSpec, Setup};
use gatehouse_rules::expr::{Expr, Template};
use gatehouse_rules::mode::ModeSettings;
use gatehouse_rules::schedule::Calendar;
use gatehouse_rules::ticket::{TicketKind, TicketRules};
use gatehouse_rules::words::Priority;
use gatehouse_rules::{Catalog, CatalogDevice, CatalogPoint, Effect, Engine};
use jiff::tz::TimeZone;

use super::meters::{DEVICES, POINTS, kind};

/// When the simulation begins: 2026-01-01T00:00:00Z, some hours after boot.
const EPOCH_US: i64 = 1_767_225_600_000_000;
const BOOT: Duration = Duration::from_secs(10_000);
/// Devices of one bus.
const ON_A_BUS: u32 = 32;
/// Timers that may come due at one step; more are a machine that does not come to rest.
const TIMERS_MAX: u32 = 100_000;

/// What one rule says; [`RULES`] are the two of each meter, which together look at all its points.
struct Rule {
    name: &'static str,
    when: &'static str,
    clear_when: Option<&'static str>,
    message: &'static str,
    on_delay: Duration,
    ticket: bool,
}

const RULES: [Rule; 2] = [
    Rule {
        name: "overvoltage",
        when: "(voltage_l1 > 253 || voltage_l2 > 253 || voltage_l3 > 253) && current_l1 < 60 && current_l2 < 60",
        clear_when: None,
        message: "{voltage_l1} V at {device.id}",
        on_delay: Duration::from_secs(10),
        ticket: false,
    },
    Rule {
        name: "overload",
        when: "(power > 20 || current_l3 > 63) && energy >= 0 && frequency < 52 && power_factor > 0.5",
        clear_when: Some("power < 18 && current_l3 < 60"),
        message: "{power} kW at {device.id}, and {current_l3} A",
        on_delay: Duration::ZERO,
        ticket: true,
    },
];

/// The engine and what came out of it.
pub(super) struct Run {
    engine: Engine,
    effects: u64,
    digest: Fnv,
}

impl Run {
    /// A site with its link up and its meters online, of which nothing was read yet.
    pub(super) fn start() -> anyhow::Result<Self> {
        let setup = setup()?;
        let engine = Engine::new(&setup, 0).map_err(|errors| anyhow!("the rules do not fit together: {errors:?}"))?;
        let mut run = Run { engine, effects: 0, digest: Fnv::default() };
        let now = stamp(Duration::ZERO);
        run.engine.handle_start(now);
        run.engine.handle_link(now, true);
        for bus in 0..setup.catalog.buses.len() {
            run.engine.handle_port(now, bus, true);
        }
        for device in (0..DEVICES).map(DeviceIx) {
            run.engine.handle_device_state(now, device, true, "");
        }
        run.drain();
        Ok(run)
    }

    /// A poll ends `at` after the start.
    pub(super) fn handle_sample(
        &mut self,
        at: Duration,
        device: DeviceIx,
        readings: &[PointReading],
    ) -> anyhow::Result<()> {
        self.advance(at)?;
        let now = stamp(at);
        self.engine.handle_sample(now, device, now.mono, readings);
        self.drain();
        Ok(())
    }

    /// Lets time pass, with every timer at its instant.
    pub(super) fn advance(&mut self, to: Duration) -> anyhow::Result<()> {
        let end = stamp(to).mono;
        let mut timers = 0;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            ensure!(timers < TIMERS_MAX, "the engine does not come to rest at {due:?}");
            timers += 1;
            self.engine.handle_timeout(stamp(due.since(Mono(0)).saturating_sub(BOOT)));
            self.drain();
        }
        Ok(())
    }

    /// How many effects there were.
    pub(super) fn effects(&self) -> u64 {
        self.effects
    }

    /// A digest over every byte of them, in their order.
    pub(super) fn digest(&self) -> u64 {
        self.digest.0
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            self.effects += 1;
            match &effect {
                Effect::Keep { key, value } => {
                    self.digest.part(key.as_bytes());
                    self.digest.part(value.as_deref().unwrap_or(b"\0deleted"));
                }
                Effect::Event { lane, at, event } => {
                    self.digest.part(lane.as_str().as_bytes());
                    self.digest.part(&at.mono.0.to_le_bytes());
                    self.digest.part(event.kind.as_bytes());
                    self.digest.part(event.json.as_bytes());
                }
                Effect::Act(act) => self.digest.part(format!("{act:?}").as_bytes()),
            }
        }
        while self.engine.poll_output().is_some() {}
    }
}

/// FNV-1a, 64 bits, over parts with their lengths.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn part(&mut self, bytes: &[u8]) {
        for byte in bytes.len().to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn stamp(at: Duration) -> Stamp {
    let us = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
    let wall = Wall(EPOCH_US.saturating_add(us));
    Stamp { boot: BootId(1), mono: Mono(0) + (BOOT + at), wall, trust: Trust::Synchronised }
}

fn setup() -> anyhow::Result<Setup> {
    let catalog = catalog()?;
    let (calendar, zone) = (Calendar::default(), TimeZone::UTC);
    let mut tickets = TicketRules::new(calendar.clone(), zone.clone());
    tickets.kinds.insert(Name::new("electrical")?, TicketKind::default());
    Ok(Setup {
        rules: rules(&catalog)?,
        catalog,
        mode: ModeSettings::default(),
        commands: command::Settings::new(Name::new("bench")?),
        builtin: builtin::specs(),
        limits: BoxLimits::default(),
        mains: None,
        gates: Vec::new(),
        readers: Vec::new(),
        controllers: Vec::new(),
        access: None,
        tickets,
        supply: Default::default(),
        rounds: Vec::new(),
        billing: Default::default(),
        calendar,
        zone,
        version: "bench".to_owned(),
    })
}

fn catalog() -> anyhow::Result<Catalog> {
    let mut points = Vec::new();
    for (at, name) in POINTS.iter().enumerate() {
        points.push(CatalogPoint {
            name: Name::new(name)?,
            unit: String::new(),
            kind: kind(at),
            interval: Duration::from_secs(60),
            writable: false,
            personal: false,
        });
    }
    let mut catalog = Catalog::default();
    for bus in 0..DEVICES.div_ceil(ON_A_BUS) {
        catalog.buses.push(Name::new(&format!("bus-{bus:02}"))?);
    }
    for device in 0..DEVICES {
        catalog.devices.push(CatalogDevice {
            id: Name::new(&format!("meter-{device:03}"))?,
            title: String::new(),
            bus: Some(usize::try_from(device / ON_A_BUS)?),
            profile: None,
            category: "electricity_meter_3p".to_owned(),
            labels: BTreeMap::new(),
            points: points.clone(),
        });
    }
    Ok(catalog)
}

/// A rule of its own for each meter and condition: 1,000.
fn rules(catalog: &Catalog) -> anyhow::Result<Vec<RuleSpec>> {
    let mut rules = Vec::new();
    for (ix, device) in catalog.devices_with_ix() {
        for kind in &RULES {
            let compile = |text| Expr::compile(text, catalog, Some(ix)).map_err(|errors| anyhow!("{text}: {errors:?}"));
            let message = Template::compile(kind.message, catalog, Some(ix))
                .map_err(|errors| anyhow!("{}: {errors:?}", kind.message))?;
            let mut alarm = AlarmSpec::new(format!("{}-{}", kind.name, device.id), Priority::P2);
            alarm.on_delay = kind.on_delay;
            alarm.ticket = if kind.ticket { Some(Name::new("electrical")?) } else { None };
            let instance = RuleInstance {
                source: device.id.to_string(),
                device: Some(ix),
                when: compile(kind.when)?,
                clear_when: kind.clear_when.map(compile).transpose()?,
                message,
            };
            rules.push(RuleSpec { alarm, instances: vec![Arc::new(instance)] });
        }
    }
    Ok(rules)
}
