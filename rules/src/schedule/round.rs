//! What a round is: when it is due, which stops it has, and what proves each.

use std::collections::BTreeSet;
use std::time::Duration;

use gatehouse_core::{Name, Wall};

use super::timetable::Timetable;
use crate::catalog::PointRef;
use crate::words::HolderClass;

/// The most stops of one round: what is kept of it fits into one value of the journal.
pub const MAX_STOPS: usize = 32;

/// An inspection round (巡检) or a patrol (巡更), which is to be made at certain times.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundSpec {
    /// Its permanent identity.
    pub id: Name,
    /// For people.
    pub title: String,
    /// When it is due.
    pub due: Timetable,
    /// How long before it is due its first stop may be proved.
    pub before: Duration,
    /// How long after it is due its last stop may be proved; then it is missed.
    pub after: Duration,
    /// Its stops: 1 to [`MAX_STOPS`].
    pub stops: Vec<Stop>,
    /// True if the stops count only in their order.
    pub ordered: bool,
    /// The kind of ticket that a missed round opens; `None`: none.
    pub ticket: Option<Name>,
}

/// A place where somebody is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    /// Its name within the round.
    pub id: Name,
    /// What proves that somebody was there.
    pub proof: Proof,
}

/// What proves a stop.
#[derive(Debug, Clone, PartialEq)]
pub enum Proof {
    /// A card of a known holder at a reader.
    Card {
        /// The reader.
        reader: Name,
        /// The classes of holders that count; `None`: all.
        classes: Option<BTreeSet<HolderClass>>,
    },
    /// A reading of a point within a range, ends included.
    Reading {
        /// The point.
        point: PointRef,
        /// The lowest value that counts.
        min: f64,
        /// The highest value that counts.
        max: f64,
    },
}

/// What is wrong with a round.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRound {
    /// Two rounds have one id.
    #[error("another round has the id {0} already")]
    SameId(Name),
    /// It has no stops, or too many.
    #[error("a round has 1 to {MAX_STOPS} stops, this one has {0}")]
    StopCount(usize),
    /// Two stops have one name.
    #[error("two stops are called {0}")]
    SameStop(Name),
    /// One proof would be taken for two stops.
    #[error("{one} and {other} are proved by the same thing: nobody could tell which of them was visited")]
    SameProof {
        /// The first stop.
        one: Name,
        /// The second stop.
        other: Name,
    },
    /// A stop that no card and no reading can prove.
    #[error("nothing can prove the stop {0}: it names no class of holders, or its range is empty")]
    Unprovable(Name),
    /// There is no time for it.
    #[error("before and after are both zero: the round could never be made in time")]
    NoTime,
    /// The time for one due reaches into the time for the next.
    #[error("before and after take {window_min} minutes together, but the round is due again after {gap_min}")]
    Overlap {
        /// Before and after together, in minutes, rounded up.
        window_min: u64,
        /// The shortest time between two dues, in minutes.
        gap_min: u16,
    },
}

