//! A pair of wires with a virtual clock: characters take their time, who talks at the same time garbles the other, and
//! who listens with other line settings than the talker hears noise.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fastrand::Rng;
use gatehouse_core::Mono;

use super::device::{Device, check_reads_only};
use crate::line::settings::{Characters, Parity};
use crate::modbus::decode_request;
use crate::modbus::frame::Framing;
use crate::scan::{Channel, End, Finding, Options, Plan, Scan, Station, Want};

/// What an adapter takes to change its settings.
const SWITCH: u64 = 3_000_000;
/// How long a serial server waits for more, and the network takes.
const SERVER: u64 = 20_000_000;
/// How many bytes an adapter hands over at once.
const PIECE: usize = 16;

#[derive(Debug, Clone)]
struct Talk {
    start: u64,
    bytes: Vec<u8>,
    characters: Characters,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Somebody begins to talk with these characters: a device, or another master.
    Begin(Characters, Vec<u8>),
    /// Our request has ended.
    Heard(usize),
    /// Bytes of a talk are handed over.
    Deliver(usize, usize, usize),
}

pub(super) struct World {
    pub(super) scan: Scan,
    devices: Vec<Device>,
    rng: Rng,
    port: Characters,
    pub(super) now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    talks: Vec<Talk>,
    pub(super) sent: u64,
    echo: bool,
    /// A server is between, which hands on nothing before a talk has ended, and sets no port.
    is_server: bool,
    /// Requests of Modbus TCP, which nobody on a pair knows.
    pub(super) greetings: u64,
    pub(super) reopened: u64,
    /// Which answers of devices, counted from the first, come damaged.
    damaged: Vec<u64>,
    answers: u64,
    /// When each finding was made.
    pub(super) found_at: Vec<Duration>,
}

fn char_ns(characters: Characters) -> u64 {
    u64::from(characters.bits()) * 1_000_000_000 / u64::from(characters.baud)
}

impl Talk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64 * char_ns(self.characters)
    }
}

impl World {
    pub(super) fn new(devices: Vec<Device>, options: &Options, listen: Duration) -> World {
        let port = Characters { baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 };
        World {
            scan: Scan::new(Plan::new(Channel::Serial, options), listen),
            devices,
            rng: Rng::with_seed(5),
            port,
            now: 0,
            events: BinaryHeap::new(),
            order: 0,
            talks: Vec::new(),
            sent: 0,
            echo: false,
            is_server: false,
            greetings: 0,
            reopened: 0,
            damaged: Vec::new(),
            answers: 0,
            found_at: Vec::new(),
        }
    }

    /// A pair behind a serial server with these settings.
    pub(super) fn behind_server(devices: Vec<Device>, plan: Plan, characters: Characters, listen: Duration) -> World {
        let world = World::new(devices, &Options::default(), listen);
        World { scan: Scan::new(plan, listen), port: characters, is_server: true, ..world }
    }

    /// The adapter hands back what it sends.
    pub(super) fn with_echo(mut self) -> World {
        self.echo = true;
        self
    }

    /// A bit is wrong in each of these answers of devices, counted from 0.
    pub(super) fn with_damage(mut self, answers: &[u64]) -> World {
        self.damaged = answers.to_vec();
        self
    }

    /// Somebody sends these bytes with these characters, from `first_ms` on again and again.
    pub(super) fn other_master(&mut self, characters: Characters, bytes: &[u8], (first_ms, every_ms): (u64, u64)) {
        for turn in 0..200 {
            self.at((first_ms + turn * every_ms) * 1_000_000, Event::Begin(characters, bytes.to_vec()));
        }
    }

