//! Which reads a meter is polled with, and how they change when it refuses a block.

use gatehouse_core::driver::Driver;
use gatehouse_core::{PointIx, StepId};

use super::Dlt645Meter;
use super::request::BLOCK_ITEMS;
use super::step::{ACTION, PLACE, ReadStep, Step, base_of, frame_of, place};
use crate::dlt645::catalog::{self, Axis};
use crate::dlt645::load;
use crate::dlt645::words::says_no_data;
use crate::summary::{Asked, StepSummary};

impl Dlt645Meter {
    /// One read for each identifier, in the order of the points.
    pub(super) fn plan(&self, points: &[PointIx]) -> Vec<ReadStep> {
        let mut planned: Vec<(u32, Vec<PointIx>)> = Vec::new();
        for &point in points {
            let Some(spec) = self.points.get(usize::from(point.0)) else { continue };
            match planned.iter_mut().find(|(di, _)| *di == spec.di) {
                Some((_, points)) => points.push(point),
                None => planned.push((spec.di, vec![point])),
            }
        }
        planned.into_iter().map(|(di, points)| self.read(di, points, 0)).collect()
    }

    /// The read of an identifier from an item of its block on.
    fn read(&self, di: u32, mut points: Vec<PointIx>, first: u8) -> ReadStep {
        points.sort_unstable();
        let block =
            catalog::layout(self.settings.edition, di).filter(|layout| layout.is_block).map(|layout| layout.axis);
        let specs = || points.iter().filter_map(|point| self.points.get(usize::from(point.0)));
        let size = specs().map(|spec| usize::from(spec.item_bytes)).max().unwrap_or(0);
        let items = specs().map(|spec| usize::from(spec.item) + 1).max().unwrap_or(1);
        let expected = if block == Some(Axis::LoadRecord) {
            load::RECORD_BYTES
        } else if block.is_some() {
            size * items.max(BLOCK_ITEMS)
        } else {
            size
        };
        ReadStep { di, points: points.into(), first, block, expected }
    }

    /// The requests of each group, as they are planned now.
    pub fn plan_summary(&self) -> Vec<Vec<StepSummary>> {
        let summary = |&id: &StepId| {
            let read = self.reads.get((id.0 & PLACE) as usize)?;
            let shape = self.shape(id);
            Some(StepSummary {
                asked: Asked::Dlt645 { edition: self.settings.edition, di: read.di },
                points: read.points.to_vec(),
                request_bytes: shape.request_bytes,
                reply_bytes: shape.reply_bytes,
            })
        };
        self.groups.iter().map(|steps| steps.iter().filter_map(summary).collect()).collect()
    }

    /// Reads of single items in place of a block that the meter does not have.
    pub(super) fn split(&mut self, step: StepId, code: u8, instead: &mut Vec<StepId>) {
        // A refused further frame says nothing of the block.
        let refuses = |code: u8| frame_of(step) == 0 && says_no_data(code);
        let Some(read) = self.read_step(step).filter(|read| read.block.is_some() && refuses(code)).cloned() else {
            return;
        };
        let edition = self.settings.edition;
        let mut singles: Vec<(u32, u8, Vec<PointIx>)> = Vec::new();
        for &point in &read.points {
            let Some(item) = self.points.get(usize::from(point.0)).map(|spec| spec.item) else { return };
            let Some(di) = catalog::single(edition, read.di, item) else { return };
            match singles.iter_mut().find(|(known, ..)| *known == di) {
                Some((.., points)) => points.push(point),
                None => singles.push((di, item, vec![point])),
            }
        }
        let reads: Vec<ReadStep> = singles.into_iter().map(|(di, item, points)| self.read(di, points, item)).collect();
        let is_action = step.0 & ACTION != 0;
        let first = if is_action { self.actions.len() } else { self.reads.len() };
        let ids: Vec<StepId> = (first..first + reads.len()).map(|at| StepId(place(at) | step.0 & ACTION)).collect();
        if is_action {
            self.actions.extend(reads.into_iter().map(Step::Read));
        } else {
            self.reads.extend(reads);
            for group in &mut self.groups {
                if let Some(at) = group.iter().position(|planned| *planned == base_of(step)) {
                    group.splice(at..=at, ids.iter().copied());
                }
            }
        }
        instead.extend(ids);
    }
}
