//! The roll: the credentials in force, their groups, schedules and quotas; replaced whole or changed by deltas.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::credential::{Change, CredentialId, CredentialKind};
use super::seal::{Salt, SealError, SealKey};
use super::snapshot::{Header, Quota};
use super::table::{Entry, RecordError, Table};
use crate::schedule::Weekly;

/// What the image's file is sealed for.
const IMAGE: &str = "access/image";
/// The first line of an image, and its version.
const IMAGE_FORMAT: &str = "gatehouse-access-image/1";

/// What a snapshot says beside its entries. Kept as the first line of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    format: String,
    pub(super) version: u64,
    pub(super) created: u32,
    pub(super) expires_at: u32,
    groups: BTreeMap<String, Vec<String>>,
    schedules: BTreeMap<String, Weekly>,
    quotas: BTreeMap<String, Quota>,
}

/// Why a sound snapshot is not applied. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The box has that version or a newer one.
    #[error("version {got} is not newer than {have}, which this box has")]
    NotNewer {
        /// The box's version.
        have: u64,
        /// The snapshot's.
        got: u64,
    },
    /// The delta does not follow on what the box has; a full snapshot is needed.
    #[error("the delta changes version {base}, this box has {have:?}: send a full snapshot")]
    NeedsFull {
        /// The box's version; `None`: it has no credentials.
        have: Option<u64>,
        /// The version that the delta changes.
        base: u64,
    },
    /// The table has no room for the delta; a full snapshot may have.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Credentials with their terms.
#[derive(Debug)]
pub(super) struct Roll {
    pub(super) terms: Terms,
    table: Table,
}

impl Roll {
    /// The roll of a full snapshot.
    pub(super) fn new(header: Header, table: Table) -> Roll {
        let terms = Terms {
            format: IMAGE_FORMAT.to_owned(),
            version: header.version,
            created: header.created,
            expires_at: header.expires_at,
            groups: header.groups.unwrap_or_default(),
            schedules: header.schedules.unwrap_or_default(),
            quotas: header.quotas.unwrap_or_default(),
        };
        Roll { terms, table }
    }

    /// Changes the roll. The caller has compared the versions.
    pub(super) fn change(&mut self, header: Header, changes: &[Change]) -> Result<(), RecordError> {
        self.table.change(changes)?;
        let terms = &mut self.terms;
        (terms.version, terms.created, terms.expires_at) = (header.version, header.created, header.expires_at);
        terms.groups = header.groups.unwrap_or(std::mem::take(&mut terms.groups));
        terms.schedules = header.schedules.unwrap_or(std::mem::take(&mut terms.schedules));
        terms.quotas = header.quotas.unwrap_or(std::mem::take(&mut terms.quotas));
        Ok(())
    }

    /// Finds a credential.
    pub(super) fn find(&self, id: CredentialId) -> Option<Entry<'_>> {
        self.table.find(id)
    }

    /// All credentials on it, revoked ones included.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.entries()
    }

    /// True when a card on it, or a revoked credential of which no kind is known, has no number: it may be the same card as
    /// another that has one.
    pub(super) fn has_unnumbered(&self) -> bool {
        self.entries().any(|entry| {
            let unknown = entry.kind == CredentialKind::Token && entry.revoked;
            entry.number.is_none() && (entry.kind == CredentialKind::Card || unknown)
        })
    }

    /// How many credentials are on it, revoked ones included.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// True when a credential opens a gate, by itself or through a group.
    pub(super) fn reaches(&self, entry: &Entry<'_>, gate: &str) -> bool {
        entry.gates().any(|name| name == gate) || entry.groups().any(|group| self.in_group(group, gate))
    }

    /// True when a gate is in a group; a group that is gone has none.
    pub(super) fn in_group(&self, group: &str, gate: &str) -> bool {
        self.terms.groups.get(group).is_some_and(|gates| gates.iter().any(|name| name == gate))
    }

    /// The schedule of that name.
    pub(super) fn schedule(&self, name: &str) -> Option<&Weekly> {
        self.terms.schedules.get(name)
    }

    /// How many of a household may be in a zone; `None`: any number.
    pub(super) fn quota(&self, zone: &str, household: &str) -> Option<u32> {
        let quota = self.terms.quotas.get(zone)?;
        quota.households.get(household).copied().or(quota.each)
    }

    /// The roll as bytes for a file.
    pub(super) fn image(&mut self) -> Image {
        let mut bytes = Zeroizing::new(serde_json::to_vec(&self.terms).expect("terms have text keys only"));
        bytes.push(b'\n');
        self.table.encode(&mut bytes);
        Image { version: self.terms.version, bytes }
    }
}

/// Why a file is no image of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Its seal does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It opens, and holds something else.
    #[error("sealed by another version of this program: what it holds is no image of credentials")]
    Unknown,
}

/// All credentials as one file: the terms as a line of JSON, then the table. The shell seals it, writes it beside the
/// old one, syncs it, renames it, and then tells the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    version: u64,
    bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("version", &self.version).field("bytes", &self.bytes.len()).finish()
    }
}

impl Image {
    /// The version of the credentials in it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The file's content.
    pub fn seal(&self, key: &SealKey, salt: Salt) -> Vec<u8> {
        key.seal(IMAGE, salt, &self.bytes)
    }

    /// Opens a file's content.
    ///
    /// # Errors
    /// [`ImageError`] says what is wrong with it.
    pub fn open(key: &SealKey, sealed: &[u8]) -> Result<Image, ImageError> {
        let bytes = Zeroizing::new(key.open(IMAGE, sealed)?);
        let (terms, _) = split(&bytes).ok_or(ImageError::Unknown)?;
        Ok(Image { version: terms.version, bytes })
    }

    /// The roll in it; `None` when its table is damaged, which its seal rules out.
    pub(super) fn roll(&self) -> Option<Roll> {
        let (terms, table) = split(&self.bytes)?;
        Some(Roll { terms, table: Table::decode(table)? })
    }
}

fn split(bytes: &[u8]) -> Option<(Terms, &[u8])> {
    let at = bytes.iter().position(|b| *b == b'\n')?;
    let (line, table) = bytes.split_at_checked(at)?;
    let terms: Terms = serde_json::from_slice(line).ok()?;
    (terms.format == IMAGE_FORMAT).then_some((terms, table.get(1..)?))
}
