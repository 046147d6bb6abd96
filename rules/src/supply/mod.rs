//! Cutting a customer's supply, and giving it back.
//!
//! A cut ([`Supplies::judge_cut`]) is a command like others that has to pass more: a signature of the core, a reason, no
//! protection, a rate, a link that stands. A reconnection is a wish ([`Supplies::handle_wish`]): it is kept, outlives
//! restarts and outages, and is fulfilled once or ends with its reason. What the devices are told is the engine's to send.

mod wish;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse_core::driver::Argument;
use gatehouse_core::{DeviceIx, LocalTime, Mono, Name, Stamp, Trust, Wall};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::command::{Request, Source};
use crate::effect::{ActId, ActResult, Effect, Effects};
use crate::schedule::local;
use crate::words::{AlarmId, Condition, Mode};

pub use wish::{How, Wish};

/// The class of alarms that tell that nobody knows whether a supply is on or off.
pub const UNCONFIRMED: &str = "supply_unconfirmed";
/// Where the times of cuts are kept.
const CUTS: &str = "supply-cuts";
/// Where wishes are kept, by device.
const WISHES: &str = "supply/";
/// How much later than the box's clock a meter's may be, for it to take a command in time: meters are kept within five
/// minutes (DL/T 645-2007, 7.3).
const CLOCK_SLACK: Duration = Duration::from_secs(300);
/// A cut in more than this many is not remembered one by one.
const MOST_CUTS: usize = 1024;

/// How the supply behind a device is cut and given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupplySpec {
    /// The command that cuts it.
    pub cut: Name,
    /// The command that lets the resident close the relay by hand; `None`: the device has no such thing.
    pub permit: Option<Name>,
    /// The command that gives it back at once.
    pub connect: Name,
    /// True when the device wants to be told until when it may obey.
    pub deadline: bool,
}

/// What the site file says of supplies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupplySetup {
    /// The devices that can cut a supply.
    pub devices: BTreeMap<DeviceIx, SupplySpec>,
    /// Those of them that nobody may cut off.
    pub protected: BTreeSet<DeviceIx>,
    /// So many cuts at most,
    pub most_cuts: u16,
    /// in so much time.
    pub per: Duration,
}

impl Default for SupplySetup {
    fn default() -> Self {
        SupplySetup {
            devices: BTreeMap::new(),
            protected: BTreeSet::new(),
            most_cuts: 10,
            per: Duration::from_secs(3600),
        }
    }
}

/// Why a cut or a wish is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SupplyRefusal {
    /// Nobody has signed it.
    #[error("a supply is cut by a command that the core has signed, wherever it comes from")]
    Unsigned,
    /// It says not why.
    #[error("reason_code is missing: why the supply is cut")]
    NoReason,
    /// The site file protects the device.
    #[error("the site file protects this supply: it is never cut from here")]
    Protected,
    /// The site is cut off, or has just been.
    #[error("the link to the core does not stand, or not for long enough: supplies are not cut meanwhile")]
    Degraded,
    /// Too many were cut lately.
    #[error("as many supplies as the site file allows were cut lately")]
    TooMany,
    /// The device wants a time, and the box has none.
    #[error("the clock of the box is not set, and the meter wants to be told until when it may obey")]
    ClockUnset,
    /// The device has no such way to give the supply back.
    #[error("this device cannot leave it to the resident to switch on: ask with how = \"connect\"")]
    NoPermit,
    /// The word says not how to give it back.
    #[error("how takes permit (the resident switches on by hand) or connect (at once)")]
    How,
}

impl SupplyRefusal {
    /// The stable name in events and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            SupplyRefusal::Unsigned => "signature_required",
            SupplyRefusal::NoReason => "no_reason",
            SupplyRefusal::Protected => "protected",
            SupplyRefusal::Degraded => "degraded",
            SupplyRefusal::TooMany => "too_many_cuts",
            SupplyRefusal::ClockUnset => "clock_unset",
            SupplyRefusal::NoPermit | SupplyRefusal::How => "bad_args",
        }
    }
}

