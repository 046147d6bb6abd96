//! An admitted connection, from its first message to its end.

use std::time::Duration;

use bytes::BytesMut;
use gatehouse_core::{Lane, Mono, Stamp};
use tokio::time::Instant;

use super::{Ended, SUBSCRIBE_ID, Uplink};
use crate::connection::Connection;
use crate::fault::Fault;
use crate::inbound::Receipts;
use crate::ledger::Control;
use crate::packet::Admission;
use crate::publish;
use crate::session::{Destination, LinkLimits};
use crate::settings::Broker;
use crate::status::{LinkState, UplinkEvent};

/// No more messages are made while this many bytes wait to be written.
const OUT_HIGH: usize = 64 * 1024;
/// A message unanswered for this many response timeouts, while other answers come, means that its PUBACK is lost.
const LOST_ANSWER: u32 = 4;
/// How often unanswered messages are looked for, at most.
const LOOK_FOR_LOST: Duration = Duration::from_secs(10);

enum Step {
    Wait(Mono),
    Drained,
}

/// One admitted connection.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Which connection it is, from 1.
    pub(super) number: u64,
    pub(super) receipts: Receipts,
    /// A message had no room; that was said.
    pub(super) overfull: bool,
    pub(super) secure: bool,
    keep_alive: Duration,
    last_written: Mono,
    written: u64,
    read: u64,
    /// Bytes written and read that the counters have.
    counted: (u64, u64),
    /// A ping has no answer yet.
    pub(super) pinged: bool,
    /// Since when the broker owes an answer and has sent nothing.
    awaiting: Option<Mono>,
    /// When unanswered messages were last looked for.
    looked: Mono,
    drain: Option<Mono>,
    /// The last status is on its way.
    stopping: bool,
}

impl Uplink {
    /// The link is up: runs it until it breaks or is to be left.
    pub(super) async fn serve(&mut self, connection: Connection, admission: Admission, broker: &Broker) -> Ended {
        self.told = None;
        self.set_state(LinkState::Up);
        let number = {
            let mut status = self.shared.status.borrow_mut();
            status.counters.connects += 1;
            status.counters.connects
        };
        self.shared.settled.borrow_mut().clear();
        tracing::info!(broker = %broker, "uplink up");
        self.shared.push_event(UplinkEvent::LinkUp { broker: broker.to_string() });
        let limits = LinkLimits { receive_max: admission.receive_max, max_packet: admission.max_packet };
        for lane in Lane::ALL {
            self.shared.take_stored(lane);
        }
        self.session.handle_connected(limits, &*self.outbox.borrow());
        let now = (self.clock)().mono;
        let keep_alive = admission.keep_alive.filter(|&seconds| seconds > 0).map(u64::from).map(Duration::from_secs);
        let mut link = Link {
            keep_alive: keep_alive.unwrap_or(self.settings.keep_alive).min(self.settings.keep_alive),
            secure: broker.tls,
            last_written: now,
            written: 0,
            read: 0,
            counted: (0, 0),
            pinged: false,
            awaiting: None,
            looked: now,
            drain: None,
            stopping: false,
            number,
            receipts: Receipts::default(),
            overfull: false,
            connection,
        };
        let ended = self.keep(&mut link).await;
        let goodbye = match ended {
            Ended::Drained => Some(false),
            Ended::Reopen => Some(true),
            Ended::Fault(_) | Ended::TimeCame => None,
        };
        self.account(&mut link);
        // A question is for now: none is taken from here on, and the next link is too late for those that wait.
        self.set_state(LinkState::Down);
        self.shared.questions.borrow_mut().clear();
        if let Some(will) = goodbye {
            link.connection.close(will, self.goodbye()).await;
        }
        ended
    }

