//! Stories of barriers, and of gates of both kinds; those of doors alone are in `doors`.

mod doors;

use std::time::Duration;

use gatehouse_core::{NoData, PointIx, Value};

use super::bench::*;
use super::*;
use crate::catalog::PointRef;
use crate::effect::ActResult;
use crate::words::DecidedBy;

const S: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn a_car_is_let_in_passes_and_the_box_closes_behind_it() {
    let mut site = Bench::awake(vec![barrier()]);
    assert_eq!(site.state("entry"), State::Closed);
    site.verdict("entry");
    assert_eq!(site.state("entry"), State::Opening);
    assert_eq!(site.work(), ["open"]);
    site.travel(Motion::Open);
    assert_eq!(site.state("entry"), State::Open);
    assert!(site.passages().is_empty(), "not before it was seen");
    site.drive_through();
    assert_eq!(site.passages(), ["granted granted true"]);
    assert_eq!(site.passed.len(), 1);
    site.run(S(3));
    assert!(site.waiting().is_empty(), "the loop has not been free for long enough");
    site.run(S(1));
    assert_eq!(site.work(), ["close"]);
    assert_eq!(site.state("entry"), State::Closing);
    site.travel(Motion::Close);
    assert_eq!(site.state("entry"), State::Closed);
    assert!(site.alarms().is_empty(), "{:?}", site.alarms());
    assert!(site.kept().is_empty());
}

#[test]
fn after_a_start_nothing_is_sent_until_the_gate_was_seen_and_then_a_door_is_locked() {
    let mut site = Bench::new(vec![barrier(), door()]);
    site.step(S(60));
    assert!(site.waiting().is_empty());
    assert_eq!((site.state("entry"), site.state("lobby")), (State::Unknown, State::Unknown));
    site.verdict("entry");
    assert_eq!(site.passages(), ["state_unknown refused null"]);
    assert_eq!(site.passed.len(), 1, "who was granted and not let in is told on");
    site.poll();
    assert_eq!((site.state("entry"), site.state("lobby")), (State::Closed, State::Closed));
    assert_eq!(site.work(), ["20=true"], "nobody knows what its magnet did meanwhile");
    site.run(S(5));
    assert!(site.waiting().is_empty() && site.kept().is_empty());
}

#[test]
fn the_guard_opens_an_unknown_gate_in_one_action_and_that_is_recorded() {
    let mut site = Bench::new(vec![barrier()]);
    site.command("entry", GateAction::Open, false);
    assert_eq!(site.last_steps(), [Step::Refused("state_unknown")]);
    assert!(site.kept().is_empty());
    site.command("entry", GateAction::Open, true);
    assert_eq!(site.waiting(), ["open"]);
    let (_, audit) = site.events.iter().rfind(|(kind, _)| *kind == "gate").unwrap();
    assert_eq!((audit["override"].as_bool(), audit["who"].as_str()), (Some(true), Some("guard-1")));
    assert!(site.journal.keys().any(|key| key.starts_with("passage/")), "{:?}", site.journal);
}

#[test]
fn a_command_is_accepted_sent_acknowledged_and_confirmed_by_the_limit() {
    let mut site = Bench::awake(vec![barrier()]);
    site.command("entry", GateAction::Open, false);
    assert_eq!(site.last_steps(), [Step::Accepted, Step::Sent]);
    site.work();
    site.travel(Motion::Open);
    assert_eq!(site.last_steps(), [Step::Accepted, Step::Sent, Step::Acknowledged, Step::Confirmed]);
    site.command("entry", GateAction::Open, false);
    assert_eq!(site.last_steps(), [Step::Accepted, Step::Confirmed], "there is nothing to do");
    assert!(site.waiting().is_empty());
}

