//! `protocol-vectors/1` of `modbus`: frames through the codec and, for reads, through the driver as well.

use gatehouse_core::driver::Decoded;
use gatehouse_core::{Decimal, Driver, PointIx, PointReading, StepId, Value as Reading};
use gatehouse_drivers::modbus::pdu::{Identification, Reply, Request, coil_state};
use gatehouse_drivers::modbus::point::{DataType, ModbusPoint, Order, Table};
use gatehouse_drivers::modbus::{
    Cost, Framing, ModbusDevice, ReplyFrame, RequestFrame, WireError, decode_reply, decode_request,
};
use gatehouse_drivers::profile::Limits;
use serde_json::{Map, Value, json};

use super::delivery::chunks;
use super::same::{Refused, literal, verdict};
use super::{Bench, Outcome, bytes};

pub(super) fn run(_: &Bench, vector: &Value) -> Outcome {
    let framing = framing(vector)?;
    let received = bytes(vector, "hex")?;
    match vector["direction"].as_str() {
        Some("req") => {
            let got = decode_request(framing, &received);
            if let Ok(frame) = &got {
                same_bytes(framing, frame, &received)?;
            }
            let got = got.map(|frame| request_json(&frame)).map_err(|why| refused(why, framing, &received));
            verdict(vector, &got, literal)
        }
        Some("rsp") => run_reply(vector, framing, &received),
        _ => Err("`direction` is neither req nor rsp".to_owned()),
    }
}

fn framing(vector: &Value) -> Result<Framing, String> {
    match &vector["transport"] {
        Value::Null => Ok(Framing::Rtu),
        Value::String(name) => match name.as_str() {
            "rtu" | "rtu-over-tcp" => Ok(Framing::Rtu),
            "ascii" => Ok(Framing::Ascii),
            "tcp" => Ok(Framing::Tcp),
            other => Err(format!("nothing runs the transport {other}")),
        },
        _ => Err("`transport` is no text".to_owned()),
    }
}

fn refused(why: WireError, framing: Framing, received: &[u8]) -> Refused {
    let told = Refused::told(why.class(), why);
    match why {
        // An ASCII frame of which only the end did not come is cut off as well.
        WireError::BadEnd if framing == Framing::Ascii && !received.ends_with(b"\n") => told.or("truncated"),
        WireError::Timeout if received.is_empty() => told.or("no_frame"),
        _ => told,
    }
}

fn run_reply(vector: &Value, framing: Framing, received: &[u8]) -> Outcome {
    let asked = match &vector["request_hex"] {
        Value::Null => None,
        _ => Some(bytes(vector, "request_hex")?),
    };
    let request = asked.as_ref().map(|bytes| decode_request(framing, bytes)).transpose();
    let request = request.map_err(|why| format!("request_hex was refused as {}: {why}", why.class()))?;
    let chunks = chunks(vector, received)?;
    let mut arrived = 0;
    for chunk in &chunks[..chunks.len() - 1] {
        arrived += chunk.len();
        if let Ok(early) = decode_reply(framing, &received[..arrived], request.as_ref()) {
            return Err(format!("was taken as complete after {arrived} bytes: {}", reply_json(&early)));
        }
    }
    let got = decode_reply(framing, received, request.as_ref());
    let said = got.as_ref().map(reply_json).map_err(|why| refused(*why, framing, received));
    verdict(vector, &said, literal)?;
    match (&asked, request) {
        (Some(asked), Some(RequestFrame { transaction, unit: unit @ 1.., request: Request::Read { .. } })) => {
            let device = reader(framing, unit, asked)?;
            same_readings(&got, &deliver(&device, transaction.unwrap_or(0), asked, &chunks)?)
        }
        _ => Ok(()),
    }
}

