//! Our evaluator beside the interpreter of `cel`, and beside itself with values missing.

use std::collections::BTreeMap;

use cel::{Context, Program};
use gatehouse_core::{NoData, Value};
use proptest::prelude::*;
use proptest::strategy::Union;

use super::{OWN, Site, at, catalog, compiled};
use crate::PointRef;
use crate::expr::eval::number;
use crate::expr::{Expr, Outcome, Template};
use crate::words::Mode;

/// An expression in our spelling and in that of plain CEL, where every point is a variable and every number a double.
#[derive(Debug, Clone)]
struct Both {
    ours: String,
    cel: String,
}

impl Both {
    fn same(text: impl Into<String>) -> Both {
        let text = text.into();
        Both { ours: text.clone(), cel: text }
    }

    fn join(parts: &[&Both], write: impl Fn(&[&str]) -> String) -> Both {
        let side = |pick: fn(&Both) -> &str| write(&parts.iter().map(|part| pick(part)).collect::<Vec<_>>());
        Both { ours: side(|both| &both.ours), cel: side(|both| &both.cel) }
    }
}

/// The points that random expressions use: device, point, our spelling, CEL variable.
const NUMBERS: [(&str, &str, &str, &str); 3] = [
    ("meter-101", "voltage_l1", "voltage_l1", "voltage_l1"),
    ("meter-101", "energy-import", "point(\"energy-import\")", "energy"),
    ("door-1", "openings", "value(\"door-1\", \"openings\")", "openings"),
];
const FLAGS: [(&str, &str, &str, &str); 2] =
    [("meter-101", "relay", "relay", "relay"), ("door-1", "open", "device(\"door-1\").open", "door_open")];
const TEXTS: [(&str, &str, &str, &str); 2] =
    [("meter-101", "state", "state", "state"), ("door-1", "badge", "value(\"door-1\", \"badge\")", "badge")];

fn point(points: &'static [(&str, &str, &str, &str)]) -> impl Strategy<Value = Both> + use<> {
    prop::sample::select(points).prop_map(|(_, _, ours, cel)| Both { ours: (*ours).to_owned(), cel: (*cel).to_owned() })
}

fn constant() -> impl Strategy<Value = Both> {
    prop_oneof![
        (0i32..4).prop_map(|x| Both { ours: x.to_string(), cel: format!("{x}.0") }),
        prop::sample::select(vec!["0.1", "2.5", "1e3", "0.0"]).prop_map(Both::same),
    ]
}

fn words() -> impl Strategy<Value = Both> {
    prop::sample::select(vec!["''", "\"a\"", "'ab'", "\"üb\"", "'open'"]).prop_map(Both::same)
}

type Leaves = (BoxedStrategy<Both>, BoxedStrategy<Both>, BoxedStrategy<Both>);

