//! What people ask of a device: writes, pulses, who it is.

use gatehouse_core::RegisterTable;

use super::*;

#[test]
fn a_write_is_sent_once_and_read_back() {
    let mut device = device(Framing::Rtu, vec![spec(Table::Coil, 172, DataType::Bool, Some(WriteWith::SingleCoil))]);
    let steps = acted(&mut device, Action::Write(PointIx(0), Value::Bool(true)));
    let [write, back] = steps[..] else { panic!("{steps:?}") };
    let wire = request(&device, write);
    assert_eq!(wire, [0x11, 0x05, 0x00, 0xAC, 0xFF, 0x00, 0x4E, 0x8B]);
    let shape = device.shape(write);
    assert_eq!((shape.request_bytes, shape.reply_bytes, shape.repeatable), (8, 8, false));
    assert_eq!(receive(&device, write, &wire), (Some(Decoded::Reply { bytes: 8 }), vec![]));
    let reply = answer(Framing::Rtu, &request(&device, back), &[], 125);
    assert_eq!(receive(&device, back, &reply).1, right_readings(&device, back));
    assert_eq!(device.describe(write), "unit 17 write coil 172 = ff00");
    assert_eq!(device.describe(back), "unit 17 read coil 172 to 172, 1 points");
    device.end();
    assert_eq!(device.shape(write).request_bytes, 0);
}

#[test]
fn a_refused_action_leaves_no_steps() {
    let mut device = device(Framing::Rtu, words(2));
    let mut steps = Vec::new();
    let write = Action::Write(PointIx(0), Value::Bool(true));
    assert_eq!(device.begin(&write, &mut steps), Err(ActionError::ReadOnly));
    assert_eq!(device.begin(&Action::Read(vec![PointIx(9)]), &mut steps), Err(ActionError::Unsupported));
    assert_eq!(steps, []);
}

fn row(first: u16, count: u16) -> Action {
    Action::Registers(RegisterRow::new(RegisterTable::Holding, first, count).unwrap())
}

#[test]
fn registers_are_read_as_they_stand_though_no_point_is_there() {
    let even = Limits { even: true, ..Limits::default() };
    for (limits, asked) in [(Limits::default(), [0x00, 0x1D, 0x00, 0x03]), (even, [0x00, 0x1C, 0x00, 0x04])] {
        let mut device = ModbusDevice::new(Framing::Rtu, UNIT, words(1), Vec::new(), limits, COST).unwrap();
        let steps = acted(&mut device, row(29, 3));
        assert_eq!(steps.len(), 1);
        assert_eq!(request(&device, steps[0])[1..6], [&[3u8][..], &asked].concat());
        assert!(device.shape(steps[0]).repeatable);
        let reply = answer(Framing::Rtu, &request(&device, steps[0]), &[], 125);
        let (_, readings) = receive(&device, steps[0], &reply);
        let word = |place: u16| {
            let value = Value::Decimal(Decimal::whole(held(29 + place).into()));
            PointReading::new(PointIx(place), Ok(value))
        };
        assert_eq!(readings, [word(0), word(1), word(2)]);
        let mut points = Vec::new();
        device.points(steps[0], &mut points);
        assert_eq!(points, [], "they are no points");
    }
}

#[test]
fn registers_that_must_not_be_read_are_not_asked_for() {
    let limits = Limits { holes: vec![(Table::Holding, 20, 29)], max_registers: 4, ..Limits::default() };
    let mut device = ModbusDevice::new(Framing::Rtu, UNIT, words(1), Vec::new(), limits, COST).unwrap();
    let mut steps = Vec::new();
    for (first, count) in [(18, 3), (29, 1), (40, 5)] {
        assert!(matches!(device.begin(&row(first, count), &mut steps), Err(ActionError::BeyondLimits(_))), "{first}");
    }
    assert_eq!(steps, []);
    assert_eq!(acted(&mut device, row(30, 4)).len(), 1);
    let mut all = ModbusDevice::new(Framing::Rtu, 0, words(1), Vec::new(), Limits::default(), COST).unwrap();
    assert_eq!(all.begin(&row(0, 1), &mut steps), Err(ActionError::Unsupported), "nobody answers a broadcast");
}

#[test]
fn reading_all_points_is_one_plan_of_its_own() {
    let specs = words(30);
    let groups = vec![vec![PointIx(0)], vec![PointIx(29)]];
    let mut device = ModbusDevice::new(Framing::Rtu, UNIT, specs, groups, Limits::default(), COST).unwrap();
    assert_eq!(device.groups(), 2);
    let steps = acted(&mut device, Action::Read(Vec::new()));
    assert_eq!(steps.len(), 1);
    let mut points = Vec::new();
    device.points(steps[0], &mut points);
    assert_eq!(points.len(), 30);
}

