//! Whole-system tests: real processes, real ports, real brokers, peers that nobody here wrote.
//!
//! This crate is the stage: it starts and ends processes and keeps the receiver's books. The tests are in `tests/tests/`.
//! `./tests/run` installs what they need. Start with [`Stage`], then [`Ledger`].

// A stage that cannot be set up has nothing to return to: here as in tests a panic is the report.
#![allow(clippy::unwrap_used, clippy::panic)]

mod broker;
mod core;
mod gateway;
mod ledger;
mod process;
mod reader;
mod slave;
mod stage;

pub use broker::{Broker, Security, Subscriber};
pub use core::Core;
pub use gateway::{Gateway, gatehouse};
pub use ledger::{Ledger, Record};
pub use process::{Process, SECONDS, eventually};
pub use reader::Reader;
pub use slave::{PTY_BAUD, Pty, Slave, python};
pub use stage::Stage;
