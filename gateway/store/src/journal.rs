//! The journal: one sled tree for state, events and the copy of the floors, by the recipe that survived power cuts.
//!
//! sled 0.34.7 does not sync by `flush()` alone, spills large nodes into files that it never syncs, and stays poisoned
//! after any error; a closed database keeps its file locked until its last thread lets go. So: every commit is one batch, a flush and our own fdatasync of `db`; values have at most
//! [`VALUE_MAX`] bytes; after any error the database is closed and opened again, a full disk first given the ballast's
//! room; what cannot be opened is renamed aside.
//!
//! Keys: `s` + the caller's key: state. `e` + lane + number, big-endian: an event. `n` + lane: the lane's next number.
//! `o` + boot: a clock offset. `f`: the copy of the floors.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use gatehouse_core::{Body, Lane, Record};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::disk::{self, Disk};
use crate::wire::{Take, put_stamp, put_text};

/// Most bytes of a value: 18 KB ones made sled spill, 12 KB ones never.
pub(crate) const VALUE_MAX: usize = 12 << 10;
pub(crate) const KEY_MAX: usize = 256;
pub(crate) const FLOORS_KEY: &[u8] = b"f";
pub(crate) const STATE: u8 = b's';
const EVENT: u8 = b'e';
const NEXT: u8 = b'n';
pub(crate) const OFFSET: u8 = b'o';
/// Room that is given up when the disk is full, so that the journal can be opened and written again: four segments.
const BALLAST_BYTES: u64 = 2 << 20;
const BALLAST: &str = "ballast";
pub(crate) const FOLDER: &str = "journal";
/// sled calls this a cache; it bounds only what the pages take that were read.
const CACHE_BYTES: u64 = 1 << 20;
/// sled's flusher thread also collects garbage; our commits flush by themselves, so that it may be slow.
const FLUSHER_MS: u64 = 10_000;
/// How often the lock of sled's file is looked at, and the pause between: two seconds, where a busy core needs
/// milliseconds.
const LOCK_LOOKS: u32 = 400;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// One change: a key, and its new value or nothing.
pub(crate) type Op = (Vec<u8>, Option<Vec<u8>>);

/// Readers and the writer share the open database; `None` while it is being reopened.
pub(crate) type Shared = Arc<RwLock<Option<sled::Db>>>;

/// The writer's side.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    shared: Shared,
    disk: Disk,
    has_ballast: bool,
}

fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Waits until nobody has sled's file locked: a thread of sled's may hold it a little longer than the database is open.
/// `pause` is told how often it was called before, and ends the wait by `false`.
fn wait_for_lock(db: &Path, mut pause: impl FnMut(u32) -> bool) -> io::Result<()> {
    // Whatever else is wrong with the file, sled will say.
    let Ok(file) = File::open(db) else { return Ok(()) };
    for looks in 0.. {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if pause(looks) => {}
            Err(Errno::WOULDBLOCK) => {
                let why = format!("{} is locked by another process", db.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
            }
            Ok(()) | Err(_) => break,
        }
    }
    // Not by closing alone: a process that is being started holds copies of all files for a moment.
    let _ = rustix::fs::flock(&file, FlockOperation::Unlock);
    Ok(())
}

/// True for errors that say nothing of the journal's content: the same journal may open at the next start.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::PERM];
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::WouldBlock || passing.iter().any(|errno| code == Some(errno.raw_os_error()))
}

fn open_db(path: &Path) -> io::Result<sled::Db> {
    wait_for_lock(&path.join("db"), |looks| {
        std::thread::sleep(LOCK_PAUSE);
        looks < LOCK_LOOKS
    })?;
    let config = sled::Config::new()
        .path(path)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSHER_MS));
    config.open().map_err(io_error)
}

impl Journal {
    /// Opens the journal in the data folder; one whose content cannot be opened is renamed, and its new name given.
    pub(crate) fn open(dir: &Path, disk: &Disk) -> io::Result<(Journal, Option<PathBuf>)> {
        let path = dir.join(FOLDER);
        let (db, aside) = match open_db(&path) {
            Ok(db) => (db, None),
            Err(error) if is_passing(&error) => return Err(error),
            Err(first) => {
                // It may only be the room that is missing.
                if fs::remove_file(dir.join(BALLAST)).is_ok()
                    && let Ok(db) = open_db(&path)
                {
                    (db, None)
                } else if disk::is_full(&first) {
                    return Err(first);
                } else {
                    let free = (1..1000).map(|n| dir.join(format!("{FOLDER}.bad-{n}"))).find(|path| !path.exists());
                    let aside = free.ok_or(first)?;
                    fs::rename(&path, &aside)?;
                    (open_db(&path)?, Some(aside))
                }
            }
        };
        disk.sync_dir(dir)?;
        if let Ok(mut blobs) = fs::read_dir(path.join("blobs"))
            && blobs.next().is_some()
        {
            tracing::warn!(folder = %path.join("blobs").display(), "the journal has blob files, which are not power-safe");
        }
        let shared = Arc::new(RwLock::new(Some(db)));
        let mut journal = Journal { dir: dir.into(), shared, disk: disk.clone(), has_ballast: false };
        journal.reserve();
        Ok((journal, aside))
    }

