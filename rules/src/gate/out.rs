//! What the gates want of the others: effects, steps of commands and passages.

use std::collections::VecDeque;

use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Mono, Name};

use super::command::{CommandStep, Step};
use super::mint::Mint;
use crate::effect::{Act, ActId, Effect, Effects};
use crate::words::Passed;

/// Everything that leaves the gates, until it is polled.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) effects: Effects,
    pub(super) mint: Mint,
    pub(super) steps: VecDeque<CommandStep>,
    pub(super) passed: VecDeque<Passed>,
    next_act: u64,
}

impl Out {
    pub(super) fn new(first: ActId) -> Self {
        Out {
            effects: Effects::default(),
            mint: Mint::new(),
            steps: VecDeque::new(),
            passed: VecDeque::new(),
            next_act: first.0,
        }
    }

    /// Has a device act for a gate.
    pub(super) fn act(&mut self, gate: &Name, device: DeviceIx, action: Action, expires: Mono, urgent: bool) -> ActId {
        let id = ActId(self.next_act);
        self.next_act = self.next_act.saturating_add(1);
        self.effects.push(Effect::Act(Act { id, device, action, expires, urgent, gate: Some(gate.clone()) }));
        id
    }

    /// Tells a step that others follow.
    pub(super) fn step(&mut self, command: Option<&str>, step: Step) {
        self.tell(command, step, false);
    }

    /// Tells the last step of a command.
    pub(super) fn last_step(&mut self, command: Option<&str>, step: Step) {
        self.tell(command, step, true);
    }

    fn tell(&mut self, command: Option<&str>, step: Step, last: bool) {
        if let Some(command) = command {
            self.steps.push_back(CommandStep { command: command.into(), step, last });
        }
    }
}