#[test]
fn a_pulse_in_doubt_is_not_sent_again_and_becomes_a_fault_that_a_person_decides() {
    let mut site = Bench::awake(vec![barrier()]);
    site.verdict("entry");
    assert_eq!(site.end(&LOST), ["open"]);
    site.run(S(11));
    assert_eq!(site.state("entry"), State::Opening);
    site.run(S(2));
    assert_eq!(site.state("entry"), State::Faulted);
    assert_eq!(site.alarms(), ["gate_fault true"]);
    site.run(S(60));
    assert!(site.waiting().is_empty());
    assert_eq!(site.passages(), ["granted granted false"]);
    site.restart(S(5));
    site.run(S(5));
    assert_eq!((site.state("entry"), site.waiting().len()), (State::Faulted, 0), "a restart does not forget it");
    site.command("entry", GateAction::Open, false);
    assert_eq!(site.work(), ["open"]);
    site.travel(Motion::Open);
    assert_eq!(site.state("entry"), State::Open);
}

#[test]
fn a_device_that_does_not_act_is_a_fault_and_nobody_was_let_in() {
    let mut site = Bench::awake(vec![barrier()]);
    site.verdict("entry");
    site.end(&ActResult::Failed(NoData::DeviceOffline));
    assert_eq!(site.passages(), ["granted granted false"]);
    assert_eq!(site.events.last().unwrap().1["facts"]["act"], "device_offline");
    assert_eq!(site.alarms(), ["gate_fault true"]);
    assert_eq!(site.state("entry"), State::Closed);
}

#[test]
fn something_under_a_closing_boom_stops_it_and_raises_it_again() {
    let mut site = Bench::awake(vec![barrier()]);
    site.verdict("entry");
    site.work();
    site.travel(Motion::Open);
    site.drive_through();
    site.run(S(4));
    assert_eq!(site.work(), ["close"]);
    site.see(&[(Role::OpenLimit, false)]);
    site.run(S(2));
    assert_eq!(site.state("entry"), State::Closing);
    site.see(&[(Role::Photocell, true)]);
    assert_eq!(site.work(), ["stop!"]);
    assert_eq!(site.state("entry"), State::Blocked);
    assert_eq!(site.alarms(), ["gate_blocked true"]);
    site.run(S(2));
    assert_eq!(site.work(), ["open"]);
    site.travel(Motion::Open);
    assert_eq!(site.alarms(), ["gate_blocked true", "gate_blocked false"]);
    site.see(&[(Role::Photocell, false)]);
    site.run(S(4));
    assert_eq!(site.work(), ["close"], "it is tried again");
}

#[test]
fn a_car_that_drives_on_while_close_is_on_its_way_is_opened_for_again() {
    let mut site = Bench::awake(vec![GateSpec { outputs: Outputs { stop: None, ..barrier().outputs }, ..barrier() }]);
    site.verdict("entry");
    site.work();
    site.travel(Motion::Open);
    site.drive_through();
    site.run(S(4));
    assert_eq!(site.waiting(), ["close"]);
    site.see(&[(Role::LoopUnderBoom, true)]);
    site.run(S(2));
    assert_eq!(site.work(), ["close", "open"], "the open limit says nothing about what is on its way");
    site.run(S(20));
    assert_ne!(site.state("entry"), State::Faulted);
}

#[test]
fn the_law_refuses_a_close_whoever_asks() {
    for (role, reason) in [
        (Role::LoopUnderBoom, "vehicle_under_boom"),
        (Role::Photocell, "photocell_blocked"),
        (Role::Fire, "fire_alarm_active"),
        (Role::EmergencyStop, "emergency_stop"),
        (Role::MotorFault, "motor_fault"),
    ] {
        let mut site = Bench::awake(vec![barrier()]);
        site.see(&[(Role::OpenLimit, true), (Role::CloseLimit, false)]);
        site.run(S(1));
        site.acts.clear();
        site.see(&[(role, true)]);
        site.acts.clear();
        site.command("entry", GateAction::Close, true);
        assert_eq!(site.last_steps(), [Step::Refused(reason)]);
        assert!(site.waiting().is_empty());
    }
}

