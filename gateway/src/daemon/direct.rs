//! Reading and writing without a daemon: the command opens the port itself, for one device and one command.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use gatehouse_config::{Bus, Device, Site};
use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Mono, PointIx, PointReading};
use gatehouse_drivers::line::{Command, CommandResult, Output};
use gatehouse_rules::{Engine, PointRef};
use tokio::sync::oneshot;

use super::bus::{self, BusHandle, Sink};
use super::clock::Clock;
use super::command::{identify_answer, read_answer, write_action, write_answer};
use super::device::nearest;
use super::lines;
use crate::api::doc;
use crate::cli::{Failure, exit};

/// How long the port may take to open.
const OPEN: Duration = Duration::from_secs(6);
/// How long the one command may take.
const TTL: Duration = Duration::from_secs(10);
/// How long its end may take beyond that.
const LAST: Duration = Duration::from_secs(20);

/// The device with this id and its bus.
///
/// # Errors
/// With the nearest id.
pub fn find<'a>(site: &'a Site, id: &str) -> anyhow::Result<(&'a Bus, &'a Device)> {
    let device = site.device_by_id(id).map(|(_, device)| device);
    if device.is_some_and(|device| device.bus.is_none()) {
        let text = format!("{id} is the box itself: its contacts are the daemon's, and none runs here");
        return Err(Failure::error(exit::DEVICE, text));
    }
    let found = device.and_then(|device| Some((site.buses.get(device.bus?)?, device)));
    found.ok_or_else(|| {
        let hint = nearest(id, site.devices.iter().map(|d| d.id.as_str()));
        Failure::error(exit::USAGE, format!("the site has no device {id:?}{hint}"))
    })
}

/// Reads points of a device.
///
/// # Errors
/// When the port cannot be opened, or the device cannot be asked.
pub async fn read(site: &Site, device: &Device, action: Action) -> anyhow::Result<doc::ReadAnswer> {
    let (bus, _) = find(site, &device.id)?;
    read_on(bus, device, action).await
}

/// Reads points of a device that need not be in the site file.
///
/// # Errors
/// When the port cannot be opened, or the device cannot be asked.
pub async fn read_on(bus: &Bus, device: &Device, action: Action) -> anyhow::Result<doc::ReadAnswer> {
    let asked = if let Action::Read(points) = &action { points.clone() } else { Vec::new() };
    let (at, result) = Session::open(bus, device).await?.ask(action).await?;
    read_answer(device, at, &asked, result).map_err(|r| Failure::error(exit::DEVICE, r.message))
}

/// Asks a device who it is.
///
/// # Errors
/// When the port cannot be opened, or the device does not tell.
pub async fn identify(site: &Site, device: &str) -> anyhow::Result<doc::IdentifyAnswer> {
    let (bus, device) = find(site, device)?;
    let (_, result) = Session::open(bus, device).await?.ask(Action::Identify).await?;
    identify_answer(device, result).map_err(|r| Failure::error(exit::DEVICE, r.message))
}

/// Writes a point of a device and reads it back.
///
/// # Errors
/// When the port cannot be opened, or the value cannot be written to the point.
pub async fn write(site: &Site, device: &str, point: &str, value: &str) -> anyhow::Result<doc::WriteAnswer> {
    let (bus, device) = find(site, device)?;
    let (ix, action) = write_action(device, point, value).map_err(|r| Failure::error(exit::USAGE, r.message))?;
    check_reserved(site, device, ix)?;
    let session = Session::open(bus, device).await?;
    // A read first shows the line whether its adapter echoes, without which a write's reply proves nothing.
    session.ask(Action::Read(vec![ix])).await?;
    let (_, result) = session.ask(action).await?;
    Ok(write_answer(device, point, result))
}

/// Refuses to write what a gate works, whoever asks: its interlocks are in the daemon.
fn check_reserved(site: &Site, device: &Device, point: PointIx) -> anyhow::Result<()> {
    let place = site.device_by_id(&device.id).map(|(place, _)| place);
    let engine = Engine::new(&site.rules, 0).ok();
    let (Some(place), Some(engine)) = (place, engine) else { return Ok(()) };
    match engine.reserved(PointRef { device: place, point }) {
        None => Ok(()),
        Some(owner) => {
            let text = format!("the point belongs to {owner}: start the daemon and ask that with `gatehouse command`");
            Err(Failure::error(exit::USAGE, text))
        }
    }
}

/// An open port with a line that serves one device.
struct Session<'a> {
    device: &'a Device,
    handle: BusHandle,
    clock: Rc<Clock>,
    sink: Rc<Last>,
}

impl<'a> Session<'a> {
    async fn open(bus: &Bus, device: &'a Device) -> anyhow::Result<Session<'a>> {
        let clock = Rc::new(Clock::open());
        let sink = Rc::new(Last::default());
        let line = lines::quiet_line(bus, device, clock.mono().0, clock.mono());
        let quiet_until = clock.mono() + bus.line.timeout_ceiling;
        let port = (bus.id.as_str(), bus.port.clone());
        let handle = bus::spawn(port, line, quiet_until, sink.clone(), clock.clone());
        let opened = async {
            while !handle.port.borrow().open {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(OPEN, opened).await.is_err() {
            let why = handle.port.borrow().error.clone().unwrap_or_else(|| "it does not open".to_owned());
            return Err(Failure::error(exit::DEVICE, format!("bus {}: {}: {why}", bus.id, bus.port)));
        }
        Ok(Session { device, handle, clock, sink })
    }

    /// Puts one action to the device and waits for its end.
    async fn ask(&self, action: Action) -> anyhow::Result<(Mono, CommandResult)> {
        let (sender, done) = oneshot::channel();
        *self.sink.0.borrow_mut() = Some(sender);
        let command = Command { id: 0, device: DeviceIx(0), action, expires: self.clock.mono() + TTL };
        let id = &self.device.id;
        let silent = || Failure::error(exit::DEVICE, format!("device {id}: no result within {} s", LAST.as_secs()));
        self.handle.send(command).map_err(|_| silent())?;
        tokio::time::timeout(LAST, done).await.map_err(|_| silent())?.map_err(|_| silent())
    }
}

/// Takes the result of the command under way.
#[derive(Default)]
struct Last(RefCell<Option<oneshot::Sender<(Mono, CommandResult)>>>);

impl Sink for Last {
    fn output(&self, output: Output) -> Option<Vec<PointReading>> {
        if let Output::CommandDone { at, result, .. } = output
            && let Some(sender) = self.0.borrow_mut().take()
        {
            let _ = sender.send((at, result));
        }
        None
    }
}
