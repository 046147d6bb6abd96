//! What must survive everything else: the epoch, the reserved numbers, what is delivered and what is gone.
//!
//! One small file, `floors`, of two slots that are written in turn and in place, so that a full disk can take them; a
//! torn write leaves the other. A copy of the content goes into the journal whenever numbers are reserved, and vice
//! versa the journal's sequence can be carried on from here when it is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use gatehouse_core::{BootId, Lane};

use crate::book::{Book, MAX_GAPS};
use crate::disk::Disk;
use crate::gap::{Gap, Reason};
use crate::journal::VALUE_MAX;
use crate::wire::{Take, put_stamp, put_u64};

/// The file's name in the data folder.
pub(crate) const NAME: &str = "floors";
const MAGIC: [u8; 8] = *b"GHFLOOR1";
const SLOT: usize = 32 << 10;
/// Ranges of delivered numbers that are kept; those beyond are delivered again after a power cut.
const KEPT_RANGES: usize = 64;

/// The content.
#[derive(Debug, Clone)]
pub(crate) struct Floors {
    pub(crate) counter: u64,
    pub(crate) epoch: u64,
    pub(crate) boot: BootId,
    /// The last run ended in order: `next` of each lane is exact.
    pub(crate) clean: bool,
    pub(crate) books: [Book; 6],
}

