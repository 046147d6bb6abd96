use serde_json::json;

use super::*;

#[test]
fn a_command_is_told_step_by_step_with_who_why_and_by_which_rules() {
    let mut world = World::new();
    world.commands.handle_rule_version("9f2c");
    let text = r#"{"v":1,"id":"w-1","target":"device:board-1","point":"relay1","value":"on","issuer":"desk-3",
        "reason_code":"night_light","issued_at":"2026-11-23T10:00:00Z","expires_at":"2026-11-23T10:00:10Z"}"#;
    let request = Request::parse(text.as_bytes()).unwrap();
    assert_eq!(world.commands.handle_request(world.now, GUARD, false, request.clone()), Reception::Pending);
    let dispatch = Dispatch { request, source: GUARD, expires: Mono::from_millis(10_000), urgent: false };
    assert_eq!(world.commit(), [dispatch]);
    assert_eq!(world.commands.state("w-1"), Some(State::Begun));
    world.step("w-1", Step::Sent);
    world.step("w-1", Step::Acknowledged);
    world.step("w-1", Step::Sent);
    world.step("w-1", Step::Ended(Outcome::Verified { read_back: Some("true".into()) }));

    let event = |step: &str, more: Value| {
        let mut event = json!({"id": "w-1", "step": step, "last": false, "target": "device:board-1", "action": "write",
            "point": "relay1", "value": "on", "issuer": "desk-3", "source": "socket:1000",
            "reason_code": "night_light", "rule_version": "9f2c"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("command", event)
    };
    assert_eq!(
        world.events,
        [
            event("accepted", json!({"signed": false})),
            event("sent", json!({})),
            event("acknowledged", json!({})),
            event("verified", json!({"last": true, "read_back": "true"})),
        ]
    );
    assert_eq!(world.answers(), [("w-1".to_owned(), Outcome::Verified { read_back: Some("true".into()) })]);
}

#[test]
fn a_command_that_comes_again_gets_its_outcome_and_does_not_act() {
    let mut world = World::new();
    let open = world.message("a", "gate:g", "open", 10);
    assert_eq!(world.receive(Source::Core, &open), (Reception::Pending, vec!["a".to_owned()]));
    assert_eq!(world.receive(Source::Core, &open), (Reception::Pending, vec![]));
    world.step("a", verified());
    let outcome = Outcome::Verified { read_back: None };
    assert_eq!(world.receive(Source::Core, &open), (Reception::Ended(outcome.clone()), vec![]));
    world.restart();
    assert_eq!(world.receive(GUARD, &open), (Reception::Ended(outcome), vec![]));
    let (_, told_again) = world.events.last().unwrap();
    assert_eq!(
        *told_again,
        json!({"id": "a", "step": "verified", "last": true, "repeat": true, "source": "socket:1000"})
    );
    assert_eq!(world.steps("a"), ["accepted", "verified", "verified", "verified"]);

    let close = world.message("a", "gate:g", "close", 10);
    assert_eq!(world.refused(GUARD, &close), "id_reused");
    assert_eq!(world.commands.state("a"), Some(State::Ended(&Outcome::Verified { read_back: None })));
    assert_eq!((world.commands.counts().repeated, world.commands.counts().refused), (1, 1), "since the restart");
}

#[test]
fn what_comes_late_or_from_nobody_knows_when_is_refused_for_good() {
    let mut world = World::new();
    let open = world.message("late", "gate:g", "open", 10);
    world.sleep(10);
    assert_eq!(world.refused(Source::Core, &open), "expired");
    world.now.wall.0 -= 5 * SECOND;
    assert_eq!(world.refused(Source::Core, &open), "expired", "what was refused once stays refused");

    let open = world.message("kept", "gate:g", "open", 10);
    let reception = world.commands.handle_request(world.now, Source::Core, true, open.clone());
    assert_eq!(reception, Reception::Ended(Refusal::Retained.into()));
    world.commit();
    world.restart();
    assert_eq!(world.refused(Source::Core, &open), "retained");

    let week = world.message("week", "gate:g", "open", 3601);
    assert_eq!(world.refused(Source::Core, &week), "too_long");
    assert_eq!(world.commands.state("week"), None, "refused however often it comes");
    let reset = world.message("reset", "gate:g", "reset_fire", 10);
    assert_eq!(world.refused(Source::Core, &reset), "local_only");
    let trip = world.message("trip", "device:m", "trip", 10);
    assert_eq!(world.refused(Source::Core, &trip), "signature_required");
    assert_eq!(world.receive(GUARD, &reset).1, ["reset"]);
    assert_eq!(world.events.iter().filter(|(_, event)| event["last"] == false).count(), 1);
}

#[test]
fn a_box_without_the_time_takes_commands_at_the_site_and_stop_from_afar() {
    let mut world = World::new();
    let open = world.message("core", "gate:g", "open", 10);
    let late_stop = world.message("stop", "gate:g", "stop", 10);
    (world.now.wall, world.now.trust) = (Wall(0), Trust::Unset);
    assert_eq!(world.refused(Source::Core, &open), "clock_unset");
    let local = world.message("guard", "gate:g", "open", 10);
    assert_eq!(world.receive(GUARD, &local).1, ["guard"]);
    let next = world.message("next", "gate:g", "close", 10);
    assert_eq!(world.receive(GUARD, &next).1, [""; 0]);

    // The clock is set: fifty years later, which says nothing about what came before.
    (world.now.wall, world.now.trust) = (Wall(BEGIN + 5 * SECOND), Trust::Synchronised);
    assert_eq!(world.step("guard", verified()), ["next"]);
    assert_eq!(world.refused(Source::Core, &open), "clock_unset", "what was refused once stays refused");

    (world.now.wall, world.now.trust) = (Wall(5), Trust::Unset);
    assert_eq!(world.receive(Source::Core, &late_stop).1, ["stop"]);
}

#[test]
fn a_command_from_the_future_shows_that_a_clock_is_wrong() {
    let mut world = World::new();
    world.now.wall.0 += 31 * SECOND;
    let open = world.message("a", "gate:g", "open", 40);
    world.now.wall.0 -= 31 * SECOND;
    assert_eq!(world.refused(Source::Core, &open), "early");
    world.now.wall.0 += SECOND;
    let open = Request { id: CommandId::new("b").unwrap(), ..open };
    assert_eq!(world.receive(Source::Core, &open).1, ["b"], "30 s are let by");
    let due = world.commands.poll_timeout().unwrap();
    assert_eq!(due, Mono::from_millis(60_000), "the window of recorded refusals");
    world.pass(60);
    let lasts = world.settings.patience + Duration::from_secs(40);
    assert_eq!(world.commands.poll_timeout(), Some(Mono(0) + lasts), "it was not issued after it came");
}

#[test]
fn commands_of_one_target_begin_one_after_another_and_not_late() {
    let mut world = World::new();
    for (id, seconds) in [("a", 10), ("b", 20), ("c", 40), ("d", 60)] {
        let open = world.message(id, "gate:g", "open", seconds);
        assert_eq!(world.receive(Source::Core, &open).1.len(), usize::from(id == "a"));
    }
    let other = world.message("x", "gate:h", "open", 10);
    assert_eq!(world.receive(Source::Core, &other).1, ["x"]);
    assert!(!world.commands.handle_step(world.now, &CommandId::new("b").unwrap(), Step::Sent), "it has not begun");
    assert_eq!(world.commands.counts().stray_steps, 1);

    assert!(world.pass(20).is_empty());
    assert_eq!(world.steps("b"), ["accepted", "expired"]);
    assert_eq!(world.step("a", verified()), ["c"], "b has expired");
    world.now.wall.0 += 60 * SECOND;
    assert_eq!(world.step("c", verified()), [""; 0]);
    assert_eq!(world.steps("d"), ["accepted", "expired"], "the clock was mended: it is late");
    let order: Vec<_> = world.answers().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, ["b", "a", "c", "d"]);
}

