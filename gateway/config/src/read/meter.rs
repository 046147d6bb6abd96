//! The keys of a `[[device]]` that is a meter of DL/T 645 or CJ/T 188.

use std::ops::Range;
use std::time::Duration;

use gatehouse_drivers::cjt188;
use gatehouse_drivers::dlt645::{Address, Edition, MeterSettings};
use gatehouse_drivers::profile::keys::{Found, Keys};
use gatehouse_drivers::profile::{Profile, Rule};

use super::bus::Kind;
use super::{Context, byte};
use crate::code;
use crate::site::Station;
use crate::units::duration;

/// Silence before the next request where the site file says nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes FE before a request: as many as the standard allows.
const PREAMBLE: u8 = 4;
/// Most bytes FE that a battery meter may need to wake.
const MAX_WAKE: u8 = 32;
/// Longest silence between two requests.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Reads how a DL/T 645 meter is addressed.
pub(super) fn read(keys: &mut Keys<'_, '_>, kind: Option<Kind>, edition: Edition) -> Option<Found<Station>> {
    deny_modbus(keys, kind, ("DL/T 645", "address = \"000000001234\", the 12 digits on its plate"));
    let pause = duration(keys, "pause", Duration::ZERO..=MAX_PAUSE).map_or(PAUSE, |found| found.value);
    let preamble = byte(keys, "preamble", 0..=4).map_or(PREAMBLE, |found| found.value);
    let example = "the 12 digits on the meter's plate, for example address = \"000000001234\"";
    let Found { value: address, span } = address(keys, example, Address::parse)?;
    let settings = MeterSettings { edition, address, preamble, pause, access: None };
    Some(Found { value: Station::Dlt645(settings), span })
}

/// Reads how a CJ/T 188 meter is addressed, and in what it differs from its profile.
pub(super) fn read_pipe(
    keys: &mut Keys<'_, '_>,
    kind: Option<Kind>,
    edition: cjt188::Edition,
    profile: Option<&Profile>,
) -> Option<Found<Station>> {
    deny_modbus(
        keys,
        kind,
        ("CJ/T 188", "address = \"33780011223344\", the maker's code and the 10 digits on its plate"),
    );
    let pause = duration(keys, "pause", Duration::ZERO..=MAX_PAUSE).map_or(PAUSE, |found| found.value);
    let preamble = byte(keys, "preamble", 0..=MAX_WAKE).map_or(PREAMBLE, |found| found.value);
    let traits = match profile {
        Some(profile) => cjt188::read_traits(keys, edition, &profile.meter),
        None => {
            if !keys.has("meter_type") {
                let help = "10 cold water, 11 hot water, 20 heat, 21 cooling, 30 gas; a profile has it";
                keys.missing("meter_type", help);
            }
            cjt188::read_traits(keys, edition, &cjt188::Traits::default())
        }
    };
    let example = "the maker's code and the 10 digits on the meter's plate, for example address = \"33780011223344\"";
    let Found { value: address, span } = address(keys, example, cjt188::Address::parse)?;
    let settings = cjt188::MeterSettings { edition, address, preamble, pause, traits };
    Some(Found { value: Station::Cjt188(settings), span })
}

/// Notes what goes with Modbus only; `protocol` is the meter's, and what its address is.
fn deny_modbus(keys: &mut Keys<'_, '_>, kind: Option<Kind>, (protocol, address): (&str, &str)) {
    if kind == Some(Kind::Tcp) {
        let help =
            "put the device on a bus with serial = \"...\", or with rtu_over_tcp = \"host:port\" for a serial server";
        let span = keys.span_of("bus");
        let message = format!("the bus is Modbus TCP, and the device is a {protocol} meter");
        keys.error(Rule::Conflict, span, message, help);
    }
    for key in ["unit", "limits"] {
        if keys.raw(key).is_some() {
            let span = keys.span_of(key);
            let help = format!("a meter has {address}");
            keys.error(Rule::Conflict, span, format!("`{key}` goes with Modbus"), help);
        }
    }
}

/// The address of a meter; `example` says what is to be written.
fn address<A, E: ToString>(
    keys: &mut Keys<'_, '_>,
    example: &str,
    parse: impl Fn(&str) -> Result<A, E>,
) -> Option<Found<A>> {
    if !keys.has("address") {
        keys.missing("address", example);
    }
    let found = keys.text("address")?;
    match parse(found.value) {
        Ok(value) => Some(Found { value, span: found.span }),
        Err(why) => {
            let message = format!("`address` = {:?} is no address of a meter", found.value);
            keys.error(Rule::BadValue, found.span, message, why.to_string());
            None
        }
    }
}

/// True for a meter that stands for whatever there is on the line.
pub(super) fn is_pattern(station: &Station) -> bool {
    match station {
        Station::Dlt645(meter) => meter.address.is_wildcard(),
        Station::Cjt188(meter) => meter.address.is_wildcard() || meter.traits.meter_type == cjt188::MeterType::ANY,
        Station::Modbus(_) | Station::Own(_) => false,
    }
}

/// Notes a pattern of an address where another device could answer as well.
pub(super) fn check_alone(context: &mut Context<'_>, has_others: bool, span: Range<usize>) {
    if has_others {
        let message = "an address with AA is answered by any meter, and the bus has several devices";
        let help = "give each meter its whole address: the digits on its plate";
        context.sink.error(code::DUPLICATE_UNIT, span, message, help);
    }
}
