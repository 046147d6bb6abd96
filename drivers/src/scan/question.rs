//! What is asked, and what was answered. All of it only reads.

use crate::cjt188::{self, DiOrder, MeterType, frame as pipe};
use crate::dlt645::{self, Edition, frame as meter};
use crate::line::settings::{Characters, Parity};
use crate::modbus::RequestFrame;
use crate::modbus::frame::Framing;
use crate::modbus::pdu::{Reply, Request};
use crate::modbus::point::Table;
use crate::osdp::command::{self, Command};
use crate::osdp::frame as reader;
use crate::osdp::reply::Identity;
use crate::point::Protocol;

use super::finding::Station;

/// Bytes FE before a request to a meter.
const PREAMBLE: u8 = 4;

/// One question to one station, or to all whose addresses a wildcard covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A read of a Modbus unit.
    Modbus { framing: Framing, unit: u8, request: Request },
    /// A read of one data identifier.
    Dlt645 { edition: Edition, address: dlt645::Address, di: u32 },
    /// A read of what the meter counts, 901F.
    Cjt188 { address: cjt188::Address, order: DiOrder },
    /// Who is there? It begins the conversation anew, as each panel does when it starts.
    Osdp { address: u8, crc: bool },
}

/// A sound answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Modbus {
        unit: u8,
        reply: Reply,
    },
    /// `None`: it refuses, but it is there.
    Dlt645 {
        address: dlt645::Address,
        data: Option<Vec<u8>>,
    },
    /// With the number of bytes of its payload; `None`: it refuses.
    Cjt188 {
        meter_type: MeterType,
        address: cjt188::Address,
        payload: Option<usize>,
    },
    /// `None`: it says something else than who it is.
    Osdp {
        address: u8,
        identity: Option<Identity>,
    },
}

impl Question {
    /// A read that nearly every Modbus device answers, be it by an exception.
    pub(super) fn alive(framing: Framing, unit: u8) -> Question {
        let request = Request::Read { table: Table::Holding, address: 0, quantity: 1 };
        Question::Modbus { framing, unit, request }
    }

    /// Total forward active energy, which each electricity meter has.
    pub(super) fn energy(edition: Edition) -> u32 {
        match edition {
            Edition::V1997 => 0x9010,
            Edition::V2007 => 0x0001_0000,
        }
    }

    /// Voltage of phase B, which a meter of one phase has not.
    pub(super) fn second_phase(edition: Edition) -> u32 {
        match edition {
            Edition::V1997 => 0xB612,
            Edition::V2007 => 0x0201_0200,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Question::Modbus { .. } => Protocol::Modbus,
            Question::Dlt645 { edition, .. } => Protocol::Dlt645(*edition),
            Question::Cjt188 { .. } => Protocol::Cjt188(cjt188::Edition::V2004),
            Question::Osdp { .. } => Protocol::Osdp,
        }
    }

    pub(super) fn is_on_socket(&self) -> bool {
        matches!(self, Question::Modbus { framing: Framing::Tcp, .. })
    }

    /// Appends the request. `tag` is the transaction, or of CJ/T 188 the serial number.
    pub(super) fn encode(&self, tag: u16, bytes: &mut Vec<u8>) {
        match self {
            Question::Modbus { framing, unit, request } => {
                let frame = RequestFrame { transaction: Some(tag), unit: *unit, request: request.clone() };
                frame.encode(*framing, bytes);
            }
            Question::Dlt645 { edition, address, di } => {
                let function = match edition {
                    Edition::V1997 => meter::function::READ_1997,
                    Edition::V2007 => meter::function::READ,
                };
                let di = di.to_le_bytes();
                meter::encode(PREAMBLE, *address, function, &[&di[..edition.di_bytes()]], bytes);
            }
            Question::Cjt188 { address, order } => {
                let to = (MeterType::ANY, *address);
                let [ser, _] = tag.to_le_bytes();
                let data: [&[u8]; 2] = [&order.wire(pipe::di::METERING), &[ser]];
                pipe::encode(PREAMBLE, to, pipe::function::READ, &data, bytes);
            }
            Question::Osdp { address, crc } => {
                let framing = reader::Framing { address: *address, sequence: 0, crc: *crc, mark: true };
                let mut data = Vec::new();
                Command::Id.encode(&mut data);
                reader::encode(framing, None, (command::code::ID, &data), |_| [0; 4], bytes);
            }
        }
    }

