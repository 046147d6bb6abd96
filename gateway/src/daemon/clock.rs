//! The box's clocks: monotonic time, wall time and how far it may be believed.

use std::cell::Cell;
use std::time::Duration;

use gatehouse_core::{BootId, Mono, Stamp, Trust, Wall};
use rustix::time::{ClockId, clock_gettime};

/// A wall-clock step smaller than this is drift that the time source slews away, not news.
const STEP_US: i64 = 500_000;
/// How long the kernel's word on synchronisation is believed before it is asked again.
const TRUST_AGE: Duration = Duration::from_secs(10);

/// Reads the box's clocks. Interior state only caches the kernel's word on synchronisation.
#[derive(Debug)]
pub struct Clock {
    boot: BootId,
    trust: Cell<(Mono, Trust)>,
    /// Wall minus monotonic microseconds, as someone else said; counts while the box's own clock is not synchronised.
    offered: Cell<Option<(i64, Offer)>>,
    announced: Cell<Option<(i64, Trust)>>,
}

/// Who told the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The core, over a checked session.
    Core,
    /// The box's battery-backed clock.
    Rtc,
}

impl Source {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Core => "core",
            Source::Rtc => "rtc",
        }
    }
}

/// Where a time is from that is not the box's own clock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Who told it.
    pub source: Source,
    /// How far off it may have been when it was told.
    pub accuracy: Duration,
}

/// The wall clock now relates to monotonic time in another way than was last announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockChange {
    /// Now, by the new relation.
    pub stamp: Stamp,
    /// Wall minus monotonic time, microseconds.
    pub offset_us: i64,
    /// How far the wall clock moved, microseconds; 0 when only its trust changed.
    pub step_us: i64,
    /// The trust before.
    pub before: Trust,
    /// Where the time is from, if not from the box's own clock.
    pub offer: Option<Offer>,
}

impl Clock {
    /// The clocks of this box.
    pub fn open() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = BootId(u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or_default());
        let clock = Clock {
            boot,
            trust: Cell::new((Mono(0), Trust::Unset)),
            offered: Cell::new(None),
            announced: Cell::new(None),
        };
        clock.trust.set((clock.mono(), clock.ask_trust()));
        clock
    }

    /// Monotonic time, time asleep included.
    pub fn mono(&self) -> Mono {
        let t = clock_gettime(ClockId::Boottime);
        Mono(u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0))
    }

    /// Now, on both clocks.
    pub fn now(&self) -> Stamp {
        let mono = self.mono();
        self.stamp(mono)
    }

    /// The stamp of a moment shortly ago.
    pub fn stamp(&self, at: Mono) -> Stamp {
        let mono = self.mono();
        let (asked, mut trust) = self.trust.get();
        if mono.since(asked) > TRUST_AGE {
            trust = self.ask_trust();
            self.trust.set((mono, trust));
        }
        let (wall_now, trust) = match (trust, self.offered.get()) {
            (Trust::Synchronised, _) | (_, None) => (system_wall(), trust),
            (_, Some((offset, _))) => (micros(mono) + offset, Trust::FreeRunning),
        };
        let ago_us = i64::try_from(mono.since(at).as_micros()).unwrap_or(0);
        Stamp { boot: self.boot, mono: at, wall: Wall(wall_now - ago_us), trust }
    }

    /// Takes the time of this moment from elsewhere; it counts while the box's own clock is not synchronised.
    pub fn offer(&self, wall: Wall, offer: Offer) {
        self.offered.set(Some((wall.0 - micros(self.mono()), offer)));
    }

    /// Where the time in force is from, if it is one that was offered.
    pub fn offered(&self) -> Option<Offer> {
        let own = self.trust.get().1 == Trust::Synchronised;
        self.offered.get().filter(|_| !own).map(|(_, offer)| offer)
    }

    /// Asks the kernel anew and tells once of each change: a step, or another trust.
    pub fn poll_change(&self) -> Option<ClockChange> {
        self.trust.set((self.mono(), self.ask_trust()));
        let stamp = self.now();
        let offset_us = stamp.wall.0 - micros(stamp.mono);
        let before = self.announced.replace(Some((offset_us, stamp.trust)));
        let (old_offset, old_trust) = before.unwrap_or((offset_us, Trust::Unset));
        let step_us = if (offset_us - old_offset).abs() >= STEP_US { offset_us - old_offset } else { 0 };
        let news = before.is_none() || step_us != 0 || old_trust != stamp.trust;
        if !news {
            // Slow drift adds up against the announced offset until it is worth telling.
            self.announced.set(before);
        }
        let offer = self.offered();
        news.then_some(ClockChange { stamp, offset_us, step_us, before: old_trust, offer })
    }

    fn ask_trust(&self) -> Trust {
        if system_wall() < built().0 {
            Trust::Unset
        } else if kernel_synchronised() {
            Trust::Synchronised
        } else {
            Trust::FreeRunning
        }
    }
}

/// When this binary was built: no clock before that can be right.
pub fn built() -> Wall {
    Wall(env!("GATEHOUSE_BUILT").parse::<i64>().unwrap_or(0) * 1_000_000)
}

fn system_wall() -> i64 {
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec * 1_000_000 + t.tv_nsec / 1000
}

fn micros(mono: Mono) -> i64 {
    i64::try_from(mono.0 / 1000).unwrap_or(i64::MAX)
}

/// The kernel's own word (`adjtimex(2)`, `STA_UNSYNC`), which every NTP client sets.
fn kernel_synchronised() -> bool {
    // SAFETY: timex is plain data, for which zero is valid; modes 0 only reads.
    let (state, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex.status)
    };
    state >= 0 && state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_the_core_offers_counts_unless_the_clock_is_synchronised() {
        let clock = Clock::open();
        let own = clock.now();
        let offer = Offer { source: Source::Core, accuracy: Duration::from_millis(50) };
        clock.offer(Wall(own.wall.0 + 3_600_000_000), offer);
        clock.trust.set((clock.mono(), Trust::Unset));
        let told = clock.now();
        assert!((3_590_000_000..3_700_000_000).contains(&(told.wall.0 - own.wall.0)));
        assert_eq!(told.trust, Trust::FreeRunning);
        clock.trust.set((clock.mono(), Trust::Synchronised));
        assert!((clock.now().wall.0 - own.wall.0).abs() < 60_000_000);
    }

    #[test]
    fn the_first_look_is_news_and_the_second_is_not() {
        let clock = Clock::open();
        let first = clock.poll_change().expect("the first offset is always told");
        assert_eq!(first.step_us, 0);
        assert_eq!(clock.poll_change(), None);
    }

    #[test]
    fn the_stamp_of_an_earlier_moment_lies_as_far_back_on_both_clocks() {
        let clock = Clock::open();
        let now = clock.now();
        let earlier = clock.stamp(Mono(now.mono.0 - 5_000_000_000));
        let back = now.wall.0 - earlier.wall.0;
        assert!((4_900_000..=5_100_000).contains(&back), "{back}");
    }
}
