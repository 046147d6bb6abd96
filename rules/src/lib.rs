//! Readings to decisions: what is recorded, what alarms, who may pass, and what a fault becomes.
//!
//! Pure: no I/O, no clock, no tasks. Time, randomness and what was read come in as arguments, what is to be done comes
//! out as [`Effect`]s. Every machine has the same grammar: `restore` what was kept, `handle_*` what happened, drain
//! `poll_*`, and come back at `poll_timeout`.
//!
//! Start with [`words`], what the machines say to each other. Each folder is one machine and sees no other.

pub mod access;
pub mod alarm;
pub mod billing;
pub mod catalog;
pub mod command;
pub mod controller;
pub mod effect;
pub mod engine;
pub mod expr;
pub mod gate;
pub mod instant;
pub mod mode;
pub mod report;
pub mod schedule;
pub mod supply;
pub mod ticket;
pub mod words;

pub use access::Access;
pub use billing::Billing;
pub use catalog::{Catalog, CatalogDevice, CatalogPoint, PointRef};
pub use effect::{Act, ActId, ActRefusal, ActResult, Effect, Effects};
pub use engine::Engine;
pub use instant::Instant;
