//! One device as the line keeps it.

use std::time::Duration;

use gatehouse_core::{DeviceIx, Driver, Mono};

use super::dead::Backoff;
use super::settings::{Characters, DeviceSettings, LineSettings};
use super::stats::{DeviceState, DeviceStatus};
use super::turnaround::Turnaround;

/// One device of a line.
pub struct LineDevice {
    /// Its place in the site.
    pub ix: DeviceIx,
    /// Its intervals and its own limits.
    pub settings: DeviceSettings,
    /// Its protocol.
    pub driver: Box<dyn Driver>,
}

/// A device and what was learned of it.
pub(super) struct Device {
    pub(super) ix: DeviceIx,
    pub(super) driver: Box<dyn Driver>,
    pub(super) turnaround: Turnaround,
    pub(super) status: DeviceStatus,
    /// Its own pause after the last request ends then.
    pub(super) ready_at: Mono,
    /// Since when polls fail without one between that did not.
    pub(super) failing_since: Option<Mono>,
    /// Requests in a row that brought nothing.
    pub(super) silent: u32,
    pub(super) backoff: Backoff,
    /// When its word was last heeded.
    pub(super) heeded: Option<Mono>,
    /// How long after the ceiling its replies may still come.
    pub(super) late_window: Duration,
    /// Those with the same number keep its pause as well.
    pub(super) pauses_with: Option<u8>,
    /// Its characters, where they are not the port's first.
    pub(super) characters: Option<Characters>,
    floor: Duration,
    ceiling: Duration,
}

/// Every so many probes of a device whose speed is known get the ceiling: it may have become slow.
const PATIENT_PROBE: u32 = 4;

/// First and longest pause between probes of a device with a conversation.
const SESSION_PROBES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Replies later than this after the ceiling are beyond any embargo.
const LATE_WINDOW_MAX: Duration = Duration::from_secs(5);

impl Device {
    pub(super) fn new(device: LineDevice, line: &LineSettings) -> Self {
        let ceiling = device.settings.timeout_ceiling.unwrap_or(line.timeout_ceiling);
        // Half-duplex: a request sent again while the reply begins would garble it.
        let floor = if device.driver.is_session() { ceiling } else { line.timeout_floor.min(ceiling) };
        Device {
            ix: device.ix,
            driver: device.driver,
            turnaround: Turnaround::default(),
            status: DeviceStatus::default(),
            ready_at: Mono(0),
            failing_since: None,
            silent: 0,
            backoff: Backoff::default(),
            heeded: None,
            late_window: line.late_window,
            floor,
            pauses_with: device.settings.pauses_with,
            characters: device.settings.characters,
            ceiling,
        }
    }

    pub(super) fn is_offline(&self) -> bool {
        self.status.state == DeviceState::Offline
    }

    /// True if repeating a failed request is worth the line's time: the device answered its last poll.
    pub(super) fn is_trusted(&self) -> bool {
        self.status.state == DeviceState::Online && self.status.failed_polls == 0
    }

    /// Time allowed for a reply to begin.
    pub(super) fn timeout(&self) -> Duration {
        self.turnaround.timeout(self.silent, self.floor, self.ceiling)
    }

    /// Time allowed for a probe's reply to begin.
    pub(super) fn probe_timeout(&self) -> Duration {
        if self.backoff.probes() % PATIENT_PROBE == PATIENT_PROBE - 1 {
            return self.ceiling;
        }
        self.turnaround.timeout(0, self.floor, self.ceiling)
    }

    /// First and longest pause between probes: people wait at a device with a conversation.
    pub(super) fn backoff_limits(&self, line: &LineSettings) -> (Duration, Duration) {
        let (min, max) = (line.backoff_min, line.backoff_max);
        if self.driver.is_session() { (min.min(SESSION_PROBES.0), max.min(SESSION_PROBES.1)) } else { (min, max) }
    }

    /// Most time that a reply may take to begin.
    pub(super) fn ceiling(&self) -> Duration {
        self.ceiling
    }

    /// The reply to a given-up request came, `took` after the end of that request where this is known.
    pub(super) fn learn_late(&mut self, took: Option<Duration>) {
        self.status.late_replies += 1;
        let Some(took) = took else { return };
        match took.checked_sub(self.ceiling) {
            None => self.turnaround.learn_late(took),
            // No patience that is allowed would have helped, it would only keep the others waiting.
            Some(beyond) => {
                let window = self.late_window.max(2 * beyond);
                self.late_window = window.min(LATE_WINDOW_MAX.max(self.late_window));
            }
        }
    }
}
