//! What may happen in a storm, as plain data.

use std::time::Duration;

use fastrand::Rng;
use gatehouse_core::{DeviceIx, Trust};

use super::shell::Fate;
use super::site::{BOARD, IO, METERS};
use crate::ticket::TicketState;

/// One happening. Numbers that choose among what there is count around, so that each is possible at any time.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Link(bool),
    /// Records travel, and the acknowledgements of the last of them are lost.
    Uplink {
        records: usize,
        unheard: usize,
    },
    /// The core tells what it is owed.
    Owe,
    /// Killed when so many of the waiting batches are durable, maybe by a power cut of so long.
    Kill {
        durable: usize,
        off: Option<Duration>,
    },
    /// The site file changes; without the rule of this meter.
    Reload {
        without: Option<usize>,
    },
    /// The box's clock is set to so many seconds before or after the time.
    Clock {
        off_s: i64,
        trust: Trust,
    },
    Device {
        device: DeviceIx,
        answers: bool,
    },
    /// One poll of what is there.
    Look(DeviceIx),
    /// One poll that comes to nothing.
    Miss(DeviceIx),
    Volts(usize, i128),
    Car(bool),
    Door(bool),
    Fire(bool),
    /// Without the mains the meters do not answer.
    Mains(bool),
    Command(Command),
    /// A command that was written before comes again.
    Again {
        nth: usize,
        retained: bool,
    },
    /// An act of the line meets its fate.
    Act {
        nth: usize,
        fate: Fate,
    },
    Work,
    EndSilence,
    /// The disk takes everything at once from now on, or not.
    Disk {
        prompt: bool,
    },
    Store(usize),
    /// The core writes an update of a ticket; `held` until it comes with the ones written before.
    Ticket {
        nth: usize,
        state: Option<TicketState>,
        held: bool,
    },
    /// An update that was written before comes, maybe again.
    TicketAgain(usize),
    /// Everything is read and done for so many times 5 s.
    Watch(u32),
    Pass(Duration),
    /// The box is too busy to notice that time passes.
    Sleep(Duration),
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) ask: Ask,
    pub(super) by_guard: bool,
    pub(super) life_s: i64,
    /// How long ago it was written.
    pub(super) late_s: i64,
    pub(super) retained: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Ask {
    Entry(&'static str),
    Lobby(&'static str),
    /// A write to a meter, with a value of its own.
    Limit(usize),
    /// Of an alarm that the core knows.
    Alarm {
        nth: usize,
        action: &'static str,
    },
}

/// The happenings of a seed: 8 to 24.
pub(super) fn schedule(seed: u64) -> Vec<Happening> {
    let mut rng = Rng::with_seed(seed);
    (0..rng.usize(8..=24)).map(|_| draw(&mut rng)).collect()
}

fn draw(rng: &mut Rng) -> Happening {
    match rng.u32(0..100) {
        0..5 => Happening::Link(rng.u32(0..3) > 0),
        5..10 => Happening::Uplink { records: rng.usize(0..40), unheard: rng.usize(0..10) },
        10..11 => Happening::Owe,
        11..16 => Happening::Kill { durable: durable(rng), off: rng.bool().then(|| span(rng)) },
        16..18 => Happening::Reload { without: rng.bool().then(|| rng.usize(0..3)) },
        18..21 => Happening::Clock { off_s: offset(rng), trust: trust(rng) },
        21..26 => Happening::Device { device: device(rng), answers: rng.bool() },
        26..31 => Happening::Look(device(rng)),
        31..33 => Happening::Miss(device(rng)),
        33..38 => Happening::Volts(rng.usize(0..3), choice(rng, &[230, 249, 250, 251, 254, 260])),
        38..43 => Happening::Car(rng.bool()),
        43..45 => Happening::Door(rng.bool()),
        45..47 => Happening::Fire(rng.u32(0..3) == 0),
        47..49 => Happening::Mains(rng.bool()),
        49..61 => Happening::Command(command(rng)),
        61..66 => Happening::Again { nth: rng.usize(..), retained: rng.u32(0..8) == 0 },
        66..73 => Happening::Act { nth: rng.usize(..), fate: fate(rng) },
        73..74 => Happening::Work,
        74..75 => Happening::EndSilence,
        75..78 => Happening::Disk { prompt: rng.bool() },
        78..80 => Happening::Store(rng.usize(0..6)),
        80..84 => Happening::Ticket { nth: rng.usize(..), state: state(rng), held: rng.u32(0..3) == 0 },
        84..86 => Happening::TicketAgain(rng.usize(..)),
        86..92 => Happening::Watch(rng.u32(1..3)),
        92..97 => Happening::Pass(Duration::from_millis(rng.u64(1..180_000))),
        _ => Happening::Sleep(span(rng)),
    }
}

fn choice<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(0..of.len())]
}

/// Seconds to days.
fn span(rng: &mut Rng) -> Duration {
    let longest = choice(rng, &[10, 600, 7_200, 259_200]);
    Duration::from_secs(rng.u64(1..longest))
}

fn durable(rng: &mut Rng) -> usize {
    if rng.bool() { usize::MAX } else { rng.usize(0..8) }
}

fn offset(rng: &mut Rng) -> i64 {
    let most = choice(rng, &[1, 30, 1_200, 90_000]);
    rng.i64(-most..=most)
}

fn trust(rng: &mut Rng) -> Trust {
    choice(rng, &[Trust::Unset, Trust::FreeRunning, Trust::Synchronised])
}

fn device(rng: &mut Rng) -> DeviceIx {
    choice(rng, &[METERS[0], METERS[1], METERS[2], BOARD, BOARD, IO])
}

fn fate(rng: &mut Rng) -> Fate {
    choice(rng, &[Fate::Done, Fate::Done, Fate::Done, Fate::Failed, Fate::Doubtful, Fate::Lost, Fate::Silent])
}

fn state(rng: &mut Rng) -> Option<TicketState> {
    use TicketState::{Accepted, Done, OnSite, Open, Rejected, WaitingAccess, WaitingParts};
    let states = [Open, Accepted, OnSite, WaitingParts, WaitingAccess, Done, Done, Rejected];
    (rng.u32(0..5) > 0).then(|| choice(rng, &states))
}

fn command(rng: &mut Rng) -> Command {
    let ask = match rng.u32(0..10) {
        0..6 => Ask::Entry(choice(
            rng,
            &[
                "open",
                "open",
                "open",
                "close",
                "close",
                "stop",
                "hold_open",
                "release_hold",
                "lock_lane",
                "unlock_lane",
                "reset_fire",
            ],
        )),
        6..7 => Ask::Lobby(choice(rng, &["open", "close", "hold_open", "release_hold", "reset_fire"])),
        7..8 => Ask::Limit(rng.usize(0..3)),
        _ => Ask::Alarm {
            nth: rng.usize(..),
            action: choice(rng, &["acknowledge", "acknowledge", "shelve", "unshelve", "reset"]),
        },
    };
    Command {
        ask,
        by_guard: rng.u32(0..3) == 0,
        life_s: choice(rng, &[1, 10, 60, 600, 3_600]),
        late_s: choice(rng, &[0, 0, 0, 0, 5, 30, 300]),
        retained: rng.u32(0..20) == 0,
    }
}
