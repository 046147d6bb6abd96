//! `protocol-vectors/1` of `uhppote-udp`: datagrams through the codec.

use gatehouse_drivers::uhppote::date::time_text;
use gatehouse_drivers::uhppote::event::RawEvent;
use gatehouse_drivers::uhppote::request::Card;
use gatehouse_drivers::uhppote::{Datagram, Date, Reply, Request, Status, WireError};
use serde_json::{Map, Value, json};

use super::same::{Refused, literal, verdict};
use super::{Bench, Outcome, bytes};

pub(super) fn run(_: &Bench, vector: &Value) -> Outcome {
    let received = bytes(vector, "hex")?;
    if received.is_empty() {
        return verdict(vector, &Err(Refused::nothing()), literal);
    }
    let told = |why: WireError| Refused::told(why.class(), why);
    let decoded = match vector["direction"].as_str() {
        Some("req") => Datagram::read(&received).and_then(|datagram| request(&datagram)).map_err(told),
        Some("rsp") => reply(vector, &received)?.map_err(told),
        _ => return Err("`direction` is neither req nor rsp".to_owned()),
    };
    verdict(vector, &decoded, literal)
}

fn request(datagram: &Datagram) -> Result<Value, WireError> {
    let request = Request::read(datagram)?;
    // What is read must encode to the same bytes.
    if request.encode(datagram.serial()) != *datagram {
        return Ok(json!({ "encoded otherwise": format!("{:02x?}", request.encode(datagram.serial()).bytes()) }));
    }
    let fields = match request {
        Request::Discover
        | Request::Status
        | Request::CardCount
        | Request::DeleteCards
        | Request::Time
        | Request::EventIndex
        | Request::Listener => json!({}),
        Request::OpenDoor { door } | Request::Door { door } => json!({ "door": door }),
        Request::SetDoor { door, mode, delay_s } => json!({ "door": door, "mode": mode, "delay_s": delay_s }),
        Request::CardAt(index) | Request::Event(index) | Request::SetEventIndex(index) => json!({ "index": index }),
        Request::Card(card) | Request::DeleteCard(card) => json!({ "card": card.reveal() }),
        Request::PutCard(card) => card_fields(&card),
        Request::SetTime(time) => json!({ "datetime": time_text(time) }),
        Request::SetListener { address, port, interval_s } => listener(address, port, interval_s),
    };
    Ok(with_head(datagram, fields))
}

fn reply(vector: &Value, received: &[u8]) -> Result<Result<Value, WireError>, String> {
    let asked = match &vector["request_hex"] {
        Value::Null => None,
        _ => {
            let asked = bytes(vector, "request_hex")?;
            let datagram = Datagram::read(&asked).map_err(|why| format!("request_hex was refused: {why}"))?;
            let request = Request::read(&datagram).map_err(|why| format!("request_hex was refused: {why}"))?;
            Some((request, datagram.serial()))
        }
    };
    let read = Datagram::read(received).and_then(|datagram| {
        let reply = match &asked {
            Some((request, serial)) => Reply::judge(request, *serial, &datagram)?,
            None => Reply::read(&datagram)?,
        };
        Ok(with_head(&datagram, document(&reply)?))
    });
    Ok(read)
}

fn with_head(datagram: &Datagram, fields: Value) -> Value {
    let mut document = Map::new();
    document.insert("function".to_owned(), format!("{:02X}", datagram.function()).into());
    document.insert("serial".to_owned(), datagram.serial().into());
    if let Value::Object(fields) = fields {
        document.extend(fields);
    }
    Value::Object(document)
}

fn document(reply: &Reply) -> Result<Value, WireError> {
    Ok(match reply {
        Reply::Device(device) => {
            let [high, low] = device.version;
            json!({
                "ip": dotted(device.address), "mask": dotted(device.mask), "gateway": dotted(device.gateway),
                "mac": device.mac.map(|byte| format!("{byte:02x}")).join(":"),
                "version": format!("{high:02x}.{low:02x}"), "date": device.date.to_string(),
            })
        }
        Reply::Status(status) => status_fields(status)?,
        Reply::Done(succeeded) => json!({ "succeeded": succeeded }),
        Reply::Door { door, mode, delay_s } => json!({ "door": door, "mode": mode, "delay_s": delay_s }),
        Reply::CardCount(count) => json!({ "count": count }),
        Reply::Card(card) => card_fields(card),
        Reply::NoCard => json!({ "card": 0 }),
        Reply::DeletedCard => json!({ "card": u32::MAX }),
        Reply::Time(time) => json!({ "datetime": time_text(*time) }),
        Reply::Event(event) => {
            json!({
                "index": event.index, "type": event.kind, "granted": event.granted, "door": event.door,
                "direction": event.direction, "card": event.card.reveal(), "timestamp": event_time(event)?,
                "reason": event.reason,
            })
        }
        Reply::NoEvent { index } => without_event("type", 0, ("index", *index)),
        Reply::Overwritten { index } => without_event("type", 255, ("index", *index)),
        Reply::EventIndex(index) => json!({ "index": index }),
        Reply::Listener { address, port, interval_s } => listener(*address, *port, *interval_s),
    })
}

fn status_fields(status: &Status) -> Result<Value, WireError> {
    let mut fields = without_event("event_type", 0, ("event_index", status.event_index));
    let now = json!({
        "doors_open": status.doors, "buttons": status.buttons,
        "system_error": status.system_error, "system_time": time_text(status.clock?), "sequence": status.sequence,
        "special": status.special, "relays": status.relays, "inputs": status.inputs,
    });
    for (name, value) in now.as_object().into_iter().flatten() {
        fields[name.as_str()] = value.clone();
    }
    if let Some(event) = &status.event {
        fields["event_type"] = event.kind.into();
        fields["granted"] = event.granted.into();
        fields["door"] = event.door.into();
        fields["direction"] = event.direction.into();
        fields["card"] = event.card.reveal().into();
        fields["timestamp"] = event_time(event)?.into();
        fields["reason"] = event.reason.into();
    }
    Ok(fields)
}

/// The fields of an event where there is none: the controller fills them with zeros.
fn without_event(kind_name: &str, kind: u8, (index_name, index): (&str, u32)) -> Value {
    let mut fields = json!({ "granted": false, "door": 0, "direction": 0, "card": 0, "timestamp": null, "reason": 0 });
    fields[kind_name] = kind.into();
    fields[index_name] = index.into();
    fields
}

fn event_time(event: &RawEvent) -> Result<String, WireError> {
    event.at.map(time_text)
}

fn card_fields(card: &Card) -> Value {
    let day = |day: Option<Date>| day.map(|day| day.to_string());
    json!({
        "card": card.number.reveal(), "from": day(card.from), "to": day(card.until), "doors": card.doors,
        "pin": card.pin.reveal(), "first_card": card.first_card,
    })
}

fn dotted([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

fn listener(address: [u8; 4], port: u16, interval_s: u8) -> Value {
    json!({ "listener": format!("{}:{port}", dotted(address)), "interval": interval_s })
}