    async fn keep(&mut self, link: &mut Link) -> Ended {
        let topics = self.topics.subscriptions();
        if let Err(fault) = link.connection.packets.subscribe(&mut link.connection.out, SUBSCRIBE_ID, topics) {
            return Ended::Fault(fault);
        }
        if !self.status_refused {
            self.session.handle_control(Control::Status);
        }
        self.queue_inventory();
        let shared = self.shared.clone();
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut armed = None;
        loop {
            let now = (self.clock)();
            if let Some(ended) = self.follow_wishes(link, now.mono) {
                return ended;
            }
            let deadline = match self.step(link, now) {
                Ok(Step::Wait(deadline)) => deadline,
                Ok(Step::Drained) => return Ended::Drained,
                Err(fault) => return Ended::Fault(fault),
            };
            // A timer that is armed for an earlier instant is left as it is: waking once too often is cheaper than
            // arming it anew with each message.
            if armed.is_none_or(|at| deadline < at || at <= now.mono) {
                armed = Some(deadline);
                timer.as_mut().reset(Instant::now() + now.mono.until(deadline));
            }
            tokio::select! {
                biased;
                turned = link.connection.turn(OUT_HIGH) => if let Err(fault) = turned { return Ended::Fault(fault) },
                () = shared.wake.notified() => {}
                () = &mut timer => armed = None,
            }
        }
    }

    /// Does what the handle asked for since the last look.
    fn follow_wishes(&mut self, link: &mut Link, now: Mono) -> Option<Ended> {
        let mut wishes = self.shared.wishes.borrow_mut();
        if wishes.settings.as_ref().is_some_and(|settings| *settings == self.settings) {
            wishes.settings = None;
        }
        if wishes.settings.is_some() || wishes.reconnect {
            return Some(Ended::Reopen);
        }
        if let Some(used) = wishes.budget.take() {
            self.session.handle_budget(used);
        }
        // The wish stays: should the link break before all is sent, it ends the task instead of a new attempt.
        if let Some(until) = wishes.drain.filter(|_| link.drain.is_none()) {
            link.drain = Some(now + until.saturating_duration_since(Instant::now()));
            self.session.handle_drain();
        }
        let mode = wishes.mode.take().filter(|&mode| self.mode != Some(mode));
        let inventory = wishes.inventory.take();
        drop(wishes);
        if mode.is_some() {
            self.mode = mode;
            if !self.status_refused {
                self.session.handle_control(Control::Status);
            }
        }
        if let Some(inventory) = inventory {
            self.inventory.replace(inventory);
            self.queue_inventory();
        }
        None
    }

    fn queue_inventory(&mut self) {
        for number in self.inventory.changed(&self.settings) {
            self.session.handle_control(Control::Inventory(number));
        }
    }

    /// Takes what came, sends what is due, and says until when there is nothing to do.
    fn step(&mut self, link: &mut Link, now: Stamp) -> Result<Step, Fault> {
        while let Some(incoming) = link.connection.packet()? {
            self.handle_incoming(link, now.mono, incoming)?;
        }
        self.send_questions(link)?;
        self.send_pubacks(link);
        for lane in Lane::ALL {
            if self.shared.take_stored(lane) {
                let newest = self.outbox.borrow().newest(lane);
                self.session.handle_stored(now.mono, lane, newest);
            }
        }
        self.send(link, now)?;
        while let Some(event) = self.session.poll_event() {
            self.shared.status.borrow_mut().held = self.session.held().collect();
            self.shared.push_event(event);
        }
        if let Some(until) = link.drain {
            if now.mono >= until || link.stopping && self.session.in_flight() == 0 {
                return Ok(Step::Drained);
            }
            if !link.stopping && self.session.drained(now.mono) {
                link.stopping = true;
                self.session.handle_control(Control::Status);
                self.send(link, now)?;
            }
        }
        let deadline = self.watch(link, now.mono)?;
        self.account(link);
        let next = self.session.poll_timeout(now.mono).map_or(deadline, |at| at.min(deadline));
        Ok(Step::Wait(link.drain.map_or(next, |until| until.min(next))))
    }

    /// Sends questions before all else, unless the broker takes no bytes.
    fn send_questions(&mut self, link: &mut Link) -> Result<(), Fault> {
        let mut questions = self.shared.questions.borrow_mut();
        if questions.is_empty() || link.connection.out.len() >= 2 * OUT_HIGH {
            return Ok(());
        }
        let mut first = BytesMut::new();
        self.shared.status.borrow_mut().counters.asked += questions.len() as u64;
        for question in questions.drain(..) {
            link.connection.packets.publish(&mut first, (&self.topics.ask, 0), question, false)?;
        }
        link.connection.put_first(&first);
        Ok(())
    }

