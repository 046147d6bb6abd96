//! The session: what is sent next, and what an answer means. Pure: time is an argument, records come from the
//! [`Outbox`], bytes go into a buffer.
//!
//! # Rules
//!
//! - When the link comes up, everything unacknowledged is backfill; what is stored from then on is live. Within one
//!   (lane, topic) of one link, numbers ascend.
//! - Live goes before backfill, urgent lanes before others, and a quarter of the window is never given to backfill.
//! - A record leaves at once while the link keeps up; while many messages are in flight, records gather into one.
//! - A refused message goes back to the backfill topic, behind what was sent after it, and its stream is held and
//!   probed with one message at a time; a record that no broker takes is singled out and put into quarantine.

mod sending;

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::{Lane, Mono};

use crate::lane::LaneState;
use crate::ledger::{Cargo, Control, Ledger, Stream};
use crate::outbox::Outbox;
use crate::payload::PayloadWriter;
use crate::settings::{AckMode, Settings, Version};
use crate::status::{BudgetUse, UplinkEvent};

pub use self::sending::{BATCH_BYTES, OVERHEAD_BYTES};

/// Backfill bytes in flight: where it begins, and its bounds. It grows while answers are fast.
const BACKFILL_BYTES: (usize, usize, usize) = (128 * 1024, 16 * 1024, 2 * 1024 * 1024);
/// Answers to backfill faster than the first let more bytes fly, slower than the second fewer: a live message then
/// waits about that long behind backfill in the socket.
const BACKFILL_DELAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(1));
/// How often a used-up budget is looked at again.
const BUDGET_CHECK: Duration = Duration::from_secs(60);
/// Events that wait to be taken.
const EVENTS_KEPT: usize = 64;

/// What the broker allows on this link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLimits {
    /// Messages in flight; at least 1.
    pub receive_max: u16,
    /// Bytes of a packet.
    pub max_packet: u32,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A topic of records; the payload is in the buffer.
    Records(Lane, Stream),
    /// Another topic; the caller has the payload.
    Control(Control),
}

/// A message to publish with QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// The packet id, 1 to the window.
    pub id: u16,
    /// Where it goes.
    pub to: Destination,
}

/// Counts since the session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionCounters {
    /// Messages given out.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
    /// Messages acknowledged without an error.
    pub acked: u64,
    /// Messages refused.
    pub refused: u64,
    /// Records put into quarantine.
    pub quarantined: u64,
    /// Events dropped because nobody took them.
    pub events_dropped: u64,
}

/// The broker acknowledged a packet id that stands for nothing: it broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PUBACK for packet id {0}, which is not in flight")]
pub struct UnknownId(pub u16);

/// The machine. After each `handle_*` call [`Session::poll_send`] until it gives nothing, take the events, and call
/// again at [`Session::poll_timeout`].
pub struct Session {
    settings: Settings,
    writer: PayloadWriter,
    lanes: [LaneState; Lane::ALL.len()],
    ledger: Ledger,
    control: VecDeque<Control>,
    control_in_flight: usize,
    max_payload: usize,
    backfill_bytes: usize,
    backfill_limit: usize,
    backfill_in_flight: usize,
    readings_in_flight: usize,
    budget: BudgetUse,
    budget_told: bool,
    draining: bool,
    events: VecDeque<UplinkEvent>,
    spare: Vec<u8>,
    counters: SessionCounters,
}

impl Session {
    /// A session that is not connected yet.
    pub fn new(settings: Settings) -> Self {
        Session {
            writer: PayloadWriter::new(&settings.box_id, settings.compress),
            settings,
            lanes: Default::default(),
            ledger: Ledger::default(),
            control: VecDeque::new(),
            control_in_flight: 0,
            max_payload: 0,
            backfill_bytes: 0,
            backfill_limit: BACKFILL_BYTES.0,
            backfill_in_flight: 0,
            readings_in_flight: 0,
            budget: BudgetUse::default(),
            budget_told: false,
            draining: false,
            events: VecDeque::new(),
            spare: Vec::new(),
            counters: SessionCounters::default(),
        }
    }

