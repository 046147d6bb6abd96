//! The command lane.

use super::*;
use crate::line::{Command, CommandRefusal, CommandResult};
use gatehouse_core::{NoData, RegisterRow, RegisterTable};

fn number(value: i128) -> Value {
    Value::Decimal(Decimal::whole(value))
}

fn write(rig: &mut Rig, id: u64, device: u32) {
    command(rig, id, device, Action::Write(PointIx(0), number(9)), 60_000);
}

fn command(rig: &mut Rig, id: u64, device: u32, action: Action, within_ms: u64) {
    let expires = rig.now + Duration::from_millis(within_ms);
    rig.line.handle_command(rig.now, Command { id, device: DeviceIx(device), action, expires });
    rig.collect();
}

/// The outcome of command `id`, letting requests go unanswered.
fn outcome(rig: &mut Rig, id: u64) -> CommandResult {
    for _ in 0..1000 {
        let done = rig.outputs.iter().find_map(|output| match output {
            Output::CommandDone { id: of, result, .. } if *of == id => Some(result.clone()),
            _ => None,
        });
        if let Some(result) = done {
            return result;
        }
        if rig.transmit().is_none() {
            rig.wake();
        }
    }
    panic!("no outcome");
}

fn ready(fakes: &[Fake]) -> Rig {
    let mut rig = Rig::serial(fakes, 30);
    rig.warm_up(fakes);
    rig
}

fn look(rig: &mut Rig, id: u64, device: u32) {
    let row = RegisterRow::new(RegisterTable::Holding, 0, 1).unwrap();
    command(rig, id, device, Action::Registers(row), 60_000);
}

#[test]
fn registers_that_somebody_looks_at_wait_behind_what_waits_longer() {
    let fakes = [fake(1, &[10, 12, 14]), fake(2, &[10])];
    let mut rig = ready(&fakes);
    while rig.next().1[..3] != [1, 3, 0] {
        rig.receive(4, &reply(2, 10, 5, 0));
    }
    look(&mut rig, 7, 1);
    write(&mut rig, 8, 0);
    rig.receive(4, &reply(1, 10, 5, 0));
    assert_eq!(rig.next().1[..2], [1, 6], "a write of another device goes first, though it came later");
    rig.receive(4, &[1, 6, 100, 9, 0, 0, 0, 116]);
    while rig.next().1[..3] != [1, 3, 1] {
        rig.receive(4, &reply(1, 10, 9, 0));
    }
    rig.receive(4, &reply(1, 12, 5, 0));
    assert_eq!(rig.next().1[..3], [1, 3, 2], "and so does the rest of the poll that was under way");
    rig.receive(4, &reply(1, 14, 5, 0));
    let is_over = |rig: &Rig| rig.outputs.iter().any(|output| matches!(output, Output::CommandDone { id: 7, .. }));
    let mut others = 0;
    while !is_over(&rig) {
        let (_, request) = rig.next();
        rig.receive(4, &reply(request[0], [10, 12, 14][usize::from(request[2])], 7, 0));
        others += 1;
    }
    assert!(others <= 5, "it has its turn, however often is polled: {others}");
    assert!(matches!(outcome(&mut rig, 7), CommandResult::Read(_)));
}

#[test]
fn of_looks_at_registers_a_few_may_wait_and_leave_room_for_others() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    for id in 100..105 {
        look(&mut rig, id, 0);
    }
    assert_eq!(outcome(&mut rig, 104), CommandResult::Refused(CommandRefusal::QueueFull));
    write(&mut rig, 200, 0);
    assert!(!matches!(outcome(&mut rig, 200), CommandResult::Refused(_)));
}

#[test]
fn registers_that_somebody_looks_at_do_not_keep_a_write_of_their_device_waiting() {
    let fakes = [fake(1, &[10, 12, 14]), fake(2, &[10])];
    let mut rig = ready(&fakes);
    while rig.next().1[..3] != [1, 3, 0] {
        rig.receive(4, &reply(2, 10, 5, 0));
    }
    look(&mut rig, 7, 1);
    rig.receive(4, &reply(1, 10, 5, 0));
    assert_eq!(rig.next().1[..3], [1, 3, 1], "the rest of the poll goes first");
    write(&mut rig, 8, 1);
    rig.receive(4, &reply(1, 12, 5, 0));
    assert_eq!(rig.next().1[..3], [2, 3, 0], "since a write waits for it, it hurries");
    rig.receive(4, &reply(2, 10, 5, 0));
    assert_eq!(rig.next().1[..2], [2, 6]);
}

