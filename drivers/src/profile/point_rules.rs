//! Facts of a point that are each right but do not go together.

use gatehouse_core::Name;

use super::keys::{Keys, Rule};
use crate::modbus::point::{DataType, ModbusPoint, Table, WriteWith};

/// Notes what does not go together. `usual`: the site leaves the function of writes to us.
pub(super) fn check(keys: &mut Keys<'_, '_>, (name, point, bits): (&Name, &ModbusPoint, &[(String, u8)]), usual: bool) {
    let kind = point.data_type.as_str();
    let flags = matches!(point.table, Table::Coil | Table::Discrete);
    let conflict = |keys: &mut Keys<'_, '_>, key: &str, message: String, help: &str| {
        let span = keys.span_of(key);
        keys.error(Rule::Conflict, span, message, help);
    };
    if flags && point.data_type != DataType::Bool {
        let message = format!("`{name}` lies in the table {}: one bit, not {kind}", point.table.as_str());
        conflict(keys, "type", message, "leave `type` out, or read table = \"holding\" or \"input\"");
        return;
    }
    if u32::from(point.address) + u32::from(point.width()) > 0x1_0000 {
        let message = format!("`{name}` takes {} registers from {:#06X}: past 0xFFFF", point.width(), point.address);
        conflict(keys, "address", message, "the last address is 0xFFFF");
    }
    let width = if flags { 1 } else { point.width() * 16 };
    let integral = !matches!(point.data_type, DataType::F32 | DataType::F64 | DataType::Text { .. });
    match point.bit {
        Some(_) if flags || !integral || matches!(point.data_type, DataType::Bcd16 | DataType::Bcd32) => {
            let message = format!("`bit` picks bits of a register's whole number, `{name}` is {kind}");
            conflict(keys, "bit", message, "use type = \"u16\" or another integer type");
        }
        Some((low, count)) if u16::from(low) + u16::from(count) > width => {
            let message = format!("`bit` reaches bit {}, {kind} ends at bit {}", low + count - 1, width - 1);
            conflict(keys, "bit", message, "");
        }
        Some((_, count)) if count > 1 && point.data_type == DataType::Bool => {
            conflict(keys, "bit", "a bool is one bit, not a range".into(), "use type = \"u16\" for a field");
        }
        None if point.data_type == DataType::Bool && !flags => {
            let message = format!("`{name}` is a bool in a register: which bit?");
            conflict(keys, "type", message, "add bit = 0 (0 is the lowest bit)");
        }
        _ => {}
    }
    if let Some((bit_name, bit)) = bits.iter().find(|(_, bit)| !integral || u16::from(*bit) >= width) {
        conflict(keys, "bits", format!("`bits.{bit_name}` names bit {bit}, which {kind} does not have"), "");
    }
    let plain = matches!(point.data_type, DataType::Bool | DataType::Bits16 | DataType::Text { .. });
    let one_bit = point.bit.is_some_and(|(_, count)| count == 1);
    if point.is_scaled() && (plain || one_bit) {
        let key = if keys.has("scale") { "scale" } else { "offset" };
        let kind = if one_bit { "one bit" } else { kind };
        conflict(keys, key, format!("`{name}` is {kind}, which has no scale or offset"), "");
    }
    if point.scale.mantissa == 0 {
        conflict(keys, "scale", format!("`scale` of `{name}` is 0: every value would be the same"), "");
    }
    if !point.not_available.is_empty() && matches!(point.data_type, DataType::Bool | DataType::Text { .. }) {
        conflict(keys, "not_available", format!("`{name}` is {kind}, which has no marks"), "");
    }
    check_write(keys, name, point, usual);
}

fn check_write(keys: &mut Keys<'_, '_>, name: &Name, point: &ModbusPoint, usual: bool) {
    let span = keys.span_of("write");
    let mut refuse = |message: String, help: &str| keys.error(Rule::Conflict, span.clone(), message, help);
    let table = point.table.as_str();
    match (point.write, point.table) {
        (None, _) if usual => {
            refuse(
                format!("points of the table {table} cannot be written"),
                "Modbus writes coils and holding registers",
            );
        }
        (None, _)
        | (Some(WriteWith::SingleCoil | WriteWith::Coils), Table::Coil)
        | (Some(WriteWith::Registers), Table::Holding) => {}
        (Some(WriteWith::SingleRegister), Table::Holding) => {
            if point.width() > 1 {
                let kind = point.data_type.as_str();
                refuse(format!("one register cannot hold {kind}"), "use write = \"registers\"");
            }
        }
        (Some(WriteWith::Mask), Table::Holding) => {
            if point.width() > 1 {
                refuse("a mask write changes one register".into(), "use write = \"registers\"");
            }
        }
        (Some(with), _) => {
            refuse(
                format!("points of the table {table} cannot be written with {}", with.as_str()),
                "write = true picks what suits",
            );
        }
    }
    let whole = !matches!(point.write, None | Some(WriteWith::Mask));
    if whole && point.table == Table::Holding && point.bit.is_some() {
        let span = keys.span_of("write");
        let message = format!("writing `{name}` whole would change its register's other bits");
        keys.error(Rule::Conflict, span, message, "use write = \"mask\"");
    }
}
