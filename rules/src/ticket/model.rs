//! Random happenings beside a small model: what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::Trust;
use proptest::prelude::*;

use super::world::*;
use super::*;
use crate::words::{AlarmState, Mode};

#[derive(Debug, Clone)]
enum Happening {
    Raise { meter: u8, bus: bool },
    Suppress(u8),
    Clear(u8),
    BusRaise,
    BusClear,
    Update { ticket: u64, rev: u64, state: TicketState },
    Pass(u64),
    Restart,
    PowerCut { seconds: i64, clock: bool },
    StepClock(i64),
    Mode(bool),
    OutputsDead(bool),
}

fn state() -> impl Strategy<Value = TicketState> {
    prop_oneof![
        Just(TicketState::Open),
        Just(TicketState::Accepted),
        Just(TicketState::OnSite),
        Just(TicketState::WaitingParts),
        Just(TicketState::WaitingAccess),
        Just(TicketState::Done),
        Just(TicketState::Rejected),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let meter = 0u8..3;
    prop_oneof![
        4 => (meter.clone(), any::<bool>()).prop_map(|(meter, bus)| Happening::Raise { meter, bus }),
        2 => meter.clone().prop_map(Happening::Suppress),
        4 => meter.prop_map(Happening::Clear),
        1 => Just(Happening::BusRaise),
        1 => Just(Happening::BusClear),
        4 => (1u64..6, 1u64..9, state()).prop_map(|(ticket, rev, state)| Happening::Update { ticket, rev, state }),
        3 => prop_oneof![0u64..100, 500u64..2000, 3000u64..40_000].prop_map(Happening::Pass),
        2 => Just(Happening::Restart),
        1 => (0i64..5000, any::<bool>()).prop_map(|(seconds, clock)| Happening::PowerCut { seconds, clock }),
        1 => (-5000i64..5000).prop_map(Happening::StepClock),
        1 => any::<bool>().prop_map(Happening::Mode),
        1 => any::<bool>().prop_map(Happening::OutputsDead),
    ]
}

/// What the model knows: which updates of which ticket were taken.
#[derive(Default)]
struct Model {
    taken: BTreeMap<u64, BTreeSet<u64>>,
}

fn play(site: &mut TestBox, model: &mut Model, happening: Happening) {
    let meter = |n: u8| format!("device_offline/meter-{n}");
    const BUS: &str = "bus_offline/bus-1";
    match happening {
        Happening::Raise { meter: n, bus } => {
            site.raise_as(&meter(n), |change| change.cause = bus.then(|| alarm(BUS)));
        }
        Happening::Suppress(n) => site.suppress(&meter(n), BUS),
        Happening::Clear(n) => site.clear(&meter(n)),
        Happening::BusRaise => site.raise(BUS),
        Happening::BusClear => site.clear(BUS),
        Happening::Update { ticket, rev, state } => {
            let result = site.update(ticket, rev, Some(state));
            let taken = model.taken.entry(ticket).or_default();
            match result {
                UpdateResult::Applied { .. } | UpdateResult::AppliedLate | UpdateResult::Merged { .. } => {
                    assert!(taken.insert(rev), "update {rev} of ticket {ticket} counted twice");
                }
                UpdateResult::Duplicate => assert!(taken.contains(&rev), "update {rev} of ticket {ticket} was lost"),
                UpdateResult::NoSuchTicket => {}
                UpdateResult::Superseded { .. } | UpdateResult::Refused(_) => panic!("{result:?}"),
            }
        }
        Happening::Pass(seconds) => site.pass(seconds),
        Happening::Restart => site.restart(),
        Happening::PowerCut { seconds, clock } => {
            site.power_cut(seconds, if clock { Trust::Synchronised } else { Trust::Unset });
        }
        Happening::StepClock(seconds) => site.step_clock(seconds),
        Happening::Mode(online) => site.mode(if online { Mode::Online } else { Mode::Degraded }),
        Happening::OutputsDead(dead) => site.dead = if dead { vec![0, 1, 3] } else { Vec::new() },
    }
}

fn check(site: &TestBox) {
    let views = site.tickets.list(site.now, None, 10_000);
    let mut live = BTreeSet::new();
    for view in views.iter().filter(|view| !view.state.is_finished()) {
        assert!(live.insert(view.cause.clone()), "two open tickets for {}", view.cause);
    }
    let listed: usize = views
        .iter()
        .filter(|view| !view.state.is_finished())
        .filter_map(|view| view.children.as_ref())
        .map(|children| children.count)
        .sum();
    let kept = site.kept.keys().filter(|key| key.starts_with("ticket-child/")).count();
    assert!(listed <= kept, "{listed} children are listed, {kept} are kept");
}

/// Numbers are given once, revisions follow each other, and each clock is breached once unless its ticket was reopened.
fn check_events(site: &TestBox) {
    let (mut opened, mut revs, mut breached) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for (kind, json) in &site.events {
        let Some(ticket) = json["ticket"].as_u64() else { continue };
        if json["change"] == "opened" {
            assert!(opened.insert(ticket), "number {ticket} was given twice");
        }
        if *kind == "ticket_sla" {
            assert!(breached.insert((ticket, json["which"].to_string())), "ticket {ticket} was breached twice: {json}");
        }
        if json["change"] == "reopened" {
            breached.remove(&(ticket, "\"response\"".to_owned()));
        }
        if let Some(rev) = json["box_rev"].as_u64() {
            let last = revs.insert(ticket, rev);
            assert!(last.is_none_or(|last| rev == last + 1), "{kind}: revision {rev} of {ticket} after {last:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn one_open_ticket_per_cause_no_number_twice_and_each_update_once(
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let mut site = TestBox::at(9, 0);
        let mut model = Model::default();
        for happening in happenings {
            play(&mut site, &mut model, happening);
            check(&site);
        }
        check_events(&site);
        site.dead.clear();
        for number in site.tickets.list(site.now, None, 100).iter().map(|view| view.ticket).collect::<Vec<_>>() {
            site.update(number, 1_000, Some(TicketState::Done));
        }
        site.pass(120);
        prop_assert!(!site.outputs.values().any(|on| *on), "an output is on without a reason");
    }

    #[test]
    fn a_restart_at_any_time_changes_nothing_that_can_be_seen(
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let mut site = TestBox::at(9, 0);
        let mut model = Model::default();
        // An output that is dead is tried again at once after a restart, which may be seen.
        for happening in happenings.into_iter().filter(|one| !matches!(one, Happening::OutputsDead(_))) {
            play(&mut site, &mut model, happening);
            site.pass(0);
            let before = site.tickets.list(site.now, None, 100);
            site.restart();
            site.pass(0);
            prop_assert_eq!(&site.tickets.list(site.now, None, 100), &before);
        }
    }
}

#[test]
fn a_suppressed_state_is_never_taken_for_an_occurrence() {
    let mut site = TestBox::at(9, 0);
    site.suppress("device_offline/meter-1", "bus_offline/bus-1");
    let change = site.change("device_offline/meter-1", AlarmState::Suppressed, AlarmState::Normal, false);
    site.tell(&change);
    assert!(site.tickets.list(site.now, None, 10).is_empty());
}
