//! The driver of one controller.

pub mod action;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Denial};
use gatehouse_core::{
    CardNumber, ControllerAnswer, Decoded, Driver, ListedCard, NoData, PointIx, PointReading, Reject, StepId, StepShape,
};

use super::datagram::{Datagram, LENGTH, conceal, function};
use super::date::Date;
use super::point::Field;
use super::reply::Reply;
use super::request::{Card, Request};
use crate::summary::{Asked, StepSummary};

/// Silence after a request whose reply does not tell what it answers: a datagram that the network has doubled comes
/// within it, and is nobody's then.
const AFTER_UNNAMED: Duration = Duration::from_millis(10);
/// The same where a door was opened.
const AFTER_OPENING: Duration = Duration::from_millis(100);
/// What a controller is refused with that did not do what was asked.
const REFUSED: u8 = 0;

/// Where a controller sends its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// An IPv4 address of the box.
    pub address: [u8; 4],
    /// The port.
    pub port: u16,
}

/// How a controller is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UhppoteSettings {
    /// The serial number on its board, 1 or more.
    pub serial: u32,
    /// Where the box listens for its events; `None`: it does not.
    pub listener: Option<Listener>,
}

/// One controller: its points, its requests and the rules of its replies.
#[derive(Debug)]
pub struct UhppoteController {
    settings: UhppoteSettings,
    points: Arc<[Field]>,
    groups: Vec<Vec<StepId>>,
    reads: Vec<Read>,
    /// The steps of the action at hand.
    actions: Vec<Step>,
}

/// One read of points.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    request: Request,
    /// Points ascending.
    points: Box<[PointIx]>,
}

/// One request of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Read(Read),
    /// Something that happens in the world; never repeated.
    Act(Request),
    /// What a [`ControllerAnswer`] answers.
    Ask(Request),
    Identify,
}

/// Step ids: the request's place, and whether it is of an action.
const ACTION: u32 = 1 << 31;

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX) & !ACTION
}

impl UhppoteController {
    /// Plans the reads of a controller: one status, and one for each door whose control is a point. `groups` lists the
    /// points that are polled together.
    pub fn new(settings: UhppoteSettings, points: impl Into<Arc<[Field]>>, groups: &[Vec<PointIx>]) -> Self {
        let points = points.into();
        let mut controller =
            UhppoteController { settings, points, groups: Vec::new(), reads: Vec::new(), actions: Vec::new() };
        for group in groups {
            let first = controller.reads.len();
            let reads = controller.plan(group);
            controller.reads.extend(reads);
            controller.groups.push((first..controller.reads.len()).map(|at| StepId(place(at))).collect());
        }
        controller
    }

    fn plan(&self, points: &[PointIx]) -> Vec<Read> {
        let mut planned: Vec<(Option<u8>, Vec<PointIx>)> = Vec::new();
        for &point in points {
            let Some(field) = self.points.get(usize::from(point.0)) else { continue };
            match planned.iter_mut().find(|(door, _)| *door == field.of_door()) {
                Some((_, points)) => points.push(point),
                None => planned.push((field.of_door(), vec![point])),
            }
        }
        let read = |(door, mut points): (Option<u8>, Vec<PointIx>)| {
            points.sort_unstable();
            let request = door.map_or(Request::Status, |door| Request::Door { door });
            Read { request, points: points.into() }
        };
        planned.into_iter().map(read).collect()
    }

    /// The requests of each group.
    pub fn plan_summary(&self) -> Vec<Vec<StepSummary>> {
        let summary = |step: &StepId| {
            let read = self.reads.get(step.0 as usize)?;
            let asked = Asked::Uhppote { function: read.request.function() };
            let points = read.points.to_vec();
            Some(StepSummary { asked, points, request_bytes: LENGTH, reply_bytes: LENGTH })
        };
        self.groups.iter().map(|steps| steps.iter().filter_map(summary).collect()).collect()
    }

    fn action(&self, step: StepId) -> Option<&Step> {
        if step.0 & ACTION == 0 { None } else { self.actions.get((step.0 & !ACTION) as usize) }
    }

    fn read_step(&self, step: StepId) -> Option<&Read> {
        match self.action(step) {
            Some(Step::Read(read)) => Some(read),
            Some(Step::Act(_) | Step::Ask(_) | Step::Identify) => None,
            None if step.0 & ACTION == 0 => self.reads.get(step.0 as usize),
            None => None,
        }
    }

    fn request(&self, step: StepId) -> Option<&Request> {
        match self.action(step) {
            Some(Step::Read(read)) => Some(&read.request),
            Some(Step::Act(request) | Step::Ask(request)) => Some(request),
            Some(Step::Identify) => Some(&Request::Discover),
            None => self.read_step(step).map(|read| &read.request),
        }
    }

