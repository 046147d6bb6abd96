//! Frames taken apart for people.

use super::checksum::{crc16, lrc};
use super::frame::{Framing, MBAP, hex_value};
use super::pdu::function;
use crate::dissect::{Field, hex};

/// The fields of a frame. Where it is no sound frame, the last one says so.
pub(crate) fn fields(framing: Framing, is_request: bool, bytes: &[u8]) -> Vec<Field> {
    match framing {
        Framing::Rtu => rtu(is_request, bytes),
        Framing::Ascii => ascii(is_request, bytes),
        Framing::Tcp => tcp(is_request, bytes),
    }
}

fn rtu(is_request: bool, bytes: &[u8]) -> Vec<Field> {
    let Some((body, &[low, high])) = bytes.split_last_chunk::<2>().filter(|(body, _)| body.len() > 1) else {
        return vec![broken(0, bytes)];
    };
    let mut fields = unit(0, body);
    pdu(1, &body[1..], is_request, &mut fields);
    let (got, expected) = (u16::from_le_bytes([low, high]), crc16(body));
    let text = match got == expected {
        true => format!("{got:04x}, right"),
        false => format!("{got:04x}, wrong: it should be {expected:04x}"),
    };
    fields.push(Field::new(body.len()..bytes.len(), "CRC", text));
    fields
}

fn tcp(is_request: bool, bytes: &[u8]) -> Vec<Field> {
    let Some((&[t1, t0, p1, p0, l1, l0, _], rest)) = bytes.split_first_chunk::<MBAP>() else {
        return vec![broken(0, bytes)];
    };
    let length = usize::from(u16::from_be_bytes([l1, l0]));
    let fits = if length == rest.len() + 1 { "" } else { ", which is not what came" };
    let mut fields = vec![
        Field::new(0..2, "transaction", u16::from_be_bytes([t1, t0]).to_string()),
        Field::new(2..4, "protocol", u16::from_be_bytes([p1, p0]).to_string()),
        Field::new(4..6, "length", format!("{length}{fits}")),
    ];
    fields.extend(unit(6, &bytes[6..]));
    pdu(MBAP, rest, is_request, &mut fields);
    fields
}

/// The fields of the bytes that the characters stand for, each at its characters.
fn ascii(is_request: bool, bytes: &[u8]) -> Vec<Field> {
    let inner = bytes.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b"\r\n")).unwrap_or_default();
    let pairs = inner.chunks_exact(2).map(|pair| Some(hex_value(pair[0])? << 4 | hex_value(pair[1])?));
    let plain: Option<Vec<u8>> = pairs.collect();
    let Some(plain) = plain.filter(|plain| plain.len() > 2 && inner.len().is_multiple_of(2)) else {
        return vec![broken(0, bytes)];
    };
    let (sum, body) = plain.split_last().unwrap_or((&0, &[]));
    let mut fields = unit(0, body);
    pdu(1, &body[1..], is_request, &mut fields);
    let expected = lrc(body);
    let text = match *sum == expected {
        true => format!("{sum:02x}, right"),
        false => format!("{sum:02x}, wrong: it should be {expected:02x}"),
    };
    fields.push(Field::new(body.len()..plain.len(), "LRC", text));
    for field in &mut fields {
        field.bytes = 1 + 2 * field.bytes.start..1 + 2 * field.bytes.end;
    }
    fields
}

fn broken(from: usize, bytes: &[u8]) -> Field {
    Field::new(from..bytes.len(), "no frame", hex(&bytes[from..]))
}

fn unit(at: usize, bytes: &[u8]) -> Vec<Field> {
    let text = |unit: &u8| if *unit == 0 { "0, everybody".to_owned() } else { unit.to_string() };
    bytes.first().map(|byte| Field::new(at..at + 1, "unit", text(byte))).into_iter().collect()
}

