//! `device-decode/1`: a device's reply through the driver, by its register map or profile.

use gatehouse_core::{PointReading, Value as Reading};
use gatehouse_drivers::modbus::pdu::Request;
use gatehouse_drivers::modbus::point::{ModbusPoint, Table};
use gatehouse_drivers::modbus::{Framing, RequestFrame, decode_request};
use gatehouse_drivers::point::PointSpec;
use serde_json::Value;

use super::modbus::{deliver, device, plain_point};
use super::{Bench, Outcome, bytes};

pub(super) fn run(bench: &Bench, case: &Value) -> Outcome {
    let name = case["device"].as_str().ok_or("the case has no device")?;
    let asked = bytes(case, "request_hex")?;
    let answered = bytes(case, "response_hex")?;
    let framing = match case["transport"].as_str() {
        None | Some("rtu" | "rtu-over-tcp") => Framing::Rtu,
        Some("tcp") => Framing::Tcp,
        Some(other) => return Err(format!("nothing runs the transport {other}")),
    };
    let frame = decode_request(framing, &asked).map_err(|why| format!("request_hex was refused as {}", why.class()))?;
    let RequestFrame { transaction, unit, request: Request::Read { table, address, quantity } } = frame else {
        return Err("request_hex is no read".to_owned());
    };
    let points = points_within(&bench.profile(name)?.points, table, address, quantity);
    let driver = device(framing, unit, points.iter().map(|(_, place)| place.clone()).collect())?;
    let delivery = deliver(&driver, transaction.unwrap_or(0), &asked, &[&answered])?;
    if let Some(code) = delivery.exception {
        return Err(format!("the reply is exception {code}"));
    }
    if delivery.readings.is_empty() {
        return Err("the driver does not take response_hex as the reply".to_owned());
    }
    let expected = case["expect"].as_array().filter(|list| !list.is_empty()).ok_or("the case expects nothing")?;
    let differs: Vec<_> =
        expected.iter().filter_map(|expected| same_point(expected, &points, &delivery.readings).err()).collect();
    if differs.is_empty() { Ok(()) } else { Err(differs.join("; ")) }
}

/// The profile's points that a read gives whole, and a plain point for each address that none of them takes, so that the
/// driver plans this very read.
fn points_within(
    profile: &[PointSpec],
    table: Table,
    address: u16,
    quantity: u16,
) -> Vec<(Option<&PointSpec>, ModbusPoint)> {
    let end = u32::from(address) + u32::from(quantity);
    let first_last =
        |point: &ModbusPoint| (u32::from(point.address), u32::from(point.address) + u32::from(point.width()));
    let within = |point: &ModbusPoint| {
        let (first, after) = first_last(point);
        point.table == table && first >= u32::from(address) && after <= end
    };
    let places = profile.iter().filter_map(|point| Some((Some(point), point.modbus()?.clone())));
    let mut points: Vec<_> = places.filter(|(_, place)| within(place)).collect();
    for at in u32::from(address)..end {
        let taken = points.iter().any(|(_, place)| (first_last(place).0..first_last(place).1).contains(&at));
        if let (false, Ok(at)) = (taken, u16::try_from(at)) {
            points.push((None, plain_point(table, at)));
        }
    }
    points
}

fn same_point(expected: &Value, points: &[(Option<&PointSpec>, ModbusPoint)], readings: &[PointReading]) -> Outcome {
    let name = expected["name"].as_str().ok_or("a point without a name is expected")?;
    let named = |(at, (spec, _)): (usize, &(Option<&PointSpec>, ModbusPoint))| {
        (*spec).filter(|spec| spec.name == *name).map(|spec| (at, spec.unit.clone()))
    };
    let Some((at, own_unit)) = points.iter().enumerate().find_map(named) else {
        return Err(format!("{name}: no point of that name lies in the request"));
    };
    let reading = readings.iter().find(|reading| usize::from(reading.point.0) == at);
    let value = &reading.ok_or_else(|| format!("{name}: was not read"))?.value;
    if let Some(unit) = expected["unit"].as_str()
        && unit != own_unit
    {
        return Err(format!("{name}: the unit is {own_unit:?} where {unit:?} is right"));
    }
    let right = match (&expected["value"], value) {
        (Value::Null, Err(_)) => true,
        (Value::Bool(expected), Ok(Reading::Bool(on))) => on == expected,
        (Value::String(expected), Ok(Reading::Bool(on))) => {
            ["0", "1"][usize::from(*on)] == expected || on.to_string() == *expected
        }
        (Value::String(expected), Ok(value)) => value.to_string() == *expected,
        (Value::Number(number), Ok(value)) => {
            near(number.as_f64(), value, expected["tolerance"].as_f64().unwrap_or(0.0))
        }
        _ => false,
    };
    if right {
        return Ok(());
    }
    match value {
        Ok(value) => Err(format!("{name}: is {value} where {} is right", expected["value"])),
        Err(why) => Err(format!("{name}: there is no value ({why}) where {} is right", expected["value"])),
    }
}

fn near(expected: Option<f64>, value: &Reading, tolerance: f64) -> bool {
    let value = match value {
        Reading::Decimal(value) => value.to_f64(),
        Reading::F32(value) => f64::from(*value),
        Reading::F64(value) => *value,
        Reading::Bool(on) => f64::from(u8::from(*on)),
        Reading::Text(_) => return false,
    };
    expected.is_some_and(|expected| (value - expected).abs() <= tolerance)
}
