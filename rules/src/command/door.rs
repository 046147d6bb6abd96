//! The door: which commands are accepted at all.

use std::time::Duration;

use gatehouse_core::{Stamp, Trust, Wall};

use super::outcome::Refusal;
use super::record::Source;
use super::request::Request;
use super::settings::Settings;

/// Places beyond [`Settings::room`] that only STOP may take.
pub(super) const URGENT_ROOM: usize = 64;

/// What the door has to know beside the command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) retained: bool,
    /// Commands of the core that expire by then are forgotten.
    pub(super) horizon: Wall,
    /// How many ids are held.
    pub(super) held: usize,
    /// How many commands wait for the same target; `None` when none has to.
    pub(super) waiting: Option<usize>,
}

/// A command that may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admission {
    /// Time that it has to begin.
    pub(super) lasts: Duration,
    /// True when a key has signed it.
    pub(super) signed: bool,
}

/// Judges a command whose id is not known.
///
/// Whose word it is comes first, so that a stranger can make the box remember nothing.
pub(super) fn judge(settings: &Settings, request: &Request, seen: Seen, now: &Stamp) -> Result<Admission, Refusal> {
    let signed = settings.signing.check(request, seen.source)?;
    let urgent = request.is_urgent();
    if seen.source == Source::Core && settings.local_only.contains(request.what.action()) {
        return Err(Refusal::LocalOnly);
    }
    let life = between(request.issued_at, request.expires_at);
    if life > settings.longest_for(request.what.action()) {
        return Err(Refusal::TooLong);
    }
    if seen.retained {
        return Err(Refusal::Retained);
    }
    let lasts = if seen.source == Source::Core && now.trust == Trust::Unset {
        // Nobody can tell whether it comes late; a STOP too many is better than one too few.
        if !urgent {
            return Err(Refusal::ClockUnset);
        }
        life
    } else {
        if between(now.wall, request.issued_at) > settings.skew && !urgent {
            return Err(Refusal::Early);
        }
        if request.expires_at <= now.wall {
            return Err(Refusal::Expired);
        }
        if seen.source == Source::Core && request.expires_at <= seen.horizon && !urgent {
            return Err(Refusal::Forgotten);
        }
        // Whatever the box's clock says, it was not issued after it came.
        between(now.wall, request.expires_at).min(life)
    };
    if seen.waiting.is_some_and(|waiting| waiting >= settings.waiting) {
        return Err(Refusal::QueueFull);
    }
    if seen.held >= settings.room + if urgent { URGENT_ROOM } else { 0 } {
        return Err(Refusal::Busy);
    }
    Ok(Admission { lasts, signed })
}

/// Time from one to the other; zero where it is the earlier one.
fn between(from: Wall, to: Wall) -> Duration {
    Duration::from_micros(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}
