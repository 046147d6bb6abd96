//! Compiled expressions: one tree per type, so that none of them can go wrong about types when it is evaluated.

use std::time::Duration;

use gatehouse_core::DeviceIx;

use super::eval::Blind;
use crate::PointRef;

/// An expression of any type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Flag(Flag),
    Number(Number),
    Text(Text),
}

/// True or false.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Flag {
    Const(bool),
    Point(PointRef),
    /// Whether the point has a value now.
    Has(PointRef),
    Online(DeviceIx),
    Not(Box<Flag>),
    All(Vec<Flag>),
    Any(Vec<Flag>),
    Same(Box<(Flag, Flag)>),
    Numbers(Order, Box<(Number, Number)>),
    Texts(Order, Box<(Text, Text)>),
    /// The age of a point compared with nanoseconds.
    Age(Order, PointRef, i64),
    AmongFlags(Box<Flag>, Vec<Flag>),
    AmongNumbers(Box<Number>, Vec<Number>),
    AmongTexts(Box<Text>, Vec<Text>),
    /// Whether the second text is at that place of the first.
    Part(Place, Box<(Text, Text)>),
    If(Box<(Flag, Flag, Flag)>),
}

/// A number. CEL's `int` and `uint` do not occur: every number is a `double`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    Const(f64),
    Point(PointRef),
    /// Seconds since the point last had a value.
    Age(PointRef),
    Negative(Box<Number>),
    Sum(Arithmetic, Box<(Number, Number)>),
    /// Characters of a text.
    Size(Box<Text>),
    If(Box<(Flag, Number, Number)>),
}

/// A text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Text {
    Const(Box<str>),
    Point(PointRef),
    /// Quality of a point whose reading is good for this long.
    Quality(PointRef, Duration),
    Mode,
    Join(Box<(Text, Text)>),
    If(Box<(Flag, Text, Text)>),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// An operation on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Where one text is looked for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    Anywhere,
}

impl Order {
    /// The same comparison with its sides exchanged.
    pub(super) fn flipped(self) -> Order {
        match self {
            Order::Less => Order::Greater,
            Order::LessOrEqual => Order::GreaterOrEqual,
            Order::Equal => Order::Equal,
            Order::NotEqual => Order::NotEqual,
            Order::GreaterOrEqual => Order::LessOrEqual,
            Order::Greater => Order::Less,
        }
    }
}

/// Constructors that evaluate what depends on nothing. What fails without depending on anything stays as it is.
impl Flag {
    pub(super) fn not(inner: Flag) -> Flag {
        match inner {
            Flag::Const(on) => Flag::Const(!on),
            Flag::Not(inner) => *inner,
            other => Flag::Not(Box::new(other)),
        }
    }

    /// Both hold; operands that are such lists themselves are merged, so that a long chain is one flat list.
    pub(super) fn all(a: Flag, b: Flag) -> Flag {
        let mut parts = Vec::new();
        for part in [a, b] {
            match part {
                Flag::Const(true) => {}
                Flag::Const(false) => return Flag::Const(false),
                Flag::All(more) => parts.extend(more),
                other => parts.push(other),
            }
        }
        if parts.is_empty() { Flag::Const(true) } else { single(parts).unwrap_or_else(Flag::All) }
    }

    /// At least one holds; see [`Flag::all`].
    pub(super) fn any(a: Flag, b: Flag) -> Flag {
        let mut parts = Vec::new();
        for part in [a, b] {
            match part {
                Flag::Const(false) => {}
                Flag::Const(true) => return Flag::Const(true),
                Flag::Any(more) => parts.extend(more),
                other => parts.push(other),
            }
        }
        if parts.is_empty() { Flag::Const(false) } else { single(parts).unwrap_or_else(Flag::Any) }
    }

    pub(super) fn choose(condition: Flag, then: Flag, otherwise: Flag) -> Flag {
        match condition {
            Flag::Const(true) => then,
            Flag::Const(false) => otherwise,
            other => Flag::If(Box::new((other, then, otherwise))),
        }
    }

    pub(super) fn same(order: Order, a: Flag, b: Flag) -> Flag {
        let fixed = matches!((&a, &b), (Flag::Const(_), Flag::Const(_)));
        let same = Flag::Same(Box::new((a, b))).folded(fixed);
        if order == Order::NotEqual { Flag::not(same) } else { same }
    }

