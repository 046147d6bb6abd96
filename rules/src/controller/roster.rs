//! The cards that a list is to have, what is known of each, and those that are to be taken off it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gatehouse_core::{CardNumber, ControllerAsk, ListedCard};
use zeroize::Zeroize;

use super::told::Change;
use crate::access::{Inexpressible, Listing};

/// So often a card is refused in one go before it is left.
const TRIES: u8 = 3;
/// So many cards in a row that the controller does not take say that it takes none: it is full.
const REFUSED_RUN: usize = 5;

/// What is known of a card that is to be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing yet: it is looked for.
    Nothing,
    /// It is not there, or has other rights.
    Due,
    /// It was seen there, as it is to be.
    Listed,
    /// The controller does not take it.
    Refused,
}

#[derive(Debug)]
struct Wanted {
    card: ListedCard,
    known: Known,
    /// It was seen there, maybe with other rights.
    there: bool,
    tries: u8,
}

#[derive(Debug)]
struct Leaving {
    number: CardNumber,
    /// It was seen there.
    there: bool,
    /// Nobody knows whether it is there: it is looked for before it is taken off.
    supposed: bool,
    tries: u8,
}

/// The cards of one list.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// By number.
    wanted: Vec<Wanted>,
    /// The places of those that are due.
    due: BTreeSet<usize>,
    leaving: VecDeque<Leaving>,
    /// It was told once what it is to have.
    begun: bool,
    /// How many that were to leave stay, because the controller does not let them go.
    stay: usize,
    refused_run: usize,
    /// How many are listed.
    listed: usize,
    pub(super) not_expressible: BTreeMap<Inexpressible, u32>,
}

impl Drop for Roster {
    fn drop(&mut self) {
        self.wanted.iter_mut().for_each(|wanted| wanted.card.number.zeroize());
        self.leaving.iter_mut().for_each(|leaving| leaving.number.zeroize());
    }
}

impl Roster {
    /// How many cards are to be listed.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// How many are listed as they are to be.
    pub(super) fn listed(&self) -> usize {
        self.listed
    }

    /// How many the controller does not take, and how many it does not let go.
    pub(super) fn refused(&self) -> (usize, usize) {
        let refused = self.wanted.iter().filter(|wanted| wanted.known == Known::Refused).count();
        (refused, self.stay)
    }

    /// What is to be asked next about the cards to take off.
    pub(super) fn next_leaving(&self) -> Option<ControllerAsk> {
        self.leaving.front().map(|Leaving { number, supposed, .. }| match supposed {
            true => ControllerAsk::Card(*number),
            false => ControllerAsk::DropCard(*number),
        })
    }

    /// The card to list next.
    pub(super) fn next_due(&self) -> Option<ListedCard> {
        self.due.first().and_then(|place| self.wanted.get(*place)).map(|wanted| wanted.card.clone())
    }

    /// Other cards are to be listed from now on. New ones are due, but for the first time, when all of the list is looked
    /// at before anything is put on it.
    pub(super) fn replace(&mut self, listing: &Listing, first: bool) {
        let mut old = std::mem::take(&mut self.wanted);
        let found = |number: CardNumber| old.binary_search_by_key(&number, |wanted| wanted.card.number).ok();
        let fresh = |card: &ListedCard| Wanted {
            card: card.clone(),
            known: if first { Known::Nothing } else { Known::Due },
            there: false,
            tries: 0,
        };
        let wanted = listing.cards.iter().map(|card| match found(card.number).and_then(|place| old.get(place)) {
            None => fresh(card),
            Some(Wanted { card: before, known, there, .. }) => {
                let known = match known {
                    Known::Listed | Known::Nothing if before == card => *known,
                    // Other rights are put at once, whatever the walk is at: they may be fewer.
                    Known::Listed | Known::Nothing | Known::Due | Known::Refused => Known::Due,
                };
                Wanted { card: card.clone(), known, there: *there, tries: 0 }
            }
        });
        self.wanted = wanted.collect();
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.extend(old.iter_mut().map(|old| {
            let number = old.card.number;
            old.card.number.zeroize();
            Leaving { number, there: old.there, supposed: false, tries: 0 }
        }));
        // What the box was to take off before it began anew, it may not have taken off.
        if !std::mem::replace(&mut self.begun, true) {
            let supposed = |number: &CardNumber| Leaving { number: *number, there: false, supposed: true, tries: 0 };
            leaving.extend(listing.ended.iter().map(supposed));
        }
        leaving.retain(|leaving| self.place(leaving.number).is_none());
        self.leaving = leaving;
        self.not_expressible.clone_from(&listing.not_expressible);
        (self.stay, self.refused_run) = (0, 0);
        self.count();
    }

