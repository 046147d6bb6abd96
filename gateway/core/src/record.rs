//! What is stored and sent: one numbered record for one device sample or one event.

use std::sync::Arc;

use crate::ids::{Name, PointIx};
use crate::lane::Lane;
use crate::reading::PointReading;
use crate::time::Stamp;
use crate::value::Kind;

/// What stored values mean: the device and its points as they were configured when the values were taken.
///
/// Stored beside the values, so that a changed configuration can never put an old value under a new point.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schema {
    /// The device's permanent identity.
    pub device: Name,
    /// Its points; [`PointIx`] counts here.
    pub points: Vec<SchemaPoint>,
}

/// One point of a [`Schema`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaPoint {
    /// The point's name.
    pub name: Name,
    /// What its values are made of.
    pub kind: Kind,
}

impl Schema {
    /// The point at `ix`.
    pub fn point(&self, ix: PointIx) -> Option<&SchemaPoint> {
        self.points.get(usize::from(ix.0))
    }
}

/// Something that happened, for one of the event lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind of event: a name from `docs/uplink.md`, for example `command` or `clock_set`.
    pub kind: &'static str,
    /// The event's fields as one JSON object.
    pub json: Arc<str>,
}

/// What a [`Record`] carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Readings of one device.
    Sample {
        /// What the values mean.
        schema: Arc<Schema>,
        /// The readings, points ascending.
        readings: Vec<PointReading>,
    },
    /// An event: its kind and its fields as one JSON object.
    Event {
        /// What kind of event.
        kind: Arc<str>,
        /// The fields.
        json: Arc<str>,
    },
    /// Numbers `seq..=last` hold nothing more: why, and how many records were really lost (0: never given out).
    Gap {
        /// The last number of the gap; the record's own `seq` is the first.
        last: u64,
        /// How many records that had been stored are gone.
        lost: u64,
        /// Why: `bounded`, `damaged`, `unclean_stop`, `refused`, `thinned`.
        reason: Arc<str>,
    },
}

/// One numbered entry of a lane. Its number is given once, for ever.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The lane.
    pub lane: Lane,
    /// The number within the lane, from 1.
    pub seq: u64,
    /// When it happened.
    pub stamp: Stamp,
    /// What happened.
    pub body: Body,
}

impl Record {
    /// The last number that this record accounts for: its own, or the end of its gap.
    pub fn last_seq(&self) -> u64 {
        match self.body {
            Body::Gap { last, .. } => last,
            Body::Sample { .. } | Body::Event { .. } => self.seq,
        }
    }
}
