//! What a device's points show of a card, and the bits that it has.

use gatehouse_core::Value;

use crate::access::Proof;
use crate::access::wiegand::{Bits, Card, Format};
use crate::catalog::PointRef;

/// The points of one device that show cards. They are read together.
#[derive(Debug, Clone, PartialEq)]
pub struct CardSource {
    /// The card.
    pub card: CardPoint,
    /// How many cards were read; it changes with each. `None`: the card's point goes back to 0 between two cards.
    pub count: Option<PointRef>,
}

impl CardSource {
    /// The points that show who is at the reader, or which key was pressed.
    pub fn personal(&self) -> impl Iterator<Item = PointRef> {
        std::iter::once(self.card.at()).chain(self.card.facility())
    }
}

/// What the card's point holds.
#[derive(Debug, Clone, PartialEq)]
pub enum CardPoint {
    /// The bits as the reader sent them, the last one lowest, with their parities.
    Frame {
        /// The point.
        at: PointRef,
        /// How many bits.
        bits: u8,
        /// The format by name; `None`: whichever formats have that many bits.
        format: Option<String>,
    },
    /// The bits as text, their number first: `26:2F764DD`. Any number of bits may come.
    Text {
        /// The point.
        at: PointRef,
        /// The format by name; `None`: whichever formats have that many bits.
        format: Option<String>,
    },
    /// The card's number, and its facility code in a point of its own.
    Number {
        /// The point of the number.
        at: PointRef,
        /// The point of the facility code, where there is one.
        facility: Option<PointRef>,
        /// The format that makes bits of them.
        format: Format,
    },
}

impl CardPoint {
    pub(super) fn at(&self) -> PointRef {
        match self {
            CardPoint::Frame { at, .. } | CardPoint::Text { at, .. } | CardPoint::Number { at, .. } => *at,
        }
    }

    pub(super) fn facility(&self) -> Option<PointRef> {
        match self {
            CardPoint::Frame { .. } | CardPoint::Text { .. } => None,
            CardPoint::Number { facility, .. } => *facility,
        }
    }

    /// What was presented. Numbers that do not fit their format stay what they are: the access machine refuses them.
    pub(super) fn proof(&self, shown: &Shown) -> Option<Proof> {
        match self {
            CardPoint::Frame { bits, format, .. } => {
                let bits = Bits::of_number(shown.card, (*bits).max(significant(shown.card))).ok()?;
                Some(Proof::Card { bits, format: format.clone() })
            }
            CardPoint::Text { format, .. } => {
                let bits = Bits::of_number(shown.card, shown.bits?).ok()?;
                Some(Proof::Card { bits, format: format.clone() })
            }
            CardPoint::Number { format, .. } => {
                let card = u64::try_from(shown.card).ok().zip(u32::try_from(shown.facility.unwrap_or(0)).ok());
                let card = card.map(|(number, facility)| Card { facility: shown.facility.and(Some(facility)), number });
                let bits = card.and_then(|card| format.encode(card).ok());
                let bits = bits.or_else(|| Bits::of_number(shown.card, significant(shown.card)).ok())?;
                Some(Proof::Card { bits, format: Some(format.name().to_owned()) })
            }
        }
    }
}

/// How many bits a number needs.
fn significant(number: u128) -> u8 {
    u8::try_from(128 - number.leading_zeros()).unwrap_or(128).max(1)
}

/// What a device showed at a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) card: u128,
    /// How many bits the card has, where its point tells it.
    pub(super) bits: Option<u8>,
    pub(super) facility: Option<u128>,
    pub(super) count: Option<u128>,
}

/// The bits of `26:2F764DD` and how many they are; no bits where it is anything else, or has more than 128.
pub(super) fn counted_bits(text: &str) -> (u128, Option<u8>) {
    let parts = text.split_once(':').and_then(|(count, digits)| {
        let count = count.parse::<u8>().ok().filter(|count| (1..=128).contains(count))?;
        let card = u128::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        Some((card, count))
    });
    parts.filter(|(card, count)| significant(*card) <= *count).map_or((0, None), |(card, count)| (card, Some(count)))
}

/// A whole number of 0 or more.
pub(in crate::engine) fn whole(value: &Value) -> Option<u128> {
    match value {
        Value::Decimal(number) if number.exponent == 0 => u128::try_from(number.mantissa).ok(),
        Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_) | Value::Text(_) => None,
    }
}
