//! `protocol-vectors/1` of `dlt645-2007` and `dlt645-1997`: frames through the codec.

use gatehouse_core::{NoData, Value as Reading};
use gatehouse_drivers::dlt645::catalog::{self, Axis, Layout};
use gatehouse_drivers::dlt645::control::{Access, Freeze, command_name, read_time};
use gatehouse_drivers::dlt645::frame::function;
use gatehouse_drivers::dlt645::reply::{is_more, is_read};
use gatehouse_drivers::dlt645::words::{self, set_bits};
use gatehouse_drivers::dlt645::{Address, Dlt645Point, Edition, Expect, Format, Frame, WireError, encode};
use serde_json::{Map, Value, json};

use super::delivery::waits_for_the_last;
use super::same::{Refused, verdict};
use super::{Bench, Outcome, bytes, names};

pub(super) fn run_2007(_: &Bench, vector: &Value) -> Outcome {
    run(Edition::V2007, vector)
}

pub(super) fn run_1997(_: &Bench, vector: &Value) -> Outcome {
    run(Edition::V1997, vector)
}

/// Why a frame is refused: by its bytes, or by the values in it.
type Class = &'static str;

fn run(edition: Edition, vector: &Value) -> Outcome {
    let received = bytes(vector, "hex")?;
    if received.is_empty() {
        return verdict(vector, &Err(Refused::nothing()), names::label);
    }
    let got = match vector["direction"].as_str() {
        Some("req") => Frame::find(&received, false)
            .map_err(WireError::class)
            .and_then(|(frame, _)| same_bytes(&frame, &received).map(|()| frame)),
        Some("rsp") => {
            waits_for_the_last(vector, &received, |bytes| reply(edition, vector, bytes).is_ok_and(|got| got.is_ok()))?;
            reply(edition, vector, &received)?
        }
        _ => return Err("`direction` is neither req nor rsp".to_owned()),
    };
    let decoded = got.and_then(|frame| document(edition, &frame));
    verdict(vector, &decoded.map_err(Refused::from), names::label)
}

/// What is decoded must encode to the same bytes.
fn same_bytes(frame: &Frame, received: &[u8]) -> Result<(), Class> {
    let mut encoded = Vec::new();
    encode(0, frame.address, frame.control, &[frame.data()], &mut encoded);
    if received.ends_with(&encoded) { Ok(()) } else { Err("encoded otherwise") }
}

