use gatehouse_core::driver::Argument;
use gatehouse_core::{Name, NoData};

use super::*;
use crate::cjt188::frame::encode;
use crate::cjt188::layout::Field;
use crate::cjt188::settings::{DiOrder, Edition, MeterType, Traits};
use crate::line::{Command, CommandResult, DeviceSettings, Line, LineDevice, LineSettings, Medium, Output};

const METER: Address = Address::from_wire([1, 0, 0, 0, 0, 0, 0]);

fn settings() -> MeterSettings {
    MeterSettings {
        edition: Edition::V2004,
        address: METER,
        preamble: 3,
        pause: Duration::ZERO,
        traits: Traits { valve_travel: Duration::from_secs(15), ..Traits::default() },
    }
}

fn point(di: u16, field: Field) -> Cjt188Point {
    Cjt188Point { di, ..Cjt188Point::usual(Edition::V2004, field) }
}

fn meter(points: Vec<Cjt188Point>) -> Cjt188Meter {
    let group = (0..).map(PointIx).take(points.len()).collect();
    Cjt188Meter::new(settings(), points, &[group])
}

fn steps(meter: &Cjt188Meter) -> Vec<StepId> {
    let mut steps = Vec::new();
    meter.group_steps(0, &mut steps);
    steps
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn frame(control: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(3, (MeterType::COLD_WATER, METER), control, &[data], &mut bytes);
    bytes
}

fn sent(meter: &Cjt188Meter, step: StepId, tag: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    meter.encode(step, tag, &mut bytes);
    assert_eq!(bytes.len(), meter.shape(step).request_bytes);
    bytes
}

fn read(meter: &Cjt188Meter, step: StepId, bytes: &[u8]) -> (Decoded, Vec<String>) {
    let mut readings = Vec::new();
    let verdict = meter.decode(step, 0, bytes, &mut readings);
    let text = |reading: PointReading| reading.value.map_or_else(|why| why.to_string(), |value| value.to_string());
    (verdict, readings.into_iter().map(text).collect())
}

#[test]
fn what_one_identifier_gives_comes_with_one_request() {
    use Field::{BatteryLow, Clock, CurrentVolume, SettlementVolume, Value, Valve};
    let fields = [CurrentVolume, SettlementVolume, Clock, Valve, BatteryLow];
    let mut points: Vec<_> = fields.into_iter().map(|field| point(di::METERING, field)).collect();
    points.push(point(0xD120, Value));
    let meter = meter(points);
    let steps = steps(&meter);
    assert_eq!(steps.len(), 2);
    assert_eq!(sent(&meter, steps[0], 9), hex("FEFEFE68100100000000000001031F90002C16"));
    // cj-s-02 of the vectors.
    let reply = hex("FEFEFE68100100000000000081161F9000341200002C000000002C000000010126200100A616");
    let (verdict, values) = read(&meter, steps[0], &reply);
    assert_eq!(verdict, Decoded::Reply { bytes: reply.len() });
    assert_eq!(values, ["12.34", "0.00", "2026-01-01T00:00:00", "closed", "false"]);
    let mut readings = Vec::new();
    meter.decode(steps[0], 0, &reply, &mut readings);
    assert_eq!(readings[0].raw.bytes(), [0x34, 0x12, 0, 0], "the volume's bytes, without its unit");
    let mut month = hex("FEFEFE681001000000000000810820D101111100002C4216");
    assert_eq!(read(&meter, steps[1], &month).1, ["11.11"]);
    month[14] = 0x30;
    assert_eq!(read(&meter, steps[1], &month).1, [""; 0], "a damaged frame has no value");
}

#[test]
fn a_short_reply_has_the_volume_and_nothing_else() {
    let meter = meter(vec![point(di::METERING, Field::CurrentVolume), point(di::METERING, Field::Valve)]);
    let reply = hex("FEFEFE68100100000000000081081F9000341200002C2316");
    assert_eq!(read(&meter, StepId(0), &reply).1, ["12.34", "not_available"]);
}

#[test]
fn a_reply_of_another_meter_kind_identifier_order_or_number_is_skipped_whole() {
    let meter = meter(vec![point(di::METERING, Field::CurrentVolume)]);
    let data = [0x1F, 0x90, 0, 0x34, 0x12, 0, 0, 0x2C];
    let skips = |bytes: &[u8], why| {
        assert_eq!(read(&meter, StepId(0), bytes), (Decoded::Skip { bytes: bytes.len(), why }, vec![]));
    };
    let other = |kind, address| {
        let mut bytes = Vec::new();
        encode(0, (kind, address), 0x81, &[&data], &mut bytes);
        bytes
    };
    skips(&other(MeterType::COLD_WATER, Address::from_wire([2, 0, 0, 0, 0, 0, 0])), Reject::AddressMismatch);
    skips(&other(MeterType(0x11), METER), Reject::AddressMismatch);
    skips(&frame(0x81, &[0x90, 0x1F, 0, 0x34, 0x12, 0, 0, 0x2C]), Reject::EchoMismatch);
    skips(&frame(0x81, &[0x1F, 0x90, 1, 0x34, 0x12, 0, 0, 0x2C]), Reject::EchoMismatch);
    skips(&frame(0x84, &data), Reject::UnexpectedFunction);
    skips(&frame(0x01, &data), Reject::UnexpectedFunction);
    assert_eq!(read(&meter, StepId(0), &frame(0x81, &data)).1, ["12.34"]);
    assert!(matches!(read(&meter, StepId(0), &frame(0xC1, &[0, 2, 0])).0, Decoded::Exception { code: 2, .. }));
}

#[test]
fn a_meter_that_is_alone_is_asked_for_its_kind_and_address() {
    let traits = Traits { meter_type: MeterType::ANY, di_order: DiOrder::HighFirst, ..Traits::default() };
    let anyone = MeterSettings { address: Address::ANY, preamble: 0, traits, ..settings() };
    let mut meter = Cjt188Meter::new(anyone, vec![], &[]);
    let mut steps = Vec::new();
    meter.begin(&Action::Identify, &mut steps).unwrap();
    assert_eq!(sent(&meter, steps[0], 0), hex("68AAAAAAAAAAAAAAAA0303810A004916"));
    let (_, values) = read(&meter, steps[0], &hex("FEFEFE6810120000000000008303810A009B16"));
    assert_eq!(values, ["10", "00000000000012"]);
    let why = meter.begin(&call("valve_close", Argument::None), &mut steps).unwrap_err();
    assert!(why.to_string().contains("whole address"), "{why}");
    let known = &mut Cjt188Meter::new(settings(), vec![], &[]);
    assert_eq!(known.begin(&Action::Identify, &mut steps), Err(ActionError::Unsupported));
}

fn call(command: &str, argument: Argument) -> Action {
    Action::Call { command: Name::new(command).unwrap(), channel: None, argument }
}

/// A line with one meter on a socket, and the bytes that it sends next.
struct Bench {
    line: Line,
    now: gatehouse_core::Mono,
}

impl Bench {
    fn new(action: Action) -> Self {
        let now = gatehouse_core::Mono::from_millis(1000);
        let device = LineDevice {
            ix: gatehouse_core::DeviceIx(0),
            settings: DeviceSettings { intervals: vec![], timeout_ceiling: None, characters: None, pauses_with: None },
            driver: Box::new(Cjt188Meter::new(settings(), vec![], &[])),
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

    /// What is sent once the line has waited as long as it wants to.
    fn sends_later(&mut self) -> Option<Vec<u8>> {
        for _ in 0..20 {
            if let Some(bytes) = self.sends() {
                return Some(bytes);
            }
            self.now = self.now + Duration::from_secs(1);
            self.line.handle_timeout(self.now);
        }
        None
    }

    /// Hears the answer to a request: its serial number is put in.
    fn hears(&mut self, request: &[u8], control: u8, head: [u8; 2], payload: &[u8]) {
        let ser = request[3 + 11 + 2];
        self.now = self.now + Duration::from_millis(50);
        self.line.handle_bytes(self.now, &frame(control, &[&head[..], &[ser], payload].concat()));
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

const VALVE: [u8; 2] = [0x17, 0xA0];
const METERING: [u8; 2] = [0x1F, 0x90];

/// A reply of 901F with this status.
fn now(status: u8) -> Vec<u8> {
    hex(&format!("341200002C000000002C00000001012620{status:02X}00"))
}

#[test]
fn a_valve_is_told_once_and_looked_at_until_it_is_there() {
    let mut bench = Bench::new(call("valve_close", Argument::None));
    let told = bench.sends().unwrap();
    assert_eq!((told[12], told[13], told[17]), (0x04, 4, 0x99));
    bench.hears(&told, 0x84, VALVE, &[0, 0]);
    assert_eq!(bench.sends(), None, "it travels");
    for status in [0x00, 0x02] {
        let look = bench.sends_later().unwrap();
        assert_eq!(look[12..16], [0x01, 3, 0x1F, 0x90]);
        bench.hears(&look, 0x81, METERING, &now(status));
    }
    let look = bench.sends_later().unwrap();
    bench.hears(&look, 0x81, METERING, &now(0x01));
    assert_eq!(bench.result(), CommandResult::Verified(Value::Text("closed".into())));
}

#[test]
fn a_valve_that_does_not_arrive_is_not_confirmed_and_is_not_told_again() {
    let mut bench = Bench::new(call("valve_open", Argument::None));
    let told = bench.sends().unwrap();
    bench.hears(&told, 0x84, VALVE, &[1, 0]);
    let mut looks = 0;
    while let Some(look) = bench.sends_later() {
        assert_eq!(look[12], 0x01, "only looks");
        bench.hears(&look, 0x81, METERING, &now(0x01));
        looks += 1;
        assert!(looks < 10, "it ends");
    }
    assert_eq!(looks, 3, "15 s of travel, a look each 5 s");
    assert_eq!(bench.result(), CommandResult::Acknowledged(Some(Ok(Value::Text("closed".into())))));
}

#[test]
fn a_valve_that_does_not_answer_is_looked_at_and_proved_all_the_same() {
    let mut bench = Bench::new(call("valve_close", Argument::None));
    bench.sends().unwrap();
    bench.now = bench.now + Duration::from_secs(5);
    bench.line.handle_timeout(bench.now);
    // A silent reply closes the socket.
    bench.line.handle_closed(bench.now);
    bench.line.handle_opened(bench.now);
    let look = bench.sends_later().unwrap();
    assert_eq!(look[12], 0x01, "the order is not repeated");
    bench.hears(&look, 0x81, METERING, &now(0x01));
    assert!(matches!(bench.result(), CommandResult::Verified(_)));
}

#[test]
fn a_refused_valve_has_failed_with_the_meters_reason() {
    let mut bench = Bench::new(call("valve_close", Argument::None));
    bench.sends().unwrap();
    bench.now = bench.now + Duration::from_millis(50);
    bench.line.handle_bytes(bench.now, &frame(0xC4, &[0x03]));
    assert_eq!(bench.result(), CommandResult::Failed(NoData::Exception(3)));
}

#[test]
fn a_clock_is_set_and_proved_by_reading_it() {
    let at = LocalTime::new(2026, 11, 23, 10, 35, 7).unwrap();
    for (minute, verified) in [(0x35, true), (0x45, false)] {
        let mut bench = Bench::new(call("set_time", Argument::At(at)));
        let told = bench.sends().unwrap();
        assert_eq!(told[17..24], [0x07, 0x35, 0x10, 0x23, 0x11, 0x26, 0x20]);
        bench.hears(&told, 0x84, [0x15, 0xA0], &[0, 0]);
        let look = bench.sends_later().unwrap();
        let mut shown = now(0);
        shown[10..17].copy_from_slice(&[0x09, minute, 0x10, 0x23, 0x11, 0x26, 0x20]);
        bench.hears(&look, 0x81, METERING, &shown);
        assert_eq!(matches!(bench.result(), CommandResult::Verified(_)), verified);
    }
}

#[test]
fn commands_that_do_not_fit_are_refused_with_the_reason() {
    let why = |action: &Action| meter(vec![]).begin(action, &mut Vec::new()).unwrap_err().to_string();
    assert!(why(&call("valve_close", Argument::On(true))).contains("no argument"));
    assert!(why(&call("set_time", Argument::None)).contains("the time"));
    assert!(why(&call("trip", Argument::None)).contains("no command"));
}

#[test]
fn a_request_is_known_whomever_it_is_for_and_an_answer_is_none() {
    let meter = meter(vec![point(0x901F, Field::CurrentVolume)]);
    let request = sent(&meter, steps(&meter)[0], 0);
    assert!(meter.is_request(&request));
    assert!(!meter.is_request(&frame(0x81, &[0x1F, 0x90, 0])));
}
