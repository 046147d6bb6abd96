//! What a controller is asked beside its polls: values now, who it is, to open a door, its events and its list.

use gatehouse_core::driver::{Action, ActionError, Argument};
use gatehouse_core::{ControllerAsk, ListedCard, Name, PointIx, PointReading, StepId, Value};

use super::{ACTION, Step, UhppoteController, place};
use crate::profile::{Channels, Command, Payload};
use crate::uhppote::date::Date;
use crate::uhppote::reply::Reply;
use crate::uhppote::request::{Card, Request};
use crate::uhppote::untold::Untold;

/// The command that opens a door.
const OPEN: &str = "open";
/// The command that sets the clock.
const SET_TIME: &str = "set_time";
/// Numbers of an identity's texts: those of Modbus where they mean the same.
const PRODUCT_CODE: u16 = 1;
const REVISION: u16 = 2;
const ADDRESS: u16 = 128;
const MAC: u16 = 129;

/// What every controller can do beyond points.
///
/// # Panics
/// Never: the names are names.
pub fn commands() -> [Command; 1] {
    [Command {
        name: Name::new(OPEN).expect("it is a name"),
        function: 0,
        address: 0,
        channels: Some(Channels { first: 1, count: 4, step: 1 }),
        payload: Payload::Fixed(Vec::new()),
        broadcast: false,
        then: None,
        note: "unlocks the door for the delay that the controller holds".to_owned(),
    }]
}

/// The texts of who a controller is.
pub(super) fn identity(reply: &Reply, readings: &mut Vec<PointReading>) {
    let Reply::Device(device) = reply else { return };
    let [high, low] = device.version;
    let [a, b, c, d] = device.address;
    let mac = device.mac.map(|byte| format!("{byte:02x}")).join(":");
    let texts = [
        (PRODUCT_CODE, "UHPPOTE".to_owned()),
        (REVISION, format!("{high:02x}.{low:02x} of {}", device.date)),
        (ADDRESS, format!("{a}.{b}.{c}.{d}")),
        (MAC, mac),
    ];
    let reading = |(number, text): (u16, String)| PointReading::new(PointIx(number), Ok(Value::Text(text.into())));
    readings.extend(texts.map(reading));
}

/// A list's entry as the wire has it.
fn wire(card: &ListedCard) -> Result<Card, ActionError> {
    let unfit =
        |hint: &str| ActionError::Unrepresentable { value: "a card".to_owned(), kind: "card", hint: hint.to_owned() };
    let day = |time: Option<_>| time.map(Date::of).ok_or_else(|| unfit("it needs a first and a last day"));
    if card.pin >= 1 << 20 {
        return Err(unfit("a PIN of at most six digits"));
    }
    let (from, until) = (Some(day(card.from)?), Some(day(card.until)?));
    let ListedCard { number, doors, pin, first_card, .. } = *card;
    let (number, pin) = (Untold::new(number.reveal()), Untold::new(pin));
    Ok(Card { number, from, until, doors, pin, first_card })
}

impl UhppoteController {
    pub(super) fn begin_action(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        let first = self.actions.len();
        match action {
            Action::Read(points) => {
                let all: Vec<PointIx> =
                    (0..self.points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect();
                let reads = self.plan(if points.is_empty() { &all } else { points });
                self.actions.extend(reads.into_iter().map(Step::Read));
            }
            Action::Write(..) => return Err(ActionError::ReadOnly),
            // Controllers count nothing that is billed.
            Action::Recall { .. } | Action::LoadRecords { .. } | Action::Registers(_) => {
                return Err(ActionError::Unsupported);
            }
            Action::Identify => self.actions.push(Step::Identify),
            Action::Controller(ask) => {
                let request = self.ask(ask)?;
                self.actions.push(Step::Ask(request));
            }
            Action::Call { command, channel, argument } => {
                let request = call(command, *channel, *argument)?;
                self.actions.push(Step::Act(request));
            }
        }
        steps.extend((first..self.actions.len()).map(|at| StepId(place(at) | ACTION)));
        Ok(())
    }

    fn ask(&self, ask: &ControllerAsk) -> Result<Request, ActionError> {
        Ok(match ask {
            ControllerAsk::Event(index) => Request::Event(*index),
            ControllerAsk::CardCount => Request::CardCount,
            ControllerAsk::CardAt(at) => Request::CardAt(*at),
            ControllerAsk::Card(number) => Request::Card(Untold::new(number.reveal())),
            ControllerAsk::PutCard(card) => Request::PutCard(wire(card)?),
            ControllerAsk::DropCard(number) => Request::DeleteCard(Untold::new(number.reveal())),
            ControllerAsk::Listen => {
                let listener = self.settings.listener.ok_or(ActionError::Unsupported)?;
                Request::SetListener { address: listener.address, port: listener.port, interval_s: 0 }
            }
        })
    }
}

fn call(command: &Name, channel: Option<u16>, argument: Argument) -> Result<Request, ActionError> {
    let refuse = |why: &str| ActionError::BadCall { command: command.clone(), why: why.to_owned() };
    match (command.as_str(), channel, argument) {
        (OPEN, Some(door @ 1..=4), Argument::None) => {
            Ok(Request::OpenDoor { door: u8::try_from(door).map_err(|_| refuse("there is no such door"))? })
        }
        (OPEN, None, _) => Err(refuse("which door? it has 1 to 4")),
        (OPEN, Some(_), Argument::None) => Err(refuse("there is no such door, the controller has 1 to 4")),
        (OPEN, Some(_), _) => Err(refuse("it takes no argument: the controller holds how long it unlocks")),
        (SET_TIME, None, Argument::At(now)) => Ok(Request::SetTime(now)),
        (SET_TIME, Some(_), _) => Err(refuse("it has no channels")),
        (SET_TIME, None, _) => Err(refuse("it needs the time")),
        _ => Err(ActionError::NoSuchCommand(command.clone())),
    }
}
