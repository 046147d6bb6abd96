//! What the line must hold in the simulated world, and how near it comes to what the wire allows.

use super::*;
use crate::line::Echo;
use gatehouse_core::driver::Action;

fn wire(baud: u32, echo: Echo) -> Wire {
    let plain = Wire { baud, char_bits: 10, echo, silence: None };
    Wire { silence: Some(plain.three_and_a_half_chars()), ..plain }
}

/// Requests per second that the wire allows: request, silence, turnaround, reply, silence.
fn wire_limit(wire: &Wire, turnaround: Duration) -> f64 {
    let reply = usize::from(5 + 4 * CLUSTER);
    1.0 / (wire.chars(8 + reply) + 2 * wire.three_and_a_half_chars() + turnaround).as_secs_f64()
}

/// Share of the wire's limit that back-to-back polling of four meters reaches in 60 s.
fn efficiency(baud: u32, latency: Duration) -> f64 {
    let wire = wire(baud, Echo::Off);
    let mut world = World::new(wire, 4, Duration::from_millis(10), 7);
    world.latency = latency;
    for slave in &mut world.slaves {
        slave.turnaround = Duration::from_millis(2);
    }
    world.open();
    world.run(Mono::from_millis(60_000), u64::MAX);
    assert_eq!((world.tally.violations, world.tally.wrong, world.tally.missing), (0, 0, 0));
    // The meters' jitter is 0.25 ms in the mean.
    let limit = wire_limit(&wire, Duration::from_micros(2250));
    let rounds: Vec<u64> = world.tally.samples[1..].to_vec();
    let spread = rounds.iter().max().unwrap() - rounds.iter().min().unwrap();
    assert!(spread <= 1, "four meters of one kind are served alike: {rounds:?}");
    world.line.stats().replies as f64 / 60.0 / limit
}

#[test]
fn polling_back_to_back_reaches_what_the_wire_allows() {
    let at_9600 = efficiency(9600, Duration::ZERO);
    let at_9600_slow_timer = efficiency(9600, Duration::from_micros(100));
    let at_115200 = efficiency(115_200, Duration::ZERO);
    let at_115200_slow_timer = efficiency(115_200, Duration::from_micros(100));
    println!("share of the wire limit: 9600 {at_9600:.4}, with 100 us timers {at_9600_slow_timer:.4};");
    println!("115200 {at_115200:.4}, with 100 us timers {at_115200_slow_timer:.4}");
    assert!(at_9600 >= 0.98 && at_9600_slow_timer >= 0.98);
    assert!(at_115200 >= 0.95 && at_115200_slow_timer >= 0.95);
}

/// Complete samples of meters 1 to 3 between `from` and `from + 120 s`.
fn samples_of_three(meters: u8, dead: Option<u8>, interval: Duration) -> (u64, f64) {
    let mut world = World::new(wire(9600, Echo::Off), meters, interval, 5);
    world.open();
    // All answer at first, so that the line knows them.
    world.run(Mono::from_millis(10_000), u64::MAX);
    for slave in &mut world.slaves {
        slave.dead = dead == Some(slave.unit);
    }
    world.run(Mono::from_millis(70_000), u64::MAX);
    let before: u64 = world.tally.samples[1..4].iter().sum();
    world.run(Mono::from_millis(190_000), u64::MAX);
    let after: u64 = world.tally.samples[1..4].iter().sum();
    let dead_share = world.line.stats().busy_dead.as_secs_f64() / 180.0;
    (after - before, dead_share)
}

#[test]
fn a_dead_meter_slows_the_others_by_less_than_five_percent() {
    for interval in [10, 1000] {
        let interval = Duration::from_millis(interval);
        let (alone, _) = samples_of_three(3, None, interval);
        let (beside_a_dead_one, share) = samples_of_three(4, Some(4), interval);
        let slower = alone as f64 / beside_a_dead_one as f64 - 1.0;
        println!("interval {interval:?}: with one of four dead the others are {:.2} % slower;", slower * 100.0);
        println!("the dead one takes {:.2} % of the line", share * 100.0);
        assert!(slower <= 0.05, "{alone} samples alone, {beside_a_dead_one} beside a dead meter");
    }
}

#[test]
fn a_meter_that_never_answered_slows_the_others_by_less_than_five_percent() {
    let run = |meters: u8| {
        let mut world = World::new(wire(9600, Echo::Off), meters, Duration::from_millis(10), 5);
        if let Some(fourth) = world.slaves.get_mut(3) {
            fourth.dead = true;
        }
        world.open();
        world.run(Mono::from_millis(60_000), u64::MAX);
        let before: u64 = world.tally.samples[1..4].iter().sum();
        world.run(Mono::from_millis(240_000), u64::MAX);
        world.tally.samples[1..4].iter().sum::<u64>() - before
    };
    let (alone, beside) = (run(3), run(4));
    let slower = alone as f64 / beside as f64 - 1.0;
    println!("with one of four never there the others are {:.2} % slower", slower * 100.0);
    assert!(slower <= 0.05);
}