    /// Bursts of noise for an hour, each of 6 to 30 bytes, about every so many milliseconds.
    pub(super) fn noise(&mut self, first_ms: u64, every_ms: u64) {
        // With characters that nobody has, so that everybody hears something else.
        let nobodys = Characters { baud: 9600, data_bits: 7, parity: Parity::Odd, stop_bits: 2 };
        let mut at = first_ms;
        while at < 3_600_000 {
            let bytes = (0..self.rng.u8(6..30)).map(|_| self.rng.u8(..)).collect();
            self.at(at * 1_000_000, Event::Begin(nobodys, bytes));
            at += self.rng.u64(every_ms / 2..every_ms * 3 / 2);
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, event)));
    }

    /// Runs until the scan ends, or `end` has come, or `enough` was found.
    pub(super) fn run(&mut self, end: Duration, enough: usize) -> Option<End> {
        let end = u64::try_from(end.as_nanos()).unwrap();
        for _ in 0..10_000_000u64 {
            while self.found_at.len() < self.scan.findings().len() {
                self.found_at.push(Duration::from_nanos(self.now));
            }
            if self.now >= end || self.scan.findings().len() >= enough {
                return None;
            }
            match self.scan.poll_want(Mono(self.now)) {
                Want::End(end) => return Some(end),
                Want::Wait(until) => {
                    assert!(until.0 > self.now, "a time in the past would spin");
                    self.pass(until.0);
                }
                Want::Reopen => {
                    assert!(self.is_server, "a serial port is no connection");
                    self.reopened += 1;
                    self.scan.handle_reopened(Mono(self.now));
                }
                Want::Switch(characters) => {
                    assert!(!self.is_server, "the settings are the server's");
                    let until = self.now + SWITCH;
                    while self.now < until {
                        self.pass(until);
                    }
                    self.port = characters;
                    self.scan.handle_switched(Mono(self.now));
                }
                Want::Send(bytes) => {
                    match decode_request(Framing::Tcp, &bytes) {
                        Ok(_) if self.is_server => self.greetings += 1,
                        Ok(_) | Err(_) => check_reads_only(&bytes),
                    }
                    self.sent += 1;
                    let talk = self.talk(bytes, self.port);
                    let until = self.talks[talk].end();
                    self.at(until, Event::Heard(talk));
                    if self.echo {
                        self.deliver(talk);
                    }
                    while !self.is_server && self.now < until {
                        self.pass(until);
                    }
                    self.scan.handle_sent(Mono(self.now));
                }
            }
        }
        panic!("the scan makes no progress");
    }

    /// Lets time pass until the next event, or until `until`.
    fn pass(&mut self, until: u64) {
        match self.events.peek() {
            Some(Reverse((time, ..))) if *time <= until => {}
            Some(_) | None => {
                self.now = until;
                return;
            }
        }
        let Some(Reverse((time, _, event))) = self.events.pop() else { return };
        self.now = self.now.max(time);
        match event {
            Event::Begin(characters, bytes) => {
                let talk = self.talk(bytes, characters);
                self.deliver(talk);
            }
            Event::Deliver(talk, from, to) => {
                let bytes = self.received(talk, from..to, self.port);
                self.scan.handle_bytes(Mono(self.now), &bytes);
            }
            Event::Heard(talk) => {
                let spoken = self.talks[talk].characters;
                let length = self.talks[talk].bytes.len();
                for at in 0..self.devices.len() {
                    let (characters, turnaround) = (self.devices[at].characters, self.devices[at].turnaround_ms);
                    let is_lax = self.devices[at].is_lax && characters.baud == spoken.baud;
                    if characters != spoken && !is_lax {
                        continue;
                    }
                    let heard = self.received(talk, 0..length, spoken);
                    if let Some(mut reply) = self.devices[at].answer(&heard) {
                        if self.damaged.contains(&self.answers) {
                            reply[3] ^= 0x10;
                        }
                        self.answers += 1;
                        self.at(self.now + turnaround * 1_000_000, Event::Begin(characters, reply));
                    }
                }
            }
        }
    }

    fn talk(&mut self, bytes: Vec<u8>, characters: Characters) -> usize {
        self.talks.push(Talk { start: self.now, bytes, characters });
        self.talks.len() - 1
    }

    fn deliver(&mut self, talk: usize) {
        let (start, length) = (self.talks[talk].start, self.talks[talk].bytes.len());
        let char = char_ns(self.talks[talk].characters);
        let (piece, held) = if self.is_server { (length.max(1), SERVER) } else { (PIECE, 0) };
        for from in (0..length).step_by(piece) {
            let to = (from + piece).min(length);
            self.at(start + to as u64 * char + held, Event::Deliver(talk, from, to));
        }
    }

    /// Bytes of a talk as one hears them who listens with these characters.
    fn received(&mut self, id: usize, range: std::ops::Range<usize>, with: Characters) -> Vec<u8> {
        let talk = &self.talks[id];
        let mut bytes = Vec::new();
        for at in range {
            let begin = talk.start + at as u64 * char_ns(talk.characters);
            let end = begin + char_ns(talk.characters);
            // The last talks are enough: none lasts for minutes.
            let others = self.talks.iter().enumerate().rev().take(40);
            let overlaps =
                others.filter(|(other, _)| *other != id).any(|(_, other)| other.start < end && begin < other.end());
            let byte = talk.bytes[at];
            bytes.push(if overlaps || talk.characters != with { self.rng.u8(..) } else { byte });
        }
        // What is faster than one listens is at most one byte now and then.
        if talk.characters.baud > with.baud {
            bytes.truncate((bytes.len() * with.baud as usize / talk.characters.baud as usize).max(1));
        }
        bytes
    }

    pub(super) fn stations(&self) -> Vec<Station> {
        let of = |finding: &Finding| match finding {
            Finding::Found(found) => Some(found.station),
            Finding::Clash(_) => None,
        };
        self.scan.findings().iter().filter_map(of).collect()
    }
}
