use gatehouse_core::driver::Argument;
use gatehouse_core::{ControllerAsk, Decimal, EventKind, Name, Value};

use super::*;

const SERIAL: u32 = 423_187_757;

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The status of uhppoted/uhppote-core's own test.
fn status() -> Vec<u8> {
    hex(
        "172000002D5539193900000001000301AAE85D00201904191700090601000101000001010914370211000000210000002B040119042000009326048808920000",
    )
}

fn controller(names: &[&str]) -> UhppoteController {
    let points: Vec<Field> = names.iter().map(|name| Field::parse(name).unwrap()).collect();
    let all = (0..points.len()).map(|at| PointIx(u16::try_from(at).unwrap())).collect();
    UhppoteController::new(UhppoteSettings { serial: SERIAL, listener: None }, points, &[all])
}

fn begin(controller: &mut UhppoteController, action: &Action) -> Result<StepId, ActionError> {
    let mut steps = Vec::new();
    controller.begin(action, &mut steps)?;
    assert_eq!(steps.len(), 1);
    Ok(steps[0])
}

fn sent(controller: &UhppoteController, step: StepId) -> Vec<u8> {
    let mut bytes = Vec::new();
    controller.encode(step, 0, &mut bytes);
    bytes
}

fn open(door: u16) -> Action {
    Action::Call { command: Name::new("open").unwrap(), channel: Some(door), argument: Argument::None }
}

#[test]
fn one_status_gives_all_points_but_those_of_door_control() {
    let names = ["door_1_open", "door_2_open", "button_4", "relay_3", "fire", "force_lock", "event_index", "clock"];
    let controller = controller(&[&names[..], &["door_2_mode", "door_2_delay"]].concat());
    let mut steps = Vec::new();
    controller.group_steps(0, &mut steps);
    assert_eq!(steps.len(), 2);
    let mut readings = Vec::new();
    assert_eq!(controller.decode(steps[0], 0, &status(), &mut readings), Decoded::Reply { bytes: 64 });
    let values: Vec<String> = readings.iter().map(|reading| reading.value.clone().unwrap().to_string()).collect();
    let told: Vec<&str> = values.iter().map(String::as_str).collect();
    assert_eq!(told, ["true", "false", "true", "true", "false", "true", "57", "2019-04-20T14:37:02"]);
    readings.clear();
    let mut door = Request::Door { door: 2 }.encode(SERIAL).put(8, &[2, 3, 7]);
    assert_eq!(controller.decode(steps[1], 0, door.bytes(), &mut readings), Decoded::Reply { bytes: 64 });
    assert_eq!(readings[1].value, Ok(Value::Decimal(Decimal::whole(7))));
    door = door.put(8, &[3]);
    let other = controller.decode(steps[1], 0, door.bytes(), &mut readings);
    assert_eq!(other, Decoded::Skip { bytes: 64, why: Reject::EchoMismatch });
}

#[test]
fn a_clock_that_no_calendar_has_is_missing_and_the_rest_is_there() {
    let controller = controller(&["door_1_open", "clock"]);
    let mut bytes = status();
    bytes[52] = 0x13;
    let mut readings = Vec::new();
    assert_eq!(controller.decode(StepId(0), 0, &bytes, &mut readings), Decoded::Reply { bytes: 64 });
    assert_eq!((&readings[0].value, &readings[1].value), (&Ok(Value::Bool(true)), &Err(NoData::BadReply)));
}

#[test]
fn only_the_controller_that_was_asked_can_answer_and_only_what_was_asked() {
    let mut controller = controller(&["door_1_open"]);
    let step = begin(&mut controller, &open(3)).unwrap();
    assert_eq!(sent(&controller, step)[..9], hex("174000002D55391903"));
    let yes = Request::OpenDoor { door: 1 }.encode(SERIAL);
    let mut readings = Vec::new();
    let mut decode = |datagram: &Datagram| controller.decode(step, 0, datagram.bytes(), &mut readings);
    assert_eq!(decode(&yes), Decoded::Reply { bytes: 64 });
    assert_eq!(decode(&yes.put(8, &[0])), Decoded::Exception { bytes: 64, code: 0 });
    let other = Request::OpenDoor { door: 1 }.encode(SERIAL + 1);
    assert_eq!(decode(&other), Decoded::Skip { bytes: 64, why: Reject::AddressMismatch });
    let status = Request::Status.encode(SERIAL);
    assert_eq!(decode(&status), Decoded::Skip { bytes: 64, why: Reject::UnexpectedFunction });
    assert!(!controller.shape(step).repeatable, "a door is never opened twice on doubt");
    assert!(begin(&mut controller, &open(5)).is_err());
}

