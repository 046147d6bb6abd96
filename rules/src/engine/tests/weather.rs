//! A site in a storm: what happens to it, and what must be true once all is quiet.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{DeviceIx, Trust, Wall};
use serde_json::Value as Json;

use super::happening::{Ask, Command, Happening};
use super::plant::Boom;
use super::shell::{Fate, Shell};
use super::site::{BOARD, CLEARS, IO, METERS, RAISES};
use crate::command::{Request, Source};
use crate::engine::{Engine, Setup};
use crate::ticket::Update;

/// By then everything that was asked for has ended.
const LAST: Duration = Duration::from_secs(3_600 + 300);
/// So many times 5 s are longer than the minute in which a ticket tells its counts.
const COUNTED: u32 = 14;
/// A client of the socket sends again at most so long.
const PATIENCE_S: i64 = 600;

/// A command as it was written.
struct Written {
    request: Request,
    source: Source,
    /// When, by the core's clock.
    at: i64,
    /// A client of the socket dies with the box.
    dead: bool,
}

/// A site and those who ask something of it.
pub(super) struct Weather<'a> {
    site: &'a Setup,
    shell: Shell,
    written: Vec<Written>,
    updates: Vec<Update>,
    /// The core's updates of each ticket.
    revisions: BTreeMap<u64, u64>,
}

impl<'a> Weather<'a> {
    pub(super) fn new(site: &'a Setup) -> Self {
        let shell = Shell::awake(site.clone());
        Weather { site, shell, written: Vec::new(), updates: Vec::new(), revisions: BTreeMap::new() }
    }

    pub(super) fn happen(&mut self, happening: &Happening) {
        let shell = &mut self.shell;
        match *happening {
            Happening::Link(up) => shell.set_link(up),
            Happening::Uplink { records, unheard } => shell.uplink(records, unheard),
            Happening::Owe => shell.owe(),
            Happening::Kill { durable, off } => self.kill(durable, off),
            Happening::Reload { without } => self.reload(without),
            Happening::Clock { off_s, trust } => self.set_clock(off_s, trust),
            Happening::Device { device, answers } => shell.set_online(device, answers),
            Happening::Look(device) => self.look(device),
            Happening::Miss(device) => shell.miss(device),
            Happening::Volts(meter, volts) => {
                shell.plant.volts[meter] = volts;
                self.look(METERS[meter]);
            }
            Happening::Car(there) => {
                shell.plant.car = there;
                self.look(BOARD);
            }
            Happening::Door(open) => {
                shell.plant.door = open;
                self.look(BOARD);
            }
            Happening::Fire(burns) => {
                shell.plant.fire = burns;
                self.look(IO);
            }
            Happening::Mains(on) => {
                shell.plant.mains = on;
                if !on {
                    shell.dead.extend(METERS);
                }
                self.look(IO);
            }
            Happening::Command(ref command) => self.command(command),
            Happening::Again { nth, retained } => self.again(nth, retained),
            Happening::Act { nth, fate } => self.act(nth, fate),
            Happening::Work => shell.work(),
            Happening::EndSilence => shell.end_silence(),
            Happening::Disk { prompt } => {
                shell.prompt = prompt;
                shell.store(if prompt { usize::MAX } else { 0 });
            }
            Happening::Store(batches) => shell.store(batches),
            Happening::Ticket { nth, state, held } => {
                let known = &shell.core.tickets;
                let Some(ticket) = known.keys().nth(nth % known.len().max(1)).copied() else { return };
                let seen_box_rev = shell.core.revisions.get(&ticket).copied();
                let rev = self.revisions.entry(ticket).or_default();
                *rev += 1;
                let (id, assignee) = (format!("u{ticket}-{rev}"), Some(format!("crew-{rev}")));
                let update = Update { ticket, id, rev: *rev, seen_box_rev, core_number: None, state, assignee };
                self.updates.push(update);
                if !held {
                    self.update(self.updates.len() - 1);
                }
            }
            Happening::TicketAgain(nth) if !self.updates.is_empty() => self.update(nth % self.updates.len()),
            Happening::TicketAgain(_) => {}
            Happening::Watch(times) => self.watch(times),
            Happening::Pass(span) => shell.pass(span),
            Happening::Sleep(span) => {
                shell.sleep(span);
                shell.tell(Engine::handle_timeout);
            }
        }
    }