    fn send_pubacks(&mut self, link: &mut Link) {
        for message in std::mem::take(&mut *self.shared.settled.borrow_mut()) {
            if message.link == link.number {
                link.receipts.handle_settled(message.packet);
            }
        }
        while let Some(id) = link.receipts.poll_puback() {
            link.connection.packets.puback(&mut link.connection.out, id);
        }
    }

    fn send(&mut self, link: &mut Link, now: Stamp) -> Result<(), Fault> {
        let day = now.wall.0.div_euclid(86_400_000_000);
        let mut outbox = self.outbox.borrow_mut();
        let out = &mut link.connection.out;
        while out.len() < OUT_HIGH {
            let Some(message) = self.session.poll_send(now.mono, day, &mut *outbox, &mut self.scratch) else { break };
            let packets = &link.connection.packets;
            match message.to {
                Destination::Records(lane, stream) => {
                    let topic = self.topics.records(lane, stream);
                    let payload = std::mem::take(&mut self.scratch);
                    self.scratch = packets.publish(out, (topic, message.id), payload, false)?;
                }
                Destination::Control(Control::Status) => {
                    let state = if link.stopping { ("stopped", None) } else { ("online", self.mode) };
                    let software = self.inventory.software();
                    let payload = publish::status(&self.settings, state, software, now, &*outbox);
                    packets.publish(out, (&self.topics.status, message.id), payload, true)?;
                }
                Destination::Control(Control::Inventory(number)) => {
                    let topic = self.inventory.topic(number, &self.topics);
                    let payload = self.inventory.payload(number, &self.settings);
                    packets.publish(out, (&topic, message.id), payload, true)?;
                }
            }
        }
        Ok(())
    }

    /// Keeps the link alive and finds out when it is dead. Gives the instant of its next look.
    fn watch(&self, link: &mut Link, now: Mono) -> Result<Mono, Fault> {
        if link.connection.bytes_read != link.read {
            link.read = link.connection.bytes_read;
            link.awaiting = None;
        }
        if !link.connection.out.is_empty() || link.connection.bytes_written != link.written {
            link.written = link.connection.bytes_written;
            link.last_written = now;
        }
        // Early enough for the broker, which waits one and a half times as long (MQTT 5, 3.1.2.10).
        if now.since(link.last_written) >= link.keep_alive && !link.pinged {
            link.connection.packets.ping(&mut link.connection.out);
            link.last_written = now;
            link.pinged = true;
        }
        let owes = self.session.in_flight() > 0 || link.pinged;
        link.awaiting = if owes { link.awaiting.or(Some(now)) } else { None };
        let limit = self.settings.response_timeout;
        if link.awaiting.is_some_and(|since| now.since(since) >= limit) {
            return Err(Fault::Silent { seconds: limit.as_secs() });
        }
        if now.since(link.looked) >= LOOK_FOR_LOST {
            link.looked = now;
            let limit = limit * LOST_ANSWER;
            if self.session.unanswered_since().is_some_and(|since| now.since(since) >= limit) {
                return Err(Fault::Silent { seconds: limit.as_secs() });
            }
        }
        let ping = link.last_written + link.keep_alive;
        Ok(link.awaiting.map_or(ping, |since| (since + limit).min(ping)))
    }

    fn account(&self, link: &mut Link) {
        let session = self.session.counters();
        let mut status = self.shared.status.borrow_mut();
        (status.budget, status.budget_exhausted) = self.session.budget();
        status.in_flight = u32::try_from(self.session.in_flight()).unwrap_or(u32::MAX);
        let counters = &mut status.counters;
        counters.messages = session.messages;
        counters.records = session.records;
        counters.acked = session.acked;
        counters.refused = session.refused;
        counters.quarantined = session.quarantined;
        let (written, read) = (link.connection.bytes_written, link.connection.bytes_read);
        counters.bytes_sent += written - link.counted.0;
        counters.bytes_received += read - link.counted.1;
        link.counted = (written, read);
    }
}