#[test]
fn stop_goes_at_once_and_a_stopped_boom_is_not_closed() {
    let mut site = Bench::awake(vec![barrier()]);
    site.verdict("entry");
    site.work();
    site.see(&[(Role::CloseLimit, false)]);
    site.run(S(1));
    site.command("entry", GateAction::Stop, false);
    assert_eq!(site.work(), ["stop!"]);
    assert_eq!(site.last_steps(), [Step::Accepted, Step::Sent, Step::Acknowledged]);
    site.run(S(1));
    assert_eq!(site.state("entry"), State::Unknown);
    site.command("entry", GateAction::Close, false);
    assert_eq!(site.last_steps(), [Step::Refused("state_unknown")]);
}

#[test]
fn what_the_law_forbids_the_box_does_not_try_again_and_again() {
    let mut site = Bench::awake(vec![barrier()]);
    site.verdict("entry");
    site.work();
    site.travel(Motion::Open);
    site.drive_through();
    site.see(&[(Role::EmergencyStop, true)]);
    let before = site.events.len();
    site.run(S(600));
    assert_eq!(site.events.len(), before);
    site.see(&[(Role::EmergencyStop, false)]);
    site.run(S(1));
    assert_eq!(site.waiting(), ["close"]);
}

#[test]
fn a_late_command_is_refused() {
    let mut site = Bench::awake(vec![barrier()]);
    let command = GateCommand {
        id: "late".into(),
        gate: "entry".to_owned(),
        action: GateAction::Open,
        who: "core".to_owned(),
        by: DecidedBy::Command,
        by_override: false,
        expires: site.now.mono,
    };
    site.gates.handle_command(site.now, &command);
    site.drain();
    assert_eq!(site.last_steps(), [Step::Refused("expired")]);
    assert!(site.waiting().is_empty());
}

#[test]
fn a_vehicle_that_follows_another_is_a_tailgater_and_may_lock_the_lane() {
    let policy = Policy { tailgate: Outcome::Lock, ..barrier().policy };
    let mut site = Bench::awake(vec![GateSpec { policy, ..barrier() }]);
    site.verdict("entry");
    site.work();
    site.travel(Motion::Open);
    site.drive_through();
    site.run(S(1));
    site.drive_through();
    assert_eq!(site.passages(), ["granted granted true", "tailgate unasked true"]);
    assert_eq!(site.alarms(), ["tailgating true"]);
    site.run(S(4));
    site.work();
    site.travel(Motion::Close);
    assert_eq!(site.alarms(), ["tailgating true", "tailgating false"]);
    site.verdict("entry");
    assert_eq!(site.passages().last().unwrap(), "lane_locked refused null");
    site.command("entry", GateAction::UnlockLane, false);
    site.verdict("entry");
    assert_eq!(site.waiting(), ["open"]);
}

#[test]
fn an_opening_by_the_barriers_own_remote_control_is_a_class_of_its_own() {
    let mut site = Bench::awake(vec![barrier()]);
    site.travel(Motion::Open);
    assert_eq!(site.state("entry"), State::Open);
    assert_eq!(site.alarms(), ["gate_remote_opened true"]);
    site.drive_through();
    assert_eq!(site.passages(), ["remote_opened unasked true"]);
    site.run(S(4));
    assert_eq!(site.work(), ["close"]);
    site.travel(Motion::Close);
    assert_eq!(site.alarms(), ["gate_remote_opened true", "gate_remote_opened false"]);
}

#[test]
fn a_boom_that_leaves_its_place_with_a_vehicle_under_it_was_hit() {
    let mut site = Bench::awake(vec![barrier()]);
    site.see(&[(Role::LoopUnderBoom, true)]);
    site.run(S(1));
    site.see(&[(Role::CloseLimit, false)]);
    site.run(S(1));
    assert_eq!(site.alarms(), ["gate_hit true"]);
    assert_eq!(site.state("entry"), State::Forced);
    assert!(site.waiting().is_empty());
}

