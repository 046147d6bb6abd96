//! 100,000 credentials in few megabytes: sorted hashes beside records of fixed size, and what changed since on top.

mod file;

use std::collections::BTreeMap;

use gatehouse_core::{CardNumber, Name};
use zeroize::Zeroize;

use super::credential::{Change, Credential, CredentialId, CredentialKind, Flags};
use crate::words::HolderClass;

/// The most credentials that a box takes.
pub(super) const CAPACITY: usize = 150_000;
/// The most bytes of pseudonyms, households and names.
const TEXT_CAPACITY: usize = 24 << 20;
/// The most gates, and the most groups, of one credential.
const REACH_CAPACITY: usize = 64;
/// Texts of which only one copy is kept; further ones are repeated.
const SHARED_CAPACITY: usize = 10_000;
/// Changes on top of the sorted part before both become one.
const OVERLAY_CAPACITY: usize = 4096;
/// Bit of [`Record::marks`] for a revoked credential.
const REVOKED: u8 = 0x80;
const CLASSES: [HolderClass; 4] =
    [HolderClass::Resident, HolderClass::Staff, HolderClass::Visitor, HolderClass::Emergency];

/// Why a credential is not taken into the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A text is too long, or the pseudonym is missing.
    #[error("{field} has {got} bytes, {min} to {max} are possible")]
    Length {
        /// The field.
        field: &'static str,
        /// Its length.
        got: usize,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A gate, group or schedule is no name.
    #[error("{0:?} is not a name")]
    BadName(String),
    /// More gates or groups than a credential may have.
    #[error("{0} gates or groups for one credential, at most 64 are possible")]
    Reach(usize),
    /// Something else than a card has the number of one.
    #[error("`number` is the number of a card, and this is of the kind {0}")]
    NumberOf(&'static str),
    /// The table is full.
    #[error("the table is full: at most 150,000 credentials and 24 MB of names")]
    Full,
}

/// One credential without its hash. Texts are offsets into [`Texts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    who: u32,
    household: u32,
    reach: u32,
    schedule: u32,
    from: u32,
    until: u32,
    kind: CredentialKind,
    class: HolderClass,
    /// [`Flags`], and [`REVOKED`].
    marks: u8,
    number: Option<CardNumber>,
}

/// Texts of up to 64 KB behind each other, each with its length in two bytes. Offset 0 is the empty one.
#[derive(Debug)]
struct Texts {
    bytes: Vec<u8>,
    shared: BTreeMap<Box<str>, u32>,
}

impl Default for Texts {
    fn default() -> Self {
        Texts { bytes: vec![0, 0], shared: BTreeMap::new() }
    }
}

impl Texts {
    /// Takes a text that many credentials have.
    fn share(&mut self, text: &str) -> Result<u32, RecordError> {
        if let Some(at) = self.shared.get(text) {
            return Ok(*at);
        }
        let at = self.push(text)?;
        if self.shared.len() < SHARED_CAPACITY {
            self.shared.insert(text.into(), at);
        }
        Ok(at)
    }

    fn push(&mut self, text: &str) -> Result<u32, RecordError> {
        if text.is_empty() {
            return Ok(0);
        }
        let len = u16::try_from(text.len()).map_err(|_| RecordError::Full)?;
        let at = u32::try_from(self.bytes.len()).map_err(|_| RecordError::Full)?;
        if self.bytes.len() + text.len() + 2 > TEXT_CAPACITY {
            return Err(RecordError::Full);
        }
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(at)
    }

    /// The text at an offset; empty where there is none.
    fn text(&self, at: u32) -> &str {
        let text = usize::try_from(at).ok().and_then(|at| {
            let (len, rest) = self.bytes.get(at..)?.split_first_chunk::<2>()?;
            std::str::from_utf8(rest.get(..usize::from(u16::from_le_bytes(*len)))?).ok()
        });
        text.unwrap_or_default()
    }
}

/// A credential found in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) id: CredentialId,
    pub(super) kind: CredentialKind,
    pub(super) who: &'a str,
    pub(super) class: HolderClass,
    /// `""`: none.
    pub(super) household: &'a str,
    /// `""`: at any time.
    pub(super) schedule: &'a str,
    pub(super) from: Option<u32>,
    pub(super) until: Option<u32>,
    pub(super) flags: Flags,
    pub(super) revoked: bool,
    /// The number of a card, where a controller is to know it.
    pub(super) number: Option<CardNumber>,
    /// Its gates and groups as one text, which credentials of the same reach have in common.
    pub(super) reach: &'a str,
}

