//! The keypad of a reader: from keys to the digits that somebody types.
//!
//! `#` ends an entry, and so does its last digit where the length is known; `*` clears it, and so does a pause. Of keys
//! that were lost nobody knows what they were: the entry is then void until the next `#`, `*` or pause. A card that
//! was refused because it opens with its PIN only waits for the next entry, which then is its PIN.

use std::fmt;
use std::time::Duration;

use gatehouse_core::{Mono, PointReading, Value};
use zeroize::Zeroizing;

use super::readers::{READER_GAP, whole};
use crate::access::Proof;
use crate::access::wiegand::Bits;
use crate::catalog::PointRef;

/// Most digits of an entry; more are no code.
pub const MOST_DIGITS: usize = 16;

/// The keypad of a reader.
#[derive(Debug, Clone, PartialEq)]
pub struct KeypadSpec {
    /// How its keys come.
    pub source: KeySource,
    /// How many digits end an entry by themselves, 4 to [`MOST_DIGITS`]; `None`: only `#` does.
    pub length: Option<u8>,
    /// The longest pause between two keys, and between a card and the first digit of its PIN.
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
    /// Keys of this entry are lost, or are none.
    is_void: bool,
    /// When the last key came.
    at: Mono,
    card: Option<Waiting>,
}

/// A card that may want a PIN.
struct Waiting {
    since: Mono,
    bits: Bits,
    format: Option<String>,
    /// It was refused because it opens with its PIN only.
    wants_pin: bool,
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
        Keypad { spec, counted: None, digits, is_void: false, at: Mono(0), card: None }
    }

    pub(super) fn source(&self) -> KeySource {
        self.spec.source
    }

    /// The reader is lost: who typed has gone.
    pub(super) fn handle_lost(&mut self) {
        self.counted = None;
        self.clear();
        self.card = None;
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
        let (Some((_, before)), Some(now)) = (recent, now) else { return (Vec::new(), 0) };
        let more = now.saturating_sub(before);
        if more > 1 {
            self.lose(at);
        }
        let text = match &text.value {
            Ok(Value::Text(text)) if more > 0 => text.clone(),
            Ok(Value::Text(_) | Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_)) | Err(_) => {
                return (Vec::new(), 0);
            }
        };
        let entered = text.chars().filter_map(|key| self.press(at, key)).collect();
        (entered, u64::try_from(more - 1).unwrap_or(u64::MAX))
    }

    /// Keys came that nobody has read.
    pub(super) fn lose(&mut self, at: Mono) {
        self.clear();
        (self.is_void, self.at) = (true, at);
    }

    /// A key is pressed: what is entered with it.
    pub(super) fn press(&mut self, at: Mono, key: char) -> Option<Proof> {
        self.expire(at);
        self.at = at;
        match key {
            '#' => self.end(),
            '*' => {
                self.clear();
                None
            }
            digit if digit.is_ascii_digit() && self.digits.len() < MOST_DIGITS => {
                self.digits.push(digit);
                let is_whole = self.spec.length.is_some_and(|length| self.digits.len() == usize::from(length));
                if is_whole && !self.is_void { self.end() } else { None }
            }
            _ => {
                self.lose(at);
                None
            }
        }
    }

    /// A card is shown: what was typed before is not its PIN.
    pub(super) fn handle_card(&mut self, at: Mono, proof: &Proof) {
        self.clear();
        self.card = match proof {
            Proof::Card { bits, format } => {
                Some(Waiting { since: at, bits: *bits, format: format.clone(), wants_pin: false })
            }
            Proof::CardAndPin { .. } | Proof::Plate { .. } | Proof::Code(_) => None,
        };
    }

    /// The card that was shown last opens with its PIN only.
    pub(super) fn want_pin(&mut self) {
        if let Some(card) = &mut self.card {
            card.wants_pin = true;
        }
    }

    fn end(&mut self) -> Option<Proof> {
        let (typed, is_void) = (self.digits.as_str().to_owned(), self.is_void);
        self.clear();
        if typed.is_empty() || is_void {
            return None;
        }
        Some(match self.card.take().filter(|card| card.wants_pin) {
            Some(Waiting { bits, format, .. }) => Proof::CardAndPin { bits, format, pin: typed },
            None => Proof::Code(typed),
        })
    }

    fn clear(&mut self) {
        // It keeps its room, so that no digit is left behind where it grew.
        zeroize::Zeroize::zeroize(&mut *self.digits);
        self.is_void = false;
    }

    /// Whoever makes too long a pause has gone.
    fn expire(&mut self, now: Mono) {
        if now.since(self.at) > self.spec.pause {
            self.clear();
        }
        let begun = !self.digits.is_empty();
        let pause = self.spec.pause;
        self.card = self.card.take().filter(|card| begun || now.since(card.since) <= pause);
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_core::{Decimal, DeviceIx, NoData, PointIx};

    use super::*;

    const KEYS: PointRef = PointRef { device: DeviceIx(4), point: PointIx(3) };
    const COUNT: PointRef = PointRef { device: DeviceIx(4), point: PointIx(4) };

    fn pad(length: Option<u8>) -> Keypad {
        let source = KeySource::Points { keys: KEYS, count: COUNT };
        Keypad::new(KeypadSpec { source, length, pause: Duration::from_secs(5) })
    }

    fn told(proof: Proof) -> String {
        match proof {
            Proof::Code(code) => code,
            Proof::CardAndPin { bits, pin, .. } => format!("{}+{pin}", bits.value()),
            Proof::Card { .. } | Proof::Plate { .. } => panic!("nobody types that"),
        }
    }

    /// Presses keys one second apart, a `.` being a second without one.
    fn typed(pad: &mut Keypad, begin_s: u64, keys: &str) -> Vec<String> {
        let seconds = (begin_s..).map(|second| Mono::from_millis(second * 1000));
        let pressed = seconds.zip(keys.chars()).filter(|(_, key)| *key != '.');
        pressed.filter_map(|(at, key)| pad.press(at, key)).map(told).collect()
    }

    fn card() -> Proof {
        Proof::Card { bits: Bits::of_number(77, 26).unwrap(), format: None }
    }

    #[test]
    fn digits_are_entered_by_the_hash_cleared_by_the_star_and_by_a_pause() {
        let mut pad = pad(None);
        assert_eq!(typed(&mut pad, 100, "4711#"), ["4711"]);
        assert_eq!(typed(&mut pad, 200, "99*4711##"), ["4711"]);
        assert_eq!(typed(&mut pad, 300, "99.....4711#"), ["4711"], "six seconds are a pause of more than five");
        assert_eq!(typed(&mut pad, 400, "99....11#"), ["9911"]);
        assert_eq!(typed(&mut pad, 500, "4711......#"), [""; 0], "nobody finishes what another began");
        assert_eq!(typed(&mut pad, 600, &format!("{}#12#", "1".repeat(17))), ["12"], "too long to be a code");
        assert_eq!(typed(&mut pad, 700, "12A34#56#"), ["56"], "a key that is no digit makes it void");
    }

    #[test]
    fn a_known_length_ends_an_entry_by_itself_and_the_hash_after_it_does_nothing() {
        let mut pad = pad(Some(4));
        assert_eq!(typed(&mut pad, 100, "47114711#"), ["4711", "4711"]);
        assert_eq!(typed(&mut pad, 200, "123#"), ["123"], "the hash ends it as well");
    }

    #[test]
    fn a_card_that_wants_its_pin_gets_the_next_entry_and_no_other_card_does() {
        let mut pad = pad(None);
        let show = |pad: &mut Keypad, second: u64| pad.handle_card(Mono::from_millis(second * 1000), &card());
        show(&mut pad, 100);
        pad.want_pin();
        assert_eq!(typed(&mut pad, 103, "4711#0815#"), ["77+4711", "0815"]);
        show(&mut pad, 200);
        assert_eq!(typed(&mut pad, 201, "4711#"), ["4711"], "it opened without");
        show(&mut pad, 300);
        pad.want_pin();
        assert_eq!(typed(&mut pad, 306, "4711#"), ["4711"], "its holder has gone");
        typed(&mut pad, 400, "47");
        show(&mut pad, 402);
        pad.want_pin();
        assert_eq!(typed(&mut pad, 403, "11#"), ["77+11"], "what stood there before the card is not its PIN");
        show(&mut pad, 500);
        pad.want_pin();
        assert_eq!(typed(&mut pad, 504, "4..7..1..1#"), ["77+4711"], "a slow hand keeps its card");
        pad.handle_lost();
        pad.want_pin();
        assert_eq!(typed(&mut pad, 516, "4711#"), ["4711"]);
    }

    fn sample(pad: &mut Keypad, at_ms: u64, keys: Result<&str, NoData>, count: i128) -> (Vec<String>, u64) {
        let readings = [
            PointReading::new(KEYS.point, keys.map(|keys| Value::Text(keys.into()))),
            PointReading::new(COUNT.point, Ok(Value::Decimal(Decimal::whole(count)))),
        ];
        let (entered, missed) = pad.handle_readings(Mono::from_millis(at_ms), &readings);
        (entered.into_iter().map(told).collect(), missed)
    }

    #[test]
    fn keys_count_once_and_an_entry_of_which_some_were_lost_is_none() {
        let mut pad = pad(None);
        assert_eq!(sample(&mut pad, 1_000, Ok("4711#"), 9).0, [""; 0], "typed before the box looked");
        assert_eq!(sample(&mut pad, 1_100, Ok("4711#"), 9).0, [""; 0]);
        assert_eq!(sample(&mut pad, 1_200, Ok("47"), 10).0, [""; 0]);
        assert_eq!(sample(&mut pad, 1_300, Ok("11#"), 11).0, ["4711"]);
        assert_eq!(sample(&mut pad, 1_400, Ok("1"), 12).0, [""; 0]);
        assert_eq!(sample(&mut pad, 1_500, Ok("11"), 14), (Vec::new(), 1), "what was between, nobody knows");
        assert_eq!(sample(&mut pad, 1_600, Ok("#"), 15).0, [""; 0]);
        assert_eq!(sample(&mut pad, 1_700, Ok("4711#"), 16).0, ["4711"]);
        assert_eq!(sample(&mut pad, 12_000, Ok("4711#"), 17).0, [""; 0], "nobody looked for long");
    }

    #[test]
    fn bursts_of_four_and_eight_bits_are_keys_and_cards_are_none() {
        let keys = |source: KeySource, bursts: &[(u128, Option<u8>)]| -> Vec<Option<char>> {
            bursts.iter().map(|(value, bits)| source.key(*value, *bits)).collect()
        };
        let four = keys(KeySource::FourBits, &[(0, Some(4)), (9, Some(4)), (10, None), (11, Some(4)), (13, Some(4))]);
        assert_eq!(four, [Some('0'), Some('9'), Some('*'), Some('#'), Some('?')]);
        let eight = keys(KeySource::EightBits, &[(0xF0, Some(8)), (0x69, Some(8)), (0x5A, None), (0x4B, Some(8))]);
        assert_eq!(eight, [Some('0'), Some('9'), Some('*'), Some('#')]);
        let none = [(0x05, Some(8)), (0x2F7, None), (0xE1, Some(26)), (0xE0, None)];
        assert_eq!(keys(KeySource::EightBits, &none), [None; 4]);
        assert_eq!(keys(KeySource::FourBits, &[(5, Some(26)), (16, None)]), [None; 2]);
    }

    #[test]
    fn what_is_typed_is_in_no_debug_text() {
        let mut pad = pad(None);
        typed(&mut pad, 100, "4711");
        assert!(!format!("{pad:?}").contains("4711"));
        for proof in [Proof::Code("4711".to_owned()), card()] {
            let text = format!("{proof:?}");
            assert!(!text.contains("4711") && !text.contains("77"), "{text}");
        }
    }
}