    /// The same kind of question to one of two addresses that nobody has: reserved ones of Modbus (Modbus over Serial Line
    /// 1.02, 2.2), the last ones of readers, and numbers that no maker gives to a meter.
    pub(super) fn control(&self, turn: u8) -> Question {
        let even = turn.is_multiple_of(2);
        match self {
            Question::Modbus { framing, .. } => Question::alive(*framing, if even { 251 } else { 253 }),
            Question::Dlt645 { edition, .. } => {
                let address = dlt645::Address::from_wire([if even { 0x98 } else { 0x97 }; 6]);
                Question::Dlt645 { edition: *edition, address, di: Question::energy(*edition) }
            }
            Question::Cjt188 { order, .. } => {
                let address = cjt188::Address::from_wire([if even { 0x98 } else { 0x97 }; 7]);
                Question::Cjt188 { address, order: *order }
            }
            Question::Osdp { address, crc } => {
                let (first, second) = if *address < 125 { (126, 125) } else { (124, 123) };
                Question::Osdp { address: if even { first } else { second }, crc: *crc }
            }
        }
    }

    /// Whether an answer, with the transaction that it has on a socket, may be one to this question with this tag.
    pub(super) fn is_answered_by(&self, tag: u16, transaction: Option<u16>, answer: &Answer) -> bool {
        match (self, answer) {
            (Question::Modbus { unit, .. }, Answer::Modbus { unit: other, .. }) => {
                unit == other && transaction.is_none_or(|transaction| transaction == tag)
            }
            (Question::Dlt645 { address, .. }, Answer::Dlt645 { address: other, .. }) => address.covers(*other),
            (Question::Cjt188 { address, .. }, Answer::Cjt188 { address: other, .. }) => address.covers(*other),
            (Question::Osdp { address, .. }, Answer::Osdp { address: other, .. }) => address == other,
            (
                Question::Modbus { .. } | Question::Dlt645 { .. } | Question::Cjt188 { .. } | Question::Osdp { .. },
                _,
            ) => false,
        }
    }

    /// The question to the one station that gave this answer.
    pub(super) fn exact(&self, answer: &Answer) -> Option<Question> {
        match (self, answer) {
            (Question::Modbus { framing, .. }, Answer::Modbus { unit, .. }) => Some(Question::alive(*framing, *unit)),
            (Question::Dlt645 { edition, .. }, Answer::Dlt645 { address, .. }) => {
                let di = Question::energy(*edition);
                Some(Question::Dlt645 { edition: *edition, address: *address, di })
            }
            (Question::Cjt188 { order, .. }, Answer::Cjt188 { address, .. }) => {
                Some(Question::Cjt188 { address: *address, order: *order })
            }
            (Question::Osdp { crc, .. }, Answer::Osdp { address, .. }) => {
                Some(Question::Osdp { address: *address, crc: *crc })
            }
            (
                Question::Modbus { .. } | Question::Dlt645 { .. } | Question::Cjt188 { .. } | Question::Osdp { .. },
                _,
            ) => None,
        }
    }

    /// The unit or reader that is asked; `None` for meters.
    pub(super) fn number(&self) -> Option<u8> {
        match self {
            Question::Modbus { unit, .. } => Some(*unit),
            Question::Osdp { address, .. } => Some(*address),
            Question::Dlt645 { .. } | Question::Cjt188 { .. } => None,
        }
    }
}

impl Answer {
    /// Whether two answers to one question are of one device: the same address, and the same kind of answer. Values may
    /// differ, as they change.
    pub(super) fn is_like(&self, other: &Answer) -> bool {
        match (self, other) {
            (Answer::Modbus { unit, .. }, Answer::Modbus { unit: unit_2, .. }) => {
                unit == unit_2 && self.is_of_kind(other)
            }
            (Answer::Dlt645 { address, .. }, Answer::Dlt645 { address: address_2, .. }) => address == address_2,
            (
                Answer::Cjt188 { meter_type, address, .. },
                Answer::Cjt188 { meter_type: type_2, address: address_2, .. },
            ) => (meter_type, address) == (type_2, address_2),
            (Answer::Osdp { .. }, Answer::Osdp { .. }) => self == other,
            (Answer::Modbus { .. } | Answer::Dlt645 { .. } | Answer::Cjt188 { .. } | Answer::Osdp { .. }, _) => false,
        }
    }

