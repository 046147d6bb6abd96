use std::str::FromStr;

use gatehouse_core::{BootId, DeviceIx, PointIx};
use jiff::civil::{DateTime, date};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::calendar::{CalendarSpec, Holiday};
use super::super::round::Stop;
use super::super::timetable::Timetable;
use super::super::zone::{local, wall};
use super::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const PUMP: PointRef = PointRef { device: DeviceIx(3), point: PointIx(1) };

/// A site with its journal: what the rounds keep and tell is stored after each call, or lost with a kill.
struct World {
    specs: Vec<RoundSpec>,
    calendar: Calendar,
    rounds: Rounds,
    kept: BTreeMap<String, Vec<u8>>,
    events: Vec<(&'static str, Value)>,
    conditions: Vec<(String, Option<bool>, String)>,
    now: Stamp,
}

impl World {
    fn new(specs: Vec<RoundSpec>, at: DateTime) -> Self {
        let calendar = Calendar::weekdays_only();
        let now =
            Stamp { boot: BootId(1), mono: Mono(0), wall: wall(at, &zone()).unwrap(), trust: Trust::Synchronised };
        let rounds = Rounds::new(specs.clone(), calendar.clone(), zone()).unwrap();
        let (kept, events, conditions) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut world = World { specs, calendar, rounds, kept, events, conditions, now };
        world.step(|rounds, now| rounds.handle_timeout(now));
        world
    }

    fn step(&mut self, call: impl FnOnce(&mut Rounds, Stamp)) {
        call(&mut self.rounds, self.now);
        while let Some(effect) = self.rounds.poll_effect() {
            match effect {
                Effect::Keep { key, value: Some(value) } => {
                    assert!(value.len() <= 12 * 1024, "{} bytes", value.len());
                    self.kept.insert(key.into(), value.into());
                }
                Effect::Keep { key, value: None } => drop(self.kept.remove(&*key)),
                Effect::Event { event, lane, .. } => {
                    assert_eq!(lane, Lane::Audit);
                    self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                }
                Effect::Act(act) => panic!("{act:?}"),
            }
        }
        while let Some(condition) = self.rounds.poll_condition() {
            self.conditions.push((condition.id.to_string(), condition.active, condition.message));
        }
    }

    fn run(&mut self, seconds: i64) {
        self.now.mono = self.now.mono + Duration::from_secs(seconds.unsigned_abs());
        self.now.wall.0 += seconds * 1_000_000;
    }

    /// Time goes by, and the rounds are called at each of their deadlines.
    fn pass(&mut self, seconds: i64) {
        let end = self.now.mono + Duration::from_secs(seconds.unsigned_abs());
        while let Some(due) = self.rounds.poll_timeout().filter(|due| *due < end) {
            let wait = self.now.mono.until(due);
            self.now.mono = self.now.mono + wait;
            self.now.wall.0 += micros(wait);
            self.step(|rounds, now| rounds.handle_timeout(now));
        }
        let rest = self.now.mono.until(end);
        self.now.mono = end;
        self.now.wall.0 += micros(rest);
        self.step(|rounds, now| rounds.handle_timeout(now));
    }

    fn set_clock(&mut self, seconds: i64) {
        self.now.wall.0 += seconds * 1_000_000;
        self.step(|rounds, now| rounds.handle_timeout(now));
    }

    /// The daemon was off for so long; from 20 minutes on the box was too.
    fn restart(&mut self, off: i64) {
        self.run(off);
        if off > 20 * MINUTE {
            self.now.boot.0 += 1;
            self.now.mono = Mono::from_millis(20_000);
        }
        self.rounds = Rounds::new(self.specs.clone(), self.calendar.clone(), zone()).unwrap();
        for (key, value) in &self.kept {
            self.rounds.restore(key, value).unwrap();
        }
        self.step(|rounds, now| rounds.handle_timeout(now));
    }

    fn card(&mut self, reader: &str, who: &str, class: Option<HolderClass>) {
        self.step(|rounds, now| rounds.handle_card(now, reader, Holder { who, class }));
    }

    fn reading(&mut self, value: f64) {
        self.step(|rounds, now| rounds.handle_reading(now, PUMP, value));
    }

    fn ends(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
            .into_iter()
            .filter(|(kind, _)| *kind == "round")
            .map(|(_, json)| json)
            .collect()
    }

