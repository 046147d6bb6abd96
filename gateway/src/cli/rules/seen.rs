//! Which records have come: their numbers, as intervals by lane and epoch.

use std::collections::BTreeMap;

/// The numbers that have come.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<(String, u64), BTreeMap<u64, u64>>);

impl Seen {
    /// Notes a number; false when it had come before.
    pub(super) fn insert(&mut self, lane: &str, epoch: u64, seq: u64) -> bool {
        let intervals = self.0.entry((lane.to_owned(), epoch)).or_default();
        let before = intervals.range(..=seq).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| seq <= last) {
            return false;
        }
        let first = before.filter(|(_, last)| last.checked_add(1) == Some(seq)).map_or(seq, |(first, _)| first);
        let after = seq.checked_add(1).and_then(|next| intervals.remove(&next));
        intervals.insert(first, after.unwrap_or(seq));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_is_new_once_whatever_the_order() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
        for _ in 0..5000 {
            let (lane, seq) = (if rng.bool() { "alarms" } else { "billing" }, rng.u64(0..300));
            assert_eq!(seen.insert(lane, 1, seq), model.insert((lane, seq)));
        }
        assert!(seen.insert("alarms", 2, 7), "another epoch is another sequence");
        assert!(seen.0.values().map(BTreeMap::len).sum::<usize>() < 10, "neighbours are one interval");
        assert!(seen.insert("alarms", 1, u64::MAX) && !seen.insert("alarms", 1, u64::MAX));
    }
}
