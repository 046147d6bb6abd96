//! Commands: one requested action, one outcome, at most once.
//!
//! [`Request`] is a command as it comes and says what travels, [`Signing`] who may command from afar, [`Commands`]
//! is the machine that lets each act once at most and ends each once, and [`Outcome`] is how one ends. What a command
//! does is no business of this module: the engine takes each [`Dispatch`] to the gate, device, alarm or ticket that it
//! is aimed at, and tells each [`Step`] back.

mod door;
mod entry;
mod life;
mod outcome;
mod record;
mod refusals;
mod request;
mod restart;
mod settings;
mod signature;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gatehouse_core::{Lane, Mono, Stamp, Trust, Wall};

pub use outcome::{Outcome, Refusal, Step};
pub use record::Source;
pub(crate) use request::Wire;
pub use request::{CommandId, Fault, MAX_BYTES, Malformed, Request, What};
pub use settings::{Settings, WISH};
pub use signature::Signing;
pub use target::{InvalidTarget, Target, TargetClass};

use crate::effect::{Effect, Effects};
use door::{Admission, Seen};
use entry::{Entry, Job, Phase, Queue, Reached};
use outcome::clip;
use record::{HORIZON, Horizon, HorizonEvent, StepEvent, Untold};
use refusals::Refusals;

/// A command that is to be done now, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The command.
    pub request: Request,
    /// Where it came from.
    pub source: Source,
    /// Not begun by then, it is not done at all.
    pub expires: Mono,
    /// True for a STOP: it does not wait for the journal.
    pub urgent: bool,
}

/// What becomes of a command that has just come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reception {
    /// It is accepted, or was before: its outcome comes by [`Commands::poll_answer`].
    Pending,
    /// It is over: refused, or a repetition of one that ended so.
    Ended(Outcome),
}

/// The outcome of a command that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The command.
    pub id: CommandId,
    /// Where it came from.
    pub source: Source,
    /// How it ended.
    pub outcome: Outcome,
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State<'a> {
    /// Another command of its target is at work.
    Waiting,
    /// It was given out.
    Begun,
    /// It is over.
    Ended(&'a Outcome),
}

/// What has been counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Commands that were accepted.
    pub accepted: u64,
    /// Commands that were refused as they came, malformed ones included.
    pub refused: u64,
    /// Commands that came again.
    pub repeated: u64,
    /// Steps told of commands that are not at work.
    pub stray_steps: u64,
}

/// The commands of the box.
///
/// Call [`Commands::restore`] with what was kept, then `handle_*` as things happen. After each, take all of
/// [`Commands::poll_effect`], [`Commands::poll_dispatch`] and [`Commands::poll_answer`], and come back at
/// [`Commands::poll_timeout`]. The effects of one call are written together; what a dispatch does to the world and what
/// anybody is told wait for them, except for an urgent dispatch.
///
/// - **At most once.** An id is kept, with how far its command has come, until its command could not act any more by any
///   clock: its time to expiry, [`Settings::patience`] and [`Settings::margin`], in time that has surely passed. Should
///   the wall clock be set back behind that, commands of the core that expire no later than a forgotten one are refused
///   as [`Refusal::Forgotten`]; clients of the socket do not hold commands back. STOP is let by even then.
/// - **One outcome.** What was refused stays refused, but for [`Refusal::Busy`]. A command that comes again is told again,
///   with `repeat`; one that comes again after its id was forgotten is refused, which does not change how it ended.
/// - **In order.** Commands of one target begin one after another, as they came. A STOP of a gate waits for nobody, and
///   ends those that wait as refused with the reason `superseded`.
/// - **Never late.** What has not begun by its expiry, by the monotonic clock or by the wall clock, does not begin.
/// - **Restart.** What had not begun fails as `restarted`, what had begun ends as unknown. Nothing is given out again.
///
/// It keeps `command/<id>` and `command-horizon`. The same documents, kept elsewhere as well and restored, protect
/// against the loss of the journal. It records in the audit lane: `command`, one for each step, with `id`, `step`
/// (`accepted`, `sent`, or the outcome's name), `last`, `target`, `action`, `issuer`, `source` (`core` or `socket:<uid>`)
/// and where they apply `point`, `value`, `args`, `signed`, `reason_code`, `reason`, `detail`, `read_back`, `repeat`
/// and `rule_version`; `command_refusals` with `source` (`core` or `socket`) and `count`, what came beyond 60 refusals
/// and repetitions in a minute; `command_horizon` with `issuer` and `source`.
#[derive(Debug)]
pub struct Commands {
    settings: Settings,
    rule_version: Box<str>,
    entries: BTreeMap<CommandId, Entry>,
    queues: BTreeMap<Target, Queue>,
    timers: BTreeSet<(Mono, CommandId)>,
    horizon: Wall,
    /// True until the first `handle_*` has ended what a restart had interrupted.
    interrupted: bool,
    /// Of the core, of the socket.
    refusals: [Refusals; 2],
    effects: Effects,
    dispatches: VecDeque<Dispatch>,
    answers: VecDeque<Answer>,
    counts: Counts,
}

