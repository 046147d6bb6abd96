//! The three framings: what goes around a PDU on the wire.

use super::checksum::{crc16, lrc};

/// What goes around a PDU. RTU over TCP is [`Framing::Rtu`] on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Binary with CRC-16.
    Rtu,
    /// Hexadecimal text with LRC, between `:` and CR LF.
    Ascii,
    /// MBAP header, on a socket.
    Tcp,
}

/// Most bytes of a PDU (Modbus Application Protocol 1.1b3, 4.1).
pub const MAX_PDU: usize = 253;
/// Bytes of the MBAP header, the unit included.
pub(super) const MBAP: usize = 7;

impl Framing {
    /// Bytes on the wire of a frame with a PDU of `pdu` bytes.
    pub fn frame_bytes(self, pdu: usize) -> usize {
        match self {
            Framing::Rtu => 1 + pdu + 2,
            Framing::Ascii => 1 + 2 * (1 + pdu + 1) + 2,
            Framing::Tcp => MBAP + pdu,
        }
    }

    /// Appends a frame. `transaction` is used by TCP alone.
    pub fn encode(self, transaction: u16, unit: u8, pdu: &[u8], bytes: &mut Vec<u8>) {
        let start = bytes.len();
        match self {
            Framing::Rtu => {
                bytes.push(unit);
                bytes.extend_from_slice(pdu);
                let crc = crc16(&bytes[start..]);
                bytes.extend_from_slice(&crc.to_le_bytes());
            }
            Framing::Ascii => {
                let sum = lrc(&[lrc(pdu).wrapping_neg(), unit]);
                bytes.push(b':');
                for &byte in std::iter::once(&unit).chain(pdu).chain(std::iter::once(&sum)) {
                    bytes.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
                }
                bytes.extend_from_slice(b"\r\n");
            }
            Framing::Tcp => {
                let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
                bytes.extend_from_slice(&transaction.to_be_bytes());
                bytes.extend_from_slice(&[0, 0]);
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.push(unit);
                bytes.extend_from_slice(pdu);
            }
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

/// The value of an upper-case hexadecimal digit.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_framed_as_the_vectors_have_it() {
        let pdu = [0x03, 0x00, 0x6B, 0x00, 0x03];
        for (framing, expected) in [
            (Framing::Rtu, &b"\x11\x03\x00\x6B\x00\x03\x76\x87"[..]),
            (Framing::Ascii, b":1103006B00037E\r\n"),
            (Framing::Tcp, b"\x00\x01\x00\x00\x00\x06\x11\x03\x00\x6B\x00\x03"),
        ] {
            let mut bytes = Vec::new();
            framing.encode(1, 0x11, &pdu, &mut bytes);
            assert_eq!(bytes, expected, "{framing:?}");
            assert_eq!(framing.frame_bytes(pdu.len()), expected.len(), "{framing:?}");
        }
    }
}
