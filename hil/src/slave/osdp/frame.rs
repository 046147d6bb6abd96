//! Frames of OSDP, written apart from `gatehouse-drivers`: `[FF] 53 ADDR LEN_L LEN_M CTRL [BLOCK] CODE DATA [MAC] CRC_L CRC_H`.

/// Set in the address of a reply.
const REPLY: u8 = 0x80;
/// Control bits: a CRC ends the frame; a security block follows.
const WITH_CRC: u8 = 0x04;
const WITH_BLOCK: u8 = 0x08;
/// Bytes before the block or the code.
const HEAD: usize = 5;
/// Bytes of the MAC that travel.
pub(super) const MAC: usize = 4;

/// A sound command of a panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Whom it is for.
    pub(super) address: u8,
    /// 0 to 3.
    pub(super) sequence: u8,
    /// The type of the security block; 0: none.
    pub(super) block: u8,
    /// What is wanted.
    pub(super) code: u8,
    /// What belongs to it.
    pub(super) data: Vec<u8>,
    /// What the MAC is made of, and the part of it that came.
    pub(super) signed: (Vec<u8>, [u8; MAC]),
    /// The whole frame: a command that comes twice is answered twice by the same bytes.
    pub(super) whole: Vec<u8>,
}

/// CRC-16 of polynomial 1021, not reflected, that begins with 1D0F.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0x1D0F, |crc, &byte| {
        let step = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        (0..8).fold(crc ^ u16::from(byte) << 8, step)
    })
}

/// True for the blocks of an open Secure Channel, whose frames are signed.
pub(super) fn is_signed(block: u8) -> bool {
    (0x15..=0x18).contains(&block)
}

/// The first sound command in what was heard.
pub(super) fn open(heard: &[u8]) -> Option<Command> {
    let starts = heard.iter().enumerate().filter(|(_, byte)| **byte == 0x53);
    starts.filter_map(|(at, _)| command(&heard[at..])).next()
}

fn command(bytes: &[u8]) -> Option<Command> {
    let &[_, address, low, high, control, ..] = bytes else { return None };
    let whole = bytes.get(..usize::from(u16::from_le_bytes([low, high])))?;
    let (body, check) = whole.split_last_chunk::<2>()?;
    if control & WITH_CRC == 0 || address & REPLY != 0 || crc(body).to_le_bytes() != *check {
        return None;
    }
    let rest = body.get(HEAD..)?;
    let (block, rest) = if control & WITH_BLOCK == 0 {
        (0, rest)
    } else {
        let (block, rest) = rest.split_at_checked(usize::from(*rest.first()?))?;
        (*block.get(1)?, rest)
    };
    let (rest, signed) = if is_signed(block) {
        let (rest, mac) = rest.split_last_chunk::<MAC>()?;
        (rest, (body[..body.len() - MAC].to_vec(), *mac))
    } else {
        (rest, (Vec::new(), [0; MAC]))
    };
    let (&code, data) = rest.split_first()?;
    let (sequence, data) = (control & 0x03, data.to_vec());
    Some(Command { address, sequence, block, code, data, signed, whole: whole.to_vec() })
}

/// A reply as it travels. `block` is a type and its data, `mac` makes the MAC of what it is given.
pub(super) fn seal(
    (address, sequence): (u8, u8),
    block: Option<(u8, &[u8])>,
    (code, data): (u8, &[u8]),
    mac: impl FnOnce(&[u8]) -> [u8; MAC],
) -> Vec<u8> {
    let signed = block.is_some_and(|(kind, _)| is_signed(kind));
    let mut frame = vec![0x53, address | REPLY, 0, 0, sequence | WITH_CRC];
    if let Some((kind, data)) = block {
        frame[4] |= WITH_BLOCK;
        frame.extend([u8::try_from(data.len() + 2).unwrap_or(u8::MAX), kind]);
        frame.extend(data);
    }
    frame.push(code);
    frame.extend(data);
    let length = frame.len() + if signed { MAC } else { 0 } + 2;
    [frame[2], frame[3]] = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
    if signed {
        let mac = mac(&frame);
        frame.extend(mac);
    }
    let check = crc(&frame);
    frame.extend(check.to_le_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of libosdp 3.2.9: its panel asks reader 5 who it is, and the reader says later that there is nothing new.
    #[test]
    fn a_command_is_found_behind_marks_and_noise_and_a_reply_is_the_one_of_another_implementation() {
        let mut heard = vec![0x00, 0x53];
        heard.extend([0xFF, 0x53, 0x05, 0x09, 0x00, 0x04, 0x61, 0x00, 0xC1, 0x25]);
        let command = open(&heard).unwrap();
        assert_eq!((command.address, command.sequence, command.code, &command.data[..]), (5, 0, 0x61, &[0][..]));
        heard[8] ^= 1;
        assert_eq!(open(&heard), None);
        let ack = seal((5, 2), None, (0x40, &[]), |_| [0; 4]);
        assert_eq!(ack, [0x53, 0x85, 0x08, 0x00, 0x06, 0x40, 0x6C, 0xE9]);
    }

    #[test]
    fn the_check_is_the_one_of_the_catalogue() {
        assert_eq!(crc(b"123456789"), 0xE5CC, "CRC-16/SPI-FUJITSU");
    }
}