    /// Nothing is known of the list any more; what was refused is tried again.
    pub(super) fn forget(&mut self) {
        for wanted in &mut self.wanted {
            (wanted.known, wanted.tries) = (Known::Nothing, 0);
        }
        (self.stay, self.refused_run) = (0, 0);
        self.count();
    }

    /// All of the list was seen: what was not is not there.
    pub(super) fn end_walk(&mut self) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.known == Known::Nothing) {
            (wanted.known, wanted.there) = (Known::Due, false);
        }
        self.count();
    }

    /// A card was seen on the list. `tried`: the controller was told to change it, and has answered. False where it was
    /// seen before, as it is to be.
    pub(super) fn saw(&mut self, card: &ListedCard, tried: bool, changes: &mut Vec<(CardNumber, Change)>) -> bool {
        let Some(place) = self.place(card.number) else {
            self.saw_foreign(card.number, tried);
            return true;
        };
        let Some(wanted) = self.wanted.get_mut(place) else { return false };
        if wanted.card == *card {
            let new = wanted.known != Known::Listed;
            if wanted.known == Known::Due {
                changes.push((card.number, if wanted.there { Change::Changed } else { Change::Listed }));
            }
            (wanted.there, wanted.tries) = (true, 0);
            self.set(place, Known::Listed);
            self.refused_run = if tried { 0 } else { self.refused_run };
            return new;
        }
        wanted.there = true;
        self.failed(place, tried);
        true
    }

    /// A card is not on the list. `tried`: the controller was told to change that, and has answered; `done`: it says that
    /// it has.
    pub(super) fn saw_none(
        &mut self,
        number: CardNumber,
        (tried, done): (bool, bool),
        changes: &mut Vec<(CardNumber, Change)>,
    ) {
        if let Some(place) = self.place(number) {
            if let Some(wanted) = self.wanted.get_mut(place) {
                wanted.there = false;
            }
            return self.failed(place, tried);
        }
        if let Some(leaving) = self.leaving.pop_front_if(|leaving| leaving.number == number)
            && (leaving.there || done)
        {
            changes.push((number, Change::Dropped));
        }
    }

    fn saw_foreign(&mut self, number: CardNumber, tried: bool) {
        let Some(leaving) = self.leaving.iter_mut().find(|leaving| leaving.number == number) else {
            self.leaving.push_back(Leaving { number, there: true, supposed: false, tries: 0 });
            return;
        };
        (leaving.there, leaving.supposed) = (true, false);
        leaving.tries += u8::from(tried);
        if leaving.tries >= TRIES {
            self.leaving.retain(|leaving| leaving.number != number);
            self.stay += 1;
        }
    }

    /// A wanted card is not as it is to be.
    fn failed(&mut self, place: usize, tried: bool) {
        let Some(wanted) = self.wanted.get_mut(place) else { return };
        wanted.tries += u8::from(tried);
        let refused = wanted.tries >= TRIES;
        self.set(place, if refused { Known::Refused } else { Known::Due });
        self.refused_run += usize::from(refused);
        if self.refused_run >= REFUSED_RUN {
            for place in std::mem::take(&mut self.due) {
                self.set(place, Known::Refused);
            }
        }
    }

    fn place(&self, number: CardNumber) -> Option<usize> {
        self.wanted.binary_search_by_key(&number, |wanted| wanted.card.number).ok()
    }

    fn set(&mut self, place: usize, known: Known) {
        let Some(wanted) = self.wanted.get_mut(place) else { return };
        self.listed -= usize::from(wanted.known == Known::Listed);
        self.listed += usize::from(known == Known::Listed);
        wanted.known = known;
        if known == Known::Due {
            self.due.insert(place);
        } else {
            self.due.remove(&place);
        }
    }

    fn count(&mut self) {
        let of = |known: Known| self.wanted.iter().enumerate().filter(move |(_, wanted)| wanted.known == known);
        self.listed = of(Known::Listed).count();
        self.due = of(Known::Due).map(|(place, _)| place).collect();
    }
}
