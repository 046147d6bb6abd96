//! What a door controller is to have on its list: the cards that open its gates, as far as its list can say so.
//!
//! A list knows a card's number, its first and its last day, and its doors. What it cannot express never widens: a door
//! that the box would open under a further condition only stays closed to the card, and days that are not whole are left
//! out at the end. A list stands on credentials that are there, in force and not too old; without them nothing is said of
//! it, least of all that it is empty.

use std::collections::BTreeMap;

use gatehouse_core::controller::DOORS;
use gatehouse_core::{CardNumber, ListedCard, LocalTime, Stamp, Trust, Wall};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::Serialize;
use zeroize::Zeroize;

use super::credential::{CredentialId, CredentialKind, Flag};
use super::judge::{is_emergency, opens_once};
use super::machine::Access;
use super::policy::AntiPassback;
use super::roll::Roll;
use super::table::Entry;
use crate::schedule::local;

/// Most numbers of cards that a listing tells beside its own.
const ENDED_MAX: usize = 1000;

/// The gates that the doors 1 to 4 of a controller are.
pub type Doors<'a> = [Option<&'a str>; DOORS];

/// The cards of a list, and how many are not on it or not at all their doors.
pub struct Listing {
    /// The version of the credentials that it is made of.
    pub version: u64,
    /// The cards, by number.
    pub cards: Vec<ListedCard>,
    /// Numbers of cards that are revoked or over, revoked ones first; at most 1000. A list may still have them from before
    /// the box began; what is beyond is found when all of the list is looked at.
    pub ended: Vec<CardNumber>,
    /// How many cards cannot be listed, or not at all of their doors, by the first thing that stands against it.
    pub not_expressible: BTreeMap<Inexpressible, u32>,
    /// When it is to be made anew: a card begins or ends, or the credentials are too old.
    pub until: Wall,
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.cards.iter_mut().for_each(|card| card.number.zeroize());
        self.ended.iter_mut().for_each(Zeroize::zeroize);
    }
}

impl Listing {
    fn note(&mut self, missing: Option<Inexpressible>) {
        if let Some(why) = missing {
            *self.not_expressible.entry(why).or_default() += 1;
        }
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("version", &self.version).field("cards", &self.cards.len()).finish()
    }
}

/// Why nothing can be said of a list now. It stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// The box has no credentials.
    NoCredentials,
    /// Those that it has are too old, by their own word or by the gates' `max_credentials_age`.
    TooOld,
    /// The clock is not set.
    ClockUnset,
    /// None of the cards that open these doors has its number: the core does not send numbers.
    NoNumbers,
}

impl Unsaid {
    /// The name in views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unsaid::NoCredentials => "no_credentials",
            Unsaid::TooOld => "credentials_too_old",
            Unsaid::ClockUnset => "clock_unset",
            Unsaid::NoNumbers => "no_numbers",
        }
    }
}

/// What of a credential no list can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Inexpressible {
    /// The core did not send its number.
    NoNumber,
    /// Another credential has its number, and goes before it.
    NumberTwice,
    /// It opens together with a PIN only.
    NeedsPin,
    /// It opens once.
    Once,
    /// It opens at certain hours.
    Schedule,
    /// The gate stays closed to who is in already.
    AntiPassback,
    /// The gate stays closed to its class while the zone is full.
    Capacity,
    /// The gate stays closed while so many of the household are in.
    Quota,
    /// No whole day is left of its time.
    PartOfADay,
}

impl Inexpressible {
    /// The name in views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Inexpressible::NoNumber => "no_number",
            Inexpressible::NumberTwice => "number_twice",
            Inexpressible::NeedsPin => "needs_pin",
            Inexpressible::Once => "once",
            Inexpressible::Schedule => "schedule",
            Inexpressible::AntiPassback => "anti_passback",
            Inexpressible::Capacity => "capacity",
            Inexpressible::Quota => "quota",
            Inexpressible::PartOfADay => "part_of_a_day",
        }
    }
}

/// One credential that has a number, as a list would have it.
struct Draft {
    number: CardNumber,
    id: CredentialId,
    /// `None`: it opens nothing here, or cannot be listed.
    card: Option<ListedCard>,
    /// What keeps it from the list, or from some of its doors.
    missing: Option<Inexpressible>,
    ended: Option<Ended>,
}

/// Why a credential opens nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Revoked,
    Over,
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.number.zeroize();
        if let Some(card) = &mut self.card {
            card.number.zeroize();
        }
    }
}

