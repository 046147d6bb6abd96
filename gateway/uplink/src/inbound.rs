//! What the core sends besides acknowledgements and the time, and when each message gets its PUBACK.

use std::collections::{BTreeMap, VecDeque};

use gatehouse_core::Mono;

/// PUBLISH packets with QoS 1 that may be without a PUBACK at once, as MQTT 5 tells the broker (3.1.2.11.3): it keeps
/// what comes beyond in its own queue. mosquitto 2.0.11 heeds it at first and sends more after a burst of PUBACKs.
pub(crate) const RECEIVE_MAX: u16 = 16;
/// Messages of one topic that wait to be taken; what comes beyond is dropped and counted.
const UNREAD: usize = 256;
/// Bytes of one topic that wait to be taken: a receive maximum of the largest packets for credentials, and far more
/// than the daemon's own bound of 8 KB a message for the rest.
const UNREAD_BYTES: usize = 1024 * 1024;
const UNREAD_CREDENTIALS_BYTES: usize = 16 * 1024 * 1024;
/// PUBLISH packets without a PUBACK that even a broker of MQTT 3.1.1, which knows no such limit, may leave behind.
const OWED: usize = 1024;

/// The topics below the box's own on which the core speaks to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inbound {
    /// `command`: one command as JSON.
    Command,
    /// `ticket`: what the core changed in a ticket.
    Ticket,
    /// `credentials`: one part of a snapshot or of a delta, for [`crate::Assembler`].
    Credentials,
    /// `answer`: the answer to a question of [`crate::UplinkHandle::ask`].
    Answer,
}

impl Inbound {
    /// Every topic.
    pub const ALL: [Inbound; 4] = [Inbound::Command, Inbound::Ticket, Inbound::Credentials, Inbound::Answer];

    /// The last level of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Inbound::Command => "command",
            Inbound::Ticket => "ticket",
            Inbound::Credentials => "credentials",
            Inbound::Answer => "answer",
        }
    }

    /// True where the broker is asked for QoS 1. An answer comes once and at once: it is of no use later, and must not
    /// wait behind messages that the daemon has not settled.
    pub(crate) fn is_settled(self) -> bool {
        match self {
            Inbound::Command | Inbound::Ticket | Inbound::Credentials => true,
            Inbound::Answer => false,
        }
    }

    fn room(self) -> usize {
        match self {
            Inbound::Credentials => UNREAD_CREDENTIALS_BYTES,
            Inbound::Command | Inbound::Ticket | Inbound::Answer => UNREAD_BYTES,
        }
    }
}

/// Names one incoming message towards [`crate::UplinkHandle::settle`]; unique within one run of the daemon for what
/// came with QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The connection, counted from 1.
    pub(crate) link: u64,
    /// The packet id; 0 for QoS 0.
    pub(crate) packet: u16,
}

/// One message of the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name towards [`crate::UplinkHandle::settle`].
    pub id: MessageId,
    /// Where it came.
    pub topic: Inbound,
    /// Its bytes, as they came: at most 64 KiB or [`crate::Settings::max_packet`], whichever is more.
    pub payload: Vec<u8>,
    /// True when the broker had kept it: it is of the past.
    pub retained: bool,
    /// Whether it came over a checked TLS session.
    pub authentic: bool,
    /// When it came.
    pub received: Mono,
}

/// Messages that wait to be taken, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: VecDeque<Message>,
    /// Messages and bytes of each topic.
    unread: BTreeMap<Inbound, (usize, usize)>,
}

impl Inbox {
    /// Puts a message at the end; false when its topic has no room.
    pub(crate) fn push(&mut self, message: Message) -> bool {
        let (count, bytes) = self.unread.entry(message.topic).or_default();
        if *count == UNREAD || *bytes + message.payload.len() > message.topic.room() {
            return false;
        }
        *count += 1;
        *bytes += message.payload.len();
        self.waiting.push_back(message);
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.waiting.pop_front()?;
        if let Some((count, bytes)) = self.unread.get_mut(&message.topic) {
            *count -= 1;
            *bytes -= message.payload.len();
        }
        Some(message)
    }
}

