//! One bus at work: moves bytes between a port and its [`Line`], and time to both.
//!
//! The line decides everything; this task only opens the port, reads, writes and waits. It never touches the store or
//! the link: what the line puts out goes to a [`Sink`].

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use gatehouse_config::PortKind;
use gatehouse_core::{Mono, PointReading};
use gatehouse_drivers::line::{Command, Line, Output};
use tokio::sync::mpsc;

use super::clock::Clock;
use super::port::Port;
use super::timer::Timer;

/// First and longest pause before a lost port is opened again.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Commands that may wait for one bus.
pub const COMMAND_QUEUE: usize = 32;

/// Takes what a line puts out. Called between two transactions, so it must be quick.
pub trait Sink {
    /// Handles one output; gives back the sample's buffer for the next one.
    fn output(&self, output: Output) -> Option<Vec<PointReading>>;
}

/// What is known of a bus's port.
#[derive(Debug, Clone, Default)]
pub struct PortState {
    /// True while the port is open.
    pub open: bool,
    /// When it was opened or lost.
    pub since: Mono,
    /// Why it is not open.
    pub error: Option<String>,
    /// Times that it was opened.
    pub opened: u64,
}

/// A bus as the rest of the daemon sees it. The bus ends when the last handle is dropped.
#[derive(Clone)]
pub struct BusHandle {
    /// The line, for its statistics.
    pub line: Rc<RefCell<Line>>,
    /// The port.
    pub port: Rc<RefCell<PortState>>,
    commands: mpsc::Sender<Command>,
}

impl BusHandle {
    /// Puts a command in the lane that goes next.
    ///
    /// # Errors
    /// The command, when too many wait already.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        self.commands.try_send(command).map_err(|e| match e {
            mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command) => command,
        })
    }
}

/// Starts the task of a bus on the present local set.
///
/// # Errors
/// When the kernel has no more file descriptors for a timer.
pub fn spawn(kind: PortKind, line: Line, sink: Rc<dyn Sink>, clock: Rc<Clock>, name: &str) -> io::Result<BusHandle> {
    let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
    let line = Rc::new(RefCell::new(line));
    let port = Rc::new(RefCell::new(PortState::default()));
    let handle = BusHandle { line: line.clone(), port: port.clone(), commands: sender };
    let reopen = Reopen { at: clock.mono(), pause: REOPEN.0 };
    let timer = if matches!(kind, PortKind::Serial { .. }) { Timer::fine()? } else { Timer::coarse() };
    let name = name.to_owned();
    let task = Task { kind, line, state: port, port: PortSlot::Closed(reopen), commands, sink, clock, timer, name };
    tokio::task::spawn_local(task.run());
    Ok(handle)
}

struct Task {
    kind: PortKind,
    line: Rc<RefCell<Line>>,
    state: Rc<RefCell<PortState>>,
    port: PortSlot,
    commands: mpsc::Receiver<Command>,
    sink: Rc<dyn Sink>,
    clock: Rc<Clock>,
    timer: Timer,
    name: String,
}

/// When a lost port is opened again, and how long to wait after the next failure.
#[derive(Clone, Copy)]
struct Reopen {
    at: Mono,
    pause: Duration,
}

enum PortSlot {
    Closed(Reopen),
    Opening(Pin<Box<dyn Future<Output = io::Result<Port>>>>, Duration),
    Open(Port),
}

/// What a wait ended with.
enum Event {
    Opened(io::Result<Port>, Duration),
    Read(io::Result<usize>),
    Command(Command),
    Timer,
    Stop,
}

impl Task {
    async fn run(mut self) {
        let mut rx = [0u8; 1024];
        let mut tx = Vec::new();
        loop {
            self.transmit(&mut tx).await;
            let event = std::future::poll_fn(|cx| self.poll_event(cx, &mut rx)).await;
            let now = self.clock.mono();
            match event {
                Event::Opened(Ok(port), _) => self.opened(port, now),
                Event::Opened(Err(e), pause) => self.lost(&e.to_string(), pause, now),
                Event::Read(Ok(0)) => self.lost("the other side closed the connection", REOPEN.0, now),
                Event::Read(Ok(n)) => self.line.borrow_mut().handle_bytes(now, rx.get(..n).unwrap_or_default()),
                Event::Read(Err(e)) => self.lost(&e.to_string(), REOPEN.0, now),
                Event::Command(command) => self.line.borrow_mut().handle_command(now, command),
                Event::Timer => self.on_timer(now),
                Event::Stop => return,
            }
        }
    }

