//! What others say on a line, cut into frames: for the one who only listens.
//!
//! Nobody here has asked, so that nothing tells how long an answer will be. A frame is what is sound as a whole in one of
//! the languages of the line; what is not sound by the next pause is noise. [`Listener`] is a machine: give it the bytes
//! as they come with [`Listener::handle_bytes`], tell it of pauses with [`Listener::handle_pause`], and take the frames
//! with [`Listener::poll_frame`] after each.

use std::collections::VecDeque;

use crate::dissect::{self, Language};
use crate::modbus::{self, Framing, RequestFrame};
use crate::{cjt188, dlt645, osdp};

/// Most bytes that may become a frame: one of the longest of any protocol.
const PENDING_MAX: usize = osdp::frame::MAX_LENGTH as usize + 8;

/// Who a frame is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// A master asks.
    Master,
    /// A device answers.
    Device,
    /// Nobody: the bytes are no frame.
    Nobody,
}

/// A frame that somebody sent, or noise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What it is written in; `None` for noise.
    pub language: Option<Language>,
    /// Who it is from.
    pub from: From,
    /// It holds a password, a key, a card or what was typed, or may: nobody is to see it.
    pub is_secret: bool,
}

/// Cuts what comes into frames.
#[derive(Debug)]
pub struct Listener {
    languages: Vec<Language>,
    /// Units of Modbus whose registers show who was at a reader.
    personal: Vec<u8>,
    pending: Vec<u8>,
    frames: VecDeque<Heard>,
    /// The request of Modbus that was heard last and is not answered.
    asked: Option<RequestFrame>,
}

impl Listener {
    /// Listens to a line on which these languages are spoken.
    pub fn new(languages: Vec<Language>) -> Self {
        Listener { languages, personal: Vec::new(), pending: Vec::new(), frames: VecDeque::new(), asked: None }
    }

    /// The same line, on which the registers of these units of Modbus show who was at a reader.
    #[must_use]
    pub fn with_personal(mut self, units: Vec<u8>) -> Self {
        self.personal = units;
        self
    }

