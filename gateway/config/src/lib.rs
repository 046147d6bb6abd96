//! The site file: read, checked in one run, and turned into a [`Site`] that needs no further checks.
//!
//! Start with [`load`]. A [`Site`] is plain data in the order of the file; a [`Problem`] tells an installer where the
//! file is wrong and what to write instead.

pub mod problem;
pub mod site;

pub use problem::{Problem, Problems, Severity};
pub use site::{
    ApiSettings, Bus, ClockSettings, CoreTime, Device, Framing, Group, Labels, Parity, PointConfig, PortKind,
    SerialSource, Site,
};
