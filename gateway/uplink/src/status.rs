//! What the uplink says of itself: its state, its counters and the events of its link.

use std::time::Duration;

use gatehouse_core::{Lane, Mono, Wall};

use crate::fault::Fault;
use crate::inbound::Message;

/// Where the link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkState {
    /// Resolving, connecting, TLS or CONNECT, or pausing before the next attempt.
    #[default]
    Down,
    /// Connected and admitted.
    Up,
    /// Connected to ask for the time alone: the clock is unset and the broker's certificate not valid at the time
    /// that the box last knew.
    TimeOnly,
    /// Closed for good by [`crate::UplinkHandle::drain`].
    Stopped,
}

impl LinkState {
    /// The name in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkState::Down => "down",
            LinkState::Up => "up",
            LinkState::TimeOnly => "time-only",
            LinkState::Stopped => "stopped",
        }
    }
}

/// Counts since the daemon started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// PUBLISH packets written, those of records and others.
    pub messages: u64,
    /// Records in them; a record sent twice counts twice.
    pub records: u64,
    /// Bytes of MQTT packets written.
    pub bytes_sent: u64,
    /// Bytes of MQTT packets read.
    pub bytes_received: u64,
    /// Messages that the broker acknowledged without an error.
    pub acked: u64,
    /// Messages that the broker refused, by PUBACK reason.
    pub refused: u64,
    /// Records put into quarantine.
    pub quarantined: u64,
    /// Connections that were admitted.
    pub connects: u64,
    /// Attempts and connections that failed.
    pub failures: u64,
    /// Incoming messages that were malformed, too large or of no known topic.
    pub ignored: u64,
    /// Messages for the daemon ([`UplinkEvent::Message`]) that were dropped because too many of their topic waited.
    pub dropped: u64,
    /// Questions that were sent ([`crate::UplinkHandle::ask`]).
    pub asked: u64,
    /// Events dropped because nobody took them ([`crate::UplinkHandle::next_event`]).
    pub events_dropped: u64,
}

/// Telemetry bytes used of the daily budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetUse {
    /// Days since 1970-01-01 (UTC).
    pub day: i64,
    /// Bytes used that day, overhead included.
    pub bytes: u64,
}

/// A snapshot of the uplink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UplinkStatus {
    /// Where the link stands.
    pub state: LinkState,
    /// The broker in use or being tried, as `scheme://host:port`.
    pub broker: String,
    /// Since when `state` holds.
    pub since: Mono,
    /// The trouble that keeps the link down, or the last one that took it down.
    pub last_error: Option<Fault>,
    /// Messages in flight.
    pub in_flight: u32,
    /// Lanes that the broker holds up, with the PUBACK reason.
    pub held: Vec<(Lane, u8)>,
    /// Telemetry waits until tomorrow.
    pub budget_exhausted: bool,
    /// Telemetry bytes used today.
    pub budget: BudgetUse,
    /// Counts since the start.
    pub counters: Counters,
}

/// Something that the daemon may want to act on, store or show. Each state change is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkEvent {
    /// The link came up.
    LinkUp {
        /// The broker.
        broker: String,
    },
    /// The link went down, or the first attempt failed. Later failures are told only when their kind changes.
    LinkDown {
        /// The broker.
        broker: String,
        /// Why, in words for an installer.
        fault: Fault,
    },
    /// The core sent something. To be settled once it is taken over: [`crate::UplinkHandle::settle`].
    Message(Message),
    /// The broker does not let the box subscribe to a topic. Told when it begins.
    SubscriptionRefused {
        /// The topic, without wildcards.
        topic: String,
    },
    /// The core offered the time.
    TimeOffer {
        /// Its wall-clock time at `received`.
        wall: Wall,
        /// How far off it may be, the core's own doubt and the way here included.
        accuracy: Duration,
        /// When it came.
        received: Mono,
        /// Whether it came over a checked TLS session.
        authentic: bool,
    },
    /// The broker refuses a lane: it is held and probed.
    LaneBlocked {
        /// The lane.
        lane: Lane,
        /// The PUBACK reason (MQTT 5, 3.4.2.1); 0 when the store could not be read.
        reason: u8,
        /// What to do about it.
        message: String,
    },
    /// A held lane moves again.
    LaneFreed {
        /// The lane.
        lane: Lane,
    },
    /// A record went into quarantine.
    RecordRefused {
        /// The lane.
        lane: Lane,
        /// Its number.
        seq: u64,
        /// Why.
        message: String,
    },
    /// The day's telemetry budget is used up.
    BudgetExhausted {
        /// The budget in bytes.
        bytes: u64,
    },
}
