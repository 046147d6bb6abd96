//! A small model of two alarms, second by second, beside the machine under random happenings.

use proptest::prelude::*;

use super::state::{AlarmEvent, Flags, Life, Standing, step};
use super::*;

/// Which alarm: the parent or its child.
const NAMES: [&str; 2] = ["power/site", "pump/p1"];
const ON: u64 = 3;
const OFF: u64 = 2;
const LINGER: u64 = 4;
const SHELF: u64 = 7;

#[derive(Debug, Clone, Copy)]
enum Happening {
    Truth(usize, Truth),
    Seconds(u64),
    Acknowledge(usize),
    Shelve(usize),
    Unshelve(usize),
    Service(usize, bool),
    Reset(usize),
    Restart(bool),
    /// Killed after a truth was handled and before its batch was written.
    Killed(usize, Truth),
}

#[derive(Debug, Clone, Copy)]
struct Modelled {
    truth: Truth,
    rising: u64,
    falling: u64,
    standing: Standing,
    shelf: u64,
    linger: u64,
    raised: u64,
}

struct Model {
    alarms: [Modelled; 2],
}

impl Model {
    fn new() -> Self {
        let alarm = Modelled {
            truth: Truth::Missing,
            rising: 0,
            falling: 0,
            standing: Standing::NORMAL,
            shelf: 0,
            linger: 0,
            raised: 0,
        };
        Model { alarms: [alarm; 2] }
    }

    fn flags(which: usize) -> Flags {
        Flags { latch: which == 1, auto_acknowledge: false }
    }

    fn apply(&mut self, which: usize, event: AlarmEvent) {
        let alarm = &mut self.alarms[which];
        let from = alarm.standing;
        alarm.standing = step(from, event, Self::flags(which));
        let unacknowledged = Standing::Shown(Life::Unacknowledged);
        alarm.raised += u64::from(alarm.standing == unacknowledged && from != unacknowledged);
    }

    /// The child follows its parent.
    fn explain(&mut self) {
        let explains = self.alarms[0].standing.active() || self.alarms[0].linger > 0;
        let child = self.alarms[1].standing;
        if explains && child.active() && !child.mask().suppressed {
            self.apply(1, AlarmEvent::Suppress);
        } else if !explains && child.mask().suppressed {
            self.apply(1, AlarmEvent::Unsuppress);
        }
    }

    fn condition(&mut self, which: usize, on: bool) {
        let explained = which == 1 && (self.alarms[0].standing.active() || self.alarms[0].linger > 0);
        if on && explained {
            self.alarms[1].standing = step(self.alarms[1].standing, AlarmEvent::Suppress, Self::flags(1));
        }
        self.alarms[which].linger = if which == 0 && !on { LINGER } else { 0 };
        self.apply(which, if on { AlarmEvent::ConditionOn } else { AlarmEvent::ConditionOff });
        self.explain();
    }

    fn truth(&mut self, which: usize, truth: Truth) {
        let alarm = &mut self.alarms[which];
        alarm.truth = truth;
        match truth {
            Truth::True => alarm.falling = 0,
            Truth::False => alarm.rising = 0,
            Truth::Missing => {}
        }
    }

    fn second(&mut self) {
        for which in 0..2 {
            let alarm = &mut self.alarms[which];
            let active = alarm.standing.active();
            match alarm.truth {
                Truth::True if !active => alarm.rising += 1,
                Truth::False if active => alarm.falling += 1,
                Truth::True | Truth::False | Truth::Missing => {}
            }
            let (on, off) = (alarm.rising == ON && !active, alarm.falling == OFF && active);
            let (shelf, linger) = (alarm.shelf == 1, alarm.linger == 1);
            alarm.shelf = alarm.shelf.saturating_sub(1);
            alarm.linger = alarm.linger.saturating_sub(1);
            if on || off {
                (alarm.rising, alarm.falling) = (0, 0);
                self.condition(which, on);
            }
            if shelf {
                self.apply(which, AlarmEvent::Unshelve);
            }
            if linger {
                self.explain();
            }
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Truth(which, truth) => self.truth(which, truth),
            Happening::Seconds(seconds) => (0..seconds).for_each(|_| self.second()),
            Happening::Acknowledge(which) => self.apply(which, AlarmEvent::Acknowledge),
            Happening::Shelve(which) => {
                let alarm = &mut self.alarms[which];
                alarm.shelf = if alarm.shelf == 0 { SHELF } else { alarm.shelf };
                self.apply(which, AlarmEvent::Shelve);
            }
            Happening::Unshelve(which) => {
                self.alarms[which].shelf = 0;
                self.apply(which, AlarmEvent::Unshelve);
            }
            Happening::Service(which, true) => self.apply(which, AlarmEvent::RemoveFromService),
            Happening::Service(which, false) => self.apply(which, AlarmEvent::ReturnToService),
            Happening::Reset(which) => self.apply(which, AlarmEvent::Reset),
            Happening::Restart(_) | Happening::Killed(..) => {
                for alarm in &mut self.alarms {
                    // Delays below 15 s begin anew; nothing is known until it is told.
                    (alarm.truth, alarm.rising, alarm.falling) = (Truth::Missing, 0, 0);
                }
            }
        }
    }
}

