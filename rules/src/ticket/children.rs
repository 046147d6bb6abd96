//! Which alarms are children of which ticket: one small document each, so that thousands cost no more than they must.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::order::TicketChildren;
use crate::Effects;
use crate::words::{AlarmId, Occurrence};

/// The prefix of their keys.
pub(super) const CHILD_KEY: &str = "ticket-child/";
/// Most children of all tickets.
pub(super) const CHILDREN_MAX: usize = 20_000;
/// Most bytes of a key.
const KEY_BYTES: usize = 256;
/// Most names in a list.
const LISTED_MAX: usize = 64;
/// Most bytes of the names in a list.
const LISTED_BYTES: usize = 3_000;

/// An alarm that another one explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Child {
    /// The ticket of its cause.
    pub(super) ticket: u64,
    pub(super) occurrence: Occurrence,
    /// Its condition holds.
    pub(super) active: bool,
}

/// All children of all tickets.
#[derive(Debug, Default)]
pub(super) struct Children {
    all: BTreeMap<AlarmId, Child>,
    by_ticket: BTreeMap<u64, Members>,
}

#[derive(Debug, Default)]
struct Members {
    alarms: BTreeSet<AlarmId>,
    active: usize,
}

impl Children {
    pub(super) fn child(&self, alarm: &AlarmId) -> Option<&Child> {
        self.all.get(alarm)
    }

    /// Takes one back, without keeping it again.
    pub(super) fn restore(&mut self, alarm: AlarmId, child: Child) {
        self.detach(&alarm);
        let members = self.by_ticket.entry(child.ticket).or_default();
        members.active += usize::from(child.active);
        members.alarms.insert(alarm.clone());
        self.all.insert(alarm, child);
    }

    fn detach(&mut self, alarm: &AlarmId) -> Option<Child> {
        let child = self.all.remove(alarm)?;
        if let Some(members) = self.by_ticket.get_mut(&child.ticket) {
            members.alarms.remove(alarm);
            members.active -= usize::from(child.active);
            if members.alarms.is_empty() {
                self.by_ticket.remove(&child.ticket);
            }
        }
        Some(child)
    }

    /// Sets what is known of a child. False when there is no room for a new one, or its name makes no key.
    pub(super) fn set(&mut self, alarm: &AlarmId, child: Child, effects: &mut Effects) -> bool {
        let key = format!("{CHILD_KEY}{alarm}");
        if key.len() > KEY_BYTES {
            return false;
        }
        match self.all.get(alarm) {
            Some(old) if *old == child => return true,
            None if self.all.len() >= CHILDREN_MAX => return false,
            Some(_) | None => {}
        }
        self.restore(alarm.clone(), child);
        effects.keep(key, &child);
        true
    }

    /// Lets one go.
    pub(super) fn release(&mut self, alarm: &AlarmId, effects: &mut Effects) -> Option<Child> {
        let child = self.detach(alarm)?;
        effects.forget(format!("{CHILD_KEY}{alarm}"));
        Some(child)
    }

    /// Lets all children of a ticket go.
    pub(super) fn release_all(&mut self, ticket: u64, effects: &mut Effects) {
        for alarm in self.of(ticket) {
            self.release(&alarm, effects);
        }
    }

    /// The tickets that have children.
    pub(super) fn tickets(&self) -> Vec<u64> {
        self.by_ticket.keys().copied().collect()
    }

    /// The children of a ticket.
    pub(super) fn of(&self, ticket: u64) -> Vec<AlarmId> {
        self.by_ticket.get(&ticket).map(|members| members.alarms.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn count(&self, ticket: u64) -> usize {
        self.by_ticket.get(&ticket).map_or(0, |members| members.alarms.len())
    }

    /// True while the condition of any child of the ticket holds.
    pub(super) fn any_active(&self, ticket: u64) -> bool {
        self.by_ticket.get(&ticket).is_some_and(|members| members.active > 0)
    }

    /// The list that a ticket carries.
    pub(super) fn listed(&self, ticket: u64) -> TicketChildren {
        let Some(members) = self.by_ticket.get(&ticket) else { return TicketChildren::default() };
        let mut room = LISTED_BYTES;
        let mut alarms = Vec::new();
        for alarm in members.alarms.iter().take(LISTED_MAX) {
            let Some(left) = room.checked_sub(alarm.class.len() + alarm.source.len() + 4) else { break };
            room = left;
            alarms.push(alarm.clone());
        }
        TicketChildren { count: members.alarms.len(), alarms }
    }
}
