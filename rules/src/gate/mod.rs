//! Gates: barriers and doors with their sensors, under one law of interlocks.
//!
//! [`Gates`] is the machine. Every motion, whoever wants it, goes through [`judge_motion`]; what a gate knows beyond
//! its inputs makes it stricter, never looser. What moves is believed when a sensor shows it. A pulse is never sent
//! twice on doubt; only a fire release, which is maintained, is asserted again. What the barrier's own wiring does
//! against crushing is not this crate's.
//!
//! Start with `interlock`, the law; `machine` has the gate, `watch` what its sensors mean, `drive` how it acts.

mod ask;
mod audit;
mod command;
mod condition;
mod drive;
mod fire;
mod input;
mod interlock;
mod kept;
mod line;
mod machine;
mod mint;
mod order;
mod out;
mod outputs;
mod passage;
mod result;
mod site;
mod spec;
mod state;
mod view;
mod watch;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use command::{CommandStep, GateAction, GateCommand, Step};
pub use input::{Role, Sensor};
pub use interlock::{Decision, Inputs, Judgement, Motion, judge, judge_motion};
pub use site::{Counts, Gates, SiteError};
pub use spec::{GateKind, GateSpec, How, Outcome, Output, Outputs, Policy, SpecError, Timing, WhenBlocked};
pub use state::State;
pub use view::{GateView, SensorView};
