//! What is tried on a socket, and what it turns out to be: Modbus TCP, or a pair of wires behind a serial server.

use std::ops::RangeInclusive;

use super::heard::{Heard, talk};
use super::late::Recent;
use super::machine::{End, Phase, Scan};
use super::patience::{Pace, Patience};
use super::plan::{Attempt, Channel, Options, PATIENT_UNITS, Plan, READERS, Round, UNITS};
use super::proxies::Proxies;
use super::usual::{CJT188, DLT645, MODBUS, OSDP, OSDP_FAST};
use crate::cjt188::{self, DiOrder};
use crate::dlt645::{self, Edition};
use crate::point::Protocol;

/// Units of a TCP device, of itself; behind a gateway others.
const OWN_UNITS: [u8; 3] = [1, 255, 0];
/// The highest unit that is likely behind a gateway.
const LOW: u8 = 32;
/// So many units are asked in Modbus TCP before a socket is taken for something else, and the first of them once more with
/// as much time as gateways need for who is not there.
const GREETED: usize = 10;
/// Weights of the passes: the host itself, all behind it, and with more time the low ones and the others.
const OWN: u64 = 100_000;
const ALL: u64 = 1000;
const LOW_AGAIN: u64 = 200;
const HIGH_AGAIN: u64 = 100;

/// Whether a unit is a likely one on a socket: the host itself, or behind it one of the low ones.
pub(super) fn is_likely_on_socket(unit: u8) -> bool {
    unit <= LOW || OWN_UNITS.contains(&unit)
}

/// The units that are asked on a socket.
struct Units {
    own: Vec<u8>,
    /// All others.
    behind: Vec<u8>,
}

impl Units {
    fn of(options: &Options) -> Units {
        if !options.wants(Protocol::Modbus) {
            return Units { own: Vec::new(), behind: Vec::new() };
        }
        let (least, most) = options.addresses.unwrap_or((0, u8::MAX));
        let own = OWN_UNITS.into_iter().filter(|unit| (least..=most).contains(unit)).collect();
        let behind = options.within((1, 247)).into_iter().filter(|unit| !OWN_UNITS.contains(unit)).collect();
        Units { own, behind }
    }

    fn behind(&self, units: RangeInclusive<u8>) -> Vec<u8> {
        self.behind.iter().copied().filter(|unit| units.contains(unit)).collect()
    }

    /// Who gave no answer is waited for longer: a gateway may need a second for each that is not there.
    fn again(&self) -> [(Vec<u8>, Pace, u64); 2] {
        let low = [self.own.clone(), self.behind(1..=LOW)].concat();
        [(low, Pace::Slow, LOW_AGAIN), (self.behind(LOW + 1..=247), Pace::Slow, HIGH_AGAIN)]
    }
}

/// What follows when all was tried that a channel was taken for.
enum Turn {
    /// Nothing is left.
    Over,
    /// More of the same.
    On,
    /// It is taken for something else.
    Anew,
}

impl Plan {
    /// What is tried on a socket of which nobody said what is behind it: first whether it speaks Modbus TCP, then what goes
    /// over serial servers, and where that leads nowhere the rest of Modbus TCP. What answers keeps it from being taken for
    /// the other. Speeds among the options are of no use.
    pub fn of_socket(options: &Options) -> Plan {
        let units = Units::of(options);
        let (raw, mut greeting) = (Plan::new(Channel::Raw, options), Plan::new(Channel::Tcp, options));
        if greeting.is_empty() || raw.is_empty() {
            return if greeting.is_empty() { raw } else { greeting };
        }
        let all = [units.own.clone(), units.behind.clone()].concat();
        let (greeted, others) = all.split_at(GREETED.min(all.len()));
        let mut rest = greeting.clone();
        greeting.attempts.clear();
        greeting.add_units([
            (greeted.to_vec(), Pace::Fast, OWN),
            (greeted.iter().take(1).copied().collect(), Pace::Slow, LOW_AGAIN),
        ]);
        rest.attempts.clear();
        rest.add_units([(others.to_vec(), Pace::Fast, ALL)]);
        rest.add_units(units.again());
        Plan { after: vec![raw, rest], ..greeting }
    }

    /// Whether the bytes of a pair may come over the channel, though it has no settings.
    pub(super) fn may_be_raw(&self) -> bool {
        self.channel == Channel::Raw || self.after.iter().any(|plan| plan.channel == Channel::Raw)
    }

