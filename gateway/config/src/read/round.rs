//! `[[round]]` and `[calendar]` of a rule file: who is to be where and when, and which days are worked.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::Keys;
use gatehouse_rules::schedule::{Calendar, CalendarPart, CalendarSpec, Holiday, Proof, RoundSpec, Stop, Timetable};
use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::access::CLASSES;
use super::reference::Devices;
use super::{Context, name, required_name};
use crate::code;
use crate::units::duration;

/// Reads one round.
pub(super) fn read(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    devices: Devices<'_>,
) -> Option<RoundSpec> {
    let mut keys = Keys::new(table, span.clone());
    let id = required_name(&mut keys, "id", "the round's permanent name, for example id = \"night-patrol\"");
    let title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    if !keys.has("due") {
        keys.missing("due", "when it is to be made, for example due = \"daily 22:00-06:00 every 2h\"");
    }
    let due = keys.text("due").and_then(|found| {
        let parsed = Timetable::from_str(found.value);
        parsed.map_err(|why| keys.error(Rule::BadValue, found.span, why.to_string(), "")).ok()
    });
    let most = Duration::from_secs(86_400);
    let before = duration(&mut keys, "before", Duration::ZERO..=most).map_or(Duration::ZERO, |found| found.value);
    let after = duration(&mut keys, "after", Duration::ZERO..=most).map_or(Duration::from_secs(1800), |f| f.value);
    let ordered = keys.flag("ordered").is_some_and(|found| found.value);
    let ticket = name(&mut keys, "ticket").map(|found| found.value);
    let stops: Vec<_> = keys.tables("stop").into_iter().map(|at| stop(context, at, devices)).collect();
    context.end(keys);
    let stops: Option<Vec<Stop>> = stops.into_iter().collect();
    let round = RoundSpec { id: id?.value, title, due: due?, before, after, stops: stops?, ordered, ticket };
    for fault in round.check().err().into_iter().flatten() {
        context.sink.error(code::BAD_RULE, span.clone(), format!("the round `{}`: {fault}", round.id), "");
    }
    Some(round)
}

fn stop(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>), devices: Devices<'_>) -> Option<Stop> {
    let mut keys = Keys::new(table, span.clone());
    let id = required_name(&mut keys, "id", "the stop's name within the round");
    let reader = name(&mut keys, "reader").map(|found| found.value);
    let point = devices.point_at(context, &mut keys, "point").map(|found| found.value.0);
    let mut number = |key| keys.decimal(key).map(|found| found.value.to_f64());
    let (min, max) = (number("min"), number("max"));
    let mut classes = Vec::new();
    for value in keys.list("classes") {
        let class = value.get_ref().as_str().and_then(|text| CLASSES.iter().find(|(name, _)| *name == text));
        match class {
            Some((_, class)) => classes.push(*class),
            None => {
                let help = "known are: resident, staff, visitor, emergency";
                keys.error(Rule::BadValue, value.span(), "`classes` lists classes of holders", help);
            }
        }
    }
    let classes = keys.has("classes").then(|| classes.into_iter().collect());
    let proof = match (reader, point) {
        (Some(reader), None) => Some(Proof::Card { reader, classes }),
        (None, Some(point)) => {
            let (min, max) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
            Some(Proof::Reading { point, min, max })
        }
        (Some(_), Some(_)) => {
            keys.error(Rule::Conflict, span, "a stop is proved by a card or by a reading, not by both", "");
            None
        }
        (None, None) => {
            if !keys.has("point") && !keys.has("reader") {
                let help = "reader = \"READER\", or point = \"DEVICE/POINT\" with min and max";
                keys.error(Rule::MissingKey, span, "nothing proves this stop", help);
            }
            None
        }
    };
    context.end(keys);
    Some(Stop { id: id?.value, proof: proof? })
}

/// Reads the calendar of work days and holidays.
pub(super) fn calendar(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>)) -> Option<Calendar> {
    let mut keys = Keys::new(table, span.clone());
    let title = keys.required_text("name", "where it holds, for example name = \"CN\"");
    let version = keys.required_text("version", "which edition it is, for example version = \"2027-1\"");
    let (first, last) = (date_at(&mut keys, "first"), date_at(&mut keys, "last"));
    let mut places = Vec::new();
    let mut holidays = Vec::new();
    for (table, span) in keys.tables("holiday") {
        let mut inner = Keys::new(table, span.clone());
        let name = inner.required_text("name", "what is celebrated");
        let from = date_at(&mut inner, "first");
        let to = if inner.has("last") { date_at(&mut inner, "last") } else { from };
        if !inner.has("last") {
            let _ = inner.raw("last");
        }
        context.end(inner);
        if let (Some(first), Some(last)) = (from, to) {
            places.push(span);
            holidays.push(Holiday { name, first, last });
        }
    }
    let mut workdays = Vec::new();
    let mut work_places = Vec::new();
    for value in keys.list("workdays") {
        if let Some(date) = date(&mut keys, "workdays", value) {
            work_places.push(value.span());
            workdays.push(date);
        }
    }
    let sound = keys.errors.is_empty();
    context.end(keys);
    let spec = CalendarSpec { name: title, version, first: first?, last: last?, holidays, workdays };
    if !sound {
        return None;
    }
    match Calendar::new(spec) {
        Ok(calendar) => Some(calendar),
        Err(faults) => {
            for fault in faults {
                let place = match fault.part {
                    CalendarPart::Holiday(at) => places.get(at),
                    CalendarPart::Workday(at) => work_places.get(at),
                    _ => None,
                };
                context.sink.error(code::BAD_RULE, place.cloned().unwrap_or(span.clone()), fault.error.to_string(), "");
            }
            None
        }
    }
}

fn date_at(keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Date> {
    let Some(value) = keys.raw(key) else {
        keys.missing(key, "a date such as 2027-01-01");
        return None;
    };
    date(keys, key, value)
}

/// A date, bare or in quotes.
fn date(keys: &mut Keys<'_, '_>, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Date> {
    let text = match value.get_ref() {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    let parsed = text.parse::<Date>();
    if parsed.is_err() {
        keys.error(Rule::BadValue, value.span(), format!("`{key}` takes dates such as 2027-01-01"), "");
    }
    parsed.ok()
}
