//! The I/O thread: everything that waits for the disk.
//!
//! Jobs are done in the order given; commits that stand together in the queue share one sync. What a job did comes back
//! as a reply, and `wake` is called. At most one seal per lane, one checkpoint and one thinning are under way, and the
//! facade bounds the commits, so that the queues are bounded.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use gatehouse_core::{Body, BootId, Lane, PointReading, Record, Stamp};

use crate::block::{BlockWriter, Head};
use crate::disk::{self, Disk};
use crate::floors::FloorsFile;
use crate::gap::Reason;
use crate::intervals::Intervals;
use crate::journal::{FLOORS_KEY, Journal, Op};
use crate::quarantine::Quarantine;
use crate::segment::{self, At, FILE_HEAD, Segment};
use crate::store::Wake;
use crate::tail::{self, Sealable};

/// The journal is tried again after this long.
const JOURNAL_RETRY: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(5) };
/// Thinning keeps each device's first sample of every such span.
const THIN_BUCKET_US: i64 = 300_000_000;

/// What is to be done.
pub(crate) enum Job {
    Seal {
        lane: Lane,
        rows: Sealable,
        covers_from: u64,
    },
    Commit {
        ticket: u64,
        ops: Vec<Op>,
    },
    /// Writes the floors, then deletes files that they account for. `copy`: for the journal as well.
    Checkpoint {
        floors: Vec<u8>,
        copy: Option<Vec<u8>>,
        delete: Vec<PathBuf>,
        close: Vec<Lane>,
    },
    Thin {
        segment: Segment,
        done: Intervals,
        stamp: Stamp,
    },
    /// Puts damaged bytes aside.
    Damaged {
        name: String,
        bytes: Vec<u8>,
    },
    /// Puts a refused record aside.
    Refused {
        lane: Lane,
        line: String,
    },
    Stop,
}

/// What was done.
pub(crate) enum Reply {
    /// Everything up to the segment's last number is durable.
    Sealed {
        segment: Segment,
        blocks: u64,
        readings: u64,
        bytes: u64,
    },
    SealFailed {
        lane: Lane,
        full: bool,
        why: String,
    },
    Committed {
        ticket: u64,
    },
    JournalFailed {
        full: bool,
        why: String,
    },
    Checkpointed {
        deleted: Vec<PathBuf>,
        failed: Option<(bool, String)>,
    },
    Thinned {
        id: u64,
        result: Result<(Segment, u64), String>,
    },
}

/// A segment that is being written.
struct Open {
    file: File,
    segment: Segment,
}

/// The thread's own state.
pub(crate) struct IoThread {
    pub(crate) dir: PathBuf,
    pub(crate) epoch: u64,
    pub(crate) boot: BootId,
    pub(crate) segment_bytes: u64,
    pub(crate) next_segment: u64,
    pub(crate) disk: Disk,
    pub(crate) floors: FloorsFile,
    pub(crate) journal: Journal,
    pub(crate) quarantine: Quarantine,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) replies: Sender<Reply>,
    pub(crate) wake: Wake,
    pub(crate) work: Work,
}

/// What the thread has under way.
#[derive(Default)]
pub(crate) struct Work {
    open: [Option<Open>; 2],
    /// Commits that failed and are tried again, oldest first.
    waiting: VecDeque<(u64, Vec<Op>)>,
    copy: Option<Vec<u8>>,
    failed: Option<Instant>,
}

fn slot(lane: Lane) -> usize {
    usize::from(lane == Lane::Telemetry)
}