    pub(super) fn numbers(order: Order, a: Number, b: Number) -> Flag {
        match (&a, &b) {
            (Number::Age(at), Number::Const(limit)) if !limit.is_nan() => Flag::Age(order, *at, nanoseconds(*limit)),
            (Number::Const(limit), Number::Age(at)) if !limit.is_nan() => {
                Flag::Age(order.flipped(), *at, nanoseconds(*limit))
            }
            (a_side, b_side) => {
                let fixed = matches!((a_side, b_side), (Number::Const(_), Number::Const(_)));
                Flag::Numbers(order, Box::new((a, b))).folded(fixed)
            }
        }
    }

    pub(super) fn texts(order: Order, a: Text, b: Text) -> Flag {
        let fixed = matches!((&a, &b), (Text::Const(_), Text::Const(_)));
        Flag::Texts(order, Box::new((a, b))).folded(fixed)
    }

    pub(super) fn part(place: Place, whole: Text, part: Text) -> Flag {
        let fixed = matches!((&whole, &part), (Text::Const(_), Text::Const(_)));
        Flag::Part(place, Box::new((whole, part))).folded(fixed)
    }

    pub(super) fn among_flags(needle: Flag, list: Vec<Flag>) -> Flag {
        let fixed = std::iter::once(&needle).chain(&list).all(|part| matches!(part, Flag::Const(_)));
        Flag::AmongFlags(Box::new(needle), list).folded(fixed)
    }

    pub(super) fn among_numbers(needle: Number, list: Vec<Number>) -> Flag {
        let fixed = std::iter::once(&needle).chain(&list).all(|part| matches!(part, Number::Const(_)));
        Flag::AmongNumbers(Box::new(needle), list).folded(fixed)
    }

    pub(super) fn among_texts(needle: Text, list: Vec<Text>) -> Flag {
        let fixed = std::iter::once(&needle).chain(&list).all(|part| matches!(part, Text::Const(_)));
        Flag::AmongTexts(Box::new(needle), list).folded(fixed)
    }

    fn folded(self, fixed: bool) -> Flag {
        if !fixed {
            return self;
        }
        match self.evaluate(&Blind) {
            Ok(on) => Flag::Const(on),
            Err(_) => self,
        }
    }
}

impl Number {
    pub(super) fn negative(inner: Number) -> Number {
        match inner {
            Number::Const(x) => Number::Const(-x),
            other => Number::Negative(Box::new(other)),
        }
    }

    pub(super) fn sum(how: Arithmetic, a: Number, b: Number) -> Number {
        match (a, b) {
            (Number::Const(a), Number::Const(b)) => Number::Const(how.of(a, b)),
            (a, b) => Number::Sum(how, Box::new((a, b))),
        }
    }

    pub(super) fn size(text: Text) -> Number {
        match text {
            Text::Const(text) => Number::Const(super::eval::characters(&text)),
            other => Number::Size(Box::new(other)),
        }
    }

    pub(super) fn choose(condition: Flag, then: Number, otherwise: Number) -> Number {
        match condition {
            Flag::Const(true) => then,
            Flag::Const(false) => otherwise,
            other => Number::If(Box::new((other, then, otherwise))),
        }
    }
}

impl Text {
    pub(super) fn join(a: Text, b: Text) -> Text {
        match (a, b) {
            (Text::Const(a), Text::Const(b)) => Text::Const(format!("{a}{b}").into()),
            (a, b) => Text::Join(Box::new((a, b))),
        }
    }

    pub(super) fn choose(condition: Flag, then: Text, otherwise: Text) -> Text {
        match condition {
            Flag::Const(true) => then,
            Flag::Const(false) => otherwise,
            other => Text::If(Box::new((other, then, otherwise))),
        }
    }
}

impl Arithmetic {
    /// IEEE 754, as CEL's `double`: nothing overflows, and a division by zero is infinite.
    pub(super) fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
        }
    }
}

/// The only part, or the list again.
fn single(mut parts: Vec<Flag>) -> Result<Flag, Vec<Flag>> {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            parts.push(last);
            Err(parts)
        }
        (None, _) => Err(parts),
    }
}

/// Seconds in nanoseconds; what lies beyond 292 years is 292 years.
fn nanoseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and ages are whole nanoseconds")]
    let nanoseconds = (seconds * 1e9).round() as i64;
    nanoseconds
}
