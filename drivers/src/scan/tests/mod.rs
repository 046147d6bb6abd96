//! The whole scan on simulated wires.

mod device;
mod stories;
mod world;
