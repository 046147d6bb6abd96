//! The line discipline: one physical channel, its devices and whose turn it is.
//!
//! [`Line`] is a machine without I/O and without a clock. The shell owns the port; it tells the line what happened
//! and does what the line wants:
//!
//! 1. After each `handle_*` drain [`Line::poll_output`], then ask [`Line::poll_transmit`]. If it gave bytes, drop what
//!    the port holds unread (serial lines only), write them, and call [`Line::handle_sent`] when the kernel has them all.
//! 2. Arm one timer to [`Line::poll_timeout`]; when it fires call [`Line::handle_timeout`].
//! 3. On [`Output::ClosePort`] close the port, call [`Line::handle_closed`], open it again, call [`Line::handle_opened`].
//! 4. On [`Output::Characters`] let the port drain, set it so, and call [`Line::handle_switched`].
//! 5. Give the readings of each [`Output::Sample`] back to [`Line::recycle`], so that polling allocates nothing.
//!
//! What it is not: it knows no protocol. Requests, replies and points are the [`Driver`](gatehouse_core::Driver)'s.
//! Start reading at [`Line`] (`machine.rs`), then `turn.rs` (who goes next), `receive.rs` (bytes to a verdict) and
//! `settle.rs` (what follows). The rules are one file each: `cadence.rs` due times, `turnaround.rs` learned timeouts,
//! `tuning.rs` devices whose characters differ, `late.rs` late replies, `dead.rs` lost devices, `foreign.rs` other masters,
//! `hush.rs` what no trace tells, `command.rs` the command lane.

mod cadence;
mod command;
mod dead;
mod device;
mod flight;
mod foreign;
mod hush;
mod late;
mod machine;
pub mod output;
mod poll;
mod receive;
pub mod settings;
mod settle;
pub mod stats;
pub mod trace;
mod tuning;
mod turn;
mod turnaround;

pub use device::LineDevice;
pub use machine::Line;
pub use output::{CloseReason, Command, CommandRefusal, CommandResult, Output, Wake};
pub use settings::{Characters, DeviceSettings, Echo, LineSettings, Medium, Parity, Wire};
pub use stats::{DeviceState, DeviceStatus, LineStats};
pub use trace::{Direction, TraceFrame, Verdict};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
