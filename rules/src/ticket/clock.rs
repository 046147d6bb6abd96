//! Time that has run on a ticket's clocks: through restarts, outages and steps of the wall clock.

use std::time::Duration;

use gatehouse_core::{Stamp, Trust, Wall};
use serde::{Deserialize, Serialize};

use super::quiet::Quiet;
use crate::Instant;

/// One clock of a ticket. It counts up while it runs, quiet hours left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RunClock {
    /// What had run at `since`, or when it was stopped.
    ran_ms: u64,
    /// Since when it runs; `None`: it stands.
    since: Option<Instant>,
    /// True once its target was passed: a breach is told once.
    pub(super) breached: bool,
    /// It ran when the box went down, and how long the box was down is not known yet.
    awaits_gap: bool,
    /// There is time for which it should have run and that nobody knows.
    pub(super) uncounted: bool,
}

impl RunClock {
    /// A clock that runs from now on.
    pub(super) fn running(now: &Stamp) -> Self {
        RunClock { since: Some((*now).into()), ..RunClock::default() }
    }

    pub(super) fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// Lets it run or stand from now on. True when that changed something.
    pub(super) fn run(&mut self, on: bool, now: &Stamp, quiet: Quiet<'_>) -> bool {
        if on == self.is_running() {
            return false;
        }
        self.count(now, quiet);
        self.since = on.then(|| (*now).into());
        true
    }

    /// What has run by now.
    pub(super) fn ran(&self, now: &Stamp, quiet: Quiet<'_>) -> Duration {
        let running = self.since.map_or(Duration::ZERO, |since| span(&since, now, quiet).unwrap_or_default());
        Duration::from_millis(self.ran_ms).saturating_add(running)
    }

    /// Settles what has run so far, so that other quiet hours can hold from now on.
    pub(super) fn count(&mut self, now: &Stamp, quiet: Quiet<'_>) {
        let ran = self.ran(now, quiet);
        self.ran_ms = millis(ran);
        self.since = self.since.map(|_| (*now).into());
    }

    /// Takes up again after a reboot. `beat` is the last that is known of the boot before.
    pub(super) fn rebooted(&mut self, beat: Option<Instant>, now: &Stamp, quiet: Quiet<'_>) {
        if self.awaits_gap {
            self.awaits_gap = false;
            self.uncounted = true;
        }
        let Some(since) = self.since else { return };
        let known = beat.filter(|beat| Stamp::from(*beat).boot == Stamp::from(since).boot);
        let end = known.unwrap_or(since);
        let before = span(&since, &end.into(), quiet).unwrap_or_default();
        let down = span(&end, now, quiet);
        if down.is_none() {
            let told_later = known.is_some_and(|beat| Stamp::from(beat).trust != Trust::Unset);
            self.awaits_gap = told_later;
            self.uncounted |= !told_later;
        }
        self.ran_ms = self.ran_ms.saturating_add(millis(before.saturating_add(down.unwrap_or_default())));
        self.since = Some((*now).into());
    }

    /// Adds the time that the box was down, now that it is known. True when this clock waited for it.
    pub(super) fn gap_known(&mut self, gap: &KnownGap, quiet: Quiet<'_>) -> bool {
        if !self.awaits_gap {
            return false;
        }
        self.awaits_gap = false;
        let from = gap.from;
        let counted = gap.length.saturating_sub(quiet.within(from, plus(from, gap.length)));
        self.ran_ms = self.ran_ms.saturating_add(millis(counted));
        true
    }

    /// Time from now until `target` will have run, as far as is known now; `None` when it stands.
    pub(super) fn until(&self, target: Duration, now: &Stamp, quiet: Quiet<'_>) -> Option<Duration> {
        self.since?;
        let left = target.saturating_sub(self.ran(now, quiet));
        Some(if now.trust == Trust::Unset { left } else { quiet.time_to_run(now.wall, left) })
    }
}

