use gatehouse_core::Trust;

use super::world::*;
use super::*;
use crate::words::{AlarmState, Mode, Priority};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

#[test]
fn thirty_two_meters_on_a_dead_bus_are_one_ticket_that_lists_them() {
    let mut site = TestBox::at(9, 0);
    site.raise("bus_offline/bus-1");
    for meter in 0..32 {
        site.suppress(&format!("device_offline/meter-{meter}"), "bus_offline/bus-1");
    }
    site.pass(5);
    assert_eq!(site.changes(1), ["opened", "counted"]);
    let view = site.view(1);
    let children = view.children.unwrap();
    assert_eq!((children.count, children.alarms.len()), (32, 32));
    assert_eq!(site.tickets.counts().open, 1);
    assert_eq!(view.evidence.unwrap().frames, ["> 01 03 00 00 00 02 C4 0B"]);
    let told = &site.events.last().unwrap().1;
    assert_eq!((&told["children"]["count"], told.get("evidence")), (&32.into(), None));
}

#[test]
fn meters_that_died_seconds_before_their_bus_fold_into_its_ticket_once() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.raise("device_offline/meter-2");
    site.pass(20);
    site.raise("bus_offline/bus-1");
    for _ in 0..2 {
        for meter in ["device_offline/meter-1", "device_offline/meter-2", "device_offline/meter-3"] {
            site.suppress(meter, "bus_offline/bus-1");
        }
    }
    site.pass(120);
    assert_eq!(site.changes(1), ["opened", "merged"]);
    assert_eq!((site.view(1).state, site.view(1).into), (TicketState::Merged, Some(3)));
    assert_eq!(site.view(3).children.unwrap().count, 3);
    assert_eq!(site.tickets.counts().open, 1);
    assert_eq!(site.update(1, 1, Some(TicketState::Accepted)), UpdateResult::Merged { into: 3 });
}

#[test]
fn meters_whose_cause_is_named_before_it_alarms_fold_when_it_does() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.suppress("device_offline/meter-1", "bus_offline/bus-1");
    site.raise("bus_offline/bus-1");
    assert_eq!(site.view(1).into, Some(2));
    assert_eq!(site.view(2).children.unwrap().count, 1);
}

#[test]
fn a_ticket_that_somebody_works_on_does_not_fold() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.update(1, 1, Some(TicketState::Accepted));
    site.raise("bus_offline/bus-1");
    site.suppress("device_offline/meter-1", "bus_offline/bus-1");
    assert_eq!(site.view(1).state, TicketState::Accepted);
    assert_eq!(site.view(2).children.unwrap().count, 1);
}

#[test]
fn a_cause_without_a_ticket_of_its_own_still_has_one_ticket() {
    let mut site = TestBox::at(9, 0);
    for meter in 1..=3 {
        let cause = Some(alarm("mains_lost/site"));
        site.raise_as(&format!("device_offline/meter-{meter}"), |change| change.cause = cause);
    }
    assert_eq!(site.tickets.counts().open, 1);
    assert_eq!(site.view(1).children.unwrap().count, 3);
    site.raise("mains_lost/site");
    let view = site.view(1);
    assert_eq!((view.alarm, view.title.as_str()), (alarm("mains_lost/site"), "mains_lost/site is in trouble"));
    assert_eq!(site.changes(1), ["opened", "cause_known"]);
}

#[test]
fn the_staggered_return_of_the_meters_opens_no_ticket() {
    let mut site = TestBox::at(9, 0);
    site.raise("mains_lost/site");
    site.suppress("device_offline/meter-1", "mains_lost/site");
    site.pass(HOUR);
    site.clear("mains_lost/site");
    site.update(1, 1, Some(TicketState::Done));
    for meter in 1..=40 {
        site.pass(10);
        let cause = Some(alarm("mains_lost/site"));
        site.raise_as(&format!("device_offline/meter-{meter}"), |change| change.cause = cause);
    }
    assert_eq!(site.tickets.counts().open, 0);
    site.pass(10 * MINUTE);
    let view = site.view(1);
    assert_eq!((view.state, view.children.unwrap().count), (TicketState::Done, 40));
    assert!(!site.kept.keys().any(|key| key.starts_with("ticket-child/")), "what is settled keeps no children");
    site.raise("device_offline/meter-7");
    assert_eq!(site.view(2).alarm, alarm("device_offline/meter-7"));
}

#[test]
fn a_fault_that_flaps_a_thousand_times_over_a_hundred_restarts_is_one_ticket_with_a_count() {
    let mut site = TestBox::at(9, 0);
    for flap in 0..1000 {
        site.raise("device_offline/meter-1");
        site.pass(5);
        site.clear("device_offline/meter-1");
        site.pass(5);
        match flap % 20 {
            0 => site.restart(),
            10 => site.power_cut(60, if flap % 40 == 10 { Trust::Unset } else { Trust::Synchronised }),
            _ => {}
        }
    }
    site.pass(MINUTE);
    assert_eq!(
        site.tickets.counts(),
        TicketCounts { open: 1, breaches: site.tickets.counts().breaches, ..Default::default() }
    );
    let view = site.view(1);
    assert_eq!((view.occurrences, view.reopened), (1000, 0));
    let told = site.changes(1);
    assert_eq!(told.iter().filter(|change| *change == "opened").count(), 1);
    assert!(told.len() < 400, "{} events", told.len());
    assert_eq!(site.events.iter().rev().find(|(kind, _)| *kind == "ticket").unwrap().1["occurrences"], 1000);
}