impl<'a> Entry<'a> {
    /// The gates that it opens by name.
    pub(super) fn gates(&self) -> impl Iterator<Item = &'a str> {
        self.reach.split(',').filter(|name| !name.is_empty() && !name.starts_with('+'))
    }

    /// The groups of gates that it opens.
    pub(super) fn groups(&self) -> impl Iterator<Item = &'a str> {
        self.reach.split(',').filter_map(|name| name.strip_prefix('+'))
    }
}

/// Collects the credentials of a whole snapshot.
#[derive(Debug, Default)]
pub(super) struct Builder {
    texts: Texts,
    entries: Vec<(CredentialId, Record)>,
}

impl Builder {
    /// Takes one more, in any order.
    pub(super) fn put(&mut self, credential: &Credential) -> Result<(), RecordError> {
        let record = self.texts.record(credential)?;
        self.push(credential.id, record)
    }

    /// Takes a revoked one of which nothing else is known.
    pub(super) fn revoke(&mut self, id: CredentialId) -> Result<(), RecordError> {
        self.push(id, Record::TOMBSTONE)
    }

    fn push(&mut self, id: CredentialId, record: Record) -> Result<(), RecordError> {
        if self.entries.len() >= CAPACITY {
            return Err(RecordError::Full);
        }
        self.entries.push((id, record));
        Ok(())
    }

    /// The table; a credential that came twice, where one did.
    pub(super) fn finish(mut self) -> Result<Table, CredentialId> {
        self.entries.sort_unstable_by_key(|(id, _)| *id);
        let next = self.entries.iter().skip(1);
        if let Some(((id, _), _)) = self.entries.iter().zip(next).find(|(a, b)| a.0 == b.0) {
            return Err(*id);
        }
        self.texts.bytes.shrink_to_fit();
        let (ids, records) = self.entries.into_iter().unzip();
        Ok(Table { ids, records, overlay: BTreeMap::new(), texts: self.texts })
    }
}

/// The credentials of a site.
///
/// What a snapshot brings is sorted once; changes lie on top until there are many of them.
#[derive(Debug, Default)]
pub(super) struct Table {
    ids: Vec<CredentialId>,
    records: Vec<Record>,
    /// `None`: removed.
    overlay: BTreeMap<CredentialId, Option<Record>>,
    texts: Texts,
}

impl Table {
    /// Finds a credential.
    pub(super) fn find(&self, id: CredentialId) -> Option<Entry<'_>> {
        Some(self.texts.entry(id, self.record(id)?))
    }

    /// All credentials, in the order of their hashes.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.live().map(|(id, record)| self.texts.entry(id, record))
    }

    /// How many credentials it holds, revoked ones included.
    pub(super) fn len(&self) -> usize {
        self.live().count()
    }

    /// Applies changes, all or none of them.
    pub(super) fn change(&mut self, changes: &[Change]) -> Result<(), RecordError> {
        let room = |table: &Table| table.ids.len() + table.overlay.len() + changes.len() <= CAPACITY;
        if !room(self) {
            self.fold();
        }
        if !room(self) {
            return Err(RecordError::Full);
        }
        let made = match self.make(changes) {
            Err(RecordError::Full) => {
                self.fold();
                self.make(changes)
            }
            made => made,
        };
        self.overlay.extend(made?);
        if self.overlay.len() > OVERLAY_CAPACITY {
            self.fold();
        }
        Ok(())
    }

    /// The records that changes make. Texts are taken in; without their records they go with the next fold.
    fn make(&mut self, changes: &[Change]) -> Result<Vec<(CredentialId, Option<Record>)>, RecordError> {
        let mut made = Vec::with_capacity(changes.len());
        for change in changes {
            let record = match change {
                Change::Put(credential) => Some(self.texts.record(credential)?),
                Change::Revoke(id) => {
                    let record = self.record(*id).unwrap_or(Record::TOMBSTONE);
                    Some(Record { marks: record.marks | REVOKED, ..record })
                }
                Change::Remove(_) => None,
            };
            made.push((change.id(), record));
        }
        Ok(made)
    }

    fn record(&self, id: CredentialId) -> Option<Record> {
        match self.overlay.get(&id) {
            Some(changed) => *changed,
            None => self.records.get(self.ids.binary_search(&id).ok()?).copied(),
        }
    }

    /// Makes one sorted part of everything; texts that nobody has any more go.
    fn fold(&mut self) {
        let mut folded = Table::default();
        folded.texts.bytes.reserve(self.texts.bytes.len());
        for (id, record) in self.live() {
            let moved = folded.texts.adopt(&self.texts, record).expect("they had room together before");
            folded.ids.push(id);
            folded.records.push(moved);
        }
        *self = folded;
    }

    /// All credentials in the order of their hashes.
    fn live(&self) -> impl Iterator<Item = (CredentialId, Record)> {
        let mut below = self.ids.iter().copied().zip(self.records.iter().copied()).peekable();
        let mut above = self.overlay.iter().map(|(id, record)| (*id, *record)).peekable();
        std::iter::from_fn(move || {
            loop {
                let changed = match (below.peek(), above.peek()) {
                    (Some((low, _)), Some((high, _))) if low < high => None,
                    (Some((low, _)), Some((high, _))) if low == high => {
                        below.next();
                        above.next()
                    }
                    (_, Some(_)) => above.next(),
                    (_, None) => None,
                };
                match changed {
                    None => return below.next(),
                    Some((id, Some(record))) => return Some((id, record)),
                    Some((_, None)) => {}
                }
            }
        })
    }
}