fn world() -> World {
    let mut power = AlarmSpec::new("power", Priority::P1);
    (power.on_delay, power.off_delay, power.linger) = (secs(ON), secs(OFF), secs(LINGER));
    let mut pump = AlarmSpec::new("pump", Priority::P2);
    (pump.on_delay, pump.off_delay, pump.latch) = (secs(ON), secs(OFF), true);
    // The child is seated first and the parent second; neither order may matter.
    World::new(vec![pump, power], vec![source(NAMES[1], &[NAMES[0]]), source(NAMES[0], &[])])
}

fn act(world: &mut World, happening: Happening) {
    let now = world.now;
    match happening {
        Happening::Truth(which, truth) => world.truth(NAMES[which], truth),
        Happening::Seconds(seconds) => world.pass(secs(seconds)),
        Happening::Acknowledge(which) => {
            world.acknowledge(NAMES[which]);
        }
        Happening::Shelve(which) => {
            world.alarms.handle_shelve(now, &id(NAMES[which]), secs(SHELF), by("li"));
        }
        Happening::Unshelve(which) => {
            world.alarms.handle_unshelve(now, &id(NAMES[which]), by("li"));
        }
        Happening::Service(which, out) => {
            world.alarms.handle_out_of_service(now, &id(NAMES[which]), out, by("li"));
        }
        Happening::Reset(which) => {
            world.alarms.handle_reset(now, &id(NAMES[which]), by("li"));
        }
        Happening::Killed(which, truth) => {
            world.alarms.handle_truth(now, &id(NAMES[which]), truth, String::new);
            world.restart(None);
        }
        Happening::Restart(reboot) => world.restart(reboot.then_some(Duration::ZERO)),
    }
    world.drain();
}

fn happening() -> impl Strategy<Value = Happening> {
    let truth = prop_oneof![3 => Just(Truth::True), 3 => Just(Truth::False), 2 => Just(Truth::Missing)];
    prop_oneof![
        1 => (0..2usize, truth.clone()).prop_map(|(which, truth)| Happening::Killed(which, truth)),
        6 => (0..2usize, truth).prop_map(|(which, truth)| Happening::Truth(which, truth)),
        6 => (1..6u64).prop_map(Happening::Seconds),
        2 => (0..2usize).prop_map(Happening::Acknowledge),
        1 => (0..2usize).prop_map(Happening::Shelve),
        1 => (0..2usize).prop_map(Happening::Unshelve),
        1 => (0..2usize, any::<bool>()).prop_map(|(which, out)| Happening::Service(which, out)),
        1 => (0..2usize).prop_map(Happening::Reset),
        2 => any::<bool>().prop_map(Happening::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_machine_stands_where_the_model_stands_through_any_happenings(
        happenings in proptest::collection::vec(happening(), 1..80)
    ) {
        let (mut world, mut model) = (world(), Model::new());
        let mut last = 0;
        for (at, happening) in happenings.iter().enumerate() {
            let before = model.alarms.map(|alarm| alarm.standing.active());
            act(&mut world, *happening);
            model.happens(*happening);
            for which in 0..2 {
                let view = world.view(NAMES[which]);
                let modelled = &model.alarms[which];
                let mut state = modelled.standing.state();
                let explains = model.alarms[0].standing.active() || model.alarms[0].linger > 0;
                if which == 1 && explains && state == AlarmState::Normal {
                    state = AlarmState::Suppressed;
                }
                prop_assert_eq!(view.state, state, "{} after {:?} ({})", NAMES[which], happening, at);
                prop_assert_eq!(view.active, modelled.standing.active());
                if modelled.truth == Truth::Missing && before[which] {
                    prop_assert!(view.active, "missing data cleared {}", NAMES[which]);
                }
            }
            for change in std::mem::take(&mut world.changes) {
                if change.to == AlarmState::Unacknowledged && change.from != AlarmState::Unacknowledged {
                    prop_assert!(change.occurrence.0 > last, "{:?} is not new", change.occurrence);
                    last = change.occurrence.0;
                }
            }
        }
    }
}
