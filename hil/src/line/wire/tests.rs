use super::*;
use crate::slave::answer::{Exception, Memory, Words};
use crate::slave::frame::seal_rtu;

struct Echo(u16);
impl Memory for Echo {
    fn word(&mut self, _: Words, address: u16) -> Result<u16, Exception> {
        Ok(self.0 + address)
    }
}

fn wire(baud: u32) -> Wire {
    let speed = Speed::new(baud);
    let seats = vec![Seat::modbus(1, speed, Box::new(Echo(100))), Seat::modbus(2, speed, Box::new(Echo(200)))];
    Wire::new(speed, seats, Arc::default(), Arc::new(Counts::new()))
}

/// Steps the wire to `until`; what came out, with times.
fn run(wire: &mut Wire, until: u64) -> Vec<(u64, u8)> {
    let mut out = Vec::new();
    while let Some(at) = wire.poll_timeout().filter(|&at| at <= until) {
        let mut bytes = Vec::new();
        wire.poll_transmit(at, &mut bytes);
        out.extend(bytes.into_iter().map(|b| (at, b)));
    }
    out
}

/// A pair with a slave of 9600 8N1 and one of 2400 8E1, the port set to the first.
fn mixed() -> Wire {
    let (fast, slow) = (Speed::new(9600), Speed { baud: 2400, char_bits: 11, turnaround_us: 20_000 });
    let seats = vec![Seat::modbus(1, fast, Box::new(Echo(100))), Seat::modbus(2, slow, Box::new(Echo(200)))];
    Wire::new(fast, seats, Arc::default(), Arc::new(Counts::new()))
}

#[test]
fn who_listens_with_other_settings_hears_noise() {
    let mut wire = mixed();
    wire.handle_bytes(0, &request(2));
    assert!(run(&mut wire, u64::MAX).is_empty());
    assert_eq!(wire.counts.unanswered.load(Relaxed), 1, "to unit 1 it was another's request");
    wire.set_port(2400);
    wire.handle_bytes(1_000_000_000, &request(2));
    let out = run(&mut wire, u64::MAX);
    let frame: Vec<u8> = out.iter().map(|&(_, b)| b).collect();
    assert_eq!(frame, seal_rtu(2, &[3, 2, 0, 205]));
    // Eleven bits to a character at 2400, request and reply, two silences' worth of waiting and the turnaround.
    let slow = Speed { baud: 2400, char_bits: 11, turnaround_us: 20_000 };
    assert!(out.last().unwrap().0 >= 1_000_000_000 + slow.transaction_ns(8, 7) - slow.silence_ns() - 2);
    wire.handle_bytes(3_000_000_000, &request(1));
    assert!(run(&mut wire, u64::MAX).is_empty(), "9600 is deaf to 2400");
}

#[test]
fn a_reply_that_comes_after_the_port_was_changed_is_noise() {
    let mut wire = mixed();
    wire.handle_bytes(0, &request(1));
    wire.set_port(2400);
    let out: Vec<u8> = run(&mut wire, u64::MAX).into_iter().map(|(_, b)| b).collect();
    assert!(out.len() == 7 && out != seal_rtu(1, &[3, 2, 0, 105]), "{out:02X?}");
}

fn request(unit: u8) -> Vec<u8> {
    seal_rtu(unit, &[3, 0, 5, 0, 1])
}

#[test]
fn a_reply_takes_the_time_of_its_characters() {
    let mut wire = wire(9600);
    wire.handle_bytes(0, &request(1));
    let out = run(&mut wire, u64::MAX);
    let frame: Vec<u8> = out.iter().map(|&(_, b)| b).collect();
    assert_eq!(frame, seal_rtu(1, &[3, 2, 0, 105]));
    let speed = wire.speed;
    let end = speed.transaction_ns(8, 7) - speed.silence_ns();
    assert!(out.last().unwrap().0.abs_diff(end) <= 2, "rounding of nanoseconds");
    assert_eq!(out[1].0 - out[0].0, speed.chars_ns(2) - speed.chars_ns(1));
}

