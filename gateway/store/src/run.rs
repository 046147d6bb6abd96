//! What the facade does by itself: seals, checkpoints, bounds, timers.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use gatehouse_core::{Lane, Mono};

use crate::api::{CommitTicket, StoreEvent, Trouble, TroubleKind};
use crate::error::StoreError;
use crate::gap::Reason;
use crate::io::{Job, Reply};
use crate::journal::{self, Op};
use crate::segment::Segment;
use crate::store::{Store, reserve, spool_of};

/// Acknowledgements wait this long for company before they are written to tmpfs.
const ACKS_WAIT: Duration = Duration::from_secs(1);
/// Delivered ranges go to flash this often at most: what a power cut makes the box send twice.
const HOUSEKEEPING: Duration = Duration::from_secs(600);
/// A failed seal or checkpoint is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// tmpfs has recovered when it has taken everything for this long: a full one often takes a little in between.
const TAIL_SETTLED: Duration = Duration::from_secs(30);
/// The hot tail's bound, in units of `Settings::tail_bytes`.
const TAIL_BOUND: usize = 4;
/// The same while the disk is only slow.
const TAIL_BOUND_SLOW: usize = 16;
/// Most segment files of telemetry: thinned ones are small.
const MAX_SEGMENTS: usize = 1024;
/// An open segment that is delivered whole is deleted at once from this size on, else at the next housekeeping.
const SMALL_SEGMENT: u64 = 256 << 10;

