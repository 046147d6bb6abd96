//! Gives a reader another key: journal first, then the reader, then proof; and back where the reader does not take it.

use std::time::Duration;

use gatehouse_config::{Device, Station};
use gatehouse_core::{DeviceIx, Mono, Value};
use gatehouse_drivers::osdp::Key;
use gatehouse_drivers::osdp::OsdpPoint;
use gatehouse_drivers::point::Place;
use gatehouse_rules::access::SealKey;
use gatehouse_store::{Batch, CommitTicket};
use serde_json::json;

use super::credentials::{random, seal_key};
use super::reader_keys::Given;
use super::report::Reply;
use super::run::Daemon;
use crate::api::{Answer, Refusal};

/// A reading that came sooner may have been asked for under the key before.
const STALE: Duration = Duration::from_secs(3);
/// How long a reader may take to come back under its new key: a reader is polled every ten seconds at least, and start-up
/// takes eight polls.
const PATIENCE: Duration = Duration::from_secs(120);

/// One reader that is being given a key.
pub(super) struct Rekey {
    device: String,
    step: Step,
    /// True on the way back to the key that it had.
    undoes: bool,
    /// Who waits for the end, and asked for it; nobody after a restart.
    asked: Option<(Reply, String)>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The journal has it once this ticket is on the disk: before, the reader must not.
    Written(CommitTicket),
    /// The line was told then.
    Told(Mono),
}

impl Daemon {
    /// Readers that were being given a key when the daemon stopped: whichever key they have, the line finds it.
    pub(super) fn resume_rekeys(&mut self) {
        let now = self.hub.clock.mono();
        let resumed = self.keys.unsettled().map(|id| Rekey {
            device: id.to_owned(),
            step: Step::Told(now),
            undoes: true,
            asked: None,
        });
        self.rekeys = resumed.collect();
    }

    /// True while a key waits for the disk: a line that begins anew then would use it too soon.
    pub(super) fn rekeys_wait(&self) -> bool {
        self.rekeys.iter().any(|rekey| matches!(rekey.step, Step::Written(_)))
    }

    /// Begins to give a reader a key that nobody else knows.
    pub(super) fn rekey(&mut self, id: &str, issuer: String, reply: Reply) {
        match self.begin_rekey(id) {
            Ok(ticket) => self.rekeys.push(Rekey {
                device: id.to_owned(),
                step: Step::Written(ticket),
                undoes: false,
                asked: Some((reply, issuer)),
            }),
            Err(refusal) => {
                self.audit_rekey(id, &issuer, "refused", &refusal.message);
                let _ = reply.send(Err(refusal));
            }
        }
    }

    fn begin_rekey(&mut self, id: &str) -> Result<CommitTicket, Refusal> {
        let (ix, device) = self.locate(id)?;
        let keyed = matches!(&device.station, Station::Osdp(station) if station.key.is_some());
        if !keyed {
            let text = format!("{id} is no OSDP reader with a `key`: give it one in the site file first");
            return Err(Refusal::new(409, "no_key", text));
        }
        let seal = seal_key(&self.site).map_err(|why| Refusal::new(409, "no_seal_key", why))?;
        let seal = seal.ok_or_else(|| {
            let text = "the key is kept sealed: give the box its own key with `access.seal_key` first";
            Refusal::new(409, "no_seal_key", text)
        })?;
        if self.rekeys.iter().any(|rekey| rekey.device == id) {
            let text = format!("{id} is being given a key already: try again once it is secure");
            return Err(Refusal::new(409, "busy", text));
        }
        if self.secure_since(ix, &device, Mono(0)) != Some(true) {
            let text = format!("{id} is not connected under its key now, so that it could not be given another");
            return Err(Refusal::new(409, "not_secure", text));
        }
        if self.keys.is_doubtful(&device) {
            let text = format!(
                "the file with the key of {id} was changed since the box gave it another: restart the daemon first"
            );
            return Err(Refusal::new(409, "key_changed", text));
        }
        let next = std::iter::repeat_with(random).find(|key| Key::new(*key) != Key::DEFAULT).unwrap_or_default();
        let given = self.keys.replaced(&device, next);
        let given = given.ok_or_else(|| Refusal::new(409, "no_key", format!("the key of {id} cannot be read")))?;
        self.keep_key(id, given, &seal)
    }

    fn keep_key(&mut self, id: &str, given: Given, seal: &SealKey) -> Result<CommitTicket, Refusal> {
        let (name, sealed) = given.sealed(id, seal);
        let batch = Batch { state: vec![(name.as_bytes().into(), Some(sealed.into()))], events: Vec::new() };
        let committed = self.hub.store.borrow_mut().commit(batch);
        let ticket = committed.map_err(|why| Refusal::new(503, "store", why.to_string()))?;
        self.keys.note(id, given);
        Ok(ticket)
    }

