//! What is not settled yet: supplies that somebody wishes back, and the lists of controllers.

use gatehouse_rules::Engine;
use gatehouse_rules::controller::{ControllerView, ListState, ListView};
use gatehouse_rules::supply::{How, Wish};

use super::report::rfc3339;
use crate::api::doc;

/// The wishes that are not fulfilled yet.
pub(super) fn wishes(engine: &Engine) -> Vec<doc::Wish> {
    let wish = |(device, wish): (&gatehouse_core::Name, &Wish)| doc::Wish {
        device: device.to_string(),
        how: match wish.how {
            How::Permit => "permit",
            How::Connect => "connect",
        }
        .to_owned(),
        issuer: wish.request.issuer.to_string(),
        asked: wish.asked,
        refusals: wish.refusals,
        until: rfc3339(wish.request.expires_at),
    };
    engine.supplies().wishes().map(wish).collect()
}

/// Controllers that decide themselves.
pub(super) fn controllers(engine: &Engine) -> Vec<doc::Controller> {
    engine.controllers().view().into_iter().map(controller).collect()
}

/// What is wrong with their lists, each in one sentence.
pub(super) fn troubles(engine: &Engine) -> Vec<String> {
    let views = engine.controllers().view();
    views.iter().filter_map(|view| trouble(&view.controller, view.cards.as_ref()?)).collect()
}

fn trouble(controller: &str, list: &ListView) -> Option<String> {
    match (list.state, list.why) {
        (ListState::Unsaid, Some(why)) => Some(format!(
            "controller {controller}: nothing can be said of its list of cards ({why}); it stays as it is"
        )),
        (ListState::Unequal, _) => Some(format!(
            "controller {controller}: its list of cards is not what it is to be: {} of {} there, {} not taken, {} not let go",
            list.listed, list.cards, list.refused, list.stay
        )),
        (ListState::Unsaid | ListState::Away | ListState::Walking | ListState::PuttingRight | ListState::Equal, _) => {
            None
        }
    }
}

fn controller(view: ControllerView) -> doc::Controller {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let cards = view.cards.map(|list| doc::CardList {
        state: list.state.as_str().to_owned(),
        why: list.why.map(str::to_owned),
        version: list.version,
        cards: count(list.cards),
        listed: count(list.listed),
        refused: count(list.refused),
        stay: count(list.stay),
        place: list.place,
        not_expressible: list.not_expressible.iter().map(|(why, count)| (why.as_str().to_owned(), *count)).collect(),
    });
    doc::Controller {
        controller: view.controller,
        taken: view.taken,
        waiting: view.waiting,
        lost: view.lost,
        failures: view.failures,
        cards,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_not_right_is_told_with_its_reason() {
        let mut list = ListView {
            state: ListState::Unsaid,
            why: Some("no_credentials"),
            version: None,
            cards: 12,
            listed: 9,
            refused: 2,
            stay: 1,
            counted: None,
            place: None,
            put: 0,
            dropped: 0,
            not_expressible: Default::default(),
        };
        let told = "controller doors: nothing can be said of its list of cards (no_credentials); it stays as it is";
        assert_eq!(trouble("doors", &list).as_deref(), Some(told));
        (list.state, list.why) = (ListState::Unequal, None);
        let told =
            "controller doors: its list of cards is not what it is to be: 9 of 12 there, 2 not taken, 1 not let go";
        assert_eq!(trouble("doors", &list).as_deref(), Some(told));
        list.state = ListState::Equal;
        assert_eq!(trouble("doors", &list), None);
    }
}
