//! Numbers on the plates of meters, as they are addresses on the wire: packed decimals, least significant byte first.

use std::fmt;

/// The address of a meter, of `N` bytes with two digits each. Bytes AA stand for any digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plate<const N: usize>([u8; N]);

/// Why a text is no address. Each protocol says what its own look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPlate<const N: usize>;

impl<const N: usize> Plate<N> {
    /// Whatever meter there is: only with one on the line.
    pub const ANY: Self = Plate([0xAA; N]);
    /// Every meter of the line; never answered.
    pub const BROADCAST: Self = Plate([0x99; N]);

    /// Reads `2 * N` digits, the most significant first. Leading pairs may be `AA`, which stand for any digits.
    ///
    /// # Errors
    /// [`InvalidPlate`] for anything else, and for the broadcast address.
    pub fn parse(text: &str) -> Result<Self, InvalidPlate<N>> {
        let pairs = text.as_bytes();
        if pairs.len() != 2 * N || !text.is_ascii() {
            return Err(InvalidPlate);
        }
        let mut bytes = [0; N];
        let mut digits_began = false;
        for (place, pair) in bytes.iter_mut().rev().zip(pairs.chunks_exact(2)) {
            *place = match *pair {
                [b'A' | b'a', b'A' | b'a'] if !digits_began => 0xAA,
                [high @ b'0'..=b'9', low @ b'0'..=b'9'] => (high - b'0') << 4 | (low - b'0'),
                _ => return Err(InvalidPlate),
            };
            digits_began = *place != 0xAA;
        }
        let address = Plate(bytes);
        if address == Plate::BROADCAST { Err(InvalidPlate) } else { Ok(address) }
    }

    /// An address as it is on the wire.
    pub const fn from_wire(bytes: [u8; N]) -> Self {
        Plate(bytes)
    }

    /// The bytes on the wire.
    pub const fn wire(self) -> [u8; N] {
        self.0
    }

    /// True when some digits stand for any.
    pub fn is_wildcard(self) -> bool {
        self.0.contains(&0xAA)
    }

    /// The addresses that know one pair of digits more than this one, from 00 to 99; none for a whole address. The lowest
    /// pair is made known first, as shortened addressing has it (DL/T 645-2007, 5.2.1: low pairs are given, the rest is AA).
    pub fn narrower(self) -> impl Iterator<Item = Self> {
        let open = self.0.iter().position(|&byte| byte == 0xAA);
        open.into_iter().flat_map(move |at| {
            (0..100u8).map(move |pair| {
                let mut bytes = self.0;
                bytes[at] = ((pair / 10) << 4) | (pair % 10);
                Plate(bytes)
            })
        })
    }

    /// The address that knows one pair of digits less than this one, of which this is a narrower one; `None` for the widest.
    pub fn wider(self) -> Option<Self> {
        let known = self.0.iter().rposition(|&byte| byte != 0xAA)?;
        let mut bytes = self.0;
        bytes[known] = 0xAA;
        Some(Plate(bytes))
    }

    /// True if a meter at `other` is meant.
    pub fn covers(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(&own, other)| own == 0xAA || own == other)
    }
}

impl<const N: usize> fmt::Display for Plate<N> {
    /// Writes the digits, the most significant first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl<const N: usize> fmt::Debug for Plate<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrower_addresses_are_disjoint_and_together_cover_the_wider_one() {
        let wider = Plate::<6>::from_wire([0x34, 0x12, 0xAA, 0xAA, 0xAA, 0xAA]);
        let meter = Plate::<6>::from_wire([0x34, 0x12, 0x56, 0x78, 0x90, 0x01]);
        let narrower: Vec<Plate<6>> = wider.narrower().collect();
        assert_eq!(narrower.len(), 100);
        assert_eq!(narrower.iter().filter(|one| one.covers(meter)).count(), 1);
        assert!(narrower.iter().all(|one| one.wire()[..2] == [0x34, 0x12] && one.wire()[3..] == [0xAA; 3]));
        assert_eq!(meter.narrower().count(), 0);
        assert!(narrower.iter().all(|one| one.wider() == Some(wider)));
        assert_eq!(Plate::<6>::ANY.wider(), None);
    }
}
