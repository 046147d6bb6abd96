//! What conditions come to, with and without values.

use std::collections::BTreeSet;

use gatehouse_core::{DeviceIx, NoData, Value};

use super::{OWN, Site, at, catalog, compiled, decimal, text};
use crate::expr::Outcome::{False, Missing, True};
use crate::expr::{Expr, Outcome};
use crate::words::Mode;

fn full() -> Site {
    let mut site = Site::new()
        .with("voltage_l1", decimal("253.4"))
        .with("current_l1", Value::F32(230.1))
        .with("frequency", Value::F64(50.02))
        .with("relay", Value::Bool(true))
        .with("alarmed", Value::Bool(false))
        .with("state", text("door open"))
        .with("energy-import", decimal("12.50"))
        .with("phase.a", Value::F64(1.0))
        .with("in", Value::F64(2.0))
        .read(at("door-1", "open"), Ok(Value::Bool(true)));
    site.online.insert(OWN, true);
    site.online.insert(DeviceIx(1), false);
    site
}

#[test]
fn values_of_every_kind_are_compared_and_counted_with() {
    let site = full();
    for source in [
        "voltage_l1 > 250",
        "voltage_l1 == 253.4",
        "voltage_l1 + 1 > 254 && voltage_l1 + 1.0 < 254.5",
        "-voltage_l1 < -250",
        "1 / 2 == 0.5",
        "2 * 3 - 1 == 5u",
        "point(\"energy-import\") == 12.5",
        "point(\"phase.a\") + point(\"in\") == 3",
        "value(\"door-1\", \"open\")",
        "device(\"door-1\").open",
        "relay && !alarmed",
        "relay != alarmed",
        "relay == true",
        "state.startsWith(\"door\") && state.endsWith('open') && state.contains(\"r o\")",
        "state + \"!\" == \"door open!\"",
        "size(state) == 9 && state.size() > 8",
        "state < \"e\"",
        "voltage_l1 in [1, 253.4]",
        "state in [\"closed\", \"door open\"]",
        "relay in [true]",
        "(relay ? voltage_l1 : frequency) > 200",
        "mode == \"online\"",
        "mode in [\"online\", \"degraded\"]",
        "online() && !online(\"door-1\")",
        "device.id == \"meter-101\" && device.title == \"Flat 101\"",
        "label(\"floor\") == \"3\" && label(\"building\") == \"\"",
        "has(voltage_l1) && has(value(\"door-1\", \"open\")) && !has(device(\"door-1\").openings)",
    ] {
        assert_eq!(site.says(source), True, "{source}");
        assert_eq!(site.says(&format!("!({source})")), False, "{source}");
    }
}

#[test]
fn a_single_float_is_the_decimal_that_it_prints_as() {
    let site = full();
    assert_eq!(site.says("current_l1 == 230.1"), True);
    assert_eq!(site.says("current_l1 > 230.1"), False, "the float itself is 230.1000061");
    assert_eq!(site.clone().with("current_l1", Value::F32(1e-40)).says("current_l1 > 0"), True);
    assert_eq!(site.with("current_l1", Value::F32(3e38)).says("current_l1 > 2e38"), True);
}

#[test]
fn the_mode_is_what_the_site_says() {
    let mut site = full();
    site.mode = Mode::Degraded;
    assert_eq!(site.says("mode == \"degraded\""), True);
    assert_eq!(site.says("mode != \"recovering\""), True);
}

#[test]
fn a_missing_input_is_named_with_its_reason() {
    let missing = |what: &str| Missing(what.to_owned());
    let site = Site::new().without("voltage_l1", NoData::Timeout);
    assert_eq!(site.says("voltage_l1 > 250"), missing("meter-101 voltage_l1: timeout"));
    assert_eq!(site.says("relay"), missing("meter-101 relay: not read yet"));
    assert_eq!(site.says("value(\"door-1\", \"badge\") == \"\""), missing("door-1 badge: not read yet"));
    assert_eq!(site.says("online(\"door-1\")"), missing("door-1: not known yet whether it is online"));
    assert_eq!(site.says("age(\"relay\") * 2 > 4"), missing("meter-101 relay: never had a value"));
    assert_eq!(site.says("voltage_l1 > 250 || relay"), missing("meter-101 voltage_l1: timeout"), "the first one");
}

