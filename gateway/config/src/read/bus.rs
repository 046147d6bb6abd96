//! `[[bus]]`: one physical channel.

use std::net::SocketAddrV4;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use gatehouse_core::Name;
use gatehouse_drivers::line::settings::{Characters, Echo, LineSettings, Medium, Parity, Wire};
use gatehouse_drivers::modbus::Framing;
use gatehouse_drivers::point::Protocol;
use gatehouse_drivers::profile::keys::{Found, Keys};
use gatehouse_drivers::profile::{Defaults, Profile, Rule};
use toml::de::DeTable;

use super::{Context, byte, required_name};
use crate::code;
use crate::site::{Bus, PortKind, SerialSource};
use crate::units::duration;

/// The keys that say where a bus is; a bus has exactly one of them.
const PORTS: [&str; 5] = ["serial", "usb", "tcp", "rtu_over_tcp", "udp"];
const TURNAROUND_SERIAL: Duration = Duration::from_millis(20);
const TURNAROUND_TCP: Duration = Duration::from_millis(5);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// A `[[bus]]`, as far as it could be read.
#[derive(Debug)]
pub(super) struct BusEntry {
    /// Its name, also when the rest is wrong.
    pub(super) id: Option<Found<Name>>,
    /// Which kind of port it has, as far as that is clear.
    pub(super) kind: Option<Kind>,
    /// How frames begin and end.
    pub(super) framing: Option<Framing>,
    /// What devices have that say nothing.
    characters: Characters,
    /// Where the port is named.
    port_span: Range<usize>,
    /// The bus, if nothing is wrong with it.
    pub(super) bus: Option<Bus>,
}

/// The kinds of ports, as far as other keys depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Serial,
    Tcp,
    RtuOverTcp,
    Udp,
}

impl Kind {
    /// True where characters go over a serial wire somewhere.
    fn has_wire(self) -> bool {
        match self {
            Kind::Serial | Kind::RtuOverTcp => true,
            Kind::Tcp | Kind::Udp => false,
        }
    }
}

pub(super) fn read(context: &mut Context<'_>, table: &DeTable<'_>, span: Range<usize>) -> BusEntry {
    let mut keys = Keys::new(table, span);
    let id = required_name(&mut keys, "id", "for example id = \"meters-a\"");
    let title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    let (kind, address) = port(context, &mut keys);
    let port_span = PORTS.iter().find(|key| keys.has(key)).map_or_else(|| keys.span(), |key| keys.span_of(key));
    let framing = framing(&mut keys, kind);
    let characters = characters(&mut keys, kind, framing);
    let echo = echo(&mut keys, kind);
    let silence = duration(&mut keys, "silence", Duration::from_micros(100)..=SECOND);
    if let (Some(silence), Some(Kind::Tcp | Kind::RtuOverTcp | Kind::Udp)) = (&silence, kind) {
        let help = "a serial server keeps the silence of its own line";
        keys.error(Rule::Conflict, silence.span.clone(), "`silence` goes with a serial port", help);
    }
    let listen = listen(&mut keys, kind);
    let silence = silence.map(|found| found.value);
    let wire = Wire { baud: characters.baud, char_bits: characters.bits(), echo, silence };
    let wire = kind.is_none_or(Kind::has_wire).then_some(wire);
    let medium = match (kind, wire) {
        (Some(Kind::Serial), Some(wire)) => Medium::Serial(wire),
        (Some(Kind::RtuOverTcp), _) => Medium::RtuOverTcp,
        (Some(Kind::Udp), _) => Medium::Datagram,
        _ => Medium::Tcp,
    };
    let mut line = line(&mut keys, medium);
    if let Some(guard) = duration(&mut keys, "guard", Duration::ZERO..=5 * SECOND) {
        line.guard = guard.value;
        if let Some(Kind::Tcp | Kind::RtuOverTcp | Kind::Udp) = kind {
            let help = "leave it out: all devices behind a server have its settings";
            keys.error(Rule::Conflict, guard.span, "`guard` goes with a serial port", help);
        }
    }
    let usual = if kind.is_none_or(Kind::has_wire) { TURNAROUND_SERIAL } else { TURNAROUND_TCP };
    let turnaround = duration(&mut keys, "turnaround", Duration::ZERO..=10 * SECOND);
    let turnaround = turnaround.map_or(usual, |found| found.value);
    let latencies = Duration::from_millis(50)..=10 * SECOND;
    let reader_latency = duration(&mut keys, "reader_latency", latencies).map(|found| found.value);
    context.end(keys);
    let port = address.map(|address| match address {
        Address::Serial(source) => port_of(characters, source),
        Address::Net { host, port } if kind == Some(Kind::Udp) => PortKind::Udp { host, port, listen },
        Address::Net { host, port } => PortKind::Tcp { host, port },
    });
    let bus = id.as_ref().zip(port).map(|(id, port)| Bus {
        id: id.value.clone(),
        title,
        port,
        framing: framing.unwrap_or(Framing::Rtu),
        line,
        wire,
        reader_latency,
        turnaround,
    });
    BusEntry { id, kind, framing, characters, port_span, bus }
}

