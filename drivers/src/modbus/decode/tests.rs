use gatehouse_core::Kind;

use super::*;
use crate::modbus::point::Table;

const ORDERS: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn spec(data_type: DataType, order: Order) -> ModbusPoint {
    ModbusPoint {
        table: Table::Holding,
        address: 0,
        data_type,
        order,
        bit: None,
        scale: dec("1"),
        offset: dec("0"),
        not_available: Vec::new(),
        write: None,
    }
}

fn scaled(data_type: DataType, scale: &str, offset: &str) -> ModbusPoint {
    ModbusPoint { scale: dec(scale), offset: dec(offset), ..spec(data_type, Order::Abcd) }
}

#[track_caller]
fn reads(spec: &ModbusPoint, registers: &[u16], text: &str) {
    let value = decode_registers(spec, registers).unwrap();
    assert_eq!(value.to_string(), text);
    // What a stored record says of the value's kind is true of each value.
    match (spec.kind(), &value) {
        (Kind::Decimal { exponent }, Value::Decimal(d)) => assert_eq!(d.exponent, exponent),
        (Kind::Bool, Value::Bool(_))
        | (Kind::FreeDecimal, Value::Decimal(_))
        | (Kind::F32, Value::F32(_))
        | (Kind::F64, Value::F64(_))
        | (Kind::Text, Value::Text(_)) => {}
        (kind, value) => panic!("{value:?} is not {kind:?}"),
    }
}

#[test]
fn each_order_puts_byte_a_where_its_name_says() {
    for (order, registers) in
        ORDERS.into_iter().zip([[0x1234, 0x5678], [0x5678, 0x1234], [0x3412, 0x7856], [0x7856, 0x3412]])
    {
        reads(&spec(DataType::U32, order), &registers, "305419896");
        reads(&spec(DataType::Bcd32, order), &registers, "12345678");
    }
    for (order, registers) in ORDERS.into_iter().zip([
        [0x1234, 0x5678, 0x9ABC, 0xDEF0],
        [0xDEF0, 0x9ABC, 0x5678, 0x1234],
        [0x3412, 0x7856, 0xBC9A, 0xF0DE],
        [0xF0DE, 0xBC9A, 0x7856, 0x3412],
    ]) {
        reads(&spec(DataType::U64, order), &registers, "1311768467463790320");
    }
    for (order, register) in ORDERS.into_iter().zip([0xFFFE, 0xFFFE, 0xFEFF, 0xFEFF]) {
        reads(&spec(DataType::I16, order), &[register], "-2");
    }
}

#[test]
fn whole_numbers_keep_every_digit() {
    reads(&spec(DataType::I32, Order::Abcd), &[0xFFFE, 0x1DC0], "-123456");
    reads(&spec(DataType::I64, Order::Abcd), &[0xFFFF; 4], "-1");
    reads(&spec(DataType::U64, Order::Abcd), &[0xFFFF; 4], "18446744073709551615");
    reads(&spec(DataType::I64, Order::Abcd), &[0x0020, 0, 0, 1], "9007199254740993");
    reads(&spec(DataType::Bits16, Order::Abcd), &[0x0290], "656");
}

#[test]
fn scaling_is_exact_and_prints_the_digits_that_the_meter_resolves() {
    reads(&scaled(DataType::U32, "0.01", "0"), &[0x0012, 0xD687], "12345.67");
    reads(&scaled(DataType::U16, "0.01", "0"), &[1600], "16.00");
    reads(&scaled(DataType::I16, "0.1", "0"), &[0xFFCB], "-5.3");
    reads(&scaled(DataType::U16, "10", "0"), &[12], "120");
    reads(&scaled(DataType::U16, "1e3", "0"), &[12], "12000");
    reads(&scaled(DataType::U16, "0.1", "-40"), &[655], "25.5");
    reads(&scaled(DataType::U16, "1", "-0.25"), &[3], "2.75");
    reads(&scaled(DataType::U64, "0.001", "0"), &[0, 0, 0x075B, 0xCD15], "123456.789");
}

#[test]
fn a_float_keeps_its_own_digits_and_a_scaled_one_is_exact() {
    reads(&spec(DataType::F32, Order::Abcd), &[0x4366, 0x199A], "230.1");
    reads(&spec(DataType::F32, Order::Dcba), &[0x9A19, 0x6643], "230.1");
    reads(&spec(DataType::F32, Order::Abcd), &[0x8000, 0], "-0");
    reads(&spec(DataType::F64, Order::Cdab), &[0x2D18, 0x5444, 0x21FB, 0x4009], "3.141592653589793");
    reads(&scaled(DataType::F32, "0.1", "0"), &[0x4510, 0x0000], "230.4");
    reads(&scaled(DataType::F32, "0.001", "0"), &[0x449A, 0x4000], "1.234");
    reads(&scaled(DataType::F64, "1000", "0.5"), &[0x3FB9, 0x9999, 0x9999, 0x999A], "100.5");
}

