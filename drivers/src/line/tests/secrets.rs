//! Requests with a password in them.

use gatehouse_core::driver::Argument;
use gatehouse_core::{LocalTime, Name};

use super::*;
use crate::dlt645::{Access, Address, Dlt645Meter, Edition, MeterSettings};
use crate::line::world::device;
use crate::line::{Command, Direction, Verdict};
use crate::modbus::Framing;
use crate::osdp::{OsdpReader, ReaderSettings};

/// A meter whose password is 123456, and its line at the moment when a trip was handed out.
fn tripping(echo: Echo) -> (Line, Vec<u8>, Mono) {
    let settings = MeterSettings {
        edition: Edition::V2007,
        address: Address::parse("000000001234").unwrap(),
        preamble: 2,
        pause: Duration::ZERO,
        access: Some(Access { level: 2, password: 123_456, operator: 1 }),
    };
    let driver = Box::new(Dlt645Meter::new(settings, Vec::new(), &[]));
    let device = DeviceSettings { intervals: Vec::new(), timeout_ceiling: None, characters: None, pauses_with: None };
    let device = LineDevice { ix: DeviceIx(0), settings: device, driver };
    let mut now = Mono::from_millis(1000);
    let settings = LineSettings::new(Medium::Serial(Wire { echo, ..WIRE }));
    let mut line = Line::new(settings, vec![device], 1, now);
    line.handle_opened(now);
    let until = LocalTime::new(2026, 11, 26, 12, 0, 0).unwrap();
    let (command, argument) = (Name::new("trip").unwrap(), Argument::At(until));
    let action = Action::Call { command, channel: None, argument };
    line.handle_command(now, Command { id: 1, device: DeviceIx(0), action, expires: now + Duration::from_secs(60) });
    now = now + Duration::from_millis(100);
    let mut request = Vec::new();
    assert!(line.poll_transmit(now, &mut request));
    line.handle_sent(now);
    assert!(holds_password(&request));
    (line, request, now)
}

fn holds_password(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|triple| triple == [0x56 + 0x33, 0x34 + 0x33, 0x12 + 0x33])
}

/// All that the trace tells, one frame behind the other.
fn told(line: &Line) -> Vec<u8> {
    line.frames().flat_map(|frame| frame.bytes().to_vec()).collect()
}

#[test]
fn a_password_is_in_no_trace_however_its_echo_comes_back() {
    for echo in [Echo::Detect, Echo::Off, Echo::On] {
        for cut in [0, 1, 5] {
            let (mut line, request, mut now) = tripping(echo);
            // Behind noise, without its end or with a bit that fell over; and once more when all was given up.
            let mut heard = [&[0x11, 0xAA][..], &request[..request.len() - cut]].concat();
            let last = heard.len() - 1;
            heard[last] ^= u8::from(cut == 1);
            line.handle_bytes(now, &heard);
            now = line.poll_timeout().unwrap().0;
            line.handle_timeout(now);
            line.handle_bytes(now + Duration::from_millis(50), &heard);
            assert!(!holds_password(&told(&line)), "{echo:?}, {cut}");
            let noted = line.frames().filter(|frame| frame.verdict != Verdict::Request).count();
            assert!(noted > 0, "it is told that something came");
        }
    }
}

#[test]
fn what_comes_long_after_a_password_was_sent_is_told_again() {
    let (mut line, _, mut now) = tripping(Echo::Off);
    for _ in 0..10 {
        now = line.poll_timeout().map_or(now, |(at, _)| at);
        line.handle_timeout(now);
        let mut request = Vec::new();
        if line.poll_transmit(now, &mut request) {
            line.handle_sent(now);
        }
    }
    line.handle_bytes(now + Duration::from_secs(5), &[0xAA, 0xBB]);
    assert!(told(&line).ends_with(&[0xAA, 0xBB]));
}

#[test]
fn the_own_request_that_comes_back_late_is_no_foreign_master_whatever_follows_it() {
    let (mut line, request, _) = tripping(Echo::Off);
    let mut now = line.poll_timeout().unwrap().0;
    line.handle_timeout(now);
    for piece in [&request[..], &[0xFE, 0xFE], &[0x68, 0x34]] {
        now = now + Duration::from_millis(5);
        line.handle_bytes(now, piece);
    }
    assert_eq!(line.stats().foreign_requests, 0);
    let other = [&[0x68, 1, 0, 0, 0, 0, 0, 0x68, 0x11, 4, 0x33, 0x33, 0x34, 0x33][..], &[0xB3, 0x16]].concat();
    line.handle_bytes(now + Duration::from_secs(1), &other);
    assert_eq!(line.stats().foreign_requests, 1, "another's is one");
}