    /// Takes other settings; call it between links.
    pub fn handle_settings(&mut self, settings: Settings) {
        self.writer = PayloadWriter::new(&settings.box_id, settings.compress);
        self.settings = settings;
    }

    /// Takes what an earlier run had used of the daily budget.
    pub fn handle_budget(&mut self, used: BudgetUse) {
        if used.day > self.budget.day {
            self.budget = used;
        } else if used.day == self.budget.day {
            self.budget.bytes += used.bytes;
        }
    }

    /// The broker admitted the box.
    pub fn handle_connected(&mut self, limits: LinkLimits, outbox: &dyn Outbox) {
        self.ledger.reset(limits.receive_max.min(self.settings.window).max(1));
        let packet = limits.max_packet.min(self.settings.max_packet) as usize;
        // Topic, fixed header, packet id, property length; the longest rest of a topic is `/telemetry/backfill`.
        let around = self.settings.prefix.len() + self.settings.box_id.len() + 48;
        self.max_payload = packet.saturating_sub(around);
        for lane in Lane::ALL {
            self.lanes[lane.index()].connected(outbox.newest(lane), outbox.next_unacked(lane, 1));
        }
        self.control.clear();
        self.control_in_flight = 0;
        (self.backfill_bytes, self.backfill_limit) = (0, BACKFILL_BYTES.0);
        (self.backfill_in_flight, self.readings_in_flight) = (0, 0);
    }

    /// The link is gone: nothing is in flight any more.
    pub fn handle_disconnected(&mut self) {
        self.ledger.reset(0);
    }

    /// Queues a message that is not of records. The status goes first, the inventory after live records.
    pub fn handle_control(&mut self, control: Control) {
        if !self.control.contains(&control) {
            match control {
                Control::Status => self.control.push_front(control),
                Control::Inventory(_) => self.control.push_back(control),
            }
        }
    }

    /// A lane has something new.
    pub fn handle_stored(&mut self, now: Mono, lane: Lane, newest: u64) {
        let state = &mut self.lanes[lane.index()];
        if newest > state.newest {
            state.newest = newest;
            state.waiting_since.get_or_insert(now);
        }
    }

    /// The broker answered a message. Gives the control message that is settled by it, and whether it was accepted.
    ///
    /// # Errors
    /// [`UnknownId`]: drop the link.
    pub fn handle_puback(
        &mut self,
        now: Mono,
        id: u16,
        reason: u8,
        outbox: &mut dyn Outbox,
    ) -> Result<Option<(Control, bool)>, UnknownId> {
        let flight = self.ledger.remove(id).ok_or(UnknownId(id))?;
        let taken = reason == 0 || reason == 0x10 && !self.settings.hold_unsubscribed;
        match flight.cargo {
            Cargo::Control(control) => {
                self.control_in_flight -= 1;
                // Nobody listening is no trouble for what is retained.
                let accepted = reason < 0x80;
                self.counters.acked += u64::from(accepted);
                self.counters.refused += u64::from(!accepted);
                return Ok(Some((control, accepted)));
            }
            Cargo::Records { lane, stream, first, last, single, gap } => {
                self.landed(lane, stream, flight.bytes, now.since(flight.at));
                if taken {
                    self.delivered(now, lane, stream, (first, last), outbox);
                } else {
                    self.counters.refused += 1;
                    self.refused(now, (lane, stream), (first, last), (single, gap), reason, outbox);
                }
            }
        }
        Ok(None)
    }

    fn landed(&mut self, lane: Lane, stream: Stream, bytes: usize, took: Duration) {
        self.lanes[lane.index()].stream(stream).in_flight -= 1;
        self.readings_in_flight -= usize::from(!lane.is_event());
        if stream == Stream::Backfill {
            self.backfill_in_flight -= 1;
            self.backfill_bytes -= bytes;
            if took < BACKFILL_DELAY.0 {
                self.backfill_limit = (self.backfill_limit + bytes).min(BACKFILL_BYTES.2);
            } else if took > BACKFILL_DELAY.1 {
                self.backfill_limit = (self.backfill_limit - self.backfill_limit / 4).max(BACKFILL_BYTES.1);
            }
        }
    }

