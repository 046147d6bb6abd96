//! One relay output: what it is to be, through pulses, lost lines and restarts of the program.
//!
//! | | [`AtRestart::Off`] | [`AtRestart::Keep`] |
//! |---|---|---|
//! | start | driven off | left as it is |
//! | stop | driven off, but for a pulse that its output ends | left as it is |
//! | crash | as the kernel leaves a line whose owner is gone, until the shell drives it off from outside | the same |
//! | line lost and found again | driven to what it is to be; a pulse that was under way has ended | the same |
//!
//! `Keep` is for what a person's safety hangs on for longer than the program runs: the release of a door in a fire. A
//! pulse on such a relay needs an output that times it itself, since one that a crash cuts short would last for ever.
//!
//! Linux leaves the level of a released line to the chip: most hold it, some turn the pin into an input. So a relay
//! whose rest is safety must rest safely in hardware too, with a pull resistor that holds it off.

use std::time::Duration;

use embedded_hal::digital::StatefulOutputPin;
use gatehouse_core::{Mono, NoData};

/// The longest pulse.
pub const MAX_PULSE: Duration = Duration::from_secs(60);
/// How long after its beginning and its end a pulse of the output's own is looked at: two ticks of the slowest kernel.
const LOOK: Duration = Duration::from_millis(20);

/// An output that may be able to end a pulse by itself, so that the pulse ends whatever happens to the program.
pub trait PulseOutput: StatefulOutputPin {
    /// Whether [`PulseOutput::pulse`] works.
    fn times_pulses(&self) -> bool;

    /// Switches on, and has the output switch off `length` later. Returns at once.
    ///
    /// # Errors
    /// When the output cannot be driven; it may be on then.
    fn pulse(&mut self, length: Duration) -> Result<(), Self::Error>;
}

/// What becomes of a relay when the program starts and stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AtRestart {
    /// It is off from the first moment, and off at the end.
    #[default]
    Off,
    /// It stays as it is.
    Keep,
}

/// How a relay's line is to be opened, so that opening it makes no pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// As an output that drives this from the first moment.
    Drive(bool),
    /// Without a change of what it drives.
    Keep,
}

/// What came of driving a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// It was read back, and is so.
    Verified,
    /// The output took it; read back it is otherwise, or nobody can tell yet (`None`).
    Acknowledged(Option<bool>),
    /// Nothing was changed: the line is not open, or reads as before.
    Failed,
    /// Whether it was done cannot be told.
    Unknown,
}

/// Why a pulse is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PulseRefusal {
    /// Pulses never overlap, and a relay that is on is not cut short by one.
    #[error("it is on already; switch it off first")]
    AlreadyOn,
    /// Neither nothing nor for ever.
    #[error("a pulse lasts 100 ms to 60 s: give 1 to 600 units of 100 ms")]
    Length,
    /// See the module's doc.
    #[error(
        "it keeps its state over a restart, and its output cannot end a pulse by itself: one that a crash cuts short \
         would last for ever"
    )]
    Kept,
}

/// What a relay is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Whatever it is when its line is opened for the first time.
    AsFound,
    On,
    Off,
    /// On until then.
    Pulse(Mono),
    /// On; the output itself ends it then.
    OwnPulse(Mono),
}

/// A relay. Its line is [`Relay::attach`]ed when it is open; an output that fails is given up and to be opened again.
pub struct Relay<R> {
    at_restart: AtRestart,
    line: Option<R>,
    wish: Wish,
    /// What the line drives, as it was read last.
    state: Result<bool, NoData>,
    /// When to look at the line of a pulse that its output times.
    look: Option<Mono>,
}

impl<R: PulseOutput> Relay<R> {
    /// A relay whose line is not open yet.
    pub fn new(at_restart: AtRestart) -> Self {
        let wish = match at_restart {
            AtRestart::Off => Wish::Off,
            AtRestart::Keep => Wish::AsFound,
        };
        Relay { at_restart, line: None, wish, state: Err(NoData::BusDown), look: None }
    }

    /// What the line drives, as it was read last, or why nobody knows.
    pub fn state(&self) -> Result<bool, NoData> {
        self.state
    }

    /// How to open the line; `None` while it is open.
    pub fn opening(&self) -> Option<Opening> {
        if self.line.is_some() {
            return None;
        }
        Some(match self.wish {
            Wish::AsFound => Opening::Keep,
            Wish::On => Opening::Drive(true),
            // Whether a pulse that was under way has ended cannot be told, and it is not begun anew.
            Wish::Off | Wish::Pulse(_) | Wish::OwnPulse(_) => Opening::Drive(false),
        })
    }

    /// The line is open, as [`Relay::opening`] said.
    pub fn attach(&mut self, line: R) {
        self.line = Some(line);
        self.look = None;
        match self.wish {
            Wish::AsFound => {
                if let Some(on) = self.read() {
                    self.wish = if on { Wish::On } else { Wish::Off };
                }
            }
            Wish::On => {
                self.drive(true);
            }
            Wish::Off | Wish::Pulse(_) | Wish::OwnPulse(_) => {
                self.wish = Wish::Off;
                self.drive(false);
            }
        }
    }

