//! The reader's end of a Secure Channel (OSDP 2.2, Annex D), written apart from `gatehouse-drivers`.

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};

use super::frame::MAC;

/// A block of AES.
type Block = [u8; 16];

/// Keys, and the last whole MACs of both sides.
pub(super) struct Channel {
    seal: Aes128,
    mac1: Aes128,
    mac2: Aes128,
    panel: [u8; 8],
    reader: [u8; 8],
    asked: Block,
    replied: Block,
}

fn encrypted(cipher: &Aes128, mut block: Block) -> Block {
    cipher.encrypt_block(GenericArray::from_mut_slice(&mut block));
    block
}

fn joined(first: [u8; 8], second: [u8; 8]) -> Block {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&first);
    block[8..].copy_from_slice(&second);
    block
}

fn xor(a: Block, b: Block) -> Block {
    std::array::from_fn(|at| a[at] ^ b[at])
}

impl Channel {
    /// The keys that follow from the reader's own key and the two random numbers.
    pub(super) fn new(key: Block, panel: [u8; 8], reader: [u8; 8]) -> Self {
        let base = Aes128::new(GenericArray::from_slice(&key));
        let derived = |second: u8| {
            let mut block = [0; 16];
            (block[0], block[1]) = (1, second);
            block[2..8].copy_from_slice(&panel[..6]);
            Aes128::new(GenericArray::from_slice(&encrypted(&base, block)))
        };
        let (seal, mac1, mac2) = (derived(0x82), derived(0x01), derived(0x02));
        Channel { seal, mac1, mac2, panel, reader, asked: [0; 16], replied: [0; 16] }
    }

    /// What proves that the reader has the key.
    pub(super) fn own_proof(&self) -> Block {
        encrypted(&self.seal, joined(self.panel, self.reader))
    }

    /// What proves that the panel has it.
    fn panel_proof(&self) -> Block {
        encrypted(&self.seal, joined(self.reader, self.panel))
    }

    /// The first MAC if the panel has proved that it has the key: the channel is open.
    pub(super) fn begin(&mut self, proof: &[u8]) -> Option<Block> {
        (proof == self.panel_proof()).then(|| {
            self.replied = encrypted(&self.mac2, encrypted(&self.mac1, self.panel_proof()));
            self.replied
        })
    }

    fn mac(&self, signed: &[u8], mut last: Block) -> Block {
        let blocks = signed.len().div_ceil(16);
        for (at, chunk) in signed.chunks(16).enumerate() {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            if chunk.len() < 16 {
                block[chunk.len()] = 0x80;
            }
            last = encrypted(if at + 1 == blocks { &self.mac2 } else { &self.mac1 }, xor(block, last));
        }
        last
    }

    /// Whether a command is signed by the panel; the next reply follows on it.
    pub(super) fn takes(&mut self, (signed, travelled): &(Vec<u8>, [u8; MAC])) -> bool {
        let whole = self.mac(signed, self.replied);
        let right = whole[..MAC] == *travelled;
        if right {
            self.asked = whole;
        }
        right
    }

    /// Signs a reply to the command that was taken last.
    pub(super) fn sign(&mut self, signed: &[u8]) -> [u8; MAC] {
        self.replied = self.mac(signed, self.asked);
        let [a, b, c, d, ..] = self.replied;
        [a, b, c, d]
    }

    /// Seals the data of a reply.
    pub(super) fn seal(&self, data: &[u8]) -> Vec<u8> {
        let mut padded = data.to_vec();
        padded.push(0x80);
        padded.resize(padded.len().next_multiple_of(16), 0);
        let (mut vector, mut sealed) = (self.asked.map(|byte| !byte), Vec::with_capacity(padded.len()));
        for block in padded.as_chunks::<16>().0 {
            vector = encrypted(&self.seal, xor(*block, vector));
            sealed.extend(vector);
        }
        sealed
    }

    /// Opens the data of a command; `None` when they are not sealed.
    pub(super) fn open(&self, data: &[u8]) -> Option<Vec<u8>> {
        let (blocks, []) = data.as_chunks::<16>() else { return None };
        let (mut vector, mut opened) = (self.replied.map(|byte| !byte), Vec::with_capacity(data.len()));
        for block in blocks {
            let mut plain = *block;
            self.seal.decrypt_block(GenericArray::from_mut_slice(&mut plain));
            opened.extend(xor(plain, vector));
            vector = *block;
        }
        let end = opened.iter().rposition(|byte| *byte != 0).filter(|end| opened[*end] == 0x80)?;
        opened.truncate(end);
        Some(opened)
    }
}