#[test]
fn an_event_answers_for_its_own_number_only() {
    let mut controller = controller(&["door_1_open"]);
    let step = begin(&mut controller, &Action::Controller(ControllerAsk::Event(8))).unwrap();
    let event = hex(
        "17B000002D5539190800000002010301ADE85D002019021007120106000000000000000000000000000000000000000000000000000000004A26803908920000",
    );
    let mut readings = Vec::new();
    assert_eq!(controller.decode(step, 0, &event, &mut readings), Decoded::Reply { bytes: 64 });
    let Some(ControllerAnswer::Event(told)) = ControllerAnswer::from_readings(&readings) else { panic!("no event") };
    assert_eq!(
        (told.index, told.kind, told.granted, told.card.unwrap().reveal()),
        (8, EventKind::Door, true, 6_154_413)
    );
    let late = begin(&mut controller, &Action::Controller(ControllerAsk::Event(9))).unwrap();
    let verdict = controller.decode(late, 0, &event, &mut readings);
    assert_eq!(verdict, Decoded::Skip { bytes: 64, why: Reject::EchoMismatch });
    assert_ne!(controller.reply_class(step), controller.reply_class(late));
    for (kind, answer) in [(0, ControllerAnswer::NoEvent), (0xFF, ControllerAnswer::Overwritten)] {
        let mut gone = event.clone();
        (gone[8], gone[12]) = (0, kind);
        readings.clear();
        assert_eq!(controller.decode(late, 0, &gone, &mut readings), Decoded::Reply { bytes: 64 });
        assert_eq!(ControllerAnswer::from_readings(&readings), Some(answer));
    }
}

#[test]
fn the_list_is_written_with_whole_days_and_may_be_written_twice() {
    let mut controller = controller(&["door_1_open"]);
    let day = |year, month, day| gatehouse_core::LocalTime::new(year, month, day, 9, 30, 0);
    let card = ListedCard {
        number: gatehouse_core::CardNumber::new(6_154_412).unwrap(),
        from: day(2019, 1, 2),
        until: day(2019, 12, 31),
        doors: [1, 0, 29, 1],
        pin: 0,
        first_card: 0,
    };
    let put = |card: ListedCard| Action::Controller(ControllerAsk::PutCard(card));
    let step = begin(&mut controller, &put(card.clone())).unwrap();
    assert_eq!(sent(&controller, step)[..24], hex("175000002D553919ACE85D00201901022019123101001D01"));
    assert!(controller.shape(step).repeatable);
    assert!(begin(&mut controller, &put(ListedCard { until: None, ..card })).is_err());
}

#[test]
fn word_of_an_event_is_known_by_its_serial_also_from_old_firmware() {
    let controller = controller(&["door_1_open"]);
    let mut bytes = status();
    assert!(controller.is_word(&bytes));
    bytes[0] = 0x19;
    assert!(controller.is_word(&bytes));
    assert_eq!(
        controller.decode(StepId(0), 0, &bytes, &mut Vec::new()),
        Decoded::Skip { bytes: 64, why: Reject::Noise }
    );
    bytes[4] ^= 1;
    assert!(!controller.is_word(&bytes));
    assert!(!controller.is_word(&bytes[..63]));
}

#[test]
fn no_datagram_stops_the_decoder() {
    let mut controller = controller(&["door_1_open", "clock", "door_1_mode"]);
    let mut steps = vec![StepId(0), StepId(1), StepId(77), StepId(ACTION | 5)];
    for action in [Action::Identify, Action::Controller(ControllerAsk::CardAt(1)), open(1)] {
        steps.push(begin(&mut controller, &action).unwrap());
    }
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..rng.usize(1..130)).map(|_| rng.u8(..)).collect();
        if rng.bool() {
            bytes.resize(64, 0);
            bytes[..8].copy_from_slice(&status()[..8]);
            bytes[1] = rng.choice([0x20, 0x40, 0x5C, 0x82, 0x94]).unwrap();
        }
        for step in &steps {
            let verdict = controller.decode(*step, 0, &bytes, &mut Vec::new());
            assert!(!matches!(verdict, Decoded::Incomplete { .. }), "a datagram is whole");
        }
    }
}