impl Commands {
    /// A box that knows of no command.
    pub fn new(settings: Settings) -> Self {
        Commands {
            settings,
            rule_version: "".into(),
            entries: BTreeMap::new(),
            queues: BTreeMap::new(),
            timers: BTreeSet::new(),
            horizon: Wall(i64::MIN),
            interrupted: false,
            refusals: Default::default(),
            effects: Effects::default(),
            dispatches: VecDeque::new(),
            answers: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The rules that decide from now on, by the hash of their text; events tell it.
    pub fn handle_rule_version(&mut self, version: impl Into<Box<str>>) {
        self.rule_version = clip(version.into());
    }

    /// A command has come. `retained` is the broker's mark of a message from an unknown time.
    pub fn handle_request(&mut self, now: Stamp, source: Source, retained: bool, request: Request) -> Reception {
        self.handle_timeout(now);
        let fingerprint = self.settings.signing.fingerprint(&request);
        if let Some(entry) = self.entries.get(&request.id) {
            if entry.fingerprint.is_empty() || entry.fingerprint == fingerprint {
                return self.repeat(now, source, &request.id);
            }
            return self.refuse(now, source, &request, fingerprint, Refusal::IdReused);
        }
        let seen = Seen {
            source,
            retained,
            horizon: self.horizon,
            held: self.entries.len(),
            waiting: self.queues.get(&request.target).filter(|_| !request.is_urgent()).map(|queue| queue.waiting.len()),
        };
        match door::judge(&self.settings, &request, seen, &now) {
            Ok(admission) => self.accept(now, source, request, fingerprint, admission),
            Err(refusal) => self.refuse(now, source, &request, fingerprint, refusal),
        }
    }

    /// A message came that is no command; it is recorded as refused with the reason `malformed`.
    pub fn handle_malformed(&mut self, now: Stamp, source: Source, malformed: &Malformed) -> Outcome {
        self.handle_timeout(now);
        self.counts.refused += 1;
        let detail = malformed.to_string().into();
        let outcome = Outcome::Refused { reason: "malformed".into(), detail: Some(detail) }.clipped();
        let id = malformed.id.as_ref().map(CommandId::as_str);
        if self.refusals_of(source).admit(now.mono) {
            self.record(now, StepEvent { id, source: source.to_string(), ..StepEvent::default() }.ended(&outcome));
        }
        outcome
    }

    /// A command that was given out has come further. False, and counted, when it is not at work.
    pub fn handle_step(&mut self, now: Stamp, id: &CommandId, step: Step) -> bool {
        self.handle_timeout(now);
        let entry = self.entries.get_mut(id).map(|entry| (entry.source, entry.job_mut()));
        let Some((source, Some(job))) = entry.filter(|(_, job)| job.as_ref().is_some_and(|job| job.is_begun())) else {
            self.counts.stray_steps += 1;
            return false;
        };
        let (reached, name) = match step {
            Step::Sent => (Reached::Sent, "sent"),
            Step::Acknowledged => (Reached::Acknowledged, "acknowledged"),
            Step::Ended(outcome) => {
                self.end(now, id, outcome);
                return true;
            }
        };
        if job.reached < reached {
            job.reached = reached;
            let event = StepEvent::of(&job.request, source, name);
            let event = StepEvent { rule_version: version(&self.rule_version), ..event };
            self.effects.event(Lane::Audit, now, "command", &event);
        }
        true
    }

    /// Somebody at the site vouches for the clock, which has been set: commands of the core are no longer refused as forgotten because they
    /// expire before one that came while the clocks were wrong.
    pub fn handle_clock_vouched(&mut self, now: Stamp, issuer: &str, source: Source) {
        self.handle_timeout(now);
        if now.trust == Trust::Unset {
            return;
        }
        self.horizon = self.horizon.min(now.wall);
        self.effects.keep(HORIZON, &Horizon { expires_at: self.horizon.0 });
        let event = HorizonEvent { issuer, source: source.to_string() };
        self.effects.event(Lane::Audit, now, "command_horizon", &event);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.end_interrupted(now);
        self.close_refusals(now);
        let horizon = self.horizon;
        while self.timers.first().is_some_and(|(due, _)| *due <= now.mono) {
            let Some((_, id)) = self.timers.pop_first() else { break };
            match self.entries.get(&id).and_then(Entry::job).map(Job::is_begun) {
                Some(false) => self.end(now, &id, Outcome::Expired),
                Some(true) => self.end(now, &id, because_unknown("no_report")),
                None => self.forget(&id),
            }
        }
        if self.horizon != horizon {
            self.effects.keep(HORIZON, &Horizon { expires_at: self.horizon.0 });
        }
    }

    /// When [`Commands::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if self.interrupted {
            return Some(Mono(0));
        }
        let windows = self.refusals.iter().filter_map(Refusals::poll_timeout);
        self.timers.first().map(|(due, _)| *due).into_iter().chain(windows).min()
    }