    /// Passes outputs on and sends until the line has nothing more to say.
    async fn transmit(&mut self, tx: &mut Vec<u8>) {
        loop {
            if self.drain() {
                self.close_on_purpose();
            }
            let PortSlot::Open(port) = &mut self.port else { return };
            let now = self.clock.mono();
            tx.clear();
            if self.line.borrow_mut().poll_transmit(now, tx) {
                match port.write(tx).await {
                    Ok(()) => self.line.borrow_mut().handle_sent(self.clock.mono()),
                    Err(e) => self.lost(&e.to_string(), REOPEN.0, now),
                }
            } else if self.drain() {
                // Looking for something to send ended a poll, and with it the connection.
                self.close_on_purpose();
            } else {
                return;
            }
        }
    }

    /// Closes the port to get rid of late replies, and opens it again at once.
    fn close_on_purpose(&mut self) {
        if matches!(self.port, PortSlot::Open(_)) {
            let now = self.clock.mono();
            self.line.borrow_mut().handle_closed(now);
            self.port = PortSlot::Closed(Reopen { at: now, pause: REOPEN.0 });
        }
    }

    /// Passes the line's outputs on; true when the line wants the port closed.
    fn drain(&mut self) -> bool {
        let mut close = false;
        loop {
            let output = self.line.borrow_mut().poll_output();
            match output {
                None => return close,
                Some(Output::ClosePort { .. }) => close = true,
                Some(output) => {
                    if let Some(buffer) = self.sink.output(output) {
                        self.line.borrow_mut().recycle(buffer);
                    }
                }
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, rx: &mut [u8]) -> Poll<Event> {
        match &mut self.port {
            PortSlot::Open(port) => {
                if let Poll::Ready(read) = port.poll_read(cx, rx) {
                    return Poll::Ready(Event::Read(read));
                }
            }
            PortSlot::Opening(opening, pause) => {
                let pause = *pause;
                if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                    return Poll::Ready(Event::Opened(opened, pause));
                }
            }
            PortSlot::Closed(_) => {}
        }
        match self.commands.poll_recv(cx) {
            Poll::Ready(Some(command)) => return Poll::Ready(Event::Command(command)),
            Poll::Ready(None) => return Poll::Ready(Event::Stop),
            Poll::Pending => {}
        }
        let line_due = self.line.borrow().poll_timeout().map(|(at, _)| at);
        let reopen_due = if let PortSlot::Closed(reopen) = &self.port { Some(reopen.at) } else { None };
        let due = [line_due, reopen_due].into_iter().flatten().min();
        self.timer.poll_due(cx, self.clock.mono(), due).map(|()| Event::Timer)
    }

    fn on_timer(&mut self, now: Mono) {
        if let PortSlot::Closed(reopen) = &self.port
            && reopen.at <= now
        {
            let (kind, pause) = (self.kind.clone(), reopen.pause);
            self.port = PortSlot::Opening(Box::pin(async move { Port::open(&kind).await }), pause);
        }
        let mut line = self.line.borrow_mut();
        if line.poll_timeout().is_some_and(|(at, _)| at <= now) {
            line.handle_timeout(now);
        }
    }

    fn opened(&mut self, port: Port, now: Mono) {
        let mut state = self.state.borrow_mut();
        if state.opened == 0 || state.error.is_some() {
            tracing::info!(bus = %self.name, port = %self.kind, "port open");
        }
        *state = PortState { open: true, since: now, error: None, opened: state.opened + 1 };
        self.port = PortSlot::Open(port);
        self.line.borrow_mut().handle_opened(now);
    }

    fn lost(&mut self, why: &str, pause: Duration, now: Mono) {
        if matches!(self.port, PortSlot::Open(_)) {
            self.line.borrow_mut().handle_closed(now);
        }
        self.port = PortSlot::Closed(Reopen { at: now + pause, pause: (pause * 2).min(REOPEN.1) });
        let mut state = self.state.borrow_mut();
        if state.error.as_deref() != Some(why) {
            tracing::warn!(bus = %self.name, port = %self.kind, error = why, "port not available, trying on");
        }
        if state.open || state.error.is_none() {
            state.since = now;
        }
        state.open = false;
        state.error = Some(why.to_owned());
    }
}
