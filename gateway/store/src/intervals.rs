//! A set of sequence numbers kept as ranges.

/// Numbers from 1 as disjoint, ascending ranges that never touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Intervals {
    ranges: Vec<(u64, u64)>,
    count: u64,
}

impl Intervals {
    /// Adds `first..=last`; gives how many numbers were new.
    pub(crate) fn insert(&mut self, first: u64, last: u64) -> u64 {
        if first > last {
            return 0;
        }
        let from = self.ranges.partition_point(|&(_, end)| end < first.saturating_sub(1));
        let to = self.ranges.partition_point(|&(start, _)| start <= last.saturating_add(1));
        let before = self.count;
        if from == to {
            self.ranges.insert(from, (first, last));
            self.count += last - first + 1;
        } else {
            let merged = (first.min(self.ranges[from].0), last.max(self.ranges[to - 1].1));
            let old: u64 = self.ranges[from..to].iter().map(|(a, b)| b - a + 1).sum();
            self.ranges[from] = merged;
            self.ranges.drain(from + 1..to);
            self.count = self.count - old + (merged.1 - merged.0 + 1);
        }
        self.count - before
    }

    /// Takes `first..=last` out.
    pub(crate) fn remove(&mut self, first: u64, last: u64) {
        let mut kept = Intervals::default();
        for &(a, b) in &self.ranges {
            if a < first {
                kept.insert(a, b.min(first - 1));
            }
            if b > last {
                kept.insert(a.max(last + 1), b);
            }
        }
        *self = kept;
    }

    /// True when an insertion of this range would add one more range.
    pub(crate) fn would_grow(&self, first: u64, last: u64) -> bool {
        let from = self.ranges.partition_point(|&(_, end)| end < first.saturating_sub(1));
        self.ranges.get(from).is_none_or(|&(start, _)| start > last.saturating_add(1))
    }

    /// The lowest number from `from` on that is not in the set.
    pub(crate) fn next_missing(&self, from: u64) -> u64 {
        let at = self.ranges.partition_point(|&(_, end)| end < from);
        match self.ranges.get(at) {
            Some(&(start, end)) if start <= from => end + 1,
            _ => from,
        }
    }

    /// The lowest number from `from` on that is in the set.
    pub(crate) fn next_present(&self, from: u64) -> Option<u64> {
        let at = self.ranges.partition_point(|&(_, end)| end < from);
        self.ranges.get(at).map(|&(start, _)| start.max(from))
    }

    pub(crate) fn covers(&self, first: u64, last: u64) -> bool {
        self.next_missing(first) > last
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.covers(number, number)
    }

    /// The ranges within `first..=last` that are not in the set.
    pub(crate) fn missing(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        let mut at = self.next_missing(first);
        while at <= last {
            let end = self.next_present(at).map_or(last, |next| last.min(next - 1));
            runs.push((at, end));
            at = self.next_missing(end + 1);
        }
        runs
    }

    pub(crate) fn missing_count(&self, first: u64, last: u64) -> u64 {
        self.missing(first, last).iter().map(|(a, b)| b - a + 1).sum()
    }

    pub(crate) fn last(&self) -> u64 {
        self.ranges.last().map_or(0, |&(_, end)| end)
    }

    /// How many numbers are in the set.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_say_what_a_plain_set_says(ops in prop::collection::vec((1u64..60, 0u64..12, prop::bool::weighted(0.8)), 0..60)) {
            let mut ranges = Intervals::default();
            let mut plain = BTreeSet::new();
            for (first, span, add) in ops {
                let last = first + span;
                if add {
                    let grows = ranges.would_grow(first, last);
                    let (len, had) = (ranges.ranges().len(), plain.len());
                    plain.extend(first..=last);
                    prop_assert_eq!(ranges.insert(first, last), (plain.len() - had) as u64);
                    prop_assert_eq!(grows, ranges.ranges().len() > len);
                } else {
                    plain.retain(|n| *n < first || *n > last);
                    ranges.remove(first, last);
                }
                prop_assert_eq!(ranges.count(), plain.len() as u64);
                prop_assert!(ranges.ranges().windows(2).all(|w| w[0].1 + 1 < w[1].0));
                prop_assert_eq!(ranges.next_missing(first), (first..).find(|n| !plain.contains(n)).unwrap());
                prop_assert_eq!(ranges.next_present(first), plain.range(first..).next().copied());
                let holes: Vec<u64> = ranges.missing(first, last).into_iter().flat_map(|(a, b)| a..=b).collect();
                let expected: Vec<u64> = (first..=last).filter(|n| !plain.contains(n)).collect();
                prop_assert_eq!(holes, expected);
            }
        }
    }
}
