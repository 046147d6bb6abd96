//! The driver of one reader.

mod action;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Denial};
use gatehouse_core::{Decoded, Driver, Mono, PointIx, PointReading, StepId, StepShape, Value};

use self::action::Step;
use super::channel::{Answer, Channel};
use super::conceal::conceal;
use super::error::WireError;
use super::frame::{Found, START, find};
use super::point::OsdpPoint;
use super::reply::{Identity, Reply};
use super::secure::Key;
use super::session::{BAD_MAC, BUSY, DOUBTFUL, Keys, NOT_SENT, Questions, Session};
use super::shown::Shown;
use crate::summary::{Asked, StepSummary};

/// Bytes that a reply is reckoned with: a status or a sealed card.
const REPLY_BYTES: usize = 40;
/// Bytes of a poll in a Secure Channel, the mark included.
const POLL_BYTES: usize = 15;
/// Set in the ids of steps of actions.
const ACTION: u32 = 1 << 31;
/// Stands for what is read on the way and is no point.
const OWN_POINT: PointIx = PointIx(u16::MAX);
/// Most exchanges until a reader is ready for an action: start-up with all keys that there may be, and some that are lost.
const READY_MAX: u8 = 24;

/// How a reader is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderSettings {
    /// 0 to 126.
    pub address: u8,
    /// True with a CRC, false with a checksum, which some old readers want.
    pub crc: bool,
    /// True when frames begin with a mark.
    pub mark: bool,
    /// True when the reader has a key: nothing that it says in the clear is believed, also before the key is there.
    pub keyed: bool,
}

/// What must not be in a site file. It is passed in when the driver begins its work.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// The reader's keys.
    pub keys: Keys,
    /// 16 bytes of true randomness, used for nothing else.
    pub seed: [u8; 16],
}

/// One reader: its points, and the conversation with it.
#[derive(Debug)]
pub struct OsdpReader {
    settings: ReaderSettings,
    points: Arc<[OsdpPoint]>,
    groups: Vec<Vec<PointIx>>,
    session: Session,
    /// The steps of the action at hand.
    actions: Vec<Step>,
    /// Exchanges so far until the reader is ready for the action.
    readying: u8,
    act: Act,
    heard: RefCell<Heard>,
}

/// What became of the act at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Act {
    /// It did not go out, or its answer is waited for.
    #[default]
    Open,
    /// It went out and was not answered: the reader may have obeyed. It is sent again with the same number only.
    Doubtful,
    /// It was answered while something else was asked.
    Obeyed,
}

/// What the last frame said; it counts once the line has taken it.
#[derive(Debug, Default)]
struct Heard {
    answer: Option<Answer>,
    data: Vec<u8>,
    /// What the reader shows with it, where that changes.
    shown: Option<Shown>,
    /// It was signed by nobody who has the key.
    broken: bool,
}

impl OsdpReader {
    /// A reader without secrets: enough for plans, and for a reader that has no key.
    pub fn new(settings: ReaderSettings, points: impl Into<Arc<[OsdpPoint]>>, groups: &[Vec<PointIx>]) -> Self {
        OsdpReader::with_secrets(settings, points, groups, Secrets::default())
    }

    /// A reader with its secrets. One that is to have a key and has none here is never believed.
    pub fn with_secrets(
        settings: ReaderSettings,
        points: impl Into<Arc<[OsdpPoint]>>,
        groups: &[Vec<PointIx>],
        secrets: Secrets,
    ) -> Self {
        let points = points.into();
        let channel = Channel::new(settings.address, settings.crc, settings.mark);
        let mut session = Session::new(channel, secrets.keys, secrets.seed);
        let any = |test: fn(&OsdpPoint) -> bool| points.iter().any(test);
        session.want(Questions {
            local: any(|point| matches!(point, OsdpPoint::Tamper | OsdpPoint::PowerFailed)),
            inputs: any(|point| matches!(point, OsdpPoint::Input(_))),
            outputs: any(|point| matches!(point, OsdpPoint::Output(_))),
        });
        session.require_key(settings.keyed);
        let (actions, readying, act, heard) = (Vec::new(), 0, Act::Open, RefCell::default());
        OsdpReader { settings, points, groups: groups.to_vec(), session, actions, readying, act, heard }
    }

    /// The requests of each group: one poll.
    pub fn plan_summary(&self) -> Vec<Vec<StepSummary>> {
        let summary = |points: &Vec<PointIx>| {
            let asked = Asked::Osdp { address: self.settings.address };
            vec![StepSummary { asked, points: points.clone(), request_bytes: POLL_BYTES, reply_bytes: REPLY_BYTES }]
        };
        self.groups.iter().map(summary).collect()
    }

