//! How the list of one controller is made to be what it is to be: looked at, put right, and counted.
//!
//! The course: count, walk the places until so many cards were seen, put right, count again. A card is never taken off in
//! order to be put on: a changed one is written over, so that nobody who may pass is ever not listed. What goes off is
//! what no valid listing wants. Nothing is done while nothing can be said of the list.
//!
//! Putting and dropping may be told twice without harm: the controller then holds what it held. All the same each is read
//! back by the card's number before anything is concluded or repeated, since the answer to neither names its card, and
//! one that came late would stand for another. An answer that tells of no card names none either; a card that was taken
//! to be gone and is not shows in the count.

use std::time::Duration;

use gatehouse_core::{CardNumber, ControllerAnswer, ControllerAsk, Mono, NoData, Stamp, Trust};

use super::roster::Roster;
use super::told::{Change, ListState, ListView, Outcome};
use crate::access::{Listing, Unsaid};

/// A list that is as it is to be is looked at again after so long: others may have written it.
const DAILY: Duration = Duration::from_secs(24 * 3600);
/// One that could not be put right is tried again after so long.
const AGAIN: Duration = Duration::from_secs(600);
/// Walks in a row whose count does not come out right before it is told.
const WALKS: u8 = 3;
/// The most places that are looked at. Entries that were deleted keep theirs.
const PLACES: u32 = 65_536;
/// Places in a row without a card that are the list's end, though its count says that there are more; on the last of
/// [`WALKS`] nothing but [`PLACES`] is.
const EMPTY_RUN: u32 = 2_000;
/// Acts in a row that the controller does not answer, though it answers looks; from then on silence counts as a refusal.
const LOSSES: u8 = 16;
/// Changes that are told together.
const TOLD_TOGETHER: usize = 32;
/// What a listing is made of is looked at again after so long, however the clock goes.
const MADE_AGAIN: Duration = Duration::from_secs(3600);

/// Where the course is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// How many are there?
    Count,
    /// What is at this place? So many are there, so many were seen, so many places in a row were empty.
    Walk { at: u32, count: u32, seen: u32, empty: u32 },
    /// What is due is done; then it is counted.
    Mend,
    /// Nothing to do until then. Whether the list is as it is to be.
    Rest { until: Mono, equal: bool },
}

/// What the answer to a look at one card is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    number: CardNumber,
    /// The controller answered what it was told of this card, or has answered nothing of the kind for long.
    tried: bool,
    /// And said that it had done it.
    done: bool,
}

/// The list of one controller.
#[derive(Debug)]
pub(super) struct List {
    roster: Roster,
    /// The version that it is made of; `None`: it was never told what it is to be.
    said: Option<Result<u64, Unsaid>>,
    /// What the last listing was made of, by [`crate::access::Access::edition`].
    edition: Option<u64>,
    /// When it is to be made anew, by the clock and at the latest.
    made_until: Mono,
    present: bool,
    course: Course,
    look: Option<Look>,
    walks: u8,
    /// Acts in a row without an answer.
    losses: u8,
    /// The last count of the controller.
    counted: Option<u32>,
    changes: Vec<(CardNumber, Change)>,
    /// Cards put on or changed, and taken off, since the box began.
    done: (u64, u64),
    /// How the course ended last, until that is taken.
    outcome: Option<Outcome>,
    /// Changes since an outcome was told, and that outcome.
    told: (bool, Option<Outcome>),
}

impl List {
    pub(super) fn new() -> Self {
        List {
            roster: Roster::default(),
            said: None,
            edition: None,
            made_until: Mono(0),
            present: false,
            course: Course::Count,
            look: None,
            walks: 0,
            losses: 0,
            counted: None,
            changes: Vec::new(),
            done: (0, 0),
            outcome: None,
            told: (false, None),
        }
    }

    /// True when it is to be told anew what it is to be.
    pub(super) fn is_outdated(&self, now: &Stamp, edition: Option<u64>) -> bool {
        let clock_came = self.said == Some(Err(Unsaid::ClockUnset)) && now.trust != Trust::Unset;
        self.said.is_none() || self.edition != edition || clock_came || self.made_until <= now.mono
    }

