//! The access machine: presentations, answers and passages in; verdicts and questions out.

use std::collections::{BTreeMap, VecDeque};

use gatehouse_core::{Lane, Mono, Stamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::claim::{Claim, Reader};
use super::credential::{CredentialId, CredentialKind, LookupKey};
use super::guess::Guesses;
use super::holdings::{Applied, Durable, Holdings, OpenError};
use super::issue::Issuer;
use super::judge::{UNPAID, subject};
use super::policy::{GateAccess, GuessLimits, ZoneSpec};
use super::presence::{Mover, Presence, Whom};
use super::request::{Ask, reason};
use super::roll::{ApplyError, Image};
use super::seal::{Salt, SealKey};
use super::settle::ONCE;
use super::snapshot::{Expected, PublicKey, SnapshotError, Verified};
use super::used::Used;
use super::view::{AccessView, Stats};
use super::visitor::PinSecret;
use super::wiegand::Format;
use crate::effect::{Effect, Effects};
use crate::instant::Instant;
use crate::schedule::Calendar;
use crate::words::{AlarmId, Condition, DecidedBy, Direction, HolderClass, Passed, RequestId, Verdict};

pub(super) const ASK: &str = "access/ask/";
/// The longest time for which a signed code may be valid, in seconds: 31 days.
pub(super) const TOKEN_LIFE_S: u32 = 31 * 24 * 3600;

/// What the access machine is made of. It holds secrets, and so it does not print.
pub struct AccessSpec {
    /// The site's id.
    pub site: String,
    /// The key under which credentials are hashed.
    pub lookup: LookupKey,
    /// The core's public keys.
    pub core_keys: Vec<PublicKey>,
    /// The key for what lies on the disk.
    pub seal: SealKey,
    /// The seed of the box's own key, by which it signs visitor codes; `None`: it makes none.
    pub own_seed: Option<[u8; 32]>,
    /// The secret of visitors' PINs; `None`: there are none.
    pub pins: Option<PinSecret>,
    /// The gates.
    pub gates: Vec<GateAccess>,
    /// The zones.
    pub zones: Vec<ZoneSpec>,
    /// The formats of cards, beside those that are built in.
    pub formats: Vec<Format>,
    /// How guessing is held up.
    pub guesses: GuessLimits,
    /// Holidays and work days.
    pub calendar: Calendar,
    /// The site's time zone.
    pub zone: TimeZone,
}

/// A request on its way to a verdict.
#[derive(Debug, Clone)]
pub(super) struct Matter {
    pub(super) request: RequestId,
    pub(super) gate: String,
    pub(super) via: String,
    pub(super) direction: Direction,
    pub(super) claim: Claim,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) matter: Matter,
    pub(super) deadline: Mono,
}

/// A question in the journal: enough for the verdict, should the box be restarted before the answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptAsk {
    pub(super) gate: String,
    pub(super) via: String,
    pub(super) direction: Direction,
    pub(super) facts: BTreeMap<String, String>,
    pub(super) who: Option<String>,
    pub(super) class: Option<HolderClass>,
    pub(super) since: Instant,
}

/// A presentation that further ones may repeat.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) request: RequestId,
    pub(super) gate: String,
    pub(super) direction: Direction,
    pub(super) main: CredentialId,
    /// The PIN that came with it.
    pub(super) pin: Option<CredentialId>,
    /// It was refused because it opens with its PIN only.
    pub(super) wants_pin: bool,
    pub(super) until: Mono,
}

/// A snapshot that came, as the core is told of it.
#[derive(Debug)]
pub(super) struct Came {
    version: Option<u64>,
    base_version: Option<u64>,
    entries: Option<u32>,
    refused: Option<String>,
}

