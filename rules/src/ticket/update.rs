//! What the core says of a ticket: each update counts once, and their order makes no difference.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::TicketState;
use super::text::bounded;

/// Update ids that a ticket remembers.
const IDS_MAX: usize = 16;
/// Revisions that have not come, which a ticket remembers.
const MISSING_MAX: usize = 16;
/// Most bytes of an update id or the core's number.
const ID_BYTES: usize = 64;
/// Most bytes of an assignee.
const ASSIGNEE_BYTES: usize = 96;

/// An update of one ticket by the core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The box's number of the ticket.
    pub ticket: u64,
    /// Names the update: at most 64 bytes.
    pub id: String,
    /// Counts the core's updates of this ticket, from 1.
    pub rev: u64,
    /// The last `box_rev` of the ticket that the core had seen, where it says so.
    #[serde(default)]
    pub seen_box_rev: Option<u64>,
    /// The core's own number of the ticket.
    #[serde(default)]
    pub core_number: Option<String>,
    /// The state that it is to have. Never [`TicketState::Merged`].
    #[serde(default)]
    pub state: Option<TicketState>,
    /// Who is to do the work; `""`: nobody.
    #[serde(default)]
    pub assignee: Option<String>,
}

/// What came of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateResult {
    /// It was applied. So many revisions before it have not come yet.
    Applied {
        /// Revisions that are missing between the newest one known before and this one.
        missing: u64,
    },
    /// It is older than another one that was applied; what that one had left open was taken from it.
    AppliedLate,
    /// It had been applied before: nothing changed.
    Duplicate,
    /// Its state was left out, because the fault came back, or somebody at the site took the ticket on, after what the
    /// core had seen; the rest was applied.
    Superseded {
        /// The revision of the box that the core had not seen.
        box_rev: u64,
    },
    /// Its state was left out, because the ticket has become part of another one; the rest was applied.
    Merged {
        /// That other ticket.
        into: u64,
    },
    /// The box has no such ticket, or no longer.
    NoSuchTicket,
    /// It is malformed: nothing changed.
    Refused(
        /// Why.
        UpdateError,
    ),
}

/// Why an update is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// Revisions count from 1.
    #[error("the revisions of a ticket's updates count from 1")]
    NoRevision,
    /// The id is empty or too long.
    #[error("an update's id has 1 to 64 bytes, this one has {0}")]
    Id(usize),
    /// Only the box merges tickets.
    #[error("a ticket cannot be merged by an update: only the box knows the common cause")]
    Merged,
}

/// What a ticket knows of the core: one register per field, each with the revision that set it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CoreSide {
    /// The highest revision that was applied.
    pub(super) rev: u64,
    /// Lower ones that have not come, ascending; at most 16, the newest ones.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    missing: VecDeque<u64>,
    /// The last ids that were applied.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    ids: VecDeque<String>,
    number: Option<(u64, String)>,
    assignee: Option<(u64, String)>,
    state_rev: u64,
}

/// What an update that counts changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Its revision comes after all others.
    pub(super) newest: bool,
    /// How many revisions it jumped over.
    pub(super) missing: u64,
    /// The state that is now to be taken, if no newer revision has set one.
    pub(super) state: Option<TicketState>,
}

impl CoreSide {
    /// The core's number.
    pub(super) fn number(&self) -> Option<&str> {
        self.number.as_ref().map(|(_, number)| number.as_str())
    }

    /// Who is to do the work.
    pub(super) fn assignee(&self) -> Option<&str> {
        self.assignee.as_ref().map(|(_, who)| who.as_str()).filter(|who| !who.is_empty())
    }

