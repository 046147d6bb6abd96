//! The machine: time and bytes in, requests and findings out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatehouse_core::Mono;

use super::finding::Finding;
use super::heard::{Heard, echo_end};
use super::job::{Job, Purpose};
use super::late::Recent;
use super::listen::Listening;
use super::often::Often;
use super::patience::{Patience, rest, wire};
use super::plan::Plan;
use super::proxies::Proxies;
use super::question::Question;
use super::quiet::Quiet;
use super::settle::TRIAL_QUIET;
use super::study::Study;
use super::wildcard::Hundred;
use crate::line::settings::Characters;
use crate::point::Protocol;

/// Most bytes of one answer, or of what is overheard, that are kept.
const BYTES_MOST: usize = 600;
/// So long after a question its time is over, however much still comes; and so long a line is given to come to rest.
const WINDOW_MOST: Duration = Duration::from_secs(4);
/// Quiet after the port was changed to other line settings.
const GUARD: Duration = Duration::from_millis(50);
/// Silence that meters need between two requests (DL/T 645-2007, 5.1).
const METERS_PAUSE: Duration = Duration::from_millis(20);

/// What the scan wants of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Other line settings; then [`Scan::handle_switched`].
    Switch(Characters),
    /// A new connection in the place of this one; then [`Scan::handle_reopened`].
    Reopen,
    /// These bytes on the wire; then [`Scan::handle_sent`].
    Send(Vec<u8>),
    /// To be asked again at this time, or after bytes.
    Wait(Mono),
    /// Nothing more.
    End(End),
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All was tried.
    Finished,
    /// Somebody else asks on the line, in this protocol and at these line settings. From then on nothing was sent.
    ForeignMaster {
        /// What is spoken.
        protocol: Protocol,
        /// At which settings; `None`: on a socket.
        characters: Option<Characters>,
    },
    /// So many bytes came while nobody was asked, or only somebody who is not there, and they are no frames of a known
    /// protocol. From then on nothing was sent; what was found before stays.
    Unquiet {
        /// How many.
        bytes: usize,
    },
}

/// How far a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Since it began.
    pub elapsed: Duration,
    /// What the rest takes if nobody else answers.
    pub remaining: Duration,
    /// The line settings of the question under way.
    pub characters: Option<Characters>,
    /// The protocol of the question under way.
    pub protocol: Option<Protocol>,
}

/// Scans one channel.
///
/// Calling order: [`Scan::poll_want`]; do what it wants and say so with `handle_switched`, `handle_reopened` or
/// `handle_sent`; at any time [`Scan::handle_bytes`]; then `poll_want` again. [`Scan::findings`] holds at any time what was found so far, so that a
/// scan may be left when one likes.
#[derive(Debug)]
pub struct Scan {
    pub(super) plan: Plan,
    pub(super) patience: Patience,
    pub(super) agenda: VecDeque<Job>,
    pub(super) studies: BTreeMap<usize, Study>,
    pub(super) findings: Vec<Finding>,
    pub(super) recent: Recent,
    pub(super) quiet: Quiet,
    pub(super) hundred: Hundred,
    pub(super) proxies: Proxies,
    pub(super) foreign: Often,
    /// A sound frame of what the channel is taken for was heard.
    pub(super) is_spoken: bool,
    /// It may be a pair of wires, be it behind a server.
    pub(super) may_be_pair: bool,
    /// What ends the scan before all was tried, once the step under way is done.
    pub(super) end: Option<End>,
    pub(super) phase: Phase,
    pub(super) port: Option<Characters>,
    tag: u16,
    /// The last question, for answers that come after its time.
    pub(super) before: Option<(Job, u16, Vec<u8>)>,
    pub(super) between: Vec<u8>,
    last_byte: Mono,
    /// How long the last answer took to begin.
    pub(super) turnaround: Duration,
    begun: Option<Mono>,
    pub(super) now: Mono,
}

#[derive(Debug)]
pub(super) enum Phase {
    Listening(Listening),
    Idle,
    Switching(Box<Job>),
    /// The channel is taken for something else from now on, over a connection of its own.
    Reopening,
    /// Until the line has been at rest, since when it is given time for that.
    Resting(Box<Job>, Mono, Mono),
    Waiting(Box<Window>),
    Ended(End),
}

/// The time of a question.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) job: Job,
    sent: Vec<u8>,
    /// When the request has left.
    end: Mono,
    first_byte: Option<Mono>,
    pub(super) bytes: Vec<u8>,
    until: Mono,
}

impl Scan {
    /// A scan that first listens for `listen` at each speed, and then tries what is in the plan.
    pub fn new(plan: Plan, listen: Duration) -> Self {
        let (patience, may_be_pair) = (Patience::on(plan.channel), plan.channel.is_pair() || plan.may_be_raw());
        let phase = Phase::Listening(Listening::new(&plan, listen));
        Scan {
            plan,
            patience,
            agenda: VecDeque::new(),
            studies: BTreeMap::new(),
            findings: Vec::new(),
            recent: Recent::default(),
            quiet: Quiet::default(),
            hundred: Hundred::default(),
            proxies: Proxies::default(),
            foreign: Often::default(),
            is_spoken: false,
            may_be_pair,
            end: None,
            phase,
            port: None,
            tag: 0,
            before: None,
            between: Vec::new(),
            last_byte: Mono(0),
            turnaround: Duration::ZERO,
            begun: None,
            now: Mono(0),
        }
    }

