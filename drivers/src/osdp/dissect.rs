//! Frames taken apart for people. What is sealed stays so, and no key is told.

use super::command::code as command;
use super::frame::{Block, Found, Frame, HEAD, MAC, MARK, find};
use super::reply::{CardBits, Reply, code, nak_meaning};
use crate::dissect::{Field, hex};

/// The fields of a frame. Where it is no sound frame, the last one says so.
pub(crate) fn fields(bytes: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let (taken, frame) = match find(bytes) {
        Found::Frame { bytes, frame } => (bytes, frame),
        Found::Incomplete { missing } => {
            fields.push(Field::new(0..bytes.len(), "cut off", format!("{missing} bytes or more are missing")));
            return fields;
        }
        Found::Skip { why, .. } => {
            fields.push(Field::new(0..bytes.len(), "no frame", why.to_string()));
            return fields;
        }
    };
    let marks = bytes.iter().take_while(|byte| **byte == MARK).count();
    if marks > 0 {
        fields.push(Field::new(0..marks, "mark", format!("{marks} × FF")));
    }
    let from = if frame.from_reader { ", from the reader" } else { "" };
    fields.push(Field::new(marks + 1..marks + 2, "address", format!("{}{from}", frame.address)));
    fields.push(Field::new(marks + 2..marks + 4, "length", (taken - marks).to_string()));
    fields.push(Field::new(marks + 4..marks + HEAD, "sequence", frame.sequence.to_string()));
    let mut at = marks + HEAD;
    if let Some(block) = &frame.block {
        let end = at + 2 + block.data.len();
        fields.push(Field::new(at..end, "security block", block_text(block)));
        at = end;
    }
    fields.push(Field::new(at..at + 1, "code", code_text(&frame)));
    at += 1;
    if !frame.data.is_empty() {
        let end = at + frame.data.len();
        fields.push(Field::new(at..end, "data", data_text(&frame)));
        at = end;
    }
    if let Some(mac) = frame.mac {
        fields.push(Field::new(at..at + MAC, "MAC", hex(&mac)));
        at += MAC;
    }
    let name = if frame.crc { "CRC" } else { "checksum" };
    fields.push(Field::new(at..taken, name, format!("{}, right", hex(bytes.get(at..taken).unwrap_or_default()))));
    if bytes.len() > taken {
        fields.push(Field::new(taken..bytes.len(), "left over", hex(bytes.get(taken..).unwrap_or_default())));
    }
    fields
}

fn block_text(block: &Block<'_>) -> String {
    let name = match block.kind {
        0x11 => "challenge",
        0x12 => "cryptogram of the reader",
        0x13 => "cryptogram of the panel",
        0x14 => "first MAC",
        0x15 | 0x16 => "signed",
        0x17 | 0x18 => "signed and sealed",
        _ => "not known here",
    };
    let key = match (block.kind, block.data) {
        (0x11..=0x14, [0]) => ", with the key that everybody knows",
        (0x11..=0x14, [1]) => ", with the reader's own key",
        _ => "",
    };
    format!("{:02X} {name}{key}", block.kind)
}

fn code_text(frame: &Frame<'_>) -> String {
    let name = match (frame.from_reader, frame.code) {
        (true, code::ACK) => "ACK",
        (true, code::NAK) => "NAK",
        (true, code::PDID) => "PDID",
        (true, code::PDCAP) => "PDCAP",
        (true, code::LSTATR) => "LSTATR",
        (true, code::ISTATR) => "ISTATR",
        (true, code::OSTATR) => "OSTATR",
        (true, code::RSTATR) => "RSTATR",
        (true, code::RAW) => "RAW",
        (true, code::FMT) => "FMT",
        (true, code::KEYPAD) => "KEYPAD",
        (true, code::COM) => "COM",
        (true, code::CCRYPT) => "CCRYPT",
        (true, code::RMAC_I) => "RMAC_I",
        (true, code::BUSY) => "BUSY",
        (false, command::POLL) => "POLL",
        (false, command::ID) => "ID",
        (false, command::CAP) => "CAP",
        (false, command::LSTAT) => "LSTAT",
        (false, command::ISTAT) => "ISTAT",
        (false, command::OSTAT) => "OSTAT",
        (false, command::RSTAT) => "RSTAT",
        (false, command::OUT) => "OUT",
        (false, command::LED) => "LED",
        (false, command::BUZ) => "BUZ",
        (false, command::TEXT) => "TEXT",
        (false, command::COMSET) => "COMSET",
        (false, command::KEYSET) => "KEYSET",
        (false, command::CHLNG) => "CHLNG",
        (false, command::SCRYPT) => "SCRYPT",
        _ => "not known here",
    };
    format!("{:02X} {name}", frame.code)
}

fn data_text(frame: &Frame<'_>) -> String {
    let Frame { code, data, .. } = *frame;
    if frame.block.is_some_and(|block| block.is_sealed()) {
        return format!("{} bytes, sealed", data.len());
    }
    if holds_key(frame) {
        return format!("{} bytes, a key that is not told", data.len());
    }
    let reply = frame.from_reader.then(|| Reply::decode(code, data).ok()).flatten();
    match reply {
        Some(Reply::Nak(code)) => format!("{code}, {}", nak_meaning(code)),
        Some(Reply::Local { tamper, power }) => format!("tamper {tamper}, power {power}"),
        Some(Reply::Card(CardBits { reader, format, count, .. })) => {
            format!("a card of {count} bits, format {format}, reader {reader}")
        }
        Some(Reply::FormattedCard { text, .. }) => format!("a card of {} characters", text.len()),
        Some(Reply::Keypad { keys, .. }) => format!("{} keys", keys.len()),
        Some(Reply::Communication { address, baud }) => format!("address {address}, {baud} bit/s"),
        Some(Reply::Capabilities(rows)) => format!("{} capabilities: {}", rows.len(), hex(data)),
        Some(
            Reply::Ack
            | Reply::Id(_)
            | Reply::Inputs(_)
            | Reply::Outputs(_)
            | Reply::Readers(_)
            | Reply::ClientCryptogram { .. }
            | Reply::InitialMac(_)
            | Reply::Busy
            | Reply::Other { .. },
        )
        | None => hex(data),
    }
}

