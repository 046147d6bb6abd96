//! Commands to their targets: what each target understands, and what is refused.

use std::collections::BTreeMap;

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{DeviceIx, Name, Stamp, Value};

use super::Engine;
use crate::catalog::PointRef;
use crate::command::{CommandId, Dispatch, Outcome, Source, Step, Target, WISH, What};
use crate::effect::{Act, ActId, Effect};
use crate::supply::SupplyRefusal;

/// What an action takes.
pub(super) type Args = BTreeMap<Name, Box<str>>;

/// A refusal with a stable reason and words for people.
pub(super) fn refused(reason: &str, detail: impl Into<String>) -> Outcome {
    Outcome::Refused { reason: reason.into(), detail: Some(detail.into().into()) }
}

/// The argument of that name.
pub(super) fn arg<'a>(args: &'a Args, name: &str) -> Option<&'a str> {
    args.iter().find(|(key, _)| **key == *name).map(|(_, value)| &**value)
}

impl Engine {
    /// Does what commands ask for.
    pub(super) fn route(&mut self, now: Stamp) -> bool {
        let mut any = false;
        while let Some(dispatch) = self.commands.poll_dispatch() {
            any = true;
            let id = dispatch.request.id.clone();
            let step = match dispatch.request.target.clone() {
                Target::Device(name) => self.ask_device(now, &name, &dispatch),
                Target::Gate(name) => self.ask_gate(now, &name, &dispatch),
                Target::Alarm(alarm) => self.ask_alarm(now, &alarm, &dispatch),
                Target::Ticket(number) => self.ask_ticket(now, number, &dispatch),
                Target::Access => self.ask_access(now, &dispatch),
                Target::Site => self.ask_site(now, &dispatch),
            };
            match step {
                Ok(None) => {}
                Ok(Some(step)) => {
                    self.commands.handle_step(now, &id, step);
                }
                Err(outcome) => {
                    self.commands.handle_step(now, &id, Step::Ended(outcome));
                }
            }
        }
        any
    }

    /// Who asks, for the records of others.
    pub(super) fn asker(dispatch: &Dispatch) -> String {
        match dispatch.source {
            Source::Core => format!("core:{}", dispatch.request.issuer),
            Source::Socket { uid } => format!("uid:{uid}:{}", dispatch.request.issuer),
        }
    }

    fn ask_device(&mut self, now: Stamp, name: &Name, dispatch: &Dispatch) -> Result<Option<Step>, Outcome> {
        let (device, _) =
            self.catalog.device_by_id(name).ok_or_else(|| refused("unknown_device", "the site has no such device"))?;
        if let Some(step) = self.ask_supply(now, device, dispatch)? {
            return Ok(Some(step));
        }
        let action = match &dispatch.request.what {
            What::Write { point, value } => self.write(device, point, value)?,
            What::Act { action, args } => self.call(device, action, args)?,
        };
        self.send_command(dispatch, device, action);
        Ok(Some(Step::Sent))
    }

    fn send_command(&mut self, dispatch: &Dispatch, device: DeviceIx, action: Action) -> ActId {
        let id = self.acts.begin(dispatch.request.id.clone());
        let expires = dispatch.expires;
        self.effects.push(Effect::Act(Act { id, device, action, expires, urgent: false, gate: None }));
        id
    }

    /// A command about the supply behind a device; `None`: it is about something else.
    fn ask_supply(&mut self, now: Stamp, device: DeviceIx, dispatch: &Dispatch) -> Result<Option<Step>, Outcome> {
        let (Some(spec), What::Act { action, args }) = (self.supplies.spec(device), &dispatch.request.what) else {
            return Ok(None);
        };
        let why = |refusal: SupplyRefusal| refused(refusal.as_str(), refusal.to_string());
        if *action == spec.cut {
            let signed = self.commands.is_signed(&dispatch.request);
            let asked = (&dispatch.request, signed);
            let argument = self.supplies.judge_cut(&now, device, asked, self.modes.mode()).map_err(why)?;
            let command = Action::Call { command: action.clone(), channel: None, argument };
            let act = self.send_command(dispatch, device, command);
            self.supplies.handle_cut(now, device, act);
            return Ok(Some(Step::Sent));
        }
        if **action == *WISH {
            let from = (&dispatch.request, dispatch.source);
            self.supplies.handle_wish(now, device, from, arg(args, "how")).map_err(why)?;
            return Ok(Some(Step::Ended(Outcome::Acknowledged)));
        }
        if *action == spec.connect || spec.permit.as_ref() == Some(action) {
            let detail = format!("a supply is given back by `{WISH}`, with how = permit or connect");
            return Err(refused("reserved", detail));
        }
        Ok(None)
    }

    fn write(&self, device: DeviceIx, point: &Name, value: &str) -> Result<Action, Outcome> {
        let config = self.catalog.device(device);
        let found = config.and_then(|config| config.point_by_name(point));
        let (ix, config) = found.ok_or_else(|| refused("unknown_point", "the device has no such point"))?;
        if !config.writable {
            return Err(refused("read_only", "the point cannot be written: its profile says read-only"));
        }
        if let Some(owner) = self.reserved.writes(PointRef { device, point: ix }) {
            return Err(refused("reserved", format!("the point belongs to {owner}: ask that instead")));
        }
        let value = Value::parse(config.kind, value).map_err(|why| refused("bad_value", why.to_string()))?;
        Ok(Action::Write(ix, value))
    }

    fn call(&self, device: DeviceIx, command: &Name, args: &Args) -> Result<Action, Outcome> {
        if let Some(owner) = self.reserved.calls(device) {
            return Err(refused("reserved", format!("the device works {owner}: ask that instead")));
        }
        let number = |name: &str| match arg(args, name) {
            None => Ok(None),
            Some(text) => {
                text.parse::<u16>().map(Some).map_err(|_| refused("bad_args", format!("{name} takes a number")))
            }
        };
        let on = match arg(args, "on") {
            None => None,
            Some(text) => match text {
                "true" | "on" => Some(true),
                "false" | "off" => Some(false),
                _ => return Err(refused("bad_args", "on takes true or false")),
            },
        };
        let argument = match (number("units")?, number("value")?, on) {
            (None, None, None) => Argument::None,
            (Some(units), None, None) => Argument::Units(units),
            (None, Some(value), None) => Argument::Value(u64::from(value)),
            (None, None, Some(on)) => Argument::On(on),
            _ => return Err(refused("bad_args", "one of units, value and on, not several")),
        };
        Ok(Action::Call { command: command.clone(), channel: number("channel")?, argument })
    }

    /// Ends a command whose act has ended.
    pub(super) fn command_ended(&mut self, now: Stamp, id: &CommandId, outcome: Outcome) {
        self.commands.handle_step(now, id, Step::Ended(outcome));
    }
}
