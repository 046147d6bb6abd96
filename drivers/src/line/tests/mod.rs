//! Rules of the line, one by one, with a scripted driver and a wire of 1000 characters per second.

mod commands;
mod datagrams;
mod losses;
mod replies;
mod secrets;
mod tuning;
mod turns;

use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Denial};
use gatehouse_core::{
    Decimal, Decoded, DeviceIx, Driver, Mono, NoData, PointIx, PointReading, Reject, StepId, StepShape, Value,
};

use super::{DeviceSettings, Echo, Line, LineDevice, LineSettings, Medium, Output, Wire};

/// The write step of a [`Fake`].
const WRITE: StepId = StepId(100);
/// What a [`Fake`] sends in place of a refused step.
const INSTEAD: StepId = StepId(50);
/// One character takes 1 ms, the silence 3.5 ms.
const WIRE: Wire = Wire { baud: 10_000, char_bits: 10, echo: Echo::Off, silence: Some(Duration::from_micros(3500)) };
const REQUEST: usize = 8;

/// A driver of 8-byte requests `unit, kind, step, value, tag, tag, 0, sum` and replies `unit, kind, length, value, tag,
/// tag, ..., sum`. Like Modbus its replies do not say to which request they belong, unless it is `tagged`.
#[derive(Debug, Clone)]
struct Fake {
    unit: u8,
    /// Steps of the only group, and the length of each reply.
    steps: Vec<(StepId, usize)>,
    tagged: bool,
    pause_after: Duration,
    splits: bool,
    reads_back: bool,
    written: u8,
}

fn fake(unit: u8, replies: &[usize]) -> Fake {
    let steps = (0..).map(StepId).zip(replies.iter().copied()).collect();
    Fake { unit, steps, tagged: false, pause_after: Duration::ZERO, splits: false, reads_back: true, written: 0 }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0x5A, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte))
}

/// A reply of so many bytes.
fn reply(unit: u8, length: usize, value: u8, tag: u16) -> Vec<u8> {
    let [t1, t0] = tag.to_be_bytes();
    let mut bytes = vec![unit, 3, u8::try_from(length).unwrap(), value, t1, t0];
    bytes.resize(length - 1, 0);
    bytes.push(sum(&bytes));
    bytes
}

fn exception(unit: u8, code: u8) -> Vec<u8> {
    let mut bytes = vec![unit, 0x83, 5, code];
    bytes.push(sum(&bytes));
    bytes
}

/// There is nothing of what was asked.
fn nothing(unit: u8) -> Vec<u8> {
    let mut bytes = vec![unit, 0x84, 5, 0];
    bytes.push(sum(&bytes));
    bytes
}

impl Fake {
    fn reply_bytes(&self, step: StepId) -> usize {
        match step {
            WRITE => REQUEST,
            INSTEAD => 12,
            _ => self.steps[step.0 as usize].1,
        }
    }
}

impl Driver for Fake {
    fn groups(&self) -> usize {
        1
    }

    fn station(&self) -> u64 {
        self.unit.into()
    }

    fn denial(&self, code: u8) -> Denial {
        match code {
            5 => Denial::Pending,
            6 => Denial::Busy,
            0x0A => Denial::NoPath,
            0x0B => Denial::NoAnswer,
            _ => Denial::Final,
        }
    }

    fn group_steps(&self, _group: usize, steps: &mut Vec<StepId>) {
        steps.extend(self.steps.iter().map(|step| step.0));
    }

    fn shape(&self, step: StepId) -> StepShape {
        let (reply_bytes, pause_after) = (self.reply_bytes(step), self.pause_after);
        StepShape { request_bytes: REQUEST, reply_bytes, repeatable: step != WRITE, pause_after }
    }

    fn points(&self, step: StepId, points: &mut Vec<PointIx>) {
        match step {
            WRITE => {}
            INSTEAD => points.push(PointIx(0)),
            _ => points.push(PointIx(u16::try_from(step.0).unwrap())),
        }
    }

    fn encode(&self, step: StepId, tag: u16, bytes: &mut Vec<u8>) {
        let [t1, t0] = if self.tagged { tag.to_be_bytes() } else { [0, 0] };
        let kind = if step == WRITE { 6 } else { 3 };
        let mut request = vec![self.unit, kind, u8::try_from(step.0).unwrap(), self.written, t1, t0, 0];
        request.push(sum(&request));
        bytes.append(&mut request);
    }

