//! Time as an argument: monotonic instants, wall-clock times and how far these may be believed.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since the box booted, time asleep included (`CLOCK_BOOTTIME`). Never steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The instant this many milliseconds after boot.
    pub const fn from_millis(ms: u64) -> Self {
        Mono(ms * 1_000_000)
    }

    /// Time passed since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time left until `later`; zero if that has passed.
    pub fn until(self, later: Mono) -> Duration {
        later.since(self)
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Microseconds since 1970-01-01T00:00:00Z, as the box's clock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(pub i64);

/// How far a wall-clock time may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Trust {
    /// The clock was never set: the time is meaningless until an offset for its boot is known.
    #[default]
    Unset,
    /// The clock was set once and runs by itself, for example from a battery-backed clock.
    FreeRunning,
    /// The clock follows a time source.
    Synchronised,
}

impl Trust {
    /// The name in payloads and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Trust::Unset => "unset",
            Trust::FreeRunning => "free-running",
            Trust::Synchronised => "synchronised",
        }
    }
}

/// One run of the box's kernel, from `/proc/sys/kernel/random/boot_id`. Monotonic times compare only within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootId(pub u128);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When something happened: what the clock said, whether to believe it, and enough to mend it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp {
    /// The kernel run in which `mono` counts.
    pub boot: BootId,
    /// Monotonic time within that run.
    pub mono: Mono,
    /// What the wall clock said.
    pub wall: Wall,
    /// How far `wall` may be believed.
    pub trust: Trust,
}
