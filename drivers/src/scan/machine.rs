//! The machine: time and bytes in, requests and findings out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatehouse_core::Mono;

use super::finding::Finding;
use super::fingerprint::Fingerprint;
use super::heard::{GLITCH, Heard, talk};
use super::patience::{Pace, Patience, rest, wire};
use super::plan::{Channel, Plan};
use super::question::{Answer, Question};
use super::settle::TRIAL_QUIET;
use super::trial::Trial;
use crate::line::settings::Characters;
use crate::point::Protocol;

/// Most bytes of one answer, or of what is overheard, that are kept.
const BYTES_MOST: usize = 600;
/// So long after a question its time is over, however much still comes.
const WINDOW_MOST: Duration = Duration::from_secs(4);
/// So many bytes that are no frame, in all the time of listening, say that a line is in use, though not by whom.
const UNQUIET: usize = 16;
/// So many sound requests of somebody else end a scan that has begun.
const FOREIGN: u32 = 2;
/// Quiet after the port was changed to other line settings.
const GUARD: Duration = Duration::from_millis(50);
/// Silence that meters need between two requests (DL/T 645-2007, 5.1).
const METERS_PAUSE: Duration = Duration::from_millis(20);
/// Questions that may still be answered late.
const RECENT: usize = 16;

/// What the scan wants of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Other line settings; then [`Scan::handle_switched`].
    Switch(Characters),
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
    /// So many bytes came while nobody was asked, and they are no frames of a known protocol. Nothing was sent.
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
/// Calling order: [`Scan::poll_want`]; do what it wants and say so with `handle_switched` or `handle_sent`; at any time
/// [`Scan::handle_bytes`]; then `poll_want` again. [`Scan::findings`] holds at any time what was found so far, so that a
/// scan may be left when one likes.
#[derive(Debug)]
pub struct Scan {
    pub(super) plan: Plan,
    pub(super) channel: Channel,
    pub(super) patience: Patience,
    pub(super) agenda: VecDeque<Job>,
    pub(super) studies: VecDeque<usize>,
    pub(super) fingerprints: BTreeMap<usize, Fingerprint>,
    /// How often the answers of a finding were garbled when its model was looked for.
    pub(super) garbled: BTreeMap<usize, u8>,
    pub(super) findings: Vec<Finding>,
    /// Who was asked last, and when.
    pub(super) recent: VecDeque<(u8, Mono)>,
    foreign: u32,
    phase: Phase,
    pub(super) port: Option<Characters>,
    tag: u16,
    /// The last question, for answers that come after its time.
    before: Option<(Job, u16, Vec<u8>)>,
    between: Vec<u8>,
    last_byte: Mono,
    begun: Option<Mono>,
    pub(super) now: Mono,
}

/// One question and what it is for.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) question: Question,
    pub(super) characters: Option<Characters>,
    pub(super) pace: Pace,
    pub(super) purpose: Purpose,
}

/// What a question is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// Is anybody there?
    Probe,
    /// Is it one device?
    Trial(Trial),
    /// Who of many is there? With what was heard before, and how often that was trouble.
    Wildcard { first: Option<Answer>, troubles: u8 },
    /// Which model is the finding at this place? With the number of the try.
    Study(usize, u8),
}

#[derive(Debug)]
enum Phase {
    Listening { settings: VecDeque<Characters>, time: Duration, until: Mono, unknown: usize },
    Idle,
    Switching(Box<Job>),
    Resting(Box<Job>, Mono),
    Waiting(Box<Window>),
    Ended(End),
}

/// The time of a question.
#[derive(Debug)]
struct Window {
    job: Job,
    sent: Vec<u8>,
    /// When the request has left.
    end: Mono,
    first_byte: Option<Mono>,
    bytes: Vec<u8>,
    until: Mono,
}

