//! Who is asked for a fixed-clock reading, and when.
//!
//! At the fixed time each meter is read live, one after the other on each bus. Where the meter may keep daily freezes, the
//! freeze of that day is asked for a little later and goes first; it counts only if it says itself that it is of that
//! midnight. What was missed is fetched from the freezes one by one, with room between for the polls.

use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{Mono, PointIx, Stamp};

use super::Billing;
use super::owed::Due;
use super::spec::ReadingSpec;
use super::step::Step;
use crate::effect::{Act, ActId, ActResult, Effect};

/// An act that has not begun by then is given up.
pub(super) const EXPIRES: Duration = Duration::from_secs(30);
/// From one freeze that is fetched to the next on a bus: 32 meters and a week take 30 minutes, of which a line of 2400 baud
/// is busy for less than a fifth.
pub(super) const PACE: Duration = Duration::from_secs(8);

/// Whose turn it is on one bus.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The meters on it.
    pub(super) meters: Vec<usize>,
    busy: Option<ActId>,
    /// No freeze and no load record is fetched before.
    pub(super) pace: Mono,
}

impl Turn {
    /// Is taken by an act; nothing is fetched before `pace`.
    pub(super) fn take(&mut self, id: ActId, pace: Mono) {
        (self.busy, self.pace) = (Some(id), pace);
    }
}

/// An act under way.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) meter: usize,
    pub(super) reading: String,
    pub(super) day: String,
    pub(super) points: Vec<PointIx>,
    /// How many freezes ago; 0 is now.
    pub(super) back: u8,
}

impl Billing {
    /// An act came to its end. False when it was none of the machine's.
    pub fn handle_act_result(&mut self, now: Stamp, id: ActId, result: &ActResult) -> bool {
        if self.handle_load_result(now, id, result) {
            return true;
        }
        let Some(fetch) = self.fetches.remove(&id) else { return false };
        self.free(id);
        match result {
            // It was not sent, and never will be with this site file.
            ActResult::Refused(why) if fetch.back > 0 && &*why.reason == "unsupported" => {
                if let Some(meter) = self.meters.get_mut(fetch.meter) {
                    meter.unfrozen.insert(fetch.reading);
                }
            }
            // Whatever the meter refuses with, a busy one may give its freeze later: that it has none is an answer.
            ActResult::Failed(why) | ActResult::Unknown(why) => self.note_failure(now, &fetch, &why.to_string()),
            ActResult::Refused(why) => self.note_failure(now, &fetch, &why.to_string()),
            ActResult::Expired => self.note_failure(now, &fetch, "expired"),
            ActResult::Verified | ActResult::Acknowledged => self.note_failure(now, &fetch, "no_values"),
        }
        self.look(now);
        true
    }

    pub(super) fn free(&mut self, id: ActId) {
        if let Some(turn) = self.turns.values_mut().find(|turn| turn.busy == Some(id)) {
            turn.busy = None;
        }
    }

    /// Asks for what is owed, on each bus one thing at a time.
    pub(super) fn fetch(&mut self, now: Stamp) {
        let buses: Vec<Option<usize>> = self.turns.keys().copied().collect();
        for bus in buses {
            self.settle(now, bus);
            if self.turns.get(&bus).is_none_or(|turn| turn.busy.is_some()) {
                continue;
            }
            match self.next(now, bus) {
                Some((ix, at, step)) => self.ask(now, bus, (ix, at), step),
                None => self.fetch_load(now, bus),
            }
        }
    }

    /// Records what is decided already, and notes when to look again.
    fn settle(&mut self, now: Stamp, bus: Option<usize>) {
        let meters = self.turns.get(&bus).map(|turn| turn.meters.clone()).unwrap_or_default();
        for ix in meters {
            let mut at = 0;
            let mut changed = false;
            while let Some(due) = self.meters.get(ix).and_then(|meter| meter.owed.dues.get(at)) {
                let under_way =
                    self.fetches.values().any(|f| f.meter == ix && f.reading == due.reading && f.day == due.day);
                match self.step(now, ix, due) {
                    _ if under_way => at += 1,
                    Step::Settle => {
                        let due = self.take_due(ix, at);
                        due.into_iter().for_each(|due| self.tell_live(now, ix, &due));
                        changed = true;
                    }
                    Step::Gap => {
                        let due = due.clone();
                        self.tell_gap(now, ix, &due, "");
                        if let Some(due) = self.meters.get_mut(ix).and_then(|meter| meter.owed.dues.get_mut(at)) {
                            due.is_gap = true;
                        }
                        changed = true;
                    }
                    Step::Drop => {
                        self.take_due(ix, at);
                        changed = true;
                    }
                    Step::Wait(until) => {
                        self.wake_at(now, until);
                        at += 1;
                    }
                    Step::Live | Step::Freeze(_) => at += 1,
                }
            }
            if changed {
                self.keep_owed(ix);
            }
        }
    }