/// What a part of a PDU is.
enum Part {
    /// A word, in decimal and hexadecimal.
    Word(&'static str),
    /// A byte, in decimal.
    Byte(&'static str),
    /// All that follows, in words of two bytes.
    Words,
    /// All that follows.
    Rest(&'static str),
}

fn layout(code: u8, is_request: bool) -> &'static [Part] {
    use Part::{Byte, Rest, Word, Words};
    match (code, is_request) {
        (function::READ_COILS..=function::READ_INPUT, true) => &[Word("address"), Word("quantity")],
        (function::READ_COILS | function::READ_DISCRETE, false) => &[Byte("bytes"), Rest("bits")],
        (function::READ_HOLDING | function::READ_INPUT | function::READ_WRITE, false) => &[Byte("bytes"), Words],
        (function::WRITE_COIL | function::WRITE_REGISTER, _) => &[Word("address"), Word("value")],
        (function::WRITE_COILS, true) => &[Word("address"), Word("quantity"), Byte("bytes"), Rest("coils")],
        (function::WRITE_REGISTERS, true) => &[Word("address"), Word("quantity"), Byte("bytes"), Words],
        (function::WRITE_COILS | function::WRITE_REGISTERS, false) => &[Word("address"), Word("quantity")],
        (function::MASK_WRITE, _) => &[Word("address"), Word("and mask"), Word("or mask")],
        (function::READ_WRITE, true) => &[
            Word("read address"),
            Word("read quantity"),
            Word("write address"),
            Word("write quantity"),
            Byte("bytes"),
            Words,
        ],
        (function::ENCAPSULATED, _) => &[Byte("interface"), Byte("code"), Rest("data")],
        (function::EXCEPTION.., _) => &[Byte("code"), Rest("data")],
        _ => &[Rest("data")],
    }
}

fn pdu(at: usize, pdu: &[u8], is_request: bool, fields: &mut Vec<Field>) {
    let Some((&code, data)) = pdu.split_first() else { return };
    fields.push(Field::new(at..at + 1, "function", function_text(code)));
    let (mut at, mut rest) = (at + 1, data);
    for part in layout(code, is_request) {
        if rest.is_empty() {
            return;
        }
        let (taken, name, text) = match part {
            Part::Word(name) => match rest.first_chunk::<2>() {
                Some(word) => {
                    let word = u16::from_be_bytes(*word);
                    (2, *name, format!("{word} (0x{word:04X})"))
                }
                None => (rest.len(), "cut off", hex(rest)),
            },
            Part::Byte(name) if *name == "code" && code >= function::EXCEPTION => {
                (1, *name, format!("{} {}", rest[0], exception(rest[0])))
            }
            Part::Byte(name) => (1, *name, rest[0].to_string()),
            Part::Words => {
                let words: Vec<String> = rest.chunks(2).map(|word| hex(word).replace(' ', "")).collect();
                (rest.len(), "registers", words.join(" "))
            }
            Part::Rest(name) => (rest.len(), *name, hex(rest)),
        };
        fields.push(Field::new(at..at + taken, name, text));
        (at, rest) = (at + taken, &rest[taken..]);
    }
    if !rest.is_empty() {
        fields.push(Field::new(at..at + rest.len(), "left over", hex(rest)));
    }
}

fn function_text(code: u8) -> String {
    let name = match code & !function::EXCEPTION {
        function::READ_COILS => "read coils",
        function::READ_DISCRETE => "read discrete inputs",
        function::READ_HOLDING => "read holding registers",
        function::READ_INPUT => "read input registers",
        function::WRITE_COIL => "write one coil",
        function::WRITE_REGISTER => "write one register",
        function::WRITE_COILS => "write coils",
        function::WRITE_REGISTERS => "write registers",
        function::MASK_WRITE => "write bits of a register",
        function::READ_WRITE => "write and read registers",
        function::ENCAPSULATED => "read the identification",
        _ => "not known here",
    };
    let refused = if code & function::EXCEPTION == 0 { "" } else { ", refused" };
    format!("{:02} {name}{refused}", code & !function::EXCEPTION)
}

/// What an exception says (Modbus Application Protocol 1.1b3, 7).
fn exception(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "device failure",
        5 => "acknowledged, still busy with it",
        6 => "busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "gateway target does not answer",
        _ => "not in the standard",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(framing: Framing, is_request: bool, bytes: &[u8]) -> String {
        let fields = fields(framing, is_request, bytes);
        let mut at = 0;
        for field in &fields {
            assert!(field.bytes.start >= at && field.bytes.end <= bytes.len(), "{field:?}");
            at = field.bytes.end;
        }
        fields.iter().map(Field::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_read_and_its_reply_are_told_field_by_field_in_every_framing() {
        let rtu = b"\x11\x03\x00\x6B\x00\x03\x76\x87";
        assert_eq!(
            told(Framing::Rtu, true, rtu),
            "unit 17; function 03 read holding registers; address 107 (0x006B); quantity 3 (0x0003); CRC 8776, right"
        );
        assert_eq!(
            told(Framing::Ascii, true, b":1103006B00037E\r\n"),
            "unit 17; function 03 read holding registers; address 107 (0x006B); quantity 3 (0x0003); LRC 7e, right"
        );
        assert_eq!(
            told(Framing::Tcp, false, b"\x00\x01\x00\x00\x00\x07\x11\x03\x04\x02\x2B\x00\x64"),
            "transaction 1; protocol 0; length 7; unit 17; function 03 read holding registers; bytes 4; registers 022b 0064"
        );
    }

    #[test]
    fn refusals_and_broken_frames_say_so() {
        let refused = told(Framing::Rtu, false, b"\x0a\x81\x02\xb0\x53");
        assert_eq!(refused, "unit 10; function 01 read coils, refused; code 2 illegal data address; CRC 53b0, right");
        let wrong = told(Framing::Rtu, true, b"\x11\x03\x00\x6B\x00\x03\x76\x88");
        assert!(wrong.ends_with("CRC 8876, wrong: it should be 8776"), "{wrong}");
        assert_eq!(told(Framing::Rtu, true, b"\x11\x03"), "no frame 11 03");
        assert_eq!(told(Framing::Ascii, true, b":11"), "no frame 3a 31 31");
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics_and_fields_are_in_order() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.usize(..24)).map(|_| rng.u8(..)).collect();
            for framing in [Framing::Rtu, Framing::Ascii, Framing::Tcp] {
                told(framing, rng.bool(), &bytes);
            }
        }
    }
}
