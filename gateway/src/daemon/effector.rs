//! Does what the engine wants done: state and events into one batch of the journal, then the acts to their lines.
//!
//! Stored before done: an act goes out once the batch that decided it is durable. Urgent ones (a fire release, STOP) go
//! first and are stored after, so that a failing store never delays them. A batch that the store cannot take now is
//! kept and merged with the next; acts that wait for it run out and are told as expired, never sent late.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use gatehouse_core::driver::{Action, ActionError};
use gatehouse_core::{ControllerAnswer, DeviceIx, Event, Lane, Mono, NoData, Stamp};
use gatehouse_drivers::line::{Command, CommandRefusal, CommandResult, Line};
use gatehouse_rules::command::Answer;
use gatehouse_rules::controller::{Enquiry, EnquiryId};
use gatehouse_rules::engine::FrameSource;
use gatehouse_rules::{Act, ActId, ActRefusal, ActResult, Effect};
use gatehouse_store::{Batch, CommitTicket, Store, StoreError};

use gatehouse_uplink::MessageId;
use tokio::sync::oneshot;

use super::box_io::BoxCommands;
use super::bus::CommandSender;
use super::own_device;

/// So many frames are told of a device.
const FRAMES_TOLD: usize = 8;

/// Events that may wait for a store that takes none; beyond it the oldest are dropped and counted.
const EVENTS_KEPT: usize = 4096;

/// How a device of the site is reached.
#[derive(Clone)]
pub struct Route {
    /// Its index at run time.
    pub device: DeviceIx,
    /// Where commands to it go.
    pub way: Way,
}

/// Where commands to a device go.
#[derive(Clone)]
pub enum Way {
    /// To its bus; the line is for the last frames.
    Bus(CommandSender, Weak<RefCell<Line>>),
    /// To the box's own contacts.
    Own(BoxCommands),
}

impl Way {
    /// Hands over a command; its result comes to the hub.
    ///
    /// # Errors
    /// The command, when too many wait already, or nobody takes commands any more.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        match self {
            Way::Bus(bus, _) => bus.send(command),
            Way::Own(own) => own_device::send(own, command),
        }
    }
}

/// Something that waits for a batch to be durable.
#[derive(Debug)]
pub enum Held {
    /// To be sent.
    Act(Act),
    /// To be told to whoever asked.
    Answer(Answer),
    /// To be acknowledged to the broker.
    Settle(MessageId),
    /// Somebody waits to hear that it is done.
    Told(oneshot::Sender<()>),
}

/// What is on its way from the engine to the store and to the lines.
#[derive(Default)]
pub struct Effector {
    routes: Rc<RefCell<Vec<Option<Route>>>>,
    state: BTreeMap<Box<str>, Option<Box<[u8]>>>,
    events: VecDeque<(Lane, Stamp, Event)>,
    /// What waits for the batch that is being put together.
    fresh: Vec<Held>,
    /// What waits for its batch to be durable, in order.
    waiting: VecDeque<(CommitTicket, Held)>,
    /// The last batch that the store took.
    last: CommitTicket,
    /// Acts that will not go out, because something urgent overtook them.
    superseded: Vec<ActId>,
    /// Acts under way: the line's number of each, in the order of sending.
    under_way: BTreeMap<u64, ActId>,
    /// Questions to controllers under way, by the line's number of each.
    asked: BTreeMap<u64, EnquiryId>,
    durable: CommitTicket,
    dropped: u64,
}

impl Effector {
    /// Tells how the devices of the site are reached, in the order of the site file.
    pub fn set_routes(&mut self, routes: Vec<Option<Route>>) {
        *self.routes.borrow_mut() = routes;
    }

    /// Where tickets take the last frames of a device's line from.
    pub fn frames(&self) -> FrameSource {
        let routes = self.routes.clone();
        FrameSource(Rc::new(move |device| {
            let routes = routes.borrow();
            let route = usize::try_from(device.0).ok().and_then(|at| routes.get(at)?.as_ref());
            let line = route.and_then(|route| match &route.way {
                Way::Bus(_, line) => Some((route, line.upgrade()?)),
                Way::Own(_) => None,
            });
            let Some((route, line)) = line else { return Vec::new() };
            line.try_borrow().map(|line| last_frames(&line, route.device)).unwrap_or_default()
        }))
    }

    /// Events that were dropped because the store took none for too long.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes one effect. Gives back an urgent act, which goes out at once.
    pub fn take(&mut self, effect: Effect) -> Option<Act> {
        match effect {
            Effect::Keep { key, value } => {
                self.state.insert(key, value);
            }
            Effect::Event { lane, at, event } => {
                if self.events.len() == EVENTS_KEPT {
                    self.events.pop_front();
                    self.dropped += 1;
                }
                self.events.push_back((lane, at, event));
            }
            Effect::Act(act) if act.urgent => {
                self.supersede(&act);
                return Some(act);
            }
            Effect::Act(act) => self.fresh.push(Held::Act(act)),
        }
        None
    }

