//! The driver of one meter.

mod action;

pub use action::object_name;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Denial};
use gatehouse_core::{Decoded, Driver, LocalTime, PointIx, PointReading, Reject, StepId, StepShape, Value};

use super::frame::{self, AROUND, Address, Frame, di, function};
use super::point::Cjt188Point;
use super::reply::{Answer, Expect};
use super::settings::MeterSettings;
use super::value::{Valve, expected_bytes};
use crate::meter_frame::{self, Found};
use crate::summary::{Asked, StepSummary};

/// Preamble bytes that a reply is reckoned with.
const REPLY_PREAMBLE: usize = 3;
/// Bytes of identifier and serial number.
const HEAD: usize = 3;
/// Bytes of the status in the reply to a write.
const STATUS: usize = 2;

/// One meter: its points, its plan of reads and the rules of its replies.
#[derive(Debug)]
pub struct Cjt188Meter {
    settings: MeterSettings,
    points: Arc<[Cjt188Point]>,
    groups: Vec<Vec<StepId>>,
    reads: Vec<ReadStep>,
    /// The steps of the action at hand.
    actions: Vec<Step>,
    /// What the valve did when it was last looked at.
    seen: Cell<Option<Valve>>,
}

/// One read of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReadStep {
    di: u16,
    /// Points ascending.
    points: Box<[PointIx]>,
}

/// One request of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Read(ReadStep),
    ReadAddress,
    /// Moves the valve; never repeated.
    Move(Motion),
    /// Looks where the valve is after it was told to move.
    Look(Motion),
    /// Sets the clock; never repeated.
    SetTime(LocalTime),
    /// Reads the clock after it was set.
    Clock,
}

/// Where a valve is told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Motion {
    Open,
    Close,
}

/// Step ids: the request's place, and whether it is of an action.
const ACTION: u32 = 1 << 31;

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(!ACTION).min(!ACTION)
}

/// What a step asks, ready for the wire.
struct Request {
    function: u8,
    di: u16,
    /// What follows the serial number, and how many bytes of it.
    data: ([u8; 7], usize),
    /// Bytes of data in the reply behind the serial number, about.
    expected: usize,
    /// True when it changes the meter.
    acts: bool,
}

impl Cjt188Meter {
    /// Plans the reads of a meter: one for each identifier. `groups` lists the points that are polled together.
    pub fn new(settings: MeterSettings, points: impl Into<Arc<[Cjt188Point]>>, groups: &[Vec<PointIx>]) -> Self {
        let mut meter = Cjt188Meter {
            settings,
            points: points.into(),
            groups: Vec::with_capacity(groups.len()),
            reads: Vec::new(),
            actions: Vec::new(),
            seen: Cell::new(None),
        };
        for group in groups {
            let first = meter.reads.len();
            let reads = meter.plan(group);
            meter.reads.extend(reads);
            meter.groups.push((first..meter.reads.len()).map(|at| StepId(place(at))).collect());
        }
        meter
    }

    /// One read for each identifier, in the order of the points.
    fn plan(&self, points: &[PointIx]) -> Vec<ReadStep> {
        let mut planned: Vec<(u16, Vec<PointIx>)> = Vec::new();
        for &point in points {
            let Some(spec) = self.points.get(usize::from(point.0)) else { continue };
            match planned.iter_mut().find(|(di, _)| *di == spec.di) {
                Some((_, points)) => points.push(point),
                None => planned.push((spec.di, vec![point])),
            }
        }
        let read = |(di, mut points): (u16, Vec<PointIx>)| {
            points.sort_unstable();
            ReadStep { di, points: points.into() }
        };
        planned.into_iter().map(read).collect()
    }

    /// The requests of each group.
    pub fn plan_summary(&self) -> Vec<Vec<StepSummary>> {
        let summary = |&id: &StepId| {
            let read = self.read_step(id)?;
            let StepShape { request_bytes, reply_bytes, .. } = self.shape(id);
            let asked = Asked::Cjt188 { di: read.di };
            Some(StepSummary { asked, points: read.points.to_vec(), request_bytes, reply_bytes })
        };
        self.groups.iter().map(|steps| steps.iter().filter_map(summary).collect()).collect()
    }

    fn read_step(&self, step: StepId) -> Option<&ReadStep> {
        match self.action(step) {
            Some(Step::Read(read)) => Some(read),
            Some(_) => None,
            None if step.0 & ACTION == 0 => self.reads.get(step.0 as usize),
            None => None,
        }
    }

    fn action(&self, step: StepId) -> Option<&Step> {
        if step.0 & ACTION == 0 { None } else { self.actions.get((step.0 & !ACTION) as usize) }
    }

    fn request(&self, step: StepId) -> Option<Request> {
        let MeterSettings { edition, traits, .. } = &self.settings;
        let read = |di: u16| Request {
            function: function::READ,
            di,
            data: ([0; 7], 0),
            expected: expected_bytes(traits.meter_type.is_heat(), di == di::METERING, *edition),
            acts: false,
        };
        if let Some(step_read) = self.read_step(step) {
            return Some(read(step_read.di));
        }
        let write = |di: u16, data: ([u8; 7], usize)| Request {
            function: function::WRITE,
            di,
            data,
            expected: STATUS,
            acts: true,
        };
        Some(match self.action(step)? {
            Step::Read(_) => return None,
            Step::ReadAddress => {
                Request { function: function::READ_ADDRESS, di: di::ADDRESS, expected: 0, ..read(di::ADDRESS) }
            }
            Step::Move(motion) => write(di::VALVE, ([motion.code(), 0, 0, 0, 0, 0, 0], 1)),
            Step::SetTime(at) => write(di::TIME, (super::value::clock_bytes(*at, traits.clock_order), 7)),
            Step::Look(_) | Step::Clock => read(di::METERING),
        })
    }

