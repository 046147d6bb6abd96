//! What came within the time of a question: answers, talk of others, and bytes that are nothing.

use super::question::{Answer, Question};
use crate::cjt188;
use crate::dlt645;
use crate::modbus::frame::Framing;
use crate::modbus::pdu::Reply;
use crate::modbus::{ReplyFrame, RequestFrame, decode_reply, rtu_reply_at, rtu_request_at};
use crate::osdp::command;
use crate::osdp::frame::{self as reader};
use crate::osdp::reply::Reply as ReaderReply;
use crate::point::Protocol;

/// Glitches that adapters put before or behind a frame.
pub(super) const GLITCH: usize = 3;

/// What the bytes after a question were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Sound answers to the question, in their order.
    pub(super) answers: Vec<Answer>,
    /// Units that answered though another was asked: late, or asked by somebody else.
    pub(super) late: Vec<u8>,
    /// Sound requests of somebody else.
    pub(super) foreign: Vec<Protocol>,
    /// Bytes that belong to no frame.
    pub(super) stray: usize,
}

impl Heard {
    /// Reads `bytes`, which came after the question was sent as `sent`.
    pub(super) fn read(question: &Question, tag: u16, sent: &[u8], bytes: &[u8]) -> Heard {
        let bytes = without_echo(sent, bytes);
        let mut heard = Heard::default();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let taken = heard.take(question, tag, rest);
            rest = rest.get(taken.max(1)..).unwrap_or_default();
        }
        heard
    }

    /// True when bytes came that are no frame, more than a glitch.
    pub(super) fn is_garbled(&self) -> bool {
        self.stray > GLITCH
    }

    /// Takes what the bytes begin with; its length.
    fn take(&mut self, question: &Question, tag: u16, bytes: &[u8]) -> usize {
        let found = match question {
            Question::Modbus { framing, unit, request } => {
                let asked = RequestFrame { transaction: Some(tag), unit: *unit, request: request.clone() };
                self.take_modbus(*framing, &asked, bytes)
            }
            Question::Dlt645 { .. } => self.take_dlt645(question, bytes),
            Question::Cjt188 { .. } => self.take_cjt188(question, tag, bytes),
            Question::Osdp { address, .. } => self.take_osdp(*address, bytes),
        };
        if let Some(length) = found {
            return length;
        }
        if !question.is_on_socket()
            && let Some((protocol, length)) = request_at(bytes)
        {
            self.foreign.push(protocol);
            return length;
        }
        // The preamble of a meter's frame is no noise.
        self.stray += usize::from(bytes.first() != Some(&dlt645::frame::PREAMBLE));
        1
    }

    fn take_modbus(&mut self, framing: Framing, asked: &RequestFrame, bytes: &[u8]) -> Option<usize> {
        let (frame, length) = match framing {
            Framing::Tcp => socket_reply_at(bytes)?,
            Framing::Rtu | Framing::Ascii => rtu_reply_at(bytes)?,
        };
        if frame.unit != asked.unit || (framing == Framing::Tcp && frame.transaction != asked.transaction) {
            // A read is asked by eight bytes; what says that it answers one with three is somebody's request.
            if framing == Framing::Rtu && rtu_request_at(bytes).is_some_and(|(_, request)| request == length) {
                return None;
            }
            if !matches!(frame.reply, Reply::Exception { code: 0x0A | 0x0B, .. }) {
                self.late.push(frame.unit);
            }
            return Some(length);
        }
        let reply = decode_reply(framing, bytes.get(..length)?, Some(asked)).ok()?;
        self.answers.push(Answer::Modbus { unit: reply.unit, reply: reply.reply });
        Some(length)
    }

    fn take_dlt645(&mut self, question: &Question, bytes: &[u8]) -> Option<usize> {
        let Question::Dlt645 { edition, address, di } = question else { return None };
        if bytes.first() != Some(&dlt645::frame::START) {
            return None;
        }
        let (frame, length) = dlt645::Frame::read(bytes).ok()?;
        let function = match edition {
            dlt645::Edition::V1997 => dlt645::frame::function::READ_1997,
            dlt645::Edition::V2007 => dlt645::frame::function::READ,
        };
        let expect = dlt645::Expect { address: *address, edition: *edition, function, di: Some(*di), sequence: None };
        let data = match expect.judge(&frame) {
            Ok(dlt645::Answer::Data { payload, .. }) => Some(payload.to_vec()),
            Ok(dlt645::Answer::Refused(_)) => None,
            Err(_) => return frame.is_from_meter().then_some(length),
        };
        self.answers.push(Answer::Dlt645 { address: frame.address, data });
        Some(length)
    }

    fn take_cjt188(&mut self, question: &Question, tag: u16, bytes: &[u8]) -> Option<usize> {
        let Question::Cjt188 { address, order } = question else { return None };
        if bytes.first() != Some(&cjt188::frame::START) {
            return None;
        }
        let (frame, length) = cjt188::Frame::read(bytes).ok()?;
        let [ser, _] = tag.to_le_bytes();
        let expect = cjt188::Expect {
            meter_type: cjt188::MeterType::ANY,
            address: *address,
            function: cjt188::frame::function::READ,
            di: order.wire(cjt188::frame::di::METERING),
            ser,
        };
        let payload = match expect.judge(&frame) {
            Ok(cjt188::Answer::Data(payload)) => Some(payload.len()),
            Ok(cjt188::Answer::Refused(_)) => None,
            Err(_) => return frame.is_from_meter().then_some(length),
        };
        self.answers.push(Answer::Cjt188 { meter_type: frame.meter_type, address: frame.address, payload });
        Some(length)
    }

    fn take_osdp(&mut self, asked: u8, bytes: &[u8]) -> Option<usize> {
        let reader::Found::Frame { bytes: length, frame } = reader::find(bytes) else { return None };
        if !frame.from_reader || frame.address != asked {
            return frame.from_reader.then_some(length);
        }
        let identity = match ReaderReply::decode(frame.code, frame.data) {
            Ok(ReaderReply::Id(identity)) => Some(identity),
            Ok(_) | Err(_) => None,
        };
        self.answers.push(Answer::Osdp { address: frame.address, identity });
        Some(length)
    }
}

