//! Holds up who guesses codes: after some wrong ones a reader, or all of them, take none for a growing time.
//!
//! Keys: `access/guess/<reader>`, and `access/guess//site` for all readers together. After a restart a closure goes on;
//! where nobody can tell how long the box was down, it begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatehouse_core::{Lane, Mono, Stamp};
use serde::{Deserialize, Serialize};

use super::policy::GuessLimits;
use crate::effect::Effects;
use crate::instant::Instant;

const PREFIX: &str = "access/guess/";
/// The name under which all readers together are kept; no reader has it.
const SITE: &str = "/site";
/// The most readers that are watched by themselves; wrong codes at further ones count for the site only.
const READERS: usize = 256;

/// One reader, or all together.
#[derive(Debug, Default)]
struct Watch {
    /// When wrong codes came, the oldest first.
    wrong: VecDeque<Stamp>,
    /// How often it was closed without a quiet time between.
    closures: u32,
    closed: Option<Closure>,
}

#[derive(Debug, Clone, Copy)]
struct Closure {
    since: Stamp,
    until: Mono,
}

/// What is kept of a [`Watch`].
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    wrong: Vec<Instant>,
    closures: u32,
    closed: Option<KeptClosure>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct KeptClosure {
    since: Instant,
    for_s: u64,
}

/// A closure began or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// `None`: all readers.
    pub(super) reader: Option<String>,
    /// For how long it is closed; `None`: it is open again.
    pub(super) closed_for: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Guesses {
    limits: GuessLimits,
    watches: BTreeMap<String, Watch>,
    restored: BTreeMap<String, Kept>,
    turns: VecDeque<Turn>,
}

impl Guesses {
    pub(super) fn new(limits: GuessLimits) -> Guesses {
        Guesses { limits, ..Guesses::default() }
    }

    /// Takes back a value; `Ok(false)` where the key is another's.
    pub(super) fn restore(&mut self, key: &str, value: &[u8]) -> Result<bool, serde_json::Error> {
        let Some(reader) = key.strip_prefix(PREFIX) else { return Ok(false) };
        self.restored.insert(reader.to_owned(), serde_json::from_slice(value)?);
        Ok(true)
    }

    /// True while what was restored waits for a time.
    pub(super) fn has_restored(&self) -> bool {
        !self.restored.is_empty()
    }

    /// Places what was restored on the clock of this boot.
    pub(super) fn begin(&mut self, now: &Stamp) {
        for (reader, kept) in std::mem::take(&mut self.restored) {
            let placed = |instant: &Instant| Stamp { mono: instant.mono(now), ..*now };
            let closed = kept.closed.map(|closed| {
                let since = placed(&closed.since);
                Closure { since, until: since.mono + Duration::from_secs(closed.for_s) }
            });
            if closed.is_some() {
                let closed_for = closed.map(|closed| now.mono.until(closed.until));
                self.turns.push_back(Turn { reader: name(&reader), closed_for });
            }
            let wrong = kept.wrong.iter().map(placed).collect();
            self.watches.insert(reader, Watch { wrong, closures: kept.closures, closed });
        }
    }

    /// True when codes at this reader are not looked at.
    pub(super) fn is_closed(&self, now: Mono, reader: &str) -> bool {
        [reader, SITE].into_iter().filter_map(|name| self.watches.get(name)?.closed).any(|closed| now < closed.until)
    }

    /// Readers that are closed, and until when; `None`: all of them.
    pub(super) fn closed(&self) -> impl Iterator<Item = (Option<String>, Mono)> {
        self.watches.iter().filter_map(|(reader, watch)| Some((name(reader), watch.closed?.until)))
    }

    /// A wrong code came.
    pub(super) fn wrong(&mut self, now: &Stamp, reader: &str, effects: &mut Effects) {
        let known = self.watches.contains_key(reader) || self.watches.len() < READERS;
        let watched = [(reader, self.limits.per_reader), (SITE, self.limits.per_site)];
        for (reader, limit) in watched.into_iter().filter(|(reader, _)| known || *reader == SITE) {
            let watch = self.watches.entry(reader.to_owned()).or_default();
            let for_s = watch.wrong(now, limit, &self.limits);
            effects.keep(format!("{PREFIX}{reader}"), &watch.kept());
            if let Some(closed_for) = for_s {
                #[derive(Serialize)]
                struct Closed<'a> {
                    reader: Option<&'a str>,
                    closed_s: u64,
                    closures: u32,
                }
                let reader = name(reader);
                let event =
                    Closed { reader: reader.as_deref(), closed_s: closed_for.as_secs(), closures: watch.closures };
                effects.event(Lane::Audit, *now, "code_guessing", &event);
                self.turns.push_back(Turn { reader, closed_for: Some(closed_for) });
            }
        }
    }

    /// Opens what was closed long enough, and forgets who has been quiet.
    pub(super) fn handle_timeout(&mut self, now: Mono, effects: &mut Effects) {
        let turns = &mut self.turns;
        for (reader, watch) in &mut self.watches {
            if watch.closed.take_if(|closed| closed.until <= now).is_some() {
                turns.push_back(Turn { reader: name(reader), closed_for: None });
                effects.keep(format!("{PREFIX}{reader}"), &watch.kept());
            }
        }
        let limits = &self.limits;
        self.watches.retain(|reader, watch| {
            let stays = watch.quiet_at(limits).is_none_or(|quiet| now < quiet);
            if !stays {
                effects.forget(format!("{PREFIX}{reader}"));
            }
            stays
        });
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        let due = |watch: &Watch| watch.closed.map(|closed| closed.until).or_else(|| watch.quiet_at(&self.limits));
        self.watches.values().filter_map(due).min()
    }

    /// The next closure that began or ended.
    pub(super) fn poll_turn(&mut self) -> Option<Turn> {
        self.turns.pop_front()
    }
}