    /// What it is to be from now on.
    pub(super) fn handle_listing(&mut self, now: &Stamp, edition: Option<u64>, listing: Result<Listing, Unsaid>) {
        self.edition = edition;
        self.made_until = now.mono + MADE_AGAIN;
        match listing {
            Err(why) => self.said = Some(Err(why)),
            Ok(listing) => {
                let left = u64::try_from(listing.until.0.saturating_sub(now.wall.0)).unwrap_or(0);
                self.made_until = self.made_until.min(now.mono + Duration::from_micros(left.saturating_add(1)));
                self.said = Some(Ok(listing.version));
                self.roster.replace(&listing, self.course == Course::Count);
                if let Course::Rest { .. } = self.course {
                    self.course = Course::Mend;
                }
                self.walks = 0;
            }
        }
    }

    /// The controller answers.
    pub(super) fn handle_present(&mut self) {
        self.present = true;
    }

    /// The controller was away, or was reset: nothing of its list is known.
    pub(super) fn handle_lost(&mut self) {
        self.present = false;
        self.begin();
    }

    /// All of the list is looked at.
    pub(super) fn begin(&mut self) {
        (self.course, self.look, self.walks, self.counted) = (Course::Count, None, 0, None);
        self.roster.forget();
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Mono) {
        if let Course::Rest { until, .. } = self.course
            && until <= now
        {
            self.begin();
        }
    }

    /// When to call [`List::handle_timeout`], or to tell what the list is to be.
    pub(super) fn poll_timeout(&self) -> Mono {
        match self.course {
            Course::Rest { until, .. } => until.min(self.made_until),
            Course::Count | Course::Walk { .. } | Course::Mend => self.made_until,
        }
    }

    /// What cannot wait: a card that is to leave or may have to, and the proof of what was done.
    pub(super) fn wants_first(&self) -> Option<ControllerAsk> {
        if !self.works() {
            return None;
        }
        let look = self.look.map(|look| ControllerAsk::Card(look.number));
        look.or_else(|| self.roster.next_leaving())
    }

    /// What is to be asked next.
    pub(super) fn wants(&self) -> Option<ControllerAsk> {
        if !self.works() {
            return None;
        }
        let next = self.wants_first().or_else(|| self.roster.next_due().map(ControllerAsk::PutCard));
        next.or(match self.course {
            Course::Count | Course::Mend => Some(ControllerAsk::CardCount),
            Course::Walk { at, .. } => Some(ControllerAsk::CardAt(at)),
            Course::Rest { .. } => None,
        })
    }

    fn works(&self) -> bool {
        self.present && matches!(self.said, Some(Ok(_)))
    }

    /// An answer to what [`List::wants`] asked: whether it is of use. `None`: it is to another question.
    pub(super) fn handle_answer(
        &mut self,
        now: Mono,
        ask: &ControllerAsk,
        answer: &Result<ControllerAnswer, NoData>,
    ) -> Option<bool> {
        use ControllerAnswer as Answer;
        match (ask, answer) {
            (ControllerAsk::PutCard(card), answer) => return Some(self.acted(card.number, answer)),
            (ControllerAsk::DropCard(number), answer) => return Some(self.acted(*number, answer)),
            (ControllerAsk::Card(number), Ok(Answer::Card(card))) if card.number == *number => {
                let tried = self.looked(*number).is_some_and(|look| look.tried);
                self.roster.saw(card, tried, &mut self.changes);
            }
            (ControllerAsk::Card(number), Ok(Answer::NoCard | Answer::Deleted)) => {
                let look = self.looked(*number);
                let said = (look.is_some_and(|look| look.tried), look.is_some_and(|look| look.done));
                self.roster.saw_none(*number, said, &mut self.changes);
            }
            (ControllerAsk::CardCount, Ok(Answer::Count(count))) => self.handle_count(now, *count),
            (ControllerAsk::CardAt(place), Ok(Answer::Card(card))) => {
                let new = self.roster.saw(card, false, &mut self.changes);
                self.walked(*place, Some(new));
            }
            (ControllerAsk::CardAt(place), Ok(Answer::Deleted | Answer::NoCard)) => self.walked(*place, None),
            (ControllerAsk::Card(_) | ControllerAsk::CardCount | ControllerAsk::CardAt(_), _) => return Some(false),
            (ControllerAsk::Event(_) | ControllerAsk::Listen, _) => return None,
        }
        Some(true)
    }

    /// The controller was told to change its entry of a card: whatever it says of that, the entry is read.
    fn acted(&mut self, number: CardNumber, answer: &Result<ControllerAnswer, NoData>) -> bool {
        let done = *answer == Ok(ControllerAnswer::Done);
        let answered = done || matches!(answer, Err(NoData::Exception(_)));
        self.losses = if answered { 0 } else { self.losses.saturating_add(1) };
        let tried = answered || self.losses > LOSSES;
        self.look = Some(Look { number, tried, done });
        answered
    }

