//! What came within the time of a question: answers, talk of others, and bytes that are nothing.

use super::question::{Answer, Question};
use crate::cjt188;
use crate::dlt645;
use crate::modbus::checksum::crc16;
use crate::modbus::frame::Framing;
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
    /// Sound answers, but to another question: late ones, or of whom somebody else asked.
    pub(super) astray: Vec<Astray>,
    /// Sound requests of somebody else.
    pub(super) foreign: Vec<Protocol>,
    /// Bytes that belong to no frame. On a socket there are none: who loses the frames of a stream is no noise on a line.
    pub(super) stray: usize,
}

/// An answer to another question than the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Astray {
    /// On a socket: of which question it is.
    pub(super) transaction: Option<u16>,
    pub(super) answer: Answer,
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

    /// True when a question to one station was garbled or answered more than once.
    pub(super) fn is_trouble(&self) -> bool {
        self.is_garbled() || self.answers.len() > 1
    }

    /// Takes what the bytes begin with; its length.
    fn take(&mut self, question: &Question, tag: u16, bytes: &[u8]) -> usize {
        if let Question::Modbus { framing: Framing::Tcp, .. } = question {
            return self.take_socket(question, tag, bytes);
        }
        let own = match question {
            Question::Modbus { .. } => own_modbus(question, tag, bytes),
            Question::Dlt645 { .. } => own_dlt645(question, bytes),
            Question::Cjt188 { .. } => own_cjt188(question, tag, bytes),
            Question::Osdp { .. } => own_osdp(question, bytes),
        };
        if let Some((answer, length)) = own {
            self.answers.push(answer);
            return length;
        }
        // A read is asked by eight bytes; what says that it answers one with three is somebody's request.
        if let Some((protocol, length)) = request_at(bytes) {
            self.foreign.push(protocol);
            return length;
        }
        if let Some((answer, length)) = answer_at(bytes) {
            self.astray.push(Astray { transaction: None, answer });
            return length;
        }
        if is_odd_answer(question, bytes) {
            return bytes.len();
        }
        // The preamble of a meter's frame is no noise.
        self.stray += usize::from(bytes.first() != Some(&dlt645::frame::PREAMBLE));
        1
    }

    /// A stream whose frames are lost is nothing more: nothing behind such bytes can be believed.
    fn take_socket(&mut self, question: &Question, tag: u16, bytes: &[u8]) -> usize {
        let Some((frame, length)) = socket_reply_at(bytes) else { return bytes.len() };
        match own_modbus(question, tag, bytes.get(..length).unwrap_or_default()) {
            Some((answer, _)) => self.answers.push(answer),
            None => {
                let answer = Answer::Modbus { unit: frame.unit, reply: frame.reply };
                self.astray.push(Astray { transaction: frame.transaction, answer });
            }
        }
        length
    }
}

fn own_modbus(question: &Question, tag: u16, bytes: &[u8]) -> Option<(Answer, usize)> {
    let Question::Modbus { framing, unit, request } = question else { return None };
    let (frame, length) = match framing {
        Framing::Tcp => socket_reply_at(bytes)?,
        Framing::Rtu | Framing::Ascii => rtu_reply_at(bytes)?,
    };
    let asked = RequestFrame { transaction: Some(tag), unit: *unit, request: request.clone() };
    if frame.unit != asked.unit || (*framing == Framing::Tcp && frame.transaction != asked.transaction) {
        return None;
    }
    let reply = decode_reply(*framing, bytes.get(..length)?, Some(&asked)).ok()?;
    Some((Answer::Modbus { unit: reply.unit, reply: reply.reply }, length))
}

fn own_dlt645(question: &Question, bytes: &[u8]) -> Option<(Answer, usize)> {
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
    let data = match expect.judge(&frame).ok()? {
        dlt645::Answer::Data { payload, .. } => Some(payload.to_vec()),
        dlt645::Answer::Refused(_) => None,
    };
    Some((Answer::Dlt645 { address: frame.address, data }, length))
}

