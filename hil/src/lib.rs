//! The simulated site: slaves, lines, brokers and the faults that real ones have, for the demo, the bench and tests.
//!
//! It is the other side of everything the gateway speaks, and shares none of its codecs. It is never part of the
//! daemon. Start reading at [`slave`] and [`mod@line`] (what is polled), then [`receive`] (what is delivered) and [`rig`]
//! (what holds both together).

pub mod bench;
pub mod counting;
pub mod demo;
pub mod door;
pub mod line;
pub mod receive;
pub mod rig;
pub mod sim_clock;
pub mod slave;
pub mod vectors;
