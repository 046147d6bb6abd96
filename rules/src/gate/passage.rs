//! Passage records: one for each request, and one for each passage that nobody asked for.

use std::collections::BTreeMap;

use gatehouse_core::{Lane, Mono, Stamp};
use serde::{Deserialize, Serialize};

use super::out::Out;
use crate::controller::Recorded;
use crate::instant::Instant;
use crate::words::{DecidedBy, Direction, HolderClass, Passed, RequestId, Verdict};

/// Where an unfinished record is kept: this, and its request.
pub(super) const PREFIX: &str = "passage/";
/// Texts of a record are cut there, so that it fits into the journal.
const TEXT_MAX: usize = 256;
/// A record has no more facts than this.
const FACTS_MAX: usize = 16;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decided {
    Granted,
    Refused,
    /// Nobody asked.
    Unasked,
}

/// A passage record: what is kept while it waits for a sensor, and the event's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) request: RequestId,
    gate: String,
    via: String,
    direction: Direction,
    decision: Decided,
    reason: String,
    decided_by: Option<DecidedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<HolderClass>,
    pub(super) facts: BTreeMap<String, String>,
    verified: Option<bool>,
    decided_at: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opened_at: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_at: Option<Instant>,
    /// When a controller recorded it, which was taken in at `decided_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recorded: Option<Recorded>,
}

impl Record {
    /// The record of a request. `decision` may be a refusal of the gate where the verdict was to let it pass.
    pub(super) fn of(now: &Stamp, verdict: &Verdict, decision: Decided, reason: &str) -> Self {
        let facts = verdict.facts.iter().take(FACTS_MAX).map(|(key, value)| (clip(key), clip(value))).collect();
        Record {
            request: verdict.request,
            gate: clip(&verdict.gate),
            via: clip(&verdict.via),
            direction: verdict.direction,
            decision,
            reason: clip(reason),
            decided_by: (decision != Decided::Unasked).then_some(verdict.decided_by),
            who: verdict.who.as_deref().map(clip),
            class: verdict.class,
            facts,
            verified: None,
            decided_at: (*now).into(),
            opened_at: None,
            passed_at: None,
            recorded: None,
        }
    }

    /// The record of what a controller decided and recorded.
    pub(super) fn taken(now: &Stamp, verdict: &Verdict, recorded: Recorded) -> Self {
        let decision = if verdict.allowed { Decided::Granted } else { Decided::Refused };
        Record { recorded: Some(recorded), ..Record::of(now, verdict, decision, &verdict.reason) }
    }

    /// Tells it at once: nothing was kept of it. What was granted is told on.
    pub(super) fn tell(self, now: &Stamp, out: &mut Out) {
        out.effects.event(Lane::Passages, *now, "passage", &self);
        if self.decision != Decided::Refused {
            out.passed.push_back(Passed { verdict: self.verdict(), verified: None, at: *now });
        }
    }

    /// Keeps it until it is finished.
    pub(super) fn keep(&self, out: &mut Out) {
        out.effects.keep(format!("{PREFIX}{}", self.request.0), self);
    }

    /// Finishes it: the event, and nothing kept any more. What was granted, and what was seen, is told on.
    pub(super) fn finish(mut self, now: &Stamp, verified: Option<bool>, out: &mut Out) {
        self.verified = verified;
        if verified == Some(true) {
            self.passed_at = Some((*now).into());
            self.opened_at = self.opened_at.or(self.passed_at);
        }
        out.effects.event(Lane::Passages, *now, "passage", &self);
        out.effects.forget(format!("{PREFIX}{}", self.request.0));
        if self.decision != Decided::Refused {
            out.passed.push_back(Passed { verdict: self.verdict(), verified, at: *now });
        }
    }

    /// Finishes it as a refusal, which was never kept.
    pub(super) fn refuse(self, now: &Stamp, out: &mut Out) {
        out.effects.event(Lane::Passages, *now, "passage", &self);
    }

    fn verdict(&self) -> Verdict {
        Verdict {
            request: self.request,
            gate: self.gate.clone(),
            via: self.via.clone(),
            direction: self.direction,
            allowed: self.decision == Decided::Granted,
            reason: self.reason.clone(),
            decided_by: self.decided_by.unwrap_or(DecidedBy::Box),
            who: self.who.clone(),
            class: self.class,
            facts: self.facts.clone(),
        }
    }
}

/// A text, cut where it is too long to be kept.
pub(super) fn clip(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// A passage that waits for its sensor.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) record: Record,
    /// Nobody having passed by then, nobody will, unless the gate is open for it.
    pub(super) until: Mono,
    /// The same, open or not.
    pub(super) at_last: Mono,
    /// True when the sensor could not have told all along.
    pub(super) unsure: bool,
}
