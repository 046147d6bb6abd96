//! The engine at work: what happened goes in, and what it wants is stored, sent and told.

use gatehouse_core::{Mono, NoData, Stamp};
use gatehouse_drivers::line::CommandResult;
use gatehouse_rules::command::{Answer, CommandId, Outcome, Reception, Request, Source};
use gatehouse_rules::controller::{Enquiry, EnquiryId};
use gatehouse_rules::engine::Output;
use gatehouse_rules::words::RequestId;
use gatehouse_rules::{Act, ActId, ActResult, Engine};
use gatehouse_store::CommitTicket;
use tokio::sync::oneshot;

use super::effector::{Held, Route};
use super::hub::Hub;

/// What came at once of the effects that were taken.
#[derive(Default)]
struct Round {
    /// Acts that ended.
    ended: Vec<(ActId, ActResult)>,
    /// Questions that could not be asked.
    unasked: Vec<RequestId>,
    /// Questions to controllers that no line took.
    unsent: Vec<EnquiryId>,
}

/// Acts that fail at once make the engine decide anew; more rounds than this would be a circle.
const ROUNDS: u32 = 32;

impl Hub {
    /// Tells the engine what happened, and does what follows from it.
    pub fn decide(&self, happened: impl FnOnce(&mut Engine, Stamp)) {
        let now = self.clock.now();
        happened(&mut self.engine.borrow_mut(), now);
        self.follow(now);
    }

