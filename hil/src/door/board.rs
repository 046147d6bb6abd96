//! The controller itself: what it holds, and what it answers.

use std::collections::BTreeMap;

/// Bytes of a datagram.
pub const SIZE: usize = 64;

/// An event of the ring, as it lies on the wire from byte 12 on: type, granted, door, direction, card, time, reason.
type Recorded = [u8; 16];

/// Somebody at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swipe {
    /// The card.
    pub card: u32,
    /// 1 to 4.
    pub door: u8,
    /// True on the way out.
    pub out: bool,
}

/// A controller.
#[derive(Debug, Clone)]
pub struct Board {
    /// The number on it.
    pub serial: u32,
    /// Contacts: true for open.
    pub doors: [bool; 4],
    /// Its clock: year, month, day, hour, minute, second.
    pub clock: [u16; 6],
    /// Its list: place to number and the 16 bytes after it. A deleted entry keeps its place.
    pub list: Vec<Option<(u32, [u8; 16])>>,
    /// How many cards the list holds.
    pub list_capacity: usize,
    /// A place whose card was deleted shows the number 0 in place of 0xFFFFFFFF.
    pub blank_places: bool,
    /// Numbers of the cards that were taken off the list over the network.
    pub dropped: Vec<u32>,
    /// How often each door was opened over the network.
    pub opened: [u32; 4],
    /// How many events the ring holds.
    pub capacity: usize,
    /// Requests of each function.
    pub asked: BTreeMap<u8, u64>,
    events: BTreeMap<u32, Recorded>,
    last: u32,
    marker: u32,
    listener: [u8; 7],
    sequence: u32,
}

fn pair(number: u16) -> u8 {
    let number = u8::try_from(number % 100).unwrap_or(0);
    number / 10 * 16 + number % 10
}

impl Board {
    /// A controller as it leaves the factory.
    pub fn new(serial: u32) -> Board {
        Board {
            serial,
            doors: [false; 4],
            clock: [2026, 11, 26, 9, 0, 0],
            list: Vec::new(),
            list_capacity: 20_000,
            blank_places: false,
            dropped: Vec::new(),
            opened: [0; 4],
            capacity: 1000,
            asked: BTreeMap::new(),
            events: BTreeMap::new(),
            last: 0,
            marker: 0,
            listener: [0; 7],
            sequence: 0,
        }
    }

    /// Somebody presents a card; the controller decides by its list. Gives the datagram that tells of it, and where it
    /// goes.
    pub fn swipe(&mut self, swipe: Swipe) -> ([u8; SIZE], [u8; 6]) {
        let entry = self.list.iter().flatten().find(|(number, _)| *number == swipe.card);
        let granted = entry.is_some_and(|(_, rest)| rest.get(7 + usize::from(swipe.door)) == Some(&1));
        self.record(1, granted, swipe.door, swipe.out, swipe.card, if granted { 1 } else { 6 });
        self.tell()
    }

    /// Somebody presses the button at a door.
    pub fn press(&mut self, door: u8) {
        self.record(2, true, door, true, 0, 20);
    }

    /// The number of the last event.
    pub fn last_event(&self) -> u32 {
        self.last
    }

    /// All is forgotten: events begin again with 1.
    pub fn reset(&mut self) {
        *self = Board { clock: self.clock, capacity: self.capacity, ..Board::new(self.serial) };
    }

    /// The cards that it lists.
    pub fn cards(&self) -> Vec<u32> {
        self.list.iter().flatten().map(|(number, _)| *number).collect()
    }

    fn record(&mut self, kind: u8, granted: bool, door: u8, out: bool, card: u32, reason: u8) {
        let mut event = [0; 16];
        (event[0], event[1], event[2], event[3]) = (kind, granted.into(), door, 1 + u8::from(out));
        event[4..8].copy_from_slice(&card.to_le_bytes());
        event[8..15].copy_from_slice(&self.time());
        event[15] = reason;
        self.last += 1;
        self.events.insert(self.last, event);
        while self.events.len() > self.capacity {
            self.events.pop_first();
        }
    }

    fn time(&self) -> [u8; 7] {
        let [year, month, day, hour, minute, second] = self.clock;
        [pair(year / 100), pair(year), pair(month), pair(day), pair(hour), pair(minute), pair(second)]
    }

    /// The datagram that goes to the listener after an event.
    fn tell(&mut self) -> ([u8; SIZE], [u8; 6]) {
        let mut datagram = self.empty(0x20);
        self.put_status(&mut datagram);
        let [a, b, c, d, low, high, _] = self.listener;
        (datagram, [a, b, c, d, low, high])
    }

    fn empty(&self, function: u8) -> [u8; SIZE] {
        let mut datagram = [0; SIZE];
        (datagram[0], datagram[1]) = (0x17, function);
        datagram[4..8].copy_from_slice(&self.serial.to_le_bytes());
        datagram
    }

