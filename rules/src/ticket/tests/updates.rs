//! What the core says, and what is bounded.

use super::super::world::*;
use super::super::*;
use crate::words::{AlarmState, Priority};

const HOUR: u64 = 3600;

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
            let first = site.tickets.handle_update(site.now, &updates[ix]);
            assert!(matches!(first, UpdateResult::Applied { .. } | UpdateResult::AppliedLate), "{first:?}");
            site.drain();
            site.restart();
            assert_eq!(site.tickets.handle_update(site.now, &updates[ix]), UpdateResult::Duplicate);
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

/// What a core makes of the events of a ticket: the newest `box_rev` counts.
fn seen_by_core(site: &TestBox) -> (u64, String) {
    let of = |json: &serde_json::Value| (json["box_rev"].as_u64().unwrap(), json["state"].as_str().unwrap().to_owned());
    site.events.iter().filter(|(kind, _)| *kind == "ticket").map(|(_, json)| of(json)).max().unwrap()
}

#[test]
fn a_ticket_that_is_accepted_at_the_box_stays_so_when_the_core_had_not_seen_it() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    let seen = site.view(1).box_rev;
    assert_eq!(site.tickets.handle_accept(site.now, 1, "Li Wei"), AcceptResult::Done);
    site.drain();
    site.restart();
    let view = site.view(1);
    assert_eq!((view.state, view.accepted.unwrap().by.as_str()), (TicketState::Accepted, "Li Wei"));
    assert!(!view.sla.unwrap().response.running, "somebody has responded");
    assert_eq!(site.tickets.handle_accept(site.now, 1, "Li Wei"), AcceptResult::AlreadyDone);
    assert_eq!(site.tickets.handle_accept(site.now, 1, "Wang"), AcceptResult::NotOpen(TicketState::Accepted));
    // The core's first word on the ticket has crossed the acceptance on its way.
    let register = Update {
        ticket: 1,
        id: "u1".to_owned(),
        rev: 1,
        seen_box_rev: Some(seen),
        core_number: Some("WO-1".to_owned()),
        state: Some(TicketState::Open),
        assignee: None,
    };
    let result = site.tickets.handle_update(site.now, &register);
    site.drain();
    assert_eq!(result, UpdateResult::Superseded { box_rev: seen + 1 });
    let view = site.view(1);
    assert_eq!((view.state, view.core_number.as_deref()), (TicketState::Accepted, Some("WO-1")));
    assert_eq!(seen_by_core(&site), (view.box_rev, "accepted".to_owned()), "both sides say the same");
    // Once the core has seen it, its word counts.
    let again = Update { id: "u2".to_owned(), rev: 2, seen_box_rev: Some(view.box_rev), ..register };
    assert!(matches!(site.tickets.handle_update(site.now, &again), UpdateResult::Applied { .. }));
    site.drain();
    assert_eq!((site.view(1).state, site.view(1).accepted), (TicketState::Open, None));
    assert_eq!(seen_by_core(&site).1, "open");
}

#[test]
fn what_is_finished_cannot_be_accepted() {
    let mut site = TestBox::at(9, 0);
    site.raise("device_offline/meter-1");
    site.update(1, 1, Some(TicketState::Done));
    assert_eq!(site.tickets.handle_accept(site.now, 1, "Li Wei"), AcceptResult::NotOpen(TicketState::Done));
    assert_eq!(site.tickets.handle_accept(site.now, 9, "Li Wei"), AcceptResult::NoSuchTicket);
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
    let result = site.tickets.handle_update(site.now, &update);
    assert_eq!(result, UpdateResult::Superseded { box_rev: seen + 1 });
    assert_eq!(site.view(1).state, TicketState::Open);
}

#[test]
fn a_document_that_cannot_be_read_is_counted_and_left() {
    let mut site = TestBox::at(9, 0);
    assert!(!site.tickets.restore("alarm/fire/line-1", b"{}"));
    for key in ["ticket/1", "ticket-next", "ticket-clock", "ticket-child/fire", "ticket-evidence/x"] {
        assert!(site.tickets.restore(key, b"?"), "{key}");
    }
    assert_eq!(site.tickets.counts().unreadable, 5);
    site.raise("device_offline/meter-1");
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
    assert!(site.tickets.view(site.now, 1).is_none());
    assert_eq!(site.tickets.list(site.now, Some(4), 9).iter().map(|view| view.ticket).collect::<Vec<_>>(), [3, 2]);
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
    site.tickets.handle_alarm(site.now, &change, &Chatty);
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
        site.tickets.handle_update(site.now, &update);
        site.drain();
    }
    let children = site.view(1).children.unwrap();
    assert_eq!(children.count, 199);
    assert!(children.alarms.len() >= 20);
}