#[test]
fn a_fire_raises_the_boom_at_once_and_keeps_it_up_until_it_is_reset_on_the_spot() {
    let mut site = Bench::awake(vec![barrier()]);
    site.see(&[(Role::Fire, true)]);
    site.run(Duration::from_millis(200));
    assert_eq!(site.waiting(), ["open!", "9=true!"]);
    site.work();
    assert_eq!(site.alarms(), ["fire true"]);
    site.travel(Motion::Open);
    site.see(&[(Role::OpenLimit, false)]);
    site.run(S(1));
    assert_eq!(site.work(), ["open!"], "it left open, and is told again");
    site.travel(Motion::Open);
    site.command("entry", GateAction::ResetFire, false);
    assert_eq!(site.last_steps(), [Step::Refused("fire_alarm_active")]);
    site.see(&[(Role::Fire, false)]);
    site.run(S(60));
    assert!(site.waiting().is_empty());
    site.command("entry", GateAction::Close, false);
    assert_eq!(site.last_steps(), [Step::Refused("fire_alarm_active")], "a clear input alone ends nothing");
    site.command("entry", GateAction::ResetFire, false);
    assert_eq!(site.last_steps(), [Step::Accepted, Step::Confirmed]);
    assert_eq!(site.alarms(), ["fire true", "fire false"]);
    site.run(S(1));
    assert!(site.work().contains(&"9=false".to_owned()));
}

#[test]
fn a_fire_release_is_asserted_again_after_a_restart_before_anything_is_seen() {
    let mut site = Bench::awake(vec![barrier(), door()]);
    site.see(&[(Role::Fire, true)]);
    site.run(Duration::from_millis(200));
    site.work();
    site.restart(S(30));
    assert_eq!(site.work(), ["open!", "9=true!", "20=false!"]);
    site.step(S(60));
    assert!(site.work().contains(&"open!".to_owned()), "nobody sees whether it is open");
}

#[test]
fn a_fire_is_stopped_by_the_emergency_stop_at_a_barrier_only() {
    let mut site = Bench::awake(vec![barrier(), door()]);
    site.see(&[(Role::EmergencyStop, true), (Role::Fire, true)]);
    site.run(Duration::from_millis(200));
    assert_eq!(site.work(), ["9=true!", "20=false!"]);
    site.see(&[(Role::EmergencyStop, false)]);
    site.run(Duration::from_millis(200));
    assert_eq!(site.work(), ["open!"]);
}

#[test]
fn a_lost_fire_input_neither_releases_nor_ends_a_release_and_is_told() {
    let mut site = Bench::awake(vec![door()]);
    let fire = PointRef { device: BOARD, point: point(1, Role::Fire) };
    site.values.remove(&(1, Role::Fire));
    site.gates.handle_reading(site.now, fire, &Err(NoData::BusDown));
    site.run(S(5));
    assert!(site.waiting().is_empty());
    assert_eq!(site.alarms(), ["fire_line true"]);
    assert!(site.conditions[0].message.ends_with("gives no value: bus_down"));
    site.gates.handle_reading(site.now, fire, &Ok(Value::Bool(true)));
    site.drain();
    assert_eq!(site.work(), ["20=false!"]);
    site.run(S(5));
    site.command("lobby", GateAction::ResetFire, false);
    assert_eq!(site.last_steps(), [Step::Refused("fire_input_lost")]);
}

#[test]
fn a_fire_failing_on_a_dead_bus_is_told_to_the_device_until_it_hears() {
    let mut site = Bench::awake(vec![door()]);
    site.see(&[(Role::Fire, true)]);
    site.run(Duration::from_millis(200));
    for _ in 0..5 {
        assert_eq!(site.end(&ActResult::Failed(NoData::Timeout)), ["20=false!"]);
        site.run(S(10));
    }
    assert!(site.alarms().contains(&"gate_fault true".to_owned()));
    site.work();
    assert_eq!(site.alarms().last().unwrap(), "gate_fault false");
    let audits = site.events.iter().filter(|(_, json)| json["command"] == "unlock").count();
    assert_eq!(audits, 2, "the first failure and the end of it");
}