#[test]
fn a_broadcast_is_never_answered_and_never_read_back() {
    let specs = vec![spec(Table::Holding, 1, DataType::U16, Some(WriteWith::SingleRegister))];
    let mut device = ModbusDevice::new(Framing::Rtu, 0, specs, Vec::new(), Limits::default(), COST).unwrap();
    let steps = acted(&mut device, Action::Write(PointIx(0), Value::Decimal(Decimal::whole(3))));
    assert_eq!(steps.len(), 1);
    assert_eq!(request(&device, steps[0]), [0x00, 0x06, 0x00, 0x01, 0x00, 0x03, 0x99, 0xDA]);
    let shape = device.shape(steps[0]);
    assert_eq!((shape.reply_bytes, shape.pause_after), (0, Duration::from_millis(100)));
    let mut none = Vec::new();
    assert_eq!(device.begin(&Action::Identify, &mut none), Err(ActionError::Unsupported));
    assert_eq!(device.begin(&Action::Read(vec![PointIx(0)]), &mut none), Err(ActionError::Unsupported));
}

#[test]
fn an_identification_goes_on_while_the_device_has_more() {
    for framing in FRAMINGS {
        let mut device = device(framing, words(1));
        let mut queue = acted(&mut device, Action::Identify);
        let mut texts = Vec::new();
        let mut asked = Vec::new();
        while let Some(step) = queue.pop() {
            let request = decode_request(framing, &request(&device, step)).unwrap();
            let Request::Identify { read_code: 1, object } = request.request else { panic!("{request:?}") };
            asked.push(object);
            let part = Identification {
                read_code: 1,
                conformity: 0x81,
                more: object < 2,
                next: if object < 2 { object + 1 } else { 0 },
                objects: vec![(object, format!("text {object}").into_bytes())],
            };
            let mut bytes = Vec::new();
            frame(&request, Reply::Identification(part)).encode(framing, &mut bytes);
            for cut in 0..bytes.len() {
                let verdict = device.decode(step, TAG, &bytes[..cut], &mut texts);
                assert!(matches!(verdict, Decoded::Incomplete { .. }), "{framing:?} {cut} {verdict:?}");
            }
            assert_eq!(device.decode(step, TAG, &bytes, &mut texts), Decoded::Reply { bytes: bytes.len() });
            device.follow_up(step, &mut queue);
        }
        assert_eq!(asked, [0, 1, 2]);
        let said: Vec<_> = texts.iter().map(|r| (r.point.0, r.value.clone().unwrap().to_string())).collect();
        assert_eq!(said, [(0, "text 0".into()), (1, "text 1".into()), (2, "text 2".into())]);
    }
}

#[test]
fn an_identification_that_goes_in_circles_ends() {
    let mut device = device(Framing::Tcp, words(1));
    let step = acted(&mut device, Action::Identify)[0];
    let part = Identification { read_code: 1, conformity: 1, more: true, next: 0, objects: Vec::new() };
    let reply = ReplyFrame { transaction: Some(TAG), unit: UNIT, reply: Reply::Identification(part) };
    let mut bytes = Vec::new();
    reply.encode(Framing::Tcp, &mut bytes);
    device.decode(step, TAG, &bytes, &mut Vec::new());
    let mut more = Vec::new();
    device.follow_up(step, &mut more);
    assert_eq!(more, []);
}

#[test]
fn a_pulse_that_the_board_times_is_one_request_that_is_never_repeated() {
    let profile = crate::profile::Library::new().find("waveshare-modbus-rtu-relay-8").unwrap().clone();
    let specs: Vec<ModbusPoint> = profile.points.iter().filter_map(|point| point.modbus().cloned()).collect();
    let mut board = ModbusDevice::new(Framing::Rtu, UNIT, specs, Vec::new(), Limits::default(), COST)
        .unwrap()
        .with_commands(profile.commands.clone().into());
    let call = |name: &str, argument| Action::Call { command: Name::new(name).unwrap(), channel: Some(1), argument };
    let mut steps = Vec::new();
    board.begin(&call("flash_on", Argument::Units(7)), &mut steps).unwrap();
    let [step] = steps[..] else { panic!("{steps:?}") };
    assert!(!board.shape(step).repeatable);
    let mut bytes = Vec::new();
    board.encode(step, 0, &mut bytes);
    // Flash relay 2 on for 7 x 100 ms (Waveshare wiki, Modbus RTU Relay).
    assert_eq!(bytes[1..6], [0x05, 0x02, 0x01, 0x00, 0x07]);
    assert!(
        matches!(board.decode(step, 0, &bytes, &mut Vec::new()), Decoded::Reply { bytes: 8 }),
        "the echo confirms it"
    );
    board.end();

    let mut begin = |action: &Action| board.begin(action, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(begin(&call("flash", Argument::None)), "the device's profile has no command \"flash\"");
    assert_eq!(
        begin(&call("flash_on", Argument::None)),
        "the command flash_on cannot be sent so: the command takes a time"
    );
}
