//! The driver of one meter.

mod action;
mod recall;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Denial, FREEZE_TIME, LOAD_TIME, METER_CLOCK};
use gatehouse_core::{Decoded, Driver, LocalTime, NoData, PointIx, PointReading, Reject, StepId, StepShape, Value};

use super::catalog::{self, Axis};
use super::control::{Access, read_time, set_time_data};
use super::frame::{self, AROUND, Address, function};
use super::load;
use super::point::{Dlt645Point, Edition};
use super::reply::{Answer, Expect};
use super::words::says_no_data;
use action::Object;
pub use action::object_name;

use crate::meter_frame::{self, Found};
use crate::summary::{Asked, StepSummary};

/// Most frames of one answer.
const MAX_FRAMES: u32 = 32;
/// Preamble bytes that a reply is reckoned with.
const REPLY_PREAMBLE: usize = 4;
/// Items that a block is reckoned with: the total and four tariffs.
const BLOCK_ITEMS: usize = 5;
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

/// One read of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReadStep {
    di: u32,
    /// Points ascending.
    points: Box<[PointIx]>,
    /// The item of the points' block that the data begin with.
    first: u8,
    /// What the items differ in that the identifier asks for; `None`: it asks for one.
    block: Option<Axis>,
    /// Bytes that the data will have, about.
    expected: usize,
}

/// One request of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Read(ReadStep),
    /// Something that changes the meter; never repeated.
    Act {
        function: u8,
        data: Box<[u8]>,
    },
    /// The same to every meter of the line; never answered.
    Broadcast {
        function: u8,
        data: Box<[u8]>,
    },
    /// The time as of its sending to every meter of the line; never answered.
    SetTime {
        /// What the time was when it was asked for.
        asked: LocalTime,
        data: [u8; 6],
    },
    ReadAddress,
    /// Reads something that tells who the meter is.
    Object(&'static Object),
    /// Reads status word 3 after a control command.
    Relay,
    /// Reads date or time of the meter before its clock is set.
    Clock {
        di: u32,
        now: LocalTime,
    },
    /// Reads when the meter froze its registers.
    FreezeTime {
        di: u32,
    },
    /// Reads frozen registers: points as they lie in the freeze record.
    Frozen {
        di: u32,
        points: Box<[(PointIx, Dlt645Point)]>,
    },
    /// Reads date or time of the meter.
    OwnClock {
        di: u32,
    },
    /// Reads load records: points with the items of a record that have them.
    Records {
        /// The count and the time of the first.
        data: [u8; 6],
        /// How many.
        count: u8,
        points: Box<[(PointIx, u8)]>,
    },
}

/// An answer of several frames, as far as it has come.
///
/// What was decoded last is only `staged`; it counts once the line has taken the frame and asks for the next.
#[derive(Debug, Default)]
struct LongAnswer {
    step: Option<StepId>,
    data: Vec<u8>,
    staged: Vec<u8>,
    more: bool,
    /// DD MM YY that a [`Step::Clock`] read.
    date: Option<[u8; 3]>,
    /// ss mm hh that a [`Step::Clock`] read.
    time: Option<[u8; 3]>,
}

/// Step ids: the request's place, how many frames of its answer are there, and whether it is of an action.
const ACTION: u32 = 1 << 31;
const FRAME_SHIFT: u32 = 20;
const PLACE: u32 = (1 << FRAME_SHIFT) - 1;

fn frame_of(step: StepId) -> u32 {
    (step.0 & !ACTION) >> FRAME_SHIFT
}

fn base_of(step: StepId) -> StepId {
    StepId(step.0 & (ACTION | PLACE))
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(PLACE).min(PLACE)
}

