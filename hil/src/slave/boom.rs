//! A barrier's boom: moved by pulses of a board's relays, seen by the board's inputs.

use std::sync::{Arc, Mutex, PoisonError};

use super::relay::Switches;

/// From one end to the other, in microseconds.
const TRAVEL_US: i64 = 2_000_000;
/// A car that has stood under the boom for so long has been seen by whoever looks: a close may have been on its way for
/// 2 s, and what it was based on may have been 2 s old.
const SEEN_US: i64 = 4_500_000;

/// Relays that raise, lower and stop the boom, as addresses of coils.
const RELAYS: [(u16, Going); 3] = [(0, Going::Up), (1, Going::Down), (2, Going::Nowhere)];

/// Addresses of the board's inputs.
pub mod input {
    /// The boom is up.
    pub const OPEN_LIMIT: u16 = 0;
    /// The boom is down.
    pub const CLOSE_LIMIT: u16 = 1;
    /// A vehicle is under the boom.
    pub const LOOP: u16 = 2;
    /// A vehicle stands before the boom.
    pub const APPROACH: u16 = 4;
    /// The fire panel's contact.
    pub const FIRE: u16 = 7;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    Up,
    Down,
    Nowhere,
}

/// A boom, shared between its board and those who drive under it. Times are microseconds of wall time.
///
/// It is a function of the pulses that came: whoever calls [`Boom::advance`], and when, its limits change at the same
/// instants.
#[derive(Debug, Clone)]
pub struct Boom(Arc<Mutex<Motion>>);

#[derive(Debug)]
struct Motion {
    coils: Switches,
    inputs: Switches,
    at_us: i64,
    /// 0 down, [`TRAVEL_US`] up.
    height_us: i64,
    going: Going,
    occupied: Option<i64>,
    /// How often the board was asked since then.
    asked: u32,
    came_down_on_a_car: u64,
}

impl Boom {
    /// A boom that is down.
    pub fn new(coils: Switches, inputs: Switches, now_us: i64) -> Self {
        inputs.set(input::CLOSE_LIMIT, true, now_us, None);
        let going = Going::Nowhere;
        let motion = Motion {
            coils,
            inputs,
            at_us: now_us,
            height_us: 0,
            going,
            occupied: None,
            asked: 0,
            came_down_on_a_car: 0,
        };
        Boom(Arc::new(Mutex::new(motion)))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Motion) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves it as far as it got by now.
    pub fn advance(&self, now_us: i64) {
        self.with(|motion| motion.advance(now_us));
    }

    /// Whether a driver would drive on: it is up and stands still.
    pub fn is_free(&self, now_us: i64) -> bool {
        self.with(|motion| {
            motion.advance(now_us);
            motion.height_us == TRAVEL_US && motion.going == Going::Nowhere
        })
    }

    /// Whether it is down.
    pub fn is_down(&self, now_us: i64) -> bool {
        self.with(|motion| {
            motion.advance(now_us);
            motion.height_us == 0
        })
    }

    /// A car drives under it, or leaves.
    pub fn occupy(&self, occupied: bool, now_us: i64) {
        self.with(|motion| {
            motion.advance(now_us);
            motion.occupied = occupied.then_some(now_us);
            motion.asked = 0;
            motion.inputs.set(input::LOOP, occupied, now_us, None);
        });
    }

    /// The board is asked: it shows what is so now.
    pub fn ask(&self, now_us: i64) {
        self.with(|motion| {
            motion.advance(now_us);
            motion.asked = motion.asked.saturating_add(1);
        });
    }

    /// How often the board was asked since a car came under it, or left.
    pub fn asked(&self) -> u32 {
        self.with(|motion| motion.asked)
    }

    /// How often it moved down on a car that stood there long enough to be seen. It must be never.
    pub fn came_down_on_a_car(&self) -> u64 {
        self.with(|motion| motion.came_down_on_a_car)
    }
}

