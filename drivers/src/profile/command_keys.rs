//! The keys of one command of a profile.

use std::ops::Range;

use gatehouse_core::Name;
use toml::de::{DeTable, DeValue};

use super::keys::{KeyError, Keys, Rule, integer};
use super::points::TABLES;
use super::{Channels, Command, Follow, Payload};

/// Reads one entry of `command`.
pub(super) fn parse_command(table: &DeTable<'_>, span: Range<usize>) -> Result<Command, Vec<KeyError>> {
    let mut keys = Keys::new(table, span);
    let name = match keys.text("name") {
        Some(found) => Name::new(found.value)
            .map_err(|why| keys.error(Rule::BadValue, found.span, format!("`name` = {:?}: {why}", found.value), ""))
            .ok(),
        None => None,
    };
    let function = keys.integer("function", 1..=16).and_then(|found| u8::try_from(found.value).ok());
    let address = keys.word("address", 0..=u16::MAX).map(|found| found.value);
    for key in ["name", "function", "address"] {
        if !keys.has(key) {
            keys.missing(key, "a command has a name, a Modbus function and a wire address");
        }
    }
    let channels = read_channels(&mut keys, address);
    let payload = read_payload(&mut keys, function);
    let broadcast = keys.flag("broadcast").is_some_and(|found| found.value);
    let then = read_follow(&mut keys);
    let note = keys.text("note").map(|found| found.value.to_owned()).unwrap_or_default();
    keys.deny_others(&[]);
    match (name, function, address, payload) {
        (Some(name), Some(function), Some(address), Some(payload)) if keys.errors.is_empty() => {
            Ok(Command { name, function, address, channels, payload, broadcast, then, note })
        }
        _ => Err(keys.errors),
    }
}

fn read_channels(keys: &mut Keys<'_, '_>, address: Option<u16>) -> Option<Channels> {
    let count = keys.word("channels", 1..=1024);
    let first = keys.word("first_channel", 0..=1024).map(|found| found.value);
    let step = keys.word("step", 1..=1024).map(|found| found.value);
    let Some(count) = count else {
        for key in ["first_channel", "step"] {
            if keys.has(key) && !keys.has("channels") {
                let span = keys.span_of(key);
                keys.error(Rule::Conflict, span, format!("`{key}` goes with `channels`"), "say how many there are");
            }
        }
        return None;
    };
    let all = Channels { first: first.unwrap_or(0), count: count.value, step: step.unwrap_or(1) };
    let last = u32::from(address.unwrap_or(0)) + u32::from(all.count - 1) * u32::from(all.step);
    if last > u32::from(u16::MAX) {
        keys.error(Rule::Conflict, count.span, format!("the last channel would be at {last:#X}: past 0xFFFF"), "");
    }
    Some(all)
}

const PAYLOAD_HELP: &str = "one of read = 4; send = [0xFF00], with time = { unit = \"100ms\", max = 255 } or \
    value = { min = 1, max = 255 }; on = 0xFFFF with off = 0; coils = 8, with row = 0xFF";

fn read_payload(keys: &mut Keys<'_, '_>, function: Option<u8>) -> Option<Payload> {
    let read = keys.word("read", 1..=2000).map(|found| found.value);
    let words = read_words(keys);
    let time = keys.table("time").and_then(|(table, span)| read_time(table, span, &mut keys.errors));
    let value = keys.table("value").and_then(|(table, span)| read_range(table, span, &mut keys.errors));
    let on = keys.word("on", 0..=u16::MAX).map(|found| found.value);
    let off = keys.word("off", 0..=u16::MAX).map(|found| found.value);
    let coils = keys.word("coils", 1..=64).map(|found| found.value);
    let row = read_row(keys, coils);
    if !keys.errors.is_empty() {
        return None;
    }
    let function = function?;
    let span = keys.span();
    let payload = match (read, words, time, value, on.zip(off), coils) {
        (Some(most), None, None, None, None, None) => Some(Payload::Read { most }),
        (None, Some(words), None, None, None, None) => Some(Payload::Fixed(words)),
        (None, words, Some((unit_ms, least, most)), None, None, None) => {
            Some(Payload::Timed { words: words.unwrap_or_else(|| vec![0]), unit_ms, least, most })
        }
        (None, words, None, Some((least, most)), None, None) => {
            Some(Payload::Value { words: words.unwrap_or_else(|| vec![0]), least, most })
        }
        (None, None, None, None, Some((on, off)), None) => Some(Payload::Switch { on, off }),
        (None, None, None, None, None, Some(count)) => Some(Payload::Coils { count, row }),
        _ => None,
    };
    let Some(payload) = payload else {
        let message = format!("what function {function} is to send is not there, or its keys do not go together");
        keys.error(Rule::Conflict, span, message, PAYLOAD_HELP);
        return None;
    };
    let suits = match &payload {
        Payload::Read { .. } => function <= 4,
        Payload::Coils { .. } => function == 15,
        Payload::Switch { .. } => matches!(function, 5 | 6),
        Payload::Fixed(words) | Payload::Timed { words, .. } | Payload::Value { words, .. } => match function {
            5 | 6 => words.len() == 1,
            16 => (1..=123).contains(&words.len()),
            _ => false,
        },
    };
    if !suits {
        keys.error(Rule::Conflict, span, format!("function {function} cannot send this"), PAYLOAD_HELP);
    }
    suits.then_some(payload)
}

