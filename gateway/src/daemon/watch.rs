//! What the daemon looks at by itself and tells the engine: ports, foreign masters, the box's health, what the core is owed.

use std::time::Duration;

use gatehouse_core::{Lane, Mono, Stamp, Trust};
use gatehouse_rules::mode::Backlog;
use gatehouse_rules::words::Mode;
use gatehouse_rules::{Access, Engine};

use super::own_device::OwnDevice;
use super::run::Daemon;

/// A port that is gone for less is being opened again.
const PORT_GRACE: Duration = Duration::from_secs(5);

impl Daemon {
    /// Tells the engine which ports are there.
    pub(super) fn tell_ports(&self) {
        for (at, bus) in self.buses.iter().enumerate() {
            let port = bus.handle.port.borrow();
            // A port that is only just being opened is not gone.
            let gone = !port.open && port.error.is_some() && self.hub.clock.mono().since(port.since) >= PORT_GRACE;
            if port.open || gone {
                self.hub.decide(|engine, now| engine.handle_port(now, at, port.open));
            }
        }
    }

    /// Tells the engine on which buses somebody else asks.
    pub(super) fn tell_foreign_masters(&mut self, now: Mono) {
        for (at, bus) in self.buses.iter_mut().enumerate() {
            let there = bus.handle.line.borrow().has_foreign_master(now);
            if bus.foreign_master.replace(there) != Some(there) {
                self.hub.decide(|engine, now| engine.handle_foreign_master(now, at, there));
            }
        }
    }

    /// Tells the engine how the box is.
    pub(super) fn look_at_health(&mut self) {
        self.health_seen = self.hub.clock.mono();
        let mut health = super::health::look(&self.site.store.dir);
        let store = self.hub.store.borrow().status();
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let used = store.spool_bytes as f64 / store.max_bytes.max(1) as f64;
        health.spool_used = Some(used);
        health.store_trouble = store.troubles.into_iter().map(|trouble| trouble.text).next().unwrap_or_default();
        health.contact_trouble = self.own.as_ref().map(OwnDevice::trouble).unwrap_or_default();
        let now = self.hub.clock.now();
        if let Some(uplink) = &self.site.uplink {
            health.certificate_days = super::health::certificate_days(&uplink.tls, now);
        }
        if now.trust != Trust::Unset {
            health.calendar_days = self.hub.look(|engine| {
                let (calendar, zone) = engine.calendar();
                calendar.days_left(gatehouse_rules::schedule::local(now.wall, zone).date())
            });
        }
        health.credentials_trouble = self.credentials_trouble(now);
        self.hub.decide(|engine, now| engine.handle_box(now, &health));
    }

    /// Why nobody can be let in by a credential now; `""` where somebody can, and where the site has none.
    fn credentials_trouble(&self, now: Stamp) -> String {
        if self.site.access.is_none() {
            return String::new();
        }
        let second = now.wall.0.div_euclid(1_000_000);
        self.hub.look(|engine| match engine.access().map(Access::view) {
            None => self.credentials_trouble.clone(),
            Some(view) if view.version.is_some() => match view.expires_at {
                Some(end) if now.trust != Trust::Unset && i64::from(end) <= second => {
                    format!("version {} is too old: the core has sent no newer one", view.version.unwrap_or_default())
                }
                _ => String::new(),
            },
            Some(_) if self.credentials_trouble.is_empty() => "the core has sent none yet".to_owned(),
            Some(_) => self.credentials_trouble.clone(),
        })
    }

    /// Tells the engine what the core is owed, while it waits to hear that.
    pub(super) fn tell_backlog(&self) {
        if self.hub.look(Engine::mode) == Mode::Online {
            return;
        }
        let owed = |lane: Lane| {
            let store = self.hub.store.borrow();
            let up_to = self.owed_up_to.get(lane.index()).copied().unwrap_or_default();
            let first = store.next_unacked(lane, 1).filter(|first| *first <= up_to);
            first.map_or(0, |first| up_to - first + 1)
        };
        let backlog = Backlog {
            urgent: owed(Lane::Passages) + owed(Lane::Tickets) + owed(Lane::Alarms),
            billing: owed(Lane::Billing),
            telemetry: owed(Lane::Telemetry),
        };
        self.hub.decide(|engine, now| engine.handle_backlog(now, backlog));
    }
}
