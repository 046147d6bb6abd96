//! Evaluation of compiled expressions, three-valued: a result, or why there is none.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono, NoData, Reading, Value};

use super::Facts;
use super::tree::{Flag, Node, Number, Order, Place, Text};
use crate::PointRef;
use crate::words::Mode;

/// Why there is no result. The first one met is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The point has no value: the reason of its last reading, or nothing was read yet.
    NoValue(PointRef, Option<NoData>),
    /// The point never had a value, so that it has no age.
    NoAge(PointRef),
    /// Nobody knows yet whether the device is online.
    NotKnown(DeviceIx),
    /// A number that is none was compared.
    NotANumber,
    /// The reading is not of the kind that the catalogue says.
    WrongKind(PointRef),
}

type Result<T> = std::result::Result<T, Stop>;

/// Facts of a site where nothing is known: what evaluates over them depends on nothing.
pub(super) struct Blind;

impl Facts for Blind {
    fn reading(&self, _at: PointRef) -> Option<&Reading> {
        None
    }

    fn last_value_at(&self, _at: PointRef) -> Option<Mono> {
        None
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

impl Flag {
    pub(super) fn evaluate(&self, facts: &dyn Facts) -> Result<bool> {
        match self {
            Flag::Const(on) => Ok(*on),
            Flag::Point(at) => match value(*at, facts)? {
                Value::Bool(on) => Ok(*on),
                Value::Decimal(_) | Value::F32(_) | Value::F64(_) | Value::Text(_) => Err(Stop::WrongKind(*at)),
            },
            Flag::Has(at) => Ok(value(*at, facts).is_ok()),
            Flag::Online(device) => facts.is_online(*device).ok_or(Stop::NotKnown(*device)),
            Flag::Not(inner) => Ok(!inner.evaluate(facts)?),
            Flag::All(parts) => decided_by(false, parts, |part| part.evaluate(facts)),
            Flag::Any(parts) => decided_by(true, parts, |part| part.evaluate(facts)),
            Flag::Same(sides) => Ok(sides.0.evaluate(facts)? == sides.1.evaluate(facts)?),
            Flag::Numbers(order, sides) => {
                let (a, b) = (sides.0.evaluate(facts)?, sides.1.evaluate(facts)?);
                order.holds(a.partial_cmp(&b)).ok_or(Stop::NotANumber)
            }
            Flag::Texts(order, sides) => {
                let (a, b) = (sides.0.evaluate(facts)?, sides.1.evaluate(facts)?);
                order.holds(Some(a.cmp(&b))).ok_or(Stop::NotANumber)
            }
            Flag::Age(order, at, limit) => age_holds(*order, *at, *limit, facts),
            Flag::AmongFlags(needle, list) => {
                let needle = needle.evaluate(facts)?;
                decided_by(true, list, |item| Ok(item.evaluate(facts)? == needle))
            }
            Flag::AmongNumbers(needle, list) => {
                let needle = needle.evaluate(facts)?;
                decided_by(true, list, |item| Ok(item.evaluate(facts)? == needle))
            }
            Flag::AmongTexts(needle, list) => {
                let needle = needle.evaluate(facts)?;
                decided_by(true, list, |item| Ok(item.evaluate(facts)? == needle))
            }
            Flag::Part(place, sides) => {
                let (whole, part) = (sides.0.evaluate(facts)?, sides.1.evaluate(facts)?);
                Ok(match place {
                    Place::Start => whole.starts_with(&*part),
                    Place::End => whole.ends_with(&*part),
                    Place::Anywhere => whole.contains(&*part),
                })
            }
            Flag::If(parts) => if parts.0.evaluate(facts)? { &parts.1 } else { &parts.2 }.evaluate(facts),
        }
    }
}

impl Number {
    pub(super) fn evaluate(&self, facts: &dyn Facts) -> Result<f64> {
        match self {
            Number::Const(x) => Ok(*x),
            Number::Point(at) => number(value(*at, facts)?).ok_or(Stop::WrongKind(*at)),
            Number::Age(at) => age(*at, facts).map(|age| age.as_secs_f64()).map_err(|_| Stop::NoAge(*at)),
            Number::Negative(inner) => Ok(-inner.evaluate(facts)?),
            Number::Sum(how, sides) => Ok(how.of(sides.0.evaluate(facts)?, sides.1.evaluate(facts)?)),
            Number::Size(text) => Ok(characters(&text.evaluate(facts)?)),
            Number::If(parts) => if parts.0.evaluate(facts)? { &parts.1 } else { &parts.2 }.evaluate(facts),
        }
    }
}

impl Text {
    pub(super) fn evaluate<'a>(&'a self, facts: &'a dyn Facts) -> Result<Cow<'a, str>> {
        match self {
            Text::Const(text) => Ok(Cow::Borrowed(text)),
            Text::Point(at) => match value(*at, facts)? {
                Value::Text(text) => Ok(Cow::Borrowed(text)),
                Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_) => Err(Stop::WrongKind(*at)),
            },
            Text::Quality(at, good_for) => Ok(Cow::Borrowed(quality(*at, *good_for, facts))),
            Text::Mode => Ok(Cow::Borrowed(facts.mode().as_str())),
            Text::Join(sides) => Ok(sides.0.evaluate(facts)? + sides.1.evaluate(facts)?),
            Text::If(parts) => if parts.0.evaluate(facts)? { &parts.1 } else { &parts.2 }.evaluate(facts),
        }
    }
}

impl Node {
    /// The text that a person reads; `None` where there is no value.
    pub(super) fn print(&self, facts: &dyn Facts) -> Option<String> {
        match self {
            Node::Flag(flag) => flag.evaluate(facts).ok().map(|on| on.to_string()),
            Node::Number(Number::Point(at)) => value(*at, facts).ok().map(ToString::to_string),
            Node::Number(number) => number.evaluate(facts).ok().filter(|x| x.is_finite()).map(six_digits),
            Node::Text(text) => text.evaluate(facts).ok().map(Cow::into_owned),
        }
    }
}

impl Order {
    /// Whether the comparison holds; `None` where numbers that are none have no order.
    fn holds(self, ordering: Option<Ordering>) -> Option<bool> {
        match self {
            Order::Less => ordering.map(Ordering::is_lt),
            Order::LessOrEqual => ordering.map(Ordering::is_le),
            Order::Equal => Some(ordering == Some(Ordering::Equal)),
            Order::NotEqual => Some(ordering != Some(Ordering::Equal)),
            Order::GreaterOrEqual => ordering.map(Ordering::is_ge),
            Order::Greater => ordering.map(Ordering::is_gt),
        }
    }

