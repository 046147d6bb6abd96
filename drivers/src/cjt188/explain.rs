//! From a point to the bytes of a meter's answer, step by step.

use super::frame::{Frame, function};
use super::layout::{Shape, items, slice};
use super::point::Cjt188Point;
use super::reply::{Answer, Expect};
use super::settings::{ClockOrder, Traits, UnitPlace};
use super::unit::Unit;
use crate::dissect::hex;
use crate::explain::Explanation;

/// See [`crate::explain::steps`].
pub(crate) fn steps(
    traits: &Traits,
    point: &Cjt188Point,
    unit: &str,
    (request, reply): (&[u8], &[u8]),
) -> Option<Explanation> {
    let (asked, _) = Frame::find(request, false).ok()?;
    let (answer, _) = Frame::find(reply, true).ok()?;
    let expect = Expect::of_request(&asked)?;
    if asked.function() != function::READ || expect.di != traits.di_order.wire(point.di) {
        return None;
    }
    let mut steps = vec![format!("the request asks the meter for {point}")];
    let payload = match expect.judge(&answer).ok()? {
        Answer::Data(payload) => payload,
        Answer::Refused(code) => {
            steps.push(format!("the meter refused with {code:02X}; there is no value"));
            return Some(Explanation { value: format!("no value (the meter refused: {code:02X})"), steps });
        }
    };
    steps.push(format!("the answer, behind identifier and serial number, is {}", hex(payload)));
    let value = match point.decode(traits, payload) {
        Ok(value) => format!("{value} {unit}").trim_end().to_owned(),
        Err(why) => format!("no value ({why})"),
    };
    let Some(layout) = items(point.edition, payload.len()) else {
        steps.push(format!("no layout of this edition has {} bytes: {value}", payload.len()));
        return Some(Explanation { value, steps });
    };
    let Some(found) = slice(layout, traits.unit_place, point.field, payload) else {
        steps.push(format!("data of {} bytes have no {}: {value}", payload.len(), point.field.as_str()));
        return Some(Explanation { value, steps });
    };
    steps.push(format!("of its {} bytes the field has {}", payload.len(), hex(found.value)));
    if let Some(code) = found.unit {
        let place = match traits.unit_place {
            UnitPlace::After => "behind",
            UnitPlace::Before => "before",
        };
        let named = Unit::of_code(code).map_or("a unit that is not known", Unit::as_str);
        let wanted = point.unit.map_or("none", Unit::as_str);
        steps.push(format!("the byte {place} it is {code:02X}: {named}; the point's unit is {wanted}"));
    }
    steps.push(format!("{}: {value}", reading(traits, point)));
    Some(Explanation { value, steps })
}

/// How the bytes of a field are read.
fn reading(traits: &Traits, point: &Cjt188Point) -> String {
    let bits = traits.status;
    match point.field.shape() {
        Shape::Clock => match traits.clock_order {
            ClockOrder::SecondFirst => "ss mm hh DD MM and the year, low byte first".to_owned(),
            ClockOrder::YearFirst => "the year, high byte first, MM DD hh mm ss".to_owned(),
        },
        Shape::Status => "low byte first".to_owned(),
        Shape::Valve => format!(
            "low byte first, its bits {:04X} are {:04X} for a closed valve and 0 for an open one",
            bits.valve_mask, bits.valve_closed
        ),
        Shape::BatteryLow => format!("low byte first, its bit {:04X} is set for a low battery", bits.battery_mask),
        Shape::Number => {
            format!("packed decimals, low byte first, with {} digits behind the point", point.digits.places)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Field;
    use super::super::settings::Edition;
    use super::super::{Address, MeterType, encode};
    use super::*;

    const METER: (MeterType, Address) = (MeterType::COLD_WATER, Address::from_wire([1, 0, 0, 0, 0, 0, 0]));

    fn frames(control: u8, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        encode(2, METER, 0x01, &[&[0x1F, 0x90, 7]], &mut request);
        encode(0, METER, control, &[data], &mut reply);
        (request, reply)
    }

    fn told(field: Field, unit: &str, control: u8, data: &[u8]) -> Explanation {
        let (request, reply) = frames(control, data);
        steps(&Traits::default(), &Cjt188Point::usual(Edition::V2004, field), unit, (&request, &reply)).unwrap()
    }

    #[test]
    fn a_volume_is_followed_from_the_answer_to_its_unit() {
        let told = told(Field::CurrentVolume, "m3", 0x81, &[0x1F, 0x90, 7, 0x34, 0x12, 0, 0, 0x2C]);
        assert_eq!(told.value, "12.34 m3");
        assert_eq!(
            told.steps,
            [
                "the request asks the meter for 901F current_volume",
                "the answer, behind identifier and serial number, is 34 12 00 00 2c",
                "of its 5 bytes the field has 34 12 00 00",
                "the byte behind it is 2C: m3; the point's unit is m3",
                "packed decimals, low byte first, with 2 digits behind the point: 12.34 m3",
            ]
        );
    }

    #[test]
    fn a_missing_value_is_explained_as_well() {
        let litres = told(Field::CurrentVolume, "m3", 0x81, &[0x1F, 0x90, 7, 0x34, 0x12, 0, 0, 0x29]);
        assert_eq!(litres.value, "no value (unexpected_unit_29)");
        assert_eq!(litres.steps[3], "the byte behind it is 29: L; the point's unit is m3");
        assert_eq!(told(Field::Valve, "", 0xC1, &[2]).value, "no value (the meter refused: 02)");
        let short = told(Field::Valve, "", 0x81, &[0x1F, 0x90, 7, 0x34, 0x12, 0, 0, 0x2C]);
        assert_eq!(short.steps[2], "data of 5 bytes have no valve: no value (not_available)");
        let (request, other) = frames(0x81, &[0x1F, 0x90, 8, 0, 0, 0, 0, 0x2C]);
        let point = Cjt188Point::usual(Edition::V2004, Field::CurrentVolume);
        assert_eq!(steps(&Traits::default(), &point, "m3", (&request, &other)), None, "it answers another request");
    }
}
