//! 100,000 credentials in few megabytes: sorted hashes beside records of fixed size, and what changed since on top.

use std::collections::BTreeMap;

use gatehouse_core::Name;

use super::credential::{Credential, CredentialId, CredentialKind, Flags};
use crate::words::HolderClass;

/// The most credentials that a box takes.
pub const CAPACITY: usize = 150_000;
/// The most bytes of pseudonyms, households and names.
const TEXT_CAPACITY: usize = 24 << 20;
/// The most gates, and the most groups, of one credential.
const REACH_CAPACITY: usize = 64;
/// Texts of which only one copy is kept; further ones are repeated.
const SHARED_CAPACITY: usize = 10_000;
/// Changes on top of the sorted part before both become one.
const OVERLAY_CAPACITY: usize = 4096;
/// Bytes of one credential in a file: its hash, six numbers of 32 bits, four of 8.
const ENTRY: usize = 16 + 24 + 4;
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
    reach: &'a str,
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
        if let Some([(id, _), _]) = self.entries.array_windows::<2>().find(|[a, b]| a.0 == b.0) {
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
        let record = match self.overlay.get(&id) {
            Some(changed) => (*changed)?,
            None => *self.records.get(self.ids.binary_search(&id).ok()?)?,
        };
        Some(self.texts.entry(id, record))
    }

    /// How many credentials it holds, revoked ones included.
    pub(super) fn len(&self) -> usize {
        self.live().count()
    }

    /// Sets one credential.
    pub(super) fn put(&mut self, credential: &Credential) -> Result<(), RecordError> {
        if self.ids.len() + self.overlay.len() >= CAPACITY {
            return Err(RecordError::Full);
        }
        let record = self.texts.record(credential)?;
        self.overlay.insert(credential.id, Some(record));
        Ok(())
    }

    /// Marks a credential as revoked, known or not.
    pub(super) fn revoke(&mut self, id: CredentialId) {
        let known = match self.overlay.get(&id) {
            Some(changed) => *changed,
            None => self.ids.binary_search(&id).ok().and_then(|at| self.records.get(at).copied()),
        };
        let record = known.unwrap_or(Record::TOMBSTONE);
        self.overlay.insert(id, Some(Record { marks: record.marks | REVOKED, ..record }));
    }

    /// Removes a credential.
    pub(super) fn remove(&mut self, id: CredentialId) {
        self.overlay.insert(id, None);
    }

    /// Makes one sorted part of everything once the changes are many; texts that nobody has any more go.
    pub(super) fn fold_if_many(&mut self) {
        if self.overlay.len() > OVERLAY_CAPACITY {
            self.fold();
        }
    }

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

    /// Appends the table as bytes: numbers of entries and of text bytes (32 bits each, little endian), the entries in
    /// ascending order, the texts.
    pub(super) fn encode(&mut self, bytes: &mut Vec<u8>) {
        if !self.overlay.is_empty() {
            self.fold();
        }
        bytes.reserve(8 + self.ids.len() * ENTRY + self.texts.bytes.len());
        for len in [self.ids.len(), self.texts.bytes.len()] {
            bytes.extend(u32::try_from(len).expect("bounded by the capacities").to_le_bytes());
        }
        for (id, record) in self.ids.iter().zip(&self.records) {
            bytes.extend(id.0);
            for number in [record.who, record.household, record.reach, record.schedule, record.from, record.until] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend([record.kind as u8, record.class as u8, record.marks, 0]);
        }
        bytes.extend(&self.texts.bytes);
    }

    /// Reads what [`Table::encode`] wrote; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Table> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let (text_len, rest) = rest.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count <= CAPACITY)?;
        let (entries, texts) = rest.split_at_checked(count * ENTRY)?;
        if u32::try_from(texts.len()) != Ok(u32::from_le_bytes(*text_len)) || texts.len() > TEXT_CAPACITY {
            return None;
        }
        let mut table = Table { ids: Vec::with_capacity(count), records: Vec::with_capacity(count), ..Table::default() };
        table.texts.bytes = texts.to_vec();
        for entry in entries.as_chunks::<ENTRY>().0 {
            let (id, record) = decode_entry(entry)?;
            if table.ids.last().is_some_and(|last| *last >= id) {
                return None;
            }
            table.ids.push(id);
            table.records.push(record);
        }
        Some(table)
    }
}