    /// Whether the comparison of an age with a limit holds at that age and at every later one: `Some(false)` when it
    /// never will again, `None` when that depends.
    fn settled(self, age: i64, limit: i64) -> Option<bool> {
        match self {
            Order::Greater | Order::NotEqual => (age > limit).then_some(true),
            Order::GreaterOrEqual => (age >= limit).then_some(true),
            Order::Less => (age >= limit).then_some(false),
            Order::LessOrEqual | Order::Equal => (age > limit).then_some(false),
        }
    }
}

/// One part that comes out as `decisive` decides, whatever is missing beside it.
fn decided_by<T>(decisive: bool, parts: &[T], evaluate: impl Fn(&T) -> Result<bool>) -> Result<bool> {
    let mut stopped = None;
    for part in parts {
        match evaluate(part) {
            Ok(on) if on == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(stop) => stopped = stopped.or(Some(stop)),
        }
    }
    stopped.map_or(Ok(!decisive), Err)
}

fn value(at: PointRef, facts: &dyn Facts) -> Result<&Value> {
    let reading = facts.reading(at).ok_or(Stop::NoValue(at, None))?;
    reading.value.as_ref().map_err(|why| Stop::NoValue(at, Some(*why)))
}

/// The number that a value is for comparisons. A single float is the decimal that it prints as: a reading of `230.1`
/// is not above 230.1, though the float behind it lies a little higher.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Decimal(decimal) => Some(decimal.to_f64()),
        Value::F32(x) if x.fract() == 0.0 => Some(f64::from(*x)),
        Value::F32(x) => Some(value.to_decimal().map_or(f64::from(*x), |decimal| decimal.to_f64())),
        Value::F64(x) => Some(*x),
        Value::Bool(_) | Value::Text(_) => None,
    }
}

pub(super) fn characters(text: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no text has 2^53 characters")]
    let count = text.chars().count() as f64;
    count
}

/// Time since the point had a value; where it never had one, the error says how old it is at least.
fn age(at: PointRef, facts: &dyn Facts) -> std::result::Result<Duration, Duration> {
    match facts.last_value_at(at) {
        Some(when) => Ok(facts.now().since(when)),
        None => Err(facts.now().since(facts.watched_since())),
    }
}

fn age_holds(order: Order, at: PointRef, limit: i64, facts: &dyn Facts) -> Result<bool> {
    let whole = |age: Duration| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    match age(at, facts) {
        Ok(age) => order.holds(Some(whole(age).cmp(&limit))).ok_or(Stop::NotANumber),
        Err(at_least) => order.settled(whole(at_least), limit).ok_or(Stop::NoAge(at)),
    }
}

fn quality(at: PointRef, good_for: Duration, facts: &dyn Facts) -> &'static str {
    match facts.reading(at) {
        Some(Reading { at: when, value: Ok(_) }) if facts.now().since(*when) <= good_for => "good",
        Some(Reading { value: Ok(_), .. }) => "stale",
        Some(Reading { value: Err(_), .. }) | None => "bad",
    }
}

/// Six significant digits, whole numbers in full, without trailing zeros.
fn six_digits(x: f64) -> String {
    let leading = if x == 0.0 { 0.0 } else { x.abs().log10().floor() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=15")]
    let places = (5.0 - leading).clamp(0.0, 15.0) as usize;
    let text = format!("{x:.places$}");
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}
