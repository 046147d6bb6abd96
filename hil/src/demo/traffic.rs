//! The cars and people of the demo: they come to gates, show what they have, and go through once they can.

mod door;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

use super::core::{RESIDENTS, plate};
use crate::rig::{Api, Presented};
use crate::sim_clock::wall_us;
use crate::slave::boom::{Boom, input};
use crate::slave::osdp::Hand;
use crate::slave::relay::Switches;
use door::DoorRun;

const MS: i64 = 1000;
/// Time from one look at the lanes to the next.
const TICK: Duration = Duration::from_millis(40);
/// From the approach to the camera's picture.
const TO_READER_US: i64 = 500 * MS;
/// From the open boom to the loop under it.
const TO_BOOM_US: i64 = 400 * MS;
/// How long a car is under the boom; and one that stays there.
const UNDER_US: i64 = 1_500 * MS;
const STAYS_US: i64 = 7_000 * MS;
/// It stays until the board has been asked so often, on a machine that is slow.
const ASKED: u32 = 4;
/// A car that is not let in leaves after this time.
const PATIENCE_US: i64 = 20_000 * MS;
/// One that was refused sooner.
const REFUSED_US: i64 = 1_500 * MS;
/// Cars that wait in the street before a gate.
const QUEUE: usize = 8;

/// Who comes to a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A resident, by number: with a car at a barrier, with a card at the door.
    Resident(u32),
    /// A car, or a card, that nobody knows.
    Stranger,
    /// Somebody who has nothing to show: the guard opens the barrier; the door is left by its exit button.
    Guest,
}

/// What a lane did, all told.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    /// Cars that drove under the boom, by who let them in.
    pub(super) through: BTreeMap<String, u64>,
    /// Requests whose cars drove under it, or were refused: each has one passage record.
    pub(super) settled: Vec<u64>,
    /// Requests that the box decided while the link was cut, and whose cars drove under.
    pub(super) in_outage: Vec<u64>,
    /// Who passed by a card, and whether the link was cut: of what a card reader tells, nobody learns the request.
    pub(super) by_card: Vec<(String, bool)>,
    /// Cars that were refused, or left because nothing opened.
    pub(super) turned_away: u64,
    /// Nobody is there.
    pub(super) empty: bool,
}

impl Account {
    /// Everybody who went through.
    pub(super) fn passed(&self) -> u64 {
        self.through.values().sum()
    }
}

/// A lane: a barrier with its camera.
pub(super) struct Lane {
    /// The gate's and the reader's id.
    pub(super) gate: &'static str,
    pub(super) reader: &'static str,
    pub(super) boom: Boom,
    /// The board's inputs.
    pub(super) inputs: Switches,
}

/// A door that people enter by their cards, and leave by its exit button.
pub(super) struct Doorway {
    pub(super) gate: &'static str,
    pub(super) inputs: Switches,
    pub(super) coils: Switches,
    /// The coil of the magnet, and the inputs of leaf and button.
    pub(super) lock: u16,
    pub(super) contact: u16,
    pub(super) button: u16,
    /// Shows cards to the reader.
    pub(super) hand: Hand,
}

/// What is shared with whoever looks at the traffic.
#[derive(Debug, Default)]
struct Shared {
    calls: BTreeMap<&'static str, VecDeque<Caller>>,
    accounts: BTreeMap<&'static str, Account>,
    notes: Vec<String>,
}

