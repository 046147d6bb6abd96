//! The audit trail of the gates: what was decided, and what came of it.

use gatehouse_core::{Lane, Stamp};
use serde::Serialize;

use super::interlock::{Decision, Judgement};
use super::machine::Gate;
use super::order::Order;
use super::out::Out;
use crate::words::RequestId;

/// The audit event: what was decided, or what came of it.
#[derive(Default, Serialize)]
pub(super) struct Audit<'a> {
    pub(super) gate: &'a str,
    pub(super) command: &'a str,
    pub(super) who: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decision: Option<Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub(super) by_override: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'a str>,
}

impl Gate {
    pub(super) fn audit_decision(&self, now: &Stamp, order: &Order, judgement: Judgement, out: &mut Out) {
        self.audit(
            now,
            Audit {
                command: order.motion.as_str(),
                who: &order.who,
                id: order.command.as_deref(),
                request: order.request,
                decision: Some(judgement.decision),
                reason: Some(judgement.reason),
                by_override: Some(order.by_override),
                ..Audit::default()
            },
            out,
        );
    }

    pub(super) fn audit(&self, now: &Stamp, audit: Audit<'_>, out: &mut Out) {
        out.effects.event(Lane::Audit, *now, "gate", &Audit { gate: &self.spec.id, ..audit });
    }

    /// Records a decision that is no motion.
    pub(super) fn audit_note(&self, now: &Stamp, command: &str, who: &str, told: (Decision, &str), out: &mut Out) {
        let (decision, reason) = (Some(told.0), Some(told.1));
        self.audit(now, Audit { command, who, decision, reason, ..Audit::default() }, out);
    }
}
