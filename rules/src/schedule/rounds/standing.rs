//! One round: which due is next, what of it is proved, and what became of the dues before it.

use std::collections::VecDeque;

use gatehouse_core::{Lane, Stamp, Wall};
use jiff::tz::TimeZone;

use super::record::{Kept, Outcome, PausedEvent, Progress, Proved, Reason, RoundEvent, Run, StopEvent};
use super::watch::{Look, STEP_US};
use super::{PREFIX, ROUND_MISSED};
use crate::effect::Effects;
use crate::schedule::calendar::Calendar;
use crate::schedule::round::{RoundSpec, Stop};
use crate::schedule::zone::local;
use crate::words::{AlarmId, Condition};

/// Dues missed in one row, after the first, from which on they are told together.
const TOGETHER: usize = 16;

/// Dues of one round that are counted at one look.
const COUNTED: usize = 4096;

/// How far ahead the next due is looked for: a little over a year, in microseconds.
const AHEAD_US: i64 = 400 * 86_400_000_000;

/// The longest pseudonym that is kept, in bytes.
const WHO_BYTES: usize = 64;

/// Where the site is in time.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) calendar: Calendar,
    pub(super) zone: TimeZone,
}

/// What the rounds want.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) effects: Effects,
    pub(super) conditions: VecDeque<Condition>,
}

impl Out {
    /// Says whether the round is missed.
    pub(super) fn condition(&mut self, round: &str, missed: bool, message: String) {
        let id = AlarmId { class: ROUND_MISSED.to_owned(), source: round.to_owned() };
        self.conditions.push_back(Condition { id, active: Some(missed), device: None, message });
    }
}

/// One round.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) spec: RoundSpec,
    pub(super) kept: Option<Kept>,
    next: Option<Wall>,
}

/// How a due ended, or several in a row.
struct Ending {
    due: Wall,
    outcome: Outcome,
    reason: Option<Reason>,
    run: Option<Run>,
    partly_watched: bool,
}

impl Ending {
    fn of(due: Wall, outcome: Outcome) -> Self {
        Ending { due, outcome, reason: None, run: None, partly_watched: false }
    }
}

impl Standing {
    pub(super) fn new(spec: RoundSpec) -> Self {
        Standing { spec, kept: None, next: None }
    }

    /// When the time of the next due is over.
    pub(super) fn closes(&self) -> Option<Wall> {
        self.next.map(|due| self.spec.closes(due))
    }

    /// The first look of a run: says whether the round is missed, for a restart may have kept that from the alarms.
    pub(super) fn resume(&mut self, now: Stamp, out: &mut Out) {
        if self.kept.is_none() {
            self.kept = Some(Kept { through_us: now.wall.0, missed: false, paused: false, open: None });
            self.keep(out);
        }
        let missed = self.kept.as_ref().is_some_and(|kept| kept.missed);
        let message = if missed { format!("{} was missed", self.spec.title) } else { String::new() };
        self.condition(missed, message, out);
    }

    /// The calendar is another: the next due is to be found anew.
    pub(super) fn replan(&mut self) {
        self.next = None;
    }

