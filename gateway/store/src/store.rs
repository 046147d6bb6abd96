//! The facade: what the daemon's one thread calls.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use gatehouse_core::{Body, BootId, Lane, Mono, PointReading, Record, Schema, Stamp, Trust, Wall};

use crate::acks::Acks;
use crate::api::{
    Batch, ClockOffset, CommitTicket, LaneStatus, OpenReport, StoreEvent, StoreStatus, Trouble, TroubleKind, Written,
};
use crate::book::Book;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::floors::Floors;
use crate::gap::{Gap, Reason};
use crate::io::{Job, Reply};
use crate::journal::{self, Op, Shared};
use crate::quarantine;
use crate::read::Cursor;
use crate::segment::{self, Segment};
use crate::settings::Settings;
use crate::tail::Tail;

/// Called from another thread: "call `poll_event` soon".
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Most batches that wait for the disk.
const MAX_WAITING: usize = 1024;
/// Most clock offsets that are kept: one per boot.
const MAX_OFFSETS: usize = 64;

/// The box's memory. One owner, one thread; slow syncs run on its own I/O thread.
///
/// Calling order: after each `append_sample`, `commit`, `ack`, `handle_link` or `handle_timeout`, and whenever `wake` was
/// called, drain `poll_event` and arm a timer for `poll_timeout`. Dropping the store without `shutdown` is what a kill
/// is: nothing is lost, and the next start says so.
pub struct Store {
    pub(crate) settings: Settings,
    pub(crate) disk: Disk,
    pub(crate) epoch: u64,
    pub(crate) boot: BootId,
    pub(crate) counter: u64,
    pub(crate) books: [Book; 6],
    pub(crate) spools: [Spool; 2],
    pub(crate) acks: Acks,
    pub(crate) journal: Shared,
    pub(crate) jobs: Sender<Job>,
    pub(crate) replies: Receiver<Reply>,
    pub(crate) thread: Option<JoinHandle<()>>,
    pub(crate) events: VecDeque<StoreEvent>,
    pub(crate) troubles: BTreeMap<TroubleKind, String>,
    pub(crate) commits: Commits,
    pub(crate) offsets: Vec<ClockOffset>,
    pub(crate) timers: Timers,
    pub(crate) checkpoints: VecDeque<[u64; 6]>,
    /// The last checkpoint failed: the next is due at `timers.retry`.
    pub(crate) thinning: bool,
    pub(crate) written: Written,
    pub(crate) stamp: Stamp,
    pub(crate) scratch: Option<Record>,
}

/// One lane of readings.
pub(crate) struct Spool {
    pub(crate) lane: Lane,
    pub(crate) tail: Tail,
    /// Ascending; the last may be the one that is written to.
    pub(crate) segments: VecDeque<Segment>,
    /// The segment that the I/O thread has open.
    pub(crate) open: Option<u64>,
    pub(crate) sealing: bool,
    pub(crate) retry: Option<Mono>,
    /// Numbers up to here are accounted for on the disk.
    pub(crate) accounted: u64,
    pub(crate) cursor: Option<Cursor>,
}

/// The journal's side.
#[derive(Default)]
pub(crate) struct Commits {
    pub(crate) issued: u64,
    pub(crate) durable: u64,
    /// State that is queued and not durable, with its ticket.
    pub(crate) overlay: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    /// The highest number of a lane that a ticket makes sendable.
    pub(crate) sendable: VecDeque<(u64, Lane, u64)>,
    /// Acknowledged or dropped events that are still in the journal.
    pub(crate) delete: Vec<(Lane, u64, u64)>,
    pub(crate) event_bytes: [u64; 6],
}

/// What is due when.
#[derive(Default)]
pub(crate) struct Timers {
    pub(crate) now: Mono,
    pub(crate) link_down: Option<Mono>,
    pub(crate) acks: Option<Mono>,
    pub(crate) housekeeping: Option<Mono>,
    pub(crate) checkpoint_retry: Option<Mono>,
    /// When tmpfs last did not take something.
    pub(crate) tail_failed: Mono,
}

