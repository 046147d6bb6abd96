//! Blots out of a reader's frames what nobody is to see: its key, cards, and what was typed.

use std::ops::Range;

use super::command;
use super::frame::{FROM_READER, HEAD, MARK, START, WITH_BLOCK, WITH_CRC, checksum, crc};
use super::reply::code;

/// Blots out what follows KEYSET in a frame to this reader: in the clear it is a key, and sealed it is one to whoever has
/// the key before. Of its answers it blots out the bits and the characters of cards, and the keys that were pressed. The
/// check goes with it, as it would tell what is not there; gives which bytes.
pub(super) fn conceal(address: u8, bytes: &mut [u8]) -> Option<Range<usize>> {
    let marks = bytes.iter().take_while(|byte| **byte == MARK).count();
    let [START, to, _, _, control, rest @ ..] = bytes.get(marks..)? else { return None };
    // A security block stands before the command, and begins with its own length (OSDP 2.2, 5.9).
    let block = if control & WITH_BLOCK == 0 { 0 } else { rest.first().map_or(0, |length| usize::from(*length)) };
    let shown = match *rest.get(block)? {
        command::code::KEYSET if *to == address => 0,
        // The reader behind the reader, the format and the number of bits.
        code::RAW if *to == address | FROM_READER => 4,
        // The reader behind the reader, the direction and the number of characters.
        code::FMT if *to == address | FROM_READER => 3,
        code::KEYPAD if *to == address | FROM_READER => 0,
        _ => return None,
    };
    let concealed = marks + HEAD + block + 1 + shown..bytes.len();
    bytes.get_mut(concealed.clone()).filter(|bytes| !bytes.is_empty())?.fill(0);
    Some(concealed)
}

/// A frame of which bytes are blotted out, with the check that it then has: what is left of it can be taken apart.
pub(crate) fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    let marks = bytes.iter().take_while(|byte| **byte == MARK).count();
    let frame = mended.get_mut(marks..).unwrap_or_default();
    if let [START, _, _, _, control, ..] = *frame {
        if control & WITH_CRC == 0 {
            frame.split_last_mut().into_iter().for_each(|(check, body)| *check = checksum(body));
        } else if let Some((body, check)) = frame.split_last_chunk_mut::<2>() {
            *check = crc(body).to_le_bytes();
        }
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u8 = 5;

    fn frame(address: u8, data: &[u8]) -> Vec<u8> {
        let length = u8::try_from(7 + data.len()).unwrap();
        [&[START, address, length, 0, WITH_CRC][..], data, &[0xAB, 0xCD]].concat()
    }

    fn told(bytes: &[u8]) -> Vec<u8> {
        let mut told = bytes.to_vec();
        conceal(ADDRESS, &mut told);
        told
    }

    #[test]
    fn cards_and_keys_are_blotted_out_with_their_check_and_how_many_bits_a_card_has_is_not() {
        let cases: [(&[u8], usize); 4] = [
            (b"\x53\x00\x044711", 1),
            (&[0x50, 0, 1, 26, 0, 0xBD, 0xD9, 0x37, 0x40], 5),
            (&[0x50, 0, 1, 8, 0, 0xB4], 5),
            (b"\x51\x00\x00\x0612345F", 4),
        ];
        for (data, shown) in cases {
            let whole = frame(0x80 | ADDRESS, data);
            let expected = [&whole[..HEAD + shown], &vec![0; whole.len() - HEAD - shown]].concat();
            assert_eq!(told(&whole), expected, "{data:02X?}");
            let marked = [&[MARK; 3][..], &whole].concat();
            assert_eq!(told(&marked)[3..], expected, "behind marks: {data:02X?}");
            let cut = &whole[..whole.len() - 3];
            assert_eq!(told(cut), expected[..cut.len()], "without its end: {data:02X?}");
            let of_another = frame(0x80 | (ADDRESS + 1), data);
            assert_eq!(told(&of_another), of_another, "its own driver blots it out");
        }
        let state = frame(0x80 | ADDRESS, &[0x48, 0, 0]);
        assert_eq!(told(&state), state);
    }
}
