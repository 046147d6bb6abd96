//! What a controller is asked.

use gatehouse_core::LocalTime;

use super::datagram::{Datagram, MAGIC, function};
use super::date::{Date, read_time, write_time};
use super::error::WireError;
use super::untold::Untold;

/// One request, without the serial number of its controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Who are you?
    Discover,
    /// Doors, buttons, relays, clock and the last event.
    Status,
    /// Unlocks a door for its delay. Never sent twice on doubt.
    OpenDoor {
        /// 1 to 4.
        door: u8,
    },
    /// How is a door controlled?
    Door {
        /// 1 to 4.
        door: u8,
    },
    /// Sets how a door is controlled.
    SetDoor {
        /// 1 to 4.
        door: u8,
        /// 1 always open, 2 always closed, 3 controlled.
        mode: u8,
        /// Seconds for which it is unlocked.
        delay_s: u8,
    },
    /// How many cards are listed?
    CardCount,
    /// The entry at this place of the list, from 1 on.
    CardAt(u32),
    /// The entry of this card.
    Card(Untold),
    /// Lists a card.
    PutCard(Card),
    /// Takes a card off the list.
    DeleteCard(Untold),
    /// Takes all cards off the list.
    DeleteCards,
    /// What time is it?
    Time,
    /// Sets the clock.
    SetTime(LocalTime),
    /// A recorded event.
    Event(u32),
    /// Up to which event did somebody fetch them?
    EventIndex,
    /// Notes up to which event somebody has fetched them.
    SetEventIndex(u32),
    /// Where are events sent?
    Listener,
    /// Sets where events are sent.
    SetListener {
        /// An IPv4 address.
        address: [u8; 4],
        /// The port.
        port: u16,
        /// Seconds from one repetition of the status to the next; 0 for none.
        interval_s: u8,
    },
}

/// A card with its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// Its number, as the controller reads it.
    pub number: Untold,
    /// The first day on which it opens; `None`: no day that the calendar has, such as the zeros of a card without dates.
    pub from: Option<Date>,
    /// The last one.
    pub until: Option<Date>,
    /// For each door 0 (no), 1 (yes) or a time profile from 2 on.
    pub doors: [u8; 4],
    /// 24 bits of PIN, 0 for none.
    pub pin: Untold,
    /// Doors that it unlocks for the day as its first card, door 1 in the lowest bit.
    pub first_card: u8,
}

impl Card {
    pub(super) fn read(datagram: &Datagram) -> Card {
        let [p0, p1, p2] = datagram.part(24);
        Card {
            number: Untold::new(datagram.long(8)),
            from: Date::read(datagram.part(12)).ok(),
            until: Date::read(datagram.part(16)).ok(),
            doors: datagram.part(20),
            pin: Untold::new(u32::from_le_bytes([p0, p1, p2, 0])),
            first_card: datagram.byte(27),
        }
    }

    fn write(&self, datagram: Datagram) -> Datagram {
        let [p0, p1, p2, _] = self.pin.reveal().to_le_bytes();
        datagram
            .put(8, &self.number.reveal().to_le_bytes())
            .put(12, &self.from.map_or([0; 4], Date::wire))
            .put(16, &self.until.map_or([0; 4], Date::wire))
            .put(20, &self.doors)
            .put(24, &[p0, p1, p2, self.first_card])
    }
}

impl Request {
    /// The function that it is asked and answered under.
    pub fn function(&self) -> u8 {
        match self {
            Request::Discover => function::DISCOVER,
            Request::Status => function::STATUS,
            Request::OpenDoor { .. } => function::OPEN_DOOR,
            Request::Door { .. } => function::DOOR,
            Request::SetDoor { .. } => function::SET_DOOR,
            Request::CardCount => function::CARD_COUNT,
            Request::CardAt(_) => function::CARD_AT,
            Request::Card(_) => function::CARD,
            Request::PutCard(_) => function::PUT_CARD,
            Request::DeleteCard(_) => function::DELETE_CARD,
            Request::DeleteCards => function::DELETE_CARDS,
            Request::Time => function::TIME,
            Request::SetTime(_) => function::SET_TIME,
            Request::Event(_) => function::EVENT,
            Request::EventIndex => function::EVENT_INDEX,
            Request::SetEventIndex(_) => function::SET_EVENT_INDEX,
            Request::Listener => function::LISTENER,
            Request::SetListener { .. } => function::SET_LISTENER,
        }
    }

    /// The datagram to a controller; serial 0 asks all of them, which is good for [`Request::Discover`] only.
    pub fn encode(&self, serial: u32) -> Datagram {
        let empty = Datagram::new(self.function(), serial);
        match self {
            Request::Discover
            | Request::Status
            | Request::CardCount
            | Request::Time
            | Request::EventIndex
            | Request::Listener => empty,
            Request::OpenDoor { door } | Request::Door { door } => empty.put(8, &[*door]),
            Request::SetDoor { door, mode, delay_s } => empty.put(8, &[*door, *mode, *delay_s]),
            Request::CardAt(number) | Request::Event(number) => empty.put(8, &number.to_le_bytes()),
            Request::Card(card) | Request::DeleteCard(card) => empty.put(8, &card.reveal().to_le_bytes()),
            Request::PutCard(card) => card.write(empty),
            Request::DeleteCards => empty.put(8, &MAGIC.to_le_bytes()),
            Request::SetTime(time) => empty.put(8, &write_time(*time)),
            Request::SetEventIndex(index) => empty.put(8, &index.to_le_bytes()).put(12, &MAGIC.to_le_bytes()),
            Request::SetListener { address, port, interval_s } => {
                empty.put(8, address).put(12, &port.to_le_bytes()).put(14, &[*interval_s])
            }
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError::UnexpectedFunction`] for a function that is not known, and what is wrong with its dates.
    pub fn read(datagram: &Datagram) -> Result<Request, WireError> {
        let (number, byte) = (datagram.long(8), |at| datagram.byte(at));
        Ok(match datagram.function() {
            function::DISCOVER => Request::Discover,
            function::STATUS => Request::Status,
            function::OPEN_DOOR => Request::OpenDoor { door: byte(8) },
            function::DOOR => Request::Door { door: byte(8) },
            function::SET_DOOR => Request::SetDoor { door: byte(8), mode: byte(9), delay_s: byte(10) },
            function::CARD_COUNT => Request::CardCount,
            function::CARD_AT => Request::CardAt(number),
            function::CARD => Request::Card(Untold::new(number)),
            function::PUT_CARD => Request::PutCard(Card::read(datagram)),
            function::DELETE_CARD => Request::DeleteCard(Untold::new(number)),
            function::DELETE_CARDS => Request::DeleteCards,
            function::TIME => Request::Time,
            function::SET_TIME => Request::SetTime(read_time(datagram.part(8))?),
            function::EVENT => Request::Event(number),
            function::EVENT_INDEX => Request::EventIndex,
            function::SET_EVENT_INDEX => Request::SetEventIndex(number),
            function::LISTENER => Request::Listener,
            function::SET_LISTENER => {
                let (address, port) = (datagram.part(8), datagram.short(12));
                Request::SetListener { address, port, interval_s: byte(14) }
            }
            got => return Err(WireError::UnexpectedFunction { got }),
        })
    }
}
