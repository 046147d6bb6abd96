//! Three days without the core, with the gates in use.

use std::time::Duration;

use gatehouse_core::Lane;

use super::plant::Boom;
use super::shell::Shell;
use super::site::{BOARD, IO, METERS, setup};
use crate::command::Source;
use crate::engine::Engine;
use crate::words::Mode;

const GUARD: Source = Source::Socket { uid: 1000 };
const HOURS: u64 = 72;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Everything answers, and is read every 5 s.
fn watch(shell: &mut Shell, seconds: u64) {
    shell.wake();
    shell.live(secs(seconds));
}

/// The guard opens the barrier, and a car drives through.
fn let_in(shell: &mut Shell, id: &str) {
    let open = shell.request(id, "gate:entry", r#""action":"open""#, 60);
    shell.receive(GUARD, &open);
    shell.live(secs(5));
    shell.plant.car = true;
    shell.live(secs(5));
    shell.plant.car = false;
    shell.live(secs(25));
}

/// The guard unlocks the door, and somebody leaves.
fn let_out(shell: &mut Shell, id: &str) {
    let open = shell.request(id, "gate:lobby", r#""action":"open""#, 60);
    shell.receive(GUARD, &open);
    shell.live(secs(1));
    shell.plant.door = true;
    shell.live(secs(5));
    shell.plant.door = false;
    shell.live(secs(15));
}

/// What happens in one hour of the outage, beside the car that comes in every hour.
fn hour(shell: &mut Shell, hour: u64) {
    match hour {
        5 => shell.plant.volts[0] = 260,
        7 => shell.plant.volts[0] = 240,
        12 => shell.plant.fire = true,
        13 => {
            shell.plant.fire = false;
            shell.live(secs(10));
            for gate in ["entry", "lobby"] {
                let reset =
                    shell.request(&format!("reset-{gate}"), &format!("gate:{gate}"), r#""action":"reset_fire""#, 60);
                shell.receive(GUARD, &reset);
            }
            shell.live(secs(30));
        }
        20 => {
            shell.plant.mains = false;
            shell.poll(IO);
            METERS.into_iter().for_each(|meter| shell.set_online(meter, false));
        }
        23 => {
            shell.plant.mains = true;
            shell.poll(IO);
        }
        30 => shell.kill(usize::MAX, None),
        44 => shell.kill(usize::MAX, Some(secs(1_800))),
        _ => {}
    }
    if !(20..23).contains(&hour) {
        METERS.into_iter().for_each(|meter| shell.set_online(meter, true));
    }
    [BOARD, IO].into_iter().for_each(|device| shell.set_online(device, true));
    shell.live(secs(30));
}

#[test]
fn after_72_hours_on_its_own_the_core_has_everything_once_and_in_order() {
    let mut shell = Shell::awake(setup());
    shell.live(secs(60));
    shell.uplink(usize::MAX, 0);
    shell.owe();
    let begun = shell.durable.len();
    shell.set_link(false);
    let end = shell.wall + i64::try_from(HOURS * 3_600_000_000).unwrap();
    for at in 0..HOURS {
        hour(&mut shell, at);
        // The boom is up in a fire, and whoever comes drives through.
        if at != 12 {
            let_in(&mut shell, &format!("in-{at}"));
            if at % 6 == 0 {
                let_out(&mut shell, &format!("out-{at}"));
            }
        }
        let next = end - i64::try_from((HOURS - 1 - at) * 3_600_000_000).unwrap();
        let left = u64::try_from(next - shell.wall).unwrap();
        shell.sleep(Duration::from_micros(left));
        shell.tell(Engine::handle_timeout);
    }
    assert_eq!(shell.wall, end);
    assert_eq!(shell.engine.mode(), Mode::Degraded);
    assert!(shell.durable.len() > begun + 300, "{}", shell.durable.len());

    // Half of it travels, and the answers to the last of that are lost: it travels again.
    watch(&mut shell, 60);
    shell.set_link(true);
    shell.live(secs(90));
    shell.owe();
    assert_eq!(shell.engine.mode(), Mode::Recovering);
    shell.uplink(200, 70);
    shell.owe();
    assert_eq!(shell.engine.mode(), Mode::Recovering, "the core has not yet confirmed what is urgent");
    shell.uplink(usize::MAX, 0);
    shell.owe();
    assert_eq!(shell.engine.mode(), Mode::Online);
    watch(&mut shell, 90);
    shell.uplink(usize::MAX, 0);
    shell.core.agrees_with(&shell.engine, shell.now);

    let by_command = &shell.core.by_command;
    for at in (0..HOURS).filter(|at| *at != 12) {
        let (id, passage) = (format!("in-{at}"), by_command.get(&format!("in-{at}")));
        assert_eq!(shell.law.acted.get(&id), Some(&1), "{id}");
        assert_eq!(shell.core.passages[passage.unwrap()]["verified"], true, "{id}");
        assert!(at % 6 != 0 || by_command.contains_key(&format!("out-{at}")));
    }
    let outcomes = &shell.core.outcomes;
    assert!(outcomes.values().all(|outcome| outcome == "verified" || outcome == "acknowledged"), "{outcomes:?}");
    assert_eq!(shell.core.modes, ["degraded", "recovering", "online"]);
    let causes: Vec<_> = shell.core.tickets.values().map(|ticket| ticket["cause"].as_str().unwrap()).collect();
    for cause in ["overvoltage/meter-1", "fire/panel", "mains_lost/mains"] {
        assert_eq!(causes.iter().filter(|known| **known == cause).count(), 1, "{causes:?}");
    }
    assert!(
        !causes.iter().any(|cause| cause.starts_with("device_offline/meter")),
        "the mains explain that: {causes:?}"
    );
    // Each lane was told in its order, without a gap: the core would not have taken it otherwise.
    let of = |lane| shell.durable.iter().filter(|told| told.lane == lane).count();
    assert!(of(Lane::Alarms) > 0 && of(Lane::Tickets) > 0 && of(Lane::Passages) >= 71 && of(Lane::Audit) > 0);
    assert_eq!((shell.plant.boom, shell.plant.locked), (Boom::Closed, true));
}
