//! Lost devices and lost ports.

use super::*;
use crate::line::{DeviceState, Wake};
use gatehouse_core::NoData;

fn is_state(output: &Output) -> bool {
    matches!(output, Output::DeviceState { .. })
}

/// Lets time pass until the device is lost.
fn lose(rig: &mut Rig) {
    while !rig.outputs.iter().any(is_state) {
        if rig.transmit().is_none() {
            rig.wake();
        }
    }
}

#[test]
fn a_device_is_lost_after_several_failed_polls_and_some_time() {
    for (interval, polls) in [(100, 18), (1000, 3)] {
        let fakes = [fake(1, &[10])];
        let mut rig = Rig::serial(&fakes, interval);
        rig.warm_up(&fakes);
        let before = rig.line.stats().polls;
        lose(&mut rig);
        let state = rig.outputs.iter().find(|output| is_state(output)).unwrap();
        assert!(matches!(state, Output::DeviceState { online: false, reason: Some(NoData::Timeout), .. }));
        assert!(rig.line.stats().polls - before >= 3, "three polls at least");
        assert!(rig.line.stats().polls - before <= polls, "{} polls", rig.line.stats().polls - before);
        assert_eq!(rig.line.device_status(DeviceIx(0)).unwrap().state, DeviceState::Offline);
    }
}

#[test]
fn a_lost_device_is_reported_once_per_interval_and_probed_by_single_requests() {
    let fakes = [fake(1, &[10, 12, 14])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    lose(&mut rig);
    let (lost, requests) = (rig.ms(), rig.line.stats().transactions);
    rig.samples();
    while rig.ms() < lost + 60_000.0 {
        if rig.transmit().is_none() {
            rig.wake();
        }
    }
    let samples = rig.samples();
    assert!((60..=62).contains(&samples.len()), "{}", samples.len());
    assert!(samples.iter().all(|sample| sample.1 == ["0:device_offline", "1:device_offline", "2:device_offline"]));
    let probes = rig.line.stats().transactions - requests;
    assert!((3..=5).contains(&probes), "at about 5, 15, 35 s: {probes}");
}

#[test]
fn a_lost_device_comes_back_at_once_when_a_probe_is_answered() {
    let fakes = [fake(1, &[10, 12])];
    let mut rig = Rig::serial(&fakes, 60_000);
    rig.warm_up(&fakes);
    lose(&mut rig);
    rig.outputs.clear();
    let (_, probe) = rig.next();
    rig.receive(4, &reply(1, [10, 12][usize::from(probe[2])], 5, 0));
    assert!(rig.outputs.iter().any(|output| matches!(output, Output::DeviceState { online: true, reason: None, .. })));
    rig.samples();
    let answered = rig.ms();
    for (step, length) in [(0, 10), (1, 12)] {
        let (began, request) = rig.next();
        assert!(began < answered + 100.0 && request[2] == step, "polled again without waiting for its slot");
        rig.receive(4, &reply(1, length, 6, 0));
    }
    assert_eq!(rig.samples(), [(0, ["0=6", "1=6"].map(str::to_owned).to_vec())]);
}

#[test]
fn a_gateway_without_its_device_counts_as_a_lost_device() {
    let fakes = [fake(1, &[10, 12])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    while !rig.outputs.iter().any(is_state) {
        rig.next();
        rig.receive(4, &exception(1, 0x0B));
    }
    let state = rig.outputs.iter().find(|output| is_state(output)).unwrap();
    assert!(matches!(state, Output::DeviceState { online: false, reason: Some(NoData::Exception(0x0B)), .. }));
    assert_eq!(rig.samples()[0].1, ["0:exception_11", "1:exception_11"], "the second step was not tried");
}

#[test]
fn port_loss_ends_what_is_in_flight_and_loses_no_device() {
    let fakes = [fake(1, &[10, 12]), fake(2, &[10])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    while rig.next().1[0] != 1 {
        rig.receive(4, &reply(2, 10, 5, 0));
    }
    rig.samples();
    rig.receive(4, &reply(1, 10, 5, 0));
    rig.next();
    rig.line.handle_closed(rig.now);
    rig.collect();
    assert_eq!(rig.samples(), [(0, ["0=5", "1:bus_down"].map(str::to_owned).to_vec())]);
    let closed = rig.ms();
    while rig.ms() < closed + 10_000.0 {
        assert!(rig.transmit().is_none());
        assert_eq!(rig.line.poll_timeout().unwrap().1, Wake::Report);
        rig.wake();
    }
    let samples = rig.samples();
    assert!((18..=21).contains(&samples.len()), "one for each device and interval: {}", samples.len());
    assert!(samples.iter().all(|sample| sample.1.iter().all(|reading| reading.ends_with("bus_down"))));
    assert!(!rig.outputs.iter().any(is_state), "no device was lost");
    rig.line.handle_opened(rig.now);
    rig.next();
    assert_eq!(rig.line.device_status(DeviceIx(0)).unwrap().state, DeviceState::Online);
}

#[test]
fn a_port_that_is_back_soon_leaves_no_gap() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    rig.line.handle_closed(rig.now);
    rig.pass_ms(900);
    rig.line.handle_timeout(rig.now);
    rig.line.handle_opened(rig.now);
    rig.next();
    rig.receive(4, &reply(1, 10, 5, 0));
    assert_eq!(rig.samples(), [(0, vec!["0=5".to_owned()])]);
}
