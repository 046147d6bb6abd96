//! Reading one TOML table key by key: every mistake is noted with its place, none stops the reading.

use std::ops::{Range, RangeInclusive};

use gatehouse_core::Decimal;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Which rule a piece of a TOML file breaks. The names are stable: they are part of diagnostic codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The text is not TOML.
    Syntax,
    /// A key that the table does not have.
    UnknownKey,
    /// A key that the table must have.
    MissingKey,
    /// A value of another TOML type than the key takes.
    WrongType,
    /// A value outside what the key takes.
    BadValue,
    /// A value that does not go with another key's.
    Conflict,
    /// A name that is taken.
    Duplicate,
}

impl Rule {
    /// The name in diagnostic codes, for example `unknown_key`.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Syntax => "syntax",
            Rule::UnknownKey => "unknown_key",
            Rule::MissingKey => "missing_key",
            Rule::WrongType => "wrong_type",
            Rule::BadValue => "bad_value",
            Rule::Conflict => "conflict",
            Rule::Duplicate => "duplicate",
        }
    }
}

/// One mistake in a TOML table: what is wrong, what would be right, and where (bytes of the file).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KeyError {
    /// The broken rule.
    pub rule: Rule,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead; empty when the message says it all.
    pub help: String,
    /// Bytes of the file that are meant.
    pub span: Range<usize>,
}

/// Fewest characters that say something as a part of a name.
const TELLING: usize = 3;

/// The candidate that `given` was probably meant to be: the nearest within about a third of its length, else one of
/// which it is a part, or that is a part of it.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = given.to_lowercase();
    let length = lower.chars().count();
    let bound = (length / 3).max(1) + 1;
    let rank = |candidate: &str| {
        let other = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&lower, &other);
        let part = other.contains(&lower) || lower.contains(&other);
        if distance <= bound && distance < length {
            Some((false, distance))
        } else {
            (part && length.min(other.chars().count()) >= TELLING).then_some((true, distance))
        }
    };
    let ranked = candidates.into_iter().filter_map(|candidate| Some((rank(candidate)?, candidate)));
    ranked.min_by_key(|&(rank, _)| rank).map(|(_, candidate)| candidate)
}

/// Line and column, both from 1, of a byte of `text`; columns count characters.
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let mut end = byte.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A value that was found, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// Bytes of the file.
    pub span: Range<usize>,
}

/// Reads one table; the calls note mistakes in `errors` and return `None` for keys that are missing or wrong.
///
/// Read every key that the table may have, then call [`Keys::deny_others`].
#[derive(Debug)]
pub struct Keys<'t, 'i> {
    table: &'t DeTable<'i>,
    span: Range<usize>,
    known: Vec<&'static str>,
    /// The mistakes found so far.
    pub errors: Vec<KeyError>,
}

impl<'t, 'i> Keys<'t, 'i> {
    /// Begins to read `table`, which stands at `span`.
    pub fn new(table: &'t DeTable<'i>, span: Range<usize>) -> Self {
        Keys { table, span, known: Vec::new(), errors: Vec::new() }
    }

    /// Where the table stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// True when the key is there, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes a mistake.
    pub fn error(&mut self, rule: Rule, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(KeyError { rule, message: message.into(), help: help.into(), span });
    }

    /// Where the value of a key stands; the table's place when it is missing.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// The value of a key as it is.
    pub fn raw(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// Notes that a key must be there.
    pub fn missing(&mut self, key: &str, help: impl Into<String>) {
        let span = self.span.clone();
        self.error(Rule::MissingKey, span, format!("`{key}` is missing"), help);
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'i>>, wanted: &str) {
        let message = format!("`{key}` must be {wanted}, this is {}", type_name(value.get_ref()));
        self.error(Rule::WrongType, value.span(), message, "");
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<Found<&'t str>> {
        let value = self.raw(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, "a text in quotes");
        }
        Some(Found { value: text?, span: value.span() })
    }