/// The first frame that answers the vector's request, or without one the first that comes from a meter.
fn reply(edition: Edition, vector: &Value, received: &[u8]) -> Result<Result<Frame, Class>, String> {
    let expect = match &vector["request_hex"] {
        Value::Null => None,
        _ => {
            let asked = bytes(vector, "request_hex")?;
            let (request, _) = Frame::find(&asked, false).map_err(|why| format!("request_hex was refused: {why}"))?;
            Some(Expect::of_request(&request, edition).ok_or("request_hex is no request that is answered")?)
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

fn document(edition: Edition, frame: &Frame) -> Result<Value, Class> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("address", frame.address.to_string().into());
    put("control", format!("{:02X}", frame.control).into());
    put("from", if frame.is_from_meter() { "slave" } else { "master" }.into());
    put("exception", frame.is_exception().into());
    put("more", frame.has_more().into());
    put("function", frame.function().into());
    let payload = if frame.is_exception() {
        refusal(edition, frame)?
    } else if frame.is_from_meter() {
        answer(edition, frame)?
    } else {
        request(edition, frame)?
    };
    fields.extend(payload);
    Ok(Value::Object(fields))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn di_text(edition: Edition, di: u32) -> String {
    match edition {
        Edition::V1997 => format!("{di:04X}"),
        Edition::V2007 => format!("{di:08X}"),
    }
}

fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SHORT: Class = "bad_payload_length";

fn request(edition: Edition, frame: &Frame) -> Result<Map<String, Value>, Class> {
    let (function, data) = (frame.function(), frame.data());
    let fields = match function {
        _ if is_read(function) => {
            let (di, rest) = edition.split_di(data).ok_or(SHORT)?;
            json!({ "di": di_text(edition, di), "payload_hex": hex_text(rest) })
        }
        _ if is_more(function) => {
            let (di, rest) = edition.split_di(data).ok_or(SHORT)?;
            json!({ "di": di_text(edition, di), "seq": rest.first() })
        }
        function::WRITE => {
            let (di, rest) = edition.split_di(data).ok_or(SHORT)?;
            let (access, payload) = rest.split_first_chunk::<8>().ok_or(SHORT)?;
            let mut fields = access_document(*access)?;
            fields.insert("di".to_owned(), di_text(edition, di).into());
            fields.insert("payload_hex".to_owned(), hex_text(payload).into());
            return Ok(fields);
        }
        function::SET_TIME => {
            let time = read_time(data.try_into().map_err(|_| SHORT)?).ok_or("invalid_datetime")?;
            json!({ "datetime": time_text(time) })
        }
        function::FREEZE => freeze(Freeze::read(data.try_into().map_err(|_| SHORT)?).ok_or("invalid_datetime")?),
        function::SET_SPEED => json!({ "baud": baud(data)? }),
        function::WRITE_ADDRESS => {
            let address = Address::from_wire(data.try_into().map_err(|_| SHORT)?);
            json!({ "new_address": address.to_string() })
        }
        function::CLEAR_DEMAND | function::CLEAR_METER => {
            return access_document(data.try_into().map_err(|_| SHORT)?);
        }
        function::CLEAR_EVENTS => {
            let (access, events) = data.split_first_chunk::<8>().ok_or(SHORT)?;
            let events = events.try_into().map_err(|_| SHORT)?;
            let mut fields = access_document(*access)?;
            fields.insert("di".to_owned(), di_text(edition, u32::from_le_bytes(events)).into());
            return Ok(fields);
        }
        function::CONTROL => {
            let (access, rest) = data.split_first_chunk::<8>().ok_or(SHORT)?;
            let &[code, _, ref until @ ..] = rest else { return Err(SHORT) };
            let until = read_time(until.try_into().map_err(|_| SHORT)?).ok_or("invalid_datetime")?;
            let mut fields = access_document(*access)?;
            fields.insert("command_code".to_owned(), format!("{code:02X}").into());
            fields.insert("command".to_owned(), command_name(code).into());
            fields.insert("valid_until".to_owned(), time_text(until).into());
            return Ok(fields);
        }
        _ => json!({}),
    };
    Ok(object(fields))
}

fn access_document(access: [u8; 8]) -> Result<Map<String, Value>, Class> {
    let access = Access::from_wire(access).ok_or("non_bcd")?;
    Ok(object(json!({
        "pa": access.level, "password": format!("{:06}", access.password), "operator": format!("{:08}", access.operator),
    })))
}

fn time_text(at: gatehouse_core::LocalTime) -> String {
    let (date, time) = ((at.year, at.month, at.day), (at.hour, at.minute, at.second));
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", date.0, date.1, date.2, time.0, time.1, time.2)
}

fn freeze(freeze: Freeze) -> Value {
    match freeze {
        Freeze::Instant => json!({ "freeze": "instant" }),
        Freeze::Hourly { minute } => json!({ "freeze": "hourly", "minute": minute }),
        Freeze::Daily { hour, minute } => json!({ "freeze": "daily", "hour": hour, "minute": minute }),
        Freeze::Monthly { day, hour, minute } => {
            json!({ "freeze": "monthly", "day": day, "hour": hour, "minute": minute })
        }
    }
}

/// One bit of the byte is set: bit 1 for 600 baud, and double from there.
fn baud(data: &[u8]) -> Result<u32, Class> {
    match *data {
        [speed @ (0x02 | 0x04 | 0x08 | 0x10 | 0x20 | 0x40)] => Ok(300 * u32::from(speed)),
        [_] => Err("bad_payload"),
        _ => Err(SHORT),
    }
}

fn refusal(edition: Edition, frame: &Frame) -> Result<Map<String, Value>, Class> {
    let fields = match *frame.data() {
        [] => json!({}),
        [error] => {
            let names: Vec<_> = match edition {
                Edition::V1997 => set_bits(&words::ERROR_1997, error.into()).collect(),
                Edition::V2007 => set_bits(&words::ERROR_2007, error.into()).collect(),
            };
            json!({ "err": format!("{error:02X}"), "err_bits": names })
        }
        [low, high] => {
            let word = u16::from_le_bytes([low, high]);
            let names: Vec<_> = set_bits(&words::CONTROL_ERROR, word).collect();
            json!({ "serr": format!("{word:04X}"), "serr_bits": names })
        }
        _ => return Err(SHORT),
    };
    Ok(object(fields))
}

fn answer(edition: Edition, frame: &Frame) -> Result<Map<String, Value>, Class> {
    let (function, data) = (frame.function(), frame.data());
    if function == function::READ_ADDRESS {
        let address = Address::from_wire(data.try_into().map_err(|_| SHORT)?);
        return Ok(object(json!({ "read_address": address.to_string() })));
    }
    if function == function::SET_SPEED {
        return Ok(object(json!({ "baud": baud(data)? })));
    }
    if !is_read(function) && !is_more(function) {
        return Ok(Map::new());
    }
    let (di, mut payload) = edition.split_di(data).ok_or(SHORT)?;
    let mut fields = object(json!({ "di": di_text(edition, di) }));
    if function == function::READ_MORE {
        let (sequence, rest) = payload.split_last().ok_or(SHORT)?;
        fields.insert("seq".to_owned(), (*sequence).into());
        payload = rest;
    }
    fields.insert("payload_hex".to_owned(), hex_text(payload).into());
    // A part of an answer may end within a value.
    if let (false, false, Some(layout)) = (is_more(function), frame.has_more(), catalog::layout(edition, di)) {
        fields.extend(values(edition, di, &layout.of_length(edition, di, payload.len()), payload)?);
    }
    Ok(fields)
}

fn class(why: NoData) -> Class {
    match why {
        NoData::NotAvailable => "not_available",
        NoData::NotBcd => "non_bcd",
        NoData::OutOfRange => "invalid_datetime",
        NoData::BadReply => SHORT,
        _ => "bad_payload",
    }
}

fn values(edition: Edition, di: u32, layout: &Layout, payload: &[u8]) -> Result<Map<String, Value>, Class> {
    let point = |item: u8, offset: u8, format: Format| Dlt645Point {
        edition,
        di,
        item: item - layout.first,
        item_bytes: layout.item_bytes(),
        offset,
        format,
        bit: None,
    };
    let read = |item: u8, offset: u8, format: Format| {
        point(item, offset, format).decode(payload, 0, layout.is_block.then_some(layout.axis))
    };
    let single = read(layout.first, 0, layout.format).map_err(class);
    match layout.format {
        Format::Date => {
            let weekday = payload.first().copied().unwrap_or(0);
            return Ok(object(json!({ "date": single?.to_string(), "weekday": weekday })));
        }
        Format::Time => return Ok(object(json!({ "time": single?.to_string() }))),
        Format::Minute => return Ok(object(json!({ "freeze_time": single?.to_string() }))),
        Format::Word { bytes: 2 } if !layout.is_block => return Ok(word(layout.first + 1, &single?)),
        _ => {}
    }
    let mut items = Vec::new();
    for item in layout.first..=u8::MAX {
        let value = match read(item, 0, layout.format) {
            // The row of a block ends here; a value of FF within it is no end.
            Err(NoData::NotAvailable) if layout.is_block && usize::from(item) >= layout.items_in(edition, payload) => {
                break;
            }
            Err(NoData::NotAvailable) if layout.is_block => Value::Null,
            other => other.map_err(class)?.to_string().into(),
        };
        let mut fields = object(json!({ "name": layout.name(item), "value": value, "unit": layout.unit_of(item) }));
        let settlement = if layout.axis == Axis::Settlements { item } else { layout.settlement };
        if settlement > 0 || layout.axis == Axis::Settlements {
            fields.insert("settlement".to_owned(), settlement.into());
        }
        if layout.with_time {
            let at = read(item, layout.format.bytes(), Format::Minute);
            fields.insert("at".to_owned(), at.map_or(Value::Null, |at| at.to_string().into()));
        }
        items.push(Value::Object(fields));
        if !layout.is_block {
            break;
        }
    }
    Ok(object(json!({ "items": items })))
}

fn word(number: u8, value: &Reading) -> Map<String, Value> {
    let word = match value {
        Reading::Decimal(word) => u16::try_from(word.mantissa).unwrap_or(0),
        _ => 0,
    };
    let faults: Vec<_> = set_bits(words::status_bits(number), word).collect();
    let mut fields = object(json!({ "word": format!("{word:04X}"), "faults": faults }));
    if number == 3 {
        let bit = |at: u8| word >> at & 1 == 1;
        let supply = match word >> 1 & 3 {
            0 => "main",
            1 => "auxiliary",
            2 => "battery",
            _ => "reserved",
        };
        let bits = json!({
            "supply": supply, "relay_open": bit(words::RELAY_OPEN),
            "relay_command_open": bit(words::RELAY_COMMAND_OPEN), "pretrip_alarm": bit(7),
        });
        fields.insert("bits".to_owned(), bits);
    }
    fields
}
