//! Three protocols and three line settings on one pair for a day: wires on which who listens with other settings than
//! the talker hears noise.

use super::slave::Slave as ModbusSlave;
use super::*;
use crate::dlt645::{Address, Dlt645Meter, Dlt645Point, Edition, Format, MeterSettings};
use crate::line::{Characters, LineStats, Parity};

mod cjt;
mod foreign;

const FAST: Characters = Characters { baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 };
const SLOW: Characters = Characters { baud: 2400, data_bits: 8, parity: Parity::Even, stop_bits: 1 };
const OTHER: Characters = Characters { baud: 4800, data_bits: 8, parity: Parity::Even, stop_bits: 1 };

const INTERVAL: Duration = Duration::from_secs(60);
/// An interval that no line keeps with so many devices: it is never idle.
const AT_WIRE_SPEED: Duration = Duration::from_secs(2);
const HOUR_MS: u64 = 3_600_000;
/// Identifiers that a DL/T 645 meter is asked for: energies of tariffs 1 to 3.
const IDENTIFIERS: [u32; 3] = [0x0001_0100, 0x0001_0200, 0x0001_0300];

/// A device at the far end of the pair.
enum Far {
    Modbus(ModbusSlave),
    /// With the last two digits of its address.
    Dlt645(u8),
    Cjt188(u8),
}

struct Device {
    far: Far,
    characters: Characters,
    dead: bool,
}

struct Talk {
    start: u64,
    bytes: Vec<u8>,
    characters: Characters,
    from_gateway: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Heard(usize),
    Sent,
    Switched,
    /// Device so and so begins to talk.
    Begin(usize, Vec<u8>),
    Deliver(usize, usize, usize),
}

/// What went wrong, and how much was read.
#[derive(Debug, Default)]
struct Sum {
    values: u64,
    /// Values that say another device or another point.
    crossed: u64,
    /// Values older than any reply may be.
    stale: u64,
    missing: u64,
    samples: Vec<u64>,
    /// Values of each device.
    read: Vec<u64>,
    /// Longest time between two samples of one device.
    longest: Vec<u64>,
    last: Vec<u64>,
    changed_while_talking: u64,
}

struct Pair {
    line: Line,
    rng: Rng,
    devices: Vec<Device>,
    port: Characters,
    wanted: Option<Option<Characters>>,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    talks: BTreeMap<usize, Talk>,
    next_talk: usize,
    generation: u16,
    generations: Vec<u64>,
    sum: Sum,
}

fn char_ns(characters: Characters) -> u64 {
    u64::from(characters.bits()) * 1_000_000_000 / u64::from(characters.baud)
}

fn end_of(talk: &Talk) -> u64 {
    talk.start + talk.bytes.len() as u64 * char_ns(talk.characters)
}

/// Two digits to a byte.
fn bcd(number: u8) -> u8 {
    ((number / 10) << 4) | (number % 10)
}

/// Device, point and generation as eight digits, the least significant byte first.
fn stamped(device: u8, point: u8, generation: u16) -> [u8; 4] {
    let [high, low] = [generation / 100 % 100, generation % 100].map(|two| bcd(u8::try_from(two).unwrap()));
    [low, high, bcd(point), bcd(device)]
}

fn dlt645(ix: u8) -> Dlt645Meter {
    let format = Format::Number { bytes: 4, places: 2, signed: false };
    let point = |di| Dlt645Point { edition: Edition::V2007, di, item: 0, item_bytes: 4, offset: 0, format, bit: None };
    let address = Address::from_wire([bcd(ix), 0, 0, 0, 0, 0]);
    let pause = Duration::from_millis(20);
    let settings = MeterSettings { edition: Edition::V2007, address, preamble: 4, pause, access: None };
    Dlt645Meter::new(settings, IDENTIFIERS.map(point).to_vec(), &[(0..3).map(PointIx).collect()])
}

