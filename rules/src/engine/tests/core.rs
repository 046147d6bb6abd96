//! The core: takes what travels, each record once, and builds its own view of the site from nothing else.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::Lane;
use serde_json::Value as Json;

use super::shell::Told;
use crate::engine::Engine;
use crate::words::AlarmState;

/// How a command ends at the door, however often it comes.
const DOOR: [&str; 7] = [
    "refused early",
    "refused expired",
    "refused forgotten",
    "refused clock_unset",
    "refused retained",
    "refused local_only",
    "refused signature_required",
];

/// What the core knows of one alarm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alarm {
    pub(super) state: String,
    pub(super) active: bool,
    pub(super) occurrence: Option<u64>,
}

/// The core's view.
#[derive(Debug, Default)]
pub(super) struct Core {
    seen: BTreeSet<(Lane, u64)>,
    pub(super) alarms: BTreeMap<String, Alarm>,
    occurrences: BTreeSet<u64>,
    /// The last event of each ticket that shows it whole.
    pub(super) tickets: BTreeMap<u64, Json>,
    pub(super) revisions: BTreeMap<u64, u64>,
    updates: BTreeSet<(u64, String)>,
    /// Passage records by request.
    pub(super) passages: BTreeMap<u64, Json>,
    /// Which request each command made.
    pub(super) by_command: BTreeMap<String, u64>,
    /// How each command ended.
    pub(super) outcomes: BTreeMap<String, String>,
    /// Modes, in order.
    pub(super) modes: Vec<String>,
}

impl Core {
    /// A record comes, maybe not for the first time.
    pub(super) fn receive(&mut self, told: &Told) {
        if !self.seen.insert((told.lane, told.seq)) {
            return;
        }
        assert!(told.seq == 1 || self.seen.contains(&(told.lane, told.seq - 1)), "a record is missing: {told:?}");
        // What tells the core nothing here is not worth its parsing.
        let tells = match told.kind {
            "alarm" | "ticket" | "ticket_sla" | "ticket_escalation" | "passage" | "mode" => true,
            "command" => told.json.contains(r#""last":true"#),
            _ => false,
        };
        if !tells {
            return;
        }
        let json: Json = serde_json::from_str(&told.json).unwrap();
        match told.kind {
            "alarm" => self.alarm(&json),
            "ticket" | "ticket_sla" | "ticket_escalation" => self.ticket(told.kind, &json),
            "passage" => {
                let request = json["request"].as_u64().unwrap();
                if let Some(command) = json["facts"]["command"].as_str() {
                    let before = self.by_command.insert(command.to_owned(), request);
                    assert_eq!(before, None, "a command made two passages: {json}");
                }
                let before = self.passages.insert(request, json);
                assert_eq!(before, None, "a passage came twice");
            }
            "command" if json["last"] == true && json["repeat"] != true => self.ended(&json),
            "mode" => self.modes.push(text(&json["to"])),
            _ => {}
        }
    }

    fn alarm(&mut self, json: &Json) {
        let id = text(&json["alarm"]);
        let known = self.alarms.get(&id).map_or("normal", |alarm| &alarm.state);
        assert_eq!(json["from"], known, "a transition was lost or came twice: {json}");
        let occurrence = json["occurrence"].as_u64();
        let raises = json["to"] == "unacknowledged" && (json["from"] != json["to"] || json["change"] == "re_alarm");
        if raises && json["collapsed"].is_null() {
            assert!(self.occurrences.insert(occurrence.unwrap()), "an occurrence has no number of its own: {json}");
        }
        let alarm = Alarm { state: text(&json["to"]), active: json["active"] == true, occurrence };
        self.alarms.insert(id, alarm);
    }

    fn ticket(&mut self, kind: &str, json: &Json) {
        // Without a revision it is about an output, which may be that of several tickets.
        let Some(revision) = json["box_rev"].as_u64() else { return assert_ne!(kind, "ticket", "{json}") };
        let number = json["ticket"].as_u64().unwrap();
        let before = self.revisions.insert(number, revision).unwrap_or_default();
        assert_eq!(revision, before + 1, "an event of a ticket was lost or came twice: {json}");
        if kind != "ticket" {
            return;
        }
        if let Some(update) = json["update"]["id"].as_str() {
            assert!(self.updates.insert((number, update.to_owned())), "an update was applied twice: {json}");
        }
        self.tickets.insert(number, json.clone());
        let of_cause = self.tickets.values().filter(|other| other["cause"] == json["cause"] && is_open(other));
        assert!(of_cause.count() <= 1, "a cause has two tickets: {json}");
    }

    fn ended(&mut self, json: &Json) {
        let Some(id) = json["id"].as_str() else { return };
        let outcome = format!("{} {}", text(&json["step"]), json["reason"].as_str().unwrap_or_default());
        let known = self.outcomes.get(id);
        // An id that was forgotten comes late and is refused at the door, which does not change how it ended.
        if known.is_some() && DOOR.contains(&&*outcome) {
            return;
        }
        // A STOP too many is better than one too few: it is taken even where its id was refused and forgotten.
        let stops = json["action"] == "stop" && known.is_some_and(|known| DOOR.contains(&&**known));
        assert!(known.is_none() || stops, "a command ended twice: {json}, {known:?}");
        self.outcomes.insert(id.to_owned(), outcome.trim_end().to_owned());
    }

    /// The tickets that are not finished.
    pub(super) fn open_tickets(&self) -> Vec<&Json> {
        self.tickets.values().filter(|ticket| is_open(ticket)).collect()
    }

    /// The core, having received everything, knows the site as the box does.
    pub(super) fn agrees_with(&self, engine: &Engine, now: gatehouse_core::Stamp) {
        for view in engine.alarms().list() {
            let known = self.alarms.get(&view.id.to_string());
            let state = known.map_or("normal", |alarm| &alarm.state);
            let at_rest = !view.active && state == "normal" && view.state == AlarmState::Suppressed;
            assert!(at_rest || serde_json::json!(view.state) == state, "{view:?} is {known:?} at the core");
            assert_eq!(known.is_some_and(|alarm| alarm.active), view.active, "{view:?}");
        }
        let shown = engine.tickets().list(now, None, usize::MAX);
        for view in &shown {
            let known = self.tickets.get(&view.ticket).unwrap_or_else(|| panic!("the core has no {view:?}"));
            assert_eq!(self.revisions.get(&view.ticket), Some(&view.box_rev), "{view:?}");
            let view = serde_json::to_value(view).unwrap();
            for field in ["state", "cause", "occurrence", "occurrences", "children", "core_rev", "into"] {
                assert_eq!(known[field], view[field], "{field} of {view}");
            }
        }
        let of_box = shown.iter().filter(|view| !view.state.is_finished()).count();
        assert_eq!(self.open_tickets().len(), of_box, "the core holds tickets open that the box does not");
    }
}

fn is_open(ticket: &Json) -> bool {
    !matches!(ticket["state"].as_str(), Some("done" | "rejected" | "merged"))
}

fn text(json: &Json) -> String {
    json.as_str().unwrap().to_owned()
}
