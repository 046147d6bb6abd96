//! The law of the gates: whether a motion may be commanded, whoever asks.
//!
//! Source: the interlock table of the barrier convention, with its order and its reasons; `vectors/barrier-interlocks.json`
//! holds its cases. It comes on top of the barrier's own anti-crush wiring and never replaces it.

use serde::{Deserialize, Serialize};

/// What an actuator can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Motion {
    /// Raise the boom; unlock the door.
    Open,
    /// Lower the boom; lock the door.
    Close,
    /// Stand still.
    Stop,
}

impl Motion {
    /// The name in commands, events and vectors.
    pub fn as_str(self) -> &'static str {
        match self {
            Motion::Open => "open",
            Motion::Close => "close",
            Motion::Stop => "stop",
        }
    }

    /// The motion of that name.
    pub fn from_name(name: &str) -> Option<Motion> {
        [Motion::Open, Motion::Close, Motion::Stop].into_iter().find(|motion| motion.as_str() == name)
    }
}

/// What the interlocks look at. An input that the gate does not have is inactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inputs {
    /// The boom is at its open end.
    pub open_limit: bool,
    /// The boom is at its closed end.
    pub close_limit: bool,
    /// A vehicle stands under the boom (loop B).
    pub loop_under_boom: bool,
    /// The beam of the photo-cell is broken.
    pub photocell_blocked: bool,
    /// The drive reports a fault.
    pub motor_fault: bool,
    /// The emergency stop is pressed.
    pub estop: bool,
    /// The fire alarm is on, or its release has not been reset.
    pub fire: bool,
    /// Somebody locked the lane.
    pub lane_locked: bool,
    /// Everything that must be read was read lately.
    pub comms_ok: bool,
}

impl Default for Inputs {
    fn default() -> Self {
        Inputs {
            open_limit: false,
            close_limit: false,
            loop_under_boom: false,
            photocell_blocked: false,
            motor_fault: false,
            estop: false,
            fire: false,
            lane_locked: false,
            comms_ok: true,
        }
    }
}

/// Whether a motion may be commanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may: one pulse.
    Accept,
    /// It may not.
    Refuse,
    /// There is nothing to do.
    Noop,
}

/// What the interlocks say to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The decision.
    pub decision: Decision,
    /// Why not; `""` when it is accepted.
    pub reason: &'static str,
    /// The one pulse to give, when it is accepted.
    pub pulse: Option<Motion>,
}

impl Judgement {
    fn accept(motion: Motion) -> Self {
        Judgement { decision: Decision::Accept, reason: "", pulse: Some(motion) }
    }

    pub(super) fn refuse(reason: &'static str) -> Self {
        Judgement { decision: Decision::Refuse, reason, pulse: None }
    }

    pub(super) fn noop(reason: &'static str) -> Self {
        Judgement { decision: Decision::Noop, reason, pulse: None }
    }
}

/// Judges a command by its name: rule 0, then [`judge_motion`].
pub fn judge(command: &str, inputs: &Inputs, by_override: bool) -> Judgement {
    match Motion::from_name(command) {
        Some(motion) => judge_motion(motion, inputs, by_override),
        None => Judgement::refuse("unknown_command"),
    }
}

