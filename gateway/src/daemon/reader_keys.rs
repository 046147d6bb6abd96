//! The keys of OSDP readers: the first ones from their files, later ones from the journal, where they lie sealed.

use std::collections::BTreeMap;
use std::path::Path;

use gatehouse_config::{Device, Station};
use gatehouse_drivers::osdp::{Key, Keys, Secrets};
use gatehouse_rules::access::{Salt, SealKey};
use gatehouse_store::{StateChange, Store};
use serde::{Deserialize, Serialize};

use super::credentials::{Seals, random};

/// A key's file is refused beyond this.
const KEY_FILE_BYTES: u64 = 4096;
/// Where keys are kept: this, and the device's id.
const PREFIX: &str = "reader-key/";
/// What is to be done about a key that does not open.
const RESTORE: &str = "the key that the box gave this reader stays sealed in the journal: name the file with the key that \
                       sealed it in access.seal_key_before and restart the daemon, or give the reader a key by file";

/// Names a key without telling it.
pub(super) type KeyName = [u8; 8];

/// The keys that the box gave to a reader.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// Names the key of the file that they took the place of: with another file they count no more.
    pub(super) replaces: KeyName,
    /// The reader's own.
    pub(super) own: [u8; 16],
    /// The one that it had before, until it is known to have its own.
    pub(super) before: Option<[u8; 16]>,
    /// True on the way back: its own is the one that it had, and the one before the one that it did not take.
    #[serde(default)]
    pub(super) undone: bool,
    /// Who had it given another key, until it is known to have its own.
    #[serde(default)]
    pub(super) issuer: String,
}

impl Given {
    /// What is to be written into the journal of a reader's keys.
    fn sealed(&self, id: &str, seal: &SealKey) -> StateChange {
        let name = place(id);
        let plain = serde_json::to_vec(self).expect("bytes and a text are always JSON");
        let sealed = seal.seal(&name, Salt(random()), &plain);
        (name.into_bytes().into(), Some(sealed.into()))
    }

    fn open(id: &str, seal: &SealKey, sealed: &[u8]) -> Result<Self, String> {
        let plain = seal.open(&place(id), sealed).map_err(|why| why.to_string())?;
        serde_json::from_slice(&plain).map_err(|why| why.to_string())
    }
}

