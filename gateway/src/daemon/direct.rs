//! Reading, writing and listening without a daemon: the command opens the port itself, for one device and one command, or
//! to hear what others say.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use gatehouse_config::{Bus, Device, Framing, PortKind, Site, Station};
use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Mono, PointIx, PointReading, RegisterRow};
use gatehouse_drivers::dissect::Language;
use gatehouse_drivers::line::{Command, CommandResult, Output};
use gatehouse_drivers::listen::Listener;
use gatehouse_rules::{Engine, PointRef};
use tokio::sync::oneshot;

use super::bus::{self, BusHandle, Sink};
use super::clock::Clock;
use super::command::{identify_answer, read_answer, registers_answer, write_action, write_answer};
use super::device::nearest;
use super::lines;
use super::load::{load_action, load_answer};
use super::port::Port;
use super::wire;
use crate::api::doc;
use crate::api::server::LoadBody;
use crate::cli::{Failure, exit};

/// How long the port may take to open.
const OPEN: Duration = Duration::from_secs(6);
/// How long the one command may take.
const TTL: Duration = Duration::from_secs(10);
/// Bytes of a frame follow each other sooner than this, also through an adapter that hands them over in pieces.
const PAUSE: Duration = Duration::from_millis(50);
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
    let asked = if let Action::Read(points) = &action { points.clone() } else { Vec::new() };
    let (at, result) = Session::open(bus, device).await?.ask(action).await?;
    read_answer(device, at, &asked, result).map_err(|r| Failure::error(exit::DEVICE, r.message))
}

/// Reads registers of a device that need not be in the site file.
///
/// # Errors
/// When the port cannot be opened, or the device cannot be asked.
pub async fn registers(bus: &Bus, device: &Device, row: RegisterRow) -> anyhow::Result<doc::RegistersAnswer> {
    let (_, result) = Session::open(bus, device).await?.ask(Action::Registers(row)).await?;
    registers_answer(device, row, result).map_err(|r| Failure::error(exit::DEVICE, r.message))
}

/// Reads load records of a meter.
///
/// # Errors
/// When the port cannot be opened, or the meter gives none.
pub async fn load_records(site: &Site, device: &str, body: &LoadBody) -> anyhow::Result<doc::LoadAnswer> {
    let (bus, device) = find(site, device)?;
    let action = load_action(device, body).map_err(|r| Failure::error(exit::USAGE, r.message))?;
    let (_, result) = Session::open(bus, device).await?.ask(action).await?;
    load_answer(device, result).map_err(|r| Failure::error(exit::DEVICE, r.message))
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

/// Opens the port of a bus and listens to it, until `tell` has heard enough. Nothing is ever sent.
///
/// # Errors
/// When nobody else can be heard on such a port, or it cannot be opened or is lost; what `tell` says.
pub async fn listen(
    site: &Site,
    bus: &str,
    mut tell: impl FnMut(doc::Frame) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let found = site.buses.iter().position(|known| known.id == *bus).and_then(|at| Some((at, site.buses.get(at)?)));
    let Some((at, bus)) = found else {
        let hint = nearest(bus, site.buses.iter().map(|bus| bus.id.as_str()));
        return Err(Failure::error(exit::USAGE, format!("the site has no bus {bus:?}{hint}")));
    };
    let is_shared = match &bus.port {
        PortKind::Serial { .. } => true,
        PortKind::Tcp { .. } => bus.framing != Framing::Tcp,
        PortKind::Udp { .. } => false,
    };
    if !is_shared {
        let text = format!("bus {}: no daemon runs, and on {} nobody else is heard", bus.id, bus.port);
        return Err(Failure::error(exit::DEVICE, text));
    }
    let mut languages: Vec<Language> = Vec::new();
    for language in site.devices_on(at).filter_map(|(_, device)| gatehouse_config::language(bus, device)) {
        if !languages.contains(&language) {
            languages.push(language);
        }
    }
    let personal = site.devices_on(at).filter_map(|(_, device)| match &device.station {
        Station::Modbus(station) => device.is_personal().then_some(station.unit),
        Station::Dlt645(_) | Station::Cjt188(_) | Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_) => None,
    });
    let personal: Vec<u8> = personal.collect();
    let failed =
        |why: &dyn std::fmt::Display| Failure::error(exit::DEVICE, format!("bus {}: {}: {why}", bus.id, bus.port));
    let opened = tokio::time::timeout(OPEN, Port::open(&bus.port)).await;
    let mut port = opened.map_err(|_| failed(&"it does not open"))?.map_err(|why| failed(&why))?;
    let (clock, mut listener, mut seq) = (Clock::open(), Listener::new(languages).with_personal(personal), 0);
    let mut bytes = [0; 512];
    loop {
        let read = std::future::poll_fn(|cx| port.poll_read(cx, &mut bytes));
        match tokio::time::timeout(PAUSE, read).await {
            Ok(Ok(0)) => return Err(failed(&"the other side closed the connection")),
            Ok(Ok(count)) => listener.handle_bytes(bytes.get(..count).unwrap_or_default()),
            Ok(Err(why)) => return Err(failed(&why)),
            Err(_) => listener.handle_pause(),
        }
        let at_us = clock.stamp(clock.mono()).wall.0;
        while let Some(heard) = listener.poll_frame() {
            seq += 1;
            if !tell(wire::heard_doc(seq, at_us, &heard))? {
                return Ok(());
            }
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

#[cfg(test)]
mod tests {
    use gatehouse_drivers::profile::Library;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn site(port: &str) -> Site {
        let text = format!(
            "[site]\nid = \"box\"\n[[bus]]\nid = \"riser\"\n{port}\n[[device]]\nid = \"meter\"\nunit = 1\n\
             profile = \"eastron-sdm120\"\n"
        );
        gatehouse_config::check("site.toml", &text, std::path::Path::new(""), &Library::new()).unwrap().site
    }

    #[tokio::test]
    async fn listening_tells_what_others_say_and_sends_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = site(&format!("rtu_over_tcp = \"127.0.0.1:{port}\""));
        let others = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"\x01\x04\x00\x00\x00\x02\x71\xCB\x01\x04\x04\x43\x66\x33\x34\x1B\x38").await.unwrap();
            let mut sent = Vec::new();
            stream.read_to_end(&mut sent).await.unwrap();
            sent
        };
        let mut frames = Vec::new();
        let heard = listen(&site, "riser", |frame| {
            frames.push((frame.verdict, frame.bytes));
            Ok(frames.len() < 2)
        });
        let (heard, sent) = tokio::join!(heard, others);
        heard.unwrap();
        assert!(sent.is_empty(), "it only listens: {sent:02x?}");
        let expected = [("request", "01 04 00 00 00 02 71 cb"), ("reply", "01 04 04 43 66 33 34 1b 38")];
        assert_eq!(frames, expected.map(|(verdict, bytes)| (verdict.to_owned(), bytes.to_owned())));
    }

    #[tokio::test]
    async fn where_nobody_else_can_be_heard_it_says_so() {
        let site = site("tcp = \"127.0.0.1:1\"");
        let refused = listen(&site, "riser", |_| Ok(true)).await.unwrap_err();
        assert!(refused.to_string().contains("nobody else is heard"), "{refused}");
        let refused = listen(&site, "risr", |_| Ok(true)).await.unwrap_err();
        assert!(refused.to_string().contains("did you mean \"riser\"?"), "{refused}");
    }
}