fn read_words(keys: &mut Keys<'_, '_>) -> Option<Vec<u16>> {
    let mut words = Vec::new();
    for value in keys.list("send") {
        match value.get_ref().as_integer().and_then(integer).and_then(|n| u16::try_from(n).ok()) {
            Some(word) => words.push(word),
            None => keys.error(Rule::BadValue, value.span(), "`send` takes words of 0 to 0xFFFF", ""),
        }
    }
    (!words.is_empty()).then_some(words)
}

fn read_row(keys: &mut Keys<'_, '_>, coils: Option<u16>) -> Option<u64> {
    let value = keys.raw("row")?;
    let row = match value.get_ref() {
        DeValue::Integer(number) => integer(number).and_then(|n| u64::try_from(n).ok()),
        _ => None,
    };
    let fits = row.is_some_and(|row| coils.is_some_and(|count| count >= 64 || row >> count == 0));
    if !fits {
        keys.error(Rule::BadValue, value.span(), "`row` has a bit for each of `coils`, coil 0 the lowest", "");
    }
    row
}

fn read_time(table: &DeTable<'_>, span: Range<usize>, errors: &mut Vec<KeyError>) -> Option<(u32, u16, u16)> {
    let mut keys = Keys::new(table, span);
    let unit = keys.millis("unit", 3_600_000).map(|found| found.value);
    if !keys.has("unit") {
        keys.missing("unit", "the time of one count, for example \"100ms\"");
    }
    let range = read_bounds(&mut keys);
    errors.append(&mut keys.errors);
    let (least, most) = range?;
    Some((unit?, least, most))
}

fn read_range(table: &DeTable<'_>, span: Range<usize>, errors: &mut Vec<KeyError>) -> Option<(u16, u16)> {
    let mut keys = Keys::new(table, span);
    let range = read_bounds(&mut keys);
    errors.append(&mut keys.errors);
    range
}

fn read_bounds(keys: &mut Keys<'_, '_>) -> Option<(u16, u16)> {
    let least = keys.word("min", 0..=u16::MAX).map_or(0, |found| found.value);
    let most = keys.word("max", 0..=u16::MAX).map(|found| found.value);
    if !keys.has("max") {
        keys.missing("max", "the greatest count that the device takes");
    }
    keys.deny_others(&[]);
    let most = most?;
    if least > most {
        let span = keys.span();
        keys.error(Rule::Conflict, span, format!("`min` {least} is above `max` {most}"), "");
    }
    Some((least, most))
}

fn read_follow(keys: &mut Keys<'_, '_>) -> Option<Follow> {
    let (table, span) = keys.table("then")?;
    let mut inner = Keys::new(table, span);
    let table = inner.choice("table", &TABLES).map(|found| found.value);
    let address = inner.word("address", 0..=u16::MAX).map(|found| found.value);
    let count = inner.word("count", 1..=125).map_or(1, |found| found.value);
    for key in ["table", "address"] {
        if !inner.has(key) {
            inner.missing(key, "then = { table = \"holding\", address = 46192, count = 1 }");
        }
    }
    inner.deny_others(&[]);
    keys.errors.append(&mut inner.errors);
    Some(Follow { table: table?, address: address?, count })
}
