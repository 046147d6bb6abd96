//! CJ/T 188: frames, and replies to the requests of the built-in profiles, in all that meters differ in.

use std::time::Duration;

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{Driver, LocalTime, Name, PointIx, StepId};
use gatehouse_drivers::cjt188::{
    Address, Cjt188Meter, ClockOrder, DiOrder, Edition, Expect, Frame, MeterSettings, Traits, UnitPlace, encode,
};
use gatehouse_drivers::dissect::{self, Language};
use gatehouse_drivers::explain;
use gatehouse_drivers::point::PointSpec;
use gatehouse_drivers::profile::{Profile, embedded};

use crate::feed::{Mode, Subject};
use crate::script::Script;

struct Meter {
    subject: Subject,
    points: &'static [PointSpec],
    traits: Traits,
}

/// Runs an input: meter, step, mode, point, then the bytes.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    METERS.with(|meters| {
        let meter = &meters[script.place(meters.len())];
        let step = meter.subject.steps[script.place(meter.subject.steps.len())];
        let mode = Mode::read(&mut script);
        let point = &meter.points[script.place(meter.points.len())];
        let request = meter.subject.request(step);
        let bytes = script.rest();
        let heard = if mode.answers() { answer(&request, mode, bytes) } else { bytes.to_vec() };
        meter.subject.hear(step, mode, &heard);
        for from_meter in [false, true] {
            if let Ok((frame, _)) = Frame::find(&heard, from_meter) {
                let expect = Expect::of_request(&frame);
                let _ = expect.map(|expect| expect.judge(&frame).is_ok());
            }
        }
        let _ = meter.subject.driver.is_request(&heard);
        let language = Language::Cjt188(meter.traits);
        dissect::fields(language, false, &heard);
        explain::steps(language, point, &request, &heard);
        let _ = point.cjt188().map(|point| point.decode(&meter.traits, bytes));
    });
}

/// A sound frame that answers a request: its function, identifier and serial number, then the bytes.
fn answer(request: &[u8], mode: Mode, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let Ok((asked, _)) = Frame::find(request, false) else { return bytes.to_vec() };
    // Refused, or of another function.
    let control = (asked.control | 0x80) ^ (mode.rest() & 1) << 6 ^ (mode.rest() >> 1 & 3);
    let head = if mode.rest() & 8 == 0 { asked.data().get(..3).unwrap_or_default() } else { &[] };
    encode(mode.rest() >> 4, (asked.meter_type, asked.address), control, &[head, bytes], &mut frame);
    frame
}

fn meter(profile: &'static Profile, edition: Edition, traits: Traits) -> Meter {
    let points: Vec<_> = profile.points.iter().filter_map(|point| point.cjt188().copied()).collect();
    let all: Vec<PointIx> = (0..points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect();
    let address = match traits.di_order {
        DiOrder::LowFirst => Address::from_wire([0x44, 0x33, 0x22, 0x11, 0x00, 0x78, 0x33]),
        DiOrder::HighFirst => Address::ANY,
    };
    let settings = MeterSettings { edition, address, preamble: 2, pause: Duration::ZERO, traits };
    let more = |meter: &mut Cjt188Meter, steps: &mut Vec<StepId>| {
        let now = LocalTime { year: 2026, month: 11, day: 26, hour: 12, minute: 0, second: 0 };
        for (name, argument) in [("valve_close", Argument::None), ("set_time", Argument::At(now))] {
            if let Ok(command) = Name::new(name) {
                let _ = meter.begin(&Action::Call { command, channel: None, argument }, steps);
            }
        }
        let _ = meter.begin(&Action::Identify, steps);
    };
    let subject = Subject::new(Cjt188Meter::new(settings, points, &[all]), more);
    Meter { subject, points: &profile.points, traits }
}

thread_local! {
    static METERS: Vec<Meter> = embedded()
        .iter()
        .filter(|known| known.name.starts_with("cjt188-"))
        .flat_map(|known| {
            let traits = known.profile().meter;
            let other = Traits {
                di_order: DiOrder::HighFirst,
                unit_place: UnitPlace::Before,
                clock_order: ClockOrder::YearFirst,
                ..traits
            };
            [(Edition::V2004, traits), (Edition::V2018, other)]
                .map(|(edition, traits)| meter(known.profile(), edition, traits))
        })
        .collect();
}
