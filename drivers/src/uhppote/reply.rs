//! What a controller answers, and whether it is the answer.

use gatehouse_core::LocalTime;

use super::datagram::{Datagram, function};
use super::date::{Date, read_time};
use super::error::WireError;
use super::event::{RawEvent, kind};
use super::request::{Card, Request};

/// No card at a place where there was one.
const DELETED_CARD: u32 = u32::MAX;

/// One reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Who it is.
    Device(Device),
    /// Doors, buttons, relays, clock and the last event.
    Status(Status),
    /// Whether it did what was asked.
    Done(bool),
    /// How a door is controlled.
    Door {
        /// 1 to 4.
        door: u8,
        /// 1 always open, 2 always closed, 3 controlled.
        mode: u8,
        /// Seconds for which it is unlocked.
        delay_s: u8,
    },
    /// So many cards are listed.
    CardCount(u32),
    /// An entry of the list.
    Card(Card),
    /// No entry is there.
    NoCard,
    /// An entry was there, and was taken off.
    DeletedCard,
    /// The clock.
    Time(LocalTime),
    /// A recorded event.
    Event(RawEvent),
    /// It has no such event.
    NoEvent {
        /// As it says.
        index: u32,
    },
    /// It had one, and has put a newer one in its place.
    Overwritten {
        /// As it says.
        index: u32,
    },
    /// Up to which event somebody has fetched them.
    EventIndex(u32),
    /// Where events are sent.
    Listener {
        /// An IPv4 address.
        address: [u8; 4],
        /// The port.
        port: u16,
        /// Seconds from one repetition of the status to the next; 0 for none.
        interval_s: u8,
    },
}

/// Who a controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// IPv4 address.
    pub address: [u8; 4],
    /// Mask of its network.
    pub mask: [u8; 4],
    /// Router.
    pub gateway: [u8; 4],
    /// MAC address.
    pub mac: [u8; 6],
    /// Firmware, each byte two digits.
    pub version: [u8; 2],
    /// Day of the firmware.
    pub date: Date,
}

/// State of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The number of the last event, 0 where there is none.
    pub event_index: u32,
    /// The last event.
    pub event: Option<RawEvent>,
    /// Contacts of the doors: true for open.
    pub doors: [bool; 4],
    /// Buttons that let out: true for pressed.
    pub buttons: [bool; 4],
    /// What troubles it, 0 for nothing.
    pub system_error: u8,
    /// Its clock.
    pub clock: Result<LocalTime, WireError>,
    /// Counts its replies.
    pub sequence: u32,
    /// Without a known meaning.
    pub special: u8,
    /// Relays of the doors, door 1 in the lowest bit.
    pub relays: u8,
    /// Bit 0 forced lock, bit 1 fire.
    pub inputs: u8,
}

impl Status {
    fn read(datagram: &Datagram) -> Status {
        let event_index = datagram.long(8);
        let ([year, month, day], [hour, minute, second]) = (datagram.part(51), datagram.part(37));
        Status {
            event_index,
            event: (event_index > 0).then(|| RawEvent::read(datagram)),
            doors: datagram.part::<4>(28).map(|byte| byte != 0),
            buttons: datagram.part::<4>(32).map(|byte| byte != 0),
            system_error: datagram.byte(36),
            clock: read_time([0x20, year, month, day, hour, minute, second]),
            sequence: datagram.long(40),
            special: datagram.byte(48),
            relays: datagram.byte(49),
            inputs: datagram.byte(50),
        }
    }
}

impl Reply {
    /// Reads a reply of any function.
    ///
    /// # Errors
    /// [`WireError::UnexpectedFunction`] for a function that is not known, and what is wrong with a date. Times within a
    /// status or an event are judged apart, since the rest of it is good.
    pub fn read(datagram: &Datagram) -> Result<Reply, WireError> {
        Ok(match datagram.function() {
            function::DISCOVER => Reply::Device(Device {
                address: datagram.part(8),
                mask: datagram.part(12),
                gateway: datagram.part(16),
                mac: datagram.part(20),
                version: datagram.part(26),
                date: Date::read(datagram.part(28))?,
            }),
            function::STATUS => Reply::Status(Status::read(datagram)),
            function::OPEN_DOOR
            | function::PUT_CARD
            | function::DELETE_CARD
            | function::DELETE_CARDS
            | function::SET_EVENT_INDEX
            | function::SET_LISTENER => Reply::Done(datagram.byte(8) == 1),
            function::DOOR | function::SET_DOOR => {
                let [door, mode, delay_s] = datagram.part(8);
                Reply::Door { door, mode, delay_s }
            }
            function::CARD_COUNT => Reply::CardCount(datagram.long(8)),
            function::CARD | function::CARD_AT => match datagram.long(8) {
                0 => Reply::NoCard,
                DELETED_CARD => Reply::DeletedCard,
                _ => Reply::Card(Card::read(datagram)),
            },
            function::TIME | function::SET_TIME => Reply::Time(read_time(datagram.part(8))?),
            function::EVENT => match (datagram.byte(12), datagram.long(8)) {
                (kind::NONE, index) => Reply::NoEvent { index },
                (kind::OVERWRITTEN, index) => Reply::Overwritten { index },
                _ => Reply::Event(RawEvent::read(datagram)),
            },
            function::EVENT_INDEX => Reply::EventIndex(datagram.long(8)),
            function::LISTENER => {
                Reply::Listener { address: datagram.part(8), port: datagram.short(12), interval_s: datagram.byte(14) }
            }
            got => return Err(WireError::UnexpectedFunction { got }),
        })
    }

    /// Takes a datagram as the reply to a request: function and serial number must be the request's, and so must the
    /// event, the card or the door that it names.
    ///
    /// # Errors
    /// [`WireError`] says why it is not.
    pub fn judge(request: &Request, serial: u32, datagram: &Datagram) -> Result<Reply, WireError> {
        let got = datagram.function();
        if got != request.function() {
            return Err(WireError::UnexpectedFunction { got });
        }
        if datagram.serial() != serial {
            return Err(WireError::AddressMismatch { got: datagram.serial(), asked: serial });
        }
        let reply = Reply::read(datagram)?;
        let (got, asked) = match (request, &reply) {
            (Request::Event(asked), Reply::Event(event)) => (event.index, *asked),
            // Some say 0 in place of what they do not have.
            (Request::Event(asked), Reply::NoEvent { index } | Reply::Overwritten { index }) if *index > 0 => {
                (*index, *asked)
            }
            (Request::Card(asked), Reply::Card(card)) if card.number != *asked => return Err(WireError::OtherCard),
            (Request::Door { door: asked } | Request::SetDoor { door: asked, .. }, Reply::Door { door, .. }) => {
                ((*door).into(), (*asked).into())
            }
            _ => return Ok(reply),
        };
        if got == asked { Ok(reply) } else { Err(WireError::EchoMismatch { got, asked }) }
    }
}
