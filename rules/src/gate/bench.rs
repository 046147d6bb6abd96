//! A small site for tests: gates, the journal beside them, and a line that does what it is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{BootId, DeviceIx, Mono, Name, NoData, PointIx, PointReading, Stamp, Trust, Value, Wall};
use serde_json::Value as Json;

use super::*;
use crate::catalog::PointRef;
use crate::effect::{Act, ActId, ActResult, Effect};
use crate::words::{Condition, DecidedBy, Direction, Passed, RequestId, Verdict};

/// The device that the gates are wired to.
pub(super) const BOARD: DeviceIx = DeviceIx(0);

/// The point of a sensor: its role, after 16 points for each gate.
pub(super) fn point(gate: u16, role: Role) -> PointIx {
    let at = Role::ALL.iter().position(|r| *r == role).unwrap();
    PointIx(100 + gate * 16 + u16::try_from(at).unwrap())
}

pub(super) fn sensor(gate: u16, role: Role) -> (Role, Sensor) {
    let at = PointRef { device: BOARD, point: point(gate, role) };
    (role, Sensor::new(role, at, Duration::from_millis(200)))
}

pub(super) fn pulse(command: &str) -> Option<Output> {
    let command = Name::new(command).unwrap();
    Some(Output { device: BOARD, how: How::Pulse { command, channel: Some(1), argument: Argument::Units(5) } })
}

pub(super) fn level(point: u16) -> Option<Output> {
    Some(Output { device: BOARD, how: How::Level { point: PointIx(point), on: true } })
}

pub(super) fn barrier() -> GateSpec {
    let roles = [
        Role::OpenLimit,
        Role::CloseLimit,
        Role::LoopUnderBoom,
        Role::Photocell,
        Role::Fire,
        Role::EmergencyStop,
        Role::MotorFault,
        Role::ManualMode,
        Role::RemoteControl,
    ];
    GateSpec {
        id: Name::new("entry").unwrap(),
        kind: GateKind::Barrier,
        direction: Direction::In,
        outputs: Outputs {
            open: pulse("open"),
            close: pulse("close"),
            stop: pulse("stop"),
            hold_open: level(9),
            lock: None,
        },
        timing: Timing::default(),
        sensors: roles.map(|role| sensor(0, role)).into(),
        fire_source: None,
        policy: Policy { close_by_box: true, ..Policy::default() },
    }
}

/// A door with a lock that the box releases for a grant.
pub(super) fn door() -> GateSpec {
    let roles = [Role::DoorContact, Role::ExitButton, Role::Fire, Role::EmergencyStop];
    GateSpec {
        id: Name::new("lobby").unwrap(),
        kind: GateKind::Door,
        outputs: Outputs { lock: level(20), ..Outputs::default() },
        sensors: roles.map(|role| sensor(1, role)).into(),
        policy: Policy::default(),
        ..barrier()
    }
}

pub(super) struct Bench {
    pub(super) gates: Gates,
    specs: Vec<GateSpec>,
    pub(super) now: Stamp,
    pub(super) journal: BTreeMap<String, Vec<u8>>,
    pub(super) values: BTreeMap<(u16, Role), bool>,
    /// Acts that wait for their result.
    pub(super) acts: VecDeque<Act>,
    /// Acts as they were sent, with the gates as they were then.
    pub(super) sent: Vec<(Act, Vec<GateView>)>,
    pub(super) events: Vec<(&'static str, Json)>,
    pub(super) steps: Vec<CommandStep>,
    pub(super) passed: Vec<Passed>,
    pub(super) conditions: Vec<Condition>,
    requests: u64,
}

impl Bench {
    pub(super) fn new(specs: Vec<GateSpec>) -> Self {
        let values = specs
            .iter()
            .flat_map(|spec| spec.sensors.iter())
            .map(|(role, sensor)| ((sensor.at.point.0 - 100) / 16, *role))
            .map(|at| (at, at.1 == Role::CloseLimit))
            .collect();
        let now = Stamp {
            boot: BootId(7),
            mono: Mono::from_millis(10_000),
            wall: Wall(1_800_000_000_000_000),
            trust: Trust::Synchronised,
        };
        let mut bench = Bench {
            gates: Gates::new(specs.clone(), ActId(1)).unwrap(),
            specs,
            now,
            journal: BTreeMap::new(),
            values,
            acts: VecDeque::new(),
            sent: Vec::new(),
            events: Vec::new(),
            steps: Vec::new(),
            passed: Vec::new(),
            conditions: Vec::new(),
            requests: 1000,
        };
        bench.gates.handle_timeout(now);
        bench.drain();
        bench
    }

