//! The shell around the scan: the port, the clock and the bar.

use std::io;
use std::task::Poll;
use std::time::Duration;

use gatehouse_config::PortKind;
use gatehouse_core::Mono;
use gatehouse_drivers::line::Characters;
use gatehouse_drivers::point::Protocol;
use gatehouse_drivers::scan::{Channel, Controllers, End, Finding, Scan, Unasked, Want};
use indicatif::{ProgressBar, ProgressStyle};

use super::report;
use super::stop::Stop;
use super::target::Target;
use crate::cli::{Failure, exit, human_age};
use crate::daemon::clock::Clock;
use crate::daemon::port::Port;
use crate::daemon::timer::Timer;

/// How often the bar is drawn anew.
const TICK: Duration = Duration::from_millis(200);
/// How often a connection that was closed is made anew before any byte came.
const REOPENINGS: u32 = 3;
/// Pauses between tries to make a connection anew: a server with room for one may hold on to the last one for a while.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];
/// The pause before a connection that was closed while nobody was asked yet is made anew.
const LISTENING_PAUSE: Duration = Duration::from_millis(500);
/// How often controllers are asked, and for how long they are listened to.
const ROUNDS: (u32, Duration) = (3, Duration::from_secs(1));

/// How a scan came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// All was tried.
    Finished,
    /// Somebody ended it: by Ctrl-C, a signal, or the end of the session.
    Interrupted,
    /// Another master is on the line.
    ForeignMaster { protocol: Protocol, characters: Option<Characters> },
    /// Somebody talks, and nothing known is spoken.
    Unquiet { bytes: usize },
    /// The port or the connection is gone.
    Lost(String),
}

/// What came of a scan.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// What was scanned turned out to be; `None`: a network of controllers.
    pub(super) channel: Option<Channel>,
    pub(super) findings: Vec<Finding>,
    pub(super) ending: Ending,
    pub(super) elapsed: Duration,
    /// What was not tried would have taken so long.
    pub(super) remaining: Duration,
    /// Whom nobody has asked on a socket.
    pub(super) unasked: Vec<Unasked>,
}

/// Scans a serial port or a host.
pub(super) async fn scan(target: &Target, scan: Scan) -> anyhow::Result<Outcome> {
    let kind = target.kind();
    let port = open(&kind).await?;
    let timer = Timer::fine()?;
    let stop = Stop::new()?;
    let bar = bar();
    let mut driven = Driven {
        kind,
        port: Some(port),
        scan,
        timer,
        clock: Clock::open(),
        told: 0,
        stop,
        listens: true,
        bar,
        reopened: Some(0),
    };
    let ending = driven.run().await;
    driven.bar.finish_and_clear();
    let progress = driven.scan.progress();
    let findings = driven.scan.findings().to_vec();
    let (channel, unasked) = (Some(driven.scan.channel()), driven.scan.unasked());
    Ok(Outcome { channel, findings, ending, elapsed: progress.elapsed, remaining: progress.remaining, unasked })
}

async fn open(kind: &PortKind) -> anyhow::Result<Port> {
    Port::open(kind).await.map_err(|why| Failure::error(exit::DEVICE, why.to_string()))
}

