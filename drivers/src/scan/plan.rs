//! What is tried, in the order that finds most soonest: likelihood over time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::patience::{Pace, Patience};
use super::question::Question;
use super::usual::{CJT188, DLT645, MODBUS, OSDP, OSDP_FAST, characters};
use crate::cjt188::{self, DiOrder};
use crate::dlt645::{self, Edition};
use crate::line::settings::{Characters, Parity};
use crate::modbus::Framing;
use crate::point::Protocol;

/// What is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A serial pair, whose line settings are to be found.
    Serial,
    /// A socket to a Modbus TCP device, or to a gateway with devices behind it.
    Tcp,
    /// A socket to a transparent serial server, which carries the bytes of a pair as they are. The line settings are the
    /// server's own.
    Raw,
}

impl Channel {
    /// Whether one hears a pair of wires: noise, what others say, and answers without a transaction.
    pub(super) fn is_pair(self) -> bool {
        match self {
            Channel::Serial | Channel::Raw => true,
            Channel::Tcp => false,
        }
    }
}

/// What the caller knows, so that less has to be tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The only protocols to try; empty: all that the channel carries.
    pub protocols: Vec<Protocol>,
    /// The only speeds to try, in bits per second; empty: all.
    pub bauds: Vec<u32>,
    /// The only addresses of Modbus units and OSDP readers to try, both ends included; `None`: all.
    pub addresses: Option<(u8, u8)>,
}

impl Options {
    /// Whether a protocol is to be tried.
    pub(super) fn wants(&self, protocol: Protocol) -> bool {
        self.protocols.is_empty() || self.protocols.contains(&protocol)
    }

    /// Whether CJ/T 188 is to be tried: a scan asks what both editions have.
    pub(super) fn wants_pipes(&self) -> bool {
        [cjt188::Edition::V2004, cjt188::Edition::V2018].iter().any(|edition| self.wants(Protocol::Cjt188(*edition)))
    }

    /// The addresses from the first to the last that are to be tried.
    pub(super) fn within(&self, (first, last): (u8, u8)) -> Vec<u8> {
        let (least, most) = self.addresses.unwrap_or((0, u8::MAX));
        (first.max(least)..=last.min(most)).collect()
    }
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) round: Round,
    /// The line settings; `None`: on a socket.
    pub(super) characters: Option<Characters>,
    pub(super) pace: Pace,
    /// How likely it is that something is found, on no scale of its own.
    pub(super) weight: u64,
    /// It was deferred: more of its kind may join it.
    is_deferred: bool,
}

impl Attempt {
    pub(super) fn new(round: Round, characters: Option<Characters>, pace: Pace, weight: u64) -> Attempt {
        Attempt { round, characters, pace, weight, is_deferred: false }
    }

    fn cost(&self, framing: Framing, patience: &Patience) -> Duration {
        let questions = self.round.questions(framing);
        let each = questions.first().map_or(Duration::ZERO, |one| patience.cost(one, self.characters, self.pace));
        each * u32::try_from(questions.len()).unwrap_or(u32::MAX)
    }
}

/// The questions of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Round {
    /// These units.
    Modbus(Vec<u8>),
    /// All electricity meters that each of these wildcards covers.
    Dlt645(Edition, Vec<dlt645::Address>),
    /// The same for water, heat and gas meters.
    Cjt188(DiOrder, Vec<cjt188::Address>),
    /// These readers, asked with a CRC or with a checksum.
    Osdp { addresses: Vec<u8>, crc: bool },
}

impl Round {
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Round::Modbus(_) => Protocol::Modbus,
            Round::Dlt645(edition, _) => Protocol::Dlt645(*edition),
            Round::Cjt188(..) => Protocol::Cjt188(cjt188::Edition::V2004),
            Round::Osdp { .. } => Protocol::Osdp,
        }
    }

    /// Takes the wildcards of another round of the same kind; false: it is of another kind.
    fn extend(&mut self, more: &Round) -> bool {
        match (self, more) {
            (Round::Dlt645(edition, known), Round::Dlt645(edition_2, more)) if edition == edition_2 => {
                known.extend_from_slice(more);
                true
            }
            (Round::Cjt188(order, known), Round::Cjt188(order_2, more)) if order == order_2 => {
                known.extend_from_slice(more);
                true
            }
            (Round::Modbus(_) | Round::Dlt645(..) | Round::Cjt188(..) | Round::Osdp { .. }, _) => false,
        }
    }

    /// The questions, in the order in which they are asked.
    pub(super) fn questions(&self, framing: Framing) -> Vec<Question> {
        match self {
            Round::Modbus(units) => units.iter().map(|unit| Question::alive(framing, *unit)).collect(),
            Round::Dlt645(edition, addresses) => {
                let di = Question::energy(*edition);
                let of = |address: &dlt645::Address| Question::Dlt645 { edition: *edition, address: *address, di };
                addresses.iter().map(of).collect()
            }
            Round::Cjt188(order, addresses) => {
                addresses.iter().map(|address| Question::Cjt188 { address: *address, order: *order }).collect()
            }
            Round::Osdp { addresses, crc } => {
                addresses.iter().map(|address| Question::Osdp { address: *address, crc: *crc }).collect()
            }
        }
    }
}