    /// Bytes came.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PENDING_MAX / 2) {
            if self.pending.len() + piece.len() > PENDING_MAX {
                self.handle_pause();
            }
            self.pending.extend_from_slice(piece);
            self.take_frames();
        }
    }

    /// Nothing came for so long that the next byte begins something else.
    pub fn handle_pause(&mut self) {
        while !self.pending.is_empty() {
            // A frame may stand behind noise, which can begin like a frame as well.
            let found =
                (1..self.pending.len()).find(|at| self.sound(self.pending.get(*at..).unwrap_or_default()).is_some());
            let noise: Vec<u8> = self.pending.drain(..found.unwrap_or(self.pending.len())).collect();
            self.tell(noise, None, From::Nobody);
            self.take_frames();
        }
    }

    /// The next frame.
    pub fn poll_frame(&mut self) -> Option<Heard> {
        self.frames.pop_front()
    }

    fn take_frames(&mut self) {
        while let Some((length, language, from)) = self.sound(&self.pending) {
            let bytes: Vec<u8> = self.pending.drain(..length).collect();
            if let Language::Modbus(framing) = language {
                self.asked = match from {
                    From::Master => modbus::decode_request(framing, &bytes).ok(),
                    From::Device | From::Nobody => None,
                };
            }
            self.tell(bytes, Some(language), from);
        }
    }

    fn tell(&mut self, bytes: Vec<u8>, language: Option<Language>, from: From) {
        let in_any = || self.languages.iter().any(|language| dissect::is_secret(*language, &bytes));
        // Noise may be a frame that lost its beginning or its end.
        let is_secret = language.map_or_else(in_any, |language| dissect::is_secret(language, &bytes));
        let is_secret = is_secret || self.is_personal(language, from, &bytes);
        self.frames.push_back(Heard { bytes, language, from, is_secret });
    }

    /// Whether a frame has values of registers that show who was at a reader; noise may be a part of one.
    fn is_personal(&self, language: Option<Language>, from: From, bytes: &[u8]) -> bool {
        match language {
            Some(Language::Modbus(framing)) => {
                modbus::conceal::holds_values(framing, from == From::Master, &self.personal, bytes)
            }
            Some(Language::Dlt645(_) | Language::Cjt188(_) | Language::Osdp | Language::Uhppote) => false,
            None => !self.personal.is_empty(),
        }
    }

    /// The sound frame that begins with the first byte: its length, what it is written in and who it is from.
    fn sound(&self, bytes: &[u8]) -> Option<(usize, Language, From)> {
        self.languages.iter().find_map(|language| {
            let (length, from) = match *language {
                Language::Modbus(framing) => self.modbus(framing, bytes),
                Language::Dlt645(_) => {
                    let preamble = bytes.iter().take_while(|byte| **byte == dlt645::frame::PREAMBLE).count();
                    let rest = bytes.get(preamble..).filter(|rest| rest.first() == Some(&dlt645::frame::START))?;
                    let (frame, length) = dlt645::Frame::read(rest).ok()?;
                    Some((preamble + length, side(frame.is_from_meter())))
                }
                Language::Cjt188(_) => {
                    let preamble = bytes.iter().take_while(|byte| **byte == cjt188::frame::PREAMBLE).count();
                    let rest = bytes.get(preamble..).filter(|rest| rest.first() == Some(&cjt188::frame::START))?;
                    let (frame, length) = cjt188::Frame::read(rest).ok()?;
                    Some((preamble + length, side(frame.is_from_meter())))
                }
                Language::Osdp => match osdp::frame::find(bytes) {
                    osdp::frame::Found::Frame { bytes, frame } => Some((bytes, side(frame.from_reader))),
                    osdp::frame::Found::Incomplete { .. } | osdp::frame::Found::Skip { .. } => None,
                },
                // A datagram is heard by those alone to whom it is sent.
                Language::Uhppote => None,
            }?;
            Some((length, *language, from))
        })
    }

    /// A frame of Modbus. The echo of a write looks like the write: it is the answer where the write was heard before.
    fn modbus(&self, framing: Framing, bytes: &[u8]) -> Option<(usize, From)> {
        let lengths = match framing {
            Framing::Rtu => rtu_lengths(bytes),
            Framing::Ascii => [bytes.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2); 8],
            Framing::Tcp => {
                let head = bytes.get(4..6).and_then(|length| length.first_chunk::<2>());
                [head.map_or(0, |length| 6 + usize::from(u16::from_be_bytes(*length))); 8]
            }
        };
        lengths.into_iter().find_map(|length| {
            let frame = bytes.get(..length).filter(|frame| !frame.is_empty())?;
            let answers = |asked: &RequestFrame| modbus::decode_reply(framing, frame, Some(asked)).is_ok();
            if self.asked.as_ref().is_some_and(answers) {
                return Some((length, From::Device));
            }
            if modbus::decode_request(framing, frame).is_ok() {
                return Some((length, From::Master));
            }
            modbus::decode_reply(framing, frame, None).is_ok().then_some((length, From::Device))
        })
    }
}

/// How long a frame of Modbus RTU that begins so can be: those that are always alike, those that say how many bytes of
/// data follow, and, for the rest, all that there is.
fn rtu_lengths(bytes: &[u8]) -> [usize; 8] {
    let counted = |around: usize, at: usize| bytes.get(at).map_or(0, |count| around + usize::from(*count));
    [5, 7, 8, 10, counted(5, 2), counted(9, 6), counted(13, 10), bytes.len()]
}

