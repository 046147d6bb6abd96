//! Which ticket an alarm belongs to.

use gatehouse_core::Trust;

use super::super::world::*;
use super::super::*;
use crate::words::AlarmState;

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
fn what_is_told_twice_of_an_alarm_with_a_cause_counts_once() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.update(1, 1, Some(TicketState::Accepted));
    site.raise("bus_offline/bus-1");
    let mut change = site.change("device_offline/meter-1", AlarmState::Normal, AlarmState::Unacknowledged, true);
    change.cause = Some(alarm("bus_offline/bus-1"));
    for _ in 0..3 {
        site.tell(&change);
        site.restart();
    }
    site.pass(0);
    assert_eq!((site.view(1).occurrences, site.view(2).occurrences), (2, 1));
    assert_eq!(site.view(2).children.unwrap().count, 1);
}

#[test]
fn a_child_that_alarms_for_itself_leaves_its_cause_and_not_before() {
    let mut site = TestBox::at(9, 0);
    site.raise("mains_lost/site");
    let mut change = site.change("device_offline/meter-1", AlarmState::Normal, AlarmState::Unacknowledged, true);
    change.cause = Some(alarm("mains_lost/site"));
    site.tell(&change);
    change.cause = None;
    site.tell(&change);
    assert_eq!((site.tickets.counts().open, site.view(1).children.unwrap().count), (1, 1));
    site.raise("device_offline/meter-1");
    assert_eq!(site.view(1).children, None);
    assert_eq!(site.view(2).alarm, alarm("device_offline/meter-1"));
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
