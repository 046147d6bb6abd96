//! The engine: everything that is decided on the box, in one machine.
//!
//! It owns the other machines and carries what one says to the next. The shell tells it what happened, drains
//! [`Engine::poll_effect`] and [`Engine::poll_output`] after each `handle_*`, and comes back at
//! [`Engine::poll_timeout`]. It never fails and never waits.

mod latest;

use std::collections::VecDeque;

use gatehouse_core::{DeviceIx, Mono, PointReading, Stamp};

pub use latest::Latest;

use crate::catalog::Catalog;
use crate::effect::{ActId, ActResult, Effect};
use crate::mode::{Backlog, ModeSettings, Modes};
use crate::words::Mode;

/// What the site file says of everything that the engine decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Setup {
    /// The site's devices.
    pub catalog: Catalog,
    /// When the box counts as cut off.
    pub mode: ModeSettings,
}

/// Something that the engine tells the shell and that is not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The mode has changed.
    Mode(Mode),
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    catalog: Catalog,
    latest: Latest,
    modes: Modes,
    mode: Mode,
    outputs: VecDeque<Output>,
    /// What was kept and could not be understood.
    unreadable: u64,
}

impl Engine {
    /// An engine that nothing has happened to yet.
    pub fn new(setup: &Setup) -> Self {
        let modes = Modes::new(setup.mode.clone());
        Engine {
            latest: Latest::new(&setup.catalog),
            mode: modes.mode(),
            modes,
            catalog: setup.catalog.clone(),
            outputs: VecDeque::new(),
            unreadable: 0,
        }
    }

    /// The prefixes of all that the engine keeps, for the shell to read at the start.
    pub const KEPT: [&'static str; 1] = ["mode"];

    /// Takes back what was kept under a key; all of it before anything is handled.
    pub fn restore(&mut self, key: &str, value: &[u8]) {
        let taken = match key.split('/').next() {
            Some("mode") => self.modes.restore(key, value).is_ok(),
            _ => true,
        };
        self.unreadable += u64::from(!taken);
        self.mode = self.modes.mode();
    }

    /// Pieces of kept state that could not be understood.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// A poll of a device came to its end.
    pub fn handle_sample(&mut self, _now: Stamp, device: DeviceIx, at: Mono, readings: &[PointReading]) {
        for reading in readings {
            self.latest.take(device, at, reading);
        }
    }

    /// A device answers, or no longer.
    pub fn handle_device_state(&mut self, _now: Stamp, device: DeviceIx, online: bool) {
        self.latest.set_online(device, online);
    }

    /// The link to the core came up or went down.
    pub fn handle_link(&mut self, now: Stamp, up: bool) {
        self.modes.handle_link(now, up);
        self.settle();
    }

    /// What the core is owed from before the link came up.
    pub fn handle_backlog(&mut self, now: Stamp, backlog: Backlog) {
        self.modes.handle_backlog(now, backlog);
        self.settle();
    }

    /// An act came to its end.
    pub fn handle_act_result(&mut self, _now: Stamp, _id: ActId, _result: ActResult) {}

    /// The time that [`Engine::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.modes.handle_timeout(now);
        self.settle();
    }

    /// When to call [`Engine::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.modes.poll_timeout()
    }

    /// What is to be done, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.modes.poll_effect()
    }

    /// What is to be told.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the core can be reached.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The site's devices.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The last readings.
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    fn settle(&mut self) {
        let mode = self.modes.mode();
        if mode != self.mode {
            self.mode = mode;
            self.outputs.push_back(Output::Mode(mode));
        }
    }
}
