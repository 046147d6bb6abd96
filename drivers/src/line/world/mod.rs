//! A simulated pair of wires with meters, faults and a virtual clock, around the real line and the real driver.
//!
//! The wire is honest: characters take their time, who talks at the same time garbles the other, the gateway hears
//! nothing while it sends (or hears its echo), and adapters hand over in pieces.

mod mixed;
mod slave;
mod trials;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use fastrand::Rng;
use gatehouse_core::{Decimal, DeviceIx, Mono, NoData, PointIx, PointReading, Value};

use self::slave::Slave;
use super::{Command, CommandResult, Line, LineDevice, LineSettings, Output, Wire};
use crate::line::{DeviceSettings, Medium};
use crate::modbus::point::{DataType, ModbusPoint, Order, Table, WriteWith};
use crate::modbus::{Cost, Framing, ModbusDevice};
use crate::profile::Limits;

/// Points of a cluster.
const CLUSTER: u16 = 10;
/// Clusters of a device, each read by one request of its own.
const CLUSTERS: u16 = 3;
/// Addresses from one cluster to the next.
const STRIDE: u16 = 100;

/// How often each fault strikes: one reply in so many; 0 for never.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    late: u32,
    flipped: u32,
    glitch: u32,
    short: u32,
    doubled: u32,
    foreign: u32,
    /// A reply that never comes.
    mute: u32,
}

/// One talker's stretch of the wire.
#[derive(Debug, Clone)]
struct Talk {
    start: u64,
    bytes: Vec<u8>,
    from_gateway: bool,
    /// The gateway received something of it.
    noticed: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The request `talk` has ended: meters hear it.
    Heard(usize),
    /// The kernel has the whole request.
    Sent,
    /// A meter begins to talk.
    Begin(Vec<u8>),
    /// Bytes `from..to` of a talk are handed to the gateway.
    Deliver(usize, usize, usize),
}

struct World {
    line: Line,
    wire: Wire,
    rng: Rng,
    slaves: Vec<Slave>,
    faults: Faults,
    /// Replies are late by the ceiling and this much more, at most.
    lateness: (Duration, Duration),
    /// How many bytes the adapter hands over at once.
    piece: usize,
    echo: bool,
    /// Time from a timer's expiry to the shell acting on it.
    latency: Duration,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    /// The last talks; older ones are cut off at the front.
    talks: BTreeMap<usize, Talk>,
    next_talk: usize,
    generation: u16,
    /// When each generation was read.
    generations: Vec<u64>,
    tally: Tally,
}

#[derive(Debug, Default, Clone)]
struct Tally {
    /// Samples with at least one value, for each device.
    samples: Vec<u64>,
    values: u64,
    wrong: u64,
    /// Greatest age of a value at the end of its poll.
    oldest: Duration,
    missing: u64,
    /// Sum and number of the times between two values of the same device's sample, in ns.
    refresh: Vec<(u64, u64)>,
    last: Vec<u64>,
    /// Requests that began before 3.5 characters of silence were over.
    violations: u64,
    collisions: u64,
    online: Vec<(u32, bool)>,
    commands: Vec<(u64, CommandResult)>,
    late_sent: u64,
}

fn point(at: u16) -> ModbusPoint {
    ModbusPoint {
        table: Table::Holding,
        address: at / CLUSTER * STRIDE + at % CLUSTER * 2,
        data_type: DataType::U32,
        order: Order::Abcd,
        bit: None,
        scale: Decimal::whole(1),
        offset: Decimal::whole(0),
        not_available: Vec::new(),
        write: None,
    }
}

/// A register that is written; it lies far from the clusters.
const SETPOINT: PointIx = PointIx(CLUSTER * CLUSTERS);

pub(super) fn device(ix: u32, unit: u8, wire: &Wire, interval: Duration) -> LineDevice {
    let mut points: Vec<ModbusPoint> = (0..CLUSTER * CLUSTERS).map(point).collect();
    let setpoint =
        ModbusPoint { address: 4000, data_type: DataType::U16, write: Some(WriteWith::SingleRegister), ..point(0) };
    points.push(setpoint);
    let group = (0..CLUSTER * CLUSTERS).map(PointIx).collect();
    let cost = Cost::serial(wire, Duration::from_millis(5), Duration::ZERO);
    let driver = ModbusDevice::new(Framing::Rtu, unit, points, vec![group], Limits::default(), cost).unwrap();
    let settings =
        DeviceSettings { intervals: vec![interval], timeout_ceiling: None, characters: None, pauses_with: None };
    LineDevice { ix: DeviceIx(ix), settings, driver: Box::new(driver) }
}

impl World {
    /// Meters at units 1, 2, ... polled every `interval`.
    fn new(wire: Wire, meters: u8, interval: Duration, seed: u64) -> World {
        Self::with(LineSettings::new(Medium::Serial(wire)), meters, interval, seed)
    }

