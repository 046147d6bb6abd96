//! The box's own contacts, relays and climate as one device like any other: points, samples and commands.
//!
//! The points are, in this order: each contact (on: active), each relay (on: driven), and with a climate sensor
//! `temperature` (°C) and `humidity` (%RH), both in hundredths. A change is told at once, everything at the interval.
//! Points whose line is not open have [`NoData::BusDown`]; contacts whose level cannot be told [`NoData::NotAvailable`].

mod command;
mod output;

use std::collections::VecDeque;
use std::time::Duration;

use embedded_hal::digital::InputPin;
use gatehouse_core::{Kind, Mono, NoData, PointIx, PointReading, Value};

pub use self::output::{Command, CommandResult, Output};
use crate::contact::{Contact, Edge, Filter};
use crate::relay::{AtRestart, Opening, PulseOutput, Relay};
use crate::sht3x::Measurement;

/// The most contacts, and the most relays, of one box.
pub const MAX_LINES: usize = 64;
/// How often lines are looked at beside their edges: an edge that the kernel dropped is noticed by then.
pub const CHECK: Duration = Duration::from_secs(1);
/// The most edges that one call takes from a line.
const EDGES: usize = 64;
/// What the sensor can stand (data sheet SHT3x-DIS, table 3), in hundredths: beyond is no air that it measured.
const TEMPERATURES: std::ops::RangeInclusive<i128> = -4000..=12_500;

/// An input that may time its edges by itself.
pub trait EdgeInput: InputPin {
    /// The next edge that nobody has taken yet: when it was, and the level from then on. Never waits.
    ///
    /// # Errors
    /// When the line is gone.
    fn next_edge(&mut self) -> Result<Option<(Mono, bool)>, Self::Error>;
}

/// What the device consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The contacts' filters, at most [`MAX_LINES`]; what is beyond is left out.
    pub contacts: Vec<Filter>,
    /// The relays, at most [`MAX_LINES`]; what is beyond is left out.
    pub relays: Vec<AtRestart>,
    /// Whether there is a climate sensor.
    pub climate: bool,
    /// From one full sample to the next, at least [`CHECK`].
    pub interval: Duration,
}

impl Layout {
    /// What each point's values are made of, in the order of the points.
    pub fn kinds(&self) -> Vec<Kind> {
        let lines = self.contacts.len().min(MAX_LINES) + self.relays.len().min(MAX_LINES);
        let climate = if self.climate { 2 } else { 0 };
        let flags = std::iter::repeat_n(Kind::Bool, lines);
        flags.chain(std::iter::repeat_n(Kind::Decimal { exponent: -2 }, climate)).collect()
    }
}

struct Input<C> {
    contact: Contact,
    line: Option<C>,
}

/// The box's own device.
///
/// Attach lines as they are opened ([`BoxDevice::relay_opening`] says how); tell it of edges
/// ([`BoxDevice::handle_ready`]), measurements, commands and time; after each call drain [`BoxDevice::poll_output`] and
/// come back at [`BoxDevice::poll_timeout`]. A line that fails is dropped, to be opened again. Commands act within the
/// call, so none ever waits.
pub struct BoxDevice<C, R> {
    inputs: Vec<Input<C>>,
    relays: Vec<Relay<R>>,
    /// What each relay's point last said.
    told: Vec<Result<bool, NoData>>,
    climate: Option<Result<Measurement, NoData>>,
    interval: Duration,
    sample_due: Mono,
    check_due: Mono,
    outputs: VecDeque<Output>,
}

impl<C: EdgeInput, R: PulseOutput> BoxDevice<C, R> {
    /// A device none of whose lines is open.
    pub fn new(layout: &Layout, now: Mono) -> Self {
        let inputs: Vec<_> = (layout.contacts.iter().take(MAX_LINES))
            .map(|filter| Input { contact: Contact::new(*filter), line: None })
            .collect();
        let relays: Vec<_> = layout.relays.iter().take(MAX_LINES).map(|at_restart| Relay::new(*at_restart)).collect();
        BoxDevice {
            told: vec![Err(NoData::BusDown); relays.len()],
            inputs,
            relays,
            climate: layout.climate.then_some(Err(NoData::NotAvailable)),
            interval: layout.interval.max(CHECK),
            sample_due: now,
            check_due: now + CHECK,
            outputs: VecDeque::new(),
        }
    }

    /// True when the contact's line is open.
    pub fn contact_is_open(&self, contact: usize) -> bool {
        self.inputs.get(contact).is_some_and(|input| input.line.is_some())
    }

    /// How the relay's line is to be opened; `None` while it is open.
    pub fn relay_opening(&self, relay: usize) -> Option<Opening> {
        self.relays.get(relay).and_then(Relay::opening)
    }

    /// The contact's line is open.
    pub fn attach_contact(&mut self, now: Mono, contact: usize, line: C) {
        if let Some(input) = self.inputs.get_mut(contact) {
            input.line = Some(line);
            self.handle_ready(now, contact);
        }
    }

    /// The relay's line is open, as [`BoxDevice::relay_opening`] said.
    pub fn attach_relay(&mut self, now: Mono, relay: usize, line: R) {
        if let Some(relay) = self.relays.get_mut(relay) {
            relay.attach(line);
            self.tell_relays(now);
        }
    }

