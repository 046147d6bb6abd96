//! All gates of a site.

use std::collections::{BTreeMap, VecDeque};

use gatehouse_core::{DeviceIx, Mono, Name, NoData, PointReading, Stamp, Value};

use super::command::{CommandStep, GateCommand, Step};
use super::condition::Class;
use super::interlock::{Decision, Motion};
use super::line::Lead;
use super::machine::Gate;
use super::order::{Cause, Order};
use super::out::Out;
use super::passage::{self, Decided, Record};
use super::spec::{GateSpec, SpecError};
use super::view::GateView;
use super::{kept, mint};
use crate::catalog::PointRef;
use crate::controller::Recorded;
use crate::effect::{ActId, ActResult, Effect};
use crate::words::{AlarmId, Condition, Passed, RequestId, Verdict};

/// So many requests and commands are remembered, so that none is carried out twice.
const REMEMBERED: usize = 256;

/// Why a site's gates cannot work together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// A gate cannot work as it is described.
    #[error("gate {gate}: {why}")]
    Spec {
        /// The gate.
        gate: Name,
        /// Why not.
        why: SpecError,
    },
    /// Two gates have the same id.
    #[error("two gates are called {0}")]
    Twice(Name),
}

/// What was left aside, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Verdicts on a request that had one already.
    pub repeated_verdicts: u64,
    /// Commands whose id came already.
    pub repeated_commands: u64,
    /// Kept documents that could not be read, or belong to a gate that is gone.
    pub unreadable: u64,
}

/// The gates of a site: one machine.
///
/// First [`Gates::restore`] everything that was kept, then call `handle_*` as things happen. After each, drain
/// [`Gates::poll_effect`], [`Gates::poll_step`], [`Gates::poll_passed`] and [`Gates::poll_condition`], and come back at
/// [`Gates::poll_timeout`]. After a start that is at once: a fire release that stood is asserted again then.
///
/// Keys kept: `gate/<id>`, `passage/<request>` and `request-next`.
#[derive(Debug)]
pub struct Gates {
    gates: Vec<Gate>,
    by_id: BTreeMap<Name, usize>,
    by_point: BTreeMap<PointRef, Vec<(usize, super::input::Role)>>,
    out: Out,
    unfinished: Vec<Record>,
    judged: VecDeque<RequestId>,
    commanded: VecDeque<Box<str>>,
    /// What was told last, by class and the gate that speaks for its source.
    told: BTreeMap<(Class, usize), bool>,
    conditions: VecDeque<Condition>,
    counts: Counts,
}

impl Gates {
    /// The gates of a site. Its acts are numbered from `first_act` on; no other machine uses these numbers.
    ///
    /// # Errors
    /// [`SiteError`] names the first gate that cannot work.
    pub fn new(specs: Vec<GateSpec>, first_act: ActId) -> Result<Self, SiteError> {
        let (mut by_id, mut by_point) = (BTreeMap::new(), BTreeMap::<PointRef, Vec<_>>::new());
        for (ix, spec) in specs.iter().enumerate() {
            spec.check().map_err(|why| SiteError::Spec { gate: spec.id.clone(), why })?;
            if by_id.insert(spec.id.clone(), ix).is_some() {
                return Err(SiteError::Twice(spec.id.clone()));
            }
            for (role, sensor) in &spec.sensors {
                by_point.entry(sensor.at).or_default().push((ix, *role));
            }
        }
        Ok(Gates {
            gates: specs.into_iter().map(Gate::new).collect(),
            by_id,
            by_point,
            out: Out::new(first_act),
            unfinished: Vec::new(),
            judged: VecDeque::new(),
            commanded: VecDeque::new(),
            told: BTreeMap::new(),
            conditions: VecDeque::new(),
            counts: Counts::default(),
        })
    }