/// Flags, numbers and texts of some depth.
fn expressions(depth: u32) -> Leaves {
    let flag = prop_oneof![point(&FLAGS), any::<bool>().prop_map(|on| Both::same(on.to_string()))].boxed();
    let number = prop_oneof![point(&NUMBERS), constant()].boxed();
    let text = prop_oneof![point(&TEXTS), words(), Just(Both::same("mode"))].boxed();
    if depth == 0 {
        return (flag, number, text);
    }
    let (flags, numbers, texts) = expressions(depth - 1);
    let two = |a: &BoxedStrategy<Both>, signs: &'static [&'static str]| {
        (a.clone(), prop::sample::select(signs), a.clone())
            .prop_map(|(a, sign, b)| Both::join(&[&a, &b], |s| format!("({} {sign} {})", s[0], s[1])))
    };
    let three = |a: &BoxedStrategy<Both>| {
        (flags.clone(), a.clone(), a.clone())
            .prop_map(|(c, a, b)| Both::join(&[&c, &a, &b], |s| format!("({} ? {} : {})", s[0], s[1], s[2])))
    };
    let among = |needle: &BoxedStrategy<Both>, item: BoxedStrategy<Both>| {
        (needle.clone(), item.clone(), item)
            .prop_map(|(x, a, b)| Both::join(&[&x, &a, &b], |s| format!("({} in [{}, {}])", s[0], s[1], s[2])))
    };
    let part = (texts.clone(), prop::sample::select(vec!["startsWith", "endsWith", "contains"]), texts.clone())
        .prop_map(|(a, name, b)| Both::join(&[&a, &b], |s| format!("{}.{name}({})", s[0], s[1])));
    let flag = Union::new([
        flag.clone(),
        two(&flags, &["&&", "||", "==", "!="]).boxed(),
        two(&flags, &["&&", "||"]).boxed(),
        two(&numbers, &["<", "<=", "==", "!=", ">=", ">"]).boxed(),
        two(&texts_without_mode(), &["<", "<=", "==", "!=", ">=", ">"]).boxed(),
        flags.clone().prop_map(|a| Both::join(&[&a], |s| format!("!{}", s[0]))).boxed(),
        three(&flags).boxed(),
        among(&flags, flag).boxed(),
        among(&numbers, number.clone()).boxed(),
        part.boxed(),
    ]);
    let size =
        texts.clone().prop_map(|a| Both { ours: format!("size({})", a.ours), cel: format!("double(size({}))", a.cel) });
    let number = Union::new([
        number,
        two(&numbers, &["+", "-", "*", "/"]).boxed(),
        numbers.clone().prop_map(|a| Both::join(&[&a], |s| format!("-({})", s[0]))).boxed(),
        three(&numbers).boxed(),
        size.boxed(),
    ]);
    let text = Union::new([text, two(&texts, &["+"]).boxed(), three(&texts).boxed()]);
    (flag.boxed(), number.boxed(), text.boxed())
}

/// A mode is not compared with any word, so comparisons take other texts.
fn texts_without_mode() -> BoxedStrategy<Both> {
    prop_oneof![point(&TEXTS), words()].boxed()
}

fn number_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec!["0", "1", "-2", "0.1", "253.40", "1000"]).prop_map(super::decimal),
        prop::sample::select(vec![0.0f32, 0.1, -2.0, 1e3, 16_777_216.0]).prop_map(Value::F32),
        prop::sample::select(vec![0.0f64, -0.0, 2.5, 1e308]).prop_map(Value::F64),
    ]
}

fn values() -> impl Strategy<Value = Vec<(PointRef, String, Value)>> {
    let place = |(device, name, _, cel): (&'static str, &'static str, &'static str, &'static str)| {
        (at(device, name), cel.to_owned())
    };
    let texts = prop::sample::select(vec!["", "a", "ab", "ü", "open"]).prop_map(super::text);
    let of = move |points: &'static [(&'static str, &'static str, &'static str, &'static str)],
                   value: BoxedStrategy<Value>| {
        prop::collection::vec(value, points.len()).prop_map(move |values| {
            points
                .iter()
                .zip(values)
                .map(|(p, value)| {
                    let (at, cel) = place(*p);
                    (at, cel, value)
                })
                .collect::<Vec<_>>()
        })
    };
    (
        of(&NUMBERS, number_value().boxed()),
        of(&FLAGS, any::<bool>().prop_map(Value::Bool).boxed()),
        of(&TEXTS, texts.boxed()),
    )
        .prop_map(|(a, b, c)| [a, b, c].concat())
}

fn site(values: &[(PointRef, String, Value)], missing: &BTreeMap<usize, NoData>) -> Site {
    let place = values.iter().enumerate();
    place.fold(Site::new(), |site, (ix, (at, _, value))| {
        site.read(*at, missing.get(&ix).map_or(Ok(value.clone()), |why| Err(*why)))
    })
}

