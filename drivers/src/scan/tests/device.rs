//! Simulated devices, each with its line settings and the time that it takes to answer.

use crate::cjt188::{self, DiOrder, MeterType};
use crate::dlt645::{self, Edition};
use crate::line::settings::{Characters, Parity};
use crate::modbus::frame::Framing;
use crate::modbus::pdu::{Identification, Reply, Request};
use crate::modbus::point::Table;
use crate::modbus::{ReplyFrame, decode_request};
use crate::osdp::frame as reader;

pub(super) const fn line(baud: u32, parity: Parity) -> Characters {
    Characters { baud, data_bits: 8, parity, stop_bits: 1 }
}

/// A device at the far end of the pair.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) kind: Kind,
    pub(super) characters: Characters,
    /// From the end of a request to its answer.
    pub(super) turnaround_ms: u64,
    /// It hears requests whatever their parity.
    pub(super) is_lax: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A meter with these input registers; holding registers it has none.
    Modbus { unit: u8, registers: Vec<(u16, Vec<u16>)>, identity: Option<[&'static str; 3]> },
    /// One that answers whatever unit is asked, with these input registers.
    AnyUnit { registers: Vec<(u16, Vec<u16>)> },
    /// An electricity meter.
    Dlt645 { edition: Edition, address: [u8; 6], phases: u8 },
    /// A meter that knows no wildcard but the widest.
    WideOnly(Box<Kind>),
    /// Something that answers each question to meters, whomever it is for, with noise.
    Babbler { bytes: u8 },
    /// A meter of water or heat, with so many bytes to tell.
    Cjt188 { order: DiOrder, meter_type: u8, address: [u8; 7], payload: usize },
    /// A reader.
    Osdp { address: u8, serial: u8 },
}

fn float(value: f32) -> Vec<u16> {
    value.to_bits().to_be_bytes().as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

pub(super) fn modbus(unit: u8, characters: Characters, turnaround_ms: u64) -> Device {
    let registers =
        vec![(0, float(230.0 + f32::from(unit) / 10.0)), (2, float(231.5)), (4, float(229.0)), (0x46, float(50.0))];
    Device { kind: Kind::Modbus { unit, registers, identity: None }, characters, turnaround_ms, is_lax: false }
}

/// Two digits to a byte.
pub(super) fn bcd(number: u8) -> u8 {
    ((number / 10) << 4) | (number % 10)
}

pub(super) fn electricity(last: [u8; 3], phases: u8, baud: u32, turnaround_ms: u64) -> Device {
    let [a, b, c] = last.map(bcd);
    let kind = Kind::Dlt645 { edition: Edition::V2007, address: [a, b, c, 0x45, 0x12, 0x00], phases };
    Device { kind, characters: line(baud, Parity::Even), turnaround_ms, is_lax: false }
}

pub(super) fn water(last: u8, turnaround_ms: u64) -> Device {
    let address = [bcd(last), 0x33, 0x22, 0x11, 0x00, 0x78, 0x33];
    let kind = Kind::Cjt188 { order: DiOrder::LowFirst, meter_type: 0x10, address, payload: 19 };
    Device { kind, characters: line(2400, Parity::Even), turnaround_ms, is_lax: false }
}

pub(super) fn card_reader(address: u8, baud: u32) -> Device {
    let kind = Kind::Osdp { address, serial: address };
    Device { kind, characters: line(baud, Parity::None), turnaround_ms: 8, is_lax: false }
}

impl Device {
    /// The answer to a whole request that was heard. A request that acts is a mistake of the scan.
    pub(super) fn answer(&self, heard: &[u8]) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Modbus { unit, registers, identity } => modbus_answer(*unit, registers, identity.as_ref(), heard),
            Kind::AnyUnit { registers } => {
                let asked = decode_request(Framing::Rtu, heard).ok()?.unit;
                modbus_answer(asked, registers, None, heard)
            }
            Kind::WideOnly(kind) => {
                let is_narrower = match kind.as_ref() {
                    Kind::Dlt645 { address, .. } => {
                        let (frame, _) = dlt645::Frame::find(heard, false).ok()?;
                        ![dlt645::Address::ANY, dlt645::Address::from_wire(*address)].contains(&frame.address)
                    }
                    Kind::Cjt188 { address, .. } => {
                        let (frame, _) = cjt188::Frame::find(heard, false).ok()?;
                        ![cjt188::Address::ANY, cjt188::Address::from_wire(*address)].contains(&frame.address)
                    }
                    Kind::Modbus { .. }
                    | Kind::AnyUnit { .. }
                    | Kind::WideOnly(_)
                    | Kind::Babbler { .. }
                    | Kind::Osdp { .. } => {
                        panic!("{kind:?} knows no wildcard")
                    }
                };
                let device = Device { kind: kind.as_ref().clone(), ..self.clone() };
                if is_narrower { None } else { device.answer(heard) }
            }
            Kind::Babbler { bytes } => {
                let (frame, _) = dlt645::Frame::find(heard, false).ok()?;
                // Not when nobody is asked who is there.
                let [.., last] = frame.address.wire();
                (last != 0x98 && last != 0x97).then(|| (0..*bytes).map(|at| at.wrapping_mul(37) ^ 0x5A).collect())
            }
            Kind::Dlt645 { edition, address, phases } => {
                let (frame, _) = dlt645::Frame::find(heard, false).ok()?;
                let own = dlt645::Address::from_wire(*address);
                let read = match edition {
                    Edition::V1997 => 0x01,
                    Edition::V2007 => 0x11,
                };
                if !frame.address.covers(own) || frame.function() != read {
                    return None;
                }
                let mut bytes = Vec::new();
                let known = frame.data() != [0x00, 0x02, 0x01, 0x02] || *phases == 3;
                if known {
                    dlt645::encode(4, own, read | 0x80, &[frame.data(), &[0x12, 0x34, 0x56, 0x00]], &mut bytes);
                } else {
                    dlt645::encode(4, own, read | 0xC0, &[&[0x02]], &mut bytes);
                }
                Some(bytes)
            }
            Kind::Cjt188 { order, meter_type, address, payload } => {
                let (frame, _) = cjt188::Frame::find(heard, false).ok()?;
                let own = cjt188::Address::from_wire(*address);
                if !frame.address.covers(own) || frame.data().get(..2) != Some(&order.wire(0x901F)) {
                    return None;
                }
                let mut bytes = Vec::new();
                let to = (MeterType(*meter_type), own);
                cjt188::encode(2, to, 0x81, &[frame.data(), &vec![0x01; *payload]], &mut bytes);
                Some(bytes)
            }
            Kind::Osdp { address, serial } => {
                let reader::Found::Frame { frame, .. } = reader::find(heard) else { return None };
                if frame.from_reader || frame.address != *address || !frame.crc {
                    return None;
                }
                let mut bytes = Vec::new();
                let framing = reader::Framing { address: address | 0x80, sequence: 0, crc: true, mark: true };
                let identity = [0x5C, 0x26, 0x23, 1, 2, *serial, 0, 0, 0, 1, 0, 0];
                reader::encode(framing, None, (0x45, &identity), |_| [0; 4], &mut bytes);
                Some(bytes)
            }
        }
    }
}

