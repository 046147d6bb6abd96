//! Clocks, escalations and drills.

use gatehouse_core::Trust;

use super::super::world::*;
use super::super::*;
use crate::words::{AlarmState, Mode, Priority};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

#[test]
fn a_target_runs_through_a_restart_a_power_cut_and_a_stepped_clock_and_is_breached_once() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.pass(20 * MINUTE);
    site.step_clock(2 * 3600);
    site.restart();
    site.pass(10 * MINUTE);
    assert_eq!(site.view(1).sla.unwrap().response.ran_s, 30 * MINUTE);
    site.power_cut(20 * 60, Trust::FreeRunning);
    site.pass(1);
    assert_eq!(site.view(1).sla.unwrap().response.ran_s, 50 * MINUTE + 1);
    assert!(site.told("ticket_sla", "which").is_empty());
    site.pass(10 * MINUTE);
    site.restart();
    site.pass(HOUR);
    assert_eq!(site.told("ticket_sla", "which"), ["response"]);
    assert_eq!(site.tickets.counts().open, 1);
}

#[test]
fn a_power_cut_without_a_clock_is_counted_once_the_clock_is_known() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.pass(15 * MINUTE);
    let real = site.now.wall;
    site.power_cut(0, Trust::Unset);
    site.now.wall.0 = 0;
    site.pass(30);
    let before = site.view(1).sla.unwrap().response;
    assert!((10 * MINUTE + 30..=15 * MINUTE + 30).contains(&before.ran_s), "{}", before.ran_s);
    site.now.wall = gatehouse_core::Wall(real.0 + 1000 * 1_000_000);
    site.now.trust = Trust::Synchronised;
    site.step_clock(0);
    let after = site.view(1).sla.unwrap().response;
    assert_eq!((after.ran_s, after.uncounted), (15 * MINUTE + 1000, false));
}

#[test]
fn a_power_cut_that_nobody_can_measure_is_said() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.pass(15 * MINUTE);
    site.power_cut(600, Trust::Unset);
    site.pass(15 * MINUTE);
    site.power_cut(600, Trust::Unset);
    site.pass(1);
    assert!(site.view(1).sla.unwrap().response.uncounted);
}

#[test]
fn the_work_clock_stands_while_it_waits_for_parts_or_access() {
    let mut site = TestBox::at(9, 0);
    site.raise_as("device_offline/meter-1", |change| change.priority = Priority::P1);
    site.pass(10 * MINUTE);
    site.update(1, 1, Some(TicketState::Accepted));
    site.pass(10 * MINUTE);
    site.update(1, 2, Some(TicketState::WaitingParts));
    site.pass(30 * HOUR);
    site.restart();
    site.update(1, 3, Some(TicketState::WaitingAccess));
    site.pass(30 * HOUR);
    site.update(1, 4, Some(TicketState::OnSite));
    site.pass(10 * MINUTE);
    let sla = site.view(1).sla.unwrap();
    assert_eq!((sla.response.ran_s, sla.resolve.ran_s), (10 * MINUTE, 30 * MINUTE));
    site.pass(4 * HOUR);
    assert_eq!(site.told("ticket_sla", "which"), ["resolve"]);
}

#[test]
fn quiet_hours_do_not_count_for_the_less_urgent_and_escalate_nobody() {
    let mut site = TestBox::at(21, 40);
    site.raise("device_offline/meter-1");
    site.pass(4 * HOUR);
    assert_eq!(site.view(1).sla.unwrap().response.ran_s, 20 * MINUTE);
    assert!(!site.is_on(0));
    site.power_cut(3600, Trust::Synchronised);
    site.pass(HOUR);
    assert_eq!(site.view(1).sla.unwrap().response.ran_s, 20 * MINUTE);
    site.pass(3 * HOUR + 15 * MINUTE);
    assert!(site.is_on(0), "it is 06:55, and the lamp came on at 06:10");
    assert_eq!(site.told("ticket_sla", "which"), ["response"]);
}

#[test]
fn life_safety_is_announced_at_once_at_night_and_until_somebody_accepts() {
    let mut site = TestBox::at(2, 0);
    site.raise_as("trapped/lift-1", |change| {
        change.priority = Priority::P0;
        change.ticket = Some(name("lift"));
        change.cause = Some(alarm("mains_lost/site"));
    });
    assert!(site.is_on(1));
    assert_eq!((site.urgent, site.calls), (1, 0));
    assert_eq!(site.tickets.guard_messages()[0].title, "Somebody is trapped in a lift");
    assert_eq!(site.view(1).cause, alarm("trapped/lift-1"), "life safety is its own cause");
    site.pass(121);
    assert_eq!(site.calls, 1);
    site.outputs.clear();
    site.power_cut(30, Trust::Unset);
    site.pass(0);
    assert!(site.is_on(1), "the lamp is put back after a restart");
    assert_eq!(site.calls, 1, "the horn is not repeated");
    site.pass(10 * MINUTE);
    assert_eq!(site.told("ticket_sla", "which"), ["response"]);
    site.update(1, 1, Some(TicketState::Accepted));
    assert!(!site.is_on(1));
    assert!(site.tickets.guard_messages().is_empty());
    assert!(site.told("ticket_escalation", "why").contains(&"accepted".to_owned()));
    assert_eq!(site.kept["ticket-outputs"], b"[]");
}