/// What is decoded must encode to the same bytes; the padding of a row of coils is free.
fn same_bytes(framing: Framing, frame: &RequestFrame, received: &[u8]) -> Outcome {
    let mut encoded = Vec::new();
    frame.encode(framing, &mut encoded);
    let padded = matches!(&frame.request, Request::WriteCoils { coils, .. } if coils.len() % 8 != 0);
    if encoded == received || padded && decode_request(framing, &encoded).as_ref() == Ok(frame) {
        return Ok(());
    }
    Err(format!("is encoded as {}", upper_hex(&encoded)))
}

pub(super) fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A driver with one plain point for each address of a read.
fn reader(framing: Framing, unit: u8, request: &[u8]) -> Result<ModbusDevice, String> {
    let frame = decode_request(framing, request).map_err(|why| why.to_string())?;
    let Request::Read { table, address, quantity } = frame.request else { return Err("no read".to_owned()) };
    let points: Vec<_> = (0..quantity).map(|at| plain_point(table, address.wrapping_add(at))).collect();
    device(framing, unit, points)
}

/// A driver that polls all of `points` together.
pub(super) fn device(framing: Framing, unit: u8, points: Vec<ModbusPoint>) -> Result<ModbusDevice, String> {
    let group = (0..).map(PointIx).take(points.len()).collect();
    let cost = Cost { per_request_ns: 1_000_000_000, per_byte_ns: 1 };
    let limits = Limits { max_gap: u16::MAX, ..Limits::default() };
    ModbusDevice::new(framing, unit, points, vec![group], limits, cost).map_err(|why| why.to_string())
}

/// The raw bit or register at an address.
pub(super) fn plain_point(table: Table, address: u16) -> ModbusPoint {
    let bits = matches!(table, Table::Coil | Table::Discrete);
    ModbusPoint {
        table,
        address,
        data_type: if bits { DataType::Bool } else { DataType::U16 },
        order: Order::Abcd,
        bit: None,
        scale: Decimal::whole(1),
        offset: Decimal::whole(0),
        not_available: Vec::new(),
        write: None,
    }
}

/// What a driver made of a delivery.
pub(super) struct Delivery {
    /// The reply's readings.
    pub(super) readings: Vec<PointReading>,
    /// The exception's code.
    pub(super) exception: Option<u8>,
}

/// Has the driver send its only request, which must be `asked`, and hands it the chunks, as a line does.
pub(super) fn deliver(device: &ModbusDevice, tag: u16, asked: &[u8], chunks: &[&[u8]]) -> Result<Delivery, String> {
    let mut steps = Vec::new();
    device.group_steps(0, &mut steps);
    let &[step] = steps.as_slice() else { return Err(format!("the driver plans {} requests", steps.len())) };
    let mut sent = Vec::new();
    device.encode(step, tag, &mut sent);
    if sent != asked {
        return Err(format!("the driver asks {}", upper_hex(&sent)));
    }
    let mut delivery = Delivery { readings: Vec::new(), exception: None };
    let mut buffer = Vec::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        if take(device, step, tag, &mut buffer, &mut delivery)? {
            break;
        }
    }
    Ok(delivery)
}

