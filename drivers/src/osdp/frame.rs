//! Frames: mark, start, address, length, control, security block, code, data, MAC, check (OSDP 2.2, chapter 5).

use super::error::WireError;

/// Byte that begins a frame.
pub const START: u8 = 0x53;
/// Byte that may stand before a frame; neither its length nor its check counts it.
pub const MARK: u8 = 0xFF;
/// Address that every reader obeys.
pub const BROADCAST: u8 = 0x7F;
/// Most bytes of a frame (5.6).
pub const MAX_LENGTH: u16 = 1440;
/// Bytes before the security block or the code.
pub(super) const HEAD: usize = 5;
/// Bytes of a frame with a checksum and without data.
const MIN_LENGTH: u16 = 7;
/// Bytes of the MAC that travel.
pub(super) const MAC: usize = 4;
/// Marks before a frame that are taken with it.
const MARKS_MAX: usize = 4;

pub(super) const FROM_READER: u8 = 0x80;
const SEQUENCE: u8 = 0x03;
pub(super) const WITH_CRC: u8 = 0x04;
pub(super) const WITH_BLOCK: u8 = 0x08;

/// A sound frame within received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// 0 to 126, or 127 for all.
    pub address: u8,
    /// True when it comes from a reader.
    pub from_reader: bool,
    /// 0 to 3.
    pub sequence: u8,
    /// True with a CRC, false with a checksum.
    pub crc: bool,
    /// The security block.
    pub block: Option<Block<'a>>,
    /// The command or reply.
    pub code: u8,
    /// What follows the code, sealed or not.
    pub data: &'a [u8],
    /// The part of the MAC that travels.
    pub mac: Option<[u8; MAC]>,
    /// What the MAC is made of: from the start byte to the byte before the MAC.
    pub signed: &'a [u8],
}

/// A security block: 11 to 14 while a Secure Channel is set up, 15 to 18 within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its type.
    pub kind: u8,
    /// Its data.
    pub data: &'a [u8],
}

impl Block<'_> {
    /// True for a frame with a MAC.
    pub fn is_signed(&self) -> bool {
        (0x15..=0x18).contains(&self.kind)
    }

    /// True for a frame whose data are sealed.
    pub fn is_sealed(&self) -> bool {
        matches!(self.kind, 0x17 | 0x18)
    }
}

/// What the beginning of received bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// It may become a frame.
    Incomplete {
        /// Lower bound of missing bytes, 1 or more.
        missing: usize,
    },
    /// It is none.
    Skip {
        /// Bytes to drop, 1 or more.
        bytes: usize,
        /// Why.
        why: WireError,
    },
    /// A sound frame.
    Frame {
        /// Bytes that it takes, marks included.
        bytes: usize,
        /// The frame.
        frame: Frame<'a>,
    },
}

/// Looks for a frame at the beginning of `bytes`. A start byte whose length or check is wrong is taken for noise, so that
/// the search goes on right behind it; one whose frame is not complete gives way to a whole frame behind it.
pub fn find(bytes: &[u8]) -> Found<'_> {
    let marks = bytes.iter().take_while(|byte| **byte == MARK).count();
    let rest = bytes.get(marks..).unwrap_or_default();
    match rest.first() {
        None if marks <= MARKS_MAX => return Found::Incomplete { missing: 1 },
        Some(&START) if marks > MARKS_MAX => return Found::Skip { bytes: marks - MARKS_MAX, why: WireError::NoFrame },
        Some(&START) => {}
        None | Some(_) => {
            let begins = |byte: &u8| matches!(*byte, START | MARK);
            let noise = rest.iter().position(begins).unwrap_or(rest.len());
            return Found::Skip { bytes: (marks + noise).max(1), why: WireError::NoFrame };
        }
    }
    match whole(rest) {
        Ok(frame) => Found::Frame { bytes: marks + rest.len().min(length(rest)), frame },
        Err(WireError::Truncated { missing }) => match later(rest) {
            Some(at) => Found::Skip { bytes: marks + at, why: WireError::NoFrame },
            None => Found::Incomplete { missing },
        },
        // A frame that only says nothing sensible is gone as a whole; anything else may be a false start.
        Err(why @ WireError::BadBlock) => Found::Skip { bytes: marks + length(rest), why },
        Err(why) => Found::Skip { bytes: marks + 1, why },
    }
}