    /// Local due, outcome and reason of each end since the last call.
    fn short_ends(&mut self) -> Vec<String> {
        let text = |end: &Value| {
            let due = local(Wall(end["due_us"].as_i64().unwrap()), &zone()).strftime("%d %H:%M").to_string();
            let reason = end["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
            format!("{due} {}{reason}", end["outcome"].as_str().unwrap())
        };
        self.ends().iter().map(text).collect()
    }
}

fn zone() -> TimeZone {
    TimeZone::posix("CST-8").unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn stop(id: &str, reader: &str) -> Stop {
    Stop { id: name(id), proof: Proof::Card { reader: name(reader), classes: None } }
}

fn night() -> RoundSpec {
    RoundSpec {
        id: name("night"),
        title: "Night patrol".into(),
        due: Timetable::from_str("daily 22:00-06:00 every 2h").unwrap(),
        before: Duration::from_secs(10 * 60),
        after: Duration::from_secs(30 * 60),
        stops: vec![stop("gate", "r1"), stop("roof", "r2")],
        ordered: false,
        ticket: Some(name("patrol")),
    }
}

/// Monday, 4 January 2027.
fn monday(hour: i8, minute: i8) -> DateTime {
    date(2027, 1, 4).at(hour, minute, 0, 0)
}

/// A calendar on which that Monday is a holiday.
fn monday_off() -> Calendar {
    let day = monday(0, 0).date();
    let holidays = vec![Holiday { name: "x".into(), first: day, last: day }];
    let (name, version) = ("x".to_owned(), "1".to_owned());
    let spec = CalendarSpec { name, version, first: day, last: date(2027, 12, 31), holidays, workdays: Vec::new() };
    Calendar::new(spec).unwrap()
}

#[test]
fn a_round_is_done_as_soon_as_all_its_stops_are_proved_within_its_time() {
    let mut world = World::new(vec![night()], monday(21, 0));
    world.pass(49 * MINUTE);
    world.card("r1", "h-1", None);
    world.pass(MINUTE);
    world.card("r2", "h-1", None);
    world.pass(MINUTE);
    assert_eq!(world.ends(), [] as [Value; 0], "the card at 21:49 came too early");
    world.card("r1", "h-2", None);
    let at = |hour, minute| wall(monday(hour, minute), &zone()).unwrap().0;
    let expected = json!({
        "round": "night", "due_us": at(22, 0), "outcome": "done",
        "stops": [
            { "stop": "gate", "at_us": at(21, 51), "who": "h-2" },
            { "stop": "roof", "at_us": at(21, 50), "who": "h-1" },
        ],
    });
    assert_eq!(world.ends(), [expected]);
    world.card("r1", "h-2", None);
    world.pass(40 * MINUTE);
    assert_eq!(world.ends(), [] as [Value; 0], "it is accounted for");
}

#[test]
fn a_missed_round_says_which_stops_are_missing_and_alarms_until_one_is_done() {
    let mut world = World::new(vec![night()], monday(21, 0));
    world.pass(70 * MINUTE);
    world.card("r2", "h-1", None);
    world.conditions.clear();
    world.pass(20 * MINUTE - 1);
    assert_eq!(world.ends().len(), 0);
    world.pass(1);
    let ends = world.ends();
    assert_eq!((&ends[0]["outcome"], &ends[0]["reason"]), (&json!("missed"), &json!("unproved")));
    assert_eq!(ends[0]["stops"][0], json!({ "stop": "gate" }));
    assert_eq!(ends[0]["stops"][1]["who"], "h-1");
    let message = "Night patrol, due 2027-01-04 22:00: 1 of 2 stops not proved: gate";
    assert_eq!(world.conditions, [("round_missed/night".to_owned(), Some(true), message.to_owned())]);
    world.pass(90 * MINUTE);
    world.card("r1", "h-1", None);
    world.card("r2", "h-1", None);
    assert_eq!(world.conditions.last().unwrap().1, Some(false));
    assert_eq!(world.short_ends(), ["05 00:00 done"]);
}

#[test]
fn stops_in_order_count_only_in_their_turn_and_one_card_proves_one_stop() {
    let stops = vec![stop("out", "r1"), stop("roof", "r2"), stop("back", "r1")];
    let mut world =
        World::new(vec![RoundSpec { stops, ordered: true, ..night() }], monday(22, 0) - jiff::Span::new().minutes(5));
    for reader in ["r2", "r1", "r2", "r1"] {
        world.card(reader, "h-1", None);
        world.pass(1);
    }
    let end = &world.ends()[0];
    assert_eq!((&end["outcome"], &end["out_of_order"]), (&json!("done"), &json!(1)));
}

#[test]
fn only_the_named_classes_and_readings_in_range_prove_a_stop() {
    let guards = Proof::Card { reader: name("r1"), classes: Some(BTreeSet::from([HolderClass::Staff])) };
    let pump = Proof::Reading { point: PUMP, min: 2.0, max: 4.0 };
    let stops = vec![Stop { id: name("gate"), proof: guards }, Stop { id: name("pump"), proof: pump }];
    let mut world = World::new(vec![RoundSpec { stops, ..night() }], monday(21, 55));
    world.card("r1", "h-1", Some(HolderClass::Visitor));
    world.card("r1", "h-2", None);
    for value in [1.9, 4.1, f64::NAN, 4.0] {
        world.reading(value);
    }
    assert_eq!(world.ends().len(), 0);
    world.card("r1", "h\n", Some(HolderClass::Staff));
    let end = &world.ends()[0];
    assert_eq!(end["outcome"], "done");
    assert_eq!(end["stops"][0]["who"], Value::Null, "no pseudonym has a line break");
}

#[test]
fn a_restart_loses_no_proof_and_repeats_no_end() {
    let mut world = World::new(vec![night()], monday(21, 55));
    world.card("r1", "h-1", None);
    world.restart(5 * MINUTE);
    world.card("r2", "h-1", None);
    assert_eq!(world.short_ends(), ["04 22:00 done"]);
    world.restart(MINUTE);
    assert_eq!(world.short_ends(), [""; 0]);
    world.pass(HOUR + 50 * MINUTE);
    world.restart(10 * MINUTE);
    world.pass(30 * MINUTE);
    let end = &world.ends()[0];
    assert_eq!(
        (&end["outcome"], &end["reason"], &end["partly_watched"]),
        (&json!("missed"), &json!("unproved"), &json!(true))
    );
    world.conditions.clear();
    world.restart(MINUTE);
    let expected = ("round_missed/night".to_owned(), Some(true), "Night patrol was missed".to_owned());
    assert_eq!(world.conditions, [expected], "the alarm hears of it again");
}

#[test]
fn a_round_that_has_lost_its_last_missing_stop_is_done() {
    let mut world = World::new(vec![night()], monday(21, 55));
    world.card("r1", "h-1", None);
    world.specs[0].stops.pop();
    world.restart(MINUTE);
    assert_eq!(world.short_ends(), ["04 22:00 done"]);
}

#[test]
fn a_calendar_that_comes_while_the_clock_is_unset_counts_from_then_on() {
    let mut world =
        World::new(vec![RoundSpec { due: Timetable::from_str("holiday 23:00").unwrap(), ..night() }], monday(21, 0));
    world.now.trust = Trust::Unset;
    let calendar = monday_off();
    world.step(|rounds, now| rounds.handle_calendar(now, calendar));
    world.now.trust = Trust::Synchronised;
    world.pass(3 * HOUR);
    assert_eq!(world.short_ends(), ["04 23:00 missed unproved"]);
}

#[test]
fn a_box_that_was_off_accuses_nobody() {
    let mut world = World::new(vec![night()], monday(21, 55));
    world.card("r1", "h-1", None);
    world.conditions.clear();
    world.restart(3 * HOUR);
    assert_eq!(world.short_ends(), ["04 22:00 missed box_off", "05 00:00 missed box_off"]);
    assert_eq!(world.conditions, [("round_missed/night".to_owned(), Some(false), String::new())]);
}

#[test]
fn a_clock_that_jumps_forward_accounts_for_what_it_jumps_over_and_never_again() {
    let mut world = World::new(vec![night()], monday(21, 0));
    world.set_clock(4 * HOUR);
    assert_eq!(world.short_ends(), ["04 22:00 missed clock", "05 00:00 missed clock"]);
    world.set_clock(-4 * HOUR);
    let until_us = wall(monday(0, 0), &zone()).unwrap().0 + 86_400_000_000;
    let paused = ("round_paused", json!({ "round": "night", "until_us": until_us }));
    assert_eq!(std::mem::take(&mut world.events), [paused]);
    world.restart(MINUTE);
    world.pass(4 * HOUR);
    assert_eq!(world.events, [], "both are accounted for");
    world.pass(2 * HOUR);
    assert_eq!(world.short_ends(), ["05 02:00 missed unproved"]);
}

#[test]
fn a_small_correction_of_the_clock_is_time_that_went_by() {
    let mut world = World::new(vec![night()], monday(22, 29));
    world.set_clock(60);
    assert_eq!(world.short_ends(), [""; 0], "due before the first look");
    world.pass(2 * HOUR - MINUTE);
    world.set_clock(59);
    world.set_clock(1);
    assert_eq!(world.short_ends(), ["05 00:00 missed unproved"]);
}

#[test]
fn a_clock_that_goes_back_within_a_round_keeps_its_proofs() {
    let mut world = World::new(vec![night()], monday(21, 55));
    world.card("r1", "h-1", None);
    world.set_clock(-HOUR);
    world.card("r2", "h-1", None);
    assert_eq!(world.short_ends(), ["04 22:00 done"]);
}

#[test]
fn without_a_clock_rounds_are_not_judged_and_that_is_told_once() {
    let mut world = World::new(vec![night()], monday(21, 55));
    world.now.trust = Trust::Unset;
    world.card("r1", "h-1", None);
    world.card("r2", "h-1", None);
    world.restart(MINUTE);
    world.pass(2 * HOUR);
    assert_eq!(world.events, [("rounds_unjudged", json!({ "reason": "clock_unset" }))]);
    world.now.trust = Trust::FreeRunning;
    world.pass(MINUTE);
    assert_eq!(world.short_ends(), ["04 22:00 missed clock"]);
    world.pass(HOUR);
    assert_eq!(world.short_ends(), ["05 00:00 missed unproved"]);
    assert!(!world.kept.contains_key(UNJUDGED));
}

#[test]
fn a_long_time_off_is_told_in_one_event() {
    let mut world = World::new(vec![night()], monday(21, 55));
    world.card("r1", "h-1", None);
    world.restart(10 * 24 * HOUR);
    let ends = world.ends();
    assert_eq!(ends.len(), 2);
    assert_eq!(ends[0]["stops"][0]["who"], "h-1");
    assert_eq!(ends[1]["run"]["count"], 4 * 10 - 1);
    world.restart(10_000 * 24 * HOUR);
    assert_eq!(world.ends()[1]["run"]["or_more"], true);
    world.pass(24 * HOUR);
    assert_eq!(world.ends().len(), 4, "it goes on as usual");
}

#[test]
fn a_due_that_the_new_calendar_does_not_have_is_cancelled_with_what_was_proved() {
    let due = Timetable::from_str("workday 22:00; holiday 23:00").unwrap();
    let mut world = World::new(vec![RoundSpec { due, ..night() }], monday(21, 55));
    world.card("r1", "h-1", None);
    let calendar = monday_off();
    world.step(|rounds, now| rounds.handle_calendar(now, calendar));
    assert_eq!(world.short_ends(), ["04 22:00 cancelled changed"]);
    world.pass(2 * HOUR);
    assert_eq!(world.short_ends(), ["04 23:00 missed unproved"]);
}

#[test]
fn a_round_that_is_gone_is_forgotten_and_its_alarm_ends() {
    let mut world = World::new(vec![night()], monday(21, 55));
    world.pass(HOUR);
    world.specs.clear();
    world.conditions.clear();
    world.restart(MINUTE);
    assert!(world.kept.is_empty());
    assert_eq!(world.conditions[0].1, Some(false));
    assert_eq!(world.rounds.poll_timeout(), None);
}

#[test]
fn the_largest_round_fits_into_one_value() {
    let long = |ix: usize| name(&format!("{ix:0>64}"));
    let proof = |ix: usize| Proof::Card { reader: name(&format!("r{ix}")), classes: None };
    let stops = (0..32).map(|ix| Stop { id: long(ix), proof: proof(ix) }).collect();
    let mut world = World::new(vec![RoundSpec { id: long(99), stops, ..night() }], monday(21, 55));
    world.now.boot = BootId(u128::MAX);
    world.now.mono = Mono(u64::MAX / 2);
    for ix in 0..31 {
        world.card(&format!("r{ix}"), &"\"".repeat(64), None);
    }
    assert!(world.kept.values().any(|value| value.len() > 8 * 1024));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let specs = vec![night(), RoundSpec { stops: Vec::new(), ..night() }];
    let faults = Rounds::new(specs, Calendar::weekdays_only(), zone()).unwrap_err();
    let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let same = "round night: another round has the id night already";
    assert_eq!(texts, [same, "round night: a round has 1 to 32 stops, this one has 0"]);
    let many = Rounds::new(vec![night(); 257], Calendar::weekdays_only(), zone()).unwrap_err();
    assert_eq!(many, [InvalidRounds::TooMany(257)]);
}

/// What can happen to a site.
#[derive(Debug, Clone)]
enum Happening {
    Pass(i64),
    SetClock(i64),
    Restart(i64),
    /// The daemon is killed after it handled so much time, before anything of that is stored.
    Kill(i64),
    Trust(bool),
    Card(bool),
    Reading(f64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        3 => (1..3 * HOUR).prop_map(Happening::Pass),
        2 => (1..20 * MINUTE).prop_map(Happening::Pass),
        1 => (61..9 * HOUR).prop_map(Happening::SetClock),
        1 => (-9 * HOUR..0).prop_map(Happening::SetClock),
        1 => (1..100 * HOUR).prop_map(Happening::Restart),
        1 => (1..2 * HOUR).prop_map(Happening::Kill),
        1 => any::<bool>().prop_map(Happening::Trust),
        4 => any::<bool>().prop_map(Happening::Card),
        2 => (0.0..3.0).prop_map(Happening::Reading),
    ];
    prop::collection::vec(one, 1..60)
}

/// What may be said of a due that ends during a happening, while the clock is to be believed.
fn allowed_reason(happening: &Happening) -> &'static [&'static str] {
    match happening {
        Happening::Pass(_) | Happening::Card(_) | Happening::Reading(_) => &["unproved"],
        Happening::SetClock(_) => &["clock"],
        // The first look after a time without a clock.
        Happening::Trust(_) => &["clock"],
        Happening::Restart(_) | Happening::Kill(_) => &["box_off", "clock"],
    }
}

fn happen(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Pass(seconds) => world.pass(*seconds),
        Happening::SetClock(seconds) => world.set_clock(*seconds),
        Happening::Restart(off) => world.restart(*off),
        Happening::Kill(seconds) => {
            world.run(*seconds);
            world.rounds.handle_card(world.now, "r1", Holder { who: "lost", class: None });
            world.restart(1);
        }
        Happening::Trust(on) => {
            world.now.trust = if *on { Trust::FreeRunning } else { Trust::Unset };
            world.step(|rounds, now| rounds.handle_timeout(now));
        }
        Happening::Card(first) => world.card(if *first { "r1" } else { "r2" }, "h-1", None),
        Happening::Reading(value) => world.reading(*value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_due_is_accounted_for_once_whatever_happens(happenings in happenings()) {
        let pump = Stop { id: name("pump"), proof: Proof::Reading { point: PUMP, min: 1.0, max: 3.0 } };
        let stops = vec![stop("gate", "r1"), stop("roof", "r2"), pump];
        let spec = RoundSpec { stops, ..night() };
        let mut world = World::new(vec![spec.clone()], monday(21, 0));
        let start = world.now.wall;
        let calendar = Calendar::weekdays_only();
        let (mut accounted, mut furthest): (Vec<Wall>, Wall) = (Vec::new(), start);
        let mut seen = BTreeSet::new();
        for happening in &happenings {
            happen(&mut world, happening);
            if world.now.trust != Trust::Unset {
                furthest = furthest.max(world.now.wall);
            }
            match happening {
                Happening::Card(true) => drop(seen.insert(("gate", world.now.wall.0))),
                Happening::Card(false) => drop(seen.insert(("roof", world.now.wall.0))),
                Happening::Reading(_) => drop(seen.insert(("pump", world.now.wall.0))),
                Happening::Pass(_) | Happening::SetClock(_) | Happening::Restart(_) => {}
                Happening::Kill(_) | Happening::Trust(_) => {}
            }
            for end in world.ends() {
                let due = Wall(end["due_us"].as_i64().unwrap());
                let proved = end["stops"].as_array().unwrap().iter().filter(|stop| !stop["at_us"].is_null());
                for stop in proved.clone() {
                    let key = (stop["stop"].as_str().unwrap(), stop["at_us"].as_i64().unwrap());
                    prop_assert!(seen.iter().any(|was| *was == key), "nobody was at {:?}", stop);
                }
                prop_assert_eq!(end["outcome"] == "done", proved.count() == 3);
                if let Some(reason) = end["reason"].as_str() {
                    prop_assert!(allowed_reason(happening).contains(&reason), "{} during {:?}", reason, happening);
                }
                let last = end["run"]["last_due_us"].as_i64().map_or(due, Wall);
                let run: Vec<_> = spec.due.dues(Wall(due.0 - 1), last, &calendar, &zone()).collect();
                prop_assert_eq!(end["run"]["count"].as_u64().unwrap_or(1), run.len() as u64);
                accounted.extend(run);
            }
        }
        let last = accounted.last().copied().unwrap_or(start);
        let owed: Vec<_> = spec.due.dues(start, last, &calendar, &zone()).collect();
        prop_assert_eq!(accounted, owed, "each once, in order");
        let next = spec.due.dues(last, Wall(i64::MAX), &calendar, &zone()).next().unwrap();
        prop_assert!(furthest < spec.closes(next), "{:?} is over and not accounted for", next);
    }
}
