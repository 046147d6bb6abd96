//! One digital input: from the bounces of a contact to edges that count.
//!
//! Pure: levels and their times go in, edges come out. The kernel's own time of an edge is used where there is one, so
//! that a busy processor lengthens no filter.

use std::time::Duration;

use gatehouse_core::Mono;

/// A contact that finds no rest for this long, beyond its filter, tells nothing any more.
const UNSTEADY: Duration = Duration::from_secs(5);

/// How long a level must last before it counts, for each direction by itself.
///
/// A loop under a barrier wants `on` zero and `off` some 300 ms: a car is seen at once and gone late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// For a contact that becomes active.
    pub on: Duration,
    /// For a contact that becomes inactive.
    pub off: Duration,
}

impl Filter {
    fn of(self, level: bool) -> Duration {
        if level { self.on } else { self.off }
    }
}

/// A contact changed, and the change counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// When it came to count: the level's beginning and its filter.
    pub at: Mono,
    /// When the level began.
    pub since: Mono,
    /// The level; `None`: it changes so fast that nobody can tell.
    pub level: Option<bool>,
}

/// A contact and its filter.
///
/// Nothing is known before the first level has lasted as long as its filter. Give it what happened in the order of
/// time, and come back at [`Contact::poll_timeout`].
#[derive(Debug, Clone)]
pub struct Contact {
    filter: Filter,
    /// The level that counts.
    level: Option<bool>,
    /// The level that was seen last, and since when.
    seen: Option<(bool, Mono)>,
    /// Since when no level has lasted as long as its filter.
    restless: Option<Mono>,
    bounces: u64,
}

impl Contact {
    /// A contact of which nothing is known.
    pub fn new(filter: Filter) -> Self {
        Contact { filter, level: None, seen: None, restless: None, bounces: 0 }
    }

    /// The level that counts; `None` while it cannot be told.
    pub fn level(&self) -> Option<bool> {
        self.level
    }

    /// Changes that were filtered out so far.
    pub fn bounces(&self) -> u64 {
        self.bounces
    }

    /// The level was seen at `at`: an edge that the kernel has timed, or a look at the line. A level that is known
    /// already changes nothing.
    ///
    /// Gives up to two edges: one that came to count before this one, and this one if its filter is zero.
    pub fn edge(&mut self, at: Mono, level: bool) -> impl Iterator<Item = Edge> + use<> {
        let at = self.seen.map_or(at, |(_, since)| at.max(since));
        let before = self.handle_timeout(at);
        match self.seen {
            Some((seen, _)) if seen == level => {}
            Some(_) => {
                if self.restless.is_some() {
                    self.bounces = self.bounces.saturating_add(1);
                }
                self.begin(at, level);
            }
            None => self.begin(at, level),
        }
        [before, self.handle_timeout(at)].into_iter().flatten()
    }

    /// The line is gone: nothing is known until a new level has lasted.
    pub fn lost(&mut self) {
        self.level = None;
        self.seen = None;
        self.restless = None;
    }

