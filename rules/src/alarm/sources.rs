//! How alarms come and go: the start, a changed configuration, and conditions that nobody announced.

use std::sync::Arc;

use gatehouse_core::{Lane, Stamp};

use super::Alarms;
use super::event::{AlarmDocument, Why};
use super::instance::{Instance, Run};
use super::kept::{ALARM, KeptAlarm};
use super::spec::{self, Layout, MAX_ALARMS};
use crate::catalog::Catalog;
use crate::words::{AlarmChange, AlarmId, AlarmState, Occurrence};

/// From so many alarms without a source on, those at rest give their place to new ones.
const FOUND: usize = 256;

impl Alarms {
    /// Lays out alarms that all are at rest.
    pub(super) fn lay_out(&mut self, layout: Layout, catalog: &Catalog) {
        let Layout { specs, seats } = layout;
        self.specs = specs;
        self.devices = catalog.devices.iter().map(|device| device.id.clone()).collect();
        self.instances = Vec::with_capacity(seats.len());
        self.index.clear();
        self.timers.clear();
        let mut links = Vec::new();
        for (ix, seat) in seats.into_iter().enumerate() {
            let id = Arc::new(seat.id);
            self.index.insert(id.clone(), ix);
            links.extend(seat.parents.iter().map(|parent| (*parent, ix)));
            self.instances.push(Instance {
                id,
                class: seat.class,
                device: seat.device,
                on_delay: seat.on_delay,
                parents: seat.parents,
                children: Vec::new(),
                watch: seat.watch,
                found: false,
                run: Run::new(),
            });
        }
        for (parent, child) in links {
            self.instances[parent].children.push(child);
        }
    }

    /// To be called first by each `handle_*`: at the first call after the start what was restored takes its place; when
    /// the clock is trusted otherwise than before, spans that began in another boot are counted anew.
    pub(super) fn wake(&mut self, now: &Stamp) {
        if self.awake {
            if self.trust != now.trust {
                self.trust = now.trust;
                self.rebase_all(now);
            }
            return;
        }
        self.awake = true;
        self.trust = now.trust;
        self.windows.begin(now.mono);
        self.flood.wake(now.mono);
        for (id, kept) in std::mem::take(&mut self.restored) {
            let used = kept.occurrence.map_or(0, |occurrence| occurrence.0.saturating_add(1));
            self.next_occurrence = self.next_occurrence.max(used);
            let known = self.index.get(&id).copied();
            match known.or_else(|| if kept.found { self.seat_found(&id) } else { None }) {
                Some(ix) => self.instances[ix].run = Run::restored(kept, now.mono),
                None => self.close(now, &id, &kept),
            }
        }
        self.settle(now);
    }

    /// Takes a changed layout; what stays keeps its state.
    pub(super) fn relay(&mut self, now: &Stamp, layout: Layout, catalog: &Catalog) {
        let priorities: Vec<_> = self.specs.iter().map(|spec| spec.priority).collect();
        let old = std::mem::take(&mut self.instances);
        self.lay_out(layout, catalog);
        for instance in old {
            let mut run = instance.run;
            run.due = None;
            let known = self.index.get(&instance.id).copied();
            let seat = match known {
                Some(ix) => Some(ix),
                None if run.at_rest() => continue,
                None if instance.found => self.seat_found(&instance.id),
                None => None,
            };
            if let Some(ix) = seat {
                self.instances[ix].run = run;
            } else {
                self.close(now, &instance.id, &run.document(priorities[instance.class], instance.found));
            }
        }
        self.settle(now);
    }

    /// Makes an alarm that no source stands for; `None` when its class is unknown or there is no room.
    pub(super) fn seat_found(&mut self, id: &AlarmId) -> Option<usize> {
        let class = self.specs.iter().position(|spec| spec.class == id.class)?;
        if spec::too_long(id).is_some() {
            return None;
        }
        let on_delay = if self.specs[class].life_safety { Default::default() } else { self.specs[class].on_delay };
        let id = Arc::new(id.clone());
        let instance = Instance {
            id: id.clone(),
            class,
            device: None,
            on_delay,
            parents: Vec::new(),
            children: Vec::new(),
            watch: None,
            found: true,
            run: Run::new(),
        };
        let found = self.instances.iter().filter(|instance| instance.found).count();
        let idle = |instance: &Instance| instance.found && instance.run.at_rest() && instance.run.due.is_none();
        let spare = (found >= FOUND).then(|| self.instances.iter().position(idle)).flatten();
        let ix = match spare {
            Some(ix) => {
                let old = std::mem::replace(&mut self.instances[ix], instance);
                self.index.remove(&old.id);
                ix
            }
            None if self.instances.len() < MAX_ALARMS => {
                self.instances.push(instance);
                self.instances.len() - 1
            }
            None => return None,
        };
        self.index.insert(id, ix);
        Some(ix)
    }

    /// Brings everything in line with what parents, clocks and missing data now say.
    fn settle(&mut self, now: &Stamp) {
        self.rebase_all(now);
        for ix in 0..self.instances.len() {
            self.explain(now, ix);
            self.turn_watch(now, ix);
            if !self.instances[ix].run.chatter.is_on() {
                self.tell_collapsed(now, ix);
            }
            self.arm(ix);
        }
    }

    /// Ends an alarm that the configuration has no more.
    fn close(&mut self, now: &Stamp, id: &AlarmId, kept: &KeptAlarm) {
        let document = AlarmDocument {
            alarm: id,
            change: Why::Removed,
            occurrence: kept.occurrence,
            meant: None,
            from: kept.told,
            to: AlarmState::Normal,
            active: false,
            priority: kept.priority,
            message: &kept.message,
            instruction: "",
            device: None,
            cause: None,
            drill: kept.drill,
            flood: false,
            collapsed: kept.collapsed,
            who: None,
            comment: None,
            until_s: None,
            until: None,
        };
        self.effects.event(Lane::Alarms, *now, "alarm", &document);
        self.effects.forget(format!("{ALARM}{id}"));
        self.changes.push_back(AlarmChange {
            id: id.clone(),
            occurrence: kept.occurrence.unwrap_or(Occurrence(0)),
            from: kept.standing.state(),
            to: AlarmState::Normal,
            active: false,
            at: *now,
            priority: kept.priority,
            message: kept.message.clone(),
            instruction: String::new(),
            device: None,
            cause: None,
            ticket: None,
            drill: kept.drill,
        });
    }
}
