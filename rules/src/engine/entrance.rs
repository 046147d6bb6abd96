//! Who comes to a gate: from a presentation to a verdict, from a verdict to the gate, and back to who is inside.

use std::collections::BTreeMap;

use gatehouse_core::{Name, Stamp};

use super::ask_alarm::{Asked, action, done, missing, number, unknown};
use super::readers::{Presentation, Refusal};
use super::routing::{arg, refused};
use super::{Engine, Output};
use crate::access::{Access, CredentialKind, Image, OpenError, Presented, Proof, Taken, Whom, reason};
use crate::command::Dispatch;
use crate::schedule::Holder;
use crate::words::{DecidedBy, Direction, RequestId, Verdict};

/// What became of something that was presented.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// It is decided.
    Decided(Verdict),
    /// The core is asked; the passage record tells what came of it.
    Asked(RequestId),
    /// It is the same passage as an earlier request.
    Duplicate(RequestId),
    /// The reader belongs to no gate: whether its card's holder is known.
    Patrol {
        /// True for a card that counts for rounds.
        known: bool,
    },
}

impl Engine {
    /// Gives the engine its credentials. To be called before anything that was kept is taken back; without it, readers
    /// refuse everybody with the reason `no_credentials`.
    pub fn set_access(&mut self, access: Access) {
        self.access = Some(access);
    }

    /// Takes the credentials from the image's file. To be called once everything that was kept was taken back.
    ///
    /// # Errors
    /// [`OpenError`]; gates decide by their offline policies then, until the core has sent a full snapshot.
    pub fn open_access(&mut self, image: Option<&Image>) -> Result<(), OpenError> {
        self.access.as_mut().map_or(Ok(()), |access| access.open(image))
    }

    /// The credentials, where the site has any.
    pub fn access(&self) -> Option<&Access> {
        self.access.as_ref()
    }

    /// Tells the access machine what happened; `None` where the site has no credentials.
    pub fn handle_access<T>(&mut self, now: Stamp, happened: impl FnOnce(&mut Access, Stamp) -> T) -> Option<T> {
        let told = happened(self.access.as_mut()?, now);
        self.settle(now);
        Some(told)
    }

    /// Something was presented at a reader that tells it through the API; `None` when there is no such reader.
    pub fn handle_presented(&mut self, now: Stamp, reader: &str, proof: Proof) -> Option<Admission> {
        let presentation = self.readers.present(reader, proof)?;
        let admission = self.present(now, presentation);
        self.settle(now);
        Some(admission)
    }

    /// Cards that came and went between two polls of their reader.
    pub fn missed_cards(&self) -> u64 {
        self.readers.missed()
    }

    pub(super) fn present(&mut self, now: Stamp, presentation: Presentation) -> Admission {
        let Presentation { reader, gate, direction, proof } = presentation;
        let Some(gate) = gate else { return self.patrol(now, &reader, &proof) };
        let request = self.gates.mint();
        let is_card = matches!(proof, Proof::Card { .. });
        let presented = Presented { gate: gate.to_string(), via: reader.to_string(), direction, proof };
        let Some(access) = &mut self.access else {
            let verdict = refusal(request, (presented.gate, presented.via), direction, reason::NO_CREDENTIALS);
            self.gates.handle_verdict(now, &verdict);
            return Admission::Decided(verdict);
        };
        match access.handle_presented(now, request, &presented, self.mode) {
            Taken::Asked => {
                if is_card {
                    self.readers.handle_asked(&presented.via, request);
                }
                Admission::Asked(request)
            }
            Taken::Duplicate(earlier) => {
                // Shown again, it still wants what it wanted.
                let wants_pin = access.wants_pin(earlier);
                if is_card {
                    self.readers.handle_repeated(&presented.via, earlier, wants_pin);
                }
                Admission::Duplicate(earlier)
            }
            Taken::Decided => {
                if is_card {
                    self.readers.handle_asked(&presented.via, request);
                }
                let decided = self.verdicts(now).into_iter().find(|verdict| verdict.request == request);
                decided.map_or(Admission::Duplicate(request), Admission::Decided)
            }
        }
    }

    fn patrol(&mut self, now: Stamp, reader: &Name, proof: &Proof) -> Admission {
        let holder = self.access.as_ref().and_then(|access| access.holder_of(now, proof));
        let known = holder.is_some();
        if let Some((who, class)) = holder {
            self.rounds.handle_card(now, reader, Holder { who: &who, class: Some(class) });
        }
        Admission::Patrol { known }
    }

