//! The driver of one meter.

mod action;
mod answer;
mod plan;
mod recall;
mod request;
mod step;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Denial, FREEZE_TIME, LOAD_TIME, METER_CLOCK};
use gatehouse_core::{Decoded, Driver, LocalTime, PointIx, PointReading, Reject, StepId, StepShape, Value};

use super::control::{Access, read_time, set_time_data};
use super::frame::{self, AROUND, Address, function};
use super::point::{Dlt645Point, Edition};
use super::reply::{Answer, Expect};
pub use action::object_name;
use answer::LongAnswer;
use request::Request;
use step::{ACTION, FRAME_SHIFT, PLACE, ReadStep, Step, base_of, frame_of, place};

use crate::meter_frame::{self, Found};

/// Preamble bytes that a reply is reckoned with.
const REPLY_PREAMBLE: usize = 4;
/// Time for meters to act on a broadcast.
const BROADCAST_PAUSE: Duration = Duration::from_millis(500);

/// How a meter is addressed, and what it wants.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterSettings {
    /// The edition that it follows.
    pub edition: Edition,
    /// Its address, or a pattern where it is alone on its line.
    pub address: Address,
    /// Bytes FE before each request.
    pub preamble: u8,
    /// Silence that it needs between requests.
    pub pause: Duration,
    /// What control commands need; `None`: they are refused.
    pub access: Option<Access>,
}

/// One meter: its points, its plan of reads and the rules of its replies.
#[derive(Debug)]
pub struct Dlt645Meter {
    settings: MeterSettings,
    points: Arc<[Dlt645Point]>,
    groups: Vec<Vec<StepId>>,
    /// Every planned read there ever was, so that a [`StepId`] stays good while the plan changes under it.
    reads: Vec<ReadStep>,
    /// The steps of the action at hand.
    actions: Vec<Step>,
    answer: RefCell<LongAnswer>,
    /// The time that was last broadcast on the line, by whichever meter's driver.
    time_set: Option<LocalTime>,
    /// How long ago the action at hand was asked for.
    age: Duration,
}

impl Dlt645Meter {
    /// Plans the reads of a meter: one for each identifier. `groups` lists the points that are polled together.
    pub fn new(settings: MeterSettings, points: impl Into<Arc<[Dlt645Point]>>, groups: &[Vec<PointIx>]) -> Self {
        let mut meter = Dlt645Meter {
            settings,
            points: points.into(),
            groups: Vec::with_capacity(groups.len()),
            reads: Vec::new(),
            actions: Vec::new(),
            answer: RefCell::default(),
            time_set: None,
            age: Duration::ZERO,
        };
        for group in groups {
            let first = meter.reads.len();
            let reads = meter.plan(group);
            meter.reads.extend(reads);
            meter.groups.push((first..meter.reads.len()).map(|at| StepId(place(at))).collect());
        }
        meter
    }

    fn read_step(&self, step: StepId) -> Option<&ReadStep> {
        let at = (step.0 & PLACE) as usize;
        if step.0 & ACTION == 0 {
            return self.reads.get(at);
        }
        match self.actions.get(at) {
            Some(Step::Read(read)) => Some(read),
            _ => None,
        }
    }

    fn action(&self, step: StepId) -> Option<&Step> {
        if step.0 & ACTION == 0 { None } else { self.actions.get((step.0 & PLACE) as usize) }
    }
}

impl Driver for Dlt645Meter {
    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn station(&self) -> u64 {
        let [a0, a1, a2, a3, a4, a5] = self.settings.address.wire();
        u64::from_le_bytes([a0, a1, a2, a3, a4, a5, 0, 0x64])
    }

    fn group_steps(&self, group: usize, steps: &mut Vec<StepId>) {
        steps.extend(self.groups.get(group).into_iter().flatten());
    }

    fn shape(&self, step: StepId) -> StepShape {
        let pause = self.settings.pause;
        let Some(request) = self.request(step) else {
            return StepShape { request_bytes: 0, reply_bytes: 0, repeatable: false, pause_after: Duration::ZERO };
        };
        let head = request.di.map_or(0, |_| self.settings.edition.di_bytes()) + usize::from(request.sequence.is_some());
        let reply_bytes = REPLY_PREAMBLE + AROUND + head + request.expected;
        StepShape {
            request_bytes: usize::from(self.settings.preamble) + AROUND + head + request.data.len(),
            reply_bytes: if request.answered { reply_bytes } else { 0 },
            repeatable: self.is_repeatable(step),
            pause_after: if request.answered { pause } else { pause.max(BROADCAST_PAUSE) },
        }
    }

