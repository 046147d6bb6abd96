//! Devices on one pair whose characters differ: what the port is set to, and when it is worth a change.
//!
//! A change costs a guard time, so the line stays with what it has while any device of these characters is due or soon
//! will be. Who waits for others is asked at the latest after a share of its interval; a command never waits.

use std::time::Duration;

use gatehouse_core::Mono;

use super::device::Device;
use super::flight::Task;
use super::machine::Line;
use super::output::{CloseReason, Output};
use super::poll::Poll;
use super::settings::{Characters, Medium};

/// A poll waits for the port's characters at most this share of its interval, and
const PATIENCE_SHARE: u32 = 4;

/// no longer than this.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// Time for the shell to set the port.
const SWITCH_SLACK: Duration = Duration::from_secs(2);

/// What the port of a line is set to.
#[derive(Debug, Default)]
pub(super) struct Tuning {
    /// The devices differ.
    is_mixed: bool,
    now: Option<Characters>,
    /// What the port is being set to, and until when that must be done.
    change: Option<(Option<Characters>, Mono)>,
    /// Changed since the last request.
    fresh: bool,
}

impl Tuning {
    /// Of a port that was not opened yet. What is behind a socket cannot be set through it.
    pub(super) fn of(medium: Medium, devices: &[Device]) -> Self {
        let is_serial = matches!(medium, Medium::Serial(_));
        let is_mixed = is_serial && devices.iter().any(|device| device.characters.is_some());
        Tuning { is_mixed, ..Tuning::default() }
    }

    /// The port is as it is when it was just opened.
    pub(super) fn reset(&mut self) {
        *self = Tuning { is_mixed: self.is_mixed, ..Tuning::default() };
    }

    /// The characters that the port has; `None`: those that it is opened with.
    pub(super) fn now(&self) -> Option<Characters> {
        self.now
    }

    pub(super) fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    pub(super) fn changes_until(&self) -> Option<Mono> {
        self.change.map(|(_, until)| until)
    }
}

impl Line {
    /// The port has the characters that the last [`Output::Characters`] asked for.
    pub fn handle_switched(&mut self, now: Mono) {
        if let Some((to, _)) = self.tuning.change.take() {
            let before = self.silence();
            self.tuning.now = to;
            self.tuning.fresh = true;
            let guard = self.settings.guard.max(before).max(self.silence());
            self.free_at = self.free_at.max(now + guard);
            self.stats.switches += 1;
            self.stats.busy += guard;
            self.stats.bytes_discarded += self.rx.len() as u64;
            self.rx.clear();
        }
        self.arm(now);
    }

    /// True if the port has the characters of this device.
    pub(super) fn is_tuned(&self, device: usize) -> bool {
        !self.tuning.is_mixed || self.devices[device].characters == self.tuning.now
    }

    /// Has the port set to a device's characters; true if it is.
    pub(super) fn tune(&mut self, device: usize, now: Mono) -> bool {
        if self.is_tuned(device) {
            return true;
        }
        let characters = self.devices[device].characters;
        self.tuning.change = Some((characters, now + SWITCH_SLACK));
        self.output(Output::Characters { characters });
        false
    }

    /// Whether a device of the present characters is due, or will be before a change there and back were done.
    pub(super) fn stays_tuned(&self, now: Mono) -> bool {
        if !self.tuning.is_mixed {
            return false;
        }
        let soon = now.max(self.free_at) + 2 * self.settings.guard;
        let ready = |at: Mono, device: usize| self.is_tuned(device) && at.max(self.devices[device].ready_at) <= soon;
        let polls = self.polls.iter().filter(|poll| !self.devices[poll.device].is_offline());
        polls.map(|poll| (poll.ready_at(), poll.device)).any(|(at, device)| ready(at, device))
            || self.commands.active.iter().any(|active| ready(active.ready_at(), active.device))
    }

    /// From when on a poll may be sent, as far as characters go; `stays`: the port had better keep those that it has.
    pub(super) fn tuned_at(&self, poll: &Poll, stays: bool) -> Mono {
        if !stays || self.is_tuned(poll.device) {
            return Mono(0);
        }
        poll.waits_since() + (poll.cadence.interval() / PATIENCE_SHARE).min(PATIENCE_MAX)
    }

    /// The same for a probe.
    pub(super) fn probe_tuned_at(&self, device: usize, stays: bool) -> Mono {
        if !stays || self.is_tuned(device) {
            return Mono(0);
        }
        self.devices[device].backoff.probe_at + PATIENCE_MAX
    }

    /// A change for the sake of a lost device is paid for as its probe is.
    pub(super) fn charge_switch(&mut self, task: Task, now: Mono) {
        if std::mem::take(&mut self.tuning.fresh) && matches!(task, Task::Probe(_)) {
            self.budget.charge(now, 2 * self.settings.guard);
        }
    }

    /// Gives a port up that was not set in time.
    pub(super) fn expire_switch(&mut self, now: Mono) {
        if self.tuning.changes_until().is_some_and(|until| until <= now) {
            self.tuning.reset();
            self.close_port(now, CloseReason::SettingsStuck);
        }
    }
}