enum Address {
    Serial(SerialSource),
    Net { host: String, port: u16 },
}

fn port(context: &mut Context<'_>, keys: &mut Keys<'_, '_>) -> (Option<Kind>, Option<Address>) {
    let given: Vec<&str> = PORTS.into_iter().filter(|key| keys.has(key)).collect();
    let serial = keys.text("serial");
    let usb = keys.text("usb");
    let tcp = keys.text("tcp");
    let rtu_over_tcp = keys.text("rtu_over_tcp");
    let udp = keys.text("udp");
    match given.as_slice() {
        [] => {
            let help = "write serial = \"/dev/serial/by-id/...\", usb = \"0403:6001\", tcp = \"10.0.0.5:502\", \
                        rtu_over_tcp = \"10.0.0.6:4001\" or udp = \"10.0.0.7:60000\"";
            let span = keys.span();
            keys.error(Rule::MissingKey, span, "the bus says not where its port is", help);
            (None, None)
        }
        ["serial"] => (Some(Kind::Serial), serial.and_then(|found| path(context, keys, &found))),
        ["usb"] => (Some(Kind::Serial), usb.and_then(|found| adapter(keys, &found))),
        ["tcp"] => (Some(Kind::Tcp), tcp.and_then(|found| endpoint(keys, "tcp", &found, Some(502)))),
        ["udp"] => (Some(Kind::Udp), udp.and_then(|found| endpoint(keys, "udp", &found, Some(60_000)))),
        [_] => (Some(Kind::RtuOverTcp), rtu_over_tcp.and_then(|found| endpoint(keys, "rtu_over_tcp", &found, None))),
        [one, other, ..] => {
            let span = keys.span_of(other);
            let message = format!("a bus is one channel: this one has `{one}` and `{other}`");
            keys.error(Rule::Conflict, span, message, "make two [[bus]] of it");
            (None, None)
        }
    }
}

fn path(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, found: &Found<&str>) -> Option<Address> {
    let path = PathBuf::from(found.value);
    if !path.is_absolute() {
        let message = format!("`serial` = {:?} is not the path of a port", found.value);
        keys.error(
            Rule::BadValue,
            found.span.clone(),
            message,
            "for example \"/dev/ttyUSB0\"; `ls -l /dev/serial/by-id/`",
        );
        return None;
    }
    if !path.exists() {
        let message = format!("{} is not there now", path.display());
        let help = "plug the adapter in; `ls -l /dev/serial/by-id/` lists those that are there";
        context.sink.warn(code::PORT_ABSENT, found.span.clone(), message, help);
    }
    Some(Address::Serial(SerialSource::Path(path)))
}