/// What is still to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub(super) channel: Channel,
    pub(super) attempts: Vec<Attempt>,
    /// Of what something was found.
    pub(super) found: Vec<(Protocol, Option<Characters>)>,
    /// What the channel may be as well, in the order in which it is tried.
    pub(super) after: Vec<Plan>,
}

/// Units in the order of likelihood, and of 100 devices how many have one of them.
pub(super) const UNITS: [(u8, u8, u64); 4] = [(1, 10, 60), (11, 32, 20), (33, 100, 12), (101, 247, 8)];
/// The same for readers.
pub(super) const READERS: [(u8, u8, u64); 2] = [(0, 7, 80), (8, 126, 20)];
/// Of 100 devices, how many answer only to who waits long.
const SLOW: u64 = 12;
/// Of 100 devices, how many are slower still.
const PATIENT: u64 = 1;
/// The units that are waited for so long, and how likely settings must be for that.
pub(super) const PATIENT_UNITS: (u8, u8) = (1, 32);
const PATIENT_WEIGHT: u64 = 80;
/// Of 100 readers, how many know no CRC.
const CHECKSUM_ONLY: u64 = 10;
/// So much likelier is what is like what was found.
const ALIKE: u64 = 6;
/// The weight of what has not answered when others did.
const DEFERRED: u64 = 20;
/// The weight of wildcards of whom two meters answer, or more.
const SEVERAL: u64 = 150_000;
/// What a change of the line settings costs.
const SWITCH: Duration = Duration::from_millis(60);

impl Plan {
    /// All that the options leave to be tried.
    pub fn new(channel: Channel, options: &Options) -> Self {
        let mut plan = Plan { channel, attempts: Vec::new(), found: Vec::new(), after: Vec::new() };
        match channel {
            Channel::Serial => plan.add_serial(options),
            Channel::Tcp => plan.add_tcp(options),
            Channel::Raw => plan.add_raw(options),
        }
        plan
    }

    /// True when the options left nothing to try.
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// The speeds at which something is tried, in bits per second, in order; on a socket none.
    pub fn speeds(&self) -> Vec<u32> {
        let bauds = self.attempts.iter().filter_map(|attempt| attempt.characters).map(|line| line.baud);
        bauds.collect::<BTreeSet<u32>>().into_iter().collect()
    }

    fn add_serial(&mut self, options: &Options) {
        let wanted = |protocol: Protocol, baud: u32| {
            options.wants(protocol) && (options.bauds.is_empty() || options.bauds.contains(&baud))
        };
        let within = |addresses: (u8, u8)| options.within(addresses);
        for (baud, parity, weight) in MODBUS {
            for (first, last, share) in UNITS {
                let units = within((first, last));
                if wanted(Protocol::Modbus, baud) && !units.is_empty() {
                    self.add_both(Round::Modbus(units), characters(baud, parity), weight * share);
                }
            }
            let units = within(PATIENT_UNITS);
            if wanted(Protocol::Modbus, baud) && weight >= PATIENT_WEIGHT && !units.is_empty() {
                self.add_patient(Round::Modbus(units), characters(baud, parity), weight);
            }
        }
        for (edition, baud, weight) in DLT645 {
            if wanted(Protocol::Dlt645(edition), baud) {
                let round = Round::Dlt645(edition, vec![dlt645::Address::ANY]);
                self.add_wildcard(round, characters(baud, Parity::Even), weight * 100);
            }
        }
        for (order, baud, parity, weight) in CJT188 {
            if options.wants_pipes() && (options.bauds.is_empty() || options.bauds.contains(&baud)) {
                let round = Round::Cjt188(order, vec![cjt188::Address::ANY]);
                self.add_wildcard(round, characters(baud, parity), weight * 100);
            }
        }
        // Not every adapter knows it, and hardly a reader is set to it: not unless it is asked for.
        let is_fast_wanted = options.bauds.contains(&OSDP_FAST) || options.protocols == [Protocol::Osdp];
        for (baud, weight) in OSDP.into_iter().filter(|(baud, _)| *baud != OSDP_FAST || is_fast_wanted) {
            for (first, last, share) in READERS {
                let addresses = within((first, last));
                if wanted(Protocol::Osdp, baud) && !addresses.is_empty() {
                    let line = characters(baud, Parity::None);
                    self.add_readers(addresses, line, weight * share);
                }
            }
        }
    }

    /// Adds a pass for all meters, and one for who is slow.
    pub(super) fn add_wildcard(&mut self, round: Round, line: impl Into<Option<Characters>>, weight: u64) {
        let line = line.into();
        self.add(round.clone(), line, Pace::Slow, weight);
        self.add(round, line, Pace::Patient, weight * PATIENT / 100);
    }

    /// Adds a quick pass, and a patient one for what is slow.
    pub(super) fn add_both(&mut self, round: Round, line: impl Into<Option<Characters>>, weight: u64) {
        let line = line.into();
        self.add(round.clone(), line, Pace::Fast, weight);
        self.add(round, line, Pace::Slow, weight * SLOW / 100);
    }

