//! The whole scan on simulated wires.

mod device;
mod socket;
mod stories;
mod world;