/// `vid:pid` or `vid:pid:serial`, as `lsusb` prints them.
fn adapter(keys: &mut Keys<'_, '_>, found: &Found<&str>) -> Option<Address> {
    let mut parts = found.value.splitn(3, ':');
    let mut id = || {
        let part = parts.next().filter(|part| part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u16::from_str_radix(part, 16).ok()
    };
    let ids = id().zip(id());
    let serial = parts.next().map(str::to_owned);
    let Some((vendor, product)) = ids.filter(|_| serial.as_deref() != Some("")) else {
        let message = format!("`usb` = {:?} is not an adapter", found.value);
        let help = "write vendor and product as `lsusb` prints them, and the serial number where there are several: \
                    \"0403:6001\" or \"0403:6001:FT1XYZ\"";
        keys.error(Rule::BadValue, found.span.clone(), message, help);
        return None;
    };
    Some(Address::Serial(SerialSource::Usb { vendor, product, serial }))
}

/// `host:port`, `[v6]:port`, and the host alone where the port is usual.
fn endpoint(keys: &mut Keys<'_, '_>, key: &str, found: &Found<&str>, usual: Option<u16>) -> Option<Address> {
    let text = found.value;
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("?"))),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    let port = port.map_or(usual, |port| port.parse().ok().filter(|port| *port > 0));
    if let (Some(port), false, true) = (port, host.is_empty() || host.len() > 253, host.chars().all(plain)) {
        return Some(Address::Net { host: host.to_owned(), port });
    }
    let message = format!("`{key}` = {text:?} is not a host with a port");
    let help = match usual {
        Some(usual) => {
            format!("for example \"10.0.0.5:{usual}\" or \"meter-3.example\"; IPv6 as \"[fd00::5]:{usual}\"")
        }
        None => "for example \"10.0.0.6:4001\": the port is the one that the serial server was given".to_owned(),
    };
    keys.error(Rule::BadValue, found.span.clone(), message, help);
    None
}

/// Where a bus of datagrams listens for events.
fn listen(keys: &mut Keys<'_, '_>, kind: Option<Kind>) -> Option<SocketAddrV4> {
    let found = keys.text("listen")?;
    if kind.is_some_and(|kind| kind != Kind::Udp) {
        let message = "`listen` goes with udp: it is where door controllers send their events";
        keys.error(Rule::Conflict, found.span, message, "leave it out");
        return None;
    }
    let address = found.value.parse::<SocketAddrV4>().ok();
    let address = address.filter(|address| address.port() > 0 && !address.ip().is_unspecified());
    if address.is_none() {
        let message = format!("`listen` = {:?} is no address that a controller can send to", found.value);
        let help = "the IPv4 address of the box in the controllers' network, and a port: \"192.168.60.2:60001\"";
        keys.error(Rule::BadValue, found.span, message, help);
    }
    address
}

fn framing(keys: &mut Keys<'_, '_>, kind: Option<Kind>) -> Option<Framing> {
    let found = keys.choice("framing", &[("rtu", Framing::Rtu), ("ascii", Framing::Ascii)]);
    match (kind, found) {
        (Some(Kind::Tcp), Some(found)) => {
            let help = "for RTU or ASCII frames over a serial server write rtu_over_tcp = \"host:port\"";
            keys.error(Rule::Conflict, found.span, "Modbus TCP has a framing of its own", help);
            None
        }
        (Some(Kind::Udp), Some(found)) => {
            keys.error(Rule::Conflict, found.span, "datagrams are frames by themselves", "leave `framing` out");
            None
        }
        // No Modbus is spoken in datagrams.
        (Some(Kind::Tcp | Kind::Udp), None) => Some(Framing::Tcp),
        (_, found) => Some(found.map_or(Framing::Rtu, |found| found.value)),
    }
}

/// The keys of [`Characters`].
const CHARACTERS: [&str; 4] = ["baud", "data_bits", "parity", "stop_bits"];
/// What a bus has that says nothing.
const USUAL: Characters = Characters { baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 };

/// Speed and shape of the characters on the wire of a bus.
fn characters(keys: &mut Keys<'_, '_>, kind: Option<Kind>, framing: Option<Framing>) -> Characters {
    if kind.is_some_and(|kind| !kind.has_wire()) {
        let other = if kind == Some(Kind::Udp) { "UDP" } else { "Modbus TCP" };
        let help = "leave it out; if a serial line is behind it, that is set in the converter";
        deny_characters(keys, |key| format!("`{key}` goes with a serial line, not with {other}"), help);
        return USUAL;
    }
    read_characters(keys, framing, USUAL)
}

fn deny_characters(keys: &mut Keys<'_, '_>, message: impl Fn(&str) -> String, help: &str) {
    for key in CHARACTERS {
        if keys.raw(key).is_some() {
            let span = keys.span_of(key);
            keys.error(Rule::Conflict, span, message(key), help);
        }
    }
}

