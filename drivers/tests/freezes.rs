//! A week of daily freezes of 32 meters on one line of 2400 baud, fetched at the pace of the billing machine while the polls
//! go on, at wire speed.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatehouse_core::driver::{Action, FREEZE_TIME};
use gatehouse_core::{DeviceIx, Mono, PointIx, Value};
use gatehouse_drivers::dlt645::{Address, Dlt645Meter, Dlt645Point, Edition, Format, MeterSettings, encode};
use gatehouse_drivers::line::settings::{Echo, LineSettings, Medium, Wire};
use gatehouse_drivers::line::{Command, CommandResult, DeviceSettings, Line, LineDevice, Output};

const METERS: u32 = 32;
const DAYS: u8 = 7;
/// As `gatehouse_rules::billing` paces it.
const PACE: Duration = Duration::from_secs(8);
const INTERVAL: Duration = Duration::from_secs(60);
const TURNAROUND: Duration = Duration::from_millis(120);
const WIRE: Wire = Wire { baud: 2400, char_bits: 11, echo: Echo::Off, silence: None };

fn number(di: u32, item: u8, bytes: u8, places: u8) -> Dlt645Point {
    let format = Format::Number { bytes, places, signed: false };
    Dlt645Point { edition: Edition::V2007, di, item, item_bytes: bytes, offset: 0, format, bit: None }
}

fn address(meter: u32) -> [u8; 6] {
    [u8::try_from(meter / 10 * 16 + meter % 10).unwrap(), 0x10, 0, 0, 0, 0]
}

fn device(meter: u32) -> LineDevice {
    let tariffs = (0..5).map(|tariff| number(0x0001_FF00, tariff, 4, 2));
    let voltages = (0..3).map(|phase| number(0x0201_FF00, phase, 2, 1));
    let points: Vec<_> = tariffs.chain(voltages).chain([number(0x0280_0002, 0, 2, 2)]).collect();
    let group = (0..9).map(PointIx).collect();
    let address = Address::from_wire(address(meter));
    let pause = Duration::from_millis(20);
    let settings = MeterSettings { edition: Edition::V2007, address, preamble: 4, pause, access: None };
    LineDevice {
        ix: DeviceIx(meter),
        settings: DeviceSettings {
            intervals: vec![INTERVAL],
            timeout_ceiling: None,
            characters: None,
            pauses_with: None,
        },
        driver: Box::new(Dlt645Meter::new(settings, points, &[group])),
    }
}

/// What a meter answers: 4321.00 and the meter's number at each register, frozen the day of November that is asked for.
fn answer(request: &[u8]) -> Vec<u8> {
    let at = request.iter().position(|byte| *byte == 0x68).unwrap();
    let wire: [u8; 6] = request[at + 1..at + 7].try_into().unwrap();
    let di: Vec<u8> = request[at + 10..at + 14].iter().map(|byte| byte.wrapping_sub(0x33)).collect();
    let data: Vec<u8> = match di[..] {
        [0, 0xFF, 1, 0] => [wire[0], 0, 0x21, 0x43].repeat(5),
        [0, 0xFF, 1, 2] => [0x00, 0x23].repeat(3),
        [2, 0, 0x80, 2] => vec![0x00, 0x50],
        [back, 0, 6, 5] => vec![0, 0, 0x20 + 8 - back, 0x11, 0x26],
        [back, 1, 6, 5] => [back, wire[0], 0x21, 0x43].repeat(5),
        _ => panic!("{di:02X?}"),
    };
    let mut bytes = Vec::new();
    encode(0, Address::from_wire(wire), 0x91, &[&di, &data], &mut bytes);
    bytes
}

#[derive(Default)]
struct Seen {
    samples: BTreeMap<DeviceIx, u64>,
    recalled: BTreeMap<u64, String>,
    last: Mono,
}

fn take(line: &mut Line, seen: &mut Seen) {
    while let Some(output) = line.poll_output() {
        match output {
            Output::Sample { device, readings, .. } => {
                assert!(readings.iter().all(|reading| reading.value.is_ok()), "{device:?}: {readings:?}");
                *seen.samples.entry(device).or_default() += 1;
            }
            Output::CommandDone { id, at, result: CommandResult::Read(readings) } => {
                let text = |point: PointIx| {
                    let found = readings.iter().find(|reading| reading.point == point).unwrap();
                    found.value.as_ref().map(Value::to_string).unwrap()
                };
                seen.recalled.insert(id, format!("{} {}", text(FREEZE_TIME), text(PointIx(0))));
                seen.last = at;
            }
            Output::CommandDone { result, .. } => panic!("{result:?}"),
            Output::DeviceState { .. } | Output::ClosePort { .. } | Output::Characters { .. } => {}
        }
    }
}

#[test]
fn a_week_of_32_meters_at_2400_baud_is_there_within_the_hour_and_no_poll_is_late() {
    let start = Mono::from_millis(1000);
    let mut now = start;
    let mut line = Line::new(LineSettings::new(Medium::Serial(WIRE)), (0..METERS).map(device).collect(), 1, now);
    line.handle_opened(now);
    let wanted = (0..METERS).flat_map(|meter| (1..=DAYS).map(move |back| (meter, back)));
    let mut wanted: VecDeque<(u32, u8)> = wanted.collect();
    let mut next_command = now + 2 * INTERVAL;
    let mut sent_at: Option<Mono> = None;
    let mut replies: VecDeque<(Mono, u8)> = VecDeque::new();
    let mut seen = Seen::default();
    let end = start + Duration::from_secs(3600);
    while now < end {
        let command = if wanted.is_empty() { end } else { next_command };
        let wake = line.poll_timeout().map_or(end, |(at, _)| at);
        let reply = replies.front().map_or(end, |(at, _)| *at);
        now = now.max([wake, command, reply, sent_at.unwrap_or(end), end].into_iter().min().unwrap());
        if sent_at.is_some_and(|at| at <= now) {
            sent_at = None;
            line.handle_sent(now);
        }
        if replies.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, byte)) = replies.pop_front()
        {
            line.handle_bytes(now, &[byte]);
        }
        if command <= now
            && let Some((meter, back)) = wanted.pop_front()
        {
            let points = (0..5).map(PointIx).collect();
            let (id, device) = (u64::from(meter) * 100 + u64::from(back), DeviceIx(meter));
            let expires = now + Duration::from_secs(30);
            line.handle_command(now, Command { id, device, action: Action::Recall { points, back }, expires });
            next_command = now + PACE;
        }
        line.handle_timeout(now);
        let mut bytes = Vec::new();
        if line.poll_transmit(now, &mut bytes) {
            let sent = now + WIRE.chars(bytes.len());
            sent_at = Some(sent);
            let answered = answer(&bytes);
            let at = |place: usize| sent + TURNAROUND + WIRE.chars(place + 1);
            replies.extend(answered.into_iter().enumerate().map(|(place, byte)| (at(place), byte)));
        }
        take(&mut line, &mut seen);
    }
    assert_eq!(seen.recalled.len(), 224);
    assert_eq!(seen.recalled[&1207], "2026-11-21T00:00 432112.07", "meter 12, seven midnights before the 28th");
    let took = seen.last.since(start);
    assert!(took < Duration::from_secs(2000), "{took:?}");
    assert_eq!(line.stats().timeouts, 0);
    for meter in 0..METERS {
        let polls = seen.samples[&DeviceIx(meter)];
        assert!((59..=61).contains(&polls), "meter {meter} was polled {polls} times in the hour");
    }
}
