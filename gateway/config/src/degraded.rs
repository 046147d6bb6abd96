//! What changes on a site while it is cut off from the core.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::Name;
use gatehouse_rules::access::{Decide, Offline};
use gatehouse_rules::ticket::When;

use crate::site::Site;

/// What is different from the time on that the site counts as cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Degraded {
    /// The link has to be down for so long; without an uplink the site is cut off always.
    pub after: Duration,
    /// Points that are polled otherwise, until the site is online again: in the order of the file.
    pub intervals: Vec<IntervalChange>,
    /// Rules whose conditions ask for the mode.
    pub rules: Vec<String>,
    /// Steps of escalations that are taken only then.
    pub escalations: Vec<Escalation>,
    /// Gates where the core decides, and by what the box does then.
    pub gates: Vec<(String, Offline)>,
}

/// Points of one device that are polled otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalChange {
    /// The device.
    pub device: Name,
    /// How many of its points.
    pub points: usize,
    /// Time from one poll to the next while the core can be reached.
    pub from: Duration,
    /// The same while it cannot.
    pub to: Duration,
}

/// A step of an escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// The kind of ticket.
    pub kind: Name,
    /// Which of its steps, from 1.
    pub step: usize,
    /// Time since the ticket waits for somebody.
    pub after: Duration,
    /// What is switched, by name.
    pub outputs: Vec<Name>,
    /// Whether the ticket stands on the guard's status.
    pub guard_message: bool,
}

impl Degraded {
    /// True when nothing is different.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty() && self.rules.is_empty() && self.escalations.is_empty() && self.gates.is_empty()
    }
}

impl Site {
    /// What changes while the site is cut off.
    pub fn degraded(&self) -> Degraded {
        let change = |device: &crate::Device, group: &crate::Group| {
            let to = group.interval_degraded?;
            Some(IntervalChange { device: device.id.clone(), points: group.points.len(), from: group.interval, to })
        };
        let groups = self.devices.iter().flat_map(|device| device.groups.iter().map(move |group| (device, group)));
        let rules = self.rules.rules.iter().filter(|rule| {
            rule.instances
                .iter()
                .any(|one| one.when.inputs().mode || one.clear_when.as_ref().is_some_and(|clear| clear.inputs().mode))
        });
        let steps = self.rules.tickets.kinds.iter().flat_map(|(kind, rules)| {
            let steps = (1..).zip(&rules.escalation).filter(|(_, step)| step.when == When::Offline);
            steps.map(|(number, step)| Escalation {
                kind: kind.clone(),
                step: number,
                after: step.after,
                outputs: step.outputs.iter().map(|output| output.name.clone()).collect(),
                guard_message: step.guard_message,
            })
        });
        let gates = self.rules.access.iter().flat_map(|access| &access.gates);
        let gates = gates.filter(|gate| matches!(gate.policy.decide, Decide::Core { .. }));
        Degraded {
            after: self.rules.mode.down,
            intervals: groups.filter_map(|(device, group)| change(device, group)).collect(),
            rules: rules.map(|rule| rule.alarm.class.clone()).collect(),
            escalations: steps.collect(),
            gates: gates.map(|gate| (gate.gate.clone(), gate.policy.offline)).collect(),
        }
    }

    /// How many points change from which interval to which one, while the site is cut off.
    pub fn interval_changes(&self) -> BTreeMap<(Duration, Duration), usize> {
        let mut changes = BTreeMap::new();
        for change in self.degraded().intervals {
            *changes.entry((change.from, change.to)).or_default() += change.points;
        }
        changes
    }
}
