//! Conditions of rules: CEL expressions over points, checked when the site loads and evaluated at every change.
//!
//! `cel` is the parser and the definition of the language. What it parsed is checked against the site (every name, every
//! type, every mistake in one run) and compiled to a tree of ours, because `cel`'s own interpreter has no types before it
//! runs and no third value. Start with [`Expr`] and [`Template`].
//!
//! # The language
//!
//! | written | is |
//! |---|---|
//! | `voltage_l1`, `point("a-b")` | a point of the rule's own device |
//! | `value("meter-101", "voltage_l1")`, `device("meter-101").voltage_l1` | a point of another device |
//! | `has(voltage_l1)` | whether the point has a value now |
//! | `age("voltage_l1")`, `age("meter-101", "voltage_l1")` | seconds since it last had a value |
//! | `quality("voltage_l1")`, `quality("meter-101", "voltage_l1")` | `"good"`, `"stale"` (its last reading is older than three intervals, and than 10 s) or `"bad"` (without a value, or never read) |
//! | `mode` | `"online"`, `"degraded"` or `"recovering"` |
//! | `online()`, `online("meter-101")` | whether the device answers |
//! | `device.id`, `device.title`, `label("floor")` | texts of the own device; a label that only others have is `""` |
//! | `+ - * /`, `== != < <= > >=`, `&& \|\| !`, `a ? b : c`, `x in [1, 2]` | as in CEL |
//! | `startsWith`, `endsWith`, `contains`, `size` | as in CEL, of texts |
//!
//! Every number is a CEL `double`, `1` as well as `1.0`, so that `v + 1` and `v > 250` are what they look like and `1 / 2`
//! is a half. Numbers follow IEEE 754. A condition is never compared with `<` or with a number.
//!
//! # Missing data
//!
//! A point whose last reading has no value, or that was never read, makes what needs it [`Outcome::Missing`], never false.
//! `true || missing` is true and `false && missing` is false, in either order. A stale value still counts: a rule that
//! minds asks for the `quality`. A point that never had a value has no age,
//! but is at least as old as [`Facts::watched_since`] says: `age("p") > 600` becomes true after ten minutes without a
//! value, and `age("p") < 600` is never true by it.

mod atoms;
mod check;
mod clearing;
mod deadband;
pub mod error;
mod eval;
mod names;
mod nearest;
mod source;
mod template;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::{DeviceIx, Mono, Reading};

pub use clearing::{Clearing, clearing};
pub use deadband::deadband;
pub use error::ExprError;
pub use template::Template;

use crate::words::Mode;
use crate::{Catalog, PointRef};
use atoms::Atom;
use error::code;
use eval::Stop;
use tree::Flag;

/// What is known now. Evaluation asks for nothing else.
pub trait Facts {
    /// The last reading of a point, with or without a value; `None` before the first.
    fn reading(&self, at: PointRef) -> Option<&Reading>;

    /// When a point last had a value; `None` if it never had one.
    fn last_value_at(&self, at: PointRef) -> Option<Mono>;

    /// Whether a device answers; `None` while nobody knows.
    fn is_online(&self, device: DeviceIx) -> Option<bool>;

    /// The site's mode.
    fn mode(&self) -> Mode;

    /// Now.
    fn now(&self) -> Mono;

    /// Since when readings would have been seen: the start of the daemon, or later. Does not move while it runs.
    fn watched_since(&self) -> Mono;
}

/// What a condition comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told: the first input that is missing, and why, for example `meter-101 voltage_l1: timeout`.
    Missing(String),
    /// It has no result, for people: a comparison with what is no number, such as 0 / 0.
    Failed(String),
}

/// What a condition depends on. What folded away when it was compiled is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Points whose readings count.
    pub points: BTreeSet<PointRef>,
    /// Devices that may be asked whether they are online.
    pub online: BTreeSet<DeviceIx>,
    /// True when the mode counts.
    pub mode: bool,
    /// True when it changes with time alone: see [`Expr::changes_at`].
    pub time: bool,
}

/// A condition, compiled: see the [module](self) for the language.
///
/// Evaluate it when one of its [`Inputs`] changed, and at [`Expr::changes_at`].
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    root: Flag,
    inputs: Inputs,
    points: BTreeMap<PointRef, Box<str>>,
    devices: BTreeMap<DeviceIx, Box<str>>,
}

impl Expr {
    /// Compiles a condition, for a rule that has a device of its own or none.
    ///
    /// # Errors
    /// Every mistake, in the order of the source; at least one.
    pub fn compile(source: &str, catalog: &Catalog, own: Option<DeviceIx>) -> Result<Expr, Vec<ExprError>> {
        let root = check::condition(source, catalog, own)?;
        let mut inputs = Inputs::default();
        root.visit(&mut |atom| inputs.note(atom));
        if inputs == Inputs::default() && !matches!(root, Flag::Const(_)) {
            let message = "this condition depends on nothing and has no result: it compares what is no number";
            return Err(vec![ExprError::new(code::ALWAYS_FAILS, 0..source.len(), message, "do not divide 0 by 0")]);
        }
        let id = |ix: DeviceIx| catalog.device(ix).map_or("?", |device| device.id.as_str());
        let name = |at: PointRef| catalog.point(at).map_or("?", |point| point.name.as_str());
        let points = inputs.points.iter().map(|at| (*at, format!("{} {}", id(at.device), name(*at)).into())).collect();
        let devices = inputs.online.iter().map(|ix| (*ix, id(*ix).into())).collect();
        Ok(Expr { root, inputs, points, devices })
    }

    /// What it depends on.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The outcome that it always has, if it depends on nothing.
    pub fn is_constant(&self) -> Option<bool> {
        if let Flag::Const(on) = self.root { Some(on) } else { None }
    }

    /// What it comes to now.
    pub fn evaluate(&self, facts: &dyn Facts) -> Outcome {
        match self.root.evaluate(facts) {
            Ok(true) => Outcome::True,
            Ok(false) => Outcome::False,
            Err(stop) => self.stopped(stop),
        }
    }

    /// The first instant after now at which the outcome may change although nothing is read; `None`: never.
    ///
    /// Thresholds of `age` and `quality` give their instant; an age that is used in another way gives one second from
    /// now, so that no condition is woken more often than that, or than once per threshold.
    pub fn changes_at(&self, facts: &dyn Facts) -> Option<Mono> {
        if !self.inputs.time {
            return None;
        }
        let mut first: Option<Mono> = None;
        self.root.visit(&mut |atom: Atom| {
            if let Some(at) = atom.changes_at(facts) {
                first = Some(first.map_or(at, |first| first.min(at)));
            }
        });
        first
    }

    fn stopped(&self, stop: Stop) -> Outcome {
        let point = |at: PointRef| self.points.get(&at).map_or("?", |name| name);
        match stop {
            Stop::NoValue(at, Some(why)) => Outcome::Missing(format!("{}: {why}", point(at))),
            Stop::NoValue(at, None) => Outcome::Missing(format!("{}: not read yet", point(at))),
            Stop::NoAge(at) => Outcome::Missing(format!("{}: never had a value", point(at))),
            Stop::NotKnown(ix) => {
                let name = self.devices.get(&ix).map_or("?", |name| name);
                Outcome::Missing(format!("{name}: not known yet whether it is online"))
            }
            Stop::NotANumber => Outcome::Failed("it compares what is no number, such as 0 / 0".to_owned()),
            Stop::WrongKind(at) => Outcome::Failed(format!("{}: its value is of another type", point(at))),
        }
    }
}
