//! What is harmless now and then, and says something when it comes often.

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::Mono;

/// When something happened lately, and its size each time.
#[derive(Debug, Clone, Default)]
pub(super) struct Often {
    past: VecDeque<(Mono, usize)>,
}

impl Often {
    /// Takes one more. `Some`: the last `many` came within so long; how large they were together.
    pub(super) fn push(&mut self, now: Mono, size: usize, (many, within): (usize, Duration)) -> Option<usize> {
        self.past.truncate(many.saturating_sub(1));
        self.past.push_front((now, size));
        let first = self.past.back().filter(|_| self.past.len() >= many);
        let is_often = first.is_some_and(|(at, _)| now.since(*at) < within);
        is_often.then(|| self.past.iter().map(|(_, size)| size).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_so_many_times_within_so_long_is_often() {
        let at = |seconds: u64| Mono(seconds * 1_000_000_000);
        let limit = (3, Duration::from_secs(60));
        let mut often = Often::default();
        assert_eq!(often.push(at(0), 5, limit), None);
        assert_eq!(often.push(at(50), 6, limit), None);
        assert_eq!(often.push(at(60), 7, limit), None, "the first is a minute ago");
        assert_eq!(often.push(at(109), 8, limit), Some(21));
    }
}
