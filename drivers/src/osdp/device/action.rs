//! What a reader is told beside its polls: outputs, lights, noises, texts, address and speed.

use gatehouse_core::driver::{Action, ActionError, Argument};
use gatehouse_core::{Name, PointIx, StepId, Value};

use super::{ACTION, OsdpReader};
use crate::osdp::command::{Blink, BuzzerControl, Command, LedControl, OutputControl, TextControl};
use crate::osdp::point::OsdpPoint;
use crate::osdp::shown::Shown;

/// Colours by name, as the standard numbers them.
const FLASHES: [(&str, u8); 4] = [("flash_red", 1), ("flash_green", 2), ("flash_amber", 3), ("flash_blue", 4)];
/// The last colour.
const WHITE: u8 = 7;
/// Longest text of a display.
const TEXT_BYTES: usize = 64;
/// Speeds that the standard has (5.2).
const SPEEDS: [u32; 6] = [9600, 19_200, 38_400, 57_600, 115_200, 230_400];

/// One exchange of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Goes on with start-up until the reader can be told something.
    Ready,
    /// Tells it.
    Act(Command, Done),
    /// Reads points.
    Show(Vec<PointIx>),
    /// Tells who the reader is.
    Who,
}

/// What a reader shows once it was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Done {
    Nothing,
    Light(u8, u8),
    Display(Box<str>),
}

impl Done {
    pub(super) fn note(&self, shown: &mut Shown) {
        match self {
            Done::Nothing => {}
            Done::Light(led, colour) => shown.note_light(*led, *colour),
            Done::Display(text) => shown.note_display(text),
        }
    }
}

impl OsdpReader {
    pub(super) fn begin_action(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        let first = self.actions.len();
        match action {
            Action::Read(points) if points.is_empty() => {
                let all = (0..self.points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx));
                self.actions.push(Step::Show(all.collect()));
            }
            Action::Read(points) => {
                let mut points = points.clone();
                points.sort_unstable();
                points.dedup();
                self.actions.push(Step::Show(points));
            }
            // A reader keeps no registers, and is no controller of doors.
            Action::Recall { .. } | Action::LoadRecords { .. } | Action::Registers(_) | Action::Controller(_) => {
                return Err(ActionError::Unsupported);
            }
            Action::Identify => self.actions.extend([Step::Ready, Step::Who]),
            Action::Write(point, value) => {
                let spec = self.points.get(usize::from(point.0)).copied();
                let (command, done) = write(spec.ok_or(ActionError::ReadOnly)?, value)?;
                self.tell(command, done);
            }
            Action::Call { command: name, channel, argument } => {
                let (command, done) = call(name, *channel, *argument)?;
                self.tell(command, done);
            }
        }
        let ids = (first..self.actions.len()).filter_map(|at| u32::try_from(at).ok());
        steps.extend(ids.map(|at| StepId(at | ACTION)));
        Ok(())
    }

    fn tell(&mut self, command: Command, done: Done) {
        if !self.session.is_free() {
            self.actions.push(Step::Ready);
        }
        self.actions.push(Step::Act(command, done));
    }
}

/// What writing a point sends.
fn write(point: OsdpPoint, value: &Value) -> Result<(Command, Done), ActionError> {
    let unsuitable =
        |kind, hint: &str| ActionError::Unrepresentable { value: value.to_string(), kind, hint: hint.into() };
    match point {
        OsdpPoint::Output(number) => match value {
            Value::Bool(on) => Ok((switch(number, *on), Done::Nothing)),
            _ => Err(unsuitable("switch", "write on or off")),
        },
        OsdpPoint::Light(led) => {
            let colour = value.to_decimal().filter(|colour| colour.exponent == 0);
            let colour = colour.and_then(|colour| u8::try_from(colour.mantissa).ok()).filter(|colour| *colour <= WHITE);
            let hint = "0 off, 1 red, 2 green, 3 amber, 4 blue, 5 magenta, 6 cyan, 7 white";
            let colour = colour.ok_or_else(|| unsuitable("colour", hint))?;
            Ok((light(led, colour), Done::Light(led, colour)))
        }
        OsdpPoint::Display => match value {
            Value::Text(text) if text.len() <= TEXT_BYTES && text.bytes().all(|byte| (0x20..0x7F).contains(&byte)) => {
                Ok((show(text), Done::Display(text.clone())))
            }
            _ => Err(unsuitable("text", "at most 64 characters of ASCII")),
        },
        OsdpPoint::Card
        | OsdpPoint::Cards
        | OsdpPoint::Dropped
        | OsdpPoint::Keys
        | OsdpPoint::KeyCount
        | OsdpPoint::Tamper
        | OsdpPoint::PowerFailed
        | OsdpPoint::Input(_)
        | OsdpPoint::Connected
        | OsdpPoint::Secure => Err(ActionError::ReadOnly),
    }
}

/// What a command by name sends.
fn call(name: &Name, channel: Option<u16>, argument: Argument) -> Result<(Command, Done), ActionError> {
    let refuse = |why: &str| ActionError::BadCall { command: name.clone(), why: why.to_owned() };
    let channel =
        channel.map(|channel| u8::try_from(channel).map_err(|_| refuse("channels are 0 to 255"))).transpose()?;
    let tenths = |most: u16| match argument {
        Argument::Units(units) if (1..=most).contains(&units) => Ok(units),
        _ => Err(refuse(&format!("it needs a time of 1 to {most} units of 100 ms"))),
    };
    if let Some((_, colour)) = FLASHES.iter().find(|(flash, _)| *name == **flash) {
        let temporary = Blink { control: 2, on: 2, off: 0, on_colour: *colour, off_colour: 0 };
        let led =
            LedControl { led: channel.unwrap_or(0), temporary, timer: tenths(u16::MAX)?, ..LedControl::default() };
        return Ok((Command::Leds(vec![led]), Done::Nothing));
    }
    match name.as_str() {
        "beep" => {
            let on = u8::try_from(tenths(255)?).unwrap_or(u8::MAX);
            Ok((Command::Buzzer(BuzzerControl { reader: 0, tone: 2, on, off: 0, count: 1 }), Done::Nothing))
        }
        "pulse" => {
            let number = channel.ok_or_else(|| refuse("it needs a channel, counted from 0"))?;
            let pulse = OutputControl { number, control: 5, timer: tenths(u16::MAX)? };
            Ok((Command::Outputs(vec![pulse]), Done::Nothing))
        }
        "set_communication" => {
            let address = channel.filter(|address| *address < 127).ok_or_else(|| refuse("addresses are 0 to 126"))?;
            let Argument::Value(baud) = argument else { return Err(refuse("it needs a speed, for example 9600")) };
            let baud = u32::try_from(baud).ok().filter(|baud| SPEEDS.contains(baud));
            let baud = baud.ok_or_else(|| refuse("speeds are 9600, 19200, 38400, 57600, 115200 and 230400"))?;
            Ok((Command::Communication { address, baud }, Done::Nothing))
        }
        _ => Err(ActionError::NoSuchCommand(name.clone())),
    }
}

fn switch(number: u8, on: bool) -> Command {
    Command::Outputs(vec![OutputControl { number, control: if on { 2 } else { 1 }, timer: 0 }])
}

fn light(led: u8, colour: u8) -> Command {
    let permanent = Blink { control: 1, on: 10, off: 0, on_colour: colour, off_colour: 0 };
    Command::Leds(vec![LedControl { led, permanent, ..LedControl::default() }])
}

fn show(text: &str) -> Command {
    Command::Text(TextControl { reader: 0, command: 1, seconds: 0, row: 1, column: 1, text: text.to_owned() })
}