impl Access {
    /// Changes with each change of what [`Access::listing`] is made of, but for the time.
    pub fn edition(&self) -> Option<u64> {
        self.holdings.roll().map(|roll| roll.terms.version)
    }

    /// What the list of a controller with these doors is to be now.
    ///
    /// # Errors
    /// [`Unsaid`]; the list is to be left as it is then.
    pub fn listing(&self, now: &Stamp, doors: &Doors<'_>) -> Result<Listing, Unsaid> {
        let roll = self.holdings.roll().ok_or(Unsaid::NoCredentials)?;
        if now.trust == Trust::Unset {
            return Err(Unsaid::ClockUnset);
        }
        let now_s = now.wall.0.div_euclid(1_000_000);
        let oldest = self.stands_until(roll, doors);
        if now_s >= oldest {
            return Err(Unsaid::TooOld);
        }
        let clerk = Clerk { access: self, roll, doors, now_s, today: local(now.wall, &self.zone).date() };
        let mut listing = Listing {
            version: roll.terms.version,
            cards: Vec::new(),
            ended: Vec::new(),
            not_expressible: BTreeMap::new(),
            until: Wall(oldest),
        };
        let mut drafts = clerk.drafts(&mut listing);
        // A core that knows nothing of numbers has not said that nobody may pass.
        let numbered = drafts.iter().any(|draft| draft.card.is_some() || draft.missing.is_some());
        if !numbered && listing.not_expressible.contains_key(&Inexpressible::NoNumber) {
            return Err(Unsaid::NoNumbers);
        }
        listing.until = Wall(listing.until.0.saturating_mul(1_000_000));
        drafts.sort_by_key(|draft| draft.number);
        let unnumbered = roll.has_unnumbered();
        let mut ended = Vec::new();
        for same in drafts.chunk_by_mut(|a, b| a.number == b.number) {
            // Where two credentials are one card the records name one of them, and that one counts.
            let counts = match same {
                [only] if only.card.is_none() || !unnumbered => None,
                [first, ..] => self.card_of_controller(first.number).0,
                [] => None,
            };
            let before = listing.cards.len();
            for draft in &mut *same {
                let spoken_for = counts.is_some_and(|counts| counts != draft.id) && draft.card.is_some();
                listing.note(if spoken_for { Some(Inexpressible::NumberTwice) } else { draft.missing });
                listing.cards.extend(draft.card.take().filter(|_| !spoken_for));
            }
            if listing.cards.len() == before {
                ended.extend(same.iter().filter_map(|draft| draft.ended.map(|why| (why, draft.number))).min());
            }
        }
        ended.sort_unstable();
        listing.ended.extend(ended.iter().take(ENDED_MAX).map(|(_, number)| *number));
        ended.iter_mut().for_each(|(_, number)| number.zeroize());
        Ok(listing)
    }

    /// From when on the credentials are too old for one of the gates, in seconds since 1970.
    fn stands_until(&self, roll: &Roll, doors: &Doors<'_>) -> i64 {
        let gates = doors.iter().flatten().filter_map(|gate| self.gates.get(*gate));
        let ages = gates.map(|gate| i64::try_from(gate.policy.max_snapshot_age.as_secs()).unwrap_or(i64::MAX));
        let by_age = ages.map(|age| i64::from(roll.terms.created).saturating_add(age));
        by_age.fold(i64::from(roll.terms.expires_at), i64::min)
    }
}

/// Writes the entries of one list.
struct Clerk<'a> {
    access: &'a Access,
    roll: &'a Roll,
    doors: &'a Doors<'a>,
    now_s: i64,
    today: Date,
}

