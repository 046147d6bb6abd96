//! What a meter is asked beside its polls: values now, its address, the valve, the clock.

use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Argument};
use gatehouse_core::{LocalTime, PointIx, PointReading, StepId, Value};

use super::{ACTION, Cjt188Meter, Motion, Step, is_anyone, place};
use crate::cjt188::frame::Frame;
use crate::cjt188::layout::Field;
use crate::cjt188::point::Cjt188Point;
use crate::cjt188::value::Valve;

/// Stands for a value that is no point of the meter's profile: the valve, the clock, the address.
pub(super) const OWN_POINT: PointIx = PointIx(u16::MAX);
/// Stands for the kind of meter that answered.
const TYPE_POINT: PointIx = PointIx(u16::MAX - 1);
/// Time between two looks at a valve that travels.
pub(super) const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Farthest that a clock may be off right after it was set.
const CLOCK_TOLERANCE_S: i64 = 60;

/// A command of every meter; no profile lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Valve(Motion),
    SetTime,
}

const COMMANDS: [(&str, Command); 3] = [
    ("valve_open", Command::Valve(Motion::Open)),
    ("valve_close", Command::Valve(Motion::Close)),
    ("set_time", Command::SetTime),
];

fn command(name: &str) -> Option<Command> {
    COMMANDS.iter().find(|(known, _)| *known == name).map(|(_, command)| *command)
}

impl Motion {
    /// The code of the valve that several makers agree on.
    pub(super) fn code(self) -> u8 {
        match self {
            Motion::Open => 0x55,
            Motion::Close => 0x99,
        }
    }

    /// Where the valve is when it has obeyed.
    fn target(self) -> Valve {
        match self {
            Motion::Open => Valve::Open,
            Motion::Close => Valve::Closed,
        }
    }
}

/// Whether what was read after a command says that it was obeyed: the valve is where it was told to go, the clock shows
/// the time that was set.
pub(super) fn proves(action: &Action, value: &Value) -> bool {
    let (Action::Call { command: name, argument, .. }, Value::Text(text)) = (action, value) else { return false };
    match (command(name), argument) {
        (Some(Command::Valve(motion)), _) => **text == *motion.target().as_str(),
        (Some(Command::SetTime), Argument::At(set)) => {
            parse_time(text).is_some_and(|shown| shown.seconds_since(*set).abs() <= CLOCK_TOLERANCE_S)
        }
        (Some(Command::SetTime), _) | (None, _) => false,
    }
}

/// The time that the clock's text shows: `2026-03-14T15:09:26`.
fn parse_time(text: &str) -> Option<LocalTime> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-');
    let mut time = time.splitn(3, ':');
    let year = date.next()?.parse().ok()?;
    let part = |from: &mut std::str::SplitN<'_, char>| from.next()?.parse::<u8>().ok();
    let (month, day) = (part(&mut date)?, part(&mut date)?);
    LocalTime::new(year, month, day, part(&mut time)?, part(&mut time)?, part(&mut time)?)
}

/// The name of what a meter says of itself; `number` stands in place of a point.
pub fn object_name(number: u16) -> Option<&'static str> {
    match PointIx(number) {
        TYPE_POINT => Some("meter_type"),
        OWN_POINT => Some("address"),
        PointIx(_) => None,
    }
}

impl Cjt188Meter {
    pub(super) fn begin_action(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        let first = self.actions.len();
        match action {
            Action::Recall { back: 1.., .. }
            | Action::LoadRecords { .. }
            | Action::Registers(_)
            | Action::Controller(_) => {
                return Err(ActionError::Unsupported);
            }
            Action::Read(points) | Action::Recall { points, back: 0 } => {
                let all: Vec<PointIx> =
                    (0..self.points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect();
                let reads = self.plan(if points.is_empty() { &all } else { points });
                self.actions.extend(reads.into_iter().map(Step::Read));
            }
            Action::Write(..) => return Err(ActionError::ReadOnly),
            // To be asked with all digits open, which only a meter that is alone may be.
            Action::Identify if is_anyone(&self.settings) => self.actions.push(Step::ReadAddress),
            Action::Identify => return Err(ActionError::Unsupported),
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

    fn begin_call(&self, command: Command, argument: Argument) -> Result<[Step; 2], &'static str> {
        let settings = &self.settings;
        if settings.address.is_wildcard() || settings.traits.meter_type == crate::cjt188::MeterType::ANY {
            return Err("a meter that is changed must be named by its whole address and its type");
        }
        match (command, argument) {
            (Command::Valve(motion), Argument::None) => Ok([Step::Move(motion), Step::Look(motion)]),
            (Command::Valve(_), _) => Err("it takes no argument"),
            (Command::SetTime, Argument::At(now)) => Ok([Step::SetTime(now), Step::Clock]),
            (Command::SetTime, _) => Err("it needs the time"),
        }
    }

    /// Takes the data of a reply to a request that is no read of points.
    pub(super) fn take_action(&self, step: StepId, frame: &Frame, payload: &[u8], readings: &mut Vec<PointReading>) {
        let read = |field| Cjt188Point::usual(self.settings.edition, field).decode(&self.settings.traits, payload);
        let value = match self.action(step) {
            Some(Step::Look(_)) => {
                let value = read(Field::Valve);
                let states = [Valve::Open, Valve::Closed, Valve::Abnormal, Valve::Undefined];
                let is = |state: &Valve| matches!(&value, Ok(Value::Text(text)) if **text == *state.as_str());
                self.seen.set(states.into_iter().find(is));
                value
            }
            Some(Step::Clock) => read(Field::Clock),
            Some(Step::ReadAddress) => {
                let kind = Value::Text(frame.meter_type.to_string().into());
                readings.push(PointReading::new(TYPE_POINT, Ok(kind)));
                Ok(Value::Text(frame.address.to_string().into()))
            }
            Some(Step::Read(_) | Step::Move(_) | Step::SetTime(_)) | None => return,
        };
        readings.push(PointReading::new(OWN_POINT, value));
    }

    /// After a look at a valve that is not there yet: looks again while it may travel.
    pub(super) fn look_again(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        let seen = self.seen.take();
        let Some(&Step::Look(motion)) = self.action(step) else { return };
        let looks = self.actions.iter().filter(|step| matches!(step, Step::Look(_))).count();
        let waited = LOOK_PAUSE.saturating_mul(u32::try_from(looks).unwrap_or(u32::MAX));
        let travels = seen.is_some_and(|valve| valve != motion.target());
        if travels && waited < self.settings.traits.valve_travel {
            steps.push(StepId(place(self.actions.len()) | ACTION));
            self.actions.push(Step::Look(motion));
        }
    }
}
