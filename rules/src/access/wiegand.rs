//! Wiegand frames: bits to facility and card number, and back.
//!
//! Bits count from 0 in the order of transmission, the first is the most significant. A reader that sends another
//! number of bits, or bits with a wrong parity, names nobody. Parity misses a double error, and 26-bit numbers are not
//! unique, so that a site with a choice lists its cards by their raw bits.

use std::fmt;

/// Up to 128 bits as a reader sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits {
    /// How many, 1 to 128.
    len: u8,
    /// The bits, the last one lowest.
    value: u128,
}

/// Bytes or text that are not 1 to 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBits {
    /// Another number of bits than 1 to 128.
    #[error("a card has 1 to 128 bits, this one {0}")]
    Length(usize),
    /// Fewer bytes than the bits need.
    #[error("{bits} bits need {} bytes, got {bytes}", bits.div_ceil(8))]
    Short {
        /// Bits announced.
        bits: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// A character other than 0 and 1, and where it stands (counted from 0).
    #[error("{0:?} at {1} is not a bit: write 0 and 1 only")]
    Character(char, usize),
}

impl Bits {
    /// The first `len` bits of `bytes`, as OSDP RAW (reply 50h) and most readers give them: first bit highest in the
    /// first byte, padded on the right. What stands in the padding is dropped.
    ///
    /// # Errors
    /// [`InvalidBits`] for a length outside 1 to 128 and for missing bytes.
    pub fn from_left_aligned(bytes: &[u8], len: usize) -> Result<Bits, InvalidBits> {
        let short = u8::try_from(len).ok().filter(|len| (1..=128).contains(len)).ok_or(InvalidBits::Length(len))?;
        let taken = bytes.get(..len.div_ceil(8)).ok_or(InvalidBits::Short { bits: len, bytes: bytes.len() })?;
        let all = taken.iter().fold(0u128, |all, byte| (all << 8) | u128::from(*byte));
        Ok(Bits { len: short, value: all >> (taken.len() * 8 - len) })
    }

    /// Bits as a text of 0 and 1, the first one first.
    ///
    /// # Errors
    /// [`InvalidBits`] for other characters and lengths.
    pub fn parse(text: &str) -> Result<Bits, InvalidBits> {
        if let Some((at, c)) = text.chars().enumerate().find(|(_, c)| !matches!(c, '0' | '1')) {
            return Err(InvalidBits::Character(c, at));
        }
        let len = u8::try_from(text.len()).ok().filter(|len| (1..=128).contains(len));
        let len = len.ok_or(InvalidBits::Length(text.len()))?;
        Ok(Bits { len, value: text.bytes().fold(0, |all, b| (all << 1) | u128::from(b == b'1')) })
    }

    /// The lowest `len` bits of a number, the last one lowest. Higher ones must be 0.
    ///
    /// # Errors
    /// [`InvalidBits::Length`] for a length outside 1 to 128, and for a number that needs more bits.
    pub fn of_number(value: u128, len: u8) -> Result<Bits, InvalidBits> {
        let needed = 128 - value.leading_zeros();
        if !(1..=128).contains(&len) || needed > u32::from(len) {
            return Err(InvalidBits::Length(usize::from(len)));
        }
        Ok(Bits { len, value })
    }

    /// How many bits.
    pub fn count(self) -> u8 {
        self.len
    }

    /// The bits as one number, the last one lowest.
    pub fn value(self) -> u128 {
        self.value
    }

    /// The part that `span` covers, as a number.
    fn part(self, span: Span) -> u128 {
        (self.value & span.mask(self.len)) >> (self.len - span.first - span.count)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$b}", self.value, width = usize::from(self.len))
    }
}

/// A run of bits within a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first bit, counted from 0 in the order of transmission.
    pub first: u8,
    /// How many, at least 1.
    pub count: u8,
}

impl Span {
    /// The bits `first..first + count`.
    pub const fn new(first: u8, count: u8) -> Span {
        Span { first, count }
    }

    fn fits(self, bits: u8) -> bool {
        self.count > 0 && self.first.checked_add(self.count).is_some_and(|end| end <= bits)
    }

