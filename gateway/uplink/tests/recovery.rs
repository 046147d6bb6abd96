//! The session after a long outage, over a slow link in simulated time: what goes first, and how long a live record waits.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "here a panic is the report")]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use common::{event, name, sample, sample_of, stamp};
use gatehouse_core::{Body, Lane, Mono, Record, Schema};
use gatehouse_uplink::ledger::Stream;
use gatehouse_uplink::session::{Destination, LinkLimits, Session};
use gatehouse_uplink::{Broker, Outbox, OutboxError, Settings, Visit};

/// Records that are made when they are read: numbers 1 to `newest` of each lane, less those acknowledged.
struct Made {
    schema: Arc<Schema>,
    newest: [u64; 6],
    /// Acknowledged numbers as disjoint intervals, first to last.
    acked: [BTreeMap<u64, u64>; 6],
}

impl Made {
    fn new(newest: [u64; 6]) -> Self {
        let Body::Sample { schema, .. } = sample("meter-1", 4, 0) else { panic!("a sample") };
        Made { schema, newest, acked: Default::default() }
    }

    fn record(&self, lane: Lane, seq: u64) -> Record {
        let body = if lane.is_event() { event("x", "{}") } else { sample_of(&self.schema, i128::from(seq)) };
        Record { lane, seq, stamp: stamp(seq), body }
    }

    fn unacked(&self) -> bool {
        Lane::ALL.into_iter().any(|lane| self.next_unacked(lane, 1).is_some())
    }
}

impl Outbox for Made {
    fn epoch(&self) -> u64 {
        3
    }

    fn newest(&self, lane: Lane) -> u64 {
        self.newest[lane.index()]
    }

    fn next_unacked(&self, lane: Lane, from: u64) -> Option<u64> {
        let before = self.acked[lane.index()].range(..=from).next_back();
        let next = before.map_or(from, |(_, &last)| from.max(last + 1));
        (next <= self.newest(lane)).then_some(next)
    }

    fn read(&mut self, lane: Lane, from: u64, visit: &mut Visit<'_>) -> Result<(), OutboxError> {
        let mut at = self.next_unacked(lane, from);
        while let Some(seq) = at {
            let record = self.record(lane, seq);
            if visit(&record, (record.stamp.wall, record.stamp.trust)) == ControlFlow::Break(()) {
                break;
            }
            at = self.next_unacked(lane, seq + 1);
        }
        Ok(())
    }

    fn ack(&mut self, lane: Lane, mut first: u64, mut last: u64) {
        let acked = &mut self.acked[lane.index()];
        if let Some((&start, &end)) = acked.range(..=first).next_back().filter(|(_, end)| **end + 1 >= first) {
            (first, last) = (start, last.max(end));
        }
        if let Some(end) = acked.remove(&(last + 1)) {
            last = end;
        }
        acked.insert(first, last);
    }

    fn refuse(&mut self, lane: Lane, seq: u64) {
        panic!("{lane} {seq} refused");
    }
}

/// A message on its way.
struct OnTheWay {
    /// When the broker's answer to it is back.
    answered: Mono,
    id: u16,
}

/// A link with so many bytes a second, whose sockets hold whatever is written, and a broker that answers in order.
struct Link {
    now: Mono,
    session: Session,
    outbox: Made,
    bytes_per_second: u64,
    round_trip: Duration,
    /// When the last byte that was written arrives.
    busy_until: Mono,
    wire: VecDeque<OnTheWay>,
    /// What left: topic, number of the first record, and arrival.
    sent: Vec<(Lane, Stream, u64, Mono)>,
    buffer: Vec<u8>,
}

impl Link {
    fn up(outbox: Made, receive_max: u16, bytes_per_second: u64) -> Self {
        let settings = Settings::new(name("box-1"), vec![Broker::parse("mqtt://localhost").unwrap()]);
        let mut session = Session::new(settings);
        session.handle_connected(LinkLimits { receive_max, max_packet: 128 * 1024 }, &outbox);
        let now = Mono::from_millis(1000);
        let round_trip = Duration::from_millis(200);
        let (wire, sent, buffer) = (VecDeque::new(), Vec::new(), Vec::new());
        Link { now, session, outbox, bytes_per_second, round_trip, busy_until: now, wire, sent, buffer }
    }

