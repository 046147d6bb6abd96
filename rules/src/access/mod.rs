//! Credentials, and who may pass a gate.

pub mod credential;
mod hex;
pub mod plate;
pub mod roll;
pub mod seal;
pub mod snapshot;
mod table;
pub mod wiegand;
