//! What a meter answers, put together from as many frames as it takes.

use gatehouse_core::driver::Driver;
use gatehouse_core::{NoData, PointIx, PointReading, StepId};

use super::step::{ReadStep, Step, base_of, frame_of};
use super::{Dlt645Meter, recall};
use crate::dlt645::words::says_no_data;

/// Most frames of one answer.
const MAX_FRAMES: u32 = 32;

/// An answer of several frames, as far as it has come.
///
/// What was decoded last is only `staged`; it counts once the line has taken the frame and asks for the next.
#[derive(Debug, Default)]
pub(super) struct LongAnswer {
    pub(super) step: Option<StepId>,
    pub(super) data: Vec<u8>,
    pub(super) staged: Vec<u8>,
    pub(super) more: bool,
    /// DD MM YY that a [`Step::Clock`] read.
    pub(super) date: Option<[u8; 3]>,
    /// ss mm hh that a [`Step::Clock`] read.
    pub(super) time: Option<[u8; 3]>,
}

impl Dlt645Meter {
    /// Appends the readings of the whole answer to a read.
    fn read_values(&self, read: &ReadStep, data: &[u8], readings: &mut Vec<PointReading>) {
        for &point in &read.points {
            let Some(spec) = self.points.get(usize::from(point.0)) else { continue };
            readings.push(spec.read(point, data, read.first, read.block));
        }
    }

    /// Takes the data of a sound reply.
    pub(super) fn take(&self, step: StepId, payload: &[u8], more: bool, readings: &mut Vec<PointReading>) {
        let mut answer = self.answer.borrow_mut();
        // What an earlier frame left open counts no more if that frame was not taken.
        answer.more = false;
        if !self.may_be_long(step) {
            return self.take_action(step, payload, &mut answer, readings);
        }
        if frame_of(step) == 0 && !more {
            return self.take_whole(step, payload, readings);
        }
        let LongAnswer { step: of, data, staged, .. } = &mut *answer;
        staged.clear();
        if frame_of(step) > 0 {
            if *of != Some(base_of(step)) {
                let mut points = Vec::new();
                self.points(step, &mut points);
                let lost = |point: PointIx| PointReading::new(point, Err(NoData::BadReply));
                return readings.extend(points.into_iter().map(lost));
            }
            staged.extend_from_slice(data);
        }
        staged.extend_from_slice(payload);
        answer.more = more && frame_of(step) < MAX_FRAMES;
        if !answer.more {
            self.take_whole(step, &answer.staged, readings);
        }
    }

    /// Whether an answer may come in several frames.
    fn may_be_long(&self, step: StepId) -> bool {
        self.read_step(step).is_some() || matches!(self.action(step), Some(Step::Records { .. }))
    }

    /// Whether a refusal says that the meter has not kept what it is asked for, load records or a freeze, which is an answer
    /// as good as any. A refused further frame says nothing of them.
    pub(super) fn kept_none(&self, step: StepId, code: u8) -> bool {
        let asks_kept =
            matches!(self.action(step), Some(Step::Records { .. } | Step::FreezeTime { .. } | Step::Frozen { .. }));
        frame_of(step) == 0 && says_no_data(code) && asks_kept
    }

    /// Takes such a refusal: there is no record, and each value of a freeze is not available.
    pub(super) fn take_none(&self, step: StepId, readings: &mut Vec<PointReading>) {
        if self.may_be_long(step) {
            return self.take(step, &[], false, readings);
        }
        let mut points = Vec::new();
        self.points(step, &mut points);
        readings.extend(points.into_iter().map(|point| PointReading::new(point, Err(NoData::NotAvailable))));
    }

    /// Appends the readings of a whole answer that may have come in several frames.
    fn take_whole(&self, step: StepId, data: &[u8], readings: &mut Vec<PointReading>) {
        if let Some(read) = self.read_step(step) {
            self.read_values(read, data, readings);
        } else if let Some(Step::Records { points, .. }) = self.action(step) {
            recall::take_records(points, data, readings);
        }
    }
}
