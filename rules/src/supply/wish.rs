//! The wish to give a supply back: kept until it is fulfilled once, or ends with its reason.

use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Lane, Mono, NoData, Stamp, Trust};
use serde::{Deserialize, Serialize};

use super::{Doing, Outlook, Supplies, SupplyRefusal, WISHES};
use crate::command::{Request, Source, Wire};
use crate::effect::{Act, ActId, ActResult, Effect};

/// How long the act of a wish may wait for its turn on the line.
const ACT_WAIT: Duration = Duration::from_secs(60);
/// First and longest pause before a wish is tried again that did not reach its device.
const PAUSES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(900));
/// A device that refuses so often has its reasons, a wrong password perhaps, and locks itself when it is asked on.
const REFUSALS: u32 = 3;

/// How a supply is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The resident switches on by hand, when nobody touches the wires.
    Permit,
    /// At once, from afar.
    Connect,
}

/// A wish to give a supply back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The command that wished it.
    pub request: Request,
    /// Where it came from.
    pub source: Source,
    /// How.
    pub how: How,
    /// True once the device was told, until it is known what became of that.
    pub asked: bool,
    /// How often the device has refused.
    pub refusals: u32,
    /// True while a cut of the same supply is under way.
    pub(super) cut: bool,
    /// The act that asked, in this run of the box.
    pub(super) asked_by: Option<ActId>,
    tries: u32,
    retry_at: Option<Mono>,
}

/// A wish as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    request: Wire,
    /// The user of the socket; `None`: the core.
    uid: Option<u32>,
    how: How,
    asked: bool,
    #[serde(default)]
    cut: bool,
    refusals: u32,
}

/// One turn of a wish, in the audit lane.
#[derive(Serialize)]
struct Turn<'a> {
    device: &'a str,
    id: &'a str,
    issuer: &'a str,
    reason_code: Option<&'a str>,
    how: How,
    step: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl Wish {
    pub(super) fn from_kept(value: &[u8]) -> Option<Wish> {
        let Kept { request, uid, how, asked, cut, refusals } = serde_json::from_slice(value).ok()?;
        let request = Request::from_wire(request).ok()?;
        let source = uid.map_or(Source::Core, |uid| Source::Socket { uid });
        Some(Wish { request, source, how, asked, refusals, cut, asked_by: None, tries: 0, retry_at: None })
    }

    fn to_kept(&self) -> Kept {
        let uid = match self.source {
            Source::Core => None,
            Source::Socket { uid } => Some(uid),
        };
        let Wish { request, how, asked, cut, refusals, .. } = self;
        Kept { request: request.to_wire(), uid, how: *how, asked: *asked, cut: *cut, refusals: *refusals }
    }

    fn is_over(&self, now: &Stamp) -> bool {
        self.request.expires_at <= now.wall
    }
}

impl Supplies {
    /// Somebody wishes a supply back; `how` as the command says it. It takes the place of an earlier wish.
    ///
    /// # Errors
    /// Why it cannot be wished so.
    pub fn handle_wish(
        &mut self,
        now: Stamp,
        device: DeviceIx,
        (request, source): (&Request, Source),
        how: Option<&str>,
    ) -> Result<(), SupplyRefusal> {
        let can_permit = self.spec(device).is_some_and(|spec| spec.permit.is_some());
        let how = match how {
            None if can_permit => How::Permit,
            None | Some("connect") => How::Connect,
            Some("permit") if can_permit => How::Permit,
            Some("permit") => return Err(SupplyRefusal::NoPermit),
            Some(_) => return Err(SupplyRefusal::How),
        };
        self.end_wish(now, device, "replaced", None);
        let wish = Wish {
            request: request.clone(),
            source,
            how,
            asked: false,
            refusals: 0,
            cut: false,
            asked_by: None,
            tries: 0,
            retry_at: None,
        };
        self.wishes.insert(device, wish);
        self.tell(now, device, "wished", None);
        self.keep(device);
        self.next = Some(now.mono);
        Ok(())
    }