    /// What has not gone out yet to a gate that is told something urgent never goes out: a CLOSE that waits for the
    /// disk must not follow the STOP that overtook it.
    fn supersede(&mut self, urgent: &Act) {
        let superseded = &mut self.superseded;
        let mut stays = |held: &Held| match held {
            Held::Act(act) if act.gives_way_to(urgent) => {
                superseded.push(act.id);
                false
            }
            Held::Act(_) | Held::Answer(_) | Held::Settle(_) | Held::Told(_) => true,
        };
        self.fresh.retain(&mut stays);
        self.waiting.retain(|(_, held)| stays(held));
    }

    /// The acts that something urgent has overtaken.
    pub fn superseded(&mut self) -> Vec<ActId> {
        std::mem::take(&mut self.superseded)
    }

    /// Takes what is to be told once everything before it is durable.
    pub fn hold(&mut self, held: Held) {
        self.fresh.push(held);
    }

    /// True while something is decided that the store does not have yet, or that waits for it: another engine would not
    /// know of it, and other devices may stand where its devices stood.
    pub fn is_behind(&self) -> bool {
        let is_act = |held: &Held| matches!(held, Held::Act(_));
        let waits = self.fresh.iter().any(is_act) || self.waiting.iter().any(|(_, held)| is_act(held));
        waits || !self.state.is_empty() || !self.events.is_empty()
    }

    /// True while something waits to be put behind a batch.
    pub fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Gives the batch to the store. Gives back what need not wait for it.
    ///
    /// # Errors
    /// What the store said; all but what is too large for it is kept for the next call.
    pub fn commit(&mut self, store: &mut Store) -> Result<Vec<Held>, StoreError> {
        if self.state.is_empty() && self.events.is_empty() {
            if self.last <= self.durable {
                return Ok(std::mem::take(&mut self.fresh));
            }
            self.waiting.extend(self.fresh.drain(..).map(|held| (self.last, held)));
            return Ok(Vec::new());
        }
        let state = self.state.iter().map(|(key, value)| (key.as_bytes().into(), value.clone())).collect();
        let batch = Batch { state, events: self.events.iter().cloned().collect() };
        let committed = store.commit(batch);
        if !matches!(committed, Err(StoreError::Busy(_))) {
            self.state.clear();
            self.events.clear();
        }
        // What belongs to a batch that was not taken waits for the next one that is, or runs out.
        let ticket = committed.as_ref().copied().unwrap_or(CommitTicket(u64::MAX));
        self.waiting.extend(self.fresh.drain(..).map(|held| (ticket, held)));
        if let Ok(ticket) = committed {
            self.last = ticket;
            for (wanted, _) in self.waiting.iter_mut().filter(|(wanted, _)| wanted.0 == u64::MAX) {
                *wanted = ticket;
            }
        }
        committed.map(|_| Vec::new())
    }

    /// What may go out now that everything up to `ticket` is durable.
    pub fn handle_durable(&mut self, ticket: CommitTicket) -> Vec<Held> {
        self.durable = self.durable.max(ticket);
        let ready = self.waiting.iter().take_while(|(wanted, _)| *wanted <= self.durable).count();
        self.waiting.drain(..ready).map(|(_, held)| held).collect()
    }

    /// The acts that waited too long for the store.
    pub fn expired(&mut self, now: Mono) -> Vec<ActId> {
        let mut out = Vec::new();
        self.waiting.retain(|(_, held)| match held {
            Held::Act(act) if act.expires <= now => {
                out.push(act.id);
                false
            }
            Held::Act(_) | Held::Answer(_) | Held::Settle(_) | Held::Told(_) => true,
        });
        out
    }

    /// When the first waiting act runs out.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let acts = self.waiting.iter().filter_map(|(_, held)| match held {
            Held::Act(act) => Some(act.expires),
            Held::Answer(_) | Held::Settle(_) | Held::Told(_) => None,
        });
        acts.min()
    }

    /// Hands an act to its line under this number of the line's.
    ///
    /// # Errors
    /// How it ended, when no line takes it.
    pub fn send(&mut self, act: Act, number: u64) -> Result<(), (ActId, ActResult)> {
        let refused = |reason, detail: &str| (act.id, ActResult::Refused(refusal(reason, detail)));
        let routes = self.routes.borrow();
        let route = usize::try_from(act.device.0).ok().and_then(|at| routes.get(at)?.as_ref());
        let Some(route) = route else { return Err(refused("no_bus", "the device is not at work now")) };
        let command = Command { id: number, device: route.device, action: act.action.clone(), expires: act.expires };
        if route.way.send(command).is_err() {
            return Err(refused("bus_busy", "too many commands wait for it already, or its bus has ended"));
        }
        self.under_way.insert(number, act.id);
        Ok(())
    }

    /// Hands a question to the line of its controller, under this number of the line's. It waits for no journal: it
    /// changes nothing that could not be asked again.
    ///
    /// # Errors
    /// The question, when no line takes it.
    pub fn enquire(&mut self, enquiry: &Enquiry, number: u64) -> Result<(), EnquiryId> {
        let routes = self.routes.borrow();
        let route = usize::try_from(enquiry.device.0).ok().and_then(|at| routes.get(at)?.as_ref());
        let route = route.ok_or(enquiry.id)?;
        let action = Action::Controller(enquiry.ask.clone());
        let command = Command { id: number, device: route.device, action, expires: enquiry.expires };
        route.way.send(command).map_err(|_| enquiry.id)?;
        self.asked.insert(number, enquiry.id);
        Ok(())
    }

    /// Takes a line's result of this number, if it is one of a question to a controller.
    pub fn handle_answered(
        &mut self,
        number: u64,
        result: &CommandResult,
    ) -> Option<(EnquiryId, Result<ControllerAnswer, NoData>)> {
        Some((self.asked.remove(&number)?, controller_answer(result)))
    }

    /// Takes a line's result of this number, if it is one of an act.
    pub fn handle_done(&mut self, number: u64, result: &CommandResult) -> Option<(ActId, ActResult)> {
        Some((self.under_way.remove(&number)?, act_result(result)))
    }

    /// Acts that a line will never tell of, because it has ended without a word.
    pub fn lost(&mut self) -> Vec<(ActId, ActResult)> {
        // Of questions the machine that asked knows when to give them up.
        self.asked.clear();
        let lost = std::mem::take(&mut self.under_way);
        lost.into_values().map(|id| (id, ActResult::Unknown(NoData::BusDown))).collect()
    }
}