fn own_cjt188(question: &Question, tag: u16, bytes: &[u8]) -> Option<(Answer, usize)> {
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
    let payload = match expect.judge(&frame).ok()? {
        cjt188::Answer::Data(payload) => Some(payload.len()),
        cjt188::Answer::Refused(_) => None,
    };
    Some((Answer::Cjt188 { meter_type: frame.meter_type, address: frame.address, payload }, length))
}

fn own_osdp(question: &Question, bytes: &[u8]) -> Option<(Answer, usize)> {
    let Question::Osdp { address: asked, .. } = question else { return None };
    let reader::Found::Frame { bytes: length, frame } = reader::find(bytes) else { return None };
    if !frame.from_reader || frame.address != *asked {
        return None;
    }
    let identity = match ReaderReply::decode(frame.code, frame.data) {
        Ok(ReaderReply::Id(identity)) => Some(identity),
        Ok(_) | Err(_) => None,
    };
    Some((Answer::Osdp { address: frame.address, identity }, length))
}

/// Whether the bytes to their end are a frame of the asked unit whose checksum is right and whose shape is nobody's: a
/// device with a manner of its own, which no other garbled.
fn is_odd_answer(question: &Question, bytes: &[u8]) -> bool {
    let Question::Modbus { unit, .. } = question else { return false };
    match bytes.split_last_chunk::<2>() {
        Some((body, crc)) if body.len() >= 2 && body.first() == Some(unit) => u16::from_le_bytes(*crc) == crc16(body),
        Some(_) | None => false,
    }
}

/// Where the echo of what was sent ends, which comes first where the adapter hands it back; `None`: it is not there as a whole.
pub(super) fn echo_end(sent: &[u8], bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(sent.len().max(1)).position(|window| window == sent)?;
    Some(at + sent.len())
}

