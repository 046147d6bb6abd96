//! The facade.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{Body, Lane, Mono, PointReading, Record, Schema, Stamp, Trust, Wall};

use crate::api::{
    Batch, ClockOffset, CommitTicket, LaneStatus, LastStop, OpenReport, StoreEvent, StoreStatus, Written,
};
use crate::error::StoreError;
use crate::settings::Settings;

/// Called from another thread: "call `poll_event` soon".
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The box's memory. One owner, one thread; slow syncs run on its own I/O thread.
pub struct Store {
    settings: Settings,
    lanes: [(u64, BTreeMap<u64, Record>); 6],
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    offsets: Vec<ClockOffset>,
    events: VecDeque<StoreEvent>,
    tickets: u64,
    wake: Wake,
}

impl Store {
    /// Opens the folders.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] and [`StoreError::Locked`].
    pub fn open(settings: Settings, now: Stamp, wake: Wake) -> Result<(Store, OpenReport), StoreError> {
        let _ = now;
        let store = Store {
            settings,
            lanes: Default::default(),
            state: BTreeMap::new(),
            offsets: Vec::new(),
            events: VecDeque::new(),
            tickets: 0,
            wake,
        };
        let report = OpenReport {
            last_stop: LastStop::First,
            new_epoch: true,
            journal_set_aside: None,
            quarantined: Vec::new(),
            foreign: Vec::new(),
            gaps: Vec::new(),
            took: Duration::ZERO,
        };
        Ok((store, report))
    }

    /// The epoch of all numbers; below 2^48. It changes only when every copy of the sequence was lost.
    pub fn epoch(&self) -> u64 {
        1
    }

    /// Stores a sample in the billing or the telemetry lane and gives its number.
    ///
    /// # Errors
    /// [`StoreError::NoNumbers`] and [`StoreError::WrongLane`].
    pub fn append_sample(
        &mut self,
        lane: Lane,
        stamp: Stamp,
        schema: &Arc<Schema>,
        readings: &[PointReading],
    ) -> Result<u64, StoreError> {
        let body = Body::Sample { schema: Arc::clone(schema), readings: readings.to_vec() };
        Ok(self.push(lane, stamp, body))
    }

    /// Queues an atomic change of state and events; [`StoreEvent::Committed`] says when it is durable. State is read
    /// back changed at once.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::WrongLane`], [`StoreError::Busy`]; nothing was queued then.
    pub fn commit(&mut self, batch: Batch) -> Result<CommitTicket, StoreError> {
        for (key, value) in batch.state {
            match value {
                Some(value) => self.state.insert(key.into_vec(), value.into_vec()),
                None => self.state.remove(key.as_ref()),
            };
        }
        for (lane, stamp, event) in batch.events {
            let seq = self.push(lane, stamp, Body::Event { kind: event.kind.into(), json: event.json });
            self.events.push_back(StoreEvent::Sendable { lane, up_to: seq });
        }
        self.tickets += 1;
        self.events.push_back(StoreEvent::Committed(CommitTicket(self.tickets)));
        (self.wake)();
        Ok(CommitTicket(self.tickets))
    }

    /// The state of a key.
    pub fn state(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    /// All state whose key begins with `prefix`, keys ascending.
    pub fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.state
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The next thing that the store has to say.
    pub fn poll_event(&mut self) -> Option<StoreEvent> {
        self.events.pop_front()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        let _ = now;
    }

    /// When `handle_timeout` is to be called; ask again after every call.
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// Tells that the link went up or down.
    pub fn handle_link(&mut self, now: Mono, up: bool) {
        let _ = (now, up);
    }

    /// The highest number that may be sent: of telemetry the last appended, of others the last durable; 0: none.
    pub fn newest(&self, lane: Lane) -> u64 {
        self.lanes[lane.index()].0
    }

    /// The lowest unacknowledged number from `from` up to `newest`.
    pub fn next_unacked(&self, lane: Lane, from: u64) -> Option<u64> {
        self.lanes[lane.index()].1.range(from..).next().map(|(seq, _)| *seq)
    }

    /// Visits the unacknowledged records from `from` up to `newest`, in order, gap records included, until `visit`
    /// breaks.
    ///
    /// # Errors
    /// [`StoreError::Read`] when the disk fails; damaged blocks become gap records instead.
    pub fn read(
        &mut self,
        lane: Lane,
        from: u64,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for (_, record) in self.lanes[lane.index()].1.range(from..) {
            if visit(record).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Takes the numbers `first..=last` as delivered.
    pub fn ack(&mut self, lane: Lane, first: u64, last: u64) {
        self.lanes[lane.index()].1.retain(|seq, _| *seq < first || *seq > last);
    }

    /// Puts a record aside that the broker refuses for good, and leaves a gap record in its place.
    pub fn refuse(&mut self, lane: Lane, seq: u64) {
        if let Some(record) = self.lanes[lane.index()].1.get_mut(&seq) {
            record.body = Body::Gap { last: seq, lost: 1, reason: "refused".into() };
        }
    }

    /// Remembers what mends the stamps of a boot; durable with the returned ticket.
    ///
    /// # Errors
    /// [`StoreError::Busy`].
    pub fn put_clock_offset(&mut self, offset: ClockOffset) -> Result<CommitTicket, StoreError> {
        self.offsets.retain(|known| known.boot != offset.boot);
        self.offsets.push(offset);
        self.commit(Batch::default())
    }

    /// The known offsets, at most 64.
    pub fn clock_offsets(&self) -> &[ClockOffset] {
        &self.offsets
    }

    /// The best that is known of when a stamp was: mended by its boot's offset where that is to be believed more.
    pub fn resolve(&self, stamp: &Stamp) -> (Wall, Trust) {
        match self.offsets.iter().find(|o| o.boot == stamp.boot && o.trust > stamp.trust) {
            Some(o) => {
                (Wall(i64::try_from(stamp.mono.0 / 1000).unwrap_or(i64::MAX).saturating_add(o.offset_us)), o.trust)
            }
            None => (stamp.wall, stamp.trust),
        }
    }

    /// What is held, and how much room there is.
    pub fn status(&self) -> StoreStatus {
        let lane = |lane: Lane| {
            let (newest, held) = &self.lanes[lane.index()];
            LaneStatus { lane, held: held.len() as u64, bytes: 0, oldest: None, newest: *newest, gaps: 0, lost: 0 }
        };
        StoreStatus {
            epoch: self.epoch(),
            lanes: Lane::ALL.map(lane),
            spool_bytes: 0,
            max_bytes: self.settings.max_bytes,
            journal_bytes: 0,
            tail_bytes: 0,
            free_bytes: None,
            troubles: Vec::new(),
            written: Written::default(),
        }
    }

    /// Seals and syncs everything, marks the stop as clean and closes. Blocks until the disk is done.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when something could not be written; the next start then recovers it as after a kill.
    pub fn shutdown(self, now: Mono) -> Result<(), StoreError> {
        let _ = now;
        Ok(())
    }

    fn push(&mut self, lane: Lane, stamp: Stamp, body: Body) -> u64 {
        let (newest, held) = &mut self.lanes[lane.index()];
        *newest += 1;
        held.insert(*newest, Record { lane, seq: *newest, stamp, body });
        *newest
    }
}
