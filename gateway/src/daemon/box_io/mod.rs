//! The box's own contacts, relays and climate at work: opens their lines, waits for edges and time, and passes on what
//! the pure device says.
//!
//! # What outputs do when the daemon starts, stops and dies
//!
//! `gatehouse_firmware_bridge::relay` has the table. [`spawn`] drives relays to their state at start, [`BoxIo::stop`] to
//! that at the end. A daemon that was killed drives nothing: the kernel closes its lines, and the chip holds them or
//! lets them float. Therefore a stop from outside calls [`all_off`] (`ExecStopPost=`), which also covers the watchdog;
//! pulses of LED outputs end in the kernel in any case.

mod climate;
mod lines;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use gatehouse_config::box_io::{BoxIoSettings, RelaySettings};
use gatehouse_core::{Mono, Name, NoData};
use gatehouse_firmware_bridge::device::MAX_LINES;
use gatehouse_firmware_bridge::relay::AtRestart;
use gatehouse_firmware_bridge::sht3x::Measurement;
use gatehouse_firmware_bridge::{BoxDevice, Command, Opening, Output};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::climate::ClimateThread;
use self::lines::{ContactLine, RelayLine};
use super::clock::Clock;
use super::timer::Timer;

/// How long until a line that never opened is tried again, and one that was lost.
const REOPEN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));
/// Commands that may wait.
const COMMAND_QUEUE: usize = 32;

/// The box's own device as the rest of the daemon sees it. It ends as after [`BoxIo::stop`] when this is dropped.
pub struct BoxIo {
    commands: mpsc::Sender<Command>,
    problems: Rc<RefCell<BTreeMap<Name, String>>>,
    task: JoinHandle<()>,
}

impl BoxIo {
    /// The way to its command lane, for whoever must not keep it from ending.
    pub fn commands(&self) -> BoxCommands {
        BoxCommands(self.commands.downgrade())
    }

    /// The contacts and relays whose lines cannot be opened now, and why.
    pub fn problems(&self) -> BTreeMap<Name, String> {
        self.problems.borrow().clone()
    }

    /// Drives the relays to the state that they have while no daemon runs, and waits until that is done.
    pub async fn stop(self) {
        drop(self.commands);
        if self.task.await.is_err() {
            tracing::error!("the box's own outputs were not brought to rest");
        }
    }
}

/// The way to the box's own device that does not keep it from ending.
#[derive(Debug, Clone)]
pub struct BoxCommands(mpsc::WeakSender<Command>);

impl BoxCommands {
    /// Hands over a command; its result comes as an output.
    ///
    /// # Errors
    /// The command, when too many wait already or the device has ended.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        match self.0.upgrade() {
            Some(commands) => commands.try_send(command).map_err(mpsc::error::TrySendError::into_inner),
            None => Err(command),
        }
    }
}

/// Starts the box's own device on the present local set, once the one `before` has let go of its lines. `told` gets what
/// it says, in the same turn in which an edge came to count; it must be quick.
pub fn spawn(
    settings: BoxIoSettings,
    before: Option<BoxIo>,
    clock: Rc<Clock>,
    told: impl FnMut(Output) + 'static,
) -> BoxIo {
    let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
    let problems = Rc::<RefCell<BTreeMap<Name, String>>>::default();
    let noted = problems.clone();
    let task = tokio::task::spawn_local(async move {
        if let Some(before) = before {
            before.stop().await;
        }
        Task::new(settings, (queue, noted), clock, told).run().await;
    });
    BoxIo { commands, problems, task }
}

/// Drives off every relay that is to be off while no daemon runs; for a daemon that could not do so itself. Gives what
/// stood in the way, a sentence for each relay.
pub fn all_off(relays: &[RelaySettings]) -> Vec<String> {
    let off = relays.iter().filter(|relay| relay.at_restart == AtRestart::Off);
    let driven =
        off.map(|relay| lines::rest(&relay.output).map_err(|why| format!("relay {} may be on: {why}", relay.name)));
    driven.filter_map(Result::err).collect()
}

/// When a line is to be opened.
#[derive(Debug, Clone)]
struct Attempt {
    due: Mono,
    /// It was open once.
    opened: bool,
}

struct Task<T> {
    device: BoxDevice<ContactLine, RelayLine>,
    settings: BoxIoSettings,
    /// Readable when a contact has edges.
    readiness: Vec<Option<AsyncFd<OwnedFd>>>,
    contacts: Vec<Attempt>,
    relays: Vec<Attempt>,
    climate: Option<ClimateThread>,
    problems: Rc<RefCell<BTreeMap<Name, String>>>,
    commands: mpsc::Receiver<Command>,
    timer: Timer,
    clock: Rc<Clock>,
    told: T,
}

/// What a wait ended with.
enum Event {
    /// Edges were taken.
    Edges,
    Measured(Result<Measurement, NoData>),
    Command(Command),
    Timer,
    Stop,
}