    /// Dues whose time is over by `now` count as accounted for: they were not due under the calendar of their time.
    pub(super) fn skip_past(&mut self, now: Stamp, out: &mut Out) {
        let through_us = now.wall.0.saturating_sub(self.after_us());
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.through_us < through_us) else { return };
        kept.through_us = through_us;
        self.keep(out);
    }

    /// Accounts for every due whose time is over.
    pub(super) fn settle(&mut self, look: &Look, place: &Place, out: &mut Out) {
        let now = look.now;
        if self.next.is_none() {
            self.next = self.find_next(now, place);
        }
        self.cancel_stray(now, out);
        self.finish_shortened(now, place, out);
        self.tell_pause(now, out);
        let Some(kept) = &self.kept else { return };
        let over = |due: &Wall| self.spec.closes(*due) <= now.wall;
        if !self.next.is_some_and(|due| over(&due)) {
            return;
        }
        let dues = self.spec.due.dues(Wall(kept.through_us), now.wall, &place.calendar, &place.zone);
        let mut passed: Vec<Wall> = dues.take_while(over).take(COUNTED + 1).collect();
        let more = passed.len() > COUNTED;
        passed.truncate(COUNTED);
        let watched = passed.partition_point(|due| self.spec.closes(*due) <= look.watched_to);
        let (seen, unseen) = passed.split_at(watched);
        self.miss(seen, Reason::Unproved, more && unseen.is_empty(), look, place, out);
        self.miss(unseen, look.blind, more, look, place, out);
        let last = if more { Some(now.wall.0.saturating_sub(self.after_us())) } else { passed.last().map(|due| due.0) };
        if let (Some(kept), Some(last)) = (&mut self.kept, last) {
            kept.through_us = last;
        }
        self.keep(out);
        self.next = self.find_next(now, place);
    }

    /// Takes the proof of the stop at `stop`, which is not proved yet and whose turn it is.
    pub(super) fn prove(&mut self, now: Stamp, stop: usize, who: Option<&str>, place: &Place, out: &mut Out) {
        let (Some(due), Some(stop)) = (self.next, self.spec.stops.get(stop)) else { return };
        let who = who.filter(|who| who.len() <= WHO_BYTES && !who.chars().any(char::is_control)).map(str::to_owned);
        let proved = Proved { stop: stop.id.to_string(), at: now.into(), who };
        let Some(progress) = self.progress(due) else { return };
        progress.stops.push(proved);
        if self.first_missing().is_none() {
            self.finish(now, due, place, out);
        }
        self.keep(out);
    }

    /// All stops are proved.
    fn finish(&mut self, now: Stamp, due: Wall, place: &Place, out: &mut Out) {
        let Some(kept) = &mut self.kept else { return };
        (kept.through_us, kept.missed) = (due.0, false);
        let progress = kept.open.take();
        self.tell(now, &Ending::of(due, Outcome::Done), progress.as_ref(), out);
        self.condition(false, format!("{} was made", self.spec.title), out);
        self.next = self.find_next(now, place);
    }

    /// Counts a card that came before its turn.
    pub(super) fn out_of_order(&mut self, out: &mut Out) {
        let Some(due) = self.next else { return };
        if let Some(progress) = self.progress(due) {
            progress.out_of_order = progress.out_of_order.saturating_add(1);
            self.keep(out);
        }
    }

    /// True while the stops of the next due may be proved.
    pub(super) fn is_open(&self, now: Stamp) -> bool {
        let begun = |due: Wall| self.is_begun() || self.spec.opens(due) <= now.wall;
        self.next.is_some_and(|due| begun(due) && now.wall < self.spec.closes(due))
    }

    /// The first stop, in order, that is not proved, with its position.
    pub(super) fn first_missing(&self) -> Option<(usize, &Stop)> {
        self.missing().next()
    }

    /// The stops that are not proved, with their positions.
    pub(super) fn missing(&self) -> impl Iterator<Item = (usize, &Stop)> {
        let progress = self.kept.as_ref().and_then(|kept| kept.open.as_ref());
        let proved = move |stop: &Stop| proof_of(progress, stop).is_some();
        self.spec.stops.iter().enumerate().filter(move |(_, stop)| !proved(stop))
    }

    /// True when something of the next due is proved; a clock that is put back does not shut its time again.
    fn is_begun(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.open.is_some())
    }

    fn progress(&mut self, due: Wall) -> Option<&mut Progress> {
        let fresh = || Progress { due_us: due.0, stops: Vec::new(), out_of_order: 0 };
        self.kept.as_mut().map(|kept| kept.open.get_or_insert_with(fresh))
    }

    fn find_next(&self, now: Stamp, place: &Place) -> Option<Wall> {
        let through = Wall(self.kept.as_ref()?.through_us);
        let until = Wall(through.max(now.wall).0.saturating_add(AHEAD_US));
        self.spec.due.dues(through, until, &place.calendar, &place.zone).next()
    }

    /// Gives up what is proved of a due that is no longer one.
    fn cancel_stray(&mut self, now: Stamp, out: &mut Out) {
        let next = self.next;
        let stray = |open: &mut Progress| next != Some(Wall(open.due_us));
        let Some(open) = self.kept.as_mut().and_then(|kept| kept.open.take_if(stray)) else { return };
        let due = Wall(open.due_us);
        let ending = Ending { reason: Some(Reason::Changed), ..Ending::of(due, Outcome::Cancelled) };
        self.tell(now, &ending, Some(&open), out);
        self.keep(out);
    }

    /// Ends a due of which nothing is missing any more, because the round has lost the stops that were.
    fn finish_shortened(&mut self, now: Stamp, place: &Place, out: &mut Out) {
        if let Some(due) = self.next.filter(|_| self.is_begun() && self.first_missing().is_none()) {
            self.finish(now, due, place, out);
            self.keep(out);
        }
    }

    /// Says once that the clock went back behind what is accounted for, since nothing is due until it is there again.
    fn tell_pause(&mut self, now: Stamp, out: &mut Out) {
        let Some(kept) = &mut self.kept else { return };
        let until_us = kept.through_us;
        let paused = self.spec.opens(Wall(until_us)).0 > now.wall.0.saturating_add(STEP_US);
        if kept.paused == paused {
            return;
        }
        kept.paused = paused;
        if paused {
            let event = PausedEvent { round: &self.spec.id, until_us };
            out.effects.event(Lane::Audit, now, "round_paused", &event);
        }
        self.keep(out);
    }

    /// Tells that these dues were missed, the first with what was proved of it.
    fn miss(&mut self, dues: &[Wall], reason: Reason, or_more: bool, look: &Look, place: &Place, out: &mut Out) {
        let Some((&first, rest)) = dues.split_first() else { return };
        let progress = self.kept.as_mut().and_then(|kept| kept.open.take());
        let mut tell = |due: Wall, run, progress: Option<&Progress>| {
            let partly_watched = reason == Reason::Unproved && self.spec.opens(due) < look.since;
            let ending = Ending { due, outcome: Outcome::Missed, reason: Some(reason), run, partly_watched };
            self.tell(look.now, &ending, progress, out);
        };
        let run = |last: Wall, count| Some(Run { last_due_us: last.0, count, or_more });
        tell(first, if or_more && rest.is_empty() { run(first, 1) } else { None }, progress.as_ref());
        match (rest.first(), rest.last()) {
            (Some(begin), Some(last)) if or_more || rest.len() >= TOGETHER => {
                tell(*begin, run(*last, rest.len()), None);
            }
            _ => rest.iter().for_each(|due| tell(*due, None, None)),
        }
        if reason == Reason::Unproved {
            let last_progress = if rest.is_empty() { progress.as_ref() } else { None };
            let message = self.missed_message(*dues.last().unwrap_or(&first), last_progress, place);
            if let Some(kept) = &mut self.kept {
                kept.missed = true;
            }
            self.condition(true, message, out);
        }
    }

    fn missed_message(&self, due: Wall, progress: Option<&Progress>, place: &Place) -> String {
        let stops = &self.spec.stops;
        let missing: Vec<&str> =
            stops.iter().filter(|stop| proof_of(progress, stop).is_none()).map(|stop| stop.id.as_str()).collect();
        let due = local(due, &place.zone).strftime("%Y-%m-%d %H:%M");
        let (title, count, all) = (&self.spec.title, missing.len(), stops.len());
        format!("{title}, due {due}: {count} of {all} stops not proved: {}", missing.join(", "))
    }

    fn tell(&self, now: Stamp, ending: &Ending, progress: Option<&Progress>, out: &mut Out) {
        let stop = |stop| {
            let proof: Option<&Proved> = proof_of(progress, stop);
            let at_us = proof.map(|proof| Stamp::from(proof.at).wall.0);
            StopEvent { stop: stop.id.as_str(), at_us, who: proof.and_then(|proof| proof.who.as_deref()) }
        };
        let event = RoundEvent {
            round: &self.spec.id,
            due_us: ending.due.0,
            outcome: ending.outcome,
            reason: ending.reason,
            run: ending.run,
            partly_watched: ending.partly_watched,
            out_of_order: progress.map_or(0, |progress| progress.out_of_order),
            stops: self.spec.stops.iter().map(stop).collect(),
        };
        out.effects.event(Lane::Audit, now, "round", &event);
    }

    fn condition(&self, missed: bool, message: String, out: &mut Out) {
        out.condition(&self.spec.id, missed, message);
    }

    fn keep(&self, out: &mut Out) {
        if let Some(kept) = &self.kept {
            out.effects.keep(format!("{PREFIX}{}", self.spec.id), kept);
        }
    }

    fn after_us(&self) -> i64 {
        self.spec.closes(Wall(0)).0
    }
}

fn proof_of<'a>(progress: Option<&'a Progress>, stop: &Stop) -> Option<&'a Proved> {
    progress?.stops.iter().find(|proved| proved.stop == *stop.id)
}
