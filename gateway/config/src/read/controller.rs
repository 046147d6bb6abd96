//! The keys of a `[[device]]` that is a UHPPOTE controller for doors.

use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};
use gatehouse_drivers::uhppote::device::action::commands;
use gatehouse_drivers::uhppote::{Listener, UhppoteSettings};

use super::bus::Kind;
use crate::site::{ControllerStation, PortKind, Station};

/// Reads how the controller is addressed. `port` is that of its bus.
pub(super) fn read(keys: &mut Keys<'_, '_>, kind: Option<Kind>, port: Option<&PortKind>) -> Option<Found<Station>> {
    if kind.is_some_and(|kind| kind != Kind::Udp) {
        let help = "put the device on a bus with udp = \"10.0.0.7:60000\"";
        let span = keys.span_of("bus");
        keys.error(Rule::Conflict, span, "door controllers of UHPPOTE speak UDP, and the bus does not", help);
    }
    for key in ["unit", "limits", "address"] {
        if keys.raw(key).is_some() {
            let span = keys.span_of(key);
            let help = "a controller has serial = 423187757, the number on its board";
            keys.error(Rule::Conflict, span, format!("`{key}` is nothing that a door controller has"), help);
        }
    }
    if !keys.has("serial") {
        keys.missing("serial", "the number on the controller's board, for example serial = 423187757");
    }
    let found = keys.integer("serial", 1..=i64::from(u32::MAX - 1))?;
    let listener = match port {
        Some(PortKind::Udp { listen: Some(listen), .. }) => {
            Some(Listener { address: listen.ip().octets(), port: listen.port() })
        }
        Some(PortKind::Udp { listen: None, .. } | PortKind::Serial { .. } | PortKind::Tcp { .. }) | None => None,
    };
    let settings = UhppoteSettings { serial: u32::try_from(found.value).ok()?, listener };
    let station = ControllerStation { settings, commands: commands().into() };
    Some(Found { value: Station::Uhppote(station), span: found.span })
}

/// Notes a Modbus device on a bus of datagrams.
pub(super) fn check_bus(keys: &mut Keys<'_, '_>, kind: Option<Kind>) {
    if kind == Some(Kind::Udp) {
        let help = "put the device on a bus with serial, tcp or rtu_over_tcp, or name its own protocol";
        let span = keys.span_of("bus");
        keys.error(Rule::Conflict, span, "the bus is UDP, and the device speaks Modbus", help);
    }
}
