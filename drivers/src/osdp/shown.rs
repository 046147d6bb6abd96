//! What is known of a reader, as the values of its points.

use std::fmt::{self, Write as _};

use gatehouse_core::{Decimal, NoData, Value};

use super::point::OsdpPoint;
use super::reply::{CardBits, Reply};

/// Inputs and outputs that are kept; a reader has a few.
const CHANNELS: usize = 32;
/// Cards of more bits are no cards: the longest in the field has 245 (FASC-N with its parities has 200).
const CARD_BITS: u16 = 512;

/// What a reader showed last.
#[derive(Clone, Default)]
pub(super) struct Shown {
    card: Box<str>,
    cards: u64,
    keys: Box<str>,
    key_count: u64,
    dropped: u64,
    local: Option<(bool, bool)>,
    inputs: Channels,
    outputs: Channels,
    lights: [Option<u8>; 8],
    display: Option<Box<str>>,
}

/// Inputs or outputs, as far as they were told.
#[derive(Debug, Clone, Copy, Default)]
struct Channels {
    known: usize,
    states: [bool; CHANNELS],
}

impl Channels {
    fn set(&mut self, states: &[u8]) {
        self.known = states.len().min(CHANNELS);
        self.states.iter_mut().zip(states).for_each(|(own, told)| *own = *told != 0);
    }

    fn at(&self, at: u8) -> Option<Value> {
        let known = self.states.get(..self.known)?;
        known.get(usize::from(at)).map(|state| Value::Bool(*state))
    }
}

/// How the connection stands, for the points that tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Polls are answered.
    pub(super) connected: bool,
    /// Within a Secure Channel under the reader's own key.
    pub(super) secure: bool,
    /// What the reader tells may be believed.
    pub(super) believed: bool,
}

impl fmt::Debug for Shown {
    /// Leaves out what was shown and typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { cards, key_count, dropped, .. } = self;
        let mut shown = f.debug_struct("Shown");
        shown.field("cards", cards).field("key_count", key_count).field("dropped", dropped).finish_non_exhaustive()
    }
}

impl Shown {
    /// What a reader told beside its cards and keys.
    pub(super) fn note(&mut self, reply: Reply<'_>) {
        match reply {
            Reply::Local { tamper, power } => self.local = Some((tamper != 0, power != 0)),
            Reply::Inputs(states) => self.inputs.set(states),
            Reply::Outputs(states) => self.outputs.set(states),
            _ => {}
        }
    }

    /// A card, a formatted card or keys. Dropped ones are only counted.
    pub(super) fn note_presented(&mut self, reply: Reply<'_>, drop: bool) {
        match reply {
            Reply::Card(_) | Reply::FormattedCard { .. } | Reply::Keypad { .. } if drop => {
                self.dropped = self.dropped.saturating_add(1);
            }
            Reply::Card(bits) if bits.count <= CARD_BITS => {
                self.card = card_text(&bits);
                self.cards = self.cards.saturating_add(1);
            }
            Reply::FormattedCard { direction, text, .. } => {
                self.card = formatted_text(direction, text);
                self.cards = self.cards.saturating_add(1);
            }
            Reply::Card(_) => self.dropped = self.dropped.saturating_add(1),
            Reply::Keypad { keys, .. } => {
                self.keys = keys.iter().map(|key| key_char(*key)).collect::<String>().into();
                self.key_count = self.key_count.saturating_add(1);
            }
            _ => {}
        }
    }

    /// The connection is new: what the reader told before may have changed.
    pub(super) fn forget(&mut self) {
        (self.local, self.inputs, self.outputs) = (None, Channels::default(), Channels::default());
        // What was told to it is not read back: after a loss of power it shows its own.
        (self.lights, self.display) = ([None; 8], None);
    }

    /// A light was set for good.
    pub(super) fn note_light(&mut self, led: u8, colour: u8) {
        if let Some(light) = self.lights.get_mut(usize::from(led)) {
            *light = Some(colour);
        }
    }

    /// A text was shown for good.
    pub(super) fn note_display(&mut self, text: &str) {
        self.display = Some(text.into());
    }

    /// The value of a point.
    pub(super) fn value(&self, point: OsdpPoint, standing: Standing) -> Result<Value, NoData> {
        let whole = |count: u64| Value::Decimal(Decimal::whole(i128::from(count)));
        let told = match point {
            OsdpPoint::Connected => return Ok(Value::Bool(standing.connected)),
            OsdpPoint::Secure => return Ok(Value::Bool(standing.secure)),
            OsdpPoint::Dropped => return Ok(whole(self.dropped)),
            _ if !standing.connected || !standing.believed => None,
            OsdpPoint::Card => Some(Value::Text(self.card.clone())),
            OsdpPoint::Cards => Some(whole(self.cards)),
            OsdpPoint::Keys => Some(Value::Text(self.keys.clone())),
            OsdpPoint::KeyCount => Some(whole(self.key_count)),
            OsdpPoint::Tamper => self.local.map(|(tamper, _)| Value::Bool(tamper)),
            OsdpPoint::PowerFailed => self.local.map(|(_, power)| Value::Bool(power)),
            OsdpPoint::Input(at) => self.inputs.at(at),
            OsdpPoint::Output(at) => self.outputs.at(at),
            OsdpPoint::Display => self.display.clone().map(Value::Text),
            OsdpPoint::Light(led) => {
                let colour = self.lights.get(usize::from(led)).copied().flatten();
                colour.map(|colour| whole(u64::from(colour)))
            }
        };
        told.ok_or(NoData::NotAvailable)
    }
}

/// `26:2F764DD`: bits that fill no whole digit are at the front, so that the text is the number that the bits are.
fn card_text(card: &CardBits<'_>) -> Box<str> {
    let mut text = format!("{}:", card.count);
    let (mut digit, mut left) = (0u8, card.count);
    for bit in card.bits() {
        digit = digit << 1 | u8::from(bit);
        left = left.saturating_sub(1);
        if left.is_multiple_of(4) {
            let _ = write!(text, "{digit:X}");
            digit = 0;
        }
    }
    text.into()
}

/// A formatted card has characters in place of bits: `ascii:` and what is printable, in reading order.
fn formatted_text(direction: u8, text: &[u8]) -> Box<str> {
    let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    let mut characters: Vec<char> = text.iter().map(printable).collect();
    if direction == 1 {
        characters.reverse();
    }
    let characters: String = characters.into_iter().collect();
    format!("ascii:{characters}").into()
}

/// `*` travels as 7F and `#` as 0D (7.12).
fn key_char(key: u8) -> char {
    match key {
        0x7F => '*',
        0x0D => '#',
        key if key.is_ascii_graphic() => char::from(key),
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_written_as_the_number_that_its_bits_are() {
        let bits = CardBits { reader: 0, format: 1, count: 26, data: &[0xBD, 0xD9, 0x37, 0x40] };
        assert_eq!(*card_text(&bits), *"26:2F764DD");
        let bits = CardBits { reader: 0, format: 0, count: 0, data: &[] };
        assert_eq!(*card_text(&bits), *"0:");
        let bits = CardBits { reader: 0, format: 0, count: 3, data: &[0b0110_0000] };
        assert_eq!(*card_text(&bits), *"3:3");
    }

    #[test]
    fn keys_are_written_as_they_are_printed_on_the_pad() {
        let mut shown = Shown::default();
        shown.note_presented(Reply::Keypad { reader: 0, keys: &[0x31, 0x7F, 0x0D, 0x00] }, false);
        assert_eq!(*shown.keys, *"1*#?");
        assert!(!format!("{shown:?}").contains("1*#"), "{shown:?}");
    }
}
