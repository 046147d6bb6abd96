//! Readers: from what a device shows of a card to somebody who presents it.
//!
//! A device shows its last card and, mostly, how many it has read. What it shows first, after a start of the box or a
//! gap in its readings, is a card that was presented before, at a time that nobody knows: it opens nothing.

mod card;
mod reader;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono, Name, PointReading};

pub(super) use self::card::whole;
pub use self::card::{CardPoint, CardSource};
use self::reader::Reader;
use super::keypad::{KeypadSpec, Pin, Thrown};
use crate::access::Proof;
use crate::words::{Direction, RequestId};

/// Longer without a look at a reader is a gap: whoever presented something in it has gone.
pub const READER_GAP: Duration = Duration::from_secs(10);

/// A reader or a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderSpec {
    /// Its permanent name.
    pub name: Name,
    /// The gate that it is for; `None`: a point of a patrol, which opens nothing.
    pub gate: Option<Name>,
    /// Which way one goes who presents something here.
    pub direction: Direction,
    /// Where its cards are read; `None`: what it reads comes through the API.
    pub card: Option<CardSource>,
    /// Its keypad, whose digits are codes and PINs; `None`: it has none, or its keys open nothing.
    pub keypad: Option<KeypadSpec>,
}

/// Somebody presents something at a reader.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Presentation {
    pub(super) reader: Name,
    pub(super) gate: Option<Name>,
    pub(super) direction: Direction,
    pub(super) proof: Proof,
}

/// All readers of a site.
#[derive(Debug, Default)]
pub(super) struct Readers {
    readers: Vec<Reader>,
    by_device: BTreeMap<DeviceIx, Vec<usize>>,
    /// Cards that came and went between two polls: nobody knows whose they were.
    missed: u64,
    /// Requests whose verdicts are to come.
    open: BTreeSet<RequestId>,
    /// What was typed while a verdict was to come.
    released: VecDeque<Presentation>,
    /// What was typed and thrown away.
    thrown: VecDeque<Refusal>,
}

/// What was typed at a gate's reader and is not looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) reader: Name,
    pub(super) gate: Name,
    pub(super) direction: Direction,
    pub(super) thrown: Thrown,
}

impl Readers {
    pub(super) fn new(specs: &[ReaderSpec]) -> Self {
        let mut by_device = BTreeMap::<DeviceIx, Vec<usize>>::new();
        for (ix, spec) in specs.iter().enumerate() {
            if let Some(source) = &spec.card {
                by_device.entry(source.card.at().device).or_default().push(ix);
            }
        }
        let readers = specs.iter().map(Reader::new).collect();
        Readers { readers, by_device, ..Readers::default() }
    }

    /// Something that was read elsewhere, at a reader of that name; `None` when there is no such reader.
    pub(super) fn present(&self, reader: &str, proof: Proof) -> Option<Presentation> {
        let reader = self.readers.iter().find(|own| own.spec.name == *reader)?;
        Some(reader.presentation(proof))
    }

    /// A device was read: who presents something now.
    pub(super) fn handle_readings(
        &mut self,
        device: DeviceIx,
        at: Mono,
        readings: &[PointReading],
    ) -> Vec<Presentation> {
        let Some(own) = self.by_device.get(&device) else { return Vec::new() };
        let mut presented = Vec::new();
        for ix in own {
            let Some(reader) = self.readers.get_mut(*ix) else { continue };
            let (proofs, missed) = reader.handle_readings(at, readings);
            self.missed = self.missed.saturating_add(missed);
            self.thrown.extend(reader.thrown());
            presented.extend(proofs.into_iter().map(|proof| reader.presentation(proof)));
        }
        presented
    }

    /// A device is lost: what it shows when it comes back was presented before.
    pub(super) fn handle_lost(&mut self, at: Mono, device: DeviceIx) {
        for ix in self.by_device.get(&device).into_iter().flatten() {
            if let Some(reader) = self.readers.get_mut(*ix) {
                reader.shown = None;
                reader.keypad.iter_mut().for_each(|keypad| keypad.handle_lost(at));
                self.thrown.extend(reader.thrown());
            }
        }
    }

    /// A card that was shown at a reader is asked about: its verdict comes.
    pub(super) fn handle_asked(&mut self, reader: &str, request: RequestId) {
        self.open.insert(request);
        self.tell_pin(reader, Pin::Asked(request));
    }

    /// A card that was shown at a reader is that of an earlier request, which may be decided already: whether it was
    /// refused because it opens with its PIN only.
    pub(super) fn handle_repeated(&mut self, reader: &str, earlier: RequestId, wants_pin: bool) {
        let pin = match (self.open.contains(&earlier), wants_pin) {
            (true, _) => Pin::Asked(earlier),
            (false, true) => Pin::Wanted,
            (false, false) => Pin::Unwanted,
        };
        self.tell_pin(reader, pin);
    }

    fn tell_pin(&mut self, reader: &str, pin: Pin) {
        let own = self.readers.iter_mut().find(|own| own.spec.name == *reader);
        own.and_then(|own| own.keypad.as_mut()).into_iter().for_each(|keypad| keypad.handle_asked(pin));
    }

    /// A request is decided: whether its card opens with its PIN only.
    pub(super) fn handle_verdict(&mut self, at: Mono, request: RequestId, wants_pin: bool) {
        self.open.remove(&request);
        for own in &mut self.readers {
            let typed = own.keypad.as_mut().and_then(|keypad| keypad.handle_verdict(at, request, wants_pin));
            self.released.extend(typed.map(|proof| own.presentation(proof)));
            self.thrown.extend(own.thrown());
        }
    }

    /// Takes the next that was typed while a verdict was to come.
    pub(super) fn poll_released(&mut self) -> Option<Presentation> {
        self.released.pop_front()
    }

    /// Takes the next that was typed and thrown away.
    pub(super) fn poll_thrown(&mut self) -> Option<Refusal> {
        self.thrown.pop_front()
    }

    /// Cards that came and went between two polls.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests;
