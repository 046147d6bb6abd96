//! The alarms' events, as they travel in the lane of alarms.

use serde::Serialize;

use super::flood::Groups;
use super::kept::Note;
use super::state::AlarmEvent;
use crate::words::{AlarmId, AlarmState, Occurrence, Priority};

/// What made an event `alarm` be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    ConditionOn,
    ConditionOff,
    Acknowledge,
    Reset,
    ReAlarm,
    Shelve,
    Unshelve,
    Suppress,
    Unsuppress,
    RemoveFromService,
    ReturnToService,
    /// The shelving's time was over.
    ShelfEnded,
    /// Sums up what a chattering alarm did.
    Chattering,
    /// The configuration has it no more.
    Removed,
}

impl From<AlarmEvent> for Why {
    fn from(event: AlarmEvent) -> Self {
        match event {
            AlarmEvent::ConditionOn => Why::ConditionOn,
            AlarmEvent::ConditionOff => Why::ConditionOff,
            AlarmEvent::Acknowledge => Why::Acknowledge,
            AlarmEvent::Reset => Why::Reset,
            AlarmEvent::ReAlarm => Why::ReAlarm,
            AlarmEvent::Shelve => Why::Shelve,
            AlarmEvent::Unshelve => Why::Unshelve,
            AlarmEvent::Suppress => Why::Suppress,
            AlarmEvent::Unsuppress => Why::Unsuppress,
            AlarmEvent::RemoveFromService => Why::RemoveFromService,
            AlarmEvent::ReturnToService => Why::ReturnToService,
        }
    }
}

/// What is told of a change beside the change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Say<'a> {
    pub(super) why: Why,
    pub(super) note: Option<&'a Note>,
    pub(super) meant: Option<Occurrence>,
}

impl<'a> Say<'a> {
    /// It happened by itself.
    pub(super) fn because(why: Why) -> Self {
        Say { why, note: None, meant: None }
    }

    /// Somebody did it.
    pub(super) fn by(event: AlarmEvent, note: &'a Note) -> Self {
        Say { why: event.into(), note: Some(note), meant: None }
    }
}

/// Event `alarm`.
#[derive(Debug, Serialize)]
pub(super) struct AlarmDocument<'a> {
    pub(super) alarm: &'a AlarmId,
    pub(super) change: Why,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) occurrence: Option<Occurrence>,
    /// The occurrence that a person meant, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meant: Option<Occurrence>,
    pub(super) from: AlarmState,
    pub(super) to: AlarmState,
    pub(super) active: bool,
    pub(super) priority: Priority,
    pub(super) message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) instruction: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<&'a AlarmId>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) drill: bool,
    /// True while a flood is on and this is not of the highest priority: to be grouped, not announced by itself.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) flood: bool,
    /// Transitions of a chattering alarm that this event stands for.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) collapsed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) who: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<&'a str>,
    /// Seconds from the event's own time to the end of the shelving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until_s: Option<u64>,
    /// The same as a time, where the clock may be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
}

/// Event `chattering`.
#[derive(Debug, Serialize)]
pub(super) struct ChatteringDocument<'a> {
    pub(super) alarm: &'a AlarmId,
    pub(super) on: bool,
    pub(super) priority: Priority,
}

/// Event `flood`.
#[derive(Debug, Serialize)]
pub(super) struct FloodDocument<'a> {
    pub(super) on: bool,
    /// Seconds since it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lasted_s: Option<u64>,
    pub(super) groups: &'a Groups,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
