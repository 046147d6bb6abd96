//! Finds what is on a line: which protocols, line settings and addresses, and as far as can be told which models.
//!
//! Start with [`Scan`], the machine; [`Plan`] says what it tries in which order, [`Finding`] what it found. It only ever
//! reads: nothing that it sends changes a device, and on a line on which somebody else talks it sends nothing.
//! What it is not: a poller. `modbus/scan.rs`, which looks for frames in bytes, is something else.

mod controllers;
mod finding;
mod fingerprint;
mod heard;
mod job;
mod late;
mod listen;
mod machine;
mod often;
mod patience;
mod plan;
mod proxies;
mod question;
mod quiet;
mod settle;
mod socket;
mod study;
mod trial;
mod unasked;
mod usual;
mod wildcard;

#[cfg(test)]
mod tests;

pub use controllers::Controllers;
pub use finding::{Clash, ClashSign, Finding, Found, Model, Station};
pub use machine::{End, Progress, Scan, Want};
pub use plan::{Channel, Options, Plan};
pub use unasked::Unasked;