impl Store {
    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.timers.now = self.timers.now.max(now);
        let now = self.timers.now;
        if self.timers.acks.is_some_and(|since| since + ACKS_WAIT <= now) {
            self.flush_acks();
        }
        if self.timers.checkpoint_retry.is_some_and(|at| at <= now) {
            self.timers.checkpoint_retry = None;
            self.checkpoint(Vec::new(), Vec::new());
        }
        for at in 0..2 {
            if self.spools[at].retry.is_some_and(|retry| retry <= now) {
                self.spools[at].retry = None;
            }
            if self.seal_due(at).is_some_and(|due| due <= now) {
                self.try_seal(at);
            }
        }
        if self.timers.housekeeping.is_some_and(|at| at <= now) {
            self.timers.housekeeping = None;
            self.housekeep();
        }
    }

    /// When `handle_timeout` is to be called; ask again after every call.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let seals = (0..2).filter_map(|at| self.seal_due(at));
        let acks = self.timers.acks.map(|since| since + ACKS_WAIT);
        seals.chain(acks).chain(self.timers.housekeeping).chain(self.timers.checkpoint_retry).min()
    }

    /// Tells that the link went up or down.
    pub fn handle_link(&mut self, now: Mono, up: bool) {
        self.timers.now = self.timers.now.max(now);
        self.timers.link_down = if up { None } else { self.timers.link_down.or(Some(self.timers.now)) };
    }

    /// When the lane's tail is to be sealed.
    fn seal_due(&self, at: usize) -> Option<Mono> {
        let spool = &self.spools[at];
        if spool.sealing {
            return None;
        }
        let (_, appended) = spool.tail.oldest(&self.books[spool.lane.index()].done)?;
        let due = match spool.lane {
            Lane::Billing => appended,
            _ => self.telemetry_due(appended),
        };
        Some(spool.retry.map_or(due, |retry| due.max(retry)))
    }

    fn telemetry_due(&self, appended: Mono) -> Mono {
        let narrow = appended + self.settings.commit_window;
        match self.timers.link_down {
            // The window widens only for what is due after the link has been down for long enough.
            Some(since) if since + self.settings.down_after <= narrow => appended + self.settings.commit_window_down,
            _ => narrow,
        }
    }

    #[cfg(test)]
    pub(crate) fn seal_due_for_tests(&self, at: usize) -> Option<Mono> {
        self.seal_due(at)
    }

    pub(crate) fn try_seal(&mut self, at: usize) {
        let spool = &mut self.spools[at];
        if spool.sealing || spool.retry.is_some() {
            return;
        }
        let rows = spool.tail.seal(&self.books[spool.lane.index()].done);
        if rows.is_empty() {
            return;
        }
        spool.sealing = true;
        let (lane, covers_from) = (spool.lane, spool.accounted + 1);
        self.send(Job::Seal { lane, rows, covers_from });
    }

    /// Keeps the tail within its bound while the disk takes nothing: telemetry on the disk goes first, then what is in
    /// the tail.
    pub(crate) fn bound_tail(&mut self, at: usize) {
        let refused = self.spools[at].retry.is_some();
        let bound = self.settings.tail_bytes.saturating_mul(if refused { TAIL_BOUND } else { TAIL_BOUND_SLOW });
        while self.spools[at].tail.bytes > bound {
            let full = self.troubles.contains_key(&TroubleKind::DiskFull);
            if full && self.spools[at].retry.is_some() && self.drop_oldest(1) {
                self.spools[at].retry = None;
                self.try_seal(at);
                // One seal's time for what was given up, before more is.
                if self.spools[at].tail.bytes < bound + self.settings.tail_bytes {
                    return;
                }
            }
            let lane = self.spools[at].lane;
            let Some((first, last)) = self.spools[at].tail.drop_oldest() else { return };
            let lost = self.books[lane.index()].done.missing_count(first, last);
            self.leave_gap(lane, first, last, lost, Reason::Bounded);
            self.bounded();
        }
    }

    pub(crate) fn handle_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Sealed { segment, blocks, readings, bytes } => {
                self.written.blocks += blocks;
                self.written.readings += readings;
                self.written.block_bytes += bytes;
                self.sealed(segment);
            }
            Reply::SealFailed { lane, full, why } => {
                let Some(at) = spool_of(lane) else { return };
                let spool = &mut self.spools[at];
                spool.sealing = false;
                spool.open = None;
                spool.retry = Some(self.timers.now + RETRY);
                self.disk_trouble(full, &why);
                self.bound_tail(at);
            }
            Reply::Committed { ticket } => self.committed(ticket),
            Reply::JournalFailed { full, why } => {
                let dir = self.settings.dir.join(journal::FOLDER);
                let help = if full { "free some room" } else { "check the disk" };
                let text =
                    format!("the journal {} cannot be written: {why}; events and commands wait, {help}", dir.display());
                self.trouble(TroubleKind::JournalFailing, text);
            }
            Reply::Checkpointed { deleted, failed } => self.checkpointed(&deleted, failed),
            Reply::Thinned { id, result } => self.thinned(id, result),
        }
    }

    fn sealed(&mut self, segment: Segment) {
        let Some(at) = spool_of(segment.lane) else { return };
        let lane = segment.lane;
        let noted = self.acks.note_next(lane, self.books[lane.index()].next, &self.books);
        self.check_tail(noted);
        let spool = &mut self.spools[at];
        spool.sealing = false;
        spool.open = Some(segment.id);
        spool.accounted = segment.last;
        spool.tail.drop_sealed(segment.last);
        let book = &mut self.books[lane.index()];
        if lane == Lane::Billing {
            book.newest = if spool.tail.oldest(&book.done).is_none() { book.next - 1 } else { segment.last };
            let up_to = book.newest;
            self.events.push_back(StoreEvent::Sendable { lane, up_to });
        }
        match spool.segments.back_mut() {
            Some(last) if last.id == segment.id => *last = segment,
            _ => spool.segments.push_back(segment),
        }
        self.recovered(TroubleKind::DiskFull);
        self.recovered(TroubleKind::DiskFailing);
        self.want_housekeeping();
        if lane == Lane::Billing {
            self.try_seal(at);
        }
        self.relieve();
    }

    fn committed(&mut self, ticket: u64) {
        self.written.commits += 1;
        self.recovered(TroubleKind::JournalFailing);
        while let Some((_, lane, up_to)) = self.commits.sendable.pop_front_if(|(of, ..)| *of <= ticket) {
            let newest = &mut self.books[lane.index()].newest;
            *newest = up_to.max(*newest);
            self.events.push_back(StoreEvent::Sendable { lane, up_to });
        }
        if ticket > self.commits.durable {
            self.commits.durable = ticket;
            self.commits.overlay.retain(|_, (of, _)| *of > ticket);
            self.events.push_back(StoreEvent::Committed(CommitTicket(ticket)));
        }
    }

    /// Asks for numbers ahead of need.
    pub(crate) fn reserve_ahead(&mut self) {
        let short = |store: &Store| {
            let sent = store.checkpoints.back();
            store.books.iter().any(|book| {
                let ceiling = sent.map_or(book.ceiling, |sent| sent[book.lane.index()].max(book.ceiling));
                book.next > 1 && ceiling + 1 < book.next + reserve(book.lane) / 2
            })
        };
        if short(self) && self.timers.checkpoint_retry.is_none() {
            self.checkpoint(Vec::new(), Vec::new());
        }
    }

    /// Writes the floors, with numbers reserved where they run short; then deletes the files.
    pub(crate) fn checkpoint(&mut self, delete: Vec<PathBuf>, close: Vec<Lane>) {
        let mut floors = self.floors(false);
        let mut copy = false;
        for book in &mut floors.books {
            if book.next > 1 && book.ceiling + 1 < book.next + reserve(book.lane) / 2 {
                book.ceiling = book.next - 1 + reserve(book.lane);
                copy = true;
            }
        }
        let sent = std::array::from_fn(|at| floors.books[at].ceiling);
        self.checkpoints.push_back(sent);
        let copy = copy.then(|| floors.journal_copy());
        self.send(Job::Checkpoint { floors: floors.encode(), copy, delete, close });
    }

    fn checkpointed(&mut self, deleted: &[PathBuf], failed: Option<(bool, String)>) {
        let sent = self.checkpoints.pop_front();
        match failed {
            None => {
                for (book, ceiling) in self.books.iter_mut().zip(sent.into_iter().flatten()) {
                    book.ceiling = book.ceiling.max(ceiling);
                }
                let _ = deleted;
                self.recovered(TroubleKind::DiskFailing);
            }
            Some((full, why)) => {
                self.timers.checkpoint_retry = Some(self.timers.now + RETRY);
                self.disk_trouble(full, &why);
            }
        }
    }

    pub(crate) fn spool_bytes(&self) -> u64 {
        self.spools.iter().flat_map(|spool| &spool.segments).map(|segment| segment.bytes).sum()
    }

    /// Brings the spool back within its bound: thins the older half of telemetry, then drops its oldest, then billing's.
    pub(crate) fn relieve(&mut self) {
        while self.spool_bytes() > self.settings.max_bytes || self.spools[1].segments.len() > MAX_SEGMENTS {
            let fresh = self.thinnable();
            let hard = self.spool_bytes() > self.settings.max_bytes / 8 * 9;
            match fresh {
                Some(_) if self.thinning && !hard => return,
                Some(segment) if !self.thinning => {
                    self.thinning = true;
                    let done = self.books[Lane::Telemetry.index()].done.clone();
                    self.bounded();
                    self.send(Job::Thin { segment, done, stamp: self.stamp });
                    return;
                }
                _ => {
                    self.bounded();
                    if !self.drop_oldest(1) && !self.drop_oldest(0) {
                        return;
                    }
                }
            }
        }
        if self.spool_bytes() < self.settings.max_bytes / 4 {
            self.recovered(TroubleKind::Bounded);
        }
    }

    /// The oldest segment that was not thinned and has half of the bound's bytes after it.
    fn thinnable(&self) -> Option<Segment> {
        let telemetry = &self.spools[1];
        let mut after: u64 = telemetry.segments.iter().map(|segment| segment.bytes).sum();
        telemetry.segments.iter().find_map(|segment| {
            after -= segment.bytes;
            let old = after >= self.settings.max_bytes / 2 && telemetry.open != Some(segment.id);
            (old && segment.level == 0).then(|| segment.clone())
        })
    }

    fn thinned(&mut self, id: u64, result: Result<(Segment, u64), String>) {
        self.thinning = false;
        let spool = &mut self.spools[1];
        let Some(segment) = spool.segments.iter_mut().find(|segment| segment.id == id) else { return };
        match result {
            Ok((fresh, lost)) => {
                *segment = fresh;
                self.books[Lane::Telemetry.index()].lost += lost;
            }
            Err(why) => {
                tracing::warn!(file = %segment.path.display(), why, "a segment could not be thinned and will be dropped");
                segment.level = u8::MAX;
            }
        }
        if spool.cursor.as_ref().is_some_and(|cursor| cursor.segment == id) {
            spool.cursor = None;
        }
        self.relieve();
    }

    /// Drops the oldest closed segment of a lane; false if there is none.
    fn drop_oldest(&mut self, at: usize) -> bool {
        let spool = &mut self.spools[at];
        let Some(segment) = spool.segments.pop_front_if(|segment| spool.open != Some(segment.id)) else { return false };
        let book = &self.books[spool.lane.index()];
        // Of a thinned segment, what is gone already was counted then; the gap tells of all that its numbers held.
        let lost = book.done.missing_count(segment.first, segment.last);
        let counted = lost.saturating_sub(segment.records);
        spool.cursor = None;
        let lane = spool.lane;
        let gap = crate::gap::Gap {
            first: segment.first,
            last: segment.last,
            lost,
            reason: Reason::Bounded,
            stamp: self.stamp,
        };
        let book = &mut self.books[lane.index()];
        book.add_gap(gap);
        book.lost -= counted.min(book.lost);
        let up_to = book.newest;
        self.events.push_back(StoreEvent::Sendable { lane, up_to });
        self.checkpoint(vec![segment.path], Vec::new());
        true
    }

    /// Deletes segments from the front that are delivered whole.
    pub(crate) fn drop_delivered(&mut self, at: usize) {
        let spool = &self.spools[at];
        let done = &self.books[spool.lane.index()].done;
        let whole = |segment: &&Segment| done.covers(segment.first, segment.last);
        let ready = |segment: &&Segment| spool.open != Some(segment.id) || segment.bytes >= SMALL_SEGMENT;
        let count = spool.segments.iter().take_while(|s| whole(s) && ready(s)).count();
        if count > 0 && !(spool.sealing && count == spool.segments.len()) {
            self.delete_front(at, count);
        }
    }

    fn delete_front(&mut self, at: usize, count: usize) {
        let spool = &mut self.spools[at];
        let gone: Vec<Segment> = spool.segments.drain(..count).collect();
        let close = gone.iter().any(|segment| spool.open == Some(segment.id));
        if close {
            spool.open = None;
        }
        spool.cursor = None;
        let lane = spool.lane;
        let paths = gone.into_iter().map(|segment| segment.path).collect();
        self.checkpoint(paths, if close { vec![lane] } else { Vec::new() });
        if self.spool_bytes() < self.settings.max_bytes / 4 {
            self.recovered(TroubleKind::Bounded);
        }
    }

    pub(crate) fn want_housekeeping(&mut self) {
        self.timers.housekeeping.get_or_insert(self.timers.now + HOUSEKEEPING);
    }

    /// Remembers on flash what was delivered, and deletes what is delivered whole.
    fn housekeep(&mut self) {
        self.flush_acks();
        let mut wrote = false;
        for at in 0..2 {
            let spool = &self.spools[at];
            let done = &self.books[spool.lane.index()].done;
            let count = spool.segments.iter().take_while(|s| done.covers(s.first, s.last)).count();
            if count > 0 && !spool.sealing {
                self.delete_front(at, count);
                wrote = true;
            }
        }
        let held = self.spools.iter().any(|spool| !spool.segments.is_empty());
        if held {
            if !wrote {
                self.checkpoint(Vec::new(), Vec::new());
            }
            self.want_housekeeping();
        }
        if !self.commits.delete.is_empty() {
            self.send_commit(Vec::new());
        }
    }

    /// Adds the deletion of acknowledged events to a commit.
    pub(crate) fn delete_events(&mut self, ops: &mut Vec<Op>) {
        for (lane, first, last) in std::mem::take(&mut self.commits.delete) {
            let range = journal::event_key(lane, first)..=journal::event_key(lane, last);
            let keys = journal::with(&self.journal, |db| db.range(range).keys().collect::<Result<Vec<_>, _>>());
            match keys {
                Ok(keys) => ops.extend(keys.into_iter().map(|key| (key.to_vec(), None))),
                Err(_) => self.commits.delete.push((lane, first, last)),
            }
        }
    }

    /// Drops the oldest events of a lane that holds too many.
    pub(crate) fn bound_events(&mut self, lane: Lane) {
        let book = &self.books[lane.index()];
        if book.held() <= self.settings.max_events.max(16) {
            return;
        }
        let Some(first) = book.first_held() else { return };
        let last = (first + self.settings.max_events / 16).min(book.newest);
        let lost = book.done.missing_count(first, last);
        self.leave_gap(lane, first, last, lost, Reason::Bounded);
        self.commits.delete.push((lane, first, last));
        self.bounded();
    }

    pub(crate) fn flush_acks(&mut self) {
        self.timers.acks = None;
        self.acks.barred &= self.spools.iter().any(|spool| spool.tail.is_exposed());
        if self.acks.is_pending() {
            let flushed = self.acks.flush(&self.books);
            self.check_tail(flushed);
            if self.acks.failing {
                self.timers.acks = Some(self.timers.now + RETRY);
            }
        }
    }

    /// Tells trouble with tmpfs once, and its end when every file there is written again.
    pub(crate) fn check_tail(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            if self.spools.iter().any(|spool| spool.tail.failing) {
                if let Err(error) = self.acks.bar() {
                    tracing::error!(%error, "a killed process may give numbers twice: the file of acknowledgements cannot be cut");
                }
                self.timers.acks.get_or_insert(self.timers.now);
            }
            self.timers.tail_failed = self.timers.now;
            self.tail_trouble(&error);
        } else if self.troubles.contains_key(&TroubleKind::TailFailing) {
            let failing = self.acks.failing || self.spools.iter().any(|spool| spool.tail.failing);
            if !failing && self.timers.now >= self.timers.tail_failed + TAIL_SETTLED {
                self.recovered(TroubleKind::TailFailing);
            }
        }
    }

    fn tail_trouble(&mut self, error: &io::Error) {
        let dir = self.settings.tail_dir.display();
        let text = format!(
            "the hot tail in {dir} cannot be written: {error}; until it can, a killed process loses what is not yet on \
             the disk: free some memory or give that tmpfs more room"
        );
        self.trouble(TroubleKind::TailFailing, text);
    }

    fn disk_trouble(&mut self, full: bool, why: &str) {
        let dir = self.settings.dir.display();
        if full {
            let text = format!(
                "the data folder {dir} is full: readings stay in memory, and the oldest telemetry is dropped when that is \
                 full too: free some room or lower the spool's bound"
            );
            self.trouble(TroubleKind::DiskFull, text);
        } else {
            let text =
                format!("the data folder {dir} cannot be written: {why}; readings stay in memory: check the disk");
            self.trouble(TroubleKind::DiskFailing, text);
        }
    }

    fn bounded(&mut self) {
        let text = format!(
            "the spool has reached its bound of {} bytes, or the disk does not keep up: the oldest telemetry is thinned, \
             then dropped; bring the link back or raise the bound",
            self.settings.max_bytes
        );
        self.trouble(TroubleKind::Bounded, text);
    }

    pub(crate) fn trouble(&mut self, kind: TroubleKind, text: String) {
        if self.troubles.insert(kind, text.clone()).is_none() {
            self.events.push_back(StoreEvent::Trouble(Trouble { kind, text }));
        }
    }

    pub(crate) fn recovered(&mut self, kind: TroubleKind) {
        if !self.troubles.is_empty() && self.troubles.remove(&kind).is_some() {
            self.events.push_back(StoreEvent::Recovered(kind));
        }
    }

    /// The orderly end: see `shutdown`.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        self.flush_acks();
        for at in 0..2 {
            self.spools[at].retry = None;
            // One seal may be under way, and one more is needed for what came since.
            for _ in 0..2 {
                self.try_seal(at);
                while self.spools[at].sealing {
                    self.wait()?;
                }
            }
            let done = &self.books[self.spools[at].lane.index()].done;
            if self.spools[at].tail.oldest(done).is_some() {
                return Err(self.unwritten());
            }
        }
        if !self.commits.delete.is_empty() {
            self.send_commit(Vec::new());
        }
        while self.waiting() > 0 {
            self.wait()?;
            if self.troubles.contains_key(&TroubleKind::JournalFailing) {
                return Err(self.unwritten());
            }
        }
        self.housekeep();
        let floors = self.floors(true).encode();
        self.checkpoints.push_back([0; 6]);
        self.send(Job::Checkpoint { floors, copy: None, delete: Vec::new(), close: Vec::new() });
        while !self.checkpoints.is_empty() {
            self.wait()?;
        }
        if self.timers.checkpoint_retry.is_some() {
            return Err(self.unwritten());
        }
        // The mark says that these numbers are the last: one more must take the mark away first, by a reservation.
        for book in &mut self.books {
            book.ceiling = book.next - 1;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), StoreError> {
        match self.replies.recv() {
            Ok(reply) => {
                self.handle_reply(reply);
                Ok(())
            }
            Err(_) => Err(self.unwritten()),
        }
    }

    fn unwritten(&self) -> StoreError {
        let why = self.troubles.values().next().cloned().unwrap_or_else(|| "its thread has ended".into());
        StoreError::unusable("cannot close the data folder in order", &self.settings.dir, why)
    }
}
