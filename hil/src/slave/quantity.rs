//! Plausible values: what a meter of this kind would show, from a seed, a point and a generation.

use std::f64::consts::TAU;

use gatehouse_drivers::modbus::point::{DataType, ModbusPoint, Table};

/// What a point's values are made of, as far as it says what they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Yes or no.
    Flag,
    /// A floating-point number.
    Float,
    /// A whole number of steps.
    Steps,
}

impl Shape {
    /// That of a Modbus point.
    pub(super) fn of(point: &ModbusPoint) -> Self {
        let flag =
            matches!(point.table, Table::Coil | Table::Discrete) || point.bit.is_some_and(|(_, width)| width == 1);
        match matches!(point.data_type, DataType::F32 | DataType::F64) {
            _ if flag => Shape::Flag,
            true => Shape::Float,
            false => Shape::Steps,
        }
    }
}

/// Mixes numbers into evenly spread bits (the finaliser of splitmix64).
fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ c.rotate_left(32);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
        x = (x ^ (x >> 30)).wrapping_mul(factor);
    }
    x ^ (x >> 31)
}

/// 0 to 1, exclusive.
fn unit_interval(bits: u64) -> f64 {
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / 4_294_967_296.0
}

/// The value of a point in its own unit. `age` is the number of generations since the device began.
pub(super) fn value(
    (seed, at): (u64, u64),
    generation: i64,
    age: i64,
    (name, unit, shape): (&str, &str, Shape),
) -> f64 {
    let own = unit_interval(mix(seed, at, 1));
    let jitter = unit_interval(mix(seed, at, generation.cast_unsigned()));
    #[expect(clippy::cast_precision_loss, reason = "generations stay far below 2^52")]
    let (slow, age) = ((TAU * (generation % 120) as f64 / 120.0 + own * TAU).sin(), age as f64);
    if shape == Shape::Flag {
        let every = 5.0 + (own * 12.0).floor();
        return (age / every).floor().rem_euclid(2.0);
    }
    let kilo = if unit.starts_with('k') { 0.001 } else { 1.0 };
    let plain = match unit.trim_start_matches(['k', 'M']) {
        "V" => (if is_line_to_line(name) { 398.0 } else { 229.0 }) + own * 2.0 + (jitter - 0.5) * 0.8,
        "A" => 6.0 + own * 14.0 + slow * 2.0 + jitter * 0.3,
        "W" | "VA" | "var" => kilo * (1500.0 + own * 3000.0 + slow * 400.0 + jitter * 60.0),
        "Hz" => 50.0 + (jitter - 0.5) * 0.04,
        "Wh" | "varh" | "VAh" => kilo * (1_200_000.0 + own * 40_000_000.0) + kilo * age * (20.0 + own * 30.0),
        "m3" | "m³" | "l" => 100.0 + own * 900.0 + age * 0.02,
        "°C" | "C" => 21.0 + own * 6.0 + slow + (jitter - 0.5) * 0.2,
        "%" => 40.0 + own * 20.0 + slow * 3.0 + jitter * 0.5,
        _ if name.contains("factor") || name.starts_with("pf") => 0.90 + own * 0.08 + (jitter - 0.5) * 0.01,
        _ => (own * 50.0).floor() + (age / 10.0).floor().rem_euclid(7.0),
    };
    if shape == Shape::Float { marked(plain, seed, at) } else { plain }
}

fn is_line_to_line(name: &str) -> bool {
    ["l1_l2", "l2_l3", "l3_l1", "l12", "l23", "l31", "ll"].iter().any(|mark| name.contains(mark))
}

/// Puts the device's and the point's own mark into the digits that a meter resolves only by chance, so that a value
/// under another point is told from the right one.
fn marked(value: f64, seed: u64, at: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 1000")]
    let mark = ((seed * 37 + at * 7) % 991) as f64;
    match value.abs() {
        size if size < 1000.0 => (value * 10.0).floor() / 10.0 + mark / 10_000.0,
        size if size < 10_000.0 => value.floor() + mark / 1000.0,
        _ => value,
    }
}

/// What a float register holds for a value.
pub(super) fn unscaled(point: &ModbusPoint, value: f64) -> f64 {
    (value - point.offset.to_f64()) / point.scale.to_f64()
}

/// What an integer register holds for a value, within the type.
pub(super) fn whole(point: &ModbusPoint, value: f64) -> u64 {
    let raw = unscaled(point, value).round();
    let within = |low: f64, high: f64| raw.clamp(low, high);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the type first")]
    match point.data_type {
        DataType::I16 => u64::from((within(-32_000.0, 32_000.0) as i16).cast_unsigned()),
        DataType::I32 => u64::from((within(-2e9, 2e9) as i32).cast_unsigned()),
        DataType::I64 => (within(-9e15, 9e15) as i64).cast_unsigned(),
        DataType::U16 | DataType::Bits16 => within(0.0, 65_000.0) as u64,
        DataType::U32 => within(0.0, 4e9) as u64,
        DataType::Bcd16 => bcd(within(0.0, 9_999.0) as u64),
        DataType::Bcd32 => bcd(within(0.0, 99_999_999.0) as u64),
        _ => within(0.0, 9e15) as u64,
    }
}

fn bcd(number: u64) -> u64 {
    u64::from_str_radix(&number.to_string(), 16).unwrap_or(0)
}
