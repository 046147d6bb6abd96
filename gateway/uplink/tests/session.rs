//! The session machine against a model of broker and receiver, over random outages, refusals and answers out of order.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "here a panic is the report")]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use common::{MemoryOutbox, event, name, sample, stamp};
use gatehouse_core::{Lane, Mono};
use gatehouse_uplink::ledger::Stream;
use gatehouse_uplink::schema::RecordsMessage;
use gatehouse_uplink::session::{Destination, LinkLimits, Outgoing, Session};
use gatehouse_uplink::{AckMode, Broker, BudgetUse, Settings, UplinkEvent, Version};

const LIMITS: LinkLimits = LinkLimits { receive_max: 20, max_packet: 64 * 1024 };

fn settings() -> Settings {
    Settings::new(name("box-1"), vec![Broker::parse("mqtt://localhost").unwrap()])
}

/// What the receiver behind the broker has seen.
#[derive(Default)]
struct Receiver {
    /// Every number that was accepted, or accounted for by a gap.
    have: BTreeSet<(Lane, u64)>,
    /// Of the present link: what was accepted, and the last number of each topic.
    this_link: BTreeSet<(Lane, u64)>,
    last: BTreeMap<(Lane, bool), u64>,
    /// What the broker had refused once comes later than its turn.
    refused: BTreeSet<(Lane, u64)>,
}

impl Receiver {
    fn accept(&mut self, lane: Lane, stream: Stream, message: &RecordsMessage) {
        assert_eq!(message.seq, message.records[0].seq);
        for record in &message.records {
            let last = record.gap.as_ref().map_or(record.seq, |gap| gap.last);
            for seq in record.seq..=last {
                assert!(self.this_link.insert((lane, seq)), "{lane} {seq} came twice over one link");
                self.have.insert((lane, seq));
            }
            if !self.refused.contains(&(lane, record.seq)) {
                let before = self.last.insert((lane, stream == Stream::Live), last);
                assert!(before.is_none_or(|before| before < record.seq), "{lane} {} after {before:?}", record.seq);
            }
        }
    }

    fn new_link(&mut self) {
        self.this_link.clear();
        self.last.clear();
        self.refused.clear();
    }
}

struct World {
    random: fastrand::Rng,
    now: Mono,
    session: Session,
    outbox: MemoryOutbox,
    receiver: Receiver,
    connected: bool,
    window: usize,
    wire: VecDeque<(Outgoing, Vec<u8>)>,
    answers: Vec<(u16, u8)>,
    stored: BTreeSet<(Lane, u64)>,
    poison: BTreeSet<(Lane, u64)>,
    /// The broker refuses everything with this reason.
    mood: u8,
    buffer: Vec<u8>,
}

impl World {
    fn new(seed: u64, settings: Settings) -> Self {
        World {
            random: fastrand::Rng::with_seed(seed),
            now: Mono::from_millis(1),
            session: Session::new(settings),
            outbox: MemoryOutbox::default(),
            receiver: Receiver::default(),
            connected: false,
            window: 0,
            wire: VecDeque::new(),
            answers: Vec::new(),
            stored: BTreeSet::new(),
            poison: BTreeSet::new(),
            mood: 0,
            buffer: Vec::new(),
        }
    }

    fn store(&mut self, lane: Lane, body: gatehouse_core::Body) -> u64 {
        let seq = self.outbox.store(lane, stamp(self.now.0 / 1_000_000), body);
        self.stored.insert((lane, seq));
        self.session.handle_stored(self.now, lane, seq);
        seq
    }

    fn connect(&mut self, receive_max: u16) {
        self.session.handle_connected(LinkLimits { receive_max, ..LIMITS }, &self.outbox);
        (self.connected, self.window) = (true, usize::from(receive_max));
        self.receiver.new_link();
    }

    /// The link breaks: what is on the wire reaches the broker up to some point, and no answer comes back.
    fn disconnect(&mut self) {
        let reached = self.random.usize(..=self.wire.len());
        self.broker(reached);
        self.wire.clear();
        self.answers.clear();
        self.session.handle_disconnected();
        self.connected = false;
    }

    fn send(&mut self) {
        while let Some(message) = self.session.poll_send(self.now, 0, &mut self.outbox, &mut self.buffer) {
            self.wire.push_back((message, self.buffer.clone()));
            assert!(self.wire.len() + self.answers.len() <= self.window, "more in flight than the broker allows");
        }
    }

