//! The engine: everything that is decided on the box, in one machine.
//!
//! It owns the other machines and carries what one says to the next. The shell tells it what happened, drains
//! [`Engine::poll_effect`] and [`Engine::poll_output`] after each `handle_*`, and comes back at
//! [`Engine::poll_timeout`]. It never fails and never waits.
//!
//! The files: `latest` what is known of points, `rules` which conditions to look at, `health` what needs no rule,
//! `routing` commands to their targets, `acts` whose act it was.

mod acts;
mod health;
mod latest;
mod routing;
mod rules;
mod to_alarm;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gatehouse_core::{DeviceIx, Mono, PointReading, Stamp, Value};

pub use health::{BOX, BoxHealth, BoxLimits, MAINS, Mains};
pub use latest::Latest;
pub use rules::{RuleInstance, RuleSpec};

use crate::alarm::{AlarmSource, AlarmSpec, Alarms, SpecError};
use crate::catalog::{Catalog, PointRef};
use crate::command::{self, Answer, Commands, Malformed, Outcome, Reception, Request, Source};
use crate::effect::{ActId, ActResult, Effect, Effects};
use crate::mode::{Backlog, ModeSettings, Modes};
use crate::words::{AlarmId, Condition, Mode};
use acts::{Acts, Owner};
use rules::{Rules, View};

/// What the site file says of everything that the engine decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The site's devices.
    pub catalog: Catalog,
    /// When the box counts as cut off.
    pub mode: ModeSettings,
    /// Commands: whose signature counts, how long they may live.
    pub commands: command::Settings,
    /// Rules over points.
    pub rules: Vec<RuleSpec>,
    /// The classes of alarms that need no rule, as the site wants them.
    pub builtin: Vec<AlarmSpec>,
    /// When the box's own state is worth an alarm.
    pub limits: BoxLimits,
    /// The input that tells that the supply is gone.
    pub mains: Option<Mains>,
    /// Names this state of the rule files in the audit trail.
    pub version: String,
}

/// Something that the engine tells the shell and that is not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The mode has changed.
    Mode(Mode),
    /// A command has ended; to be told once the effects before it are durable.
    Answer(Answer),
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    catalog: Catalog,
    latest: Latest,
    since: Option<Mono>,
    modes: Modes,
    mode: Mode,
    rules: Rules,
    alarms: Alarms,
    commands: Commands,
    acts: Acts,
    /// Points that gates and escalations work: nobody else writes them.
    reserved: BTreeMap<PointRef, String>,
    /// Devices whose commands gates use.
    reserved_devices: BTreeMap<DeviceIx, String>,
    mains: Option<Mains>,
    limits: BoxLimits,
    ports: Vec<Option<bool>>,
    version: String,
    effects: Effects,
    outputs: VecDeque<Output>,
    /// What was kept and could not be understood.
    unreadable: u64,
}

impl Engine {
    /// An engine that nothing has happened to yet.
    ///
    /// # Errors
    /// What does not fit together, where the setup was not checked by [`Engine::check`].
    pub fn new(setup: &Setup) -> Result<Self, Vec<SpecError>> {
        let modes = Modes::new(setup.mode.clone());
        let alarms = Alarms::new(specs(setup), &sources(setup), &setup.catalog)?;
        let mut commands = Commands::new(setup.commands.clone());
        commands.handle_rule_version(&*setup.version);
        Ok(Engine {
            latest: Latest::new(&setup.catalog),
            since: None,
            mode: modes.mode(),
            modes,
            rules: Rules::new(&setup.rules, &setup.catalog, &alarms),
            alarms,
            commands,
            acts: Acts::default(),
            reserved: BTreeMap::new(),
            reserved_devices: BTreeMap::new(),
            mains: setup.mains.clone(),
            limits: setup.limits.clone(),
            ports: vec![None; setup.catalog.buses.len()],
            version: setup.version.clone(),
            catalog: setup.catalog.clone(),
            effects: Effects::default(),
            outputs: VecDeque::new(),
            unreadable: 0,
        })
    }

    /// Everything in a setup that does not fit together.
    pub fn check(setup: &Setup) -> Vec<SpecError> {
        Alarms::new(specs(setup), &sources(setup), &setup.catalog).err().unwrap_or_default()
    }