#[test]
fn a_change_that_is_told_twice_counts_once() {
    let mut site = TestBox::at(9, 0);
    let change = site.change("device_offline/meter-1", AlarmState::Normal, AlarmState::Unacknowledged, true);
    site.tell(&change);
    site.restart();
    site.tell(&change);
    site.update(1, 1, Some(TicketState::Done));
    site.tell(&change);
    let view = site.view(1);
    assert_eq!((view.occurrences, view.state), (1, TicketState::Done));
}

#[test]
fn a_fault_that_comes_back_within_the_settle_time_reopens_its_ticket_and_later_opens_another() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.update(1, 1, Some(TicketState::Done));
    assert!(site.view(1).active, "a finished ticket does not clear its alarm");
    site.clear("device_offline/meter-1");
    site.pass(5 * MINUTE);
    site.raise("device_offline/meter-1");
    assert_eq!((site.view(1).state, site.view(1).reopened), (TicketState::Open, 1));
    site.update(1, 2, Some(TicketState::Done));
    site.clear("device_offline/meter-1");
    site.pass(11 * MINUTE);
    site.raise("device_offline/meter-1");
    assert_eq!((site.view(1).state, site.view(2).state), (TicketState::Done, TicketState::Open));
}

#[test]
fn a_rejected_fault_stays_rejected_while_it_flaps() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.update(1, 1, Some(TicketState::Rejected));
    for _ in 0..5 {
        site.clear("device_offline/meter-1");
        site.pass(MINUTE);
        site.raise("device_offline/meter-1");
    }
    assert_eq!((site.view(1).state, site.view(1).occurrences), (TicketState::Rejected, 6));
    assert_eq!(site.tickets.counts().open, 0);
}

#[test]
fn an_alarm_that_is_gone_for_the_settle_time_proposes_the_close_and_takes_it_back() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.clear("device_offline/meter-1");
    site.pass(9 * MINUTE);
    site.restart();
    assert!(!site.view(1).close_proposed);
    site.pass(2 * MINUTE);
    assert!(site.view(1).close_proposed);
    assert_eq!(site.view(1).state, TicketState::Open, "only the core closes");
    site.raise("device_offline/meter-1");
    assert!(!site.view(1).close_proposed);
    assert_eq!(site.changes(1)[..3], ["opened", "close_proposed", "returned"]);
}

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
    site.tickets.handle_timeout(&site.now);
    site.drain();
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
    site.tickets.handle_timeout(&site.now);
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
fn updates_of_the_core_that_come_twice_and_out_of_order_across_an_outage_converge() {
    let update = |rev, state, number: Option<&str>| Update {
        ticket: 1,
        id: format!("u{rev}"),
        rev,
        seen_box_rev: None,
        core_number: number.map(str::to_owned),
        state,
        assignee: (rev == 3).then(|| "li".to_owned()),
    };
    let updates = [
        update(1, Some(TicketState::Accepted), Some("WO-1")),
        update(2, Some(TicketState::OnSite), None),
        update(3, None, None),
        update(4, Some(TicketState::Done), None),
    ];
    for order in [[0, 1, 2, 3], [3, 0, 2, 1], [2, 1, 3, 0]] {
        let mut site = TestBox::at(9, 0);
        site.raise("device_offline/meter-1");
        for ix in order {
            let first = site.tickets.handle_update(&site.now, &updates[ix]);
            assert!(matches!(first, UpdateResult::Applied { .. } | UpdateResult::AppliedLate), "{first:?}");
            site.drain();
            site.restart();
            assert_eq!(site.tickets.handle_update(&site.now, &updates[ix]), UpdateResult::Duplicate);
            site.drain();
        }
        let view = site.view(1);
        assert_eq!((view.state, view.core_rev, view.missing_updates), (TicketState::Done, 4, 0));
        assert_eq!((view.core_number.as_deref(), view.assignee.as_deref()), (Some("WO-1"), Some("li")));
        assert_eq!(site.changes(1).iter().filter(|change| *change == "updated").count(), 4);
        let revs: Vec<_> = site.events.iter().map(|(_, json)| json["box_rev"].as_u64().unwrap()).collect();
        assert!(revs.windows(2).all(|pair| pair[0] < pair[1]), "{revs:?}");
    }
}

