//! What the core has been told of passages, alarms and tickets, and whether it can all be true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::receive::Record;

/// The books of the core, shared between the receiver and who shows them.
#[derive(Debug, Clone, Default)]
pub(super) struct Books(Arc<Mutex<Pages>>);

/// One passage, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) gate: String,
    pub(super) decision: String,
    pub(super) decided_by: String,
    /// Whose credential it was; empty where none was shown.
    pub(super) who: String,
    pub(super) verified: bool,
}

/// Everything that was told, each by its number in its lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    /// By request.
    pub(super) passages: BTreeMap<u64, Passage>,
    /// Requests that were told more than once.
    told_twice: BTreeSet<u64>,
    /// By number: the alarm, the state that it left, the one that it went to.
    alarms: BTreeMap<u64, (String, String, String)>,
    /// By number: the ticket and its revision.
    tickets: BTreeMap<u64, (u64, u64)>,
    /// By ticket: the alarm that it is for, where it was opened.
    causes: BTreeMap<u64, String>,
    unreadable: u64,
}

impl Books {
    /// Looks at the pages.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Pages) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn text(data: &Value, key: &str) -> Option<String> {
    Some(data.get(key)?.as_str()?.to_owned())
}

impl Pages {
    /// Enters an event that came for the first time.
    pub(super) fn enter(&mut self, lane: &str, event: &str, record: &Record<'_>) {
        let data = &record.data;
        let entered = match (lane, event) {
            ("passages", "passage") => self.enter_passage(data),
            ("alarms", "alarm") => self.enter_alarm(record.seq, data),
            ("tickets", "ticket" | "ticket_sla" | "ticket_escalation") => self.enter_ticket(record.seq, data),
            _ => Some(()),
        };
        self.unreadable += u64::from(entered.is_none());
    }

    fn enter_passage(&mut self, data: &Value) -> Option<()> {
        let request = data.get("request")?.as_u64()?;
        let passage = Passage {
            gate: text(data, "gate")?,
            decision: text(data, "decision")?,
            decided_by: text(data, "decided_by").unwrap_or_default(),
            who: text(data, "who").unwrap_or_default(),
            verified: data.get("verified").and_then(Value::as_bool).unwrap_or(false),
        };
        if self.passages.insert(request, passage).is_some() {
            self.told_twice.insert(request);
        }
        Some(())
    }

    fn enter_alarm(&mut self, seq: u64, data: &Value) -> Option<()> {
        // One event may sum up what a chattering alarm did: where it was before is then not known.
        let from = if data.get("collapsed").is_some() { String::new() } else { text(data, "from")? };
        self.alarms.insert(seq, (text(data, "alarm")?, from, text(data, "to")?));
        Some(())
    }

    fn enter_ticket(&mut self, seq: u64, data: &Value) -> Option<()> {
        let ticket = data.get("ticket")?.as_u64()?;
        self.tickets.insert(seq, (ticket, data.get("box_rev")?.as_u64()?));
        if text(data, "change").as_deref() == Some("opened") {
            self.causes.insert(ticket, text(data, "cause")?);
        }
        Some(())
    }

    /// Passages of a gate that a sensor saw.
    pub(super) fn seen_at(&self, gate: &str) -> u64 {
        self.passages.values().filter(|passage| passage.gate == gate && passage.verified).map(|_| 1).sum()
    }

    /// How many passages were granted, by who decided.
    pub(super) fn granted(&self) -> BTreeMap<&str, u64> {
        let mut by = BTreeMap::new();
        for passage in self.passages.values().filter(|passage| passage.decision == "granted") {
            *by.entry(passage.decided_by.as_str()).or_default() += 1;
        }
        by
    }

    /// Whether the request was granted, and somebody was seen to pass.
    pub(super) fn let_in(&self, request: u64) -> bool {
        self.passages.get(&request).is_some_and(|passage| passage.decision == "granted" && passage.verified)
    }

    /// How often somebody by this name was granted to pass a gate, and was seen to.
    pub(super) fn let_through(&self, gate: &str, who: &str) -> usize {
        let theirs = self.passages.values().filter(|passage| passage.gate == gate && passage.who == who);
        theirs.filter(|passage| passage.decision == "granted" && passage.verified).count()
    }

    /// How many alarms went through how many transitions.
    pub(super) fn alarms(&self) -> (usize, usize) {
        let names: BTreeSet<&str> = self.alarms.values().map(|(alarm, ..)| alarm.as_str()).collect();
        (names.len(), self.alarms.len())
    }

    /// How many tickets were told in how many events.
    pub(super) fn tickets(&self) -> (usize, usize) {
        let numbers: BTreeSet<u64> = self.tickets.values().map(|(ticket, _)| *ticket).collect();
        (numbers.len(), self.tickets.len())
    }