    fn delivered(&mut self, now: Mono, lane: Lane, stream: Stream, (first, last): (u64, u64), outbox: &mut dyn Outbox) {
        self.counters.acked += 1;
        let by_core = self.by_watermark(lane);
        let state = &mut self.lanes[lane.index()];
        if by_core {
            state.unconfirmed_since.get_or_insert(now);
        } else {
            outbox.ack(lane, first, last);
        }
        if state.succeeded(stream) {
            self.tell(UplinkEvent::LaneFreed { lane });
        }
    }

    fn refused(
        &mut self,
        now: Mono,
        (lane, stream): (Lane, Stream),
        (first, last): (u64, u64),
        (single, gap): (bool, bool),
        reason: u8,
        outbox: &mut dyn Outbox,
    ) {
        let state = &mut self.lanes[lane.index()];
        state.put_back(first, last);
        // These are about the message itself (MQTT 5, 2.4): no later attempt will fare better.
        let hopeless = matches!(reason, 0x90 | 0x95 | 0x99) && !gap;
        if hopeless {
            state.stream(stream).inconclusive();
        }
        if hopeless && single {
            outbox.refuse(lane, first);
            self.quarantined(lane, first, format!("the broker refuses it with reason 0x{reason:02x}"));
        } else if hopeless {
            state.singly_until = state.singly_until.max(last);
        } else {
            self.hold(now, lane, stream, reason, || hold_message(lane, stream, reason));
        }
    }

    fn hold(&mut self, now: Mono, lane: Lane, stream: Stream, reason: u8, message: impl FnOnce() -> String) {
        let state = &mut self.lanes[lane.index()];
        let free_before = state.held().is_none();
        let newly = state.stream(stream).hold(now, reason);
        if reason >= 0x80 && newly {
            // An access rule or a quota concerns both topics of the lane; the lack of a subscriber does not.
            state.live.hold(now, reason);
            state.backfill.hold(now, reason);
        }
        if newly && free_before {
            let message = message();
            self.tell(UplinkEvent::LaneBlocked { lane, reason, message });
        }
    }

    fn quarantined(&mut self, lane: Lane, seq: u64, message: String) {
        self.counters.quarantined += 1;
        self.tell(UplinkEvent::RecordRefused { lane, seq, message });
    }

    /// The core says what it has: intervals of the lane, both ends included. Those of another epoch, and numbers that
    /// were never given out, are ignored.
    pub fn handle_watermark(
        &mut self,
        now: Mono,
        epoch: u64,
        lane: Lane,
        have: &[(u64, u64)],
        outbox: &mut dyn Outbox,
    ) {
        if epoch != outbox.epoch() {
            return;
        }
        let newest = outbox.newest(lane);
        for &(first, last) in have {
            let (first, last) = (first.max(1), last.min(newest));
            if first <= last {
                outbox.ack(lane, first, last);
            }
        }
        let state = &mut self.lanes[lane.index()];
        let open = outbox.next_unacked(lane, 1).is_some_and(|seq| seq < state.live_next);
        state.unconfirmed_since = (state.unconfirmed_since.is_some() && open).then_some(now);
    }

    /// No more backfill: only what waits on live topics, and the answers to what is in flight.
    pub fn handle_drain(&mut self) {
        self.draining = true;
    }

    /// True when nothing is in flight and no live record waits that may be sent.
    pub fn drained(&self, now: Mono) -> bool {
        self.ledger.len() == 0
            && self.control.is_empty()
            && Lane::ALL.into_iter().all(|lane| {
                let state = &self.lanes[lane.index()];
                let waits = lane == Lane::Telemetry && self.budget_used_up(1, 1);
                state.live_waiting() == 0 || !state.live.may_send(now) || waits
            })
    }