    /// The span as ones within a frame of `bits` bits, for a span that [`Span::fits`].
    fn mask(self, bits: u8) -> u128 {
        (u128::MAX >> (128 - u32::from(self.count))) << (bits - self.first - self.count)
    }
}

/// One parity bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity {
    /// Where it stands.
    pub at: u8,
    /// True when the bit and what it covers hold an odd number of ones, false when even.
    pub odd: bool,
    /// What it covers, without itself.
    pub over: Vec<Span>,
}

/// How a reader packs a card into bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    name: String,
    bits: u8,
    facility: Option<Span>,
    number: Span,
    parity: Vec<Parity>,
}

/// A format that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFormat {
    /// Another number of bits than 1 to 128.
    #[error("a card has 1 to 128 bits, not {0}")]
    Length(u8),
    /// A run of bits is empty or goes beyond the end.
    #[error("{what}: {count} bits from bit {first} do not lie within {bits} bits")]
    Outside {
        /// Which run.
        what: &'static str,
        /// Its first bit.
        first: u8,
        /// How many bits.
        count: u8,
        /// The length of the frame.
        bits: u8,
    },
    /// A field has more bits than its number can have.
    #[error("{what} has {count} bits, at most {max} are possible")]
    Wide {
        /// Which field.
        what: &'static str,
        /// How many bits.
        count: u8,
        /// The most.
        max: u8,
    },
    /// A parity bit covers itself.
    #[error("the parity bit {0} lies within what it covers")]
    CoversItself(u8),
}

/// What a card says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Card {
    /// The facility (site) code, where the format has one.
    pub facility: Option<u32>,
    /// The card's number.
    pub number: u64,
}

/// Why bits are no card of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WiegandError {
    /// Another number of bits.
    #[error("the format has {expected} bits, the reader sent {got}")]
    BadLength {
        /// Bits of the format.
        expected: u8,
        /// Bits that came.
        got: u8,
    },
    /// A parity bit does not agree with what it covers.
    #[error("parity bit {at} does not agree with the bits that it covers")]
    BadParity {
        /// Where the parity bit stands.
        at: u8,
    },
    /// A field's number needs more bits than the format gives it (encoding only).
    #[error("the number does not fit the format")]
    TooLarge,
}

impl Format {
    /// A format of the site's own. `parity` is set in its order when a card is encoded.
    ///
    /// # Errors
    /// [`InvalidFormat`] says what contradicts what.
    pub fn new(
        name: &str,
        bits: u8,
        facility: Option<Span>,
        number: Span,
        parity: Vec<Parity>,
    ) -> Result<Format, InvalidFormat> {
        if !(1..=128).contains(&bits) {
            return Err(InvalidFormat::Length(bits));
        }
        let inside = |what, span: Span| match span.fits(bits) {
            true => Ok(()),
            false => Err(InvalidFormat::Outside { what, first: span.first, count: span.count, bits }),
        };
        for (what, span, max) in [("the facility code", facility, 32), ("the card number", Some(number), 64)] {
            let Some(span) = span else { continue };
            inside(what, span)?;
            if span.count > max {
                return Err(InvalidFormat::Wide { what, count: span.count, max });
            }
        }
        for parity in &parity {
            let own = Span::new(parity.at, 1);
            inside("a parity bit", own)?;
            for span in &parity.over {
                inside("what a parity bit covers", *span)?;
                if span.mask(bits) & own.mask(bits) != 0 {
                    return Err(InvalidFormat::CoversItself(parity.at));
                }
            }
        }
        Ok(Format { name: name.to_owned(), bits, facility, number, parity })
    }