/// Where a whole frame begins behind a start byte that may be false.
fn later(bytes: &[u8]) -> Option<usize> {
    let starts = bytes.iter().enumerate().skip(1).filter(|(_, byte)| **byte == START);
    starts.map(|(at, _)| at).find(|at| bytes.get(*at..).is_some_and(|rest| whole(rest).is_ok()))
}

fn length(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, low, high, ..] => usize::from(u16::from_le_bytes([*low, *high])),
        _ => bytes.len(),
    }
}

/// The frame that begins with the start byte at 0.
fn whole(bytes: &[u8]) -> Result<Frame<'_>, WireError> {
    let Some((&[_, address, low, high, control], _)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(WireError::Truncated { missing: HEAD - bytes.len() });
    };
    let got = u16::from_le_bytes([low, high]);
    let crc = control & WITH_CRC != 0;
    if got < MIN_LENGTH + u16::from(crc) || got > MAX_LENGTH {
        return Err(WireError::BadLength { got });
    }
    let length = usize::from(got);
    let Some(packet) = bytes.get(..length) else {
        return Err(WireError::Truncated { missing: length - bytes.len() });
    };
    let body = check(packet, crc)?;
    let (block, inner) = if control & WITH_BLOCK == 0 { (None, &body[HEAD..]) } else { split_block(&body[HEAD..])? };
    let signed_by = block.filter(Block::is_signed).map_or(0, |_| MAC);
    let cut = inner.len().checked_sub(signed_by).ok_or(WireError::BadBlock)?;
    let (inner, mac) = inner.split_at(cut);
    let (&code, data) = inner.split_first().ok_or(WireError::BadBlock)?;
    Ok(Frame {
        address: address & !FROM_READER,
        from_reader: address & FROM_READER != 0,
        sequence: control & SEQUENCE,
        crc,
        block,
        code,
        data,
        mac: mac.try_into().ok(),
        signed: &body[..body.len() - signed_by],
    })
}

/// What the check at the end of a packet covers, if it is right.
fn check(packet: &[u8], with_crc: bool) -> Result<&[u8], WireError> {
    if with_crc {
        let (body, tail) = packet.split_last_chunk::<2>().ok_or(WireError::NoFrame)?;
        let (got, expected) = (u16::from_le_bytes(*tail), crc(body));
        return if got == expected { Ok(body) } else { Err(WireError::BadCrc { got, expected }) };
    }
    let (&got, body) = packet.split_last().ok_or(WireError::NoFrame)?;
    let expected = checksum(body);
    if got == expected { Ok(body) } else { Err(WireError::BadChecksum { got, expected }) }
}

fn split_block(bytes: &[u8]) -> Result<(Option<Block<'_>>, &[u8]), WireError> {
    let length = bytes.first().map_or(0, |length| usize::from(*length));
    let (block, inner) = bytes.split_at_checked(length).ok_or(WireError::BadBlock)?;
    match block {
        [_, kind, data @ ..] => Ok((Some(Block { kind: *kind, data }), inner)),
        _ => Err(WireError::BadBlock),
    }
}

/// How a command is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Whom it is for: 0 to 126, or 127 for all.
    pub address: u8,
    /// 0 to 3.
    pub sequence: u8,
    /// True with a CRC, false with a checksum.
    pub crc: bool,
    /// True to begin with a mark.
    pub mark: bool,
}