impl IoThread {
    /// Works until told to stop.
    pub(crate) fn run(mut self) {
        let mut queue = VecDeque::new();
        loop {
            if queue.is_empty() {
                let wait = !self.work.waiting.is_empty();
                let job =
                    if wait { self.jobs.recv_timeout(JOURNAL_RETRY) } else { self.jobs.recv().map_err(Into::into) };
                match job {
                    Ok(job) => queue.push_back(job),
                    Err(RecvTimeoutError::Timeout) => {
                        self.commit();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                queue.extend(self.jobs.try_iter());
            }
            let Some(job) = queue.pop_front() else { continue };
            match job {
                Job::Commit { ticket, ops } => {
                    self.work.waiting.push_back((ticket, ops));
                    if !matches!(queue.front(), Some(Job::Commit { .. })) {
                        self.commit();
                    }
                }
                Job::Stop => break,
                job => self.other(job),
            }
        }
    }

    fn reply(&self, reply: Reply) {
        // The facade is gone only while the process ends.
        let _ = self.replies.send(reply);
        (self.wake)();
    }

    fn other(&mut self, job: Job) {
        match job {
            Job::Seal { lane, rows, covers_from } => match self.seal(lane, &rows, covers_from) {
                Ok(reply) => self.reply(reply),
                Err(error) => {
                    let (full, why) = (disk::is_full(&error), error.to_string());
                    self.reply(Reply::SealFailed { lane, full, why });
                }
            },
            Job::Checkpoint { floors, copy, delete, close } => self.checkpoint(&floors, copy, delete, &close),
            Job::Thin { segment, done, stamp } => {
                let id = segment.id;
                let result = self.thin(&segment, &done, &stamp).map_err(|error| error.to_string());
                self.reply(Reply::Thinned { id, result });
            }
            // What could not be put aside is counted and logged there.
            Job::Damaged { name, bytes } => {
                let _ = self.quarantine.put(&name, &bytes);
            }
            Job::Refused { lane, line } => {
                let _ = self.quarantine.append(&format!("refused-{lane}.jsonl"), line.as_bytes());
            }
            Job::Commit { .. } | Job::Stop => {}
        }
    }

    /// Commits all that waits; one attempt, and one more after reopening. While the journal fails, attempts are spaced.
    fn commit(&mut self) {
        let Some(&(ticket, _)) = self.work.waiting.back() else { return };
        if self.work.failed.is_some_and(|at| at.elapsed() < JOURNAL_RETRY) {
            return;
        }
        let ops = |work: &Work| -> Vec<Op> {
            let copy = work.copy.iter().map(|floors| (FLOORS_KEY.to_vec(), Some(floors.clone())));
            work.waiting.iter().flat_map(|(_, ops)| ops.iter().cloned()).chain(copy).collect()
        };
        let first = self.journal.commit(ops(&self.work).into_iter());
        let result = first.or_else(|error| {
            self.journal.reopen(disk::is_full(&error)).map_err(|_| error)?;
            self.journal.commit(ops(&self.work).into_iter())
        });
        match result {
            Ok(()) => {
                self.work.waiting.clear();
                self.work.copy = None;
                self.work.failed = None;
                self.reply(Reply::Committed { ticket });
            }
            Err(error) => {
                self.work.failed = Some(Instant::now());
                self.reply(Reply::JournalFailed { full: disk::is_full(&error), why: error.to_string() });
            }
        }
    }

    fn checkpoint(&mut self, floors: &[u8], copy: Option<Vec<u8>>, delete: Vec<PathBuf>, close: &[Lane]) {
        for lane in close {
            self.work.open[slot(*lane)] = None;
        }
        let failed = self.floors.write(floors).err().map(|error| (disk::is_full(&error), error.to_string()));
        if copy.is_some() {
            self.work.copy = copy;
            if self.work.waiting.is_empty() {
                self.work.waiting.push_back((0, Vec::new()));
            }
            self.commit();
        }
        let mut deleted = Vec::new();
        if failed.is_none() {
            for path in delete {
                match fs::remove_file(&path) {
                    Ok(()) => deleted.push(path),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => deleted.push(path),
                    Err(error) => tracing::warn!(path = %path.display(), %error, "a segment could not be deleted"),
                }
            }
        }
        self.reply(Reply::Checkpointed { deleted, failed });
    }

    fn seal(&mut self, lane: Lane, rows: &Sealable, mut covers_from: u64) -> io::Result<Reply> {
        let mut writer = BlockWriter::default();
        let mut readings: Vec<PointReading> = Vec::new();
        let mut blocks: Vec<(Head, Vec<u8>)> = Vec::new();
        let mut finish = |writer: &mut BlockWriter| -> io::Result<()> {
            let mut bytes = Vec::new();
            let head = writer.finish(covers_from, &mut bytes)?;
            covers_from = head.last + 1;
            blocks.push((head, bytes));
            Ok(())
        };
        for (rows, places) in rows {
            for place in places {
                if !writer.is_empty() && (writer.is_full() || writer.next() != place.seq) {
                    finish(&mut writer)?;
                }
                let (stamp, schema) = tail::decode(rows, *place, self.boot, &mut readings)
                    .ok_or_else(|| io::Error::other("a sample in memory cannot be read"))?;
                writer.push_sample(place.seq, &stamp, &schema, &readings);
            }
        }
        if !writer.is_empty() {
            finish(&mut writer)?;
        }
        let written = self.write_blocks(lane, &blocks).inspect_err(|_| self.abandon(lane))?;
        let bytes = blocks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let readings = blocks.iter().map(|(head, _)| u64::from(head.readings)).sum();
        Ok(Reply::Sealed { segment: written, blocks: blocks.len() as u64, readings, bytes })
    }

    /// After a failed seal: its bytes must not stay where they could be taken for a second copy of what a later seal
    /// writes. The next seal begins a new file.
    fn abandon(&mut self, lane: Lane) {
        if let Some(Open { file, segment }) = self.work.open[slot(lane)].take() {
            if segment.last == 0 {
                let _ = fs::remove_file(&segment.path);
            } else {
                let _ = file.set_len(segment.bytes);
            }
        }
    }

    /// Appends the blocks to the lane's segment and syncs it. A seal is never split over two files.
    fn write_blocks(&mut self, lane: Lane, blocks: &[(Head, Vec<u8>)]) -> io::Result<Segment> {
        let open = &mut self.work.open[slot(lane)];
        if open.as_ref().is_some_and(|open| open.segment.bytes >= self.segment_bytes) {
            *open = None;
        }
        let open = match open {
            Some(open) => open,
            none => {
                let id = self.next_segment;
                self.next_segment += 1;
                let path = self.dir.join(segment::file_name(lane, id));
                none.insert(create(&self.disk, &self.dir, path, lane, id, self.epoch, self.segment_bytes)?)
            }
        };
        let mut segment = open.segment.clone();
        for (head, bytes) in blocks {
            self.disk.write_at(&open.file, bytes, segment.bytes)?;
            segment.bytes += bytes.len() as u64;
            segment.first = segment.first.min(head.first);
            segment.last = head.last;
            segment.records += u64::from(head.records);
        }
        self.disk.sync(&open.file, &segment.path)?;
        open.segment = segment.clone();
        Ok(segment)
    }

    /// Writes a segment again with one sample per device and span, and inline gaps for the others.
    fn thin(&mut self, old: &Segment, done: &Intervals, stamp: &Stamp) -> io::Result<(Segment, u64)> {
        let fresh = old.path.with_extension("thin");
        let _ = fs::remove_file(&fresh);
        let file = self.disk.create(&fresh)?;
        let mut out = segment::file_head(old.lane, old.id, self.epoch, old.level + 1);
        let result = thin_blocks(old, done, stamp, &mut out).and_then(|(records, lost)| {
            self.disk.write_at(&file, &out, 0)?;
            self.disk.sync(&file, &fresh)?;
            fs::rename(&fresh, &old.path)?;
            self.disk.sync_dir(&self.dir)?;
            self.disk.sync(&file, &old.path)?;
            Ok((Segment { bytes: out.len() as u64, level: old.level + 1, records, ..old.clone() }, lost))
        });
        result.inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })
    }
}

