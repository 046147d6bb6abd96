//! What a reader answers (OSDP 2.2, chapter 7).

use super::error::WireError;

/// A reply, its data as they were received or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Nothing new, or done.
    Ack,
    /// No, by code; see [`nak_meaning`].
    Nak(u8),
    /// Who it is.
    Id(Identity),
    /// What it can do: rows of function, level, count.
    Capabilities(&'a [[u8; 3]]),
    /// Tamper and power.
    Local {
        /// 0: none.
        tamper: u8,
        /// 0: good.
        power: u8,
    },
    /// The inputs, one byte each; 0: inactive.
    Inputs(&'a [u8]),
    /// The outputs, one byte each; 0: off.
    Outputs(&'a [u8]),
    /// The readers behind the reader, one byte each.
    Readers(&'a [u8]),
    /// A card, bit by bit.
    Card(CardBits<'a>),
    /// A card as characters.
    FormattedCard {
        /// The reader behind the reader.
        reader: u8,
        /// 0: read forwards, 1: backwards.
        direction: u8,
        /// The characters.
        text: &'a [u8],
    },
    /// Keys that were pressed, in ASCII; `*` is 7F, `#` is 0D.
    Keypad {
        /// The reader behind the reader.
        reader: u8,
        /// The keys.
        keys: &'a [u8],
    },
    /// Address and speed that hold from now on.
    Communication {
        /// The address.
        address: u8,
        /// Bits per second.
        baud: u32,
    },
    /// The reader's half of the keys.
    ClientCryptogram {
        /// The reader's own number.
        uid: [u8; 8],
        /// Its random number.
        random: [u8; 8],
        /// The proof that it has the key.
        cryptogram: [u8; 16],
    },
    /// The first MAC of a Secure Channel.
    InitialMac([u8; 16]),
    /// Ask again.
    Busy,
    /// Any other.
    Other {
        /// Its code.
        code: u8,
        /// Its data.
        data: &'a [u8],
    },
}

/// Who a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The maker's number, as sent.
    pub vendor: [u8; 3],
    /// The maker's model.
    pub model: u8,
    /// The model's version.
    pub version: u8,
    /// The serial number.
    pub serial: u32,
    /// Major, minor, build.
    pub firmware: [u8; 3],
}

/// A card's bits, the first one highest in the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardBits<'a> {
    /// The reader behind the reader.
    pub reader: u8,
    /// 0 unspecified, 1 Wiegand.
    pub format: u8,
    /// How many bits.
    pub count: u16,
    /// The bytes that hold them.
    pub data: &'a [u8],
}

/// Codes of replies.
pub mod code {
    #![expect(missing_docs, reason = "the names are the standard's")]
    pub const ACK: u8 = 0x40;
    pub const NAK: u8 = 0x41;
    pub const PDID: u8 = 0x45;
    pub const PDCAP: u8 = 0x46;
    pub const LSTATR: u8 = 0x48;
    pub const ISTATR: u8 = 0x49;
    pub const OSTATR: u8 = 0x4A;
    pub const RSTATR: u8 = 0x4B;
    pub const RAW: u8 = 0x50;
    pub const FMT: u8 = 0x51;
    pub const KEYPAD: u8 = 0x53;
    pub const COM: u8 = 0x54;
    pub const CCRYPT: u8 = 0x76;
    pub const RMAC_I: u8 = 0x78;
    pub const BUSY: u8 = 0x79;
}

/// What the codes of [`Reply::Nak`] say.
pub fn nak_meaning(code: u8) -> &'static str {
    match code {
        1 => "bad check",
        2 => "command length",
        3 => "unknown command",
        4 => "sequence error",
        5 => "security block not supported",
        6 => "security conditions not met",
        7 => "biometric type not supported",
        8 => "biometric format not supported",
        9 => "unable to process record",
        _ => "unknown reason",
    }
}

impl<'a> Reply<'a> {
    /// Reads a reply from its code and its data, opened where they were sealed.
    ///
    /// # Errors
    /// [`WireError::BadPayload`] when the data do not suit the code.
    pub fn decode(code: u8, data: &'a [u8]) -> Result<Reply<'a>, WireError> {
        Reply::read(code, data).ok_or(WireError::BadPayload { code, got: data.len() })
    }

    fn read(code: u8, data: &'a [u8]) -> Option<Reply<'a>> {
        Some(match (code, data) {
            (code::ACK, []) => Reply::Ack,
            // Some codes are followed by more about the reason.
            (code::NAK, [code, ..]) => Reply::Nak(*code),
            // No, without a reason, is still no.
            (code::NAK, []) => Reply::Nak(0),
            (code::PDID, &[a, b, c, model, version, s0, s1, s2, s3, major, minor, build]) => Reply::Id(Identity {
                vendor: [a, b, c],
                model,
                version,
                serial: u32::from_le_bytes([s0, s1, s2, s3]),
                firmware: [major, minor, build],
            }),
            (code::PDCAP, data) => match data.as_chunks::<3>() {
                (rows, []) => Reply::Capabilities(rows),
                _ => return None,
            },
            (code::LSTATR, &[tamper, power]) => Reply::Local { tamper, power },
            (code::ISTATR, states) => Reply::Inputs(states),
            (code::OSTATR, states) => Reply::Outputs(states),
            (code::RSTATR, states) => Reply::Readers(states),
            (code::RAW, &[reader, format, low, high, ref data @ ..]) => {
                let count = u16::from_le_bytes([low, high]);
                if data.len() != usize::from(count).div_ceil(8) {
                    return None;
                }
                Reply::Card(CardBits { reader, format, count, data })
            }
            (code::FMT, &[reader, direction, length, ref text @ ..]) if text.len() == usize::from(length) => {
                Reply::FormattedCard { reader, direction, text }
            }
            (code::KEYPAD, &[reader, count, ref keys @ ..]) if keys.len() == usize::from(count) => {
                Reply::Keypad { reader, keys }
            }
            (code::COM, &[address, a, b, c, d]) => {
                Reply::Communication { address, baud: u32::from_le_bytes([a, b, c, d]) }
            }
            (code::CCRYPT, data) => {
                let (uid, rest) = data.split_first_chunk::<8>()?;
                let (random, cryptogram) = rest.split_first_chunk::<8>()?;
                Reply::ClientCryptogram { uid: *uid, random: *random, cryptogram: cryptogram.try_into().ok()? }
            }
            (code::RMAC_I, mac) => Reply::InitialMac(mac.try_into().ok()?),
            (code::BUSY, []) => Reply::Busy,
            (
                code::ACK | code::PDID | code::LSTATR | code::RAW | code::FMT | code::KEYPAD | code::COM | code::BUSY,
                _,
            ) => return None,
            (code, data) => Reply::Other { code, data },
        })
    }
}

impl CardBits<'_> {
    /// The bits in the order of their reading, first bit first; only the bits that count, never the filling.
    pub fn bits(&self) -> impl Iterator<Item = bool> {
        let bits = self.data.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1));
        bits.take(usize::from(self.count))
    }
}
