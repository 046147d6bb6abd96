//! Credentials, and who may pass a gate.

pub mod credential;
mod hex;
pub mod plate;
pub mod seal;
mod table;
pub mod wiegand;