fn name(reader: &str) -> Option<String> {
    (reader != SITE).then(|| reader.to_owned())
}

impl Watch {
    /// Counts a wrong code; for how long it closes the reader, if it does.
    fn wrong(&mut self, now: &Stamp, limit: u32, limits: &GuessLimits) -> Option<Duration> {
        self.wrong.retain(|at| now.mono.since(at.mono) < limits.within);
        self.wrong.push_back(*now);
        let limit = usize::try_from(limit.clamp(1, 100)).unwrap_or(1);
        let still = self.closed.is_some_and(|closed| now.mono < closed.until);
        if self.wrong.len() < limit || still {
            self.wrong.truncate(limit);
            return None;
        }
        let closed_for = limits.first.saturating_mul(1 << self.closures.min(20)).min(limits.longest);
        self.closures = self.closures.saturating_add(1);
        self.closed = Some(Closure { since: *now, until: now.mono + closed_for });
        // The last one stays, so that the quiet time counts from it.
        self.wrong.drain(..limit - 1);
        Some(closed_for)
    }

    /// When nothing needs to be remembered any more; `None` while it is closed.
    fn quiet_at(&self, limits: &GuessLimits) -> Option<Mono> {
        let last = self.wrong.back().map_or(Mono(0), |last| last.mono);
        self.closed.is_none().then(|| last + limits.longest * 2)
    }

    fn kept(&self) -> Kept {
        Kept {
            wrong: self.wrong.iter().map(|at| (*at).into()).collect(),
            closures: self.closures,
            closed: self.closed.map(|closed| KeptClosure {
                since: closed.since.into(),
                for_s: closed.until.since(closed.since.mono).as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_core::BootId;

    use super::*;
    use crate::effect::Effect;

    fn at(s: u64) -> Stamp {
        Stamp { mono: Mono::from_millis(s * 1000), ..Stamp::default() }
    }

    #[test]
    fn each_closure_is_twice_as_long_until_it_was_quiet() {
        let (mut guesses, mut effects) = (Guesses::new(GuessLimits::default()), Effects::default());
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..8 {
            while !guesses.is_closed(at(now).mono, "pad") {
                guesses.wrong(&at(now), "pad", &mut effects);
                now += 10;
            }
            let until = guesses.closed().find(|(reader, _)| reader.as_deref() == Some("pad")).unwrap().1;
            let closure = std::iter::from_fn(|| guesses.poll_turn()).find(|turn| turn.closed_for.is_some()).unwrap();
            lengths.push(closure.closed_for.unwrap().as_secs() / 60);
            now = until.0 / 1_000_000_000;
            guesses.handle_timeout(until, &mut effects);
            assert!(!guesses.is_closed(until, "pad"));
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
        while let Some(due) = guesses.poll_timeout() {
            guesses.handle_timeout(due, &mut effects);
        }
        assert!(guesses.watches.is_empty(), "it is forgotten after a quiet time");
    }

    #[test]
    fn wrong_codes_at_many_readers_close_all_of_them() {
        let (mut guesses, mut effects) = (Guesses::new(GuessLimits::default()), Effects::default());
        for n in 0..19 {
            guesses.wrong(&at(n), &format!("pad-{}", n % 5), &mut effects);
        }
        assert!(!guesses.is_closed(at(19).mono, "pad-4"));
        guesses.wrong(&at(19), "pad-9", &mut effects);
        assert!(guesses.is_closed(at(19).mono, "pad-4"));
        assert_eq!(guesses.poll_turn(), Some(Turn { reader: None, closed_for: Some(Duration::from_secs(60)) }));
    }

    #[test]
    fn a_closure_outlives_a_restart() {
        let (mut guesses, mut effects) = (Guesses::new(GuessLimits::default()), Effects::default());
        for n in 0..5 {
            guesses.wrong(&at(n), "pad", &mut effects);
        }
        let mut again = Guesses::new(GuessLimits::default());
        while let Some(effect) = effects.poll() {
            if let Effect::Keep { key, value: Some(value) } = effect {
                assert!(again.restore(&key, &value).unwrap());
            }
        }
        let now = Stamp { boot: BootId(2), ..at(10) };
        again.begin(&now);
        assert!(again.is_closed(now.mono, "pad"), "nobody can tell how long it was down: it begins anew");
        assert_eq!(again.poll_timeout(), Some(at(70).mono));
        assert!(again.poll_turn().is_some());
        again.handle_timeout(at(70).mono, &mut effects);
        assert!(!again.is_closed(at(70).mono, "pad"));
    }
}
