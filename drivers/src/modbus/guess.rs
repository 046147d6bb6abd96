//! Which type, order and scale make registers match what a meter's display shows.

use gatehouse_core::{Decimal, Value};

use super::decode::decode_registers;
use super::point::{DataType, ModbusPoint, Order, Table};

/// Most registers that one value takes.
pub const REGISTERS_MOST: u16 = 4;

/// The types that are tried, the usual ones first.
const TYPES: [DataType; 10] = [
    DataType::F32,
    DataType::U32,
    DataType::I32,
    DataType::U16,
    DataType::I16,
    DataType::Bcd32,
    DataType::U64,
    DataType::I64,
    DataType::F64,
    DataType::Bcd16,
];
const ORDERS: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];
/// The scales that are tried, the usual ones first: powers of ten, then odd ones that meters have.
const SCALES: [&str; 13] =
    ["1", "0.1", "0.01", "0.001", "10", "100", "0.0001", "1000", "0.00001", "0.000001", "0.5", "0.2", "0.05"];

/// One way to read the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Registers after the first of those that were read.
    pub first: u16,
    /// The type.
    pub data_type: DataType,
    /// Where the most significant byte lies; of one register `ABCD` or `BADC`.
    pub order: Order,
    /// value = raw × scale.
    pub scale: Decimal,
    /// The value that the registers have so.
    pub value: Decimal,
    /// How well it matches.
    pub fit: Fit,
    /// Sorts candidates, the best first: distance from the register in question, match, and how unusual it is.
    pub rank: (u16, Fit, usize),
}

/// How well a value matches the display, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is the shown number.
    Exact,
    /// Rounded to the digits that are shown it is the shown number.
    Rounded,
    /// Cut to the digits that are shown it is the shown number.
    Cut,
}

impl Candidate {
    /// Registers that it takes.
    pub fn width(&self) -> u16 {
        point(self.data_type, self.order, self.scale).width()
    }

    /// The lines of the site file that say so, for a point that begins at `address`, as sent on the wire.
    pub fn lines(&self, name: &str, table: Table, address: u16) -> String {
        let mut lines = format!(
            "[[device.point]]\nname = \"{name}\"\ntable = \"{}\"\naddress = {address}\ntype = \"{}\"\n",
            table.as_str(),
            self.data_type.as_str()
        );
        if self.order != Order::Abcd {
            lines += &format!("order = \"{}\"\n", self.order.as_str());
        }
        if !self.scale.same_number(Decimal::whole(1)) {
            lines += &format!("scale = \"{}\"\n", self.scale);
        }
        lines
    }
}

/// The ways to read `registers` (one to four, beginning with the one in question, or with `before` of its neighbours) that
/// give what is shown, the best first: at the register itself, exact, of a usual type, order and scale.
pub fn candidates(registers: &[u16], before: u16, shown: Decimal) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (unusual, (first, data_type, order)) in ways(registers, before).enumerate() {
        for (place, scale) in SCALES.iter().enumerate() {
            let Ok(scale) = Decimal::parse(scale) else { continue };
            let Some(value) = value_at(registers, first, &point(data_type, order, scale)) else { continue };
            let Some(fit) = fit(value, shown) else { continue };
            let rank = (first.abs_diff(before), fit, place + unusual);
            found.push(Candidate { first, data_type, order, scale, value, fit, rank });
        }
    }
    found.sort_by_key(|candidate| candidate.rank);
    found
}

/// What the registers hold in each type and order, unscaled: for when nothing matches.
pub fn readings(registers: &[u16], before: u16) -> Vec<(u16, DataType, Order, Value)> {
    let one = Decimal::whole(1);
    let read = |(first, data_type, order)| {
        let spec = point(data_type, order, one);
        let value = decode_registers(&spec, words(registers, first, spec.width())?).ok()?;
        (first == before).then_some((first, data_type, order, value))
    };
    ways(registers, before).filter_map(read).collect()
}

/// Each place, type and order that the registers have room for; those of the register itself first.
fn ways(registers: &[u16], before: u16) -> impl Iterator<Item = (u16, DataType, Order)> {
    let places = u16::try_from(registers.len()).unwrap_or(u16::MAX);
    let mut firsts: Vec<u16> = (0..places).collect();
    firsts.sort_by_key(|first| first.abs_diff(before));
    firsts.into_iter().flat_map(move |first| {
        TYPES.into_iter().flat_map(move |data_type| {
            let width = point(data_type, Order::Abcd, Decimal::whole(1)).width();
            let orders: &[Order] = if width == 1 { &[Order::Abcd, Order::Badc] } else { &ORDERS };
            let fits = first + width <= places;
            orders.iter().filter(move |_| fits).map(move |order| (first, data_type, *order))
        })
    })
}

fn point(data_type: DataType, order: Order, scale: Decimal) -> ModbusPoint {
    ModbusPoint {
        table: Table::Holding,
        address: 0,
        data_type,
        order,
        bit: None,
        scale,
        offset: Decimal::whole(0),
        not_available: Vec::new(),
        write: None,
    }
}

fn words(registers: &[u16], first: u16, width: u16) -> Option<&[u16]> {
    registers.get(usize::from(first)..usize::from(first + width))
}

