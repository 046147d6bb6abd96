//! The keys of OSDP readers, from their files.

use std::path::Path;

use gatehouse_config::{Device, Station};
use gatehouse_drivers::osdp::{Key, Keys, Secrets};

use super::credentials::random;

/// A key's file is refused beyond this.
const KEY_FILE_BYTES: u64 = 4096;

/// The secrets of a device; none but randomness where it is no reader with a key. A key that cannot be read is told in the
/// log, and its reader is then not believed.
pub(super) fn secrets(device: &Device) -> Secrets {
    let Station::Osdp(station) = &device.station else { return Secrets::default() };
    let read = |path: &Path| match key(path) {
        Ok(key) => Some(key),
        Err(why) => {
            tracing::error!(device = %device.id, file = %path.display(), why, "the reader's key cannot be used");
            None
        }
    };
    let own = station.key.as_deref().and_then(read);
    let before = station.key_before.as_deref().and_then(read);
    Secrets { keys: Keys { own, before, commissioning: station.commissioning }, seed: random() }
}

/// 16 bytes as they are, or as 32 hexadecimal digits.
fn key(path: &Path) -> Result<Key, String> {
    let size = std::fs::metadata(path).map_err(|why| why.to_string())?.len();
    if size > KEY_FILE_BYTES {
        return Err("it is too large for a key of 16 bytes".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|why| why.to_string())?;
    let text = std::str::from_utf8(&bytes).map_or("", str::trim);
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes);
    let plain = <[u8; 16]>::try_from(bytes.as_slice()).ok();
    let key = plain.or(number).map(Key::new).ok_or("it holds neither 16 bytes nor 32 hexadecimal digits")?;
    if key == Key::DEFAULT { Err("it is the key that everybody knows (SCBK-D)".to_owned()) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_16_bytes_or_their_digits_and_never_the_one_that_everybody_knows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reader.key");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            key(&path).map(|key| key.bytes())
        };
        assert_eq!(read(&[7; 16]), Ok([7; 16]));
        assert_eq!(read(b"000102030405060708090A0B0C0D0E0f\n").unwrap()[15], 15);
        assert_eq!(read(b"swordfish").unwrap_err(), "it holds neither 16 bytes nor 32 hexadecimal digits");
        assert!(read(b"303132333435363738393A3B3C3D3E3F").is_err());
    }
}
