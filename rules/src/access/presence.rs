//! Who is where: anti-passback, the count of each zone, and how many of a household are in.
//!
//! What moves is a subject: a holder by the pseudonym, or a car by its plate, for a holder may have two. Keys:
//! `apb/<hash of the subject>` (where it was last seen, zone by zone) and `access/zone/<zone>` (those in the zone of
//! whom nothing is known).

use std::collections::BTreeMap;

use gatehouse_core::Stamp;
use serde::{Deserialize, Serialize};

use super::credential::CredentialId;
use super::policy::ZoneSpec;
use crate::effect::Effects;
use crate::instant::Instant;
use crate::words::{Direction, HolderClass};

pub(super) const HOLDER: &str = "apb/";
pub(super) const ZONE: &str = "access/zone/";
/// The most subjects that are remembered; the one that moved longest ago makes room, one that is out before one in.
const SUBJECTS: usize = 50_000;
/// How many are looked at for one that is out.
const LOOKED_AT: usize = 64;

/// What somebody may call the subject's anti-passback clear by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom<'a> {
    /// A holder, by the pseudonym.
    Holder(&'a str),
    /// Everybody of a household.
    Household(&'a str),
}

/// Where a subject is, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Subject {
    who: String,
    household: String,
    /// Orders subjects by their last move.
    serial: u64,
    zones: BTreeMap<String, Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Place {
    inside: bool,
    since: Instant,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Others {
    count: i64,
}

/// One zone's count.
#[derive(Debug)]
struct Zone {
    spec: ZoneSpec,
    /// Subjects inside.
    subjects: u32,
    /// Those inside beyond the subjects; negative where a guard has counted fewer.
    others: i64,
    households: BTreeMap<String, u32>,
}

/// Somebody who moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mover<'a> {
    pub(super) subject: CredentialId,
    pub(super) who: &'a str,
    pub(super) household: &'a str,
}

#[derive(Debug, Default)]
pub(super) struct Presence {
    zones: BTreeMap<String, Zone>,
    subjects: BTreeMap<CredentialId, Subject>,
    order: BTreeMap<u64, CredentialId>,
    serial: u64,
    /// Subjects that made room for others.
    pub(super) forgotten: u64,
}

impl Presence {
    pub(super) fn new(specs: Vec<ZoneSpec>) -> Presence {
        let zone = |spec: ZoneSpec| Zone { spec, subjects: 0, others: 0, households: BTreeMap::new() };
        let zones = specs.into_iter().map(|spec| (spec.name.clone(), zone(spec))).collect();
        Presence { zones, ..Presence::default() }
    }

    /// Takes back a value; `Ok(false)` where the key is another's. Values of zones that are no more are dropped.
    pub(super) fn restore(&mut self, key: &str, value: &[u8]) -> Result<bool, serde_json::Error> {
        if let Some(zone) = key.strip_prefix(ZONE) {
            let others: Others = serde_json::from_slice(value)?;
            if let Some(zone) = self.zones.get_mut(zone) {
                zone.others = others.count;
            }
            return Ok(true);
        }
        let Some(subject) = key.strip_prefix(HOLDER) else { return Ok(false) };
        let Ok(id) = CredentialId::try_from(subject.to_owned()) else { return Ok(false) };
        let subject: Subject = serde_json::from_slice(value)?;
        self.count(&subject, 1);
        self.serial = self.serial.max(subject.serial);
        self.order.insert(subject.serial, id);
        self.subjects.insert(id, subject);
        Ok(true)
    }

    /// All zones with their counts and capacities.
    pub(super) fn zones(&self) -> impl Iterator<Item = (&str, u32, Option<u32>)> {
        self.zones.iter().map(|(name, zone)| (name.as_str(), zone.occupancy(), zone.spec.capacity))
    }

    /// True when a zone has no room for somebody of this class, or of none.
    pub(super) fn is_full(&self, zone: &str, class: Option<HolderClass>) -> bool {
        self.zones.get(zone).is_some_and(|zone| {
            let concerned = match class {
                Some(HolderClass::Emergency) => false,
                Some(class) => zone.spec.full_refuses.contains(&class),
                None => zone.spec.full_refuses_unknown,
            };
            concerned && zone.spec.capacity.is_some_and(|capacity| zone.occupancy() >= capacity)
        })
    }

    /// True when a zone refuses somebody of this class once it is full.
    pub(super) fn may_refuse(&self, zone: &str, class: HolderClass) -> bool {
        self.zones.get(zone).is_some_and(|zone| zone.spec.capacity.is_some() && zone.spec.full_refuses.contains(&class))
    }

    /// How many of a household are in a zone.
    pub(super) fn household_inside(&self, zone: &str, household: &str) -> u32 {
        self.zones.get(zone).and_then(|zone| zone.households.get(household)).copied().unwrap_or(0)
    }

    /// Whether a subject is known to be in a zone, or out of it.
    pub(super) fn is_inside(&self, zone: &str, subject: CredentialId) -> Option<bool> {
        Some(self.subjects.get(&subject)?.zones.get(zone)?.inside)
    }

    /// Somebody went in or out; `None`: somebody of whom nothing is known.
    pub(super) fn moved(
        &mut self,
        now: &Stamp,
        zone: &str,
        direction: Direction,
        mover: Option<Mover<'_>>,
        effects: &mut Effects,
    ) {
        let inside = direction == Direction::In;
        let Some(counted) = self.zones.get_mut(zone) else { return };
        let Some(mover) = mover else {
            counted.others = counted.others.saturating_add(if inside { 1 } else { -1 });
            // Those who come out without having been counted in do not make room for others.
            counted.others = counted.others.max(-i64::from(counted.subjects));
            return effects.keep(format!("{ZONE}{zone}"), &Others { count: counted.others });
        };
        self.serial += 1;
        let before = self.take(mover.subject);
        let zones = before.map(|subject| subject.zones).unwrap_or_default();
        let mut subject = Subject {
            who: mover.who.to_owned(),
            household: mover.household.to_owned(),
            serial: self.serial,
            zones: zones.into_iter().filter(|(zone, _)| self.zones.contains_key(zone)).collect(),
        };
        subject.zones.insert(zone.to_owned(), Place { inside, since: (*now).into() });
        effects.keep(key(mover.subject), &subject);
        self.count(&subject, 1);
        self.order.insert(subject.serial, mover.subject);
        self.subjects.insert(mover.subject, subject);
        self.make_room(effects);
    }

    /// Forgets where a holder or a household is, after an exit that nobody saw. How many subjects it were.
    pub(super) fn clear(&mut self, whom: Whom<'_>, effects: &mut Effects) -> usize {
        let meant = |subject: &Subject| match whom {
            Whom::Holder(who) => subject.who == who,
            Whom::Household(household) => subject.household == household && !household.is_empty(),
        };
        let ids: Vec<_> = self.subjects.iter().filter(|(_, subject)| meant(subject)).map(|(id, _)| *id).collect();
        for id in &ids {
            self.take(*id);
            effects.forget(key(*id));
        }
        ids.len()
    }

    /// Sets a zone's count to what a guard has counted; the count before, `None` for an unknown zone.
    pub(super) fn correct(&mut self, zone: &str, count: u32, effects: &mut Effects) -> Option<u32> {
        let counted = self.zones.get_mut(zone)?;
        let before = counted.occupancy();
        counted.others = i64::from(count) - i64::from(counted.subjects);
        effects.keep(format!("{ZONE}{zone}"), &Others { count: counted.others });
        Some(before)
    }

    fn make_room(&mut self, effects: &mut Effects) {
        while self.subjects.len() > SUBJECTS {
            let out = |id: &CredentialId| {
                self.subjects.get(id).is_some_and(|subject| subject.zones.values().all(|place| !place.inside))
            };
            let oldest = self.order.values().take(LOOKED_AT).find(|id| out(id)).or(self.order.values().next()).copied();
            let Some(id) = oldest else { return };
            self.take(id);
            self.forgotten += 1;
            effects.forget(key(id));
        }
    }

    fn take(&mut self, id: CredentialId) -> Option<Subject> {
        let subject = self.subjects.remove(&id)?;
        self.order.remove(&subject.serial);
        self.count(&subject, -1);
        Some(subject)
    }

    /// Adds a subject to the counts of the zones that it is in, or takes it away.
    fn count(&mut self, subject: &Subject, sign: i32) {
        for (zone, _) in subject.zones.iter().filter(|(_, place)| place.inside) {
            let Some(zone) = self.zones.get_mut(zone) else { continue };
            zone.subjects = zone.subjects.saturating_add_signed(sign);
            if subject.household.is_empty() {
                continue;
            }
            let household = zone.households.entry(subject.household.clone()).or_default();
            *household = household.saturating_add_signed(sign);
            if *household == 0 {
                zone.households.remove(&subject.household);
            }
        }
    }
}

impl Zone {
    fn occupancy(&self) -> u32 {
        u32::try_from((i64::from(self.subjects) + self.others).max(0)).unwrap_or(u32::MAX)
    }
}

fn key(subject: CredentialId) -> String {
    format!("{HOLDER}{subject}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Effect;

    fn presence() -> Presence {
        let spec = ZoneSpec {
            name: "garage".to_owned(),
            capacity: Some(2),
            full_refuses: [HolderClass::Visitor].into(),
            full_refuses_unknown: true,
        };
        Presence::new(vec![spec])
    }

    fn occupancy(presence: &Presence) -> u32 {
        presence.zones().map(|(_, inside, _)| inside).sum()
    }

    fn mover(n: u8) -> Mover<'static> {
        Mover { subject: CredentialId([n; 16]), who: "p-1", household: "h-1" }
    }

    fn drain(effects: &mut Effects, kept: &mut BTreeMap<String, Vec<u8>>) {
        while let Some(Effect::Keep { key, value }) = effects.poll() {
            match value {
                Some(value) => kept.insert(key.into(), value.into()),
                None => kept.remove(&*key),
            };
        }
    }

    #[test]
    fn counts_come_back_after_a_restart_and_a_missed_exit_is_cleared() {
        let (mut presence, mut effects, now) = (presence(), Effects::default(), Stamp::default());
        let mut kept = BTreeMap::new();
        presence.moved(&now, "garage", Direction::In, Some(mover(1)), &mut effects);
        presence.moved(&now, "garage", Direction::In, Some(mover(1)), &mut effects);
        presence.moved(&now, "garage", Direction::In, None, &mut effects);
        assert_eq!(occupancy(&presence), 2, "coming in twice is once inside");
        assert!(presence.is_full("garage", Some(HolderClass::Visitor)) && presence.is_full("garage", None));
        assert!(!presence.is_full("garage", Some(HolderClass::Resident)));
        drain(&mut effects, &mut kept);
        let mut again = self::presence();
        for (key, value) in &kept {
            assert!(again.restore(key, value).unwrap(), "{key}");
        }
        assert_eq!((occupancy(&again), again.household_inside("garage", "h-1")), (2, 1));
        assert_eq!(again.is_inside("garage", CredentialId([1; 16])), Some(true));
        assert_eq!(again.clear(Whom::Household("h-1"), &mut effects), 1);
        assert_eq!((occupancy(&again), again.household_inside("garage", "h-1")), (1, 0));
        assert_eq!(again.is_inside("garage", CredentialId([1; 16])), None);
        assert_eq!(again.clear(Whom::Household(""), &mut effects), 0);
    }

    #[test]
    fn a_guard_may_set_the_count_and_it_never_goes_below_zero() {
        let (mut presence, mut effects, now) = (presence(), Effects::default(), Stamp::default());
        presence.moved(&now, "garage", Direction::Out, None, &mut effects);
        assert_eq!(occupancy(&presence), 0);
        presence.moved(&now, "garage", Direction::In, None, &mut effects);
        assert_eq!(occupancy(&presence), 1, "the exit before hid nobody");
        presence.moved(&now, "garage", Direction::In, Some(mover(1)), &mut effects);
        assert_eq!(presence.correct("garage", 0, &mut effects), Some(2));
        assert_eq!(occupancy(&presence), 0);
        presence.moved(&now, "garage", Direction::In, Some(mover(2)), &mut effects);
        assert_eq!(occupancy(&presence), 1);
        assert_eq!(presence.correct("roof", 0, &mut effects), None);
    }

    #[test]
    fn who_is_out_makes_room_before_who_is_in() {
        let (mut presence, mut effects, now) = (presence(), Effects::default(), Stamp::default());
        let subject = |n: usize| CredentialId(u128::try_from(n).unwrap().to_be_bytes());
        for n in 0..=SUBJECTS {
            let direction = if n == 1 { Direction::Out } else { Direction::In };
            let mover = Mover { subject: subject(n), who: "p", household: "" };
            presence.moved(&now, "garage", direction, Some(mover), &mut effects);
        }
        assert_eq!((presence.subjects.len(), presence.forgotten), (SUBJECTS, 1));
        assert_eq!(presence.is_inside("garage", subject(1)), None);
        assert_eq!(presence.is_inside("garage", subject(0)), Some(true));
    }
}
