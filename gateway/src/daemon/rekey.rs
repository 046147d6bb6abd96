//! Gives a reader another key: journal first, then the reader, then proof; and back where the reader does not take it.

use std::time::Duration;

use gatehouse_config::{Device, Site};
use gatehouse_core::{DeviceIx, Event, Lane, Mono, Value};
use gatehouse_drivers::osdp::Key;
use gatehouse_drivers::osdp::OsdpPoint;
use gatehouse_drivers::point::Place;
use gatehouse_store::{Batch, CommitTicket, StateChange, StoreError};
use serde_json::json;

use super::credentials::{random, seal_key, seals};
use super::reader_keys::{Given, Held, ReaderKeys};
use super::report::Reply;
use super::run::{BusRuntime, Daemon};
use crate::api::{Answer, Refusal};

/// How long a reader may take to come back under its new key: a reader is polled every ten seconds at least, and start-up
/// takes ten polls.
const PATIENCE: Duration = Duration::from_secs(120);
/// How it ended with a reader that does not take a key.
const NOT_TAKEN: &str = "the reader did not take it and has the key that it had";

/// Of a reader whose file was given another key.
const REPLACED: &str = "it has the key of its file, and the one that the box gave it is forgotten";

/// One reader that is being given a key.
pub(super) struct Rekey {
    device: String,
    step: Step,
    /// Who waits for the end; nobody after a restart.
    asked: Option<Reply>,
    /// It came back under neither key in time, and that was told.
    lost: bool,
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
    /// Opens what the journal has of readers' keys; tells what does not open.
    pub(super) fn open_reader_keys(&mut self) {
        let (opened, why_none) = match seals(&self.site) {
            Ok(Some(seals)) => (Some(self.keys.under(&seals)), None),
            Ok(None) => (None, None),
            Err(why) => (None, Some(why)),
        };
        let (keys, changes) = opened.unwrap_or_else(|| (self.keys.clone(), Vec::new()));
        if let Err(why) = self.keep_sealed(&keys, changes, why_none.as_deref()) {
            self.hub.store_failed(&why);
        }
        self.keys = keys;
    }

    /// Seals readers' keys anew where the box has another key for what lies on its disk.
    ///
    /// # Errors
    /// The journal cannot be written: nothing has changed then.
    pub(super) fn seal_anew(&mut self, site: &Site) -> Result<(), Refusal> {
        // Without a key those that are open stay sealed as they are.
        let Ok(Some(seals)) = seals(site) else { return Ok(()) };
        let (keys, changes) = self.keys.under(&seals);
        self.keep_sealed(&keys, changes, None).map_err(|why| Refusal::new(503, "store", why.to_string()))?;
        self.keys = keys;
        Ok(())
    }

    /// Writes all that is sealed anew at once, with a word on it and on what does not open.
    fn keep_sealed(
        &mut self,
        keys: &ReaderKeys,
        changes: Vec<StateChange>,
        why_none: Option<&str>,
    ) -> Result<(), StoreError> {
        let unopened = keys.tell_unopened(why_none);
        if changes.is_empty() && unopened.is_empty() {
            return Ok(());
        }
        let told = json!({ "sealed_anew": changes.len(), "unopened": unopened });
        tracing::info!(sealed_anew = changes.len(), unopened = unopened.len(), "the keys that the box gave to readers");
        self.sealed_anew = Some(self.write_keys(changes, "reader_keys", &told)?);
        Ok(())
    }

    /// Readers that were being given a key when the daemon stopped, or before they left the site file and came back:
    /// whichever key they have, the line finds it.
    pub(super) fn resume_rekeys(&mut self) {
        let step = Step::Told(self.hub.clock.mono());
        let waits = |id: &&str| {
            let is_reader = self.site.device_by_id(id).is_some_and(|(_, device)| self.keys.held(device).is_some());
            is_reader && !self.rekeys.iter().any(|rekey| rekey.device == *id)
        };
        let resumed: Vec<Rekey> = self
            .keys
            .unsettled()
            .filter(waits)
            .map(|id| Rekey { device: id.to_owned(), step, asked: None, lost: false })
            .collect();
        self.rekeys.extend(resumed);
    }

    /// True while a key waits for the disk: a line that begins anew then would use it too soon.
    pub(super) fn rekeys_wait(&self) -> bool {
        self.rekeys.iter().any(|rekey| matches!(rekey.step, Step::Written(_)))
    }

