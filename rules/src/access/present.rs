//! From a presentation to a verdict, or to a question to the core.

use std::time::Duration;

use gatehouse_core::{Mono, Stamp, Trust};

use super::claim::Claim;
use super::credential::CredentialKind;
use super::judge::{Judgement, Voucher};
use super::machine::{ASK, Access, KeptAsk, Matter, Pending, Recent, TOKEN_LIFE_S};
use super::policy::{Decide, GateAccess};
use super::request::{Ask, Presented, Proof, Taken, reason};
use super::visitor::{Token, looks_like_pin};
use crate::words::{HolderClass, Mode, RequestId};

/// The most questions that wait for an answer; beyond, the box decides by the offline policy.
const ASKS: usize = 64;
/// The most presentations that are remembered for the next ones that are the same.
const RECENT: usize = 256;
/// For how long the same card or code at a gate is the same passage.
const REPEAT: Duration = Duration::from_secs(3);
/// The least and the greatest time for which the same plate in the same lane is the same passage.
const PLATE_REPEAT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

impl Access {
    /// Somebody wants to pass.
    pub fn handle_presented(&mut self, now: Stamp, request: RequestId, presented: &Presented, mode: Mode) -> Taken {
        self.begin(&now);
        if self.asks.contains_key(&request) {
            self.stats.duplicates += 1;
            return Taken::Duplicate(request);
        }
        let gate = self.gates.get(&presented.gate).cloned();
        let least = gate.as_ref().map_or(0, |gate| gate.policy.plate_confidence_min);
        let (claim, wrong) = self.reader.read(presented, least);
        if let Some(earlier) = self.earlier(now.mono, presented, &claim) {
            self.stats.duplicates += 1;
            return Taken::Duplicate(earlier);
        }
        let Presented { gate: name, via, direction, proof } = presented;
        let matter = Matter { request, gate: name.clone(), via: via.clone(), direction: *direction, claim };
        let Some(gate) = gate else {
            self.settle(&now, matter, Judgement::refused(reason::UNKNOWN_GATE));
            return Taken::Decided;
        };
        match self.judge_at_once(&now, &gate, &matter, proof, wrong) {
            Some((judgement, voucher)) => {
                self.remember(now.mono, &gate, &matter, judgement.reason);
                self.settle_for(&now, matter, judgement, voucher);
                Taken::Decided
            }
            None => {
                self.remember(now.mono, &gate, &matter, "");
                self.ask_or_decide(&now, &gate, matter, mode)
            }
        }
    }

    /// What needs no question: a claim that is wrong from the beginning, and a code that proves itself.
    fn judge_at_once(
        &self,
        now: &Stamp,
        gate: &GateAccess,
        matter: &Matter,
        proof: &Proof,
        wrong: Option<&'static str>,
    ) -> Option<(Judgement, Option<Voucher>)> {
        let refused = |reason| Some((Judgement::refused(reason), None));
        let claim = &matter.claim;
        if claim.is_code() && self.guesses.is_closed(now.mono, &matter.via) {
            return refused(reason::LOCKED_OUT);
        }
        let judge = self.judge(now, gate, matter.direction, false);
        let known = judge.resolve(claim).map(|(_, entry)| entry);
        // A card that is listed by its raw bits need not keep to the reader's format.
        let listed_raw = claim.kind != CredentialKind::Plate && known.is_some();
        if let Some(wrong) = wrong.filter(|_| !listed_raw) {
            return refused(wrong);
        }
        if let (Proof::Code(text), None) = (proof, known) {
            return match self.voucher(now, gate, text.trim())? {
                Ok(voucher) => Some((judge.vouched(&voucher), Some(voucher))),
                Err(reason) => refused(reason),
            };
        }
        judge.is_used(claim).then(|| (Judgement::refused(reason::CODE_USED), None))
    }