/// Time between two instants without its quiet hours; `None` where nobody can tell. Without a clock no hour is quiet.
fn span(from: &Instant, to: &Stamp, quiet: Quiet<'_>) -> Option<Duration> {
    let length = from.elapsed(to)?;
    if to.trust == Trust::Unset {
        return Some(length);
    }
    let begin = Wall(to.wall.0.saturating_sub(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)));
    Some(length.saturating_sub(quiet.within(begin, to.wall)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn plus(wall: Wall, duration: Duration) -> Wall {
    Wall(wall.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}

/// How long the box was down, once its clock tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownGap {
    from: Wall,
    length: Duration,
}

/// What is kept of the box's own time, in one small document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BoxTime {
    /// The last instant that was kept while clocks ran.
    pub(super) beat: Option<Instant>,
    /// The box came up without a clock: when it was last up before, and when it came up.
    gap: Option<(Instant, Instant)>,
}

impl BoxTime {
    /// True when the box has booted since the last beat.
    pub(super) fn is_other_boot(&self, now: &Stamp) -> bool {
        self.beat.is_some_and(|beat| Stamp::from(beat).boot != now.boot)
    }

    /// Takes note of a reboot, after each clock has.
    pub(super) fn rebooted(&mut self, now: &Stamp) {
        self.gap = self.beat.filter(|beat| beat.elapsed(now).is_none()).map(|beat| (beat, (*now).into()));
        self.beat = Some((*now).into());
    }

    /// The length of the gap, once, when the clock has come to be known.
    pub(super) fn gap_known(&mut self, now: &Stamp) -> Option<KnownGap> {
        let (down, up) = self.gap?;
        let whole = down.elapsed(now)?;
        let since_up = up.elapsed(now)?;
        self.gap = None;
        Some(KnownGap { from: Stamp::from(down).wall, length: whole.saturating_sub(since_up) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_core::{BootId, Mono};

    fn stamp(boot: u128, mono_s: u64, wall_s: i64, trust: Trust) -> Stamp {
        Stamp { boot: BootId(boot), mono: Mono::from_millis(mono_s * 1000), wall: Wall(wall_s * 1_000_000), trust }
    }

    fn secs(clock: &RunClock, now: &Stamp) -> u64 {
        clock.ran(now, Quiet::NONE).as_secs()
    }

    #[test]
    fn a_stepped_wall_clock_changes_nothing() {
        let clock = RunClock::running(&stamp(1, 0, 1_000, Trust::Synchronised));
        assert_eq!(secs(&clock, &stamp(1, 60, 9_000_000, Trust::Synchronised)), 60);
        assert_eq!(secs(&clock, &stamp(1, 60, 0, Trust::Unset)), 60);
    }

    #[test]
    fn a_standing_clock_keeps_what_ran() {
        let mut clock = RunClock::running(&stamp(1, 0, 0, Trust::Synchronised));
        assert!(clock.run(false, &stamp(1, 60, 60, Trust::Synchronised), Quiet::NONE));
        assert!(!clock.run(false, &stamp(1, 90, 90, Trust::Synchronised), Quiet::NONE));
        assert_eq!(secs(&clock, &stamp(1, 600, 600, Trust::Synchronised)), 60);
        clock.run(true, &stamp(1, 600, 600, Trust::Synchronised), Quiet::NONE);
        assert_eq!(secs(&clock, &stamp(1, 610, 610, Trust::Synchronised)), 70);
        let left = clock.until(Duration::from_secs(100), &stamp(1, 610, 610, Trust::Synchronised), Quiet::NONE);
        assert_eq!(left, Some(Duration::from_secs(30)));
    }

    /// A clock that ran for 100 s, 40 s of them beyond the last beat's boot, and its box time.
    fn beaten() -> (RunClock, BoxTime) {
        let clock = RunClock::running(&stamp(1, 0, 1_000, Trust::Synchronised));
        (clock, BoxTime { beat: Some(stamp(1, 60, 1_060, Trust::Synchronised).into()), gap: None })
    }

    fn reboot(clock: &mut RunClock, time: &mut BoxTime, now: &Stamp) {
        assert!(time.is_other_boot(now));
        clock.rebooted(time.beat, now, Quiet::NONE);
        time.rebooted(now);
    }

    #[test]
    fn time_that_the_box_was_down_counts_when_the_clock_is_known() {
        let (mut clock, mut time) = beaten();
        let up = stamp(2, 5, 1_300, Trust::FreeRunning);
        reboot(&mut clock, &mut time, &up);
        assert_eq!(secs(&clock, &up), 300);
        assert!(!clock.uncounted);
        assert_eq!(time.gap_known(&up), None);
    }

    #[test]
    fn time_that_the_box_was_down_counts_once_the_clock_comes_to_be_known() {
        let (mut clock, mut time) = beaten();
        let up = stamp(2, 5, 0, Trust::Unset);
        reboot(&mut clock, &mut time, &up);
        assert_eq!(secs(&clock, &up), 60);
        assert_eq!(time.gap_known(&stamp(2, 20, 15, Trust::Unset)), None);
        let known = stamp(2, 25, 1_380, Trust::Synchronised);
        assert_eq!(secs(&clock, &known), 80);
        let gap = time.gap_known(&known).unwrap();
        assert!(clock.gap_known(&gap, Quiet::NONE));
        assert_eq!(secs(&clock, &known), 380);
        assert!(!clock.gap_known(&gap, Quiet::NONE));
        assert!(!clock.uncounted);
    }

    #[test]
    fn a_second_reboot_without_a_clock_leaves_the_first_gap_uncounted() {
        let (mut clock, mut time) = beaten();
        reboot(&mut clock, &mut time, &stamp(2, 5, 0, Trust::Unset));
        time.beat = Some(stamp(2, 25, 20, Trust::Unset).into());
        reboot(&mut clock, &mut time, &stamp(3, 5, 0, Trust::Unset));
        assert!(clock.uncounted);
        let known = stamp(3, 15, 2_000, Trust::Synchronised);
        assert_eq!(time.gap_known(&known), None);
        assert_eq!(secs(&clock, &known), 90);
    }
}