/// The bytes without the echo of what was sent, which comes first where the adapter hands it back.
fn without_echo(sent: &[u8], bytes: &[u8]) -> Vec<u8> {
    let at = bytes.windows(sent.len().max(1)).position(|window| window == sent);
    match at {
        Some(at) => [&bytes[..at], &bytes[at + sent.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

/// The whole frame of Modbus TCP at the beginning of the bytes.
fn socket_reply_at(bytes: &[u8]) -> Option<(ReplyFrame, usize)> {
    let length = 6 + usize::from(u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]));
    Some((decode_reply(Framing::Tcp, bytes.get(..length)?, None).ok()?, length))
}

/// The sound request of whatever protocol that the bytes begin with, and its length.
fn request_at(bytes: &[u8]) -> Option<(Protocol, usize)> {
    if let Some((_, length)) = rtu_request_at(bytes) {
        return Some((Protocol::Modbus, length));
    }
    frame_at(bytes).filter(|(_, _, is_request)| *is_request).map(|(protocol, length, _)| (protocol, length))
}

/// The sound frame of a meter or a reader that the bytes begin with, its length, and whether it asks.
fn frame_at(bytes: &[u8]) -> Option<(Protocol, usize, bool)> {
    if bytes.first() == Some(&dlt645::frame::START) {
        if let Ok((frame, length)) = dlt645::Frame::read(bytes) {
            return Some((Protocol::Dlt645(dlt645::Edition::V2007), length, !frame.is_from_meter()));
        }
        if let Ok((frame, length)) = cjt188::Frame::read(bytes) {
            return Some((Protocol::Cjt188(cjt188::Edition::V2004), length, !frame.is_from_meter()));
        }
    }
    match reader::find(bytes) {
        // Its check is a weak one, and noise must not look like a panel.
        reader::Found::Frame { bytes: length, frame }
            if frame.crc
                || frame.from_reader
                || (command::code::POLL..=command::code::SCRYPT).contains(&frame.code) =>
        {
            Some((Protocol::Osdp, length, !frame.from_reader))
        }
        reader::Found::Frame { .. } | reader::Found::Incomplete { .. } | reader::Found::Skip { .. } => None,
    }
}

/// The protocol of the first sound frame in bytes that nobody here asked for, whichever way it goes.
pub(super) fn talk(bytes: &[u8]) -> Option<Protocol> {
    (0..bytes.len()).find_map(|at| {
        let rest = &bytes[at..];
        let modbus = rtu_request_at(rest).is_some() || rtu_reply_at(rest).is_some();
        if modbus { Some(Protocol::Modbus) } else { frame_at(rest).map(|(protocol, ..)| protocol) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(unit: u8) -> (Question, Vec<u8>) {
        let question = Question::alive(Framing::Rtu, unit);
        let mut sent = Vec::new();
        question.encode(0, &mut sent);
        (question, sent)
    }

    fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Framing::Rtu.encode(0, unit, pdu, &mut bytes);
        bytes
    }

    #[test]
    fn an_answer_is_found_behind_the_echo_and_a_glitch() {
        let (question, sent) = asked(7);
        let bytes = [&sent[..], &[0x00], &rtu(7, &[3, 2, 0, 9])].concat();
        let heard = Heard::read(&question, 0, &sent, &bytes);
        let registers = Reply::Registers { function: 3, registers: vec![9] };
        assert_eq!(heard.answers, [Answer::Modbus { unit: 7, reply: registers }]);
        assert!(!heard.is_garbled() && heard.foreign.is_empty(), "{heard:?}");
    }

    #[test]
    fn two_answers_are_two_and_a_broken_one_is_garbled() {
        let (question, sent) = asked(7);
        let (one, two) = (rtu(7, &[0x83, 2]), rtu(7, &[3, 2, 0, 9]));
        assert_eq!(Heard::read(&question, 0, &sent, &[one.clone(), two].concat()).answers.len(), 2);
        let broken = [&one[..2], &[0x55], &one[..]].concat();
        let heard = Heard::read(&question, 0, &sent, &[&broken[..6], &[1, 2]].concat());
        assert!(heard.answers.is_empty() && heard.is_garbled(), "{heard:?}");
    }

    #[test]
    fn the_answer_of_another_unit_is_late_and_the_request_of_another_is_foreign() {
        let (question, sent) = asked(7);
        let heard = Heard::read(&question, 0, &sent, &rtu(6, &[3, 2, 0, 9]));
        assert_eq!((heard.late, heard.stray), (vec![6], 0));
        let heard = Heard::read(&question, 0, &sent, &rtu(6, &[4, 0, 9, 0, 2]));
        assert_eq!((heard.foreign, heard.late), (vec![Protocol::Modbus], vec![]));
        let mut poll = Vec::new();
        Question::Osdp { address: 3, crc: true }.encode(0, &mut poll);
        assert_eq!(Heard::read(&question, 0, &sent, &poll).foreign, [Protocol::Osdp]);
    }

    #[test]
    fn talk_of_each_protocol_is_known_and_noise_is_not() {
        let any = dlt645::Address::ANY;
        let edition = dlt645::Edition::V2007;
        let questions = [
            (Question::alive(Framing::Rtu, 9), Protocol::Modbus),
            (Question::Dlt645 { edition, address: any, di: 0x0001_0000 }, Protocol::Dlt645(edition)),
            (
                Question::Cjt188 { address: cjt188::Address::ANY, order: cjt188::DiOrder::LowFirst },
                Protocol::Cjt188(cjt188::Edition::V2004),
            ),
            (Question::Osdp { address: 1, crc: true }, Protocol::Osdp),
        ];
        for (question, protocol) in questions {
            let mut bytes = vec![0x00, 0x91];
            question.encode(5, &mut bytes);
            assert_eq!(talk(&bytes), Some(protocol), "{question:?}");
        }
        let mut rng = fastrand::Rng::with_seed(11);
        let noise: Vec<u8> = (0..4000).map(|_| rng.u8(..)).collect();
        assert_eq!(noise.chunks(256).filter_map(talk).count(), 0);
    }

    #[test]
    fn no_bytes_stop_the_reader() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (question, sent) = asked(1);
        for _ in 0..2000 {
            let bytes: Vec<u8> =
                (0..rng.usize(..60)).map(|_| rng.choice([0x68, 0x53, 0xFF, 1, 3, 2, 0]).unwrap()).collect();
            let _ = (Heard::read(&question, 0, &sent, &bytes), talk(&bytes));
        }
    }
}
