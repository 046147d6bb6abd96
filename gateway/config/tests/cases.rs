//! One folder per mistake: a site file, and the exact message that an installer gets.
//!
//! With `GATEHOUSE_BLESS=1` the messages are written anew; read the difference before it is committed.

use std::path::{Path, PathBuf};

use gatehouse_config::{Loaded, Problem, Severity, check, render};
use gatehouse_drivers::profile::Library;

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn problems(text: &str, base: &Path) -> (bool, Vec<Problem>) {
    match check("site.toml", text, base, &Library::new()) {
        Ok(Loaded { warnings, .. }) => (true, warnings),
        Err(problems) => (false, problems.0),
    }
}

fn report(text: &str, base: &Path) -> String {
    let (sound, problems) = problems(text, base);
    format!("{}\n\n{}", if sound { "accepted" } else { "refused" }, render(&problems))
        .replace(&base.display().to_string(), "FOLDER")
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn no_zones() -> bool {
    jiff::tz::db().is_definitively_empty()
}

#[test]
fn every_mistake_gets_its_exact_message() {
    let mut folders: Vec<_> = std::fs::read_dir(folder("tests/cases")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 70, "cases are missing: {}", folders.len());
    let mut wrong = Vec::new();
    for case in folders {
        if no_zones() && ["unknown-timezone", "several-mistakes-in-one-run"].iter().any(|name| case.ends_with(name)) {
            eprintln!("skipped {}: this machine has no time zones (package tzdata)", case.display());
            continue;
        }
        let text = std::fs::read_to_string(case.join("site.toml")).unwrap();
        let got = report(&text, &case);
        if std::env::var_os("GATEHOUSE_BLESS").is_some() {
            std::fs::write(case.join("expected.txt"), &got).unwrap();
        }
        let expected = std::fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
        if got != expected {
            wrong.push(format!("== {}\n{got}\n-- expected\n{expected}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_mistake_is_one_problem() {
    for case in std::fs::read_dir(folder("tests/cases")).unwrap().map(|e| e.unwrap().path()) {
        let name = case.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(case.join("site.toml")).unwrap();
        let (_, problems) = problems(&text, &case);
        assert!(!problems.is_empty(), "{name}: nothing was found");
        let several = ["several-mistakes-in-one-run", "serial-keys-on-modbus-tcp", "syntax", "empty-file", "no-bus"];
        let files = ["certificate-without-key"];
        if !several.contains(&name) && !files.contains(&name) {
            let all: Vec<_> = problems.iter().map(|problem| &problem.message).collect();
            assert_eq!(problems.len(), 1, "{name}: {all:?}");
        }
    }
}

#[test]
fn one_mistake_of_a_rule_over_a_hundred_meters_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "[[alarm]]\nid = \"a\"\npriority = \"p2\"\non = { bus = \"b\" }\nwhen = \"voltage_l7 > 253\"\n";
    std::fs::write(folder.path().join("rules.toml"), rule).unwrap();
    let mut text = "[site]\nid = \"s\"\nrules = \"rules.toml\"\n[[bus]]\nid = \"b\"\ntcp = \"h\"\n".to_owned();
    for unit in 1..=100 {
        text += &format!("[[device]]\nid = \"m-{unit}\"\nunit = {unit}\nprofile = \"eastron-sdm630\"\n");
    }
    let (sound, problems) = problems(&text, folder.path());
    let errors: Vec<&Problem> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    assert!(!sound);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].message, "m-1 has no point `voltage_l7` (and so for 99 other devices)");
    assert_eq!(errors[0].position(), (5, 9));
}

#[test]
fn many_mistakes_are_all_found_in_one_run() {
    let text = std::fs::read_to_string(folder("tests/cases/several-mistakes-in-one-run/site.toml")).unwrap();
    let (sound, problems) = problems(&text, Path::new(""));
    assert!(!sound);
    let codes: Vec<&str> = problems.iter().map(|p| p.code.trim_start_matches("gatehouse::config::")).collect();
    for code in ["bad_value", "literal_secret", "unknown_key", "missing_key", "unknown_bus"] {
        assert!(codes.contains(&code), "{code} is not in {codes:?}");
    }
    assert!(codes.len() >= 10, "{codes:?}");
    let mut places: Vec<_> = problems.iter().map(Problem::position).collect();
    let sorted = places.clone();
    places.sort_unstable();
    assert_eq!(places, sorted, "problems come in the order of the file");
}

#[test]
fn a_secret_is_never_shown() {
    let cases =
        ["access-with-a-literal-secret", "literal-password", "password-in-the-broker", "several-mistakes-in-one-run"];
    for case in cases {
        let case = folder("tests/cases").join(case);
        let text = std::fs::read_to_string(case.join("site.toml")).unwrap();
        assert!(text.contains("hunter2"));
        let shown = report(&text, &case);
        assert!(!shown.contains("hunter2") && shown.contains("*********"), "{shown}");
    }
}

#[test]
fn the_examples_pass() {
    for (file, devices) in [("first-site.toml", 1), ("full.toml", 5), ("metered-link.toml", 1), ("gates.toml", 4)] {
        let examples = folder("../../docs/examples");
        let text = std::fs::read_to_string(examples.join(file)).unwrap();
        match check(file, &text, &examples, &Library::new()) {
            Ok(loaded) => {
                assert_eq!(loaded.site.devices.len(), devices);
                // Ports, certificates and secrets of the example are on no machine but its own.
                let elsewhere = |p: &&Problem| {
                    let zone = no_zones() && p.code.ends_with("_timezone");
                    zone || p.code.ends_with("_absent") || p.code.ends_with("::billing")
                };
                let others: Vec<_> = loaded.warnings.iter().filter(|p| !elsewhere(p)).map(|p| &p.message).collect();
                assert!(others.is_empty(), "{file}: {others:?}");
                assert!(loaded.warnings.iter().all(|problem| problem.severity == Severity::Warning));
            }
            Err(problems) => panic!("{problems}"),
        }
    }
}

#[test]
fn a_missing_file_says_so() {
    let error = gatehouse_config::load(Path::new("/no/such/site.toml"), &Library::new()).unwrap_err();
    assert_eq!(error.0[0].code, "gatehouse::config::unreadable");
    assert!(error.0[0].message.contains("/no/such/site.toml"), "{}", error.0[0].message);
}
