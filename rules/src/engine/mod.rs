//! The engine: everything that is decided on the box, in one machine.
//!
//! It owns the other machines and carries what one says to the next. The shell tells it what happened, drains
//! [`Engine::poll_effect`] and [`Engine::poll_output`] after each `handle_*`, and comes back at
//! [`Engine::poll_timeout`]. It never fails and never waits.
//!
//! The files: `latest` what is known of points, `rules` which conditions to look at, `health` what needs no rule,
//! `routing` commands to their targets, `reserved` what they may not touch, `acts` whose act it was, `readers` what a
//! device shows of cards, `keypad` what is typed there, `entrance` who may pass, `recorded` what controllers decided, `bills` readings that can be
//! billed; `setup` what it is made of, `watched` what alarms watch, `views` what may be looked at.

mod acts;
mod ask_alarm;
mod ask_gate;
mod ask_ticket;
mod bills;
mod entrance;
mod evidence;
mod health;
mod keypad;
mod latest;
mod readers;
mod recorded;
mod reserved;
mod routing;
mod rules;
mod setup;
#[cfg(test)]
mod tests;
mod views;
mod watched;

use std::collections::VecDeque;

use gatehouse_core::{DeviceIx, Mono, PointReading, Stamp, Value};
use jiff::tz::TimeZone;

pub use entrance::Admission;
pub use evidence::FrameSource;
pub use health::{BOX, BoxHealth, BoxLimits, MAINS, Mains};
pub use keypad::{KeySource, KeypadSpec, MOST_DIGITS};
pub use latest::Latest;
pub use readers::{CardPoint, CardSource, READER_GAP, ReaderSpec};
pub use rules::{RuleInstance, RuleSpec};
pub use setup::{AccessSetup, Setup, SetupError};

use crate::access::{self, Access};
use crate::alarm::{Alarms, SpecError};
use crate::billing::Billing;
use crate::catalog::{Catalog, PointRef};
use crate::command::{Answer, Commands, Malformed, Outcome, Reception, Request, Source};
use crate::controller::{Controllers, Enquiry, EnquiryId};
use crate::effect::{ActId, ActResult, Effect, Effects};
use crate::gate::Gates;
use crate::mode::{Backlog, Modes};
use crate::schedule::{Calendar, Rounds};
use crate::supply::{Outlook, Supplies};
use crate::ticket::{Tickets, Update, UpdateResult};
use crate::words::{Condition, Mode};
use acts::Acts;
use evidence::Known;
use readers::Readers;
use reserved::Reserved;
use rules::{Rules, View};

