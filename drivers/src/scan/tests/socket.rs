//! Scans of a socket: no line settings, transactions, and gateways that answer for units that are not there.

use std::time::Duration;

use gatehouse_core::Mono;

use crate::modbus::frame::Framing;
use crate::modbus::pdu::{Reply, Request};
use crate::modbus::point::Table;
use crate::modbus::{ReplyFrame, decode_request};
use crate::scan::{Channel, End, Finding, Found, Options, Plan, Scan, Station, Want};

/// Scans a host that answers a read of holding register 0 so, by unit, and refuses the rest.
fn found(answer: impl Fn(u8) -> Option<Reply>) -> Vec<Found> {
    let mut scan = Scan::new(Channel::Tcp, Plan::new(Channel::Tcp, &Options::default()), Duration::from_secs(2));
    let mut now = 0u64;
    for _ in 0..100_000 {
        match scan.poll_want(Mono(now)) {
            Want::Switch(characters) => panic!("a socket has no {characters}"),
            Want::Wait(until) => now = until.0,
            Want::End(end) => {
                assert_eq!(end, End::Finished);
                let device = |finding: &Finding| match finding {
                    Finding::Found(found) => found.clone(),
                    Finding::Clash(clash) => panic!("{clash}"),
                };
                return scan.findings().iter().map(device).collect();
            }
            Want::Send(bytes) => {
                scan.handle_sent(Mono(now));
                let asked = decode_request(Framing::Tcp, &bytes).unwrap();
                let reply = match asked.request {
                    Request::Read { table: Table::Holding, address: 0, quantity: 1 } => answer(asked.unit),
                    Request::Read { table, .. } => Some(Reply::Exception { function: table.read_function(), code: 2 }),
                    Request::Identify { .. } => Some(Reply::Exception { function: 43, code: 1 }),
                    other => panic!("the scan writes: {other:?}"),
                };
                if let Some(reply) = reply {
                    let mut bytes = Vec::new();
                    let frame = ReplyFrame { transaction: asked.transaction, unit: asked.unit, reply };
                    frame.encode(Framing::Tcp, &mut bytes);
                    now += 2_000_000;
                    scan.handle_bytes(Mono(now), &bytes);
                }
            }
        }
    }
    panic!("the scan makes no progress");
}

fn register() -> Option<Reply> {
    Some(Reply::Registers { function: 3, registers: vec![7] })
}

#[test]
fn a_device_that_looks_at_no_unit_is_one_device() {
    let found = found(|_| register());
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(one.station, Station::Modbus(1));
    assert!(one.identity.iter().any(|(name, text)| name == "unit" && text.starts_with("any")), "{one:?}");
}

#[test]
fn a_gateway_that_answers_for_units_that_are_not_there_has_only_those_that_are() {
    for code in [0x04, 0x0A, 0x0B] {
        let absent = move || Some(Reply::Exception { function: 3, code });
        let found = found(|unit| match unit {
            3 | 9 | 247 => register(),
            // An exception of the device itself.
            20 => Some(Reply::Exception { function: 3, code: 2 }),
            _ => absent(),
        });
        let mut units: Vec<String> = found.iter().map(|one| one.station.to_string()).collect();
        units.sort();
        assert_eq!(units, ["20", "247", "3", "9"], "exception {code}");
        assert_eq!(found.iter().filter(|one| one.has_register).count(), 3);
    }
}