    /// Hands what is decided to the gates.
    fn verdicts(&mut self, now: Stamp) -> Vec<Verdict> {
        let mut all = Vec::new();
        while let Some(verdict) = self.access.as_mut().and_then(Access::poll_verdict) {
            self.readers.handle_verdict(now.mono, verdict.request, verdict.reason == reason::PIN_NEEDED);
            let is_card = verdict.facts.get("kind").is_some_and(|kind| kind.starts_with("card"));
            let valid = ![reason::REVOKED, reason::EXPIRED, reason::NOT_YET_VALID].contains(&verdict.reason.as_str());
            if let (true, true, Some(who)) = (is_card, valid, &verdict.who) {
                self.rounds.handle_card(now, &verdict.via, Holder { who, class: verdict.class });
            }
            self.gates.handle_verdict(now, &verdict);
            all.push(verdict);
        }
        all
    }

    /// Carries verdicts to the gates, and passages, questions and conditions to those who wait for them.
    pub(super) fn admit(&mut self, now: Stamp) -> bool {
        let mut any = !self.verdicts(now).is_empty();
        while let Some(typed) = self.readers.poll_released() {
            any = true;
            self.present(now, typed);
        }
        while let Some(Refusal { reader, gate, direction, thrown }) = self.readers.poll_thrown() {
            any = true;
            let at = (gate.to_string(), reader.to_string());
            let mut verdict = refusal(self.gates.mint(), at, direction, thrown.reason);
            let kind = if thrown.behind_card { CredentialKind::CardPin } else { CredentialKind::Code };
            verdict.facts.insert("kind".to_owned(), kind.as_str().to_owned());
            self.gates.handle_verdict(now, &verdict);
        }
        while let Some(passed) = self.gates.poll_passed() {
            any = true;
            if let Some(access) = &mut self.access {
                access.handle_passed(now, &passed);
            }
        }
        let Some(access) = &mut self.access else { return any };
        while let Some(ask) = access.poll_ask() {
            self.outputs.push_back(Output::Ask(ask));
        }
        while let Some(condition) = access.poll_condition() {
            any = true;
            self.alarms.handle_condition(now, &condition);
        }
        any
    }

    pub(super) fn ask_access(&mut self, now: Stamp, dispatch: &Dispatch) -> Asked {
        let (action, args) = action(dispatch)?;
        let by = Engine::asker(dispatch);
        let access = self
            .access
            .as_mut()
            .ok_or_else(|| refused("no_access", "the site file has no [access], or its keys cannot be read"))?;
        match action {
            "clear_anti_passback" => {
                let whom = match (arg(args, "who"), arg(args, "household")) {
                    (Some(who), None) => Whom::Holder(who),
                    (None, Some(household)) => Whom::Household(household),
                    (None, None) => return Err(missing("who", "the holder's pseudonym, or household")),
                    (Some(_), Some(_)) => return Err(refused("bad_args", "either who or household, not both")),
                };
                match access.handle_clear_anti_passback(now, whom, &by) {
                    0 => Err(refused("not_inside", "nothing is known of where they are: nothing is to be cleared")),
                    _ => done(),
                }
            }
            "count" => {
                let zone = arg(args, "zone").ok_or_else(|| missing("zone", "the zone that was counted"))?;
                let count = number(args, "count")?.ok_or_else(|| missing("count", "how many are inside"))?;
                let count = u32::try_from(count).map_err(|_| refused("bad_args", "count is too large"))?;
                match access.handle_count(now, zone, count, &by) {
                    true => done(),
                    false => Err(refused("unknown_zone", "the site file has no such zone")),
                }
            }
            other => Err(unknown(other, "clear_anti_passback, count")),
        }
    }
}

/// What the box refuses without a look at whose it is. `at`: the gate and the reader.
fn refusal(request: RequestId, at: (String, String), direction: Direction, why: &str) -> Verdict {
    let (gate, via) = at;
    Verdict {
        request,
        gate,
        via,
        direction,
        allowed: false,
        reason: why.to_owned(),
        decided_by: DecidedBy::Box,
        who: None,
        class: None,
        facts: BTreeMap::new(),
    }
}
