//! Random happenings, with a kill at any point of any call, and a clock that steps.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::*;

/// How long a command may go on without an outcome, in seconds.
const PATIENCE: i64 = 20;
/// How long the id of a refused command is held, in seconds.
const HOLD: i64 = 120 + 60;

/// What must hold of one id, seen from outside.
#[derive(Default)]
struct Told {
    accepted: u32,
    /// When, in truth.
    accepted_s: i64,
    last: u32,
    /// Until when, in truth, it may not be accepted.
    refused_until: i64,
    acted: u32,
}

/// A command, and when it was first sent.
#[derive(Clone)]
struct Sent {
    source: Source,
    request: Request,
    true_s: i64,
    boot: BootId,
}

/// A world in which things happen by chance.
struct Storm {
    world: World,
    rng: Rng,
    /// Everything that was ever sent to the box, to be sent again.
    sent: Vec<Sent>,
    /// What is being done at the moment.
    at_work: BTreeSet<CommandId>,
    told: BTreeMap<String, Told>,
    /// Seconds since the beginning, in truth; the core knows them.
    true_s: i64,
    /// How far the clock of the box is ahead.
    skew_s: i64,
    /// Whether a kill may be one of the whole box.
    reboots: bool,
    /// Whether every refusal is remembered.
    roomy: bool,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut settings = Settings::new(Name::new("riverside-7").unwrap());
        let roomy = seed % 4 < 2;
        (settings.room, settings.waiting) = (if roomy { 1000 } else { 40 }, 3);
        (settings.patience, settings.margin) = (Duration::from_secs(20), Duration::from_secs(60));
        settings.longest_life = Duration::from_secs(120);
        let (world, rng) = (World::with(settings), Rng::with_seed(seed));
        Storm {
            world,
            rng,
            sent: Vec::new(),
            at_work: BTreeSet::new(),
            told: BTreeMap::new(),
            true_s: 0,
            skew_s: 0,
            reboots: seed % 2 == 1,
            roomy,
        }
    }

    fn sleep(&mut self, seconds: u64) {
        self.world.sleep(seconds);
        self.true_s += i64::try_from(seconds).unwrap();
    }

    /// The clock of the box is set; the core's is right.
    fn step_clock(&mut self) {
        self.skew_s = if self.rng.bool() { 0 } else { self.rng.i64(-300..300) };
        self.world.now.wall = Wall(BEGIN + (self.true_s + self.skew_s) * SECOND);
        self.world.now.trust =
            *self.rng.choice([Trust::Unset, Trust::FreeRunning, Trust::Synchronised].iter()).unwrap();
    }

    fn send(&mut self) {
        let again = (!self.sent.is_empty() && self.rng.u8(0..3) == 0).then(|| self.rng.usize(0..self.sent.len()));
        let Sent { source, request, true_s, boot } = match again {
            Some(ix) => self.sent[ix].clone(),
            None => {
                let source = if self.rng.u8(0..4) == 0 { GUARD } else { Source::Core };
                // The core writes the true time, a client at the site that of the box.
                let box_wall = self.world.now.wall;
                if source == Source::Core {
                    self.world.now.wall = Wall(BEGIN + self.true_s * SECOND);
                }
                let (target, life) = (format!("gate:g{}", self.rng.u8(0..3)), self.rng.i64(1..130));
                let action = *self.rng.choice(["open", "close", "hold_open"].iter()).unwrap();
                let action = if source == GUARD && self.rng.u8(0..3) == 0 { "stop" } else { action };
                let request = self.world.message(&format!("c{}", self.sent.len()), &target, action, life);
                self.world.now.wall = box_wall;
                let sent = Sent { source, request, true_s: self.true_s, boot: self.world.now.boot };
                self.sent.push(sent.clone());
                sent
            }
        };
        // A broker may hold a command for ever; a client at the socket tries again at once or never.
        if source != Source::Core && (boot != self.world.now.boot || self.true_s > true_s + PATIENCE) {
            return;
        }
        let retained = self.rng.u8(0..20) == 0;
        self.world.commands.handle_request(self.world.now, source, retained, request);
    }

    fn tell(&mut self) {
        let Some(id) = self.rng.choice(self.at_work.iter()).cloned() else { return };
        let step = match self.rng.u8(0..5) {
            0 => Step::Sent,
            1 => Step::Acknowledged,
            2 => Step::Ended(Outcome::Unknown { reason: "timeout".into(), detail: None }),
            _ => verified(),
        };
        if matches!(step, Step::Ended(_)) {
            self.at_work.remove(&id);
        }
        self.world.commands.handle_step(self.world.now, &id, step);
    }

    fn judge(&mut self) {
        for (kind, event) in self.world.events.drain(..) {
            let (Some(id), true) = (event["id"].as_str(), kind == "command" && event["repeat"].is_null()) else {
                continue;
            };
            let told = self.told.entry(id.to_owned()).or_default();
            let step = event["step"].as_str().unwrap();
            let at_the_door = step == "refused" && event["reason"] != "superseded";
            if at_the_door {
                assert_eq!(told.accepted, told.last, "{id} is at work and known");
                told.refused_until = told.refused_until.max(match event["reason"].as_str() {
                    Some("expired" | "forgotten" | "queue_full") if event["source"] == "core" => i64::MAX,
                    Some("busy") => 0,
                    _ => self.true_s + HOLD,
                });
            } else if step == "accepted" {
                // Across boots only the wall clock tells how long an id was held.
                let remembered = self.roomy && !self.reboots && self.true_s < told.refused_until;
                assert!(!remembered, "{id} is accepted after it was refused");
                told.accepted += 1;
                told.accepted_s = self.true_s;
            } else if event["last"] == true {
                told.last += 1;
            }
            assert!(told.accepted <= 1, "{id} was accepted twice");
            assert!(told.last <= told.accepted, "{id} ended twice, or before it was accepted");
        }
    }

    fn act(&mut self, dispatches: Vec<Dispatch>) {
        for Dispatch { request, source, expires, .. } in dispatches {
            let told = self.told.entry(request.id.to_string()).or_default();
            told.acted += 1;
            assert_eq!(
                (told.acted, told.accepted),
                (1, 1),
                "{} acts more than once, or before it is stored",
                request.id
            );
            assert!(self.world.now.mono < expires);
            // However wrong the clock of the box is or was, nothing waits for longer than it was to live.
            let life = (request.expires_at.0 - request.issued_at.0) / SECOND;
            assert!(self.true_s - told.accepted_s < life, "{} acts after {life} s", request.id);
            if source == Source::Core {
                let wall = self.world.now.wall;
                assert!(self.world.now.trust == Trust::Unset || wall < request.expires_at, "{} acts late", request.id);
            }
            self.at_work.insert(request.id);
        }
    }

    /// Ends a call: with a kill before or after its batch is written, or without.
    fn settle(&mut self) {
        let kill = self.rng.u8(0..40);
        if kill > 0 {
            let dispatches = self.world.commit();
            self.judge();
            if kill > 1 {
                return self.act(dispatches);
            }
        }
        self.at_work.clear();
        self.world.restart();
        if self.reboots && self.rng.bool() {
            self.world.now.boot = BootId(self.world.now.boot.0 + 1);
            self.world.now.mono = Mono::from_millis(self.rng.u64(0..10_000));
        }
    }

    fn run(&mut self, happenings: u32) {
        for _ in 0..happenings {
            match self.rng.u8(0..12) {
                0..=4 => self.send(),
                5..=8 => self.tell(),
                9..=10 => {
                    let seconds = if self.rng.bool() { self.rng.u64(0..5) } else { self.rng.u64(0..90) };
                    self.sleep(seconds);
                    self.world.commands.handle_timeout(self.world.now);
                }
                _ => self.step_clock(),
            }
            self.settle();
            assert!(self.world.commands.held() <= self.world.settings.room + 64);
        }
    }
}

#[test]
fn whatever_happens_a_command_acts_once_at_most_ends_once_and_never_begins_late() {
    let (mut acted, mut accepted) = (0, 0);
    for seed in 0..150 {
        let mut storm = Storm::new(seed);
        storm.run(500);
        for _ in 0..20 {
            storm.sleep(60);
            storm.world.commands.handle_timeout(storm.world.now);
            storm.world.commit();
            storm.judge();
        }
        for (id, told) in storm.told.iter().filter(|(_, told)| told.accepted == 1) {
            assert_eq!(told.last, 1, "seed {seed}: {id} has {} ends", told.last);
        }
        assert_eq!(storm.world.commands.held(), 0, "seed {seed}: every id is forgotten in the end");
        assert_eq!(storm.world.commands.poll_timeout(), None);
        assert!(storm.world.kept.keys().all(|key| &**key == "command-horizon"));
        acted += storm.told.values().filter(|told| told.acted == 1).count();
        accepted += storm.told.values().filter(|told| told.accepted == 1).count();
    }
    assert!(acted > 5_000 && accepted > acted, "{accepted} accepted, {acted} acted");
}
