//! Applies a changed site file to the running daemon: what did not change goes on and misses no poll.

use std::collections::BTreeMap;
use std::rc::Rc;

use gatehouse_config::{Site, SiteDiff};
use gatehouse_core::{Mono, PointReading};
use gatehouse_rules::Access;
use serde_json::json;

use super::credentials::Intake;
use super::device::DeviceRuntime;
use super::report::SiteInventory;
use super::run::{BusRuntime, Daemon};
use super::setup::Prepared;
use crate::api::Refusal;

/// Most characters of a refusal in the audit trail; the whole is in the log and in the answer.
const MOST_DETAIL: usize = 1000;

/// What is left of a bus that has ended.
struct Ended {
    /// Until when a reply to it may still come.
    late_until: Option<Mono>,
    devices: Vec<DeviceRuntime>,
}

impl Daemon {
    /// Loads the site file anew; gives one sentence on what changed. A bad file changes nothing.
    ///
    /// # Errors
    /// The problems of the file, or what cannot change while the daemon runs.
    pub(super) fn apply(&mut self, issuer: &str) -> Result<String, Refusal> {
        self.change(issuer).inspect_err(|refusal| {
            let detail: String = refusal.message.chars().take(MOST_DETAIL).collect();
            self.hub.audit("reload", &json!({ "issuer": issuer, "outcome": "refused", "detail": detail }));
        })
    }

    fn change(&mut self, issuer: &str) -> Result<String, Refusal> {
        let new = super::load(&self.path).map_err(|problems| Refusal::new(422, "configuration", problems))?;
        let mut diff = self.site.diff(&new);
        if !diff.restart.is_empty() {
            let tables: Vec<String> = diff.restart.iter().map(|table| format!("[{table}]")).collect();
            let tables = tables.join(", ");
            let text = format!("{tables} cannot change while the daemon runs: restart it, or undo that part");
            return Err(Refusal::new(409, "configuration", text));
        }
        let unwritten = self.hub.look(|engine| engine.access().is_some_and(Access::wants_image));
        if unwritten || self.intake.as_ref().is_some_and(Intake::is_busy) {
            let text = "credentials of the core are being taken in: try again in a moment";
            return Err(Refusal::new(409, "busy", text));
        }
        if self.hub.is_behind() || self.rekeys_wait() || self.unwritten.is_some() {
            let text = "something that was decided waits for the disk: try again in a moment";
            return Err(Refusal::new(409, "busy", text));
        }
        // Credentials that are in force are not given up for keys that cannot be read.
        if let (Some(_), Err(why)) = (&self.intake, super::credentials::machine(&new)) {
            return Err(Refusal::new(422, "configuration", why));
        }
        if let Some(id) = self.loses_key(&new) {
            let text =
                format!("the key of {id} cannot be read, and the one in force is not given up: the log says why");
            return Err(Refusal::new(422, "configuration", text));
        }
        self.seal_anew(&new)?;
        let untouched = diff.is_empty();
        self.begin_other_keys(&new, &mut diff);
        if let (true, Some(uplink)) = (untouched, &self.uplink) {
            // Files that the site file only names may have changed.
            uplink.reconnect();
        }
        let before = std::mem::replace(&mut self.site, Rc::new(new));
        self.change_buses(&before, &diff);
        self.resume_rekeys();
        self.change_own(diff.box_io);
        self.set_routes();
        // Relays that begin anew are off: what works them says again what they are to be.
        let keyless = self.site.access.is_some() && self.intake.is_none();
        let decides_anew = before.rules != self.site.rules || diff.box_io || keyless;
        if decides_anew {
            self.change_rules();
        }
        self.change_uplink(&before, &diff);
        let (kept, changed) = (diff.unchanged.len(), diff.changed.len());
        let (added, removed) = (diff.added.len(), diff.removed.len());
        let message = if diff.is_empty() && decides_anew {
            "rules, gates or access have changed and are in use; all buses go on".to_owned()
        } else if diff.is_empty() {
            "nothing in the site file has changed; certificates and passwords are read again".to_owned()
        } else {
            let own = if diff.box_io { "; the box's own contacts begin anew" } else { "" };
            format!("buses: {kept} go on, {changed} changed, {added} added, {removed} removed{own}")
        };
        tracing::info!(kept, changed, added, removed, "the site file is in use");
        self.hub.audit("reload", &json!({ "issuer": issuer, "outcome": "done", "detail": message }));
        Ok(message)
    }

    fn change_buses(&mut self, before: &Site, diff: &SiteDiff) {
        let mut old: Vec<Option<BusRuntime>> = std::mem::take(&mut self.buses).into_iter().map(Some).collect();
        let mut take = |at: usize| old.get_mut(at).and_then(Option::take);
        let mut buses: Vec<(usize, BusRuntime)> = Vec::new();
        for (from, to) in &diff.unchanged {
            if let Some(runtime) = take(*from) {
                buses.push((*to, self.keep_bus(*to, runtime)));
            }
        }
        // All that ends lets its port go before anything new opens one.
        let ended: Vec<(usize, Ended)> =
            diff.changed.iter().filter_map(|(from, to)| Some((*to, self.end_bus(take(*from)?)))).collect();
        for runtime in diff.removed.iter().filter_map(|from| take(*from)) {
            self.end_bus(runtime);
        }
        let now = self.hub.clock.mono();
        let changed = diff.changed.iter().map(|(from, to)| (Some(*from), *to));
        for (from, to) in changed.chain(diff.added.iter().map(|to| (None, *to))) {
            let ended = ended.iter().find(|(at, _)| *at == to).map(|(_, ended)| ended);
            let late_until = ended.and_then(|ended| ended.late_until).unwrap_or(now);
            let Some(bus) = self.start_bus(to, late_until) else { continue };
            let port = |site: &Site, at: usize| site.buses.get(at).map(|bus| bus.port.clone());
            let same_port = from.is_some_and(|from| port(before, from) == port(&self.site, to));
            if let Some(ended) = ended.filter(|_| same_port) {
                self.inherit(&bus, &ended.devices);
            }
            buses.push((to, bus));
        }
        buses.sort_by_key(|(at, _)| *at);
        self.buses = buses.into_iter().map(|(_, bus)| bus).collect();
    }

