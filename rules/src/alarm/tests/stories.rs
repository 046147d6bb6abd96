//! Stories of one site.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn rule() -> World {
    let mut spec = AlarmSpec::new("hot", Priority::P2);
    spec.on_delay = secs(600);
    spec.off_delay = secs(30);
    spec.instruction = "Open the door.".to_owned();
    World::new(vec![spec], vec![source("hot/room", &[])])
}

fn plain(priority: Priority) -> World {
    let mut spec = AlarmSpec::new("leak", priority);
    spec.life_safety = priority == Priority::P0;
    World::new(vec![spec], vec![source("leak/cellar", &[])])
}

/// A bus with 32 meters, behind the mains.
fn bus() -> World {
    let meters = (0..32).map(|i| source(&format!("device_offline/m{i}"), &["bus_offline/b1", "mains_lost/site"]));
    let mut sources = vec![source("mains_lost/site", &[]), source("bus_offline/b1", &["mains_lost/site"])];
    sources.extend(meters);
    World::new(builtin::specs(), sources)
}

#[test]
fn an_alarm_comes_after_its_delay_and_tells_what_and_what_to_do() {
    let mut world = rule();
    world.truth("hot/room", Truth::True);
    world.pass(secs(599));
    assert_eq!(world.state("hot/room"), AlarmState::Normal);
    assert!(world.view("hot/room").pending);
    world.pass(secs(1));
    assert_eq!(world.state("hot/room"), AlarmState::Unacknowledged);
    let told = world.told("alarm");
    assert_eq!(
        told,
        [serde_json::json!({
            "alarm": "hot/room", "change": "condition_on", "occurrence": 1, "from": "normal", "to": "unacknowledged",
            "active": true, "priority": "p2", "message": "hot/room is up", "instruction": "Open the door."
        })]
    );
    assert_eq!(world.acknowledge("hot/room"), AckResult::Done);
    assert_eq!(world.acknowledge("hot/room"), AckResult::AlreadyDone);
    let told = world.told("alarm");
    assert_eq!(told.len(), 2, "a repeat is recorded");
    assert_eq!((&told[1]["from"], &told[1]["to"]), (&"acknowledged".into(), &"acknowledged".into()));
    assert_eq!((&told[0]["who"], &told[0]["comment"]), (&"li".into(), &"seen".into()));
    world.truth("hot/room", Truth::False);
    world.pass(secs(30));
    assert_eq!(world.state("hot/room"), AlarmState::Normal);
    assert_eq!(world.journal.keys().collect::<Vec<_>>(), ["alarm-occurrence"], "nothing is left to remember");
}

#[test]
fn an_old_acknowledgement_does_not_reach_the_new_occurrence() {
    let mut world = plain(Priority::P1);
    world.truth("leak/cellar", Truth::True);
    world.truth("leak/cellar", Truth::False);
    world.truth("leak/cellar", Truth::True);
    let ack =
        |world: &mut World, n| world.alarms.handle_acknowledge(world.now, &id("leak/cellar"), Occurrence(n), by("li"));
    assert_eq!(ack(&mut world, 1), AckResult::OldOccurrence(Occurrence(2)));
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged);
    world.drain();
    assert_eq!(world.told("alarm").last().unwrap()["meant"], 1);
    assert_eq!(ack(&mut world, 2), AckResult::Done);
    let nobody = world.alarms.handle_acknowledge(world.now, &id("leak/attic"), Occurrence(1), by("li"));
    assert_eq!(nobody, AckResult::NoSuchAlarm);
}

#[test]
fn a_restart_neither_raises_nor_forgets() {
    let mut world = rule();
    world.truth("hot/room", Truth::True);
    world.pass(secs(500));
    world.restart(Some(secs(3600)));
    assert!(world.view("hot/room").pending);
    world.pass(secs(3600));
    assert!(world.view("hot/room").pending, "without data the clock stands");
    world.truth("hot/room", Truth::True);
    world.pass(secs(149));
    assert_eq!(world.state("hot/room"), AlarmState::Normal);
    world.pass(secs(1));
    assert_eq!(world.state("hot/room"), AlarmState::Unacknowledged, "450 s had been kept");
    world.acknowledge("hot/room");
    world.raised();
    for truth in [Truth::Missing, Truth::True, Truth::True] {
        world.restart(None);
        world.truth("hot/room", truth);
        world.pass(secs(100));
        assert_eq!(world.state("hot/room"), AlarmState::Acknowledged);
    }
    assert_eq!(world.view("hot/room").acknowledged.unwrap().who, "li");
    world.restart(None);
    world.truth("hot/room", Truth::False);
    world.pass(secs(30));
    assert_eq!(world.state("hot/room"), AlarmState::Normal);
    assert!(world.raised().is_empty());
    world.truth("hot/room", Truth::True);
    world.pass(secs(600));
    assert!(world.view("hot/room").occurrence.unwrap() > Occurrence(1), "no number is given twice");
}