    /// Adds a pass that waits longest, for the first units of settings of this weight.
    pub(super) fn add_patient(&mut self, round: Round, line: impl Into<Option<Characters>>, weight: u64) {
        let (first, second) = (UNITS[0].2, UNITS[1].2);
        self.add(round, line, Pace::Patient, weight * (first + second) * PATIENT / 100);
    }

    /// Adds readers, and a slow pass for those of them that know no CRC.
    pub(super) fn add_readers(&mut self, addresses: Vec<u8>, line: impl Into<Option<Characters>>, weight: u64) {
        let line = line.into();
        let rare = Round::Osdp { addresses: addresses.clone(), crc: false };
        self.add_both(Round::Osdp { addresses, crc: true }, line, weight);
        self.add(rare, line, Pace::Slow, weight * CHECKSUM_ONLY / 100);
    }

    pub(super) fn add(&mut self, round: Round, line: impl Into<Option<Characters>>, pace: Pace, weight: u64) {
        self.attempts.push(Attempt::new(round, line.into(), pace, weight));
    }

    /// Adds wildcards of whom at least two meters answer.
    pub(super) fn suggest(&mut self, round: Round, characters: Option<Characters>) {
        self.attempts.push(Attempt::new(round, characters, Pace::Fast, SEVERAL));
    }

    /// Adds what is hardly likely, for when all else was tried.
    pub(super) fn defer(&mut self, round: Round, characters: Option<Characters>) {
        let alike = |known: &&mut Attempt| known.is_deferred && known.characters == characters;
        if self.attempts.iter_mut().filter(alike).any(|known| known.round.extend(&round)) {
            return;
        }
        let attempt = Attempt::new(round, characters, Pace::Slow, DEFERRED);
        self.attempts.push(Attempt { is_deferred: true, ..attempt });
    }

    /// Makes what is like the first find of its kind likelier.
    pub(super) fn found(&mut self, protocol: Protocol, characters: Option<Characters>) {
        if self.found.contains(&(protocol, characters)) {
            return;
        }
        self.found.push((protocol, characters));
        for attempt in &mut self.attempts {
            if attempt.round.protocol() == protocol && attempt.characters == characters && attempt.pace == Pace::Fast {
                attempt.weight = attempt.weight.saturating_mul(ALIKE);
            }
        }
    }

    /// Takes the attempt from which most is to be expected for its time, with the port at `now`.
    pub(super) fn next(&mut self, now: Option<Characters>, patience: &Patience) -> Option<Attempt> {
        let framing = self.framing();
        let worth = |attempt: &Attempt| {
            let cost =
                attempt.cost(framing, patience) + if attempt.characters == now { Duration::ZERO } else { SWITCH };
            u128::from(attempt.weight) * 1_000_000_000 / cost.as_micros().max(1)
        };
        // The first of equals, so that each run is the same.
        let best = self.attempts.iter().enumerate().rev().max_by_key(|(_, attempt)| worth(attempt));
        best.map(|(at, _)| at).map(|at| self.attempts.remove(at))
    }

    /// What the rest takes if nobody answers.
    pub(super) fn cost(&self, patience: &Patience) -> Duration {
        let framing = self.framing();
        let after = self.after.iter().map(|plan| plan.cost(&Patience::on(plan.channel))).sum::<Duration>();
        self.attempts.iter().map(|attempt| attempt.cost(framing, patience) + SWITCH).sum::<Duration>() + after
    }

    /// How Modbus is framed on the channel.
    pub(super) fn framing(&self) -> Framing {
        match self.channel {
            Channel::Serial | Channel::Raw => Framing::Rtu,
            Channel::Tcp => Framing::Tcp,
        }
    }

    /// The other parities that are tried at the speed of `heard`, where that is one of those to listen at.
    pub(super) fn other_parities(&self, heard: Option<Characters>) -> Vec<Characters> {
        let Some(heard) = heard.filter(|line| self.listened().contains(&Some(*line))) else { return Vec::new() };
        let mut others: Vec<Characters> = Vec::new();
        for line in self.attempts.iter().filter_map(|attempt| attempt.characters) {
            if line.baud == heard.baud && line != heard && !others.contains(&line) {
                others.push(line);
            }
        }
        others
    }

    /// The line settings to listen at, each speed once, the likeliest first; behind a serial server once, at those that it
    /// has; where all that comes is an answer, not at all.
    pub(super) fn listened(&self) -> Vec<Option<Characters>> {
        if self.may_be_raw() {
            return vec![None];
        }
        let mut all: Vec<(u64, Characters)> = Vec::new();
        for attempt in &self.attempts {
            let Some(line) = attempt.characters else { continue };
            match all.iter_mut().find(|(_, known)| known.baud == line.baud) {
                Some((weight, known)) if *weight < attempt.weight => (*weight, *known) = (attempt.weight, line),
                Some(_) => {}
                None => all.push((attempt.weight, line)),
            }
        }
        all.sort_by_key(|(weight, line)| (std::cmp::Reverse(*weight), line.baud));
        all.into_iter().map(|(_, line)| Some(line)).collect()
    }
}
