//! Commands to the box's own device.
//!
//! - `Write` switches a relay on or off to stay so.
//! - `Call` of `pulse` switches the relay on that `channel` counts (from 1, in the order of the settings), for so many
//!   units of 100 ms.
//! - `Read` gives what is known at this moment.

use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Argument};
use gatehouse_core::{Mono, Name, NoData, PointIx, PointReading, Value};

use super::{BoxDevice, Command, CommandResult, EdgeInput, Output};
use crate::relay::{Driven, PulseOutput};

/// One unit of a pulse's length.
const UNIT: Duration = Duration::from_millis(100);

impl<C: EdgeInput, R: PulseOutput> BoxDevice<C, R> {
    /// Does what is asked, at once and once; the result is an output, after the change that it made.
    pub fn handle_command(&mut self, now: Mono, command: Command) {
        let result = if now >= command.expires { CommandResult::Expired } else { self.act(now, &command.action) };
        self.tell_relays(now);
        self.outputs.push_back(Output::CommandDone { id: command.id, at: now, result });
    }

    fn act(&mut self, now: Mono, action: &Action) -> CommandResult {
        match action {
            Action::Read(points) => CommandResult::Read(self.readings(points)),
            Action::Write(point, value) => self.write(*point, value),
            Action::Call { command, channel, argument } => {
                self.call(now, command, *channel, *argument).unwrap_or_else(CommandResult::Refused)
            }
            Action::Recall { points, back: 0 } => CommandResult::Read(self.readings(points)),
            Action::Recall { .. }
            | Action::Identify
            | Action::LoadRecords { .. }
            | Action::Registers(_)
            | Action::Controller(_) => CommandResult::Refused(ActionError::Unsupported),
        }
    }

    /// The points that were asked for, or all, ascending and each once.
    fn readings(&self, asked: &[PointIx]) -> Vec<PointReading> {
        let mut readings = self.line_readings();
        readings.extend(self.climate_readings());
        readings.retain(|reading| asked.is_empty() || asked.contains(&reading.point));
        readings
    }

    fn write(&mut self, point: PointIx, value: &Value) -> CommandResult {
        let relay = usize::from(point.0).checked_sub(self.inputs.len()).and_then(|at| self.relays.get_mut(at));
        let Some(relay) = relay else { return CommandResult::Refused(ActionError::ReadOnly) };
        let Value::Bool(on) = value else {
            return CommandResult::Refused(ActionError::Unrepresentable {
                value: value.to_string(),
                kind: "bool",
                hint: "write true or false".to_owned(),
            });
        };
        result(relay.write(*on), *on)
    }

    fn call(
        &mut self,
        now: Mono,
        command: &Name,
        channel: Option<u16>,
        argument: Argument,
    ) -> Result<CommandResult, ActionError> {
        if *command != "pulse" {
            return Err(ActionError::NoSuchCommand(command.clone()));
        }
        let bad = |why: String| ActionError::BadCall { command: command.clone(), why };
        let count = self.relays.len();
        let relay = channel.and_then(|channel| self.relays.get_mut(usize::from(channel).checked_sub(1)?));
        let relay = relay.ok_or_else(|| bad(format!("name the relay by its channel, 1 to {count}")))?;
        let Argument::Units(units) = argument else {
            return Err(bad("say how long it lasts, in units of 100 ms".to_owned()));
        };
        let driven = relay.pulse(now, UNIT * u32::from(units)).map_err(|refusal| bad(refusal.to_string()))?;
        Ok(result(driven, true))
    }
}

fn result(driven: Driven, wanted: bool) -> CommandResult {
    match driven {
        Driven::Verified => CommandResult::Verified(Value::Bool(wanted)),
        Driven::Acknowledged(read) => CommandResult::Acknowledged(read.map(|on| Ok(Value::Bool(on)))),
        Driven::Failed => CommandResult::Failed(NoData::BusDown),
        Driven::Unknown => CommandResult::Unknown(NoData::BusDown),
    }
}
