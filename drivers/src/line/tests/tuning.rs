//! Devices that differ in their line settings.

use super::*;
use crate::line::{Characters, CloseReason, Command, Parity};

const SLOW: Characters = Characters { baud: 5000, data_bits: 8, parity: Parity::None, stop_bits: 1 };

/// Device 0 has the port's own characters, device 1 those of `SLOW`.
fn rig(interval_ms: u64) -> Rig {
    let device = |ix: u32, characters| LineDevice {
        ix: DeviceIx(ix),
        settings: DeviceSettings {
            intervals: vec![Duration::from_millis(interval_ms)],
            timeout_ceiling: None,
            characters,
            pauses_with: None,
        },
        driver: Box::new(fake(u8::try_from(ix).unwrap() + 1, &[10])),
    };
    let now = Mono::from_millis(1000);
    let settings = LineSettings::new(Medium::Serial(WIRE));
    let mut line = Line::new(settings, vec![device(0, None), device(1, Some(SLOW))], 1, now);
    line.handle_opened(now);
    Rig { line, now, outputs: Vec::new(), serial: true }
}

/// What the line wants the port to be set to, if anything since the last call.
fn wanted(rig: &mut Rig) -> Option<Option<Characters>> {
    rig.collect();
    let at = rig.outputs.iter().position(|output| matches!(output, Output::Characters { .. }))?;
    match rig.outputs.remove(at) {
        Output::Characters { characters } => Some(characters),
        _ => None,
    }
}

/// Lets time pass until the line wants other characters, all that is asked answered; the units that were asked.
fn until_change(rig: &mut Rig, wants: Option<Characters>) -> Vec<u8> {
    let mut asked = Vec::new();
    for _ in 0..1000 {
        if let Some(request) = rig.transmit() {
            asked.push(request[0]);
            // At half the speed request and reply take twice the time.
            let longer = if request[0] == 2 { 8 + 10 } else { 0 };
            rig.receive(4 + longer, &reply(request[0], 10, 1, 0));
        } else if let Some(got) = wanted(rig) {
            assert_eq!(got, wants);
            return asked;
        } else {
            rig.wake();
        }
    }
    panic!("no change");
}

#[test]
fn a_change_waits_for_the_port_and_then_for_the_guard_time() {
    let mut rig = rig(1000);
    assert_eq!(until_change(&mut rig, Some(SLOW)), [1]);
    rig.pass_ms(20);
    assert_eq!(rig.transmit(), None, "the port is not set yet");
    rig.line.handle_switched(rig.now);
    let set = rig.ms();
    let (began, request) = rig.next();
    assert_eq!((began - set, request[0]), (50.0, 2));
    // 18 characters of 2 ms: nothing is early or late at the speed of this device.
    rig.pass_ms(8);
    rig.receive(10 + 4, &reply(2, 10, 1, 0));
    assert_eq!(rig.samples().len(), 2);
    assert_eq!(rig.line.device_status(DeviceIx(1)).unwrap().turnaround, Some(Duration::from_millis(4)));
    assert_eq!(until_change(&mut rig, None), [], "back, since the other is due");
    assert_eq!(rig.line.stats().switches, 1);
}

#[test]
fn a_busy_line_changes_rarely_and_still_lets_nobody_wait_for_long() {
    // One is due all the time, the other every 400 ms: it waits a quarter of that at most.
    let mut rig = rig(400);
    let mut runs = Vec::new();
    let mut wants = Some(SLOW);
    rig.line.handle_intervals(rig.now, DeviceIx(0), &[Duration::from_millis(5)]);
    while rig.ms() < 20_000.0 {
        runs.push(until_change(&mut rig, wants).len());
        rig.line.handle_switched(rig.now);
        wants = if wants.is_some() { None } else { Some(SLOW) };
    }
    let slow_runs: Vec<usize> = runs.iter().skip(1).step_by(2).copied().collect();
    assert!(slow_runs.len() >= 45, "once in 400 ms: {slow_runs:?}");
    assert!(slow_runs.iter().all(|run| *run == 1), "{slow_runs:?}");
}

#[test]
fn a_command_has_the_port_set_at_once() {
    let mut rig = rig(60_000);
    until_change(&mut rig, Some(SLOW));
    rig.line.handle_switched(rig.now);
    rig.next();
    rig.receive(30, &reply(2, 10, 1, 0));
    let expires = rig.now + Duration::from_secs(5);
    let action = Action::Read(Vec::new());
    rig.line.handle_command(rig.now, Command { id: 1, device: DeviceIx(0), action, expires });
    assert_eq!(until_change(&mut rig, None), []);
    rig.line.handle_switched(rig.now);
    assert_eq!(rig.next().1[0], 1);
}

#[test]
fn a_port_that_is_not_set_in_time_is_closed_and_begins_anew() {
    let mut rig = rig(1000);
    until_change(&mut rig, Some(SLOW));
    rig.wake();
    assert!(rig.outputs.contains(&Output::ClosePort { reason: CloseReason::SettingsStuck }));
    rig.line.handle_closed(rig.now);
    rig.line.handle_opened(rig.now);
    rig.line.handle_switched(rig.now);
    assert_eq!(rig.line.stats().switches, 0, "what came too late sets nothing");
    assert_eq!(until_change(&mut rig, Some(SLOW)), [], "the port has its first characters again");
}
