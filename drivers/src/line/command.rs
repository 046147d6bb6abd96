//! The command lane: what people and rules ask for, ahead of all polls.

use std::collections::VecDeque;

use gatehouse_core::driver::Action;
use gatehouse_core::{Driver, Mono, NoData, PointIx, PointReading, Value};

use super::output::{Command, CommandResult};
use super::poll::Steps;

/// Most commands that wait on one line.
pub(super) const QUEUE_MAX: usize = 64;

/// Most of these for which nobody hurries, so that there is always room for others.
pub(super) const PATIENT_MAX: usize = 4;

/// Commands that wait, and those under way: at most one for each device.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// Each with the time at which it was asked for.
    pub(super) queue: VecDeque<(Mono, Command)>,
    /// In the order of their arrival.
    pub(super) active: Vec<Active>,
}

/// A command under way.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) command: Command,
    /// Place of the device in the line.
    pub(super) device: usize,
    pub(super) steps: Steps,
    /// When it was asked for.
    pub(super) asked: Mono,
    /// True once a request went out.
    pub(super) begun: bool,
    /// What became of the write.
    pub(super) write: Option<Written>,
    pub(super) readings: Vec<PointReading>,
    pub(super) not_before: Mono,
    pub(super) held_until: Mono,
}

/// What is known of a write that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The device confirmed it.
    Confirmed,
    /// It is never answered.
    Broadcast,
    /// It may have been done.
    Doubtful(NoData),
}

impl Command {
    /// True for what nobody hurries for: it takes its turn among the polls, and not before them.
    pub(super) fn is_patient(&self) -> bool {
        matches!(self.action, Action::Registers(_))
    }
}

impl Commands {
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.active.len()
    }

    /// How many there are for which nobody hurries.
    pub(super) fn patient(&self) -> usize {
        let waiting = self.queue.iter().filter(|(_, command)| command.is_patient()).count();
        waiting + self.active.iter().filter(|active| active.command.is_patient()).count()
    }

    pub(super) fn find(&mut self, id: u64) -> Option<&mut Active> {
        self.active.iter_mut().find(|active| active.command.id == id)
    }
}

impl Active {
    pub(super) fn new((asked, command): (Mono, Command), device: usize, steps: Steps) -> Self {
        let (not_before, held_until) = (Mono(0), Mono(0));
        Active {
            command,
            device,
            steps,
            asked,
            begun: false,
            write: None,
            readings: Vec::new(),
            not_before,
            held_until,
        }
    }

    /// When it may be sent, silences and the device's pause aside.
    pub(super) fn ready_at(&self) -> Mono {
        self.not_before.max(self.held_until)
    }

    /// How it ended, all its steps done; `failure` is what the last step died of.
    pub(super) fn result(mut self, failure: Option<NoData>, driver: &dyn Driver) -> CommandResult {
        if !self.command.action.acts() {
            let nothing = self.readings.iter().all(|reading| reading.value.is_err());
            if let (Some(reason), true) = (failure, nothing) {
                return CommandResult::Failed(reason);
            }
            // What has several values of one point has them in order.
            self.readings.sort_by_key(|reading| reading.point);
            return CommandResult::Read(self.readings);
        }
        let action = &self.command.action;
        let read_back = match action {
            Action::Write(point, _) => read_back(&mut self.readings, *point),
            // What a command reads itself is only there to prove it.
            Action::Call { .. } => self.readings.pop().map(|reading| reading.value),
            Action::Read(_)
            | Action::Recall { .. }
            | Action::Identify
            | Action::LoadRecords { .. }
            | Action::Registers(_)
            | Action::Controller(_) => None,
        };
        let proves = |value: &Value| match action {
            Action::Write(_, wanted) => same_value(value, wanted),
            Action::Call { .. } => driver.proves(action, value),
            Action::Read(_)
            | Action::Recall { .. }
            | Action::Identify
            | Action::LoadRecords { .. }
            | Action::Registers(_)
            | Action::Controller(_) => false,
        };
        match (self.write, read_back) {
            (None, read_back) => {
                let found = read_back.and_then(Result::err);
                CommandResult::Failed(failure.or(found).unwrap_or(NoData::Timeout))
            }
            (Some(Written::Broadcast), _) => CommandResult::Sent,
            (Some(_), Some(Ok(value))) if proves(&value) => CommandResult::Verified(value),
            (Some(Written::Confirmed), read_back) => CommandResult::Acknowledged(read_back),
            (Some(Written::Doubtful(reason)), read_back) => CommandResult::Unknown(reason, read_back),
        }
    }
}

fn read_back(readings: &mut Vec<PointReading>, point: PointIx) -> Option<Result<Value, NoData>> {
    let at = readings.iter().position(|reading| reading.point == point)?;
    Some(readings.swap_remove(at).value)
}

/// True if both are the same value, however they are written.
fn same_value(a: &Value, b: &Value) -> bool {
    match (a.to_decimal(), b.to_decimal()) {
        (Some(a), Some(b)) => a.same_number(b),
        _ => a == b,
    }
}
