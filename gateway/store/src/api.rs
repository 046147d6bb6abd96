//! What goes into the store and what it says, beside the records themselves.

use std::path::PathBuf;
use std::time::Duration;

use gatehouse_core::{BootId, Event, Lane, Stamp, Trust, Wall};

/// One atomic change: state and the events that it caused, so that neither exists without the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// State to set (`Some`) or to delete (`None`). Keys are of the caller's making: at most 256 bytes, by convention a
    /// kind, a slash and an identity (`alarm/boiler-1`), so that a scan by prefix gives one kind.
    pub state: Vec<StateChange>,
    /// Events for the event lanes, in order.
    pub events: Vec<(Lane, Stamp, Event)>,
}

/// A state key, and its new value or nothing.
pub type StateChange = (Box<[u8]>, Option<Box<[u8]>>);

/// Names a batch until [`StoreEvent::Committed`] says that it is on the disk. Tickets are committed in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitTicket(pub u64);

/// What the store has to say; drained by `poll_event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// The batch with this ticket, and every one before it, is durable.
    Committed(CommitTicket),
    /// Billing readings, events or a gap up to here may be sent now. Telemetry may be sent as soon as it is appended and
    /// is announced here only for its gaps.
    Sendable {
        /// The lane.
        lane: Lane,
        /// The highest number that may be sent.
        up_to: u64,
    },
    /// Something is wrong; said once, until `Recovered` ends it.
    Trouble(Trouble),
    /// The trouble of this kind has ended.
    Recovered(TroubleKind),
}

/// Kinds of trouble; each is said once until it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TroubleKind {
    /// The data folder is full.
    DiskFull,
    /// The data folder cannot be written for another reason than being full.
    DiskFailing,
    /// The journal returned an error and is being reopened.
    JournalFailing,
    /// The tmpfs of the hot tail cannot be written; a killed process loses what is not yet sealed.
    TailFailing,
    /// A stored block or file was damaged; its bytes were put aside. Ends by itself.
    Damaged,
    /// The bound was reached: old telemetry was thinned or dropped. Ends by itself.
    Bounded,
}

impl TroubleKind {
    /// The name in metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            TroubleKind::DiskFull => "disk_full",
            TroubleKind::DiskFailing => "disk_failing",
            TroubleKind::JournalFailing => "journal_failing",
            TroubleKind::TailFailing => "tail_failing",
            TroubleKind::Damaged => "damaged",
            TroubleKind::Bounded => "bounded",
        }
    }
}

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The kind.
    pub kind: TroubleKind,
    /// Where, why and what to do, in one sentence.
    pub text: String,
}

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastStop {
    /// There was none: the data folder is new.
    First,
    /// It was shut down in order.
    Clean,
    /// The process was killed; the box went on, and nothing is lost.
    Killed,
    /// The box lost power or was reset; numbers resume at the reserved ceiling behind a gap record.
    PowerCut,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// How the last run ended.
    pub last_stop: LastStop,
    /// True when every copy of the sequence was lost and the epoch is a new one.
    pub new_epoch: bool,
    /// Where the old journal was put, if it could not be opened.
    pub journal_set_aside: Option<PathBuf>,
    /// Files of damaged bytes that were put aside now.
    pub quarantined: Vec<PathBuf>,
    /// Files in the data folder that are not the store's (at most 16 named); they are left alone.
    pub foreign: Vec<PathBuf>,
    /// Gap records left now: lane, first and last number, why.
    pub gaps: Vec<(Lane, u64, u64, &'static str)>,
    /// How long opening took.
    pub took: Duration,
}

/// What one lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneStatus {
    /// The lane.
    pub lane: Lane,
    /// Records that are not acknowledged.
    pub held: u64,
    /// Bytes that they take on the disk and in the tail (for events: of the values alone).
    pub bytes: u64,
    /// When the oldest of them happened.
    pub oldest: Option<(Wall, Trust)>,
    /// The highest number given.
    pub newest: u64,
    /// Gap records that wait to be acknowledged.
    pub gaps: u64,
    /// Stored records that are gone since the lane began, by bounds and damage.
    pub lost: u64,
}

/// What the whole store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// The epoch of all numbers.
    pub epoch: u64,
    /// Each lane, in the order of [`Lane::ALL`].
    pub lanes: [LaneStatus; 6],
    /// Bytes of segment files.
    pub spool_bytes: u64,
    /// Their bound.
    pub max_bytes: u64,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
    /// Bytes in the hot tail.
    pub tail_bytes: u64,
    /// Room left in the file system of the data folder, if it can be asked.
    pub free_bytes: Option<u64>,
    /// What is wrong now.
    pub troubles: Vec<Trouble>,
    /// Counts since the start: seals, commits, syncs and bytes written to the data folder by the store.
    pub written: Written,
}

/// Counts of work since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Blocks sealed.
    pub blocks: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of them.
    pub block_bytes: u64,
    /// Journal commits (several batches may share one).
    pub commits: u64,
    /// Calls of fdatasync.
    pub syncs: u64,
    /// Acknowledgements that could not be remembered, because too many ranges were open; their records go twice.
    pub acks_dropped: u64,
    /// Damaged pieces and refused records that did not fit into the quarantine (16 MiB), or that the disk did not take.
    pub quarantine_dropped: u64,
}

/// What mends the stamps of one boot: wall = monotonic + offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// The boot.
    pub boot: BootId,
    /// Microseconds to add to the monotonic time.
    pub offset_us: i64,
    /// How far the wall-clock time so computed may be believed.
    pub trust: Trust,
}