    fn take_due(&mut self, ix: usize, at: usize) -> Option<Due> {
        let dues = &mut self.meters.get_mut(ix)?.owed.dues;
        (at < dues.len()).then(|| dues.remove(at))
    }

    /// The next thing to ask on a bus: live readings first, then freezes, the newest first.
    fn next(&mut self, now: Stamp, bus: Option<usize>) -> Option<(usize, usize, Step)> {
        let turn = self.turns.get(&bus)?;
        let steps = turn.meters.iter().flat_map(|ix| {
            let dues = self.meters.get(*ix).map(|meter| meter.owed.dues.as_slice()).unwrap_or_default();
            dues.iter().enumerate().map(move |(at, due)| (*ix, at, due))
        });
        let steps = steps.map(|(ix, at, due)| (ix, at, due.due_us, self.step(now, ix, due)));
        let live = steps.clone().find(|(.., step)| *step == Step::Live);
        if let Some((ix, at, _, step)) = live {
            return Some((ix, at, step));
        }
        let pace = turn.pace;
        let freeze = steps
            .filter(|(.., step)| matches!(step, Step::Freeze(_)))
            .max_by_key(|(ix, _, due, _)| (*due, usize::MAX - ix));
        let (ix, at, _, step) = freeze?;
        if now.mono < pace {
            self.wake_at(now, pace);
            return None;
        }
        Some((ix, at, step))
    }

    /// A configured reading by its name.
    pub(super) fn reading(&self, name: &str) -> Option<&ReadingSpec> {
        self.readings.iter().find(|reading| reading.name == *name)
    }

    fn ask(&mut self, now: Stamp, bus: Option<usize>, (ix, at): (usize, usize), step: Step) {
        let back = match step {
            Step::Live => 0,
            Step::Freeze(number) => number,
            Step::Wait(_) | Step::Settle | Step::Gap | Step::Drop => return,
        };
        let Some(meter) = self.meters.get(ix) else { return };
        let Some(due) = meter.owed.dues.get(at) else { return };
        let of = self.reading(&due.reading).map(|spec| spec.of.as_slice()).unwrap_or_default();
        let points = of.iter().find(|(device, _)| *device == meter.spec.device).map(|(_, points)| points.clone());
        let points = points.unwrap_or_default();
        let id = self.next_act;
        self.next_act = ActId(id.0 + 1);
        let action = Action::Recall { points: points.clone(), back };
        let act = Act { id, device: meter.spec.device, action, expires: now.mono + EXPIRES, urgent: false, gate: None };
        let (reading, day) = (due.reading.clone(), due.day.clone());
        self.fetches.insert(id, Fetch { meter: ix, reading, day, points, back });
        if let Some(turn) = self.turns.get_mut(&bus) {
            turn.busy = Some(id);
            if back > 0 {
                turn.pace = now.mono + PACE;
            }
        }
        self.effects.push(Effect::Act(act));
    }

    /// The reading that an act is for, while it is owed.
    pub(super) fn due_mut(&mut self, fetch: &Fetch) -> Option<&mut Due> {
        let dues = &mut self.meters.get_mut(fetch.meter)?.owed.dues;
        dues.iter_mut().find(|due| due.reading == fetch.reading && due.day == fetch.day)
    }

    /// Notes that an attempt gave nothing, and why.
    pub(super) fn note_failure(&mut self, now: Stamp, fetch: &Fetch, why: &str) {
        if let Some(due) = self.due_mut(fetch) {
            let tried = if fetch.back > 0 { &mut due.tried.1 } else { &mut due.tried.0 };
            *tried += 1;
            // A meter whose clock is behind freezes later.
            let pause = if fetch.back > 0 { pause(*tried) } else { Duration::from_secs(5) * *tried };
            due.not_before = now.mono + pause;
            due.why = why.to_owned();
        }
    }
}

/// How long what a meter kept is not asked for again after so many failures: 10 minutes, then twice as long each time, up
/// to 80.
pub(super) fn pause(tried: u32) -> Duration {
    Duration::from_secs(300) * (1 << tried.min(4))
}
