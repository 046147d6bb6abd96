//! Modbus in its three framings: whole frames, and replies to the requests of every built-in profile.

use std::time::Duration;

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{Driver, PointIx, StepId, Value};
use gatehouse_drivers::dissect::{self, Language};
use gatehouse_drivers::explain;
use gatehouse_drivers::modbus::{Cost, Framing, ModbusDevice, decode_reply, decode_request};
use gatehouse_drivers::point::PointSpec;
use gatehouse_drivers::profile::{Profile, embedded};

use crate::feed::{Mode, Subject, TAG};
use crate::script::Script;

const UNIT: u8 = 1;

struct Device {
    subject: Subject,
    points: &'static [PointSpec],
}

/// Runs an input: device, step, mode, then the bytes.
pub fn run(framing: Framing, input: &[u8]) {
    let mut script = Script::new(input);
    DEVICES.with(|devices| {
        let devices = &devices[framing as usize];
        let device = &devices[script.place(devices.len())];
        let step = device.subject.steps[script.place(device.subject.steps.len())];
        let mode = Mode::read(&mut script);
        let point = script.place(device.points.len());
        let request = device.subject.request(step);
        let heard = match mode.answers() {
            true => answer(framing, device, step, mode, script.rest()),
            false => script.rest().to_vec(),
        };
        device.subject.hear(step, mode, &heard);
        let asked = decode_request(framing, &request).ok();
        let _ = (decode_request(framing, &heard), decode_reply(framing, &heard, asked.as_ref()));
        let _ = decode_reply(framing, &heard, None);
        let _ = (device.subject.driver.is_request(&heard), device.subject.driver.is_word(&heard));
        for is_request in [false, true] {
            dissect::fields(Language::Modbus(framing), is_request, &heard);
        }
        explain::steps(Language::Modbus(framing), &device.points[point], &request, &heard);
        explain::steps(Language::Modbus(framing), &device.points[point], &heard, &heard);
    });
}

/// A sound frame around the bytes; with more of the mode set, one as long as the request asks for, under its function.
fn answer(framing: Framing, device: &Device, step: StepId, mode: Mode, bytes: &[u8]) -> Vec<u8> {
    let mut pdu = bytes.to_vec();
    if mode.rest() & 1 != 0 {
        let wanted = device.subject.driver.shape(step).reply_bytes;
        let length = (2..=253).find(|pdu| framing.frame_bytes(*pdu) == wanted).unwrap_or(2);
        pdu = (0..length).map(|at| bytes.get(at).copied().unwrap_or(0)).collect();
        pdu[1] = u8::try_from(length - 2).unwrap_or(u8::MAX);
    }
    pdu.truncate(253);
    let mut frame = Vec::new();
    framing.encode(TAG, UNIT, &pdu, &mut frame);
    frame
}

fn device(framing: Framing, profile: &'static Profile) -> Option<Device> {
    let points: Vec<_> = profile.points.iter().filter_map(|point| point.modbus().cloned()).collect();
    if points.is_empty() {
        return None;
    }
    let all = (0..points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect();
    let cost = Cost::tcp(Duration::from_millis(5));
    let device = ModbusDevice::new(framing, UNIT, points, vec![all], profile.limits.clone(), cost).ok()?;
    let device = device.with_commands(profile.commands.clone().into());
    let more = |device: &mut ModbusDevice, steps: &mut Vec<StepId>| {
        let _ = device.begin(&Action::Identify, steps);
        for command in &profile.commands {
            let channel = command.channels.map(|channels| channels.first);
            for argument in [Argument::None, Argument::Units(1), Argument::On(true), Argument::Value(1)] {
                let _ = device.begin(&Action::Call { command: command.name.clone(), channel, argument }, steps);
            }
        }
        for (at, point) in (0..).zip(&profile.points) {
            if point.is_writable() {
                let _ = device.begin(&Action::Write(PointIx(at), Value::Bool(true)), steps);
            }
        }
    };
    Some(Device { subject: Subject::new(device, more), points: &profile.points })
}

thread_local! {
    /// For each framing, in the order of its enumeration.
    static DEVICES: [Vec<Device>; 3] = [Framing::Rtu, Framing::Ascii, Framing::Tcp]
        .map(|framing| embedded().iter().filter_map(|profile| device(framing, profile.profile())).collect());
}
