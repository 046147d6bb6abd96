//! Acts of commands to devices: their numbers, and which command each belongs to.

use std::collections::BTreeMap;

use crate::command::CommandId;
use crate::effect::ActId;

/// More acts under way than commands can be held: of the oldest nobody will tell any more.
const MOST: usize = 8192;

/// The first number of a machine's acts in one run of the engine: runs and machines never share numbers.
pub(super) fn first(run: u32, machine: u64) -> ActId {
    ActId((u64::from(run) << 37) + (machine << 34) + 1)
}

/// The acts of commands that are under way.
#[derive(Debug)]
pub(super) struct Acts {
    next: ActId,
    commands: BTreeMap<ActId, CommandId>,
}

impl Acts {
    /// No acts yet; they are numbered from `first` on.
    pub(super) fn new(first: ActId) -> Self {
        Acts { next: first, commands: BTreeMap::new() }
    }

    /// A number for an act.
    pub(super) fn begin(&mut self, command: CommandId) -> ActId {
        let id = self.next;
        self.next = ActId(id.0 + 1);
        if self.commands.len() >= MOST {
            self.commands.pop_first();
        }
        self.commands.insert(id, command);
        id
    }

    /// The command whose act has ended; each ends once.
    pub(super) fn end(&mut self, id: ActId) -> Option<CommandId> {
        self.commands.remove(&id)
    }
}