    /// Reads what the line drives; a relay that is otherwise than it is to be is driven anew.
    pub fn check(&mut self) {
        let Some(on) = self.read() else { return };
        match self.wish {
            Wish::On if !on => {
                self.drive(true);
            }
            Wish::Off if on => {
                self.drive(false);
            }
            Wish::AsFound | Wish::On | Wish::Off | Wish::Pulse(_) | Wish::OwnPulse(_) => {}
        }
    }

    /// Switches it on or off to stay so. Ends a pulse: off at once, on for good.
    ///
    /// What fails is not done later: the relay is then left as it is found when its line is open again.
    pub fn write(&mut self, on: bool) -> Driven {
        if self.line.is_none() {
            return Driven::Failed;
        }
        self.look = None;
        self.wish = if on { Wish::On } else { Wish::Off };
        let driven = self.drive(on);
        if matches!(driven, Driven::Failed | Driven::Unknown) {
            self.wish = Wish::AsFound;
        }
        driven
    }

    /// Begins a pulse that ends `length` after `now`. It is never begun a second time.
    ///
    /// # Errors
    /// [`PulseRefusal`]; nothing was driven then.
    pub fn pulse(&mut self, now: Mono, length: Duration) -> Result<Driven, PulseRefusal> {
        if length.is_zero() || length > MAX_PULSE {
            return Err(PulseRefusal::Length);
        }
        let own = self.line.as_ref().is_some_and(PulseOutput::times_pulses);
        if self.at_restart == AtRestart::Keep && self.line.is_some() && !own {
            return Err(PulseRefusal::Kept);
        }
        if self.read() == Some(true) {
            return Err(PulseRefusal::AlreadyOn);
        }
        let Some(line) = &mut self.line else { return Ok(Driven::Failed) };
        if !own {
            self.wish = Wish::Pulse(now + length);
            return Ok(self.drive_once());
        }
        self.wish = Wish::OwnPulse(now + length);
        if line.pulse(length).is_ok() {
            self.look = Some(now + LOOK);
            return Ok(Driven::Acknowledged(None));
        }
        // It may be on without an end: that it is off is the better half of what nobody knows.
        self.wish = Wish::Off;
        self.drive(false);
        Ok(Driven::Unknown)
    }

    /// When a pulse ends, or is to be looked at.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.line.as_ref()?;
        match self.wish {
            Wish::AsFound | Wish::On | Wish::Off => None,
            Wish::Pulse(end) => Some(end),
            Wish::OwnPulse(end) => Some(self.look.map_or(end + LOOK, |look| look.min(end + LOOK))),
        }
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.wish {
            Wish::AsFound | Wish::On | Wish::Off => {}
            Wish::Pulse(_) => {
                self.wish = Wish::Off;
                self.drive(false);
            }
            Wish::OwnPulse(end) => {
                self.look = None;
                if now >= end + LOOK {
                    self.wish = Wish::Off;
                    self.check();
                } else {
                    self.read();
                }
            }
        }
    }

    /// The program ends: leaves the relay as its settings say. A pulse that the program times ends now.
    pub fn stop(&mut self) {
        let ends = match self.wish {
            Wish::Pulse(_) => true,
            Wish::AsFound | Wish::On | Wish::Off => self.at_restart == AtRestart::Off,
            Wish::OwnPulse(_) => false,
        };
        if ends && self.line.is_some() {
            self.wish = Wish::Off;
            self.drive(false);
        }
    }

    /// Drives a level that may be driven twice: a second time if the first one failed. A line that fails is given up.
    fn drive(&mut self, on: bool) -> Driven {
        let Some(line) = &mut self.line else { return Driven::Failed };
        let taken = line.set_state(on.into()).is_ok() || line.set_state(on.into()).is_ok();
        self.judge(on, taken)
    }

    /// Begins a pulse: on, once.
    fn drive_once(&mut self) -> Driven {
        let Some(line) = &mut self.line else { return Driven::Failed };
        let taken = line.set_high().is_ok();
        let driven = self.judge(true, taken);
        if driven == Driven::Failed {
            self.wish = Wish::Off;
        }
        driven
    }

    fn judge(&mut self, on: bool, taken: bool) -> Driven {
        match (taken, self.read()) {
            (_, Some(read)) if read == on => Driven::Verified,
            (true, read) => Driven::Acknowledged(read),
            (false, Some(_)) => {
                self.give_up();
                Driven::Failed
            }
            (false, None) => Driven::Unknown,
        }
    }

    fn read(&mut self) -> Option<bool> {
        let read = self.line.as_mut()?.is_set_high().ok();
        match read {
            Some(on) => self.state = Ok(on),
            None => self.give_up(),
        }
        read
    }

    /// The line is to be opened anew.
    fn give_up(&mut self) {
        self.line = None;
        self.state = Err(NoData::BusDown);
    }
}

#[cfg(test)]
mod tests;