#[test]
fn a_card_without_a_secure_channel_is_in_no_trace_and_the_frame_that_told_it_is() {
    for heard in [
        &b"\xFF\x53\x85\x10\x00\x04\x50\x00\x01\x1A\x00\x2F\x76\x4D\xD0"[..],
        b"\x53\x85\x0F\x00\x04\x51\x00\x00\x04\x2F\x76\x4D\xD0",
    ] {
        let marks = heard.iter().take_while(|byte| **byte == 0xFF).count();
        let whole = [heard, &crate::osdp::frame::crc(&heard[marks..]).to_le_bytes()].concat();
        let (mut line, now) = asked_of_a_reader();
        line.handle_bytes(now + Duration::from_millis(30), &whole);
        line.handle_timeout(now + Duration::from_secs(1));
        assert!(
            !told(&line).windows(2).any(|pair| pair == [0x2F, 0x76] || pair == [0x76, 0x4D]),
            "{:02X?}",
            told(&line)
        );
        let frame = line.frames().find(|frame| frame.direction == Direction::Received).unwrap();
        assert_eq!((frame.length, frame.concealed.clone().map(|range| range.end)), (whole.len(), Some(whole.len())));
        assert!(frame.to_string().ends_with(" -- -- -- -- -- --"), "{frame}");
    }
}

/// A line of one reader without a key, at the moment when it was asked, and when that was.
fn asked_of_a_reader() -> (Line, Mono) {
    let settings = ReaderSettings { address: 5, crc: true, mark: false, keyed: false };
    let driver = Box::new(OsdpReader::new(settings, Vec::new(), &[Vec::new()]));
    let intervals = vec![Duration::from_millis(100)];
    let device = DeviceSettings { intervals, timeout_ceiling: None, characters: None, pauses_with: None };
    let (line, _, now) = asked(LineDevice { ix: DeviceIx(0), settings: device, driver });
    (line, now)
}

/// A line of one device at the moment when that was asked, what it was asked and when.
fn asked(device: LineDevice) -> (Line, Vec<u8>, Mono) {
    let mut now = Mono::from_millis(1000);
    let mut line = Line::new(LineSettings::new(Medium::Serial(WIRE)), vec![device], 1, now);
    line.handle_opened(now);
    let mut request = Vec::new();
    while !line.poll_transmit(now, &mut request) {
        now = line.poll_timeout().unwrap().0;
        line.handle_timeout(now);
    }
    line.handle_sent(now);
    (line, request, now)
}

#[test]
fn keys_that_are_typed_at_a_reader_without_a_secure_channel_are_in_no_trace_however_damaged_their_frame_is() {
    let typed: &[u8] = b"\x53\x85\x0E\x00\x04\x53\x00\x044711";
    // Two marks before it, its check missing, its check wrong, and its head gone.
    for heard in [&[&[0xFF, 0xFF], typed, &[0, 0]].concat(), typed, &[typed, &[0, 0]].concat(), &typed[5..]] {
        let (mut line, mut now) = asked_of_a_reader();
        line.handle_bytes(now + Duration::from_millis(30), heard);
        now = now + Duration::from_secs(1);
        line.handle_timeout(now);
        line.handle_bytes(now + Duration::from_millis(50), heard);
        let told = told(&line);
        assert!(told.windows(2).any(|part| part == [0x53, 0x05]), "requests are told");
        assert!(!told.windows(2).any(|pair| pair == b"47" || pair == b"11"), "{heard:02X?}: {told:02X?}");
    }
}

#[test]
fn registers_that_show_who_was_at_a_reader_are_in_no_trace_also_where_a_site_file_says_so_later() {
    for said_later in [false, true] {
        let (mut line, request, mut now) = asked(device(0, 1, &WIRE, Duration::from_secs(1)));
        if !said_later {
            line.handle_personal(DeviceIx(0), true);
        }
        let mut answer = Vec::new();
        let quantity = usize::from(request[5]);
        let pdu = [&[3, u8::try_from(2 * quantity).unwrap()][..], &[0xBE, 0xEF].repeat(quantity)].concat();
        Framing::Rtu.encode(0, request[0], &pdu, &mut answer);
        now = now + Duration::from_millis(80);
        line.handle_bytes(now, &answer);
        now = line.poll_timeout().unwrap().0;
        line.handle_timeout(now);
        if said_later {
            assert!(told(&line).windows(2).any(|pair| pair == [0xBE, 0xEF]));
            line.handle_personal(DeviceIx(0), true);
        }
        let frame = line.frames().find(|frame| frame.direction == Direction::Received).unwrap();
        assert_eq!((frame.verdict, frame.length), (Verdict::Reply, answer.len()));
        assert_eq!(frame.concealed, Some(3..answer.len()));
        assert!(!told(&line).windows(2).any(|pair| pair == [0xBE, 0xEF]), "{said_later}");
    }
}