    /// A text that must be there and not be empty; an empty one when it is not.
    pub fn required_text(&mut self, key: &'static str, help: &str) -> String {
        match self.text(key) {
            Some(found) if !found.value.trim().is_empty() => return found.value.to_owned(),
            Some(found) => self.error(Rule::BadValue, found.span, format!("`{key}` is empty"), help),
            None if !self.has(key) => self.missing(key, help),
            None => {}
        }
        String::new()
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<Found<bool>> {
        let value = self.raw(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        Some(Found { value: flag?, span: value.span() })
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<Found<i64>> {
        let value = self.raw(key)?;
        let Some(number) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        let parsed = integer(number).and_then(|n| i64::try_from(n).ok()).filter(|n| range.contains(n));
        if parsed.is_none() {
            let message = format!("`{key}` must be {} to {}, this is {number}", range.start(), range.end());
            self.error(Rule::BadValue, value.span(), message, "");
        }
        Some(Found { value: parsed?, span: value.span() })
    }

    /// A whole number of 0 to 65535.
    pub fn word(&mut self, key: &'static str, range: RangeInclusive<u16>) -> Option<Found<u16>> {
        let found = self.integer(key, i64::from(*range.start())..=i64::from(*range.end()))?;
        Some(Found { value: u16::try_from(found.value).ok()?, span: found.span })
    }

    /// A time of 1 ms to `most_ms`, written `"500ms"` or `"2s"`.
    pub fn millis(&mut self, key: &'static str, most_ms: u32) -> Option<Found<u32>> {
        let found = self.text(key)?;
        let text = found.value.trim();
        let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => number.trim().parse::<u32>().ok(),
            (None, Some(number)) => number.trim().parse::<u32>().ok().and_then(|s| s.checked_mul(1000)),
            (None, None) => None,
        };
        let parsed = parsed.filter(|ms| (1..=most_ms).contains(ms));
        if parsed.is_none() {
            let message = format!("`{key}` = {:?} is not a time of 1ms to {most_ms}ms", found.value);
            self.error(
                Rule::BadValue,
                found.span.clone(),
                message,
                "write a number with ms or s, for example \"300ms\"",
            );
        }
        Some(Found { value: parsed?, span: found.span })
    }

    /// An exact decimal: a number, or a text with a number in it. Its digits are taken as written.
    pub fn decimal(&mut self, key: &'static str) -> Option<Found<Decimal>> {
        let value = self.raw(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(n) if n.radix() == 10 => n.as_str(),
            DeValue::Float(x) => x.as_str(),
            DeValue::String(text) => text,
            _ => {
                self.wrong_type(key, value, "a decimal number");
                return None;
            }
        };
        let decimal = Decimal::parse(text);
        if let Err(why) = &decimal {
            self.error(Rule::BadValue, value.span(), format!("`{key}` = {text:?} is {why}"), "");
        }
        Some(Found { value: decimal.ok()?, span: value.span() })
    }

    /// One of a fixed set of words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<Found<T>> {
        let found = self.text(key)?;
        if let Some(&(_, value)) = choices.iter().find(|(name, _)| *name == found.value) {
            return Some(Found { value, span: found.span });
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{key}` cannot be {:?}", found.value);
        self.error(Rule::BadValue, found.span, message, did_you_mean(found.value, &names));
        None
    }

    /// A list, or one value that stands for a list of one.
    pub fn list(&mut self, key: &'static str) -> Vec<&'t Spanned<DeValue<'i>>> {
        match self.raw(key) {
            None => Vec::new(),
            Some(value) => value.get_ref().as_array().map_or_else(|| vec![value], |array| array.iter().collect()),
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        let mut texts = Vec::new();
        for value in self.list(key) {
            match value.get_ref().as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.wrong_type(key, value, "a list of texts"),
            }
        }
        texts
    }

    /// The tables of a list, with their places.
    pub fn tables(&mut self, key: &'static str) -> Vec<(&'t DeTable<'i>, Range<usize>)> {
        let mut tables = Vec::new();
        for value in self.list(key) {
            match value.get_ref().as_table() {
                Some(table) => tables.push((table, value.span())),
                None => self.wrong_type(key, value, "a list of tables"),
            }
        }
        tables
    }

    /// A table within the table.
    pub fn table(&mut self, key: &'static str) -> Option<(&'t DeTable<'i>, Range<usize>)> {
        let value = self.raw(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table");
        }
        Some((table?, value.span()))
    }

    /// Notes every key that was not asked for and is not in `extra`, with the nearest that was.
    pub fn deny_others(&mut self, extra: &[&str]) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) || extra.contains(&name) {
                continue;
            }
            let all: Vec<&str> = self.known.iter().copied().chain(extra.iter().copied()).collect();
            let help = did_you_mean(name, &all);
            self.errors.push(KeyError {
                rule: Rule::UnknownKey,
                message: format!("there is no key `{name}` here"),
                help,
                span: key.span(),
            });
        }
    }
}

/// The nearest name as a question, or all of them.
pub fn did_you_mean(given: &str, names: &[&str]) -> String {
    match nearest(given, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known are: {}", names.join(", ")),
    }
}

/// The number that a TOML integer says, hexadecimal and the like included.
pub fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