    fn kill(&mut self, durable: usize, off: Option<Duration>) {
        self.shell.kill(durable, off);
        if off.is_some() {
            self.written.iter_mut().for_each(|written| written.dead |= written.source != Source::Core);
        }
    }

    fn reload(&mut self, without: Option<usize>) {
        let mut changed = self.site.clone();
        if let Some(meter) = without {
            changed.rules[0].instances.remove(meter);
        }
        self.shell.reload(changed);
    }

    fn set_clock(&mut self, off_s: i64, trust: Trust) {
        self.shell.now.wall = Wall(self.shell.wall + off_s * 1_000_000);
        self.shell.now.trust = trust;
        self.shell.tell(Engine::handle_clock);
    }

    /// The box polls a device, and tells whether it answers where that is news.
    fn look(&mut self, device: DeviceIx) {
        let answers = !self.shell.dead.contains(&device);
        if self.shell.law.knows(device) != Some(answers) {
            self.shell.set_online(device, answers);
        }
        if answers {
            self.shell.poll(device);
        } else {
            self.shell.miss(device);
        }
    }

    fn watch(&mut self, times: u32) {
        for _ in 0..times {
            METERS.into_iter().for_each(|meter| self.look(meter));
            self.watch_gates(1);
        }
    }

    fn watch_gates(&mut self, times: u32) {
        for _ in 0..times {
            self.look(BOARD);
            self.look(IO);
            self.shell.work();
            self.shell.pass(Duration::from_secs(5));
            self.shell.work();
        }
    }

    fn act(&mut self, nth: usize, fate: Fate) {
        let line = &self.shell.line;
        if line.is_empty() {
            return;
        }
        // Each device takes its acts in their order.
        let device = line[nth % line.len()].device;
        let first = line.iter().position(|act| act.device == device).unwrap();
        self.shell.perform(first, fate);
    }

