use gatehouse_core::driver::Argument;
use gatehouse_core::{Decimal, Name, Value};

use super::*;
use crate::modbus::point::{DataType, Order, WriteWith};
use crate::modbus::wire::{ReplyFrame, decode_request};
use crate::modbus::{pdu::Identification, pdu::Reply, pdu::Request};

const UNIT: u8 = 17;
const TAG: u16 = 0x0102;
const COST: Cost = Cost { per_request_ns: 50_000_000, per_byte_ns: 1_041_666 };
const FRAMINGS: [Framing; 3] = [Framing::Rtu, Framing::Ascii, Framing::Tcp];

fn spec(table: Table, address: u16, data_type: DataType, write: Option<WriteWith>) -> ModbusPoint {
    ModbusPoint {
        table,
        address,
        data_type,
        order: Order::Abcd,
        bit: None,
        scale: Decimal::whole(1),
        offset: Decimal::whole(0),
        not_available: Vec::new(),
        write,
    }
}

fn words(count: u16) -> Vec<ModbusPoint> {
    (0..count).map(|address| spec(Table::Holding, address, DataType::U16, None)).collect()
}

fn device(framing: Framing, specs: Vec<ModbusPoint>) -> ModbusDevice {
    let group = all_points(specs.len());
    ModbusDevice::new(framing, UNIT, specs, vec![group], Limits::default(), COST).unwrap()
}

fn all_points(count: usize) -> Vec<PointIx> {
    (0..count).map(|at| PointIx(u16::try_from(at).unwrap())).collect()
}

fn steps(device: &ModbusDevice) -> Vec<StepId> {
    let mut steps = Vec::new();
    device.group_steps(0, &mut steps);
    steps
}

/// What register or coil `address` of the simulated slave holds.
fn held(address: u16) -> u16 {
    address.wrapping_mul(257) ^ 0x5A00
}

/// The slave's answer, or exception 2 where a refused address is among those read, 3 beyond `most` of them.
fn answer(framing: Framing, request: &[u8], refused: &[u16], most: u16) -> Vec<u8> {
    let asked = decode_request(framing, request).unwrap();
    let Request::Read { table, address, quantity } = asked.request else { panic!("only reads are answered here") };
    let function = table.read_function();
    let addresses = address..address + quantity;
    let reply = if quantity > most {
        Reply::Exception { function, code: 3 }
    } else if refused.iter().any(|bad| addresses.contains(bad)) {
        Reply::Exception { function, code: 2 }
    } else if table.is_bits() {
        Reply::Bits { function, bits: addresses.map(|at| held(at) & 1 == 1).collect() }
    } else {
        Reply::Registers { function, registers: addresses.map(held).collect() }
    };
    let mut bytes = Vec::new();
    ReplyFrame { transaction: asked.transaction, unit: asked.unit, reply }.encode(framing, &mut bytes);
    bytes
}

fn request(device: &ModbusDevice, step: StepId) -> Vec<u8> {
    let mut bytes = Vec::new();
    device.encode(step, TAG, &mut bytes);
    bytes
}

/// What the line makes of `bytes`: the verdict after all skips, `None` when the reply is still awaited.
fn receive(device: &ModbusDevice, step: StepId, bytes: &[u8]) -> (Option<Decoded>, Vec<PointReading>) {
    let mut readings = Vec::new();
    let mut rest = bytes;
    loop {
        match device.decode(step, TAG, rest, &mut readings) {
            Decoded::Incomplete { missing } => {
                assert!(missing > 0);
                assert!(readings.is_empty());
                return (None, readings);
            }
            Decoded::Skip { bytes, .. } => {
                assert!((1..=rest.len()).contains(&bytes), "{bytes} of {}", rest.len());
                assert!(readings.is_empty());
                rest = &rest[bytes..];
            }
            verdict @ (Decoded::Reply { bytes } | Decoded::Nothing { bytes } | Decoded::Exception { bytes, .. }) => {
                assert!((1..=rest.len()).contains(&bytes));
                return (Some(verdict), readings);
            }
        }
    }
}

