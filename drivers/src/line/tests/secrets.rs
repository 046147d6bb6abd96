//! Requests with a password in them.

use gatehouse_core::driver::Argument;
use gatehouse_core::{LocalTime, Name};

use super::*;
use crate::dlt645::{Access, Address, Dlt645Meter, Edition, MeterSettings};
use crate::line::{Command, Verdict};
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
fn keys_that_are_typed_at_a_reader_without_a_secure_channel_are_in_no_trace_however_damaged_their_frame_is() {
    let typed: &[u8] = b"\x53\x85\x0E\x00\x04\x53\x00\x044711";
    // Two marks before it, its check missing, its check wrong, and its head gone.
    for heard in [&[&[0xFF, 0xFF], typed, &[0, 0]].concat(), typed, &[typed, &[0, 0]].concat(), &typed[5..]] {
        let settings = ReaderSettings { address: 5, crc: true, mark: false, keyed: false };
        let driver = Box::new(OsdpReader::new(settings, Vec::new(), &[Vec::new()]));
        let intervals = vec![Duration::from_millis(100)];
        let device = DeviceSettings { intervals, timeout_ceiling: None, characters: None, pauses_with: None };
        let device = LineDevice { ix: DeviceIx(0), settings: device, driver };
        let mut now = Mono::from_millis(1000);
        let mut line = Line::new(LineSettings::new(Medium::Serial(WIRE)), vec![device], 1, now);
        line.handle_opened(now);
        let mut request = Vec::new();
        while !line.poll_transmit(now, &mut request) {
            now = line.poll_timeout().unwrap().0;
            line.handle_timeout(now);
        }
        line.handle_sent(now);
        line.handle_bytes(now + Duration::from_millis(30), heard);
        now = now + Duration::from_secs(1);
        line.handle_timeout(now);
        line.handle_bytes(now + Duration::from_millis(50), heard);
        let told = told(&line);
        assert!(told.windows(request.len()).any(|part| part == request), "requests are told");
        assert!(!told.windows(2).any(|pair| pair == b"47" || pair == b"11"), "{heard:02X?}: {told:02X?}");
    }
}
