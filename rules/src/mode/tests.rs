use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::{BootId, Wall};
use serde_json::{Value, json};

use super::*;

const NOTHING: Backlog = Backlog { urgent: 0, billing: 0, telemetry: 7 };
const OWED: Backlog = Backlog { urgent: 0, billing: 1, telemetry: 7 };

fn at(s: u64) -> Stamp {
    let wall = 1_795_000_000_000_000 + i64::try_from(s).unwrap() * 1_000_000;
    Stamp { boot: BootId(1), mono: Mono::from_millis(s * 1000), wall: Wall(wall), trust: Trust::Synchronised }
}

/// The journal and the record beside the machine.
struct World {
    modes: Modes,
    kept: BTreeMap<Box<str>, Box<[u8]>>,
    events: Vec<Value>,
}

impl World {
    fn new() -> Self {
        World { modes: Modes::new(ModeSettings::default()), kept: BTreeMap::new(), events: Vec::new() }
    }

    fn commit(&mut self) {
        while let Some(effect) = self.modes.poll_effect() {
            match effect {
                Effect::Keep { key, value: Some(value) } => drop(self.kept.insert(key, value)),
                Effect::Keep { key, value: None } => drop(self.kept.remove(&key)),
                Effect::Event { lane, event, .. } => {
                    assert_eq!((lane, event.kind), (Lane::Audit, "mode"));
                    self.events.push(serde_json::from_str(&event.json).unwrap());
                }
                Effect::Act(act) => panic!("modes do not act: {act:?}"),
            }
        }
    }

    fn restart(&mut self) {
        self.modes = Modes::new(ModeSettings::default());
        for (key, value) in &self.kept {
            self.modes.restore(key, value).unwrap();
        }
    }

    fn link(&mut self, s: u64, up: bool) {
        self.modes.handle_link(at(s), up);
        self.commit();
    }

    fn backlog(&mut self, s: u64, backlog: Backlog) {
        self.modes.handle_backlog(at(s), backlog);
        self.commit();
    }

    /// Runs the timers until `s`, each at its instant.
    fn pass(&mut self, s: u64) {
        while let Some(due) = self.modes.poll_timeout().filter(|due| *due <= at(s).mono) {
            self.modes.handle_timeout(at(due.0 / 1_000_000_000));
            self.commit();
        }
        self.modes.handle_timeout(at(s));
        self.commit();
    }

    fn path(&self) -> Vec<(&str, &str, u64)> {
        self.events.iter().map(step).collect()
    }
}

fn step(event: &Value) -> (&str, &str, u64) {
    let text = |key: &str| event[key].as_str().unwrap();
    (text("from"), text("to"), event["outage"].as_u64().unwrap())
}

#[test]
fn an_outage_is_entered_and_left_once_and_tells_its_length() {
    let mut world = World::new();
    world.link(1, true);
    world.link(100, false);
    world.pass(129);
    assert_eq!(world.modes.mode(), Mode::Online);
    world.pass(130);
    assert_eq!(world.modes.mode(), Mode::Degraded);
    world.link(1000, true);
    world.pass(1059);
    assert_eq!(world.modes.mode(), Mode::Degraded);
    world.pass(1060);
    assert_eq!(world.modes.mode(), Mode::Recovering);
    world.backlog(1061, OWED);
    world.backlog(1070, NOTHING);
    assert_eq!(world.modes.mode(), Mode::Online);
    assert_eq!(world.modes.outage(), None);
    let since = "2026-11-18T11:08:20.000Z";
    assert_eq!(
        world.events,
        [
            json!({"from": "online", "to": "degraded", "cause": "link_down", "outage": 1, "since": since, "outage_s": 30}),
            json!({"from": "degraded", "to": "recovering", "cause": "link_down", "outage": 1, "since": since,
                   "lasted_s": 930, "outage_s": 960}),
            json!({"from": "recovering", "to": "online", "cause": "link_down", "outage": 1, "since": since,
                   "lasted_s": 10, "outage_s": 970, "owed": {"urgent": 0, "billing": 0, "telemetry": 7}}),
        ]
    );
}

#[test]
fn a_link_lost_while_recovering_goes_on_with_the_same_outage() {
    let mut world = World::new();
    world.link(0, true);
    world.link(10, false);
    world.pass(50);
    world.link(50, true);
    world.pass(120);
    world.backlog(120, OWED);
    world.link(130, false);
    world.backlog(131, NOTHING);
    assert_eq!(world.modes.mode(), Mode::Recovering, "what is owed says nothing while the link is down");
    world.link(140, true);
    assert_eq!(world.modes.mode(), Mode::Online, "down for 10 s only");

    world.backlog(141, OWED);
    world.link(200, false);
    world.pass(230);
    world.link(240, true);
    world.pass(300);
    world.link(310, false);
    world.pass(340);
    world.link(350, true);
    world.pass(410);
    world.backlog(420, NOTHING);
    let second = [
        ("online", "degraded", 2),
        ("degraded", "recovering", 2),
        ("recovering", "degraded", 2),
        ("degraded", "recovering", 2),
        ("recovering", "online", 2),
    ];
    assert_eq!(world.path()[3..], second);
}

