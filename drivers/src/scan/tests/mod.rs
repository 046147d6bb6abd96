//! The whole scan on simulated wires.

mod device;
mod listening;
mod socket;
mod stories;
mod world;
