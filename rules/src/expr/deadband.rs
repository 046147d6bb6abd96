//! A limit that is left only with some room: hysteresis for conditions that are one comparison.

use gatehouse_core::{Decimal, Value};

use super::Expr;
use super::tree::{Flag, Number, Order};

/// The condition that clears an alarm which `when` raises, `band` beyond its limit: `p > 250` with 3 clears at
/// `p <= 247`, `p <= 10` with 3 at `p > 13`.
///
/// The new limit is computed in decimals, as both numbers are written: `p > 0.3` with 0.1 clears at 0.2 exactly.
///
/// `None` when `when` is not one comparison (`<`, `<=`, `>`, `>=`) of one point with a number, or the limit leaves the
/// range of decimals.
pub fn deadband(when: &Expr, band: Decimal) -> Option<Expr> {
    let Flag::Numbers(order, sides) = &when.root else { return None };
    let (point, order, limit) = match **sides {
        (Number::Point(point), Number::Const(limit)) => (point, *order, limit),
        (Number::Const(limit), Number::Point(point)) => (point, order.flipped(), limit),
        _ => return None,
    };
    let down = Decimal { mantissa: band.mantissa.checked_neg()?, ..band };
    let (order, shift) = match order {
        Order::Greater => (Order::LessOrEqual, down),
        Order::GreaterOrEqual => (Order::Less, down),
        Order::Less => (Order::GreaterOrEqual, band),
        Order::LessOrEqual => (Order::Greater, band),
        Order::Equal | Order::NotEqual => return None,
    };
    let limit = Value::F64(limit).to_decimal()?.checked_add(shift)?.to_f64();
    let root = Flag::Numbers(order, Box::new((Number::Point(point), Number::Const(limit))));
    Some(Expr { root, inputs: when.inputs.clone(), points: when.points.clone(), devices: when.devices.clone() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatehouse_core::{DeviceIx, Kind, Name};

    use super::*;
    use crate::expr::{Clearing, clearing};
    use crate::{Catalog, CatalogDevice, CatalogPoint};

    fn compiled(text: &str) -> Expr {
        let point = |name: &str| CatalogPoint {
            name: Name::new(name).unwrap(),
            unit: String::new(),
            kind: Kind::FreeDecimal,
            interval: Duration::from_secs(10),
            writable: false,
            personal: false,
        };
        let device = CatalogDevice {
            id: Name::new("d").unwrap(),
            title: String::new(),
            bus: Some(0),
            profile: None,
            category: String::new(),
            labels: std::collections::BTreeMap::new(),
            points: vec![point("p"), point("q")],
        };
        let catalog = Catalog { devices: vec![device], buses: vec![Name::new("b").unwrap()] };
        Expr::compile(text, &catalog, Some(DeviceIx(0))).unwrap()
    }

    fn band(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn a_limit_is_left_by_the_band_on_the_other_side() {
        for (when, by, clear) in [
            ("p > 250", "3", "p <= 247"),
            ("p >= 250", "3", "p < 247"),
            ("p < 10", "0.5", "p >= 10.5"),
            ("p <= 10", "0.5", "p > 10.5"),
            ("250 < p", "3", "p <= 247"),
            ("p > -5", "1.5", "p <= -6.5"),
        ] {
            let found = deadband(&compiled(when), band(by)).unwrap();
            assert_eq!(found, compiled(clear), "{when} with {by}");
            assert_eq!(clearing(&compiled(when), &found), Some(Clearing::Sound));
        }
    }

    #[test]
    fn the_new_limit_is_the_decimal_that_a_person_computes() {
        assert_eq!(deadband(&compiled("p > 0.3"), band("0.1")).unwrap(), compiled("p <= 0.2"));
        assert_eq!(deadband(&compiled("p > 253.1"), band("0.2")).unwrap(), compiled("p <= 252.9"));
    }

    #[test]
    fn what_is_not_one_comparison_with_a_number_has_no_band() {
        for when in ["p > 1 && q > 1", "p == 3", "p != 3", "p > q", "p + 1 > 3", "!(p > 3)", "age(\"p\") > 60"] {
            assert_eq!(deadband(&compiled(when), band("1")), None, "{when}");
        }
    }
}
