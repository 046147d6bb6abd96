//! Lines of datagrams: lost, doubled, overtaken and foreign ones.

use std::time::Duration;

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{
    CardNumber, ControllerAnswer, ControllerAsk, DeviceIx, ListedCard, LocalTime, Mono, Name, NoData, PointIx, Value,
};

use crate::line::{Command, CommandResult, DeviceSettings, Line, LineDevice, LineSettings, Medium, Output};
use crate::uhppote::{Field, UhppoteController, UhppoteSettings};

const MS: fn(u64) -> Mono = Mono::from_millis;

fn line(serials: &[u32]) -> Line {
    let device = |(ix, serial): (u32, &u32)| {
        let settings = UhppoteSettings { serial: *serial, listener: None };
        let driver = UhppoteController::new(settings, [Field::DoorOpen(1)], &[vec![PointIx(0)]]);
        let intervals = vec![Duration::from_secs(1)];
        let settings = DeviceSettings { intervals, timeout_ceiling: None, characters: None, pauses_with: None };
        LineDevice { ix: DeviceIx(ix), settings, driver: Box::new(driver) }
    };
    let devices = (0..).zip(serials).map(device).collect();
    let mut line = Line::new(LineSettings::new(Medium::Datagram), devices, 1, MS(0));
    line.handle_opened(MS(0));
    line
}

/// What goes out now, if anything does.
fn sent(line: &mut Line, now: Mono) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let any = line.poll_transmit(now, &mut bytes);
    if any {
        line.handle_sent(now);
    }
    any.then_some(bytes)
}

/// A status with door 1 as told.
fn status(request: &[u8], open: bool) -> Vec<u8> {
    let mut reply = request.to_vec();
    (reply[28], reply[51], reply[52], reply[53]) = (open.into(), 0x26, 0x11, 0x26);
    reply
}

fn outputs(line: &mut Line) -> Vec<Output> {
    std::iter::from_fn(|| line.poll_output()).collect()
}

fn values(line: &mut Line) -> Vec<Result<Value, NoData>> {
    let samples = outputs(line).into_iter().filter_map(|output| match output {
        Output::Sample { readings, .. } => Some(readings),
        _ => None,
    });
    samples.flatten().map(|reading| reading.value).collect()
}

fn command(id: u64, action: Action) -> Command {
    Command { id, device: DeviceIx(0), action, expires: MS(60_000) }
}

fn open(door: u16) -> Action {
    Action::Call { command: Name::new("open").unwrap(), channel: Some(door), argument: Argument::None }
}

fn results(line: &mut Line) -> Vec<(u64, CommandResult)> {
    let done = outputs(line).into_iter().filter_map(|output| match output {
        Output::CommandDone { id, result, .. } => Some((id, result)),
        _ => None,
    });
    done.collect()
}

/// Answers the first poll, so that the device is known and nothing is due.
fn known(line: &mut Line) -> Mono {
    let request = sent(line, MS(0)).unwrap();
    line.handle_bytes(MS(2), &status(&request, false));
    outputs(line);
    MS(2)
}

#[test]
fn a_lost_datagram_is_asked_for_again_and_nothing_is_lost() {
    let mut line = line(&[7]);
    known(&mut line);
    let first = sent(&mut line, MS(1000)).unwrap();
    let (due, _) = line.poll_timeout().unwrap();
    line.handle_timeout(due);
    assert_eq!(sent(&mut line, due).unwrap(), first, "the same again");
    line.handle_bytes(due, &status(&first, true));
    assert_eq!(values(&mut line), [Ok(Value::Bool(true))]);
    assert_eq!(line.stats().retries, 1);
}

#[test]
fn a_door_is_asked_once_and_a_lost_answer_leaves_it_unknown() {
    let mut line = line(&[7]);
    known(&mut line);
    line.handle_command(MS(10), command(1, open(1)));
    let request = sent(&mut line, MS(10)).unwrap();
    assert_eq!((request[1], request[8]), (0x40, 1));
    let (due, _) = line.poll_timeout().unwrap();
    line.handle_timeout(due);
    let done = results(&mut line);
    assert_eq!(done, [(1, CommandResult::Unknown(NoData::Timeout, None))]);
    let mut later = Vec::new();
    for at in 0..200 {
        later.extend(sent(&mut line, due + Duration::from_millis(at)).map(|request| request[1]));
    }
    assert!(!later.contains(&0x40), "{later:?}");
}

#[test]
fn the_late_answer_of_one_door_never_stands_for_another() {
    let mut line = line(&[7]);
    known(&mut line);
    line.handle_command(MS(10), command(1, open(1)));
    let mut yes = sent(&mut line, MS(10)).unwrap();
    yes[8] = 1;
    let (due, _) = line.poll_timeout().unwrap();
    line.handle_timeout(due);
    assert!(matches!(results(&mut line)[..], [(1, CommandResult::Unknown(..))]));
    line.handle_command(due, command(2, open(2)));
    assert_eq!(sent(&mut line, due), None, "the first one's answer may still come");
    line.handle_bytes(due + Duration::from_millis(20), &yes);
    assert!(results(&mut line).is_empty());
    let after = MS(10) + Duration::from_millis(500 + 250);
    let request = sent(&mut line, after).unwrap();
    assert_eq!((request[1], request[8]), (0x40, 2));
    line.handle_bytes(after + Duration::from_millis(3), &yes);
    assert_eq!(results(&mut line), [(2, CommandResult::Acknowledged(None))]);
}

