//! Random happenings beside the few rules that must hold whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use gatehouse_core::{NoData, Trust, Value};
use proptest::prelude::*;

use super::bench::*;
use super::*;
use crate::catalog::PointRef;
use crate::effect::ActResult;

/// What the model knows: requests and their records, and what was seen.
struct World {
    site: Bench,
    rng: Rng,
    /// Requests that were decided, and how many records each has.
    requests: BTreeMap<u64, u32>,
    /// Pulses that were sent for each request.
    pulses: BTreeMap<u64, u32>,
    /// The door was told to unlock, and said that it did.
    unlocked: bool,
    /// True when something was read since the start.
    seen: bool,
    /// True when a person or an exit button opened without anything being seen.
    by_person: bool,
    events: usize,
    commands: BTreeMap<Box<str>, u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut entry = barrier();
        if seed.is_multiple_of(2) {
            let switch = |point| {
                let how = How::Switch { point: gatehouse_core::PointIx(point), on_for: Duration::from_millis(500) };
                Some(Output { device: BOARD, how })
            };
            entry.outputs =
                Outputs { open: switch(1), close: switch(2), stop: switch(3), hold_open: level(9), lock: None };
        }
        World {
            site: Bench::new(vec![entry, door()]),
            rng: Rng::with_seed(seed),
            requests: BTreeMap::new(),
            pulses: BTreeMap::new(),
            unlocked: false,
            seen: false,
            by_person: false,
            events: 0,
            commands: BTreeMap::new(),
        }
    }

    fn happen(&mut self) {
        match self.rng.u32(0..100) {
            0..40 => self.read(),
            40..55 => self.site.step(Duration::from_millis(self.rng.u64(1..3000))),
            55..65 => self.request(),
            65..75 => self.command(),
            75..94 => self.answer(),
            94..96 => self.site.now.wall.0 += self.rng.i64(-5_000_000_000..5_000_000_000),
            96..97 => self.site.now.trust = [Trust::Unset, Trust::Synchronised][self.rng.usize(0..2)],
            _ => {
                (self.seen, self.by_person, self.unlocked) = (false, false, false);
                self.site.restart(Duration::from_secs(self.rng.u64(0..300)));
            }
        }
        self.judge();
        self.account();
    }

    fn read(&mut self) {
        let keys: Vec<_> = self.site.values.keys().copied().collect();
        let (gate, role) = keys[self.rng.usize(0..keys.len())];
        if self.rng.u8(0..12) == 0 {
            let at = PointRef { device: BOARD, point: point(gate, role) };
            let lost = Err(NoData::Timeout);
            self.site.gates.handle_reading(self.site.now, at, &lost);
            self.site.drain();
            return;
        }
        let hazard = matches!(role, Role::Fire | Role::EmergencyStop | Role::MotorFault | Role::Photocell);
        let on = self.rng.u8(0..if hazard { 8 } else { 2 }) == 0;
        self.site.values.insert((gate, role), on);
        self.seen = true;
        if self.rng.bool() {
            self.site.poll();
        } else {
            let at = PointRef { device: BOARD, point: point(gate, role) };
            self.site.gates.handle_reading(self.site.now, at, &Ok(Value::Bool(on)));
            self.site.drain();
        }
    }

    fn request(&mut self) {
        let gate = ["entry", "lobby"][self.rng.usize(0..2)];
        let request = self.site.gates.mint();
        let mut verdict = verdict(gate, request.0);
        verdict.allowed = self.rng.u8(0..5) > 0;
        assert!(self.requests.insert(request.0, 0).is_none(), "a number was given twice");
        self.site.gates.handle_verdict(self.site.now, &verdict);
        if self.rng.bool() {
            self.site.gates.handle_verdict(self.site.now, &verdict);
        }
        self.site.drain();
    }

    fn command(&mut self) {
        let gate = ["entry", "lobby"][self.rng.usize(0..2)];
        let action = GateAction::ALL[self.rng.usize(0..GateAction::ALL.len())];
        let by_override = self.rng.bool();
        self.by_person |= by_override || action == GateAction::Stop;
        self.site.command(gate, action, by_override);
    }

    fn answer(&mut self) {
        let Some(act) = self.site.acts.pop_front() else { return };
        let result = match self.rng.u8(0..10) {
            0..5 => ActResult::Acknowledged,
            5 => ActResult::Verified,
            6 => ActResult::Failed(NoData::DeviceOffline),
            7 => ActResult::Refused("busy".into()),
            8 => ActResult::Expired,
            _ => LOST,
        };
        if words(&act).starts_with("20=") {
            let last = !self.site.acts.iter().any(|other| words(other).starts_with("20="));
            let opens = words(&act).starts_with("20=false");
            self.unlocked = match result {
                ActResult::Acknowledged | ActResult::Verified => last && opens,
                ActResult::Failed(_) | ActResult::Refused(_) | ActResult::Expired => last && self.unlocked,
                ActResult::Unknown(_) => false,
            };
        }
        self.site.gates.handle_act_result(self.site.now, act.id, &result);
        self.site.drain();
    }

    /// What was sent must not be what could hit, trap or lock somebody in.
    fn judge(&mut self) {
        for (act, gates) in self.site.sent.drain(..) {
            let (words, [entry, lobby]) = (words(&act), &gates[..]) else { unreachable!("two gates") };
            let lowers = words.starts_with("close") || words.starts_with("2=true");
            if lowers {
                for role in [Role::LoopUnderBoom, Role::Photocell, Role::MotorFault, Role::EmergencyStop] {
                    let told = entry.sensors.iter().find(|sensor| sensor.role == role).unwrap();
                    assert_eq!(told.active, Some(false), "{words} with {role:?}");
                }
                assert!(entry.fire.is_none(), "{words} in a fire");
                assert_ne!(entry.state, State::Unknown, "{words} in an unknown state");
                assert!(self.seen, "{words} before anything was seen");
            }
            assert!(words != "20=true" || lobby.fire.is_none(), "a door was locked in a fire");
            // A fire release needs nothing seen.
            let release = !lowers && words != "20=true" && entry.fire.or(lobby.fire).is_some();
            assert!(self.seen || release || self.by_person, "{words} before anything was seen");
        }
    }

    /// Each request has one record, each command one end, each fire its release in the same call.
    fn account(&mut self) {
        let events: Vec<_> = self.site.events.drain(..).collect();
        self.events += events.len();
        for (kind, json) in events {
            let request = json["request"].as_u64();
            if kind == "passage" {
                *self.requests.entry(request.unwrap()).or_insert(0) += 1;
            } else if json["act"].is_u64()
                && let Some(request) = request
            {
                *self.pulses.entry(request).or_insert(0) += 1;
            } else if json["command"] == "fire" {
                self.released(json["gate"] == "lobby");
            }
        }
        assert!(self.pulses.values().all(|pulses| *pulses <= 1), "two acts for one request");
        for (request, records) in &self.requests {
            let waits = self.site.journal.contains_key(&format!("passage/{request}"));
            assert_eq!(*records + u32::from(waits), 1, "request {request}");
        }
        for step in self.site.steps.drain(..).filter(|step| step.last) {
            *self.commands.entry(step.command).or_insert(0) += 1;
        }
        assert!(self.commands.values().all(|ends| *ends == 1));
    }

    fn released(&self, lobby: bool) {
        let view = self.site.gates.view(if lobby { "lobby" } else { "entry" }, self.site.now.mono).unwrap();
        let told = |role| view.sensors.iter().find(|sensor| sensor.role == role).and_then(|sensor| sensor.active);
        let urgent = |word: &str| self.site.waiting().iter().any(|act| act == word);
        if lobby {
            assert!(urgent("20=false!") || self.unlocked, "the door was not released at once");
        } else if told(Role::EmergencyStop) != Some(true) && told(Role::OpenLimit) != Some(true) {
            assert!(urgent("open!") || urgent("1=true!"), "the boom was not raised at once");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_rules_of_the_gates_hold(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.happen();
        }
        prop_assert!(world.events > 0);
    }
}
