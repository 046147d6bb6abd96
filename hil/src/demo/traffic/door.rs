//! People at the door: they show a card at its reader, or press its exit button, and go through once the magnet lets go.

use std::sync::atomic::Ordering::Relaxed;

use super::super::core::{RESIDENTS, card, holder};
use super::{Caller, Doorway, MS, PATIENCE_US, Street};
use crate::sim_clock::wall_us;

/// How long somebody holds the exit button, and the door open.
const PRESS_US: i64 = 1_000 * MS;
const DOORWAY_US: i64 = 2_000 * MS;
/// Somebody whose card opens nothing shows it again after this time, so often in all, and then leaves. A reader that its
/// panel lost sight of for a moment drops what is shown meanwhile.
const CARD_PATIENCE_US: i64 = 5_000 * MS;
const TRIES: u8 = 3;
/// From closing the door behind one to the next in front of it: a grant is over by then.
const BETWEEN_US: i64 = 3_000 * MS;
/// A card that nobody knows.
const UNKNOWN: u32 = 60_000;

/// Where somebody at the door is; each with the time since when.
#[derive(Debug, Clone, Copy)]
enum At {
    Nobody(i64),
    Button(i64),
    /// With whose card, and whether the link was cut when it was shown first; and how often it was.
    Reader(i64, u32, bool, u8),
    Doorway(i64),
}

/// The door and who is there.
pub(super) struct DoorRun {
    door: Doorway,
    at: At,
    next: i64,
}

impl DoorRun {
    /// A door with nobody there.
    pub(super) fn new(door: Doorway, now: i64) -> Self {
        DoorRun { door, at: At::Nobody(now - BETWEEN_US), next: now + 5_000 * MS }
    }

    /// Goes on until now. People come by themselves, or when they are called.
    pub(super) fn step(&mut self, street: &Street, by_itself: bool) {
        let now = wall_us();
        let gate = self.door.gate;
        let released = !self.door.coils.state(self.door.lock, now);
        self.at = match self.at {
            At::Nobody(since) if now - since < BETWEEN_US => {
                street.look(gate);
                At::Nobody(since)
            }
            At::Nobody(since) => match self.comes(street, by_itself, now) {
                Some(caller) => self.begin(street, caller, now),
                None => At::Nobody(since),
            },
            At::Button(since) if released && now - since >= PRESS_US => {
                street.enter(gate, |account| *account.through.entry("exit_button".to_owned()).or_default() += 1);
                self.open(now)
            }
            At::Reader(_, resident, cut, _) if released => {
                let cut = cut && street.cut_off.load(Relaxed);
                street.enter(gate, |account| {
                    *account.through.entry("card".to_owned()).or_default() += 1;
                    account.by_card.push((holder(resident), cut));
                });
                self.open(now)
            }
            At::Button(since) if now - since >= PATIENCE_US => turned_away(street, gate, now),
            At::Reader(since, resident, cut, tries) if now - since >= CARD_PATIENCE_US => {
                if resident == UNKNOWN || tries >= TRIES {
                    turned_away(street, gate, now)
                } else {
                    self.show(street, resident, now);
                    At::Reader(now, resident, cut, tries + 1)
                }
            }
            At::Doorway(since) if now - since >= DOORWAY_US => At::Nobody(now),
            at @ (At::Button(_) | At::Reader(..) | At::Doorway(_)) => at,
        };
    }

    fn comes(&mut self, street: &Street, by_itself: bool, now: i64) -> Option<Caller> {
        street.called(self.door.gate).or_else(|| {
            let comes = by_itself && now >= self.next;
            comes.then(|| match fastrand::u8(..6) {
                0 => Caller::Stranger,
                1..=3 => Caller::Resident(fastrand::u32(1..=RESIDENTS)),
                _ => Caller::Guest,
            })
        })
    }

    /// Somebody comes to the door, and shows a card or presses the button.
    fn begin(&mut self, street: &Street, caller: Caller, now: i64) -> At {
        self.next = now + fastrand::i64(15_000..30_000) * MS;
        street.enter(self.door.gate, |account| account.empty = false);
        let resident = match caller {
            Caller::Guest => {
                self.door.inputs.set(self.door.button, true, now, Some(now + PRESS_US));
                return At::Button(now);
            }
            Caller::Resident(resident) => resident,
            Caller::Stranger => UNKNOWN,
        };
        self.show(street, resident, now);
        At::Reader(now, resident, street.cut_off.load(Relaxed), 1)
    }

    /// Shows a card to the reader.
    fn show(&self, street: &Street, resident: u32, now: i64) {
        let (count, bits) = card(resident);
        self.door.hand.show(count, &bits, now);
        let whose = if resident == UNKNOWN { "a card that nobody knows".to_owned() } else { holder(resident) };
        street.note(format!("{}: {whose} at the reader", self.door.gate));
    }

    /// The leaf opens, and falls shut by itself.
    fn open(&self, now: i64) -> At {
        self.door.inputs.set(self.door.contact, true, now, Some(now + DOORWAY_US));
        At::Doorway(now)
    }
}

fn turned_away(street: &Street, gate: &'static str, now: i64) -> At {
    street.enter(gate, |account| account.turned_away += 1);
    At::Nobody(now)
}
