//! What is heard before anything is asked.

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::Mono;

use super::heard::{GLITCH, talk};
use super::machine::{End, Want};
use super::plan::Plan;
use crate::line::settings::Characters;

/// So many bytes that are no frame, in all the time of listening, say that a line is in use, though not by whom.
const UNQUIET: usize = 16;

/// Listens at each speed in turn, and where bytes come that are no frame, at the other parities of that speed as well.
#[derive(Debug)]
pub(super) struct Listening {
    /// `None`: behind a server, which has its own.
    settings: VecDeque<Option<Characters>>,
    time: Duration,
    until: Mono,
    /// Bytes that were no frame, at all speeds together.
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

    /// The line settings that are listened at next; `None`: there are none to be set.
    pub(super) fn wanted(&self) -> Option<Characters> {
        self.settings.front().copied().flatten()
    }

    /// What is wanted of the shell; `None`: the line is quiet, and enough was listened.
    ///
    /// # Errors
    /// The end of the scan, when somebody talks.
    pub(super) fn poll(
        &mut self,
        plan: &Plan,
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
            // What is heard at one speed only, or too seldom, counts as well: somebody talks.
            self.unknown += heard.len();
            if heard.len() > GLITCH {
                plan.other_parities(port).into_iter().for_each(|line| self.settings.push_front(Some(line)));
            }
            heard.clear();
            match self.settings.front().copied() {
                Some(Some(line)) if Some(line) != port => return Ok(Some(Want::Switch(line))),
                Some(_) => {
                    self.settings.pop_front();
                    self.until = now + self.time;
                }
                None => {
                    let quiet = self.unknown < UNQUIET;
                    return if quiet { Ok(None) } else { Err(End::Unquiet { bytes: self.unknown }) };
                }
            }
        }
    }
}