fn modbus_answer(
    own: u8,
    registers: &[(u16, Vec<u16>)],
    identity: Option<&[&'static str; 3]>,
    heard: &[u8],
) -> Option<Vec<u8>> {
    let frame = decode_request(Framing::Rtu, heard).ok().filter(|frame| frame.unit == own)?;
    let reply = match &frame.request {
        Request::Read { table: Table::Input, address, quantity } => {
            let found = registers.iter().find(|(at, words)| at == address && words.len() == usize::from(*quantity));
            match found {
                Some((_, words)) => Reply::Registers { function: 4, registers: words.clone() },
                None => Reply::Exception { function: 4, code: 2 },
            }
        }
        Request::Read { table, .. } => Reply::Exception { function: table.read_function(), code: 1 },
        Request::Identify { .. } => match identity {
            None => Reply::Exception { function: 43, code: 1 },
            Some(texts) => {
                let objects = (0u8..).zip(texts).map(|(number, text)| (number, text.as_bytes().to_vec())).collect();
                Reply::Identification(Identification { read_code: 1, conformity: 1, more: false, next: 0, objects })
            }
        },
        other => panic!("the scan writes: {other:?}"),
    };
    let mut bytes = Vec::new();
    ReplyFrame { transaction: None, unit: own, reply }.encode(Framing::Rtu, &mut bytes);
    Some(bytes)
}

/// Panics at a request that is more than a read, whoever it is for.
pub(super) fn check_reads_only(sent: &[u8]) {
    if let Ok(frame) = decode_request(Framing::Rtu, sent) {
        let reads = matches!(frame.request, Request::Read { .. } | Request::Identify { .. });
        assert!(reads && frame.unit != 0, "{frame:?}");
    } else if let Ok((frame, _)) = dlt645::Frame::find(sent, false) {
        assert!(matches!(frame.function(), 0x11 | 0x01), "{frame:?}");
        assert_ne!(frame.address, dlt645::Address::BROADCAST);
    } else if let Ok((frame, _)) = cjt188::Frame::find(sent, false) {
        assert_eq!(frame.function(), 0x01, "{frame:?}");
    } else {
        let reader::Found::Frame { frame, .. } = reader::find(sent) else { panic!("{sent:02X?} is no request") };
        assert_eq!((frame.code, frame.data), (0x61, &[0][..]), "a reader is asked who it is, and nothing else");
        assert_ne!(frame.address, reader::BROADCAST);
    }
}
