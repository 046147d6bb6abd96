//! Inspection rounds and patrols: whether each was made in its time, told once for each time that it was due.
//!
//! A due is the instant that the timetable names; its time goes from `before` ahead of it to `after` behind it, the end
//! not included. When all stops are proved within its time, it is done at once. Otherwise it is missed when its time is
//! over, for one of three reasons:
//!
//! | reason | when | alarm |
//! |---|---|---|
//! | `unproved` | the box watched its time end; `partly_watched` if it began to watch only within it | raised |
//! | `clock` | the clock was put past its end by over a minute, or was not to be believed at its end | unchanged |
//! | `box_off` | the daemon did not run at its end | unchanged |
//!
//! For the last two the box cannot tell whether somebody was there, so nobody is accused. The alarm `round_missed`
//! ends with the next due that is done.
//!
//! Each due is accounted for once: up to which one is kept, and never goes back. Where the clock does, the round rests
//! until it is there again, which the event `round_paused` says. Dues before the first look at a new round, or at a
//! new calendar, are none. A round that is no longer configured is forgotten, and its alarm ends.

mod record;
mod standing;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatehouse_core::{Lane, Mono, Name, Stamp, Trust, Wall};
use jiff::tz::TimeZone;

use self::record::{Kept, Reason, UnjudgedEvent};
use self::standing::{Out, Place, Standing};
use self::watch::{Watch, micros};
use super::calendar::Calendar;
use super::round::{InvalidRound, Proof, RoundSpec};
use crate::catalog::PointRef;
use crate::effect::Effect;
use crate::words::{Condition, HolderClass};

/// The most rounds of a site.
pub const MAX_ROUNDS: usize = 256;

/// The class of the alarm of a missed round; its source is the round's id.
pub const ROUND_MISSED: &str = "round_missed";

/// What begins the keys of all that is kept.
const PREFIX: &str = "round/";

/// Kept while rounds are not judged; no round can be called so.
const UNJUDGED: &str = "round/_unjudged";

/// The longest time without a look at the clock, so that a step is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Something that is wrong with the rounds of a site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRounds {
    /// A round is wrong.
    #[error("round {round}: {error}")]
    Round {
        /// The round.
        round: Name,
        /// What is wrong.
        error: InvalidRound,
    },
    /// There are too many.
    #[error("{0} rounds are more than the {MAX_ROUNDS} that a site may have")]
    TooMany(usize),
}

/// The known holder of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The pseudonym. One of more than 64 bytes, or with control characters, is not kept: the stop counts without it.
    pub who: &'a str,
    /// The class, where it is known.
    pub class: Option<HolderClass>,
}

/// All rounds of the site.
///
/// Call `restore` with what was kept, then `handle_*` with what happens, in the order of time. After each, drain
/// [`Rounds::poll_effect`] and [`Rounds::poll_condition`], and come back at [`Rounds::poll_timeout`].
#[derive(Debug)]
pub struct Rounds {
    rounds: Vec<Standing>,
    by_point: BTreeMap<PointRef, BTreeSet<usize>>,
    place: Place,
    watch: Watch,
    /// True until the first look with a clock to be believed.
    fresh: bool,
    unjudged: bool,
    /// Ids of rounds that are no longer configured.
    strangers: BTreeSet<String>,
    /// When to look next, by either clock.
    wake: Option<(Mono, Wall)>,
    out: Out,
}

