//! What the broker says on an admitted connection.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_core::{Lane, Mono, Wall};

use super::Uplink;
use super::serve::Link;
use crate::fault::Fault;
use crate::inbound::{Inbound, Message, MessageId};
use crate::ledger::Control;
use crate::packet::Incoming;
use crate::schema::{AckMessage, TimeMessage};
use crate::status::UplinkEvent;

impl Uplink {
    pub(super) fn handle_incoming(&mut self, link: &mut Link, now: Mono, incoming: Incoming) -> Result<(), Fault> {
        match incoming {
            Incoming::PubAck { id, reason } => {
                let settled = self.session.handle_puback(now, id, reason, &mut *self.outbox.borrow_mut());
                let settled = settled.map_err(|unknown| Fault::Malformed { why: unknown.to_string() })?;
                if let Some((control, accepted)) = settled {
                    self.settled(control, accepted);
                }
            }
            Incoming::Publish { topic, id, payload, retained } => {
                self.handle_publish(link, now, (&topic, id), (&payload, retained))?;
            }
            Incoming::Skipped => self.shared.status.borrow_mut().counters.ignored += 1,
            Incoming::Subscribed { granted } => self.handle_subscribed(&granted),
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

    fn handle_publish(
        &mut self,
        link: &mut Link,
        now: Mono,
        (topic, id): (&Bytes, u16),
        (payload, retained): (&Bytes, bool),
    ) -> Result<(), Fault> {
        if id != 0 {
            let new = link.receipts.handle_message(id);
            if !new.map_err(|too_many| Fault::Malformed { why: too_many.to_string() })? {
                return Ok(());
            }
        }
        let waits = if let Some(inbound) = self.topics.inbound(topic) {
            let id = MessageId { link: link.number, packet: id };
            let (payload, authentic) = (payload.to_vec(), link.secure);
            let message = Message { id, topic: inbound, payload, retained, authentic, received: now };
            self.hand_over(link, inbound, message)
        } else {
            let known = if *topic == *self.topics.ack.as_bytes() {
                self.take_ack(now, payload)
            } else if *topic == *self.topics.time.as_bytes() {
                self.offer_time(payload, retained, link.secure)
            } else {
                false
            };
            self.shared.status.borrow_mut().counters.ignored += u64::from(!known);
            false
        };
        if !waits {
            link.receipts.handle_settled(id);
        }
        Ok(())
    }

    /// False when there is no room for the message: the broker sends more than the receive maximum, and the daemon reads
    /// none of it. It is counted; the core sends again what it sees no outcome of.
    fn hand_over(&self, link: &mut Link, topic: Inbound, message: Message) -> bool {
        let taken = self.shared.push_message(message);
        if !taken {
            self.shared.status.borrow_mut().counters.dropped += 1;
            if !std::mem::replace(&mut link.overfull, true) {
                tracing::warn!(topic = topic.as_str(), "messages of the core are dropped: too many wait");
            }
        }
        taken
    }

    /// Tells of each topic that the broker has newly refused.
    fn handle_subscribed(&mut self, granted: &[bool]) {
        let topics = self.topics.subscriptions().enumerate();
        let refused = topics.filter(|&(ix, _)| granted.get(ix) != Some(&true));
        let refused: BTreeSet<String> = refused.map(|(_, (topic, _))| topic.to_owned()).collect();
        for topic in refused.difference(&self.unsubscribed) {
            tracing::warn!(topic, "the broker does not let the box subscribe: check its access rules");
            self.shared.push_event(UplinkEvent::SubscriptionRefused { topic: topic.clone() });
        }
        self.unsubscribed = refused;
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
}
