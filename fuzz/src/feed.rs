//! Bytes to a driver, as the line hands them over.

use gatehouse_core::{Decoded, Driver, StepId};

use crate::script::Script;

/// How the bytes of an input become what a driver hears.
#[derive(Debug, Clone, Copy)]
pub struct Mode(u8);

impl Mode {
    /// Reads it.
    pub fn read(script: &mut Script<'_>) -> Self {
        Mode(script.byte())
    }

    /// The bytes are put into a sound frame that answers the request, so that what lies behind a checksum is reached.
    pub fn answers(self) -> bool {
        self.0 & 1 != 0
    }

    /// The bytes come one by one.
    pub fn trickles(self) -> bool {
        self.0 & 2 != 0
    }

    /// The other six bits, for what a protocol has to choose.
    pub fn rest(self) -> u8 {
        self.0 >> 2
    }
}

/// A driver with the steps that it can be asked for.
pub struct Subject {
    /// The driver.
    pub driver: Box<dyn Driver>,
    /// Steps of its plan and of actions.
    pub steps: Vec<StepId>,
}

impl Subject {
    /// Takes a driver with the steps of all its groups; `more` begins actions and gives their steps.
    pub fn new<D: Driver + 'static>(mut driver: D, more: impl FnOnce(&mut D, &mut Vec<StepId>)) -> Self {
        let mut steps = Vec::new();
        for group in 0..driver.groups() {
            driver.group_steps(group, &mut steps);
        }
        more(&mut driver, &mut steps);
        Subject { driver: Box::new(driver), steps }
    }

    /// The request of a step.
    pub fn request(&self, step: StepId) -> Vec<u8> {
        let mut request = Vec::new();
        self.driver.encode(step, TAG, &mut request);
        request
    }

    /// Hands over all bytes until the driver takes a reply; each verdict must be one that the line can go on with.
    ///
    /// # Panics
    /// When the driver does not keep the promises of [`Driver::decode`].
    pub fn hear(&self, step: StepId, mode: Mode, bytes: &[u8]) -> Option<Decoded> {
        let (mut from, mut to) = (0, if mode.trickles() { bytes.len().min(1) } else { bytes.len() });
        while from < to {
            let mut readings = Vec::new();
            let verdict = self.driver.decode(step, TAG, &bytes[from..to], &mut readings);
            match verdict {
                Decoded::Incomplete { missing } => {
                    assert!(missing > 0, "it waits for nothing");
                    if to == bytes.len() {
                        return None;
                    }
                    to += 1;
                }
                Decoded::Skip { bytes: taken, .. } => {
                    assert!((1..=to - from).contains(&taken), "it skips {taken} of {}", to - from);
                    from += taken;
                    if from == to && to < bytes.len() {
                        to += 1;
                    }
                }
                Decoded::Reply { bytes: taken }
                | Decoded::Nothing { bytes: taken }
                | Decoded::Exception { bytes: taken, .. } => {
                    assert!((1..=to - from).contains(&taken), "it takes {taken} of {}", to - from);
                    let is_exception = matches!(verdict, Decoded::Exception { .. });
                    assert!(!is_exception || readings.is_empty(), "an exception has no readings");
                    return Some(verdict);
                }
            }
        }
        None
    }
}

/// The transaction of every request.
pub const TAG: u16 = 0x1234;