#[test]
fn a_doubled_answer_to_a_door_is_nobodys() {
    let mut line = line(&[7]);
    known(&mut line);
    line.handle_command(MS(10), command(1, open(1)));
    line.handle_command(MS(10), command(2, open(2)));
    let mut yes = sent(&mut line, MS(10)).unwrap();
    yes[8] = 1;
    line.handle_bytes(MS(12), &yes);
    assert_eq!(results(&mut line), [(1, CommandResult::Acknowledged(None))]);
    assert_eq!(sent(&mut line, MS(12)), None);
    line.handle_bytes(MS(13), &yes);
    assert!(results(&mut line).is_empty());
    assert!(sent(&mut line, MS(112)).is_some());
}

#[test]
fn events_are_fetched_one_after_the_other_though_datagrams_overtake_each_other() {
    let mut line = line(&[7]);
    known(&mut line);
    let event = |request: &[u8]| {
        let mut reply = request.to_vec();
        (reply[12], reply[13], reply[14], reply[27]) = (1, 1, 1, 1);
        reply
    };
    for (id, index) in [(1, 5), (2, 6)] {
        line.handle_command(MS(10), command(id, Action::Controller(ControllerAsk::Event(index))));
    }
    let fifth = sent(&mut line, MS(10)).unwrap();
    let (due, _) = line.poll_timeout().unwrap();
    line.handle_timeout(due);
    let again = sent(&mut line, due).unwrap();
    assert_eq!(fifth, again);
    line.handle_bytes(due + Duration::from_millis(1), &event(&again));
    let sixth = sent(&mut line, due + Duration::from_millis(1)).unwrap();
    assert_eq!(sixth[8], 6, "its answer names it: nothing has to be waited for");
    // The answer to the first request comes after that to the second.
    line.handle_bytes(due + Duration::from_millis(2), &event(&fifth));
    line.handle_bytes(due + Duration::from_millis(3), &event(&sixth));
    let indexes: Vec<u32> = results(&mut line)
        .into_iter()
        .map(|(_, result)| {
            let CommandResult::Read(readings) = result else { panic!("{result:?}") };
            let Some(ControllerAnswer::Event(event)) = ControllerAnswer::from_readings(&readings) else { panic!() };
            event.index
        })
        .collect();
    assert_eq!(indexes, [5, 6]);
}

#[test]
fn foreign_datagrams_are_no_bad_replies_and_halves_are_nothing() {
    let mut line = line(&[7, 8]);
    let first = sent(&mut line, MS(0)).unwrap();
    let mut foreign = status(&first, true);
    foreign[4] = 99;
    line.handle_bytes(MS(1), &foreign);
    line.handle_bytes(MS(1), &status(&first, true)[..32]);
    line.handle_bytes(MS(1), &status(&first, true)[32..]);
    assert!(values(&mut line).is_empty());
    line.handle_bytes(MS(2), &status(&first, false));
    assert_eq!(values(&mut line), [Ok(Value::Bool(false))]);
    let mut long = status(&first, true);
    long.extend(status(&first, true).repeat(20));
    line.handle_bytes(MS(3), &long);
    assert!(values(&mut line).is_empty());
}

#[test]
fn word_of_a_device_has_it_polled_at_once_and_is_itself_believed_in_nothing() {
    let mut line = line(&[7]);
    let now = known(&mut line);
    assert_eq!(sent(&mut line, MS(100)), None, "the next poll is far away");
    let mut word = vec![0; 64];
    (word[0], word[1], word[4], word[28]) = (0x17, 0x20, 7, 1);
    line.handle_bytes(MS(100), &word);
    assert!(values(&mut line).is_empty(), "door 1 is open, says somebody");
    let request = sent(&mut line, MS(100)).unwrap();
    line.handle_bytes(MS(101), &status(&request, false));
    assert_eq!(values(&mut line), [Ok(Value::Bool(false))]);
    for at in 102..200 {
        line.handle_bytes(MS(at), &word);
        assert_eq!(sent(&mut line, MS(at)), None, "at {at}: not without end");
    }
    assert!(sent(&mut line, MS(200)).is_some());
    assert!(now < MS(100));
}

#[test]
fn no_trace_of_a_line_holds_the_number_of_a_card() {
    let card = 0x005D_E8AC_u32;
    let bytes = card.to_le_bytes();
    let mut line = line(&[423_187_757]);
    let mut now = known(&mut line);
    let number = CardNumber::new(card).unwrap();
    let day = LocalTime::new(2026, 11, 26, 0, 0, 0);
    let listed = ListedCard { number, from: day, until: day, doors: [1; 4], pin: 0, first_card: 0 };
    let asks = [
        ControllerAsk::PutCard(listed),
        ControllerAsk::Card(number),
        ControllerAsk::CardAt(1),
        ControllerAsk::Event(1),
    ];
    for (id, ask) in (1..).zip(asks) {
        now = now + Duration::from_millis(50);
        line.handle_command(now, command(id, Action::Controller(ask)));
        let mut reply = sent(&mut line, now).unwrap();
        let is_event = reply[1] == 0xB0;
        let at = if is_event { 16 } else { 8 };
        reply[at..at + 4].copy_from_slice(&bytes);
        reply[12] = u8::from(is_event);
        line.handle_bytes(now, &reply);
        // And once more, for nobody.
        line.handle_bytes(now, &reply);
    }
    assert_eq!(results(&mut line).len(), 4);
    assert!(line.frames().count() >= 12);
    for frame in line.frames() {
        assert!(!frame.bytes().windows(4).any(|window| window == bytes), "{frame}");
    }
}
