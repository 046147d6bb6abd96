//! Where one point of a meter lies, and how.

use std::fmt;

use gatehouse_core::Kind;

/// The edition of the standard that a meter follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edition {
    /// DL/T 645-1997: two bytes of data identifier.
    V1997,
    /// DL/T 645-2007: four bytes of data identifier.
    V2007,
}

/// How the bytes of an item become a value. Numbers are packed decimals with the least significant byte first; all
/// bytes FF stand for "not available".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A number such as XXXXXX.XX.
    Number {
        /// Bytes, two digits each, 1 to 8.
        bytes: u8,
        /// Digits after the point.
        places: u8,
        /// True when the highest bit is a minus sign.
        signed: bool,
    },
    /// A word of flags, least significant byte first.
    Word {
        /// Bytes, 1 to 4.
        bytes: u8,
    },
    /// mm hh DD MM YY, as text: `2026-03-14T15:09`.
    Minute,
    /// WW DD MM YY, as text: `2026-03-14`.
    Date,
    /// ss mm hh, as text: `15:09:26`.
    Time,
    /// Decimal digits as text, leading zeros included: addresses and numbers of meters.
    Digits {
        /// Bytes, two digits each.
        bytes: u8,
    },
    /// ASCII, the last character first, filled up with NUL or blanks.
    Text {
        /// Bytes.
        bytes: u8,
    },
}

/// One point of a DL/T 645 meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dlt645Point {
    /// The edition, which says how many bytes an identifier has.
    pub edition: Edition,
    /// The data identifier that is asked for: DI3 DI2 DI1 DI0, or DI1 DI0 in the edition of 1997.
    pub di: u32,
    /// Which item of a block, counted from 0; 0 where the identifier is one item.
    pub item: u8,
    /// Bytes of one item.
    pub item_bytes: u8,
    /// Bytes of the item before the point's own.
    pub offset: u8,
    /// How the point's bytes become a value.
    pub format: Format,
    /// The bit of a [`Format::Word`] that is the value; `None` for the whole.
    pub bit: Option<u8>,
}

impl Format {
    /// Bytes that a value takes.
    pub fn bytes(self) -> u8 {
        match self {
            Format::Number { bytes, .. }
            | Format::Word { bytes }
            | Format::Digits { bytes }
            | Format::Text { bytes } => bytes,
            Format::Minute => 5,
            Format::Date => 4,
            Format::Time => 3,
        }
    }
}

impl Dlt645Point {
    /// What the point's values are made of.
    pub fn kind(&self) -> Kind {
        match self.format {
            Format::Number { places, .. } => Kind::Decimal { exponent: -i8::try_from(places).unwrap_or(i8::MAX) },
            Format::Word { .. } if self.bit.is_some() => Kind::Bool,
            Format::Word { .. } => Kind::Decimal { exponent: 0 },
            Format::Minute | Format::Date | Format::Time | Format::Digits { .. } | Format::Text { .. } => Kind::Text,
        }
    }
}

impl fmt::Display for Dlt645Point {
    /// Writes the identifier, and the item where it is one of a block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.edition {
            Edition::V2007 => write!(f, "{:08X}", self.di)?,
            Edition::V1997 => write!(f, "{:04X}", self.di)?,
        }
        if self.item > 0 { write!(f, " item {}", self.item) } else { Ok(()) }
    }
}

impl fmt::Display for Format {
    /// Writes the format as the standard does: `XXXXXX.XX`, `-XX.XXXX` where there is a sign, `ss mm hh`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Format::Number { bytes, places, signed } => {
                let (digits, places) = (2 * usize::from(bytes), usize::from(places));
                let sign = if signed { "-" } else { "" };
                let point = if places > 0 { "." } else { "" };
                write!(f, "{sign}{:X<whole$}{point}{:X<places$}", "", "", whole = digits.saturating_sub(places))
            }
            Format::Word { bytes } => write!(f, "{} bits", 8 * u16::from(bytes)),
            Format::Minute => f.write_str("mm hh DD MM YY"),
            Format::Date => f.write_str("WW DD MM YY"),
            Format::Time => f.write_str("ss mm hh"),
            Format::Digits { bytes } => write!(f, "{} digits", 2 * u16::from(bytes)),
            Format::Text { bytes } => write!(f, "{bytes} characters"),
        }
    }
}
