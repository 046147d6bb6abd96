//! The keys of OSDP readers: the first ones from their files, later ones from the journal, where they lie sealed.

use std::collections::BTreeMap;
use std::path::Path;

use gatehouse_config::{Device, Station};
use gatehouse_drivers::osdp::{Key, Keys, Secrets};
use gatehouse_rules::access::{Salt, SealKey};
use gatehouse_store::Store;
use serde::{Deserialize, Serialize};

use super::credentials::random;

/// A key's file is refused beyond this.
const KEY_FILE_BYTES: u64 = 4096;
/// Where keys are kept: this, and the device's id.
const PREFIX: &str = "reader-key/";

/// The keys that the box gave to a reader.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// Names the key of the file that they took the place of: with another file they count no more.
    pub(super) replaces: [u8; 8],
    /// The reader's own.
    pub(super) own: [u8; 16],
    /// The one that it had before, until it is known to have its own.
    pub(super) before: Option<[u8; 16]>,
}

impl Given {
    /// What is to be written into the journal of a reader's keys: where, and the sealed value.
    pub(super) fn sealed(&self, id: &str, seal: &SealKey) -> (String, Vec<u8>) {
        let name = format!("{PREFIX}{id}");
        let plain = serde_json::to_vec(self).unwrap_or_default();
        let sealed = seal.seal(&name, Salt(random()), &plain);
        (name, sealed)
    }
}

/// The keys of all readers that were ever given one, by device.
#[derive(Default)]
pub struct ReaderKeys(BTreeMap<String, Given>);

impl ReaderKeys {
    /// What the journal has, opened with the box's key. What does not open is told in the log and left where it is.
    pub(super) fn load(store: &Store, seal: Option<&SealKey>) -> Self {
        let mut keys = BTreeMap::new();
        for (name, sealed) in store.scan(PREFIX.as_bytes()) {
            let Ok(name) = String::from_utf8(name) else { continue };
            let opened = match seal {
                Some(seal) => seal.open(&name, &sealed).map_err(|why| why.to_string()),
                None => Err("there is no access.seal_key to open it with".to_owned()),
            };
            match opened.and_then(|plain| serde_json::from_slice(&plain).map_err(|why| why.to_string())) {
                Ok(given) => drop(keys.insert(name.trim_start_matches(PREFIX).to_owned(), given)),
                Err(why) => tracing::error!(key = name, why, "a reader's kept key cannot be used"),
            }
        }
        ReaderKeys(keys)
    }

    /// The keys that a reader was given, where its file is still the one of then.
    pub(super) fn given(&self, device: &Device) -> Option<&Given> {
        let given = self.0.get(device.id.as_str())?;
        let Station::Osdp(station) = &device.station else { return None };
        let file = station.key.as_deref().and_then(|path| key(path).ok());
        file.is_none_or(|file| name_of(&file) == given.replaces).then_some(given)
    }

    /// True where a reader was given a key and its file was changed since: which key it has now, nobody can say.
    pub(super) fn is_doubtful(&self, device: &Device) -> bool {
        self.0.contains_key(device.id.as_str()) && self.given(device).is_none()
    }

