//! DL/T 645: frames, and replies to the requests of the built-in profiles of both editions.

use std::time::Duration;

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{Driver, LocalTime, Name, PointIx, StepId};
use gatehouse_drivers::dissect::{self, Language};
use gatehouse_drivers::dlt645::{Access, Address, Dlt645Meter, Edition, Expect, Frame, MeterSettings, encode};
use gatehouse_drivers::explain;
use gatehouse_drivers::point::PointSpec;
use gatehouse_drivers::profile::{Profile, embedded};

use crate::feed::{Mode, Subject};
use crate::script::Script;

struct Meter {
    edition: Edition,
    subject: Subject,
    points: &'static [PointSpec],
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
        let heard = match mode.answers() {
            true => answer(meter.edition, &request, mode, script.rest()),
            false => script.rest().to_vec(),
        };
        meter.subject.hear(step, mode, &heard);
        for from_meter in [false, true] {
            if let Ok((frame, _)) = Frame::find(&heard, from_meter) {
                let expect = Expect::of_request(&frame, meter.edition);
                let _ = expect.map(|expect| expect.judge(&frame).is_ok());
            }
        }
        let language = Language::Dlt645(meter.edition);
        let _ = meter.subject.driver.is_request(&heard);
        dissect::fields(language, false, &heard);
        explain::steps(language, point, &request, &heard);
        // A point is explained by its own request; another step's is refused before its data are looked at.
        if let Some(place) = point.dlt645() {
            let di = place.di.to_le_bytes();
            let di = &di[..meter.edition.di_bytes()];
            let read = if meter.edition == Edition::V1997 { 0x01 } else { 0x11 };
            let (mut request, mut reply) = (Vec::new(), Vec::new());
            encode(0, address(), read, &[di], &mut request);
            encode(0, address(), read | 0x80, &[di, input.get(4..).unwrap_or_default()], &mut reply);
            explain::steps(language, point, &request, &reply);
        }
    });
}

/// A sound frame that answers a request: its function and identifier, then the bytes.
fn answer(edition: Edition, request: &[u8], mode: Mode, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let Ok((asked, _)) = Frame::find(request, false) else { return bytes.to_vec() };
    // Refused, with more to come, or of another function.
    let control = (asked.control | 0x80) ^ (mode.rest() & 7) << 4 & 0x60 ^ (mode.rest() >> 3 & 3);
    let di = asked.data().get(..edition.di_bytes()).unwrap_or_default();
    let di = if mode.rest() & 32 == 0 { di } else { &[] };
    encode(mode.rest() & 3, asked.address, control, &[di, bytes], &mut frame);
    frame
}

fn address() -> Address {
    Address::from_wire([0x34, 0x12, 0, 0, 0, 0])
}

fn meter(edition: Edition, address: Address, profile: &'static Profile) -> Meter {
    let points: Vec<_> = profile.points.iter().filter_map(|point| point.dlt645().copied()).collect();
    let all: Vec<PointIx> = (0..points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect();
    let access = Some(Access { level: 2, password: 123_456, operator: 1 });
    let settings = MeterSettings { edition, address, preamble: 4, pause: Duration::ZERO, access };
    let more = |meter: &mut Dlt645Meter, steps: &mut Vec<StepId>| {
        let now = LocalTime { year: 2026, month: 11, day: 26, hour: 12, minute: 0, second: 0 };
        let call = |name: &str| Name::new(name).ok();
        for (name, argument) in
            [("trip", Argument::At(now)), ("freeze", Argument::None), ("broadcast_time", Argument::At(now))]
        {
            if let Some(command) = call(name) {
                let _ = meter.begin(&Action::Call { command, channel: None, argument }, steps);
            }
        }
        let _ = meter.begin(&Action::Identify, steps);
        for back in [0, 1] {
            let _ = meter.begin(&Action::Recall { points: all.clone(), back }, steps);
        }
        let _ = meter.begin(&Action::LoadRecords { points: all.clone(), from: now, count: 4 }, steps);
    };
    Meter {
        edition,
        subject: Subject::new(Dlt645Meter::new(settings, points, std::slice::from_ref(&all)), more),
        points: &profile.points,
    }
}

thread_local! {
    static METERS: Vec<Meter> = embedded()
        .iter()
        .filter_map(|known| {
            let edition = match known.name.strip_prefix("dlt645-")?.split_once('-')?.0 {
                "1997" => Edition::V1997,
                _ => Edition::V2007,
            };
            Some([address(), Address::ANY].map(|address| meter(edition, address, known.profile())))
        })
        .flatten()
        .collect();
}