/// Reads what a bus or a device says of its characters; the rest is as in `base`.
fn read_characters(keys: &mut Keys<'_, '_>, framing: Option<Framing>, base: Characters) -> Characters {
    let baud = keys.integer("baud", 300..=3_000_000).and_then(|found| u32::try_from(found.value).ok());
    let data_bits = byte(keys, "data_bits", 7..=8);
    if let (Some(Found { value: 7, span }), Some(Framing::Rtu)) = (&data_bits, framing) {
        let help = "RTU frames are binary; with framing = \"ascii\" 7 bits are usual";
        keys.error(Rule::Conflict, span.clone(), "RTU needs 8 data bits", help);
    }
    let parities = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
    Characters {
        baud: baud.unwrap_or(base.baud),
        data_bits: data_bits.map_or(base.data_bits, |found| found.value),
        parity: keys.choice("parity", &parities).map_or(base.parity, |found| found.value),
        stop_bits: byte(keys, "stop_bits", 1..=2).map_or(base.stop_bits, |found| found.value),
    }
}

/// The characters of a device, where they differ from those of its bus.
pub(super) fn device_characters(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    bus: Option<&BusEntry>,
    profile: Option<&Profile>,
) -> Option<Characters> {
    if let Some(Kind::Tcp | Kind::RtuOverTcp | Kind::Udp) = bus.and_then(|bus| bus.kind) {
        let help =
            "leave it out; devices whose settings differ need a serial server of their own, or an adapter at the box";
        let message =
            |key: &str| format!("`{key}` of a device goes with a serial port: it cannot be switched through a server");
        deny_characters(keys, message, help);
        return None;
    }
    let given = CHARACTERS.iter().any(|key| keys.has(key));
    let base = bus.map_or(USUAL, |bus| bus.characters);
    let own = read_characters(keys, bus.and_then(|bus| bus.framing), base);
    // The parity of Modbus devices is set with their address, and left as it is of others.
    let is_modbus = profile.is_some_and(|profile| profile.protocol == Protocol::Modbus);
    let differs = |usual: &Characters| if is_modbus { usual.baud != base.baud } else { *usual != base };
    if let (false, Some(usual)) = (given, profile.and_then(|profile| usual(profile, base)).filter(differs)) {
        let message = format!("devices of this profile leave the factory with {usual}, and the bus has {base}");
        let help = format!("{}; if the device was set otherwise, say baud = {}", spelt(usual, base), base.baud);
        context.sink.warn(code::LINE_SETTINGS, keys.span_of("profile"), message, help);
    }
    (own != base).then_some(own)
}

/// What devices of a profile usually have; what it does not say is as in `base`.
fn usual(profile: &Profile, base: Characters) -> Option<Characters> {
    let Defaults { baud, data_bits, parity, stop_bits, .. } = profile.defaults;
    let parity = parity.map(|letter| match letter {
        'E' => Parity::Even,
        'O' => Parity::Odd,
        _ => Parity::None,
    });
    Some(Characters {
        baud: baud?,
        data_bits: data_bits.unwrap_or(base.data_bits),
        parity: parity.unwrap_or(base.parity),
        stop_bits: stop_bits.unwrap_or(base.stop_bits),
    })
}

/// The keys that make `base` to `wanted`.
fn spelt(wanted: Characters, base: Characters) -> String {
    let mut keys = Vec::new();
    if wanted.baud != base.baud {
        keys.push(format!("baud = {}", wanted.baud));
    }
    if wanted.data_bits != base.data_bits {
        keys.push(format!("data_bits = {}", wanted.data_bits));
    }
    if wanted.parity != base.parity {
        let parity = match wanted.parity {
            Parity::None => "none",
            Parity::Even => "even",
            Parity::Odd => "odd",
        };
        keys.push(format!("parity = \"{parity}\""));
    }
    if wanted.stop_bits != base.stop_bits {
        keys.push(format!("stop_bits = {}", wanted.stop_bits));
    }
    format!("if this one does too, add {} to it", keys.join(", "))
}

fn port_of(Characters { baud, data_bits, parity, stop_bits }: Characters, source: SerialSource) -> PortKind {
    PortKind::Serial { source, baud, data_bits, parity, stop_bits }
}