    fn looked(&mut self, number: CardNumber) -> Option<Look> {
        self.look.take_if(|look| look.number == number)
    }

    fn walked(&mut self, place: u32, card: Option<bool>) {
        // A list that did not come out right twice is walked to its end, however wide its gaps are.
        let patient = self.walks + 1 >= WALKS;
        let Course::Walk { at, count, seen, empty } = &mut self.course else { return };
        if *at != place {
            return;
        }
        *at += 1;
        match card {
            Some(new) => (*seen, *empty) = (*seen + u32::from(new), 0),
            None => *empty += 1,
        }
        if seen >= count || *empty >= EMPTY_RUN && !patient || *at > PLACES {
            self.roster.end_walk();
            self.course = Course::Mend;
        }
    }

    fn handle_count(&mut self, now: Mono, count: u32) {
        self.counted = Some(count);
        match self.course {
            Course::Count if count > 0 => self.course = Course::Walk { at: 1, count, seen: 0, empty: 0 },
            Course::Count => {
                self.roster.end_walk();
                self.course = Course::Mend;
            }
            // What came while it was being counted is done first, and then it is counted again.
            Course::Mend if self.roster.next_leaving().is_some() || self.roster.next_due().is_some() => {}
            Course::Mend => self.end(now, count),
            Course::Walk { .. } | Course::Rest { .. } => {}
        }
    }

    /// Everything was done that could be: is it right now?
    fn end(&mut self, now: Mono, count: u32) {
        let (refused, stay) = self.roster.refused();
        let right = usize::try_from(count) == Ok(self.roster.listed() + stay)
            && self.roster.listed() + refused == self.roster.len();
        if !right && self.walks + 1 < WALKS {
            self.walks += 1;
            self.course = Course::Count;
            return self.roster.forget();
        }
        let equal = right && refused == 0 && stay == 0;
        self.walks = 0;
        self.course = Course::Rest { until: now + if equal { DAILY } else { AGAIN }, equal };
        let version = self.version().unwrap_or(0);
        self.outcome = Some(Outcome { equal, version, refused, stay });
    }

    /// Changes that are to be told now: enough of them, or the last ones for the time being.
    pub(super) fn poll_changes(&mut self) -> Option<Vec<(CardNumber, Change)>> {
        let goes_on = self.look.is_some() || self.roster.next_leaving().is_some() || self.roster.next_due().is_some();
        let waits = goes_on && self.works() && self.changes.len() < TOLD_TOGETHER;
        if self.changes.is_empty() || waits {
            return None;
        }
        let changes = std::mem::take(&mut self.changes);
        let dropped = changes.iter().filter(|(_, change)| *change == Change::Dropped).count();
        self.done.0 += u64::try_from(changes.len() - dropped).unwrap_or(0);
        self.done.1 += u64::try_from(dropped).unwrap_or(0);
        self.told.0 = true;
        Some(changes)
    }

    /// How the course ended, and whether that is news.
    pub(super) fn poll_outcome(&mut self) -> Option<(Outcome, bool)> {
        let outcome = self.outcome.take()?;
        let before = self.told.1.replace(outcome);
        let same = before.is_some_and(|before| Outcome { version: outcome.version, ..before } == outcome);
        let changed = std::mem::take(&mut self.told.0);
        Some((outcome, changed || !same))
    }

    /// The version that the list is made of.
    pub(super) fn version(&self) -> Option<u64> {
        self.said.and_then(Result::ok)
    }

    /// What people see of it.
    pub(super) fn view(&self) -> ListView {
        let why = self.said.map_or(Some("not_made_yet"), |said| said.err().map(Unsaid::as_str));
        let state = match self.course {
            _ if why.is_some() => ListState::Unsaid,
            _ if !self.present => ListState::Away,
            Course::Count | Course::Walk { .. } => ListState::Walking,
            Course::Mend => ListState::PuttingRight,
            Course::Rest { equal: true, .. } => ListState::Equal,
            Course::Rest { equal: false, .. } => ListState::Unequal,
        };
        let (refused, stay) = self.roster.refused();
        ListView {
            state,
            why,
            version: self.version(),
            cards: self.roster.len(),
            listed: self.roster.listed(),
            refused,
            stay,
            counted: self.counted,
            place: match self.course {
                Course::Walk { at, .. } => Some(at),
                Course::Count | Course::Mend | Course::Rest { .. } => None,
            },
            put: self.done.0,
            dropped: self.done.1,
            not_expressible: self.roster.not_expressible.clone(),
        }
    }
}
