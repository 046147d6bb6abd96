//! What is sent next: the choice among lanes and topics, and the making of a message.

use std::ops::ControlFlow;
use std::time::Duration;

use gatehouse_core::{Body, Lane, Mono};

use super::{Destination, Outgoing, Session};
use crate::ledger::{Cargo, Control, Flight, Stream};
use crate::outbox::{Outbox, OutboxError};

/// A message of several records is closed at this size: beyond it, more records per message save next to nothing.
pub const BATCH_BYTES: usize = 32 * 1024;
/// What a message costs on a metered link besides its packet: TCP, IP and TLS around it and around its PUBACK.
/// 2 x (20 + 20 + 29) + 4.
pub const OVERHEAD_BYTES: u64 = 142;
/// A lane that has become idle is searched for forgotten records this often at most.
const SWEEP: Duration = Duration::from_secs(10);

struct Built {
    first: u64,
    last: u64,
    count: u64,
    gap: bool,
}

impl Session {
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
            if (lane.is_event() || readings_may_send)
                && self.live_due(now, lane)
                && let Some(sent) = self.send_records(now, lane, Stream::Live, outbox, out)
            {
                return Some(sent);
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
            if affordable
                && state.next_todo().is_some()
                && state.backfill.may_send(now)
                && let Some(sent) = self.send_records(now, lane, Stream::Backfill, outbox, out)
            {
                return Some(sent);
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
        let probe = self.lanes[lane.index()].stream(stream).hold.is_some();
        let built = match self.build((lane, probe), (from, to), outbox, out) {
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
        of: (Lane, bool),
        (from, to): (u64, u64),
        outbox: &mut dyn Outbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Built>, OutboxError> {
        let written = self.write_batch(of, (from, to), outbox, out)?;
        let Err((seq, bytes)) = written else { return Ok(written.ok().flatten()) };
        let lane = of.0;
        outbox.refuse(lane, seq);
        let max = self.max_payload;
        self.quarantined(lane, seq, format!("its message of {bytes} bytes is above the {max} that may be sent"));
        // In its place there is a gap record now, which always fits.
        Ok(self.write_batch(of, (from, to), outbox, out)?.ok().flatten())
    }

    /// Writes a message, or gives the number and the size of a first record that fits in none.
    fn write_batch(
        &mut self,
        (lane, probe): (Lane, bool),
        (from, to): (u64, u64),
        outbox: &mut dyn Outbox,
        out: &mut Vec<u8>,
    ) -> Result<Result<Option<Built>, (u64, usize)>, OutboxError> {
        let epoch = outbox.epoch();
        // Alone: what may be the record that no broker takes, and what only probes.
        let singly_until = if probe { u64::MAX } else { self.lanes[lane.index()].singly_until };
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
}
