//! What is decided on the box, as documents of the API.

use gatehouse_core::Stamp;
use gatehouse_rules::alarm::AlarmView;
use gatehouse_rules::ticket::GuardMessage;
use gatehouse_rules::words::AlarmState;
use gatehouse_rules::{Catalog, Engine};
use serde_json::{Value, json};

use super::report::rfc3339;
use super::run::Daemon;
use crate::api::{Part, doc};

/// So many tickets are shown, the newest first.
const TICKETS_SHOWN: usize = 200;

impl Daemon {
    /// One part of what is decided.
    pub fn decided(&self, part: Part) -> Value {
        let now = self.hub.clock.now();
        self.hub.look(|engine| match part {
            Part::Alarms => alarms(engine, &now),
            Part::Mode => mode(engine),
            Part::Tickets => json!(engine.tickets().list(now, None, TICKETS_SHOWN)),
            Part::Gates => json!(engine.gates().list(now.mono)),
            Part::Controllers => json!(engine.controllers().view()),
            Part::Access => super::entrance::document(engine),
        })
    }
}

impl Daemon {
    /// What stands on the guard's status, the most urgent first.
    pub(super) fn guard(&self) -> Vec<doc::GuardMessage> {
        let messages = self.hub.look(|engine| engine.tickets().guard_messages());
        messages.into_iter().take(TICKETS_SHOWN).map(guard_message).collect()
    }
}

fn guard_message(message: GuardMessage) -> doc::GuardMessage {
    let place = [message.place.building, message.place.floor, message.place.room];
    let place: Vec<String> = place.into_iter().filter(|part| !part.is_empty()).collect();
    doc::GuardMessage {
        ticket: message.ticket,
        priority: message.priority.as_str().to_owned(),
        title: message.title,
        message: message.message,
        instruction: message.instruction,
        place: place.join(", "),
        since: rfc3339(Stamp::from(message.since).wall),
        drill: message.drill,
    }
}

/// The alarms that are not at rest, the most urgent and the newest first.
fn alarms(engine: &Engine, now: &Stamp) -> Value {
    let at_rest = |view: &AlarmView| {
        view.state == AlarmState::Normal && !view.pending || view.state == AlarmState::Suppressed && !view.active
    };
    let mut views: Vec<AlarmView> = engine.alarms().list().filter(|view| !at_rest(view)).collect();
    views.sort_by_key(|view| (view.priority, std::cmp::Reverse(view.since.map(|since| since.mono))));
    views.iter().map(|view| alarm(engine.catalog(), view, now)).collect()
}

fn alarm(catalog: &Catalog, view: &AlarmView, now: &Stamp) -> Value {
    json!({
        "alarm": view.id.to_string(),
        "state": view.state,
        "active": view.active,
        "pending": view.pending,
        "occurrence": view.occurrence,
        "priority": view.priority,
        "since": view.since.map(|since| rfc3339(since.wall)),
        "message": view.message,
        "instruction": view.instruction,
        "device": view.device.and_then(|ix| catalog.device(ix)).map(|device| device.id.to_string()),
        "acknowledged_by": view.acknowledged.as_ref().map(|note| note.who.clone()),
        "shelved_by": view.shelved.as_ref().map(|(note, _)| note.who.clone()),
        "shelved_for_s": view.shelved.as_ref().map(|(_, until)| now.mono.until(*until).as_secs()),
        "out_of_service_by": view.out_of_service.as_ref().map(|note| note.who.clone()),
        "suppressed_by": view.suppressed_by.as_ref().map(ToString::to_string),
        "chattering": view.chattering,
        "occurrences": view.occurrences,
        "drill": view.drill,
    })
}

fn mode(engine: &Engine) -> Value {
    let outage = engine.modes().outage();
    json!({
        "mode": engine.mode().as_str(),
        "outage": outage.map(|outage| outage.number),
        "cause": outage.map(|outage| outage.cause),
        "rule_version": engine.version(),
        "evaluations": engine.evaluations(),
    })
}
