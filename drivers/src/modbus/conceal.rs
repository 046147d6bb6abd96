//! Blots out what registers hold, in a frame of a device whose registers show who was at a reader.
//!
//! An answer does not say which registers it is of, so that of such a device the values of all are blotted out.

use std::ops::Range;

use super::frame::{Framing, hex_value};
use super::pdu::function;

/// Where the unit stands in a frame, how many bytes of it stand for one, and how many follow the PDU.
fn layout(framing: Framing) -> (usize, usize, usize) {
    match framing {
        Framing::Rtu => (0, 1, 2),
        Framing::Tcp => (6, 1, 0),
        // A colon before it; the sum and the end of the line behind.
        Framing::Ascii => (1, 2, 4),
    }
}

/// The byte of the unit, the function and so on that stands at this place of a frame.
fn byte(framing: Framing, frame: &[u8], at: usize) -> Option<u8> {
    let (begin, width, _) = layout(framing);
    match frame.get(begin + at * width..begin + (at + 1) * width)? {
        [high, low] => Some(hex_value(*high)? << 4 | hex_value(*low)?),
        other => other.first().copied(),
    }
}

/// Whether a frame to or from one of these units may hold a register's value.
pub(crate) fn holds_values(framing: Framing, is_request: bool, units: &[u8], frame: &[u8]) -> bool {
    let is_theirs = byte(framing, frame, 0).is_some_and(|unit| units.contains(&unit));
    is_theirs && values(framing, is_request, frame).is_some()
}

/// Blots out the values in a frame to or from this unit, and the check, which would tell them; gives which bytes.
pub(super) fn conceal(framing: Framing, is_request: bool, unit: u8, frame: &mut [u8]) -> Option<Range<usize>> {
    let values = values(framing, is_request, frame).filter(|_| byte(framing, frame, 0) == Some(unit))?;
    let blot = if framing == Framing::Ascii { b'0' } else { 0 };
    frame.get_mut(values.clone())?.fill(blot);
    Some(values)
}

/// Where a frame holds values of registers, up to its end.
fn values(framing: Framing, is_request: bool, frame: &[u8]) -> Option<Range<usize>> {
    let (begin, width, behind) = layout(framing);
    // A frame that was cut short has lost its end of line.
    let whole = frame.strip_suffix(b"\r\n").filter(|_| framing == Framing::Ascii);
    let end = whole.map_or(frame.len(), <[u8]>::len);
    let bytes = frame.len().checked_sub(begin + behind)? / width;
    // Behind unit and function: how many bytes follow, an address and a value, or an address, a quantity and how many.
    let at = match byte(framing, frame, 1)? {
        function::READ_COILS..=function::READ_INPUT if is_request => return None,
        function::READ_COILS..=function::READ_INPUT => 3,
        function::READ_WRITE => {
            if is_request {
                11
            } else {
                3
            }
        }
        function::WRITE_REGISTER | function::WRITE_COIL => 4,
        // The answer ends with the quantity; an echo of the request goes on.
        function::WRITE_REGISTERS | function::WRITE_COILS if bytes > 7 => 7,
        function::MASK_WRITE => 4,
        _ => return None,
    };
    let begin = begin + at * width;
    (begin < end).then_some(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u8 = 9;

    /// What is left of a frame of the unit, and which bytes were blotted out.
    fn told(framing: Framing, is_request: bool, pdu: &[u8]) -> (Vec<u8>, Option<Range<usize>>) {
        let mut frame = Vec::new();
        framing.encode(7, UNIT, pdu, &mut frame);
        let concealed = conceal(framing, is_request, UNIT, &mut frame);
        (frame, concealed)
    }

    #[test]
    fn values_are_blotted_out_in_every_framing_with_their_check_and_nothing_else_is() {
        let answer = [3, 4, 0xBE, 0xEF, 0xCA, 0xFE];
        assert_eq!(told(Framing::Rtu, false, &answer), (vec![9, 3, 4, 0, 0, 0, 0, 0, 0], Some(3..9)));
        let (tcp, range) = told(Framing::Tcp, false, &answer);
        assert_eq!((&tcp[6..], range), (&[9, 3, 4, 0, 0, 0, 0][..], Some(9..13)));
        assert_eq!(told(Framing::Ascii, false, &answer), (b":0903040000000000\r\n".to_vec(), Some(7..17)));
        let write = [16, 0, 10, 0, 1, 2, 0xBE, 0xEF];
        assert_eq!(told(Framing::Rtu, true, &write).0[..9], [9, 16, 0, 10, 0, 1, 2, 0, 0]);
        assert_eq!(told(Framing::Rtu, false, &write).1, Some(7..11), "its echo");
        assert_eq!(told(Framing::Rtu, true, &[6, 0, 10, 0xBE, 0xEF]).0, [9, 6, 0, 10, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_left_of_a_frame_that_was_cut_short_tells_no_value_either() {
        let pdu = [&[3, 200][..], &[0xAB; 200]].concat();
        for framing in [Framing::Rtu, Framing::Tcp, Framing::Ascii] {
            let mut frame = Vec::new();
            framing.encode(7, UNIT, &pdu, &mut frame);
            frame.truncate(100);
            let concealed = conceal(framing, false, UNIT, &mut frame).map(|range| range.end);
            assert_eq!(concealed, Some(100), "{framing:?}");
            assert!(!frame.contains(&0xAB) && !frame.ends_with(b"AB"), "{framing:?}");
        }
    }

    #[test]
    fn questions_answers_without_values_and_frames_of_others_stay_as_they_are() {
        for (is_request, pdu) in [(true, &[3, 0, 10, 0, 2][..]), (false, &[16, 0, 10, 0, 1]), (false, &[0x83, 2])] {
            for framing in [Framing::Rtu, Framing::Tcp, Framing::Ascii] {
                assert_eq!(told(framing, is_request, pdu).1, None, "{framing:?} {pdu:?}");
            }
        }
        let mut frame = Vec::new();
        Framing::Rtu.encode(7, UNIT, &[3, 2, 0xBE, 0xEF], &mut frame);
        let whole = frame.clone();
        assert_eq!(conceal(Framing::Rtu, false, UNIT + 1, &mut frame), None);
        assert_eq!(frame, whole);
        assert!(holds_values(Framing::Rtu, false, &[1, UNIT], &frame));
        assert!(!holds_values(Framing::Rtu, false, &[1], &frame));
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics() {
        let mut rng = fastrand::Rng::with_seed(8);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> =
                (0..rng.usize(..16)).map(|_| rng.choice([9, 3, 16, b'0', b':']).unwrap()).collect();
            if rng.bool() {
                bytes.extend_from_slice(b"\r\n");
            }
            for framing in [Framing::Rtu, Framing::Tcp, Framing::Ascii] {
                conceal(framing, rng.bool(), UNIT, &mut bytes);
            }
        }
    }
}
