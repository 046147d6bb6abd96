//! The machine itself.

use std::collections::VecDeque;

use gatehouse_core::{DeviceIx, Driver, Mono, PointReading};

use super::output::{Command, Output, Wake};
use super::settings::{DeviceSettings, LineSettings};
use super::stats::{DeviceStatus, LineStats};
use super::trace::{Trace, TraceFrame};

/// One device of a line.
pub struct LineDevice {
    /// Its place in the site.
    pub ix: DeviceIx,
    /// Its intervals and its own limits.
    pub settings: DeviceSettings,
    /// Its protocol.
    pub driver: Box<dyn Driver>,
}

/// One physical channel: see the module's doc for the calling order.
pub struct Line {
    #[expect(dead_code, reason = "read by the rules")]
    settings: LineSettings,
    devices: Vec<LineDevice>,
    outputs: VecDeque<Output>,
    stats: LineStats,
    trace: Trace,
}

impl Line {
    /// Makes the line at `now`, its port closed. `seed` decides the jitter of probes.
    pub fn new(settings: LineSettings, devices: Vec<LineDevice>, _seed: u64, _now: Mono) -> Line {
        Line { settings, devices, outputs: VecDeque::new(), stats: LineStats::default(), trace: Trace::default() }
    }

    /// The port or connection is there.
    pub fn handle_opened(&mut self, _now: Mono) {}

    /// The port or connection is gone.
    pub fn handle_closed(&mut self, _now: Mono) {}

    /// The last transmit was handed to the kernel in full.
    pub fn handle_sent(&mut self, _now: Mono) {}

    /// Bytes came.
    pub fn handle_bytes(&mut self, _now: Mono, bytes: &[u8]) {
        self.stats.bytes_received += bytes.len() as u64;
    }

    /// The time that [`Line::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, _now: Mono) {}

    /// Queues a command; its end is an [`Output::CommandDone`].
    pub fn handle_command(&mut self, _now: Mono, _command: Command) {}

    /// Appends the bytes to write now, if there are any.
    pub fn poll_transmit(&mut self, _now: Mono, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// The next thing to tell the shell.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Line::handle_timeout`] at the latest, and why.
    pub fn poll_timeout(&self) -> Option<(Mono, Wake)> {
        None
    }

    /// Takes a used sample buffer back.
    pub fn recycle(&mut self, _readings: Vec<PointReading>) {}

    /// The counters.
    pub fn stats(&self) -> &LineStats {
        &self.stats
    }

    /// What is known of a device; `None` if it is not on this line.
    pub fn device_status(&self, ix: DeviceIx) -> Option<DeviceStatus> {
        self.devices.iter().find(|device| device.ix == ix).map(|_| DeviceStatus::default())
    }

    /// The last frames, the oldest first.
    pub fn frames(&self) -> impl Iterator<Item = &TraceFrame> {
        self.trace.frames()
    }
}