/// The times of the last cuts, in microseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cuts {
    at: VecDeque<i64>,
}

/// What an act is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Cut(DeviceIx),
    Wish(DeviceIx),
}

impl Doing {
    fn device(self) -> DeviceIx {
        match self {
            Doing::Cut(device) | Doing::Wish(device) => device,
        }
    }
}

/// What the machine has to know of the rest of the box before it fulfils a wish.
pub struct Outlook<'a> {
    /// Whether a device answers.
    pub online: &'a dyn Fn(DeviceIx) -> bool,
    /// Whether this command would be let in today.
    pub authorised: &'a dyn Fn(&Request, Source) -> bool,
}

/// The supplies of the site.
///
/// Call [`Supplies::restore`] with what was kept; after each `handle_*` take all of [`Supplies::poll_effect`] and
/// [`Supplies::poll_condition`], and come back at [`Supplies::poll_timeout`] with [`Supplies::handle_timeout`].
///
/// It keeps `supply-cuts` and `supply/<device>`. It records in the audit lane `supply`, one for each turn of a wish, with
/// `device`, `id`, `issuer`, `reason_code`, `how`, `step` (`wished`, `asked`, or its end: `fulfilled`, `unknown`, `failed`,
/// `expired`, `replaced`, `cut`, `not_authorised`) and `why` where it applies.
#[derive(Debug)]
pub struct Supplies {
    setup: SupplySetup,
    ids: BTreeMap<DeviceIx, Name>,
    zone: TimeZone,
    cuts: Cuts,
    wishes: BTreeMap<DeviceIx, Wish>,
    acts: BTreeMap<ActId, Doing>,
    next_act: u64,
    next: Option<Mono>,
    effects: Effects,
    conditions: VecDeque<Condition>,
}

impl Supplies {
    /// Nothing is cut and nothing wished for. Acts are numbered from `first` on.
    pub fn new(setup: SupplySetup, catalog: &Catalog, zone: TimeZone, first: ActId) -> Self {
        let ids = setup.devices.keys().filter_map(|ix| Some((*ix, catalog.device(*ix)?.id.clone()))).collect();
        Supplies {
            setup,
            ids,
            zone,
            cuts: Cuts::default(),
            wishes: BTreeMap::new(),
            acts: BTreeMap::new(),
            next_act: first.0,
            next: Some(Mono(0)),
            effects: Effects::default(),
            conditions: VecDeque::new(),
        }
    }

