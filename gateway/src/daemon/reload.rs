//! Applies a changed site file to the running daemon: what did not change goes on and misses no poll.

use std::rc::Rc;

use gatehouse_config::{Site, SiteDiff};
use serde_json::json;

use super::device::DeviceRuntime;
use super::report::SiteInventory;
use super::run::{BusRuntime, Daemon};
use crate::api::Refusal;

impl Daemon {
    /// Loads the site file anew; gives one sentence on what changed. A bad file changes nothing.
    ///
    /// # Errors
    /// The problems of the file, or what cannot change while the daemon runs.
    pub fn reload(&mut self, issuer: &str) -> Result<String, Refusal> {
        let new = super::load(&self.path).map_err(|problems| Refusal::new(422, "configuration", problems));
        let new = new.inspect_err(|refusal| {
            self.hub.audit("reload", &json!({ "issuer": issuer, "outcome": "refused", "detail": refusal.message }));
        })?;
        let diff = self.site.diff(&new);
        if !diff.restart.is_empty() {
            let tables = diff.restart.join(", ");
            let text = format!("{tables} cannot change while the daemon runs: restart it, or undo that part");
            return Err(Refusal::new(409, "configuration", text));
        }
        if let (true, Some(uplink)) = (diff.is_empty(), &self.uplink) {
            // Files that the site file only names may have changed.
            uplink.reconnect();
        }
        let before = std::mem::replace(&mut self.site, Rc::new(new));
        self.change_buses(&diff)?;
        self.change_uplink(&before, &diff);
        let (kept, changed) = (diff.unchanged.len(), diff.changed.len());
        let (added, removed) = (diff.added.len(), diff.removed.len());
        let message = if diff.is_empty() {
            "nothing in the site file has changed; certificates and passwords are read again".to_owned()
        } else {
            format!("buses: {kept} go on, {changed} changed, {added} added, {removed} removed")
        };
        tracing::info!(kept, changed, added, removed, "the site file is in use");
        self.hub.audit("reload", &json!({ "issuer": issuer, "outcome": "done", "detail": message }));
        Ok(message)
    }

    fn change_buses(&mut self, diff: &SiteDiff) -> Result<(), Refusal> {
        let mut old: Vec<Option<BusRuntime>> = std::mem::take(&mut self.buses).into_iter().map(Some).collect();
        let mut take = |at: usize| old.get_mut(at).and_then(Option::take);
        let mut buses: Vec<(usize, BusRuntime)> = Vec::new();
        for (from, to) in &diff.unchanged {
            if let Some(runtime) = take(*from) {
                buses.push((*to, self.keep_bus(*to, runtime)));
            }
        }
        for (from, to) in &diff.changed {
            buses.push((*to, self.replace_bus(*to, take(*from))?));
        }
        for to in &diff.added {
            buses.push((*to, self.replace_bus(*to, None)?));
        }
        for ix in old.iter().flatten().flat_map(|bus| bus.devices.iter()) {
            self.hub.remove(*ix);
        }
        buses.sort_by_key(|(at, _)| *at);
        self.buses = buses.into_iter().map(|(_, bus)| bus).collect();
        Ok(())
    }

    /// Only titles, labels and the like may differ: the line and its task go on.
    fn keep_bus(&self, position: usize, runtime: BusRuntime) -> BusRuntime {
        let Some(bus) = self.site.buses.get(position) else { return runtime };
        for (ix, (_, config)) in runtime.devices.iter().zip(self.site.devices_on(position)) {
            self.hub.with(*ix, |device| {
                let mut next = DeviceRuntime::new(config.clone(), bus.id.clone());
                next.inherit(device);
                *device = next;
            });
        }
        runtime
    }

    /// A new task for the bus; devices that it had before keep what is known of them.
    fn replace_bus(&self, position: usize, old: Option<BusRuntime>) -> Result<BusRuntime, Refusal> {
        let before: Vec<DeviceRuntime> =
            old.iter().flat_map(|bus| bus.devices.iter()).filter_map(|ix| self.hub.remove(*ix)).collect();
        drop(old);
        let started = self.start_bus(position).map_err(|e| Refusal::new(500, "unexpected", format!("{e:#}")))?;
        for ix in &started.devices {
            self.hub.with(*ix, |device| {
                if let Some(same) = before.iter().find(|b| b.config.id == device.config.id) {
                    device.inherit(same);
                }
            });
        }
        Ok(started)
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
                self.hub.set_uplink(None);
            }
            (None, None) => {}
        }
    }
}