    /// Whether a reader was in a Secure Channel under its own key when it was last polled, after `since`.
    fn secure_since(&self, ix: DeviceIx, device: &Device, since: Mono) -> Option<bool> {
        let shows = |place: &Place| matches!(place, Place::Osdp(OsdpPoint::Secure));
        let at = device.points.iter().position(|point| shows(&point.spec.place))?;
        let latest = self.hub.with(ix, |device| {
            let found = device.latest().find(|(_, reading)| usize::from(reading.point.0) == at);
            found.filter(|(when, _)| *when > since).map(|(_, reading)| reading.value == Ok(Value::Bool(true)))
        });
        latest.flatten()
    }

    /// Goes on with the readers that are being given a key.
    pub(super) fn advance_rekeys(&mut self, now: Mono) {
        for mut rekey in std::mem::take(&mut self.rekeys) {
            if self.advance(&mut rekey, now) {
                self.rekeys.push(rekey);
            }
        }
    }

    /// Goes on with one; false once it is over.
    fn advance(&mut self, rekey: &mut Rekey, now: Mono) -> bool {
        let Ok((ix, device)) = self.locate(&rekey.device) else {
            self.end_rekey(rekey, Err("the device is no longer in the site file"));
            return false;
        };
        let Some(given) = self.keys.given(&device).cloned() else {
            self.end_rekey(rekey, Err("the key's file was changed meanwhile and counts"));
            return false;
        };
        match rekey.step {
            Step::Written(ticket) if self.durable >= Some(ticket) => {
                if let Some(bus) = self.buses.iter().find(|bus| bus.devices.contains(&ix)) {
                    bus.handle.line.borrow_mut().handle_key(ix, given.own);
                }
                rekey.step = Step::Told(now);
                true
            }
            Step::Written(_) => true,
            Step::Told(since) if self.secure_since(ix, &device, since + STALE) == Some(true) => {
                self.settle(&rekey.device, given);
                let taken =
                    if rekey.undoes { Err("the reader did not take it and has the key that it had") } else { Ok(()) };
                self.end_rekey(rekey, taken);
                false
            }
            Step::Told(since) if now.since(since) < PATIENCE || rekey.asked.is_none() => true,
            // It did not come back under the new key: the one that it had counts again, and the new one stands behind it, so
            // that the line finds a reader that took it after all.
            Step::Told(_) if !rekey.undoes => {
                rekey.undoes = true;
                let back = Given { own: given.before.unwrap_or(given.own), before: Some(given.own), ..given };
                match seal_key(&self.site).ok().flatten().map(|seal| self.keep_key(&rekey.device, back, &seal)) {
                    Some(Ok(ticket)) => rekey.step = Step::Written(ticket),
                    Some(Err(_)) | None => {
                        rekey.undoes = false;
                        self.end_rekey(
                            rekey,
                            Err("it did not take it, and the way back cannot be written down: it is tried again"),
                        );
                    }
                }
                true
            }
            Step::Told(_) => {
                self.end_rekey(rekey, Err("the reader does not come back: the line looks for it under either key"));
                true
            }
        }
    }

    /// The reader has its own key: the one before is forgotten.
    fn settle(&mut self, id: &str, given: Given) {
        let kept = match seal_key(&self.site) {
            Ok(Some(seal)) => self.keep_key(id, Given { before: None, ..given }, &seal).map_err(|why| why.message),
            Ok(None) => Err("there is no access.seal_key any more".to_owned()),
            Err(why) => Err(why),
        };
        if let Err(why) = kept {
            tracing::error!(device = id, why, "the reader's former key stays in the journal");
        }
    }

    fn end_rekey(&self, rekey: &mut Rekey, taken: Result<(), &str>) {
        let Some((reply, issuer)) = rekey.asked.take() else { return };
        let (outcome, detail) = match taken {
            Ok(()) => ("verified", ""),
            Err(why) => ("failed", why),
        };
        self.audit_rekey(&rekey.device, &issuer, outcome, detail);
        let answer = match taken {
            Ok(()) => Ok(Answer::Json(json!({ "device": rekey.device, "outcome": outcome }))),
            Err(why) => Err(Refusal::new(502, "not_taken", format!("{}: {why}", rekey.device))),
        };
        let _ = reply.send(answer);
    }

    fn audit_rekey(&self, id: &str, issuer: &str, outcome: &str, detail: &str) {
        let fields = json!({ "device": id, "issuer": issuer, "outcome": outcome, "detail": detail });
        self.hub.audit("rekey", &fields);
    }
}