/// Devices 1 to 40: their protocols in turn, so that nothing but the line groups them.
fn pair(seed: u64, interval: Duration) -> Pair {
    let wire = Wire { baud: FAST.baud, char_bits: FAST.bits(), echo: super::super::Echo::Off, silence: None };
    let (mut devices, mut ours) = (Vec::new(), Vec::new());
    for ix in 1..=40u8 {
        let (far, characters) = match ix % 3 {
            0 => (Far::Modbus(ModbusSlave::new(ix, Duration::ZERO)), FAST),
            1 => (Far::Dlt645(ix), SLOW),
            // Water meters of two speeds, one of them that of the electricity meters.
            _ => (Far::Cjt188(ix), if ix % 2 == 0 { SLOW } else { OTHER }),
        };
        let usual = device(u32::from(ix), ix, &wire, interval);
        let driver: Box<dyn gatehouse_core::Driver> = match &far {
            Far::Modbus(_) => usual.driver,
            Far::Dlt645(ix) => Box::new(dlt645(*ix)),
            Far::Cjt188(ix) => Box::new(cjt::driver(*ix)),
        };
        let characters_of = (characters != FAST).then_some(characters);
        let settings = DeviceSettings { characters: characters_of, ..usual.settings };
        ours.push(LineDevice { ix: usual.ix, settings, driver });
        devices.push(Device { far, characters, dead: false });
    }
    let line = Line::new(LineSettings::new(Medium::Serial(wire)), ours, seed, Mono(0));
    Pair {
        line,
        rng: Rng::with_seed(seed),
        devices,
        port: FAST,
        wanted: None,
        now: 0,
        events: BinaryHeap::new(),
        order: 0,
        talks: BTreeMap::new(),
        next_talk: 0,
        generation: 0,
        generations: vec![0; 10_000],
        sum: Sum { samples: vec![0; 41], read: vec![0; 41], longest: vec![0; 41], last: vec![0; 41], ..Sum::default() },
    }
}

