//! What is decided on the box, in numbers: the figures of ISA-18.2, tickets, the mode, rules.

use gatehouse_rules::Engine;
use gatehouse_rules::alarm::{Counts, PriorityCounts};
use gatehouse_rules::words::Mode;
use prometheus::proto::MetricFamily;

use super::MetricType::{COUNTER, GAUGE};
use super::{Daemon, Row, family, n};

/// The priorities, as labels name them.
const PRIORITIES: [&str; 4] = ["p0", "p1", "p2", "p3"];

/// The count of those that stand in one way.
type Count = fn(&PriorityCounts) -> u32;

/// How alarms may stand, and the count of each.
const STANDINGS: [(&str, Count); 5] = [
    ("active", |of| of.active),
    ("unacknowledged", |of| of.unacknowledged),
    ("shelved", |of| of.shelved),
    ("suppressed", |of| of.suppressed),
    ("out_of_service", |of| of.out_of_service),
];

pub(super) fn families(daemon: &Daemon, out: &mut Vec<MetricFamily>) {
    let now = daemon.hub.clock.now();
    daemon.hub.look(|engine| {
        alarms(&engine.alarms().counts(&now), out);
        tickets(engine, out);
        let mode = match engine.mode() {
            Mode::Online => 0,
            Mode::Degraded => 1,
            Mode::Recovering => 2,
        };
        let help = "Whether the site counts as cut off: 0 online, 1 degraded, 2 recovering";
        family(out, GAUGE, "gatehouse_mode", help, one(mode));
        let help = "Conditions of rules that were evaluated";
        family(out, COUNTER, "gatehouse_rules_evaluations_total", help, one(engine.evaluations()));
    });
}

fn one(value: u64) -> Vec<Row> {
    vec![(vec![], n(value))]
}

fn ratio(value: f64) -> Vec<Row> {
    vec![(vec![], value)]
}

fn alarms(counts: &Counts, out: &mut Vec<MetricFamily>) {
    let mut standing: Vec<Row> = Vec::new();
    for (priority, of) in PRIORITIES.into_iter().zip(&counts.by_priority) {
        for (state, count) in STANDINGS {
            let labels = vec![("priority", priority.to_owned()), ("state", state.to_owned())];
            standing.push((labels, f64::from(count(of))));
        }
    }
    let help = "Alarms by priority and how they stand; one may stand in several ways";
    family(out, GAUGE, "gatehouse_alarms", help, standing);
    let help = "Times that an alarm came to somebody's attention";
    family(out, COUNTER, "gatehouse_alarms_occurrences_total", help, one(counts.occurrences));
    let help = "The same in the last hour, to the window of ten minutes";
    family(out, GAUGE, "gatehouse_alarms_last_hour_occurrences", help, one(counts.last_hour.into()));
    let help = "Alarms that came in the last ten minutes";
    family(out, GAUGE, "gatehouse_alarms_last_ten_minutes_occurrences", help, one(counts.last_ten_minutes.into()));
    let help = "Share of windows of ten minutes with more than ten alarms, over at most 30 days";
    family(out, GAUGE, "gatehouse_alarms_bad_windows_ratio", help, ratio(counts.bad_windows));
    let help = "Share of the ten most frequent alarms among all occurrences";
    family(out, GAUGE, "gatehouse_alarms_top_ten_ratio", help, ratio(counts.top_ten));
    family(out, GAUGE, "gatehouse_alarms_stale", "Alarms that stand for more than a day", one(counts.stale.into()));
    let help = "Alarms that come three times a minute or more";
    family(out, GAUGE, "gatehouse_alarms_chattering", help, one(counts.chattering.into()));
    let help = "Alarms that were over within ten seconds and before anybody acknowledged";
    family(out, COUNTER, "gatehouse_alarms_fleeting_total", help, one(counts.fleeting));
    let help = "1 while more than ten alarms came in ten minutes";
    family(out, GAUGE, "gatehouse_alarms_flood", help, one(u64::from(counts.flood)));
    let help = "Conditions for which there is no alarm and no room for one";
    family(out, COUNTER, "gatehouse_alarms_refused_total", help, one(counts.refused));
}

fn tickets(engine: &Engine, out: &mut Vec<MetricFamily>) {
    let counts = engine.tickets().counts();
    let size = |count: usize| one(u64::try_from(count).unwrap_or(u64::MAX));
    family(out, GAUGE, "gatehouse_tickets_open", "Tickets that are not finished", size(counts.open));
    family(out, GAUGE, "gatehouse_tickets_finished", "Finished tickets that are kept", size(counts.finished));
    let help = "Tickets that were not opened for want of room";
    family(out, COUNTER, "gatehouse_tickets_refused_total", help, one(counts.refused));
    let help = "Alarms that a ticket's cause explains and that it does not list for want of room";
    family(out, COUNTER, "gatehouse_tickets_unlisted_total", help, one(counts.unlisted));
    family(
        out,
        COUNTER,
        "gatehouse_tickets_breaches_total",
        "Targets of tickets that were passed",
        one(counts.breaches),
    );
    let guard = size(engine.tickets().guard_messages().len());
    family(out, GAUGE, "gatehouse_tickets_guard_messages", "Tickets that stand on the guard's status", guard);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_priority_and_standing_has_its_own_row() {
        let mut counts = Counts { occurrences: 7, flood: true, ..Counts::default() };
        counts.by_priority[1].unacknowledged = 2;
        let mut out = Vec::new();
        alarms(&counts, &mut out);
        let rows = out[0].get_metric();
        assert_eq!(rows.len(), 20);
        let text = super::super::encode(&out);
        for line in [
            "gatehouse_alarms{priority=\"p1\",state=\"unacknowledged\"} 2",
            "gatehouse_alarms{priority=\"p0\",state=\"active\"} 0",
            "gatehouse_alarms_occurrences_total 7",
            "gatehouse_alarms_flood 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in {text}");
        }
    }
}
