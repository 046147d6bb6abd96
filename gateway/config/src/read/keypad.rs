//! `keypad` of a `[[reader]]`: whether what is typed there opens, and what ends it.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use gatehouse_core::{DeviceIx, PointIx};
use gatehouse_drivers::osdp::OsdpPoint;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};
use gatehouse_rules::PointRef;
use gatehouse_rules::engine::{CardPoint, CardSource, KeySource, KeypadSpec};

use super::byte;
use super::reader::read_together;
use super::reference::Devices;
use crate::site::Bus;
use crate::units::duration;

/// How many digits may end an entry: fewer are guessed too soon, and more are no code.
const LENGTHS: RangeInclusive<u8> = 4..=16;
const PAUSES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Osdp,
    FourBits,
    EightBits,
}

/// Reads the keypad of a reader. `has_gate`: whether the reader opens anything; `card`: where its cards are read.
pub(super) fn read(
    keys: &mut Keys<'_, '_>,
    (devices, buses): (Devices<'_>, &[Bus]),
    (has_gate, card): (bool, Option<&CardSource>),
) -> Option<KeypadSpec> {
    let how = keys.choice("keypad", &[("osdp", How::Osdp), ("4-bit", How::FourBits), ("8-bit", How::EightBits)]);
    let length = byte(keys, "pin_length", LENGTHS);
    let pause = duration(keys, "key_pause", PAUSES);
    let Some(Found { value: how, span }) = how else {
        for key in ["pin_length", "key_pause"] {
            if keys.raw(key).is_some() && keys.raw("keypad").is_none() {
                let message = format!("`{key}` is about a keypad, and the reader has none");
                let help = "add keypad = \"osdp\" to an OSDP reader, or \"4-bit\" or \"8-bit\" to a Wiegand reader";
                keys.error(Rule::Conflict, keys.span_of(key), message, help);
            }
        }
        return None;
    };
    if !has_gate {
        let help = "name the gate that a PIN opens: gate = \"lobby\"; or take `keypad` out";
        keys.error(Rule::Conflict, span, "nothing opens at this reader, whatever is typed", help);
        return None;
    }
    let source = match how {
        How::Osdp => osdp(keys, (devices, buses), card, span)?,
        How::FourBits | How::EightBits => {
            if !tells_bursts(card) {
                let message = "a key that comes as a frame of a few bits cannot be told from others here";
                let help = "name `frame` with `count`, so that each key counts; or an OSDP reader with `device`";
                keys.error(Rule::Conflict, span, message, help);
                return None;
            }
            if how == How::FourBits { KeySource::FourBits } else { KeySource::EightBits }
        }
    };
    let length = length.map(|found| found.value);
    Some(KeypadSpec { source, length, pause: pause.map_or(PAUSE, |found| found.value) })
}

/// True where each frame of a reader is told by itself, with all its bits.
fn tells_bursts(card: Option<&CardSource>) -> bool {
    card.is_some_and(|source| match source.card {
        CardPoint::Text { .. } | CardPoint::Frame { .. } => source.count.is_some(),
        CardPoint::Number { .. } => false,
    })
}

/// The keypad of an OSDP reader: its points are found by what they show.
fn osdp(
    keys: &mut Keys<'_, '_>,
    (devices, buses): (Devices<'_>, &[Bus]),
    card: Option<&CardSource>,
    span: Range<usize>,
) -> Option<KeySource> {
    if !keys.has("device") {
        let help = "name the reader: device = \"pad\"; Wiegand keypads behind a converter are \"4-bit\" or \"8-bit\"";
        keys.error(Rule::Conflict, span, "only an OSDP reader tells its keys in points of their own", help);
        return None;
    }
    // Of a device that shows no cards enough is said.
    let CardPoint::Text { at: PointRef { device, .. }, .. } = card?.card else { return None };
    let config = devices.0.get(usize::try_from(device.0).ok()?)?;
    let point = |shows: OsdpPoint| point_of(device, config, shows);
    let (Some(pressed), Some(count)) = (point(OsdpPoint::Keys), point(OsdpPoint::KeyCount)) else {
        let message = format!("`{}` shows no keys", config.id);
        let help = "name an OSDP reader with the points `keys` and `key_count`: profile = \"osdp-reader\" has them";
        keys.error(Rule::Conflict, span, message, help);
        return None;
    };
    if !read_together(devices, buses, pressed, count) {
        let message = "the points `keys` and `key_count` have different intervals: a key could be taken for another";
        keys.error(Rule::Conflict, span, message, "leave `interval` out of both");
        return None;
    }
    Some(KeySource::Points { keys: pressed, count })
}

fn point_of(device: DeviceIx, config: &crate::site::Device, shows: OsdpPoint) -> Option<PointRef> {
    let at = config.points.iter().position(|point| point.spec.osdp() == Some(shows))?;
    Some(PointRef { device, point: PointIx(u16::try_from(at).ok()?) })
}
