//! Scans of a socket: no line settings, transactions, and gateways that answer for units that are not there.

use std::collections::VecDeque;
use std::time::Duration;

use gatehouse_core::Mono;

use crate::modbus::frame::Framing;
use crate::modbus::pdu::{Reply, Request};
use crate::modbus::point::Table;
use crate::modbus::{ReplyFrame, RequestFrame, decode_request};
use crate::scan::{Channel, End, Finding, Found, Options, Plan, Scan, Station, Want};

/// What a host does about a request.
enum Does {
    /// It answers after so many milliseconds of work. It works at one request at a time.
    Answer(u64, Reply),
    /// It sends these bytes instead.
    Bytes(&'static [u8]),
    /// It closes the connection, with an answer before that or without.
    Close(Option<Reply>),
    Nothing,
}

struct Outcome {
    found: Vec<Found>,
    requests: usize,
    /// How often each unit was asked for holding register 0.
    asked: [usize; 256],
    took: Duration,
    /// What it turned out to be.
    channel: Channel,
    /// Requests that were no Modbus TCP, and connections made anew for them or after them.
    strange: usize,
    reopened: usize,
}

impl Outcome {
    fn units(&self) -> Vec<u8> {
        let unit = |found: &Found| match found.station {
            Station::Modbus(unit) => unit,
            other => panic!("{other:?}"),
        };
        let mut units: Vec<u8> = self.found.iter().map(unit).collect();
        units.sort_unstable();
        units
    }
}

fn frame(asked: &RequestFrame, reply: Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = ReplyFrame { transaction: asked.transaction, unit: asked.unit, reply };
    frame.encode(Framing::Tcp, &mut bytes);
    bytes
}

/// Scans a host that does so about a read of holding register 0, by unit and by how often that unit was asked for it before.
/// The rest it refuses at once.
fn scan(addresses: Option<(u8, u8)>, does: impl Fn(u8, usize) -> Does) -> Outcome {
    let options = Options { addresses, ..Options::default() };
    run(Plan::new(Channel::Tcp, &options), does)
}

/// The same of a host of which nobody said what it is. What is no Modbus TCP it passes over.
fn scan_unknown(addresses: Option<(u8, u8)>, does: impl Fn(u8, usize) -> Does) -> Outcome {
    let options = Options { addresses, ..Options::default() };
    run(Plan::of_socket(&options), does)
}

fn run(plan: Plan, does: impl Fn(u8, usize) -> Does) -> Outcome {
    let mut scan = Scan::new(plan, Duration::from_secs(2));
    let (mut strange, mut reopened) = (0, 0);
    let (mut now, mut busy, mut requests) = (0u64, 0u64, 0);
    let mut asked_before = [0usize; 256];
    let mut coming: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
    for _ in 0..400_000 {
        match scan.poll_want(Mono(now)) {
            Want::Switch(characters) => panic!("a socket has no {characters}"),
            Want::Reopen => {
                reopened += 1;
                coming.clear();
                scan.handle_reopened(Mono(now));
            }
            Want::Wait(until) => match coming.front() {
                Some((at, _)) if *at <= until.0 => {
                    let (at, bytes) = coming.pop_front().unwrap();
                    now = now.max(at);
                    scan.handle_bytes(Mono(now), &bytes);
                }
                Some(_) | None => now = until.0,
            },
            Want::End(end) => {
                assert_eq!(end, End::Finished);
                let device = |finding: &Finding| match finding {
                    Finding::Found(found) => found.clone(),
                    Finding::Clash(clash) => panic!("{clash}"),
                };
                let found = scan.findings().iter().map(device).collect();
                let (channel, took) = (scan.channel(), Duration::from_nanos(now));
                return Outcome { found, requests, asked: asked_before, took, channel, strange, reopened };
            }
            Want::Send(bytes) => {
                scan.handle_sent(Mono(now));
                requests += 1;
                let Ok(asked) = decode_request(Framing::Tcp, &bytes) else {
                    strange += 1;
                    continue;
                };
                let done = match asked.request {
                    Request::Read { table: Table::Holding, address: 0, quantity: 1 } => {
                        let before = &mut asked_before[usize::from(asked.unit)];
                        *before += 1;
                        does(asked.unit, *before - 1)
                    }
                    Request::Read { table, .. } => {
                        Does::Answer(2, Reply::Exception { function: table.read_function(), code: 2 })
                    }
                    Request::Identify { .. } => Does::Answer(2, Reply::Exception { function: 43, code: 1 }),
                    ref other => panic!("the scan writes: {other:?}"),
                };
                match done {
                    Does::Answer(ms, reply) => {
                        busy = busy.max(now) + ms * 1_000_000;
                        coming.push_back((busy, frame(&asked, reply)));
                    }
                    Does::Bytes(bytes) => coming.push_back((busy.max(now) + 2_000_000, bytes.to_vec())),
                    Does::Close(reply) => {
                        now += 2_000_000;
                        if let Some(reply) = reply {
                            scan.handle_bytes(Mono(now), &frame(&asked, reply));
                        }
                        coming.clear();
                        scan.handle_reopened(Mono(now));
                    }
                    Does::Nothing => {}
                }
            }
        }
    }
    panic!("the scan makes no progress");
}

fn register() -> Reply {
    Reply::Registers { function: 3, registers: vec![7] }
}

fn refusal(code: u8) -> Reply {
    Reply::Exception { function: 3, code }
}

fn is_any(found: &Found) -> bool {
    found.identity.iter().any(|(name, text)| name == "unit" && text.starts_with("any"))
}

#[test]
fn a_device_that_looks_at_no_unit_is_one_device() {
    let all = scan(None, |_, _| Does::Answer(2, register()));
    assert_eq!((all.units(), is_any(&all.found[0])), (vec![1], true));
    // Also where unit 0 is a broadcast, and where only some units are wanted.
    let not_0 = scan(None, |unit, _| if unit == 0 { Does::Nothing } else { Does::Answer(2, register()) });
    assert_eq!((not_0.units(), is_any(&not_0.found[0])), (vec![1], true));
    let some = scan(Some((5, 12)), |_, _| Does::Answer(2, register()));
    assert_eq!((some.units(), is_any(&some.found[0])), (vec![5], true));
}

#[test]
fn a_gateway_that_answers_for_units_that_are_not_there_has_only_those_that_are() {
    for code in [0x04, 0x0A, 0x0B] {
        let all = scan(None, |unit, _| match unit {
            3 | 9 | 247 => Does::Answer(2, register()),
            // An exception of the device itself.
            20 => Does::Answer(2, refusal(2)),
            _ => Does::Answer(2, refusal(code)),
        });
        assert_eq!(all.units(), [3, 9, 20, 247], "exception {code}");
        assert_eq!(all.found.iter().filter(|one| one.has_register).count(), 3);
    }
    // One that refuses as a device would is told as what it is, and those behind it as well.
    let all = scan(None, |unit, _| match unit {
        3 | 9 => Does::Answer(2, register()),
        _ => Does::Answer(2, refusal(2)),
    });
    assert_eq!(all.units(), [1, 3, 9]);
    assert_eq!(all.found.iter().filter(|one| is_any(one)).count(), 1);
}

#[test]
fn a_gateway_that_is_busy_at_the_units_that_nobody_has_hides_nobody() {
    for code in [5, 6] {
        let all = scan(None, |unit, _| match unit {
            3 | 9 => Does::Answer(2, register()),
            251 | 253 => Does::Answer(2, refusal(code)),
            _ => Does::Answer(2, refusal(0x0B)),
        });
        assert_eq!(all.units(), [3, 9], "exception {code}");
        assert!(all.found.iter().all(|one| !is_any(one)), "exception {code}");
    }
}

#[test]
fn one_word_of_a_gateway_hides_no_low_unit_and_costs_one_question_to_each() {
    for code in [0x04, 0x0B] {
        let all = scan(None, |unit, before| match unit {
            // The gateway lost the first answer of these.
            4 | 32 | 255 if before == 0 => Does::Answer(2, refusal(code)),
            4 | 7 | 32 | 255 => Does::Answer(2, register()),
            _ => Does::Answer(2, refusal(code)),
        });
        assert_eq!(all.units(), [4, 7, 32, 255], "exception {code}");
        println!("{} requests in {:?}", all.requests, all.took);
        assert!(all.asked[..=32].iter().chain([&all.asked[255]]).all(|times| *times <= 8), "{:?}", all.asked);
        // Nobody is at these: they are asked once, and the low ones once more.
        assert!(all.asked[8..32].iter().all(|times| *times == 2), "{:?}", all.asked);
        assert!(all.asked[33..=247].iter().all(|times| *times == 1), "{:?}", all.asked);
    }
}

#[test]
fn a_gateways_word_within_a_trial_is_no_second_kind_of_answer() {
    // Unit 7 answers twice, the second time within its trial, and is gone then; unit 8 is now there, now not.
    for code in [0x04, 0x0A, 0x0B] {
        let all = scan(Some((6, 9)), |unit, before| match (unit, before) {
            (7, 0..=1) => Does::Answer(2, register()),
            (8, _) if before % 2 == 0 => Does::Answer(2, register()),
            _ => Does::Answer(2, refusal(code)),
        });
        assert_eq!(all.units(), [8], "exception {code}");
    }
}

#[test]
fn a_stream_without_frames_and_one_that_is_closed_are_no_clash() {
    let all = scan(Some((1, 9)), |_, _| Does::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    assert!(all.found.is_empty());
    let all = scan(Some((1, 9)), |unit, before| match unit {
        4 => Does::Close(Some(register())),
        // The connection was idle for too long: the question was not even read.
        6 if before == 0 => Does::Close(None),
        6 => Does::Answer(2, register()),
        _ => Does::Close(None),
    });
    assert_eq!(all.units(), [4, 6]);
    assert!(all.requests < 80, "{}: each question is asked again once", all.requests);
}

#[test]
fn a_gateway_that_waits_long_for_who_is_not_there_hides_nobody() {
    // It is asked the next while it still waits, so that its answers come late and later.
    for (absent_ms, code) in [(1000, 0x0B), (2000, 0x0B), (700, 0x0A)] {
        let all = scan(Some((1, 40)), |unit, _| match unit {
            3 | 9 | 33 => Does::Answer(120, register()),
            _ => Does::Answer(absent_ms, refusal(code)),
        });
        assert_eq!(all.units(), [3, 9, 33], "{absent_ms} ms");
        println!("{absent_ms} ms: {} requests in {:?}", all.requests, all.took);
        // Each is asked once, and the 32 low ones once more.
        assert!(all.took < Duration::from_millis(absent_ms * (40 + 32) + 20_000), "{:?}", all.took);
    }
}

#[test]
fn a_slow_device_behind_a_gateway_is_found_in_the_second_pass() {
    let all = scan(Some((1, 40)), |unit, _| match unit {
        // The last that is asked, whose answer nobody waits for in the first pass.
        40 => Does::Answer(2200, register()),
        12 => Does::Answer(1800, register()),
        _ => Does::Nothing,
    });
    assert_eq!(all.units(), [12, 40]);
}

#[test]
fn a_host_that_answers_in_modbus_tcp_is_asked_in_nothing_else() {
    let of = |code: Option<u8>| {
        move |unit: u8, _: usize| match (unit, code) {
            (3 | 200, _) => Does::Answer(2, register()),
            (_, Some(code)) => Does::Answer(1500, refusal(code)),
            (_, None) => Does::Nothing,
        }
    };
    for code in [Some(0x0B), None] {
        let all = scan_unknown(None, of(code));
        assert_eq!((all.units(), all.channel), (vec![3, 200], Channel::Tcp), "{code:?}");
        assert_eq!((all.strange, all.reopened), (0, 0), "{code:?}");
        let said = scan(None, of(code));
        // Before the first pass a unit is asked for that is asked again after it, with more time; and it was listened.
        assert!(all.requests <= said.requests + 1, "{} and {}", all.requests, said.requests);
        assert!(all.took < said.took + Duration::from_secs(6), "{:?} and {:?}", all.took, said.took);
    }
}

#[test]
fn a_gateway_that_says_nothing_of_low_units_is_asked_in_modbus_tcp_again_once_nothing_else_was_heard() {
    let all = scan_unknown(None, |unit, _| if unit == 90 { Does::Answer(2, register()) } else { Does::Nothing });
    assert_eq!((all.units(), all.channel, all.reopened), (vec![90], Channel::Tcp, 2));
    assert!(all.strange > 247, "{}", all.strange);
}