    /// The four formats that readers commonly send: `H10301-26`, `H10306-34`, `H10302-37`, `H10304-37`. The layouts
    /// of the last two are customary and not published.
    pub fn built_in() -> [Format; 4] {
        [
            two_parities("H10301-26", 26, 12, Some(Span::new(1, 8)), Span::new(9, 16)),
            two_parities("H10306-34", 34, 16, Some(Span::new(1, 16)), Span::new(17, 16)),
            two_parities("H10302-37", 37, 18, None, Span::new(1, 35)),
            two_parities("H10304-37", 37, 18, Some(Span::new(1, 16)), Span::new(17, 19)),
        ]
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bits it has.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// True when its cards have a facility code.
    pub fn has_facility(&self) -> bool {
        self.facility.is_some()
    }

    /// Reads a card.
    ///
    /// # Errors
    /// [`WiegandError::BadLength`] and [`WiegandError::BadParity`].
    pub fn decode(&self, bits: Bits) -> Result<Card, WiegandError> {
        if bits.len != self.bits {
            return Err(WiegandError::BadLength { expected: self.bits, got: bits.len });
        }
        if let Some(bad) = self.parity.iter().find(|parity| !parity.agrees(bits)) {
            return Err(WiegandError::BadParity { at: bad.at });
        }
        let facility = self.facility.and_then(|span| u32::try_from(bits.part(span)).ok());
        let number = u64::try_from(bits.part(self.number)).map_err(|_| WiegandError::TooLarge)?;
        Ok(Card { facility, number })
    }

    /// The bits of a card. A facility code that the format does not have is refused, a missing one is 0.
    ///
    /// # Errors
    /// [`WiegandError::TooLarge`].
    pub fn encode(&self, card: Card) -> Result<Bits, WiegandError> {
        let place = |span: Span, number: u64| match number.checked_shr(u32::from(span.count)).unwrap_or(0) {
            0 => Ok(u128::from(number) << (self.bits - span.first - span.count)),
            _ => Err(WiegandError::TooLarge),
        };
        let facility = match (self.facility, card.facility) {
            (Some(span), facility) => place(span, u64::from(facility.unwrap_or(0)))?,
            (None, None) => 0,
            (None, Some(_)) => return Err(WiegandError::TooLarge),
        };
        let mut bits = Bits { len: self.bits, value: facility | place(self.number, card.number)? };
        for parity in &self.parity {
            if !parity.agrees(bits) {
                bits.value ^= Span::new(parity.at, 1).mask(bits.len);
            }
        }
        Ok(bits)
    }
}

impl Parity {
    fn agrees(&self, bits: Bits) -> bool {
        let over = self.over.iter().fold(0, |mask, span| mask | span.mask(bits.len));
        let ones = (bits.value & (over | Span::new(self.at, 1).mask(bits.len))).count_ones();
        (ones % 2 == 1) == self.odd
    }
}

/// An even parity bit in front over the first `half` data bits, an odd one at the end over the last `half`.
fn two_parities(name: &str, bits: u8, half: u8, facility: Option<Span>, number: Span) -> Format {
    let parity = vec![
        Parity { at: 0, odd: false, over: vec![Span::new(1, half)] },
        Parity { at: bits - 1, odd: true, over: vec![Span::new(bits - 1 - half, half)] },
    ];
    Format { name: name.to_owned(), bits, facility, number, parity }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn format(name: &str) -> Format {
        Format::built_in().into_iter().find(|format| format.name() == name).unwrap()
    }

    /// The vectors are those of the protocol hand-over, 2026-11: `vectors/wiegand.json`.
    #[test]
    fn every_vector_decodes_and_encodes_as_written() {
        let file: Value = serde_json::from_str(include_str!("../../vectors/wiegand.json")).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 11);
        for vector in vectors {
            let id = vector["id"].as_str().unwrap();
            let format = format(vector["format"].as_str().unwrap());
            let bits = Bits::parse(vector["bits"].as_str().unwrap()).unwrap();
            let hex = vector["left_aligned_hex"].as_str().unwrap();
            let bytes: Vec<u8> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            let nbits = usize::try_from(vector["nbits"].as_u64().unwrap()).unwrap();
            assert_eq!(Bits::from_left_aligned(&bytes, nbits), Ok(bits), "{id}");
            let right = u128::from_str_radix(vector["right_aligned_hex"].as_str().unwrap(), 16).unwrap();
            assert_eq!(bits.value(), right, "{id}");
            let decoded = format.decode(bits);
            match vector["expect"].as_str().unwrap() {
                "ok" => {
                    let facility = vector["decoded"]["facility"].as_u64().map(|f| u32::try_from(f).unwrap());
                    let card = Card { facility, number: vector["decoded"]["card"].as_u64().unwrap() };
                    assert_eq!(decoded, Ok(card), "{id}");
                    assert_eq!(format.encode(card), Ok(bits), "{id}");
                }
                "bad_parity" => assert!(matches!(decoded, Err(WiegandError::BadParity { .. })), "{id}"),
                "bad_length" => assert!(matches!(decoded, Err(WiegandError::BadLength { got: 25, .. })), "{id}"),
                other => panic!("{id} expects {other}"),
            }
        }
    }