    fn points(&self, step: StepId, points: &mut Vec<PointIx>) {
        if let Some(read) = self.read_step(step) {
            points.extend(&read.points);
            return;
        }
        match self.action(step) {
            Some(Step::Relay | Step::Clock { .. }) => points.push(action::OWN_POINT),
            Some(Step::ReadAddress) => points.push(PointIx(action::ADDRESS)),
            Some(Step::Object(object)) => points.push(PointIx(object.number)),
            Some(Step::FreezeTime { .. }) => points.push(FREEZE_TIME),
            Some(Step::OwnClock { .. }) => points.push(METER_CLOCK),
            Some(Step::Records { points: recorded, .. }) => {
                points.extend(recorded.iter().map(|(point, _)| *point));
                points.push(LOAD_TIME);
            }
            Some(Step::Frozen { points: frozen, .. }) => points.extend(frozen.iter().map(|(point, _)| *point)),
            Some(Step::Read(_) | Step::Act { .. } | Step::Broadcast { .. } | Step::SetTime { .. }) | None => {}
        }
    }

    fn encode(&self, step: StepId, _: u16, bytes: &mut Vec<u8>) {
        let Some(request) = self.request(step) else { return };
        let edition = self.settings.edition;
        let di = request.di.map(|di| edition.di_wire(di));
        let di = di.as_ref().map_or(&[][..], |di| &di[..edition.di_bytes()]);
        let sequence = request.sequence.as_slice();
        frame::encode(self.settings.preamble, request.address, request.function, &[di, sequence, request.data], bytes);
    }

    fn decode(&self, step: StepId, _: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded {
        let Some(request) = self.request(step) else {
            return match bytes.len() {
                0 => Decoded::Incomplete { missing: 1 },
                bytes => Decoded::Skip { bytes, why: Reject::Noise },
            };
        };
        let Request { address, function, di, sequence, .. } = request;
        match meter_frame::find(bytes) {
            Found::Incomplete { missing } => Decoded::Incomplete { missing },
            Found::Skip { bytes, why } => Decoded::Skip { bytes, why: why.reject() },
            Found::Frame::<frame::Frame> { bytes, frame } => {
                let expect = Expect { address, edition: self.settings.edition, function, di, sequence };
                match expect.judge(&frame) {
                    Err(why) => Decoded::Skip { bytes, why: why.reject() },
                    Ok(Answer::Refused(code)) if self.kept_none(step, code) => {
                        self.take_none(step, readings);
                        Decoded::Nothing { bytes }
                    }
                    Ok(Answer::Refused(code)) => Decoded::Exception { bytes, code },
                    Ok(Answer::Data { payload, more }) => {
                        self.take(step, payload, more, readings);
                        Decoded::Reply { bytes }
                    }
                }
            }
        }
    }

    fn denial(&self, _: u8) -> Denial {
        Denial::Final
    }

    fn refused(&mut self, step: StepId, code: u8, instead: &mut Vec<StepId>) {
        self.split(step, code, instead);
    }

    fn begin(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        self.begin_action(action, steps)
    }

    fn follow_up(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        let answer = self.answer.get_mut();
        if std::mem::take(&mut answer.more) {
            answer.step = Some(base_of(step));
            std::mem::swap(&mut answer.data, &mut answer.staged);
            steps.push(StepId(base_of(step).0 | (frame_of(step) + 1) << FRAME_SHIFT));
        } else {
            self.set_time(step, steps);
        }
    }

    fn aged(&mut self, age: Duration) {
        self.age = age;
        for step in &mut self.actions {
            if let Step::SetTime { asked, data } = step
                && let Some(now) = asked.after(age)
            {
                *data = set_time_data(now);
            }
        }
    }

    fn is_request(&self, bytes: &[u8]) -> bool {
        frame::Frame::find(bytes, false).is_ok()
    }

    fn overheard(&mut self, broadcast: &[u8]) {
        let Ok((frame, _)) = frame::Frame::find(broadcast, false) else { return };
        if let (function::SET_TIME, Ok(time)) = (frame.function(), <[u8; 6]>::try_from(frame.data())) {
            self.time_set = read_time(time).or(self.time_set);
        }
    }

    fn proves(&self, action: &Action, value: &Value) -> bool {
        action::proves(action, value)
    }

    fn is_secret(&self, step: StepId) -> bool {
        matches!(self.action(step), Some(Step::Act { function: function::CONTROL, .. }))
    }

    fn end(&mut self) {
        self.actions.clear();
        self.age = Duration::ZERO;
        let answer = self.answer.get_mut();
        (answer.date, answer.time) = (None, None);
    }
}

#[cfg(test)]
mod tests;
