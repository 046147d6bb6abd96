//! From a point to the registers that it came from, step by step.

use gatehouse_core::{Decimal, NoData, Value};

use super::decode::PointCodec;
use super::frame::Framing;
use super::pdu::{Reply, Request};
use super::point::ModbusPoint;
use super::{decode_reply, decode_request};
use crate::dissect::hex;
use crate::explain::Explanation;

/// See [`crate::explain::steps`].
pub(crate) fn steps(
    framing: Framing,
    point: &ModbusPoint,
    unit: &str,
    (request, reply): (&[u8], &[u8]),
) -> Option<Explanation> {
    let asked = decode_request(framing, request).ok()?;
    let Request::Read { table, address, quantity } = asked.request else { return None };
    let first = point.address.checked_sub(address).filter(|_| table == point.table)?;
    if u32::from(first) + u32::from(point.width()) > u32::from(quantity) {
        return None;
    }
    let mut steps = vec![format!(
        "the request reads {quantity} of the {} table from {address} on; the point is at {}, {} after it",
        table.as_str(),
        point.address,
        first
    )];
    let value = match decode_reply(framing, reply, Some(&asked)).ok()?.reply {
        Reply::Registers { registers, .. } => {
            let range = usize::from(first)..usize::from(first + point.width());
            let bytes: Vec<u8> = registers.get(range)?.iter().flat_map(|word| word.to_be_bytes()).collect();
            of_registers(point, unit, &bytes, &mut steps)
        }
        Reply::Bits { bits, .. } => {
            let on = *bits.get(usize::from(first))?;
            steps.push(format!("its bit in the reply is {}", u8::from(on)));
            on.to_string()
        }
        Reply::Exception { code, .. } => {
            steps.push(format!("the device refused with exception {code}: there is no value"));
            format!("no value (exception {code})")
        }
        _ => return None,
    };
    Some(Explanation { value, steps })
}

/// Follows registers to a value; gives it with its unit.
fn of_registers(point: &ModbusPoint, unit: &str, bytes: &[u8], steps: &mut Vec<String>) -> String {
    steps.push(format!("its registers in the reply are {}", hex(bytes)));
    let (one, none) = (Decimal::whole(1), Decimal::whole(0));
    let raw = ModbusPoint { bit: None, scale: one, offset: none, not_available: Vec::new(), ..point.clone() };
    let told = |value: Result<Value, NoData>| value.map_or_else(|why| format!("no value ({why})"), |v| v.to_string());
    let order =
        if point.width() > 1 { format!(", bytes in the order {}", point.order.as_str()) } else { String::new() };
    let value = told(PointCodec::new(&raw).registers(bytes));
    steps.push(format!("as {}{order}: {value}", point.data_type.as_str()));
    if !point.not_available.is_empty() {
        let marks: Vec<String> = point.not_available.iter().map(|mark| format!("0x{mark:X}")).collect();
        steps.push(format!("the marks for \"no value\" are {}", marks.join(", ")));
    }
    if let Some((low, width)) = point.bit {
        let part = ModbusPoint { scale: one, offset: none, ..point.clone() };
        let value = told(PointCodec::new(&part).registers(bytes));
        steps.push(format!("of it {width} bit from bit {low} on: {value}"));
    }
    let value = format!("{} {unit}", told(PointCodec::new(point).registers(bytes))).trim_end().to_owned();
    let scaled =
        if point.is_scaled() { format!("times {} plus {}: ", point.scale, point.offset) } else { String::new() };
    steps.push(format!("{scaled}{value}"));
    value
}

#[cfg(test)]
mod tests {
    use super::super::point::{DataType, Order, Table};
    use super::*;

    fn point(address: u16) -> ModbusPoint {
        ModbusPoint {
            table: Table::Holding,
            address,
            data_type: DataType::U32,
            order: Order::Cdab,
            bit: None,
            scale: Decimal { mantissa: 1, exponent: -1 },
            offset: Decimal::whole(0),
            not_available: vec![0xFFFF_FFFF],
            write: None,
        }
    }

    #[test]
    fn a_value_is_followed_from_its_registers_to_its_unit() {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        Framing::Tcp.encode(1, 7, &[3, 0, 10, 0, 4], &mut request);
        Framing::Tcp.encode(1, 7, &[3, 8, 0, 0, 0x09, 0x01, 0, 0, 0, 0], &mut reply);
        let told = steps(Framing::Tcp, &point(11), "V", (&request, &reply)).unwrap();
        assert_eq!(told.value, "230.5 V");
        assert_eq!(
            told.steps,
            [
                "the request reads 4 of the holding table from 10 on; the point is at 11, 1 after it",
                "its registers in the reply are 09 01 00 00",
                "as u32, bytes in the order CDAB: 2305",
                "the marks for \"no value\" are 0xFFFFFFFF",
                "times 0.1 plus 0: 230.5 V",
            ]
        );
        assert_eq!(steps(Framing::Tcp, &point(13), "V", (&request, &reply)), None, "it was not asked for whole");
        assert_eq!(steps(Framing::Tcp, &point(11), "V", (&reply, &request)), None);
    }
}
