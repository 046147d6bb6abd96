//! The shell around the engine: a journal with batches on their way to the disk, lines, a clock, and a link to the core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{BootId, DeviceIx, Lane, Mono, NoData, PointReading, Stamp, Trust, Wall};

use super::core::Core;
use super::law::Law;
use super::plant::Plant;
use super::site::{BOARD, IO, METERS};
use crate::command::{Answer, Reception, Request, Source};
use crate::effect::{Act, ActId, ActResult, Effect};
use crate::engine::{Engine, Output, Setup};
use crate::words::Mode;

/// 2026-11-23T10:00:00Z, when the worlds begin.
const BEGIN: i64 = 1_795_428_000_000_000;
/// More timers in one stretch of time would be a circle.
const TIMERS_MAX: usize = 20_000;

/// One record of an event lane, as the journal holds it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) lane: Lane,
    pub(super) seq: u64,
    pub(super) kind: &'static str,
    pub(super) json: Arc<str>,
}

/// A key and what is kept under it from now on; `None`: nothing any more.
type Kept = (Box<str>, Option<Box<[u8]>>);

/// What one call wants to have stored, and the acts that wait for that.
#[derive(Debug, Default)]
pub(super) struct Batch {
    state: Vec<Kept>,
    pub(super) events: Vec<(Lane, &'static str, Arc<str>)>,
    pub(super) acts: Vec<Act>,
}

/// What becomes of an act on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Done and confirmed.
    Done,
    /// Not done, and told so.
    Failed,
    /// Done, and not confirmed.
    Doubtful,
    /// Not done, and not confirmed.
    Lost,
    /// Done, and nothing is ever told.
    Silent,
}

/// The box and everything around it.
pub(super) struct Shell {
    pub(super) setup: Setup,
    pub(super) engine: Engine,
    run: u32,
    pub(super) now: Stamp,
    /// What the core's clock says, which is right.
    pub(super) wall: i64,
    pub(super) journal: BTreeMap<Box<str>, Box<[u8]>>,
    /// True while every batch is durable at once.
    pub(super) prompt: bool,
    queue: VecDeque<Batch>,
    pub(super) durable: Vec<Told>,
    seqs: BTreeMap<Lane, u64>,
    /// Acts that were handed to the lines, in order.
    pub(super) line: Vec<Act>,
    /// Acts that were handed to the lines at once.
    pub(super) urgent: usize,
    silent: Vec<ActId>,
    pub(super) plant: Plant,
    /// Devices that do not answer.
    pub(super) dead: BTreeSet<DeviceIx>,
    pub(super) answers: Vec<Answer>,
    pub(super) modes: Vec<Mode>,
    pub(super) law: Law,
    pub(super) core: Core,
    /// Records before this one are acknowledged by the core.
    acknowledged: usize,
    pub(super) link: bool,
    /// Requests that were granted, as far as the disk knows.
    pub(super) granted: BTreeSet<u64>,
}

impl Shell {
    pub(super) fn new(setup: Setup) -> Self {
        let now =
            Stamp { boot: BootId(1), mono: Mono::from_millis(10_000), wall: Wall(BEGIN), trust: Trust::Synchronised };
        let mut shell = Shell {
            engine: Engine::new(&setup, 0).unwrap(),
            setup,
            run: 0,
            now,
            wall: BEGIN,
            journal: BTreeMap::new(),
            prompt: true,
            queue: VecDeque::new(),
            durable: Vec::new(),
            seqs: BTreeMap::new(),
            line: Vec::new(),
            urgent: 0,
            silent: Vec::new(),
            plant: Plant::new(),
            dead: BTreeSet::new(),
            answers: Vec::new(),
            modes: Vec::new(),
            law: Law::default(),
            core: Core::default(),
            acknowledged: 0,
            link: false,
            granted: BTreeSet::new(),
        };
        shell.begin();
        shell
    }

    /// A site that was read, with its link up.
    pub(super) fn awake(setup: Setup) -> Self {
        let mut shell = Shell::new(setup);
        shell.set_link(true);
        shell.wake();
        // Doors are locked after a start.
        shell.work();
        shell
    }

    /// Everything answers, and is read.
    pub(super) fn wake(&mut self) {
        for device in METERS.into_iter().chain([BOARD, IO]) {
            self.set_online(device, true);
            self.poll(device);
        }
    }

    fn begin(&mut self) {
        self.law.restart();
        self.link = false;
        self.tell(|engine, now| {
            engine.handle_start(now);
            engine.handle_link(now, false);
        });
    }

    /// Tells the engine what happened, and does what follows from it.
    pub(super) fn tell<T>(&mut self, happened: impl FnOnce(&mut Engine, Stamp) -> T) -> T {
        let told = happened(&mut self.engine, self.now);
        self.follow();
        told
    }