    fn put_status(&mut self, reply: &mut [u8; SIZE]) {
        self.sequence += 1;
        reply[8..12].copy_from_slice(&self.last.to_le_bytes());
        if let Some(event) = self.events.get(&self.last) {
            reply[12..28].copy_from_slice(event);
        }
        for (at, open) in (28..).zip(self.doors) {
            reply[at] = open.into();
        }
        let [_, year, month, day, hour, minute, second] = self.time();
        reply[37..40].copy_from_slice(&[hour, minute, second]);
        reply[40..44].copy_from_slice(&self.sequence.to_le_bytes());
        reply[51..54].copy_from_slice(&[year, month, day]);
    }

    /// Answers a datagram, if it is for this controller.
    pub fn answer(&mut self, request: &[u8]) -> Option<[u8; SIZE]> {
        let request: [u8; SIZE] = request.try_into().ok()?;
        let long = |at: usize| u32::from_le_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let function = request[1];
        let mine = long(4) == self.serial || long(4) == 0 && function == 0x94;
        if request[0] != 0x17 || !mine {
            return None;
        }
        *self.asked.entry(function).or_default() += 1;
        let mut reply = self.empty(function);
        let number = long(8);
        match function {
            0x94 => {
                reply[8..12].copy_from_slice(&[127, 0, 0, 1]);
                reply[12..16].copy_from_slice(&[255, 255, 255, 0]);
                reply[20..28].copy_from_slice(&[0x00, 0x66, 0x19, 0x39, 0x55, 0x2D, 0x08, 0x92]);
                reply[28..32].copy_from_slice(&[0x20, 0x18, 0x08, 0x16]);
            }
            0x20 => self.put_status(&mut reply),
            0x30 => {
                let digit = |at: usize| u16::from(request[at] / 16 * 10 + request[at] % 16);
                self.clock = [digit(8) * 100 + digit(9), digit(10), digit(11), digit(12), digit(13), digit(14)];
                reply[8..15].copy_from_slice(&self.time());
            }
            0x32 => reply[8..15].copy_from_slice(&self.time()),
            0x40 => {
                let door = usize::from(request[8]).checked_sub(1).and_then(|at| self.opened.get_mut(at));
                reply[8] = door.is_some().into();
                if let Some(times) = door {
                    *times += 1;
                    self.record(2, true, request[8], false, 0, 44);
                }
            }
            0x50 => reply[8] = self.put(&request, number).into(),
            0x52 => {
                let entry = self.list.iter_mut().find(|entry| entry.is_some_and(|(card, _)| card == number));
                let was_there = entry.map(|entry| *entry = None).is_some();
                self.dropped.extend(was_there.then_some(number));
                reply[8] = was_there.into();
            }
            0x54 => {
                self.dropped.extend(self.list.iter().flatten().map(|(card, _)| *card));
                self.list.clear();
                reply[8] = 1;
            }
            0x58 => {
                let count = u32::try_from(self.cards().len()).unwrap_or(u32::MAX);
                reply[8..12].copy_from_slice(&count.to_le_bytes());
            }
            0x5A => {
                let entry = self.list.iter().flatten().find(|(card, _)| *card == number).copied();
                put_card(&mut reply, entry);
            }
            0x5C => match usize::try_from(number).ok().and_then(|at| self.list.get(at.checked_sub(1)?)) {
                Some(None) if !self.blank_places => reply[8..12].copy_from_slice(&[0xFF; 4]),
                entry => put_card(&mut reply, entry.copied().flatten()),
            },
            0x80 | 0x82 => reply[8..11].copy_from_slice(&[request[8], 3, 5]),
            0x90 => {
                self.listener.copy_from_slice(&request[8..15]);
                reply[8] = 1;
            }
            0x92 => reply[8..15].copy_from_slice(&self.listener),
            0xB0 => self.put_event(&mut reply, number),
            0xB2 => {
                self.marker = number;
                reply[8] = 1;
            }
            0xB4 => reply[8..12].copy_from_slice(&self.marker.to_le_bytes()),
            _ => return None,
        }
        Some(reply)
    }

    fn put(&mut self, request: &[u8; SIZE], number: u32) -> bool {
        let mut rest = [0; 16];
        rest.copy_from_slice(&request[12..28]);
        let (room, known) = (self.cards().len() < self.list_capacity, self.cards().contains(&number));
        if number == 0 || !(room || known) {
            return false;
        }
        match self.list.iter_mut().flatten().find(|(card, _)| *card == number) {
            Some(entry) => entry.1 = rest,
            None => self.list.push(Some((number, rest))),
        }
        true
    }

    fn put_event(&self, reply: &mut [u8; SIZE], index: u32) {
        reply[8..12].copy_from_slice(&index.to_le_bytes());
        let oldest = self.events.keys().next().copied().unwrap_or(0);
        match self.events.get(&index) {
            Some(event) => reply[12..28].copy_from_slice(event),
            None if index > 0 && index < oldest => reply[12] = 0xFF,
            None => reply[8..12].fill(0),
        }
    }
}

fn put_card(reply: &mut [u8; SIZE], entry: Option<(u32, [u8; 16])>) {
    if let Some((card, rest)) = entry {
        reply[8..12].copy_from_slice(&card.to_le_bytes());
        reply[12..28].copy_from_slice(&rest);
    }
}