#[test]
fn and_and_or_have_three_values_in_either_order() {
    let site = full().without("voltage_l1", NoData::DeviceOffline);
    let missing = || Missing("meter-101 voltage_l1: device_offline".to_owned());
    let table = [
        ("relay && M", missing()),
        ("M && relay", missing()),
        ("alarmed && M", False),
        ("M && alarmed", False),
        ("relay || M", True),
        ("M || relay", True),
        ("alarmed || M", missing()),
        ("M || alarmed", missing()),
        ("M && M", missing()),
        ("!M", missing()),
        ("!(M && alarmed)", True),
        ("relay && M && relay && alarmed", False),
        ("relay ? relay : M", True),
        ("relay ? M : relay", missing()),
        ("M ? relay : relay", missing()),
        ("(M || relay) && (M && alarmed)", False),
        ("M == M", missing()),
        ("M in [true, false]", missing()),
        ("relay in [M, true]", True),
        ("alarmed in [M, true]", missing()),
        ("has(voltage_l1)", False),
    ];
    for (source, outcome) in table {
        assert_eq!(site.says(&source.replace('M', "(voltage_l1 > 250)")), outcome, "{source}");
    }
}

#[test]
fn what_is_no_number_fails_and_is_not_false() {
    let site = full().with("frequency", Value::F64(0.0));
    let failed = Outcome::Failed("it compares what is no number, such as 0 / 0".to_owned());
    assert_eq!(site.says("frequency / frequency > 1"), failed);
    assert_eq!(site.says("frequency / frequency > 1 || relay"), True);
    assert_eq!(site.says("voltage_l1 / frequency > 1e300"), True, "a division by zero is infinite, as in CEL");
    let odd = full().with("relay", text("on"));
    assert_eq!(odd.says("relay"), Outcome::Failed("meter-101 relay: its value is of another type".to_owned()));
}

#[test]
fn inputs_are_what_is_left_after_folding() {
    let expr = compiled("voltage_l1 > 250 && value(\"door-1\", \"open\") && mode == \"online\"");
    assert_eq!(expr.inputs().points, BTreeSet::from([at("meter-101", "voltage_l1"), at("door-1", "open")]));
    assert!(expr.inputs().mode && !expr.inputs().time && expr.inputs().online.is_empty());
    let expr = compiled("age(\"relay\") > 5 || quality(\"door-1\", \"open\") == \"bad\" || online() || has(state)");
    assert_eq!(
        expr.inputs().points,
        BTreeSet::from([at("meter-101", "relay"), at("meter-101", "state"), at("door-1", "open")])
    );
    assert!(expr.inputs().time && !expr.inputs().mode);
    assert_eq!(expr.inputs().online, BTreeSet::from([OWN]));
    assert!(
        compiled("label(\"floor\") == \"3\" ? relay : alarmed").inputs().points == [at("meter-101", "relay")].into()
    );
}

#[test]
fn a_condition_that_never_changes_says_so() {
    let constant = |source: &str| compiled(source).is_constant();
    assert_eq!(constant("true"), Some(true));
    assert_eq!(constant("1 + 1 == 3"), Some(false));
    assert_eq!(constant("relay && 1 > 2"), Some(false));
    assert_eq!(constant("device.id.startsWith(\"meter\") || relay"), Some(true));
    assert_eq!(constant("3 in [1, 2]"), Some(false));
    assert_eq!(constant("relay && true"), None);
}

#[test]
fn a_site_wide_rule_has_no_device_but_may_name_any() {
    let expr = Expr::compile("value(\"meter-101\", \"voltage_l1\") > 1 && mode == \"online\"", &catalog(), None);
    assert_eq!(expr.unwrap().evaluate(&full()), True);
}

#[test]
fn the_longest_chains_are_compiled_and_evaluated() {
    let chain = vec!["voltage_l1"; 190].join(" + ");
    assert_eq!(full().says(&format!("{chain} > 40000")), True);
    let chain = vec!["relay"; 400].join("&&");
    assert_eq!(full().says(&chain), True);
}