fn right_readings(device: &ModbusDevice, step: StepId) -> Vec<PointReading> {
    let mut points = Vec::new();
    device.points(step, &mut points);
    let reading = |&point: &PointIx| {
        let spec = &device.specs()[usize::from(point.0)];
        let held = held(spec.address);
        match spec.table {
            Table::Coil | Table::Discrete => PointReading::new(point, Ok(Value::Bool(held & 1 == 1))),
            Table::Holding | Table::Input => {
                let value = Value::Decimal(Decimal::whole(i128::from(held)));
                PointReading::new(point, Ok(value)).of(&held.to_be_bytes())
            }
        }
    };
    points.iter().map(reading).collect()
}

#[test]
fn a_poll_reads_each_point_once_in_each_framing() {
    for framing in FRAMINGS {
        let mut specs = words(6);
        specs.push(spec(Table::Coil, 3, DataType::Bool, None));
        specs.push(spec(Table::Coil, 14, DataType::Bool, None));
        specs.push(spec(Table::Input, 900, DataType::U16, None));
        let device = device(framing, specs);
        let mut seen = Vec::new();
        for step in steps(&device) {
            let wire = request(&device, step);
            let reply = answer(framing, &wire, &[], 125);
            let shape = device.shape(step);
            assert_eq!((shape.request_bytes, shape.reply_bytes), (wire.len(), reply.len()), "{framing:?}");
            assert!(shape.repeatable);
            let (verdict, readings) = receive(&device, step, &reply);
            assert_eq!(verdict, Some(Decoded::Reply { bytes: reply.len() }));
            assert_eq!(readings, right_readings(&device, step));
            seen.extend(readings.iter().map(|reading| reading.point.0));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..9).collect::<Vec<_>>(), "{framing:?}");
    }
}

#[test]
fn a_reply_in_pieces_is_awaited_to_its_last_byte() {
    for framing in FRAMINGS {
        let device = device(framing, words(3));
        let step = steps(&device)[0];
        let reply = answer(framing, &request(&device, step), &[], 125);
        for cut in 0..reply.len() {
            let mut readings = Vec::new();
            match device.decode(step, TAG, &reply[..cut], &mut readings) {
                Decoded::Incomplete { missing } => assert!(missing <= reply.len() - cut, "{framing:?} {cut}"),
                verdict => panic!("{framing:?} {cut}: {verdict:?}"),
            }
        }
    }
}

#[test]
fn one_wrong_byte_never_makes_a_wrong_value_on_a_serial_line() {
    for framing in [Framing::Rtu, Framing::Ascii] {
        let device = device(framing, words(5));
        let step = steps(&device)[0];
        let right = right_readings(&device, step);
        let reply = answer(framing, &request(&device, step), &[], 125);
        let check = |bytes: &[u8]| {
            let (verdict, readings) = receive(&device, step, bytes);
            assert!(readings.is_empty() || readings == right, "{framing:?} {bytes:02X?}: {verdict:?} {readings:?}");
            assert!(!matches!(verdict, Some(Decoded::Exception { .. })), "{framing:?} {bytes:02X?}");
        };
        for at in 0..reply.len() {
            for flip in 1..=255u8 {
                let mut bytes = reply.clone();
                bytes[at] ^= flip;
                check(&bytes);
            }
            let mut dropped = reply.clone();
            dropped.remove(at);
            check(&dropped);
            let mut doubled = reply.clone();
            doubled.insert(at, reply[at]);
            check(&doubled);
        }
    }
}

