//! A stand-in of CJ/T 188 framing: `68 T A0..A6 C L DI0 DI1 SER data CS 16`, with a value of four bytes.

use gatehouse_core::driver::{Action, ActionError, Denial};
use gatehouse_core::{Decimal, Decoded, Driver, PointIx, PointReading, Reject, StepId, StepShape, Value};
use std::time::Duration;

/// A cold water meter.
const KIND: u8 = 0x10;

/// The driver of the meter whose address ends with these digits.
pub(super) struct WaterMeter(pub(super) u8);

fn frame(ix: u8, control: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x68, KIND, super::bcd(ix), 0, 0, 0, 0, 0, 0, control, u8::try_from(data.len()).unwrap()];
    bytes.extend_from_slice(data);
    bytes.push(bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    bytes.push(0x16);
    bytes
}

/// The meter's reply.
pub(super) fn answer(ix: u8, heard: &[u8], value: [u8; 4]) -> Option<Vec<u8>> {
    let request = heard.get(2..).filter(|_| heard.starts_with(&[0xFE; 2]))?;
    (request == frame(ix, 1, &[0x1F, 0x90, 0])).then(|| frame(ix, 0x81, &[&[0x1F, 0x90, 0][..], &value].concat()))
}

impl Driver for WaterMeter {
    fn groups(&self) -> usize {
        1
    }

    fn station(&self) -> u64 {
        0x8800_0000_0000_0000 | u64::from(self.0)
    }

    fn group_steps(&self, _: usize, steps: &mut Vec<StepId>) {
        steps.push(StepId(0));
    }

    fn shape(&self, _: StepId) -> StepShape {
        StepShape { request_bytes: 18, reply_bytes: 20, repeatable: true, pause_after: Duration::ZERO }
    }

    fn points(&self, _: StepId, points: &mut Vec<PointIx>) {
        points.push(PointIx(0));
    }

    fn encode(&self, _: StepId, _: u16, bytes: &mut Vec<u8>) {
        bytes.extend([0xFE; 2]);
        bytes.extend(frame(self.0, 1, &[0x1F, 0x90, 0]));
    }

    fn decode(&self, _: StepId, _: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded {
        let skip = |bytes, why| Decoded::Skip { bytes, why };
        let [0x68, ..] = *bytes else { return skip(1, Reject::Noise) };
        let Some(&length) = bytes.get(10) else { return Decoded::Incomplete { missing: 11 - bytes.len() } };
        if bytes[1] != KIND || length > 100 {
            return skip(1, Reject::Noise);
        }
        let whole = 13 + usize::from(length);
        let Some(reply) = bytes.get(..whole) else { return Decoded::Incomplete { missing: whole - bytes.len() } };
        let sum = reply[..whole - 2].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        if reply[whole - 1] != 0x16 || reply[whole - 2] != sum {
            return skip(1, Reject::BadChecksum);
        }
        if reply[2..9] != [super::bcd(self.0), 0, 0, 0, 0, 0, 0] {
            return skip(whole, Reject::AddressMismatch);
        }
        let [0x81, 7, 0x1F, 0x90, 0, v0, v1, v2, v3, ..] = reply[9..] else { return skip(whole, Reject::EchoMismatch) };
        let digits = [v3, v2, v1, v0].iter().try_fold(0i128, |number, byte| {
            let (high, low) = (byte >> 4, byte & 15);
            (high < 10 && low < 10).then(|| number * 100 + i128::from(high * 10 + low))
        });
        let Some(number) = digits else { return skip(whole, Reject::BadCharacter) };
        readings.push(PointReading::new(PointIx(0), Ok(Value::Decimal(Decimal::whole(number)))));
        Decoded::Reply { bytes: whole }
    }

    fn denial(&self, _: u8) -> Denial {
        Denial::Final
    }

    fn refused(&mut self, _: StepId, _: u8, _: &mut Vec<StepId>) {}

    fn begin(&mut self, _: &Action, _: &mut Vec<StepId>) -> Result<(), ActionError> {
        Err(ActionError::Unsupported)
    }

    fn end(&mut self) {}
}
