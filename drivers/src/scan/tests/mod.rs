//! The whole scan on simulated wires.

mod crowd;
mod device;
mod listening;
mod noise;
mod plan;
mod server;
mod slow;
mod socket;
mod stories;
mod world;