    /// How many of the core's revisions have not come.
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Takes an update; `None` when it had been taken before.
    pub(super) fn count(&mut self, update: &Update) -> Option<Counted> {
        if self.ids.contains(&update.id) {
            return None;
        }
        let newest = update.rev > self.rev;
        let mut missing = 0;
        if newest {
            missing = update.rev - self.rev - 1;
            let first = (self.rev + 1).max(update.rev.saturating_sub(MISSING_MAX as u64));
            self.missing.extend(first..update.rev);
            self.rev = update.rev;
            let excess = self.missing.len().saturating_sub(MISSING_MAX);
            self.missing.drain(..excess);
        } else {
            let at = self.missing.iter().position(|&rev| rev == update.rev)?;
            self.missing.remove(at);
        }
        if self.ids.len() == IDS_MAX {
            self.ids.pop_front();
        }
        self.ids.push_back(update.id.clone());
        set(&mut self.number, update.rev, update.core_number.as_deref(), ID_BYTES);
        set(&mut self.assignee, update.rev, update.assignee.as_deref(), ASSIGNEE_BYTES);
        let state = update.state.filter(|_| update.rev > self.state_rev);
        if state.is_some() {
            self.state_rev = update.rev;
        }
        Some(Counted { newest, missing, state })
    }
}

impl Update {
    /// Checks what does not depend on the ticket.
    pub(super) fn check(&self) -> Result<(), UpdateError> {
        if self.rev == 0 {
            return Err(UpdateError::NoRevision);
        }
        if self.id.is_empty() || self.id.len() > ID_BYTES {
            return Err(UpdateError::Id(self.id.len()));
        }
        if self.state == Some(TicketState::Merged) {
            return Err(UpdateError::Merged);
        }
        Ok(())
    }
}

fn set(register: &mut Option<(u64, String)>, rev: u64, value: Option<&str>, bytes: usize) {
    if let Some(value) = value
        && register.as_ref().is_none_or(|(old, _)| rev > *old)
    {
        *register = Some((rev, bounded(value, bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(rev: u64, number: Option<&str>, state: Option<TicketState>, assignee: Option<&str>) -> Update {
        Update {
            ticket: 1,
            id: format!("u{rev}"),
            rev,
            seen_box_rev: None,
            core_number: number.map(str::to_owned),
            state,
            assignee: assignee.map(str::to_owned),
        }
    }

    /// Number, assignee and state after these updates.
    fn outcome(updates: &[&Update]) -> (Option<String>, Option<String>, Option<TicketState>) {
        let (mut core, mut state) = (CoreSide::default(), None);
        for update in updates {
            if let Some(counted) = core.count(update) {
                state = counted.state.or(state);
            }
        }
        (core.number().map(str::to_owned), core.assignee().map(str::to_owned), state)
    }

    #[test]
    fn updates_in_any_order_and_number_come_to_the_same() {
        let first = update(1, Some("WO-7"), Some(TicketState::Accepted), None);
        let second = update(2, None, Some(TicketState::OnSite), Some("li"));
        let third = update(3, None, None, Some("wang"));
        let expected = (Some("WO-7".to_owned()), Some("wang".to_owned()), Some(TicketState::OnSite));
        assert_eq!(outcome(&[&first, &second, &third]), expected);
        assert_eq!(outcome(&[&third, &first, &second, &first]), expected);
        assert_eq!(outcome(&[&second, &second, &third, &third, &first, &second]), expected);
    }

    #[test]
    fn a_jump_is_noted_and_what_is_missing_counts_once_when_it_comes() {
        let mut core = CoreSide::default();
        let jump = core.count(&update(5, None, Some(TicketState::Done), None)).unwrap();
        assert_eq!((jump.newest, jump.missing, core.missing()), (true, 4, 4));
        let late = core.count(&update(2, None, Some(TicketState::Accepted), None)).unwrap();
        assert_eq!((late.newest, late.state, core.missing()), (false, None, 3));
        assert_eq!(core.count(&update(2, None, None, None)), None);
    }

    #[test]
    fn an_update_that_comes_again_under_another_revision_does_not_count() {
        let mut core = CoreSide::default();
        let first = update(1, None, Some(TicketState::Done), None);
        assert!(core.count(&first).is_some());
        assert_eq!(core.count(&Update { rev: 2, ..first }), None);
        assert_eq!(core.rev, 1);
    }

    #[test]
    fn what_is_remembered_of_the_core_is_bounded() {
        let mut core = CoreSide::default();
        for rev in [1, 1_000_000, 2_000_000, u64::MAX] {
            assert!(core.count(&update(rev, Some(&"n".repeat(500)), None, None)).is_some());
            assert!(core.missing() <= MISSING_MAX);
        }
        assert!(serde_json::to_vec(&core).unwrap().len() < 1_000);
    }
}
