//! Snapshots: the credentials of a site as the core signs and sends them, whole or as changes.
//!
//! A snapshot is text, one JSON object on each line, each line ended by `\n`:
//!
//! ```text
//! {"format":"gatehouse-credentials/1","site":"riverside","lookup_key":"9f…","version":12,"base_version":11,…}   header
//! {"put":{"id":"5d…","kind":"plate","who":"p-5c1d","class":"resident","household":"h-12","groups":["garage"]}}   entries
//! {"revoke":"71…"}
//! {"remove":"03…"}
//! {"signature":"…"}                                                                                            last line
//! ```
//!
//! The signature is ed25519 over all bytes before its own line, in 128 hexadecimal digits. Without `base_version` the
//! snapshot is a full one and takes the place of everything before; it may hold `put` and `revoke`. With it, it is a
//! delta: it changes the version that it names and no other. `revoke` keeps the credential, so that the box can say
//! `revoked`; `remove` forgets it. No credential comes twice in one snapshot. Unknown fields are refused: one of them
//! might be a restriction. A card that a door controller is to know has its `number` in the clear; such a text is kept
//! under seal only.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::{CardNumber, Name};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::credential::{Change, CredentialId, LookupKey};
use super::hex;
use super::table::{Builder, CAPACITY, Table};
use crate::schedule::Weekly;

/// The format that this program reads and writes.
pub const FORMAT: &str = "gatehouse-credentials/1";
/// The largest snapshot.
pub const MAX_BYTES: usize = 32 << 20;
/// The most entries of a delta; more come as a full snapshot.
pub const DELTA_CAPACITY: usize = 20_000;
/// The longest delta, so that the journal holds many of them.
pub const DELTA_BYTES: usize = 4 << 20;
/// The longest line: a header with its groups.
const LINE_BYTES: usize = 1 << 20;
/// The most groups, schedules or quotas, and the most gates of a group.
const TERMS_CAPACITY: usize = 1024;

/// An ed25519 public key.
pub type PublicKey = [u8; 32];

/// The first line of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The site that it is for.
    pub site: String,
    /// The lookup key under which its credentials are hashed: [`LookupKey::id`](super::credential::LookupKey::id).
    pub lookup_key: String,
    /// Its version, greater than any before.
    pub version: u64,
    /// The version that a delta changes; `None`: a full snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub created: u32,
    /// From when on it counts as too old, in seconds since 1970.
    pub expires_at: u32,
    /// How many entries follow.
    pub count: u32,
    /// The gates of each group; in a delta `None` leaves them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeMap<String, Vec<String>>>,
    /// The weekly schedules by name; in a delta `None` leaves them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedules: Option<BTreeMap<String, Weekly>>,
    /// How many of a household may be in a zone, by zone; in a delta `None` leaves them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<BTreeMap<String, Quota>>,
}

/// How many of each household may be in a zone at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Of a household that is not listed; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<u32>,
    /// Of the listed ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub households: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureLine {
    signature: String,
}

/// What a box takes a snapshot by.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The core's keys: one, and the next one while keys are changed.
    pub keys: Vec<PublicKey>,
    /// The site.
    pub site: String,
    /// The box's key.
    pub lookup: LookupKey,
}

/// Why a snapshot is not taken. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is larger than any snapshot may be.
    #[error("{0} bytes, at most {MAX_BYTES} are possible (a delta: {DELTA_BYTES})")]
    TooLarge(usize),
    /// The last line is no signature: it was cut short, or is no snapshot.
    #[error("the last line is no signature: cut short, or no snapshot")]
    NotSigned,
    /// It is not signed by a key that the box knows.
    #[error("not signed by a key that this box knows: altered, or signed by somebody else")]
    BadSignature,
    /// The first line cannot be read.
    #[error("the header: {0}")]
    BadHeader(String),
    /// It is for another site.
    #[error("made for the site {got:?}, this is {expected:?}")]
    OtherSite {
        /// This site.
        expected: String,
        /// Its site.
        got: String,
    },
    /// Its credentials are hashed under another lookup key.
    #[error("hashed under the lookup key {got}, this box has {expected}")]
    OtherLookupKey {
        /// The box's key.
        expected: String,
        /// Its key.
        got: String,
    },
    /// A line cannot be read.
    #[error("line {line}: {why}")]
    BadLine {
        /// Which, counted from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// It holds another number of entries than its header says.
    #[error("{got} entries, the header says {expected}")]
    Count {
        /// By the header.
        expected: u32,
        /// In fact.
        got: usize,
    },
    /// A credential has the number of another card. A controller would open by one, and the records would say another.
    #[error(
        "the number of the credential {0} is another card's: its id is to be the hash of \
         card/H10301-26/FACILITY/NUMBER or card/uhppote/-/NUMBER"
    )]
    OtherNumber(CredentialId),
    /// A credential comes twice.
    #[error("the credential {0} comes twice")]
    Twice(CredentialId),
}

