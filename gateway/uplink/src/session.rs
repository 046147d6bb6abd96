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

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use gatehouse_core::{Body, Lane, Mono};

use crate::lane::LaneState;
use crate::ledger::{Cargo, Control, Flight, Ledger, Stream};
use crate::outbox::{Outbox, OutboxError};
use crate::payload::PayloadWriter;
use crate::settings::{AckMode, Settings, Version};
use crate::status::{BudgetUse, UplinkEvent};

/// A message of several records is closed at this size: beyond it, more records per message save next to nothing.
const BATCH_BYTES: usize = 32 * 1024;
/// What a message costs on a metered link besides its packet: TCP, IP and TLS around it and around its PUBACK.
/// 2 x (20 + 20 + 29) + 4.
const OVERHEAD_BYTES: u64 = 142;
/// Backfill bytes in flight: where it begins, and its bounds. It grows while answers are fast.
const BACKFILL_BYTES: (usize, usize, usize) = (128 * 1024, 16 * 1024, 2 * 1024 * 1024);
/// Answers to backfill faster than the first let more bytes fly, slower than the second fewer: a live message then
/// waits about that long behind backfill in the socket.
const BACKFILL_DELAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(1));
/// A lane that has become idle is searched for forgotten records this often at most.
const SWEEP: Duration = Duration::from_secs(10);
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

struct Built {
    first: u64,
    last: u64,
    count: u64,
    gap: bool,
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

    /// Gives the next message to publish, with the payload of records in `out`. `day` counts UTC days.
    pub fn poll_send(&mut self, now: Mono, day: i64, outbox: &mut dyn Outbox, out: &mut Vec<u8>) -> Option<Outgoing> {
        let window = self.ledger.window();
        if self.ledger.len() >= window {
            return None;
        }
        if self.control.front() == Some(&Control::Status) {
            return self.send_control(now);
        }
        self.roll_budget(day);
        let readings_may_send = self.readings_in_flight < window - window / 8;
        for lane in Lane::ALL {
            if (lane.is_event() || readings_may_send) && self.live_due(now, lane) {
                if let Some(sent) = self.send_records(now, lane, Stream::Live, outbox, out) {
                    return Some(sent);
                }
            }
        }
        if self.control_in_flight == 0 && !self.control.is_empty() {
            return self.send_control(now);
        }
        let room = self.backfill_in_flight < (window - window / 4).max(1) && self.backfill_bytes < self.backfill_limit;
        if self.draining || !room {
            return None;
        }
        for lane in Lane::ALL {
            self.find_forgotten(now, lane, outbox);
            let state = &self.lanes[lane.index()];
            let affordable = lane != Lane::Telemetry || !self.budget_used_up(3, 4);
            if affordable && state.next_todo().is_some() && state.backfill.may_send(now) {
                if let Some(sent) = self.send_records(now, lane, Stream::Backfill, outbox, out) {
                    return Some(sent);
                }
            }
        }
        None
    }

    fn send_control(&mut self, now: Mono) -> Option<Outgoing> {
        let control = self.control.pop_front()?;
        let id = self.ledger.insert(Flight { cargo: Cargo::Control(control), bytes: 0, at: now })?;
        self.control_in_flight += 1;
        self.counters.messages += 1;
        Some(Outgoing { id, to: Destination::Control(control) })
    }

    /// True when the lane's live topic should get a message now.
    fn live_due(&mut self, now: Mono, lane: Lane) -> bool {
        let state = &self.lanes[lane.index()];
        let waiting = state.live_waiting();
        if waiting == 0 || !state.live.may_send(now) {
            return false;
        }
        if lane == Lane::Telemetry && self.budget_used_up(1, 1) {
            self.tell_budget();
            return false;
        }
        // While several messages are unanswered, the records that come gather: the next answer sends them together.
        let busy = state.live.in_flight >= (self.ledger.window() / 4).max(2);
        if busy && waiting < 16 {
            return false;
        }
        let since = state.waiting_since.unwrap_or(now);
        lane.is_event() || self.draining || waiting >= 256 || now.since(since) >= self.settings.batch_window
    }

