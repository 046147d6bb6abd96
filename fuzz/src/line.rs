//! The line with a device of each serial protocol, and a wire on which anything may happen.

use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Driver, Mono, PointIx};
use gatehouse_drivers::cjt188::{self, Cjt188Meter};
use gatehouse_drivers::dlt645::{self, Dlt645Meter};
use gatehouse_drivers::line::{Command, DeviceSettings, Echo, Line, LineDevice, LineSettings, Medium, Output, Wire};
use gatehouse_drivers::modbus::{Cost, Framing, ModbusDevice};
use gatehouse_drivers::osdp::{OsdpPoint, OsdpReader, ReaderSettings};
use gatehouse_drivers::profile::{Limits, embedded};

use crate::script::Script;

/// So many events are a story.
const EVENTS: usize = 200;
/// Most outputs that one event can cause: each device's state, sample and command, and the port.
const OUTPUTS: usize = 64;

/// Runs an input: the medium, then one byte for each event and what comes with it.
///
/// # Panics
/// When the line panics or has no end of things to say.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let chosen = script.byte();
    let echo = [Echo::Detect, Echo::Off, Echo::On][usize::from(chosen >> 2) % 3];
    let wire = Wire { baud: 9600, char_bits: 11, echo, silence: None };
    let medium = [Medium::Serial(wire), Medium::RtuOverTcp, Medium::Tcp][usize::from(chosen & 3) % 3];
    let mut now = Mono::from_millis(1000);
    let mut line = Line::new(LineSettings::new(medium), devices(medium), 1, now);
    line.handle_opened(now);
    let mut request = Vec::new();
    for id in 0..EVENTS {
        if script.is_over() {
            return;
        }
        match script.byte() & 15 {
            0..=3 => line.handle_bytes(now, script.piece()),
            4 | 5 => now = now + Duration::from_micros(100 * u64::from(script.byte())),
            6..=8 => {
                now = line.poll_timeout().map_or(now, |(at, _)| now.max(at));
                line.handle_timeout(now);
            }
            9 => line.handle_sent(now),
            10 => line.handle_bytes(now, &request),
            11 => {
                line.handle_closed(now);
                line.handle_opened(now);
            }
            12 => {
                let device = DeviceIx(u32::from(script.byte() & 3));
                let expires = now + Duration::from_secs(10);
                line.handle_command(now, Command { id: id as u64, device, action: Action::Read(Vec::new()), expires });
            }
            _ => {
                now = line.poll_timeout().map_or(now, |(at, _)| now.max(at));
                line.handle_timeout(now);
                let mut bytes = Vec::new();
                if line.poll_transmit(now, &mut bytes) {
                    request = bytes;
                    line.handle_sent(now);
                }
            }
        }
        drain(&mut line, now);
    }
}

fn drain(line: &mut Line, now: Mono) {
    for _ in 0..OUTPUTS {
        match line.poll_output() {
            None => return,
            Some(Output::ClosePort { .. }) => {
                line.handle_closed(now);
                line.handle_opened(now);
            }
            Some(Output::Characters { .. }) => line.handle_switched(now),
            Some(Output::Sample { readings, .. }) => line.recycle(readings),
            Some(Output::DeviceState { .. } | Output::CommandDone { .. }) => {}
        }
    }
    panic!("more than {OUTPUTS} outputs of one event");
}

fn devices(medium: Medium) -> Vec<LineDevice> {
    let framing = if medium == Medium::Tcp { Framing::Tcp } else { Framing::Rtu };
    let mut drivers: Vec<Box<dyn Driver>> = Vec::new();
    drivers.extend(modbus(framing));
    if medium != Medium::Tcp {
        drivers.extend([electricity(), water(), reader()].into_iter().flatten());
    }
    let intervals = vec![Duration::from_secs(1)];
    let settings = DeviceSettings { intervals, timeout_ceiling: None, characters: None, pauses_with: None };
    let device = |(at, driver)| LineDevice { ix: DeviceIx(at), settings: settings.clone(), driver };
    (0..).zip(drivers).map(device).collect()
}

fn first(count: u16) -> Vec<PointIx> {
    (0..count).map(PointIx).collect()
}

fn profile(name: &str) -> Option<&'static gatehouse_drivers::profile::Profile> {
    embedded().iter().find(|known| known.name == name).map(|known| &**known.profile())
}

fn modbus(framing: Framing) -> Option<Box<dyn Driver>> {
    let points: Vec<_> = profile("eastron-sdm120")?.points.iter().filter_map(|point| point.modbus().cloned()).collect();
    let cost = Cost::tcp(Duration::from_millis(5));
    let device = ModbusDevice::new(framing, 1, points, vec![first(4)], Limits::default(), cost).ok()?;
    Some(Box::new(device))
}

fn electricity() -> Option<Box<dyn Driver>> {
    let points: Vec<_> = profile("dlt645-2007-1p")?.points.iter().filter_map(|point| point.dlt645().copied()).collect();
    let settings = dlt645::MeterSettings {
        edition: dlt645::Edition::V2007,
        address: dlt645::Address::from_wire([1, 0, 0, 0, 0, 0]),
        preamble: 1,
        pause: Duration::ZERO,
        access: None,
    };
    Some(Box::new(Dlt645Meter::new(settings, points, &[first(2)])))
}

fn water() -> Option<Box<dyn Driver>> {
    let profile = profile("cjt188-cold-water")?;
    let points: Vec<_> = profile.points.iter().filter_map(|point| point.cjt188().copied()).collect();
    let settings = cjt188::MeterSettings {
        edition: cjt188::Edition::V2018,
        address: cjt188::Address::from_wire([1, 0, 0, 0, 0, 0, 0]),
        preamble: 1,
        pause: Duration::ZERO,
        traits: profile.meter,
    };
    Some(Box::new(Cjt188Meter::new(settings, points, &[first(2)])))
}

fn reader() -> Option<Box<dyn Driver>> {
    let settings = ReaderSettings { address: 5, crc: true, mark: true, keyed: false };
    Some(Box::new(OsdpReader::new(settings, [OsdpPoint::Card, OsdpPoint::Cards], &[first(2)])))
}
