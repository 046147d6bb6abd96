//! What is heard before anything is asked.

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::Mono;

use super::heard::talk;
use super::machine::{End, Want};
use super::plan::Plan;
use crate::line::settings::Characters;

/// So many bytes that are no frame say that a line is in use, though not by whom.
const UNQUIET: usize = 16;

/// Listens at each speed in turn.
#[derive(Debug)]
pub(super) struct Listening {
    settings: VecDeque<Characters>,
    time: Duration,
    until: Mono,
    /// Most bytes at one speed that were no frame.
    unknown: usize,
}

impl Listening {
    /// For so long at each speed of the plan; not at all for no time.
    pub(super) fn new(plan: &Plan, time: Duration) -> Self {
        let settings = if time.is_zero() { VecDeque::new() } else { plan.listened().into() };
        Listening { settings, time, until: Mono(0), unknown: 0 }
    }

    /// What it still takes.
    pub(super) fn remaining(&self, now: Mono) -> Duration {
        self.time * u32::try_from(self.settings.len()).unwrap_or(u32::MAX) + now.until(self.until)
    }

    /// The line settings that are listened at next.
    pub(super) fn wanted(&self) -> Option<Characters> {
        self.settings.front().copied()
    }

    /// What is wanted of the shell; `None`: the line is quiet, and enough was listened.
    ///
    /// # Errors
    /// The end of the scan, when somebody talks.
    pub(super) fn poll(
        &mut self,
        heard: &mut Vec<u8>,
        port: Option<Characters>,
        now: Mono,
    ) -> Result<Option<Want>, End> {
        loop {
            if let Some(protocol) = talk(heard) {
                return Err(End::ForeignMaster { protocol, characters: port });
            }
            if now < self.until {
                return Ok(Some(Want::Wait(self.until)));
            }
            self.unknown = self.unknown.max(heard.len());
            match self.wanted() {
                Some(line) if Some(line) != port => return Ok(Some(Want::Switch(line))),
                Some(_) => {
                    self.settings.pop_front();
                    heard.clear();
                    self.until = now + self.time;
                }
                None => {
                    heard.clear();
                    let quiet = self.unknown < UNQUIET;
                    return if quiet { Ok(None) } else { Err(End::Unquiet { bytes: self.unknown }) };
                }
            }
        }
    }
}