/// Appends a command. `mac` gives the MAC of what it is given, where the block asks for one.
///
/// The data are cut where the frame would be longer than [`MAX_LENGTH`]; no command of this crate comes near.
pub fn encode(
    framing: Framing,
    block: Option<Block<'_>>,
    (code, data): (u8, &[u8]),
    mac: impl FnOnce(&[u8]) -> [u8; MAC],
    out: &mut Vec<u8>,
) {
    let signed = block.is_some_and(|block| block.is_signed());
    let around = HEAD + block.map_or(0, |block| 2 + block.data.len()) + 1 + usize::from(signed) * MAC;
    let tail = 1 + usize::from(framing.crc);
    let room = usize::from(MAX_LENGTH).saturating_sub(around + tail);
    let data = data.get(..room).unwrap_or(data);
    let length = u16::try_from(around + data.len() + tail).unwrap_or(MAX_LENGTH);
    out.extend(framing.mark.then_some(MARK));
    let first = out.len();
    let [low, high] = length.to_le_bytes();
    let control = framing.sequence & SEQUENCE
        | if framing.crc { WITH_CRC } else { 0 }
        | if block.is_some() { WITH_BLOCK } else { 0 };
    out.extend([START, framing.address, low, high, control]);
    if let Some(block) = block {
        out.extend([u8::try_from(2 + block.data.len()).unwrap_or(u8::MAX), block.kind]);
        out.extend_from_slice(block.data);
    }
    out.push(code);
    out.extend_from_slice(data);
    if signed {
        let own = mac(out.get(first..).unwrap_or_default());
        out.extend_from_slice(&own);
    }
    if framing.crc {
        let crc = crc(out.get(first..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
    } else {
        out.push(checksum(out.get(first..).unwrap_or_default()));
    }
}

/// CRC-16 with polynomial 1021 from 1D0F, not reflected (Annex C).
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0x1D0F, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// The byte that makes the sum of all 0.
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_false_start_with_a_plausible_length_does_not_hide_the_frame_behind_it() {
        let ack = [0x53, 0x85, 0x08, 0x00, 0x05, 0x40, 0x3F, 0xBC];
        let noisy = [&[0x53, 0x00, 0x40, 0x00, 0x04][..], &ack].concat();
        assert_eq!(find(&noisy), Found::Skip { bytes: 5, why: WireError::NoFrame });
        assert!(matches!(find(&noisy[5..]), Found::Frame { bytes: 8, .. }));
    }

    #[test]
    fn a_frame_whose_security_block_is_longer_than_itself_is_none() {
        let mut bytes = vec![START, 0x85, 10, 0, 0x0C, 9, 0x15, 0x40];
        bytes.extend(crc(&bytes).to_le_bytes());
        assert_eq!(find(&bytes), Found::Skip { bytes: 10, why: WireError::BadBlock });
    }

    proptest! {
        #[test]
        fn every_verdict_makes_progress(bytes in prop::collection::vec(prop_oneof![Just(START), Just(MARK), any::<u8>()], 0..64)) {
            match find(&bytes) {
                Found::Incomplete { missing } => prop_assert!(missing > 0),
                Found::Skip { bytes: taken, .. } | Found::Frame { bytes: taken, .. } => {
                    prop_assert!(taken > 0 && taken <= bytes.len());
                }
            }
        }

        #[test]
        fn what_is_encoded_is_found(address in 0u8..=127, sequence in 0u8..4, crc: bool, mark: bool, code: u8, data: Vec<u8>) {
            let mut bytes = Vec::new();
            encode(Framing { address, sequence, crc, mark }, None, (code, &data), |_| [0; 4], &mut bytes);
            match find(&bytes) {
                Found::Frame { bytes: taken, frame } => {
                    prop_assert_eq!(taken, bytes.len());
                    prop_assert_eq!((frame.address, frame.sequence, frame.crc), (address, sequence, crc));
                    prop_assert_eq!((frame.code, frame.data), (code, &data[..]));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