/// More messages came than a broker may send without a PUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {OWED} messages that nobody has acknowledged yet")]
pub(crate) struct TooMany;

/// The PUBACKs that one connection owes. They leave in the order in which the messages came, as MQTT asks (5, 4.6), so
/// one that is not settled holds up those behind it.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Packet ids, and whether they are settled.
    owed: VecDeque<(u16, bool)>,
}

impl Receipts {
    /// A message came with this packet id. False when it is the repetition of one that is still owed its PUBACK, which
    /// a broker of MQTT 3.1.1 may send.
    ///
    /// # Errors
    /// [`TooMany`]: drop the link.
    pub(crate) fn handle_message(&mut self, id: u16) -> Result<bool, TooMany> {
        if self.owed.iter().any(|&(owed, _)| owed == id) {
            return Ok(false);
        }
        if self.owed.len() == OWED {
            return Err(TooMany);
        }
        self.owed.push_back((id, false));
        Ok(true)
    }

    /// The message is dealt with. One that is not owed is ignored.
    pub(crate) fn handle_settled(&mut self, id: u16) {
        if let Some(owed) = self.owed.iter_mut().find(|(owed, _)| *owed == id) {
            owed.1 = true;
        }
    }

    /// The next packet id that may be acknowledged.
    pub(crate) fn poll_puback(&mut self) -> Option<u16> {
        self.owed.pop_front_if(|(_, settled)| *settled).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pubacks(receipts: &mut Receipts) -> Vec<u16> {
        std::iter::from_fn(|| receipts.poll_puback()).collect()
    }

    #[test]
    fn pubacks_leave_in_the_order_of_the_messages_however_these_are_settled() {
        let mut receipts = Receipts::default();
        for id in [7, 3, 9] {
            assert_eq!(receipts.handle_message(id), Ok(true));
        }
        receipts.handle_settled(9);
        receipts.handle_settled(3);
        receipts.handle_settled(100);
        assert!(pubacks(&mut receipts).is_empty(), "the first one is not settled");
        assert_eq!(receipts.handle_message(3), Ok(false), "a repetition is the same message");
        receipts.handle_settled(7);
        assert_eq!(pubacks(&mut receipts), [7, 3, 9]);
        receipts.handle_settled(7);
        assert!(pubacks(&mut receipts).is_empty(), "each one once");
        assert_eq!(receipts.handle_message(7), Ok(true), "an id that is free names another message");
    }

    #[test]
    fn a_broker_that_never_waits_for_pubacks_is_found_out() {
        let mut receipts = Receipts::default();
        assert!((1..=1024).all(|id| receipts.handle_message(id) == Ok(true)));
        assert_eq!(receipts.handle_message(1025), Err(TooMany));
    }

    #[test]
    fn each_topic_has_room_of_its_own_and_keeps_what_came_first() {
        let message = |topic, packet, size| Message {
            id: MessageId { link: 1, packet },
            topic,
            payload: vec![0; size],
            retained: false,
            authentic: true,
            received: Mono(0),
        };
        let mut inbox = Inbox::default();
        assert!((0..256).all(|n| inbox.push(message(Inbound::Command, n, 1))));
        assert!(!inbox.push(message(Inbound::Command, 256, 1)));
        assert!((300..316).all(|n| inbox.push(message(Inbound::Credentials, n, UNREAD_BYTES))));
        assert!(!inbox.push(message(Inbound::Credentials, 316, 1)));
        assert!(!inbox.push(message(Inbound::Ticket, 400, UNREAD_BYTES + 1)));
        assert_eq!(inbox.pop().map(|message| message.id.packet), Some(0));
        assert!(inbox.push(message(Inbound::Command, 500, 1)));
        let rest: Vec<u16> = std::iter::from_fn(|| inbox.pop()).map(|message| message.id.packet).collect();
        assert_eq!(rest, (1..256).chain(300..316).chain([500]).collect::<Vec<_>>());
        assert!(inbox.push(message(Inbound::Credentials, 600, UNREAD_CREDENTIALS_BYTES)), "all room is free again");
    }
}
