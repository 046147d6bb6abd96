//! `/metrics`: counters that the machines keep anyway, put into Prometheus's text format when someone asks.

mod decided;

use gatehouse_core::Reject;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::run::Daemon;

/// Labels and a value.
type Row = (Vec<(&'static str, String)>, f64);

#[expect(clippy::cast_precision_loss, reason = "Prometheus values are doubles")]
fn n(count: u64) -> f64 {
    count as f64
}

/// All metrics as Prometheus text.
pub fn text(daemon: &Daemon) -> String {
    let mut families = Vec::new();
    box_families(daemon, &mut families);
    bus_families(daemon, &mut families);
    device_families(daemon, &mut families);
    store_families(daemon, &mut families);
    uplink_families(daemon, &mut families);
    decided::families(daemon, &mut families);
    encode(&families)
}

fn encode(families: &[MetricFamily]) -> String {
    let mut text = Vec::new();
    if let Err(e) = TextEncoder::new().encode(families, &mut text) {
        tracing::error!(error = %e, "metrics cannot be encoded");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn family(out: &mut Vec<MetricFamily>, kind: MetricType, name: &str, help: &str, rows: Vec<Row>) {
    if rows.is_empty() {
        return;
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(rows.into_iter().map(|row| metric(kind, row)).collect());
    out.push(family);
}

fn metric(kind: MetricType, (labels, value): Row) -> Metric {
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    });
    let mut metric = Metric::from_label(pairs.collect());
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

use MetricType::{COUNTER, GAUGE};

fn box_families(daemon: &Daemon, out: &mut Vec<MetricFamily>) {
    let now = daemon.hub.clock.now();
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    family(out, GAUGE, "gatehouse_build_info", "The version that runs", vec![(version, 1.0)]);
    let uptime = now.mono.since(daemon.started).as_secs_f64();
    family(out, GAUGE, "gatehouse_uptime_seconds", "Time since the daemon started", vec![(vec![], uptime)]);
    let trust = f64::from(now.trust as u8);
    let help = "How far the clock may be believed: 0 unset, 1 free-running, 2 synchronised";
    family(out, GAUGE, "gatehouse_clock_trust", help, vec![(vec![], trust)]);
    let troubles = n(daemon.troubles().len() as u64);
    family(out, GAUGE, "gatehouse_troubles", "Things that are wrong right now", vec![(vec![], troubles)]);
}

fn bus_families(daemon: &Daemon, out: &mut Vec<MetricFamily>) {
    let now = daemon.hub.clock.mono();
    let rows = |value: &dyn Fn(&super::run::BusRuntime) -> f64| -> Vec<Row> {
        let named = daemon.site.buses.iter().zip(&daemon.buses);
        named.map(|(config, bus)| (vec![("bus", config.id.to_string())], value(bus))).collect()
    };
    let stat = |value: fn(&gatehouse_drivers::line::LineStats) -> f64| {
        rows(&move |bus| value(bus.handle.line.borrow().stats()))
    };
    let open = rows(&|bus| f64::from(u8::from(bus.handle.port.borrow().open)));
    family(out, GAUGE, "gatehouse_bus_open", "1 while the port of the bus is open", open);
    family(
        out,
        GAUGE,
        "gatehouse_bus_load_ratio",
        "Busy share of the line over the last minute",
        rows(&|b| b.load(now)),
    );
    let opened = rows(&|bus| n(bus.handle.port.borrow().opened));
    family(out, COUNTER, "gatehouse_bus_opens_total", "Times that the port was opened", opened);
    let help = "Requests sent";
    family(out, COUNTER, "gatehouse_bus_transactions_total", help, stat(|s| n(s.transactions)));
    family(out, COUNTER, "gatehouse_bus_replies_total", "Requests that were answered", stat(|s| n(s.replies)));
    family(out, COUNTER, "gatehouse_bus_exceptions_total", "Exceptions among the replies", stat(|s| n(s.exceptions)));
    family(out, COUNTER, "gatehouse_bus_timeouts_total", "Requests without an answer", stat(|s| n(s.timeouts)));
    family(
        out,
        COUNTER,
        "gatehouse_bus_late_replies_total",
        "Replies after their deadline, dropped",
        stat(|s| n(s.late_replies)),
    );
    family(out, COUNTER, "gatehouse_bus_retries_total", "Requests sent again within a poll", stat(|s| n(s.retries)));
    family(
        out,
        COUNTER,
        "gatehouse_bus_skipped_polls_total",
        "Polls skipped for want of time",
        stat(|s| n(s.skipped_slots)),
    );
    family(out, COUNTER, "gatehouse_bus_sent_bytes_total", "Bytes sent", stat(|s| n(s.bytes_sent)));
    family(out, COUNTER, "gatehouse_bus_received_bytes_total", "Bytes received", stat(|s| n(s.bytes_received)));
    let turned = stat(|s| n(s.commands_turned_away));
    family(out, COUNTER, "gatehouse_bus_commands_refused_total", "Commands turned away, the queue being full", turned);
    let mut rejected = Vec::new();
    for (config, bus) in daemon.site.buses.iter().zip(&daemon.buses) {
        for (why, count) in bus.handle.line.borrow().stats().rejects() {
            let labels = vec![("bus", config.id.to_string()), ("reason", reject_name(why).to_owned())];
            rejected.push((labels, n(count)));
        }
    }
    family(out, COUNTER, "gatehouse_bus_rejected_total", "Received bytes not taken as the reply, by reason", rejected);
}

fn device_families(daemon: &Daemon, out: &mut Vec<MetricFamily>) {
    let now = daemon.hub.clock.mono();
    let briefs: Vec<_> =
        daemon.indexes().filter_map(|ix| daemon.hub.with(ix, |d| d.brief(now, daemon.started))).collect();
    let label = |id: &str| vec![("device", id.to_owned())];
    let online = briefs.iter().map(|d| (label(&d.id), f64::from(u8::from(d.state == "online")))).collect();
    family(out, GAUGE, "gatehouse_device_online", "1 while the device answers", online);
    let samples = briefs.iter().map(|d| (label(&d.id), n(d.samples))).collect();
    family(out, COUNTER, "gatehouse_device_samples_total", "Samples taken, those without values included", samples);
    if let Some(own) = &daemon.own {
        let help = "Contacts and relays of the box whose lines cannot be opened";
        family(out, GAUGE, "gatehouse_box_lines_closed", help, vec![(vec![], n(own.troubles().count() as u64))]);
    }
}

fn store_families(daemon: &Daemon, out: &mut Vec<MetricFamily>) {
    let status = daemon.hub.store.borrow().status();
    let lanes = |value: fn(&gatehouse_store::LaneStatus) -> u64| -> Vec<Row> {
        status.lanes.iter().map(|l| (vec![("lane", l.lane.as_str().to_owned())], n(value(l)))).collect()
    };
    let one = |value: u64| vec![(vec![], n(value))];
    family(out, GAUGE, "gatehouse_spool_held_records", "Records that the core has not acknowledged", lanes(|l| l.held));
    family(out, COUNTER, "gatehouse_spool_records_total", "Numbers given", lanes(|l| l.newest));
    family(
        out,
        COUNTER,
        "gatehouse_spool_lost_records_total",
        "Stored records that are gone, told in gap records",
        lanes(|l| l.lost),
    );
    family(out, GAUGE, "gatehouse_spool_bytes", "Bytes of stored readings", one(status.spool_bytes));
    family(out, GAUGE, "gatehouse_spool_max_bytes", "Their bound", one(status.max_bytes));
    family(out, GAUGE, "gatehouse_spool_tail_bytes", "Bytes in the hot tail", one(status.tail_bytes));
    family(out, GAUGE, "gatehouse_journal_bytes", "Bytes of the journal", one(status.journal_bytes));
    if let Some(free) = status.free_bytes {
        family(out, GAUGE, "gatehouse_disk_free_bytes", "Room left beside the data folder", one(free));
    }
    family(out, COUNTER, "gatehouse_store_syncs_total", "Calls of fdatasync", one(status.written.syncs));
    family(out, COUNTER, "gatehouse_store_blocks_total", "Blocks of readings sealed", one(status.written.blocks));
    let help = "Acknowledgements not remembered for want of room; their records go twice";
    family(out, COUNTER, "gatehouse_store_dropped_acks_total", help, one(status.written.acks_dropped));
    let help = "Refused records for which the quarantine had no room";
    family(out, COUNTER, "gatehouse_store_dropped_quarantine_total", help, one(status.written.quarantine_dropped));
    let refused = one(daemon.hub.refused());
    family(out, COUNTER, "gatehouse_store_refused_samples_total", "Samples that the store did not take", refused);
}

fn uplink_families(daemon: &Daemon, out: &mut Vec<MetricFamily>) {
    let Some(uplink) = &daemon.uplink else { return };
    let status = uplink.status();
    let c = &status.counters;
    let one = |value: u64| vec![(vec![], n(value))];
    let up = u64::from(status.state == gatehouse_uplink::LinkState::Up);
    family(out, GAUGE, "gatehouse_uplink_up", "1 while the broker has admitted the box", one(up));
    family(
        out,
        GAUGE,
        "gatehouse_uplink_in_flight_messages",
        "Messages without a PUBACK",
        one(u64::from(status.in_flight)),
    );
    family(out, COUNTER, "gatehouse_uplink_messages_total", "Messages sent", one(c.messages));
    family(out, COUNTER, "gatehouse_uplink_records_total", "Records sent", one(c.records));
    family(out, COUNTER, "gatehouse_uplink_acknowledged_total", "Messages acknowledged", one(c.acked));
    family(out, COUNTER, "gatehouse_uplink_refused_total", "Messages that the broker refused", one(c.refused));
    family(out, COUNTER, "gatehouse_uplink_quarantined_total", "Records put into quarantine", one(c.quarantined));
    family(out, COUNTER, "gatehouse_uplink_sent_bytes_total", "Bytes of MQTT packets sent", one(c.bytes_sent));
    family(
        out,
        COUNTER,
        "gatehouse_uplink_received_bytes_total",
        "Bytes of MQTT packets received",
        one(c.bytes_received),
    );
    family(out, COUNTER, "gatehouse_uplink_connects_total", "Connections admitted", one(c.connects));
    family(out, COUNTER, "gatehouse_uplink_failures_total", "Attempts and connections that failed", one(c.failures));
    family(
        out,
        COUNTER,
        "gatehouse_uplink_ignored_total",
        "Incoming messages that were malformed or unknown",
        one(c.ignored),
    );
    family(
        out,
        COUNTER,
        "gatehouse_uplink_dropped_messages_total",
        "Incoming messages for the daemon, dropped because too many waited",
        one(c.dropped),
    );
    family(out, COUNTER, "gatehouse_uplink_questions_total", "Questions to the core that were sent", one(c.asked));
    family(
        out,
        COUNTER,
        "gatehouse_uplink_dropped_events_total",
        "Events of the link that nobody took",
        one(c.events_dropped),
    );
    let exhausted = one(u64::from(status.budget_exhausted));
    family(out, GAUGE, "gatehouse_uplink_budget_exhausted", "1 while telemetry waits for the next day", exhausted);
    let used = one(status.budget.bytes);
    family(out, GAUGE, "gatehouse_uplink_telemetry_bytes_today", "Telemetry bytes used of the day's budget", used);
}

/// The name of a reject reason in labels and documents.
pub fn reject_name(why: Reject) -> &'static str {
    match why {
        Reject::Noise => "noise",
        Reject::BadChecksum => "bad_checksum",
        Reject::AddressMismatch => "address_mismatch",
        Reject::UnexpectedFunction => "unexpected_function",
        Reject::BadLength => "bad_length",
        Reject::EchoMismatch => "echo_mismatch",
        Reject::TransactionMismatch => "transaction_mismatch",
        Reject::BadProtocol => "bad_protocol",
        Reject::BadCharacter => "bad_character",
    }
}
