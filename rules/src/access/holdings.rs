//! What the box holds of the core's credentials, across restarts: an image in a file, deltas since in the journal.
//!
//! Keys: `access/floor` (the newest version that was ever on the disk, so that an old file put in place of a newer one
//! is noticed) and `access/delta/<version>/<part>/<parts>` (a sealed piece of a signed delta; the key is what it is
//! sealed for). A full snapshot, and a delta that comes before it is on the disk, are durable with the next image only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::credential::Change;
use super::roll::{ApplyError, Image, Roll};
use super::seal::{OVERHEAD, Salt, SealKey};
use super::snapshot::{Content, Snapshot, Verified};
use crate::effect::{Effect, Effects};

const FLOOR: &str = "access/floor";
const DELTA: &str = "access/delta/";
/// Bytes of a delta in one value of the journal.
const PART: usize = 12_000 - OVERHEAD;
/// Deltas in the journal before a new image is asked for.
const FOLD_DELTAS: usize = 64;
/// Bytes of deltas in the journal before a new image is asked for.
const FOLD_BYTES: usize = 2 << 20;
/// Where the shell makes no image: beyond so many times these, deltas are durable with the next image only.
const SLACK: usize = 4;

/// When an applied snapshot is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Once the effects of this call are.
    WithEffects,
    /// Once an image of this version or a newer one is written.
    WithImage,
}

/// A snapshot was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The version that is in force now.
    pub version: u64,
    /// When it is on the disk. The message that brought it is confirmed then, not before.
    pub durable: Durable,
}

/// Why the box starts without the credentials that it had: it decides by its offline policies until the core has sent
/// a full snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// What is on the disk is older than what was there.
    #[error("the credentials on the disk are version {have:?}, version {floor} was there before: send a full snapshot")]
    Stale {
        /// The version of image and deltas together; `None`: there is no image.
        have: Option<u64>,
        /// The newest version that was on the disk.
        floor: u64,
    },
    /// The image's table is damaged.
    #[error("the image of the credentials is damaged inside its seal: send a full snapshot")]
    Damaged,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Floor {
    version: u64,
}

/// A delta in the journal.
#[derive(Debug, Default)]
struct Kept {
    parts: u16,
    bytes: usize,
    /// What was restored, until it is opened.
    restored: BTreeMap<u16, Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct Holdings {
    roll: Option<Roll>,
    floor: u64,
    /// The version that a restart would begin with.
    stored: Option<u64>,
    deltas: BTreeMap<u64, Kept>,
    /// What is in force cannot be had from the file and the journal.
    unsealed: bool,
}

impl Holdings {
    /// The credentials in force.
    pub(super) fn roll(&self) -> Option<&Roll> {
        self.roll.as_ref()
    }

    /// The version that a restart would begin with.
    pub(super) fn stored(&self) -> Option<u64> {
        self.stored
    }

    /// Takes back a value; `Ok(false)` where the key is another's.
    pub(super) fn restore(&mut self, key: &str, value: &[u8]) -> Result<bool, serde_json::Error> {
        if key == FLOOR {
            self.floor = serde_json::from_slice::<Floor>(value)?.version;
            return Ok(true);
        }
        let Some((version, part, parts)) = key.strip_prefix(DELTA).and_then(parse_key) else { return Ok(false) };
        let kept = self.deltas.entry(version).or_default();
        kept.parts = parts;
        kept.bytes += value.len();
        kept.restored.insert(part, value.to_vec());
        Ok(true)
    }

    /// Takes the image from the file and applies the deltas that were restored.
    pub(super) fn open(&mut self, image: Option<&Image>, key: &SealKey) -> Result<(), OpenError> {
        let mut roll = image.map(|image| image.roll().ok_or(OpenError::Damaged)).transpose()?;
        for (version, kept) in &mut self.deltas {
            let restored = std::mem::take(&mut kept.restored);
            let Some(roll) = roll.as_mut().filter(|roll| roll.terms.version < *version) else { continue };
            let Some(verified) = unseal(key, *version, kept.parts, &restored) else { break };
            let Content::Delta(changes, _) = &verified.content else { break };
            if verified.header.base_version != Some(roll.terms.version)
                || roll.change(verified.header, changes).is_err()
            {
                break;
            }
        }
        let have = roll.as_ref().map(|roll| roll.terms.version);
        if have.unwrap_or(0) < self.floor {
            return Err(OpenError::Stale { have, floor: self.floor });
        }
        self.roll = roll;
        self.stored = have;
        Ok(())
    }