/// The value of a point, as a decimal; floats by their shortest digits.
fn value_at(registers: &[u16], first: u16, spec: &ModbusPoint) -> Option<Decimal> {
    let value = decode_registers(spec, words(registers, first, spec.width())?).ok()?;
    value.to_decimal()
}

/// How a value matches what is shown; `None`: it does not.
fn fit(value: Decimal, shown: Decimal) -> Option<Fit> {
    if value.same_number(shown) {
        return Some(Fit::Exact);
    }
    // In units of half the last digit that is shown.
    let exponent = value.exponent.min(shown.exponent.checked_sub(1)?);
    let (value, shown_at) = (value.at_exponent(exponent)?, shown.at_exponent(exponent)?);
    let unit = Decimal { mantissa: 1, exponent: shown.exponent }.at_exponent(exponent)?;
    let (distance, same_sign) = (value.checked_sub(shown_at)?.checked_abs()?, value.signum() * shown_at.signum() >= 0);
    if distance.checked_mul(2)? <= unit {
        return Some(Fit::Rounded);
    }
    let is_cut = same_sign && value.abs() >= shown_at.abs() && distance < unit;
    is_cut.then_some(Fit::Cut)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode::write_request;
    use super::super::pdu::Request;
    use super::super::point::WriteWith;
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    /// The registers that a device would hold for a value.
    fn registers(data_type: DataType, order: Order, scale: Decimal, value: &Value) -> Option<Vec<u16>> {
        let spec = ModbusPoint { write: Some(WriteWith::Registers), ..point(data_type, order, scale) };
        match write_request(&spec, value).ok()? {
            Request::WriteRegisters { registers, .. } => Some(registers),
            Request::WriteRegister { value, .. } => Some(vec![value]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_float_with_swapped_words_is_the_first_guess() {
        // 1234.5 is 449A5000h.
        let found = candidates(&[0x5000, 0x449A, 0, 0], 0, decimal("1234.5"));
        let best = found.first().unwrap();
        assert_eq!((best.data_type, best.order, best.fit), (DataType::F32, Order::Cdab, Fit::Exact));
        assert_eq!(
            best.lines("shown", Table::Input, 30),
            "[[device.point]]\nname = \"shown\"\ntable = \"input\"\naddress = 30\ntype = \"f32\"\norder = \"CDAB\"\n"
        );
    }

    #[test]
    fn the_digits_that_are_shown_say_how_exactly_it_must_match() {
        assert_eq!(fit(decimal("1234.5"), decimal("1234.5")), Some(Fit::Exact));
        assert_eq!(fit(decimal("1234.48"), decimal("1234.5")), Some(Fit::Rounded));
        assert_eq!(fit(decimal("1234.58"), decimal("1234.5")), Some(Fit::Cut));
        assert_eq!(fit(decimal("-1234.58"), decimal("-1234.5")), Some(Fit::Cut));
        assert_eq!(fit(decimal("1234.61"), decimal("1234.5")), None);
        assert_eq!(fit(decimal("1234.44"), decimal("1234.5")), None);
        assert_eq!(fit(decimal("1234.9"), decimal("1234")), Some(Fit::Cut));
        assert_eq!(fit(decimal("-0.4"), decimal("0")), Some(Fit::Rounded));
    }

    #[test]
    fn a_neighbour_is_guessed_where_a_manual_counts_from_one() {
        let found = candidates(&[99, 2305, 7], 0, decimal("230.5"));
        let best = found.first().unwrap();
        assert_eq!((best.first, best.data_type, best.scale), (1, DataType::U16, decimal("0.1")));
        assert_eq!(candidates(&[1, 2, 3, 4], 0, decimal("987654.3")), []);
        assert!(
            readings(&[1, 2], 0).iter().any(|(_, kind, _, value)| {
                *kind == DataType::U32 && *value == Value::Decimal(Decimal::whole(65538))
            })
        );
    }

    proptest! {
        #[test]
        fn whatever_a_device_holds_is_among_the_candidates(
            kind in 0..TYPES.len(),
            order in 0..ORDERS.len(),
            scale in 0..SCALES.len(),
            raw in 1i128..9999,
        ) {
            let (data_type, scale) = (TYPES[kind], decimal(SCALES[scale]));
            let width = point(data_type, Order::Abcd, scale).width();
            let order = if width == 1 { ORDERS[order / 2 * 2] } else { ORDERS[order] };
            let shown = Decimal::whole(raw).checked_mul(scale).unwrap();
            let Some(held) = registers(data_type, order, scale, &Value::Decimal(shown)) else {
                // A float that holds no such value exactly.
                prop_assert!(matches!(data_type, DataType::F32 | DataType::F64));
                return Ok(());
            };
            let found = candidates(&held, 0, shown);
            let it = |one: &Candidate| {
                one.first == 0 && one.data_type == data_type && one.order == order && one.scale == scale
            };
            prop_assert!(found.iter().any(it), "{data_type:?} {order:?} {scale} {raw}: {found:?}");
        }

        #[test]
        fn no_registers_make_the_guess_panic(words: [u16; 4], mantissa in any::<i64>(), exponent in -9i8..9) {
            let shown = Decimal { mantissa: mantissa.into(), exponent };
            for one in candidates(&words, 1, shown) {
                prop_assert!(u32::from(one.first) + u32::from(one.width()) <= 4);
            }
        }
    }
}