    /// A code that proves itself, or why it does not; `None`: it is none of that kind.
    fn voucher(&self, now: &Stamp, gate: &GateAccess, text: &str) -> Option<Result<Voucher, &'static str>> {
        if Token::looks_like(text) {
            return Some(self.token(gate, text));
        }
        let pins = self.issuer.pins().filter(|_| gate.policy.visitor_pins && looks_like_pin(text))?;
        if now.trust == Trust::Unset {
            return Some(Err(reason::TIME_UNKNOWN));
        }
        let pin = pins.check(text, now.wall.0.div_euclid(1_000_000))?;
        Some(Ok(Voucher {
            id: self.reader.key.code(text),
            who: format!("visitor-pin-{:04}", pin.place),
            class: HolderClass::Visitor,
            from: pin.from(),
            until: pin.until(),
            reaches: true,
        }))
    }

    fn token(&self, gate: &GateAccess, text: &str) -> Result<Voucher, &'static str> {
        let keys: Vec<_> = self.core_keys.iter().copied().chain(self.issuer.public()).collect();
        let token = Token::read(text, &keys).map_err(|_| reason::BAD_CODE)?;
        if token.until.saturating_sub(token.from) > TOKEN_LIFE_S {
            return Err(reason::BAD_CODE);
        }
        let in_group = |group: &String| self.holdings.roll().is_some_and(|roll| roll.in_group(group, &gate.gate));
        let reaches = token.gates.contains(&gate.gate) || token.groups.iter().any(in_group);
        Ok(Voucher {
            id: self.reader.key.token(token.serial),
            who: format!("visitor-{:016x}", token.serial),
            class: token.class,
            from: i64::from(token.from),
            until: i64::from(token.until),
            reaches: reaches && token.site == self.site,
        })
    }

    fn ask_or_decide(&mut self, now: &Stamp, gate: &GateAccess, matter: Matter, mode: Mode) -> Taken {
        let deadline_ms = match gate.policy.decide {
            // The core does not know yet what happened during the outage while the box still tells it.
            Decide::Core { deadline_ms } if mode == Mode::Online => deadline_ms,
            // Nobody presents anything to the box where a controller decides.
            Decide::Core { .. } | Decide::Local | Decide::Controller => {
                self.decide(now, matter, mode != Mode::Online);
                return Taken::Decided;
            }
        };
        if self.asks.len() >= ASKS {
            self.stats.unasked += 1;
            self.decide(now, matter, true);
            return Taken::Decided;
        }
        let (who, class) = self.holder(now, gate, &matter);
        let kept = KeptAsk {
            gate: matter.gate.clone(),
            via: matter.via.clone(),
            direction: matter.direction,
            facts: matter.claim.facts.clone(),
            who: who.clone(),
            class,
            since: (*now).into(),
        };
        self.effects.keep(format!("{ASK}{}", matter.request.0), &kept);
        let deadline = now.mono + Duration::from_millis(u64::from(deadline_ms));
        self.questions.push_back(Ask {
            request: matter.request,
            gate: matter.gate.clone(),
            direction: matter.direction,
            credential: who.unwrap_or_else(|| matter.claim.main.to_string()),
            kind: matter.claim.asked_as(),
            deadline_ms,
            deadline,
        });
        self.asks.insert(matter.request, Pending { matter, deadline });
        Taken::Asked
    }

    /// The request of which this is the same passage.
    fn earlier(&mut self, now: Mono, presented: &Presented, claim: &Claim) -> Option<RequestId> {
        self.recent.retain(|recent| now < recent.until);
        let same = |recent: &&Recent| {
            let is_same = recent.main == claim.main && recent.pin == claim.pin();
            is_same && recent.gate == presented.gate && recent.direction == presented.direction
        };
        self.recent.iter().find(same).map(|recent| recent.request)
    }

    /// True where a request of a moment ago was refused because its card opens with its PIN only.
    pub fn wants_pin(&self, request: RequestId) -> bool {
        self.recent.iter().any(|recent| recent.request == request && recent.wants_pin)
    }

    fn remember(&mut self, now: Mono, gate: &GateAccess, matter: &Matter, reason: &str) {
        // A better picture of the same plate, and a code once the reader is open again, are to be looked at.
        if [reason::LOW_CONFIDENCE, reason::LOCKED_OUT].contains(&reason) {
            return;
        }
        let (least, greatest) = PLATE_REPEAT;
        let window = match matter.claim.kind {
            CredentialKind::Plate => gate.policy.repeat_window.clamp(least, greatest),
            CredentialKind::Card
            | CredentialKind::CardPin
            | CredentialKind::Pin
            | CredentialKind::Code
            | CredentialKind::Token => REPEAT,
        };
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent {
            request: matter.request,
            gate: matter.gate.clone(),
            direction: matter.direction,
            main: matter.claim.main,
            pin: matter.claim.pin(),
            wants_pin: false,
            until: now + window,
        });
    }
}
