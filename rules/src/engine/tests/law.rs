//! What must hold at every step, whatever happens.

use std::collections::BTreeMap;

use gatehouse_core::driver::Action;
use gatehouse_core::{Decimal, DeviceIx, Mono, PointIx, PointReading, Stamp, Trust, Value};
use serde_json::Value as Json;

use super::shell::Batch;
use super::site::{BOARD, CLEARS, FIRE, IO, LIMIT, LOCK, LOOP, MAINS, METERS, VOLTAGE};
use crate::command::Request;
use crate::effect::{Act, ActId};
use crate::engine::Engine;

/// What the engine has been told since it began, and what it has had done since the beginning of the world.
#[derive(Debug, Default)]
pub(super) struct Law {
    told: BTreeMap<(DeviceIx, PointIx), Value>,
    online: BTreeMap<DeviceIx, bool>,
    /// When each command of this run ends at the latest.
    deadlines: BTreeMap<String, Mono>,
    /// Something was seen under a boom that the box had told to close.
    blocked: bool,
    closed: bool,
    /// Which command an act is for.
    commands: BTreeMap<ActId, String>,
    /// Acts that were begun, by command.
    pub(super) acted: BTreeMap<String, u32>,
}

impl Law {
    /// The engine begins anew and knows nothing but what it kept. Acts of the one before may still be under way.
    pub(super) fn restart(&mut self) {
        let (acted, commands) = (std::mem::take(&mut self.acted), std::mem::take(&mut self.commands));
        *self = Law { acted, commands, ..Law::default() };
    }

    /// The process was killed: no act is under way any more, and their numbers are free.
    pub(super) fn kill(&mut self) {
        self.commands.clear();
    }

    pub(super) fn sample(&mut self, device: DeviceIx, readings: &[PointReading]) {
        for reading in readings {
            if let Ok(value) = &reading.value {
                self.told.insert((device, reading.point), value.clone());
            }
        }
        self.blocked |= self.closed && self.is(BOARD, LOOP, true);
    }

    pub(super) fn online(&mut self, device: DeviceIx, online: bool) {
        self.online.insert(device, online);
    }

    /// Whether a device answers, if that was told since the start.
    pub(super) fn knows(&self, device: DeviceIx) -> Option<bool> {
        self.online.get(&device).copied()
    }

    /// A command comes that is not known: from now on it may act until it ends by the box's own clock.
    pub(super) fn request(&mut self, now: Stamp, request: &Request) {
        let life = request.expires_at.0 - request.issued_at.0;
        // Without a clock the core may only STOP, and that for as long as it was to live.
        let left = if now.trust == Trust::Unset { life } else { (request.expires_at.0 - now.wall.0).clamp(0, life) };
        let by = now.mono + std::time::Duration::from_micros(u64::try_from(left).unwrap());
        self.deadlines.insert(request.id.to_string(), by);
    }

    fn is(&self, device: DeviceIx, point: PointIx, on: bool) -> bool {
        self.told.get(&(device, point)) == Some(&Value::Bool(on))
    }

    /// What one call wants.
    pub(super) fn batch(&mut self, engine: &Engine, batch: &Batch, urgent: &[Act]) {
        let mut sent: Vec<(String, String)> = Vec::new();
        for (_, kind, json) in &batch.events {
            if *kind == "alarm" && json.contains("\"condition_off\"") {
                self.cleared(&serde_json::from_str(json).unwrap());
            }
            if *kind == "command" && json.contains("\"sent\"") {
                let json: Json = serde_json::from_str(json).unwrap();
                if json["target"] == "gate:entry" {
                    let text = |field: &str| json[field].as_str().unwrap().to_owned();
                    let action = text("action");
                    // What holds a boom open is the same pulse.
                    let pulse = if action == "hold_open" { "open".to_owned() } else { action };
                    sent.push((pulse, text("id")));
                }
            }
        }
        for act in batch.acts.iter().chain(urgent) {
            self.act(engine, act, &mut sent);
        }
        assert_eq!(sent, [], "a command was told as sent, and nothing was");
    }

    /// Missing data clears nothing: a condition ends by what was seen since the start.
    fn cleared(&self, event: &Json) {
        let (class, source) = event["alarm"].as_str().unwrap().split_once('/').unwrap();
        let meter = METERS.into_iter().find(|ix| source == format!("meter-{}", ix.0 + 1));
        let seen = match (class, meter) {
            ("overvoltage", Some(meter)) => match self.told.get(&(meter, VOLTAGE)) {
                Some(Value::Decimal(Decimal { mantissa, .. })) => *mantissa < CLEARS,
                _ => false,
            },
            ("device_offline", Some(meter)) => self.online.get(&meter) == Some(&true),
            ("bus_offline", None) if source == "meters" => METERS.iter().any(|ix| self.online.get(ix) != Some(&false)),
            ("fire", None) => self.is(IO, FIRE, false),
            ("mains_lost", None) => self.is(IO, MAINS, true),
            _ => true,
        };
        assert!(seen, "an alarm was cleared by nothing: {event}");
    }

    fn act(&mut self, engine: &Engine, act: &Act, sent: &mut Vec<(String, String)>) {
        match &act.action {
            Action::Call { command, .. } => {
                let by = sent.iter().position(|(action, _)| *action == **command).map(|at| sent.remove(at).1);
                if &**command == "close" {
                    assert!(self.is(BOARD, LOOP, false), "a boom is lowered on what may be a car");
                    assert!(
                        engine.gates().view("entry", Mono(0)).unwrap().fire.is_none(),
                        "a boom is lowered in a fire"
                    );
                    self.closed = true;
                }
                if &**command == "open" && by.is_none() {
                    assert!(act.urgent || self.blocked, "a gate opens for nobody");
                }
                if let Some(id) = by {
                    self.belongs(act, id);
                }
            }
            Action::Write(LOCK, Value::Bool(true)) if act.device == BOARD => {
                assert!(engine.gates().view("lobby", Mono(0)).unwrap().fire.is_none(), "a door is locked in a fire");
            }
            Action::Write(LIMIT, value) if METERS.contains(&act.device) => self.belongs(act, format!("w-{value}")),
            Action::Write(..)
            | Action::Read(_)
            | Action::Recall { .. }
            | Action::Identify
            | Action::LoadRecords { .. }
            | Action::Registers(_)
            | Action::Controller(_) => {}
        }
    }

    fn belongs(&mut self, act: &Act, id: String) {
        let by = self.deadlines.get(&id);
        assert!(by.is_some_and(|by| act.expires <= *by), "{id} may act late: {act:?}, {by:?}");
        // A STOP does not wait for the disk: of one that is sent again after a kill nobody knows that it acted.
        if !act.urgent {
            assert_eq!(self.commands.insert(act.id, id), None, "two acts have one number");
        }
    }

    /// A device begins to do what it was told.
    pub(super) fn begun(&mut self, now: Mono, act: &Act) {
        assert!(now < act.expires, "an act is late");
        if let Some(id) = self.commands.get(&act.id) {
            let times = self.acted.entry(id.clone()).or_default();
            *times += 1;
            assert_eq!(*times, 1, "{id} acts twice");
        }
    }
}
