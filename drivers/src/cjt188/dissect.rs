//! Frames taken apart for people.

use super::frame::{Address, FUNCTION, HEAD, START, di, function};
use super::layout::{Field as MeterField, Item, items};
use super::point::Cjt188Point;
use super::reply::split;
use super::settings::{DiOrder, Edition, MeterType, Traits};
use super::unit::Unit;
use crate::dissect::{Field, hex};
use crate::meter_frame::{self, EXCEPTION, FROM_METER, Head};

/// The fields of a frame. Where it is no sound frame, the last one says so.
pub(crate) fn fields(traits: &Traits, bytes: &[u8]) -> Vec<Field> {
    let head = |frame: &[u8], at: usize, fields: &mut Vec<Field>| {
        let Some(&[START, kind, a0, a1, a2, a3, a4, a5, a6, control, length]) = frame.first_chunk::<HEAD>() else {
            return None;
        };
        let address = Address::from_wire([a0, a1, a2, a3, a4, a5, a6]);
        let whom = if address == Address::BROADCAST { ", everybody" } else { "" };
        fields.push(Field::new(at + 1..at + 2, "type", type_text(MeterType(kind))));
        fields.push(Field::new(at + 2..at + 9, "address", format!("{address}{whom}")));
        fields.push(Field::new(at + 9..at + 10, "control", control_text(control)));
        fields.push(Field::new(at + 10..at + 11, "length", length.to_string()));
        Some(Head { from: HEAD, control, length })
    };
    meter_frame::fields(bytes, head, |control, at, data, fields| of_data(traits, control, at, data, fields))
}

/// The fields of the data, which begin at the byte `at`.
fn of_data(traits: &Traits, control: u8, at: usize, data: &[u8], fields: &mut Vec<Field>) {
    let (false, Some((id, ser, payload))) = (control & EXCEPTION != 0, split(data)) else {
        let name = if control & EXCEPTION == 0 { "data" } else { "refusal" };
        return fields.push(Field::new(at..at + data.len(), name, hex(data)));
    };
    let order = DiOrder::of_wire(id).unwrap_or(traits.di_order);
    let read = order.read(id);
    fields.push(Field::new(at..at + 2, "identifier", format!("{read:04X} {}", di_name(read)).trim_end()));
    fields.push(Field::new(at + 2..at + 3, "serial number", ser.to_string()));
    let is_answer = control & FROM_METER != 0 && control & FUNCTION == function::READ;
    let known = items(Edition::V2018, payload.len()).filter(|_| is_answer);
    let mut from = at + 3;
    for item in known.into_iter().flatten() {
        let to = from + usize::from(item.bytes) + usize::from(item.with_unit);
        fields.push(Field::new(from..to, item.field.as_str(), item_text(traits, read, item, payload)));
        from = to;
    }
    if known.is_none() && !payload.is_empty() {
        let text = match (read, payload) {
            (di::VALVE, [0x55]) => "55 open".to_owned(),
            (di::VALVE, [0x99]) => "99 close".to_owned(),
            _ => hex(payload),
        };
        fields.push(Field::new(from..from + payload.len(), "data", text));
    }
}

/// The value of an item in the meter's own unit, as most meters lay it out.
fn item_text(traits: &Traits, di: u16, item: &Item, payload: &[u8]) -> String {
    let usual = Cjt188Point::usual(Edition::V2018, item.field);
    let slice = super::layout::slice(
        items(Edition::V2018, payload.len()).unwrap_or_default(),
        traits.unit_place,
        item.field,
        payload,
    );
    let unit = slice.and_then(|slice| slice.unit).and_then(Unit::of_code);
    let point = Cjt188Point { di, unit, ..usual };
    let named = unit.map_or(item.field.fixed_unit(), Unit::as_str);
    match point.decode(traits, payload) {
        Ok(value) if item.field == MeterField::Status => {
            let valve = Cjt188Point { field: MeterField::Valve, ..point }.decode(traits, payload);
            format!("{value}, valve {}", valve.map_or_else(|why| why.to_string(), |valve| valve.to_string()))
        }
        Ok(value) => format!("{value} {named}").trim_end().to_owned(),
        Err(why) => format!("no value ({why})"),
    }
}

