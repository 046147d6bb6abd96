//! `[[reader]]`: where cards, plates and codes are presented.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::{Kind, Name};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_rules::PointRef;
use gatehouse_rules::access::wiegand::Format;
use gatehouse_rules::engine::{CardPoint, CardSource, ReaderSpec};
use gatehouse_rules::gate::GateSpec;
use gatehouse_rules::words::Direction;
use toml::de::DeTable;

use super::gate::direction;
use super::reference::Devices;
use super::{Context, byte, name, required_name};
use crate::code;
use crate::site::PointConfig;
use crate::units::duration_text;

/// A reader that was read, and where its name stands.
#[derive(Debug)]
pub(super) struct ReaderEntry {
    pub(super) name: Found<Name>,
    pub(super) spec: ReaderSpec,
}

/// Reads one reader.
pub(super) fn read(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    devices: Devices<'_>,
    (gates, formats): (&[GateSpec], &[Format]),
) -> Option<ReaderEntry> {
    let mut keys = Keys::new(table, span);
    let own = required_name(&mut keys, "name", "the reader's permanent name, for example name = \"garage-camera\"");
    let gate = name(&mut keys, "gate");
    let found = gate.as_ref().and_then(|gate| gates.iter().find(|spec| spec.id == gate.value));
    if let (Some(gate), None) = (&gate, found) {
        let known: Vec<&str> = gates.iter().map(|gate| gate.id.as_str()).collect();
        let message = format!("there is no gate `{}`", gate.value);
        keys.error(Rule::BadValue, gate.span.clone(), message, did_you_mean(&gate.value, &known));
    }
    let direction = direction(&mut keys).or(found.map(|gate| gate.direction)).unwrap_or(Direction::In);
    let card = card(context, &mut keys, devices, formats);
    context.end(keys);
    let own = own?;
    let spec = ReaderSpec { name: own.value.clone(), gate: gate.map(|gate| gate.value), direction, card };
    Some(ReaderEntry { name: own, spec })
}

/// The points that show cards.
fn card(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    devices: Devices<'_>,
    formats: &[Format],
) -> Option<CardSource> {
    let frame = number_at(context, keys, devices, "frame");
    let number = number_at(context, keys, devices, "number");
    let facility = number_at(context, keys, devices, "facility");
    let count = number_at(context, keys, devices, "count");
    let bits = byte(keys, "bits", 1..=128);
    let format = format_at(keys, formats);
    let card = match (&frame, &number) {
        (Some(_), Some(number)) => {
            let help = "frame: the bits as the reader sent them; number: the card's number without facility and parity";
            keys.error(Rule::Conflict, number.span.clone(), "a reader shows a frame or a number, not both", help);
            return None;
        }
        (Some(frame), None) => {
            let bits = bits.map(|bits| bits.value).or(format.as_ref().map(|format| format.value.bits()));
            if bits.is_none() && !keys.has("bits") && !keys.has("format") {
                keys.missing("bits", "how many bits a card has here: bits = 26, or format = \"H10301-26\"");
            }
            let format = format.map(|format| format.value.name().to_owned());
            CardPoint::Frame { at: frame.value.0, bits: bits?, format }
        }
        (None, Some(number)) => {
            if format.is_none() && !keys.has("format") {
                keys.missing("format", "what makes a card of a number: format = \"H10301-26\"");
            }
            let facility = facility.as_ref().map(|found| found.value.0);
            CardPoint::Number { at: number.value.0, facility, format: format?.value }
        }
        (None, None) => {
            for key in ["facility", "count", "bits", "format"] {
                if keys.has(key) {
                    let message = format!("`{key}` is about cards, and the reader has no point that shows them");
                    keys.error(Rule::Conflict, keys.span_of(key), message, "add frame = \"DEVICE/POINT\" or number = ...");
                }
            }
            return None;
        }
    };
    let first = frame.or(number)?;
    for other in [&facility, &count].into_iter().flatten() {
        let apart = other.value.0.device != first.value.0.device || other.value.1.interval != first.value.1.interval;
        if apart {
            let message = "this point is not read together with the card's: a card would be taken for another";
            keys.error(Rule::Conflict, other.span.clone(), message, "take points of one device with one interval");
        }
    }
    if first.value.1.interval > Duration::from_secs(2) {
        let message = format!("cards are looked for every {}: people wait so long", duration_text(first.value.1.interval));
        context.sink.warn(code::SLOW_SENSOR, first.span, message, "give the points an interval of \"200ms\"");
    }
    Some(CardSource { card, count: count.map(|found| found.value.0) })
}

/// A point that holds a whole number.
fn number_at<'a>(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    devices: Devices<'a>,
    key: &'static str,
) -> Option<Found<(PointRef, &'a PointConfig)>> {
    let found = devices.point_at(context, keys, key)?;
    if found.value.1.spec.kind() != (Kind::Decimal { exponent: 0 }) {
        let message = format!("`{key}`: {} is not a whole number", found.value.1.spec.name);
        keys.error(Rule::BadValue, found.span, message, "a card is shown by a point of an integer type without a scale");
        return None;
    }
    Some(found)
}

fn format_at(keys: &mut Keys<'_, '_>, formats: &[Format]) -> Option<Found<Format>> {
    let found = keys.text("format")?;
    let built_in = Format::built_in();
    let all = || built_in.iter().chain(formats);
    let format = all().find(|format| format.name() == found.value);
    if format.is_none() {
        let known: Vec<&str> = all().map(Format::name).collect();
        let message = format!("there is no format {:?}", found.value);
        keys.error(Rule::BadValue, found.span.clone(), message, did_you_mean(found.value, &known));
    }
    Some(Found { value: format?.clone(), span: found.span })
}

/// Notes readers that have one name.
pub(super) fn check_together(context: &mut Context<'_>, readers: &[ReaderEntry]) {
    for (at, reader) in readers.iter().enumerate() {
        if readers.iter().take(at).any(|other| other.spec.name == reader.spec.name) {
            let message = format!("there is another reader `{}` above", reader.spec.name);
            context.sink.error(code::DUPLICATE, reader.name.span.clone(), message, "give this one another name");
        }
    }
}