#[test]
fn too_many_for_one_target_or_for_the_box_are_refused() {
    let mut settings = Settings::new(Name::new("riverside-7").unwrap());
    (settings.waiting, settings.room) = (2, 6);
    let mut world = World::with(settings);
    for id in ["a", "b", "c"] {
        let open = world.message(id, "gate:g", "open", 10);
        assert_eq!(world.receive(Source::Core, &open).0, Reception::Pending);
    }
    let full = world.message("d", "gate:g", "open", 10);
    assert_eq!(world.refused(Source::Core, &full), "queue_full");
    world.step("a", verified());
    assert_eq!(world.refused(Source::Core, &full), "queue_full", "what was refused once stays refused");

    for id in ["e", "f"] {
        let read = world.message(id, &format!("device:{id}"), "read", 10);
        assert_eq!(world.receive(Source::Core, &read).0, Reception::Pending);
    }
    let busy = world.message("h", "device:h", "read", 10);
    assert_eq!(world.refused(Source::Core, &busy), "busy");
    let stop = world.message("stop", "gate:g", "stop", 10);
    assert_eq!(world.receive(Source::Core, &stop).1, ["stop"], "there is always room for STOP");
    assert_eq!(world.commands.held(), 7);
}

#[test]
fn stop_waits_for_nobody_and_ends_what_waits() {
    let mut world = World::new();
    for id in ["a", "b"] {
        let open = world.message(id, "gate:g", "open", 10);
        world.receive(Source::Core, &open);
    }
    let stop = world.message("s", "gate:g", "stop", 10);
    world.commands.handle_request(world.now, GUARD, false, stop);
    assert!(world.commit().iter().all(|dispatch| dispatch.urgent));
    assert_eq!(world.steps("b"), ["accepted", "refused superseded"]);
    let close = world.message("c", "gate:g", "close", 10);
    assert_eq!(world.receive(GUARD, &close).1, [""; 0]);
    assert_eq!(world.step("s", verified()), [""; 0], "a is still at work");
    assert_eq!(world.step("a", Step::Ended(Outcome::Failed { reason: "stopped".into(), detail: None })), ["c"]);
    let device = world.message("d", "device:d", "stop", 10);
    assert!(!device.is_urgent());
}

