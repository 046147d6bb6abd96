//! What a vector expects against what came out.

use serde_json::Value;

use super::Outcome;

/// The error classes that files name.
const CLASSES: [&str; 29] = [
    "bad_checksum",
    "bad_crc",
    "bad_lrc",
    "bad_char",
    "bad_start",
    "bad_end",
    "truncated",
    "no_frame",
    "timeout",
    "bad_length",
    "bad_payload_length",
    "address_mismatch",
    "di_mismatch",
    "sequence_mismatch",
    "unexpected_function",
    "echo_mismatch",
    "tid_mismatch",
    "bad_protocol_id",
    "wrong_direction",
    "unsolicited",
    "non_bcd",
    "not_available",
    "unknown_unit",
    "invalid_datetime",
    "bad_mac",
    "bad_cryptogram",
    "bad_padding",
    "bad_parity",
    "bad_payload",
];

/// Why a frame was refused.
pub(super) struct Refused {
    /// The error class.
    pub(super) class: &'static str,
    /// Another class that says the same of these bytes.
    also: Option<&'static str>,
    /// The driver's own words, where it has any.
    why: Option<String>,
}

impl Refused {
    /// A refusal in the driver's words.
    pub(super) fn told(class: &'static str, why: impl ToString) -> Self {
        Refused { class, also: None, why: Some(why.to_string()) }
    }

    /// Nothing was received until the deadline.
    pub(super) fn nothing() -> Self {
        Refused::from("timeout").or("no_frame")
    }

    /// The same where a file may as well name that class.
    pub(super) fn or(self, class: &'static str) -> Self {
        Refused { also: Some(class), ..self }
    }
}

impl From<&'static str> for Refused {
    fn from(class: &'static str) -> Self {
        Refused { class, also: None, why: None }
    }
}

/// Whether a text of that field that differs says the same, because the bytes alone decide what is meant: field, what is
/// expected, what came out.
pub(super) type Label = fn(&str, &str, &str) -> bool;

/// No text may differ.
pub(super) fn literal(_: &str, _: &str, _: &str) -> bool {
    false
}

/// The error class that the vector expects, `None` where it expects success. A file writes `"expect": "error"` and the
/// class in `error`, or the class in `expect`; letters may be large, and words parted by blanks or hyphens.
pub(super) fn expected_class(vector: &Value) -> Result<Option<&'static str>, String> {
    let expect = vector["expect"].as_str().ok_or("`expect` is no text: write ok or error")?;
    if expect == "ok" {
        return Ok(None);
    }
    let named = match expect {
        "error" => vector["error"].as_str().ok_or("`error` names no class")?,
        class => class,
    };
    let plain = named.trim().to_ascii_lowercase().replace(['-', ' '], "_");
    let found = CLASSES.iter().find(|class| **class == plain);
    found.copied().map(Some).ok_or_else(|| format!("{named:?} is no error class; there are {}", CLASSES.join(", ")))
}

/// What the vector expects of a frame against what came out.
pub(super) fn verdict(vector: &Value, got: &Result<Value, Refused>, label: Label) -> Outcome {
    match (expected_class(vector)?, got) {
        (None, Ok(decoded)) => same_as(&vector["decoded"], decoded, label),
        (None, Err(refused)) => {
            let why = refused.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            Err(format!("was refused as {}{why}", refused.class))
        }
        (Some(class), Err(refused)) if refused.class == class || refused.also == Some(class) => Ok(()),
        // Whoever tells values apart says of each that it is not there.
        (Some("not_available"), Ok(decoded)) if lacks_a_value(decoded) => Ok(()),
        (Some(class), Ok(decoded)) => Err(format!("was taken as {decoded} where {class:?} is right")),
        (Some(class), Err(refused)) => Err(format!("was refused as {} where {class:?} is right", refused.class)),
    }
}

fn lacks_a_value(decoded: &Value) -> bool {
    decoded["items"].as_array().is_some_and(|items| items.iter().any(|item| item["value"].is_null()))
}

/// Every field that the vector has must be in what came out, with the same value.
pub(super) fn same_fields(expected: &Value, got: &Value) -> Outcome {
    same_as(expected, got, literal)
}

fn same_as(expected: &Value, got: &Value, label: Label) -> Outcome {
    let Some(fields) = expected.as_object() else { return Err("what is expected is no JSON object".to_owned()) };
    let differs: Vec<_> = fields
        .iter()
        .filter(|(name, value)| !same(name, value, &got[name.as_str()], label))
        .map(|(name, value)| format!("{name} is {} where {value} is right", got[name.as_str()]))
        .collect();
    if differs.is_empty() { Ok(()) } else { Err(differs.join("; ")) }
}