/// The last frames that concern a device, the newest first.
fn last_frames(line: &Line, device: DeviceIx) -> Vec<String> {
    let frames = line.frames().filter(|frame| frame.device.is_none_or(|of| of == device));
    let mut texts: Vec<String> = frames.map(|frame| frame.to_string()).collect();
    texts.reverse();
    texts.truncate(FRAMES_TOLD);
    texts
}

/// What a line's result says of a controller.
fn controller_answer(result: &CommandResult) -> Result<ControllerAnswer, NoData> {
    match result {
        CommandResult::Read(readings) => ControllerAnswer::from_readings(readings).ok_or(NoData::BadReply),
        CommandResult::Failed(why) | CommandResult::Unknown(why, _) => Err(*why),
        CommandResult::Expired => Err(NoData::Timeout),
        CommandResult::Refused(_) => Err(NoData::NotAvailable),
        // No question is a write.
        CommandResult::Verified(_) | CommandResult::Acknowledged(_) | CommandResult::Sent => Err(NoData::BadReply),
    }
}

/// What a line's result means for an act.
fn act_result(result: &CommandResult) -> ActResult {
    match result {
        CommandResult::Verified(_) => ActResult::Verified,
        CommandResult::Acknowledged(None | Some(Err(_))) | CommandResult::Sent => ActResult::Acknowledged,
        CommandResult::Acknowledged(Some(Ok(_))) => ActResult::Failed(NoData::BadReply),
        CommandResult::Failed(why) => ActResult::Failed(*why),
        CommandResult::Unknown(why, _) => ActResult::Unknown(*why),
        CommandResult::Expired => ActResult::Expired,
        CommandResult::Refused(why) => ActResult::Refused(refusal(refusal_name(why), &why.to_string())),
        // What it read is told by itself.
        CommandResult::Read(_) => ActResult::Acknowledged,
    }
}

fn refusal(reason: &str, detail: &str) -> ActRefusal {
    ActRefusal { reason: reason.into(), detail: Some(detail.into()) }
}

/// The stable name of what a line does not accept.
fn refusal_name(why: &CommandRefusal) -> &'static str {
    match why {
        CommandRefusal::QueueFull => "bus_busy",
        CommandRefusal::NoSuchDevice => "no_bus",
        CommandRefusal::Action(ActionError::ReadOnly) => "read_only",
        CommandRefusal::Action(ActionError::Unrepresentable { .. }) => "bad_value",
        CommandRefusal::Action(ActionError::NoSuchCommand(_)) => "unknown_action",
        CommandRefusal::Action(ActionError::BadCall { .. }) => "bad_args",
        CommandRefusal::Action(ActionError::BeyondLimits(_) | ActionError::Unsupported) => "unsupported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_does_not_accept_has_a_stable_name_and_words_for_people() {
        let call = CommandRefusal::Action(ActionError::NoSuchCommand(gatehouse_core::Name::new("flush").unwrap()));
        let ActResult::Refused(why) = act_result(&CommandResult::Refused(call)) else { panic!("it was refused") };
        assert_eq!(&*why.reason, "unknown_action");
        assert_eq!(why.detail.as_deref(), Some("the device's profile has no command \"flush\""));
    }

    #[test]
    fn a_device_without_a_bus_refuses_by_name() {
        let action = gatehouse_core::driver::Action::Identify;
        let act = Act { id: ActId(7), device: DeviceIx(3), action, expires: Mono(1), urgent: false, gate: None };
        let (id, result) = Effector::default().send(act, 1).unwrap_err();
        let ActResult::Refused(why) = result else { panic!("it was refused") };
        assert_eq!((id, &*why.reason), (ActId(7), "no_bus"));
    }
}