impl Rounds {
    /// The rounds of a site with this calendar, in this zone.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(specs: Vec<RoundSpec>, calendar: Calendar, zone: TimeZone) -> Result<Self, Vec<InvalidRounds>> {
        if specs.len() > MAX_ROUNDS {
            return Err(vec![InvalidRounds::TooMany(specs.len())]);
        }
        let mut faults = Vec::new();
        let mut ids = BTreeSet::new();
        let mut by_point: BTreeMap<PointRef, BTreeSet<usize>> = BTreeMap::new();
        for (ix, spec) in specs.iter().enumerate() {
            let same = (!ids.insert(&spec.id)).then(|| InvalidRound::SameId(spec.id.clone()));
            let errors = same.into_iter().chain(spec.check().err().unwrap_or_default());
            faults.extend(errors.map(|error| InvalidRounds::Round { round: spec.id.clone(), error }));
            for stop in &spec.stops {
                if let Proof::Reading { point, .. } = stop.proof {
                    by_point.entry(point).or_default().insert(ix);
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Rounds {
            wake: (!specs.is_empty()).then_some((Mono(0), Wall(i64::MIN))),
            rounds: specs.into_iter().map(Standing::new).collect(),
            by_point,
            place: Place { calendar, zone },
            watch: Watch::default(),
            fresh: true,
            unjudged: false,
            strangers: BTreeSet::new(),
            out: Out::default(),
        })
    }

    /// Takes back what was kept under `key`; keys of others are ignored. Before the first `handle_*`.
    ///
    /// # Errors
    /// When the document is not one of these; the round then begins anew, as one that was never seen.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        if key == UNJUDGED {
            self.unjudged = true;
            return Ok(());
        }
        let Some(id) = key.strip_prefix(PREFIX) else { return Ok(()) };
        match self.rounds.iter_mut().find(|round| round.spec.id == *id) {
            Some(round) => round.kept = Some(serde_json::from_slice::<Kept>(value)?),
            None => {
                self.strangers.insert(id.to_owned());
                self.wake.get_or_insert((Mono(0), Wall(i64::MIN)));
            }
        }
        Ok(())
    }

    /// The round with this id.
    pub fn spec(&self, id: &str) -> Option<&RoundSpec> {
        self.rounds.iter().map(|round| &round.spec).find(|spec| spec.id == *id)
    }

    /// A known holder's card was presented at a reader. A card proves at most one stop of each round.
    pub fn handle_card(&mut self, now: Stamp, reader: &str, holder: Holder<'_>) {
        if !self.advance(now) {
            return;
        }
        let counts = |proof: &Proof| match proof {
            Proof::Card { reader: own, classes } => {
                let allowed = |classes: &BTreeSet<_>| holder.class.is_some_and(|class| classes.contains(&class));
                *own == *reader && classes.as_ref().is_none_or(allowed)
            }
            Proof::Reading { .. } => false,
        };
        self.prove(now, None, Some(holder.who), counts);
    }

    /// A point was read.
    pub fn handle_reading(&mut self, now: Stamp, point: PointRef, value: f64) {
        if !self.by_point.contains_key(&point) || !self.advance(now) {
            return;
        }
        let counts = |proof: &Proof| match proof {
            Proof::Reading { point: own, min, max } => *own == point && (*min..=*max).contains(&value),
            Proof::Card { .. } => false,
        };
        self.prove(now, Some(point), None, counts);
    }

    /// Another edition of the calendar is there. Dues whose time is over by now stay as they were under the old one; a
    /// due that is being proved and is none under the new one is cancelled.
    pub fn handle_calendar(&mut self, now: Stamp, calendar: Calendar) {
        let judged = self.advance(now);
        self.place.calendar = calendar;
        self.rounds.iter_mut().for_each(Standing::replan);
        if judged {
            self.rounds.iter_mut().for_each(|round| round.skip_past(now, &mut self.out));
            self.look(now);
        }
    }

    /// Time went on, or the clock was set.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.advance(now);
    }

    /// When to call [`Rounds::handle_timeout`]. Calling it when the clock was set as well spares up to ten minutes.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.wake.map(|(mono, _)| mono)
    }

    /// Takes the next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.poll()
    }

    /// Takes the next condition: [`ROUND_MISSED`] of a round.
    pub fn poll_condition(&mut self) -> Option<Condition> {
        self.out.conditions.pop_front()
    }

    /// Goes on to `now`. False where the clock is not to be believed, so that nothing counts.
    fn advance(&mut self, now: Stamp) -> bool {
        let Some((mono, wall)) = self.wake else { return false };
        if now.trust == Trust::Unset {
            self.lose_clock(now);
            return false;
        }
        if !(self.watch.is_steady(&now) && now.mono < mono && now.wall < wall) {
            self.look(now);
        }
        true
    }

    fn lose_clock(&mut self, now: Stamp) {
        self.watch.lose();
        self.wake = Some((now.mono + LONGEST_SLEEP, Wall(i64::MIN)));
        if !self.unjudged {
            self.unjudged = true;
            let event = UnjudgedEvent { reason: "clock_unset" };
            self.out.effects.event(Lane::Audit, now, "rounds_unjudged", &event);
            self.out.effects.keep(UNJUDGED, &true);
        }
    }

    fn look(&mut self, now: Stamp) {
        let blind = if self.unjudged { Reason::Clock } else { Reason::BoxOff };
        if std::mem::take(&mut self.unjudged) {
            self.out.effects.forget(UNJUDGED);
        }
        if std::mem::take(&mut self.fresh) {
            for id in std::mem::take(&mut self.strangers) {
                self.out.effects.forget(format!("{PREFIX}{id}"));
                self.out.condition(&id, false, "the round is no longer configured".to_owned());
            }
            self.rounds.iter_mut().for_each(|round| round.resume(now, &mut self.out));
        }
        let look = self.watch.look(now, blind);
        self.rounds.iter_mut().for_each(|round| round.settle(&look, &self.place, &mut self.out));
        self.plan_wake(now);
    }

    /// Has the first stop that `counts` proved in each round that is open; of a reading in those that its point proves.
    fn prove(&mut self, now: Stamp, point: Option<PointRef>, who: Option<&str>, counts: impl Fn(&Proof) -> bool) {
        let rounds = point.and_then(|point| self.by_point.get(&point));
        for (ix, round) in self.rounds.iter_mut().enumerate() {
            if rounds.is_some_and(|rounds| !rounds.contains(&ix)) || !round.is_open(now) {
                continue;
            }
            let Some((stop, _)) = round.missing().find(|(_, stop)| counts(&stop.proof)) else { continue };
            let turn = round.first_missing().map(|(first, _)| first);
            if !round.spec.ordered || turn == Some(stop) {
                round.prove(now, stop, who, &self.place, &mut self.out);
            } else if point.is_none() {
                round.out_of_order(&mut self.out);
            }
        }
    }

    fn plan_wake(&mut self, now: Stamp) {
        self.wake = (!self.rounds.is_empty()).then(|| {
            let closes = self.rounds.iter().filter_map(Standing::closes).min().unwrap_or(Wall(i64::MAX));
            let left_us = closes.0.saturating_sub(now.wall.0).clamp(0, micros(LONGEST_SLEEP));
            (now.mono + Duration::from_micros(left_us.unsigned_abs()), closes)
        });
    }
}

#[cfg(test)]
mod tests;