#[test]
fn a_site_wide_fire_input_is_one_alarm() {
    let source = gatehouse_core::Name::new("panel").ok();
    let mut entry = GateSpec { fire_source: source.clone(), ..barrier() };
    let shared = sensor(1, Role::Fire);
    entry.sensors.insert(shared.0, shared.1);
    let mut site = Bench::awake(vec![entry, GateSpec { fire_source: source, ..door() }]);
    site.see(&[(Role::Fire, true)]);
    site.run(Duration::from_millis(200));
    assert_eq!(site.waiting(), ["open!", "9=true!", "20=false!"]);
    assert_eq!(site.alarms(), ["fire true"]);
    assert_eq!(site.conditions[0].id.to_string(), "fire/panel");
}

#[test]
fn a_passage_under_way_at_a_restart_is_recorded_once_with_nobody_knowing() {
    let mut site = Bench::awake(vec![barrier()]);
    let request = site.verdict("entry");
    site.restart(S(5));
    assert_eq!(site.passages(), ["granted granted null"]);
    assert!(site.waiting().is_empty());
    site.gates.handle_verdict(site.now, &verdict("entry", request.0));
    site.drain();
    assert_eq!((site.passages().len(), site.waiting().len()), (1, 0));
    site.restart(S(5));
    assert_eq!(site.passages().len(), 1);
    assert!(site.gates.mint() > request);
}

#[test]
fn a_switched_contact_goes_off_again_and_is_never_on_with_the_other() {
    let switch = |point| {
        let how = How::Switch { point: PointIx(point), on_for: Duration::from_millis(500) };
        Some(Output { device: BOARD, how })
    };
    let outputs = Outputs { open: switch(1), close: switch(2), stop: switch(3), ..Outputs::default() };
    let mut site = Bench::awake(vec![GateSpec { outputs, ..barrier() }]);
    site.verdict("entry");
    assert_eq!(site.work(), ["1=true"]);
    site.travel(Motion::Open);
    assert_eq!(site.end(&ActResult::Failed(NoData::Timeout)), ["1=false"]);
    site.command("entry", GateAction::Close, false);
    site.run(S(1));
    assert_eq!(site.waiting(), ["1=false"], "CLOSE waits for the other contact");
    site.work();
    site.run(S(1));
    assert_eq!(site.work(), ["2=true"]);
    site.run(Duration::from_millis(200));
    site.command("entry", GateAction::Stop, false);
    assert_eq!(site.waiting(), ["2=false!", "3=true!"]);
}

#[test]
fn a_refused_request_and_an_unknown_gate_are_recorded_too() {
    let mut site = Bench::awake(vec![barrier()]);
    let refused = crate::words::Verdict { allowed: false, reason: "revoked".to_owned(), ..verdict("entry", 1) };
    site.gates.handle_verdict(site.now, &refused);
    site.gates.handle_verdict(site.now, &verdict("elsewhere", 2));
    site.drain();
    assert_eq!(site.passages(), ["revoked refused null", "no_such_gate refused null"]);
    assert_eq!(site.passed.len(), 1);
    assert!(site.waiting().is_empty());
}

