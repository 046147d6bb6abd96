//! One bus at work: moves bytes between a port and its [`Line`], and time to both.
//!
//! The line decides everything; this task only opens the port, reads, writes and waits. It never touches the store or
//! the link: what the line puts out goes to a [`Sink`].

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gatehouse_config::{Characters, PortKind};
use gatehouse_core::{DeviceIx, Mono, PointReading};
use gatehouse_drivers::line::{Command, Line, Output};
use tokio::sync::mpsc;

use super::clock::Clock;
use super::port::Port;
use super::timer::Timer;

/// Longer than a line waits for a lost port before it gives up what was asked of it.
const ENDED: Duration = Duration::from_secs(2);
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
    waker: Rc<RefCell<Waker>>,
}

impl BusHandle {
    /// Has the poll groups of a device go on with these intervals, in the driver's order.
    pub fn set_intervals(&self, now: Mono, device: DeviceIx, intervals: &[Duration]) {
        self.line.borrow_mut().handle_intervals(now, device, intervals);
        // The task sleeps until what was due before.
        self.waker.borrow().wake_by_ref();
    }

    /// Puts a command in the lane that goes next.
    ///
    /// # Errors
    /// The command, when too many wait already.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        put(&self.commands, command)
    }

    /// The command lane, for whoever must not keep the bus alive.
    pub fn commands(&self) -> CommandSender {
        CommandSender(self.commands.downgrade())
    }
}

/// The way to a bus's command lane that does not keep the bus from ending.
#[derive(Debug, Clone)]
pub struct CommandSender(mpsc::WeakSender<Command>);

impl CommandSender {
    /// Puts a command in the lane that goes next.
    ///
    /// # Errors
    /// The command, when too many wait already or the bus has ended.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        match self.0.upgrade() {
            Some(sender) => put(&sender, command),
            None => Err(command),
        }
    }
}

fn put(sender: &mpsc::Sender<Command>, command: Command) -> Result<(), Command> {
    sender.try_send(command).map_err(|e| match e {
        mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command) => command,
    })
}

/// Starts the task of a bus on the present local set. A serial port is only listened to until `quiet_until`, so that a
/// reply to somebody who asked before cannot be taken for one to us.
pub fn spawn(
    (name, kind): (&str, PortKind),
    line: Line,
    quiet_until: Mono,
    sink: Rc<dyn Sink>,
    clock: Rc<Clock>,
) -> BusHandle {
    let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
    let line = Rc::new(RefCell::new(line));
    let state = Rc::new(RefCell::new(PortState::default()));
    let waker = Rc::new(RefCell::new(Waker::noop().clone()));
    let handle = BusHandle { line: line.clone(), port: state.clone(), commands: sender, waker: waker.clone() };
    let is_serial = matches!(kind, PortKind::Serial { .. });
    let timer = match Timer::fine() {
        Ok(timer) if is_serial => timer,
        Ok(_) | Err(_) => Timer::coarse(),
    };
    let port = PortSlot::Closed(clock.mono());
    let name = name.to_owned();
    let quiet_until = is_serial.then_some(quiet_until);
    let task = Task {
        name,
        kind,
        line,
        state,
        port,
        characters: None,
        quiet_until,
        pause: REOPEN.0,
        told: None,
        commands,
        sink,
        clock,
        timer,
        waker,
    };
    tokio::task::spawn_local(task.run());
    handle
}

struct Task {
    name: String,
    kind: PortKind,
    line: Rc<RefCell<Line>>,
    state: Rc<RefCell<PortState>>,
    port: PortSlot,
    /// What the line wants the port to be set to.
    characters: Option<Option<Characters>>,
    /// Until when a fresh line only listens.
    quiet_until: Option<Mono>,
    /// How long to wait after the next loss; begins anew once bytes come.
    pause: Duration,
    /// The trouble that was logged last and has not ended.
    told: Option<String>,
    commands: mpsc::Receiver<Command>,
    sink: Rc<dyn Sink>,
    clock: Rc<Clock>,
    timer: Timer,
    /// Wakes this task for another due time.
    waker: Rc<RefCell<Waker>>,
}

enum PortSlot {
    /// To be opened then.
    Closed(Mono),
    Opening(Pin<Box<dyn Future<Output = io::Result<Port>>>>),
    /// Open, and what comes is dropped until then.
    Listening(Port, Mono),
    Open(Port),
}