#[test]
fn a_command_goes_next_after_the_transaction_in_flight() {
    let fakes = [fake(1, &[10, 12, 14]), fake(2, &[10])];
    let mut rig = ready(&fakes);
    while rig.next().1[..3] != [1, 3, 0] {
        rig.receive(4, &reply(2, 10, 5, 0));
    }
    write(&mut rig, 7, 1);
    rig.receive(4, &reply(1, 10, 5, 0));
    let (_, request) = rig.next();
    assert_eq!(request[..4], [2, 6, 100, 9], "ahead of the rest of the poll");
    rig.receive(4, &request);
    assert_eq!(rig.next().1[..3], [2, 3, 0], "and its read-back with it");
    rig.receive(4, &reply(2, 10, 9, 0));
    assert_eq!(outcome(&mut rig, 7), CommandResult::Verified(number(9)));
}

#[test]
fn a_write_that_reads_back_otherwise_is_acknowledged_and_no_more() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    write(&mut rig, 7, 0);
    let (_, request) = rig.next();
    rig.receive(4, &request);
    rig.next();
    rig.receive(4, &reply(1, 10, 8, 0));
    assert_eq!(outcome(&mut rig, 7), CommandResult::Acknowledged(Some(Ok(number(8)))));
}

#[test]
fn a_write_without_an_answer_is_unknown_and_never_sent_again() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    write(&mut rig, 7, 0);
    let mut writes = 0;
    while !rig.outputs.iter().any(|output| matches!(output, Output::CommandDone { .. })) {
        match rig.transmit() {
            Some(request) => writes += u32::from(request[1] == 6),
            None => rig.wake(),
        }
    }
    assert_eq!(writes, 1);
    let unknown = CommandResult::Unknown(NoData::Timeout, Some(Err(NoData::Timeout)));
    assert_eq!(outcome(&mut rig, 7), unknown);
}

#[test]
fn a_write_without_an_answer_that_reads_back_right_is_verified() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    write(&mut rig, 7, 0);
    assert_eq!(rig.next().1[1], 6);
    assert_eq!(rig.next().1[1], 3);
    rig.receive(4, &reply(1, 10, 9, 0));
    assert_eq!(outcome(&mut rig, 7), CommandResult::Verified(number(9)));
}

#[test]
fn a_refused_write_has_failed() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    write(&mut rig, 7, 0);
    rig.next();
    rig.receive(4, &exception(1, 3));
    assert_eq!(outcome(&mut rig, 7), CommandResult::Failed(NoData::Exception(3)));
}

#[test]
fn the_local_echo_of_a_write_to_a_dead_device_is_no_success() {
    for (echo, reads_back) in [(Echo::On, false), (Echo::Detect, false), (Echo::Detect, true)] {
        let wire = Wire { echo, ..WIRE };
        let fakes = [Fake { reads_back, ..fake(1, &[10]) }];
        let mut rig = Rig::with(LineSettings::new(Medium::Serial(wire)), &fakes, 1000);
        write(&mut rig, 7, 0);
        let (_, request) = rig.next();
        rig.line.handle_bytes(rig.now, &request);
        let result = outcome(&mut rig, 7);
        assert!(matches!(result, CommandResult::Unknown(..)), "{echo:?}: {result:?}");
    }
}

#[test]
fn a_write_is_believed_on_a_line_with_echo_when_the_device_answers_too() {
    for echo in [Echo::On, Echo::Detect] {
        let wire = Wire { echo, ..WIRE };
        let fakes = [Fake { reads_back: false, ..fake(1, &[10]) }];
        let mut rig = Rig::with(LineSettings::new(Medium::Serial(wire)), &fakes, 1000);
        write(&mut rig, 7, 0);
        let (_, request) = rig.next();
        rig.line.handle_bytes(rig.now, &request);
        rig.receive(4, &request);
        assert_eq!(outcome(&mut rig, 7), CommandResult::Acknowledged(None), "{echo:?}");
    }
}