impl Scan {
    /// A scan that first listens for `listen` at each speed, and then tries what is in the plan.
    pub fn new(channel: Channel, plan: Plan, listen: Duration) -> Self {
        let settings = if listen.is_zero() { VecDeque::new() } else { plan.listened().into() };
        let phase = Phase::Listening { settings, time: listen, until: Mono(0), unknown: 0 };
        Scan {
            plan,
            channel,
            patience: Patience::default(),
            agenda: VecDeque::new(),
            studies: VecDeque::new(),
            fingerprints: BTreeMap::new(),
            garbled: BTreeMap::new(),
            findings: Vec::new(),
            recent: VecDeque::new(),
            foreign: 0,
            phase,
            port: None,
            tag: 0,
            before: None,
            between: Vec::new(),
            last_byte: Mono(0),
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
            Phase::Listening { settings, time, until, .. } => {
                *time * u32::try_from(settings.len()).unwrap_or(u32::MAX) + self.now.until(*until)
            }
            Phase::Idle | Phase::Switching(_) | Phase::Resting(..) | Phase::Waiting(_) | Phase::Ended(_) => {
                Duration::ZERO
            }
        };
        let job = match &self.phase {
            Phase::Switching(job) | Phase::Resting(job, _) => Some(&**job),
            Phase::Waiting(window) => Some(&window.job),
            Phase::Listening { .. } | Phase::Idle | Phase::Ended(_) => None,
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
            let (phase, want) = self.step(phase, now);
            self.phase = phase;
            if let Some(want) = want {
                return want;
            }
        }
    }