impl Clerk<'_> {
    fn reached(&self, entry: &Entry<'_>) -> [bool; DOORS] {
        self.doors.map(|gate| gate.is_some_and(|gate| self.roll.reaches(entry, gate)))
    }

    fn is_over(&self, entry: &Entry<'_>) -> bool {
        entry.until.is_some_and(|until| i64::from(until) <= self.now_s)
    }

    /// The cards that have a number. Notes those that have none, and shortens the listing's time (here in seconds) to
    /// the first change of a card.
    fn drafts(&self, listing: &mut Listing) -> Vec<Draft> {
        let mut reach: BTreeMap<&str, [bool; DOORS]> = BTreeMap::new();
        let mut drafts = Vec::new();
        for entry in self.roll.entries().filter(|entry| entry.kind == CredentialKind::Card) {
            let opens = *reach.entry(entry.reach).or_insert_with(|| self.reached(&entry));
            let concerned = !entry.revoked && opens.contains(&true) && !self.is_over(&entry);
            if concerned {
                let turns = [entry.from, entry.until].into_iter().flatten().map(i64::from);
                listing.until.0 = turns.filter(|turn| *turn > self.now_s).fold(listing.until.0, i64::min);
            }
            match entry.number {
                Some(number) => {
                    let (card, missing) = if concerned { self.draft(&entry, number, opens) } else { (None, None) };
                    let over = self.is_over(&entry).then_some(Ended::Over);
                    let ended = if entry.revoked { Some(Ended::Revoked) } else { over };
                    drafts.push(Draft { number, id: entry.id, card, missing, ended });
                }
                None => listing.note(concerned.then_some(Inexpressible::NoNumber)),
            }
        }
        drafts
    }

    /// The card of a credential that opens some of the doors now or later, and what keeps it from the list, or from
    /// further doors.
    fn draft(
        &self,
        entry: &Entry<'_>,
        number: CardNumber,
        opens: [bool; DOORS],
    ) -> (Option<ListedCard>, Option<Inexpressible>) {
        let whole = [
            (entry.flags.has(Flag::NeedsPin), Inexpressible::NeedsPin),
            (opens_once(entry), Inexpressible::Once),
            (!entry.schedule.is_empty() && !is_emergency(entry), Inexpressible::Schedule),
        ];
        if let Some((_, why)) = whole.into_iter().find(|(holds, _)| *holds) {
            return (None, Some(why));
        }
        let mut missing = None;
        let mut doors = [0; DOORS];
        for ((door, gate), _) in doors.iter_mut().zip(self.doors).zip(opens).filter(|(_, opens)| *opens) {
            match gate.and_then(|gate| self.condition(entry, gate)) {
                None => *door = 1,
                Some(why) => missing = missing.or(Some(why)),
            }
        }
        if doors == [0; DOORS] {
            return (None, missing);
        }
        match self.days(entry) {
            None => (None, Some(Inexpressible::PartOfADay)),
            Some((from, until)) => {
                let (from, until) = (Some(from), Some(until));
                (Some(ListedCard { number, from, until, doors, pin: 0, first_card: 0 }), missing)
            }
        }
    }

    /// What a gate asks of a credential beyond being valid.
    fn condition(&self, entry: &Entry<'_>, gate: &str) -> Option<Inexpressible> {
        let gate = self.access.gates.get(gate)?;
        let zone = gate.zone.as_deref().filter(|_| !is_emergency(entry))?;
        let exempt = entry.flags.has(Flag::AntiPassbackExempt);
        if gate.policy.anti_passback == AntiPassback::Hard && !exempt {
            return Some(Inexpressible::AntiPassback);
        }
        if self.access.presence.may_refuse(zone, entry.class) {
            return Some(Inexpressible::Capacity);
        }
        let limited = !entry.household.is_empty() && self.roll.quota(zone, entry.household).is_some();
        limited.then_some(Inexpressible::Quota)
    }

    /// The first and the last day. Before it begins, a credential has whole days only; once it has begun the day of its
    /// beginning is right as well. The last day is always a whole one: should the controller be out of reach when the
    /// credential ends, it must have ended there already.
    fn days(&self, entry: &Entry<'_>) -> Option<(LocalTime, LocalTime)> {
        let zone = &self.access.zone;
        let from = match entry.from {
            None => EARLIEST,
            Some(from) if i64::from(from) <= self.now_s => day(from, zone).0,
            Some(from) => match day(from, zone) {
                (date, true) => date,
                (date, false) => date.tomorrow().ok()?,
            },
        };
        let until = match entry.until {
            None => LATEST,
            Some(until) => day(until, zone).0.yesterday().ok()?,
        };
        let (from, until) = (from.max(EARLIEST), until.min(LATEST));
        if until < from || until < self.today {
            return None;
        }
        Some((midnight(from)?, midnight(until)?))
    }
}

/// The days that controllers can write.
const EARLIEST: Date = Date::constant(2000, 1, 1);
const LATEST: Date = Date::constant(2099, 12, 31);

/// The site's day of a second since 1970, and whether it begins with it.
fn day(second: u32, zone: &TimeZone) -> (Date, bool) {
    let at = local(Wall(i64::from(second) * 1_000_000), zone);
    (at.date(), at.time() == Time::midnight())
}

fn midnight(date: Date) -> Option<LocalTime> {
    let part = |part: i8| u8::try_from(part).ok();
    LocalTime::new(u16::try_from(date.year()).ok()?, part(date.month())?, part(date.day())?, 0, 0, 0)
}