/// Decides who may pass.
///
/// Calling order: [`Access::restore`] with everything kept, [`Access::open`] with the image; then any `handle_*`. After
/// each, drain [`Access::poll_effect`], [`Access::poll_verdict`], [`Access::poll_ask`] and [`Access::poll_condition`],
/// and come back at [`Access::poll_timeout`]. A verdict belongs into the batch of the effects that came with it: what
/// its gate keeps of it and that a code is used must not be parted by a kill.
///
/// Each request gets exactly one verdict, unless [`Taken::Duplicate`](super::Taken::Duplicate) says that it is an earlier one.
#[derive(Debug)]
pub struct Access {
    pub(super) site: String,
    pub(super) core_keys: Vec<PublicKey>,
    pub(super) seal: SealKey,
    pub(super) issuer: Issuer,
    pub(super) reader: Reader,
    pub(super) gates: BTreeMap<String, GateAccess>,
    pub(super) calendar: Calendar,
    pub(super) zone: TimeZone,
    pub(super) holdings: Holdings,
    /// What came with this version and is not on the disk yet.
    pub(super) untold: Option<(u64, Came)>,
    pub(super) presence: Presence,
    pub(super) used: Used,
    pub(super) guesses: Guesses,
    pub(super) asks: BTreeMap<RequestId, Pending>,
    /// Questions of the run before.
    pub(super) interrupted: BTreeMap<RequestId, KeptAsk>,
    pub(super) recent: VecDeque<Recent>,
    /// Nothing has happened yet in this run.
    pub(super) fresh: bool,
    pub(super) effects: Effects,
    pub(super) verdicts: VecDeque<Verdict>,
    pub(super) questions: VecDeque<Ask>,
    pub(super) conditions: VecDeque<Condition>,
    pub(super) stats: Stats,
}

impl Access {
    /// A machine that knows no credentials yet.
    pub fn new(spec: AccessSpec) -> Access {
        let formats = Format::built_in().into_iter().chain(spec.formats).collect();
        Access {
            issuer: Issuer::new(&spec.site, spec.own_seed, spec.pins),
            site: spec.site,
            core_keys: spec.core_keys,
            seal: spec.seal,
            reader: Reader { key: spec.lookup, formats },
            gates: spec.gates.into_iter().map(|gate| (gate.gate.clone(), gate)).collect(),
            calendar: spec.calendar,
            zone: spec.zone,
            holdings: Holdings::default(),
            untold: None,
            presence: Presence::new(spec.zones),
            used: Used::default(),
            guesses: Guesses::new(spec.guesses),
            asks: BTreeMap::new(),
            interrupted: BTreeMap::new(),
            recent: VecDeque::new(),
            fresh: true,
            effects: Effects::default(),
            verdicts: VecDeque::new(),
            questions: VecDeque::new(),
            conditions: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Takes back what was kept under `access/` and `apb/`; other keys change nothing.
    ///
    /// # Errors
    /// For a value that is damaged; it is as if it had never been kept.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        if let Some(request) = key.strip_prefix(ASK).and_then(|request| request.parse().ok()) {
            self.interrupted.insert(RequestId(request), serde_json::from_slice(value)?);
            return Ok(());
        }
        let _ours = self.holdings.restore(key, value)?
            || self.presence.restore(key, value)?
            || self.used.restore(key, value)?
            || self.guesses.restore(key, value)?
            || self.issuer.restore(key, value)?;
        Ok(())
    }

    /// Takes the credentials from the image's file, `None` where there is none, and the deltas that were restored.
    ///
    /// # Errors
    /// [`OpenError`]; the box decides by its offline policies then, until the core has sent a full snapshot.
    pub fn open(&mut self, image: Option<&Image>) -> Result<(), OpenError> {
        self.holdings.open(image, &self.seal)
    }

    /// By what [`Snapshot::verify`](super::snapshot::Snapshot::verify) is to take snapshots.
    pub fn expected(&self) -> Expected {
        Expected { keys: self.core_keys.clone(), site: self.site.clone(), lookup: self.reader.key.clone() }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.begin(&now);
        self.expire_asks(&now);
        self.guesses.handle_timeout(now.mono, &mut self.effects);
    }

