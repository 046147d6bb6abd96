//! The keys of a `[[device]]` that is a DL/T 645 meter.

use std::ops::Range;
use std::time::Duration;

use gatehouse_drivers::dlt645::{Address, Edition, MeterSettings};
use gatehouse_drivers::modbus::Framing;
use gatehouse_drivers::point::Protocol;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};

use super::bus::Kind;
use super::{Context, byte};
use crate::code;
use crate::site::Station;
use crate::units::duration;

/// Silence before the next request where the site file says nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// The number that DL/T 645 meters share where one's pause is everyone's.
const DLT645: u8 = 1;
/// Bytes FE before a request: as many as the standard allows.
const PREAMBLE: u8 = 4;

/// Reads how the meter is addressed.
pub(super) fn read(
    keys: &mut Keys<'_, '_>,
    (kind, framing): (Option<Kind>, Option<Framing>),
    edition: Edition,
) -> Option<Found<Station>> {
    if framing == Some(Framing::Ascii) {
        let help = "its frames are binary: leave `framing` of the bus out, or put the meter on another bus";
        let span = if keys.has("bus") { keys.span_of("bus") } else { keys.span() };
        keys.error(Rule::Conflict, span, "the bus has framing = \"ascii\", and the device is a DL/T 645 meter", help);
    }
    if kind == Some(Kind::Tcp) {
        let help =
            "put the device on a bus with serial = \"...\", or with rtu_over_tcp = \"host:port\" for a serial server";
        let span = keys.span_of("bus");
        keys.error(Rule::Conflict, span, "the bus is Modbus TCP, and the device is a DL/T 645 meter", help);
    }
    for key in ["unit", "limits"] {
        if keys.raw(key).is_some() {
            let span = keys.span_of(key);
            let help = "a meter has address = \"000000001234\", the 12 digits on its plate";
            keys.error(Rule::Conflict, span, format!("`{key}` goes with Modbus"), help);
        }
    }
    let pause = duration(keys, "pause", Duration::ZERO..=Duration::from_secs(10)).map_or(PAUSE, |found| found.value);
    let preamble = byte(keys, "preamble", 0..=4).map_or(PREAMBLE, |found| found.value);
    if !keys.has("address") {
        keys.missing("address", "the 12 digits on the meter's plate, for example address = \"000000001234\"");
    }
    let found = keys.text("address")?;
    match Address::parse(found.value) {
        Ok(address) => {
            let settings = MeterSettings { edition, address, preamble, pause, access: None };
            Some(Found { value: Station::Dlt645(settings), span: found.span })
        }
        Err(why) => {
            let message = format!("`address` = {:?} is no address of a meter", found.value);
            keys.error(Rule::BadValue, found.span, message, why.to_string());
            None
        }
    }
}

/// Whom a meter's pause holds for: a number that all of its kind have, or none.
pub(super) fn pauses_with(keys: &mut Keys<'_, '_>, protocol: Protocol) -> Option<u8> {
    let found = keys.choice("pause_among", &[("device", None), ("protocol", Some(DLT645))])?;
    match protocol {
        Protocol::Dlt645(_) => found.value,
        Protocol::Modbus => {
            let help = "leave it out; `pause` of `limits` is the device's own";
            keys.error(Rule::Conflict, found.span, "`pause_among` goes with DL/T 645", help);
            None
        }
    }
}

/// Notes a pattern of an address where another device could answer as well.
pub(super) fn check_alone(context: &mut Context<'_>, has_others: bool, span: Range<usize>) {
    if has_others {
        let message = "an address with AA is answered by any meter, and the bus has several devices";
        let help = "give each meter its whole address: the 12 digits on its plate";
        context.sink.error(code::DUPLICATE_UNIT, span, message, help);
    }
}
