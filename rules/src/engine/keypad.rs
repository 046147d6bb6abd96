//! The keypad of a reader: from keys to the digits that somebody types.
//!
//! `#` ends an entry, and so does its last digit where the length is known; `*` clears it, and so does a pause. Of keys
//! that were lost nobody knows what they were: the entry is then void until the next `#`, `*` or pause. A card that
//! was refused because it opens with its PIN only waits for the next entry, which then is its PIN. What is typed while
//! it is still asked whether the card opens is kept until that is decided: it may be the PIN that nobody asked for yet.
//! The pause then runs from the verdict. Whatever is thrown away, but by `*`, is told with its reason.

use std::fmt;
use std::time::Duration;

use gatehouse_core::{Mono, PointReading, Value};
use zeroize::Zeroizing;

use super::readers::{READER_GAP, whole};
use crate::access::Proof;
use crate::access::reason;
use crate::access::wiegand::Bits;
use crate::catalog::PointRef;
use crate::words::RequestId;

/// Most digits of an entry; more are no code.
pub const MOST_DIGITS: usize = 16;

/// What is typed behind a card is kept no longer than this for a verdict: three times the longest deadline of a core.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// The keypad of a reader.
#[derive(Debug, Clone, PartialEq)]
pub struct KeypadSpec {
    /// How its keys come.
    pub source: KeySource,
    /// How many digits end an entry by themselves, 4 to [`MOST_DIGITS`]; `None`: only `#` does.
    pub length: Option<u8>,
    /// The longest pause between two keys, and between the verdict on a card and the first digit of its PIN.
    pub pause: Duration,
}

/// How keys come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// As text in one point, with a count of how often keys came in another.
    Points {
        /// The keys that were pressed last.
        keys: PointRef,
        /// How often keys came.
        count: PointRef,
    },
    /// As cards of four bits: 0 to 9, 10 for `*`, 11 for `#`.
    FourBits,
    /// As cards of eight bits: the same four, and before them their complement.
    EightBits,
}

impl KeySource {
    /// The key that a card of so many bits is, where its reader tells how many it has; `None` for a card.
    pub(super) fn key(self, value: u128, bits: Option<u8>) -> Option<char> {
        let key = match (self, u8::try_from(value).ok()?) {
            (KeySource::FourBits, key) if bits.is_none_or(|bits| bits == 4) && key < 16 => key,
            (KeySource::EightBits, burst) if bits.is_none_or(|bits| bits == 8) && burst >> 4 == !burst & 15 => {
                burst & 15
            }
            (KeySource::Points { .. } | KeySource::FourBits | KeySource::EightBits, _) => return None,
        };
        Some(match key {
            10 => '*',
            11 => '#',
            key => char::from_digit(u32::from(key), 10).unwrap_or('?'),
        })
    }
}

/// What is typed at one reader.
pub(super) struct Keypad {
    spec: KeypadSpec,
    /// How often keys had come, and when that was read.
    counted: Option<(Mono, u128)>,
    digits: Zeroizing<String>,
    void: Void,
    /// When the last key came, or the verdict after which the rest of them is waited for.
    at: Mono,
    /// What was entered while it is asked about the card.
    held: Option<Zeroizing<String>>,
    card: Option<Waiting>,
    /// Entries that were thrown away and are to be told of.
    thrown: Vec<Thrown>,
}

/// Whether keys of the entry are lost or are none, so that it cannot be one whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Void {
    No,
    /// What was lost may have been no key: nothing is told while nobody types.
    Untold,
    /// It was told, once for all that follows.
    Told,
}

/// An entry that was thrown away, of which nothing is told but this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thrown {
    /// Why, as the passage record says it.
    pub(super) reason: &'static str,
    /// It was typed behind a card, whose PIN it may have been.
    pub(super) behind_card: bool,
}

/// A card that may want a PIN.
struct Waiting {
    /// When it was shown, and once it is decided, when that was.
    since: Mono,
    bits: Bits,
    format: Option<String>,
    pin: Pin,
}

/// Whether the next entry is the PIN of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin {
    /// Nobody was asked about the card.
    Unasked,
    /// By that request's verdict.
    Asked(RequestId),
    /// It was refused because it opens with its PIN only.
    Wanted,
    /// It opened, or was refused for good.
    Unwanted,
}