/// What a step asks, ready for the wire.
struct Request<'a> {
    address: Address,
    function: u8,
    di: Option<u32>,
    sequence: Option<u8>,
    data: &'a [u8],
    answered: bool,
    /// Bytes of data in the reply, about.
    expected: usize,
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

    /// One read for each identifier, in the order of the points.
    fn plan(&self, points: &[PointIx]) -> Vec<ReadStep> {
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

    /// Whether asking twice does no harm. Further frames of 1997 have no number: a repeated one would be taken for the one
    /// after it.
    fn is_repeatable(&self, step: StepId) -> bool {
        let unnumbered = frame_of(step) > 0 && self.settings.edition == Edition::V1997;
        let acts = matches!(self.action(step), Some(Step::Act { .. } | Step::Broadcast { .. } | Step::SetTime { .. }));
        !unnumbered && !acts
    }

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

    fn request(&self, step: StepId) -> Option<Request<'_>> {
        let MeterSettings { edition, address, .. } = self.settings;
        let (read, more) = match edition {
            Edition::V1997 => (function::READ_1997, function::READ_MORE_1997),
            Edition::V2007 => (function::READ, function::READ_MORE),
        };
        let plain =
            Request { address, function: read, di: None, sequence: None, data: &[], answered: true, expected: 0 };
        let frame = frame_of(step);
        let numbered = frame > 0 && edition == Edition::V2007;
        let part = Request {
            function: if frame > 0 { more } else { read },
            sequence: numbered.then(|| u8::try_from(frame).unwrap_or(u8::MAX)),
            ..plain
        };
        if let Some(step_read) = self.read_step(step) {
            let data = if step_read.di == load::LATEST && frame == 0 { &load::ONE[..] } else { &[] };
            return Some(Request { di: Some(step_read.di), data, expected: step_read.expected, ..part });
        }
        Some(match self.action(step)? {
            Step::Read(_) => return None,
            Step::Act { function, data } => Request { function: *function, data, ..plain },
            Step::Broadcast { function, data } => {
                Request { address: Address::BROADCAST, function: *function, data, answered: false, ..plain }
            }
            Step::SetTime { data, .. } => {
                let (address, function) = (Address::BROADCAST, function::SET_TIME);
                Request { address, function, data, answered: false, ..plain }
            }
            Step::Object(object) => {
                Request { di: Some(object.di), expected: usize::from(object.format.bytes()), ..plain }
            }
            Step::ReadAddress => Request { function: function::READ_ADDRESS, expected: 6, ..plain },
            Step::Relay => Request { di: Some(action::STATUS_WORD_3), expected: 2, ..plain },
            Step::Clock { di, .. } | Step::OwnClock { di } => Request { di: Some(*di), expected: 4, ..plain },
            Step::FreezeTime { di } => Request { di: Some(*di), expected: 5, ..plain },
            Step::Records { data, count, .. } => {
                let data = if frame == 0 { &data[..] } else { &[] };
                let expected = (load::RECORD_BYTES * usize::from(*count)).min(usize::from(frame::MAX_DATA) - 5);
                Request { di: Some(load::FROM_TIME), data, expected, ..part }
            }
            Step::Frozen { di, points } => {
                let size = points.first().map_or(0, |(_, spec)| usize::from(spec.item_bytes));
                Request { di: Some(*di), expected: size * BLOCK_ITEMS, ..plain }
            }
        })
    }

    /// Appends the readings of the whole answer to a read.
    fn read_values(&self, read: &ReadStep, data: &[u8], readings: &mut Vec<PointReading>) {
        for &point in &read.points {
            let Some(spec) = self.points.get(usize::from(point.0)) else { continue };
            readings.push(spec.read(point, data, read.first, read.block));
        }
    }

    /// Takes the data of a sound reply.
    fn take(&self, step: StepId, payload: &[u8], more: bool, readings: &mut Vec<PointReading>) {
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

    /// Whether a refusal says that the meter has no load records, which is an answer without any. A refused further frame
    /// says nothing of them.
    fn has_no_records(&self, step: StepId, code: u8) -> bool {
        frame_of(step) == 0 && says_no_data(code) && matches!(self.action(step), Some(Step::Records { .. }))
    }

    /// Appends the readings of a whole answer that may have come in several frames.
    fn take_whole(&self, step: StepId, data: &[u8], readings: &mut Vec<PointReading>) {
        if let Some(read) = self.read_step(step) {
            self.read_values(read, data, readings);
        } else if let Some(Step::Records { points, .. }) = self.action(step) {
            recall::take_records(points, data, readings);
        }
    }

    /// Reads of single items in place of a block that the meter does not have.
    fn split(&mut self, step: StepId, code: u8, instead: &mut Vec<StepId>) {
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
                    Ok(Answer::Refused(code)) if self.has_no_records(step, code) => {
                        self.take(step, &[], false, readings);
                        Decoded::Reply { bytes }
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
