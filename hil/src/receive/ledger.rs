//! What a receiver can prove from (box, epoch, lane, seq): all there, nothing twice, everything in order.

use std::collections::BTreeMap;

/// Which numbers have come, as disjoint intervals.
#[derive(Debug, Default, Clone)]
pub struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    /// Whether the number is there.
    pub fn has(&self, seq: u64) -> bool {
        self.0.range(..=seq).next_back().is_some_and(|(_, &last)| last >= seq)
    }

    /// Adds an interval.
    pub fn add(&mut self, mut first: u64, mut last: u64) {
        while let Some((&from, &to)) = self.0.range(..=last.saturating_add(1)).next_back() {
            if to.saturating_add(1) < first {
                break;
            }
            first = first.min(from);
            last = last.max(to);
            self.0.remove(&from);
        }
        self.0.insert(first, last);
    }

    /// How many of the numbers 1 to `upto` are not there.
    pub fn missing(&self, upto: u64) -> u64 {
        let there = self.0.range(..=upto).map(|(&first, &last)| last.min(upto).saturating_sub(first.max(1)) + 1);
        upto.saturating_sub(there.sum())
    }

    /// The greatest number that has come; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, &last)| last)
    }
}

/// One lane of one epoch.
#[derive(Debug, Default, Clone)]
pub struct Stream {
    /// What has come, gaps included.
    pub numbers: Numbers,
    /// Records that gap records say are gone.
    pub lost: u64,
    // Newest first-time number of the live topic and of the backfill topic.
    newest: [u64; 2],
}

/// How a record relates to what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// For the first time, after all earlier ones of its topic.
    New,
    /// For the first time, after a later one of its topic.
    OutOfOrder,
    /// Again.
    Duplicate,
}

/// The numbers of every lane and epoch.
#[derive(Debug, Default, Clone)]
pub struct Ledger(BTreeMap<(u64, String), Stream>);

impl Ledger {
    /// Takes note of a record (or of a gap that ends at `last`, with `lost` stored records gone).
    pub fn note(&mut self, epoch: u64, lane: &str, backfill: bool, seq: u64, last: u64, lost: u64) -> Arrival {
        // Looked up by reference first: lanes are few, records are many.
        let known = self.0.iter_mut().find(|((e, l), _)| *e == epoch && l == lane).map(|(_, stream)| stream);
        let stream = match known {
            Some(stream) => stream,
            None => self.0.entry((epoch, lane.to_owned())).or_default(),
        };
        if stream.numbers.has(seq) && stream.numbers.has(last) {
            return Arrival::Duplicate;
        }
        stream.numbers.add(seq, last.max(seq));
        stream.lost += lost;
        let newest = &mut stream.newest[usize::from(backfill)];
        let ordered = seq > *newest;
        *newest = (*newest).max(last);
        if ordered { Arrival::New } else { Arrival::OutOfOrder }
    }

    /// The lanes that have come, by epoch and name.
    pub fn streams(&self) -> impl Iterator<Item = (u64, &str, &Stream)> {
        self.0.iter().map(|((epoch, lane), stream)| (*epoch, lane.as_str(), stream))
    }

    /// Numbers of an epoch's lane that have not come, up to `upto`; all of them when nothing has.
    pub fn missing(&self, epoch: u64, lane: &str, upto: u64) -> u64 {
        let stream = self.0.get(&(epoch, lane.to_owned()));
        stream.map_or(upto, |stream| stream.numbers.missing(upto))
    }

    /// Records that gap records say are gone.
    pub fn lost(&self) -> u64 {
        self.0.values().map(|stream| stream.lost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_together() {
        let mut numbers = Numbers::default();
        for (first, last) in [(1, 3), (7, 9), (5, 5), (4, 4), (6, 6), (20, 30), (2, 25)] {
            numbers.add(first, last);
        }
        assert_eq!(numbers.0, BTreeMap::from([(1, 30)]));
        assert_eq!((numbers.missing(30), numbers.missing(33), numbers.newest()), (0, 3, 30));
        numbers.add(40, 40);
        assert_eq!(numbers.missing(40), 9);
    }

    #[test]
    fn a_ledger_tells_new_late_and_twice() {
        let mut ledger = Ledger::default();
        let mut note = |backfill, seq| ledger.note(1, "telemetry", backfill, seq, seq, 0);
        assert_eq!(note(false, 1), Arrival::New);
        assert_eq!(note(false, 5), Arrival::New);
        assert_eq!(note(true, 2), Arrival::New, "backfill has an order of its own");
        assert_eq!(note(false, 5), Arrival::Duplicate);
        assert_eq!(note(false, 4), Arrival::OutOfOrder);
        assert_eq!(ledger.missing(1, "telemetry", 5), 1);
        assert_eq!(ledger.note(1, "telemetry", true, 3, 3, 2), Arrival::New);
        assert_eq!((ledger.missing(1, "telemetry", 5), ledger.lost()), (0, 2));
        assert_eq!(ledger.missing(1, "billing", 2), 2, "a lane of which nothing came");
        assert_eq!(ledger.note(2, "telemetry", false, 1, 1, 0), Arrival::New, "another epoch counts anew");
    }
}