/// Judges a motion; the first rule that matches decides. `by_override` says that a person takes it on himself.
pub fn judge_motion(motion: Motion, inputs: &Inputs, by_override: bool) -> Judgement {
    let forced_open = motion == Motion::Open && by_override;
    if motion == Motion::Stop {
        return Judgement::accept(motion);
    }
    if inputs.estop {
        return Judgement::refuse("emergency_stop");
    }
    if inputs.fire {
        return match motion {
            Motion::Open if inputs.open_limit && !inputs.close_limit => Judgement::noop("already_open"),
            Motion::Open => Judgement::accept(motion),
            Motion::Close | Motion::Stop => Judgement::refuse("fire_alarm_active"),
        };
    }
    for (hinders, reason) in
        [(!inputs.comms_ok, "state_unknown"), (inputs.open_limit && inputs.close_limit, "limit_switch_contradiction")]
    {
        if hinders {
            return if forced_open { Judgement::accept(motion) } else { Judgement::refuse(reason) };
        }
    }
    let close = motion == Motion::Close;
    let refusals = [
        (inputs.motor_fault, "motor_fault"),
        (inputs.lane_locked && !close && !by_override, "lane_locked"),
        (inputs.loop_under_boom && close, "vehicle_under_boom"),
        (inputs.photocell_blocked && close, "photocell_blocked"),
    ];
    if let Some((_, reason)) = refusals.into_iter().find(|(hinders, _)| *hinders) {
        return Judgement::refuse(reason);
    }
    match motion {
        Motion::Open if inputs.open_limit => Judgement::noop("already_open"),
        Motion::Close if inputs.close_limit => Judgement::noop("already_closed"),
        Motion::Open | Motion::Close | Motion::Stop => Judgement::accept(motion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        id: String,
        command: String,
        inputs: Inputs,
        #[serde(default, rename = "override")]
        by_override: bool,
        expect: Expect,
    }

    #[derive(Deserialize)]
    struct Expect {
        decision: Decision,
        reason: String,
        pulses: Vec<Motion>,
    }

    #[test]
    fn every_case_of_the_convention_is_judged_as_it_says() {
        let file: File = serde_json::from_str(include_str!("../../vectors/barrier-interlocks.json")).unwrap();
        assert_eq!(file.cases.len(), 19);
        for case in file.cases {
            let judgement = judge(&case.command, &case.inputs, case.by_override);
            assert_eq!(judgement.decision, case.expect.decision, "{}", case.id);
            assert_eq!(judgement.reason, case.expect.reason, "{}", case.id);
            assert_eq!(judgement.pulse.into_iter().collect::<Vec<_>>(), case.expect.pulses, "{}", case.id);
        }
    }

    #[test]
    fn what_is_no_motion_is_refused_before_anything_else() {
        for command in ["", "OPEN", "half", "reset"] {
            assert_eq!(judge(command, &Inputs::default(), true), Judgement::refuse("unknown_command"));
        }
    }

    fn all_inputs() -> impl Iterator<Item = Inputs> {
        (0u32..1 << 9).map(|bits| {
            let bit = |n: u32| bits & (1 << n) != 0;
            Inputs {
                open_limit: bit(0),
                close_limit: bit(1),
                loop_under_boom: bit(2),
                photocell_blocked: bit(3),
                motor_fault: bit(4),
                estop: bit(5),
                fire: bit(6),
                lane_locked: bit(7),
                comms_ok: bit(8),
            }
        })
    }

    #[test]
    fn close_is_never_accepted_where_it_could_hit_or_trap() {
        for inputs in all_inputs() {
            let hazard = inputs.loop_under_boom
                || inputs.photocell_blocked
                || inputs.fire
                || inputs.estop
                || inputs.motor_fault
                || !inputs.comms_ok
                || inputs.open_limit && inputs.close_limit;
            for by_override in [false, true] {
                let judgement = judge_motion(Motion::Close, &inputs, by_override);
                assert!(!hazard || judgement.decision != Decision::Accept, "{inputs:?}");
                assert_eq!(judgement, judge_motion(Motion::Close, &inputs, false), "an override closes nothing");
            }
        }
    }

    #[test]
    fn stop_always_passes_and_a_fire_opens_unless_the_emergency_stop_is_pressed() {
        for inputs in all_inputs() {
            for by_override in [false, true] {
                assert_eq!(judge_motion(Motion::Stop, &inputs, by_override).decision, Decision::Accept);
                let open = judge_motion(Motion::Open, &inputs, by_override);
                if inputs.fire && !inputs.estop {
                    assert_ne!(open.decision, Decision::Refuse, "{inputs:?}");
                }
                if inputs.estop {
                    assert_eq!(open.reason, "emergency_stop");
                }
                let pulses = open.pulse.is_some();
                assert_eq!(pulses, open.decision == Decision::Accept);
                assert_eq!(pulses, open.reason.is_empty());
            }
        }
    }
}
