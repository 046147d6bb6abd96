//! Whose turn it is, and when.

use super::*;
use crate::line::Wake;

#[test]
fn polls_are_spread_over_the_interval_and_do_not_drift() {
    let fakes = [fake(1, &[10]), fake(2, &[10])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.next();
    rig.receive(4, &reply(1, 10, 0, 0));
    for round in 0..50u32 {
        let unit = [2, 1][(round % 2) as usize];
        let (began, request) = rig.next();
        assert_eq!(request[0], unit);
        assert_eq!(began, 1500.0 + 500.0 * f64::from(round), "whatever the reply took");
        rig.receive(u64::from(round % 40), &reply(unit, 10, 0, 0));
    }
    assert_eq!(rig.line.stats().skipped_slots, 0);
}

#[test]
fn a_device_with_another_interval_is_polled_by_it_and_the_others_go_on() {
    let fakes = [fake(1, &[10]), fake(2, &[10])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    rig.line.handle_intervals(rig.now, DeviceIx(1), &[Duration::from_secs(4)]);
    let polled = |rig: &mut Rig| {
        let (began, request) = rig.next();
        rig.receive(4, &reply(request[0], 10, 0, 0));
        (began, request[0])
    };
    let slow: Vec<_> = (0..6).map(|_| polled(&mut rig)).collect();
    let apart = |unit: u8, polls: &[(f64, u8)]| {
        let of: Vec<f64> = polls.iter().filter(|(_, polled)| *polled == unit).map(|(began, _)| *began).collect();
        of.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    assert!(apart(1, &slow).iter().all(|ms| *ms == 1000.0), "{slow:?}");
    assert!(slow.iter().filter(|(_, unit)| *unit == 2).count() <= 2, "{slow:?}");
    rig.line.handle_intervals(rig.now, DeviceIx(1), &[Duration::from_secs(1)]);
    let fast: Vec<_> = (0..8).map(|_| polled(&mut rig)).collect();
    assert!(apart(2, &fast).iter().all(|ms| *ms == 1000.0), "{fast:?}");
    assert_eq!(rig.line.stats().skipped_slots, 0);
}

#[test]
fn the_next_request_waits_for_three_and_a_half_characters_of_silence() {
    let fakes = [fake(1, &[10]), fake(2, &[10])];
    let mut rig = Rig::serial(&fakes, 10);
    rig.warm_up(&fakes);
    rig.next();
    rig.receive(4, &reply(1, 10, 0, 0));
    let last_byte = rig.ms();
    assert_eq!(rig.line.poll_timeout().unwrap(), (rig.now + Duration::from_micros(3500), Wake::Silence));
    assert_eq!(rig.next().0, last_byte + 3.5);
    rig.receive(4, &reply(2, 10, 0, 0));
    rig.receive(2, &[0xFF]);
    let noise = rig.ms();
    assert_eq!(rig.next().0, noise + 3.5, "noise in the pause begins it anew");
}

#[test]
fn noise_that_never_ends_does_not_stop_the_line() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 10);
    rig.warm_up(&fakes);
    rig.next();
    rig.receive(4, &reply(1, 10, 0, 0));
    let mut waited = 0;
    while rig.transmit().is_none() {
        rig.receive(1, &[0xFF]);
        waited += 1;
        assert!(waited < 2000, "it waits for 2 s at most");
    }
    assert_eq!(rig.line.stats().babble, 1);
}

#[test]
fn a_device_that_needs_a_pause_does_not_hold_up_the_others() {
    let slow = Fake { pause_after: Duration::from_millis(100), ..fake(1, &[10, 12]) };
    let fakes = [slow, fake(2, &[10])];
    let mut rig = Rig::serial(&fakes, 10);
    rig.warm_up(&fakes);
    let mut slow_ready = 0.0;
    let mut others = 0;
    for _ in 0..100 {
        let (began, request) = rig.next();
        if request[0] == 1 {
            assert!(began >= slow_ready, "its pause is kept");
            rig.receive(4, &reply(1, if request[2] == 0 { 10 } else { 12 }, 0, 0));
            slow_ready = rig.ms() + 100.0;
        } else {
            others += 1;
            rig.receive(4, &reply(2, 10, 0, 0));
        }
    }
    assert!(others > 70, "the other one is polled meanwhile, {others} of 100 times");
}

#[test]
fn the_time_for_a_reply_counts_from_the_end_of_the_request_on_the_wire() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    let mut bytes = Vec::new();
    while !rig.line.poll_transmit(rig.now, &mut bytes) {
        rig.wake();
    }
    rig.pass_ms(300);
    rig.line.handle_timeout(rig.now);
    assert_eq!(rig.line.stats().timeouts, 0, "the kernel has not sent it yet");
    rig.line.handle_sent(rig.now);
    let deadline = rig.line.poll_timeout().unwrap();
    assert_eq!(deadline, (rig.now + Duration::from_millis(50 + 10), Wake::Reply), "floor and ten characters");
}

#[test]
fn overload_slows_all_alike_and_starves_nobody() {
    let fakes: Vec<Fake> = (1..=6).map(|unit| fake(unit, &[10])).collect();
    let mut rig = Rig::serial(&fakes, 20);
    let mut polls = [0u32; 6];
    for _ in 0..600 {
        let (_, request) = rig.next();
        polls[usize::from(request[0]) - 1] += 1;
        rig.receive(4, &reply(request[0], 10, 0, 0));
    }
    assert!(polls.iter().all(|polls| (99..=101).contains(polls)), "{polls:?}");
    assert!(rig.line.stats().skipped_slots > 0);
}

#[test]
fn a_slow_group_gets_its_turn_on_an_overloaded_line() {
    let fakes = [fake(1, &[10]), fake(2, &[10])];
    let settings = LineSettings::new(Medium::Serial(WIRE));
    let device = |ix: u32, interval: u64| LineDevice {
        ix: DeviceIx(ix),
        settings: DeviceSettings {
            intervals: vec![Duration::from_millis(interval)],
            timeout_ceiling: None,
            characters: None,
            pauses_with: None,
        },
        driver: Box::new(fakes[ix as usize].clone()),
    };
    let mut line = Line::new(settings, vec![device(0, 5), device(1, 1000)], 1, Mono(0));
    line.handle_opened(Mono(0));
    let mut rig = Rig { line, now: Mono(0), outputs: Vec::new(), serial: true };
    let mut slow = Vec::new();
    while rig.ms() < 10_000.0 {
        let (began, request) = rig.next();
        if request[0] == 2 {
            slow.push(began);
        }
        rig.receive(4, &reply(request[0], 10, 0, 0));
    }
    assert_eq!(slow.len(), 10, "{slow:?}");
    for (slot, began) in (0u32..).zip(slow) {
        let due = 500.0 + 1000.0 * f64::from(slot);
        assert!((due..due + 30.0).contains(&began), "at most one transaction late: {began} for {due}");
    }
}

#[test]
fn polling_reuses_the_sample_buffers() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 100);
    rig.warm_up(&fakes);
    let mut seen = Vec::new();
    for _ in 0..6 {
        rig.next();
        rig.receive(4, &reply(1, 10, 0, 0));
        for output in std::mem::take(&mut rig.outputs) {
            if let Output::Sample { readings, .. } = output {
                seen.push(readings.as_ptr());
                rig.line.recycle(readings);
            }
        }
    }
    assert!(seen[2..].iter().all(|buffer| seen[..2].contains(buffer)), "{seen:?}");
}