#[test]
fn a_reply_to_another_request_is_never_a_value() {
    for framing in FRAMINGS {
        let device = device(framing, words(5));
        let step = steps(&device)[0];
        let asked = decode_request(framing, &request(&device, step)).unwrap();
        let registers = |count: usize| Reply::Registers { function: 3, registers: vec![0xDEAD; count] };
        let others = [
            ReplyFrame { unit: UNIT + 1, ..frame(&asked, registers(5)) },
            frame(&asked, registers(4)),
            frame(&asked, registers(6)),
            frame(&asked, Reply::Registers { function: 4, registers: vec![0xDEAD; 5] }),
            frame(&asked, Reply::Exception { function: 4, code: 2 }),
            frame(&asked, Reply::WriteRegister { address: 0, value: 0xDEAD }),
        ];
        for other in others {
            let mut bytes = Vec::new();
            other.encode(framing, &mut bytes);
            assert_eq!(receive(&device, step, &bytes), (None, Vec::new()), "{framing:?} {other:?}");
            let reply = answer(framing, &request(&device, step), &[], 125);
            bytes.extend_from_slice(&reply);
            let (verdict, readings) = receive(&device, step, &bytes);
            assert_eq!(verdict, Some(Decoded::Reply { bytes: reply.len() }), "{framing:?} {other:?}");
            assert_eq!(readings, right_readings(&device, step));
        }
    }
    let device = device(Framing::Tcp, words(5));
    let step = steps(&device)[0];
    let late = ReplyFrame { transaction: Some(TAG - 1), unit: UNIT, reply: registers_of(5) };
    let mut bytes = Vec::new();
    late.encode(Framing::Tcp, &mut bytes);
    assert_eq!(receive(&device, step, &bytes), (None, Vec::new()));
}

fn registers_of(count: usize) -> Reply {
    Reply::Registers { function: 3, registers: vec![0xDEAD; count] }
}

fn frame(asked: &crate::modbus::RequestFrame, reply: Reply) -> ReplyFrame {
    ReplyFrame { transaction: asked.transaction, unit: asked.unit, reply }
}

#[test]
fn noise_is_always_eaten_and_never_a_value() {
    let mut random = fastrand::Rng::with_seed(7);
    for framing in FRAMINGS {
        let mut device = device(framing, words(5));
        let mut all = steps(&device);
        device.begin(&Action::Identify, &mut all).unwrap();
        for step in all {
            // TCP leaves the bytes' soundness to the socket: there the frames are those of another transaction.
            let mut asked = Vec::new();
            device.encode(StepId(0), TAG + 1, &mut asked);
            let sound = answer(framing, &asked, &[], 125);
            for _ in 0..20_000 {
                let mut bytes: Vec<u8> = (0..random.usize(0..40)).map(|_| random.u8(..)).collect();
                if random.bool() {
                    let cut = random.usize(1..=sound.len());
                    let at = random.usize(0..=bytes.len());
                    bytes.splice(at..at, sound[..cut - 1].iter().copied());
                }
                let (verdict, readings) = receive(&device, step, &bytes);
                // By luck a cut reply is made whole again.
                let is_whole = bytes.windows(sound.len()).any(|window| window == sound);
                assert!(readings.is_empty() || is_whole, "{framing:?} {bytes:02X?}: {verdict:?}");
            }
        }
    }
}

/// Polls once, splitting as the device wants it; returns the readings and how many requests it took.
fn poll(device: &mut ModbusDevice, refused: &[u16], most: u16) -> (Vec<PointReading>, usize) {
    let (mut readings, mut requests) = (Vec::new(), 0);
    let mut queue: std::collections::VecDeque<StepId> = steps(device).into();
    while let Some(step) = queue.pop_front() {
        requests += 1;
        let reply = answer(Framing::Rtu, &request(device, step), refused, most);
        let (verdict, values) = receive(device, step, &reply);
        readings.extend(values);
        if let Some(Decoded::Exception { code, .. }) = verdict {
            let mut instead = Vec::new();
            device.refused(step, code, &mut instead);
            if instead.is_empty() {
                let mut points = Vec::new();
                device.points(step, &mut points);
                readings.extend(points.iter().map(|&point| PointReading::new(point, Err(NoData::Exception(code)))));
            }
            for step in instead.into_iter().rev() {
                queue.push_front(step);
            }
        }
    }
    readings.sort_by_key(|reading| reading.point);
    (readings, requests)
}