    /// Somebody went through, or did not. Only passages that a sensor saw, or that none can see, move somebody; a code
    /// by which surely nobody went through is good again.
    pub fn handle_passed(&mut self, now: Stamp, passed: &Passed) {
        self.begin(&now);
        let verdict = &passed.verdict;
        let fact = |key: &str| verdict.facts.get(key).map_or("", String::as_str);
        if passed.verified == Some(false) {
            if verdict.allowed {
                self.used.give_back(fact(ONCE), &mut self.effects);
            }
            return;
        }
        if verdict.allowed && !fact(UNPAID).is_empty() {
            for (active, message) in [(true, "a car left unpaid"), (false, "the car is gone")] {
                let id = AlarmId { class: "unpaid_exit".to_owned(), source: verdict.gate.clone() };
                let message = format!("{}: {message}", verdict.gate);
                self.conditions.push_back(Condition { id, active: Some(active), device: None, message });
            }
        }
        // Who passes without a grant counts where a sensor saw it.
        let zone = self.gates.get(&verdict.gate).and_then(|gate| gate.zone.as_deref());
        let Some(zone) = zone.filter(|_| verdict.allowed || passed.verified == Some(true)) else { return };
        let kind =
            if fact("kind") == CredentialKind::Plate.as_str() { CredentialKind::Plate } else { CredentialKind::Card };
        let mover = verdict.who.as_deref().map(|who| Mover {
            subject: subject(&self.reader.key, kind, fact("credential"), who),
            who,
            household: fact("household"),
        });
        self.presence.moved(&passed.at, zone, verdict.direction, mover, &mut self.effects);
    }