    /// The contact's line may have edges: takes them, then looks at its level. True when more may be waiting.
    pub fn handle_ready(&mut self, now: Mono, contact: usize) -> bool {
        let Some(input) = self.inputs.get_mut(contact) else { return false };
        let Some(line) = &mut input.line else { return false };
        let mut edges = Vec::new();
        let more = take_edges(line, &mut input.contact, now, &mut edges);
        let lost = more.is_err();
        if lost {
            input.line = None;
            input.contact.lost();
        }
        for edge in edges {
            self.tell_contact(contact, edge.at, edge.level.ok_or(NoData::NotAvailable));
        }
        if lost {
            self.tell_contact(contact, now, Err(NoData::BusDown));
        }
        more.unwrap_or(false)
    }

    /// The climate sensor measured, or could not.
    pub fn handle_climate(&mut self, now: Mono, measured: Result<Measurement, NoData>) {
        if let Some(climate) = &mut self.climate {
            *climate = measured;
            let readings = self.climate_readings();
            self.outputs.push_back(Output::Sample { at: now, readings });
        }
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        let check = self.check_due <= now;
        for contact in 0..self.inputs.len() {
            // A level may only come to count when no edge that ended it waits in the kernel.
            let due = |input: &Input<C>| check || input.contact.poll_timeout().is_some_and(|due| due <= now);
            if self.inputs.get(contact).is_some_and(due) {
                self.handle_ready(now, contact);
            }
        }
        for relay in &mut self.relays {
            relay.handle_timeout(now);
            if check {
                relay.check();
            }
        }
        if check {
            self.check_due = now + CHECK;
        }
        self.tell_relays(now);
        if self.sample_due <= now {
            let slots = now.since(self.sample_due).as_nanos() / self.interval.as_nanos() + 1;
            let slots = u32::try_from(slots).unwrap_or(u32::MAX);
            self.sample_due = self.sample_due + self.interval.saturating_mul(slots);
            let readings = self.line_readings();
            self.outputs.push_back(Output::Sample { at: now, readings });
        }
    }

    /// The program ends: relays go to the state that their settings say.
    pub fn handle_stop(&mut self, now: Mono) {
        for relay in &mut self.relays {
            relay.stop();
        }
        self.tell_relays(now);
    }

    /// What it has to say.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When it wants to be woken.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let contacts = self.inputs.iter().filter_map(|input| input.contact.poll_timeout());
        let relays = self.relays.iter().filter_map(Relay::poll_timeout);
        contacts.chain(relays).chain([self.sample_due, self.check_due]).min()
    }

    /// Changes that the contact's filter has held back so far: a contact that wears out shows here first.
    pub fn bounces(&self, contact: usize) -> u64 {
        self.inputs.get(contact).map_or(0, |input| input.contact.bounces())
    }

    fn tell_contact(&mut self, contact: usize, at: Mono, level: Result<bool, NoData>) {
        let readings = vec![flag(contact, level)];
        self.outputs.push_back(Output::Sample { at, readings });
    }

    /// Tells of the relays that are otherwise than was told last.
    fn tell_relays(&mut self, at: Mono) {
        let contacts = self.inputs.len();
        let mut readings = Vec::new();
        for ((relay, told), point) in self.relays.iter().zip(&mut self.told).zip(contacts..) {
            if *told != relay.state() {
                *told = relay.state();
                readings.push(flag(point, *told));
            }
        }
        if !readings.is_empty() {
            self.outputs.push_back(Output::Sample { at, readings });
        }
    }

    fn line_readings(&self) -> Vec<PointReading> {
        let contacts = self.inputs.iter().map(|input| match input.line {
            None => Err(NoData::BusDown),
            Some(_) => input.contact.level().ok_or(NoData::NotAvailable),
        });
        let relays = self.relays.iter().map(Relay::state);
        (0..).zip(contacts.chain(relays)).map(|(point, level)| flag(point, level)).collect()
    }

    fn climate_readings(&self) -> Vec<PointReading> {
        let Some(climate) = self.climate else { return Vec::new() };
        let first = self.inputs.len() + self.relays.len();
        let (temperature, humidity) = match climate {
            Err(why) => (Err(why), Err(why)),
            // A chip beyond what it can stand measures neither rightly.
            Ok(measured) if !TEMPERATURES.contains(&measured.temperature.mantissa) => {
                (Err(NoData::OutOfRange), Err(NoData::OutOfRange))
            }
            Ok(measured) => (Ok(measured.temperature), Ok(measured.humidity)),
        };
        [(first, temperature), (first + 1, humidity)]
            .map(|(at, value)| PointReading::new(point(at), value.map(Value::Decimal)))
            .into()
    }
}

/// Gives a contact the edges of its line, then the level that it has now. True when more edges may be waiting: then the
/// level is left for later, since it may be younger than they are.
fn take_edges<C: EdgeInput>(
    line: &mut C,
    contact: &mut Contact,
    now: Mono,
    edges: &mut Vec<Edge>,
) -> Result<bool, C::Error> {
    for _ in 0..EDGES {
        let Some((at, level)) = line.next_edge()? else {
            edges.extend(contact.edge(now, line.is_high()?));
            return Ok(false);
        };
        edges.extend(contact.edge(at.min(now), level));
    }
    Ok(true)
}

fn flag(at: usize, level: Result<bool, NoData>) -> PointReading {
    PointReading::new(point(at), level.map(Value::Bool))
}

fn point(at: usize) -> PointIx {
    PointIx(u16::try_from(at).expect("there are at most 130 points"))
}

#[cfg(test)]
mod tests;