#[test]
fn a_request_before_the_silence_has_passed_is_counted() {
    let mut wire = wire(9600);
    wire.handle_bytes(0, &request(1));
    let end = run(&mut wire, u64::MAX).last().unwrap().0;
    wire.handle_bytes(end + wire.speed.silence_ns(), &request(2));
    assert_eq!(wire.counts.silence_violations.load(Relaxed), 0);
    let end = run(&mut wire, u64::MAX).last().unwrap().0;
    wire.handle_bytes(end + wire.speed.silence_ns() - 1, &request(2));
    assert_eq!(wire.counts.silence_violations.load(Relaxed), 1);
}

#[test]
fn a_request_into_a_reply_spoils_both() {
    let mut wire = wire(9600);
    wire.handle_bytes(0, &request(1));
    let middle = wire.speed.transaction_ns(8, 6) - wire.speed.silence_ns();
    run(&mut wire, middle);
    wire.handle_bytes(middle, &request(2));
    let out: Vec<u8> = run(&mut wire, u64::MAX).into_iter().map(|(_, b)| b).collect();
    assert_ne!(out, seal_rtu(1, &[3, 2, 0, 105]));
    assert_eq!(wire.counts.collisions.load(Relaxed), 1);
    assert_eq!(wire.counts.bad_requests.load(Relaxed), 1);
}

#[test]
fn a_request_that_crosses_the_beginning_of_a_late_reply_is_nobodys_fault() {
    let mut wire = wire(9600);
    wire.faults.late_every.store(1, Relaxed);
    wire.faults.late_ms.store(200, Relaxed);
    wire.handle_bytes(0, &request(1));
    let begun = wire.speed.transaction_ns(8, 1) - wire.speed.silence_ns() + 200_000_000;
    run(&mut wire, begun);
    wire.handle_bytes(begun + 1, &request(2));
    assert_eq!((wire.counts.collisions.load(Relaxed), wire.counts.crossings.load(Relaxed)), (0, 1));
}

#[test]
fn a_late_reply_comes_whole_before_the_answer_to_the_next_request() {
    let mut wire = wire(9600);
    wire.faults.late_every.store(1, Relaxed);
    wire.faults.late_ms.store(200, Relaxed);
    wire.handle_bytes(0, &request(1));
    assert!(run(&mut wire, 150_000_000).is_empty());
    wire.faults.late_every.store(0, Relaxed);
    wire.handle_bytes(205_000_000, &request(2));
    let out: Vec<u8> = run(&mut wire, u64::MAX).into_iter().map(|(_, b)| b).collect();
    assert_eq!(out, [seal_rtu(1, &[3, 2, 0, 105]), seal_rtu(2, &[3, 2, 0, 205])].concat());
    assert_eq!(wire.counts.late.load(Relaxed), 1);
}

#[test]
fn a_silent_unit_says_nothing_and_an_echo_says_what_was_sent() {
    let mut wire = wire(9600);
    wire.faults.set_silent(1, true);
    wire.faults.echo.store(true, Relaxed);
    wire.handle_bytes(0, &request(1));
    let out: Vec<u8> = run(&mut wire, u64::MAX).into_iter().map(|(_, b)| b).collect();
    assert_eq!(out, request(1));
    assert_eq!(wire.counts.unanswered.load(Relaxed), 1);
}

#[test]
fn every_fault_spoils_the_replies_that_are_its_turn() {
    for (set, whole) in [
        (&(|f: &Faults| f.short_every.store(2, Relaxed)) as &dyn Fn(&Faults), 2),
        (&|f: &Faults| f.foreign_every.store(2, Relaxed), 2),
        (&|f: &Faults| f.noise_every.store(2, Relaxed), 2),
        (&|f: &Faults| f.doubled_every.store(2, Relaxed), 2),
    ] {
        let mut wire = wire(9600);
        set(&wire.faults);
        let mut sound = 0;
        for i in 0..4u64 {
            wire.handle_bytes(i * 1_000_000_000, &request(1));
            let out: Vec<u8> = run(&mut wire, i * 1_000_000_000 + 900_000_000).into_iter().map(|(_, b)| b).collect();
            sound += usize::from(out == seal_rtu(1, &[3, 2, 0, 105]));
        }
        assert_eq!((sound, wire.counts.spoiled.load(Relaxed)), (whole, 2));
    }
}
