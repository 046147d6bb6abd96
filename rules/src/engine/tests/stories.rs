//! Stories of a site, from what is read to what the core knows.

use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{Lane, Value};
use serde_json::{Value as Json, json};

use super::plant::Boom;
use super::shell::{Fate, Shell};
use super::site::{BOARD, IO, LOCK, METERS, setup};
use crate::command::{Outcome, Reception, Source};
use crate::engine::Engine;
use crate::words::{AlarmId, AlarmState, Mode};

const GUARD: Source = Source::Socket { uid: 1000 };
const MINUTE: Duration = Duration::from_secs(60);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn alarm(shell: &Shell, id: &str) -> (AlarmState, Option<u64>) {
    let view = shell.engine.alarms().view(&AlarmId::try_from(id.to_owned()).unwrap()).unwrap();
    (view.state, view.occurrence.map(|occurrence| occurrence.0))
}

/// All durable events of a kind.
fn events(shell: &Shell, kind: &str) -> Vec<Json> {
    shell
        .durable
        .iter()
        .filter(|told| told.kind == kind)
        .map(|told| serde_json::from_str(&told.json).unwrap())
        .collect()
}

/// What happened to an alarm, in order.
fn changes(shell: &Shell, id: &str) -> Vec<String> {
    let of = events(shell, "alarm").into_iter().filter(|event| event["alarm"] == id);
    of.map(|event| event["change"].as_str().unwrap().to_owned()).collect()
}

/// What became of a command, in order.
fn steps(shell: &Shell, id: &str) -> Vec<String> {
    let of = events(shell, "command").into_iter().filter(|event| event["id"] == id);
    of.map(|event| event["step"].as_str().unwrap().to_owned()).collect()
}

