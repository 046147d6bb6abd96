//! The intake against a controller that loses, repeats, overwrites and forgets, and a box that is killed at any instant.

use std::collections::BTreeMap;

use gatehouse_core::{
    BootId, CardNumber, ControllerAnswer, ControllerAsk, ControllerEvent, Decimal, DeviceIx, EventKind, LocalTime,
    Mono, Name, NoData, PointIx, PointReading, Stamp, Trust, Value, Wall,
};
use jiff::tz::TimeZone;

use super::*;
use crate::catalog::PointRef;
use crate::effect::Effect;
use crate::words::Direction;

const DEVICE: DeviceIx = DeviceIx(3);
const INDEX: PointIx = PointIx(0);
const CLOCK: PointIx = PointIx(1);

/// A controller with a ring of events.
struct Board {
    events: BTreeMap<u32, ControllerEvent>,
    last: u32,
    capacity: usize,
}

impl Board {
    fn record(&mut self) {
        self.last += 1;
        // Cards never repeat, so that an event is known by its card.
        let seconds = self.last;
        let event = ControllerEvent {
            index: self.last,
            kind: EventKind::Card,
            granted: true,
            door: 1,
            out: None,
            card: CardNumber::new(1_000_000 + self.last),
            at: LocalTime::new(
                2026,
                11,
                26,
                9,
                u8::try_from(seconds / 60 % 60).unwrap(),
                u8::try_from(seconds % 60).unwrap(),
            ),
            reason: "swipe".into(),
        };
        self.events.insert(self.last, event);
        while self.events.len() > self.capacity {
            self.events.pop_first();
        }
    }

    fn answer(&self, ask: &ControllerAsk) -> ControllerAnswer {
        let ControllerAsk::Event(index) = ask else { return ControllerAnswer::Done };
        match self.events.get(index) {
            Some(event) => ControllerAnswer::Event(event.clone()),
            None if *index > 0 && *index < self.last => ControllerAnswer::Overwritten,
            None => ControllerAnswer::NoEvent,
        }
    }
}

struct Stage {
    board: Board,
    machine: Controllers,
    /// What is durable.
    journal: BTreeMap<String, Vec<u8>>,
    taken: Vec<u32>,
    told: Vec<(&'static str, String)>,
    now: u64,
}

fn spec() -> ControllerSpec {
    let door = DoorSpec { gate: Name::new("lobby").unwrap(), direction: Direction::In };
    ControllerSpec {
        id: Name::new("doors").unwrap(),
        device: DEVICE,
        index_at: PointRef { device: DEVICE, point: INDEX },
        clock_at: Some(PointRef { device: DEVICE, point: CLOCK }),
        doors: [Some(door), None, None, None],
        listens: false,
        cards: ListOwner::Own,
    }
}

fn machine() -> Controllers {
    Controllers::new(&[spec()], TimeZone::UTC, EnquiryId(1))
}

impl Stage {
    fn new(capacity: usize) -> Stage {
        let board = Board { events: BTreeMap::new(), last: 0, capacity };
        let (journal, taken, told) = Default::default();
        Stage { board, machine: machine(), journal, taken, told, now: 1 }
    }

    fn stamp(&self) -> Stamp {
        let wall = Wall(1_795_683_600_000_000 + i64::try_from(self.now).unwrap() * 1000);
        Stamp { boot: BootId(7), mono: Mono::from_millis(self.now), wall, trust: Trust::Synchronised }
    }

    /// Takes what the machine wants kept: all of one call, or nothing of it where the box is killed.
    fn drain(&mut self, killed: bool) {
        let (mut kept, mut told) = (Vec::new(), Vec::new());
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Keep { key, value } => kept.push((key.to_string(), value.unwrap().to_vec())),
                Effect::Event { event, .. } => told.push((event.kind, event.json.to_string())),
                Effect::Act(act) => panic!("{act:?}"),
            }
        }
        let mut taken = Vec::new();
        while let Some(event) = self.machine.poll_taken() {
            assert_eq!(event.door.as_ref().unwrap().gate, *"lobby");
            taken.push(event.event.card.unwrap().reveal() - 1_000_000);
        }
        if !killed {
            self.journal.extend(kept);
            self.told.extend(told);
            self.taken.extend(taken);
        }
    }

    fn status_of(&mut self, index: u32) {
        let number = Value::Decimal(Decimal::whole(index.into()));
        let readings = [
            PointReading::new(INDEX, Ok(number)),
            PointReading::new(CLOCK, Ok(Value::Text("2026-11-26T09:00:02".into()))),
        ];
        self.machine.handle_readings(self.stamp(), DEVICE, &readings);
        self.drain(false);
    }

    fn status(&mut self) {
        self.status_of(self.board.last);
    }

    /// Answers one enquiry, if there is one.
    fn answer_one(&mut self, lost: bool, killed: bool) -> bool {
        let Some(enquiry) = self.machine.poll_enquiry() else { return false };
        let answer = if lost { Err(NoData::Timeout) } else { Ok(self.board.answer(&enquiry.ask)) };
        self.machine.handle_answer(self.stamp(), enquiry.id, answer);
        self.drain(killed);
        true
    }

    fn answer_all(&mut self) {
        for _ in 0..10_000 {
            if !self.answer_one(false, false) {
                return;
            }
        }
        panic!("it asks without end");
    }

    fn restart(&mut self) {
        self.machine = machine();
        for (key, value) in &self.journal {
            assert!(self.machine.restore(key, value));
        }
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.told.iter().map(|(kind, _)| *kind).collect()
    }
}