    pub(crate) fn shared(&self) -> Shared {
        Arc::clone(&self.shared)
    }

    /// Applies the changes as one and makes them durable.
    pub(crate) fn commit(&mut self, ops: impl Iterator<Item = Op>) -> io::Result<()> {
        #[cfg(test)]
        if self.disk.faults.journal.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let mut batch = sled::Batch::default();
        for (key, value) in ops {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let guard = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let db = guard.as_ref().ok_or_else(|| io::Error::other("the journal is closed"))?;
        db.apply_batch(batch).map_err(io_error)?;
        db.flush().map_err(io_error)?;
        drop(guard);
        let path = self.dir.join(FOLDER).join("db");
        let file = File::open(&path)?;
        self.disk.sync(&file, &path)?;
        if !self.has_ballast {
            self.reserve();
        }
        Ok(())
    }

    /// Closes and opens the database after an error. `full`: gives up the ballast first.
    pub(crate) fn reopen(&mut self, full: bool) -> io::Result<()> {
        if full && self.has_ballast {
            self.has_ballast = false;
            fs::remove_file(self.dir.join(BALLAST))?;
        }
        let mut guard = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        // The old one must be gone before the new one may lock the folder.
        drop(guard.take());
        *guard = Some(open_db(&self.dir.join(FOLDER))?);
        Ok(())
    }

    /// Makes the ballast, if there is ample room for it.
    fn reserve(&mut self) {
        let path = self.dir.join(BALLAST);
        let have = fs::metadata(&path).is_ok_and(|meta| meta.len() == BALLAST_BYTES);
        let room = free_bytes(&self.dir).is_none_or(|free| free > 4 * BALLAST_BYTES);
        self.has_ballast = have
            || room
                && self.disk.create(&path).is_ok_and(|file| {
                    let flags = rustix::fs::FallocateFlags::empty();
                    let made = rustix::fs::fallocate(&file, flags, 0, BALLAST_BYTES).is_ok();
                    made || fs::remove_file(&path).is_err()
                });
    }
}

/// Room that a process without privilege has left in the file system.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Runs `read` on the open database.
pub(crate) fn with<T>(shared: &Shared, read: impl FnOnce(&sled::Db) -> Result<T, sled::Error>) -> io::Result<T> {
    let guard = shared.read().unwrap_or_else(PoisonError::into_inner);
    let db = guard.as_ref().ok_or_else(|| io::Error::other("the journal is being reopened"))?;
    read(db).map_err(io_error)
}

fn lane_code(lane: Lane) -> u8 {
    u8::try_from(lane.index()).expect("there are six lanes")
}

pub(crate) fn event_key(lane: Lane, seq: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[0] = EVENT;
    key[1] = lane_code(lane);
    key[2..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(crate) fn seq_of(key: &[u8]) -> Option<u64> {
    key.get(2..).and_then(|seq| seq.try_into().ok()).map(u64::from_be_bytes)
}

pub(crate) fn next_key(lane: Lane) -> [u8; 2] {
    [NEXT, lane_code(lane)]
}

pub(crate) fn encode_event(stamp: &gatehouse_core::Stamp, event: &gatehouse_core::Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(48 + event.kind.len() + event.json.len());
    put_stamp(&mut out, stamp);
    put_text(&mut out, event.kind);
    put_text(&mut out, &event.json);
    out
}

pub(crate) fn decode_event(lane: Lane, seq: u64, bytes: &[u8]) -> Option<Record> {
    let mut take = Take(bytes);
    let (stamp, kind, json) = (take.stamp()?, take.text()?.into(), take.text()?.into());
    Some(Record { lane, seq, stamp, body: Body::Event { kind, json } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(db: &Path) -> File {
        let file = File::open(db).unwrap();
        rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
        file
    }

    #[test]
    fn a_lock_that_outlives_its_database_is_waited_for_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        fs::write(&db, "").unwrap();
        let mut holder = Some(locked(&db));
        let mut calls = 0;
        wait_for_lock(&db, |looks| {
            assert_eq!(looks, calls);
            calls += 1;
            if calls == 3 {
                holder = None;
            }
            true
        })
        .unwrap();
        assert_eq!(calls, 3);
        // The look itself leaves no lock behind.
        let _holder = locked(&db);
        let error = wait_for_lock(&db, |looks| looks < 2).unwrap_err();
        assert!(is_passing(&error), "{error}");
    }

    #[test]
    fn a_journal_that_is_locked_is_left_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let ops = || [(b"sk".to_vec(), Some(b"v".to_vec()))].into_iter();
        let (mut journal, _) = Journal::open(dir.path(), &disk).unwrap();
        journal.commit(ops()).unwrap();
        drop(journal);
        let db = dir.path().join(FOLDER).join("db");
        wait_for_lock(&db, |_| true).unwrap();
        let holder = locked(&db);
        let error = Journal::open(dir.path(), &disk).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        drop(holder);
        let (journal, aside) = Journal::open(dir.path(), &disk).unwrap();
        assert_eq!(aside, None);
        assert_eq!(with(&journal.shared(), |db| db.get(b"sk")).unwrap().unwrap(), b"v");
    }
}