    /// How many tickets were opened for an alarm.
    pub(super) fn opened_for(&self, cause: &str) -> usize {
        self.causes.values().filter(|known| *known == cause).count()
    }

    /// The last that was told of a ticket; 0: nothing.
    pub(super) fn revision(&self, ticket: u64) -> u64 {
        self.tickets.values().filter(|(known, _)| *known == ticket).map(|(_, rev)| *rev).max().unwrap_or(0)
    }

    /// Where an alarm was last.
    pub(super) fn state(&self, alarm: &str) -> Option<&str> {
        self.alarms.values().rev().find(|(known, ..)| known == alarm).map(|(.., to)| to.as_str())
    }

    /// What cannot be true, in sentences. To be asked once everything has come.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        if self.unreadable > 0 {
            found.push(format!("{} events are not what the documentation says", self.unreadable));
        }
        found.extend(self.told_twice.iter().map(|request| format!("the passage of request {request} came twice")));
        let mut states: BTreeMap<&str, &str> = BTreeMap::new();
        for (alarm, from, to) in self.alarms.values() {
            let before = states.insert(alarm, to);
            // An alarm at rest is suppressed and released with its cause, without a word.
            let silent = |state: &str| matches!(state, "" | "suppressed");
            if let Some(before) = before.filter(|before| before != from && !silent(from) && !silent(before)) {
                found.push(format!("the alarm {alarm} left {from}, and was told to be {before}"));
            }
        }
        let mut revisions: BTreeMap<u64, u64> = BTreeMap::new();
        for (ticket, rev) in self.tickets.values() {
            let before = revisions.insert(*ticket, *rev).unwrap_or(0);
            if *rev != before + 1 {
                found.push(format!("of ticket {ticket}, revision {rev} follows on {before}"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn enter(pages: &mut Pages, lane: &str, event: &str, seq: u64, data: &Value) {
        let text = json!({ "seq": seq, "time": "2026-11-23T10:00:00Z", "event": event, "data": data }).to_string();
        let record: Record<'_> = serde_json::from_str(&text).unwrap();
        pages.enter(lane, event, &record);
    }

    fn passage(request: u64, decision: &str, verified: bool) -> Value {
        json!({
            "request": request, "gate": "entry", "decision": decision, "decided_by": "box", "who": "resident-001",
            "verified": verified
        })
    }

    #[test]
    fn a_passage_that_comes_under_two_numbers_is_told() {
        let mut pages = Pages::default();
        enter(&mut pages, "passages", "passage", 1, &passage(7, "granted", true));
        enter(&mut pages, "passages", "passage", 2, &passage(8, "refused", false));
        assert_eq!((pages.seen_at("entry"), pages.let_in(7), pages.let_in(8)), (1, true, false));
        assert_eq!(pages.granted(), BTreeMap::from([("box", 1)]));
        let through = |who| pages.let_through("entry", who);
        assert_eq!((through("resident-001"), through("resident-002")), (1, 0));
        assert!(pages.contradictions().is_empty());
        enter(&mut pages, "passages", "passage", 3, &passage(7, "granted", true));
        assert_eq!(pages.contradictions(), ["the passage of request 7 came twice"]);
    }

    #[test]
    fn backfill_that_comes_after_live_is_put_in_its_place() {
        let mut pages = Pages::default();
        let alarm = |from: &str, to: &str| json!({ "alarm": "a/b", "from": from, "to": to });
        enter(&mut pages, "alarms", "alarm", 2, &alarm("unacknowledged", "normal"));
        enter(&mut pages, "alarms", "alarm", 1, &alarm("normal", "unacknowledged"));
        assert_eq!((pages.contradictions().len(), pages.state("a/b"), pages.alarms()), (0, Some("normal"), (1, 2)));
        enter(&mut pages, "alarms", "alarm", 3, &alarm("acknowledged", "normal"));
        assert_eq!(pages.contradictions(), ["the alarm a/b left acknowledged, and was told to be normal"]);
    }

    #[test]
    fn a_ticket_s_missing_revision_is_told() {
        let mut pages = Pages::default();
        enter(
            &mut pages,
            "tickets",
            "ticket",
            1,
            &json!({ "ticket": 1, "box_rev": 1, "change": "opened", "cause": "a/b" }),
        );
        enter(&mut pages, "tickets", "ticket_sla", 2, &json!({ "ticket": 1, "box_rev": 2 }));
        assert_eq!((pages.opened_for("a/b"), pages.revision(1), pages.contradictions().len()), (1, 2, 0));
        enter(&mut pages, "tickets", "ticket", 3, &json!({ "ticket": 1, "box_rev": 4, "change": "updated" }));
        assert_eq!(pages.contradictions(), ["of ticket 1, revision 4 follows on 2"]);
        enter(&mut pages, "tickets", "ticket", 4, &json!({ "box_rev": 5 }));
        assert_eq!(pages.contradictions()[0], "1 events are not what the documentation says");
    }
}
