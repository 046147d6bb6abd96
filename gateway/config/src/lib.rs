//! The site file: read, checked in one run, and turned into a [`Site`] that needs no further checks.
//!
//! Start with [`load`]. A [`Site`] is plain data in the order of the file; a [`Problem`] tells an installer where the
//! file is wrong and what to write instead.

pub mod box_io;
pub mod code;
mod degraded;
mod diff;
mod driver;
pub mod forecast;
mod load;
pub mod problem;
mod read;
mod sink;
pub mod site;
pub mod units;

pub use box_io::BoxIoSettings;
pub use degraded::{Degraded, Escalation, IntervalChange};
pub use diff::SiteDiff;
pub use driver::{cost, driver, language};
pub use gatehouse_drivers::line::settings::{Characters, Parity};
pub use gatehouse_drivers::modbus::Framing;
pub use load::{Loaded, add_folder, check, load, relays};
pub use problem::{Problem, Problems, Severity, render};
pub use site::{
    ApiSettings, Bus, ClockSettings, CoreTime, Device, Group, Labels, MeterConfig, ModbusStation, OsdpStation,
    PointConfig, PortKind, RegisterConfig, SerialSource, Site, Station,
};
