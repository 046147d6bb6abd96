//! What a meter is asked beside its polls: values now, its address, control, freeze, time.

use gatehouse_core::driver::{Action, ActionError, Argument};
use gatehouse_core::{LocalTime, NoData, PointIx, PointReading, StepId, Value};

use super::Dlt645Meter;
use super::answer::LongAnswer;
use super::step::{ACTION, Step, place};
use crate::dlt645::control::{Control, Freeze, control_data, may_set_time, read_time, set_time_data};
use crate::dlt645::frame::{Address, function};
use crate::dlt645::point::{Edition, Format};
use crate::dlt645::words::Relay;

const DATE_2007: u32 = 0x0400_0101;
const TIME_2007: u32 = 0x0400_0102;
const DATE_1997: u32 = 0xC010;
const TIME_1997: u32 = 0xC011;
/// Status word 3: what the relay does.
pub(super) const STATUS_WORD_3: u32 = 0x0400_0503;
/// Stands for a value that is no point of the meter's profile: the relay, the clock.
pub(super) const OWN_POINT: PointIx = PointIx(u16::MAX);

/// Something that tells who a meter is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Stands in place of a point.
    pub(super) number: u16,
    name: &'static str,
    pub(super) di: u32,
    pub(super) format: Format,
}

/// Stands for the address that function 13 reads.
pub(super) const ADDRESS: u16 = 0xFF00;
const METER_NUMBER: u16 = 0xFF01;
const ASSET_CODE: u16 = 0xFF02;

const OBJECTS_2007: [Object; 2] = [
    Object { number: METER_NUMBER, name: "meter_number", di: 0x0400_0402, format: Format::Digits { bytes: 6 } },
    Object { number: ASSET_CODE, name: "asset_code", di: 0x0400_0403, format: Format::Text { bytes: 32 } },
];
/// Meters of 1997 have no function that reads the address.
const OBJECTS_1997: [Object; 1] =
    [Object { number: METER_NUMBER, name: "meter_number", di: 0xC032, format: Format::Digits { bytes: 6 } }];

/// The name of what an identification gives under this number in place of a point.
pub fn object_name(number: u16) -> Option<&'static str> {
    if number == ADDRESS {
        return Some("address");
    }
    OBJECTS_2007.iter().find(|object| object.number == number).map(|object| object.name)
}

/// Commands of every meter; no profile lists them.
const COMMANDS: [(&str, Command); 6] = [
    ("trip", Command::Control(Control::Trip)),
    ("permit_close", Command::Control(Control::PermitClose)),
    ("close", Command::Control(Control::Close)),
    ("freeze", Command::Freeze),
    ("broadcast_freeze", Command::BroadcastFreeze),
    ("broadcast_time", Command::BroadcastTime),
];

/// A command of every meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Control(Control),
    Freeze,
    BroadcastFreeze,
    BroadcastTime,
}

fn command(name: &str) -> Option<Command> {
    COMMANDS.iter().find(|(known, _)| *known == name).map(|(_, command)| *command)
}

/// Whether what was read after a command says that it was obeyed: the relay is where it was told to be. A permitted
/// meter is closed by hand, so that closed proves it as well.
pub(super) fn proves(action: &Action, value: &Value) -> bool {
    let (Action::Call { command: name, .. }, Value::Text(state)) = (action, value) else { return false };
    let is = |relay: Relay| **state == *relay.as_str();
    match command(name) {
        Some(Command::Control(Control::Trip)) => is(Relay::Open),
        Some(Command::Control(Control::Close)) => is(Relay::Closed),
        Some(Command::Control(Control::PermitClose)) => is(Relay::Permitted) || is(Relay::Closed),
        Some(Command::Freeze | Command::BroadcastFreeze | Command::BroadcastTime) | None => false,
    }
}

impl LongAnswer {
    /// The meter's clock, once its date and its time were read.
    pub(super) fn clock(&self) -> Option<LocalTime> {
        let ([day, month, year], [second, minute, hour]) = self.date.zip(self.time)?;
        read_time([second, minute, hour, day, month, year])
    }
}

