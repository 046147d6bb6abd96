//! How far the events of one controller are taken in, and which one is to be asked for next.
//!
//! Nothing is concluded from one answer alone that says that something is not there: datagrams come late. What the
//! controller says of its last event by the way only tells that there may be more to fetch.

use gatehouse_core::{ControllerAnswer, ControllerEvent};
use serde::{Deserialize, Serialize};

/// What is kept of one controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The number of the last event taken in; 0: none.
    pub(super) taken: u32,
    /// What it looked like, without its card; `None`: it was not looked at.
    pub(super) mark: Option<String>,
}

/// What the next answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next event.
    Next,
    /// The last event taken in: is the controller still the same?
    Anchor,
    /// The last event by the controller's own word, after the next one was not there.
    Top { why: Why },
    /// An event between one that is gone and one that is there.
    Search { gone: u32, there: u32, why: Why },
    /// The next event once more, before those up to `there` are given up.
    Confirm { there: u32, why: Why },
}

/// Why events are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Newer ones have their place.
    Overwritten,
    /// The controller does not have them, though it has later ones.
    Missing,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Why::Overwritten => "overwritten",
            Why::Missing => "missing",
        }
    }
}

/// What an answer has brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing to be kept.
    Nothing,
    /// The controller is known now, from this event on.
    Met(u32),
    /// The next event.
    Event(ControllerEvent),
    /// Events from the first to the second are lost.
    Gap(u32, u32, Why),
    /// The controller began anew; so many were taken in before.
    Reset(u32),
    /// The last event taken in was looked at, and is remembered.
    Marked,
}

/// Answers in a row that say that the last event taken in is not there, before it is believed.
const DOUBTS: u8 = 2;

/// Statuses in a row whose last event is behind what was taken in, before that is believed over an event that is still
/// there: a status that was late is one alone.
const BEHIND: u8 = 5;

/// The intake of one controller.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) kept: Option<Kept>,
    /// The last event by the controller's word; `None`: to be told by its next status.
    target: Option<u32>,
    /// The controller was seen to hold the event that was taken in last.
    anchored: bool,
    step: Step,
    doubts: u8,
    /// Statuses in a row whose last event is behind what was taken in.
    behind: u8,
}

/// What an event looks like, so that it is known again: everything but its card.
fn mark(event: &ControllerEvent) -> String {
    let at = event.at.map_or(0, |at| 86_400 * at.day_number() + at.second_of_day());
    format!("{}/{}/{}/{}/{at}", event.kind.as_str(), event.door, event.granted, event.reason)
}

impl Intake {
    pub(super) fn new(kept: Option<Kept>) -> Self {
        Intake { kept, target: None, anchored: false, step: Step::Next, doubts: 0, behind: 0 }
    }

    /// The number of the last event taken in.
    pub(super) fn taken(&self) -> Option<u32> {
        self.kept.as_ref().map(|kept| kept.taken)
    }

    /// How many are known to wait.
    pub(super) fn waiting(&self) -> u32 {
        self.target.unwrap_or(0).saturating_sub(self.taken().unwrap_or(0))
    }

    /// The controller says what its last event is.
    pub(super) fn handle_last(&mut self, index: u32) -> Found {
        self.target = Some(index);
        match &self.kept {
            None => {
                self.kept = Some(Kept { taken: index, mark: None });
                self.anchored = false;
                Found::Met(index)
            }
            Some(kept) => {
                // It has fewer events than were taken in, or its word is an old one: that is looked at.
                let ahead = index >= kept.taken;
                self.anchored &= ahead;
                self.behind = if ahead { 0 } else { self.behind.saturating_add(1) };
                Found::Nothing
            }
        }
    }

    /// The controller was away: it may be another one, or have been reset.
    pub(super) fn handle_lost(&mut self) {
        (self.target, self.anchored, self.step, self.doubts) = (None, false, Step::Next, 0);
    }