    /// Looks at the engine without telling it anything.
    pub fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        look(&self.engine.borrow())
    }

    /// Begins: to be called once the routes are known.
    pub fn start_engine(&self) {
        self.engine.borrow_mut().set_frames(self.effector.borrow().frames());
        self.decide(|engine, now| {
            engine.handle_start(now);
            engine.handle_link(now, false);
        });
    }

    /// Replaces the engine after the site file has changed. Acts of the old one that are under way end as unknown in
    /// the new one, which kept what they are for.
    pub fn replace_engine(&self, engine: Engine) {
        *self.engine.borrow_mut() = engine;
        self.engine.borrow_mut().set_frames(self.effector.borrow().frames());
        self.follow(self.clock.now());
    }

    /// True while something that was decided waits for the store.
    pub fn is_behind(&self) -> bool {
        self.effector.borrow().is_behind()
    }

    /// Tells how devices are reached, in the order of the site file.
    pub fn set_routes(&self, routes: Vec<Option<Route>>) {
        self.effector.borrow_mut().set_routes(routes);
    }

    /// Everything up to this ticket is durable: what waited for it goes out.
    pub fn handle_durable(&self, ticket: CommitTicket) {
        let ready = self.effector.borrow_mut().handle_durable(ticket);
        if !ready.is_empty() {
            let ended = self.release(ready);
            self.end_acts(ended);
        }
    }

    /// The time that [`Hub::engine_due`] named has come.
    pub fn handle_engine_timeout(&self) {
        let now = self.clock.now();
        let late = self.effector.borrow_mut().expired(now.mono);
        let ended = late.into_iter().map(|id| (id, ActResult::Expired)).collect();
        self.end_acts(ended);
        if self.engine.borrow().poll_timeout().is_some_and(|due| due <= now.mono) {
            self.decide(|engine, now| engine.handle_timeout(now));
        }
    }

    /// When the engine, or an act that waits for the store, wants to be looked at; the caller promises to do so.
    pub fn engine_due(&self) -> Option<Mono> {
        let due = self.next_due();
        self.engine_armed.set(due.unwrap_or(Mono(u64::MAX)));
        due
    }

    /// Takes a line's result, if it is one of an act.
    pub(super) fn act_done(&self, number: u64, at: Mono, result: &CommandResult) -> bool {
        let Some(ended) = self.effector.borrow_mut().handle_done(number, result) else { return false };
        if let CommandResult::Read(readings) = result {
            self.decide(|engine, now| engine.handle_act_readings(now, ended.0, at, readings));
        }
        self.end_acts(vec![ended]);
        true
    }

    /// Takes a line's result, if it is one of a question to a controller.
    pub(super) fn enquiry_done(&self, number: u64, result: &CommandResult) -> bool {
        let Some((id, answer)) = self.effector.borrow_mut().handle_answered(number, result) else { return false };
        self.decide(|engine, now| engine.handle_enquired(now, id, answer));
        true
    }

    fn end_acts(&self, ended: Vec<(ActId, ActResult)>) {
        if ended.is_empty() {
            return;
        }
        self.decide(|engine, now| {
            for (id, result) in ended {
                engine.handle_act_result(now, id, result);
            }
        });
    }

    fn next_due(&self) -> Option<Mono> {
        let engine = self.engine.borrow().poll_timeout();
        engine.into_iter().chain(self.effector.borrow().poll_timeout()).min()
    }

    /// Stores, sends and tells what the engine wants.
    fn follow(&self, now: Stamp) {
        for _ in 0..ROUNDS {
            let Round { ended, unasked, unsent } = self.round();
            if ended.is_empty() && unasked.is_empty() && unsent.is_empty() {
                break;
            }
            let mut engine = self.engine.borrow_mut();
            for (id, result) in ended {
                engine.handle_act_result(now, id, result);
            }
            for request in unasked {
                engine.handle_access(now, |access, now| access.handle_unasked(now, request));
            }
            for enquiry in unsent {
                engine.handle_enquired(now, enquiry, Err(NoData::BusDown));
            }
        }
        if self.next_due().is_some_and(|due| due < self.engine_armed.get()) {
            self.store_wake.notify_one();
        }
    }

    fn poll_engine_output(&self) -> Option<Output> {
        self.engine.borrow_mut().poll_output()
    }

    /// Takes all effects that wait.
    fn round(&self) -> Round {
        let (mut urgent, mut unasked, mut unsent) = (Vec::new(), Vec::new(), Vec::new());
        let mut any = false;
        while let Some(effect) = self.poll_engine_effect() {
            any = true;
            urgent.extend(self.effector.borrow_mut().take(effect));
        }
        while let Some(output) = self.poll_engine_output() {
            any = true;
            match output {
                Output::Enquire(enquiry) => unsent.extend(self.enquire(&enquiry)),
                Output::Ask(ask) => unasked.extend((!self.ask_core(&ask)).then_some(ask.request)),
                Output::Answer(answer) => self.effector.borrow_mut().hold(Held::Answer(answer)),
                Output::Mode(mode) => {
                    tracing::info!(mode = mode.as_str(), "the box's mode has changed");
                    self.tell_mode(mode.as_str());
                }
            }
        }
        if !any && !self.effector.borrow().has_fresh() {
            return Round::default();
        }
        let overtaken = self.effector.borrow_mut().superseded();
        let mut ended: Vec<_> = overtaken.into_iter().map(|id| (id, ActResult::Refused("superseded".into()))).collect();
        ended.extend(self.send_all(urgent));
        let committed = self.effector.borrow_mut().commit(&mut self.store.borrow_mut());
        match committed {
            Ok(ready) => ended.extend(self.release(ready)),
            Err(error) => self.store_failed(&error),
        }
        Round { ended, unasked, unsent }
    }

    fn poll_engine_effect(&self) -> Option<gatehouse_rules::Effect> {
        self.engine.borrow_mut().poll_effect()
    }

    /// Sends and tells what has waited for the store.
    fn release(&self, held: Vec<Held>) -> Vec<(ActId, ActResult)> {
        let mut acts = Vec::new();
        for held in held {
            match held {
                Held::Act(act) => acts.push(act),
                Held::Answer(answer) => self.answer(answer),
                Held::Settle(message) => self.settle_message(message),
                // Whoever asked may have gone; what was asked for is kept all the same.
                Held::Told(asker) => drop(asker.send(())),
            }
        }
        self.send_all(acts)
    }

    /// Takes what is to be told once everything before it is durable.
    pub(super) fn hold(&self, held: Held) {
        self.effector.borrow_mut().hold(held);
        self.follow(self.clock.now());
    }

    fn answer(&self, answer: Answer) {
        let waiting = self.askers.borrow_mut().remove(answer.id.as_str());
        if let Some(waiting) = waiting {
            // Whoever asked may have gone; the outcome is in the audit trail all the same.
            let _ = waiting.send(answer.outcome);
        }
    }

    /// Takes a command. Its outcome comes once it is over and durable; of one that is no command, too.
    pub fn command(&self, source: Source, retained: bool, message: &[u8]) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let parsed = Request::parse(message);
        let id = match &parsed {
            Ok(request) => Some(request.id.clone()),
            Err(malformed) => malformed.id.clone(),
        };
        let id = id.or_else(|| CommandId::new("malformed"));
        if let (Some(id), Source::Socket { .. }) = (&id, source) {
            self.askers.borrow_mut().insert(id.as_str().to_owned(), sender);
        }
        self.decide(|engine, now| {
            let ended = match parsed {
                Ok(request) => match engine.handle_request(now, source, retained, request) {
                    Reception::Pending => None,
                    Reception::Ended(outcome) => Some(outcome),
                },
                Err(malformed) => Some(engine.handle_malformed(now, source, &malformed)),
            };
            if let (Some(outcome), Some(id)) = (ended, id) {
                self.effector.borrow_mut().hold(Held::Answer(Answer { id, source, outcome }));
            }
        });
        receiver
    }

    fn send_all(&self, acts: Vec<Act>) -> Vec<(ActId, ActResult)> {
        let send = |act| {
            let number = self.next_number();
            self.effector.borrow_mut().send(act, number).err()
        };
        acts.into_iter().filter_map(send).collect()
    }

    /// Asks a controller; gives the question where no line takes it.
    fn enquire(&self, enquiry: &Enquiry) -> Option<EnquiryId> {
        let number = self.next_number();
        self.effector.borrow_mut().enquire(enquiry, number).err()
    }
}
