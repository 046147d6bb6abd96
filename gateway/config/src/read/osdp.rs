//! The keys of a `[[device]]` that is an OSDP reader, and what its bus must allow.

use std::ops::Range;
use std::time::Duration;

use gatehouse_drivers::osdp::{OsdpPoint, ReaderSettings};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};

use super::bus::{BusEntry, Kind};
use super::device::DeviceEntry;
use super::{Context, byte, secret};
use crate::code;
use crate::site::{Bus, Device, OsdpStation, Station};
use crate::units::duration_text;

/// Time from one poll to the next where the site file says nothing (OSDP 2.2: 50 to 100 ms).
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
/// Time in which a reply begins (OSDP 2.2, 5.7).
pub(super) const TIMEOUT: Duration = Duration::from_millis(200);
/// Beyond, whoever shows a card has turned away before it is seen, and the reader may forget its panel.
const SLOWEST: Duration = Duration::from_secs(1);

/// Reads how the reader is addressed, and where its keys are.
pub(super) fn read(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, kind: Option<Kind>) -> Option<Found<Station>> {
    if kind == Some(Kind::Tcp) {
        let help =
            "put the device on a bus with serial = \"...\", or with rtu_over_tcp = \"host:port\" for a serial server";
        let span = keys.span_of("bus");
        keys.error(Rule::Conflict, span, "the bus is Modbus TCP, and the device is an OSDP reader", help);
    }
    for key in ["unit", "limits"] {
        if keys.raw(key).is_some() {
            let span = keys.span_of(key);
            let help = "a reader has address = 0, the number that was set on it, 0 to 126";
            keys.error(Rule::Conflict, span, format!("`{key}` goes with Modbus"), help);
        }
    }
    let crc = keys.choice("check", &[("crc", true), ("checksum", false)]).is_none_or(|found| found.value);
    let mark = keys.flag("mark").is_none_or(|found| found.value);
    let key = secret::read(context, keys, "key").map(|found| found.value);
    let key_before = secret::read(context, keys, "key_before").map(|found| found.value);
    let commissioning = keys.flag("commissioning");
    let keyed = keys.has("key");
    let meant = ["key_before", "commissioning"].iter().any(|other| keys.has(other));
    for other in ["key_before", "commissioning"] {
        if keys.has(other) && !keyed {
            let span = keys.span_of(other);
            let help = "add key = { file = \"/etc/gatehouse/reader.key\" }, or take it out";
            keys.error(Rule::Conflict, span, format!("`{other}` is about the key that the reader is given"), help);
        }
    }
    if let Some(open) = commissioning.as_ref().filter(|open| open.value && keyed) {
        let message = "for a quarter of an hour after each start the reader may be given its key by whoever it is";
        let help = "take `commissioning` out once the reader's point `secure` is on";
        context.sink.warn(code::OPEN_SECRET, open.span.clone(), message, help);
    }
    if !keys.has("address") {
        keys.missing("address", "the number that was set on the reader, 0 to 126, for example address = 0");
    }
    let Found { value: address, span } = byte(keys, "address", 0..=126)?;
    if !keyed && !meant {
        let message = "the reader has no `key`: whoever reaches its wires can read cards and make them up";
        let help = "add key = { file = \"/etc/gatehouse/reader.key\" } where the reader can have one";
        context.sink.warn(code::OPEN_SECRET, span.clone(), message, help);
    }
    let settings = ReaderSettings { address, crc, mark, keyed };
    let commissioning = commissioning.is_some_and(|found| found.value);
    let station = OsdpStation { settings, key, key_before, commissioning };
    Some(Found { value: Station::Osdp(station), span })
}

/// Notes a reader that is polled too rarely.
pub(super) fn check_intervals(context: &mut Context<'_>, device: &Device, span: &Range<usize>) {
    if !matches!(device.station, Station::Osdp(_)) {
        return;
    }
    let slow = |shows: OsdpPoint| matches!(shows, OsdpPoint::Card | OsdpPoint::Cards | OsdpPoint::Keys);
    let worst = device.points.iter().filter(|point| point.spec.osdp().is_some_and(slow)).map(|point| point.slowest());
    let worst = worst.max().or(device.points.iter().map(|point| point.slowest()).min());
    if let Some(worst) = worst.filter(|worst| *worst > SLOWEST) {
        let message = format!("the reader `{}` is polled every {}", device.id, duration_text(worst));
        let help = "whoever shows a card has gone by then: interval = \"100ms\", also as interval_degraded; 1s at most";
        context.sink.error(code::CONFLICT, span.clone(), message, help);
    }
}

/// Notes readers that share a pair with devices that keep it busy for longer than was accepted.
pub(super) fn check_latency(context: &mut Context<'_>, devices: &[DeviceEntry], buses: &[BusEntry]) {
    for (at, entry) in buses.iter().enumerate() {
        let (Some(id), Some(bus)) = (&entry.id, &entry.bus) else { continue };
        let here = || devices.iter().filter(|device| device.bus == Some(at)).filter_map(|entry| entry.device.as_ref());
        let is_reader = |device: &&Device| matches!(device.station, Station::Osdp(_));
        let slowest = here().filter(|device| !is_reader(device)).max_by_key(|device| busy(bus, device));
        let (Some(slowest), true) = (slowest, here().any(|device| is_reader(&device))) else { continue };
        let worst = busy(bus, slowest) + here().filter(is_reader).map(|reader| busy(bus, reader)).sum::<Duration>();
        if bus.reader_latency.is_some_and(|accepted| worst <= accepted) {
            continue;
        }
        let message = format!(
            "OSDP readers share the bus `{}` with slower devices: a card may wait {}, mostly for `{}`",
            id.value,
            duration_text(rounded(worst)),
            slowest.id
        );
        let help = format!(
            "put the readers on a bus of their own; or accept it: reader_latency = \"{}\" on this [[bus]]",
            duration_text(rounded(worst))
        );
        context.sink.error(code::CONFLICT, id.span.clone(), message, help);
    }
}

/// The longest time that one request to a device takes the pair: it is not answered, or answered in full.
fn busy(bus: &Bus, device: &Device) -> Duration {
    let steps = crate::driver::plan_trouble(bus, device).is_none().then(|| crate::driver::plan_summary(bus, device));
    let longest = steps.iter().flatten().flatten().map(|step| step.request_bytes + step.reply_bytes).max();
    let chars = bus.wire.map_or(Duration::ZERO, |wire| wire.chars(longest.unwrap_or(0)) + 2 * wire.silence());
    device.timeout.unwrap_or(bus.line.timeout_ceiling) + chars
}

/// Up to the next 10 ms.
fn rounded(time: Duration) -> Duration {
    let tens = time.as_millis().div_ceil(10);
    Duration::from_millis(10 * u64::try_from(tens).unwrap_or(u64::MAX / 10))
}
