//! When a controller recorded something: by its own clock, with how far that is believed.

use std::time::Duration;

use gatehouse_core::{LocalTime, Stamp, Trust};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::schedule::zone;

/// Clocks that differ by no more agree.
const AGREES_S: i64 = 60;
/// A comparison that is older than this says nothing any more.
const COMPARED_FOR: Duration = Duration::from_secs(24 * 3600);

/// How far a controller's time is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockTrust {
    /// Its clock agreed with the box's, when both were compared last, to a minute.
    Agrees,
    /// It did not: `offset_s` says by how much.
    Off,
    /// Nobody has compared them: the box did not know the time, or the controller was not asked since the box began.
    Unknown,
    /// It told no time that the calendar has.
    NoTime,
}

/// The time of an event, by its controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// As the controller's clock showed it: `2026-11-26T09:00:00`; `None` where that was no time.
    pub local: Option<String>,
    /// The same in microseconds since 1970, the clock taken for one of the site's zone; not put right.
    pub wall: Option<i64>,
    /// How far it is believed.
    pub trust: ClockTrust,
    /// Seconds by which the controller's clock was ahead of the box's when both were compared last.
    pub offset_s: Option<i64>,
}

/// What is known of one controller's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Compared {
    last: Option<(Stamp, i64)>,
}

fn civil(time: LocalTime) -> Option<DateTime> {
    let year = i16::try_from(time.year).ok()?;
    let small = |part: u8| i8::try_from(part).ok();
    DateTime::new(
        year,
        small(time.month)?,
        small(time.day)?,
        small(time.hour)?,
        small(time.minute)?,
        small(time.second)?,
        0,
    )
    .ok()
}

/// A time of the site's zone, in microseconds since 1970.
pub(super) fn wall(time: LocalTime, site: &TimeZone) -> Option<i64> {
    zone::wall(civil(time)?, site).map(|wall| wall.0)
}

impl Compared {
    /// The controller's clock was read.
    pub(super) fn compare(&mut self, now: &Stamp, shown: &str, site: &TimeZone) {
        let shown = shown.parse::<DateTime>().ok().and_then(|civil| zone::wall(civil, site));
        self.last = match (now.trust, shown) {
            (Trust::Unset, _) | (_, None) => None,
            (Trust::FreeRunning | Trust::Synchronised, Some(shown)) => {
                Some((*now, (shown.0 - now.wall.0).div_euclid(1_000_000)))
            }
        };
    }

    /// The time of an event.
    pub(super) fn recorded(&self, now: &Stamp, at: Option<LocalTime>, site: &TimeZone) -> Recorded {
        let last = self.last.filter(|(then, _)| now.mono.since(then.mono) <= COMPARED_FOR);
        let offset_s = last.map(|(_, offset)| offset);
        let trust = match (at, offset_s) {
            (None, _) => ClockTrust::NoTime,
            (Some(_), None) => ClockTrust::Unknown,
            (Some(_), Some(offset)) if offset.abs() <= AGREES_S => ClockTrust::Agrees,
            (Some(_), Some(_)) => ClockTrust::Off,
        };
        let local = at.and_then(civil).map(|civil| civil.to_string());
        Recorded { local, wall: at.and_then(|at| wall(at, site)), trust, offset_s }
    }
}
