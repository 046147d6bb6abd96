//! The daemon's side of the uplink: a cheap handle to the task that owns the link.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use gatehouse_core::{Lane, Stamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::inventory::InventorySource;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::status::{BudgetUse, UplinkEvent, UplinkStatus};

/// Events that wait to be taken; beyond it the oldest are dropped and counted.
const EVENTS_KEPT: usize = 64;

/// The clock: what time it is, on both clocks, and how far the wall clock may be believed.
pub type Clock = Rc<dyn Fn() -> Stamp>;

/// What the daemon asked for since the task last looked.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) settings: Option<Settings>,
    pub(crate) inventory: Option<Rc<dyn InventorySource>>,
    pub(crate) reconnect: bool,
    /// Until when the task is to end; stays set.
    pub(crate) drain: Option<Instant>,
    pub(crate) budget: Option<BudgetUse>,
}

/// What handle and task share.
#[derive(Default)]
pub(crate) struct Shared {
    stored: [Cell<bool>; Lane::ALL.len()],
    pub(crate) wishes: RefCell<Wishes>,
    pub(crate) wake: Notify,
    pub(crate) status: RefCell<UplinkStatus>,
    events: RefCell<VecDeque<UplinkEvent>>,
    event: Notify,
    pub(crate) ended: Cell<bool>,
    pub(crate) end: Notify,
}

impl Shared {
    /// Takes the mark that something new is in `lane`.
    pub(crate) fn take_stored(&self, lane: Lane) -> bool {
        self.stored[lane.index()].replace(false)
    }

    pub(crate) fn push_event(&self, event: UplinkEvent) {
        let mut events = self.events.borrow_mut();
        if events.len() == EVENTS_KEPT {
            events.pop_front();
            self.status.borrow_mut().counters.events_dropped += 1;
        }
        events.push_back(event);
        self.event.notify_one();
    }
}

/// The handle to the uplink's task. Clones are of the same task; it ends when the runtime does, or by
/// [`UplinkHandle::drain`].
#[derive(Clone)]
pub struct UplinkHandle {
    pub(crate) shared: Rc<Shared>,
}

impl UplinkHandle {
    /// Says that `lane` has a new record that may be sent. Costs a flag; call it for each record.
    pub fn stored(&self, lane: Lane) {
        if !self.shared.stored[lane.index()].replace(true) {
            self.shared.wake.notify_one();
        }
    }

    /// The state, the last trouble and the counters.
    pub fn status(&self) -> UplinkStatus {
        self.shared.status.borrow().clone()
    }

    /// Applies other settings; the link is closed cleanly and opened again if any differ.
    pub fn reload(&self, settings: Settings) {
        self.shared.wishes.borrow_mut().settings = Some(settings);
        self.shared.wake.notify_one();
    }

    /// Closes the link cleanly and opens it again, with certificates and password as the files hold them now.
    pub fn reconnect(&self) {
        self.shared.wishes.borrow_mut().reconnect = true;
        self.shared.wake.notify_one();
    }

    /// Replaces the inventory; what changed is published.
    pub fn set_inventory(&self, inventory: Rc<dyn InventorySource>) {
        self.shared.wishes.borrow_mut().inventory = Some(inventory);
        self.shared.wake.notify_one();
    }

    /// Tells what an earlier run of the daemon had used of today's budget ([`UplinkStatus::budget`]).
    pub fn restore_budget(&self, used: BudgetUse) {
        self.shared.wishes.borrow_mut().budget = Some(used);
        self.shared.wake.notify_one();
    }

    /// Sends what is waiting on the live topics, waits for its acknowledgements, says goodbye and ends the task; all
    /// within `limit`. What is not acknowledged by then stays in the store. A link that is down, or breaks meanwhile, is
    /// not opened again: the task ends at once. A later call does not move the limit.
    pub async fn drain(&self, limit: Duration) {
        self.shared.wishes.borrow_mut().drain.get_or_insert(Instant::now() + limit);
        self.shared.wake.notify_one();
        while !self.shared.ended.get() {
            self.shared.end.notified().await;
        }
        self.shared.end.notify_one();
    }

    /// The next event, if one waits.
    pub fn try_event(&self) -> Option<UplinkEvent> {
        self.shared.events.borrow_mut().pop_front()
    }

    /// Waits for the next event. Cancel-safe; for one consumer.
    pub async fn next_event(&self) -> UplinkEvent {
        loop {
            if let Some(event) = self.try_event() {
                return event;
            }
            self.shared.event.notified().await;
        }
    }
}

/// The store as the uplink's task holds it.
pub type SharedOutbox = Rc<RefCell<dyn Outbox>>;
