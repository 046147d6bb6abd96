//! The table as bytes, as they lie sealed in a file.

use gatehouse_core::CardNumber;

use super::{CAPACITY, CLASSES, Record, TEXT_CAPACITY, Table};
use crate::access::credential::{CredentialId, CredentialKind};

/// Bytes of one credential: its hash, six numbers of 32 bits, four of 8.
const ENTRY: usize = 16 + 24 + 4;
/// Bytes of the number of one card.
const NUMBER: usize = 4;

impl Table {
    /// Appends the table as bytes: numbers of entries and of text bytes (32 bits each, little endian), the entries in
    /// ascending order, the texts; and, where a card has its number, the number of each entry (32 bits, 0 for none).
    pub(in crate::access) fn encode(&mut self, bytes: &mut Vec<u8>) {
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
        if self.records.iter().any(|record| record.number.is_some()) {
            let numbers = self.records.iter().map(|record| record.number.map_or(0, CardNumber::reveal));
            bytes.extend(numbers.flat_map(u32::to_le_bytes));
        }
    }

    /// Reads what [`Table::encode`] wrote; `None` for anything else.
    pub(in crate::access) fn decode(bytes: &[u8]) -> Option<Table> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let (text_len, rest) = rest.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count <= CAPACITY)?;
        let (entries, rest) = rest.split_at_checked(count * ENTRY)?;
        let text_len = usize::try_from(u32::from_le_bytes(*text_len)).ok().filter(|len| *len <= TEXT_CAPACITY)?;
        let (texts, numbers) = rest.split_at_checked(text_len)?;
        if !numbers.is_empty() && numbers.len() != count * NUMBER {
            return None;
        }
        let mut table = Table::default();
        (table.ids, table.records) = (Vec::with_capacity(count), Vec::with_capacity(count));
        table.texts.bytes = texts.to_vec();
        let none = [0; NUMBER];
        let numbers = numbers.as_chunks::<NUMBER>().0.iter().chain(std::iter::repeat(&none));
        for (entry, number) in entries.as_chunks::<ENTRY>().0.iter().zip(numbers) {
            let (id, mut record) = decode_entry(entry)?;
            record.number = CardNumber::new(u32::from_le_bytes(*number));
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
    Some((
        CredentialId(*id),
        Record { who, household, reach, schedule, from, until, kind, class, marks: *marks, number: None },
    ))
}
