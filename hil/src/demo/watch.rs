//! What changed from one look at the gateway to the next, as lines for people.

use std::collections::BTreeMap;

use crate::rig::{AlarmStatus, Decided, GateStatus, TicketStatus};

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Watch {
    gates: BTreeMap<String, String>,
    alarms: BTreeMap<String, String>,
    tickets: BTreeMap<u64, String>,
    mode: String,
}

/// A gate's state in few words.
pub(super) fn gate_words(gate: &GateStatus) -> String {
    let mut words = gate.state.replace('_', " ");
    let conditions = gate.conditions.iter().map(|class| class.trim_start_matches("gate_").replace('_', " "));
    for condition in conditions.filter(|condition| *condition != gate.state.replace('_', " ")) {
        words = format!("{words}, {condition}");
    }
    words
}

/// A ticket's state in few words.
pub(super) fn ticket_words(ticket: &TicketStatus) -> String {
    let number = ticket.core_number.as_ref().map(|number| format!(", {number}")).unwrap_or_default();
    let proposed = if ticket.close_proposed && ticket.is_open() { ", to be closed" } else { "" };
    format!("{}{number}{proposed}", ticket.state.replace('_', " "))
}

fn alarm_words(alarm: &AlarmStatus) -> String {
    alarm.state.replace('_', " ")
}

impl Watch {
    /// One line for each change.
    pub(super) fn changes(&mut self, decided: &Decided) -> Vec<String> {
        let mut lines = Vec::new();
        for gate in &decided.gates {
            let words = gate_words(gate);
            let before = self.gates.insert(gate.id.clone(), words.clone());
            if before.as_ref() != Some(&words) {
                lines.push(format!("gate {}: {words}", gate.id));
            }
        }
        self.alarm_changes(&decided.alarms, &mut lines);
        for ticket in &decided.tickets {
            let words = ticket_words(ticket);
            let before = self.tickets.insert(ticket.ticket, words.clone());
            if before.as_ref() != Some(&words) {
                lines.push(format!("ticket {} {}: {} ({words})", ticket.ticket, ticket.cause, ticket.title));
            }
        }
        let mode = &decided.mode;
        if !mode.mode.is_empty() && mode.mode != self.mode {
            let cause = mode.cause.as_ref().map(|cause| format!(" ({})", cause.replace('_', " "))).unwrap_or_default();
            lines.push(format!("mode {}{cause}", mode.mode));
            self.mode.clone_from(&mode.mode);
        }
        lines
    }

    fn alarm_changes(&mut self, alarms: &[AlarmStatus], lines: &mut Vec<String>) {
        // A rising one is none yet.
        let shown = alarms.iter().filter(|alarm| alarm.state != "normal");
        let now: BTreeMap<String, String> =
            shown.clone().map(|alarm| (alarm.alarm.clone(), alarm_words(alarm))).collect();
        for alarm in shown.filter(|alarm| self.alarms.get(&alarm.alarm) != now.get(&alarm.alarm)) {
            lines.push(format!("alarm {}: {} ({})", alarm.alarm, alarm_words(alarm), alarm.message));
        }
        let gone = self.alarms.keys().filter(|alarm| !now.contains_key(*alarm));
        lines.extend(gone.map(|alarm| format!("alarm {alarm}: normal")));
        self.alarms = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::ModeStatus;

    #[test]
    fn each_change_is_one_line_and_what_stays_is_none() {
        let mut watch = Watch::default();
        let gate = GateStatus { id: "entry".to_owned(), state: "open".to_owned(), ..GateStatus::default() };
        let alarm = AlarmStatus {
            alarm: "overvoltage/m".to_owned(),
            state: "unacknowledged".to_owned(),
            message: "257 V".to_owned(),
            ..AlarmStatus::default()
        };
        let ticket = TicketStatus {
            ticket: 1,
            state: "open".to_owned(),
            cause: "device_offline/p".to_owned(),
            title: "The device does not answer".to_owned(),
            ..TicketStatus::default()
        };
        let mode = ModeStatus { mode: "degraded".to_owned(), cause: Some("link_down".to_owned()) };
        let mut decided =
            Decided { gates: vec![gate], alarms: vec![alarm], tickets: vec![ticket], mode, ..Decided::default() };
        let lines = [
            "gate entry: open",
            "alarm overvoltage/m: unacknowledged (257 V)",
            "ticket 1 device_offline/p: The device does not answer (open)",
            "mode degraded (link down)",
        ];
        assert_eq!(watch.changes(&decided), lines);
        assert!(watch.changes(&decided).is_empty());
        decided.alarms.clear();
        decided.gates[0].conditions.push("gate_held_open".to_owned());
        decided.tickets[0].close_proposed = true;
        let lines = [
            "gate entry: open, held open",
            "alarm overvoltage/m: normal",
            "ticket 1 device_offline/p: The device does not answer (open, to be closed)",
        ];
        assert_eq!(watch.changes(&decided), lines);
    }
}
