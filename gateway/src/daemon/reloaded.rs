//! Who asked for a reload, and when it is told: once readers' keys that were sealed anew are on the disk.

use std::time::Duration;

use gatehouse_core::Mono;
use gatehouse_store::CommitTicket;
use sd_notify::NotifyState;
use serde_json::json;

use super::report::Reply;
use super::run::Daemon;
use super::systemd;
use crate::api::{Answer, Refusal};

/// So long a reload waits for the disk before it says what is not there yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is not there yet, and what to do about it.
const UNWRITTEN: &str = "the keys of readers that were sealed anew are not on the disk yet: keep the box's former key, \
                         and `seal_key_before`, until `gatehouse reload` no longer says so";

/// Who asked for a reload.
pub(super) enum Asked {
    /// Somebody through the API.
    Person { issuer: String, reply: Reply },
    /// systemd, by a signal.
    Signal,
}

impl Asked {
    fn issuer(&self) -> &str {
        match self {
            Asked::Person { issuer, .. } => issuer,
            Asked::Signal => "signal",
        }
    }

    fn tell(self, outcome: Result<String, Refusal>) {
        match self {
            Asked::Person { reply, .. } => {
                // A client that has gone needs no answer.
                let _ = reply.send(outcome.map(|message| Answer::Json(json!({ "message": message }))));
            }
            Asked::Signal => {
                if let Err(refusal) = outcome {
                    tracing::error!(code = refusal.code, why = refusal.message, "the old site file stays in use");
                }
                systemd::notify(&[NotifyState::Ready]);
            }
        }
    }
}

/// A reload that is in use and waits for the disk.
pub(super) struct Unwritten {
    ticket: CommitTicket,
    since: Mono,
    message: String,
    asked: Asked,
}

impl Unwritten {
    /// What is to be told, once it is time.
    fn outcome(&self, durable: Option<CommitTicket>, now: Mono) -> Option<String> {
        if durable >= Some(self.ticket) {
            return Some(self.message.clone());
        }
        (now.since(self.since) >= PATIENCE).then(|| format!("{}; {UNWRITTEN}", self.message))
    }
}

impl Daemon {
    /// Loads the site file anew, and tells who asked what came of it.
    pub(super) fn reload(&mut self, asked: Asked) {
        let message = match self.apply(asked.issuer()) {
            Ok(message) => message,
            Err(refusal) => return asked.tell(Err(refusal)),
        };
        match self.sealed_anew.filter(|ticket| self.durable < Some(*ticket)) {
            None => asked.tell(Ok(message)),
            Some(ticket) => {
                let since = self.hub.clock.mono();
                self.unwritten = Some(Unwritten { ticket, since, message, asked });
            }
        }
    }

    /// Tells of a reload that the disk has, or has not in time.
    pub(super) fn tell_reloaded(&mut self) {
        let now = self.hub.clock.mono();
        let outcome = self.unwritten.as_ref().and_then(|waits| waits.outcome(self.durable, now));
        let Some((message, waited)) = outcome.and_then(|message| Some((message, self.unwritten.take()?))) else {
            return;
        };
        let is_late = self.durable < Some(waited.ticket);
        if is_late {
            tracing::warn!("{UNWRITTEN}");
        }
        // A script must not go on and throw the former key away.
        let outcome = match waited.asked {
            Asked::Person { .. } if is_late => Err(Refusal::new(504, "not_durable", message)),
            Asked::Person { .. } | Asked::Signal => Ok(message),
        };
        waited.asked.tell(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_told_once_the_disk_has_it_or_says_in_time_that_it_has_not() {
        let at = |seconds: u64| Mono::from_millis(seconds * 1000);
        let waits = Unwritten {
            ticket: CommitTicket(7),
            since: at(100),
            message: "buses: 2 go on".to_owned(),
            asked: Asked::Signal,
        };
        assert_eq!(waits.outcome(None, at(100)), None);
        assert_eq!(waits.outcome(Some(CommitTicket(6)), at(109)), None, "what was written before is not it");
        assert_eq!(waits.outcome(Some(CommitTicket(7)), at(101)).as_deref(), Some("buses: 2 go on"));
        let late = waits.outcome(Some(CommitTicket(6)), at(110)).unwrap();
        assert_eq!(
            late,
            "buses: 2 go on; the keys of readers that were sealed anew are not on the disk yet: keep the box's former key, \
             and `seal_key_before`, until `gatehouse reload` no longer says so"
        );
    }
}
