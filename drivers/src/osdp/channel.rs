//! One connection to one reader: numbers, repeats and signatures (OSDP 2.2, 5.9 and Annex D).

use super::command::Command;
use super::error::WireError;
use super::frame::{self, BROADCAST, Block, Framing};
use super::frame::{Frame, MAC};
use super::reply::code;
use super::secure::{self, KeyKind, SecureChannel};

/// A connection. A command is encoded once and stays the same, byte for byte, however often it is sent: a reader that has
/// answered it already sends its answer again and does nothing more.
#[derive(Debug)]
pub struct Channel {
    address: u8,
    crc: bool,
    mark: bool,
    /// The number of the next command.
    sequence: u8,
    secure: Option<SecureChannel>,
    asked: Option<Asked>,
    frame: Vec<u8>,
    data: Vec<u8>,
}

/// The command that waits for its answer; its bytes are in [`Channel::frame`].
#[derive(Debug, Clone, Copy)]
struct Asked {
    sequence: u8,
    code: u8,
    mac: Option<secure::Block>,
}

/// A sound reply to the command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its code.
    pub code: u8,
    /// True when it came signed, within a Secure Channel.
    pub is_signed: bool,
    mac: Option<secure::Block>,
}

impl Channel {
    /// A connection that has not begun. `crc`: frames end with a CRC; `mark`: they begin with FF.
    pub fn new(address: u8, crc: bool, mark: bool) -> Self {
        let (sequence, secure, asked) = (0, None, None);
        Channel { address, crc, mark, sequence, secure, asked, frame: Vec::new(), data: Vec::new() }
    }

    /// Begins anew: the next command has number 0, by which the reader forgets what was before.
    pub fn restart(&mut self) {
        (self.sequence, self.secure, self.asked) = (0, None, None);
    }

    /// True while there is a Secure Channel.
    pub fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    /// The Secure Channel has begun.
    pub fn set_secure(&mut self, secure: SecureChannel) {
        self.secure = Some(secure);
    }

    /// The code of the command that waits for its answer.
    pub fn waits_for(&self) -> Option<u8> {
        self.asked.map(|asked| asked.code)
    }

    /// The bytes of the command that waits; empty before the first.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Encodes a command; it waits for its answer from now on. `kind` is the key that a handshake is about. A challenge
    /// ends the Secure Channel that there was.
    pub fn ask(&mut self, command: &Command, kind: KeyKind) {
        if matches!(command, Command::Challenge(_)) {
            self.secure = None;
        }
        self.data.clear();
        command.encode(&mut self.data);
        let key = [kind.wire()];
        let block = match (command, &self.secure) {
            (Command::Challenge(_), _) => Some(Block { kind: 0x11, data: &key }),
            (Command::Cryptogram(_), _) => Some(Block { kind: 0x13, data: &key }),
            (_, Some(_)) if self.data.is_empty() => Some(Block { kind: 0x15, data: &[] }),
            (_, Some(secure)) => {
                secure.seal(&mut self.data);
                Some(Block { kind: 0x17, data: &[] })
            }
            (_, None) => None,
        };
        let framing = Framing { address: self.address, sequence: self.sequence, crc: self.crc, mark: self.mark };
        let mut mac = None;
        let sign = |signed: &[u8]| {
            let whole = self.secure.as_ref().map(|secure| secure.command_mac(signed)).unwrap_or_default();
            mac = Some(whole);
            travelling(whole)
        };
        self.frame.clear();
        frame::encode(framing, block, (command.code(), &self.data), sign, &mut self.frame);
        self.asked = Some(Asked { sequence: self.sequence, code: command.code(), mac });
    }

    /// Judges whether a frame answers the command that waits, and puts its data, opened, into `data`.
    ///
    /// # Errors
    /// Why it is not the answer. After [`WireError::BadMac`] and [`WireError::BadPadding`] nothing on this connection can
    /// be believed any more.
    pub fn judge(&self, frame: &Frame<'_>, data: &mut Vec<u8>) -> Result<Answer, WireError> {
        let asked = self.asked.ok_or(WireError::NoFrame)?;
        answers(frame, self.address, asked.sequence)?;
        data.clear();
        data.extend_from_slice(frame.data);
        let plain = Answer { code: frame.code, is_signed: false, mac: None };
        let Some(secure) = &self.secure else {
            let fits = match frame.block.map(|block| block.kind) {
                None => !matches!(frame.code, code::CCRYPT | code::RMAC_I),
                Some(0x12) => frame.code == code::CCRYPT,
                Some(0x14) => frame.code == code::RMAC_I,
                Some(_) => false,
            };
            return if fits { Ok(plain) } else { Err(WireError::BadBlock) };
        };
        let (Some(block), Some(travelled), Some(signed)) = (frame.block, frame.mac, asked.mac) else {
            // A reader that has lost the keys can say so in no other way; nothing else is heard in the clear.
            let says_no = matches!(frame.code, code::NAK | code::BUSY);
            return if says_no { Ok(plain) } else { Err(WireError::Unsecured) };
        };
        if !matches!(block.kind, 0x16 | 0x18) {
            return Err(WireError::BadMac);
        }
        let mac = secure.reply_mac(frame.signed, signed, travelled)?;
        if block.is_sealed() {
            secure.open(signed, data)?;
        }
        Ok(Answer { code: frame.code, is_signed: true, mac: Some(mac) })
    }

    /// The answer is taken: the next command has the next number.
    pub fn take(&mut self, answer: Answer) {
        let Some(asked) = self.asked.take() else { return };
        self.sequence = if asked.sequence == 3 { 1 } else { asked.sequence + 1 };
        if let (Some(secure), Some(mac)) = (&mut self.secure, answer.mac) {
            secure.advance(mac);
        }
    }
}

/// Whether a frame comes from a reader at this address and answers this number. BUSY always has number 0.
///
/// # Errors
/// What differs.
pub fn answers(frame: &Frame<'_>, address: u8, sequence: u8) -> Result<(), WireError> {
    if !frame.from_reader {
        return Err(WireError::WrongDirection);
    }
    if frame.address != address && address != BROADCAST {
        return Err(WireError::AddressMismatch { got: frame.address, expected: address });
    }
    let is_busy = frame.code == code::BUSY && frame.sequence == 0;
    if frame.sequence != sequence && !is_busy {
        return Err(WireError::SequenceMismatch { got: frame.sequence, expected: sequence });
    }
    Ok(())
}

fn travelling([a, b, c, d, ..]: secure::Block) -> [u8; MAC] {
    [a, b, c, d]
}
