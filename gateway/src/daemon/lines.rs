//! From the site file to lines: the drivers of a bus and the machine that runs them.

use gatehouse_config::{Bus, Device};
use gatehouse_core::{DeviceIx, Mono};
use gatehouse_drivers::line::{DeviceSettings, Line, LineDevice};

/// The line of a bus with its devices. `position` of the bus in the site spreads the due times of all lines, so that a
/// site of fifty one-device lines does not ask all of them in the same instant.
pub fn line<'a>(
    (position, bus): (usize, &Bus),
    devices: impl Iterator<Item = (DeviceIx, &'a Device)> + Clone,
    seed: u64,
    now: Mono,
) -> Line {
    let shortest = devices.clone().flat_map(|(_, device)| device.groups.iter().map(|g| g.interval)).min();
    let mut settings = bus.line.clone();
    settings.phase = shortest.unwrap_or_default().mul_f64(spread(position));
    let devices = devices.map(|(ix, device)| LineDevice {
        ix,
        settings: device.line_settings(),
        driver: Box::new(gatehouse_config::driver(bus, device)),
    });
    Line::new(settings, devices.collect(), seed, now)
}

/// Fractions of one that keep away from each other however many there are: multiples of the golden ratio.
fn spread(position: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    #[expect(clippy::cast_precision_loss, reason = "positions are small")]
    let turns = position as f64 * GOLDEN;
    turns.fract()
}

/// A line that polls nothing and takes commands for one device.
pub fn quiet_line(bus: &Bus, device: &Device, seed: u64, now: Mono) -> Line {
    let mut quiet = device.clone();
    quiet.groups.clear();
    let settings = DeviceSettings { intervals: Vec::new(), ..device.line_settings() };
    let driver = Box::new(gatehouse_config::driver(bus, &quiet));
    Line::new(bus.line.clone(), vec![LineDevice { ix: DeviceIx(0), settings, driver }], seed, now)
}
