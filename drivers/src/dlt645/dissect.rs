//! Frames taken apart for people.

use super::catalog;
use super::frame::{Address, FUNCTION, HEAD, MASK, MORE, START, function};
use super::point::Edition;
use crate::dissect::{Field, hex};
use crate::meter_frame::{self, EXCEPTION, FROM_METER, Head};

/// The fields of a frame, its data without the 33H that the wire adds. Where it is no sound frame, the last one says so.
pub(crate) fn fields(edition: Edition, bytes: &[u8]) -> Vec<Field> {
    let head = |frame: &[u8], at: usize, fields: &mut Vec<Field>| {
        let Some(&[START, a0, a1, a2, a3, a4, a5, START, control, length]) = frame.first_chunk::<HEAD>() else {
            return None;
        };
        let address = Address::from_wire([a0, a1, a2, a3, a4, a5]);
        let whom = if address == Address::BROADCAST { ", everybody" } else { "" };
        fields.push(Field::new(at + 1..at + 7, "address", format!("{address}{whom}")));
        fields.push(Field::new(at + 8..at + 9, "control", control_text(control)));
        fields.push(Field::new(at + 9..at + 10, "length", length.to_string()));
        Some(Head { from: HEAD, control, length })
    };
    meter_frame::fields(bytes, head, |control, at, masked, fields| {
        let data: Vec<u8> = masked.iter().map(|byte| byte.wrapping_sub(MASK)).collect();
        let identifier = if names_data(control) { di(edition, &data) } else { None };
        let taken = identifier.as_ref().map_or(0, |_| edition.di_bytes());
        if let Some(text) = identifier {
            fields.push(Field::new(at..at + taken, "identifier", text));
        }
        if data.len() > taken {
            let name = if control & EXCEPTION == 0 { "data" } else { "refusal" };
            fields.push(Field::new(at + taken..at + data.len(), name, hex(&data[taken..])));
        }
    })
}

/// Whether there is a password in the bytes: a request that switches the relay, writes or clears something, or the
/// beginning of one that is not sound.
pub(crate) fn is_secret(bytes: &[u8]) -> bool {
    bytes.windows(9).any(|head| {
        let begins = head[0] == START && head[7] == START && head[8] & FROM_METER == 0;
        begins && matches!(head[8] & FUNCTION, function::WRITE | function::CONTROL | 0x18..=0x1B)
    })
}

/// True when the data begin with an identifier.
fn names_data(control: u8) -> bool {
    let reads = [function::READ, function::READ_MORE, function::WRITE, function::READ_1997, function::READ_MORE_1997];
    control & EXCEPTION == 0 && reads.contains(&(control & FUNCTION))
}

fn di(edition: Edition, data: &[u8]) -> Option<String> {
    let (di, width) = match edition {
        Edition::V2007 => (u32::from_le_bytes(*data.first_chunk::<4>()?), 8),
        Edition::V1997 => (u32::from(u16::from_le_bytes(*data.first_chunk::<2>()?)), 4),
    };
    let name = catalog::layout(edition, di).map(|layout| layout.name(0)).unwrap_or_default();
    Some(format!("{di:0width$X} {name}").trim_end().to_owned())
}

fn control_text(control: u8) -> String {
    let name = match control & FUNCTION {
        function::SET_TIME => "broadcast time",
        function::READ | function::READ_1997 => "read",
        function::READ_MORE | function::READ_MORE_1997 => "read what follows",
        function::READ_ADDRESS => "read the address",
        function::WRITE => "write",
        function::FREEZE => "freeze",
        function::SET_SPEED => "change the speed",
        function::CONTROL => "switch the relay",
        _ => "not known here",
    };
    let from = if control & FROM_METER == 0 { "" } else { ", from the meter" };
    let refused = if control & EXCEPTION == 0 { "" } else { ", refused" };
    let more = if control & MORE == 0 { "" } else { ", more follows" };
    format!("{control:02X} {name}{from}{refused}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::told_in_order;
    use crate::dlt645::encode;

    fn told(edition: Edition, bytes: &[u8]) -> String {
        told_in_order(&fields(edition, bytes), bytes)
    }

    #[test]
    fn a_read_is_told_with_the_name_of_what_it_asks_for() {
        let mut bytes = Vec::new();
        let address = Address::parse("000000001234").unwrap();
        encode(4, address, function::READ, &[&[0x00, 0x00, 0x01, 0x00]], &mut bytes);
        let told = told(Edition::V2007, &bytes);
        assert!(
            told.starts_with("preamble 4 × FE; address 000000001234; control 11 read; length 4; identifier 00010000 ")
        );
        assert!(told.ends_with(", right"), "{told}");
    }

    #[test]
    fn a_refusal_is_told_and_a_wrong_sum_as_well() {
        let mut bytes = Vec::new();
        let address = Address::parse("000000001234").unwrap();
        encode(0, address, 0xD1, &[&[0x02]], &mut bytes);
        assert!(
            told(Edition::V2007, &bytes).contains("control D1 read, from the meter, refused; length 1; refusal 02;")
        );
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        assert!(told(Edition::V2007, &bytes).contains("wrong: it should be"));
        assert_eq!(told(Edition::V2007, b"\x68\x01"), "no frame 68 01");
    }

    #[test]
    fn a_frame_with_a_password_is_known_and_one_without_is_told() {
        let address = Address::parse("000000001234").unwrap();
        let frame = |control: u8| {
            let mut bytes = Vec::new();
            encode(2, address, control, &[&[0x02, 0x56, 0x34, 0x12]], &mut bytes);
            bytes
        };
        assert!(is_secret(&frame(function::CONTROL)) && is_secret(&frame(function::WRITE)));
        assert!(is_secret(&frame(function::CONTROL)[..14]), "cut off");
        assert!(!is_secret(&frame(function::READ)) && !is_secret(&frame(0x9C)));
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics_and_fields_are_in_order() {
        let mut rng = fastrand::Rng::with_seed(4);
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = (0..rng.usize(..24)).map(|_| rng.u8(..)).collect();
            if round % 2 == 0 && bytes.len() > 9 {
                (bytes[0], bytes[7], bytes[9]) = (START, START, rng.u8(..16));
            }
            told(Edition::V1997, &bytes);
            told(Edition::V2007, &bytes);
        }
    }
}
