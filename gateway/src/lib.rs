//! The `gatehouse` command: the daemon of a property site's edge box, and the tools around it.
//!
//! Where to start reading: [`daemon::run`] wires the pure crates to the world; [`daemon::bus`] moves bytes and time;
//! [`api`] is the daemon's face; [`cli`] holds one file per command.
//!
//! Exit codes: 0 ok, 1 unexpected, 2 usage, 3 configuration, 4 device or link, 5 store.

pub mod api;
pub mod cli;
pub mod daemon;
mod pcap;
