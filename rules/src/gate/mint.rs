//! Numbers for requests, each given once for ever.

use serde::{Deserialize, Serialize};

use crate::effect::Effects;
use crate::words::RequestId;

/// Where the mint's ceiling is kept.
pub(super) const KEY: &str = "request-next";
/// How many numbers are reserved at a time.
const RESERVE: u64 = 64;

/// The counter. Numbers below the kept ceiling may have been given before a restart, so that it goes on from there.
#[derive(Debug)]
pub(super) struct Mint {
    next: u64,
    ceiling: u64,
}

#[derive(Serialize, Deserialize)]
struct Ceiling {
    ceiling: u64,
}

impl Mint {
    pub(super) fn new() -> Self {
        Mint { next: 1, ceiling: 1 }
    }

    /// Takes back the ceiling. False when the document is none.
    pub(super) fn restore(&mut self, value: &[u8]) -> bool {
        let Ok(kept) = serde_json::from_slice::<Ceiling>(value) else { return false };
        self.outrun(kept.ceiling);
        true
    }

    /// Gives no number below this one any more.
    pub(super) fn outrun(&mut self, next: u64) {
        self.next = self.next.max(next);
        self.ceiling = self.ceiling.max(self.next);
    }

    /// Reserves numbers ahead of their use: a question to the core goes out before its batch is durable, and its number
    /// must not be given again after a kill in between.
    pub(super) fn reserve(&mut self, effects: &mut Effects) {
        if self.next.saturating_add(RESERVE / 2) > self.ceiling {
            self.ceiling = self.next.saturating_add(RESERVE);
            effects.keep(KEY, &Ceiling { ceiling: self.ceiling });
        }
    }

    /// The next number.
    pub(super) fn mint(&mut self, effects: &mut Effects) -> RequestId {
        self.reserve(effects);
        let id = RequestId(self.next);
        self.next = self.next.saturating_add(1);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Effect;

    #[test]
    fn no_number_is_given_twice_wherever_the_box_is_killed() {
        let (mut kept, mut last) = (None::<Box<[u8]>>, 0);
        for numbers in [1, 63, 64, 65, 200] {
            let mut mint = Mint::new();
            if let Some(value) = &kept {
                assert!(mint.restore(value));
            }
            for _ in 0..numbers {
                let mut effects = Effects::default();
                let id = mint.mint(&mut effects).0;
                while let Some(effect) = effects.poll() {
                    let Effect::Keep { value, .. } = effect else { continue };
                    kept = value;
                }
                assert!(id > last);
                last = id;
            }
        }
    }
}
