//! A box for tests: it keeps what tickets keep, answers their acts, and can lose its power at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{BootId, DeviceIx, Lane, Mono, Name, NoData, PointIx, Stamp, Trust, Value, Wall};
use jiff::tz::{TimeZone, offset};
use serde_json::Value as Json;

use super::*;
use crate::schedule::Calendar;
use crate::words::{AlarmChange, AlarmId, AlarmState, Mode, Occurrence, Priority};
use crate::{ActId, ActResult, Effect, PointRef};

/// Midnight before Monday, 7 June 2027, at the site.
const MIDNIGHT_S: i64 = 1_812_297_600;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn alarm(text: &str) -> AlarmId {
    text.to_owned().try_into().unwrap()
}

/// A lamp at output `point` of the relay board.
pub(super) fn lamp(text: &str, point: u16) -> OutputRef {
    OutputRef::point(name(text), PointRef { device: DeviceIx(7), point: PointIx(point) })
}

pub(super) fn step(after_s: u64, outputs: Vec<OutputRef>, when: When) -> EscalationStep {
    EscalationStep { after: Duration::from_secs(after_s), outputs, guard_message: true, when }
}

/// The site of the tests: meters with nightly quiet hours, lifts with a lamp and a horn.
pub(super) fn rules() -> TicketRules {
    let mut rules = TicketRules::new(Calendar::weekdays_only(), TimeZone::fixed(offset(8)));
    rules.quiet.insert("electrical".to_owned(), "daily 22:00-06:00".parse().unwrap());
    let targets = |response, resolve| Targets { response_min: Some(response), resolve_min: Some(resolve) };
    let targets = [
        (Priority::P0, targets(5, 60)),
        (Priority::P1, targets(30, 240)),
        (Priority::P2, targets(60, 480)),
        (Priority::P3, targets(240, 2880)),
    ];
    let meter = TicketKind {
        category: "electrical".to_owned(),
        targets: targets.into_iter().collect(),
        suggestion: "Check the breaker".to_owned(),
        escalation: vec![step(1800, vec![lamp("desk-lamp", 0)], When::Always)],
        ..TicketKind::default()
    };
    let horn =
        Action::Call { command: name("pulse"), channel: Some(2), argument: gatehouse_core::driver::Argument::None };
    let horn = OutputRef { name: name("horn"), device: DeviceIx(8), drive: Drive::Pulse(horn) };
    let lift = TicketKind {
        title: "Somebody is trapped in a lift".to_owned(),
        category: "electrical".to_owned(),
        targets: meter.targets.clone(),
        escalation: vec![
            step(60, vec![lamp("lift-lamp", 1)], When::Always),
            step(120, vec![horn], When::Always),
            step(30, vec![lamp("outage-lamp", 3)], When::Offline),
        ],
        ..TicketKind::default()
    };
    rules.kinds.insert(name("meter"), meter);
    rules.kinds.insert(name("lift"), lift);
    rules
}

/// A device is where its number says.
pub(super) struct Site;

impl Evidence for Site {
    fn place(&self, device: DeviceIx) -> Place {
        Place { building: "3".to_owned(), floor: device.0.to_string(), room: String::new() }
    }

    fn device(&self, device: DeviceIx) -> Option<TicketDevice> {
        Some(TicketDevice { id: format!("meter-{}", device.0), title: String::new() })
    }

    fn readings(&self, _: DeviceIx) -> Vec<EvidenceReading> {
        vec![EvidenceReading { point: "voltage".to_owned(), value: "timeout".to_owned(), age_s: 3 }]
    }

    fn frames(&self, _: DeviceIx) -> Vec<String> {
        vec!["> 01 03 00 00 00 02 C4 0B".to_owned()]
    }
}

/// The box.
pub(super) struct TestBox {
    pub(super) now: Stamp,
    pub(super) tickets: Tickets,
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    pub(super) events: Vec<(&'static str, Json)>,
    /// What each output was last told, by its point; calls are counted.
    pub(super) outputs: BTreeMap<u16, bool>,
    pub(super) calls: usize,
    pub(super) urgent: usize,
    /// Outputs of these points do not answer.
    pub(super) dead: Vec<u16>,
    /// Calls do not answer.
    pub(super) dead_calls: bool,
    occurrence: u64,
    boots: u128,
}

impl TestBox {
    /// A box that comes up on Monday at this hour and minute, its clock set.
    pub(super) fn at(hour: i64, minute: i64) -> Self {
        let now = Stamp {
            boot: BootId(1),
            mono: Mono::from_millis(5_000),
            wall: Wall((MIDNIGHT_S + hour * 3600 + minute * 60) * 1_000_000),
            trust: Trust::Synchronised,
        };
        TestBox {
            now,
            tickets: Tickets::new(rules(), ActId(0)),
            kept: BTreeMap::new(),
            events: Vec::new(),
            outputs: BTreeMap::new(),
            calls: 0,
            urgent: 0,
            dead: Vec::new(),
            dead_calls: false,
            occurrence: 0,
            boots: 1,
        }
    }

