//! Reads that a device refuses: split, remembered, and joined again around the point that was to blame.
//!
//! A device may refuse what it has, for example while it starts. So the whole read is tried again now and then, and
//! its parts stay in the plan for the case that it is refused again.

use gatehouse_core::{PointIx, StepId};

use super::action::{FIRST, action_id};
use super::{ModbusDevice, ReadStep, Slot, Step, id_of};
use crate::modbus::planner::Read;

/// Illegal data address, illegal data value: what a device answers to a read across registers that it does not have,
/// or of more registers than it gives.
const SPLITTING: [u8; 2] = [2, 3];
/// Most joins in a device's life. A device that refuses a joined read of what it answers in parts is left at the parts.
const MAX_JOINED: u8 = 64;

/// Polls after which a read that was split is tried whole again: one exception more in so many polls, at most.
pub(super) const RETRY_POLLS: u16 = 256;

impl ReadStep {
    /// Counts a poll; true when the whole read is to be sent in place of its parts.
    fn is_due_whole(&self) -> bool {
        if self.is_answered.get() {
            return true;
        }
        let left = self.until_retry.get();
        self.until_retry.set(if left == 0 { RETRY_POLLS } else { left - 1 });
        left == 0
    }
}

impl ModbusDevice {
    /// Appends the steps of a group: the parts of split reads, or in their place the whole where that is answered or
    /// due to be tried.
    pub(super) fn planned_steps(&self, group: usize, steps: &mut Vec<StepId>) {
        let Some(planned) = self.groups.get(group) else { return };
        let mut whole: Option<(u32, bool)> = None;
        for &step in planned {
            let Some(origin) = self.reads.get(step.0 as usize).map(|read| read.origin) else { continue };
            if step.0 == origin {
                steps.push(step);
                continue;
            }
            if let Some((of, is_whole)) = whole
                && of == origin
            {
                if !is_whole {
                    steps.push(step);
                }
                continue;
            }
            let is_whole = self.reads.get(origin as usize).is_some_and(ReadStep::is_due_whole);
            steps.push(if is_whole { StepId(origin) } else { step });
            whole = Some((origin, is_whole));
        }
    }

    /// Appends the parts that stand in the plan for a read that was split before; false if it was not.
    fn parts(&self, step: StepId, parts: &mut Vec<StepId>) -> bool {
        if self.groups.iter().any(|group| group.contains(&step)) {
            return false;
        }
        let is_part = |id: &&StepId| self.reads.get(id.0 as usize).is_some_and(|read| read.origin == step.0);
        parts.extend(self.groups.iter().flatten().filter(is_part));
        true
    }

    pub(super) fn split(&mut self, step: StepId, code: u8, instead: &mut Vec<StepId>) {
        if !SPLITTING.contains(&code) {
            return;
        }
        let is_action = step.0 >= FIRST;
        let read = match step.0.checked_sub(FIRST) {
            None => self.reads.get(step.0 as usize),
            Some(at) => self.actions.get(at as usize).and_then(|step| match step {
                Step::Read(read) => Some(read),
                Step::Write(_) | Step::Identify { .. } | Step::Registers(_) => None,
            }),
        };
        let Some(read) = read else { return };
        read.is_answered.set(false);
        read.until_retry.set(RETRY_POLLS);
        if !is_action && read.origin == step.0 && self.parts(step, instead) {
            return;
        }
        if read.is_joined {
            self.joined = MAX_JOINED;
        }
        let (table, origin) = (read.table, read.origin);
        let Some((low, high)) = self.halves(read) else {
            if !is_action {
                self.blame(step);
            }
            return;
        };
        if !self.cuts.contains(&(table, high.address)) {
            self.cuts.push((table, high.address));
        }
        let halves = [self.read_step(low, origin), self.read_step(high, origin)];
        let first = if is_action { self.actions.len() } else { self.reads.len() };
        for half in halves {
            if is_action {
                self.actions.push(Step::Read(half));
            } else {
                self.reads.push(half);
            }
        }
        let ids = [first, first + 1].map(|at| if is_action { action_id(at) } else { StepId(id_of(at)) });
        instead.extend(ids);
        for group in &mut self.groups {
            if let Some(at) = group.iter().position(|planned| *planned == step) {
                group.splice(at..=at, ids);
            }
        }
    }

    /// Two reads in place of one, cut at the point boundary nearest to its middle; `None` for what lies at one place.
    fn halves(&self, read: &ReadStep) -> Option<(Read, Read)> {
        let mut slots: Vec<Slot> = read.slots.to_vec();
        slots.sort_by_key(|slot| (slot.offset, slot.point));
        let middle = slots.len() / 2;
        let boundaries = (1..slots.len()).filter(|&at| slots[at].offset > slots[at - 1].offset);
        let at = boundaries.min_by_key(|at| at.abs_diff(middle))?;
        let (low, high) = slots.split_at(at);
        Some((self.read_of(read, low)?, self.read_of(read, high)?))
    }

    fn read_of(&self, read: &ReadStep, slots: &[Slot]) -> Option<Read> {
        let points: Vec<PointIx> = slots.iter().map(|slot| slot.point).collect();
        self.rules().read_all(&self.points, read.table, &points)
    }

    /// Marks a read that cannot be split, and joins the parts on either side of it that the device answers. Those
    /// before it in the same poll, those behind it at its next refusal.
    fn blame(&mut self, step: StepId) {
        let Some(read) = self.reads.get_mut(step.0 as usize) else { return };
        let (origin, table) = (read.origin, read.table);
        let cuts = [read.address, read.address.saturating_add(read.quantity)];
        let is_new = !std::mem::replace(&mut read.is_refused, true);
        for cut in cuts {
            if is_new && !self.cuts.contains(&(table, cut)) {
                self.cuts.push((table, cut));
            }
        }
        for group in 0..self.groups.len() {
            let Some(at) = self.groups[group].iter().position(|planned| *planned == step) else { continue };
            let joins = |id: &StepId| {
                self.reads.get(id.0 as usize).is_some_and(|read| read.origin == origin && read.is_answered.get())
            };
            let after = self.groups[group][at + 1..].iter().take_while(|id| joins(id)).count();
            let before = self.groups[group][..at].iter().rev().take_while(|id| joins(id)).count();
            // Behind first: it leaves the positions before it as they are.
            self.join(group, at + 1..at + 1 + after);
            self.join(group, at - before..at);
        }
    }

    /// Puts one read in place of several neighbours.
    fn join(&mut self, group: usize, range: std::ops::Range<usize>) {
        if range.len() < 2 || self.joined >= MAX_JOINED {
            return;
        }
        self.joined += 1;
        let parts: Vec<&ReadStep> =
            self.groups[group][range.clone()].iter().filter_map(|id| self.reads.get(id.0 as usize)).collect();
        let Some(&first) = parts.first() else { return };
        let points: Vec<PointIx> = parts.iter().flat_map(|part| part.slots.iter().map(|slot| slot.point)).collect();
        let Some(read) = self.rules().read_all(&self.points, first.table, &points) else { return };
        let (table, start, end) = (read.table, read.address, read.address.saturating_add(read.quantity));
        let id = StepId(id_of(self.reads.len()));
        let joined = ReadStep { is_joined: true, ..self.read_step(read, first.origin) };
        self.reads.push(joined);
        self.groups[group].splice(range, [id]);
        self.cuts.retain(|&(at, cut)| at != table || cut <= start || cut >= end);
    }
}
