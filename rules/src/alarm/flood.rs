//! Floods: more alarms than one person can follow.

use std::collections::{BTreeMap, VecDeque};

use gatehouse_core::{Mono, Stamp};
use serde::{Deserialize, Serialize};

use crate::instant::Instant;

/// The grid on which floods begin and end, in seconds.
const GRID_S: u64 = 60;
/// The grid cells of the window: 10 minutes.
const WINDOW: u64 = 10;
/// More annunciations than this in the window begin a flood (EEMUA 191).
const BEGINS_ABOVE: u32 = 10;
/// Fewer than this end it.
const ENDS_BELOW: u32 = 5;
/// Groups that an event names; the others are summed up.
const GROUPS: usize = 20;

/// What there was of each class, and how many alarms each cause kept from being annunciated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Annunciations.
    pub total: u32,
    /// Annunciations by class; beyond 20 classes the rest is under `""`.
    pub classes: BTreeMap<String, u32>,
    /// Suppressed alarms by the alarm that explains them; beyond 20 the rest is under `""`.
    pub causes: BTreeMap<String, u32>,
}

/// A flood that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// Since when.
    pub since: Instant,
    /// What it consists of so far, the ten minutes before it included.
    pub groups: Groups,
}

/// Watches the rate of annunciations. Cells are `(60 k, 60 (k + 1)]`, so that the sum of ten of them is exactly the
/// window `(t - 600, t]` at each instant of the grid.
#[derive(Debug, Default)]
pub(super) struct FloodWatch {
    cells: VecDeque<(u64, Groups)>,
    on: Option<Flood>,
    check_at: Option<Mono>,
}

/// What happened at an instant of the grid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FloodTurn {
    Begins,
    Goes,
    Ends(Flood),
}

impl FloodWatch {
    /// A flood that was on when the box stopped.
    pub(super) fn restore(&mut self, flood: Flood) {
        self.on = Some(flood);
    }

    /// Begins to watch a restored flood.
    pub(super) fn wake(&mut self, now: Mono) {
        if self.on.is_some() {
            self.watch(now);
        }
    }

    pub(super) fn on(&self) -> Option<&Flood> {
        self.on.as_ref()
    }

    pub(super) fn due(&self) -> Option<Mono> {
        self.check_at
    }

    /// An alarm was annunciated.
    pub(super) fn annunciated(&mut self, now: Mono, class: &str) {
        self.groups(now, |groups| {
            groups.total = groups.total.saturating_add(1);
            add(&mut groups.classes, class, 1);
        });
    }

    /// An alarm was kept from being annunciated by `cause`.
    pub(super) fn suppressed(&mut self, now: Mono, cause: &str) {
        self.groups(now, |groups| add(&mut groups.causes, cause, 1));
    }

    /// Alarms in the last ten minutes.
    pub(super) fn in_window(&self, now: Mono) -> u32 {
        let first = (cell(now) + 1).saturating_sub(WINDOW);
        self.cells.iter().filter(|(at, _)| *at >= first).map(|(_, groups)| groups.total).sum()
    }

    /// Checks at the instants of the grid.
    pub(super) fn tick(&mut self, now: Stamp) -> Option<FloodTurn> {
        let at = self.check_at.filter(|at| *at <= now.mono)?;
        // A late call checks the latest instant that has passed.
        let at = at.max(Mono::from_millis(now.mono.0 / 1_000_000 / 1000 / GRID_S * GRID_S * 1000));
        let last = at.0 / (GRID_S * 1_000_000_000);
        self.cells.retain(|(cell, _)| *cell + WINDOW >= last);
        let count: u32 = self.cells.iter().filter(|(cell, _)| *cell < last).map(|(_, groups)| groups.total).sum();
        self.check_at = None;
        let turn = match &self.on {
            None if count > BEGINS_ABOVE => {
                let mut groups = Groups::default();
                for (_, cell) in &self.cells {
                    groups.merge(cell);
                }
                self.on = Some(Flood { since: now.into(), groups });
                Some(FloodTurn::Begins)
            }
            None => None,
            Some(_) if count < ENDS_BELOW => self.on.take().map(FloodTurn::Ends),
            Some(_) => Some(FloodTurn::Goes),
        };
        if self.on.is_some() || !self.cells.is_empty() {
            self.check_at = Some(Mono(at.0 + GRID_S * 1_000_000_000));
        }
        turn
    }

    fn groups(&mut self, now: Mono, note: impl Fn(&mut Groups)) {
        let at = cell(now);
        if self.cells.back().is_none_or(|(last, _)| *last < at) {
            self.cells.push_back((at, Groups::default()));
            self.cells.retain(|(old, _)| *old + WINDOW >= at);
        }
        if let Some((_, groups)) = self.cells.back_mut() {
            note(groups);
        }
        if let Some(flood) = &mut self.on {
            note(&mut flood.groups);
        }
        self.watch(now);
    }

    fn watch(&mut self, now: Mono) {
        let next = Mono((cell(now) + 1) * GRID_S * 1_000_000_000);
        self.check_at = self.check_at.or(Some(next));
    }
}

impl Groups {
    fn merge(&mut self, other: &Groups) {
        self.total = self.total.saturating_add(other.total);
        for (class, count) in &other.classes {
            add(&mut self.classes, class, *count);
        }
        for (cause, count) in &other.causes {
            add(&mut self.causes, cause, *count);
        }
    }
}

fn add(groups: &mut BTreeMap<String, u32>, name: &str, count: u32) {
    let name = if groups.len() < GROUPS || groups.contains_key(name) { name } else { "" };
    let sum = groups.entry(name.to_owned()).or_default();
    *sum = sum.saturating_add(count);
}

/// The cell `(60 k, 60 (k + 1)]` of an instant.
fn cell(at: Mono) -> u64 {
    at.0.saturating_sub(1) / (GRID_S * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Source: reference machine of the protocol hand-over.
    const SCENARIOS: &str = include_str!("../../vectors/alarm-scenarios.json");

    fn stamp(second: u64) -> Stamp {
        Stamp { mono: Mono::from_millis(second * 1000), ..Stamp::default() }
    }

    #[test]
    fn the_reference_floods_begin_and_end_on_the_grid() {
        let file: Value = serde_json::from_str(SCENARIOS).unwrap();
        for case in file["flood"].as_array().unwrap() {
            let times: Vec<u64> =
                case["alarm_times_s"].as_array().unwrap().iter().map(|t| t.as_u64().unwrap()).collect();
            let mut watch = FloodWatch::default();
            let mut told = Vec::new();
            for second in 0..2000 {
                for _ in times.iter().filter(|t| **t == second) {
                    watch.annunciated(stamp(second).mono, "leak");
                }
                match watch.tick(stamp(second)) {
                    Some(FloodTurn::Begins) => told.push(json!(["start", second])),
                    Some(FloodTurn::Ends(flood)) => {
                        assert_eq!(flood.groups.total, 12);
                        told.push(json!(["end", second]));
                    }
                    Some(FloodTurn::Goes) | None => {}
                }
            }
            assert_eq!(Value::from(told), case["flood_events"], "{}", case["id"]);
            assert_eq!(watch.due(), None, "a quiet site wakes nobody");
        }
    }

    #[test]
    fn more_groups_than_an_event_holds_are_summed_up() {
        let mut groups = BTreeMap::new();
        for i in 0..100 {
            add(&mut groups, &format!("class-{i}"), 1);
        }
        assert_eq!(groups.len(), GROUPS + 1);
        assert_eq!(groups.get(""), Some(&80));
    }
}
