//! From a configured device to its driver.

use std::time::Duration;

use gatehouse_drivers::modbus::planner::PlanError;
use gatehouse_drivers::modbus::point::PointSpec;
use gatehouse_drivers::modbus::{Cost, ModbusDevice};

use crate::site::{Bus, Device};

/// The driver of a device on its bus, with its requests planned.
///
/// # Panics
/// When the device's points and limits were changed after its site file was checked.
pub fn driver(bus: &Bus, device: &Device) -> ModbusDevice {
    let planned = plan(bus, device).expect("a checked site file has only points that can be read");
    planned.with_commands(device.commands.clone())
}

/// Plans the requests of a device.
pub(crate) fn plan(bus: &Bus, device: &Device) -> Result<ModbusDevice, PlanError> {
    // What only people read stays with the site; a site of thousands of points would hold it twice.
    let bare =
        |spec: &PointSpec| PointSpec { unit: String::new(), note: String::new(), bits: Vec::new(), ..spec.clone() };
    let specs: Vec<_> = device.points.iter().map(|point| bare(&point.spec)).collect();
    let groups = device.groups.iter().map(|group| group.points.clone()).collect();
    ModbusDevice::new(bus.framing, device.unit, specs, groups, device.limits.clone(), cost(bus, device))
}

/// What requests to a device cost: wire time, silences and turnaround, or round trips.
pub fn cost(bus: &Bus, device: &Device) -> Cost {
    let pause = Duration::from_millis(u64::from(device.limits.pause_ms));
    match &bus.wire {
        Some(wire) => Cost::serial(wire, bus.turnaround, pause),
        None => Cost::tcp(bus.turnaround + pause),
    }
}
