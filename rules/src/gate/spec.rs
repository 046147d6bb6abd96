//! What the site file says of a gate, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::driver::Argument;
use gatehouse_core::{DeviceIx, Name, PointIx};
use serde::Serialize;

use super::input::{Role, Sensor};
use crate::catalog::PointRef;
use crate::words::Direction;

/// What a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GateKind {
    /// A boom (or a leaf) that a motor moves between two ends.
    Barrier,
    /// A door that people open once it is unlocked.
    Door,
}

/// One output of the actuator.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The device that it is on.
    pub device: DeviceIx,
    /// How it is worked.
    pub how: How,
}

/// How an output is worked.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// A command of the device's profile, which times the pulse itself: to be preferred, for nothing stays on when the
    /// box dies.
    Pulse {
        /// The command.
        command: Name,
        /// The channel, as the device counts.
        channel: Option<u16>,
        /// What it takes, such as the length of the pulse in the command's units.
        argument: Argument,
    },
    /// A contact that the box switches on and then off; the off is repeated until the device confirms it.
    Switch {
        /// The contact's point.
        point: PointIx,
        /// How long it stays on, at a barrier; a door's stays on for [`Policy::grant`], and goes off when it closes.
        on_for: Duration,
    },
    /// A maintained signal.
    Level {
        /// Its point.
        point: PointIx,
        /// The value that opens, holds open or locks; the other one ends that.
        on: bool,
    },
}

impl How {
    /// The point that a maintained or switched output is on.
    pub(super) fn point(&self) -> Option<PointIx> {
        match self {
            How::Pulse { .. } => None,
            How::Switch { point, .. } | How::Level { point, .. } => Some(*point),
        }
    }
}

/// The outputs of a gate. Barriers need `open`; doors need `open` or `lock`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    /// Raises the boom; unlocks the door.
    pub open: Option<Output>,
    /// Lowers the boom.
    pub close: Option<Output>,
    /// Stops the motor.
    pub stop: Option<Output>,
    /// Holds open for as long as it is on; [`How::Level`].
    pub hold_open: Option<Output>,
    /// Locks the door for as long as it is on; [`How::Level`].
    pub lock: Option<Output>,
}

impl Outputs {
    /// The points that are written.
    pub fn points(&self) -> impl Iterator<Item = PointRef> {
        let all = [&self.open, &self.close, &self.stop, &self.hold_open, &self.lock];
        let at = |output: &Output| Some(PointRef { device: output.device, point: output.how.point()? });
        all.into_iter().flatten().filter_map(at)
    }
}

/// Times of the actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Nominal time from one end to the other. A motion is not confirmed after twice that.
    pub travel: Duration,
    /// Length of a pulse: 200 ms to 2 s.
    pub pulse: Duration,
    /// Shortest time from the end of a pulse to the next.
    pub pause: Duration,
    /// The same before the motion is reversed.
    pub reverse_pause: Duration,
    /// True when the barrier's own control stops before it reverses: then neither STOP nor a longer pause is needed.
    pub reverses_itself: bool,
    /// Longest time that an act may wait for its turn on the line.
    pub act_within: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            travel: Duration::from_secs(6),
            pulse: Duration::from_millis(500),
            pause: Duration::from_millis(200),
            reverse_pause: Duration::from_secs(1),
            reverses_itself: false,
            act_within: Duration::from_secs(5),
        }
    }
}

/// What comes of something that nobody was allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A passage record.
    Record,
    /// A passage record and an alarm, until the gate is seen closed.
    Alarm,
    /// The same, and the lane is locked until somebody unlocks it.
    Lock,
}

/// What is done when something comes under a closing boom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBlocked {
    /// STOP, and nothing more.
    Stop,
    /// STOP, then OPEN.
    Reopen,
}

/// What the site wants of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a door stays unlocked for one grant: 3 to 5 s, longer for a strike in the wind.
    pub grant: Duration,
    /// How much later than that a door may be seen to open without being forced: a poll and a filter.
    pub grant_slack: Duration,
    /// How long a gate may stay open; beyond, it is held open.
    pub open_limit: Duration,
    /// The longest time that a `hold_open` lasts.
    pub hold_max: Duration,
    /// How long somebody who was let in may take to pass.
    pub pass_within: Duration,
    /// True when the box sends CLOSE; else the barrier closes by itself, and the box never does on its own.
    pub close_by_box: bool,
    /// How long the place under the boom must have been free, once somebody passed, before the box closes.
    pub close_after: Duration,
    /// What is done when something comes under a closing boom.
    pub blocked: WhenBlocked,
    /// How often the box closes again after that, until the gate was closed once.
    pub blocked_retries: u32,
    /// A vehicle that followed another through.
    pub tailgate: Outcome,
    /// A door that opened without a grant.
    pub forced: Outcome,
    /// A barrier that opened without the box.
    pub remote_opened: Outcome,
    /// True where a controller decides at the gate itself: whoever it lets in is told afterwards, so that an opening
    /// without a grant of the box is not forced.
    pub decided_elsewhere: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            grant: Duration::from_secs(4),
            grant_slack: Duration::from_secs(2),
            open_limit: Duration::from_secs(4 + 25),
            hold_max: Duration::from_secs(4 * 3600),
            pass_within: Duration::from_secs(60),
            close_by_box: false,
            close_after: Duration::from_secs(3),
            blocked: WhenBlocked::Reopen,
            blocked_retries: 2,
            tailgate: Outcome::Alarm,
            forced: Outcome::Alarm,
            remote_opened: Outcome::Alarm,
            decided_elsewhere: false,
        }
    }
}