/// What `cel` says: a condition, or that it fails.
fn interpreted(source: &str, values: &[(PointRef, String, Value)], mode: Mode) -> Option<bool> {
    let mut context = Context::default();
    context.add_variable_from_value("mode", mode.as_str());
    for (_, name, value) in values {
        match value {
            Value::Bool(on) => context.add_variable_from_value(name.as_str(), *on),
            Value::Text(text) => context.add_variable_from_value(name.as_str(), text.to_string()),
            Value::Decimal(_) | Value::F32(_) | Value::F64(_) => {
                context.add_variable_from_value(name.as_str(), number(value).unwrap());
            }
        }
    }
    match Program::compile(source).unwrap().execute(&context) {
        Ok(cel::Value::Bool(on)) => Some(on),
        Ok(other) => panic!("{source} is {other:?}"),
        Err(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_every_value_there_we_say_what_cel_says(source in expressions(3).0, values in values()) {
        let site = site(&values, &BTreeMap::new());
        let expected = interpreted(&source.cel, &values, site.mode);
        let outcome = match Expr::compile(&source.ours, &catalog(), Some(OWN)) {
            Ok(expr) => expr.evaluate(&site),
            Err(errors) => {
                prop_assert!(errors.iter().all(|error| error.code.ends_with("always_fails")), "{:?}", errors);
                Outcome::Failed(String::new())
            }
        };
        match outcome {
            Outcome::True => prop_assert_eq!(expected, Some(true), "{:?}", source),
            Outcome::False => prop_assert_eq!(expected, Some(false), "{:?}", source),
            Outcome::Failed(_) => prop_assert_eq!(expected, None, "{:?}", source),
            Outcome::Missing(what) => prop_assert!(false, "{} is missing in {:?}", what, source),
        }
    }

    #[test]
    fn what_is_told_with_values_missing_holds_whatever_they_are(
        source in expressions(3).0,
        values in values(),
        others in prop::collection::vec(values(), 8),
        missing in prop::collection::btree_map(0usize..7, Just(NoData::Timeout), 1..5),
    ) {
        let Ok(expr) = Expr::compile(&source.ours, &catalog(), Some(OWN)) else { return Ok(()) };
        let told = expr.evaluate(&site(&values, &missing));
        if !matches!(told, Outcome::True | Outcome::False) {
            return Ok(());
        }
        for other in &others {
            let filled: Vec<_> = values.iter().zip(other).enumerate()
                .map(|(ix, (value, other))| if missing.contains_key(&ix) { other.clone() } else { value.clone() })
                .collect();
            let full = expr.evaluate(&site(&filled, &BTreeMap::new()));
            prop_assert_eq!(&full, &told, "{:?}", source);
        }
    }

    #[test]
    fn no_input_that_is_not_listed_changes_the_outcome(source in expressions(3).0, values in values(), others in values()) {
        let Ok(expr) = Expr::compile(&source.ours, &catalog(), Some(OWN)) else { return Ok(()) };
        let changed: Vec<_> = values.iter().zip(&others)
            .map(|(value, other)| if expr.inputs().points.contains(&value.0) { value.clone() } else { other.clone() })
            .collect();
        let none = BTreeMap::new();
        prop_assert_eq!(expr.evaluate(&site(&values, &none)), expr.evaluate(&site(&changed, &none)));
    }

    #[test]
    fn no_text_is_too_odd_to_be_answered_with_a_place(
        soup in prop_oneof![
            "\\PC{0,60}",
            prop::collection::vec(prop::sample::select(vec![
                "voltage_l1", "relay", "state", "value", "device", "age", "has", "mode", "in", "if", "(", ")", "[", "]", "{", "}", "\"meter-101\"",
                "'a'", "\"", "'", "\\", ".", ",", "?", ":", "&&", "||", "&", "|", "!", "-", "+", "*", "/", "%", "=", "==", "<", ">", "1", "2.5",
                "0x", "1e", "1u", "b''", "r'\\'", "null", "true", "ü", "≥", "`", " ", "\n", "//", "//\n", "\r", "\t", "..", "\u{feff}",
            ]), 0..14).prop_map(|parts| parts.concat()),
        ]
    ) {
        for found in [Expr::compile(&soup, &catalog(), Some(OWN)).err(), Template::compile(&soup, &catalog(), None).err()] {
            for error in found.unwrap_or_default() {
                prop_assert!(soup.get(error.span.clone()).is_some(), "{:?} of {:?}", error, soup);
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}

#[test]
fn integers_beside_points_are_doubles() {
    assert_eq!(compiled("voltage_l1 + 1 > 2"), compiled("voltage_l1 + 1.0 > 2.0"));
}
