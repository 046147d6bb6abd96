//! From a point to the bytes of a meter's answer, step by step.

use super::catalog;
use super::frame::{Frame, function};
use super::load;
use super::point::{Dlt645Point, Edition};
use crate::dissect::hex;
use crate::explain::Explanation;

/// See [`crate::explain::steps`]. Of an answer of several frames only the first is looked at.
pub(crate) fn steps(point: &Dlt645Point, unit: &str, (request, reply): (&[u8], &[u8])) -> Option<Explanation> {
    let (asked, _) = Frame::find(request, false).ok()?;
    let (answer, _) = Frame::find(reply, true).ok()?;
    let read = match point.edition {
        Edition::V2007 => function::READ,
        Edition::V1997 => function::READ_1997,
    };
    let wire = point.edition.di_wire(point.di);
    let di = wire.get(..point.edition.di_bytes())?;
    let behind: &[u8] = if point.di == load::LATEST { &load::ONE } else { &[] };
    if asked.function() != read || asked.data().strip_prefix(di) != Some(behind) {
        return None;
    }
    let mut steps = vec![format!("the request asks the meter for {point}")];
    if answer.is_exception() {
        steps.push(format!("the meter refused: {}; there is no value", hex(answer.data())));
        let value = format!("no value (the meter refused: {})", hex(answer.data()));
        return Some(Explanation { value, steps });
    }
    let data = answer.data().strip_prefix(di)?;
    steps.push(format!("the answer, without the 33H that the wire adds, is {}", hex(data)));
    let block = catalog::layout(point.edition, point.di).filter(|layout| layout.is_block).map(|layout| layout.axis);
    if block.is_some() {
        steps.push(format!("it is a block of items of {} bytes; the point is item {}", point.item_bytes, point.item));
    }
    if point.offset > 0 {
        steps.push(format!("the point begins {} bytes into the item", point.offset));
    }
    let bit = point.bit.map(|bit| format!(", bit {bit}")).unwrap_or_default();
    let value = match point.decode(data, 0, block) {
        Ok(value) => value.to_string(),
        Err(why) => format!("no value ({why})"),
    };
    let value = format!("{value} {unit}").trim_end().to_owned();
    steps.push(format!("low byte first, as {}{bit}: {value}", point.format));
    Some(Explanation { value, steps })
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::super::encode;
    use super::super::point::Format;
    use super::*;

    #[test]
    fn a_value_is_followed_from_the_answer_to_its_unit() {
        let di = [0x00, 0x00, 0x01, 0x00];
        let address = Address::parse("000000001234").unwrap();
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        encode(4, address, 0x11, &[&di], &mut request);
        encode(0, address, 0x91, &[&di, &[0x78, 0x56, 0x34, 0x12]], &mut reply);
        let point = Dlt645Point {
            edition: Edition::V2007,
            di: 0x0001_0000,
            item: 0,
            item_bytes: 4,
            offset: 0,
            format: Format::Number { bytes: 4, places: 2, signed: false },
            bit: None,
        };
        assert_eq!(
            steps(&point, "kWh", (&request, &reply)).unwrap().steps,
            [
                "the request asks the meter for 00010000",
                "the answer, without the 33H that the wire adds, is 78 56 34 12",
                "low byte first, as XXXXXX.XX: 123456.78 kWh",
            ]
        );
        let other = Dlt645Point { di: 0x0002_0000, ..point };
        assert_eq!(steps(&other, "kWh", (&request, &reply)), None);
    }
}
