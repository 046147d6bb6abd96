//! `protocol-vectors/1` of `cjt188`: frames through the codec.

use gatehouse_core::NoData;
use gatehouse_drivers::cjt188::frame::{di, function};
use gatehouse_drivers::cjt188::layout::{Item, items, slice};
use gatehouse_drivers::cjt188::reply::{refusal, split};
use gatehouse_drivers::cjt188::value::{clock, status};
use gatehouse_drivers::cjt188::{
    Address, Cjt188Point, DiOrder, Edition, Expect, Field, Frame, Traits, Unit, UnitPlace, WireError, encode,
};
use serde_json::{Map, Value, json};

use super::delivery::waits_for_the_last;
use super::same::{Refused, literal, verdict};
use super::{Bench, Outcome, bytes};

/// Why a frame is refused: by its bytes, or by the values in it.
type Class = &'static str;

const SHORT: Class = "bad_payload_length";

/// Runs one vector.
pub(super) fn run(_: &Bench, vector: &Value) -> Outcome {
    let received = bytes(vector, "hex")?;
    if received.is_empty() {
        return verdict(vector, &Err(Refused::nothing()), literal);
    }
    let got = match vector["direction"].as_str() {
        Some("req") => Frame::find(&received, false)
            .map_err(WireError::class)
            .and_then(|(frame, _)| same_bytes(&frame, &received).map(|()| frame)),
        Some("rsp") => {
            waits_for_the_last(vector, &received, |bytes| reply(vector, bytes).is_ok_and(|got| got.is_ok()))?;
            reply(vector, &received)?
        }
        _ => return Err("`direction` is neither req nor rsp".to_owned()),
    };
    let unit_place = match vector["decoded"]["unit_position"].as_str() {
        // No frame tells where the unit lies: it is a property of the meter, which the vector names.
        Some("before") => UnitPlace::Before,
        _ => UnitPlace::After,
    };
    let decoded = got.and_then(|frame| document(&frame, unit_place));
    verdict(vector, &decoded.map_err(Refused::from), literal)
}

/// What is decoded must encode to the same bytes.
fn same_bytes(frame: &Frame, received: &[u8]) -> Result<(), Class> {
    let mut encoded = Vec::new();
    encode(0, (frame.meter_type, frame.address), frame.control, &[frame.data()], &mut encoded);
    if received.ends_with(&encoded) { Ok(()) } else { Err("encoded otherwise") }
}

/// The first frame that answers the vector's request, or without one the first that comes from a meter.
fn reply(vector: &Value, received: &[u8]) -> Result<Result<Frame, Class>, String> {
    let expect = match &vector["request_hex"] {
        Value::Null => None,
        _ => {
            let asked = bytes(vector, "request_hex")?;
            let (request, _) = Frame::find(&asked, false).map_err(|why| format!("request_hex was refused: {why}"))?;
            Some(Expect::of_request(&request).ok_or("request_hex is no request that is answered")?)
        }
    };
    let mut rest = received;
    let mut refused = None;
    loop {
        let (frame, end) = match Frame::find(rest, true) {
            Ok(found) => found,
            Err(why) => return Ok(Err(refused.unwrap_or(why).class())),
        };
        match expect.map(|expect| expect.judge(&frame).map(drop)) {
            None | Some(Ok(())) => return Ok(Ok(frame)),
            Some(Err(why)) => refused = refused.or(Some(why)),
        }
        rest = &rest[end..];
    }
}

