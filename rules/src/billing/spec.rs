//! What the site file says of meters that bills are made of.

use std::time::Duration;

use gatehouse_core::{Decimal, DeviceIx, Name, PointIx};

use crate::catalog::PointRef;

/// Most billing points of one device: what is kept of them fits into one value of the journal.
pub const MOST_REGISTERS: usize = 40;
/// Most fixed-clock readings of a site.
pub const MOST_READINGS: usize = 8;

/// Everything of a site that bills are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BillingSetup {
    /// Devices with billing points, in the order of the site file.
    pub meters: Vec<MeterSpec>,
    /// Readings at fixed times; at most [`MOST_READINGS`].
    pub readings: Vec<ReadingSpec>,
    /// Masters with their submeters (公摊).
    pub balances: Vec<BalanceSpec>,
}

/// A device with billing points.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterSpec {
    /// The device.
    pub device: DeviceIx,
    /// Its billing points, ascending; at most [`MOST_REGISTERS`].
    pub registers: Vec<RegisterSpec>,
    /// The serial number of the meter that was there first; `None`: not said.
    pub serial: Option<String>,
    /// The ratio of current and voltage transformers of the meter that was there first; `None`: not said.
    pub multiplier: Option<Decimal>,
    /// The point that reads the meter's serial number or address.
    pub serial_point: Option<PointIx>,
    /// True where the meter may keep daily freezes that can be read afterwards.
    pub freezes: bool,
    /// What the meter records itself and is fetched after outages; `None`: nothing.
    pub load: Option<LoadSpec>,
    /// True where the `scale` of a billing point is no power of ten, so that a ratio may be in it already.
    pub ratio_in_scale: bool,
}

/// The load records of a meter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadSpec {
    /// From one record to the next: whole minutes, into which an hour divides.
    pub every: Duration,
    /// The points that a record has, ascending, billing points or not.
    pub points: Vec<(PointIx, Name)>,
}

/// A billing point.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterSpec {
    /// The point.
    pub point: PointIx,
    /// Its name.
    pub name: Name,
    /// True for what only counts up. Demands and balances of two directions do not.
    pub counter: bool,
    /// Where the register begins anew at zero: one more than its last value would be.
    pub rollover: Option<Decimal>,
    /// The most that can be counted within an hour.
    pub max_per_hour: Option<Decimal>,
}

/// How often a fixed-clock reading is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Each day.
    Day,
    /// On this day of each month, 1 to 28.
    Month(u8),
}

/// A reading at a fixed time of the site's zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingSpec {
    /// Its name, unique in the site.
    pub name: Name,
    /// On which days.
    pub every: Every,
    /// Hour and minute of the site's zone.
    pub at: (u8, u8),
    /// How long after that a meter is still read live.
    pub wait: Duration,
    /// Which points of which devices; each device once.
    pub of: Vec<(DeviceIx, Vec<PointIx>)>,
}

/// A master meter, and the meters behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct BalanceSpec {
    /// Its name.
    pub id: Name,
    /// The master's register.
    pub master: PointRef,
    /// The registers of the submeters.
    pub submeters: Vec<PointRef>,
}

impl MeterSpec {
    /// The billing point at `point`, and its place among them.
    pub fn register(&self, point: PointIx) -> Option<(usize, &RegisterSpec)> {
        self.registers.iter().enumerate().find(|(_, register)| register.point == point)
    }

    /// The billing point with this name.
    pub fn register_by_name(&self, name: &str) -> Option<(usize, &RegisterSpec)> {
        self.registers.iter().enumerate().find(|(_, register)| register.name == *name)
    }
}