    /// The prefixes of all that the engine keeps, for the shell to read at the start.
    pub const KEPT: [&'static str; 3] = ["mode", "alarm", "command"];

    /// Takes back what was kept under a key; all of it before anything is handled.
    pub fn restore(&mut self, key: &str, value: &[u8]) {
        let kind = key.split(['/', '-']).next();
        let taken = match kind {
            Some("mode") => self.modes.restore(key, value).is_ok(),
            Some("alarm") => self.alarms.restore(key, value).is_ok(),
            Some("command") => self.commands.restore(key, value).is_ok(),
            _ => false,
        };
        self.unreadable += u64::from(!taken);
        self.mode = self.modes.mode();
    }

    /// Pieces of kept state that could not be understood.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Begins: to be called once, after what was kept was taken back.
    pub fn handle_start(&mut self, now: Stamp) {
        self.since = Some(now.mono);
        self.alarms.handle_timeout(now);
        self.rules.resume(&self.alarms);
        self.settle(now);
    }

    /// A poll of a device came to its end.
    pub fn handle_sample(&mut self, now: Stamp, device: DeviceIx, at: Mono, readings: &[PointReading]) {
        for reading in readings {
            self.latest.take(device, at, reading);
            self.rules.handle_reading(device, reading.point);
            self.mains_reading(now, PointRef { device, point: reading.point }, reading);
        }
        self.settle(now);
    }

    fn mains_reading(&mut self, now: Stamp, at: PointRef, reading: &PointReading) {
        let Some(mains) = self.mains.as_ref().filter(|mains| mains.at == at) else { return };
        let on = reading.value.as_ref().ok().and_then(switched);
        let condition = Condition {
            id: health::id("mains_lost", MAINS),
            active: on.map(|on| on == mains.lost_when),
            device: Some(at.device),
            message: "the supply is gone; the box runs on its battery".to_owned(),
        };
        self.alarms.handle_condition(now, &condition);
    }

    /// A device answers, or no longer; `why` is what its last poll died of.
    pub fn handle_device_state(&mut self, now: Stamp, device: DeviceIx, online: bool, why: &str) {
        self.latest.set_online(device, online);
        let bus = self.catalog.device(device).map(|config| config.bus);
        // The bus first: it explains its devices.
        if let Some(bus) = bus {
            self.tell_bus(now, bus);
        }
        health::tell_device(&mut self.alarms, now, &self.catalog, device, online, why);
        self.rules.handle_online(device);
        self.settle(now);
    }

    /// The port of a bus is there, or no longer. `bus` counts in [`Catalog::buses`].
    pub fn handle_port(&mut self, now: Stamp, bus: usize, open: bool) {
        if let Some(port) = self.ports.get_mut(bus)
            && port.replace(open) != Some(open)
        {
            self.tell_bus(now, bus);
            self.settle(now);
        }
    }

    fn tell_bus(&mut self, now: Stamp, bus: usize) {
        let port = self.ports.get(bus).copied().flatten();
        health::tell_bus(&mut self.alarms, now, (&self.catalog, &self.latest), bus, port);
    }

    /// How the box is; to be told every minute or so.
    pub fn handle_box(&mut self, now: Stamp, health: &BoxHealth) {
        health::tell_box(&mut self.alarms, now, health, &self.limits);
        self.settle(now);
    }

    /// The link to the core came up or went down.
    pub fn handle_link(&mut self, now: Stamp, up: bool) {
        self.modes.handle_link(now, up);
        let message = "the link to the core is down".to_owned();
        let id = health::id("link_down", BOX);
        self.alarms.handle_condition(now, &Condition { id, active: Some(!up), device: None, message });
        self.settle(now);
    }

    /// What the core is owed from before the link came up.
    pub fn handle_backlog(&mut self, now: Stamp, backlog: Backlog) {
        self.modes.handle_backlog(now, backlog);
        self.settle(now);
    }

    /// A command came. What it gives is to be told once the effects are durable.
    pub fn handle_request(&mut self, now: Stamp, source: Source, retained: bool, request: Request) -> Reception {
        let reception = self.commands.handle_request(now, source, retained, request);
        self.settle(now);
        reception
    }

    /// Something came that is no command. What it gives is to be told once the effects are durable.
    pub fn handle_malformed(&mut self, now: Stamp, source: Source, malformed: &Malformed) -> Outcome {
        let outcome = self.commands.handle_malformed(now, source, malformed);
        self.settle(now);
        outcome
    }

    /// An act came to its end.
    pub fn handle_act_result(&mut self, now: Stamp, id: ActId, result: ActResult) {
        match self.acts.end(id) {
            None => {}
            Some(Owner::Command(command)) => self.command_ended(now, &command, result.into()),
            Some(Owner::Gate(_) | Owner::Ticket(_)) => {}
        }
        self.settle(now);
    }

    /// The time that [`Engine::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Stamp) {
        let due = |at: Option<Mono>| at.is_some_and(|at| at <= now.mono);
        if due(self.modes.poll_timeout()) {
            self.modes.handle_timeout(now);
        }
        if due(self.commands.poll_timeout()) {
            self.commands.handle_timeout(now);
        }
        if due(self.alarms.poll_timeout()) {
            self.alarms.handle_timeout(now);
        }
        self.rules.handle_timeout(now.mono);
        self.settle(now);
    }