impl RoundSpec {
    /// Checks the round by itself.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self) -> Result<(), Vec<InvalidRound>> {
        let mut faults = Vec::new();
        if !(1..=MAX_STOPS).contains(&self.stops.len()) {
            faults.push(InvalidRound::StopCount(self.stops.len()));
        }
        let window = self.before.saturating_add(self.after);
        let gap_min = self.due.shortest_gap_minutes();
        if window.is_zero() {
            faults.push(InvalidRound::NoTime);
        } else if window > Duration::from_secs(u64::from(gap_min) * 60) {
            faults.push(InvalidRound::Overlap { window_min: window.as_secs().div_ceil(60), gap_min });
        }
        for (ix, stop) in self.stops.iter().enumerate().take(MAX_STOPS) {
            if !stop.proof.is_possible() {
                faults.push(InvalidRound::Unprovable(stop.id.clone()));
            }
            let mut earlier = self.stops.iter().take(ix);
            if earlier.clone().any(|other| other.id == stop.id) {
                faults.push(InvalidRound::SameStop(stop.id.clone()));
            }
            // In order, only neighbours can be mistaken for each other.
            let twin = match (self.ordered, ix.checked_sub(1)) {
                (true, Some(before)) => self.stops.get(before).filter(|other| other.proof.same_place(&stop.proof)),
                (true, None) => None,
                (false, _) => earlier.find(|other| other.proof.same_place(&stop.proof)),
            };
            faults.extend(twin.map(|one| InvalidRound::SameProof { one: one.id.clone(), other: stop.id.clone() }));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// When the time for this due begins.
    pub fn opens(&self, due: Wall) -> Wall {
        Wall(due.0.saturating_sub(micros(self.before)))
    }

    /// When the time for this due is over.
    pub fn closes(&self, due: Wall) -> Wall {
        Wall(due.0.saturating_add(micros(self.after)))
    }
}

impl Proof {
    fn is_possible(&self) -> bool {
        match self {
            Proof::Card { classes, .. } => classes.as_ref().is_none_or(|classes| !classes.is_empty()),
            Proof::Reading { min, max, .. } => min <= max,
        }
    }

    fn same_place(&self, other: &Proof) -> bool {
        match (self, other) {
            (Proof::Card { reader, .. }, Proof::Card { reader: other, .. }) => reader == other,
            (Proof::Reading { point, .. }, Proof::Reading { point: other, .. }) => point == other,
            (Proof::Card { .. }, Proof::Reading { .. }) | (Proof::Reading { .. }, Proof::Card { .. }) => false,
        }
    }
}

/// Microseconds of a duration.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_core::{DeviceIx, PointIx};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn stop(id: &str, reader: &str) -> Stop {
        Stop { id: name(id), proof: Proof::Card { reader: name(reader), classes: None } }
    }

    fn spec() -> RoundSpec {
        RoundSpec {
            id: name("night"),
            title: "Night patrol".into(),
            due: "daily 22:00-06:00 every 2h".parse().unwrap(),
            before: Duration::from_secs(900),
            after: Duration::from_secs(1800),
            stops: vec![stop("a", "r1"), stop("b", "r2"), stop("c", "r1")],
            ordered: true,
            ticket: None,
        }
    }

    #[test]
    fn a_round_in_order_may_come_back_to_a_reader_and_others_may_not() {
        assert_eq!(spec().check(), Ok(()));
        let loose = RoundSpec { ordered: false, ..spec() };
        assert_eq!(loose.check(), Err(vec![InvalidRound::SameProof { one: name("a"), other: name("c") }]));
        let neighbours = RoundSpec { stops: vec![stop("a", "r1"), stop("b", "r1")], ..spec() };
        assert_eq!(neighbours.check(), Err(vec![InvalidRound::SameProof { one: name("a"), other: name("b") }]));
    }

    #[test]
    fn each_mistake_in_a_round_is_told() {
        let error = |spec: RoundSpec| spec.check().unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(error(RoundSpec { stops: Vec::new(), ..spec() }), ["a round has 1 to 32 stops, this one has 0"]);
        let zero = RoundSpec { before: Duration::ZERO, after: Duration::ZERO, ..spec() };
        assert_eq!(error(zero), ["before and after are both zero: the round could never be made in time"]);
        let long = RoundSpec { after: Duration::from_secs(6301), ..spec() };
        let text = "before and after take 121 minutes together, but the round is due again after 120";
        assert_eq!(error(long), [text]);
        let point = PointRef { device: DeviceIx(0), point: PointIx(0) };
        let range = Stop { id: name("d"), proof: Proof::Reading { point, min: 2.0, max: f64::NAN } };
        let text = "nothing can prove the stop d: it names no class of holders, or its range is empty";
        assert_eq!(error(RoundSpec { stops: vec![range], ..spec() }), [text]);
        let same = RoundSpec { stops: vec![stop("a", "r1"), stop("a", "r2")], ..spec() };
        assert_eq!(error(same), ["two stops are called a"]);
    }
}
