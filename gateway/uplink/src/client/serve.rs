//! An admitted connection, from its first message to its end.

use std::time::Duration;

use gatehouse_core::{Lane, Mono, Stamp, Wall};
use tokio::time::Instant;

use super::{Ended, SUBSCRIBE_ID, Uplink};
use crate::connection::Connection;
use crate::fault::Fault;
use crate::ledger::Control;
use crate::packet::{Admission, Incoming};
use crate::publish;
use crate::schema::{AckMessage, TimeMessage};
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
struct Link {
    connection: Connection,
    secure: bool,
    keep_alive: Duration,
    last_written: Mono,
    written: u64,
    read: u64,
    /// Bytes written and read that the counters have.
    counted: (u64, u64),
    /// A ping has no answer yet.
    pinged: bool,
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
        self.shared.status.borrow_mut().counters.connects += 1;
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
            connection,
        };
        let ended = self.keep(&mut link).await;
        let goodbye = match ended {
            Ended::Drained => Some(false),
            Ended::Reopen => Some(true),
            Ended::Fault(_) | Ended::TimeCame => None,
        };
        self.account(&mut link);
        if let Some(will) = goodbye {
            link.connection.close(will, self.goodbye()).await;
        }
        ended
    }

    async fn keep(&mut self, link: &mut Link) -> Ended {
        let topics = [self.topics.ack.as_str(), self.topics.time.as_str()];
        if let Err(fault) = link.connection.packets.subscribe(&mut link.connection.out, SUBSCRIBE_ID, &topics) {
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
        if let Some(inventory) = wishes.inventory.take() {
            drop(wishes);
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
                    let state = if link.stopping { "stopped" } else { "online" };
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

    fn handle_incoming(&mut self, link: &mut Link, now: Mono, incoming: Incoming) -> Result<(), Fault> {
        match incoming {
            Incoming::PubAck { id, reason } => {
                let settled = self.session.handle_puback(now, id, reason, &mut *self.outbox.borrow_mut());
                let settled = settled.map_err(|unknown| Fault::Malformed { why: unknown.to_string() })?;
                if let Some((control, accepted)) = settled {
                    self.settled(control, accepted);
                }
            }
            Incoming::Publish { topic, id, payload, retained } => {
                let known = if *topic == *self.topics.ack.as_bytes() {
                    self.take_ack(now, &payload)
                } else if *topic == *self.topics.time.as_bytes() {
                    self.offer_time(&payload, retained, link.secure)
                } else {
                    false
                };
                if !known {
                    self.shared.status.borrow_mut().counters.ignored += 1;
                }
                if id != 0 {
                    link.connection.packets.puback(&mut link.connection.out, id);
                }
            }
            Incoming::Skipped => self.shared.status.borrow_mut().counters.ignored += 1,
            Incoming::Subscribed { refused: true } => {
                tracing::warn!(
                    "the broker refuses the uplink's subscriptions: no time and no acknowledgements come in"
                );
            }
            Incoming::Subscribed { refused: false } => {}
            Incoming::PingResponse => link.pinged = false,
            Incoming::Disconnect { reason: 0x8E } => {
                return Err(Fault::TakenOver { id: self.settings.client_id.clone() });
            }
            Incoming::Disconnect { reason } => {
                return Err(Fault::Lost { why: format!("the broker said goodbye with reason 0x{reason:02x}") });
            }
            Incoming::Admitted(_) | Incoming::Refused(_) => {
                return Err(Fault::Malformed { why: "a second CONNACK".to_owned() });
            }
        }
        Ok(())
    }

    /// A refused message is not offered again before it changes, or the settings do.
    fn settled(&mut self, control: Control, accepted: bool) {
        match control {
            Control::Inventory(number) => self.inventory.settled(number, &self.settings),
            Control::Status => self.status_refused = !accepted,
        }
        if !accepted {
            let topics = self.topics.ack.trim_end_matches("ack");
            tracing::warn!(
                topics,
                ?control,
                "the broker refuses the box's status or inventory: check its access rules"
            );
        }
    }

    /// False when the message cannot be used.
    fn take_ack(&mut self, now: Mono, payload: &[u8]) -> bool {
        let Ok(message) = serde_json::from_slice::<AckMessage>(payload) else { return false };
        let mut outbox = self.outbox.borrow_mut();
        for (name, have) in &message.have {
            if let Some(lane) = Lane::from_name(name).filter(|_| message.v == 1) {
                self.session.handle_watermark(now, message.epoch, lane, have, &mut *outbox);
            }
        }
        message.v == 1
    }

    /// False when the offer cannot be used. A retained offer is of the past.
    pub(super) fn offer_time(&mut self, payload: &[u8], retained: bool, authentic: bool) -> bool {
        let Ok(message) = serde_json::from_slice::<TimeMessage>(payload) else { return false };
        let Ok(time) = message.time.parse::<jiff::Timestamp>() else { return false };
        if retained || message.v != 1 {
            return false;
        }
        let accuracy = Duration::from_millis(message.accuracy_ms);
        let (wall, received) = (Wall(time.as_microsecond()), (self.clock)().mono);
        self.shared.push_event(UplinkEvent::TimeOffer { wall, accuracy, received, authentic });
        true
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