    /// The next thing to keep or to record.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// The next command to do.
    pub fn poll_dispatch(&mut self) -> Option<Dispatch> {
        self.dispatches.pop_front()
    }

    /// The next outcome, for whoever waits for it.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// How far a command has come; `None` where its id is not known, or not any more.
    pub fn state(&self, id: &str) -> Option<State<'_>> {
        Some(match &self.entries.get(id)?.phase {
            Phase::Open(job) if job.is_begun() => State::Begun,
            Phase::Open(_) => State::Waiting,
            Phase::Ended(outcome) => State::Ended(outcome),
        })
    }

    /// True when one of the core's keys has signed a command, whoever brought it.
    pub fn is_signed(&self, request: &Request) -> bool {
        request.signature.is_some() && self.settings.signing.check(request, Source::Core) == Ok(true)
    }

    /// True when a command would still be let in, as far as signatures are concerned.
    pub fn is_authorised(&self, request: &Request, source: Source) -> bool {
        self.settings.signing.check(request, source).is_ok()
    }

    /// How many ids are held; at most [`Settings::room`], and 64 more for STOP.
    pub fn held(&self) -> usize {
        self.entries.len()
    }

    /// What has been counted since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// What comes in at the door.
impl Commands {
    fn accept(
        &mut self,
        now: Stamp,
        source: Source,
        request: Request,
        fingerprint: String,
        admission: Admission,
    ) -> Reception {
        self.counts.accepted += 1;
        let (id, target, urgent) = (request.id.clone(), request.target.clone(), request.is_urgent());
        let accepted = StepEvent::of(&request, source, "accepted").with_args(&request);
        self.record(now, StepEvent { signed: Some(admission.signed), ..accepted });
        let entry = Entry {
            source,
            fingerprint,
            received: Some(now.into()),
            hold: admission.lasts + self.settings.patience + self.settings.margin,
            horizon: horizon(source, &request),
            phase: Phase::Open(Box::new(Job {
                deadline: now.mono + admission.lasts,
                by_wall: now.trust != Trust::Unset,
                reached: Reached::Waiting,
                request,
            })),
            timer: None,
        };
        self.entries.insert(id.clone(), entry);
        if urgent {
            self.supersede(now, &target);
            self.begin(now, &id);
            return Reception::Pending;
        }
        self.queues.entry(target.clone()).or_default().waiting.push_back(id.clone());
        self.advance(now, &target);
        let waits = self.entries.get(&id).and_then(Entry::job).filter(|job| !job.is_begun());
        if let Some(deadline) = waits.map(|job| job.deadline) {
            self.arm(&id, deadline);
            self.keep(now, &id);
        }
        Reception::Pending
    }

