//! What each step asks on the wire.

use gatehouse_core::StepId;

use super::step::{Step, frame_of};
use super::{Dlt645Meter, MeterSettings, action};
use crate::dlt645::frame::{self, Address, function};
use crate::dlt645::load;
use crate::dlt645::point::Edition;

/// Items that a block is reckoned with: the total and four tariffs.
pub(super) const BLOCK_ITEMS: usize = 5;

/// What a step asks, ready for the wire.
pub(super) struct Request<'a> {
    pub(super) address: Address,
    pub(super) function: u8,
    pub(super) di: Option<u32>,
    pub(super) sequence: Option<u8>,
    pub(super) data: &'a [u8],
    pub(super) answered: bool,
    /// Bytes of data in the reply, about.
    pub(super) expected: usize,
}

impl Dlt645Meter {
    /// Whether asking twice does no harm. Further frames of 1997 have no number: a repeated one would be taken for the one
    /// after it.
    pub(super) fn is_repeatable(&self, step: StepId) -> bool {
        let unnumbered = frame_of(step) > 0 && self.settings.edition == Edition::V1997;
        let acts = matches!(self.action(step), Some(Step::Act { .. } | Step::Broadcast { .. } | Step::SetTime { .. }));
        !unnumbered && !acts
    }

    /// What a step asks; `None` for one that there is not.
    pub(super) fn request(&self, step: StepId) -> Option<Request<'_>> {
        let MeterSettings { edition, address, .. } = self.settings;
        let (read, more) = match edition {
            Edition::V1997 => (function::READ_1997, function::READ_MORE_1997),
            Edition::V2007 => (function::READ, function::READ_MORE),
        };
        let plain =
            Request { address, function: read, di: None, sequence: None, data: &[], answered: true, expected: 0 };
        let frame = frame_of(step);
        let numbered = frame > 0 && edition == Edition::V2007;
        let part = Request {
            function: if frame > 0 { more } else { read },
            sequence: numbered.then(|| u8::try_from(frame).unwrap_or(u8::MAX)),
            ..plain
        };
        if let Some(step_read) = self.read_step(step) {
            let data = if step_read.di == load::LATEST && frame == 0 { &load::ONE[..] } else { &[] };
            return Some(Request { di: Some(step_read.di), data, expected: step_read.expected, ..part });
        }
        Some(match self.action(step)? {
            Step::Read(_) => return None,
            Step::Act { function, data } => Request { function: *function, data, ..plain },
            Step::Broadcast { function, data } => {
                Request { address: Address::BROADCAST, function: *function, data, answered: false, ..plain }
            }
            Step::SetTime { data, .. } => {
                let (address, function) = (Address::BROADCAST, function::SET_TIME);
                Request { address, function, data, answered: false, ..plain }
            }
            Step::Object(object) => {
                Request { di: Some(object.di), expected: usize::from(object.format.bytes()), ..plain }
            }
            Step::ReadAddress => Request { function: function::READ_ADDRESS, expected: 6, ..plain },
            Step::Relay => Request { di: Some(action::STATUS_WORD_3), expected: 2, ..plain },
            Step::Clock { di, .. } | Step::OwnClock { di } => Request { di: Some(*di), expected: 4, ..plain },
            Step::FreezeTime { di } => Request { di: Some(*di), expected: 5, ..plain },
            Step::Records { data, count, .. } => {
                let data = if frame == 0 { &data[..] } else { &[] };
                let expected = (load::RECORD_BYTES * usize::from(*count)).min(usize::from(frame::MAX_DATA) - 5);
                Request { di: Some(load::FROM_TIME), data, expected, ..part }
            }
            Step::Frozen { di, points } => {
                let size = points.first().map_or(0, |(_, spec)| usize::from(spec.item_bytes));
                Request { di: Some(*di), expected: size * BLOCK_ITEMS, ..plain }
            }
        })
    }
}
