//! `gatehouse rules`, as somebody runs it who has just written a rule.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Output;

use gatehouse_tests::gatehouse;
use serde_json::Value;

const SITE: &str = r#"
[site]
id = "s"
rules = "rules.toml"
[[bus]]
id = "b"
tcp = "10.0.0.5"
[[device]]
id = "meter-101"
title = "Flat 101"
unit = 1
profile = "eastron-sdm630"
points = ["voltage_l1", "import_energy"]
"#;

const RULES: &str = r#"
[[alarm]]
id = "overvoltage"
priority = "p2"
on = { profile = "eastron-sdm630" }
when = "voltage_l1 > 253"
deadband = "3"
for = "30s"
message = "{voltage_l1} V at {device.title}"
"#;

fn stage() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "site.toml", SITE);
    write(folder.path(), "rules.toml", RULES);
    folder
}

fn write(folder: &Path, file: &str, text: &str) {
    std::fs::write(folder.join(file), text).unwrap();
}

fn rules(folder: &Path, arguments: &[&str]) -> Output {
    gatehouse().arg("rules").args(arguments).current_dir(folder).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A test that expects this state after 50 s, 20 s into the on-delay.
fn test_of(state: &str) -> String {
    format!(
        "site = \"site.toml\"\nevery = \"10s\"\n[[test]]\nname = \"high\"\n[[test.input]]\npoint = \"meter-101/voltage_l1\"\n\
         values = \"230x3 254x5\"\n[[test.expect]]\nat = \"50s\"\nalarm = \"overvoltage/meter-101\"\nstate = \"{state}\"\n"
    )
}

#[test]
fn the_tests_of_the_example_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let output = rules(&examples, &["test", "rules.test.toml"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).ends_with("3 tests: 3 ok, 0 failed\n"), "{}", stdout(&output));
}

#[test]
fn a_failed_test_shows_what_the_rule_saw() {
    let folder = stage();
    write(folder.path(), "t.toml", &test_of("unacknowledged"));
    let output = rules(folder.path(), &["test", "t.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let wanted = "t.toml\n  FAILED  high\n          at 50s, state of overvoltage/meter-101: expected unacknowledged, got \
                  normal (its condition holds, its on-delay runs)\n            meter-101/voltage_l1 = 254 V, read then\n\
                  1 test: 0 ok, 1 failed\n";
    assert_eq!(stdout(&output), wanted);
    let output = rules(folder.path(), &["test", "--json", "t.toml"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], false);
    assert_eq!(document["files"][0]["tests"][0]["differences"][0]["expected"], "unacknowledged");
}

#[test]
fn a_mistake_in_a_test_file_has_its_place_and_exit_code_3() {
    let folder = stage();
    for (from, to, wanted) in [
        (
            "meter-101/voltage_l1",
            "meter-101/voltage_l7",
            "t.toml:6:9: meter-101 has no point `voltage_l7`: did you mean",
        ),
        ("254x5", "254x", "t.toml:7:10: \"254x\" is no value of meter-101/voltage_l1"),
        ("254x5", "254x99999", "t.toml:7:17: `254x99999`: x takes 1 to 86400"),
        ("50s", "50", "t.toml:9:6: \"50\" is no time"),
        ("overvoltage/", "overvolts/", "t.toml:10:9: the site has no alarm `overvolts/meter-101`: did you mean"),
        ("\"normal\"", "\"quiet\"", "unknown variant `quiet`"),
        ("every =", "evry =", "unknown field `evry`"),
        ("site.toml", "sites.toml", "sites.toml cannot be read"),
    ] {
        write(folder.path(), "t.toml", &test_of("normal").replacen(from, to, 1));
        let output = rules(folder.path(), &["test", "t.toml"]);
        assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
        assert!(stderr(&output).contains(wanted), "{to}: {}", stderr(&output));
    }
}

/// A day in three lines: out of order, one of them twice, billing as texts, and a device that nobody knows.
const DAY: &str = r#"
gatehouse/v1/s/telemetry {"v":1,"box":"s","epoch":1,"lane":"telemetry","seq":3,"records":[{"seq":3,"time":"2026-11-23T10:05:00Z","device":"meter-101","values":{"voltage_l1":249}},{"seq":4,"time":"2026-11-23T10:06:00Z","device":"meter-9","values":{"voltage_l1":249}}]}
{"v":1,"box":"s","epoch":1,"lane":"telemetry","seq":1,"records":[{"seq":1,"time":"2026-11-23T10:00:00Z","device":"meter-101","values":{"voltage_l1":230.5}},{"seq":2,"time":"2026-11-23T10:01:00Z","device":"meter-101","values":{"voltage_l1":254.5,"import_energi":1}}]}
{"v":1,"box":"s","epoch":1,"lane":"telemetry","seq":1,"records":[{"seq":1,"time":"2026-11-23T10:00:00Z","device":"meter-101","values":{"voltage_l1":230.5}}]}
{"v":1,"box":"s","epoch":1,"lane":"billing","seq":1,"records":[{"seq":1,"time":"2026-11-23T10:00:00Z","device":"meter-101","values":{"import_energy":"12.50"}}]}
{"v":1,"box":"s2","epoch":1,"lane":"telemetry","seq":1,"records":[{"seq":1,"time":"2026-11-23T10:02:00Z","device":"meter-101","values":{"voltage_l1":9}}]}
"#;

#[test]
fn a_recorded_day_shows_its_alarms_and_the_same_ones_each_time() {
    let folder = stage();
    write(folder.path(), "day.jsonl", DAY);
    let output = rules(folder.path(), &["replay", "--site", "site.toml", "day.jsonl"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("4 records from 2026-11-23T10:00:00Z to 2026-11-23T10:05:00Z\n"), "{text}");
    let row = text.lines().find(|line| line.contains("overvoltage/meter-101")).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>().join(" "),
        "2026-11-23T10:01:30Z 3m30s p2 overvoltage/meter-101 1 254.5 V at Flat 101"
    );
    let left_out = stderr(&output);
    for wanted in ["1 records that came twice", "1 messages of other boxes", "`meter-9`", "`meter-101/import_energi`"] {
        assert!(left_out.contains(wanted), "{wanted}: {left_out}");
    }
    let json = |_| rules(folder.path(), &["replay", "--json", "--site", "site.toml", "day.jsonl"]).stdout;
    let (first, second) = (json(1), json(2));
    assert_eq!(first, second);
    let document: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(document["classes"]["overvoltage"]["occurrences"], 1);
    let changes: Vec<_> =
        document["transitions"].as_array().unwrap().iter().map(|t| t["data"]["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["condition_on", "condition_off"]);
}

#[test]
fn what_is_no_record_is_told_with_its_line() {
    let folder = stage();
    write(folder.path(), "day.jsonl", "{\"v\":1,\"records\":[]}\n{\"volts\":1}\n");
    let output = rules(folder.path(), &["replay", "--site", "site.toml", "day.jsonl"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("day.jsonl: line 2: a record has no `time`"), "{}", stderr(&output));
}
