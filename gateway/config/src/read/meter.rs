//! The keys of a `[[device]]` that is a DL/T 645 meter.

use std::ops::Range;
use std::time::Duration;

use gatehouse_drivers::dlt645::{Address, Edition, MeterSettings};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};

use super::bus::Kind;
use super::{Context, byte};
use crate::code;
use crate::site::Station;
use crate::units::duration;

/// Silence before the next request where the site file says nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes FE before a request: as many as the standard allows.
const PREAMBLE: u8 = 4;

/// Reads how the meter is addressed.
pub(super) fn read(keys: &mut Keys<'_, '_>, kind: Option<Kind>, edition: Edition) -> Option<Found<Station>> {
    if let Some(kind @ (Kind::Tcp | Kind::Udp)) = kind {
        let help =
            "put the device on a bus with serial = \"...\", or with rtu_over_tcp = \"host:port\" for a serial server";
        let span = keys.span_of("bus");
        let bus = if kind == Kind::Udp { "UDP" } else { "Modbus TCP" };
        keys.error(Rule::Conflict, span, format!("the bus is {bus}, and the device is a DL/T 645 meter"), help);
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

/// Notes a pattern of an address where another device could answer as well.
pub(super) fn check_alone(context: &mut Context<'_>, has_others: bool, span: Range<usize>) {
    if has_others {
        let message = "an address with AA is answered by any meter, and the bus has several devices";
        let help = "give each meter its whole address: the 12 digits on its plate";
        context.sink.error(code::DUPLICATE_UNIT, span, message, help);
    }
}
