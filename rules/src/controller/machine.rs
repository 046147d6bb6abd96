//! The machine: statuses and answers in, enquiries and taken events out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatehouse_core::{
    ControllerAnswer, ControllerAsk, ControllerEvent, DeviceIx, Lane, Mono, Name, NoData, PointReading, Stamp, Value,
};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::intake::{Found, Intake, Kept};
use super::list::List;
use super::recorded::{Compared, Recorded};
use super::told::ListView;
use crate::catalog::PointRef;
use crate::effect::{Effect, Effects};
use crate::words::{Condition, Direction};

/// Where the state of a controller is kept: this, and its device.
const PREFIX: &str = "controller/";
/// An enquiry that nobody has ended by then is asked anew.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// The first and the longest pause after an enquiry that failed.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A door of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorSpec {
    /// The gate that it is.
    pub gate: Name,
    /// Which way one goes where the controller does not say.
    pub direction: Direction,
}

/// A controller that decides itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerSpec {
    /// Its device's id.
    pub id: Name,
    /// The device.
    pub device: DeviceIx,
    /// The point that shows the number of its last event.
    pub index_at: PointRef,
    /// The point that shows its clock.
    pub clock_at: Option<PointRef>,
    /// Its doors 1 to 4, where they are gates.
    pub doors: [Option<DoorSpec>; 4],
    /// True where the box listens for its events.
    pub listens: bool,
    /// Whose the list of its cards is.
    pub cards: ListOwner,
}

/// Who keeps the list of a controller's cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOwner {
    /// Somebody else, by the maker's program: the box never touches it.
    Own,
    /// The box, by the core's credentials: what else is on it is taken off.
    Box,
}

impl ControllerSpec {
    /// The door of this number, where it is a gate.
    pub fn door(&self, number: u8) -> Option<&DoorSpec> {
        self.doors.get(usize::from(number).checked_sub(1)?)?.as_ref()
    }
}

/// The number of one enquiry, unique within one run of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnquiryId(pub u64);

/// A question to a controller. It may be asked twice without harm, and waits for no journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Enquiry {
    /// Its number.
    pub id: EnquiryId,
    /// Whom it is for.
    pub device: DeviceIx,
    /// What is asked.
    pub ask: ControllerAsk,
    /// Not asked by then, it is not asked at all.
    pub expires: Mono,
}

/// An event that was taken in. What it becomes belongs into the batch of the effects that came with it.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenEvent {
    /// The controller.
    pub controller: Name,
    /// The gate, where its door is one.
    pub door: Option<DoorSpec>,
    /// The event.
    pub event: ControllerEvent,
    /// When it was recorded.
    pub recorded: Recorded,
}

/// The state of one controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ControllerView {
    /// Its device.
    pub controller: String,
    /// The number of the last event taken in; `None`: it was never seen.
    pub taken: Option<u32>,
    /// How many are known to wait.
    pub waiting: u32,
    /// Events that nobody will see, since the box began.
    pub lost: u64,
    /// Times that it began anew, since the box began.
    pub resets: u64,
    /// Questions that failed in a row.
    pub failures: u32,
    /// The list of its cards; `None`: somebody else keeps it.
    pub cards: Option<ListView>,
}

#[derive(Debug)]
pub(super) struct Controller {
    pub(super) spec: ControllerSpec,
    /// The list of its cards, where the box keeps it.
    pub(super) list: Option<List>,
    intake: Intake,
    clock: Compared,
    /// True while it is to be told where to send its events.
    to_listen: bool,
    asked: Option<(EnquiryId, ControllerAsk, Mono)>,
    not_before: Mono,
    failures: u32,
    lost: u64,
    resets: u64,
}

/// All controllers of a site that decide themselves.
///
/// After each `handle_*` tell those of [`Controllers::outdated`] what their lists are to be, drain
/// [`Controllers::poll_taken`], [`Controllers::poll_listed`], [`Controllers::poll_condition`],
/// [`Controllers::poll_effect`] and [`Controllers::poll_enquiry`], and come back at [`Controllers::poll_timeout`].
#[derive(Debug)]
pub struct Controllers {
    pub(super) all: BTreeMap<DeviceIx, Controller>,
    zone: TimeZone,
    next: EnquiryId,
    pub(super) effects: Effects,
    enquiries: VecDeque<Enquiry>,
    taken: VecDeque<TakenEvent>,
    pub(super) conditions: VecDeque<Condition>,
}