fn echo(keys: &mut Keys<'_, '_>, kind: Option<Kind>) -> Echo {
    let found = keys.choice("echo", &[("off", Echo::Off), ("on", Echo::On), ("detect", Echo::Detect)]);
    match (found, kind) {
        (Some(found), Some(Kind::Tcp | Kind::RtuOverTcp | Kind::Udp)) => {
            keys.error(Rule::Conflict, found.span, "`echo` goes with a serial port", "leave it out");
            Echo::Off
        }
        (None, Some(Kind::Tcp | Kind::RtuOverTcp | Kind::Udp)) => Echo::Off,
        (found, _) => found.map(|found| found.value).unwrap_or_default(),
    }
}

fn line(keys: &mut Keys<'_, '_>, medium: Medium) -> LineSettings {
    let mut line = LineSettings::new(medium);
    let millis = Duration::from_millis(1);
    if let Some(floor) = duration(keys, "timeout_min", millis..=10 * SECOND) {
        line.timeout_floor = floor.value;
    }
    if let Some(ceiling) = duration(keys, "timeout", 5 * millis..=60 * SECOND) {
        line.timeout_ceiling = ceiling.value;
    }
    if line.timeout_floor > line.timeout_ceiling {
        if keys.has("timeout_min") {
            let span = keys.span_of("timeout_min");
            keys.error(
                Rule::Conflict,
                span,
                "`timeout_min` is longer than `timeout`",
                "a device gets a time between both",
            );
        } else {
            line.timeout_floor = line.timeout_ceiling;
        }
    }
    line.retries = byte(keys, "retries", 0..=10).map_or(line.retries, |found| found.value);
    if let Some(first) = duration(keys, "backoff_min", 100 * millis..=DAY) {
        line.backoff_min = first.value;
    }
    if let Some(last) = duration(keys, "backoff_max", 100 * millis..=DAY) {
        line.backoff_max = last.value;
    }
    if line.backoff_min > line.backoff_max {
        let key = if keys.has("backoff_min") { "backoff_min" } else { "backoff_max" };
        let span = keys.span_of(key);
        keys.error(
            Rule::Conflict,
            span,
            "`backoff_min` is longer than `backoff_max`",
            "the pauses grow from min to max",
        );
    }
    line.lost_after_polls = byte(keys, "lost_after_polls", 1..=100).map_or(line.lost_after_polls, |found| found.value);
    if let Some(after) = duration(keys, "lost_after", Duration::ZERO..=DAY) {
        line.lost_after_time = after.value;
    }
    line
}

/// What two buses must not have in common: names and ports.
pub(super) fn check_together(context: &mut Context<'_>, buses: &[BusEntry]) {
    for (at, entry) in buses.iter().enumerate() {
        let before = buses.get(..at).unwrap_or_default();
        let Some(id) = &entry.id else { continue };
        if before.iter().any(|other| other.id.as_ref().is_some_and(|other| other.value == id.value)) {
            let message = format!("there is another bus `{}` above", id.value);
            context.sink.error(code::DUPLICATE, id.span.clone(), message, "give one of them another id");
        }
        let Some(bus) = &entry.bus else { continue };
        let same = |other: &&BusEntry| other.bus.as_ref().is_some_and(|other| same_port(&other.port, &bus.port));
        let Some(other) = before.iter().find(same).and_then(|other| other.bus.as_ref()) else { continue };
        let message = format!("{} is the port of the bus `{}` already", bus.port, other.id);
        if entry.kind == Some(Kind::Tcp) {
            let help = "each bus opens a connection of its own, and many devices take only one; to be safe put the \
                        devices on one bus";
            context.sink.warn(code::SHARED_PORT, entry.port_span.clone(), message, help);
        } else {
            let help = "one port is one bus: put the devices of both on it";
            context.sink.error(code::SHARED_PORT, entry.port_span.clone(), message, help);
        }
    }
}

fn same_port(one: &PortKind, other: &PortKind) -> bool {
    match (one, other) {
        (PortKind::Serial { source: one, .. }, PortKind::Serial { source: other, .. }) => match (one, other) {
            (SerialSource::Path(a), SerialSource::Path(b)) => {
                a == b || a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
            }
            _ => one == other,
        },
        (PortKind::Udp { host: one, port: own, listen: a }, PortKind::Udp { host: other, port, listen: b }) => {
            (one, own) == (other, port) || a.is_some() && a == b
        }
        _ => one == other,
    }
}