    fn with(settings: LineSettings, meters: u8, interval: Duration, seed: u64) -> World {
        let Medium::Serial(wire) = settings.medium else { panic!("a serial world") };
        let devices = (1..=meters).map(|unit| device(u32::from(unit), unit, &wire, interval)).collect();
        let count = usize::from(meters) + 1;
        let ceiling = settings.timeout_ceiling;
        World {
            line: Line::new(settings, devices, seed, Mono(0)),
            wire,
            rng: Rng::with_seed(seed),
            slaves: (1..=meters).map(|unit| Slave::new(unit, Duration::from_millis(5))).collect(),
            faults: Faults::default(),
            lateness: (ceiling + Duration::from_millis(20), ceiling + Duration::from_millis(900)),
            piece: 8,
            echo: false,
            latency: Duration::ZERO,
            now: 0,
            events: BinaryHeap::new(),
            order: 0,
            talks: BTreeMap::new(),
            next_talk: 0,
            generation: 0,
            generations: vec![0; 1 << 16],
            tally: Tally {
                samples: vec![0; count],
                refresh: vec![(0, 0); count],
                last: vec![0; count],
                ..Tally::default()
            },
        }
    }

    fn char_ns(&self) -> u64 {
        u64::from(self.wire.char_bits) * 1_000_000_000 / u64::from(self.wire.baud)
    }

    fn silence_ns(&self) -> u64 {
        u64::try_from(self.wire.three_and_a_half_chars().as_nanos()).unwrap()
    }

    fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, event)));
    }

    fn open(&mut self) {
        self.line.handle_opened(Mono(self.now));
    }

    /// Runs until `end`, or until `transactions` requests have been sent.
    fn run(&mut self, end: Mono, transactions: u64) {
        let mut steps = 0u64;
        while self.now < end.0 && self.line.stats().transactions < transactions {
            steps += 1;
            assert!(steps < 1_000_000_000, "the world makes no progress");
            self.shell();
            let event = self.events.peek().map(|Reverse((time, ..))| *time);
            let latency = u64::try_from(self.latency.as_nanos()).unwrap();
            let wake = self.line.poll_timeout();
            assert!(wake.is_none_or(|(at, _)| at.0 > self.now), "a timer in the past would spin: {wake:?}");
            let timer = wake.map(|(at, _)| at.0 + latency);
            match (event, timer) {
                (Some(event), timer) if timer.is_none_or(|timer| event <= timer) => {
                    let Reverse((time, _, event)) = self.events.pop().unwrap();
                    self.now = time;
                    self.happen(event);
                }
                (_, Some(timer)) => {
                    self.now = timer;
                    self.line.handle_timeout(Mono(self.now));
                }
                (_, None) => break,
            }
        }
    }

    /// What the shell does after each call.
    fn shell(&mut self) {
        while let Some(output) = self.line.poll_output() {
            self.take(output);
        }
        let mut bytes = Vec::new();
        if self.line.poll_transmit(Mono(self.now), &mut bytes) {
            if self.talks.values().any(|talk| self.is_disturbed(talk)) {
                self.tally.violations += 1;
            }
            let talk = self.talk(bytes, true);
            let end = self.end_of(&self.talks[&talk]);
            self.at(end, Event::Sent);
            self.at(end, Event::Heard(talk));
            if self.echo {
                self.deliver(talk);
            }
        }
        while let Some(output) = self.line.poll_output() {
            self.take(output);
        }
    }

    /// True if a request at this instant breaks the silence after a talk that the gateway has heard of.
    fn is_disturbed(&self, talk: &Talk) -> bool {
        let known = talk.from_gateway || talk.noticed;
        known && self.end_of(talk) + self.silence_ns() > self.now + 2
    }

    fn end_of(&self, talk: &Talk) -> u64 {
        talk.start + talk.bytes.len() as u64 * self.char_ns()
    }

    fn talk(&mut self, bytes: Vec<u8>, from_gateway: bool) -> usize {
        let id = self.next_talk;
        self.next_talk += 1;
        self.talks.insert(id, Talk { start: self.now, bytes, from_gateway, noticed: false });
        if self.talks.len() > 16 {
            self.talks.pop_first();
        }
        id
    }

    fn deliver(&mut self, talk: usize) {
        let (start, length) = (self.talks[&talk].start, self.talks[&talk].bytes.len());
        let mut from = 0;
        while from < length {
            let to = (from + self.piece).min(length);
            self.at(start + to as u64 * self.char_ns(), Event::Deliver(talk, from, to));
            from = to;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Sent => self.line.handle_sent(Mono(self.now)),
            Event::Heard(talk) => self.heard(talk),
            Event::Begin(bytes) => {
                let talk = self.talk(bytes, false);
                self.deliver(talk);
            }
            Event::Deliver(talk, from, to) => {
                let bytes = self.received(talk, from, to);
                if let Some(talk) = self.talks.get_mut(&talk) {
                    talk.noticed |= !bytes.is_empty();
                }
                self.line.handle_bytes(Mono(self.now), &bytes);
            }
        }
    }

    /// Bytes of a talk as they arrive at another's end: garbled where two talk at once, gone where we send.
    fn received(&mut self, id: usize, from: usize, to: usize) -> Vec<u8> {
        let Some(talk) = self.talks.get(&id).cloned() else { return Vec::new() };
        let mut bytes = Vec::new();
        for at in from..to {
            let begin = talk.start + at as u64 * self.char_ns();
            let end = begin + self.char_ns();
            let overlaps = |other: &Talk| other.start < end && begin < self.end_of(other);
            let others = || self.talks.iter().filter(|(other, talk)| **other != id && overlaps(talk));
            if others().count() == 0 {
                bytes.push(talk.bytes[at]);
                continue;
            }
            if talk.from_gateway || !others().any(|(_, other)| other.from_gateway) || self.echo {
                self.tally.collisions += 1;
                bytes.push(self.rng.u8(..));
            }
        }
        bytes
    }

    fn heard(&mut self, talk: usize) {
        let length = self.talks[&talk].bytes.len();
        let frame = self.received(talk, 0, length);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        self.generations[usize::from(generation)] = self.now;
        let at = self.slaves.iter().position(|slave| !slave.dead && frame.first() == Some(&slave.unit));
        let Some(at) = at else { return };
        let Some(reply) = self.slaves[at].answer(&frame, generation) else { return };
        let mut strikes = |one_in: u32| one_in > 0 && self.rng.u32(..one_in) == 0;
        let faults = self.faults;
        let (late, mute, doubled) = (strikes(faults.late), strikes(faults.mute), strikes(faults.doubled));
        let (flipped, glitch, short) = (strikes(faults.flipped), strikes(faults.glitch), strikes(faults.short));
        let foreign = strikes(faults.foreign);
        if mute {
            return;
        }
        let jitter = self.rng.u64(0..=500_000);
        let mut begin = self.now + self.silence_ns() + nanos(self.slaves[at].turnaround) + jitter;
        if late {
            self.tally.late_sent += 1;
            begin = self.now + self.rng.u64(nanos(self.lateness.0)..=nanos(self.lateness.1));
        }
        let mut bytes = reply.clone();
        if foreign {
            // A sound reply of a meter that does not exist here, of the same kind and length.
            let mut other = reply.clone();
            other[0] = 77;
            let body = other.len() - 2;
            let sum = slave::crc(&other[..body]);
            other[body..].copy_from_slice(&sum);
            bytes = if self.rng.bool() { other } else { [other, reply].concat() };
        }
        if flipped {
            let place = self.rng.usize(..bytes.len());
            bytes[place] ^= 1 << self.rng.u8(..8);
        }
        if short {
            bytes.truncate(self.rng.usize(1..bytes.len()));
        }
        if doubled {
            bytes = [bytes.clone(), bytes].concat();
        }
        if glitch {
            let noise = [0x00, 0xFF, self.rng.u8(..)];
            bytes.splice(0..0, noise[..self.rng.usize(1..=3)].iter().copied());
        }
        self.at(begin, Event::Begin(bytes));
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Sample { device, at, readings, .. } => {
                let device = device.0 as usize;
                let points = CLUSTER * CLUSTERS;
                assert!(readings.iter().map(|reading| reading.point).eq((0..points).map(PointIx)), "each point once");
                let mut good = true;
                for reading in &readings {
                    good &= self.check(device, at, reading);
                }
                if good {
                    self.tally.samples[device] += 1;
                    let last = std::mem::replace(&mut self.tally.last[device], at.0);
                    if last > 0 {
                        self.tally.refresh[device].0 += at.0 - last;
                        self.tally.refresh[device].1 += 1;
                    }
                }
                self.line.recycle(readings);
            }
            Output::DeviceState { device, online, .. } => self.tally.online.push((device.0, online)),
            Output::CommandDone { id, result, .. } => self.tally.commands.push((id, result)),
            Output::Characters { .. } => panic!("the meters of this world are alike"),
            Output::ClosePort { reason } => panic!("a serial line is not closed: {reason}"),
        }
    }

    /// True if the reading is a value; counts it, and whether it is another point's.
    fn check(&mut self, device: usize, at: Mono, reading: &PointReading) -> bool {
        let value = match &reading.value {
            Ok(Value::Decimal(value)) => u32::try_from(value.mantissa).unwrap(),
            Ok(value) => panic!("{value} is no number"),
            Err(NoData::Exception(code)) => panic!("no meter answers exception {code}"),
            Err(_) => {
                self.tally.missing += 1;
                return false;
            }
        };
        self.tally.values += 1;
        let [unit, pair, g1, g0] = value.to_be_bytes();
        let address = point(reading.point.0).address;
        if usize::from(unit) != device || u16::from(pair) != (address / 2) & 0xFF {
            self.tally.wrong += 1;
        }
        let read_at = self.generations[usize::from(u16::from_be_bytes([g1, g0]))];
        self.tally.oldest = self.tally.oldest.max(Duration::from_nanos(at.0.saturating_sub(read_at)));
        true
    }

    /// Mean time between complete samples over all meters, in ms.
    fn mean_refresh_ms(&self) -> f64 {
        let (sum, count) = self.tally.refresh.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        sum as f64 / count as f64 / 1e6
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