    /// Takes back what was kept under a key. False when it cannot be read. A wish for a device that the site file no
    /// longer has is left where it is.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> bool {
        if key == CUTS {
            let cuts = serde_json::from_slice(value);
            return cuts.map(|cuts| self.cuts = cuts).is_ok();
        }
        let Some(id) = key.strip_prefix(WISHES) else { return false };
        let Some(wish) = Wish::from_kept(value) else { return false };
        if let Some(device) = self.ids.iter().find(|(_, name)| ***name == *id).map(|(device, _)| *device) {
            self.wishes.insert(device, wish);
        }
        true
    }

    /// How the supply behind a device is worked; `None`: it has none.
    pub fn spec(&self, device: DeviceIx) -> Option<&SupplySpec> {
        self.setup.devices.get(&device)
    }

    /// The wishes that are not fulfilled yet, by the id of their device.
    pub fn wishes(&self) -> impl Iterator<Item = (&Name, &Wish)> {
        self.wishes.iter().filter_map(|(device, wish)| Some((self.ids.get(device)?, wish)))
    }

    /// Whether a supply may be cut now, by a command whose signature was checked (`signed`). What the device is to be
    /// told with it; [`Supplies::handle_cut`] must follow.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge_cut(
        &self,
        now: &Stamp,
        device: DeviceIx,
        (request, signed): (&Request, bool),
        mode: Mode,
    ) -> Result<Argument, SupplyRefusal> {
        if !signed {
            return Err(SupplyRefusal::Unsigned);
        }
        if request.reason_code.is_none() {
            return Err(SupplyRefusal::NoReason);
        }
        if self.setup.protected.contains(&device) {
            return Err(SupplyRefusal::Protected);
        }
        if mode != Mode::Online {
            return Err(SupplyRefusal::Degraded);
        }
        if now.trust == Trust::Unset {
            return Err(SupplyRefusal::ClockUnset);
        }
        let since = now.wall.0.saturating_sub(micros(self.setup.per));
        // One from the future was before the clock was set back: it counts.
        if self.cuts.at.iter().filter(|at| **at > since).count() >= usize::from(self.setup.most_cuts) {
            return Err(SupplyRefusal::TooMany);
        }
        let until = Wall(request.expires_at.0.min(now.wall.0.saturating_add(micros(CLOCK_SLACK))));
        self.argument(now, device, until).ok_or(SupplyRefusal::ClockUnset)
    }

    /// A cut goes out under this number. A wish to give the supply back waits, and ends unless the cut surely did not
    /// happen.
    pub fn handle_cut(&mut self, now: Stamp, device: DeviceIx, act: ActId) {
        self.acts.insert(act, Doing::Cut(device));
        self.cuts.at.push_back(now.wall.0);
        let since = now.wall.0.saturating_sub(micros(self.setup.per));
        self.cuts.at.retain(|at| *at > since);
        if self.cuts.at.len() > MOST_CUTS {
            self.cuts.at.pop_front();
        }
        self.effects.keep(CUTS, &self.cuts);
        self.mark_cut(device, true);
    }

    /// An act has ended. False when it is none of these.
    pub fn handle_act_result(&mut self, now: Stamp, id: ActId, result: &ActResult) -> bool {
        let Some(doing) = self.acts.remove(&id) else { return false };
        match doing {
            Doing::Cut(device) => {
                self.tell_confirmed(device, result);
                match result {
                    ActResult::Verified | ActResult::Acknowledged | ActResult::Unknown(_) => {
                        self.end_wish(now, device, "cut", None);
                    }
                    ActResult::Failed(_) | ActResult::Refused(_) | ActResult::Expired => self.mark_cut(device, false),
                }
            }
            Doing::Wish(device) => {
                self.tell_confirmed(device, result);
                if self.wishes.get(&device).is_some_and(|wish| wish.asked_by == Some(id)) {
                    self.wish_ended(now, device, result);
                }
            }
        }
        true
    }

    /// Raises the alarm where nobody knows what the relay or the valve does, and ends it once that is seen.
    fn tell_confirmed(&mut self, device: DeviceIx, result: &ActResult) {
        let active = match result {
            ActResult::Verified => false,
            ActResult::Acknowledged | ActResult::Unknown(_) => true,
            ActResult::Failed(_) | ActResult::Refused(_) | ActResult::Expired => return,
        };
        let Some(id) = self.ids.get(&device) else { return };
        self.conditions.push_back(Condition {
            id: AlarmId { class: UNCONFIRMED.to_owned(), source: id.to_string() },
            active: Some(active),
            device: Some(device),
            message: "it was told to switch the supply, and nobody saw whether it did".to_owned(),
        });
    }

    /// What a device is told with a command that it may obey until then.
    fn argument(&self, now: &Stamp, device: DeviceIx, until: Wall) -> Option<Argument> {
        if !self.setup.devices.get(&device)?.deadline {
            return Some(Argument::None);
        }
        if now.trust == Trust::Unset {
            return None;
        }
        let at = local(Wall(until.0.saturating_add(micros(CLOCK_SLACK))), &self.zone);
        let part = |part: i8| u8::try_from(part).ok();
        let time = LocalTime::new(
            u16::try_from(at.year()).ok()?,
            part(at.month())?,
            part(at.day())?,
            part(at.hour())?,
            part(at.minute())?,
            part(at.second())?,
        )?;
        Some(Argument::At(time))
    }

    /// When to call [`Supplies::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.next
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// The next condition that began or ended.
    pub fn poll_condition(&mut self) -> Option<Condition> {
        self.conditions.pop_front()
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