    fn send(&mut self) {
        while let Some(message) = self.session.poll_send(self.now, 0, &mut self.outbox, &mut self.buffer) {
            let Destination::Records(lane, stream) = message.to else { continue };
            let bytes = self.buffer.len() as u64 + 142;
            let on_air = Duration::from_micros(bytes * 1_000_000 / self.bytes_per_second);
            self.busy_until = self.busy_until.max(self.now) + on_air;
            let arrival = self.busy_until + self.round_trip / 2;
            self.wire.push_back(OnTheWay { answered: arrival + self.round_trip / 2, id: message.id });
            let head = String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(100)]).into_owned();
            let seq = head.split("\"seq\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
            self.sent.push((lane, stream, seq, arrival));
        }
    }

    /// Lets the next answer come, if it comes before `until`; gives whether it did.
    fn answer_before(&mut self, until: Mono) -> bool {
        let Some(next) = self.wire.pop_front_if(|next| next.answered <= until) else { return false };
        self.now = next.answered;
        self.session.handle_puback(self.now, next.id, 0, &mut self.outbox).unwrap();
        self.send();
        true
    }

    /// Stores one live record and sends what may leave.
    fn store(&mut self, lane: Lane) -> u64 {
        let newest = &mut self.outbox.newest[lane.index()];
        *newest += 1;
        let seq = *newest;
        self.session.handle_stored(self.now, lane, seq);
        self.send();
        seq
    }
}

#[test]
fn after_an_outage_passages_tickets_and_alarms_go_first_then_audit_then_bills_then_telemetry() {
    let mut link = Link::up(Made::new([2000, 1500, 1800, 900, 5000, 20_000]), 20, 64 * 1024);
    link.send();
    while link.outbox.unacked() {
        assert!(link.answer_before(Mono(u64::MAX)), "nothing is under way");
    }
    assert!(link.sent.iter().all(|(_, stream, ..)| *stream == Stream::Backfill));
    let lanes: Vec<Lane> = link.sent.iter().map(|(lane, ..)| *lane).collect();
    assert!(lanes.is_sorted(), "an urgent lane waited for another: {lanes:?}");
    assert_eq!(lanes.first(), Some(&Lane::Passages));
    assert_eq!(lanes.last(), Some(&Lane::Telemetry));
}

#[test]
fn a_live_record_leaves_at_once_and_arrives_in_time_while_a_million_records_drain() {
    for (receive_max, bytes_per_second) in [(20, 128 * 1024), (100, 1024 * 1024)] {
        let mut link = Link::up(Made::new([0, 0, 0, 0, 0, 1_000_000]), receive_max, bytes_per_second);
        link.send();
        let (mut stored, mut waits) = (0u32, Vec::new());
        let backlog = |link: &Link| link.outbox.next_unacked(Lane::Telemetry, 1).is_some_and(|seq| seq <= 1_000_000);
        while backlog(&link) {
            let next = link.now + Duration::from_millis(1000);
            while link.answer_before(next) {}
            link.now = next;
            stored += 1;
            let lane = if stored.is_multiple_of(5) { Lane::Alarms } else { Lane::Telemetry };
            let sent_before = link.sent.len();
            let seq = link.store(lane);
            let new = link.sent[sent_before..].first();
            let &(.., arrival) =
                new.filter(|&&(l, s, n, _)| (l, s, n) == (lane, Stream::Live, seq)).unwrap_or_else(|| {
                    panic!("live record {lane} {seq} did not leave first: {new:?}");
                });
            waits.push(arrival.since(link.now));
        }
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        assert!(stored > 100 && p99 < Duration::from_secs(2), "{stored} live records, p99 {p99:?}");
        let order: Vec<u64> = link
            .sent
            .iter()
            .filter(|(lane, stream, ..)| (*lane, *stream) == (Lane::Telemetry, Stream::Backfill))
            .map(|(_, _, seq, _)| *seq)
            .collect();
        assert!(order.is_sorted() && order[0] == 1, "the backlog keeps its order");
    }
}
