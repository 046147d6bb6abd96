//! One gate: its sensors, its outputs and what they mean to each other.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatehouse_core::{Mono, Stamp};

use super::input::{Input, Role};
use super::interlock::{Inputs, Judgement, Motion, judge_motion};
use super::kept::{self, Kept, Mark};
use super::line::{Lead, Line};
use super::order::{Doing, Going, Order, Pending, Window};
use super::out::Out;
use super::passage::Grant;
use super::spec::{GateKind, GateSpec, How, Output};
use super::state::{Position, Seen, State};
use crate::effect::ActId;
use crate::instant::Instant;

/// One gate. [`Gate::settle`] follows everything that may have changed: it may be called at any time, and a second
/// call at the same instant changes nothing.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) spec: GateSpec,
    pub(super) inputs: BTreeMap<Role, Input>,
    pub(super) lines: BTreeMap<Lead, Line>,
    pub(super) acts: BTreeMap<ActId, Doing>,
    pub(super) kept: Kept,
    stored: Kept,
    pub(super) state: State,
    pub(super) since: Option<Instant>,
    /// Where it was seen last.
    pub(super) position: Position,
    /// True once something of this gate was seen since the start.
    pub(super) awake: bool,
    /// When the machine first heard of time.
    pub(super) started: Option<Mono>,
    pub(super) going: Option<Going>,
    /// Stopped on the way, and not seen at an end since.
    pub(super) stopped: bool,
    /// CLOSE was sent, and the boom was not seen at an end since: the open limit may be about to be left.
    pub(super) close_sent: bool,
    pub(super) pending: Option<Pending>,
    /// The last pulse: what for, and when its contact is released.
    pub(super) last_pulse: Option<(Motion, Mono)>,
    pub(super) window: Option<Window>,
    /// A wish to lock the door, until its write is sent.
    pub(super) locking: Option<Order>,
    pub(super) grants: VecDeque<Grant>,
    /// Since when it is not closed.
    pub(super) open_since: Option<Mono>,
    /// Somebody passed since it was last closed.
    pub(super) passed: bool,
    /// Since when nothing is under the boom.
    pub(super) free_since: Option<Mono>,
    /// When something was last seen under the boom.
    pub(super) under_at: Option<Mono>,
    pub(super) blocked_tries: u32,
    pub(super) close_not_before: Mono,
    pub(super) hold_until: Option<Mono>,
    /// The fire release is to be asserted now, whatever is under way.
    pub(super) fire_due: bool,
    /// The same for what stays set.
    pub(super) fire_began: bool,
    pub(super) fire_next: Mono,
    pub(super) fire_failures: u32,
    pub(super) fire_told: Option<String>,
    /// The fire input was not read for longer than it may be.
    pub(super) fire_overdue: bool,
    pub(super) last_passage: Option<crate::words::RequestId>,
    /// When to settle again.
    pub(super) next: Option<Mono>,
}

impl Gate {
    pub(super) fn new(spec: GateSpec) -> Self {
        let inputs = spec.sensors.iter().map(|(role, sensor)| (*role, Input::new(*sensor))).collect();
        let mut gate = Gate {
            inputs,
            lines: BTreeMap::new(),
            acts: BTreeMap::new(),
            kept: Kept::default(),
            stored: Kept::default(),
            state: State::Unknown,
            since: None,
            position: Position::Untold,
            awake: spec.sensors.is_empty(),
            started: None,
            going: None,
            stopped: false,
            close_sent: false,
            pending: None,
            last_pulse: None,
            window: None,
            locking: None,
            grants: VecDeque::new(),
            open_since: None,
            passed: false,
            free_since: None,
            under_at: None,
            blocked_tries: 0,
            close_not_before: Mono(0),
            hold_until: None,
            fire_due: false,
            fire_began: false,
            fire_next: Mono(0),
            fire_failures: 0,
            fire_told: None,
            fire_overdue: false,
            last_passage: None,
            next: Some(Mono(0)),
            spec,
        };
        gate.tie_lines();
        gate
    }

    /// Takes back what was kept. False when the document is none.
    pub(super) fn restore(&mut self, value: &[u8]) -> bool {
        let Ok(kept) = serde_json::from_slice::<Kept>(value) else { return false };
        self.fire_due = kept.fire.is_some();
        self.fire_began = self.fire_due;
        self.stored = kept.clone();
        self.kept = kept;
        self.tie_lines();
        true
    }