    /// Fulfils what can be fulfilled, and ends what cannot be any more. To be called after everything that may have
    /// changed what the outlook says, and when [`Supplies::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Stamp, outlook: &Outlook<'_>) {
        let devices: Vec<DeviceIx> = self.wishes.keys().copied().collect();
        for device in devices {
            let Some(wish) = self.wishes.get(&device) else { continue };
            // One act at a time, whichever wish or cut it is of: no result is taken for another's.
            if self.acts.values().any(|doing| doing.device() == device) {
                continue;
            }
            if wish.cut {
                // The box was stopped while a cut was under way: it may have been obeyed, and came after the wish.
                self.end_wish(now, device, "cut", Some("restarted"));
            } else if wish.asked {
                // The box was stopped while it was under way: it may have been obeyed.
                self.tell_confirmed(device, &ActResult::Unknown(NoData::BusDown));
                self.end_wish(now, device, "unknown", Some("restarted"));
            } else if now.trust == Trust::Unset {
                // Nobody can tell whether its time is over.
                continue;
            } else if wish.is_over(&now) {
                self.end_wish(now, device, "expired", None);
            } else if wish.retry_at.is_none_or(|at| at <= now.mono) && (outlook.online)(device) {
                if (outlook.authorised)(&wish.request, wish.source) {
                    self.ask(now, device);
                } else {
                    self.end_wish(now, device, "not_authorised", Some("it would be refused today: see [commands]"));
                }
            }
        }
        self.arm(&now);
    }

    fn ask(&mut self, now: Stamp, device: DeviceIx) {
        let (Some(spec), Some(wish)) = (self.setup.devices.get(&device), self.wishes.get(&device)) else { return };
        let command = match wish.how {
            How::Permit => spec.permit.as_ref().unwrap_or(&spec.connect),
            How::Connect => &spec.connect,
        };
        let command = command.clone();
        // Without a clock it waits: the device is told a time.
        let Some(argument) = self.argument(&now, device, now.wall) else { return };
        let act = ActId(self.next_act);
        self.next_act = self.next_act.saturating_add(1);
        if let Some(wish) = self.wishes.get_mut(&device) {
            wish.asked = true;
            wish.asked_by = Some(act);
            wish.tries = wish.tries.saturating_add(1);
        }
        self.acts.insert(act, Doing::Wish(device));
        self.tell(now, device, "asked", None);
        self.keep(device);
        let action = Action::Call { command, channel: None, argument };
        self.effects.push(Effect::Act(Act {
            id: act,
            device,
            action,
            expires: now.mono + ACT_WAIT,
            urgent: false,
            gate: None,
        }));
    }

    pub(super) fn wish_ended(&mut self, now: Stamp, device: DeviceIx, result: &ActResult) {
        match result {
            ActResult::Verified => self.end_wish(now, device, "fulfilled", None),
            ActResult::Acknowledged => self.end_wish(now, device, "unknown", Some("not_seen")),
            ActResult::Unknown(why) => self.end_wish(now, device, "unknown", Some(&why.to_string())),
            ActResult::Refused(why) => self.again(now, device, &why.reason, false),
            ActResult::Expired => self.again(now, device, "no_turn", false),
            ActResult::Failed(why) => {
                let by_device = matches!(why, NoData::Exception(_));
                self.again(now, device, &why.to_string(), by_device);
            }
        }
    }

    /// It surely did not happen: later again, or never.
    fn again(&mut self, now: Stamp, device: DeviceIx, why: &str, by_device: bool) {
        let Some(wish) = self.wishes.get_mut(&device) else { return };
        wish.asked = false;
        wish.refusals += u32::from(by_device);
        if wish.refusals >= REFUSALS {
            return self.end_wish(now, device, "failed", Some(why));
        }
        let pause = PAUSES.0.saturating_mul(1 << wish.tries.saturating_sub(1).min(8)).min(PAUSES.1);
        wish.retry_at = Some(now.mono + pause);
        self.keep(device);
        self.arm(&now);
    }

    /// A cut of the wish's supply is under way, or surely did not happen.
    pub(super) fn mark_cut(&mut self, device: DeviceIx, cut: bool) {
        if let Some(wish) = self.wishes.get_mut(&device) {
            wish.cut = cut;
            self.keep(device);
        }
    }

    pub(super) fn end_wish(&mut self, now: Stamp, device: DeviceIx, step: &str, why: Option<&str>) {
        if self.wishes.contains_key(&device) {
            self.tell(now, device, step, why);
            self.wishes.remove(&device);
            if let Some(id) = self.ids.get(&device) {
                self.effects.forget(format!("{WISHES}{id}"));
            }
        }
    }

    fn keep(&mut self, device: DeviceIx) {
        if let (Some(id), Some(wish)) = (self.ids.get(&device), self.wishes.get(&device)) {
            self.effects.keep(format!("{WISHES}{id}"), &wish.to_kept());
        }
    }

    fn tell(&mut self, now: Stamp, device: DeviceIx, step: &str, why: Option<&str>) {
        let (Some(id), Some(wish)) = (self.ids.get(&device), self.wishes.get(&device)) else { return };
        let turn = Turn {
            device: id,
            id: wish.request.id.as_str(),
            issuer: &wish.request.issuer,
            reason_code: wish.request.reason_code.as_deref(),
            how: wish.how,
            step,
            why,
        };
        self.effects.event(Lane::Audit, now, "supply", &turn);
    }

    /// Comes back for what is to be tried again, and for what runs out.
    fn arm(&mut self, now: &Stamp) {
        let over = |wish: &Wish| {
            let left = u64::try_from(wish.request.expires_at.0.saturating_sub(now.wall.0)).unwrap_or(0);
            (now.trust != Trust::Unset).then(|| now.mono + Duration::from_micros(left))
        };
        let waiting = self.wishes.values().filter(|wish| !wish.asked);
        self.next = waiting.flat_map(|wish| [wish.retry_at, over(wish)]).flatten().filter(|at| *at > now.mono).min();
    }
}
