//! Counters of the line and the state of its devices.

use std::time::Duration;

use gatehouse_core::{Mono, Reject};

/// Counters since the line was made. All only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineStats {
    /// Polls that came to an end with at least one request sent.
    pub polls: u64,
    /// Requests sent, probes and commands included.
    pub transactions: u64,
    /// Requests that were answered, exceptions included.
    pub replies: u64,
    /// Exceptions among the replies.
    pub exceptions: u64,
    /// Requests that ended without an answer.
    pub timeouts: u64,
    /// Requests that ended with bytes but without an answer.
    pub bad_replies: u64,
    /// What drivers rejected, by reason, in the order of [`Reject`]; see [`LineStats::rejects`].
    pub rejected: [u64; 9],
    /// Replies that came after their request had been given up, and were dropped.
    pub late_replies: u64,
    /// Answers dropped because they ended sooner than the wire can carry them: left over from before.
    pub early_replies: u64,
    /// Requests sent again within a poll.
    pub retries: u64,
    /// Requests to lost devices.
    pub probes: u64,
    /// Due times that passed without a poll, because the line was busy.
    pub skipped_slots: u64,
    /// Polls answered by the line itself: device lost or port gone.
    pub unasked_polls: u64,
    /// Steps held back because a late reply could have been taken for theirs.
    pub embargoed: u64,
    /// Sound requests on the line that nobody here sent.
    pub foreign_requests: u64,
    /// Times that noise never fell silent and the line went on regardless.
    pub babble: u64,
    /// Changes of the port's characters between devices that differ in them.
    pub switches: u64,
    /// Commands turned away because the queue was full.
    pub commands_turned_away: u64,
    /// Times that a device was polled ahead of its time because it sent word unasked.
    pub words_heeded: u64,
    /// Samples not reported because nobody took the outputs.
    pub outputs_dropped: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received, local echo included.
    pub bytes_received: u64,
    /// Received bytes that belonged to no reply.
    pub bytes_discarded: u64,
    /// Time that requests, waiting, replies, the silences after them and changes of characters took. Bus load is its growth over time.
    pub busy: Duration,
    /// Of `busy`, what lost devices took.
    pub busy_dead: Duration,
}

impl LineStats {
    /// The counters of [`LineStats::rejected`] with their reasons.
    pub fn rejects(&self) -> impl Iterator<Item = (Reject, u64)> {
        REJECTS.into_iter().zip(self.rejected)
    }

    pub(super) fn note_reject(&mut self, why: Reject) {
        self.rejected[reject_index(why)] += 1;
    }
}

const REJECTS: [Reject; 9] = [
    Reject::Noise,
    Reject::BadChecksum,
    Reject::AddressMismatch,
    Reject::UnexpectedFunction,
    Reject::BadLength,
    Reject::EchoMismatch,
    Reject::TransactionMismatch,
    Reject::BadProtocol,
    Reject::BadCharacter,
];

fn reject_index(why: Reject) -> usize {
    match why {
        Reject::Noise => 0,
        Reject::BadChecksum => 1,
        Reject::AddressMismatch => 2,
        Reject::UnexpectedFunction => 3,
        Reject::BadLength => 4,
        Reject::EchoMismatch => 5,
        Reject::TransactionMismatch => 6,
        Reject::BadProtocol => 7,
        Reject::BadCharacter => 8,
    }
}

/// Whether a device answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceState {
    /// Not known yet.
    #[default]
    Unknown,
    /// It answers.
    Online,
    /// It is lost: polls are not sent, it is probed now and then.
    Offline,
}

/// What the line knows of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceStatus {
    /// Whether it answers.
    pub state: DeviceState,
    /// When it last answered.
    pub last_ok: Option<Mono>,
    /// Time that it is allowed for a reply to begin, as learned so far.
    pub timeout: Duration,
    /// Smoothed time between the end of a request and the beginning of the reply.
    pub turnaround: Option<Duration>,
    /// When it will be probed, if it is lost.
    pub next_probe: Option<Mono>,
    /// Failed polls in a row.
    pub failed_polls: u32,
    /// Requests sent to it.
    pub transactions: u64,
    /// Requests that it answered, exceptions included.
    pub replies: u64,
    /// Exceptions among the replies.
    pub exceptions: u64,
    /// Requests without an answer.
    pub timeouts: u64,
    /// Requests with bytes but without an answer.
    pub bad_replies: u64,
    /// Replies that came too late.
    pub late_replies: u64,
    /// Requests sent again within a poll.
    pub retries: u64,
    /// Times that it was lost.
    pub losses: u64,
}