    /// Does what the tickets want, until they want nothing more.
    pub(super) fn drain(&mut self) {
        for _ in 0..10_000 {
            let Some(effect) = self.tickets.poll_effect() else { return };
            match effect {
                Effect::Keep { key, value } => {
                    assert!(key.len() <= 256, "{key}");
                    match value {
                        Some(value) => {
                            assert!(value.len() <= 12 << 10, "{key}: {} bytes", value.len());
                            self.kept.insert(key.into(), value.into());
                        }
                        None => drop(self.kept.remove(&*key)),
                    }
                }
                Effect::Event { lane, event, .. } => {
                    assert_eq!(lane, Lane::Tickets);
                    assert!(event.json.len() <= 12 << 10, "{}: {} bytes", event.kind, event.json.len());
                    self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                }
                Effect::Act(act) => {
                    self.urgent += usize::from(act.urgent);
                    let answers = match act.action {
                        Action::Write(point, Value::Bool(on)) if !self.dead.contains(&point.0) => {
                            self.outputs.insert(point.0, on);
                            true
                        }
                        Action::Call { .. } => {
                            self.calls += 1;
                            !self.dead_calls
                        }
                        _ => false,
                    };
                    let result = if answers { ActResult::Verified } else { ActResult::Failed(NoData::Timeout) };
                    assert!(self.tickets.handle_act_result(self.now, act.id, &result));
                }
            }
        }
        panic!("the tickets never rest");
    }

    /// Lets time pass, going from one wanted time to the next.
    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        for _ in 0..100_000 {
            let next = self.tickets.poll_timeout().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.go_to(next.max(self.now.mono));
            self.tickets.handle_timeout(self.now);
            self.drain();
        }
        assert!(self.tickets.poll_timeout().is_none_or(|at| at > end), "the tickets are never content");
        self.go_to(end);
    }

    fn go_to(&mut self, at: Mono) {
        let passed = i64::try_from(at.since(self.now.mono).as_micros()).unwrap();
        self.now.wall.0 += passed;
        self.now.mono = at;
    }

    pub(super) fn step_clock(&mut self, seconds: i64) {
        self.now.wall.0 += seconds * 1_000_000;
        self.tickets.handle_clock(self.now);
        self.drain();
    }

    /// The daemon is killed and comes back; the kernel goes on.
    pub(super) fn restart(&mut self) {
        self.tickets = Tickets::new(rules(), ActId(0));
        for (key, value) in &self.kept {
            assert!(self.tickets.restore(key, value), "{key}");
        }
        assert_eq!(self.tickets.counts().unreadable, 0);
    }

    /// The power fails for a while.
    pub(super) fn power_cut(&mut self, seconds: i64, trust: Trust) {
        self.boots += 1;
        self.now.wall.0 += seconds * 1_000_000;
        self.now = Stamp { boot: BootId(self.boots), mono: Mono::from_millis(20_000), trust, ..self.now };
        self.restart();
    }

    /// An alarm went from one state to another.
    pub(super) fn change(&mut self, id: &str, from: AlarmState, to: AlarmState, active: bool) -> AlarmChange {
        self.occurrence += u64::from(to == AlarmState::Unacknowledged);
        AlarmChange {
            id: alarm(id),
            occurrence: Occurrence(self.occurrence),
            from,
            to,
            active,
            at: self.now,
            priority: Priority::P2,
            message: format!("{id} is in trouble"),
            instruction: String::new(),
            device: Some(DeviceIx(4)),
            cause: None,
            ticket: Some(name("meter")),
            drill: false,
        }
    }

    pub(super) fn tell(&mut self, change: &AlarmChange) {
        self.tickets.handle_alarm(self.now, change, &Site);
        self.drain();
    }

    pub(super) fn raise(&mut self, id: &str) {
        let change = self.change(id, AlarmState::Normal, AlarmState::Unacknowledged, true);
        self.tell(&change);
    }

    pub(super) fn raise_as(&mut self, id: &str, edit: impl FnOnce(&mut AlarmChange)) {
        let mut change = self.change(id, AlarmState::Normal, AlarmState::Unacknowledged, true);
        edit(&mut change);
        self.tell(&change);
    }

    pub(super) fn clear(&mut self, id: &str) {
        let change = self.change(id, AlarmState::Unacknowledged, AlarmState::ReturnedUnacknowledged, false);
        self.tell(&change);
    }

    pub(super) fn suppress(&mut self, id: &str, cause: &str) {
        let mut change = self.change(id, AlarmState::Normal, AlarmState::Suppressed, true);
        change.occurrence = Occurrence(0);
        change.cause = Some(alarm(cause));
        self.tell(&change);
    }

    pub(super) fn update(&mut self, ticket: u64, rev: u64, state: Option<TicketState>) -> UpdateResult {
        let update = Update {
            ticket,
            id: format!("core-{rev}"),
            rev,
            seen_box_rev: None,
            core_number: None,
            state,
            assignee: None,
        };
        let result = self.tickets.handle_update(self.now, &update);
        self.drain();
        result
    }

    pub(super) fn mode(&mut self, mode: Mode) {
        self.tickets.handle_mode(self.now, mode);
        self.drain();
    }

    pub(super) fn view(&self, ticket: u64) -> TicketView {
        self.tickets.view(self.now, ticket).unwrap()
    }

    /// Changes that were told of a ticket.
    pub(super) fn changes(&self, ticket: u64) -> Vec<String> {
        let told = self.events.iter().filter(|(kind, json)| *kind == "ticket" && json["ticket"] == ticket);
        told.map(|(_, json)| json["change"].as_str().unwrap().to_owned()).collect()
    }

    /// Events of a kind, by one field.
    pub(super) fn told(&self, kind: &str, field: &str) -> Vec<String> {
        let events = self.events.iter().filter(|(of, _)| *of == kind);
        events.map(|(_, json)| json[field].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub(super) fn is_on(&self, point: u16) -> bool {
        self.outputs.get(&point).copied().unwrap_or(false)
    }
}
