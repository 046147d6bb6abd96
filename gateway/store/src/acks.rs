//! Acknowledgements on tmpfs: what was delivered, so that a killed process does not deliver it again.
//!
//! The file's presence, with this boot's id, is also the proof that the hot tail is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gatehouse_core::{BootId, Lane};

use crate::book::Book;
use crate::wire::Take;

const NAME: &str = "acks";
const MAGIC: [u8; 8] = *b"GHACKS1\n";
const FILE_HEAD: usize = 8 + 16 + 8;
const ENTRY: usize = 1 + 8 + 8 + 4;
/// Marks an entry that says the next number of a lane instead of a delivered range.
const NEXT: u8 = 0x80;
/// Bytes at which the file is written anew.
const REWRITE: u64 = 64 << 10;
/// Entries that wait to be written together.
const PENDING: usize = 64;

/// The file.
#[derive(Debug)]
pub(crate) struct Acks {
    path: PathBuf,
    file: File,
    len: u64,
    boot: BootId,
    epoch: u64,
    pending: Vec<(Lane, u64, u64)>,
    /// The last write failed, so the file lacks something: it is to be written anew.
    pub(crate) failing: bool,
    /// The hot tail is not whole: see [`Acks::bar`].
    pub(crate) barred: bool,
}

/// What the file said: delivered ranges and next numbers.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) done: Vec<(Lane, u64, u64)>,
    pub(crate) next: Vec<(Lane, u64)>,
}

/// Reads the file; `None` unless it is of this boot and epoch.
pub(crate) fn recover(dir: &Path, boot: BootId, epoch: u64) -> Option<Said> {
    let bytes = fs::read(dir.join(NAME)).ok()?;
    let mut take = Take(&bytes);
    let head = (take.array()? == MAGIC, BootId(u128::from_le_bytes(take.array()?)), take.le_u64()?);
    if head != (true, boot, epoch) {
        return None;
    }
    let mut said = Said::default();
    for entry in take.0.chunks_exact(ENTRY) {
        let mut take = Take(entry);
        let (code, first, last) = (take.byte()?, take.le_u64()?, take.le_u64()?);
        let lane = Lane::ALL.get(usize::from(code & !NEXT));
        // A torn entry is the last one.
        let Some(&lane) = lane.filter(|_| take.le_u32() == Some(crc32fast::hash(&entry[..ENTRY - 4]))) else { break };
        if code & NEXT == 0 {
            said.done.push((lane, first.max(1), last));
        } else {
            said.next.push((lane, first));
        }
    }
    Some(said)
}

fn entry(out: &mut Vec<u8>, code: u8, first: u64, last: u64) {
    let start = out.len();
    out.push(code);
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&last.to_le_bytes());
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

fn code(lane: Lane) -> u8 {
    u8::try_from(lane.index()).expect("there are six lanes")
}

impl Acks {
    /// Writes the file anew from the books and keeps it open.
    pub(crate) fn create(dir: &Path, boot: BootId, epoch: u64, books: &[Book; 6]) -> io::Result<Acks> {
        let path = dir.join(NAME);
        let (file, len) = rewrite(&path, boot, epoch, books)?;
        Ok(Acks { path, file, len, boot, epoch, pending: Vec::new(), failing: false, barred: false })
    }

    /// Takes back the proof that the hot tail is whole: were the process killed now, numbers that were given out would
    /// be found nowhere, and be given again. The next start then goes on behind all reserved ones.
    pub(crate) fn bar(&mut self) -> io::Result<()> {
        self.barred = true;
        self.failing = true;
        self.len = 0;
        self.file.set_len(0)
    }

    /// Notes a delivered range; true when `flush` should be called.
    pub(crate) fn push(&mut self, lane: Lane, first: u64, last: u64) -> bool {
        match self.pending.iter_mut().rev().find(|(of, ..)| *of == lane) {
            Some((_, _, end)) if *end + 1 == first => *end = last,
            _ => self.pending.push((lane, first, last)),
        }
        self.pending.len() >= PENDING
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.failing || !self.pending.is_empty()
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, books: &[Book; 6]) -> io::Result<()> {
        if !self.is_pending() {
            return Ok(());
        }
        let mut out = Vec::with_capacity(self.pending.len() * ENTRY);
        for (lane, first, last) in self.pending.drain(..) {
            entry(&mut out, code(lane), first, last);
        }
        self.write(&out, books)
    }

    /// Notes the next number of a lane whose records are on the disk alone, so that damage there cannot set it back.
    pub(crate) fn note_next(&mut self, lane: Lane, next: u64, books: &[Book; 6]) -> io::Result<()> {
        let mut out = Vec::with_capacity(ENTRY);
        entry(&mut out, code(lane) | NEXT, next, 0);
        self.write(&out, books)
    }

    fn write(&mut self, bytes: &[u8], books: &[Book; 6]) -> io::Result<()> {
        if self.barred {
            return Ok(());
        }
        let result = self.try_write(bytes, books);
        self.failing = result.is_err();
        result
    }

    fn try_write(&mut self, bytes: &[u8], books: &[Book; 6]) -> io::Result<()> {
        if self.failing || self.len > REWRITE {
            (self.file, self.len) = rewrite(&self.path, self.boot, self.epoch, books)?;
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn rewrite(path: &Path, boot: BootId, epoch: u64, books: &[Book; 6]) -> io::Result<(File, u64)> {
    let mut out = Vec::with_capacity(FILE_HEAD + 16 * ENTRY);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&boot.0.to_le_bytes());
    out.extend_from_slice(&epoch.to_le_bytes());
    for book in books {
        for &(first, last) in book.done.ranges() {
            entry(&mut out, code(book.lane), first, last);
        }
        entry(&mut out, code(book.lane) | NEXT, book.next, 0);
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().append(true).create(true).open(&fresh)?;
    file.set_len(0)?;
    file.write_all(&out)?;
    fs::rename(&fresh, path)?;
    Ok((file, out.len() as u64))
}
