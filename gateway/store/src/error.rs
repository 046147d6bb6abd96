//! What can go wrong, in words that say where and what to do.

use std::path::{Path, PathBuf};

use gatehouse_core::Lane;

/// Why the store refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A folder or file of the store cannot be used at all.
    #[error("{what} {path}: {why}; {hint}")]
    Unusable {
        /// What was tried: `cannot create the data folder`, ...
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// Another process holds the data folder.
    #[error("the data folder {} is in use by another gatehouse: stop that one first, or give this one its own folder", .0.display())]
    Locked(PathBuf),
    /// A state value or an event is larger than the journal takes (sled spills larger ones into files it never syncs).
    #[error("{what} has {len} bytes, the journal takes at most {max}")]
    TooLarge {
        /// Which: `the value of a state key`, `an event`.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Too many batches wait for the disk.
    #[error("{0} batches wait for the disk already: the data folder is full, slow or failing")]
    Busy(usize),
    /// The numbers reserved for the lane are used up, and the disk takes no new reservation.
    #[error("lane {0}: no more sequence numbers can be reserved, because the data folder cannot be written")]
    NoNumbers(Lane),
    /// The lane does not take this: samples go to billing and telemetry, events to the other lanes.
    #[error("lane {0} does not take this kind of record")]
    WrongLane(Lane),
    /// A stored block could not be read; its bytes stay where they are and reading is tried again.
    #[error("cannot read {path}: {why}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
}

impl StoreError {
    pub(crate) fn unusable(what: &'static str, path: &Path, why: impl ToString) -> Self {
        let hint =
            "check that the disk is mounted and writable, and that the folder belongs to the user that runs gatehouse";
        StoreError::Unusable { what, path: path.into(), why: why.to_string(), hint }
    }
}