/// Drawn on a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1000);
    let style = ProgressStyle::with_template("{bar:8} {percent:>3}% {wide_msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

struct Driven {
    kind: PortKind,
    /// `None`: the connection is being made anew.
    port: Option<Port>,
    scan: Scan,
    timer: Timer,
    clock: Clock,
    /// Findings that were told.
    told: usize,
    stop: Stop,
    /// Nothing was sent yet: a character that does not suit the line settings is word of somebody who talks at others.
    listens: bool,
    bar: ProgressBar,
    /// How often a connection was made anew; `None` once bytes came: who has answered may close it instead of an answer,
    /// which the scan asks for no more than twice.
    reopened: Option<u32>,
}

/// What a wait ended with.
enum Event {
    Read(io::Result<usize>),
    Timer,
    Stop,
}

impl Driven {
    async fn run(&mut self) -> Ending {
        let mut rx = [0u8; 1024];
        loop {
            // Bytes that the kernel has are older than the next decision.
            if let Some(read) = self.read_now(&mut rx)
                && let Err(ending) = self.received(read, &rx).await
            {
                return ending;
            }
            let now = self.clock.mono();
            let want = self.scan.poll_want(now);
            self.tell();
            let done = match want {
                Want::End(End::Finished) => return Ending::Finished,
                Want::End(End::ForeignMaster { protocol, characters }) => {
                    return Ending::ForeignMaster { protocol, characters };
                }
                Want::End(End::Unquiet { bytes }) => return Ending::Unquiet { bytes },
                Want::Switch(characters) => {
                    let switched = self.switch(characters).await;
                    self.scan.handle_switched(self.clock.mono());
                    switched.map_err(|why| Ending::Lost(why.to_string()))
                }
                Want::Reopen => self.connect().await,
                Want::Send(bytes) => {
                    let written = self.send(&bytes).await;
                    self.scan.handle_sent(self.clock.mono());
                    match written {
                        Ok(()) => Ok(()),
                        Err(why) => self.reopen(&why.to_string()).await,
                    }
                }
                Want::Wait(until) => match self.wait(until, &mut rx).await {
                    Event::Read(read) => self.received(read, &rx).await,
                    Event::Timer => Ok(()),
                    Event::Stop => return Ending::Interrupted,
                },
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    /// Sets the line as the scan wants it.
    async fn switch(&mut self, characters: Characters) -> io::Result<()> {
        let port = self.port.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        port.switch(&self.kind, Some(characters)).await?;
        port.keep_damaged(self.listens)
    }

    /// Sends a question. From the first one on, characters that do not suit the line settings are dropped again: adapters
    /// make such when the pair turns around, and they are no garble.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let port = self.port.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if std::mem::take(&mut self.listens) {
            port.keep_damaged(false)?;
        }
        port.write(bytes).await
    }

    /// What the kernel has; `None`: nothing.
    fn read_now(&mut self, rx: &mut [u8]) -> Option<io::Result<usize>> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match self.port.as_mut()?.poll_read(&mut cx, rx) {
            Poll::Ready(read) => Some(read),
            Poll::Pending => None,
        }
    }

    async fn received(&mut self, read: io::Result<usize>, rx: &[u8]) -> Result<(), Ending> {
        match read {
            Ok(0) => self.reopen("the other side closed the connection").await,
            Ok(count) => {
                self.reopened = None;
                self.scan.handle_bytes(self.clock.mono(), rx.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(why) => self.reopen(&why.to_string()).await,
        }
    }

    /// Makes a connection anew that was closed. A serial port that is gone is gone; who closes each connection before he says a
    /// word is asked in what else he may speak.
    async fn reopen(&mut self, why: &str) -> Result<(), Ending> {
        let lost = || Ending::Lost(format!("{}: {why}", self.kind));
        match self.kind {
            PortKind::Serial { .. } | PortKind::Udp { .. } => return Err(lost()),
            PortKind::Tcp { .. } => {}
        }
        if self.listens {
            // Nobody was asked yet: the line is idle, or somebody else has the server. Both say nothing of what it is.
            self.pause(LISTENING_PAUSE).await?;
            return self.connect().await;
        }
        if self.reopened.is_some_and(|times| times >= REOPENINGS) {
            if !self.scan.handle_unwanted() {
                return Err(lost());
            }
            self.reopened = Some(0);
            return Ok(());
        }
        self.reopened = self.reopened.map(|times| times + 1);
        self.connect().await
    }

    /// Makes a connection in the place of the last one, which is closed before: some servers have room for one. Who refuses it
    /// is asked again after pauses.
    async fn connect(&mut self) -> Result<(), Ending> {
        self.port = None;
        let begun = self.clock.mono();
        let mut pauses = PAUSES.iter();
        loop {
            let why = tokio::select! {
                () = std::future::poll_fn(|cx| self.stop.poll(cx)) => return Err(Ending::Interrupted),
                opened = Port::open(&self.kind) => match opened {
                    Ok(port) => {
                        self.port = Some(port);
                        self.scan.handle_reopened(self.clock.mono());
                        return Ok(());
                    }
                    Err(why) => why,
                },
            };
            let Some(pause) = pauses.next() else {
                let (times, seconds) = (PAUSES.len() + 1, self.clock.mono().since(begun).as_secs());
                return Err(Ending::Lost(format!(
                    "{why} The connection was lost, and {times} tries to make it anew in {seconds} s failed"
                )));
            };
            self.bar.set_message(format!(
                "the connection was lost: the next try in {} s, Ctrl-C keeps all",
                pause.as_secs()
            ));
            self.pause(*pause).await?;
        }
    }

    /// Waits, unless the scan is to stop.
    async fn pause(&mut self, time: Duration) -> Result<(), Ending> {
        let stopped = std::future::poll_fn(|cx| self.stop.poll(cx));
        match tokio::time::timeout(time, stopped).await {
            Ok(()) => Err(Ending::Interrupted),
            Err(_) => Ok(()),
        }
    }

    async fn wait(&mut self, until: Mono, rx: &mut [u8]) -> Event {
        loop {
            let now = self.clock.mono();
            let due = until.min(now + TICK);
            let event = std::future::poll_fn(|cx| {
                if self.stop.poll(cx).is_ready() {
                    return Poll::Ready(Event::Stop);
                }
                if let Some(port) = &mut self.port
                    && let Poll::Ready(read) = port.poll_read(cx, rx)
                {
                    return Poll::Ready(Event::Read(read));
                }
                self.timer.poll_due(cx, self.clock.mono(), Some(due)).map(|()| Event::Timer)
            })
            .await;
            match event {
                Event::Timer if self.clock.mono() < until => self.draw(),
                Event::Timer | Event::Read(_) | Event::Stop => {
                    self.draw();
                    return event;
                }
            }
        }
    }

    /// Says at once what was found.
    fn tell(&mut self) {
        let findings = self.scan.findings();
        for finding in findings.iter().skip(self.told) {
            let stop = &mut self.stop;
            self.bar.suspend(|| stop.tell(format_args!("{}", report::line(finding))));
        }
        // A socket's devices may turn out to be one.
        self.told = self.told.max(findings.len());
    }

    fn draw(&self) {
        let progress = self.scan.progress();
        let all = (progress.elapsed + progress.remaining).as_secs_f64().max(0.001);
        let share = (progress.elapsed.as_secs_f64() / all * 1000.0).clamp(0.0, 1000.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 1000")]
        self.bar.set_position(share as u64);
        let settings = progress.characters.map(|line| format!(" {line}")).unwrap_or_default();
        let what = progress.protocol.map_or("listens", Protocol::as_str);
        let found = self.scan.findings().len();
        let left = human_age(progress.remaining.as_secs_f64());
        self.bar.set_message(format!("{what}{settings}, {found} found, {left} left, Ctrl-C keeps all"));
    }
}

/// Asks the door controllers of a network who is there.
pub(super) async fn controllers(target: &Target) -> anyhow::Result<Outcome> {
    let mut port = open(&target.kind()).await?;
    let mut controllers = Controllers::default();
    let mut stop = Stop::new()?;
    let clock = Clock::open();
    let mut timer = Timer::fine()?;
    let begun = clock.mono();
    let mut ending = Ending::Finished;
    let (rounds, listen) = ROUNDS;
    'all: for _ in 0..rounds {
        if let Err(why) = port.write(&Controllers::question()).await {
            ending = Ending::Lost(format!("{target}: {why}"));
            break;
        }
        let until = clock.mono() + listen;
        let mut rx = [0u8; 1024];
        loop {
            let event = std::future::poll_fn(|cx| {
                if stop.poll(cx).is_ready() {
                    return Poll::Ready(Event::Stop);
                }
                if let Poll::Ready(read) = port.poll_read(cx, &mut rx) {
                    return Poll::Ready(Event::Read(read));
                }
                timer.poll_due(cx, clock.mono(), Some(until)).map(|()| Event::Timer)
            })
            .await;
            match event {
                Event::Read(Ok(count)) => controllers.handle_datagram(rx.get(..count).unwrap_or_default()),
                Event::Read(Err(why)) => {
                    ending = Ending::Lost(format!("{target}: {why}"));
                    break 'all;
                }
                Event::Timer if clock.mono() < until => {}
                Event::Timer => break,
                Event::Stop => {
                    ending = Ending::Interrupted;
                    break 'all;
                }
            }
        }
    }
    let elapsed = clock.mono().since(begun);
    let (findings, remaining) = (controllers.findings(), Duration::ZERO);
    Ok(Outcome { channel: None, findings, ending, elapsed, remaining, unasked: Vec::new() })
}