/// Whether a frame carries a key. Sealed it is one to whoever has the key before, which everybody has of a new reader.
fn holds_key(frame: &Frame<'_>) -> bool {
    !frame.from_reader && frame.code == command::KEYSET
}

/// Whether a frame tells of a card or of keys that were pressed, not sealed.
fn is_personal(frame: &Frame<'_>) -> bool {
    let sealed = frame.block.is_some_and(|block| block.is_sealed());
    frame.from_reader && matches!(frame.code, code::RAW | code::FMT | code::KEYPAD) && !sealed
}

/// Whether there is a key in the bytes, or not sealed a card or what was typed. What is no sound frame may be a part of
/// one.
pub(crate) fn is_secret(bytes: &[u8]) -> bool {
    match find(bytes) {
        Found::Frame { frame, .. } => holds_key(&frame) || is_personal(&frame),
        Found::Incomplete { .. } | Found::Skip { .. } => !bytes.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::told_in_order;
    use crate::osdp::frame::{Framing, encode};

    fn frame(address: u8, block: Option<Block<'_>>, code: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let framing = Framing { address, sequence: 2, crc: true, mark: true };
        encode(framing, block, (code, data), |_| [1, 2, 3, 4], &mut bytes);
        bytes
    }

    fn told(bytes: &[u8]) -> String {
        told_in_order(&fields(bytes), bytes)
    }

    // libosdp's ID command, from the vectors.
    #[test]
    fn a_command_is_told_with_its_name_and_check() {
        let id = [0x53, 0x00, 0x09, 0x00, 0x04, 0x61, 0x00, 0xC0, 0x66];
        assert_eq!(told(&id), "address 0; length 9; sequence 0; code 61 ID; data 00; CRC c0 66, right");
        assert_eq!(told(&id[..7]), "cut off 2 bytes or more are missing");
        assert_eq!(told(&[7, 7]), "no frame no frame begins in the bytes");
    }

    #[test]
    fn what_is_sealed_is_told_by_its_length_and_what_is_clear_in_words() {
        let block = Some(Block { kind: 0x18, data: &[] });
        let sealed = told(&frame(0x85, block, 0x50, &[0xAA; 16]));
        assert!(sealed.starts_with("mark 1 × FF; address 5, from the reader; length 30; sequence 2; "), "{sealed}");
        assert!(
            sealed.contains(
                "security block 18 signed and sealed; code 50 RAW; data 16 bytes, sealed; MAC 01 02 03 04; CRC"
            )
        );
        let nak = told(&frame(0x85, None, 0x41, &[4]));
        assert!(nak.contains("code 41 NAK; data 4, sequence error;"), "{nak}");
        let card = told(&frame(0x85, None, 0x50, &[0, 1, 26, 0, 1, 2, 3, 4]));
        assert!(card.contains("data a card of 26 bits, format 1, reader 0;"), "{card}");
    }

    #[test]
    fn a_key_is_never_told_in_the_clear_nor_sealed() {
        let clear = frame(5, None, 0x75, &[&[1, 16][..], &[0x77; 16]].concat());
        let sealed = frame(5, Some(Block { kind: 0x17, data: &[] }), 0x75, &[0x77; 32]);
        for bytes in [clear, sealed] {
            assert!(is_secret(&bytes) && !told(&bytes).contains("77"), "{}", told(&bytes));
        }
    }

    #[test]
    fn a_card_and_what_is_typed_are_secret_in_the_clear_and_in_pieces() {
        for data in [&[0, 1, 26, 0, 1, 2, 3, 4][..], &[0, 0, 1, 65], &[0, 1, 65]] {
            for code in [0x50, 0x51, 0x53] {
                let whole = frame(0x85, None, code, data);
                assert!(is_secret(&whole) && is_secret(&whole[..whole.len() - 1]) && is_secret(&whole[3..]));
                assert!(!is_secret(&frame(0x85, Some(Block { kind: 0x18, data: &[] }), code, &[7; 16])));
                assert!(!is_secret(&frame(5, None, code, data)), "a command of that number");
            }
        }
        assert!(!is_secret(&frame(0x85, None, 0x40, &[])), "an acknowledgement");
    }

    #[test]
    fn what_is_concealed_of_a_card_is_told_to_be_so_and_the_rest_is_taken_apart() {
        let mut bytes = frame(0x85, None, 0x50, &[0, 1, 26, 0, 0xBD, 0xD9, 0x37, 0x40]);
        let concealed = super::super::conceal::conceal(5, &mut bytes).unwrap();
        let fields = crate::dissect::concealed_fields(crate::dissect::Language::Osdp, false, &bytes, &concealed);
        let text = told_in_order(&fields, &bytes);
        let expected = "code 50 RAW; data a card of 26 bits, format 1, reader 0, concealed; CRC concealed";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics_and_fields_are_in_order() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let data: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
            let block = rng.bool().then(|| Block { kind: rng.u8(0x10..0x1A), data: &[] });
            let mut bytes = frame(rng.u8(..), block, rng.u8(..), &data);
            bytes.truncate(rng.usize(..2 * bytes.len()));
            told(&bytes);
        }
    }
}