#[test]
fn shelving_ends_by_itself_also_across_a_restart() {
    let mut world = plain(Priority::P2);
    let shelve = |world: &mut World, span| {
        let result = world.alarms.handle_shelve(world.now, &id("leak/cellar"), span, by("li"));
        world.drain();
        result
    };
    assert_eq!(shelve(&mut world, secs(9 * 3600)), ShelveResult::TooLong(secs(8 * 3600)));
    let end = world.now.mono + secs(3600);
    assert_eq!(shelve(&mut world, secs(3600)), ShelveResult::Done(end));
    assert_eq!(shelve(&mut world, secs(7200)), ShelveResult::AlreadyDone(end), "a repeat moves no end");
    assert_eq!(world.told("alarm")[0]["until"], "2023-11-14T23:13:20Z");
    world.truth("leak/cellar", Truth::True);
    assert_eq!(world.state("leak/cellar"), AlarmState::Shelved);
    world.restart(Some(secs(1800)));
    world.pass(secs(1799));
    assert_eq!(world.state("leak/cellar"), AlarmState::Shelved);
    world.pass(secs(1));
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged);
    assert_eq!(world.told("alarm").last().unwrap()["change"], "shelf_ended");
}

#[test]
fn shelving_across_a_boot_without_a_clock_ends_as_soon_as_the_clock_says_so() {
    let mut world = plain(Priority::P2);
    world.alarms.handle_shelve(world.now, &id("leak/cellar"), secs(3600), by("li"));
    world.drain();
    world.now.trust = Trust::Unset;
    world.restart(Some(secs(7200)));
    world.truth("leak/cellar", Truth::True);
    world.pass(secs(60));
    assert_eq!(world.state("leak/cellar"), AlarmState::Shelved);
    world.now.trust = Trust::Synchronised;
    world.alarms.handle_timeout(world.now);
    world.pass(Duration::ZERO);
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged);
}

#[test]
fn out_of_service_lasts_until_it_is_given_back() {
    let mut world = plain(Priority::P2);
    let serve = |world: &mut World, out| {
        let result = world.alarms.handle_out_of_service(world.now, &id("leak/cellar"), out, by("li"));
        world.drain();
        result
    };
    assert_eq!(serve(&mut world, true), RequestResult::Done);
    assert_eq!(serve(&mut world, true), RequestResult::AlreadyDone);
    world.truth("leak/cellar", Truth::True);
    world.restart(None);
    assert_eq!(world.state("leak/cellar"), AlarmState::OutOfService);
    assert_eq!(serve(&mut world, false), RequestResult::Done);
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged);
}

#[test]
fn a_latched_alarm_wants_an_acknowledgement_and_then_a_reset() {
    let mut world = World::new(builtin::specs(), vec![source("tamper/cabinet", &[])]);
    let reset = |world: &mut World| {
        let result = world.alarms.handle_reset(world.now, &id("tamper/cabinet"), by("li"));
        world.drain();
        result
    };
    world.found("tamper/cabinet", true);
    assert_eq!(reset(&mut world), ResetResult::StillActive);
    world.found("tamper/cabinet", false);
    assert_eq!(reset(&mut world), ResetResult::AcknowledgeFirst);
    world.restart(None);
    assert_eq!(world.state("tamper/cabinet"), AlarmState::LatchedUnacknowledged);
    world.acknowledge("tamper/cabinet");
    assert_eq!(reset(&mut world), ResetResult::Done);
    assert_eq!(reset(&mut world), ResetResult::AlreadyDone);
    assert_eq!(world.state("tamper/cabinet"), AlarmState::Normal);
}

#[test]
fn an_alarm_that_stands_acknowledged_for_too_long_comes_again() {
    let mut spec = AlarmSpec::new("leak", Priority::P1);
    spec.re_alarm = Some(secs(3600));
    let mut world = World::new(vec![spec], vec![source("leak/cellar", &[])]);
    world.truth("leak/cellar", Truth::True);
    world.acknowledge("leak/cellar");
    world.pass(secs(1800));
    world.restart(Some(secs(600)));
    world.pass(secs(1199));
    assert_eq!(world.state("leak/cellar"), AlarmState::Acknowledged);
    world.pass(secs(1));
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged);
    let raised: Vec<_> = world.raised().iter().map(|change| change.occurrence.0).collect();
    assert!(raised.len() == 2 && raised[0] != raised[1], "{raised:?}");
}

