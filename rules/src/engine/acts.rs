//! Whose act it is: each machine numbers its own, the engine gives them numbers that no other has.

use std::collections::BTreeMap;

use crate::command::CommandId;
use crate::effect::ActId;

/// Who asked for an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// A command to a device.
    Command(CommandId),
    /// A gate, by its own number.
    Gate(ActId),
    /// A ticket's escalation, by its own number.
    Ticket(ActId),
}

/// The acts under way.
#[derive(Debug, Default)]
pub(super) struct Acts {
    next: u64,
    owners: BTreeMap<ActId, Owner>,
}

impl Acts {
    /// A number for an act.
    pub(super) fn begin(&mut self, owner: Owner) -> ActId {
        self.next += 1;
        let id = ActId(self.next);
        self.owners.insert(id, owner);
        id
    }

    /// Whose act has ended; each ends once.
    pub(super) fn end(&mut self, id: ActId) -> Option<Owner> {
        self.owners.remove(&id)
    }
}
