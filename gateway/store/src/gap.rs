//! Gaps: what a lane says of numbers that hold nothing any more.

use gatehouse_core::{Body, Lane, Record, Stamp};

/// Why numbers hold nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Dropped, because the bound was reached or the disk was full.
    Bounded,
    /// The bytes were damaged.
    Damaged,
    /// Reserved, perhaps used and lost with the power.
    UncleanStop,
    /// The broker refuses the record for good.
    Refused,
    /// Dropped between samples that were kept, because the bound was reached.
    Thinned,
}

impl Reason {
    const ALL: [Reason; 5] = [Reason::Bounded, Reason::Damaged, Reason::UncleanStop, Reason::Refused, Reason::Thinned];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::Bounded => "bounded",
            Reason::Damaged => "damaged",
            Reason::UncleanStop => "unclean_stop",
            Reason::Refused => "refused",
            Reason::Thinned => "thinned",
        }
    }

    /// The code in files: frozen.
    pub(crate) fn code(self) -> u8 {
        match self {
            Reason::Bounded => 1,
            Reason::Damaged => 2,
            Reason::UncleanStop => 3,
            Reason::Refused => 4,
            Reason::Thinned => 5,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// Numbers `first..=last` hold nothing any more; `lost` of them had held records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) lost: u64,
    pub(crate) reason: Reason,
    pub(crate) stamp: Stamp,
}

impl Gap {
    /// The gap as a record, from `from` on where its beginning is acknowledged already.
    pub(crate) fn record(&self, lane: Lane, from: u64) -> Record {
        let body = Body::Gap { last: self.last, lost: self.lost, reason: self.reason.as_str().into() };
        Record { lane, seq: self.first.max(from), stamp: self.stamp, body }
    }
}
