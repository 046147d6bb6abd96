//! Reading records back: from the tail, else from segments; what is damaged becomes a gap.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use gatehouse_core::{Body, Lane, Record};

use crate::api::TroubleKind;
use crate::block::{BlockReader, Head};
use crate::error::StoreError;
use crate::gap::Reason;
use crate::io::Job;
use crate::journal;
use crate::segment::{self, At, FILE_HEAD};
use crate::store::{QUARANTINE, Store};

/// Where reading a segment stands.
pub(crate) struct Cursor {
    pub(crate) segment: u64,
    file: File,
    /// Where the next block begins.
    offset: u64,
    block: Option<(Head, u64, BlockReader)>,
    record: Record,
    /// `record` was read from `block`.
    loaded: bool,
}

/// What a search in the segments found.
enum Found {
    /// The record is in the cursor.
    Record,
    /// Numbers up to this one are not there, and bytes that were put aside for it.
    Nothing { last: u64, bytes: Option<(u64, u64)> },
}

fn blank(lane: Lane) -> Record {
    let stamp = gatehouse_core::Stamp::default();
    Record { lane, seq: 0, stamp, body: Body::Sample { schema: empty_schema(), readings: Vec::new() } }
}

fn empty_schema() -> std::sync::Arc<gatehouse_core::Schema> {
    let device = gatehouse_core::Name::new("none").expect("a plain name");
    std::sync::Arc::new(gatehouse_core::Schema { device, points: Vec::new() })
}

impl Store {
    pub(crate) fn read_spool(
        &mut self,
        at: usize,
        from: u64,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let lane = self.spools[at].lane;
        let mut scratch = self.scratch.take().unwrap_or_else(|| blank(lane));
        let mut next = from;
        let result = loop {
            let book = &self.books[lane.index()];
            let Some(seq) = book.next_unacked(next) else { break Ok(()) };
            if let Some(gap) = book.gap_at(seq) {
                next = gap.last + 1;
                if visit(&gap.record(lane, seq)).is_break() {
                    break Ok(());
                }
                continue;
            }
            if self.read_tail(at, seq, &mut scratch) {
                next = seq + 1;
                if visit(&scratch).is_break() {
                    break Ok(());
                }
                continue;
            }
            match self.find(at, seq) {
                Ok(Found::Record) => {
                    let Some(cursor) = &mut self.spools[at].cursor else { break Ok(()) };
                    next = cursor.record.last_seq() + 1;
                    // A gap whose beginning is delivered goes on from where it is not.
                    cursor.record.seq = seq;
                    if visit(&cursor.record).is_break() {
                        break Ok(());
                    }
                }
                Ok(Found::Nothing { last, bytes }) => self.damaged(at, seq, last.max(seq), bytes),
                Err(error) => break Err(error),
            }
        };
        self.scratch = Some(scratch);
        result
    }

    fn read_tail(&self, at: usize, seq: u64, record: &mut Record) -> bool {
        let spool = &self.spools[at];
        let mut readings = match &mut record.body {
            Body::Sample { readings, .. } => std::mem::take(readings),
            Body::Event { .. } | Body::Gap { .. } => Vec::new(),
        };
        let found = spool.tail.read(seq, &mut readings);
        if let Some((stamp, schema)) = found {
            record.lane = spool.lane;
            record.seq = seq;
            record.stamp = stamp;
            record.body = Body::Sample { schema, readings };
            return true;
        }
        if let Body::Sample { readings: back, .. } = &mut record.body {
            *back = readings;
        }
        false
    }

    /// Brings the cursor to the record `seq`.
    fn find(&mut self, at: usize, seq: u64) -> Result<Found, StoreError> {
        let spool = &mut self.spools[at];
        let Some(segment) = spool.segments.iter().find(|segment| segment.last >= seq) else {
            return Ok(Found::Nothing { last: seq, bytes: None });
        };
        let error = |path: &PathBuf, error: io::Error| StoreError::Read { path: path.clone(), why: error.to_string() };
        if segment.first > seq {
            return Ok(Found::Nothing { last: segment.first - 1, bytes: None });
        }
        let kept = spool.cursor.take().filter(|cursor| cursor.segment == segment.id && cursor.reaches(seq));
        let mut cursor = match kept {
            Some(cursor) => cursor,
            None => {
                let file = File::open(&segment.path).map_err(|e| error(&segment.path, e))?;
                let record = blank(spool.lane);
                Cursor { segment: segment.id, file, offset: FILE_HEAD, block: None, record, loaded: false }
            }
        };
        let found = cursor.seek(spool.lane, seq, segment.bytes, segment.last).map_err(|e| error(&segment.path, e));
        spool.cursor = Some(cursor);
        found
    }