    /// Applies a snapshot, whole or not at all.
    pub(super) fn apply(
        &mut self,
        verified: Verified,
        key: &SealKey,
        salt: Salt,
        effects: &mut Effects,
    ) -> Result<Applied, ApplyError> {
        let Verified { header, content } = verified;
        let (have, version) = (self.roll.as_ref().map(|roll| roll.terms.version), header.version);
        // Where the file was lost the newest version may come again.
        let oldest = have.map_or(self.floor, |have| have + 1);
        if version < oldest {
            return Err(ApplyError::NotNewer { have: have.unwrap_or(self.floor), got: version });
        }
        match content {
            Content::Full(table) => {
                self.roll = Some(Roll::new(header, table));
                self.unsealed = true;
            }
            Content::Delta(mut changes, bytes) => {
                let base = header.base_version.unwrap_or(0);
                let roll = self.roll.as_mut().filter(|_| have == Some(base));
                roll.ok_or(ApplyError::NeedsFull { have, base })?.change(header, &changes)?;
                changes.iter_mut().for_each(Change::forget_number);
                self.unsealed |= self.is_beyond(SLACK);
                if !self.unsealed {
                    self.keep(version, &bytes, key, salt, effects);
                }
            }
        }
        let durable = if self.unsealed { Durable::WithImage } else { Durable::WithEffects };
        Ok(Applied { version, durable })
    }

    fn keep(&mut self, version: u64, bytes: &[u8], key: &SealKey, salt: Salt, effects: &mut Effects) {
        let parts = u16::try_from(bytes.len().div_ceil(PART)).expect("a delta has at most 4 MB, which are 351 parts");
        for (part, bytes) in (0..parts).zip(bytes.chunks(PART)) {
            let name = part_key(version, part, parts);
            let value = key.seal(&name, salt, bytes);
            effects.push(Effect::Keep { key: name.into(), value: Some(value.into()) });
        }
        self.deltas.insert(version, Kept { parts, bytes: bytes.len(), restored: BTreeMap::new() });
        self.stored = Some(version);
        self.raise_floor(version, effects);
    }

    /// True when the shell should write a new image.
    pub(super) fn wants_image(&self) -> bool {
        self.unsealed || self.is_beyond(1)
    }

    fn is_beyond(&self, times: usize) -> bool {
        let bytes: usize = self.deltas.values().map(|kept| kept.bytes).sum();
        self.deltas.len() > times * FOLD_DELTAS || bytes > times * FOLD_BYTES
    }

    /// The image to write.
    pub(super) fn image(&mut self) -> Option<Image> {
        self.roll.as_mut().map(Roll::image)
    }

    /// An image of `version` is on the disk: what it holds can leave the journal.
    pub(super) fn image_written(&mut self, version: u64, effects: &mut Effects) {
        let rest = self.deltas.split_off(&version.saturating_add(1));
        for (version, kept) in std::mem::replace(&mut self.deltas, rest) {
            for part in 0..kept.parts {
                effects.forget(part_key(version, part, kept.parts));
            }
        }
        self.stored = self.stored.max(Some(version));
        self.unsealed &= self.roll.as_ref().is_some_and(|roll| roll.terms.version != version);
        self.raise_floor(version, effects);
    }

    fn raise_floor(&mut self, version: u64, effects: &mut Effects) {
        if version > self.floor {
            self.floor = version;
            effects.keep(FLOOR, &Floor { version });
        }
    }
}

fn part_key(version: u64, part: u16, parts: u16) -> String {
    format!("{DELTA}{version}/{part}/{parts}")
}

fn parse_key(rest: &str) -> Option<(u64, u16, u16)> {
    let mut fields = rest.split('/');
    let mut next = || fields.next();
    Some((next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?))
}

/// The delta in its parts; `None` where one is missing or does not open.
fn unseal(key: &SealKey, version: u64, parts: u16, restored: &BTreeMap<u16, Vec<u8>>) -> Option<Verified> {
    let mut bytes = Zeroizing::new(Vec::new());
    for part in 0..parts {
        let opened = Zeroizing::new(key.open(&part_key(version, part, parts), restored.get(&part)?).ok()?);
        bytes.extend(opened.iter());
    }
    Snapshot::reread(&bytes).ok()
}