impl Controllers {
    /// The controllers of a site; enquiries are numbered from `first` on.
    pub fn new(specs: &[ControllerSpec], zone: TimeZone, first: EnquiryId) -> Self {
        let controller = |spec: &ControllerSpec| Controller {
            list: match spec.cards {
                ListOwner::Own => None,
                ListOwner::Box => Some(List::new()),
            },
            intake: Intake::new(None),
            clock: Compared::default(),
            to_listen: spec.listens,
            asked: None,
            not_before: Mono(0),
            failures: 0,
            lost: 0,
            resets: 0,
            spec: spec.clone(),
        };
        Controllers {
            all: specs.iter().map(|spec| (spec.device, controller(spec))).collect(),
            zone,
            next: first,
            effects: Effects::default(),
            enquiries: VecDeque::new(),
            taken: VecDeque::new(),
            conditions: VecDeque::new(),
        }
    }

    /// Takes back what was kept under a key. False when it is none of the controllers'. What was kept of one that is not
    /// in the site file any more stays as it is.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> bool {
        let Some(id) = key.strip_prefix(PREFIX) else { return false };
        let Ok(kept) = serde_json::from_slice::<Kept>(value) else { return false };
        if let Some(controller) = self.all.values_mut().find(|controller| controller.spec.id == *id) {
            controller.intake = Intake::new(Some(kept));
        }
        true
    }

    /// A device was read.
    pub fn handle_readings(&mut self, now: Stamp, device: DeviceIx, readings: &[PointReading]) {
        let Some(controller) = self.all.get_mut(&device) else { return };
        let value = |at: PointRef| readings.iter().find(|reading| reading.point == at.point)?.value.as_ref().ok();
        if let Some(Value::Text(shown)) = controller.spec.clock_at.and_then(value) {
            controller.clock.compare(&now, shown, &self.zone);
        }
        if let Some(Value::Decimal(index)) = value(controller.spec.index_at)
            && let Ok(index) = u32::try_from(index.mantissa)
        {
            let found = controller.intake.handle_last(index);
            if let Some(list) = &mut controller.list {
                list.handle_present();
            }
            self.found(&now, device, found);
            self.ask(now.mono, device);
        }
    }

    /// A device is lost.
    pub fn handle_lost(&mut self, device: DeviceIx) {
        if let Some(controller) = self.all.get_mut(&device) {
            controller.intake.handle_lost();
            // It may have lost its memory with its supply.
            controller.to_listen = controller.spec.listens;
            if let Some(list) = &mut controller.list {
                list.handle_lost();
            }
        }
    }

    /// An enquiry came to its end. False when it is none of the controllers', or was given up before.
    pub fn handle_answer(&mut self, now: Stamp, id: EnquiryId, answer: Result<ControllerAnswer, NoData>) -> bool {
        let asked = |controller: &Controller| controller.asked.as_ref().is_some_and(|(asked, ..)| *asked == id);
        let Some((device, controller)) = self.all.iter_mut().find(|(_, controller)| asked(controller)) else {
            return false;
        };
        let device = *device;
        let Some((_, ask, _)) = controller.asked.take() else { return false };
        let list = controller.list.as_mut();
        let of_list = list.and_then(|list| list.handle_answer(now.mono, &ask, &answer));
        match (answer, ask) {
            _ if of_list == Some(true) => (controller.failures, controller.not_before) = (0, Mono(0)),
            _ if of_list == Some(false) => controller.fail(now.mono),
            (Ok(answer), ControllerAsk::Event(index)) => {
                let told = match &answer {
                    ControllerAnswer::Event(event) => event.index == index,
                    ControllerAnswer::NoEvent | ControllerAnswer::Overwritten => true,
                    ControllerAnswer::Count(_)
                    | ControllerAnswer::Card(_)
                    | ControllerAnswer::NoCard
                    | ControllerAnswer::Deleted
                    | ControllerAnswer::Done => false,
                };
                if told {
                    (controller.failures, controller.not_before) = (0, Mono(0));
                } else {
                    controller.fail(now.mono);
                }
                let found = controller.intake.handle_answer(index, &answer);
                self.found(&now, device, found);
            }
            (Ok(_), _) => (controller.failures, controller.to_listen) = (0, false),
            (Err(_), ask) => {
                // It is a comfort only: what it would tell comes with the next poll.
                controller.to_listen &= ask != ControllerAsk::Listen;
                controller.fail(now.mono);
            }
        }
        self.tell_list(&now, device);
        self.ask(now.mono, device);
        true
    }

    /// Time has come to [`Controllers::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Stamp) {
        let devices: Vec<DeviceIx> = self.all.keys().copied().collect();
        for device in devices {
            if let Some(controller) = self.all.get_mut(&device)
                && controller.asked.take_if(|(.., until)| *until <= now.mono).is_some()
            {
                controller.fail(now.mono);
            }
            if let Some(list) = self.all.get_mut(&device).and_then(|controller| controller.list.as_mut()) {
                list.handle_timeout(now.mono);
            }
            self.ask(now.mono, device);
        }
    }

    /// When to call [`Controllers::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        let due = |controller: &Controller| match &controller.asked {
            Some((.., until)) => Some(*until),
            None => (controller.failures > 0).then_some(controller.not_before),
        };
        let of_list = |controller: &Controller| controller.list.as_ref().map(List::poll_timeout);
        self.all.values().flat_map(|controller| [due(controller), of_list(controller)]).flatten().min()
    }

    /// The next question.
    pub fn poll_enquiry(&mut self) -> Option<Enquiry> {
        self.enquiries.pop_front()
    }

    /// The next event that was taken in.
    pub fn poll_taken(&mut self) -> Option<TakenEvent> {
        self.taken.pop_front()
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// The state of each controller.
    pub fn view(&self) -> Vec<ControllerView> {
        let view = |controller: &Controller| ControllerView {
            controller: controller.spec.id.to_string(),
            taken: controller.intake.taken(),
            waiting: controller.intake.waiting(),
            lost: controller.lost,
            resets: controller.resets,
            failures: controller.failures,
            cards: controller.list.as_ref().map(List::view),
        };
        self.all.values().map(view).collect()
    }

    /// Asks a controller what it is to be asked next, one thing at a time.
    pub(super) fn ask(&mut self, now: Mono, device: DeviceIx) {
        let Some(controller) = self.all.get_mut(&device) else { return };
        if controller.asked.is_some() || now < controller.not_before {
            return;
        }
        // Without a status the controller is not there.
        let next = controller.intake.wants().map(ControllerAsk::Event);
        let listen = (controller.to_listen && controller.intake.taken().is_some()).then_some(ControllerAsk::Listen);
        let list = controller.list.as_ref();
        let first = list.and_then(List::wants_first);
        let Some(ask) = first.or(next).or(listen).or_else(|| list.and_then(List::wants)) else {
            controller.failures = 0;
            return;
        };
        let id = self.next;
        self.next = EnquiryId(id.0 + 1);
        let expires = now + ANSWERED_WITHIN;
        controller.asked = Some((id, ask.clone(), expires));
        self.enquiries.push_back(Enquiry { id, device, ask, expires });
    }

    /// Keeps what was found, and tells it.
    fn found(&mut self, now: &Stamp, device: DeviceIx, found: Found) {
        #[derive(Serialize)]
        struct Met<'a> {
            controller: &'a str,
            index: u32,
        }
        #[derive(Serialize)]
        struct Gap<'a> {
            controller: &'a str,
            from: u32,
            to: u32,
            why: &'static str,
        }
        #[derive(Serialize)]
        struct Reset<'a> {
            controller: &'a str,
            taken: u32,
        }
        let Some(Controller { spec, list, intake, clock, lost, resets, .. }) = self.all.get_mut(&device) else {
            return;
        };
        let controller = spec.id.as_str();
        let effects = &mut self.effects;
        match found {
            Found::Nothing => return,
            Found::Marked => {}
            Found::Met(index) => {
                effects.event(Lane::Audit, *now, "controller_met", &Met { controller, index });
            }
            Found::Event(event) => {
                let recorded = clock.recorded(now, event.at, &self.zone);
                let door = spec.door(event.door).cloned();
                self.taken.push_back(TakenEvent { controller: spec.id.clone(), door, event, recorded });
            }
            Found::Gap(from, to, why) => {
                *lost += u64::from(to - from) + 1;
                effects.event(Lane::Audit, *now, "controller_gap", &Gap { controller, from, to, why: why.as_str() });
            }
            Found::Reset(taken) => {
                *resets += 1;
                if let Some(list) = list {
                    list.begin();
                }
                effects.event(Lane::Audit, *now, "controller_reset", &Reset { controller, taken });
            }
        }
        if let Some(kept) = &intake.kept {
            effects.keep(format!("{PREFIX}{controller}"), kept);
        }
    }
}

impl Controller {
    fn fail(&mut self, now: Mono) {
        let (first, longest) = PAUSE;
        let pause = first.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause;
    }
}
