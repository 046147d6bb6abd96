//! Whether an alarm that one condition raises can be cleared by another.

use gatehouse_core::{DeviceIx, Mono, Reading, Value};

use super::tree::{Flag, Number};
use super::{Expr, Facts};
use crate::PointRef;
use crate::words::Mode;

/// How the values that clear an alarm lie beside those that raise it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clearing {
    /// No value does both, and some value clears.
    Sound,
    /// No value clears it.
    Never,
    /// Every value that clears it also raises it: it never stays cleared.
    WithinRaise,
    /// Some values clear it and also raise it: there it flips at every reading.
    Overlaps,
}

/// Compares two conditions that each compare one and the same point with literals; `None` for all others, where it
/// cannot be told.
///
/// Such conditions only change at their literals, so that trying these, a value between any two neighbours and one
/// beyond either end tries everything.
pub fn clearing(when: &Expr, clear_when: &Expr) -> Option<Clearing> {
    let (mut at, mut literals) = (None, Vec::new());
    collect(&when.root, &mut at, &mut literals)?;
    collect(&clear_when.root, &mut at, &mut literals)?;
    at?;
    literals.sort_by(f64::total_cmp);
    let (first, last) = (*literals.first()?, *literals.last()?);
    let between = literals.windows(2).filter_map(|pair| Some(pair.first()? / 2.0 + pair.last()? / 2.0));
    let tried: Vec<f64> =
        between.chain([first - first.abs() - 1.0, last + last.abs() + 1.0]).chain(literals.iter().copied()).collect();
    let (mut clears, mut both, mut clears_alone) = (false, false, false);
    for value in tried {
        let facts = OneValue(Reading { at: Mono(0), value: Ok(Value::F64(value)) });
        let (raise, clear) = (when.root.evaluate(&facts).ok()?, clear_when.root.evaluate(&facts).ok()?);
        clears |= clear;
        both |= clear && raise;
        clears_alone |= clear && !raise;
    }
    Some(match (clears, both, clears_alone) {
        (false, _, _) => Clearing::Never,
        (true, true, false) => Clearing::WithinRaise,
        (true, true, true) => Clearing::Overlaps,
        (true, false, _) => Clearing::Sound,
    })
}

/// Gathers the literals that the one point is compared with; `None` if there is anything else.
fn collect(flag: &Flag, at: &mut Option<PointRef>, literals: &mut Vec<f64>) -> Option<()> {
    match flag {
        Flag::Const(_) => Some(()),
        Flag::Not(inner) => collect(inner, at, literals),
        Flag::All(parts) | Flag::Any(parts) => parts.iter().try_for_each(|part| collect(part, at, literals)),
        Flag::Numbers(_, sides) => match &**sides {
            (Number::Point(point), Number::Const(x)) | (Number::Const(x), Number::Point(point)) => {
                literals.push(*x);
                (*at.get_or_insert(*point) == *point && x.is_finite()).then_some(())
            }
            _ => None,
        },
        Flag::Point(_)
        | Flag::Has(_)
        | Flag::Online(_)
        | Flag::Same(_)
        | Flag::Texts(..)
        | Flag::Age(..)
        | Flag::AmongFlags(..)
        | Flag::AmongNumbers(..)
        | Flag::AmongTexts(..)
        | Flag::Part(..)
        | Flag::If(_) => None,
    }
}

/// A site where every point has this reading.
struct OneValue(Reading);

impl Facts for OneValue {
    fn reading(&self, _at: PointRef) -> Option<&Reading> {
        Some(&self.0)
    }

    fn last_value_at(&self, _at: PointRef) -> Option<Mono> {
        Some(self.0.at)
    }

    fn is_online(&self, _device: DeviceIx) -> Option<bool> {
        None
    }

    fn mode(&self) -> Mode {
        Mode::Online
    }

    fn now(&self) -> Mono {
        Mono(0)
    }

    fn watched_since(&self) -> Mono {
        Mono(0)
    }
}