    fn action(&self, step: StepId) -> Option<&Step> {
        if step.0 & ACTION == 0 { None } else { self.actions.get((step.0 & !ACTION) as usize) }
    }

    /// The points of a step that reads some.
    fn step_points(&self, step: StepId) -> &[PointIx] {
        match self.action(step) {
            Some(Step::Show(points)) => points,
            Some(Step::Ready | Step::Who | Step::Act(..)) => &[],
            None if step.0 & ACTION != 0 => &[],
            None => self.groups.get(step.0 as usize).map_or(&[], Vec::as_slice),
        }
    }

    /// Judges a sound frame: what the line hears, and the readings that come with it.
    fn hear(&self, step: StepId, answer: Answer, readings: &mut Vec<PointReading>) -> Option<u8> {
        let mut heard = self.heard.borrow_mut();
        let Heard { data, shown, answer: kept, broken } = &mut *heard;
        // The line did not take what came before in this exchange.
        (*kept, *broken) = (Some(answer), false);
        let reply = Reply::decode(answer.code, data).unwrap_or(Reply::Other { code: answer.code, data });
        *shown = self.shown_after(reply);
        let live = self.session.is_live_after(&answer);
        let standing = self.session.standing(live);
        let now_shown = shown.as_ref().unwrap_or(&self.session.shown);
        for &point in self.step_points(step) {
            let spec = self.points.get(usize::from(point.0));
            let value = spec.map_or(Err(gatehouse_core::NoData::BadReply), |spec| now_shown.value(*spec, standing));
            readings.push(PointReading::new(point, value));
        }
        let acts = matches!(self.action(step), Some(Step::Act(..)));
        if let (Some(Step::Who), Some(identity)) = (self.action(step), &self.session.identity) {
            readings.extend(who(identity));
        }
        if acts { self.verdict_of_act(reply) } else { None }
    }

    /// The exception that an answer to an act is, if it is one.
    fn verdict_of_act(&self, reply: Reply<'_>) -> Option<u8> {
        let doubtful = self.act == Act::Doubtful;
        match reply {
            _ if self.act == Act::Obeyed => None,
            _ if !self.session.is_acting() => Some(if doubtful { DOUBTFUL } else { NOT_SENT }),
            // What it does not take in now, it may have taken in before. Any other refusal is its lost answer, sent again.
            Reply::Busy | Reply::Nak(1 | 4..=6) if doubtful => Some(DOUBTFUL),
            Reply::Busy => Some(BUSY),
            Reply::Nak(code) => Some(code),
            _ => None,
        }
    }

    /// What the reader shows after this reply, where that is something else.
    fn shown_after(&self, reply: Reply<'_>) -> Option<Shown> {
        let mut shown = match reply {
            Reply::Local { .. } | Reply::Inputs(_) | Reply::Outputs(_) => self.session.shown.clone(),
            Reply::Card(_) | Reply::FormattedCard { .. } | Reply::Keypad { .. } => self.session.shown.clone(),
            _ => return None,
        };
        shown.note(reply);
        shown.note_presented(reply, self.session.drops());
        Some(shown)
    }
}

/// Maker, model and version as texts, under the numbers that Modbus gives them.
fn who(identity: &Identity) -> [PointReading; 3] {
    let [a, b, c] = identity.vendor;
    let [major, minor, build] = identity.firmware;
    let texts = [
        format!("{a:02X}{b:02X}{c:02X}"),
        format!("{} version {}, serial {}", identity.model, identity.version, identity.serial),
        format!("{major}.{minor}.{build}"),
    ];
    let mut point = 0;
    texts.map(|text| {
        point += 1;
        PointReading::new(PointIx(point - 1), Ok(Value::Text(text.into())))
    })
}

impl Driver for OsdpReader {
    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn station(&self) -> u64 {
        u64::from_be_bytes([0x05, 0xD9, 0, 0, 0, 0, 0, self.settings.address])
    }

    fn is_session(&self) -> bool {
        true
    }

    fn group_steps(&self, group: usize, steps: &mut Vec<StepId>) {
        if group < self.groups.len() {
            steps.extend(u32::try_from(group).ok().map(StepId));
        }
    }

    fn shape(&self, _: StepId) -> StepShape {
        let request_bytes = self.session.frame().len();
        // A reply as long as the request could not be told from the request's echo.
        let reply_bytes = REPLY_BYTES + usize::from(request_bytes == REPLY_BYTES);
        StepShape { request_bytes, reply_bytes, repeatable: true, pause_after: Duration::ZERO }
    }