fn document(frame: &Frame, unit_place: UnitPlace) -> Result<Value, Class> {
    let mut fields = object(json!({
        "meter_type": frame.meter_type.to_string(),
        "address": frame.address.to_string(),
        "control": format!("{:02X}", frame.control),
        "from": if frame.is_from_meter() { "slave" } else { "master" },
        "exception": frame.is_exception(),
    }));
    if frame.is_exception() {
        let (ser, word) = refusal(frame.data()).ok_or(SHORT)?;
        fields.extend(object(json!({ "ser": ser, "st": format!("{word:04X}") })));
        return Ok(Value::Object(fields));
    }
    let (sent, ser, payload) = split(frame.data()).ok_or(SHORT)?;
    let order = DiOrder::of_wire(sent).ok_or("unknown_di")?;
    let di = order.read(sent);
    let order_name = match order {
        DiOrder::LowFirst => "LE",
        DiOrder::HighFirst => "BE",
    };
    fields.extend(object(json!({ "di": format!("{di:04X}"), "di_order": order_name, "ser": ser })));
    fields.extend(match (frame.is_from_meter(), frame.function()) {
        (false, _) => request(di, payload)?,
        (true, function::READ) => values(frame, di, payload, unit_place)?,
        (true, function::WRITE) if di == di::VALVE => state(status(payload).map_err(class)?),
        (true, _) => Map::new(),
    });
    Ok(Value::Object(fields))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What a request carries behind its serial number.
fn request(di: u16, payload: &[u8]) -> Result<Map<String, Value>, Class> {
    let fields = match di {
        di::VALVE => {
            let motion = match *payload {
                [0x55] => "open",
                [0x99] => "close",
                [_] => "other",
                _ => return Err(SHORT),
            };
            json!({ "valve": motion })
        }
        di::TIME => json!({ "datetime": time(payload)? }),
        di::NEW_ADDRESS => {
            let address = Address::from_wire(payload.try_into().map_err(|_| SHORT)?);
            json!({ "new_address": address.to_string() })
        }
        _ => json!({}),
    };
    Ok(object(fields))
}

fn time(payload: &[u8]) -> Result<Value, Class> {
    match clock(payload, Traits::default().clock_order) {
        Ok(at) => {
            let (date, time) = ((at.year, at.month, at.day), (at.hour, at.minute, at.second));
            let text = format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", date.0, date.1, date.2, time.0, time.1, time.2);
            Ok(text.into())
        }
        Err(NoData::NotAvailable) => Ok(Value::Null),
        Err(why) => Err(class(why)),
    }
}

/// The status as the vectors write it, and what its bits say.
fn state(word: u16) -> Map<String, Value> {
    let bits = Traits::default().status;
    let said = json!({ "valve": bits.valve(word).as_str(), "battery_low": bits.is_battery_low(word) });
    object(json!({ "st": format!("{word:04X}"), "status": said }))
}

fn class(why: NoData) -> Class {
    match why {
        NoData::NotAvailable => "not_available",
        NoData::NotBcd => "non_bcd",
        NoData::OutOfRange => "invalid_datetime",
        NoData::UnexpectedUnit(_) => "unknown_unit",
        NoData::BadReply => SHORT,
        _ => "bad_payload",
    }
}

/// The values of a reply to a read.
fn values(frame: &Frame, di: u16, payload: &[u8], unit_place: UnitPlace) -> Result<Map<String, Value>, Class> {
    // Both layouts of heat meters are known by their length.
    let edition = Edition::V2018;
    let layout = items(edition, payload.len()).ok_or(SHORT)?;
    let traits = Traits { meter_type: frame.meter_type, unit_place, ..Traits::default() };
    let mut fields = Map::new();
    let mut list = Vec::new();
    for item in layout {
        let found = slice(layout, unit_place, item.field, payload).ok_or(SHORT)?;
        match item.field {
            Field::Clock => drop(fields.insert("datetime".to_owned(), time(found.value)?)),
            Field::Status => match found.value {
                &[low, high] => fields.extend(state(u16::from_le_bytes([low, high]))),
                _ => return Err(SHORT),
            },
            _ => list.push(value(edition, &traits, (di, *item), found.unit, payload)?),
        }
    }
    fields.insert("items".to_owned(), list.into());
    let place = match unit_place {
        UnitPlace::After => "after",
        UnitPlace::Before => "before",
    };
    fields.insert("unit_position".to_owned(), place.into());
    Ok(fields)
}

/// One value; the vectors name no unit beforehand, so that each that is known counts.
fn value(
    edition: Edition,
    traits: &Traits,
    (di, item): (u16, Item),
    code: Option<u8>,
    payload: &[u8],
) -> Result<Value, Class> {
    let unit = match code {
        Some(code) => Some(Unit::of_code(code).ok_or("unknown_unit")?),
        None => None,
    };
    let point = Cjt188Point { di, unit, ..Cjt188Point::usual(edition, item.field) };
    let value = match point.decode(traits, payload) {
        Ok(value) => value.to_string().into(),
        Err(NoData::NotAvailable) => Value::Null,
        Err(why) => return Err(class(why)),
    };
    let unit = unit.map_or(item.field.fixed_unit(), Unit::as_str);
    Ok(json!({ "name": name(traits, di, item.field), "value": value, "unit": unit }))
}

/// The name of a value in the vectors.
fn name(traits: &Traits, di: u16, field: Field) -> String {
    let what = if traits.meter_type.is_heat() { "heat" } else { "flow" };
    match (field, di) {
        (Field::Value, di::METERING) => format!("current_{what}"),
        (Field::Value, di::SETTLEMENT_1..=di::SETTLEMENT_12) => {
            format!("settlement_{what}_m{}", di - di::SETTLEMENT_1 + 1)
        }
        (Field::CurrentVolume, _) => "current_flow".to_owned(),
        (Field::SettlementVolume, _) => "settlement_flow".to_owned(),
        (Field::CumulativeVolume, _) => "cumulative_flow".to_owned(),
        (Field::SupplyTemperature, _) => "supply_temp".to_owned(),
        (Field::ReturnTemperature, _) => "return_temp".to_owned(),
        (field, _) => field.as_str().to_owned(),
    }
}