    fn send_records(
        &mut self,
        now: Mono,
        lane: Lane,
        stream: Stream,
        outbox: &mut dyn Outbox,
        out: &mut Vec<u8>,
    ) -> Option<Outgoing> {
        let state = &self.lanes[lane.index()];
        let (from, to) = match stream {
            Stream::Live => (state.live_next, u64::MAX),
            Stream::Backfill => state.next_todo()?,
        };
        let built = match self.build(lane, (from, to), outbox, out) {
            Ok(built) => built,
            Err(error) => {
                self.hold(now, lane, stream, 0, || error.to_string());
                return None;
            }
        };
        let state = &mut self.lanes[lane.index()];
        let last = built.as_ref().map_or(to.min(state.newest), |built| built.last);
        match stream {
            Stream::Live => {
                state.live_next = state.live_next.max(last + 1);
                state.waiting_since = state.waiting_since.filter(|_| state.newest >= state.live_next);
            }
            Stream::Backfill => state.done(last),
        }
        let Built { first, count, gap, .. } = built?;
        self.writer.end(out, &mut self.spare);
        let single = count == 1;
        let cargo = Cargo::Records { lane, stream, first, last, single, gap };
        let id = self.ledger.insert(Flight { cargo, bytes: out.len(), at: now })?;
        state.stream(stream).sent();
        self.readings_in_flight += usize::from(!lane.is_event());
        if stream == Stream::Backfill {
            self.backfill_in_flight += 1;
            self.backfill_bytes += out.len();
        }
        if lane == Lane::Telemetry {
            self.budget.bytes += out.len() as u64 + OVERHEAD_BYTES;
        }
        self.counters.messages += 1;
        self.counters.records += count;
        Some(Outgoing { id, to: Destination::Records(lane, stream) })
    }

    /// Writes a message of records `from..=to` into `out`; a record too large for any message goes into quarantine.
    fn build(
        &mut self,
        lane: Lane,
        (from, to): (u64, u64),
        outbox: &mut dyn Outbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Built>, OutboxError> {
        let written = self.write_batch(lane, (from, to), outbox, out)?;
        let Err((seq, bytes)) = written else { return Ok(written.ok().flatten()) };
        outbox.refuse(lane, seq);
        let max = self.max_payload;
        self.quarantined(lane, seq, format!("its message of {bytes} bytes is above the {max} that may be sent"));
        // In its place there is a gap record now, which always fits.
        Ok(self.write_batch(lane, (from, to), outbox, out)?.ok().flatten())
    }

    /// Writes a message, or gives the number and the size of a first record that fits in none.
    fn write_batch(
        &mut self,
        lane: Lane,
        (from, to): (u64, u64),
        outbox: &mut dyn Outbox,
        out: &mut Vec<u8>,
    ) -> Result<Result<Option<Built>, (u64, usize)>, OutboxError> {
        let epoch = outbox.epoch();
        let singly_until = self.lanes[lane.index()].singly_until;
        let (writer, max_payload) = (&mut self.writer, self.max_payload);
        let batch = BATCH_BYTES.min(max_payload);
        let mut built: Option<Built> = None;
        let mut too_large = None;
        out.clear();
        outbox.read(lane, from, &mut |record, time| {
            if record.seq > to {
                return ControlFlow::Break(());
            }
            let mark = out.len();
            match &built {
                None => writer.begin(out, epoch, lane, record.seq),
                Some(_) => writer.next(out),
            }
            writer.record(out, record, time);
            let is_gap = matches!(record.body, Body::Gap { .. });
            let limit = if built.is_none() { max_payload } else { batch };
            // Two bytes end the message.
            if out.len() + 2 > limit {
                if built.is_none() && !is_gap {
                    too_large = Some((record.seq, out.len() + 2));
                }
                out.truncate(mark);
                return ControlFlow::Break(());
            }
            let built = built.get_or_insert(Built { first: record.seq, last: 0, count: 0, gap: is_gap });
            built.last = record.last_seq();
            built.count += 1;
            built.gap &= is_gap;
            if record.seq <= singly_until || out.len() >= batch {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(too_large.map_or(Ok(built), Err))
    }

    /// Looks, now and then, for records behind the cursors that nobody will ever send: gaps that the store made of
    /// records in flight, and what the core never confirmed.
    fn find_forgotten(&mut self, now: Mono, lane: Lane, outbox: &dyn Outbox) {
        let by_core = self.by_watermark(lane);
        let state = &mut self.lanes[lane.index()];
        if !state.idle() || state.next_todo().is_some() {
            return;
        }
        let due = match (by_core, state.unconfirmed_since) {
            (true, since) => since.is_some_and(|since| now.since(since) >= self.settings.watermark_timeout),
            (false, _) => state.swept.is_none_or(|at| now.since(at) >= SWEEP),
        };
        if !due {
            return;
        }
        state.swept = Some(now);
        state.unconfirmed_since = None;
        if let Some(first) = outbox.next_unacked(lane, 1).filter(|&first| first < state.live_next) {
            state.put_back(first, state.live_next - 1);
        }
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