    /// A site whose sensors were read, and whose doors were locked for it.
    pub(super) fn awake(specs: Vec<GateSpec>) -> Self {
        let mut bench = Bench::new(specs);
        bench.poll();
        bench.work();
        bench.sent.clear();
        bench.events.clear();
        bench.conditions.clear();
        bench
    }

    /// The box is killed now and starts again, after `off`.
    pub(super) fn restart(&mut self, off: Duration) {
        self.gates = Gates::new(self.specs.clone(), ActId(1)).unwrap();
        self.acts.clear();
        self.now.boot = BootId(self.now.boot.0 + 1);
        self.now.mono = Mono::from_millis(5_000);
        self.now.wall.0 += i64::try_from(off.as_micros()).unwrap();
        for (key, value) in &self.journal {
            assert!(self.gates.restore(key, value), "{key}");
        }
        assert_eq!(self.gates.counts().unreadable, 0);
        assert_eq!(self.gates.poll_timeout(), Some(Mono(0)));
        self.gates.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(effect) = self.gates.poll_effect() {
            match effect {
                Effect::Keep { key, value } => {
                    assert!(key.len() <= 256);
                    match value {
                        Some(value) => {
                            assert!(value.len() <= 12 * 1024);
                            self.journal.insert(key.into(), value.into());
                        }
                        None => drop(self.journal.remove(&*key)),
                    }
                }
                Effect::Event { event, .. } => {
                    self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                }
                Effect::Act(act) => {
                    self.sent.push((act.clone(), self.gates.list(self.now.mono)));
                    self.acts.push_back(act);
                }
            }
        }
        self.steps.extend(std::iter::from_fn(|| self.gates.poll_step()));
        self.passed.extend(std::iter::from_fn(|| self.gates.poll_passed()));
        self.conditions.extend(std::iter::from_fn(|| self.gates.poll_condition()));
    }

    /// All sensors are read.
    pub(super) fn poll(&mut self) {
        let read =
            |((gate, role), on): (&(u16, Role), &bool)| PointReading::new(point(*gate, *role), Ok(Value::Bool(*on)));
        let readings: Vec<_> = self.values.iter().map(read).collect();
        self.gates.handle_readings(self.now, BOARD, self.now.mono, &readings);
        self.drain();
    }

    /// Sensors change, and are read.
    pub(super) fn see(&mut self, changes: &[(Role, bool)]) {
        for (role, on) in changes {
            let gates: Vec<u16> = self.values.keys().filter(|(_, r)| r == role).map(|(gate, _)| *gate).collect();
            for gate in gates {
                self.values.insert((gate, *role), *on);
            }
        }
        self.poll();
    }

