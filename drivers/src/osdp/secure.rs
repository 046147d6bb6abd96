//! Secure Channel: keys, handshake, MACs and sealed data (OSDP 2.2, Annex D).

use std::fmt;

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};

use super::error::WireError;
use super::frame::MAC;

/// A block of AES.
pub type Block = [u8; 16];

/// A reader's base key (SCBK), of which the keys of each Secure Channel are made.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Block);

/// Which key a handshake is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The key that everybody knows, for installation only (SCBK-D).
    Default,
    /// The reader's own (SCBK).
    Own,
}

impl Key {
    /// SCBK-D: 30 31 ... 3F.
    pub const DEFAULT: Key = Key(*b"0123456789:;<=>?");

    /// A key of 16 bytes.
    pub const fn new(bytes: Block) -> Self {
        Key(bytes)
    }

    /// The bytes, for the reader that is to have it.
    pub fn bytes(&self) -> Block {
        self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl KeyKind {
    /// The byte of security blocks.
    pub fn wire(self) -> u8 {
        match self {
            KeyKind::Default => 0,
            KeyKind::Own => 1,
        }
    }
}

/// Random numbers that nobody can foresee without the seed: AES in counter mode under it.
pub struct Random {
    cipher: Aes128,
    counter: u128,
}

impl Random {
    /// From 16 bytes of true randomness, used for nothing else.
    pub fn new(seed: Block) -> Self {
        Random { cipher: cipher(&seed), counter: 0 }
    }

    /// The next number.
    pub fn draw(&mut self) -> [u8; 8] {
        let block = encrypted(&self.cipher, self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        let [a, b, c, d, e, f, g, h, ..] = block;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

/// The keys of one Secure Channel, and its two random numbers.
#[derive(Clone)]
pub struct Handshake {
    seal: Aes128,
    mac1: Aes128,
    mac2: Aes128,
    panel: [u8; 8],
    reader: [u8; 8],
}

impl Handshake {
    /// Derives the keys (D.4.1).
    pub fn new(key: &Key, panel: [u8; 8], reader: [u8; 8]) -> Self {
        let base = cipher(&key.0);
        let [r0, r1, r2, r3, r4, r5, ..] = panel;
        let derive = |second: u8| {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&[1, second, r0, r1, r2, r3, r4, r5]);
            cipher(&encrypted(&base, block))
        };
        Handshake { seal: derive(0x82), mac1: derive(1), mac2: derive(2), panel, reader }
    }

    /// What proves that the reader has the key (D.4.3).
    pub fn reader_cryptogram(&self) -> Block {
        encrypted(&self.seal, joined(self.panel, self.reader))
    }

    /// What proves that the panel has the key (D.4.4).
    pub fn panel_cryptogram(&self) -> Block {
        encrypted(&self.seal, joined(self.reader, self.panel))
    }

    /// The first MAC, which the reader sends last (D.4.5).
    pub fn initial_mac(&self) -> Block {
        encrypted(&self.mac2, encrypted(&self.mac1, self.panel_cryptogram()))
    }

    /// The channel that follows.
    pub fn into_channel(self) -> SecureChannel {
        let replied = self.initial_mac();
        SecureChannel { seal: self.seal, mac1: self.mac1, mac2: self.mac2, replied }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handshake")
    }
}

/// A Secure Channel: its keys, and the last MAC of the reader. The MAC of each frame begins with the whole MAC of the
/// frame before it, which came from the other side.
#[derive(Clone)]
pub struct SecureChannel {
    seal: Aes128,
    mac1: Aes128,
    mac2: Aes128,
    replied: Block,
}

impl SecureChannel {
    /// The whole MAC of a command.
    pub fn command_mac(&self, signed: &[u8]) -> Block {
        self.mac(signed, self.replied)
    }

    /// The whole MAC of a reply to the command that was signed with `asked`.
    ///
    /// # Errors
    /// [`WireError::BadMac`] when the part that travelled is another.
    pub fn reply_mac(&self, signed: &[u8], asked: Block, travelled: [u8; MAC]) -> Result<Block, WireError> {
        let whole = self.mac(signed, asked);
        // Compared without stopping early, so that the time taken tells nothing.
        let differ = whole.iter().zip(travelled).fold(0, |all, (own, other)| all | (own ^ other));
        if differ == 0 { Ok(whole) } else { Err(WireError::BadMac) }
    }

    /// Goes on after a reply with this whole MAC.
    pub fn advance(&mut self, replied: Block) {
        self.replied = replied;
    }

    /// Seals the data of a command in place: 80, zeros up to a block, then CBC.
    pub fn seal(&self, data: &mut Vec<u8>) {
        data.push(0x80);
        data.resize(data.len().next_multiple_of(16), 0);
        let mut vector = inverted(self.replied);
        let (blocks, _) = data.as_chunks_mut::<16>();
        for block in blocks {
            vector = encrypted(&self.seal, xor(*block, vector));
            *block = vector;
        }
    }

    /// Opens the data of a reply to the command that was signed with `asked`, in place.
    ///
    /// # Errors
    /// [`WireError::BadPadding`] when they are no sealed data.
    pub fn open(&self, asked: Block, data: &mut Vec<u8>) -> Result<(), WireError> {
        let mut vector = inverted(asked);
        let (blocks, rest) = data.as_chunks_mut::<16>();
        if !rest.is_empty() {
            return Err(WireError::BadPadding);
        }
        for block in blocks {
            let sealed = *block;
            *block = xor(decrypted(&self.seal, sealed), vector);
            vector = sealed;
        }
        let end = data.iter().rposition(|byte| *byte != 0).filter(|end| data.get(*end) == Some(&0x80));
        let end = end.filter(|end| data.len() - end <= 16).ok_or(WireError::BadPadding)?;
        data.truncate(end);
        Ok(())
    }

    /// CBC under the first key, the last block under the second.
    fn mac(&self, signed: &[u8], vector: Block) -> Block {
        let mut chunks = signed.chunks(16).peekable();
        let mut last = vector;
        while let Some(chunk) = chunks.next() {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            if let Some(pad) = block.get_mut(chunk.len()) {
                *pad = 0x80;
            }
            let key = if chunks.peek().is_some() { &self.mac1 } else { &self.mac2 };
            last = encrypted(key, xor(block, last));
        }
        last
    }
}

/// The reader's end, for tests.
#[cfg(test)]
impl SecureChannel {
    /// Opens the data of a command.
    pub(super) fn open_command(&self, data: &mut Vec<u8>) {
        self.open(self.replied, data).expect("a sealed command");
    }

    /// Seals the data of a reply to the command that was signed with `asked`.
    pub(super) fn seal_reply(&self, asked: Block, data: &mut Vec<u8>) {
        SecureChannel { replied: asked, ..self.clone() }.seal(data);
    }

    /// The part of a reply's MAC that travels.
    pub(super) fn mac_after(&self, asked: Block, signed: &[u8]) -> [u8; MAC] {
        let [a, b, c, d, ..] = self.mac(signed, asked);
        [a, b, c, d]
    }
}

impl fmt::Debug for SecureChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecureChannel")
    }
}

fn cipher(key: &Block) -> Aes128 {
    Aes128::new(GenericArray::from_slice(key))
}

fn encrypted(cipher: &Aes128, mut block: Block) -> Block {
    cipher.encrypt_block(GenericArray::from_mut_slice(&mut block));
    block
}

fn decrypted(cipher: &Aes128, mut block: Block) -> Block {
    cipher.decrypt_block(GenericArray::from_mut_slice(&mut block));
    block
}

fn xor(mut block: Block, other: Block) -> Block {
    block.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    block
}

fn inverted(block: Block) -> Block {
    block.map(|byte| !byte)
}

fn joined(first: [u8; 8], second: [u8; 8]) -> Block {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&first);
    block[8..].copy_from_slice(&second);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(hex: &str) -> Block {
        u128::from_str_radix(hex, 16).unwrap().to_be_bytes()
    }

    fn half(hex: &str) -> [u8; 8] {
        u64::from_str_radix(hex, 16).unwrap().to_be_bytes()
    }

    // OSDP 2.2, Annex E.
    #[test]
    fn keys_and_cryptograms_are_those_of_the_standards_example() {
        let handshake = Handshake::new(&Key::DEFAULT, half("B0B1B2B3B4B5B6B7"), half("A0A1A2A3A4A5A6A7"));
        assert_eq!(handshake.reader_cryptogram(), block("FDE5D2F428EC16312471EA3C02BD7796"));
        assert_eq!(handshake.panel_cryptogram(), block("26D3356E07762D262801FC8E6665A891"));
        assert_eq!(handshake.initial_mac(), block("B2A30057EB98BA2229EC1F875662B524"));
    }

    #[test]
    fn sealed_data_open_only_with_their_end_mark() {
        let channel = Handshake::new(&Key::DEFAULT, [1; 8], [2; 8]).into_channel();
        for length in [0, 1, 15, 16, 17] {
            let mut data = vec![0x80; length];
            channel.seal(&mut data);
            assert_eq!(data.len() % 16, 0);
            assert_eq!(channel.open(channel.replied, &mut data), Ok(()));
            assert_eq!(data, vec![0x80; length]);
        }
        let mut noise = vec![7; 16];
        assert_eq!(channel.open(channel.replied, &mut noise), Err(WireError::BadPadding));
        assert_eq!(channel.open(channel.replied, &mut Vec::new()), Err(WireError::BadPadding));
    }

    #[test]
    fn random_numbers_differ_and_follow_from_the_seed() {
        let (mut one, mut same, mut other) = (Random::new([1; 16]), Random::new([1; 16]), Random::new([2; 16]));
        let first = one.draw();
        assert_eq!(first, same.draw());
        assert_ne!(first, one.draw());
        assert_ne!(first, other.draw());
    }
}
