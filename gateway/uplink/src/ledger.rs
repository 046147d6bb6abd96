//! The in-flight ledger: which packet id stands for what, until its PUBACK.

use gatehouse_core::{Lane, Mono};

/// The two topics of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What was stored since the link came up.
    Live,
    /// What was stored before, or came back.
    Backfill,
}

/// Messages that are not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The retained status.
    Status,
    /// One message of the inventory, by the number that the client gave it.
    Inventory(usize),
}

/// What a packet id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// Records `first..=last` of a lane.
    Records {
        lane: Lane,
        stream: Stream,
        first: u64,
        last: u64,
        /// The only record, when it stands alone in its message.
        single: bool,
        /// The message holds nothing but a gap record.
        gap: bool,
    },
    Control(Control),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) cargo: Cargo,
    pub(crate) bytes: usize,
    pub(crate) at: Mono,
}

/// Messages in flight by packet id. Never more than its window.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    flights: Vec<Option<Flight>>,
    last_id: usize,
    count: usize,
}

impl Ledger {
    /// Forgets all; ids go from 1 to `window` from now on.
    pub(crate) fn reset(&mut self, window: u16) {
        self.flights.clear();
        self.flights.resize(usize::from(window), None);
        (self.last_id, self.count) = (0, 0);
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn window(&self) -> usize {
        self.flights.len()
    }

    /// Enters a flight under a free packet id; `None` when the window is full.
    pub(crate) fn insert(&mut self, flight: Flight) -> Option<u16> {
        let window = self.flights.len();
        let slot = (0..window).map(|step| (self.last_id + step) % window).find(|&slot| self.flights[slot].is_none())?;
        self.flights[slot] = Some(flight);
        self.last_id = slot + 1;
        self.count += 1;
        u16::try_from(slot + 1).ok()
    }

    /// Takes out what `id` stands for.
    pub(crate) fn remove(&mut self, id: u16) -> Option<Flight> {
        let flight = self.flights.get_mut(usize::from(id).checked_sub(1)?)?.take()?;
        self.count -= 1;
        Some(flight)
    }

    /// When the oldest flight left.
    pub(crate) fn oldest(&self) -> Option<Mono> {
        self.flights.iter().flatten().map(|flight| flight.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_among_the_messages_in_flight_and_never_above_the_window() {
        let flight = Flight { cargo: Cargo::Control(Control::Status), bytes: 0, at: Mono(0) };
        let mut ledger = Ledger::default();
        ledger.reset(3);
        assert_eq!([1, 2, 3].map(|_| ledger.insert(flight)), [Some(1), Some(2), Some(3)]);
        assert_eq!(ledger.insert(flight), None);
        assert!(ledger.remove(2).is_some());
        assert!(ledger.remove(2).is_none(), "a second PUBACK of the same id stands for nothing");
        assert!(ledger.remove(0).is_none() && ledger.remove(4).is_none());
        assert_eq!(ledger.insert(flight), Some(2));
        ledger.reset(2);
        assert_eq!((ledger.len(), ledger.insert(flight)), (0, Some(1)));
    }
}