    fn step(&mut self, phase: Phase, now: Mono) -> (Phase, Option<Want>) {
        match phase {
            Phase::Listening { settings, time, until, unknown } => self.listen(settings, time, (until, unknown), now),
            Phase::Idle => match self.next_job() {
                None => (Phase::Ended(End::Finished), None),
                Some(job) => match job.characters.filter(|line| Some(*line) != self.port) {
                    Some(line) => (Phase::Switching(Box::new(job)), Some(Want::Switch(line))),
                    None => (self.rested(job), None),
                },
            },
            Phase::Switching(job) => {
                let want = job.characters.map(Want::Switch);
                (Phase::Switching(job), want)
            }
            Phase::Resting(job, until) if now < until => (Phase::Resting(job, until), Some(Want::Wait(until))),
            Phase::Resting(job, _) => {
                self.settle_between();
                if let Some(end) = self.ended() {
                    return (Phase::Ended(end), None);
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
                (self.ended().map_or(Phase::Idle, Phase::Ended), None)
            }
            Phase::Ended(end) => (Phase::Ended(end), Some(Want::End(end))),
        }
    }

    /// Listens at each speed in turn, and where bytes come that are no frame, at the other parities of that speed as well.
    /// Anything that is heard keeps the scan from asking.
    fn listen(
        &mut self,
        mut settings: VecDeque<Characters>,
        time: Duration,
        (until, unknown): (Mono, usize),
        now: Mono,
    ) -> (Phase, Option<Want>) {
        if let Some(protocol) = talk(&self.between) {
            return (Phase::Ended(End::ForeignMaster { protocol, characters: self.port }), None);
        }
        if now < until {
            return (Phase::Listening { settings, time, until, unknown }, Some(Want::Wait(until)));
        }
        // What is heard at one speed only, or too seldom, counts as well: somebody talks.
        let heard = self.between.len();
        let unknown = unknown + heard;
        self.between.clear();
        if heard > GLITCH {
            self.plan.other_parities(self.port).into_iter().for_each(|line| settings.push_front(line));
        }
        match settings.front().copied() {
            Some(line) if Some(line) != self.port => {
                (Phase::Listening { settings, time, until, unknown }, Some(Want::Switch(line)))
            }
            Some(_) => {
                settings.pop_front();
                (Phase::Listening { settings, time, until: now + time, unknown }, None)
            }
            None => {
                let quiet = unknown < UNQUIET;
                (if quiet { Phase::Idle } else { Phase::Ended(End::Unquiet { bytes: unknown }) }, None)
            }
        }
    }

    fn rested(&self, job: Job) -> Phase {
        let silence = job.characters.map_or(Duration::ZERO, rest);
        let pause = match job.question {
            Question::Modbus { .. } | Question::Osdp { .. } => silence,
            Question::Dlt645 { .. } | Question::Cjt188 { .. } => silence.max(METERS_PAUSE),
        };
        let until = self.last_byte + pause;
        Phase::Resting(Box::new(job), until)
    }

    fn ask(&mut self, job: Job, now: Mono) -> (Window, Vec<u8>) {
        self.tag = self.tag.wrapping_add(1);
        let mut sent = Vec::new();
        job.question.encode(self.tag, &mut sent);
        let end = now + job.characters.map_or(Duration::ZERO, |line| wire(line).chars(sent.len()));
        if let Some(number) = job.question.number() {
            self.recent.truncate(RECENT - 1);
            self.recent.push_front((number, end));
        }
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
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Switching(job) => {
                self.port = job.characters;
                // What was received meanwhile was at the wrong settings, or half at each.
                self.between.clear();
                self.before = None;
                self.last_byte = self.last_byte.max(now);
                self.phase = Phase::Resting(job, now + GUARD);
            }
            Phase::Listening { settings, time, until, unknown } => {
                self.port = settings.front().copied().or(self.port);
                self.between.clear();
                self.phase = Phase::Listening { settings, time, until, unknown };
            }
            phase @ (Phase::Idle | Phase::Resting(..) | Phase::Waiting(_) | Phase::Ended(_)) => self.phase = phase,
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
                window.first_byte.get_or_insert(now);
                keep(&mut window.bytes);
                let heard = Heard::read(&window.job.question, self.tag, &window.sent, &window.bytes);
                let line = window.job.characters;
                let mut quiet = Patience::quiet(&window.job.question, line);
                if matches!(window.job.purpose, Purpose::Trial(_)) {
                    quiet = quiet.max(TRIAL_QUIET);
                }
                let after = now + quiet;
                // An answer ends the wait for one; a glitch or an echo does not.
                let until = if heard.answers.is_empty() { window.until.max(after) } else { after };
                window.until = until.min(window.end + WINDOW_MOST);
            }
            Phase::Listening { .. } => keep(&mut self.between),
            Phase::Resting(job, until) => {
                *until = now + job.characters.map_or(Duration::ZERO, rest);
                keep(&mut self.between);
            }
            Phase::Idle | Phase::Switching(_) | Phase::Ended(_) => keep(&mut self.between),
        }
    }

    /// Judges what came after the time of the last question.
    fn settle_between(&mut self) {
        let bytes = std::mem::take(&mut self.between);
        let Some((job, tag, sent)) = self.before.take().filter(|_| !bytes.is_empty()) else { return };
        let heard = Heard::read(&job.question, tag, &sent, &bytes);
        self.note_foreign(&heard);
        self.settle_late(&job, &heard.late);
        if !heard.answers.is_empty() {
            self.settle_own_late(&job);
        }
    }

    /// Judges what came within the time of a question.
    fn close(&mut self, window: Window) {
        let Window { job, sent, end, first_byte, bytes, .. } = window;
        let heard = Heard::read(&job.question, self.tag, &sent, &bytes);
        self.note_foreign(&heard);
        if let (Some(first), false) = (first_byte, heard.answers.is_empty()) {
            self.patience.learn(&job.question, first.since(end));
        }
        self.before = Some((job.clone(), self.tag, sent));
        self.settle_late(&job, &heard.late);
        self.settle(job, &heard);
    }

    fn note_foreign(&mut self, heard: &Heard) {
        // Who answers without having been asked here was asked by somebody else.
        let asked = |number: &u8| self.recent.iter().any(|(one, _)| one == number);
        let others = heard.late.iter().filter(|number| self.channel == Channel::Serial && !asked(number));
        let others: Vec<Protocol> = others.map(|_| Protocol::Modbus).collect();
        for protocol in heard.foreign.iter().copied().chain(others) {
            self.foreign += 1;
            if self.foreign >= FOREIGN {
                self.phase = Phase::Ended(End::ForeignMaster { protocol, characters: self.port });
            }
        }
    }

    /// The end that was noted while a step was under way.
    fn ended(&self) -> Option<End> {
        match self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Listening { .. } | Phase::Idle | Phase::Switching(_) | Phase::Resting(..) | Phase::Waiting(_) => {
                None
            }
        }
    }
}