    /// Takes back what was kept under a key. False when the key is none of the gates'.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> bool {
        let read = if key == mint::KEY {
            self.out.mint.restore(value)
        } else if let Some(id) = key.strip_prefix(kept::PREFIX) {
            let gate = self.by_id.get(id).and_then(|ix| self.gates.get_mut(*ix));
            gate.is_some_and(|gate| gate.restore(value))
        } else if key.starts_with(passage::PREFIX) {
            let record = serde_json::from_slice::<Record>(value);
            record.map(|record| self.restore_passage(record)).is_ok()
        } else {
            return false;
        };
        self.counts.unreadable += u64::from(!read);
        true
    }

    fn restore_passage(&mut self, record: Record) {
        self.out.mint.outrun(record.request.0.saturating_add(1));
        self.judged.push_back(record.request);
        self.unfinished.push(record);
    }

    /// A number for a new request: unique for ever on this box.
    pub fn mint(&mut self) -> RequestId {
        self.out.mint.mint(&mut self.out.effects)
    }

    /// A point was read. For all points of one sample use [`Gates::handle_readings`], so that nothing is decided on
    /// half of it.
    pub fn handle_reading(&mut self, now: Stamp, at: PointRef, value: &Result<Value, NoData>) {
        self.finish_restored(&now);
        let touched = self.read(now.mono, at, value);
        self.settle(&now, &touched);
    }

    /// The points of one device were read together, at that time.
    pub fn handle_readings(&mut self, now: Stamp, device: DeviceIx, at: Mono, readings: &[PointReading]) {
        self.finish_restored(&now);
        let mut touched = Vec::new();
        for reading in readings {
            let point = PointRef { device, point: reading.point };
            touched.extend(self.read(at, point, &reading.value));
        }
        touched.sort_unstable();
        touched.dedup();
        self.settle(&now, &touched);
    }

    fn read(&mut self, at: Mono, point: PointRef, value: &Result<Value, NoData>) -> Vec<usize> {
        let Some(ties) = self.by_point.get(&point) else { return Vec::new() };
        for (ix, role) in ties {
            if let Some(input) = self.gates.get_mut(*ix).and_then(|gate| gate.inputs.get_mut(role)) {
                input.handle(at, value);
            }
        }
        ties.iter().map(|(ix, _)| *ix).collect()
    }

    /// A device answers again: it may have been without power, and then its outputs rest.
    pub fn handle_returned(&mut self, now: Stamp, device: DeviceIx) {
        let of = |gate: &Gate| gate.output(Lead::Lock).is_some_and(|lock| lock.device == device);
        let touched: Vec<usize> = (0..).zip(&self.gates).filter(|(_, gate)| of(gate)).map(|(ix, _)| ix).collect();
        for ix in &touched {
            if let Some(line) = self.gates.get_mut(*ix).and_then(|gate| gate.lines.get_mut(&Lead::Lock)) {
                line.doubt();
            }
        }
        self.settle(&now, &touched);
    }

    /// A request was decided. A refusal is recorded at once; a grant opens the gate as far as the interlocks let it.
    pub fn handle_verdict(&mut self, now: Stamp, verdict: &Verdict) {
        self.finish_restored(&now);
        if !remember(&mut self.judged, verdict.request) {
            self.counts.repeated_verdicts += 1;
            return;
        }
        let ix = self.by_id.get(verdict.gate.as_str()).copied();
        let gate = ix.and_then(|ix| self.gates.get_mut(ix));
        let refusal = match gate {
            _ if !verdict.allowed => verdict.reason.as_str(),
            None => "no_such_gate",
            Some(gate) => {
                gate.settle(&now, &mut self.out);
                let order = Order {
                    motion: Motion::Open,
                    cause: Cause::Grant,
                    command: None,
                    request: Some(verdict.request),
                    who: verdict.who.clone().unwrap_or_else(|| verdict.via.clone()),
                    by_override: false,
                    expires: None,
                };
                let judgement = gate.grant(&now, verdict, order, &mut self.out);
                if judgement.decision == Decision::Refuse { judgement.reason } else { "" }
            }
        };
        if !refusal.is_empty() || !verdict.allowed {
            Record::of(&now, verdict, Decided::Refused, refusal).refuse(&now, &mut self.out);
            if verdict.allowed {
                self.out.passed.push_back(Passed { verdict: verdict.clone(), verified: Some(false), at: now });
            }
        }
        self.settle(&now, ix.as_slice());
    }

    /// A controller decided at a gate and recorded it; the record is told, and nothing moves.
    pub fn handle_recorded(&mut self, now: Stamp, verdict: &Verdict, recorded: Recorded) {
        Record::taken(&now, verdict, recorded).tell(&now, &mut self.out);
    }

    /// A person asks something of a gate.
    pub fn handle_command(&mut self, now: Stamp, command: &GateCommand) {
        self.finish_restored(&now);
        if !remember(&mut self.commanded, command.id.clone()) {
            self.counts.repeated_commands += 1;
            return;
        }
        let ix = self.by_id.get(command.gate.as_str()).copied();
        let Some(gate) = ix.and_then(|ix| self.gates.get_mut(ix)) else {
            self.out.last_step(Some(&command.id), Step::Refused("no_such_gate"));
            return;
        };
        gate.settle(&now, &mut self.out);
        gate.command(&now, command, &mut self.out);
        self.settle(&now, ix.as_slice());
    }

    /// An act came to its end. False when it is none of the gates'.
    pub fn handle_act_result(&mut self, now: Stamp, act: ActId, result: &ActResult) -> bool {
        self.finish_restored(&now);
        let out = &mut self.out;
        let Some(ix) = self.gates.iter_mut().position(|gate| gate.acted(&now, act, result, out)) else { return false };
        self.settle(&now, &[ix]);
        true
    }

    /// Time has come to [`Gates::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.finish_restored(&now);
        if !self.gates.is_empty() {
            self.out.mint.reserve(&mut self.out.effects);
        }
        let due = self.gates.iter().enumerate().filter(|(_, gate)| gate.next.is_some_and(|at| at <= now.mono));
        let due: Vec<usize> = due.map(|(ix, _)| ix).collect();
        self.settle(&now, &due);
    }

    /// When to call [`Gates::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let gates = self.gates.iter().filter_map(|gate| gate.next);
        gates.chain((!self.unfinished.is_empty()).then_some(Mono(0))).min()
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.poll()
    }

    /// How a command went on.
    pub fn poll_step(&mut self) -> Option<CommandStep> {
        self.out.steps.pop_front()
    }

    /// Who passed, or did not. A verdict that is not `allowed` is of a passage that nobody asked for; its reason says
    /// which.
    pub fn poll_passed(&mut self) -> Option<Passed> {
        self.out.passed.pop_front()
    }

    /// A condition that began or ended.
    pub fn poll_condition(&mut self) -> Option<Condition> {
        self.conditions.pop_front()
    }

    /// What was left aside.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// One gate.
    pub fn view(&self, gate: &str, now: Mono) -> Option<GateView> {
        self.by_id.get(gate).and_then(|ix| self.gates.get(*ix)).map(|gate| gate.view(now))
    }

    /// All gates, in the order of the site file.
    pub fn list(&self, now: Mono) -> Vec<GateView> {
        self.gates.iter().map(|gate| gate.view(now)).collect()
    }

    /// Passages that were under way when the box stopped: nobody can tell any more.
    fn finish_restored(&mut self, now: &Stamp) {
        for record in std::mem::take(&mut self.unfinished) {
            record.finish(now, None, &mut self.out);
        }
    }

    fn settle(&mut self, now: &Stamp, touched: &[usize]) {
        for ix in touched {
            if let Some(gate) = self.gates.get_mut(*ix) {
                gate.settle(now, &mut self.out);
                self.tell_conditions(*ix);
            }
        }
    }

    /// Tells the conditions of a gate that changed.
    fn tell_conditions(&mut self, ix: usize) {
        let Some(gate) = self.gates.get(ix) else { return };
        for class in Class::ALL {
            let Some(active) = self.holds(ix, class) else { continue };
            let speaker = (class, self.speaker(ix, class));
            if self.told.insert(speaker, active) == Some(active) {
                continue;
            }
            let id = AlarmId { class: class.as_str().to_owned(), source: gate.source(class).to_owned() };
            let device = [Lead::Open, Lead::Lock].into_iter().find_map(|lead| gate.output(lead)).map(|o| o.device);
            let message = gate.message(class);
            self.conditions.push_back(Condition { id, active: Some(active), device, message });
        }
    }

    /// The first of the gates that share the source of a condition.
    fn speaker(&self, ix: usize, class: Class) -> usize {
        let Some(gate) = self.gates.get(ix).filter(|gate| class.of_fire_input() && gate.spec.fire_source.is_some())
        else {
            return ix;
        };
        self.gates.iter().position(|other| other.spec.fire_source == gate.spec.fire_source).unwrap_or(ix)
    }

    /// Whether a condition holds: for a fire input that many gates share, at any of them, and gone when at all.
    fn holds(&self, ix: usize, class: Class) -> Option<bool> {
        let gate = self.gates.get(ix)?;
        if !class.of_fire_input() || gate.spec.fire_source.is_none() {
            return gate.holds(class);
        }
        let sharing = || self.gates.iter().filter(|other| other.spec.fire_source == gate.spec.fire_source);
        if sharing().any(|other| other.holds(class) == Some(true)) {
            return Some(true);
        }
        sharing().all(|other| other.holds(class) == Some(false)).then_some(false)
    }
}

/// Remembers an id, among the last ones. False when it is there already.
fn remember<T: PartialEq>(ids: &mut VecDeque<T>, id: T) -> bool {
    if ids.contains(&id) {
        return false;
    }
    if ids.len() >= REMEMBERED {
        ids.pop_front();
    }
    ids.push_back(id);
    true
}
