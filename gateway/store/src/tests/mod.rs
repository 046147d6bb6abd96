//! The whole store, beside a model of what it must hold.

mod faults;
mod format;
mod model;
mod rig;
mod world;
