//! From the site file to lines: the drivers of a bus and the machine that runs them.

use gatehouse_config::{Bus, Device};
use gatehouse_core::{DeviceIx, Mono};
use gatehouse_drivers::line::{DeviceSettings, Line, LineDevice};

/// The line of a bus with its devices.
pub fn line<'a>(bus: &Bus, devices: impl Iterator<Item = (DeviceIx, &'a Device)>, seed: u64, now: Mono) -> Line {
    let devices = devices.map(|(ix, device)| LineDevice {
        ix,
        settings: device.line_settings(),
        driver: Box::new(gatehouse_config::driver(bus, device)),
    });
    Line::new(bus.line.clone(), devices.collect(), seed, now)
}

/// A line that polls nothing and takes commands for one device.
pub fn quiet_line(bus: &Bus, device: &Device, seed: u64, now: Mono) -> Line {
    let mut quiet = device.clone();
    quiet.groups.clear();
    let settings = DeviceSettings { intervals: Vec::new(), ..device.line_settings() };
    let driver = Box::new(gatehouse_config::driver(bus, &quiet));
    Line::new(bus.line.clone(), vec![LineDevice { ix: DeviceIx(0), settings, driver }], seed, now)
}