    /// Takes a reply that answers the step's request; false where it says no.
    fn take(&self, step: StepId, reply: &Reply, readings: &mut Vec<PointReading>) -> bool {
        if *reply == Reply::Done(false) {
            return false;
        }
        if let Some(read) = self.read_step(step) {
            let field = |point: &PointIx| self.points.get(usize::from(point.0)).ok_or(NoData::BadReply);
            let value = |point: &PointIx| field(point).and_then(|field| field.value(reply));
            readings.extend(read.points.iter().map(|point| PointReading::new(*point, value(point))));
            return true;
        }
        match self.action(step) {
            Some(Step::Ask(_)) => {
                if let Some(answer) = answer(reply) {
                    answer.to_readings(readings);
                }
            }
            Some(Step::Identify) => action::identity(reply, readings),
            Some(Step::Read(_) | Step::Act(_)) | None => {}
        }
        true
    }
}

/// A reply in the words of the house.
fn answer(reply: &Reply) -> Option<ControllerAnswer> {
    let listed = |card: &Card| {
        Some(ListedCard {
            number: CardNumber::new(card.number.reveal())?,
            from: card.from.map(Date::midnight),
            until: card.until.map(Date::midnight),
            doors: card.doors,
            pin: card.pin.reveal(),
            first_card: card.first_card,
        })
    };
    Some(match reply {
        Reply::Event(event) => ControllerAnswer::Event(event.told()),
        Reply::NoEvent { .. } => ControllerAnswer::NoEvent,
        Reply::Overwritten { .. } => ControllerAnswer::Overwritten,
        Reply::CardCount(count) => ControllerAnswer::Count(*count),
        Reply::Card(card) => ControllerAnswer::Card(listed(card)?),
        Reply::NoCard => ControllerAnswer::NoCard,
        Reply::DeletedCard => ControllerAnswer::Deleted,
        Reply::Done(_) => ControllerAnswer::Done,
        Reply::Device(_)
        | Reply::Status(_)
        | Reply::Door { .. }
        | Reply::Time(_)
        | Reply::EventIndex(_)
        | Reply::Listener { .. } => return None,
    })
}

impl Driver for UhppoteController {
    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn station(&self) -> u64 {
        u64::from(self.settings.serial)
    }

    fn group_steps(&self, group: usize, steps: &mut Vec<StepId>) {
        steps.extend(self.groups.get(group).into_iter().flatten());
    }

    fn shape(&self, step: StepId) -> StepShape {
        let Some(request) = self.request(step) else {
            return StepShape { request_bytes: 0, reply_bytes: 0, repeatable: false, pause_after: Duration::ZERO };
        };
        let acts = matches!(self.action(step), Some(Step::Act(_)));
        let pause_after = match request {
            _ if acts => AFTER_OPENING,
            Request::CardAt(_) | Request::Card(_) | Request::PutCard(_) | Request::DeleteCard(_) => AFTER_UNNAMED,
            _ => Duration::ZERO,
        };
        StepShape { request_bytes: LENGTH, reply_bytes: LENGTH, repeatable: !acts, pause_after }
    }

    fn points(&self, step: StepId, points: &mut Vec<PointIx>) {
        if let Some(read) = self.read_step(step) {
            points.extend(&read.points);
        }
    }

    fn encode(&self, step: StepId, _: u16, bytes: &mut Vec<u8>) {
        if let Some(request) = self.request(step) {
            bytes.extend(request.encode(self.settings.serial).bytes());
        }
    }

    fn decode(&self, step: StepId, _: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded {
        let Some(request) = self.request(step) else {
            return match bytes.len() {
                0 => Decoded::Incomplete { missing: 1 },
                bytes => Decoded::Skip { bytes, why: Reject::Noise },
            };
        };
        if bytes.is_empty() {
            return Decoded::Incomplete { missing: LENGTH };
        }
        // A datagram is a frame: what is not right is dropped whole.
        let judged = Datagram::read(bytes).and_then(|got| Reply::judge(request, self.settings.serial, &got));
        match judged {
            Err(why) => Decoded::Skip { bytes: bytes.len(), why: why.reject() },
            Ok(reply) if self.take(step, &reply, readings) => Decoded::Reply { bytes: bytes.len() },
            Ok(_) => Decoded::Exception { bytes: bytes.len(), code: REFUSED },
        }
    }

    fn denial(&self, _: u8) -> Denial {
        Denial::Final
    }

    fn refused(&mut self, _: StepId, _: u8, _: &mut Vec<StepId>) {}

    fn begin(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        self.begin_action(action, steps)
    }

    /// One serial number and one function; of events, one event as well, since their replies name it.
    fn reply_class(&self, step: StepId) -> u64 {
        let Some(request) = self.request(step) else { return self.station() };
        let event = match request {
            Request::Event(index) => u64::from(*index & 0xFF_FFFF),
            _ => 0,
        };
        self.station() | u64::from(request.function()) << 32 | event << 40
    }

    fn is_word(&self, datagram: &[u8]) -> bool {
        Datagram::read_event(datagram)
            .is_ok_and(|got| got.function() == function::STATUS && got.serial() == self.settings.serial)
    }

    fn conceal(&self, is_request: bool, frame: &mut [u8]) -> Option<Range<usize>> {
        conceal(is_request, frame)
    }

    fn end(&mut self) {
        self.actions.clear();
    }
}

#[cfg(test)]
mod tests;
