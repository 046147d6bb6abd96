//! The line discipline: one physical channel, its devices and whose turn it is.

pub mod settings;