/// The traffic at all gates. It ends when dropped.
pub(super) struct Traffic {
    shared: Arc<Mutex<Shared>>,
    /// Whether the link to the core is cut or frozen.
    pub(super) cut_off: Arc<AtomicBool>,
    /// Whether cars and people come by themselves.
    pub(super) by_itself: Arc<AtomicBool>,
    booms: Vec<Boom>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn with<T>(shared: &Mutex<Shared>, f: impl FnOnce(&mut Shared) -> T) -> T {
    f(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Traffic {
    /// Lets cars come to these lanes and people to this door.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(api: Api, lanes: Vec<Lane>, door: Doorway) -> anyhow::Result<Self> {
        let (cut_off, by_itself, stop) = <(Arc<AtomicBool>, Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let shared = Arc::<Mutex<Shared>>::default();
        let booms = lanes.iter().map(|lane| lane.boom.clone()).collect();
        let street = Street { api, shared: shared.clone(), cut_off: cut_off.clone() };
        let (own, ended) = (by_itself.clone(), stop.clone());
        let run = move || {
            let now = wall_us();
            let mut lanes: Vec<LaneRun> = lanes.into_iter().map(|lane| LaneRun::new(lane, now)).collect();
            let mut door = DoorRun::new(door, now);
            while !ended.load(Relaxed) {
                for lane in &mut lanes {
                    lane.step(&street, own.load(Relaxed));
                }
                door.step(&street, own.load(Relaxed));
                std::thread::sleep(TICK);
            }
        };
        let thread =
            std::thread::Builder::new().name("traffic".into()).spawn(run).context("no thread for the traffic")?;
        Ok(Traffic { shared, cut_off, by_itself, booms, stop, thread: Some(thread) })
    }

    /// Sends somebody to a gate.
    pub(super) fn call(&self, gate: &'static str, caller: Caller) {
        with(&self.shared, |shared| {
            let queue = shared.calls.entry(gate).or_default();
            if queue.len() < QUEUE {
                queue.push_back(caller);
            }
            // Whoever looks now shall not take the lane for empty.
            shared.accounts.entry(gate).or_default().empty = false;
        });
    }

    /// What a gate's lane did.
    pub(super) fn account(&self, gate: &str) -> Account {
        with(&self.shared, |shared| shared.accounts.get(gate).cloned().unwrap_or_default())
    }

    /// What every lane did.
    pub(super) fn accounts(&self) -> BTreeMap<&'static str, Account> {
        with(&self.shared, |shared| shared.accounts.clone())
    }

    /// Whether nobody is at any gate.
    pub(super) fn is_empty(&self) -> bool {
        with(&self.shared, |shared| shared.accounts.values().all(|account| account.empty))
    }

    /// What happened since the last call, for people.
    pub(super) fn notes(&self) -> Vec<String> {
        with(&self.shared, |shared| std::mem::take(&mut shared.notes))
    }

    /// How often a boom moved down on a car; it must be never.
    pub(super) fn came_down_on_a_car(&self) -> u64 {
        self.booms.iter().map(Boom::came_down_on_a_car).sum()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Street {
    api: Api,
    shared: Arc<Mutex<Shared>>,
    cut_off: Arc<AtomicBool>,
}

impl Street {
    fn note(&self, text: String) {
        with(&self.shared, |shared| shared.notes.push(text));
    }

    fn enter(&self, gate: &'static str, f: impl FnOnce(&mut Account)) {
        with(&self.shared, |shared| f(shared.accounts.entry(gate).or_default()));
    }

    /// Takes note of whether anybody waits before a gate where nobody is.
    fn look(&self, gate: &'static str) {
        with(&self.shared, |shared| {
            let empty = shared.calls.get(gate).is_none_or(VecDeque::is_empty);
            shared.accounts.entry(gate).or_default().empty = empty;
        });
    }

    /// Who was called to a gate next.
    fn called(&self, gate: &'static str) -> Option<Caller> {
        with(&self.shared, |shared| {
            let called = shared.calls.get_mut(gate).and_then(VecDeque::pop_front);
            shared.accounts.entry(gate).or_default().empty = called.is_none();
            called
        })
    }

    /// Shows who came to the reader, or to the guard.
    fn show(&self, lane: &Lane, caller: Caller) -> Shown {
        let plate = match caller {
            Caller::Resident(number) => plate(number),
            Caller::Stranger => format!("粤B{:05}", fastrand::u32(20_000..99_999)),
            Caller::Guest => {
                // The answer comes when the boom is up; whether it is, the driver sees.
                let (api, target) = (self.api.clone(), format!("gate:{}", lane.gate));
                let open = move || drop(api.command(&target, "open", "guard.wang"));
                let _ = std::thread::Builder::new().name("guard".into()).spawn(open);
                self.note(format!("{}: the guard opens for a car without a plate", lane.gate));
                return Shown { by: "guard".to_owned(), allowed: true, ..Shown::default() };
            }
        };
        let cut_before = self.cut_off.load(Relaxed);
        let told = match self.api.present_plate(lane.reader, &plate) {
            Ok(told) => told,
            Err(why) => {
                self.note(format!("{}: {plate} could not be shown: {why:#}", lane.gate));
                return Shown::default();
            }
        };
        let cut = cut_before && self.cut_off.load(Relaxed);
        let Presented { request, decided, allowed, reason, decided_by } = told;
        let verb = if allowed { "may pass" } else { "is refused" };
        self.note(format!("{}: {plate} {verb}: {reason}, says the {}", lane.gate, decided_by.replace('_', " ")));
        Shown { request: Some(request), allowed: decided && allowed, by: decided_by, cut }
    }
}

/// What came of showing something at a reader.
#[derive(Debug, Clone, Default)]
struct Shown {
    request: Option<u64>,
    allowed: bool,
    by: String,
    cut: bool,
}

/// Where the car at a lane is; each with the time since when.
#[derive(Debug)]
enum Place {
    Nowhere,
    Comes(i64, Caller),
    Waits(i64, Shown),
    DrivesOn(i64, Shown),
    Under(i64, i64),
}

struct LaneRun {
    lane: Lane,
    place: Place,
    next: i64,
    /// Whether some cars stay under the boom.
    idle: bool,
}

impl LaneRun {
    fn new(lane: Lane, now: i64) -> Self {
        LaneRun { lane, place: Place::Nowhere, next: now + fastrand::i64(1_000..4_000) * MS, idle: false }
    }

    fn step(&mut self, street: &Street, by_itself: bool) {
        let now = wall_us();
        self.idle = by_itself;
        let place = std::mem::replace(&mut self.place, Place::Nowhere);
        self.place = match place {
            Place::Nowhere => self.next_car(street, by_itself, now),
            Place::Comes(since, caller) if now - since >= TO_READER_US => {
                let shown = street.show(&self.lane, caller);
                Place::Waits(wall_us(), shown)
            }
            Place::Waits(since, shown) => self.wait(street, now, since, shown),
            Place::DrivesOn(since, shown) if now - since >= TO_BOOM_US => self.drive_under(street, now, shown),
            Place::Under(since, stays) if self.leaves(now - since, stays) => {
                self.lane.boom.occupy(false, now);
                Place::Nowhere
            }
            Place::Under(since, stays) => {
                if now - since >= UNDER_US / 2 {
                    self.set_approach(false, now);
                }
                Place::Under(since, stays)
            }
            Place::Comes(..) | Place::DrivesOn(..) => place,
        };
    }

    /// Whether a car under the boom drives on. On a machine that is so slow that the board is hardly ever asked, cars are
    /// slow too: the demo is of what happens in which order, not of the machine.
    fn leaves(&self, time_us: i64, stays_us: i64) -> bool {
        time_us >= stays_us && (self.lane.boom.asked() >= ASKED || time_us >= PATIENCE_US)
    }

    fn set_approach(&self, on: bool, now: i64) {
        if self.lane.inputs.state(input::APPROACH, now) != on {
            self.lane.inputs.set(input::APPROACH, on, now, None);
        }
    }

    fn next_car(&mut self, street: &Street, by_itself: bool, now: i64) -> Place {
        let gate = self.lane.gate;
        let caller = street.called(gate).or_else(|| {
            let comes = by_itself && now >= self.next;
            comes.then(|| {
                if fastrand::u8(..6) == 0 { Caller::Stranger } else { Caller::Resident(fastrand::u32(1..=RESIDENTS)) }
            })
        });
        let Some(caller) = caller else { return Place::Nowhere };
        self.next = now + fastrand::i64(12_000..25_000) * MS;
        street.enter(gate, |account| account.empty = false);
        self.set_approach(true, now);
        Place::Comes(now, caller)
    }

    fn wait(&mut self, street: &Street, now: i64, since: i64, shown: Shown) -> Place {
        let patience = if shown.allowed { PATIENCE_US } else { REFUSED_US };
        if shown.allowed && self.lane.boom.is_free(now) {
            return Place::DrivesOn(now, shown);
        }
        if now - since < patience {
            return Place::Waits(since, shown);
        }
        self.set_approach(false, now);
        street.enter(self.lane.gate, |account| {
            account.turned_away += 1;
            account.settled.extend(shown.request.filter(|_| !shown.allowed));
        });
        street.note(format!("{}: the car turns away", self.lane.gate));
        Place::Nowhere
    }

    fn drive_under(&mut self, street: &Street, now: i64, shown: Shown) -> Place {
        if !self.lane.boom.is_free(now) {
            // It came down before this car had moved.
            return Place::Waits(now, shown);
        }
        self.lane.boom.occupy(true, now);
        street.enter(self.lane.gate, |account| {
            *account.through.entry(shown.by.clone()).or_default() += 1;
            account.settled.extend(shown.request);
            account.in_outage.extend(shown.request.filter(|_| shown.cut));
        });
        let stays = if self.idle && fastrand::u8(..8) == 0 { STAYS_US } else { UNDER_US };
        Place::Under(now, stays)
    }
}
