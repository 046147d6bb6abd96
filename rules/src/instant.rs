//! Instants that outlive a restart: how they are kept, and how long ago they are.

use std::time::Duration;

use gatehouse_core::{BootId, Mono, Stamp, Trust, Wall};
use serde::{Deserialize, Serialize};

/// A [`Stamp`] as it is kept in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// The boot, in hexadecimal.
    #[serde(with = "boot_text")]
    boot: BootId,
    /// Nanoseconds since that boot.
    mono: u64,
    /// Microseconds since 1970, as the clock said.
    wall: i64,
    /// How far that may be believed: 0 unset, 1 free-running, 2 synchronised.
    trust: u8,
}

impl From<Stamp> for Instant {
    fn from(stamp: Stamp) -> Self {
        let trust = match stamp.trust {
            Trust::Unset => 0,
            Trust::FreeRunning => 1,
            Trust::Synchronised => 2,
        };
        Instant { boot: stamp.boot, mono: stamp.mono.0, wall: stamp.wall.0, trust }
    }
}

impl From<Instant> for Stamp {
    fn from(instant: Instant) -> Self {
        let trust = match instant.trust {
            0 => Trust::Unset,
            1 => Trust::FreeRunning,
            _ => Trust::Synchronised,
        };
        Stamp { boot: instant.boot, mono: Mono(instant.mono), wall: Wall(instant.wall), trust }
    }
}

impl Instant {
    /// Time from this instant to `now`, which is later: by the monotonic clock within one boot, else by the wall clock
    /// where both ends may be believed; `None` where nobody can tell. Never negative.
    pub fn elapsed(&self, now: &Stamp) -> Option<Duration> {
        if self.boot == now.boot {
            return Some(now.mono.since(Mono(self.mono)));
        }
        if self.trust == 0 || now.trust == Trust::Unset {
            return None;
        }
        Some(Duration::from_micros(u64::try_from(now.wall.0 - self.wall).unwrap_or(0)))
    }

    /// This instant on the monotonic clock of `now`'s boot: its own within one boot, else as far back as
    /// [`Instant::elapsed`] says (at the earliest the boot itself), and `now` where nobody can tell.
    pub fn mono(&self, now: &Stamp) -> Mono {
        let ago = self.elapsed(now).unwrap_or_default();
        Mono(now.mono.0.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)))
    }
}

mod boot_text {
    use gatehouse_core::BootId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(boot: &BootId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(boot)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BootId, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(BootId).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot: u128, mono_s: u64, wall_s: i64, trust: Trust) -> Stamp {
        Stamp { boot: BootId(boot), mono: Mono::from_millis(mono_s * 1000), wall: Wall(wall_s * 1_000_000), trust }
    }

    #[test]
    fn within_one_boot_a_stepped_wall_clock_changes_nothing() {
        let then = Instant::from(stamp(1, 10, 1_000, Trust::Synchronised));
        let now = stamp(1, 70, 500, Trust::Unset);
        assert_eq!(then.elapsed(&now), Some(Duration::from_secs(60)));
        assert_eq!(then.mono(&now), Mono::from_millis(10_000));
    }

    #[test]
    fn across_boots_the_wall_clock_counts_where_it_may_be_believed() {
        let then = Instant::from(stamp(1, 5_000, 1_000, Trust::FreeRunning));
        assert_eq!(then.elapsed(&stamp(2, 7, 1_060, Trust::Synchronised)), Some(Duration::from_secs(60)));
        assert_eq!(then.elapsed(&stamp(2, 7, 900, Trust::Synchronised)), Some(Duration::ZERO));
        assert_eq!(then.elapsed(&stamp(2, 7, 1_060, Trust::Unset)), None);
        assert_eq!(then.mono(&stamp(2, 100, 1_060, Trust::Synchronised)), Mono::from_millis(40_000));
    }

    #[test]
    fn a_kept_instant_comes_back_as_it_was() {
        let then = Instant::from(stamp(0xabc, 5, 7, Trust::FreeRunning));
        let text = serde_json::to_string(&then).unwrap();
        assert_eq!(serde_json::from_str::<Instant>(&text).unwrap(), then);
        assert_eq!(Stamp::from(then), stamp(0xabc, 5, 7, Trust::FreeRunning));
    }
}
