//! A lane's numbers: which are given, delivered, gone, and which are held.

use gatehouse_core::Lane;

use crate::gap::Gap;
use crate::intervals::Intervals;

/// Most gap records that a lane holds apart; beyond it neighbours with only delivered numbers between them are joined.
pub(crate) const MAX_GAPS: usize = 64;
/// Most ranges of delivered numbers. Live traffic runs ahead of backfill, so there are two or three; each refused or
/// reordered message may add one.
pub(crate) const MAX_RANGES: usize = 4096;

/// A lane's numbers. Each from 1 up to `next - 1` is delivered, in a gap, or the number of a held record.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    pub(crate) lane: Lane,
    /// The next number to give.
    pub(crate) next: u64,
    /// The highest that may be sent.
    pub(crate) newest: u64,
    /// The last number that is durably reserved.
    pub(crate) ceiling: u64,
    pub(crate) done: Intervals,
    pub(crate) gaps: Vec<Gap>,
    /// Stored records that are gone since the lane began.
    pub(crate) lost: u64,
}

impl Book {
    pub(crate) fn new(lane: Lane) -> Self {
        Book { lane, next: 1, newest: 0, ceiling: 0, done: Intervals::default(), gaps: Vec::new(), lost: 0 }
    }

    pub(crate) fn next_unacked(&self, from: u64) -> Option<u64> {
        let next = self.done.next_missing(from.max(1));
        (next <= self.newest).then_some(next)
    }

    /// Takes numbers as delivered; numbers beyond `newest` were never sent and are left out. False: the bound of
    /// ranges is reached, and they will be sent again.
    pub(crate) fn ack(&mut self, first: u64, last: u64) -> bool {
        let (first, last) = (first.max(1), last.min(self.newest));
        if first > last {
            return true;
        }
        if self.done.ranges().len() >= MAX_RANGES && self.done.would_grow(first, last) {
            return false;
        }
        self.done.insert(first, last);
        if !self.gaps.is_empty() {
            let done = &self.done;
            self.gaps.retain(|gap| !done.covers(gap.first, gap.last));
        }
        true
    }

    /// The gap that holds `number`.
    pub(crate) fn gap_at(&self, number: u64) -> Option<&Gap> {
        let at = self.gaps.partition_point(|gap| gap.last < number);
        self.gaps.get(at).filter(|gap| gap.first <= number)
    }

    /// Leaves a gap for each run of held numbers in the range; gives how many numbers they are. `lost`: how many of them
    /// held records, shared out to the first run.
    pub(crate) fn add_gap(&mut self, gap: Gap) -> u64 {
        let mut known = self.done.clone();
        for other in &self.gaps {
            known.insert(other.first, other.last);
        }
        let runs = known.missing(gap.first.max(1), gap.last);
        let mut lost = gap.lost;
        for &(first, last) in &runs {
            let part = if lost == 0 { 0 } else { lost.min(last - first + 1) };
            lost -= part;
            self.lost += part;
            self.place(Gap { first, last, lost: part, ..gap });
        }
        runs.iter().map(|(a, b)| b - a + 1).sum()
    }

    fn place(&mut self, gap: Gap) {
        let at = self.gaps.partition_point(|other| other.last < gap.first);
        if let Some(before) = at.checked_sub(1).and_then(|at| self.gaps.get_mut(at))
            && before.reason == gap.reason
            && self.done.covers(before.last + 1, gap.first - 1)
        {
            before.last = gap.last;
            before.lost += gap.lost;
        } else {
            self.gaps.insert(at, gap);
        }
        while self.gaps.len() > MAX_GAPS {
            self.join();
        }
    }

    /// Makes room for one more gap: joins the first two neighbours that have nothing held between them, whatever their
    /// reasons; if there are none, the oldest is taken as told (its loss stays in `lost`).
    fn join(&mut self) {
        let done = &self.done;
        let pair = self.gaps.windows(2).position(|pair| done.covers(pair[0].last + 1, pair[1].first - 1));
        match pair {
            Some(at) => {
                let after = self.gaps.remove(at + 1);
                self.gaps[at].last = after.last;
                self.gaps[at].lost += after.lost;
            }
            None => {
                let oldest = self.gaps.remove(0);
                self.done.insert(oldest.first, oldest.last);
            }
        }
    }

    /// The lowest number that is held: neither delivered nor in a gap.
    pub(crate) fn first_held(&self) -> Option<u64> {
        let mut first = self.done.next_missing(1);
        while let Some(gap) = self.gap_at(first) {
            first = self.done.next_missing(gap.last + 1);
        }
        (first < self.next).then_some(first)
    }

    /// Numbers that are in gaps and not delivered.
    pub(crate) fn gap_numbers(&self) -> u64 {
        self.gaps.iter().map(|gap| self.done.missing_count(gap.first, gap.last)).sum()
    }

    /// Held records up to `next`, gaps left out.
    pub(crate) fn held(&self) -> u64 {
        (self.next - 1).saturating_sub(self.done.count()).saturating_sub(self.gap_numbers())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::Reason;
    use gatehouse_core::Stamp;

    fn book(numbers: u64) -> Book {
        let mut book = Book::new(Lane::Telemetry);
        book.next = numbers + 1;
        book.newest = numbers;
        book
    }

    fn gap(first: u64, last: u64, reason: Reason) -> Gap {
        Gap { first, last, lost: last - first + 1, reason, stamp: Stamp::default() }
    }

    #[test]
    fn a_gap_leaves_delivered_numbers_alone_and_ends_when_it_is_delivered() {
        let mut book = book(100);
        assert!(book.ack(10, 20));
        assert_eq!(book.add_gap(gap(5, 30, Reason::Damaged)), 15);
        assert_eq!(book.gaps.iter().map(|g| (g.first, g.last)).collect::<Vec<_>>(), [(5, 30)]);
        assert_eq!((book.held(), book.gap_numbers()), (100 - 11 - 15, 15));
        assert!(book.ack(5, 30));
        assert_eq!((book.gaps.len(), book.next_unacked(1), book.next_unacked(5)), (0, Some(1), Some(31)));
    }

    #[test]
    fn a_number_that_was_never_sent_is_not_acknowledged() {
        let mut book = book(3);
        assert!(book.ack(2, 90));
        assert_eq!((book.next_unacked(1), book.next_unacked(2)), (Some(1), None));
        book.newest = 5;
        book.next = 6;
        assert_eq!(book.next_unacked(2), Some(4));
    }

    #[test]
    fn gaps_and_ranges_are_bounded() {
        let mut book = book(1_000_000);
        for n in 1..=200 {
            book.add_gap(gap(n * 2, n * 2, Reason::Refused));
        }
        assert_eq!((book.gaps.len(), book.lost), (MAX_GAPS, 200));
        for n in 0..MAX_RANGES as u64 * 2 {
            book.ack(1000 + n * 2, 1000 + n * 2);
        }
        assert_eq!(book.done.ranges().len(), MAX_RANGES);
        assert!(book.ack(1001, 1001), "what fills a hole is taken still");
    }
}
