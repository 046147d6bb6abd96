//! Datagrams: start, function, the controller's serial number, and a body whose numbers have the low byte first.

use std::ops::Range;

use super::error::WireError;

/// Bytes of every datagram, both ways.
pub const LENGTH: usize = 64;
/// First byte.
pub const START: u8 = 0x17;
/// First byte of events that firmware 6.62 sends unasked.
pub const START_OF_OLD_EVENTS: u8 = 0x19;
/// Follows a request that cannot be undone.
pub(super) const MAGIC: u32 = 0x55AA_AA55;

/// What is asked for, and answered under the same number.
pub mod function {
    /// Doors, buttons, relays, clock and the last event; also the events that a controller sends unasked.
    pub const STATUS: u8 = 0x20;
    /// Set the clock.
    pub const SET_TIME: u8 = 0x30;
    /// Read the clock.
    pub const TIME: u8 = 0x32;
    /// Unlock a door for its delay.
    pub const OPEN_DOOR: u8 = 0x40;
    /// List a card.
    pub const PUT_CARD: u8 = 0x50;
    /// Take a card off the list.
    pub const DELETE_CARD: u8 = 0x52;
    /// Take all cards off the list.
    pub const DELETE_CARDS: u8 = 0x54;
    /// How many cards are listed.
    pub const CARD_COUNT: u8 = 0x58;
    /// The entry of a card.
    pub const CARD: u8 = 0x5A;
    /// The entry at a place of the list.
    pub const CARD_AT: u8 = 0x5C;
    /// Set how a door is controlled, and for how long it is unlocked.
    pub const SET_DOOR: u8 = 0x80;
    /// Read the same.
    pub const DOOR: u8 = 0x82;
    /// Set where events are sent.
    pub const SET_LISTENER: u8 = 0x90;
    /// Read the same.
    pub const LISTENER: u8 = 0x92;
    /// Who is there.
    pub const DISCOVER: u8 = 0x94;
    /// A recorded event.
    pub const EVENT: u8 = 0xB0;
    /// Set the number of the last event that somebody has fetched.
    pub const SET_EVENT_INDEX: u8 = 0xB2;
    /// Read the same.
    pub const EVENT_INDEX: u8 = 0xB4;
}

/// Stands for a PIN in a trace: no PIN has more than six digits.
const BLOTTED_PIN: u8 = 0xFF;

/// Blots out of a datagram the number of a card and its PIN, which whoever reads a trace could make a card of. What is no
/// number stays: the place of a list, the word on what was done, and that there is no card or no PIN.
/// Gives where a number was; a PIN, of which FF stays, is not in it, since what lies between is told.
pub(super) fn conceal(is_request: bool, frame: &mut [u8]) -> Option<Range<usize>> {
    let [START | START_OF_OLD_EVENTS, function, ..] = *frame else { return None };
    let number = match function {
        function::STATUS | function::EVENT => 16..20,
        function::CARD_AT if is_request => return None,
        // An echo of the request holds the number as well.
        function::PUT_CARD | function::DELETE_CARD if !is_request && is_word_on_done(frame) => return None,
        function::PUT_CARD | function::DELETE_CARD | function::CARD | function::CARD_AT => 8..12,
        _ => return None,
    };
    let end = number.end.min(frame.len());
    let mut concealed = None;
    if let Some(card) = frame.get_mut(number.start..end)
        && !card.is_empty()
        && !is_no_card(card)
    {
        card.fill(0);
        concealed = Some(number.start..end);
    }
    if matches!(function, function::PUT_CARD | function::CARD | function::CARD_AT)
        && let Some([_, pin @ ..]) = frame.get_mut(23..27.min(frame.len()))
        && pin.iter().any(|byte| *byte != 0)
    {
        pin.fill(BLOTTED_PIN);
    }
    concealed
}

/// True of an answer that says no more than whether something was done.
fn is_word_on_done(frame: &[u8]) -> bool {
    matches!(frame.get(8..), Some([0 | 1, rest @ ..]) if rest.iter().all(|byte| *byte == 0))
}

/// True of what controllers say where there is no card, or none any more.
fn is_no_card(number: &[u8]) -> bool {
    matches!(number, [0, 0, 0, 0] | [0xFF, 0xFF, 0xFF, 0xFF])
}

/// One datagram, whole and with a right start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram([u8; LENGTH]);

impl Datagram {
    /// A datagram without a body.
    pub fn new(function: u8, serial: u32) -> Self {
        let mut bytes = [0; LENGTH];
        bytes[0] = START;
        bytes[1] = function;
        bytes[4..8].copy_from_slice(&serial.to_le_bytes());
        Datagram(bytes)
    }

    /// Takes what was received.
    ///
    /// # Errors
    /// [`WireError::BadLength`] and [`WireError::BadStart`].
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let whole: [u8; LENGTH] = bytes.try_into().map_err(|_| WireError::BadLength { got: bytes.len() })?;
        if whole[0] == START { Ok(Datagram(whole)) } else { Err(WireError::BadStart { got: whole[0] }) }
    }

    /// The same for what comes unasked, where one old firmware begins otherwise.
    pub(super) fn read_event(bytes: &[u8]) -> Result<Self, WireError> {
        let whole: [u8; LENGTH] = bytes.try_into().map_err(|_| WireError::BadLength { got: bytes.len() })?;
        match whole[0] {
            START | START_OF_OLD_EVENTS => Ok(Datagram(whole)),
            got => Err(WireError::BadStart { got }),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// The function.
    pub fn function(&self) -> u8 {
        self.0[1]
    }

    /// The serial number of the controller, 0 for all of them.
    pub fn serial(&self) -> u32 {
        self.long(4)
    }

    /// The byte at `at`, 0 past the end.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// True for any byte but 0, as the controllers mean it.
    pub(super) fn flag(&self, at: usize) -> bool {
        self.byte(at) != 0
    }

    /// The bytes from `at` on, 0 past the end.
    pub(super) fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|offset| self.byte(at + offset))
    }

    pub(super) fn short(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.part(at))
    }

    pub(super) fn long(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.part(at))
    }

    /// Puts bytes at `at`; what is past the end is dropped.
    pub(super) fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
        self
    }
}