#[test]
fn a_restart_ends_what_was_at_work_and_does_nothing_again() {
    let mut world = World::new();
    for id in ["a", "b"] {
        let open = world.message(id, "gate:g", "open", 60);
        world.receive(Source::Core, &open);
    }
    let sent = world.message("s", "device:s", "read", 60);
    world.receive(GUARD, &sent);
    world.step("s", Step::Sent);
    world.restart();
    assert_eq!(world.commands.poll_timeout(), Some(Mono(0)));
    assert_eq!(world.pass(1), []);
    assert_eq!(world.steps("a"), ["accepted", "unknown restarted"]);
    assert_eq!(world.steps("b"), ["accepted", "failed restarted"]);
    assert_eq!(world.steps("s"), ["accepted", "sent", "unknown restarted"]);
    world.answers();
    let (before, next) = (world.events.len(), world.message("n", "gate:g", "open", 60));
    world.restart();
    assert_eq!(world.pass(1), []);
    assert_eq!(world.events.len(), before, "an end is told once");
    assert_eq!(world.receive(Source::Core, &next).1, ["n"], "the gate is free");
}

#[test]
fn a_command_that_nobody_tells_of_ends_as_unknown() {
    let mut world = World::new();
    for id in ["a", "b"] {
        let open = world.message(id, "gate:g", "open", 3600);
        world.receive(Source::Core, &open);
    }
    assert_eq!(world.pass(3600 + 119), []);
    assert_eq!(world.steps("b"), ["accepted", "expired"]);
    assert_eq!(world.pass(1), []);
    assert_eq!(world.steps("a"), ["accepted", "unknown no_report"]);
    assert!(!world.commands.handle_step(world.now, &CommandId::new("a").unwrap(), verified()));
    assert_eq!(world.steps("a").len(), 2);
}