impl Motion {
    fn advance(&mut self, now_us: i64) {
        let pulses = RELAYS.iter().flat_map(|(relay, going)| {
            self.coils.switched_on(*relay, self.at_us, now_us).into_iter().map(|at| (at, *going))
        });
        let mut pulses: Vec<(i64, Going)> = pulses.collect();
        pulses.sort_by_key(|(at, _)| *at);
        for (at, going) in pulses {
            self.travel(at);
            self.turn(going);
        }
        self.travel(now_us);
    }

    /// Goes on as before until `until_us`.
    fn travel(&mut self, until_us: i64) {
        let time = until_us - self.at_us;
        let (left, end) = match self.going {
            Going::Up => (TRAVEL_US - self.height_us, input::OPEN_LIMIT),
            Going::Down => (self.height_us, input::CLOSE_LIMIT),
            Going::Nowhere => {
                self.at_us = self.at_us.max(until_us);
                return;
            }
        };
        if time <= 0 {
            return;
        }
        let way = time.min(left);
        self.height_us += if self.going == Going::Up { way } else { -way };
        if time >= left {
            self.inputs.set(end, true, self.at_us + left, None);
            self.going = Going::Nowhere;
        }
        self.at_us = until_us;
    }

    fn turn(&mut self, going: Going) {
        let leaves = match going {
            Going::Up if self.height_us < TRAVEL_US => Some((input::CLOSE_LIMIT, self.height_us == 0)),
            Going::Down if self.height_us > 0 => Some((input::OPEN_LIMIT, self.height_us == TRAVEL_US)),
            Going::Up | Going::Down => return,
            Going::Nowhere => None,
        };
        if let Some((end, true)) = leaves {
            self.inputs.set(end, false, self.at_us, None);
        }
        if going == Going::Down && self.occupied.is_some_and(|since| self.at_us - since > SEEN_US) {
            self.came_down_on_a_car += 1;
        }
        self.going = going;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1000;

    fn boom() -> (Boom, Switches, Switches) {
        let (coils, inputs) = (Switches::default(), Switches::default());
        (Boom::new(coils.clone(), inputs.clone(), 0), coils, inputs)
    }

    #[test]
    fn a_pulse_raises_it_in_two_seconds_whoever_looks_and_when() {
        let (boom, coils, inputs) = boom();
        coils.set(0, true, 100 * MS, Some(600 * MS));
        boom.advance(10_000 * MS);
        let shown = |at: i64| (inputs.state(input::CLOSE_LIMIT, at * MS), inputs.state(input::OPEN_LIMIT, at * MS));
        assert_eq!(
            (shown(99), shown(100), shown(2_099), shown(2_100)),
            ((true, false), (false, false), (false, false), (false, true))
        );
        assert!(boom.is_free(10_000 * MS));
    }

    #[test]
    fn it_stops_halfway_and_goes_back_as_long_as_it_came() {
        let (boom, coils, inputs) = boom();
        coils.set(0, true, MS, Some(500 * MS));
        coils.set(2, true, 1_001 * MS, Some(1_500 * MS));
        coils.set(1, true, 3_000 * MS, Some(3_500 * MS));
        boom.advance(5_000 * MS);
        assert!(!inputs.was(input::OPEN_LIMIT, true, 0, 5_000 * MS));
        assert!(!inputs.state(input::CLOSE_LIMIT, 3_999 * MS) && inputs.state(input::CLOSE_LIMIT, 4_000 * MS));
        assert!(boom.is_down(5_000 * MS));
    }

    #[test]
    fn coming_down_on_a_car_that_was_to_be_seen_is_counted() {
        let (boom, coils, _) = boom();
        coils.set(0, true, MS, Some(500 * MS));
        boom.occupy(true, 3_000 * MS);
        coils.set(1, true, 4_000 * MS, None);
        boom.advance(4_500 * MS);
        assert_eq!(boom.came_down_on_a_car(), 0, "nobody can have seen it yet");
        coils.set(0, true, 5_000 * MS, None);
        coils.set(1, true, 9_000 * MS, None);
        boom.advance(9_001 * MS);
        assert_eq!(boom.came_down_on_a_car(), 1);
    }
}