impl Record {
    /// A revoked credential of which nothing is known.
    const TOMBSTONE: Record = Record {
        who: 0,
        household: 0,
        reach: 0,
        schedule: 0,
        from: 0,
        until: u32::MAX,
        kind: CredentialKind::Token,
        class: HolderClass::Visitor,
        marks: REVOKED,
        number: None,
    };
}

impl Texts {
    /// The record of a credential, checked.
    fn record(&mut self, credential: &Credential) -> Result<Record, RecordError> {
        for (field, text, min) in [("who", &credential.who, 1), ("household", &credential.household, 0)] {
            if !(min..=64).contains(&text.len()) {
                return Err(RecordError::Length { field, got: text.len(), min, max: 64 });
            }
        }
        let names = credential.gates.len().max(credential.groups.len());
        if names > REACH_CAPACITY {
            return Err(RecordError::Reach(names));
        }
        let schedule = Some(&credential.schedule).filter(|name| !name.is_empty());
        for name in credential.gates.iter().chain(&credential.groups).chain(schedule) {
            Name::new(name).map_err(|_| RecordError::BadName(name.clone()))?;
        }
        if credential.number.is_some() && credential.kind != CredentialKind::Card {
            return Err(RecordError::NumberOf(credential.kind.as_str()));
        }
        let mut reach = credential.gates.join(",");
        for group in &credential.groups {
            reach.push_str(",+");
            reach.push_str(group);
        }
        Ok(Record {
            who: self.push(&credential.who)?,
            household: self.share(&credential.household)?,
            reach: self.share(&reach)?,
            schedule: self.share(&credential.schedule)?,
            from: credential.from.unwrap_or(0),
            until: credential.until.unwrap_or(u32::MAX),
            kind: credential.kind,
            class: credential.class,
            marks: Flags::of(&credential.flags).0,
            number: credential.number,
        })
    }

    /// A record whose texts lie in `other`, with its texts here.
    fn adopt(&mut self, other: &Texts, record: Record) -> Result<Record, RecordError> {
        Ok(Record {
            who: self.push(other.text(record.who))?,
            household: self.share(other.text(record.household))?,
            reach: self.share(other.text(record.reach))?,
            schedule: self.share(other.text(record.schedule))?,
            ..record
        })
    }

    fn entry(&self, id: CredentialId, record: Record) -> Entry<'_> {
        Entry {
            id,
            kind: record.kind,
            who: self.text(record.who),
            class: record.class,
            household: self.text(record.household),
            schedule: self.text(record.schedule),
            from: Some(record.from).filter(|from| *from > 0),
            until: Some(record.until).filter(|until| *until < u32::MAX),
            flags: Flags(record.marks & !REVOKED),
            revoked: record.marks & REVOKED != 0,
            number: record.number,
            reach: self.text(record.reach),
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let overlay = self.overlay.values_mut().flatten();
        self.records.iter_mut().chain(overlay).for_each(|record| record.number.zeroize());
    }
}

#[cfg(test)]
mod tests;
