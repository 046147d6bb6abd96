//! `value-format/1`: registers to values and back, in every order.

use gatehouse_core::{Decimal, NoData, Value as Reading};
use gatehouse_drivers::modbus::decode::decode_registers;
use gatehouse_drivers::modbus::encode::encode_registers;
use gatehouse_drivers::modbus::point::{DataType, ModbusPoint, Order, Table};
use serde_json::Value;

use super::{Bench, Outcome, hex};

/// A type by its name in vector files and register maps.
pub(super) fn data_type(name: &str, registers: u16) -> Result<DataType, String> {
    Ok(match name {
        "bool" => DataType::Bool,
        "u16" => DataType::U16,
        "i16" => DataType::I16,
        "u32" => DataType::U32,
        "i32" => DataType::I32,
        "u64" => DataType::U64,
        "i64" => DataType::I64,
        "f32" => DataType::F32,
        "f64" => DataType::F64,
        "bcd16" => DataType::Bcd16,
        "bcd32" => DataType::Bcd32,
        "bits16" => DataType::Bits16,
        "text" | "string" => DataType::Text { registers },
        _ => return Err(format!("nothing decodes the type {name}")),
    })
}

/// An order by its name: two, four or eight letters.
pub(super) fn order(name: &str) -> Result<Order, String> {
    Ok(match name {
        "AB" | "ABCD" | "ABCDEFGH" => Order::Abcd,
        "CDAB" | "GHEFCDAB" => Order::Cdab,
        "BA" | "BADC" | "BADCFEHG" => Order::Badc,
        "DCBA" | "HGFEDCBA" => Order::Dcba,
        _ => return Err(format!("nothing decodes the order {name}")),
    })
}

fn point(vector: &Value, order: Order) -> Result<ModbusPoint, String> {
    let name = vector["type"].as_str().ok_or("the vector has no type")?;
    Ok(ModbusPoint { data_type: data_type(name, 1)?, order, ..super::modbus::plain_point(Table::Holding, 0) })
}

fn registers(json: &Value) -> Result<Vec<u16>, String> {
    let register = |json: &Value| match json {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        json => match hex(json.as_str()?)?.as_slice() {
            [high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        },
    };
    let list = json.as_array().and_then(|list| list.iter().map(register).collect());
    list.ok_or_else(|| format!("{json} is no list of registers"))
}

pub(super) fn run_orders(_: &Bench, vector: &Value) -> Outcome {
    let orders = vector["registers_by_order"].as_object().filter(|orders| !orders.is_empty());
    for (name, expected) in orders.ok_or("the vector has no registers_by_order")? {
        let point = point(vector, order(name)?)?;
        let expected = registers(expected)?;
        let value = value(vector, point.data_type)?;
        let decoded = decode_registers(&point, &expected);
        if decoded.is_err() && decoded == no_number(&value) {
            continue;
        }
        if !decoded.as_ref().is_ok_and(|decoded| same_value(decoded, &value)) {
            return Err(format!("{name}: is decoded as {decoded:?} where {value:?} is right"));
        }
        match encode_registers(&point, &value) {
            Ok(encoded) if encoded == expected => {}
            Ok(encoded) => return Err(format!("{name}: is encoded as {encoded:04X?}")),
            Err(why) => return Err(format!("{name}: cannot be encoded: {why}")),
        }
    }
    Ok(())
}

/// What is read of a float that is no number; nothing is ever written so.
fn no_number(value: &Reading) -> Result<Reading, NoData> {
    let (nan, infinite) = match value {
        Reading::F32(value) => (value.is_nan(), value.is_infinite()),
        Reading::F64(value) => (value.is_nan(), value.is_infinite()),
        Reading::Bool(_) | Reading::Decimal(_) | Reading::Text(_) => (false, false),
    };
    match (nan, infinite) {
        (true, _) => Err(NoData::NotANumber),
        (_, true) => Err(NoData::Infinite),
        (false, false) => Ok(value.clone()),
    }
}

/// The value that the vector writes in decimal digits, as a text or as a number.
fn value(vector: &Value, data_type: DataType) -> Result<Reading, String> {
    let text = match &vector["value"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err("`value` is neither a text nor a number".to_owned()),
    };
    let failed = || format!("`value` {text} is no {}", data_type.as_str());
    match data_type {
        DataType::F32 => text.parse().map(Reading::F32).map_err(|_| failed()),
        DataType::F64 => text.parse().map(Reading::F64).map_err(|_| failed()),
        _ => Decimal::parse(&text).map(Reading::Decimal).map_err(|_| failed()),
    }
}

/// Floats by their bits, so that -0.0 is not 0.0.
fn same_value(a: &Reading, b: &Reading) -> bool {
    match (a, b) {
        (Reading::F32(a), Reading::F32(b)) => a.to_bits() == b.to_bits(),
        (Reading::F64(a), Reading::F64(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

pub(super) fn run_special(_: &Bench, vector: &Value) -> Outcome {
    let mut point = point(vector, vector["order"].as_str().map_or(Ok(Order::Abcd), order)?)?;
    if let Some(mark) = vector["na"].as_str() {
        point
            .not_available
            .push(u64::from_str_radix(mark.trim_start_matches("0x"), 16).map_err(|_| "`na` is not hexadecimal")?);
    }
    let decoded = decode_registers(&point, &registers(&vector["registers"])?);
    if let Some(bits) = vector["bits_set"].as_array() {
        let word = bits.iter().filter_map(Value::as_u64).fold(0i128, |word, bit| word | 1 << bit.min(63));
        let expected = Reading::Decimal(Decimal::whole(word));
        return if decoded == Ok(expected) { Ok(()) } else { Err(format!("is decoded as {decoded:?}")) };
    }
    let expect = super::text(vector, "expect")?;
    let expected = match expect.to_ascii_lowercase().as_str() {
        "bad quality (nan)" => NoData::NotANumber,
        "bad quality (infinite)" => NoData::Infinite,
        "missing" | "not_available" => NoData::NotAvailable,
        "non_bcd" => NoData::NotBcd,
        _ => {
            let known = "bad quality (NaN), bad quality (infinite), missing, non_bcd";
            return Err(format!("nothing knows what {expect:?} expects; there are {known}"));
        }
    };
    if decoded == Err(expected) {
        Ok(())
    } else {
        Err(format!("is decoded as {decoded:?} where {expected:?} is right"))
    }
}
