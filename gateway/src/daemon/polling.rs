//! How often points are read, by the mode: changed once when the site is cut off, and once when it is online again.

use std::cmp::Reverse;

use gatehouse_config::Site;
use gatehouse_rules::Engine;
use gatehouse_rules::words::Mode;
use serde_json::{Value, json};

use super::run::{BusRuntime, Daemon};

/// So many changes are told in one event.
const TOLD: usize = 32;

impl Daemon {
    /// Has the buses poll as the mode asks for, and records it when that changed. Recovering is still cut off: the line
    /// to the core is busy with what it is owed.
    pub(super) fn follow_mode(&mut self) {
        let cut_off = self.hub.look(Engine::mode) != Mode::Online;
        if std::mem::replace(&mut self.cut_off, cut_off) == cut_off {
            return;
        }
        for bus in &self.buses {
            self.set_intervals(bus);
        }
        if let Some(fields) = changes(&self.site, cut_off) {
            tracing::info!(mode = mode(cut_off), "points are polled otherwise");
            self.hub.audit("intervals", &fields);
        }
    }

    /// Has a bus poll as the mode asks for.
    pub(super) fn set_intervals(&self, bus: &BusRuntime) {
        let now = self.hub.clock.mono();
        for ix in &bus.devices {
            let intervals = self.hub.with(*ix, |device| {
                let differs = device.config.groups.iter().any(|group| group.interval_degraded.is_some());
                differs.then(|| device.config.intervals(self.cut_off))
            });
            if let Some(intervals) = intervals.flatten() {
                bus.handle.set_intervals(now, *ix, &intervals);
            }
        }
    }
}

fn mode(cut_off: bool) -> &'static str {
    if cut_off { Mode::Degraded.as_str() } else { Mode::Online.as_str() }
}

/// The fields of the event that tells what changed; `None` where nothing did.
fn changes(site: &Site, cut_off: bool) -> Option<Value> {
    let mut changes: Vec<_> = site.interval_changes().into_iter().collect();
    changes.sort_by_key(|(_, points)| Reverse(*points));
    changes.truncate(TOLD);
    let change = |((online, degraded), points): &((std::time::Duration, std::time::Duration), usize)| {
        let (from, to) = if cut_off { (online, degraded) } else { (degraded, online) };
        json!({ "from_ms": from.as_millis(), "to_ms": to.as_millis(), "points": points })
    };
    let told: Vec<Value> = changes.iter().map(change).collect();
    (!told.is_empty()).then(|| json!({ "mode": mode(cut_off), "changes": told }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gatehouse_drivers::profile::Library;

    use super::*;

    fn site(devices: &str) -> Site {
        let text = format!("[site]\nid = \"box\"\n[[bus]]\nid = \"plant\"\ntcp = \"127.0.0.1:502\"\n{devices}");
        gatehouse_config::check("site.toml", &text, Path::new(""), &Library::new()).unwrap().site
    }

    #[test]
    fn what_is_polled_otherwise_is_told_by_numbers_of_points_both_ways() {
        let meter = |unit: u32, more: &str| {
            format!(
                "[[device]]\nid = \"meter-{unit}\"\nunit = {unit}\nprofile = \"acrel-adl400\"\n\
                 points = [\"voltage_l1\", \"power\"]\ninterval = \"1m\"\n{more}\n"
            )
        };
        let slower = "interval_degraded = \"5m\"";
        let own = "interval_degraded = \"5m\"\n[[device.point]]\nname = \"power\"\ninterval = \"10s\"";
        let site = site(&[meter(1, slower), meter(2, own), meter(3, "")].concat());
        let told = changes(&site, true).unwrap();
        let expected = json!({
            "mode": "degraded", "changes": [{ "from_ms": 60_000, "to_ms": 300_000, "points": 3 }],
        });
        assert_eq!(told, expected, "a point with an interval of its own keeps it");
        let back = changes(&site, false).unwrap();
        assert_eq!((&back["mode"], &back["changes"][0]["to_ms"]), (&json!("online"), &json!(60_000)));
    }

    #[test]
    fn a_site_that_is_polled_alike_in_both_modes_records_nothing() {
        let site =
            site("[[device]]\nid = \"m\"\nprofile = \"acrel-adl400\"\ninterval = \"1m\"\ninterval_degraded = \"1m\"\n");
        assert_eq!(changes(&site, true), None);
    }
}
