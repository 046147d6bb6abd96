//! What alarms watch: the alarms of rules, and those that need none.

use std::collections::BTreeSet;

use gatehouse_core::DeviceIx;

use super::{Setup, bills, health};
use crate::alarm::{AlarmSource, AlarmSpec};
use crate::controller::{LIST_ALARM, ListOwner};
use crate::supply;
use crate::words::AlarmId;

/// All classes of alarms: those of rules, and those that need none.
pub(super) fn specs(setup: &Setup) -> Vec<AlarmSpec> {
    setup.rules.iter().map(|rule| rule.alarm.clone()).chain(setup.builtin.iter().cloned()).collect()
}

/// Everything that alarms watch.
pub(super) fn sources(setup: &Setup) -> Vec<AlarmSource> {
    let mut sources = health::sources(&setup.catalog, setup.mains.as_ref());
    let supplied = setup.supply.devices.keys().filter_map(|ix| Some((*ix, setup.catalog.device(*ix)?)));
    sources.extend(supplied.map(|(ix, device)| AlarmSource {
        id: health::id(supply::UNCONFIRMED, &device.id),
        device: Some(ix),
        parents: Vec::new(),
        data_parents: Vec::new(),
    }));
    let kept = setup.controllers.iter().filter(|spec| spec.cards == ListOwner::Box);
    sources.extend(kept.map(|spec| AlarmSource {
        id: health::id(LIST_ALARM, &spec.id),
        device: Some(spec.device),
        parents: Vec::new(),
        data_parents: Vec::new(),
    }));
    sources.extend(bills::sources(setup));
    for spec in &setup.rules {
        for rule in &spec.instances {
            let devices: BTreeSet<DeviceIx> = rule.when.inputs().points.iter().map(|point| point.device).collect();
            let lost = |ix: &DeviceIx| Some(health::id("device_offline", &setup.catalog.device(*ix)?.id));
            let mut data_parents: Vec<AlarmId> = devices.iter().filter_map(lost).collect();
            for device in devices {
                data_parents.extend(health::explains(&setup.catalog, setup.mains.as_ref(), device));
            }
            sources.push(AlarmSource {
                id: health::id(&spec.alarm.class, &rule.source),
                device: rule.device,
                parents: Vec::new(),
                data_parents,
            });
        }
    }
    sources
}