/// Numbers that are reserved ahead at a time: half of it is left when the next reservation is asked for. Telemetry's
/// lasts for days on a small site and half a minute flat out.
pub(crate) fn reserve(lane: Lane) -> u64 {
    match lane {
        Lane::Telemetry => 1 << 17,
        Lane::Billing => 1 << 12,
        Lane::Passages | Lane::Tickets | Lane::Alarms | Lane::Audit => 1 << 10,
    }
}

pub(crate) fn spool_of(lane: Lane) -> Option<usize> {
    match lane {
        Lane::Billing => Some(0),
        Lane::Telemetry => Some(1),
        Lane::Passages | Lane::Tickets | Lane::Alarms | Lane::Audit => None,
    }
}

impl Store {
    /// Opens the folders and recovers what they hold.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] and [`StoreError::Locked`].
    pub fn open(settings: Settings, now: Stamp, wake: Wake) -> Result<(Store, OpenReport), StoreError> {
        crate::open::open(settings, now, wake, Disk::default())
    }

    /// The epoch of all numbers; below 2^48. It changes only when every copy of the sequence was lost.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Stores a sample in the billing or the telemetry lane and gives its number. Telemetry may be sent at once, billing
    /// after [`StoreEvent::Sendable`].
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
        let at = spool_of(lane).ok_or(StoreError::WrongLane(lane))?;
        self.note_time(stamp);
        let book = &mut self.books[lane.index()];
        let seq = book.next;
        if seq > book.ceiling {
            self.reserve_ahead();
            return Err(StoreError::NoNumbers(lane));
        }
        book.next += 1;
        if lane == Lane::Telemetry {
            book.newest = seq;
        }
        let low = book.ceiling - seq < reserve(lane) / 2;
        let appended = self.spools[at].tail.append(seq, self.timers.now, &stamp, schema, readings);
        self.check_tail(appended);
        if low {
            self.reserve_ahead();
        }
        if lane == Lane::Billing || self.spools[at].tail.bytes > self.settings.tail_bytes {
            self.try_seal(at);
            self.bound_tail(at);
        }
        Ok(seq)
    }

    /// Queues an atomic change of state and events; [`StoreEvent::Committed`] says when it is durable. State is read
    /// back changed at once.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::WrongLane`], [`StoreError::Busy`]; nothing was queued then.
    pub fn commit(&mut self, batch: Batch) -> Result<CommitTicket, StoreError> {
        check(&batch)?;
        let mut ops: Vec<Op> = Vec::with_capacity(batch.state.len() + 2 * batch.events.len());
        if self.waiting() >= MAX_WAITING {
            return Err(StoreError::Busy(MAX_WAITING));
        }
        let ticket = self.commits.issued + 1;
        for (key, value) in batch.state {
            let value = value.map(Vec::from);
            self.commits.overlay.insert(key.to_vec(), (ticket, value.clone()));
            let mut full = Vec::with_capacity(key.len() + 1);
            full.push(journal::STATE);
            full.extend_from_slice(&key);
            ops.push((full, value));
        }
        for (lane, stamp, event) in &batch.events {
            self.note_time(*stamp);
            let book = &mut self.books[lane.index()];
            let seq = book.next;
            book.next += 1;
            let value = journal::encode_event(stamp, event);
            self.commits.event_bytes[lane.index()] += value.len() as u64;
            ops.push((journal::event_key(*lane, seq).to_vec(), Some(value)));
        }
        for lane in Lane::ALL {
            if batch.events.iter().any(|(of, ..)| *of == lane) {
                let next = self.books[lane.index()].next;
                self.commits.sendable.push_back((ticket, lane, next - 1));
                ops.push((journal::next_key(lane).to_vec(), Some(next.to_be_bytes().to_vec())));
                let noted = self.acks.note_next(lane, next, &self.books);
                self.check_tail(noted);
                self.bound_events(lane);
            }
        }
        // The reservation goes first: the I/O thread keeps the order.
        self.reserve_ahead();
        Ok(self.send_commit(ops))
    }

    /// Sends changes, with the deletions that are due, under the next ticket.
    pub(crate) fn send_commit(&mut self, mut ops: Vec<Op>) -> CommitTicket {
        self.commits.issued += 1;
        let ticket = self.commits.issued;
        self.delete_events(&mut ops);
        self.send(Job::Commit { ticket, ops });
        CommitTicket(ticket)
    }

    /// The state of a key.
    pub fn state(&self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some((_, value)) = self.commits.overlay.get(key) {
            return value.clone();
        }
        let full = [&[journal::STATE], key].concat();
        let found = journal::with(&self.journal, |db| db.get(full));
        found.ok().flatten().map(|value| value.to_vec())
    }

    /// All state whose key begins with `prefix`, keys ascending.
    pub fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let full = [&[journal::STATE], prefix].concat();
        let stored = journal::with(&self.journal, |db| db.scan_prefix(full).collect::<Result<Vec<_>, _>>());
        let stored = stored.unwrap_or_default();
        let mut all: BTreeMap<Vec<u8>, Vec<u8>> =
            stored.into_iter().map(|(key, value)| (key[1..].to_vec(), value.to_vec())).collect();
        for (key, (_, value)) in self.commits.overlay.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) {
                break;
            }
            match value {
                Some(value) => all.insert(key.clone(), value.clone()),
                None => all.remove(key),
            };
        }
        all.into_iter().collect()
    }

    /// The next thing that the store has to say.
    pub fn poll_event(&mut self) -> Option<StoreEvent> {
        while let Ok(reply) = self.replies.try_recv() {
            self.handle_reply(reply);
        }
        self.events.pop_front()
    }

    /// The highest number that may be sent: of telemetry the last appended, of others the last durable; 0: none.
    pub fn newest(&self, lane: Lane) -> u64 {
        self.books[lane.index()].newest
    }

    /// The lowest unacknowledged number from `from` up to `newest`.
    pub fn next_unacked(&self, lane: Lane, from: u64) -> Option<u64> {
        self.books[lane.index()].next_unacked(from)
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
        match spool_of(lane) {
            Some(at) => self.read_spool(at, from, visit),
            None => self.read_events(lane, from, visit),
        }
    }

    /// Takes the numbers `first..=last` as delivered. Numbers beyond `newest` are left out.
    pub fn ack(&mut self, lane: Lane, first: u64, last: u64) {
        let book = &mut self.books[lane.index()];
        let last = last.min(book.newest);
        let held = book.held();
        if !book.ack(first, last) {
            self.written.acks_dropped += 1;
            return;
        }
        let full = self.acks.push(lane, first, last);
        self.timers.acks.get_or_insert(self.timers.now);
        match spool_of(lane) {
            Some(at) => {
                let trim = self.spools[at].tail.wants_trim(&self.books[lane.index()].done);
                if full || trim {
                    self.flush_acks();
                }
                if trim {
                    self.spools[at].tail.trim(&self.books[lane.index()].done);
                }
                self.drop_delivered(at);
            }
            None => {
                let gone = held.saturating_sub(self.books[lane.index()].held());
                let bytes = &mut self.commits.event_bytes[lane.index()];
                *bytes -= (*bytes * gone).checked_div(held).unwrap_or(*bytes);
                match self.commits.delete.last_mut() {
                    Some((of, _, end)) if *of == lane && *end + 1 == first => *end = last,
                    _ => self.commits.delete.push((lane, first, last)),
                }
                if full {
                    self.flush_acks();
                }
                self.want_housekeeping();
            }
        }
    }

    /// Puts a record aside that the broker refuses for good, and leaves a gap record in its place.
    pub fn refuse(&mut self, lane: Lane, seq: u64) {
        let mut copy = None;
        let copied = self.read(lane, seq, &mut |record| {
            if record.seq == seq && !matches!(record.body, Body::Gap { .. }) {
                copy = Some(record.clone());
            }
            ControlFlow::Break(())
        });
        if let (Ok(()), Some(record)) = (copied, copy) {
            let line = quarantine::line(&record, self.resolve(&record.stamp));
            self.send(Job::Refused { lane, line });
            self.leave_gap(lane, seq, seq, 1, Reason::Refused);
        }
    }

    /// Remembers what mends the stamps of a boot; durable with the returned ticket. The newest 64 boots are kept.
    ///
    /// # Errors
    /// [`StoreError::Busy`].
    pub fn put_clock_offset(&mut self, offset: ClockOffset) -> Result<CommitTicket, StoreError> {
        if self.waiting() >= MAX_WAITING {
            return Err(StoreError::Busy(MAX_WAITING));
        }
        let key = |offset: &ClockOffset| [&[journal::OFFSET], &offset.boot.0.to_be_bytes()[..]].concat();
        let mut ops = vec![(key(&offset), Some(crate::open::encode_offset(&offset, self.commits.issued + 1)))];
        self.offsets.retain(|known| known.boot != offset.boot);
        if self.offsets.len() >= MAX_OFFSETS {
            ops.push((key(&self.offsets.remove(0)), None));
        }
        self.offsets.push(offset);
        Ok(self.send_commit(ops))
    }

    /// The known offsets, the latest last.
    pub fn clock_offsets(&self) -> &[ClockOffset] {
        &self.offsets
    }

    /// [`resolve`], with the offsets that are known.
    pub fn resolve(&self, stamp: &Stamp) -> (Wall, Trust) {
        resolve(&self.offsets, stamp)
    }

    /// What is held, and how much room there is. Looks at files: for people and metrics, not for every reading.
    pub fn status(&self) -> StoreStatus {
        let journal_bytes =
            std::fs::metadata(self.settings.dir.join(journal::FOLDER).join("db")).map_or(0, |m| m.len());
        StoreStatus {
            epoch: self.epoch,
            lanes: Lane::ALL.map(|lane| self.lane_status(lane)),
            spool_bytes: self.spool_bytes(),
            max_bytes: self.settings.max_bytes,
            journal_bytes,
            tail_bytes: self.spools.iter().map(|spool| spool.tail.bytes as u64).sum(),
            free_bytes: journal::free_bytes(&self.settings.dir),
            troubles: self.troubles.iter().map(|(kind, text)| Trouble { kind: *kind, text: text.clone() }).collect(),
            written: Written {
                syncs: self.disk.syncs(),
                quarantine_dropped: self.disk.quarantine_drops(),
                ..self.written
            },
        }
    }

    fn lane_status(&self, lane: Lane) -> LaneStatus {
        let book = &self.books[lane.index()];
        let mut held = book.held();
        let oldest = match (spool_of(lane), book.first_held()) {
            (Some(at), Some(first)) => {
                let spool = &self.spools[at];
                let thinned = |s: &Segment| (s.last - s.first + 1).saturating_sub(s.records);
                held = held.saturating_sub(spool.segments.iter().filter(|s| s.level > 0).map(thinned).sum());
                let stored = spool.segments.iter().find(|segment| segment.last >= first);
                let tail = || spool.tail.read(first, &mut Vec::new()).map(|(s, _)| (s.wall, s.trust));
                stored.and_then(|segment| segment::wall_at(segment, first)).or_else(tail)
            }
            (None, Some(first)) => {
                let found = journal::with(&self.journal, |db| db.get(journal::event_key(lane, first)));
                let record = found.ok().flatten().and_then(|value| journal::decode_event(lane, first, &value));
                record.map(|record| (record.stamp.wall, record.stamp.trust))
            }
            (_, None) => None,
        };
        let bytes = match spool_of(lane) {
            Some(at) => {
                let spool = &self.spools[at];
                spool.segments.iter().map(|segment| segment.bytes).sum::<u64>() + spool.tail.bytes as u64
            }
            None => self.commits.event_bytes[lane.index()],
        };
        LaneStatus { lane, held, bytes, oldest, newest: book.newest, gaps: book.gaps.len() as u64, lost: book.lost }
    }

    /// Seals and syncs everything and marks the stop as clean. Blocks until the disk is done; nothing may follow it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when something could not be written; the next start then recovers it as after a kill.
    pub fn shutdown(&mut self, now: Mono) -> Result<(), StoreError> {
        self.timers.now = self.timers.now.max(now);
        self.finish()
    }

    pub(crate) fn waiting(&self) -> usize {
        usize::try_from(self.commits.issued - self.commits.durable).unwrap_or(usize::MAX)
    }

    pub(crate) fn send(&self, job: Job) {
        // A thread that is gone leaves replies out; everything then waits, and the bounds hold.
        let _ = self.jobs.send(job);
    }

    pub(crate) fn floors(&mut self, clean: bool) -> Floors {
        self.counter += 1;
        Floors { counter: self.counter, epoch: self.epoch, boot: self.boot, clean, books: self.books.clone() }
    }

    /// Leaves a gap record and makes it durable.
    pub(crate) fn leave_gap(&mut self, lane: Lane, first: u64, last: u64, lost: u64, reason: Reason) {
        let gap = Gap { first, last, lost, reason, stamp: self.stamp };
        let book = &mut self.books[lane.index()];
        if book.add_gap(gap) > 0 {
            book.newest = book.newest.max(if lane.is_event() { 0 } else { last.min(book.next - 1) });
            let up_to = book.newest;
            self.events.push_back(StoreEvent::Sendable { lane, up_to });
            self.checkpoint(Vec::new(), Vec::new());
        }
    }

    fn note_time(&mut self, stamp: Stamp) {
        if stamp.boot == self.boot {
            self.timers.now = self.timers.now.max(stamp.mono);
            self.stamp = stamp;
        }
    }
}

