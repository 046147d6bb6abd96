//! The requests that a meter can be asked, and the numbers by which its driver knows them.

use gatehouse_core::{LocalTime, PointIx, StepId};

use super::action::Object;
use crate::dlt645::catalog::Axis;
use crate::dlt645::point::Dlt645Point;

/// One read of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadStep {
    pub(super) di: u32,
    /// Points ascending.
    pub(super) points: Box<[PointIx]>,
    /// The item of the points' block that the data begin with.
    pub(super) first: u8,
    /// What the items differ in that the identifier asks for; `None`: it asks for one.
    pub(super) block: Option<Axis>,
    /// Bytes that the data will have, about.
    pub(super) expected: usize,
}

/// One request of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Read(ReadStep),
    /// Something that changes the meter; never repeated.
    Act {
        function: u8,
        data: Box<[u8]>,
    },
    /// The same to every meter of the line; never answered.
    Broadcast {
        function: u8,
        data: Box<[u8]>,
    },
    /// The time as of its sending to every meter of the line; never answered.
    SetTime {
        /// What the time was when it was asked for.
        asked: LocalTime,
        data: [u8; 6],
    },
    ReadAddress,
    /// Reads something that tells who the meter is.
    Object(&'static Object),
    /// Reads status word 3 after a control command.
    Relay,
    /// Reads date or time of the meter before its clock is set.
    Clock {
        di: u32,
        now: LocalTime,
    },
    /// Reads when the meter froze its registers.
    FreezeTime {
        di: u32,
    },
    /// Reads frozen registers: points as they lie in the freeze record.
    Frozen {
        di: u32,
        points: Box<[(PointIx, Dlt645Point)]>,
    },
    /// Reads date or time of the meter.
    OwnClock {
        di: u32,
    },
    /// Reads load records: points with the items of a record that have them.
    Records {
        /// The count and the time of the first.
        data: [u8; 6],
        /// How many.
        count: u8,
        points: Box<[(PointIx, u8)]>,
    },
}

/// Step ids: the request's place, how many frames of its answer are there, and whether it is of an action.
pub(super) const ACTION: u32 = 1 << 31;
pub(super) const FRAME_SHIFT: u32 = 20;
pub(super) const PLACE: u32 = (1 << FRAME_SHIFT) - 1;

pub(super) fn frame_of(step: StepId) -> u32 {
    (step.0 & !ACTION) >> FRAME_SHIFT
}

pub(super) fn base_of(step: StepId) -> StepId {
    StepId(step.0 & (ACTION | PLACE))
}

pub(super) fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(PLACE).min(PLACE)
}
