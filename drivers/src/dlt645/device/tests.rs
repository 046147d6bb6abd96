mod recall;

use gatehouse_core::driver::Argument;
use gatehouse_core::{Name, NoData};

use super::*;
use crate::dlt645::catalog;
use crate::dlt645::frame::encode;
use crate::dlt645::point::Format;
use crate::line::{Command, CommandResult, DeviceSettings, Line, LineDevice, LineSettings, Medium, Output};

const METER: Address = Address::from_wire([0x34, 0x12, 0, 0, 0, 0]);
const ENERGY: u32 = 0x0001_FF00;

fn settings() -> MeterSettings {
    MeterSettings {
        edition: Edition::V2007,
        address: METER,
        preamble: 4,
        pause: Duration::ZERO,
        access: Some(Access { level: 2, password: 123_456, operator: 1 }),
    }
}

fn point(di: u32, item: u8) -> Dlt645Point {
    let layout = catalog::layout(Edition::V2007, di).unwrap();
    let (item_bytes, format) = (layout.item_bytes(), layout.format);
    Dlt645Point { edition: Edition::V2007, di, item, item_bytes, offset: 0, format, bit: None }
}

fn meter(points: Vec<Dlt645Point>) -> Dlt645Meter {
    let group = (0..).map(PointIx).take(points.len()).collect();
    Dlt645Meter::new(settings(), points, &[group])
}

