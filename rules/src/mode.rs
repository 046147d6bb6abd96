//! Online, degraded, recovering: entered and left once for each outage.
//!
//! | from | to | when |
//! |---|---|---|
//! | online | degraded | the link was down for [`ModeSettings::down`] without a break: a new outage, with a new number |
//! | degraded | recovering | the link was up for [`ModeSettings::up`] without a break |
//! | recovering | online | the link is up, and nothing urgent and nothing billed is owed: the outage is over |
//! | recovering | degraded | the link was down for [`ModeSettings::down`] without a break: the same outage goes on |
//!
//! A restart changes no mode: an outage that was on goes on under its number, and the link counts as down from the
//! first `handle_*` on until it is said to be up. So a box that was without power has had no outage, and one that is
//! restarted has [`ModeSettings::down`] to connect.

use std::time::Duration;

use gatehouse_core::{Lane, Mono, Stamp, Trust};
use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Effects};
use crate::instant::Instant;
use crate::words::Mode;

/// The key of all that is kept.
const KEY: &str = "mode";

/// How long the link has to be down or up before the mode follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeSettings {
    /// Down for so long: degraded. Default 30 s.
    pub down: Duration,
    /// Up for so long: recovering. Default 60 s.
    pub up: Duration,
    /// False when the site has no uplink at all: it is degraded for [`Cause::NoUplink`].
    pub uplink: bool,
}

impl Default for ModeSettings {
    fn default() -> Self {
        ModeSettings { down: Duration::from_secs(30), up: Duration::from_secs(60), uplink: true }
    }
}

/// Why the core cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The link was up once, and is lost.
    LinkDown,
    /// The link has never been up on this box.
    NeverConnected,
    /// The site file names no uplink.
    NoUplink,
}

/// What the core is owed from before the link came up (the backfill; live records in flight do not count), in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Backlog {
    /// Passages, tickets and alarms.
    pub urgent: u64,
    /// Readings that bills are made of.
    pub billing: u64,
    /// All other readings; nobody waits for them.
    pub telemetry: u64,
}

/// One time without the core, from the loss of the link until the core has what matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Counts the outages of this box, from 1.
    pub number: u64,
    /// Why.
    pub cause: Cause,
    /// When the link was lost.
    pub since: Instant,
}

/// What is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    mode: Mode,
    /// When this mode was entered; `None` until the first change.
    entered: Option<Instant>,
    /// The number of the last outage.
    outages: u64,
    /// The one that is on, in degraded and recovering.
    outage: Option<Outage>,
    /// True once the link has been up.
    connected: bool,
}

/// The `mode` event of the audit lane.
#[derive(Serialize)]
struct Change {
    from: Mode,
    to: Mode,
    cause: Cause,
    outage: u64,
    /// When the link was lost, where the clock could tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Seconds in the mode that is left, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    lasted_s: Option<u64>,
    /// Seconds since the link was lost, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    outage_s: Option<u64>,
    /// What the core was owed, where it has been counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    owed: Option<Backlog>,
}

/// The mode of the box.
///
/// Call [`Modes::restore`] with what was kept, then `handle_*` as things happen; after each drain
/// [`Modes::poll_effect`] and come back at [`Modes::poll_timeout`]. It keeps one document under `mode`, and records each
/// change as a `mode` event of the audit lane with `from`, `to`, `cause`, `outage` and, where known, `since` (RFC 3339),
/// `lasted_s`, `outage_s` and `owed`.
#[derive(Debug)]
pub struct Modes {
    settings: ModeSettings,
    kept: Kept,
    link_up: bool,
    /// Since when the link is what it is; `None` before the first handle.
    link_since: Option<Stamp>,
    backlog: Option<Backlog>,
    effects: Effects,
}

impl Modes {
    /// A box that was never run: online, until it shows that it is not.
    pub fn new(settings: ModeSettings) -> Self {
        let kept = Kept { mode: Mode::Online, entered: None, outages: 0, outage: None, connected: false };
        Modes { settings, kept, link_up: false, link_since: None, backlog: None, effects: Effects::default() }
    }