#[test]
fn a_dead_bus_takes_back_the_meters_that_came_before_it() {
    let mut world = bus();
    for i in 0..3 {
        world.found(&format!("device_offline/m{i}"), true);
    }
    assert_eq!(world.raised().len(), 3);
    world.found("bus_offline/b1", true);
    let folded: Vec<_> = std::mem::take(&mut world.changes);
    assert_eq!(folded.len(), 4);
    assert!(folded[1..].iter().all(|change| {
        change.from == AlarmState::Unacknowledged
            && change.to == AlarmState::Suppressed
            && change.active
            && change.cause == Some(id("bus_offline/b1"))
    }));
    for i in 3..32 {
        world.found(&format!("device_offline/m{i}"), true);
    }
    assert!(world.raised().is_empty(), "the bus explains them");
    assert_eq!(world.alarms.counts(&world.now).by_priority[Priority::P2 as usize].suppressed, 32);
    assert_eq!(world.view("device_offline/m7").suppressed_by, Some(id("bus_offline/b1")));
    world.restart(None);
    assert_eq!(world.state("device_offline/m7"), AlarmState::Suppressed);
    assert!(world.raised().is_empty());
}

#[test]
fn the_staggered_return_after_a_mains_failure_raises_nothing_but_what_stays_away() {
    let mut world = bus();
    world.found("mains_lost/site", true);
    world.pass(secs(1));
    world.found("bus_offline/b1", true);
    for i in 0..32 {
        world.found(&format!("device_offline/m{i}"), true);
    }
    let raised: Vec<_> = world.raised().iter().map(|change| change.id.to_string()).collect();
    assert_eq!(raised, ["mains_lost/site"]);
    assert_eq!(world.view("device_offline/m0").suppressed_by, Some(id("mains_lost/site")), "the root of it");
    world.found("mains_lost/site", false);
    world.pass(secs(20));
    world.restart(Some(secs(20)));
    world.found("bus_offline/b1", false);
    for i in 0..31 {
        world.found(&format!("device_offline/m{i}"), false);
        world.pass(secs(5));
    }
    assert!(world.raised().is_empty());
    world.pass(secs(600));
    let raised = world.raised();
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert_eq!((&raised[0].id, &raised[0].cause), (&id("device_offline/m31"), &None));
    assert_eq!(world.state("device_offline/m0"), AlarmState::Normal);
}

#[test]
fn a_parent_does_not_take_away_what_is_owed_to_a_person() {
    let mut specs = builtin::specs();
    specs.push(AlarmSpec::new("phase_lost", Priority::P1));
    let mut world =
        World::new(specs, vec![source("mains_lost/site", &[]), source("phase_lost/m1", &["mains_lost/site"])]);
    world.truth("phase_lost/m1", Truth::True);
    world.truth("phase_lost/m1", Truth::False);
    world.found("mains_lost/site", true);
    assert_eq!(world.state("phase_lost/m1"), AlarmState::ReturnedUnacknowledged);
    world.acknowledge("phase_lost/m1");
    assert_eq!(world.state("phase_lost/m1"), AlarmState::Suppressed, "at rest, and its parent stands");
}

#[test]
fn life_safety_is_neither_suppressed_nor_collapsed() {
    let mut world =
        World::new(builtin::specs(), vec![source("bus_offline/b1", &[]), source("fire/hall", &["bus_offline/b1"])]);
    world.found("bus_offline/b1", true);
    for _ in 0..10 {
        world.found("fire/hall", true);
        assert_eq!(world.state("fire/hall"), AlarmState::Unacknowledged);
        world.found("fire/hall", false);
    }
    let fires = world.told("alarm").iter().filter(|event| event["alarm"] == "fire/hall").count();
    assert_eq!(fires, 20);
}