#[test]
fn a_core_that_closes_what_it_has_not_seen_reopened_does_not_hide_the_fault() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.update(1, 1, Some(TicketState::Done));
    let seen = site.view(1).box_rev;
    site.raise("device_offline/meter-1");
    let update = Update {
        ticket: 1,
        id: "late".to_owned(),
        rev: 2,
        seen_box_rev: Some(seen),
        core_number: None,
        state: Some(TicketState::Rejected),
        assignee: None,
    };
    let result = site.tickets.handle_update(&site.now, &update);
    assert_eq!(result, UpdateResult::Superseded { box_rev: seen + 1 });
    assert_eq!(site.view(1).state, TicketState::Open);
}

#[test]
fn a_malformed_or_unknown_update_changes_nothing() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    assert_eq!(site.update(9, 1, None), UpdateResult::NoSuchTicket);
    assert_eq!(site.update(1, 0, None), UpdateResult::Refused(UpdateError::NoRevision));
    assert_eq!(site.update(1, 1, Some(TicketState::Merged)), UpdateResult::Refused(UpdateError::Merged));
    assert_eq!(site.view(1).core_rev, 0);
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
    assert!(site.tickets.view(&site.now, 1).is_none());
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
    site.tickets.handle_drill(&site.now, false);
    site.drain();
    assert!(!site.is_on(1));
    assert!(!site.kept.keys().any(|key| key.starts_with("ticket/") || key.starts_with("ticket-evidence/")));
    site.raise("device_offline/meter-1");
    assert_eq!(site.view(2).state, TicketState::Open, "its number is not given again");
}

#[test]
fn there_is_always_room_for_life_safety() {
    let mut site = TestBox::at(9, 0);
    for meter in 0..4_950 {
        site.raise(&format!("device_offline/meter-{meter}"));
    }
    assert_eq!(site.tickets.counts().open, 4_900);
    assert_eq!(site.tickets.counts().refused, 50);
    assert_eq!(site.told("ticket_limit", "alarm"), ["device_offline/meter-4900"]);
    site.raise_as("trapped/lift-1", |change| change.priority = Priority::P0);
    assert_eq!(site.tickets.counts().open, 4_901);
}

#[test]
fn finished_tickets_are_bounded_in_number_and_age() {
    let mut site = TestBox::at(9, 0);
    for meter in 0..=FINISHED_MAX {
        let id = format!("device_offline/meter-{meter}");
        site.raise(&id);
        site.clear(&id);
        site.update(u64::try_from(meter).unwrap() + 1, 1, Some(TicketState::Done));
    }
    assert_eq!(site.tickets.counts().finished, FINISHED_MAX);
    assert!(site.tickets.view(&site.now, 1).is_none());
    assert_eq!(site.tickets.list(&site.now, Some(4), 9).iter().map(|view| view.ticket).collect::<Vec<_>>(), [3, 2]);
    site.pass(31 * 24 * HOUR);
    assert_eq!(site.tickets.counts().finished, 0);
    assert_eq!(site.kept.keys().collect::<Vec<_>>(), ["ticket-clock", "ticket-next"]);
}

#[test]
fn the_largest_ticket_fits_into_the_journal() {
    struct Chatty;
    impl Evidence for Chatty {
        fn place(&self, _: gatehouse_core::DeviceIx) -> Place {
            Place { building: "\"".repeat(9000), floor: "\\".repeat(9000), room: "楼".repeat(9000) }
        }
        fn device(&self, _: gatehouse_core::DeviceIx) -> Option<TicketDevice> {
            Some(TicketDevice { id: "i".repeat(64), title: "\"".repeat(9000) })
        }
        fn readings(&self, _: gatehouse_core::DeviceIx) -> Vec<EvidenceReading> {
            let reading = EvidenceReading { point: "p".repeat(64), value: "\"".repeat(9000), age_s: u64::MAX };
            vec![reading; 1000]
        }
        fn frames(&self, _: gatehouse_core::DeviceIx) -> Vec<String> {
            vec!["\"".repeat(9000); 1000]
        }
    }
    let mut site = TestBox::at(9, 0);
    let (class, text) = ("c".repeat(64), "\"".repeat(20_000));
    let source = |n: u32| format!("{class}/{n:064}");
    let mut change = site.change(&source(0), AlarmState::Normal, AlarmState::Unacknowledged, true);
    (change.message, change.instruction) = (text.clone(), text.clone());
    site.tickets.handle_alarm(&site.now, &change, &Chatty);
    site.drain();
    for child in 1..200 {
        site.suppress(&source(child), &source(0));
    }
    for rev in 1..40 {
        let update = Update {
            ticket: 1,
            id: "\"".repeat(61) + &rev.to_string(),
            rev: rev * 1_000_000_000_000,
            seen_box_rev: None,
            core_number: Some(text.clone()),
            state: None,
            assignee: Some(text.clone()),
        };
        site.tickets.handle_update(&site.now, &update);
        site.drain();
    }
    let children = site.view(1).children.unwrap();
    assert_eq!(children.count, 199);
    assert!(children.alarms.len() >= 20);
}