    /// The broker takes `count` messages from the wire and makes up its answers.
    fn broker(&mut self, count: usize) {
        for (message, payload) in self.wire.drain(..count) {
            let Destination::Records(lane, stream) = message.to else { continue };
            let message_of: RecordsMessage = serde_json::from_slice(&payload).unwrap();
            assert_eq!((message_of.lane.as_str(), message_of.epoch), (lane.as_str(), 3));
            let poisoned =
                |r: &gatehouse_uplink::schema::RecordEntry| r.gap.is_none() && self.poison.contains(&(lane, r.seq));
            let reason = if message_of.records.iter().any(poisoned) { 0x99 } else { self.mood };
            if reason == 0 {
                self.receiver.accept(lane, stream, &message_of);
            } else {
                self.receiver.refused.extend(message_of.records.iter().map(|record| (lane, record.seq)));
            }
            self.answers.push((message.id, reason));
        }
    }

    fn answer(&mut self, count: usize) {
        for _ in 0..count {
            let at = self.random.usize(..self.answers.len());
            let (id, reason) = self.answers.remove(at);
            self.session.handle_puback(self.now, id, reason, &mut self.outbox).unwrap();
        }
    }

    /// Lets everything arrive, with a broker in good mood, until nothing is unacknowledged.
    fn settle(&mut self) {
        self.mood = 0;
        if !self.connected {
            self.connect(20);
        }
        for _ in 0..2000 {
            self.send();
            self.broker(self.wire.len());
            self.answer(self.answers.len());
            if self.outbox.unacked() == 0 {
                return;
            }
            if self.wire.is_empty() && self.answers.is_empty() {
                let next = self.session.poll_timeout(self.now);
                self.now = next.unwrap_or(self.now + Duration::from_secs(10)).max(self.now + Duration::from_millis(1));
            }
        }
        panic!("{} records never left", self.outbox.unacked());
    }

    fn random_step(&mut self) {
        match self.random.u8(..100) {
            0..45 => {
                let lane = Lane::ALL[self.random.usize(..6)];
                for _ in 0..self.random.usize(1..6) {
                    let body = if lane.is_event() { event("x", "{\"a\":1}") } else { sample("meter-1", 8, 230) };
                    let seq = self.store(lane, body);
                    if self.random.u8(..60) == 0 {
                        self.poison.insert((lane, seq));
                    }
                }
            }
            45..70 => self.broker(self.random.clone().usize(..=self.wire.len())),
            70..90 => self.answer(self.random.clone().usize(..=self.answers.len())),
            90..92 if self.connected => self.disconnect(),
            92..94 => self.mood = [0, 0, 0x10, 0x80, 0x83, 0x87, 0x97][self.random.usize(..7)],
            _ => {
                self.now = self.now + Duration::from_millis(self.random.u64(1..3000));
                if !self.connected {
                    let window = self.random.u16(1..40);
                    self.connect(window);
                }
            }
        }
        self.send();
    }
}

#[test]
fn nothing_is_lost_or_reordered_whatever_the_link_and_the_broker_do() {
    for seed in 0..400 {
        let mut world = World::new(seed, settings());
        for _ in 0..300 {
            world.random_step();
        }
        world.settle();
        let missing: Vec<_> = world.stored.difference(&world.receiver.have).collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?}");
        assert!(world.outbox.refused.is_subset(&world.poison), "seed {seed}: sound records in quarantine");
    }
}

#[test]
fn a_fresh_record_does_not_wait_behind_the_backlog() {
    let mut world = World::new(1, settings());
    for _ in 0..5000 {
        world.store(Lane::Telemetry, sample("meter-1", 50, 230));
    }
    world.connect(20);
    world.send();
    assert!(world.wire.len() <= 15, "a quarter of the window stays free");
    assert!(world.wire.iter().all(|(m, _)| m.to == Destination::Records(Lane::Telemetry, Stream::Backfill)));
    let fresh = world.store(Lane::Telemetry, sample("meter-1", 50, 231));
    world.store(Lane::Alarms, event("raised", "{}"));
    world.send();
    let new: Vec<_> =
        world.wire.iter().filter(|(m, _)| !matches!(m.to, Destination::Records(_, Stream::Backfill))).collect();
    assert_eq!(new[0].0.to, Destination::Records(Lane::Alarms, Stream::Live), "the urgent lane first");
    assert_eq!(new[1].0.to, Destination::Records(Lane::Telemetry, Stream::Live));
    let message: RecordsMessage = serde_json::from_slice(&new[1].1).unwrap();
    assert_eq!((message.seq, message.records.len()), (fresh, 1));
}