    /// The event to ask for, if there is one.
    pub(super) fn wants(&mut self) -> Option<u32> {
        let (target, taken) = (self.target?, self.taken()?);
        match self.step {
            Step::Top { .. } => Some(target),
            Step::Search { gone, there, .. } => Some(gone + (there - gone) / 2),
            Step::Confirm { .. } => taken.checked_add(1),
            Step::Next | Step::Anchor if !self.anchored && taken > 0 => {
                self.step = Step::Anchor;
                Some(taken)
            }
            Step::Next | Step::Anchor => {
                (self.anchored, self.step) = (true, Step::Next);
                taken.checked_add(1).filter(|next| *next <= target)
            }
        }
    }

    /// An answer to what [`Intake::wants`] named.
    pub(super) fn handle_answer(&mut self, asked: u32, answer: &ControllerAnswer) -> Found {
        if self.wants() != Some(asked) {
            return Found::Nothing;
        }
        let gone = match answer {
            ControllerAnswer::Event(event) if event.index == asked => return self.there(event),
            ControllerAnswer::NoEvent => Why::Missing,
            ControllerAnswer::Overwritten => Why::Overwritten,
            _ => return Found::Nothing,
        };
        match self.step {
            Step::Anchor => self.not_anchored(gone),
            Step::Next => {
                self.step = Step::Top { why: gone };
                Found::Nothing
            }
            // Its word was wrong or is old: its next status tells.
            Step::Top { .. } => {
                (self.step, self.target) = (Step::Next, None);
                Found::Nothing
            }
            Step::Search { there, why, .. } => self.narrow(asked, there, why),
            Step::Confirm { there, why } => self.give_up(there, why),
        }
    }

    fn there(&mut self, event: &ControllerEvent) -> Found {
        let Some(kept) = &mut self.kept else { return Found::Nothing };
        match self.step {
            Step::Anchor => {
                let seen = mark(event);
                if self.behind >= BEHIND || kept.mark.as_ref().is_some_and(|mark| *mark != seen) {
                    return self.begins_anew();
                }
                // A word that was behind what is taken in was an old one.
                self.target = self.target.filter(|target| *target >= kept.taken);
                (self.anchored, self.step, self.doubts) = (true, Step::Next, 0);
                if kept.mark.replace(seen).is_none() { Found::Marked } else { Found::Nothing }
            }
            Step::Next | Step::Confirm { .. } => {
                *kept = Kept { taken: event.index, mark: Some(mark(event)) };
                (self.step, self.anchored) = (Step::Next, true);
                Found::Event(event.clone())
            }
            Step::Top { why } => {
                let gone = kept.taken.saturating_add(1);
                self.narrow(gone, event.index, why)
            }
            Step::Search { gone, why, .. } => self.narrow(gone, event.index, why),
        }
    }

    fn narrow(&mut self, gone: u32, there: u32, why: Why) -> Found {
        self.step = if there.saturating_sub(gone) > 1 {
            Step::Search { gone, there, why }
        } else {
            Step::Confirm { there, why }
        };
        Found::Nothing
    }

    fn give_up(&mut self, there: u32, why: Why) -> Found {
        self.step = Step::Next;
        let Some(kept) = &mut self.kept else { return Found::Nothing };
        let first = kept.taken.saturating_add(1);
        let last = there.saturating_sub(1);
        if last < first {
            return Found::Nothing;
        }
        *kept = Kept { taken: last, mark: None };
        // There is no event to know the controller by until the next one is taken in.
        self.anchored = true;
        Found::Gap(first, last, why)
    }

    /// The last event taken in is not there.
    fn not_anchored(&mut self, gone: Why) -> Found {
        match gone {
            // It was there: what is lost shows with the next one.
            Why::Overwritten => {
                (self.anchored, self.step) = (true, Step::Next);
                Found::Nothing
            }
            Why::Missing => {
                self.doubts += 1;
                if self.doubts < DOUBTS { Found::Nothing } else { self.begins_anew() }
            }
        }
    }

    fn begins_anew(&mut self) -> Found {
        let before = self.taken().unwrap_or(0);
        self.kept = Some(Kept { taken: 0, mark: None });
        (self.anchored, self.step, self.doubts, self.behind) = (true, Step::Next, 0, 0);
        Found::Reset(before)
    }
}