/// A snapshot whose signature and content are sound. Whether it follows on what the box has is seen when it is applied.
#[derive(Debug)]
pub struct Verified {
    pub(super) header: Header,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Full(Table),
    /// The changes, and the signed text for the journal.
    Delta(Vec<Change>, Zeroizing<Vec<u8>>),
}

impl Content {
    /// The cards that have their number.
    fn numbers(&self) -> impl Iterator<Item = (CredentialId, CardNumber)> {
        let (table, changes) = match self {
            Content::Full(table) => (Some(table), [].as_slice()),
            Content::Delta(changes, _) => (None, changes.as_slice()),
        };
        let listed = table.into_iter().flat_map(Table::entries).filter_map(|entry| Some((entry.id, entry.number?)));
        let put = changes.iter().filter_map(|change| match change {
            Change::Put(credential) => Some((credential.id, credential.number?)),
            Change::Revoke(_) | Change::Remove(_) => None,
        });
        listed.chain(put)
    }
}

impl Verified {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// Reading and writing snapshots.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot;

impl Snapshot {
    /// Checks a snapshot and takes it in. It reads each line once; 100,000 credentials take a second on a small box, so
    /// that the shell does it beside the thread that decides.
    ///
    /// # Errors
    /// [`SnapshotError`]; the first thing that is wrong.
    pub fn verify(bytes: &[u8], expected: &Expected) -> Result<Verified, SnapshotError> {
        if bytes.len() > MAX_BYTES {
            return Err(SnapshotError::TooLarge(bytes.len()));
        }
        let signed = signed_part(bytes, &expected.keys)?;
        let verified = read(signed, bytes)?;
        let (site, key) = (&verified.header.site, &verified.header.lookup_key);
        if *site != expected.site {
            return Err(SnapshotError::OtherSite { expected: expected.site.clone(), got: site.clone() });
        }
        if *key != expected.lookup.id() {
            let expected = expected.lookup.id().to_owned();
            return Err(SnapshotError::OtherLookupKey { expected, got: key.clone() });
        }
        let is_its = |(id, number)| expected.lookup.cards_of_controller(number).any(|card| card == id);
        let other = verified.content.numbers().find(|numbered| !is_its(*numbered)).map(|(id, _)| id);
        other.map_or(Ok(verified), |id| Err(SnapshotError::OtherNumber(id)))
    }

    /// Writes a snapshot, as the core does. `header.count` is set.
    ///
    /// # Panics
    /// When an entry cannot be JSON, which is a mistake in its type.
    pub fn sign(header: &Header, changes: impl IntoIterator<Item = Change>, key: &Ed25519KeyPair) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut count = 0;
        for change in changes {
            push_line(&mut entries, &change);
            count += 1;
        }
        let mut bytes = Vec::with_capacity(entries.len() + 512);
        push_line(&mut bytes, &Header { count, ..header.clone() });
        bytes.append(&mut entries);
        let signature = hex::encode(key.sign(&bytes).as_ref());
        push_line(&mut bytes, &SignatureLine { signature });
        bytes
    }

    /// Reads a delta that the journal kept: its seal stands for the signature that was checked when it came.
    pub(super) fn reread(bytes: &[u8]) -> Result<Verified, SnapshotError> {
        let (signed, _) = split(bytes).ok_or(SnapshotError::NotSigned)?;
        read(signed, bytes)
    }
}

fn push_line<T: Serialize>(bytes: &mut Vec<u8>, line: &T) {
    serde_json::to_writer(&mut *bytes, line).expect("entries have text keys only");
    bytes.push(b'\n');
}

/// What is signed, and the signature.
fn split(bytes: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let body = bytes.strip_suffix(b"\n")?;
    let at = body.iter().rposition(|b| *b == b'\n')? + 1;
    let (signed, _) = bytes.split_at_checked(at)?;
    let line: SignatureLine = serde_json::from_slice(body.get(at..)?).ok()?;
    Some((signed, hex::decode(&line.signature)?))
}

fn signed_part<'a>(bytes: &'a [u8], keys: &[PublicKey]) -> Result<&'a [u8], SnapshotError> {
    let (signed, signature) = split(bytes).ok_or(SnapshotError::NotSigned)?;
    let by = |key: &PublicKey| UnparsedPublicKey::new(&ED25519, key).verify(signed, &signature).is_ok();
    if keys.iter().any(by) { Ok(signed) } else { Err(SnapshotError::BadSignature) }
}