#[test]
fn an_expired_command_is_never_sent() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    rig.next();
    command(&mut rig, 7, 0, Action::Write(PointIx(0), number(9)), 10);
    rig.receive(20, &reply(1, 10, 5, 0));
    let sent = rig.line.stats().transactions;
    assert_eq!(outcome(&mut rig, 7), CommandResult::Expired);
    assert_eq!(rig.line.stats().transactions, sent);
}

#[test]
fn a_second_write_waits_until_the_late_answer_to_the_first_can_come_no_more() {
    let fakes = [Fake { reads_back: false, ..fake(1, &[10]) }];
    let mut rig = ready(&fakes);
    write(&mut rig, 7, 0);
    assert_eq!(rig.next().1[1], 6);
    let first = rig.ms();
    assert!(matches!(outcome(&mut rig, 7), CommandResult::Unknown(..)));
    write(&mut rig, 8, 0);
    loop {
        let (began, request) = rig.next();
        if request[1] == 6 {
            assert!(began - first >= 2000.0, "{} ms", began - first);
            break;
        }
        rig.receive(4, &reply(1, 10, 5, 0));
    }
}

#[test]
fn what_cannot_be_accepted_is_refused_at_once() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    command(&mut rig, 1, 5, Action::Read(Vec::new()), 1000);
    assert_eq!(outcome(&mut rig, 1), CommandResult::Refused(CommandRefusal::NoSuchDevice));
    command(&mut rig, 2, 0, Action::Identify, 1000);
    let refused = CommandResult::Refused(CommandRefusal::Action(ActionError::Unsupported));
    assert_eq!(outcome(&mut rig, 2), refused);
    for id in 100..164 {
        write(&mut rig, id, 0);
    }
    write(&mut rig, 200, 0);
    assert_eq!(outcome(&mut rig, 200), CommandResult::Refused(CommandRefusal::QueueFull));
    assert_eq!(rig.line.stats().commands_turned_away, 1);
}

#[test]
fn a_read_gives_its_readings_and_a_silent_device_a_failure() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    command(&mut rig, 7, 0, Action::Read(Vec::new()), 1000);
    rig.next();
    rig.receive(4, &reply(1, 10, 5, 0));
    let reading = PointReading::new(PointIx(0), Ok(number(5)));
    assert_eq!(outcome(&mut rig, 7), CommandResult::Read(vec![reading]));
    command(&mut rig, 8, 0, Action::Read(Vec::new()), 60_000);
    assert_eq!(outcome(&mut rig, 8), CommandResult::Failed(NoData::Timeout));
}

#[test]
fn commands_fail_when_the_port_stays_away_and_one_in_flight_is_unknown() {
    let fakes = [fake(1, &[10])];
    let mut rig = ready(&fakes);
    write(&mut rig, 7, 0);
    rig.next();
    write(&mut rig, 8, 0);
    rig.line.handle_closed(rig.now);
    rig.collect();
    assert_eq!(outcome(&mut rig, 7), CommandResult::Unknown(NoData::BusDown, None));
    assert_eq!(outcome(&mut rig, 8), CommandResult::Failed(NoData::BusDown));
}

#[test]
fn two_looks_at_one_device_hurry_no_more_than_one() {
    let fakes = [fake(1, &[10, 12, 14]), fake(2, &[10])];
    let mut rig = ready(&fakes);
    while rig.next().1[..3] != [1, 3, 0] {
        rig.receive(4, &reply(2, 10, 5, 0));
    }
    look(&mut rig, 7, 1);
    look(&mut rig, 8, 1);
    for (step, before) in [(1, 10), (2, 12)] {
        rig.receive(4, &reply(1, before, 5, 0));
        assert_eq!(rig.next().1[..3], [1, 3, step], "the rest of the poll that was under way goes first");
    }
}
