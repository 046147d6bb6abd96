//! From a point to the bytes of a reader's answer, step by step.

use super::frame::{Found, find};
use super::point::OsdpPoint;
use super::reply::Reply;
use super::shown::{Shown, Standing};
use crate::dissect::hex;
use crate::explain::Explanation;

/// See [`crate::explain::steps`]. What the box itself keeps of a reader (counts, lights, how the connection stands) is in
/// no reply, and what is sealed cannot be followed from outside.
pub(crate) fn steps(point: OsdpPoint, (request, reply): (&[u8], &[u8])) -> Option<Explanation> {
    let (Found::Frame { frame: asked, .. }, Found::Frame { frame, .. }) = (find(request), find(reply)) else {
        return None;
    };
    if asked.from_reader || !frame.from_reader || frame.address != asked.address || frame.sequence != asked.sequence {
        return None;
    }
    let mut steps = vec![format!("the request is command {:02X} to reader {}", asked.code, asked.address)];
    if frame.block.is_some_and(|block| block.is_sealed()) {
        steps.push(
            "the answer is sealed: what it says cannot be followed without the keys of the Secure Channel".into(),
        );
        return Some(Explanation { value: "sealed".to_owned(), steps });
    }
    let told = Reply::decode(frame.code, frame.data).ok()?;
    if !tells(point, &told) {
        return None;
    }
    steps.push(format!("the answer is reply {:02X} with the data {}", frame.code, hex(frame.data)));
    let mut shown = Shown::default();
    shown.note(told);
    shown.note_presented(told, false);
    let standing = Standing { connected: true, secure: false, believed: true };
    let value = shown.value(point, standing).map_or_else(|why| format!("no value ({why})"), |value| value.to_string());
    steps.push(format!("of it {point} is {value}"));
    Some(Explanation { value, steps })
}

/// Whether a reply tells a point's value.
fn tells(point: OsdpPoint, reply: &Reply<'_>) -> bool {
    match point {
        OsdpPoint::Card => matches!(reply, Reply::Card(_) | Reply::FormattedCard { .. }),
        OsdpPoint::Keys => matches!(reply, Reply::Keypad { .. }),
        OsdpPoint::Tamper | OsdpPoint::PowerFailed => matches!(reply, Reply::Local { .. }),
        OsdpPoint::Input(_) => matches!(reply, Reply::Inputs(_)),
        OsdpPoint::Output(_) => matches!(reply, Reply::Outputs(_)),
        OsdpPoint::Cards
        | OsdpPoint::Dropped
        | OsdpPoint::KeyCount
        | OsdpPoint::Connected
        | OsdpPoint::Secure
        | OsdpPoint::Display
        | OsdpPoint::Light(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::osdp::frame::{Block, Framing, encode};

    fn frame(address: u8, block: Option<Block<'_>>, code: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let framing = Framing { address, sequence: 2, crc: true, mark: false };
        encode(framing, block, (code, data), |_| [0; 4], &mut bytes);
        bytes
    }

    #[test]
    fn a_tamper_contact_is_followed_to_its_reply_and_a_count_is_not() {
        let (request, reply) = (frame(5, None, 0x64, &[]), frame(0x85, None, 0x48, &[1, 0]));
        let told = steps(OsdpPoint::Tamper, (&request, &reply)).unwrap();
        assert_eq!(told.value, "true");
        assert_eq!(
            told.steps,
            [
                "the request is command 64 to reader 5",
                "the answer is reply 48 with the data 01 00",
                "of it tamper is true",
            ]
        );
        assert_eq!(steps(OsdpPoint::Cards, (&request, &reply)), None);
        assert_eq!(steps(OsdpPoint::Tamper, (&reply, &request)), None);
    }

    #[test]
    fn what_is_sealed_stays_so() {
        let sealed = frame(0x85, Some(Block { kind: 0x18, data: &[] }), 0x48, &[0xAA; 16]);
        let told = steps(OsdpPoint::Tamper, (&frame(5, None, 0x64, &[]), &sealed)).unwrap();
        assert_eq!(told.value, "sealed");
    }
}