#[test]
fn ids_are_forgotten_in_time_and_never_taken_again_when_the_clock_goes_back() {
    let mut world = World::new();
    let open = world.message("a", "gate:g", "open", 10);
    world.receive(Source::Core, &open);
    world.step("a", verified());
    let hold = 10 + 120 + 600;
    world.pass(hold - 1);
    assert_eq!(world.commands.held(), 1);
    world.pass(1);
    assert_eq!(world.commands.held(), 0);
    assert_eq!(world.kept.keys().map(|key| &**key).collect::<Vec<_>>(), ["command-horizon"]);

    world.restart();
    let hold = i64::try_from(hold).unwrap();
    world.now.wall.0 -= hold * SECOND;
    assert_eq!(world.refused(Source::Core, &open), "forgotten");
    let next = world.message("b", "gate:g", "open", 11);
    assert_eq!(world.receive(Source::Core, &next).1, ["b"]);
}

#[test]
fn a_person_at_the_site_can_vouch_for_a_clock_that_was_far_ahead() {
    let mut world = World::new();
    let year = 365 * 86_400 * SECOND;
    world.now.wall.0 += year;
    let ahead = world.message("a", "gate:g", "open", 10);
    world.receive(Source::Core, &ahead);
    world.step("a", verified());
    world.pass(3600);
    world.now.wall.0 -= year;
    let open = world.message("b", "gate:g", "open", 10);
    assert_eq!(world.refused(Source::Core, &open), "forgotten");
    world.commands.handle_clock_vouched(world.now, "Li", GUARD);
    world.commit();
    assert_eq!(world.events.last().unwrap(), &("command_horizon", json!({"issuer": "Li", "source": "socket:1000"})));
    world.restart();
    let open = world.message("c", "gate:g", "open", 10);
    assert_eq!(world.receive(Source::Core, &open).1, ["c"]);
}

#[test]
fn a_kept_command_that_is_damaged_keeps_its_id() {
    let mut world = World::new();
    let open = world.message("a", "gate:g", "open", 10);
    assert!(world.commands.restore("command/a", b"{}").is_err());
    assert!(world.commands.restore("command-horizon", b"").is_err());
    assert!(world.commands.restore("mode", b"{}").is_ok());
    let outcome = Outcome::Unknown { reason: "damaged".into(), detail: None };
    assert_eq!(world.receive(Source::Core, &open), (Reception::Ended(outcome), vec![]));
}

#[test]
fn a_flood_of_refusals_is_counted_and_leaves_room() {
    let mut settings = Settings::new(Name::new("riverside-7").unwrap());
    settings.room = 100;
    let mut world = World::with(settings);
    for i in 0..500 {
        let old = world.message(&format!("old-{i}"), "gate:g", "open", 10);
        world.now.wall.0 += 20 * SECOND;
        assert_eq!(world.refused(Source::Core, &old), "expired");
        world.now.wall.0 -= 20 * SECOND;
    }
    let noise = Request::parse(br#"{"v":1,"id":"n"}"#).unwrap_err();
    assert_eq!(world.commands.handle_malformed(world.now, GUARD, &noise).reason(), Some("malformed"));
    world.commit();
    assert_eq!(world.events.len(), 61, "60 of the core, and the one of the socket");
    let last = json!({"id": "n", "step": "refused", "last": true, "source": "socket:1000", "reason": "malformed",
        "detail": noise.to_string()});
    assert_eq!(world.events.last().unwrap().1, last);
    assert_eq!(world.commands.held(), 50, "half of the room");
    assert_eq!(world.commands.poll_timeout(), Some(Mono::from_millis(60_000)));
    world.pass(60);
    assert_eq!(world.events.last().unwrap(), &("command_refusals", json!({"source": "core", "count": 440})));
    assert_eq!(world.commands.counts().refused, 501);
    let open = world.message("new", "gate:g", "open", 10);
    assert_eq!(world.receive(Source::Core, &open).1, ["new"]);
}
