//! What is kept of a round, and what is told of it.

use serde::{Deserialize, Serialize};

use crate::instant::Instant;

/// What is kept of one round, under `round/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// All dues up to here are accounted for, in microseconds since 1970.
    pub(super) through_us: i64,
    /// True when the last due of which the box can tell was missed.
    pub(super) missed: bool,
    /// True when it was told that the clock went back behind `through_us`.
    pub(super) paused: bool,
    /// The due that is being proved.
    pub(super) open: Option<Progress>,
}

/// How far one due is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The due, in microseconds since 1970.
    pub(super) due_us: i64,
    /// Stops that are proved, in the order of time.
    pub(super) stops: Vec<Proved>,
    /// Cards that came before it was their turn.
    pub(super) out_of_order: u32,
}

/// One stop that is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proved {
    pub(super) stop: String,
    pub(super) at: Instant,
    pub(super) who: Option<String>,
}

/// How a due ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Done,
    Missed,
    Cancelled,
}

/// Why a due was missed or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// The box watched its time end, and stops were missing.
    Unproved,
    /// The clock was put past the end of its time, or was not to be believed then.
    Clock,
    /// The daemon did not run when its time ended.
    BoxOff,
    /// The round, its timetable or the calendar was changed.
    Changed,
}

/// The event `round`: one due, or several in a row that nobody watched.
#[derive(Debug, Serialize)]
pub(super) struct RoundEvent<'a> {
    pub(super) round: &'a str,
    pub(super) due_us: i64,
    pub(super) outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<Run>,
    /// True when the box began to watch only within the time of the due.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) partly_watched: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) out_of_order: u32,
    pub(super) stops: Vec<StopEvent<'a>>,
}

/// Dues that are told together.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Run {
    pub(super) last_due_us: i64,
    pub(super) count: usize,
    /// True when there were more than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) or_more: bool,
}

/// One stop of the round.
#[derive(Debug, Serialize)]
pub(super) struct StopEvent<'a> {
    pub(super) stop: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) who: Option<&'a str>,
}

/// The event `round_paused`: the clock went back behind what is accounted for already.
#[derive(Debug, Serialize)]
pub(super) struct PausedEvent<'a> {
    pub(super) round: &'a str,
    /// The next due is after this.
    pub(super) until_us: i64,
}

/// The event `rounds_unjudged`: rounds are not judged.
#[derive(Debug, Serialize)]
pub(super) struct UnjudgedEvent {
    /// `clock_unset`.
    pub(super) reason: &'static str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
