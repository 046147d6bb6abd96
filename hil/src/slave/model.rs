//! What a simulated device holds, as a pure function of time: no history to keep, and every delivered value can be
//! checked against what the device really held at that moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use gatehouse_core::{Decimal, Value};
use gatehouse_drivers::modbus::point::{DataType, ModbusPoint, Order, Table};
use gatehouse_drivers::point::PointSpec;

use super::digits::Digits;
use super::quantity::{self, Shape};

/// The points of one device and the values that they take.
///
/// Values change together, once per period: a generation. All words of a generation belong together.
#[derive(Debug)]
pub struct Model {
    seed: u64,
    period_us: i64,
    first_generation: i64,
    points: Vec<PointSpec>,
    owners: BTreeMap<(Table, u16), Vec<(usize, u16)>>,
    /// First and last generations of the surges.
    surges: Mutex<Vec<(i64, i64)>>,
}

/// What a surge makes of a voltage.
const SURGE: f64 = 1.12;
/// Surges that are remembered; the oldest go first.
const KEPT_SURGES: usize = 64;

impl Model {
    /// A device with these points, as far as they are of Modbus or numbers of a meter of packed decimals; `seed` makes its
    /// values its own. `now_us` is wall time.
    ///
    /// Where two points lie on the same registers the first owns them, except for bit fields, which share.
    pub fn new(seed: u64, period_us: i64, now_us: i64, points: Vec<PointSpec>) -> Self {
        let held = |spec: &PointSpec| spec.modbus().is_some() || Digits::of(&spec.place).is_some();
        let points: Vec<PointSpec> = points.into_iter().filter(held).collect();
        let mut owners: BTreeMap<(Table, u16), Vec<(usize, u16)>> = BTreeMap::new();
        let registers = points.iter().enumerate().filter_map(|(at, point)| Some((at, point.modbus()?)));
        for (at, point) in registers {
            let places = || (0..point.width()).map(|word| ((point.table, point.address.wrapping_add(word)), word));
            let shares = |owner: &Vec<(usize, u16)>| {
                owner.iter().all(|&(o, _)| points[o].modbus().is_some_and(|p| p.bit.is_some()))
            };
            let free = places().all(|(place, _)| owners.get(&place).is_none_or(|o| point.bit.is_some() && shares(o)));
            if free {
                places().for_each(|(place, word)| owners.entry(place).or_default().push((at, word)));
            }
        }
        Model { seed, period_us, first_generation: now_us / period_us, points, owners, surges: Mutex::default() }
    }

    /// The generation of a wall time.
    pub fn generation(&self, wall_us: i64) -> i64 {
        wall_us.div_euclid(self.period_us)
    }

    /// From the next generation on the supply's voltage is 12 % too high, or right again.
    pub fn set_surge(&self, surging: bool, now_us: i64) {
        let next = self.generation(now_us) + 1;
        let mut surges = self.surges.lock().unwrap_or_else(PoisonError::into_inner);
        match surges.last_mut() {
            Some((_, last)) if *last >= next => *last = if surging { i64::MAX } else { next - 1 },
            _ if surging => surges.push((next, i64::MAX)),
            _ => {}
        }
        let surplus = surges.len().saturating_sub(KEPT_SURGES);
        surges.drain(..surplus);
    }

    fn surges(&self, generation: i64) -> bool {
        let surges = self.surges.lock().unwrap_or_else(PoisonError::into_inner);
        surges.iter().any(|(first, last)| (*first..=*last).contains(&generation))
    }

    /// The points, in the order of the profile.
    pub fn points(&self) -> &[PointSpec] {
        &self.points
    }

    /// The register at an address; `None` where no point lies.
    pub fn word(&self, table: Table, address: u16, generation: i64) -> Option<u16> {
        let owners = self.owners.get(&(table, address))?;
        let parts = owners.iter().filter_map(|&(at, word)| {
            let (point, raw) = (self.points[at].modbus()?, self.raw(at, generation));
            Some(match point.bit {
                Some((low, width)) => part(point, (raw & mask(u16::from(width))) << low, word),
                None => part(point, raw, word),
            })
        });
        Some(parts.fold(0, |sum, part| sum | part))
    }

    /// The coil or input at an address; `None` where no point lies.
    pub fn bit(&self, table: Table, address: u16, generation: i64) -> Option<bool> {
        let &(at, _) = self.owners.get(&(table, address))?.first()?;
        Some(self.raw(at, generation) & 1 == 1)
    }

