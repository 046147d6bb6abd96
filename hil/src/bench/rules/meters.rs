//! 500 three-phase meters that now and then have something to tell.

use gatehouse_core::{Decimal, Kind, NoData, PointIx, PointReading, Value};

/// How many meters there are.
pub(super) const DEVICES: u32 = 500;
/// The points of each.
pub(super) const POINTS: [&str; 10] = [
    "voltage_l1",
    "voltage_l2",
    "voltage_l3",
    "current_l1",
    "current_l2",
    "current_l3",
    "power",
    "energy",
    "frequency",
    "power_factor",
];
/// Position of the power, in kW.
pub(super) const POWER: u16 = 6;
/// Position of the energy, which is a counter.
const ENERGY: u16 = 7;
/// One of so many windows has a voltage too high or an overload, and one of so many polls no answer.
const RARE: (u32, u32) = (50, 2000);

/// What the values of a point are made of.
pub(super) fn kind(point: usize) -> Kind {
    if point == usize::from(ENERGY) { Kind::Decimal { exponent: -2 } } else { Kind::F32 }
}

/// A poll with nothing to tell.
pub(super) fn quiet() -> Vec<PointReading> {
    readings(|_| Ok(0.0), (230.0, 5.0), 0)
}

/// Poll number `tick` of a meter. What is out of bounds stays so for a window of `window` polls.
pub(super) fn poll(device: u32, tick: u32, window: u32) -> Vec<PointReading> {
    let seed = |tick: u32, salt: u64| u64::from(device) << 40 ^ u64::from(tick) << 8 ^ salt;
    let mut happening = fastrand::Rng::with_seed(seed(tick / window, 1));
    let (high, loaded) = (happening.u32(..RARE.0) == 0, happening.u32(..RARE.0) == 0);
    let mut noise = fastrand::Rng::with_seed(seed(tick, 2));
    let silent = noise.u32(..RARE.1) == 0;
    let means = (if high { 258.0 } else { 230.0 }, if loaded { 25.0 } else { 5.0 });
    readings(|_| if silent { Err(NoData::Timeout) } else { Ok(noise.f32() - 0.5) }, means, tick)
}

fn readings(
    mut noise: impl FnMut(u16) -> Result<f32, NoData>,
    (voltage, power): (f32, f32),
    tick: u32,
) -> Vec<PointReading> {
    let of = |point: u16, noise: f32| match point {
        0 => Value::F32(voltage + noise * 4.0),
        1 | 2 => Value::F32(230.0 + noise * 4.0),
        3..=5 => Value::F32(20.0 + noise * 10.0),
        POWER => Value::F32(power + noise),
        ENERGY => Value::Decimal(Decimal { mantissa: i128::from(tick) + 1_000_000, exponent: -2 }),
        8 => Value::F32(50.0 + noise * 0.1),
        _ => Value::F32(0.95 + noise * 0.01),
    };
    let points = (0u16..).take(POINTS.len()).map(PointIx);
    points.map(|point| PointReading::new(point, noise(point.0).map(|noise| of(point.0, noise)))).collect()
}