    pub(super) fn add_tcp(&mut self, options: &Options) {
        let units = Units::of(options);
        self.add_units([(units.own.clone(), Pace::Fast, OWN), (units.behind.clone(), Pace::Fast, ALL)]);
        self.add_units(units.again());
    }

    fn add_units<const N: usize>(&mut self, passes: [(Vec<u8>, Pace, u64); N]) {
        for (units, pace, weight) in passes.into_iter().filter(|(units, ..)| !units.is_empty()) {
            self.attempts.push(Attempt::new(Round::Modbus(units), None, pace, weight));
        }
    }

    /// Behind a serial server all settings are one, and as likely as they are together.
    pub(super) fn add_raw(&mut self, options: &Options) {
        if options.wants(Protocol::Modbus) {
            let weight: u64 = MODBUS.iter().map(|(.., weight)| weight).sum();
            for (first, last, share) in UNITS {
                let units = options.within((first, last));
                if !units.is_empty() {
                    self.add_both(Round::Modbus(units), None, weight * share);
                }
            }
            let units = options.within(PATIENT_UNITS);
            if !units.is_empty() {
                self.add_patient(Round::Modbus(units), None, weight);
            }
        }
        for edition in [Edition::V2007, Edition::V1997] {
            if options.wants(Protocol::Dlt645(edition)) {
                let own = DLT645.iter().filter(|(of, ..)| *of == edition);
                let weight: u64 = own.map(|(.., weight)| weight).sum();
                self.add_wildcard(Round::Dlt645(edition, vec![dlt645::Address::ANY]), None, weight * 100);
            }
        }
        for order in [DiOrder::LowFirst, DiOrder::HighFirst] {
            if options.wants_pipes() {
                let weight: u64 = CJT188.iter().filter(|(of, ..)| *of == order).map(|(.., weight)| weight).sum();
                self.add_wildcard(Round::Cjt188(order, vec![cjt188::Address::ANY]), None, weight * 100);
            }
        }
        let weight: u64 = OSDP.iter().filter(|(baud, _)| *baud != OSDP_FAST).map(|(_, weight)| weight).sum();
        for (first, last, share) in READERS {
            let addresses = options.within((first, last));
            if options.wants(Protocol::Osdp) && !addresses.is_empty() {
                self.add_readers(addresses, None, weight * share);
            }
        }
    }

    /// Goes on with what the channel may be as well; with `is_spoken` only with more of the same.
    fn turn(&mut self, is_spoken: bool) -> Turn {
        let here = self.channel;
        let mut after = std::mem::take(&mut self.after).into_iter().filter(|plan| !is_spoken || plan.channel == here);
        let Some(next) = after.next() else { return Turn::Over };
        let turn = if next.channel == here { Turn::On } else { Turn::Anew };
        let after = after.collect();
        *self = Plan { after, ..next };
        turn
    }
}

impl Scan {
    /// What the channel is taken for, and was found to be once something has answered.
    pub fn channel(&self) -> Channel {
        self.plan.channel
    }

    /// The other side closes each connection before it says a word: it does not speak what it is asked in. False: nothing
    /// else is left that it might be.
    pub fn handle_unwanted(&mut self) -> bool {
        if self.is_spoken {
            return false;
        }
        self.agenda.clear();
        self.phase = self.turn();
        self.end.is_none()
    }

    pub(super) fn note_spoken(&mut self, heard: &Heard) {
        self.is_spoken |= !heard.answers.is_empty() || !heard.astray.is_empty();
    }

    /// While nobody knows whether a host is a serial server, it is asked in what nobody answers on a pair of wires: whatever
    /// frames of a pair come are of somebody else who asks there.
    pub(super) fn overhear(&mut self, bytes: &[u8]) {
        if self.may_be_pair
            && self.channel() == Channel::Tcp
            && !self.is_spoken
            && let Some(protocol) = talk(bytes)
        {
            self.note_foreign(protocol);
        }
    }

    /// All was tried: what comes next.
    pub(super) fn turn(&mut self) -> Phase {
        match self.plan.turn(self.is_spoken) {
            Turn::Over => {
                self.end = Some(End::Finished);
                Phase::Idle
            }
            Turn::On => Phase::Idle,
            Turn::Anew => {
                self.patience = Patience::on(self.plan.channel);
                (self.recent, self.proxies) = (Recent::default(), Proxies::default());
                self.before = None;
                Phase::Reopening
            }
        }
    }
}