#[test]
fn a_chattering_alarm_is_told_once_a_minute_with_a_count_and_nothing_is_lost() {
    let mut world = plain(Priority::P2);
    for _ in 0..100 {
        world.truth("leak/cellar", Truth::True);
        world.pass(secs(1));
        world.truth("leak/cellar", Truth::False);
        world.pass(secs(1));
        assert_eq!(world.state("leak/cellar"), AlarmState::ReturnedUnacknowledged);
    }
    assert_eq!(world.raised().len(), 100, "each occurrence is handed on");
    world.restart(None);
    world.pass(MINUTE * 2);
    let events = std::mem::take(&mut world.events);
    let chattering: Vec<_> = events.iter().filter(|(kind, _)| *kind == "chattering").map(|(_, e)| &e["on"]).collect();
    assert_eq!(chattering, [true, false]);
    let told: Vec<_> = events.iter().filter(|(kind, _)| *kind == "alarm").map(|(_, json)| json).collect();
    let collapsed: u64 = told.iter().filter_map(|event| event["collapsed"].as_u64()).sum();
    assert_eq!(told.len(), 5 + 3 + 1, "five by themselves, one each minute, one at the end");
    assert_eq!(5 + collapsed, 200);
    assert!(told.windows(2).all(|pair| pair[0]["to"] == pair[1]["from"]), "no state is skipped between two events");
    assert!(!world.view("leak/cellar").chattering);
}

#[test]
fn a_flood_is_told_once_with_its_groups_and_the_highest_priority_apart() {
    let mut specs = builtin::specs();
    specs.push(AlarmSpec::new("leak", Priority::P1));
    let mut sources: Vec<_> = (0..30).map(|i| source(&format!("leak/{i}"), &[])).collect();
    sources.push(source("fire/hall", &[]));
    let mut world = World::new(specs, sources);
    for i in 0..12 {
        world.truth(&format!("leak/{i}"), Truth::True);
    }
    world.pass(secs(120));
    let told = world.told("flood");
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["on"], &told[0]["groups"]["classes"]["leak"]), (&true.into(), &12.into()));
    assert!(world.alarms.counts(&world.now).flood);
    world.truth("leak/20", Truth::True);
    world.found("fire/hall", true);
    let told = world.told("alarm");
    assert_eq!((&told[0]["flood"], &told[1]["flood"]), (&true.into(), &Value::Null));
    world.restart(None);
    world.pass(secs(3600));
    let told = world.told("flood");
    assert_eq!(told.len(), 1, "it ends once, also after a restart");
    assert_eq!(told[0]["on"], false);
    assert!(!world.journal.contains_key("alarm-flood"));
}

#[test]
fn missing_data_raises_an_alarm_of_its_own_and_never_clears_one() {
    let mut spec = AlarmSpec::new("leak", Priority::P1);
    spec.no_data = Some(secs(300));
    let mut leak = source("leak/cellar", &[]);
    leak.data_parents = vec![id("device_offline/probe")];
    let mut specs = builtin::specs();
    specs.push(spec);
    let mut world = World::new(specs, vec![leak, source("device_offline/probe", &[])]);
    world.pass(secs(10));
    world.truth("leak/cellar", Truth::True);
    world.truth("leak/cellar", Truth::Missing);
    world.pass(secs(299));
    assert_eq!(world.state("no_data/leak/cellar"), AlarmState::Normal);
    world.pass(secs(1));
    assert_eq!(world.state("no_data/leak/cellar"), AlarmState::Unacknowledged);
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged);
    world.found("device_offline/probe", true);
    assert_eq!(world.state("no_data/leak/cellar"), AlarmState::Suppressed, "the lost device explains it");
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged, "and hides nothing else");
    world.found("device_offline/probe", false);
    world.truth("leak/cellar", Truth::True);
    assert_eq!(world.state("no_data/leak/cellar"), AlarmState::Normal);
    assert_eq!(world.raised().iter().filter(|change| change.id == id("leak/cellar")).count(), 1);
}

#[test]
fn a_point_that_never_came_is_missing_too() {
    let mut spec = AlarmSpec::new("leak", Priority::P1);
    spec.no_data = Some(secs(300));
    let mut world = World::new(vec![spec], vec![source("leak/cellar", &[])]);
    world.pass(secs(300));
    assert_eq!(world.state("no_data/leak/cellar"), AlarmState::Unacknowledged);
}

#[test]
fn what_a_drill_raised_and_still_holds_is_raised_again_for_real() {
    let mut world = World::new(builtin::specs(), vec![source("fire/hall", &[]), source("tamper/box", &[])]);
    let drill = Drill::Classes(["fire".to_owned()].into());
    world.alarms.handle_drill(world.now, drill);
    world.found("fire/hall", true);
    world.found("tamper/box", true);
    let drills: Vec<_> = world.raised().iter().map(|change| change.drill).collect();
    assert_eq!(drills, [true, false], "what the drill does not cover is real");
    world.restart(None);
    assert!(world.view("fire/hall").drill);
    world.acknowledge("fire/hall");
    world.alarms.handle_drill(world.now, Drill::Off);
    world.drain();
    let raised = world.raised();
    assert_eq!(raised.len(), 1);
    assert!(!raised[0].drill && raised[0].id == id("fire/hall"));
    assert!(!world.journal.contains_key("alarm-drill"));
}