/// Where the keys of a reader are kept.
fn place(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// What the conversation with a reader that has a key goes by.
#[derive(Clone)]
pub(super) struct Held {
    /// Names the key in its file; `None`: that could not be read.
    pub(super) file: Option<KeyName>,
    /// The key in force; `None`: there is none that could be used, and the reader is not believed.
    pub(super) own: Option<Key>,
    kept: Vec<Key>,
    before: Option<Key>,
}

impl Held {
    /// True where a conversation that goes by `self` would begin alike with `other`.
    pub(super) fn begins_as(&self, other: &Held) -> bool {
        (&self.own, &self.before) == (&other.own, &other.before)
    }
}

/// The secrets for a device's driver; none but randomness where it is no reader with a key.
pub(super) fn secrets(held: Option<&Held>, device: &Device) -> Secrets {
    let commissioning = matches!(&device.station, Station::Osdp(station) if station.commissioning);
    let keys = held.map_or_else(Keys::default, |held| Keys {
        own: held.own.clone(),
        kept: held.kept.clone(),
        before: held.before.clone(),
        commissioning,
    });
    Secrets { keys, seed: random() }
}

/// The keys of all readers that were ever given one, by device.
#[derive(Default, Clone)]
pub struct ReaderKeys {
    given: BTreeMap<String, Given>,
    /// What the journal has and nothing opens. It stays there.
    unopened: BTreeMap<String, Vec<u8>>,
    /// What they are sealed with from now on.
    seal: Option<SealKey>,
}

impl ReaderKeys {
    /// What the journal has, none of it opened.
    pub(super) fn load(store: &Store) -> Self {
        let kept = store.scan(PREFIX.as_bytes()).into_iter();
        let unopened = kept.filter_map(|(name, sealed)| {
            let id = String::from_utf8(name).ok()?.strip_prefix(PREFIX)?.to_owned();
            Some((id, sealed))
        });
        ReaderKeys { unopened: unopened.collect(), ..ReaderKeys::default() }
    }

    /// The same under the keys that the box has now, and what is to be written so that all of it is sealed under them.
    pub(super) fn under(&self, seals: &Seals) -> (Self, Vec<StateChange>) {
        let Seals { now, before } = seals;
        let mut keys = self.clone();
        let mut changes = Vec::new();
        if self.seal.as_ref() != Some(now) {
            changes.extend(self.given.iter().map(|(id, given)| given.sealed(id, now)));
        }
        for (id, sealed) in &self.unopened {
            let with_before = || before.as_ref().and_then(|before| Given::open(id, before, sealed).ok());
            let opened = Given::open(id, now, sealed).ok();
            let Some(given) = opened.or_else(|| with_before().inspect(|given| changes.push(given.sealed(id, now))))
            else {
                continue;
            };
            keys.unopened.remove(id);
            keys.given.insert(id.clone(), given);
        }
        keys.seal = Some(now.clone());
        (keys, changes)
    }

    /// Tells in the log which keys do not open, and what to do; gives their readers. `why_none`: why the box has no key for
    /// what lies on its disk.
    pub(super) fn tell_unopened(&self, why_none: Option<&str>) -> Vec<&str> {
        for (id, sealed) in &self.unopened {
            let why = match &self.seal {
                Some(seal) => Given::open(id, seal, sealed).err().unwrap_or_default(),
                None => why_none.unwrap_or("there is no access.seal_key to open it with").to_owned(),
            };
            tracing::error!(device = id, why, "{RESTORE}");
        }
        self.unopened.keys().map(String::as_str).collect()
    }

    /// What they are sealed with.
    pub(super) fn seal(&self) -> Option<&SealKey> {
        self.seal.as_ref()
    }

    /// The keys that a reader was given, where its file is still the one of then.
    pub(super) fn given(&self, id: &str, file: Option<KeyName>) -> Option<&Given> {
        self.given.get(id).filter(|given| file.is_none_or(|file| file == given.replaces))
    }

    /// Who had a reader given the key that it may not have yet.
    pub(super) fn issuer(&self, id: &str) -> &str {
        self.given.get(id).map_or("", |given| &given.issuer)
    }

    /// True where a reader was given a key, and what it goes by is the key of another file.
    pub(super) fn is_replaced(&self, id: &str, held: &Held) -> bool {
        let known = self.given.contains_key(id) && self.given(id, held.file).is_none();
        held.file.is_some() && (known || self.unopened.contains_key(id))
    }

    /// The readers that are not known to have their own key.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &str> {
        self.given.iter().filter(|(_, given)| given.before.is_some()).map(|(id, _)| id.as_str())
    }

    /// What is to be written of a reader's keys; `None` without a key to seal them with.
    pub(super) fn sealed(&self, id: &str, given: &Given) -> Option<StateChange> {
        self.seal.as_ref().map(|seal| given.sealed(id, seal))
    }

    /// Notes a reader's keys, once they are on their way into the journal.
    pub(super) fn note(&mut self, id: &str, given: Given) {
        self.unopened.remove(id);
        self.given.insert(id.to_owned(), given);
    }

    /// What is to be written so that a reader's keys are forgotten.
    pub(super) fn forgotten(id: &str) -> StateChange {
        (place(id).into_bytes().into(), None)
    }

    /// Forgets a reader's keys, once that is on its way into the journal.
    pub(super) fn forget(&mut self, id: &str) {
        self.unopened.remove(id);
        self.given.remove(id);
    }

    /// What a conversation with a device goes by that begins now; `None` where it is no reader with a key. A file that
    /// cannot be used is told in the log.
    pub(super) fn held(&self, device: &Device) -> Option<Held> {
        let Station::Osdp(station) = &device.station else { return None };
        let read = |path: &Path| match key(path) {
            Ok(key) => Some(key),
            Err(why) => {
                tracing::error!(device = %device.id, file = %path.display(), why, "the reader's key cannot be used");
                None
            }
        };
        let in_file = read(station.key.as_deref()?);
        let file = in_file.as_ref().map(name_of);
        let id = device.id.as_str();
        let (own, before) = match self.given(id, file) {
            Some(given) => (Some(Key::new(given.own)), None),
            None => (in_file, station.key_before.as_deref().and_then(read)),
        };
        // A reader whose file was changed has what the box gave it last, or what it had before that. None is tried twice.
        let former = self.given.get(id).map(|given| [Some(given.own), given.before]).unwrap_or_default();
        let mut kept: Vec<Key> = former.into_iter().flatten().map(Key::new).collect();
        kept.retain(|key| own.as_ref() != Some(key));
        let before = before.filter(|key| own.as_ref() != Some(key) && !kept.contains(key));
        Some(Held { file, own, kept, before })
    }
}

/// Names a key without telling it.
fn name_of(key: &Key) -> KeyName {
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
mod tests;