    /// Leaves a gap for numbers that cannot be read, and puts the bytes aside.
    fn damaged(&mut self, at: usize, first: u64, last: u64, bytes: Option<(u64, u64)>) {
        let spool = &self.spools[at];
        let lane = spool.lane;
        let segment = spool.segments.iter().find(|segment| segment.last >= first);
        if let (Some((offset, len)), Some(segment), Some(cursor)) = (bytes, segment, &spool.cursor)
            && let Ok(bytes) = segment::read_vec(&cursor.file, offset, len)
        {
            let name = segment.path.file_name().and_then(|name| name.to_str()).unwrap_or("segment");
            let name = format!("{name}-{offset}.bad");
            let path = self.settings.dir.join(QUARANTINE).join(&name);
            let text = format!(
                "numbers {first} to {last} of {lane} in {} are damaged: the bytes were copied to {}; check the disk",
                segment.path.display(),
                path.display()
            );
            self.send(Job::Damaged { name, bytes });
            self.trouble(TroubleKind::Damaged, text);
        } else {
            self.trouble(TroubleKind::Damaged, format!("numbers {first} to {last} of {lane} are missing on the disk"));
        }
        let lost = self.books[lane.index()].done.missing_count(first, last);
        self.leave_gap(lane, first, last, lost, Reason::Damaged);
        self.recovered(TroubleKind::Damaged);
    }

    pub(crate) fn read_events(
        &mut self,
        lane: Lane,
        from: u64,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut next = from;
        let path = self.settings.dir.join(journal::FOLDER);
        let error = |error: io::Error| StoreError::Read { path: path.clone(), why: error.to_string() };
        loop {
            let book = &self.books[lane.index()];
            let Some(seq) = book.next_unacked(next) else { return Ok(()) };
            if let Some(gap) = book.gap_at(seq) {
                next = gap.last + 1;
                if visit(&gap.record(lane, seq)).is_break() {
                    return Ok(());
                }
                continue;
            }
            let found = journal::with(&self.journal, |db| db.get(journal::event_key(lane, seq))).map_err(error)?;
            match found.and_then(|value| journal::decode_event(lane, seq, &value)) {
                Some(record) => {
                    next = seq + 1;
                    if visit(&record).is_break() {
                        return Ok(());
                    }
                }
                None => {
                    let text = format!("event {seq} of {lane} is missing in {}", path.display());
                    self.trouble(TroubleKind::Damaged, text);
                    self.leave_gap(lane, seq, seq, 1, Reason::Damaged);
                    self.recovered(TroubleKind::Damaged);
                }
            }
        }
    }
}

impl Cursor {
    /// True when `seq` can be reached by going forward.
    fn reaches(&self, seq: u64) -> bool {
        match &self.block {
            Some((head, ..)) => seq > head.last || seq >= self.record.seq && self.loaded,
            None => false,
        }
    }

    /// Goes forward to the record that accounts for `seq`; `len` bytes of the file are known to be durable.
    fn seek(&mut self, lane: Lane, seq: u64, len: u64, last: u64) -> io::Result<Found> {
        loop {
            if let Some((head, offset, reader)) = &mut self.block
                && seq <= head.last
            {
                if seq < head.first {
                    return Ok(Found::Nothing { last: head.first - 1, bytes: None });
                }
                while !self.loaded || self.record.last_seq() < seq {
                    self.loaded = true;
                    if reader.next(lane, &mut self.record) != Some(true) {
                        let (last, bytes) = (head.last, (*offset, segment::block_len(head)));
                        self.block = None;
                        self.loaded = false;
                        return Ok(Found::Nothing { last, bytes: Some(bytes) });
                    }
                }
                return Ok(Found::Record);
            }
            self.block = None;
            self.loaded = false;
            // A thinned file takes the place of its longer self before the facade hears of it.
            let len = len.min(self.file.metadata()?.len());
            match segment::look(&self.file, self.offset, len)? {
                At::Block(head) => {
                    let offset = self.offset;
                    self.offset += segment::block_len(&head);
                    if head.last < seq {
                        continue;
                    }
                    match segment::open_block(&self.file, offset, &head)? {
                        Some(reader) => self.block = Some((head, offset, reader)),
                        None => {
                            let bytes = Some((offset, segment::block_len(&head)));
                            return Ok(Found::Nothing { last: head.last, bytes });
                        }
                    }
                }
                At::Damage { next: Some(next) } => self.offset = next,
                At::Damage { next: None } | At::End => return Ok(Found::Nothing { last, bytes: None }),
            }
        }
    }
}
