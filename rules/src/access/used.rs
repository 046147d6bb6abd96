//! Codes that opened once, until nobody could use them any more. Keys: `access/used/<the code's keyed hash>`.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::{Stamp, Trust};
use serde::{Deserialize, Serialize};

use super::credential::CredentialId;
use crate::effect::Effects;

const PREFIX: &str = "access/used/";
/// The most codes that are remembered; beyond, no further one opens.
const CODES: usize = 10_000;
/// How many that are over leave with each that comes.
const LEAVING: usize = 4;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    /// Seconds since 1970.
    until: i64,
}

#[derive(Debug, Default)]
pub(super) struct Used {
    codes: BTreeMap<CredentialId, i64>,
    ends: BTreeSet<(i64, CredentialId)>,
}

impl Used {
    /// Takes back a value; `Ok(false)` where the key is another's.
    pub(super) fn restore(&mut self, key: &str, value: &[u8]) -> Result<bool, serde_json::Error> {
        let id = key.strip_prefix(PREFIX).and_then(|id| CredentialId::try_from(id.to_owned()).ok());
        let Some(id) = id else { return Ok(false) };
        self.insert(id, serde_json::from_slice::<Kept>(value)?.until);
        Ok(true)
    }

    /// True for a code that opened.
    pub(super) fn has(&self, id: CredentialId) -> bool {
        self.codes.contains_key(&id)
    }

    /// True when no further one can be remembered. Codes that are over leave first.
    pub(super) fn is_full(&self, now: &Stamp) -> bool {
        self.codes.len() >= CODES && self.over(now).is_none()
    }

    /// A code opened; it is worth nothing from `until` on, in seconds since 1970.
    pub(super) fn add(&mut self, now: &Stamp, id: CredentialId, until: i64, effects: &mut Effects) {
        for _ in 0..LEAVING {
            let Some(over) = self.over(now) else { break };
            self.remove(over, effects);
        }
        self.insert(id, until);
        effects.keep(format!("{PREFIX}{id}"), &Kept { until });
    }

    /// Nobody went through: the code whose hash begins with `prefix` is good again.
    pub(super) fn give_back(&mut self, prefix: &str, effects: &mut Effects) {
        let from = CredentialId::try_from(format!("{prefix:0<32}"));
        let found = from.ok().and_then(|from| self.codes.range(from..).next()).map(|(id, _)| *id);
        if let Some(id) = found.filter(|id| id.prefix() == prefix) {
            self.remove(id, effects);
        }
    }

    fn insert(&mut self, id: CredentialId, until: i64) {
        if let Some(before) = self.codes.insert(id, until) {
            self.ends.remove(&(before, id));
        }
        self.ends.insert((until, id));
    }

    fn remove(&mut self, id: CredentialId, effects: &mut Effects) {
        if let Some(until) = self.codes.remove(&id) {
            self.ends.remove(&(until, id));
            effects.forget(format!("{PREFIX}{id}"));
        }
    }

    /// One whose end has passed for a day, so that a clock put back a little brings none to life.
    fn over(&self, now: &Stamp) -> Option<CredentialId> {
        let day_s = 24 * 3600;
        let (until, id) = self.ends.first()?;
        (now.trust != Trust::Unset && *until < now.wall.0.div_euclid(1_000_000) - day_s).then_some(*id)
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_core::Wall;

    use super::*;

    fn at(s: i64) -> Stamp {
        Stamp { wall: Wall(s * 1_000_000), trust: Trust::Synchronised, ..Stamp::default() }
    }

    fn id(n: usize) -> CredentialId {
        CredentialId(u128::try_from(n).unwrap().to_le_bytes())
    }

    #[test]
    fn codes_are_remembered_until_a_day_after_their_end() {
        let (mut used, mut effects) = (Used::default(), Effects::default());
        for n in 0..CODES {
            assert!(!used.is_full(&at(0)));
            used.add(&at(0), id(n), 100, &mut effects);
        }
        assert!(used.is_full(&at(100 + 24 * 3600)));
        assert!(used.is_full(&Stamp { trust: Trust::Unset, ..at(1 << 40) }), "an unset clock ends nothing");
        let later = at(101 + 24 * 3600);
        assert!(!used.is_full(&later));
        used.add(&later, id(CODES), 1 << 40, &mut effects);
        assert_eq!(used.codes.len(), CODES + 1 - LEAVING);
        assert!(used.has(id(CODES)));
    }

    #[test]
    fn a_code_by_which_nobody_passed_is_good_again() {
        let (mut used, mut effects) = (Used::default(), Effects::default());
        used.add(&at(0), id(1), 100, &mut effects);
        used.give_back(&id(2).prefix(), &mut effects);
        assert!(used.has(id(1)));
        used.give_back(&id(1).prefix(), &mut effects);
        assert!(!used.has(id(1)) && used.ends.is_empty());
        used.give_back("nonsense", &mut effects);
    }
}