    /// What was found so far. Who was heard only once is not in it.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How far the scan is.
    pub fn progress(&self) -> Progress {
        let cost = |job: &Job| self.patience.cost(&job.question, job.characters, job.pace);
        let listening = match &self.phase {
            Phase::Listening(listening) => listening.remaining(self.now),
            Phase::Idle
            | Phase::Switching(_)
            | Phase::Reopening
            | Phase::Resting(..)
            | Phase::Waiting(_)
            | Phase::Ended(_) => Duration::ZERO,
        };
        let job = match &self.phase {
            Phase::Switching(job) | Phase::Resting(job, ..) => Some(&**job),
            Phase::Waiting(window) => Some(&window.job),
            Phase::Listening(_) | Phase::Idle | Phase::Reopening | Phase::Ended(_) => None,
        };
        Progress {
            elapsed: self.begun.map_or(Duration::ZERO, |begun| self.now.since(begun)),
            remaining: listening + self.agenda.iter().map(cost).sum::<Duration>() + self.plan.cost(&self.patience),
            characters: self.port,
            protocol: job.map(|job| job.question.protocol()),
        }
    }

    /// What the scan wants now. It never wants the same twice without having been told that it was done.
    pub fn poll_want(&mut self, now: Mono) -> Want {
        self.now = now;
        self.begun.get_or_insert(now);
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Idle);
            let (phase, want) = match self.end {
                Some(end) => (Phase::Ended(end), None),
                None => self.step(phase, now),
            };
            self.phase = phase;
            match (want, self.end) {
                (Some(want), _) => return want,
                (None, Some(end)) => return Want::End(end),
                (None, None) => {}
            }
        }
    }

    fn step(&mut self, phase: Phase, now: Mono) -> (Phase, Option<Want>) {
        match phase {
            Phase::Listening(listening) => self.listen(listening, now),
            Phase::Idle => match self.next_job() {
                None => (self.turn(), None),
                Some(job) => match job.characters.filter(|line| Some(*line) != self.port) {
                    Some(line) => (Phase::Switching(Box::new(job)), Some(Want::Switch(line))),
                    None => (self.rested(job), None),
                },
            },
            Phase::Switching(job) => {
                let want = job.characters.map(Want::Switch);
                (Phase::Switching(job), want)
            }
            Phase::Reopening => (Phase::Reopening, Some(Want::Reopen)),
            Phase::Resting(job, until, since) if now < until => {
                (Phase::Resting(job, until, since), Some(Want::Wait(until)))
            }
            Phase::Resting(job, ..) => {
                self.settle_between(&job);
                if self.end.is_some() {
                    return (Phase::Idle, None);
                }
                let (window, bytes) = self.ask(*job, now);
                (Phase::Waiting(Box::new(window)), Some(Want::Send(bytes)))
            }
            Phase::Waiting(window) if now < window.until => {
                let until = window.until;
                (Phase::Waiting(window), Some(Want::Wait(until)))
            }
            Phase::Waiting(window) => {
                self.close(*window);
                (Phase::Idle, None)
            }
            Phase::Ended(end) => (Phase::Ended(end), Some(Want::End(end))),
        }
    }

    /// Listens first. Anything that is heard keeps the scan from asking.
    fn listen(&mut self, mut listening: Listening, now: Mono) -> (Phase, Option<Want>) {
        match listening.poll(&self.plan, &mut self.between, self.port, now) {
            Ok(None) => (Phase::Idle, None),
            Ok(want) => (Phase::Listening(listening), want),
            Err(end) => {
                self.end = Some(end);
                (Phase::Idle, None)
            }
        }
    }

    fn rested(&self, job: Job) -> Phase {
        let silence = self.patience.line(job.characters).map_or(Duration::ZERO, rest);
        let pause = match job.question {
            Question::Modbus { .. } | Question::Osdp { .. } => silence,
            Question::Dlt645 { .. } | Question::Cjt188 { .. } => silence.max(METERS_PAUSE),
        };
        let until = self.last_byte + pause;
        Phase::Resting(Box::new(job), until, self.now)
    }

    fn ask(&mut self, job: Job, now: Mono) -> (Window, Vec<u8>) {
        self.tag = self.tag.wrapping_add(1);
        let mut sent = Vec::new();
        job.question.encode(self.tag, &mut sent);
        let line = self.patience.line(job.characters);
        let end = now + line.map_or(Duration::ZERO, |line| wire(line).chars(sent.len()));
        self.recent.push(job.question.clone(), self.tag, end);
        let until = end + self.patience.first_byte(&job.question, job.pace);
        let window = Window { job, sent: sent.clone(), end, first_byte: None, bytes: Vec::new(), until };
        (window, sent)
    }

    /// The request was handed over, and by now the port may have it on the wire.
    pub fn handle_sent(&mut self, now: Mono) {
        if let Phase::Waiting(window) = &mut self.phase {
            let late = window.end.until(now);
            window.end = window.end + late;
            window.until = window.until + late;
            self.last_byte = self.last_byte.max(window.end);
        }
    }

    /// The port has the line settings that were wanted.
    pub fn handle_switched(&mut self, now: Mono) {
        self.now = now;
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Switching(job) => {
                self.port = job.characters;
                // What was received meanwhile was at the wrong settings, or half at each.
                self.note_noise(self.between.len());
                self.between.clear();
                self.before = None;
                self.last_byte = self.last_byte.max(now);
                self.phase = Phase::Resting(job, now + GUARD, now);
            }
            Phase::Listening(listening) => {
                self.port = listening.wanted().or(self.port);
                self.between.clear();
                self.phase = Phase::Listening(listening);
            }
            phase @ (Phase::Idle | Phase::Reopening | Phase::Resting(..) | Phase::Waiting(_) | Phase::Ended(_)) => {
                self.phase = phase;
            }
        }
    }

    /// The other side closed the connection, and a new one was made. Some do so after each answer, and some instead of one:
    /// a question without an answer is asked once more.
    pub fn handle_reopened(&mut self, now: Mono) {
        self.now = now;
        self.between.clear();
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting(mut window) => {
                let heard = Heard::read(&window.job.question, self.tag, &window.sent, &window.bytes);
                if heard.answers.is_empty() && !window.job.is_repeated {
                    self.agenda.push_front(Job { is_repeated: true, ..window.job });
                } else {
                    window.until = now;
                    self.phase = Phase::Waiting(window);
                }
            }
            Phase::Reopening => self.phase = Phase::Idle,
            phase
            @ (Phase::Listening(_) | Phase::Idle | Phase::Switching(_) | Phase::Resting(..) | Phase::Ended(_)) => {
                self.phase = phase;
            }
        }
    }

    /// Bytes came, in whatever pieces.
    pub fn handle_bytes(&mut self, now: Mono, bytes: &[u8]) {
        self.now = now;
        self.last_byte = self.last_byte.max(now);
        let keep = |kept: &mut Vec<u8>| {
            let room = BYTES_MOST.saturating_sub(kept.len());
            kept.extend(bytes.iter().take(room));
        };
        match &mut self.phase {
            Phase::Waiting(window) => {
                let known = window.bytes.len();
                keep(&mut window.bytes);
                match echo_end(&window.sent, &window.bytes) {
                    // What came before was no answer, and here it ends.
                    Some(end) if end > known => window.first_byte = (window.bytes.len() > end).then_some(now),
                    Some(_) | None => {
                        window.first_byte.get_or_insert(now);
                    }
                }
                let heard = Heard::read(&window.job.question, self.tag, &window.sent, &window.bytes);
                let line = window.job.characters;
                let mut quiet = self.patience.quiet(&window.job.question, line);
                if matches!(window.job.purpose, Purpose::Trial { .. }) {
                    quiet = quiet.max(TRIAL_QUIET);
                }
                let after = now + quiet;
                // An answer ends the wait for one; a glitch or an echo does not.
                let until = if heard.answers.is_empty() { window.until.max(after) } else { after };
                window.until = until.min(window.end + WINDOW_MOST);
            }
            Phase::Resting(job, until, since) => {
                keep(&mut self.between);
                *until = now + self.patience.line(job.characters).map_or(Duration::ZERO, rest);
                if self.plan.channel.is_pair() && now.since(*since) > WINDOW_MOST {
                    self.end = Some(End::Unquiet { bytes: self.between.len() });
                }
            }
            Phase::Listening(_) | Phase::Idle | Phase::Switching(_) | Phase::Reopening | Phase::Ended(_) => {
                keep(&mut self.between);
            }
        }
    }

    /// Judges what came within the time of a question.
    fn close(&mut self, window: Window) {
        let Window { job, sent, end, first_byte, bytes, .. } = window;
        let heard = Heard::read(&job.question, self.tag, &sent, &bytes);
        self.note_spoken(&heard);
        self.overhear(&bytes);
        for protocol in &heard.foreign {
            self.note_foreign(*protocol);
        }
        // Of several meters that garble each other the first tells as much as one that is alone.
        let is_answer =
            !heard.answers.is_empty() || (heard.is_garbled() && matches!(job.purpose, Purpose::Wildcard(_)));
        if let (Some(first), true) = (first_byte, is_answer) {
            self.turnaround = first.since(end);
            self.patience.learn(&job.question, self.turnaround);
        }
        self.before = Some((job.clone(), self.tag, sent));
        self.settle_astray(&job, &heard.astray, first_byte.unwrap_or(self.now));
        self.settle(Job { is_repeated: false, ..job }, &heard);
    }
}