impl<T: FnMut(Output)> Task<T> {
    fn new(
        settings: BoxIoSettings,
        (commands, problems): (mpsc::Receiver<Command>, Rc<RefCell<BTreeMap<Name, String>>>),
        clock: Rc<Clock>,
        told: T,
    ) -> Self {
        let now = clock.mono();
        let climate = settings.climate.clone().and_then(|climate| {
            let started = climate::start(climate);
            started.inspect_err(|why| tracing::warn!("no temperature and humidity: {why}")).ok()
        });
        let attempts = |lines: usize| vec![Attempt { due: now, opened: false }; lines.min(MAX_LINES)];
        Task {
            device: BoxDevice::new(&settings.layout(), now),
            readiness: settings.contacts.iter().take(MAX_LINES).map(|_| None).collect(),
            contacts: attempts(settings.contacts.len()),
            relays: attempts(settings.relays.len()),
            settings,
            climate,
            problems,
            commands,
            timer: Timer::fine().unwrap_or_else(|_| Timer::coarse()),
            clock,
            told,
        }
    }

    async fn run(mut self) {
        loop {
            self.open_lines();
            self.drain();
            let event = std::future::poll_fn(|cx| self.poll_event(cx)).await;
            let now = self.clock.mono();
            match event {
                Event::Edges => {}
                Event::Measured(measured) => self.device.handle_climate(now, measured),
                Event::Command(command) => self.device.handle_command(now, command),
                Event::Timer => self.device.handle_timeout(now),
                Event::Stop => {
                    self.device.handle_stop(now);
                    self.drain();
                    return;
                }
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.device.poll_output() {
            (self.told)(output);
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for (contact, readiness) in self.readiness.iter_mut().enumerate() {
            let Some(fd) = readiness else { continue };
            match fd.poll_read_ready(cx) {
                Poll::Ready(Ok(mut ready)) => {
                    if !self.device.handle_ready(self.clock.mono(), contact) {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Event::Edges);
                }
                // The line itself is looked at each second.
                Poll::Ready(Err(_)) => *readiness = None,
                Poll::Pending => {}
            }
        }
        match self.commands.poll_recv(cx) {
            Poll::Ready(Some(command)) => return Poll::Ready(Event::Command(command)),
            Poll::Ready(None) => return Poll::Ready(Event::Stop),
            Poll::Pending => {}
        }
        if let Some(climate) = &mut self.climate
            && let Poll::Ready(Some(measured)) = climate.measured.poll_recv(cx)
        {
            return Poll::Ready(Event::Measured(measured));
        }
        let due = self.device.poll_timeout().into_iter().chain(self.reopen_due()).min();
        self.timer.poll_due(cx, self.clock.mono(), due).map(|()| Event::Timer)
    }

    /// When the next line is to be opened.
    fn reopen_due(&self) -> Option<Mono> {
        let contacts = self.contacts.iter().enumerate().filter(|(at, _)| !self.device.contact_is_open(*at));
        let relays = self.relays.iter().enumerate().filter(|(at, _)| self.device.relay_opening(*at).is_some());
        contacts.chain(relays).map(|(_, attempt)| attempt.due).min()
    }

    /// Opens the lines whose time has come.
    fn open_lines(&mut self) {
        let now = self.clock.mono();
        for at in 0..self.contacts.len() {
            if !self.device.contact_is_open(at) {
                self.open_contact(at, now);
            }
        }
        for at in 0..self.relays.len() {
            if let Some(opening) = self.device.relay_opening(at) {
                self.open_relay(at, opening, now);
            }
        }
    }

    fn open_contact(&mut self, at: usize, now: Mono) {
        let (Some(settings), Some(attempt)) = (self.settings.contacts.get(at), self.contacts.get_mut(at)) else {
            return;
        };
        // The edges of a line that is gone tell nothing any more.
        if let Some(readiness) = self.readiness.get_mut(at) {
            *readiness = None;
        }
        if now < attempt.due {
            return;
        }
        let opened = ContactLine::open(&settings.line, settings.bias).and_then(|line| {
            let fd = watched(&line).map_err(|why| format!("its edges cannot be waited for: {why}"))?;
            Ok((line, fd))
        });
        attempt.tried(now, opened.is_ok());
        note(&self.problems, &settings.name, opened.as_ref().err());
        if let Ok((line, fd)) = opened {
            if let Some(readiness) = self.readiness.get_mut(at) {
                *readiness = Some(fd);
            }
            self.device.attach_contact(now, at, line);
        }
    }

    fn open_relay(&mut self, at: usize, opening: Opening, now: Mono) {
        let (Some(settings), Some(attempt)) = (self.settings.relays.get(at), self.relays.get_mut(at)) else { return };
        if now < attempt.due {
            return;
        }
        let opened = RelayLine::open(&settings.output, opening);
        attempt.tried(now, opened.is_ok());
        note(&self.problems, &settings.name, opened.as_ref().err());
        if let Ok(line) = opened {
            self.device.attach_relay(now, at, line);
        }
    }
}

impl Attempt {
    /// The line was opened, or not; should it be lost it is tried again in a while.
    fn tried(&mut self, now: Mono, opened: bool) {
        self.opened |= opened;
        self.due = now + if self.opened { REOPEN.1 } else { REOPEN.0 };
    }
}

fn watched(line: &ContactLine) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = line.readiness()?;
    // SAFETY: the descriptor is owned by the AsyncFd and stays open until that is dropped.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Logs that a line cannot be opened, or can again: each once.
fn note(problems: &RefCell<BTreeMap<Name, String>>, name: &Name, why: Option<&String>) {
    let mut problems = problems.borrow_mut();
    match why {
        Some(why) if problems.get(name) != Some(why) => {
            tracing::warn!(line = %name, "a line of the box cannot be opened: {why}");
            problems.insert(name.clone(), why.clone());
        }
        None if problems.remove(name).is_some() => tracing::info!(line = %name, "a line of the box is open again"),
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests;