    fn points(&self, step: StepId, points: &mut Vec<PointIx>) {
        match self.action(step) {
            Some(Step::Ready | Step::Who) => points.push(OWN_POINT),
            Some(Step::Act(..)) => {}
            Some(Step::Show(_)) | None => points.extend(self.step_points(step)),
        }
    }

    fn change_key(&mut self, key: [u8; 16]) {
        self.session.change_key(Key::new(key));
    }

    fn tells_secrets(&self) -> bool {
        !self.session.is_secure()
    }

    fn conceal(&self, _: bool, frame: &mut [u8]) -> Option<Range<usize>> {
        conceal(self.settings.address, frame)
    }

    fn prepare(&mut self, step: StepId, now: Mono) {
        let heard = self.heard.get_mut();
        (heard.answer, heard.shown, heard.broken) = (None, None, false);
        let at = (step.0 & !ACTION) as usize;
        match self.actions.get(at).filter(|_| step.0 & ACTION != 0) {
            Some(Step::Act(command, _)) if self.act == Act::Open => self.session.prepare_action(now, command),
            // A second time it would be a second act, but for the very bytes that wait.
            Some(Step::Act(..)) => self.session.prepare(now),
            Some(Step::Ready | Step::Who | Step::Show(_)) | None => self.session.prepare(now),
        }
    }

    fn encode(&self, _: StepId, _: u16, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.session.frame());
    }

    fn decode(&self, step: StepId, _: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded {
        match find(bytes) {
            Found::Incomplete { missing } => Decoded::Incomplete { missing },
            Found::Skip { bytes, why } => Decoded::Skip { bytes, why: why.reject() },
            Found::Frame { bytes, frame } => {
                let judged = self.session.judge(&frame, &mut self.heard.borrow_mut().data);
                match judged {
                    Err(WireError::BadMac | WireError::BadPadding) => {
                        self.heard.borrow_mut().broken = true;
                        Decoded::Exception { bytes, code: BAD_MAC }
                    }
                    Err(why) => Decoded::Skip { bytes, why: why.reject() },
                    Ok(answer) => match self.hear(step, answer, readings) {
                        Some(code) => Decoded::Exception { bytes, code },
                        None => Decoded::Reply { bytes },
                    },
                }
            }
        }
    }

    fn settled(&mut self, step: StepId, now: Mono, answered: bool) {
        let heard = self.heard.get_mut();
        let (answer, shown) = (heard.answer.take(), heard.shown.take());
        let data = std::mem::take(&mut heard.data);
        if !answered {
            if self.session.is_acting() {
                self.act = Act::Doubtful;
            }
            return self.session.missed();
        }
        if std::mem::take(&mut heard.broken) {
            return self.session.broken();
        }
        let Some(answer) = answer else { return };
        if let Some(shown) = shown {
            self.session.shown = shown;
        }
        if self.session.is_acting() && !matches!(answer.code, super::reply::code::NAK | BUSY) {
            match self.action(step).cloned() {
                Some(Step::Act(_, done)) => done.note(&mut self.session.shown),
                // A poll that had its bytes sent again.
                Some(Step::Ready | Step::Who | Step::Show(_)) | None => self.act = Act::Obeyed,
            }
        }
        self.session.take(now, answer, &data);
        self.heard.get_mut().data = data;
    }

    fn is_request(&self, bytes: &[u8]) -> bool {
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == START).map(|(at, _)| at);
        let mut found = starts.filter_map(|at| match find(bytes.get(at..)?) {
            Found::Frame { frame, .. } => Some(frame),
            Found::Incomplete { .. } | Found::Skip { .. } => None,
        });
        found.any(|frame| !frame.from_reader)
    }

    fn denial(&self, code: u8) -> Denial {
        // Between the two tries of an act, a poll would send its bytes again and take its answer: the second would be a
        // second act. It fails instead, and the connection begins anew.
        match (code, self.actions.is_empty()) {
            (BUSY, true) => Denial::Busy,
            // The command went out, and may have been obeyed.
            (BAD_MAC | DOUBTFUL, false) => Denial::NoAnswer,
            _ => Denial::Final,
        }
    }

    fn refused(&mut self, _: StepId, _: u8, _: &mut Vec<StepId>) {}

    fn begin(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        self.begin_action(action, steps)
    }

    fn follow_up(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        let waits = matches!(self.action(step), Some(Step::Ready)) && !self.session.is_running();
        if waits && self.readying < READY_MAX {
            self.readying += 1;
            steps.push(step);
        }
    }

    fn end(&mut self) {
        self.actions.clear();
        (self.readying, self.act) = (0, Act::Open);
        self.session.end_action();
    }
}

#[cfg(test)]
mod tests;
