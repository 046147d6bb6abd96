//! What a restart takes back, and what it ends.

use std::time::Duration;

use gatehouse_core::{Stamp, Wall};
use serde::de::Error;

use super::entry::{Entry, Job, Phase, Reached};
use super::outcome::Outcome;
use super::record::{HORIZON, Horizon, Kept, KeptPhase, PREFIX, Source};
use super::request::{CommandId, Request, Wire};
use super::{Commands, because_unknown};

impl Commands {
    /// Takes back what was kept, before anything else is called; other keys are ignored.
    ///
    /// # Errors
    /// When the value is not what this machine keeps. The id stays taken even so: its command may have acted.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        if key == HORIZON {
            self.horizon = self.horizon.max(serde_json::from_slice::<Horizon>(value)?.wall());
        }
        let Some(id) = key.strip_prefix(PREFIX).and_then(CommandId::new) else { return Ok(()) };
        self.interrupted = true;
        match serde_json::from_slice(value).and_then(entry) {
            Ok(entry) => {
                self.entries.insert(id, entry);
                Ok(())
            }
            Err(error) => {
                let hold = self.settings.refused_for() + self.settings.patience;
                self.entries.entry(id).or_insert_with(|| damaged(hold));
                Err(error)
            }
        }
    }

    /// Ends what was at work when the process ended, and has the others forgotten in time.
    pub(super) fn end_interrupted(&mut self, now: Stamp) {
        if !std::mem::take(&mut self.interrupted) {
            return;
        }
        let ids: Vec<CommandId> = self.entries.keys().cloned().collect();
        for id in ids {
            let Some(entry) = self.entries.get(&id) else { continue };
            let forget_at = entry.forget_at(&now);
            let outcome = match entry.job().map(|job| job.reached) {
                None => {
                    self.arm(&id, forget_at);
                    continue;
                }
                Some(Reached::Waiting) => Outcome::Failed { reason: "restarted".into(), detail: None },
                Some(Reached::Begun | Reached::Sent | Reached::Acknowledged) => because_unknown("restarted"),
            };
            self.finish(now, &id, outcome);
        }
    }
}

fn entry(kept: Kept) -> Result<Entry, serde_json::Error> {
    Ok(Entry {
        source: kept.source,
        fingerprint: kept.fingerprint,
        received: Some(kept.received),
        hold: Duration::from_millis(kept.hold_ms),
        horizon: kept.horizon.map(Wall),
        phase: match kept.phase {
            KeptPhase::Waiting(wire) => Phase::Open(job(wire, Reached::Waiting)?),
            KeptPhase::Begun(wire) => Phase::Open(job(wire, Reached::Begun)?),
            KeptPhase::Ended(outcome) => Phase::Ended(outcome),
        },
        timer: None,
    })
}

/// A job that will not go on: only what it was is needed.
fn job(wire: Wire, reached: Reached) -> Result<Box<Job>, serde_json::Error> {
    let request = Request::from_wire(wire).map_err(serde_json::Error::custom)?;
    Ok(Box::new(Job { request, deadline: Default::default(), by_wall: false, reached }))
}

fn damaged(hold: Duration) -> Entry {
    Entry {
        source: Source::Core,
        fingerprint: String::new(),
        received: None,
        hold,
        horizon: None,
        phase: Phase::Ended(because_unknown("damaged")),
        timer: None,
    }
}