    /// Begins to give a reader a key that nobody else knows.
    pub(super) fn rekey(&mut self, id: &str, issuer: String, reply: Reply) {
        let refused = (id.to_owned(), issuer.clone());
        match self.begin_rekey(id, issuer) {
            Ok(ticket) => self.rekeys.push(Rekey {
                device: id.to_owned(),
                step: Step::Written(ticket),
                asked: Some(reply),
                lost: false,
            }),
            Err(refusal) => {
                let (id, issuer) = refused;
                self.hub.audit("rekey", &record(&id, &issuer, "refused", &refusal.message));
                let _ = reply.send(Err(refusal));
            }
        }
    }

    fn begin_rekey(&mut self, id: &str, issuer: String) -> Result<CommitTicket, Refusal> {
        let (ix, device) = self.locate(id)?;
        let Some((bus, held)) = self.reader(ix) else {
            let text = format!("{id} is no OSDP reader with a `key`: give it one in the site file first");
            return Err(Refusal::new(409, "no_key", text));
        };
        let seal = seal_key(&self.site).map_err(|why| Refusal::new(409, "no_seal_key", why))?;
        let seal = seal.ok_or_else(|| {
            let text = "the key is kept sealed: give the box its own key with `access.seal_key` first";
            Refusal::new(409, "no_seal_key", text)
        })?;
        if self.keys.seal() != Some(&seal) {
            let text = "the file of `access.seal_key` was changed: `gatehouse reload` first";
            return Err(Refusal::new(409, "seal_key_changed", text));
        }
        if self.rekeys.iter().any(|rekey| rekey.device == id) {
            let text = format!("{id} is being given a key already: try again once it is secure");
            return Err(Refusal::new(409, "busy", text));
        }
        let Some(own) = held.own.as_ref().filter(|_| self.secure_since(ix, &device, bus.began) == Some(true)) else {
            let text = format!("{id} is not connected under its key now, so that it could not be given another");
            return Err(Refusal::new(409, "not_secure", text));
        };
        let in_file = self.keys.held(&device).and_then(|held| held.file);
        if in_file.is_some() && in_file != held.file {
            let text =
                format!("the file with the key of {id} was changed and is not in use yet: `gatehouse reload` first");
            return Err(Refusal::new(409, "key_changed", text));
        }
        let replaces = held.file.or(self.keys.given(id, None).map(|given| given.replaces));
        let replaces =
            replaces.ok_or_else(|| Refusal::new(409, "no_key", format!("the key of {id} cannot be read")))?;
        let next = std::iter::repeat_with(random).find(|key| Key::new(*key) != Key::DEFAULT).unwrap_or_default();
        // The key in force is the one under which the reader is connected, whatever its file says by now.
        let given = Given { replaces, own: next, before: Some(own.bytes()), undone: false, issuer };
        let begun = record(id, &given.issuer, "begun", "");
        self.keep_key(id, given, Some(&begun)).map_err(|why| Refusal::new(503, "store", why.to_string()))
    }

    /// A reader that has a key, by what it goes, and its bus.
    fn reader(&self, ix: DeviceIx) -> Option<(&BusRuntime, &Held)> {
        self.buses.iter().find_map(|bus| Some((bus, bus.readers.get(&ix)?)))
    }

    /// Writes a reader's keys into the journal, and in the same batch what is recorded with it.
    fn keep_key(
        &mut self,
        id: &str,
        given: Given,
        recorded: Option<&serde_json::Value>,
    ) -> Result<CommitTicket, StoreError> {
        let changes = Vec::from_iter(self.keys.sealed(id, &given));
        let ticket = match recorded {
            Some(recorded) => self.write_keys(changes, "rekey", recorded)?,
            None => self.hub.store.borrow_mut().commit(Batch { state: changes, events: Vec::new() })?,
        };
        self.keys.note(id, given);
        Ok(ticket)
    }

    fn write_keys(
        &self,
        state: Vec<StateChange>,
        kind: &'static str,
        recorded: &serde_json::Value,
    ) -> Result<CommitTicket, StoreError> {
        let event = Event { kind, json: recorded.to_string().into() };
        let events = vec![(Lane::Audit, self.hub.clock.now(), event)];
        self.hub.store.borrow_mut().commit(Batch { state, events })
    }