    /// The serial number of a request: of a read its place in the plan, the same each time, so that a late reply to
    /// the same question is one to it; of what acts one that the line never uses twice in a row.
    fn serial(step: StepId, acts: bool, tag: u16) -> u8 {
        let [_, low] = tag.to_be_bytes();
        let [.., place] = step.0.to_be_bytes();
        if acts { low } else { place }
    }

    /// Takes the data of a sound reply.
    fn take(&self, step: StepId, frame: &Frame, payload: &[u8], readings: &mut Vec<PointReading>) {
        let Some(read) = self.read_step(step) else { return self.take_action(step, frame, payload, readings) };
        for &point in &read.points {
            let Some(spec) = self.points.get(usize::from(point.0)) else { continue };
            readings.push(spec.read(point, &self.settings.traits, payload));
        }
    }
}

impl Driver for Cjt188Meter {
    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn station(&self) -> u64 {
        let [a0, a1, a2, a3, a4, a5, a6] = self.settings.address.wire();
        // The kind belongs to the address: a water and a heat meter may have the same number.
        u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, self.settings.traits.meter_type.0])
    }

    fn group_steps(&self, group: usize, steps: &mut Vec<StepId>) {
        steps.extend(self.groups.get(group).into_iter().flatten());
    }

    fn shape(&self, step: StepId) -> StepShape {
        let Some(request) = self.request(step) else {
            return StepShape { request_bytes: 0, reply_bytes: 0, repeatable: false, pause_after: Duration::ZERO };
        };
        let travels = matches!(self.action(step), Some(Step::Move(_) | Step::Look(_)));
        let pause = self.settings.pause;
        StepShape {
            request_bytes: usize::from(self.settings.preamble) + AROUND + HEAD + request.data.1,
            reply_bytes: REPLY_PREAMBLE + AROUND + HEAD + request.expected,
            repeatable: !request.acts,
            pause_after: if travels { pause.max(action::LOOK_PAUSE) } else { pause },
        }
    }

    fn points(&self, step: StepId, points: &mut Vec<PointIx>) {
        if let Some(read) = self.read_step(step) {
            points.extend(&read.points);
        } else if let Some(Step::Look(_) | Step::Clock | Step::ReadAddress) = self.action(step) {
            points.push(action::OWN_POINT);
        }
    }

    fn encode(&self, step: StepId, tag: u16, bytes: &mut Vec<u8>) {
        let Some(request) = self.request(step) else { return };
        let MeterSettings { address, preamble, traits, .. } = &self.settings;
        let di = traits.di_order.wire(request.di);
        let ser = [Self::serial(step, request.acts, tag)];
        let data = &request.data.0[..request.data.1];
        frame::encode(*preamble, (traits.meter_type, *address), request.function, &[&di, &ser, data], bytes);
    }

    fn decode(&self, step: StepId, tag: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded {
        let Some(Request { function, di, acts, .. }) = self.request(step) else {
            return match bytes.len() {
                0 => Decoded::Incomplete { missing: 1 },
                bytes => Decoded::Skip { bytes, why: Reject::Noise },
            };
        };
        match meter_frame::find(bytes) {
            Found::Incomplete { missing } => Decoded::Incomplete { missing },
            Found::Skip { bytes, why } => Decoded::Skip { bytes, why: why.reject() },
            Found::Frame::<Frame> { bytes, frame } => {
                let MeterSettings { address, traits, .. } = &self.settings;
                let (di, ser) = (traits.di_order.wire(di), Self::serial(step, acts, tag));
                let expect = Expect { meter_type: traits.meter_type, address: *address, function, di, ser };
                match expect.judge(&frame) {
                    Err(why) => Decoded::Skip { bytes, why: why.reject() },
                    Ok(Answer::Refused(code)) => Decoded::Exception { bytes, code },
                    Ok(Answer::Data(payload)) => {
                        self.take(step, &frame, payload, readings);
                        Decoded::Reply { bytes }
                    }
                }
            }
        }
    }

    fn denial(&self, _: u8) -> Denial {
        Denial::Final
    }

    fn refused(&mut self, _: StepId, _: u8, _: &mut Vec<StepId>) {}

    fn begin(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        self.begin_action(action, steps)
    }

    fn follow_up(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        self.look_again(step, steps);
    }

    fn is_request(&self, bytes: &[u8]) -> bool {
        Frame::find(bytes, false).is_ok()
    }

    fn proves(&self, action: &Action, value: &Value) -> bool {
        action::proves(action, value)
    }

    fn end(&mut self) {
        self.actions.clear();
        self.seen.set(None);
    }
}

/// True for a meter that stands for whatever there is on the line.
pub(super) fn is_anyone(settings: &MeterSettings) -> bool {
    settings.address == Address::ANY
}

#[cfg(test)]
mod tests;
