//! Messages.

use gatehouse_core::{NoData, Value};

use super::{OWN, Site, at, catalog, decimal, text};
use crate::expr::Template;

fn site() -> Site {
    Site::new()
        .with("voltage_l1", decimal("253.40"))
        .with("current_l1", Value::F32(0.1))
        .with("frequency", Value::F64(49.987_654_321))
        .with("relay", Value::Bool(true))
        .with("state", text("open {"))
        .read(at("door-1", "openings"), Ok(decimal("120")))
}

fn rendered(template: &str) -> String {
    Template::compile(template, &catalog(), Some(OWN)).unwrap().render(&site())
}

#[test]
fn a_message_shows_values_with_the_digits_of_their_readings() {
    assert_eq!(rendered("{voltage_l1} V at {device.title}"), "253.40 V at Flat 101");
    assert_eq!(rendered("{device.id}: {current_l1} A, {frequency} Hz"), "meter-101: 0.1 A, 49.987654321 Hz");
    assert_eq!(rendered("floor {label(\"floor\")}, door {value(\"door-1\", \"openings\")}"), "floor 3, door 120");
    assert_eq!(rendered("{relay ? \"on\" : 'off'}, {relay}, {state}, {mode}"), "on, true, open {, online");
}

#[test]
fn a_calculated_number_has_six_digits() {
    for (source, text) in [
        ("{0.1 + 0.2}", "0.3"),
        ("{voltage_l1 * 1000}", "253400"),
        ("{1234567.8}", "1234568"),
        ("{frequency * 1}", "49.9877"),
        ("{-1 / 3}", "-0.333333"),
        ("{0 * -1}", "0"),
        ("{0.000012345678}", "0.0000123457"),
        ("{age(\"voltage_l1\")}", "0"),
        ("{1 / 0}", "?"),
    ] {
        assert_eq!(rendered(source), text, "{source}");
    }
}

#[test]
fn what_has_no_value_is_a_question_mark() {
    let template = Template::compile("{voltage_l1} V, {point(\"phase.a\")}", &catalog(), Some(OWN)).unwrap();
    assert_eq!(template.render(&site().without("voltage_l1", NoData::Timeout)), "? V, ?");
}

#[test]
fn double_braces_are_plain_ones_and_braces_in_texts_end_nothing() {
    assert_eq!(rendered("{{{voltage_l1}}} {{}}"), "{253.40} {}");
    assert_eq!(rendered("{\"}\" + '\\'}'}|"), "}'}|");
    assert_eq!(rendered(""), "");
}

#[test]
fn a_message_ends_after_500_characters() {
    let long = "ü".repeat(500);
    assert_eq!(rendered(&long), long);
    let cut = rendered(&format!("{long}!"));
    assert_eq!((cut.chars().count(), cut.ends_with("ü…")), (500, true));
}

#[test]
fn every_mistake_is_told_with_its_place_in_the_text() {
    let source = "ü {voltag_l1} } {1 +} {relay";
    let errors = Template::compile(source, &catalog(), Some(OWN)).unwrap_err();
    let told: Vec<_> = errors.iter().map(|e| (&source[e.span.clone()], e.message.as_str(), e.help.as_str())).collect();
    assert_eq!(
        told,
        [
            ("voltag_l1", "meter-101 has no point `voltag_l1`", "did you mean voltage_l1?"),
            ("}", "this `}` has no `{`", "write }} for a plain }"),
            ("", "the expression ends too early", "write a whole expression, for example voltage_l1 > 250"),
            ("{", "this `{` has no `}`", "write {{ for a plain {"),
        ]
    );
    assert_eq!(errors[2].span, 21..21);
}