    fn tie_lines(&mut self) {
        let barrier = self.barrier();
        for lead in [Lead::Open, Lead::Close, Lead::Stop, Lead::HoldOpen, Lead::Lock] {
            let momentary = match self.output(lead).map(|output| &output.how) {
                Some(How::Switch { .. }) => barrier,
                Some(How::Level { .. }) => false,
                Some(How::Pulse { .. }) | None => continue,
            };
            // A relay that rests does not lock: after a start, nobody knows whether the door is.
            let rests = lead != Lead::Lock && !self.kept.engaged.contains(&lead);
            self.lines.insert(lead, Line::new(momentary, rests));
        }
    }

    /// Follows everything that may have changed.
    pub(super) fn settle(&mut self, now: &Stamp, out: &mut Out) {
        self.started.get_or_insert(now.mono);
        let turned = self.turn_inputs(now.mono);
        self.latch_fire(now, out);
        for role in &turned {
            self.pressed(now, *role, out);
        }
        self.follow_position(now, out);
        for role in &turned {
            self.crossed(now, *role, out);
        }
        self.expire(now, out);
        self.watch_closing(now, out);
        self.work(now, out);
        self.drive_lines(now, out);
        self.restate(now);
        self.keep(out);
        self.next = self.deadlines().filter(|at| *at > now.mono).min();
    }

    /// Lets filters pass and values grow old; the roles that became active just now.
    fn turn_inputs(&mut self, now: Mono) -> Vec<Role> {
        let mut turned = Vec::new();
        for (role, input) in &mut self.inputs {
            if input.turn(now) == Some(true) {
                turned.push(*role);
            }
        }
        self.awake |= self.inputs.values().any(|input| input.seen().is_some());
        let under = self.hints(Role::LoopUnderBoom) || self.hints(Role::Photocell);
        if under {
            self.under_at = Some(now);
            self.free_since = None;
        } else {
            self.free_since.get_or_insert(now);
        }
        self.fire_overdue = self.inputs.get(&Role::Fire).is_some_and(|fire| {
            let since = self.started.unwrap_or(now);
            fire.seen().is_none() && now >= since + fire.sensor.max_age
        });
        let told = self.passage_sensor().is_some_and(|role| self.active(role).is_some());
        if !told {
            self.grants.iter_mut().for_each(|grant| grant.unsure = true);
        }
        turned
    }

    fn restate(&mut self, now: &Stamp) {
        let state = self.state_now();
        if state != self.state || self.since.is_none() {
            self.state = state;
            self.since = Some((*now).into());
        }
    }

    fn keep(&mut self, out: &mut Out) {
        self.kept.engaged = self.lines.iter().filter(|(_, line)| line.engaged()).map(|(lead, _)| *lead).collect();
        if self.kept == self.stored {
            return;
        }
        let key = format!("{}{}", kept::PREFIX, self.spec.id);
        if self.kept == Kept::default() {
            out.effects.forget(key);
        } else {
            out.effects.keep(key, &self.kept);
        }
        self.stored = self.kept.clone();
    }

    fn deadlines(&self) -> impl Iterator<Item = Mono> {
        let policy = &self.spec.policy;
        let plain = [
            self.going.as_ref().map(|going| going.deadline),
            self.pending.as_ref().map(|pending| pending.due),
            self.window.as_ref().map(|window| window.until),
            self.window.as_ref().map(|window| window.until + policy.grant_slack),
            self.open_since.map(|since| since + policy.open_limit),
            self.hold_until,
            self.kept.fire.map(|_| self.fire_next),
            self.close_due(),
            self.started.zip(self.inputs.get(&Role::Fire)).map(|(at, input)| at + input.sensor.max_age),
        ];
        let grants = self.grants.iter().flat_map(|grant| [grant.until, grant.at_last]);
        let inputs = self.inputs.values().filter_map(Input::poll_timeout);
        let lines = self.lines.values().filter_map(Line::poll_timeout);
        plain.into_iter().flatten().chain(grants).chain(inputs).chain(lines)
    }

    /// What the interlocks say to a motion. Stricter than the table where the gate knows more than it asks.
    pub(super) fn judge(&self, motion: Motion, by_override: bool) -> Judgement {
        judge_motion(motion, &self.interlock_inputs(motion), by_override)
    }

    fn interlock_inputs(&self, motion: Motion) -> Inputs {
        let close = motion == Motion::Close;
        let fire = self.fire() || close && self.hints(Role::Fire);
        let opening = self.going.as_ref().is_some_and(|going| going.own && going.motion == Motion::Open);
        let blind = close
            && (self.state_now() == State::Unknown
                || self.inputs.iter().any(|(role, input)| role.guards_closing() && input.active().is_none()));
        let (open_limit, close_limit) = (self.is(Role::OpenLimit), self.is(Role::CloseLimit));
        Inputs {
            // A boom that was told to leave an end is not there any more, whatever the limit still says.
            open_limit: open_limit && (close_limit || !self.close_sent),
            close_limit: close_limit && (open_limit || !opening),
            loop_under_boom: self.hints(Role::LoopUnderBoom),
            photocell_blocked: self.hints(Role::Photocell),
            motor_fault: self.hints(Role::MotorFault),
            // Doors: fire first.
            estop: self.hints(Role::EmergencyStop) && (self.barrier() || !fire),
            fire,
            lane_locked: self.kept.locked.is_some(),
            comms_ok: self.comms_ok() && !blind,
        }
    }