    /// The readers that are not known to have their own key.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, given)| given.before.is_some()).map(|(id, _)| id.as_str())
    }

    /// Notes a reader's keys, once they are on their way into the journal.
    pub(super) fn note(&mut self, id: &str, given: Given) {
        self.0.insert(id.to_owned(), given);
    }

    /// The keys of a reader with `next` for its own; `None` where it has none in place of which that could stand.
    pub(super) fn replaced(&self, device: &Device, next: [u8; 16]) -> Option<Given> {
        let Station::Osdp(station) = &device.station else { return None };
        let file = station.key.as_deref().and_then(|path| key(path).ok());
        match (self.given(device), file) {
            (Some(given), _) => Some(Given { own: next, before: Some(given.own), ..given.clone() }),
            (None, Some(file)) => Some(Given { replaces: name_of(&file), own: next, before: Some(file.bytes()) }),
            (None, None) => None,
        }
    }

    /// The secrets of a device; none but randomness where it is no reader with a key. A key that cannot be read is told in
    /// the log, and its reader is then not believed.
    pub(super) fn secrets(&self, device: &Device) -> Secrets {
        let Station::Osdp(station) = &device.station else { return Secrets::default() };
        let commissioning = station.commissioning;
        if let Some(given) = self.given(device) {
            let (own, before) = (Some(Key::new(given.own)), given.before.map(Key::new));
            return Secrets { keys: Keys { own, before, commissioning }, seed: random() };
        }
        let read = |path: &Path| match key(path) {
            Ok(key) => Some(key),
            Err(why) => {
                tracing::error!(device = %device.id, file = %path.display(), why, "the reader's key cannot be used");
                None
            }
        };
        let own = station.key.as_deref().and_then(read);
        // A reader whose file was changed has the key that the box gave it last.
        let kept = self.0.get(device.id.as_str()).map(|given| Key::new(given.own));
        let before = station.key_before.as_deref().and_then(read).or(kept);
        Secrets { keys: Keys { own, before, commissioning }, seed: random() }
    }
}

/// Names a key without telling it.
fn name_of(key: &Key) -> [u8; 8] {
    let digest = ring::digest::digest(&ring::digest::SHA256, &key.bytes());
    digest.as_ref().first_chunk().copied().unwrap_or_default()
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

    fn reader(file: &Path) -> gatehouse_config::Device {
        let text = format!(
            "[site]\nid = \"box\"\n[[bus]]\nid = \"door\"\nserial = \"/dev/ttyS1\"\n\
             [[device]]\nid = \"pad\"\nbus = \"door\"\nprofile = \"osdp-reader\"\naddress = 5\n\
             key = {{ file = \"{}\" }}\n",
            file.display()
        );
        let library = gatehouse_drivers::profile::Library::new();
        let site = gatehouse_config::check("site.toml", &text, Path::new("/"), &library).unwrap().site;
        site.devices[0].as_ref().clone()
    }

    #[test]
    fn a_key_that_the_box_gave_counts_until_the_file_has_another() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reader.key");
        std::fs::write(&file, [1; 16]).unwrap();
        let pad = reader(&file);
        let mut keys = ReaderKeys::default();
        let tried = |keys: &ReaderKeys| {
            let Keys { own, before, .. } = keys.secrets(&pad).keys;
            (own.map(|key| key.bytes()[0]), before.map(|key| key.bytes()[0]))
        };
        assert_eq!(tried(&keys), (Some(1), None));
        keys.note("pad", keys.replaced(&pad, [2; 16]).unwrap());
        assert_eq!(tried(&keys), (Some(2), Some(1)), "until the reader shows that it has it, either may be right");
        keys.note("pad", Given { before: None, ..keys.given(&pad).unwrap().clone() });
        keys.note("pad", keys.replaced(&pad, [3; 16]).unwrap());
        assert_eq!(tried(&keys), (Some(3), Some(2)));
        std::fs::write(&file, [4; 16]).unwrap();
        assert_eq!(tried(&keys), (Some(4), Some(3)), "somebody wrote another key for a reader that has the box's last");
    }

    #[test]
    fn a_kept_key_opens_for_its_reader_only() {
        let given = Given { replaces: [0; 8], own: [2; 16], before: None };
        let seal = SealKey::new(&[5; 32]);
        let (name, sealed) = given.sealed("pad", &seal);
        assert!(!sealed.windows(4).any(|window| window == [2; 4] || window == b"2,2,"));
        let plain = seal.open(&name, &sealed).unwrap();
        assert!(serde_json::from_slice::<Given>(&plain).unwrap() == given);
        assert!(seal.open("reader-key/other", &sealed).is_err());
    }

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