/// The best that is known of when a stamp was: mended by its boot's offset where that is to be believed more.
pub fn resolve(offsets: &[ClockOffset], stamp: &Stamp) -> (Wall, Trust) {
    match offsets.iter().find(|o| o.boot == stamp.boot && o.trust > stamp.trust) {
        Some(o) => {
            let mono_us = i64::try_from(stamp.mono.0 / 1000).unwrap_or(i64::MAX);
            (Wall(mono_us.saturating_add(o.offset_us)), o.trust)
        }
        None => (stamp.wall, stamp.trust),
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.send(Job::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The folder of bytes and records that were put aside.
pub(crate) const QUARANTINE: &str = "quarantine";
/// The folder of segments.
pub(crate) const SPOOL: &str = "spool";

pub(crate) fn spool_dir(settings: &Settings) -> PathBuf {
    settings.dir.join(SPOOL)
}

fn check(batch: &Batch) -> Result<(), StoreError> {
    let too_large = |what, len, max| if len > max { Err(StoreError::TooLarge { what, len, max }) } else { Ok(()) };
    for (key, value) in &batch.state {
        too_large("a state key", key.len(), journal::KEY_MAX)?;
        too_large("the value of a state key", value.as_ref().map_or(0, |value| value.len()), journal::VALUE_MAX)?;
    }
    for (lane, _, event) in &batch.events {
        if !lane.is_event() {
            return Err(StoreError::WrongLane(*lane));
        }
        // The stamp, and two lengths.
        too_large("an event", event.json.len() + event.kind.len() + 64, journal::VALUE_MAX)?;
    }
    Ok(())
}
