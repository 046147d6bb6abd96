//! The daemon's side of the uplink: a cheap handle to the task that owns the link.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use gatehouse_core::{Lane, Stamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::inbound::{Inbox, Message, MessageId};
use crate::inventory::InventorySource;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::status::{BudgetUse, LinkState, UplinkEvent, UplinkStatus};

/// Events that wait to be taken; beyond it the oldest are dropped and counted.
const EVENTS_KEPT: usize = 64;
/// Questions that wait to be sent. More means that the broker takes no bytes.
const QUESTIONS_KEPT: usize = 32;

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
    pub(crate) mode: Option<&'static str>,
}

/// What handle and task share.
#[derive(Default)]
pub(crate) struct Shared {
    stored: [Cell<bool>; Lane::ALL.len()],
    pub(crate) wishes: RefCell<Wishes>,
    pub(crate) wake: Notify,
    pub(crate) status: RefCell<UplinkStatus>,
    events: RefCell<VecDeque<UplinkEvent>>,
    inbox: RefCell<Inbox>,
    pub(crate) settled: RefCell<BTreeSet<MessageId>>,
    pub(crate) questions: RefCell<VecDeque<Vec<u8>>>,
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

    /// False when the message has no room and is gone.
    pub(crate) fn push_message(&self, message: Message) -> bool {
        let taken = self.inbox.borrow_mut().push(message);
        if taken {
            self.event.notify_one();
        }
        taken
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

    /// Says in the retained status how the site stands: `online`, `degraded` or `recovering`. Published when it changes.
    pub fn set_mode(&self, mode: &'static str) {
        self.shared.wishes.borrow_mut().mode = Some(mode);
        self.shared.wake.notify_one();
    }

    /// Sends a question to the core at once, before all that waits, on the topic `ask`. It is sent with QoS 0, never
    /// stored and never repeated: the answer comes as [`UplinkEvent::Message`], or it does not.
    ///
    /// False when the link is down, or when 32 questions already wait for a broker that takes no bytes.
    pub fn ask(&self, question: Vec<u8>) -> bool {
        let mut questions = self.shared.questions.borrow_mut();
        let leaving = self.shared.wishes.borrow().drain.is_some();
        if self.shared.status.borrow().state != LinkState::Up || leaving || questions.len() == QUESTIONS_KEPT {
            return false;
        }
        questions.push_back(question);
        self.shared.wake.notify_one();
        true
    }

    /// Says that a message is dealt with: what it causes is durable, or it is of no use. Settle each message, in any
    /// order; the broker gets its PUBACK once all that came before it are settled, too, and with 16 unsettled ones it is
    /// asked to wait (MQTT 5). One of an earlier connection is ignored: the broker has forgotten it.
    pub fn settle(&self, message: MessageId) {
        // Nobody waits for the PUBACK of QoS 0.
        if message.packet != 0 && self.shared.status.borrow().counters.connects == message.link {
            self.shared.settled.borrow_mut().insert(message);
            self.shared.wake.notify_one();
        }
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

    /// The next event, if one waits. What the link itself has to tell comes before the messages of the core.
    pub fn try_event(&self) -> Option<UplinkEvent> {
        let event = self.shared.events.borrow_mut().pop_front();
        event.or_else(|| self.shared.inbox.borrow_mut().pop().map(UplinkEvent::Message))
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
