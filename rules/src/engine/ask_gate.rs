//! Commands to gates, and what became of them.

use gatehouse_core::{Name, Stamp};

use super::Engine;
use super::ask_alarm::{Asked, action, unknown};
use super::routing::{arg, refused};
use crate::command::{CommandId, Dispatch, Outcome, Source, Step as CommandStep};
use crate::gate::{GateAction, GateCommand, Step};
use crate::words::DecidedBy;

impl Engine {
    pub(super) fn ask_gate(&mut self, now: Stamp, gate: &Name, dispatch: &Dispatch) -> Asked {
        let (name, args) = action(dispatch)?;
        let known = || GateAction::ALL.map(GateAction::as_str).join(", ");
        let action = GateAction::from_name(name).ok_or_else(|| unknown(name, &known()))?;
        let by_override = match arg(args, "override") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(refused("bad_args", format!("override is true or false, not {other:?}"))),
        };
        let by = match dispatch.source {
            Source::Core => DecidedBy::Command,
            Source::Socket { .. } => DecidedBy::Guard,
        };
        self.gates.handle_command(
            now,
            &GateCommand {
                id: dispatch.request.id.as_str().into(),
                gate: gate.to_string(),
                action,
                who: Engine::asker(dispatch),
                by,
                by_override,
                expires: dispatch.expires,
            },
        );
        Ok(None)
    }

    /// Tells the commands how the gates get on with them.
    pub(super) fn gate_steps(&mut self, now: Stamp) -> bool {
        let mut any = false;
        while let Some(told) = self.gates.poll_step() {
            any = true;
            let (Some(id), Some(step)) = (CommandId::new(&told.command), step(told.step, told.last)) else { continue };
            self.commands.handle_step(now, &id, step);
        }
        any
    }
}

/// What a gate's step means for its command; the gate's own acceptance says nothing new.
fn step(step: Step, last: bool) -> Option<CommandStep> {
    Some(match step {
        Step::Accepted => return None,
        Step::Refused(reason) => CommandStep::Ended(Outcome::Refused { reason: reason.into(), detail: None }),
        Step::Sent => CommandStep::Sent,
        Step::Acknowledged if last => CommandStep::Ended(Outcome::Acknowledged),
        Step::Acknowledged => CommandStep::Acknowledged,
        Step::Confirmed => CommandStep::Ended(Outcome::Verified { read_back: None }),
        Step::NotConfirmed(reason) => CommandStep::Ended(Outcome::Unknown {
            reason: reason.into(),
            detail: Some("it was sent, and the sensors did not show it: look before you try again".into()),
        }),
        Step::Failed(why) => CommandStep::Ended(Outcome::Failed { reason: why.into(), detail: None }),
        Step::Unknown => CommandStep::Ended(Outcome::Unknown {
            reason: "no_answer".into(),
            detail: Some("it may have been done, and no sensor tells: look before you try again".into()),
        }),
    })
}