#[test]
fn records_leave_at_once_when_idle_and_gather_when_many_are_in_flight() {
    let mut world = World::new(1, settings());
    world.connect(20);
    for _ in 0..12 {
        world.store(Lane::Telemetry, sample("meter-1", 50, 230));
        world.send();
    }
    assert_eq!(world.wire.len(), 5, "then the records wait for an answer");
    world.broker(5);
    world.answer(1);
    world.send();
    let message: RecordsMessage = serde_json::from_slice(&world.wire[0].1).unwrap();
    assert_eq!((message.seq, message.records.len()), (6, 7));
}

#[test]
fn readings_wait_for_the_batching_window_and_events_do_not() {
    let window = Duration::from_secs(30);
    let mut world = World::new(1, Settings { batch_window: window, ..settings() });
    world.connect(20);
    let began = world.now;
    world.store(Lane::Telemetry, sample("meter-1", 8, 230));
    world.store(Lane::Alarms, event("raised", "{}"));
    world.send();
    assert_eq!(world.wire.len(), 1);
    assert_eq!(world.wire[0].0.to, Destination::Records(Lane::Alarms, Stream::Live));
    assert_eq!(world.session.poll_timeout(world.now), Some(began + window));
    world.now = world.now + Duration::from_secs(10);
    world.store(Lane::Telemetry, sample("meter-2", 8, 230));
    world.send();
    assert_eq!(world.wire.len(), 1);
    world.now = began + window;
    world.send();
    let message: RecordsMessage = serde_json::from_slice(&world.wire[1].1).unwrap();
    assert_eq!(message.records.len(), 2);
}

#[test]
fn the_daily_budget_holds_telemetry_back_and_nothing_else() {
    let mut world = World::new(1, Settings { daily_telemetry_bytes: Some(5000), ..settings() });
    world.session.handle_budget(BudgetUse { day: 0, bytes: 1000 });
    world.connect(20);
    for _ in 0..40 {
        world.store(Lane::Telemetry, sample("meter-1", 8, 230));
        world.send();
        world.broker(world.wire.len());
        world.answer(world.answers.len());
    }
    let held = world.outbox.held[Lane::Telemetry.index()].len();
    assert!((20..40).contains(&held), "{held} wait");
    let told = std::iter::from_fn(|| world.session.poll_event()).collect::<Vec<_>>();
    assert_eq!(told, [UplinkEvent::BudgetExhausted { bytes: 5000 }]);
    world.store(Lane::Billing, sample("meter-1", 8, 230));
    world.store(Lane::Audit, event("x", "{}"));
    world.send();
    assert_eq!(world.wire.len(), 2);
    let tomorrow = world.session.poll_send(world.now, 1, &mut world.outbox, &mut world.buffer).unwrap();
    assert_eq!(tomorrow.to, Destination::Records(Lane::Telemetry, Stream::Live));
}

#[test]
fn without_a_subscriber_records_are_held_unless_configured_otherwise() {
    for hold in [true, false] {
        let mut world = World::new(1, Settings { hold_unsubscribed: hold, ..settings() });
        world.connect(20);
        world.store(Lane::Billing, sample("meter-1", 8, 230));
        world.mood = 0x10;
        world.send();
        world.broker(1);
        world.answer(1);
        assert_eq!(world.outbox.unacked(), usize::from(hold));
        let told: Vec<_> = std::iter::from_fn(|| world.session.poll_event()).collect();
        match hold {
            true => assert!(
                matches!(&told[..], [UplinkEvent::LaneBlocked { lane: Lane::Billing, reason: 0x10, message }]
                if message.contains("nobody subscribes")),
                "{told:?}"
            ),
            false => assert_eq!(told, []),
        }
        if hold {
            world.settle();
            assert!(world.receiver.have.contains(&(Lane::Billing, 1)));
        }
    }
}