fn check_poll(device: &ModbusDevice, readings: &[PointReading], refused: &[u16]) {
    let points: Vec<PointIx> = readings.iter().map(|reading| reading.point).collect();
    assert_eq!(points, all_points(device.specs().len()));
    for reading in readings {
        let address = device.specs()[usize::from(reading.point.0)].address;
        if refused.contains(&address) {
            assert_eq!(reading.value, Err(NoData::Exception(2)));
        } else {
            assert_eq!(reading.value, Ok(Value::Decimal(Decimal::whole(i128::from(held(address))))), "{address}");
        }
    }
}

#[test]
fn a_refused_read_is_split_at_once_down_to_the_point_to_blame_and_remembered() {
    let mut device = device(Framing::Rtu, words(40));
    let (readings, _) = poll(&mut device, &[], 125);
    check_poll(&device, &readings, &[]);
    let (readings, requests) = poll(&mut device, &[13], 125);
    check_poll(&device, &readings, &[13]);
    assert!(requests <= 13, "{requests}");
    assert_eq!(poll(&mut device, &[13], 125).1, 5, "joined before it, still in parts behind it");
    for _ in 0..2 {
        let (readings, requests) = poll(&mut device, &[13], 125);
        check_poll(&device, &readings, &[13]);
        assert_eq!(requests, 3, "before it, itself, behind it");
    }
    // An action asks around it too, and the point itself can still be asked for.
    let mut asked = Vec::new();
    device.begin(&Action::Read(vec![PointIx(12), PointIx(14)]), &mut asked).unwrap();
    assert_eq!(asked.len(), 2);
    device.end();
}

#[test]
fn the_flags_of_one_register_are_never_asked_apart() {
    let flag = |low| ModbusPoint { bit: Some((low, 1)), ..spec(Table::Holding, 9, DataType::U16, None) };
    let mut specs: Vec<ModbusPoint> = (0..5).map(flag).collect();
    specs.extend(words(9));
    let mut device = device(Framing::Rtu, specs);
    for requests in [5, 2] {
        let (readings, sent) = poll(&mut device, &[9], 125);
        assert_eq!(readings.iter().filter(|r| r.value == Err(NoData::Exception(2))).count(), 5);
        assert_eq!(readings.len(), 14);
        assert_eq!(sent, requests);
    }
}

#[test]
fn several_refused_points_leave_the_fewest_requests_in_the_end() {
    let mut device = device(Framing::Rtu, words(60));
    let refused = [7, 8, 40];
    for _ in 0..2 {
        let (readings, _) = poll(&mut device, &refused, 125);
        check_poll(&device, &readings, &refused);
    }
    let (readings, requests) = poll(&mut device, &refused, 125);
    check_poll(&device, &readings, &refused);
    assert_eq!(requests, 6);
}

#[test]
fn a_device_that_gives_fewer_registers_than_its_profile_says_settles() {
    let mut device = device(Framing::Rtu, words(60));
    poll(&mut device, &[], 20);
    let (readings, requests) = poll(&mut device, &[], 20);
    check_poll(&device, &readings, &[]);
    assert_eq!(requests, 4);
    assert_eq!(acted(&mut device, Action::Read(Vec::new())).len(), 4, "an action asks no more at once");
}

fn acted(device: &mut ModbusDevice, action: Action) -> Vec<StepId> {
    let mut steps = Vec::new();
    device.begin(&action, &mut steps).unwrap();
    steps
}

#[test]
fn a_refused_read_of_an_action_is_split_there_and_the_plan_stays() {
    let mut device = device(Framing::Rtu, words(4));
    let planned = steps(&device);
    let asked = acted(&mut device, Action::Read(Vec::new()));
    let mut instead = Vec::new();
    device.refused(asked[0], 2, &mut instead);
    let points = |step| {
        let mut points = Vec::new();
        device.points(step, &mut points);
        points
    };
    assert_eq!(
        instead.iter().map(|&step| points(step)).collect::<Vec<_>>(),
        [vec![PointIx(0), PointIx(1)], vec![PointIx(2), PointIx(3)]]
    );
    assert_eq!(steps(&device), planned);
    device.end();
    assert_eq!(acted(&mut device, Action::Read(Vec::new())).len(), 2);
}