/// Whether a field's value is the expected one; of objects within, too, every field that the vector has.
fn same(field: &str, expected: &Value, got: &Value, label: Label) -> bool {
    match (expected, got) {
        (Value::Object(fields), Value::Object(_)) => {
            fields.iter().all(|(name, value)| same(name, value, &got[name.as_str()], label))
        }
        (Value::Array(right), Value::Array(list)) => {
            right.len() == list.len() && right.iter().zip(list).all(|(right, got)| same(field, right, got, label))
        }
        (Value::String(right), Value::String(got)) => {
            right == got
                || same_digits(right, got)
                || field == "unit" && same_unit(right, got)
                || label(field, right, got)
        }
        (Value::Number(right), Value::Number(got)) => right == got || right.as_f64() == got.as_f64(),
        // A decimal is a text, so that its digits count; a file that has it as a number lost them.
        (Value::Number(right), Value::String(got)) if field == "value" => {
            got.parse().is_ok_and(|got: f64| right.as_f64() == Some(got))
        }
        // The other way round nothing is lost.
        (Value::String(right), Value::Number(got)) => *right == got.to_string(),
        _ => expected == got,
    }
}

/// The same bytes in hexadecimal, in large or small letters, with or without blanks.
fn same_digits(right: &str, got: &str) -> bool {
    let digits = |text: &str| -> Option<String> {
        let kept = text.chars().filter(|c| !matches!(c, ' ' | ':'));
        kept.map(|c| c.is_ascii_hexdigit().then(|| c.to_ascii_uppercase())).collect()
    };
    !got.is_empty() && digits(right).is_some_and(|right| digits(got) == Some(right))
}

/// The same letters and the same digits: m³ is m3, and MWh×100 is 100 MWh.
fn same_unit(right: &str, got: &str) -> bool {
    let parts = |unit: &str| -> (String, String) {
        let plain = unit.replace('³', "3");
        let letters = plain.chars().filter(|c| c.is_alphabetic() || matches!(c, '%' | '/')).collect();
        (letters, plain.chars().filter(char::is_ascii_digit).collect())
    };
    parts(right) == parts(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_is_the_same_however_it_is_written() {
        for (expected, got) in [
            (json!({"data": "bd d9 37 40"}), json!({"data": "BDD93740"})),
            (json!({"items": [{"unit": "MWh×100"}]}), json!({"items": [{"unit": "100 MWh", "value": "1"}]})),
            (
                json!({"items": [{"unit": "m³/h", "value": 230.1}]}),
                json!({"items": [{"unit": "m3/h", "value": "230.10"}]}),
            ),
            (json!({"seconds": 240.0, "clock": null}), json!({"seconds": 240})),
            (json!({"serial": "7"}), json!({"serial": 7})),
        ] {
            assert_eq!(same_fields(&expected, &got), Ok(()));
        }
        for (expected, got) in [
            (json!({"data": "bdd93741"}), json!({"data": "BDD93740"})),
            (json!({"items": [{"unit": "kWh"}]}), json!({"items": [{"unit": "MWh"}]})),
            (json!({"items": [{"unit": "MWh"}]}), json!({"items": [{"unit": "100 MWh"}]})),
            (json!({"items": [{"value": "230.1"}]}), json!({"items": [{"value": "230.10"}]})),
            (json!({"items": []}), json!({"items": [{"value": "1"}]})),
            (json!({"control": 91}), json!({"control": "91"})),
        ] {
            assert!(same_fields(&expected, &got).is_err(), "{expected}");
        }
    }

    #[test]
    fn an_error_class_is_named_in_either_place() {
        let named = |vector| expected_class(&vector);
        assert_eq!(named(json!({"expect": "ok"})), Ok(None));
        assert_eq!(named(json!({"expect": "error", "error": "Bad CRC"})), Ok(Some("bad_crc")));
        assert_eq!(named(json!({"expect": "bad_crc"})), Ok(Some("bad_crc")));
        assert_eq!(named(json!({"expect": "error"})), Err("`error` names no class".to_owned()));
        let unknown = named(json!({"expect": "error", "error": "crc"})).unwrap_err();
        assert!(unknown.starts_with("\"crc\" is no error class; there are bad_checksum, bad_crc, "), "{unknown}");
    }

    #[test]
    fn nothing_is_a_timeout_and_no_frame() {
        let named = |class: &str| verdict(&json!({"expect": class}), &Err(Refused::nothing()), literal);
        assert_eq!((named("timeout"), named("no_frame")), (Ok(()), Ok(())));
        assert_eq!(named("truncated"), Err("was refused as timeout where \"truncated\" is right".to_owned()));
    }

    #[test]
    fn a_value_that_is_not_there_is_one_of_several() {
        let vector = json!({"expect": "error", "error": "not_available"});
        let decoded = |value: Value| Ok(json!({"items": [{"value": "1"}, {"value": value}]}));
        assert_eq!(verdict(&vector, &decoded(Value::Null), literal), Ok(()));
        assert!(verdict(&vector, &decoded(json!("2")), literal).is_err());
    }
}