    /// First and last address of a table that a point lies on.
    pub fn extent(&self, table: Table) -> Option<(u16, u16)> {
        let mut places = self.owners.range((table, 0)..=(table, u16::MAX));
        let first = places.next()?.0.1;
        Some((first, places.next_back().map_or(first, |(place, _)| place.1)))
    }

    /// The value that a sound reading of the point gives; `None` for an unknown point and for a mark of "no value".
    pub fn value(&self, name: &str, generation: i64) -> Option<Value> {
        let at = self.points.iter().position(|point| point.name == *name)?;
        let Some(point) = self.points[at].modbus() else {
            let digits = Digits::of(&self.points[at].place)?;
            return Some(Value::Decimal(digits.value(self.raw(at, generation))));
        };
        if matches!(point.table, Table::Coil | Table::Discrete) {
            return self.bit(point.table, point.address, generation).map(Value::Bool);
        }
        let words = (0..point.width()).map(|word| self.word(point.table, point.address.wrapping_add(word), generation));
        read(point, &words.collect::<Option<Vec<u16>>>()?)
    }

    /// The number of steps that point number `at` of a meter of packed decimals shows.
    pub fn steps(&self, at: usize, generation: i64) -> u64 {
        if self.points[at].modbus().is_none() { self.raw(at, generation) } else { 0 }
    }

    /// The bits that point number `at` puts into its registers, or the steps that its digits count.
    fn raw(&self, at: usize, generation: i64) -> u64 {
        let PointSpec { name, unit, place, .. } = &self.points[at];
        let modbus = self.points[at].modbus();
        let shape = modbus.map_or(Shape::Steps, Shape::of);
        let age = generation - self.first_generation;
        let value = quantity::value((self.seed, at as u64), generation, age, (name.as_str(), unit.as_str(), shape));
        let value = if unit == "V" && self.surges(generation) { value * SURGE } else { value };
        let Some(point) = modbus else { return Digits::of(place).map_or(0, |digits| digits.steps(value)) };
        let raw = match point.data_type {
            #[expect(clippy::cast_possible_truncation, reason = "the nearest float is what a meter would send")]
            DataType::F32 => u64::from((quantity::unscaled(point, value) as f32).to_bits()),
            DataType::F64 => quantity::unscaled(point, value).to_bits(),
            _ => quantity::whole(point, value),
        };
        if point.not_available.contains(&raw) { raw ^ 1 } else { raw }
    }
}

fn mask(bits: u16) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Word number `word` of a value, as the point's order lays it out.
fn part(point: &ModbusPoint, raw: u64, word: u16) -> u16 {
    if let DataType::Text { .. } = point.data_type {
        let text = b"SIMULATED";
        let at = usize::from(word) * 2;
        let byte = |at: usize| text.get(at).copied().unwrap_or(0);
        return u16::from_be_bytes([byte(at), byte(at + 1)]);
    }
    let last = point.width() - 1;
    let (word, swap) = match point.order {
        Order::Abcd => (word, false),
        Order::Cdab => (last - word, false),
        Order::Badc => (word, true),
        Order::Dcba => (last - word, true),
    };
    let [.., high, low] = (raw >> (16 * (last - word))).to_be_bytes();
    if swap { u16::from_be_bytes([low, high]) } else { u16::from_be_bytes([high, low]) }
}