fn di_name(read: u16) -> &'static str {
    match read {
        di::METERING => "what it counts now",
        di::SETTLEMENT_1..=di::SETTLEMENT_12 => "settlement of an earlier month",
        di::ADDRESS => "address",
        di::TIME => "clock",
        di::VALVE => "valve",
        di::NEW_ADDRESS => "new address",
        _ => "",
    }
}

fn type_text(kind: MeterType) -> String {
    let name = match kind.0 {
        0x10 => "cold water",
        0x11 => "hot water",
        0x12 => "drinking water",
        0x13 => "reclaimed water",
        0x20 => "heat",
        0x21 => "cooling",
        0x22 => "heat and cooling",
        0x30 => "gas",
        0x40..=0x49 => "another kind",
        0xAA => "whatever there is",
        _ => "not known here",
    };
    format!("{kind} {name}")
}

fn control_text(control: u8) -> String {
    let name = match control & FUNCTION {
        function::READ => "read",
        function::READ_ADDRESS => "read the address",
        function::WRITE => "write",
        function::WRITE_ADDRESS => "write the address",
        _ => "not known here",
    };
    let from = if control & FROM_METER == 0 { "" } else { ", from the meter" };
    let refused = if control & EXCEPTION == 0 { "" } else { ", refused" };
    format!("{control:02X} {name}{from}{refused}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cjt188::encode;
    use crate::dissect::told_in_order;

    const METER: (MeterType, Address) =
        (MeterType::COLD_WATER, Address::from_wire([0x44, 0x33, 0x22, 0x11, 0, 0x78, 0x33]));

    fn told(bytes: &[u8]) -> String {
        told_in_order(&fields(&Traits::default(), bytes), bytes)
    }

    #[test]
    fn an_answer_is_told_value_by_value_with_the_units_that_the_meter_names() {
        let mut bytes = Vec::new();
        let volumes = [0x34, 0x12, 0, 0, 0x2C, 0x56, 0, 0, 0, 0x29];
        let rest = [0x53, 0x00, 0x12, 0x10, 0x07, 0x15, 0x20, 0x01, 0x00];
        encode(2, METER, 0x81, &[&[0x1F, 0x90, 7], &volumes, &rest], &mut bytes);
        assert_eq!(
            told(&bytes),
            "preamble 2 × FE; type 10 cold water; address 33780011223344; control 81 read, from the meter; length 22; \
             identifier 901F what it counts now; serial number 7; current_volume 12.34 m3; settlement_volume 0.56 L; \
             clock 2015-07-10T12:00:53; status 1, valve closed; checksum bd, right"
        );
    }

    #[test]
    fn requests_refusals_and_wrong_sums_are_told() {
        let mut bytes = Vec::new();
        encode(0, METER, 0x04, &[&[0xA0, 0x17, 3, 0x99]], &mut bytes);
        assert!(
            told(&bytes).contains("control 04 write; length 4; identifier A017 valve; serial number 3; data 99 close;")
        );
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        assert!(told(&bytes).contains("wrong: it should be"));
        bytes.clear();
        encode(0, METER, 0xC1, &[&[3, 2, 0]], &mut bytes);
        assert!(told(&bytes).contains("control C1 read, from the meter, refused; length 3; refusal 03 02 00;"));
        assert_eq!(told(b"\x68\x10"), "no frame 68 10");
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics_and_fields_are_in_order() {
        let mut rng = fastrand::Rng::with_seed(9);
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = (0..rng.usize(..70)).map(|_| rng.u8(..)).collect();
            if round % 2 == 0 && bytes.len() > 11 {
                (bytes[0], bytes[9], bytes[10]) = (START, 0x81, *rng.choice(&[8, 22, 46, 43, 3, 2]).unwrap());
            }
            told(&bytes);
        }
    }
}