/// The bytes without the echo of what was sent.
fn without_echo(sent: &[u8], bytes: &[u8]) -> Vec<u8> {
    match echo_end(sent, bytes) {
        Some(end) => [&bytes[..end - sent.len()], &bytes[end..]].concat(),
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
    match frame_at(bytes)? {
        (Sound::Request(protocol), length) => Some((protocol, length)),
        (Sound::Answer(_), _) => None,
    }
}

/// The sound answer of whatever protocol that the bytes begin with, and its length.
fn answer_at(bytes: &[u8]) -> Option<(Answer, usize)> {
    if let Some((frame, length)) = rtu_reply_at(bytes) {
        return Some((Answer::Modbus { unit: frame.unit, reply: frame.reply }, length));
    }
    match frame_at(bytes)? {
        (Sound::Request(_), _) => None,
        (Sound::Answer(answer), length) => Some((answer, length)),
    }
}

/// A sound frame of a meter or a reader.
enum Sound {
    Request(Protocol),
    Answer(Answer),
}

impl Sound {
    fn protocol(&self) -> Protocol {
        match self {
            Sound::Request(protocol) => *protocol,
            Sound::Answer(answer) => answer.protocol(),
        }
    }
}

/// The sound frame of a meter or a reader that the bytes begin with, and its length.
fn frame_at(bytes: &[u8]) -> Option<(Sound, usize)> {
    if bytes.first() == Some(&dlt645::frame::START) {
        if let Ok((frame, length)) = dlt645::Frame::read(bytes) {
            let answer = Answer::Dlt645 { address: frame.address, data: None };
            let request = Sound::Request(Protocol::Dlt645(dlt645::Edition::V2007));
            return Some((if frame.is_from_meter() { Sound::Answer(answer) } else { request }, length));
        }
        if let Ok((frame, length)) = cjt188::Frame::read(bytes) {
            let answer = Answer::Cjt188 { meter_type: frame.meter_type, address: frame.address, payload: None };
            let request = Sound::Request(Protocol::Cjt188(cjt188::Edition::V2004));
            return Some((if frame.is_from_meter() { Sound::Answer(answer) } else { request }, length));
        }
    }
    match reader::find(bytes) {
        reader::Found::Frame { bytes: length, frame } if frame.from_reader => {
            Some((Sound::Answer(Answer::Osdp { address: frame.address, identity: None }), length))
        }
        // Its check is a weak one, and noise must not look like a panel.
        reader::Found::Frame { bytes: length, frame }
            if frame.crc || (command::code::POLL..=command::code::SCRYPT).contains(&frame.code) =>
        {
            Some((Sound::Request(Protocol::Osdp), length))
        }
        reader::Found::Frame { .. } | reader::Found::Incomplete { .. } | reader::Found::Skip { .. } => None,
    }
}

/// The protocol of the first sound frame in bytes that nobody here asked for, whichever way it goes.
pub(super) fn talk(bytes: &[u8]) -> Option<Protocol> {
    (0..bytes.len()).find_map(|at| {
        let rest = &bytes[at..];
        let modbus = rtu_request_at(rest).is_some() || rtu_reply_at(rest).is_some();
        if modbus { Some(Protocol::Modbus) } else { frame_at(rest).map(|(sound, _)| sound.protocol()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::pdu::Reply;

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
        let reply = Reply::Registers { function: 3, registers: vec![9] };
        let late = Astray { transaction: None, answer: Answer::Modbus { unit: 6, reply } };
        assert_eq!((heard.astray, heard.stray), (vec![late], 0));
        let heard = Heard::read(&question, 0, &sent, &rtu(6, &[4, 0, 9, 0, 2]));
        assert_eq!((heard.foreign, heard.astray), (vec![Protocol::Modbus], vec![]));
        let mut poll = Vec::new();
        Question::Osdp { address: 3, crc: true }.encode(0, &mut poll);
        assert_eq!(Heard::read(&question, 0, &sent, &poll).foreign, [Protocol::Osdp]);
    }

    #[test]
    fn a_sound_frame_that_suits_another_question_is_no_garble() {
        let (question, sent) = asked(7);
        let meter = dlt645::Address::from_wire([1, 0, 0, 0, 0, 0]);
        let (mut power, mut water, mut reader) = (Vec::new(), Vec::new(), Vec::new());
        dlt645::encode(4, meter, 0x91, &[&[0, 0, 1, 0, 9, 9, 9, 9]], &mut power);
        let to = (cjt188::MeterType(0x10), cjt188::Address::from_wire([5, 0, 0, 0, 0, 0, 0]));
        cjt188::encode(2, to, 0x81, &[&[0x1F, 0x90, 0, 1, 2]], &mut water);
        let framing = reader::Framing { address: 0x83, sequence: 0, crc: true, mark: true };
        reader::encode(framing, None, (0x40, &[]), |_| [0; 4], &mut reader);
        // The own unit with another function, with more registers than were asked for, and with a function of its own.
        let odd = [rtu(7, &[4, 2, 0, 9]), rtu(7, &[3, 4, 0, 9, 0, 9]), rtu(7, &[0x64, 1, 2, 3])];
        for bytes in odd.into_iter().chain([power, water, reader, rtu(6, &[0x83, 2])]) {
            let heard = Heard::read(&question, 0, &sent, &bytes);
            assert!(
                heard.answers.is_empty() && heard.foreign.is_empty() && heard.stray == 0,
                "{bytes:02X?}: {heard:?}"
            );
        }
        let mut broken = rtu(7, &[3, 2, 0, 9]);
        broken[3] ^= 1;
        assert!(Heard::read(&question, 0, &sent, &broken).is_garbled());
    }

    #[test]
    fn a_stream_that_lost_its_frames_is_no_garble() {
        let question = Question::alive(Framing::Tcp, 7);
        let mut sent = Vec::new();
        question.encode(5, &mut sent);
        assert_eq!(Heard::read(&question, 5, &sent, b"HTTP/1.1 400 Bad Request\r\n\r\n"), Heard::default());
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
