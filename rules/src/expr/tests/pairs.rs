//! Pairs of a condition that raises and one that clears.

use super::compiled;
use crate::expr::Clearing::{Never, Overlaps, Sound, WithinRaise};
use crate::expr::clearing;

#[test]
fn a_pair_over_one_point_is_compared_value_by_value() {
    let table = [
        ("voltage_l1 > 250", "voltage_l1 < 245", Some(Sound)),
        ("voltage_l1 > 250", "voltage_l1 <= 250", Some(Sound)),
        ("voltage_l1 > 250", "voltage_l1 > 300", Some(WithinRaise)),
        ("voltage_l1 > 250", "voltage_l1 < 260", Some(Overlaps)),
        ("voltage_l1 >= 250", "voltage_l1 <= 250", Some(Overlaps)),
        ("voltage_l1 > 250", "voltage_l1 > 5 && voltage_l1 < 3", Some(Never)),
        ("voltage_l1 > 250", "1 > 2", Some(Never)),
        ("voltage_l1 > 250 || 200 > voltage_l1", "!(voltage_l1 < 205) && voltage_l1 < 245", Some(Sound)),
        ("voltage_l1 == 0", "voltage_l1 != 0", Some(Sound)),
        ("voltage_l1 > 1e300", "voltage_l1 < -1e308", Some(Sound)),
        ("voltage_l1 > 250", "frequency < 245", None),
        ("voltage_l1 > 250", "relay", None),
        ("voltage_l1 + 1 > 250", "voltage_l1 < 245", None),
        ("1 > 2", "2 > 1", None),
    ];
    for (when, clear, expected) in table {
        assert_eq!(clearing(&compiled(when), &compiled(clear)), expected, "{when} / {clear}");
    }
}