impl fmt::Debug for Keypad {
    /// Leaves out what was typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keypad").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Keypad {
    pub(super) fn new(spec: KeypadSpec) -> Self {
        let digits = Zeroizing::new(String::with_capacity(MOST_DIGITS));
        Keypad { spec, counted: None, digits, void: Void::No, at: Mono(0), held: None, card: None, thrown: Vec::new() }
    }

    pub(super) fn source(&self) -> KeySource {
        self.spec.source
    }

    /// The reader is lost: who typed has gone.
    pub(super) fn handle_lost(&mut self, at: Mono) {
        self.counted = None;
        self.expire(at);
        if self.is_begun() {
            self.throw(reason::KEYS_LOST);
        }
        self.forget();
        self.card = None;
    }

    /// Takes what was thrown away since the last call.
    pub(super) fn take_thrown(&mut self) -> Vec<Thrown> {
        std::mem::take(&mut self.thrown)
    }

    /// Takes the keys in a sample of the device, and how often keys were missed.
    pub(super) fn handle_readings(&mut self, at: Mono, readings: &[PointReading]) -> (Vec<Proof>, u64) {
        self.expire(at);
        let KeySource::Points { keys, count } = self.spec.source else { return (Vec::new(), 0) };
        let find = |at: PointRef| readings.iter().find(|reading| reading.point == at.point);
        let Some(text) = find(keys) else { return (Vec::new(), 0) };
        let now = find(count).and_then(|reading| whole(reading.value.as_ref().ok()?));
        let before = std::mem::replace(&mut self.counted, now.map(|now| (at, now)));
        let recent = before.filter(|(seen, _)| at.since(*seen) <= READER_GAP);
        let (Some((_, last)), Some(now)) = (recent, now) else {
            if before.zip(now).is_some_and(|((_, last), now)| last != now) {
                self.lose(at);
            }
            self.handle_gap(at);
            return (Vec::new(), 0);
        };
        // A device that counts from the beginning again was restarted.
        if now < last {
            self.handle_gap(at);
        }
        let more = now.saturating_sub(last);
        if more == 0 {
            return (Vec::new(), 0);
        }
        let text = match &text.value {
            Ok(Value::Text(text)) => text.clone(),
            Ok(Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_)) | Err(_) => {
                self.lose(at);
                return (Vec::new(), u64::try_from(more).unwrap_or(u64::MAX));
            }
        };
        if more > 1 {
            self.lose(at);
        }
        let entered = text.chars().filter_map(|key| self.press(at, key)).collect();
        (entered, u64::try_from(more - 1).unwrap_or(u64::MAX))
    }

    /// Keys came that nobody has read.
    pub(super) fn lose(&mut self, at: Mono) {
        self.make_void(at, reason::KEYS_LOST);
    }

    /// Cards came that nobody has read, each of which may have been a key.
    pub(super) fn handle_missed(&mut self, at: Mono) {
        if self.is_begun() {
            return self.lose(at);
        }
        let void = if self.void == Void::Told { Void::Told } else { Void::Untold };
        self.forget();
        (self.void, self.at) = (void, at);
    }

    fn make_void(&mut self, at: Mono, reason: &'static str) {
        // Of one entry it is told once.
        if self.void != Void::Told {
            self.throw(reason);
        }
        self.forget();
        (self.void, self.at) = (Void::Told, at);
    }

    /// Nobody looked for a while, or nobody knows whether keys came: what is begun may lack some.
    pub(super) fn handle_gap(&mut self, at: Mono) {
        match self.void {
            Void::No if self.digits.is_empty() => {}
            Void::No | Void::Told => self.lose(at),
            Void::Untold => self.at = at,
        }
    }

    /// A key is pressed: what is entered with it.
    pub(super) fn press(&mut self, at: Mono, key: char) -> Option<Proof> {
        self.expire(at);
        self.at = at;
        match key {
            '#' => self.end(),
            '*' => {
                self.forget();
                None
            }
            digit if digit.is_ascii_digit() && self.void != Void::No => {
                self.lose(at);
                None
            }
            digit if digit.is_ascii_digit() && self.digits.len() < MOST_DIGITS => {
                self.digits.push(digit);
                let is_whole = self.spec.length.is_some_and(|length| self.digits.len() == usize::from(length));
                if is_whole { self.end() } else { None }
            }
            _ => {
                self.make_void(at, reason::NO_CODE);
                None
            }
        }
    }

    /// A card is shown: what was typed before is not its PIN.
    pub(super) fn handle_card(&mut self, at: Mono, proof: &Proof) {
        self.expire(at);
        if self.is_begun() {
            self.throw(reason::ENTRY_REPLACED);
        }
        self.forget();
        self.card = match proof {
            Proof::Card { bits, format } => {
                Some(Waiting { since: at, bits: *bits, format: format.clone(), pin: Pin::Unasked })
            }
            Proof::CardAndPin { .. } | Proof::Plate { .. } | Proof::Code(_) => None,
        };
    }

    /// The card that was shown last is asked about, or belongs to what was asked a moment ago.
    pub(super) fn handle_asked(&mut self, pin: Pin) {
        if let Some(card) = self.card.as_mut().filter(|card| card.pin == Pin::Unasked) {
            card.pin = pin;
        }
    }

    /// A request is decided: whether its card opens with its PIN only. What was entered meanwhile, if anything was.
    pub(super) fn handle_verdict(&mut self, at: Mono, request: RequestId, wants_pin: bool) -> Option<Proof> {
        self.expire(at);
        let card = self.card.as_mut().filter(|card| card.pin == Pin::Asked(request))?;
        if wants_pin {
            // Whoever types has all the time that a card has which is decided at once.
            (card.pin, card.since, self.at) = (Pin::Wanted, at, at);
        } else {
            card.pin = Pin::Unwanted;
            self.expire(at);
        }
        let typed = self.held.take()?;
        Some(self.proof(&typed))
    }

    fn end(&mut self) -> Option<Proof> {
        // A void entry has no digits.
        let typed = Zeroizing::new(self.digits.as_str().to_owned());
        self.clear();
        if typed.is_empty() {
            return None;
        }
        if self.is_asked() {
            // Whoever enters something else before it is decided has corrected it.
            if self.held.is_some() {
                self.throw(reason::ENTRY_REPLACED);
            }
            self.held = Some(typed);
            return None;
        }
        Some(self.proof(&typed))
    }

    fn proof(&mut self, typed: &str) -> Proof {
        let typed = typed.to_owned();
        match self.card.take().filter(|card| card.pin == Pin::Wanted) {
            Some(Waiting { bits, format, .. }) => Proof::CardAndPin { bits, format, pin: typed },
            None => Proof::Code(typed),
        }
    }

    /// Forgets what was entered as well.
    fn forget(&mut self) {
        self.clear();
        self.held = None;
    }

    fn clear(&mut self) {
        // It keeps its room, so that no digit is left behind where it grew.
        zeroize::Zeroize::zeroize(&mut *self.digits);
        self.void = Void::No;
    }

    /// Whoever makes too long a pause has gone. Nobody has while it is asked about the card: it is not known yet whether
    /// anything is to be typed.
    fn expire(&mut self, now: Mono) {
        if self.is_asked() && self.card.as_ref().is_some_and(|card| now.since(card.since) <= MOST_PATIENCE) {
            return;
        }
        if now.since(self.at) > self.spec.pause {
            if self.is_begun() {
                self.throw(reason::ENTRY_EXPIRED);
            }
            self.forget();
        }
        let (begun, pause) = (self.is_begun() || self.void == Void::Told, self.spec.pause);
        self.card = self.card.take().filter(|card| begun || now.since(card.since) <= pause);
    }

    /// True while the verdict on the card is to come.
    fn is_asked(&self) -> bool {
        self.card.as_ref().is_some_and(|card| matches!(card.pin, Pin::Asked(_)))
    }

    /// True while there are digits of an entry, whole or not.
    fn is_begun(&self) -> bool {
        !self.digits.is_empty() || self.held.is_some()
    }

    fn throw(&mut self, reason: &'static str) {
        let behind_card = self.card.as_ref().is_some_and(|card| matches!(card.pin, Pin::Asked(_) | Pin::Wanted));
        self.thrown.push(Thrown { reason, behind_card });
    }
}

#[cfg(test)]
mod tests;