    #[test]
    fn a_format_of_the_site_may_cover_scattered_bits() {
        // 35 bits, facility 12, number 20, three parities; the outer odd one covers the others.
        let parity = vec![
            Parity { at: 1, odd: false, over: (0..11).map(|n| Span::new(2 + 3 * n, 2)).collect() },
            Parity { at: 34, odd: true, over: (0..11).map(|n| Span::new(1 + 3 * n, 2)).collect() },
            Parity { at: 0, odd: true, over: vec![Span::new(1, 34)] },
        ];
        let format = Format::new("corporate-35", 35, Some(Span::new(2, 12)), Span::new(14, 20), parity).unwrap();
        let card = Card { facility: Some(0xabc), number: 0x5_4321 };
        let bits = format.encode(card).unwrap();
        assert_eq!(format.decode(bits), Ok(card));
        for flipped in 0..35 {
            let wrong = Bits { len: 35, value: bits.value ^ (1 << flipped) };
            assert!(matches!(format.decode(wrong), Err(WiegandError::BadParity { .. })), "bit {flipped}");
        }
    }

    #[test]
    fn a_format_that_contradicts_itself_is_refused() {
        let odd = |at, over| vec![Parity { at, odd: true, over: vec![over] }];
        let new = |bits, number, parity| Format::new("x", bits, None, number, parity);
        assert_eq!(new(0, Span::new(0, 1), Vec::new()), Err(InvalidFormat::Length(0)));
        assert!(matches!(new(26, Span::new(20, 7), Vec::new()), Err(InvalidFormat::Outside { .. })));
        assert!(matches!(new(26, Span::new(255, 255), Vec::new()), Err(InvalidFormat::Outside { .. })));
        assert!(matches!(new(128, Span::new(0, 65), Vec::new()), Err(InvalidFormat::Wide { max: 64, .. })));
        assert_eq!(new(26, Span::new(1, 8), odd(3, Span::new(1, 8))), Err(InvalidFormat::CoversItself(3)));
        assert!(matches!(new(26, Span::new(1, 8), odd(26, Span::new(1, 8))), Err(InvalidFormat::Outside { .. })));
        let format = format("H10302-37");
        assert_eq!(format.encode(Card { facility: Some(1), number: 1 }), Err(WiegandError::TooLarge));
        assert_eq!(format.encode(Card { facility: None, number: 1 << 35 }), Err(WiegandError::TooLarge));
    }

    #[test]
    fn bits_are_checked_at_the_door() {
        assert_eq!(Bits::from_left_aligned(&[], 0), Err(InvalidBits::Length(0)));
        assert_eq!(Bits::from_left_aligned(&[0; 17], 129), Err(InvalidBits::Length(129)));
        assert_eq!(Bits::from_left_aligned(&[0xff], 9), Err(InvalidBits::Short { bits: 9, bytes: 1 }));
        assert_eq!(Bits::parse("01x"), Err(InvalidBits::Character('x', 2)));
        assert_eq!(Bits::from_left_aligned(&[0xff; 16], 128).unwrap().value(), u128::MAX);
        assert_eq!(Bits::from_left_aligned(&[0b1010_1111], 3).unwrap().to_string(), "101");
    }

    proptest! {
        #[test]
        fn any_bits_are_decoded_without_panic_and_encode_to_themselves(bytes: [u8; 16], len in 1usize..=128) {
            let bits = Bits::from_left_aligned(&bytes, len).unwrap();
            prop_assert_eq!(Bits::parse(&bits.to_string()), Ok(bits));
            for format in Format::built_in() {
                if let Ok(card) = format.decode(bits) {
                    prop_assert_eq!(format.encode(card), Ok(bits));
                }
            }
        }
    }
}