    fn refuse(
        &mut self,
        now: Stamp,
        source: Source,
        request: &Request,
        fingerprint: String,
        refusal: Refusal,
    ) -> Reception {
        self.counts.refused += 1;
        let outcome = Outcome::from(refusal);
        if self.refusals_of(source).admit(now.mono) {
            self.record(now, StepEvent::of(request, source, "").with_args(request).ended(&outcome));
        }
        if refusal.is_remembered() && self.has_room_for_refused() {
            let entry = Entry {
                source,
                fingerprint,
                received: Some(now.into()),
                hold: self.settings.refused_for(),
                horizon: horizon(source, request).filter(|_| refusal.is_timed()),
                phase: Phase::Ended(outcome.clone()),
                timer: None,
            };
            let forget_at = entry.forget_at(&now);
            self.entries.insert(request.id.clone(), entry);
            self.arm(&request.id, forget_at);
            self.keep(now, &request.id);
        }
        Reception::Ended(outcome)
    }

    /// Ids of refused commands may take half of the room, so that a flood of late ones does not shut out the next.
    fn has_room_for_refused(&self) -> bool {
        let is_refused = |entry: &&Entry| matches!(entry.phase, Phase::Ended(Outcome::Refused { .. }));
        let room = self.settings.room;
        self.entries.len() < room && self.entries.values().filter(is_refused).count() < room / 2
    }

    fn repeat(&mut self, now: Stamp, source: Source, id: &CommandId) -> Reception {
        self.counts.repeated += 1;
        let outcome = match self.entries.get(id).map(|entry| &entry.phase) {
            Some(Phase::Ended(outcome)) => outcome.clone(),
            Some(Phase::Open(_)) | None => return Reception::Pending,
        };
        if self.refusals_of(source).admit(now.mono) {
            let (id, source) = (Some(id.as_str()), source.to_string());
            self.record(now, StepEvent { id, source, repeat: true, ..StepEvent::default() }.ended(&outcome));
        }
        Reception::Ended(outcome)
    }

    fn refusals_of(&mut self, source: Source) -> &mut Refusals {
        let [core, socket] = &mut self.refusals;
        match source {
            Source::Core => core,
            Source::Socket { .. } => socket,
        }
    }

    fn close_refusals(&mut self, now: Stamp) {
        for (refusals, source) in self.refusals.iter_mut().zip(["core", "socket"]) {
            if let Some(count) = refusals.close(now.mono) {
                self.effects.event(Lane::Audit, now, "command_refusals", &Untold { source, count });
            }
        }
    }
}

/// What may no longer be taken once this command is forgotten.
fn horizon(source: Source, request: &Request) -> Option<Wall> {
    (source == Source::Core && !request.is_urgent()).then_some(request.expires_at)
}

fn version(rules: &str) -> Option<&str> {
    Some(rules).filter(|rules| !rules.is_empty())
}

fn because_unknown(reason: &str) -> Outcome {
    Outcome::Unknown { reason: reason.into(), detail: None }
}
