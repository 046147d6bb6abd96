//! What is to be done for a reading that is owed, as the meter and the clock have it now.

use gatehouse_core::{Mono, Stamp};

use super::meter::Meter;
use super::owed::{Due, MOST_FREEZES};
use super::{Billing, LONGEST_SLEEP, calendar, until};
use crate::schedule::zone;

/// Meters whose clock is a little behind have frozen by then.
const FREEZE_AFTER_US: i64 = 120_000_000;
/// Attempts to read live.
const LIVE_TRIES: u32 = 12;
/// Attempts at a freeze while a live reading stands by, and for one that was missed.
const FREEZE_TRIES: (u32, u32) = (3, 24);
/// Attempts at a freeze that the meter says it does not have: the second one finds what was there all the same.
const ABSENT_TRIES: u32 = 2;

/// What is to be done for a reading that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the meter now.
    Live,
    /// Ask for its so-manieth latest freeze.
    Freeze(u8),
    /// Look again then.
    Wait(Mono),
    /// The live reading is as good as it gets.
    Settle,
    /// Nothing came in time; where a freeze may still be had, it is tried further.
    Gap,
    /// It will never come.
    Drop,
}

/// What the meter's own memory may still give of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freeze {
    /// Nothing.
    None,
    /// Something only if it gives a newer one that it owes.
    AfterNewer,
    /// Its so-manieth latest freeze.
    Number(u8),
}

impl Billing {
    /// What is to be done for one reading of a meter.
    pub(super) fn step(&self, now: Stamp, ix: usize, due: &Due) -> Step {
        let (Some(meter), Some(spec)) = (self.meters.get(ix), self.reading(&due.reading)) else { return Step::Drop };
        let wait = i64::try_from(spec.wait.as_micros()).unwrap_or(i64::MAX);
        let (opens, ends) = (due.due_us, due.due_us.saturating_add(wait));
        if now.wall.0 < opens - 60_000_000 {
            // The clock went back behind it.
            return Step::Wait(until(now, opens));
        }
        let waits = now.mono < due.not_before;
        let in_time = !due.late && now.wall.0 <= ends;
        if in_time && due.live.is_none() && due.tried.0 < LIVE_TRIES {
            return if waits { Step::Wait(due.not_before) } else { Step::Live };
        }
        match (self.freeze(now, meter, due), &due.live) {
            (Freeze::None | Freeze::AfterNewer, Some(_)) => Step::Settle,
            (Freeze::None, None) if due.is_gap => Step::Drop,
            (Freeze::None, None) => Step::Gap,
            (Freeze::AfterNewer, None) if due.is_gap => Step::Wait(now.mono + LONGEST_SLEEP),
            (Freeze::AfterNewer, None) => Step::Gap,
            (Freeze::Number(_), None) if !in_time && !due.is_gap && !due.late => Step::Gap,
            (Freeze::Number(_), _) if now.wall.0 < opens.saturating_add(FREEZE_AFTER_US) => {
                Step::Wait(until(now, opens.saturating_add(FREEZE_AFTER_US)))
            }
            (Freeze::Number(_), _) if waits => Step::Wait(due.not_before),
            (Freeze::Number(number), _) => Step::Freeze(number),
        }
    }

    /// Which freeze a reading may still be had from. Of a meter that is believed to keep none, only the newest that it owes
    /// is asked for, once a day; what is older waits for that answer.
    fn freeze(&self, now: Stamp, meter: &Meter, due: &Due) -> Freeze {
        let Some(number) = self.freeze_number(now, meter, due) else { return Freeze::None };
        let lack = &meter.owed.lack;
        if !lack.is_believed() {
            return Freeze::Number(number);
        }
        if lack.is_of(zone::local(now.wall, &self.zone).date()) {
            return Freeze::None;
        }
        let newer = |other: &Due| other.due_us > due.due_us && self.freeze_number(now, meter, other).is_some();
        if meter.owed.dues.iter().any(newer) { Freeze::AfterNewer } else { Freeze::Number(number) }
    }

    /// How many freezes ago the day was; `None` where the meter has no freeze of it, or not the right one, and where it was
    /// asked often enough.
    fn freeze_number(&self, now: Stamp, meter: &Meter, due: &Due) -> Option<u8> {
        let tries = if due.live.is_some() { FREEZE_TRIES.0 } else { FREEZE_TRIES.1 };
        let may_have = meter.spec.freezes && due.tried.1 < tries && due.absent < ABSENT_TRIES;
        if !may_have || meter.unfrozen.contains(&due.reading) || self.reading(&due.reading)?.at != (0, 0) {
            return None;
        }
        if meter.installed_at(due.due_us) != Ok(meter.current().map(|one| one.version)) {
            return None;
        }
        let today = zone::local(now.wall, &self.zone).date();
        let back = calendar::days_between(due.day.parse().ok()?, today) + 1 + meter.owed.shift;
        (1..=MOST_FREEZES).contains(&back).then(|| u8::try_from(back).ok()).flatten()
    }
}
