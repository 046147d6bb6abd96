use super::*;
use crate::modbus::pdu::{Identification, Reply, Request};
use crate::modbus::point::Table;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn with_crc(hex: &str) -> Vec<u8> {
    let mut bytes = bytes(hex);
    let crc = crate::modbus::checksum::crc16(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn read(unit: u8, quantity: u16) -> RequestFrame {
    let request = Request::Read { table: Table::Holding, address: 0x6B, quantity };
    RequestFrame { transaction: Some(1), unit, request }
}

fn registers(transaction: Option<u16>) -> ReplyFrame {
    ReplyFrame { transaction, unit: 17, reply: Reply::Registers { function: 3, registers: vec![555, 0, 100] } }
}

const RTU_REPLY: &str = "11 03 06 02 2B 00 00 00 64 C8 BA";
const ASCII_REPLY: &[u8] = b":110306022B0000006455\r\n";

#[track_caller]
fn refused(framing: Framing, bytes: &[u8], request: &RequestFrame, class: &str) {
    match decode_reply(framing, bytes, Some(request)) {
        Ok(frame) => panic!("{bytes:02X?} was taken for {frame:?}, not refused as {class}"),
        Err(why) => assert_eq!(why.class(), class, "{bytes:02X?}: {why:?}"),
    }
}

#[test]
fn every_request_and_reply_survives_encoding_in_every_framing() {
    let requests = [
        Request::Read { table: Table::Coil, address: 19, quantity: 19 },
        Request::Read { table: Table::Discrete, address: 196, quantity: 2000 },
        Request::Read { table: Table::Holding, address: 0xFFFF, quantity: 1 },
        Request::Read { table: Table::Input, address: 0, quantity: 125 },
        Request::WriteCoil { address: 172, value: 0xFF00 },
        Request::WriteRegister { address: 1, value: 3 },
        Request::WriteCoils {
            address: 19,
            coils: vec![true, false, true, true, false, false, true, true, true, false],
        },
        Request::WriteRegisters { address: 1, registers: vec![10, 258] },
        Request::WriteRegisters { address: 1, registers: vec![0xA55A; 123] },
        Request::MaskWrite { address: 4, and_mask: 0xF2, or_mask: 0x25 },
        Request::ReadWrite { read_address: 3, read_quantity: 6, write_address: 14, registers: vec![255; 3] },
        Request::Identify { read_code: 1, object: 0 },
    ];
    let identification = Identification {
        read_code: 1,
        conformity: 0x81,
        more: true,
        next: 2,
        objects: vec![(0, b"ACME".to_vec()), (1, Vec::new())],
    };
    let replies = [
        Reply::Bits { function: 1, bits: vec![true; 16] },
        Reply::Registers { function: 4, registers: vec![7; 125] },
        Reply::WriteCoil { address: 172, value: 0 },
        Reply::WriteRegister { address: 1, value: 3 },
        Reply::WriteMultiple { function: 15, address: 19, quantity: 10 },
        Reply::MaskWrite { address: 4, and_mask: 0xF2, or_mask: 0x25 },
        Reply::Registers { function: 23, registers: vec![254] },
        Reply::Identification(identification),
        Reply::Exception { function: 3, code: 0x7F },
    ];
    for framing in [Framing::Rtu, Framing::Ascii, Framing::Tcp] {
        let transaction = (framing == Framing::Tcp).then_some(0xBEEF);
        for request in &requests {
            let frame = RequestFrame { transaction, unit: 17, request: request.clone() };
            let mut wire = Vec::new();
            frame.encode(framing, &mut wire);
            assert_eq!(decode_request(framing, &wire), Ok(frame), "{framing:?}");
        }
        for reply in &replies {
            let frame = ReplyFrame { transaction, unit: 17, reply: reply.clone() };
            let mut wire = Vec::new();
            frame.encode(framing, &mut wire);
            assert_eq!(decode_reply(framing, &wire, None), Ok(frame), "{framing:?}");
        }
    }
}

#[test]
fn a_reply_has_as_many_bits_as_were_asked_for() {
    let request = decode_request(Framing::Rtu, &bytes("1101001300138E92")).unwrap();
    let frame = decode_reply(Framing::Rtu, &bytes("110103CD6BB20064"), Some(&request)).unwrap();
    let Reply::Bits { bits, .. } = frame.reply else { panic!("not bits") };
    let text: String = bits.iter().map(|on| if *on { '1' } else { '0' }).collect();
    assert_eq!(text, "1011001111010110010");
}

#[test]
fn an_rtu_reply_is_found_behind_glitches_echoes_and_foreign_frames() {
    let echo = "11 03 00 6B 00 03 76 87";
    let foreign = "12 03 06 00 01 00 02 00 03 24 44";
    for before in ["", "00", "FF", "00 FF 00", "11", "11 03", echo, foreign, "00 12", "11 11", "83", "11 03 06"] {
        let mut wire = bytes(before);
        wire.extend(bytes(RTU_REPLY));
        assert_eq!(decode_reply(Framing::Rtu, &wire, Some(&read(17, 3))), Ok(registers(Some(1))), "{before:?}");
    }
}

#[test]
fn an_rtu_reply_that_differs_from_the_request_is_refused_with_the_difference() {
    let asked = read(17, 3);
    for (wire, class) in [
        (vec![], "timeout"),
        (bytes("11 03 00 6B 00 03 76 87"), "timeout"),
        (bytes("11"), "truncated"),
        (bytes("11 03 06 02 2B 00 00 00"), "truncated"),
        (bytes("11 03 06 02 2B 00 00 00 64 C8 BB"), "bad_crc"),
        (bytes("11 03 06 02 2B 00 00 00 64 BA C8"), "bad_crc"),
        (bytes("12 03 06 00 01 00 02 00 03 24 45"), "bad_crc"),
        (bytes("FF FF FF FF FF FF"), "bad_crc"),
        (bytes("12 03 06 00 01 00 02 00 03 24 44"), "address_mismatch"),
        (bytes("11 04 06 00 01 00 02 00 03 71 52"), "unexpected_function"),
        (bytes("11 84 02 C3 04"), "unexpected_function"),
        (with_crc("11 07 6D"), "unexpected_function"),
        (with_crc("12 07 6D"), "address_mismatch"),
        (bytes("11 03 04 00 01 00 02 3B F3"), "bad_length"),
        (bytes("11 03 05 00 01 00 02 03 F3 03"), "bad_length"),
        (with_crc("11 03 08 00 01 00 02 00 03 00 04"), "bad_length"),
        (with_crc("11 03 06 00 01 00 02"), "bad_length"),
        (with_crc("11 03 06 00 01 00 02 00 03 00 04"), "bad_length"),
        (with_crc("11 03 00"), "bad_length"),
        (with_crc("11 83 02 00"), "bad_length"),
    ] {
        refused(Framing::Rtu, &wire, &asked, class);
    }
}

#[test]
fn a_write_whose_echo_differs_is_refused() {
    let asked = |request| RequestFrame { transaction: None, unit: 17, request };
    let coil = asked(Request::WriteCoil { address: 172, value: 0xFF00 });
    let register = asked(Request::WriteRegister { address: 1, value: 3 });
    let coils = asked(Request::WriteCoils { address: 19, coils: vec![true; 10] });
    let many = asked(Request::WriteRegisters { address: 1, registers: vec![10, 258] });
    let mask = asked(Request::MaskWrite { address: 4, and_mask: 0xF2, or_mask: 0x25 });
    for (request, reply) in [
        (&coil, "11 05 00 AC 00 00"),
        (&coil, "11 05 00 AD FF 00"),
        (&register, "11 06 00 01 00 04"),
        (&coils, "11 0F 00 13 00 09"),
        (&coils, "11 0F 00 14 00 0A"),
        (&many, "11 10 00 01 00 01"),
        (&mask, "11 16 00 04 00 F2 00 24"),
        (&mask, "11 16 00 04 00 F3 00 25"),
    ] {
        refused(Framing::Rtu, &with_crc(reply), request, "echo_mismatch");
    }
    let identify = asked(Request::Identify { read_code: 1, object: 0 });
    refused(Framing::Rtu, &with_crc("11 2B 0E 02 01 00 00 00"), &identify, "echo_mismatch");
    refused(Framing::Rtu, &with_crc("11 2B 0D 01 01 00 00 00"), &identify, "unexpected_function");
    refused(Framing::Rtu, &with_crc("11 2B 0E 01 01 00 00 01 00 05 41"), &identify, "bad_length");
}

#[test]
fn exceptions_of_any_code_are_replies() {
    for code in [1, 2, 0x0B, 0x7F, 0xFF] {
        let frame = decode_reply(Framing::Rtu, &with_crc(&format!("11 83 {code:02X}")), Some(&read(17, 3))).unwrap();
        assert_eq!(frame.reply, Reply::Exception { function: 3, code });
    }
}

#[test]
fn a_tcp_reply_is_matched_by_transaction_protocol_length_unit_and_function() {
    let good = "00 01 00 00 00 09 11 03 06 02 2B 00 00 00 64";
    let stale = "00 09 00 00 00 09 11 03 06 02 2B 00 00 00 65";
    let asked = read(17, 3);
    for before in ["", stale] {
        let wire = bytes(&format!("{before}{good}"));
        assert_eq!(decode_reply(Framing::Tcp, &wire, Some(&asked)), Ok(registers(Some(1))), "{before:?}");
    }
    for (wire, class) in [
        ("", "timeout"),
        ("00 01 00 00 00 09 11 03 06 02 2B 00 00 00", "truncated"),
        ("00 01 00", "truncated"),
        (stale, "tid_mismatch"),
        ("00 01 00 01 00 03 11 83 02", "bad_protocol_id"),
        ("00 01 00 00 00 00 11 83 02", "bad_length"),
        ("00 01 00 00 00 01 11 83 02", "bad_length"),
        ("00 01 00 00 00 FF 11 83 02", "bad_length"),
        ("00 01 00 00 01 00 11 83 02", "bad_length"),
        ("00 01 00 00 00 09 12 03 06 02 2B 00 00 00 64", "address_mismatch"),
        ("00 01 00 00 00 09 11 04 06 02 2B 00 00 00 64", "unexpected_function"),
        ("00 01 00 00 00 07 11 03 04 02 2B 00 00", "bad_length"),
        ("00 01 00 00 00 0B 11 03 06 02 2B 00 00 00 64 00 00", "bad_length"),
        ("00 01 00 00 00 07 11 03 06 02 2B 00 00", "bad_length"),
        ("00 01 00 00 00 02 11 83", "bad_length"),
    ] {
        refused(Framing::Tcp, &bytes(wire), &asked, class);
    }
}

#[test]
fn an_ascii_reply_is_held_to_its_characters() {
    let asked = read(17, 3);
    for before in [&b""[..], b"\r\n", b"noise", b":1103", b":1103006B00037E\r\n", b"\0"] {
        let wire = [before, ASCII_REPLY].concat();
        assert_eq!(decode_reply(Framing::Ascii, &wire, Some(&asked)), Ok(registers(Some(1))), "{before:?}");
    }
    for (wire, class) in [
        (&b""[..], "timeout"),
        (b":110306022B0000", "truncated"),
        (b":110306022B0000006456\r\n", "bad_lrc"),
        (b":110306022B000000645G\r\n", "bad_char"),
        (b":110306022b0000006455\r\n", "bad_char"),
        (b":1103 06022B0000006455\r\n", "bad_char"),
        (b":110306022B00000\xB06455\r\n", "bad_char"),
        (b";110306022B0000006455\r\n", "bad_start"),
        (b"110306022B0000006455\r\n", "bad_start"),
        (b":110306022B0000006455", "bad_end"),
        (b":110306022B0000006455\n", "bad_end"),
        (b":110306022B0000006455\r", "bad_end"),
        (b":110306022B0000006455\r\r", "bad_end"),
        (b":110306022B000000645\r\n", "bad_length"),
        (b":11EF\r\n", "bad_length"),
        (b":120306022B0000006454\r\n", "address_mismatch"),
        (b":110406022B0000006454\r\n", "unexpected_function"),
        (b":110304022B0000BB\r\n", "bad_length"),
    ] {
        refused(Framing::Ascii, wire, &asked, class);
    }
}

#[test]
fn a_request_beyond_the_limits_of_its_function_is_refused() {
    for (hex, class) in [
        ("11 03 00 00 00 00", "bad_length"),
        ("11 03 00 00 00 7E", "bad_length"),
        ("11 01 00 00 07 D1", "bad_length"),
        ("11 0F 00 00 00 0A 01 FF", "bad_length"),
        ("11 10 00 00 00 02 02 00 01", "bad_length"),
        ("11 10 00 00 00 00 00", "bad_length"),
        ("11 17 00 00 00 01 00 00 00 01 04 00 00 00 00", "bad_length"),
        ("11 03 00 00 00 01 00", "bad_length"),
        ("11 07", "unexpected_function"),
        ("11 2B 0D 01 00", "unexpected_function"),
    ] {
        let why = decode_request(Framing::Rtu, &with_crc(hex)).unwrap_err();
        assert_eq!(why.class(), class, "{hex}: {why:?}");
    }
    assert_eq!(decode_request(Framing::Rtu, &bytes("11 03 00 6B 00 03 76 88")).unwrap_err().class(), "bad_crc");
    assert_eq!(decode_request(Framing::Rtu, &bytes("11 03 00 6B 00 03")).unwrap_err().class(), "truncated");
    assert_eq!(decode_request(Framing::Rtu, &[]).unwrap_err().class(), "timeout");
    assert_eq!(decode_request(Framing::Ascii, b":1103006B00037F\r\n").unwrap_err().class(), "bad_lrc");
    assert_eq!(decode_request(Framing::Tcp, &bytes("0001000000061103006B")).unwrap_err().class(), "truncated");
}