impl Dlt645Meter {
    pub(super) fn begin_action(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        let first = self.actions.len();
        match action {
            Action::Read(points) => {
                let all: Vec<PointIx> =
                    (0..self.points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect();
                let reads = self.plan(if points.is_empty() { &all } else { points });
                self.actions.extend(reads.into_iter().map(Step::Read));
            }
            Action::Recall { points, back } => {
                let asked = self.recall(points, *back)?;
                self.actions.extend(asked);
            }
            Action::LoadRecords { points, from, count } => {
                let asked = self.records(points, *from, *count)?;
                self.actions.push(asked);
            }
            Action::Write(..) => return Err(ActionError::ReadOnly),
            Action::Identify => {
                let objects = match self.settings.edition {
                    Edition::V1997 => &OBJECTS_1997[..],
                    Edition::V2007 => &OBJECTS_2007[..],
                };
                // To be asked with all digits open, which only a meter that is alone may be.
                if (self.settings.edition, self.settings.address) == (Edition::V2007, Address::ANY) {
                    self.actions.push(Step::ReadAddress);
                }
                self.actions.extend(objects.iter().map(Step::Object));
            }
            Action::Registers(_) | Action::Controller(_) => return Err(ActionError::Unsupported),
            Action::Call { command: name, channel, argument } => {
                let command = command(name).ok_or_else(|| ActionError::NoSuchCommand(name.clone()))?;
                let refuse = |why: &str| ActionError::BadCall { command: name.clone(), why: why.to_owned() };
                if channel.is_some() {
                    return Err(refuse("a meter has no channels"));
                }
                let begun = self.begin_call(command, *argument).map_err(refuse)?;
                self.actions.extend(begun);
            }
        }
        steps.extend((first..self.actions.len()).map(|at| StepId(place(at) | ACTION)));
        Ok(())
    }

    fn begin_call(&self, command: Command, argument: Argument) -> Result<Vec<Step>, &'static str> {
        let settings = &self.settings;
        let is_2007 = settings.edition == Edition::V2007;
        let freeze = || (function::FREEZE, Box::from(Freeze::Instant.data()));
        Ok(match (command, argument) {
            (Command::BroadcastTime, Argument::At(now)) => {
                let dis = if is_2007 { [DATE_2007, TIME_2007] } else { [DATE_1997, TIME_1997] };
                dis.map(|di| Step::Clock { di, now }).into()
            }
            (Command::BroadcastTime, _) => return Err("it needs the time"),
            _ if !is_2007 => return Err("meters of 1997 have no such request"),
            (Command::Control(control), Argument::At(until)) => {
                let access = settings.access.ok_or("the site file has no password for this meter")?;
                if settings.address.is_wildcard() {
                    return Err("a meter that is cut off or connected must be named by its whole address");
                }
                let data = Box::from(control_data(control, access, until));
                vec![Step::Act { function: function::CONTROL, data }, Step::Relay]
            }
            (Command::Control(_), _) => return Err("it needs a deadline: the time until which the meter may obey"),
            (Command::Freeze, Argument::None) => {
                let (function, data) = freeze();
                vec![Step::Act { function, data }]
            }
            (Command::BroadcastFreeze, Argument::None) => {
                let (function, data) = freeze();
                vec![Step::Broadcast { function, data }]
            }
            (Command::Freeze | Command::BroadcastFreeze, _) => return Err("it takes no argument"),
        })
    }

    /// Takes the data of a reply to a request that is no read of points.
    pub(super) fn take_action(
        &self,
        step: StepId,
        payload: &[u8],
        answer: &mut LongAnswer,
        readings: &mut Vec<PointReading>,
    ) {
        let mut point = OWN_POINT;
        let value = match self.action(step) {
            Some(Step::Object(object)) => {
                point = PointIx(object.number);
                object.format.decode(payload)
            }
            Some(Step::Relay) => match *payload {
                [0xFF, 0xFF] => Err(NoData::NotAvailable),
                [low, high] => Ok(Value::Text(Relay::of(u16::from_le_bytes([low, high])).as_str().into())),
                _ => Err(NoData::BadReply),
            },
            Some(Step::ReadAddress) => {
                point = PointIx(ADDRESS);
                Format::Digits { bytes: 6 }.decode(payload)
            }
            Some(Step::Clock { di, now }) => {
                match (*di, payload) {
                    (DATE_2007 | DATE_1997, &[_, day, month, year]) => answer.date = Some([day, month, year]),
                    (TIME_2007 | TIME_1997, &[second, minute, hour]) => answer.time = Some([second, minute, hour]),
                    _ => return readings.push(PointReading::new(point, Err(NoData::BadReply))),
                }
                let refused = answer.clock().is_some_and(|meter| !self.may_set(meter, *now));
                if !refused {
                    return;
                }
                Err(NoData::OutOfRange)
            }
            Some(Step::FreezeTime { .. } | Step::Frozen { .. } | Step::OwnClock { .. }) => {
                return self.take_recalled(step, payload, answer, readings);
            }
            Some(
                Step::Read(_) | Step::Records { .. } | Step::Act { .. } | Step::Broadcast { .. } | Step::SetTime { .. },
            )
            | None => return,
        };
        readings.push(PointReading::new(point, value));
    }

    /// After the meter's time was read: broadcasts the true one if the standard allows it.
    pub(super) fn set_time(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        let Some(&Step::Clock { now, .. }) = self.action(step) else { return };
        let answer = self.answer.get_mut();
        let Some(meter) = answer.clock() else { return };
        (answer.date, answer.time) = (None, None);
        if self.may_set(meter, now) {
            steps.push(StepId(place(self.actions.len()) | ACTION));
            self.actions.push(Step::SetTime { asked: now, data: set_time_data(now) });
        }
    }

    /// Whether the time may be broadcast that was `asked` when the action was.
    fn may_set(&self, meter: LocalTime, asked: LocalTime) -> bool {
        asked.after(self.age).is_some_and(|now| may_set_time(meter, now, self.time_set).is_ok())
    }
}