    /// Time passes; sensors are polled each 200 ms.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while self.now.mono < end {
            self.step(Duration::from_millis(200).min(self.now.mono.until(end)));
            self.poll();
        }
    }

    /// Time passes, and nothing is read.
    pub(super) fn step(&mut self, time: Duration) {
        let end = self.now.mono + time;
        for _ in 0..1000 {
            let Some(at) = self.gates.poll_timeout().filter(|at| *at <= end) else { break };
            self.at(at.max(self.now.mono));
            self.gates.handle_timeout(self.now);
            self.drain();
            assert!(self.gates.poll_timeout().is_none_or(|next| next > self.now.mono), "it wakes for nothing");
        }
        self.at(end);
    }

    fn at(&mut self, mono: Mono) {
        self.now.wall.0 += i64::try_from(mono.since(self.now.mono).as_micros()).unwrap();
        self.now.mono = mono;
    }

    /// What is kept of the gates, beside the ceiling of their numbers.
    pub(super) fn kept(&self) -> Vec<&str> {
        self.journal.keys().map(String::as_str).filter(|key| *key != "request-next").collect()
    }

    /// The acts that wait, in words; they stay.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.acts.iter().map(words).collect()
    }

    /// The device does everything that waits, in order.
    pub(super) fn work(&mut self) -> Vec<String> {
        self.end(&ActResult::Acknowledged)
    }

    /// Everything that waits ends like this.
    pub(super) fn end(&mut self, result: &ActResult) -> Vec<String> {
        let acts = std::mem::take(&mut self.acts);
        for act in &acts {
            assert!(self.gates.handle_act_result(self.now, act.id, result));
        }
        self.drain();
        acts.iter().map(words).collect()
    }

    pub(super) fn verdict(&mut self, gate: &str) -> RequestId {
        let request = self.gates.mint();
        let verdict = verdict(gate, request.0);
        self.gates.handle_verdict(self.now, &verdict);
        self.drain();
        verdict.request
    }

    pub(super) fn command(&mut self, gate: &str, action: GateAction, by_override: bool) {
        self.requests += 1;
        let command = GateCommand {
            id: format!("c{}", self.requests).into(),
            gate: gate.to_owned(),
            action,
            who: "guard-1".to_owned(),
            by: DecidedBy::Guard,
            by_override,
            expires: self.now.mono + Duration::from_secs(10),
        };
        self.gates.handle_command(self.now, &command);
        self.drain();
    }

    pub(super) fn state(&self, gate: &str) -> State {
        self.gates.view(gate, self.now.mono).unwrap().state
    }

    /// The passage records so far, each as its reason, decision and verification.
    pub(super) fn passages(&self) -> Vec<String> {
        let passages = self.events.iter().filter(|(kind, _)| *kind == "passage");
        passages
            .map(|(_, json)| {
                let text = |key: &str| json[key].as_str().unwrap_or("-").to_owned();
                format!("{} {} {}", text("reason"), text("decision"), json["verified"])
            })
            .collect()
    }

    /// The conditions that began and ended so far.
    pub(super) fn alarms(&self) -> Vec<String> {
        let told = self.conditions.iter();
        told.map(|c| format!("{} {}", c.id.class, c.active.unwrap())).collect()
    }

    /// The steps of the last command.
    pub(super) fn last_steps(&self) -> Vec<Step> {
        let last = self.steps.last().unwrap().command.clone();
        self.steps.iter().filter(|step| step.command == last).map(|step| step.step.clone()).collect()
    }

    /// Lets the boom travel to an end: it leaves the other, and arrives.
    pub(super) fn travel(&mut self, to: Motion) {
        self.see(&[(Role::OpenLimit, false), (Role::CloseLimit, false)]);
        self.run(Duration::from_secs(4));
        let end = if to == Motion::Open { Role::OpenLimit } else { Role::CloseLimit };
        self.see(&[(end, true)]);
        self.run(Duration::from_millis(200));
    }

    /// A vehicle drives through.
    pub(super) fn drive_through(&mut self) {
        self.see(&[(Role::LoopUnderBoom, true)]);
        self.run(Duration::from_secs(2));
        self.see(&[(Role::LoopUnderBoom, false)]);
    }
}

pub(super) fn verdict(gate: &str, request: u64) -> Verdict {
    Verdict {
        request: RequestId(request),
        gate: gate.to_owned(),
        via: "reader-1".to_owned(),
        direction: Direction::In,
        allowed: true,
        reason: "granted".to_owned(),
        decided_by: DecidedBy::Box,
        who: Some("h-17".to_owned()),
        class: None,
        facts: BTreeMap::new(),
    }
}

/// An act in words: `open`, `9=true`, with `!` when it is urgent.
pub(super) fn words(act: &Act) -> String {
    let urgent = if act.urgent { "!" } else { "" };
    match &act.action {
        Action::Call { command, .. } => format!("{command}{urgent}"),
        Action::Write(point, value) => format!("{}={value}{urgent}", point.0),
        Action::Read(_)
        | Action::Recall { .. }
        | Action::Identify
        | Action::LoadRecords { .. }
        | Action::Registers(_)
        | Action::Controller(_) => {
            unreachable!("gates only act")
        }
    }
}

pub(super) const LOST: ActResult = ActResult::Unknown(NoData::Timeout);