    fn command(&mut self, command: &Command) {
        let nth = self.written.len();
        let (id, target, body) = match command.ask {
            Ask::Entry(action) => (format!("c-{nth}"), "gate:entry".to_owned(), format!(r#""action":"{action}""#)),
            Ask::Lobby(action) => (format!("c-{nth}"), "gate:lobby".to_owned(), format!(r#""action":"{action}""#)),
            Ask::Limit(meter) => {
                let body = format!(r#""point":"limit","value":"{nth}""#);
                (format!("w-{nth}"), format!("device:meter-{}", meter + 1), body)
            }
            Ask::Alarm { nth: alarm, action } => {
                let known = &self.shell.core.alarms;
                let Some((alarm, known)) = known.iter().nth(alarm % known.len().max(1)) else { return };
                let args = match action {
                    "acknowledge" => format!(r#","args":{{"occurrence":"{}"}}"#, known.occurrence.unwrap_or_default()),
                    "shelve" => r#","args":{"minutes":"5"}"#.to_owned(),
                    _ => String::new(),
                };
                (format!("c-{nth}"), format!("alarm:{alarm}"), format!(r#""action":"{action}"{args}"#))
            }
        };
        // A client of the socket has the clock of the box.
        let (source, clock) = match command.by_guard {
            true => (Source::Socket { uid: 1000 }, self.shell.now.wall.0),
            false => (Source::Core, self.shell.wall),
        };
        let request = Shell::request_at(clock - command.late_s * 1_000_000, &id, &target, &body, command.life_s);
        self.written.push(Written { request, source, at: self.shell.wall, dead: false });
        self.again(nth, command.retained);
    }

    /// A command comes, maybe not for the first time. Those of the core need the link.
    fn again(&mut self, nth: usize, retained: bool) {
        if self.written.is_empty() {
            return;
        }
        let written = &self.written[nth % self.written.len()];
        let comes = match written.source {
            Source::Core => self.shell.link,
            Source::Socket { .. } => !written.dead && self.shell.wall - written.at < PATIENCE_S * 1_000_000,
        };
        if comes {
            self.shell.receive_from(written.source, retained && written.source == Source::Core, &written.request);
        }
    }

    fn update(&mut self, nth: usize) {
        if self.shell.link {
            let update = &self.updates[nth];
            self.shell.tell(|engine, now| engine.handle_ticket(now, update));
        }
    }

    /// The storm is over: everything answers and is read, everything ends, and everything comes to the core, which has
    /// been told all of it once.
    pub(super) fn calm(&mut self) {
        self.shell.prompt = true;
        self.shell.store(usize::MAX);
        self.shell.end_silence();
        self.shell.dead.clear();
        self.shell.work();
        self.shell.sleep(LAST);
        self.set_clock(0, Trust::Synchronised);
        self.shell.tell(Engine::handle_timeout);
        self.shell.set_link(true);
        self.watch(3);
        for nth in 0..self.updates.len() {
            self.update(nth);
        }
        self.shell.uplink(usize::MAX, 0);
        for _ in 0..COUNTED {
            if self.counts_are_told() {
                break;
            }
            self.watch_gates(1);
            self.shell.uplink(usize::MAX, 0);
        }
        self.shell.core.agrees_with(&self.shell.engine, self.shell.now);
        self.all_is_told();
        self.updates_are_applied();
        self.site_is_seen();
    }

    /// What tickets count is told once a minute.
    fn counts_are_told(&self) -> bool {
        self.shell.engine.tickets().list(self.shell.now, None, usize::MAX).iter().all(|view| {
            let told = self.shell.core.tickets.get(&view.ticket);
            told.is_some_and(|told| {
                told["occurrences"] == view.occurrences && told["children"] == serde_json::json!(view.children)
            })
        })
    }

    /// Every command that was accepted has ended, and every grant and every opening has its passage.
    fn all_is_told(&self) {
        let core = &self.shell.core;
        let commands = self.shell.durable.iter().filter(|told| told.kind == "command");
        for told in commands.filter(|told| told.json.contains(r#""step":"accepted""#)) {
            let json: Json = serde_json::from_str(&told.json).unwrap();
            assert!(core.outcomes.contains_key(json["id"].as_str().unwrap()), "a command has no end: {json}");
        }
        for request in &self.shell.granted {
            assert!(core.passages.contains_key(request), "passage {request} was lost");
        }
        for written in &self.written {
            let request = serde_json::to_string(&written.request.what.action()).unwrap();
            let opens = request == r#""open""# && written.request.target.to_string() == "gate:entry";
            let id = written.request.id.as_str();
            if opens && self.shell.law.acted.contains_key(id) {
                assert!(core.by_command.contains_key(id), "{id} opened, and there is no passage");
            }
        }
    }

    /// Both sides have all of the core's updates.
    fn updates_are_applied(&self) {
        for view in self.shell.engine.tickets().list(self.shell.now, None, usize::MAX) {
            let Some(rev) = self.revisions.get(&view.ticket) else { continue };
            assert_eq!((view.core_rev, view.assignee), (*rev, Some(format!("crew-{rev}"))), "ticket {}", view.ticket);
        }
    }

    /// What the box knows is what is there.
    fn site_is_seen(&self) {
        let (shell, plant) = (&self.shell, &self.shell.plant);
        let active = |id: String| shell.core.alarms.get(&id).is_some_and(|alarm| alarm.active);
        for rule in &shell.setup.rules[0].instances {
            let meter = METERS.iter().position(|meter| Some(*meter) == rule.device).unwrap();
            let (id, volts) = (format!("overvoltage/{}", rule.source), plant.volts[meter]);
            assert!(volts <= RAISES || active(id.clone()), "{id} was not raised");
            assert!(volts >= CLEARS || !active(id.clone()), "{id} was not cleared");
            assert!(!active(format!("device_offline/{}", rule.source)), "{} answers", rule.source);
        }
        assert_eq!(active("mains_lost/mains".to_owned()), !plant.mains);
        assert!(!plant.fire || active("fire/panel".to_owned()), "nobody knows of the fire");
        let burns = |gate: &str| shell.engine.gates().view(gate, shell.now.mono).unwrap().fire.is_some();
        if plant.fire || burns("entry") {
            assert!(burns("entry") && matches!(plant.boom, Boom::Open), "{:?} in a fire", plant.boom);
        }
        if plant.fire || burns("lobby") {
            assert!(burns("lobby") && !plant.locked, "locked in a fire");
        }
    }
}