    /// A guard forgets where a holder or a household is, after an exit that nobody saw. How many subjects it were.
    pub fn handle_clear_anti_passback(&mut self, now: Stamp, whom: Whom<'_>, by: &str) -> usize {
        #[derive(Serialize)]
        struct Cleared<'a> {
            who: Option<&'a str>,
            household: Option<&'a str>,
            cleared: usize,
            by: &'a str,
        }
        self.begin(&now);
        let cleared = self.presence.clear(whom, &mut self.effects);
        let (who, household) = match whom {
            Whom::Holder(who) => (Some(who), None),
            Whom::Household(household) => (None, Some(household)),
        };
        self.effects.event(Lane::Audit, now, "anti_passback_cleared", &Cleared { who, household, cleared, by });
        cleared
    }

    /// A guard has counted a zone. False where there is no such zone.
    pub fn handle_count(&mut self, now: Stamp, zone: &str, count: u32, by: &str) -> bool {
        #[derive(Serialize)]
        struct Counted<'a> {
            zone: &'a str,
            from: u32,
            to: u32,
            by: &'a str,
        }
        self.begin(&now);
        let Some(from) = self.presence.correct(zone, count, &mut self.effects) else { return false };
        self.effects.event(Lane::Audit, now, "occupancy_corrected", &Counted { zone, from, to: count, by });
        true
    }

    /// Another calendar holds from now on.
    pub fn handle_calendar(&mut self, now: Stamp, calendar: Calendar) {
        self.begin(&now);
        self.calendar = calendar;
    }

    /// A snapshot or delta came, with 16 bytes of randomness. It holds for the next decision. The core is told once it is
    /// on the disk: of several that wait for one image, of the newest.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing has changed then, but for the event that tells the core.
    pub fn handle_snapshot(&mut self, now: Stamp, verified: Verified, salt: Salt) -> Result<Applied, ApplyError> {
        self.begin(&now);
        let header = verified.header();
        let (version, base, entries) = (header.version, header.base_version, header.count);
        let applied = self.holdings.apply(verified, &self.seal, salt, &mut self.effects);
        let refused = applied.as_ref().err().map(ToString::to_string);
        let came = Came { version: Some(version), base_version: base, entries: Some(entries), refused };
        match applied {
            Ok(Applied { durable: Durable::WithImage, .. }) => self.untold = Some((version, came)),
            Ok(Applied { durable: Durable::WithEffects, .. }) | Err(_) => self.tell_credentials(&now, &came),
        }
        applied
    }

    /// A snapshot came that is none, or not for this box: the core is told.
    pub fn handle_bad_snapshot(&mut self, now: Stamp, error: &SnapshotError) {
        self.begin(&now);
        let refused = Some(error.to_string());
        self.tell_credentials(&now, &Came { version: None, base_version: None, entries: None, refused });
    }

    fn tell_credentials(&mut self, now: &Stamp, came: &Came) {
        #[derive(Serialize)]
        struct Told<'a> {
            version: Option<u64>,
            base_version: Option<u64>,
            entries: Option<u32>,
            refused: Option<&'a str>,
            in_force: Option<u64>,
        }
        let Came { version, base_version, entries, ref refused } = *came;
        let in_force = self.holdings.stored();
        let told = Told { version, base_version, entries, refused: refused.as_deref(), in_force };
        self.effects.event(Lane::Audit, *now, "credentials", &told);
    }

    /// True when the shell should take [`Access::image`], write it, and say so.
    pub fn wants_image(&self) -> bool {
        self.holdings.wants_image()
    }

    /// The credentials in force, for the file; `None` without any.
    pub fn image(&mut self) -> Option<Image> {
        self.holdings.image()
    }

    /// An image of `version` is on the disk, synced and in its place.
    pub fn handle_image_written(&mut self, now: Stamp, version: u64) {
        self.begin(&now);
        self.holdings.image_written(version, &mut self.effects);
        if let Some((_, came)) = self.untold.take_if(|(untold, _)| *untold <= version) {
            self.tell_credentials(&now, &came);
        }
    }

    /// The next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// The next verdict.
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// The next question to the core.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.questions.pop_front()
    }

    /// The next condition that began or ended.
    pub fn poll_condition(&mut self) -> Option<Condition> {
        if let Some(condition) = self.conditions.pop_front() {
            return Some(condition);
        }
        let turn = self.guesses.poll_turn()?;
        let place = turn.reader.as_deref().unwrap_or("all readers");
        let message = match turn.closed_for {
            Some(closed_for) => format!("codes are being guessed at {place}: closed for {} s", closed_for.as_secs()),
            None => format!("{place}: open for codes again"),
        };
        let source = turn.reader.filter(|reader| !reader.is_empty()).unwrap_or_else(|| "site".to_owned());
        let id = AlarmId { class: "guard_guessing".to_owned(), source };
        Some(Condition { id, active: Some(turn.closed_for.is_some()), device: None, message })
    }

    /// When to come back.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if self.fresh && (!self.interrupted.is_empty() || self.guesses.has_restored()) {
            return Some(Mono(0));
        }
        self.asks.values().map(|pending| pending.deadline).chain(self.guesses.poll_timeout()).min()
    }

    /// What people see of it.
    pub fn view(&self) -> AccessView {
        let roll = self.holdings.roll();
        let zones = self.presence.zones().map(|(name, inside, capacity)| (name.to_owned(), inside, capacity));
        AccessView {
            version: roll.map(|roll| roll.terms.version),
            created: roll.map(|roll| roll.terms.created),
            expires_at: roll.map(|roll| roll.terms.expires_at),
            credentials: roll.map_or(0, |roll| roll.len()),
            wants_image: self.holdings.wants_image(),
            zones: zones.collect(),
            closed_readers: self.guesses.closed().collect(),
            asked: self.asks.len(),
            stats: Stats { forgotten_holders: self.presence.forgotten, ..self.stats },
        }
    }

    /// What the run before left: its questions end, its closures go on.
    pub(super) fn begin(&mut self, now: &Stamp) {
        if !std::mem::take(&mut self.fresh) {
            return;
        }
        self.guesses.begin(now);
        for (request, kept) in std::mem::take(&mut self.interrupted) {
            self.forget_ask(request);
            self.verdicts.push_back(Verdict {
                request,
                gate: kept.gate,
                via: kept.via,
                direction: kept.direction,
                allowed: false,
                reason: reason::INTERRUPTED.to_owned(),
                decided_by: DecidedBy::Box,
                who: kept.who,
                class: kept.class,
                facts: kept.facts,
            });
        }
    }
}