    /// When to call [`Engine::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        let machines = [
            self.modes.poll_timeout(),
            self.commands.poll_timeout(),
            self.alarms.poll_timeout(),
            self.rules.poll_timeout(),
        ];
        machines.into_iter().flatten().min()
    }

    /// What is to be done, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// What is to be told.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the core can be reached.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The modes, with the outage that is on.
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Alarms that are not at rest.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The site's devices.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The last readings.
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// Names the state of the rule files that is in force.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many conditions were evaluated since the start.
    pub fn evaluations(&self) -> u64 {
        self.rules.evaluations()
    }

    /// Carries what the machines say to each other until nobody has more to say, and gathers what they want done.
    fn settle(&mut self, now: Stamp) {
        self.route(now);
        let mode = self.modes.mode();
        if mode != self.mode {
            self.mode = mode;
            self.outputs.push_back(Output::Mode(mode));
            self.rules.handle_mode();
        }
        self.evaluate(now);
        while self.alarms.poll_change().is_some() {}
        self.gather();
    }

    fn evaluate(&mut self, now: Stamp) {
        let view = View { latest: &self.latest, mode: self.mode, now: now.mono, since: self.since.unwrap_or(now.mono) };
        let mut failed = Vec::new();
        self.rules.evaluate(now, &view, &mut self.alarms, |id, why| failed.push((id.clone(), why)));
        for (id, why) in failed {
            let condition = Condition {
                id: health::id("rule_failed", &id.to_string()),
                active: Some(why.is_some()),
                device: None,
                message: why.unwrap_or_default(),
            };
            self.alarms.handle_condition(now, &condition);
        }
    }

    fn gather(&mut self) {
        while let Some(effect) = self.modes.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(effect) = self.alarms.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(effect) = self.commands.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(answer) = self.commands.poll_answer() {
            self.outputs.push_back(Output::Answer(answer));
        }
    }
}

/// All classes of alarms: those of rules, and those that need none.
fn specs(setup: &Setup) -> Vec<AlarmSpec> {
    setup.rules.iter().map(|rule| rule.alarm.clone()).chain(setup.builtin.iter().cloned()).collect()
}

/// Everything that alarms watch.
fn sources(setup: &Setup) -> Vec<AlarmSource> {
    let mut sources = health::sources(&setup.catalog, setup.mains.as_ref());
    for spec in &setup.rules {
        for rule in &spec.instances {
            let devices: BTreeSet<DeviceIx> = rule.when.inputs().points.iter().map(|point| point.device).collect();
            let lost = |ix: &DeviceIx| Some(health::id("device_offline", &setup.catalog.device(*ix)?.id));
            let mut data_parents: Vec<AlarmId> = devices.iter().filter_map(lost).collect();
            for device in devices {
                data_parents.extend(health::explains(&setup.catalog, setup.mains.as_ref(), device));
            }
            sources.push(AlarmSource {
                id: health::id(&spec.alarm.class, &rule.source),
                device: rule.device,
                parents: Vec::new(),
                data_parents,
            });
        }
    }
    sources
}

/// A flag, or a number that is not 0. Text is neither.
fn switched(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Decimal(number) => Some(number.mantissa != 0),
        Value::F32(number) => Some(*number != 0.0),
        Value::F64(number) => Some(*number != 0.0),
        Value::Text(_) => None,
    }
}
