//! What the store must be told: where, how much, how long.

use std::path::PathBuf;
use std::time::Duration;

/// Where the store lives and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The data folder, on flash. Created if missing; one daemon at a time.
    pub dir: PathBuf,
    /// The folder of the hot tail, on tmpfs (`/run/...`). Created if missing. It outlives the process, not the boot.
    pub tail_dir: PathBuf,
    /// Most bytes of readings in `dir`; at least 1 MiB. Under pressure the oldest telemetry is thinned, then dropped;
    /// billing readings go last. The journal is bounded apart from it by `max_events`.
    pub max_bytes: u64,
    /// Most events that each event lane holds unacknowledged; at least 16. Beyond it the oldest are dropped.
    pub max_events: u64,
    /// Telemetry that is unacknowledged for this long is sealed to flash: what a power cut may cost.
    pub commit_window: Duration,
    /// The same once the link has been down for `down_after`.
    pub commit_window_down: Duration,
    /// See `commit_window_down`.
    pub down_after: Duration,
    /// Unacknowledged telemetry in the hot tail beyond this is sealed early; four times as much is the tail's bound
    /// while the disk refuses, sixteen times while it is only slow.
    pub tail_bytes: usize,
    /// Size at which a segment file is closed, capped to an eighth of `max_bytes`.
    pub segment_bytes: u64,
}

impl Settings {
    /// The defaults for two folders: 256 MiB, 20,000 events a lane, windows of 1 s and 30 s.
    pub fn new(dir: impl Into<PathBuf>, tail_dir: impl Into<PathBuf>) -> Self {
        Settings {
            dir: dir.into(),
            tail_dir: tail_dir.into(),
            max_bytes: 256 << 20,
            max_events: 20_000,
            commit_window: Duration::from_secs(1),
            commit_window_down: Duration::from_secs(30),
            down_after: Duration::from_secs(60),
            tail_bytes: 1 << 20,
            segment_bytes: 4 << 20,
        }
    }
}