fn steps(meter: &Dlt645Meter) -> Vec<StepId> {
    let mut steps = Vec::new();
    meter.group_steps(0, &mut steps);
    steps
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn frame(control: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(4, METER, control, &[data], &mut bytes);
    bytes
}

fn sent(meter: &Dlt645Meter, step: StepId) -> Vec<u8> {
    let mut bytes = Vec::new();
    meter.encode(step, 0, &mut bytes);
    assert_eq!(bytes.len(), meter.shape(step).request_bytes);
    bytes
}

fn read(meter: &Dlt645Meter, step: StepId, bytes: &[u8]) -> (Decoded, Vec<String>) {
    let mut readings = Vec::new();
    let verdict = meter.decode(step, 0, bytes, &mut readings);
    let text = |reading: PointReading| reading.value.map_or_else(|why| why.to_string(), |value| value.to_string());
    (verdict, readings.into_iter().map(text).collect())
}

#[test]
fn points_of_one_identifier_come_with_one_request() {
    let meter = meter(vec![point(ENERGY, 0), point(0x0201_0100, 0), point(ENERGY, 1)]);
    let steps = steps(&meter);
    assert_eq!(steps.len(), 2);
    assert_eq!(sent(&meter, steps[0]), hex("FEFEFEFE6834120000000068110433323433F716"));
    let (verdict, values) = read(&meter, steps[0], &frame(0x91, &[0, 0xFF, 1, 0, 0x34, 0x12, 0, 0, 0x12, 0, 0, 0]));
    assert_eq!((verdict, values), (Decoded::Reply { bytes: 28 }, vec!["12.34".to_owned(), "0.12".to_owned()]));
}

#[test]
fn a_reply_of_another_meter_or_identifier_or_from_a_master_is_skipped_whole() {
    let meter = meter(vec![point(0x0201_0100, 0)]);
    let step = steps(&meter)[0];
    let mut foreign = Vec::new();
    encode(0, Address::from_wire([0x99, 0x99, 0, 0, 0, 0]), 0x91, &[&[0, 1, 1, 2, 1, 0x23]], &mut foreign);
    let skips = |bytes: &[u8], why| {
        assert_eq!(read(&meter, step, bytes), (Decoded::Skip { bytes: bytes.len(), why }, vec![]));
    };
    skips(&foreign, Reject::AddressMismatch);
    skips(&frame(0x91, &[0, 2, 1, 2, 1, 0x23]), Reject::EchoMismatch);
    skips(&frame(0x94, &[]), Reject::UnexpectedFunction);
    skips(&frame(0x11, &[0, 1, 1, 2]), Reject::UnexpectedFunction);
    let good = frame(0x91, &[0, 1, 1, 2, 1, 0x23]);
    assert_eq!(read(&meter, step, &good).1, ["230.1"]);
}

#[test]
fn a_value_has_its_bytes_beside_it_without_what_the_wire_adds() {
    let meter = meter(vec![point(0x0201_0100, 0)]);
    let mut readings = Vec::new();
    meter.decode(steps(&meter)[0], 0, &frame(0x91, &[0, 1, 1, 2, 1, 0x23]), &mut readings);
    assert_eq!(readings[0].raw.bytes(), [1, 0x23]);
}

#[test]
fn values_that_are_not_there_have_their_reason() {
    let meter = meter(vec![point(0x0201_0100, 0)]);
    let step = steps(&meter)[0];
    let says = |data: &[u8]| read(&meter, step, &frame(0x91, &[&[0, 1, 1, 2], data].concat())).1;
    assert_eq!(says(&[0xFF, 0xFF]), ["not_available"]);
    assert_eq!(says(&[0x3A, 0x23]), ["not_bcd"]);
    assert_eq!(says(&[0, 1, 0x23]), ["bad_reply"], "another length than the item has");
}

#[test]
fn an_exception_has_no_reason_or_one_byte_or_two() {
    let meter = meter(vec![point(0x0201_0100, 0)]);
    let step = steps(&meter)[0];
    for (data, code) in [(&[][..], 0), (&[2], 2), (&[0x10, 0], 0x84)] {
        assert!(
            matches!(read(&meter, step, &frame(0xD1, data)).0, Decoded::Exception { code: got, .. } if got == code)
        );
    }
    assert_eq!(meter.denial(5), Denial::Final, "bits, not the codes of Modbus");
}

#[test]
fn an_answer_of_several_frames_is_put_together_before_it_is_read() {
    let mut meter = meter(vec![point(ENERGY, 0), point(ENERGY, 2)]);
    let step = steps(&meter)[0];
    let (verdict, values) = read(&meter, step, &frame(0xB1, &[0, 0xFF, 1, 0, 1, 0, 0, 0, 2, 0]));
    assert!(matches!(verdict, Decoded::Reply { .. }) && values.is_empty());
    let mut more = Vec::new();
    meter.follow_up(step, &mut more);
    let [second] = more[..] else { panic!("{more:?}") };
    assert_eq!(sent(&meter, second), hex("FEFEFEFE6834120000000068120533323433342D16"));
    assert_eq!(
        read(&meter, second, &frame(0x92, &[0, 0xFF, 1, 0, 0, 0, 3, 0, 0, 0, 2])).0,
        Decoded::Skip { bytes: 27, why: Reject::EchoMismatch },
        "the number of another frame"
    );
    // A late first frame does not disturb what is there: only taken frames count.
    read(&meter, step, &frame(0xB1, &[0, 0xFF, 1, 0, 9, 9]));
    let (_, values) = read(&meter, second, &frame(0x92, &[0, 0xFF, 1, 0, 0, 0, 3, 0, 0, 0, 1]));
    assert_eq!(values, ["0.01", "0.03"]);
    let mut none = Vec::new();
    meter.follow_up(second, &mut none);
    assert_eq!(none, []);
}

#[test]
fn a_frame_that_was_not_taken_opens_nothing() {
    let mut meter = meter(vec![point(ENERGY, 0), point(0x0201_0100, 0)]);
    let steps = steps(&meter);
    read(&meter, steps[0], &frame(0xB1, &[0, 0xFF, 1, 0, 1, 0, 0, 0]));
    assert_eq!(read(&meter, steps[1], &frame(0x91, &[0, 1, 1, 2, 1, 0x23])).1, ["230.1"]);
    let mut more = Vec::new();
    meter.follow_up(steps[1], &mut more);
    assert_eq!(more, []);
}

#[test]
fn an_answer_without_end_ends() {
    let mut meter = meter(vec![point(ENERGY, 0)]);
    let mut step = steps(&meter)[0];
    for turn in 0u8.. {
        assert!(turn < 64);
        let (control, tail) = if turn == 0 { (0xB1, &[][..]) } else { (0xB2, &[turn][..]) };
        read(&meter, step, &frame(control, &[&[0, 0xFF, 1, 0, 1, 0, 0, 0], tail].concat()));
        let mut more = Vec::new();
        meter.follow_up(step, &mut more);
        let Some(&next) = more.first() else { break };
        step = next;
    }
}

#[test]
fn a_block_that_the_meter_does_not_have_is_read_item_by_item_from_then_on() {
    let mut meter = meter(vec![point(0x0201_FF00, 0), point(0x0201_FF00, 2)]);
    let block = steps(&meter)[0];
    let mut instead = Vec::new();
    meter.refused(block, 0x04, &mut instead);
    assert_eq!(instead, [], "a password is no reason");
    meter.refused(block, 0x02, &mut instead);
    assert_eq!(steps(&meter), instead);
    assert_eq!(sent(&meter, instead[1])[14..18], [0x33, 0x36, 0x34, 0x35], "phase C");
    assert_eq!(read(&meter, instead[1], &frame(0x91, &[0, 3, 1, 2, 0x94, 0x23])).1, ["239.4"]);
}

#[test]
fn a_short_address_takes_the_real_one_in_the_reply() {
    let any = MeterSettings { address: Address::parse("AAAAAAAA1234").unwrap(), ..settings() };
    let meter = Dlt645Meter::new(any, vec![point(0x0201_0100, 0)], &[vec![PointIx(0)]]);
    assert_eq!(sent(&meter, StepId(0)), hex("FEFEFEFE683412AAAAAAAA68110433343435A316"));
    assert_eq!(read(&meter, StepId(0), &frame(0x91, &[0, 1, 1, 2, 1, 0x23])).1, ["230.1"]);
}

fn call(command: &str, argument: Argument) -> Action {
    Action::Call { command: Name::new(command).unwrap(), channel: None, argument }
}

fn noon() -> LocalTime {
    LocalTime::new(2026, 11, 23, 12, 0, 0).unwrap()
}

#[test]
fn supply_is_cut_only_with_a_deadline_a_password_and_a_whole_address() {
    let mut meter = meter(vec![]);
    let mut begun = Vec::new();
    let why = |meter: &mut Dlt645Meter, action: &Action| meter.begin(action, &mut Vec::new()).unwrap_err().to_string();
    assert!(why(&mut meter, &call("trip", Argument::None)).ends_with("until which the meter may obey"));
    let until = Argument::At(noon());
    meter.begin(&call("trip", until), &mut begun).unwrap();
    assert_eq!(sent(&meter, begun[0]), hex("FEFEFEFE68341200000000681C1035896745343333334D333333455644599716"));
    assert!(!meter.shape(begun[0]).repeatable && meter.shape(begun[1]).repeatable);
    let bare = MeterSettings { access: None, ..settings() };
    assert!(why(&mut Dlt645Meter::new(bare, vec![], &[]), &call("trip", until)).contains("no password"));
    let any = MeterSettings { address: Address::ANY, ..settings() };
    assert!(why(&mut Dlt645Meter::new(any, vec![], &[]), &call("trip", until)).contains("whole address"));
    let old = MeterSettings { edition: Edition::V1997, ..settings() };
    assert!(why(&mut Dlt645Meter::new(old, vec![], &[]), &call("trip", until)).contains("1997"));
}

/// A line with one meter on a socket, and the bytes that it sends next.
struct Bench {
    line: Line,
    now: gatehouse_core::Mono,
}

impl Bench {
    fn new(action: Action) -> Self {
        Bench::with(vec![], action)
    }

    fn with(points: Vec<Dlt645Point>, action: Action) -> Self {
        let now = gatehouse_core::Mono::from_millis(1000);
        let device = LineDevice {
            ix: gatehouse_core::DeviceIx(0),
            settings: DeviceSettings { intervals: vec![], timeout_ceiling: None, characters: None, pauses_with: None },
            driver: Box::new(Dlt645Meter::new(settings(), points, &[])),
        };
        let mut line = Line::new(LineSettings::new(Medium::RtuOverTcp), vec![device], 1, now);
        line.handle_opened(now);
        let expires = now + Duration::from_secs(10);
        line.handle_command(now, Command { id: 1, device: gatehouse_core::DeviceIx(0), action, expires });
        Bench { line, now }
    }

    fn sends(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let sent = self.line.poll_transmit(self.now, &mut bytes);
        self.line.handle_sent(self.now);
        sent.then_some(bytes)
    }

    fn hears(&mut self, bytes: &[u8]) {
        self.now = self.now + Duration::from_millis(50);
        self.line.handle_bytes(self.now, bytes);
    }

    fn result(&mut self) -> CommandResult {
        while let Some(output) = self.line.poll_output() {
            if let Output::CommandDone { result, .. } = output {
                return result;
            }
        }
        panic!("the command is not done");
    }
}

#[test]
fn a_trip_is_verified_by_the_relay_and_told_apart_from_one_that_waits() {
    for (word, verified) in [([0x50, 0], true), ([0x40, 0], false), ([0, 0], false)] {
        let mut bench = Bench::new(call("trip", Argument::At(noon())));
        assert_eq!(bench.sends().unwrap()[12], 0x1C);
        bench.hears(&frame(0x9C, &[]));
        assert_eq!(bench.sends().unwrap()[14..18], [0x36, 0x38, 0x33, 0x37], "status word 3");
        bench.hears(&frame(0x91, &[3, 5, 0, 4, word[0], word[1]]));
        match bench.result() {
            CommandResult::Verified(_) => assert!(verified),
            CommandResult::Acknowledged(Some(Ok(state))) => assert!(!verified && state.to_string() != "open"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_refused_trip_has_failed_with_the_meters_reason() {
    let mut bench = Bench::new(call("trip", Argument::At(noon())));
    bench.sends().unwrap();
    bench.hears(&frame(0xDC, &[0x10, 0]));
    assert_eq!(bench.result(), CommandResult::Failed(NoData::Exception(0x84)));
}

#[test]
fn the_time_is_broadcast_after_a_look_at_the_meters_clock() {
    let now = LocalTime::new(2026, 11, 23, 10, 35, 7).unwrap();
    for (minute, is_set) in [(0x36, true), (0x45, false)] {
        let mut bench = Bench::new(call("broadcast_time", Argument::At(now)));
        bench.sends().unwrap();
        bench.hears(&frame(0x91, &[1, 1, 0, 4, 1, 0x23, 0x11, 0x26]));
        bench.sends().unwrap();
        bench.hears(&frame(0x91, &[2, 1, 0, 4, 7, minute, 0x10]));
        if !is_set {
            assert_eq!(bench.result(), CommandResult::Failed(NoData::OutOfRange));
            continue;
        }
        assert_eq!(bench.sends().unwrap(), hex("FEFEFEFE689999999999996808063A68435644594C16"));
        bench.now = bench.now + Duration::from_secs(1);
        bench.line.handle_timeout(bench.now);
        assert_eq!(bench.result(), CommandResult::Sent);
    }
}

#[test]
fn text_items_read_as_text() {
    let number = Dlt645Point { format: Format::Digits { bytes: 6 }, ..point(0x0400_0402, 0) };
    let meter = meter(vec![number]);
    let (_, values) = read(&meter, StepId(0), &frame(0x91, &[2, 4, 0, 4, 1, 0, 0x60, 0x15, 0, 0]));
    assert_eq!(values, ["000015600001"]);
}

#[test]
fn the_time_is_broadcast_as_of_its_sending() {
    let asked = LocalTime::new(2026, 11, 23, 10, 35, 7).unwrap();
    let mut bench = Bench::new(call("broadcast_time", Argument::At(asked)));
    bench.sends().unwrap();
    bench.now = bench.now + Duration::from_millis(900);
    bench.hears(&frame(0x91, &[1, 1, 0, 4, 1, 0x23, 0x11, 0x26]));
    bench.sends().unwrap();
    bench.now = bench.now + Duration::from_millis(900);
    bench.hears(&frame(0x91, &[2, 1, 0, 4, 7, 0x36, 0x10]));
    let sent = bench.sends().unwrap();
    let (set, _) = frame::Frame::find(&sent, false).unwrap();
    assert_eq!(set.data(), [0x08, 0x35, 0x10, 0x23, 0x11, 0x26], "1.9 s later");
}

#[test]
fn a_broadcast_of_another_meters_driver_counts_as_todays() {
    let asked = LocalTime::new(2026, 11, 23, 10, 35, 7).unwrap();
    let mut broadcast = Vec::new();
    encode(4, Address::BROADCAST, function::SET_TIME, &[&set_time_data(noon())], &mut broadcast);
    for (heard, is_set) in [(&[][..], true), (&broadcast, false)] {
        let mut meter = meter(vec![]);
        meter.overheard(heard);
        let mut begun = Vec::new();
        meter.begin(&call("broadcast_time", Argument::At(asked)), &mut begun).unwrap();
        let mut more = Vec::new();
        for (step, data) in begun.iter().zip([&[1, 1, 0, 4, 1, 0x23, 0x11, 0x26][..], &[2, 1, 0, 4, 7, 0x36, 0x10]]) {
            read(&meter, *step, &frame(0x91, data));
            meter.follow_up(*step, &mut more);
        }
        assert_eq!(!more.is_empty(), is_set);
    }
}

#[test]
fn a_date_in_place_of_the_time_is_no_clock() {
    let mut meter = meter(vec![]);
    let mut begun = Vec::new();
    meter.begin(&call("broadcast_time", Argument::At(noon())), &mut begun).unwrap();
    let (_, values) = read(&meter, begun[0], &frame(0x91, &[1, 1, 0, 4, 0, 0, 0x12]));
    assert_eq!(values, ["bad_reply"], "three bytes are no date");
    let (_, values) = read(&meter, begun[1], &frame(0x91, &[2, 1, 0, 4, 1, 0x23, 0x11, 0x26]));
    assert_eq!(values, ["bad_reply"], "four bytes are no time");
}

#[test]
fn a_meter_says_who_it_is_by_name_and_one_of_1997_has_no_address_to_read() {
    let asks = |edition, address| {
        let mut meter = Dlt645Meter::new(MeterSettings { edition, address, ..settings() }, vec![], &[]);
        let mut begun = Vec::new();
        meter.begin(&Action::Identify, &mut begun).unwrap();
        let mut points = Vec::new();
        begun.iter().for_each(|step| meter.points(*step, &mut points));
        points.into_iter().map(|point| object_name(point.0).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(asks(Edition::V2007, Address::ANY), ["address", "meter_number", "asset_code"]);
    assert_eq!(asks(Edition::V2007, METER), ["meter_number", "asset_code"]);
    assert_eq!(asks(Edition::V1997, Address::ANY), ["meter_number"]);
}

/// A meter on a serial line of 2400 8E1, and what it was asked last.
fn serial(points: Vec<Dlt645Point>) -> (Line, gatehouse_core::Mono) {
    let now = gatehouse_core::Mono::from_millis(1000);
    let wire = crate::line::Wire { baud: 2400, char_bits: 11, echo: crate::line::Echo::Off, silence: None };
    let intervals = vec![Duration::from_secs(10)];
    let settings = DeviceSettings { intervals, timeout_ceiling: None, characters: None, pauses_with: None };
    let device = LineDevice { ix: gatehouse_core::DeviceIx(0), settings, driver: Box::new(meter(points)) };
    let mut line = Line::new(LineSettings::new(Medium::Serial(wire)), vec![device], 1, now);
    line.handle_opened(now);
    (line, now)
}

/// Waits for the next request, and for its end on the wire.
fn asked(line: &mut Line, now: &mut gatehouse_core::Mono) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !line.poll_transmit(*now, &mut bytes) {
        *now = line.poll_timeout().unwrap().0;
        line.handle_timeout(*now);
    }
    *now = *now + Duration::from_nanos(4_583_333 * bytes.len() as u64);
    line.handle_sent(*now);
    bytes
}

#[test]
fn a_learned_timeout_cuts_no_frame_that_is_still_coming() {
    let (mut line, mut now) = serial(vec![point(ENERGY, 0)]);
    let short = frame(0x91, &[&[0, 0xFF, 1, 0][..], &[0x12, 0, 0, 0]].concat());
    let long = frame(0x91, &[&[0, 0xFF, 1, 0][..], &[0x12, 0, 0, 0].repeat(49)].concat());
    for (turn, reply) in [&short, &short, &short, &long].into_iter().enumerate() {
        asked(&mut line, &mut now);
        now = now + Duration::from_millis(30);
        for piece in reply.chunks(16) {
            let comes = now + Duration::from_nanos(4_583_333 * piece.len() as u64);
            while let Some((at, _)) = line.poll_timeout().filter(|(at, _)| *at < comes) {
                line.handle_timeout(at);
                assert_eq!(line.stats().bad_replies + line.stats().timeouts, 0, "cut in turn {turn}");
            }
            now = comes;
            line.handle_bytes(now, piece);
        }
        assert_eq!(line.stats().replies, turn as u64 + 1);
    }
}

#[test]
fn a_late_reply_to_a_poll_from_before_a_trip_proves_nothing() {
    let (mut line, mut now) = serial(vec![point(0x0400_0503, 0)]);
    let status = |open: u8| frame(0x91, &[3, 5, 0, 4, open, 0]);
    for _ in 0..2 {
        asked(&mut line, &mut now);
        now = now + Duration::from_millis(200);
        line.handle_bytes(now, &status(0));
    }
    // A poll of the same word is given up, also when repeated; its reply is under way.
    asked(&mut line, &mut now);
    while line.stats().timeouts == 0 {
        now = line.poll_timeout().unwrap().0;
        line.handle_timeout(now);
    }
    let (given_up, action) = (now, call("trip", Argument::At(noon())));
    let expires = now + Duration::from_secs(30);
    line.handle_command(now, Command { id: 1, device: gatehouse_core::DeviceIx(0), action, expires });
    assert_eq!(asked(&mut line, &mut now)[12], 0x1C);
    assert!(line.frames().last().unwrap().bytes().is_empty(), "the password is in no trace");
    now = now + Duration::from_millis(150);
    line.handle_bytes(now, &frame(0x9C, &[]));
    let proof = loop {
        let request = asked(&mut line, &mut now);
        if request[12] == 0x11 {
            break now;
        }
    };
    assert!(proof.since(given_up) > Duration::from_secs(1), "the late reply had its time: {:?}", proof.since(given_up));
}
