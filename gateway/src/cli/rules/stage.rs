//! A site without devices: the daemon's engine with a clock that somebody turns.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{BootId, DeviceIx, Event, Lane, Mono, NoData, PointReading, Stamp, Trust, Wall};
use gatehouse_rules::command::{Outcome, Reception, Request, Source};
use gatehouse_rules::effect::Effect;
use gatehouse_rules::engine::{Engine, Output, Setup};
use gatehouse_rules::mode::Backlog;

use super::super::{Failure, exit};

/// So many timers may be due at one instant. Each alarm has a few; beyond this the engine asks for the same instant
/// again and again.
const MOST_AT_ONCE: u32 = 200_000;

/// The engine and its clock.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) engine: Engine,
    now: Mono,
    start: Wall,
    /// Devices that do not answer.
    offline: Vec<bool>,
    /// The events of alarms since [`Stage::take_events`].
    events: Vec<(Stamp, Event)>,
    requests: u64,
}

impl Stage {
    /// The engine, started at this time with the link up and nothing owed to the core.
    pub(super) fn new(setup: &Arc<Setup>, start: Wall) -> anyhow::Result<Self> {
        let engine = Engine::new(setup, 0).map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::error(exit::CONFIGURATION, all.join("\n"))
        })?;
        let offline = vec![false; setup.catalog.devices.len()];
        let mut stage = Stage { engine, now: Mono(0), start, offline, events: Vec::new(), requests: 0 };
        let now = stage.stamp();
        stage.engine.handle_start(now);
        stage.engine.handle_link(now, true);
        stage.engine.handle_backlog(now, Backlog::default());
        for bus in 0..setup.catalog.buses.len() {
            stage.engine.handle_port(now, bus, true);
        }
        stage.drain();
        Ok(stage)
    }

    /// The instant that the clock shows.
    pub(super) fn stamp(&self) -> Stamp {
        let micros = i64::try_from(self.now.0 / 1000).unwrap_or(i64::MAX);
        let wall = Wall(self.start.0.saturating_add(micros));
        Stamp { boot: BootId(1), mono: self.now, wall, trust: Trust::Synchronised }
    }

    /// Turns the clock to an instant: what is due before it happens on the way, what is due then waits for
    /// [`Stage::finish_instant`], so that what is read at an instant counts for what is decided then.
    pub(super) fn advance(&mut self, to: Mono) -> anyhow::Result<()> {
        self.run_timers(|due| due < to)?;
        self.now = self.now.max(to);
        Ok(())
    }

    /// Does what is due at the instant that the clock shows.
    pub(super) fn finish_instant(&mut self) -> anyhow::Result<()> {
        let now = self.now;
        self.run_timers(|due| due <= now)
    }

    fn run_timers(&mut self, wanted: impl Fn(Mono) -> bool) -> anyhow::Result<()> {
        let mut at_once = 0;
        while let Some(due) = self.engine.poll_timeout().filter(|due| wanted(*due)) {
            at_once = if due > self.now { 0 } else { at_once + 1 };
            if at_once > MOST_AT_ONCE {
                anyhow::bail!("the engine does not come to rest at {:?} after the start", Duration::from_nanos(due.0));
            }
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.stamp());
            self.drain();
        }
        Ok(())
    }

    pub(super) fn link(&mut self, up: bool) {
        self.engine.handle_link(self.stamp(), up);
        self.drain();
    }

    /// A device answers, or no longer; its points have no value then.
    pub(super) fn online(&mut self, device: DeviceIx, online: bool, why: &str) {
        if let Some(offline) = usize::try_from(device.0).ok().and_then(|at| self.offline.get_mut(at)) {
            *offline = !online;
        }
        let now = self.stamp();
        self.engine.handle_device_state(now, device, online, why);
        if !online {
            let points = self.engine.catalog().device(device).map_or(0, |config| config.points.len());
            let gone = |point| PointReading::new(point, Err(NoData::DeviceOffline));
            let readings: Vec<_> = (0u16..).map(gatehouse_core::PointIx).take(points).map(gone).collect();
            self.engine.handle_sample(now, device, self.now, &readings);
        }
        self.drain();
    }

    /// Whether a device counts as answering; `None` before it was told.
    pub(super) fn is_online(&self, device: DeviceIx) -> Option<bool> {
        self.engine.latest().is_online(device)
    }

    /// A device was read. One that does not answer has no values, whatever was asked for.
    pub(super) fn sample(&mut self, device: DeviceIx, mut readings: Vec<PointReading>) {
        let offline = usize::try_from(device.0).ok().and_then(|at| self.offline.get(at)).copied().unwrap_or(false);
        if offline {
            for reading in &mut readings {
                reading.value = Err(NoData::DeviceOffline);
            }
        }
        self.engine.handle_sample(self.stamp(), device, self.now, &readings);
        self.drain();
    }

    /// Has a person act, as `gatehouse command` would: the reason, where it was refused.
    pub(super) fn command(&mut self, target: &str, action: &str, args: &serde_json::Value) -> Result<(), String> {
        self.requests += 1;
        let time = |wall: Wall| jiff::Timestamp::from_microsecond(wall.0).map(|time| time.to_string());
        let now = self.stamp();
        let issued = time(now.wall).map_err(|why| why.to_string())?;
        let expires = time(Wall(now.wall.0.saturating_add(60_000_000))).map_err(|why| why.to_string())?;
        let document = serde_json::json!({
            "v": 1, "id": format!("test-{}", self.requests), "target": target, "action": action, "args": args,
            "issuer": "test", "issued_at": issued, "expires_at": expires,
        });
        let request = Request::parse(document.to_string().as_bytes()).map_err(|wrong| wrong.fault.to_string())?;
        let id = request.id.clone();
        let reception = self.engine.handle_request(now, Source::Socket { uid: 0 }, false, request);
        let mut outcome = if let Reception::Ended(outcome) = reception { Some(outcome) } else { None };
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Answer(answer) if answer.id == id => outcome = Some(answer.outcome),
                Output::Answer(_) | Output::Mode(_) | Output::Ask(_) | Output::Enquire(_) => {}
            }
        }
        self.drain();
        match outcome {
            Some(Outcome::Verified { .. } | Outcome::Acknowledged) | None => Ok(()),
            Some(
                Outcome::Refused { reason, detail }
                | Outcome::Failed { reason, detail }
                | Outcome::Unknown { reason, detail },
            ) => Err(detail.map_or_else(|| reason.to_string(), |detail| format!("{reason}: {detail}"))),
            Some(Outcome::Expired) => Err("expired".to_owned()),
        }
    }

    /// The events of alarms since the last call.
    pub(super) fn take_events(&mut self) -> Vec<(Stamp, Event)> {
        std::mem::take(&mut self.events)
    }

    /// Takes what the engine wants done. There is no journal to keep anything in, and no device to act.
    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Event { lane: Lane::Alarms, at, event } => self.events.push((at, event)),
                Effect::Event { .. } | Effect::Keep { .. } | Effect::Act(_) => {}
            }
        }
        while self.engine.poll_output().is_some() {}
    }
}
