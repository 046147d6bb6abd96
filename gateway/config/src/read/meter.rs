//! The keys of a `[[device]]` that is a meter of DL/T 645 or CJ/T 188.

use std::ops::Range;
use std::time::Duration;

use gatehouse_drivers::cjt188;
use gatehouse_drivers::dlt645::{Access, Address, Edition, MeterSettings};
use gatehouse_drivers::modbus::Framing;
use gatehouse_drivers::point::Protocol;
use gatehouse_drivers::profile::keys::{Found, Keys};
use gatehouse_drivers::profile::{Profile, Rule};
use toml::de::DeTable;

use super::bus::Kind;
use super::{Context, byte, secret};
use crate::code;
use crate::site::Station;
use crate::units::duration;

/// Silence before the next request where the site file says nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// The level of a password that switches relays, in most meters.
const LEVEL: u8 = 2;
/// The number that DL/T 645 meters share where one's pause is everyone's.
const DLT645: u8 = 1;
/// Bytes FE before a request: as many as the standard allows.
const PREAMBLE: u8 = 4;
/// Most bytes FE that a battery meter may need to wake.
const MAX_WAKE: u8 = 32;
/// Longest silence between two requests.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The port and the framing of a meter's bus.
type On = (Option<Kind>, Option<Framing>);

/// Reads how a DL/T 645 meter is addressed.
pub(super) fn read(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    on: On,
    edition: Edition,
) -> Option<Found<Station>> {
    deny_modbus(keys, on, ("DL/T 645", "address = \"000000001234\", the 12 digits on its plate"));
    let pause = duration(keys, "pause", Duration::ZERO..=MAX_PAUSE).map_or(PAUSE, |found| found.value);
    let preamble = byte(keys, "preamble", 0..=4).map_or(PREAMBLE, |found| found.value);
    let control = keys.table("control").map(|at| (control(context, at), keys.span_of("control")));
    if let (Some((_, span)), Edition::V1997) = (&control, edition) {
        let help = "take it out: relays are a matter of DL/T 645-2007";
        keys.error(Rule::Conflict, span.clone(), "meters of 1997 have no commands that switch a relay", help);
    }
    let access = control.and_then(|(access, _)| access);
    let example = "the 12 digits on the meter's plate, for example address = \"000000001234\"";
    let Found { value: address, span } = address(keys, example, Address::parse)?;
    let settings = MeterSettings { edition, address, preamble, pause, access };
    Some(Found { value: Station::Dlt645(settings), span })
}

/// Reads how a CJ/T 188 meter is addressed, and in what it differs from its profile.
pub(super) fn read_pipe(
    keys: &mut Keys<'_, '_>,
    on: On,
    edition: cjt188::Edition,
    profile: Option<&Profile>,
) -> Option<Found<Station>> {
    deny_modbus(
        keys,
        on,
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
fn deny_modbus(keys: &mut Keys<'_, '_>, (kind, framing): On, (protocol, address): (&str, &str)) {
    if framing == Some(Framing::Ascii) {
        let help = "its frames are binary: leave `framing` of the bus out, or put the meter on another bus";
        let span = if keys.has("bus") { keys.span_of("bus") } else { keys.span() };
        let message = format!("the bus has framing = \"ascii\", and the device is a {protocol} meter");
        keys.error(Rule::Conflict, span, message, help);
    }
    if let Some(kind @ (Kind::Tcp | Kind::Udp)) = kind {
        let help =
            "put the device on a bus with serial = \"...\", or with rtu_over_tcp = \"host:port\" for a serial server";
        let span = keys.span_of("bus");
        let bus = if kind == Kind::Udp { "UDP" } else { "Modbus TCP" };
        keys.error(Rule::Conflict, span, format!("the bus is {bus}, and the device is a {protocol} meter"), help);
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

/// What the meter wants to be told before it switches its relay: a password, its level, and who did it.
fn control(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>)) -> Option<Access> {
    let mut keys = Keys::new(table, span);
    if !keys.has("password") {
        keys.missing("password", "password = { credential = \"meter-password\" }, six digits in a file of their own");
    }
    let password = secret::read(context, &mut keys, "password");
    let level = byte(&mut keys, "level", 0..=9).map_or(LEVEL, |found| found.value);
    let operator = keys.text("operator").map(|found| (digits(found.value, 8), found.span));
    if let Some((None, span)) = &operator {
        keys.error(Rule::BadValue, span.clone(), "`operator` is not 8 digits", "for example operator = \"00000001\"");
    }
    context.end(keys);
    let operator = operator.map_or(Some(0), |(operator, _)| operator)?;
    let Found { value: path, span } = password?;
    // A file that is not there was noted already: until it is, the meter is read and not switched.
    let text = std::fs::read_to_string(&path).ok()?;
    let Some(password) = digits(text.trim(), 6) else {
        let message = format!("`password`: {} does not hold six digits", path.display());
        let help = "the password that was set on the meter, for example 123456";
        context.sink.error(code::BAD_VALUE, span, message, help);
        return None;
    };
    Some(Access { level, password, operator })
}

/// The number that exactly so many digits write.
fn digits(text: &str, count: usize) -> Option<u32> {
    let sound = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| text.parse().ok()).flatten()
}

/// Whom a meter's pause holds for: a number that all of its kind have, or none.
pub(super) fn pauses_with(keys: &mut Keys<'_, '_>, protocol: Protocol) -> Option<u8> {
    let found = keys.choice("pause_among", &[("device", None), ("protocol", Some(DLT645))])?;
    match protocol {
        Protocol::Dlt645(_) => found.value,
        Protocol::Modbus | Protocol::Cjt188(_) | Protocol::Osdp | Protocol::Uhppote => {
            let help = "leave it out; `pause` of `limits` is the device's own";
            keys.error(Rule::Conflict, found.span, "`pause_among` goes with DL/T 645", help);
            None
        }
    }
}

/// True for a meter that stands for whatever there is on the line.
pub(super) fn is_pattern(station: &Station) -> bool {
    match station {
        Station::Dlt645(meter) => meter.address.is_wildcard(),
        Station::Cjt188(meter) => meter.address.is_wildcard() || meter.traits.meter_type == cjt188::MeterType::ANY,
        Station::Modbus(_) | Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_) => false,
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