impl Floors {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(512);
        put_u64(&mut body, self.counter);
        put_u64(&mut body, self.epoch);
        body.extend_from_slice(&self.boot.0.to_le_bytes());
        body.push(self.clean.into());
        for book in &self.books {
            put_u64(&mut body, book.ceiling);
            put_u64(&mut body, book.next);
            put_u64(&mut body, book.lost);
            let ranges = &book.done.ranges()[..book.done.ranges().len().min(KEPT_RANGES)];
            put_u64(&mut body, ranges.len() as u64);
            for &(first, last) in ranges {
                put_u64(&mut body, first);
                put_u64(&mut body, last - first);
            }
            put_u64(&mut body, book.gaps.len() as u64);
            for gap in &book.gaps {
                put_u64(&mut body, gap.first);
                put_u64(&mut body, gap.last - gap.first);
                put_u64(&mut body, gap.lost);
                body.push(gap.reason.code());
                put_stamp(&mut body, &gap.stamp);
            }
        }
        let mut out = Vec::with_capacity(body.len() + 16);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&u32::try_from(body.len()).expect("bounded by MAX_GAPS").to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        out.append(&mut body);
        debug_assert!(out.len() <= SLOT);
        out
    }

    /// The content for the journal, whose values are short: beyond that, gaps go without their reasons.
    pub(crate) fn journal_copy(&self) -> Vec<u8> {
        let full = self.encode();
        if full.len() <= VALUE_MAX {
            return full;
        }
        let mut short = self.clone();
        for book in &mut short.books {
            for gap in std::mem::take(&mut book.gaps) {
                book.done.insert(gap.first, gap.last);
            }
        }
        short.encode()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Floors> {
        let mut take = Take(bytes);
        let magic: [u8; 8] = take.array()?;
        let (len, crc) = (take.le_u32()?, take.le_u32()?);
        let body = take.bytes(usize::try_from(len).ok()?)?;
        if magic != MAGIC || crc32fast::hash(body) != crc {
            return None;
        }
        let mut take = Take(body);
        let (counter, epoch) = (take.u64()?, take.u64()?);
        let boot = BootId(u128::from_le_bytes(take.array()?));
        let clean = take.byte()? != 0;
        let mut books = Lane::ALL.map(Book::new);
        for book in &mut books {
            book.ceiling = take.u64()?;
            book.next = take.u64()?.max(1);
            book.newest = book.next - 1;
            book.lost = take.u64()?;
            for _ in 0..take.len()?.min(KEPT_RANGES) {
                let (first, span) = (take.u64()?.max(1), take.u64()?);
                book.done.insert(first, first.checked_add(span)?);
            }
            for _ in 0..take.len()?.min(MAX_GAPS) {
                let (first, span, lost) = (take.u64()?, take.u64()?, take.u64()?);
                let (last, reason) = (first.checked_add(span)?, Reason::from_code(take.byte()?)?);
                book.gaps.push(Gap { first, last, lost, reason, stamp: take.stamp()? });
            }
        }
        Some(Floors { counter, epoch, boot, clean, books })
    }

    /// Takes from an older copy what must never go back: the ceilings.
    pub(crate) fn raise(&mut self, other: &Floors) {
        for (book, old) in self.books.iter_mut().zip(&other.books) {
            book.ceiling = book.ceiling.max(old.ceiling);
        }
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct FloorsFile {
    file: File,
    path: PathBuf,
    disk: Disk,
    turn: bool,
}

impl FloorsFile {
    /// Opens or makes the file; gives its newest sound content, and whether it had bytes that are not sound.
    pub(crate) fn open(dir: &Path, disk: &Disk) -> io::Result<(FloorsFile, Option<Floors>)> {
        let path = dir.join(NAME);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(2 * SLOT as u64).read_to_end(&mut bytes)?;
        let slots: Vec<Option<Floors>> = (0..2).map(|slot| Floors::decode(bytes.get(slot * SLOT..)?)).collect();
        if bytes.len() < 2 * SLOT {
            // Real zeros, so that later writes in place need no room.
            bytes.resize(2 * SLOT, 0);
            disk.write_at(&file, &bytes, 0)?;
            disk.sync(&file, &path)?;
            disk.sync_dir(dir)?;
        }
        let turn = match (&slots[0], &slots[1]) {
            (Some(a), Some(b)) => a.counter > b.counter,
            (Some(_), None) => true,
            _ => false,
        };
        let [first, second] = <[_; 2]>::try_from(slots).expect("two slots were read");
        // `turn` is the slot to write next: the one that is older, so the other one holds.
        let (newest, older) = if turn { (first, second) } else { (second, first) };
        let content = newest.map(|mut floors| {
            if let Some(older) = &older {
                floors.raise(older);
            }
            floors
        });
        Ok((FloorsFile { file, path, disk: disk.clone(), turn }, content))
    }

    /// Writes encoded floors durably.
    pub(crate) fn write(&mut self, encoded: &[u8]) -> io::Result<()> {
        let slot = if self.turn { SLOT as u64 } else { 0 };
        self.disk.write_at(&self.file, encoded, slot)?;
        self.disk.sync(&self.file, &self.path)?;
        self.turn = !self.turn;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(counter: u64) -> Floors {
        let mut books = Lane::ALL.map(Book::new);
        books[5].ceiling = 1000 + counter;
        books[5].next = 400;
        books[5].newest = 399;
        books[5].done.insert(1, 9);
        books[5].done.insert(20, 30);
        let stamp = gatehouse_core::Stamp::default();
        books[4].gaps.push(Gap { first: 3, last: 7, lost: 2, reason: Reason::Damaged, stamp });
        Floors { counter, epoch: 77, boot: BootId(5), clean: false, books }
    }

    #[test]
    fn a_torn_write_leaves_the_other_slot() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (mut file, none) = FloorsFile::open(dir.path(), &disk).unwrap();
        assert!(none.is_none());
        for counter in 1..=3 {
            file.write(&floors(counter).encode()).unwrap();
        }
        let bytes = std::fs::read(dir.path().join(NAME)).unwrap();
        for torn in 0..floors(4).encode().len() {
            let mut copy = bytes.clone();
            copy[SLOT..SLOT + torn].copy_from_slice(&floors(4).encode()[..torn]);
            std::fs::write(dir.path().join(NAME), &copy).unwrap();
            let (_, found) = FloorsFile::open(dir.path(), &disk).unwrap();
            let found = found.unwrap();
            assert!(found.counter == 3 || found.counter == 4, "{torn}: {}", found.counter);
            assert_eq!(found.books[5].done, floors(1).books[5].done);
            assert_eq!(found.books[4].gaps, floors(1).books[4].gaps);
        }
    }

    #[test]
    fn the_fullest_content_fits_its_slot() {
        let mut full = Floors { counter: u64::MAX, ..floors(1) };
        for book in &mut full.books {
            book.gaps.clear();
            for n in 0..2 * MAX_GAPS as u64 {
                book.done.insert(u64::MAX / 2 + n * 3, u64::MAX / 2 + n * 3);
            }
            let stamp = gatehouse_core::Stamp::default();
            let gap = Gap { first: u64::MAX / 2, last: u64::MAX - 1, lost: u64::MAX, reason: Reason::Damaged, stamp };
            book.gaps.resize(MAX_GAPS, gap);
        }
        assert!(full.encode().len() <= SLOT, "{}", full.encode().len());
        assert!(Floors::decode(&full.encode()).is_some());
        assert!(full.journal_copy().len() <= VALUE_MAX, "{}", full.journal_copy().len());
    }
}