fn side(from_device: bool) -> From {
    if from_device { From::Device } else { From::Master }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlt645::{Address, Edition, encode};

    const RTU: Language = Language::Modbus(Framing::Rtu);

    fn heard(listener: &mut Listener) -> Vec<(From, usize)> {
        std::iter::from_fn(|| listener.poll_frame()).map(|heard| (heard.from, heard.bytes.len())).collect()
    }

    fn rtu(pdu: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Framing::Rtu.encode(0, 1, pdu, &mut bytes);
        bytes
    }

    #[test]
    fn questions_and_answers_are_told_apart_byte_by_byte() {
        let mut listener = Listener::new(vec![RTU, Language::Dlt645(Edition::V2007)]);
        let mut bytes = [rtu(&[3, 0, 0, 0, 2]), rtu(&[3, 4, 0, 1, 0, 2])].concat();
        let address = Address::parse("000000001234").unwrap();
        encode(4, address, 0x11, &[&[0, 0, 1, 0]], &mut bytes);
        encode(1, address, 0x91, &[&[0, 0, 1, 0], &[1, 2, 3, 4]], &mut bytes);
        bytes.iter().for_each(|byte| listener.handle_bytes(&[*byte]));
        let expected = [(From::Master, 8), (From::Device, 9), (From::Master, 20), (From::Device, 21)];
        assert_eq!(heard(&mut listener), expected);
    }

    #[test]
    fn the_echo_of_a_write_is_its_answer_and_the_same_again_is_a_new_write() {
        let mut listener = Listener::new(vec![RTU]);
        let write = rtu(&[6, 0, 1, 0, 9]);
        for _ in 0..4 {
            listener.handle_bytes(&write);
        }
        let sides: Vec<From> = heard(&mut listener).into_iter().map(|heard| heard.0).collect();
        assert_eq!(sides, [From::Master, From::Device, From::Master, From::Device]);
    }

    #[test]
    fn noise_is_told_at_the_next_pause_and_the_frame_behind_it_as_well() {
        let mut listener = Listener::new(vec![RTU]);
        listener.handle_bytes(&[&[0xFF, 0x00][..], &rtu(&[3, 0, 0, 0, 2])].concat());
        assert_eq!(heard(&mut listener), []);
        listener.handle_pause();
        assert_eq!(heard(&mut listener), [(From::Nobody, 2), (From::Master, 8)]);
        listener.handle_pause();
        assert_eq!(heard(&mut listener), []);
    }

    #[test]
    fn a_password_is_known_as_one_also_where_its_frame_is_cut_off() {
        let mut listener = Listener::new(vec![Language::Dlt645(Edition::V2007)]);
        let mut bytes = Vec::new();
        encode(0, Address::parse("000000001234").unwrap(), 0x1C, &[&[2, 0x56, 0x34, 0x12]], &mut bytes);
        listener.handle_bytes(&bytes);
        listener.handle_bytes(&bytes[..14]);
        listener.handle_pause();
        let told: Vec<(From, bool)> =
            std::iter::from_fn(|| listener.poll_frame()).map(|heard| (heard.from, heard.is_secret)).collect();
        assert_eq!(told, [(From::Master, true), (From::Nobody, true)]);
    }

    #[test]
    fn values_of_a_unit_whose_registers_are_personal_are_secret_also_in_pieces_and_its_questions_are_not() {
        let mut listener = Listener::new(vec![RTU]).with_personal(vec![1]);
        let (asked, answer) = (rtu(&[3, 0, 0, 0, 2]), rtu(&[3, 4, 0xBE, 0xEF, 0, 2]));
        listener.handle_bytes(&[&asked[..], &answer].concat());
        listener.handle_bytes(&answer[..6]);
        listener.handle_pause();
        let mut other = Vec::new();
        Framing::Rtu.encode(0, 2, &[3, 2, 0, 7], &mut other);
        listener.handle_bytes(&other);
        let told: Vec<bool> = std::iter::from_fn(|| listener.poll_frame()).map(|heard| heard.is_secret).collect();
        assert_eq!(told, [false, true, true, false]);
    }

    #[test]
    fn whatever_comes_all_of_it_is_told_once() {
        let mut rng = fastrand::Rng::with_seed(6);
        let languages =
            [RTU, Language::Dlt645(Edition::V1997), Language::Cjt188(cjt188::Traits::default()), Language::Osdp];
        for round in 0..60 {
            let mut listener = Listener::new(languages.to_vec());
            let mut sent = Vec::new();
            for _ in 0..rng.usize(..8) {
                let piece: Vec<u8> = match round % 3 {
                    0 => (0..rng.usize(..400)).map(|_| rng.choice([0x68, 0xFE, 0x53, 0x16, 0, 1]).unwrap()).collect(),
                    1 => rtu(&[3, 0, 0, 0, rng.u8(1..9)]),
                    _ => (0..rng.usize(..40)).map(|_| rng.u8(..)).collect(),
                };
                listener.handle_bytes(&piece);
                sent.extend(piece);
            }
            listener.handle_pause();
            let told: Vec<u8> = std::iter::from_fn(|| listener.poll_frame()).flat_map(|heard| heard.bytes).collect();
            assert_eq!(told, sent);
        }
    }
}
