//! Simulated RS-485 lines: a pure half-duplex wire with its slaves and faults, and a pseudo-terminal to reach it.

mod faults;
mod pty;
mod speed;
mod wire;

pub use faults::{Counts, Faults};
pub use pty::SerialLine;
pub(crate) use pty::be_punctual;
pub use speed::Speed;
pub use wire::Wire;
