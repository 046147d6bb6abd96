//! Stories of doors: locks, exit buttons, and what stands open.

use super::*;

#[test]
fn a_door_whose_board_was_lost_is_locked_again_when_it_comes_back() {
    let mut site = Bench::awake(vec![barrier(), door()]);
    site.gates.handle_returned(site.now, BOARD);
    site.drain();
    assert_eq!(site.work(), ["20=true"]);
    site.verdict("lobby");
    assert_eq!(site.work(), ["20=false"]);
    site.gates.handle_returned(site.now, BOARD);
    site.drain();
    assert_eq!(site.work(), ["20=false"], "it is still unlocked for somebody");
}

#[test]
fn a_door_is_unlocked_for_a_grant_and_locks_when_it_is_shut() {
    let mut site = Bench::awake(vec![door()]);
    site.verdict("lobby");
    assert_eq!(site.work(), ["20=false"]);
    assert_eq!(site.state("lobby"), State::Opening);
    site.run(S(1));
    site.see(&[(Role::DoorContact, true)]);
    site.run(Duration::from_millis(400));
    assert_eq!(site.passages(), ["granted granted true"]);
    assert!(site.waiting().is_empty());
    site.see(&[(Role::DoorContact, false)]);
    site.run(Duration::from_millis(200));
    assert_eq!(site.work(), ["20=true"]);
    assert_eq!(site.state("lobby"), State::Closed);
    assert!(site.alarms().is_empty() && site.kept().is_empty());
}

#[test]
fn a_door_that_nobody_opens_locks_again_and_the_record_says_so() {
    let mut site = Bench::awake(vec![door()]);
    site.verdict("lobby");
    site.work();
    site.run(S(4));
    assert_eq!(site.work(), ["20=true"]);
    site.run(S(10));
    assert_eq!(site.passages(), ["granted granted false"]);
}

#[test]
fn a_lock_that_does_not_confirm_is_told_again_until_it_does() {
    let mut site = Bench::awake(vec![door()]);
    site.verdict("lobby");
    site.work();
    site.run(S(4));
    assert_eq!(site.end(&LOST), ["20=true"]);
    site.run(S(2));
    assert_eq!(site.end(&LOST), ["20=true"]);
    site.restart(S(2));
    assert!(site.waiting().is_empty(), "nothing before something was seen");
    site.poll();
    assert_eq!(site.work(), ["20=true"]);
    assert!(site.kept().iter().all(|key| !key.starts_with("gate/")));
}

#[test]
fn a_door_opened_without_a_grant_is_forced_until_it_is_shut() {
    let mut site = Bench::awake(vec![door()]);
    site.see(&[(Role::DoorContact, true)]);
    site.run(Duration::from_millis(200));
    assert_eq!((site.state("lobby"), site.passages()), (State::Forced, vec!["forced unasked true".to_owned()]));
    site.restart(S(10));
    site.run(S(2));
    assert_eq!(site.state("lobby"), State::Forced, "a restart does not forget it");
    site.see(&[(Role::DoorContact, false)]);
    site.run(S(1));
    assert_eq!(
        site.alarms(),
        [
            "gate_forced true",
            "gate_forced true",
            "gate_held_open false",
            "gate_fault false",
            "gate_blocked false",
            "gate_hit false",
            "gate_remote_opened false",
            "tailgating false",
            "fire false",
            "fire_line false",
            "gate_forced false"
        ]
    );
}

#[test]
fn an_exit_button_opens_a_locked_lane_and_is_recorded() {
    let mut site = Bench::awake(vec![door()]);
    site.command("lobby", GateAction::LockLane, false);
    site.verdict("lobby");
    assert_eq!(site.passages(), ["lane_locked refused null"]);
    site.see(&[(Role::ExitButton, true)]);
    site.run(Duration::from_millis(200));
    assert_eq!(site.work(), ["20=false"]);
    site.see(&[(Role::ExitButton, false), (Role::DoorContact, true)]);
    site.run(Duration::from_millis(200));
    assert_eq!(site.passages().last().unwrap(), "exit_button granted true");
}

#[test]
fn a_door_that_stays_open_is_held_open() {
    let mut site = Bench::awake(vec![door()]);
    site.verdict("lobby");
    site.work();
    site.see(&[(Role::DoorContact, true)]);
    site.run(S(28));
    assert!(site.alarms().is_empty());
    site.run(S(2));
    assert_eq!((site.alarms(), site.state("lobby")), (vec!["gate_held_open true".to_owned()], State::HeldOpen));
    site.see(&[(Role::DoorContact, false)]);
    site.run(S(1));
    assert_eq!(site.alarms().last().unwrap(), "gate_held_open false");
}

#[test]
fn holding_open_ends_by_command_or_by_its_time_and_is_no_alarm() {
    let policy = Policy { hold_max: S(100), ..door().policy };
    let mut site = Bench::awake(vec![GateSpec { policy, ..door() }]);
    site.command("lobby", GateAction::HoldOpen, false);
    assert_eq!(site.work(), ["20=false"]);
    site.see(&[(Role::DoorContact, true)]);
    site.run(S(60));
    assert_eq!((site.state("lobby"), site.alarms().len()), (State::HeldOpen, 0));
    site.restart(S(20));
    assert!(site.waiting().is_empty());
    site.run(S(10));
    assert_eq!(site.work(), ["20=false"], "it goes on, whatever became of the output");
    site.run(S(15));
    assert_eq!(site.work(), ["20=true"]);
}

#[test]
fn a_door_is_not_locked_while_it_is_being_found_out_whether_that_is_a_fire() {
    let mut site = Bench::awake(vec![door()]);
    site.verdict("lobby");
    site.work();
    site.run(Duration::from_millis(3950));
    site.see(&[(Role::Fire, true)]);
    site.step(Duration::from_millis(60));
    assert!(site.waiting().is_empty(), "the grant is over, and it may burn");
    site.command("lobby", GateAction::Close, false);
    assert_eq!(site.last_steps(), [Step::Refused("fire_alarm_active")]);
    site.see(&[(Role::Fire, false)]);
    site.run(S(1));
    assert_eq!(site.work(), ["20=true"], "it was none");
}

#[test]
fn a_door_that_only_a_pulse_unlocks_is_pulsed_as_long_as_it_burns() {
    let outputs = Outputs { open: pulse("open"), ..Outputs::default() };
    let mut site = Bench::awake(vec![GateSpec { outputs, ..door() }]);
    site.see(&[(Role::Fire, true)]);
    site.run(Duration::from_millis(200));
    for _ in 0..3 {
        assert_eq!(site.work(), ["open!"]);
        site.run(S(4));
    }
}
