//! Readings to decisions: which readings are worth a record.
//!
//! Pure: no I/O, no clock, no tasks; time is an argument. Start with [`report::Reporter`].

pub mod report;
