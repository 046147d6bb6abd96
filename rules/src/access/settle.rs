//! The ends of requests: the core's answers, deadlines, and the one place where verdicts are made.

use std::collections::BTreeMap;

use gatehouse_core::{Stamp, Trust};

use super::credential::CredentialId;
use super::judge::{Judge, Judgement, Voucher};
use super::machine::{ASK, Access, Matter, Pending};
use super::policy::GateAccess;
use super::request::{Answer, Heard, Presented, Proof, reason};
use crate::words::{DecidedBy, Direction, HolderClass, RequestId, Verdict};

/// Facts that are taken from an answer, and bytes of each.
const ANSWER_FACTS: (usize, usize) = (8, 64);

/// The fact that names the code that was used up.
pub(super) const ONCE: &str = "once";

/// What decided a request.
#[derive(Debug)]
struct Ruling {
    allowed: bool,
    reason: String,
    by: DecidedBy,
    who: Option<String>,
    class: Option<HolderClass>,
    facts: BTreeMap<String, String>,
}

impl Access {
    /// The core has answered. `authentic`: the answer came over a link whose other end was checked.
    pub fn handle_answer(&mut self, now: Stamp, request: RequestId, answer: &Answer, authentic: bool) -> Heard {
        self.begin(&now);
        if !authentic {
            self.stats.not_authentic += 1;
            return Heard::NotAuthentic;
        }
        self.expire_asks(&now);
        let Some(Pending { matter, .. }) = self.asks.remove(&request) else {
            self.stats.late_answers += 1;
            return Heard::Late;
        };
        self.forget_ask(request);
        let fits = |word: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            (1..=64).contains(&word.len()) && word.bytes().all(plain) && (word == reason::GRANTED) == answer.allowed
        };
        let instead = if answer.allowed { reason::GRANTED } else { reason::CORE_REFUSED };
        let reason = if fits(&answer.reason) { &answer.reason } else { instead };
        let gate = self.gates.get(&matter.gate).cloned();
        let known = gate.as_ref().map(|gate| self.holder(&now, gate, &matter)).unwrap_or_default();
        let (facts, bytes) = ANSWER_FACTS;
        let facts = answer.facts.iter().take(facts).map(|(key, value)| (clip(key, bytes), clip(value, bytes)));
        let ruling = Ruling {
            allowed: answer.allowed,
            reason: reason.to_owned(),
            by: DecidedBy::Core,
            who: known.0.or_else(|| answer.who.as_deref().map(|who| clip(who, bytes))),
            class: known.1.or(answer.class),
            facts: facts.collect(),
        };
        let once = gate.as_ref().and_then(|gate| self.judge(&now, gate, matter.direction, false).once(&matter.claim));
        self.rule(&now, matter, ruling, once.filter(|_| answer.allowed));
        Heard::Taken
    }

    /// The question could not be sent: there is no link. The box decides by the offline policy, without waiting.
    pub fn handle_unasked(&mut self, now: Stamp, request: RequestId) {
        self.begin(&now);
        let Some(pending) = self.asks.remove(&request) else { return };
        self.forget_ask(request);
        self.stats.unasked += 1;
        self.decide(&now, pending.matter, true);
    }

    pub(super) fn forget_ask(&mut self, request: RequestId) {
        self.effects.forget(format!("{ASK}{}", request.0));
    }

    pub(super) fn expire_asks(&mut self, now: &Stamp) {
        let due: Vec<_> =
            self.asks.iter().filter(|(_, ask)| ask.deadline <= now.mono).map(|(request, _)| *request).collect();
        for request in due {
            let Some(pending) = self.asks.remove(&request) else { continue };
            self.forget_ask(request);
            self.stats.unanswered += 1;
            self.decide(now, pending.matter, true);
        }
    }

    pub(super) fn judge<'a>(
        &'a self,
        now: &'a Stamp,
        gate: &'a GateAccess,
        direction: Direction,
        outage: bool,
    ) -> Judge<'a> {
        Judge {
            now,
            roll: self.holdings.roll(),
            presence: &self.presence,
            used: &self.used,
            key: &self.reader.key,
            zone: &self.zone,
            calendar: &self.calendar,
            gate,
            direction,
            outage,
        }
    }

    /// The holder of what was presented, where the roll knows one.
    pub(super) fn holder(
        &self,
        now: &Stamp,
        gate: &GateAccess,
        matter: &Matter,
    ) -> (Option<String>, Option<HolderClass>) {
        let found = self.judge(now, gate, matter.direction, false).resolve(&matter.claim);
        found
            .map(|(_, entry)| (Some(entry.who.to_owned()).filter(|who| !who.is_empty()), Some(entry.class)))
            .unwrap_or_default()
    }

    /// The holder of a credential that is in force now, at whichever gate; for points of a patrol.
    pub fn holder_of(&self, now: Stamp, proof: &Proof) -> Option<(String, HolderClass)> {
        let roll = self.holdings.roll()?;
        let nowhere =
            Presented { gate: String::new(), via: String::new(), direction: Direction::In, proof: proof.clone() };
        let (claim, _) = self.reader.read(&nowhere, 100);
        let entry = claim.ids.iter().find_map(|id| roll.find(id.credential))?;
        let second = now.wall.0.div_euclid(1_000_000);
        let over = |until: u32| now.trust == Trust::Unset || i64::from(until) > second;
        let begun = |from: u32| now.trust == Trust::Unset || i64::from(from) <= second;
        let valid = entry.from.is_none_or(begun) && entry.until.is_none_or(over);
        let counts = !entry.revoked && !entry.who.is_empty() && valid;
        counts.then(|| (entry.who.to_owned(), entry.class))
    }

    /// Decides on the box.
    pub(super) fn decide(&mut self, now: &Stamp, matter: Matter, outage: bool) {
        let Some(gate) = self.gates.get(&matter.gate) else {
            return self.settle(now, matter, Judgement::refused(reason::UNKNOWN_GATE));
        };
        let judgement = self.judge(now, gate, matter.direction, outage).decide(&matter.claim);
        self.settle(now, matter, judgement);
    }

    pub(super) fn settle(&mut self, now: &Stamp, matter: Matter, judgement: Judgement) {
        self.settle_for(now, matter, judgement, None);
    }

    pub(super) fn settle_for(&mut self, now: &Stamp, matter: Matter, judgement: Judgement, voucher: Option<Voucher>) {
        let (who, class) = match (voucher, self.gates.get(&matter.gate)) {
            (Some(voucher), _) => (Some(voucher.who), Some(voucher.class)),
            (None, Some(gate)) => self.holder(now, gate, &matter),
            (None, None) => (None, None),
        };
        let facts = judgement.facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let ruling = Ruling {
            allowed: judgement.allowed,
            reason: judgement.reason.to_owned(),
            by: judgement.by,
            who,
            class,
            facts,
        };
        self.rule(now, matter, ruling, judgement.once);
    }

    /// The one place where verdicts are made.
    fn rule(&mut self, now: &Stamp, matter: Matter, ruling: Ruling, once: Option<(CredentialId, i64)>) {
        if ruling.reason == reason::PIN_NEEDED {
            let request = matter.request;
            self.recent.iter_mut().filter(|one| one.request == request).for_each(|one| one.wants_pin = true);
        }
        let mut facts = ruling.facts;
        facts.extend(matter.claim.facts.clone());
        if let Some(gate) = self.gates.get(&matter.gate) {
            let found = self.judge(now, gate, matter.direction, false).resolve(&matter.claim);
            let household = found.map(|(_, entry)| entry.household.to_owned()).filter(|name| !name.is_empty());
            facts.extend(household.map(|household| ("household".to_owned(), household)));
            facts.extend(found.map(|(_, entry)| ("credential".to_owned(), entry.id.prefix())));
        }
        // What is used is the box's own to say, whatever an answer holds.
        facts.remove(ONCE);
        if let Some((id, until)) = once {
            self.used.add(now, id, until, &mut self.effects);
            facts.insert(ONCE.to_owned(), id.prefix());
        }
        let guessed =
            [reason::BAD_CODE, reason::UNKNOWN_CREDENTIAL, reason::CORE_REFUSED].contains(&ruling.reason.as_str());
        if matter.claim.is_code() && guessed && !ruling.allowed {
            self.guesses.wrong(now, &matter.via, &mut self.effects);
        }
        self.verdicts.push_back(Verdict {
            request: matter.request,
            gate: matter.gate,
            via: matter.via,
            direction: matter.direction,
            allowed: ruling.allowed,
            reason: ruling.reason,
            decided_by: ruling.by,
            who: ruling.who,
            class: ruling.class,
            facts,
        });
    }
}

/// At most so many bytes of a text.
fn clip(text: &str, bytes: usize) -> String {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default().to_owned()
}