    /// Whether two answers of Modbus units are of one kind: a value, or the same exception. Busy now and then is no other
    /// kind of device.
    pub(super) fn is_of_kind(&self, other: &Answer) -> bool {
        let (Answer::Modbus { reply, .. }, Answer::Modbus { reply: reply_2, .. }) = (self, other) else { return false };
        match (reply, reply_2) {
            _ if self.is_busy() || other.is_busy() => true,
            (Reply::Exception { code, .. }, Reply::Exception { code: code_2, .. }) => code == code_2,
            (one, two) => std::mem::discriminant(one) == std::mem::discriminant(two),
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Answer::Modbus { .. } => Protocol::Modbus,
            Answer::Dlt645 { .. } => Protocol::Dlt645(Edition::V2007),
            Answer::Cjt188 { .. } => Protocol::Cjt188(cjt188::Edition::V2004),
            Answer::Osdp { .. } => Protocol::Osdp,
        }
    }

    /// True for a Modbus device that says that it is busy, which tells nothing else of it.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Answer::Modbus { reply: Reply::Exception { code: 5 | 6, .. }, .. })
    }

    /// False for the word of a gateway on the way that nobody is there: 0A or 0B by the book, and 04 of some.
    pub(super) fn is_alive(&self, question: &Question) -> bool {
        match self {
            Answer::Modbus { reply: Reply::Exception { code: 0x0A | 0x0B, .. }, .. } => false,
            Answer::Modbus { reply: Reply::Exception { code: 0x04, .. }, .. } => !question.is_on_socket(),
            Answer::Modbus { .. } | Answer::Dlt645 { .. } | Answer::Cjt188 { .. } | Answer::Osdp { .. } => true,
        }
    }

    /// Whether it is the failure of a device, with which servers that answer for their devices also say that one is not there.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Answer::Modbus { reply: Reply::Exception { code: 0x04, .. }, .. })
    }
}

/// What a reader says of itself, for people.
pub(super) fn reader_identity(identity: &Identity) -> Vec<(String, String)> {
    let [v0, v1, v2] = identity.vendor;
    let [major, minor, build] = identity.firmware;
    vec![
        ("vendor".to_owned(), format!("{v0:02x}{v1:02x}{v2:02x}")),
        ("model".to_owned(), format!("{}.{}", identity.model, identity.version)),
        ("serial".to_owned(), identity.serial.to_string()),
        ("firmware".to_owned(), format!("{major}.{minor}.{build}")),
    ]
}

/// The station of an answer, in the settings of its question.
pub(super) fn station(question: &Question, answer: &Answer) -> Station {
    match (question, answer) {
        (_, Answer::Modbus { unit, .. }) => Station::Modbus(*unit),
        (Question::Dlt645 { edition, .. }, Answer::Dlt645 { address, .. }) => Station::Dlt645(*edition, *address),
        // Only a question of the same protocol is answered so.
        (Question::Modbus { .. } | Question::Cjt188 { .. } | Question::Osdp { .. }, Answer::Dlt645 { address, .. }) => {
            Station::Dlt645(Edition::V2007, *address)
        }
        (question, Answer::Cjt188 { meter_type, address, .. }) => {
            let order = match question {
                Question::Cjt188 { order, .. } => *order,
                Question::Modbus { .. } | Question::Dlt645 { .. } | Question::Osdp { .. } => DiOrder::default(),
            };
            Station::Cjt188 { meter_type: *meter_type, address: *address, order }
        }
        (question, Answer::Osdp { address, .. }) => {
            let crc = !matches!(question, Question::Osdp { crc: false, .. });
            Station::Osdp { address: *address, crc }
        }
    }
}

/// The same question at the other parity: who ignores parity answers at the wrong one, and is garbled.
pub(super) fn other_parity(line: Characters) -> Characters {
    let parity = match line.parity {
        Parity::None => Parity::Even,
        Parity::Even | Parity::Odd => Parity::None,
    };
    Characters { parity, ..line }
}