fn decode_entry(entry: &[u8; ENTRY]) -> Option<(CredentialId, Record)> {
    let (id, rest) = entry.split_first_chunk::<16>()?;
    let (numbers, codes) = rest.split_first_chunk::<24>()?;
    let mut numbers = numbers.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number));
    let mut next = || numbers.next();
    let (who, household, reach, schedule, from, until) = (next()?, next()?, next()?, next()?, next()?, next()?);
    let [kind, class, marks, _] = codes else { return None };
    let kind = *CredentialKind::ALL.get(usize::from(*kind))?;
    let class = *CLASSES.get(usize::from(*class))?;
    Some((CredentialId(*id), Record { who, household, reach, schedule, from, until, kind, class, marks: *marks }))
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
            reach: self.text(record.reach),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::credential::Flag;

    fn credential(id: u8, who: &str) -> Credential {
        Credential {
            id: CredentialId([id; 16]),
            kind: CredentialKind::Plate,
            who: who.to_owned(),
            class: HolderClass::Staff,
            household: "h-1".to_owned(),
            gates: vec!["lobby".to_owned(), "garage".to_owned()],
            groups: vec!["all-doors".to_owned()],
            from: Some(10),
            until: None,
            schedule: "day".to_owned(),
            flags: vec![Flag::Once],
        }
    }

    #[test]
    fn a_credential_is_found_as_it_was_put() {
        let mut builder = Builder::default();
        builder.put(&credential(2, "p-2")).unwrap();
        builder.put(&credential(1, "p-1")).unwrap();
        let mut table = builder.finish().unwrap();
        let found = table.find(CredentialId([1; 16])).unwrap();
        assert_eq!((found.who, found.household, found.schedule), ("p-1", "h-1", "day"));
        assert_eq!((found.kind, found.class), (CredentialKind::Plate, HolderClass::Staff));
        assert_eq!((found.from, found.until, found.revoked), (Some(10), None, false));
        assert!(found.flags.has(Flag::Once) && !found.flags.has(Flag::Emergency));
        assert_eq!(found.gates().collect::<Vec<_>>(), ["lobby", "garage"]);
        assert_eq!(found.groups().collect::<Vec<_>>(), ["all-doors"]);
        assert_eq!(table.find(CredentialId([3; 16])), None);
        table.revoke(CredentialId([1; 16]));
        assert!(table.find(CredentialId([1; 16])).unwrap().revoked);
        assert_eq!(table.find(CredentialId([1; 16])).unwrap().who, "p-1");
    }

    #[test]
    fn what_a_record_may_hold_is_checked_at_the_door() {
        let mut builder = Builder::default();
        assert!(matches!(builder.put(&credential(1, "")), Err(RecordError::Length { field: "who", .. })));
        let bad = |change: fn(&mut Credential)| {
            let mut bad = credential(1, "p");
            change(&mut bad);
            Builder::default().put(&bad).unwrap_err()
        };
        assert_eq!(bad(|c| c.gates = vec!["+x".to_owned()]), RecordError::BadName("+x".to_owned()));
        assert_eq!(bad(|c| c.groups = vec!["a,b".to_owned()]), RecordError::BadName("a,b".to_owned()));
        assert_eq!(bad(|c| c.groups = vec!["a".to_owned(); 65]), RecordError::Reach(65));
        assert!(matches!(bad(|c| c.household = "h".repeat(65)), RecordError::Length { field: "household", .. }));
        builder.put(&credential(1, "p")).unwrap();
        builder.put(&credential(1, "q")).unwrap();
        assert_eq!(builder.finish().unwrap_err(), CredentialId([1; 16]));
    }

    #[test]
    fn a_damaged_file_is_no_table() {
        let mut builder = Builder::default();
        builder.put(&credential(1, "p-1")).unwrap();
        let mut bytes = Vec::new();
        builder.finish().unwrap().encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert!(Table::decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        bytes[8 + 16 + 24] = 99;
        assert!(Table::decode(&bytes).is_none(), "a kind that is none");
    }

    proptest! {
        /// The model is a plain map.
        #[test]
        fn changes_on_top_and_files_give_what_a_plain_map_gives(
            base in proptest::collection::btree_set(0u8..40, 0..20),
            changes in proptest::collection::vec((0u8..40, 0u8..4), 0..40),
        ) {
            let mut model = BTreeMap::new();
            let mut builder = Builder::default();
            for id in base {
                builder.put(&credential(id, &format!("p-{id}"))).unwrap();
                model.insert(CredentialId([id; 16]), (format!("p-{id}"), false));
            }
            let mut table = builder.finish().unwrap();
            for (at, (id, what)) in changes.into_iter().enumerate() {
                let key = CredentialId([id; 16]);
                match what {
                    0 => {
                        table.put(&credential(id, &format!("q-{at}"))).unwrap();
                        model.insert(key, (format!("q-{at}"), false));
                    }
                    1 => {
                        table.remove(key);
                        model.remove(&key);
                    }
                    2 => {
                        table.revoke(key);
                        model.entry(key).or_default().1 = true;
                    }
                    _ => {
                        let mut bytes = Vec::new();
                        table.encode(&mut bytes);
                        table = Table::decode(&bytes).unwrap();
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                for id in 0..40 {
                    let found = table.find(CredentialId([id; 16])).map(|entry| (entry.who.to_owned(), entry.revoked));
                    prop_assert_eq!(found.as_ref(), model.get(&CredentialId([id; 16])));
                }
            }
        }
    }
}
