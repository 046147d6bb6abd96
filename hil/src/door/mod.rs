//! A simulated UHPPOTE controller: doors, a list of cards, a ring of events, and a network that loses datagrams.
//!
//! Written from the facts of the protocol, with an encoder of its own. [`board`] is the controller, [`net`] serves it on a
//! port of 127.0.0.1.

pub mod board;
pub mod net;

pub use board::{Board, Swipe};
pub use net::{DoorNet, Weather};