#[test]
fn the_mode_survives_a_restart_and_the_link_has_time_to_come_back() {
    let mut world = World::new();
    world.link(0, true);
    world.restart();
    assert_eq!(world.modes.poll_timeout(), Some(Mono(0)));
    world.modes.handle_timeout(at(7200));
    world.link(7229, true);
    world.pass(9000);
    assert_eq!(world.path(), [], "two hours without power are no outage");

    world.link(9000, false);
    world.pass(9100);
    world.restart();
    assert_eq!(world.modes.mode(), Mode::Degraded);
    world.modes.handle_timeout(at(9150));
    world.link(9200, true);
    world.pass(9300);
    world.restart();
    world.modes.handle_timeout(at(9301));
    assert_eq!(world.modes.mode(), Mode::Recovering);
    world.link(9310, true);
    assert_eq!(world.modes.mode(), Mode::Recovering, "nobody has counted yet what is owed");
    world.backlog(9311, NOTHING);
    assert_eq!(world.events.len(), 3);
    assert_eq!(world.modes.mode(), Mode::Online);
}

#[test]
fn a_link_that_never_came_and_one_that_was_never_wanted_say_so() {
    let mut world = World::new();
    world.pass(0);
    world.pass(40);
    assert_eq!(world.modes.outage().map(|o| o.cause), Some(Cause::NeverConnected));
    let mut lone = Modes::new(ModeSettings { uplink: false, ..ModeSettings::default() });
    lone.handle_timeout(at(0));
    lone.handle_timeout(at(30));
    assert_eq!(lone.outage().map(|o| o.cause), Some(Cause::NoUplink));
}

#[test]
fn what_cannot_have_been_kept_is_refused() {
    let mut modes = Modes::new(ModeSettings::default());
    assert!(modes.restore("mode", b"{}").is_err());
    let torn = br#"{"mode":"degraded","entered":null,"outages":3,"outage":null,"connected":true}"#;
    assert!(modes.restore("mode", torn).is_err());
    assert_eq!(modes.mode(), Mode::Online);
    assert!(modes.restore("command/1", b"{}").is_ok());
}

/// The link as it was, beside the machine: judges each change by it.
#[derive(Default)]
struct Judge {
    up: bool,
    since: u64,
    entered: BTreeSet<u64>,
    left: BTreeSet<u64>,
}

impl Judge {
    fn link(&mut self, s: u64, up: bool) {
        if self.up != up {
            (self.up, self.since) = (up, s);
        }
    }

    /// All that was recorded between two happenings, each a second after the one before.
    fn judge(&mut self, s: u64, events: &mut Vec<Value>) {
        for event in events.drain(..) {
            let (from, to, outage) = step(&event);
            let lasted = s - self.since;
            match (from, to) {
                ("online", "degraded") => {
                    assert!(!self.up && lasted >= 30, "degraded at {s}, down since {}", self.since);
                    assert!(self.entered.insert(outage), "outage {outage} is entered twice");
                    assert_eq!(self.entered.len() as u64, outage, "numbers have no holes");
                }
                ("recovering", "degraded") => assert!(!self.up && lasted >= 30 && !self.left.contains(&outage)),
                ("degraded", "recovering") => assert!(self.up && lasted >= 60 && !self.left.contains(&outage)),
                ("recovering", "online") => assert!(self.up && self.left.insert(outage), "left once, with a link"),
                other => panic!("no such change: {other:?}"),
            }
        }
    }

    /// What the timers may not leave undone.
    fn overdue(&self, s: u64, mode: Mode) {
        let lasted = s - self.since;
        match mode {
            Mode::Online | Mode::Recovering => assert!(self.up || lasted < 30, "still {mode:?} at {s}"),
            Mode::Degraded => assert!(!self.up || lasted < 60, "still degraded at {s}"),
        }
        assert_eq!(self.entered.len() - self.left.len(), usize::from(mode != Mode::Online));
    }
}

#[test]
fn whatever_link_and_box_do_each_outage_is_entered_once_and_the_patience_is_kept() {
    let mut outages = 0;
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut world, mut judge, mut s) = (World::new(), Judge::default(), 0);
        world.modes.handle_timeout(at(0));
        for _ in 0..200 {
            let rest = if rng.bool() { rng.u64(0..40) } else { rng.u64(0..200) };
            for _ in 0..rest {
                s += 1;
                world.pass(s);
                judge.judge(s, &mut world.events);
                judge.overdue(s, world.modes.mode());
            }
            match rng.u8(0..10) {
                0..=2 => world.modes.handle_backlog(at(s), if rng.bool() { NOTHING } else { OWED }),
                _ => {
                    let up = rng.bool();
                    world.modes.handle_link(at(s), up);
                    judge.link(s, up);
                }
            }
            match rng.u8(0..10) {
                0 => {
                    // A kill before the batch is written: what the last call wanted never was.
                    world.restart();
                    world.modes.handle_timeout(at(s));
                    (judge.up, judge.since) = (false, s);
                }
                1 => {
                    world.commit();
                    judge.judge(s, &mut world.events);
                    world.restart();
                    world.modes.handle_timeout(at(s));
                    (judge.up, judge.since) = (false, s);
                }
                _ => world.commit(),
            }
            judge.judge(s, &mut world.events);
        }
        outages += judge.left.len();
    }
    assert!(outages > 300, "the stories had only {outages} outages");
}