impl Device {
    /// The reply to what it heard; `None` for noise and for what is another's.
    fn answer(&mut self, heard: &[u8], generation: u16) -> Option<Vec<u8>> {
        match &mut self.far {
            Far::Modbus(slave) => slave.answer(heard, generation),
            Far::Dlt645(ix) => {
                let frame = heard.get(4..).filter(|_| heard.starts_with(&[0xFE; 4]))?;
                let [0x68, own, 0, 0, 0, 0, 0, 0x68, 0x11, 4, d0, d1, d2, d3, check, 0x16] = *frame else {
                    return None;
                };
                let sum = frame[..14].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                let di = u32::from_le_bytes([d0, d1, d2, d3].map(|byte| byte.wrapping_sub(0x33)));
                let point = IDENTIFIERS.iter().position(|known| *known == di)?;
                if own != bcd(*ix) || check != sum {
                    return None;
                }
                let value = stamped(*ix, u8::try_from(point).unwrap(), generation);
                let mut reply = vec![0x68, own, 0, 0, 0, 0, 0, 0x68, 0x91, 8];
                reply.extend(di.to_le_bytes().iter().chain(&value).map(|byte| byte.wrapping_add(0x33)));
                reply.push(reply.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
                reply.push(0x16);
                reply.splice(0..0, [0xFE; 4]);
                Some(reply)
            }
            Far::Cjt188(ix) => cjt::answer(*ix, heard, [0, 1].map(|point| stamped(*ix, point, generation))),
        }
    }
}

impl Pair {
    fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, event)));
    }

    fn run(&mut self, end: Mono) {
        while self.now < end.0 {
            self.shell();
            let event = self.events.peek().map_or(u64::MAX, |Reverse((time, ..))| *time);
            let wake = self.line.poll_timeout().map_or(u64::MAX, |(at, _)| at.0);
            assert!(wake > self.now, "a timer in the past would spin: {:?}", self.line.poll_timeout());
            self.now = event.min(wake);
            if event <= wake {
                let Some(Reverse((_, _, event))) = self.events.pop() else { return };
                self.happen(event);
            } else {
                self.line.handle_timeout(Mono(self.now));
            }
        }
    }

    fn shell(&mut self) {
        self.drain();
        let mut bytes = Vec::new();
        if self.line.poll_transmit(Mono(self.now), &mut bytes) {
            let talk = self.talk(bytes, self.port, true);
            let end = end_of(&self.talks[&talk]);
            self.at(end, Event::Sent);
            self.at(end, Event::Heard(talk));
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Sample { device, at, readings, .. } => self.sample(device, at, readings),
                Output::Characters { characters } => {
                    let talking = |talk: &Talk| talk.from_gateway && end_of(talk) > self.now;
                    self.sum.changed_while_talking += u64::from(self.talks.values().any(talking));
                    self.wanted = Some(characters);
                    // What an adapter takes to do it.
                    self.at(self.now + 3_000_000, Event::Switched);
                }
                Output::DeviceState { .. } => {}
                Output::CommandDone { .. } => panic!("nobody asks"),
                Output::ClosePort { reason } => panic!("a serial line is not closed: {reason}"),
            }
        }
    }

    fn sample(&mut self, device: DeviceIx, at: Mono, readings: Vec<PointReading>) {
        let ix = device.0 as usize;
        self.sum.samples[ix] += 1;
        let last = std::mem::replace(&mut self.sum.last[ix], at.0);
        self.sum.longest[ix] = self.sum.longest[ix].max(at.0 - last);
        for reading in &readings {
            let Ok(Value::Decimal(value)) = &reading.value else {
                self.sum.missing += 1;
                continue;
            };
            self.sum.values += 1;
            self.sum.read[ix] += 1;
            let (of, place, generation) = if let Far::Modbus(_) = self.devices[ix - 1].far {
                let [unit, pair, g1, g0] = u32::try_from(value.mantissa).unwrap().to_be_bytes();
                (
                    usize::from(unit),
                    u16::from(pair) == (point(reading.point.0).address / 2) & 0xFF,
                    u16::from_be_bytes([g1, g0]),
                )
            } else {
                let number = u32::try_from(value.mantissa).unwrap();
                let generation = u16::try_from(number % 10_000).unwrap();
                ((number / 1_000_000) as usize, number / 10_000 % 100 == u32::from(reading.point.0), generation)
            };
            self.sum.crossed += u64::from(of != ix || !place);
            let read_at = self.generations[usize::from(generation) % 10_000];
            // A poll of three requests with a repeat each, and its commands to wait for.
            self.sum.stale += u64::from(at.0 - read_at > 15_000_000_000);
        }
        self.line.recycle(readings);
    }

    fn talk(&mut self, bytes: Vec<u8>, characters: Characters, from_gateway: bool) -> usize {
        let id = self.next_talk;
        self.next_talk += 1;
        self.talks.insert(id, Talk { start: self.now, bytes, characters, from_gateway });
        if self.talks.len() > 16 {
            self.talks.pop_first();
        }
        id
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Sent => self.line.handle_sent(Mono(self.now)),
            Event::Switched => {
                if let Some(characters) = self.wanted.take() {
                    self.port = characters.unwrap_or(FAST);
                    self.line.handle_switched(Mono(self.now));
                }
            }
            Event::Heard(talk) => self.heard(talk),
            Event::Begin(device, bytes) => {
                let length = bytes.len();
                let characters = self.devices[device].characters;
                let talk = self.talk(bytes, characters, false);
                for from in (0..length).step_by(24) {
                    let to = (from + 24).min(length);
                    self.at(self.now + to as u64 * char_ns(characters), Event::Deliver(talk, from, to));
                }
            }
            Event::Deliver(talk, from, to) => {
                let bytes = self.received(talk, (from, to), self.port, true);
                self.line.handle_bytes(Mono(self.now), &bytes);
            }
        }
    }

    /// Bytes of a talk as one hears them who listens with these characters.
    fn received(&mut self, id: usize, (from, to): (usize, usize), with: Characters, by_gateway: bool) -> Vec<u8> {
        let Some(talk) = self.talks.get(&id) else { return Vec::new() };
        let char = char_ns(talk.characters);
        let (begin, end) = (talk.start + from as u64 * char, talk.start + to as u64 * char);
        let others =
            self.talks.iter().filter(|(other, talk)| **other != id && talk.start < end && begin < end_of(talk));
        let (mut drowned, mut garbled) = (false, talk.characters != with);
        for (_, other) in others {
            drowned |= by_gateway && other.from_gateway;
            garbled = true;
        }
        if drowned {
            return Vec::new();
        }
        if garbled {
            let length = usize::try_from((end - begin) / char_ns(with)).unwrap().clamp(1, 64);
            return (0..length).map(|_| self.rng.u8(..)).collect();
        }
        talk.bytes[from..to].to_vec()
    }

    fn heard(&mut self, talk: usize) {
        self.generation = (self.generation + 1) % 10_000;
        self.generations[usize::from(self.generation)] = self.now;
        let (length, spoken) = (self.talks[&talk].bytes.len(), self.talks[&talk].characters);
        for at in 0..self.devices.len() {
            if self.devices[at].dead {
                continue;
            }
            if self.devices[at].characters != spoken {
                // To this one the request was noise; now and then it says something to it.
                if self.rng.u32(..20_000) == 0 {
                    let noise = (0..self.rng.usize(1..6)).map(|_| self.rng.u8(..)).collect();
                    let begin = self.now + self.rng.u64(1_000_000..200_000_000);
                    self.at(begin, Event::Begin(at, noise));
                }
                continue;
            }
            let frame = self.received(talk, (0, length), spoken, false);
            if let Some(reply) = self.devices[at].answer(&frame, self.generation) {
                self.reply(at, reply);
            }
        }
    }

    /// A device answers: as a rule soon and whole.
    fn reply(&mut self, at: usize, mut bytes: Vec<u8>) {
        let strikes = |rng: &mut Rng, one_in: u32| rng.u32(..one_in) == 0;
        if strikes(&mut self.rng, 300) {
            return;
        }
        let usual = if self.devices[at].characters == FAST { 8_000_000..20_000_000 } else { 25_000_000..90_000_000 };
        let late = strikes(&mut self.rng, 100);
        let delay = self.rng.u64(if late { 900_000_000..1_900_000_000 } else { usual });
        if strikes(&mut self.rng, 200) {
            // A meter that nobody asked answers soundly, alone or before the one that was asked.
            let other = foreign::instead(&self.devices[at].far, &bytes);
            bytes = if self.rng.bool() { other } else { [other, bytes].concat() };
        }
        if strikes(&mut self.rng, 200) {
            let place = self.rng.usize(..bytes.len());
            bytes[place] ^= 1 << self.rng.u8(..8);
        }
        if strikes(&mut self.rng, 50) {
            let noise = [0x00, 0xFF, self.rng.u8(..)];
            bytes.splice(0..0, noise[..self.rng.usize(1..=3)].iter().copied());
        }
        if strikes(&mut self.rng, 200) {
            bytes.truncate(self.rng.usize(1..bytes.len()));
        }
        self.at(self.now + delay, Event::Begin(at, bytes));
    }
}

