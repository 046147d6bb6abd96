//! A water meter of CJ/T 188 at the far end, with a framing of its own: `68 T A0..A6 C L DI0 DI1 SER data CS 16`.

use std::time::Duration;

use gatehouse_core::PointIx;

use crate::cjt188::{Address, Cjt188Meter, Cjt188Point, Edition, Field, MeterSettings, Traits};

/// A cold water meter.
const KIND: u8 = 0x10;
/// The unit that it names: cubic metres.
const CUBIC_METRE: u8 = 0x2C;
/// Its clock, which was never set, and its status: all well.
const REST: [u8; 9] = [0; 9];

/// The driver of the meter whose address ends with these digits: its volume now and at the settlement day.
pub(super) fn driver(ix: u8) -> Cjt188Meter {
    let edition = Edition::V2004;
    let address = Address::from_wire([super::bcd(ix), 0, 0, 0, 0, 0, 0]);
    let settings =
        MeterSettings { edition, address, preamble: 2, pause: Duration::from_millis(20), traits: Traits::default() };
    let points = [Field::CurrentVolume, Field::SettlementVolume].map(|field| Cjt188Point::usual(edition, field));
    Cjt188Meter::new(settings, points, &[vec![PointIx(0), PointIx(1)]])
}

fn frame(ix: u8, control: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x68, KIND, super::bcd(ix), 0, 0, 0, 0, 0, 0, control, u8::try_from(data.len()).unwrap()];
    bytes.extend_from_slice(data);
    bytes.push(bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    bytes.push(0x16);
    bytes
}

/// The meter's reply to what it heard: both volumes; `None` for noise and for what is another's.
pub(super) fn answer(ix: u8, heard: &[u8], volumes: [[u8; 4]; 2]) -> Option<Vec<u8>> {
    let request = heard.get(2..).filter(|_| heard.starts_with(&[0xFE; 2]))?;
    let serial = *request.get(13)?;
    let [now, settled] = volumes;
    let data = [&[0x1F, 0x90, serial][..], &now, &[CUBIC_METRE], &settled, &[CUBIC_METRE], &REST].concat();
    (request == frame(ix, 0x01, &[0x1F, 0x90, serial])).then(|| frame(ix, 0x81, &data))
}