fn read(signed: &[u8], bytes: &[u8]) -> Result<Verified, SnapshotError> {
    let mut lines = signed.split_inclusive(|b| *b == b'\n');
    let header = read_header(lines.next().unwrap_or_default())?;
    let capacity = if header.base_version.is_some() { DELTA_CAPACITY } else { CAPACITY };
    let expected = header.count;
    if usize::try_from(expected).is_ok_and(|count| count > capacity) {
        return Err(SnapshotError::BadHeader(format!("{expected} entries, at most {capacity} are possible")));
    }
    if header.base_version.is_some() && bytes.len() > DELTA_BYTES {
        return Err(SnapshotError::TooLarge(bytes.len()));
    }
    let entries = lines.zip(2..).map(|(text, line)| {
        let bad = |why| SnapshotError::BadLine { line, why };
        if text.len() > LINE_BYTES {
            return Err(bad("longer than 1 MB".to_owned()));
        }
        Ok((line, serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?))
    });
    let (content, got) = match header.base_version {
        None => read_full(entries)?,
        Some(_) => read_delta(entries, bytes)?,
    };
    if usize::try_from(expected) != Ok(got) {
        return Err(SnapshotError::Count { expected, got });
    }
    Ok(Verified { header, content })
}

/// An entry and its line.
type Entry = Result<(usize, Change), SnapshotError>;

fn read_full(entries: impl Iterator<Item = Entry>) -> Result<(Content, usize), SnapshotError> {
    let mut builder = Builder::default();
    let mut got = 0;
    for entry in entries {
        let (line, change) = entry?;
        let taken = match change {
            Change::Put(credential) => builder.put(&credential),
            Change::Revoke(id) => builder.revoke(id),
            Change::Remove(_) => {
                let why = "a full snapshot removes nothing: leave the credential out".to_owned();
                return Err(SnapshotError::BadLine { line, why });
            }
        };
        taken.map_err(|error| SnapshotError::BadLine { line, why: error.to_string() })?;
        got += 1;
    }
    Ok((Content::Full(builder.finish().map_err(SnapshotError::Twice)?), got))
}

fn read_delta(entries: impl Iterator<Item = Entry>, bytes: &[u8]) -> Result<(Content, usize), SnapshotError> {
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    let mut trial = Builder::default();
    for entry in entries {
        let (line, change) = entry?;
        if !seen.insert(change.id()) {
            return Err(SnapshotError::Twice(change.id()));
        }
        if let Change::Put(credential) = &change {
            trial.put(credential).map_err(|error| SnapshotError::BadLine { line, why: error.to_string() })?;
        }
        changes.push(change);
    }
    let got = changes.len();
    Ok((Content::Delta(changes, bytes.to_vec().into()), got))
}

fn read_header(line: &[u8]) -> Result<Header, SnapshotError> {
    let bad = |why: String| Err(SnapshotError::BadHeader(why));
    if line.len() > LINE_BYTES {
        return bad("longer than 1 MB".to_owned());
    }
    let header: Header = serde_json::from_slice(line).map_err(|error| SnapshotError::BadHeader(error.to_string()))?;
    if header.format != FORMAT {
        return bad(format!("the format is {:?}, this program reads {FORMAT:?}", header.format));
    }
    if header.version == 0 || header.base_version.is_some_and(|base| base >= header.version) {
        return bad(format!("version {} does not follow on {:?}", header.version, header.base_version));
    }
    let groups = header.groups.iter().flatten();
    let schedules = header.schedules.iter().flatten().map(|(name, _)| name);
    let quotas = header.quotas.iter().flatten().map(|(name, _)| name);
    let names =
        groups.clone().flat_map(|(name, gates)| std::iter::once(name).chain(gates)).chain(schedules).chain(quotas);
    if let Some(name) = names.into_iter().find(|name| Name::new(name).is_err()) {
        return bad(format!("{name:?} is not a name"));
    }
    let sizes = [
        header.groups.as_ref().map_or(0, BTreeMap::len),
        header.schedules.as_ref().map_or(0, BTreeMap::len),
        header.quotas.as_ref().map_or(0, BTreeMap::len),
        groups.map(|(_, gates)| gates.len()).max().unwrap_or(0),
    ];
    if sizes.into_iter().any(|len| len > TERMS_CAPACITY) {
        return bad(format!("more than {TERMS_CAPACITY} groups, schedules, quotas or gates of one group"));
    }
    Ok(header)
}

#[cfg(test)]
mod tests;
