//! The decision itself: a claim, the roll, the gate and the time in; a judgement out. Nothing is changed here.

use gatehouse_core::{Stamp, Trust};
use jiff::tz::TimeZone;

use super::claim::{Claim, Id};
use super::credential::{CredentialId, CredentialKind, Flag, LookupKey};
use super::policy::{AntiPassback, Decide, GateAccess, Offline, UnpaidExit};
use super::presence::Presence;
use super::request::reason;
use super::roll::Roll;
use super::table::Entry;
use super::used::Used;
use crate::schedule::{Calendar, local};
use crate::words::{DecidedBy, Direction, HolderClass};

/// The fact that a car left without anybody knowing whether it had paid.
pub(super) const UNPAID: &str = "unpaid";

/// A code that proves itself: a signed one or a PIN.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Voucher {
    /// Its identity among the codes that opened.
    pub(super) id: CredentialId,
    pub(super) who: String,
    pub(super) class: HolderClass,
    /// Seconds since 1970.
    pub(super) from: i64,
    pub(super) until: i64,
    /// Whether it opens the gate that it was shown at.
    pub(super) reaches: bool,
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement {
    pub(super) allowed: bool,
    pub(super) reason: &'static str,
    pub(super) by: DecidedBy,
    pub(super) facts: Vec<(&'static str, String)>,
    /// What opens only once, and from when on it is worth nothing.
    pub(super) once: Option<(CredentialId, i64)>,
}

/// Everything that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) now: &'a Stamp,
    pub(super) roll: Option<&'a Roll>,
    pub(super) presence: &'a Presence,
    pub(super) used: &'a Used,
    pub(super) key: &'a LookupKey,
    pub(super) zone: &'a TimeZone,
    pub(super) calendar: &'a Calendar,
    pub(super) gate: &'a GateAccess,
    pub(super) direction: Direction,
    /// The core cannot be reached, or did not answer.
    pub(super) outage: bool,
}

