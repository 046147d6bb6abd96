//! `[[reader]]`: where cards, plates and codes are presented.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::{Kind, Name, PointIx};
use gatehouse_drivers::osdp::OsdpPoint;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_drivers::summary::StepSummary;
use gatehouse_rules::PointRef;
use gatehouse_rules::access::wiegand::Format;
use gatehouse_rules::engine::{CardPoint, CardSource, READER_GAP, ReaderSpec};
use gatehouse_rules::gate::GateSpec;
use gatehouse_rules::words::Direction;
use toml::de::DeTable;

use super::gate::direction;
use super::reference::Devices;
use super::{Context, byte, name, required_name};
use crate::code;
use crate::site::{Bus, PointConfig};
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
    (devices, buses): (Devices<'_>, &[Bus]),
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
    let card = card(context, &mut keys, (devices, buses), formats);
    let keypad = super::keypad::read(&mut keys, (devices, buses), (gate.is_some(), card.as_ref()));
    context.end(keys);
    let own = own?;
    let spec = ReaderSpec { name: own.value.clone(), gate: gate.map(|gate| gate.value), direction, card, keypad };
    Some(ReaderEntry { name: own, spec })
}

/// What a reader's table says of cards.
struct Told<'a> {
    frame: Option<At<'a>>,
    number: Option<At<'a>>,
    facility: Option<At<'a>>,
    bits: Option<Found<u8>>,
    format: Option<Found<Format>>,
}

/// A point, and where the file names it.
type At<'a> = Found<(PointRef, &'a PointConfig)>;

