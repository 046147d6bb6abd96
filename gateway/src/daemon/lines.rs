//! From the site file to lines: the drivers of a bus and the machine that runs them.

use std::time::Duration;

use gatehouse_config::{Bus, Device};
use gatehouse_core::{DeviceIx, Mono};
use gatehouse_drivers::line::{DeviceSettings, Line, LineDevice};
use gatehouse_drivers::osdp::Secrets;

use super::reader_keys::{ReaderKeys, secrets};

/// Due times of different lines fall on this grid, so that one wake of the processor serves several of them: waking costs
/// more than asking.
const GRID: Duration = Duration::from_millis(200);

/// The line of a bus with its devices; `secrets` are what its readers go by. `position` of the bus in the site spreads the due times of all lines over their
/// intervals, in steps of the grid that counts from `started`.
pub fn line<'a>(
    (position, bus): (usize, &Bus),
    devices: impl Iterator<Item = (DeviceIx, &'a Device)> + Clone,
    seed: u64,
    mut secrets: impl FnMut(DeviceIx, &Device) -> Secrets,
    (started, now): (Mono, Mono),
) -> Line {
    let shortest = devices.clone().flat_map(|(_, device)| device.groups.iter().map(|g| g.interval)).min();
    let mut settings = bus.line.clone();
    settings.phase = on_grid(shortest.unwrap_or_default().mul_f64(spread(position)));
    let devices = devices.map(|(ix, device)| LineDevice {
        ix,
        settings: device.line_settings(),
        driver: gatehouse_config::driver(bus, device, secrets(ix, device)),
    });
    Line::new(settings, devices.collect(), seed, started + on_grid(now.since(started)))
}

/// The last point of the grid at or before `time`.
fn on_grid(time: Duration) -> Duration {
    GRID * u32::try_from(time.as_nanos() / GRID.as_nanos()).unwrap_or(u32::MAX)
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
    let driver = gatehouse_config::driver(bus, &quiet, secrets(ReaderKeys::default().held(device).as_ref(), device));
    Line::new(bus.line.clone(), vec![LineDevice { ix: DeviceIx(0), settings, driver }], seed, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_lines_share_five_instants_of_a_second_evenly() {
        let phase = |position| on_grid(Duration::from_secs(1).mul_f64(spread(position)));
        let mut used = [0; 5];
        for position in 0..50 {
            let slot = phase(position).as_millis() / 200;
            used[usize::try_from(slot).unwrap()] += 1;
        }
        assert!(used.iter().all(|lines| (9..=11).contains(lines)), "{used:?}");
        assert_eq!(phase(0), Duration::ZERO, "the first line begins at once");
    }
}