    /// True when only the core's own word counts for this lane: a 3.1.1 broker cannot refuse, and bills are money.
    fn by_watermark(&self, lane: Lane) -> bool {
        self.settings.ack == AckMode::Watermark || self.settings.version == Version::V311 && lane == Lane::Billing
    }

    fn roll_budget(&mut self, day: i64) {
        if day != self.budget.day {
            self.budget = BudgetUse { day, bytes: 0 };
            self.budget_told = false;
        }
    }

    fn budget_used_up(&self, numerator: u64, denominator: u64) -> bool {
        let limit = self.settings.daily_telemetry_bytes;
        limit.is_some_and(|limit| self.budget.bytes >= limit / denominator * numerator)
    }

    fn tell_budget(&mut self) {
        if let Some(bytes) = self.settings.daily_telemetry_bytes.filter(|_| !self.budget_told) {
            self.budget_told = true;
            self.tell(UplinkEvent::BudgetExhausted { bytes });
        }
    }

    fn tell(&mut self, event: UplinkEvent) {
        if self.events.len() == EVENTS_KEPT {
            self.events.pop_front();
            self.counters.events_dropped += 1;
        }
        self.events.push_back(event);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<UplinkEvent> {
        self.events.pop_front()
    }

    /// When to call [`Session::poll_send`] again though nothing happened. Later than `now`: what is due already and
    /// was not sent waits for an answer.
    pub fn poll_timeout(&self, now: Mono) -> Option<Mono> {
        let mut next: Option<Mono> = None;
        let mut at = |t: Mono| {
            if t > now {
                next = Some(next.map_or(t, |n| n.min(t)));
            }
        };
        for lane in Lane::ALL {
            let state = &self.lanes[lane.index()];
            let (live, todo) = (state.live_waiting() > 0, state.next_todo().is_some());
            match (live, state.live.hold, state.waiting_since) {
                (true, Some(hold), _) => at(hold.until),
                (true, None, Some(since)) => at(since + self.settings.batch_window),
                _ => {}
            }
            if let (true, Some(hold)) = (todo, state.backfill.hold) {
                at(hold.until);
            }
            if let Some(since) = state.unconfirmed_since {
                at(since + self.settings.watermark_timeout);
            }
            if lane == Lane::Telemetry && (live || todo) && self.budget_used_up(3, 4) {
                at(now + BUDGET_CHECK);
            }
        }
        next
    }

    /// Since when the oldest message in flight has had no answer.
    pub fn unanswered_since(&self) -> Option<Mono> {
        self.ledger.oldest()
    }

    /// Messages in flight.
    pub fn in_flight(&self) -> usize {
        self.ledger.len()
    }

    /// Lanes that are held up, with the reason.
    pub fn held(&self) -> impl Iterator<Item = (Lane, u8)> {
        Lane::ALL.into_iter().filter_map(|lane| self.lanes[lane.index()].held().map(|reason| (lane, reason)))
    }

    /// The budget's use, and whether telemetry waits for tomorrow.
    pub fn budget(&self) -> (BudgetUse, bool) {
        (self.budget, self.budget_used_up(1, 1))
    }

    /// Counts since the session was made.
    pub fn counters(&self) -> SessionCounters {
        self.counters
    }
}

fn hold_message(lane: Lane, stream: Stream, reason: u8) -> String {
    let topic = match stream {
        Stream::Live => "live",
        Stream::Backfill => "backfill",
    };
    let why = match reason {
        0x10 => "nobody subscribes to it: start the core's receiver, or set `hold_unsubscribed = false`",
        0x80 => "the broker gives no reason (0x80): see its log",
        0x83 => "the broker cannot take it now (0x83): see its log",
        0x87 => "the box may not publish there (0x87): check the broker's access rules",
        0x97 => "a quota is used up (0x97): see the broker's limits",
        _ => return format!("records of {lane}/{topic} are held back: the broker refuses with reason 0x{reason:02x}"),
    };
    format!("records of {lane}/{topic} are held back: {why}")
}