#[test]
fn a_lane_that_is_blocked_and_freed_is_told_of_once_each() {
    let mut world = World::new(1, settings());
    world.connect(20);
    world.mood = 0x87;
    for _ in 0..50 {
        world.store(Lane::Tickets, event("x", "{}"));
        world.send();
        world.broker(world.wire.len());
        world.answer(world.answers.len());
        world.now = world.now + Duration::from_secs(5);
    }
    assert_eq!(world.session.held().collect::<Vec<_>>(), [(Lane::Tickets, 0x87)]);
    world.settle();
    let told: Vec<_> = std::iter::from_fn(|| world.session.poll_event()).collect();
    assert!(matches!(told[0], UplinkEvent::LaneBlocked { lane: Lane::Tickets, reason: 0x87, .. }), "{told:?}");
    let blocked = told.iter().filter(|event| matches!(event, UplinkEvent::LaneBlocked { .. })).count();
    assert_eq!(blocked, 1, "{told:?}");
}

#[test]
fn a_record_too_large_for_any_packet_is_put_aside_and_the_others_pass() {
    let mut world = World::new(1, Settings { max_packet: 4096, ..settings() });
    world.connect(20);
    world.store(Lane::Telemetry, sample("meter-1", 8, 230));
    let large = world.store(Lane::Telemetry, sample("meter-1", 400, 230));
    world.store(Lane::Telemetry, sample("meter-1", 8, 230));
    world.settle();
    assert_eq!(world.outbox.refused, BTreeSet::from([(Lane::Telemetry, large)]));
    assert_eq!(world.receiver.have.len(), 3, "a gap record stands for the large one");
}

#[test]
fn with_a_watermark_only_the_core_itself_acknowledges() {
    let watermark = Settings { ack: AckMode::Watermark, ..settings() };
    let old = Settings { version: Version::V311, ..settings() };
    for (settings, lane) in [(watermark, Lane::Telemetry), (old, Lane::Billing)] {
        let mut world = World::new(1, settings);
        world.connect(20);
        for _ in 0..4 {
            world.store(lane, sample("meter-1", 8, 230));
        }
        world.send();
        world.broker(world.wire.len());
        world.answer(world.answers.len());
        assert_eq!(world.outbox.unacked(), 4);
        let now = world.now;
        world.session.handle_watermark(now, 2, lane, &[(1, 4)], &mut world.outbox);
        assert_eq!(world.outbox.unacked(), 4, "another epoch");
        world.session.handle_watermark(now, 3, lane, &[(0, 2), (4, u64::MAX)], &mut world.outbox);
        assert_eq!(world.outbox.held[lane.index()].keys().copied().collect::<Vec<_>>(), [3]);
        world.send();
        assert!(world.wire.is_empty());
        let again = world.session.poll_timeout(now).unwrap();
        assert_eq!(again.since(now), Duration::from_secs(15 * 60));
        world.now = again;
        world.send();
        let message: RecordsMessage = serde_json::from_slice(&world.wire[0].1).unwrap();
        assert_eq!((message.seq, message.records.len()), (3, 1), "what the core lacks is sent again");
    }
}

#[test]
fn a_store_that_cannot_read_holds_its_lanes_until_it_can() {
    let mut world = World::new(1, settings());
    world.connect(20);
    world.outbox.broken = true;
    world.store(Lane::Billing, sample("meter-1", 8, 230));
    world.send();
    assert!(world.wire.is_empty());
    assert!(matches!(world.session.poll_event(), Some(UplinkEvent::LaneBlocked { reason: 0, .. })));
    world.outbox.broken = false;
    world.settle();
    assert_eq!(world.receiver.have.len(), 1);
}

#[test]
fn a_gap_that_the_store_makes_behind_the_cursor_is_sent_too() {
    let mut world = World::new(1, settings());
    world.connect(20);
    for _ in 0..3 {
        world.store(Lane::Telemetry, sample("meter-1", 8, 230));
        world.send();
    }
    world.broker(3);
    let mut gap = world.outbox.held[5][&2].clone();
    gap.body = gatehouse_core::Body::Gap { last: 2, lost: 1, reason: "bounded".into() };
    world.answer(3);
    world.outbox.held[5].insert(2, gap);
    world.receiver.this_link.clear();
    world.settle();
    assert_eq!(world.outbox.unacked(), 0);
}

#[test]
fn an_answer_to_nothing_is_an_error() {
    let mut world = World::new(1, settings());
    world.connect(20);
    assert!(world.session.handle_puback(world.now, 5, 0, &mut world.outbox).is_err());
}