/// Mean refresh of four meters, one reply in 47 late (0: none), and what was counted.
fn refresh(late: u32, interval: u64, lateness: (u64, u64)) -> World {
    let mut world = World::new(wire(9600, Echo::Off), 4, Duration::from_millis(interval), 11);
    (world.faults.late, world.piece) = (late, 1);
    world.lateness = (Duration::from_millis(lateness.0), Duration::from_millis(lateness.1));
    world.open();
    world.run(Mono::from_millis(600_000), u64::MAX);
    world
}

#[test]
fn late_replies_cost_little_more_than_their_own_timeouts() {
    for (interval, lateness) in [(10, (1010, 1100)), (10, (1020, 1900)), (10, (300, 320)), (1000, (1020, 1500))] {
        let clean = refresh(0, interval, lateness);
        let late = refresh(47, interval, lateness);
        assert_eq!((late.tally.wrong, late.tally.violations), (0, 0));
        // The time of the requests that were answered late: request, and the wait for a reply at the timeout's floor.
        let stats = late.line.stats();
        let per_request = late.wire.chars(53).as_secs_f64() + 0.05;
        let own_cost = late.tally.late_sent as f64 * per_request / 600.0;
        let (clean, mean) = (clean.mean_refresh_ms(), late.mean_refresh_ms());
        let allowed = clean * (1.0 + own_cost);
        println!(
            "interval {interval} ms, lateness {lateness:?} ms: refresh {clean:.0} ms clean, {mean:.0} ms late, {:.1} % above \
             the timeouts' own cost; {} late sent, {} seen late, {} given up, {} held back",
            (mean / allowed - 1.0) * 100.0,
            late.tally.late_sent,
            stats.late_replies,
            stats.timeouts + stats.bad_replies,
            stats.embargoed
        );
        assert!(mean / allowed <= 1.15, "{mean} ms against {allowed} ms");
    }
}

#[test]
fn no_fault_of_the_wire_puts_a_value_under_the_wrong_point() {
    let faults = Faults { late: 47, flipped: 200, glitch: 50, short: 150, doubled: 150, foreign: 150, mute: 300 };
    let mut transactions = 0;
    for seed in 0..24u64 {
        let echo = [Echo::Off, Echo::On, Echo::Detect, Echo::Detect][(seed % 4) as usize];
        let baud = [9600, 19_200, 115_200][(seed % 3) as usize];
        let mut settings = LineSettings::new(Medium::Serial(wire(baud, echo)));
        settings.timeout_ceiling = Duration::from_millis([200, 500, 1000][(seed / 3 % 3) as usize]);
        let mut world = World::with(settings, 4, Duration::from_millis([10, 500, 2000][(seed / 2 % 3) as usize]), seed);
        world.faults = faults;
        world.echo = matches!(seed % 4, 1 | 3);
        world.piece = [1, 8, 16, 255][(seed / 4 % 4) as usize];
        let mut time = 0;
        world.open();
        while world.line.stats().transactions < 5000 {
            time += 20_000;
            world.run(Mono::from_millis(time), 5000);
            for slave in &mut world.slaves {
                slave.dead = world.rng.u32(..6) == 0;
            }
            if world.rng.u32(..8) == 0 {
                world.line.handle_closed(Mono(world.now));
                world.now += u64::from(world.rng.u32(..3_000_000_000));
                world.line.handle_opened(Mono(world.now));
            }
            let command = Command {
                id: time,
                device: DeviceIx(world.rng.u32(1..=4)),
                action: Action::Write(SETPOINT, Value::Decimal(Decimal::whole((time / 20_000 % 1000).into()))),
                expires: Mono(world.now + 5_000_000_000),
            };
            world.line.handle_command(Mono(world.now), command);
        }
        let (tally, stats) = (&world.tally, world.line.stats());
        assert_eq!(tally.wrong, 0, "seed {seed}: {stats:?}");
        // An adapter that hands over late hides what is still under way.
        assert!(world.piece > 3 || tally.violations == 0, "seed {seed}: {} violations", tally.violations);
        assert!(tally.values > 20_000, "seed {seed}: the line works at all: {} values, {stats:?}", tally.values);
        transactions += stats.transactions;
    }
    println!("{transactions} transactions with faults, no value under a wrong point");
    assert!(transactions >= 100_000);
}
