//! The lists of all controllers: what they are to be comes in, what became of them goes out.

use gatehouse_core::{CardNumber, DeviceIx, Lane, Name, Stamp};
use serde::Serialize;

use super::machine::Controllers;
use super::told::{Change, ListState, Outcome};
use crate::access::{Doors, Listing, Unsaid};
use crate::words::{AlarmId, Condition};

/// The class of the alarm that a list cannot be made what it is to be.
pub const LIST_ALARM: &str = "controller_list";

/// Cards that were put on or taken off a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedCards {
    /// The controller.
    pub controller: Name,
    /// The version of the credentials that the list is made of.
    pub version: Option<u64>,
    /// The cards, in the order of the changes.
    pub changes: Vec<(CardNumber, Change)>,
}

impl Controllers {
    /// The controllers whose lists are to be told what they are to be. `edition` names the credentials.
    pub fn outdated(&self, now: &Stamp, edition: Option<u64>) -> Vec<DeviceIx> {
        let outdated = self
            .all
            .iter()
            .filter(|(_, controller)| controller.list.as_ref().is_some_and(|list| list.is_outdated(now, edition)));
        outdated.map(|(device, _)| *device).collect()
    }

    /// The gates that a controller's doors are.
    pub fn doors(&self, device: DeviceIx) -> Doors<'_> {
        let controller = self.all.get(&device);
        controller.map_or_else(Doors::default, |controller| {
            controller.spec.doors.each_ref().map(|door| door.as_ref().map(|door| door.gate.as_str()))
        })
    }

    /// What the list of a controller is to be.
    pub fn handle_listing(
        &mut self,
        now: Stamp,
        device: DeviceIx,
        edition: Option<u64>,
        listing: Result<Listing, Unsaid>,
    ) {
        if let Some(list) = self.all.get_mut(&device).and_then(|controller| controller.list.as_mut()) {
            list.handle_listing(&now, edition, listing);
        }
        self.ask(now.mono, device);
    }

    /// Cards that were put on or taken off a list. What is recorded of them belongs into the batch of the effects that
    /// came with it.
    pub fn poll_listed(&mut self) -> Option<ListedCards> {
        self.all.values_mut().find_map(|controller| {
            let list = controller.list.as_mut()?;
            let changes = list.poll_changes()?;
            Some(ListedCards { controller: controller.spec.id.clone(), version: list.version(), changes })
        })
    }

    /// The next condition that began or ended.
    pub fn poll_condition(&mut self) -> Option<Condition> {
        self.conditions.pop_front()
    }

    /// Tells how the course of a list ended, where it did.
    pub(super) fn tell_list(&mut self, now: &Stamp, device: DeviceIx) {
        #[derive(Serialize)]
        struct Told<'a> {
            controller: &'a str,
            state: &'static str,
            version: u64,
            cards: usize,
            refused: usize,
            stay: usize,
        }
        let Some(controller) = self.all.get_mut(&device) else { return };
        let Some(list) = &mut controller.list else { return };
        let Some((outcome, is_news)) = list.poll_outcome() else { return };
        let Outcome { equal, version, refused, stay } = outcome;
        let id = &controller.spec.id;
        if is_news {
            let state = if equal { ListState::Equal } else { ListState::Unequal }.as_str();
            let cards = list.view().cards;
            let told = Told { controller: id, state, version, cards, refused, stay };
            self.effects.event(Lane::Audit, *now, "controller_list", &told);
        }
        self.conditions.push_back(Condition {
            id: AlarmId { class: LIST_ALARM.to_owned(), source: id.to_string() },
            active: Some(!equal),
            device: Some(device),
            message: message(id, &outcome),
        });
    }
}

fn message(controller: &Name, outcome: &Outcome) -> String {
    match (outcome.refused, outcome.stay) {
        _ if outcome.equal => format!("the list of {controller} is what it is to be"),
        (0, 0) => format!("{controller} counts other cards than the box put on its list: does somebody else write it?"),
        (refused, 0) => format!("{controller} does not take {refused} cards: its list may be full"),
        (0, stay) => format!("{controller} does not let go {stay} cards that open nothing any more"),
        (refused, stay) => format!("{controller} does not take {refused} cards, and does not let go {stay}"),
    }
}