#[test]
fn a_device_that_refuses_points_and_long_reads_settles_too() {
    let mut device = device(Framing::Rtu, words(60));
    for _ in 0..200 {
        let (readings, _) = poll(&mut device, &[13], 20);
        check_poll(&device, &readings, &[13]);
    }
    assert!(device.reads.len() < 100, "{}", device.reads.len());
    assert!(poll(&mut device, &[13], 20).1 <= 8);
}

#[test]
fn a_device_that_refuses_everything_costs_a_bounded_plan() {
    let mut device = device(Framing::Rtu, words(100));
    let refused: Vec<u16> = (0..100).collect();
    for _ in 0..50 {
        let (readings, _) = poll(&mut device, &refused, 125);
        check_poll(&device, &readings, &refused);
    }
    assert_eq!(steps(&device).len(), 100);
    assert!(device.reads.len() < 100 * 6, "{}", device.reads.len());
    assert!(device.cuts.len() <= 200, "{}", device.cuts.len());
}

#[test]
fn a_device_that_refused_only_while_it_started_is_read_whole_again() {
    let mut device = device(Framing::Rtu, words(40));
    let all: Vec<u16> = (0..40).collect();
    poll(&mut device, &all, 125);
    assert_eq!(poll(&mut device, &[], 125).1, 40);
    for _ in 0..split::RETRY_POLLS {
        poll(&mut device, &[], 125);
    }
    let (readings, requests) = poll(&mut device, &[], 125);
    check_poll(&device, &readings, &[]);
    assert_eq!(requests, 1);
    // Refused once more, its parts are at hand.
    let (readings, requests) = poll(&mut device, &[13], 125);
    check_poll(&device, &readings, &[13]);
    assert_eq!(requests, 41);
    assert_eq!(poll(&mut device, &[13], 125).1, 3);
}

#[test]
fn a_hole_is_tried_again_now_and_then_at_the_price_of_one_request() {
    let mut device = device(Framing::Rtu, words(40));
    poll(&mut device, &[13], 125);
    poll(&mut device, &[13], 125);
    let counts: Vec<usize> = (0..600).map(|_| poll(&mut device, &[13], 125).1).collect();
    assert_eq!(counts.iter().filter(|&&count| count == 4).count(), 2);
    assert!(counts.iter().all(|count| [3, 4].contains(count)), "{counts:?}");
}

#[test]
fn other_exceptions_change_nothing() {
    let mut device = device(Framing::Rtu, words(10));
    let planned = steps(&device);
    for code in [1, 4, 5, 6, 8, 10, 11, 99] {
        let mut instead = Vec::new();
        device.refused(planned[0], code, &mut instead);
        assert_eq!(instead, []);
    }
    assert_eq!(steps(&device), planned);
}

#[test]
fn the_plan_is_shown_with_its_bytes() {
    let device = device(Framing::Rtu, words(3));
    let summary = device.plan_summary();
    let expected = StepSummary {
        asked: Asked::Modbus { table: Table::Holding, address: 0, count: 3 },
        points: vec![PointIx(0), PointIx(1), PointIx(2)],
        request_bytes: 8,
        reply_bytes: 11,
    };
    assert_eq!(summary, [[expected]]);
    assert_eq!(device.describe(StepId(0)), "unit 17 read holding 0 to 2, 3 points");
}

#[test]
fn requests_of_others_are_known_and_answers_are_none() {
    let framed = |body: &[u8]| [body, &crc16(body).to_le_bytes()].concat();
    for request in [&[17, 3, 0, 0x6B, 0, 3][..], &[1, 2, 0, 0, 0, 8], &[1, 16, 0, 1, 0, 1, 2, 0, 10]] {
        assert!(is_rtu_request(&framed(request)), "{request:?}");
        assert!(!is_rtu_request(&[request, &[0, 0]].concat()), "its sum is wrong");
    }
    for answer in [&[17, 3, 2, 0, 1][..], &[1, 1, 3, 0, 0, 8], &[1, 6, 0, 1, 0, 3], &[1, 16, 0, 1, 0, 2], &[1, 0x83, 2]]
    {
        assert!(!is_rtu_request(&framed(answer)), "{answer:?}");
    }
}

mod action;