    fn follow(&mut self) {
        let (mut batch, mut urgent, mut overtaken) = (Batch::default(), Vec::new(), Vec::new());
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Keep { key, value } => {
                    assert!(key.len() <= 256 && value.as_ref().is_none_or(|value| value.len() <= 12 * 1024), "{key}");
                    assert!(Engine::KEPT.iter().any(|prefix| key.starts_with(prefix)), "{key} would not be read again");
                    batch.state.push((key, value));
                }
                Effect::Event { lane, event, .. } => batch.events.push((lane, event.kind, event.json)),
                Effect::Act(act) if act.urgent => {
                    let waiting = self.queue.iter_mut().chain([&mut batch]).map(|batch| &mut batch.acts);
                    overtaken.extend(waiting.flat_map(|acts| acts.extract_if(.., |other| other.device == act.device)));
                    urgent.push(act);
                }
                Effect::Act(act) => batch.acts.push(act),
            }
        }
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Answer(answer) => self.answers.push(answer),
                Output::Mode(mode) => self.modes.push(mode),
                Output::Ask(ask) => panic!("nobody asks here: {ask:?}"),
                Output::Enquire(enquiry) => panic!("there is no controller: {enquiry:?}"),
            }
        }
        assert_eq!(self.engine.gates.poll_passed(), None, "nobody takes what the gates tell");
        self.law.batch(&self.engine, &batch, &urgent);
        self.urgent += urgent.len();
        self.line.extend(urgent);
        self.queue.push_back(batch);
        if self.prompt {
            self.store(usize::MAX);
        }
        for act in overtaken {
            self.tell(|engine, now| {
                engine.handle_act_result(now, act.id, ActResult::Refused("something urgent came first".into()));
            });
        }
    }

    /// The disk takes the first so many batches, and their acts go out.
    pub(super) fn store(&mut self, batches: usize) {
        for batch in self.write(batches) {
            self.line.extend(batch.acts);
        }
    }

    fn write(&mut self, batches: usize) -> Vec<Batch> {
        let batches: Vec<Batch> = self.queue.drain(..batches.min(self.queue.len())).collect();
        for batch in &batches {
            for (key, value) in &batch.state {
                if let (Some(request), true) = (key.strip_prefix("passage/"), value.is_some()) {
                    self.granted.insert(request.parse().unwrap());
                }
                match value {
                    Some(value) => self.journal.insert(key.clone(), value.clone()),
                    None => self.journal.remove(key),
                };
            }
            for (lane, kind, json) in &batch.events {
                let seq = self.seqs.entry(*lane).or_default();
                *seq += 1;
                self.durable.push(Told { lane: *lane, seq: *seq, kind, json: json.clone() });
            }
        }
        batches
    }

    /// Batches that are not durable yet.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The process is killed when so many of the waiting batches have reached the disk, and starts again; after
    /// `off` without power, if there is one.
    pub(super) fn kill(&mut self, batches: usize, off: Option<Duration>) {
        self.write(batches);
        self.queue.clear();
        self.line.clear();
        self.silent.clear();
        if let Some(off) = off {
            self.now.boot = BootId(self.now.boot.0 + 1);
            self.now.mono = Mono::from_millis(20_000);
            self.now.wall.0 += micros(off);
            self.wall += micros(off);
            self.plant.rest();
        }
        self.run = 0;
        self.law.kill();
        self.restore();
    }

    /// The site file has changed: a new engine goes on from what was kept. Acts under way go on.
    pub(super) fn reload(&mut self, setup: Setup) {
        self.store(usize::MAX);
        self.setup = setup;
        self.run += 1;
        let link = self.link;
        self.restore();
        self.set_link(link);
    }

    fn restore(&mut self) {
        self.engine = Engine::new(&self.setup, self.run).unwrap();
        for (key, value) in &self.journal {
            self.engine.restore(key, value);
        }
        assert_eq!(self.engine.unreadable(), 0);
        self.begin();
    }

    /// Lets time pass, with every timer at its instant.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        for _ in 0..TIMERS_MAX {
            let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) else { break };
            self.sleep(due.since(self.now.mono));
            self.tell(Engine::handle_timeout);
        }
        assert!(self.engine.poll_timeout().is_none_or(|due| due > end), "the engine does not come to rest");
        self.sleep(end.since(self.now.mono));
    }

    /// The same, with everything that answers read every 5 s and every act done within one.
    pub(super) fn live(&mut self, span: Duration) {
        let seconds = span.as_secs();
        for second in 0..seconds {
            let all = METERS.into_iter().chain([BOARD, IO]).filter(|_| second % 5 == 0);
            for device in all.filter(|ix| !self.dead.contains(ix)).collect::<Vec<_>>() {
                self.poll(device);
            }
            self.work();
            self.pass(Duration::from_secs(1));
            self.work();
        }
    }

    /// Time passes, and the box is too busy to notice.
    pub(super) fn sleep(&mut self, span: Duration) {
        self.now.mono = self.now.mono + span;
        self.now.wall.0 += micros(span);
        self.wall += micros(span);
    }

    pub(super) fn poll(&mut self, device: DeviceIx) {
        let readings = self.plant.read(self.now.mono, device);
        self.read(device, &readings);
    }

    pub(super) fn read(&mut self, device: DeviceIx, readings: &[PointReading]) {
        self.law.sample(device, readings);
        self.tell(|engine, now| engine.handle_sample(now, device, now.mono, readings));
    }

    /// A poll of a device came to nothing.
    pub(super) fn miss(&mut self, device: DeviceIx) {
        let mut readings = self.plant.read(self.now.mono, device);
        readings.iter_mut().for_each(|reading| reading.value = Err(NoData::Timeout));
        self.read(device, &readings);
    }

    pub(super) fn set_online(&mut self, device: DeviceIx, online: bool) {
        if online {
            self.dead.remove(&device);
        } else {
            self.dead.insert(device);
        }
        self.law.online(device, online);
        self.tell(|engine, now| engine.handle_device_state(now, device, online, "timeout"));
    }

    pub(super) fn set_link(&mut self, up: bool) {
        self.link = up;
        self.tell(|engine, now| engine.handle_link(now, up));
    }

    /// The core has what it is owed, or not.
    pub(super) fn owe(&mut self) {
        let urgent = u64::try_from(self.durable.len() - self.acknowledged).unwrap();
        let backlog = crate::mode::Backlog { urgent, ..Default::default() };
        self.tell(|engine, now| engine.handle_backlog(now, backlog));
    }

    /// So many records travel; the core's acknowledgements of the last of them are lost.
    pub(super) fn uplink(&mut self, records: usize, unheard: usize) {
        if !self.link {
            return;
        }
        let end = self.durable.len().min(self.acknowledged.saturating_add(records));
        for told in &self.durable[self.acknowledged..end] {
            self.core.receive(told);
        }
        self.acknowledged = end.saturating_sub(unheard).max(self.acknowledged);
    }

    /// The first act on the line of this device meets its fate.
    pub(super) fn perform(&mut self, at: usize, fate: Fate) {
        let act = self.line.remove(at);
        let result = if act.expires <= self.now.mono {
            Some(ActResult::Expired)
        } else {
            if fate != Fate::Failed {
                // Sent: nobody knows whether the device does it.
                self.law.begun(self.now.mono, &act);
            }
            if matches!(fate, Fate::Done | Fate::Doubtful | Fate::Silent) {
                self.plant.act(self.now.mono, act.device, &act.action);
            }
            match fate {
                Fate::Done => Some(ActResult::Acknowledged),
                Fate::Failed => Some(ActResult::Failed(NoData::Exception(4))),
                Fate::Doubtful | Fate::Lost => Some(ActResult::Unknown(NoData::Timeout)),
                Fate::Silent => None,
            }
        };
        match result {
            Some(result) => self.tell(|engine, now| engine.handle_act_result(now, act.id, result)),
            None => self.silent.push(act.id),
        }
    }

    /// All acts are done.
    pub(super) fn work(&mut self) {
        while !self.line.is_empty() {
            self.perform(0, Fate::Done);
        }
    }

    /// The lines that never told how an act ended have ended themselves.
    pub(super) fn end_silence(&mut self) {
        for id in std::mem::take(&mut self.silent) {
            self.tell(|engine, now| engine.handle_act_result(now, id, ActResult::Unknown(NoData::BusDown)));
        }
    }

    /// A command as the core writes it now: `body` holds its action or its write.
    pub(super) fn request(&self, id: &str, target: &str, body: &str, life_s: i64) -> Request {
        Shell::request_at(self.wall, id, target, body, life_s)
    }

    /// The same, written by another clock.
    pub(super) fn request_at(wall: i64, id: &str, target: &str, body: &str, life_s: i64) -> Request {
        let time = |wall: i64| jiff::Timestamp::from_microsecond(wall).unwrap();
        let (issued, expires) = (time(wall), time(wall + life_s * 1_000_000));
        let text = format!(
            r#"{{"v":1,"id":"{id}","target":"{target}",{body},"issuer":"desk","issued_at":"{issued}","expires_at":"{expires}"}}"#
        );
        Request::parse(text.as_bytes()).unwrap()
    }

    /// A command comes.
    pub(super) fn receive(&mut self, source: Source, request: &Request) -> Reception {
        self.receive_from(source, false, request)
    }

    /// The same, with the broker's mark of a message from an unknown time.
    pub(super) fn receive_from(&mut self, source: Source, retained: bool, request: &Request) -> Reception {
        if self.engine.commands.state(request.id.as_str()).is_none() {
            self.law.request(self.now, request);
        }
        self.tell(|engine, now| engine.handle_request(now, source, retained, request.clone()))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap()
}