fn refusal(reception: Reception) -> String {
    match reception {
        Reception::Ended(Outcome::Refused { reason, .. }) => reason.into(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Everything has come to the core, which knows the site as the box does.
fn account(shell: &mut Shell) {
    shell.set_link(true);
    shell.uplink(usize::MAX, 0);
    shell.core.agrees_with(&shell.engine, shell.now);
}

#[test]
fn an_overvoltage_is_raised_once_acknowledged_by_command_and_cleared() {
    let mut shell = Shell::awake(setup());
    shell.plant.volts[0] = 260;
    shell.live(secs(30));
    let (state, occurrence) = alarm(&shell, "overvoltage/meter-1");
    assert_eq!(state, AlarmState::Unacknowledged);

    let body = format!(r#""action":"acknowledge","args":{{"occurrence":"{}"}}"#, occurrence.unwrap());
    let acknowledge = shell.request("a", "alarm:overvoltage/meter-1", &body, 60);
    assert_eq!(shell.receive(Source::Core, &acknowledge), Reception::Pending);
    assert_eq!(alarm(&shell, "overvoltage/meter-1").0, AlarmState::Acknowledged);
    assert_eq!(steps(&shell, "a"), ["accepted", "verified"]);

    shell.plant.volts[0] = 251;
    shell.live(MINUTE);
    assert_eq!(alarm(&shell, "overvoltage/meter-1").0, AlarmState::Acknowledged, "251 V is in the dead-band");
    shell.plant.volts[0] = 249;
    shell.live(MINUTE);
    assert_eq!(changes(&shell, "overvoltage/meter-1"), ["condition_on", "acknowledge", "condition_off"]);
    assert_eq!(alarm(&shell, "overvoltage/meter-1").0, AlarmState::Normal);
    account(&mut shell);
    let ticket = &shell.core.open_tickets()[0];
    assert_eq!((&ticket["cause"], &ticket["message"]), (&json!("overvoltage/meter-1"), &json!("260 V at meter-1")));
}

#[test]
fn a_ticket_is_accepted_at_the_site_while_the_core_is_away_and_the_core_learns_it_once() {
    let mut shell = Shell::awake(setup());
    shell.set_link(false);
    shell.plant.volts[0] = 260;
    shell.live(MINUTE);
    let number = shell.engine.tickets().list(shell.now, None, 1)[0].ticket;
    let target = format!("ticket:{number}");
    let accept = shell.request("a", &target, r#""action":"accept","args":{"by":"Li Wei"}"#, 60);
    shell.receive(Source::Core, &accept);
    assert_eq!(steps(&shell, "a").last().map(String::as_str), Some("refused"), "the core has its own way");
    let accept = shell.request("b", &target, r#""action":"accept","args":{"by":"Li Wei"}"#, 60);
    shell.receive(GUARD, &accept);
    assert_eq!(steps(&shell, "b"), ["accepted", "verified"]);
    let accepted = |event: &Json| event["change"] == "accepted" && event["state"] == "accepted";
    assert_eq!(events(&shell, "ticket").iter().filter(|event| accepted(event)).count(), 1);
    shell.kill(0, None);
    shell.live(MINUTE);
    account(&mut shell);
    assert_eq!(shell.core.open_tickets()[0]["accepted"]["by"], "Li Wei");
}

#[test]
fn a_value_that_is_lost_clears_nothing_and_a_restart_neither_raises_nor_forgets() {
    let mut shell = Shell::awake(setup());
    shell.plant.volts[1] = 260;
    shell.live(secs(30));
    let raised = alarm(&shell, "overvoltage/meter-2");
    for _ in 0..3 {
        shell.miss(METERS[1]);
        shell.set_online(METERS[1], false);
        shell.pass(MINUTE);
        shell.kill(usize::MAX, Some(MINUTE));
        shell.pass(MINUTE);
    }
    assert_eq!(alarm(&shell, "overvoltage/meter-2"), raised);
    assert_eq!(changes(&shell, "overvoltage/meter-2"), ["condition_on"]);
    account(&mut shell);
}

#[test]
fn a_dead_bus_is_one_alarm_and_one_ticket_that_lists_its_meters() {
    let mut shell = Shell::awake(setup());
    shell.live(MINUTE);
    for meter in METERS {
        shell.miss(meter);
        shell.set_online(meter, false);
        shell.live(secs(2));
    }
    shell.live(2 * MINUTE);
    assert_eq!(alarm(&shell, "bus_offline/meters").0, AlarmState::Unacknowledged);
    for meter in ["device_offline/meter-1", "device_offline/meter-2", "device_offline/meter-3"] {
        assert_eq!(alarm(&shell, meter).0, AlarmState::Suppressed, "{meter}");
    }
    account(&mut shell);
    let open = shell.core.open_tickets();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((&open[0]["cause"], &open[0]["children"]["count"]), (&json!("bus_offline/meters"), &json!(3)));
}

#[test]
fn a_mains_failure_is_one_ticket_and_the_staggered_return_opens_none() {
    let mut shell = Shell::awake(setup());
    shell.live(MINUTE);
    shell.plant.mains = false;
    shell.poll(IO);
    for meter in METERS {
        shell.miss(meter);
        shell.set_online(meter, false);
        shell.live(secs(5));
    }
    shell.live(30 * MINUTE);
    shell.plant.mains = true;
    shell.poll(IO);
    for meter in METERS {
        shell.live(MINUTE);
        shell.set_online(meter, true);
    }
    shell.live(10 * MINUTE);
    account(&mut shell);
    assert_eq!(shell.core.tickets.len(), 1, "{:?}", shell.core.tickets);
    assert_eq!(shell.core.tickets[&1]["cause"], "mains_lost/mains");
    assert_eq!(shell.core.tickets[&1]["close_proposed"], true);
}

#[test]
fn a_fire_releases_door_and_barrier_in_the_same_call_and_stays_through_lost_inputs_and_restarts() {
    let mut shell = Shell::awake(setup());
    shell.live(secs(10));
    // The board is silent: nothing is known of boom and door, and the journal takes nothing.
    shell.set_online(BOARD, false);
    shell.miss(BOARD);
    shell.pass(MINUTE);
    (shell.prompt, shell.plant.fire) = (false, true);
    shell.poll(IO);
    let released: Vec<&Action> = shell.line.iter().map(|act| &act.action).collect();
    assert!(shell.line.iter().all(|act| act.urgent), "{:?}", shell.line);
    assert!(released.contains(&&Action::Write(LOCK, Value::Bool(false))), "{released:?}");
    assert!(released.iter().any(|action| matches!(action, Action::Call { command, .. } if **command == *"open")));

    // Killed before anything is durable, it does the same again; then it outlives a kill, though the input is lost.
    shell.kill(0, None);
    assert_eq!(shell.line, []);
    shell.prompt = true;
    shell.poll(IO);
    assert!(shell.line.len() >= 2, "{:?}", shell.line);
    shell.kill(usize::MAX, None);
    shell.miss(IO);
    shell.pass(secs(1));
    assert!(shell.line.iter().any(|act| act.action == Action::Write(LOCK, Value::Bool(false))), "{:?}", shell.line);
    shell.work();
    assert!(!shell.plant.locked && matches!(shell.plant.boom, Boom::Opening(_)));

    // The panel is quiet again: what was released stays so, until a person on the spot ends it.
    shell.plant.fire = false;
    shell.wake();
    shell.live(5 * MINUTE);
    assert_eq!((shell.plant.boom, shell.plant.locked), (Boom::Open, false));
    for (id, gate) in [("r1", "gate:lobby"), ("r2", "gate:entry")] {
        let reset = shell.request(id, gate, r#""action":"reset_fire""#, 60);
        assert_eq!(refusal(shell.receive(Source::Core, &reset)), "local_only");
        let reset = shell.request(&format!("{id}-here"), gate, r#""action":"reset_fire""#, 60);
        shell.receive(GUARD, &reset);
    }
    shell.live(5 * MINUTE);
    assert_eq!((shell.plant.boom, shell.plant.locked), (Boom::Closed, true));
    assert_eq!(changes(&shell, "fire/panel")[0], "condition_on");
    account(&mut shell);
}

#[test]
fn a_core_command_opens_once_though_it_comes_three_times_and_across_a_restart() {
    let mut shell = Shell::awake(setup());
    shell.live(secs(10));
    let open = shell.request("o", "gate:entry", r#""action":"open""#, 60);
    assert_eq!(shell.receive(Source::Core, &open), Reception::Pending);
    assert_eq!(shell.receive(Source::Core, &open), Reception::Pending);
    shell.perform(0, Fate::Done);
    shell.kill(usize::MAX, None);
    shell.wake();
    assert_eq!(
        shell.receive(Source::Core, &open),
        Reception::Ended(Outcome::Unknown { reason: "restarted".into(), detail: None })
    );
    shell.live(MINUTE);
    assert_eq!(shell.law.acted["o"], 1);
    account(&mut shell);
    assert_eq!(shell.core.outcomes["o"], "unknown restarted");
    let passages: Vec<_> = shell.core.passages.values().collect();
    assert_eq!(passages.len(), 1, "{passages:?}");
    assert_eq!((&passages[0]["facts"]["command"], &passages[0]["verified"]), (&json!("o"), &Json::Null));
}

#[test]
fn a_command_of_which_nothing_was_stored_acts_when_it_comes_again_and_only_then() {
    let mut shell = Shell::awake(setup());
    shell.live(secs(10));
    shell.prompt = false;
    let open = shell.request("o", "gate:entry", r#""action":"open""#, 60);
    shell.receive(Source::Core, &open);
    assert_eq!(shell.line, [], "stored before done");
    shell.kill(0, None);
    (shell.prompt, shell.plant.car) = (true, false);
    shell.wake();
    assert_eq!(shell.receive(Source::Core, &open), Reception::Pending);
    shell.live(secs(10));
    shell.plant.car = true;
    shell.live(secs(10));
    shell.plant.car = false;
    shell.live(MINUTE);
    assert_eq!(shell.law.acted["o"], 1);
    assert_eq!(shell.plant.boom, Boom::Closed);
    account(&mut shell);
    let passages: Vec<_> = shell.core.passages.values().collect();
    assert_eq!((passages.len(), &passages[0]["verified"]), (1, &json!(true)), "{passages:?}");
}

#[test]
fn what_comes_late_is_refused_and_moves_nothing() {
    let mut shell = Shell::awake(setup());
    let open = shell.request("late", "gate:entry", r#""action":"open""#, 10);
    shell.live(60 * MINUTE);
    assert_eq!(refusal(shell.receive(Source::Core, &open)), "expired");
    shell.live(MINUTE);
    assert_eq!(shell.plant.boom, Boom::Closed);
    account(&mut shell);
    assert_eq!(shell.core.outcomes["late"], "refused expired");
}

#[test]
fn a_pulse_that_waits_for_its_pause_is_not_given_when_the_box_was_too_busy_to_give_it_in_time() {
    let mut shell = Shell::awake(setup());
    shell.live(secs(10));
    let (first, second) = (
        shell.request("a", "gate:entry", r#""action":"open""#, 60),
        shell.request("b", "gate:entry", r#""action":"open""#, 60),
    );
    shell.receive(Source::Core, &first);
    shell.perform(0, Fate::Failed);
    assert_eq!(shell.receive(Source::Core, &second), Reception::Pending);
    assert_eq!(shell.line, [], "it waits for the pause after the first pulse");
    shell.sleep(secs(8));
    shell.tell(Engine::handle_timeout);
    assert_eq!(shell.line, [], "{:?}", shell.line);
    assert_eq!(steps(&shell, "b"), ["accepted", "refused"]);
    account(&mut shell);
    assert_eq!(shell.core.outcomes["b"], "refused expired");
}

#[test]
fn what_a_gate_or_an_escalation_works_is_written_by_nobody_else() {
    let mut shell = Shell::awake(setup());
    let told = [
        (r#""point":"lock","value":"off""#, "reserved"),
        (r#""point":"lamp","value":"on""#, "reserved"),
        (r#""point":"relay","value":"on""#, "reserved"),
        (r#""point":"door","value":"on""#, "read_only"),
        (r#""action":"open","args":{"channel":"1"}"#, "reserved"),
    ];
    for (at, (body, reason)) in told.iter().enumerate() {
        let id = format!("x{at}");
        let request = shell.request(&id, "device:board", body, 60);
        shell.receive(GUARD, &request);
        assert_eq!(shell.line, [], "{body}");
        account(&mut shell);
        assert_eq!(shell.core.outcomes[&id], format!("refused {reason}"));
    }
    let request = shell.request("w-7", "device:meter-1", r#""point":"limit","value":"7""#, 60);
    shell.receive(GUARD, &request);
    shell.work();
    assert_eq!(steps(&shell, "w-7"), ["accepted", "sent", "acknowledged"]);
}

#[test]
fn an_outage_is_seen_by_rules_calls_for_help_on_the_spot_and_ends_once_all_is_told() {
    let mut shell = Shell::awake(setup());
    shell.live(2 * MINUTE);
    shell.set_link(false);
    shell.live(MINUTE);
    assert_eq!(shell.engine.mode(), Mode::Degraded);
    assert_eq!(alarm(&shell, "on_its_own/site").0, AlarmState::Unacknowledged);
    // Restarted in the middle of the outage, the box still knows that it is on its own.
    shell.kill(usize::MAX, None);
    shell.wake();
    shell.plant.volts[2] = 270;
    shell.live(3 * MINUTE);
    assert!(shell.plant.lamp, "nobody was called");

    shell.set_link(true);
    shell.live(2 * MINUTE);
    assert_eq!(shell.engine.mode(), Mode::Recovering);
    assert_eq!(alarm(&shell, "on_its_own/site").0, AlarmState::Normal);
    shell.owe();
    assert_eq!(shell.engine.mode(), Mode::Recovering, "the core is owed the events of the outage");
    shell.uplink(usize::MAX, 0);
    shell.owe();
    shell.live(MINUTE);
    assert_eq!(shell.engine.mode(), Mode::Online);
    assert!(!shell.plant.lamp);
    account(&mut shell);
    assert_eq!(shell.core.modes, ["degraded", "recovering", "online"]);
}

#[test]
fn changed_rules_go_on_from_what_was_kept() {
    let mut shell = Shell::awake(setup());
    (shell.plant.volts[0], shell.plant.volts[1]) = (260, 260);
    shell.live(secs(30));
    let raised = alarm(&shell, "overvoltage/meter-1");
    let open = shell.request("o", "gate:entry", r#""action":"open""#, 60);
    shell.receive(Source::Core, &open);

    // The second meter has no such rule any more. The act that was under way is told to the new engine.
    let mut changed = setup();
    changed.rules[0].instances.retain(|rule| rule.source != "meter-2");
    changed.version = "v2".to_owned();
    shell.reload(changed);
    shell.wake();
    shell.live(MINUTE);
    assert_eq!(alarm(&shell, "overvoltage/meter-1"), raised);
    assert_eq!(changes(&shell, "overvoltage/meter-2"), ["condition_on", "removed"]);
    assert_eq!((shell.law.acted["o"], shell.plant.boom), (1, Boom::Open));
    let version = events(&shell, "command").last().map(|event| event["rule_version"].clone());
    assert_eq!(version, Some(json!("v2")));
    account(&mut shell);
    assert_eq!(shell.core.outcomes["o"], "unknown restarted");
}

#[test]
fn a_batch_holds_an_alarm_and_its_ticket_or_neither() {
    let mut shell = Shell::awake(setup());
    shell.plant.volts[0] = 260;
    shell.prompt = false;
    shell.live(secs(30));
    while shell.waiting() > 0 {
        shell.store(1);
        let of = |lane| shell.durable.iter().filter(|told| told.lane == lane && told.kind != "flood").count();
        let told = [of(Lane::Alarms), of(Lane::Tickets)];
        assert!(told == [0, 0] || told[0] >= 1 && told[1] >= 1, "{told:?}");
    }
}

#[test]
fn another_master_on_a_bus_is_an_alarm_until_it_was_quiet_for_ten_minutes() {
    let mut shell = Shell::awake(setup());
    shell.live(MINUTE);
    shell.tell(|engine, now| engine.handle_foreign_master(now, 0, true));
    assert_eq!(alarm(&shell, "foreign_master/meters").0, AlarmState::Unacknowledged);
    shell.tell(|engine, now| engine.handle_foreign_master(now, 0, false));
    shell.live(5 * MINUTE);
    assert!(alarm(&shell, "foreign_master/meters").1.is_some(), "it may only draw breath");
    shell.live(6 * MINUTE);
    assert_eq!(changes(&shell, "foreign_master/meters"), ["condition_on", "condition_off"]);
}