    /// The state, by what was seen last.
    pub(super) fn state_now(&self) -> State {
        let marked = |mark| self.kept.marks.contains(&mark);
        State::step(&Seen {
            comms_ok: self.awake && self.comms_ok(),
            position: self.locate(),
            fault: self.is(Role::MotorFault) || marked(Mark::NotConfirmed),
            blocked: marked(Mark::Blocked),
            forced: marked(Mark::Forced) || marked(Mark::Hit),
            held: self.kept.hold.is_some() || marked(Mark::HeldOpen),
            going: match &self.going {
                Some(going) => Some(going.motion),
                None => self.window.as_ref().map(|_| Motion::Open),
            },
        })
    }

    /// Where the boom or the leaf is, by the sensors. With a single limit, what is not there and not on its way is at
    /// the other end.
    pub(super) fn locate(&self) -> Position {
        let on_its_way = self.going.is_some() || self.stopped;
        let away = |end| if on_its_way { Position::Between } else { end };
        let at = |role| self.inputs.get(&role).map(Input::active);
        if !self.barrier() {
            return match at(Role::DoorContact) {
                Some(Some(true)) => Position::Open,
                Some(Some(false)) => Position::Closed,
                Some(None) | None => Position::Untold,
            };
        }
        match (at(Role::OpenLimit), at(Role::CloseLimit)) {
            (Some(None), _) | (_, Some(None)) | (None, None) => Position::Untold,
            (Some(Some(true)), Some(Some(true))) => Position::Contradiction,
            (Some(Some(true)), _) => Position::Open,
            (_, Some(Some(true))) => Position::Closed,
            (Some(Some(false)), Some(Some(false))) => Position::Between,
            (None, Some(Some(false))) => away(Position::Open),
            (Some(Some(false)), None) => away(Position::Closed),
        }
    }

    pub(super) fn barrier(&self) -> bool {
        self.spec.kind == GateKind::Barrier
    }

    pub(super) fn fire(&self) -> bool {
        self.kept.fire.is_some()
    }

    /// Everything that is required was read lately.
    pub(super) fn comms_ok(&self) -> bool {
        self.inputs.values().all(|input| !input.sensor.required || input.active().is_some())
    }

    /// What a sensor says, filtered; `None` when it is too old, or there is none.
    pub(super) fn active(&self, role: Role) -> Option<bool> {
        self.inputs.get(&role).and_then(Input::active)
    }

    /// True when a sensor says so.
    pub(super) fn is(&self, role: Role) -> bool {
        self.active(role) == Some(true)
    }

    /// True when a sensor says so, or begins to.
    pub(super) fn hints(&self, role: Role) -> bool {
        self.inputs.get(&role).is_some_and(Input::hints)
    }

    /// The sensor that sees somebody pass.
    pub(super) fn passage_sensor(&self) -> Option<Role> {
        let role = if self.barrier() { Role::LoopUnderBoom } else { Role::DoorContact };
        self.inputs.contains_key(&role).then_some(role)
    }

    pub(super) fn output(&self, lead: Lead) -> Option<&Output> {
        let outputs = &self.spec.outputs;
        match lead {
            Lead::Open => outputs.open.as_ref(),
            Lead::Close => outputs.close.as_ref(),
            Lead::Stop => outputs.stop.as_ref(),
            Lead::HoldOpen => outputs.hold_open.as_ref(),
            Lead::Lock => outputs.lock.as_ref(),
        }
    }

    /// True when an end has a sensor.
    pub(super) fn locatable(&self) -> bool {
        self.inputs.contains_key(&Role::OpenLimit) || self.inputs.contains_key(&Role::CloseLimit)
    }

    /// How long a motion may take until an end confirms it; where only the other end has a sensor, nothing confirms it
    /// but the time.
    pub(super) fn allowance(&self, motion: Motion) -> Duration {
        let end = if motion == Motion::Open { Role::OpenLimit } else { Role::CloseLimit };
        let travel = self.spec.timing.travel;
        if self.inputs.contains_key(&end) { travel * 2 } else { travel }
    }
}