    /// A reader that goes by a key, and would go by none because its file cannot be read.
    fn loses_key(&self, new: &Site) -> Option<String> {
        let has_one = |id: &str| {
            let of = |ix| self.hub.with(ix, |device| device.config.id == *id) == Some(true);
            let mut readers = self.buses.iter().flat_map(|bus| &bus.readers);
            readers.any(|(ix, held)| held.own.is_some() && of(*ix))
        };
        let unread = new.devices.iter().filter(|device| self.keys.held(device).is_some_and(|held| held.own.is_none()));
        unread.map(|device| device.id.to_string()).find(|id| has_one(id))
    }

    /// Buses with a reader whose file has another key than its conversation goes by begin anew.
    fn begin_other_keys(&self, new: &Site, diff: &mut SiteDiff) {
        let goes_on = |(from, to): &(usize, usize)| {
            let Some(runtime) = self.buses.get(*from) else { return true };
            let mut readers = runtime.devices.iter().zip(new.devices_on(*to));
            readers.all(|(ix, (_, device))| match (runtime.readers.get(ix), self.keys.held(device)) {
                (Some(held), Some(now)) => held.begins_as(&now),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            })
        };
        let (on, anew) = std::mem::take(&mut diff.unchanged).into_iter().partition(goes_on);
        diff.unchanged = on;
        diff.changed.extend::<Vec<_>>(anew);
    }

    /// Ends a bus; keeps what is known of its devices.
    fn end_bus(&self, bus: BusRuntime) -> Ended {
        let late_until = bus.handle.line.borrow().late_until();
        Ended { late_until, devices: bus.devices.iter().filter_map(|ix| self.hub.remove(*ix)).collect() }
    }

    /// Devices that are the same as before keep what is known of them.
    fn inherit(&self, bus: &BusRuntime, before: &[DeviceRuntime]) {
        for ix in &bus.devices {
            self.hub.with(*ix, |device| {
                let same = |old: &&DeviceRuntime| {
                    (&old.config.id, old.config.station.to_string(), &old.config.profile)
                        == (&device.config.id, device.config.station.to_string(), &device.config.profile)
                };
                if let Some(old) = before.iter().find(same) {
                    device.inherit(old);
                }
            });
        }
    }

    /// Only titles, labels and the like may differ: the line and its task go on.
    fn keep_bus(&self, position: usize, runtime: BusRuntime) -> BusRuntime {
        let Some(bus) = self.site.buses.get(position) else { return runtime };
        for (ix, (place, config)) in runtime.devices.iter().zip(self.site.devices_on(position)) {
            self.hub.with(*ix, |device| {
                let mut next = DeviceRuntime::new((place, config.clone()), Some(bus.id.clone()));
                next.inherit(device);
                *device = next;
            });
            runtime.handle.line.borrow_mut().handle_personal(*ix, config.is_personal());
        }
        runtime
    }

    /// Begins anew with the engine, which goes on from what it kept, and tells it what is known already.
    fn change_rules(&mut self) {
        let Prepared { mut engine, trouble, key } =
            super::setup::engine(&self.site, &self.hub.store.borrow(), self.hub.next_run());
        self.credentials_trouble = trouble;
        // Without its keys at the start, the box took no credentials until now; with another key it seals anew.
        if let Some(key) = key
            && !self.intake.as_ref().is_some_and(|intake| intake.seals_with(&key))
        {
            self.intake = Some(Intake::spawn(self.hub.clone(), &self.site.store.dir, key));
        }
        let now = self.hub.clock.now();
        engine.handle_start(now);
        engine.handle_link(now, self.link_up);
        for ix in self.indexes() {
            self.hub.with(ix, |device| {
                if let Some(online) = device.online() {
                    engine.handle_device_state(now, device.place, online, "");
                }
                let mut polls = BTreeMap::<Mono, Vec<PointReading>>::new();
                for (at, reading) in device.latest() {
                    polls.entry(at).or_default().push(reading);
                }
                for (at, readings) in &polls {
                    engine.handle_sample(now, device.place, *at, readings);
                }
            });
        }
        self.hub.replace_engine(engine);
    }

    fn change_uplink(&mut self, before: &Site, diff: &SiteDiff) {
        match (self.uplink_settings(), &self.uplink) {
            (Some(settings), Some(uplink)) => {
                if diff.uplink {
                    uplink.reload(settings);
                }
                if diff.inventory {
                    uplink.set_inventory(Rc::new(SiteInventory(self.site.clone())));
                }
            }
            (Some(_), None) => self.start_uplink(),
            (None, Some(uplink)) => {
                let leaving = uplink.clone();
                tokio::task::spawn_local(async move { leaving.drain(super::run::DRAIN).await });
                tracing::info!(brokers = before.uplink.as_ref().map_or(0, |u| u.brokers.len()), "the link is closed");
                self.uplink = None;
                self.link_up = false;
                self.hub.set_uplink(None);
                self.hub.decide(|engine, now| engine.handle_link(now, false));
                let now = self.hub.clock.mono();
                self.hub.store.borrow_mut().handle_link(now, false);
            }
            (None, None) => {}
        }
    }
}
