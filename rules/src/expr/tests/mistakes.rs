//! Every mistake, in exact words.

use super::{OWN, catalog};
use crate::expr::Expr;

/// The mistakes of an expression, each as `what it marks [code] message | help`.
fn mistakes(source: &str, own: bool) -> Vec<String> {
    let errors = Expr::compile(source, &catalog(), own.then_some(OWN)).unwrap_err();
    let code = |code: &'static str| code.strip_prefix("gatehouse::expr::").unwrap();
    errors
        .iter()
        .map(|e| format!("{} [{}] {} | {}", &source[e.span.clone()], code(e.code), e.message, e.help))
        .collect()
}

fn check(table: &[(&str, &str)]) {
    for (source, expected) in table {
        assert_eq!(mistakes(source, true), [*expected], "{source}");
    }
}

#[test]
fn a_name_that_is_not_there_is_told_with_the_nearest_one() {
    check(&[
        ("voltag_l1 > 250", "voltag_l1 [unknown_point] meter-101 has no point `voltag_l1` | did you mean voltage_l1?"),
        (
            "zzz > 1",
            r#"zzz [unknown_point] meter-101 has no point `zzz` | there are voltage_l1, current_l1, frequency, relay, alarmed, state, point("energy-import"), point("phase.a"), ..."#,
        ),
        (r#"mod == "online""#, "mod [unknown_point] meter-101 has no point `mod` | did you mean mode?"),
        (
            "line-a > 5",
            r#"line-a [unknown_point] `line-a` is a point of meter-101, but CEL does not read it as one name | write point("line-a")"#,
        ),
        (
            "door-1 > 5",
            r#"door [unknown_point] meter-101 has no point `door` | a point of the device door-1 is written value("door-1", "point")"#,
        ),
        (
            r#"value("door-2", "open")"#,
            r#""door-2" [unknown_device] there is no device "door-2" | did you mean "door-1"?"#,
        ),
        (r#"value("door-1", "opn")"#, r#""opn" [unknown_point] door-1 has no point "opn" | did you mean "open"?"#),
        (r#"device("door-1").opn"#, r#"opn [unknown_point] door-1 has no point "opn" | did you mean "open"?"#),
        (r#"device("dor-1").open"#, r#""dor-1" [unknown_device] there is no device "dor-1" | did you mean "door-1"?"#),
        (
            "device.floor == '3'",
            r#"device.floor [unknown_point] a device has no `floor` | write device.id or device.title; a label is written label("floor"), a point by its name"#,
        ),
        (
            r#"label("flor") == '3'"#,
            r#""flor" [unknown_label] no device of this site has a label "flor" | did you mean "floor"?"#,
        ),
        (
            r#"label("room") == '3'"#,
            r#""room" [unknown_label] no device of this site has a label "room" | there are "building", "floor""#,
        ),
        (
            r#"age("voltage") > 5"#,
            r#""voltage" [unknown_point] meter-101 has no point "voltage" | did you mean "voltage_l1"?"#,
        ),
        (
            r#"age("door-1") > 5"#,
            r#""door-1" [unknown_point] meter-101 has no point "door-1" | the device door-1 needs its point too"#,
        ),
        (
            r#"quality("voltage_l1") == "god""#,
            r#""god" [unknown_word] a quality is never "god" | did you mean "good"?"#,
        ),
        (r#"mode == "offline""#, r#""offline" [unknown_word] the mode is never "offline" | did you mean "online"?"#),
        (
            r#"mode in ["online", "degrade"]"#,
            r#""degrade" [unknown_word] the mode is never "degrade" | did you mean "degraded"?"#,
        ),
        (r#"online("door")"#, r#""door" [unknown_device] there is no device "door" | did you mean "door-1"?"#),
        (r#""ü" == statee"#, "statee [unknown_point] meter-101 has no point `statee` | did you mean state?"),
    ]);
}

#[test]
fn types_that_do_not_fit_are_told_with_both_sides() {
    check(&[
        (
            r#"voltage_l1 > "x""#,
            r#"voltage_l1 > "x" [wrong_type] `>` compares two numbers or two texts: `voltage_l1` is a number and `"x"` is a text | compare `voltage_l1` with a number"#,
        ),
        (
            r#"voltage_l1 > "250""#,
            r#"voltage_l1 > "250" [wrong_type] `>` compares two numbers or two texts: `voltage_l1` is a number and `"250"` is a text | write 250 without quotes"#,
        ),
        (
            "relay > 1",
            "relay > 1 [wrong_type] `>` compares two numbers or two texts: `relay` is true or false and `1` is a number | a condition stands alone: relay, or !relay",
        ),
        (
            "relay == 1",
            "relay == 1 [wrong_type] `==` compares two values of one type: `relay` is true or false and `1` is a number | a condition stands alone: relay, or !relay",
        ),
        (
            "relay > alarmed",
            "relay > alarmed [wrong_type] `>` compares two numbers or two texts: `relay` and `alarmed` are each true or false | a condition stands alone: relay, or !relay",
        ),
        (
            r#"state + 1 == "a1""#,
            "state + 1 [wrong_type] `+` needs two numbers or two texts: `state` is a text and `1` is a number | a text is no number; in a message, values stand one after the other: {a} {b}",
        ),
        (
            "state == 5",
            "state == 5 [wrong_type] `==` compares two values of one type: `state` is a text and `5` is a number | compare `state` with a text in quotes",
        ),
        (
            "voltage_l1",
            "voltage_l1 [wrong_type] a condition is true or false, and `voltage_l1` is a number | compare it, for example voltage_l1 > 0",
        ),
        (
            "state",
            r#"state [wrong_type] a condition is true or false, and `state` is a text | compare it, for example state == "open""#,
        ),
        (
            "relay + 1 > 2",
            "relay + 1 [wrong_type] `+` needs two numbers or two texts: `relay` is true or false and `1` is a number | a condition counts as a number by: (condition ? 1 : 0)",
        ),
        (
            "!voltage_l1",
            "voltage_l1 [wrong_type] `!` turns a condition round, and `voltage_l1` is a number | compare it, for example voltage_l1 > 0",
        ),
        (
            "voltage_l1 && relay",
            "voltage_l1 [wrong_type] `&&` joins conditions, and `voltage_l1` is a number | compare it, for example voltage_l1 > 0",
        ),
        (
            "relay && 5",
            "5 [wrong_type] `&&` joins conditions, and `5` is a number | a condition that is always so is written true or false",
        ),
        ("-state == 'a'", "-state [wrong_type] `-` needs a number, and `state` is a text | "),
        (
            "state.startsWith(5)",
            "5 [wrong_type] `startsWith` needs texts, and `5` is a number | write a text in quotes",
        ),
        (
            "size(voltage_l1) > 1",
            "voltage_l1 [wrong_type] `size` counts the characters of a text, and `voltage_l1` is a number | ",
        ),
        ("voltage_l1 in 5", "5 [wrong_type] after `in` stands a list, and `5` is none | for example: x in [1, 2, 5]"),
        (
            "relay ? 1 : 'a'",
            "relay ? 1 : 'a' [wrong_type] `1` is a number and `'a'` is a text: both sides of `:` have one type | ",
        ),
        (
            "voltage_l1 ? relay : relay",
            "voltage_l1 [wrong_type] before `?` stands a condition, and `voltage_l1` is a number | compare it, for example voltage_l1 > 0",
        ),
        (
            "(relay ? 1 : 2)",
            "relay ? 1 : 2 [wrong_type] a condition is true or false, and `relay ? 1 : 2` is a number | compare it, for example (relay ? 1 : 2) > 0",
        ),
        (
            "0 / 0 > 1",
            "0 / 0 > 1 [always_fails] this condition depends on nothing and has no result: it compares what is no number | do not divide 0 by 0",
        ),
        (
            "(voltage_l1 + state) > 1",
            "voltage_l1 + state [wrong_type] `+` needs two numbers or two texts: `voltage_l1` is a number and `state` is a text | a text is no number; in a message, values stand one after the other: {a} {b}",
        ),
    ]);
}

#[test]
fn functions_are_told_as_they_are_written() {
    check(&[
        (
            r#"value("door-1")"#,
            r#"value("door-1") [arguments] `value` does not take 1 argument | write value("device", "point")"#,
        ),
        (
            r#"value("door-1", open)"#,
            r#"open [arguments] `value` takes names as texts in quotes, not `open` | write value("device", "point")"#,
        ),
        (
            "age(voltage_l1) > 5",
            r#"voltage_l1 [arguments] `age` takes names as texts in quotes, not `voltage_l1` | write age("point") or age("device", "point")"#,
        ),
        (
            "age() > 5",
            r#"age() [arguments] `age` does not take 0 arguments | write age("point") or age("device", "point")"#,
        ),
        (
            r#"age("a","b","c") > 5"#,
            r#"age("a","b","c") [arguments] `age` does not take 3 arguments | write age("point") or age("device", "point")"#,
        ),
        (
            r#"online("a", "b")"#,
            r#"online("a", "b") [arguments] `online` does not take 2 arguments | write online() or online("device")"#,
        ),
        ("has(5)", "5 [arguments] `has` tells whether a point has a value, and `5` is no point | write has(point)"),
        (
            "has(voltage_l1 > 1)",
            "voltage_l1 > 1 [arguments] `has` tells whether a point has a value, and `voltage_l1 > 1` is no point | write has(point)",
        ),
        ("has()", "has() [arguments] `has` does not take 0 arguments | write has(point)"),
        (
            "[1].exists(x, x > 1)",
            "exists [unknown_function] there is no function `exists` | a point has one value: there is no list to walk over",
        ),
        (
            "foo(1) > 2",
            "foo [unknown_function] there is no function `foo` | there are age, contains, device, endsWith, has, label, online, point, quality, size, startsWith, value",
        ),
        (
            "abs(voltage_l1) > 2",
            "abs [unknown_function] there is no function `abs` | there are age, contains, device, endsWith, has, label, online, point, quality, size, startsWith, value",
        ),
        ("sice(state) > 1", "sice [unknown_function] there is no function `sice` | did you mean size(text)?"),
        (
            r#"state.startWith("a")"#,
            r#"startWith [unknown_function] there is no function `startWith` | did you mean text.startsWith("part")?"#,
        ),
        (
            r#"state.matches("a")"#,
            "matches [unknown_function] there is no function `matches` | use startsWith, endsWith or contains",
        ),
        (
            r#"startsWith(state, "a")"#,
            r#"startsWith [arguments] `startsWith` is not written so | write text.startsWith("part")"#,
        ),
        (
            "state.startsWith()",
            r#"state.startsWith() [arguments] `startsWith` does not take 0 arguments | write text.startsWith("part")"#,
        ),
        (
            "voltage_l1.age() > 1",
            r#"age [arguments] `age` is not written so | write age("point") or age("device", "point")"#,
        ),
        (
            "double(voltage_l1) > 2",
            "double [unknown_function] there is no function `double` | leave it out: numbers need no conversion",
        ),
        (
            "now() > 1",
            r#"now [unknown_function] there is no function `now` | age("point") gives seconds since the last value"#,
        ),
        ("age > 5", r#"age [arguments] `age` is a function | write age("point") or age("device", "point")"#),
    ]);
}

#[test]
fn what_makes_no_sense_for_points_is_refused() {
    check(&[
        (
            "phase.a > 1",
            r#"phase.a [unsupported] `.a` means nothing here: points have no parts | write point("phase.a")"#,
        ),
        ("phase.b > 1", "phase.b [unsupported] `.b` means nothing here: points have no parts | "),
        (
            r#"device("door-1") == 1"#,
            r#"device("door-1") [unsupported] a device alone is no value | write device("device").point"#,
        ),
        (
            "voltage_l1 % 2 == 1",
            "voltage_l1 % 2 [unsupported] `%` is not there: numbers are not integers | a bit of a status word is a point of its own: give it one in the device's profile",
        ),
        ("state[0] == 'a'", "state[0] [unsupported] points have no parts: `[` and `]` mean nothing here | "),
        (
            "[1, 2] == 1",
            r#"[1, 2] [unsupported] a list can only stand after `in` | for example: mode in ["degraded", "recovering"]"#,
        ),
        (
            "{'a': 1}",
            "{ [unsupported] rules have no maps and messages: `{` and `}` mean nothing here | use ( and ) to group",
        ),
        (
            "voltage_l1 == null",
            "null [unsupported] no point is ever null | has(x) tells whether the point x has a value now",
        ),
        (
            "a.?b",
            "a [unsupported] points have no parts: `.?` means nothing here | has(x) tells whether x has a value now",
        ),
    ]);
}

#[test]
fn what_cannot_be_read_is_told_with_what_was_probably_meant() {
    check(&[
        (
            "energy-import > 5",
            r#"import [syntax] `import` is a reserved word of CEL | a point of this name is written point("energy-import")"#,
        ),
        ("voltage_l1 = 5", "= [syntax] `=` means nothing here | write == to compare"),
        ("voltage_l1 => 5", "=> [syntax] `=>` means nothing here | write >= for at least"),
        ("voltage_l1 =< 5", "=< [syntax] `=<` means nothing here | write <= for at most"),
        ("voltage_l1 <> 5", "<> [syntax] `<>` means nothing here | write != for different"),
        ("relay and alarmed", "and [syntax] `and` means nothing here | write &&"),
        ("relay OR alarmed", "OR [syntax] `OR` means nothing here | write ||"),
        ("not relay", "not [syntax] `not` means nothing here | write !"),
        ("voltage_l1 is 5", "is [syntax] `is` means nothing here | write =="),
        ("relay & alarmed", "& [syntax] `&` means nothing here | write &&"),
        ("voltage_l1 ≥ 5", "≥ [syntax] `≥` means nothing here | write >="),
        ("voltage_l1 ＞ 5", "＞ [syntax] `＞` means nothing here | write the plain character, not the full-width one"),
        (
            "`energy-import` > 5",
            r#"` [syntax] a backtick means nothing here | a point whose name is no identifier is written point("name")"#,
        ),
        (r#""abc"#, r#""abc [syntax] this text has no end | end it with the same quote, and write a backslash as \\"#),
        (
            r"state == 'ab\q'",
            r"'ab\q' [syntax] this text has no end | end it with the same quote, and write a backslash as \\",
        ),
        ("voltage_l1 > 250V", "V [syntax] `V` means nothing here | write the number without its unit"),
        ("voltage_l1 > 80%", "% [syntax] `%` means nothing here | write the number without its unit"),
        ("voltage_l1 > 1,5", ", [syntax] `,` means nothing here | write decimals with a point: 1.5"),
        (
            "voltage_l1 >",
            " [syntax] the expression ends too early | write a whole expression, for example voltage_l1 > 250",
        ),
        ("(voltage_l1 > 5", " [syntax] a `(` has no matching `)` | add the `)`"),
        (
            "voltage_l1 > 5)",
            ") [syntax] `)` is not expected here | an expression is made of points, numbers, texts in quotes, comparisons, &&, ||, ! and parentheses",
        ),
        ("", " [syntax] there is no expression | write a whole expression, for example voltage_l1 > 250"),
        (
            "in > 5",
            r#"in [syntax] `in` means nothing here | write x in [1, 2], or point("in") for a point of this name"#,
        ),
        ("if", r#"if [syntax] `if` is a reserved word of CEL | a point of this name is written point("if")"#),
        (
            "9999999999999999999 > 1",
            "9999999999999999999 [syntax] `9999999999999999999` is too large | write large numbers with an exponent: 1e20",
        ),
        ("voltage_l1 > 1e999", "1e999 [syntax] `1e999` is too large | write large numbers with an exponent: 1e20"),
        (
            "relay; alarmed",
            "; [syntax] `;` is not expected here | an expression is made of points, numbers, texts in quotes, comparisons, &&, ||, ! and parentheses",
        ),
        (
            "voltage_l1 > 5 alarmed",
            "alarmed [syntax] `alarmed` is not expected here | an expression is made of points, numbers, texts in quotes, comparisons, &&, ||, ! and parentheses",
        ),
        (
            "voltage_l1 >\n\n 5 +",
            " [syntax] the expression ends too early | write a whole expression, for example voltage_l1 > 250",
        ),
        ("relay = 1 && voltage_l1 > 250V", "= [syntax] `=` means nothing here | write == to compare"),
    ]);
}

#[test]
fn all_mistakes_are_found_in_one_run() {
    assert_eq!(
        mistakes("value(door, open)", true),
        [
            r#"door [arguments] `value` takes names as texts in quotes, not `door` | write value("device", "point")"#,
            r#"open [arguments] `value` takes names as texts in quotes, not `open` | write value("device", "point")"#,
        ]
    );
    assert_eq!(
        mistakes("voltage_l1 in [1, 'a', relay]", true),
        [
            "'a' [wrong_type] `in` looks for one type: `voltage_l1` is a number and `'a'` is a text | ",
            "relay [wrong_type] `in` looks for one type: `voltage_l1` is a number and `relay` is true or false | ",
        ]
    );
    assert_eq!(
        mistakes(r#"voltag_l1 > 250 && relay > 1 || value("x", "y") == mode && foo(zzz)"#, true),
        [
            "voltag_l1 [unknown_point] meter-101 has no point `voltag_l1` | did you mean voltage_l1?",
            "relay > 1 [wrong_type] `>` compares two numbers or two texts: `relay` is true or false and `1` is a number | a condition stands alone: relay, or !relay",
            r#""x" [unknown_device] there is no device "x" | there are "meter-101", "door-1""#,
            "foo [unknown_function] there is no function `foo` | there are age, contains, device, endsWith, has, label, online, point, quality, size, startsWith, value",
            r#"zzz [unknown_point] meter-101 has no point `zzz` | there are voltage_l1, current_l1, frequency, relay, alarmed, state, point("energy-import"), point("phase.a"), ..."#,
        ]
    );
    assert_eq!(
        mistakes("state == “open”", true),
        [
            r#"“ [syntax] `“` means nothing here | write texts in plain quotes: "open""#,
            r#"” [syntax] `”` means nothing here | write texts in plain quotes: "open""#,
        ]
    );
}

#[test]
fn a_rule_without_a_device_names_every_device() {
    for (source, expected) in [
        (
            "relay",
            r#"relay [no_device] `relay` could only be a point of the rule's own device, and this rule has none | write value("device", "point")"#,
        ),
        (
            r#"age("relay") > 5"#,
            r#""relay" [no_device] "relay" would be a point of the rule's own device, and this rule has none | name the device first: ("device", "point")"#,
        ),
        ("online()", r#"online() [no_device] this rule has no device of its own | write online("device")"#),
        (
            r#"label("floor") == "3""#,
            r#""floor" [no_device] this rule has no device of its own, so that it has no labels | write the place as a text in quotes"#,
        ),
        (
            r#"device.id == "a""#,
            "device.id [no_device] this rule has no device of its own | write the name as a text in quotes",
        ),
    ] {
        assert_eq!(mistakes(source, false), [expected], "{source}");
    }
}

#[test]
fn an_expression_has_a_largest_size_and_depth() {
    let long = format!("relay{}", " ".repeat(4_000));
    assert!(
        mistakes(&long, true)[0]
            .ends_with("[too_large] this expression has 4005 bytes; the most is 4000 | split it into several rules")
    );
    for (open, close) in [("(", ")"), ("!(", ")"), ("-(", ")"), ("[", "]"), ("size(", ")"), ("true ? true : (", ")")] {
        let nested = format!("{}1{}", open.repeat(220), close.repeat(220));
        assert!(mistakes(&nested, true)[0].contains("[too_large] this expression is nested too deeply | "), "{nested}");
    }
    let sum = vec!["1"; 1_999].join("+");
    assert!(mistakes(&format!("{sum}>0"), true)[0].contains("[too_large]"));
    for unit in ["!", "-", "relay.", "relay.a()", "relay?1:", "[", "{", "\"", "f(", "1<", "relay||", "//", "`"] {
        let count = 4_000 / unit.len();
        assert!(Expr::compile(&unit.repeat(count), &catalog(), Some(OWN)).is_err(), "{unit}");
    }
}

#[test]
fn a_point_named_mode_is_told_apart_from_the_mode_of_the_site() {
    let mut catalog = catalog();
    catalog.devices[0].points[5].name = gatehouse_core::Name::new("mode").unwrap();
    let errors = Expr::compile("mode == \"cool\"", &catalog, Some(OWN)).unwrap_err();
    assert_eq!(errors[0].help, "the point of this name is written point(\"mode\")");
    assert!(Expr::compile("point(\"mode\") == \"cool\" && mode != \"online\"", &catalog, Some(OWN)).is_ok());
}