fn create(disk: &Disk, dir: &Path, path: PathBuf, lane: Lane, id: u64, epoch: u64, reserve: u64) -> io::Result<Open> {
    let file = disk.create(&path)?;
    let result = disk.write_at(&file, &segment::file_head(lane, id, epoch, 0), 0).and_then(|()| disk.sync_dir(dir));
    if let Err(error) = result {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    // Blocks in one piece, so that an appended block touches little of the file system's own data. A file system that
    // cannot do this, or a nearly full one, does without.
    let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, reserve);
    let segment = Segment { id, lane, epoch, path, first: u64::MAX, last: 0, records: 0, bytes: FILE_HEAD, level: 0 };
    Ok(Open { file, segment })
}

/// Appends the thinned blocks of `old` to `out`; gives how many records stayed and how many went.
fn thin_blocks(old: &Segment, done: &Intervals, stamp: &Stamp, out: &mut Vec<u8>) -> io::Result<(u64, u64)> {
    let file = File::open(&old.path)?;
    let len = file.metadata()?.len();
    let mut writer = BlockWriter::default();
    let mut seen: std::collections::HashMap<gatehouse_core::Name, i64> = std::collections::HashMap::new();
    let body = Body::Gap { last: 0, lost: 0, reason: "".into() };
    let mut record = Record { lane: old.lane, seq: 0, stamp: *stamp, body };
    let (mut kept, mut gone, mut offset, mut covers) = (0, 0, FILE_HEAD, 1);
    let mut gap: Option<(u64, u64, u64)> = None;
    loop {
        let head = match segment::look(&file, offset, len)? {
            At::Block(head) => head,
            At::Damage { next: Some(next) } => {
                offset = next;
                continue;
            }
            At::Damage { next: None } | At::End => break,
        };
        let reader = segment::open_block(&file, offset, &head)?;
        offset += segment::block_len(&head);
        if !writer.is_empty() && gap.map_or(writer.next(), |(_, last, _)| last + 1) != head.first {
            close_gap(&mut writer, &mut gap, stamp);
            covers = writer.finish(covers, out)?.last + 1;
        }
        if writer.is_empty() && gap.is_none() {
            covers = head.covers_from;
        }
        let Some(mut reader) = reader else {
            return Err(io::Error::other("a block is damaged"));
        };
        while reader.next(old.lane, &mut record).ok_or_else(|| io::Error::other("a block is damaged"))? {
            let (lost, keep) = match &record.body {
                Body::Sample { schema, .. } => {
                    let bucket = bucket(&record.stamp);
                    let first = seen.get(&schema.device) != Some(&bucket);
                    let keep = first && !done.contains(record.seq);
                    if keep {
                        seen.insert(schema.device.clone(), bucket);
                    }
                    (u64::from(!done.contains(record.seq)), keep)
                }
                Body::Gap { lost, .. } => (*lost, false),
                Body::Event { .. } => (0, false),
            };
            if let (true, Body::Sample { schema, readings }) = (keep, &record.body) {
                close_gap(&mut writer, &mut gap, stamp);
                if writer.is_full() {
                    covers = writer.finish(covers, out)?.last + 1;
                }
                writer.push_sample(record.seq, &record.stamp, schema, readings);
                kept += 1;
            } else {
                let last = record.last_seq();
                gap = Some(gap.map_or((record.seq, last, lost), |(first, _, sum)| (first, last, sum + lost)));
                gone += if matches!(record.body, Body::Sample { .. }) { lost } else { 0 };
            }
        }
    }
    close_gap(&mut writer, &mut gap, stamp);
    if !writer.is_empty() {
        writer.finish(covers, out)?;
    }
    Ok((kept, gone))
}

fn close_gap(writer: &mut BlockWriter, gap: &mut Option<(u64, u64, u64)>, stamp: &Stamp) {
    if let Some((first, last, lost)) = gap.take() {
        writer.push_gap(first, last, lost, Reason::Thinned, stamp);
    }
}

fn bucket(stamp: &Stamp) -> i64 {
    let us = i64::try_from(stamp.mono.0 / 1000).unwrap_or(i64::MAX);
    us / THIN_BUCKET_US
}