#[test]
fn a_controller_that_is_seen_for_the_first_time_is_taken_in_from_there_on() {
    let mut stage = Stage::new(100);
    (0..5).for_each(|_| stage.board.record());
    stage.status();
    stage.answer_all();
    assert!(stage.taken.is_empty());
    assert_eq!(stage.told, [("controller_met", r#"{"controller":"doors","index":5}"#.to_owned())]);
    (0..3).for_each(|_| stage.board.record());
    stage.status();
    stage.answer_all();
    assert_eq!(stage.taken, [6, 7, 8]);
    stage.status();
    assert!(!stage.answer_one(false, false), "there is nothing to ask");
}

#[test]
fn an_outage_of_the_box_loses_and_doubles_nothing() {
    let mut stage = Stage::new(100);
    stage.status();
    (0..4).for_each(|_| stage.board.record());
    stage.status();
    stage.answer_all();
    // Killed after the answer came and before it was durable.
    stage.board.record();
    stage.status();
    assert!(stage.answer_one(false, true));
    (0..10).for_each(|_| stage.board.record());
    stage.restart();
    stage.status();
    stage.answer_all();
    assert_eq!(stage.taken, Vec::from_iter(1..=15));
    assert_eq!(stage.kinds(), ["controller_met"]);
}

#[test]
fn a_ring_that_ran_over_is_told_as_one_gap() {
    let mut stage = Stage::new(10);
    stage.status();
    stage.board.record();
    stage.status();
    stage.answer_all();
    (0..50).for_each(|_| stage.board.record());
    stage.restart();
    stage.status();
    stage.answer_all();
    assert_eq!(stage.taken, Vec::from_iter([1].into_iter().chain(42..=51)));
    let gap = r#"{"controller":"doors","from":2,"to":41,"why":"overwritten"}"#;
    assert_eq!(stage.told[1..], [("controller_gap", gap.to_owned())]);
    assert_eq!(stage.machine.view()[0].lost, 40);
}

#[test]
fn a_controller_that_was_reset_is_told_and_taken_in_from_its_beginning() {
    for again in [2, 60] {
        let mut stage = Stage::new(100);
        stage.status();
        (0..20).for_each(|_| stage.board.record());
        stage.status();
        stage.answer_all();
        stage.taken.clear();
        stage.board = Board { events: BTreeMap::new(), last: 0, capacity: 100 };
        (0..again).for_each(|_| stage.board.record());
        // The new event of the same number looks otherwise.
        if let Some(event) = stage.board.events.get_mut(&20) {
            event.door = 2;
        }
        stage.restart();
        stage.status();
        for _ in 0..1000 {
            if !stage.answer_one_of_any_door() {
                break;
            }
        }
        assert_eq!(stage.taken, Vec::from_iter(1..=again), "{again} events since");
        assert_eq!(stage.kinds(), ["controller_met", "controller_reset"]);
    }
}

impl Stage {
    fn answer_one_of_any_door(&mut self) -> bool {
        let Some(enquiry) = self.machine.poll_enquiry() else { return false };
        let mut answer = self.board.answer(&enquiry.ask);
        if let ControllerAnswer::Event(event) = &mut answer
            && self.machine.view()[0].resets > 0
        {
            event.door = 1;
        }
        self.machine.handle_answer(self.stamp(), enquiry.id, Ok(answer));
        self.drain(false);
        true
    }
}

#[test]
fn a_status_that_came_late_is_no_reset_and_a_wrong_one_no_gap() {
    let mut stage = Stage::new(100);
    stage.status();
    (0..5).for_each(|_| stage.board.record());
    stage.status();
    stage.answer_all();
    stage.status_of(3);
    stage.answer_all();
    // Somebody else says that there is more.
    stage.status_of(4000);
    stage.answer_all();
    stage.board.record();
    stage.status();
    stage.answer_all();
    assert_eq!(stage.taken, Vec::from_iter(1..=6));
    assert_eq!(stage.kinds(), ["controller_met"]);
    assert_eq!(stage.machine.view()[0].waiting, 0);
}

#[test]
fn a_controller_that_counts_anew_over_its_old_events_is_believed_after_a_while() {
    let mut stage = Stage::new(100);
    stage.status();
    (0..5).for_each(|_| stage.board.record());
    stage.status();
    stage.answer_all();
    for _ in 0..5 {
        stage.status_of(1);
        stage.answer_all();
    }
    assert_eq!(stage.kinds(), ["controller_met", "controller_reset"]);
    assert_eq!(stage.taken, [1, 2, 3, 4, 5, 1]);
}

#[test]
fn random_weather_and_kills_lose_and_double_nothing_that_the_ring_still_has() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut stage = Stage::new(if seed % 3 == 0 { 12 } else { 10_000 });
        stage.status();
        for _ in 0..300 {
            stage.now += rng.u64(1..3_000);
            match rng.u8(..12) {
                0..=2 => (0..rng.u8(1..6)).for_each(|_| stage.board.record()),
                3 => stage.restart(),
                4 => stage.machine.handle_lost(DEVICE),
                5 => {
                    let killed = rng.bool();
                    if stage.answer_one(false, killed) && killed {
                        stage.restart();
                    }
                }
                6 => stage.status_of(stage.board.last.saturating_sub(rng.u32(..4))),
                7 => {
                    stage.answer_one(true, false);
                }
                _ => {
                    stage.status();
                    for _ in 0..rng.u8(..10) {
                        stage.answer_one(false, false);
                    }
                }
            }
            stage.machine.handle_timeout(stage.stamp());
            stage.drain(false);
        }
        for _ in 0..40 {
            stage.now += 100_000;
            stage.machine.handle_timeout(stage.stamp());
            stage.status();
            stage.answer_all();
        }
        assert!(stage.taken.is_sorted_by(|a, b| a < b), "seed {seed}: each once and in order: {:?}", stage.taken);
        let gaps: u64 =
            stage.told.iter().filter(|(kind, _)| *kind == "controller_gap").map(|(_, json)| gap(json)).sum();
        let taken = u64::try_from(stage.taken.len()).unwrap();
        assert_eq!(taken + gaps, u64::from(stage.board.last), "seed {seed}: {:?}", stage.told);
        assert!(!stage.kinds().contains(&"controller_reset"), "seed {seed}");
        if seed % 3 != 0 {
            assert_eq!(gaps, 0, "seed {seed}");
        }
    }
}

/// How many events a gap's document says are lost.
fn gap(json: &str) -> u64 {
    let document: serde_json::Value = serde_json::from_str(json).unwrap();
    document["to"].as_u64().unwrap() - document["from"].as_u64().unwrap() + 1
}

#[test]
fn the_time_of_an_event_is_the_controllers_with_its_trust() {
    let mut stage = Stage::new(100);
    stage.status();
    stage.board.record();
    stage.status();
    let enquiry = stage.machine.poll_enquiry().unwrap();
    let mut answer = stage.board.answer(&enquiry.ask);
    stage.machine.handle_answer(stage.stamp(), enquiry.id, Ok(answer.clone()));
    let recorded = stage.machine.poll_taken().unwrap().recorded;
    assert_eq!(recorded.local.as_deref(), Some("2026-11-26T09:00:01"));
    assert_eq!(recorded.wall, Some(1_795_683_601_000_000));
    assert_eq!((recorded.trust, recorded.offset_s), (ClockTrust::Agrees, Some(1)));
    stage.drain(false);
    stage.board.record();
    stage.status();
    let enquiry = stage.machine.poll_enquiry().unwrap();
    let ControllerAnswer::Event(event) = &mut answer else { panic!("no event") };
    (event.index, event.at) = (2, None);
    stage.machine.handle_answer(stage.stamp(), enquiry.id, Ok(answer));
    let recorded = stage.machine.poll_taken().unwrap().recorded;
    assert_eq!((recorded.local, recorded.trust), (None, ClockTrust::NoTime));
}