    fn decode(&self, step: StepId, tag: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded {
        let [unit, kind, length, ..] = *bytes else { return Decoded::Incomplete { missing: 3 - bytes.len() } };
        let length = if kind == 6 { REQUEST } else { usize::from(length) };
        if !matches!(kind, 3 | 6 | 0x83 | 0x84) || !(5..=64).contains(&length) {
            return Decoded::Skip { bytes: 1, why: Reject::Noise };
        }
        let Some(frame) = bytes.get(..length) else { return Decoded::Incomplete { missing: length - bytes.len() } };
        let wanted = if step == WRITE { 6 } else { 3 };
        let tags = u16::from_be_bytes([frame[4], *frame.get(5).unwrap_or(&0)]);
        let why = match frame {
            [body @ .., check] if sum(body) != *check => Reject::BadChecksum,
            _ if unit != self.unit => Reject::AddressMismatch,
            [_, 0x83, _, code, ..] => return Decoded::Exception { bytes: length, code: *code },
            [_, 0x84, ..] => {
                let mut points = Vec::new();
                self.points(step, &mut points);
                readings.extend(points.into_iter().map(|point| PointReading::new(point, Err(NoData::NotAvailable))));
                return Decoded::Nothing { bytes: length };
            }
            _ if kind != wanted => Reject::UnexpectedFunction,
            _ if length != self.reply_bytes(step) => Reject::BadLength,
            _ if self.tagged && tags != tag => Reject::TransactionMismatch,
            _ => {
                let mut points = Vec::new();
                self.points(step, &mut points);
                let value = Value::Decimal(Decimal::whole(frame[3].into()));
                readings.extend(points.into_iter().map(|point| PointReading::new(point, Ok(value.clone()))));
                return Decoded::Reply { bytes: length };
            }
        };
        Decoded::Skip { bytes: if why == Reject::BadChecksum { 1 } else { length }, why }
    }

    fn refused(&mut self, step: StepId, _code: u8, instead: &mut Vec<StepId>) {
        if std::mem::take(&mut self.splits) && step != INSTEAD {
            instead.extend([INSTEAD, INSTEAD]);
        }
    }

    fn begin(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        match action {
            Action::Read(_) | Action::Registers(_) => steps.push(StepId(0)),
            Action::Write(_, Value::Decimal(value)) => {
                self.written = u8::try_from(value.mantissa).unwrap();
                steps.push(WRITE);
                steps.extend(self.reads_back.then_some(StepId(0)));
            }
            Action::Write(..) => return Err(ActionError::ReadOnly),
            Action::Identify
            | Action::Recall { .. }
            | Action::LoadRecords { .. }
            | Action::Controller(_)
            | Action::Call { .. } => {
                return Err(ActionError::Unsupported);
            }
        }
        Ok(())
    }

    fn is_request(&self, bytes: &[u8]) -> bool {
        matches!(bytes, [body @ .., check] if body.len() == REQUEST - 1 && body[1] == 3 && body[2] < 5 && sum(body) == *check)
    }

    fn end(&mut self) {}
}

/// The line, the clock and what the shell would keep.
struct Rig {
    line: Line,
    now: Mono,
    outputs: Vec<Output>,
    serial: bool,
}

impl Rig {
    /// Devices 0, 1, ... on a serial line, polled every `interval_ms`; the port is open.
    fn serial(fakes: &[Fake], interval_ms: u64) -> Rig {
        Rig::with(LineSettings::new(Medium::Serial(WIRE)), fakes, interval_ms)
    }

    fn with(settings: LineSettings, fakes: &[Fake], interval_ms: u64) -> Rig {
        let intervals = vec![Duration::from_millis(interval_ms)];
        let device = |(ix, fake): (u32, &Fake)| LineDevice {
            ix: DeviceIx(ix),
            settings: DeviceSettings {
                intervals: intervals.clone(),
                timeout_ceiling: None,
                characters: None,
                pauses_with: None,
            },
            driver: Box::new(fake.clone()),
        };
        let serial = matches!(settings.medium, Medium::Serial(_));
        let now = Mono::from_millis(1000);
        let mut line = Line::new(settings, (0..).zip(fakes).map(device).collect(), 1, now);
        line.handle_opened(now);
        Rig { line, now, outputs: Vec::new(), serial }
    }

    fn ms(&self) -> f64 {
        self.now.0 as f64 / 1e6
    }

    fn collect(&mut self) {
        while let Some(output) = self.line.poll_output() {
            self.outputs.push(output);
        }
    }

    /// A request, if one goes now; the clock moves to its end on the wire.
    fn transmit(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let sent = self.line.poll_transmit(self.now, &mut bytes);
        self.collect();
        if !sent {
            return None;
        }
        if self.serial {
            self.pass_ms(8);
        }
        self.line.handle_sent(self.now);
        Some(bytes)
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    /// Waits for the next request: when it began, and its bytes.
    fn next(&mut self) -> (f64, Vec<u8>) {
        for _ in 0..10_000 {
            let began = self.ms();
            if let Some(bytes) = self.transmit() {
                return (began, bytes);
            }
            self.wake();
        }
        panic!("no request in 10000 wakes");
    }

    /// Moves the clock to the line's next wake-up.
    fn wake(&mut self) {
        let (at, why) = self.line.poll_timeout().unwrap();
        assert!(at > self.now, "a timer in the past would spin: {why:?}");
        self.now = at;
        self.line.handle_timeout(self.now);
        self.collect();
    }

    /// Bytes that come `after_ms` from now; on a wire each takes 1 ms more.
    fn receive(&mut self, after_ms: u64, bytes: &[u8]) {
        self.pass_ms(after_ms + if self.serial { bytes.len() as u64 } else { 0 });
        self.line.handle_bytes(self.now, bytes);
        self.collect();
    }

    /// Takes the samples so far: device, and each reading as text.
    fn samples(&mut self) -> Vec<(u32, Vec<String>)> {
        let mut samples = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Sample { device, readings, .. } => {
                    let text = |reading: PointReading| match reading.value {
                        Ok(value) => format!("{}={value}", reading.point.0),
                        Err(reason) => format!("{}:{reason}", reading.point.0),
                    };
                    samples.push((device.0, readings.into_iter().map(text).collect()));
                }
                other => self.outputs.push(other),
            }
        }
        samples
    }

    /// Polls each device twice, so that the line knows them and the port.
    fn warm_up(&mut self, fakes: &[Fake]) {
        for _ in 0..2 * fakes.iter().map(|fake| fake.steps.len()).sum::<usize>() {
            let (_, request) = self.next();
            let fake = fakes.iter().find(|fake| fake.unit == request[0]).unwrap();
            let tag = u16::from_be_bytes([request[4], request[5]]);
            let length = fake.steps[usize::from(request[2])].1;
            self.receive(4, &reply(fake.unit, length, 1, tag));
        }
        self.outputs.clear();
    }
}