    /// Whether a reader was in a Secure Channel under its own key when it was last polled, after `since`. An answer to
    /// what was asked before it was told of another key shows no Secure Channel.
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
        self.forget_replaced();
    }

    /// Goes on with one; false once it is over.
    fn advance(&mut self, rekey: &mut Rekey, now: Mono) -> bool {
        let Ok((ix, device)) = self.locate(&rekey.device) else {
            self.fail(rekey, "the device is no longer in the site file");
            return false;
        };
        let Some(file) = self.reader(ix).map(|(_, held)| held.file) else {
            self.fail(rekey, "the device has no key in the site file any more");
            return false;
        };
        let Some(given) = self.keys.given(&rekey.device, file).cloned() else {
            self.fail(rekey, "the key's file was changed meanwhile and counts");
            return false;
        };
        match rekey.step {
            Step::Written(ticket) if self.durable >= Some(ticket) => {
                self.tell_line(ix, given.own);
                rekey.step = Step::Told(now);
                true
            }
            Step::Written(_) => true,
            Step::Told(since) if self.secure_since(ix, &device, since) == Some(true) => {
                self.settle(rekey, given).inspect_err(|why| self.hub.store_failed(why)).is_err()
            }
            Step::Told(since) if now.since(since) < PATIENCE => true,
            // It did not come back under the new key: the one that it had counts again, and the new one stands behind it, so
            // that the line finds a reader that took it after all.
            Step::Told(_) if !given.undone => {
                let back =
                    Given { own: given.before.unwrap_or(given.own), before: Some(given.own), undone: true, ..given };
                match self.keep_key(&rekey.device, back, None) {
                    Ok(ticket) => rekey.step = Step::Written(ticket),
                    // It is tried again.
                    Err(why) => self.hub.store_failed(&why),
                }
                true
            }
            Step::Told(_) => {
                if !std::mem::replace(&mut rekey.lost, true) {
                    self.fail(rekey, "the reader does not come back: the line looks for it under either key");
                }
                true
            }
        }
    }

    /// Has the line give a reader its key.
    fn tell_line(&mut self, ix: DeviceIx, own: [u8; 16]) {
        for bus in &mut self.buses {
            if let Some(held) = bus.readers.get_mut(&ix) {
                held.own = Some(Key::new(own));
                bus.handle.line.borrow_mut().handle_key(ix, own);
            }
        }
    }

    /// The reader has its own key: the one before is forgotten, and the end recorded.
    fn settle(&mut self, rekey: &mut Rekey, given: Given) -> Result<(), StoreError> {
        let taken = if given.undone { Err(NOT_TAKEN) } else { Ok(()) };
        let (outcome, detail) = taken.map_or_else(|why| ("failed", why), |()| ("verified", ""));
        let end = record(&rekey.device, &given.issuer, outcome, detail);
        let settled = Given { before: None, undone: false, issuer: String::new(), ..given };
        self.keep_key(&rekey.device, settled, Some(&end))?;
        answer(rekey, taken);
        Ok(())
    }

    /// It has failed, for all that is known now.
    fn fail(&self, rekey: &mut Rekey, why: &str) {
        let issuer = self.keys.issuer(&rekey.device);
        self.hub.audit("rekey", &record(&rekey.device, issuer, "failed", why));
        answer(rekey, Err(why));
    }

    /// Forgets what the box gave to readers that are secure under the key of another file by now.
    fn forget_replaced(&mut self) {
        let mut replaced = Vec::new();
        for bus in &self.buses {
            for (ix, held) in &bus.readers {
                let Some(device) = self.hub.with(*ix, |device| device.config.clone()) else { continue };
                let is_replaced = self.keys.is_replaced(device.id.as_str(), held);
                if is_replaced && self.secure_since(*ix, &device, bus.began) == Some(true) {
                    replaced.push(device.id.to_string());
                }
            }
        }
        for id in replaced {
            let told = record(&id, "", "replaced", REPLACED);
            match self.write_keys(vec![ReaderKeys::forgotten(&id)], "rekey", &told) {
                Ok(_) => self.keys.forget(&id),
                Err(why) => self.hub.store_failed(&why),
            }
        }
    }
}

/// Tells who waits how it ended.
fn answer(rekey: &mut Rekey, taken: Result<(), &str>) {
    let Some(reply) = rekey.asked.take() else { return };
    let answer = match taken {
        Ok(()) => Ok(Answer::Json(json!({ "device": rekey.device, "outcome": "verified" }))),
        Err(why) => Err(Refusal::new(502, "not_taken", format!("{}: {why}", rekey.device))),
    };
    let _ = reply.send(answer);
}

fn record(id: &str, issuer: &str, outcome: &str, detail: &str) -> serde_json::Value {
    json!({ "device": id, "issuer": issuer, "outcome": outcome, "detail": detail })
}