#[test]
fn a_gate_that_cannot_work_as_described_says_why() {
    let blind = |mut spec: GateSpec| {
        spec.sensors.remove(&Role::LoopUnderBoom);
        spec
    };
    assert_eq!(blind(barrier()).check(), Err(SpecError::BlindClose));
    let long = Timing { pulse: S(3), ..Timing::default() };
    assert_eq!(GateSpec { timing: long, ..barrier() }.check(), Err(SpecError::Pulse));
    let outputs = Outputs { open: level(1), ..Outputs::default() };
    assert_eq!(GateSpec { outputs, ..barrier() }.check(), Err(SpecError::LevelMotion("open")));
    assert_eq!(GateSpec { outputs: Outputs::default(), ..door() }.check(), Err(SpecError::NoOpen));
    let outputs = Outputs { lock: pulse("lock"), ..Outputs::default() };
    assert_eq!(GateSpec { outputs, ..door() }.check(), Err(SpecError::NotLevel("lock")));
    let outputs = Outputs { hold_open: level(20), ..door().outputs };
    assert_eq!(GateSpec { outputs, ..door() }.check(), Err(SpecError::SamePoint("hold_open", "lock")));
    let policy = barrier().policy;
    assert_eq!(GateSpec { policy, ..door() }.check(), Err(SpecError::BlindClose));
}

#[test]
fn the_box_gives_up_closing_on_what_keeps_coming_and_the_alarm_stays() {
    let mut site = Bench::awake(vec![barrier()]);
    site.verdict("entry");
    site.work();
    site.travel(Motion::Open);
    site.drive_through();
    for _ in 0..3 {
        site.run(S(4));
        assert_eq!(site.work(), ["close"]);
        site.see(&[(Role::OpenLimit, false), (Role::Photocell, true)]);
        site.run(S(2));
        assert_eq!(site.work(), ["stop!", "open"]);
        site.see(&[(Role::OpenLimit, true), (Role::Photocell, false)]);
    }
    site.run(S(60));
    assert!(site.waiting().is_empty());
    assert!(site.alarms().iter().rev().any(|alarm| alarm == "gate_blocked true"));
    assert_eq!(site.gates.view("entry", site.now.mono).unwrap().conditions, ["gate_held_open", "gate_blocked"]);
}

#[test]
fn a_barrier_that_closes_by_itself_is_stopped_on_a_car_and_never_closed_by_the_box() {
    let policy = Policy { close_by_box: false, ..barrier().policy };
    let mut site = Bench::awake(vec![GateSpec { policy, ..barrier() }]);
    site.verdict("entry");
    site.work();
    site.travel(Motion::Open);
    site.drive_through();
    site.run(S(20));
    assert!(site.waiting().is_empty());
    site.see(&[(Role::OpenLimit, false)]);
    site.run(S(1));
    assert_eq!(site.state("entry"), State::Closing);
    site.see(&[(Role::LoopUnderBoom, true)]);
    site.run(S(2));
    assert_eq!(site.work(), ["stop!", "open"]);
}

#[test]
fn with_one_limit_the_other_end_is_where_it_must_be_by_now() {
    let mut spec = GateSpec { policy: Policy::default(), ..barrier() };
    spec.sensors.remove(&Role::OpenLimit);
    let mut site = Bench::awake(vec![spec]);
    site.command("entry", GateAction::Open, false);
    site.work();
    site.see(&[(Role::CloseLimit, false)]);
    site.run(S(5));
    assert_eq!(site.state("entry"), State::Opening);
    site.run(S(2));
    assert_eq!(site.state("entry"), State::Open);
    assert_eq!(site.last_steps().last(), Some(&Step::Confirmed));
    site.see(&[(Role::CloseLimit, true)]);
    site.run(S(1));
    assert_eq!(site.state("entry"), State::Closed);
}

#[test]
fn lost_inputs_make_the_state_unknown_and_raise_nothing() {
    let mut site = Bench::awake(vec![barrier()]);
    site.step(S(5));
    assert_eq!(site.state("entry"), State::Unknown);
    site.see(&[(Role::CloseLimit, false), (Role::OpenLimit, true)]);
    site.run(S(1));
    assert_eq!(site.state("entry"), State::Open, "nobody saw how it came there");
    assert!(site.passages().is_empty());
    assert!(site.alarms().iter().all(|alarm| alarm.starts_with("fire_line")), "{:?}", site.alarms());
}
