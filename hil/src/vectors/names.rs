//! Names of what electricity meters tell. No standard gives them, and the identifier or the bit alone decides what is
//! meant: a file may have its own names, as long as they do not say something else.

use gatehouse_drivers::dlt645::control::command_name;
use gatehouse_drivers::dlt645::words::{self, status_bits};

/// What tells names apart: two that have words of one row must share one of them.
const ROWS: [&[&str]; 4] = [
    &["voltage", "current", "power", "energy", "demand", "angle", "frequency", "temperature", "count"],
    &["active", "reactive", "apparent"],
    &["forward", "reverse", "combined"],
    &["total", "a", "b", "c", "neutral"],
];

/// Whether a text of a field is another name of the same thing.
pub(super) fn label(field: &str, expected: &str, got: &str) -> bool {
    match field {
        "name" => agree(expected, got),
        "faults" | "err_bits" | "serr_bits" => !is_bit(expected),
        "command" => (0..=u8::MAX).all(|code| command_name(code) != Some(expected)),
        _ => false,
    }
}

fn agree(expected: &str, got: &str) -> bool {
    let words = |name: &str| -> Vec<String> { name.split('_').map(str::to_ascii_lowercase).collect() };
    let (expected, got) = (words(expected), words(got));
    let of_row = |name: &[String], row: &[&str]| -> Vec<String> {
        name.iter().filter(|word| row.contains(&word.as_str())).cloned().collect()
    };
    let fit = |right: &[String], got: &[String]| {
        right.is_empty() || got.is_empty() || right.iter().any(|word| got.contains(word))
    };
    let tariffs = |name: &[String]| -> Vec<String> { name.iter().filter(|word| is_tariff(word)).cloned().collect() };
    // Quadrants and other ordinals: q1, quadrant1, reactive1.
    let ordinals = |name: &[String]| -> Vec<String> {
        let digits = |word: &String| word.chars().filter(char::is_ascii_digit).collect::<String>();
        name.iter().filter(|word| !is_tariff(word)).map(digits).filter(|digits| !digits.is_empty()).collect()
    };
    ROWS.iter().all(|row| fit(&of_row(&expected, row), &of_row(&got, row)))
        && tariffs(&expected) == tariffs(&got)
        && fit(&ordinals(&expected), &ordinals(&got))
}

/// t1 to t63.
fn is_tariff(word: &str) -> bool {
    word.strip_prefix('t').is_some_and(|number| number.parse::<u8>().is_ok())
}

/// True of the names that bits have here: such a name means its own bit.
fn is_bit(name: &str) -> bool {
    let refusals = words::ERROR_2007.iter().chain(&words::ERROR_1997).chain(&words::CONTROL_ERROR);
    (1..=7).flat_map(status_bits).chain(refusals).any(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_another_but_not_that_of_something_else() {
        for (expected, got) in [
            ("reactive_q1_energy_total", "quadrant1_reactive_energy_total"),
            ("forward_active_energy_a", "forward_active_energy_a_total"),
            ("thd_voltage_a", "voltage_thd_a"),
            ("battery_clock", "clock_battery_voltage"),
        ] {
            assert!(label("name", expected, got), "{expected}");
        }
        for (expected, got) in [
            ("voltage_b", "voltage_a"),
            ("current_a", "voltage_a"),
            ("reactive_power_total", "active_power_total"),
            ("reverse_active_energy_total", "forward_active_energy_total"),
            ("forward_active_energy_t2", "forward_active_energy_t1"),
            ("forward_active_energy_total", "forward_active_energy_t1"),
            ("reactive_q2_energy_total", "quadrant1_reactive_energy_total"),
        ] {
            assert!(!label("name", expected, got), "{expected}");
        }
        assert!(label("faults", "reverse_flow", "reverse") && !label("faults", "overload", "reverse"));
        assert!(label("command", "disconnect", "trip") && !label("command", "close", "trip"));
        assert!(!label("unit", "kWh", "kvarh"));
    }
}