/// A gate: an actuator, its sensors and a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct GateSpec {
    /// Its identity, at most 64 characters.
    pub id: Name,
    /// What it is.
    pub kind: GateKind,
    /// Which way somebody goes who was seen without a request.
    pub direction: Direction,
    /// The actuator.
    pub outputs: Outputs,
    /// Its times.
    pub timing: Timing,
    /// The sensors.
    pub sensors: BTreeMap<Role, Sensor>,
    /// Names the fire input in alarms, so that one input of many gates is one alarm; `None`: the gate's own id.
    pub fire_source: Option<Name>,
    /// The policy.
    pub policy: Policy,
}

/// Why a gate cannot work as it is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing can open it.
    #[error("a barrier needs an `open` output, a door an `open` or a `lock` output")]
    NoOpen,
    /// A motion of a barrier is worked as a level.
    #[error("`{0}` of a barrier is a pulse or a switch, not a level")]
    LevelMotion(&'static str),
    /// A maintained signal is worked as a pulse.
    #[error("`{0}` is a maintained signal: give a point and the value that is on")]
    NotLevel(&'static str),
    /// An output that this kind of gate does not have.
    #[error("`{0}` does not belong to this kind of gate")]
    Foreign(&'static str),
    /// Two outputs are the same contact.
    #[error("`{0}` and `{1}` are the same point")]
    SamePoint(&'static str, &'static str),
    /// A pulse is too short or too long.
    #[error("a pulse takes 200 ms to 2 s")]
    Pulse,
    /// A time is zero that may not be.
    #[error("`{0}` cannot be zero")]
    Zero(&'static str),
    /// The box is to close, and nothing tells whether a vehicle is there.
    #[error("`close_by_box` needs a `close` output, an `open_limit` and a `loop_under_boom`")]
    BlindClose,
}

impl GateSpec {
    /// Checks what the types do not hold.
    ///
    /// # Errors
    /// [`SpecError`] names the first thing that is wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        let o = &self.outputs;
        let level = |output: &Option<Output>| output.as_ref().is_some_and(|o| matches!(o.how, How::Level { .. }));
        let (motions, foreign) = match self.kind {
            GateKind::Barrier => ([("open", &o.open), ("close", &o.close), ("stop", &o.stop)], [("lock", &o.lock); 2]),
            GateKind::Door => ([("open", &None); 3], [("close", &o.close), ("stop", &o.stop)]),
        };
        let openable = o.open.is_some() || self.kind == GateKind::Door && o.lock.is_some();
        if !openable {
            return Err(SpecError::NoOpen);
        }
        if let Some((name, _)) = foreign.into_iter().find(|(_, output)| output.is_some()) {
            return Err(SpecError::Foreign(name));
        }
        if let Some((name, _)) = motions.into_iter().find(|(_, output)| level(output)) {
            return Err(SpecError::LevelMotion(name));
        }
        let maintained = [("hold_open", &o.hold_open), ("lock", &o.lock)];
        if let Some((name, _)) = maintained.into_iter().find(|(_, output)| output.is_some() && !level(output)) {
            return Err(SpecError::NotLevel(name));
        }
        self.check_points()?;
        self.check_times()
    }

    fn check_points(&self) -> Result<(), SpecError> {
        let o = &self.outputs;
        let named =
            [("open", &o.open), ("close", &o.close), ("stop", &o.stop), ("hold_open", &o.hold_open), ("lock", &o.lock)];
        let mut seen = BTreeMap::new();
        for (name, output) in named {
            let Some(output) = output else { continue };
            let Some(point) = output.how.point() else { continue };
            if let Some(other) = seen.insert((output.device, point), name) {
                return Err(SpecError::SamePoint(other, name));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), SpecError> {
        let (t, p) = (&self.timing, &self.policy);
        let pulse = Duration::from_millis(200)..=Duration::from_secs(2);
        let barrier = self.kind == GateKind::Barrier;
        let switched = [&self.outputs.open, &self.outputs.close, &self.outputs.stop]
            .into_iter()
            .flatten()
            .any(|output| matches!(output.how, How::Switch { on_for, .. } if !pulse.contains(&on_for)));
        if !pulse.contains(&t.pulse) || barrier && switched {
            return Err(SpecError::Pulse);
        }
        let times = [
            ("travel", t.travel),
            ("act_within", t.act_within),
            ("grant", p.grant),
            ("open_limit", p.open_limit),
            ("hold_max", p.hold_max),
            ("pass_within", p.pass_within),
            ("close_after", p.close_after),
        ];
        if let Some((name, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return Err(SpecError::Zero(name));
        }
        if let Some(sensor) = self.sensors.values().find(|sensor| sensor.max_age.is_zero()) {
            return Err(SpecError::Zero(if sensor.required { "max_age" } else { "max_age of a sensor" }));
        }
        let sees = |role| self.sensors.contains_key(&role);
        let blind = self.outputs.close.is_none() || !sees(Role::OpenLimit) || !sees(Role::LoopUnderBoom);
        if p.close_by_box && (blind || !barrier) {
            return Err(SpecError::BlindClose);
        }
        Ok(())
    }
}
