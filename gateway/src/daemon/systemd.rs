//! What systemd is told: readiness, reloads, the stop, and that the main loop still turns.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells systemd; without systemd this does nothing.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::debug!(error = %e, "systemd was not told");
    }
}

/// How often the watchdog wants a sign of life: half of what the unit allows; `None` without a watchdog.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2)
}