/// Reads a point's registers: the simulator's own inverse, apart from the gateway's codec.
fn read(point: &ModbusPoint, words: &[u16]) -> Option<Value> {
    if let DataType::Text { .. } = point.data_type {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        let text = String::from_utf8(bytes).ok()?;
        return Some(Value::Text(text.trim_end_matches(['\0', ' ']).into()));
    }
    let swap = matches!(point.order, Order::Badc | Order::Dcba);
    let plain = |word: &u16| u64::from(if swap { word.swap_bytes() } else { *word });
    let joined = |sum: u64, word: u64| sum << 16 | word;
    let raw = match point.order {
        Order::Abcd | Order::Badc => words.iter().map(plain).fold(0, joined),
        Order::Cdab | Order::Dcba => words.iter().rev().map(plain).fold(0, joined),
    };
    if point.not_available.contains(&raw) {
        return None;
    }
    if let Some((low, width)) = point.bit {
        let field = raw >> low & mask(u16::from(width));
        let flag = width == 1;
        return if flag { Some(Value::Bool(field == 1)) } else { scaled(point, Decimal::whole(i128::from(field))) };
    }
    let bits = 16 * point.width();
    let shift = 64 - u32::from(bits);
    #[expect(clippy::cast_possible_truncation, reason = "the type has 32 bits, and no others are set")]
    let single = || f32::from_bits(raw as u32);
    match point.data_type {
        DataType::F32 => float(point, Value::F32(single())).filter(|_| single().is_finite()),
        DataType::F64 => float(point, Value::F64(f64::from_bits(raw))).filter(|_| f64::from_bits(raw).is_finite()),
        DataType::I16 | DataType::I32 | DataType::I64 => {
            scaled(point, Decimal::whole(i128::from((raw << shift).cast_signed() >> shift)))
        }
        DataType::Bcd16 | DataType::Bcd32 => {
            let digits = format!("{raw:x}").parse::<i128>().ok()?;
            scaled(point, Decimal::whole(digits))
        }
        _ => scaled(point, Decimal::whole(i128::from(raw))),
    }
}

fn float(point: &ModbusPoint, value: Value) -> Option<Value> {
    if point.is_scaled() { scaled(point, value.to_decimal()?) } else { Some(value) }
}

fn scaled(point: &ModbusPoint, raw: Decimal) -> Option<Value> {
    raw.checked_mul(point.scale)?.checked_add(point.offset).map(Value::Decimal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_drivers::profile::Library;

    fn model(profile: &str) -> Model {
        let library = Library::new();
        Model::new(7, 1_000_000, 1_000_000_000, library.find(profile).unwrap().points.clone())
    }

    #[test]
    fn orders_lay_the_same_bytes_out_in_four_ways() {
        let mut point = model("eastron-sdm120").points[0].modbus().unwrap().clone();
        let words = |order| {
            point.order = order;
            [part(&point, 0x1234_5678, 0), part(&point, 0x1234_5678, 1)]
        };
        let mut words = words;
        assert_eq!(words(Order::Abcd), [0x1234, 0x5678]);
        assert_eq!(words(Order::Cdab), [0x5678, 0x1234]);
        assert_eq!(words(Order::Badc), [0x3412, 0x7856]);
        assert_eq!(words(Order::Dcba), [0x7856, 0x3412]);
    }

    #[test]
    fn a_voltage_is_one_and_a_counter_never_falls() {
        let model = model("eastron-sdm630");
        let number = |name: &str, generation| model.value(name, generation).unwrap().to_decimal().unwrap().to_f64();
        let energy = model.points.iter().find(|p| p.unit == "kWh").unwrap().name.clone();
        let mut before = 0.0;
        for generation in 1000..2000 {
            let volts = number("voltage_l1", generation);
            assert!((220.0..240.0).contains(&volts), "{volts}");
            let now = number(&energy, generation);
            assert!(now >= before, "{now} after {before}");
            before = now;
        }
    }

    #[test]
    fn a_surge_is_in_the_generations_to_come_and_leaves_those_before_as_they_were() {
        let model = model("eastron-sdm120");
        let volts = |generation| model.value("voltage", generation).unwrap().to_decimal().unwrap().to_f64();
        let before = volts(1_000);
        model.set_surge(true, 1_000_000_000);
        model.set_surge(false, 1_005_500_000);
        assert!((volts(1_000) - before).abs() < f64::EPSILON && volts(1_001) > 253.0 && volts(1_005) > 253.0);
        assert!(volts(1_006) < 240.0);
    }

    #[test]
    fn every_profile_gives_every_point_a_value_that_changes_with_the_device() {
        let library = Library::new();
        for name in library.names() {
            let points = library.find(name).unwrap().points.clone();
            let model = Model::new(1, 1_000_000, 0, points);
            let missing = model.points.iter().filter(|p| model.value(&p.name, 5).is_none()).count();
            assert_eq!(missing, 0, "{name}");
        }
    }

    #[test]
    fn no_two_points_of_a_meter_hold_the_same_float() {
        let model = model("eastron-sdm630");
        let mut seen = std::collections::BTreeMap::new();
        for point in &model.points {
            for generation in 1000..1100 {
                let text = model.value(&point.name, generation).unwrap().to_string();
                let owner = seen.entry(text.clone()).or_insert_with(|| point.name.clone());
                assert_eq!(*owner, point.name, "{text}");
            }
        }
    }
}