    /// When a level comes to count, or the contact to be unsteady.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let (seen, since) = self.seen?;
        let restless = self.restless?;
        let counts = since + self.filter.of(seen);
        Some(if self.level.is_some() { counts.min(self.unsteady_at(restless)) } else { counts })
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Mono) -> Option<Edge> {
        let (seen, since) = self.seen?;
        let restless = self.restless?;
        let counts = since + self.filter.of(seen);
        if counts <= now {
            self.restless = None;
            let news = self.level.replace(seen) != Some(seen);
            return news.then_some(Edge { at: counts, since, level: Some(seen) });
        }
        let unsteady = self.unsteady_at(restless);
        if unsteady <= now && self.level.take().is_some() {
            return Some(Edge { at: unsteady, since: restless, level: None });
        }
        None
    }

    fn begin(&mut self, at: Mono, level: bool) {
        self.seen = Some((level, at));
        self.restless.get_or_insert(at);
    }

    fn unsteady_at(&self, restless: Mono) -> Mono {
        restless + self.filter.on.max(self.filter.off) + UNSTEADY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Mono = Mono::from_millis;

    fn contact(on_ms: u64, off_ms: u64) -> Contact {
        Contact::new(Filter { on: Duration::from_millis(on_ms), off: Duration::from_millis(off_ms) })
    }

    fn edge(at: u64, since: u64, level: bool) -> Edge {
        Edge { at: MS(at), since: MS(since), level: Some(level) }
    }

    fn given(contact: &mut Contact, at: u64, level: bool) -> Vec<Edge> {
        contact.edge(MS(at), level).collect()
    }

    #[test]
    fn a_level_counts_once_it_has_lasted_as_long_as_its_filter() {
        let mut door = contact(50, 100);
        assert_eq!(given(&mut door, 1000, false), []);
        assert_eq!(door.level(), None, "nothing is known yet");
        assert_eq!(door.poll_timeout(), Some(MS(1100)));
        assert_eq!(door.handle_timeout(MS(1099)), None);
        assert_eq!(door.handle_timeout(MS(1107)), Some(edge(1100, 1000, false)));
        assert_eq!(given(&mut door, 2000, true), []);
        assert_eq!(door.handle_timeout(MS(2050)), Some(edge(2050, 2000, true)));
        assert_eq!((door.level(), door.poll_timeout()), (Some(true), None));
    }

    #[test]
    fn a_bounce_begins_the_filter_anew_and_is_counted() {
        let mut door = contact(50, 50);
        assert_eq!(given(&mut door, 0, false), []);
        assert_eq!(door.handle_timeout(MS(50)), Some(edge(50, 0, false)));
        for (at, level) in [(100, true), (110, false), (120, true), (149, false), (150, true)] {
            assert_eq!(given(&mut door, at, level), []);
        }
        assert_eq!(door.poll_timeout(), Some(MS(200)));
        assert_eq!(door.handle_timeout(MS(199)), None);
        assert_eq!(door.handle_timeout(MS(200)), Some(edge(200, 150, true)));
        assert_eq!(door.bounces(), 4);
    }

    #[test]
    fn a_filter_of_zero_counts_at_once_and_the_other_direction_still_waits() {
        let mut safety_loop = contact(0, 500);
        assert_eq!(given(&mut safety_loop, 0, false), []);
        assert_eq!(given(&mut safety_loop, 10, true), [edge(10, 10, true)]);
        assert_eq!(given(&mut safety_loop, 20, false), []);
        assert_eq!(given(&mut safety_loop, 300, true), []);
        assert_eq!(safety_loop.level(), Some(true), "the gap between two axles is no gap between two cars");
        assert_eq!(given(&mut safety_loop, 400, false), []);
        assert_eq!(safety_loop.handle_timeout(MS(900)), Some(edge(900, 400, false)));
    }

    #[test]
    fn an_edge_that_is_read_late_ends_a_level_that_had_lasted() {
        let mut button = contact(50, 0);
        assert_eq!(given(&mut button, 0, false), [edge(0, 0, false)]);
        assert_eq!(given(&mut button, 100, true), []);
        // The task was late: the release at 180 is read before anybody came at 150.
        assert_eq!(given(&mut button, 180, false), [edge(150, 100, true), edge(180, 180, false)]);
    }

    #[test]
    fn a_contact_without_rest_tells_nothing_until_it_rests() {
        let mut relay_contact = contact(100, 100);
        assert_eq!(given(&mut relay_contact, 0, true), []);
        assert_eq!(relay_contact.handle_timeout(MS(100)), Some(edge(100, 0, true)));
        let mut edges = Vec::new();
        for step in 0..200 {
            edges.extend(relay_contact.edge(MS(1000 + 50 * step), step % 2 == 1));
        }
        assert_eq!(edges, [Edge { at: MS(6100), since: MS(1000), level: None }]);
        assert_eq!(relay_contact.poll_timeout(), Some(MS(1000 + 50 * 199 + 100)));
        assert_eq!(relay_contact.handle_timeout(MS(20_000)), Some(edge(11_050, 10_950, true)));
    }

    #[test]
    fn a_look_that_came_before_its_edge_changes_nothing() {
        let mut door = contact(0, 0);
        assert_eq!(given(&mut door, 100, false), [edge(100, 100, false)]);
        assert_eq!(given(&mut door, 201, true), [edge(201, 201, true)]);
        assert_eq!(given(&mut door, 200, true), [], "the kernel's word for what was seen already");
        assert_eq!(given(&mut door, 150, false), [edge(201, 201, false)], "time never goes back");
    }

    /// What the filter must say, by looking at each millisecond, at its beginning and after a change.
    fn model(levels: &[bool], filter: Filter) -> Vec<(u64, bool)> {
        let mut counted = None;
        let mut edges = Vec::new();
        let (mut since, mut last) = (0, levels[0]);
        for (ms, level) in (0u64..).zip(levels) {
            for level in [last, *level] {
                if last != level {
                    (since, last) = (ms, level);
                }
                if Duration::from_millis(ms - since) >= filter.of(level) && counted != Some(level) {
                    counted = Some(level);
                    edges.push((ms, level));
                }
            }
        }
        edges
    }

    #[test]
    fn however_late_it_is_woken_it_finds_the_edges_that_were_there() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..300 {
            let filter =
                Filter { on: Duration::from_millis(rng.u64(0..40)), off: Duration::from_millis(rng.u64(0..40)) };
            let mut level = rng.bool();
            let turn = rng.u64(2..60);
            let levels: Vec<bool> = std::iter::repeat_with(|| {
                level ^= rng.u64(0..turn) == 0;
                level
            })
            .take(2000)
            .collect();
            let mut contact = Contact::new(filter);
            let mut found = Vec::new();
            for (ms, level) in (0u64..).zip(&levels) {
                found.extend(contact.edge(MS(ms), *level));
                if rng.u64(0..20) == 0 {
                    found.extend(contact.handle_timeout(MS(ms)));
                }
            }
            let end = u64::try_from(levels.len()).unwrap() - 1;
            found.extend(contact.handle_timeout(MS(end)));
            // Contacts that found no rest for seconds are another test's matter.
            let found: Vec<(u64, bool)> =
                found.iter().map(|edge| (edge.at.0 / 1_000_000, edge.level.expect("two seconds are short"))).collect();
            assert_eq!(found, model(&levels, filter), "{filter:?}");
        }
    }
}