/// Something that the engine tells the shell and that is not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The mode has changed.
    Mode(Mode),
    /// A command has ended; to be told once the effects before it are durable.
    Answer(Answer),
    /// A question to the core, at once: late it is worth nothing.
    Ask(access::Ask),
    /// A question to a controller.
    Enquire(Enquiry),
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
    gates: Gates,
    readers: Readers,
    controllers: Controllers,
    access: Option<Access>,
    tickets: Tickets,
    supplies: Supplies,
    rounds: Rounds,
    billing: Billing,
    zone: TimeZone,
    calendar: Calendar,
    frames: Option<FrameSource>,
    reserved: Reserved,
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
    ///
    /// `run` counts the engines since the daemon started, so that no act of one is taken for one of another.
    pub fn new(setup: &Setup, run: u32) -> Result<Self, Vec<SetupError>> {
        let modes = Modes::new(setup.mode);
        let all = |errors: Vec<SpecError>| errors.into_iter().map(SetupError::from).collect::<Vec<_>>();
        let alarms = Alarms::new(watched::specs(setup), &watched::sources(setup), &setup.catalog).map_err(all)?;
        let gates = Gates::new(setup.gates.clone(), acts::first(run, 1)).map_err(|e| vec![e.into()])?;
        let rounds = Rounds::new(setup.rounds.clone(), setup.calendar.clone(), setup.zone.clone());
        let rounds = rounds.map_err(|e| e.iter().map(|e| SetupError::Round(e.to_string())).collect::<Vec<_>>())?;
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
            acts: Acts::new(acts::first(run, 0)),
            gates,
            readers: Readers::new(&setup.readers),
            controllers: Controllers::new(&setup.controllers, setup.zone.clone(), EnquiryId(acts::first(run, 4).0)),
            access: None,
            tickets: Tickets::new(setup.tickets.clone(), acts::first(run, 2)),
            supplies: Supplies::new(setup.supply.clone(), &setup.catalog, setup.zone.clone(), acts::first(run, 3)),
            rounds,
            billing: Billing::new(&setup.billing, &setup.catalog, setup.zone.clone(), acts::first(run, 5)),
            zone: setup.zone.clone(),
            calendar: setup.calendar.clone(),
            frames: None,
            reserved: Reserved::of(&setup.gates, &setup.tickets),
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
    pub fn check(setup: &Setup) -> Vec<SetupError> {
        Engine::new(setup, 0).err().unwrap_or_default()
    }

    /// The prefixes of all that the engine keeps, for the shell to read at the start.
    pub const KEPT: [&'static str; 13] = [
        "mode",
        "alarm",
        "command",
        "gate/",
        "passage/",
        "request-next",
        "ticket",
        "round/",
        "access/",
        "apb/",
        "supply",
        "controller/",
        "billing/",
    ];

    /// Takes back what was kept under a key; all of it before anything is handled.
    pub fn restore(&mut self, key: &str, value: &[u8]) {
        let kind = key.split(['/', '-']).next();
        let taken = match kind {
            Some("mode") => self.modes.restore(key, value).is_ok(),
            Some("alarm") => self.alarms.restore(key, value).is_ok(),
            Some("command") => self.commands.restore(key, value).is_ok(),
            Some("gate" | "passage" | "request") => self.gates.restore(key, value),
            Some("ticket") => self.tickets.restore(key, value),
            Some("supply") => self.supplies.restore(key, value),
            Some("round") => self.rounds.restore(key, value).is_ok(),
            Some("controller") => self.controllers.restore(key, value),
            Some("billing") => self.billing.restore(key, value),
            // Without its keys what was kept of credentials waits for the next start.
            Some("access" | "apb") => self.access.as_mut().is_none_or(|access| access.restore(key, value).is_ok()),
            _ => false,
        };
        self.unreadable += u64::from(!taken);
        self.mode = self.modes.mode();
    }

    /// Pieces of kept state that could not be understood.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Where tickets take the last frames of a line from.
    pub fn set_frames(&mut self, frames: FrameSource) {
        self.frames = Some(frames);
    }

    /// Begins: to be called once, after what was kept was taken back.
    pub fn handle_start(&mut self, now: Stamp) {
        self.since = Some(now.mono);
        self.alarms.handle_timeout(now);
        self.gates.handle_timeout(now);
        if let Some(access) = &mut self.access {
            access.handle_timeout(now);
        }
        self.tickets.handle_timeout(now);
        // The mode outlives a restart: nobody else tells the tickets before it changes.
        self.tickets.handle_mode(now, self.mode);
        self.rounds.handle_timeout(now);
        self.billing.handle_start(now);
        self.rules.resume(&self.alarms);
        self.settle(now);
    }

    /// A poll of a device came to its end.
    pub fn handle_sample(&mut self, now: Stamp, device: DeviceIx, at: Mono, readings: &[PointReading]) {
        // Gates first: a fire releases before anything else is looked at.
        self.gates.handle_readings(now, device, at, readings);
        self.controllers.handle_readings(now, device, readings);
        for presentation in self.readers.handle_readings(device, at, readings) {
            self.present(now, presentation);
        }
        for reading in readings {
            self.latest.take(device, at, reading);
            if let Some(value) = reading.value.as_ref().ok().and_then(Value::to_decimal) {
                self.rounds.handle_reading(now, PointRef { device, point: reading.point }, value.to_f64());
            }
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
        if online {
            self.gates.handle_returned(now, device);
        } else {
            self.readers.handle_lost(now.mono, device);
            self.controllers.handle_lost(device);
        }
        self.billing.handle_device_state(device, online);
        let bus = self.catalog.device(device).and_then(|config| config.bus);
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

    /// Another master asks on a bus, or no longer. `bus` counts in [`Catalog::buses`].
    pub fn handle_foreign_master(&mut self, now: Stamp, bus: usize, there: bool) {
        health::tell_foreign(&mut self.alarms, now, &self.catalog, bus, there);
        self.settle(now);
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

    /// The wall clock was set, or has come to be believed.
    pub fn handle_clock(&mut self, now: Stamp) {
        self.tickets.handle_clock(now);
        self.rounds.handle_timeout(now);
        self.billing.handle_timeout(now);
        self.settle(now);
    }

    /// The core said something of a ticket.
    pub fn handle_ticket(&mut self, now: Stamp, update: &Update) -> UpdateResult {
        let result = self.tickets.handle_update(now, update);
        self.settle(now);
        result
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
        let of_supply = self.supplies.handle_act_result(now, id, &result);
        if let Some(command) = self.acts.end(id) {
            self.command_ended(now, &command, result.into());
        } else if !of_supply
            && !self.gates.handle_act_result(now, id, &result)
            && !self.billing.handle_act_result(now, id, &result)
        {
            self.tickets.handle_act_result(now, id, &result);
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
        if due(self.gates.poll_timeout()) {
            self.gates.handle_timeout(now);
        }
        if due(self.controllers.poll_timeout()) {
            self.controllers.handle_timeout(now);
        }
        if due(self.access.as_ref().and_then(Access::poll_timeout))
            && let Some(access) = &mut self.access
        {
            access.handle_timeout(now);
        }
        if due(self.tickets.poll_timeout()) {
            self.tickets.handle_timeout(now);
        }
        if due(self.rounds.poll_timeout()) {
            self.rounds.handle_timeout(now);
        }
        if due(self.billing.poll_timeout()) {
            self.billing.handle_timeout(now);
        }
        // What is due of supplies is looked at whenever something happened.
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
            self.gates.poll_timeout(),
            self.controllers.poll_timeout(),
            self.access.as_ref().and_then(Access::poll_timeout),
            self.tickets.poll_timeout(),
            self.rounds.poll_timeout(),
            self.supplies.poll_timeout(),
            self.billing.poll_timeout(),
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

    /// Carries what the machines say to each other until nobody has more to say, and gathers what they want done.
    fn settle(&mut self, now: Stamp) {
        // What one says may make another speak; a circle would be a mistake of ours, and ends at the bound.
        for _ in 0..ROUNDS {
            let commanded = self.route(now);
            self.reconnect(now);
            let answered = self.gate_steps(now);
            let taken = self.take_recorded(now);
            self.list_cards(now);
            let listed = self.take_listed(now);
            let admitted = self.admit(now);
            let found = self.conditions(now);
            let mode = self.modes.mode();
            if mode != self.mode {
                self.mode = mode;
                self.outputs.push_back(Output::Mode(mode));
                self.rules.handle_mode();
                self.tickets.handle_mode(now, mode);
            }
            self.evaluate(now);
            let alarmed = self.alarmed(now);
            if !(commanded || answered || taken || listed || admitted || found || alarmed) {
                break;
            }
        }
        self.gather();
    }

    /// Gives supplies back whose wish can be fulfilled now.
    fn reconnect(&mut self, now: Stamp) {
        let (latest, commands) = (&self.latest, &self.commands);
        let outlook = Outlook {
            online: &|device| latest.is_online(device) == Some(true),
            authorised: &|request, source| commands.is_authorised(request, source),
        };
        self.supplies.handle_timeout(now, &outlook);
    }

    /// Tells the alarms what gates, rounds, supplies and meters have found.
    fn conditions(&mut self, now: Stamp) -> bool {
        let mut any = false;
        let mut next = || {
            let gate = self.gates.poll_condition();
            let other = gate.or_else(|| self.rounds.poll_condition()).or_else(|| self.supplies.poll_condition());
            let other = other.or_else(|| self.controllers.poll_condition());
            other.or_else(|| self.billing.poll_condition())
        };
        while let Some(condition) = next() {
            any = true;
            self.alarms.handle_condition(now, &condition);
        }
        any
    }

    /// Tells the tickets of changed alarms.
    fn alarmed(&mut self, now: Stamp) -> bool {
        let mut any = false;
        while let Some(change) = self.alarms.poll_change() {
            any = true;
            let known =
                Known { catalog: &self.catalog, latest: &self.latest, now: now.mono, frames: self.frames.as_ref() };
            self.tickets.handle_alarm(now, &change, &known);
        }
        any
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
        // Urgent acts are among the first.
        while let Some(effect) = self.gates.poll_effect() {
            self.effects.push(effect);
        }
        // How far a controller's events are taken in is in the same batch as what they became.
        while let Some(effect) = self.controllers.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(enquiry) = self.controllers.poll_enquiry() {
            self.outputs.push_back(Output::Enquire(enquiry));
        }
        // What decided is in the same batch as what its gate makes of it.
        while let Some(effect) = self.access.as_mut().and_then(Access::poll_effect) {
            self.effects.push(effect);
        }
        while let Some(effect) = self.modes.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(effect) = self.alarms.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(effect) = self.tickets.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(effect) = self.rounds.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(effect) = self.supplies.poll_effect() {
            self.effects.push(effect);
        }
        while let Some(effect) = self.billing.poll_effect() {
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

/// Rounds of talk between the machines within one call.
const ROUNDS: u32 = 16;

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