#[test]
fn what_is_no_number_is_a_reason() {
    let f32_of = |registers: [u16; 2]| decode_registers(&spec(DataType::F32, Order::Abcd), &registers);
    assert_eq!(f32_of([0x7FC0, 0]), Err(NoData::NotANumber));
    assert_eq!(f32_of([0xFFFF, 0xFFFF]), Err(NoData::NotANumber));
    assert_eq!(f32_of([0x7F80, 0]), Err(NoData::Infinite));
    assert_eq!(f32_of([0xFF80, 0]), Err(NoData::Infinite));
    let f64_nan = decode_registers(&spec(DataType::F64, Order::Abcd), &[0x7FF8, 0, 0, 0]);
    assert_eq!(f64_nan, Err(NoData::NotANumber));
    assert_eq!(decode_registers(&spec(DataType::Bcd16, Order::Abcd), &[0x12A4]), Err(NoData::NotBcd));
    assert_eq!(decode_registers(&scaled(DataType::F32, "0.1", "0"), &[0x7F7F, 0xFFFF]), Err(NoData::OutOfRange));
    assert_eq!(decode_registers(&scaled(DataType::U64, "1e30", "1e-30"), &[0xFFFF; 4]), Err(NoData::OutOfRange));
}

#[test]
fn a_marker_is_no_value_in_its_own_order_and_before_anything_else() {
    let marked = |data_type, order, marker| ModbusPoint { not_available: vec![marker], ..spec(data_type, order) };
    let missing = Err(NoData::NotAvailable);
    assert_eq!(decode_registers(&marked(DataType::U32, Order::Abcd, 0xFFFF_FFFF), &[0xFFFF; 2]), missing);
    assert_eq!(decode_registers(&marked(DataType::I32, Order::Abcd, 0x7FFF_FFFF), &[0x7FFF, 0xFFFF]), missing);
    assert_eq!(decode_registers(&marked(DataType::I32, Order::Cdab, 0x8000_0000), &[0, 0x8000]), missing);
    assert_eq!(decode_registers(&marked(DataType::I16, Order::Abcd, 0x8000), &[0x8000]), missing);
    assert_eq!(decode_registers(&marked(DataType::F32, Order::Abcd, 0x7FC0_0000), &[0x7FC0, 0]), missing);
    assert_eq!(decode_registers(&marked(DataType::Bcd16, Order::Abcd, 0xFFFF), &[0xFFFF]), missing);
    assert!(decode_registers(&marked(DataType::I32, Order::Abcd, 0x8000_0000), &[0, 0x8000]).is_ok());
}

#[test]
fn a_bit_field_is_cut_out_of_its_word() {
    let field = |low, width| ModbusPoint { bit: Some((low, width)), ..spec(DataType::U16, Order::Abcd) };
    reads(&field(4, 1), &[0x0290], "true");
    reads(&field(5, 1), &[0x0290], "false");
    reads(&field(15, 1), &[0x8000], "true");
    reads(&field(4, 6), &[0x0290], "41");
    reads(&field(0, 16), &[0xFFFF], "65535");
    reads(&ModbusPoint { scale: dec("0.5"), ..field(4, 4) }, &[0x0290], "4.5");
    reads(&ModbusPoint { bit: Some((20, 8)), ..spec(DataType::U32, Order::Cdab) }, &[0, 0x0AB0], "171");
    reads(&ModbusPoint { bit: Some((3, 1)), ..spec(DataType::Bool, Order::Abcd) }, &[8], "true");
    reads(&spec(DataType::Bool, Order::Abcd), &[1], "true");
}

#[test]
fn text_ends_at_its_first_nul_and_has_no_control_characters() {
    let text = |order| spec(DataType::Text { registers: 3 }, order);
    reads(&text(Order::Abcd), &[0x4142, 0x4344, 0x2000], "ABCD");
    reads(&text(Order::Badc), &[0x4241, 0x4443, 0x0045], "ABCDE");
    reads(&text(Order::Cdab), &[0x4546, 0x4344, 0x4142], "ABCDEF");
    reads(&text(Order::Dcba), &[0x4645, 0x4443, 0x4241], "ABCDEF");
    reads(&text(Order::Abcd), &[0x4100, 0xFFFF, 0xFFFF], "A");
    reads(&text(Order::Abcd), &[0, 0, 0], "");
    assert_eq!(decode_registers(&text(Order::Abcd), &[0xFFFF; 3]), Err(NoData::BadText));
    assert_eq!(decode_registers(&text(Order::Abcd), &[0x4107, 0x4142, 0]), Err(NoData::BadText));
}

#[test]
fn registers_of_another_number_than_the_points_are_never_a_value() {
    for (data_type, right) in [(DataType::U16, 1), (DataType::F32, 2), (DataType::I64, 4)] {
        for count in (0..=5).filter(|count| *count != right) {
            let value = decode_registers(&spec(data_type, Order::Abcd), &vec![1; count]);
            assert_eq!(value, Err(NoData::BadReply), "{data_type:?} {count}");
        }
    }
}
