//! What people see of access.

use gatehouse_core::Mono;

/// Happenings since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Presentations that were the same passage as an earlier one.
    pub duplicates: u64,
    /// Questions that were not answered in time.
    pub unanswered: u64,
    /// Questions that were not asked, because too many were waiting or there was no link.
    pub unasked: u64,
    /// Answers that came too late, or to no question.
    pub late_answers: u64,
    /// Answers from a source that nobody vouches for.
    pub not_authentic: u64,
    /// Holders whose place was forgotten to make room.
    pub forgotten_holders: u64,
}

/// The state of access.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessView {
    /// The version of the credentials in force; `None`: there are none.
    pub version: Option<u64>,
    /// When they were made, in seconds since 1970.
    pub created: Option<u32>,
    /// From when on they are too old.
    pub expires_at: Option<u32>,
    /// How many there are, revoked ones included.
    pub credentials: usize,
    /// True while a new image is to be written.
    pub wants_image: bool,
    /// Zones with the count inside and the capacity.
    pub zones: Vec<(String, u32, Option<u32>)>,
    /// Readers that take no codes for a while, and until when; `None`: all of them.
    pub closed_readers: Vec<(Option<String>, Mono)>,
    /// Questions that wait for an answer.
    pub asked: usize,
    /// Happenings since the start.
    pub stats: Stats,
}
