//! Values over time in one line: `230x5 254+1x10 _x3 249`.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::Decimal;

/// The longest series: a value every second for a day.
const MOST: usize = 86_400;

/// What a series says of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// `.`: nothing is read.
    Nothing,
    /// `_`: it is read, and has no value.
    NoData,
    /// A value, as text.
    Value(String),
}

/// What is wrong with a series, and with which bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

/// Reads a series. `AxN` is N times A, `A+BxN` and `A-BxN` are N values from A on, each B more or less than the one
/// before.
pub(super) fn parse(text: &str) -> Result<Vec<Item>, Wrong> {
    let mut items = Vec::new();
    for word in text.split_whitespace() {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let wrong = |message: String| Wrong { span: start..start + word.len(), message };
        let (what, times) = match word.rsplit_once('x') {
            Some((what, times))
                if !what.is_empty() && times.bytes().all(|b| b.is_ascii_digit()) && !times.is_empty() =>
            {
                let times = times.parse::<usize>().ok().filter(|times| (1..=MOST).contains(times));
                (what, times.ok_or_else(|| wrong(format!("`{word}`: x takes 1 to {MOST}")))?)
            }
            _ => (word, 1),
        };
        if items.len() + times > MOST {
            return Err(wrong(format!("this series has more than {MOST} values: use a longer `every`")));
        }
        match what {
            "_" => items.extend(std::iter::repeat_n(Item::NoData, times)),
            "." => items.extend(std::iter::repeat_n(Item::Nothing, times)),
            _ => match ramp(what) {
                None => items.extend(std::iter::repeat_n(Item::Value(what.to_owned()), times)),
                Some((first, step)) => {
                    let mut value = first;
                    for at in 0..times {
                        if at > 0 {
                            let next = value.checked_add(step);
                            value = next.ok_or_else(|| wrong(format!("`{word}` becomes too large")))?;
                        }
                        items.push(Item::Value(value.to_string()));
                    }
                }
            },
        }
    }
    Ok(items)
}

/// The first value and the step of `A+B` or `A-B`.
fn ramp(text: &str) -> Option<(Decimal, Decimal)> {
    if Decimal::parse(text).is_ok() {
        return None;
    }
    let signs = text.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    signs
        .filter_map(|(at, _)| Some((Decimal::parse(text.get(..at)?).ok()?, Decimal::parse(text.get(at..)?).ok()?)))
        .next()
}

/// A time from the start of a test: `90s`, `1m30s`, `2h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(total)).filter(|span| *span <= Duration::from_secs(366 * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        let shown = |item: Item| match item {
            Item::Nothing => ".".to_owned(),
            Item::NoData => "_".to_owned(),
            Item::Value(text) => text,
        };
        parse(text).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn a_series_is_what_it_looks_like() {
        assert_eq!(values("230x3 254 _x2 . 249.5"), ["230", "230", "230", "254", "_", "_", ".", "249.5"]);
        assert_eq!(values("1+0.5x3 -1-1x2"), ["1", "1.5", "2.0", "-1", "-2"]);
        assert_eq!(values("on x off"), ["on", "x", "off"]);
        assert_eq!(values("running-drx2"), ["running-dr", "running-dr"]);
        assert_eq!(values(""), [""; 0]);
    }

    #[test]
    fn a_series_that_never_ends_is_refused() {
        let wrong = parse("1 2x99999999999").unwrap_err();
        assert_eq!(wrong.span, 2..15);
        assert!(parse("1x86400 1").is_err());
        assert!(parse("1x0").is_err());
    }

    #[test]
    fn times_are_sums_of_numbers_with_units() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        for bad in ["", "5", "s", "5 s", "1m 30s", "-5s", "400d", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }
}
