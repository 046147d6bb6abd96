//! What an expression depends on, and when that changes by itself.

use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono};

use super::tree::{Flag, Number, Text};
use super::{Facts, Inputs};
use crate::PointRef;

/// An expression that measures time in a way without a known threshold is looked at again this often.
const TICK: Duration = Duration::from_secs(1);

/// One thing outside that an expression asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Atom {
    /// The reading of a point.
    Point(PointRef),
    /// The age of a point, compared with nanoseconds where they are known.
    Age(PointRef, Option<i64>),
    /// The quality of a point whose reading is good for this long.
    Quality(PointRef, Duration),
    Online(DeviceIx),
    Mode,
}

impl Flag {
    /// Shows each thing that the expression may ask for, some of them more than once.
    pub(super) fn visit(&self, see: &mut dyn FnMut(Atom)) {
        match self {
            Flag::Const(_) => {}
            Flag::Point(at) | Flag::Has(at) => see(Atom::Point(*at)),
            Flag::Online(device) => see(Atom::Online(*device)),
            Flag::Age(_, at, limit) => see(Atom::Age(*at, Some(*limit))),
            Flag::Not(inner) => inner.visit(see),
            Flag::All(parts) | Flag::Any(parts) => parts.iter().for_each(|part| part.visit(see)),
            Flag::Same(sides) => {
                sides.0.visit(see);
                sides.1.visit(see);
            }
            Flag::Numbers(_, sides) => {
                sides.0.visit(see);
                sides.1.visit(see);
            }
            Flag::Texts(_, sides) | Flag::Part(_, sides) => {
                sides.0.visit(see);
                sides.1.visit(see);
            }
            Flag::AmongFlags(needle, list) => {
                needle.visit(see);
                list.iter().for_each(|item| item.visit(see));
            }
            Flag::AmongNumbers(needle, list) => {
                needle.visit(see);
                list.iter().for_each(|item| item.visit(see));
            }
            Flag::AmongTexts(needle, list) => {
                needle.visit(see);
                list.iter().for_each(|item| item.visit(see));
            }
            Flag::If(parts) => {
                parts.0.visit(see);
                parts.1.visit(see);
                parts.2.visit(see);
            }
        }
    }
}

impl Number {
    fn visit(&self, see: &mut dyn FnMut(Atom)) {
        match self {
            Number::Const(_) => {}
            Number::Point(at) => see(Atom::Point(*at)),
            Number::Age(at) => see(Atom::Age(*at, None)),
            Number::Negative(inner) => inner.visit(see),
            Number::Sum(_, sides) => {
                sides.0.visit(see);
                sides.1.visit(see);
            }
            Number::Size(text) => text.visit(see),
            Number::If(parts) => {
                parts.0.visit(see);
                parts.1.visit(see);
                parts.2.visit(see);
            }
        }
    }
}

impl Text {
    fn visit(&self, see: &mut dyn FnMut(Atom)) {
        match self {
            Text::Const(_) => {}
            Text::Point(at) => see(Atom::Point(*at)),
            Text::Quality(at, good_for) => see(Atom::Quality(*at, *good_for)),
            Text::Mode => see(Atom::Mode),
            Text::Join(sides) => {
                sides.0.visit(see);
                sides.1.visit(see);
            }
            Text::If(parts) => {
                parts.0.visit(see);
                parts.1.visit(see);
                parts.2.visit(see);
            }
        }
    }
}

impl Inputs {
    pub(super) fn note(&mut self, atom: Atom) {
        match atom {
            Atom::Point(at) => {
                self.points.insert(at);
            }
            Atom::Age(at, _) | Atom::Quality(at, _) => {
                self.points.insert(at);
                self.time = true;
            }
            Atom::Online(device) => {
                self.online.insert(device);
            }
            Atom::Mode => self.mode = true,
        }
    }
}

impl Atom {
    /// The first instant after now at which the answer may differ although nothing is read.
    pub(super) fn changes_at(self, facts: &dyn Facts) -> Option<Mono> {
        let now = facts.now();
        match self {
            Atom::Point(_) | Atom::Online(_) | Atom::Mode => None,
            // A point that never had a value has no age, which time alone does not change.
            Atom::Age(at, None) => facts.last_value_at(at).map(|_| now + TICK),
            Atom::Age(at, Some(limit)) => {
                let from = facts.last_value_at(at).unwrap_or_else(|| facts.watched_since());
                let reached = from + Duration::from_nanos(u64::try_from(limit).ok()?);
                [reached, just_after(reached)].into_iter().find(|instant| *instant > now)
            }
            Atom::Quality(at, good_for) => {
                let reading = facts.reading(at).filter(|reading| reading.value.is_ok())?;
                Some(just_after(reading.at + good_for)).filter(|instant| *instant > now)
            }
        }
    }
}

fn just_after(instant: Mono) -> Mono {
    instant + Duration::from_nanos(1)
}