/// The points that show cards.
fn card(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    (devices, buses): (Devices<'_>, &[Bus]),
    formats: &[Format],
) -> Option<CardSource> {
    if keys.has("device") {
        return osdp(context, keys, (devices, buses), formats);
    }
    let told = Told {
        frame: number_at(context, keys, devices, "frame"),
        number: number_at(context, keys, devices, "number"),
        facility: number_at(context, keys, devices, "facility"),
        bits: byte(keys, "bits", 1..=128),
        format: format_at(keys, formats),
    };
    let count = number_at(context, keys, devices, "count");
    let card = match (keys.has("frame"), keys.has("number")) {
        (true, true) => {
            let help = "frame: the bits as the reader sent them; number: the card's number without facility and parity";
            keys.error(Rule::Conflict, keys.span_of("number"), "a reader shows a frame or a number, not both", help);
            return None;
        }
        (true, false) => told.frame(keys)?,
        (false, true) => told.number(keys)?,
        (false, false) => {
            for key in ["facility", "count", "bits", "format"] {
                if keys.has(key) {
                    let message = format!("`{key}` is about cards, and the reader has no point that shows them");
                    let help = "add frame = \"DEVICE/POINT\" or number = \"DEVICE/POINT\"";
                    keys.error(Rule::Conflict, keys.span_of(key), message, help);
                }
            }
            return None;
        }
    };
    let first = told.frame.or(told.number)?;
    let (at, point) = first.value;
    for other in [&told.facility, &count].into_iter().flatten() {
        if !read_together(devices, buses, at, other.value.0) {
            let message = "this point and the card's are not read by one request: a card could be taken for another";
            let help = "name points of one device and one table that lie close together, with one interval; \
                        `gatehouse plan` shows the requests";
            keys.error(Rule::Conflict, other.span.clone(), message, help);
        }
    }
    let (slowest, help) = (duration_text(point.slowest()), "give the points an interval of \"200ms\"");
    if point.slowest() > READER_GAP {
        let most = duration_text(READER_GAP);
        let message = format!("cards are looked for every {slowest}: after {most} whoever showed one counts as gone");
        context.sink.error(code::SLOW_SENSOR, first.span, message, help);
    } else if point.slowest() > Duration::from_secs(2) {
        let message = format!("cards are looked for every {slowest}: people wait that long");
        context.sink.warn(code::SLOW_SENSOR, first.span, message, help);
    }
    Some(CardSource { card, count: count.map(|found| found.value.0) })
}

/// The cards of an OSDP reader: its points are found by what they show.
fn osdp(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    (devices, buses): (Devices<'_>, &[Bus]),
    formats: &[Format],
) -> Option<CardSource> {
    for key in ["frame", "number", "facility", "count", "bits"] {
        if keys.raw(key).is_some() {
            let message = format!("`{key}` names a point of a device that only has registers");
            let help = "leave it out: an OSDP reader tells its cards bit by bit, and counts them";
            keys.error(Rule::Conflict, keys.span_of(key), message, help);
        }
    }
    let format = format_at(keys, formats).map(|format| format.value.name().to_owned());
    let Found { value: id, span } = keys.text("device")?;
    let (device, config) = devices.device(context, id, &span)?;
    let point = |shows: OsdpPoint| {
        let at = config.points.iter().position(|point| point.spec.osdp() == Some(shows))?;
        Some(PointRef { device, point: PointIx(u16::try_from(at).ok()?) })
    };
    let (Some(at), Some(count)) = (point(OsdpPoint::Card), point(OsdpPoint::Cards)) else {
        let message = format!("`{}` shows no cards", config.id);
        let help = "name an OSDP reader with the points `card` and `cards`: profile = \"osdp-reader\" has them";
        keys.error(Rule::Conflict, span, message, help);
        return None;
    };
    if !read_together(devices, buses, at, count) {
        let message = "the points `card` and `cards` have different intervals: a card could be taken for another";
        keys.error(Rule::Conflict, span, message, "leave `interval` out of both");
    }
    Some(CardSource { card: CardPoint::Text { at, format }, count: Some(count) })
}

/// True when one request reads both points: between two, another card may come.
pub(super) fn read_together(devices: Devices<'_>, buses: &[Bus], one: PointRef, other: PointRef) -> bool {
    let device = usize::try_from(one.device.0).ok().and_then(|ix| devices.0.get(ix));
    let placed = device.and_then(|device| Some((buses.get(device.bus?)?, device)));
    one.device == other.device
        && placed.is_some_and(|(bus, device)| {
            let has = |step: &StepSummary, at: PointRef| step.points.contains(&at.point);
            crate::driver::plan_trouble(bus, device).is_none()
                && crate::driver::plan_summary(bus, device)
                    .iter()
                    .flatten()
                    .any(|step| has(step, one) && has(step, other))
        })
}

impl Told<'_> {
    /// A card by its bits.
    fn frame(&self, keys: &mut Keys<'_, '_>) -> Option<CardPoint> {
        if keys.has("facility") {
            let help = "take it out; the format tells which bits of the frame are the facility code";
            keys.error(
                Rule::Conflict,
                keys.span_of("facility"),
                "`facility` goes with `number`, not with `frame`",
                help,
            );
        }
        if !keys.has("bits") && !keys.has("format") {
            keys.missing("bits", "how many bits a card has here: bits = 26, or format = \"H10301-26\"");
        }
        let format = self.format.as_ref().map(|found| &found.value);
        if let (Some(bits), Some(format)) = (&self.bits, format)
            && bits.value != format.bits()
        {
            let message = format!("the format `{}` has {} bits, not {}", format.name(), format.bits(), bits.value);
            keys.error(Rule::Conflict, bits.span.clone(), message, "take `bits` out: the format tells it");
        }
        let bits = self.bits.as_ref().map(|bits| bits.value).or(format.map(Format::bits))?;
        Some(CardPoint::Frame { at: self.frame.as_ref()?.value.0, bits, format: format.map(|f| f.name().to_owned()) })
    }

    /// A card by its number.
    fn number(&self, keys: &mut Keys<'_, '_>) -> Option<CardPoint> {
        if !keys.has("format") {
            keys.missing("format", "what makes a card of a number: format = \"H10301-26\"");
        }
        if keys.has("bits") {
            let help = "take it out: the format tells it";
            keys.error(Rule::Conflict, keys.span_of("bits"), "`bits` goes with `frame`, not with `number`", help);
        }
        let format = &self.format.as_ref()?.value;
        if keys.has("facility") && !format.has_facility() {
            let message = format!("the format `{}` has no facility code", format.name());
            let help = "take `facility` out, or name the format that these cards have";
            keys.error(Rule::Conflict, keys.span_of("facility"), message, help);
        }
        let facility = self.facility.as_ref().map(|found| found.value.0);
        Some(CardPoint::Number { at: self.number.as_ref()?.value.0, facility, format: format.clone() })
    }
}

/// A point that holds a whole number.
fn number_at<'a>(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    devices: Devices<'a>,
    key: &'static str,
) -> Option<At<'a>> {
    let found = devices.point_at(context, keys, key)?;
    if found.value.1.spec.kind() != (Kind::Decimal { exponent: 0 }) {
        let message = format!("`{key}`: {} is not a whole number", found.value.1.spec.name);
        keys.error(
            Rule::BadValue,
            found.span,
            message,
            "a card is shown by a point of an integer type without a scale",
        );
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
