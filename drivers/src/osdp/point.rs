//! What one point of a reader is.

use gatehouse_core::Kind;

/// One point of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OsdpPoint {
    /// The last card, as text: how many bits, a colon, the bits as a hexadecimal number with the last bit lowest, for
    /// example `26:2F764DD`; empty before the first.
    Card,
    /// How many cards were read.
    Cards,
    /// How many cards and keys were dropped: held by the reader while the link was lost, or sent without security.
    Dropped,
    /// The keys that were pressed last, as text.
    Keys,
    /// How many times keys came.
    KeyCount,
    /// True while the reader is opened or taken off its wall.
    Tamper,
    /// True while its supply fails.
    PowerFailed,
    /// An input, counted from 0.
    Input(u8),
    /// An output, counted from 0. It can be written.
    Output(u8),
    /// True while a connection stands.
    Connected,
    /// True within a Secure Channel under the reader's own key.
    Secure,
    /// The text on its display; it can be written only.
    Display,
    /// The colour of a light: 0 off, 1 red, 2 green, 3 amber, 4 blue, 5 magenta, 6 cyan, 7 white; it can be written only.
    Light(u8),
}

impl OsdpPoint {
    /// What the point's values are made of.
    pub fn kind(self) -> Kind {
        match self {
            OsdpPoint::Card | OsdpPoint::Keys | OsdpPoint::Display => Kind::Text,
            OsdpPoint::Cards | OsdpPoint::Dropped | OsdpPoint::KeyCount | OsdpPoint::Light(_) => {
                Kind::Decimal { exponent: 0 }
            }
            OsdpPoint::Tamper
            | OsdpPoint::PowerFailed
            | OsdpPoint::Input(_)
            | OsdpPoint::Output(_)
            | OsdpPoint::Connected
            | OsdpPoint::Secure => Kind::Bool,
        }
    }

    /// True if a person or a rule may write it.
    pub fn is_writable(self) -> bool {
        matches!(self, OsdpPoint::Output(_) | OsdpPoint::Display | OsdpPoint::Light(_))
    }

    /// True if it shows who was at the reader.
    pub fn is_personal(self) -> bool {
        matches!(self, OsdpPoint::Card | OsdpPoint::Keys)
    }
}