#[test]
fn an_alarm_that_the_configuration_drops_ends_with_an_event() {
    let mut world = plain(Priority::P2);
    world.truth("leak/cellar", Truth::True);
    let specs = vec![AlarmSpec::new("leak", Priority::P1)];
    world.alarms.reload(world.now, specs.clone(), &world.sources.clone(), &Catalog::default()).unwrap();
    world.drain();
    assert_eq!(world.state("leak/cellar"), AlarmState::Unacknowledged);
    assert_eq!(world.view("leak/cellar").priority, Priority::P1);
    world.told("alarm");
    world.alarms.reload(world.now, specs, &[], &Catalog::default()).unwrap();
    world.drain();
    let told = world.told("alarm");
    assert_eq!((&told[0]["change"], &told[0]["to"]), (&"removed".into(), &"normal".into()));
    assert_eq!(world.journal.keys().collect::<Vec<_>>(), ["alarm-occurrence"]);
    assert_eq!(world.changes.last().map(|change| change.to), Some(AlarmState::Normal));
}

#[test]
fn an_alarm_whose_rule_went_while_the_box_was_off_ends_at_the_start() {
    let mut world = plain(Priority::P2);
    world.truth("leak/cellar", Truth::True);
    world.told("alarm");
    world.sources.clear();
    world.restart(Some(MINUTE));
    assert_eq!(world.told("alarm")[0]["change"], "removed");
    assert_eq!(world.journal.keys().collect::<Vec<_>>(), ["alarm-occurrence"]);
}

#[test]
fn a_condition_that_nobody_announced_is_an_alarm_all_the_same() {
    let mut world = World::new(builtin::specs(), Vec::new());
    world.found("gate_remote_opened/17", true);
    world.restart(None);
    assert_eq!(world.state("gate_remote_opened/17"), AlarmState::Unacknowledged);
    world.found("gate_remote_opened/17", false);
    world.found("no_such_class/1", true);
    assert_eq!(world.alarms.counts(&world.now).refused, 1);
    for ticket in 0..1000 {
        world.found(&format!("gate_remote_opened/{ticket}"), true);
        world.found(&format!("gate_remote_opened/{ticket}"), false);
    }
    assert!(world.alarms.list().count() <= 257, "places of alarms at rest are given on");
}

#[test]
fn what_does_not_fit_together_is_refused_with_all_its_mistakes() {
    let mut fire = AlarmSpec::new("fire", Priority::P0);
    fire.life_safety = true;
    fire.on_delay = secs(1);
    let mut leak = AlarmSpec::new("leak", Priority::P1);
    (leak.latch, leak.auto_acknowledge) = (true, true);
    let sources = [
        source("leak/a", &["leak/b"]),
        source("leak/b", &["leak/a"]),
        source("leak/c", &[]),
        source("leak/c", &[]),
        source("gas/x", &[]),
    ];
    let errors = Alarms::new(vec![fire, leak], &sources, &Catalog::default()).unwrap_err();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "\"fire\": life safety has no on-delay: remove `for`/`on_delay`, or `life_safety`",
            "\"leak\": latch and auto_acknowledge exclude each other: a latched alarm waits for a person",
            "gas/x: there is no alarm class \"gas\"",
            "leak/c: listed twice",
            "leak/a: it is its own parent, by way of its parents",
        ]
    );
}

#[test]
fn the_counts_say_what_a_person_has_to_bear() {
    let mut world = plain(Priority::P2);
    world.truth("leak/cellar", Truth::True);
    world.pass(secs(5));
    world.truth("leak/cellar", Truth::False);
    world.truth("leak/cellar", Truth::True);
    world.pass(secs(24 * 3600 + 1));
    let counts = world.alarms.counts(&world.now);
    let of = counts.by_priority[Priority::P2 as usize];
    assert_eq!((of.active, of.unacknowledged), (1, 1));
    assert_eq!((counts.occurrences, counts.fleeting, counts.stale), (2, 1, 1));
    assert!((counts.top_ten - 1.0).abs() < 1e-9);
}

#[test]
fn a_document_that_cannot_be_read_is_said_so() {
    let mut world = plain(Priority::P2);
    let error = world.alarms.restore("alarm/leak/cellar", b"{").unwrap_err();
    assert!(error.to_string().starts_with("alarm/leak/cellar: cannot be read ("), "{error}");
    let error = world.alarms.restore("ticket/1", b"{}").unwrap_err();
    assert_eq!(error.to_string(), "ticket/1: not kept by the alarms");
}