/// What a wait ended with.
enum Event {
    Opened(io::Result<Port>),
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
                Event::Opened(Ok(port)) => self.opened(port, now),
                Event::Opened(Err(e)) => self.lost(&e.to_string(), now),
                Event::Read(Ok(0)) => self.lost("the other side closed the connection", now),
                Event::Read(Ok(n)) => self.received(rx.get(..n).unwrap_or_default(), now),
                Event::Read(Err(e)) => self.lost(&e.to_string(), now),
                Event::Command(command) => self.line.borrow_mut().handle_command(now, command),
                Event::Timer => self.on_timer(now),
                Event::Stop => return self.stop(now),
            }
        }
    }

    /// Passes outputs on and sends until the line has nothing more to say.
    async fn transmit(&mut self, tx: &mut Vec<u8>) {
        loop {
            if self.drain() {
                self.close_on_purpose();
            }
            self.switch().await;
            let PortSlot::Open(port) = &mut self.port else { return };
            if port.has_unread() {
                return;
            }
            let now = self.clock.mono();
            tx.clear();
            if self.line.borrow_mut().poll_transmit(now, tx) {
                match port.write(tx).await {
                    Ok(()) => self.line.borrow_mut().handle_sent(self.clock.mono()),
                    Err(e) => self.lost(&e.to_string(), now),
                }
            } else if self.drain() {
                // Looking for something to send ended a poll, and with it the connection.
                self.close_on_purpose();
            } else if self.characters.is_none() {
                return;
            }
        }
    }

    /// Sets the port as the line wants it.
    async fn switch(&mut self) {
        let Some(characters) = self.characters.take() else { return };
        let PortSlot::Open(port) = &mut self.port else { return };
        let switched = port.switch(&self.kind, characters).await;
        let now = self.clock.mono();
        match switched {
            Ok(()) => self.line.borrow_mut().handle_switched(now),
            Err(e) => self.lost(&e.to_string(), now),
        }
    }

    /// Closes the port to get rid of late replies, and opens it again at once.
    fn close_on_purpose(&mut self) {
        if matches!(self.port, PortSlot::Open(_)) {
            let now = self.clock.mono();
            self.line.borrow_mut().handle_closed(now);
            self.port = PortSlot::Closed(now);
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
                Some(Output::Characters { characters }) => self.characters = Some(characters),
                Some(output) => {
                    if let Some(buffer) = self.sink.output(output) {
                        self.line.borrow_mut().recycle(buffer);
                    }
                }
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, rx: &mut [u8]) -> Poll<Event> {
        self.waker.borrow_mut().clone_from(cx.waker());
        match &mut self.port {
            PortSlot::Open(port) | PortSlot::Listening(port, _) => {
                if let Poll::Ready(read) = port.poll_read(cx, rx) {
                    return Poll::Ready(Event::Read(read));
                }
            }
            PortSlot::Opening(opening) => {
                if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                    return Poll::Ready(Event::Opened(opened));
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
        let own_due = match &self.port {
            PortSlot::Closed(at) | PortSlot::Listening(_, at) => Some(*at),
            PortSlot::Opening(..) | PortSlot::Open(_) => None,
        };
        let due = [line_due, own_due].into_iter().flatten().min();
        self.timer.poll_due(cx, self.clock.mono(), due).map(|()| Event::Timer)
    }

    fn on_timer(&mut self, now: Mono) {
        match &self.port {
            PortSlot::Closed(at) if *at <= now => {
                let kind = self.kind.clone();
                self.port = PortSlot::Opening(Box::pin(async move { Port::open(&kind).await }));
            }
            PortSlot::Listening(_, at) if *at <= now => {
                self.quiet_until = None;
                let slot = std::mem::replace(&mut self.port, PortSlot::Closed(now));
                if let PortSlot::Listening(port, _) = slot {
                    self.opened(port, now);
                }
            }
            _ => {}
        }
        let mut line = self.line.borrow_mut();
        if line.poll_timeout().is_some_and(|(at, _)| at <= now) {
            line.handle_timeout(now);
        }
    }

    fn opened(&mut self, port: Port, now: Mono) {
        if let Some(until) = self.quiet_until.filter(|until| *until > now) {
            self.port = PortSlot::Listening(port, until);
            return;
        }
        self.characters = None;
        let mut state = self.state.borrow_mut();
        if state.opened == 0 && self.told.is_none() {
            tracing::info!(bus = %self.name, port = %self.kind, "port open");
        }
        *state = PortState { open: true, since: now, error: None, opened: state.opened + 1 };
        self.port = PortSlot::Open(port);
        self.line.borrow_mut().handle_opened(now);
    }

    fn received(&mut self, bytes: &[u8], now: Mono) {
        if matches!(self.port, PortSlot::Listening(..)) {
            return;
        }
        // Only bytes prove that the port is more than a door that opens and closes.
        self.pause = REOPEN.0;
        if self.told.take().is_some() {
            tracing::info!(bus = %self.name, port = %self.kind, "port works again");
        }
        self.line.borrow_mut().handle_bytes(now, bytes);
    }

    fn lost(&mut self, why: &str, now: Mono) {
        if matches!(self.port, PortSlot::Open(_)) {
            self.line.borrow_mut().handle_closed(now);
        }
        self.port = PortSlot::Closed(now + self.pause);
        self.pause = (self.pause * 2).min(REOPEN.1);
        if self.told.as_deref() != Some(why) {
            tracing::warn!(bus = %self.name, port = %self.kind, error = why, "port not available, trying on");
            self.told = Some(why.to_owned());
        }
        let mut state = self.state.borrow_mut();
        if state.open || state.error.is_none() {
            state.since = now;
        }
        state.open = false;
        state.error = Some(why.to_owned());
    }

    /// Ends all commands, each with its honest outcome; samples of a bus that ends are of no use.
    fn stop(self, now: Mono) {
        let mut line = self.line.borrow_mut();
        line.handle_closed(now);
        // Past the grace that a closed port has, so that what waits is refused.
        line.handle_timeout(now + ENDED);
        while let Some(output) = line.poll_output() {
            if matches!(output, Output::CommandDone { .. }) {
                self.sink.output(output);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_core::driver::Action;
    use gatehouse_core::{DeviceIx, PointIx, Value};
    use gatehouse_drivers::line::CommandResult;
    use gatehouse_drivers::osdp::Secrets;
    use gatehouse_drivers::profile::Library;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::daemon::lines;

    #[derive(Default)]
    struct Kept(RefCell<Vec<Output>>);

    impl Sink for Kept {
        fn output(&self, output: Output) -> Option<Vec<PointReading>> {
            self.0.borrow_mut().push(output);
            None
        }
    }

    #[tokio::test]
    async fn a_bus_that_ends_tells_how_its_commands_ended() {
        tokio::task::LocalSet::new().run_until(ended_commands()).await;
    }

    async fn ended_commands() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!(
            "[site]\nid = \"box\"\n[[bus]]\nid = \"b\"\ntcp = \"127.0.0.1:{port}\"\n[[device]]\nid = \"relays\"\n\
             unit = 1\nprofile = \"waveshare-modbus-rtu-relay-8\"\n"
        );
        let site = gatehouse_config::check("site.toml", &text, std::path::Path::new(""), &Library::new()).unwrap().site;
        let (bus, device) = (&site.buses[0], &site.devices[0]);
        let clock = Rc::new(Clock::open());
        let line = lines::quiet_line(bus, device, 1, clock.mono());
        let sink = Rc::new(Kept::default());
        let handle = spawn(("b", bus.port.clone()), line, clock.mono(), sink.clone(), clock.clone());
        let expires = clock.mono() + Duration::from_secs(60);
        for id in [1, 2] {
            let action = Action::Write(PointIx(0), Value::Bool(true));
            handle.send(Command { id, device: DeviceIx(0), action, expires }).unwrap();
        }
        // The first request has reached the device, which does not answer.
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        drop(handle);
        while Rc::strong_count(&sink) > 1 {
            tokio::task::yield_now().await;
        }
        let outputs = sink.0.borrow();
        let results: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::CommandDone { id, result, .. } => Some((*id, result.clone())),
                _ => None,
            })
            .collect();
        let unknown = CommandResult::Unknown(gatehouse_core::NoData::BusDown, None);
        let failed = CommandResult::Failed(gatehouse_core::NoData::BusDown);
        assert_eq!(results, [(1, unknown), (2, failed)], "what was sent may have acted, what was not sent has not");
    }

    #[tokio::test]
    async fn a_bus_that_sleeps_follows_a_shorter_interval_at_once() {
        tokio::task::LocalSet::new().run_until(shorter_interval()).await;
    }

    async fn shorter_interval() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!(
            "[site]\nid = \"box\"\n[[bus]]\nid = \"b\"\ntcp = \"127.0.0.1:{port}\"\n[[device]]\nid = \"meter\"\nunit = 1\n\
             interval = \"7d\"\n[[device.point]]\nname = \"p\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n"
        );
        let site = gatehouse_config::check("site.toml", &text, std::path::Path::new(""), &Library::new()).unwrap().site;
        let bus = &site.buses[0];
        let clock = Rc::new(Clock::open());
        let now = clock.mono();
        let line = lines::line(
            (0, bus),
            [(DeviceIx(0), &*site.devices[0])].into_iter(),
            1,
            |_, _| Secrets::default(),
            (now, now),
        );
        let handle = spawn(("b", bus.port.clone()), line, now, Rc::new(Kept::default()), clock.clone());
        let (mut stream, _) = listener.accept().await.unwrap();
        for poll in 0..3 {
            if poll == 1 {
                // Without a call to wake, the next poll would be in a week.
                tokio::task::yield_now().await;
                handle.set_intervals(clock.mono(), DeviceIx(0), &[Duration::from_millis(1)]);
            }
            let mut request = [0u8; 12];
            stream.read_exact(&mut request).await.unwrap();
            let [t1, t0, ..] = request;
            stream.write_all(&[t1, t0, 0, 0, 0, 5, 1, 3, 2, 0, 7]).await.unwrap();
        }
    }
}