/// Runs hours in which some devices are silent for one, others for less, and tells what came of it.
fn hours(pair: &mut Pair, hours: u64) -> LineStats {
    pair.line.handle_opened(Mono(0));
    for hour in 0..hours {
        for at in 0..pair.devices.len() {
            pair.devices[at].dead = hour > 0 && pair.rng.u32(..12) == 0;
        }
        pair.run(Mono::from_millis((hour * 2 + 1) * HOUR_MS / 2));
        for device in &mut pair.devices {
            device.dead &= hour % 2 == 0;
        }
        pair.run(Mono::from_millis((hour + 1) * HOUR_MS));
    }
    let (sum, stats) = (&pair.sum, *pair.line.stats());
    println!(
        "{} values, {} missing, {} changes of the line settings, busy {:?}",
        sum.values, sum.missing, stats.switches, stats.busy
    );
    println!(
        "late {}, bad {}, timeouts {}, retries {}",
        stats.late_replies, stats.bad_replies, stats.timeouts, stats.retries
    );
    assert_eq!((sum.crossed, sum.changed_while_talking), (0, 0), "{stats:?}");
    stats
}

#[test]
fn a_day_of_three_protocols_and_forty_devices_crosses_no_value_and_misses_no_poll() {
    let mut pair = pair(20, INTERVAL);
    let stats = hours(&mut pair, 24);
    let sum = &pair.sum;
    assert!(stats.late_replies > 100 && stats.bad_replies > 100, "{stats:?}");
    assert_eq!((sum.stale, stats.skipped_slots), (0, 0), "each poll was made before it was due again");
    // An hour of silence now and then leaves each device most of its day, of whichever protocol it is.
    assert!(sum.read[1..].iter().all(|values| *values > 2000), "{:?}", sum.read);
    assert!(sum.samples[1..].iter().all(|samples| *samples >= 1439), "{:?}", sum.samples);
    assert!(sum.longest[1..].iter().all(|time| *time < 2 * nanos(INTERVAL)), "{:?}", sum.longest);
    // Three settings a round, and what commands, probes and repeats add.
    assert!((3 * 1440..6 * 1440).contains(&stats.switches), "{}", stats.switches);
}

#[test]
fn a_line_that_is_never_idle_crosses_no_value_either() {
    let mut pair = pair(21, AT_WIRE_SPEED);
    let stats = hours(&mut pair, 3);
    let sum = &pair.sum;
    assert!(stats.busy.as_millis() > u128::from(3 * HOUR_MS) * 9 / 10, "{:?}", stats.busy);
    // Each device has its turn, of whichever protocol it is.
    assert!(sum.read[1..].iter().all(|values| *values > 500), "{:?}", sum.read);
}
