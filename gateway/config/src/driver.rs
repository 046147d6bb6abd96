//! From a configured device to its driver.

use std::time::Duration;

use gatehouse_core::{Driver, PointIx};
use gatehouse_drivers::cjt188::{self, Cjt188Meter};
use gatehouse_drivers::dissect::Language;
use gatehouse_drivers::dlt645::{Dlt645Meter, MeterSettings};
use gatehouse_drivers::modbus::planner::PlanError;
use gatehouse_drivers::modbus::{Cost, ModbusDevice};
use gatehouse_drivers::osdp::{OsdpReader, Secrets};
use gatehouse_drivers::summary::StepSummary;
use gatehouse_drivers::uhppote::{UhppoteController, UhppoteSettings};

use crate::site::{Bus, Device, ModbusStation, OsdpStation, Station};

/// The driver of a device on its bus, with its requests planned; `secrets` are an OSDP reader's.
///
/// # Panics
/// When the device's points and limits were changed after its site file was checked.
pub fn driver(bus: &Bus, device: &Device, secrets: Secrets) -> Box<dyn Driver> {
    match &device.station {
        Station::Modbus(station) => {
            let planned = plan_modbus(bus, device, station).expect(PLANNED);
            let mut driver = planned.with_commands(station.commands.clone());
            driver.set_personal(device.is_personal());
            Box::new(driver)
        }
        Station::Dlt645(settings) => Box::new(meter(device, settings)),
        Station::Cjt188(settings) => Box::new(pipe_meter(device, settings)),
        Station::Osdp(station) => Box::new(reader(device, station, secrets)),
        Station::Uhppote(station) => Box::new(controller(device, station.settings)),
        Station::Own(_) => unreachable!("{NO_BUS}"),
    }
}

/// How frames to and from a device are read; `None` for the box itself.
pub fn language(bus: &Bus, device: &Device) -> Option<Language> {
    match &device.station {
        Station::Modbus(_) => Some(Language::Modbus(bus.framing)),
        Station::Dlt645(settings) => Some(Language::Dlt645(settings.edition)),
        Station::Cjt188(settings) => Some(Language::Cjt188(settings.traits)),
        Station::Osdp(_) => Some(Language::Osdp),
        Station::Uhppote(_) => Some(Language::Uhppote),
        Station::Own(_) => None,
    }
}

const NO_BUS: &str = "the box itself is on no bus";
const PLANNED: &str = "a checked site file has only points that can be read";

/// The requests of each group of a device.
pub(crate) fn plan_summary(bus: &Bus, device: &Device) -> Vec<Vec<StepSummary>> {
    match &device.station {
        Station::Modbus(station) => plan_modbus(bus, device, station).expect(PLANNED).plan_summary(),
        Station::Dlt645(settings) => meter(device, settings).plan_summary(),
        Station::Cjt188(settings) => pipe_meter(device, settings).plan_summary(),
        Station::Osdp(station) => reader(device, station, Secrets::default()).plan_summary(),
        Station::Uhppote(station) => controller(device, station.settings).plan_summary(),
        Station::Own(_) => Vec::new(),
    }
}

/// Why a device's requests cannot be planned, if they cannot.
pub(crate) fn plan_trouble(bus: &Bus, device: &Device) -> Option<PlanError> {
    match &device.station {
        Station::Modbus(station) => plan_modbus(bus, device, station).err(),
        Station::Dlt645(_) | Station::Cjt188(_) | Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_) => None,
    }
}

fn plan_modbus(bus: &Bus, device: &Device, station: &ModbusStation) -> Result<ModbusDevice, PlanError> {
    let points: Vec<_> = device.points.iter().filter_map(|point| point.spec.modbus().cloned()).collect();
    let groups: Vec<Vec<PointIx>> = device.groups.iter().map(|group| group.points.clone()).collect();
    ModbusDevice::new(bus.framing, station.unit, points, groups, station.limits.clone(), cost(bus, device))
}

fn meter(device: &Device, settings: &MeterSettings) -> Dlt645Meter {
    let points: Vec<_> = device.points.iter().filter_map(|point| point.spec.dlt645().copied()).collect();
    let groups: Vec<Vec<PointIx>> = device.groups.iter().map(|group| group.points.clone()).collect();
    Dlt645Meter::new(settings.clone(), points, &groups)
}

/// A meter of water, heat or gas.
fn pipe_meter(device: &Device, settings: &cjt188::MeterSettings) -> Cjt188Meter {
    let points: Vec<_> = device.points.iter().filter_map(|point| point.spec.cjt188().copied()).collect();
    let groups: Vec<Vec<PointIx>> = device.groups.iter().map(|group| group.points.clone()).collect();
    Cjt188Meter::new(settings.clone(), points, &groups)
}

fn reader(device: &Device, station: &OsdpStation, secrets: Secrets) -> OsdpReader {
    let points: Vec<_> = device.points.iter().filter_map(|point| point.spec.osdp()).collect();
    let groups: Vec<Vec<PointIx>> = device.groups.iter().map(|group| group.points.clone()).collect();
    OsdpReader::with_secrets(station.settings.clone(), points, &groups, secrets)
}

fn controller(device: &Device, settings: UhppoteSettings) -> UhppoteController {
    let points: Vec<_> = device.points.iter().filter_map(|point| point.spec.uhppote()).collect();
    let groups: Vec<Vec<PointIx>> = device.groups.iter().map(|group| group.points.clone()).collect();
    UhppoteController::new(settings, points, &groups)
}

/// What requests to a device cost: wire time, silences and turnaround, or round trips.
pub fn cost(bus: &Bus, device: &Device) -> Cost {
    let pause = match &device.station {
        Station::Modbus(station) => Duration::from_millis(u64::from(station.limits.pause_ms)),
        Station::Dlt645(settings) => settings.pause,
        Station::Cjt188(settings) => settings.pause,
        Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_) => Duration::ZERO,
    };
    match bus.wire_of(device) {
        Some(wire) => Cost::serial(&wire, bus.turnaround, pause),
        None => Cost::tcp(bus.turnaround + pause),
    }
}