    /// Takes back what was kept; other keys than `mode` are ignored.
    ///
    /// # Errors
    /// When the value is not what this machine keeps; the outages are then counted from 1 again.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        if key == KEY {
            let kept: Kept = serde_json::from_slice(value)?;
            if (kept.mode == Mode::Online) != kept.outage.is_none() {
                return Err(serde::de::Error::custom("an outage belongs to a mode other than online, and to no other"));
            }
            self.kept = kept;
        }
        Ok(())
    }

    /// The link to the core came up or went down; a repetition changes nothing.
    pub fn handle_link(&mut self, now: Stamp, up: bool) {
        self.handle_timeout(now);
        if self.link_up != up {
            self.link_up = up;
            self.link_since = Some(now);
        }
        if up && !self.kept.connected {
            self.kept.connected = true;
            self.effects.keep(KEY, &self.kept);
        }
        self.follow(now);
    }

    /// What the core is owed has been counted.
    pub fn handle_backlog(&mut self, now: Stamp, backlog: Backlog) {
        self.backlog = Some(backlog);
        self.handle_timeout(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.link_since.get_or_insert(now);
        self.follow(now);
    }

    /// When [`Modes::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let Some(since) = self.link_since else { return Some(Mono(0)) };
        self.patience().map(|patience| since.mono + patience)
    }

    /// The next thing to keep or to record.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// The mode now.
    pub fn mode(&self) -> Mode {
        self.kept.mode
    }

    /// The outage that is on: in degraded and recovering.
    pub fn outage(&self) -> Option<&Outage> {
        self.kept.outage.as_ref()
    }

    /// How long the link has to stay what it is until the mode follows; `None` where it agrees with the mode.
    fn patience(&self) -> Option<Duration> {
        match (self.kept.mode, self.link_up) {
            (Mode::Online | Mode::Recovering, false) => Some(self.settings.down),
            (Mode::Degraded, true) => Some(self.settings.up),
            (Mode::Online | Mode::Recovering, true) | (Mode::Degraded, false) => None,
        }
    }

    fn follow(&mut self, now: Stamp) {
        let Some(since) = self.link_since else { return };
        let lasted = now.mono.since(since.mono);
        match (self.kept.mode, self.patience()) {
            (Mode::Online, Some(patience)) if lasted >= patience => {
                self.kept.outages += 1;
                let (number, cause) = (self.kept.outages, self.cause());
                self.enter(now, Mode::Degraded, Outage { number, cause, since: since.into() });
            }
            (Mode::Recovering, Some(patience)) if lasted >= patience => self.enter_again(now, Mode::Degraded),
            (Mode::Degraded, Some(patience)) if lasted >= patience => {
                self.enter_again(now, Mode::Recovering);
                self.finish(now);
            }
            (Mode::Recovering, None) => self.finish(now),
            (Mode::Online | Mode::Degraded | Mode::Recovering, _) => {}
        }
    }

    /// Ends the outage once nothing that matters is owed.
    fn finish(&mut self, now: Stamp) {
        if self.backlog.is_some_and(|owed| owed.urgent == 0 && owed.billing == 0) {
            self.enter_again(now, Mode::Online);
        }
    }

    fn enter_again(&mut self, now: Stamp, to: Mode) {
        if let Some(outage) = self.kept.outage {
            self.enter(now, to, outage);
        }
    }

    fn enter(&mut self, now: Stamp, to: Mode, outage: Outage) {
        let seconds = |instant: Instant| instant.elapsed(&now).map(|elapsed| elapsed.as_secs());
        let change = Change {
            from: self.kept.mode,
            to,
            cause: outage.cause,
            outage: outage.number,
            since: rfc3339(&outage.since.into()),
            lasted_s: self.kept.entered.and_then(seconds),
            outage_s: seconds(outage.since),
            owed: self.backlog,
        };
        self.kept.mode = to;
        self.kept.entered = Some(now.into());
        self.kept.outage = (to != Mode::Online).then_some(outage);
        self.effects.keep(KEY, &self.kept);
        self.effects.event(Lane::Audit, now, "mode", &change);
    }

    fn cause(&self) -> Cause {
        if !self.settings.uplink {
            Cause::NoUplink
        } else if self.kept.connected {
            Cause::LinkDown
        } else {
            Cause::NeverConnected
        }
    }
}

/// RFC 3339 with milliseconds; `None` for a clock that was never set.
fn rfc3339(stamp: &Stamp) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(stamp.wall.0).ok()?;
    (stamp.trust != Trust::Unset).then(|| format!("{time:.3}"))
}

#[cfg(test)]
mod tests;
