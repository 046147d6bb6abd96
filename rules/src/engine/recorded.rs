//! What controllers decided and recorded: from their events to passage records and the audit trail.

use std::collections::BTreeMap;

use gatehouse_core::{CardNumber, ControllerAnswer, ControllerEvent, EventKind, Lane, NoData, Stamp};
use serde::Serialize;

use super::Engine;
use crate::access::{Access, Unsaid};
use crate::controller::{Change, Controllers, DoorSpec, EnquiryId, ListedCards, Recorded, TakenEvent};
use crate::words::{AlarmId, Condition, DecidedBy, Direction, HolderClass, Verdict};

/// Why the controller opened, as records of passages say it.
const GRANTED: &str = "granted";
/// The reason of a controller's alarm that is an alarm of the gate.
const FORCED: &str = "forced_open";

/// Whose a card is.
#[derive(Debug, Default, Serialize)]
struct Holder {
    credential: Option<String>,
    who: Option<String>,
    #[serde(skip)]
    class: Option<HolderClass>,
}

impl Engine {
    /// Controllers that decide themselves.
    pub fn controllers(&self) -> &Controllers {
        &self.controllers
    }

    /// A question to a controller came to its end.
    pub fn handle_enquired(&mut self, now: Stamp, id: EnquiryId, answer: Result<ControllerAnswer, NoData>) {
        self.controllers.handle_answer(now, id, answer);
        self.settle(now);
    }

    /// Records what was taken in.
    pub(super) fn take_recorded(&mut self, now: Stamp) -> bool {
        let mut any = false;
        while let Some(taken) = self.controllers.poll_taken() {
            any = true;
            let holder = taken.event.card.map(|card| self.holder(card)).unwrap_or_default();
            match (&taken.event.kind, &taken.door) {
                (EventKind::Card | EventKind::Button, Some(door)) => {
                    let door = door.clone();
                    self.take_passage(now, taken, &door, holder);
                }
                (
                    EventKind::Card
                    | EventKind::Button
                    | EventKind::Remote
                    | EventKind::Door
                    | EventKind::Alarm
                    | EventKind::Other,
                    _,
                ) => self.take_event(now, &taken, holder),
            }
        }
        any
    }

    /// Tells the controllers whose lists the box keeps what these are to be, where that has changed.
    pub(super) fn list_cards(&mut self, now: Stamp) {
        let edition = self.access.as_ref().and_then(Access::edition);
        for device in self.controllers.outdated(&now, edition) {
            let listing = match &self.access {
                None => Err(Unsaid::NoCredentials),
                Some(access) => access.listing(&now, &self.controllers.doors(device)),
            };
            self.controllers.handle_listing(now, device, edition, listing);
        }
    }

    /// Records whose cards were put on lists and taken off, by their pseudonyms.
    pub(super) fn take_listed(&mut self, now: Stamp) -> bool {
        #[derive(Default, Serialize)]
        struct Told {
            controller: String,
            version: Option<u64>,
            listed: Vec<Holder>,
            changed: Vec<Holder>,
            dropped: Vec<Holder>,
        }
        let mut any = false;
        while let Some(ListedCards { controller, version, changes }) = self.controllers.poll_listed() {
            any = true;
            let mut told = Told { controller: controller.to_string(), version, ..Told::default() };
            for (card, change) in changes {
                let holder = self.holder(card);
                match change {
                    Change::Listed => told.listed.push(holder),
                    Change::Changed => told.changed.push(holder),
                    Change::Dropped => told.dropped.push(holder),
                }
            }
            self.effects.event(Lane::Audit, now, "controller_cards", &told);
        }
        any
    }

    fn holder(&self, card: CardNumber) -> Holder {
        let Some(access) = &self.access else { return Holder::default() };
        let (credential, known) = access.card_of_controller(card);
        let (who, class) = known.unzip();
        Holder { credential: credential.map(|id| id.prefix()), who, class }
    }

    fn take_passage(&mut self, now: Stamp, taken: TakenEvent, door: &DoorSpec, holder: Holder) {
        let TakenEvent { controller, event, recorded, .. } = taken;
        let is_button = event.kind == EventKind::Button;
        let direction = match event.out {
            _ if is_button => Direction::Out,
            Some(true) => Direction::Out,
            Some(false) => Direction::In,
            None => door.direction,
        };
        let mut facts = BTreeMap::from([
            ("controller".to_owned(), controller.to_string()),
            ("event".to_owned(), event.index.to_string()),
            ("kind".to_owned(), event.kind.as_str().to_owned()),
        ]);
        facts.extend(holder.credential.map(|credential| ("credential".to_owned(), credential)));
        let verdict = Verdict {
            request: self.gates.mint(),
            gate: door.gate.to_string(),
            via: controller.to_string(),
            direction,
            allowed: event.granted,
            reason: if event.granted { GRANTED.to_owned() } else { event.reason.to_string() },
            decided_by: if is_button { DecidedBy::ExitButton } else { DecidedBy::Controller },
            who: holder.who,
            class: holder.class,
            facts,
        };
        self.gates.handle_recorded(now, &verdict, recorded);
    }

    /// What is no passage of a gate goes into the audit trail.
    fn take_event(&mut self, now: Stamp, taken: &TakenEvent, holder: Holder) {
        #[derive(Serialize)]
        struct Told<'a> {
            controller: &'a str,
            index: u32,
            kind: &'static str,
            door: u8,
            gate: Option<&'a str>,
            granted: bool,
            reason: &'a str,
            credential: Option<String>,
            recorded: &'a Recorded,
        }
        let TakenEvent { controller, door, event, recorded } = taken;
        let ControllerEvent { index, kind, granted, reason, .. } = event;
        let gate = door.as_ref().map(|door| door.gate.as_str());
        let told = Told {
            controller,
            index: *index,
            kind: kind.as_str(),
            door: event.door,
            gate,
            granted: *granted,
            reason,
            credential: holder.credential,
            recorded,
        };
        self.effects.event(Lane::Audit, now, "controller_event", &told);
        if let (Some(gate), FORCED) = (gate, &**reason) {
            for active in [true, false] {
                let id = AlarmId { class: "gate_forced".to_owned(), source: gate.to_owned() };
                let message = format!("{gate} was opened without a grant, says its controller");
                self.alarms.handle_condition(now, &Condition { id, active: Some(active), device: None, message });
            }
        }
    }
}
