//! What happens by itself in a demo with an end: cars, an outage with a silent meter and a surge, a noisy line.
//!
//! Acts have their time, and wait for what has to come before them: a machine that is slow makes the demo longer, not
//! another one.

use std::time::{Duration, Instant};

use super::site::{DOOR, ENTRY, EXIT, Role};
use super::traffic::Caller;
use super::world::{SURGING, World};
use crate::rig::Link;

/// The device that falls silent.
pub(super) const SILENT_DEVICE: &str = "meter-pump";
/// How long something may take to come; what did not is told in the end.
const PATIENCE: Duration = Duration::from_secs(25);

/// The alarm that the silent device raises.
pub(super) fn silent_alarm() -> String {
    format!("device_offline/{SILENT_DEVICE}")
}

/// The alarm that the surge raises.
pub(super) fn surge_alarm() -> String {
    format!("overvoltage/{SURGING}")
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Link(Link),
    Silence(bool),
    Surge(bool),
    Noise(bool),
    /// A resident comes: with a car to a barrier, with a card to the door.
    Call(&'static str, u32),
    /// Somebody leaves by the door's button.
    Leave,
}

#[derive(Debug, Clone, Copy)]
enum Goal {
    /// The gateway has its credentials, sees its gates, is connected and has its reader's word by a Secure Channel.
    Ready,
    /// A car has been let out, and is away.
    FirstCar,
    /// The box knows that it is cut off.
    CutOff,
    /// The box let a car in by itself.
    LetIn,
    /// Somebody with a card, too.
    CardLetIn,
    /// The silent meter has its ticket.
    Ticket,
    /// The surge has its alarm.
    Alarm,
    /// The core has what was held.
    Drained,
    /// Alarms and tickets are over, the core has closed them.
    AllWell,
    /// Nobody is at a gate.
    Empty,
    /// Every gate is closed.
    Closed,
}

#[derive(Debug, Clone, Copy)]
enum Beat {
    /// Not before this share of the whole, in percent.
    Act(u32, Act),
    Wait(Goal),
}

const BEATS: [Beat; 26] = [
    Beat::Wait(Goal::Ready),
    Beat::Act(0, Act::Call(EXIT, 4)),
    Beat::Act(5, Act::Leave),
    Beat::Act(8, Act::Call(DOOR, 12)),
    Beat::Wait(Goal::FirstCar),
    Beat::Act(25, Act::Link(Link::Cut)),
    Beat::Act(25, Act::Silence(true)),
    Beat::Act(25, Act::Surge(true)),
    Beat::Wait(Goal::CutOff),
    Beat::Act(27, Act::Call(ENTRY, 101)),
    Beat::Act(28, Act::Call(DOOR, 77)),
    Beat::Act(30, Act::Call(ENTRY, 230)),
    Beat::Wait(Goal::LetIn),
    Beat::Wait(Goal::CardLetIn),
    Beat::Wait(Goal::Ticket),
    Beat::Wait(Goal::Alarm),
    Beat::Act(55, Act::Link(Link::Up)),
    Beat::Wait(Goal::Drained),
    Beat::Act(60, Act::Silence(false)),
    Beat::Act(60, Act::Surge(false)),
    // On the other line than the noise: what noise does to a pulse is for the tests.
    Beat::Act(62, Act::Call(EXIT, 58)),
    Beat::Act(72, Act::Noise(true)),
    Beat::Act(85, Act::Noise(false)),
    Beat::Wait(Goal::AllWell),
    Beat::Wait(Goal::Empty),
    Beat::Wait(Goal::Closed),
];

/// The script of one run.
pub(super) struct Script {
    length: Duration,
    next: usize,
    /// Since when the next beat is waited for.
    since: Instant,
}

impl Script {
    /// A script of this length.
    pub(super) fn new(length: Duration) -> Self {
        Script { length, next: 0, since: Instant::now() }
    }

    /// Whether everything was played.
    pub(super) fn is_over(&self) -> bool {
        self.next >= BEATS.len()
    }

    /// Plays the acts whose time has come.
    pub(super) fn play(&mut self, world: &mut World) {
        while let Some(beat) = BEATS.get(self.next) {
            match beat {
                Beat::Act(share, _) if world.began.elapsed() < self.length * *share / 100 => return,
                Beat::Act(_, act) => play(*act, world),
                Beat::Wait(goal) if reached(*goal, world) => {}
                Beat::Wait(_) if self.since.elapsed() < PATIENCE => return,
                Beat::Wait(goal) => world.note(format!("given up: {goal:?} did not come in {} s", PATIENCE.as_secs())),
            }
            self.next += 1;
            self.since = Instant::now();
        }
    }
}

fn play(act: Act, world: &mut World) {
    match act {
        Act::Link(link) => world.set_link(link),
        Act::Silence(true) => {
            let at = world.site.devices.iter().position(|device| device.id == SILENT_DEVICE);
            world.silence(at);
        }
        Act::Silence(false) => world.silence(None),
        Act::Surge(surging) => world.set_surge(surging),
        Act::Noise(noisy) => world.set_noise(0, noisy),
        Act::Call(gate, resident) => world.call(gate, Caller::Resident(resident)),
        Act::Leave => world.call(DOOR, Caller::Guest),
    }
}

fn reached(goal: Goal, world: &World) -> bool {
    let decided = world.decided();
    let link = world.status().uplink.unwrap_or_default().state;
    match goal {
        Goal::Ready => {
            let seen = !decided.gates.is_empty() && decided.gates.iter().all(|gate| gate.state != "unknown");
            let online =
                |id: &str| world.status().devices.iter().any(|known| known.id == id && known.state == "online");
            let mut readers = world.site.devices.iter().filter(|device| device.role == Role::Reader);
            let secured = readers.all(|reader| reader.hand.was_secured() && online(reader.id));
            seen && decided.access.version.is_some() && link == "up" && secured
        }
        Goal::FirstCar => world.traffic.account(EXIT).passed() > 0 && world.traffic.is_empty(),
        Goal::CutOff => !link.is_empty() && link != "up",
        Goal::LetIn => !world.traffic.account(ENTRY).in_outage.is_empty(),
        Goal::CardLetIn => world.traffic.account(DOOR).by_card.iter().any(|(_, cut)| *cut),
        Goal::Ticket => world.marks.tickets_in_outage.values().any(|cause| *cause == silent_alarm()),
        Goal::Alarm => world.marks.alarms_in_outage.contains(&surge_alarm()),
        Goal::Drained => world.marks.drained.is_some(),
        Goal::AllWell => {
            let ours = [silent_alarm(), surge_alarm()];
            let over = !decided.alarms.iter().any(|alarm| ours.contains(&alarm.alarm) && alarm.active);
            over && !decided.tickets.iter().any(|ticket| ticket.cause == silent_alarm() && ticket.is_open())
        }
        Goal::Empty => world.traffic.is_empty(),
        Goal::Closed => decided.gates.iter().all(|gate| gate.state == "closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acts_are_in_the_order_of_their_times() {
        let times: Vec<u32> =
            BEATS.iter().filter_map(|beat| if let Beat::Act(share, _) = beat { Some(*share) } else { None }).collect();
        assert!(times.is_sorted() && times.last() < Some(&100));
    }
}