/// True when the buffer gave the reply.
fn take(
    device: &ModbusDevice,
    step: StepId,
    tag: u16,
    buffer: &mut Vec<u8>,
    delivery: &mut Delivery,
) -> Result<bool, String> {
    while !buffer.is_empty() {
        match device.decode(step, tag, buffer, &mut delivery.readings) {
            Decoded::Incomplete { .. } => return Ok(false),
            Decoded::Skip { bytes, .. } if (1..=buffer.len()).contains(&bytes) => drop(buffer.drain(..bytes)),
            Decoded::Skip { bytes, .. } => return Err(format!("the driver skips {bytes} of {} bytes", buffer.len())),
            Decoded::Reply { .. } | Decoded::Nothing { .. } => return Ok(true),
            Decoded::Exception { code, .. } => {
                delivery.exception = Some(code);
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The driver must say of a read what the codec says.
fn same_readings(codec: &Result<ReplyFrame, WireError>, driver: &Delivery) -> Outcome {
    let values: Vec<_> = driver.readings.iter().map(|reading| reading.value.clone()).collect();
    let (expected, exception) = match codec.as_ref().map(|frame| &frame.reply) {
        Ok(Reply::Bits { bits, .. }) => (bits.iter().map(|bit| Ok(Reading::Bool(*bit))).collect(), None),
        Ok(Reply::Registers { registers, .. }) => {
            let number = |register: &u16| Ok(Reading::Decimal(Decimal::whole(i128::from(*register))));
            (registers.iter().map(number).collect(), None)
        }
        Ok(Reply::Exception { code, .. }) => (Vec::new(), Some(*code)),
        Ok(_) | Err(_) => (Vec::new(), None),
    };
    if values == expected && driver.exception == exception {
        return Ok(());
    }
    Err(format!("the driver reads {values:?} with exception {:?}", driver.exception))
}

fn object(transaction: Option<u16>, unit: u8, function: u8, fields: Value) -> Value {
    let mut object = Map::new();
    if let Some(transaction) = transaction {
        object.insert("tid".to_owned(), transaction.into());
    }
    object.insert("unit".to_owned(), unit.into());
    object.insert("fc".to_owned(), function.into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

fn row(bits: &[bool]) -> String {
    bits.iter().map(|bit| if *bit { '1' } else { '0' }).collect()
}

/// The state of a coil, or the word of boards that give others a meaning.
fn coil(value: u16) -> Value {
    coil_state(value).map_or_else(|| value.into(), Value::Bool)
}

fn request_json(frame: &RequestFrame) -> Value {
    let fields = match &frame.request {
        Request::Read { address, quantity, .. } => json!({"address": address, "quantity": quantity}),
        Request::WriteCoil { address, value } => json!({"address": address, "value": coil(*value)}),
        Request::WriteRegister { address, value } => json!({"address": address, "value": value}),
        Request::WriteCoils { address, coils } => {
            json!({"address": address, "quantity": coils.len(), "bits": row(coils)})
        }
        Request::WriteRegisters { address, registers } => {
            json!({"address": address, "quantity": registers.len(), "registers": registers})
        }
        Request::MaskWrite { address, and_mask, or_mask } => {
            json!({"address": address, "and_mask": and_mask, "or_mask": or_mask})
        }
        Request::ReadWrite { read_address, read_quantity, write_address, registers } => json!({
            "read_address": read_address, "read_quantity": read_quantity,
            "write_address": write_address, "write_quantity": registers.len(), "write_registers": registers,
        }),
        Request::Identify { read_code, object } => json!({"mei": 14, "read_code": read_code, "object": object}),
    };
    object(frame.transaction, frame.unit, frame.request.function(), fields)
}

fn reply_json(frame: &ReplyFrame) -> Value {
    let fields = match &frame.reply {
        Reply::Bits { bits, .. } => json!({"bits": row(bits)}),
        Reply::Registers { registers, .. } => json!({"registers": registers}),
        Reply::WriteCoil { address, value } => json!({"address": address, "value": coil(*value)}),
        Reply::WriteRegister { address, value } => json!({"address": address, "value": value}),
        Reply::WriteMultiple { address, quantity, .. } => json!({"address": address, "quantity": quantity}),
        Reply::MaskWrite { address, and_mask, or_mask } => {
            json!({"address": address, "and_mask": and_mask, "or_mask": or_mask})
        }
        Reply::Identification(id) => identification_json(id),
        Reply::Exception { code, .. } => json!({"exception": code}),
    };
    object(frame.transaction, frame.unit, frame.reply.function(), fields)
}

fn identification_json(id: &Identification) -> Value {
    let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
    let objects: Map<_, _> = id.objects.iter().map(|(number, bytes)| (number.to_string(), text(bytes))).collect();
    json!({
        "mei": 14, "read_code": id.read_code, "conformity": id.conformity, "more": id.more, "next": id.next,
        "objects": objects,
    })
}
