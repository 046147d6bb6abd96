//! What lies on the disk about credentials is sealed: ChaCha20-Poly1305 under a key that the shell has from systemd.
//!
//! Layout: `GHS1`, 8 bytes that name the key, 16 bytes of salt, then ciphertext with its 16-byte tag. Each sealed text
//! has a key of its own: HMAC-SHA256 of purpose and salt under the box's key. So a text sealed for one purpose (one
//! version, one part of it) opens for no other, and a salt need be unique per purpose only.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

const MAGIC: &[u8; 4] = b"GHS1";
const HEAD: usize = 4 + 8 + 16;

/// How many bytes sealing adds.
pub const OVERHEAD: usize = HEAD + 16;

/// 16 random bytes, to be used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// The box's key for what it seals.
#[derive(Clone)]
pub struct SealKey {
    key: hmac::Key,
    name: [u8; 8],
}

impl PartialEq for SealKey {
    /// Compares the keys' names, which are made of the keys.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for SealKey {}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").finish_non_exhaustive()
    }
}

/// Why a sealed text does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is nothing that was sealed by this program, or only its beginning.
    #[error("not a sealed text: it does not begin with GHS1, or ends too soon")]
    NotSealed,
    /// It was sealed under another key.
    #[error("sealed under another key: the box's credential was changed, or the file is another box's")]
    OtherKey,
    /// It was altered, cut, or sealed for another purpose.
    #[error("the seal is broken: the text was altered, cut short, or put in another's place")]
    Broken,
}

impl SealKey {
    /// Takes 32 random bytes as the key.
    pub fn new(secret: &[u8; 32]) -> SealKey {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let name = first(hmac::sign(&key, b"gatehouse seal key").as_ref());
        SealKey { key, name }
    }

    /// Seals a text for one purpose.
    pub fn seal(&self, purpose: &str, salt: Salt, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(MAGIC);
        sealed.extend_from_slice(&self.name);
        sealed.extend_from_slice(&salt.0);
        sealed.extend_from_slice(plain);
        let (_, body) = sealed.split_at_mut(HEAD);
        let tag = self
            .one_key(purpose, salt)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::empty(), body)
            .expect("a text in memory is shorter than the cipher's 256 GB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens a text that was sealed for this purpose.
    ///
    /// # Errors
    /// [`SealError`] says what is wrong with it.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (magic, rest) = sealed.split_first_chunk::<4>().ok_or(SealError::NotSealed)?;
        let (name, rest) = rest.split_first_chunk::<8>().ok_or(SealError::NotSealed)?;
        let (salt, body) = rest.split_first_chunk::<16>().ok_or(SealError::NotSealed)?;
        if magic != MAGIC || body.len() < 16 {
            return Err(SealError::NotSealed);
        }
        if *name != self.name {
            return Err(SealError::OtherKey);
        }
        let mut body = body.to_vec();
        let plain = self
            .one_key(purpose, Salt(*salt))
            .open_in_place(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::empty(), &mut body)
            .map_err(|_| SealError::Broken)?
            .len();
        body.truncate(plain);
        Ok(body)
    }

    /// The key of one sealed text. It encrypts once, so its nonce may be constant.
    fn one_key(&self, purpose: &str, salt: Salt) -> LessSafeKey {
        let mut derive = hmac::Context::with_key(&self.key);
        for part in [b"gatehouse seal 1/".as_slice(), purpose.as_bytes(), b"\0", &salt.0] {
            derive.update(part);
        }
        let key = UnboundKey::new(&CHACHA20_POLY1305, derive.sign().as_ref());
        LessSafeKey::new(key.expect("HMAC-SHA256 gives the 32 bytes that the cipher takes"))
    }
}

/// The first bytes of a longer text.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    for (to, from) in taken.iter_mut().zip(bytes) {
        *to = *from;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_for_its_key_and_purpose_only() {
        let key = SealKey::new(&[1; 32]);
        let sealed = key.seal("image", Salt([9; 16]), b"nobody's business");
        assert_eq!(sealed.len(), 17 + OVERHEAD);
        assert_eq!(key.open("image", &sealed).unwrap(), b"nobody's business");
        assert_eq!(key.open("delta", &sealed), Err(SealError::Broken));
        assert_eq!(SealKey::new(&[2; 32]).open("image", &sealed), Err(SealError::OtherKey));
        assert_ne!(key.seal("image", Salt([8; 16]), b"nobody's business")[HEAD..], sealed[HEAD..]);
    }

    #[test]
    fn any_altered_or_missing_byte_is_noticed() {
        let key = SealKey::new(&[1; 32]);
        let sealed = key.seal("image", Salt([9; 16]), b"text");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key.open("image", &altered).is_err(), "byte {at}");
            assert!(key.open("image", &sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
