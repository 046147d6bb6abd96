//! Writing to the data folder: every write and sync of our own files goes through here.
//!
//! In tests the disk can be filled, made to fail, and copied as of its last syncs, which is what a power cut leaves.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The disk; clones share their counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    syncs: Arc<AtomicU64>,
    quarantine_drops: Arc<AtomicU64>,
    #[cfg(test)]
    pub(crate) faults: Arc<Faults>,
}

/// What a test does to the disk.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// While set, no file grows.
    pub(crate) full: std::sync::atomic::AtomicBool,
    /// While set, the journal's commits fail.
    pub(crate) journal: std::sync::atomic::AtomicBool,
    /// The data folder and the folder that shows what a power cut would leave of it.
    pub(crate) shadow: std::sync::Mutex<Option<(std::path::PathBuf, std::path::PathBuf)>>,
}

impl Disk {
    /// Creates a file that must not exist.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Opens a file for reading and writing; creates it where it is not.
    pub(crate) fn create_or_open(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        if self.faults.full.load(Ordering::SeqCst) && !path.exists() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.full.load(Ordering::SeqCst) && file.metadata()?.len() < offset + bytes.len() as u64 {
            // A full disk often takes a part.
            file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(rustix::io::Errno::NOSPC.into());
        }
        file.write_all_at(bytes, offset)
    }

    /// Makes the file's content durable.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        file.sync_data()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.mirror(path);
        Ok(())
    }

    /// Makes the folder's list of files durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    /// Calls of `sync`.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Counts what the quarantine did not take; gives how many that are.
    pub(crate) fn count_quarantine_drop(&self) -> u64 {
        self.quarantine_drops.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the quarantine did not take.
    pub(crate) fn quarantine_drops(&self) -> u64 {
        self.quarantine_drops.load(Ordering::Relaxed)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests have something to do here")]
    fn mirror(&self, _path: &Path) {}

    #[cfg(test)]
    fn mirror(&self, path: &Path) {
        if let Some((dir, shadow)) = &*self.faults.shadow.lock().unwrap() {
            let Ok(inside) = path.strip_prefix(dir) else { return };
            let parent = inside.parent().unwrap();
            std::fs::create_dir_all(shadow.join(parent)).unwrap();
            if parent.ends_with("journal") {
                // sled's other files stand beside the one that is synced.
                for entry in std::fs::read_dir(dir.join(parent)).unwrap().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                        let _ = std::fs::copy(entry.path(), shadow.join(parent).join(entry.file_name()));
                    }
                }
            } else {
                std::fs::copy(path, shadow.join(inside)).unwrap();
            }
        }
    }
}

/// True when the file system has no room (or the quota is used up).
pub(crate) fn is_full(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::NOSPC.raw_os_error()) || code == Some(rustix::io::Errno::DQUOT.raw_os_error())
}