/// `Ok`: it may pass, with facts for the record.
type Finding = Result<Vec<(&'static str, String)>, &'static str>;

impl<'a> Judge<'a> {
    /// The credential that a claim stands for.
    pub(super) fn resolve(&self, claim: &Claim) -> Option<(Id, Entry<'a>)> {
        let roll = self.roll?;
        claim.ids.iter().find_map(|id| Some((*id, roll.find(id.credential)?)))
    }

    /// Decides a claim that nobody else has decided.
    pub(super) fn decide(&self, claim: &Claim) -> Judgement {
        let found = self.resolve(claim);
        let known = found.map(|(id, entry)| (id.pin, entry));
        let offline = self.offline();
        let emergency = known.filter(|(_, entry)| is_emergency(entry));
        let by = if offline.is_some() && emergency.is_none() { DecidedBy::OfflinePolicy } else { DecidedBy::Box };
        let leaves = self.leaves_unpaid(claim, known.map(|(_, entry)| entry));
        let (finding, by) = match (leaves, offline, emergency) {
            (Some(finding), ..) => (finding, DecidedBy::OfflinePolicy),
            (None, Some(policy), None) => (self.by_policy(policy, claim, known), by),
            (None, None, _) | (None, _, Some(_)) => (self.by_roll(claim, known), by),
        };
        Judgement::of(finding, by, self.once(claim))
    }

    /// What of a claim opens only once, and from when on it is worth nothing.
    pub(super) fn once(&self, claim: &Claim) -> Option<(CredentialId, i64)> {
        let (_, entry) = self.resolve(claim).filter(|(_, entry)| opens_once(entry))?;
        Some((entry.id, entry.until.map_or(i64::MAX, i64::from)))
    }

    /// True when a claim opens only once, and has.
    pub(super) fn is_used(&self, claim: &Claim) -> bool {
        self.once(claim).is_some_and(|(id, _)| self.used.has(id))
    }

    /// Decides a code that proves itself. No policy but `deny` stands against it, and no roll is needed.
    pub(super) fn vouched(&self, voucher: &Voucher) -> Judgement {
        let offline = self.offline();
        let by = if offline.is_some() { DecidedBy::OfflinePolicy } else { DecidedBy::Box };
        let finding = self.check_voucher(voucher, offline);
        Judgement::of(finding, by, Some((voucher.id, voucher.until)))
    }

    fn check_voucher(&self, voucher: &Voucher, offline: Option<Offline>) -> Finding {
        if offline == Some(Offline::Deny) {
            return Err(reason::OFFLINE_DENY);
        }
        if self.roll.and_then(|roll| roll.find(voucher.id)).is_some_and(|entry| entry.revoked) {
            return Err(reason::REVOKED);
        }
        if !voucher.reaches {
            return Err(reason::WRONG_GATE);
        }
        let now = self.seconds().ok_or(reason::TIME_UNKNOWN)?;
        check_dates(now, Some(voucher.from), Some(voucher.until))?;
        self.check_used(voucher.id)?;
        self.check_room(Some(voucher.class))?;
        Ok(Vec::new())
    }

    /// The policy that decides in place of the one who should; `None`: the box decides by the roll.
    fn offline(&self) -> Option<Offline> {
        let policy = &self.gate.policy;
        let stands = match policy.decide {
            Decide::Core { .. } | Decide::Controller => false,
            Decide::Local => self.roll.zip(self.seconds()).is_some_and(|(roll, now)| {
                let age = u64::try_from(now - i64::from(roll.terms.created)).unwrap_or(0);
                now < i64::from(roll.terms.expires_at) && age < policy.max_snapshot_age.as_secs()
            }),
        };
        (!stands).then_some(policy.offline)
    }

    fn by_roll(&self, claim: &Claim, known: Option<(Option<CredentialId>, Entry<'_>)>) -> Finding {
        match known {
            Some((pin, entry)) => self.check_entry(pin, &entry),
            None if claim.is_code() && claim.kind != CredentialKind::CardPin => Err(reason::BAD_CODE),
            None => Err(reason::UNKNOWN_CREDENTIAL),
        }
    }

    fn by_policy(&self, policy: Offline, claim: &Claim, known: Option<(Option<CredentialId>, Entry<'_>)>) -> Finding {
        match (policy, self.direction) {
            (Offline::Deny, _) => Err(reason::OFFLINE_DENY),
            (Offline::GuardOnly, _) => Err(reason::GUARD_ONLY),
            (Offline::AllowKnown, _) | (Offline::AllowAllIn, Direction::Out) => self.by_roll(claim, known),
            (Offline::AllowAllIn, Direction::In) => match known {
                Some((_, entry)) if entry.revoked => Err(reason::REVOKED),
                Some((pin, entry)) => {
                    self.check_pin(pin, &entry)?;
                    self.check_once(&entry)?;
                    self.check_place(&entry)
                }
                None if claim.is_code() => Err(reason::BAD_CODE),
                None => self.check_room(None).map(|()| Vec::new()),
            },
        }
    }

    /// A visitor's or an unknown car at an exit where it should have paid, during an outage.
    fn leaves_unpaid(&self, claim: &Claim, known: Option<Entry<'_>>) -> Option<Finding> {
        let pays = known.is_none_or(|entry| entry.class == HolderClass::Visitor && !is_emergency(&entry));
        let asked = self.outage && self.direction == Direction::Out && claim.kind == CredentialKind::Plate && pays;
        let policy = self.gate.policy.unpaid_exit.filter(|_| asked)?;
        Some(match policy {
            UnpaidExit::Open => Ok(Vec::new()),
            UnpaidExit::OpenAndRecord => Ok(vec![(UNPAID, "unknown".to_owned())]),
            UnpaidExit::Refuse => Err(reason::UNPAID),
        })
    }

    fn check_entry(&self, pin: Option<CredentialId>, entry: &Entry<'_>) -> Finding {
        if entry.revoked {
            return Err(reason::REVOKED);
        }
        if !self.roll.is_some_and(|roll| roll.reaches(entry, &self.gate.gate)) {
            return Err(reason::WRONG_GATE);
        }
        self.check_pin(pin, entry)?;
        match self.seconds() {
            Some(now) => {
                check_dates(now, entry.from.map(i64::from), entry.until.map(i64::from))?;
                self.check_schedule(entry)?;
            }
            None if entry.class == HolderClass::Visitor || opens_once(entry) => return Err(reason::TIME_UNKNOWN),
            None => {}
        }
        self.check_once(entry)?;
        self.check_place(entry)
    }

    fn check_pin(&self, pin: Option<CredentialId>, entry: &Entry<'_>) -> Result<(), &'static str> {
        if !entry.flags.has(Flag::NeedsPin) {
            return Ok(());
        }
        let pin = pin.ok_or(reason::PIN_NEEDED)?;
        let listed = self.roll.and_then(|roll| roll.find(pin));
        let good = listed.is_some_and(|listed| !listed.revoked && listed.kind == CredentialKind::CardPin);
        if good { Ok(()) } else { Err(reason::BAD_CODE) }
    }

    fn check_schedule(&self, entry: &Entry<'_>) -> Result<(), &'static str> {
        if entry.schedule.is_empty() || is_emergency(entry) {
            return Ok(());
        }
        // A schedule that the core no longer sends holds at no time.
        let schedule = self.roll.and_then(|roll| roll.schedule(entry.schedule)).ok_or(reason::OUT_OF_SCHEDULE)?;
        let holds = schedule.contains(local(self.now.wall, self.zone), self.calendar);
        if holds { Ok(()) } else { Err(reason::OUT_OF_SCHEDULE) }
    }

    fn check_once(&self, entry: &Entry<'_>) -> Result<(), &'static str> {
        if opens_once(entry) { self.check_used(entry.id) } else { Ok(()) }
    }

    fn check_used(&self, id: CredentialId) -> Result<(), &'static str> {
        if self.used.has(id) {
            return Err(reason::CODE_USED);
        }
        if self.used.is_full(self.now) { Err(reason::CODES_FULL) } else { Ok(()) }
    }

    /// Anti-passback, room and quota in the gate's zone.
    fn check_place(&self, entry: &Entry<'_>) -> Finding {
        let mut facts = Vec::new();
        let Some(zone) = self.gate.zone.as_deref().filter(|_| !is_emergency(entry)) else { return Ok(facts) };
        let inside = self.presence.is_inside(zone, subject(self.key, entry.kind, &entry.id.prefix(), entry.who));
        let enters = self.direction == Direction::In;
        let twice = inside == Some(enters) && !entry.flags.has(Flag::AntiPassbackExempt);
        let found = if enters { "already_in" } else { "already_out" };
        match self.gate.policy.anti_passback {
            AntiPassback::Hard if twice => return Err(reason::ANTI_PASSBACK),
            AntiPassback::Soft if twice => facts.push(("anti_passback", found.to_owned())),
            AntiPassback::Hard | AntiPassback::Soft | AntiPassback::Off => {}
        }
        if enters && inside != Some(true) {
            self.check_room(Some(entry.class))?;
            let quota = self.roll.filter(|_| !entry.household.is_empty());
            let quota = quota.and_then(|roll| roll.quota(zone, entry.household));
            if quota.is_some_and(|quota| self.presence.household_inside(zone, entry.household) >= quota) {
                return Err(reason::QUOTA_EXCEEDED);
            }
        }
        Ok(facts)
    }

    fn check_room(&self, class: Option<HolderClass>) -> Result<(), &'static str> {
        let zone = self.gate.zone.as_deref().filter(|_| self.direction == Direction::In);
        let full = zone.is_some_and(|zone| self.presence.is_full(zone, class));
        if full { Err(reason::CAR_PARK_FULL) } else { Ok(()) }
    }

    /// Seconds since 1970; `None` while the clock is unset.
    fn seconds(&self) -> Option<i64> {
        (self.now.trust != Trust::Unset).then(|| self.now.wall.0.div_euclid(1_000_000))
    }
}

impl Judgement {
    fn of(finding: Finding, by: DecidedBy, once: Option<(CredentialId, i64)>) -> Judgement {
        match finding {
            Ok(facts) => Judgement { allowed: true, reason: reason::GRANTED, by, facts, once },
            Err(reason) => Judgement { allowed: false, reason, by, facts: Vec::new(), once: None },
        }
    }

    /// A refusal that needs no decision.
    pub(super) fn refused(reason: &'static str) -> Judgement {
        Judgement::of(Err(reason), DecidedBy::Box, None)
    }
}

/// The one who moves: a car by its plate, for a holder may have two; else the holder.
pub(super) fn subject(key: &LookupKey, kind: CredentialKind, credential_prefix: &str, who: &str) -> CredentialId {
    match kind {
        CredentialKind::Plate => key.holder(&format!("plate/{credential_prefix}")),
        CredentialKind::Card
        | CredentialKind::CardPin
        | CredentialKind::Pin
        | CredentialKind::Code
        | CredentialKind::Token => key.holder(&format!("who/{who}")),
    }
}

pub(super) fn is_emergency(entry: &Entry<'_>) -> bool {
    entry.flags.has(Flag::Emergency) || entry.class == HolderClass::Emergency
}

pub(super) fn opens_once(entry: &Entry<'_>) -> bool {
    entry.flags.has(Flag::Once) || entry.kind == CredentialKind::Code
}

fn check_dates(now: i64, from: Option<i64>, until: Option<i64>) -> Result<(), &'static str> {
    if from.is_some_and(|from| now < from) {
        return Err(reason::NOT_YET_VALID);
    }
    if until.is_some_and(|until| now >= until) { Err(reason::EXPIRED) } else { Ok(()) }
}