#[test]
fn a_step_that_reaches_nobody_is_followed_by_the_next_at_once() {
    let mut site = TestBox::at(9, 0);
    site.dead = vec![1];
    site.raise_as("trapped/lift-1", |change| {
        change.priority = Priority::P0;
        change.ticket = Some(name("lift"));
    });
    assert_eq!(site.calls, 1, "the horn does not wait for its two minutes");
    let view = site.view(1);
    assert_eq!(view.escalation, [StepState::Failed, StepState::Delivered]);
    assert_eq!(
        site.told("ticket_escalation", "event"),
        ["step", "output_failed", "not_delivered", "step", "delivered"]
    );
    site.pass(5 * MINUTE);
    site.dead.clear();
    site.pass(2 * MINUTE);
    assert!(site.is_on(1), "an output that failed is tried again");
    assert_eq!(site.told("ticket_escalation", "event")[5..], ["output_works", "delivered"]);
}

#[test]
fn a_pulse_that_a_restart_left_in_doubt_is_not_repeated_and_counts_as_lost() {
    let mut site = TestBox::at(9, 0);
    site.raise_as("trapped/lift-1", |change| {
        change.priority = Priority::P0;
        change.ticket = Some(name("lift"));
    });
    site.pass(119);
    site.now.mono = site.now.mono + std::time::Duration::from_secs(2);
    site.tickets.handle_timeout(site.now);
    while let Some(effect) = site.tickets.poll_effect() {
        if let crate::Effect::Keep { key, value: Some(value) } = effect {
            site.kept.insert(key.into(), value.into());
        }
    }
    site.restart();
    site.pass(1);
    assert_eq!(site.calls, 0);
    assert_eq!(site.view(1).escalation, [StepState::Delivered, StepState::Failed]);
}

#[test]
fn an_output_is_switched_off_after_a_restart_when_nobody_wants_it_any_more() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.pass(31 * MINUTE);
    assert!(site.is_on(0));
    site.dead = vec![0];
    site.update(1, 1, Some(TicketState::Accepted));
    assert!(site.is_on(0), "the board did not answer");
    site.dead.clear();
    site.restart();
    site.pass(0);
    assert!(!site.is_on(0));
}

#[test]
fn steps_for_outages_are_taken_while_the_core_cannot_be_reached_and_end_with_it() {
    let mut site = TestBox::at(9, 0);
    site.mode(Mode::Online);
    site.raise_as("trapped/lift-1", |change| {
        change.priority = Priority::P1;
        change.ticket = Some(name("lift"));
    });
    site.pass(45);
    assert!(!site.is_on(3));
    site.mode(Mode::Degraded);
    assert!(site.is_on(3));
    site.restart();
    site.pass(0);
    site.mode(Mode::Recovering);
    assert!(site.is_on(3));
    site.mode(Mode::Online);
    assert!(!site.is_on(3));
}

#[test]
fn an_acknowledgement_ends_the_escalation_until_the_next_occurrence() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.pass(31 * MINUTE);
    let ack = site.change("device_offline/meter-1", AlarmState::Unacknowledged, AlarmState::Acknowledged, true);
    site.tell(&ack);
    assert!(!site.is_on(0));
    site.pass(2 * HOUR);
    assert!(!site.is_on(0));
    site.raise("device_offline/meter-1");
    site.pass(29 * MINUTE);
    assert!(!site.is_on(0));
    site.pass(2 * MINUTE);
    assert!(site.is_on(0));
}

#[test]
fn a_drill_acts_without_targets_and_gives_way_to_a_real_alarm() {
    let mut site = TestBox::at(9, 0);
    let lift = |change: &mut crate::words::AlarmChange| {
        change.priority = Priority::P0;
        change.ticket = Some(name("lift"));
    };
    site.raise_as("trapped/lift-1", |change| {
        lift(change);
        change.drill = true;
    });
    assert!(site.is_on(1));
    assert!(site.tickets.guard_messages()[0].drill);
    assert!(site.events.iter().all(|(_, json)| json["drill"] == true));
    site.restart();
    site.pass(HOUR);
    assert_eq!(site.view(1).sla, None);
    assert!(site.told("ticket_sla", "which").is_empty());
    site.raise("device_offline/meter-1");
    assert_eq!(site.tickets.counts().open, 2, "a lesser fault does not end the drill");
    site.raise_as("trapped/lift-1", lift);
    assert_eq!(site.changes(1), ["opened", "drill_over"]);
    assert!(site.tickets.view(site.now, 1).is_none());
    assert!(site.is_on(1), "the lamp stays on for the real one");
    assert!(!site.tickets.guard_messages()[0].drill);
    assert_eq!(site.view(3).sla.unwrap().response.ran_s, 0);
}

#[test]
fn the_end_of_a_drill_leaves_nothing_behind() {
    let mut site = TestBox::at(9, 0);
    site.raise_as("trapped/lift-1", |change| {
        change.ticket = Some(name("lift"));
        change.priority = Priority::P0;
        change.drill = true;
    });
    site.tickets.handle_drill(site.now, false);
    site.drain();
    assert!(!site.is_on(1));
    assert!(!site.kept.keys().any(|key| key.starts_with("ticket/") || key.starts_with("ticket-evidence/")));
    site.raise("device_offline/meter-1");
    assert_eq!(site.view(2).state, TicketState::Open, "its number is not given again");
}
